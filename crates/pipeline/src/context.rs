//! Context of a run, shared by its steps: the project, its warehouse, the SQL engine, who watches, and the wish to stop.
//!
//! Invariant: nothing here changes while a run goes on; a step takes what it needs from here, and no step knows the run as a whole.

use crate::config::Project;
use crate::observer::RunObserver;
use jiff::Timestamp;
use std::sync::Arc;
use tillhouse_lake::Warehouse;
use tillhouse_query::QueryEngine;
use tokio_util::sync::CancellationToken;

/// Everything a run works with.
#[derive(Clone)]
pub struct RunContext {
    /// The project.
    pub project: Arc<Project>,
    /// Its warehouse.
    pub warehouse: Warehouse,
    /// Runs the unify SQL.
    pub engine: QueryEngine,
    /// Who watches.
    pub observer: Arc<dyn RunObserver>,
    /// Cancelled when the user wants to stop.
    pub cancel: CancellationToken,
}

/// A new run id: the time, then six random hexadecimal digits, so that ids sort by time.
pub(crate) fn new_run_id(now: Timestamp) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    format!(
        "{}-{}",
        now.strftime("%Y%m%dT%H%M%SZ"),
        random.get(..6).unwrap_or("000000")
    )
}
