//! Retention: which published runs are kept.
//!
//! Invariant: the newest published run, which is the one that was committed last, is always kept, and a run that was dropped is never kept again.

use crate::ops::maintenance::{RetentionMark, RetentionMarks};
use crate::ops::rows::RunRecord;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashSet};

/// Times for which published runs are kept, counted from their end. `None` is for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// Every run.
    pub runs: Option<SignedDuration>,
    /// The last run of each day, UTC.
    pub daily: Option<SignedDuration>,
    /// The last run of each month, UTC.
    pub monthly: Option<SignedDuration>,
}

impl Default for RetentionPolicy {
    /// Every run for 90 days, one a day for 400 days, one a month for ten years.
    fn default() -> Self {
        let days = |days: i64| Some(SignedDuration::from_secs(86_400 * days));
        Self {
            runs: days(90),
            daily: days(400),
            monthly: days(3_660),
        }
    }
}

impl RetentionPolicy {
    /// The mark of the runs that are kept from now on, of those that `held` keeps; `None` where these are the same. `runs` are all runs, the one that was
    /// committed last first.
    ///
    /// The mark does not lie beyond the newest run: what a clock that was ahead has dropped is dropped, and the runs after it are measured by their own time.
    pub(crate) fn mark(
        &self,
        runs: &[RunRecord],
        held: &RetentionMarks,
        now: Timestamp,
    ) -> Option<RetentionMark> {
        let kept = held.kept(runs);
        let published = || runs.iter().filter(|run| run.published);
        let candidates: Vec<&RunRecord> = published()
            .filter(|run| kept.contains(run.run_id.as_str()))
            .collect();
        let newest = *candidates.first()?;
        let since = |length: Option<SignedDuration>| {
            length
                .and_then(|length| now.checked_sub(length).ok())
                .unwrap_or(Timestamp::MIN)
        };
        // Whatever the clock says, the newest run is not dropped: a mark keeps what ended after it.
        let before_newest = newest
            .finished_at
            .checked_sub(SignedDuration::from_micros(1))
            .unwrap_or(Timestamp::MIN);
        let after = since(self.runs)
            .min(before_newest)
            .max(held.latest_until(before_newest));
        let last_of_days = last_of_each(&candidates, |date| date);
        let last_of_months = last_of_each(&candidates, |date| date.first_of_month());
        let (daily, monthly) = (since(self.daily), since(self.monthly));
        let is_kept = |run: &RunRecord| {
            let id = run.run_id.as_str();
            run.finished_at > after
                || (run.finished_at > daily && last_of_days.contains(id))
                || (run.finished_at > monthly && last_of_months.contains(id))
        };
        if candidates.iter().all(|run| is_kept(run)) {
            return None;
        }
        let dropped = published()
            .filter(|run| run.finished_at > after && !kept.contains(run.run_id.as_str()))
            .map(|run| run.run_id.clone())
            .collect();
        let kept: BTreeMap<String, Timestamp> = candidates
            .iter()
            .filter(|run| run.finished_at <= after && is_kept(run))
            .map(|run| (run.run_id.clone(), run.finished_at))
            .collect();
        Some(RetentionMark {
            after,
            kept,
            dropped,
            newest: Some(newest.run_id.clone()),
        })
    }
}

/// The ids of the runs that ended last in each of some stretches of days.
fn last_of_each<'a>(runs: &[&'a RunRecord], stretch: impl Fn(Date) -> Date) -> HashSet<&'a str> {
    let mut last: BTreeMap<Date, &RunRecord> = BTreeMap::new();
    for run in runs {
        let date = stretch(run.finished_at.to_zoned(TimeZone::UTC).date());
        let known = last.entry(date).or_insert(run);
        if (known.finished_at, &known.run_id) < (run.finished_at, &run.run_id) {
            *known = run;
        }
    }
    last.into_values().map(|run| run.run_id.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faulty_store::t;

    fn run(id: &str, ended: &str) -> RunRecord {
        RunRecord {
            run_id: id.to_owned(),
            command: "sync".to_owned(),
            pipelines: Vec::new(),
            started_at: t(ended),
            finished_at: t(ended),
            outcome: "done".to_owned(),
            published: true,
            tables: BTreeMap::new(),
            figures: BTreeMap::new(),
            counts: BTreeMap::new(),
            expected: BTreeMap::new(),
        }
    }

    fn policy(runs: i64, daily: i64, monthly: i64) -> RetentionPolicy {
        let days = |days: i64| Some(SignedDuration::from_secs(86_400 * days));
        RetentionPolicy {
            runs: days(runs),
            daily: days(daily),
            monthly: days(monthly),
        }
    }

    /// Ids of the runs that are kept, those that were committed first before the others.
    fn kept<'a>(runs: &'a [RunRecord], marks: &RetentionMarks) -> Vec<&'a str> {
        let held = marks.kept(runs);
        let ids = runs.iter().rev().map(|run| run.run_id.as_str());
        ids.filter(|id| held.contains(id)).collect()
    }

    /// Runs of these ids and ends, in the order in which they were committed; given with the last first.
    fn committed(ended: &[(&str, &str)]) -> Vec<RunRecord> {
        ended.iter().rev().map(|(id, at)| run(id, at)).collect()
    }

    #[test]
    fn recent_runs_are_kept_all_then_one_a_day_then_one_a_month_and_the_newest_always() {
        let runs = committed(&[
            ("old", "2025-01-03T00:00:00Z"),
            ("month, not last", "2026-01-15T23:00:00Z"),
            ("month", "2026-01-31T23:00:00Z"),
            ("day, not last", "2026-03-01T10:00:00Z"),
            ("day", "2026-03-01T11:00:00Z"),
            ("recent a", "2026-03-09T10:00:00Z"),
            ("recent b", "2026-03-09T11:00:00Z"),
        ]);
        let now = t("2026-03-10T00:00:00Z");
        let all = RetentionMarks::default();
        let mark = all.and(policy(3, 20, 100).mark(&runs, &all, now).unwrap());
        assert_eq!(kept(&runs, &mark), ["month", "day", "recent a", "recent b"]);
        assert_eq!(
            policy(3, 20, 100).mark(&runs, &mark, now),
            None,
            "nothing more is dropped, nothing is written"
        );
        // A longer retention does not bring back what is gone.
        assert_eq!(policy(900, 900, 900).mark(&runs, &mark, now), None);
        // Long after the last run, that one is kept all the same.
        let later = t("2030-01-01T00:00:00Z");
        let mark = mark.and(policy(1, 1, 1).mark(&runs, &mark, later).unwrap());
        assert_eq!(kept(&runs, &mark), ["recent b"]);
        assert_eq!(policy(1, 1, 1).mark(&runs, &mark, later), None);
    }

    #[test]
    fn for_ever_is_for_ever_and_runs_that_were_not_published_count_for_nothing() {
        let mut failed = run("failed", "2026-03-01T12:00:00Z");
        failed.published = false;
        let runs = [failed, run("a", "2020-01-01T00:00:00Z")];
        let now = t("2026-03-10T00:00:00Z");
        let all = RetentionMarks::default();
        let for_ever = RetentionPolicy {
            runs: None,
            ..policy(1, 1, 1)
        };
        assert_eq!(for_ever.mark(&runs, &all, now), None);
        assert_eq!(policy(1, 1, 1).mark(&runs, &all, now), None, "the newest");
        assert_eq!(policy(1, 1, 1).mark(&[], &all, now), None);
    }

    #[test]
    fn runs_after_one_whose_clock_was_ahead_are_kept_and_thinned_by_their_own_time() {
        let mut ended = vec![
            ("first", "2026-01-01T00:00:00Z"),
            ("second", "2026-01-02T00:00:00Z"),
            ("ahead", "2030-06-01T00:00:00Z"),
        ];
        let runs = committed(&ended);
        let all = RetentionMarks::default();
        let by_wrong_clock = policy(3, 3, 3).mark(&runs, &all, t("2030-06-01T00:00:00Z"));
        let held = all.and(by_wrong_clock.unwrap());
        assert_eq!(kept(&runs, &held), ["ahead"]);
        // The clock is right again.
        ended.extend([
            ("third", "2026-01-03T00:00:00Z"),
            ("fourth", "2026-01-04T00:00:00Z"),
        ]);
        let runs = committed(&ended);
        assert_eq!(kept(&runs, &held), ["ahead", "third", "fourth"]);
        let now = t("2026-01-04T01:00:00Z");
        assert_eq!(policy(3, 3, 3).mark(&runs, &held, now), None);
        ended.push(("tenth", "2026-01-10T00:00:00Z"));
        let runs = committed(&ended);
        let now = t("2026-01-10T01:00:00Z");
        let mark = policy(3, 3, 3).mark(&runs, &held, now).unwrap();
        assert_eq!(kept(&runs, &held.and(mark.clone())), ["ahead", "tenth"]);
        // Alone it says the same, of runs that it could know: what was dropped before stays dropped.
        assert_eq!(kept(&runs, &all.and(mark)), ["ahead", "tenth"]);
        // When the time has come that the wrong clock showed, the newest run is kept all the same.
        ended.push(("eleventh", "2026-01-11T00:00:00Z"));
        let runs = committed(&ended);
        let now = t("2030-06-05T00:00:00Z");
        let mark = policy(2, 2, 2).mark(&runs, &held, now).unwrap();
        assert_eq!(kept(&runs, &all.and(mark)), ["ahead", "eleventh"]);
    }

    #[test]
    fn a_mark_that_lies_before_another_names_what_was_dropped_since() {
        let mut ended = vec![
            ("c", "2025-01-31T00:00:00Z"),
            ("d", "2025-12-20T00:00:00Z"),
            ("e", "2025-12-21T00:00:00Z"),
            ("ahead", "2030-06-01T00:00:00Z"),
        ];
        let runs = committed(&ended);
        let all = RetentionMarks::default();
        let by_wrong_clock = policy(3, 3, 2_000).mark(&runs, &all, t("2030-06-01T00:00:00Z"));
        let held = all.and(by_wrong_clock.unwrap());
        assert_eq!(kept(&runs, &held), ["c", "e", "ahead"]);
        ended.push(("now", "2026-01-04T00:00:00Z"));
        let runs = committed(&ended);
        let now = t("2026-01-04T01:00:00Z");
        let mark = policy(90, 90, 100).mark(&runs, &held, now).unwrap();
        assert!(mark.after < t("2025-12-20T00:00:00Z"), "{mark:?}");
        assert_eq!(kept(&runs, &all.and(mark)), ["e", "ahead", "now"]);
    }
}
