//! Growing columns: values, offsets and validity of what a page holds so far.
//!
//! Invariant: every column of an object has the same number of rows whenever a record is complete, and [`ColumnBuilder::truncate`] brings
//! back exactly the state after any earlier row, also from the middle of a record.
//!
//! ```text
//!   object   validity + one column a field     (also for fields that are never decoded: they hold only a count)
//!   list     validity + offsets + the elements' column
//!   text     validity + offsets + bytes
//!   others   validity + values
//! ```
//!
//! Arrow's own builders cannot be cut back, and a record turns out to be a reject in its middle; hence these.

use crate::abort::{Abort, ReadResult};
use crate::fields::{FieldKind, FieldPlan, ObjectPlan};
use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int64Array, ListArray, StringArray,
    StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields};
use arrow::error::ArrowError;
use std::sync::Arc;
use tillhouse_model::Error;

/// Growable bitmap.
#[derive(Debug, Default, Clone)]
pub(crate) struct BitBuffer {
    bytes: Vec<u8>,
    len: usize,
    unset: usize,
}

impl BitBuffer {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn push(&mut self, bit: bool) {
        let at = self.len % 8;
        if at == 0 {
            self.bytes.push(0);
        }
        if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << at;
        }
        self.unset += usize::from(!bit);
        self.len += 1;
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> bool {
        self.bytes
            .get(at / 8)
            .is_some_and(|byte| byte >> (at % 8) & 1 == 1)
    }

    fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        self.unset -= (len..self.len).filter(|at| !self.get(*at)).count();
        self.len = len;
        self.bytes.truncate(len.div_ceil(8));
        if !len.is_multiple_of(8)
            && let Some(last) = self.bytes.last_mut()
        {
            *last &= (1 << (len % 8)) - 1;
        }
    }

    fn remove(&mut self, at: usize) {
        let behind: Vec<bool> = (at + 1..self.len).map(|at| self.get(at)).collect();
        self.truncate(at);
        behind.into_iter().for_each(|bit| self.push(bit));
    }

    pub(crate) fn into_buffer(self) -> BooleanBuffer {
        BooleanBuffer::new(Buffer::from_vec(self.bytes), 0, self.len)
    }

    /// As validity; `None` where everything is valid.
    pub(crate) fn into_nulls(self) -> Option<NullBuffer> {
        let unset = self.unset;
        (unset > 0).then(|| NullBuffer::new(self.into_buffer()))
    }
}

/// Bytes and offsets of a text column under construction.
#[derive(Debug, Clone)]
pub(crate) struct TextBuffer {
    pub(crate) bytes: Vec<u8>,
    offsets: Vec<i32>,
}

impl Default for TextBuffer {
    fn default() -> Self {
        Self {
            bytes: Vec::new(),
            offsets: vec![0],
        }
    }
}

impl TextBuffer {
    /// Makes a text of the bytes appended since the last one.
    #[inline]
    pub(crate) fn close(&mut self) -> ReadResult {
        self.offsets.push(offset(self.bytes.len())?);
        Ok(())
    }

    #[inline]
    pub(crate) fn get(&self, row: usize) -> &[u8] {
        &self.bytes[index(self.offsets[row])..index(self.offsets[row + 1])]
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.bytes.truncate(index(self.offsets[rows]));
    }

    fn remove(&mut self, row: usize) {
        let (start, end) = (self.offsets[row], self.offsets[row + 1]);
        self.bytes.drain(index(start)..index(end));
        self.offsets.remove(row + 1);
        self.offsets
            .iter_mut()
            .skip(row + 1)
            .for_each(|offset| *offset -= end - start);
    }

    pub(crate) fn into_array(self, nulls: Option<NullBuffer>) -> Result<StringArray, ArrowError> {
        StringArray::try_new(
            OffsetBuffer::new(ScalarBuffer::from(self.offsets)),
            Buffer::from_vec(self.bytes),
            nulls,
        )
    }
}

#[inline]
fn index(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or(0)
}

#[inline]
fn offset(len: usize) -> ReadResult<i32> {
    i32::try_from(len).map_err(|_| too_large())
}

/// The page would become more than a column, or a machine, can hold.
#[cold]
pub(crate) fn too_large() -> Box<Abort> {
    Box::new(Abort::Page(
        Error::data("the page is too large once decoded")
            .hint("Set a smaller page_size in the pipeline's sync section."),
    ))
}

/// Validity and values of a column under construction.
#[derive(Debug)]
pub(crate) struct ColumnBuilder {
    pub(crate) valid: BitBuffer,
    pub(crate) values: ColumnValues,
}

/// Values of a column under construction, by type.
#[derive(Debug)]
pub(crate) enum ColumnValues {
    Text(TextBuffer),
    Bool(BitBuffer),
    Int(Vec<i64>),
    Decimal(Vec<i128>),
    Time(Vec<i64>),
    Date(Vec<i32>),
    Object(Vec<ColumnBuilder>),
    List {
        offsets: Vec<i32>,
        elements: Box<ColumnBuilder>,
    },
    NotDecoded,
}

/// Rows and bytes of every column of an earlier page, depth first: a hint for how much room to
/// reserve.
pub(crate) type ColumnSizes = Vec<(u32, u32)>;

impl ColumnBuilder {
    /// Appends a text, or nothing, to a column of texts.
    pub(crate) fn push_text(&mut self, text: Option<&str>) -> ReadResult {
        let (Some(text), ColumnValues::Text(texts)) = (text, &mut self.values) else {
            return self.push_null();
        };
        texts.bytes.extend_from_slice(text.as_bytes());
        texts.close()?;
        self.valid.push(true);
        Ok(())
    }

    /// An empty column for a field.
    pub(crate) fn new(field: &FieldPlan, sizes: &mut std::slice::Iter<'_, (u32, u32)>) -> Self {
        let (rows, bytes) = sizes
            .next()
            .map_or((0, 0), |(rows, bytes)| (*rows as usize, *bytes as usize));
        let offsets = || {
            let mut offsets = Vec::with_capacity(rows + 1);
            offsets.push(0);
            offsets
        };
        let values = match &field.kind {
            FieldKind::Text(_) => ColumnValues::Text(TextBuffer {
                bytes: Vec::with_capacity(bytes),
                offsets: offsets(),
            }),
            FieldKind::Bool => ColumnValues::Bool(BitBuffer::default()),
            FieldKind::Int => ColumnValues::Int(Vec::with_capacity(rows)),
            FieldKind::Decimal { .. } => ColumnValues::Decimal(Vec::with_capacity(rows)),
            FieldKind::Time(_) => ColumnValues::Time(Vec::with_capacity(rows)),
            FieldKind::Date => ColumnValues::Date(Vec::with_capacity(rows)),
            FieldKind::Object(object) => ColumnValues::Object(Self::all(object, sizes)),
            FieldKind::List(element) => ColumnValues::List {
                offsets: offsets(),
                elements: Box::new(Self::new(element, sizes)),
            },
            FieldKind::NotDecoded => ColumnValues::NotDecoded,
        };
        Self {
            valid: BitBuffer::default(),
            values,
        }
    }

    /// Empty columns for the fields of an object.
    pub(crate) fn all(
        object: &ObjectPlan,
        sizes: &mut std::slice::Iter<'_, (u32, u32)>,
    ) -> Vec<Self> {
        object.fields.iter().map(|f| Self::new(f, sizes)).collect()
    }

    /// Adds this column's sizes, in the order [`ColumnBuilder::new`] takes them.
    pub(crate) fn sizes(&self, out: &mut ColumnSizes) {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let bytes = if let ColumnValues::Text(texts) = &self.values {
            texts.bytes.len()
        } else {
            0
        };
        out.push((small(self.valid.len()), small(bytes)));
        match &self.values {
            ColumnValues::Object(columns) => columns.iter().for_each(|c| c.sizes(out)),
            ColumnValues::List { elements, .. } => elements.sizes(out),
            _ => {}
        }
    }

    /// Appends a null, at every depth.
    pub(crate) fn push_null(&mut self) -> ReadResult {
        match &mut self.values {
            ColumnValues::Text(texts) => texts.close()?,
            ColumnValues::Bool(bits) => bits.push(false),
            ColumnValues::Int(values) | ColumnValues::Time(values) => values.push(0),
            ColumnValues::Decimal(values) => values.push(0),
            ColumnValues::Date(values) => values.push(0),
            ColumnValues::Object(columns) => columns.iter_mut().try_for_each(Self::push_null)?,
            ColumnValues::List { offsets, elements } => offsets.push(offset(elements.valid.len())?),
            ColumnValues::NotDecoded => {}
        }
        self.valid.push(false);
        Ok(())
    }

    /// Ends a list that holds the elements appended since the last one.
    pub(crate) fn close_list(offsets: &mut Vec<i32>, elements: &Self) -> ReadResult {
        offsets.push(offset(elements.valid.len())?);
        Ok(())
    }

    /// Cuts back to the first `rows` rows, whatever was appended since.
    pub(crate) fn truncate(&mut self, rows: usize) {
        match &mut self.values {
            ColumnValues::Text(texts) => texts.truncate(rows),
            ColumnValues::Bool(bits) => bits.truncate(rows),
            ColumnValues::Int(values) | ColumnValues::Time(values) => values.truncate(rows),
            ColumnValues::Decimal(values) => values.truncate(rows),
            ColumnValues::Date(values) => values.truncate(rows),
            ColumnValues::Object(columns) => columns.iter_mut().for_each(|c| c.truncate(rows)),
            ColumnValues::List { offsets, elements } => {
                offsets.truncate(rows + 1);
                elements.truncate(index(offsets[rows]));
            }
            ColumnValues::NotDecoded => {}
        }
        self.valid.truncate(rows);
    }

    /// Takes one row out; those behind it move up.
    pub(crate) fn remove(&mut self, row: usize) {
        match &mut self.values {
            ColumnValues::Text(texts) => texts.remove(row),
            ColumnValues::Bool(bits) => bits.remove(row),
            ColumnValues::Int(values) | ColumnValues::Time(values) => {
                values.remove(row);
            }
            ColumnValues::Decimal(values) => {
                values.remove(row);
            }
            ColumnValues::Date(values) => {
                values.remove(row);
            }
            ColumnValues::Object(columns) => columns.iter_mut().for_each(|c| c.remove(row)),
            ColumnValues::List { offsets, elements } => {
                let rows = Self::elements_of(offsets, row);
                rows.clone().rev().for_each(|row| elements.remove(row));
                let gone = i32::try_from(rows.len()).unwrap_or(0);
                offsets.remove(row + 1);
                offsets
                    .iter_mut()
                    .skip(row + 1)
                    .for_each(|offset| *offset -= gone);
            }
            ColumnValues::NotDecoded => {}
        }
        self.valid.remove(row);
    }

    /// The rows of a list's elements.
    #[inline]
    pub(crate) fn elements_of(offsets: &[i32], row: usize) -> std::ops::Range<usize> {
        index(offsets[row])..index(offsets[row + 1])
    }

    /// As an Arrow array of the type the contract says.
    fn finish(self, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
        let Self { valid, values } = self;
        let nulls = valid.into_nulls();
        Ok(match (values, data_type) {
            (ColumnValues::Text(texts), _) => Arc::new(texts.into_array(nulls)?),
            (ColumnValues::Bool(bits), _) => Arc::new(BooleanArray::new(bits.into_buffer(), nulls)),
            (ColumnValues::Int(values), _) => Arc::new(Int64Array::try_new(values.into(), nulls)?),
            (ColumnValues::Decimal(values), _) => Arc::new(
                Decimal128Array::try_new(values.into(), nulls)?.with_data_type(data_type.clone()),
            ),
            (ColumnValues::Time(values), _) => Arc::new(
                TimestampMicrosecondArray::try_new(values.into(), nulls)?
                    .with_data_type(data_type.clone()),
            ),
            (ColumnValues::Date(values), _) => {
                Arc::new(Date32Array::try_new(values.into(), nulls)?)
            }
            (ColumnValues::Object(columns), DataType::Struct(fields)) => Arc::new(
                StructArray::try_new(fields.clone(), Self::finish_all(columns, fields)?, nulls)?,
            ),
            (ColumnValues::List { offsets, elements }, DataType::List(field)) => {
                Arc::new(ListArray::try_new(
                    FieldRef::clone(field),
                    OffsetBuffer::new(ScalarBuffer::from(offsets)),
                    elements.finish(field.data_type())?,
                    nulls,
                )?)
            }
            (_, other) => {
                return Err(ArrowError::SchemaError(format!(
                    "the contract's columns have no type {other}"
                )));
            }
        })
    }

    /// The stored ones of an object's columns as Arrow arrays of the fields' types.
    pub(crate) fn finish_all(
        columns: Vec<Self>,
        fields: &Fields,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        let stored: Vec<Self> = columns
            .into_iter()
            .filter(|c| !matches!(c.values, ColumnValues::NotDecoded))
            .collect();
        if stored.len() != fields.len() {
            return Err(ArrowError::SchemaError(format!(
                "{} columns for {} fields",
                stored.len(),
                fields.len()
            )));
        }
        stored
            .into_iter()
            .zip(fields)
            .map(|(column, field)| column.finish(field.data_type()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_are_what_was_pushed(bits in prop::collection::vec(any::<bool>(), 0..70), cut in 0_usize..70, more in prop::collection::vec(any::<bool>(), 0..20)) {
            let mut built = BitBuffer::default();
            let mut expected = bits.clone();
            bits.iter().for_each(|b| built.push(*b));
            built.truncate(cut);
            expected.truncate(cut);
            more.iter().for_each(|b| built.push(*b));
            expected.extend(&more);
            prop_assert_eq!(built.len(), expected.len());
            prop_assert!((0..expected.len()).all(|i| built.get(i) == expected[i]));
            let nulls = expected.iter().filter(|b| !**b).count();
            prop_assert_eq!(built.into_nulls().map_or(0, |n| n.null_count()), nulls);
        }
    }
}
