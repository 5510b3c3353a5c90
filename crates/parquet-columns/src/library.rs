//! The Parquet library's own encoder, behind the same interface.
//!
//! Invariant: nothing of this crate's encoder is used, so that what both agree on is not one mistake made twice.
//!
//! It is there to compare with: its pages are zstd frames without the checksum of their content, and it encodes columns that hold the same
//! values once each.

use crate::encoder::{ChunkPages, ColumnEncoder, EncodedChunk};
use crate::error::{EncodeError, Result};
use arrow::array::ArrayRef;
use arrow::datatypes::{FieldRef, Schema};
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::file::properties::WriterPropertiesPtr;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnDescPtr;
use std::sync::Arc;

/// Writer of one table column by the Parquet library, an `ArrowColumnWriter` for each leaf.
///
/// ```
/// # use arrow::array::{ArrayRef, StringArray};
/// # use arrow::datatypes::{DataType, Field, Schema};
/// # use parquet::arrow::ArrowSchemaConverter;
/// # use parquet::file::properties::WriterProperties;
/// # use std::sync::Arc;
/// use tillhouse_parquet_columns::{ColumnEncoder, LibraryColumnWriter};
///
/// let schema = Schema::new(vec![Field::new("name", DataType::Utf8, true)]);
/// let parquet = ArrowSchemaConverter::new().convert(&schema)?;
/// let properties = Arc::new(WriterProperties::default());
/// let mut column = LibraryColumnWriter::try_new(schema.fields()[0].clone(), parquet.columns(), &properties)?;
/// let names: ArrayRef = Arc::new(StringArray::from(vec!["pump", "gate"]));
/// column.write(&names)?;
/// assert_eq!(column.close()?[0].close_result().rows_written, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LibraryColumnWriter {
    field: FieldRef,
    leaves: Vec<ArrowColumnWriter>,
}

impl LibraryColumnWriter {
    fn not_shared(&self) -> EncodeError {
        EncodeError::NotShared {
            column: self.field.name().clone(),
        }
    }
}

impl ColumnEncoder for LibraryColumnWriter {
    fn try_new(
        field: FieldRef,
        leaves: &[ColumnDescPtr],
        properties: &WriterPropertiesPtr,
    ) -> Result<Self> {
        let schema = Arc::new(Schema::new(vec![field.clone()]));
        let parquet = ArrowSchemaConverter::new().convert(&schema)?;
        if parquet.columns() != leaves {
            return Err(EncodeError::NestingMismatch {
                column: field.name().clone(),
            });
        }
        // The library makes column writers of a file only; this one is never written to.
        let file = SerializedFileWriter::new(
            std::io::sink(),
            parquet.root_schema_ptr(),
            properties.clone(),
        )?;
        let leaves = ArrowRowGroupWriterFactory::new(&file, schema).create_column_writers(0)?;
        Ok(Self { field, leaves })
    }

    fn write(&mut self, array: &ArrayRef) -> Result<()> {
        for (writer, leaf) in self
            .leaves
            .iter_mut()
            .zip(compute_leaves(&self.field, array)?)
        {
            writer.write(&leaf)?;
        }
        Ok(())
    }

    fn memory_size(&self) -> usize {
        self.leaves.iter().map(ArrowColumnWriter::memory_size).sum()
    }

    fn close(self) -> Result<Vec<EncodedChunk>> {
        let close = |leaf: ArrowColumnWriter| Ok(EncodedChunk(ChunkPages::Library(leaf.close()?)));
        self.leaves.into_iter().map(close).collect()
    }

    fn diverge_from(&mut self, _other: &Self) -> Result<()> {
        Err(self.not_shared())
    }

    fn relabel_chunks(&self, _chunks: &[EncodedChunk]) -> Result<Vec<EncodedChunk>> {
        Err(self.not_shared())
    }
}
