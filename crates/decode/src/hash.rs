//! The content hash: what makes two versions of a record the same.
//!
//! Invariant: it depends on the decoded values alone, after pseudonymisation: not on the order of fields, on white space, on how a number
//! or an instant is spelled, on unknown fields, on secrets, or on columns that are null.
//!
//! Hashed are, in the contract's order, only for values that are present:
//!
//! ```text
//!   value    := id of the column's path (8 bytes), then
//!   text     := length (8), bytes
//!   bool     := one byte
//!   number   := without trailing zeros, units times ten to an exponent: exponent (2 bytes), units (16)
//!   instant  := microseconds UTC (8)        date := days since 1970 (4)
//!   object   := its values; an object without any is as good as none
//!   list     := count (8), then for each element 0 if it is null, else 1 and its values, ended by eight zeros
//! ```
//!
//! So a nullable column can be added to a contract, an Int become a Decimal, and a scale grow, without making a new version of every
//! record. The first byte is [`VERSION`], or [`WITHOUT_TENANT`] where a record is listed tenant by tenant and does not name its own: the
//! tenant is then left out, since the same record may be listed for several. Whoever changes anything here must raise both.

use crate::column::{ColumnBuilder, ColumnValues};
use crate::fields::{FieldKind, FieldPlan, ObjectPlan};
use crate::plan::DecodePlan;
use xxhash_rust::xxh3::xxh3_128;

/// The version of this scheme, the first byte of every hash.
pub(crate) const VERSION: u8 = 1;

/// The version of a hash that leaves out the tenant.
pub(crate) const WITHOUT_TENANT: u8 = 2;

/// Bytes of a hash: the version, then 128 bits.
pub(crate) const SIZE: usize = 17;

const END: [u8; 8] = [0; 8];

/// The hash of one row. `scratch` is only there to be used again.
pub(crate) fn content_hash(
    plan: &DecodePlan,
    columns: &[ColumnBuilder],
    row: usize,
    scratch: &mut Vec<u8>,
) -> [u8; SIZE] {
    scratch.clear();
    let tenant = plan.scope.filter(|at| !plan.key.contains(at));
    let (before, after) = tenant.map_or((columns.len(), columns.len()), |at| (at, at + 1));
    let fields = &plan.record.fields;
    feed_fields(
        fields.get(..before).unwrap_or(fields),
        columns,
        row,
        scratch,
    );
    feed_fields(
        fields.get(after..).unwrap_or_default(),
        columns.get(after..).unwrap_or_default(),
        row,
        scratch,
    );
    let mut hash = [if tenant.is_some() {
        WITHOUT_TENANT
    } else {
        VERSION
    }; SIZE];
    hash[1..].copy_from_slice(&xxh3_128(scratch).to_be_bytes());
    hash
}

/// True if two rows of a column mean the same.
pub(crate) fn is_same(field: &FieldPlan, column: &ColumnBuilder, one: usize, other: usize) -> bool {
    let fed = |row| {
        let mut bytes = Vec::new();
        if column.valid.get(row) {
            feed(field, column, row, &mut bytes);
        }
        bytes
    };
    fed(one) == fed(other)
}

fn feed_object(object: &ObjectPlan, columns: &[ColumnBuilder], row: usize, out: &mut Vec<u8>) {
    feed_fields(&object.fields, columns, row, out);
}

fn feed_fields(fields: &[FieldPlan], columns: &[ColumnBuilder], row: usize, out: &mut Vec<u8>) {
    for (field, column) in fields.iter().zip(columns) {
        if column.valid.get(row) {
            feed(field, column, row, out);
        }
    }
}

fn feed(field: &FieldPlan, column: &ColumnBuilder, row: usize, out: &mut Vec<u8>) {
    let id = field.id.to_le_bytes();
    match (&field.kind, &column.values) {
        (FieldKind::Object(object), ColumnValues::Object(columns)) => {
            feed_object(object, columns, row, out)
        }
        (FieldKind::List(element), ColumnValues::List { offsets, elements }) => {
            let rows = ColumnBuilder::elements_of(offsets, row);
            put(out, id, (rows.len() as u64).to_le_bytes());
            for row in rows {
                if elements.valid.get(row) {
                    out.push(1);
                    feed(element, elements, row, out);
                    out.extend_from_slice(&END);
                } else {
                    out.push(0);
                }
            }
        }
        (FieldKind::Decimal { scale, .. }, ColumnValues::Decimal(values)) => {
            number(out, id, values[row], -i16::from(*scale))
        }
        (_, ColumnValues::Int(values)) => number(out, id, i128::from(values[row]), 0),
        (_, ColumnValues::Text(texts)) => {
            let text = texts.get(row);
            put(out, id, (text.len() as u64).to_le_bytes());
            out.extend_from_slice(text);
        }
        (_, ColumnValues::Time(values)) => put(out, id, values[row].to_le_bytes()),
        (_, ColumnValues::Date(values)) => put(out, id, values[row].to_le_bytes()),
        (_, ColumnValues::Bool(bits)) => put(out, id, [u8::from(bits.get(row))]),
        // Nothing is decoded there, and plan and columns have the same shape.
        _ => {}
    }
}

#[inline]
fn put<const N: usize>(out: &mut Vec<u8>, id: [u8; 8], value: [u8; N]) {
    out.extend_from_slice(&id);
    out.extend_from_slice(&value);
}

/// A number by its value: 12.50 at scale 2 and 12.5000 at scale 4 are one.
#[inline]
fn number(out: &mut Vec<u8>, id: [u8; 8], units: i128, exponent: i16) {
    let (units, exponent) = match i64::try_from(units) {
        Ok(0) => (0, 0),
        // Division of an i64 by a constant is a multiplication; of an i128 it is a call.
        Ok(mut units) => {
            let mut exponent = exponent;
            while units % 10 == 0 {
                units /= 10;
                exponent += 1;
            }
            (i128::from(units), exponent)
        }
        Err(_) => {
            let (mut units, mut exponent) = (units, exponent);
            while units % 10 == 0 {
                units /= 10;
                exponent += 1;
            }
            (units, exponent)
        }
    };
    out.extend_from_slice(&id);
    out.extend_from_slice(&exponent.to_le_bytes());
    out.extend_from_slice(&units.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_hashed_by_value() {
        let bytes = |units, exponent| {
            let mut out = Vec::new();
            number(&mut out, [7; 8], units, exponent);
            out
        };
        assert_eq!(bytes(1250, -2), bytes(125_000, -4));
        assert_eq!(bytes(1200, 0), bytes(12, 2));
        assert_eq!(bytes(0, -4), bytes(0, 0));
        assert_eq!(bytes(10_i128.pow(37), -20), bytes(1, 17));
        assert_ne!(bytes(1250, -2), bytes(-1250, -2));
        assert_ne!(bytes(1250, -2), bytes(1250, -3));
    }
}
