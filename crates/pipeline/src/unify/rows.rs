//! A result on its way into other columns' order and types.
//!
//! Invariant: [`conform`] never changes a value: one that does not fit its column is an error. What becomes of one in a statement's result,
//! `misfits` says.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use jiff::Timestamp;
use std::sync::Arc;
use tillhouse_model::table::{DELETED_AT, RECORD_KEY};
use tillhouse_model::{Error, Result};
use tillhouse_query::Session;

/// Puts columns into a schema's order and types, strictly.
pub(super) fn conform(batch: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch> {
    arranged(batch, wanted, |column, field| {
        cast(column, field.data_type())
    })
}

/// Puts columns into a schema's order; `fit` brings each to its type. [`DELETED_AT`] may be missing.
pub(super) fn arranged(
    batch: &RecordBatch,
    wanted: &SchemaRef,
    fit: impl Fn(&ArrayRef, &Field) -> Result<ArrayRef>,
) -> Result<RecordBatch> {
    let columns = wanted
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => fit(column, field).map_err(|e| e.at("column", field.name().clone())),
            None if field.name() == DELETED_AT => {
                Ok(new_null_array(field.data_type(), batch.num_rows()))
            }
            None => Err(Error::internal(format!(
                "column {:?} went missing",
                field.name()
            ))),
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
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(column, to, &options)
        .map_err(|e| Error::data("a value does not fit its column").because(e))
}

/// A column as text.
pub(super) fn text(batch: &RecordBatch, column: usize) -> Result<StringArray> {
    Ok(cast(batch.column(column), &DataType::Utf8)?
        .as_string::<i32>()
        .clone())
}

/// A row's text.
pub(super) fn text_at(texts: &StringArray, row: usize) -> Option<&str> {
    texts.is_valid(row).then(|| texts.value(row))
}

/// Record keys as a table of one column.
pub(super) fn key_batch<'a>(keys: impl Iterator<Item = &'a str>) -> Result<RecordBatch> {
    let keys: StringArray = keys.map(Some).collect();
    let schema = Schema::new(vec![Field::new(RECORD_KEY, DataType::Utf8, false)]);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(keys)])
        .map_err(|e| Error::internal("keys cannot be listed").because(e))
}

/// All rows of a query.
pub(super) async fn collect(session: &Session, sql: &str) -> Result<Vec<RecordBatch>> {
    tillhouse_query::collect(session.query(sql).await?).await
}

/// An instant in SQL text, in the type that instants of tables have. A plain literal has nanoseconds, to which years before 1677 or after
/// 2262 cannot be brought.
pub(crate) fn instant(at: Timestamp) -> String {
    format!("arrow_cast('{at}', 'Timestamp(Microsecond, Some(\"UTC\"))')")
}
