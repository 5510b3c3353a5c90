//! Question of a page: the values of its address, the view that it shows, and the values that an endpoint would be asked with for the same.
//!
//! Invariant: a named period becomes two days before anything is asked, so that what is kept of a day is not given for another; what a page repeats of its address is part of what it
//! is kept under.

use super::period::{days, today};
use super::{language, narrowing};
use crate::api::window;
use crate::callers::Caller;
use crate::endpoints::{
    AS_OF, FILTER, LIMIT, MOST_LISTED, PAYMENT_METHOD, PERSPECTIVE, PRODUCT, SOURCE, STATES,
    TENANT, TIMEZONE,
};
use crate::parameters::{Parameter, ParameterForm, ParameterValues};
use crate::problem::Problem;
use crate::state::ServerState;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use tillhouse_model::Window;
use tillhouse_page::ViewQuery;
use tillhouse_page::dashboard::{PERIODS, PageView};
use xxhash_rust::xxh3::xxh3_64;

/// Zone of a view that names none.
const DEFAULT_ZONE: &str = "UTC";

/// Parameters of the pages' addresses. Every page takes all, so that a view goes from page to page.
pub(super) const PARAMETERS: [Parameter; 25] = [
    Parameter::new(
        "period",
        ParameterForm::Word(&PERIODS),
        "The period.",
        "7-days",
    ),
    Parameter::new(
        "shown",
        ParameterForm::Text,
        "The period that the page had whose form was sent.",
        "7-days",
    ),
    Parameter::new(
        "from",
        ParameterForm::Text,
        "The first instant.",
        "2026-01-01",
    ),
    Parameter::new(
        "to",
        ParameterForm::Text,
        "The first instant after it.",
        "2026-02-01",
    ),
    Parameter::new(
        "compare",
        ParameterForm::Text,
        "What growth is measured against.",
        "previous",
    ),
    TENANT,
    SOURCE,
    STATES,
    PERSPECTIVE,
    TIMEZONE,
    Parameter::new(
        "clock",
        ParameterForm::Word(&["site"]),
        "Times of sales on the clock of their site.",
        "site",
    ),
    FILTER,
    AS_OF,
    LIMIT,
    PRODUCT,
    PAYMENT_METHOD,
    Parameter::new("site", ParameterForm::Text, "Only this site.", "hecone:1"),
    Parameter::new(
        "currency",
        ParameterForm::Text,
        "Only this currency.",
        "EUR",
    ),
    Parameter::new(
        "counted",
        ParameterForm::Word(&["yes"]),
        "Only what statistics count.",
        "yes",
    ),
    Parameter::new(
        "weekday",
        ParameterForm::Whole { least: 1, most: 7 },
        "Only this weekday, 1 Monday to 7 Sunday.",
        "1",
    ),
    Parameter::new(
        "hour",
        ParameterForm::Whole { least: 0, most: 23 },
        "Only this hour of the site's clock.",
        "9",
    ),
    Parameter::new("cursor", ParameterForm::Text, "The next page.", "7b22"),
    Parameter::new(
        "since",
        ParameterForm::Text,
        "What is compared with: a run, or a time.",
        "2026-01-31",
    ),
    Parameter::new(
        "reconciliation",
        ParameterForm::Text,
        "The reconciliation whose differences are listed.",
        "20260131T060000Z-1f2e3d",
    ),
    Parameter::new(
        "lang",
        ParameterForm::Word(&["en", "de"]),
        "Language of the page.",
        "de",
    ),
];

/// Values that statistics are asked with.
const OF_FIGURES: [&str; 9] = [
    "from",
    "to",
    "compare",
    "tenant",
    "source",
    "states",
    "perspective",
    "timezone",
    "as_of",
];
/// Values that say whose sales are meant, and in which state.
const OF_WHOSE: [&str; 4] = ["tenant", "source", "states", "perspective"];
/// Values that a list of transactions is asked with.
const OF_SALES: [&str; 10] = [
    "from",
    "to",
    "tenant",
    "source",
    "timezone",
    "as_of",
    "limit",
    "cursor",
    "product",
    "payment_method",
];

/// A page that is asked for.
pub(super) struct DashboardQuestion {
    pub(super) caller: Caller,
    pub(super) headers: HeaderMap,
    pub(super) view: PageView,
    pub(super) window: Window,
    /// The values of the address, with the days of its period.
    values: ParameterValues,
}

impl DashboardQuestion {
    /// Reads the address of a page.
    pub(super) fn read(
        state: &ServerState,
        parts: &Parts,
        caller: Caller,
    ) -> Result<Self, Problem> {
        let written = ParameterValues::read_form(parts.uri.query(), &PARAMETERS)?;
        // A form may send a filter in several lines, which mean nothing in JSON.
        let filter = written
            .get("filter")
            .map(|filter| filter.replace(['\r', '\n', '\t'], " "));
        let written = one_period(&written.with("filter", filter));
        let timezone = written.or("timezone", DEFAULT_ZONE).to_owned();
        let values = match (written.get("from"), written.get("to")) {
            (None, None) => {
                let today = today(state.served.warehouse.now(), &timezone);
                let (from, to) = days(written.get("period"), today);
                let from = written.with("from", Some(from.to_string()));
                from.with("to", Some(to.to_string()))
            }
            (Some(_), Some(_)) => written.clone(),
            _ => {
                return Err(Problem::bad_request("a period has two ends")
                    .hint("Give from and to, or neither."));
            }
        };
        let window = window(values.or("from", ""), values.or("to", ""), &timezone)?;
        let query = written
            .pairs()
            .map(|(name, value)| (name, value.to_owned()));
        let view = PageView {
            language: language(parts),
            path: parts.uri.path().to_owned(),
            query: ViewQuery::new(query),
            timezone,
            ..PageView::default()
        };
        Ok(Self {
            caller,
            headers: parts.headers.clone(),
            view,
            window,
            values,
        })
    }

    /// The values that the endpoint of statistics is asked with for the same figures.
    pub(super) fn figures(&self) -> ParameterValues {
        let filter = narrowing::of_figures(&self.values);
        self.values.only(&OF_FIGURES).with("filter", filter)
    }

    /// The values that say whose sales are meant, whenever they were.
    pub(super) fn whose(&self) -> ParameterValues {
        self.values.only(&OF_WHOSE)
    }

    /// The same for a file, which is of one currency where the view is.
    pub(super) fn file_of_figures(&self) -> ParameterValues {
        let currency = self.values.text("currency");
        self.figures().with("currency", currency)
    }

    /// True where the sales of an hour of a weekday cannot be asked for.
    pub(super) fn is_too_long_for_links(&self) -> bool {
        narrowing::is_too_long(&self.values, &self.window)
    }

    /// The values that the endpoint of transactions is asked with for the same sales.
    pub(super) fn sales(&self) -> ParameterValues {
        let filter = narrowing::of_sales(&self.values, &self.window);
        self.values.only(&OF_SALES).with("filter", filter)
    }

    /// The same for a file, which has as many sales as one answer may.
    pub(super) fn all_sales(&self) -> ParameterValues {
        self.sales()
            .with("cursor", None)
            .with("limit", Some(MOST_LISTED.to_string()))
    }

    /// The parameters of the view with the days of its period, which are the same tomorrow.
    pub(super) fn dated(&self) -> ViewQuery {
        let query = self.view.query.without(&["period"]);
        let query = query.with("from", self.values.or("from", ""));
        query.with("to", self.values.or("to", ""))
    }

    /// The run, or the time, that the shown run is compared with.
    pub(super) fn since(&self) -> Option<&str> {
        self.values.get("since")
    }

    /// The reconciliation that is asked for.
    pub(super) fn reconciliation(&self) -> Option<&str> {
        self.values.get("reconciliation")
    }

    /// The run that is asked for, by its id or a time.
    pub(super) fn as_of(&self) -> Option<&str> {
        self.values.get("as_of")
    }

    /// Digest of what the page repeats of how it was asked for.
    pub(super) fn spelling(&self) -> u64 {
        let view = &self.view;
        let text = format!(
            "{} {} {} {}",
            view.query.address(&view.path),
            view.language.code(),
            view.timezone,
            view.has_session
        );
        xxh3_64(text.as_bytes())
    }
}

/// Either a named period or dates. Of both, the period was chosen where it is another than the page had whose form was sent; else the dates were.
fn one_period(written: &ParameterValues) -> ParameterValues {
    let chosen = written.get("period");
    let is_new = chosen.is_some() && chosen != written.get("shown");
    let has_dates = written.get("from").is_some() || written.get("to").is_some();
    let one = match (has_dates, is_new) {
        (true, true) => written.with("from", None).with("to", None),
        (true, false) => written.with("period", None),
        (false, _) => written.clone(),
    };
    one.with("shown", None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_period_and_dates_the_one_that_was_chosen_counts() {
        for (sent, expected) in [
            ("period=today&shown=7-days", "period=today&"),
            // Dates were filled in, and the period left as it was.
            (
                "period=7-days&shown=7-days&from=2026-01-01&to=2026-01-02",
                "from=2026-01-01&to=2026-01-02&",
            ),
            // A page of dates, whose period was chosen then.
            (
                "period=today&shown=&from=2026-01-01&to=2026-01-02",
                "period=today&",
            ),
            ("from=2026-01-01", "from=2026-01-01&"),
        ] {
            let written = ParameterValues::read_form(Some(sent), &PARAMETERS).unwrap();
            assert_eq!(one_period(&written).canonical(), expected, "{sent}");
        }
    }
}
