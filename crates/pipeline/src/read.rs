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
use crate::message::{LandingMessage, NumberedReject, QueuedPage, SliceReadSummary, interrupted};
use crate::observer::{RunEvent, RunObserver};
use arrow::array::Array;
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::Arc;
use tillhouse_decode::{DecodedPage, Decoder, KnownRecords, Reject, Warning};
use tillhouse_extract::{PageStream, Source};
use tillhouse_lake::{OpsTables, PackagePage};
use tillhouse_model::{Error, FastMap, FastSet, ReadBy, ReadMode, Resource, Result, Slice, Window};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How much earlier than `sync.start` the first window begins: the resolution of the coarsest API.
const BEFORE_START: SignedDuration = SignedDuration::from_secs(1);
/// The rule of the warning about a record that is listed more than once.
const LISTED_TWICE: &str = "listed_twice";
/// How many of them are told of a slice.
const TWICE_TOLD: usize = 1_000;
/// Of how many rejects and warnings of a slice it is remembered that they were told.
const REMEMBERED: usize = 1 << 16;

/// The hash of a record key.
pub(crate) fn key_hash(key: &str) -> u128 {
    xxhash_rust::xxh3::xxh3_128(key.as_bytes())
}

/// Reader of one resource, slice by slice.
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

/// State of one attempt to read a slice.
#[derive(Default)]
struct SliceAttempt {
    distinct: FastSet<u128>,
    /// Of those, what the list at hand had: a parent's list is one of its own.
    listed: FastSet<u128>,
    scope: Option<Arc<str>>,
    keyless: u64,
    /// How many rejects without a key look the same, by a hash of how they look.
    alike: FastMap<u128, u64>,
    records: u64,
    rejects: u64,
    /// Hashes of the rejects, by which one is known that comes again in a page that was asked for again.
    rejected: FastSet<u64>,
    /// Records that came before in the same page, or in another while the total stood still.
    repeated: usize,
    /// The last total that a page declared, and the largest.
    declared_total: Option<u64>,
    largest_total: Option<u64>,
    total_moved: bool,
    started: Option<Timestamp>,
}

/// Remarks that earlier attempts at a slice have reported, so that another attempt reports
/// nothing twice.
#[derive(Default)]
struct ReportedRemarks {
    hasher: std::hash::RandomState,
    remarks: HashSet<u64>,
    fields: HashSet<String>,
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
        to: &mpsc::Sender<LandingMessage>,
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
        let (attempt, attempts) = self
            .attempt(pages, None, (slice, asked), read_by, to, &mut told)
            .await?;
        let came = attempt.records + attempt.rejects;
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
        Ok(SliceReadSummary {
            records: attempt.records,
            rejects: attempt.rejects,
            declared_total: attempt.largest_total,
            attempts,
            read_at: attempt.started.unwrap_or(before),
            by,
            asked,
            keys: (self.resource.read_mode == ReadMode::FullRefresh && attempt.keyless == 0)
                .then_some(attempt.distinct),
        })
    }

    /// Reads single records by id. What they leave out is as `known`.
    pub(crate) async fn read_by_id(
        &self,
        ids: Vec<String>,
        known: Option<Arc<KnownRecords>>,
        slice: &Slice,
        to: &mpsc::Sender<LandingMessage>,
    ) -> Result<u64> {
        let pages = self.source.pages_by_id(self.resource.name, ids);
        Ok(self
            .attempt(
                pages,
                known,
                (slice, slice.window),
                None,
                to,
                &mut ReportedRemarks::default(),
            )
            .await?
            .0
            .records)
    }

    /// Reads a stream to its end: its last reading of the slice, and how many there were.
    async fn attempt(
        &self,
        mut pages: PageStream,
        known: Option<Arc<KnownRecords>>,
        (slice, asked): (&Slice, Window),
        read_by: Option<ReadBy>,
        to: &mpsc::Sender<LandingMessage>,
        told: &mut ReportedRemarks,
    ) -> Result<(SliceAttempt, u32)> {
        let (mut attempt, mut attempts) = (SliceAttempt::default(), 1);
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
            let decoder = Arc::clone(&self.decoder);
            let (records_at, known) = (self.resource.records_at, known.clone());
            let decoded = tokio::task::spawn_blocking(move || {
                let decoded = decoder.decode_partial(
                    &page.bytes,
                    records_at,
                    page.scope.as_deref(),
                    known.as_deref(),
                );
                (decoded, page.requested_at)
            });
            let (decoded, requested_at) = decoded
                .await
                .map_err(|e| Error::internal("decoding a page failed").because(e))?;
            let mut decoded = decoded.map_err(|e| e.at("slice", slice.to_string()))?;
            attempt.count(&mut decoded, came_again);
            let records = decoded.keys.len() as u64 + decoded.rejects.len() as u64;
            self.observer.on_event(&RunEvent::Page { records, bytes });
            let place = |reject: &Reject| self.place(reject, slice.window, asked, read_by);
            let mut rejects =
                attempt.number_rejects(std::mem::take(&mut decoded.rejects), place, came_again);
            told.retain_unreported(&mut decoded, &mut rejects, attempts > 1);
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
            let arrived = QueuedPage {
                incoming,
                rejects,
                warnings,
                unknown,
                read_by,
            };
            if to
                .send(LandingMessage::Page(Box::new((slice.clone(), arrived))))
                .await
                .is_err()
            {
                // Landing has failed and says why itself.
                return Err(interrupted());
            }
        }
        Ok((attempt, attempts))
    }

    /// A reject's own time, and the time in which it lies.
    ///
    /// A time says where else the record would have to come, and only where it lies in what was asked for: otherwise the provider goes by
    /// another one. What was learnt of a record late may have happened at any time.
    fn place(
        &self,
        reject: &Reject,
        window: Window,
        asked: Window,
        read_by: Option<ReadBy>,
    ) -> (Option<Timestamp>, Window) {
        if reject.key.is_some() {
            return (None, window);
        }
        let micros = match self.resource.read_by {
            ReadBy::EventTime => reject.record_time,
            ReadBy::ChangeTime => reject.updated_at,
        };
        let is_within =
            |window: Window, time: Timestamp| window.from() <= time && time < window.to();
        let is_own = read_by == Some(self.resource.read_by);
        let time = micros.and_then(|micros| Timestamp::from_microsecond(micros).ok());
        let time = time.filter(|time| read_by.is_some() && (!is_own || is_within(asked, *time)));
        let lies = match time.filter(|_| is_own) {
            Some(time) if is_within(window, time) => window,
            Some(time) => {
                let next = time
                    .checked_add(SignedDuration::from_micros(1))
                    .unwrap_or(Timestamp::MAX);
                Window::new(time, next).unwrap_or(window)
            }
            None => asked,
        };
        (time, lies)
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

impl SliceAttempt {
    /// Takes a page's total. One that moves says that records do, and may come again for that.
    fn note_declared_total(&mut self, total: Option<u64>) {
        self.total_moved |= self.records + self.rejects > 0 && total != self.declared_total;
        self.declared_total = total.or(self.declared_total);
        self.largest_total = self.largest_total.max(total);
    }

    /// A page of another scope begins another list, whose ids may be the same.
    fn enter_scope(&mut self, scope: Option<&Arc<str>>) {
        if self.scope.as_ref() != scope {
            self.scope = scope.cloned();
            self.listed.clear();
        }
    }

    /// Numbers rejects without a key that look the same, so that each stays one of its own. Those that came before are left out of a page
    /// that was asked for `again`.
    fn number_rejects(
        &mut self,
        rejects: Vec<Reject>,
        place: impl Fn(&Reject) -> (Option<Timestamp>, Window),
        again: bool,
    ) -> Vec<NumberedReject> {
        let mut in_page: FastMap<u128, u64> = FastMap::default();
        let number = |reject: Reject| {
            let (time, within) = place(&reject);
            if reject.key.is_some() {
                return Some(NumberedReject {
                    reject,
                    nth: 1,
                    time,
                    within,
                });
            }
            let micros = time.map(Timestamp::as_microsecond);
            let looks = key_hash(&format!(
                "{}\0{}\0{}\0{micros:?}",
                reject.field, reject.reason, reject.redacted
            ));
            let (known, came) = (
                self.alike.entry(looks).or_default(),
                in_page.entry(looks).or_default(),
            );
            *came += 1;
            let nth = if again { *came } else { *known + 1 };
            let is_new = nth > *known;
            *known = nth.max(*known);
            is_new.then_some(NumberedReject {
                reject,
                nth,
                time,
                within,
            })
        };
        rejects.into_iter().filter_map(number).collect()
    }

    /// Counts a page's records; one that is listed more than once gets a warning, unless it came again because the page was asked for
    /// `again`, or the total says that records moved.
    fn count(&mut self, decoded: &mut DecodedPage, again: bool) {
        self.records += decoded.keys.len() as u64;
        let is_told = !again && !self.total_moved;
        let mut page = FastSet::default();
        for key in decoded.keys.iter().flatten() {
            let hash = key_hash(key);
            self.distinct.insert(hash);
            let is_new = self.listed.insert(hash);
            if page.insert(hash) && (is_new || !is_told) {
                continue;
            }
            self.repeated += 1;
            if self.repeated <= TWICE_TOLD {
                decoded.warnings.push(Warning {
                    key: key.to_owned(),
                    field: String::new(),
                    rule: LISTED_TWICE.to_owned(),
                    original: String::new(),
                    count: 1,
                });
            }
        }
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        for Reject {
            key,
            field,
            reason,
            redacted,
            ..
        } in &decoded.rejects
        {
            // Records that are alike as far as they may be shown are two in one page, and one in a page that came again.
            let is_new = self
                .rejected
                .insert(hasher.hash_one((key, field, reason, redacted)));
            if again && !is_new {
                continue;
            }
            self.rejects += 1;
            match key {
                Some(key) => {
                    self.distinct.insert(key_hash(key));
                }
                None => self.keyless += 1,
            }
        }
    }
}

impl ReportedRemarks {
    /// Leaves out of a page of a reading `again` what an earlier one has told.
    fn retain_unreported(
        &mut self,
        decoded: &mut DecodedPage,
        rejects: &mut Vec<NumberedReject>,
        again: bool,
    ) {
        let DecodedPage {
            warnings, unknown, ..
        } = decoded;
        rejects.retain(
            |NumberedReject {
                 reject: r,
                 nth,
                 time,
                 ..
             }| {
                let looks = r.key.as_ref().ok_or((&r.redacted, nth, time));
                self.is_news(("reject", looks, &r.field, &r.reason)) || !again
            },
        );
        warnings.retain(|w| {
            self.is_news(("warning", &w.key, &w.field, &w.rule, &w.original)) || !again
        });
        unknown.retain(|field, _| self.fields.insert(field.clone()) || !again);
    }

    fn is_news(&mut self, remark: impl Hash) -> bool {
        let hash = self.hasher.hash_one(remark);
        if self.remarks.len() < REMEMBERED {
            self.remarks.insert(hash)
        } else {
            !self.remarks.contains(&hash)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{FixedSizeBinaryArray, StringArray, TimestampMicrosecondArray};
    use arrow::datatypes::Schema;
    use arrow::record_batch::RecordBatch;

    fn page(keys: &[&str]) -> DecodedPage {
        let rows = keys.len();
        DecodedPage {
            batch: RecordBatch::new_empty(Arc::new(Schema::empty())),
            keys: StringArray::from(keys.to_vec()),
            record_times: TimestampMicrosecondArray::new_null(rows),
            updated_at: TimestampMicrosecondArray::new_null(rows),
            content_hashes: FixedSizeBinaryArray::new_null(17, rows),
            rejects: Vec::new(),
            warnings: Vec::new(),
            unknown: BTreeMap::new(),
        }
    }

    /// The warnings about records listed twice, for pages with their totals; a total of `None` with `true` is of a page asked for again.
    fn warned(pages: &[(&[&str], Option<u64>, bool)]) -> Vec<String> {
        let (mut attempt, mut warned) = (SliceAttempt::default(), Vec::new());
        for (keys, total, again) in pages {
            let mut page = page(keys);
            attempt.note_declared_total(*total);
            attempt.count(&mut page, *again);
            assert!(
                page.warnings
                    .iter()
                    .all(|warning| warning.rule == LISTED_TWICE)
            );
            warned.extend(page.warnings.into_iter().map(|warning| warning.key));
        }
        assert_eq!(attempt.repeated, warned.len());
        assert_eq!(
            attempt.records,
            pages
                .iter()
                .map(|(keys, ..)| keys.len() as u64)
                .sum::<u64>()
        );
        warned
    }

    #[test]
    fn an_id_that_is_listed_twice_counts_twice_and_has_a_warning() {
        assert_eq!(warned(&[(&["a", "b", "b", "c"], Some(4), false)]), ["b"]);
        assert_eq!(
            warned(&[(&["a", "b"], Some(4), false), (&["b", "c"], Some(4), false)]),
            ["b"]
        );
        assert_eq!(
            warned(&[(&["a", "a"], None, false), (&["b"], None, false)]),
            ["a"]
        );
        assert_eq!(
            warned(&[(&["a", "b"], None, false), (&["b", "c"], None, false)]),
            ["b"]
        );
        // Records that move may come again, and so do those of a page that is asked for again.
        assert!(warned(&[(&["a", "b"], Some(4), false), (&["b", "c"], Some(5), false)]).is_empty());
        assert!(warned(&[(&["a", "b"], None, false), (&["a", "b", "c"], None, true)]).is_empty());
    }

    #[test]
    fn every_parents_list_is_one_of_its_own() {
        let mut attempt = SliceAttempt::default();
        for scope in ["7", "8"] {
            attempt.enter_scope(Some(&scope.into()));
            attempt.count(&mut page(&["a", "b"]), false);
        }
        assert_eq!((attempt.repeated, attempt.distinct.len()), (0, 2));
        attempt.enter_scope(Some(&"8".into()));
        attempt.count(&mut page(&["b"]), false);
        assert_eq!(attempt.repeated, 1);
    }

    #[test]
    fn the_first_window_begins_a_little_earlier() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let slice = |from: &str| Slice {
            resource: "sales".into(),
            tenant: None,
            window: Window::new(at(from), at("2026-01-03T00:00:00Z")).unwrap(),
        };
        let start = at("2026-01-01T00:00:00Z");
        let first = widen_first_window(&slice("2026-01-01T00:00:00Z"), start);
        assert_eq!(
            (first.window.from(), first.window.to()),
            (at("2025-12-31T23:59:59Z"), at("2026-01-03T00:00:00Z"))
        );
        let second = slice("2026-01-02T00:00:00Z");
        assert_eq!(widen_first_window(&second, start), second);
    }

    #[test]
    fn totals_that_move_are_noticed() {
        let mut attempt = SliceAttempt::default();
        attempt.note_declared_total(Some(4));
        attempt.records = 2;
        attempt.note_declared_total(Some(4));
        assert!(!attempt.total_moved);
        attempt.note_declared_total(Some(5));
        assert_eq!(
            (attempt.total_moved, attempt.declared_total),
            (true, Some(5))
        );
        attempt.note_declared_total(Some(3));
        attempt.note_declared_total(None);
        assert_eq!(
            (attempt.declared_total, attempt.largest_total),
            (Some(3), Some(5))
        );
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        let mut told = ReportedRemarks::default();
        assert!(told.is_news(("reject", "a")));
        assert!(!told.is_news(("reject", "a")));
        assert!(told.is_news(("warning", "a")));
        assert!(
            told.fields.insert("payments[].foo".into())
                && !told.fields.insert("payments[].foo".into())
        );
    }

    #[test]
    fn rejects_without_a_key_are_told_apart_by_their_number_and_told_once() {
        let reject = |key: Option<&str>, reason: &str| Reject {
            key: key.map(str::to_owned),
            field: String::new(),
            reason: reason.to_owned(),
            redacted: String::new(),
            record_time: None,
            updated_at: None,
        };
        let ever = Window::new(Timestamp::MIN, Timestamp::MAX).unwrap();
        let page = || {
            [
                (None, "null"),
                (None, "null"),
                (None, "number"),
                (Some("a"), "null"),
                (None, "null"),
            ]
        };
        let numbered = |attempt: &mut SliceAttempt, again| {
            attempt.number_rejects(
                page().map(|(key, why)| reject(key, why)).into(),
                |_| (None, ever),
                again,
            )
        };
        let numbers = |rejects: &[NumberedReject]| {
            rejects
                .iter()
                .map(|rejected| rejected.nth)
                .collect::<Vec<_>>()
        };
        let (mut attempt, mut told) = (SliceAttempt::default(), ReportedRemarks::default());
        for wanted in [vec![1, 2, 1, 1, 3], vec![4, 5, 2, 1, 6]] {
            let mut rejects = numbered(&mut attempt, false);
            told.retain_unreported(&mut self::page(&[]), &mut rejects, false);
            assert_eq!(numbers(&rejects), wanted);
        }
        // Read anew, the numbers begin anew: what was told is not told again, what is more of its kind is.
        let mut attempt = SliceAttempt::default();
        for wanted in [vec![], vec![], vec![7, 8, 3, 9]] {
            let mut rejects = numbered(&mut attempt, false);
            told.retain_unreported(&mut self::page(&[]), &mut rejects, true);
            assert_eq!(numbers(&rejects), wanted);
        }
        // A page that is asked for again has those that it had.
        let mut attempt = SliceAttempt::default();
        for (again, wanted) in [
            (false, vec![1, 2, 1, 1, 3]),
            (true, vec![1]),
            (false, vec![4, 5, 2, 1, 6]),
        ] {
            assert_eq!(numbers(&numbered(&mut attempt, again)), wanted);
        }
    }
}
