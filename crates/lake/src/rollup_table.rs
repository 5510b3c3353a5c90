//! Roll-ups: what the unified tables add up to, hour by hour.
//!
//! Invariant: the rows of an hour are replaced as a whole, and the commit that does it records which versions of the unified tables
//! they were counted from. Those versions only ever rise.
//!
//! ```text
//!   touched hours --> files of their (pipeline, month) --> of those, the hour column --> files with hits, streamed anew without
//!   new rows      --> the same files, and small neighbours with them, so that files do not pile up
//!   one commit: remove + add + txn
//! ```
//!
//! The counted versions stand in one `txn` mark a unified table. An edition is part of the mark's name: a roll-up whose columns mean
//! something else now has no marks, and is counted anew.

use crate::commit::{self, Change, Outcome};
use crate::datafile::Layout;
use crate::delta::{DataFile, Shape, Snapshot, Table};
use crate::difference::{Hours, Touched};
use crate::evolve;
use crate::month::Months;
use crate::scan;
use crate::split::Splitter;
use crate::unified_table::{Replaced, Rows};
use crate::warehouse::Warehouse;
use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use deltalake::kernel::Action;
use deltalake::protocol::DeltaOperation;
use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tillhouse_model::table::MONTH;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// The column that names an hour by its start.
pub const HOUR: &str = "hour";
/// A data file below this size is written together with new rows of its month.
const SMALL_BYTES: u64 = 1 << 20;

/// Which version of which unified table was counted, by the table's name.
pub type Counted = BTreeMap<String, u64>;

/// One roll-up. A cheap handle.
#[derive(Clone)]
pub struct RollupTable {
    pub(crate) warehouse: Warehouse,
    pub(crate) path: String,
    pub(crate) schema: SchemaRef,
    pub(crate) sources: Vec<String>,
    pub(crate) edition: u32,
}

impl Warehouse {
    /// A roll-up of some unified tables (`sources`, by name), in some edition of its definition. The schema has `pipeline`, `month`
    /// and [`HOUR`]. No I/O; the table is made by the first replacement.
    pub fn rollup_table(&self, name: &str, schema: SchemaRef, sources: &[&str], edition: u32) -> RollupTable {
        RollupTable {
            warehouse: self.clone(),
            path: format!("statistics/{name}"),
            schema,
            sources: sources.iter().map(|source| (*source).to_owned()).collect(),
            edition,
        }
    }
}

impl RollupTable {
    /// The newest version, and the versions its rows were counted from: none at first, and in a new edition.
    pub async fn counted(&self) -> Result<(Option<u64>, Counted)> {
        let table = self.table()?;
        match table.latest().await? {
            Some(snapshot) => Ok((Some(snapshot.version), self.counted_at(&table, &snapshot).await?)),
            None => Ok((None, Counted::new())),
        }
    }

    /// The pipelines that have rows.
    pub async fn pipelines(&self) -> Result<BTreeSet<String>> {
        let Some(snapshot) = self.table()?.latest().await? else { return Ok(BTreeSet::new()) };
        Ok(snapshot.files.iter().filter_map(|file| file.partition_value("pipeline")).map(str::to_owned).collect())
    }

    /// Replaces the rows of the touched hours and records what was counted, in one commit. The rows are all there are of these
    /// hours, and none of others.
    ///
    /// `None`: the table was not, or no longer, counted from `was`. Nothing is written then; look again.
    pub async fn replace(
        &self,
        was: &Counted,
        counted: &Counted,
        touched: &Touched,
        mut rows: Rows,
        run_id: &str,
    ) -> Result<Option<Replaced>> {
        let table = self.table()?;
        let partition_by = vec!["pipeline".to_owned(), MONTH.to_owned()];
        let layout = Arc::new(Layout::new(self.schema.clone(), &[HOUR.to_owned()], partition_by)?);
        let shape = Shape { schema: layout.schema.clone(), partition_by: layout.partition_by.clone() };
        let mut snapshot = table.latest_or_create(&shape, &layout.stat_columns, run_id).await?;
        if !evolve::fits(&table, &mut snapshot, &layout, run_id).await?
            || self.counted_at(&table, &snapshot).await? != *was
        {
            return Ok(None);
        }
        let mut splitter = Splitter::new(table.clone(), layout.clone())?;
        while let Some(batch) = rows.next().await {
            splitter.write(batch?).await?;
        }
        let rows_added = splitter.rows();
        let mut replaced = Replaced { rows_added, ..Replaced::default() };
        let mut removed = Vec::new();
        let months = months(touched);
        for file in snapshot.files.iter() {
            let Some(pipeline) = file.partition_value("pipeline") else { continue };
            match touched.0.get(pipeline) {
                None => {}
                Some(Hours::Every) => {
                    replaced.rows_removed += file.rows.unwrap_or(0);
                    removed.push(commit::remove(file));
                }
                Some(Hours::These(hours)) => {
                    let of_month = file.partition_value(MONTH).is_some_and(|m| months.contains(&(pipeline, m.into())));
                    if of_month && self.take_out(&table, file, hours, &layout, &mut splitter, &mut replaced).await? {
                        removed.push(commit::remove(file));
                    }
                }
            }
        }
        let added = splitter.finish().await?;
        let written: Vec<String> = added.iter().map(|add| add.path.clone()).collect();
        let change = Change {
            actions: removed.into_iter().chain(added.into_iter().map(Action::Add)).collect(),
            operation: DeltaOperation::Update { predicate: None },
            marks: counted
                .iter()
                .map(|(source, version)| Ok((self.mark(source), mark(*version)?)))
                .collect::<Result<_>>()?,
            run_id,
        };
        match commit::commit(&table, &snapshot, &change).await? {
            Outcome::Committed(version) => {
                table.checkpoint_if_due(version).await;
                Ok(Some(Replaced { version, ..replaced }))
            }
            Outcome::Lost => {
                commit::discard(&table, written).await;
                Ok(None)
            }
        }
    }

    /// Writes a file's rows anew without the touched hours, where it holds one, or is small. Whether it did.
    async fn take_out(
        &self,
        table: &Arc<Table>,
        file: &DataFile,
        hours: &BTreeSet<Option<i64>>,
        layout: &Layout,
        splitter: &mut Splitter,
        replaced: &mut Replaced,
    ) -> Result<bool> {
        replaced.files_read += 1;
        let mut hits = 0;
        let mut batches = scan::columns(table, file, vec![HOUR.to_owned()]).await?;
        while let Some(batch) = batches.next().await {
            hits += hours_of(&batch?)?.filter(|hour| hours.contains(hour)).count() as u64;
        }
        replaced.rows_removed += hits;
        if hits > 0 && file.rows == Some(hits) {
            return Ok(true);
        }
        if hits == 0 && file.size >= SMALL_BYTES {
            return Ok(false);
        }
        let mut batches = scan::rows(table, file, layout.schema.clone()).await?;
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            let stays: BooleanArray = hours_of(&batch)?.map(|hour| Some(!hours.contains(&hour))).collect();
            let rest = filter_record_batch(&batch, &stays).or_error(ErrorKind::Internal, "rows cannot be filtered")?;
            splitter.write(rest).await?;
        }
        Ok(true)
    }

    /// The path below the warehouse.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The unified tables it is counted from.
    pub fn sources(&self) -> &[String] {
        &self.sources
    }

    fn table(&self) -> Result<Arc<Table>> {
        self.warehouse.table(&self.path)
    }

    fn mark(&self, source: &str) -> String {
        format!("unified.{source}#{}", self.edition)
    }

    async fn counted_at(&self, table: &Table, snapshot: &Snapshot) -> Result<Counted> {
        let mut counted = Counted::new();
        for source in &self.sources {
            if let Some(mark) = table.mark(snapshot, &self.mark(source)).await? {
                let version = u64::try_from(mark).or_error(ErrorKind::Storage, "a roll-up's mark is no version")?;
                counted.insert(source.clone(), version);
            }
        }
        Ok(counted)
    }
}

fn mark(version: u64) -> Result<i64> {
    i64::try_from(version).or_error(ErrorKind::Internal, "a table has too many versions")
}

/// The partitions the touched hours are in.
fn months(touched: &Touched) -> BTreeSet<(&str, String)> {
    let mut found = BTreeSet::new();
    let mut months = Months::default();
    for (pipeline, hours) in &touched.0 {
        if let Hours::These(hours) = hours {
            found.extend(hours.iter().map(|hour| (pipeline.as_str(), months.of(*hour).to_owned())));
        }
    }
    found
}

fn hours_of(batch: &RecordBatch) -> Result<impl Iterator<Item = Option<i64>>> {
    let hours = batch.column_by_name(HOUR).and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
    Ok(hours.ok_or_else(|| Error::new(ErrorKind::Storage, "a roll-up's data file has no hours"))?.iter())
}

#[cfg(test)]
#[path = "rollup_table_tests.rs"]
mod tests;
