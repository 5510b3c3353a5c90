//! The view `sales`: one row a transaction, with the current names of its site, device, point and tenant.
//!
//! Invariant: the view has exactly the transactions' rows: every join is a left join on a dimension's key, of which a
//! dimension holds one row each. Lineage columns (those that start with `_`) are left out.

use datafusion::catalog::TableProvider;
use datafusion::common::{Column, Result};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlanBuilder};
use std::sync::Arc;

/// The table the view is built on.
pub(crate) const FACTS: &str = "transactions";

/// One dimension that the view `sales` joins.
pub(crate) struct SalesDimension {
    pub(crate) table: &'static str,
    /// The columns by which both sides meet, of the same name on both.
    keys: &'static [&'static str],
    /// The dimension's columns, and what the view calls them.
    shows: &'static [(&'static str, &'static str)],
}

/// The joins, in the order of the columns they add.
pub(crate) const DIMENSIONS: [SalesDimension; 4] = [
    SalesDimension {
        table: "sites",
        keys: &["site_key"],
        shows: &[
            ("name", "site_name"),
            ("code", "site_code"),
            ("city", "site_city"),
            ("country_code", "site_country_code"),
            ("brand", "site_brand"),
        ],
    },
    SalesDimension {
        table: "devices",
        keys: &["device_key"],
        shows: &[("name", "device_name"), ("code", "device_code")],
    },
    SalesDimension {
        table: "points",
        keys: &["point_key"],
        shows: &[("name", "point_name"), ("number", "point_number")],
    },
    SalesDimension {
        table: "tenants",
        keys: &["pipeline", "tenant_id"],
        shows: &[("name", "tenant_name")],
    },
];

/// The view over the facts and the dimensions that exist.
pub(crate) fn view(
    facts: Arc<dyn TableProvider>,
    dimensions: Vec<(&SalesDimension, Arc<dyn TableProvider>)>,
) -> Result<Arc<dyn TableProvider>> {
    let facts_schema = facts.schema();
    let mut shown: Vec<Expr> = facts_schema
        .fields()
        .iter()
        .filter(|field| !field.name().starts_with('_'))
        .map(|field| column(FACTS, field.name()))
        .collect();
    let mut plan = LogicalPlanBuilder::scan(FACTS, provider_as_source(facts), None)?;
    for (dimension, table) in dimensions {
        let schema = table.schema();
        let meets = |key: &&str| {
            facts_schema.field_with_name(key).is_ok() && schema.field_with_name(key).is_ok()
        };
        if !dimension.keys.iter().all(meets) {
            continue;
        }
        let name_taken = |alias: &str| facts_schema.field_with_name(alias).is_ok();
        for (name, alias) in dimension.shows {
            if schema.field_with_name(name).is_ok() && !name_taken(alias) {
                shown.push(column(dimension.table, name).alias(*alias));
            }
        }
        let keys_of = |table: &str| -> Vec<Column> {
            dimension
                .keys
                .iter()
                .map(|key| Column::new(Some(table), *key))
                .collect()
        };
        let keys = (keys_of(FACTS), keys_of(dimension.table));
        let right =
            LogicalPlanBuilder::scan(dimension.table, provider_as_source(table), None)?.build()?;
        plan = plan.join(right, JoinType::Left, keys, None)?;
    }
    Ok(Arc::new(ViewTable::new(
        plan.project(shown)?.build()?,
        None,
    )))
}

fn column(table: &str, name: &str) -> Expr {
    Expr::Column(Column::new(Some(table), name))
}
