//! Encodes the column chunks of a row group: Parquet pages of zstd, from Arrow arrays.
//!
//! Invariant: a reader gets back exactly the values and nulls that were written, in their order. A chunk has a dictionary as long as its
//! values repeat; what a chunk holds is its compressed pages and one that is not full.
//!
//! Parquet's own encoder looks at every value several times over and makes a compressor for each column. This one knows only the types
//! that contracts have, takes levels from Arrow's bitmaps, and leaves files, footers and schemas to the library.

mod compress;
mod dictionary;
mod hybrid;
mod leaf;
mod levels;
mod slots;

pub(crate) use compress::compression;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use bytes::Bytes;
use leaf::Leaf;
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnDescPtr;
use slots::Slots;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Rows that are encoded at once; a page has at least as many.
const SLICE: usize = 2_048;

const REFUSED: &str = "rows could not be encoded";

/// The chunks of one column of the table, one for each of its leaves.
#[derive(Clone)]
pub(crate) struct Column {
    field: FieldRef,
    leaves: Vec<Leaf>,
}

/// A chunk as it stands in a file, with what the footer says of it.
#[derive(Clone)]
pub(crate) struct Encoded {
    pub(crate) bytes: Bytes,
    pub(crate) close: ColumnCloseResult,
}

impl Encoded {
    /// The same values in another column.
    fn of(&self, leaf: &ColumnDescPtr) -> Result<Self> {
        let own = &self.close.metadata;
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
        let metadata = metadata.build().or_error(ErrorKind::Internal, REFUSED)?;
        Ok(Self { bytes: self.bytes.clone(), close: ColumnCloseResult { metadata, ..self.close.clone() } })
    }
}

impl Column {
    /// A column whose leaves Parquet describes so.
    pub(crate) fn new(field: FieldRef, leaves: &[ColumnDescPtr], properties: &WriterProperties) -> Result<Self> {
        let leaves = leaves.iter().map(|leaf| Leaf::new(leaf.clone(), properties)).collect::<Result<_>>()?;
        Ok(Self { field, leaves })
    }

    /// Adds rows.
    pub(crate) fn write(&mut self, array: &ArrayRef) -> Result<()> {
        for from in (0..array.len()).step_by(SLICE) {
            let slice = array.slice(from, SLICE.min(array.len() - from));
            let mut leaves = self.leaves.iter_mut();
            write(&self.field, &slice, &Slots::rows(slice.len()), slice.len(), &mut leaves)?;
            if leaves.next().is_some() {
                return Err(Error::internal("a column has fewer leaves than its table").at("column", self.field.name()));
            }
        }
        Ok(())
    }

    /// Whether columns are encoded alike if their values are the same. Only those of one leaf are looked at.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (self.leaves.as_slice(), other.leaves.as_slice()) {
            ([one], [another]) => {
                self.field.data_type() == other.field.data_type()
                    && self.field.is_nullable() == other.field.is_nullable()
                    && one.is_like(another)
            }
            _ => false,
        }
    }

    /// From here on a column of its own, with the values that another has so far.
    pub(crate) fn take_over(&mut self, other: &Self) {
        self.leaves.iter_mut().zip(&other.leaves).for_each(|(own, leaf)| own.take_over(leaf));
    }

    /// Chunks of another column, as those of this one.
    pub(crate) fn of(&self, chunks: &[Encoded]) -> Result<Vec<Encoded>> {
        chunks.iter().zip(&self.leaves).map(|(chunk, leaf)| chunk.of(leaf.descriptor())).collect()
    }

    /// Bytes that are held, roughly.
    pub(crate) fn size(&self) -> usize {
        self.leaves.iter().map(Leaf::size).sum()
    }

    /// Ends the chunks.
    pub(crate) fn close(self) -> Result<Vec<Encoded>> {
        self.leaves.into_iter().map(Leaf::close).collect()
    }
}

/// Whether arrays of the type can be encoded.
pub(crate) fn is_known(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().all(|field| is_known(field.data_type())),
        DataType::List(element) => is_known(element.data_type()),
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

/// Hands the arrays of a column's leaves to these.
fn write<'a>(
    field: &Field,
    array: &ArrayRef,
    slots: &Slots,
    rows: usize,
    leaves: &mut impl Iterator<Item = &'a mut Leaf>,
) -> Result<()> {
    match field.data_type() {
        DataType::Struct(fields) => {
            let array = array.as_struct();
            let inside = slots.present(field.is_nullable(), array.nulls());
            for (field, array) in fields.iter().zip(array.columns()) {
                write(field, array, &inside, rows, leaves)?;
            }
            Ok(())
        }
        DataType::List(element) => {
            let array = array.as_list::<i32>();
            let inside = slots.elements(field.is_nullable(), array.nulls(), array.offsets());
            write(element, array.values(), &inside, rows, leaves)
        }
        _ => {
            let missing = || Error::internal("a column has other leaves than its table").at("column", field.name());
            let leaf = leaves.next().ok_or_else(missing)?;
            leaf.write(&slots.present(field.is_nullable(), array.nulls()), array, rows)
        }
    }
}

#[cfg(test)]
#[path = "chunk_tests.rs"]
mod tests;
