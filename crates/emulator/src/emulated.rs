//! Interface of every emulated API: it answers, forgets tokens, follows the clock, and is controlled
//! by tests.
//!
//! Invariant: whatever a provider serves is part of its truth, and the truth of a resource is what a reader who misses nothing
//! would have read.

use crate::answer::EmulatedResponse;
use crate::call::EmulatedRequest;
use crate::fault::{EmulatedFault, FaultKind, FaultTarget};
use axum::http::StatusCode;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use tillhouse_model::{Error, Result};

/// Resource, tenant and time range of the records that are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordSelection {
    /// The resource, by the name that Tillhouse has for it.
    pub resource: String,
    /// One tenant's only: HecOne's mandator, be-mo's account, PACE's partner.
    pub tenant: Option<String>,
    /// Not before this instant, by the time that the API's own window is about.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub to: Option<Timestamp>,
}

impl RecordSelection {
    /// All of a resource.
    pub fn of(resource: impl Into<String>) -> Self {
        Self {
            resource: resource.into(),
            ..Self::default()
        }
    }

    /// True if an instant, in microseconds since 1970 UTC, is meant; a record without one is,
    /// unless there is a window.
    pub fn holds(&self, micros: Option<i64>) -> bool {
        match micros {
            None => self.from.is_none() && self.to.is_none(),
            Some(micros) => {
                self.from.is_none_or(|from| micros >= from.as_microsecond())
                    && self.to.is_none_or(|to| micros < to.as_microsecond())
            }
        }
    }
}

/// Change of a record while somebody reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordMutationKind {
    /// A new one appears where the listing begins.
    Arrive,
    /// One near the beginning changes, its last-change time with it.
    Change,
    /// One at the beginning is no longer there.
    Vanish,
}

impl RecordMutationKind {
    /// The kind's name, as the control protocol writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arrive => "arrive",
            Self::Change => "change",
            Self::Vanish => "vanish",
        }
    }
}

/// Mutation of a source's records, within [from, to).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordMutation {
    /// The resource, by the name that Tillhouse has for it.
    pub resource: String,
    /// One tenant's only.
    #[serde(default)]
    pub tenant: Option<String>,
    /// Kind of change.
    pub kind: RecordMutationKind,
    /// The first instant that is meant, by the time that the API's own window is about.
    pub from: Timestamp,
    /// The first instant that is not.
    pub to: Timestamp,
}

impl RecordMutation {
    /// The first or the last whole second that is meant, Unix seconds; `None` where there is none.
    pub fn second(&self, earliest: bool) -> Option<i64> {
        let (from, to) = (self.from.as_microsecond(), self.to.as_microsecond());
        let (first, last) = (first_whole_second(from), last_whole_second(to));
        (first <= last).then_some(if earliest { first } else { last })
    }

    /// Records that may be hit.
    pub fn selection(&self) -> RecordSelection {
        RecordSelection {
            resource: self.resource.clone(),
            tenant: self.tenant.clone(),
            from: Some(self.from),
            to: Some(self.to),
        }
    }
}

/// The first whole second at or after an instant in microseconds.
pub fn first_whole_second(micros: i64) -> i64 {
    -(-micros).div_euclid(1_000_000)
}

/// The last whole second before an instant in microseconds.
pub fn last_whole_second(micros: i64) -> i64 {
    (micros - 1).div_euclid(1_000_000)
}

/// One emulated API. Everything but the tokens is a function of what it was made from, the clock and what was changed by hand.
///
/// A provider makes up its data on first use: one that is never asked costs nothing.
///
/// ```
/// use std::sync::Mutex;
/// use tillhouse_emulator::{
///     EmulatedApi, EmulatedFault, EmulatedRequest, EmulatedResponse, FaultKind, FaultTarget, RecordMutation,
///     RecordMutationKind, RecordSelection,
/// };
/// use tillhouse_model::Result;
///
/// /// Numbered tickets, oldest first: `GET /counter/tickets`.
/// #[derive(Debug)]
/// struct Counter(Mutex<Vec<u64>>);
///
/// impl EmulatedApi for Counter {
///     fn target(&self, call: &EmulatedRequest<'_>) -> FaultTarget {
///         if call.path == "/tickets" { FaultTarget::List } else { FaultTarget::Other }
///     }
///
///     fn answer(&self, call: &EmulatedRequest<'_>, fault: Option<&EmulatedFault>) -> EmulatedResponse {
///         let tickets = self.0.lock().unwrap();
///         let is_lie = fault.is_some_and(|fault| fault.kind == FaultKind::LieTotal);
///         match call.path {
///             "/tickets" => EmulatedResponse::of(&(tickets.len() + usize::from(is_lie), &*tickets)),
///             _ => EmulatedResponse::not_found(),
///         }
///     }
///
///     fn revoke(&self, _: bool) {}
///
///     fn truth(&self, _: &RecordSelection) -> Result<Vec<bytes::Bytes>> {
///         Ok(self.0.lock().unwrap().iter().map(|ticket| ticket.to_string().into()).collect())
///     }
///
///     fn mutate(&self, order: &RecordMutation) -> Result<Option<String>> {
///         let mut tickets = self.0.lock().unwrap();
///         match order.kind {
///             RecordMutationKind::Arrive => tickets.insert(0, 9),
///             RecordMutationKind::Change => return Ok(None),
///             RecordMutationKind::Vanish => drop(tickets.remove(0)),
///         }
///         Ok(tickets.first().map(u64::to_string))
///     }
///
///     fn cap_pages(&self, _: u32) {}
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let counter = Counter(Mutex::new(vec![1, 2]));
/// let emulator = tillhouse_emulator::Emulator::start("counter", counter, "2026-01-01T00:00:00Z".parse().unwrap()).await.unwrap();
/// assert!(emulator.url().starts_with("http://127.0.0.1:"));
/// # });
/// ```
pub trait EmulatedApi: Debug + Send + Sync + 'static {
    /// Fault target of a request.
    fn target(&self, call: &EmulatedRequest<'_>) -> FaultTarget;

    /// True if this request has what a fault of a kind is about, as links or totals. Otherwise no
    /// such fault meets it.
    fn is_open_to(&self, call: &EmulatedRequest<'_>, kind: FaultKind) -> bool {
        let _ = (call, kind);
        true
    }

    /// Answers, with the fault that concerns the content if there is one.
    fn answer(&self, call: &EmulatedRequest<'_>, fault: Option<&EmulatedFault>)
    -> EmulatedResponse;

    /// An error as this provider words it, for the faults that answer in its place.
    fn error(&self, status: StatusCode, code: &str, message: &str) -> EmulatedResponse {
        EmulatedResponse::error(status, code, message)
    }

    /// The path under which the log counts a request, prefix included, where an id in it is neither a number nor a UUID.
    fn route(&self, call: &EmulatedRequest<'_>) -> Option<String> {
        let _ = call;
        None
    }

    /// Makes every access token worthless, and the refresh tokens too if asked.
    fn revoke(&self, refresh_too: bool);

    /// Moves on to `now`, which is never before the clock that was. Must be cheap while nothing was asked yet. By default the clock
    /// stands still: an error of kind [`tillhouse_model::ErrorKind::Config`].
    fn set_clock(&self, now: Timestamp) -> Result<()> {
        Err(Error::config(format!(
            "this API's clock stands still, and {now} is not its now"
        )))
    }

    /// The records known at the clock, each exactly as served, in the order of the API's listing. Errors with
    /// [`tillhouse_model::ErrorKind::Config`] for a resource or tenant that it does not have.
    fn truth(&self, selection: &RecordSelection) -> Result<Vec<Bytes>>;

    /// Makes something happen to a record; gives its id, or `None` where nothing fits.
    fn mutate(&self, order: &RecordMutation) -> Result<Option<String>>;

    /// Inserts a record exactly as written, or replaces the one with its id; gives the id. By default nothing can be put in.
    fn put(&self, resource: &str, tenant: Option<&str>, json: &str) -> Result<String> {
        let _ = (tenant, json);
        Err(Error::config(format!(
            "nothing can be put into {resource:?} here"
        )))
    }

    /// Cuts pages to `largest` records from now on; at least one.
    fn cap_pages(&self, largest: u32);
}

/// The error for a resource that a source does not have.
pub fn no_resource(name: &str) -> Error {
    Error::config(format!("there is no resource {name:?} here"))
}

/// The error for a tenant that a source does not have.
pub fn no_tenant(name: &str) -> Error {
    Error::config(format!("there is no tenant {name:?} here"))
}
