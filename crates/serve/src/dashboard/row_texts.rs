//! Rows of a query as texts, for pages.
//!
//! Invariant: a decimal is written with all its digits, and an instant as RFC 3339 has it; no number passes through a float.

use crate::problem::Problem;
use arrow::array::{Array, RecordBatch};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use tillhouse_page::dashboard::RecordTable;
use tillhouse_query::{ScalarValue, Session, into_error};

/// The rows of a query, whose `$name` placeholders have values.
pub(super) async fn rows_of(
    session: &Session,
    sql: &str,
    params: &[(&str, ScalarValue)],
) -> Result<RecordTable, Problem> {
    let mut stream = session.query_with(sql, params).await?;
    let schema = stream.schema();
    let mut table = RecordTable {
        columns: schema.fields().iter().map(|f| f.name().clone()).collect(),
        rows: Vec::new(),
    };
    while let Some(batch) = stream.try_next().await.map_err(into_error)? {
        table.rows.extend(rows(&batch)?);
    }
    Ok(table)
}

/// Rows of a query about a unified table; none where there is no such table.
pub(super) async fn rows_where_there(
    session: &Session,
    table: &str,
    sql: &str,
    params: &[(&str, ScalarValue)],
) -> Result<RecordTable, Problem> {
    match session.has_table("unified", table).await? {
        true => rows_of(session, sql, params).await,
        false => Ok(RecordTable::default()),
    }
}

/// The rows of a batch.
pub(super) fn table_of(batch: &RecordBatch) -> Result<RecordTable, Problem> {
    let schema = batch.schema();
    Ok(RecordTable {
        columns: schema.fields().iter().map(|f| f.name().clone()).collect(),
        rows: rows(batch)?,
    })
}

fn rows(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>, Problem> {
    texts(batch).map_err(|error| Problem::internal(format!("a row cannot be shown: {error}")))
}

fn texts(batch: &RecordBatch) -> Result<Vec<Vec<Option<String>>>, ArrowError> {
    let options = FormatOptions::default();
    let formatters = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<Vec<_>, ArrowError>>()?;
    let mut rows = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let mut values = Vec::with_capacity(formatters.len());
        for (column, formatter) in batch.columns().iter().zip(&formatters) {
            values.push(match column.is_null(row) {
                true => None,
                false => Some(formatter.value(row).try_to_string()?),
            });
        }
        rows.push(values);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Decimal128Array, TimestampMicrosecondArray};
    use std::sync::Arc;

    #[test]
    fn digits_and_instants_are_written_in_full() {
        let amounts = Decimal128Array::from(vec![Some(123_456_789_012_345_678), None]);
        let amounts = amounts.with_precision_and_scale(18, 4).unwrap();
        let times = TimestampMicrosecondArray::from(vec![1_767_607_200_000_000, 0]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("amount", Arc::new(amounts)),
            ("at", Arc::new(times.with_timezone("UTC"))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let table = table_of(&batch).unwrap();
        assert_eq!(table.value(0, "amount"), Some("12345678901234.5678"));
        assert_eq!(table.value(1, "amount"), None);
        assert_eq!(table.value(0, "at"), Some("2026-01-05T10:00:00Z"));
    }
}
