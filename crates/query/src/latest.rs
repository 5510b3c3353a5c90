//! The views of `latest`: of a source table, the newest version of each record, without those that were deleted.
//!
//! Invariant: of the versions of a key, the one with the highest `_land` is shown, or none where that one says that the record is
//! gone. Within a package a key comes once, so there are no two newest.
//!
//! Rejected: numbering the versions of each key by a window, which sorts whole records to find the few that were superseded.
//! Grouping reads the key and the package number alone, spills where it has to, and hands on only the keys that have several versions.

use datafusion::catalog::TableProvider;
use datafusion::common::{Column, Result};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::functions_aggregate::expr_fn::{count, max};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlanBuilder, lit};
use std::sync::Arc;
use tillhouse_model::table::{LAND, RECORD_KEY};

/// Set on the version with which a record disappeared.
const DELETED_AT: &str = "_deleted_at";
const RECORDS: &str = "records";
const VERSIONS: &str = "versions";

/// The view over a source table.
pub(crate) fn view(table: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
    let schema = table.schema();
    let source = provider_as_source(table);
    let several = LogicalPlanBuilder::scan(VERSIONS, Arc::clone(&source), None)?
        .aggregate(
            [column(VERSIONS, RECORD_KEY)],
            [max(column(VERSIONS, LAND)).alias("newest"), count(lit(1_i64)).alias("how_many")],
        )?
        .filter(Expr::Column(Column::from_name("how_many")).gt(lit(1_i64)))?
        .build()?;
    let records = LogicalPlanBuilder::scan(RECORDS, source, None)?.build()?;
    let keys = (vec![Column::new(Some(VERSIONS), RECORD_KEY)], vec![Column::new(Some(RECORDS), RECORD_KEY)]);
    // The left side is the one that is held in memory: the keys with several versions, not the records.
    let superseded = column(RECORDS, LAND).lt(Expr::Column(Column::from_name("newest")));
    let mut plan = LogicalPlanBuilder::from(several).join(records, JoinType::RightAnti, keys, Some(superseded))?;
    if schema.field_with_name(DELETED_AT).is_ok() {
        plan = plan.filter(column(RECORDS, DELETED_AT).is_null())?;
    }
    let shown = schema.fields().iter().filter(|field| field.name() != DELETED_AT);
    let shown: Vec<Expr> = shown.map(|field| column(RECORDS, field.name())).collect();
    Ok(Arc::new(ViewTable::new(plan.project(shown)?.build()?, None)))
}

fn column(table: &str, name: &str) -> Expr {
    Expr::Column(Column::new(Some(table), name))
}
