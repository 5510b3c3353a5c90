//! Choice of the parts of a coordinator's plans that go to its workers.
//!
//! Invariant: a part goes only if it is worth it and travels whole; what stays is run as if there were no workers.

use crate::codec::{StepCodec, travels, with_plan_functions};
use crate::fleet::WorkerFleet;
use crate::parts::{bytes_of_part, is_end};
use crate::remote::{GivenPlanner, PartSender, RemoteExec};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_distributed::{DistributedExt, SessionStateBuilderExt};
use std::sync::Arc;
use tillhouse_query::{PlanPlacement, QueryEngine, into_error, portable_plan};

/// Bytes of files from which on a part goes to workers, where nothing is said: below, it is done here before they have heard of it.
const LEAST_BYTES: u64 = 4 << 20;

/// Bytes of rows that wait in a connection to be taken; the library's own would take as much as a whole query may.
const CONNECTION_BYTES: usize = 8 << 20;

/// Choice of the parts that go to workers.
#[derive(Debug, Clone, Copy)]
pub struct PlacementOptions {
    /// Bytes of files that a part reads at least.
    pub least_bytes: u64,
}

impl Default for PlacementOptions {
    /// 4 MiB.
    fn default() -> Self {
        Self {
            least_bytes: LEAST_BYTES,
        }
    }
}

/// An engine whose queries are run with the help of workers. Without workers it is the engine as it was.
///
/// Errors where the engine's settings cannot be read.
///
/// ```no_run
/// use tillhouse_query::{QueryEngine, QueryEngineOptions};
/// use tillhouse_workers::{PlacementOptions, WorkerAddress, WorkerFleet, WorkerTrust, with_workers};
///
/// async fn engine() -> tillhouse_model::Result<QueryEngine> {
///     let addresses: [WorkerAddress; 2] = ["127.0.0.1:7433".parse()?, "127.0.0.1:7434".parse()?];
///     let fleet = WorkerFleet::new(&addresses, &WorkerTrust::default())?;
///     fleet.check().await?;
///     let engine = QueryEngine::new(QueryEngineOptions::default())?;
///     with_workers(engine, &fleet, PlacementOptions::default())
/// }
/// ```
pub fn with_workers(
    engine: QueryEngine,
    fleet: &WorkerFleet,
    options: PlacementOptions,
) -> tillhouse_model::Result<QueryEngine> {
    if fleet.count() == 0 {
        return Ok(engine);
    }
    let builder = engine
        .state_builder()?
        .with_query_planner(Arc::new(GivenPlanner));
    let state = builder
        .with_distributed_planner()
        .with_distributed_user_codec(StepCodec)
        .with_distributed_channel_resolver(fleet.clone())
        .with_distributed_metrics_collection(false)
        .and_then(|builder| {
            builder.with_distributed_worker_connection_buffer_budget_bytes(CONNECTION_BYTES)
        })
        .map_err(into_error)?
        .build();
    let state = with_plan_functions(state)?;
    let partitions = state.config().target_partitions().max(1);
    let sender = PartSender {
        fleet: fleet.clone(),
        state: Arc::new(state),
        partitions,
    };
    Ok(engine.placing(Arc::new(WorkerPlacement { sender, options })))
}

#[derive(Debug)]
struct WorkerPlacement {
    sender: PartSender,
    options: PlacementOptions,
}

impl PlanPlacement for WorkerPlacement {
    fn place(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &TaskContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let placed = plan.transform_down(|node| {
            if !is_end(&node) {
                return Ok(Transformed::no(node));
            }
            Ok(match self.part(&node, context)? {
                Some(part) => {
                    let remote: Arc<dyn ExecutionPlan> =
                        Arc::new(RemoteExec::new(part, self.sender.clone()));
                    Transformed::new(remote, true, TreeNodeRecursion::Jump)
                }
                None => Transformed::no(node),
            })
        });
        Ok(placed?.data)
    }
}

impl WorkerPlacement {
    /// The part that ends with a step, in the form in which it travels; `None` where it stays.
    fn part(
        &self,
        end: &Arc<dyn ExecutionPlan>,
        context: &TaskContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let part = portable_plan(Arc::clone(end))?;
        let Some((divided, whole)) = bytes_of_part(&part)? else {
            return Ok(None);
        };
        if divided < self.options.least_bytes || whole > divided {
            return Ok(None);
        }
        // A worker has the functions of an engine, and none that were made for one session or query. Expressions hold the settings that they were made under.
        let mut functions = self.sender.state.as_ref().clone();
        *functions.config_mut() = context.session_config().clone();
        let functions = functions.task_ctx();
        Ok(travels(&part, self.sender.state.config(), &functions).then_some(part))
    }
}
