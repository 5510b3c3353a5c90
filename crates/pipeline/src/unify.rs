//! Unify: the records whose newest version is new, through the pipeline's SQL, into the unified tables.
//!
//! ```text
//!   source table, _land in (done, target] --newest version of each record--> view `<resource>`
//!     --unify/<table>.sql--> rows of the contract --> remove the records' old rows, add these, move `done`: one commit
//! ```
//!
//! Invariant: every unified table moves from one package number to a higher one in a single commit that also remembers the number,
//! so a step that was interrupted is simply taken again. A result that does not fit its contract is refused before any request.

use crate::config::{Pipeline, ResourcePlan};
use crate::observer::Event;
use crate::sync::Context;
use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tillhouse_lake::{PackageInfo, Rows, Step, Superseded};
use tillhouse_model::table::{Role, TableSpec};
use tillhouse_model::{Error, ErrorKind, Result, table};
use tillhouse_query::{Engine, ScalarValue, Session};

/// How many record versions one step takes at most: bounds what a step has to remember.
const STEP_RECORDS: u64 = 400_000;
/// How many tables are unified at once.
const TABLES_AT_ONCE: usize = 2;

/// What unify did to one table.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub struct Unified {
    /// Rows that are new.
    pub added: u64,
    /// Rows that were replaced or removed.
    pub removed: u64,
}

/// A unify statement and the resource it reads.
#[derive(Clone)]
struct Statement {
    table: Arc<TableSpec>,
    sql: String,
    origin: String,
    resource: &'static str,
}

/// Plans every unify statement against its contract, with no data and no request.
///
/// Errors with [`ErrorKind::Config`], naming the file, the column and what was expected.
pub async fn check(engine: &Engine, pipeline: &Pipeline) -> Result<()> {
    for statement in statements(engine, pipeline)? {
        let session = empty_session(engine, pipeline)?;
        let schema = session.result_schema(&statement.sql, &parameters(pipeline)).await.map_err(|e| {
            Error::config("a unify statement cannot be planned").at("file", statement.origin.clone()).because(e)
        })?;
        let wanted = statement.table.unified_schema();
        let mut problems = Vec::new();
        for field in wanted.fields() {
            match schema.field_with_name(field.name()) {
                Err(_) => problems.push(format!("column {:?} is missing", field.name())),
                Ok(found) if !fits(found.data_type(), field.data_type()) => problems.push(format!(
                    "column {:?} is {} where {} is wanted",
                    field.name(),
                    found.data_type(),
                    field.data_type()
                )),
                Ok(_) => {}
            }
        }
        for field in schema.fields() {
            if wanted.field_with_name(field.name()).is_err() {
                problems.push(format!("column {:?} is not in the contract", field.name()));
            }
        }
        if !problems.is_empty() {
            return Err(Error::config(format!(
                "the result does not fit the contract of unified.{}: {}",
                statement.table.name,
                problems.join("; ")
            ))
            .at("file", statement.origin.clone())
            .hint(format!(
                "The contract is schemas/unified/{}.yaml; cast or rename the columns named.",
                statement.table.name
            )));
        }
    }
    Ok(())
}

/// Whether a value of type `found` becomes one of type `wanted` without losing anything.
fn fits(found: &DataType, wanted: &DataType) -> bool {
    use DataType as T;
    match (found, wanted) {
        (a, b) if a == b => true,
        (T::Null, _) => true,
        (T::Utf8 | T::LargeUtf8 | T::Utf8View, T::Utf8) => true,
        (T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_), T::Binary) => true,
        (T::Timestamp(_, Some(zone)), T::Timestamp(_, Some(_))) => matches!(zone.as_ref(), "UTC" | "+00:00"),
        (a, T::Int64) => a.is_integer(),
        (a, T::Decimal128(precision, scale)) if a.is_integer() => *precision >= 18 && *scale >= 0,
        (T::Decimal128(_, from), T::Decimal128(_, to)) => from <= to,
        _ => false,
    }
}

fn statements(engine: &Engine, pipeline: &Pipeline) -> Result<Vec<Statement>> {
    pipeline
        .unify
        .iter()
        .map(|asset| {
            let named = engine.table_names(&asset.text).map_err(|e| {
                Error::config("a unify statement cannot be parsed").at("file", asset.origin.clone()).because(e)
            })?;
            let resource = pipeline.resources.iter().find(|r| named.iter().any(|n| n == r.resource.name));
            let resource = resource.ok_or_else(|| {
                let known: Vec<_> = pipeline.resources.iter().map(|r| r.resource.name).collect();
                Error::config("a unify statement reads none of the pipeline's resources")
                    .at("file", asset.origin.clone())
                    .hint(format!("Read FROM one of: {}.", known.join(", ")))
            })?;
            let table = pipeline.unified.get(&asset.name).ok_or_else(|| Error::internal("an unknown unified table"))?;
            Ok(Statement {
                table: Arc::clone(table),
                sql: asset.text.clone(),
                origin: asset.origin.clone(),
                resource: resource.resource.name,
            })
        })
        .collect()
}

/// A session in which every resource is there, but empty.
fn empty_session(engine: &Engine, pipeline: &Pipeline) -> Result<Session> {
    let session = engine.bare()?;
    for plan in &pipeline.resources {
        session.register_batches(plan.resource.name, plan.spec.source_schema(), Vec::new())?;
    }
    Ok(session)
}

fn parameters(pipeline: &Pipeline) -> [(&'static str, ScalarValue); 2] {
    [("pipeline", ScalarValue::from(pipeline.name.as_str())), ("source", ScalarValue::from(pipeline.source_name))]
}

/// Takes every unified table of a pipeline to the newest package of the resource it is made of.
///
/// Errors as the lake and the SQL do; tables already done stay done.
pub async fn bring_up_to_date(
    context: &Context,
    pipeline: &Pipeline,
    run_id: &str,
) -> Result<BTreeMap<String, Unified>> {
    let mut result: BTreeMap<String, Unified> = BTreeMap::new();
    let all = statements(&context.engine, pipeline)?;
    for plan in &pipeline.resources {
        let mine: Vec<&Statement> = all.iter().filter(|s| s.resource == plan.resource.name).collect();
        let source = context.warehouse.source_table(&pipeline.name, Arc::clone(&plan.spec));
        let Some(version) = source.version().await? else { continue };
        let mut progress = Vec::new();
        for statement in &mine {
            let table = context.warehouse.unified_table(Arc::clone(&statement.table));
            progress.push(table.progress(&pipeline.name, plan.resource.name).await?);
        }
        // Tables that stand at the same package share a step; after a crash some may be ahead of others.
        let starts: HashSet<i64> = progress.iter().copied().collect();
        let mut starts: Vec<i64> = starts.into_iter().collect();
        starts.sort_unstable();
        for (index, start) in starts.iter().enumerate() {
            let behind: Vec<&Statement> =
                mine.iter().zip(&progress).filter(|(_, p)| *p <= start).map(|(s, _)| *s).collect();
            let until = starts.get(index + 1).copied();
            for (after, to) in steps(&source.packages(*start).await?, *start, until) {
                let Some(history) = source.provider(Some(version), Some(context.engine.state()?)).await? else {
                    continue;
                };
                let step = Step {
                    pipeline: pipeline.name.clone(),
                    resource: plan.resource.name.to_owned(),
                    after_land: after,
                    to_land: to,
                    run_id: run_id.to_owned(),
                };
                let mut changes = Changes::find(context, plan, history, &step).await?;
                changes.packages = source.provider_of(version, Some(context.engine.state()?), after, to).await?;
                let changes = Arc::new(changes);
                // Each table is a task of its own: on one task all of them would share one core.
                let tasks: Vec<_> = behind
                    .iter()
                    .map(|statement| {
                        let step = TableStep {
                            context: context.clone(),
                            parameters: parameters(pipeline),
                            statement: Statement::clone(statement),
                            step: step.clone(),
                            changes: Arc::clone(&changes),
                        };
                        async move {
                            let task = AbortOnDrop(tokio::spawn(step.take()));
                            task.await.map_err(|e| Error::internal("a unify step failed").because(e))?
                        }
                    })
                    .collect();
                let done: Vec<(String, Unified)> =
                    stream::iter(tasks).buffer_unordered(TABLES_AT_ONCE).try_collect().await?;
                for (table, unified) in done {
                    let total = result.entry(table).or_default();
                    total.added += unified.added;
                    total.removed += unified.removed;
                }
            }
        }
    }
    Ok(result)
}

/// Cuts the packages after `start` (and not after `until`) into steps of a bounded number of records.
fn steps(packages: &[PackageInfo], start: i64, until: Option<i64>) -> Vec<(i64, i64)> {
    let mut steps = Vec::new();
    let (mut after, mut last, mut records) = (start, start, 0);
    for package in packages.iter().filter(|p| p.land > start && until.is_none_or(|u| p.land <= u)) {
        if records > 0 && records + package.records > STEP_RECORDS {
            steps.push((after, last));
            (after, records) = (last, 0);
        }
        records += package.records;
        last = package.land;
    }
    if last > after {
        steps.push((after, last));
    }
    steps
}

/// The records of a step, and which of their earlier versions the unified tables may hold.
struct Changes {
    history: Arc<dyn tillhouse_lake::TableProvider>,
    /// The step's packages and nothing else, where whole files hold them.
    packages: Option<Arc<dyn tillhouse_lake::TableProvider>>,
    superseded: Superseded,
    /// Versions within the step that a later one within the step replaces: (record key, _land).
    outdated: Option<RecordBatch>,
}

impl Changes {
    async fn find(
        context: &Context,
        plan: &ResourcePlan,
        history: Arc<dyn tillhouse_lake::TableProvider>,
        step: &Step,
    ) -> Result<Self> {
        let session = context.engine.bare()?;
        session.register("history", Arc::clone(&history))?;
        let (after, to) = (step.after_land, step.to_land);
        let range = format!("_land > {after} AND _land <= {to}");
        // A version without a time leaves no trace in its successor's `_prev_record_time`; only where such versions exist, every
        // record of the step has to be suspected of having had one.
        let untimed = collect(&session, "SELECT 1 FROM history WHERE month = 'none' LIMIT 1").await?;
        let suspect_all = untimed.iter().any(|b| b.num_rows() > 0) && !plan.spec.record_time.is_empty();
        let condition = if suspect_all { "TRUE" } else { "_prev_record_time IS NOT NULL" };
        let sql = format!("SELECT _record_key, _prev_record_time FROM history WHERE {range} AND {condition}");
        let mut superseded = Superseded::default();
        let mut batches = session.query(&sql).await?;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(query_failed)?;
            let keys = text(&batch, 0)?;
            let times = cast(batch.column(1), &table::timestamp())?;
            let times = times.as_primitive::<TimestampMicrosecondType>();
            for (key, time) in keys.iter().zip(times.iter()) {
                let Some(key) = key else { continue };
                match time {
                    Some(time) => {
                        superseded.times.push(time);
                        superseded.keys.insert(key.to_owned());
                    }
                    None => {
                        superseded.keys_maybe_untimed.insert(key.to_owned());
                    }
                }
            }
        }
        drop(batches);
        superseded.times.sort_unstable();
        superseded.times.dedup();
        let outdated = Self::outdated(&session, &superseded, &range).await?;
        Ok(Self { history, packages: None, superseded, outdated })
    }

    /// Only a record that supersedes another can do so within the step; all others need no look.
    async fn outdated(session: &Session, superseded: &Superseded, range: &str) -> Result<Option<RecordBatch>> {
        if superseded.keys.is_empty() && superseded.keys_maybe_untimed.is_empty() {
            return Ok(None);
        }
        let mut newest: HashMap<String, i64> = HashMap::new();
        let mut outdated: Vec<(String, i64)> = Vec::new();
        let mut batches = session.query(&format!("SELECT _record_key, _land FROM history WHERE {range}")).await?;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(query_failed)?;
            let keys = text(&batch, 0)?;
            let lands = batch.column(1).as_primitive::<Int64Type>();
            for (key, land) in keys.iter().zip(lands.iter()) {
                let (Some(key), Some(land)) = (key, land) else { continue };
                if !superseded.keys.contains(key) && !superseded.keys_maybe_untimed.contains(key) {
                    continue;
                }
                match newest.get_mut(key) {
                    None => {
                        newest.insert(key.to_owned(), land);
                    }
                    Some(known) => {
                        outdated.push((key.to_owned(), land.min(*known)));
                        *known = land.max(*known);
                    }
                }
            }
        }
        if outdated.is_empty() {
            return Ok(None);
        }
        let schema = Schema::new(vec![
            Field::new("_record_key", DataType::Utf8, false),
            Field::new("_land", DataType::Int64, false),
        ]);
        let keys: StringArray = outdated.iter().map(|(k, _)| Some(k.as_str())).collect();
        let lands: Int64Array = outdated.iter().map(|(_, l)| Some(*l)).collect();
        let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(keys), Arc::new(lands)])
            .map_err(|e| Error::internal("cannot list outdated versions").because(e))?;
        Ok(Some(batch))
    }
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop<T>(tokio::task::JoinHandle<T>);

impl<T> Future for AbortOnDrop<T> {
    type Output = std::result::Result<T, tokio::task::JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One step of one table, with all it needs.
struct TableStep {
    context: Context,
    parameters: [(&'static str, ScalarValue); 2],
    statement: Statement,
    step: Step,
    changes: Arc<Changes>,
}

impl TableStep {
    async fn take(self) -> Result<(String, Unified)> {
        let Self { context, parameters, statement, step, changes } = self;
        let name = statement.table.name.clone();
        context.observer.on(&Event::Unifying { table: name.clone() });
        let at =
            |e: Error| e.at("table", format!("unified.{}", statement.table.name)).at("file", statement.origin.clone());
        let session = context.engine.bare()?;
        let condition = match &changes.packages {
            Some(packages) => {
                session.register("history", Arc::clone(packages))?;
                String::new()
            }
            None => {
                session.register("history", Arc::clone(&changes.history))?;
                format!("WHERE h._land > {} AND h._land <= {}", step.after_land, step.to_land)
            }
        };
        // A dimension shows the freshest row that any version ever brought; in which steps the versions came must not matter.
        let outdated = changes.outdated.as_ref().filter(|_| statement.table.role != Role::Dimension);
        let view = match outdated {
            None => format!("SELECT h.* FROM history h {condition}"),
            Some(outdated) => {
                session.register_batches("outdated", outdated.schema(), vec![outdated.clone()])?;
                format!(
                    "SELECT h.* FROM history h LEFT ANTI JOIN outdated o \
                     ON h._record_key = o._record_key AND h._land = o._land {condition}"
                )
            }
        };
        session.create_view(statement.resource, &view).await?;
        let result = session.query_with(&statement.sql, &parameters).await.map_err(at)?;
        let wanted = statement.table.unified_schema();
        let rows: Rows = result.map(move |batch| fit(&batch.map_err(query_failed)?, &wanted)).boxed();
        let target = context.warehouse.unified_table(Arc::clone(&statement.table));
        let replaced = match statement.table.role {
            Role::Dimension => target.merge(&step, rows).await,
            Role::Fact | Role::Source => target.replace(&step, &changes.superseded, rows).await,
        }
        .map_err(at)?;
        Ok((name, Unified { added: replaced.rows_added, removed: replaced.rows_removed }))
    }
}

/// Puts a result's columns into the contract's order and types.
fn fit(batch: &RecordBatch, wanted: &SchemaRef) -> Result<RecordBatch> {
    let columns = wanted
        .fields()
        .iter()
        .map(|field| {
            let column = batch
                .column_by_name(field.name())
                .ok_or_else(|| Error::internal(format!("column {:?} went missing", field.name())))?;
            cast(column, field.data_type()).map_err(|e| e.at("column", field.name().clone()))
        })
        .collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(wanted), columns).map_err(|e| {
        Error::data("a unify statement gives a row without a required value")
            .because(e)
            .hint("Use coalesce, or leave the row out with WHERE.")
    })
}

/// A cast that fails instead of writing null where a value does not fit.
fn cast(column: &arrow::array::ArrayRef, to: &DataType) -> Result<arrow::array::ArrayRef> {
    if column.data_type() == to {
        return Ok(Arc::clone(column));
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(column, to, &options).map_err(|e| Error::data("a value does not fit its column").because(e))
}

fn text(batch: &RecordBatch, column: usize) -> Result<StringArray> {
    Ok(cast(batch.column(column), &DataType::Utf8)?.as_string::<i32>().clone())
}

async fn collect(session: &Session, sql: &str) -> Result<Vec<RecordBatch>> {
    tillhouse_query::collect(session.query(sql).await?).await
}

fn query_failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Query, "a unify query failed").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(land: i64, records: u64) -> PackageInfo {
        PackageInfo { land, records, bytes: 0 }
    }

    #[test]
    fn steps_are_bounded_and_skip_nothing() {
        let packages =
            [package(1, 300_000), package(2, 50_000), package(3, 300_000), package(4, 900_000), package(5, 1)];
        assert_eq!(steps(&packages, 0, None), vec![(0, 2), (2, 3), (3, 4), (4, 5)]);
        assert_eq!(steps(&packages, 2, Some(3)), vec![(2, 3)]);
        assert_eq!(steps(&packages, 5, None), vec![]);
    }

    #[test]
    fn only_lossless_results_fit() {
        assert!(fits(&DataType::Decimal128(38, 2), &DataType::Decimal128(18, 4)));
        assert!(!fits(&DataType::Decimal128(18, 6), &DataType::Decimal128(18, 4)));
        assert!(!fits(&DataType::Float64, &DataType::Decimal128(18, 4)));
        assert!(!fits(&DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None), &table::timestamp()));
    }
}
