//! The transactions of a request: one pass over both windows, summed up here row by row, a task a partition.
//!
//! Invariant: the table is scanned once. Amounts are summed as integers.
//!
//! Rejected: one query a figure (hours, sites, totals, meta), which scans six times; a fine GROUP BY summed up again, which for a long
//! window has nearly as many groups as rows (hours times sites: half a million of a million) and was a fifth slower over a year;
//! GROUPING SETS, which multiplies rows inside the engine.

use crate::columns::{add, decimals, instants, integers, texts};
use crate::definitions::{self, FREE, TEST};
use crate::filter::{FilteredFact, TransactionKeys, select};
use crate::request::{CheckedRequest, HourGrouping};
use crate::rollup::{self, AnswerSource};
use arrow::array::RecordBatch;
use datafusion::logical_expr::ident;
use futures::TryStreamExt;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tillhouse_model::calendar::{self, DAY, HOUR};
use tillhouse_model::{Error, ErrorKind, FastMap, Result};
use tillhouse_query::zone::{Zone, ZoneClock};
use tillhouse_query::{DataFrame, ScalarValue, Session, execute_partitioned, into_error};
use tokio::task::JoinSet;

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
    pub(crate) hours: FastMap<i64, i64>,
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

/// Conditions on every fact table, and the values for their placeholders. The tables are
/// partitioned by month, so naming months spares files; the exact times then decide.
pub(crate) struct FactConditions {
    pub(crate) sql: String,
    pub(crate) params: Vec<(&'static str, ScalarValue)>,
}

impl FactConditions {
    /// Conditions on everything but the time.
    pub(crate) fn without_times(question: &CheckedRequest<'_>) -> Self {
        let request = question.request;
        let text = |value: &str| ScalarValue::Utf8(Some(value.to_owned()));
        let mut sql = "perspective = $perspective".to_owned();
        let mut params = vec![("perspective", text(&request.perspective))];
        if let Some(tenant) = &request.tenant {
            sql.push_str(" AND tenant_id = $tenant");
            params.push(("tenant", text(tenant)));
        }
        if let Some(source) = &request.source {
            sql.push_str(" AND source = $source");
            params.push(("source", text(source)));
        }
        if let Some(pipeline) = &request.pipeline {
            sql.push_str(" AND pipeline = $pipeline");
            params.push(("pipeline", text(pipeline)));
        }
        Self { sql, params }
    }

    /// The same, between two instants.
    pub(crate) fn between(question: &CheckedRequest<'_>, window: (i64, i64)) -> Self {
        let mut conditions = Self::without_times(question);
        let (times, months) =
            conditions.span(window, ["since", "until", "first_month", "last_month"]);
        conditions.sql = format!(
            "{} AND {times}{}",
            conditions.sql,
            months.map_or(String::new(), |m| format!(" AND {m}"))
        );
        conditions
    }

    /// The same, between two instants or without a time; see [`FactConditions::of_both_windows`].
    pub(crate) fn between_or_untimed(question: &CheckedRequest<'_>, window: (i64, i64)) -> Self {
        let mut conditions = Self::without_times(question);
        let (times, months) =
            conditions.span(window, ["since", "until", "first_month", "last_month"]);
        let months = months.map_or(String::new(), |months| {
            format!(" AND ({months} OR month = 'none')")
        });
        conditions.sql = format!(
            "{} AND ({times} OR occurred_at IS NULL){months}",
            conditions.sql
        );
        conditions
    }

    /// The same, in either of a request's windows, or without a time.
    ///
    /// Months are asked apart from times: they are partitions and no column of a file, and a condition that mixes the two would not be
    /// pushed down into the files.
    fn of_both_windows(question: &CheckedRequest<'_>) -> Self {
        let mut conditions = Self::without_times(question);
        let (now, before) = (question.now, question.before.unwrap_or(question.now));
        let names = [
            ["since", "until", "first_month", "last_month"],
            [
                "before_since",
                "before_until",
                "before_first_month",
                "before_last_month",
            ],
        ];
        // Windows that touch are one stretch; others are two, so that a year between them is not read.
        let apart = now.0 > before.1 || before.0 > now.1;
        let windows = if apart {
            vec![now, before]
        } else {
            vec![(now.0.min(before.0), now.1.max(before.1))]
        };
        let (mut times, mut months) = (Vec::new(), Some(Vec::new()));
        for (window, names) in windows.into_iter().zip(names) {
            let (time, month) = conditions.span(window, names);
            times.push(time);
            months = months.zip(month).map(|(mut months, month)| {
                months.push(month);
                months
            });
        }
        let months = months.map_or(String::new(), |m| {
            format!(" AND ({} OR month = 'none')", m.join(" OR "))
        });
        conditions.sql = format!(
            "{} AND ({} OR occurred_at IS NULL){months}",
            conditions.sql,
            times.join(" OR ")
        );
        conditions
    }

    /// A stretch of time, and the months it touches where these have names; its values stand under the given names.
    fn span(
        &mut self,
        (since, until): (i64, i64),
        [from, to, first, last]: [&'static str; 4],
    ) -> (String, Option<String>) {
        self.params.push((from, instant(since)));
        self.params.push((to, instant(until)));
        let months =
            month(since)
                .zip(month(until.saturating_sub(1)))
                .map(|(first_month, last_month)| {
                    self.params
                        .push((first, ScalarValue::Utf8(Some(first_month))));
                    self.params
                        .push((last, ScalarValue::Utf8(Some(last_month))));
                    format!("(month >= ${first} AND month <= ${last})")
                });
        (
            format!("(occurred_at >= ${from} AND occurred_at < ${to})"),
            months,
        )
    }
}

pub(crate) fn instant(micros: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()))
}

/// The partition an instant is in; `None` for years that four digits cannot write, whose names do not sort.
pub(crate) fn month(micros: i64) -> Option<String> {
    let (year, month) = calendar::civil_month(micros.div_euclid(DAY));
    (0..=9999)
        .contains(&year)
        .then(|| format!("{year:04}-{month:02}"))
}

/// Counts the transactions of both windows, and those without a time.
pub(crate) async fn transactions(
    session: &Session,
    question: &CheckedRequest<'_>,
) -> Result<TransactionTotals> {
    let mut found = TransactionTotals::default();
    let keys = || question.needs_keys().then(|| TransactionKeys::new(session));
    let mut passing = keys();
    let (schema, table) = question.answer_source.table("transactions");
    if session.has_table(schema, table).await? {
        let partitions = execute_partitioned(rows(session, question).await?).await?;
        let mut tasks = JoinSet::new();
        for mut rows in partitions {
            let (rules, mut keys) = (CountingRules::new(question), keys());
            tasks.spawn(async move {
                let (mut found, mut clock) =
                    (TransactionTotals::default(), ZoneClock::new(rules.zone));
                while let Some(batch) = rows.try_next().await.map_err(into_error)? {
                    found.count(&batch, &rules, &mut clock, keys.as_mut())?;
                }
                Ok::<_, Error>((found, keys))
            });
        }
        while let Some(counted) = tasks.join_next().await {
            let (part, keys) = counted
                .map_err(|e| Error::new(ErrorKind::Internal, "counting stopped").because(e))??;
            found.add(part)?;
            if let (Some(passing), Some(keys)) = (&mut passing, keys) {
                passing.add(&keys)?;
            }
        }
    }
    found.passing = passing.map(Arc::new);
    Ok(found)
}

/// The transactions of both windows and those without a time, as far as they pass the filter.
async fn rows(session: &Session, question: &CheckedRequest<'_>) -> Result<DataFrame> {
    let conditions = FactConditions::of_both_windows(question);
    let sql = format!(
        "SELECT * FROM {} WHERE {}",
        question.answer_source.relation("transactions"),
        conditions.sql
    );
    let mut rows = session.frame(&sql, &conditions.params).await?;
    if let Some(filter) = &question.request.filter {
        rows = select(session, rows, filter, FilteredFact::Transaction).await?;
    }
    let mut columns = vec![
        "occurred_at",
        "currency",
        "kind",
        "state",
        "amount",
        "site_key",
    ];
    if question.request.hours == HourGrouping::OfDay {
        columns.push("local_hour");
    }
    if question.needs_keys() {
        columns.push("transaction_key");
    }
    if question.answer_source == AnswerSource::Rollups {
        columns.extend([rollup::TRANSACTIONS.count, rollup::WITHOUT_AMOUNT]);
    }
    rows.select(columns.into_iter().map(ident).collect::<Vec<_>>())
        .map_err(into_error)
}

/// Rules by which transactions are counted: windows, states, hours.
struct CountingRules {
    now: (i64, i64),
    before: Option<(i64, i64)>,
    states: Vec<String>,
    hours: HourGrouping,
    zone: Zone,
    place: AnswerSource,
}

impl CountingRules {
    fn new(question: &CheckedRequest<'_>) -> Self {
        Self {
            now: question.now,
            before: question.before,
            states: question.request.states.clone(),
            hours: question.request.hours,
            zone: question.zone,
            place: question.answer_source,
        }
    }
}

impl TransactionTotals {
    fn count(
        &mut self,
        batch: &RecordBatch,
        rules: &CountingRules,
        clock: &mut ZoneClock,
        mut keys: Option<&mut TransactionKeys>,
    ) -> Result<()> {
        let (times, amounts) = (instants(batch, "occurred_at")?, decimals(batch, "amount")?);
        let (currencies, kinds, states, sites) = (
            texts(batch, "currency")?,
            texts(batch, "kind")?,
            texts(batch, "state")?,
            texts(batch, "site_key")?,
        );
        let hours = matches!(rules.hours, HourGrouping::OfDay)
            .then(|| integers(batch, "local_hour"))
            .transpose()?;
        let transaction_keys = keys
            .as_ref()
            .map(|_| texts(batch, "transaction_key"))
            .transpose()?;
        let of_rollups = |name: &str| {
            (rules.place == AnswerSource::Rollups)
                .then(|| integers(batch, name))
                .transpose()
        };
        let (counts, without_amount) = (
            of_rollups(rollup::TRANSACTIONS.count)?,
            of_rollups(rollup::WITHOUT_AMOUNT)?,
        );
        self.scale = amounts.scale;
        let within = |at: i64, (from, to): (i64, i64)| from <= at && at < to;
        for row in 0..batch.num_rows() {
            // A row of a roll-up stands for all transactions of an hour that are alike.
            let count = counts
                .as_ref()
                .map_or(Some(1), |counts| counts.get(row))
                .unwrap_or(0);
            let Some(at) = times.get(row) else {
                self.without_time += count;
                continue;
            };
            let one = AmountTally {
                count,
                amount: amounts.get(row),
            };
            let (is_now, is_before) = (
                within(at, rules.now),
                rules.before.is_some_and(|before| within(at, before)),
            );
            let (kind, state) = (kinds.get(row), states.get(row));
            let sells = definitions::is_counted_kind(kind);
            let in_state =
                state.is_some_and(|state| rules.states.iter().any(|counted| counted == state));
            if is_now && sells && definitions::is_open(state) {
                self.open += count;
            }
            // Counted or not: what was collected for one that is not counted stands in the bridge.
            if let (true, Some(keys)) = (is_now, &mut keys)
                && let Some(key) = transaction_keys.as_ref().and_then(|keys| keys.get(row))
            {
                keys.insert(key)?;
            }
            let name = currencies.get(row).unwrap_or(UNKNOWN);
            if !(sells && in_state) {
                if is_now {
                    let aside = named(&mut self.uncounted, name);
                    match kind {
                        Some(FREE) if in_state => aside.free.add(one)?,
                        Some(TEST) if in_state => aside.test.add(one)?,
                        _ => aside.excluded.add(one)?,
                    }
                }
                continue;
            }
            let currency = named(&mut self.currencies, name);
            if is_before {
                currency.before.add(one)?;
            }
            if !is_now {
                continue;
            }
            currency.now.add(one)?;
            self.without_amount += match &without_amount {
                Some(without) => without.get(row).unwrap_or(0),
                None => i64::from(amounts.known(row).is_none()),
            };
            let hour = match &hours {
                None => clock.hour_start(at),
                // A site whose clock is not known goes by UTC, as its business date does.
                Some(hours) => hours.get(row).unwrap_or_else(|| at.rem_euclid(DAY) / HOUR),
            };
            *currency.hours.entry(hour).or_default() += count;
            match sites.get(row) {
                None => currency.without_site.add(one)?,
                Some(site) => match currency.sites.get_mut(site) {
                    Some(tally) => tally.add(one)?,
                    None => {
                        currency.sites.insert(site.to_owned(), one);
                    }
                },
            }
        }
        Ok(())
    }

    /// Takes in what another partition has.
    fn add(&mut self, other: Self) -> Result<()> {
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
            for (hour, count) in theirs.hours {
                *ours.hours.entry(hour).or_default() += count;
            }
            for (site, tally) in theirs.sites {
                ours.sites.entry(site).or_default().add(tally)?;
            }
        }
        Ok(())
    }
}

/// The entry of that name, made if it is not there; asked for every row, so that the name is copied only where it is new.
#[expect(clippy::expect_used, reason = "what was not there has been made")]
fn named<'a, T: Default>(entries: &'a mut BTreeMap<String, T>, name: &str) -> &'a mut T {
    if !entries.contains_key(name) {
        entries.insert(name.to_owned(), T::default());
    }
    entries.get_mut(name).expect("an entry that is there")
}
