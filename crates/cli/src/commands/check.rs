//! `check` and `status`: how things stand, changing nothing.
//!
//! Invariant: `check` tries everything and reports all it finds, not only the first.

use crate::args::{Cli, Format, Pipelines};
use crate::commands::{context, find_project, start_dir};
use crate::failure::report;
use crate::output::{TextTable, print, print_json, print_text, say};
use crate::registry::SOURCES;
use jiff::Timestamp;
use serde::Serialize;
use std::process::ExitCode;
use std::sync::Arc;
use tillhouse_lake::{AsOf, Warehouse};
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_pipeline::{Examined, Nobody, Project, check_starts, check_tables, status as pipeline_status, unify};

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
    let Examined { project, pipelines } =
        Project::examine(&Project::folder(&start_dir(cli))?, &arguments.pipelines, SOURCES)?;
    let mut found: Vec<Checked> = Vec::new();
    let mut worst = Worst::default();
    let mut note = |what: String, outcome: Result<()>| match outcome {
        Ok(()) => found.push(Checked { what, ok: true, error: None, hint: None }),
        Err(error) => {
            worst.note(error.kind());
            if format == Format::Table {
                report(&error);
            }
            let each = if error.parts().is_empty() { std::slice::from_ref(&error) } else { error.parts() };
            for error in each {
                let hint = error.hint_text().map(str::to_owned);
                found.push(Checked { what: what.clone(), ok: false, error: Some(error.to_string()), hint });
            }
        }
    };
    let opened = match project {
        Ok(project) => {
            note("tillhouse.yaml".into(), Ok(()));
            let named = project.warehouse.url.clone();
            match context(Arc::new(project), Arc::new(Nobody)).await {
                Ok(context) => {
                    note(format!("warehouse {}", context.warehouse.url()), warehouse(&context.warehouse).await);
                    Some(context)
                }
                Err(error) => {
                    note(format!("warehouse {named}"), Err(error));
                    None
                }
            }
        }
        Err(error) => {
            note("tillhouse.yaml".into(), Err(error));
            None
        }
    };
    for (name, pipeline) in pipelines {
        let what = format!("{name}: configuration");
        let pipeline = match pipeline {
            Ok(pipeline) => pipeline,
            Err(error) => {
                note(what, Err(error));
                continue;
            }
        };
        note(what, check_starts(&pipeline, Timestamp::now()));
        if let Some(context) = &opened {
            note(
                format!("{}: contracts and unify SQL", pipeline.name),
                unify::check(&context.engine, &pipeline).await.map(drop),
            );
        }
        note(format!("{}: connection to {}", pipeline.name, pipeline.source_name), pipeline.source.check().await);
        for file in &pipeline.overrides {
            say(&format!("{}: {file} replaces the built-in file", pipeline.name));
        }
        if pipeline.scheduled {
            say(&format!(
                "{}: sync.schedule is a note for whoever runs it; nothing runs by itself: put `tillhouse sync` into cron or a timer",
                pipeline.name
            ));
        }
    }
    if format == Format::Json {
        print_json(&found)?;
    } else {
        for checked in &found {
            print_text(&format!("{} {}\n", if checked.ok { "ok    " } else { "failed" }, checked.what))?;
        }
    }
    Ok(worst.code())
}

/// Tries that the warehouse can be read and written, and that everything is there that its newest run names.
async fn warehouse(warehouse: &Warehouse) -> Result<()> {
    let run = warehouse.ops().published(&AsOf::Latest).await;
    let newest = run.as_ref().ok().and_then(Option::as_ref);
    let mut problems = Vec::new();
    problems.extend(warehouse.probe_writing(newest).await.err());
    if let Some(run) = newest {
        problems.extend(match check_tables(warehouse).await {
            Ok(()) => warehouse.probe_files(run).await.err(),
            lost => lost.err(),
        });
    }
    problems.extend(run.err());
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
    let instant =
        |t: Option<Timestamp>| t.map_or_else(|| "never".to_owned(), |t| t.strftime("%Y-%m-%d %H:%M:%SZ").to_string());
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
