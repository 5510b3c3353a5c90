//! Rejects: noted, seen again, resolved.
//!
//! Invariant: a reject that is seen again stands once, with its first sight. That it is still there is written once a day.

use crate::ops::edit::{BookkeepingEdit, OpsTables};
use crate::ops::rows::RejectRow;
use crate::ops::tables::is_due;
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use tillhouse_model::{ReadBy, Result, Window};

impl OpsTables {
    /// Notes rejects: one that is known already is seen again, and open if it was resolved. Open ones that were not seen now and that
    /// are settled by what was read are resolved at `at`. What is only seen again is written anew once a day.
    ///
    /// One without a key is known by what is left of it, by its time where that can be read, and by its place among those that look the same.
    /// Without a time it is the same one only where it was asked for in the same time: of a slice that is read again, also in another cut.
    pub async fn record_rejects(
        &self,
        seen: &[RejectRow],
        is_settled: &(dyn Fn(&RejectRow) -> bool + Sync),
        at: Timestamp,
    ) -> Result<()> {
        /// A reject of this run, with the present row that is the same one.
        struct RejectMatch {
            row: RejectRow,
            /// The present row that it is: its window and its first sight.
            known: Option<(Window, Timestamp)>,
        }
        /// Upsert of rejects.
        struct RejectUpsert<'a> {
            seen: HashMap<u64, Vec<RejectMatch>>,
            is_settled: &'a (dyn Fn(&RejectRow) -> bool + Sync),
            at: Timestamp,
        }
        impl BookkeepingEdit<RejectRow> for RejectUpsert<'_> {
            fn begin(&mut self) {
                self.seen
                    .values_mut()
                    .flatten()
                    .for_each(|seen| seen.known = None);
            }
            fn note(&mut self, row: &RejectRow) {
                let seen = self
                    .seen
                    .get_mut(&reject_identity(row))
                    .into_iter()
                    .flatten();
                if let Some(seen) = seen
                    .filter(|seen| seen.known.is_none())
                    .find(|seen| is_same_reject(&RejectSight::of(&seen.row), row))
                {
                    seen.known = Some((row.slice, row.first_seen));
                }
            }
            fn changed(&self, row: &RejectRow) -> Option<RejectRow> {
                let is_it = |seen: &&RejectMatch| seen.known == Some((row.slice, row.first_seen));
                if let Some(seen) = self
                    .seen
                    .get(&reject_identity(row))
                    .into_iter()
                    .flatten()
                    .find(is_it)
                {
                    let again = seen_again(&RejectSight::of(row), &seen.row);
                    return is_worth_writing(row, &again).then_some(again);
                }
                let resolved = row.resolved_at.is_none() && (self.is_settled)(row);
                resolved.then(|| RejectRow {
                    resolved_at: Some(self.at),
                    ..row.clone()
                })
            }
            fn added(&self) -> Vec<RejectRow> {
                let new = self
                    .seen
                    .values()
                    .flatten()
                    .filter(|seen| seen.known.is_none());
                let mut new: Vec<RejectRow> = new.map(|seen| seen.row.clone()).collect();
                new.sort_by(|a, b| reject_order(a).cmp(&reject_order(b)));
                new
            }
        }
        let run_id = seen.first().map_or("", |row| row.run_id.as_str());
        let mut by_identity: HashMap<u64, Vec<RejectMatch>> = HashMap::new();
        for row in seen {
            let same = by_identity.entry(reject_identity(row)).or_default();
            match same
                .iter_mut()
                .find(|seen| is_same_reject(&RejectSight::of(&seen.row), row))
            {
                Some(seen) => seen.row = seen_again(&RejectSight::of(&seen.row), row),
                None => same.push(RejectMatch {
                    row: row.clone(),
                    known: None,
                }),
            }
        }
        let mut upsert = RejectUpsert {
            seen: by_identity,
            is_settled,
            at,
        };
        self.edit(run_id, &mut upsert).await
    }

    /// The rejects, of one pipeline or all, oldest first.
    pub async fn rejects(&self, pipeline: Option<&str>, open_only: bool) -> Result<Vec<RejectRow>> {
        let wanted = |row: &RejectRow| {
            pipeline.is_none_or(|p| p == row.pipeline) && (!open_only || row.resolved_at.is_none())
        };
        let pipelines = pipeline.map(|name| BTreeSet::from([name]));
        let mut rows = self.read(pipelines.as_ref(), wanted).await?;
        rows.sort_by(|a, b| reject_order(a).cmp(&reject_order(b)));
        Ok(rows)
    }
}

/// The order of rejects: the oldest first.
fn reject_order(row: &RejectRow) -> (Timestamp, &Option<String>, &str, Window, &str, u64) {
    (
        row.first_seen,
        &row.record_key,
        &row.field,
        row.slice,
        &row.redacted,
        row.nth,
    )
}

/// Sight of a reject, by which it is known again among those of its identity.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RejectSight {
    first_seen: Timestamp,
    slice: Window,
    read_by: Option<ReadBy>,
    /// Hash of the run that saw it.
    run: u64,
}

impl RejectSight {
    pub(crate) fn of(row: &RejectRow) -> Self {
        Self {
            first_seen: row.first_seen,
            slice: row.slice,
            read_by: row.read_by,
            run: run_hash(row),
        }
    }
}

fn run_hash(row: &RejectRow) -> u64 {
    let mut hasher = DefaultHasher::new();
    row.run_id.hash(&mut hasher);
    hasher.finish()
}

/// True if a reject may be one that was seen, of the same identity: without key and time only where both were asked for in the same time.
pub(crate) fn is_same_reject(seen: &RejectSight, row: &RejectRow) -> bool {
    row.record_key.is_some() || row.time.is_some() || seen.slice.intersection(&row.slice).is_some()
}

/// A reject that was known `before`, as it was seen now.
///
/// One with a time lies where that is, and its window says nothing new as long as that is in it. One without a time lies in all windows of a run
/// that it came in. So of windows side by side that share some of the time asked for, those that share none of it with the first are told apart:
/// their rejects, if they have no key, are others. One with a key may have moved since an earlier run: it lies where this one saw it.
pub(crate) fn seen_again(before: &RejectSight, now: &RejectRow) -> RejectRow {
    let mut again = RejectRow {
        first_seen: before.first_seen.min(now.first_seen),
        ..now.clone()
    };
    let is_within = |time: Timestamp| before.slice.from() <= time && time < before.slice.to();
    match (before.read_by, now.read_by) {
        (of_before, of_now) if of_before == of_now => {
            let may_have_moved = now.record_key.is_some() && before.run != run_hash(now);
            let known = match now.time {
                Some(time) => Some(before.slice).filter(|_| is_within(time)),
                None if may_have_moved => None,
                None => before.slice.intersection(&now.slice),
            };
            again.slice = known.unwrap_or(now.slice);
        }
        // When it happened says more than when it changed.
        (Some(ReadBy::EventTime), _) => {
            (again.slice, again.read_by) = (before.slice, before.read_by)
        }
        _ => {}
    }
    again
}

/// True if a row has to be written anew for a reject that was seen again: it says something else, or was written long ago.
fn is_worth_writing(row: &RejectRow, again: &RejectRow) -> bool {
    let undated = RejectRow {
        run_id: row.run_id.clone(),
        last_seen: row.last_seen,
        ..again.clone()
    };
    undated != *row || is_due(row.last_seen, again.last_seen)
}

/// Identity of a reject: the record (by key, or by what is left of it, its time and its number), the field and the reason.
pub(crate) fn reject_identity(row: &RejectRow) -> u64 {
    let mut hasher = DefaultHasher::new();
    let time = row.time.map(Timestamp::as_microsecond);
    let record = row.record_key.as_deref().ok_or((
        row.redacted.as_str(),
        row.tenant.as_deref(),
        time,
        row.nth,
    ));
    (
        &row.pipeline,
        &row.resource,
        record,
        &row.field,
        &row.reason,
    )
        .hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: i64) -> Timestamp {
        Timestamp::from_second(hour * 3_600).unwrap()
    }

    fn window(from: i64, to: i64) -> Window {
        Window::new(at(from), at(to)).unwrap()
    }

    fn row(run: &str, key: Option<&str>, time: Option<i64>, slice: Window) -> RejectRow {
        RejectRow {
            pipeline: "hecone".to_owned(),
            resource: "transactions".to_owned(),
            record_key: key.map(str::to_owned),
            field: "amount".to_owned(),
            reason: "not a number".to_owned(),
            redacted: String::new(),
            tenant: None,
            nth: 1,
            time: time.map(at),
            slice,
            read_by: Some(ReadBy::EventTime),
            run_id: run.to_owned(),
            first_seen: at(0),
            last_seen: at(0),
            resolved_at: None,
        }
    }

    #[test]
    fn a_reject_lies_where_its_time_is_or_where_it_was_seen_last() {
        let (first, beside, far) = (window(0, 24), window(20, 48), window(100, 124));
        for (key, run, time, slice, wanted) in [
            // A key alone: within a run in what its windows share, of another run where that saw it.
            (Some("a"), "r1", None, beside, window(20, 24)),
            (Some("a"), "r2", None, beside, beside),
            (Some("a"), "r2", None, first, first),
            (Some("a"), "r2", None, far, far),
            // Nothing but what is left of it.
            (None, "r1", None, beside, window(20, 24)),
            (None, "r2", None, beside, window(20, 24)),
            // A time.
            (Some("a"), "r2", Some(22), beside, first),
            (Some("a"), "r2", Some(30), beside, beside),
            (None, "r2", Some(22), beside, first),
        ] {
            let before = RejectSight::of(&row("r1", key, time, first));
            let again = seen_again(&before, &row(run, key, time, slice));
            assert_eq!(again.slice, wanted, "{key:?} {run} {time:?} {slice}");
        }
        // When it happened says more than when it changed, with a key too.
        for key in [Some("a"), None] {
            let before = RejectSight::of(&row("r1", key, None, first));
            let late = RejectRow {
                read_by: Some(ReadBy::ChangeTime),
                ..row("r2", key, None, far)
            };
            let again = seen_again(&before, &late);
            assert_eq!(
                (again.slice, again.read_by),
                (first, Some(ReadBy::EventTime))
            );
            let again = seen_again(&RejectSight::of(&late), &row("r3", key, None, first));
            assert_eq!(
                (again.slice, again.read_by),
                (first, Some(ReadBy::EventTime))
            );
        }
    }
}
