//! Applying a filter to the rows of a fact: the dimensions it names are joined, the rows that do not pass are dropped.
//!
//! Invariant: every row that passes is there exactly once, because a dimension has one row a key.

use super::Selection;
use super::expression::{Columns, expression};
use super::fields::{DIMENSIONS, Field, Place};
use datafusion::common::JoinType;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::Result;
use tillhouse_query::{DataFrame, Session, into_error};

/// Which fact's rows are narrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
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
    selection: &Selection,
    fact: Fact,
) -> Result<DataFrame> {
    let mut wanted: BTreeMap<Place, BTreeSet<&'static str>> = BTreeMap::new();
    for field in selection.root.fields() {
        wanted.entry(field.place).or_default().insert(field.column);
    }
    let mut names = Names { fact, columns: frame.schema().fields().iter().map(|f| f.name().clone()).collect() };
    for dimension in &DIMENSIONS {
        let Some(columns) = wanted.get(&dimension.place) else { continue };
        let meets = dimension.keys.iter().all(|key| names.columns.contains(*key));
        if !meets || !session.has_table("unified", dimension.table).await? {
            continue;
        }
        let schema = session.columns("unified", dimension.table).await?;
        let there: Vec<&str> = columns.iter().copied().filter(|name| schema.field_with_name(name).is_ok()).collect();
        let joined = |name: &str| joined_name(dimension.place, name);
        let shown = there.iter().chain(dimension.keys).map(|name| format!("{name} AS {}", joined(name)));
        let shown = shown.collect::<BTreeSet<String>>().into_iter().collect::<Vec<_>>().join(", ");
        let rows = session.sql(&format!("SELECT {shown} FROM unified.{}", dimension.table)).await?;
        let keys: Vec<String> = dimension.keys.iter().map(|key| joined(key)).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        frame = frame.join(rows, JoinType::Left, dimension.keys, &keys, None).map_err(into_error)?;
        names.columns.extend(there.iter().map(|name| joined(name)));
    }
    frame.filter(expression(&selection.root, &names)).map_err(into_error)
}

/// What a dimension's column is called once it is joined.
fn joined_name(place: Place, column: &str) -> String {
    format!("filter_{}_{column}", format!("{place:?}").to_lowercase())
}

/// The columns of a joined frame.
struct Names {
    fact: Fact,
    columns: BTreeSet<String>,
}

impl Columns for Names {
    fn name(&self, field: &Field) -> Option<String> {
        let name = match field.place {
            Place::EveryFact if field.column == "state" && self.fact == Fact::Child => "transaction_state".to_owned(),
            Place::Transaction | Place::EveryFact => field.column.to_owned(),
            place => joined_name(place, field.column),
        };
        self.columns.contains(&name).then_some(name)
    }
}
