//! Arrow form of the bookkeeping rows.
//!
//! Invariant: what is written is read back equal. Lists and maps are JSON text, everything else is a column of its own.

use crate::file::layout::TableLayout;
use crate::log::table_version::{PinnedPipelines, TableVersion};
use crate::month::month_of;
use crate::ops::notes::note_of;
use crate::ops::rows::{DriftRow, RejectRow, RunRecord, SliceRow, WarningRow};
use crate::typed_rows::encode_column;
pub(crate) use crate::typed_rows::{ColumnType, RowValue};
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType,
};
use arrow::record_batch::RecordBatch;
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_model::table::MONTH;
use tillhouse_model::{Error, ErrorKind, ExactDecimal, ReadBy, Result, ResultExt, Window};

/// A row of a bookkeeping table, and its columns.
pub(crate) trait BookkeepingRow: Sized + Clone + Send + Sync {
    /// The table's path below the warehouse.
    const TABLE: &'static str;
    /// Its columns: name, type, nullable. `month` comes after them.
    const COLUMNS: &'static [(&'static str, ColumnType, bool)];
    /// Columns whose smallest and largest values the log keeps of every file.
    const STATISTICS: &'static [&'static str] = &["pipeline", "run_id"];

    /// The partition it stands in.
    fn month(&self) -> String;
    /// The values of the columns.
    fn cells(&self) -> Result<Vec<RowValue>>;
    /// Reads one row.
    fn read(cells: &RowReader<'_>) -> Result<Self>;

    /// The table's schema.
    fn schema() -> SchemaRef {
        let columns = Self::COLUMNS
            .iter()
            .map(|(name, sort, nullable)| Field::new(*name, sort.data_type(), *nullable));
        Arc::new(Schema::new(
            columns
                .chain([Field::new(MONTH, DataType::Utf8, false)])
                .collect::<Vec<_>>(),
        ))
    }

    /// The layout of the table's files, with what the columns mean.
    fn layout(statistics: &[String]) -> Result<TableLayout> {
        let schema = Self::schema();
        let note = note_of(Self::TABLE.trim_start_matches("ops/"), &schema);
        let layout = TableLayout::new(schema, statistics, vec![MONTH.to_owned()])?;
        Ok(match note {
            Some(note) => layout.with_comments(&note),
            None => layout,
        })
    }

    /// Rows as a batch in the schema of the table's files, which have no month.
    fn encode(rows: &[Self]) -> Result<RecordBatch> {
        let cells: Vec<Vec<RowValue>> = rows.iter().map(Self::cells).collect::<Result<_>>()?;
        let mut columns: Vec<ArrayRef> = Vec::new();
        let mut fields = Vec::new();
        for (i, (name, sort, nullable)) in Self::COLUMNS.iter().enumerate() {
            let column = cells
                .iter()
                .map(|row| row.get(i).unwrap_or(&RowValue::Null));
            columns
                .push(encode_column(name, *sort, column).map_err(|e| e.at("table", Self::TABLE))?);
            fields.push(Field::new(*name, sort.data_type(), *nullable));
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|e| {
            Error::internal("a bookkeeping row lacks a value")
                .at("table", Self::TABLE)
                .because(e)
        })
    }

    /// The rows of a batch.
    fn decode(batch: &RecordBatch) -> Result<Vec<Self>> {
        (0..batch.num_rows())
            .map(|row| {
                Self::read(&RowReader {
                    batch,
                    row,
                    table: Self::TABLE,
                })
            })
            .collect()
    }
}

/// Digits after the point of numbers that are amounts, quantities or percentages alike.
const NUMBER_SCALE: u8 = 6;
/// Type of their columns.
pub(crate) const NUMBER: ColumnType = ColumnType::Decimal(NUMBER_SCALE);

/// Such a number, rounded half-even; null where it has more digits than fit.
pub(crate) fn number(value: Option<ExactDecimal>) -> RowValue {
    value.and_then(|value| value.rescaled(NUMBER_SCALE)).into()
}

/// Reader of the typed values of one row of a batch.
pub(crate) struct RowReader<'a> {
    batch: &'a RecordBatch,
    row: usize,
    table: &'static str,
}

impl RowReader<'_> {
    fn column(&self, name: &str) -> Option<&ArrayRef> {
        self.batch
            .column_by_name(name)
            .filter(|column| column.is_valid(self.row))
    }

    fn missing(&self, name: &str) -> Error {
        Error::new(ErrorKind::Storage, "a bookkeeping row lacks a value")
            .at("table", self.table)
            .at("column", name)
    }

    pub(crate) fn maybe_text(&self, name: &str) -> Option<String> {
        Some(
            self.column(name)?
                .as_string_opt::<i32>()?
                .value(self.row)
                .to_owned(),
        )
    }

    pub(crate) fn text(&self, name: &str) -> Result<String> {
        self.maybe_text(name).ok_or_else(|| self.missing(name))
    }

    fn read_by(&self, name: &str) -> Result<Option<ReadBy>> {
        let text = self.maybe_text(name);
        text.map(|text| ReadBy::parse(&text).ok_or_else(|| self.missing(name)))
            .transpose()
    }

    pub(crate) fn maybe_int(&self, name: &str) -> Option<i64> {
        Some(
            self.column(name)?
                .as_primitive_opt::<Int64Type>()?
                .value(self.row),
        )
    }

    fn int(&self, name: &str) -> Result<i64> {
        self.maybe_int(name).ok_or_else(|| self.missing(name))
    }

    pub(crate) fn count(&self, name: &str) -> Result<u64> {
        u64::try_from(self.int(name)?).map_err(|_| self.missing(name))
    }

    pub(crate) fn maybe_number(&self, name: &str) -> Option<ExactDecimal> {
        let units = self
            .column(name)?
            .as_primitive_opt::<Decimal128Type>()?
            .value(self.row);
        Some(ExactDecimal::new(units, NUMBER_SCALE))
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<bool> {
        let column = self.column(name).and_then(|c| c.as_boolean_opt());
        column
            .map(|c| c.value(self.row))
            .ok_or_else(|| self.missing(name))
    }

    fn maybe_time(&self, name: &str) -> Option<Timestamp> {
        let micros = self
            .column(name)?
            .as_primitive_opt::<TimestampMicrosecondType>()?
            .value(self.row);
        Timestamp::from_microsecond(micros).ok()
    }

    pub(crate) fn time(&self, name: &str) -> Result<Timestamp> {
        self.maybe_time(name).ok_or_else(|| self.missing(name))
    }

    pub(crate) fn window(&self) -> Result<Window> {
        Window::new(self.time("window_from")?, self.time("window_to")?)
            .or_error(ErrorKind::Storage, "a bookkeeping row has an empty window")
    }

    pub(crate) fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        serde_json::from_str(&self.text(name)?)
            .or_error(
                ErrorKind::Storage,
                "a bookkeeping row holds JSON of another shape",
            )
            .map_err(|e| e.at("table", self.table).at("column", name))
    }
}

pub(crate) fn json<T: Serialize>(value: &T) -> Result<RowValue> {
    Ok(RowValue::Text(serde_json::to_string(value).or_error(
        ErrorKind::Internal,
        "a bookkeeping value cannot be written",
    )?))
}

use ColumnType::{Bool, Int, Text, Time};

/// Ending of resources' names in warehouses of older versions, where a window was about change
/// time.
const OLD_CHANGE_TIME: &str = " (late)";

impl BookkeepingRow for SliceRow {
    const TABLE: &'static str = "ops/slices";
    const COLUMNS: &'static [(&'static str, ColumnType, bool)] = &[
        ("pipeline", Text, false),
        ("resource", Text, false),
        ("tenant", Text, true),
        ("window_from", Time, false),
        ("window_to", Time, false),
        ("run_id", Text, false),
        ("read_at", Time, false),
        ("records", Int, false),
        ("rejects", Int, false),
        ("declared_total", Int, true),
        ("attempts", Int, false),
        ("land", Int, false),
        ("read_by", Text, true),
        ("also_read_by", Text, true),
    ];

    fn month(&self) -> String {
        month_of(self.read_at)
    }

    fn cells(&self) -> Result<Vec<RowValue>> {
        Ok(vec![
            self.pipeline.as_str().into(),
            self.resource.as_str().into(),
            self.tenant.as_deref().into(),
            self.window.from().into(),
            self.window.to().into(),
            self.run_id.as_str().into(),
            self.read_at.into(),
            self.records.into(),
            self.rejects.into(),
            self.declared_total.into(),
            u64::from(self.attempts).into(),
            self.load_id.into(),
            self.read_by.map(ReadBy::as_str).into(),
            self.also_read_by.map(ReadBy::as_str).into(),
        ])
    }

    fn read(cells: &RowReader<'_>) -> Result<Self> {
        let mut resource = cells.text("resource")?;
        let (mut read_by, mut also_read_by) =
            (cells.read_by("read_by")?, cells.read_by("also_read_by")?);
        // Before there was a column for it, the name said that a resource was asked for what the provider had learnt.
        if let Some(name) = resource
            .strip_suffix(OLD_CHANGE_TIME)
            .filter(|_| read_by.is_none())
        {
            resource = name.to_owned();
            (read_by, also_read_by) = (Some(ReadBy::ChangeTime), Some(ReadBy::EventTime));
        }
        Ok(Self {
            pipeline: cells.text("pipeline")?,
            resource,
            tenant: cells.maybe_text("tenant"),
            window: cells.window()?,
            read_by,
            also_read_by,
            run_id: cells.text("run_id")?,
            read_at: cells.time("read_at")?,
            records: cells.count("records")?,
            rejects: cells.count("rejects")?,
            declared_total: cells
                .maybe_int("declared_total")
                .and_then(|n| u64::try_from(n).ok()),
            attempts: u32::try_from(cells.int("attempts")?).unwrap_or(u32::MAX),
            load_id: cells.int("land")?,
        })
    }
}

/// A slice with the version of the ledger that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LedgerRow {
    pub slice: SliceRow,
    /// The version of the table that held it first in this form. `None` for rows of older versions of the program.
    pub version: Option<i64>,
}

impl LedgerRow {
    /// True if it came, or was changed, behind a version of the table.
    pub(crate) fn is_later_than(&self, version: u64) -> bool {
        let own = self.version.and_then(|own| u64::try_from(own).ok());
        own.is_some_and(|own| own > version)
    }
}

/// The column of [`LedgerRow::version`].
pub(crate) const LEDGER_VERSION: &str = "ledger_version";

impl BookkeepingRow for LedgerRow {
    const TABLE: &'static str = SliceRow::TABLE;
    const COLUMNS: &'static [(&'static str, ColumnType, bool)] = &[
        ("pipeline", Text, false),
        ("resource", Text, false),
        ("tenant", Text, true),
        ("window_from", Time, false),
        ("window_to", Time, false),
        ("run_id", Text, false),
        ("read_at", Time, false),
        ("records", Int, false),
        ("rejects", Int, false),
        ("declared_total", Int, true),
        ("attempts", Int, false),
        ("land", Int, false),
        ("read_by", Text, true),
        ("also_read_by", Text, true),
        (LEDGER_VERSION, Int, true),
    ];
    const STATISTICS: &'static [&'static str] = &[
        "pipeline",
        "run_id",
        "window_from",
        "window_to",
        "read_at",
        LEDGER_VERSION,
    ];

    fn month(&self) -> String {
        self.slice.month()
    }

    fn cells(&self) -> Result<Vec<RowValue>> {
        let mut cells = self.slice.cells()?;
        cells.push(self.version.into());
        Ok(cells)
    }

    fn read(cells: &RowReader<'_>) -> Result<Self> {
        Ok(Self {
            slice: SliceRow::read(cells)?,
            version: cells.maybe_int(LEDGER_VERSION),
        })
    }
}

impl BookkeepingRow for RejectRow {
    const TABLE: &'static str = "ops/rejects";
    const COLUMNS: &'static [(&'static str, ColumnType, bool)] = &[
        ("pipeline", Text, false),
        ("resource", Text, false),
        ("record_key", Text, true),
        ("field", Text, false),
        ("reason", Text, false),
        ("redacted", Text, false),
        ("window_from", Time, false),
        ("window_to", Time, false),
        ("run_id", Text, false),
        ("first_seen", Time, false),
        ("last_seen", Time, false),
        ("resolved_at", Time, true),
        ("read_by", Text, true),
        ("tenant", Text, true),
        ("nth", Int, true),
        ("record_time", Time, true),
    ];

    fn month(&self) -> String {
        month_of(self.first_seen)
    }

    fn cells(&self) -> Result<Vec<RowValue>> {
        Ok(vec![
            self.pipeline.as_str().into(),
            self.resource.as_str().into(),
            self.record_key.as_deref().into(),
            self.field.as_str().into(),
            self.reason.as_str().into(),
            self.redacted.as_str().into(),
            self.slice.from().into(),
            self.slice.to().into(),
            self.run_id.as_str().into(),
            self.first_seen.into(),
            self.last_seen.into(),
            self.resolved_at.into(),
            self.read_by.map(ReadBy::as_str).into(),
            self.tenant.as_deref().into(),
            self.nth.into(),
            self.time.into(),
        ])
    }

    fn read(cells: &RowReader<'_>) -> Result<Self> {
        Ok(Self {
            pipeline: cells.text("pipeline")?,
            resource: cells.text("resource")?,
            record_key: cells.maybe_text("record_key"),
            field: cells.text("field")?,
            reason: cells.text("reason")?,
            redacted: cells.text("redacted")?,
            tenant: cells.maybe_text("tenant"),
            nth: cells
                .maybe_int("nth")
                .and_then(|nth| u64::try_from(nth).ok())
                .unwrap_or(1),
            time: cells.maybe_time("record_time"),
            slice: cells.window()?,
            read_by: cells.read_by("read_by")?,
            run_id: cells.text("run_id")?,
            first_seen: cells.time("first_seen")?,
            last_seen: cells.time("last_seen")?,
            resolved_at: cells.maybe_time("resolved_at"),
        })
    }
}

impl BookkeepingRow for WarningRow {
    const TABLE: &'static str = "ops/warnings";
    const COLUMNS: &'static [(&'static str, ColumnType, bool)] = &[
        ("pipeline", Text, false),
        ("resource", Text, false),
        ("record_key", Text, false),
        ("field", Text, false),
        ("rule", Text, false),
        ("original", Text, false),
        ("run_id", Text, false),
        ("first_seen", Time, false),
        ("content_hash", Text, true),
    ];

    fn month(&self) -> String {
        month_of(self.first_seen)
    }

    fn cells(&self) -> Result<Vec<RowValue>> {
        Ok(vec![
            self.pipeline.as_str().into(),
            self.resource.as_str().into(),
            self.record_key.as_str().into(),
            self.field.as_str().into(),
            self.rule.as_str().into(),
            self.original.as_str().into(),
            self.run_id.as_str().into(),
            self.first_seen.into(),
            self.content_hash.as_deref().into(),
        ])
    }

    fn read(cells: &RowReader<'_>) -> Result<Self> {
        Ok(Self {
            pipeline: cells.text("pipeline")?,
            resource: cells.text("resource")?,
            record_key: cells.text("record_key")?,
            field: cells.text("field")?,
            rule: cells.text("rule")?,
            original: cells.text("original")?,
            content_hash: cells.maybe_text("content_hash"),
            run_id: cells.text("run_id")?,
            first_seen: cells.time("first_seen")?,
        })
    }
}

/// An unknown field, with the run that saw it last and the time it was seen first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnknownField {
    pub last: DriftRow,
    pub first_seen: Timestamp,
}

impl BookkeepingRow for UnknownField {
    const TABLE: &'static str = "ops/drift";
    const COLUMNS: &'static [(&'static str, ColumnType, bool)] = &[
        ("pipeline", Text, false),
        ("resource", Text, false),
        ("field", Text, false),
        ("count", Int, false),
        ("run_id", Text, false),
        ("first_seen", Time, false),
        ("last_seen", Time, false),
    ];

    fn month(&self) -> String {
        month_of(self.first_seen)
    }

    fn cells(&self) -> Result<Vec<RowValue>> {
        Ok(vec![
            self.last.pipeline.as_str().into(),
            self.last.resource.as_str().into(),
            self.last.field.as_str().into(),
            self.last.count.into(),
            self.last.run_id.as_str().into(),
            self.first_seen.into(),
            self.last.seen_at.into(),
        ])
    }

    fn read(cells: &RowReader<'_>) -> Result<Self> {
        Ok(Self {
            last: DriftRow {
                pipeline: cells.text("pipeline")?,
                resource: cells.text("resource")?,
                field: cells.text("field")?,
                count: cells.count("count")?,
                run_id: cells.text("run_id")?,
                seen_at: cells.time("last_seen")?,
            },
            first_seen: cells.time("first_seen")?,
        })
    }
}

/// A run with its place in the order in which runs were committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NumberedRun {
    pub run: RunRecord,
    /// The version of the table that held it first; rises from run to run whatever a clock says. `None` for runs of older versions of the
    /// program, which come before all others.
    pub number: Option<i64>,
}

impl BookkeepingRow for NumberedRun {
    const TABLE: &'static str = "ops/runs";
    const STATISTICS: &'static [&'static str] = &["run_id"];
    const COLUMNS: &'static [(&'static str, ColumnType, bool)] = &[
        ("run_id", Text, false),
        ("command", Text, false),
        ("pipelines", Text, false),
        ("started_at", Time, false),
        ("finished_at", Time, false),
        ("outcome", Text, false),
        ("published", Bool, false),
        ("tables", Text, false),
        ("counts", Text, false),
        ("figures", Text, true),
        ("number", Int, true),
        ("expected", Text, true),
        ("pinned", Text, true),
    ];

    fn month(&self) -> String {
        month_of(self.run.started_at)
    }

    fn cells(&self) -> Result<Vec<RowValue>> {
        let Self { run, number } = self;
        // Versions of tables as they always were, for whoever reads no more: those of pinned pipelines have a column of their own.
        let tables = run.tables.iter();
        let versions: BTreeMap<&str, u64> = tables
            .map(|(path, named)| (path.as_str(), named.version))
            .collect();
        let tables = run.tables.iter();
        let pinned: BTreeMap<&str, &PinnedPipelines> = tables
            .filter(|(_, named)| !named.pinned.is_empty())
            .map(|(path, named)| (path.as_str(), &named.pinned))
            .collect();
        Ok(vec![
            run.run_id.as_str().into(),
            run.command.as_str().into(),
            json(&run.pipelines)?,
            run.started_at.into(),
            run.finished_at.into(),
            run.outcome.as_str().into(),
            run.published.into(),
            json(&versions)?,
            json(&run.counts)?,
            if run.figures.is_empty() {
                RowValue::Null
            } else {
                json(&run.figures)?
            },
            (*number).into(),
            if run.expected.is_empty() {
                RowValue::Null
            } else {
                json(&run.expected)?
            },
            if pinned.is_empty() {
                RowValue::Null
            } else {
                json(&pinned)?
            },
        ])
    }

    fn read(cells: &RowReader<'_>) -> Result<Self> {
        let figures = cells
            .maybe_text("figures")
            .map(|_| cells.json("figures"))
            .transpose()?;
        let expected = cells
            .maybe_text("expected")
            .map(|_| cells.json("expected"))
            .transpose()?;
        let pinned: Option<BTreeMap<String, PinnedPipelines>> = cells
            .maybe_text("pinned")
            .map(|_| cells.json("pinned"))
            .transpose()?;
        let mut pinned = pinned.unwrap_or_default();
        let versions: BTreeMap<String, u64> = cells.json("tables")?;
        let tables = versions.into_iter().map(|(path, version)| {
            let pinned = pinned.remove(&path).unwrap_or_default();
            (path, TableVersion { version, pinned })
        });
        let run = RunRecord {
            run_id: cells.text("run_id")?,
            command: cells.text("command")?,
            pipelines: cells.json("pipelines")?,
            started_at: cells.time("started_at")?,
            finished_at: cells.time("finished_at")?,
            outcome: cells.text("outcome")?,
            published: cells.boolean("published")?,
            tables: tables.collect(),
            figures: figures.unwrap_or_default(),
            counts: cells.json("counts")?,
            expected: expected.unwrap_or_default(),
        };
        Ok(Self {
            run,
            number: cells.maybe_int("number"),
        })
    }
}
