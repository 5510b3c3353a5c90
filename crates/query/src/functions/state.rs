//! The state of a transaction, derived from its articles and payments by HecOne's rule table.
//!
//! Invariant: where no line of the table applies, the answer is null; nothing is guessed. The table itself is
//! [`tillhouse_model::derived_state`], which the contracts' rules go by as well.

use super::arguments::CallArguments;
use super::{ArgumentType, SqlFunction};
use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use std::cmp::Ordering;
use std::sync::Arc;
use tillhouse_model::derived_state as derive;

const TAKES: [ArgumentType; 4] = [
    ArgumentType::Texts,
    ArgumentType::Texts,
    ArgumentType::Number,
    ArgumentType::Number,
];

/// `derived_state(article_states, payment_states, collected, invoice)`.
pub(super) fn function() -> SqlFunction {
    SqlFunction::new("derived_state", &TAKES, DataType::Utf8, derived_state)
}

fn derived_state(arguments: &CallArguments) -> Result<ArrayRef> {
    let (articles, payments) = (arguments.lists(0)?, arguments.lists(1)?);
    let (collected, invoice) = (arguments.number(2)?, arguments.number(3)?);
    let states: StringArray = (0..arguments.rows())
        .map(|row| {
            let compared = collected
                .get(row)
                .zip(invoice.get(row))
                .and_then(|(c, i)| compare((c, collected.scale), (i, invoice.scale)));
            derive(articles.get(row), payments.get(row), compared)
        })
        .collect();
    Ok(Arc::new(states))
}

/// Compares two decimals of different scale; `None` only where a value is beyond any amount of money.
fn compare(a: (i128, u32), b: (i128, u32)) -> Option<Ordering> {
    let scale = a.1.max(b.1);
    let a = a.0.checked_mul(10_i128.checked_pow(scale - a.1)?)?;
    let b = b.0.checked_mul(10_i128.checked_pow(scale - b.1)?)?;
    Some(a.cmp(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_of_different_scale_are_compared() {
        assert_eq!(compare((99_999, 4), (1_000, 2)), Some(Ordering::Less));
        assert_eq!(compare((100_000, 4), (1_000, 2)), Some(Ordering::Equal));
        assert_eq!(compare((100_001, 4), (1_000, 2)), Some(Ordering::Greater));
        assert_eq!(
            compare((i128::MAX, 0), (0, 2)),
            None,
            "beyond any amount of money"
        );
    }
}
