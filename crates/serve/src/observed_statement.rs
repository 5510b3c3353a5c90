//! Line of the audit log of each statement of a database protocol, as every request of HTTP has one, and of each login that was refused.
//!
//! Invariant: a line a statement, written when its answer has ended, failed, or its client has left; it holds no text of the statement and no value of a parameter. The line of
//! a refused login names nobody: what was said in the place of a name may be a password.

use crate::audit::{AuditLine, without_texts};
use crate::observe::new_id;
use crate::state::ServerState;
use jiff::Timestamp;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Status of a login that was refused.
const REFUSED: u16 = 401;
/// Status of a statement whose client left before it was answered.
pub(crate) const CLIENT_LEFT: u16 = 499;

/// Status of a statement that was answered.
const ANSWERED: u16 = 200;

/// A statement that is being answered; its line is written when this is dropped.
pub(crate) struct ObservedStatement {
    state: Arc<ServerState>,
    endpoint: &'static str,
    line: AuditLine,
    began: Instant,
}

impl ObservedStatement {
    pub(crate) fn new(
        state: &Arc<ServerState>,
        endpoint: &'static str,
        (user, peer): (Option<&str>, SocketAddr),
        (method, sql): (&str, &str),
    ) -> Self {
        state.in_flight.fetch_add(1, Ordering::Relaxed);
        Self {
            state: Arc::clone(state),
            endpoint,
            line: AuditLine {
                at: Timestamp::now(),
                id: new_id(),
                who: user.map(str::to_owned),
                from: peer.ip().to_string(),
                method: method.to_owned(),
                endpoint: endpoint.to_owned(),
                asked: (!sql.is_empty()).then(|| format!("sql {}", without_texts(sql))),
                run: None,
                status: CLIENT_LEFT,
                rows: 0,
                bytes: 0,
                milliseconds: 0,
                is_whole: false,
            },
            began: Instant::now(),
        }
    }

    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.line.id
    }

    /// Says of which run it is.
    pub(crate) fn of_run(&mut self, run: Option<String>) {
        self.line.run = run;
    }

    /// Says how it ended: its status as HTTP would have it, its rows and its bytes.
    pub(crate) fn finish(mut self, status: u16, rows: u64, bytes: u64) {
        let line = &mut self.line;
        line.status = status;
        line.rows = rows;
        line.bytes = bytes;
        line.is_whole = status == ANSWERED;
    }

    /// Says what has been sent of an answer that goes on.
    pub(crate) fn sent(&mut self, rows: u64, bytes: u64) {
        self.line.rows = rows;
        self.line.bytes = bytes;
    }
}

/// Writes the line of a login that was refused; none for what is no login.
pub(crate) fn observe_refusal(
    state: &Arc<ServerState>,
    endpoint: &'static str,
    peer: SocketAddr,
    status: u16,
) {
    if status == REFUSED {
        let observed = ObservedStatement::new(state, endpoint, (None, peer), ("LOGIN", ""));
        observed.finish(status, 0, 0);
    }
}

impl Drop for ObservedStatement {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        self.line.milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let (status, bytes) = (self.line.status, self.line.bytes);
        let endpoint = self.endpoint;
        self.state.metrics.count(endpoint, status, took, bytes);
        self.state.audit.write(&self.line);
        self.state.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
