//! Edits of the bookkeeping tables, and reading them: only the files that can hold a wanted row are opened.
//!
//! Invariant: of the files that are there, only those are written anew that hold a row the edit changes; new rows come in a file of their own,
//! which maintenance joins with others later. Whoever loses a race reads again and does it over.

use crate::file::writer::PartitionWriter;
use crate::log::commit::{self, CommitOutcome, CommitRequest, ROUNDS};
use crate::log::data_file::DataFile;
use crate::log::registry::TableRegistry;
use crate::log::schema_evolution;
use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use crate::ops::published_note::NoteCache;
use crate::ops::row_codec::BookkeepingRow;
use crate::ops::slices::LedgerCache;
use crate::scan::{self, RowFilter};
use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use deltalake::kernel::Action;
use deltalake::protocol::{DeltaOperation, SaveMode};
use futures::{StreamExt, stream};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tillhouse_model::table::{MONTH, PIPELINE};
use tillhouse_model::{Error, Result};

/// Files that are read at once,
const READ_AT_ONCE: usize = 8;
/// as long as each is smaller than this many bytes.
const SMALL_FILE: u64 = 1 << 20;

/// The bookkeeping tables. A cheap handle.
#[derive(Clone)]
pub struct OpsTables {
    pub(crate) registry: Arc<TableRegistry>,
    /// True once it was said that the newest run lies in the future.
    pub(crate) warned: Arc<AtomicBool>,
    /// The note of the newest run.
    pub(crate) note: NoteCache,
    /// The coverage ledger.
    pub(crate) ledger: LedgerCache,
}

/// Edit of a bookkeeping table: `note` sees every present row, `changed` gives the new form of each, `added` the new rows.
pub(crate) trait BookkeepingEdit<R>: Sync + Send {
    /// Forgets what it noted: the work begins anew on another version.
    fn begin(&mut self) {}
    /// The version of the table that will have the change.
    fn becomes(&mut self, _version: u64) {}
    /// True if present rows matter at all.
    fn looks_back(&self) -> bool {
        true
    }
    /// The pipelines whose present rows matter; all where it does not say.
    fn pipelines(&self) -> Option<BTreeSet<&str>> {
        None
    }
    /// True if a checkpoint that the change makes due is written at once; otherwise whoever asked for it does.
    fn checkpoints(&self) -> bool {
        true
    }
    fn note(&mut self, row: &R);
    fn changed(&self, row: &R) -> Option<R>;
    fn added(&self) -> Vec<R>;
}

/// Append of rows, whatever rows are there.
pub(crate) struct RowAppend<'a, R>(pub(crate) &'a [R]);

impl<R: BookkeepingRow> BookkeepingEdit<R> for RowAppend<'_, R> {
    fn looks_back(&self) -> bool {
        false
    }
    fn note(&mut self, _: &R) {}
    fn changed(&self, _: &R) -> Option<R> {
        None
    }
    fn added(&self) -> Vec<R> {
        self.0.to_vec()
    }
}

/// Places of the files that may hold a row of one of the pipelines, as far as the log tells.
fn files_of(snapshot: &Snapshot, pipelines: Option<&BTreeSet<&str>>) -> Vec<usize> {
    let all = 0..snapshot.files.len();
    let bounds = snapshot.statistics.of(PIPELINE);
    let (Some(wanted), Some(bounds)) = (pipelines, bounds) else {
        return all.collect();
    };
    let texts = bounds
        .min
        .as_string_opt::<i32>()
        .zip(bounds.max.as_string_opt::<i32>());
    let Some((min, max)) = texts else {
        return all.collect();
    };
    all.filter(|at| {
        let is_told = *at < min.len() && min.is_valid(*at) && max.is_valid(*at);
        !is_told
            || wanted
                .iter()
                .any(|name| min.value(*at) <= *name && *name <= max.value(*at))
    })
    .collect()
}

/// The largest value of a column of whole numbers in a file; `None` where the log does not tell.
pub(crate) fn largest(snapshot: &Snapshot, column: &str, at: usize) -> Option<i64> {
    let max = snapshot
        .statistics
        .of(column)?
        .max
        .as_primitive_opt::<Int64Type>()?;
    (at < max.len() && max.is_valid(at)).then(|| max.value(at))
}

/// Shows every row of some files, by their places in a snapshot: small files are read side by side, larger ones batch by batch.
pub(crate) async fn for_each_row<R: BookkeepingRow>(
    table: &Arc<TableHandle>,
    snapshot: &Snapshot,
    places: Vec<usize>,
    show: impl FnMut(usize, R) + Send,
) -> Result<()> {
    for_each_row_of(table, snapshot, places, None, show).await
}

/// As [`for_each_row`], only the rows that pass a filter.
pub(crate) async fn for_each_row_of<R: BookkeepingRow>(
    table: &Arc<TableHandle>,
    snapshot: &Snapshot,
    places: Vec<usize>,
    only: Option<&RowFilter>,
    mut show: impl FnMut(usize, R) + Send,
) -> Result<()> {
    let files = places
        .into_iter()
        .filter_map(|place| Some((place, snapshot.files.get(place)?.clone())));
    let (small, large): (Vec<_>, Vec<_>) = files.partition(|(_, file)| file.size < SMALL_FILE);
    let read = small.into_iter().map(|(place, file)| {
        let table = Arc::clone(table);
        async move {
            let mut rows = Vec::new();
            let mut batches = scan::projected_rows(&table, &file, R::schema(), only).await?;
            while let Some(batch) = batches.next().await {
                rows.extend(R::decode(&batch?)?);
            }
            Ok::<_, Error>((place, rows))
        }
    });
    let mut read = stream::iter(read).buffered(READ_AT_ONCE);
    while let Some(of_file) = read.next().await {
        let (place, rows) = of_file?;
        rows.into_iter().for_each(|row| show(place, row));
    }
    for (place, file) in large {
        let mut batches = scan::projected_rows(table, &file, R::schema(), only).await?;
        while let Some(batch) = batches.next().await {
            R::decode(&batch?)?
                .into_iter()
                .for_each(|row| show(place, row));
        }
    }
    Ok(())
}

impl OpsTables {
    /// The rows that are wanted, of some pipelines or of all.
    pub(crate) async fn read<R: BookkeepingRow>(
        &self,
        pipelines: Option<&BTreeSet<&str>>,
        wanted: impl Fn(&R) -> bool + Send,
    ) -> Result<Vec<R>> {
        let table = self.registry.table(R::TABLE)?;
        let Some(snapshot) = table.newest().await? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        let places = files_of(&snapshot, pipelines);
        let taken = &mut found;
        for_each_row(&table, &snapshot, places, move |_, row| {
            if wanted(&row) {
                taken.push(row);
            }
        })
        .await?;
        Ok(found)
    }

    /// Edits a table, in one commit or none.
    pub(crate) async fn edit<R: BookkeepingRow>(
        &self,
        run_id: &str,
        edit: &mut dyn BookkeepingEdit<R>,
    ) -> Result<()> {
        let table = self.registry.table(R::TABLE)?;
        let statistics: Vec<String> = R::STATISTICS.iter().map(|&name| name.into()).collect();
        let layout = Arc::new(R::layout(&statistics)?);
        for _ in 0..ROUNDS {
            edit.begin();
            let present = table.latest().await?;
            let mut snapshot = match present {
                Some(snapshot) => snapshot,
                // Nothing is there to be changed, and nothing comes: no table for nothing.
                None if edit.added().is_empty() => return Ok(()),
                None => table.latest_or_create(&layout.definition, run_id).await?,
            };
            // A table of an older version gains the columns that have come since.
            if !schema_evolution::ensure(&table, &mut snapshot, &layout.definition, run_id).await? {
                continue;
            }
            edit.becomes(snapshot.version + 1);
            let touched = files_to_rewrite(&table, &snapshot, edit).await?;
            let mut added: BTreeMap<String, Vec<R>> = BTreeMap::new();
            for row in edit.added() {
                added.entry(row.month()).or_default().push(row);
            }
            let rewritten: Vec<&DataFile> = snapshot
                .files
                .iter()
                .filter(|file| touched.contains(&file.path))
                .collect();
            if rewritten.is_empty() && added.is_empty() {
                return Ok(());
            }
            let mut months: BTreeMap<String, (Vec<&DataFile>, Vec<R>)> = BTreeMap::new();
            for file in &rewritten {
                months
                    .entry(file.partition_value(MONTH).unwrap_or_default().to_owned())
                    .or_default()
                    .0
                    .push(file);
            }
            for (month, rows) in added {
                months.entry(month).or_default().1 = rows;
            }
            let mut adds = Vec::new();
            for (month, (files, rows)) in months {
                let mut writer = PartitionWriter::new(
                    &table,
                    layout.clone(),
                    vec![(MONTH.to_owned(), Some(month))],
                );
                for file in files {
                    let mut batches = scan::rows(&table, file, R::schema()).await?;
                    while let Some(batch) = batches.next().await {
                        let rows = R::decode(&batch?)?;
                        let rows: Vec<R> = rows
                            .into_iter()
                            .map(|row| edit.changed(&row).unwrap_or(row))
                            .collect();
                        let batch = R::encode(&rows)?;
                        writer.write(move |encoder| encoder.write(&batch)).await?;
                    }
                }
                if !rows.is_empty() {
                    let batch = R::encode(&rows)?;
                    writer.write(move |encoder| encoder.write(&batch)).await?;
                }
                adds.extend(writer.finish().await?);
            }
            let written: Vec<String> = adds.iter().map(|add| add.path.clone()).collect();
            let removes = rewritten.iter().map(|file| commit::remove(file));
            let change = CommitRequest {
                actions: removes.chain(adds.into_iter().map(Action::Add)).collect(),
                operation: DeltaOperation::Write {
                    mode: if rewritten.is_empty() {
                        SaveMode::Append
                    } else {
                        SaveMode::Overwrite
                    },
                    partition_by: Some(layout.definition.partition_by.clone()),
                    predicate: None,
                },
                watermarks: Vec::new(),
                run_id,
            };
            match commit::commit(&table, &snapshot, &change).await? {
                CommitOutcome::Committed(version) => {
                    if edit.checkpoints() {
                        table.checkpoint_if_due(version).await;
                    }
                    return Ok(());
                }
                CommitOutcome::Lost => commit::discard(&table, written).await,
            }
        }
        Err(commit::too_many_conflicts(&table))
    }
}

/// Data files in which the edit changes a row; shows every present row to the edit.
async fn files_to_rewrite<R: BookkeepingRow>(
    table: &Arc<TableHandle>,
    snapshot: &Snapshot,
    edit: &mut dyn BookkeepingEdit<R>,
) -> Result<HashSet<String>> {
    let mut touched = HashSet::new();
    if !edit.looks_back() {
        return Ok(touched);
    }
    let places = files_of(snapshot, edit.pipelines().as_ref());
    for_each_row(table, snapshot, places, |place, row| {
        edit.note(&row);
        if edit.changed(&row).is_some()
            && let Some(file) = snapshot.files.get(place)
        {
            touched.insert(file.path.clone());
        }
    })
    .await?;
    Ok(touched)
}
