//! Unified tables that have packages which their source tables do not have, as where source tables were put back from an older copy.
//!
//! Invariant: it is told before a run lands anything. What lands then gets the numbers of packages that unified tables take for done: it
//! would reach none of them, and nobody could tell the two apart any more.

use super::CheckedStatements;
use super::statement::UnifyStatement;
use crate::config::Pipeline;
use crate::context::RunContext;
use std::fmt;
use std::sync::Arc;
use tillhouse_model::Result;

/// Unified table whose progress lies beyond the newest package of a source table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AheadOfSource {
    /// The unified table's path.
    unified: String,
    /// The source table's path.
    source: String,
    /// The newest package that the unified table has.
    progress: i64,
    /// The newest one that the source table has.
    newest: i64,
}

impl fmt::Display for AheadOfSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            unified,
            source,
            progress,
            newest,
        } = self;
        write!(
            f,
            "{source} ends with package {newest}, and {unified} has its packages up to {progress}"
        )
    }
}

/// The first unified table of a pipeline that is ahead of one of its source tables; `None` where none is.
///
/// Errors as the lake does.
pub(crate) async fn ahead_of_source(
    context: &RunContext,
    pipeline: &Pipeline,
    CheckedStatements(all): &CheckedStatements,
) -> Result<Option<AheadOfSource>> {
    // What is read no more is not unified any more.
    for plan in &pipeline.resources {
        let resource = plan.resource.name;
        let names_it = |statement: &&UnifyStatement| {
            let mut children = statement.children.iter();
            statement.resource == resource || children.any(|child| child.resource == resource)
        };
        let mine: Vec<&UnifyStatement> = all.iter().filter(names_it).collect();
        if mine.is_empty() {
            continue;
        }
        let spec = Arc::clone(&plan.spec);
        let source = context.warehouse.source_table(&pipeline.name, spec);
        let newest = source.newest_load_id().await?;
        for statement in mine {
            let unified = statement.target(&context.warehouse);
            let progress = unified.progress(&pipeline.name, resource).await?;
            if progress > newest {
                return Ok(Some(AheadOfSource {
                    unified: unified.path(),
                    source: source.path(),
                    progress,
                    newest,
                }));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
#[path = "ahead_tests.rs"]
mod tests;
