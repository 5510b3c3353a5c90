//! Money: currencies, their minor units, and amounts for people.
//!
//! Invariant: an amount is an [`ExactDecimal`] from its text to its text.

use crate::exact_decimal::ExactDecimal;
use crate::word;
use serde::Deserialize;

/// Unit of an amount of 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriceUnit {
    /// Minor: ten cents.
    #[default]
    Minor,
    /// Major: ten euros.
    Major,
}

impl PriceUnit {
    /// Word for it in configurations, contracts and unify SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minor => "minor",
            Self::Major => "major",
        }
    }

    /// The unit of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Minor, Self::Major]
            .into_iter()
            .find(|unit| unit.as_str() == name)
    }

    /// True if an amount can be in this unit: minor units are whole, and major ones have at most
    /// the decimals that ISO 4217 gives their currency. A whole number fits both, and an unknown
    /// currency has any number of decimals.
    pub fn fits(self, amount: ExactDecimal, currency: Option<&str>) -> bool {
        let decimals = amount.trimmed().scale;
        match self {
            Self::Minor => decimals == 0,
            Self::Major => currency
                .and_then(minor_digits)
                .is_none_or(|digits| decimals <= digits),
        }
    }
}

/// Unit of a tax rate: whether 19 per cent is written 19 or 0.19.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VatRateUnit {
    /// 19 is 19 %.
    #[default]
    Percent,
    /// 0.19 is 19 %.
    Fraction,
}

impl VatRateUnit {
    /// Word for it in configurations, contracts and unify SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Percent => "percent",
            Self::Fraction => "fraction",
        }
    }

    /// The unit of that name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Percent, Self::Fraction]
            .into_iter()
            .find(|unit| unit.as_str() == name)
    }

    /// True if a rate can be meant so: none is below one per cent, and none above a hundred. Unify SQL goes by the same.
    pub fn fits(self, rate: ExactDecimal) -> bool {
        let (one, hundred) = (ExactDecimal::new(1, 0), ExactDecimal::new(100, 0));
        match self {
            Self::Percent => {
                rate.units == 0 || (rate.compare(one).is_ge() && rate.compare(hundred).is_le())
            }
            Self::Fraction => rate.units >= 0 && rate.compare(one).is_le(),
        }
    }
}

/// Number of digits after the point of an ISO 4217 currency; `None` where the code is not one, and where it has no minor unit at all: of gold
/// (XAU), of no currency and the like nobody knows what 100 are. Neither case nor surrounding blanks matter.
pub fn minor_digits(currency: &str) -> Option<u8> {
    named_currency(currency)?
        .exponent()
        .and_then(|digits| u8::try_from(digits).ok())
}

/// True if a code is one of ISO 4217's that amounts can be in, whatever its case and surrounding blanks. Those for no currency (999) and for
/// testing (963) are none.
pub fn is_currency(currency: &str) -> bool {
    named_currency(currency).is_some_and(|named| !matches!(named.numeric(), 963 | 999))
}

fn named_currency(currency: &str) -> Option<iso_currency::Currency> {
    iso_currency::Currency::from_code(currency)
        .or_else(|| iso_currency::Currency::from_code(&canonical_currency(currency)))
}

/// A currency as it is compared and grouped by everywhere, whether ISO 4217 knows it or not: the canonical form of a word, but in upper case,
/// as ISO 4217 writes its codes.
pub fn canonical_currency(currency: &str) -> String {
    word::canonical(currency).to_uppercase()
}

/// An amount as people read it: with the digits its currency has (two where the currency is not known), and with more where it has more, so
/// that nothing is rounded; the whole part in groups of three. `60 432` yen, `46.390` dinars, `12.50` and `12.3456` euros.
///
/// For tables and pages; JSON and CSV have the number as it is.
pub fn format_amount(amount: ExactDecimal, currency: &str) -> String {
    let digits = minor_digits(currency).unwrap_or(2);
    let amount = amount.trimmed();
    let padded = if amount.scale < digits {
        amount.rescaled(digits)
    } else {
        None
    };
    group_thousands(&padded.unwrap_or(amount).to_string())
}

/// A number's text with its whole part in groups of three, a blank between them.
pub fn group_thousands(number: &str) -> String {
    let (sign, size) = number
        .strip_prefix('-')
        .map_or(("", number), |size| ("-", size));
    let (whole, fraction) = size.split_at(size.find('.').unwrap_or(size.len()));
    let mut out = sign.to_owned();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out + fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_an_amount_with_its_currencys_digits_and_lose_none() {
        let read =
            |amount: &str, currency| format_amount(ExactDecimal::parse(amount).unwrap(), currency);
        for (amount, currency, expected) in [
            ("60432.0000", "JPY", "60 432"),
            ("46.39", "KWD", "46.390"),
            ("12.5", "EUR", "12.50"),
            ("12.3456", "EUR", "12.3456"),
            ("0", "EUR", "0.00"),
            ("0", "JPY", "0"),
            ("12.5", "JPY", "12.5"),
            ("-1234567.25", "EUR", "-1 234 567.25"),
            ("-999", "CLP", "-999"),
            ("1000000", "UYW", "1 000 000.0000"),
            ("1.005", "KWD", "1.005"),
            ("0.0005", "KWD", "0.0005"),
            ("7", "unknown", "7.00"),
            ("1234.567", "XQX", "1 234.567"),
        ] {
            assert_eq!(read(amount, currency), expected, "{amount} {currency}");
        }
        let most = ExactDecimal::new(10_i128.pow(37), 0);
        assert!(
            format_amount(most, "EUR").starts_with("10 000 000"),
            "what cannot be padded is shown as it is"
        );
    }

    #[test]
    fn amounts_fit_their_unit_or_not() {
        let fits = |unit: PriceUnit, amount: &str, currency| {
            unit.fits(ExactDecimal::parse(amount).unwrap(), currency)
        };
        for amount in ["10", "-10", "10.00", "0"] {
            assert!(fits(PriceUnit::Minor, amount, Some("EUR")), "{amount}");
        }
        for amount in ["10.5", "0.01", "-1.20"] {
            assert!(!fits(PriceUnit::Minor, amount, None), "{amount}");
        }
        for (amount, currency) in [
            ("1.50", "EUR"),
            ("810", "AMD"),
            ("1.234", "KWD"),
            ("1.234", "?"),
            ("-1.5000", "EUR"),
        ] {
            assert!(
                fits(PriceUnit::Major, amount, Some(currency)),
                "{amount} {currency}"
            );
        }
        for (amount, currency) in [("1.505", "EUR"), ("10.5", "JPY"), ("1.2345", "KWD")] {
            assert!(
                !fits(PriceUnit::Major, amount, Some(currency)),
                "{amount} {currency}"
            );
        }
        assert!(fits(PriceUnit::Major, "1.505", None));
        assert_eq!(PriceUnit::named("major"), Some(PriceUnit::Major));
        assert_eq!(PriceUnit::named("cents"), None);
    }

    #[test]
    fn currencies_know_their_minor_unit() {
        assert_eq!(minor_digits("EUR"), Some(2));
        assert_eq!(minor_digits("JPY"), Some(0));
        assert_eq!(minor_digits("KWD"), Some(3));
        assert_eq!(minor_digits("XYZ"), None);
        let no_currency = "X".repeat(3);
        for (none, is_known) in [
            (no_currency.as_str(), false),
            ("XTS", false),
            (" xts", false),
            ("XAU", true),
            ("XDR", true),
        ] {
            assert_eq!(
                (minor_digits(none), is_currency(none)),
                (None, is_known),
                "{none}"
            );
        }
        assert!(is_currency(" eur") && !is_currency("XYZ") && !is_currency(""));
        assert_eq!(
            (
                minor_digits(" eur"),
                minor_digits("Jpy\u{a0}"),
                minor_digits("")
            ),
            (Some(2), Some(0), None)
        );
        assert_eq!(canonical_currency("\teur "), "EUR");
    }
}
