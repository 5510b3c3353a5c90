//! Columns that a statement leaves out, and where their values come from.
//!
//! ```text
//!   pipeline, source             the pipeline's own
//!   lineage                      carried from the records, see `tillhouse_query::carry_columns`
//!   month, business_date, ...    computed from occurred_at and timezone, see `tillhouse_query::derive_columns`
//!   tenant, site, times, ...     of articles, payments and events: their transaction's, by transaction_key
//!   anything else                null
//! ```
//!
//! Invariant: what a statement names is what it says. A row that names a transaction which `transactions.sql` does not give is left out, and
//! `ops.warnings` tells of it: nothing else would say when and where it was.

use super::misfits::MisfitLog;
use super::rows::{cast, text};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, UInt32Array, new_null_array,
};
use arrow::compute::{concat_batches, filter_record_batch, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;
use tillhouse_model::table::{
    AS_OF, CONTENT_HASH, DELETED_AT, EXTRACTED_AT, LOAD_ID, RECORD_KEY, RECORD_TIME, RUN_ID,
    TableRole, TableSpec,
};
use tillhouse_model::{Error, FastMap, Result};
use tillhouse_query::{CarriedColumn, DerivedColumn, carry_columns, derive_columns};

/// The unified table of transactions.
pub(super) const TRANSACTIONS: &str = "transactions";
/// The column that names a row's transaction.
pub(super) const TRANSACTION_KEY: &str = "transaction_key";
/// Tables whose rows take what they leave out from their transaction.
const LINES: &[&str] = &["articles", "payments", "events"];
/// Columns that those rows take from it, each with the transaction's own name for it.
const INHERITED: &[(&str, &str)] = &[
    ("tenant_id", "tenant_id"),
    ("perspective", "perspective"),
    ("kind", "kind"),
    ("site_key", "site_key"),
    ("device_key", "device_key"),
    ("occurred_at", "occurred_at"),
    ("month", "month"),
    ("business_date", "business_date"),
    ("local_hour", "local_hour"),
    ("transaction_state", "state"),
];
/// The rule in `ops.warnings` that a row's transaction is there.
const TRANSACTION_KNOWN: &str = "transaction_known";

/// Columns whose contract says that they follow from occurred_at and the site's clock. Lines have their transaction's.
const OF_OCCURRENCE: &[DerivedColumn<'static>] = &[
    ("month", "month_of", &["occurred_at"]),
    ("business_date", "local_date", &["occurred_at", "timezone"]),
    ("local_hour", "local_hour", &["occurred_at", "timezone"]),
    (
        "utc_offset_minutes",
        "utc_offset_minutes",
        &["occurred_at", "timezone"],
    ),
];

/// A statement of a table with what it leaves out and SQL can say: columns that follow from others of it, and lineage.
pub(super) fn complete_sql(
    sql: &str,
    table: &TableSpec,
    resource: &str,
    marks_deleted: bool,
) -> Result<String> {
    let has = |name: &str| table.columns.iter().any(|column| column.name == name);
    let is_line = LINES.contains(&table.name.as_str());
    let derived: Vec<DerivedColumn<'static>> = OF_OCCURRENCE
        .iter()
        .filter(|(name, _, _)| !is_line && has(name))
        .copied()
        .collect();
    let sql = derive_columns(sql, &derived)?;
    carry_columns(&sql, resource, lineage(table.role, marks_deleted))
}

/// The lineage columns that a statement of this role need not name.
fn lineage(role: TableRole, marks_deleted: bool) -> &'static [CarriedColumn<'static>] {
    match (role, marks_deleted) {
        (TableRole::Source, _) => &[],
        (TableRole::Fact, _) => &[
            (RECORD_KEY, &[RECORD_KEY]),
            (RECORD_TIME, &[RECORD_TIME]),
            (LOAD_ID, &[LOAD_ID]),
            (EXTRACTED_AT, &[EXTRACTED_AT]),
            (CONTENT_HASH, &[CONTENT_HASH]),
            (RUN_ID, &[RUN_ID]),
        ],
        (TableRole::Dimension, false) => &[
            (AS_OF, &[RECORD_TIME, EXTRACTED_AT]),
            (EXTRACTED_AT, &[EXTRACTED_AT]),
            (CONTENT_HASH, &[CONTENT_HASH]),
            (RUN_ID, &[RUN_ID]),
        ],
        // A resource that is read whole is as it was when it was read, and may be gone.
        (TableRole::Dimension, true) => &[
            (AS_OF, &[EXTRACTED_AT]),
            (DELETED_AT, &[DELETED_AT]),
            (EXTRACTED_AT, &[EXTRACTED_AT]),
            (CONTENT_HASH, &[CONTENT_HASH]),
            (RUN_ID, &[RUN_ID]),
        ],
    }
}

/// Columns that a statement leaves out.
#[derive(Debug, Clone, Default)]
pub(super) struct OmittedColumns {
    /// With the value that all rows have.
    constant: Vec<(String, String)>,
    /// With the transaction's name for it.
    inherited: Vec<(&'static str, &'static str)>,
}

impl OmittedColumns {
    /// Those of a result with these columns, and the required ones that nothing fills.
    pub(super) fn of(
        table: &TableSpec,
        given: &Schema,
        (pipeline, source): (&str, &str),
        transactions: bool,
    ) -> (Self, Vec<String>) {
        let (mut omitted, mut missing) = (Self::default(), Vec::new());
        let has = |name: &str| given.field_with_name(name).is_ok();
        let inherits = transactions && LINES.contains(&table.name.as_str()) && has(TRANSACTION_KEY);
        for field in table.unified_schema().fields() {
            let name = field.name().as_str();
            if has(name) {
                continue;
            }
            let inherited = INHERITED.iter().find(|(own, _)| *own == name);
            match (name, inherited) {
                ("pipeline", _) => omitted
                    .constant
                    .push((name.to_owned(), pipeline.to_owned())),
                ("source", _) => omitted.constant.push((name.to_owned(), source.to_owned())),
                (_, Some(inherited)) if inherits => omitted.inherited.push(*inherited),
                _ if field.is_nullable() => {}
                _ => missing.push(name.to_owned()),
            }
        }
        (omitted, missing)
    }

    /// True if some are the transaction's.
    pub(super) fn inherit(&self) -> bool {
        !self.inherited.is_empty()
    }

    /// Fills them in, in the order of the table's columns behind those that are there.
    pub(super) fn fill(
        &self,
        batch: &RecordBatch,
        wanted: &SchemaRef,
        transactions: Option<&TransactionRows>,
        misfits: &MisfitLog,
    ) -> Result<RecordBatch> {
        let schema = batch.schema();
        if wanted
            .fields()
            .iter()
            .all(|field| schema.field_with_name(field.name()).is_ok())
        {
            return Ok(batch.clone());
        }
        let (batch, found) = match transactions {
            Some(transactions) if self.inherit() => transactions.find(batch, misfits)?,
            _ => (batch.clone(), UInt32Array::new_null(batch.num_rows())),
        };
        let rows = batch.num_rows();
        let mut fields = schema.fields().to_vec();
        let mut columns = batch.columns().to_vec();
        for field in wanted.fields() {
            let name = field.name().as_str();
            if schema.field_with_name(name).is_ok() {
                continue;
            }
            let constant = self.constant.iter().find(|(own, _)| own == name);
            let inherited = self.inherited.iter().find(|(own, _)| *own == name);
            let column: ArrayRef = match (constant, inherited, transactions) {
                (Some((_, value)), _, _) => Arc::new(StringArray::from(vec![value.as_str(); rows])),
                (_, Some((_, theirs)), Some(transactions)) => {
                    match transactions.rows.column_by_name(theirs) {
                        Some(column) => take(column, &found, None)
                            .map_err(|e| Error::internal("rows cannot be picked").because(e))?,
                        None => new_null_array(field.data_type(), rows),
                    }
                }
                _ => new_null_array(field.data_type(), rows),
            };
            fields.push(Arc::new(Field::new(name, column.data_type().clone(), true)));
            columns.push(column);
        }
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .map_err(|e| Error::internal("columns cannot be filled in").because(e))
    }
}

/// Rows of `transactions.sql`, to be found by their keys.
#[derive(Debug)]
pub(super) struct TransactionRows {
    by_key: FastMap<String, u32>,
    rows: RecordBatch,
}

impl TransactionRows {
    /// The columns of a transaction that this statement's rows take.
    pub(super) fn columns(given: &Schema) -> Vec<&'static str> {
        std::iter::once(TRANSACTION_KEY)
            .chain(INHERITED.iter().map(|(_, theirs)| *theirs))
            .filter(|name| given.field_with_name(name).is_ok())
            .collect()
    }

    /// Of whole rows, or of those columns alone.
    pub(super) fn of(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Self> {
        let failed = |e| Error::internal("transactions cannot be listed").because(e);
        let columns: Vec<usize> = Self::columns(schema)
            .into_iter()
            .map(|name| schema.index_of(name))
            .collect::<std::result::Result<_, _>>()
            .map_err(failed)?;
        let schema = Arc::new(schema.project(&columns).map_err(failed)?);
        let batches = batches
            .iter()
            .map(|batch| batch.project(&columns))
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(failed)?;
        let rows = concat_batches(&schema, &batches).map_err(failed)?;
        let mut by_key = FastMap::default();
        for (key, row) in text(&rows, 0)?.iter().zip(0_u32..) {
            if let Some(key) = key {
                by_key.insert(key.to_owned(), row);
            }
        }
        Ok(Self { by_key, rows })
    }

    /// The rows of a batch whose transaction is there or that name none, and where each finds it.
    fn find(&self, batch: &RecordBatch, misfits: &MisfitLog) -> Result<(RecordBatch, UInt32Array)> {
        let keys = batch
            .column_by_name(TRANSACTION_KEY)
            .ok_or_else(|| Error::internal("a row without its transaction's key"))?;
        let keys = cast(keys, &DataType::Utf8)?;
        let keys = keys.as_string::<i32>();
        let found: UInt32Array = keys
            .iter()
            .map(|key| key.and_then(|key| self.by_key.get(key).copied()))
            .collect();
        if found.null_count() == keys.null_count() {
            return Ok((batch.clone(), found));
        }
        let records = batch
            .column_by_name(RECORD_KEY)
            .and_then(|records| records.as_string_opt::<i32>());
        let stays: BooleanArray = (0..keys.len())
            .map(|row| Some(keys.is_null(row) || found.is_valid(row)))
            .collect();
        for row in (0..keys.len()).filter(|row| !stays.value(*row)) {
            let record = records.filter(|records| records.is_valid(row));
            let record = record.map_or("", |records| records.value(row));
            misfits.note(record, (TRANSACTION_KEY, TRANSACTION_KNOWN), || {
                keys.value(row).to_owned()
            });
        }
        let failed = |e| Error::internal("rows cannot be left out").because(e);
        let batch = filter_record_batch(batch, &stays).map_err(failed)?;
        let found = arrow::compute::filter(&found, &stays).map_err(failed)?;
        Ok((
            batch,
            found.as_primitive::<arrow::datatypes::UInt32Type>().clone(),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::contract;

    fn spec(table: &str) -> TableSpec {
        let path = format!(
            "{}/../../schemas/unified/{table}.yaml",
            env!("CARGO_MANIFEST_DIR")
        );
        contract::parse(&std::fs::read_to_string(&path).unwrap(), &path).unwrap()
    }

    fn batch(columns: &[(&str, &[Option<&str>])]) -> RecordBatch {
        let texts = columns.iter().map(|(name, values)| {
            let values: ArrayRef = Arc::new(values.iter().copied().collect::<StringArray>());
            (*name, values, true)
        });
        RecordBatch::try_from_iter_with_nullable(texts).unwrap()
    }

    fn values(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
        let column = batch.column_by_name(column).unwrap();
        let texts = cast(column, &DataType::Utf8).unwrap();
        let texts = texts.as_string::<i32>().iter();
        texts.map(|text| text.map(str::to_owned)).collect()
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    #[test]
    fn what_is_left_out_is_the_pipelines_the_transactions_or_null() {
        let sales = batch(&[
            (TRANSACTION_KEY, &[Some("a"), Some("b")]),
            ("kind", &[Some("sale"), Some("refund")]),
            ("state", &[Some("completed"), Some("pending")]),
            ("site_key", &[None, Some("somewhere")]),
            ("amount", &[Some("1"), Some("2")]),
        ]);
        let sales = TransactionRows::of(&sales.schema(), &[sales]).unwrap();
        let payments = batch(&[
            (TRANSACTION_KEY, &[Some("b"), Some("a"), Some("b")]),
            ("state", &[Some("open"), Some("collected"), Some("error")]),
            ("kind", &[Some("mine"), Some("mine"), Some("mine")]),
            ("source", &[Some("theirs"), Some("theirs"), Some("theirs")]),
        ]);
        let table = spec("payments");
        let (omitted, missing) =
            OmittedColumns::of(&table, &payments.schema(), ("tills", "till"), true);
        assert_eq!(
            missing,
            [
                "payment_key",
                RECORD_KEY,
                LOAD_ID,
                EXTRACTED_AT,
                CONTENT_HASH,
                RUN_ID
            ]
        );
        let misfits = MisfitLog::default();
        let wanted = table.unified_schema();
        let filled = omitted
            .fill(&payments, &wanted, Some(&sales), &misfits)
            .unwrap();
        assert_eq!(values(&filled, "kind"), some(&["mine"; 3]), "named");
        assert_eq!(values(&filled, "source"), some(&["theirs"; 3]), "named");
        assert_eq!(values(&filled, "pipeline"), some(&["tills"; 3]));
        assert_eq!(
            values(&filled, "transaction_state"),
            some(&["pending", "completed", "pending"])
        );
        assert_eq!(
            values(&filled, "site_key"),
            [
                Some("somewhere".to_owned()),
                None,
                Some("somewhere".to_owned())
            ]
        );
        for absent in ["amount", "month"] {
            assert_eq!(values(&filled, absent), [None, None, None], "{absent}");
        }
        assert_eq!(misfits.count(), 0);
    }

    #[test]
    fn a_row_whose_transaction_is_not_there_is_left_out_and_told() {
        let sales = batch(&[(TRANSACTION_KEY, &[Some("a")]), ("kind", &[Some("sale")])]);
        let sales = TransactionRows::of(&sales.schema(), &[sales]).unwrap();
        let events = batch(&[
            (RECORD_KEY, &[Some("1"), Some("2"), Some("3")]),
            (TRANSACTION_KEY, &[Some("a"), Some("b"), None]),
        ]);
        let table = spec("events");
        let (omitted, _) = OmittedColumns::of(&table, &events.schema(), ("tills", "till"), true);
        let misfits = MisfitLog::default();
        let filled = omitted
            .fill(&events, &table.unified_schema(), Some(&sales), &misfits)
            .unwrap();
        assert_eq!(values(&filled, RECORD_KEY), some(&["1", "3"]));
        assert_eq!(misfits.count(), 1);
    }

    #[test]
    fn only_lines_that_name_their_transaction_take_from_it() {
        let keys = batch(&[(TRANSACTION_KEY, &[Some("a")])]);
        let none = batch(&[("scope", &[Some("device")])]);
        let inherits = |table: &str, given: &RecordBatch, transactions| {
            let (omitted, missing) =
                OmittedColumns::of(&spec(table), &given.schema(), ("p", "s"), transactions);
            (omitted.inherit(), missing.contains(&"month".to_owned()))
        };
        assert_eq!(inherits("articles", &keys, true), (true, false));
        assert_eq!(inherits("articles", &keys, false), (false, true));
        assert_eq!(inherits("events", &none, true), (false, true));
        assert_eq!(inherits("transactions", &keys, true), (false, true));
        assert_eq!(inherits("sites", &keys, true), (false, false));
    }
}
