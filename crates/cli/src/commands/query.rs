//! `sql`: queries, from the command line, a file or standard input, or a prompt.
//!
//! Invariant: a query can read and nothing else; all queries of one prompt see the same published run.

use crate::args::{Cli, DataFormat, SqlArgs};
use crate::commands::{
    as_of, engine_of, find_project, protected_files, read_given, register_notes, warn_of_other_key,
};
use crate::output::results::{ResultFile, ResultStyle, write_results};
use crate::output::{CsvStyle, ProtectedFiles};
use crate::prompt;
use crate::watchdog::{QueryGuard, is_stopping};
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tillhouse_lake::Warehouse;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use tillhouse_pipeline::parse_bytes;
use tillhouse_query::{
    DEEP_STACK, LocatedStatement, QueryParameters, SendableRecordBatchStream, Session,
    locate_statements,
};
use tillhouse_statistics::register_sql;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub(crate) async fn run(cli: &Cli, arguments: &SqlArgs, format: DataFormat) -> Result<ExitCode> {
    let parameters = QueryParameters::read(arguments.params.iter().map(String::as_str))?;
    let style = ResultStyle {
        file: arguments
            .output
            .as_deref()
            .map(|file| ResultFile::of(file, cli.format.map(|_| format)))
            .transpose()?
            .flatten(),
        null: arguments.null.clone(),
        separator: arguments.csv_separator,
        csv_file: CsvStyle {
            escapes_controls: false,
            ..cli.csv_style()
        },
    };
    let project = find_project(cli)?;
    let protected = protected_files(&project);
    if let Some(file) = &style.file {
        protected.check("the output", file.path())?;
    }
    let memory_limit_bytes = match &arguments.memory_limit {
        None => project.memory_limit,
        Some(text) => parse_bytes(text).ok_or_else(|| {
            Error::config(format!("{text:?} is no amount of memory"))
                .hint("Write 64MiB or more, like 512MiB or 2GiB.")
        })?,
    };
    let warehouse = Warehouse::open(&project.warehouse).await?;
    warn_of_other_key(&project, &warehouse);
    let engine = engine_of(&project, memory_limit_bytes)?;
    let session = engine
        .open(&warehouse, &as_of(arguments.as_of.as_deref())?)
        .await?;
    register_sql(&session, Some(&project.privacy_key));
    register_notes(&session, &project);
    let runner = QueryRunner {
        session: Arc::new(session),
        memory_limit_bytes,
        parameters,
        style,
        protected,
    };
    let text = match (&arguments.query, &arguments.file) {
        (Some(query), _) => Some(query.clone()),
        (None, Some(file)) if file.as_os_str() != "-" => Some(read_file(file)?),
        (None, file) if file.is_some() || !std::io::stdin().is_terminal() => Some(read_input()?),
        (None, _) => None,
    };
    let outcome = match text {
        Some(text) => {
            let mut statements = locate_statements(&text);
            // An empty query is an error, an empty file none.
            if statements.is_empty() && arguments.query.is_some() {
                statements.push(LocatedStatement {
                    sql: text,
                    start: (1, 1),
                });
            }
            check(&runner, &statements, format)?;
            runner.execute_each(&statements, format).await
        }
        None if arguments.output.is_some() => {
            Err(Error::config("--output needs a query").hint("Give one, or -f FILE."))
        }
        None => prompt::run(&runner, format, cli.csv_style()).await,
    };
    outcome.map(|()| {
        tracing::info!("{}", warehouse.requests());
        ExitCode::SUCCESS
    })
}

/// Errors for what the flags say and the queries do not know.
fn check(runner: &QueryRunner, statements: &[LocatedStatement], format: DataFormat) -> Result<()> {
    let style = &runner.style;
    if style.file.is_some() && statements.len() != 1 {
        return Err(Error::config(format!(
            "--output takes the result of one query, and {} were given",
            statements.len()
        ))
        .hint("Run one at a time."));
    }
    let is_csv = style
        .file
        .as_ref()
        .map_or(matches!(format, DataFormat::Csv(_)), ResultFile::is_csv);
    if style.separator.is_some() && !is_csv {
        return Err(Error::config("--csv-separator is for CSV")
            .hint("Add --format csv, or --output FILE.csv."));
    }
    let has_text_for_null = style
        .file
        .as_ref()
        .map_or(format != DataFormat::Json, ResultFile::has_text_for_null);
    if style.null.is_some() && !has_text_for_null {
        return Err(Error::config("--null is for tables, CSV and workbooks")
            .hint("JSON and Parquet have a null of their own."));
    }
    runner
        .parameters
        .check_named(statements.iter().map(|statement| statement.sql.as_str()))
}

/// Queries of a file.
pub(crate) fn read_file(file: &Path) -> Result<String> {
    read_given(file, "cannot read the queries")
}

fn read_input() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .or_error(ErrorKind::Config, "cannot read standard input")
        .map_err(|error| {
            error.hint("Queries are text in UTF-8; an editor can save a file as that.")
        })?;
    Ok(text)
}

/// Runs queries over one published run, each guarded: Ctrl-C stops it, and so does taking more memory than it may.
pub(crate) struct QueryRunner {
    pub(crate) session: Arc<Session>,
    pub(crate) memory_limit_bytes: u64,
    pub(crate) parameters: QueryParameters,
    pub(crate) style: ResultStyle,
    /// Files that no result is written over.
    pub(crate) protected: ProtectedFiles,
}

impl QueryRunner {
    /// Runs statements, one after the other, and prints their results.
    async fn execute_each(
        &self,
        statements: &[LocatedStatement],
        format: DataFormat,
    ) -> Result<()> {
        for statement in statements {
            self.execute(statement, format).await?;
        }
        Ok(())
    }

    /// Runs one query and prints its result.
    pub(crate) async fn execute(
        &self,
        statement: &LocatedStatement,
        format: DataFormat,
    ) -> Result<()> {
        let style = self.style.clone();
        self.consume(statement, async move |stream| {
            write_results(format, &style, stream, is_stopping).await
        })
        .await
    }

    /// Runs one query and hands its result on.
    ///
    /// It has a thread of its own, with a stack for plans as deep as they come: planning does not yield, and whoever waits for the query here must not wait with it.
    pub(crate) async fn consume<T: Send + 'static>(
        &self,
        statement: &LocatedStatement,
        consumer: impl AsyncFnOnce(SendableRecordBatchStream) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let guarded = QueryGuard::new(self.memory_limit_bytes);
        let (stop, runtime) = (guarded.token(), Handle::current());
        let (session, statement) = (Arc::clone(&self.session), statement.clone());
        let parameters = self.parameters.clone();
        let (done, outcome) = oneshot::channel();
        let run = move || {
            let work = async {
                let LocatedStatement { sql, start } = &statement;
                let stream = session.query_written(sql, &parameters, *start).await?;
                tracing::debug!("the query runs");
                consumer(stream).await
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
