//! The schemas of the catalog, by name, and the tables that contracts describe in them.
//!
//! Invariant: names alone; nothing is opened here. A schema that is not named here is a source's, and is called as its pipeline.

use arrow::datatypes::SchemaRef;
use std::collections::BTreeSet;

/// The only catalog.
pub(crate) const CATALOG: &str = "tillhouse";
/// The schema of names without one.
pub const DEFAULT_SCHEMA: &str = "unified";
/// The schema of the bookkeeping tables.
pub(crate) const OPS: &str = "ops";
/// The schema of the roll-ups.
pub(crate) const STATISTICS: &str = "statistics";
/// The schema of the views that show the newest version of each record of a source table.
pub const LATEST: &str = "latest";
/// Schemas of tables that are no source's.
pub(crate) const OURS: [&str; 4] = [DEFAULT_SCHEMA, OPS, STATISTICS, LATEST];

/// A table that a contract describes, whether or not anybody has written it yet.
#[derive(Debug, Clone)]
pub struct ContractTable {
    /// `unified`, or the pipeline.
    pub schema: String,
    /// Its name there.
    pub name: String,
    /// Columns that it has, or will have.
    pub columns: SchemaRef,
    /// Those of them that are personal, or have something personal in them: who may not see that finds none of them.
    pub personal: BTreeSet<String>,
}
