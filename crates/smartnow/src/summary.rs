//! SmartNow's own summary of revenue by currency and date, to reconcile with.
//!
//! Invariant: a sum keeps every digit it was written with; one in minor units whose currency nobody knows is a figure without a number, as
//! the amounts of its sales are: it cannot be compared, and that can be told. Forms that can mean one thing only are read, as in records: a number as
//! text, null or `{}` for an empty list, `[]` for an empty object, no content at all.
//!
//! The document says neither whether both ends of a stretch belong to it nor on which clock a date is cut. So a day more is asked for
//! on both sides, and each day is named: whoever compares takes those he wants. Of `orginalValue` (the document's spelling) and
//! `value`, which may be converted, the first is taken: it is in the currency it stands under.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use tillhouse_extract::{AuthorizedClient, HttpOutcome, HttpRequest};
use tillhouse_model::money::{PriceUnit, canonical_currency, minor_digits};
use tillhouse_model::reconcile::{ProviderFigure, ProviderFigures, StatisticsPart};
use tillhouse_model::{Error, ExactDecimal, Result, Window};
use url::Url;

/// Name of requests for the summary in errors and logs.
const SUMMARY: &str = "summary";

/// Fields of an object of the answer.
type SummaryFields<'a> = BTreeMap<String, &'a RawValue>;

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

fn strange() -> Error {
    Error::protocol("the answer is not in the shape of SmartNow's revenue summary")
        .hint("Check connection.paths.summary: something else may be answering there.")
}

/// Reads an answer. serde's own errors quote what they stumble over, so they are not shown.
fn read(body: &[u8], unit: PriceUnit) -> Result<ProviderFigures> {
    let text = std::str::from_utf8(body).map_err(|_| strange())?;
    let mut evidence = ProviderFigures {
        parts: [StatisticsPart::Amount].into(),
        figures: Vec::new(),
    };
    for (currency, days) in fields(text)? {
        let currency = canonical_currency(&currency);
        let digits = match unit {
            PriceUnit::Major => Some(0),
            PriceUnit::Minor => minor_digits(&currency),
        };
        for entry in objects(days.get())? {
            let scaled = |value: ExactDecimal| {
                let scale = value.scale.checked_add(digits?)?;
                Some(ExactDecimal::new(value.units, scale))
            };
            evidence.figures.push(ProviderFigure {
                part: StatisticsPart::Amount,
                currency: Some(currency.clone()),
                unit: None,
                label: Some(day(&entry)?.to_string()),
                value: value(&entry)?.and_then(scaled),
            });
        }
    }
    Ok(evidence)
}

/// The fields of an object. No content, null and an empty list are an empty one: nothing was sold.
fn fields(text: &str) -> Result<SummaryFields<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim();
    if text.is_empty() || text == "null" {
        return Ok(SummaryFields::new());
    }
    let is_empty_list =
        || serde_json::from_str::<Vec<&RawValue>>(text).is_ok_and(|list| list.is_empty());
    match serde_json::from_str(text) {
        Ok(fields) => Ok(fields),
        Err(_) if is_empty_list() => Ok(SummaryFields::new()),
        Err(_) => Err(strange()),
    }
}

/// The objects of a list. Null and an empty object are an empty one, and null in it is nothing.
fn objects(text: &str) -> Result<Vec<SummaryFields<'_>>> {
    if text == "null" {
        return Ok(Vec::new());
    }
    let is_empty_object =
        || serde_json::from_str::<SummaryFields<'_>>(text).is_ok_and(|fields| fields.is_empty());
    match serde_json::from_str::<Vec<Option<SummaryFields<'_>>>>(text) {
        Ok(objects) => Ok(objects.into_iter().flatten().collect()),
        Err(_) if is_empty_object() => Ok(Vec::new()),
        Err(_) => Err(strange()),
    }
}

/// The day of an entry; a time behind it does not count.
fn day(entry: &SummaryFields<'_>) -> Result<Date> {
    let date = entry.get("date").map(|date| unquoted(date.get()));
    let date = date.and_then(|date| date.get(..10)?.parse().ok());
    date.ok_or_else(strange)
}

/// The sum of an entry: the first of the two that says something. `None` where they are there and say nothing: nobody knows it, and that is no zero.
fn value(entry: &SummaryFields<'_>) -> Result<Option<ExactDecimal>> {
    let given: Vec<&str> = ["orginalValue", "value"]
        .iter()
        .filter_map(|name| entry.get(*name))
        .map(|value| unquoted(value.get()))
        .collect();
    if given.is_empty() {
        return Err(strange());
    }
    let mut said = given
        .into_iter()
        .filter(|text| !text.is_empty() && *text != "null");
    said.next()
        .map(|text| ExactDecimal::from_json(text).ok_or_else(strange))
        .transpose()
}

/// The letters of a value, whether or not they stand in quotes.
fn unquoted(json: &str) -> &str {
    let inner = json
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    inner.unwrap_or(json).trim()
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
    fn forms_that_can_mean_one_thing_only_are_read() {
        for nothing in [
            "",
            " \n",
            "null",
            "[]",
            "{}",
            "\u{feff}{}",
            r#"{"EUR":null}"#,
            r#"{"EUR":{}}"#,
            r#"{"EUR":[null]}"#,
        ] {
            let read = read(nothing.as_bytes(), PriceUnit::Minor).unwrap();
            assert_eq!(read.figures, [], "{nothing}");
            assert!(read.parts.contains(&StatisticsPart::Amount));
        }
        let value = |values: &str| {
            let body = format!(r#"{{"EUR":[null,{{"date":" 2026-01-02 00:00:00",{values}}}]}}"#);
            read(body.as_bytes(), PriceUnit::Minor).unwrap().figures[0].value
        };
        let euros = Some(ExactDecimal::new(1250, 2));
        for same in [
            r#""orginalValue":1250"#,
            r#""orginalValue":null,"value":1250"#,
            r#""orginalValue":"","value":" 1250 ""#,
        ] {
            assert_eq!(value(same), euros, "{same}");
        }
        // Nobody knows it.
        assert_eq!(value(r#""orginalValue":null,"value":null"#), None);
    }

    #[test]
    fn what_is_something_else_is_an_error_that_quotes_nothing() {
        for body in [
            &b"<html>"[..],
            b"[1]",
            b"7",
            br#"{"EUR":7}"#,
            br#"{"EUR":{"date":"2026-01-02"}}"#,
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
