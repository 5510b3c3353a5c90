//! Columns of nulls alone, which share their memory.
//!
//! Invariant: of one type there is one array, as long as the longest column that was asked for. The rows of a roll-up have nulls in most of its columns: in
//! memory of their own they would take several times as much as what has values.

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::DataType;
use std::collections::HashMap;
use std::sync::Arc;
use tillhouse_model::{ErrorKind, Result, ResultExt};

/// True if a column has no value at all.
pub(crate) fn is_null(column: &dyn Array) -> bool {
    column.null_count() == column.len()
}

/// Nulls by type.
#[derive(Default)]
pub(crate) struct SharedNulls(HashMap<DataType, ArrayRef>);

impl SharedNulls {
    /// Nulls of a type, as many as are asked for.
    pub(crate) fn of(&mut self, kind: &DataType, rows: usize) -> ArrayRef {
        match self.0.get(kind) {
            Some(nulls) if nulls.len() >= rows => nulls.slice(0, rows),
            _ => {
                let nulls = new_null_array(kind, rows);
                self.0.insert(kind.clone(), Arc::clone(&nulls));
                nulls
            }
        }
    }

    /// The same rows, whose columns of nulls share their memory.
    pub(crate) fn shared(&mut self, rows: &RecordBatch) -> Result<RecordBatch> {
        let columns = rows.columns().iter();
        let columns = columns.map(|column| match is_null(column) {
            true => self.of(column.data_type(), column.len()),
            false => Arc::clone(column),
        });
        RecordBatch::try_new(rows.schema(), columns.collect())
            .or_error(ErrorKind::Internal, "rows cannot be held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;

    #[test]
    fn columns_of_nulls_are_one_and_all_others_stay() {
        let nulls =
            |rows: usize| -> ArrayRef { Arc::new(Int64Array::from(vec![None::<i64>; rows])) };
        let some: ArrayRef = Arc::new(Int64Array::from(vec![None, Some(7)]));
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("a", nulls(2), true),
            ("b", some, true),
            ("c", nulls(2), true),
        ]);
        let batch = batch.unwrap();
        let mut shared = SharedNulls::default();
        let found = shared.shared(&batch).unwrap();
        assert_eq!(found, batch);
        let place = |at: usize| found.column(at).to_data().buffers()[0].as_ptr();
        assert_eq!(place(0), place(2));
        assert_ne!(place(0), place(1));
        assert_eq!(shared.of(&DataType::Int64, 1).len(), 1);
        assert_eq!(shared.of(&DataType::Int64, 3).null_count(), 3);
    }
}
