//! Exact decimal numbers, as they are printed and as they are read. Money is one of them.
//!
//! Invariant: no value here ever passes through a binary float; what is printed has every digit and no exponent.

use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;
use std::cmp::Ordering;
use std::fmt;

/// Exact decimal number: `units` times ten to the minus `scale`.
///
/// ```
/// use tillhouse_model::ExactDecimal;
///
/// let [price, tip] = ["12.50", "0.1"].map(|text| ExactDecimal::parse(text).unwrap());
/// assert_eq!(price.plus(tip).unwrap().to_string(), "12.60");
/// assert_eq!(ExactDecimal::from_json("1.25e1").unwrap().rescaled(2), Some(price));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExactDecimal {
    /// The digits, as a whole number.
    pub units: i128,
    /// Number of digits after the point.
    pub scale: u8,
}

impl ExactDecimal {
    /// A value from its digits.
    pub fn new(units: i128, scale: u8) -> Self {
        Self { units, scale }
    }

    /// Reads a plain decimal number, `-12.50`: digits, at most one point and one minus. `None` for anything else, and for more digits
    /// than fit.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, size) = text
            .strip_prefix('-')
            .map_or((false, text), |rest| (true, rest));
        let (whole, fraction) = size
            .split_once('.')
            .map_or((size, None), |(whole, fraction)| (whole, Some(fraction)));
        let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !plain(whole) || !fraction.is_none_or(plain) {
            return None;
        }
        let fraction = fraction.unwrap_or_default();
        let units: i128 = format!("{whole}{fraction}").parse().ok()?;
        Some(Self {
            units: if negative { -units } else { units },
            scale: u8::try_from(fraction.len()).ok()?,
        })
    }

    /// Reads a number as JSON writes it (`-12.50`, `1e3`), exactly, without trailing zeros. `None` for what is no number, and for
    /// one that 38 digits cannot hold, those before and after the point together.
    pub fn from_json(text: &str) -> Option<Self> {
        const MOST: u32 = 38;
        let (negative, unsigned) = text
            .strip_prefix('-')
            .map_or((false, text), |rest| (true, rest));
        let (significand, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((significand, exponent)) => (significand, Some(exponent)),
            None => (unsigned, None),
        };
        let (whole, fraction) = significand.split_once('.').unwrap_or((significand, "0"));
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let is_exponent = |part: &str| is_digits(part.strip_prefix(['+', '-']).unwrap_or(part));
        if !is_digits(whole) || !is_digits(fraction) || !exponent.is_none_or(is_exponent) {
            return None;
        }
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        if digits.is_empty() {
            return Some(Self { units: 0, scale: 0 });
        }
        let zeros = digits.len() - digits.trim_end_matches('0').len();
        let digits = digits.trim_end_matches('0');
        // Number of places that the digits stand left of the point; negative where they stand behind it.
        let exponent: i64 = exponent.map_or(Some(0), |e| e.parse().ok())?;
        let places = exponent
            .checked_add(i64::try_from(zeros).ok()? - i64::try_from(fraction.len()).ok()?)?;
        let size: i128 = if digits.len() <= MOST as usize {
            digits.parse().ok()?
        } else {
            return None;
        };
        let sign = if negative { -1 } else { 1 };
        if places >= 0 {
            let factor = 10_i128.checked_pow(
                u32::try_from(places)
                    .ok()
                    .filter(|places| *places <= MOST)?,
            )?;
            let units = size
                .checked_mul(factor)
                .filter(|units| units.to_string().len() <= MOST as usize)?;
            return Some(Self {
                units: sign * units,
                scale: 0,
            });
        }
        let scale = u8::try_from(places.unsigned_abs())
            .ok()
            .filter(|scale| u32::from(*scale) <= MOST)?;
        Some(Self {
            units: sign * size,
            scale,
        })
    }

    /// The difference of two numbers, of whatever scale; `None` when it does not fit.
    pub fn minus(self, other: Self) -> Option<Self> {
        let (a, b) = self.aligned(other)?;
        Some(Self {
            units: a.units.checked_sub(b.units)?,
            scale: a.scale,
        })
    }

    /// The sum of two numbers, of whatever scale; `None` when it does not fit.
    pub fn plus(self, other: Self) -> Option<Self> {
        let (a, b) = self.aligned(other)?;
        Some(Self {
            units: a.units.checked_add(b.units)?,
            scale: a.scale,
        })
    }

    /// Both numbers with as many digits after the point as the longer one has.
    fn aligned(self, other: Self) -> Option<(Self, Self)> {
        let scale = self.scale.max(other.scale);
        Some((self.rescaled(scale)?, other.rescaled(scale)?))
    }

    /// The largest number with `scale` digits after the point that is not above this one, as its digits, and whether the two are
    /// equal; `None` when it does not fit.
    pub fn floor(self, scale: u8) -> Option<(i128, bool)> {
        if scale >= self.scale {
            return self.rescaled(scale).map(|same| (same.units, true));
        }
        let divisor = 10_i128.checked_pow(u32::from(self.scale - scale))?;
        Some((
            self.units.div_euclid(divisor),
            self.units.rem_euclid(divisor) == 0,
        ))
    }

    /// Compares two numbers of any scale.
    pub fn compare(self, other: Self) -> Ordering {
        const ALL: u8 = 38;
        // Most numbers fit the scale of the longer one, which spares four divisions.
        if let Some((a, b)) = self.aligned(other) {
            return a.units.cmp(&b.units);
        }
        // The whole parts always fit, and a part below one has at most 38 digits.
        let parts = |number: Self| {
            let unit = 10_i128
                .checked_pow(u32::from(number.scale))
                .unwrap_or(i128::MAX);
            let (whole, rest) = (number.units.div_euclid(unit), number.units.rem_euclid(unit));
            (
                whole,
                rest * 10_i128
                    .checked_pow(u32::from(ALL.saturating_sub(number.scale)))
                    .unwrap_or(1),
            )
        };
        parts(self).cmp(&parts(other))
    }

    /// The same number without trailing zeros after the point.
    #[must_use]
    pub fn trimmed(self) -> Self {
        let Self {
            mut units,
            mut scale,
        } = self;
        while scale > 0 && units % 10 == 0 {
            units /= 10;
            scale -= 1;
        }
        Self { units, scale }
    }

    /// The same number with exactly `scale` digits after the point, rounded half-even; `None` when it does not fit.
    pub fn rescaled(self, scale: u8) -> Option<Self> {
        if scale >= self.scale {
            return Some(Self {
                units: self.units.checked_mul(power(scale - self.scale)?)?,
                scale,
            });
        }
        let divisor = power(self.scale - scale)?;
        let (quotient, remainder) = (
            self.units.div_euclid(divisor),
            self.units.rem_euclid(divisor),
        );
        let round_up = match (remainder * 2).cmp(&divisor) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal => quotient.rem_euclid(2) == 1,
        };
        Some(Self {
            units: quotient + i128::from(round_up),
            scale,
        })
    }

    /// Growth of `self` against `before` in per cent with two decimals, half-even; `None` where `before` is zero.
    /// Both must have the same scale. The divisor is the size of `before`, so a fall is negative.
    pub fn growth_against(self, before: Self) -> Option<Self> {
        debug_assert_eq!(self.scale, before.scale, "growth compares like with like");
        if before.units == 0 {
            return None;
        }
        let numerator = (self.units - before.units).checked_mul(10_000)?;
        let divisor = before.units.abs();
        let (quotient, remainder) = (numerator.div_euclid(divisor), numerator.rem_euclid(divisor));
        let round_up = match (remainder * 2).cmp(&divisor) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal => quotient.rem_euclid(2) == 1,
        };
        Some(Self {
            units: quotient + i128::from(round_up),
            scale: 2,
        })
    }
}

/// Ten to the power of so many digits; `None` beyond 38, which an i128 cannot hold.
fn power(digits: u8) -> Option<i128> {
    const POWERS: [i128; 39] = {
        let mut powers = [1; 39];
        let mut digits = 1;
        while digits < 39 {
            powers[digits] = powers[digits - 1] * 10;
            digits += 1;
        }
        powers
    };
    POWERS.get(usize::from(digits)).copied()
}

impl fmt::Display for ExactDecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.units < 0 { "-" } else { "" };
        let digits = self.units.unsigned_abs().to_string();
        let scale = usize::from(self.scale);
        if scale == 0 {
            return write!(f, "{sign}{digits}");
        }
        let padded = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = padded.split_at(padded.len() - scale);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

/// A JSON number with every digit, trailing zeros trimmed. Only serde_json writes it as a number.
impl Serialize for ExactDecimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw = RawValue::from_string(self.trimmed().to_string()).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_is_exact() {
        assert_eq!(ExactDecimal::new(-1, 4).to_string(), "-0.0001");
        assert_eq!(ExactDecimal::new(123_400, 4).to_string(), "12.3400");
        assert_eq!(
            serde_json::to_string(&ExactDecimal::new(123_400, 4)).unwrap(),
            "12.34"
        );
        assert_eq!(
            serde_json::to_string(&ExactDecimal::new(10_i128.pow(30), 0)).unwrap(),
            format!("1{}", "0".repeat(30))
        );
    }

    #[test]
    fn plain_numbers_are_read() {
        for (text, units, scale) in [
            ("0.01", 1, 2),
            ("-12.50", -1250, 2),
            ("7", 7, 0),
            ("007.0", 70, 1),
        ] {
            assert_eq!(
                ExactDecimal::parse(text),
                Some(ExactDecimal::new(units, scale)),
                "{text}"
            );
        }
        for text in [
            "",
            "-",
            ".5",
            "5.",
            "1e2",
            "+1",
            "1 ",
            "1,5",
            "--1",
            "0x1",
            &"9".repeat(40),
        ] {
            assert_eq!(ExactDecimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn reading_is_exact() {
        for (text, expected) in [
            ("0", Some((0, 0))),
            ("-0.00", Some((0, 0))),
            ("0e999999999999", Some((0, 0))),
            ("12.340", Some((1_234, 2))),
            ("-12.34", Some((-1_234, 2))),
            ("1.5e3", Some((1_500, 0))),
            ("1500E-2", Some((15, 0))),
            ("120e+1", Some((1_200, 0))),
            ("0.1", Some((1, 1))),
            ("1e-38", Some((1, 38))),
            ("1e37", Some((10_i128.pow(37), 0))),
            (
                "99999999999999999999999999999999999999",
                Some((10_i128.pow(38) - 1, 0)),
            ),
            ("1e38", None),
            ("1e-39", None),
            ("1e99999999999999999999", None),
            ("1234567890123456789.12345678901234567891", None),
            ("", None),
            ("-", None),
            ("1.", None),
            (".5", None),
            ("+1", None),
            ("1e", None),
            ("0x1", None),
            ("NaN", None),
            (" 1", None),
        ] {
            assert_eq!(
                ExactDecimal::from_json(text).map(|n| (n.units, n.scale)),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn numbers_of_different_scales_are_added_and_subtracted() {
        let (a, b) = (ExactDecimal::new(123, 1), ExactDecimal::new(-5, 3));
        assert_eq!(a.plus(b).unwrap().to_string(), "12.295");
        assert_eq!(a.minus(b).unwrap().to_string(), "12.305");
        assert_eq!(
            ExactDecimal::new(i128::MAX, 0).plus(ExactDecimal::new(1, 0)),
            None
        );
        assert_eq!(
            ExactDecimal::new(i128::MAX, 0).minus(ExactDecimal::new(0, 2)),
            None
        );
    }

    #[test]
    fn the_floor_is_never_above() {
        let floor = |units, scale, to| ExactDecimal::new(units, scale).floor(to);
        assert_eq!(floor(12_345, 3, 2), Some((1_234, false)));
        assert_eq!(floor(-12_345, 3, 2), Some((-1_235, false)));
        assert_eq!(floor(12_340, 3, 2), Some((1_234, true)));
        assert_eq!(floor(5, 0, 2), Some((500, true)));
        assert_eq!(floor(i128::MAX, 0, 1), None);
    }

    #[test]
    fn numbers_of_any_scale_are_compared() {
        let compare = |a: &str, b: &str| {
            ExactDecimal::from_json(a)
                .unwrap()
                .compare(ExactDecimal::from_json(b).unwrap())
        };
        for (less, more) in [
            ("1", "1.01"),
            ("-1.01", "-1"),
            ("-0.5", "0"),
            ("0", "1e-38"),
            ("9.9", "1e37"),
        ] {
            assert_eq!(
                (compare(less, more), compare(more, less)),
                (Ordering::Less, Ordering::Greater),
                "{less} {more}"
            );
        }
        assert_eq!(
            ExactDecimal::new(10, 1).compare(ExactDecimal::new(1, 0)),
            Ordering::Equal
        );
    }

    #[test]
    fn rounding_is_half_even() {
        for (units, expected) in [
            (125, 12),
            (135, 14),
            (-125, -12),
            (-135, -14),
            (126, 13),
            (-126, -13),
        ] {
            assert_eq!(
                ExactDecimal::new(units, 1).rescaled(0).unwrap().units,
                expected,
                "{units}"
            );
        }
    }

    #[test]
    fn growth_has_two_decimals_and_no_answer_against_nothing() {
        let growth = |a, b| {
            ExactDecimal::new(a, 0)
                .growth_against(ExactDecimal::new(b, 0))
                .map(|g| g.to_string())
        };
        assert_eq!(growth(3, 2), Some("50.00".into()));
        assert_eq!(growth(1, 3), Some("-66.67".into()));
        assert_eq!(growth(0, 7), Some("-100.00".into()));
        assert_eq!(growth(7, 0), None);
    }
}
