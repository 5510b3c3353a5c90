//! Units of measure, brought to one spelling each.
//!
//! Invariant: what is not known stays null. No amount is ever converted: a US gallon stays one.

use super::arguments::map_labels;
use super::{ArgumentType, SqlFunction};
use arrow::datatypes::DataType;
use tillhouse_model::word;

/// `canonical_unit(text)`.
pub(super) fn function() -> SqlFunction {
    SqlFunction::new(
        "canonical_unit",
        &[ArgumentType::Text],
        DataType::Utf8,
        |arguments| map_labels(arguments, canonical),
    )
}

/// One of l kWh h min pc kg m3 us_gal uk_gal. Case, white space, points, hyphens and underscores do not matter.
pub fn canonical(text: &str) -> Option<&'static str> {
    let key = word::canonical(text).replace([' ', '-', '_', '.', '/', '(', ')'], "");
    Some(match key.as_str() {
        "l" | "lt" | "ltr" | "ltrs" | "liter" | "liters" | "litre" | "litres" | "litro"
        | "litri" | "litros" => "l",
        "kwh" | "kwhs" | "kilowatthour" | "kilowatthours" | "kilowattstunde"
        | "kilowattstunden" => "kWh",
        "h" | "hr" | "hrs" | "hour" | "hours" | "std" | "stunde" | "stunden" => "h",
        "min" | "mins" | "minute" | "minutes" | "minuten" => "min",
        "pc" | "pcs" | "piece" | "pieces" | "stk" | "stck" | "stück" | "stueck" | "st" | "ea"
        | "each" | "unit" | "units" | "item" | "items" => "pc",
        "kg" | "kgs" | "kilo" | "kilos" | "kilogram" | "kilograms" | "kilogramm" | "kilogramme" => {
            "kg"
        }
        "m3" | "m^3" | "cbm" | "cubicmeter" | "cubicmeters" | "cubicmetre" | "cubicmetres"
        | "kubikmeter" => "m3",
        "usgal" | "usgallon" | "usgallons" | "galus" | "gallonus" | "gallonsus" | "usg" => "us_gal",
        "ukgal" | "ukgallon" | "ukgallons" | "galuk" | "gallonuk" | "gallonsuk" | "impgal"
        | "imperialgallon" | "imperialgallons" => "uk_gal",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_meet() {
        for (spelling, unit) in [
            ("L", "l"),
            ("liter", "l"),
            ("Litres", "l"),
            ("KWH", "kWh"),
            ("kWh", "kWh"),
            ("Hours", "h"),
            ("minutes", "min"),
            ("Stk.", "pc"),
            ("Stück", "pc"),
            ("pcs", "pc"),
            ("kilogram", "kg"),
            ("m³", "m3"),
            ("us-gallon", "us_gal"),
            ("gal_us", "us_gal"),
            ("gal (US)", "us_gal"),
            ("uk-gallon", "uk_gal"),
            ("us\u{2011}gallon", "us_gal"),
            ("\u{ff4b}\u{ff37}\u{ff48}", "kWh"),
            ("\u{a0}L\u{200b}", "l"),
            ("\u{2113}", "l"),
            ("\u{338f}", "kg"),
            ("m\u{200d}in", "min"),
        ] {
            assert_eq!(canonical(spelling), Some(unit), "{spelling}");
        }
    }

    #[test]
    fn a_canonical_unit_is_its_own() {
        for unit in ["l", "kWh", "h", "min", "pc", "kg", "m3", "us_gal", "uk_gal"] {
            assert_eq!(canonical(unit), Some(unit));
        }
    }

    #[test]
    fn a_bare_gallon_could_be_either() {
        for unknown in ["gallon", "gal", "", "parsec"] {
            assert_eq!(canonical(unknown), None, "{unknown}");
        }
    }
}
