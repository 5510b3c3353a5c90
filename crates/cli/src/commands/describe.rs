//! `describe`: what a table is, and what its columns mean.
//!
//! Invariant: no row is read, and no source is asked.

use crate::args::{Cli, DataFormat, DescribeArgs};
use crate::commands::{as_of, find_project, reading, register_notes};
use crate::output::{describe as shown, print, print_json, print_text};
use std::process::ExitCode;
use tillhouse_model::Result;
use tillhouse_query::DescribedTable;
use tillhouse_query::encode::described;
use tillhouse_statistics::register_sql;

pub(crate) async fn run(
    cli: &Cli,
    arguments: &DescribeArgs,
    format: DataFormat,
) -> Result<ExitCode> {
    let project = find_project(cli)?;
    let at = as_of(arguments.as_of.as_deref())?;
    let subject = reading(project, async |context| {
        let session = context.engine.open(&context.warehouse, &at).await?;
        register_sql(&session, None);
        register_notes(&session, &context.project);
        Ok(match &arguments.table {
            Some(table) => Described::One(session.describe_named(table).await?),
            None => Described::All(session.described_tables().await?),
        })
    })
    .await?;
    match (subject, format) {
        (Described::One(table), DataFormat::Json) => print_json(&described::json(&table))?,
        (Described::One(table), DataFormat::Csv(style)) => print(&described::csv(&table, style))?,
        (Described::One(table), DataFormat::Table) => print_text(&shown::text(&table))?,
        (Described::All(tables), DataFormat::Json) => print_json(&described::list_json(&tables))?,
        (Described::All(tables), DataFormat::Csv(style)) => {
            print(&described::list_csv(&tables, style))?;
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
