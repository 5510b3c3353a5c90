//! `demo`: the whole house at work, in a temporary project, with data made up on the spot.
//!
//! Invariant: nothing leaves the machine; the project is an ordinary one and stays, for its tables to be looked at.

use crate::args::{DataFormat, DemoArgs};
use crate::commands::query::QueryRunner;
use crate::commands::sandbox::env;
use crate::commands::{context, stop_on_ctrl_c, sync};
use crate::output::{print_notice, print_text, statistics as shown};
use crate::progress::ProgressObserver;
use crate::registry::{NAMES, SOURCES};
use crate::watchdog;
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tillhouse_lake::AsOf;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt, Secret, Window};
use tillhouse_pipeline::{Project, SyncOptions};
use tillhouse_sandbox::{Sandbox, SandboxOptions};
use tillhouse_statistics::{StatisticsRequest, statistics};

const DAYS: i64 = 14;
/// Query over the model that all sources share. Purchases of be-mo's accounts stand beside the
/// sales and are never added to them.
const OVERVIEW: &str = "SELECT source, perspective, category, count(*) AS transactions, count(DISTINCT currency) AS currencies \
    FROM transactions GROUP BY 1, 2, 3 ORDER BY 1, 2, 3";

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
    let from = now
        .checked_sub(SignedDuration::from_hours(DAYS * 24))
        .or_error(ErrorKind::Internal, "cannot read the clock")?;
    let options = SandboxOptions {
        transactions: arguments.transactions,
        from,
        to: now,
        clock: now,
        ..SandboxOptions::default()
    };
    let login = (options.client_id.clone(), options.client_secret.clone());
    print_notice(&format!(
        "1  A sandbox makes up the last {DAYS} days of one small world: {} sales at HecOne's forecourts, {} at SmartNow's vending machines,\n   \
         {} sessions that be-mo's accounts paid for, {} refuellings through PACE.",
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

    print_notice("3  tillhouse sync");
    let project = Arc::new(Project::load(&dir)?);
    let pipelines = project.pipelines(&[], SOURCES)?;
    let progress = Arc::new(ProgressObserver::new());
    let context = context(project, progress.clone()).await?;
    stop_on_ctrl_c(&context.cancel);
    let outcome = tillhouse_pipeline::sync(&context, &pipelines, SyncOptions::default()).await;
    progress.finish();
    let code = sync::print_report(&outcome?, DataFormat::Table)?;

    let week = now
        .checked_sub(SignedDuration::from_hours(7 * 24))
        .or_error(ErrorKind::Internal, "cannot read the clock")?;
    let session = Arc::new(
        context
            .engine
            .open(&context.warehouse, &AsOf::Latest)
            .await?,
    );
    print_notice(&format!("\n4  tillhouse sql \"{OVERVIEW}\"\n"));
    // What the sandbox keeps in this process is no query's.
    let beside = watchdog::memory().unwrap_or(0);
    let runner = QueryRunner {
        session: Arc::clone(&session),
        memory_limit_bytes: context.project.memory_limit.saturating_add(beside),
    };
    runner.execute(OVERVIEW, DataFormat::Table).await?;

    print_notice(&format!("\n5  tillhouse stats --from {week} --to {now}\n"));
    let request = StatisticsRequest::new(Window::new(week, now)?);
    print_text(&shown::text(
        &statistics(&session, &context.warehouse, &request).await?,
    ))?;
    sandbox.stop().await;
    print_notice(&format!(
        "\nWhat to try next\n  \
         tillhouse sql --project {dir}\n  \
         tillhouse sql --project {dir} \"SELECT source, currency, count(*), sum(amount) FROM counted GROUP BY 1, 2 ORDER BY 1, 2\"\n  \
         tillhouse stats --project {dir} --from {week} --to {now} --hours of_day --format json\n  \
         tillhouse stats --project {dir} --from {week} --to {now} --format html --output {dir}/week.html\n  \
         tillhouse report --project {dir} heat-map\n\n\
         The tables are Delta Lake, open to any reader: {dir}/warehouse/unified/transactions\n  \
         in DuckDB: tillhouse attach duckdb --project {dir} > tillhouse.sql; duckdb -init tillhouse.sql\n\n\
         Remove it all with: rm -r {dir}",
        dir = dir.display()
    ));
    Ok(code)
}

/// Points the new project at the sandbox: values into `.env`, and the day its data starts into every pipeline.
fn settle(dir: &Path, env: &str, from: Timestamp) -> Result<()> {
    let failed = "cannot write the demo's project";
    let file = dir.join(".env");
    let values = std::fs::read_to_string(&file).or_error(ErrorKind::Storage, failed)?;
    std::fs::write(&file, format!("{values}{env}\n")).or_error(ErrorKind::Storage, failed)?;
    for name in NAMES {
        let file = dir.join("pipelines").join(name).join("pipeline.yaml");
        let text = std::fs::read_to_string(&file).or_error(ErrorKind::Storage, failed)?;
        let start = from.strftime("start: %Y-%m-%d").to_string();
        let settled = text.replacen("start: 2024-01-01", &start, 1).replacen(
            "  rate_limit:",
            "  # none here, the sandbox is ours: rate_limit:",
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
