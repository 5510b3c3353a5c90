//! Line of the audit log of each statement, as every request of HTTP has one, and of each login that was refused.
//!
//! Invariant: a line a statement, written when its answer has ended, failed, or its client has left; it holds no text of the statement and no value of a parameter. The line of
//! a refused login names nobody: what was said in the place of a name may be a password.

use super::fault::{Fault, Stop};
use crate::audit::{AuditLine, without_texts};
use crate::observe::new_id;
use crate::state::ServerState;
use jiff::Timestamp;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Name of the endpoint.
const ENDPOINT: &str = "postgres";
/// Status of a login that was refused.
const REFUSED: u16 = 401;
/// Status of a statement whose client left before it was answered.
const CLIENT_LEFT: u16 = 499;

/// A statement that is being answered; its line is written when this is dropped.
pub(super) struct ObservedStatement {
    state: Arc<ServerState>,
    line: AuditLine,
    began: Instant,
    /// Bytes of the connection before it.
    written: u64,
}

impl ObservedStatement {
    pub(super) fn new(
        state: &Arc<ServerState>,
        (user, peer): (Option<&str>, SocketAddr),
        (method, sql): (&str, &str),
        written: u64,
    ) -> Self {
        state.in_flight.fetch_add(1, Ordering::Relaxed);
        Self {
            state: Arc::clone(state),
            line: AuditLine {
                at: Timestamp::now(),
                id: new_id(),
                who: user.map(str::to_owned),
                from: peer.ip().to_string(),
                method: method.to_owned(),
                endpoint: ENDPOINT.to_owned(),
                asked: (!sql.is_empty()).then(|| format!("sql {}", without_texts(sql))),
                run: None,
                status: CLIENT_LEFT,
                rows: 0,
                bytes: 0,
                milliseconds: 0,
                is_whole: false,
            },
            began: Instant::now(),
            written,
        }
    }

    /// Its id.
    pub(super) fn id(&self) -> &str {
        &self.line.id
    }

    /// Says how it ended.
    pub(super) fn finish(mut self, run: Option<String>, outcome: Result<u64, &Stop>, written: u64) {
        let line = &mut self.line;
        line.run = run;
        line.bytes = written.saturating_sub(self.written);
        match outcome {
            Ok(rows) => {
                line.status = 200;
                line.rows = rows;
                line.is_whole = true;
            }
            Err(Stop::Fault(fault)) => line.status = fault.status(),
            Err(Stop::Ended(_)) => {}
        }
    }
}

/// Writes the line of a login that was refused; none for bytes that are no login.
pub(super) fn observe_refusal(state: &Arc<ServerState>, peer: SocketAddr, fault: &Fault) {
    if fault.status() == REFUSED {
        let observed = ObservedStatement::new(state, (None, peer), ("LOGIN", ""), 0);
        observed.finish(None, Err(&Stop::Fault(fault.clone())), 0);
    }
}

impl Drop for ObservedStatement {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        self.line.milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let (status, bytes) = (self.line.status, self.line.bytes);
        self.state.metrics.count(ENDPOINT, status, took, bytes);
        self.state.audit.write(&self.line);
        self.state.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
