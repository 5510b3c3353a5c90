//! Values of parameters as a client sends them, as text or in binary form.
//!
//! Invariant: a value becomes a literal of the type that the client named, or that it was told; a text of a type that nobody named takes the type that its place wants. What
//! cannot be read as its type is refused here, so that no part of it is ever read as SQL.

use super::fault::{Fault, NOT_THERE};
use super::{numeric, times};
use bytes::Bytes;
use std::borrow::Cow;
use tillhouse_model::Result as ModelResult;
use tillhouse_query::{ParameterLiteral, QueryParameters, list_items};

/// Number of the type that nobody named.
pub(super) const UNKNOWN: u32 = 0;
/// Exponent of a number, at most: more digits than a column has.
const MOST_EXPONENT: u32 = 100;

/// Reads the values of parameters, of these types and formats.
pub(super) fn parameters(
    types: &[u32],
    formats: &[i16],
    values: &[Option<Bytes>],
) -> Result<QueryParameters, Fault> {
    let format = |at: usize| match formats {
        [] => Ok(0),
        [one] => Ok(*one),
        many => many.get(at).copied().ok_or_else(mismatch),
    };
    let mut untyped = Vec::new();
    let mut literals = Vec::new();
    for (at, value) in values.iter().enumerate() {
        let (name, of) = (
            (at + 1).to_string(),
            types.get(at).copied().unwrap_or(UNKNOWN),
        );
        let Some(value) = value else {
            literals.push((name, ParameterLiteral::Null));
            continue;
        };
        match format(at)? {
            0 => {
                let text = std::str::from_utf8(value).map_err(|_| unreadable(at))?;
                if text.contains('\0') {
                    return Err(unreadable(at));
                }
                match is_untyped(of) {
                    true => untyped.push(format!("{name}={text}")),
                    false => literals.push((name, of_text(of, text).map_err(|f| f.at(at))?)),
                }
            }
            1 => literals.push((name, of_binary(of, value).map_err(|f| f.at(at))?)),
            _ => return Err(Fault::new("22023", "a format is text or binary")),
        }
    }
    let read: ModelResult<QueryParameters> =
        QueryParameters::read(untyped.iter().map(String::as_str));
    let read = read.map_err(|_| mismatch())?;
    let given = literals.into_iter();
    Ok(given.fold(read, |read, (name, literal)| {
        read.with_literal(&name, literal)
    }))
}

/// Values of these types, for a query that is planned to see its columns and not run.
pub(super) fn samples(types: &[u32]) -> QueryParameters {
    let numbered = (1_usize..).zip(types);
    numbered.fold(QueryParameters::default(), |given, (number, of)| {
        given.with_literal(&number.to_string(), sample(*of))
    })
}

fn sample(of: u32) -> ParameterLiteral {
    let own = |text: &str| text.to_owned();
    match of {
        20 | 21 | 23 | 26 => ParameterLiteral::Number(own("1")),
        1700 => ParameterLiteral::Number(own("1.0")),
        700 | 701 => ParameterLiteral::Float(own("1")),
        16 => ParameterLiteral::Truth(true),
        1082 => ParameterLiteral::Date(own("2000-01-01")),
        1083 => ParameterLiteral::Time(own("00:00:00")),
        1114 => ParameterLiteral::Timestamp(own("2000-01-01 00:00:00")),
        1184 => ParameterLiteral::Instant(own("2000-01-01 00:00:00+00:00")),
        1186 => ParameterLiteral::Span(own("1 day")),
        18 | 19 | 25 | 114 | 1042 | 1043 | 2950 | 3802 => ParameterLiteral::Text(own("")),
        list => match item_of(list) {
            Some(item) => ParameterLiteral::List(vec![sample(item)]),
            None => ParameterLiteral::Null,
        },
    }
}

fn mismatch() -> Fault {
    Fault::new(
        "08P01",
        "values, types and formats of parameters do not fit together",
    )
}

fn unreadable(at: usize) -> Fault {
    Fault::new(
        "22P02",
        format!("the value of ${} cannot be read as its type", at + 1),
    )
}

fn is_untyped(of: u32) -> bool {
    matches!(of, UNKNOWN | 705)
}

/// Reason why a value is not taken.
enum Refusal {
    Unreadable,
    NotThere,
}

impl Refusal {
    fn at(self, at: usize) -> Fault {
        match self {
            Self::Unreadable => unreadable(at),
            Self::NotThere => Fault::new(
                NOT_THERE,
                format!(
                    "the type of ${} is none that parameters may have here",
                    at + 1
                ),
            )
            .hint("Send it as text, with a cast in the query."),
        }
    }
}

/// A value of a type, from its text.
fn of_text(of: u32, text: &str) -> Result<ParameterLiteral, Refusal> {
    let own = || text.to_owned();
    Ok(match of {
        20 | 21 | 23 | 26 => number(text, false)?,
        1700 => number(text, true)?,
        700 | 701 => {
            text.trim()
                .parse::<f64>()
                .map_err(|_| Refusal::Unreadable)?;
            ParameterLiteral::Float(text.trim().to_owned())
        }
        16 => match text.trim().to_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "on" | "1" => ParameterLiteral::Truth(true),
            "f" | "false" | "n" | "no" | "off" | "0" => ParameterLiteral::Truth(false),
            _ => return Err(Refusal::Unreadable),
        },
        1082 => ParameterLiteral::Date(day_of(text).to_owned()),
        1083 => ParameterLiteral::Time(own()),
        1114 => ParameterLiteral::Timestamp(own()),
        1184 => ParameterLiteral::Instant(own()),
        1186 => ParameterLiteral::Span(own()),
        18 | 19 | 25 | 114 | 1042 | 1043 | 2950 | 3802 => ParameterLiteral::Text(own()),
        list => match item_of(list) {
            Some(item) => ParameterLiteral::List(
                list_items(text)
                    .ok_or(Refusal::Unreadable)?
                    .into_iter()
                    .map(|value| match value {
                        Some(value) => of_text(item, &value),
                        None => Ok(ParameterLiteral::Null),
                    })
                    .collect::<Result<_, _>>()?,
            ),
            None => return Err(Refusal::NotThere),
        },
    })
}

/// A number as SQL writes one: whole, or with a point.
fn number(text: &str, has_point: bool) -> Result<ParameterLiteral, Refusal> {
    let text = text.trim();
    let (sign, digits) = match (text.strip_prefix('-'), text.strip_prefix('+')) {
        (Some(rest), _) => ("-", rest),
        (None, Some(rest)) => ("", rest),
        (None, None) => ("", text),
    };
    let plain = match has_point {
        true => without_exponent(digits).ok_or(Refusal::Unreadable)?,
        false => Cow::Borrowed(digits),
    };
    let digits = &*plain;
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let is_number = are_digits(whole)
        && are_digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && (has_point || !digits.contains('.'));
    if !is_number {
        return Err(Refusal::Unreadable);
    }
    let whole = match whole.trim_start_matches('0') {
        "" => "0",
        whole => whole,
    };
    Ok(ParameterLiteral::Number(match fraction.is_empty() {
        true => format!("{sign}{whole}"),
        false => format!("{sign}{whole}.{fraction}"),
    }))
}

/// A number without its exponent, as decimals of Java and Python are sent: `1.2E+3` is `1200`. None where that is longer than any column.
fn without_exponent(text: &str) -> Option<Cow<'_, str>> {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else {
        return Some(Cow::Borrowed(text));
    };
    let exponent = exponent.parse::<i32>().ok();
    let exponent = exponent.filter(|exponent| exponent.unsigned_abs() <= MOST_EXPONENT)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    Some(Cow::Owned(match usize::try_from(point) {
        Err(_) | Ok(0) => {
            let noughts = usize::try_from(point.unsigned_abs()).ok()?;
            format!("0.{}{digits}", "0".repeat(noughts))
        }
        Ok(point) if point >= digits.len() => format!("{digits:0<point$}"),
        Ok(point) => {
            let (whole, fraction) = digits.split_at(point);
            format!("{whole}.{fraction}")
        }
    }))
}

/// The day of a date, behind which a client may send its offset or a time: `2026-01-01 +01`.
fn day_of(text: &str) -> &str {
    let text = text.trim();
    match text.split_once([' ', 'T']) {
        Some((day, rest)) if rest.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c)) => {
            day
        }
        _ => text,
    }
}

/// A value of a type, from its binary form.
fn of_binary(of: u32, bytes: &[u8]) -> Result<ParameterLiteral, Refusal> {
    let whole = |number: Option<i64>| {
        let number = number.ok_or(Refusal::Unreadable)?;
        Ok::<_, Refusal>(ParameterLiteral::Number(number.to_string()))
    };
    let text = |text: Option<String>| text.ok_or(Refusal::Unreadable);
    Ok(match of {
        21 => whole(
            bytes
                .try_into()
                .ok()
                .map(|b| i64::from(i16::from_be_bytes(b))),
        )?,
        23 => whole(
            bytes
                .try_into()
                .ok()
                .map(|b| i64::from(i32::from_be_bytes(b))),
        )?,
        26 => whole(
            bytes
                .try_into()
                .ok()
                .map(|b| i64::from(u32::from_be_bytes(b))),
        )?,
        20 => whole(bytes.try_into().ok().map(i64::from_be_bytes))?,
        700 => ParameterLiteral::Float(text(
            bytes
                .try_into()
                .ok()
                .map(|b| f32::from_be_bytes(b).to_string()),
        )?),
        701 => ParameterLiteral::Float(text(
            bytes
                .try_into()
                .ok()
                .map(|b| f64::from_be_bytes(b).to_string()),
        )?),
        1700 => ParameterLiteral::Number(text(numeric::read_binary(bytes))?),
        16 => match bytes {
            [0] => ParameterLiteral::Truth(false),
            [1] => ParameterLiteral::Truth(true),
            _ => return Err(Refusal::Unreadable),
        },
        1082 => {
            let days = bytes.try_into().ok().map(i32::from_be_bytes);
            ParameterLiteral::Date(text(days.and_then(times::date_read))?)
        }
        1083 => {
            let micros = bytes.try_into().ok().map(i64::from_be_bytes);
            let micros = micros.filter(|micros| (0..86_400_000_000).contains(micros));
            ParameterLiteral::Time(text(micros.map(times::time_text))?)
        }
        1114 | 1184 => {
            let micros = bytes.try_into().ok().map(i64::from_be_bytes);
            let written = text(micros.and_then(times::timestamp_read))?;
            match of {
                1114 => ParameterLiteral::Timestamp(written),
                _ => ParameterLiteral::Instant(format!("{written}+00:00")),
            }
        }
        1186 => ParameterLiteral::Span(text(span_read(bytes))?),
        // A text has the same bytes in both forms, and what has no type is one.
        0 | 18 | 19 | 25 | 114 | 705 | 1042 | 1043 => {
            let read = std::str::from_utf8(bytes).ok();
            let read = read.filter(|read| !read.contains('\0'));
            ParameterLiteral::Text(text(read.map(str::to_owned))?)
        }
        list if item_of(list).is_some() => binary_list(bytes)?,
        _ => return Err(Refusal::NotThere),
    })
}

/// The text of a span of time from its binary form: microseconds, days and months.
fn span_read(bytes: &[u8]) -> Option<String> {
    let (micros, rest) = bytes.split_first_chunk::<8>()?;
    let (days, rest) = rest.split_first_chunk::<4>()?;
    let months = i32::from_be_bytes(rest.try_into().ok()?);
    let (days, micros) = (i32::from_be_bytes(*days), i64::from_be_bytes(*micros));
    Some(format!("{months} months {days} days {micros} microseconds"))
}

/// Type of the items of a type of lists.
fn item_of(list: u32) -> Option<u32> {
    Some(match list {
        1000 => 16,
        1005 => 21,
        1007 => 23,
        1016 => 20,
        1021 => 700,
        1022 => 701,
        1231 => 1700,
        1002 | 1003 | 1009 | 1014 | 1015 => 25,
        1182 => 1082,
        1183 => 1083,
        1115 => 1114,
        1185 => 1184,
        1187 => 1186,
        _ => return None,
    })
}

/// The items of a list in binary form.
fn binary_list(bytes: &[u8]) -> Result<ParameterLiteral, Refusal> {
    let mut rest = bytes;
    let mut number = || {
        let (number, behind) = rest.split_first_chunk::<4>()?;
        rest = behind;
        Some(i32::from_be_bytes(*number))
    };
    let head = (number(), number(), number());
    let (Some(dimensions), Some(_), Some(item)) = head else {
        return Err(Refusal::Unreadable);
    };
    let item = u32::try_from(item).map_err(|_| Refusal::Unreadable)?;
    // PostgreSQL knows no list of lists: a list has dimensions. A message has room for forty thousand of them within each other, and the stack has not.
    if item_of(item).is_some() {
        return Err(Refusal::Unreadable);
    }
    if dimensions == 0 {
        return Ok(ParameterLiteral::List(Vec::new()));
    }
    let (Some(count), Some(_), 1) = (number(), number(), dimensions) else {
        return Err(Refusal::Unreadable);
    };
    let mut items = Vec::new();
    for _ in 0..count {
        let (length, behind) = rest.split_first_chunk::<4>().ok_or(Refusal::Unreadable)?;
        rest = behind;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            items.push(ParameterLiteral::Null);
            continue;
        };
        let (value, behind) = rest.split_at_checked(length).ok_or(Refusal::Unreadable)?;
        rest = behind;
        items.push(of_binary(item, value)?);
    }
    Ok(ParameterLiteral::List(items))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(of: u32, text: &str) -> Option<ParameterLiteral> {
        of_text(of, text).ok()
    }

    fn binary(of: u32, bytes: &[u8]) -> Option<ParameterLiteral> {
        of_binary(of, bytes).ok()
    }

    #[test]
    fn a_span_of_time_has_three_parts() {
        let parts = |micros: i64, days: i32, months: i32| {
            let mut bytes = micros.to_be_bytes().to_vec();
            bytes.extend(days.to_be_bytes());
            bytes.extend(months.to_be_bytes());
            bytes
        };
        let span = |text: &str| Some(ParameterLiteral::Span(text.to_owned()));
        assert_eq!(
            binary(1186, &parts(-5, 2, 14)),
            span("14 months 2 days -5 microseconds")
        );
        assert_eq!(binary(1186, &[0; 15]), None);
        assert_eq!(binary(1186, &[0; 17]), None);
    }

    fn number_of(text: &str) -> Option<ParameterLiteral> {
        Some(ParameterLiteral::Number(text.to_owned()))
    }

    #[test]
    fn texts_are_read_as_their_types() {
        assert_eq!(text(23, " -007 "), number_of("-7"));
        assert_eq!(text(1700, "12.50"), number_of("12.50"));
        assert_eq!(text(1700, ".5"), number_of("0.5"));
        for (sent, number) in [
            ("1E+3", "1000"),
            ("-12.5e1", "-125"),
            ("1.5e-3", "0.0015"),
            ("12.345E1", "123.45"),
            ("0E-4", "0.0000"),
            ("5e-1", "0.5"),
        ] {
            assert_eq!(text(1700, sent), number_of(number), "{sent}");
        }
        for (sent, day) in [
            ("2026-01-01 +01", "2026-01-01"),
            (" 2026-01-01T10:00:00", "2026-01-01"),
            ("0001-01-01 BC", "0001-01-01 BC"),
        ] {
            let day = ParameterLiteral::Date(day.to_owned());
            assert_eq!(text(1082, sent), Some(day), "{sent}");
        }
        assert_eq!(text(16, "TRUE"), Some(ParameterLiteral::Truth(true)));
        assert_eq!(
            text(1043, "007"),
            Some(ParameterLiteral::Text("007".to_owned()))
        );
        for (of, value) in [
            (23, "1; DROP TABLE t"),
            (23, "1.5"),
            (23, ""),
            (1700, "NaN"),
            (1700, "."),
            (1700, "1e"),
            (1700, "e5"),
            (1700, "1e5e5"),
            (1700, "1e1000000000"),
            (1700, "1e-101"),
            (23, "1e3"),
            (701, "x"),
            (16, "maybe"),
            (600, "(1,2)"),
            (1007, "{1,{2}}"),
            (1007, "1,2"),
        ] {
            assert_eq!(text(of, value), None, "{value}");
        }
    }

    #[test]
    fn binary_forms_are_read_as_their_types() {
        assert_eq!(binary(21, &[255, 254]), number_of("-2"));
        assert_eq!(binary(20, &[0, 0, 0, 0, 0, 0, 1, 0]), number_of("256"));
        assert_eq!(binary(16, &[1]), Some(ParameterLiteral::Truth(true)));
        assert_eq!(
            binary(1082, &[0, 0, 0, 0]),
            Some(ParameterLiteral::Date("2000-01-01".to_owned()))
        );
        assert_eq!(
            binary(1184, &[0; 8]),
            Some(ParameterLiteral::Instant(
                "2000-01-01 00:00:00+00:00".to_owned()
            ))
        );
        for (of, bytes) in [
            (23, [0, 0].as_slice()),
            (16, &[2]),
            (1700, &[0]),
            (25, &[255]),
            (25, b"a\0"),
            (1083, &[255; 8]),
            (1114, &[255, 127]),
            (17, &[0]),
            (1007, &[0, 0, 0, 1]),
        ] {
            assert_eq!(binary(of, bytes), None, "{of}");
        }
    }

    #[test]
    fn lists_are_read_in_both_forms() {
        let texts = [Some("a"), Some("b, \"c\""), None, Some("null"), Some("")];
        let texts = texts.map(|of| match of {
            Some(of) => ParameterLiteral::Text(of.to_owned()),
            None => ParameterLiteral::Null,
        });
        assert_eq!(
            text(1009, r#"{a, "b, \"c\"", NULL ,"null",""}"#),
            Some(ParameterLiteral::List(texts.to_vec()))
        );
        assert_eq!(text(1016, "{}"), Some(ParameterLiteral::List(vec![])));
        let words: [u32; 8] = [1, 1, 23, 2, 1, 4, 7, u32::MAX];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let expected = vec![
            ParameterLiteral::Number("7".to_owned()),
            ParameterLiteral::Null,
        ];
        assert_eq!(binary(1007, &bytes), Some(ParameterLiteral::List(expected)));
    }

    #[test]
    fn lists_within_lists_are_refused_before_the_stack_ends() {
        // One dimension of one item each, whose type is a list again.
        let levels = 40_000_u32;
        let words = (0..levels).flat_map(|level| [1, 0, 1007, 1, 1, (levels - 1 - level) * 24]);
        let nested: Vec<u8> = words.flat_map(u32::to_be_bytes).collect();
        assert_eq!(binary(1007, &nested), None);
    }

    #[test]
    fn formats_belong_to_their_values() {
        let value = || Some(Bytes::from_static(b"1"));
        assert!(parameters(&[23], &[], &[value()]).is_ok());
        assert!(parameters(&[], &[0], &[value(), None]).is_ok());
        assert!(parameters(&[], &[0, 0], &[value(), value()]).is_ok());
        for formats in [[2].as_slice(), &[0, 0], &[1]] {
            let wanted = parameters(&[23], formats, &[value(), value(), value()]);
            assert!(wanted.is_err(), "{formats:?}");
        }
    }
}
