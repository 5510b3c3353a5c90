//! Compaction: the small data files of a partition become few.
//!
//! Invariant: rows, their `_load_id` and the table's watermarks stay as they are; what is added holds exactly the rows of what is removed, in
//! one commit by compare-and-swap. An output of which another writer has removed an input meanwhile is dropped, and done again.
//!
//! ```text
//!   small files of a partition, in time order --> rows, a file after the other, sorted by time in stretches --> files of up to 128 MiB
//!   one commit a table: remove + add, `dataChange` false; no watermark
//! ```
//!
//! Memory holds one stretch of rows and one row group of each of two files, whatever the size of the table.
//!
//! Rejected: the Delta library's `optimize`. Its conflict check lets a compaction and an upsert that race both commit, which doubles rows, and its writer
//! does not keep our statistics. Rejected too: a merge of all inputs by time. It holds a row group of every input; inputs in time order give files
//! that are as easy to prune.

use crate::file::layout::TableLayout;
use crate::file::writer::PartitionWriter;
use crate::log::commit::{self, CommitOutcome, CommitRequest, ROUNDS};
use crate::log::create::TableDefinition;
use crate::log::data_file::DataFile;
use crate::log::remedy::remedy;
use crate::log::table::TableHandle;
use crate::log::table_version::TableVersion;
use crate::maintenance::layout::layout_of;
use crate::ops::maintenance::{COMPACT, MaintenanceNotes, MaintenanceRow};
use crate::ops::older_copy::AheadTable;
use crate::ops::row_codec::BookkeepingRow;
use crate::scan;
use crate::warehouse::Warehouse;
use crate::warehouse::integrity::{LostTable, lost_commits};
use arrow::compute::{SortOptions, concat_batches, sort_to_indices, take_record_batch};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use deltalake::kernel::{Action, Add};
use deltalake::protocol::DeltaOperation;
use futures::StreamExt;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;
use tillhouse_model::table::PIPELINE;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Files below this size are small.
const SMALL_BYTES: u64 = 64 << 20;
/// Bytes of inputs of one output; it may become several files.
const GROUP_BYTES: u64 = 256 << 20;
/// Rows that are sorted together.
const STRETCH_ROWS: usize = 65_536;
/// Bytes of rows that are sorted together.
const STRETCH_BYTES: usize = 16 << 20;
/// Rows handed to the encoder at once.
const BATCH_ROWS: usize = 8_192;
/// A file is not written again for files that are, all together, less than this part of it.
const MUCH_LARGER: u64 = 4;
/// Size below which a file is always worth writing again.
const TINY_BYTES: u64 = 1 << 20;
/// Most times that a table is looked at again because another writer has taken an input away.
const LOOKS: usize = 5;
/// Small files of a month of `ops/maintenance` that are worth a compaction.
const OWN_FILES: usize = 8;
/// Target size that is noted in the log.
const TARGET_BYTES: i64 = 128 << 20;

/// Bounds of a compaction.
#[derive(Debug, Clone, Copy)]
pub struct CompactionOptions {
    /// Says what would be done, and does nothing.
    pub dry_run: bool,
    /// A partition is left alone while it has fewer small files; at least 2.
    pub small_files: usize,
    /// Leaves a file alone that is much larger than all smaller ones of its partition together: what is compacted often must not write the
    /// same rows again each time.
    pub spares_large: bool,
    /// Most bytes that are read.
    pub bytes: Option<u64>,
    /// No further partition is begun after this moment.
    pub until: Option<Instant>,
}

impl CompactionOptions {
    /// The bounds for one table. Every compaction is a row in its own bookkeeping: that is left alone until it has some.
    fn of_table(self, path: &str) -> Self {
        match path == MaintenanceRow::TABLE {
            true => Self {
                small_files: self.small_files.max(OWN_FILES),
                ..self
            },
            false => self,
        }
    }

    /// Everything that is small, however much it is.
    pub fn everything() -> Self {
        Self {
            dry_run: false,
            small_files: 2,
            spares_large: false,
            bytes: None,
            until: None,
        }
    }
}

/// Files of a table that were compacted, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableCompaction {
    /// The table's path below the warehouse.
    pub table: String,
    /// Partitions that had small files.
    pub partitions: u64,
    /// Small files that were removed.
    pub files_before: u64,
    /// Files that came for them; unknown in a dry run.
    pub files_after: Option<u64>,
    /// Size of the files that were removed.
    pub bytes_before: u64,
    /// Size of those that came for them; unknown in a dry run.
    pub bytes_after: Option<u64>,
}

/// Tables that were compacted, and those that could not be.
#[derive(Debug, Default)]
pub struct CompactionSummary {
    /// Tables with small files, by path.
    pub tables: Vec<TableCompaction>,
    /// Tables that could not be compacted, by path. They are as they were.
    pub failed: Vec<(String, Error)>,
    /// True if bounds kept it from doing all there was.
    pub is_cut_short: bool,
}

/// Small files of one partition that become one output.
#[derive(Debug, Clone)]
struct CompactionGroup {
    partition: BTreeMap<String, Option<String>>,
    inputs: Vec<DataFile>,
}

impl CompactionGroup {
    fn bytes(&self) -> u64 {
        self.inputs.iter().map(|file| file.size).sum()
    }
}

/// Inputs, and the files written for them.
struct CompactedGroup {
    group: CompactionGroup,
    adds: Vec<Add>,
}

impl Warehouse {
    /// Compacts all tables, those of pipelines that are no longer configured and of bookkeeping too. `watch` is told each table before it is begun.
    ///
    /// Errors where the warehouse cannot be listed, and where bookkeeping is older than the tables; a table that cannot be compacted is in the
    /// summary, and does not keep the others waiting.
    pub async fn compact(
        &self,
        options: CompactionOptions,
        run_id: &str,
        watch: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<CompactionSummary> {
        let mut summary = CompactionSummary::default();
        let mut left = options.bytes.unwrap_or(u64::MAX);
        let mut notes = MaintenanceNotes::new(self.ops());
        for path in self.paths_by_small_files(options, &mut summary).await? {
            if options.until.is_some_and(|until| Instant::now() >= until) || left == 0 {
                summary.is_cut_short = true;
                break;
            }
            watch(&path);
            let table = self.table(&path)?;
            match compact_table(&table, options, &mut left, run_id).await {
                Ok((Some(done), is_cut_short)) => {
                    summary.is_cut_short |= is_cut_short;
                    if !options.dry_run {
                        notes.add(self.compaction_row(&done, run_id)).await?;
                    }
                    summary.tables.push(done);
                }
                Ok((None, is_cut_short)) => summary.is_cut_short |= is_cut_short,
                Err(error) => summary.failed.push((path, error)),
            }
        }
        summary.tables.sort_by(|a, b| a.table.cmp(&b.table));
        notes.write().await?;
        Ok(summary)
    }

    /// True if a table that this process has read or written has something to compact. Asks nothing of the store.
    pub fn is_compaction_due(&self, options: CompactionOptions) -> bool {
        let known = self.registry.known_tables().into_iter();
        let mut known = known.filter_map(|table| Some((table.known()?, table)));
        known.any(|(snapshot, table)| {
            !planned(&snapshot.files, options.of_table(table.path())).is_empty()
        })
    }

    /// The tables that have small files, those with the most first.
    async fn paths_by_small_files(
        &self,
        options: CompactionOptions,
        summary: &mut CompactionSummary,
    ) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let (run, lost) = self.ops().newest_published().await?;
        let is_run_lost = lost.is_some();
        let newest = lost.map(|lost| lost.as_run()).or(run);
        let mut ahead = Vec::new();
        for (schema, name) in self.tables().await? {
            let path = format!("{schema}/{name}");
            match self.table(&path)?.latest().await {
                Ok(Some(snapshot)) => {
                    let named = newest.as_ref().and_then(|run| run.tables.get(&path));
                    ahead.extend(
                        named.and_then(|named| AheadTable::of(&path, named, snapshot.version)),
                    );
                    let named = named.map(TableVersion::newest);
                    if let (Some(run), Some(named)) = (&newest, named)
                        && named > snapshot.version
                    {
                        // Its next commit would take the number of one that was lost, and that somebody may put back.
                        let lost = LostTable {
                            path: path.clone(),
                            named,
                            found: Some(snapshot.version),
                        };
                        let error = lost_commits(run, &[lost]).hint(remedy(&path));
                        summary.failed.push((path, error));
                        continue;
                    }
                    let groups = planned(&snapshot.files, options.of_table(&path));
                    let files: usize = groups.iter().map(|group| group.inputs.len()).sum();
                    if files > 0 {
                        found.push((Reverse(files), path));
                    }
                }
                Ok(None) => {}
                Err(error) => summary.failed.push((path, error)),
            }
        }
        if let Some(newest) = newest.as_ref().filter(|_| !is_run_lost)
            && let Some(older) = self.ops().older_copy(newest, &ahead).await?
        {
            return Err(older.into_error());
        }
        found.sort();
        Ok(found.into_iter().map(|(_, path)| path).collect())
    }

    fn compaction_row(&self, done: &TableCompaction, run_id: &str) -> MaintenanceRow {
        MaintenanceRow {
            run_id: run_id.to_owned(),
            at: self.now(),
            action: COMPACT.to_owned(),
            table: Some(done.table.clone()),
            files_before: done.files_before,
            files_after: done.files_after.unwrap_or(0),
            bytes_before: done.bytes_before,
            bytes_after: done.bytes_after.unwrap_or(0),
            log_files: 0,
            mark: None,
        }
    }
}

/// Compacts one table; `None` where it has nothing to compact. `true`: bounds left something.
async fn compact_table(
    table: &Arc<TableHandle>,
    options: CompactionOptions,
    left: &mut u64,
    run_id: &str,
) -> Result<(Option<TableCompaction>, bool)> {
    let mut done = TableCompaction {
        table: table.path().to_owned(),
        partitions: 0,
        files_before: 0,
        files_after: Some(0),
        bytes_before: 0,
        bytes_after: Some(0),
    };
    let mut partitions: HashSet<String> = HashSet::new();
    let mut is_cut_short = false;
    for _ in 0..LOOKS {
        let Some(snapshot) = table.latest().await? else {
            break;
        };
        let planned = planned(&snapshot.files, options.of_table(table.path()));
        if options.dry_run {
            for group in &planned {
                partitions.insert(format!("{:?}", group.partition));
                done.files_before += group.inputs.len() as u64;
                done.bytes_before += group.bytes();
            }
            (done.files_after, done.bytes_after) = (None, None);
            break;
        }
        let layout = layout_of(&snapshot)?;
        let mut outputs = Vec::new();
        for group in planned {
            let bytes = group.bytes();
            // The first group of all is done however large it is: else a large one would never be.
            let is_first = outputs.is_empty() && done.files_before == 0;
            let is_over = options.until.is_some_and(|until| Instant::now() >= until)
                || (bytes > *left && !is_first);
            if is_over {
                is_cut_short = true;
                break;
            }
            *left = left.saturating_sub(bytes);
            outputs.push(write_group(table, &layout, group).await?);
        }
        if outputs.is_empty() {
            break;
        }
        let (committed, lost) = commit_outputs(table, &layout, outputs, run_id).await?;
        for CompactedGroup { group, adds } in &committed {
            partitions.insert(format!("{:?}", group.partition));
            done.files_before += group.inputs.len() as u64;
            done.bytes_before += group.bytes();
            let bytes = adds.iter().map(|add| u64::try_from(add.size).unwrap_or(0));
            done.bytes_after = done.bytes_after.map(|sum| sum + bytes.sum::<u64>());
            done.files_after = done.files_after.map(|sum| sum + adds.len() as u64);
        }
        if lost == 0 {
            break;
        }
    }
    done.partitions = partitions.len() as u64;
    Ok(((done.files_before > 0).then_some(done), is_cut_short))
}

/// Small files by partition, those that become one output together, in the order of their rows.
fn planned(files: &[DataFile], options: CompactionOptions) -> Vec<CompactionGroup> {
    let mut partitions: BTreeMap<&BTreeMap<String, Option<String>>, Vec<&DataFile>> =
        BTreeMap::new();
    for file in files.iter().filter(|file| file.size < SMALL_BYTES) {
        partitions.entry(&file.partition).or_default().push(file);
    }
    let enough = options.small_files.max(2);
    let mut groups = Vec::new();
    for (partition, mut files) in partitions {
        if files.len() < enough {
            continue;
        }
        if options.spares_large {
            files.sort_by_key(|file| file.size);
            let mut together = 0;
            let worth = files.iter().take_while(|file| {
                let is_worth = file.size <= TINY_BYTES.max(together * MUCH_LARGER);
                together += file.size;
                is_worth
            });
            let worth = worth.count();
            files.truncate(worth);
        }
        files.sort_by_key(|file| {
            (
                file.load_ids
                    .filter(|_| !file.partition.contains_key(PIPELINE)),
                file.times,
                file.path.clone(),
            )
        });
        let mut group: Vec<DataFile> = Vec::new();
        let mut bytes = 0;
        for file in files {
            if bytes + file.size > GROUP_BYTES && !group.is_empty() {
                groups.push((partition, std::mem::take(&mut group)));
                bytes = 0;
            }
            bytes += file.size;
            group.push(file.clone());
        }
        groups.push((partition, group));
    }
    groups
        .into_iter()
        .filter(|(_, inputs)| inputs.len() > 1)
        .map(|(partition, inputs)| CompactionGroup {
            partition: partition.clone(),
            inputs,
        })
        .collect()
}

/// Writes the rows of a group's files into new ones.
async fn write_group(
    table: &Arc<TableHandle>,
    layout: &Arc<TableLayout>,
    group: CompactionGroup,
) -> Result<CompactedGroup> {
    // In the order of the table's partition columns, which is that of the folders.
    let partition = layout.definition.partition_by.iter().map(|column| {
        let value = group.partition.get(column).cloned().flatten();
        (column.clone(), value)
    });
    let mut writer = PartitionWriter::new(table, layout.clone(), partition.collect());
    let schema = &layout.definition.schema;
    let mut stretch = RowStretch::new(layout);
    let mut rows_read = 0;
    for file in &group.inputs {
        let mut rows = scan::rows(table, file, schema.clone()).await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            rows_read += batch.num_rows() as u64;
            if let Some(sorted) = stretch.add(batch)? {
                write_rows(&mut writer, sorted).await?;
            }
        }
    }
    write_rows(&mut writer, stretch.take()?).await?;
    let mut adds = writer.finish().await?;
    for add in &mut adds {
        add.data_change = false;
    }
    let expected: Option<u64> = group.inputs.iter().map(|file| file.rows).sum();
    if expected.is_some_and(|rows| rows != rows_read) {
        commit::discard(table, adds.into_iter().map(|add| add.path)).await;
        return Err(Error::new(
            ErrorKind::Storage,
            "data files do not hold the rows that the table's log says",
        )
        .at("table", table.path())
        .at("rows", rows_read.to_string())
        .hint("`tillhouse check --warehouse` names damaged files."));
    }
    Ok(CompactedGroup { group, adds })
}

async fn write_rows(writer: &mut PartitionWriter, rows: RecordBatch) -> Result<()> {
    let mut from = 0;
    while from < rows.num_rows() {
        let count = BATCH_ROWS.min(rows.num_rows() - from);
        let batch = rows.slice(from, count);
        from += count;
        writer.write(move |encoder| encoder.write(&batch)).await?;
    }
    Ok(())
}

/// Rows that are sorted together before they are written.
struct RowStretch {
    layout: Arc<TableLayout>,
    /// The column that orders them; `None` where rows keep the order of their files.
    order: Option<usize>,
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl RowStretch {
    fn new(layout: &Arc<TableLayout>) -> Self {
        let TableDefinition {
            schema,
            partition_by,
            stat_columns,
            ..
        } = &layout.definition;
        let is_time =
            |at: &usize| matches!(schema.field(*at).data_type(), DataType::Timestamp(_, _));
        let by_time = stat_columns.names().iter();
        let mut by_time = by_time
            .filter_map(|name| schema.index_of(name).ok())
            .filter(is_time);
        // Source tables and bookkeeping are in the order in which rows came, which their files have; roll-ups in their layout's.
        let order = match partition_by.iter().any(|column| column == PIPELINE) {
            true => by_time.next(),
            false => None,
        };
        Self {
            layout: Arc::clone(layout),
            order,
            batches: Vec::new(),
            rows: 0,
            bytes: 0,
        }
    }

    /// Takes rows; gives those that are complete.
    fn add(&mut self, batch: RecordBatch) -> Result<Option<RecordBatch>> {
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        self.batches.push(batch);
        if self.rows >= STRETCH_ROWS || self.bytes >= STRETCH_BYTES {
            return self.take().map(Some);
        }
        Ok(None)
    }

    fn take(&mut self) -> Result<RecordBatch> {
        let batches = std::mem::take(&mut self.batches);
        (self.rows, self.bytes) = (0, 0);
        let internal = "rows cannot be put in order";
        let schema = &self.layout.definition.schema;
        let rows = concat_batches(schema, &batches).or_error(ErrorKind::Internal, internal)?;
        let rows = match self.order {
            None => rows,
            Some(column) => {
                let order = SortOptions {
                    descending: false,
                    nulls_first: false,
                };
                let indices = sort_to_indices(rows.column(column), Some(order), None)
                    .or_error(ErrorKind::Internal, internal)?;
                take_record_batch(&rows, &indices).or_error(ErrorKind::Internal, internal)?
            }
        };
        let rows = rows
            .project(&self.layout.projection)
            .or_error(ErrorKind::Internal, internal)?;
        self.layout.in_order(rows)
    }
}

/// Commits what was written, as far as all inputs are still there; the outputs that are in the table, and how many are not.
async fn commit_outputs(
    table: &Arc<TableHandle>,
    layout: &TableLayout,
    mut outputs: Vec<CompactedGroup>,
    run_id: &str,
) -> Result<(Vec<CompactedGroup>, usize)> {
    let mut lost = 0;
    for _ in 0..ROUNDS {
        let Some(snapshot) = table.latest().await? else {
            break;
        };
        let there: HashSet<&str> = snapshot.files.iter().map(|f| f.path.as_str()).collect();
        let is_whole = |output: &CompactedGroup| {
            let mut inputs = output.group.inputs.iter();
            inputs.all(|file| there.contains(file.path.as_str()))
        };
        let (whole, broken): (Vec<_>, Vec<_>) = outputs.into_iter().partition(is_whole);
        lost += broken.len();
        let unused = broken.into_iter().flat_map(|output| output.adds);
        commit::discard(table, unused.map(|add| add.path)).await;
        outputs = whole;
        if outputs.is_empty() {
            return Ok((outputs, lost));
        }
        let removes = outputs.iter().flat_map(|output| &output.group.inputs);
        let removes = removes.map(|file| match commit::remove(file) {
            Action::Remove(mut remove) => {
                remove.data_change = false;
                Action::Remove(remove)
            }
            action => action,
        });
        let adds = outputs.iter().flat_map(|output| &output.adds).cloned();
        let change = CommitRequest {
            actions: removes.chain(adds.map(Action::Add)).collect(),
            operation: DeltaOperation::Optimize {
                predicate: None,
                target_size: TARGET_BYTES,
            },
            watermarks: Vec::new(),
            run_id,
        };
        if let CommitOutcome::Committed(version) = commit::commit(table, &snapshot, &change).await?
        {
            tracing::debug!(
                table = table.path(),
                version,
                columns = layout.file_schema.fields().len(),
                "compacted"
            );
            table.checkpoint_if_due(version).await;
            return Ok((outputs, lost));
        }
    }
    let unused = outputs.into_iter().flat_map(|output| output.adds);
    commit::discard(table, unused.map(|add| add.path)).await;
    Err(commit::too_many_conflicts(table))
}

#[cfg(test)]
#[path = "compact_tests.rs"]
mod tests;
