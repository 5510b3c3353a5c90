//! Rows that a report is about, and their table, as SQL.
//!
//! Invariant: what a user wrote reaches SQL as a placeholder's value alone. A civil period is compared with each row's own clock;
//! the instants around it only spare files and never decide.

use super::ReportRequest;
use super::groups::ReportPlaces;
use crate::columns::each_batch;
use crate::facts::{FactConditions, instant, month};
use crate::request::CheckedRequest;
use crate::transaction_totals::UNKNOWN;
use arrow::array::RecordBatch;
use jiff::civil::{Date, DateTime};
use tillhouse_model::calendar::{self, epoch_day};
use tillhouse_model::{CivilPeriod, Result};
use tillhouse_query::{ScalarValue, Session};

/// The site's own day of a fact; a site whose clock is not known goes by UTC.
pub(super) const DAY: &str = "coalesce(business_date, CAST(occurred_at AS DATE))";
/// The site's own hour.
pub(super) const HOUR: &str =
    "coalesce(local_hour, CAST(date_part('hour', occurred_at) AS BIGINT))";
/// Local time of a transaction's site, in microseconds.
const WALL: &str = "(CAST(occurred_at AS BIGINT) + coalesce(utc_offset_minutes, 0) * 60000000)";
/// More than any clock is away from UTC.
const WIDEST_OFFSET: i64 = calendar::DAY;

/// Session, request and places of a report.
#[derive(Clone)]
pub(super) struct ReportScope<'a> {
    pub(super) session: &'a Session,
    pub(super) question: &'a CheckedRequest<'a>,
    pub(super) request: &'a ReportRequest,
    pub(super) places: ReportPlaces,
}

/// Conditions on the rows of a report, and the values for their placeholders.
#[derive(Debug, Clone, Default)]
pub(super) struct ReportConditions {
    pub(super) sql: String,
    params: Vec<(String, ScalarValue)>,
}

impl ReportConditions {
    fn and(&mut self, sql: &str) {
        if !self.sql.is_empty() {
            self.sql.push_str(" AND ");
        }
        self.sql.push_str(sql);
    }

    fn bind(&mut self, name: impl Into<String>, value: ScalarValue) {
        self.params.push((name.into(), value));
    }

    /// Runs a query in which the condition stands, and hands over its batches one by one.
    pub(super) async fn each(
        &self,
        session: &Session,
        sql: &str,
        take: impl FnMut(&RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let params: Vec<(&str, ScalarValue)> = self
            .params
            .iter()
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect();
        each_batch(session, sql, &params, take).await
    }
}

impl From<FactConditions> for ReportConditions {
    fn from(conditions: FactConditions) -> Self {
        let params = conditions
            .params
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Self {
            sql: conditions.sql,
            params,
        }
    }
}

impl ReportScope<'_> {
    /// The counted transactions of a period.
    pub(super) fn transactions(&self, period: &CivilPeriod) -> ReportConditions {
        let mut rows = self.facts(period);
        rows.and(&self.question.counted_sql("state"));
        match period.whole_days() {
            Some(days) => self.days(&mut rows, days),
            None => self.wall(&mut rows, period),
        }
        rows
    }

    /// The articles or payments of counted transactions of a period.
    ///
    /// Children carry their transaction's day, but not its clock: a period that is not made of days is decided by their
    /// transactions.
    pub(super) fn children(&self, period: &CivilPeriod) -> ReportConditions {
        let mut rows = self.facts(period);
        rows.and(&self.question.counted_sql("transaction_state"));
        if let Some(days) = period.whole_days() {
            self.days(&mut rows, days);
            return rows;
        }
        let mut theirs = ReportConditions {
            sql: self.coarse(period).sql,
            params: Vec::new(),
        };
        self.wall(&mut theirs, period);
        rows.and(&format!(
            "transaction_key IN (SELECT transaction_key FROM unified.transactions WHERE {})",
            theirs.sql
        ));
        rows.params.append(&mut theirs.params);
        rows
    }

    /// Every transaction that might lie in a period: those whose currencies children may need.
    pub(super) fn parents(&self, period: &CivilPeriod) -> String {
        self.coarse(period).sql
    }

    /// The events of a period. The query calls the events `e` and their sites' zone `zone`.
    pub(super) fn events(&self, period: &CivilPeriod) -> ReportConditions {
        // Events are nobody's sale: of the statistics' conditions, only the time, the tenant and the source are about them.
        let mut rows = ReportConditions::default();
        let (since, until) = around(period);
        rows.and("e.occurred_at >= $since AND e.occurred_at < $until");
        rows.bind("since", instant(since));
        rows.bind("until", instant(until));
        if let Some((first, last)) = month(since).zip(month(until.saturating_sub(1))) {
            rows.and("e.month >= $first_month AND e.month <= $last_month");
            rows.bind("first_month", ScalarValue::Utf8(Some(first)));
            rows.bind("last_month", ScalarValue::Utf8(Some(last)));
        }
        for (column, wanted) in [
            ("tenant_id", &self.request.tenant),
            ("source", &self.request.source),
        ] {
            if let Some(wanted) = wanted {
                rows.and(&format!("e.{column} = ${column}"));
                rows.bind(column, ScalarValue::Utf8(Some(wanted.clone())));
            }
        }
        self.places(&mut rows, "e.");
        if !self.request.scopes.is_empty() {
            // The scopes come from a closed list.
            let scopes: Vec<String> = self
                .request
                .scopes
                .iter()
                .map(|scope| format!("'{scope}'"))
                .collect();
            rows.and(&format!("e.scope IN ({})", scopes.join(", ")));
        }
        rows.and("CAST(local_timestamp(e.occurred_at, zone) AS BIGINT) >= $wall_from");
        rows.and("CAST(local_timestamp(e.occurred_at, zone) AS BIGINT) < $wall_to");
        rows.bind("wall_from", ScalarValue::Int64(Some(micros(period.from()))));
        rows.bind("wall_to", ScalarValue::Int64(Some(micros(period.to()))));
        rows
    }

    fn facts(&self, period: &CivilPeriod) -> ReportConditions {
        let mut rows = self.coarse(period);
        self.places(&mut rows, "");
        rows
    }

    fn coarse(&self, period: &CivilPeriod) -> ReportConditions {
        FactConditions::between(self.question, around(period)).into()
    }

    fn days(&self, rows: &mut ReportConditions, (from, to): (Date, Date)) {
        rows.and(&format!("{DAY} >= $first_day AND {DAY} < $end_day"));
        rows.bind("first_day", ScalarValue::Date32(Some(epoch_day(from))));
        rows.bind("end_day", ScalarValue::Date32(Some(epoch_day(to))));
    }

    fn wall(&self, rows: &mut ReportConditions, period: &CivilPeriod) {
        rows.and(&format!("{WALL} >= $wall_from AND {WALL} < $wall_to"));
        rows.bind("wall_from", ScalarValue::Int64(Some(micros(period.from()))));
        rows.bind("wall_to", ScalarValue::Int64(Some(micros(period.to()))));
    }

    /// Sites and devices, by key or by the provider's id.
    fn places(&self, rows: &mut ReportConditions, table: &str) {
        for (column, wanted) in [
            ("site_key", &self.places.sites),
            ("device_key", &self.places.devices),
        ] {
            let Some(wanted) = wanted else { continue };
            if wanted.is_empty() {
                rows.and("false");
                continue;
            }
            let names: Vec<String> = (0..wanted.len()).map(|i| format!("{column}_{i}")).collect();
            let list = names
                .iter()
                .map(|name| format!("${name}"))
                .collect::<Vec<_>>()
                .join(", ");
            rows.and(&format!(
                "({table}{column} IN ({list})
                  OR substr({table}{column}, character_length({table}pipeline) + 2) IN ({list}))"
            ));
            for (name, key) in names.into_iter().zip(wanted) {
                rows.bind(name, ScalarValue::Utf8(Some(key.clone())));
            }
        }
    }
}

/// Instants between which a period lies whatever the clock.
fn around(period: &CivilPeriod) -> (i64, i64) {
    (
        micros(period.from()).saturating_sub(WIDEST_OFFSET),
        micros(period.to()).saturating_add(WIDEST_OFFSET),
    )
}

/// Microseconds from 1970-01-01T00:00:00 on the same clock.
pub(super) fn micros(at: DateTime) -> i64 {
    let clock = jiff::tz::TimeZone::UTC;
    at.to_zoned(clock)
        .map_or(if at.year() < 0 { i64::MIN } else { i64::MAX }, |at| {
            at.timestamp().as_microsecond()
        })
}

/// The date so many days from 1970-01-01.
pub(super) fn date(epoch_day: i64) -> Result<Date> {
    calendar::date_of(epoch_day).ok_or_else(|| {
        tillhouse_model::Error::data(format!("day {epoch_day} after 1970 is beyond the calendar"))
    })
}

/// A row's text, or what stands for none.
pub(super) fn label(text: Option<&str>) -> String {
    text.unwrap_or(UNKNOWN).to_owned()
}
