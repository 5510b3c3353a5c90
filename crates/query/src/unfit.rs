//! Values that fit nowhere, and types that do not go together, from the engine's texts about them.
//!
//! Invariant: what is said names the value or the types, in words of whoever wrote the query; none of it is called a fault of the engine.

use crate::column_size;
use crate::mistakes::in_sql_words;
use tillhouse_model::{Error, ErrorKind};

/// The error that an engine's text is about, if it is one of these.
pub(crate) fn of_text(text: &str) -> Option<Error> {
    column_size::of_text(text)
        .or_else(|| out_of_calendar(text))
        .or_else(|| of_number(text))
        .or_else(|| of_between(text))
}

/// The error of an instant that no calendar reaches, from Arrow's text about it.
///
/// ```
/// # use tillhouse_query::out_of_calendar;
/// let text = "Cast error: Failed to convert 9223372036854775807 to datetime for Timestamp(ms)";
/// let error = out_of_calendar(text).unwrap();
/// assert_eq!(
///     error.message(),
///     "9223372036854775807 milliseconds since 1970 are no instant: they lie outside of the years of the calendar"
/// );
/// assert!(out_of_calendar("another error").is_none());
/// ```
pub fn out_of_calendar(text: &str) -> Option<Error> {
    let (_, rest) = text.split_once("Failed to convert ")?;
    let (number, rest) = rest.split_once(" to ")?;
    let number = number.trim_matches('"');
    if number.is_empty() || !number.bytes().all(|c| c.is_ascii_digit() || c == b'-') {
        return None;
    }
    let kind = rest.split_once(" for ").map_or(rest, |(_, kind)| kind);
    let unit = ["ns", "µs", "us", "ms", "s"]
        .into_iter()
        .find(|unit| kind.contains(&format!("({unit}")));
    let unit = match unit {
        Some("ns") => "nanoseconds",
        Some("µs" | "us") => "microseconds",
        Some("ms") => "milliseconds",
        Some(_) => "seconds",
        None if kind.contains("Nanosecond") => "nanoseconds",
        None if kind.contains("Microsecond") => "microseconds",
        None if kind.contains("Millisecond") => "milliseconds",
        None if kind.contains("Date32") => "days",
        None if kind.contains("Date64") => "milliseconds",
        None => "seconds",
    };
    let message = format!(
        "{number} {unit} since 1970 are no instant: they lie outside of the years of the calendar"
    );
    Some(Error::new(ErrorKind::Query, message).hint(
        "Look at the unit: from_unixtime takes seconds, to_timestamp_millis milliseconds, to_timestamp_micros microseconds.",
    ))
}

/// A number that is written with more digits than any type has.
fn of_number(text: &str) -> Option<Error> {
    let signs = [
        ("Decimal scale -", "a number in the query is too large"),
        (
            "Decimal precision ",
            "a number in the query has too many digits",
        ),
    ];
    let (_, message) = signs.into_iter().find(|(sign, _)| {
        text.contains(sign) && (text.contains(" exceeds the m") && text.contains("supported "))
    })?;
    Some(Error::new(ErrorKind::Query, message).hint(
        "Numbers have at most 76 digits, those that are calculated with 38; CAST('1e300' AS DOUBLE) is a larger one, rounded.",
    ))
}

/// BETWEEN of values that cannot be compared.
fn of_between(text: &str) -> Option<Error> {
    let (_, rest) = text.split_once("Failed to coerce types ")?;
    let (types, _) = rest.split_once(" in BETWEEN expression")?;
    let (one, other) = types.split_once(" and ")?;
    let message = format!(
        "BETWEEN cannot compare a value of type {} with one of type {}",
        in_sql_words(one),
        in_sql_words(other)
    );
    Some(Error::new(ErrorKind::Query, message).hint(
        "All three values of x BETWEEN a AND b are of one kind: numbers, texts, days or instants. CAST(x AS TYPE) makes another type of a value.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named() {
        for (text, message) in [
            (
                "Cast error: Failed to convert 9223372036854775807 to datetime for Timestamp(ms, \"+00:00\")",
                "9223372036854775807 milliseconds since 1970 are no instant: they lie outside of the years of the calendar",
            ),
            (
                "Csv error: Error processing row 1, col 1: Cast error: Failed to convert -9223372036854775807 to datetime for Timestamp(s)",
                "-9223372036854775807 seconds since 1970 are no instant: they lie outside of the years of the calendar",
            ),
            (
                "This feature is not implemented: Decimal scale -300 exceeds the minimum supported scale: -128",
                "a number in the query is too large",
            ),
            (
                "This feature is not implemented: Decimal precision 90 exceeds the maximum supported precision: 76",
                "a number in the query has too many digits",
            ),
            (
                "Failed to coerce types Int64 and Boolean in BETWEEN expression. This issue was likely",
                "BETWEEN cannot compare a value of type bigint with one of type boolean",
            ),
            (
                "Failed to coerce types Decimal128(18, 4) and Timestamp(µs, \"UTC\") in BETWEEN expression",
                "BETWEEN cannot compare a value of type decimal(18,4) with one of type timestamptz",
            ),
        ] {
            assert_eq!(of_text(text).unwrap().message(), message, "{text}");
        }
        assert!(of_text("Failed to convert a text to a number").is_none());
    }
}
