//! Growing columns: values, offsets and validity of what a page holds so far.
//!
//! Invariant: every column of an object has the same number of rows whenever a record is complete, and [`Column::truncate`] brings
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

use crate::plan::{Field, Object, What};
use crate::stop::{Stop, Walk};
use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int64Array, ListArray, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, FieldRef, Fields};
use arrow::error::ArrowError;
use std::sync::Arc;
use tillhouse_model::Error;

/// A growing row of bits.
#[derive(Debug, Default, Clone)]
pub(crate) struct Bits {
    bytes: Vec<u8>,
    len: usize,
    unset: usize,
}

impl Bits {
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
        self.bytes.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
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

/// Bytes and offsets of texts.
#[derive(Debug, Clone)]
pub(crate) struct Texts {
    pub(crate) bytes: Vec<u8>,
    offsets: Vec<i32>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { bytes: Vec::new(), offsets: vec![0] }
    }
}

impl Texts {
    /// Makes a text of the bytes appended since the last one.
    #[inline]
    pub(crate) fn close(&mut self) -> Walk {
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
        self.offsets.iter_mut().skip(row + 1).for_each(|offset| *offset -= end - start);
    }

    pub(crate) fn into_array(self, nulls: Option<NullBuffer>) -> Result<StringArray, ArrowError> {
        StringArray::try_new(OffsetBuffer::new(ScalarBuffer::from(self.offsets)), Buffer::from_vec(self.bytes), nulls)
    }
}

#[inline]
fn index(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or(0)
}

#[inline]
fn offset(len: usize) -> Walk<i32> {
    i32::try_from(len).map_err(|_| too_large())
}

/// The page would become more than a column, or a machine, can hold.
#[cold]
pub(crate) fn too_large() -> Box<Stop> {
    Box::new(Stop::Page(
        Error::data("the page is too large once decoded")
            .hint("Set a smaller page_size in the pipeline's sync section."),
    ))
}

#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) valid: Bits,
    pub(crate) values: Values,
}

#[derive(Debug)]
pub(crate) enum Values {
    Text(Texts),
    Bool(Bits),
    Int(Vec<i64>),
    Decimal(Vec<i128>),
    Time(Vec<i64>),
    Date(Vec<i32>),
    Object(Vec<Column>),
    List { offsets: Vec<i32>, elements: Box<Column> },
    Nothing,
}

/// How large each column was in an earlier page, depth first: a hint for how much room to make.
pub(crate) type Sizes = Vec<(u32, u32)>;

impl Column {
    /// Appends a text, or nothing, to a column of texts.
    pub(crate) fn push_text(&mut self, text: Option<&str>) -> Walk {
        let (Some(text), Values::Text(texts)) = (text, &mut self.values) else { return self.push_null() };
        texts.bytes.extend_from_slice(text.as_bytes());
        texts.close()?;
        self.valid.push(true);
        Ok(())
    }

    /// An empty column for a field.
    pub(crate) fn new(field: &Field, sizes: &mut std::slice::Iter<'_, (u32, u32)>) -> Self {
        let (rows, bytes) = sizes.next().map_or((0, 0), |(rows, bytes)| (*rows as usize, *bytes as usize));
        let offsets = || {
            let mut offsets = Vec::with_capacity(rows + 1);
            offsets.push(0);
            offsets
        };
        let values = match &field.what {
            What::Text(_) => Values::Text(Texts { bytes: Vec::with_capacity(bytes), offsets: offsets() }),
            What::Bool => Values::Bool(Bits::default()),
            What::Int => Values::Int(Vec::with_capacity(rows)),
            What::Decimal { .. } => Values::Decimal(Vec::with_capacity(rows)),
            What::Time(_) => Values::Time(Vec::with_capacity(rows)),
            What::Date => Values::Date(Vec::with_capacity(rows)),
            What::Object(object) => Values::Object(Self::all(object, sizes)),
            What::List(element) => Values::List { offsets: offsets(), elements: Box::new(Self::new(element, sizes)) },
            What::Nothing => Values::Nothing,
        };
        Self { valid: Bits::default(), values }
    }

    /// Empty columns for the fields of an object.
    pub(crate) fn all(object: &Object, sizes: &mut std::slice::Iter<'_, (u32, u32)>) -> Vec<Self> {
        object.fields.iter().map(|f| Self::new(f, sizes)).collect()
    }

    /// Adds this column's sizes, in the order [`Column::new`] takes them.
    pub(crate) fn sizes(&self, out: &mut Sizes) {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let bytes = if let Values::Text(texts) = &self.values { texts.bytes.len() } else { 0 };
        out.push((small(self.valid.len()), small(bytes)));
        match &self.values {
            Values::Object(columns) => columns.iter().for_each(|c| c.sizes(out)),
            Values::List { elements, .. } => elements.sizes(out),
            _ => {}
        }
    }

    /// Appends a null, at every depth.
    pub(crate) fn push_null(&mut self) -> Walk {
        match &mut self.values {
            Values::Text(texts) => texts.close()?,
            Values::Bool(bits) => bits.push(false),
            Values::Int(values) | Values::Time(values) => values.push(0),
            Values::Decimal(values) => values.push(0),
            Values::Date(values) => values.push(0),
            Values::Object(columns) => columns.iter_mut().try_for_each(Self::push_null)?,
            Values::List { offsets, elements } => offsets.push(offset(elements.valid.len())?),
            Values::Nothing => {}
        }
        self.valid.push(false);
        Ok(())
    }

    /// Ends a list that holds the elements appended since the last one.
    pub(crate) fn close_list(offsets: &mut Vec<i32>, elements: &Self) -> Walk {
        offsets.push(offset(elements.valid.len())?);
        Ok(())
    }

    /// Cuts back to the first `rows` rows, whatever was appended since.
    pub(crate) fn truncate(&mut self, rows: usize) {
        match &mut self.values {
            Values::Text(texts) => texts.truncate(rows),
            Values::Bool(bits) => bits.truncate(rows),
            Values::Int(values) | Values::Time(values) => values.truncate(rows),
            Values::Decimal(values) => values.truncate(rows),
            Values::Date(values) => values.truncate(rows),
            Values::Object(columns) => columns.iter_mut().for_each(|c| c.truncate(rows)),
            Values::List { offsets, elements } => {
                offsets.truncate(rows + 1);
                elements.truncate(index(offsets[rows]));
            }
            Values::Nothing => {}
        }
        self.valid.truncate(rows);
    }

    /// Takes one row out; those behind it move up.
    pub(crate) fn remove(&mut self, row: usize) {
        match &mut self.values {
            Values::Text(texts) => texts.remove(row),
            Values::Bool(bits) => bits.remove(row),
            Values::Int(values) | Values::Time(values) => {
                values.remove(row);
            }
            Values::Decimal(values) => {
                values.remove(row);
            }
            Values::Date(values) => {
                values.remove(row);
            }
            Values::Object(columns) => columns.iter_mut().for_each(|c| c.remove(row)),
            Values::List { offsets, elements } => {
                let rows = Self::elements_of(offsets, row);
                rows.clone().rev().for_each(|row| elements.remove(row));
                let gone = i32::try_from(rows.len()).unwrap_or(0);
                offsets.remove(row + 1);
                offsets.iter_mut().skip(row + 1).for_each(|offset| *offset -= gone);
            }
            Values::Nothing => {}
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
            (Values::Text(texts), _) => Arc::new(texts.into_array(nulls)?),
            (Values::Bool(bits), _) => Arc::new(BooleanArray::new(bits.into_buffer(), nulls)),
            (Values::Int(values), _) => Arc::new(Int64Array::try_new(values.into(), nulls)?),
            (Values::Decimal(values), _) => {
                Arc::new(Decimal128Array::try_new(values.into(), nulls)?.with_data_type(data_type.clone()))
            }
            (Values::Time(values), _) => {
                Arc::new(TimestampMicrosecondArray::try_new(values.into(), nulls)?.with_data_type(data_type.clone()))
            }
            (Values::Date(values), _) => Arc::new(Date32Array::try_new(values.into(), nulls)?),
            (Values::Object(columns), DataType::Struct(fields)) => {
                Arc::new(StructArray::try_new(fields.clone(), Self::finish_all(columns, fields)?, nulls)?)
            }
            (Values::List { offsets, elements }, DataType::List(field)) => Arc::new(ListArray::try_new(
                FieldRef::clone(field),
                OffsetBuffer::new(ScalarBuffer::from(offsets)),
                elements.finish(field.data_type())?,
                nulls,
            )?),
            (_, other) => {
                return Err(ArrowError::SchemaError(format!("the contract's columns have no type {other}")));
            }
        })
    }

    /// The stored ones of an object's columns as Arrow arrays of the fields' types.
    pub(crate) fn finish_all(columns: Vec<Self>, fields: &Fields) -> Result<Vec<ArrayRef>, ArrowError> {
        let stored: Vec<Self> = columns.into_iter().filter(|c| !matches!(c.values, Values::Nothing)).collect();
        if stored.len() != fields.len() {
            return Err(ArrowError::SchemaError(format!("{} columns for {} fields", stored.len(), fields.len())));
        }
        stored.into_iter().zip(fields).map(|(column, field)| column.finish(field.data_type())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bits_are_what_was_pushed(bits in prop::collection::vec(any::<bool>(), 0..70), cut in 0_usize..70, more in prop::collection::vec(any::<bool>(), 0..20)) {
            let mut built = Bits::default();
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
