//! What was paid: by currency and each of the provider's five words for how.
//!
//! Invariant: each ranking of a currency adds up to the same total, the collected payments of its counted transactions.

use crate::children::{self, Child, Passing};
use crate::columns::{add, decimals, integers, texts};
use crate::facts::UNKNOWN;
use crate::request::Question;
use std::collections::{BTreeMap, HashMap};
use tillhouse_model::Result;
use tillhouse_query::Session;

/// The five words, in the order of [`Payments`]' rankings.
const LABELS: [&str; 5] = ["type", "medium", "scheme", "entry_mode", "function"];
/// What payments are grouped by: the words, and whether the provider leaves the payment out of its own reports.
const GROUPS: [&str; 6] = ["type", "medium", "scheme", "entry_mode", "function", "excluded"];

/// Amounts of one currency by label, for each of the five words.
pub(crate) type ByLabel = [HashMap<String, i128>; 5];

/// Amounts by currency.
#[derive(Debug, Default)]
pub(crate) struct Payments {
    pub(crate) currencies: BTreeMap<String, ByLabel>,
    /// Of it, what the providers leave out of their own reports, by currency.
    pub(crate) excluded: BTreeMap<String, i128>,
    /// Digits after the point of every amount.
    pub(crate) scale: u8,
}

const PAYMENTS: Child = Child { table: "payments", condition: "state = 'collected'", labels: &GROUPS, sum: "amount" };

/// Sums what was paid for the transactions of the request's window. One fine grouping, summed up five ways.
pub(crate) async fn payments(session: &Session, question: &Question<'_>, passing: &Passing) -> Result<Payments> {
    let mut found = Payments::default();
    children::groups(session, question, passing, &PAYMENTS, |batch| {
        let (amounts, currencies) = (decimals(batch, "total")?, texts(batch, "currency")?);
        found.scale = amounts.scale;
        let labels = LABELS.iter().map(|label| texts(batch, label)).collect::<Result<Vec<_>>>()?;
        let excluded = integers(batch, "excluded")?;
        for row in 0..batch.num_rows() {
            let currency = currencies.get(row).unwrap_or(UNKNOWN).to_owned();
            if excluded.get(row) == Some(1) {
                add(found.excluded.entry(currency.clone()).or_default(), amounts.get(row))?;
            }
            let rankings = found.currencies.entry(currency).or_default();
            for (ranking, labels) in rankings.iter_mut().zip(&labels) {
                let label = labels.get(row).unwrap_or(UNKNOWN).to_owned();
                add(ranking.entry(label).or_default(), amounts.get(row))?;
            }
        }
        Ok(())
    })
    .await?;
    Ok(found)
}
