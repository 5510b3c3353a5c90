//! Request for statistics, checked once.
//!
//! Invariant: a [`CheckedRequest`] names a known perspective, known states, a known time zone; whatever is put into SQL as text comes
//! from a closed list.

use crate::clock;
use crate::definitions::{self, COUNTED_STATES, SALE, STATES};
use crate::filter::CheckedFilter;
use crate::growth_baseline::GrowthBaseline;
use crate::rollup::AnswerPlan;
use std::fmt;
use std::str::FromStr;
use tillhouse_model::{Error, Result, Window};
use tillhouse_query::zone::Zone;

/// Request for statistics: window, narrowing, states and time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatisticsRequest {
    /// The instants counted, by `occurred_at`.
    pub window: Window,
    /// Only that tenant's transactions, by `tenant_id`; all by default.
    pub tenant: Option<String>,
    /// Only that source's (`hecone`); all by default.
    pub source: Option<String>,
    /// Only that pipeline's; all by default.
    pub pipeline: Option<String>,
    /// `sale` (the default) or `purchase`; the two are never added up.
    pub perspective: String,
    /// The transaction states that count; completed and consumed by default.
    pub states: Vec<String>,
    /// The zone in which hours are cut: an IANA name or an offset; UTC by default.
    pub timezone: String,
    /// Form of hours.
    pub hours: HourGrouping,
    /// Baseline of growth; the window of equal length just before by default.
    pub compare: GrowthBaseline,
    /// Only the transactions that pass; all by default.
    pub filter: Option<CheckedFilter>,
}

impl StatisticsRequest {
    /// Everything of a window, by the defaults.
    pub fn new(window: Window) -> Self {
        Self {
            window,
            tenant: None,
            source: None,
            pipeline: None,
            perspective: SALE.to_owned(),
            states: COUNTED_STATES.map(str::to_owned).to_vec(),
            timezone: "UTC".to_owned(),
            hours: HourGrouping::Timeline,
            compare: GrowthBaseline::Previous,
            filter: None,
        }
    }
}

/// Grouping of transactions by hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HourGrouping {
    /// Every hour that has transactions, one after the other, in the requested time zone.
    #[default]
    Timeline,
    /// The hours of the day, 00 to 23, on each site's own clock, all days together.
    OfDay,
}

impl HourGrouping {
    /// `timeline` or `of_day`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeline => "timeline",
            Self::OfDay => "of_day",
        }
    }
}

impl fmt::Display for HourGrouping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for HourGrouping {
    type Err = Error;

    /// Errors with [`tillhouse_model::ErrorKind::Config`].
    fn from_str(text: &str) -> Result<Self> {
        match text {
            "timeline" => Ok(Self::Timeline),
            "of_day" => Ok(Self::OfDay),
            _ => Err(Error::config(format!("{text:?} is no way to show hours"))
                .hint("Write timeline or of_day.")),
        }
    }
}

/// A request that has been checked.
#[derive(Debug)]
pub(crate) struct CheckedRequest<'a> {
    pub(crate) request: &'a StatisticsRequest,
    pub(crate) zone: Zone,
    /// Microseconds since 1970, [from, to).
    pub(crate) now: (i64, i64),
    /// The window growth is measured against; `None` before the beginning of time.
    pub(crate) compared: Option<Window>,
    /// The same in microseconds.
    pub(crate) before: Option<(i64, i64)>,
    /// The scans that answer it; whatever they read, the figures are the same.
    pub(crate) plan: AnswerPlan,
}

impl<'a> CheckedRequest<'a> {
    /// Errors with [`tillhouse_model::ErrorKind::Config`], naming what is not known.
    pub(crate) fn new(request: &'a StatisticsRequest) -> Result<Self> {
        if !definitions::is_perspective(&request.perspective) {
            return Err(
                Error::config(format!("{:?} is no perspective", request.perspective))
                    .hint("Write sale or purchase."),
            );
        }
        if request.states.is_empty() {
            return Err(Error::config("no transaction state is to be counted").hint(states_hint()));
        }
        if let Some(unknown) = request
            .states
            .iter()
            .find(|state| !STATES.contains(&state.as_str()))
        {
            return Err(
                Error::config(format!("{unknown:?} is no state of a transaction"))
                    .hint(states_hint()),
            );
        }
        let zone = clock::zone(&request.timezone)?;
        let micros = |window: Window| (ceil_micros(window.from()), ceil_micros(window.to()));
        let compared = request.compare.window_for(request.window, zone);
        let (now, before) = (micros(request.window), compared.map(micros));
        Ok(Self {
            request,
            zone,
            now,
            compared,
            before,
            plan: AnswerPlan::of_facts(now, before),
        })
    }

    /// True if articles and payments must be asked by the keys of the transactions that pass the filter.
    pub(crate) fn needs_keys(&self) -> bool {
        self.request
            .filter
            .as_ref()
            .is_some_and(|filter| !filter.is_on_every_fact())
    }

    /// True if a transaction of the request's windows is counted.
    pub(crate) fn counts(&self, kind: Option<&str>, state: Option<&str>) -> bool {
        definitions::is_counted_kind(kind)
            && state.is_some_and(|state| self.request.states.iter().any(|counted| counted == state))
    }

    /// Condition on transactions that are counted, or on their articles and payments; `state_column` holds the transaction's state.
    pub(crate) fn counted_sql(&self, state_column: &str) -> String {
        definitions::counted_sql(state_column, &self.states_sql())
    }

    /// The states that count, as a list of SQL literals. They come from a closed list.
    pub(crate) fn states_sql(&self) -> String {
        let quoted: Vec<String> = self
            .request
            .states
            .iter()
            .map(|state| format!("'{state}'"))
            .collect();
        quoted.join(", ")
    }
}

fn states_hint() -> String {
    format!("Name some of {}.", STATES.join(", "))
}

/// The first whole microsecond not before an instant: times in the tables are whole microseconds, so `t >= instant` and
/// `t >= ceil_micros(instant)` say the same.
#[expect(
    clippy::expect_used,
    reason = "jiff's instants are within 10^18 microseconds of 1970"
)]
fn ceil_micros(instant: jiff::Timestamp) -> i64 {
    let micros = instant.as_nanosecond().div_euclid(1000)
        + i128::from(instant.as_nanosecond().rem_euclid(1000) > 0);
    i64::try_from(micros).expect("an instant within jiff's years")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> StatisticsRequest {
        let t = |text: &str| text.parse().unwrap();
        StatisticsRequest::new(
            Window::new(t("2026-01-01T00:00:00Z"), t("2026-01-02T00:00:00Z")).unwrap(),
        )
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for broken in [
            StatisticsRequest {
                perspective: "lease".into(),
                ..request()
            },
            StatisticsRequest {
                states: vec![],
                ..request()
            },
            StatisticsRequest {
                states: vec!["completed".into(), "x' OR '1'='1".into()],
                ..request()
            },
            StatisticsRequest {
                timezone: "Mars/Olympus".into(),
                ..request()
            },
        ] {
            let error = CheckedRequest::new(&broken).unwrap_err();
            assert_eq!(error.kind(), tillhouse_model::ErrorKind::Config);
            assert!(error.hint_text().is_some(), "{error}");
        }
        assert!(CheckedRequest::new(&request()).is_ok());
    }

    #[test]
    fn nanoseconds_are_rounded_up() {
        let t = |text: &str| ceil_micros(text.parse().unwrap());
        assert_eq!(t("1970-01-01T00:00:00.000001Z"), 1);
        assert_eq!(t("1970-01-01T00:00:00.000001001Z"), 2);
        assert_eq!(t("1969-12-31T23:59:59.999999500Z"), 0);
    }
}
