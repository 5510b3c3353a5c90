//! Applying a filter to the rows of a fact: the dimensions it names are joined, the rows that do not pass are dropped.
//!
//! Invariant: every row that passes is there exactly once, because a dimension has one row a key.

use super::CheckedFilter;
use super::expression::{FilterColumns, expression};
use super::fields::{DIMENSIONS, FieldTable, FilterField};
use datafusion::common::JoinType;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::Result;
use tillhouse_query::{DataFrame, Session, into_error};

/// The fact whose rows are filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FilteredFact {
    /// Transactions.
    Transaction,
    /// Articles or payments, which carry columns of their transaction.
    Child,
}

/// The rows of a frame that pass. The frame has the fact's columns; those of dimensions that were joined stand behind them, with names
/// that start with `filter_`.
pub(crate) async fn select(
    session: &Session,
    mut frame: DataFrame,
    selection: &CheckedFilter,
    fact: FilteredFact,
) -> Result<DataFrame> {
    let mut wanted: BTreeMap<FieldTable, BTreeSet<&'static str>> = BTreeMap::new();
    for field in selection.root.fields() {
        wanted.entry(field.table).or_default().insert(field.column);
    }
    let mut names = JoinedColumns {
        fact,
        columns: frame
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect(),
    };
    for dimension in &DIMENSIONS {
        let Some(columns) = wanted.get(&dimension.field_table) else {
            continue;
        };
        let meets = dimension
            .keys
            .iter()
            .all(|key| names.columns.contains(*key));
        if !meets || !session.has_table("unified", dimension.table).await? {
            continue;
        }
        let schema = session.columns("unified", dimension.table).await?;
        let there: Vec<&str> = columns
            .iter()
            .copied()
            .filter(|name| schema.field_with_name(name).is_ok())
            .collect();
        let joined = |name: &str| joined_name(dimension.field_table, name);
        let shown = there
            .iter()
            .chain(dimension.keys)
            .map(|name| format!("{name} AS {}", joined(name)));
        let shown = shown
            .collect::<BTreeSet<String>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(", ");
        let rows = session
            .sql(&format!("SELECT {shown} FROM unified.{}", dimension.table))
            .await?;
        let keys: Vec<String> = dimension.keys.iter().map(|key| joined(key)).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        frame = frame
            .join(rows, JoinType::Left, dimension.keys, &keys, None)
            .map_err(into_error)?;
        names.columns.extend(there.iter().map(|name| joined(name)));
    }
    frame
        .filter(expression(&selection.root, &names))
        .map_err(into_error)
}

/// Name of a dimension's column once it is joined.
fn joined_name(place: FieldTable, column: &str) -> String {
    format!("filter_{}_{column}", format!("{place:?}").to_lowercase())
}

/// Columns of a fact joined with the dimensions that its filter names.
struct JoinedColumns {
    fact: FilteredFact,
    columns: BTreeSet<String>,
}

impl FilterColumns for JoinedColumns {
    fn name(&self, field: &FilterField) -> Option<String> {
        let name = match field.table {
            FieldTable::EveryFact
                if field.column == "state" && self.fact == FilteredFact::Child =>
            {
                "transaction_state".to_owned()
            }
            FieldTable::Transaction | FieldTable::EveryFact => field.column.to_owned(),
            place => joined_name(place, field.column),
        };
        self.columns.contains(&name).then_some(name)
    }
}
