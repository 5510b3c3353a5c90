//! The columns of a row group, encoded together.
//!
//! Invariant: every column has its own chunk in the file, whether or not it was encoded for another.

use crate::DefaultEncoder;
use crate::encoder::{ColumnEncoder, EncodedChunk};
use crate::error::{EncodeError, Result};
use arrow::array::{Array, ArrayRef};
use parquet::file::writer::SerializedFileWriter;
use std::sync::Arc;

/// Encoder of the columns of a row group.
///
/// Columns often hold the same values: a record's id and its key, the time of a sale and of its record. As long as they do, one of them
/// is encoded for all. The crate's first page has an example.
pub struct RowGroupEncoder<E = DefaultEncoder> {
    columns: Vec<E>,
    /// For each column, an earlier one with the same values so far.
    duplicates: Vec<Option<usize>>,
    rows: usize,
}

impl<E: ColumnEncoder> RowGroupEncoder<E> {
    /// A row group without rows, of these columns.
    pub fn new(columns: Vec<E>) -> Self {
        Self {
            duplicates: vec![None; columns.len()],
            columns,
            rows: 0,
        }
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds rows, which have an array for each column.
    pub fn write(&mut self, arrays: &[ArrayRef]) -> Result<()> {
        if arrays.len() != self.columns.len() {
            return Err(EncodeError::ColumnCount {
                columns: self.columns.len(),
                arrays: arrays.len(),
            });
        }
        if self.rows == 0 {
            self.duplicates = duplicate_columns(&self.columns, &[arrays]);
        }
        for (at, array) in arrays.iter().enumerate() {
            if let Some(original) = self.duplicates[at]
                && !holds_same(array, &arrays[original])
            {
                self.duplicates[at] = None;
                let (before, rest) = self.columns.split_at_mut(at);
                rest[0].diverge_from(&before[original])?;
            }
        }
        // Only now, so that a column that diverges takes over the rows before these, and no others.
        for ((column, array), duplicate) in
            self.columns.iter_mut().zip(arrays).zip(&self.duplicates)
        {
            if duplicate.is_none() {
                column.write(array)?;
            }
        }
        self.rows += arrays.first().map_or(0, |array| array.len());
        Ok(())
    }

    /// Bytes held in memory, roughly.
    pub fn memory_size(&self) -> usize {
        self.columns.iter().map(E::memory_size).sum()
    }

    /// Ends the chunks of all columns, in their order.
    pub fn close(self) -> Result<Vec<EncodedChunk>> {
        let mut columns = Vec::with_capacity(self.columns.len());
        for (column, duplicate) in self.columns.into_iter().zip(&self.duplicates) {
            columns.push(match duplicate {
                None => EncodedColumn::Own(column.close()?),
                Some(_) => EncodedColumn::Duplicate(column),
            });
        }
        assemble_chunks(columns, &self.duplicates)
    }
}

/// A column of a row group: its own chunks, or a duplicate that has those of an earlier column.
pub(crate) enum EncodedColumn<E> {
    Own(Vec<EncodedChunk>),
    Duplicate(E),
}

/// Chunks of all columns in order, those of duplicates made from the column they duplicate.
pub(crate) fn assemble_chunks<E: ColumnEncoder>(
    columns: Vec<EncodedColumn<E>>,
    duplicates: &[Option<usize>],
) -> Result<Vec<EncodedChunk>> {
    let mut done: Vec<Vec<EncodedChunk>> = Vec::with_capacity(columns.len());
    for (index, (column, duplicate)) in columns.into_iter().zip(duplicates).enumerate() {
        done.push(match column {
            EncodedColumn::Own(chunks) => chunks,
            EncodedColumn::Duplicate(column) => {
                let original = duplicate.and_then(|original| done.get(original));
                column.relabel_chunks(original.ok_or(EncodeError::MissingChunk { index })?)?
            }
        });
    }
    Ok(done.into_iter().flatten().collect())
}

/// For each column, the first before it with the same values in all batches.
pub(crate) fn duplicate_columns<E: ColumnEncoder>(
    columns: &[E],
    batches: &[&[ArrayRef]],
) -> Vec<Option<usize>> {
    let mut duplicates: Vec<Option<usize>> = Vec::with_capacity(columns.len());
    for (at, column) in columns.iter().enumerate() {
        let is_original = |before: &usize| {
            duplicates[*before].is_none()
                && columns[*before].has_same_encoding(column)
                && batches
                    .iter()
                    .all(|arrays| holds_same(&arrays[at], &arrays[*before]))
        };
        let original = (0..at).find(is_original);
        duplicates.push(original);
    }
    duplicates
}

/// True if arrays of a type hold the same.
fn holds_same(a: &ArrayRef, b: &ArrayRef) -> bool {
    Arc::ptr_eq(a, b) || (a.null_count() == b.null_count() && a == b)
}

/// Puts encoded columns into a file in memory, as its next row group. There have to be chunks for all of the file's Parquet columns, in order.
pub fn append_row_group(
    file: &mut SerializedFileWriter<Vec<u8>>,
    chunks: Vec<EncodedChunk>,
) -> Result<()> {
    // A buffer that grows would copy what is in it several times.
    file.inner_mut()
        .reserve(chunks.iter().map(EncodedChunk::encoded_size).sum());
    let mut row_group = file.next_row_group()?;
    for chunk in chunks {
        chunk.append_to(&mut row_group)?;
    }
    row_group.close()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TableColumnWriter;
    use crate::encoder::ChunkPages;
    use crate::random_rows::FileSchema;
    use arrow::array::{Int64Array, StringArray};
    use arrow::datatypes::{DataType, Field, Schema};

    #[test]
    fn columns_that_hold_the_same_are_encoded_once_until_they_differ() {
        let texts = |from: u32| {
            let texts = (from..from + 3_000).map(|n| format!("id {n}"));
            Arc::new(StringArray::from_iter_values(texts)) as ArrayRef
        };
        let names = ["id", "key", "other", "later"];
        let schema = Schema::new(
            names
                .map(|name| Field::new(name, DataType::Utf8, true))
                .to_vec(),
        );
        let file = FileSchema::new(Arc::new(schema));
        let mut group = RowGroupEncoder::new(file.encoders::<TableColumnWriter>());
        let (both, one) = ([None, Some(0), None, Some(0)], [None, Some(0), None, None]);
        let batches = [
            ([0, 0, 5, 0], both),
            ([7, 7, 5, 7], both),
            ([9, 9, 5, 1], one),
            ([4, 4, 5, 4], one),
        ];
        for (columns, duplicates) in batches {
            group.write(&columns.map(texts)).unwrap();
            assert_eq!(group.duplicates, duplicates);
        }
        let chunks = group.close().unwrap();
        let path = |chunk: &EncodedChunk| chunk.close_result().metadata.column_path().string();
        assert_eq!(chunks.iter().map(path).collect::<Vec<_>>(), names);
        let pages = |at: usize| match &chunks[at].0 {
            ChunkPages::Contiguous { bytes, .. } => bytes.clone(),
            ChunkPages::Library(_) => panic!("the library's"),
        };
        assert_eq!(pages(0).as_ptr(), pages(1).as_ptr(), "not encoded twice");
        assert_ne!(pages(0), pages(3));
    }

    #[test]
    fn rows_of_other_columns_are_refused() {
        let schema = Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("m", DataType::Int64, true),
        ]);
        let file = FileSchema::new(Arc::new(schema));
        let numbers = Arc::new(Int64Array::from(vec![1])) as ArrayRef;
        for arrays in [
            vec![],
            vec![numbers.clone()],
            vec![numbers.clone(), numbers.clone(), numbers],
        ] {
            let error = RowGroupEncoder::new(file.encoders::<TableColumnWriter>())
                .write(&arrays)
                .unwrap_err();
            assert!(
                matches!(error, EncodeError::ColumnCount { columns: 2, .. }),
                "{error}"
            );
        }
    }
}
