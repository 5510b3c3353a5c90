//! Values of a column as cells of a spreadsheet: numbers, days and texts.
//!
//! Invariant: a number in a cell is the value, with all of its digits, and so is a day or a time. A value that a spreadsheet would change is text: more digits than it keeps, an instant, whose offset it
//! does not know, a day before March 1900, parts of a millisecond. Binary numbers (floats) are what they are: a spreadsheet has them too.

use super::cannot_show;
use super::cell::CellFormatter;
use arrow::array::{Array, AsArray, Int64Array};
use arrow::buffer::NullBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit};
use std::ops::RangeInclusive;
use tillhouse_model::Result;

/// Digits of a number that a spreadsheet keeps.
const SHEET_DIGITS: usize = 15;
/// The smallest and the largest number of a spreadsheet, beside nought.
const SHEET_NUMBERS: RangeInclusive<f64> = 2.3e-308..=9.99e307;
/// Days of a spreadsheet at the start of 1970.
const EPOCH_DAY: i64 = 25_569;
/// Days that every spreadsheet counts alike: from March 1900, since some hold 1900 for a leap year, to the end of 9999.
const SHEET_DAYS: RangeInclusive<i64> = 61..=2_958_465;

/// Pattern by which a spreadsheet shows the numbers of a column: all of their digits, and of decimals two at least.
pub(super) fn number_format(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => Some(match usize::try_from(*scale) {
            Err(_) | Ok(0) => "0".to_owned(),
            Ok(1) => "0.0".to_owned(),
            // A pattern has 30 digits at most.
            Ok(scale) => format!("0.00{}", "#".repeat((scale - 2).min(28))),
        }),
        whole if whole.is_integer() => Some("0".to_owned()),
        DataType::Date32 => Some("yyyy-mm-dd".to_owned()),
        DataType::Timestamp(_, None) => Some("yyyy-mm-dd hh:mm:ss.000".to_owned()),
        _ => None,
    }
}

/// Content of a cell.
#[derive(Debug, PartialEq)]
pub(super) enum SheetCell {
    Null,
    Boolean(bool),
    Number(f64),
    Text(String),
}

/// Kind of the cells of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CellKind {
    Boolean,
    /// Whole numbers and decimals.
    Exact,
    Float,
    Day,
    Time(TimeUnit),
    Text,
}

impl CellKind {
    fn of(data_type: &DataType) -> Self {
        match data_type {
            DataType::Boolean => Self::Boolean,
            float if float.is_floating() => Self::Float,
            number if number.is_numeric() => Self::Exact,
            DataType::Date32 => Self::Day,
            DataType::Timestamp(unit, None) => Self::Time(*unit),
            _ => Self::Text,
        }
    }
}

/// A column whose values become cells.
pub(super) struct SheetColumn<'a> {
    column: &'a dyn Array,
    kind: CellKind,
    nulls: Option<NullBuffer>,
    texts: CellFormatter<'a>,
    /// Days or times as numbers, where it has these.
    counts: Option<Int64Array>,
}

impl<'a> SheetColumn<'a> {
    /// The column; `has_numbers` where its texts are numbers that were written out.
    pub(super) fn of(column: &'a dyn Array, has_numbers: bool) -> Result<Self> {
        let kind = match CellKind::of(column.data_type()) {
            CellKind::Text if has_numbers => CellKind::Exact,
            kind => kind,
        };
        let counts = match kind {
            CellKind::Day | CellKind::Time(_) => {
                let counts = cast(column, &DataType::Int64).map_err(cannot_show)?;
                Some(counts.as_primitive::<Int64Type>().clone())
            }
            _ => None,
        };
        Ok(Self {
            column,
            kind,
            nulls: column.logical_nulls(),
            texts: CellFormatter::of(column)?,
            counts,
        })
    }

    /// The cell of one value.
    pub(super) fn cell(&self, index: usize) -> Result<SheetCell> {
        let is_null = |nulls: &NullBuffer| nulls.is_null(index);
        if self.nulls.as_ref().is_some_and(is_null) {
            return Ok(SheetCell::Null);
        }
        if self.kind == CellKind::Boolean {
            return Ok(SheetCell::Boolean(self.column.as_boolean().value(index)));
        }
        let text = self.texts.text(index)?;
        let count = self.counts.as_ref().map(|counts| counts.value(index));
        let number = match (self.kind, count) {
            (CellKind::Exact, _) if digits(&text) <= SHEET_DIGITS => number(&text),
            (CellKind::Float, _) => number(&text),
            (CellKind::Day, Some(days)) => serial(days, 0),
            (CellKind::Time(unit), Some(count)) => serial_of_time(count, unit),
            _ => None,
        };
        Ok(number.map_or(SheetCell::Text(text), SheetCell::Number))
    }
}

/// Digits of a number that tell it from others: those between the first and the last that is not nought.
fn digits(text: &str) -> usize {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').len()
}

/// The number of a text, if a spreadsheet has it.
///
/// A workbook has binary numbers alone, amounts too. Of at most 15 digits they are told apart: the shortest text of the number, which goes into the file, is the one it was read from.
fn number(text: &str) -> Option<f64> {
    let number: f64 = text.parse().ok()?;
    let size = number.abs();
    (size == 0.0 || SHEET_NUMBERS.contains(&size)).then_some(number)
}

/// A spreadsheet's number for a day since 1970 and milliseconds in it, if it has one.
fn serial(day: i64, milliseconds: i32) -> Option<f64> {
    let day = day.checked_add(EPOCH_DAY)?;
    if !SHEET_DAYS.contains(&day) {
        return None;
    }
    let day = i32::try_from(day).ok()?;
    Some(f64::from(day) + f64::from(milliseconds) / 86_400_000.0)
}

/// A spreadsheet's number for a time without a zone; it counts no smaller parts than milliseconds.
fn serial_of_time(count: i64, unit: TimeUnit) -> Option<f64> {
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let (seconds, rest) = (count.div_euclid(per_second), count.rem_euclid(per_second));
    if (rest * 1_000) % per_second != 0 {
        return None;
    }
    let milliseconds = seconds.rem_euclid(86_400) * 1_000 + rest * 1_000 / per_second;
    serial(
        seconds.div_euclid(86_400),
        i32::try_from(milliseconds).ok()?,
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_more_digits_than_a_spreadsheet_keeps_is_text() {
        for (text, expected) in [
            ("0.00", 0),
            ("-0.0010", 1),
            ("12.5000", 3),
            ("1000000000000000000", 1),
            ("123456789012.345", 15),
            ("1234567890123456", 16),
            ("1000000000000000.1", 17),
        ] {
            assert_eq!(digits(text), expected, "{text}");
        }
        // What goes into the file is what came: the shortest text of the number.
        for text in ["999999999999999", "99999999999.9999", "0.1", "-623717.05"] {
            assert_eq!(number(text).unwrap().to_string(), text);
        }
        for text in ["NaN", "inf", "1e308", "5e-324"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn times_are_the_numbers_of_a_spreadsheet_where_it_has_them() {
        assert_eq!(serial(0, 0), Some(25_569.0));
        assert_eq!(serial(20_485, 43_200_000), Some(46_054.5));
        assert_eq!(serial(-25_509, 0), None, "February 1900");
        assert_eq!(serial(i64::MAX, 0), None);
        let noon = 20_485 * 86_400 + 43_200;
        assert_eq!(serial_of_time(noon, TimeUnit::Second), Some(46_054.5));
        assert_eq!(
            serial_of_time(noon * 1_000_000, TimeUnit::Microsecond),
            Some(46_054.5)
        );
        assert_eq!(
            serial_of_time(noon * 1_000_000 + 1, TimeUnit::Microsecond),
            None
        );
        assert_eq!(
            serial_of_time(-500, TimeUnit::Millisecond),
            serial(-1, 86_399_500)
        );
    }

    #[test]
    fn all_digits_of_a_column_are_shown() {
        for (data_type, pattern) in [
            (DataType::Decimal128(18, 4), Some("0.00##")),
            (DataType::Decimal128(18, 2), Some("0.00")),
            (DataType::Decimal128(18, 1), Some("0.0")),
            (DataType::Decimal128(18, 0), Some("0")),
            (DataType::Int64, Some("0")),
            (DataType::Float64, None),
            (DataType::Utf8, None),
        ] {
            assert_eq!(number_format(&data_type).as_deref(), pattern);
        }
    }
}
