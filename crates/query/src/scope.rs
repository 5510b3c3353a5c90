//! The part of a run that a reader may see: tenants, pipelines, personal columns, source schemas.
//!
//! Invariant: what a scope does not name is not there. A table whose rows cannot be told apart by what the scope is about is absent, and so is a column of which no contract says
//! that it is not personal. Nothing here reads a statement: a scope is kept by the tables themselves ([`crate::scoped_table`]), below every view, function and roll-up.
//!
//! ```text
//!   table                       rows of a pipeline       rows of a tenant
//!   facts, tenants, roll-ups    pipeline                 tenant_id
//!   sites, devices, points,     pipeline                 those whose key a fact of the tenant has
//!   products
//!   other dimensions            pipeline                 absent
//!   ops: slices, rejects,       pipeline                 tenant
//!   reconciliations
//!   ops: warnings, drift        pipeline                 absent
//!   ops: runs                   all, without figures     all, without figures
//!   ops: maintenance, audit     absent                   absent
//!   source schemas, latest      the schema's name        absent
//! ```
//!
//! Rejected: personal columns that are null. Their absence is an error that names the column, where a null would be an answer about nobody; and `information_schema`, views and
//! descriptions follow from the columns of the table without being told.

use crate::schemas::{ContractTable, DEFAULT_SCHEMA, LATEST, OPS, OURS, STATISTICS};
use arrow::datatypes::Schema;
use datafusion::common::Column;
use datafusion::logical_expr::{Expr, lit};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tillhouse_lake::{OpsTables, RunRecord};
use tillhouse_model::ExpectedReads;
use tillhouse_model::table::{PIPELINE, RECORD_KEY};

/// The column of the tenant in facts, in the dimension of tenants and in roll-ups; and in the bookkeeping.
const TENANT_ID: &str = "tenant_id";
const OPS_TENANT: &str = "tenant";
/// The bookkeeping of runs, and the columns of it that tell nothing of how much there is of whom.
const RUNS: &str = "runs";
const RUN_COLUMNS: [&str; 8] = [
    "run_id",
    "command",
    "started_at",
    "finished_at",
    "outcome",
    "published",
    "number",
    "month",
];
/// Columns of the bookkeeping that may hold keys, values or filters of somebody, or say who asked what.
const OPS_PERSONAL: [&str; 7] = [
    "record_key",
    "redacted",
    "original",
    "filter",
    "who",
    "from_address",
    "asked",
];
/// Dimensions without a tenant, and the key by which facts name their rows.
static LINKED: [(&str, &str); 4] = [
    ("sites", "site_key"),
    ("devices", "device_key"),
    ("points", "point_key"),
    ("products", "product_key"),
];
/// Facts that name rows of dimensions.
pub(crate) const LINKING_FACTS: [&str; 4] = ["transactions", "articles", "payments", "events"];

/// The part of a run that a reader may see.
///
/// ```
/// use tillhouse_query::Scope;
///
/// let north = Scope { tenants: Some(["north".to_owned()].into()), personal: false, ..Scope::everything() };
/// assert!(!north.is_everything());
/// assert!(north.covers("hecone", Some("north")) && !north.covers("hecone", Some("south")));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Scope {
    /// Tenants, by their ids; all where there is none said.
    pub tenants: Option<BTreeSet<String>>,
    /// Pipelines, by their names; all where there is none said.
    pub pipelines: Option<BTreeSet<String>>,
    /// True if personal columns are there, pseudonyms too.
    pub personal: bool,
    /// True if the schemas of sources are there.
    pub source_schemas: bool,
}

impl Default for Scope {
    /// Nothing of anybody.
    fn default() -> Self {
        Self {
            tenants: Some(BTreeSet::new()),
            pipelines: Some(BTreeSet::new()),
            personal: false,
            source_schemas: false,
        }
    }
}

impl Scope {
    /// All there is.
    pub fn everything() -> Self {
        Self {
            tenants: None,
            pipelines: None,
            personal: true,
            source_schemas: true,
        }
    }

    /// True if nothing is left out.
    pub fn is_everything(&self) -> bool {
        *self == Self::everything()
    }

    /// True if rows are left out: those of other tenants or pipelines.
    pub fn is_of_some(&self) -> bool {
        self.tenants.is_some() || self.pipelines.is_some()
    }

    /// True if a pipeline may be seen.
    pub fn covers_pipeline(&self, pipeline: &str) -> bool {
        let pipelines = self.pipelines.as_ref();
        pipelines.is_none_or(|pipelines| pipelines.contains(pipeline))
    }

    /// True if bookkeeping of a pipeline and tenant is about something that may be seen. What was read of all tenants together is about each.
    pub fn covers(&self, pipeline: &str, tenant: Option<&str>) -> bool {
        let tenants = self.tenants.as_ref();
        self.covers_pipeline(pipeline)
            && tenants.is_none_or(|tenants| tenant.is_none_or(|tenant| tenants.contains(tenant)))
    }

    /// The scope of what both scopes let be seen.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let both = |one: &Option<BTreeSet<String>>, two: &Option<BTreeSet<String>>| match (one, two)
        {
            (Some(one), Some(two)) => Some(one.intersection(two).cloned().collect()),
            (one, two) => one.clone().or_else(|| two.clone()),
        };
        Self {
            tenants: both(&self.tenants, &other.tenants),
            pipelines: both(&self.pipelines, &other.pipelines),
            personal: self.personal && other.personal,
            source_schemas: self.source_schemas && other.source_schemas,
        }
    }

    /// The record of a run as its readers may know it: without the sizes of tables, without the tables and expected reads of others.
    pub(crate) fn narrowed_run(&self, run: &RunRecord) -> RunRecord {
        let mut run = run.clone();
        if !self.is_of_some() {
            return run;
        }
        let foreign: BTreeSet<String> = (run.expected.iter())
            .filter(|(pipeline, reads)| self.reads_of(pipeline, reads).is_none())
            .map(|(pipeline, _)| pipeline.clone())
            .collect();
        let is_seen =
            |pipeline: &str| self.covers_pipeline(pipeline) && !foreign.contains(pipeline);
        run.tables.retain(|path, _| {
            let schema = path.split_once('/').map_or("", |(schema, _)| schema);
            OURS.contains(&schema) || is_seen(schema)
        });
        run.pipelines.retain(|pipeline| is_seen(pipeline));
        run.figures.clear();
        run.counts.clear();
        run.expected = self.narrowed_reads(&run.expected);
        run
    }

    /// Expected reads, without those of others.
    pub(crate) fn narrowed_reads(
        &self,
        expected: &BTreeMap<String, ExpectedReads>,
    ) -> BTreeMap<String, ExpectedReads> {
        let seen = expected.iter().filter_map(|(pipeline, reads)| {
            Some((pipeline.clone(), self.reads_of(pipeline, reads)?))
        });
        seen.collect()
    }

    /// Expected reads of a pipeline; `None` where all of them are of others.
    fn reads_of(&self, pipeline: &str, reads: &ExpectedReads) -> Option<ExpectedReads> {
        if !self.covers_pipeline(pipeline) {
            return None;
        }
        let mut seen = reads.clone();
        for tenants in seen.resources.values_mut() {
            tenants.retain(|tenant| self.covers(pipeline, tenant.as_deref()));
        }
        seen.resources.retain(|_, tenants| !tenants.is_empty());
        (seen.is_known() || !reads.is_known()).then_some(seen)
    }
}

/// The part of a table that is there.
#[derive(Debug)]
pub(crate) struct TableRule {
    /// Places of its columns, in their order; never none.
    pub(crate) shown: Vec<usize>,
    /// Conditions on its rows, all of which hold. None of them can fail.
    pub(crate) rows: Vec<Expr>,
    /// The key of rows that have to be named by a fact.
    pub(crate) linked_by: Option<&'static str>,
}

/// A scope, and what contracts say of columns.
#[derive(Debug)]
pub(crate) struct ScopeRules {
    scope: Scope,
    contracts: Arc<[ContractTable]>,
}

impl ScopeRules {
    pub(crate) fn new(scope: Scope, contracts: Arc<[ContractTable]>) -> Self {
        Self { scope, contracts }
    }

    /// The scope.
    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    /// True if there is such a schema: every one that is no source's, and those of sources as far as they may be seen. The rows of a source's records cannot be told
    /// apart by tenant.
    pub(crate) fn has_schema(&self, schema: &str) -> bool {
        let scope = &self.scope;
        match schema {
            LATEST => scope.source_schemas && scope.tenants.is_none(),
            _ if OURS.contains(&schema) => true,
            _ => scope.source_schemas && scope.tenants.is_none() && scope.covers_pipeline(schema),
        }
    }

    /// True if a table that nobody has opened may be there: what is known of its columns without that does not rule it out.
    pub(crate) fn may_have(&self, schema: &str, table: &str) -> bool {
        let of_contract = self.contract(schema, table);
        let known = of_contract.map(|contract| Arc::clone(&contract.columns));
        let of_ops = || (schema == OPS).then(|| OpsTables::schema(table)).flatten();
        match known.or_else(of_ops) {
            Some(columns) => self.rule(schema, table, &columns).is_some(),
            None if schema == STATISTICS => true,
            None => self.scope.personal && (!self.scope.is_of_some() || schema != DEFAULT_SCHEMA),
        }
    }

    fn contract(&self, schema: &str, table: &str) -> Option<&ContractTable> {
        let mut contracts = self.contracts.iter();
        contracts.find(|contract| contract.schema == schema && contract.name == table)
    }

    /// The part of a table with these columns that is there; `None` where it is absent.
    pub(crate) fn rule(&self, schema: &str, table: &str, columns: &Schema) -> Option<TableRule> {
        if !self.has_schema(schema) {
            return None;
        }
        let has = |name: &str| columns.field_with_name(name).is_ok();
        let (mut rows, mut linked_by) = (Vec::new(), None);
        let is_told_apart = OURS.contains(&schema) && !(schema == OPS && table == RUNS);
        if let Some(pipelines) = self.scope.pipelines.as_ref().filter(|_| is_told_apart) {
            if !has(PIPELINE) {
                return None;
            }
            rows.push(one_of(PIPELINE, pipelines));
        }
        if let Some(tenants) = self.scope.tenants.as_ref().filter(|_| is_told_apart) {
            let tenant = if schema == OPS { OPS_TENANT } else { TENANT_ID };
            if has(tenant) {
                rows.push(one_of(tenant, tenants));
            } else {
                let mut linked = LINKED.iter().filter(|_| schema == DEFAULT_SCHEMA);
                let (_, key) = linked.find(|(name, key)| *name == table && has(key))?;
                linked_by = Some(*key);
            }
        }
        let shown = self.shown(schema, table, columns)?;
        Some(TableRule {
            shown,
            rows,
            linked_by,
        })
    }

    /// Places of the columns that are there; `None` where none is.
    fn shown(&self, schema: &str, table: &str, columns: &Schema) -> Option<Vec<usize>> {
        let contract = self.contract(schema, table);
        let is_of_somebody =
            |name: &str| contract.is_some_and(|contract| contract.personal.contains(name));
        if !self.scope.personal && is_of_somebody(RECORD_KEY) {
            return None;
        }
        let is_shown = |name: &str| match schema {
            OPS => {
                let is_of_all = table == RUNS && self.scope.is_of_some();
                (!is_of_all || RUN_COLUMNS.contains(&name))
                    && (self.scope.personal || !OPS_PERSONAL.contains(&name))
            }
            STATISTICS => true,
            _ if self.scope.personal => true,
            _ => {
                contract.is_some_and(|contract| contract.columns.field_with_name(name).is_ok())
                    && !is_of_somebody(name)
            }
        };
        let fields = columns.fields().iter().enumerate();
        let shown = fields.filter(|(_, field)| is_shown(field.name()));
        let shown: Vec<usize> = shown.map(|(at, _)| at).collect();
        (!shown.is_empty()).then_some(shown)
    }
}

/// The condition that a column has one of some values.
fn one_of(column: &str, values: &BTreeSet<String>) -> Expr {
    if values.is_empty() {
        return lit(false);
    }
    let values = values.iter().map(|value| lit(value.as_str())).collect();
    Expr::Column(Column::from_name(column)).in_list(values, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::{DataType, Field};

    fn set(values: &[&str]) -> Option<BTreeSet<String>> {
        Some(values.iter().map(|value| (*value).to_owned()).collect())
    }

    fn columns(names: &[&str]) -> Schema {
        let fields = names
            .iter()
            .map(|name| Field::new(*name, DataType::Utf8, true));
        Schema::new(fields.collect::<Vec<_>>())
    }

    fn rules(scope: Scope) -> ScopeRules {
        let contract =
            |schema: &str, name: &str, names: &[&str], personal: &[&str]| ContractTable {
                schema: schema.to_owned(),
                name: name.to_owned(),
                columns: Arc::new(columns(names)),
                personal: personal.iter().map(|name| (*name).to_owned()).collect(),
            };
        let contracts = [
            contract(
                "unified",
                "transactions",
                &["pipeline", "tenant_id", "vin"],
                &["vin"],
            ),
            contract("unified", "vouchers", &["pipeline"], &[]),
            contract("hecone", "cards", &["_record_key"], &["_record_key"]),
        ];
        ScopeRules::new(scope, contracts.into())
    }

    #[test]
    fn nothing_is_there_unless_a_scope_names_it() {
        let nobody = rules(Scope::default());
        let facts = columns(&["pipeline", "tenant_id", "vin", "new"]);
        let rule = nobody.rule("unified", "transactions", &facts).unwrap();
        assert_eq!(rule.shown, [0, 1], "neither personal nor unknown columns");
        assert_eq!(rule.rows, [lit(false), lit(false)]);
        for (schema, table) in [("hecone", "sales"), ("latest", "hecone_sales")] {
            assert!(nobody.rule(schema, table, &facts).is_none(), "{schema}");
        }
        assert!(nobody.rule("ops", "maintenance", &facts).is_none());
        // Who asked what is for whoever sees all rows, and names are for whoever sees personal columns.
        let asked = columns(&["asked_at", "who", "from_address", "asked", "rows"]);
        assert!(nobody.rule("ops", "audit", &asked).is_none());
        let impersonal = rules(Scope {
            personal: false,
            ..Scope::everything()
        });
        assert_eq!(
            impersonal.rule("ops", "audit", &asked).unwrap().shown,
            [0, 4]
        );
    }

    #[test]
    fn a_table_that_tells_no_tenants_apart_is_absent_or_linked() {
        let north = rules(Scope {
            tenants: set(&["north"]),
            ..Scope::everything()
        });
        let plain = columns(&["pipeline", "site_key"]);
        assert!(north.rule("unified", "vouchers", &plain).is_none());
        assert!(!north.may_have("unified", "vouchers"));
        assert!(!north.may_have("unified", "unheard_of"));
        assert!(north.rule("hecone", "cards", &plain).is_none());
        let sites = north.rule("unified", "sites", &plain).unwrap();
        assert_eq!((sites.linked_by, sites.rows.len()), (Some("site_key"), 0));
        let runs = columns(&["run_id", "counts", "figures", "tables", "expected"]);
        assert_eq!(north.rule("ops", "runs", &runs).unwrap().shown, [0]);
    }

    #[test]
    fn a_record_whose_key_is_personal_is_there_for_nobody_else() {
        let all_but_personal = rules(Scope {
            personal: false,
            ..Scope::everything()
        });
        let key = columns(&["_record_key"]);
        assert!(all_but_personal.rule("hecone", "cards", &key).is_none());
        assert!(
            rules(Scope::everything())
                .rule("hecone", "cards", &key)
                .is_some()
        );
    }

    #[test]
    fn two_scopes_are_what_both_let_be_seen() {
        let one = Scope {
            tenants: set(&["a", "b"]),
            ..Scope::everything()
        };
        let two = Scope {
            tenants: set(&["b", "c"]),
            pipelines: set(&["p"]),
            personal: false,
            source_schemas: true,
        };
        let both = one.and(&two);
        assert_eq!((both.tenants, both.pipelines), (set(&["b"]), set(&["p"])));
        assert!(!both.personal && both.source_schemas);
        assert_eq!(one.and(&Scope::everything()), one);
    }

    #[test]
    fn reads_of_others_are_not_expected() {
        let scope = Scope {
            tenants: set(&["a"]),
            pipelines: set(&["p", "q"]),
            ..Scope::everything()
        };
        let reads = |tenants: &[Option<&str>]| {
            let tenants = tenants.iter().map(|tenant| tenant.map(str::to_owned));
            ExpectedReads::new("s", [("sales".to_owned(), tenants.collect())])
        };
        let expected = BTreeMap::from([
            ("p".to_owned(), reads(&[Some("a"), Some("b"), None])),
            ("q".to_owned(), reads(&[Some("b")])),
            ("r".to_owned(), reads(&[None])),
        ]);
        let seen = scope.narrowed_reads(&expected);
        assert_eq!(
            seen,
            BTreeMap::from([("p".to_owned(), reads(&[Some("a"), None]))])
        );
    }
}
