//! Currencies, minor units, and the tax that is in an amount.
//!
//! Invariant: an amount is exact or null. The number of minor digits is ISO 4217's, never assumed to be two.

use super::arguments::{CallArguments, NumberArgument, map_words};
use super::{ArgumentType, SqlFunction};
use arrow::array::{ArrayRef, Decimal128Array};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use std::cmp::Ordering;
use std::sync::Arc;
use tillhouse_model::blank::names_nothing;
use tillhouse_model::money::{canonical_currency, minor_digits};
use tillhouse_model::{ExactDecimal, FastMap};

/// Digits of a result, in all and after the point: those of an amount in the unified tables, with room before the point. One that fits no
/// amount is null only in the column it is written to, with a warning (see docs/functions.md).
const AMOUNT: (u8, i8) = (38, 4);

/// Digits of a quantity, in all and after the point.
const QUANTITY: (u8, i8) = (38, 6);

/// Digits of the tolerance of quantity times unit price against the amount where no currency is known.
const UNKNOWN_DIGITS: u8 = 2;

/// `currency_code(text)`, `from_minor_units(amount, currency)`, `included_tax(amount, percent)` and
/// `signed_quantity(quantity, amount, total[, unit_price[, currency]])`.
pub(super) fn functions() -> [SqlFunction; 4] {
    let amount = DataType::Decimal128(AMOUNT.0, AMOUNT.1);
    [
        SqlFunction::new(
            "currency_code",
            &[ArgumentType::Text],
            DataType::Utf8,
            currency_code,
        ),
        SqlFunction::new(
            "from_minor_units",
            &[ArgumentType::Number, ArgumentType::Text],
            amount.clone(),
            from_minor_units,
        ),
        SqlFunction::new(
            "included_tax",
            &[ArgumentType::Number, ArgumentType::Number],
            amount,
            included_tax,
        ),
        SqlFunction::new(
            "signed_quantity",
            &[
                ArgumentType::Number,
                ArgumentType::Number,
                ArgumentType::Number,
                ArgumentType::Number,
                ArgumentType::Text,
            ],
            DataType::Decimal128(QUANTITY.0, QUANTITY.1),
            signed_quantity,
        )
        .with_optional(2),
    ]
}

/// The currency in its canonical form: ISO 4217's code, and where it is none, the provider's own word, so that different currencies are never one.
/// `None` where nothing is said, or what stands for nothing (`null`).
fn code(text: &str) -> Option<String> {
    Some(canonical_currency(text)).filter(|code| !names_nothing(code))
}

fn currency_code(arguments: &CallArguments) -> Result<ArrayRef> {
    map_words(arguments, code)
}

fn from_minor_units(arguments: &CallArguments) -> Result<ArrayRef> {
    let (amounts, currencies) = (arguments.number(0)?, arguments.text(1)?);
    let mut known: FastMap<&str, Option<u8>> = FastMap::default();
    let mut majors = Decimal128Array::builder(arguments.rows());
    for row in 0..arguments.rows() {
        majors.append_option(amounts.get(row).zip(currencies.get(row)).and_then(
            |(amount, currency)| {
                let digits = (*known
                    .entry(currency)
                    .or_insert_with(|| code(currency).and_then(|c| minor_digits(&c))))?;
                major(amount, amounts.scale, digits)
            },
        ));
    }
    Ok(Arc::new(
        majors
            .finish()
            .with_precision_and_scale(AMOUNT.0, AMOUNT.1)?,
    ))
}

/// `units` times ten to the minus `scale` minor units, in major units with four digits (half-even beyond them); `None` where
/// that does not fit 38 digits.
fn major(units: i128, scale: u32, digits: u8) -> Option<i128> {
    let scale = u8::try_from(scale).ok()?.checked_add(digits)?;
    let major = ExactDecimal::new(units, scale)
        .rescaled(AMOUNT.1.unsigned_abs())?
        .units;
    (major.unsigned_abs() < 10_u128.pow(u32::from(AMOUNT.0))).then_some(major)
}

fn included_tax(arguments: &CallArguments) -> Result<ArrayRef> {
    let (amounts, rates) = (arguments.number(0)?, arguments.number(1)?);
    let mut taxes = Decimal128Array::builder(arguments.rows());
    for row in 0..arguments.rows() {
        let both = amounts.get(row).zip(rates.get(row));
        taxes.append_option(
            both.and_then(|(amount, rate)| tax(amount, amounts.scale, rate, rates.scale)),
        );
    }
    Ok(Arc::new(
        taxes
            .finish()
            .with_precision_and_scale(AMOUNT.0, AMOUNT.1)?,
    ))
}

/// The quantity of an article with that amount, of a sale that comes to `total`: what was given back is taken away, also where the provider tells
/// it without a sign. That is every article below zero of a refund, and in any other sale one whose amount is quantity times unit price but for
/// the sign and the smallest coin of its currency. An article that only makes a sale cheaper is as it was.
fn signed_quantity(arguments: &CallArguments) -> Result<ArrayRef> {
    let (quantities, amounts, totals) = (
        arguments.number(0)?,
        arguments.number(1)?,
        arguments.number(2)?,
    );
    let (prices, currencies) = (arguments.optional_number(3)?, arguments.optional_text(4)?);
    let scale = u8::try_from(quantities.scale).unwrap_or(u8::MAX);
    let mut coins: FastMap<&str, ExactDecimal> = FastMap::default();
    let mut signed = Decimal128Array::builder(arguments.rows());
    for row in 0..arguments.rows() {
        let is_refund =
            |numbers: NumberArgument<'_>| numbers.get(row).is_some_and(|number| number < 0);
        let mut is_goods = || {
            let exact = |numbers: NumberArgument<'_>| {
                Some(ExactDecimal::new(
                    numbers.get(row)?,
                    u8::try_from(numbers.scale).ok()?,
                ))
            };
            let told = exact(quantities)
                .zip(exact(amounts))
                .zip(prices.and_then(exact));
            let coin = match currencies.and_then(|currencies| currencies.get(row)) {
                Some(currency) => *coins
                    .entry(currency)
                    .or_insert_with(|| coin_of(Some(currency))),
                None => coin_of(None),
            };
            told.is_some_and(|((quantity, amount), price)| is_return(quantity, amount, price, coin))
        };
        let gives_back = is_refund(amounts) && (is_refund(totals) || is_goods());
        let quantity = quantities.get(row).map(|quantity| {
            if gives_back {
                -quantity.saturating_abs()
            } else {
                quantity
            }
        });
        signed.append_option(
            quantity
                .and_then(|units| {
                    ExactDecimal::new(units, scale).rescaled(QUANTITY.1.unsigned_abs())
                })
                .map(|exact| exact.units),
        );
    }
    Ok(Arc::new(
        signed
            .finish()
            .with_precision_and_scale(QUANTITY.0, QUANTITY.1)?,
    ))
}

/// The smallest coin of a currency, 0.01 where none is known: a yen, a fils.
fn coin_of(currency: Option<&str>) -> ExactDecimal {
    let digits = currency.and_then(|named| code(named).and_then(|code| minor_digits(&code)));
    ExactDecimal::new(1, digits.unwrap_or(UNKNOWN_DIGITS))
}

/// True if the amount is below zero, and quantity and unit price, neither of which is, come to it but for the sign and a coin: goods that were given
/// back. A return is told by them only where they surely meet.
fn is_return(
    quantity: ExactDecimal,
    amount: ExactDecimal,
    price: ExactDecimal,
    coin: ExactDecimal,
) -> bool {
    let off = || {
        let product = ExactDecimal::new(
            quantity.units.checked_mul(price.units)?,
            quantity.scale.checked_add(price.scale)?,
        );
        let off = product.plus(amount)?;
        Some(ExactDecimal::new(off.units.checked_abs()?, off.scale))
    };
    amount.units < 0
        && quantity.units > 0
        && price.units > 0
        && off().is_some_and(|off| off.compare(coin).is_le())
}

/// The tax in a gross amount, amount x rate / (100 + rate), with four digits, half-even beyond them; `None` for a rate below zero,
/// and where a step does not fit.
fn tax(amount: i128, scale: u32, rate: i128, rate_scale: u32) -> Option<i128> {
    let hundred = 100_i128.checked_mul(10_i128.checked_pow(rate_scale)?)?;
    let divisor = hundred.checked_add(rate).filter(|_| rate >= 0)?;
    let (numerator, divisor) = match u32::from(AMOUNT.1.unsigned_abs()).checked_sub(scale) {
        Some(more) => (
            amount
                .checked_mul(rate)?
                .checked_mul(10_i128.checked_pow(more)?)?,
            divisor,
        ),
        None => {
            let less = scale.checked_sub(u32::from(AMOUNT.1.unsigned_abs()))?;
            (
                amount.checked_mul(rate)?,
                divisor.checked_mul(10_i128.checked_pow(less)?)?,
            )
        }
    };
    let (quotient, rest) = (numerator / divisor, numerator % divisor);
    let away = match rest
        .unsigned_abs()
        .checked_mul(2)?
        .cmp(&divisor.unsigned_abs())
    {
        Ordering::Less => false,
        Ordering::Equal => quotient % 2 != 0,
        Ordering::Greater => true,
    };
    let tax = if away {
        quotient + numerator.signum()
    } else {
        quotient
    };
    (tax.unsigned_abs() < 10_u128.pow(u32::from(AMOUNT.0))).then_some(tax)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minor_units_follow_the_currency() {
        assert_eq!(major(1299, 0, 2), Some(129_900));
        assert_eq!(major(1299, 0, 0), Some(12_990_000));
        assert_eq!(major(1299, 0, 3), Some(12_990));
        assert_eq!(major(-1, 0, 2), Some(-100));
        assert_eq!(major(12_995_000, 4, 2), Some(129_950), "1299.5 cents");
        assert_eq!(major(1, 4, 2), Some(0), "a millionth is rounded");
        assert_eq!(
            major(i128::from(i64::MAX), 0, 0),
            Some(i128::from(i64::MAX) * 10_000),
            "what a column holds is not asked here"
        );
        assert_eq!(major(10_i128.pow(37), 0, 0), None, "does not fit");
    }

    #[test]
    fn goods_that_are_given_back_cost_what_they_cost_but_for_the_sign() {
        let told = |quantity: i128, price: i128, amount: i128| {
            is_return(
                ExactDecimal::new(quantity, 6),
                ExactDecimal::new(amount, 4),
                ExactDecimal::new(price, 6),
                coin_of(None),
            )
        };
        assert!(told(2_500_000, 2_000_000, -50_000), "2.5 x 2 for -5");
        assert!(told(16_530_000, 1_210_000, -200_000), "20.0013 for -20");
        assert!(told(2_500_000, 2_000_000, -50_100), "a cent more");
        for (quantity, price, amount) in [
            (2_500_000, 2_000_000, -50_101),
            (2_500_000, 2_000_000, 50_000),
            (-2_500_000, 2_000_000, -50_000),
            (2_500_000, -2_000_000, -50_000),
            (1_000_000, 0, -40_000),
            (0, 2_000_000, -50_000),
            (10_000_000, 2_000_000, -40_000),
            (i128::MAX, 2_000_000, -40_000),
        ] {
            assert!(
                !told(quantity, price, amount),
                "{quantity} x {price} for {amount}"
            );
        }
    }

    #[test]
    fn what_goods_cost_may_be_off_by_the_smallest_coin_of_their_currency() {
        let told = |currency: Option<&str>, quantity: i128, price: i128, amount: i128| {
            is_return(
                ExactDecimal::new(quantity, 6),
                ExactDecimal::new(amount, 4),
                ExactDecimal::new(price, 6),
                coin_of(currency),
            )
        };
        // 16.53 x 121 = 2000.13 for -2000; 2.5 x 1.001 = 2.5025 for -2.502 and -2.5; 20.0013 for -20.
        for (currency, quantity, price, amount, wanted) in [
            (Some("JPY"), 16_530_000, 121_000_000, -20_000_000, true),
            (Some(" jpy"), 16_530_000, 121_000_000, -20_000_000, true),
            (Some("JPY"), 16_530_000, 121_000_000, -20_020_000, false),
            (Some("EUR"), 16_530_000, 121_000_000, -20_000_000, false),
            (None, 16_530_000, 121_000_000, -20_000_000, false),
            (Some("KWD"), 2_500_000, 1_001_000, -25_020, true),
            (Some("KWD"), 2_500_000, 1_001_000, -25_000, false),
            (Some("EUR"), 2_500_000, 1_001_000, -25_000, true),
            (Some("CLF"), 16_530_000, 1_210_000, -200_000, false),
            (Some("XAU"), 16_530_000, 1_210_000, -200_000, true),
            (Some("points"), 16_530_000, 1_210_000, -200_000, true),
            (Some(""), 16_530_000, 1_210_000, -200_000, true),
        ] {
            assert_eq!(
                told(currency, quantity, price, amount),
                wanted,
                "{currency:?} {quantity} x {price} for {amount}"
            );
        }
    }

    #[test]
    fn the_tax_in_an_amount_is_exact_and_half_even() {
        assert_eq!(tax(11_900, 4, 190_000, 4), Some(1_900), "19 % in 1.19");
        assert_eq!(tax(-11_900, 4, 190_000, 4), Some(-1_900), "of a refund");
        assert_eq!(
            tax(18_000, 4, 190_000, 4),
            Some(2_874),
            "1.80 at 19 %: 0.28739..."
        );
        assert_eq!(tax(119, 2, 19, 0), Some(1_900), "whatever the scales");
        assert_eq!(tax(1_190_000_000, 9, 19, 0), Some(1_900));
        assert_eq!(
            tax(3, 4, 100, 0),
            Some(2),
            "1.5 ten-thousandths: to the even two"
        );
        assert_eq!(tax(5, 4, 100, 0), Some(2), "2.5: to the even two");
        assert_eq!(tax(-3, 4, 100, 0), Some(-2));
        assert_eq!(tax(18_000, 4, 0, 4), Some(0));
        assert_eq!(tax(18_000, 4, -1, 4), None, "no such rate");
        assert_eq!(tax(i128::MAX, 4, 190_000, 4), None, "too large to work out");
        assert_eq!(
            tax(10_i128.pow(18) - 1, 4, 1_000_000, 4),
            Some(5 * 10_i128.pow(17)),
            "half of the largest"
        );
    }

    #[test]
    fn currencies_have_one_spelling() {
        assert_eq!(code(" eur "), Some("EUR".into()));
        assert_eq!(code("\u{ff25}U\u{200b}R"), Some("EUR".into()));
        assert_eq!(
            code("xyz "),
            Some("XYZ".into()),
            "whatever it may be, it is no other"
        );
        assert_eq!(code("€"), Some("€".into()));
        assert_eq!((code(" "), code("\u{200b}"), code("")), (None, None, None));
    }
}
