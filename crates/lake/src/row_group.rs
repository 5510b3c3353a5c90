//! The columns of a row group, encoded together.
//!
//! Invariant: every column has its own chunk in the file, whether or not it was encoded for another.

use crate::chunk::{Column, Encoded};
use arrow::array::{Array, ArrayRef};
use parquet::file::writer::SerializedFileWriter;
use std::sync::Arc;
use tillhouse_model::{Error, Result};

/// The columns of a row group.
///
/// Columns often hold the same values: a record's id and its key, the time of a sale and of its record. As long as they do, one of them
/// is encoded for all.
pub(crate) struct RowGroup {
    columns: Vec<Column>,
    /// The earlier column that has held the same so far, of each.
    twins: Vec<Option<usize>>,
    rows: usize,
}

impl RowGroup {
    pub(crate) fn new(columns: Vec<Column>) -> Self {
        Self { twins: vec![None; columns.len()], columns, rows: 0 }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds rows, which have an array for each column.
    pub(crate) fn write(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        if self.rows == 0 {
            self.twins = twins(&self.columns, &[arrays]);
        }
        for (at, array) in arrays.iter().enumerate() {
            if let Some(twin) = self.twins[at]
                && !same(array, &arrays[twin])
            {
                self.twins[at] = None;
                let (before, rest) = self.columns.split_at_mut(at);
                rest[0].take_over(&before[twin]);
            }
        }
        // Only now, so that what was taken over ends with the rows before.
        for ((column, array), twin) in self.columns.iter_mut().zip(arrays).zip(&self.twins) {
            if twin.is_none() {
                column.write(array)?;
            }
        }
        self.rows += arrays.first().map_or(0, |array| array.len());
        Ok(())
    }

    /// Bytes that are held, roughly.
    pub(crate) fn size(&self) -> usize {
        self.columns.iter().map(Column::size).sum()
    }

    /// Ends the chunks of all columns, in their order.
    pub(crate) fn close(self) -> Result<Vec<Encoded>> {
        let mut parts = Vec::with_capacity(self.columns.len());
        for (column, twin) in self.columns.into_iter().zip(&self.twins) {
            parts.push(if twin.is_none() { Part::Own(column.close()?) } else { Part::Twin(column) });
        }
        together(parts, &self.twins)
    }
}

/// A column whose own chunks are there, or one that has those of its twin.
pub(crate) enum Part {
    Own(Vec<Encoded>),
    Twin(Column),
}

/// The chunks of all columns in their order.
pub(crate) fn together(parts: Vec<Part>, twins: &[Option<usize>]) -> Result<Vec<Encoded>> {
    let mut done: Vec<Vec<Encoded>> = Vec::with_capacity(parts.len());
    for (part, twin) in parts.into_iter().zip(twins) {
        done.push(match part {
            Part::Own(chunks) => chunks,
            Part::Twin(column) => {
                let twin = twin.and_then(|twin| done.get(twin));
                column.of(twin.ok_or_else(|| Error::internal("a column has no chunk"))?)?
            }
        });
    }
    Ok(done.into_iter().flatten().collect())
}

/// For each column the first before it that holds the same in all batches.
pub(crate) fn twins(columns: &[Column], batches: &[&[ArrayRef]]) -> Vec<Option<usize>> {
    let mut twins: Vec<Option<usize>> = Vec::with_capacity(columns.len());
    for (at, column) in columns.iter().enumerate() {
        let is_twin = |before: &usize| {
            twins[*before].is_none()
                && columns[*before].is_like(column)
                && batches.iter().all(|arrays| same(&arrays[at], &arrays[*before]))
        };
        let twin = (0..at).find(is_twin);
        twins.push(twin);
    }
    twins
}

/// Whether arrays of a type hold the same.
fn same(a: &ArrayRef, b: &ArrayRef) -> bool {
    Arc::ptr_eq(a, b) || (a.null_count() == b.null_count() && a == b)
}

/// Puts encoded columns into a file, as its next row group.
pub(crate) fn append(file: &mut SerializedFileWriter<Vec<u8>>, chunks: Vec<Encoded>) -> parquet::errors::Result<()> {
    // A buffer that grows would copy what is in it several times.
    file.inner_mut().reserve(chunks.iter().map(|chunk| chunk.bytes.len()).sum());
    let mut row_group = file.next_row_group()?;
    for chunk in chunks {
        row_group.append_column(&chunk.bytes, chunk.close)?;
    }
    row_group.close().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datafile::Layout;
    use arrow::array::StringArray;
    use arrow::datatypes::{DataType, Field, Schema};

    #[test]
    fn columns_that_hold_the_same_are_encoded_once_until_they_differ() {
        let texts = |from: u32| {
            let texts = (from..from + 3_000).map(|n| format!("id {n}"));
            Arc::new(StringArray::from_iter_values(texts)) as ArrayRef
        };
        let names = ["id", "key", "other", "later"];
        let schema = Schema::new(names.map(|name| Field::new(name, DataType::Utf8, true)).to_vec());
        let layout = Layout::new(Arc::new(schema), &[], Vec::new()).unwrap();
        let mut group = RowGroup::new(layout.columns().unwrap());
        let (both, one) = ([None, Some(0), None, Some(0)], [None, Some(0), None, None]);
        for (columns, twins) in [([0, 0, 5, 0], both), ([7, 7, 5, 7], both), ([9, 9, 5, 1], one), ([4, 4, 5, 4], one)] {
            group.write(&columns.map(texts)).unwrap();
            assert_eq!(group.twins, twins);
        }
        let chunks = group.close().unwrap();
        let paths: Vec<String> = chunks.iter().map(|chunk| chunk.close.metadata.column_path().string()).collect();
        assert_eq!(paths, names);
        assert_eq!(chunks[0].bytes.as_ptr(), chunks[1].bytes.as_ptr(), "not encoded twice");
        assert_ne!(chunks[0].bytes, chunks[3].bytes);
    }
}
