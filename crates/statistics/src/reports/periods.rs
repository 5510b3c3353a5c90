//! Periods of reports as people write them, and the end of time.
//!
//! Invariant: nothing here reads a clock; whoever asks says what time it is.

use super::ReportTime;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use tillhouse_model::json;
use tillhouse_model::{CivilPeriod, Error, PeriodRequest, Result};

/// Errors where a period begins when no site's clock has come to yet.
pub fn refuse_the_future(when: &ReportTime, now: Timestamp) -> Result<()> {
    let latest = TimeZone::fixed(Offset::constant(14)).to_datetime(now);
    let (begins, flag) = match when {
        ReportTime::On(date) => (vec![date.at(0, 0, 0, 0)], "--reference"),
        ReportTime::Periods(one, two) => (
            [Some(one), two.as_ref()]
                .into_iter()
                .flatten()
                .map(CivilPeriod::from)
                .collect(),
            "the period from",
        ),
    };
    match begins.into_iter().find(|begin| *begin > latest) {
        None => Ok(()),
        Some(begin) => Err(Error::config(format!(
            "{flag} {begin} lies in the future: now it is {}",
            now.strftime("%Y-%m-%dT%H:%M:%SZ")
        ))
        .hint("Ask for days that have begun; what has not happened yet cannot be counted.")),
    }
}

/// A period as it is typed: two dates, or a request's JSON.
pub fn read_period(text: &str, today: Date) -> Result<CivilPeriod> {
    if !text.trim_start().starts_with('{') {
        return CivilPeriod::parse(text);
    }
    let request: PeriodRequest = serde_json::from_str(text).map_err(|e| {
        Error::config("the period cannot be read")
            .because(json::fault(&e))
            .hint("docs/reports.md shows how periods are written.")
    })?;
    request.resolve(today)
}
