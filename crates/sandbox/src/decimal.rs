//! Exact decimal numbers for the sandbox's own wire: what was written is what is read, summed and written again.
//!
//! Invariant: no value ever passes through a binary float. This is not the model's `ExactDecimal` on purpose: the sandbox checks the
//! house, so it does its own sums.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::Error as _};
use serde_json::value::RawValue;
use std::cmp::Ordering;
use std::fmt::{self, Write as _};

/// `units` times ten to the minus `scale`; equal numbers are equal whatever their scale.
#[derive(Debug, Clone, Copy)]
pub struct Decimal {
    units: i128,
    scale: u8,
}

/// Larger scales, and more digits than this, are refused when read.
const MAX_DIGITS: usize = 30;

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self { units: 0, scale: 0 };

    /// A number from its digits, of which `scale` stand after the point.
    pub const fn new(units: i128, scale: u8) -> Self {
        Self { units, scale }
    }

    /// Reads a JSON number, exponent included. `None` when it is none, or has more than 30 digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = text
            .strip_prefix('-')
            .map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (
                mantissa,
                exponent
                    .strip_prefix('+')
                    .unwrap_or(exponent)
                    .parse::<i32>()
                    .ok()?,
            ),
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = whole.len() + fraction.len();
        if whole.is_empty()
            || digits > MAX_DIGITS
            || !whole
                .bytes()
                .chain(fraction.bytes())
                .all(|b| b.is_ascii_digit())
        {
            return None;
        }
        let mut units = 0_i128;
        for digit in whole.bytes().chain(fraction.bytes()) {
            units = units * 10 + i128::from(digit - b'0');
        }
        let mut scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        while scale < 0 && scale > -40 {
            units = units.checked_mul(10)?;
            scale += 1;
        }
        let scale = u8::try_from(scale)
            .ok()
            .filter(|scale| usize::from(*scale) <= MAX_DIGITS)?;
        Some(Self {
            units: if negative { -units } else { units },
            scale,
        })
    }

    /// True for zero.
    pub fn is_zero(self) -> bool {
        self.units == 0
    }

    fn aligned(self, other: Self) -> (i128, i128, u8) {
        let scale = self.scale.max(other.scale);
        let lift = |d: Self| {
            d.units
                .saturating_mul(10_i128.pow(u32::from(scale - d.scale)))
        };
        (lift(self), lift(other), scale)
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let (a, b, scale) = self.aligned(other);
        Self {
            units: a.saturating_add(b),
            scale,
        }
    }

    /// The difference.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.plus(Self {
            units: -other.units,
            scale: other.scale,
        })
    }

    /// The product, rounded half away from zero to `scale` digits after the point, as tills do.
    #[must_use]
    pub fn times(self, other: Self, scale: u8) -> Self {
        let product = self.units.saturating_mul(other.units);
        let has = self.scale + other.scale;
        if has <= scale {
            return Self {
                units: product.saturating_mul(10_i128.pow(u32::from(scale - has))),
                scale,
            };
        }
        Self {
            units: divide_away(product, 10_i128.pow(u32::from(has - scale))),
            scale,
        }
    }

    /// The tax inside a gross amount at `per_cent`, with two digits after the point.
    #[must_use]
    pub fn tax_inside(self, per_cent: Self) -> Self {
        let hundred = 100 * 10_i128.pow(u32::from(per_cent.scale));
        let (gross, _, scale) = self.aligned(Self::new(0, 2));
        let tax = divide_away(
            gross.saturating_mul(per_cent.units),
            hundred + per_cent.units,
        );
        Self {
            units: divide_away(tax, 10_i128.pow(u32::from(scale - 2))),
            scale: 2,
        }
    }

    /// The growth of `self` against `before`, per cent, two digits, half to even; `None` where `before` is zero.
    pub fn growth_against(self, before: Self) -> Option<Self> {
        let (now, then, _) = self.aligned(before);
        if then == 0 {
            return None;
        }
        let (numerator, divisor) = ((now - then) * 10_000, then.abs());
        let size = numerator.unsigned_abs();
        let (whole, rest) = (size / divisor.unsigned_abs(), size % divisor.unsigned_abs());
        let up = match (rest * 2).cmp(&divisor.unsigned_abs()) {
            Ordering::Less => 0,
            Ordering::Equal => whole % 2,
            Ordering::Greater => 1,
        };
        let units = i128::try_from(whole + up).ok()?;
        Some(Self {
            units: if numerator < 0 { -units } else { units },
            scale: 2,
        })
    }
}

/// Division with halves away from zero; `by` is positive.
fn divide_away(value: i128, by: i128) -> i128 {
    let magnitude = (value.abs().saturating_add(by / 2)) / by;
    if value < 0 { -magnitude } else { magnitude }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b, _) = self.aligned(*other);
        a.cmp(&b)
    }
}

impl Default for Decimal {
    fn default() -> Self {
        Self::ZERO
    }
}

impl From<i64> for Decimal {
    fn from(whole: i64) -> Self {
        Self::new(i128::from(whole), 0)
    }
}

impl std::iter::Sum for Decimal {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::ZERO, Self::plus)
    }
}

/// Every digit, no exponent, no trailing zeros after the point.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut units, mut scale) = (self.units, self.scale);
        while scale > 0 && units % 10 == 0 {
            units /= 10;
            scale -= 1;
        }
        if scale == 0 {
            return write!(f, "{units}");
        }
        let power = 10_u128.pow(u32::from(scale));
        let size = units.unsigned_abs();
        let sign = if units < 0 { "-" } else { "" };
        write!(
            f,
            "{sign}{}.{:0>width$}",
            size / power,
            size % power,
            width = usize::from(scale)
        )
    }
}

/// A JSON number. Only serde_json writes it as one.
impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(16);
        write!(text, "{self}").map_err(S::Error::custom)?;
        let raw: &RawValue = serde_json::from_str(&text).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// Reads a JSON number from its text; a string is refused. Only serde_json can do that.
impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get()).ok_or_else(|| D::Error::custom("not a number of at most 30 digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        Decimal::parse(text).unwrap()
    }

    #[test]
    fn text_survives_exactly() {
        for text in [
            "0",
            "10.5",
            "-0.349",
            "12.290000000000001",
            "100",
            "-7",
            "0.05",
        ] {
            assert_eq!(d(text).to_string(), text);
            let parsed: Decimal = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&parsed).unwrap(), text);
        }
        assert_eq!(d("1.5e3").to_string(), "1500");
        assert_eq!(d("15E-2").to_string(), "0.15");
        assert_eq!(d("1.50").to_string(), "1.5");
        for bad in [
            "",
            "-",
            "1.2.3",
            "\"1\"",
            "1e999",
            "abc",
            "null",
            "1234567890123456789012345678901",
        ] {
            assert!(Decimal::parse(bad).is_none(), "{bad}");
        }
        assert!(serde_json::from_str::<Decimal>("\"1\"").is_err());
    }

    #[test]
    fn tills_round_halves_away_from_zero() {
        assert_eq!(d("30.03").times(d("1.749"), 2), d("52.52"));
        assert_eq!(d("0.5").times(d("0.01"), 2), d("0.01"));
        assert_eq!(d("-0.5").times(d("0.01"), 2), d("-0.01"));
        assert_eq!(d("119").tax_inside(d("19")), d("19"));
        assert_eq!(d("10").tax_inside(d("8.1")), d("0.75"));
    }

    #[test]
    fn growth_rounds_half_to_even_and_knows_no_growth_from_nothing() {
        assert_eq!(d("3").growth_against(d("2")), Some(d("50")));
        assert_eq!(d("1").growth_against(d("3")), Some(d("-66.67")));
        assert_eq!(d("0").growth_against(d("0.10")), Some(d("-100")));
        assert_eq!(d("1.00005").growth_against(d("1")), Some(d("0")));
        assert_eq!(d("1.00015").growth_against(d("1")), Some(d("0.02")));
        assert_eq!(d("1").growth_against(d("0")), None);
    }
}
