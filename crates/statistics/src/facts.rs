//! The transactions of a request: one pass over each source of its plan, summed up row by row, a task a partition.
//!
//! Invariant: a source is scanned once, the facts for both windows together. What is added by one source and
//! taken off by another leaves no trace: no site, hour or currency without a transaction.
//!
//! ```text
//!   rows of a scan ─ TransactionSums, a step of the query's plan ─> sums of each partition ─> TransactionTotals
//!   where a filter asks for the keys of what passes: rows ─> TransactionTotals, with the keys beside them
//! ```
//!
//! Rejected: one query a figure (hours, sites, totals, meta), which scans six times; a fine GROUP BY summed up again, which for a long
//! window has nearly as many groups as rows (hours times sites: half a million of a million) and was a fifth slower over a year;
//! GROUPING SETS, which multiplies rows inside the engine.

use crate::filter::{FilteredFact, TransactionKeys, select};
use crate::request::{CheckedRequest, HourGrouping};
use crate::rollup::{self, AnswerSource, FactScan, Span};
use crate::transaction_sums::{self, TransactionSums};
use crate::transaction_totals::{CountingRules, TransactionTotals};
use datafusion::logical_expr::{ident, lit};
use futures::TryStreamExt;
use std::sync::Arc;
use tillhouse_model::calendar::{self, DAY};
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_query::zone::ZoneClock;
use tillhouse_query::{
    DataFrame, ScalarValue, SendableRecordBatchStream, Session, execute_partitioned, execute_step,
    into_error,
};
use tokio::task::JoinSet;

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
        Self::of_source(question, window, AnswerSource::Facts)
    }

    /// The same, for the rows of a source: of a level the periods that begin there.
    pub(crate) fn of_source(
        question: &CheckedRequest<'_>,
        window: Span,
        source: AnswerSource,
    ) -> Self {
        Self::without_times(question).in_spans(&[window], false, source)
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
    let mut passing = (question.needs_keys()).then(|| TransactionKeys::new(session));
    let mut tasks = JoinSet::new();
    for scan in &question.plan.transactions {
        let (schema, table) = scan.source.table("transactions");
        if !session.has_table(schema, table).await? {
            continue;
        }
        let rows = rows(session, question, scan).await?;
        let rules = CountingRules::new(question, scan);
        if passing.is_none() {
            let step = |rows| TransactionSums::over(rows, rules);
            for sums in execute_step(rows, step).await? {
                tasks.spawn(merged(sums));
            }
            continue;
        }
        for rows in execute_partitioned(rows).await? {
            tasks.spawn(with_keys(
                rows,
                rules.clone(),
                TransactionKeys::new(session),
            ));
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

/// Totals of some rows, and the keys of those that pass where these are asked for.
type CountedRows = (TransactionTotals, Option<TransactionKeys>);

/// Totals that were summed up where the rows are read.
async fn merged(mut sums: SendableRecordBatchStream) -> Result<CountedRows> {
    let mut found = TransactionTotals::default();
    while let Some(batch) = sums.try_next().await.map_err(into_error)? {
        found.add(transaction_sums::read(&batch)?)?;
    }
    Ok((found, None))
}

/// Totals of rows, with the keys of those that pass.
async fn with_keys(
    mut rows: SendableRecordBatchStream,
    rules: CountingRules,
    mut keys: TransactionKeys,
) -> Result<CountedRows> {
    let (mut found, mut clock) = (TransactionTotals::default(), ZoneClock::new(rules.zone));
    while let Some(batch) = rows.try_next().await.map_err(into_error)? {
        found.count(&batch, &rules, &mut clock, Some(&mut keys))?;
    }
    Ok((found, Some(keys)))
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
    let rows = session.frame(&sql, &conditions.params).await?;
    let rows = passing(session, question, scan, rows).await?;
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

/// The transactions of a scan that pass the filter of a request.
pub(crate) async fn passing(
    session: &Session,
    question: &CheckedRequest<'_>,
    scan: &FactScan,
    mut rows: DataFrame,
) -> Result<DataFrame> {
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
    match &question.request.filter {
        Some(filter) => select(session, rows, filter, FilteredFact::Transaction).await,
        None => Ok(rows),
    }
}
