//! Staging for unify: tables made of batches, views, and the names a statement reads.
//!
//! Invariant: all of it lives in the session's memory; nothing is written anywhere.

use crate::engine::QueryEngine;
use crate::failure::{collect, into_error};
use crate::guarded;
use crate::read_only;
use crate::session::Session;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::physical_plan::execution_plan::reset_plan_states;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tillhouse_model::Result;
use tokio::sync::mpsc;

impl Session {
    /// Makes batches known as a table.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Query`] when a batch does not have the schema.
    pub fn register_batches(
        &self,
        name: &str,
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
    ) -> Result<()> {
        let table = MemTable::try_new(schema, vec![batches]).map_err(into_error)?;
        self.register(name, Arc::new(table))
    }

    /// Plans a query over a table as far as its columns and types are known, and runs nothing.
    pub async fn plan(
        &self,
        sql: &str,
        params: &[(&str, ScalarValue)],
        table: &str,
    ) -> Result<PlannedQuery> {
        let (state, plan) = self.frame(sql, params).await?.into_parts();
        let plan = state
            .analyzer()
            .execute_and_check(plan, state.config_options(), |_, _| {})
            .map_err(into_error)?;
        let (mut joins, mut row_wise) = (false, true);
        let scans = count_scans(&plan, table)?;
        plan.apply_with_subqueries(|node| {
            row_wise &= matches!(
                node,
                LogicalPlan::Projection(_)
                    | LogicalPlan::Filter(_)
                    | LogicalPlan::Unnest(_)
                    | LogicalPlan::Union(_)
                    | LogicalPlan::SubqueryAlias(_)
                    | LogicalPlan::TableScan(_)
            );
            joins |= matches!(
                node,
                LogicalPlan::Join(_) | LogicalPlan::Subquery(_) | LogicalPlan::RecursiveQuery(_)
            );
            Ok(TreeNodeRecursion::Continue)
        })
        .map_err(into_error)?;
        Ok(PlannedQuery {
            schema: Arc::clone(plan.schema().inner()),
            scans: (!joins).then_some(scans),
            row_wise: row_wise && !joins,
            table: table.to_owned(),
            analyzed: plan,
            optimized: Arc::default(),
            state: Arc::new(state),
        })
    }

    /// Makes a query known as a table; it runs whenever the table is read.
    pub async fn create_view(&self, name: &str, sql: &str) -> Result<()> {
        let view = self.sql(sql).await?.into_view();
        self.register(name, view)
    }
}

/// A planned query, to be run as often as is wanted. It is optimized when it is first run: most runs of a sync find nothing to run it over.
#[derive(Debug, Clone)]
pub struct PlannedQuery {
    /// The columns of its result.
    pub schema: SchemaRef,
    /// Number of scans of its table, if all go on side by side. `None` where it joins: then one
    /// scan may have to end before another begins.
    pub scans: Option<usize>,
    /// Each row of its result is made of one row of its table alone, so that it may run batch by batch.
    pub row_wise: bool,
    table: String,
    analyzed: LogicalPlan,
    optimized: Arc<OnceLock<LogicalPlan>>,
    state: Arc<SessionState>,
}

impl PlannedQuery {
    fn optimized(&self) -> Result<&LogicalPlan> {
        if let Some(optimized) = self.optimized.get() {
            return Ok(optimized);
        }
        let state: &SessionState = &self.state;
        let optimizer = state.optimizer();
        let optimize = || optimizer.optimize(self.analyzed.clone(), state, |_, _| {});
        let plan = guarded::call(optimize).flatten().map_err(into_error)?;
        Ok(self.optimized.get_or_init(|| plan))
    }

    /// Plans the rest, so that what cannot run is an error before there are rows.
    pub async fn prove(&self) -> Result<()> {
        let plan = self.optimized()?;
        let planner = self.state.query_planner();
        let planned = guarded::wait(planner.create_physical_plan(plan, &*self.state));
        planned.await.map(drop).map_err(into_error)
    }

    /// Runs it over batches that are still to come, in place of its table, whose schema they have: a receiver for each scan. One more
    /// scan is an error of the stream.
    pub async fn run(
        &self,
        schema: SchemaRef,
        mut batches: Vec<mpsc::Receiver<RecordBatch>>,
    ) -> Result<SendableRecordBatchStream> {
        // Whoever sends must not wait for a scan that was optimized away.
        batches.truncate(count_scans(self.optimized()?, &self.table)?);
        let arriving = BatchReceivers {
            schema: Arc::clone(&schema),
            batches: Mutex::new(batches),
        };
        let physical = self.physical_plan(schema, Arc::new(arriving)).await?;
        execute(physical, self.state.task_ctx())
    }

    /// Makes it ready to run over one batch after the other, in place of its table, whose schema they have.
    pub async fn batch_runner(&self, schema: SchemaRef) -> Result<BatchRunner> {
        let batch = Arc::new(CurrentBatch {
            schema: Arc::clone(&schema),
            batch: Mutex::default(),
        });
        Ok(BatchRunner {
            plan: self
                .physical_plan(schema, Arc::clone(&batch) as Arc<dyn PartitionStream>)
                .await?,
            batch,
            context: self.state.task_ctx(),
        })
    }

    /// The plan with other rows in place of its table.
    async fn physical_plan(
        &self,
        schema: SchemaRef,
        rows: Arc<dyn PartitionStream>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let table = StreamingTable::try_new(schema, vec![rows]).map_err(into_error)?;
        let source = provider_as_source(Arc::new(table));
        let replaced = self
            .optimized()?
            .clone()
            .transform_up_with_subqueries(|node| match node {
                LogicalPlan::TableScan(scan) if scan.table_name.table() == self.table => {
                    let scan = TableScan {
                        source: Arc::clone(&source),
                        ..scan
                    };
                    Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
                }
                other => Ok(Transformed::no(other)),
            });
        let plan = replaced.map_err(into_error)?.data;
        let (state, planner) = (&*self.state, self.state.query_planner());
        let planned = guarded::wait(planner.create_physical_plan(&plan, state));
        planned.await.map_err(into_error)
    }
}

/// Starts a plan.
fn execute(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    let started = guarded::call(|| execute_stream(plan, context)).flatten();
    started.map(guarded::batches).map_err(into_error)
}

/// Number of times that a plan reads a table.
fn count_scans(plan: &LogicalPlan, table: &str) -> Result<usize> {
    let mut scans = 0;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && scan.table_name.table() == table
        {
            scans += 1;
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(into_error)?;
    Ok(scans)
}

/// A planned query that runs over one batch after the other.
pub struct BatchRunner {
    plan: Arc<dyn ExecutionPlan>,
    batch: Arc<CurrentBatch>,
    context: Arc<TaskContext>,
}

impl BatchRunner {
    /// The rows that it makes of a batch.
    pub async fn run(&mut self, batch: RecordBatch) -> Result<Vec<RecordBatch>> {
        *self
            .batch
            .batch
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(batch);
        let plan = reset_plan_states(Arc::clone(&self.plan)).map_err(into_error)?;
        collect(execute(plan, Arc::clone(&self.context))?).await
    }
}

/// Partition stream over the batch that is at hand; each scan sees it.
struct CurrentBatch {
    schema: SchemaRef,
    batch: Mutex<Option<RecordBatch>>,
}

impl fmt::Debug for CurrentBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}

impl PartitionStream for CurrentBatch {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batch = self.batch.lock().unwrap_or_else(PoisonError::into_inner);
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            futures::stream::iter(batch.clone().map(Ok)),
        ))
    }
}

/// Partition stream over batches that are received from channels.
struct BatchReceivers {
    schema: SchemaRef,
    batches: Mutex<Vec<mpsc::Receiver<RecordBatch>>>,
}

impl fmt::Debug for BatchReceivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arriving")
    }
}

impl PartitionStream for BatchReceivers {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self
            .batches
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let Some(batches) = batches else {
            let twice = futures::stream::once(async {
                exec_err!("records that are still arriving were read once too often")
            });
            return Box::pin(RecordBatchStreamAdapter::new(
                Arc::clone(&self.schema),
                twice,
            ));
        };
        let stream = futures::stream::unfold(batches, |mut batches| async move {
            batches.recv().await.map(|batch| (Ok(batch), batches))
        });
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            stream,
        ))
    }
}

impl QueryEngine {
    /// The tables a statement reads, without their schemas; names of its own (WITH) are left out. Nothing is planned.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Query`] when the SQL cannot be parsed or is not a query.
    pub fn table_names(&self, sql: &str) -> Result<Vec<String>> {
        let state = self.empty_session()?.context().state();
        let statement = read_only::parse(sql).map_err(into_error)?;
        let names = state
            .resolve_table_references(&statement)
            .map_err(into_error)?;
        Ok(names
            .into_iter()
            .map(|reference| reference.table().to_owned())
            .collect())
    }
}
