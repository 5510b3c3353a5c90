//! This crate's encoder of one table column: Parquet pages of zstd, from Arrow arrays.
//!
//! Invariant: a chunk has a dictionary as long as its values repeat; what a chunk holds in memory is its compressed pages and one that is not
//! full. Levels are worked out once for every struct and list and shared by the leaves inside it.

use crate::column_chunk::ColumnChunkWriter;
use crate::compress::compression;
use crate::encoder::{ChunkPages, ColumnEncoder, EncodedChunk};
use crate::error::{EncodeError, Result};
use crate::nesting::NestingLevels;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::WriterPropertiesPtr;
use parquet::schema::types::ColumnDescPtr;

/// Rows that are encoded at once; a page has at least as many.
const SLICE: usize = 2_048;

/// Writer of one column of the table: a column chunk for each of its leaves.
#[derive(Clone)]
pub struct TableColumnWriter {
    field: FieldRef,
    leaves: Vec<ColumnChunkWriter>,
}

impl ColumnEncoder for TableColumnWriter {
    fn try_new(
        field: FieldRef,
        leaves: &[ColumnDescPtr],
        properties: &WriterPropertiesPtr,
    ) -> Result<Self> {
        let leaves = leaves
            .iter()
            .map(|leaf| ColumnChunkWriter::try_new(leaf.clone(), properties))
            .collect::<Result<_>>()?;
        Ok(Self { field, leaves })
    }

    fn write(&mut self, array: &ArrayRef) -> Result<()> {
        for from in (0..array.len()).step_by(SLICE) {
            let slice = array.slice(from, SLICE.min(array.len() - from));
            let mut leaves = self.leaves.iter_mut();
            write(
                &self.field,
                &slice,
                &NestingLevels::rows(slice.len()),
                slice.len(),
                &mut leaves,
            )?;
            if leaves.next().is_some() {
                return Err(nesting_mismatch(&self.field));
            }
        }
        Ok(())
    }

    fn memory_size(&self) -> usize {
        self.leaves.iter().map(ColumnChunkWriter::memory_size).sum()
    }

    fn close(self) -> Result<Vec<EncodedChunk>> {
        self.leaves
            .into_iter()
            .map(ColumnChunkWriter::close)
            .collect()
    }

    /// Only columns of one leaf are compared.
    fn has_same_encoding(&self, other: &Self) -> bool {
        match (self.leaves.as_slice(), other.leaves.as_slice()) {
            ([one], [another]) => {
                self.field.data_type() == other.field.data_type()
                    && self.field.is_nullable() == other.field.is_nullable()
                    && one.has_same_encoding(another)
            }
            _ => false,
        }
    }

    fn diverge_from(&mut self, other: &Self) -> Result<()> {
        self.leaves
            .iter_mut()
            .zip(&other.leaves)
            .for_each(|(own, leaf)| own.diverge_from(leaf));
        Ok(())
    }

    fn relabel_chunks(&self, chunks: &[EncodedChunk]) -> Result<Vec<EncodedChunk>> {
        chunks
            .iter()
            .zip(&self.leaves)
            .map(|(chunk, leaf)| self.relabel(chunk, leaf.descriptor()))
            .collect()
    }
}

impl TableColumnWriter {
    /// A chunk's pages with the metadata of a leaf of this column.
    fn relabel(&self, chunk: &EncodedChunk, leaf: &ColumnDescPtr) -> Result<EncodedChunk> {
        let (bytes, close) = match &chunk.0 {
            ChunkPages::Contiguous { bytes, close } => (bytes.clone(), close),
            #[cfg(any(test, feature = "library-encoder"))]
            ChunkPages::Library(_) => {
                return Err(EncodeError::NotShared {
                    column: self.field.name().clone(),
                });
            }
        };
        let own = &close.metadata;
        let mut metadata = ColumnChunkMetaData::builder(leaf.clone())
            .set_compression(compression())
            .set_encodings_mask(*own.encodings_mask())
            .set_page_encoding_stats(own.page_encoding_stats().cloned().unwrap_or_default())
            .set_total_compressed_size(own.compressed_size())
            .set_total_uncompressed_size(own.uncompressed_size())
            .set_num_values(own.num_values())
            .set_data_page_offset(own.data_page_offset())
            .set_dictionary_page_offset(own.dictionary_page_offset());
        if let Some(statistics) = own.statistics() {
            metadata = metadata.set_statistics(statistics.clone());
        }
        let close = ColumnCloseResult {
            metadata: metadata.build()?,
            ..close.clone()
        };
        Ok(EncodedChunk(ChunkPages::Contiguous { bytes, close }))
    }
}

/// True if arrays of the type can be encoded by [`TableColumnWriter`]: structs and lists of texts, bytes, flags, whole numbers of 64 bits,
/// days, decimals of 128 bits and instants in microseconds.
///
/// ```
/// use arrow::datatypes::{DataType, Field};
/// use tillhouse_parquet_columns::is_supported;
///
/// let texts = DataType::List(Field::new("element", DataType::Utf8, true).into());
/// assert!(is_supported(&texts) && !is_supported(&DataType::Float64));
/// ```
pub fn is_supported(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().all(|field| is_supported(field.data_type())),
        DataType::List(element) => is_supported(element.data_type()),
        DataType::Utf8
        | DataType::Binary
        | DataType::Boolean
        | DataType::Int64
        | DataType::Date32
        | DataType::Decimal128(_, _)
        | DataType::Timestamp(TimeUnit::Microsecond, _) => true,
        _ => false,
    }
}

fn nesting_mismatch(field: &Field) -> EncodeError {
    EncodeError::NestingMismatch {
        column: field.name().clone(),
    }
}

fn type_mismatch(field: &Field, array: &ArrayRef) -> EncodeError {
    EncodeError::TypeMismatch {
        column: field.name().clone(),
        data_type: array.data_type().clone(),
    }
}

/// True if arrays of the one type are encoded as those of the other. A time zone is no part of a value.
fn is_same_leaf(field: &DataType, array: &DataType) -> bool {
    match (field, array) {
        (DataType::Timestamp(unit, _), DataType::Timestamp(other, _)) => unit == other,
        _ => field == array,
    }
}

/// Hands the arrays of a column's leaves to their writers.
fn write<'a>(
    field: &Field,
    array: &ArrayRef,
    slots: &NestingLevels,
    rows: usize,
    leaves: &mut impl Iterator<Item = &'a mut ColumnChunkWriter>,
) -> Result<()> {
    match field.data_type() {
        DataType::Struct(fields) => {
            let array = array
                .as_struct_opt()
                .ok_or_else(|| type_mismatch(field, array))?;
            let inside = slots.present(field.is_nullable(), array.nulls());
            for (field, array) in fields.iter().zip(array.columns()) {
                write(field, array, &inside, rows, leaves)?;
            }
            Ok(())
        }
        DataType::List(element) => {
            let array = array
                .as_list_opt::<i32>()
                .ok_or_else(|| type_mismatch(field, array))?;
            let inside = slots.elements(field.is_nullable(), array.nulls(), array.offsets());
            write(element, array.values(), &inside, rows, leaves)
        }
        leaf if is_same_leaf(leaf, array.data_type()) => {
            let leaf = leaves.next().ok_or_else(|| nesting_mismatch(field))?;
            leaf.write(
                &slots.present(field.is_nullable(), array.nulls()),
                array,
                rows,
            )
        }
        _ => Err(type_mismatch(field, array)),
    }
}
