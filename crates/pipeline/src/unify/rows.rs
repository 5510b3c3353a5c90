//! A statement's result on its way into the columns of its contract.
//!
//! Invariant: a value that does not fit its column is an error, never a null.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, SchemaRef};
use std::sync::Arc;
use tillhouse_model::table::DELETED_AT;
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_query::Session;

/// Puts a result's columns into the contract's order and types. A statement may leave out [`DELETED_AT`].
pub(super) fn fit(batch: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch> {
    let columns = wanted
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type()).map_err(|e| e.at("column", field.name().clone())),
            None if field.name() == DELETED_AT => Ok(new_null_array(field.data_type(), batch.num_rows())),
            None => Err(Error::internal(format!("column {:?} went missing", field.name()))),
        })
        .collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(wanted), columns).map_err(|e| {
        Error::data("a unify statement gives a row without a required value")
            .because(e)
            .hint("Use coalesce, or leave the row out with WHERE.")
    })
}

/// A cast that fails instead of writing null where a value does not fit.
pub(super) fn cast(column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if column.data_type() == to {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, to, &options).map_err(|e| Error::data("a value does not fit its column").because(e))
}

/// A column as text.
pub(super) fn text(batch: &RecordBatch, column: usize) -> Result<StringArray> {
    Ok(cast(batch.column(column), &DataType::Utf8)?.as_string::<i32>().clone())
}

/// A row's text.
pub(super) fn text_at(texts: &StringArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}

pub(super) async fn collect(session: &Session, sql: &str) -> Result<Vec<RecordBatch>> {
    tillhouse_query::collect(session.query(sql).await?).await
}

pub(super) fn query_failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Query, "a unify query failed").because(error)
}
