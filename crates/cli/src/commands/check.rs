//! `check` and `status`: how things stand, changing nothing.
//!
//! Invariant: `check` tries everything and reports all it finds, not only the first.

use crate::args::{Cli, Format, Pipelines};
use crate::commands::{context, find_project, start_dir};
use crate::failure::report;
use crate::output::instant::instant;
use crate::output::{TextTable, print, print_json, print_text, say};
use crate::registry::SOURCES;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::Arc;
use tillhouse_lake::{AsOf, Warehouse};
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_pipeline::{
    Examined, ExaminedPipeline, Nobody, Project, check_all_tables, check_starts, check_tables,
    status as pipeline_status, unify,
};
use tillhouse_query::{Engine, EngineOptions};

#[derive(Serialize)]
struct Checked {
    what: String,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

pub(crate) async fn run(cli: &Cli, arguments: &Pipelines, format: Format) -> Result<ExitCode> {
    let Examined { environment, remarks, project, pipelines } =
        Project::examine(&Project::folder(&start_dir(cli))?, &arguments.pipelines, SOURCES)?;
    let mut found = Findings::new(format);
    if let Err(error) = environment {
        found.note(".env".into(), Err(error));
    }
    for remark in &remarks {
        say(remark);
    }
    let mut readable = None;
    let opened = match project {
        Ok(project) => {
            found.note("tillhouse.yaml".into(), Ok(()));
            let named = project.warehouse.url.clone();
            match context(Arc::new(project), Arc::new(Nobody)).await {
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
        None => Engine::new(EngineOptions::default())?,
    };
    for ExaminedPipeline { name, outcome, draft } in pipelines {
        let configuration = format!("{name}: configuration");
        let sql = format!("{name}: contracts and unify SQL");
        let pipeline = match outcome {
            Ok(pipeline) => pipeline,
            Err(error) => {
                found.note(configuration, Err(error));
                if let Some(draft) = draft
                    && let Err(error) = unify::check(&engine, &draft).await
                {
                    found.note(sql, Err(error));
                }
                continue;
            }
        };
        found.note(configuration, check_starts(&pipeline, readable.as_ref(), Timestamp::now()).await);
        found.note(sql, unify::check(&engine, &pipeline).await.map(drop));
        found.note(format!("{name}: connection to {}", pipeline.source_name), pipeline.source.check().await);
        for file in &pipeline.overrides {
            say(&format!("{name}: {file} replaces the built-in file"));
        }
        for remark in &pipeline.remarks {
            say(&format!("{name}: {remark}"));
        }
        if pipeline.scheduled {
            say(&format!(
                "{name}: sync.schedule is a note for whoever runs it; nothing runs by itself: put `tillhouse sync` into cron or a timer"
            ));
        }
    }
    let Findings { all: found, worst, .. } = found;
    if format == Format::Json {
        print_json(&found)?;
    } else {
        // Each problem is told above; what it was about stands here once.
        let mut shown = HashSet::new();
        for checked in found.iter().filter(|checked| shown.insert(checked.what.as_str())) {
            print_text(&format!("{} {}\n", if checked.ok { "ok    " } else { "failed" }, checked.what))?;
        }
    }
    Ok(worst.code())
}

/// What was looked at so far.
struct Findings {
    all: Vec<Checked>,
    worst: Worst,
    format: Format,
    /// Problems that were told: those of a file that several pipelines share are told once.
    told: HashSet<String>,
}

impl Findings {
    fn new(format: Format) -> Self {
        Self { all: Vec::new(), worst: Worst::default(), format, told: HashSet::new() }
    }

    fn note(&mut self, what: String, outcome: Result<()>) {
        let error = match outcome {
            Ok(()) => return self.all.push(Checked { what, ok: true, error: None, hint: None }),
            Err(error) => error,
        };
        self.worst.note(error.kind());
        let each = if error.parts().is_empty() { vec![error] } else { error.into_parts() };
        for error in each {
            let text = error.to_string();
            if self.format == Format::Table && self.told.insert(text.clone()) {
                report(&error);
            }
            let hint = error.hint_text().map(str::to_owned);
            self.all.push(Checked { what: what.clone(), ok: false, error: Some(text), hint });
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
    if problems.is_empty() { Ok(()) } else { Err(Error::several(problems)) }
}

/// The exit code of all that failed: a mistake in the configuration counts more than a server that is down.
#[derive(Default)]
struct Worst {
    config: bool,
    other: bool,
}

impl Worst {
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

pub(crate) async fn status(cli: &Cli, arguments: &Pipelines, format: Format) -> Result<ExitCode> {
    let project = find_project(cli)?;
    let pipelines = project.pipelines(&arguments.pipelines, SOURCES)?;
    let context = context(project, Arc::new(Nobody)).await?;
    let rows = pipeline_status(&context.warehouse, &pipelines).await?;
    let instant = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), |at| instant(at, &TimeZone::UTC));
    match format {
        Format::Json => print_json(&rows)?,
        Format::Csv(_) => {
            let mut text =
                String::from("pipeline,resource,data_through,last_read,versions,gaps,open_rejects,last_run,outcome\n");
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
        Format::Table => {
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
            for r in rows.iter().filter(|r| !r.gaps.is_empty()) {
                for gap in r.gaps.iter().take(5) {
                    say(&format!("{}.{}: never read: {gap}", r.pipeline, r.resource));
                }
                say("`tillhouse sync` reads what is missing.");
            }
            if rows.iter().any(|r| r.open_rejects > 0) {
                say(
                    "Rejects: tillhouse sql \"SELECT pipeline, record_key, field, reason FROM ops.rejects WHERE resolved_at IS NULL\"",
                );
            }
        }
    }
    // Last, so that how far it has been read is seen all the same.
    check_tables(&context.warehouse).await?;
    Ok(ExitCode::SUCCESS)
}
