//! `check` and `status`: how things stand, changing nothing.
//!
//! Invariant: `check` tries everything and reports all it finds, not only the first.

use crate::args::{CheckArgs, Cli, DataFormat, StatusArgs};
use crate::commands::maintenance::check_age;
use crate::commands::sync::not_listed_again;
use crate::commands::{context, find_project, now, start_dir};
use crate::failure::{PARTIAL, report};
use crate::output::instant::instant;
use crate::output::{TextTable, print, print_json, print_notice, print_text};
use crate::registry::SOURCES;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::process::ExitCode;
use std::sync::Arc;
use tillhouse_lake::{AsOf, Warehouse};
use tillhouse_model::time::parse_duration;
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_pipeline::{
    ExaminedPipeline, NoopObserver, Project, ProjectExamination, RequestedPipeline, ResourceStatus,
    UnreadStretch, check_all_tables, check_starts, check_statements, check_tables,
    status as pipeline_status,
};
use tillhouse_query::{QueryEngine, QueryEngineOptions};

#[derive(Serialize)]
struct CheckResult {
    what: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

pub(crate) async fn run(cli: &Cli, arguments: &CheckArgs, format: DataFormat) -> Result<ExitCode> {
    let ProjectExamination {
        environment,
        remarks,
        project,
        pipelines,
    } = Project::examine(
        &Project::folder(&start_dir(cli))?,
        &arguments.pipelines,
        SOURCES,
    )?;
    let mut found = CheckFindings::new(format);
    if let Err(error) = environment {
        found.note(".env".into(), Err(error));
    }
    for remark in &remarks {
        print_notice(remark);
    }
    let mut readable = None;
    let opened = match project {
        Ok(project) => {
            found.note("tillhouse.yaml".into(), Ok(()));
            let named = project.warehouse.url.clone();
            match context(Arc::new(project), Arc::new(NoopObserver)).await {
                Ok(context) => {
                    let key = &context.project.privacy_key;
                    if let Err(error) = context.warehouse.check_privacy_key(key) {
                        found.note("privacy_key".into(), Err(error));
                    }
                    if !context.warehouse.is_there() {
                        print_notice(&format!(
                            "there is no warehouse at {} yet; the first sync makes it. If there should be one, look at warehouse.url in tillhouse.yaml, and \
                             whether its disk is there",
                            context.warehouse.url()
                        ));
                    }
                    let names = pipelines.iter().map(|pipeline| pipeline.name.clone());
                    let outcome = warehouse(&context.warehouse, &names.collect::<Vec<_>>()).await;
                    readable = outcome.is_ok().then(|| context.warehouse.clone());
                    found.note(format!("warehouse {}", context.warehouse.url()), outcome);
                    Some(context)
                }
                Err(error) => {
                    found.note(format!("warehouse {named}"), Err(error));
                    None
                }
            }
        }
        Err(error) => {
            found.note("tillhouse.yaml".into(), Err(error));
            None
        }
    };
    // SQL is looked at without a warehouse too.
    let engine = match opened {
        Some(context) => context.engine,
        None => QueryEngine::new(QueryEngineOptions::default())?,
    };
    for ExaminedPipeline {
        name,
        outcome,
        draft,
    } in pipelines
    {
        let configuration = format!("{name}: configuration");
        let sql = format!("{name}: contracts and unify SQL");
        let pipeline = match outcome {
            Ok(pipeline) => pipeline,
            Err(error) => {
                found.note(configuration, Err(error));
                if let Some(draft) = draft
                    && let Err(error) = check_statements(&engine, &draft).await
                {
                    found.note(sql, Err(error));
                }
                continue;
            }
        };
        found.note(
            configuration,
            check_starts(&pipeline, readable.as_ref(), now()).await,
        );
        found.note(sql, check_statements(&engine, &pipeline).await.map(drop));
        found.note(
            format!("{name}: connection to {}", pipeline.source_name),
            pipeline.source.check().await,
        );
        for file in &pipeline.overrides {
            print_notice(&format!("{name}: {file} replaces the built-in file"));
        }
        for remark in &pipeline.remarks {
            print_notice(&format!("{name}: {remark}"));
        }
        if pipeline.scheduled {
            print_notice(&format!(
                "{name}: sync.schedule is a note for whoever runs it; nothing runs by itself: put `tillhouse sync` into cron or a timer"
            ));
        }
    }
    let CheckFindings {
        all: found, worst, ..
    } = found;
    if format == DataFormat::Json {
        print_json(&found)?;
    } else {
        // Each problem is told above; what it was about stands here once.
        let mut shown = HashSet::new();
        for checked in found
            .iter()
            .filter(|checked| shown.insert(checked.what.as_str()))
        {
            print_text(&format!(
                "{} {}\n",
                if checked.ok { "ok    " } else { "failed" },
                checked.what
            ))?;
        }
    }
    Ok(worst.code())
}

/// Findings so far.
struct CheckFindings {
    all: Vec<CheckResult>,
    worst: WorstFailure,
    format: DataFormat,
    /// Problems reported so far: those of a file that several pipelines share are reported once.
    told: HashSet<String>,
}

impl CheckFindings {
    fn new(format: DataFormat) -> Self {
        Self {
            all: Vec::new(),
            worst: WorstFailure::default(),
            format,
            told: HashSet::new(),
        }
    }

    fn note(&mut self, what: String, outcome: Result<()>) {
        let error = match outcome {
            Ok(()) => {
                return self.all.push(CheckResult {
                    what,
                    ok: true,
                    error: None,
                    hint: None,
                });
            }
            Err(error) => error,
        };
        self.worst.note(error.kind());
        let each = if error.parts().is_empty() {
            vec![error]
        } else {
            error.into_parts()
        };
        for error in each {
            let text = error.to_string();
            if self.format == DataFormat::Table && self.told.insert(text.clone()) {
                report(&error);
            }
            let hint = error.hint_text().map(str::to_owned);
            self.all.push(CheckResult {
                what: what.clone(),
                ok: false,
                error: Some(text),
                hint,
            });
        }
    }
}

/// Tries that the warehouse can be read and written, and that everything is there that its newest run names.
async fn warehouse(warehouse: &Warehouse, pipelines: &[String]) -> Result<()> {
    let run = warehouse.ops().published(&AsOf::Latest).await;
    let newest = run.as_ref().ok().and_then(Option::as_ref);
    let mut problems = Vec::new();
    problems.extend(warehouse.probe_writing(newest).await.err());
    problems.extend(check_all_tables(warehouse).await.err());
    match warehouse.misplaced_objects(pipelines).await {
        Ok(misplaced) => {
            let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
            // Of a folder with tables in the newest run each table tells.
            let is_new = |error: &Error| {
                let place = error.context().iter().find(|(key, _)| *key == "file");
                place.is_none_or(|(_, place)| !told.iter().any(|told| told.contains(place)))
            };
            problems.extend(misplaced.into_iter().filter(is_new));
        }
        Err(error) => problems.push(error),
    }
    // Tables that cannot be opened are told of by now.
    let probed = match newest {
        None => Ok(()),
        Some(run) if problems.is_empty() => warehouse.probe_files(run).await,
        Some(run) => warehouse.probe_readable_files(run).await,
    };
    problems.extend(probed.err());
    if problems.is_empty() {
        Ok(())
    } else {
        Err(Error::combine(problems))
    }
}

/// Most severe kind of failure so far, as an exit code: a mistake in the configuration counts
/// more than a server that is down.
#[derive(Default)]
struct WorstFailure {
    config: bool,
    other: bool,
}

impl WorstFailure {
    fn note(&mut self, kind: ErrorKind) {
        match kind {
            ErrorKind::Config => self.config = true,
            _ => self.other = true,
        }
    }

    fn code(&self) -> ExitCode {
        match (self.config, self.other) {
            (true, _) => ExitCode::from(2),
            (false, true) => ExitCode::FAILURE,
            (false, false) => ExitCode::SUCCESS,
        }
    }
}

/// Pipelines of which nothing was read yet, each with the number of its resources: to people they are one line each.
fn never_synced(rows: &[ResourceStatus]) -> BTreeMap<&str, usize> {
    let mut never: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        *never.entry(&row.pipeline).or_default() += 1;
    }
    let is_begun = |row: &&ResourceStatus| {
        row.last_run.is_some()
            || row.last_read.is_some()
            || row.versions > 0
            || row.open_rejects > 0
            || row.running.is_some()
    };
    for row in rows.iter().filter(is_begun) {
        never.remove(row.pipeline.as_str());
    }
    never
}

/// Coverage of every resource, as CSV.
pub(crate) fn status_csv(rows: &[ResourceStatus]) -> String {
    let mut text = String::from(
        "pipeline,resource,data_through,last_read,versions,gaps,open_rejects,last_run,outcome\n",
    );
    for r in rows {
        text.push_str(&format!(
            "{},{},{},{},{},{},{},{},{}\n",
            r.pipeline,
            r.resource,
            r.data_through.map_or_else(String::new, |t| t.to_string()),
            r.last_read.map_or_else(String::new, |t| t.to_string()),
            r.versions,
            r.gaps.len(),
            r.open_rejects,
            r.last_run.as_deref().unwrap_or_default(),
            r.outcome.as_deref().unwrap_or_default()
        ));
    }
    text
}

pub(crate) async fn status(
    cli: &Cli,
    arguments: &StatusArgs,
    format: DataFormat,
) -> Result<ExitCode> {
    let max_age = arguments
        .max_age
        .as_deref()
        .map(parse_duration)
        .transpose()?;
    let project = find_project(cli)?;
    let requested = project.requested_pipelines(&arguments.pipelines, SOURCES)?;
    let (mut pipelines, mut names, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for RequestedPipeline { name, pipeline } in requested {
        names.push(name.clone());
        match pipeline {
            Ok(pipeline) => pipelines.push(pipeline),
            Err(error) => refused.push((name, error)),
        }
    }
    if pipelines.is_empty() && !refused.is_empty() {
        let errors = refused.into_iter().map(|(_, error)| error).collect();
        return Err(Error::combine(errors));
    }
    let context = context(project, Arc::new(NoopObserver)).await?;
    let rows = pipeline_status(&context.warehouse, &pipelines).await?;
    let instant = |at: Option<Timestamp>| {
        at.map_or_else(|| "never".to_owned(), |at| instant(at, &TimeZone::UTC))
    };
    match format {
        DataFormat::Json => print_json(&rows)?,
        DataFormat::Csv(_) => {
            print(&status_csv(&rows))?;
        }
        DataFormat::Table => {
            let mut table = TextTable::new();
            table.set_header([
                "pipeline",
                "resource",
                "read through",
                "last read",
                "versions",
                "gaps",
                "rejects",
                "last run",
            ]);
            let never = never_synced(&rows);
            for (pipeline, resources) in &never {
                let resources = match resources {
                    1 => "1 resource".to_owned(),
                    more => format!("{more} resources"),
                };
                let never = || "never".to_owned();
                let nothing = || "0".to_owned();
                table.add_row([
                    (*pipeline).to_owned(),
                    resources,
                    never(),
                    never(),
                    nothing(),
                    String::new(),
                    nothing(),
                    "never synced".to_owned(),
                ]);
            }
            let rows: Vec<&ResourceStatus> = rows
                .iter()
                .filter(|r| !never.contains_key(r.pipeline.as_str()))
                .collect();
            for r in &rows {
                let run = match (&r.last_run, &r.outcome) {
                    (Some(run), Some(outcome)) => format!("{run} ({outcome})"),
                    _ => "never".to_owned(),
                };
                table.add_row([
                    r.pipeline.clone(),
                    r.resource.clone(),
                    match (r.data_through, r.last_read) {
                        // It was read, and lacks its very beginning.
                        (None, Some(_)) => "not from the start".to_owned(),
                        (through, _) => instant(through),
                    },
                    instant(r.last_read),
                    r.versions.to_string(),
                    r.gaps.len().to_string(),
                    r.open_rejects.to_string(),
                    run,
                ]);
            }
            print_text(&format!("{table}\n"))?;
            let mut told: Option<&str> = None;
            for r in &rows {
                let is_new = told.replace(&r.pipeline) != Some(r.pipeline.as_str());
                if let (true, Some(running)) = (is_new, &r.running) {
                    let state = match (running.damage.is_some(), running.abandoned) {
                        (true, true) => "no run is known to be under way; the next one takes over",
                        (true, false) => {
                            "a run may be under way; if none renews its lease, the next one takes over within two minutes"
                        }
                        (false, true) => "was running and is no more; the next run takes over",
                        (false, false) => "running now",
                    };
                    print_notice(&format!("{}: {state}: {running}", r.pipeline));
                }
            }
            for r in &rows {
                let Some(clock) = &r.server_clock_behind else {
                    continue;
                };
                let told = |at: Timestamp| instant(Some(at));
                print_notice(&format!(
                    "{}.{}: nothing counts as read of what run {} asked for at {}: by the Date of its answers the provider's clock stood at {}. It has to be set \
                     right there, or in a proxy on the way; the next `tillhouse sync` then reads what is missing.",
                    r.pipeline,
                    r.resource,
                    clock.run,
                    told(clock.started_at),
                    told(clock.server_time)
                ));
            }
            for r in rows.iter().filter(|r| !r.gaps.is_empty()) {
                for UnreadStretch { tenant, window } in r.gaps.iter().take(5) {
                    let tenant = tenant.as_ref();
                    let of = tenant.map_or_else(String::new, |tenant| format!(" of {tenant}"));
                    print_notice(&format!(
                        "{}.{}: never read{of}: {window}",
                        r.pipeline, r.resource
                    ));
                }
            }
            if !never.is_empty() || rows.iter().any(|r| !r.gaps.is_empty()) {
                print_notice("`tillhouse sync` reads what is missing.");
            }
            if rows.iter().any(|r| r.open_rejects > 0) {
                print_notice(
                    "Rejects: tillhouse sql \"SELECT pipeline, record_key, field, reason FROM ops.rejects WHERE resolved_at IS NULL\"",
                );
            }
            for r in rows.iter().filter(|r| r.not_listed_again > 0) {
                print_notice(&not_listed_again(&r.pipeline, r.not_listed_again));
            }
        }
    }
    for (name, error) in &refused {
        print_notice(&format!("failed: {name}: {error}"));
        if let Some(hint) = error.hint_text() {
            print_notice(&format!("  {hint}"));
        }
    }
    // Last, so that how far it has been read is seen all the same.
    check_tables(&context.warehouse).await?;
    if let Some(max_age) = max_age {
        check_age(&context.warehouse, &names, max_age).await?;
    }
    Ok(if refused.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(PARTIAL)
    })
}
