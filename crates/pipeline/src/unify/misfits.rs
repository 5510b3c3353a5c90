//! Values of a statement's result that do not fit their columns: null there, and a warning each.
//!
//! Invariant: whatever a record was accepted with, its rows arrive. A derived value with more digits than its column holds costs that value
//! alone, and the run's bookkeeping has record, column and value before the rows are committed: `ops.warnings` names them before the run is
//! published.

use super::omitted::TransactionRows;
use super::statement::UnifyStatement;
use crate::context::SharedWork;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::Field;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use std::sync::{Arc, Mutex, PoisonError};
use tillhouse_lake::{OpsTables, UnifiedRowStream, UnifyStep, WarningRow};
use tillhouse_model::table::{RECORD_KEY, TableSpec};
use tillhouse_model::{Error, Result};
use tillhouse_query::{RowError, RowErrorLog};

/// The rule in `ops.warnings`.
const RULE: &str = "derived_value_fits";
/// Most of one step that are told one by one; the rest are counted in one last warning.
const MOST_TOLD: usize = 20_000;

/// Log of values that do not fit their columns, of one statement in one step; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct MisfitLog {
    found: Arc<Mutex<MisfitEntries>>,
    errors: RowErrorLog,
}

#[derive(Debug, Default)]
struct MisfitEntries {
    entries: Vec<DerivedMisfit>,
    more: u64,
}

#[derive(Debug)]
struct DerivedMisfit {
    key: String,
    column: String,
    rule: &'static str,
    value: String,
}

/// Table of a statement, and where its records come from.
#[derive(Debug, Clone)]
pub(super) struct StatementOrigin {
    table: Arc<TableSpec>,
    pipeline: String,
    resource: String,
    run_id: String,
}

impl StatementOrigin {
    pub(super) fn of(table: &Arc<TableSpec>, step: &UnifyStep) -> Self {
        Self {
            table: Arc::clone(table),
            pipeline: step.pipeline.clone(),
            resource: step.resource.clone(),
            run_id: step.run_id.clone(),
        }
    }
}

impl MisfitLog {
    /// Those of a statement that notes here what it cannot compute. What a step before has left there is forgotten: it was not committed.
    pub(super) fn of(errors: &RowErrorLog) -> Self {
        errors.take();
        Self {
            found: Arc::default(),
            errors: errors.clone(),
        }
    }

    /// Casts a column of a result, null where a value does not fit.
    ///
    /// Errors where the column must not be null.
    fn cast(
        &self,
        batch: &RecordBatch,
        column: &ArrayRef,
        field: &Field,
        key: &str,
    ) -> Result<ArrayRef> {
        let cast = |safe| {
            cast_with_options(
                column,
                field.data_type(),
                &CastOptions {
                    safe,
                    ..CastOptions::default()
                },
            )
        };
        let failed = |e| Error::data("a value does not fit its column").because(e);
        let fitted = cast(true).map_err(failed)?;
        // A column of nulls alone has no type, and no mask to count.
        if column.data_type().is_null() || fitted.null_count() == column.null_count() {
            return Ok(fitted);
        }
        if !field.is_nullable() {
            return cast(false).map_err(failed);
        }
        let keys = batch
            .column_by_name(RECORD_KEY)
            .or_else(|| batch.column_by_name(key));
        let keys = keys.and_then(|keys| keys.as_string_opt::<i32>());
        let shown = ArrayFormatter::try_new(column, &FormatOptions::default()).map_err(failed)?;
        for row in (0..column.len()).filter(|row| column.is_valid(*row) && fitted.is_null(*row)) {
            let key = keys
                .filter(|keys| keys.is_valid(row))
                .map_or("", |keys| keys.value(row));
            self.note(key, (field.name(), RULE), || shown.value(row).to_string());
        }
        Ok(fitted)
    }

    /// Notes a value of a record that does not keep a column's rule.
    pub(super) fn note(
        &self,
        key: &str,
        (column, rule): (&str, &'static str),
        value: impl FnOnce() -> String,
    ) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if found.entries.len() >= MOST_TOLD {
            found.more += 1;
            return;
        }
        found.entries.push(DerivedMisfit {
            key: key.to_owned(),
            column: column.to_owned(),
            rule,
            value: value(),
        });
    }

    /// Number written down.
    pub(super) fn count(&self) -> u64 {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.entries.len() as u64 + found.more
    }

    /// Hands them to the run's bookkeeping. A step that is taken again tells the same again, which is noted once.
    pub(super) async fn record(
        &self,
        shared: &SharedWork,
        ops: &OpsTables,
        origin: &StatementOrigin,
    ) -> Result<()> {
        shared.note_warnings(self.rows(origin), ops).await
    }

    fn rows(&self, origin: &StatementOrigin) -> Vec<WarningRow> {
        let noted = self.errors.take();
        for RowError {
            record_key,
            column,
            reason,
        } in noted.errors
        {
            let record_key = record_key.as_deref().unwrap_or_default();
            self.note(record_key, (&column, RULE), || excerpt(&reason));
        }
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.more += noted.more;
        let first_seen = Timestamp::now();
        let row = |record_key: &str, field: String, rule: &str, original: String| WarningRow {
            pipeline: origin.pipeline.clone(),
            resource: origin.resource.clone(),
            record_key: record_key.to_owned(),
            field,
            rule: rule.to_owned(),
            original,
            content_hash: None,
            run_id: origin.run_id.clone(),
            first_seen,
        };
        let of_column = |column: &str| format!("unified.{}.{column}", origin.table.name);
        let told = found
            .entries
            .iter()
            .map(|m| row(&m.key, of_column(&m.column), m.rule, m.value.clone()));
        let more = (found.more > 0)
            .then(|| row("", of_column("*"), "more_warnings", found.more.to_string()));
        told.chain(more).collect()
    }

    /// Rows, followed by handing over the warnings about them: whoever commits at the end of the
    /// stream commits after that.
    pub(super) fn record_after(
        &self,
        rows: UnifiedRowStream,
        (shared, ops): (SharedWork, OpsTables),
        origin: StatementOrigin,
    ) -> UnifiedRowStream {
        let misfits = self.clone();
        let told = stream::once(async move { misfits.record(&shared, &ops, &origin).await });
        rows.chain(told.filter_map(async |told| told.err().map(Err)))
            .boxed()
    }
}

/// The start of a reason.
fn excerpt(reason: &str) -> String {
    const MOST: usize = 200;
    match reason.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}

/// Puts a result's columns into the contract's order and types, with those that its statement leaves out.
pub(super) fn fit(
    batch: &RecordBatch,
    statement: &UnifyStatement,
    transactions: Option<&TransactionRows>,
    misfits: &MisfitLog,
) -> Result<RecordBatch> {
    let (wanted, key) = (&statement.schema, statement.table.key.first());
    let key = key.map_or("", String::as_str);
    let batch = statement
        .omitted
        .fill(batch, wanted, transactions, misfits)?;
    super::rows::arranged(&batch, wanted, |column, field| {
        if column.data_type() == field.data_type() {
            return Ok(Arc::clone(column));
        }
        misfits.cast(&batch, column, field, key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Decimal128Array, StringArray};
    use arrow::datatypes::{DataType, Decimal128Type, Schema};
    use tillhouse_model::contract;

    const MOST: i128 = 999_999_999_999_999_999;

    fn spec() -> TableSpec {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../schemas/unified/transactions.yaml"
        );
        contract::parse(&std::fs::read_to_string(path).unwrap(), path).unwrap()
    }

    fn batch(amounts: Vec<Option<i128>>) -> RecordBatch {
        let keys: StringArray = (0..amounts.len())
            .map(|row| Some(format!("sale {row}")))
            .collect();
        let amounts = Decimal128Array::from(amounts)
            .with_precision_and_scale(38, 4)
            .unwrap();
        let schema = Schema::new(vec![
            Field::new(RECORD_KEY, DataType::Utf8, false),
            Field::new("net_amount", DataType::Decimal128(38, 4), true),
        ]);
        RecordBatch::try_new(Arc::new(schema), vec![Arc::new(keys), Arc::new(amounts)]).unwrap()
    }

    fn fitted(batch: &RecordBatch, nullable: bool) -> (Result<ArrayRef>, MisfitLog) {
        let misfits = MisfitLog::default();
        let field = Field::new("net_amount", DataType::Decimal128(18, 4), nullable);
        (
            misfits.cast(batch, batch.column(1), &field, "transaction_key"),
            misfits,
        )
    }

    #[test]
    fn a_value_that_does_not_fit_is_null_and_told_with_its_record() {
        let batch = batch(vec![
            Some(MOST),
            Some(MOST + 1),
            None,
            Some(-MOST - 1),
            Some(-MOST),
        ]);
        let (fitted, misfits) = fitted(&batch, true);
        let fitted = fitted.unwrap();
        let values: Vec<Option<i128>> = fitted.as_primitive::<Decimal128Type>().iter().collect();
        assert_eq!(values, [Some(MOST), None, None, None, Some(-MOST)]);
        let origin = StatementOrigin {
            table: Arc::new(spec()),
            pipeline: "tills".into(),
            resource: "sales".into(),
            run_id: "run".into(),
        };
        let told: Vec<_> = misfits
            .rows(&origin)
            .into_iter()
            .map(|w| (w.record_key, w.field, w.rule, w.original))
            .collect();
        let row = |key: &str, value: &str| {
            (
                key.to_owned(),
                "unified.transactions.net_amount".to_owned(),
                RULE.to_owned(),
                value.to_owned(),
            )
        };
        assert_eq!(
            told,
            [
                row("sale 1", "100000000000000.0000"),
                row("sale 3", "-100000000000000.0000")
            ]
        );
        assert_eq!(misfits.count(), 2);
    }

    #[test]
    fn a_column_of_nulls_has_no_misfits() {
        let batch = batch(vec![None, None]);
        let misfits = MisfitLog::default();
        let nulls: ArrayRef = Arc::new(arrow::array::NullArray::new(2));
        let field = Field::new("vin", DataType::Utf8, true);
        assert_eq!(
            misfits
                .cast(&batch, &nulls, &field, "transaction_key")
                .unwrap()
                .null_count(),
            2
        );
        assert_eq!(misfits.count(), 0);
    }

    #[test]
    fn a_value_that_must_be_there_is_an_error() {
        let (fitted, misfits) = fitted(&batch(vec![Some(MOST + 1)]), false);
        assert!(fitted.is_err());
        assert_eq!(misfits.count(), 0);
    }
}
