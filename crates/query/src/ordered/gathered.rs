//! Bytes of a value that is held, and the text or list that the values of a group become.
//!
//! Invariant: a value comes back as it was given, letter by letter and digit by digit; a null is no part of a text, and an element of a list unless the call leaves nulls out.

use super::held::{HeldRow, value_of};
use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, LargeStringBuilder, ListArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
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

    /// The result of each group, of rows sorted by groups; null for a group without rows.
    pub(super) fn of(&self, bytes: &[u8], sorted: &[HeldRow], groups: usize) -> Result<ArrayRef> {
        match self {
            Self::Text { delimiter } => texts(bytes, sorted, groups, delimiter),
            Self::List {
                element, elements, ..
            } => lists(bytes, sorted, groups, element, elements),
        }
    }
}

fn texts(bytes: &[u8], sorted: &[HeldRow], groups: usize, delimiter: &str) -> Result<ArrayRef> {
    let mut builder = LargeStringBuilder::with_capacity(groups, 0);
    let mut rest = sorted;
    for group in 0..groups {
        let end = rest.partition_point(|row| row.group() <= group);
        let (of_group, others) = rest.split_at(end);
        rest = others;
        if of_group.is_empty() {
            builder.append_null();
            continue;
        }
        let length: usize = of_group.iter().map(HeldRow::value_length).sum();
        let mut joined = String::with_capacity(length + (of_group.len() - 1) * delimiter.len());
        for (at, row) in of_group.iter().enumerate() {
            if at > 0 {
                joined.push_str(delimiter);
            }
            let text = std::str::from_utf8(value_of(bytes, row));
            joined.push_str(
                text.map_err(|_| internal_datafusion_err!("a text is no text any more"))?,
            );
        }
        builder.append_value(&joined);
    }
    Ok(Arc::new(builder.finish()))
}

fn lists(
    bytes: &[u8],
    sorted: &[HeldRow],
    groups: usize,
    element: &DataType,
    elements: &RowConverter,
) -> Result<ArrayRef> {
    // Texts and lists count their bytes and elements in 32 bits.
    let length: usize = sorted.iter().map(HeldRow::value_length).sum();
    if i32::try_from(length.max(sorted.len())).is_err() {
        return Err(exec_datafusion_err!(
            "the lists of array_agg take more than 2 GiB at a time; gather fewer values, or group them by more"
        ));
    }
    let mut lengths = vec![0_usize; groups];
    for row in sorted {
        lengths[row.group()] += 1;
    }
    let parser = elements.parser();
    let rows = sorted.iter().map(|row| parser.parse(value_of(bytes, row)));
    let values = elements.convert_rows(rows)?.into_iter().next();
    let values = values.ok_or_else(|| internal_datafusion_err!("a list has elements"))?;
    let nulls: NullBuffer = lengths.iter().map(|length| *length > 0).collect();
    let field = Arc::new(Field::new_list_field(element.clone(), true));
    Ok(Arc::new(ListArray::try_new(
        field,
        OffsetBuffer::from_lengths(lengths),
        values,
        Some(nulls),
    )?))
}
