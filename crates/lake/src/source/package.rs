//! A package on its way into files: which rows of which page, with their lineage.
//!
//! Invariant: a page all of whose rows are written goes in as it is; only where rows are left out are columns copied.

use crate::log::recent_keys::key_hash;
use crate::source::dedup::{ContentHash, KnownVersions};
use arrow::array::{
    Array, ArrayRef, BinaryArray, FixedSizeBinaryArray, Int64Array, StringArray,
    TimestampMicrosecondArray, UInt32Array, new_null_array,
};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use jiff::Timestamp;
use std::sync::Arc;
use tillhouse_model::table::{
    CONTENT_HASH, DELETED_AT, EXTRACTED_AT, LOAD_ID, MONTH, PREV_RECORD_TIME, RECORD_KEY,
    RECORD_TIME, RUN_ID,
};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt, TableSpec};

/// The decoded records of one page of a package.
#[derive(Debug, Clone)]
pub struct PackagePage {
    /// [`TableSpec::content_schema`], then `_extra` where kept.
    pub batch: RecordBatch,
    /// The record key of each row.
    pub keys: StringArray,
    /// The record time of each row, microseconds UTC.
    pub record_times: TimestampMicrosecondArray,
    /// The source's own version time of each row; all null where it has none.
    pub updated_at: TimestampMicrosecondArray,
    /// The content hash of each row, 17 bytes.
    pub content_hashes: FixedSizeBinaryArray,
    /// When the page was asked for: every record is at least as fresh as that.
    pub requested_at: Timestamp,
}

/// Page and row of the newest record of a key in the package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewestRecord {
    pub page: usize,
    pub row: usize,
}

impl NewestRecord {
    /// The key of its row.
    pub(crate) fn key(self, package: &[PackagePage]) -> &str {
        let page = package.get(self.page);
        page.map_or("", |page| page.keys.value(self.row))
    }

    /// The record time of its row, microseconds.
    pub(crate) fn record_time(self, package: &[PackagePage]) -> Option<i64> {
        let times = &package.get(self.page)?.record_times;
        times.is_valid(self.row).then(|| times.value(self.row))
    }

    /// The content hash of its row.
    pub(crate) fn content_hash(&self, package: &[PackagePage]) -> Option<ContentHash> {
        ContentHash::try_from(package.get(self.page)?.content_hashes.value(self.row)).ok()
    }

    /// The source's own version time of its row, and when its page was asked for.
    pub(crate) fn freshness(&self, package: &[PackagePage]) -> (Option<i64>, i64) {
        let Some(page) = package.get(self.page) else {
            return (None, i64::MIN);
        };
        let updated_at = page
            .updated_at
            .is_valid(self.row)
            .then(|| page.updated_at.value(self.row));
        (updated_at, page.requested_at.as_microsecond())
    }
}

/// Rows of one page and one month that are written.
#[derive(Debug, Clone)]
pub(crate) struct PageRows {
    page: usize,
    /// `None`: all of them.
    rows: Option<UInt32Array>,
    prev: TimestampMicrosecondArray,
}

impl PageRows {
    /// Rows (ascending) with the record time each supersedes, of a page with `of` rows.
    pub(crate) fn new(page: usize, rows: Vec<(u32, Option<i64>)>, of: usize) -> Self {
        let prev = rows
            .iter()
            .map(|(_, prev)| *prev)
            .collect::<TimestampMicrosecondArray>()
            .with_timezone("UTC");
        let all = rows.len() == of;
        let rows = (!all).then(|| UInt32Array::from_iter_values(rows.iter().map(|(row, _)| *row)));
        Self { page, rows, prev }
    }

    fn len(&self) -> usize {
        self.prev.len()
    }

    /// The rows with their lineage columns, in the schema of the table's files.
    pub(crate) fn rows(
        &self,
        package: &[PackagePage],
        schema: &SchemaRef,
        land: i64,
        run_id: &str,
    ) -> Result<RecordBatch> {
        let incoming = package
            .get(self.page)
            .ok_or_else(|| Error::internal("a package's part names a page that is not there"))?;
        let picked = |array: &dyn Array| -> Result<ArrayRef> {
            match &self.rows {
                None => Ok(array.slice(0, array.len())),
                Some(rows) => take(array, rows, None)
                    .or_error(ErrorKind::Internal, "rows of a page cannot be picked"),
            }
        };
        let count = self.len();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
        for (i, field) in schema.fields().iter().enumerate() {
            columns.push(match field.name().as_str() {
                RECORD_KEY => picked(&incoming.keys)?,
                RECORD_TIME => Arc::new(in_utc(&picked(&incoming.record_times)?)?),
                PREV_RECORD_TIME => Arc::new(self.prev.clone()),
                LOAD_ID => Arc::new(Int64Array::from_value(land, count)),
                CONTENT_HASH => binary(&picked(&incoming.content_hashes)?)?,
                EXTRACTED_AT => Arc::new(
                    TimestampMicrosecondArray::from_value(
                        incoming.requested_at.as_microsecond(),
                        count,
                    )
                    .with_timezone("UTC"),
                ),
                RUN_ID => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
                    run_id, count,
                ))),
                DELETED_AT => new_null_array(field.data_type(), count),
                name => match incoming.batch.columns().get(i) {
                    Some(column) if incoming.batch.schema().field(i).name() == name => {
                        picked(column)?
                    }
                    _ => {
                        return Err(Error::internal("a page lacks a column of its contract")
                            .at("column", name));
                    }
                },
            });
        }
        RecordBatch::try_new(schema.clone(), columns)
            .or_error(ErrorKind::Internal, "a page does not fit its contract")
    }
}

/// Rows of a file with the partition column they are read with.
pub(crate) fn with_month(
    rows: &RecordBatch,
    schema: &SchemaRef,
    month: &str,
) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| {
        if field.name() == MONTH {
            let months = StringArray::from_iter_values(std::iter::repeat_n(month, rows.num_rows()));
            return Ok(Arc::new(months) as ArrayRef);
        }
        rows.column_by_name(field.name())
            .cloned()
            .ok_or_else(|| Error::internal("a landed row lacks a column"))
    });
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<_>>()?)
        .or_error(ErrorKind::Internal, "landed rows do not fit their table")
}

fn in_utc(array: &ArrayRef) -> Result<TimestampMicrosecondArray> {
    use arrow::array::AsArray;
    let array = array
        .as_primitive_opt::<arrow::datatypes::TimestampMicrosecondType>()
        .ok_or_else(|| Error::internal("record times are not microseconds"))?;
    Ok(array.clone().with_timezone("UTC"))
}

fn binary(array: &ArrayRef) -> Result<ArrayRef> {
    if let DataType::FixedSizeBinary(_) = array.data_type() {
        use arrow::array::AsArray;
        let hashes = array.as_fixed_size_binary();
        return Ok(Arc::new(BinaryArray::from_iter(hashes.iter())));
    }
    cast(array, &DataType::Binary).or_error(ErrorKind::Internal, "content hashes are not bytes")
}

/// Refuses a package that does not fit its contract, before anything is read or written.
pub(crate) fn check(package: &[PackagePage], spec: &TableSpec, table: &str) -> Result<()> {
    let source = spec.source_schema();
    for page in package {
        let rows = page.batch.num_rows();
        let lengths = [
            page.keys.len(),
            page.record_times.len(),
            page.updated_at.len(),
            page.content_hashes.len(),
        ];
        let wrong =
            |what: &str| Error::internal(format!("a decoded page {what}")).at("table", table);
        if lengths.iter().any(|len| *len != rows) {
            return Err(wrong("has columns of different lengths"));
        }
        if page.content_hashes.value_length() != 17 {
            return Err(wrong("has content hashes that are not 17 bytes long"));
        }
        if page.keys.null_count() + page.content_hashes.null_count() > 0 {
            return Err(wrong("has records without key or hash"));
        }
        let schema = page.batch.schema();
        for (i, field) in schema.fields().iter().enumerate() {
            let expected = source.fields().get(i);
            if expected
                .is_none_or(|e| e.name() != field.name() || e.data_type() != field.data_type())
            {
                return Err(wrong("does not fit its contract").at("column", field.name()));
            }
        }
        if source
            .fields()
            .get(schema.fields().len())
            .is_none_or(|next| next.name() != RECORD_KEY)
        {
            return Err(wrong("lacks columns of its contract"));
        }
    }
    Ok(())
}

/// Keys of the records that are new, of those that were looked up, and are stored in another spelling; with that spelling.
pub(crate) fn other_spellings(
    package: &[PackagePage],
    looked_up: &[NewestRecord],
    known: &KnownVersions,
) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (number, stored) in &known.other_spellings {
        let at = *number as usize;
        if let (Some(record), Some(None)) = (looked_up.get(at), known.newest.get(at)) {
            found.push((record.key(package).to_owned(), stored.clone()));
        }
    }
    found
}

/// Hashes of the keys that are written.
pub(crate) fn key_hashes(package: &[PackagePage], parts: &[PageRows]) -> Vec<u64> {
    let mut hashes = Vec::with_capacity(parts.iter().map(PageRows::len).sum());
    for part in parts {
        let Some(page) = package.get(part.page) else {
            continue;
        };
        match &part.rows {
            None => hashes.extend((0..page.keys.len()).map(|row| key_hash(page.keys.value(row)))),
            Some(rows) => hashes.extend(
                rows.values()
                    .iter()
                    .map(|row| key_hash(page.keys.value(*row as usize))),
            ),
        }
    }
    hashes
}
