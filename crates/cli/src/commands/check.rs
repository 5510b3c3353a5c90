//! `check` and `status`: how things stand, changing nothing.
//!
//! Invariant: `check` tries everything and reports all it finds, not only the first.

use crate::args::{CheckArgs, Cli, DataFormat, StatusArgs};
use crate::commands::maintenance::check_age;
use crate::commands::{context, find_project, now, start_dir};
use crate::failure::report;
use crate::output::instant::instant;
use crate::output::{TextTable, print, print_json, print_notice, print_text};
use crate::registry::SOURCES;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::Arc;
use tillhouse_lake::{AsOf, Warehouse};
use tillhouse_model::time::parse_duration;
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_pipeline::{
    ExaminedPipeline, NoopObserver, Project, ProjectExamination, check_all_tables, check_starts,
    check_statements, check_tables, status as pipeline_status,
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
                    let outcome = warehouse(&context.warehouse).await;
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
async fn warehouse(warehouse: &Warehouse) -> Result<()> {
    let run = warehouse.ops().published(&AsOf::Latest).await;
    let newest = run.as_ref().ok().and_then(Option::as_ref);
    let mut problems = Vec::new();
    problems.extend(warehouse.probe_writing(newest).await.err());
    problems.extend(match (check_all_tables(warehouse).await, newest) {
        (Ok(()), Some(run)) => warehouse.probe_files(run).await.err(),
        (found, _) => found.err(),
    });
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
    let pipelines = project.pipelines(&arguments.pipelines, SOURCES)?;
    let context = context(project, Arc::new(NoopObserver)).await?;
    let rows = pipeline_status(&context.warehouse, &pipelines).await?;
    let instant = |at: Option<Timestamp>| {
        at.map_or_else(|| "never".to_owned(), |at| instant(at, &TimeZone::UTC))
    };
    match format {
        DataFormat::Json => print_json(&rows)?,
        DataFormat::Csv(_) => {
            let mut text = String::from(
                "pipeline,resource,data_through,last_read,versions,gaps,open_rejects,last_run,outcome\n",
            );
            for r in &rows {
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
            print(&text)?;
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
                    let state = match running.abandoned {
                        true => "was running and is no more; the next run takes over",
                        false => "running now",
                    };
                    print_notice(&format!("{}: {state}: {running}", r.pipeline));
                }
            }
            for r in rows.iter().filter(|r| !r.gaps.is_empty()) {
                for gap in r.gaps.iter().take(5) {
                    print_notice(&format!("{}.{}: never read: {gap}", r.pipeline, r.resource));
                }
                print_notice("`tillhouse sync` reads what is missing.");
            }
            if rows.iter().any(|r| r.open_rejects > 0) {
                print_notice(
                    "Rejects: tillhouse sql \"SELECT pipeline, record_key, field, reason FROM ops.rejects WHERE resolved_at IS NULL\"",
                );
            }
        }
    }
    // Last, so that how far it has been read is seen all the same.
    check_tables(&context.warehouse).await?;
    if let Some(max_age) = max_age {
        let names: Vec<String> = pipelines
            .into_iter()
            .map(|pipeline| pipeline.name)
            .collect();
        check_age(&context.warehouse, &names, max_age).await?;
    }
    Ok(ExitCode::SUCCESS)
}
