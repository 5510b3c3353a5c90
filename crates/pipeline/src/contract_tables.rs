//! Tables that contracts describe, for SQL before anybody has written them.
//!
//! Invariant: a contract that is not valid describes none here; it is told where it is used.

use crate::assets;
use crate::config::Project;
use tillhouse_query::ContractTable;

/// The folder of the unified contracts, and the schema of their tables.
const UNIFIED: &str = "unified";

/// Tables that a project's pipelines and the unified contracts describe, whether or not anybody has written them yet. A contract that
/// is not valid describes none: it is told where it is used.
pub fn contract_tables(project: &Project) -> Vec<ContractTable> {
    let of = |source: &str| match assets::contracts(Some(&project.dir), source) {
        Ok(found) => found,
        Err(error) => {
            tracing::info!("tables of {source} that are not there yet are not known: {error}");
            Vec::new()
        }
    };
    let mut tables: Vec<ContractTable> = of(UNIFIED)
        .into_iter()
        .map(|(_, spec)| ContractTable {
            schema: UNIFIED.to_owned(),
            name: spec.name.clone(),
            columns: spec.unified_schema(),
        })
        .collect();
    for (pipeline, source) in project.pipeline_sources() {
        let specs = source.as_deref().map(of).unwrap_or_default();
        tables.extend(specs.into_iter().map(|(_, spec)| ContractTable {
            schema: pipeline.clone(),
            name: spec.name.clone(),
            columns: spec.source_schema(),
        }));
    }
    tables
}
