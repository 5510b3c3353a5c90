//! Ranges that hold the keys of a step: a scan leaves out row groups and files that lie outside of them.
//!
//! ```text
//!   keys of a step     1 2 3            901 902 903 ...  990
//!   ranges             [1, 3]           [901,        990]       a sale that changed after years does not open the years between
//! ```
//!
//! Invariant: every key is in one of the ranges. A condition of ranges lets more pass than the keys, and never less: whoever uses it compares
//! the keys too.

use arrow::datatypes::{DataType, Schema};
use std::collections::BTreeSet;

/// Most ranges of a condition.
const MOST: usize = 16;
/// A gap between two keys parts them where it is more than this part of the whole.
const GAP_PART: u64 = 64;
/// Bytes of a text's value.
const VALUE_BYTES: usize = 8;

/// The condition, in SQL, that a column of a schema may hold one of these keys. Keys are compared with the column's value as text.
pub(super) fn condition<'k>(
    schema: &Schema,
    column: &str,
    keys: impl Iterator<Item = &'k str>,
) -> String {
    let Ok(field) = schema.field_with_name(column) else {
        return "TRUE".to_owned();
    };
    match field.data_type() {
        DataType::Int64 => {
            let numbers: BTreeSet<i64> = keys.filter_map(|key| key.parse().ok()).collect();
            let numbers: Vec<i64> = numbers.into_iter().collect();
            let ranges = ranges(&numbers, |from, to| to.abs_diff(from));
            any_of(column, ranges, number_literal)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let texts: BTreeSet<&str> = keys.collect();
            let texts: Vec<&str> = texts.into_iter().collect();
            let common = common_prefix(&texts);
            let distance = |from: &str, to: &str| value(to, common) - value(from, common);
            any_of(column, ranges(&texts, distance), |text| {
                format!("'{}'", text.replace('\'', "''"))
            })
        }
        _ => "TRUE".to_owned(),
    }
}

/// Cuts ascending keys at their widest gaps.
fn ranges<K: Copy>(keys: &[K], distance: impl Fn(K, K) -> u64) -> Vec<(K, K)> {
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
        return Vec::new();
    };
    let wide = distance(*first, *last) / GAP_PART;
    let pairs = keys.iter().zip(keys.iter().skip(1)).enumerate();
    let mut gaps: Vec<(u64, usize)> = pairs
        .map(|(at, (from, to))| (distance(*from, *to), at + 1))
        .filter(|(gap, _)| *gap > wide.max(1))
        .collect();
    gaps.sort_unstable_by(|a, b| b.cmp(a));
    gaps.truncate(MOST - 1);
    let mut cuts: Vec<usize> = gaps.into_iter().map(|(_, at)| at).collect();
    cuts.sort_unstable();
    cuts.push(keys.len());
    let (mut found, mut start) = (Vec::with_capacity(cuts.len()), 0);
    for cut in cuts {
        let range = keys.get(start..cut).unwrap_or_default();
        found.extend(range.first().copied().zip(range.last().copied()));
        start = cut;
    }
    found
}

fn any_of<K>(column: &str, ranges: Vec<(K, K)>, literal: impl Fn(K) -> String) -> String {
    let parts: Vec<String> = ranges
        .into_iter()
        .map(|(from, to)| {
            let (from, to) = (literal(from), literal(to));
            format!("\"{column}\" >= {from} AND \"{column}\" <= {to}")
        })
        .collect();
    if parts.is_empty() {
        "FALSE".to_owned()
    } else {
        format!("({})", parts.join(" OR "))
    }
}

/// A number as SQL has it, which negates what it read first.
fn number_literal(number: i64) -> String {
    match number {
        i64::MIN => format!("({} - 1)", i64::MIN + 1),
        other => other.to_string(),
    }
}

/// Length of what ascending texts begin with, all of them.
fn common_prefix(texts: &[&str]) -> usize {
    let (Some(first), Some(last)) = (texts.first(), texts.last()) else {
        return 0;
    };
    let pairs = first.bytes().zip(last.bytes());
    pairs.take_while(|(a, b)| a == b).count()
}

/// Bytes of a text behind what it has in common with others, as a number that is in the texts' order.
fn value(text: &str, common: usize) -> u64 {
    let bytes = text.bytes().skip(common).chain(std::iter::repeat(0));
    bytes
        .take(VALUE_BYTES)
        .fold(0_u64, |value, byte| (value << 8) | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;

    fn condition_of(data_type: DataType, keys: &[&str]) -> String {
        let schema = Schema::new(vec![Field::new("sale", data_type, true)]);
        condition(&schema, "sale", keys.iter().copied())
    }

    #[test]
    fn keys_far_from_each_other_are_in_ranges_of_their_own() {
        assert_eq!(
            condition_of(DataType::Int64, &["902", "3", "901", "1"]),
            r#"("sale" >= 1 AND "sale" <= 3 OR "sale" >= 901 AND "sale" <= 902)"#
        );
        assert_eq!(
            condition_of(DataType::Utf8, &["s-902", "s-103", "s-901", "s-101"]),
            r#"("sale" >= 's-101' AND "sale" <= 's-103' OR "sale" >= 's-901' AND "sale" <= 's-902')"#
        );
    }

    #[test]
    fn what_is_no_number_is_in_no_column_of_numbers() {
        assert_eq!(condition_of(DataType::Int64, &["a"]), "FALSE");
        assert_eq!(
            condition_of(DataType::Int64, &["-7", "a"]),
            r#"("sale" >= -7 AND "sale" <= -7)"#
        );
    }

    #[test]
    fn quotes_stay_in_a_text_and_other_columns_are_read_whole() {
        assert_eq!(
            condition_of(DataType::Utf8, &["o'clock"]),
            r#"("sale" >= 'o''clock' AND "sale" <= 'o''clock')"#
        );
        assert_eq!(condition_of(DataType::Boolean, &["true"]), "TRUE");
    }

    #[test]
    fn every_key_is_in_a_range_however_many_there_are() {
        let numbers: Vec<i64> = (0..64).flat_map(|n| [n * 1_000, n * 1_000 + 1]).collect();
        let found = ranges(&numbers, |from, to| to.abs_diff(from));
        assert_eq!(found.len(), MOST);
        let holds = |number: &i64| {
            found
                .iter()
                .any(|(from, to)| from <= number && number <= to)
        };
        assert!(numbers.iter().all(holds));
        let extremes = [i64::MIN, 0, i64::MAX];
        let apart = extremes.map(|number| (number, number));
        assert_eq!(ranges(&extremes, |from, to| to.abs_diff(from)), apart);
        assert_eq!(number_literal(i64::MIN), "(-9223372036854775807 - 1)");
    }
}
