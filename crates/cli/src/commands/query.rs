//! `sql`: a query, queries from standard input, or a prompt.
//!
//! Invariant: a query can read and nothing else; all queries of one prompt see the same published run.

use crate::args::{Cli, DataFormat, SqlArgs};
use crate::commands::{as_of, find_project};
use crate::output::print_stream;
use crate::prompt;
use crate::watchdog::QueryGuard;
use std::io::{IsTerminal, Read};
use std::process::ExitCode;
use std::sync::Arc;
use tillhouse_lake::Warehouse;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use tillhouse_pipeline::parse_bytes;
use tillhouse_query::{DEEP_STACK, QueryEngine, QueryEngineOptions, Session, split_statements};
use tillhouse_statistics::register_sql;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub(crate) async fn run(cli: &Cli, arguments: &SqlArgs, format: DataFormat) -> Result<ExitCode> {
    let project = find_project(cli)?;
    let memory_limit_bytes = match &arguments.memory_limit {
        None => project.memory_limit,
        Some(text) => parse_bytes(text).ok_or_else(|| {
            Error::config(format!("{text:?} is no amount of memory"))
                .hint("Write 64MiB or more, like 512MiB or 2GiB.")
        })?,
    };
    let warehouse = Warehouse::open(&project.warehouse).await?;
    let engine = QueryEngine::new(QueryEngineOptions {
        memory_limit_bytes,
        ..QueryEngineOptions::default()
    })?;
    let session = engine
        .open(&warehouse, &as_of(arguments.as_of.as_deref())?)
        .await?;
    register_sql(&session, Some(&project.privacy_key));
    let runner = QueryRunner {
        session: Arc::new(session),
        memory_limit_bytes,
    };
    let outcome = if let Some(query) = &arguments.query {
        runner.execute(query, format).await
    } else if std::io::stdin().is_terminal() {
        prompt::run(&runner, format, cli.csv_style()).await
    } else {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .or_error(ErrorKind::Config, "cannot read standard input")
            .map_err(|error| {
                error.hint("Queries are text in UTF-8; an editor can save a file as that.")
            })?;
        runner.execute_all(&text, format).await
    };
    outcome.map(|()| {
        tracing::info!("{}", warehouse.requests());
        ExitCode::SUCCESS
    })
}

/// Runs queries over one published run, each guarded: Ctrl-C stops it, and so does taking more memory than it may.
pub(crate) struct QueryRunner {
    pub(crate) session: Arc<Session>,
    pub(crate) memory_limit_bytes: u64,
}

impl QueryRunner {
    /// Runs the statements of a text, one after the other, and prints their results.
    pub(crate) async fn execute_all(&self, text: &str, format: DataFormat) -> Result<()> {
        for query in split_statements(text) {
            self.execute(&query, format).await?;
        }
        Ok(())
    }

    /// Runs one query and prints its result.
    ///
    /// It has a thread of its own, with a stack for plans as deep as they come: planning does not yield, and whoever waits for the query here must not wait with it.
    pub(crate) async fn execute(&self, query: &str, format: DataFormat) -> Result<()> {
        let guarded = QueryGuard::new(self.memory_limit_bytes);
        let (stop, runtime) = (guarded.token(), Handle::current());
        let (session, query) = (Arc::clone(&self.session), query.to_owned());
        let (done, outcome) = oneshot::channel();
        let run = move || {
            let work = async {
                let stream = session.query(&query).await?;
                tracing::debug!("the query runs");
                print_stream(format, stream).await
            };
            let outcome = runtime.block_on(stop.run_until_cancelled(work));
            // Nobody waits any more only when the process ends.
            let _ = done.send(outcome);
        };
        let thread = std::thread::Builder::new()
            .name("query".to_owned())
            .stack_size(DEEP_STACK);
        thread
            .spawn(run)
            .or_error(ErrorKind::Internal, "cannot start a thread")?;
        match outcome.await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(guarded.reason()),
            Err(_) => Err(Error::internal("the query engine failed")),
        }
    }
}
