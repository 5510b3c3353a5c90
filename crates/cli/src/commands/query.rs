//! `sql`: a query, queries from standard input, or a prompt.
//!
//! Invariant: a query can read and nothing else; all queries of one prompt see the same published run.

use crate::args::{Cli, Format, Sql};
use crate::commands::{as_of, context, find_project};
use crate::output::print_batches;
use crate::prompt;
use std::io::{IsTerminal, Read};
use std::process::ExitCode;
use std::sync::Arc;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use tillhouse_pipeline::Nobody;
use tillhouse_query::Session;

pub(crate) async fn run(cli: &Cli, arguments: &Sql) -> Result<ExitCode> {
    let project = find_project(cli)?;
    let context = context(project, Arc::new(Nobody)).await?;
    let session = context.engine.open(&context.warehouse, &as_of(arguments.as_of.as_deref())?).await?;
    let format = cli.format.unwrap_or(Format::Table);
    if let Some(query) = &arguments.query {
        execute(&session, query, format).await?;
    } else if std::io::stdin().is_terminal() {
        prompt::run(&session, format).await?;
    } else {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).or_error(ErrorKind::Config, "cannot read standard input")?;
        for query in prompt::statements(&text) {
            execute(&session, &query, format).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs one query and prints its result; Ctrl-C stops it.
pub(crate) async fn execute(session: &Session, query: &str, format: Format) -> Result<()> {
    let work = async {
        let stream = session.query(query).await?;
        let schema = stream.schema();
        let batches = tillhouse_query::collect(stream).await?;
        Ok((schema, batches))
    };
    let (schema, batches) = tokio::select! {
        done = work => done?,
        _ = tokio::signal::ctrl_c() => return Err(Error::new(ErrorKind::Interrupted, "the query was stopped")),
    };
    print_batches(format, &schema, &batches)
}
