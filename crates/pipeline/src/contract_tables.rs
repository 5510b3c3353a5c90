//! Tables that contracts describe, for SQL before anybody has written them.
//!
//! Invariant: a contract that is not valid describes none here; it is told where it is used.

use crate::assets;
use crate::config::Project;
use std::collections::BTreeSet;
use tillhouse_model::table::{
    CONTENT_HASH, ColumnClass, ColumnKind, ColumnSpec, EXTRA, RECORD_KEY, TableSpec,
};
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
            personal: personal_columns(&spec),
        })
        .collect();
    for (pipeline, source) in project.pipeline_sources() {
        let specs = source.as_deref().map(of).unwrap_or_default();
        tables.extend(specs.into_iter().map(|(_, spec)| ContractTable {
            schema: pipeline.clone(),
            name: spec.name.clone(),
            columns: spec.source_schema(),
            personal: personal_columns(&spec),
        }));
    }
    tables
}

/// Columns of a contract's table that are personal, or have something personal in them. What no contract knows may be personal, and a hash over a record would tell whether a
/// guess at what is not shown is right.
fn personal_columns(spec: &TableSpec) -> BTreeSet<String> {
    let mut personal: BTreeSet<String> = spec
        .columns
        .iter()
        .filter(|column| is_personal(column))
        .map(|column| column.name.clone())
        .collect();
    if spec.key.iter().any(|name| personal.contains(name)) {
        personal.insert(RECORD_KEY.to_owned());
    }
    personal.extend([EXTRA, CONTENT_HASH].map(str::to_owned));
    personal
}

fn is_personal(column: &ColumnSpec) -> bool {
    let has_inside = match &column.kind {
        ColumnKind::Struct(columns) => columns.iter().any(is_personal),
        ColumnKind::List(element) => is_personal(element),
        _ => false,
    };
    let is_class = matches!(
        column.class,
        ColumnClass::Pseudonym(_) | ColumnClass::LastFour
    );
    column.class.is_stored() && (has_inside || column.restricted || is_class)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::contract;

    #[test]
    fn a_column_is_personal_with_whatever_personal_it_has_inside() {
        let text = "
apiVersion: v3.1.0
kind: DataContract
id: kiosk-sales
name: Sales
version: 1.0.0
status: active
dataProduct: kiosk
schema:
  - name: sales
    physicalType: table
    description: One sale.
    properties:
      - { name: id, logicalType: string, required: true, primaryKey: true, primaryKeyPosition: 1 }
      - { name: card, logicalType: string, classification: personal, customProperties: [{ property: treatment, value: lastFour }] }
      - { name: pin, logicalType: string, classification: secret }
      - name: customer
        logicalType: object
        properties:
          - { name: plate, logicalType: string, classification: personal, customProperties: [{ property: treatment, value: pseudonym }, { property: normalise, value: plate }] }
          - { name: kind, logicalType: string }
";
        let spec = contract::parse(text, "sales.yaml").unwrap();
        let personal = personal_columns(&spec);
        let expected = [CONTENT_HASH, EXTRA, "card", "customer"];
        assert_eq!(personal.iter().collect::<Vec<_>>(), expected);
    }
}
