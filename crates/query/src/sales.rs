//! The view `sales`: one row a transaction, with the current names of its site, device, point and tenant.
//!
//! Invariant: the view has exactly the transactions' rows: every join is a left join on a dimension's key, of which a
//! dimension holds one row each. Lineage columns (those that start with `_`) are left out.

use crate::sql_view::{SqlView, ViewTables, column_of};

/// The view that joins transactions with the names of their sites, devices, points and tenants.
pub const SALES: &str = "sales";
/// The table the view is built on.
const FACTS: &str = "transactions";

/// The view, for every session to know.
pub(crate) const SALES_VIEW: SqlView = SqlView {
    name: SALES,
    description: "Any transaction, counted or not, with the current names of its site, device, point and tenant.",
    notes: &[],
    over: FACTS,
    beside: &["sites", "devices", "points", "tenants"],
    definition,
};

/// Dimension whose names stand beside the facts that have its key.
#[derive(Debug)]
pub struct NameDimension {
    /// The table.
    pub table: &'static str,
    /// The columns by which both sides meet, of the same name on both.
    pub keys: &'static [&'static str],
    /// The dimension's columns, and what views call them.
    pub names: &'static [(&'static str, &'static str)],
}

/// The dimensions, in the order of the columns they add.
pub const NAME_DIMENSIONS: [NameDimension; 4] = [
    NameDimension {
        table: "sites",
        keys: &["site_key"],
        names: &[
            ("name", "site_name"),
            ("code", "site_code"),
            ("city", "site_city"),
            ("country_code", "site_country_code"),
            ("brand", "site_brand"),
        ],
    },
    NameDimension {
        table: "devices",
        keys: &["device_key"],
        names: &[("name", "device_name"), ("code", "device_code")],
    },
    NameDimension {
        table: "points",
        keys: &["point_key"],
        names: &[("name", "point_name"), ("number", "point_number")],
    },
    NameDimension {
        table: "tenants",
        keys: &["pipeline", "tenant_id"],
        names: &[("name", "tenant_name")],
    },
];

/// Names of dimensions beside a fact: what a query selects of them, and its joins.
#[derive(Debug, Default)]
pub struct JoinedNames {
    /// Names of the view's columns, and the columns they are.
    pub columns: Vec<(&'static str, String)>,
    /// The joins, one a line.
    pub joins: String,
}

impl JoinedNames {
    /// The names that a fact can have: of dimensions that are there and whose keys it has. `fact` is its table, `alias` what the
    /// query calls it.
    pub fn of(tables: &ViewTables, fact: &str, alias: &str) -> Self {
        let mut joined = Self::default();
        for dimension in &NAME_DIMENSIONS {
            let table = dimension.table;
            let meets = |key: &&str| tables.has_column(fact, key) && tables.has_column(table, key);
            if !dimension.keys.iter().all(meets) {
                continue;
            }
            for (name, shown) in dimension.names {
                if tables.has_column(table, name) && !tables.has_column(fact, shown) {
                    joined.columns.push((shown, column_of(table, name)));
                }
            }
            let equal =
                |key: &&str| format!("{} = {}", column_of(table, key), column_of(alias, key));
            let on: Vec<String> = dimension.keys.iter().map(equal).collect();
            joined
                .joins
                .push_str(&format!("\nLEFT JOIN {table} ON {}", on.join(" AND ")));
        }
        joined
    }
}

fn definition(tables: &ViewTables) -> Option<String> {
    let names = JoinedNames::of(tables, FACTS, "t");
    let own = tables
        .own_columns(FACTS)
        .into_iter()
        .map(|name| column_of("t", name));
    let named = names
        .columns
        .iter()
        .map(|(name, column)| format!("{column} AS {name}"));
    let shown: Vec<String> = own.chain(named).collect();
    Some(format!(
        "SELECT {}\nFROM {FACTS} AS t{}",
        shown.join(", "),
        names.joins
    ))
}
