//! Reads one slice to its end: pages, decoded as they come, proved complete where the source says how much there is.
//!
//! Invariant: a slice is reported complete only if every page of one reading of it was had, and, where the source declares a total, at least
//! as many records came, repeats counted. Whether a listing is whole, and reading it anew where it is not, is the source's stream to say
//! ([`tillhouse_extract::paging`]); here the records are counted once more, as the decoder has them. Pages of readings that were not whole
//! are landed too: landing drops what it knows, and what was seen was true.
//!
//! The first window of all begins a second before `sync.start`: a provider may take a window's start for outside of it, and no other
//! window overlaps that one. A record from that second is landed like any other; it is known when it comes again.

use crate::config::{Pipeline, ResourcePlan};
use crate::context::RunContext;
use crate::message::{PageSink, QueuedPage, SliceReadSummary, interrupted};
use crate::newest_versions::NewestVersions;
use crate::observer::{RunEvent, RunObserver};
use crate::slice_attempt::{RejectPlace, ReportedRemarks, SliceAttempt};
use arrow::array::Array;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tillhouse_decode::{DecodedPage, Decoder, KnownRecords, Reject, Warning};
use tillhouse_extract::{ListingRemark, Page, PageStream, Source};
use tillhouse_lake::{OpsTables, PackagePage};
use tillhouse_model::{Error, ReadBy, ReadMode, Resource, Result, Slice, Window};
use tokio_util::sync::CancellationToken;

/// Lead of the first window before `sync.start`: the resolution of the coarsest API.
const BEFORE_START: SignedDuration = SignedDuration::from_secs(1);

/// Slice as it is asked for.
#[derive(Clone, Copy)]
struct SliceQuestion<'a> {
    slice: &'a Slice,
    /// The time that the answer is about, see [`Source::asks`].
    asked: Window,
    /// Time that the slice's window is about; `None` where records are not asked for by time.
    read_by: Option<ReadBy>,
}

/// Reader of one resource, slice by slice: the only one, whether its pages are landed or compared.
#[derive(Clone)]
pub(crate) struct SliceReader {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) resource: &'static Resource,
    pub(crate) decoder: Arc<Decoder>,
    pub(crate) observer: Arc<dyn RunObserver>,
    pub(crate) cancel: CancellationToken,
    /// Has the clock.
    pub(crate) ops: OpsTables,
    /// From when on the resource is wanted.
    pub(crate) start: Timestamp,
}

/// The decoder of a resource, with what the connection settles.
pub(crate) fn decoder(
    context: &RunContext,
    pipeline: &Pipeline,
    plan: &ResourcePlan,
) -> Result<Decoder> {
    let key = Some(context.project.privacy_key.clone());
    Decoder::with_parameters(Arc::clone(&plan.spec), key, &pipeline.source.parameters())
}

impl SliceReader {
    /// The reader of a resource, as every command reads it.
    pub(crate) fn of(
        context: &RunContext,
        pipeline: &Pipeline,
        plan: &ResourcePlan,
    ) -> Result<Self> {
        Ok(Self {
            source: Arc::clone(&pipeline.source),
            resource: plan.resource,
            decoder: Arc::new(decoder(context, pipeline, plan)?),
            observer: Arc::clone(&context.observer),
            cancel: context.cancel.child_token(),
            ops: context.warehouse.ops(),
            start: plan.sync.start,
        })
    }

    /// Reads a slice.
    pub(crate) async fn read_slice(
        &self,
        slice: &Slice,
        by: ReadBy,
        to: &mut impl PageSink,
    ) -> Result<SliceReadSummary> {
        let is_own = by == self.resource.read_by;
        let pages = if is_own {
            self.source.pages(&widen_first_window(slice, self.start))
        } else {
            self.source.pages_by_change_time(slice)
        };
        // Where there is no page at all, nothing was asked for later than this.
        let before = self.ops.now();
        let (read_by, mut told) = (
            self.resource.recorded_read_by(by).0,
            ReportedRemarks::default(),
        );
        let asked = self.source.asks(&widen_first_window(slice, self.start), by);
        let question = SliceQuestion {
            slice,
            asked,
            read_by,
        };
        let (attempt, attempts) = self.attempt(pages, None, question, to, &mut told).await?;
        let came = attempt.records + attempt.rejects + attempt.repeated_rejects;
        let counts = self.resource.declares_total && is_own;
        if let Some(declared) = attempt
            .declared_total
            .filter(|declared| counts && came < *declared)
        {
            // Its pages told otherwise, or the stream is not of the kit's making.
            let error = Error::protocol(format!(
                "the source declares {declared} records, but {came} came"
            ));
            return Err(error.at("slice", slice.to_string()).hint(
                "Run `tillhouse sync` again later; if it stays so, tell the provider both figures.",
            ));
        }
        if attempt.repeated > 0 {
            tracing::warn!(%slice, records = attempt.repeated, "the source lists records more than once");
        }
        let fingerprint = (self.resource.read_mode == ReadMode::FullRefresh && attempts == 1)
            .then(|| attempt.fingerprint())
            .flatten();
        Ok(SliceReadSummary {
            slice: slice.clone(),
            records: attempt.records,
            rejects: attempt.rejects,
            declared_total: attempt.largest_total,
            attempts,
            read_at: attempt.started.unwrap_or(before),
            by,
            asked,
            keys: (self.resource.read_mode == ReadMode::FullRefresh && attempt.keyless == 0)
                .then_some(attempt.distinct),
            fingerprint,
        })
    }

    /// Reads single records by id. What they leave out is as `known`.
    pub(crate) async fn read_by_id(
        &self,
        ids: Vec<String>,
        known: Option<&NewestVersions<'_>>,
        slice: &Slice,
        to: &mut impl PageSink,
    ) -> Result<u64> {
        let pages = self.source.pages_by_id(self.resource.name, ids);
        let question = SliceQuestion {
            slice,
            asked: slice.window,
            read_by: None,
        };
        let told = &mut ReportedRemarks::default();
        let (attempt, _) = self.attempt(pages, known, question, to, told).await?;
        Ok(attempt.records)
    }

    /// Reads a stream to its end: its last reading of the slice, and how many there were.
    async fn attempt(
        &self,
        mut pages: PageStream,
        newest: Option<&NewestVersions<'_>>,
        question: SliceQuestion<'_>,
        to: &mut impl PageSink,
        told: &mut ReportedRemarks,
    ) -> Result<(SliceAttempt, u32)> {
        let (mut attempt, mut attempts) = (SliceAttempt::default(), 1);
        let slice = question.slice;
        loop {
            let page = tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(interrupted()),
                page = pages.next() => page,
            };
            let Some(page) = page else { break };
            let page = page.map_err(|e| e.at("slice", slice.to_string()))?;
            if page.restarts_listing {
                attempt = SliceAttempt::default();
                attempts += 1;
            }
            attempt.note_declared_total(page.declared_total);
            attempt.enter_scope(page.scope.as_ref());
            let came_again = page.is_reread;
            attempt.started.get_or_insert(page.requested_at);
            let bytes = page.bytes.len() as u64;
            let requested_at = page.requested_at;
            let remarks = self.remarks_on(slice, &page);
            let at = |error: Error| error.at("slice", slice.to_string());
            let CompletedPage {
                page: mut decoded,
                is_unchanged,
            } = self.complete(page, newest).await.map_err(at)?;
            decoded.warnings.extend(remarks);
            attempt.count(&mut decoded, came_again);
            let records = decoded.keys.len() as u64 + decoded.rejects.len() as u64;
            self.observer.on_event(&RunEvent::Page { records, bytes });
            let place = |reject: &Reject| self.place(reject, question);
            let mut rejects =
                attempt.number_rejects(std::mem::take(&mut decoded.rejects), place, came_again);
            told.retain_unreported(&mut decoded, &mut rejects, attempts > 1);
            let mut unchanged = Vec::new();
            if is_unchanged {
                unchanged = decoded.keys.iter().flatten().map(str::to_owned).collect();
                decoded = without_records(decoded);
            }
            let DecodedPage {
                batch,
                keys,
                record_times,
                updated_at,
                content_hashes,
                warnings,
                unknown,
                ..
            } = decoded;
            let incoming = PackagePage {
                batch,
                keys,
                record_times,
                updated_at,
                content_hashes,
                requested_at,
            };
            to.accept(QueuedPage {
                slice: slice.clone(),
                incoming,
                unchanged,
                rejects,
                warnings,
                unknown,
                read_by: question.read_by,
            })
            .await?;
        }
        Ok((attempt, attempts))
    }

    /// Warnings of what a page's reader could not prove about the listing.
    fn remarks_on(&self, slice: &Slice, page: &Page) -> Vec<Warning> {
        let warning = |remark: &ListingRemark| Warning {
            key: String::new(),
            field: format!("{}[]", self.resource.records_at.join(".")),
            rule: remark.rule.to_owned(),
            original: format!("{slice}: {}", remark.words),
            count: 1,
        };
        page.remarks.iter().map(warning).collect()
    }

    /// Decodes a page whose records may leave something out; they are completed by their `newest` versions, which are read only where that may change
    /// something.
    async fn complete(
        &self,
        page: Page,
        newest: Option<&NewestVersions<'_>>,
    ) -> Result<CompletedPage> {
        let whole = |page| CompletedPage {
            page,
            is_unchanged: false,
        };
        let said = self.decode(&page, None).await;
        let Some(newest) = newest else {
            return said.map(whole);
        };
        if let Ok(said) = &said
            && newest.recognize(said).await?
        {
            let mut page = said.clone();
            // They are about a record that is said only in part.
            page.warnings.clear();
            return Ok(CompletedPage {
                page,
                is_unchanged: true,
            });
        }
        let completed = self.decode(&page, Some(newest.rows().await?)).await?;
        if let Ok(said) = &said {
            newest.note(said, &completed);
        }
        Ok(whole(completed))
    }

    async fn decode(&self, page: &Page, known: Option<Arc<KnownRecords>>) -> Result<DecodedPage> {
        let decoder = self.decoder.asked_at(page.requested_at);
        let records_at = self.resource.records_at;
        let (bytes, scope) = (page.bytes.clone(), page.scope.clone());
        let decoded = tokio::task::spawn_blocking(move || {
            decoder.decode_partial(&bytes, records_at, scope.as_deref(), known.as_deref())
        });
        decoded
            .await
            .map_err(|e| Error::internal("decoding a page failed").because(e))?
    }

    /// A reject's own time, and the time in which it lies.
    ///
    /// A time says where else the record would have to come, and only where it lies in what was asked for: otherwise the provider goes by
    /// another one. What was learnt of a record late may have happened at any time.
    fn place(&self, reject: &Reject, question: SliceQuestion<'_>) -> RejectPlace {
        let (window, asked) = (question.slice.window, question.asked);
        let micros = match self.resource.read_by {
            ReadBy::EventTime => reject.record_time,
            ReadBy::ChangeTime => reject.updated_at,
        };
        let is_within =
            |window: Window, time: Timestamp| window.from() <= time && time < window.to();
        let is_own = question.read_by == Some(self.resource.read_by);
        let time = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
        // What has no key is told apart by its time, which then has to be one that it was asked for by.
        let tells = question.read_by.is_some() || reject.key.is_some();
        let time = time.filter(|time| tells && (!is_own || is_within(asked, *time)));
        let within = match time.filter(|_| is_own) {
            Some(time) if is_within(window, time) => window,
            Some(time) => {
                let next = time
                    .checked_add(SignedDuration::from_micros(1))
                    .unwrap_or(Timestamp::MAX);
                Window::new(time, next).unwrap_or(window)
            }
            None => asked,
        };
        RejectPlace { time, within }
    }
}

/// Decoded page, completed where its records may leave something out.
struct CompletedPage {
    page: DecodedPage,
    /// True if its records are known to be in the table as they are.
    is_unchanged: bool,
}

/// A page with what is to be said of it, and no record.
fn without_records(page: DecodedPage) -> DecodedPage {
    DecodedPage {
        batch: page.batch.slice(0, 0),
        keys: page.keys.slice(0, 0),
        record_times: page.record_times.slice(0, 0),
        updated_at: page.updated_at.slice(0, 0),
        content_hashes: page.content_hashes.slice(0, 0),
        ..page
    }
}

/// Slice as it is requested: the very first window begins a little earlier.
fn widen_first_window(slice: &Slice, start: Timestamp) -> Slice {
    let from = slice.window.from();
    let earlier = from
        .checked_sub(BEFORE_START)
        .ok()
        .filter(|_| from == start);
    let wider = earlier.and_then(|earlier| Window::new(earlier, slice.window.to()).ok());
    Slice {
        window: wider.unwrap_or(slice.window),
        ..slice.clone()
    }
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
