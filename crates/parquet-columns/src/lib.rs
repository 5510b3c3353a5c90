//! An encoder of Parquet column chunks, from Arrow arrays.
//!
//! Invariant: a reader gets back exactly the values and nulls that were written, in order; the same rows give the same bytes. Nothing here
//! knows a table, a file's name or a store.
//!
//! ```text
//!                      RowGroupEncoder      rows as they come
//!  Arrow arrays  ->    ParallelRowGroup     rows that are all there, by several threads      ->  EncodedChunk  ->  append_row_group
//!                          |  a ColumnEncoder for each column, one for columns that hold the same
//!                          |
//!            TableColumnWriter                              LibraryColumnWriter (feature `library-encoder`)
//!              |  nesting: levels, once for all leaves        |  parquet's ArrowColumnWriter
//!            ColumnChunkWriter, one for each leaf
//!              |  dictionary, page levels, rle, compress
//! ```
//!
//! Parquet's own encoder looks at every value several times over and makes a compressor for each column. This one knows only the types of
//! [`is_supported`], takes levels from Arrow's bitmaps, asks after a thousand values whether a dictionary pays, and leaves files, footers and
//! schemas to the library. Both stand behind [`ColumnEncoder`]; the tests write the same rows with both and compare what is read.
//!
//! Rejected: encryption, Bloom filters and column indexes. Nothing that reads our files uses them, and a page index of offsets alone is what a
//! row selection needs.
//!
//! # Example
//!
//! ```
//! use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
//! use arrow::datatypes::{DataType, Field, Schema};
//! use parquet::arrow::ArrowSchemaConverter;
//! use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
//! use parquet::file::properties::WriterProperties;
//! use parquet::file::writer::SerializedFileWriter;
//! use std::sync::Arc;
//! use tillhouse_parquet_columns::{ColumnEncoder, DefaultEncoder, RowGroupEncoder, append_row_group, compression};
//!
//! let schema = Arc::new(Schema::new(vec![
//!     Field::new("name", DataType::Utf8, true),
//!     Field::new("number", DataType::Int64, false),
//! ]));
//! let names: ArrayRef = Arc::new(StringArray::from(vec![Some("pump"), None, Some("gate")]));
//! let rows = RecordBatch::try_new(schema.clone(), vec![names, Arc::new(Int64Array::from(vec![1, 2, 3]))])?;
//!
//! // The library makes the file; its compression is what the chunks say of themselves.
//! let parquet = ArrowSchemaConverter::new().convert(&schema)?;
//! let properties = Arc::new(WriterProperties::builder().set_compression(compression()).build());
//! let mut file = SerializedFileWriter::new(Vec::new(), parquet.root_schema_ptr(), properties.clone())?;
//!
//! // A flat column is one Parquet column; a struct or list has one for each of its leaves.
//! let encoders = schema.fields().iter().zip(parquet.columns());
//! let encoders = encoders
//!     .map(|(field, leaf)| DefaultEncoder::try_new(field.clone(), std::slice::from_ref(leaf), &properties))
//!     .collect::<Result<Vec<_>, _>>()?;
//! let mut row_group = RowGroupEncoder::new(encoders);
//! row_group.write(rows.columns())?;
//! append_row_group(&mut file, row_group.close()?)?;
//!
//! let bytes = bytes::Bytes::from(file.into_inner()?);
//! let read = ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()?.next().unwrap()?;
//! assert_eq!(read.columns(), rows.columns());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod column_chunk;
mod compress;
mod dictionary;
#[cfg(test)]
mod differential_tests;
mod encoder;
mod error;
#[cfg(any(test, feature = "library-encoder"))]
mod library;
mod nesting;
mod page_levels;
mod parallel;
#[cfg(test)]
mod random_rows;
#[cfg(test)]
mod reading_tests;
mod rle;
mod row_group;
mod table_column;

pub use compress::compression;
pub use encoder::{ColumnEncoder, EncodedChunk};
pub use error::EncodeError;
#[cfg(any(test, feature = "library-encoder"))]
pub use library::LibraryColumnWriter;
pub use parallel::ParallelRowGroup;
pub use row_group::{RowGroupEncoder, append_row_group};
pub use table_column::{TableColumnWriter, is_supported};

/// The encoder that row groups use unless told otherwise: this crate's own.
#[cfg(not(feature = "library-encoder"))]
pub type DefaultEncoder = TableColumnWriter;

/// The encoder that row groups use unless told otherwise: the Parquet library's.
#[cfg(feature = "library-encoder")]
pub type DefaultEncoder = LibraryColumnWriter;
