//! `describe`: what a table is, and what its columns mean.
//!
//! Invariant: no row is read, and no source is asked.

use crate::args::{Cli, DataFormat, DescribeArgs};
use crate::commands::{as_of, find_project, reading, register_notes};
use crate::output::{describe as shown, print, print_json, print_text};
use std::process::ExitCode;
use tillhouse_model::did_you_mean::nearest;
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_query::{DEFAULT_SCHEMA, DescribedTable, Session};
use tillhouse_statistics::register_sql;

pub(crate) async fn run(
    cli: &Cli,
    arguments: &DescribeArgs,
    format: DataFormat,
) -> Result<ExitCode> {
    let project = find_project(cli)?;
    let at = as_of(arguments.as_of.as_deref())?;
    let described = reading(project, async |context| {
        let session = context.engine.open(&context.warehouse, &at).await?;
        register_sql(&session, None);
        register_notes(&session, &context.project);
        Ok(match &arguments.table {
            Some(table) => Described::One(describe(&session, table).await?),
            None => Described::All(session.described_tables().await?),
        })
    })
    .await?;
    match (described, format) {
        (Described::One(table), DataFormat::Json) => print_json(&shown::json(&table))?,
        (Described::One(table), DataFormat::Csv(style)) => print(&shown::csv(&table, style))?,
        (Described::One(table), DataFormat::Table) => print_text(&shown::text(&table))?,
        (Described::All(tables), DataFormat::Json) => print_json(&shown::list_json(&tables))?,
        (Described::All(tables), DataFormat::Csv(style)) => {
            print(&shown::list_csv(&tables, style))?;
        }
        (Described::All(tables), DataFormat::Table) => print_text(&shown::list_text(&tables))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Subject that was asked for.
enum Described {
    One(DescribedTable),
    /// Schema, table and meaning.
    All(Vec<(String, String, String)>),
}

/// The table of a name with or without its schema. Errors for one that is not there, with those of like names.
pub(crate) async fn describe(session: &Session, name: &str) -> Result<DescribedTable> {
    let (schema, table) = name.split_once('.').unwrap_or((DEFAULT_SCHEMA, name));
    if session.has_table(schema, table).await? {
        return session.describe(schema, table).await;
    }
    let full = |(schema, table): (String, String)| match schema.as_str() {
        DEFAULT_SCHEMA => table,
        _ => format!("{schema}.{table}"),
    };
    let known: Vec<String> = session.tables().await?.into_iter().map(full).collect();
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let guess = nearest(name, &known).map(|guess| format!("Did you mean {guess}? "));
    Err(
        Error::new(ErrorKind::Query, format!("there is no table {name}")).hint(format!(
            "{}`tillhouse describe`, or \\dt at the prompt, lists what there is.",
            guess.unwrap_or_default()
        )),
    )
}
