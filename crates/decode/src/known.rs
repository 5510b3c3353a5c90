//! Records as they were last known, for pages that show only a part of them.
//!
//! Invariant: only a field that a record leaves out is taken from here, whole; one that is null, or an object that lacks something, is
//! what the page says.

use crate::column::{Column, Values};
use crate::plan::{Field, Plan, What};
use crate::stop::Walk;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Date32Type, Decimal128Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use std::collections::HashMap;
use tillhouse_model::table::RECORD_KEY;
use tillhouse_model::{Error, Result};

/// The last known versions of some records.
#[derive(Debug, Clone)]
pub struct KnownRecords {
    rows: RecordBatch,
    by_key: HashMap<String, usize>,
}

impl KnownRecords {
    /// From rows of the source table, one a record. Columns that the contract had not yet when they were written are unknown.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Internal`] where they lack the record key.
    pub fn new(rows: RecordBatch) -> Result<Self> {
        let keys = rows.column_by_name(RECORD_KEY).and_then(|keys| keys.as_string_opt::<i32>());
        let keys = keys.ok_or_else(|| Error::internal("known records come without their keys"))?;
        let by_key = keys.iter().enumerate().filter_map(|(row, key)| Some((key?.to_owned(), row))).collect();
        Ok(Self { rows, by_key })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Puts the known values of the `absent` fields into a row, the last one of the columns.
    pub(crate) fn complete(
        &self,
        key: &[u8],
        plan: &Plan,
        absent: &[usize],
        columns: &mut [Column],
        row: usize,
    ) -> Walk {
        let known = std::str::from_utf8(key).ok().and_then(|key| self.by_key.get(key));
        let Some(known) = known else { return Ok(()) };
        for at in absent {
            // What the request named is not the record's own.
            if plan.scope == Some(*at) {
                continue;
            }
            let (field, column) = (&plan.record.fields[*at], &mut columns[*at]);
            if let Some(array) = self.rows.column_by_name(&field.name) {
                column.truncate(row);
                copy(field, column, array.as_ref(), *known)?;
            }
        }
        Ok(())
    }
}

/// Appends a value of an array to the column of its field; null where the array is of another type, as after a change of contract.
fn copy(field: &Field, column: &mut Column, array: &dyn Array, row: usize) -> Walk {
    if array.is_null(row) || !fits(field, array) {
        return column.push_null();
    }
    match (&field.what, &mut column.values) {
        (What::Object(object), Values::Object(columns)) => {
            let parent = array.as_struct();
            for (field, column) in object.fields.iter().zip(columns) {
                match parent.column_by_name(&field.name) {
                    Some(array) => copy(field, column, array.as_ref(), row)?,
                    None => column.push_null()?,
                }
            }
        }
        (What::List(element), Values::List { offsets, elements }) => {
            let list = array.as_list::<i32>().value(row);
            for row in 0..list.len() {
                copy(element, elements, list.as_ref(), row)?;
            }
            Column::close_list(offsets, elements)?;
        }
        (_, Values::Text(texts)) => {
            texts.bytes.extend_from_slice(array.as_string::<i32>().value(row).as_bytes());
            texts.close()?;
        }
        (_, Values::Bool(bits)) => bits.push(array.as_boolean().value(row)),
        (_, Values::Int(values)) => values.push(array.as_primitive::<Int64Type>().value(row)),
        (_, Values::Decimal(values)) => values.push(array.as_primitive::<Decimal128Type>().value(row)),
        (_, Values::Time(values)) => values.push(array.as_primitive::<TimestampMicrosecondType>().value(row)),
        (_, Values::Date(values)) => values.push(array.as_primitive::<Date32Type>().value(row)),
        // Nothing is decoded there.
        _ => return column.push_null(),
    }
    column.valid.push(true);
    Ok(())
}

/// Whether an array holds what its field decodes to.
fn fits(field: &Field, array: &dyn Array) -> bool {
    use arrow::datatypes::{DataType, TimeUnit};
    match (&field.what, array.data_type()) {
        (What::Text(_), DataType::Utf8)
        | (What::Bool, DataType::Boolean)
        | (What::Int, DataType::Int64)
        | (What::Time(_), DataType::Timestamp(TimeUnit::Microsecond, _))
        | (What::Date, DataType::Date32)
        | (What::Object(_), DataType::Struct(_))
        | (What::List(_), DataType::List(_)) => true,
        (What::Decimal { scale, .. }, DataType::Decimal128(_, held)) => scale == held,
        _ => false,
    }
}
