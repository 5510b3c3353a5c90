//! The layout of a table's files: which columns stand in them, in what order, and how Parquet writes each.
//!
//! Invariant: partition columns stand in the Add action and never in the file.
//!
//! Files of roll-ups hold several levels and pipelines: their rows stand in the order of these, and a row group of many rows has one level, so that whoever
//! asks for a level passes over the row groups of all others by their bounds. A column that none of a level's rows has a value in is a few bytes of it: no
//! memory of its own, and no work but to be encoded.

use crate::file::shared_nulls::{SharedNulls, is_null};
use crate::log::comments::{ColumnComments, comments_of};
use crate::log::create::TableDefinition;
use crate::log::stats::StatColumns;
use crate::store::footer;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, concat, lexsort_to_indices, partition, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnPath, SchemaDescPtr};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_model::table::{CONTENT_HASH, EXTRACTED_AT, LEVEL, PERIOD, PIPELINE, RECORD_KEY};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt, TableNote};
use tillhouse_parquet_columns::{self as parquet_columns, ColumnEncoder, DefaultEncoder};

/// A data file below this size is written anew together with new rows of its partition, so that a run leaves one file there and not two.
pub(crate) const SMALL_FILE_BYTES: u64 = 1 << 20;

/// Schema, partition columns and Parquet properties of a table's files.
#[derive(Debug)]
pub(crate) struct TableLayout {
    /// The table's schema, its partition columns, and those with statistics.
    pub definition: TableDefinition,
    /// Without the partition columns: what stands in the files.
    pub file_schema: SchemaRef,
    /// Places of the file's columns in the table's schema.
    pub projection: Vec<usize>,
    /// Number of Parquet columns of each of the file's columns.
    pub leaves: Vec<usize>,
    /// Places in the file of the columns that its rows are in the order of; none where they keep the order they came in.
    order: Vec<usize>,
    /// Place in the file of the column that all rows of a large row group have the same value of.
    pub row_group_by: Option<usize>,
    parquet: SchemaDescPtr,
    properties: WriterPropertiesPtr,
}

impl TableLayout {
    pub(crate) fn new(
        schema: SchemaRef,
        key: &[String],
        partition_by: Vec<String>,
    ) -> Result<Self> {
        let projection: Vec<usize> = (0..schema.fields().len())
            .filter(|i| !partition_by.contains(schema.field(*i).name()))
            .collect();
        let file_schema: SchemaRef = Arc::new(Schema::new(
            projection
                .iter()
                .map(|i| schema.fields()[*i].clone())
                .collect::<Vec<_>>(),
        ));
        let stat_columns = StatColumns::of(&schema, key, &partition_by);
        let is_roll_up = partition_by.iter().any(|column| column == PERIOD);
        let order = match is_roll_up {
            true => order_of(&file_schema, &stat_columns),
            false => Vec::new(),
        };
        let row_group_by = file_schema.index_of(LEVEL).ok().filter(|_| is_roll_up);
        if let Some(field) = file_schema
            .fields()
            .iter()
            .find(|field| !parquet_columns::is_supported(field.data_type()))
        {
            return Err(Error::internal("a column has a type that is not written")
                .at("column", field.name())
                .at("type", field.data_type().to_string()));
        }
        let mut properties = WriterProperties::builder()
            .set_compression(parquet_columns::compression())
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_key_value_metadata(Some(vec![footer::placeholder()]))
            .set_created_by(concat!("tillhouse ", env!("CARGO_PKG_VERSION")).to_owned());
        // Bounds of text rule out no row group in practice, ids least of all, but for what rows are in the order of. Keys have theirs in the
        // table's log.
        let mut texts = Vec::new();
        let fields = file_schema.fields().iter().enumerate();
        for (_, field) in fields.filter(|(at, _)| !order.contains(at)) {
            leaves_in(
                field,
                Vec::new(),
                &|kind| matches!(kind, DataType::Utf8),
                &mut texts,
            );
        }
        for path in texts {
            properties = properties
                .set_column_statistics_enabled(ColumnPath::new(path), EnabledStatistics::None);
        }
        // Nearly every value is different: a dictionary would only be built to be thrown away. Of sums everything but these repeats.
        let mut distinct: Vec<Vec<String>> = Vec::new();
        if !is_roll_up {
            let keys = key.iter().map(String::as_str);
            let keys = keys.chain([RECORD_KEY, CONTENT_HASH]);
            distinct.extend(keys.map(|name| vec![name.to_owned()]));
            for field in file_schema
                .fields()
                .iter()
                .filter(|field| field.name() != EXTRACTED_AT)
            {
                leaves_in(
                    field,
                    Vec::new(),
                    &|kind| matches!(kind, DataType::Timestamp(_, _)),
                    &mut distinct,
                );
            }
        }
        for path in distinct {
            properties = properties.set_column_dictionary_enabled(ColumnPath::new(path), false);
        }
        properties = properties
            .set_column_statistics_enabled(ColumnPath::from(CONTENT_HASH), EnabledStatistics::None);
        let properties = Arc::new(properties.build());
        let parquet = ArrowSchemaConverter::new()
            .convert(&file_schema)
            .or_error(ErrorKind::Internal, NO_PLACE)?;
        let leaves = |field: &Arc<Field>| {
            let mut found = Vec::new();
            leaves_in(field, Vec::new(), &|_| true, &mut found);
            found.len()
        };
        let leaves = file_schema.fields().iter().map(leaves).collect();
        Ok(Self {
            definition: TableDefinition {
                schema,
                partition_by,
                stat_columns,
                comments: ColumnComments::new(),
            },
            file_schema,
            projection,
            leaves,
            order,
            row_group_by,
            parquet: Arc::new(parquet),
            properties,
        })
    }

    /// The layout of a table whose log has comments on its columns.
    pub(crate) fn with_comments(mut self, note: &TableNote) -> Self {
        self.definition.comments = comments_of(note);
        self
    }

    /// True if rows are put in an order before they are written.
    pub(crate) fn has_order(&self) -> bool {
        !self.order.is_empty()
    }

    /// Rows of the file schema in the file's order; those that are alike in it stay as they came.
    pub(crate) fn in_order(&self, rows: RecordBatch) -> Result<RecordBatch> {
        if !self.has_order() || rows.num_rows() < 2 {
            return Ok(rows);
        }
        let count = u32::try_from(rows.num_rows()).or_error(ErrorKind::Internal, NO_ORDER)?;
        let places: ArrayRef = Arc::new(UInt32Array::from_iter_values(0..count));
        let columns = self
            .order
            .iter()
            .map(|at| rows.column(*at))
            .chain([&places]);
        let columns: Vec<SortColumn> = columns
            .map(|values| SortColumn {
                values: Arc::clone(values),
                options: None,
            })
            .collect();
        let order = lexsort_to_indices(&columns, None).or_error(ErrorKind::Internal, NO_ORDER)?;
        let columns = rows.columns().iter();
        let columns = columns.map(|column| match is_null(column) {
            true => Ok(Arc::clone(column)),
            false => take(column, &order, None),
        });
        let columns = columns.collect::<std::result::Result<Vec<ArrayRef>, _>>();
        let columns = columns.or_error(ErrorKind::Internal, NO_ORDER)?;
        RecordBatch::try_new(rows.schema(), columns).or_error(ErrorKind::Internal, NO_ORDER)
    }

    /// Batches of the file schema in the file's order, those of one row group's value after those of another. A column that is null in all rows of a
    /// value shares its memory with the others.
    pub(crate) fn in_file_order(&self, batches: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
        let mut nulls = SharedNulls::default();
        let parts = self.parts(batches)?;
        let ordered = parts.iter().map(|parts| {
            let rows: usize = parts.iter().map(RecordBatch::num_rows).sum();
            let column = |(at, field): (usize, &Arc<Field>)| {
                let columns: Vec<&dyn Array> =
                    parts.iter().map(|part| part.column(at).as_ref()).collect();
                match columns.iter().copied().all(is_null) {
                    true => Ok(nulls.of(field.data_type(), rows)),
                    false => concat(&columns),
                }
            };
            let fields = self.file_schema.fields().iter().enumerate();
            let columns = fields
                .map(column)
                .collect::<std::result::Result<Vec<ArrayRef>, _>>()
                .or_error(ErrorKind::Internal, NO_ORDER)?;
            let rows = RecordBatch::try_new(self.file_schema.clone(), columns);
            self.in_order(rows.or_error(ErrorKind::Internal, NO_ORDER)?)
        });
        ordered.collect()
    }

    /// Parts of batches, by the value that a row group has, in the order of these.
    fn parts(&self, batches: &[RecordBatch]) -> Result<Vec<Vec<RecordBatch>>> {
        let Some(column) = self.row_group_by else {
            return Ok(vec![batches.to_vec()]);
        };
        let mut parts: BTreeMap<Option<&str>, Vec<RecordBatch>> = BTreeMap::new();
        for batch in batches {
            let column = batch.column(column);
            let texts = column.as_string_opt::<i32>();
            let runs = partition(std::slice::from_ref(column));
            for run in runs.or_error(ErrorKind::Internal, NO_ORDER)?.ranges() {
                let value = texts.map(|texts| texts.value(run.start));
                let part = batch.slice(run.start, run.len());
                parts.entry(value).or_default().push(part);
            }
        }
        Ok(parts.into_values().collect())
    }

    /// Encoder of a file's row groups.
    pub(crate) fn writer(&self) -> Result<SerializedFileWriter<Vec<u8>>> {
        SerializedFileWriter::new(
            Vec::new(),
            self.parquet.root_schema_ptr(),
            self.properties.clone(),
        )
        .or_error(ErrorKind::Internal, NO_PLACE)
    }

    /// Encoders of the columns of a row group.
    pub(crate) fn columns(&self) -> Result<Vec<DefaultEncoder>> {
        let mut from = 0;
        let columns = self
            .file_schema
            .fields()
            .iter()
            .zip(&self.leaves)
            .map(|(field, count)| {
                let leaves = &self.parquet.columns()[from..from + count];
                from += count;
                DefaultEncoder::try_new(field.clone(), leaves, &self.properties)
            });
        columns
            .collect::<Result<_, _>>()
            .or_error(ErrorKind::Internal, NO_PLACE)
    }
}

const NO_PLACE: &str = "a table's columns have no place in Parquet";
const NO_ORDER: &str = "rows cannot be put in order";

/// Places of the columns that rows of a roll-up are in the order of: level, pipeline and the start of the period.
fn order_of(file_schema: &Schema, stat_columns: &StatColumns) -> Vec<usize> {
    let is_time = |at: &usize| {
        matches!(
            file_schema.field(*at).data_type(),
            DataType::Timestamp(_, _)
        )
    };
    let place = |name: &str| file_schema.index_of(name).ok();
    let mut starts = stat_columns.names().iter();
    let start = starts.find_map(|name| place(name).filter(is_time));
    let places = [place(LEVEL), place(PIPELINE), start];
    places.into_iter().flatten().collect()
}

/// The Parquet paths of all leaves of a kind in a column.
fn leaves_in(
    field: &Field,
    mut path: Vec<String>,
    kind: &impl Fn(&DataType) -> bool,
    found: &mut Vec<Vec<String>>,
) {
    path.push(field.name().clone());
    match field.data_type() {
        DataType::Struct(fields) => fields
            .iter()
            .for_each(|field| leaves_in(field, path.clone(), kind, found)),
        DataType::List(element) => {
            path.push("list".to_owned());
            leaves_in(element, path, kind, found);
        }
        leaf if kind(leaf) => found.push(path),
        _ => {}
    }
}
