//! `sync` and `rebuild`: runs that change the warehouse.
//!
//! Invariant: a run that was only partly done, or of one of whose resources no record fitted, exits with 3, so that a scheduler sees it; rejected records are never
//! passed over in silence.

use crate::args::{Cli, DataFormat, IfRunningArgs, RebuildArgs, SyncArgs};
use crate::commands::{context, find_project, maintenance, now, stop_on_ctrl_c};
use crate::failure::PARTIAL;
use crate::output::{TextTable, print, print_json, print_notice, print_text};
use crate::progress::ProgressObserver;
use crate::registry::SOURCES;
use indicatif::HumanCount;
use jiff::tz::TimeZone;
use std::process::ExitCode;
use std::sync::Arc;
use tillhouse_model::{Result, Window, time::parse_instant};
use tillhouse_pipeline::{IfRunning, PipelineReport, RunReport, SyncOptions, SyncRange};

pub(crate) async fn run(cli: &Cli, arguments: &SyncArgs, format: DataFormat) -> Result<ExitCode> {
    let instant = |text: &Option<String>| {
        text.as_deref()
            .map(|t| parse_instant(t, &TimeZone::UTC))
            .transpose()
    };
    let asked_to = instant(&arguments.to)?;
    let range = SyncRange {
        from: instant(&arguments.from)?,
        to: asked_to,
    };
    if let (Some(from), Some(to)) = (range.from, range.to) {
        Window::new(from, to)?;
    }
    let now = now();
    // The run reads up to its own start, which is a moment later; a question about the future is refused before anything is opened.
    range.until(now)?;
    if let Some(asked) = asked_to.filter(|to| *to > now) {
        print_notice(&format!("Read up to now: --to {asked} lies in the future."));
    }
    let project = find_project(cli)?;
    let pipelines = project.requested_pipelines(&arguments.pipelines, SOURCES)?;
    if pipelines
        .iter()
        .all(|requested| requested.pipeline.is_err())
    {
        // With all that is wrong, before anything is opened.
        project.pipelines(&arguments.pipelines, SOURCES)?;
    }
    let progress = Arc::new(ProgressObserver::new());
    let context = context(project, progress.clone()).await?;
    stop_on_ctrl_c(&context.cancel);
    let syncing = tillhouse_pipeline::sync_valid(
        &context,
        &pipelines,
        SyncOptions {
            range,
            full: arguments.full,
            allow_many_slices: arguments.yes,
            if_running: if_running(&arguments.if_running),
            new_privacy_key: arguments.new_privacy_key,
        },
    );
    let looking = maintenance::has_been_vacuumed(&context.project, &context.warehouse);
    let (outcome, has_been_vacuumed) = tokio::join!(syncing, looking);
    progress.finish();
    let code = print_report(&outcome?, format)?;
    maintenance::share(&context.project, &context.warehouse, has_been_vacuumed).await;
    // All of them: leases are given back by now, and maintenance is done.
    tracing::info!("{}", context.warehouse.requests());
    Ok(
        match arguments.partial_ok && code == ExitCode::from(PARTIAL) {
            true => ExitCode::SUCCESS,
            false => code,
        },
    )
}

fn if_running(arguments: &IfRunningArgs) -> IfRunning {
    match (arguments.wait, arguments.skip_if_running) {
        (true, _) => IfRunning::Wait,
        (false, true) => IfRunning::Skip,
        (false, false) => IfRunning::Fail,
    }
}

pub(crate) async fn rebuild(
    cli: &Cli,
    arguments: &RebuildArgs,
    format: DataFormat,
) -> Result<ExitCode> {
    let project = find_project(cli)?;
    let pipelines = project.pipelines(&arguments.pipelines, SOURCES)?;
    let progress = Arc::new(ProgressObserver::new());
    let context = context(project, progress.clone()).await?;
    stop_on_ctrl_c(&context.cancel);
    let outcome = {
        let if_running = if_running(&arguments.if_running);
        tillhouse_pipeline::rebuild(&context, &pipelines, if_running).await
    };
    progress.finish();
    let code = print_report(&outcome?, format)?;
    tracing::info!("{}", context.warehouse.requests());
    Ok(code)
}

/// Prints what a run did.
pub(crate) fn print_report(report: &RunReport, format: DataFormat) -> Result<ExitCode> {
    match format {
        DataFormat::Json => print_json(report)?,
        DataFormat::Csv(_) => {
            let mut text = String::from(
                "pipeline,new,changed,unchanged,rejects,warnings,slices,failed,followed,records\n",
            );
            for p in &report.pipelines {
                text.push_str(&format!(
                    "{},{},{},{},{},{},{},{},{},{}\n",
                    p.pipeline,
                    p.new,
                    p.changed,
                    p.unchanged,
                    p.rejects,
                    p.warnings,
                    p.slices,
                    p.failed.len(),
                    p.followed,
                    p.records
                ));
            }
            print(&text)?;
        }
        DataFormat::Table => {
            let mut table = TextTable::new();
            table.set_header([
                "pipeline",
                "new",
                "changed",
                "unchanged",
                "rejects",
                "warnings",
                "unified rows",
            ]);
            for p in &report.pipelines {
                let unified: u64 = p.unified.values().map(|u| u.added).sum();
                table.add_row([
                    p.pipeline.clone(),
                    HumanCount(p.new).to_string(),
                    HumanCount(p.changed).to_string(),
                    HumanCount(p.unchanged).to_string(),
                    HumanCount(p.rejects).to_string(),
                    HumanCount(p.warnings).to_string(),
                    HumanCount(unified).to_string(),
                ]);
            }
            if !report.pipelines.is_empty() {
                print_text(&format!("{table}\n"))?;
            }
            if report.published {
                print_notice(&format!(
                    "published as run {} after {:.1} s",
                    report.run, report.seconds
                ));
            }
            if report.pipelines.iter().any(|p| p.warnings > 0) {
                print_notice(
                    "What the warnings are: tillhouse sql \"SELECT rule, field, count(*) FROM ops.warnings GROUP BY rule, field\"",
                );
            }
        }
    }
    for skipped in &report.skipped {
        print_notice(&format!(
            "left out: {}: another run of it is under way: {}",
            skipped.pipeline, skipped.running
        ));
    }
    for pipeline in &report.pipelines {
        if let Some(failure) = &pipeline.failure {
            print_notice(&format!("failed: {}: {}", pipeline.pipeline, failure.error));
            if let Some(hint) = &failure.hint {
                print_notice(&format!("  {hint}"));
            }
            // One failure stands for those of its parts.
            continue;
        }
        for failed in &pipeline.failed {
            print_notice(&format!(
                "failed: {} {}: {}",
                pipeline.pipeline, failed.slice, failed.error
            ));
            if let Some(hint) = &failed.hint {
                print_notice(&format!("  {hint}"));
            }
        }
    }
    say_passed_over(report);
    for p in report.pipelines.iter().filter(|p| p.not_listed_again > 0) {
        print_notice(&not_listed_again(&p.pipeline, p.not_listed_again));
    }
    say_rejects(report);
    let none_fitted = report.none_fitted();
    if !none_fitted.is_empty() {
        print_notice(&format!(
            "None of the records of {} fitted its contract: compare it with what the server sends; `tillhouse eject` copies it into the project.",
            none_fitted.join(", ")
        ));
    }
    if report.is_partial() {
        print_notice(
            "Done in part: what could not be read is named above; the next sync takes it up.",
        );
        return Ok(ExitCode::from(PARTIAL));
    }
    Ok(if none_fitted.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(PARTIAL)
    })
}

/// Prints the number of records that came with other content and were passed over, and how to see which. A warning that was told before keeps its first run,
/// so no run's id leads to all of them.
fn say_passed_over(report: &RunReport) {
    let passed_over = report.pipelines.iter().filter(|p| p.passed_over > 0);
    for PipelineReport {
        pipeline,
        passed_over,
        ..
    } in passed_over
    {
        print_notice(&format!(
            "{pipeline}: {} records came with other content and an earlier time of change than what is known: the newest change stays. These, and earlier ones: tillhouse sql \"SELECT resource, record_key, original FROM ops.warnings WHERE rule = 'older_change' AND pipeline = '{pipeline}'\"",
            HumanCount(*passed_over)
        ));
    }
}

/// The number of records that did not come again, what becomes of them, and how to see which.
pub(crate) fn not_listed_again(pipeline: &str, records: u64) -> String {
    format!(
        "{pipeline}: {} records did not come again when the time that they are of was read again: they count as before. `tillhouse reconcile {pipeline} --by records` says whether they are still there; these, and earlier ones: tillhouse sql \"SELECT resource, record_key, original FROM ops.warnings WHERE rule = 'not_listed_again' AND pipeline = '{pipeline}'\"",
        HumanCount(records)
    )
}

/// Prints the number of rejected records, of how many, how many are open, and how to see these. A reject that was seen before keeps its first
/// run, so no run's id leads to all that came in it; what is open does.
fn say_rejects(report: &RunReport) {
    let rejected: Vec<&PipelineReport> =
        report.pipelines.iter().filter(|p| p.rejects > 0).collect();
    for p in &rejected {
        let (rejects, records) = (HumanCount(p.rejects), HumanCount(p.records));
        let open = match p.open_rejects {
            0 => "None is open any more.".to_owned(),
            1 => "1 reject is open, earlier ones included.".to_owned(),
            many => format!(
                "{} rejects are open, earlier ones included.",
                HumanCount(many)
            ),
        };
        print_notice(&format!(
            "{}: {rejects} of {records} records did not fit their contract: as they came they are in no figure; where an earlier version of one is known, that stays. {open}",
            p.pipeline
        ));
    }
    let open = rejected.iter().filter(|p| p.open_rejects > 0);
    let open: Vec<String> = open.map(|p| format!("'{}'", p.pipeline)).collect();
    if !open.is_empty() {
        print_notice(&format!(
            "The open ones, and why: tillhouse sql \"SELECT pipeline, resource, record_key, field, reason, redacted FROM ops.rejects WHERE resolved_at IS NULL AND pipeline IN ({})\"",
            open.join(", ")
        ));
    }
}
