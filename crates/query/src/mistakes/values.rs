//! Values that are not what they are taken for: numbers, dates, intervals, time zones.
//!
//! Invariant: a value is shown only where the query's text has it: what a record holds is nobody's business in an error.

use super::query_text::Evidence;
use super::wording::{in_sql_words, shorten};
use super::{Mistake, WrittenQuery};
use arrow::array::timezone::Tz;
use arrow::datatypes::DataType;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{Expr, Value, visit_expressions};
use jiff::civil::Date;
use std::ops::ControlFlow;
use tillhouse_model::did_you_mean::nearest;
use tillhouse_model::zone_name::{self, ZoneName};
use tillhouse_model::{Error, ErrorKind, Result};

/// Units of an interval.
const UNITS: [&str; 12] = [
    "years",
    "months",
    "weeks",
    "days",
    "hours",
    "minutes",
    "seconds",
    "milliseconds",
    "microseconds",
    "nanoseconds",
    "decades",
    "centuries",
];

/// The error of a number that does not fit its type.
pub(crate) fn overflow(query: &WrittenQuery) -> Error {
    too_large().into_error(query)
}

fn too_large() -> Mistake {
    Mistake::new("a number does not fit its type")
        .hint("Calculate in a wider type: CAST(... AS DECIMAL(38, 4)).")
}

/// The error of a division by zero.
pub(crate) fn divided_by_zero(query: &WrittenQuery) -> Error {
    Mistake::new("a number is divided by zero")
        .near(query, &Evidence::Only(&["/", "%", "mod"]))
        .hint("x / NULLIF(y, 0) is null where y is zero.")
        .into_error(query)
}

/// The error of a value, by its text.
pub(super) fn of_text(text: &str, query: &WrittenQuery) -> Option<Mistake> {
    let value = text
        .strip_prefix("Cast error: ")
        .or_else(|| text.strip_prefix("Parser error: "));
    // What is not known may quote the value of a record.
    let unknown = || {
        Mistake::new("a value is none of the type that it is read as")
            .near(query, &Evidence::Only(&["CAST", "::"]))
            .hint("TRY_CAST(x AS TYPE) is null where a value does not fit.")
    };
    of_interval(text, query)
        .or_else(|| of_cast(value.unwrap_or(text), query))
        .or_else(|| value.map(|_| unknown()))
}

fn of_cast(text: &str, query: &WrittenQuery) -> Option<Mistake> {
    if text.contains("that can be represented as nanoseconds have to be between") {
        return Some(
            Mistake::new("an instant lies outside of the time that can be counted in nanoseconds, 1677-09-21 to 2262-04-11")
                .near(query, &Evidence::Only(&["TIMESTAMP", "CAST", "::"]))
                .hint("In microseconds it fits: CAST('1677-01-01' AS TIMESTAMP(6))."),
        );
    }
    if let Some(rest) = text.strip_prefix("Cannot cast string '") {
        let (value, rest) = rest.rsplit_once("' to value of ")?;
        let data_type: Option<DataType> = rest
            .trim_end_matches('.')
            .strip_suffix(" type")?
            .parse()
            .ok();
        return Some(no_value(value, data_type.as_ref(), query));
    }
    if let Some(rest) = text.strip_prefix("Error parsing timestamp from '") {
        let (value, _) = rest.rsplit_once("': ")?;
        let data_type = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
        return Some(no_value(value, Some(&data_type), query));
    }
    if let Some(rest) = text.strip_prefix("Can't cast value ") {
        let (value, name) = rest.split_once(" to type ")?;
        let name = in_sql_words(name);
        let known = query.text.place(&Evidence::Only(&[value]));
        let message = match known {
            Some(_) => format!("{value} does not fit {name}"),
            None => format!("a number does not fit {name}"),
        };
        let hint =
            "Use a wider type, or TRY_CAST(x AS TYPE), which is null where a value does not fit.";
        return Some(Mistake::new(message).placed(known).hint(hint));
    }
    if text.contains("Overflowing on") || text.contains("overflow") && text.contains("ast") {
        return Some(too_large());
    }
    if let Some(rest) = text.strip_prefix("Unsupported CAST from ") {
        let (from, to) = rest.split_once(" to ")?;
        let message = format!(
            "{} cannot be cast to {}",
            in_sql_words(from),
            in_sql_words(to)
        );
        let is_date = to.starts_with("Date") || to.starts_with("Timestamp");
        let mistake =
            Mistake::new(message).near(query, &Evidence::Only(&["CAST", "TRY_CAST", "::"]));
        return Some(match is_date {
            true => mistake.hint("make_date(2026, 1, 31) makes a date of numbers."),
            false => mistake,
        });
    }
    None
}

/// Kind of value that a type holds, in a word.
fn noun(data_type: Option<&DataType>) -> String {
    match data_type {
        Some(number) if number.is_integer() => "whole number".to_owned(),
        Some(number) if number.is_numeric() => "number".to_owned(),
        Some(DataType::Date32 | DataType::Date64) => "date".to_owned(),
        Some(other) => crate::sql_type::sql_type(other),
        None => "value of that type".to_owned(),
    }
}

/// The error of a text that is no value of a type.
fn no_value(value: &str, data_type: Option<&DataType>, query: &WrittenQuery) -> Mistake {
    let noun = noun(data_type);
    let is_time = data_type.is_some_and(DataType::is_temporal);
    let place = query.text.place(&Evidence::Literal(value));
    if place.is_none()
        && let Some(name) = query.given.name_of(value)
    {
        let hint = match is_time {
            true => time_hint(""),
            false => "It is compared with a number, or cast to one.".to_owned(),
        };
        return Mistake::new(format!("the value of the parameter {name} is no {noun}")).hint(hint);
    }
    if place.is_none() {
        return Mistake::new(format!("a text of the data is no {noun}"))
            .near(query, &Evidence::Only(&["CAST", "::"]))
            .hint("TRY_CAST(x AS TYPE) is null where a text is none: WHERE TRY_CAST(x AS TYPE) IS NULL finds them.");
    }
    let mistake = Mistake::new(format!("'{}' is no {noun}", shorten(value))).placed(place);
    if is_time {
        return mistake.hint(time_hint(value));
    }
    match value.replace(',', ".").parse::<f64>() {
        Ok(_) if value.contains(',') => mistake.hint("The decimal point is a point: 12.50."),
        _ => mistake.hint("Only a number can be compared with a number, or cast to one; TRY_CAST(x AS TYPE) is null where it is none."),
    }
}

/// Form to write in place of a text that is no date.
fn time_hint(value: &str) -> String {
    const FORM: &str = "Dates are written '2026-01-31', instants '2026-01-31T12:00:00Z'.";
    let value = value.trim();
    let day = value.split([' ', 'T']).next().unwrap_or(value);
    match value.to_lowercase().as_str() {
        "today" => return "Today is current_date.".to_owned(),
        "yesterday" => return "Yesterday is current_date - 1.".to_owned(),
        "tomorrow" => return "Tomorrow is current_date + 1.".to_owned(),
        "now" => return "Now is now().".to_owned(),
        _ => {}
    }
    let numbers: Option<Vec<i16>> = day
        .split(['.', '/', '-'])
        .map(|part| part.parse().ok())
        .collect();
    let date = |year: i16, month: i16, day: i16| {
        Date::new(year, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
    };
    match numbers.as_deref() {
        Some([year, month]) if *year > 31 && (1..=12).contains(month) => {
            let (to_year, to_month) = if *month == 12 {
                (year + 1, 1)
            } else {
                (*year, month + 1)
            };
            format!(
                "A month is from its first day to the next one's: x >= '{year:04}-{month:02}-01' AND x < '{to_year:04}-{to_month:02}-01'."
            )
        }
        Some([year, month, of]) if *year > 31 => match date(*year, *month, *of) {
            Some(meant) => format!("Did you mean '{meant}'?"),
            None => "The calendar has no such day.".to_owned(),
        },
        Some([first, second, year]) if *year > 31 => {
            let swapped = date(*year, *second, *first);
            let other = date(*year, *first, *second).filter(|_| !day.contains('.'));
            match (swapped, other) {
                (Some(meant), None) | (None, Some(meant)) => format!("Did you mean '{meant}'?"),
                (Some(a), Some(b)) if a != b => {
                    format!("A date begins with the year: '{a}' or '{b}'.")
                }
                (Some(meant), Some(_)) => format!("Did you mean '{meant}'?"),
                (None, None) => FORM.to_owned(),
            }
        }
        _ => FORM.to_owned(),
    }
}

fn of_interval(text: &str, query: &WrittenQuery) -> Option<Mistake> {
    let (_, value) = text.split_once("for type interval: ")?;
    let value = value.trim_end_matches('.').trim_matches('"');
    let place = query.text.place(&Evidence::Literal(value));
    let message = match place {
        Some(_) => format!("'{}' is no interval", shorten(value)),
        None => "a text is no interval".to_owned(),
    };
    let words = value
        .split(|c: char| !c.is_alphabetic())
        .filter(|word| !word.is_empty());
    let is_unit = |word: &str| {
        let word = word.to_lowercase();
        UNITS
            .iter()
            .any(|unit| *unit == word || unit.trim_end_matches('s') == word)
    };
    let unknown = words.clone().find(|word| !is_unit(word));
    let meant = unknown.and_then(|word| nearest(word, &UNITS));
    let hint = match (unknown, meant) {
        (Some(_), Some(meant)) => format!("Did you mean {meant}?"),
        (Some(word), None) if word.to_lowercase().starts_with("fortnight") => {
            "Two weeks are '2 weeks'.".to_owned()
        }
        (Some(word), None) if word.to_lowercase().starts_with("quarter") => {
            "A quarter is '3 months'.".to_owned()
        }
        _ => "An interval is numbers and units: '1 day', '3 months', '2 hours 30 minutes'."
            .to_owned(),
    };
    Some(Mistake::new(message).placed(place).hint(hint))
}

/// The error of a time zone, wherever it was met.
pub(crate) fn of_zone(text: &str) -> Option<Error> {
    let (_, zone) = text.split_once("Invalid timezone ")?;
    Some(no_zone(
        zone.split(':').next().unwrap_or(zone).trim_matches('"'),
    ))
}

/// The error of a time zone that is not known.
fn no_zone(zone: &str) -> Error {
    let message = format!("the time zone '{}' is not known", shorten(zone));
    let error = Error::new(ErrorKind::Query, message);
    if let Some(ZoneName::Iana(meant)) = zone_name::parse(zone) {
        return error.hint(format!("Did you mean '{}'?", meant.name()));
    }
    let names: Vec<String> = jiff::tz::db()
        .available()
        .map(|name| name.to_string())
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let wanted = zone.replace(' ', "_");
    let city = |name: &&str| {
        name.rsplit('/')
            .next()
            .is_some_and(|city| city.eq_ignore_ascii_case(&wanted))
    };
    match names
        .iter()
        .find(|name| city(name))
        .copied()
        .or_else(|| nearest(zone, &names))
    {
        Some(meant) => error.hint(format!("Did you mean '{meant}'?")),
        None => error
            .hint("Write it as IANA does, like 'Europe/Berlin', or as an offset, like '+02:00'."),
    }
}

/// Errors when a statement names a time zone that nobody knows. Such a name would be read only when values are printed, and not at all where there are none.
pub(crate) fn check_zones(statement: &Statement) -> Result<()> {
    let inner = match statement {
        Statement::Statement(inner) => inner,
        Statement::Explain(explain) => return check_zones(&explain.statement),
        _ => return Ok(()),
    };
    let found = visit_expressions(inner.as_ref(), |expr| {
        let Expr::AtTimeZone { time_zone, .. } = expr else {
            return ControlFlow::Continue(());
        };
        match time_zone.as_ref() {
            Expr::Value(value) => match &value.value {
                Value::SingleQuotedString(zone) if zone.parse::<Tz>().is_err() => {
                    ControlFlow::Break(zone.clone())
                }
                _ => ControlFlow::Continue(()),
            },
            _ => ControlFlow::Continue(()),
        }
    });
    match found {
        ControlFlow::Break(zone) => Err(no_zone(&zone)),
        ControlFlow::Continue(()) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_in_another_form_is_known() {
        for (text, hint) in [
            ("31.01.2026", "Did you mean '2026-01-31'?"),
            ("31/01/2026", "Did you mean '2026-01-31'?"),
            ("01/31/2026", "Did you mean '2026-01-31'?"),
            (
                "01/02/2026",
                "A date begins with the year: '2026-02-01' or '2026-01-02'.",
            ),
            ("2026/01/31", "Did you mean '2026-01-31'?"),
            ("2026-02-30", "The calendar has no such day."),
            ("2026-02-30 12:00:00", "The calendar has no such day."),
            (
                "2026-12",
                "A month is from its first day to the next one's: x >= '2026-12-01' AND x < '2027-01-01'.",
            ),
            ("yesterday", "Yesterday is current_date - 1."),
            (
                "x",
                "Dates are written '2026-01-31', instants '2026-01-31T12:00:00Z'.",
            ),
            (
                "",
                "Dates are written '2026-01-31', instants '2026-01-31T12:00:00Z'.",
            ),
        ] {
            assert_eq!(time_hint(text), hint, "{text}");
        }
    }
}
