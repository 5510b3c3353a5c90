//! Edits of the bookkeeping tables: a month's file is written anew, or nothing is.
//!
//! Invariant: a change writes the month's file anew instead of adding one, so the tables do not grow by a file a run; whoever loses a race
//! reads again and does it over.

use crate::file::layout::TableLayout;
use crate::file::writer::PartitionWriter;
use crate::log::commit::{self, CommitOutcome, CommitRequest, ROUNDS};
use crate::log::data_file::DataFile;
use crate::log::registry::TableRegistry;
use crate::log::schema_evolution;
use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use crate::ops::published_note::NoteCache;
use crate::ops::row_codec::BookkeepingRow;
use crate::scan;
use deltalake::kernel::Action;
use deltalake::protocol::{DeltaOperation, SaveMode};
use futures::StreamExt;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tillhouse_model::Result;
use tillhouse_model::table::MONTH;

/// The bookkeeping tables. A cheap handle.
#[derive(Clone)]
pub struct OpsTables {
    pub(crate) registry: Arc<TableRegistry>,
    /// True once it was said that the newest run lies in the future.
    pub(crate) warned: Arc<AtomicBool>,
    /// The note of the newest run.
    pub(crate) note: NoteCache,
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
    fn note(&mut self, row: &R);
    fn changed(&self, row: &R) -> Option<R>;
    fn added(&self) -> Vec<R>;
}

impl OpsTables {
    /// The rows that are wanted.
    pub(crate) async fn read<R: BookkeepingRow>(
        &self,
        wanted: impl Fn(&R) -> bool,
    ) -> Result<Vec<R>> {
        let table = self.registry.table(R::TABLE)?;
        let Some(snapshot) = table.newest().await? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for file in snapshot.files.iter() {
            let mut batches = scan::rows(&table, file, R::schema()).await?;
            while let Some(batch) = batches.next().await {
                found.extend(R::decode(&batch?)?.into_iter().filter(&wanted));
            }
        }
        Ok(found)
    }

    /// Edits a table, in one commit or none.
    pub(crate) async fn edit<R: BookkeepingRow>(
        &self,
        run_id: &str,
        edit: &mut dyn BookkeepingEdit<R>,
    ) -> Result<()> {
        let table = self.registry.table(R::TABLE)?;
        let layout = Arc::new(TableLayout::new(
            R::schema(),
            &["run_id".to_owned()],
            vec![MONTH.to_owned()],
        )?);
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
                .filter(|file| {
                    touched.contains(&file.path)
                        || file
                            .partition_value(MONTH)
                            .is_some_and(|m| added.contains_key(m))
                })
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
                    mode: SaveMode::Overwrite,
                    partition_by: Some(layout.definition.partition_by.clone()),
                    predicate: None,
                },
                watermarks: Vec::new(),
                run_id,
            };
            match commit::commit(&table, &snapshot, &change).await? {
                CommitOutcome::Committed(version) => {
                    table.checkpoint_if_due(version).await;
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
    table: &TableHandle,
    snapshot: &Snapshot,
    edit: &mut dyn BookkeepingEdit<R>,
) -> Result<HashSet<String>> {
    let mut touched = HashSet::new();
    if !edit.looks_back() {
        return Ok(touched);
    }
    for file in snapshot.files.iter() {
        let mut batches = scan::rows(table, file, R::schema()).await?;
        while let Some(batch) = batches.next().await {
            for row in R::decode(&batch?)? {
                edit.note(&row);
                if edit.changed(&row).is_some() {
                    touched.insert(file.path.clone());
                }
            }
        }
    }
    Ok(touched)
}
