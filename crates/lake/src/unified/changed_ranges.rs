//! Differences between two versions of a unified table: the files that only one of them has, and the ranges whose rows differ.
//!
//! Invariant: a range is left out only where both versions hold the very same rows for it, in the columns that were named. Rows
//! that were merely written anew into another file, as every replacement and every compaction does, cancel out.
//!
//! ```text
//!   files of both versions                     never opened
//!   (pipeline, month) with new files only      their ranges
//!   (pipeline, month) with old and new files   per range the sum of a hash of every row: new ones plus, old ones minus
//! ```
//!
//! Rejected: to compare `_load_id`, which stays when a changed child has its parent unified anew, and to be told by unify which
//! ranges it touched, which is forgotten when it dies before the tables that are made from these are written.

use crate::log::data_file::DataFile;
use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use crate::log::table_version::TableVersion;
use crate::ranges::{ChangedRanges, RangeColumn, RangeSet};
use crate::scan::{self, ScanRequest};
use crate::table_provider::provider;
use arrow::array::{ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Schema, TimestampMicrosecondType};
use arrow::row::{RowConverter, SortField};
use deltalake::datafusion::catalog::TableProvider;
use deltalake::datafusion::execution::session_state::SessionState;
use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tillhouse_model::table::{MONTH, PIPELINE};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// Stands for the hash of no text.
const OF_NULL: u64 = 0;

/// Columns in which the rows of two versions are compared.
pub struct ComparedColumns<'a> {
    /// The column that cuts the rows into ranges; it is compared too.
    pub by: RangeColumn,
    /// The others.
    pub columns: &'a [&'a str],
    /// Those of them that are text of which hardly a value repeats: read value by value, where all other text comes as dictionaries.
    pub distinct: &'a [&'a str],
}

/// Data files that only one of two versions has, each side as a table; `None` where there are none.
pub struct ChangedFiles {
    /// Files that only the earlier version has.
    pub removed: Option<Arc<dyn TableProvider>>,
    /// Files that only the later version has.
    pub added: Option<Arc<dyn TableProvider>>,
}

/// The ranges in which the rows of a unified table differ between two of its versions, by pipeline. Without an earlier version every
/// range of every pipeline does.
///
/// Errors with [`ErrorKind::Storage`] when a version, or a file of it, is gone.
pub(crate) async fn changed_ranges(
    table: &TableHandle,
    since: Option<&TableVersion>,
    now: &TableVersion,
    compared: &ComparedColumns<'_>,
) -> Result<ChangedRanges> {
    let later = at(table, now).await?;
    let mut touched = ChangedRanges::default();
    let Some(since) = since else {
        for file in later.files.iter() {
            touched.add(file.pipeline()?, RangeSet::All);
        }
        return Ok(touched);
    };
    if since == now {
        return Ok(touched);
    }
    let earlier = at(table, since).await?;
    let mut partitions: BTreeMap<(&str, Option<&str>), PartitionChanges> = BTreeMap::new();
    for (file, is_new) in differing(&earlier, &later) {
        let changed = partitions
            .entry((file.pipeline()?, file.partition_value(MONTH)))
            .or_default();
        if is_new {
            changed.added.push(file.clone())
        } else {
            changed.removed.push(file.clone())
        }
    }
    let all = partitions.values();
    let all = all.flat_map(|changed| changed.added.iter().chain(&changed.removed));
    scan::read_ahead(table, all).await;
    let schema = later.schema();
    for ((pipeline, _), changed) in partitions {
        touched.add(
            pipeline,
            RangeSet::Only(changed.ranges(table, &schema, compared).await?),
        );
    }
    Ok(touched)
}

/// The files that only one of two versions of a table has, as tables for a query engine. Without an earlier version
/// everything has come.
///
/// Errors with [`ErrorKind::Storage`] when a version is gone.
pub(crate) async fn changed_files(
    table: &Arc<TableHandle>,
    since: Option<&TableVersion>,
    now: &TableVersion,
    session: Arc<SessionState>,
) -> Result<ChangedFiles> {
    let later = at(table, now).await?;
    let Some(since) = since else {
        return Ok(ChangedFiles {
            removed: None,
            added: Some(provider(table, &later, Some(&session), None)?),
        });
    };
    let earlier = at(table, since).await?;
    let mut files: [Vec<String>; 2] = [Vec::new(), Vec::new()];
    for (file, is_new) in differing(&earlier, &later) {
        files[usize::from(is_new)].push(file.path.clone());
    }
    let [gone, come] = files;
    let open = |snapshot: &Snapshot, files: &[String]| match files {
        [] => Ok(None),
        files => provider(table, snapshot, Some(&session), Some(files)).map(Some),
    };
    Ok(ChangedFiles {
        removed: open(&earlier, &gone)?,
        added: open(&later, &come)?,
    })
}

async fn at(table: &TableHandle, version: &TableVersion) -> Result<Snapshot> {
    table.at(version).await?.ok_or_else(|| {
        Error::new(ErrorKind::Storage, "the table is gone")
            .at("table", table.path())
            .at("version", version.to_string())
    })
}

/// The files that only one version has; `true` for the later one's.
fn differing<'a>(
    earlier: &'a Snapshot,
    later: &'a Snapshot,
) -> impl Iterator<Item = (&'a DataFile, bool)> {
    let names = |snapshot: &'a Snapshot| {
        snapshot
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect::<HashSet<_>>()
    };
    let (before, after) = (names(earlier), names(later));
    let gone = earlier
        .files
        .iter()
        .filter(move |file| !after.contains(file.path.as_str()));
    let come = later
        .files
        .iter()
        .filter(move |file| !before.contains(file.path.as_str()));
    gone.map(|file| (file, false))
        .chain(come.map(|file| (file, true)))
}

/// Data files of one partition that were removed and added.
#[derive(Default)]
struct PartitionChanges {
    removed: Vec<DataFile>,
    added: Vec<DataFile>,
}

/// Added less removed rows of a range: how many, and the sum of their hashes.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct RangeBalance {
    rows: i64,
    hashes: u128,
}

impl PartitionChanges {
    async fn ranges(
        &self,
        table: &TableHandle,
        schema: &Schema,
        compared: &ComparedColumns<'_>,
    ) -> Result<BTreeSet<Option<i64>>> {
        let compares = !self.removed.is_empty() && !self.added.is_empty();
        let mut wanted = vec![compared.by.name()];
        if compares {
            // Partition columns are the same in all of these files.
            let is_there = |name: &&str| {
                schema.field_with_name(name).is_ok() && ![PIPELINE, MONTH].contains(name)
            };
            wanted.extend(
                compared
                    .columns
                    .iter()
                    .copied()
                    .filter(|name| *name != compared.by.name())
                    .filter(is_there),
            );
        }
        let mut hasher = RowHasher::new(schema, &wanted, compared)?;
        let mut balances: HashMap<Option<i64>, RangeBalance> = HashMap::new();
        for (files, sign) in [(&self.added, 1), (&self.removed, -1)] {
            for file in files {
                let mut batches = scan::scan_file(table, file, &hasher.scan_request(), &[]).await?;
                while let Some(batch) = batches.next().await {
                    hasher
                        .count(&batch?, compares, sign, &mut balances)
                        .map_err(|e| e.at("file", &file.path))?;
                }
            }
        }
        let differs = |balance: &RangeBalance| !compares || *balance != RangeBalance::default();
        Ok(balances
            .into_iter()
            .filter(|(_, balance)| differs(balance))
            .map(|(range, _)| range)
            .collect())
    }
}

/// Hashes rows over chosen columns. Of text that repeats, every value of a dictionary is hashed once, not once a row.
struct RowHasher {
    by: RangeColumn,
    /// The first is the one that cuts rows into ranges.
    fixed: Vec<(String, DataType)>,
    rows: RowConverter,
    texts: Vec<String>,
    /// Those of them that are read value by value.
    distinct: Vec<String>,
}

impl RowHasher {
    fn new(schema: &Schema, wanted: &[&str], compared: &ComparedColumns<'_>) -> Result<Self> {
        let (mut fixed, mut texts) = (Vec::new(), Vec::new());
        for name in wanted {
            let field = schema
                .field_with_name(name)
                .or_error(ErrorKind::Storage, "a table lacks a column")?;
            match field.data_type() {
                DataType::Utf8 => texts.push((*name).to_owned()),
                kind => fixed.push(((*name).to_owned(), kind.clone())),
            }
        }
        let fields = fixed
            .iter()
            .map(|(_, kind)| SortField::new(kind.clone()))
            .collect();
        let rows = RowConverter::new(fields)
            .or_error(ErrorKind::Internal, "rows of a table cannot be compared")?;
        Ok(Self {
            by: compared.by,
            fixed,
            rows,
            texts,
            distinct: compared
                .distinct
                .iter()
                .map(|name| (*name).to_owned())
                .collect(),
        })
    }

    fn scan_request(&self) -> ScanRequest {
        let (distinct, labels) = self
            .texts
            .iter()
            .cloned()
            .partition(|name| self.distinct.contains(name));
        let columns = self
            .fixed
            .iter()
            .map(|(name, _)| name.clone())
            .chain::<Vec<_>>(distinct)
            .collect();
        ScanRequest {
            labels,
            columns,
            row_filter: None,
        }
    }

    /// Adds a batch's rows to the balance of their ranges, with their hashes only where they matter.
    fn count(
        &mut self,
        batch: &RecordBatch,
        hashes: bool,
        sign: i64,
        balances: &mut HashMap<Option<i64>, RangeBalance>,
    ) -> Result<()> {
        let arrays: Vec<ArrayRef> = self
            .fixed
            .iter()
            .map(|(name, kind)| match batch.column_by_name(name) {
                // A file from before the column was added.
                None => Ok(new_null_array(kind, batch.num_rows())),
                Some(array) if array.data_type() == kind => Ok(array.clone()),
                Some(array) => cast(array, kind)
                    .or_error(ErrorKind::Storage, "a data file does not fit its table"),
            })
            .collect::<Result<_>>()?;
        let times = arrays
            .first()
            .and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
        let times = times.ok_or_else(|| {
            Error::new(ErrorKind::Storage, format!("{} is no time", self.by.name()))
        })?;
        let hashed = if hashes {
            Some(self.hashes(batch, &arrays)?)
        } else {
            None
        };
        let mut words = Vec::new();
        let (mut range, mut balance) = (None, RangeBalance::default());
        for (row, time) in times.iter().enumerate() {
            let of_row = time.map(|time| self.by.start_of(time));
            // Neighbouring rows are mostly of one range.
            if of_row != range {
                add(balances, range, balance);
                (range, balance) = (of_row, RangeBalance::default());
            }
            balance.rows += sign;
            if let Some(hashed) = &hashed {
                words.clear();
                words.extend(hashed.iter().flat_map(|column| column[row].to_le_bytes()));
                let hash = xxh3_128(&words);
                balance.hashes = if sign > 0 {
                    balance.hashes.wrapping_add(hash)
                } else {
                    balance.hashes.wrapping_sub(hash)
                };
            }
        }
        add(balances, range, balance);
        Ok(())
    }

    /// A hash a row of the columns of fixed width together, and of each text.
    fn hashes(&mut self, batch: &RecordBatch, fixed: &[ArrayRef]) -> Result<Vec<Vec<u64>>> {
        let rows = self
            .rows
            .convert_columns(fixed)
            .or_error(ErrorKind::Internal, "rows cannot be compared")?;
        let mut hashed = vec![rows.iter().map(|row| xxh3_64(row.as_ref())).collect()];
        for name in &self.texts {
            hashed.push(match batch.column_by_name(name) {
                None => vec![OF_NULL; batch.num_rows()],
                Some(array) => text_hashes(array)?,
            });
        }
        Ok(hashed)
    }
}

/// A hash a row of a text, however it was read.
fn text_hashes(array: &ArrayRef) -> Result<Vec<u64>> {
    let of = |text: Option<&str>| text.map_or(OF_NULL, |text| xxh3_64(text.as_bytes()));
    if let Some(array) = array.as_dictionary_opt::<Int32Type>() {
        let values: Vec<u64> = array.values().as_string::<i32>().iter().map(of).collect();
        let hash = |key: Option<i32>| {
            key.and_then(|key| values.get(usize::try_from(key).ok()?))
                .copied()
        };
        return Ok(array
            .keys()
            .iter()
            .map(|key| hash(key).unwrap_or(OF_NULL))
            .collect());
    }
    let array = cast(array, &DataType::Utf8)
        .or_error(ErrorKind::Storage, "a data file does not fit its table")?;
    Ok(array.as_string::<i32>().iter().map(of).collect())
}

fn add(balances: &mut HashMap<Option<i64>, RangeBalance>, range: Option<i64>, more: RangeBalance) {
    if more != RangeBalance::default() {
        let balance = balances.entry(range).or_default();
        balance.rows += more.rows;
        balance.hashes = balance.hashes.wrapping_add(more.hashes);
    }
}

#[cfg(test)]
#[path = "changed_ranges_tests.rs"]
mod tests;
