//! Transactions by currency, day and hour: the revenue summary, the four periods around a date, the heat map.
//!
//! Invariant: transactions are read once, grouped by day (and hour), and put together here; amounts are whole numbers of one scale.

use super::scope::{DAY, HOUR, ReportConditions, ReportScope, date, label};
use crate::columns::{add, decimals, each_batch_of, integers, texts};
use crate::facts::FactConditions;
use crate::filter::{CheckedFilter, FilteredFact, select};
use crate::request::{CheckedRequest, StatisticsRequest};
use crate::sales_report::{HeatMapCell, PeriodSummaries, PeriodTotals, RevenueOfDay};
use arrow::array::RecordBatch;
use datafusion::functions_aggregate::expr_fn::{count, sum};
use datafusion::logical_expr::{ident, lit};
use jiff::civil::{Date, ISOWeekDate, Weekday};
use std::collections::BTreeMap;
use tillhouse_model::{CivilPeriod, Error, ExactDecimal, Result};
use tillhouse_query::{Session, into_error};

/// Transactions of one currency, day and hour.
struct RevenueGroup {
    currency: String,
    day: Date,
    /// 0 where hours were not asked for.
    hour: i8,
    count: i64,
    amount: i128,
}

/// Groups of transactions, and the digits after the point of their amounts.
#[derive(Default)]
struct RevenueGroups {
    lines: Vec<RevenueGroup>,
    scale: u8,
}

impl RevenueGroups {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let (currencies, amounts) = (texts(batch, "currency")?, decimals(batch, "amount")?);
        let (days, hours, counts) = (
            integers(batch, "day")?,
            integers(batch, "hour")?,
            integers(batch, "transactions")?,
        );
        self.scale = amounts.scale;
        for row in 0..batch.num_rows() {
            // Whatever has an instant has a day; the others are in no period.
            let Some(day) = days.get(row) else { continue };
            let hour = hours.get(row).unwrap_or(0);
            self.lines.push(RevenueGroup {
                currency: label(currencies.get(row)),
                day: date(day)?,
                hour: i8::try_from(hour)
                    .map_err(|_| Error::data(format!("{hour} is no hour of the day")))?,
                count: counts.get(row).unwrap_or(0),
                amount: amounts.get(row),
            });
        }
        Ok(())
    }
}

async fn lines(session: &Session, rows: &ReportConditions, by_hour: bool) -> Result<RevenueGroups> {
    let mut found = RevenueGroups::default();
    if !session.has_table("unified", "transactions").await? {
        return Ok(found);
    }
    let hour = if by_hour { HOUR } else { "0" };
    let sql = format!(
        "SELECT currency, day, hour, count(*) AS transactions, sum(amount) AS amount
         FROM (SELECT currency, amount, CAST({DAY} AS INT) AS day, {hour} AS hour
               FROM unified.transactions WHERE {}) AS counted
         GROUP BY currency, day, hour",
        rows.sql
    );
    rows.each(session, &sql, |batch| found.add(batch)).await?;
    Ok(found)
}

/// The same by hour, of the transactions that pass a filter.
async fn passing(
    session: &Session,
    conditions: &FactConditions,
    filter: &CheckedFilter,
) -> Result<RevenueGroups> {
    let mut found = RevenueGroups::default();
    if !session.has_table("unified", "transactions").await? {
        return Ok(found);
    }
    let sql = format!(
        "SELECT *, CAST({DAY} AS INT) AS day, {HOUR} AS hour FROM unified.transactions WHERE {}",
        conditions.sql
    );
    let rows = session.frame(&sql, &conditions.params).await?;
    let rows = select(session, rows, filter, FilteredFact::Transaction).await?;
    let groups = ["currency", "day", "hour"].map(ident).to_vec();
    let sums = vec![
        count(lit(1)).alias("transactions"),
        sum(ident("amount")).alias("amount"),
    ];
    let rows = rows.aggregate(groups, sums).map_err(into_error)?;
    each_batch_of(rows, |batch| found.add(batch)).await?;
    Ok(found)
}

/// Revenue by currency and day.
pub(super) async fn by_day(
    scope: &ReportScope<'_>,
    period: &CivilPeriod,
) -> Result<BTreeMap<String, Vec<RevenueOfDay>>> {
    let RevenueGroups { mut lines, scale } =
        lines(scope.session, &scope.transactions(period), false).await?;
    lines.sort_by_key(|line| line.day);
    let mut summary: BTreeMap<String, Vec<RevenueOfDay>> = BTreeMap::new();
    for line in lines {
        let value = ExactDecimal::new(line.amount, scale);
        let row = RevenueOfDay {
            currency: line.currency.clone(),
            currency_rate: ExactDecimal::new(1, 0),
            date: line.day,
            original_value: value,
            value,
        };
        summary.entry(line.currency).or_default().push(row);
    }
    Ok(summary)
}

/// The days of the year of a date and of its week, which may begin the year before or end the year after.
pub(super) fn around(on: Date) -> Result<CivilPeriod> {
    let [_, week, _, year] = containing(on)?;
    CivilPeriod::new(week.from().min(year.from()), week.to().max(year.to()))
}

/// The day, the ISO week, the month and the year a date is in.
fn containing(on: Date) -> Result<[CivilPeriod; 4]> {
    let beyond = |e: jiff::Error| {
        Error::config(format!("{on} is too near the end of the calendar")).because(e)
    };
    let after = |last: Date| last.tomorrow().map_err(beyond);
    let week = on.iso_week_date();
    let in_week = |weekday| {
        ISOWeekDate::new(week.year(), week.week(), weekday)
            .map(ISOWeekDate::date)
            .map_err(beyond)
    };
    Ok([
        CivilPeriod::days(on, after(on)?)?,
        CivilPeriod::days(in_week(Weekday::Monday)?, after(in_week(Weekday::Sunday)?)?)?,
        CivilPeriod::days(on.first_of_month(), after(on.last_of_month())?)?,
        CivilPeriod::days(on.first_of_year(), after(on.last_of_year())?)?,
    ])
}

/// Sales of a day, its week, month and year, by currency.
pub(super) async fn summaries(
    scope: &ReportScope<'_>,
    period: &CivilPeriod,
    on: Date,
) -> Result<BTreeMap<String, Vec<PeriodSummaries>>> {
    let revenue = lines(scope.session, &scope.transactions(period), false).await?;
    let (products, pieces_scale) = super::products::pieces_by_day(scope, period).await?;
    let parts = containing(on)?;
    // By currency: revenue and products of the day, the week, the month, the year.
    let mut sums: BTreeMap<String, [(i128, i128); 4]> = BTreeMap::new();
    let is_in = |part: &CivilPeriod, day: Date| {
        part.whole_days()
            .is_some_and(|(from, to)| from <= day && day < to)
    };
    for line in &revenue.lines {
        let of = sums.entry(line.currency.clone()).or_default();
        for (part, sum) in parts
            .iter()
            .zip(of)
            .filter(|(part, _)| is_in(part, line.day))
        {
            let _ = part;
            add(&mut sum.0, line.amount)?;
        }
    }
    for ((currency, day), pieces) in products {
        let of = sums.entry(currency).or_default();
        for (part, sum) in parts.iter().zip(of).filter(|(part, _)| is_in(part, day)) {
            let _ = part;
            add(&mut sum.1, pieces)?;
        }
    }
    Ok(sums
        .into_iter()
        .map(|(currency, [day, week, month, year])| {
            let sold = |(revenue_units, pieces): (i128, i128)| PeriodTotals {
                currency: currency.clone(),
                products: ExactDecimal::new(pieces, pieces_scale),
                revenue: ExactDecimal::new(revenue_units, revenue.scale),
            };
            let row = PeriodSummaries {
                day: sold(day),
                month: sold(month),
                week: sold(week),
                year: sold(year),
            };
            (currency, vec![row])
        })
        .collect())
}

/// The heat map of a period.
pub(super) async fn heat(
    scope: &ReportScope<'_>,
    period: &CivilPeriod,
) -> Result<Vec<HeatMapCell>> {
    cells(lines(scope.session, &scope.transactions(period), true).await?)
}

/// Weekday by hour of the transactions that statistics of the same request count, on each site's own clock.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`] when the request names something unknown.
pub async fn heat_map(session: &Session, request: &StatisticsRequest) -> Result<Vec<HeatMapCell>> {
    let question = CheckedRequest::new(request)?;
    let mut conditions = FactConditions::between(&question, question.now);
    let counted = question.counted_sql("state");
    conditions.sql.push_str(&format!(" AND {counted}"));
    cells(match &request.filter {
        Some(filter) => passing(session, &conditions, filter).await?,
        None => lines(session, &conditions.into(), true).await?,
    })
}

fn cells(found: RevenueGroups) -> Result<Vec<HeatMapCell>> {
    let mut cells: BTreeMap<(String, i8, i8), (i64, i128)> = BTreeMap::new();
    for line in found.lines {
        let day = line.day.weekday().to_monday_one_offset();
        let cell = cells.entry((line.currency, day, line.hour)).or_default();
        cell.0 += line.count;
        add(&mut cell.1, line.amount)?;
    }
    Ok(cells
        .into_iter()
        .map(|((currency, day, hour), (count, total))| HeatMapCell {
            currency,
            day,
            hour,
            count,
            total: ExactDecimal::new(total, found.scale),
        })
        .collect())
}
