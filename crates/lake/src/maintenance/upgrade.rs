//! Upgrades of warehouses that an older version of the program wrote.
//!
//! Invariant: whatever interrupts it, the warehouse's format says that an upgrade is under way until all tables are done, and nobody but an upgrade
//! works with it meanwhile. `ops.maintenance` has a row of each table that was written anew, also of those that were done before an interruption. A table's own columns say whether it is done; its rows and watermarks stay as they are.
//!
//! ```text
//!   1 to 2   `_land` is `_load_id`: every data file that has the column is written anew, one commit a table
//! ```
//!
//! Rejected: to rename the column in the table's description alone. That takes column mapping, which not every Delta reader reads.

use crate::file::writer::PartitionWriter;
use crate::log::comments::written_comments;
use crate::log::commit::{self, CommitOutcome, CommitRequest, ROUNDS};
use crate::log::data_file::DataFile;
use crate::log::figures::TableFigures;
use crate::log::snapshot::Snapshot;
use crate::log::table::{TableHandle, commit_name};
use crate::maintenance::layout::{STATS_COLUMNS, layout_with};
use crate::ops::maintenance::{MaintenanceRow, UPGRADE};
use crate::ops::older_copy::AheadTable;
use crate::scan;
use crate::store::durable::LOG_FOLDER;
use crate::store::location::WarehouseLocation;
use crate::warehouse::{FORMAT_VERSION, Warehouse};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use deltalake::kernel::{Action, Add, MetadataExt};
use deltalake::protocol::{DeltaOperation, SaveMode};
use futures::StreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tillhouse_model::table::{LOAD_ID, PIPELINE};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// The oldest format that can be upgraded.
const OLDEST: u32 = 1;
/// Name of the package column in format 1.
const FORMAT_1_LOAD_ID: &str = "_land";

/// A table that was upgraded, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableUpgrade {
    /// The table's path below the warehouse.
    pub table: String,
    /// Data files of its newest version before.
    pub files_before: u64,
    /// Data files after; unknown in a dry run.
    pub files_after: Option<u64>,
    /// Size of the files before.
    pub bytes_before: u64,
    /// Size of the files after; unknown in a dry run.
    pub bytes_after: Option<u64>,
}

/// Outcome of an upgrade.
#[derive(Debug, Serialize)]
pub struct UpgradeSummary {
    /// Format the warehouse had.
    pub from: u32,
    /// Format it has, or would have.
    pub to: u32,
    /// Tables that were written anew. Those that an interrupted upgrade had done before are not among them.
    pub tables: Vec<TableUpgrade>,
    /// The run that names the new versions; `None` where there was none to follow, or nothing to do.
    pub run: Option<String>,
}

/// Takes a warehouse to the newest format, in place. An interrupted upgrade goes on where it was.
///
/// Errors with [`ErrorKind::Config`] where there is no warehouse, or a newer one than this version of the program knows.
pub async fn upgrade(
    location: &WarehouseLocation,
    dry_run: bool,
    run_id: &str,
    watch: &(dyn Fn(&str) + Send + Sync),
) -> Result<UpgradeSummary> {
    let warehouse = Warehouse::open_any_format(location).await?;
    let Some(found) = warehouse.format().await? else {
        return Err(Error::config("there is no warehouse to upgrade")
            .at("warehouse", warehouse.url().as_str())
            .hint("`tillhouse sync` makes one, of the newest format."));
    };
    let from = found.upgrading_from.unwrap_or(found.format_version);
    if found.format_version > FORMAT_VERSION || from < OLDEST {
        return Err(warehouse.wrong_format(&found));
    }
    let mut summary = UpgradeSummary {
        from,
        to: FORMAT_VERSION,
        tables: Vec::new(),
        run: None,
    };
    if from == FORMAT_VERSION {
        return Ok(summary);
    }
    if !dry_run {
        warehouse.write_format(Some(from)).await?;
    }
    let is_resumed = found.upgrading_from.is_some() && !dry_run;
    let noted: BTreeSet<String> = match is_resumed {
        true => warehouse.upgraded_tables().await?,
        false => BTreeSet::new(),
    };
    let mut rows = Vec::new();
    for (schema, name) in warehouse.tables().await? {
        let path = format!("{schema}/{name}");
        watch(&path);
        let table = warehouse.table(&path)?;
        match upgrade_table(&table, dry_run, run_id).await? {
            Some(done) => {
                rows.push(warehouse.upgrade_row(&done, run_id));
                summary.tables.push(done);
            }
            None if is_resumed && !noted.contains(&path) => {
                let before = upgraded_before(&table).await?;
                rows.extend(before.map(|(done, run)| warehouse.upgrade_row(&done, &run)));
            }
            None => {}
        }
    }
    if dry_run {
        return Ok(summary);
    }
    warehouse.ops().note_maintenance(rows).await?;
    summary.run = warehouse.publish_upgraded(run_id).await?;
    warehouse.write_format(None).await?;
    Ok(summary)
}

impl Warehouse {
    /// The tables whose upgrade is noted already.
    async fn upgraded_tables(&self) -> Result<BTreeSet<String>> {
        let rows = self.ops().maintenance().await?.into_iter();
        let upgrades = rows.filter(|row| row.action == UPGRADE);
        Ok(upgrades.filter_map(|row| row.table).collect())
    }

    fn upgrade_row(&self, done: &TableUpgrade, run_id: &str) -> MaintenanceRow {
        MaintenanceRow {
            run_id: run_id.to_owned(),
            at: self.now(),
            action: UPGRADE.to_owned(),
            table: Some(done.table.clone()),
            files_before: done.files_before,
            files_after: done.files_after.unwrap_or(0),
            bytes_before: done.bytes_before,
            bytes_after: done.bytes_after.unwrap_or(0),
            log_files: 0,
            mark: None,
        }
    }

    /// Publishes the tables of the newest run as they are now; its id.
    async fn publish_upgraded(&self, run_id: &str) -> Result<Option<String>> {
        let (newest, lost) = self.ops().newest_published().await?;
        if let Some(lost) = lost {
            return Err(lost.error());
        }
        let Some(mut run) = newest else {
            return Ok(None);
        };
        let (mut tables, mut figures) = (BTreeMap::new(), BTreeMap::new());
        let mut ahead = Vec::new();
        for (path, named) in &run.tables {
            // Roll-ups were counted from the versions before; the next sync brings them up to date.
            if path.starts_with("statistics/") {
                continue;
            }
            let Some(latest) = self.table(path)?.latest().await? else {
                return Err(
                    Error::new(ErrorKind::Storage, "a table of the warehouse is gone")
                        .at("table", path),
                );
            };
            ahead.extend(AheadTable::of(path, named, latest.version));
            tables.insert(path.clone(), latest.version.into());
            figures.insert(path.clone(), TableFigures::of(&latest));
        }
        // No other command works with an earlier format, and this one names the tables as they are.
        if let Some(older) = self.ops().older_copy(&run, &ahead).await? {
            tracing::warn!(
                "{}: the upgrade publishes the tables as they are; the next sync reads again what is not noted as read",
                older.into_error()
            );
        }
        run.started_at = self.now();
        run.finished_at = self.now();
        run.run_id = run_id.to_owned();
        run.command = UPGRADE.to_owned();
        // It read nothing of any pipeline.
        run.pipelines = Vec::new();
        run.counts = BTreeMap::new();
        (run.tables, run.figures) = (tables, figures);
        self.ops().publish_as_it_is(&run).await?;
        Ok(Some(run.run_id))
    }
}

/// Outcome of an upgrade that was interrupted for a table, and its run; `None` where it did nothing. Nobody but upgrades writes meanwhile: it is the
/// newest commit, and that describes the table anew.
async fn upgraded_before(table: &TableHandle) -> Result<Option<(TableUpgrade, String)>> {
    let Some(latest) = table.latest().await? else {
        return Ok(None);
    };
    let path = Path::from(LOG_FOLDER).join(commit_name(latest.version));
    let failed = |e| table.storage_error("a table's newest commit cannot be read", e);
    let bytes = table.store().get(&path).await.map_err(failed)?;
    let bytes = bytes.bytes().await.map_err(failed)?;
    let lines = bytes.split(|byte| *byte == b'\n');
    let lines = lines.filter_map(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
    let mut done = TableUpgrade {
        table: table.path().to_owned(),
        files_before: 0,
        files_after: Some(0),
        bytes_before: 0,
        bytes_after: Some(0),
    };
    let (mut run_id, mut is_described) = (None, false);
    for line in lines {
        let size = |action: &str| line[action]["size"].as_u64().unwrap_or(0);
        if let Some(info) = line.get("commitInfo") {
            run_id = info[commit::RUN_ID].as_str().map(ToOwned::to_owned);
        }
        is_described |= line.get("metaData").is_some();
        if line.get("remove").is_some() {
            done.files_before += 1;
            done.bytes_before += size("remove");
        }
        if line.get("add").is_some() {
            done.files_after = done.files_after.map(|files| files + 1);
            done.bytes_after = done.bytes_after.map(|bytes| bytes + size("add"));
        }
    }
    // A table is made by a commit that describes it, and removes nothing.
    let is_upgrade =
        is_described && latest.version > 0 && latest.schema().index_of(LOAD_ID).is_ok();
    Ok(run_id.filter(|_| is_upgrade).map(|run_id| (done, run_id)))
}

/// Upgrades one table; `None` where there is nothing to do.
async fn upgrade_table(
    table: &Arc<TableHandle>,
    dry_run: bool,
    run_id: &str,
) -> Result<Option<TableUpgrade>> {
    for _ in 0..ROUNDS {
        let Some(snapshot) = table.latest().await? else {
            return Ok(None);
        };
        let before = snapshot.schema();
        if before.index_of(FORMAT_1_LOAD_ID).is_err() {
            return Ok(None);
        }
        let size = TableFigures::of(&snapshot);
        let mut done = TableUpgrade {
            table: table.path().to_owned(),
            files_before: size.files,
            files_after: None,
            bytes_before: size.bytes,
            bytes_after: None,
        };
        if dry_run {
            return Ok(Some(done));
        }
        let after = renamed(&before);
        let adds = rewrite(table, &snapshot, (&before, &after)).await?;
        let bytes = adds.iter().map(|add| u64::try_from(add.size).unwrap_or(0));
        (done.files_after, done.bytes_after) = (Some(adds.len() as u64), Some(bytes.sum()));
        let written: Vec<String> = adds.iter().map(|add| add.path.clone()).collect();
        let change = change(table, &snapshot, &after, adds, run_id)?;
        match commit::commit(table, &snapshot, &change).await? {
            CommitOutcome::Committed(version) => {
                table.checkpoint_if_due(version).await;
                return Ok(Some(done));
            }
            CommitOutcome::Lost => commit::discard(table, written).await,
        }
    }
    Err(commit::too_many_conflicts(table))
}

/// Writes the rows of all files anew, those of a partition together and in their order.
async fn rewrite(
    table: &Arc<TableHandle>,
    snapshot: &Snapshot,
    (before, after): (&SchemaRef, &SchemaRef),
) -> Result<Vec<Add>> {
    let layout = layout_with(snapshot, after.clone(), new_name)?;
    let mut partitions: BTreeMap<&BTreeMap<String, Option<String>>, Vec<&DataFile>> =
        BTreeMap::new();
    for file in snapshot.files.iter() {
        partitions.entry(&file.partition).or_default().push(file);
    }
    let mut adds = Vec::new();
    for (partition, mut files) in partitions {
        if partition.contains_key(PIPELINE) {
            files.sort_by_key(|file| (file.times, &file.path));
        }
        let columns = layout.definition.partition_by.iter();
        let values =
            columns.map(|column| (column.clone(), partition.get(column).cloned().flatten()));
        let mut writer = PartitionWriter::new(table, layout.clone(), values.collect());
        for file in files {
            let mut rows = scan::rows(table, file, before.clone()).await?;
            while let Some(batch) = rows.next().await {
                let batch = RecordBatch::try_new(after.clone(), batch?.columns().to_vec())
                    .and_then(|batch| batch.project(&layout.projection))
                    .or_error(ErrorKind::Internal, "a column cannot be renamed")?;
                writer.write(move |encoder| encoder.write(&batch)).await?;
            }
        }
        adds.extend(writer.finish().await?);
    }
    Ok(adds)
}

/// The commit of a table's upgrade: another description, all files out, all files in.
fn change<'a>(
    table: &TableHandle,
    snapshot: &Snapshot,
    after: &SchemaRef,
    adds: Vec<Add>,
    run_id: &'a str,
) -> Result<CommitRequest<'a>> {
    let failed = |e| table.storage_error("the table's description cannot be written", e);
    let before = &snapshot.description.metadata;
    let with_statistics: Vec<String> = before
        .configuration()
        .get(STATS_COLUMNS)
        .map(String::as_str)
        .unwrap_or_default()
        .split(',')
        .map(new_name)
        .collect();
    let partition_by = before.partition_columns().to_vec();
    let metadata = before
        .clone()
        .with_schema(&table.delta_schema(after, &written_comments(before)?)?)
        .map_err(failed)?
        .add_config_key(STATS_COLUMNS.to_owned(), with_statistics.join(","))
        .map_err(failed)?;
    let removes = snapshot.files.iter().map(commit::remove);
    let actions = std::iter::once(Action::Metadata(metadata))
        .chain(removes)
        .chain(adds.into_iter().map(Action::Add));
    Ok(CommitRequest {
        actions: actions.collect(),
        operation: DeltaOperation::Write {
            mode: SaveMode::Overwrite,
            partition_by: Some(partition_by),
            predicate: None,
        },
        watermarks: Vec::new(),
        run_id,
    })
}

fn new_name(name: &str) -> String {
    match name {
        FORMAT_1_LOAD_ID => LOAD_ID.to_owned(),
        name => name.to_owned(),
    }
}

fn renamed(schema: &Schema) -> SchemaRef {
    let fields = schema
        .fields()
        .iter()
        .map(|field| Field::clone(field).with_name(new_name(field.name())));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
