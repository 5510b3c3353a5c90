//! SmartNow's own summary of revenue by currency and date, to reconcile with.
//!
//! Invariant: a sum keeps every digit it was written with; one in minor units whose currency nobody knows is a figure without a number, as
//! the amounts of its sales are: it cannot be compared, and that can be told.
//!
//! The document says neither whether both ends of a stretch belong to it nor on which clock a date is cut. So a day more is asked for
//! on both sides, and each day is named: whoever compares takes those he wants. Of `orginalValue` (the document's spelling) and
//! `value`, which may be converted, the first is taken: it is in the currency it stands under.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use tillhouse_extract::{AuthorizedClient, HttpOutcome, HttpRequest};
use tillhouse_model::money::{PriceUnit, canonical_currency, minor_digits};
use tillhouse_model::reconcile::{ProviderFigure, ProviderFigures, StatisticsPart};
use tillhouse_model::{Error, ExactDecimal, Result, Window};
use url::Url;

/// Name of requests for the summary in errors and logs.
const SUMMARY: &str = "summary";

/// Revenue of one currency and date.
#[derive(Deserialize)]
struct SmartNowSummaryEntry<'a> {
    date: String,
    #[serde(borrow, rename = "orginalValue")]
    original: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

/// Fetches the days that a window touches, and one more on both sides.
pub(crate) async fn fetch_summary(
    api: &AuthorizedClient,
    url: &Url,
    unit: PriceUnit,
    window: Window,
) -> Result<ProviderFigures> {
    let day = |instant: jiff::Timestamp| instant.to_zoned(TimeZone::UTC).date();
    let (from, to) = (day(window.from()), day(window.to()));
    let request = HttpRequest::get(SUMMARY, url.clone())
        .query("startDate", &from.yesterday().unwrap_or(from).to_string())
        .query("endDate", &to.tomorrow().unwrap_or(to).to_string());
    match api.send(&request).await? {
        HttpOutcome::Success(response) => read(&response.bytes, unit),
        HttpOutcome::Refused(refusal) => {
            let status = refusal.status;
            let error = refusal.into_error();
            Err(match status.as_u16() {
                404 | 405 => error
                    .hint("Set connection.paths.summary: the document does not say where it is."),
                403 => error.hint("Ask the provider whether this user may see revenue."),
                _ => error,
            })
        }
    }
}

/// Reads an answer. serde's own errors quote what they stumble over, so they are not shown.
fn read(body: &[u8], unit: PriceUnit) -> Result<ProviderFigures> {
    let strange = || {
        Error::protocol("the answer is not in the shape of SmartNow's revenue summary")
            .hint("Check connection.paths.summary: something else may be answering there.")
    };
    let summary: BTreeMap<String, Vec<SmartNowSummaryEntry<'_>>> =
        serde_json::from_slice(body).map_err(|_| strange())?;
    let mut evidence = ProviderFigures {
        parts: [StatisticsPart::Amount].into(),
        figures: Vec::new(),
    };
    for (currency, days) in summary {
        let currency = canonical_currency(&currency);
        let digits = match unit {
            PriceUnit::Major => Some(0),
            PriceUnit::Minor => minor_digits(&currency),
        };
        for entry in days {
            let day: Date = entry
                .date
                .get(..10)
                .and_then(|day| day.parse().ok())
                .ok_or_else(strange)?;
            let value = entry.original.or(entry.value).ok_or_else(strange)?.get();
            let value = value
                .strip_prefix('"')
                .and_then(|v| v.strip_suffix('"'))
                .unwrap_or(value);
            let value = ExactDecimal::from_json(value).ok_or_else(strange)?;
            let scale = digits.and_then(|digits| value.scale.checked_add(digits));
            evidence.figures.push(ProviderFigure {
                part: StatisticsPart::Amount,
                currency: Some(currency.clone()),
                unit: None,
                label: Some(day.to_string()),
                value: scale.map(|scale| ExactDecimal::new(value.units, scale)),
            });
        }
    }
    Ok(evidence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::ErrorKind;

    const BODY: &[u8] =
        br#"{"EUR":[{"currency":"EUR","currencyRate":1,"date":"2026-01-02","orginalValue":1250,"value":1375}],
        "jpy":[{"date":"2026-01-02T00:00:00Z","value":"300"}],"TOKEN":[{"date":"2026-01-02","value":4}]}"#;

    fn shown(unit: PriceUnit) -> Vec<String> {
        let text = |text: &Option<String>| text.clone().unwrap();
        let figures = read(BODY, unit).unwrap().figures;
        let value = |value: Option<ExactDecimal>| {
            value.map_or_else(|| "-".to_owned(), |value| value.to_string())
        };
        figures
            .iter()
            .map(|f| {
                format!(
                    "{} {} {}",
                    text(&f.label),
                    text(&f.currency),
                    value(f.value)
                )
            })
            .collect()
    }

    #[test]
    fn sums_are_in_the_unit_prices_are_in_and_in_their_own_currency() {
        assert_eq!(
            shown(PriceUnit::Minor),
            [
                "2026-01-02 EUR 12.50",
                "2026-01-02 TOKEN -",
                "2026-01-02 JPY 300"
            ]
        );
        let major = [
            "2026-01-02 EUR 1250",
            "2026-01-02 TOKEN 4",
            "2026-01-02 JPY 300",
        ];
        assert_eq!(shown(PriceUnit::Major), major);
    }

    #[test]
    fn what_is_something_else_is_an_error_that_quotes_nothing() {
        for body in [
            &b"<html>"[..],
            b"[]",
            br#"{"EUR":[{"date":"hunter2","value":1}]}"#,
            br#"{"EUR":[{"date":"2026-01-02","value":"hunter2"}]}"#,
            br#"{"EUR":[{"date":"2026-01-02"}]}"#,
        ] {
            let error = read(body, PriceUnit::Minor).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Protocol);
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
