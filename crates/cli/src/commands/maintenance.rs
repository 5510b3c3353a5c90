//! `compact`, `vacuum`, `upgrade` and `check --warehouse`: the warehouse's upkeep, and the share of it that a sync does by itself.
//!
//! Invariant: what was done is told in one line and by `--format json`; a table that could not be looked at fails the command, after all others
//! were. The share of a sync never fails the sync.

use crate::args::{Cli, DataFormat, MaintenanceArgs};
use crate::commands::{find_project, now, open_warehouse, start_dir};
use crate::failure::report;
use crate::output::{TextTable, print, print_json, print_notice, print_text};
use indicatif::{HumanBytes, HumanCount};
use jiff::SignedDuration;
use serde::Serialize;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tillhouse_lake::{
    CompactionOptions, CompactionSummary, Inspection, TableCompaction, TableUpgrade, TableVacuum,
    VacuumOptions, VacuumSummary, Warehouse, upgrade as upgrade_warehouse,
};
use tillhouse_model::time::readable;
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_pipeline::{Project, check_inspected_tables, new_run_id};

/// Small files of a partition that make a sync compact it.
const DUE_FILES: usize = 16;
/// Most bytes that a sync compacts.
const SHARE_BYTES: u64 = 256 << 20;
/// Time after which a sync begins no further table, of each kind of work.
const SHARE_TIME: Duration = Duration::from_secs(20);

/// Name of the table that is being looked at, on a terminal.
struct TableTicker {
    bar: indicatif::ProgressBar,
}

impl TableTicker {
    fn new(verb: &'static str) -> Self {
        let target = match std::io::stderr().is_terminal() && !crate::logging::is_dumb() {
            true => indicatif::ProgressDrawTarget::stderr(),
            false => indicatif::ProgressDrawTarget::hidden(),
        };
        let bar = indicatif::ProgressBar::with_draw_target(None, target);
        bar.set_prefix(verb);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar }
    }

    fn show(&self, table: &str) {
        self.bar.inc(1);
        self.bar.set_message(table.to_owned());
    }
}

impl Drop for TableTicker {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A table that could not be looked at.
#[derive(Serialize)]
struct FailedTable {
    table: String,
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

fn failed_tables(failed: &[(String, Error)]) -> Vec<FailedTable> {
    let of = |(table, error): &(String, Error)| FailedTable {
        table: table.clone(),
        error: error.to_string(),
        hint: error.hint_text().map(str::to_owned),
    };
    failed.iter().map(of).collect()
}

/// Exit code of a command that some tables failed; each is told.
fn exit_code(failed: &[(String, Error)], format: DataFormat) -> ExitCode {
    if format != DataFormat::Json {
        for (_, error) in failed {
            report(error);
        }
    }
    match failed.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Prints rows of texts in the format that was asked for; JSON is printed by whoever has more to say.
fn print_rows(header: &[&'static str], rows: Vec<Vec<String>>, format: DataFormat) -> Result<()> {
    match format {
        DataFormat::Json => Ok(()),
        DataFormat::Csv(style) => {
            let cells =
                |row: &Vec<String>| row.iter().map(|cell| style.cell(cell)).collect::<Vec<_>>();
            let lines = rows.iter().map(|row| cells(row).join(","));
            let names = header.iter().map(|name| name.replace(' ', "_"));
            let all = std::iter::once(names.collect::<Vec<_>>().join(",")).chain(lines);
            print(&all.map(|line| line + "\n").collect::<String>())
        }
        DataFormat::Table => {
            if rows.is_empty() {
                return Ok(());
            }
            let mut table = TextTable::new();
            table.set_header(header.iter().copied());
            for row in rows {
                table.add_row(row);
            }
            print_text(&format!("{table}\n"))
        }
    }
}

fn size(bytes: u64, format: DataFormat) -> String {
    match format {
        DataFormat::Table => HumanBytes(bytes).to_string(),
        _ => bytes.to_string(),
    }
}

pub(crate) async fn compact(
    cli: &Cli,
    arguments: &MaintenanceArgs,
    format: DataFormat,
) -> Result<ExitCode> {
    #[derive(Serialize)]
    struct Report<'a> {
        run: &'a str,
        dry_run: bool,
        tables: &'a [TableCompaction],
        failed: Vec<FailedTable>,
    }
    let project = find_project(cli)?;
    let warehouse = open_warehouse(&project).await?;
    let (options, run) = (
        CompactionOptions {
            dry_run: arguments.dry_run,
            ..CompactionOptions::everything()
        },
        new_run_id(warehouse.now()),
    );
    let ticker = TableTicker::new("compacting");
    let done = warehouse
        .compact(options, &run, &|table| ticker.show(table))
        .await?;
    drop(ticker);
    if format == DataFormat::Json {
        print_json(&Report {
            run: &run,
            dry_run: arguments.dry_run,
            tables: &done.tables,
            failed: failed_tables(&done.failed),
        })?;
    }
    let unknown = |value: Option<String>| value.unwrap_or_else(|| "?".to_owned());
    let rows = done.tables.iter().map(|t| {
        vec![
            t.table.clone(),
            t.partitions.to_string(),
            t.files_before.to_string(),
            unknown(t.files_after.map(|n| n.to_string())),
            size(t.bytes_before, format),
            unknown(t.bytes_after.map(|n| size(n, format))),
        ]
    });
    let header = [
        "table",
        "partitions",
        "files before",
        "files after",
        "bytes before",
        "bytes after",
    ];
    print_rows(&header, rows.collect(), format)?;
    print_notice(&match (arguments.dry_run, done.tables.is_empty()) {
        (_, true) => "Nothing to compact.".to_owned(),
        (true, false) => format!("Would compact {}. Nothing was changed.", compacted(&done)),
        (false, false) => format!(
            "Compacted {}. Commands read these files once the next sync has published them.",
            compacted(&done)
        ),
    });
    Ok(exit_code(&done.failed, format))
}

/// `3 tables (48 files became 5)`.
fn compacted(done: &CompactionSummary) -> String {
    let before: u64 = done.tables.iter().map(|t| t.files_before).sum();
    let after: Option<u64> = done.tables.iter().map(|t| t.files_after).sum();
    let files = match after {
        Some(after) => format!("{} files became {}", HumanCount(before), HumanCount(after)),
        None => format!("{} small files", HumanCount(before)),
    };
    format!("{} ({files})", counted(done.tables.len() as u64, "table"))
}

fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        count => format!("{} {what}s", HumanCount(count)),
    }
}

pub(crate) async fn vacuum(
    cli: &Cli,
    arguments: &MaintenanceArgs,
    format: DataFormat,
) -> Result<ExitCode> {
    #[derive(Serialize)]
    struct Report<'a> {
        run: &'a str,
        dry_run: bool,
        kept_runs: u64,
        dropped_runs: &'a [String],
        unfinished_files: u64,
        tables: &'a [TableVacuum],
        failed: Vec<FailedTable>,
    }
    let project = find_project(cli)?;
    let warehouse = open_warehouse(&project).await?;
    let run = new_run_id(warehouse.now());
    let options = VacuumOptions {
        dry_run: arguments.dry_run,
        retention: project.retention.policy,
        safe_age: project.retention.unused,
        until: None,
    };
    let ticker = TableTicker::new("vacuuming");
    let done = warehouse
        .vacuum(options, &run, &|table| ticker.show(table))
        .await?;
    drop(ticker);
    if format == DataFormat::Json {
        print_json(&Report {
            run: &run,
            dry_run: arguments.dry_run,
            kept_runs: done.kept_runs,
            dropped_runs: &done.dropped_runs,
            unfinished_files: done.unfinished_files,
            tables: &done.tables,
            failed: failed_tables(&done.failed),
        })?;
    }
    let rows = done.tables.iter().map(|t| {
        vec![
            t.table.clone(),
            (t.files_before - t.files_after).to_string(),
            t.log_files.to_string(),
            size(t.bytes_before - t.bytes_after, format),
            t.files_after.to_string(),
            size(t.bytes_after, format),
        ]
    });
    let header = [
        "table",
        "files deleted",
        "log files deleted",
        "bytes freed",
        "files left",
        "bytes left",
    ];
    print_rows(&header, rows.collect(), format)?;
    let what = vacuumed(&done);
    print_notice(&match (arguments.dry_run, what.is_empty()) {
        (_, true) => format!("Nothing to delete. {}.", kept(done.kept_runs)),
        (true, false) => format!("Would delete {what}. Nothing was changed."),
        (false, false) => format!("Deleted {what}. {}.", kept(done.kept_runs)),
    });
    Ok(exit_code(&done.failed, format))
}

fn kept(runs: u64) -> String {
    match runs {
        1 => "1 run is kept".to_owned(),
        runs => format!("{} runs are kept", HumanCount(runs)),
    }
}

/// `120 data files (3 MiB) and 80 log files; 2 runs are no longer kept`; empty where nothing was deleted.
fn vacuumed(done: &VacuumSummary) -> String {
    let sum = |of: fn(&TableVacuum) -> u64| done.tables.iter().map(of).sum::<u64>();
    let files = sum(|t| t.files_before - t.files_after);
    let bytes = sum(|t| t.bytes_before - t.bytes_after);
    let log = sum(|t| t.log_files);
    let mut parts = Vec::new();
    if files > 0 {
        parts.push(format!(
            "{} ({})",
            counted(files, "data file"),
            HumanBytes(bytes)
        ));
    }
    if log > 0 {
        parts.push(counted(log, "log file"));
    }
    if done.unfinished_files > 0 {
        parts.push(counted(done.unfinished_files, "unfinished file"));
    }
    if parts.is_empty() && done.dropped_runs.is_empty() {
        return String::new();
    }
    let files = match parts.is_empty() {
        true => "no file".to_owned(),
        false => parts.join(" and "),
    };
    match done.dropped_runs.len() as u64 {
        0 => files,
        1 => format!("{files}; 1 run is no longer kept"),
        runs => format!("{files}; {} runs are no longer kept", HumanCount(runs)),
    }
}

pub(crate) async fn upgrade(
    cli: &Cli,
    arguments: &MaintenanceArgs,
    format: DataFormat,
) -> Result<ExitCode> {
    let project = find_project(cli)?;
    let run = new_run_id(now());
    let ticker = TableTicker::new("upgrading");
    let watch = |table: &str| ticker.show(table);
    let done = upgrade_warehouse(&project.warehouse, arguments.dry_run, &run, &watch).await?;
    drop(ticker);
    if format == DataFormat::Json {
        print_json(&done)?;
    }
    let rows = done.tables.iter().map(|t: &TableUpgrade| {
        vec![
            t.table.clone(),
            t.files_before.to_string(),
            t.files_after
                .map_or_else(|| "?".to_owned(), |n| n.to_string()),
            size(t.bytes_before, format),
        ]
    });
    print_rows(
        &["table", "files before", "files after", "bytes"],
        rows.collect(),
        format,
    )?;
    let tables = counted(done.tables.len() as u64, "table");
    print_notice(&match (done.from == done.to, arguments.dry_run) {
        (true, _) => format!("The warehouse has format {}, the newest.", done.to),
        (false, true) => format!(
            "Would take the warehouse from format {} to {}, and write {tables} anew. Nothing was changed.",
            done.from, done.to
        ),
        (false, false) => format!(
            "The warehouse has format {} now; written anew: {tables}.{}",
            done.to,
            done.run
                .map_or_else(String::new, |run| format!(" Published as run {run}."))
        ),
    });
    Ok(ExitCode::SUCCESS)
}

/// Reads every log and every data file's footer; says what is damaged and what helps.
pub(crate) async fn check_warehouse(cli: &Cli, format: DataFormat) -> Result<ExitCode> {
    #[derive(Serialize)]
    struct Report<'a> {
        #[serde(flatten)]
        inspection: &'a Inspection,
        problems: Vec<String>,
    }
    let project = Project::load(&Project::folder(&start_dir(cli))?)?;
    let warehouse = open_warehouse(&project).await?;
    if !warehouse.is_there() {
        return Err(Error::new(ErrorKind::Storage, "there is no warehouse to look at")
            .at("warehouse", warehouse.url().as_str())
            .hint(
                "Name its place as warehouse.url in tillhouse.yaml, or have its disk mounted. Where there was none yet, `tillhouse sync` makes it.",
            ));
    }
    let ticker = TableTicker::new("reading");
    let found = warehouse.inspect(&|table| ticker.show(table)).await?;
    drop(ticker);
    // The newest run's figures of its tables, and whether its record is there.
    let problems = match check_inspected_tables(&warehouse).await {
        Ok(()) => Vec::new(),
        Err(error) if error.parts().is_empty() => vec![error],
        Err(error) => error.into_parts(),
    };
    let told = |error: &Error| {
        found
            .damaged
            .iter()
            .any(|damage| damage.what == error.to_string())
    };
    let problems: Vec<Error> = problems.into_iter().filter(|error| !told(error)).collect();
    if format == DataFormat::Json {
        print_json(&Report {
            inspection: &found,
            problems: problems.iter().map(ToString::to_string).collect(),
        })?;
    }
    let rows = found.damaged.iter().map(|damage| {
        vec![
            damage.table.clone(),
            damage
                .file
                .clone()
                .unwrap_or_else(|| "_delta_log".to_owned()),
            damage.what.clone(),
            match damage.can_be_rebuilt {
                true => "yes".to_owned(),
                false => "no".to_owned(),
            },
        ]
    });
    print_rows(
        &["table", "file", "damage", "can be rebuilt"],
        rows.collect(),
        format,
    )?;
    if format != DataFormat::Json {
        for problem in &problems {
            report(problem);
        }
    }
    let mut hints: Vec<(&str, &str)> = found
        .damaged
        .iter()
        .map(|damage| (damage.table.as_str(), damage.hint.as_str()))
        .collect();
    hints.dedup();
    for (table, hint) in hints {
        print_notice(&format!("{table}: {hint}"));
    }
    for of_table in found.of_earlier_runs.chunk_by(|a, b| a.table == b.table) {
        let Some(first) = of_table.first() else {
            continue;
        };
        let more = match of_table.len() {
            1 => String::new(),
            all => format!(" (and {} more)", all - 1),
        };
        let file = first
            .file
            .as_deref()
            .map_or_else(String::new, |file| format!("{file} "));
        print_notice(&format!(
            "{}: only earlier runs lack it: {file}{}{more}. {}",
            first.table, first.what, first.hint
        ));
    }
    let read = format!(
        "{}, {} of {}",
        counted(found.tables, "table"),
        counted(found.files, "data file"),
        HumanBytes(found.bytes)
    );
    if found.damaged.is_empty() && problems.is_empty() {
        print_notice(&format!("Nothing is damaged: {read}."));
        return Ok(ExitCode::SUCCESS);
    }
    let damaged = (found.damaged.len() + problems.len()) as u64;
    print_notice(&format!("{} in {read}.", counted(damaged, "problem")));
    Ok(ExitCode::FAILURE)
}

/// True if it is known already that the share of a sync has nothing to vacuum today; for whoever looks while the sync goes on.
pub(crate) async fn has_been_vacuumed(project: &Project, warehouse: &Warehouse) -> bool {
    project.maintenance && warehouse.has_been_vacuumed().await
}

/// The share of maintenance that a sync does by itself when it is due. It says in a line what it did; where it fails, the sync is done all the same.
pub(crate) async fn share(project: &Project, warehouse: &Warehouse, has_been_vacuumed: bool) {
    if !project.maintenance {
        return;
    }
    let run = new_run_id(warehouse.now());
    let mut parts = Vec::new();
    for done in [
        share_of_compaction(warehouse, &run).await,
        match has_been_vacuumed {
            true => Ok(None),
            false => share_of_vacuum(project, warehouse, &run).await,
        },
    ] {
        match done {
            Ok(part) => parts.extend(part),
            Err(error) => {
                tracing::warn!(
                    "maintenance was not done, and is tried again by a later sync: {error}"
                );
            }
        }
    }
    if !parts.is_empty() {
        print_notice(&format!("maintenance: {}", parts.join("; ")));
    }
}

async fn share_of_compaction(warehouse: &Warehouse, run: &str) -> Result<Option<String>> {
    let options = CompactionOptions {
        dry_run: false,
        small_files: DUE_FILES,
        spares_large: true,
        bytes: Some(SHARE_BYTES),
        until: Some(Instant::now() + SHARE_TIME),
    };
    // Asked of what this process has read and written already.
    if !warehouse.is_compaction_due(options) {
        return Ok(None);
    }
    let done = warehouse.compact(options, run, &|_| {}).await?;
    warn_of(&done.failed);
    Ok((!done.tables.is_empty()).then(|| format!("compacted {}", compacted(&done))))
}

/// Once a day, whether or not there is anything to compact: of a sync a week there never is.
async fn share_of_vacuum(
    project: &Project,
    warehouse: &Warehouse,
    run: &str,
) -> Result<Option<String>> {
    if !warehouse.is_vacuum_due().await? {
        return Ok(None);
    }
    let options = VacuumOptions {
        dry_run: false,
        retention: project.retention.policy,
        safe_age: project.retention.unused,
        until: Some(Instant::now() + SHARE_TIME),
    };
    let done = warehouse.vacuum(options, run, &|_| {}).await?;
    warn_of(&done.failed);
    let what = vacuumed(&done);
    Ok((!what.is_empty()).then(|| format!("deleted {what}")))
}

fn warn_of(failed: &[(String, Error)]) {
    for (table, error) in failed {
        tracing::warn!(%table, "left alone by maintenance: {error}");
    }
}

/// Clocks of machines that share a warehouse differ by no more.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(5);

/// Errors where the newest published run, or the newest in which a pipeline did not fail, ended longer ago than `max_age`; for monitors. The newest is
/// the one that was committed last, whatever clock it ended by.
pub(crate) async fn check_age(
    warehouse: &Warehouse,
    pipelines: &[String],
    max_age: SignedDuration,
) -> Result<()> {
    let now = warehouse.now();
    let mut late = Vec::new();
    for (pipeline, newest) in warehouse.ops().last_published(pipelines).await? {
        let what = pipeline.as_deref().unwrap_or("the warehouse");
        let Some(ended) = newest.map(|run| run.finished_at) else {
            late.push(format!("nothing of {what} was ever published"));
            continue;
        };
        let age = now.duration_since(ended);
        if age > max_age {
            late.push(format!(
                "the newest published run of {what} that did not fail ended {} ago",
                readable(age)
            ));
        } else if age < -CLOCKS_DIFFER {
            late.push(format!(
                "the newest published run of {what} ended at {ended}, which is still to come: a clock is wrong"
            ));
        }
    }
    match late.is_empty() {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Data, late.join("; "))
            .at("max age", readable(max_age))
            .hint("Look at what the scheduler runs, and at its log; `tillhouse sync` catches up.")),
    }
}
