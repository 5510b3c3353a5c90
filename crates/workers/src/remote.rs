//! The step that has the rows of a part from workers.
//!
//! Invariant: its rows are those of the part. They are held back until all of them are there, or more than may be held: until then a part whose worker is lost is asked for once more without that
//! worker, and a part that fails for its own sake runs here, so that its error is the one that it has without workers. Rows that were handed on are never asked for again.

use crate::channel::LostWorker;
use crate::fleet::WorkerFleet;
use crate::spread::{TaskShape, spread};
use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_datafusion_err};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, execute_stream,
};
use datafusion_distributed::{DistributedExt, NetworkCoalesceExec, WorkerResolver};
use futures::{StreamExt, TryStreamExt, stream};
use std::fmt;
use std::sync::Arc;
use tillhouse_model::Error;
use url::Url;

/// Bytes of rows that are held back, at most.
const HELD_BYTES: usize = 32 << 20;
/// Times that a part is sent to workers.
const ATTEMPTS: usize = 2;
/// Tasks of a part at least: the library runs a single one in this process.
const LEAST_TASKS: usize = 2;

/// Planner that gives the plan that it was given, for the library's to go on with.
#[derive(Debug)]
pub(crate) struct GivenPlanner;

/// The plan of [`GivenPlanner`], among a session's settings.
struct GivenPlan(Arc<dyn ExecutionPlan>);

#[async_trait]
impl QueryPlanner for GivenPlanner {
    async fn create_physical_plan(
        &self,
        _: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let given = session.config().get_extension::<GivenPlan>();
        let given = given.ok_or_else(|| internal_datafusion_err!("no plan was given"))?;
        Ok(Arc::clone(&given.0))
    }
}

/// Workers of one attempt.
struct GivenWorkers(Vec<Url>);

impl WorkerResolver for GivenWorkers {
    fn get_urls(&self) -> Result<Vec<Url>> {
        Ok(self.0.clone())
    }
}

/// The way of a part to its workers.
#[derive(Clone)]
pub(crate) struct PartSender {
    pub(crate) fleet: WorkerFleet,
    /// With the library's planner over [`GivenPlanner`], its codecs, and the way to the workers.
    pub(crate) state: Arc<SessionState>,
    /// Partitions of each task.
    pub(crate) partitions: usize,
}

impl fmt::Debug for PartSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartSender")
            .field("fleet", &self.fleet)
            .field("partitions", &self.partitions)
            .finish_non_exhaustive()
    }
}

/// Rows of a part of a plan, in one partition.
#[derive(Debug)]
pub(crate) struct RemoteExec {
    part: Arc<dyn ExecutionPlan>,
    sender: PartSender,
    properties: Arc<PlanProperties>,
}

impl RemoteExec {
    pub(crate) fn new(part: Arc<dyn ExecutionPlan>, sender: PartSender) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(part.schema()),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Self {
            part,
            sender,
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for RemoteExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workers = self.sender.fleet.count();
        write!(f, "RemoteExec: {}, {workers} workers", self.part.name())
    }
}

impl ExecutionPlan for RemoteExec {
    fn name(&self) -> &'static str {
        "RemoteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (part, sender) = (Arc::clone(&self.part), self.sender.clone());
        let rows = stream::once(async move { sender.rows(part, context).await });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            self.schema(),
            rows.try_flatten(),
        )))
    }
}

impl PartSender {
    /// The rows of a part: of workers as far as there are any that can give them, else of this process.
    async fn rows(
        &self,
        part: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        for attempt in 1..=ATTEMPTS {
            let workers = self.fleet.answering().await.map_err(external)?;
            if workers.is_empty() {
                tracing::debug!("no worker answers: a part of the plan runs here");
                break;
            }
            let sent = async { self.held(self.send(&part, workers).await?, &context).await };
            let error = match sent.await {
                Ok(rows) => return Ok(rows),
                Err(error) => error,
            };
            match LostWorker::of(&error) {
                Some(lost) => {
                    self.fleet.lose(lost);
                    if attempt == ATTEMPTS {
                        return Err(external(lost.to_error()));
                    }
                    tracing::warn!("{lost}; the question is asked once more without it");
                }
                None => {
                    tracing::debug!("a part of the plan failed on workers, and runs here: {error}");
                    break;
                }
            }
        }
        execute_stream(part, context)
    }

    /// Sends a part to workers, and gives their rows as they come.
    async fn send(
        &self,
        part: &Arc<dyn ExecutionPlan>,
        workers: Vec<Url>,
    ) -> Result<SendableRecordBatchStream> {
        let tasks = workers.len().max(LEAST_TASKS);
        let shape = TaskShape {
            tasks,
            partitions: self.partitions,
        };
        let boundary = NetworkCoalesceExec::try_new(spread(part, shape)?, tasks, 1)?;
        let gathered: Arc<dyn ExecutionPlan> =
            Arc::new(CoalescePartitionsExec::new(Arc::new(boundary)));
        let mut state = self.state.as_ref().clone();
        let config = state.config_mut();
        config.set_extension(Arc::new(GivenPlan(gathered)));
        config.set_distributed_worker_resolver(GivenWorkers(workers));
        let planner = Arc::clone(state.query_planner());
        let nothing = LogicalPlan::default();
        let plan = planner.create_physical_plan(&nothing, &state).await?;
        execute_stream(plan, state.task_ctx())
    }

    /// Rows once all of them are there, or as many as may be held.
    async fn held(
        &self,
        mut rows: SendableRecordBatchStream,
        context: &Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let schema = rows.schema();
        let room = MemoryConsumer::new("rows of workers").register(context.memory_pool());
        let mut held: Vec<Result<RecordBatch>> = Vec::new();
        while room.size() < HELD_BYTES {
            let Some(batch) = rows.try_next().await? else {
                break;
            };
            let fits = room.try_grow(batch.get_array_memory_size()).is_ok();
            held.push(Ok(batch));
            if !fits {
                break;
            }
        }
        let fleet = self.fleet.clone();
        let rest = rows.map_err(move |error| match LostWorker::of(&error) {
            Some(lost) => {
                fleet.lose(lost);
                external(lost.to_error())
            }
            None => error,
        });
        let all = stream::iter(held).chain(rest).inspect(move |_| {
            // What is held counts for as long as it is there.
            let _ = &room;
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, all)))
    }
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
