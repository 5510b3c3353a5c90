//! Reading data files directly: few columns of few files, batch by batch.
//!
//! Invariant: what is held in memory is one batch and the column chunks of one row group a file.

use crate::log::data_file::DataFile;
use crate::log::remedy::replace_file;
use crate::log::table::TableHandle;
use crate::store::small_files::{self, FOOTER_BYTES};
use arrow::array::{Array, ArrayRef, BooleanArray, StringArray, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt, TryFutureExt, stream};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::{
    ArrowPredicateFn, ArrowReaderMetadata, ArrowReaderOptions, RowFilter as ParquetRowFilter,
};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use parquet::schema::types::SchemaDescriptor;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Rows in a batch.
const BATCH_ROWS: usize = 8_192;
/// Files that are read whole at once.
const READ_WHOLE: usize = 2;

/// Projection and row filter of a scan.
#[derive(Clone, Default)]
pub struct ScanRequest {
    /// Text of few different values: it comes as dictionaries. Columns a file does not have are left out.
    pub labels: Vec<String>,
    /// Other columns, as they stand in the file.
    pub columns: Vec<String>,
    /// Row filter; all rows where there is none.
    pub row_filter: Option<RowFilter>,
}

/// Row filter of a scan: the columns it reads, and its predicate.
#[derive(Clone)]
pub struct RowFilter {
    /// The columns by which they are told.
    pub columns: Vec<String>,
    /// True for the rows that pass.
    pub predicate: RowPredicate,
}

/// Predicate over a batch: one boolean a row.
pub type RowPredicate = Arc<dyn Fn(&RecordBatch) -> Result<BooleanArray> + Send + Sync>;

/// Reads those of some files that are small before they are wanted one after the other, where the store is far; a disk answers at once.
pub(crate) fn read_ahead<'a>(
    table: &TableHandle,
    files: impl IntoIterator<Item = &'a DataFile>,
) -> BoxFuture<'static, ()> {
    if table.log_store().root_url().scheme() == "file" {
        return futures::future::ready(()).boxed();
    }
    // Who reads one whose path is impossible is told.
    let files = files
        .into_iter()
        .filter_map(|file| Some((Path::parse(&file.path).ok()?, file.size)));
    small_files::read_ahead(table.store(), files.collect()).boxed()
}

/// Streams columns of a file, dotted paths for nested ones. Columns the file does not have are left out.
pub(crate) async fn columns(
    table: &TableHandle,
    file: &DataFile,
    paths: Vec<String>,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    open(table, file, Some(paths), None).await
}

/// Streams whole rows of a file in the table's schema: partition columns are filled in, columns the file does not have are null.
pub(crate) async fn rows(
    table: &TableHandle,
    file: &DataFile,
    schema: SchemaRef,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    filtered_rows(table, file, schema, None).await
}

/// As [`rows`], but only those that pass the filter: of the others no more is decoded than the
/// filter reads.
pub(crate) async fn filtered_rows(
    table: &TableHandle,
    file: &DataFile,
    schema: SchemaRef,
    only: Option<&RowFilter>,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let stream = open(table, file, None, only).await?;
    Ok(filled(stream, file.clone(), schema))
}

/// As [`filtered_rows`], reading no other columns than the schema's.
pub(crate) async fn projected_rows(
    table: &TableHandle,
    file: &DataFile,
    schema: SchemaRef,
    only: Option<&RowFilter>,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let names = schema.fields().iter().map(|field| field.name().clone());
    let stream = open(table, file, Some(names.collect()), only).await?;
    Ok(filled(stream, file.clone(), schema))
}

/// Rows of a file in a schema: partition columns are filled in, columns the file does not have are null.
fn filled(
    stream: BoxStream<'static, Result<RecordBatch>>,
    file: DataFile,
    schema: SchemaRef,
) -> BoxStream<'static, Result<RecordBatch>> {
    stream
        .map(move |batch| {
            let batch = batch?;
            let rows = batch.num_rows();
            let filled: Result<Vec<ArrayRef>> = schema
                .fields()
                .iter()
                .map(|field| {
                    if let Some(value) = file.partition.get(field.name()) {
                        return Ok(match value {
                            Some(value) => Arc::new(StringArray::from_iter_values(
                                std::iter::repeat_n(value, rows),
                            )),
                            None => new_null_array(field.data_type(), rows),
                        });
                    }
                    match batch.column_by_name(field.name()) {
                        Some(column) if column.data_type() == field.data_type() => {
                            Ok(column.clone())
                        }
                        Some(column) => {
                            let strict = CastOptions {
                                safe: false,
                                ..CastOptions::default()
                            };
                            cast_with_options(column, field.data_type(), &strict)
                                .or_error(ErrorKind::Storage, "a data file does not fit its table")
                                .map_err(|e| e.at("file", &file.path).at("column", field.name()))
                        }
                        None => Ok(new_null_array(field.data_type(), rows)),
                    }
                })
                .collect();
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            RecordBatch::try_new_with_options(schema.clone(), filled?, &options)
                .or_error(ErrorKind::Storage, "a data file does not fit its table")
                .map_err(|e| e.at("file", &file.path))
        })
        .boxed()
}

async fn open(
    table: &TableHandle,
    file: &DataFile,
    paths: Option<Vec<String>>,
    only: Option<&RowFilter>,
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let failed = failure(table, file);
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let mut builder =
        ParquetRecordBatchStreamBuilder::new_with_options(reader(table, file)?, options)
            .await
            .map_err(failed.clone())?;
    if let Some(paths) = &paths {
        let mask =
            ProjectionMask::columns(builder.parquet_schema(), paths.iter().map(String::as_str));
        builder = builder.with_projection(mask);
    }
    if let Some(only) = only {
        let filter = filter(builder.parquet_schema(), only);
        builder = builder.with_row_filter(filter);
    }
    let stream = builder
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(failed.clone())?;
    Ok(caught(stream, failed))
}

/// Streams the projection of a file's rows that pass the row filter, of row groups that may hold a row with these texts, by column.
pub(crate) async fn scan_file(
    table: &TableHandle,
    file: &DataFile,
    asked: &ScanRequest,
    texts: &[(&str, String)],
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let failed = failure(table, file);
    let mut reader = reader(table, file)?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let plain = ArrowReaderMetadata::load_async(&mut reader, options.clone())
        .await
        .map_err(failed.clone())?;
    let fields: Vec<FieldRef> = plain
        .schema()
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Utf8 if asked.labels.contains(field.name()) => {
                Arc::new(Field::clone(field).with_data_type(label_type()))
            }
            _ => field.clone(),
        })
        .collect();
    let options = options.with_schema(Arc::new(Schema::new(fields)));
    let metadata =
        ArrowReaderMetadata::try_new(plain.metadata().clone(), options).map_err(failed.clone())?;
    let groups = plain.metadata().row_groups().iter().enumerate();
    let groups = groups.filter(|(_, group)| {
        let mut texts = texts.iter();
        texts.all(|(column, text)| may_hold_text(group, column, text))
    });
    let groups: Vec<usize> = groups.map(|(at, _)| at).collect();
    let mut builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata)
        .with_row_groups(groups);
    let mask = |names: &mut dyn Iterator<Item = &str>| {
        ProjectionMask::columns(builder.parquet_schema(), names)
    };
    let wanted = mask(
        &mut asked
            .labels
            .iter()
            .chain(&asked.columns)
            .map(String::as_str),
    );
    if let Some(only) = &asked.row_filter {
        let filter = filter(builder.parquet_schema(), only);
        builder = builder.with_row_filter(filter);
    }
    let stream = builder
        .with_projection(wanted)
        .with_batch_size(BATCH_ROWS)
        .build()
        .map_err(failed.clone())?;
    Ok(caught(stream, failed))
}

/// True if a row with that text in a column may be inside of a row group, by its bounds.
pub(crate) fn may_hold_text(group: &RowGroupMetaData, column: &str, text: &str) -> bool {
    let mut chunks = group.columns().iter();
    let chunk = chunks.find(|chunk| chunk.column_path().parts() == [column]);
    let Some(bounds) = chunk.and_then(|chunk| chunk.statistics()) else {
        return true;
    };
    let text = text.as_bytes();
    bounds.min_bytes_opt().is_none_or(|min| min <= text)
        && bounds.max_bytes_opt().is_none_or(|max| text <= max)
}

/// Reads a file's footer, and compares it with its checksum. `Err` is the reason why it cannot be read.
pub(crate) async fn check_footer(
    table: &TableHandle,
    path: &str,
    size: u64,
) -> std::result::Result<(), String> {
    let path = Path::parse(path).map_err(|error| error.to_string())?;
    let mut reader = DataFileReader {
        store: table.store(),
        path,
        size,
    };
    let footer = AssertUnwindSafe(reader.get_metadata(None)).catch_unwind();
    match footer.await {
        Ok(read) => read.map(drop).map_err(|error| {
            let unread = Error::new(ErrorKind::Storage, "its footer cannot be read");
            unread.because(error).to_string()
        }),
        Err(_) => Err("its footer is not what a footer is".to_owned()),
    }
}

/// Paths of the files that the store gives whole and that cannot be read to the end, since their pages or their footers are not what was
/// written. One that the store does not give is not known to be damaged.
pub(crate) async fn damaged_files(table: &TableHandle, files: &[DataFile]) -> Vec<String> {
    let read = stream::iter(files).map(|file| async move {
        let is_damaged = is_damaged(table, file).await;
        is_damaged.then(|| file.path.clone())
    });
    let read: Vec<Option<String>> = read.buffered(READ_WHOLE).collect().await;
    read.into_iter().flatten().collect()
}

async fn is_damaged(table: &TableHandle, file: &DataFile) -> bool {
    if can_be_read(table, file).await {
        return false;
    }
    let given = table.content_of(&file.path).await;
    let is_given = matches!(given, Ok(Some(bytes)) if bytes.len() as u64 == file.size);
    is_given && !can_be_read(table, file).await
}

/// True if a file can be read to the end, all columns of it.
async fn can_be_read(table: &TableHandle, file: &DataFile) -> bool {
    let read = async {
        let mut rows = open(table, file, None, None).await?;
        while rows.next().await.transpose()?.is_some() {}
        Ok::<_, Error>(())
    };
    matches!(AssertUnwindSafe(read).catch_unwind().await, Ok(Ok(())))
}

/// Lets only the rows pass that are asked for.
fn filter(schema: &SchemaDescriptor, only: &RowFilter) -> ParquetRowFilter {
    let picks = only.predicate.clone();
    let mask = ProjectionMask::columns(schema, only.columns.iter().map(String::as_str));
    let predicate = ArrowPredicateFn::new(mask, move |batch| {
        picks(&batch).map_err(|e| ArrowError::ExternalError(Box::new(e)))
    });
    ParquetRowFilter::new(vec![Box::new(predicate)])
}

/// Type in which text of few different values is read.
fn label_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn reader(table: &TableHandle, file: &DataFile) -> Result<DataFileReader> {
    let path = Path::parse(&file.path)
        .or_error(ErrorKind::Storage, "a data file has an impossible path")?;
    Ok(DataFileReader {
        store: table.store(),
        path,
        size: file.size,
    })
}

fn failure(
    table: &TableHandle,
    file: &DataFile,
) -> impl Fn(ParquetError) -> Error + Clone + Send + 'static {
    let (name, at) = (file.path.clone(), table.path().to_owned());
    move |error| {
        Error::new(ErrorKind::Storage, "a data file cannot be read")
            .at("table", &at)
            .at("file", &name)
            .because(error)
            .hint(replace_file(&at))
    }
}

/// Batches of a file. The library panics where a page's header has changed so that its values and its encoding do not fit.
fn caught(
    stream: impl Stream<Item = parquet::errors::Result<RecordBatch>> + Send + 'static,
    failed: impl Fn(ParquetError) -> Error + Send + 'static,
) -> BoxStream<'static, Result<RecordBatch>> {
    let batches = AssertUnwindSafe(stream).catch_unwind();
    batches
        .map(move |batch| {
            let damaged = || ParquetError::General("a page is not what its header says".to_owned());
            batch.unwrap_or_else(|_| Err(damaged())).map_err(&failed)
        })
        .boxed()
}

/// The first of these files, by location and size, that cannot be read to its end, and why; for whoever met an error that names no file.
pub async fn first_damaged_file(
    store: Arc<dyn ObjectStore>,
    files: &[(String, u64)],
) -> Option<(String, String)> {
    for (location, size) in files {
        let read = async {
            let path =
                Path::parse(location).map_err(|error| ParquetError::External(Box::new(error)))?;
            let reader = DataFileReader {
                store: Arc::clone(&store),
                path,
                size: *size,
            };
            let builder = ParquetRecordBatchStreamBuilder::new(reader)
                .await?
                .with_batch_size(BATCH_ROWS);
            let mut batches = builder.build()?;
            while batches.next().await.transpose()?.is_some() {}
            Ok::<_, ParquetError>(())
        };
        match AssertUnwindSafe(read).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Some((location.clone(), error.to_string())),
            Err(_) => {
                return Some((
                    location.clone(),
                    "a page is not what its header says".to_owned(),
                ));
            }
        }
    }
    None
}

/// Reader of one file of known size on an object store.
struct DataFileReader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

impl AsyncFileReader for DataFileReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        self.store
            .get_range(&self.path, range)
            .map_err(external)
            .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, parquet::errors::Result<Vec<Bytes>>> {
        async move {
            self.store
                .get_ranges(&self.path, &ranges)
                .await
                .map_err(external)
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let size = self.size;
            let hint = FOOTER_BYTES.min(usize::try_from(size).unwrap_or(FOOTER_BYTES));
            let reader = ParquetMetaDataReader::new()
                .with_arrow_reader_options(options)
                .with_prefetch_hint(Some(hint));
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}
