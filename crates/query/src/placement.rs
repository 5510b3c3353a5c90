//! Places where parts of a plan run: this process, or others that read the same warehouse.
//!
//! Invariant: a plan gives the same rows wherever its parts run. Only what is about to run is placed: EXPLAIN shows a plan as it is made.
//!
//! ```text
//!   a query ─ plan ─> PlanPlacement::place ─> the plan with other steps in place of parts ─> held to its flag, and run
//!
//!   portable_plan   a part with DataFusion's own scans alone, for a message to another process
//!   resumed_plan    the same with this crate's scans again, there
//! ```
//!
//! Rejected: a planner of its own for plans that run elsewhere. What a query means, and what it may hold in memory, would be decided in two places.

use crate::caught_panics::CaughtExec;
use crate::damaged_files::{self, NamedFiles};
use crate::merged_filters::{self, MergedFilters};
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::execution::TaskContext;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use std::fmt;
use std::sync::Arc;

/// Place of the parts of a plan, for the sessions of an engine.
///
/// Law: the plan that comes back has the schema of the one that went in, and its rows, in any order that nothing in the plan asks for. Whatever cannot run elsewhere stays as it
/// is; that is no error. No I/O: a place is asked once the plan runs.
pub trait PlanPlacement: fmt::Debug + Send + Sync {
    /// A plan that is about to run, with parts of it replaced by steps that have their rows from elsewhere.
    ///
    /// Errors where the plan itself is broken.
    fn place(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &TaskContext,
    ) -> Result<Arc<dyn ExecutionPlan>>;
}

/// A placement among a session's settings.
struct ConfiguredPlacement(Arc<dyn PlanPlacement>);

/// Settings of sessions whose plans are placed.
pub(crate) fn configured(
    config: SessionConfig,
    placement: Arc<dyn PlanPlacement>,
) -> SessionConfig {
    config.with_extension(Arc::new(ConfiguredPlacement(placement)))
}

/// The plan as the session's settings place it; as it is, where they say nothing.
pub(crate) fn placed(
    plan: Arc<dyn ExecutionPlan>,
    context: &TaskContext,
) -> Result<Arc<dyn ExecutionPlan>> {
    let config = context.session_config();
    match config.get_extension::<ConfiguredPlacement>() {
        Some(configured) => configured.0.place(plan, context),
        None => Ok(plan),
    }
}

/// Part of a plan whose scans are DataFusion's own, so that it can be written into a message. It gives the same rows; only its errors say less.
pub fn portable_plan(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    merged_filters::apart(damaged_files::unnamed(plan)?)
}

/// A portable plan, as the process runs it that was sent it: scans name damaged files, and merge their conditions where there are many; a panic is an error.
pub fn resumed_plan(
    plan: Arc<dyn ExecutionPlan>,
    options: &ConfigOptions,
) -> Result<Arc<dyn ExecutionPlan>> {
    let input = NamedFiles.optimize(MergedFilters.optimize(plan, options)?, options)?;
    Ok(Arc::new(CaughtExec { input }))
}
