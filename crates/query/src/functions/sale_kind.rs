//! Kind of a sale: sale, refund or free.
//!
//! Invariant: the answer is never null: a transaction without an amount is a sale that is not over yet.
//!
//! A function and not a CASE in SQL: DataFusion filters the whole batch, lists included, for every branch of a CASE.

use super::arguments::CallArguments;
use super::{ArgumentType, SqlFunction};
use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use std::sync::Arc;
use tillhouse_model::word;

const TAKES: [ArgumentType; 3] = [
    ArgumentType::Number,
    ArgumentType::Text,
    ArgumentType::Number,
];

/// `sale_kind(amount, state, largest_article_amount)`.
pub(super) fn function() -> SqlFunction {
    SqlFunction::new("sale_kind", &TAKES, DataType::Utf8, sale_kind)
}

fn sale_kind(arguments: &CallArguments) -> Result<ArrayRef> {
    let (amounts, states, articles) = (
        arguments.number(0)?,
        arguments.text(1)?,
        arguments.number(2)?,
    );
    let kinds: StringArray = (0..arguments.rows())
        .map(|row| {
            Some(match amounts.get(row) {
                Some(amount) if amount < 0 => "refund",
                Some(0)
                    if states.get(row).is_some_and(is_over)
                        && articles.get(row).unwrap_or(0) == 0 =>
                {
                    "free"
                }
                _ => "sale",
            })
        })
        .collect();
    Ok(Arc::new(kinds))
}

fn is_over(state: &str) -> bool {
    matches!(&*word::canonical(state), "completed" | "consumed")
}
