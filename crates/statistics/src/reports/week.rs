//! Weekday by hour of what statistics count, from the roll-ups by day where these tell it apart.
//!
//! Invariant: the counts are those of the facts, whatever they are read from: a day's row has its transactions by the hours of the sites' own clocks, and is of one of their days; less than
//! a day is added from the facts, or taken off again.
//!
//! Rejected: amounts beside the counts. Levels have none by the hour, and would be half as large again with them; the sales behind a square say what they come to.

use super::scope::{DAY, HOUR, date, label};
use crate::columns::{each_batch_of, integers, texts};
use crate::facts::{FactConditions, passing};
use crate::request::{CheckedRequest, HourGrouping, StatisticsRequest};
use crate::rollup::{FactScan, route_week};
use arrow::array::RecordBatch;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::{Expr, ident, lit};
use futures::future::try_join_all;
use std::collections::BTreeMap;
use tillhouse_model::{Error, Result};
use tillhouse_query::{Session, into_error};

/// Column that is -1 in rows that are taken off, and else 1.
const DIRECTION: &str = "direction";

/// Counted transactions of one hour of one weekday.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeekHour {
    /// ISO 4217, or `unknown`.
    pub currency: String,
    /// 1 Monday to 7 Sunday.
    pub day: i8,
    /// 0 to 23, on each site's own clock; on UTC's where that is not known.
    pub hour: i8,
    /// Number of transactions, never 0.
    pub count: i64,
}

/// Counts by currency, weekday and hour.
type WeekCounts = BTreeMap<(String, i8, i8), i64>;

/// Transactions that statistics of the same request count, by weekday and hour, in the order of currency, weekday and hour.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`] when the request names something unknown.
pub async fn week_hours(session: &Session, request: &StatisticsRequest) -> Result<Vec<WeekHour>> {
    let mut question = CheckedRequest::new(request)?;
    question.plan = route_week(session, &question).await?;
    let scans = question.plan.transactions.iter();
    let scans = scans.map(|scan| counts(session, &question, scan));
    let mut week = WeekCounts::new();
    for counts in try_join_all(scans).await? {
        for (of, count) in counts {
            *week.entry(of).or_default() += count;
        }
    }
    let hours = week.into_iter().filter(|(_, count)| *count != 0);
    let hours = hours.map(|((currency, day, hour), count)| WeekHour {
        currency,
        day,
        hour,
        count,
    });
    Ok(hours.collect())
}

/// The counts of one scan.
async fn counts(
    session: &Session,
    question: &CheckedRequest<'_>,
    scan: &FactScan,
) -> Result<WeekCounts> {
    let mut found = WeekCounts::new();
    let (schema, table) = scan.source.table("transactions");
    if !session.has_table(schema, table).await? {
        return Ok(found);
    }
    let mut conditions = FactConditions::of_scan(question, scan);
    let taken_off = conditions.taken_off(scan);
    // A day's row is of no one hour.
    let hour = match scan.source.is_counted() {
        true => String::new(),
        false => format!(", {HOUR} AS hour"),
    };
    let sql = format!(
        "SELECT *, CAST({DAY} AS INT) AS day{hour}, CASE WHEN {taken_off} THEN -1 ELSE 1 END AS {DIRECTION} FROM {} WHERE {} AND {}",
        scan.source.relation("transactions"),
        conditions.sql,
        question.counted_sql("state")
    );
    let rows = session.frame(&sql, &conditions.params).await?;
    let rows = passing(session, question, scan, rows).await?;
    let columns = scan.source.hours(HourGrouping::OfDay);
    let mut groups = vec!["currency", "day", DIRECTION];
    let sums: Vec<Expr> = match scan.source.is_counted() {
        true => {
            let columns = columns.iter().copied();
            columns
                .map(|column| sum(ident(column)).alias(column))
                .collect()
        }
        false => {
            groups.push("hour");
            vec![count(lit(1)).alias("transactions")]
        }
    };
    let groups = groups.into_iter().map(ident).collect();
    let rows = rows.aggregate(groups, sums).map_err(into_error)?;
    each_batch_of(rows, |batch| match scan.source.is_counted() {
        true => add_days(&mut found, batch, columns),
        false => add_facts(&mut found, batch),
    })
    .await?;
    Ok(found)
}

/// Adds rows that have their hours as columns.
fn add_days(found: &mut WeekCounts, batch: &RecordBatch, columns: &[&str]) -> Result<()> {
    let hours = columns.iter().map(|column| integers(batch, column));
    let hours = hours.collect::<Result<Vec<_>>>()?;
    add_rows(found, batch, |row| {
        let counts = (0..).zip(&hours);
        let counts = counts.filter_map(|(hour, counts)| Some((hour, counts.get(row)?)));
        Ok(counts.collect())
    })
}

/// Adds rows of one hour each.
fn add_facts(found: &mut WeekCounts, batch: &RecordBatch) -> Result<()> {
    let (hours, counts) = (integers(batch, "hour")?, integers(batch, "transactions")?);
    add_rows(found, batch, |row| {
        let hour = hours.get(row).unwrap_or(0);
        let hour =
            i8::try_from(hour).map_err(|_| Error::data(format!("{hour} is no hour of the day")))?;
        Ok(vec![(hour, counts.get(row).unwrap_or(0))])
    })
}

/// Adds the hours of each row, which `hours` gives, to those of its currency and weekday.
fn add_rows(
    found: &mut WeekCounts,
    batch: &RecordBatch,
    hours: impl Fn(usize) -> Result<Vec<(i8, i64)>>,
) -> Result<()> {
    let (currencies, days, directions) = (
        texts(batch, "currency")?,
        integers(batch, "day")?,
        integers(batch, DIRECTION)?,
    );
    for row in 0..batch.num_rows() {
        // Whatever has an instant has a day; the others are in no period.
        let Some(day) = days.get(row) else { continue };
        let day = date(day)?.weekday().to_monday_one_offset();
        let direction = directions.get(row).unwrap_or(1);
        for (hour, count) in hours(row)?.into_iter().filter(|(_, count)| *count != 0) {
            let of = (label(currencies.get(row)), day, hour);
            *found.entry(of).or_default() += direction * count;
        }
    }
    Ok(())
}
