//! Languages of the dashboard: which one a reader wants, and how it writes numbers and times.
//!
//! Invariant: a number keeps every digit it has, whatever signs a language writes between them; only shares are rounded.

use crate::numbers::share;
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use tillhouse_model::{ExactDecimal, Window, money};

/// Sign of a negative number.
const MINUS: char = '\u{2212}';

/// Language of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// German.
    German,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::English, Self::German];

    /// Its code: `en`.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }

    /// Its name in itself.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::German => "Deutsch",
        }
    }

    /// The language of a code.
    pub fn named(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.code() == code)
    }

    /// The language that an `Accept-Language` header prefers among those there are; English where it names none of them.
    ///
    /// ```
    /// use tillhouse_page::Language;
    /// assert_eq!(Language::preferred("fr, de-CH;q=0.8, en;q=0.5"), Language::German);
    /// assert_eq!(Language::preferred("fr"), Language::English);
    /// ```
    pub fn preferred(header: &str) -> Self {
        let mut best = (0, Self::default());
        for wish in header.split(',') {
            let mut parts = wish.split(';').map(str::trim);
            let code = parts.next().unwrap_or_default().to_ascii_lowercase();
            let code = code.split('-').next().unwrap_or_default();
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            let weight = weight.map_or(1_000, thousandths);
            if let Some(known) = Self::named(code).filter(|_| weight > best.0) {
                best = (weight, known);
            }
        }
        best.1
    }

    /// A number's text in groups of three with blanks and with a point, as this language writes it.
    fn typeset(self, text: &str) -> String {
        let (group, point) = match self {
            Self::English => (',', '.'),
            Self::German => ('.', ','),
        };
        let sign = |c: char| match c {
            '-' => MINUS,
            ' ' => group,
            '.' => point,
            other => other,
        };
        text.chars().map(sign).collect()
    }

    /// A count.
    pub(crate) fn count(self, value: i64) -> String {
        self.typeset(&money::group_thousands(&value.to_string()))
    }

    /// An amount with the digits that its currency has, or more where it has more, without the currency.
    pub(crate) fn amount(self, value: ExactDecimal, currency: &str) -> String {
        self.typeset(&money::format_amount(value, currency))
    }

    /// An amount and its currency.
    pub(crate) fn money(self, value: ExactDecimal, currency: &str) -> String {
        format!("{}\u{a0}{currency}", self.amount(value, currency))
    }

    /// A quantity.
    pub(crate) fn quantity(self, value: ExactDecimal) -> String {
        self.typeset(&money::group_thousands(&value.trimmed().to_string()))
    }

    /// A part of a whole in per cent; `None` where there is no whole.
    pub(crate) fn share(self, part: i128, whole: i128) -> Option<String> {
        let share = share(part, whole)?;
        Some(self.typeset(share.trim_end_matches(" %")) + "\u{a0}%")
    }

    /// Growth in per cent, with its sign.
    pub(crate) fn growth(self, growth: ExactDecimal) -> String {
        let size = ExactDecimal::new(growth.units.saturating_abs(), growth.scale);
        let size = self.typeset(&money::group_thousands(&size.to_string()));
        match growth.units {
            0 => format!("\u{b1}{size}\u{a0}%"),
            1.. => format!("\u{25b2}\u{a0}+{size}\u{a0}%"),
            _ => format!("\u{25bc}\u{a0}{MINUS}{size}\u{a0}%"),
        }
    }

    /// A day: `5 January 2026`, `5. Januar 2026`.
    pub(crate) fn day(self, date: Date) -> String {
        let month = usize::try_from(date.month() - 1).unwrap_or(0);
        let months = match self {
            Self::English => ENGLISH_MONTHS,
            Self::German => GERMAN_MONTHS,
        };
        let month = months.get(month).copied().unwrap_or_default();
        match self {
            Self::English => format!("{} {month} {}", date.day(), date.year()),
            Self::German => format!("{}. {month} {}", date.day(), date.year()),
        }
    }

    /// A day in few letters: `5 Jan`, `05.01.`.
    pub(crate) fn short_day(self, date: Date) -> String {
        match self {
            Self::English => date.strftime("%-d %b").to_string(),
            Self::German => date.strftime("%d.%m.").to_string(),
        }
    }

    /// An instant on a clock: `5 January 2026, 17:00`.
    pub(crate) fn instant(self, at: Timestamp, zone: &TimeZone) -> String {
        let at = zone.to_datetime(at);
        format!("{}, {}", self.day(at.date()), at.strftime("%H:%M"))
    }

    /// An instant on a clock, with the offset that this has from UTC: `5 January 2026, 17:00 +01:00`.
    pub(crate) fn instant_with_offset(self, at: Timestamp, zone: &TimeZone) -> String {
        let at = at.to_zoned(zone.clone());
        format!("{}, {}", self.day(at.date()), at.strftime("%H:%M %:z"))
    }

    /// A window: its days, or with times where it is not made of days.
    pub(crate) fn window(self, window: &Window, zone: &TimeZone) -> String {
        let (from, to) = (
            zone.to_datetime(window.from()),
            zone.to_datetime(window.to()),
        );
        let midnight = Time::midnight();
        if from.time() != midnight || to.time() != midnight {
            return format!(
                "{} \u{2013} {}",
                self.instant(window.from(), zone),
                self.instant(window.to(), zone)
            );
        }
        let last = to.date().yesterday().unwrap_or(to.date());
        match from.date() == last {
            true => self.day(last),
            false => format!("{} \u{2013} {}", self.day(from.date()), self.day(last)),
        }
    }

    /// Names of the weekdays, Monday first.
    pub(crate) fn weekdays(self) -> [&'static str; 7] {
        match self {
            Self::English => [
                "Monday",
                "Tuesday",
                "Wednesday",
                "Thursday",
                "Friday",
                "Saturday",
                "Sunday",
            ],
            Self::German => [
                "Montag",
                "Dienstag",
                "Mittwoch",
                "Donnerstag",
                "Freitag",
                "Samstag",
                "Sonntag",
            ],
        }
    }
}

const ENGLISH_MONTHS: [&str; 12] = [
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
const GERMAN_MONTHS: [&str; 12] = [
    "Januar",
    "Februar",
    "M\u{e4}rz",
    "April",
    "Mai",
    "Juni",
    "Juli",
    "August",
    "September",
    "Oktober",
    "November",
    "Dezember",
];

/// `0.85` in thousandths; what is no quality counts as none.
fn thousandths(text: &str) -> u32 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let value = whole.parse::<u32>().ok().zip(digits.parse::<u32>().ok());
    value.map_or(0, |(whole, part)| {
        whole.saturating_mul(1_000).saturating_add(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits_in_every_language() {
        let value = ExactDecimal::new(-12_345_678_912_345, 4);
        assert_eq!(
            Language::English.amount(value, "EUR"),
            "\u{2212}1,234,567,891.2345"
        );
        assert_eq!(
            Language::German.amount(value, "EUR"),
            "\u{2212}1.234.567.891,2345"
        );
        assert_eq!(
            Language::German.money(ExactDecimal::new(1_200_000, 4), "JPY"),
            "120\u{a0}JPY"
        );
        assert_eq!(Language::German.count(1_234_567), "1.234.567");
        assert_eq!(
            Language::German.quantity(ExactDecimal::new(1_500, 3)),
            "1,5"
        );
        assert_eq!(Language::German.share(1, 3).as_deref(), Some("33,3\u{a0}%"));
        assert_eq!(
            Language::German.growth(ExactDecimal::new(-250, 2)),
            "\u{25bc}\u{a0}\u{2212}2,50\u{a0}%"
        );
        assert_eq!(
            Language::English.growth(ExactDecimal::new(0, 2)),
            "\u{b1}0.00\u{a0}%"
        );
    }

    #[test]
    fn times_are_written_as_the_language_does() {
        let at: Timestamp = "2026-03-05T16:00:00Z".parse().unwrap();
        let zone = tillhouse_model::time_zone::time_zone("Europe/Berlin").unwrap();
        assert_eq!(Language::English.instant(at, &zone), "5 March 2026, 17:00");
        assert_eq!(
            Language::German.instant(at, &zone),
            "5. M\u{e4}rz 2026, 17:00"
        );
        let window = |from: &str, to: &str| {
            let window = Window::new(from.parse().unwrap(), to.parse().unwrap()).unwrap();
            Language::German.window(&window, &TimeZone::UTC)
        };
        assert_eq!(
            window("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
            "1. Januar 2026 \u{2013} 31. Januar 2026"
        );
        assert_eq!(
            window("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            "1. Januar 2026"
        );
        assert!(window("2026-01-01T00:00:00Z", "2026-01-01T06:30:00Z").ends_with("06:30"));
    }

    #[test]
    fn the_language_is_the_one_that_is_wanted_most() {
        for (header, wanted) in [
            ("", Language::English),
            ("de", Language::German),
            ("de-AT,de;q=0.9,en;q=0.8", Language::German),
            ("en-GB,de;q=0.9", Language::English),
            ("fr;q=1.0,DE;q=0.3,en;q=0.2", Language::German),
            ("de;q=0", Language::English),
            ("de;q=x", Language::English),
        ] {
            assert_eq!(Language::preferred(header), wanted, "{header}");
        }
        assert_eq!(Language::named("de"), Some(Language::German));
        assert_eq!(Language::named("fr"), None);
    }
}
