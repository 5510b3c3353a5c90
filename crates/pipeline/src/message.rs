//! Messages between the steps of a run: decoded pages from the readers to the package writer, committed packages from there to unify.
//!
//! ```text
//!   SliceReader --LandingMessage--> PackageWriter --LandedPackage--> StreamingUnify
//! ```
//!
//! Invariant: channels are bounded, so that whoever is faster waits. A closed channel means that the other side has failed or was stopped, and
//! says why itself: whoever meets one ends with [`interrupted`].

use jiff::Timestamp;
use std::collections::BTreeMap;
use tillhouse_decode::{Reject, Warning};
use tillhouse_lake::{LandedRows, LandingSummary, PackagePage};
use tillhouse_model::{
    Error, ErrorKind, FastSet, ReadBy, ReadMode, Resource, Result, Slice, Window,
};
use tokio::sync::{mpsc, oneshot};

/// Message to the package writer: a page, the end of a slice, or a flush.
pub(crate) enum LandingMessage {
    Page(Box<QueuedPage>),
    Complete(Box<SliceReadSummary>),
    /// Commit everything that came before, then answer.
    Flush(oneshot::Sender<()>),
}

/// Taker of the decoded pages of one slice after the other: the package writer's channel, or a reconciliation.
///
/// Pages come in the order in which they were read, also those of a reading that proved not to be whole: what was seen was true. A sink
/// may let its reader wait, which then asks for no further page; its error ends the reading.
pub(crate) trait PageSink: Send {
    /// Takes a page.
    fn accept(&mut self, page: QueuedPage) -> impl Future<Output = Result<()>> + Send;
}

impl PageSink for mpsc::Sender<LandingMessage> {
    async fn accept(&mut self, page: QueuedPage) -> Result<()> {
        // Landing has failed and says why itself.
        self.send(LandingMessage::Page(Box::new(page)))
            .await
            .map_err(|_| interrupted())
    }
}

/// Decoded page, queued for the package writer.
pub(crate) struct QueuedPage {
    /// The slice that it was read for.
    pub(crate) slice: Slice,
    pub(crate) incoming: PackagePage,
    /// Keys of records that are known to be in the table as they came, and are not in `incoming`.
    pub(crate) unchanged: Vec<String>,
    pub(crate) rejects: Vec<NumberedReject>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) unknown: BTreeMap<String, u64>,
    /// Time that the slice's window is about; `None` where records were not asked for by time.
    pub(crate) read_by: Option<ReadBy>,
}

impl QueuedPage {
    /// True if its records were asked for one by one, by their ids: it is no listing.
    pub(crate) fn is_by_id(&self, resource: &Resource) -> bool {
        self.read_by.is_none() && resource.read_mode == ReadMode::Incremental
    }
}

/// Reject, with its number among those that look the same.
pub(crate) struct NumberedReject {
    pub(crate) reject: Reject,
    /// Its number among those of this reading that have neither key nor another time and look the same; 1 where it has a key.
    pub(crate) nth: u64,
    /// Its own time, by which its resource is read, where that can be read.
    pub(crate) time: Option<Timestamp>,
    /// The time in which it lies, see [`tillhouse_lake::RejectRow::slice`].
    pub(crate) within: Window,
}

/// Summary of reading one slice to its end.
#[derive(Debug, Clone)]
pub(crate) struct SliceReadSummary {
    pub(crate) slice: Slice,
    pub(crate) records: u64,
    pub(crate) rejects: u64,
    pub(crate) declared_total: Option<u64>,
    pub(crate) attempts: u32,
    /// When the first request of the last attempt was sent: the slice is covered up to then.
    pub(crate) read_at: Timestamp,
    /// By which time it was asked for.
    pub(crate) by: ReadBy,
    /// The time that the answer is about, see [`tillhouse_extract::Source::asks`].
    pub(crate) asked: Window,
    /// Hashes of the keys of all records that came, rejects included, of a resource that is read whole; `None` where a reject has no
    /// key, and so nobody can tell what is missing.
    pub(crate) keys: Option<FastSet<u128>>,
    /// Fingerprint of all records that came, of a resource that is read whole; `None` where it would not tell that the same came again.
    pub(crate) fingerprint: Option<String>,
}

/// Committed package and the rows it wrote.
pub(crate) struct LandedPackage {
    pub(crate) summary: LandingSummary,
    pub(crate) rows: LandedRows,
}

/// The error of a step that was stopped, or whose other side was.
pub(crate) fn interrupted() -> Error {
    Error::new(ErrorKind::Interrupted, "interrupted")
        .hint("What was landed stays; the next `tillhouse sync` goes on from there, or names the command that does.")
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
