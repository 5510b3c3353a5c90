//! Errors of encoding.
//!
//! Invariant: an error names the column and its type, never a value.

use arrow::datatypes::DataType;
use parquet::errors::ParquetError;
use std::num::TryFromIntError;

/// A result whose error is [`EncodeError`].
pub(crate) type Result<T, E = EncodeError> = std::result::Result<T, E>;

/// Reason why rows could not be encoded. After an error the encoder that returned it is of no use: its chunks are incomplete.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A column has a type for which [`is_supported`](crate::is_supported) is false.
    #[error("a column has a type that is not written (column {column}, type {data_type})")]
    UnsupportedType {
        /// The column or the leaf in it.
        column: String,
        /// Its type, as Arrow or Parquet prints it.
        data_type: String,
    },
    /// Arrays or Parquet columns do not fit the column's field.
    #[error("a column is nested otherwise than its schema (column {column})")]
    NestingMismatch {
        /// The column or the leaf in it.
        column: String,
    },
    /// An array has another type than the column's field.
    #[error("an array has another type than its column (column {column}, type {data_type})")]
    TypeMismatch {
        /// The column or the leaf in it.
        column: String,
        /// The array's type.
        data_type: DataType,
    },
    /// A decimal has more digits than the precision of its column, and would be cut off.
    #[error("a decimal has more digits than its column (column {column})")]
    TooManyDigits {
        /// The leaf.
        column: String,
    },
    /// Rows have fewer or more arrays than the row group has columns.
    #[error("rows have {arrays} arrays for {columns} columns")]
    ColumnCount {
        /// Columns of the row group.
        columns: usize,
        /// Arrays of the rows.
        arrays: usize,
    },
    /// A row group was closed before all of its columns were encoded.
    #[error("a column has no chunk (column {index} of the row group)")]
    MissingChunk {
        /// The column's place in the row group, from 0.
        index: usize,
    },
    /// An encoder that encodes every column by itself was asked to share chunks.
    #[error("the encoder does not share chunks between columns (column {column})")]
    NotShared {
        /// The column.
        column: String,
    },
    /// A page or chunk is larger than Parquet has numbers for.
    #[error("a column chunk is larger than its format can describe")]
    TooLarge(#[from] TryFromIntError),
    /// A page could not be compressed.
    #[error("a page could not be compressed")]
    Compression(#[source] std::io::Error),
    /// The Parquet library refused a page, a chunk or a row group.
    #[error(transparent)]
    Parquet(#[from] ParquetError),
}
