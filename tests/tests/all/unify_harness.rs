//! A source's contract and unify SQL without a warehouse: pages in, rows of the unified tables out, for golden files.
//!
//! Invariant: a statement that gives a column too many or too few for its unified contract fails, and a value that does not fit is null,
//! as in a sync.

use crate::source_files;
use arrow::array::{
    Array, ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use tillhouse_decode::{DecodedPage, Decoder};
use tillhouse_model::{PseudonymKey, Secret, TableSpec, contract, table};
use tillhouse_pipeline::rows_of_statement;
use tillhouse_query::{QueryEngine, QueryEngineOptions, ScalarValue, Session};

/// When everything here was asked for, microseconds since 1970.
const ASKED_AT: i64 = 1_767_225_600_000_000;

/// Harness that decodes and unifies a source's pages without a warehouse.
pub(crate) struct UnifyHarness {
    pub(crate) source: &'static str,
    /// The keys that lead to a page's records.
    pub(crate) records_at: &'static [&'static str],
    /// Scope of every request.
    pub(crate) scope: Option<&'static str>,
    /// Parameters that its unify SQL may name beside the pipeline and the source.
    pub(crate) parameters: &'static [(&'static str, &'static str)],
}

/// HecOne's harness.
pub(crate) const HECONE: UnifyHarness = UnifyHarness {
    source: "hecone",
    records_at: &["data"],
    scope: None,
    parameters: &[],
};
/// be-mo's, for one account.
pub(crate) const BEMO: UnifyHarness = UnifyHarness {
    source: "bemo",
    scope: Some("acme"),
    ..HECONE
};
/// PACE's, for one partner.
pub(crate) const PACE: UnifyHarness = UnifyHarness {
    source: "pace",
    ..BEMO
};

pub(crate) fn spec(folder: &str, name: &str) -> Arc<TableSpec> {
    let path = source_files::root().join(format!("schemas/{folder}/{name}.yaml"));
    Arc::new(contract::parse(&source_files::text(&path), &source_files::name(&path)).unwrap())
}

/// A key that keeps nothing secret.
pub(crate) fn key() -> PseudonymKey {
    PseudonymKey::parse(&Secret::new("00".repeat(32))).unwrap()
}

impl UnifyHarness {
    /// A sample of the provider's document.
    pub(crate) fn sample(&self, name: &str) -> String {
        source_files::text(
            &source_files::root().join(format!("tests/fixtures/{}/{name}.json", self.source)),
        )
    }

    pub(crate) fn decode(&self, resource: &str, page: &str) -> DecodedPage {
        let parameters: Vec<_> = self
            .parameters
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        let decoder =
            Decoder::with_parameters(spec(self.source, resource), Some(key()), &parameters)
                .unwrap();
        decoder
            .decode_scoped(page.as_bytes(), self.records_at, self.scope)
            .unwrap()
    }

    /// A session that has these resources, each as the records of one page that landed; the source's others are there, but empty.
    pub(crate) fn session(&self, pages: &[(&str, String)]) -> Session {
        let session = QueryEngine::new(QueryEngineOptions::default())
            .unwrap()
            .empty_session()
            .unwrap();
        for contract in source_files::files(&format!("schemas/{}", self.source), "yaml") {
            let resource = contract.file_stem().unwrap().to_str().unwrap();
            if !pages.iter().any(|(name, _)| *name == resource) {
                let schema = spec(self.source, resource).source_schema();
                session.register_batches(resource, schema, vec![]).unwrap();
            }
        }
        for (resource, page) in pages {
            let batch = self.landed(resource, page);
            session
                .register_batches(resource, batch.schema(), vec![batch])
                .unwrap();
        }
        session
    }

    /// A source table as it is read: what was decoded, with the lineage that landing adds.
    fn landed(&self, resource: &str, page: &str) -> RecordBatch {
        let decoded = self.decode(resource, page);
        assert_eq!(decoded.rejects, [], "{resource}");
        let rows = decoded.batch.num_rows();
        let hashes: BinaryArray = (0..rows)
            .map(|row| Some(decoded.content_hashes.value(row)))
            .collect();
        let times =
            |times: TimestampMicrosecondArray| -> ArrayRef { Arc::new(times.with_timezone("UTC")) };
        let schema = spec(self.source, resource).source_schema();
        let columns = schema.fields().iter().map(|field| -> ArrayRef {
            match field.name().as_str() {
                table::RECORD_KEY => Arc::new(decoded.keys.clone()),
                table::RECORD_TIME => times(decoded.record_times.clone()),
                table::LOAD_ID => Arc::new(Int64Array::from(vec![1; rows])),
                table::CONTENT_HASH => Arc::new(hashes.clone()),
                table::EXTRACTED_AT => times(vec![ASKED_AT; rows].into()),
                table::RUN_ID => Arc::new(StringArray::from(vec!["run"; rows])),
                table::MONTH => Arc::new(StringArray::from(vec!["none"; rows])),
                name => match decoded.batch.column_by_name(name) {
                    Some(column) => Arc::clone(column),
                    None => new_null_array(field.data_type(), rows),
                },
            }
        });
        let columns = columns.collect();
        RecordBatch::try_new(schema, columns).unwrap()
    }

    /// Rows of a unified table's statement, in the contract's columns and types; the pipeline is
    /// named like the source.
    pub(crate) async fn unified(&self, session: &Session, table: &str) -> Vec<RecordBatch> {
        let folder = format!("pipelines/{}/unify", self.source);
        self.unified_by(session, table, &folder).await
    }

    /// The same of the statements in a folder.
    pub(crate) async fn unified_by(
        &self,
        session: &Session,
        table: &str,
        folder: &str,
    ) -> Vec<RecordBatch> {
        let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
        let statement = |table: &str| {
            let path = source_files::root().join(format!("{folder}/{table}.sql"));
            let sql = source_files::text(&path);
            let names = engine.table_names(&sql).unwrap();
            let own = OWN
                .into_iter()
                .find(|own| names.iter().any(|name| name == own));
            (spec("unified", table), sql, own)
        };
        let (of_transactions, (table, sql, resource)) =
            (statement("transactions"), statement(table));
        let transactions = (of_transactions.2 == resource)
            .then_some((&of_transactions.0, of_transactions.1.as_str()));
        let own = [("pipeline", self.source), ("source", self.source)];
        let (_, labels) = tillhouse_pipeline::labels(None, self.source, self.source).unwrap();
        let parameters: Vec<(String, ScalarValue)> = own
            .into_iter()
            .chain(self.parameters.iter().copied())
            .map(|(name, value)| (name.to_owned(), ScalarValue::Utf8(Some(value.to_owned()))))
            .chain([(
                "labels".to_owned(),
                ScalarValue::Utf8(Some(labels.to_json())),
            )])
            .collect();
        rows_of_statement(
            session,
            (&table, &sql),
            transactions,
            resource.unwrap(),
            &parameters,
        )
        .await
        .unwrap()
    }
}

/// Resources whose records statements unify.
const OWN: [&str; 13] = [
    "transactions",
    "sessions",
    "revenue_transactions",
    "logs",
    "products",
    "machines",
    "machine_groups",
    "locations",
    "location_groups",
    "shifts",
    "user_groups",
    "vouchers",
    "voucher_logs",
];

/// Column by column, what is not null and no lineage; a row a block.
pub(crate) fn format_rows(batches: &[RecordBatch]) -> String {
    let mut text = String::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                if column.is_valid(row) && !field.name().starts_with('_') {
                    writeln!(text, "{}: {}", field.name(), value(column, row)).unwrap();
                }
            }
            text.push('\n');
        }
    }
    text
}

fn value(array: &ArrayRef, row: usize) -> String {
    ArrayFormatter::try_new(array, &FormatOptions::default())
        .unwrap()
        .value(row)
        .to_string()
}

/// A column of a unified table by its key without the pipeline.
pub(crate) fn by_key(batches: &[RecordBatch], column: &str) -> BTreeMap<String, Option<String>> {
    let mut found = BTreeMap::new();
    for batch in batches {
        let (keys, values) = (batch.column(0), batch.column_by_name(column).unwrap());
        for row in 0..batch.num_rows() {
            let key = value(keys, row);
            let key = key
                .split_once(':')
                .map_or(key.clone(), |(_, key)| key.to_owned());
            let known = found.insert(key, values.is_valid(row).then(|| value(values, row)));
            assert!(known.is_none(), "a key stands twice");
        }
    }
    found
}
