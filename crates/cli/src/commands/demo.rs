//! `demo`: the whole house at work, in a temporary project, with data made up on the spot.
//!
//! Invariant: nothing leaves the machine; the project is an ordinary one and stays, for its tables to be looked at. What is printed
//! fits on two screens: at most 80 lines.

use crate::args::{DataFormat, DemoArgs, PeriodArg};
use crate::commands::restated::published;
use crate::commands::sandbox::env;
use crate::commands::{context, open_session, stop_on_ctrl_c, sync};
use crate::output::statistics::StatisticsDetail;
use crate::output::{print_notice, print_text, restated, statistics as shown};
use crate::progress::ProgressObserver;
use crate::registry::{NAMES, SOURCES};
use indicatif::HumanCount;
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tillhouse_lake::{AsOf, read_regular_text};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt, Secret, Window};
use tillhouse_pipeline::{NoopObserver, Pipeline, Project, RunContext, RunReport, SyncOptions};
use tillhouse_sandbox::{SALES_TYPES, Sandbox, SandboxOptions};
use tillhouse_statistics::restated::{RestatedFigure, RestatedReport};
use tillhouse_statistics::{StatisticsRequest, find_restatements, statistics};

const DAYS: i64 = 14;
/// Transactions that are listed of the restated hour.
const RESTATED: usize = 1;

pub(crate) async fn run(arguments: &DemoArgs) -> Result<ExitCode> {
    let dir = match &arguments.dir {
        Some(dir) => dir.clone(),
        None => tempfile::Builder::new()
            .prefix("tillhouse-demo-")
            .tempdir_in(tillhouse_query::temporary_folder())
            .or_error(ErrorKind::Storage, "cannot make a temporary folder")?
            .keep(),
    };
    // The last full hour: what is shown of the week until then has all happened when it is read.
    let hour = TimestampRound::new()
        .smallest(Unit::Hour)
        .mode(RoundMode::Floor);
    let now = Timestamp::now()
        .round(hour)
        .or_error(ErrorKind::Internal, "cannot read the clock")?;
    let before = |days: i64| {
        now.checked_sub(SignedDuration::from_hours(days * 24))
            .or_error(ErrorKind::Internal, "cannot read the clock")
    };
    let (from, week, yesterday) = (before(DAYS)?, before(7)?, before(1)?);
    let options = SandboxOptions {
        transactions: arguments.transactions,
        from,
        to: now,
        clock: yesterday,
        incidents: true,
        ..SandboxOptions::default()
    };
    let login = (options.client_id.clone(), options.client_secret.clone());
    print_notice(&format!(
        "1  A sandbox makes up {DAYS} days of one small world: {} sales at HecOne's\n   \
         forecourts, {} at SmartNow's vending machines, {} sessions of be-mo's\n   \
         accounts, {} refuellings through PACE.",
        options.transactions,
        options.smartnow_sales(),
        options.bemo_sessions(),
        options.pace_transactions()
    ));
    let sandbox = Sandbox::start(options).await?;

    let all = NAMES.map(|name| format!("--source {name}")).join(" ");
    print_notice(&format!(
        "2  tillhouse init {all}\n   a project in {}",
        dir.display()
    ));
    let key: [u8; 32] = rand::random();
    let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    tillhouse_pipeline::init(&dir, &NAMES.map(str::to_owned), SOURCES, &Secret::new(key))?;
    settle(&dir, &env(&sandbox, &login), from)?;

    print_notice(&format!("3  tillhouse sync, as of yesterday, {yesterday}"));
    let project = Arc::new(Project::load(&dir)?);
    let pipelines = project.pipelines(&[], SOURCES)?;
    let mut context = context(project, Arc::new(NoopObserver)).await?;
    stop_on_ctrl_c(&context.cancel);
    let today = context.warehouse.clone();
    context.warehouse = today.with_clock(Arc::new(move || yesterday));
    let first = read(&mut context, &pipelines).await?;
    if first.is_partial() || !first.published {
        return sync::print_report(&first, DataFormat::Table);
    }
    let records: u64 = first.pipelines.iter().map(|p| p.records).sum();
    print_notice(&format!(
        "   {} records read, published as run {} after {:.1} s",
        HumanCount(records),
        first.run,
        first.seconds
    ));

    print_notice("4  tillhouse sync, a day later: what is new, and what came late or was changed");
    sandbox.set_clock(now)?;
    context.warehouse = today;
    let second = read(&mut context, &pipelines).await?;
    let code = sync::print_report(&second, DataFormat::Table)?;
    sandbox.stop().await;

    let session = open_session(&context, &AsOf::Latest).await?;
    let request = StatisticsRequest::new(Window::new(week, now)?);
    let report = statistics(&session, &context.warehouse, &request).await?;
    let leading = shown::by_transactions(&report)
        .first()
        .map(|entry| entry.currency.clone());
    let since = &first.run;
    if let Some(restated) = restated_hour(&context, since, leading.as_deref(), &request).await? {
        print_notice(&format!(
            "5  tillhouse restated --since {since}: one hour of it"
        ));
        print_text(&restated::text(&restated, Some(PeriodArg::Hour)))?;
    }

    print_notice(&format!("6  tillhouse stats --from {week} --to {now}"));
    print_text(&shown::text(&report, StatisticsDetail::Glance))?;
    print_notice(&format!(
        "\nWhat to try next, in {dir}\n  \
         tillhouse sql                     a prompt; \\dt lists the tables\n  \
         tillhouse sql \"SELECT currency, sum(amount) FROM counted GROUP BY 1\"\n  \
         tillhouse restated --since {since} --by day\n  \
         tillhouse stats --from {first} --to {last} --format html > week.html\n  \
         tillhouse describe counted\n  \
         tillhouse attach duckdb > tillhouse.sql && duckdb -init tillhouse.sql\n\
         Remove it all with: rm -r {dir}",
        first = week.strftime("%Y-%m-%d"),
        last = now.strftime("%Y-%m-%d"),
        dir = dir.display()
    ));
    Ok(code)
}

/// Runs a sync, with a bar while it reads.
async fn read(context: &mut RunContext, pipelines: &[Pipeline]) -> Result<RunReport> {
    let progress = Arc::new(ProgressObserver::new());
    context.observer = progress.clone();
    let outcome = tillhouse_pipeline::sync(context, pipelines, SyncOptions::default()).await;
    progress.finish();
    outcome
}

/// The hour whose amount changed most since a run, in one currency; `None` where none did.
async fn restated_hour(
    context: &RunContext,
    since: &str,
    currency: Option<&str>,
    request: &StatisticsRequest,
) -> Result<Option<RestatedReport>> {
    let Some(currency) = currency else {
        return Ok(None);
    };
    let (engine, warehouse) = (&context.engine, &context.warehouse);
    let since = published(warehouse, &AsOf::Run(since.to_owned())).await?;
    let now = published(warehouse, &AsOf::Latest).await?;
    let report = find_restatements(engine, warehouse, &since, &now, request, 0).await?;
    let is_amount =
        |figure: &&RestatedFigure| figure.currency == currency && figure.figure == "amount";
    let most = report
        .hours
        .iter()
        .filter(is_amount)
        .max_by_key(|figure| shown::scaled(figure.difference).abs());
    let Some(most) = most else {
        return Ok(None);
    };
    let clock = "cannot read a restated hour";
    let hour: Timestamp = most.period.parse().or_error(ErrorKind::Internal, clock)?;
    let end = hour
        .checked_add(SignedDuration::from_hours(1))
        .or_error(ErrorKind::Internal, clock)?;
    let request = StatisticsRequest {
        window: Window::new(hour, end)?,
        ..request.clone()
    };
    let mut report = find_restatements(engine, warehouse, &since, &now, &request, RESTATED).await?;
    report.hours.retain(|figure| {
        figure.currency == currency && ["transactions", "amount"].contains(&&*figure.figure)
    });
    for figure in &mut report.hours {
        // Hours have no seconds, and the table has to fit 80 columns.
        figure.period = figure.period.replace(":00:00Z", ":00Z");
    }
    Ok(Some(report))
}

/// Points the new project at the sandbox: values into `.env`, and the day its data starts into every pipeline.
fn settle(dir: &Path, env: &str, from: Timestamp) -> Result<()> {
    let failed = "cannot write the demo's project";
    let file = dir.join(".env");
    let values = read_regular_text(&file).or_error(ErrorKind::Storage, failed)?;
    std::fs::write(&file, format!("{values}{env}\n")).or_error(ErrorKind::Storage, failed)?;
    for name in NAMES {
        let file = dir.join("pipelines").join(name).join("pipeline.yaml");
        let text = read_regular_text(&file).or_error(ErrorKind::Storage, failed)?;
        let start = from.strftime("start: %Y-%m-%d").to_string();
        let settled = text.replacen("start: 2024-01-01", &start, 1).replacen(
            "  rate_limit:",
            "  # none here, the sandbox is ours: rate_limit:",
            1,
        );
        let settled = settled.replacen(
            "# sales_types: { 1: test, 2: void }",
            &format!("sales_types: {SALES_TYPES}"),
            1,
        );
        if settled == text {
            return Err(
                Error::internal("the pipeline template has no start to replace").at("source", name),
            );
        }
        std::fs::write(&file, settled).or_error(ErrorKind::Storage, failed)?;
    }
    Ok(())
}
