//! Reads one slice to its end: pages, decoded as they come, proved complete where the source says how much there is.
//!
//! Invariant: a slice is reported complete only if every page of one attempt was read and, where the source declares a total
//! for a window that is over, exactly that many distinct records came. Pages of failed attempts are landed too: landing drops
//! what it knows, and what was seen was true.

use crate::config::{Pipeline, ResourcePlan};
use crate::land::Message;
use crate::observer::{Event, Observer};
use crate::sync::Context;
use arrow::array::Array;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_decode::{Decoded, Decoder, KnownRecords, Reject, Warning};
use tillhouse_extract::{PageStream, Source};
use tillhouse_lake::Incoming;
use tillhouse_model::{Error, ErrorKind, FastSet, ReadBy, Reading, Resource, Result, Slice};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A window must have ended this long ago before its declared total is believed: until then records still arrive.
const SETTLED_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// How often a slice is read again when its count is wrong.
const REREADS: u32 = 3;

/// A decoded page on its way to the lake.
pub(crate) struct Arrived {
    pub(crate) incoming: Incoming,
    pub(crate) rejects: Vec<Reject>,
    pub(crate) warnings: Vec<Warning>,
    pub(crate) unknown: BTreeMap<String, u64>,
    /// Which time the slice's window is about; `None` where records were not asked for by time.
    pub(crate) read_by: Option<ReadBy>,
}

/// What reading a slice came to.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    pub(crate) records: u64,
    pub(crate) rejects: u64,
    pub(crate) declared_total: Option<u64>,
    pub(crate) attempts: u32,
    /// When the first request of the last attempt was sent: the slice is covered up to then.
    pub(crate) read_at: Timestamp,
    /// By which time it was asked for.
    pub(crate) by: ReadBy,
    /// Hashes of the keys of all records that came, rejects included, of a resource that is read whole; `None` where a reject has no
    /// key, and so nobody can tell what is missing.
    pub(crate) keys: Option<FastSet<u128>>,
}

/// The hash of a record key.
pub(crate) fn key_hash(key: &str) -> u128 {
    xxhash_rust::xxh3::xxh3_128(key.as_bytes())
}

/// Reads one resource of one pipeline.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) resource: &'static Resource,
    pub(crate) decoder: Arc<Decoder>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) cancel: CancellationToken,
}

/// One pass over a stream of pages.
struct Attempt {
    distinct: FastSet<u128>,
    nameless: u64,
    records: u64,
    rejects: u64,
    declared_total: Option<u64>,
    started: Option<Timestamp>,
}

/// The decoder of a resource, with what the connection settles.
pub(crate) fn decoder(context: &Context, pipeline: &Pipeline, plan: &ResourcePlan) -> Result<Decoder> {
    let key = Some(context.project.privacy_key.clone());
    Decoder::with(Arc::clone(&plan.spec), key, &pipeline.source.parameters())
}

impl Reader {
    /// The reader of a resource, as every command reads it.
    pub(crate) fn of(context: &Context, pipeline: &Pipeline, plan: &ResourcePlan) -> Result<Self> {
        Ok(Self {
            source: Arc::clone(&pipeline.source),
            resource: plan.resource,
            decoder: Arc::new(decoder(context, pipeline, plan)?),
            observer: Arc::clone(&context.observer),
            cancel: context.cancel.child_token(),
        })
    }

    /// Reads a slice, again if its count is wrong.
    pub(crate) async fn slice(&self, slice: &Slice, by: ReadBy, to: &mpsc::Sender<Message>) -> Result<Read> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let is_own = by == self.resource.read_by;
            let pages = if is_own { self.source.pages(slice) } else { self.source.late_pages(slice) };
            // Where there is no page at all, nothing was asked for later than this.
            let before = Timestamp::now();
            let attempt = self.attempt(pages, None, slice, self.resource.noted(by).0, to).await?;
            let read_at = attempt.started.unwrap_or(before);
            let seen = attempt.distinct.len() as u64 + attempt.nameless;
            let settled = self.resource.declares_total
                && is_own
                && slice.window.to().checked_add(SETTLED_AFTER).is_ok_and(|end| end <= read_at);
            match attempt.declared_total {
                Some(declared) if settled && declared != seen => {
                    if attempts > REREADS {
                        return Err(Error::new(
                            ErrorKind::Data,
                            format!("the source declares {declared} records, but {seen} came, {attempts} times"),
                        )
                        .at("slice", slice.to_string())
                        .hint("Run `tillhouse sync` again later; if it stays so, tell the provider both figures."));
                    }
                    tracing::warn!(%slice, declared, seen, "the count is wrong; reading the slice again");
                }
                declared_total => {
                    return Ok(Read {
                        records: attempt.records,
                        rejects: attempt.rejects,
                        declared_total,
                        attempts,
                        read_at,
                        by,
                        keys: (self.resource.reading == Reading::Whole && attempt.nameless == 0)
                            .then_some(attempt.distinct),
                    });
                }
            }
        }
    }

    /// Reads single records by id. What they leave out is as `known`.
    pub(crate) async fn by_id(
        &self,
        ids: Vec<String>,
        known: Option<Arc<KnownRecords>>,
        slice: &Slice,
        to: &mpsc::Sender<Message>,
    ) -> Result<u64> {
        let pages = self.source.pages_by_id(self.resource.name, ids);
        Ok(self.attempt(pages, known, slice, None, to).await?.records)
    }

    async fn attempt(
        &self,
        mut pages: PageStream,
        known: Option<Arc<KnownRecords>>,
        slice: &Slice,
        read_by: Option<ReadBy>,
        to: &mpsc::Sender<Message>,
    ) -> Result<Attempt> {
        let mut attempt = Attempt {
            distinct: FastSet::default(),
            nameless: 0,
            records: 0,
            rejects: 0,
            declared_total: None,
            started: None,
        };
        loop {
            let page = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(interrupted()),
                page = pages.next() => page,
            };
            let Some(page) = page else { break };
            let page = page.map_err(|e| e.at("slice", slice.to_string()))?;
            attempt.declared_total = page.declared_total.or(attempt.declared_total);
            attempt.started.get_or_insert(page.requested_at);
            let bytes = page.bytes.len() as u64;
            let decoder = Arc::clone(&self.decoder);
            let (records_at, known) = (self.resource.records_at, known.clone());
            let decoded = tokio::task::spawn_blocking(move || {
                let decoded = decoder.decode_onto(&page.bytes, records_at, page.scope.as_deref(), known.as_deref());
                (decoded, page.requested_at)
            });
            let (decoded, requested_at) =
                decoded.await.map_err(|e| Error::internal("decoding a page failed").because(e))?;
            let decoded = decoded.map_err(|e| e.at("slice", slice.to_string()))?;
            attempt.count(&decoded);
            let records = decoded.keys.len() as u64 + decoded.rejects.len() as u64;
            self.observer.on(&Event::Page { records, bytes });
            let Decoded { batch, keys, record_times, updated_at, content_hashes, rejects, warnings, unknown } = decoded;
            let incoming = Incoming { batch, keys, record_times, updated_at, content_hashes, requested_at };
            let arrived = Arrived { incoming, rejects, warnings, unknown, read_by };
            if to.send(Message::Page(Box::new((slice.clone(), arrived)))).await.is_err() {
                // Landing has failed and says why itself.
                return Err(interrupted());
            }
        }
        Ok(attempt)
    }
}

impl Attempt {
    fn count(&mut self, decoded: &Decoded) {
        self.records += decoded.keys.len() as u64;
        self.rejects += decoded.rejects.len() as u64;
        for key in decoded.keys.iter().flatten() {
            self.distinct.insert(key_hash(key));
        }
        for reject in &decoded.rejects {
            match &reject.key {
                Some(key) => {
                    self.distinct.insert(key_hash(key));
                }
                None => self.nameless += 1,
            }
        }
    }
}

pub(crate) fn interrupted() -> Error {
    Error::new(ErrorKind::Interrupted, "interrupted")
        .hint("What was landed stays; the next `tillhouse sync` finishes the work.")
}
