//! Totals of transactions, and how a row is counted into them.
//!
//! Invariant: amounts are summed as integers, so that the totals are the same in whatever parts and order the rows come.

use crate::columns::{add, decimals, instants, integers, texts};
use crate::definitions::{self, FREE, TEST};
use crate::filter::TransactionKeys;
use crate::hour_counts::{HourColumns, HourCounts};
use crate::request::{CheckedRequest, HourGrouping};
use crate::rollup::{self, FactScan, Part};
use arrow::array::RecordBatch;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tillhouse_model::{Error, Result};
use tillhouse_query::zone::{Zone, ZoneClock};

/// Name of currency and label where the provider named none.
pub(crate) const UNKNOWN: &str = "unknown";

/// Count and sum of amounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AmountTally {
    pub(crate) count: i64,
    pub(crate) amount: i128,
}

impl AmountTally {
    pub(crate) fn add(&mut self, other: Self) -> Result<()> {
        self.count = self
            .count
            .checked_add(other.count)
            .ok_or_else(|| Error::data("more rows than can be counted"))?;
        add(&mut self.amount, other.amount)
    }
}

/// Totals of the transactions of one currency.
#[derive(Debug, Default)]
pub(crate) struct CurrencyTotals {
    pub(crate) now: AmountTally,
    pub(crate) before: AmountTally,
    /// By hour: its start in microseconds since 1970, or the hour of the day.
    pub(crate) hours: HourCounts,
    /// By site key.
    pub(crate) sites: HashMap<String, AmountTally>,
    /// Transactions that name no site.
    pub(crate) without_site: AmountTally,
}

/// Totals of the window's transactions that are not counted: free, test and excluded.
#[derive(Debug, Default)]
pub(crate) struct UncountedSales {
    pub(crate) free: AmountTally,
    pub(crate) test: AmountTally,
    /// Everything else: void ones, and those in a state that is not asked for.
    pub(crate) excluded: AmountTally,
}

/// Totals of the transactions of a request.
#[derive(Debug, Default)]
pub(crate) struct TransactionTotals {
    pub(crate) currencies: BTreeMap<String, CurrencyTotals>,
    /// Transactions that are not counted, by currency.
    pub(crate) uncounted: BTreeMap<String, UncountedSales>,
    /// Digits after the point of every amount.
    pub(crate) scale: u8,
    pub(crate) open: i64,
    /// Transactions without any time, which no window can count.
    pub(crate) without_time: i64,
    /// Counted ones without an amount.
    pub(crate) without_amount: i64,
    /// Those of the window that pass the filter, where articles and payments must be asked by key.
    pub(crate) passing: Option<Arc<TransactionKeys>>,
}

/// Rules by which a scan's transactions are counted: its parts of the windows, states, hours.
#[derive(Debug, Clone)]
pub(crate) struct CountingRules {
    pub(crate) scan: FactScan,
    pub(crate) states: Vec<String>,
    pub(crate) hours: HourGrouping,
    pub(crate) zone: Zone,
}

impl CountingRules {
    pub(crate) fn new(question: &CheckedRequest<'_>, scan: &FactScan) -> Self {
        Self {
            scan: scan.clone(),
            states: question.request.states.clone(),
            hours: question.request.hours,
            zone: question.zone,
        }
    }
}

impl TransactionTotals {
    /// Counts the rows of a batch; the keys of those of the window are put aside where somebody asks for them.
    pub(crate) fn count(
        &mut self,
        batch: &RecordBatch,
        rules: &CountingRules,
        clock: &mut ZoneClock,
        mut keys: Option<&mut TransactionKeys>,
    ) -> Result<()> {
        let (times, amounts) = (instants(batch, "occurred_at")?, decimals(batch, "amount")?);
        let (currencies, kinds, states) = (
            texts(batch, "currency")?,
            texts(batch, "kind")?,
            texts(batch, "state")?,
        );
        let scan = &rules.scan;
        let sites = (!scan.now.is_empty())
            .then(|| texts(batch, "site_key"))
            .transpose()?;
        let hours = HourColumns::of(batch, scan, rules.hours)?;
        let transaction_keys = keys
            .as_ref()
            .map(|_| texts(batch, "transaction_key"))
            .transpose()?;
        let of_rollups = |name: &str| {
            scan.source
                .is_counted()
                .then(|| integers(batch, name))
                .transpose()
        };
        let (counts, without_amount) = (
            of_rollups(rollup::TRANSACTIONS.count)?,
            of_rollups(rollup::WITHOUT_AMOUNT)?,
        );
        self.scale = amounts.scale;
        for row in 0..batch.num_rows() {
            // A row of a level stands for all transactions of a period that are alike.
            let count = counts
                .as_ref()
                .map_or(Some(1), |counts| counts.get(row))
                .unwrap_or(0);
            let Some(at) = times.get(row) else {
                self.without_time += count;
                continue;
            };
            let (now, before) = (
                Part::sign_at(&scan.now, at),
                Part::sign_at(&scan.before, at),
            );
            let tally = |sign: i64| AmountTally {
                count: sign * count,
                amount: i128::from(sign) * amounts.get(row),
            };
            let (kind, state) = (kinds.get(row), states.get(row));
            let sells = definitions::is_counted_kind(kind);
            let in_state =
                state.is_some_and(|state| rules.states.iter().any(|counted| counted == state));
            if sells && definitions::is_open(state) {
                self.open += now * count;
            }
            // Counted or not: what was collected for one that is not counted stands in the bridge.
            if let (true, Some(keys)) = (now != 0, &mut keys)
                && let Some(key) = transaction_keys.as_ref().and_then(|keys| keys.get(row))
            {
                keys.insert(key)?;
            }
            let name = currencies.get(row).unwrap_or(UNKNOWN);
            if !(sells && in_state) {
                if now != 0 {
                    let aside = named(&mut self.uncounted, name);
                    match kind {
                        Some(FREE) if in_state => aside.free.add(tally(now))?,
                        Some(TEST) if in_state => aside.test.add(tally(now))?,
                        _ => aside.excluded.add(tally(now))?,
                    }
                }
                continue;
            }
            let currency = named(&mut self.currencies, name);
            if before != 0 {
                currency.before.add(tally(before))?;
            }
            hours.count(&mut currency.hours, &scan.hours, (row, at), clock);
            if now == 0 {
                continue;
            }
            currency.now.add(tally(now))?;
            self.without_amount += now
                * match &without_amount {
                    Some(without) => without.get(row).unwrap_or(0),
                    None => i64::from(amounts.known(row).is_none()),
                };
            match sites.as_ref().and_then(|sites| sites.get(row)) {
                None => currency.without_site.add(tally(now))?,
                Some(site) => match currency.sites.get_mut(site) {
                    Some(known) => known.add(tally(now))?,
                    None => {
                        currency.sites.insert(site.to_owned(), tally(now));
                    }
                },
            }
        }
        Ok(())
    }

    /// Drops what was added and taken off again.
    pub(crate) fn drop_cancelled(&mut self) {
        self.uncounted.retain(|_, aside| {
            [aside.free, aside.test, aside.excluded]
                .iter()
                .any(|tally| tally.count != 0)
        });
        self.currencies.retain(|_, currency| {
            currency.sites.retain(|_, tally| tally.count != 0);
            currency.now.count != 0 || currency.before.count != 0
        });
    }

    /// Takes in what another partition has.
    pub(crate) fn add(&mut self, other: Self) -> Result<()> {
        self.scale = self.scale.max(other.scale);
        self.open += other.open;
        self.without_time += other.without_time;
        self.without_amount += other.without_amount;
        for (name, theirs) in other.uncounted {
            let ours = self.uncounted.entry(name).or_default();
            ours.free.add(theirs.free)?;
            ours.test.add(theirs.test)?;
            ours.excluded.add(theirs.excluded)?;
        }
        for (name, theirs) in other.currencies {
            let ours = self.currencies.entry(name).or_default();
            ours.now.add(theirs.now)?;
            ours.before.add(theirs.before)?;
            ours.without_site.add(theirs.without_site)?;
            ours.hours.merge(theirs.hours);
            for (site, tally) in theirs.sites {
                ours.sites.entry(site).or_default().add(tally)?;
            }
        }
        Ok(())
    }
}

/// The entry of that name, made if it is not there; asked for every row, so that the name is copied only where it is new.
#[expect(clippy::expect_used, reason = "what was not there has been made")]
pub(crate) fn named<'a, T: Default>(entries: &'a mut BTreeMap<String, T>, name: &str) -> &'a mut T {
    if !entries.contains_key(name) {
        entries.insert(name.to_owned(), T::default());
    }
    entries.get_mut(name).expect("an entry that is there")
}
