//! Units of measure in SQL: their canonical spelling, and quantities in the base unit of their measure.
//!
//! Invariant: a quantity is converted exactly, by a power of ten, or not at all: a US gallon stays one, and so does an hour.

use super::arguments::{CallArguments, NumberArgument, map_words};
use super::{ArgumentType, SqlFunction};
use arrow::array::{ArrayRef, Decimal128Array, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use std::sync::Arc;
use tillhouse_model::{FastMap, MeasureUnit};

/// Digits of a result, in all and after the point.
const QUANTITY: (u8, i8) = (38, 6);

/// Digits of a quantity or unit price in the unified tables, in all.
const COLUMN_DIGITS: u32 = 18;

/// `canonical_unit(text)`, `base_unit(unit[, unit_price, quantity, free_quantity, max_quantity])` and `convert_unit(number, from, to)`.
pub(super) fn functions() -> [SqlFunction; 3] {
    use ArgumentType::{Number, Text};
    [
        SqlFunction::new("canonical_unit", &[Text], DataType::Utf8, |arguments| {
            map_words(arguments, |text| Some(MeasureUnit::named(text)?.name))
        }),
        SqlFunction {
            least: 1,
            ..SqlFunction::new(
                "base_unit",
                &[Text, Number, Number, Number, Number],
                DataType::Utf8,
                base_unit,
            )
        },
        SqlFunction::new(
            "convert_unit",
            &[Number, Text, Text],
            DataType::Decimal128(QUANTITY.0, QUANTITY.1),
            convert_unit,
        ),
    ]
}

/// The unit in which the unified tables have an article: the base unit, where its unit price and each of its quantities is exact there; otherwise the
/// unit it came in.
fn base_unit(arguments: &CallArguments) -> Result<ArrayRef> {
    let texts = arguments.text(0)?;
    let price = arguments.optional_number(1)?;
    let quantities = [
        arguments.optional_number(2)?,
        arguments.optional_number(3)?,
        arguments.optional_number(4)?,
    ];
    let mut known: FastMap<&str, Option<MeasureUnit>> = FastMap::default();
    let mut bases = StringBuilder::with_capacity(arguments.rows(), arguments.rows() * 3);
    for row in 0..arguments.rows() {
        let unit = texts.get(row).and_then(|text| {
            let unit = known
                .entry(text)
                .or_insert_with(|| MeasureUnit::named(text));
            unit.as_ref()
        });
        bases.append_option(unit.map(|unit| {
            let fits = |number: Option<NumberArgument<'_>>, power: i8| {
                number.is_none_or(|number| is_exact(number, row, power))
            };
            let converts = unit.power == 0
                || (fits(price, -unit.power) && quantities.iter().all(|q| fits(*q, unit.power)));
            if converts { &*unit.base } else { &*unit.name }
        }));
    }
    Ok(Arc::new(bases.finish()))
}

/// True if a number times ten to the power is exact in a column of quantities or unit prices, or there is none.
fn is_exact(number: NumberArgument<'_>, row: usize, power: i8) -> bool {
    number.get(row).is_none_or(|units| {
        scaled(units, number.scale, power)
            .is_some_and(|units| units.unsigned_abs() < 10_u128.pow(COLUMN_DIGITS))
    })
}

/// A number of one unit in another of its measure; a price per unit is converted the other way round.
fn convert_unit(arguments: &CallArguments) -> Result<ArrayRef> {
    let (numbers, from, to) = (arguments.number(0)?, arguments.text(1)?, arguments.text(2)?);
    let mut known: FastMap<(Option<&str>, Option<&str>), Option<i8>> = FastMap::default();
    let mut converted = Decimal128Array::builder(arguments.rows());
    for row in 0..arguments.rows() {
        converted.append_option(numbers.get(row).and_then(|units| {
            let (from, to) = (from.get(row), to.get(row));
            // Most units come as they stay.
            let power = match from == to {
                true => Some(0),
                false => *known
                    .entry((from, to))
                    .or_insert_with(|| power_between(from, to)),
            };
            scaled(units, numbers.scale, power?)
        }));
    }
    Ok(Arc::new(
        converted
            .finish()
            .with_precision_and_scale(QUANTITY.0, QUANTITY.1)?,
    ))
}

/// The power of ten that makes a number of one unit one of another; `None` for units of different measures. No unit and no unit are the same.
fn power_between(from: Option<&str>, to: Option<&str>) -> Option<i8> {
    let named = |text: Option<&str>| text.and_then(MeasureUnit::named);
    match (named(from), named(to)) {
        (None, None) => Some(0),
        (Some(from), Some(to)) if from.base == to.base => from.power.checked_sub(to.power),
        _ => None,
    }
}

/// `units` times ten to the minus `scale`, times ten to the `power`, with the digits of a result; `None` where it is not exact there.
fn scaled(units: i128, scale: u32, power: i8) -> Option<i128> {
    let shift = i32::from(QUANTITY.1) + i32::from(power) - i32::try_from(scale).ok()?;
    let factor = 10_i128.checked_pow(shift.unsigned_abs())?;
    let scaled = match shift {
        0.. => units.checked_mul(factor)?,
        _ if units % factor == 0 => units / factor,
        _ => return None,
    };
    (scaled.unsigned_abs() < 10_u128.pow(u32::from(QUANTITY.0))).then_some(scaled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_exact_in_the_base_unit_or_are_not_converted() {
        assert_eq!(scaled(500_000_000, 6, -3), Some(500_000), "500 ml");
        assert_eq!(scaled(2, 0, 2), Some(200_000_000), "2 hl");
        assert_eq!(scaled(-1_500, 3, 3), Some(-1_500_000_000), "-1.5 MWh");
        assert_eq!(scaled(123_456_789, 6, -3), None, "123.456789 ml");
        assert_eq!(scaled(123_456_000, 6, -3), Some(123_456));
        assert_eq!(scaled(10_i128.pow(30), 0, 3), None, "does not fit");
    }

    #[test]
    fn units_of_one_measure_are_powers_of_ten_of_each_other() {
        for (from, to, power) in [
            (Some("ml"), Some("l"), Some(-3)),
            (Some("l"), Some("Milliliter"), Some(3)),
            (Some("hl"), Some("cl"), Some(4)),
            (Some("Barrel"), Some("barrel"), Some(0)),
            (Some("l"), Some("kg"), None),
            (Some("gal"), Some("us_gal"), None),
            (Some("h"), Some("min"), None),
            (None, Some("l"), None),
            (None, Some(""), Some(0)),
        ] {
            assert_eq!(power_between(from, to), power, "{from:?} {to:?}");
        }
    }
}
