//! What every emulated API must be able to do: answer, forget tokens, follow the clock, and be steered by tests.
//!
//! Invariant: whatever a provider serves is part of its truth, and the truth of a resource is what a reader who misses nothing
//! would have read.

use crate::answer::Answer;
use crate::call::Call;
use crate::fault::{Fault, Target};
use crate::shelf::{first_whole_second, last_whole_second};
use axum::http::StatusCode;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use tillhouse_model::{Error, Result};

/// Which records of a source are meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// The resource, by the name that Tillhouse has for it.
    pub resource: String,
    /// One tenant's only: HecOne's mandator, be-mo's account, PACE's partner.
    pub tenant: Option<String>,
    /// Not before this instant, by the time that the API's own window is about.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub to: Option<Timestamp>,
}

impl Selection {
    /// All of a resource.
    pub fn of(resource: impl Into<String>) -> Self {
        Self { resource: resource.into(), ..Self::default() }
    }

    /// Whether an instant, in microseconds since 1970 UTC, is meant; a record without one is, unless there is a window.
    pub(crate) fn holds(&self, micros: Option<i64>) -> bool {
        match micros {
            None => self.from.is_none() && self.to.is_none(),
            Some(micros) => {
                self.from.is_none_or(|from| micros >= from.as_microsecond())
                    && self.to.is_none_or(|to| micros < to.as_microsecond())
            }
        }
    }
}

/// What happens to a record while somebody reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StirKind {
    /// A new one appears where the listing begins.
    Arrive,
    /// One near the beginning changes, its last-change time with it.
    Change,
    /// One at the beginning is no longer there.
    Vanish,
}

/// An order to stir a source's records, within [from, to).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stir {
    /// The resource, by the name that Tillhouse has for it.
    pub resource: String,
    /// One tenant's only.
    #[serde(default)]
    pub tenant: Option<String>,
    /// What happens.
    pub kind: StirKind,
    /// The first instant that is meant, by the time that the API's own window is about.
    pub from: Timestamp,
    /// The first instant that is not.
    pub to: Timestamp,
}

impl Stir {
    /// The first or the last whole second that is meant, Unix seconds; `None` where there is none.
    pub(crate) fn second(&self, earliest: bool) -> Option<i64> {
        let (from, to) = (self.from.as_microsecond(), self.to.as_microsecond());
        let (first, last) = (first_whole_second(from), last_whole_second(to));
        (first <= last).then_some(if earliest { first } else { last })
    }

    /// Which records may be hit.
    pub(crate) fn selection(&self) -> Selection {
        Selection {
            resource: self.resource.clone(),
            tenant: self.tenant.clone(),
            from: Some(self.from),
            to: Some(self.to),
        }
    }
}

/// One emulated API. Everything but the tokens is a function of the seed, the clock and what was changed by hand.
///
/// A provider makes up its data on first use: one that is never asked costs nothing.
pub(crate) trait Emulated: Debug + Send + Sync {
    /// What a fault may take a request for.
    fn target(&self, call: &Call<'_>) -> Target;

    /// Answers, with the fault that concerns the content if there is one.
    fn answer(&self, call: &Call<'_>, fault: Option<&Fault>) -> Answer;

    /// An error as this provider words it, for the faults that answer in its place.
    fn error(&self, status: StatusCode, code: &str, message: &str) -> Answer {
        Answer::error(status, code, message)
    }

    /// Makes every access token worthless, and the refresh tokens too if asked.
    fn revoke(&self, refresh_too: bool);

    /// Moves on to `now`, which is never before the clock that was. Must be cheap while nothing was asked yet.
    fn set_clock(&self, now: Timestamp) -> Result<()>;

    /// The records known at the clock, each exactly as served, in the order of the API's listing. Errors with
    /// [`tillhouse_model::ErrorKind::Config`] for a resource or tenant that it does not have.
    fn truth(&self, selection: &Selection) -> Result<Vec<Bytes>>;

    /// Makes something happen to a record; gives its id, or `None` where nothing fits.
    fn stir(&self, order: &Stir) -> Result<Option<String>>;

    /// Inserts a record exactly as written, or replaces the one with its id; gives the id.
    fn put(&self, resource: &str, tenant: Option<&str>, json: &str) -> Result<String>;

    /// Cuts pages to `largest` records from now on; at least one.
    fn cap_pages(&self, largest: u32);
}

/// The error for a resource that a source does not have.
pub(crate) fn no_resource(name: &str) -> Error {
    Error::config(format!("there is no resource {name:?} here"))
}

/// The error for a tenant that a source does not have.
pub(crate) fn no_tenant(name: &str) -> Error {
    Error::config(format!("there is no tenant {name:?} here"))
}
