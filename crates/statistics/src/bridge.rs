//! From what was charged to what came in: `collected + open = total`, and what stands beside it.
//!
//! Invariant: the equation holds in every currency to the last digit; total, free, test and excluded together are everything the
//! window has; collected and collected elsewhere together are all its collected payments.

use crate::columns::add;
use crate::payments::{PaymentTotals, UncountedState};
use crate::report::{Bridge, CollectedElsewhere, CollectedInState, UncountedTotals};
use crate::transaction_totals::{AmountTally, TransactionTotals, UncountedSales};
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::{Error, ExactDecimal, Result};

/// One entry a currency that the window has, be it only in free sales or in payments.
pub(crate) fn bridge(
    transactions: &TransactionTotals,
    payments: &PaymentTotals,
) -> Result<Vec<Bridge>> {
    // Where one of the tables has no rows, its scale is unknown and its sums are zero.
    let scale = transactions.scale.max(payments.scale);
    let exact = |units: i128, from: u8| {
        ExactDecimal::new(units, from)
            .rescaled(scale)
            .ok_or_else(|| Error::data("a sum has more than 38 digits"))
    };
    let charged = |tally: AmountTally| exact(tally.amount, transactions.scale);
    let aside = |tally: AmountTally| {
        Ok::<_, Error>(UncountedTotals {
            transactions: tally.count,
            amount: charged(tally)?,
        })
    };
    let counted = transactions
        .currencies
        .iter()
        .filter(|(_, currency)| currency.now.count > 0)
        .map(|(name, _)| name);
    let of_transactions = counted.chain(transactions.uncounted.keys());
    let of_payments = payments.currencies.keys().chain(payments.elsewhere.keys());
    let names: BTreeSet<&String> = of_transactions.chain(of_payments).collect();
    let mut entries = Vec::with_capacity(names.len());
    for name in names {
        let total = charged(
            transactions
                .currencies
                .get(name)
                .map(|currency| currency.now)
                .unwrap_or_default(),
        )?;
        // Every ranking adds up to the same.
        let mut collected = 0;
        for amount in payments
            .currencies
            .get(name)
            .iter()
            .flat_map(|[by_type, ..]| by_type.values())
        {
            add(&mut collected, *amount)?;
        }
        let collected = exact(collected, payments.scale)?;
        let open = total.units.checked_sub(collected.units);
        let open = open.ok_or_else(|| Error::data("a sum has more than 38 digits"))?;
        let beside = transactions.uncounted.get(name);
        let beside = |which: fn(&UncountedSales) -> AmountTally| {
            aside(beside.map(which).unwrap_or_default())
        };
        entries.push(Bridge {
            currency: name.clone(),
            total,
            collected,
            open: ExactDecimal::new(open, scale),
            collected_excluded: exact(
                payments.excluded.get(name).copied().unwrap_or_default(),
                payments.scale,
            )?,
            collected_elsewhere: elsewhere(payments.elsewhere.get(name), |units| {
                exact(units, payments.scale)
            })?,
            free: beside(|aside| aside.free)?,
            test: beside(|aside| aside.test)?,
            excluded: beside(|aside| aside.excluded)?,
        });
    }
    Ok(entries)
}

/// Collected payments of transactions that are not counted, and their sum.
fn elsewhere(
    by_state: Option<&BTreeMap<UncountedState, AmountTally>>,
    exact: impl Fn(i128) -> Result<ExactDecimal>,
) -> Result<CollectedElsewhere> {
    let (mut all, mut rows) = (AmountTally::default(), Vec::new());
    for ((state, kind), tally) in by_state.into_iter().flatten() {
        all.add(*tally)?;
        let (state, kind, count) = (state.clone(), kind.clone(), tally.count);
        rows.push(CollectedInState {
            state,
            kind,
            count,
            amount: exact(tally.amount)?,
        });
    }
    Ok(CollectedElsewhere {
        count: all.count,
        amount: exact(all.amount)?,
        by_state: rows,
    })
}
