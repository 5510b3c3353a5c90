//! Whether prices look like the unit they are said to be in.
//!
//! Invariant: a price is looked at as text and never becomes a float. What does not fit is told, and changes nothing: the
//! sale is kept as it came.
//!
//! The document's samples are in minor units where they are in euros (a small coffee costs 10) and contradict it elsewhere (49
//! card sales of 81,000 Armenian drams). So the connection says which it is, and what can be noticed of a mistake is noticed: a price in
//! minor units has no fraction, and one in major units has no more decimals than its currency. A whole number fits both; nobody
//! can tell from it.

use serde::Deserialize;
use tillhouse_model::money::minor_digits;

/// What a price of 10 means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriceUnit {
    /// Ten cents.
    #[default]
    Minor,
    /// Ten euros.
    Major,
}

impl PriceUnit {
    /// As it is written in the configuration, and as unify SQL reads it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Minor => "minor",
            Self::Major => "major",
        }
    }

    /// Whether a price, as JSON text, can be in this unit. What is no price at all is not judged here.
    pub(crate) fn fits(self, price: &str, currency: Option<&str>) -> bool {
        let Some(decimals) = decimals(price) else { return true };
        match self {
            Self::Minor => decimals == 0,
            Self::Major => currency.and_then(minor_digits).is_none_or(|digits| decimals <= usize::from(digits)),
        }
    }

    /// What is wrong, and what to do.
    pub(crate) fn misfit(self) -> (&'static str, &'static str) {
        match self {
            Self::Minor => (
                "prices have fractions, although price_unit says minor units",
                "Set connection.price_unit to major if a price of 1.50 means 1.50 euros; then run `tillhouse rebuild`.",
            ),
            Self::Major => (
                "prices have more decimals than their currency, although price_unit says major units",
                "Compare a sale with the provider's own report, and set connection.price_unit; then run `tillhouse rebuild`.",
            ),
        }
    }
}

/// How many digits other than trailing zeros stand after the point; `None` for what is no plain number.
fn decimals(price: &str) -> Option<usize> {
    let text = price.trim().trim_matches('"');
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    (!whole.is_empty() && digits(whole) && digits(fraction)).then(|| fraction.trim_end_matches('0').len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_units_are_whole() {
        for price in ["10", "-10", "\"10\"", "10.00", "0", "null", "\"free\"", "1e3"] {
            assert!(PriceUnit::Minor.fits(price, Some("EUR")), "{price}");
        }
        for price in ["10.5", "\"0.01\"", "-1.20"] {
            assert!(!PriceUnit::Minor.fits(price, Some("EUR")), "{price}");
        }
    }

    #[test]
    fn major_units_have_the_currencys_decimals() {
        for (price, currency) in [("1.50", "EUR"), ("\"1.5\"", "EUR"), ("810", "AMD"), ("1.234", "KWD"), ("1.234", "?")]
        {
            assert!(PriceUnit::Major.fits(price, Some(currency)), "{price} {currency}");
        }
        for (price, currency) in [("1.505", "EUR"), ("10.5", "JPY"), ("1.2345", "KWD")] {
            assert!(!PriceUnit::Major.fits(price, Some(currency)), "{price} {currency}");
        }
        assert!(PriceUnit::Major.fits("1.505", None));
    }
}
