//! Context of a run, shared by its steps: the project, its warehouse, the SQL engine, who watches, and the wish to stop.
//!
//! Invariant: nothing here changes while a run goes on; a step takes what it needs from here, and no step knows the run as a whole.

use crate::config::{Pipeline, Project};
use crate::held_lease::HeldLease;
use crate::observer::RunObserver;
use crate::package_budget::PackageBudget;
use jiff::Timestamp;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use tillhouse_lake::{OpsTables, RunBookkeeping, Warehouse, WarningRow};
use tillhouse_model::Result;
use tillhouse_query::QueryEngine;
use tokio::sync::{Mutex, Semaphore};
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
    /// Watcher of the run.
    pub observer: Arc<dyn RunObserver>,
    /// Cancelled when the user wants to stop; of a pipeline's part of a run, also when its lease is lost.
    pub cancel: CancellationToken,
    /// Shared by everything that goes on side by side.
    pub(crate) shared: SharedWork,
}

/// Things that pipelines and resources share while they are worked on side by side.
#[derive(Clone)]
pub(crate) struct SharedWork {
    /// The lease under which a pipeline is written; `None` where nothing is written.
    pub(crate) lease: Option<Arc<HeldLease>>,
    /// Slices of one pipeline that are read at once, over all its resources.
    pub(crate) slices: Arc<Semaphore>,
    /// Held while bookkeeping is written: its tables are the run's, and a commit that loses a race is done over.
    pub(crate) bookkeeping: Arc<Mutex<()>>,
    /// Taker of what the run has to remember.
    pub(crate) notes: Arc<RunBookkeeping>,
    /// Held while a step is unified from the source table: one query at a time has the memory limit.
    pub(crate) unify: Arc<Mutex<()>>,
    /// Memory of the packages that are gathered.
    pub(crate) packages: Arc<PackageBudget>,
}

impl Default for SharedWork {
    fn default() -> Self {
        Self {
            lease: None,
            slices: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            bookkeeping: Arc::default(),
            notes: Arc::default(),
            unify: Arc::default(),
            packages: Arc::default(),
        }
    }
}

impl SharedWork {
    /// Errors where the pipeline's lease was lost: nothing is committed any more.
    pub(crate) async fn check_lease(&self) -> Result<()> {
        match &self.lease {
            Some(lease) => lease.check().await,
            None => Ok(()),
        }
    }

    /// Hands warnings to the run's bookkeeping, which writes them before the run is published.
    pub(crate) async fn note_warnings(
        &self,
        warnings: Vec<WarningRow>,
        ops: &OpsTables,
    ) -> Result<()> {
        if warnings.is_empty() {
            return Ok(());
        }
        let _turn = self.bookkeeping.lock().await;
        self.check_lease().await?;
        self.notes.add_warnings(warnings, ops.now());
        self.notes.flush_if_due(ops).await
    }
}

impl RunContext {
    /// Context of a run that nobody has asked to stop.
    pub fn new(
        project: Arc<Project>,
        warehouse: Warehouse,
        engine: QueryEngine,
        observer: Arc<dyn RunObserver>,
    ) -> Self {
        Self {
            project,
            warehouse,
            engine,
            observer,
            cancel: CancellationToken::new(),
            shared: SharedWork::default(),
        }
    }

    /// Context of one run, with bookkeeping of its own.
    pub(crate) fn for_run(&self) -> Self {
        Self {
            shared: SharedWork {
                notes: Arc::default(),
                ..self.shared.clone()
            },
            ..self.clone()
        }
    }

    /// Context of one pipeline's part of a run, under its lease; `cancel` stops that part.
    pub(crate) fn for_pipeline(
        &self,
        pipeline: &Pipeline,
        lease: Arc<HeldLease>,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            cancel,
            shared: SharedWork {
                lease: Some(lease),
                slices: Arc::new(Semaphore::new(pipeline.concurrency.max(1))),
                ..self.shared.clone()
            },
            ..self.clone()
        }
    }
}

/// The second of the last id that this process gave, and the microsecond in it.
static LAST_ID: StdMutex<(i64, i32)> = StdMutex::new((i64::MIN, 0));

/// A new run id: the time to the second, then the microsecond in it as five hexadecimal digits and three random ones. Ids sort by time; those that one
/// process gives in one second are in the order in which it gave them, also where its clock stands still.
///
/// ```
/// use tillhouse_pipeline::new_run_id;
///
/// let now = "2026-01-31T06:00:00Z".parse()?;
/// let (first, second) = (new_run_id(now), new_run_id(now));
/// assert!(first.starts_with("20260131T060000Z-0000") && first < second);
/// # Ok::<(), jiff::Error>(())
/// ```
pub fn new_run_id(now: Timestamp) -> String {
    let (second, micro) = (now.as_second(), now.subsec_microsecond().max(0));
    let mut last = LAST_ID.lock().unwrap_or_else(PoisonError::into_inner);
    let micro = match last.0 == second {
        true => micro.max(last.1 + 1),
        false => micro,
    };
    *last = (second, micro);
    let random = uuid::Uuid::new_v4().simple().to_string();
    let random = random.get(..3).unwrap_or("000");
    format!("{}-{micro:05x}{random}", now.strftime("%Y%m%dT%H%M%SZ"))
}
