//! Bytes of a value that is held, and the text or list that the values of a group become.
//!
//! Invariant: a value comes back as it was given, letter by letter and digit by digit; a null is no part of a text, and an element of a list unless the call leaves nulls out.

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, ListArray, new_empty_array};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::{Result, exec_datafusion_err, internal_datafusion_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::physical_expr::expressions::Literal;
use std::sync::Arc;

/// Result that a group's values become.
#[derive(Debug)]
pub(super) enum GatheredInto {
    Text {
        delimiter: String,
    },
    List {
        element: DataType,
        /// Bytes of an element, and the way back.
        elements: RowConverter,
        leaves_nulls_out: bool,
    },
}

/// The bytes of a batch's values.
pub(super) enum ValueBytes {
    Texts(LargeStringArray),
    Elements {
        rows: Rows,
        /// Rows that are left out.
        left_out: Option<NullBuffer>,
    },
}

impl ValueBytes {
    /// `None` for a row that is no part of its group's result.
    pub(super) fn at(&self, row: usize) -> Option<&[u8]> {
        match self {
            Self::Texts(texts) => texts.is_valid(row).then(|| texts.value(row).as_bytes()),
            Self::Elements { rows, left_out } => {
                let is_left_out = left_out.as_ref().is_some_and(|nulls| nulls.is_null(row));
                (!is_left_out).then(|| rows.row(row).data())
            }
        }
    }
}

impl GatheredInto {
    /// A text, by the second argument of a call.
    pub(super) fn text(args: &AccumulatorArgs<'_>) -> Result<Self> {
        let delimiter = args
            .exprs
            .get(1)
            .and_then(|delimiter| delimiter.downcast_ref::<Literal>())
            .map(|literal| literal.value())
            .ok_or_else(|| exec_datafusion_err!("the delimiter of string_agg is a constant"))?;
        Ok(Self::Text {
            delimiter: delimiter.try_as_str().flatten().unwrap_or("").to_owned(),
        })
    }

    /// A list of elements of a type.
    pub(super) fn list(element: &DataType, leaves_nulls_out: bool) -> Result<Self> {
        Ok(Self::List {
            element: element.clone(),
            elements: RowConverter::new(vec![SortField::new(element.clone())])?,
            leaves_nulls_out,
        })
    }

    /// True if values that are null are held.
    pub(super) fn holds_nulls(&self) -> bool {
        match self {
            Self::Text { .. } => false,
            Self::List {
                leaves_nulls_out, ..
            } => !leaves_nulls_out,
        }
    }

    /// Bytes that a result takes beside those of its values.
    pub(super) fn bytes_between(&self, values: usize) -> usize {
        match self {
            Self::Text { delimiter } => values.saturating_mul(delimiter.len()),
            Self::List { .. } => 0,
        }
    }

    pub(super) fn bytes_of(&self, values: &ArrayRef) -> Result<ValueBytes> {
        Ok(match self {
            Self::Text { .. } => {
                let texts = cast(values, &DataType::LargeUtf8)?;
                ValueBytes::Texts(texts.as_string::<i64>().clone())
            }
            Self::List {
                elements,
                leaves_nulls_out,
                ..
            } => ValueBytes::Elements {
                rows: elements.convert_columns(std::slice::from_ref(values))?,
                left_out: values.logical_nulls().filter(|_| *leaves_nulls_out),
            },
        })
    }
}

/// The results of groups, one after the other; null for a group without values.
pub(super) struct ResultBuilder<'a> {
    into: &'a GatheredInto,
    /// Values of each group.
    lengths: Vec<usize>,
    /// Texts, and the end of each.
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Elements, how many they are, the bytes that they were held in, and those that they take.
    elements: Vec<ArrayRef>,
    count: usize,
    held_bytes: usize,
    element_bytes: usize,
}

impl<'a> ResultBuilder<'a> {
    /// Results with room for so many bytes.
    pub(super) fn new(into: &'a GatheredInto, groups: usize, bytes: usize) -> Self {
        let bytes = match into {
            GatheredInto::Text { .. } => bytes,
            GatheredInto::List { .. } => 0,
        };
        Self {
            into,
            lengths: Vec::with_capacity(groups),
            bytes: Vec::with_capacity(bytes),
            ends: Vec::new(),
            elements: Vec::new(),
            count: 0,
            held_bytes: 0,
            element_bytes: 0,
        }
    }

    /// Adds groups: so many of the values each, which come by groups.
    pub(super) fn add<'v>(
        &mut self,
        lengths: &[usize],
        mut values: impl Iterator<Item = &'v [u8]>,
    ) -> Result<()> {
        self.lengths.extend_from_slice(lengths);
        match self.into {
            GatheredInto::Text { delimiter } => {
                for length in lengths {
                    for (at, value) in values.by_ref().take(*length).enumerate() {
                        if at > 0 {
                            self.bytes.extend_from_slice(delimiter.as_bytes());
                        }
                        self.bytes.extend_from_slice(value);
                    }
                    self.ends.push(self.bytes.len());
                }
            }
            GatheredInto::List { elements, .. } => {
                let parser = elements.parser();
                let rows: Vec<&[u8]> = values.collect();
                self.held_bytes += rows.iter().map(|row| row.len()).sum::<usize>();
                self.count += rows.len();
                // Texts and lists count their bytes and elements in 32 bits.
                if i32::try_from(self.held_bytes.max(self.count)).is_err() {
                    return Err(exec_datafusion_err!(
                        "the lists of array_agg take more than 2 GiB at a time; gather fewer values, or group them by more"
                    ));
                }
                let rows = rows.into_iter().map(|row| parser.parse(row));
                for column in elements.convert_rows(rows)? {
                    self.element_bytes += column.get_array_memory_size();
                    self.elements.push(column);
                }
            }
        }
        Ok(())
    }

    /// Bytes that the results take.
    pub(super) fn size(&self) -> usize {
        let numbers = self.lengths.capacity() + self.ends.capacity();
        // Pieces of lists are put together in the end.
        self.bytes.capacity() + 2 * self.element_bytes + numbers * size_of::<usize>()
    }

    pub(super) fn finish(self) -> Result<ArrayRef> {
        let nulls: NullBuffer = self.lengths.iter().map(|length| *length > 0).collect();
        match self.into {
            GatheredInto::Text { .. } => {
                let mut from = 0;
                let lengths = self
                    .ends
                    .iter()
                    .map(|end| end - std::mem::replace(&mut from, *end));
                let offsets = OffsetBuffer::<i64>::from_lengths(lengths);
                let bytes = Buffer::from_vec(self.bytes);
                // It is checked that the bytes are texts.
                let texts = LargeStringArray::try_new(offsets, bytes, Some(nulls));
                Ok(Arc::new(texts.map_err(|_| {
                    internal_datafusion_err!("a text is no text any more")
                })?))
            }
            GatheredInto::List { element, .. } => {
                let elements = match self.elements.as_slice() {
                    [] => new_empty_array(element),
                    [all] => Arc::clone(all),
                    pieces => {
                        let pieces: Vec<&dyn Array> =
                            pieces.iter().map(|piece| piece.as_ref()).collect();
                        concat(&pieces)?
                    }
                };
                let field = Arc::new(Field::new_list_field(element.clone(), true));
                let offsets = OffsetBuffer::from_lengths(self.lengths);
                Ok(Arc::new(ListArray::try_new(
                    field,
                    offsets,
                    elements,
                    Some(nulls),
                )?))
            }
        }
    }
}
