//! `sql`: a query, queries from standard input, or a prompt.
//!
//! Invariant: a query can read and nothing else; all queries of one prompt see the same published run.

use crate::args::{Cli, Format, Sql};
use crate::commands::{as_of, find_project};
use crate::output::print_stream;
use crate::prompt;
use std::io::{IsTerminal, Read};
use std::process::ExitCode;
use tillhouse_lake::Warehouse;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use tillhouse_pipeline::config::parse_bytes;
use tillhouse_query::{Engine, EngineOptions, Session, split_statements};
use tillhouse_statistics::table_functions;

pub(crate) async fn run(cli: &Cli, arguments: &Sql, format: Format) -> Result<ExitCode> {
    let project = find_project(cli)?;
    let memory_limit_bytes = match &arguments.memory_limit {
        None => project.memory_limit,
        Some(text) => parse_bytes(text).ok_or_else(|| {
            Error::config(format!("{text:?} is no amount of memory")).hint("Write 64MiB or more, like 512MiB or 2GiB.")
        })?,
    };
    let warehouse = Warehouse::open(&project.warehouse).await?;
    let engine = Engine::new(EngineOptions { memory_limit_bytes, ..EngineOptions::default() })?;
    let session = engine.open(&warehouse, &as_of(arguments.as_of.as_deref())?).await?;
    table_functions::register(&session);
    if let Some(query) = &arguments.query {
        execute(&session, query, format).await?;
    } else if std::io::stdin().is_terminal() {
        prompt::run(&session, format, cli.csv_style()).await?;
    } else {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).or_error(ErrorKind::Config, "cannot read standard input")?;
        for query in split_statements(&text) {
            execute(&session, &query, format).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs one query and prints its result; Ctrl-C stops it.
pub(crate) async fn execute(session: &Session, query: &str, format: Format) -> Result<()> {
    let work = async {
        let stream = session.query(query).await?;
        tracing::debug!("the query runs");
        print_stream(format, stream).await
    };
    tokio::select! {
        // In this order, so that the signal is listened for before the query starts; else it would end the process by itself.
        biased;
        _ = tokio::signal::ctrl_c() => Err(Error::new(ErrorKind::Interrupted, "the query was stopped")),
        done = work => done,
    }
}
