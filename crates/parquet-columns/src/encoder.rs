//! The interface behind which the encoders stand, and the chunks they make.
//!
//! Invariant: whichever encoder is used, a reader gets the same rows; bytes, pages and text statistics may differ.

use crate::error::Result;
use arrow::array::ArrayRef;
use arrow::datatypes::FieldRef;
use bytes::Bytes;
#[cfg(any(test, feature = "library-encoder"))]
use parquet::arrow::arrow_writer::ArrowColumnChunk;
use parquet::column::writer::ColumnCloseResult;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::ColumnDescPtr;
use std::io::Write;

/// Encoder of one table column of a row group: a column chunk for each of its leaves.
///
/// # Law
///
/// - Arrays have the type of the field. Nulls in a column that is required, and that no missing parent hides, are the caller's error.
/// - The rows of the chunks are those of all [`write`](Self::write)s, in order; where an array was cut makes no difference to what is read.
/// - [`close`](Self::close) returns as many chunks as there were leaves, in their order.
/// - Two encoders for which [`has_same_encoding`](Self::has_same_encoding) is true make the same chunks of the same arrays, but for the
///   column's name. Only then [`diverge_from`](Self::diverge_from) and [`relabel_chunks`](Self::relabel_chunks) are called; an encoder that
///   never says so, as by default, encodes every column by itself, and refuses both with
///   [`EncodeError::NotShared`](crate::EncodeError::NotShared).
/// - No I/O and no threads: an encoder belongs to the thread that calls it.
///
/// # Example
///
/// ```
/// # use arrow::array::{ArrayRef, Int64Array};
/// # use arrow::datatypes::{DataType, Field, Schema};
/// # use parquet::arrow::ArrowSchemaConverter;
/// # use parquet::file::properties::WriterProperties;
/// # use std::sync::Arc;
/// use tillhouse_parquet_columns::{ColumnEncoder, TableColumnWriter};
///
/// let schema = Schema::new(vec![Field::new("number", DataType::Int64, true)]);
/// let parquet = ArrowSchemaConverter::new().convert(&schema)?;
/// let properties = Arc::new(WriterProperties::default());
/// let mut column = TableColumnWriter::try_new(schema.fields()[0].clone(), parquet.columns(), &properties)?;
/// let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None]));
/// column.write(&numbers)?;
/// let chunks = column.close()?;
/// assert_eq!((chunks.len(), chunks[0].close_result().rows_written), (1, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait ColumnEncoder: Sized + Send {
    /// An encoder without rows. `leaves` are the Parquet columns of the field, in the order of its leaves.
    fn try_new(
        field: FieldRef,
        leaves: &[ColumnDescPtr],
        properties: &WriterPropertiesPtr,
    ) -> Result<Self>;

    /// Adds rows.
    fn write(&mut self, array: &ArrayRef) -> Result<()>;

    /// Bytes held in memory, roughly.
    fn memory_size(&self) -> usize;

    /// Ends the chunks.
    fn close(self) -> Result<Vec<EncodedChunk>>;

    /// True if both columns are encoded alike as long as their values are the same.
    fn has_same_encoding(&self, _other: &Self) -> bool {
        false
    }

    /// Ends being a duplicate: continues as a column of its own, with the values that the other has so far.
    fn diverge_from(&mut self, other: &Self) -> Result<()>;

    /// Chunks of the column that this one is a duplicate of, with the metadata of this one.
    fn relabel_chunks(&self, chunks: &[EncodedChunk]) -> Result<Vec<EncodedChunk>>;
}

/// An encoded column chunk, with its entry in the file's footer.
pub struct EncodedChunk(pub(crate) ChunkPages);

/// Pages of a chunk, as their encoder holds them.
pub(crate) enum ChunkPages {
    /// Pages as they stand in the file. Offsets in the entry begin with the chunk.
    Contiguous {
        bytes: Bytes,
        close: ColumnCloseResult,
    },
    /// Pages that the library keeps apart until they are written, the dictionary last.
    #[cfg(any(test, feature = "library-encoder"))]
    Library(ArrowColumnChunk),
}

impl EncodedChunk {
    /// The chunk's rows, sizes, statistics and page offsets.
    pub fn close_result(&self) -> &ColumnCloseResult {
        match &self.0 {
            ChunkPages::Contiguous { close, .. } => close,
            #[cfg(any(test, feature = "library-encoder"))]
            ChunkPages::Library(chunk) => chunk.close(),
        }
    }

    /// Bytes that the chunk takes in the file.
    pub fn encoded_size(&self) -> usize {
        usize::try_from(self.close_result().bytes_written).unwrap_or(usize::MAX)
    }

    /// Writes the chunk as the next column of a row group. Columns have to come in the order of the file's schema.
    pub fn append_to<W: Write + Send>(
        self,
        row_group: &mut SerializedRowGroupWriter<'_, W>,
    ) -> Result<()> {
        match self.0 {
            ChunkPages::Contiguous { bytes, close } => row_group.append_column(&bytes, close)?,
            #[cfg(any(test, feature = "library-encoder"))]
            ChunkPages::Library(chunk) => chunk.append_to_row_group(row_group)?,
        }
        Ok(())
    }
}
