//! Numbers and dates as the one-file page shows them, and sums that every page needs.
//!
//! Invariant: a number keeps every digit it has; only shares and positions on a chart are rounded.

use jiff::Timestamp;
use jiff::civil::Time;
use jiff::tz::TimeZone;
use tillhouse_model::money::minor_digits;
use tillhouse_model::{ExactDecimal, Window, money};

/// Between groups of three digits: narrow, and never broken.
const GAP: char = '\u{202f}';

const MINUS: char = '\u{2212}';

/// A number's text with its whole part in groups of three.
pub(crate) fn grouped(text: &str) -> String {
    typeset(&money::group_thousands(text))
}

/// A number's text with the signs that print has for minus and blank.
fn typeset(text: &str) -> String {
    let sign = |c: char| match c {
        '-' => MINUS,
        ' ' => GAP,
        other => other,
    };
    text.chars().map(sign).collect()
}

/// A count.
pub(crate) fn count(value: i64) -> String {
    grouped(&value.to_string())
}

/// An amount with the digits its currency has, or with more where it has more.
pub(crate) fn amount(value: ExactDecimal, currency: &str) -> String {
    typeset(&money::format_amount(value, currency))
}

/// A quantity.
pub(crate) fn quantity(value: ExactDecimal) -> String {
    grouped(&value.trimmed().to_string())
}

/// A part of a whole in per cent with one digit after the point; `None` where there is no whole.
pub(crate) fn share(part: i128, whole: i128) -> Option<String> {
    if part < 0 || whole <= 0 {
        return None;
    }
    let per_mille = part.checked_mul(2_000)?.checked_add(whole)? / whole.checked_mul(2)?;
    Some(format!("{}.{} %", per_mille / 10, per_mille % 10))
}

/// A part of a whole in per cent, for a length or a place on a chart.
pub(crate) fn per_cent(part: i128, whole: i128) -> String {
    let hundredths = if part <= 0 || whole <= 0 {
        0
    } else {
        part.saturating_mul(10_000) / whole
    };
    let hundredths = hundredths.min(10_000);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// An amount shared out evenly, to the digits its currency has after the point.
pub(crate) fn mean(total: ExactDecimal, transactions: i64, currency: &str) -> Option<ExactDecimal> {
    shared_out(total, transactions, minor_digits(currency).unwrap_or(2))
}

fn shared_out(total: ExactDecimal, transactions: i64, digits: u8) -> Option<ExactDecimal> {
    let parts =
        i128::from(transactions).checked_mul(10_i128.checked_pow(u32::from(total.scale))?)?;
    if parts <= 0 {
        return None;
    }
    // Half of the last digit up, then down to the whole one.
    let twice = 10_i128.checked_pow(u32::from(digits))?.checked_mul(2)?;
    let units = total
        .units
        .checked_mul(twice)?
        .checked_add(parts)?
        .div_euclid(parts.checked_mul(2)?);
    Some(ExactDecimal::new(units, digits))
}

/// `1 to 31 January 2026`; with times where the window is not made of days.
pub(crate) fn window(window: &Window, zone: &TimeZone) -> String {
    let (from, to) = (
        zone.to_datetime(window.from()),
        zone.to_datetime(window.to()),
    );
    if from.time() != Time::midnight() || to.time() != Time::midnight() {
        return format!(
            "{} to {}",
            from.strftime("%-d %B %Y, %H:%M"),
            to.strftime("%-d %B %Y, %H:%M")
        );
    }
    let last = to.date().yesterday().unwrap_or(to.date());
    let first = from.date();
    let end = last.strftime("%-d %B %Y");
    if first == last {
        end.to_string()
    } else if (first.year(), first.month()) == (last.year(), last.month()) {
        format!("{} to {end}", first.day())
    } else if first.year() == last.year() {
        format!("{} to {end}", first.strftime("%-d %B"))
    } else {
        format!("{} to {end}", first.strftime("%-d %B %Y"))
    }
}

/// An instant on a clock: `12 January 2026, 17:00`.
pub(crate) fn instant(at: Timestamp, zone: &TimeZone) -> String {
    zone.to_datetime(at)
        .strftime("%-d %B %Y, %H:%M")
        .to_string()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_digits() {
        assert_eq!(grouped("-1234567.25"), "\u{2212}1\u{202f}234\u{202f}567.25");
        assert_eq!(grouped("999"), "999");
        assert_eq!(amount(ExactDecimal::new(123_400, 4), "EUR"), "12.34");
        assert_eq!(amount(ExactDecimal::new(120_000, 4), "EUR"), "12.00");
        assert_eq!(amount(ExactDecimal::new(123_456, 4), "EUR"), "12.3456");
        assert_eq!(amount(ExactDecimal::new(120_000, 4), "JPY"), "12");
        assert_eq!(quantity(ExactDecimal::new(1_500_000, 6)), "1.5");
    }

    #[test]
    fn shares_are_rounded_and_lengths_fit() {
        assert_eq!(share(1, 3).as_deref(), Some("33.3 %"));
        assert_eq!(share(2, 3).as_deref(), Some("66.7 %"));
        assert_eq!(share(1, 0), None);
        assert_eq!(share(-1, 3), None);
        assert_eq!(per_cent(1, 3), "33.33");
        assert_eq!(per_cent(5, 3), "100.00");
        assert_eq!(per_cent(-5, 3), "0.00");
    }

    #[test]
    fn windows_read_as_people_say_them() {
        let of = |from: &str, to: &str| {
            window(
                &Window::new(from.parse().unwrap(), to.parse().unwrap()).unwrap(),
                &TimeZone::UTC,
            )
        };
        assert_eq!(
            of("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
            "1 to 31 January 2026"
        );
        assert_eq!(
            of("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            "1 January 2026"
        );
        assert_eq!(
            of("2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z"),
            "1 January to 31 March 2026"
        );
        assert_eq!(
            of("2025-12-01T00:00:00Z", "2026-04-01T00:00:00Z"),
            "1 December 2025 to 31 March 2026"
        );
        assert_eq!(
            of("2026-01-01T06:00:00Z", "2026-01-01T18:30:00Z"),
            "1 January 2026, 06:00 to 1 January 2026, 18:30"
        );
    }

    #[test]
    fn the_mean_is_rounded_to_the_currencys_last_digit() {
        for (total, transactions, digits, expected) in [
            (10_000, 3, 2, Some("0.33")),
            (20_000, 3, 2, Some("0.67")),
            (-10_000, 3, 2, Some("-0.33")),
            (20_000_000, 3, 0, Some("667")),
            (20_000, 3, 3, Some("0.667")),
            (1, 0, 2, None),
        ] {
            assert_eq!(
                shared_out(ExactDecimal::new(total, 4), transactions, digits)
                    .map(|mean| mean.to_string())
                    .as_deref(),
                expected
            );
        }
    }
}
