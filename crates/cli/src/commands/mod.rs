//! The commands: each turns arguments into calls of the crates below and prints what comes back.
//!
//! Invariant: no rule about data lives here.

mod attach;
mod check;
#[cfg(feature = "sandbox")]
mod demo;
mod describe;
mod maintenance;
mod project;
pub(crate) mod query;
mod reconcile;
mod report;
mod restated;
#[cfg(feature = "sandbox")]
mod sandbox;
#[cfg(feature = "serve")]
mod serve;
mod stats;
mod sync;
#[cfg(feature = "serve")]
mod user;

use crate::args::{Cli, CliCommand};
use crate::output::{ProtectedFiles, print_notice};
use crate::registry::SOURCES;
use crate::watchdog::guarded;
use clap::CommandFactory;
use jiff::Timestamp;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;
use tillhouse_lake::{AsOf, Warehouse};
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_pipeline::{
    NoopObserver, Project, RunContext, RunObserver, contract_tables, expected_of_project,
};
use tillhouse_query::{QueryEngine, QueryEngineOptions, Session};

use tokio_util::sync::CancellationToken;

/// The time that was handed in, where one was.
static HANDED_IN: OnceLock<Timestamp> = OnceLock::new();

/// The time by the clock of this machine, or the one that was handed in.
fn now() -> Timestamp {
    HANDED_IN.get().copied().unwrap_or_else(Timestamp::now)
}

/// The first and the last moment of the times by which commands work: before, the libraries that write tables end by a panic, and behind them the calendar ends.
const USABLE: (Timestamp, Timestamp) = (
    Timestamp::UNIX_EPOCH,
    // The end of the year 9998.
    Timestamp::constant(253_370_764_799, 0),
);

/// Errors where this machine's clock shows a time that nothing can be done by, or such a time was handed in. To be called before anything asks for the time.
fn check_clock(clock: SystemTime, handed_in: Option<Timestamp>) -> Result<()> {
    let is_usable = |time: &Timestamp| (USABLE.0..=USABLE.1).contains(time);
    let shown = Timestamp::try_from(clock).ok();
    if !shown.as_ref().is_some_and(is_usable) {
        let shown = shown.map_or_else(
            || "a time beyond the calendar".to_owned(),
            |time| time.to_string(),
        );
        return Err(Error::config(
            "the clock of this machine shows a time before 1970, or after 9998",
        )
        .at("clock", shown)
        .hint("Set the clock, and run the same command again."));
    }
    match handed_in.filter(|time| !is_usable(time)) {
        None => Ok(()),
        Some(time) => {
            Err(Error::config("--now is a time before 1970, or after 9998")
                .at("now", time.to_string()))
        }
    }
}

/// Opens the project's warehouse, with the clock of this process.
async fn open_warehouse(project: &Project) -> Result<Warehouse> {
    let warehouse = Warehouse::open(&project.warehouse).await?;
    Ok(match HANDED_IN.get() {
        None => warehouse,
        Some(time) => warehouse.with_clock(Arc::new(|| *time)),
    })
}

/// Warns where the project's privacy key is not the warehouse's: what is asked with a pseudonym finds nothing.
fn warn_of_other_key(project: &Project, warehouse: &Warehouse) {
    if let Err(error) = warehouse.check_privacy_key(&project.privacy_key) {
        print_notice(&format!("{error}"));
        if let Some(hint) = error.hint_text() {
            print_notice(&format!("  {hint}"));
        }
    }
}

/// Runs the command that was asked for.
pub(crate) async fn run(cli: &Cli) -> Result<ExitCode> {
    let handed_in = cli.now.as_deref();
    let handed_in = handed_in
        .map(|text| tillhouse_model::time::parse_instant(text, &jiff::tz::TimeZone::UTC))
        .transpose()?;
    check_clock(SystemTime::now(), handed_in)?;
    if let Some(time) = handed_in {
        HANDED_IN.get_or_init(|| time);
        tillhouse_extract::hand_in_clock(time);
    }
    let format = cli.data_format();
    if let CliCommand::Stats(arguments) = &cli.command {
        return stats::run(cli, arguments, format).await;
    }
    let format = format.ok_or_else(|| {
        Error::config("this command does not draw pages")
            .hint("Use --format table, json or csv; html is for `tillhouse stats`.")
    })?;
    match &cli.command {
        CliCommand::Init(arguments) => project::init(cli, arguments),
        CliCommand::Eject(arguments) => project::eject(cli, arguments),
        CliCommand::Check(arguments) if arguments.warehouse => {
            until_stopped(maintenance::check_warehouse(cli, format)).await
        }
        CliCommand::Check(arguments) => until_stopped(check::run(cli, arguments, format)).await,
        CliCommand::Sync(arguments) => sync::run(cli, arguments, format).await,
        CliCommand::Rebuild(arguments) => sync::rebuild(cli, arguments, format).await,
        CliCommand::Status(arguments) => check::status(cli, arguments, format).await,
        CliCommand::Compact(arguments) => maintenance::compact(cli, arguments, format).await,
        CliCommand::Vacuum(arguments) => maintenance::vacuum(cli, arguments, format).await,
        CliCommand::Upgrade(arguments) => maintenance::upgrade(cli, arguments, format).await,
        CliCommand::Stats(arguments) => stats::run(cli, arguments, Some(format)).await,
        CliCommand::Report(arguments) => report::run(cli, arguments, format).await,
        CliCommand::Restated(arguments) => restated::run(cli, arguments, format).await,
        CliCommand::Reconcile(arguments) => reconcile::run(cli, arguments, format).await,
        CliCommand::Sql(arguments) => query::run(cli, arguments, format).await,
        CliCommand::Describe(arguments) => describe::run(cli, arguments, format).await,
        CliCommand::Attach(arguments) => attach::run(cli, arguments).await,
        #[cfg(feature = "serve")]
        CliCommand::Serve(arguments) => serve::run(cli, arguments, format).await,
        #[cfg(feature = "serve")]
        CliCommand::User { command } => user::run(cli, command, format).await,
        #[cfg(feature = "sandbox")]
        CliCommand::Sandbox(arguments) => sandbox::run(arguments, format).await,
        #[cfg(feature = "sandbox")]
        CliCommand::Demo(arguments) => demo::run(arguments).await,
        CliCommand::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "tillhouse", &mut script);
            crate::output::print(&String::from_utf8_lossy(&script))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs a command until Ctrl-C: what it started, a secret's command for example, is stopped with it.
async fn until_stopped(command: impl Future<Output = Result<ExitCode>>) -> Result<ExitCode> {
    tokio::select! {
        outcome = command => outcome,
        Ok(()) = tokio::signal::ctrl_c() => Err(Error::new(ErrorKind::Interrupted, "stopped")),
    }
}

/// The folder to look for a project in.
fn start_dir(cli: &Cli) -> PathBuf {
    cli.project.clone().unwrap_or_else(|| PathBuf::from("."))
}

fn find_project(cli: &Cli) -> Result<Arc<Project>> {
    Ok(Arc::new(Project::find(&start_dir(cli))?))
}

/// The files of a project that no output is written over.
fn protected_files(project: &Project) -> ProtectedFiles {
    ProtectedFiles::new(project.dir.clone(), project.warehouse.folder())
}

/// Everything a run needs, from a project.
async fn context(project: Arc<Project>, observer: Arc<dyn RunObserver>) -> Result<RunContext> {
    let warehouse = open_warehouse(&project).await?;
    let engine = engine(&project)?;
    Ok(RunContext::new(project, warehouse, engine, observer))
}

/// Runs a command that reads what is published; its queries are stopped where the process takes more memory than they may.
async fn reading<T>(
    project: Arc<Project>,
    work: impl AsyncFnOnce(RunContext) -> Result<T>,
) -> Result<T> {
    reading_by(project, engine, work).await
}

/// As [`reading`], for the statistics: they ask only for tables that somebody has written, so that those of contracts need not be known before the
/// warehouse is opened.
async fn reading_statistics<T>(
    project: Arc<Project>,
    work: impl AsyncFnOnce(RunContext) -> Result<T>,
) -> Result<T> {
    let engine = |project: &Project| engine_without_contracts(project.memory_limit);
    reading_by(project, engine, work).await
}

async fn reading_by<T>(
    project: Arc<Project>,
    engine: impl FnOnce(&Project) -> Result<QueryEngine>,
    work: impl AsyncFnOnce(RunContext) -> Result<T>,
) -> Result<T> {
    let memory_limit = project.memory_limit;
    guarded(memory_limit, async move {
        let warehouse = open_warehouse(&project).await?;
        let engine = engine(&project)?;
        let observer = Arc::new(NoopObserver);
        let context = RunContext::new(project, warehouse.clone(), engine, observer);
        let done = work(context).await?;
        tracing::info!("{}", warehouse.requests());
        Ok(done)
    })
    .await
}

/// Opens a session over a published run. What the project's pipelines are configured to read by now counts where that is the newest one.
async fn open_session(context: &RunContext, at: &AsOf) -> Result<Session> {
    // The configuration is read while the run is looked up.
    let expected = (*at == AsOf::Latest).then(|| {
        let project = Arc::clone(&context.project);
        tokio::task::spawn_blocking(move || expected_of_project(&project, SOURCES))
    });
    let session = context.engine.open(&context.warehouse, at).await?;
    let Some(expected) = expected else {
        return Ok(session);
    };
    let expected = expected
        .await
        .map_err(|e| Error::internal("reading the configuration was interrupted").because(e))?;
    Ok(session.expecting(expected))
}

/// Makes the contracts' notes on tables and columns known to a session.
fn register_notes(session: &Session, project: &Arc<Project>) {
    let project = Arc::clone(project);
    session.register_notes(move || {
        let mut dictionary = project.dictionary();
        tillhouse_statistics::add_rollup_notes(&mut dictionary);
        dictionary
    });
}

fn engine(project: &Project) -> Result<QueryEngine> {
    engine_of(project, project.memory_limit)
}

/// An engine with so much memory that knows the project's contracts.
fn engine_of(project: &Project, memory_limit_bytes: u64) -> Result<QueryEngine> {
    let engine = engine_without_contracts(memory_limit_bytes)?;
    Ok(engine.knowing(contract_tables(project)))
}

fn engine_without_contracts(memory_limit_bytes: u64) -> Result<QueryEngine> {
    QueryEngine::new(QueryEngineOptions {
        memory_limit_bytes,
        ..QueryEngineOptions::default()
    })
}

/// Stops a run when the user presses Ctrl-C; the second time, at once.
fn stop_on_ctrl_c(cancel: &CancellationToken) {
    let cancel = cancel.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            print_notice("stopping; press Ctrl-C again to stop at once");
            cancel.cancel();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            crate::watchdog::exit_process(crate::watchdog::INTERRUPTED);
        }
    });
}

/// Waits for Ctrl-C, or for the signal a service manager sends.
#[cfg(any(feature = "sandbox", feature = "serve"))]
async fn stop_signal() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let mut terminate =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            outcome = tokio::signal::ctrl_c() => outcome,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}

/// Parses `--as-of`: a time, a date, or a run.
fn as_of(text: Option<&str>) -> Result<AsOf> {
    Ok(match text {
        None => AsOf::Latest,
        Some(text) => match tillhouse_model::time::parse_instant(text, &jiff::tz::TimeZone::UTC) {
            Ok(time) => AsOf::Time(time),
            Err(_) => AsOf::Run(text.to_owned()),
        },
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_clock_by_which_nothing_can_be_done_is_refused_before_anything_asks_for_the_time() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let year_10_000 = UNIX_EPOCH + Duration::from_secs(253_402_300_800);
        for (clock, handed_in, is_usable) in [
            (now, None, true),
            (UNIX_EPOCH, None, true),
            (UNIX_EPOCH - Duration::from_secs(1), None, false),
            (year_10_000 - Duration::from_secs(1), None, false),
            (year_10_000, None, false),
            (now, Some("2026-01-01T00:00:00Z"), true),
            (now, Some("1969-12-31T23:59:59Z"), false),
            (now, Some("9999-01-01T00:00:00Z"), false),
        ] {
            let handed_in = handed_in.map(|time| time.parse().unwrap());
            let checked = check_clock(clock, handed_in);
            assert_eq!(checked.is_ok(), is_usable, "{clock:?} {handed_in:?}");
        }
    }
}
