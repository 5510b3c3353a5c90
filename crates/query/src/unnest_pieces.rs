//! Input of an unnesting, in pieces of which each becomes a batch of bearable size.
//!
//! Invariant: the pieces have the rows of the batch, in their order. A row whose list becomes too much beside its other columns, which stand beside each element, is several rows
//! with a part of the list each; those become the same rows.

use crate::limits::bytes_of;
use arrow::array::{Array, ArrayRef, AsArray, GenericListArray, OffsetSizeTrait, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use std::ops::Range;
use std::sync::Arc;

/// Part of a batch: some of its rows, or some elements of one row's lists.
#[derive(Debug, Clone)]
pub(crate) struct UnnestPiece {
    rows: Range<usize>,
    /// `None` for all of them.
    elements: Option<Range<usize>>,
}

/// Some rows of a batch that are one piece, or a row that is several.
#[derive(Debug)]
pub(crate) struct UnnestRows {
    rows: Range<usize>,
    /// Elements of the row's longest list, and of those in a piece. `None` for rows that stay whole.
    elements: Option<(usize, usize)>,
}

impl UnnestRows {
    /// A batch as one piece.
    pub(crate) fn all(batch: &RecordBatch) -> Self {
        Self {
            rows: 0..batch.num_rows(),
            elements: None,
        }
    }

    /// The pieces, in their order, each made when it is asked for: a list may have millions.
    pub(crate) fn pieces(self) -> impl Iterator<Item = UnnestPiece> {
        let Self { rows, elements } = self;
        let (longest, count) = elements.unwrap_or((1, 1));
        (0..longest).step_by(count).map(move |from| UnnestPiece {
            rows: rows.clone(),
            elements: elements.map(|_| from..longest.min(from + count)),
        })
    }
}

/// Batch that is cut into pieces.
#[derive(Debug)]
pub(crate) struct UnnestPieces<'a> {
    pub(crate) batch: &'a RecordBatch,
    /// Columns with the lists.
    pub(crate) lists: &'a [usize],
    /// Elements of each row's longest list.
    pub(crate) elements: &'a [usize],
    /// Rows that a batch has at most.
    pub(crate) batch_rows: usize,
    /// Bytes that a piece becomes at most, unless one element takes more.
    pub(crate) most: usize,
}

impl UnnestPieces<'_> {
    /// The rows, in their order, and the bytes that the largest of their pieces becomes.
    pub(crate) fn cut(&self) -> (Vec<UnnestRows>, usize) {
        let (mut pieces, mut largest) = (Vec::new(), 0);
        // Halves, until one is small enough: the last of these is the next in order.
        let mut rest: Vec<Range<usize>> = std::iter::once(0..self.batch.num_rows()).collect();
        while let Some(rows) = rest.pop() {
            let (lists, beside) = self.bytes(&rows);
            let longest = self.elements[rows.clone()]
                .iter()
                .copied()
                .max()
                .unwrap_or(0);
            let bytes = lists.saturating_add(beside.saturating_mul(longest));
            let is_small = bytes <= self.most && longest <= self.batch_rows;
            if is_small || longest < 2 && rows.len() < 2 {
                largest = largest.max(bytes);
                pieces.push(UnnestRows {
                    rows,
                    elements: None,
                });
            } else if rows.len() > 1 {
                let middle = rows.start + rows.len() / 2;
                rest.extend([middle..rows.end, rows.start..middle]);
            } else {
                let each = beside.saturating_add(lists / longest).max(1);
                let count = (self.most / each).clamp(1, self.batch_rows.max(1));
                largest = largest.max(each.saturating_mul(count));
                pieces.push(UnnestRows {
                    rows,
                    elements: Some((longest, count)),
                });
            }
        }
        (pieces, largest)
    }

    /// Bytes of the lists of some rows, and of their other columns.
    fn bytes(&self, rows: &Range<usize>) -> (usize, usize) {
        let mut bytes = (0_usize, 0_usize);
        for (at, column) in self.batch.columns().iter().enumerate() {
            let of = bytes_of(column.slice(rows.start, rows.len()).as_ref());
            let sum = match self.lists.contains(&at) {
                true => &mut bytes.0,
                false => &mut bytes.1,
            };
            *sum = sum.saturating_add(of);
        }
        bytes
    }
}

/// True if lists of a type can be cut.
pub(crate) fn can_be_cut(data_type: &DataType) -> bool {
    matches!(data_type, DataType::List(_) | DataType::LargeList(_))
}

/// The rows of a piece.
pub(crate) fn rows_of(
    batch: &RecordBatch,
    lists: &[usize],
    piece: &UnnestPiece,
) -> Result<RecordBatch> {
    let rows = batch.slice(piece.rows.start, piece.rows.len());
    let Some(elements) = &piece.elements else {
        return Ok(rows);
    };
    let columns = rows.columns().iter().enumerate().map(|(at, column)| {
        match (lists.contains(&at), column.data_type()) {
            (true, DataType::List(_)) => part(column.as_list::<i32>(), elements),
            (true, DataType::LargeList(_)) => part(column.as_list::<i64>(), elements),
            _ => Ok(Arc::clone(column)),
        }
    });
    Ok(RecordBatch::try_new(
        rows.schema(),
        columns.collect::<Result<_>>()?,
    )?)
}

/// Some elements of the only list of an array, as many as there are of them; null stays null.
fn part<O: OffsetSizeTrait>(
    lists: &GenericListArray<O>,
    elements: &Range<usize>,
) -> Result<ArrayRef> {
    if lists.is_null(0) {
        return Ok(Arc::new(lists.clone()));
    }
    let values = lists.value(0);
    let from = elements.start.min(values.len());
    let values = values.slice(from, elements.end.min(values.len()) - from);
    let (DataType::List(field) | DataType::LargeList(field)) = lists.data_type() else {
        return Ok(Arc::new(lists.clone()));
    };
    let offsets = OffsetBuffer::from_lengths([values.len()]);
    let list = GenericListArray::<O>::try_new(Arc::clone(field), offsets, values, None)?;
    Ok(Arc::new(list))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, ListArray, StringArray};
    use arrow::datatypes::Int64Type;

    #[test]
    fn pieces_are_the_batch_in_its_order() {
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(1), Some(2)]),
            None,
            Some(vec![]),
            Some((10..20).map(Some).collect::<Vec<_>>()),
            Some(vec![Some(3)]),
        ]);
        let shorter = ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some(vec![Some(5)]),
            Some(vec![Some(6), None]),
            None,
            Some(vec![Some(7), Some(8), Some(9)]),
            None,
        ]);
        let texts = StringArray::from(vec!["a".repeat(100); 5]);
        let columns: [(&str, ArrayRef); 3] = [
            ("x", Arc::new(lists)),
            ("y", Arc::new(shorter)),
            ("t", Arc::new(texts)),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns
                .into_iter()
                .map(|(name, column)| (name, column, true)),
        )
        .unwrap();
        for most in [1, 500, 1 << 20] {
            let cut = UnnestPieces {
                batch: &batch,
                lists: &[0, 1],
                elements: &[2, 2, 0, 10, 1],
                batch_rows: 4,
                most,
            };
            let (pieces, largest) = cut.cut();
            let pieces: Vec<UnnestPiece> =
                pieces.into_iter().flat_map(UnnestRows::pieces).collect();
            let (mut xs, mut ys) = (Vec::new(), Vec::new());
            for piece in &pieces {
                let rows = rows_of(&batch, &[0, 1], piece).unwrap();
                for (column, found) in [(0, &mut xs), (1, &mut ys)] {
                    let lists = rows.column(column).as_list::<i32>().clone();
                    let values = lists.iter().flatten().flat_map(|list| {
                        let numbers = list.as_any().downcast_ref::<Int64Array>().unwrap().clone();
                        numbers.iter().collect::<Vec<_>>()
                    });
                    found.extend(values);
                }
            }
            let wanted = [1, 2].into_iter().chain(10..20).chain([3]).map(Some);
            assert_eq!(xs, wanted.collect::<Vec<_>>(), "{most}");
            assert_eq!(
                ys,
                [Some(5), Some(6), None, Some(7), Some(8), Some(9)],
                "{most}"
            );
            // One element beside its text takes less than 300.
            assert!(largest <= most.max(300), "{most}: {largest}");
            assert!(
                pieces.len() >= 3,
                "{most}: ten elements are no batch of four"
            );
        }
    }
}
