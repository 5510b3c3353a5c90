//! Texts of spans of time with a clock's hours, `1 day 00:00:01`, with years and months, `1-2`, with `ago`, or of ISO 8601, `P1DT2H`.
//!
//! Invariant: the span is the one that PostgreSQL reads, and written in numbers with units, which DataFusion knows alone. A text that is none
//! of these stays as it is, to be read or to be an error. Behind `INTERVAL '...'` may stand the fields that it has: the last of them is the unit of a number without one, and
//! what is less than that is cut off.
//!
//! ```text
//!   INTERVAL '1 day 02:03' DAY              a day
//!   INTERVAL '1 2' DAY TO HOUR              a day and two hours
//!   INTERVAL '2:03' MINUTE TO SECOND        two minutes and three seconds
//! ```

use arrow::compute::kernels::cast_utils::{
    IntervalParseConfig, IntervalUnit, parse_interval_month_day_nano_config,
};
use std::borrow::Cow;

/// A text of a span in numbers with units.
pub(crate) fn with_units(text: &str) -> Cow<'_, str> {
    match parts(text, &SECONDS) {
        Some(parts) if parts != text => Cow::Owned(parts),
        _ => Cow::Borrowed(text),
    }
}

/// Field of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SpanField {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
}

/// The fields that a span has, from the greatest to the least.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanFields {
    first: SpanField,
    last: SpanField,
    /// Digits that seconds have behind the point.
    digits: Option<u32>,
}

/// A span that has no fields behind it.
const SECONDS: SpanFields = SpanFields {
    first: SpanField::Year,
    last: SpanField::Second,
    digits: None,
};

const NANOS_OF_SECOND: i64 = 1_000_000_000;
/// Digits of a second that PostgreSQL has.
const MICROS: u32 = 6;

impl SpanFields {
    /// The fields of `DAY`, or of `DAY TO SECOND`; `None` for those that do not go together.
    pub(crate) fn new(
        first: SpanField,
        last: Option<SpanField>,
        digits: Option<u32>,
    ) -> Option<Self> {
        use SpanField::{Day, Hour, Minute, Month, Second, Year};
        let fits = match (first, last) {
            (_, None) | (Year, Some(Month)) => true,
            (Day | Hour | Minute, Some(last)) => {
                matches!(last, Hour | Minute | Second) && first < last
            }
            _ => false,
        };
        let last = last.unwrap_or(first);
        fits.then_some(Self {
            first,
            last,
            digits,
        })
    }

    const fn unit(self) -> &'static str {
        match self.last {
            SpanField::Year => "years",
            SpanField::Month => "months",
            SpanField::Day => "days",
            SpanField::Hour => "hours",
            SpanField::Minute => "minutes",
            SpanField::Second => "seconds",
        }
    }

    /// A text of a span, cut off behind the last field, in numbers with units; `None` for what is no span.
    pub(crate) fn of(self, text: &str) -> Option<String> {
        let said = parts(text, &self);
        let config = IntervalParseConfig::new(IntervalUnit::Second);
        let said = said.as_deref().unwrap_or(text);
        let span = parse_interval_month_day_nano_config(said, config).ok()?;
        let (mut months, mut days, mut nanos) = (span.months, span.days, span.nanoseconds);
        let unit = match self.last {
            SpanField::Year | SpanField::Month | SpanField::Day => {
                if self.last != SpanField::Day {
                    days = 0;
                }
                if self.last == SpanField::Year {
                    months -= months % 12;
                }
                nanos = 0;
                1
            }
            SpanField::Hour => 3_600 * NANOS_OF_SECOND,
            SpanField::Minute => 60 * NANOS_OF_SECOND,
            SpanField::Second => {
                if let Some(digits) = self.digits.filter(|digits| *digits < MICROS) {
                    let unit = NANOS_OF_SECOND / 10_i64.pow(digits);
                    nanos = nanos.checked_add(nanos.signum() * (unit / 2))?;
                    unit
                } else {
                    1
                }
            }
        };
        nanos -= nanos % unit;
        Some(format!("{months} months {days} days {nanos} nanoseconds"))
    }
}

fn parts(text: &str, fields: &SpanFields) -> Option<String> {
    if let Some(said) = designated(text.trim()) {
        return Some(said);
    }
    let mut words: Vec<&str> = text.split_whitespace().collect();
    let is_ago = words
        .pop_if(|word| word.eq_ignore_ascii_case("ago"))
        .is_some();
    let mut words = words.into_iter().peekable();
    words.next_if_eq(&"@");
    let mut said: Vec<String> = Vec::new();
    while let Some(word) = words.next() {
        let (is_negative, amount) = match word.strip_prefix('-') {
            Some(amount) => (true, amount),
            None => (false, word.strip_prefix('+').unwrap_or(word)),
        };
        let sign = if is_negative == is_ago { "" } else { "-" };
        if amount.contains(':') {
            for (number, unit) in on_clock(amount, fields)? {
                said.push(format!("{sign}{number} {unit}"));
            }
        } else if is_number(amount) {
            let unit = match words.peek() {
                None => fields.unit(),
                Some(next) if next.contains(':') => "days",
                // Before hours there are days.
                Some(next) if fields.last == SpanField::Hour && is_number(next) => "days",
                Some(_) => words.next().filter(|unit| is_unit(unit))?,
            };
            said.push(format!("{sign}{amount} {unit}"));
        } else if let Some((years, months)) = amount.split_once('-') {
            let is_of_year = months.parse().is_ok_and(|of: u8| of < 12);
            if !is_whole(years) || !is_whole(months) || !is_of_year {
                return None;
            }
            said.push(format!("{sign}{years} years {sign}{months} months"));
        } else {
            let unit = amount.find(char::is_alphabetic)?;
            let (number, unit) = amount.split_at_checked(unit)?;
            if !is_number(number) || !is_unit(unit) {
                return None;
            }
            said.push(format!("{sign}{number} {unit}"));
        }
    }
    (!said.is_empty()).then(|| said.join(" "))
}

/// A span of ISO 8601: behind `P` numbers of years, months, weeks and days, behind `T` of hours, minutes and seconds.
fn designated(text: &str) -> Option<String> {
    let mut rest = text.strip_prefix('P')?;
    let (mut said, mut is_clock) = (Vec::new(), false);
    while !rest.is_empty() {
        if let Some(clock) = rest.strip_prefix('T').filter(|_| !is_clock) {
            (rest, is_clock) = (clock, true);
            continue;
        }
        let (number, designator) = rest.split_at_checked(rest.find(char::is_alphabetic)?)?;
        let mut letters = designator.chars();
        let unit = match (letters.next()?, is_clock) {
            ('Y', false) => "years",
            ('M', false) => "months",
            ('W', false) => "weeks",
            ('D', false) => "days",
            ('H', true) => "hours",
            ('M', true) => "minutes",
            ('S', true) => "seconds",
            _ => return None,
        };
        if !is_number(number.strip_prefix('-').unwrap_or(number)) {
            return None;
        }
        said.push(format!("{number} {unit}"));
        rest = letters.as_str();
    }
    (!said.is_empty()).then(|| said.join(" "))
}

/// Hours and minutes, with seconds or without; minutes and seconds, where these have a fraction or are the fields that are there.
fn on_clock<'t>(text: &'t str, fields: &SpanFields) -> Option<Vec<(&'t str, &'static str)>> {
    let is_of_minutes = fields.first == SpanField::Minute && fields.last == SpanField::Second;
    let numbers: Vec<&str> = text.split(':').collect();
    let named = match numbers.as_slice() {
        [minutes, seconds] if is_of_minutes || seconds.contains('.') => {
            vec![(*minutes, "minutes"), (*seconds, "seconds")]
        }
        [hours, minutes] => vec![(*hours, "hours"), (*minutes, "minutes")],
        [hours, minutes, seconds] => vec![
            (*hours, "hours"),
            (*minutes, "minutes"),
            (*seconds, "seconds"),
        ],
        _ => return None,
    };
    let fits = |(number, unit): &(&str, &str)| match *unit {
        "hours" => is_whole(number),
        "minutes" => is_whole(number) && number.parse().is_ok_and(|of: u8| of < 60),
        _ => {
            let whole = number.split('.').next().unwrap_or(number);
            is_number(number) && whole.parse().is_ok_and(|of: u8| of <= 60)
        }
    };
    named.iter().all(fits).then_some(named)
}

fn is_whole(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_number(text: &str) -> bool {
    match text.split_once('.') {
        Some((whole, fraction)) => (whole.is_empty() || is_whole(whole)) && is_whole(fraction),
        None => is_whole(text),
    }
}

fn is_unit(text: &str) -> bool {
    !text.is_empty() && text.chars().all(char::is_alphabetic)
}

#[cfg(test)]
mod tests {
    use super::{SpanField, SpanFields, with_units};

    #[test]
    fn a_span_ends_with_its_last_field() {
        use SpanField::{Day, Hour, Minute, Month, Second, Year};
        for (text, first, last, (months, days, seconds)) in [
            ("2", Day, None, (0, 2, "0")),
            ("-2", Year, Some(Month), (-2, 0, "0")),
            ("1-2", Year, Some(Month), (14, 0, "0")),
            ("1-2", Year, None, (12, 0, "0")),
            ("1.5", Day, None, (0, 1, "0")),
            ("1 2", Day, Some(Hour), (0, 1, "7200000000000")),
            ("1 2:03:04", Day, Some(Minute), (0, 1, "7380000000000")),
            ("1 2:03:04", Day, Some(Second), (0, 1, "7384000000000")),
            ("-1 2:03:04", Day, Some(Second), (0, -1, "7384000000000")),
            ("5:06", Minute, Some(Second), (0, 0, "306000000000")),
            ("5:06", Hour, Some(Minute), (0, 0, "18360000000000")),
            ("-5:06", Hour, None, (0, 0, "-18000000000000")),
            ("1 year 3 days 04:05:06", Month, None, (12, 0, "0")),
        ] {
            let fields = SpanFields::new(first, last, None).unwrap();
            let said = format!("{months} months {days} days {seconds} nanoseconds");
            assert_eq!(fields.of(text), Some(said), "{text} {first:?} {last:?}");
        }
        let tenths = SpanFields::new(Second, None, Some(1)).unwrap();
        let said = |nanos: &str| Some(format!("0 months 0 days {nanos} nanoseconds"));
        assert_eq!(tenths.of("1.25"), said("1300000000"));
        assert_eq!(tenths.of("-1.25"), said("-1300000000"));
        assert_eq!(tenths.of("1.2"), said("1200000000"));
        assert_eq!(tenths.of("a while"), None);
        for (first, last) in [(Year, Second), (Second, Minute), (Day, Day), (Month, Year)] {
            assert!(SpanFields::new(first, Some(last), None).is_none());
        }
    }

    #[test]
    fn a_span_is_numbers_with_units() {
        for (text, said) in [
            ("1 day 00:00:01", "1 day 00 hours 00 minutes 01 seconds"),
            ("3 4:05:06.5", "3 days 4 hours 05 minutes 06.5 seconds"),
            ("-1 day -02:03", "-1 day -02 hours -03 minutes"),
            ("1-2 3 4:05", "1 years 2 months 3 days 4 hours 05 minutes"),
            ("-1-2", "-1 years -2 months"),
            ("+1 mon  -2days", "1 mon -2 days"),
            ("1:02.5", "1 minutes 02.5 seconds"),
            ("@ 1 hour", "1 hour"),
            ("1 day -2 hours ago", "-1 day 2 hours"),
            ("90", "90 seconds"),
            (
                "P1Y2M3DT4H5M6.5S",
                "1 years 2 months 3 days 4 hours 5 minutes 6.5 seconds",
            ),
            ("PT30M", "30 minutes"),
            (" P2W-1D ", "2 weeks -1 days"),
            ("50 days 17:21:36", "50 days 17 hours 21 minutes 36 seconds"),
        ] {
            assert_eq!(with_units(text), said, "{text}");
        }
    }

    #[test]
    fn what_is_no_such_span_stays_as_it_is() {
        for text in [
            "1 day",
            "1.5 hours -30 minutes",
            "",
            "ago",
            "1:2:3:4",
            "1 day 1:60",
            "1:02:61",
            "a:b",
            "1 2 3",
            "1-x",
            "P",
            "PT",
            "P1H",
            "P1",
            "PT1MT1S",
            "--1 day",
        ] {
            assert_eq!(with_units(text), text);
        }
    }
}
