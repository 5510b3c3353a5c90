//! Sources of an answer: the roll-ups if they can give it, else the facts.
//!
//! Invariant: both give the same figures. A request that a roll-up cannot answer to the last digit goes to the facts: windows that do
//! not begin and end on a UTC hour, hours of a zone that is not whole hours off UTC, filters by what the roll-ups do not keep.

use super::{ARTICLES, PAYMENTS, ROLLUPS, RollupSpec, TRANSACTIONS};
use crate::request::{CheckedRequest, HourGrouping};
use tillhouse_model::Result;
use tillhouse_model::calendar::{DAY, HOUR};
use tillhouse_query::Session;
use tillhouse_query::zone::Zone;

/// Longer windows are not examined day by day for odd offsets: some 270 years.
const MOST_DAYS: i64 = 100_000;

/// Tables that an answer is computed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AnswerSource {
    /// The transactions, articles and payments themselves.
    #[default]
    Facts,
    /// Roll-ups: the facts aggregated hour by hour.
    Rollups,
}

impl AnswerSource {
    /// As `meta.answered_from` says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Facts => "facts",
            Self::Rollups => "rollups",
        }
    }

    /// A fact's table, as (schema, name).
    pub(crate) fn table(self, fact: &'static str) -> (&'static str, &'static str) {
        match (self, rollup(fact)) {
            (Self::Rollups, Some(rollup)) => ("statistics", rollup.name),
            _ => ("unified", fact),
        }
    }

    /// The same to stand after FROM, with the columns of the fact that statistics read, under the fact's names. A roll-up's hour
    /// passes for the instant: whatever is asked of it, an hour does not straddle.
    pub(crate) fn relation(self, fact: &'static str) -> String {
        match (self, rollup(fact)) {
            (Self::Rollups, Some(rollup)) => {
                format!(
                    "(SELECT *, hour AS occurred_at FROM statistics.{}) AS {fact}",
                    rollup.name
                )
            }
            _ => format!("unified.{fact}"),
        }
    }

    /// Number of the fact's rows that one row stands for.
    pub(crate) fn weight(self, fact: &'static str) -> &'static str {
        match (self, rollup(fact)) {
            (Self::Rollups, Some(rollup)) => rollup.count,
            _ => "1",
        }
    }
}

fn rollup(fact: &str) -> Option<&'static RollupSpec> {
    [&TRANSACTIONS, &ARTICLES, &PAYMENTS]
        .into_iter()
        .find(|rollup| rollup.fact == fact)
}

/// Best source of an answer to a request.
pub(crate) async fn route(
    session: &Session,
    question: &CheckedRequest<'_>,
) -> Result<AnswerSource> {
    let is_filtered_apart = question
        .request
        .filter
        .as_ref()
        .is_some_and(|filter| !filter.is_on_rollups());
    if is_filtered_apart || !is_on_the_hour(question) {
        return Ok(AnswerSource::Facts);
    }
    for rollup in ROLLUPS {
        let is_needed = session.has_table("unified", rollup.fact).await?;
        if is_needed && !has_every_column(session, rollup).await? {
            return Ok(AnswerSource::Facts);
        }
    }
    Ok(AnswerSource::Rollups)
}

/// True if the run has the roll-up, with all of its columns: one of an earlier edition lacks what
/// was added since.
async fn has_every_column(session: &Session, rollup: &RollupSpec) -> Result<bool> {
    if !session.has_table("statistics", rollup.name).await? {
        return Ok(false);
    }
    let present = session.columns("statistics", rollup.name).await?;
    Ok(rollup
        .schema()
        .fields()
        .iter()
        .all(|field| present.field_with_name(field.name()).is_ok()))
}

/// True if no row of a roll-up is cut by what is asked.
fn is_on_the_hour(question: &CheckedRequest<'_>) -> bool {
    let (from, to) = question.now;
    let before = question.before.unwrap_or(question.now);
    let cuts_hours = question.request.hours == HourGrouping::Timeline;
    [from, to, before.0, before.1]
        .into_iter()
        .all(|instant| instant.rem_euclid(HOUR) == 0)
        && (!cuts_hours || has_whole_hours(question.zone, from, to))
}

/// True if a zone's hours are UTC's at every instant of a window, by whatever other name.
///
/// No zone changes its clock twice within a UTC day (`query::zone` tests that), so a day's first and last instant tell all offsets
/// of it.
fn has_whole_hours(zone: Zone, from: i64, to: i64) -> bool {
    let whole = |instant: i64| zone.offset_at(instant).rem_euclid(3600) == 0;
    let (first, last) = (from.div_euclid(DAY), to.div_euclid(DAY));
    match zone {
        Zone::Fixed(_) => whole(from),
        Zone::Named(_) => {
            last - first <= MOST_DAYS
                && (first..=last).all(|day| whole(day * DAY) && whole(day * DAY + DAY - 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::StatisticsRequest;
    use tillhouse_model::Window;

    fn fits(from: &str, to: &str, zone: &str, hours: HourGrouping) -> bool {
        let window = Window::new(from.parse().unwrap(), to.parse().unwrap()).unwrap();
        let request = StatisticsRequest {
            timezone: zone.into(),
            hours,
            ..StatisticsRequest::new(window)
        };
        is_on_the_hour(&CheckedRequest::new(&request).unwrap())
    }

    #[test]
    fn windows_of_whole_hours_fit_and_others_do_not() {
        let fits = |from, to| fits(from, to, "UTC", HourGrouping::Timeline);
        assert!(fits("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"));
        assert!(fits("2026-01-01T05:00:00Z", "2026-01-01T06:00:00Z"));
        assert!(!fits("2026-01-01T00:30:00Z", "2026-01-02T00:30:00Z"));
        assert!(!fits("2026-01-01T00:00:00Z", "2026-01-02T00:00:00.000001Z"));
    }

    #[test]
    fn hours_of_a_zone_fit_while_it_is_whole_hours_off_utc() {
        let fits = |from, to, zone| fits(from, to, zone, HourGrouping::Timeline);
        let (from, to) = ("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z");
        for zone in [
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "+05:00",
            "Asia/Tokyo",
        ] {
            assert!(fits(from, to, zone), "{zone}");
        }
        for zone in [
            "Asia/Kolkata",
            "+05:30",
            "Asia/Kathmandu",
            "-03:30",
            "Australia/Adelaide",
        ] {
            assert!(!fits(from, to, zone), "{zone}");
        }
        // Half an hour of summer time, which ends on 5 April 2026.
        assert!(fits(
            "2026-02-01T00:00:00Z",
            "2026-03-01T00:00:00Z",
            "Australia/Lord_Howe"
        ));
        assert!(!fits(from, "2026-05-01T00:00:00Z", "Australia/Lord_Howe"));
        assert!(
            !fits(
                "1890-01-01T00:00:00Z",
                "1895-01-01T00:00:00Z",
                "Europe/Berlin"
            ),
            "local mean time until 1893"
        );
        assert!(!fits(
            "1600-01-01T00:00:00Z",
            "2026-01-01T00:00:00Z",
            "America/New_York"
        ));
    }

    #[test]
    fn hours_of_the_day_are_every_sites_own_whatever_zone_is_named() {
        assert!(fits(
            "2026-03-01T00:00:00Z",
            "2026-04-01T00:00:00Z",
            "Asia/Kolkata",
            HourGrouping::OfDay
        ));
        assert!(!fits(
            "2026-03-01T00:30:00Z",
            "2026-04-01T00:00:00Z",
            "UTC",
            HourGrouping::OfDay
        ));
    }
}
