//! Units of measure: one spelling each, and the base unit of their measure, of which some are a power of ten.
//!
//! Invariant: a quantity is converted exactly, by a power of ten, or not at all: a US gallon stays one, and so does an hour. A unit that nothing is
//! known of is a unit of its own.

use crate::blank::names_nothing;
use crate::exact_decimal::ExactDecimal;
use crate::word::{self, one_form};
use std::borrow::Cow;

/// Units that are a power of ten of the base unit of their measure: name, base unit and that power.
const MULTIPLES: &[(&str, &str, i8)] = &[
    ("ml", "l", -3),
    ("cl", "l", -2),
    ("dl", "l", -1),
    ("hl", "l", 2),
    ("Wh", "kWh", -3),
    ("MWh", "kWh", 3),
    ("GWh", "kWh", 6),
    ("g", "kg", -3),
    ("t", "kg", 3),
];

/// The gallon that could be a US or a UK one.
const GALLON: &str = "gal";

/// Unit of measure in its canonical spelling, and the base unit of its measure.
///
/// ```
/// use tillhouse_model::MeasureUnit;
///
/// let unit = MeasureUnit::named("Hektoliter").unwrap();
/// assert_eq!((&*unit.name, &*unit.base, unit.power), ("hl", "l", 2));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasureUnit {
    /// The canonical spelling; of a unit that nothing is known of, the canonical form of its word.
    pub name: Cow<'static, str>,
    /// The base unit; the unit itself where it is a power of ten of none.
    pub base: Cow<'static, str>,
    /// One of the unit is ten to this power of the base unit.
    pub power: i8,
}

impl MeasureUnit {
    /// The unit that a text names; `None` where it names none.
    pub fn named(text: &str) -> Option<Self> {
        let word = word::canonical(text);
        let name = match spelled(text, &word) {
            Some(name) => Cow::Borrowed(name),
            // Statistics show what has no unit as `unknown`.
            None if names_nothing(&word) || word == "unknown" => return None,
            None => Cow::Owned(word.into_owned()),
        };
        let multiple = MULTIPLES.iter().find(|(multiple, ..)| *multiple == name);
        let (base, power) = match multiple {
            Some((_, base, power)) => (Cow::Borrowed(*base), *power),
            None => (name.clone(), 0),
        };
        Some(Self { name, base, power })
    }

    /// True if a text names a unit of which everybody knows how much it is: none that nothing is known of, and no bare gallon.
    pub fn is_known(text: &str) -> bool {
        spelled(text, &word::canonical(text)).is_some_and(|name| name != GALLON)
    }

    /// A quantity of this unit, in its base unit; `None` where that does not fit.
    pub fn in_base(&self, quantity: ExactDecimal) -> Option<ExactDecimal> {
        let scale = i16::from(quantity.scale) - i16::from(self.power);
        if scale >= 0 {
            return Some(ExactDecimal::new(quantity.units, u8::try_from(scale).ok()?));
        }
        let factor = 10_i128.checked_pow(u32::from(scale.unsigned_abs()))?;
        Some(ExactDecimal::new(quantity.units.checked_mul(factor)?, 0))
    }
}

/// The canonical spelling of a unit that is known, by its text and canonical word. White space, points in the middle of a line too, hyphens and
/// underscores do not matter, nor does case, but between `mWh` and `MWh`.
fn spelled(text: &str, word: &str) -> Option<&'static str> {
    let is_between = |c: char| {
        matches!(
            c,
            ' ' | '-' | '_' | '.' | '/' | '(' | ')' | '\u{b7}' | '\u{22c5}'
        )
    };
    let key = word.replace(is_between, "");
    Some(match key.as_str() {
        "l" | "lt" | "ltr" | "ltrs" | "liter" | "liters" | "litre" | "litres" | "litro"
        | "litri" | "litros" | "dm3" | "dm^3" => "l",
        "ml" | "milliliter" | "milliliters" | "millilitre" | "millilitres" | "cm3" | "cm^3"
        | "ccm" => "ml",
        "cl" | "centiliter" | "centiliters" | "centilitre" | "centilitres" | "zentiliter" => "cl",
        "dl" | "deciliter" | "deciliters" | "decilitre" | "decilitres" | "deziliter" => "dl",
        "hl" | "hectoliter" | "hectoliters" | "hectolitre" | "hectolitres" | "hektoliter" => "hl",
        "kwh" | "kwhs" | "kilowatthour" | "kilowatthours" | "kilowattstunde"
        | "kilowattstunden" => "kWh",
        "wh" | "watthour" | "watthours" | "wattstunde" | "wattstunden" => "Wh",
        "mwh" if has_letters(text, "mWh") => "mWh",
        "milliwatthour" | "milliwatthours" | "milliwattstunde" | "milliwattstunden" => "mWh",
        "mwh" | "megawatthour" | "megawatthours" | "megawattstunde" | "megawattstunden" => "MWh",
        "gwh" | "gigawatthour" | "gigawatthours" | "gigawattstunde" | "gigawattstunden" => "GWh",
        "h" | "hr" | "hrs" | "hour" | "hours" | "std" | "stunde" | "stunden" => "h",
        "min" | "mins" | "minute" | "minutes" | "minuten" => "min",
        "s" | "sec" | "secs" | "second" | "seconds" | "sekunde" | "sekunden" => "s",
        "pc" | "pcs" | "piece" | "pieces" | "stk" | "stck" | "stück" | "stueck" | "st" | "ea"
        | "each" | "unit" | "units" | "item" | "items" => "pc",
        "kg" | "kgs" | "kilo" | "kilos" | "kilogram" | "kilograms" | "kilogramm" | "kilogramme" => {
            "kg"
        }
        "g" | "gram" | "grams" | "gramm" | "gramme" | "grammes" => "g",
        "t" | "tonne" | "tonnes" | "tonnen" | "metricton" | "metrictons" => "t",
        "m3" | "m^3" | "cbm" | "cubicmeter" | "cubicmeters" | "cubicmetre" | "cubicmetres"
        | "kubikmeter" => "m3",
        "usgal" | "usgallon" | "usgallons" | "galus" | "gallonus" | "gallonsus" | "usg" => "us_gal",
        "ukgal" | "ukgallon" | "ukgallons" | "galuk" | "gallonuk" | "gallonsuk" | "impgal"
        | "imperialgallon" | "imperialgallons" => "uk_gal",
        "gal" | "gals" | "gallon" | "gallons" => GALLON,
        _ => return None,
    })
}

/// True if the letters of a text are these, in this case.
fn has_letters(text: &str, letters: &str) -> bool {
    let text = one_form(text);
    text.chars()
        .filter(|c| c.is_alphabetic())
        .eq(letters.chars())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Option<String> {
        Some(MeasureUnit::named(text)?.name.into_owned())
    }

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
            ("HL", "hl"),
            ("kW\u{b7}h", "kWh"),
            ("kW\u{22c5}h", "kWh"),
            ("m.w.h", "MWh"),
            ("MWH", "MWh"),
            ("mwh", "MWh"),
            ("mWh", "mWh"),
            (" mW\u{b7}h", "mWh"),
            ("\u{ff4d}\u{ff37}\u{ff48}", "mWh"),
            ("gal", "gal"),
            ("Gallon", "gal"),
            ("gallons", "gal"),
            ("ltr.", "l"),
            ("us_gallon", "us_gal"),
            ("U.S. gallon", "us_gal"),
            ("us-gal.", "us_gal"),
            ("ukGallon", "uk_gal"),
            ("Gramm", "g"),
            ("ccm", "ml"),
            ("Sekunden", "s"),
        ] {
            assert_eq!(canonical(spelling).as_deref(), Some(unit), "{spelling}");
        }
    }

    #[test]
    fn a_canonical_unit_is_its_own() {
        let others = [
            "h", "min", "s", "pc", "m3", "us_gal", "uk_gal", "gal", "mWh",
        ];
        let pairs = MULTIPLES
            .iter()
            .flat_map(|(multiple, base, _)| [*multiple, *base]);
        for unit in pairs.chain(others) {
            assert_eq!(canonical(unit).as_deref(), Some(unit));
        }
        for unit in ["l", "kWh", "kg"].into_iter().chain(others) {
            let unit = MeasureUnit::named(unit).unwrap();
            assert_eq!((unit.name == unit.base, unit.power), (true, 0), "{unit:?}");
        }
    }

    #[test]
    fn a_unit_that_nothing_is_known_of_is_its_own() {
        // A ton could be a short one, a bare gallon either.
        for unknown in ["ton", "parsec", "1/2 l", "12 l"] {
            assert_eq!(canonical(unknown).as_deref(), Some(unknown));
            assert!(!MeasureUnit::is_known(unknown));
        }
        assert!(!MeasureUnit::is_known("Gallons") && !MeasureUnit::is_known("unknown"));
        assert!(MeasureUnit::is_known("U.S. gallon") && MeasureUnit::is_known("ltr."));
        assert_eq!(canonical(" Barrel\u{200b}"), canonical("BARREL"));
        for none in ["", " ", "null", "N/A", "-", "Unknown"] {
            assert_eq!(canonical(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_quantity_is_exact_in_the_base_unit() {
        let of = |unit: &str, text: &str| {
            let quantity = ExactDecimal::parse(text).unwrap();
            let base = MeasureUnit::named(unit).unwrap().in_base(quantity);
            base.map(|base| base.trimmed().to_string())
        };
        assert_eq!(of("ml", "0.5").as_deref(), Some("0.0005"));
        assert_eq!(of("GWh", "0.5").as_deref(), Some("500000"));
        assert_eq!(of("t", "2").as_deref(), Some("2000"));
        assert_eq!(of("barrel", "2.50").as_deref(), Some("2.5"));
    }
}
