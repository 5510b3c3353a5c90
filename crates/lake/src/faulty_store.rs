//! For tests: a store that counts what is read, lets something happen just before a commit, and lies about successful commits; and
//! the pages and rows the tests land.
//!
//! Invariant: apart from what a test asks for, it behaves like the local file system underneath.

use crate::file::replacement::UnifiedRowStream;
use crate::log::registry::TableRegistry;
use crate::log::table_version::TableVersion;
use crate::ops::lease::LeaseOwner;
use crate::source::package::PackagePage;
use crate::source::table::LandingOptions;
use crate::store::counter::RequestMeter;
use crate::unified::step::UnifyStep;
use crate::warehouse::Warehouse;
use arrow::array::{
    Array, ArrayRef, BinaryArray, Decimal128Array, FixedSizeBinaryArray, Int64Array, ListArray,
    StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use bytes::Bytes;
use deltalake::datafusion::prelude::SessionContext;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use jiff::{SignedDuration, Timestamp};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use tillhouse_model::TableSpec;
use tillhouse_model::table::{
    ColumnClass, ColumnKind, ColumnSpec, TableRole, TimeFormat, UnknownFields,
};

/// Copies a folder with all that is in it.
pub(crate) fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy_folder(&path, &to),
            false => drop(std::fs::copy(&path, &to).unwrap()),
        }
    }
}

/// Work that is run once, just before the next commit.
type CommitHook = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// Object store that counts reads and fails on purpose.
pub(crate) struct FaultyStore {
    inner: LocalFileSystem,
    read: Mutex<BTreeSet<String>>,
    meanwhile: Mutex<Option<CommitHook>>,
    lies: Mutex<usize>,
    failures: Mutex<usize>,
    deletes: Arc<Mutex<usize>>,
}

impl std::fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disturbed")
    }
}

impl std::fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Disturbed")
    }
}

impl FaultyStore {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: LocalFileSystem::new(),
            read: Mutex::default(),
            meanwhile: Mutex::default(),
            lies: Mutex::default(),
            failures: Mutex::default(),
            deletes: Arc::new(Mutex::new(usize::MAX)),
        })
    }

    /// Data files read since the last call.
    pub(crate) fn data_files_read(&self) -> usize {
        std::mem::take(&mut *self.read.lock().unwrap()).len()
    }

    /// Runs once, just before the next commit file is put.
    pub(crate) fn before_next_commit(
        &self,
        what: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
    ) {
        *self.meanwhile.lock().unwrap() = Some(Box::new(what));
    }

    /// The next commits succeed, but say they failed.
    pub(crate) fn hide_success(&self, times: usize) {
        *self.lies.lock().unwrap() = times;
    }

    /// The next commits fail before anything is written.
    pub(crate) fn fail(&self, times: usize) {
        *self.failures.lock().unwrap() = times;
    }

    /// Limits the number of files that can still be deleted.
    pub(crate) fn fail_deletes_after(&self, count: usize) {
        *self.deletes.lock().unwrap() = count;
    }

    fn saw(&self, location: &Path) {
        if location.as_ref().ends_with(".parquet") && !location.as_ref().contains("_delta_log") {
            self.read.lock().unwrap().insert(location.to_string());
        }
    }
}

fn counted_down(counter: &Mutex<usize>) -> bool {
    let mut left = counter.lock().unwrap();
    let due = *left > 0;
    *left = left.saturating_sub(1);
    due
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let broken = || Error::Generic {
            store: "Disturbed",
            source: "connection reset".into(),
        };
        if !(location.as_ref().contains("/_delta_log/") && location.as_ref().ends_with(".json")) {
            return self.inner.put_opts(location, payload, opts).await;
        }
        let meanwhile = self.meanwhile.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile().await;
        }
        if counted_down(&self.failures) {
            return Err(broken());
        }
        let result = self.inner.put_opts(location, payload, opts).await;
        if result.is_ok() && counted_down(&self.lies) {
            return Err(broken());
        }
        result
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.saw(location);
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.saw(location);
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let left = Arc::clone(&self.deletes);
        let locations = locations.map(move |location| {
            let mut left = left.lock().unwrap();
            if *left == 0 {
                return Err(Error::Generic {
                    store: "Disturbed",
                    source: "connection reset".into(),
                });
            }
            if *left != usize::MAX {
                *left -= 1;
            }
            location
        });
        self.inner.delete_stream(locations.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A warehouse in a temporary folder, with a space and an umlaut in its path. Opening it again gives a second writer.
pub(crate) struct TempWarehouse {
    pub folder: tempfile::TempDir,
    pub store: Arc<FaultyStore>,
}

impl TempWarehouse {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            store: FaultyStore::new(),
        }
    }

    /// The warehouse's folder.
    pub(crate) fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("wäre house")
    }

    pub(crate) async fn open(&self) -> Warehouse {
        let url = url::Url::from_directory_path(self.folder.path().join("wäre house")).unwrap();
        let warehouse = Warehouse::open_on(self.store.clone(), url).await.unwrap();
        warehouse.prepare().await.unwrap();
        warehouse
    }
}

/// The warehouse that a table is of.
pub(crate) fn warehouse_of(registry: &Arc<TableRegistry>) -> Warehouse {
    Warehouse::of(Arc::clone(registry), RequestMeter::default())
}

fn column(name: &str, kind: ColumnKind, required: bool) -> ColumnSpec {
    ColumnSpec {
        name: name.to_owned(),
        json_name: name.to_owned(),
        kind,
        required,
        class: ColumnClass::Open,
        restricted: false,
        on_misfit: None,
        blank_is_none: false,
        zero_is_none: false,
        is_identifier: false,
        ahead_is_none: false,
        note: Default::default(),
    }
}

/// A source table with a nested list.
pub(crate) fn source_spec() -> TableSpec {
    let article = ColumnSpec {
        name: "element".to_owned(),
        ..column(
            "",
            ColumnKind::Struct(vec![
                column("name", ColumnKind::Text, false),
                column(
                    "quantity",
                    ColumnKind::Decimal {
                        precision: 18,
                        scale: 6,
                    },
                    false,
                ),
            ]),
            false,
        )
    };
    TableSpec {
        source: "hecone".to_owned(),
        name: "transactions".to_owned(),
        description: String::new(),
        role: TableRole::Source,
        columns: vec![
            column("id", ColumnKind::Text, true),
            column(
                "amount",
                ColumnKind::Decimal {
                    precision: 18,
                    scale: 4,
                },
                false,
            ),
            column(
                "updated_at",
                ColumnKind::Timestamp(TimeFormat::Offset),
                false,
            ),
            column("articles", ColumnKind::List(Box::new(article)), false),
        ],
        key: vec!["id".to_owned()],
        record_time: Vec::new(),
        updated_at: Some(vec!["updated_at".to_owned()]),
        moves_within: SignedDuration::from_hours(45 * 24),
        partition_by: vec!["month".to_owned()],
        unknown: UnknownFields::Count,
        rules: Vec::new(),
    }
}

/// A fact: `articles` of the unified model, cut down.
pub(crate) fn fact_spec() -> TableSpec {
    TableSpec {
        source: "unified".to_owned(),
        name: "articles".to_owned(),
        role: TableRole::Fact,
        columns: vec![
            column("article_key", ColumnKind::Text, true),
            column("pipeline", ColumnKind::Text, true),
            column(
                "occurred_at",
                ColumnKind::Timestamp(TimeFormat::Offset),
                false,
            ),
            column("month", ColumnKind::Text, true),
            column(
                "amount",
                ColumnKind::Decimal {
                    precision: 18,
                    scale: 4,
                },
                false,
            ),
        ],
        key: vec!["article_key".to_owned()],
        updated_at: None,
        partition_by: vec!["pipeline".to_owned(), "month".to_owned()],
        ..source_spec()
    }
}

/// A dimension: `sites`, cut down.
pub(crate) fn dimension_spec() -> TableSpec {
    TableSpec {
        name: "sites".to_owned(),
        role: TableRole::Dimension,
        columns: vec![
            column("site_key", ColumnKind::Text, true),
            column("pipeline", ColumnKind::Text, true),
            column("name", ColumnKind::Text, false),
        ],
        key: vec!["site_key".to_owned()],
        partition_by: vec!["pipeline".to_owned()],
        ..fact_spec()
    }
}

pub(crate) fn t(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Owner of the leases of a run on another machine.
pub(crate) fn lease_owner(run: &str) -> LeaseOwner {
    LeaseOwner {
        host: "till".to_owned(),
        pid: 7,
        process: None,
        run_id: run.to_owned(),
        command: "sync".to_owned(),
    }
}

pub(crate) fn us(text: &str) -> i64 {
    t(text).as_microsecond()
}

/// One record of a page: key, record time, content, version time.
#[derive(Clone)]
pub(crate) struct FixtureRecord(
    pub &'static str,
    pub Option<&'static str>,
    pub i64,
    pub Option<&'static str>,
);

pub(crate) fn times(values: impl IntoIterator<Item = Option<i64>>) -> TimestampMicrosecondArray {
    values
        .into_iter()
        .collect::<TimestampMicrosecondArray>()
        .with_timezone("UTC")
}

fn hash(content: i64) -> [u8; 17] {
    let mut hash = [1; 17];
    hash[1..9].copy_from_slice(&content.to_be_bytes());
    hash
}

/// A page as decode makes it.
pub(crate) fn page(requested_at: &str, records: &[FixtureRecord]) -> PackagePage {
    let spec = source_spec();
    let keys = StringArray::from_iter_values(records.iter().map(|r| r.0));
    let updated = times(records.iter().map(|r| r.3.map(us)));
    let schema = spec.content_schema();
    let DataType::List(element) = schema.field(3).data_type().clone() else {
        panic!("articles is a list")
    };
    let DataType::Struct(inner) = element.data_type().clone() else {
        panic!("of structs")
    };
    let values: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(
            records.iter().map(|r| format!("article of {}", r.0)),
        )),
        Arc::new(
            Decimal128Array::from_iter_values(records.iter().map(|r| i128::from(r.2)))
                .with_precision_and_scale(18, 6)
                .unwrap(),
        ),
    ];
    let structs = arrow::array::StructArray::new(inner, values, None);
    let articles = ListArray::new(
        element,
        OffsetBuffer::from_repeated_length(1, records.len()),
        Arc::new(structs),
        None,
    );
    let amounts = Decimal128Array::from_iter_values(records.iter().map(|r| i128::from(r.2)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(keys.clone()),
        Arc::new(amounts.with_precision_and_scale(18, 4).unwrap()),
        Arc::new(updated.clone()),
        Arc::new(articles),
    ];
    PackagePage {
        batch: RecordBatch::try_new(schema, columns).unwrap(),
        keys,
        record_times: times(records.iter().map(|r| r.1.map(us))),
        updated_at: updated,
        content_hashes: FixedSizeBinaryArray::try_from_iter(records.iter().map(|r| hash(r.2)))
            .unwrap(),
        requested_at: t(requested_at),
    }
}

pub(crate) fn run(run_id: &str) -> LandingOptions {
    LandingOptions {
        run_id: run_id.to_owned(),
        tenants: Vec::new(),
        whole: Default::default(),
    }
}

pub(crate) fn step(pipeline: &str, after_load_id: i64, to_load_id: i64) -> UnifyStep {
    UnifyStep {
        pipeline: pipeline.to_owned(),
        resource: "transactions".to_owned(),
        after_load_id,
        to_load_id,
        children: Vec::new(),
        run_id: "run".to_owned(),
    }
}

/// One row of a fact: record, article, time, amount.
#[derive(Clone)]
pub(crate) struct FixtureFact(
    pub &'static str,
    pub &'static str,
    pub Option<&'static str>,
    pub i64,
);

/// Rows of a fact table of one pipeline, in one batch.
pub(crate) fn facts(pipeline: &str, land: i64, rows: &[FixtureFact]) -> UnifiedRowStream {
    let months = rows
        .iter()
        .map(|r| r.2.map_or("none".to_owned(), |time| time[..7].to_owned()));
    let time = times(rows.iter().map(|r| r.2.map(us)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|r| format!("{pipeline}:{}", r.1)),
        )),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|_| pipeline))),
        Arc::new(time.clone()),
        Arc::new(StringArray::from_iter_values(months)),
        Arc::new(
            Decimal128Array::from_iter_values(rows.iter().map(|r| i128::from(r.3)))
                .with_precision_and_scale(18, 4)
                .unwrap(),
        ),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(time),
        Arc::new(Int64Array::from_value(land, rows.len())),
        Arc::new(times(rows.iter().map(|_| Some(0)))),
        Arc::new(BinaryArray::from_iter_values(
            rows.iter().map(|r| hash(r.3)),
        )),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|_| "run"))),
    ];
    let batch = RecordBatch::try_new(fact_spec().unified_schema(), columns).unwrap();
    futures::stream::iter([Ok(batch)]).boxed()
}

/// Rows of a dimension: key, name, as of (seconds).
pub(crate) fn sites(pipeline: &str, rows: &[(&str, &str, i64)]) -> UnifiedRowStream {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|_| pipeline))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.1))),
        Arc::new(times(rows.iter().map(|r| Some(r.2 * 1_000_000)))),
        Arc::new(times(rows.iter().map(|_| None))),
        Arc::new(times(rows.iter().map(|r| Some(r.2 * 1_000_000)))),
        Arc::new(BinaryArray::from_iter_values(
            rows.iter().map(|r| r.1.as_bytes()),
        )),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|_| "run"))),
    ];
    let batch = RecordBatch::try_new(dimension_spec().unified_schema(), columns).unwrap();
    futures::stream::iter([Ok(batch)]).boxed()
}

/// Runs SQL over one table, registered as `t`, at a version; a line a row, cells joined by a space.
pub(crate) async fn sql(
    warehouse: &Warehouse,
    path: &str,
    version: Option<u64>,
    query: &str,
) -> Vec<String> {
    let version = version.map(TableVersion::from);
    sql_as_named(warehouse, path, version.as_ref(), query).await
}

/// As [`sql`], at a version as a run names it.
pub(crate) async fn sql_as_named(
    warehouse: &Warehouse,
    path: &str,
    version: Option<&TableVersion>,
    query: &str,
) -> Vec<String> {
    let open = warehouse
        .open_at(path, version)
        .await
        .unwrap()
        .expect("the table exists");
    let context = SessionContext::new();
    context.register_table("t", open.provider).unwrap();
    let batches = context.sql(query).await.unwrap().collect().await.unwrap();
    let mut lines = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayRef> = batch
            .columns()
            .iter()
            .map(|c| arrow::compute::cast(c, &DataType::Utf8).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|c| {
                let text = c.as_any().downcast_ref::<StringArray>().unwrap();
                if text.is_valid(row) {
                    text.value(row).to_owned()
                } else {
                    "-".to_owned()
                }
            });
            lines.push(cells.collect::<Vec<_>>().join(" "));
        }
    }
    lines
}

/// A schema's column, for tests that change contracts.
pub(crate) fn extra_column(name: &str, required: bool) -> ColumnSpec {
    let field = Field::new(name, DataType::Utf8, !required);
    column(field.name(), ColumnKind::Text, required)
}
