//! Retention: which published runs are kept.
//!
//! Invariant: the newest published run is always kept, and a run that was dropped is never kept again.

use crate::ops::maintenance::RetentionMark;
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
    /// The mark of the runs that are kept from now on, of those that `held` keeps; `None` where these are the same. `runs` are in any order.
    pub(crate) fn mark(
        &self,
        runs: &[RunRecord],
        held: &RetentionMark,
        now: Timestamp,
    ) -> Option<RetentionMark> {
        let candidates: Vec<&RunRecord> = runs
            .iter()
            .filter(|run| run.published && held.keeps(run))
            .collect();
        let newest = candidates.iter().map(|run| run.finished_at).max()?;
        let since = |length: Option<SignedDuration>| {
            length
                .and_then(|length| now.checked_sub(length).ok())
                .unwrap_or(Timestamp::MIN)
        };
        // Whatever the clock says, the newest run is not dropped: a mark keeps what ended after it.
        let before_newest = newest
            .checked_sub(SignedDuration::from_micros(1))
            .unwrap_or(Timestamp::MIN);
        let after = since(self.runs).min(before_newest).max(held.after);
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
        let kept: BTreeMap<String, Timestamp> = candidates
            .iter()
            .filter(|run| run.finished_at <= after && is_kept(run))
            .map(|run| (run.run_id.clone(), run.finished_at))
            .collect();
        Some(RetentionMark { after, kept })
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

    fn kept<'a>(runs: &'a [RunRecord], mark: &RetentionMark) -> Vec<&'a str> {
        let kept = runs.iter().filter(|run| mark.keeps(run));
        kept.map(|run| run.run_id.as_str()).collect()
    }

    #[test]
    fn recent_runs_are_kept_all_then_one_a_day_then_one_a_month_and_the_newest_always() {
        let runs = [
            run("old", "2025-01-03T00:00:00Z"),
            run("month, not last", "2026-01-15T23:00:00Z"),
            run("month", "2026-01-31T23:00:00Z"),
            run("day, not last", "2026-03-01T10:00:00Z"),
            run("day", "2026-03-01T11:00:00Z"),
            run("recent a", "2026-03-09T10:00:00Z"),
            run("recent b", "2026-03-09T11:00:00Z"),
        ];
        let now = t("2026-03-10T00:00:00Z");
        let all = RetentionMark::everything();
        let mark = policy(3, 20, 100).mark(&runs, &all, now).unwrap();
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
        let mark = policy(1, 1, 1).mark(&runs, &mark, later).unwrap();
        assert_eq!(kept(&runs, &mark), ["recent b"]);
        assert_eq!(policy(1, 1, 1).mark(&runs, &mark, later), None);
    }

    #[test]
    fn for_ever_is_for_ever_and_runs_that_were_not_published_count_for_nothing() {
        let mut failed = run("failed", "2026-03-01T12:00:00Z");
        failed.published = false;
        let runs = [run("a", "2020-01-01T00:00:00Z"), failed];
        let now = t("2026-03-10T00:00:00Z");
        let all = RetentionMark::everything();
        let for_ever = RetentionPolicy {
            runs: None,
            ..policy(1, 1, 1)
        };
        assert_eq!(for_ever.mark(&runs, &all, now), None);
        assert_eq!(policy(1, 1, 1).mark(&runs, &all, now), None, "the newest");
        assert_eq!(policy(1, 1, 1).mark(&[], &all, now), None);
    }
}
