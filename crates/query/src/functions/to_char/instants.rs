//! Patterns of instants, days, times and intervals.
//!
//! Invariant: the longest keyword at a place is the one that counts, as in PostgreSQL; text in double quotes, and every character that begins no keyword, stands for itself.

use datafusion::common::{Result, exec_err};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use std::fmt::Write;

/// A moment on a clock, or a span of time.
pub(super) struct Moment {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micros: i64,
    /// The calendar's own words about the day; none of a span.
    date: Option<CivilDay>,
    /// Seconds east of UTC; none for a moment without a zone.
    offset: Option<i64>,
}

struct CivilDay {
    of_year: i64,
    /// From 1, Monday, to 7.
    weekday: i64,
    iso_year: i64,
    iso_week: i64,
    /// Days since 4714-11-24 before Christ.
    julian: i64,
}

impl Moment {
    /// An instant in microseconds, at so many microseconds east of UTC.
    pub(super) fn of_instant(micros: i64, offset: Option<i64>) -> Result<Self> {
        let wall = micros.saturating_add(offset.unwrap_or(0));
        let Ok(instant) = Timestamp::from_microsecond(wall) else {
            return exec_err!("to_char knows the years from -9999 to 9999");
        };
        let at: DateTime = Offset::UTC.to_datetime(instant);
        let week = at.date().iso_week_date();
        Ok(Self {
            year: at.year().into(),
            month: at.month().into(),
            day: at.day().into(),
            hour: at.hour().into(),
            minute: at.minute().into(),
            second: at.second().into(),
            micros: i64::from(at.subsec_nanosecond()) / 1_000,
            date: Some(CivilDay {
                of_year: at.date().day_of_year().into(),
                weekday: at.weekday().to_monday_one_offset().into(),
                iso_year: week.year().into(),
                iso_week: week.week().into(),
                julian: wall.div_euclid(86_400_000_000) + 2_440_588,
            }),
            offset: offset.map(|offset| offset / 1_000_000),
        })
    }

    /// A span of months, days and microseconds.
    pub(super) fn of_interval(months: i64, days: i64, micros: i64) -> Self {
        let seconds = micros / 1_000_000;
        Self {
            year: months / 12,
            month: months % 12,
            day: days,
            hour: seconds / 3_600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
            micros: micros % 1_000_000,
            date: None,
            offset: None,
        }
    }

    fn day(&self) -> Result<&CivilDay> {
        match &self.date {
            Some(day) => Ok(day),
            None => {
                exec_err!("a span of time has no day of the calendar, which the pattern asks for")
            }
        }
    }

    /// The year as people count it: there is none before 1.
    fn counted_year(&self) -> i64 {
        if self.date.is_some() && self.year <= 0 {
            1 - self.year
        } else {
            self.year
        }
    }

    fn era(&self, after: &'static str, before: &'static str) -> &'static str {
        if self.year <= 0 { before } else { after }
    }
}

/// Case in which a word is written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Letters {
    Upper,
    Capital,
    Lower,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Field {
    Hour12,
    Hour24,
    Minute,
    Second,
    Milliseconds,
    Microseconds,
    /// The first so many digits of a second's part.
    Fraction(u32),
    SecondsOfDay,
    HalfOfDay(Letters, bool),
    /// The year with a comma behind its thousands.
    YearWithComma,
    /// The last so many digits of the year.
    Year(usize),
    IsoYear(usize),
    Era(Letters, bool),
    MonthName(Letters),
    MonthShort(Letters),
    Month,
    RomanMonth(Letters),
    DayName(Letters),
    DayShort(Letters),
    DayOfYear,
    IsoDayOfYear,
    DayOfMonth,
    DayOfWeek,
    IsoDayOfWeek,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Century,
    Julian,
    Quarter,
    Zone(Letters),
    ZoneHours,
    ZoneMinutes,
    Offset,
}

/// Keywords; of two that begin alike the longer one comes first.
const FIELDS: &[(&str, Field)] = {
    use Field::{
        Century, DayName, DayOfMonth, DayOfWeek, DayOfYear, DayShort, Era, Fraction, HalfOfDay,
        Hour12, Hour24, IsoDayOfWeek, IsoDayOfYear, IsoWeek, IsoYear, Julian, Microseconds,
        Milliseconds, Minute, Month, MonthName, MonthShort, Offset, Quarter, RomanMonth, Second,
        SecondsOfDay, WeekOfMonth, WeekOfYear, Year, YearWithComma, Zone, ZoneHours, ZoneMinutes,
    };
    use Letters::{Capital, Lower, Upper};
    &[
        ("A.D.", Era(Upper, true)),
        ("A.M.", HalfOfDay(Upper, true)),
        ("AD", Era(Upper, false)),
        ("AM", HalfOfDay(Upper, false)),
        ("B.C.", Era(Upper, true)),
        ("BC", Era(Upper, false)),
        ("P.M.", HalfOfDay(Upper, true)),
        ("PM", HalfOfDay(Upper, false)),
        ("a.d.", Era(Lower, true)),
        ("a.m.", HalfOfDay(Lower, true)),
        ("ad", Era(Lower, false)),
        ("am", HalfOfDay(Lower, false)),
        ("b.c.", Era(Lower, true)),
        ("bc", Era(Lower, false)),
        ("p.m.", HalfOfDay(Lower, true)),
        ("pm", HalfOfDay(Lower, false)),
        ("CC", Century),
        ("cc", Century),
        ("DAY", DayName(Upper)),
        ("Day", DayName(Capital)),
        ("day", DayName(Lower)),
        ("DDD", DayOfYear),
        ("ddd", DayOfYear),
        ("DD", DayOfMonth),
        ("dd", DayOfMonth),
        ("DY", DayShort(Upper)),
        ("Dy", DayShort(Capital)),
        ("dy", DayShort(Lower)),
        ("D", DayOfWeek),
        ("d", DayOfWeek),
        ("FF1", Fraction(1)),
        ("FF2", Fraction(2)),
        ("FF3", Fraction(3)),
        ("FF4", Fraction(4)),
        ("FF5", Fraction(5)),
        ("FF6", Fraction(6)),
        ("ff1", Fraction(1)),
        ("ff2", Fraction(2)),
        ("ff3", Fraction(3)),
        ("ff4", Fraction(4)),
        ("ff5", Fraction(5)),
        ("ff6", Fraction(6)),
        ("HH24", Hour24),
        ("hh24", Hour24),
        ("HH12", Hour12),
        ("hh12", Hour12),
        ("HH", Hour12),
        ("hh", Hour12),
        ("IDDD", IsoDayOfYear),
        ("iddd", IsoDayOfYear),
        ("ID", IsoDayOfWeek),
        ("id", IsoDayOfWeek),
        ("IW", IsoWeek),
        ("iw", IsoWeek),
        ("IYYY", IsoYear(4)),
        ("iyyy", IsoYear(4)),
        ("IYY", IsoYear(3)),
        ("iyy", IsoYear(3)),
        ("IY", IsoYear(2)),
        ("iy", IsoYear(2)),
        ("I", IsoYear(1)),
        ("i", IsoYear(1)),
        ("J", Julian),
        ("j", Julian),
        ("MI", Minute),
        ("mi", Minute),
        ("MM", Month),
        ("mm", Month),
        ("MONTH", MonthName(Upper)),
        ("Month", MonthName(Capital)),
        ("month", MonthName(Lower)),
        ("MON", MonthShort(Upper)),
        ("Mon", MonthShort(Capital)),
        ("mon", MonthShort(Lower)),
        ("MS", Milliseconds),
        ("ms", Milliseconds),
        ("OF", Offset),
        ("of", Offset),
        ("Q", Quarter),
        ("q", Quarter),
        ("RM", RomanMonth(Upper)),
        ("rm", RomanMonth(Lower)),
        ("SSSSS", SecondsOfDay),
        ("SSSS", SecondsOfDay),
        ("sssss", SecondsOfDay),
        ("ssss", SecondsOfDay),
        ("SS", Second),
        ("ss", Second),
        ("TZH", ZoneHours),
        ("tzh", ZoneHours),
        ("TZM", ZoneMinutes),
        ("tzm", ZoneMinutes),
        ("TZ", Zone(Upper)),
        ("tz", Zone(Lower)),
        ("US", Microseconds),
        ("us", Microseconds),
        ("WW", WeekOfYear),
        ("ww", WeekOfYear),
        ("W", WeekOfMonth),
        ("w", WeekOfMonth),
        ("Y,YYY", YearWithComma),
        ("y,yyy", YearWithComma),
        ("YYYY", Year(4)),
        ("yyyy", Year(4)),
        ("YYY", Year(3)),
        ("yyy", Year(3)),
        ("YY", Year(2)),
        ("yy", Year(2)),
        ("Y", Year(1)),
        ("y", Year(1)),
    ]
};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Ending {
    None,
    Upper,
    Lower,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Field {
        field: Field,
        /// Without blanks and zeros that fill it up.
        is_bare: bool,
        ending: Ending,
    },
}

/// A pattern that was read.
#[derive(Debug)]
pub(super) struct InstantPattern {
    parts: Vec<Part>,
}

impl InstantPattern {
    pub(super) fn read(pattern: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = pattern;
        let text = |parts: &mut Vec<Part>, c: char| match parts.last_mut() {
            Some(Part::Text(text)) => text.push(c),
            _ => parts.push(Part::Text(c.to_string())),
        };
        let mut is_bare = false;
        while let Some(c) = rest.chars().next() {
            if let Some(behind) = strip(rest, "FM") {
                (rest, is_bare) = (behind, true);
                continue;
            }
            if let Some(behind) = strip(rest, "FX") {
                rest = behind;
                continue;
            }
            if strip(rest, "TM").is_some() {
                return exec_err!(
                    "TM in a pattern of to_char, names in the server's language, is not known here; without it they are in English"
                );
            }
            let found = FIELDS
                .iter()
                .find_map(|(name, field)| Some((*field, rest.strip_prefix(name)?)))
                .or_else(|| mixed(rest));
            if let Some((field, mut behind)) = found {
                let mut ending = Ending::None;
                for (suffix, kind) in [("TH", Ending::Upper), ("th", Ending::Lower)] {
                    if let Some(more) = behind.strip_prefix(suffix) {
                        (behind, ending) = (more, kind);
                        break;
                    }
                }
                if strip(behind, "SP").is_some() {
                    return exec_err!(
                        "SP in a pattern of to_char, numbers in words, is not known here"
                    );
                }
                parts.push(Part::Field {
                    field,
                    is_bare,
                    ending,
                });
                (rest, is_bare) = (behind, false);
                continue;
            }
            let mut behind = rest[c.len_utf8()..].chars();
            match c {
                '"' => {
                    while let Some(c) = behind.next() {
                        match c {
                            '"' => break,
                            '\\' => match behind.next() {
                                Some(c) => text(&mut parts, c),
                                None => break,
                            },
                            c => text(&mut parts, c),
                        }
                    }
                }
                '\\' if behind.clone().next() == Some('"') => {
                    behind.next();
                    text(&mut parts, '"');
                }
                '%' if behind
                    .clone()
                    .next()
                    .is_some_and(|c| c.is_ascii_alphabetic() || c == '-') =>
                {
                    return exec_err!(
                        "{pattern:?} is a format of strftime(time, format); to_char takes PostgreSQL's patterns, like 'YYYY-MM-DD HH24:MI'"
                    );
                }
                c => text(&mut parts, c),
            }
            rest = behind.as_str();
            is_bare = false;
        }
        Ok(Self { parts })
    }

    pub(super) fn text(&self, of: &Moment) -> Result<String> {
        let mut to = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => to.push_str(text),
                Part::Field {
                    field,
                    is_bare,
                    ending,
                } => {
                    let from = to.len();
                    write_field(&mut to, of, *field, *is_bare)?;
                    let number = &to[from..];
                    if *ending != Ending::None && number.ends_with(|c: char| c.is_ascii_digit()) {
                        let ordinal = ordinal(number);
                        match ending {
                            Ending::Upper => to.push_str(&ordinal.to_uppercase()),
                            _ => to.push_str(ordinal),
                        }
                    }
                }
            }
        }
        Ok(to)
    }
}

/// Rest behind a prefix in either case.
fn strip<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let start = text.get(..prefix.len())?;
    start
        .eq_ignore_ascii_case(prefix)
        .then(|| text.get(prefix.len()..))
        .flatten()
}

/// A keyword of numbers written in mixed case: PostgreSQL reads those as if they were upper case.
fn mixed(text: &str) -> Option<(Field, &str)> {
    FIELDS.iter().find_map(|(name, field)| {
        let is_number = !matches!(
            field,
            Field::DayName(_)
                | Field::DayShort(_)
                | Field::MonthName(_)
                | Field::MonthShort(_)
                | Field::HalfOfDay(..)
                | Field::Era(..)
                | Field::RomanMonth(_)
                | Field::Zone(_)
        );
        Some((*field, strip(text, name).filter(|_| is_number)?))
    })
}

/// The ending of an ordinal number.
fn ordinal(number: &str) -> &'static str {
    let digits = number.as_bytes();
    let last = digits.last().copied();
    let is_teen = digits.len() > 1 && digits.get(digits.len() - 2) == Some(&b'1');
    match last {
        Some(b'1') if !is_teen => "st",
        Some(b'2') if !is_teen => "nd",
        Some(b'3') if !is_teen => "rd",
        _ => "th",
    }
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];
const ROMAN: [&str; 12] = [
    "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII",
];

fn name(names: &[&'static str], number: i64) -> &'static str {
    usize::try_from(number - 1)
        .ok()
        .and_then(|at| names.get(at))
        .copied()
        .unwrap_or("")
}

fn word(to: &mut String, word: &str, letters: Letters, width: usize) {
    let from = to.len();
    match letters {
        Letters::Upper => to.push_str(&word.to_uppercase()),
        Letters::Capital => to.push_str(word),
        Letters::Lower => to.push_str(&word.to_lowercase()),
    }
    while to.len() - from < width {
        to.push(' ');
    }
}

/// A number with zeros before it, unless it is to be bare; the sign of a negative one takes no place.
fn digits(to: &mut String, number: i64, width: usize, is_bare: bool) {
    if number < 0 {
        to.push('-');
    }
    let number = number.unsigned_abs();
    // Writing into a text cannot fail.
    let _ = if is_bare {
        write!(to, "{number}")
    } else {
        write!(to, "{number:0width$}")
    };
}

fn half(hour: i64, letters: Letters, has_points: bool) -> &'static str {
    let is_after = hour.rem_euclid(24) >= 12;
    match (is_after, letters, has_points) {
        (false, Letters::Lower, false) => "am",
        (false, Letters::Lower, true) => "a.m.",
        (false, _, false) => "AM",
        (false, _, true) => "A.M.",
        (true, Letters::Lower, false) => "pm",
        (true, Letters::Lower, true) => "p.m.",
        (true, _, false) => "PM",
        (true, _, true) => "P.M.",
    }
}

fn short_year(to: &mut String, year: i64, places: usize, is_bare: bool) {
    let modulus = match places {
        1 => 10,
        2 => 100,
        3 => 1_000,
        _ => return digits(to, year, 4, is_bare),
    };
    digits(to, year % modulus, places, is_bare);
}

fn write_field(to: &mut String, of: &Moment, field: Field, is_bare: bool) -> Result<()> {
    let width = |wide: usize| if is_bare { 0 } else { wide };
    match field {
        Field::Hour12 => {
            let hour = of.hour % 12;
            digits(to, if hour == 0 { 12 } else { hour }, 2, is_bare);
        }
        Field::Hour24 => digits(to, of.hour, 2, is_bare),
        Field::Minute => digits(to, of.minute, 2, is_bare),
        Field::Second => digits(to, of.second, 2, is_bare),
        Field::Milliseconds => digits(to, of.micros / 1_000, 3, false),
        Field::Microseconds => digits(to, of.micros, 6, false),
        Field::Fraction(places) => {
            let part = of.micros / 10_i64.pow(6 - places);
            digits(to, part, usize::try_from(places).unwrap_or(6), false);
        }
        Field::SecondsOfDay => digits(to, of.hour * 3_600 + of.minute * 60 + of.second, 0, true),
        Field::HalfOfDay(letters, has_points) => to.push_str(half(of.hour, letters, has_points)),
        Field::YearWithComma => {
            let year = of.counted_year();
            let _ = write!(to, "{},{:03}", year / 1_000, year % 1_000);
        }
        Field::Year(places) => short_year(to, of.counted_year(), places, is_bare),
        Field::IsoYear(places) => {
            let year = of.day()?.iso_year;
            let year = if year <= 0 { 1 - year } else { year };
            short_year(to, year, places, is_bare);
        }
        Field::Era(letters, has_points) => {
            of.day()?;
            to.push_str(match (letters, has_points) {
                (Letters::Lower, false) => of.era("ad", "bc"),
                (Letters::Lower, true) => of.era("a.d.", "b.c."),
                (_, false) => of.era("AD", "BC"),
                (_, true) => of.era("A.D.", "B.C."),
            });
        }
        Field::MonthName(letters) => {
            of.day()?;
            word(to, name(&MONTHS, of.month), letters, width(9));
        }
        Field::MonthShort(letters) => {
            of.day()?;
            word(
                to,
                name(&MONTHS, of.month).get(..3).unwrap_or(""),
                letters,
                0,
            );
        }
        Field::Month => digits(to, of.month, 2, is_bare),
        Field::RomanMonth(letters) => {
            word(to, name(&ROMAN, of.month), letters, width(4));
        }
        Field::DayName(letters) => word(to, name(&DAYS, of.day()?.weekday), letters, width(9)),
        Field::DayShort(letters) => {
            let name = name(&DAYS, of.day()?.weekday);
            word(to, name.get(..3).unwrap_or(""), letters, 0);
        }
        Field::DayOfYear => digits(to, of.day()?.of_year, 3, is_bare),
        Field::IsoDayOfYear => {
            let day = of.day()?;
            digits(to, (day.iso_week - 1) * 7 + day.weekday, 3, is_bare);
        }
        Field::DayOfMonth => digits(to, of.day, 2, is_bare),
        Field::DayOfWeek => digits(to, of.day()?.weekday % 7 + 1, 0, true),
        Field::IsoDayOfWeek => digits(to, of.day()?.weekday, 0, true),
        Field::WeekOfMonth => digits(to, (of.day - 1) / 7 + 1, 0, true),
        Field::WeekOfYear => digits(to, (of.day()?.of_year - 1) / 7 + 1, 2, is_bare),
        Field::IsoWeek => digits(to, of.day()?.iso_week, 2, is_bare),
        Field::Century => {
            let century = if of.date.is_none() {
                of.year / 100
            } else if of.year > 0 {
                (of.year - 1) / 100 + 1
            } else {
                of.year / 100 - 1
            };
            digits(to, century, 2, is_bare);
        }
        Field::Julian => digits(to, of.day()?.julian, 0, true),
        Field::Quarter => {
            if of.month > 0 {
                digits(to, (of.month - 1) / 3 + 1, 0, true);
            }
        }
        Field::Zone(letters) => match of.offset {
            Some(0) => word(to, "UTC", letters, 0),
            Some(offset) => push_offset(to, offset),
            None => {}
        },
        Field::ZoneHours => {
            if let Some(offset) = of.offset {
                to.push(if offset < 0 { '-' } else { '+' });
                digits(to, offset.abs() / 3_600, 2, false);
            }
        }
        Field::ZoneMinutes => {
            if let Some(offset) = of.offset {
                digits(to, offset.abs() / 60 % 60, 2, false);
            }
        }
        Field::Offset => {
            if let Some(offset) = of.offset {
                push_offset(to, offset);
            }
        }
    }
    Ok(())
}

fn push_offset(to: &mut String, offset: i64) {
    to.push(if offset < 0 { '-' } else { '+' });
    digits(to, offset.abs() / 3_600, 2, false);
    if offset.abs() % 3_600 != 0 {
        to.push(':');
        digits(to, offset.abs() / 60 % 60, 2, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of PostgreSQL 15.
    #[test]
    fn patterns_are_postgresqls() {
        let at: Timestamp = "2026-03-02T14:05:09.012345Z".parse().unwrap();
        let moment = Moment::of_instant(at.as_microsecond(), None).unwrap();
        for (pattern, expected) in [
            ("YYYY-MM-DD HH24:MI:SS", "2026-03-02 14:05:09"),
            ("FMDay, FMDD FMMonth YYYY", "Monday, 2 March 2026"),
            (
                "Day|Month|Dy|Mon|DY|mon",
                "Monday   |March    |Mon|Mar|MON|mar",
            ),
            ("HH12:MI AM, a.m.", "02:05 PM, p.m."),
            ("MS US FF3 FF6 SSSS", "012 012345 012 012345 50709"),
            ("DDD D ID W WW IW IYYY IDDD", "061 2 1 1 09 10 2026 064"),
            ("Q CC J RM|", "1 21 2461102 III |"),
            ("FMDDth DDTH", "2nd 02ND"),
            ("\"YYYY\" yyyy Y,YYY YYY YY Y", "YYYY 2026 2,026 026 26 6"),
            ("YYYY\"W\"IW", "2026W10"),
            ("é YYYY·MM", "é 2026·03"),
        ] {
            let read = InstantPattern::read(pattern).unwrap();
            assert_eq!(read.text(&moment).unwrap(), expected, "{pattern}");
        }
        for pattern in ["%Y-%m", "TMMonth", "DDSP"] {
            assert!(InstantPattern::read(pattern).is_err(), "{pattern}");
        }
    }
}
