//! Identity and times of a record: its key as text, its record time, its source's version time.
//!
//! Invariant: two records of a contract have the same key text exactly if their key columns are equal.

use crate::column::{ColumnBuilder, ColumnValues};
use crate::fields::{FieldKind, FieldPlan, ObjectPlan, PathStep, TextTreatment};
use jiff::civil::Date;
use jiff::{Timestamp, ToSpan as _};
use std::fmt::Write as _;
use tillhouse_model::ExactDecimal;
use tillhouse_model::blank::{self, is_blank};

/// Appends the key of a row: its columns' values as text, joined by ':'. Where a key has several columns, a ':' or '\' inside a text is
/// preceded by '\', so that no two keys meet.
pub(crate) fn key(
    (record, key): (&ObjectPlan, &[usize]),
    columns: &[ColumnBuilder],
    row: usize,
    out: &mut Vec<u8>,
) {
    for (nth, at) in key.iter().enumerate() {
        if nth > 0 {
            out.push(b':');
        }
        let (field, column) = (&record.fields[*at], &columns[*at]);
        key_part(field, column, row, key.len() > 1, out);
    }
}

/// True if a part of a key is null, or a text nobody can see.
pub(crate) fn is_missing(column: &ColumnBuilder, row: usize) -> bool {
    if !column.valid.get(row) {
        return true;
    }
    match &column.values {
        ColumnValues::Text(texts) => std::str::from_utf8(texts.get(row)).is_ok_and(is_blank),
        _ => false,
    }
}

/// True if a part of a key names nothing: it is missing, or what serializers write in the place of a value. Records of such a key would replace each
/// other.
pub(crate) fn names_nothing(column: &ColumnBuilder, row: usize) -> bool {
    if is_missing(column, row) {
        return true;
    }
    match &column.values {
        ColumnValues::Text(texts) => {
            std::str::from_utf8(texts.get(row)).is_ok_and(blank::names_nothing)
        }
        _ => false,
    }
}

/// Appends one column's part of a key.
pub(crate) fn key_part(
    field: &FieldPlan,
    column: &ColumnBuilder,
    row: usize,
    composite: bool,
    out: &mut Vec<u8>,
) {
    let text = match (&field.kind, &column.values) {
        (what, ColumnValues::Text(texts)) => {
            let text = texts.get(row);
            // A pseudonym has one shape and cannot be taken for anything else.
            let ambiguous = !matches!(what, FieldKind::Text(TextTreatment::Pseudonym(_)));
            if composite && ambiguous && text.iter().any(|b| matches!(b, b':' | b'\\')) {
                for byte in text {
                    if matches!(byte, b':' | b'\\') {
                        out.push(b'\\');
                    }
                    out.push(*byte);
                }
            } else {
                out.extend_from_slice(text);
            }
            return;
        }
        (_, ColumnValues::Int(values)) => values[row].to_string(),
        (_, ColumnValues::Bool(bits)) => bits.get(row).to_string(),
        (FieldKind::Decimal { scale, .. }, ColumnValues::Decimal(values)) => {
            let mut text = ExactDecimal::new(values[row], scale.max(&0).unsigned_abs())
                .trimmed()
                .to_string();
            if values[row] != 0 {
                (0..scale.saturating_neg()).for_each(|_| text.push('0'));
            }
            text
        }
        (_, ColumnValues::Date(values)) => date(values[row]),
        // An instant has a ':' in it, so as part of a composite key it is written as a number.
        (_, ColumnValues::Time(values)) if composite => values[row].to_string(),
        (_, ColumnValues::Time(values)) => Timestamp::from_microsecond(values[row])
            .map_or_else(|_| values[row].to_string(), |t| t.to_string()),
        _ => return,
    };
    out.extend_from_slice(text.as_bytes());
}

fn date(days: i32) -> String {
    Date::new(1970, 1, 1)
        .and_then(|d| d.checked_add(days.days()))
        .map_or_else(|_| days.to_string(), |d| d.to_string())
}

/// The first of the paths that has a value, and that value; through a list, its earliest.
pub(crate) fn earliest(
    paths: &[Vec<PathStep>],
    columns: &[ColumnBuilder],
    row: usize,
) -> Option<(usize, i64)> {
    paths.iter().enumerate().find_map(|(nth, hops)| {
        let mut found: Option<i64> = None;
        visit(
            columns,
            hops,
            row,
            &mut Vec::new(),
            &mut |column, row, _| {
                let micros = match &column.values {
                    ColumnValues::Time(values) => values[row],
                    ColumnValues::Date(values) => i64::from(values[row]) * 86_400_000_000,
                    _ => return,
                };
                found = Some(found.map_or(micros, |f| f.min(micros)));
            },
        );
        found.map(|micros| (nth, micros))
    })
}

/// Calls `each` for every value a path leads to that is not null, with the positions in the lists on the way.
pub(crate) fn visit<'c>(
    columns: &'c [ColumnBuilder],
    hops: &[PathStep],
    row: usize,
    positions: &mut Vec<usize>,
    each: &mut dyn FnMut(&'c ColumnBuilder, usize, &[usize]),
) {
    if let Some((PathStep::Field(at), rest)) = hops.split_first() {
        follow(&columns[*at], rest, row, positions, each);
    }
}

fn follow<'c>(
    column: &'c ColumnBuilder,
    hops: &[PathStep],
    row: usize,
    positions: &mut Vec<usize>,
    each: &mut dyn FnMut(&'c ColumnBuilder, usize, &[usize]),
) {
    if !column.valid.get(row) {
        return;
    }
    match (hops.split_first(), &column.values) {
        (None, _) => each(column, row, positions),
        (Some((PathStep::Field(at), rest)), ColumnValues::Object(columns)) => {
            follow(&columns[*at], rest, row, positions, each)
        }
        (Some((PathStep::Elements, rest)), ColumnValues::List { offsets, elements }) => {
            for (position, row) in ColumnBuilder::elements_of(offsets, row).enumerate() {
                positions.push(position);
                follow(elements, rest, row, positions, each);
                positions.pop();
            }
        }
        // A plan's paths fit its columns.
        _ => {}
    }
}

/// A path in words: `payments[0].currency`; without positions, the path of every element: `payments[].currency`.
pub(crate) fn spell(record: &ObjectPlan, hops: &[PathStep], positions: &[usize]) -> String {
    let mut out = String::new();
    let mut object = Some(record);
    let mut field: Option<&FieldPlan> = None;
    let mut positions = positions.iter();
    for hop in hops {
        match hop {
            PathStep::Field(at) => {
                field = object.and_then(|o| o.fields.get(*at));
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(field.map_or("", |f| &f.json_name));
            }
            PathStep::Elements => {
                if let Some(FieldKind::List(element)) = field.map(|f| &f.kind) {
                    let _infallible = match positions.next() {
                        Some(at) => write!(out, "[{at}]"),
                        None => write!(out, "[]"),
                    };
                    field = Some(element);
                }
            }
        }
        object = field.and_then(|f| {
            if let FieldKind::Object(o) = &f.kind {
                Some(o)
            } else {
                None
            }
        });
    }
    out
}
