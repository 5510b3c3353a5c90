//! Narrowings of a view as one filter: the reader's own, a site, a currency, an hour of a weekday, and what statistics count.
//!
//! Invariant: the sales behind a figure are those that the figure counts: the filter says of kinds, states and perspective what the statistics say, and of weekdays and hours what the
//! weekday by hour says, on each site's own clock.

use crate::parameters::ParameterValues;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};
use serde_json::{Value, json};
use tillhouse_model::{Filter, FilterOperator, Window};
use tillhouse_page::dashboard::NO_SITE;
use tillhouse_statistics::definitions::{COUNTED_KINDS, COUNTED_STATES, SALE};

/// Label of a currency that nobody named.
pub(super) const UNKNOWN: &str = "unknown";
/// Farthest that a site's clock is from UTC.
const FARTHEST: SignedDuration = SignedDuration::from_hours(26);

/// The filter of figures: the reader's own, and a site. None where there is neither.
pub(super) fn of_figures(values: &ParameterValues) -> Option<String> {
    let mut parts = own(values);
    parts.extend(site(values));
    all(parts)
}

/// The filter of a list of sales in a window.
pub(super) fn of_sales(values: &ParameterValues, window: &Window) -> Option<String> {
    let mut parts = own(values);
    parts.extend(site(values));
    if let Some(currency) = values.get("currency") {
        parts.push(match currency {
            UNKNOWN => is_missing("currency"),
            known => equal("currency", &json!(known)),
        });
    }
    parts.extend(on_clocks(values, window));
    if values.get("counted").is_some() {
        let states = match values.get("states") {
            Some(_) => values.list("states"),
            None => COUNTED_STATES.map(str::to_owned).to_vec(),
        };
        parts.push(equal("perspective", &json!(values.or("perspective", SALE))));
        parts.push(any(COUNTED_KINDS
            .iter()
            .map(|kind| equal("kind", &json!(kind)))
            .collect()));
        parts.push(any(states
            .iter()
            .map(|state| equal("state", &json!(state)))
            .collect()));
    }
    all(parts)
}

/// True where the days of a window are more than one filter can name, so that the sales of an hour of a weekday cannot be asked for.
pub(super) fn is_too_long(values: &ParameterValues, window: &Window) -> bool {
    // No weekday comes more often than that of the first day.
    let first = TimeZone::UTC.to_datetime(window.widened(FARTHEST).from());
    let weekday = first.date().weekday().to_monday_one_offset().to_string();
    let given = [
        ("weekday", weekday.as_str()),
        ("hour", "0"),
        ("counted", "yes"),
        ("currency", "EUR"),
    ];
    let asked = given
        .into_iter()
        .fold(values.clone(), |asked, (name, value)| {
            asked.with(name, Some(value.to_owned()))
        });
    of_sales(&asked, window).is_some_and(|text| Filter::parse(&text).is_err())
}

fn own(values: &ParameterValues) -> Vec<String> {
    values
        .get("filter")
        .map(str::to_owned)
        .into_iter()
        .collect()
}

fn site(values: &ParameterValues) -> Option<String> {
    Some(match values.get("site")? {
        NO_SITE => is_missing("site_key"),
        key => equal("site_key", &json!(key)),
    })
}

/// Test of the weekday, 1 Monday to 7 Sunday, and the hour that are asked for, on each site's own clock; UTC's where that is not known, as the weekday by hour has it.
fn on_clocks(values: &ParameterValues, window: &Window) -> Option<String> {
    let hour: Option<u8> = values.get("hour").and_then(|hour| hour.parse().ok());
    let weekday: Option<i8> = values.get("weekday").and_then(|day| day.parse().ok());
    if hour.is_none() && weekday.is_none() {
        return None;
    }
    let days = days(window, weekday);
    let (clock, first, last) = match hour {
        Some(hour) => ("local_hour", hour, hour),
        None => ("business_date", 0, 23),
    };
    let mut known = Vec::new();
    known.extend(hour.map(|hour| equal("local_hour", &json!(hour))));
    known.extend(weekday.map(|_| {
        let days = days
            .iter()
            .map(|day| equal("business_date", &json!(day.to_string())));
        any(days.collect())
    }));
    let known = all(known)?;
    let within = |day: &Date| {
        let (from, to) = (
            format!("{day}T{first:02}:00:00Z"),
            format!("{day}T{last:02}:59:59.999999Z"),
        );
        let tests = vec![
            test("occurred_at", FilterOperator::Gte, &json!(from)),
            test("occurred_at", FilterOperator::Lte, &json!(to)),
        ];
        all(tests)
    };
    let unknown = vec![
        without_value(clock, FilterOperator::IsNull),
        any(days.iter().filter_map(within).collect()),
    ];
    Some(any(std::iter::once(known).chain(all(unknown)).collect()))
}

/// The days of a window on any site's clock; those of a weekday alone, where one is named. No more than a filter can name: one of more days is refused for its size.
fn days(window: &Window, weekday: Option<i8>) -> Vec<Date> {
    let wide = window.widened(FARTHEST);
    let day = |at| TimeZone::UTC.to_datetime(at).date();
    let last = day(wide.to());
    day(wide.from())
        .series(1.day())
        .take_while(|day| *day <= last)
        .filter(|day| weekday.is_none_or(|wanted| day.weekday().to_monday_one_offset() == wanted))
        .take(Filter::MAX_NODES)
        .collect()
}

fn equal(field: &str, value: &Value) -> String {
    test(field, FilterOperator::Eq, value)
}

fn test(field: &str, operator: FilterOperator, value: &Value) -> String {
    let operator = operator.as_str();
    json!({ "field": field, "operator": operator, "value": value, "ignoreCase": false }).to_string()
}

fn is_missing(field: &str) -> String {
    without_value(field, FilterOperator::IsNullOrEmpty)
}

fn without_value(field: &str, operator: FilterOperator) -> String {
    json!({ "field": field, "operator": operator.as_str() }).to_string()
}

fn any(tests: Vec<String>) -> String {
    format!("{{\"logic\":\"or\",\"filters\":[{}]}}", tests.join(","))
}

/// Conjunction. The reader's own filter stays as it was written, so that its numbers keep their digits.
fn all(parts: Vec<String>) -> Option<String> {
    match parts.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        _ => Some(format!(
            "{{\"logic\":\"and\",\"filters\":[{}]}}",
            parts.join(",")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::question::PARAMETERS;

    fn values(query: &str) -> ParameterValues {
        ParameterValues::read(Some(query), &PARAMETERS).unwrap()
    }

    fn window() -> Window {
        let at = |text: &str| text.parse().unwrap();
        Window::new(at("2026-01-05T00:00:00Z"), at("2026-01-19T00:00:00Z")).unwrap()
    }

    #[test]
    fn a_filter_of_all_parts_can_be_read_and_keeps_the_digits_of_the_readers_own() {
        let own = "%7B%22field%22%3A%22amount%22%2C%22operator%22%3A%22gte%22%2C%22value%22%3A12345678901234567.8901%7D";
        let query = format!("filter={own}&site=hecone:1&currency=EUR&weekday=1&hour=9&counted=yes");
        let text = of_sales(&values(&query), &window()).unwrap();
        assert!(text.contains("12345678901234567.8901"), "{text}");
        let filter = Filter::parse(&text).unwrap();
        let fields: Vec<&str> = filter
            .tests()
            .iter()
            .map(|test| test.field.as_str())
            .collect();
        // Mondays of the window, and the one that has begun somewhere when it ends.
        let count = |name: &str| fields.iter().filter(|field| **field == name).count();
        assert_eq!(
            (count("business_date"), count("occurred_at")),
            (3, 6),
            "{text}"
        );
        assert!(text.contains("2026-01-05T09:59:59.999999Z"), "{text}");
        for field in [
            "amount",
            "site_key",
            "currency",
            "local_hour",
            "perspective",
            "kind",
            "state",
        ] {
            assert!(fields.contains(&field), "{field}: {text}");
        }
    }

    #[test]
    fn a_window_of_more_days_than_a_filter_can_name_is_too_long() {
        let at = |text: &str| text.parse().unwrap();
        for (to, is_long) in [
            ("2027-01-05T00:00:00Z", false),
            ("2036-01-05T00:00:00Z", true),
        ] {
            let window = Window::new(at("2026-01-05T00:00:00Z"), at(to)).unwrap();
            assert_eq!(is_too_long(&values(""), &window), is_long, "{to}");
        }
    }

    #[test]
    fn nothing_is_narrowed_where_nothing_is_asked() {
        let none = values("from=2026-01-01");
        assert_eq!(of_figures(&none), None);
        assert_eq!(of_sales(&none, &window()), None);
        let hostile = values("site=%22%5D%7D");
        let text = of_figures(&hostile).unwrap();
        assert_eq!(Filter::parse(&text).unwrap().tests().len(), 1, "{text}");
        let missing = of_figures(&values("site=none")).unwrap();
        assert!(Filter::parse(&missing).is_ok() && missing.contains("isnullorempty"));
    }
}
