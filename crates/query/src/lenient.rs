//! Projections whose expressions may fail for single rows: null there, and noted with the row's record.
//!
//! Invariant: a value that cannot be computed (a cast that does not fit, a division by zero, a product with too many digits) costs that
//! value, not the query; every one is in [`RowErrorLog`]. What is no matter of a row (memory, storage, a wrong argument) still fails.
//!
//! A scan of files takes the projection above it into itself; it is taken out again, since only a projection of its own is made lenient.
//!
//! Rejected: other functions in place of CAST and the operators, since a statement may use any that fails; they would have to know the record,
//! and only the row has it.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::physical_plan::{
    FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_expr::utils::reassign_expr_columns;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use tillhouse_model::table::RECORD_KEY;

/// A value that could not be computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// The record whose value it is, where the row says it.
    pub record_key: Option<String>,
    /// The column it would have been in.
    pub column: String,
    /// Reason.
    pub reason: String,
}

/// Most errors that are kept one by one; the rest are counted.
const MOST_NOTED: usize = 20_000;

/// Row errors of a session: the first ones, and the number of the others.
#[derive(Debug, Default)]
pub struct RowErrorReport {
    /// The first of them,
    pub errors: Vec<RowError>,
    /// and how many more there were.
    pub more: u64,
}

/// Log of the values that could not be computed in a session so far; clones share it.
#[derive(Debug, Clone, Default)]
pub struct RowErrorLog(Arc<Mutex<RowErrorReport>>);

impl RowErrorLog {
    /// Hands over what was noted, and forgets it.
    pub fn take(&self) -> RowErrorReport {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, error: RowError) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.errors.len() < MOST_NOTED {
            noted.errors.push(error)
        } else {
            noted.more += 1
        }
    }
}

/// Makes every projection of a plan lenient. It comes after all rules that take projections apart.
#[derive(Debug)]
pub(crate) struct LenientProjections {
    pub(crate) errors: RowErrorLog,
}

impl PhysicalOptimizerRule for LenientProjections {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let done = plan.transform_up(|node| {
            let node = match projection_of_scan(&node)? {
                Some(projection) => Arc::new(projection) as Arc<dyn ExecutionPlan>,
                None => node,
            };
            let Some(projection) = node.downcast_ref::<ProjectionExec>() else {
                return Ok(Transformed::no(node));
            };
            if !projection.expr().iter().any(computes) {
                return Ok(Transformed::no(node));
            }
            let expressions = projection.expr().iter().map(|projected| {
                let mut projected = projected.clone();
                if computes(&projected) {
                    projected.expr = Arc::new(LenientExpr {
                        column: projected.alias.clone(),
                        inner: Arc::clone(&projected.expr),
                        errors: self.errors.clone(),
                    });
                }
                projected
            });
            let lenient = ProjectionExec::try_new(
                expressions.collect::<Vec<_>>(),
                Arc::clone(projection.input()),
            )?;
            Ok(Transformed::yes(Arc::new(lenient) as Arc<dyn ExecutionPlan>))
        });
        Ok(done?.data)
    }

    fn name(&self) -> &'static str {
        "lenient_projections"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// True if an expression may fail for a row.
fn computes(projected: &ProjectionExpr) -> bool {
    projected.expr.downcast_ref::<Column>().is_none()
        && projected.expr.downcast_ref::<Literal>().is_none()
}

/// The projection that a scan of files computes, above a scan of the columns it needs; `None` where the scan computes nothing.
fn projection_of_scan(node: &Arc<dyn ExecutionPlan>) -> Result<Option<ProjectionExec>> {
    let config = node
        .downcast_ref::<DataSourceExec>()
        .and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
    let source = config.and_then(|config| config.file_source().downcast_ref::<ParquetSource>());
    let (Some(config), Some(source)) = (config, source) else {
        return Ok(None);
    };
    let Some(projection) = source
        .projection()
        .filter(|projection| projection.iter().any(computes))
    else {
        return Ok(None);
    };
    let mut columns = ParquetSource::new(source.table_schema().clone())
        .with_table_parquet_options(source.table_parquet_options().clone());
    if let Some(filter) = source.filter() {
        columns = columns.with_predicate(filter);
    }
    if let Some(reader) = source.parquet_file_reader_factory() {
        columns = columns.with_parquet_file_reader_factory(Arc::clone(reader));
    }
    let scan = FileScanConfigBuilder::from(config.clone())
        .with_source(Arc::new(columns))
        .with_projection_indices(Some(projection.column_indices()))?
        .build();
    let scan = DataSourceExec::from_data_source(scan);
    let above = projection.iter().map(|projected| {
        Ok(ProjectionExpr {
            expr: reassign_expr_columns(Arc::clone(&projected.expr), &scan.schema())?,
            alias: projected.alias.clone(),
        })
    });
    let above = above.collect::<Result<Vec<_>>>()?;
    ProjectionExec::try_new(above, scan).map(Some)
}

/// Expression that gives null for a row it fails for, and logs the error.
#[derive(Debug, Clone)]
struct LenientExpr {
    column: String,
    inner: Arc<dyn PhysicalExpr>,
    errors: RowErrorLog,
}

impl LenientExpr {
    /// The values of some rows. Halves them until the failing ones stand alone: they are few.
    fn values(&self, batch: &RecordBatch, nullable: bool) -> Result<ArrayRef> {
        let rows = batch.num_rows();
        let error = match self
            .inner
            .evaluate(batch)
            .and_then(|values| values.into_array(rows))
        {
            Ok(values) => return Ok(values),
            Err(error) => error,
        };
        if rows == 0 || !nullable || !is_of_a_row(&error) {
            return Err(error);
        }
        if rows > 1 {
            let half = rows / 2;
            let first = self.values(&batch.slice(0, half), nullable)?;
            let second = self.values(&batch.slice(half, rows - half), nullable)?;
            return Ok(concat(&[first.as_ref(), second.as_ref()])?);
        }
        let keys = batch
            .column_by_name(RECORD_KEY)
            .and_then(|keys| keys.as_string_opt::<i32>());
        self.errors.note(RowError {
            record_key: keys
                .filter(|keys| keys.is_valid(0))
                .map(|keys| keys.value(0).to_owned()),
            column: self.column.clone(),
            reason: error.find_root().strip_backtrace(),
        });
        Ok(new_null_array(
            &self.inner.data_type(batch.schema_ref())?,
            1,
        ))
    }
}

/// True if an error is about a value, and not about the machine or the statement.
fn is_of_a_row(error: &DataFusionError) -> bool {
    let DataFusionError::ArrowError(error, _) = error.find_root() else {
        return false;
    };
    matches!(
        **error,
        ArrowError::CastError(_)
            | ArrowError::ParseError(_)
            | ArrowError::ComputeError(_)
            | ArrowError::InvalidArgumentError(_)
            | ArrowError::DivideByZero
            | ArrowError::ArithmeticOverflow(_)
    )
}

impl fmt::Display for LenientExpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inner)
    }
}

impl PartialEq for LenientExpr {
    fn eq(&self, other: &Self) -> bool {
        self.column == other.column && self.inner.eq(&other.inner)
    }
}

impl Eq for LenientExpr {}

impl Hash for LenientExpr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.column.hash(state);
        self.inner.hash(state);
    }
}

impl PhysicalExpr for LenientExpr {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<arrow::datatypes::FieldRef> {
        self.inner.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        match self.inner.evaluate(batch) {
            Err(error) if is_of_a_row(&error) => {
                let nullable = self.inner.nullable(batch.schema_ref())?;
                Ok(ColumnarValue::Array(self.values(batch, nullable)?))
            }
            evaluated => evaluated,
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children
            .into_iter()
            .next()
            .unwrap_or_else(|| Arc::clone(&self.inner));
        Ok(Arc::new(Self {
            inner,
            ..(*self).clone()
        }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{QueryEngine, QueryEngineOptions, collect};
    use arrow::array::{Decimal128Array, Int64Array, StringArray};
    use arrow::datatypes::Field;
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::parquet::arrow::ArrowWriter;
    use datafusion::prelude::ParquetReadOptions;

    fn sales() -> RecordBatch {
        let amounts =
            Decimal128Array::from(vec![Some(1_000), Some(0), Some(10_i128.pow(17)), None]);
        let schema = Arc::new(Schema::new(vec![
            Field::new(RECORD_KEY, DataType::Utf8, false),
            Field::new("amount", DataType::Decimal128(18, 2), true),
            Field::new("pieces", DataType::Int64, true),
            Field::new("text", DataType::Utf8, true),
        ]));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec!["a", "b", "c", "d"])),
            Arc::new(amounts.with_precision_and_scale(18, 2).unwrap()),
            Arc::new(Int64Array::from(vec![
                Some(4),
                Some(0),
                Some(i64::MAX),
                Some(1),
            ])),
            Arc::new(StringArray::from(vec![
                Some("7"),
                Some("seven"),
                None,
                Some("8"),
            ])),
        ];
        RecordBatch::try_new(schema, columns).unwrap()
    }

    async fn shown(
        sql: &str,
        lenient: bool,
    ) -> (Result<Vec<String>, String>, Vec<(Option<String>, String)>) {
        shown_of(sql, lenient, None).await
    }

    /// The same rows in memory, or in a file.
    async fn shown_of(
        sql: &str,
        lenient: bool,
        file: Option<&std::path::Path>,
    ) -> (Result<Vec<String>, String>, Vec<(Option<String>, String)>) {
        let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
        let errors = RowErrorLog::default();
        let session = if lenient {
            engine.lenient_session(&errors).unwrap()
        } else {
            engine.empty_session().unwrap()
        };
        let rows = sales();
        match file {
            None => session
                .register_batches("sales", rows.schema(), vec![rows])
                .unwrap(),
            Some(path) => {
                let file = std::fs::File::create(path).unwrap();
                let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
                writer.write(&rows).unwrap();
                writer.close().unwrap();
                let options = ParquetReadOptions::default();
                let read = session
                    .context()
                    .read_parquet(path.to_str().unwrap(), options);
                session
                    .register("sales", read.await.unwrap().into_view())
                    .unwrap();
            }
        }
        let batches = match session.query(sql).await {
            Ok(stream) => collect(stream).await,
            Err(error) => Err(error),
        };
        let lines = batches.map_err(|e| format!("{e:?}")).map(|batches| {
            let table = pretty_format_batches(&batches).unwrap().to_string();
            let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
            lines
                .map(|line| {
                    line.split('|')
                        .map(str::trim)
                        .collect::<Vec<_>>()
                        .join(" ")
                        .trim()
                        .to_owned()
                })
                .collect()
        });
        (
            lines,
            errors
                .take()
                .errors
                .into_iter()
                .map(|e| (e.record_key, e.column))
                .collect(),
        )
    }

    fn noted(keys: &[&str], column: &str) -> Vec<(Option<String>, String)> {
        keys.iter()
            .map(|key| (Some((*key).to_owned()), column.to_owned()))
            .collect()
    }

    #[tokio::test]
    async fn what_fails_for_a_row_is_null_there_and_noted() {
        for (expression, values, failing) in [
            (
                "CAST(amount AS DECIMAL(9, 2))",
                ["a 10.00", "b 0.00", "c", "d"],
                vec!["c"],
            ),
            ("CAST(text AS BIGINT)", ["a 7", "b", "c", "d 8"], vec!["b"]),
            (
                "amount / pieces > 2",
                ["a true", "b", "c false", "d"],
                vec!["b"],
            ),
            ("100 / pieces", ["a 25", "b", "c 0", "d 100"], vec!["b"]),
            (
                "amount - 1",
                ["a 9.00", "b -1.00", "c 999999999999999.00", "d"],
                vec![],
            ),
        ] {
            let sql = format!("SELECT _record_key, {expression} AS x FROM sales ORDER BY 1");
            let (lines, errors) = shown(&sql, true).await;
            assert_eq!(lines.unwrap(), values, "{expression}");
            assert_eq!(errors, noted(&failing, "x"), "{expression}");
            let (strict, _) = shown(&sql, false).await;
            assert_eq!(
                strict.is_err(),
                !failing.is_empty(),
                "{expression} in any other session: {strict:?}"
            );
        }
    }

    #[tokio::test]
    async fn the_record_is_known_through_nested_queries() {
        let sql = "SELECT concat('p:', t._record_key) AS key, t.cents * 2 AS twice, t._record_key FROM \
                   (SELECT *, CAST(amount AS DECIMAL(9, 2)) AS cents FROM sales) t ORDER BY 1";
        let (lines, errors) = shown(sql, true).await;
        assert_eq!(
            lines.unwrap(),
            ["p:a 20.00 a", "p:b 0.00 b", "p:c  c", "p:d  d"]
        );
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].0.as_deref(), Some("c"));
    }

    #[tokio::test]
    async fn a_scan_of_files_is_as_lenient_as_one_of_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sales.parquet");
        for (sql, values, failing) in [
            (
                "SELECT _record_key, CAST(text AS BIGINT) AS x FROM sales WHERE amount IS NOT NULL",
                vec!["a 7", "b", "c"],
                vec!["b"],
            ),
            (
                "SELECT _record_key, 100 / pieces AS x FROM sales",
                vec!["a 25", "b", "c 0", "d 100"],
                vec!["b"],
            ),
        ] {
            let (lines, errors) = shown_of(sql, true, Some(&path)).await;
            assert_eq!(lines.unwrap(), values, "{sql}");
            assert_eq!(errors, noted(&failing, "x"), "{sql}");
            assert!(shown_of(sql, false, Some(&path)).await.0.is_err(), "{sql}");
        }
    }

    #[tokio::test]
    async fn a_wrong_statement_still_fails() {
        let (lines, errors) =
            shown("SELECT label('[]', 'medium', text) AS x FROM sales", true).await;
        assert!(
            lines.unwrap_err().contains("label"),
            "a wrong argument is no matter of a row"
        );
        assert!(errors.is_empty());
    }
}
