//! Numbers from their text, exactly: a scaled whole number, and whether digits had to go.
//!
//! Invariant: no number is ever a binary float here. A result is the true value at the asked scale, rounded half-even
//! (of a point in time: the last one that is not after it), or nothing.

use crate::scan::JsonNumber;
use std::cmp::Ordering;
use tillhouse_model::blank;

/// Number brought to a scale, and whether digits were rounded away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ScaledNumber {
    pub(crate) units: i128,
    /// Digits that were not zero fell away.
    pub(crate) rounded: bool,
}

const POWERS: [u64; 20] = {
    let mut powers = [1; 20];
    let mut i = 1;
    while i < 20 {
        powers[i] = powers[i - 1] * 10;
        i += 1;
    }
    powers
};

/// Treatment of digits beyond the scale, by the size of a number, whatever its sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rounding {
    HalfEven,
    Down,
    Up,
}

impl Rounding {
    /// True if a size goes one up, whose rest compares so with half a unit and is not zero, or has none.
    fn goes_up(self, rest: Ordering, has_rest: bool, is_odd: bool) -> bool {
        match self {
            Self::HalfEven => rest == Ordering::Greater || (rest == Ordering::Equal && is_odd),
            Self::Down => false,
            Self::Up => has_rest,
        }
    }
}

/// The number with `scale` digits after the point, rounded half-even; `None` if it does not fit an i128.
#[inline]
pub(crate) fn to_scale(number: &JsonNumber<'_>, scale: i32) -> Option<ScaledNumber> {
    scaled(number, scale, Rounding::HalfEven)
}

/// The largest number with `scale` digits after the point that is not above this one; `None` if it does not fit an i128.
pub(crate) fn floor_to_scale(number: &JsonNumber<'_>, scale: i32) -> Option<ScaledNumber> {
    let rounding = if number.negative {
        Rounding::Up
    } else {
        Rounding::Down
    };
    scaled(number, scale, rounding)
}

#[inline]
fn scaled(number: &JsonNumber<'_>, scale: i32, rounding: Rounding) -> Option<ScaledNumber> {
    if number.long {
        return long_to_scale(number.text, scale, rounding);
    }
    let shift = number.exponent.saturating_add(scale);
    let (size, rounded) = match usize::try_from(shift) {
        Ok(up) if up < POWERS.len() => {
            (u128::from(number.mantissa) * u128::from(POWERS[up]), false)
        }
        Ok(_) if number.mantissa == 0 => (0, false),
        Ok(up) => (
            u128::from(number.mantissa)
                .checked_mul(10_u128.checked_pow(u32::try_from(up).ok()?)?)?,
            false,
        ),
        Err(_) => divide(u128::from(number.mantissa), shift.unsigned_abs(), rounding),
    };
    signed(size, number.negative, rounded)
}

/// The digits of a whole number, however it is written (`7`, `7.0`, `7e0`); `None` for any other.
pub(crate) fn whole_text(number: &JsonNumber<'_>) -> Option<String> {
    let whole = to_scale(number, 0).filter(|whole| !whole.rounded);
    whole.map(|whole| whole.units.to_string())
}

fn signed(size: u128, negative: bool, rounded: bool) -> Option<ScaledNumber> {
    let units = i128::try_from(size).ok()?;
    Some(ScaledNumber {
        units: if negative { -units } else { units },
        rounded,
    })
}

/// `size` divided by ten to the `drop`, and whether anything fell away.
fn divide(size: u128, drop: u32, rounding: Rounding) -> (u128, bool) {
    // A divisor beyond u128 is more than twice any u128: the quotient is less than half.
    let Some(divisor) = 10_u128.checked_pow(drop) else {
        let has_rest = size != 0;
        let up = rounding.goes_up(Ordering::Less, has_rest, false);
        return (u128::from(up), has_rest);
    };
    let (quotient, remainder) =
        if let (Ok(size), Ok(divisor)) = (u64::try_from(size), u64::try_from(divisor)) {
            (u128::from(size / divisor), u128::from(size % divisor))
        } else {
            (size / divisor, size % divisor)
        };
    let up = rounding.goes_up(
        remainder.cmp(&(divisor - remainder)),
        remainder != 0,
        quotient % 2 == 1,
    );
    (quotient + u128::from(up), remainder != 0)
}

/// Scales a number of any length and any exponent, from the text.
#[cold]
fn long_to_scale(text: &[u8], scale: i32, rounding: Rounding) -> Option<ScaledNumber> {
    let negative = text.first() == Some(&b'-');
    let text = text
        .strip_prefix(b"-")
        .or_else(|| text.strip_prefix(b"+"))
        .unwrap_or(text);
    let (significand, exponent) = match text.iter().position(|b| matches!(b, b'e' | b'E')) {
        Some(e) => (&text[..e], explicit_exponent(&text[e + 1..])),
        None => (text, 0),
    };
    let fraction = significand
        .iter()
        .position(|b| *b == b'.')
        .map_or(0, |point| significand.len() - point - 1);
    let mut digits = significand
        .iter()
        .filter(|b| **b != b'.')
        .map(|b| b - b'0')
        .skip_while(|d| *d == 0)
        .peekable();
    let count = i64::try_from(digits.clone().count()).ok()?;
    if digits.peek().is_none() {
        return Some(ScaledNumber {
            units: 0,
            rounded: false,
        });
    }
    let shift = exponent - i64::try_from(fraction).ok()? + i64::from(scale);
    // Number of the digits before the rounding point.
    let kept = count + shift.min(0);
    if kept < 0 {
        let up = rounding.goes_up(Ordering::Less, true, false);
        return signed(u128::from(up), negative, true);
    }
    let mut size: u128 = 0;
    for digit in digits.by_ref().take(usize::try_from(kept).ok()?) {
        size = size.checked_mul(10)?.checked_add(u128::from(digit))?;
    }
    if shift > 0 {
        size = size.checked_mul(10_u128.checked_pow(u32::try_from(shift).ok()?)?)?;
    }
    let first = digits.next().unwrap_or(0);
    let more = digits.any(|d| d != 0);
    let has_rest = first != 0 || more;
    let rest = first.cmp(&5).then(more.cmp(&false));
    if rounding.goes_up(rest, has_rest, size % 2 == 1) {
        size = size.checked_add(1)?;
    }
    signed(size, negative, has_rest)
}

/// An exponent, or one so large or small that the difference does not matter.
fn explicit_exponent(text: &[u8]) -> i64 {
    const FAR: i64 = 1 << 40;
    let negative = text.first() == Some(&b'-');
    let size = text
        .iter()
        .filter(|b| b.is_ascii_digit())
        .fold(0_i64, |n, b| (n * 10 + i64::from(b - b'0')).min(FAR));
    if negative { -size } else { size }
}

/// The number in a text that holds one number and nothing else but blanks around it: digits, one point at most, a sign, an exponent (`12.50`, `+7`,
/// `007`, `.5`, `1E+3`). What people write between digits, or instead of the point, is not read: `1,234` is one number here and another there.
pub(crate) fn in_text(text: &[u8]) -> Option<JsonNumber<'_>> {
    match strict(text) {
        None => strict(blank::trim(std::str::from_utf8(text).ok()?).as_bytes()),
        number => number,
    }
}

fn strict(text: &[u8]) -> Option<JsonNumber<'_>> {
    let (negative, unsigned) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let end = unsigned
        .iter()
        .position(|b| matches!(b, b'e' | b'E'))
        .unwrap_or(unsigned.len());
    let (significand, exponent) = unsigned.split_at(end);
    let mut mantissa: u64 = 0;
    let (mut digits, mut point) = (0_usize, None);
    for byte in significand {
        match byte {
            b'0'..=b'9' => {
                mantissa = mantissa
                    .wrapping_mul(10)
                    .wrapping_add(u64::from(byte - b'0'));
                // Zeros in front do not count towards what a u64 holds.
                digits += usize::from(digits > 0 || *byte != b'0');
            }
            b'.' if point.is_none() => point = Some(()),
            _ => return None,
        }
    }
    if !significand.iter().any(u8::is_ascii_digit) {
        return None;
    }
    if let Some((_, exponent)) = exponent.split_first() {
        let unsigned = exponent
            .strip_prefix(b"-")
            .or_else(|| exponent.strip_prefix(b"+"))
            .unwrap_or(exponent);
        if unsigned.is_empty() || !unsigned.iter().all(u8::is_ascii_digit) {
            return None;
        }
    }
    let fraction = significand
        .iter()
        .position(|b| *b == b'.')
        .map_or(0, |point| significand.len() - point - 1);
    let exponent_of_mantissa = -i32::try_from(fraction).unwrap_or(i32::MAX);
    let long = !exponent.is_empty() || digits > 19;
    Some(JsonNumber {
        text,
        negative,
        mantissa,
        exponent: exponent_of_mantissa,
        long,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::JsonScanner;
    use proptest::prelude::*;

    fn at(text: &str, scale: i32) -> Option<(i128, bool)> {
        let mut scan = JsonScanner::new(text.as_bytes());
        let number = scan.number().unwrap();
        assert_eq!(scan.pos, text.len());
        to_scale(&number, scale).map(|s| (s.units, s.rounded))
    }

    #[test]
    fn text_becomes_units() {
        for (text, scale, expected) in [
            ("12.34", 4, (123_400, false)),
            ("-12.34", 2, (-1234, false)),
            ("-0", 2, (0, false)),
            ("-0.0", 0, (0, false)),
            ("12.290000000000001", 4, (122_900, true)),
            ("12.3000000000000000000000000", 1, (123, false)),
            ("1e2", 0, (100, false)),
            ("12.5E-1", 2, (125, false)),
            ("125e-2", 1, (12, true)),
            ("0.00000000000000000000000000000000000001", 38, (1, false)),
            ("0e999999999999999999999", 2, (0, false)),
            ("1e-999999999999999999999", 2, (0, true)),
            ("1234567", -3, (1235, true)),
            ("1500", -3, (2, true)),
            ("2500", -3, (2, true)),
            (
                "170141183460469231731687303715884105727",
                0,
                (i128::MAX, false),
            ),
            ("0.5", -38, (0, true)),
        ] {
            assert_eq!(at(text, scale), Some(expected), "{text} at {scale}");
        }
        for (text, scale) in [
            ("1e999999999999999999999", 2),
            ("170141183460469231731687303715884105728", 0),
            ("1e38", 2),
            ("1", 39),
        ] {
            assert_eq!(at(text, scale), None, "{text} at {scale}");
        }
    }

    #[test]
    fn rounding_is_half_even() {
        for (text, expected) in [
            ("0.5", 0),
            ("1.5", 2),
            ("2.5", 2),
            ("-2.5", -2),
            ("-3.5", -4),
            ("2.51", 3),
            ("2.49", 2),
            ("2.5000000000000000000000", 2),
            ("2.5000000000000000000001", 3),
            ("25e-1", 2),
            ("35e-1", 4),
            ("0.500000000000000000000000", 0),
        ] {
            assert_eq!(at(text, 0).unwrap().0, expected, "{text}");
        }
    }

    #[test]
    fn a_number_in_text_is_a_number_and_nothing_else() {
        let in_text = |text: &str| {
            in_text(text.as_bytes())
                .and_then(|n| to_scale(&n, 2))
                .map(|s| (s.units, s.rounded))
        };
        for (text, units) in [
            ("-12.50", -1250),
            (" 12.50 ", 1250),
            ("\u{a0}12.50\u{feff}", 1250),
            ("+7", 700),
            ("007", 700),
            ("-0012.5", -1250),
            ("00000000000000000000000000.01", 1),
            (".5", 50),
            ("5.", 500),
            ("1e3", 100_000),
            ("+1E+3", 100_000),
            ("-125e-2", -125),
            ("0", 0),
            ("-0.00", 0),
            ("1234567890123456789012.34", 123_456_789_012_345_678_901_234),
        ] {
            assert_eq!(in_text(text), Some((units, false)), "{text}");
        }
        assert_eq!(in_text("12.505"), Some((1250, true)));
        for bad in [
            "",
            " ",
            "0x1",
            "1,5",
            "1,234.50",
            "1.234,50",
            "1 234.50",
            "1'234.50",
            "12.50 EUR",
            "\u{20ac}12",
            "NaN",
            "Infinity",
            "-",
            "+",
            ".",
            "--1",
            "+-1",
            "1.2.3",
            "1e",
            "1e+",
            "1e1.5",
            "e5",
            "12.50-",
            "(12.50)",
            "1_000",
            "\u{ff11}",
            "true",
            "\u{2212}1",
        ] {
            assert_eq!(in_text(bad), None, "{bad}");
        }
    }

    proptest! {
        /// The short way and the long way are two programs for one rule.
        #[test]
        fn short_and_long_agree(whole in 0_u64..1_000_000_000, fraction in "[0-9]{0,9}", negative: bool, scale in -9_i32..20) {
            let sign = if negative { "-" } else { "" };
            let text = if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") };
            prop_assert_eq!(at(&text, scale), at(&format!("{text}e0"), scale));
            prop_assert_eq!(at(&text, scale), at(&format!("{text}e5"), scale - 5));
            let in_text = |text: &str| in_text(text.as_bytes()).and_then(|n| to_scale(&n, scale)).map(|s| (s.units, s.rounded));
            prop_assert_eq!(in_text(&text), at(&text, scale));
            prop_assert_eq!(in_text(&format!(" {text}E0\t")), at(&text, scale));
        }
    }
}
