//! Payments by currency, each of the provider's five words for how they were made, and the method these come to.
//!
//! Invariant: each ranking of a currency adds up to the same total, the collected payments of its counted transactions. Every collected
//! payment of the window is either there or among those collected elsewhere, never in both.

use crate::children::{self, ChildFact, ChildGroup, PassingKeys};
use crate::columns::add;
use crate::definitions::{COLLECTED_OR_WITHOUT_SALE_SQL, WITHOUT_SALE, is_collected};
use crate::request::CheckedRequest;
use crate::transaction_totals::{AmountTally, UNKNOWN};
use std::collections::{BTreeMap, HashMap};
use tillhouse_model::Result;
use tillhouse_query::Session;

/// Number of rankings.
const RANKINGS: usize = 6;
/// The five words and the method, in the order of [`PaymentTotals`]' rankings.
const LABELS: [&str; RANKINGS] = [
    "type",
    "medium",
    "scheme",
    "entry_mode",
    "function",
    "method",
];
/// Grouped by: the words, the method, whether the provider leaves the payment out of its own reports, whether
/// it was collected, what decides whether its transaction is counted, and whether any window has
/// it.
const GROUPS: [&str; 11] = [
    "type",
    "medium",
    "scheme",
    "entry_mode",
    "function",
    "method",
    "excluded",
    "state",
    "kind",
    "transaction_state",
    "timeless",
];

/// Amounts of one currency by label, for each of the labels.
pub(crate) type AmountsByLabel = [HashMap<String, i128>; RANKINGS];

/// State and kind of transactions that are not counted; no kind where the sale is in no table.
pub(crate) type UncountedState = (String, Option<String>);

/// Amounts of payments, by currency.
#[derive(Debug, Default)]
pub(crate) struct PaymentTotals {
    pub(crate) currencies: BTreeMap<String, AmountsByLabel>,
    /// Of it, what the providers leave out of their own reports, by currency.
    pub(crate) excluded: BTreeMap<String, i128>,
    /// Collected payments of transactions that are not counted, by currency.
    pub(crate) elsewhere: BTreeMap<String, BTreeMap<UncountedState, AmountTally>>,
    /// Collected payments of the window without an amount, of counted transactions or not.
    pub(crate) without_amount: i64,
    /// Payments of the window, collected or not, whose sale is in no table.
    pub(crate) without_sale: i64,
    /// Payments whose sale is in no table and that have no time of their own: no window has them.
    pub(crate) without_time: i64,
    /// Digits after the point of every amount.
    pub(crate) scale: u8,
}

const PAYMENTS: ChildFact = ChildFact {
    table: "payments",
    condition: COLLECTED_OR_WITHOUT_SALE_SQL,
    of_counted: false,
    labels: &GROUPS,
    sum: "amount",
    counts_missing: true,
};

/// Sums what was paid in the request's window. One fine grouping, summed up six ways for counted transactions, and by state and kind
/// for the others.
pub(crate) async fn payments(
    session: &Session,
    question: &CheckedRequest<'_>,
    passing: &PassingKeys,
) -> Result<PaymentTotals> {
    let groups = children::groups(session, question, passing, &PAYMENTS).await?;
    let mut found = PaymentTotals {
        scale: groups.scale,
        ..PaymentTotals::default()
    };
    for group in groups.groups {
        found.add(question, group)?;
    }
    Ok(found)
}

impl PaymentTotals {
    fn add(&mut self, question: &CheckedRequest<'_>, group: ChildGroup) -> Result<()> {
        let (amount, count) = (group.total, group.rows);
        let label = |name: &str| {
            let at = GROUPS.iter().position(|group| *group == name);
            at.and_then(|at| group.labels.get(at)?.as_deref())
        };
        let is_true = |name: &str| label(name) == Some("true");
        let (kind, sale_state) = (label("kind"), label("transaction_state"));
        let is_without_sale = kind.is_none() && sale_state.is_none();
        if is_true("timeless") {
            // Those of a transaction are counted with it.
            self.without_time += if is_without_sale { count } else { 0 };
            return Ok(());
        }
        if is_without_sale {
            self.without_sale += count;
        }
        if !is_collected(label("state")) {
            return Ok(());
        }
        self.without_amount += group.missing;
        let currency = group.currency.as_deref().unwrap_or(UNKNOWN).to_owned();
        if !question.counts(kind, sale_state) {
            let state = if is_without_sale {
                WITHOUT_SALE
            } else {
                sale_state.unwrap_or(UNKNOWN)
            };
            let uncounted = (state.to_owned(), kind.map(str::to_owned));
            let of_currency = self.elsewhere.entry(currency).or_default();
            let tally = of_currency.entry(uncounted).or_default();
            return tally.add(AmountTally { count, amount });
        }
        if is_true("excluded") {
            let excluded = self.excluded.entry(currency.clone()).or_default();
            add(excluded, amount)?;
        }
        let rankings = self.currencies.entry(currency).or_default();
        for (ranking, name) in rankings.iter_mut().zip(LABELS) {
            let label = label(name).unwrap_or(UNKNOWN).to_owned();
            add(ranking.entry(label).or_default(), amount)?;
        }
        Ok(())
    }
}
