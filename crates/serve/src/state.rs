//! State of the server, which every request sees.
//!
//! Invariant: a request changes nothing here but counters, tokens, and the answers that are kept.

use crate::audit::AuditLog;
use crate::callers::{Caller, Callers};
use crate::kept_answers::KeptAnswers;
use crate::metrics::{Gauges, Metrics};
use crate::openapi;
use crate::options::{ServeOptions, ServedWarehouse};
use crate::runs::{PublishedRuns, RunSession};
use crate::slots::Slots;
use crate::tokens::ClientTokens;
use crate::work::WorkLimits;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tillhouse_model::Result;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time for which somebody who logs in at the dashboard is not asked again.
pub(crate) const SESSION: Duration = Duration::from_secs(12 * 3600);

/// State of the server.
pub(crate) struct ServerState {
    pub(crate) options: ServeOptions,
    pub(crate) served: ServedWarehouse,
    pub(crate) runs: PublishedRuns,
    pub(crate) kept: KeptAnswers,
    pub(crate) slots: Slots,
    pub(crate) callers: Callers,
    pub(crate) tokens: ClientTokens,
    /// Sessions of browsers: tokens that come as a cookie, and are good for nothing but pages.
    pub(crate) sessions: ClientTokens,
    pub(crate) metrics: Metrics,
    pub(crate) audit: AuditLog,
    /// The OpenAPI document.
    pub(crate) document: serde_json::Value,
    /// Cancelled when nothing is waited for any more.
    pub(crate) stop: CancellationToken,
    /// Requests whose answers have not ended.
    pub(crate) in_flight: AtomicUsize,
    pub(crate) connections: AtomicUsize,
}

impl ServerState {
    /// Errors with [`tillhouse_model::ErrorKind::Config`] where the audit log cannot be written or the users cannot be read.
    pub(crate) fn new(served: ServedWarehouse, options: ServeOptions) -> Result<Arc<Self>> {
        let audit = AuditLog::open(options.audit.as_deref())?;
        Ok(Arc::new(Self {
            runs: PublishedRuns::new(served.clone()),
            kept: KeptAnswers::new(options.cache_bytes),
            slots: Slots::new(options.concurrency, options.queue),
            callers: Callers::open(&options)?,
            tokens: ClientTokens::default(),
            sessions: ClientTokens::good_for(SESSION),
            metrics: Metrics::default(),
            audit,
            document: openapi::document(&options),
            stop: CancellationToken::new(),
            in_flight: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            options,
            served,
        }))
    }

    /// Limits of the question of a request that has come now.
    pub(crate) fn limits(&self, caller: &Caller, id: &str) -> WorkLimits {
        let timeout = self.timeout(caller);
        WorkLimits {
            id: id.to_owned(),
            timeout,
            until: Instant::now() + timeout,
            rows: self.options.rows,
            stop: self.stop.clone(),
        }
    }

    /// Time that an answer to a caller may take.
    pub(crate) fn timeout(&self, caller: &Caller) -> Duration {
        let of_user = caller.user.as_ref().map(|user| user.timeout);
        of_user.map_or(self.options.timeout, |own| own.min(self.options.timeout))
    }

    /// Measures that are read where they stand.
    pub(crate) fn gauges(&self) -> Gauges {
        let (kept_answers, kept_bytes) = self.kept.size();
        let newest: Option<Arc<RunSession>> = self.runs.known_newest();
        Gauges {
            taken: self.slots.taken(),
            waiting: self.slots.waiting(),
            connections: self.connections.load(Ordering::Relaxed),
            kept_answers,
            kept_bytes,
            newest_run: newest.map(|newest| newest.finished_at.as_second()),
            is_ready: self.runs.readable().is_ok(),
        }
    }
}
