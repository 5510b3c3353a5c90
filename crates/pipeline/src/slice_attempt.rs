//! State of one attempt to read a slice: what came, what came twice, and what was told of it.
//!
//! Invariant: a record or reject that comes again because its page was asked for again is counted once and told once. A record that a listing
//! has twice counts twice, and is told, as a copy or as another version; a reject that another page of the listing has had, byte by byte, is one. An attempt that begins anew
//! counts from nothing, and tells nothing twice.

use crate::message::NumberedReject;
use arrow::array::Array;
use jiff::Timestamp;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;
use tillhouse_decode::{DecodedPage, Reject, Warning};
use tillhouse_model::{FastMap, FastSet, Window};

/// The rule of the warning about a record that is listed more than once.
const LISTED_TWICE: &str = "listed_twice";
/// Words of that warning: what the later of the two is, and which of them is taken.
const A_COPY: &str = "the same again, which changes nothing";
const A_COPY_BESIDE_A_TOTAL: &str = "the same again, which changes nothing; where the declared total is reached only by counting it, another record may be missing";
const CHANGED_LAST: &str = "with other content too: the version that was changed last counts";
const LISTED_LAST: &str = "with other content too: the version that came last counts";
const UNFIT_TOO: &str =
    "as one that does not fit its contract too, which is a reject: the version that fits counts";
const UNFIT_AGAIN: &str =
    "as one that does not fit its contract again: both are rejects, and none of them counts";
/// Most of them that are told of a slice.
const TWICE_TOLD: usize = 1_000;
/// Of how many rejects and warnings of a slice it is remembered that they were told.
const REMEMBERED: usize = 1 << 16;

/// The hash of a record key.
pub(crate) fn key_hash(key: &str) -> u128 {
    xxhash_rust::xxh3::xxh3_128(key.as_bytes())
}

/// Place of a reject in time.
pub(crate) struct RejectPlace {
    /// Its own time, where that can be read.
    pub(crate) time: Option<Timestamp>,
    /// The time in which it lies.
    pub(crate) within: Window,
}

/// State of one attempt to read a slice.
#[derive(Default)]
pub(crate) struct SliceAttempt {
    pub(crate) distinct: FastSet<u128>,
    /// Of those, what the list at hand had, and the version that counts: a parent's list is one of its own.
    listed: FastMap<u128, ListedVersion>,
    scope: Option<Arc<str>>,
    pub(crate) keyless: u64,
    /// Number of rejects without a key that look the same, by a hash of how they look.
    alike: FastMap<u128, u64>,
    /// Number of those of the list at hand that are the same byte by byte, by a hash of their content.
    same: FastMap<u128, u64>,
    pub(crate) records: u64,
    pub(crate) rejects: u64,
    /// Rejects that came before in another page: they count for the declared total alone.
    pub(crate) repeated_rejects: u64,
    /// Hashes of the rejects with a key and how they look, by which one is known that comes again.
    rejected: FastSet<u128>,
    /// Records that came before in the same page, or in another while the total stood still.
    pub(crate) repeated: usize,
    /// The last total that a page declared, and the largest.
    pub(crate) declared_total: Option<u64>,
    pub(crate) largest_total: Option<u64>,
    total_moved: bool,
    pub(crate) started: Option<Timestamp>,
    content: ContentSum,
}

/// Version of a record in a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListedVersion {
    Fits {
        /// Hash of its content, where it is known.
        content: Option<u64>,
        /// The source's own version time, microseconds.
        updated_at: Option<i64>,
    },
    Rejected,
}

impl ListedVersion {
    /// The version of a row of a page.
    fn of(page: &DecodedPage, row: usize) -> Self {
        let (hashes, times) = (&page.content_hashes, &page.updated_at);
        let content = hashes.is_valid(row).then(|| hashes.value(row));
        Self::Fits {
            content: content.map(xxhash_rust::xxh3::xxh3_64),
            updated_at: times.is_valid(row).then(|| times.value(row)),
        }
    }

    /// The version that counts of two in a listing, and what is said of the later one: as [`tillhouse_lake::SourceTable`] takes them.
    fn take(self, later: Self) -> (Self, &'static str) {
        let (
            Self::Fits {
                content,
                updated_at,
            },
            Self::Fits {
                content: other,
                updated_at: updated,
            },
        ) = (self, later)
        else {
            return match (self, later) {
                (Self::Rejected, Self::Rejected) => (self, UNFIT_AGAIN),
                (Self::Rejected, fits) | (fits, _) => (fits, UNFIT_TOO),
            };
        };
        let order = updated_at
            .zip(updated)
            .map(|(held, later)| held.cmp(&later));
        let counts = match order {
            Some(Ordering::Greater) => self,
            // The last time of change that is named counts.
            _ => Self::Fits {
                content: other,
                updated_at: updated.or(updated_at),
            },
        };
        let words = match order {
            _ if content == other => A_COPY,
            None | Some(Ordering::Equal) => LISTED_LAST,
            Some(_) => CHANGED_LAST,
        };
        (counts, words)
    }
}

/// Rejects of one page without a key: how many look the same, and how many are.
#[derive(Default)]
struct PageRejects {
    alike: FastMap<u128, u64>,
    same: FastMap<u128, u64>,
}

/// Sum over the content of all records that came, whatever their order.
#[derive(Debug, Clone, Copy, Default)]
struct ContentSum {
    sum: u128,
    /// Something came that may not come in the same way again.
    is_uncertain: bool,
}

/// Remarks that earlier attempts at a slice have reported, so that another attempt reports
/// nothing twice.
#[derive(Default)]
pub(crate) struct ReportedRemarks {
    hasher: std::hash::RandomState,
    remarks: HashSet<u64>,
    fields: HashSet<String>,
}

impl SliceAttempt {
    /// Takes a page's total. One that moves says that records do, and may come again for that.
    pub(crate) fn note_declared_total(&mut self, total: Option<u64>) {
        self.total_moved |=
            self.records + self.rejects + self.repeated_rejects > 0 && total != self.declared_total;
        self.declared_total = total.or(self.declared_total);
        self.largest_total = self.largest_total.max(total);
    }

    /// A page of another scope begins another list, whose ids may be the same.
    pub(crate) fn enter_scope(&mut self, scope: Option<&Arc<str>>) {
        if self.scope.as_ref() != scope {
            self.scope = scope.cloned();
            self.listed.clear();
            self.same.clear();
        }
    }

    /// Counts a page's rejects, and numbers those without a key that look the same, so that each stays one of its own. Those that came before
    /// are left out: of a page that was asked for `again` those that look the same, of another page of the listing those that are the same byte by
    /// byte, as a server gives them that does not heed which page it is asked for.
    pub(crate) fn number_rejects(
        &mut self,
        rejects: Vec<Reject>,
        place: impl Fn(&Reject) -> RejectPlace,
        again: bool,
    ) -> Vec<NumberedReject> {
        let mut page = PageRejects::default();
        let number = |reject: Reject| {
            let RejectPlace { time, within } = place(&reject);
            let nth = match reject.key.as_deref() {
                Some(key) => {
                    self.count_keyed(key, &reject, again);
                    1
                }
                None => self.number_keyless(&reject, time, &mut page, again)?,
            };
            Some(NumberedReject {
                reject,
                nth,
                time,
                within,
            })
        };
        rejects.into_iter().filter_map(number).collect()
    }

    fn count_keyed(&mut self, key: &str, reject: &Reject, again: bool) {
        let Reject {
            field,
            reason,
            redacted,
            ..
        } = reject;
        let looks = key_hash(&format!("{key}\0{field}\0{reason}\0{redacted}"));
        match self.rejected.insert(looks) {
            true => self.rejects += 1,
            false => self.repeated_rejects += u64::from(!again),
        }
    }

    /// Number of a reject among those that look the same; `None` for one that came before.
    fn number_keyless(
        &mut self,
        reject: &Reject,
        time: Option<Timestamp>,
        page: &mut PageRejects,
        again: bool,
    ) -> Option<u64> {
        let Reject {
            field,
            reason,
            redacted,
            content,
            ..
        } = reject;
        let micros = time.map(Timestamp::as_microsecond);
        let looks = key_hash(&format!("{field}\0{reason}\0{redacted}\0{micros:?}"));
        let alike = page.alike.entry(looks).or_default();
        let same = page.same.entry(*content).or_default();
        (*alike, *same) = (*alike + 1, *same + 1);
        let known_alike = self.alike.entry(looks).or_default();
        let known_same = self.same.entry(*content).or_default();
        let is_new = match again {
            true => *alike > *known_alike,
            false => *same > *known_same,
        };
        *known_same = (*known_same).max(*same);
        if !is_new {
            self.repeated_rejects += u64::from(!again);
            return None;
        }
        *known_alike += 1;
        (self.rejects, self.keyless) = (self.rejects + 1, self.keyless + 1);
        Some(*known_alike)
    }

    /// Fingerprint of what came: of every record its key and the hash of its content. `None` where something was listed twice, came again, or did
    /// not fit.
    pub(crate) fn fingerprint(&self) -> Option<String> {
        let is_plain = !self.content.is_uncertain && self.rejects == 0 && self.repeated == 0;
        is_plain.then(|| format!("{:x}-{:032x}", self.records, self.content.sum))
    }

    /// Counts a page's records; one that is listed more than once, be it as one that does not fit, gets a warning that says whether it is a copy, unless
    /// it came again because the page was asked for `again`, or the total says that records moved.
    pub(crate) fn count(&mut self, decoded: &mut DecodedPage, again: bool) {
        self.records += decoded.keys.len() as u64;
        self.content.is_uncertain |= again;
        for (key, hash) in decoded.keys.iter().zip(decoded.content_hashes.iter()) {
            let (Some(key), Some(hash)) = (key, hash) else {
                self.content.is_uncertain = true;
                continue;
            };
            let mut hasher = xxhash_rust::xxh3::Xxh3::new();
            // The hash has a fixed length, so that no key can be taken for part of it.
            hasher.update(hash);
            hasher.update(key.as_bytes());
            self.content.sum = self.content.sum.wrapping_add(hasher.digest128());
        }
        let is_told = !again && !self.total_moved;
        let mut page = FastSet::default();
        let came: &DecodedPage = decoded;
        let fitting = came.keys.iter().enumerate();
        let fitting = fitting.filter_map(|(row, key)| Some((key?, ListedVersion::of(came, row))));
        let rejected = came.rejects.iter();
        let rejected = rejected.filter_map(|reject| reject.key.as_deref());
        let rejected = rejected.map(|key| (key, ListedVersion::Rejected));
        let mut warnings = Vec::new();
        for (key, version) in fitting.chain(rejected) {
            let hash = key_hash(key);
            self.distinct.insert(hash);
            let held = self.listed.get(&hash).copied();
            let (counts, words) = held.map_or((version, A_COPY), |held| held.take(version));
            let words = match words {
                A_COPY if self.declared_total.is_some() => A_COPY_BESIDE_A_TOTAL,
                other => other,
            };
            self.listed.insert(hash, counts);
            if page.insert(hash) && (held.is_none() || !is_told) {
                continue;
            }
            self.repeated += 1;
            if self.repeated <= TWICE_TOLD {
                warnings.push(Warning {
                    key: key.to_owned(),
                    field: String::new(),
                    rule: LISTED_TWICE.to_owned(),
                    original: words.to_owned(),
                    count: 1,
                });
            }
        }
        decoded.warnings.extend(warnings);
    }
}

impl ReportedRemarks {
    /// Leaves out of a page of a reading `again` what an earlier one has told.
    pub(crate) fn retain_unreported(
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
    use std::collections::BTreeMap;

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
    fn a_copy_is_told_apart_from_another_version() {
        let listed = |records: &[(u8, Option<i64>)]| {
            let keys = vec!["a"; records.len()];
            let hashes = records.iter().map(|(hash, _)| Some([*hash; 17]));
            let mut page = DecodedPage {
                content_hashes: FixedSizeBinaryArray::try_from_sparse_iter_with_size(hashes, 17)
                    .unwrap(),
                updated_at: records.iter().map(|(_, time)| *time).collect(),
                ..page(&keys)
            };
            SliceAttempt::default().count(&mut page, false);
            let words = page.warnings.into_iter().map(|warning| warning.original);
            words.collect::<Vec<_>>()
        };
        assert_eq!(listed(&[(1, None), (1, None)]), [A_COPY]);
        assert_eq!(
            listed(&[(1, None), (2, None), (2, None)]),
            [LISTED_LAST, A_COPY]
        );
        assert_eq!(listed(&[(1, Some(5)), (2, Some(5))]), [LISTED_LAST]);
        // The first one counts, and stays what others are compared with.
        assert_eq!(
            listed(&[(1, Some(5)), (2, Some(4)), (1, Some(5))]),
            [CHANGED_LAST, A_COPY]
        );
        assert_eq!(listed(&[(1, Some(5)), (2, Some(6))]), [CHANGED_LAST]);
        assert_eq!(
            listed(&[(1, Some(5)), (2, None), (3, Some(4)), (2, None)]),
            [LISTED_LAST, CHANGED_LAST, A_COPY]
        );
        // Where a total is declared, a copy may stand in for a record that did not come.
        let mut copies = DecodedPage {
            content_hashes: FixedSizeBinaryArray::try_from_sparse_iter_with_size(
                [Some([1; 17]); 2].into_iter(),
                17,
            )
            .unwrap(),
            ..page(&["a", "a"])
        };
        let mut attempt = SliceAttempt::default();
        attempt.note_declared_total(Some(2));
        attempt.count(&mut copies, false);
        assert_eq!(copies.warnings[0].original, A_COPY_BESIDE_A_TOTAL);
        let mut page = page(&["a"]);
        page.rejects = vec![reject(Some("a"), "text", 1)];
        SliceAttempt::default().count(&mut page, false);
        assert_eq!(page.warnings[0].original, UNFIT_TOO);
        let mut page = self::page(&[]);
        page.rejects = vec![reject(Some("a"), "text", 1), reject(Some("a"), "text", 2)];
        SliceAttempt::default().count(&mut page, false);
        let words = page.warnings.iter().map(|it| it.original.as_str());
        assert_eq!(words.collect::<Vec<_>>(), [UNFIT_AGAIN]);
    }

    #[test]
    fn a_fingerprint_is_of_keys_and_content_in_any_order() {
        let of = |pages: &[&[(&str, u8)]]| {
            let mut attempt = SliceAttempt::default();
            for records in pages {
                let keys: Vec<&str> = records.iter().map(|(key, _)| *key).collect();
                let hashes = records.iter().map(|(_, hash)| Some([*hash; 17]));
                let hashes = FixedSizeBinaryArray::try_from_sparse_iter_with_size(hashes, 17);
                let mut page = DecodedPage {
                    content_hashes: hashes.unwrap(),
                    ..page(&keys)
                };
                attempt.count(&mut page, false);
            }
            attempt.fingerprint()
        };
        let whole = of(&[&[("a", 1), ("b", 2)], &[("c", 3)]]);
        assert!(whole.is_some() && of(&[]).is_some());
        assert_eq!(of(&[&[("c", 3), ("a", 1)], &[], &[("b", 2)]]), whole);
        for other in [
            &[("a", 1), ("b", 2)][..],
            &[("a", 1), ("b", 2), ("c", 4)],
            &[("a", 2), ("b", 1), ("c", 3)],
            &[("a", 1), ("b", 2), ("d", 3)],
            &[],
        ] {
            assert_ne!(of(&[other]), whole);
        }
        assert_eq!(of(&[&[("a", 1), ("a", 1)]]), None, "listed twice");
        // A page that has no hashes tells nothing, and neither does one that came again.
        let mut attempt = SliceAttempt::default();
        attempt.count(&mut page(&["a"]), false);
        assert_eq!(attempt.fingerprint(), None);
        let mut attempt = SliceAttempt::default();
        attempt.count(&mut page(&[]), true);
        assert_eq!(attempt.fingerprint(), None);
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

    /// A reject whose record is written otherwise for every `content`.
    fn reject(key: Option<&str>, reason: &str, content: u128) -> Reject {
        Reject {
            key: key.map(str::to_owned),
            field: String::new(),
            reason: reason.to_owned(),
            redacted: String::new(),
            content: content + u128::from(reason == "number"),
            record_time: None,
            updated_at: None,
        }
    }

    fn numbered(
        attempt: &mut SliceAttempt,
        rejects: Vec<Reject>,
        again: bool,
    ) -> Vec<NumberedReject> {
        let within = Window::new(Timestamp::MIN, Timestamp::MAX).unwrap();
        let place = |_: &Reject| RejectPlace { time: None, within };
        attempt.number_rejects(rejects, place, again)
    }

    #[test]
    fn a_page_that_comes_again_has_no_new_rejects_but_counts_for_the_total() {
        let rejects = || {
            let of = |key, content| reject(key, "null", content);
            vec![of(None, 1), of(None, 1), of(None, 2), of(Some("a"), 3)]
        };
        let mut attempt = SliceAttempt::default();
        let mut kept = Vec::new();
        for _ in 0..3 {
            kept.push(numbered(&mut attempt, rejects(), false).len());
        }
        // One with a key is the same one by its key.
        assert_eq!(kept, [4, 1, 1]);
        assert_eq!((attempt.rejects, attempt.repeated_rejects), (4, 8));
        assert_eq!(attempt.keyless, 3);
        // Another one is another one, also where it looks the same, and so is one of another parent's list.
        assert_eq!(
            numbered(&mut attempt, vec![reject(None, "null", 9)], false)[0].nth,
            4
        );
        attempt.enter_scope(Some(&"7".into()));
        assert_eq!(numbered(&mut attempt, rejects(), false).len(), 4);
    }

    #[test]
    fn a_record_that_is_listed_again_as_one_that_does_not_fit_is_told() {
        let mut attempt = SliceAttempt::default();
        let mut first = page(&["a", "b"]);
        attempt.count(&mut first, false);
        let mut second = page(&["c"]);
        second.rejects = vec![
            reject(Some("a"), "text", 1),
            reject(None, "text", 2),
            reject(Some("d"), "text", 3),
        ];
        attempt.count(&mut second, false);
        let told = |page: &DecodedPage| {
            page.warnings
                .iter()
                .map(|w| w.key.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (told(&first), told(&second)),
            (vec![], vec!["a".to_owned()])
        );
        assert_eq!(
            (attempt.records, attempt.repeated, attempt.distinct.len()),
            (3, 1, 4)
        );
    }

    #[test]
    fn rejects_without_a_key_are_told_apart_by_their_number_and_told_once() {
        let page = || {
            [
                (None, "null"),
                (None, "null"),
                (None, "number"),
                (Some("a"), "null"),
                (None, "null"),
            ]
        };
        let numbered = |attempt: &mut SliceAttempt, content: u128, again| {
            let rejects = page().map(|(key, why)| reject(key, why, content));
            self::numbered(attempt, rejects.into(), again)
        };
        let numbers = |rejects: &[NumberedReject]| {
            rejects
                .iter()
                .map(|rejected| rejected.nth)
                .collect::<Vec<_>>()
        };
        let (mut attempt, mut told) = (SliceAttempt::default(), ReportedRemarks::default());
        for (content, wanted) in [(10, vec![1, 2, 1, 1, 3]), (20, vec![4, 5, 2, 1, 6])] {
            let mut rejects = numbered(&mut attempt, content, false);
            told.retain_unreported(&mut self::page(&[]), &mut rejects, false);
            assert_eq!(numbers(&rejects), wanted);
        }
        // Read anew, the numbers begin anew: what was told is not told again, what is more of its kind is.
        let mut attempt = SliceAttempt::default();
        for (content, wanted) in [(10, vec![]), (20, vec![]), (30, vec![7, 8, 3, 9])] {
            let mut rejects = numbered(&mut attempt, content, false);
            told.retain_unreported(&mut self::page(&[]), &mut rejects, true);
            assert_eq!(numbers(&rejects), wanted);
        }
        // A page that is asked for again has those that it had.
        let mut attempt = SliceAttempt::default();
        for (content, again, wanted) in [
            (10, false, vec![1, 2, 1, 1, 3]),
            (40, true, vec![1]),
            (20, false, vec![4, 5, 2, 1, 6]),
        ] {
            assert_eq!(numbers(&numbered(&mut attempt, content, again)), wanted);
        }
    }
}
