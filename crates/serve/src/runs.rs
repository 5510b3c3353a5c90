//! Published runs that questions are asked of: the newest, which is looked for every few seconds, and earlier ones by name.
//!
//! Invariant: a question is asked of one session, and a session reads one run for as long as it lives: whatever is published meanwhile, an answer is of one run from
//! beginning to end. Looking for a new run takes one request of the store where there is none.

use crate::options::ServedWarehouse;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tillhouse_lake::AsOf;
use tillhouse_model::time::parse_instant;
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_query::Session;
use tillhouse_statistics::{add_rollup_notes, register_sql};

/// Sessions over earlier runs that are kept.
const EARLIER: usize = 4;

/// A session over a run, for whoever asks of it.
pub(crate) struct RunSession {
    pub(crate) session: Session,
    pub(crate) run: String,
    pub(crate) finished_at: Timestamp,
}

/// The runs.
pub(crate) struct PublishedRuns {
    served: ServedWarehouse,
    newest: RwLock<Option<Arc<RunSession>>>,
    earlier: Mutex<Vec<Arc<RunSession>>>,
    /// Fault that kept the last look from finding out, for the log and for whoever asks if the server is ready.
    fault: Mutex<Option<String>>,
}

impl PublishedRuns {
    pub(crate) fn new(served: ServedWarehouse) -> Self {
        Self {
            served,
            newest: RwLock::new(None),
            earlier: Mutex::default(),
            fault: Mutex::default(),
        }
    }

    /// The newest run that is known.
    ///
    /// Errors with [`ErrorKind::Query`] where there is none yet.
    pub(crate) fn newest(&self) -> Result<Arc<RunSession>> {
        self.known_newest()
            .ok_or_else(|| Error::new(ErrorKind::Query, "nothing has been published yet"))
    }

    pub(crate) fn known_newest(&self) -> Option<Arc<RunSession>> {
        self.newest
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The newest run, if the store could be read when it was last looked at.
    ///
    /// Errors with [`ErrorKind::Storage`] where it could not, and with [`ErrorKind::Query`] where there is no run yet.
    pub(crate) fn readable(&self) -> Result<Arc<RunSession>> {
        let fault = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        match fault.as_ref() {
            Some(text) => Err(Error::new(ErrorKind::Storage, text.as_str())),
            None => self.newest(),
        }
    }

    /// Looks for a new run; true if there is one.
    pub(crate) async fn look(&self) -> Result<bool> {
        let looked = self.look_for_newer().await;
        let fault = looked.as_ref().err().map(ToString::to_string);
        let mut known = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = fault.as_ref().filter(|text| known.as_ref() != Some(*text)) {
            tracing::warn!("the warehouse cannot be looked at: {text}");
        }
        *known = fault;
        looked
    }

    async fn look_for_newer(&self) -> Result<bool> {
        let found = self.served.warehouse.ops().published(&AsOf::Latest).await?;
        let Some(run) = found else {
            return Ok(false);
        };
        if self
            .known_newest()
            .is_some_and(|known| known.run == run.run_id)
        {
            return Ok(false);
        }
        let opened = Arc::new(self.open(&AsOf::Latest).await?);
        tracing::info!(run = %opened.run, "answers are of a new run");
        let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
        *newest = Some(opened);
        Ok(true)
    }

    /// A new session, for questions about what changes without a run: bookkeeping.
    pub(crate) async fn open(&self, at: &AsOf) -> Result<RunSession> {
        let ServedWarehouse {
            warehouse,
            engine,
            project,
            privacy_key,
        } = &self.served;
        let session = engine.open(warehouse, at).await?;
        let session = match at {
            AsOf::Latest => session.expecting(project.expected()),
            AsOf::Run(_) | AsOf::Time(_) => session,
        };
        register_sql(&session, Some(privacy_key));
        let project = Arc::clone(project);
        session.register_notes(move || {
            let mut dictionary = project.dictionary();
            add_rollup_notes(&mut dictionary);
            dictionary
        });
        let run = session
            .run()
            .ok_or_else(|| Error::internal("a session over a warehouse reads no run"))?;
        Ok(RunSession {
            run: run.run_id.clone(),
            finished_at: run.finished_at,
            session,
        })
    }

    /// The run that is asked for: the newest, one by its id, or the newest that had ended by a time.
    pub(crate) async fn at(&self, as_of: Option<&str>) -> Result<Arc<RunSession>> {
        let Some(text) = as_of else {
            return self.newest();
        };
        let at = match parse_instant(text, &TimeZone::UTC) {
            Ok(time) => AsOf::Time(time),
            Err(_) => AsOf::Run(text.to_owned()),
        };
        if let AsOf::Run(run) = &at
            && let Some(known) = self.known(run)
        {
            return Ok(known);
        }
        let found = self.served.warehouse.ops().published(&at).await?;
        if let Some(run) = &found
            && let Some(known) = self.known(&run.run_id)
        {
            return Ok(known);
        }
        let at = found.map_or(at, |run| AsOf::Run(run.run_id));
        let opened = Arc::new(self.open(&at).await?);
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        earlier.truncate(EARLIER - 1);
        earlier.insert(0, Arc::clone(&opened));
        Ok(opened)
    }

    /// A run by its id, where a session over it is open.
    fn known(&self, run: &str) -> Option<Arc<RunSession>> {
        if let Some(newest) = self.known_newest().filter(|newest| newest.run == run) {
            return Some(newest);
        }
        let mut earlier = self.earlier.lock().unwrap_or_else(PoisonError::into_inner);
        let at = earlier.iter().position(|known| known.run == run)?;
        let found = earlier.remove(at);
        earlier.insert(0, Arc::clone(&found));
        Some(found)
    }
}
