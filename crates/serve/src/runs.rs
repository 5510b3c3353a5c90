//! Published runs that questions are asked of: the newest, which is looked for every few seconds, and earlier ones by name.
//!
//! Invariant: a question is asked of one session, and a session reads one run for as long as it lives: whatever is published meanwhile, an answer is of one run from
//! beginning to end. Looking for a new run takes one request of the store where there is none.

use crate::callers::Caller;
use crate::options::ServedWarehouse;
use crate::users::User;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tillhouse_lake::AsOf;
use tillhouse_model::time::parse_instant;
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_query::{MemoryShare, Session};
use tillhouse_statistics::{add_rollup_notes, register_sql};

/// Sessions over earlier runs that are kept.
const EARLIER: usize = 4;
/// Sessions over parts of a run that are kept.
const PARTS: usize = 64;

/// A session over a run, for whoever asks of it.
pub(crate) struct RunSession {
    pub(crate) session: Session,
    pub(crate) run: String,
    pub(crate) finished_at: Timestamp,
    /// Sessions over the parts of the run that users see.
    parts: Mutex<HashMap<String, UserPart>>,
}

/// A user as the part was made for, and the session over that part.
type UserPart = (Arc<User>, Arc<RunSession>);

/// The runs.
pub(crate) struct PublishedRuns {
    served: ServedWarehouse,
    newest: RwLock<Option<Arc<RunSession>>>,
    earlier: Mutex<Vec<Arc<RunSession>>>,
    /// Fault that kept the last look from finding out, for the log and for whoever asks if the server is ready.
    fault: Mutex<Option<String>>,
    /// Memory of users, by name, with its size.
    shares: Mutex<HashMap<String, (usize, MemoryShare)>>,
}

impl PublishedRuns {
    pub(crate) fn new(served: ServedWarehouse) -> Self {
        Self {
            served,
            newest: RwLock::new(None),
            earlier: Mutex::default(),
            fault: Mutex::default(),
            shares: Mutex::default(),
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
            parts: Mutex::default(),
        })
    }

    /// The part of a run that a caller sees, within the memory that the caller may take; the run itself where there are no users.
    pub(crate) fn part(&self, whole: &Arc<RunSession>, caller: &Caller) -> Result<Arc<RunSession>> {
        let Some(user) = &caller.user else {
            return Ok(Arc::clone(whole));
        };
        let lock = || whole.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, part)) = lock().get(&user.name)
            && of == user
        {
            return Ok(Arc::clone(part));
        }
        // A session that was opened for one question sees what the one that is kept sees, and need not work it out anew.
        let newest = self.known_newest().filter(|newest| newest.run == whole.run);
        let session = match newest.filter(|newest| !Arc::ptr_eq(newest, whole)) {
            Some(newest) => whole
                .session
                .scoped_as(&self.part(&newest, caller)?.session),
            None => whole.session.scoped(&user.scope),
        };
        let session = session.within(&self.memory(user))?;
        register_sql(&session, Some(&self.served.privacy_key));
        let part = Arc::new(RunSession {
            session,
            run: whole.run.clone(),
            finished_at: whole.finished_at,
            parts: Mutex::default(),
        });
        let mut parts = lock();
        if parts.len() >= PARTS {
            parts.clear();
        }
        parts.insert(user.name.clone(), (Arc::clone(user), Arc::clone(&part)));
        Ok(part)
    }

    /// A session without tables, within the memory that a caller may take.
    pub(crate) fn empty(&self, caller: &Caller) -> Result<Session> {
        let session = self.served.engine.empty_session()?;
        match &caller.user {
            Some(user) => session.within(&self.memory(user)),
            None => Ok(session),
        }
    }

    /// The memory of a user's queries, over all runs.
    fn memory(&self, user: &Arc<User>) -> MemoryShare {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let share = shares
            .get(&user.name)
            .filter(|(bytes, _)| *bytes == user.memory);
        if let Some((_, share)) = share {
            return share.clone();
        }
        let share = self.served.engine.memory_share(user.memory);
        shares.insert(user.name.clone(), (user.memory, share.clone()));
        share
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
