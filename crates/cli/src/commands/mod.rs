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
#[cfg(feature = "workers")]
mod worker;

use crate::args::{Cli, CliCommand};
use crate::environment;
use crate::output::{ProtectedFiles, print_notice};
use crate::registry::SOURCES;
use crate::watchdog::guarded;
use clap::CommandFactory;
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;
use tillhouse_lake::{AsOf, Warehouse, special_file};
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

/// Errors where `SSL_CERT_FILE` names a pipe, a socket or a device: whoever connects to anything reads it, and would wait for it for ever.
fn check_certificates(file: Option<&Path>) -> Result<()> {
    let Some((file, kind)) = file.and_then(|file| Some((file, special_file(file)?))) else {
        return Ok(());
    };
    let text = format!("the environment variable SSL_CERT_FILE names {kind}");
    Err(Error::config(text)
        .at("file", file.display().to_string())
        .hint("Name a file of certificates, PEM, or unset the variable."))
}

/// Text of a file that the command line names; a pipe that somebody writes into is read, too. The error begins as `failed` says.
pub(crate) fn read_given(file: &Path, failed: &str) -> Result<String> {
    tillhouse_pipeline::read_given(file).map_err(|error| {
        let why = match std::error::Error::source(&error) {
            Some(cause) => format!("{}: {cause}", error.message()),
            None => error.message().to_owned(),
        };
        let mut told = Error::config(failed).because(why);
        for (key, value) in error.context() {
            told = told.at(key, value.clone());
        }
        match error.hint_text() {
            Some(hint) => told.hint(hint),
            None => told,
        }
    })
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
    let certificates = environment::set("SSL_CERT_FILE").map(PathBuf::from);
    check_certificates(certificates.as_deref())?;
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
        #[cfg(feature = "workers")]
        CliCommand::Worker(arguments) => worker::run(cli, arguments, format).await,
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
    let project = Project::find(&start_dir(cli))?;
    #[cfg(feature = "workers")]
    let project = worker::named(project, cli.workers.as_deref());
    Ok(Arc::new(project))
}

/// The files of a project that no output is written over.
fn protected_files(project: &Project) -> ProtectedFiles {
    ProtectedFiles::new(project.dir.clone(), project.warehouse.folder())
}

/// Everything a run needs, from a project.
async fn context(project: Arc<Project>, observer: Arc<dyn RunObserver>) -> Result<RunContext> {
    let warehouse = open_warehouse(&project).await?;
    let engine = engine_of_this_machine(&project, project.memory_limit)?;
    let engine = engine.knowing(contract_tables(&project));
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
    let engine = |project: &Project| engine_without_contracts(project, project.memory_limit);
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
    let engine = engine_without_contracts(project, memory_limit_bytes)?;
    Ok(engine.knowing(contract_tables(project)))
}

/// An engine with so much memory, and the help of the project's workers.
fn engine_without_contracts(project: &Project, memory_limit_bytes: u64) -> Result<QueryEngine> {
    let engine = engine_of_this_machine(project, memory_limit_bytes)?;
    #[cfg(feature = "workers")]
    let engine = worker::helped(engine, &project.workers)?;
    Ok(engine)
}

/// An engine that runs everything here.
///
/// Errors where the project names workers, and this program was built without them.
fn engine_of_this_machine(project: &Project, memory_limit_bytes: u64) -> Result<QueryEngine> {
    if cfg!(not(feature = "workers")) && !project.workers.addresses.is_empty() {
        return Err(Error::config(
            "`workers` in tillhouse.yaml names machines, and this program was built without them",
        )
        .hint("Build it with the feature `workers`, or take the key out."));
    }
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
#[cfg(any(feature = "sandbox", feature = "serve", feature = "workers"))]
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

/// Cancels `stop` once the first signal comes; at the next, ends the process.
#[cfg(any(feature = "serve", feature = "workers"))]
async fn stop_after(first: impl Future<Output = std::io::Result<()>>, stop: CancellationToken) {
    if let Err(error) = first.await {
        tracing::warn!("signals are not answered: {error}");
        return;
    }
    print_notice("stopping once what is being asked is answered; once more stops at once");
    stop.cancel();
    match stop_signal().await {
        Ok(()) => crate::watchdog::exit_process(crate::watchdog::INTERRUPTED),
        Err(error) => tracing::warn!("signals are not answered: {error}"),
    }
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

    #[cfg(unix)]
    #[test]
    fn certificates_that_are_no_file_are_refused_before_anybody_reads_them() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (place, is_good) in [
            (None, true),
            (Some(file.path()), true),
            (Some(Path::new("/none/of/that")), true),
            (Some(Path::new("/dev/zero")), false),
        ] {
            let checked = check_certificates(place);
            assert_eq!(checked.is_ok(), is_good, "{place:?}");
        }
    }

    #[test]
    fn what_a_command_line_names_and_cannot_be_read_is_told_with_its_file_and_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = read_given(folder.path(), "cannot read the queries").unwrap_err();
        let text = error.to_string();
        let place = folder.path().display().to_string();
        assert!(
            text.starts_with("cannot read the queries") && text.contains(&place),
            "{text}"
        );
        assert!(
            text.contains("a folder stands") && error.hint_text().is_some(),
            "{text}"
        );
    }
}
