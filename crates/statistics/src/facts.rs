//! The transactions of a request: one pass over each source of its plan, summed up here row by row, a task a partition.
//!
//! Invariant: a source is scanned once, the facts for both windows together. Amounts are summed as integers. What is added by one source and
//! taken off by another leaves no trace: no site, hour or currency without a transaction.
//!
//! Rejected: one query a figure (hours, sites, totals, meta), which scans six times; a fine GROUP BY summed up again, which for a long
//! window has nearly as many groups as rows (hours times sites: half a million of a million) and was a fifth slower over a year;
//! GROUPING SETS, which multiplies rows inside the engine.

use crate::columns::{add, decimals, instants, integers, texts};
use crate::definitions::{self, FREE, TEST};
use crate::filter::{FilteredFact, TransactionKeys, select};
use crate::hour_counts::{HourColumns, HourCounts};
use crate::request::{CheckedRequest, HourGrouping};
use crate::rollup::{self, AnswerSource, FactScan, Part, Span};
use arrow::array::RecordBatch;
use datafusion::logical_expr::{ident, lit};
use futures::TryStreamExt;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tillhouse_model::calendar::{self, DAY};
use tillhouse_model::{Error, ErrorKind, Result};
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

/// Names of the values of a stretch of time: its ends, and its first and last month or year. A scan has six stretches at most, since each of three
/// windows has two ends.
const SPAN_NAMES: [[&str; 4]; 6] = [
    ["since", "until", "first_month", "last_month"],
    ["since_2", "until_2", "first_month_2", "last_month_2"],
    ["since_3", "until_3", "first_month_3", "last_month_3"],
    ["since_4", "until_4", "first_month_4", "last_month_4"],
    ["since_5", "until_5", "first_month_5", "last_month_5"],
    ["since_6", "until_6", "first_month_6", "last_month_6"],
];

/// Names of the ends of stretches whose sums are taken off. A scan has four at most: two at each end of its window.
const TAKEN_OFF_NAMES: [[&str; 2]; 4] = [
    ["off_since", "off_until"],
    ["off_since_2", "off_until_2"],
    ["off_since_3", "off_until_3"],
    ["off_since_4", "off_until_4"],
];

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
    pub(crate) fn between(question: &CheckedRequest<'_>, window: Span) -> Self {
        Self::without_times(question).in_spans(&[window], false, AnswerSource::Facts)
    }

    /// The same, for the rows that a scan takes.
    pub(crate) fn of_scan(question: &CheckedRequest<'_>, scan: &FactScan) -> Self {
        Self::without_times(question).in_spans(&scan.spans(), scan.untimed, scan.source)
    }

    /// Condition of rows of a scan that are taken off instead of added. Its values go to those of the conditions.
    pub(crate) fn taken_off(&mut self, scan: &FactScan) -> String {
        let named = scan.taken_off().into_iter().zip(TAKEN_OFF_NAMES);
        let stretches: Vec<String> = named
            .map(|((since, until), [from, to])| {
                self.params.push((from, instant(since)));
                self.params.push((to, instant(until)));
                format!("(occurred_at >= ${from} AND occurred_at < ${to})")
            })
            .collect();
        match stretches.is_empty() {
            true => "FALSE".to_owned(),
            // Null without a time.
            false => format!("coalesce({}, FALSE)", stretches.join(" OR ")),
        }
    }

    /// The same, in some stretches of time, or without a time where these are asked for.
    ///
    /// Months are asked apart from times: they are partitions and no column of a file, and a condition that mixes the two would not be
    /// pushed down into the files.
    fn in_spans(mut self, spans: &[Span], untimed: bool, source: AnswerSource) -> Self {
        let (mut times, mut months) = (Vec::new(), Some(Vec::new()));
        for (span, names) in spans.iter().zip(SPAN_NAMES) {
            let (time, month) = self.span(*span, names, source);
            times.push(time);
            months = months.zip(month).map(|(mut months, month)| {
                months.push(month);
                months
            });
        }
        if untimed {
            times.push("occurred_at IS NULL".to_owned());
            let folder = source.folders().0;
            months = months.map(|mut months| {
                months.push(format!("{folder} = 'none'"));
                months
            });
        }
        let either = |conditions: Vec<String>| match conditions.is_empty() {
            true => "FALSE".to_owned(),
            false => conditions.join(" OR "),
        };
        let months = months.map_or(String::new(), |months| format!(" AND ({})", either(months)));
        self.sql = format!("{} AND ({}){months}", self.sql, either(times));
        self
    }

    /// A stretch of time, and the months or years it touches where these have names; its values stand under the given names.
    fn span(
        &mut self,
        (since, until): (i64, i64),
        [from, to, first, last]: [&'static str; 4],
        source: AnswerSource,
    ) -> (String, Option<String>) {
        self.params.push((from, instant(since)));
        self.params.push((to, instant(until)));
        let (folder, width) = source.folders();
        let mut add = |name: &'static str, month: &str| {
            let value = width.of_month(month).to_owned();
            self.params.push((name, ScalarValue::Utf8(Some(value))));
        };
        let months = month(since).zip(month(until.saturating_sub(1)));
        let months = months.map(|(first_month, last_month)| {
            add(first, &first_month);
            add(last, &last_month);
            format!("({folder} >= ${first} AND {folder} <= ${last})")
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
    let mut tasks = JoinSet::new();
    for scan in &question.plan.transactions {
        let (schema, table) = scan.source.table("transactions");
        if !session.has_table(schema, table).await? {
            continue;
        }
        let partitions = execute_partitioned(rows(session, question, scan).await?).await?;
        for mut rows in partitions {
            let (rules, mut keys) = (CountingRules::new(question, scan), keys());
            tasks.spawn(async move {
                let (mut found, mut clock) =
                    (TransactionTotals::default(), ZoneClock::new(rules.zone));
                while let Some(batch) = rows.try_next().await.map_err(into_error)? {
                    found.count(&batch, &rules, &mut clock, keys.as_mut())?;
                }
                Ok::<_, Error>((found, keys))
            });
        }
    }
    while let Some(counted) = tasks.join_next().await {
        let (part, keys) = counted
            .map_err(|e| Error::new(ErrorKind::Internal, "counting stopped").because(e))??;
        found.add(part)?;
        if let (Some(passing), Some(keys)) = (&mut passing, keys) {
            passing.add(&keys)?;
        }
    }
    found.passing = passing.map(Arc::new);
    found.drop_cancelled();
    Ok(found)
}

/// The transactions that a scan takes, as far as they pass the filter.
async fn rows(
    session: &Session,
    question: &CheckedRequest<'_>,
    scan: &FactScan,
) -> Result<DataFrame> {
    let conditions = FactConditions::of_scan(question, scan);
    // What is not counted is told of the window asked for, and of what has no time.
    let counted = match scan.now.is_empty() && !scan.untimed {
        true => question.counted_sql("state"),
        false => "TRUE".to_owned(),
    };
    let sql = format!(
        "SELECT * FROM {} WHERE {} AND {counted}",
        scan.source.relation("transactions"),
        conditions.sql
    );
    let mut rows = session.frame(&sql, &conditions.params).await?;
    if let Some(sites) = question
        .plan
        .sites
        .as_ref()
        .filter(|_| scan.source.is_counted())
    {
        // No more than the filter says, and what it says of many files without opening them.
        let sites = sites.iter().map(|site| lit(site.as_str())).collect();
        let is_of_one = ident("site_key").in_list(sites, false);
        rows = rows.filter(is_of_one).map_err(into_error)?;
    }
    if let Some(filter) = &question.request.filter {
        rows = select(session, rows, filter, FilteredFact::Transaction).await?;
    }
    let mut columns = vec!["occurred_at", "currency", "kind", "state", "amount"];
    if !scan.now.is_empty() {
        columns.push("site_key");
    }
    if !scan.hours.is_empty() {
        columns.extend(scan.source.hours(question.request.hours));
        if question.request.hours == HourGrouping::OfDay && !scan.source.is_counted() {
            columns.push("local_hour");
        }
    }
    if question.needs_keys() {
        columns.push("transaction_key");
    }
    if scan.source.is_counted() {
        columns.extend([rollup::TRANSACTIONS.count, rollup::WITHOUT_AMOUNT]);
    }
    rows.select(columns.into_iter().map(ident).collect::<Vec<_>>())
        .map_err(into_error)
}

/// Rules by which a scan's transactions are counted: its parts of the windows, states, hours.
struct CountingRules {
    scan: FactScan,
    states: Vec<String>,
    hours: HourGrouping,
    zone: Zone,
}

impl CountingRules {
    fn new(question: &CheckedRequest<'_>, scan: &FactScan) -> Self {
        Self {
            scan: scan.clone(),
            states: question.request.states.clone(),
            hours: question.request.hours,
            zone: question.zone,
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
    fn drop_cancelled(&mut self) {
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
fn named<'a, T: Default>(entries: &'a mut BTreeMap<String, T>, name: &str) -> &'a mut T {
    if !entries.contains_key(name) {
        entries.insert(name.to_owned(), T::default());
    }
    entries.get_mut(name).expect("an entry that is there")
}
