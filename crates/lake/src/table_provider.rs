//! The table provider of a pinned version: a plain scan of its data files.
//!
//! Invariant: a plan holds nothing of this crate, so that any DataFusion engine can send it to another machine. A data file is left
//! out only where its partition values, or the statistics of the log, say that none of its rows pass.
//!
//! ```text
//!   log: files, partition values, bounds ──► files that may hold rows ──► file groups ──► DataSourceExec
//! ```
//!
//! Filters on partition columns alone are answered here, exactly. All others prune files, and DataFusion's own rules push them into
//! the scan, where Parquet's statistics prune row groups.
//!
//! Rejected: the Delta library's scan. It replays the log for every plan, its plan node has no form in which it could travel, and
//! nothing that it does beyond this (deletion vectors, column mapping) is in these tables.

use crate::log::data_file::{DataFile, ShownPipelines};
use crate::log::file_statistics::{ColumnBounds, FileStatistics};
use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use crate::pinned_table::PinnedTable;
use crate::store::small_files::{self, FOOTER_BYTES};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, RecordBatch, RecordBatchOptions,
    StringArray, UInt16Array, UInt32Array, UInt64Array,
};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, UInt16Type};
use async_trait::async_trait;
use deltalake::datafusion::catalog::{Session, TableProvider};
use deltalake::datafusion::common::config::TableParquetOptions;
use deltalake::datafusion::common::pruning::PruningStatistics;
use deltalake::datafusion::common::stats::Precision;
use deltalake::datafusion::common::tree_node::TreeNode;
use deltalake::datafusion::common::{
    Column, ColumnStatistics, DataFusionError, Result, ScalarValue, Statistics, ToDFSchema,
};
use deltalake::datafusion::datasource::listing::PartitionedFile;
use deltalake::datafusion::datasource::memory::MemorySourceConfig;
use deltalake::datafusion::datasource::object_store::ObjectStoreUrl;
use deltalake::datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use deltalake::datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfigBuilder, ParquetSource, wrap_partition_type_in_dict,
    wrap_partition_value_in_dict,
};
use deltalake::datafusion::datasource::source::DataSourceExec;
use deltalake::datafusion::datasource::table_schema::TableSchema;
use deltalake::datafusion::execution::session_state::SessionState;
use deltalake::datafusion::logical_expr::utils::conjunction;
use deltalake::datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use deltalake::datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use deltalake::datafusion::physical_plan::ExecutionPlan;
use deltalake::datafusion::physical_plan::empty::EmptyExec;
use object_store::ObjectStore;
use object_store::path::Path;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

/// Files whose partition values and bounds are looked at together. Fewer than a dictionary has keys.
const FILES_AT_ONCE: usize = 32_768;
/// Statistics of columns that the files of a plan take along at most, together.
const FILE_STATISTICS: usize = 8_192;

/// A provider for a query engine, pinned to a snapshot. A session's settings decide whether text comes as views; `only` narrows it to
/// the files of those paths.
pub(crate) fn provider(
    table: &TableHandle,
    snapshot: &Snapshot,
    session: Option<&SessionState>,
    only: Option<&[String]>,
) -> tillhouse_model::Result<Arc<dyn TableProvider>> {
    let has_views = session.is_none_or(|session| {
        let options = session.config_options();
        options.execution.parquet.schema_force_view_types
    });
    let schema = snapshot.schema();
    DataFileTable::try_new(table, snapshot, &schema, only, has_views)
        .map(DataFileTable::shown)
        .map_err(|e| table.storage_error("the table cannot be opened for reading", e))
}

/// The data files of one version of a table, or some of them, as a table of a query engine.
#[derive(Clone)]
struct DataFileTable {
    /// Columns in the table's order.
    schema: SchemaRef,
    /// Columns of the files, then partition columns.
    columns: TableSchema,
    /// The place in `columns` of each column of `schema`.
    places: Vec<usize>,
    files: Arc<Vec<DataFile>>,
    statistics: Arc<FileStatistics>,
    /// Places in `files` of those that are read.
    selected: Vec<usize>,
    /// Rooted where the table's URL begins.
    store: Arc<dyn ObjectStore>,
    store_url: ObjectStoreUrl,
    /// The table's root in the store.
    root: Path,
}

impl fmt::Debug for DataFileTable {
    /// The store may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataFileTable")
            .field("root", &self.root)
            .field("files", &self.selected.len())
            .finish_non_exhaustive()
    }
}

impl DataFileTable {
    fn try_new(
        table: &TableHandle,
        snapshot: &Snapshot,
        schema: &Schema,
        only: Option<&[String]>,
        has_views: bool,
    ) -> Result<Self> {
        let (files, partition_by) = (&snapshot.files, snapshot.partition_columns());
        let fields: Vec<FieldRef> = schema
            .fields()
            .iter()
            .map(|field| match partition_by.contains(field.name()) {
                true => partition_field(field),
                false if has_views => with_views(field),
                false => Arc::clone(field),
            })
            .collect();
        let is_partition = |field: &&FieldRef| partition_by.contains(field.name());
        let of_files: Vec<FieldRef> = fields
            .iter()
            .filter(|field| !is_partition(field))
            .cloned()
            .collect();
        let of_partitions: Vec<FieldRef> = fields.iter().filter(is_partition).cloned().collect();
        let columns = TableSchema::builder(Arc::new(Schema::new(of_files)))
            .with_table_partition_cols(of_partitions)
            .build();
        let places = fields
            .iter()
            .map(|field| columns.table_schema().index_of(field.name()))
            .collect::<std::result::Result<_, _>>()?;
        let selected = match only {
            None => (0..files.len()).collect(),
            Some(only) => {
                let only: HashSet<&str> = only.iter().map(String::as_str).collect();
                let is_wanted = |at: &usize| only.contains(files[*at].path.as_str());
                (0..files.len()).filter(is_wanted).collect()
            }
        };
        let url = table.log_store().root_url();
        let store_url = ObjectStoreUrl::parse(&url[..url::Position::BeforePath])?;
        let root = Path::from_url_path(url.path())
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(Self {
            schema: Arc::new(Schema::new(fields)),
            columns,
            places,
            files: Arc::clone(files),
            statistics: Arc::clone(&snapshot.statistics),
            selected,
            store: table.log_store().root_object_store(None),
            store_url,
            root,
        })
    }

    /// The table with the rows that its files show.
    fn shown(self) -> Arc<dyn TableProvider> {
        let mut parts: BTreeMap<Option<ShownPipelines>, Vec<usize>> = BTreeMap::new();
        for at in &self.selected {
            let part = parts.entry(self.files[*at].shown.clone()).or_default();
            part.push(*at);
        }
        if parts.keys().all(Option::is_none) {
            return Arc::new(self);
        }
        let parts = parts.into_iter().map(|(shown, selected)| {
            let part = Self {
                selected,
                ..self.clone()
            };
            (shown, Arc::new(part) as Arc<dyn TableProvider>)
        });
        let parts = parts.collect();
        Arc::new(PinnedTable::new(self.schema(), parts))
    }

    fn partition_fields(&self) -> &[FieldRef] {
        self.columns.table_partition_cols()
    }

    fn is_partition(&self, column: &str) -> bool {
        self.partition_fields()
            .iter()
            .any(|field| field.name() == column)
    }

    /// True if a filter needs nothing but partition values. One that names no column is what became of such a filter, and passes all files or none.
    fn is_of_partitions(&self, filter: &Expr) -> bool {
        let columns = filter.column_refs();
        columns.iter().all(|column| self.is_partition(&column.name)) && is_plain(filter)
    }

    /// Values of a partition column in some files.
    fn partition_values(&self, field: &Field, files: &[usize]) -> Result<ArrayRef> {
        let texts: StringArray = files
            .iter()
            .map(|at| self.files[*at].partition_value(field.name()))
            .collect();
        let strict = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        Ok(cast_with_options(&texts, field.data_type(), &strict)?)
    }

    /// Keeps the files whose partition values pass the filters.
    fn retain_partitions(
        &self,
        session: &dyn Session,
        filters: &[Expr],
        files: Vec<usize>,
    ) -> Result<Vec<usize>> {
        if filters.is_empty() {
            return Ok(files);
        }
        let schema: SchemaRef = Arc::new(Schema::new(self.partition_fields().to_vec()));
        let names = schema.as_ref().clone().to_dfschema()?;
        let mut kept = files;
        for filter in filters {
            let filter = session.create_physical_expr(filter.clone(), &names)?;
            let mut passed = Vec::with_capacity(kept.len());
            for files in kept.chunks(FILES_AT_ONCE) {
                let values = self
                    .partition_fields()
                    .iter()
                    .map(|field| self.partition_values(field, files))
                    .collect::<Result<Vec<_>>>()?;
                let rows = RecordBatchOptions::new().with_row_count(Some(files.len()));
                let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), values, &rows)?;
                let verdicts = filter.evaluate(&batch)?.into_array(files.len())?;
                let verdicts = verdicts.as_boolean_opt().ok_or_else(|| {
                    DataFusionError::Internal("a filter is no condition".to_owned())
                })?;
                let pairs = files.iter().zip(verdicts);
                passed.extend(
                    pairs.filter_map(|(file, passes)| (passes == Some(true)).then_some(*file)),
                );
            }
            kept = passed;
        }
        Ok(kept)
    }

    /// Keeps the files that may hold rows which pass the filters.
    fn prune(
        &self,
        session: &dyn Session,
        filters: &[Expr],
        files: Vec<usize>,
    ) -> Result<Vec<usize>> {
        let Some(filter) = conjunction(filters.to_vec()) else {
            return Ok(files);
        };
        let schema = self.columns.table_schema();
        let names = schema.as_ref().clone().to_dfschema()?;
        let filter = session.create_physical_expr(filter, &names)?;
        let longest = session.config_options().execution.parquet.max_in_list_size;
        let predicate = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(schema))
            .with_max_in_list_size(longest)
            .build(filter);
        let Some(predicate) = predicate else {
            return Ok(files);
        };
        let mut kept = Vec::with_capacity(files.len());
        for files in files.chunks(FILES_AT_ONCE) {
            let verdicts = predicate.prune(&BoundsOfFiles { table: self, files })?;
            let pairs = files.iter().zip(verdicts);
            kept.extend(pairs.filter_map(|(file, may_pass)| may_pass.then_some(*file)));
        }
        Ok(kept)
    }

    /// Rows of some files; `None` where the log does not say it of each.
    fn rows(&self, files: &[usize]) -> Option<usize> {
        let counts = files
            .iter()
            .map(|at| usize::try_from(self.files[*at].rows?).ok());
        counts.sum()
    }

    /// The first files that hold so many rows together, and whether any is left out.
    fn first_files(&self, files: Vec<usize>, limit: usize) -> (Vec<usize>, bool) {
        let mut rows = 0_usize;
        for (place, at) in files.iter().enumerate() {
            if rows >= limit && place > 0 {
                return (files[..place].to_vec(), true);
            }
            let of_file = self.files[*at].rows.and_then(|n| usize::try_from(n).ok());
            rows = rows.saturating_add(of_file.unwrap_or(0));
        }
        (files, false)
    }

    /// Estimates of a scan for the planner. Only the number of rows is exact: times and long texts are bounds.
    fn estimates(&self, files: &[usize], is_all: bool) -> Statistics {
        let mut statistics = Statistics::new_unknown(self.columns.table_schema());
        if let Some(rows) = self.rows(files) {
            statistics.num_rows = match is_all {
                true => Precision::Exact(rows),
                false => Precision::Inexact(rows),
            };
        }
        let bytes: u64 = files.iter().map(|at| self.files[*at].size).sum();
        statistics.total_byte_size =
            usize::try_from(bytes).map_or(Precision::Absent, Precision::Inexact);
        for (place, field) in self.columns.file_schema().fields().iter().enumerate() {
            // Bounds of texts tell no planner how many of them there are.
            let Some(bounds) = self.statistics.of(field.name()) else {
                continue;
            };
            if matches!(bounds.min.data_type(), DataType::Utf8) {
                continue;
            }
            let best = |values: &ArrayRef, wanted: Ordering| {
                let known = files.iter().filter_map(|at| scalar(values, *at, field));
                known
                    .reduce(|best, next| match next.partial_cmp(&best) == Some(wanted) {
                        true => next,
                        false => best,
                    })
                    .map_or(Precision::Absent, Precision::Inexact)
            };
            let column = &mut statistics.column_statistics[place];
            column.min_value = best(&bounds.min, Ordering::Less);
            column.max_value = best(&bounds.max, Ordering::Greater);
            let nulls: Option<usize> = files.iter().map(|at| bounds.null_count(*at)).sum();
            column.null_count = nulls.map_or(Precision::Absent, Precision::Inexact);
        }
        statistics
    }

    /// Statistics of one file, for filters that are only known while the scan runs.
    fn file_statistics(&self, at: usize) -> Statistics {
        let mut statistics = Statistics::new_unknown(self.columns.table_schema());
        let file = &self.files[at];
        statistics.num_rows = file
            .rows
            .and_then(|rows| usize::try_from(rows).ok())
            .map_or(Precision::Absent, Precision::Exact);
        for (place, field) in self.columns.file_schema().fields().iter().enumerate() {
            let Some(bounds) = self.statistics.of(field.name()) else {
                continue;
            };
            let known =
                |values| scalar(values, at, field).map_or(Precision::Absent, Precision::Exact);
            statistics.column_statistics[place] = ColumnStatistics {
                null_count: bounds
                    .null_count(at)
                    .map_or(Precision::Absent, Precision::Exact),
                // Bounds: a largest time that is one that occurs is a millisecond above it.
                min_value: known(&bounds.min),
                max_value: known(&bounds.max),
                ..ColumnStatistics::new_unknown()
            };
        }
        statistics
    }

    /// The files in so many groups of about the same size; fewer where there are fewer files.
    fn groups(&self, files: &[usize], wanted: usize) -> Result<Vec<FileGroup>> {
        let width = self.columns.table_schema().fields().len();
        let has_statistics = files.len().saturating_mul(width) <= FILE_STATISTICS;
        let size = |at: usize| u128::from(self.files[at].size).max(1);
        let total: u128 = files.iter().map(|at| size(*at)).sum();
        let mut groups: Vec<Vec<PartitionedFile>> = Vec::new();
        let (mut before, mut filled) = (0_u128, None);
        for at in files {
            let group = before * (wanted.max(1) as u128) / total.max(1);
            before += size(*at);
            if filled != Some(group) {
                groups.push(Vec::new());
                filled = Some(group);
            }
            let mut file = self.partitioned_file(*at)?;
            if has_statistics {
                file.statistics = Some(Arc::new(self.file_statistics(*at)));
            }
            if let Some(group) = groups.last_mut() {
                group.push(file);
            }
        }
        Ok(groups.into_iter().map(FileGroup::new).collect())
    }

    /// Reads the small ones of some files before a scan reads one after the other, where the store is far.
    async fn read_ahead(&self, files: &[usize]) -> Result<()> {
        if self.store_url.as_str().starts_with("file:") {
            return Ok(());
        }
        let files: Result<Vec<(Path, u64)>> = files
            .iter()
            .map(|at| Ok((self.location(*at)?, self.files[*at].size)))
            .collect();
        small_files::read_ahead(Arc::clone(&self.store), files?).await;
        Ok(())
    }

    /// Place of a file in the store.
    fn location(&self, at: usize) -> Result<Path> {
        let path = Path::parse(&self.files[at].path)
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(self.root.parts().chain(path.parts()).collect())
    }

    fn partitioned_file(&self, at: usize) -> Result<PartitionedFile> {
        let file = &self.files[at];
        let values = self
            .partition_fields()
            .iter()
            .map(|field| {
                let value = file.partition_value(field.name());
                match field.data_type() {
                    DataType::Dictionary(_, _) => Ok(wrap_partition_value_in_dict(
                        ScalarValue::Utf8(value.map(ToOwned::to_owned)),
                    )),
                    plain => match value {
                        Some(value) => ScalarValue::try_from_string(value.to_owned(), plain),
                        None => ScalarValue::try_from(plain),
                    },
                }
            })
            .collect::<Result<Vec<_>>>()?;
        let mut found = PartitionedFile::new("", file.size).with_partition_values(values);
        // As it is: `new` would encode it once more.
        found.object_meta.location = self.location(at)?;
        Ok(found)
    }

    /// Rows of which nothing but partition values is asked, without reading a file. `None` where the log does not know them all.
    fn partition_rows(
        &self,
        schema: &SchemaRef,
        files: &[usize],
        batch_rows: usize,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let is_text = |field: &FieldRef| {
            self.is_partition(field.name())
                && matches!(field.data_type(), DataType::Dictionary(_, _))
        };
        if self.rows(files).is_none() || !schema.fields().iter().all(is_text) {
            return Ok(None);
        }
        let batch_rows = batch_rows.max(1);
        let zeros = UInt16Array::from_value(0, batch_rows);
        let mut batches = Vec::new();
        for at in files {
            let file = &self.files[*at];
            let mut columns = Vec::with_capacity(schema.fields().len());
            for field in schema.fields() {
                let Some(value) = file.partition_value(field.name()) else {
                    return Ok(None);
                };
                let values: ArrayRef = Arc::new(StringArray::from_iter_values([value]));
                columns.push(DictionaryArray::<UInt16Type>::try_new(
                    zeros.clone(),
                    values,
                )?);
            }
            let mut left = file.rows.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
            while left > 0 {
                let rows = left.min(batch_rows);
                let arrays = columns
                    .iter()
                    .map(|column| Arc::new(column.slice(0, rows)) as ArrayRef)
                    .collect();
                let options = RecordBatchOptions::new().with_row_count(Some(rows));
                batches.push(RecordBatch::try_new_with_options(
                    Arc::clone(schema),
                    arrays,
                    &options,
                )?);
                left -= rows;
            }
        }
        let plan = MemorySourceConfig::try_new_exec(&[batches], Arc::clone(schema), None)?;
        Ok(Some(plan))
    }

    /// The store that the session reads from; this table's, where it has none.
    fn session_store(&self, session: &dyn Session) -> Result<Arc<dyn ObjectStore>> {
        let runtime = session.runtime_env();
        if runtime.object_store(&self.store_url).is_err() {
            let store = Arc::clone(&self.store);
            runtime.register_object_store(self.store_url.as_ref(), store);
        }
        runtime.object_store(&self.store_url)
    }
}

#[async_trait]
impl TableProvider for DataFileTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(projection) => Arc::new(self.schema.project(projection)?),
            None => self.schema(),
        };
        let (exact, others): (Vec<Expr>, Vec<Expr>) = filters
            .iter()
            .cloned()
            .partition(|filter| self.is_of_partitions(filter));
        let files = self.retain_partitions(session, &exact, self.selected.clone())?;
        let files = self.prune(session, &others, files)?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        // Of rows that another filter may drop, nobody knows how many files hold enough.
        let limit = limit.filter(|_| others.is_empty());
        let (files, is_cut) = match limit {
            Some(limit) => self.first_files(files, limit),
            None => (files, false),
        };
        if others.is_empty()
            && let Some(plan) =
                self.partition_rows(&schema, &files, session.config().batch_size())?
        {
            return Ok(plan);
        }
        if limit.is_none() {
            self.read_ahead(&files).await?;
        }
        let options = TableParquetOptions {
            global: session.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let cache = session
            .runtime_env()
            .cache_manager
            .get_file_metadata_cache();
        let reader = CachedParquetFileReaderFactory::new(self.session_store(session)?, cache);
        let source = ParquetSource::new(self.columns.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(reader))
            .with_metadata_size_hint(FOOTER_BYTES);
        let wanted = match projection {
            Some(projection) => projection.iter().map(|at| self.places[*at]).collect(),
            None => self.places.clone(),
        };
        let config = FileScanConfigBuilder::new(self.store_url.clone(), Arc::new(source))
            .with_file_groups(self.groups(&files, session.config().target_partitions())?)
            .with_statistics(self.estimates(&files, !is_cut))
            .with_limit(limit)
            .with_projection_indices(Some(wanted))?
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let answer = |filter: &&Expr| match self.is_of_partitions(filter) {
            true => TableProviderFilterPushDown::Exact,
            false if is_plain(filter) => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(answer).collect())
    }
}

/// True if a filter gives the same for the same row, and needs nothing but the row.
fn is_plain(filter: &Expr) -> bool {
    let needs_more = filter.exists(|part| {
        Ok(matches!(
            part,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(_, _)
                | Expr::Placeholder(_)
        ))
    });
    matches!(needs_more, Ok(false)) && !filter.is_volatile()
}

/// Bounds of some files, for DataFusion's pruning.
struct BoundsOfFiles<'a> {
    table: &'a DataFileTable,
    files: &'a [usize],
}

impl BoundsOfFiles<'_> {
    fn partition_field(&self, column: &Column) -> Option<&FieldRef> {
        let mut fields = self.table.partition_fields().iter();
        fields.find(|field| *field.name() == column.name)
    }

    fn partition_values(&self, column: &Column) -> Option<ArrayRef> {
        let field = self.partition_field(column)?;
        self.table.partition_values(field, self.files).ok()
    }

    fn bounds(&self, column: &Column) -> Option<&ColumnBounds> {
        self.table.statistics.of(&column.name)
    }

    fn of_files(&self, values: &ArrayRef) -> Option<ArrayRef> {
        let places: Option<Vec<u32>> = self
            .files
            .iter()
            .map(|at| u32::try_from(*at).ok())
            .collect();
        take(values, &UInt32Array::from(places?), None).ok()
    }

    fn rows(&self) -> UInt64Array {
        self.files
            .iter()
            .map(|at| self.table.files[*at].rows)
            .collect()
    }
}

impl PruningStatistics for BoundsOfFiles<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        match self.partition_values(column) {
            Some(values) => Some(values),
            None => self.of_files(&self.bounds(column)?.min),
        }
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        match self.partition_values(column) {
            Some(values) => Some(values),
            None => self.of_files(&self.bounds(column)?.max),
        }
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let Some(field) = self.partition_field(column) else {
            return self.of_files(self.bounds(column)?.null_counts.as_ref()?);
        };
        // All rows of a file are alike.
        let counts: UInt64Array = self
            .files
            .iter()
            .map(|at| {
                let file = &self.table.files[*at];
                match file.partition_value(field.name()) {
                    Some(_) => Some(0),
                    None => file.rows,
                }
            })
            .collect();
        Some(Arc::new(counts))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.rows()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

/// A bound of a file, of its column's type; `None` where it is not known.
fn scalar(values: &ArrayRef, at: usize, field: &Field) -> Option<ScalarValue> {
    if at >= values.len() || values.is_null(at) {
        return None;
    }
    let value = ScalarValue::try_from_array(values, at).ok()?;
    value.cast_to(field.data_type()).ok()
}

/// A partition column as it is read: text as a dictionary, since it is the same in all rows of a file.
fn partition_field(field: &FieldRef) -> FieldRef {
    match field.data_type() {
        DataType::Utf8 => {
            let wrapped = wrap_partition_type_in_dict(DataType::Utf8);
            Arc::new(Field::clone(field).with_data_type(wrapped))
        }
        _ => Arc::clone(field),
    }
}

/// A column whose text and bytes come as views, also in its lists and structs.
fn with_views(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Utf8 => DataType::Utf8View,
        DataType::Binary => DataType::BinaryView,
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(with_views).collect()),
        DataType::List(element) => DataType::List(with_views(element)),
        _ => return Arc::clone(field),
    };
    Arc::new(Field::clone(field).with_data_type(data_type))
}

#[cfg(test)]
#[path = "table_provider_tests.rs"]
mod tests;
