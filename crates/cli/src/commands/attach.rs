//! `attach`: a script that shows the tables of one published run to another engine.
//!
//! Invariant: what the script defines is what `sql` defines: the views are printed from the definitions that a session goes by.

use crate::args::{AttachArgs, AttachedEngine, Cli};
use crate::commands::{as_of, find_project, reading};
use crate::output::duckdb_script::{AttachedRun, script};
use crate::output::print;
use std::process::ExitCode;
use tillhouse_model::{Error, Result};
use tillhouse_statistics::register_sql;

pub(crate) async fn run(cli: &Cli, arguments: &AttachArgs) -> Result<ExitCode> {
    let at = as_of(arguments.as_of.as_deref())?;
    let text = reading(find_project(cli)?, async |context| {
        let session = context.engine.open(&context.warehouse, &at).await?;
        register_sql(&session, None);
        let views = session.view_definitions().await?;
        let run = session
            .run()
            .ok_or_else(|| Error::internal("a session over a warehouse reads no run"))?;
        let attached = AttachedRun {
            id: &run.run_id,
            url: context.warehouse.url().as_str(),
            folder: context.warehouse.url().to_file_path().ok(),
            tables: &run.tables,
            views: &views,
        };
        Ok(match arguments.engine {
            AttachedEngine::Duckdb => script(&attached),
        })
    })
    .await?;
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
