//! Coverage of a resource: covered windows, gaps, and up to when there is none.
//!
//! Invariant: a function of the readings alone, without a clock. A window counts only up to the instant it was read at: what was in the
//! future then has not been seen.
//!
//! ```text
//!   read by event time    [a, b) is complete where windows of event time cover it
//!                              a=====b
//!   read by change time   a sale of [a, b) may be changed, or learnt of, at any time after it: windows of change time have to reach from a
//!                         to the run that is asked
//!                              a=====b======================run
//!   read by both          windows of event time cover [a, b), and windows of change time reach from the instants those were read at to
//!                         the run: what the provider learnt in between is known too
//!                              a=====b    read at==========run
//! ```
//!
//! Rejected: one list of windows whatever they are about, as it was. A sale of the 1st that was changed on the 9th lies in the window of
//! the 9th, so a gap there says nothing of the sales of the 9th and much about those of all days before.

use crate::slice::ReadBy;
use crate::window::{Window, merge_windows, subtract_windows};
use jiff::Timestamp;

/// One reading of a window, to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowRead {
    /// The window that was asked for.
    pub window: Window,
    /// When its first request was sent.
    pub read_at: Timestamp,
    /// Kind of time the window is of. `None` where the resource was read whole, and in records older than this field.
    pub read_by: Option<ReadBy>,
    /// The other time the resource is read by, where it is read by both.
    pub also_read_by: Option<ReadBy>,
}

impl WindowRead {
    /// This read of a resource that was read whole: all there was by then, whatever its window.
    #[must_use]
    pub fn of_everything(self) -> Self {
        Self {
            window: Window::new(Timestamp::MIN, self.window.to()).unwrap_or(self.window),
            ..self
        }
    }

    /// The instants that were seen; `None` where all of them were still to come.
    pub fn seen(&self) -> Option<Window> {
        Window::new(self.window.from(), self.window.to().min(self.read_at)).ok()
    }
}

/// Stretch of time that should have been read and was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoverageGap {
    /// The stretch.
    pub window: Window,
    /// Kind of time it is of.
    pub read_by: ReadBy,
}

/// Gaps of an answer about a window, and the instant up to which it has none. The two never
/// contradict each other: the first gap begins where `through` ends.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CoverageAssessment {
    /// End of the stretch without a gap that begins with the window; `None` where its very
    /// beginning was not read.
    pub through: Option<Timestamp>,
    /// Windows that should have been read and were not, in order.
    pub gaps: Vec<CoverageGap>,
}

/// Coverage of one resource of one tenant.
///
/// ```
/// use tillhouse_model::{Coverage, ReadBy, Window, WindowRead};
/// let at = |day: u8| format!("2026-01-{day:02}T00:00:00Z").parse().unwrap();
/// let read = |from, to| WindowRead {
///     window: Window::new(at(from), at(to)).unwrap(),
///     read_at: at(20),
///     read_by: Some(ReadBy::ChangeTime),
///     also_read_by: None,
/// };
/// let coverage = Coverage::of([read(1, 5), read(7, 20)]);
/// // A sale of the 2nd may have been changed on the 6th.
/// let gaps = coverage.gaps(Window::new(at(2), at(4)).unwrap(), at(20));
/// assert_eq!(gaps[0].window, Window::new(at(5), at(7)).unwrap());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Kind of time that its windows are of.
    read_by: ReadBy,
    /// True if it is read by change time as well.
    follows_changes: bool,
    /// Windows read by `read_by`, with the instants they were read at, the latest first.
    reads: Vec<(Window, Timestamp)>,
    /// The instants of `reads` in as few windows as possible, in order.
    covered: Vec<Window>,
    /// Windows read by change time as well, as few as possible.
    followed: Vec<Window>,
}

impl Coverage {
    /// Coverage by the time that the newest read was by: a resource that is read by another time
    /// than before begins anew.
    pub fn of(reads: impl IntoIterator<Item = WindowRead>) -> Self {
        let reads: Vec<WindowRead> = reads.into_iter().collect();
        let newest = reads
            .iter()
            .filter(|read| read.read_by.is_some())
            .max_by_key(|read| read.read_at);
        match newest.map(|read| (read.read_by, read.also_read_by)) {
            Some((_, Some(_))) => Self::new(ReadBy::EventTime, true, reads),
            Some((Some(read_by), None)) => Self::new(read_by, false, reads),
            _ => Self::new(ReadBy::EventTime, false, reads),
        }
    }

    /// Coverage of a resource that is read by this time, and with `follows_changes` by change time
    /// as well.
    pub fn new(
        read_by: ReadBy,
        follows_changes: bool,
        reads: impl IntoIterator<Item = WindowRead>,
    ) -> Self {
        let follows_changes = follows_changes && read_by == ReadBy::EventTime;
        let (mut own, mut followed) = (Vec::new(), Vec::new());
        for read in reads {
            let Some(seen) = read.seen() else { continue };
            match read.read_by {
                None => own.push((seen, read.read_at)),
                Some(by) if by == read_by => own.push((seen, read.read_at)),
                Some(ReadBy::ChangeTime) if follows_changes => followed.push(seen),
                Some(_) => {}
            }
        }
        own.sort_by_key(|(_, read_at)| std::cmp::Reverse(*read_at));
        let covered = merge_windows(own.iter().map(|(window, _)| *window).collect());
        Self {
            read_by,
            follows_changes,
            reads: own,
            covered,
            followed: merge_windows(followed),
        }
    }

    /// The instants that were read, in as few windows as possible, in order.
    pub fn covered(&self) -> &[Window] {
        &self.covered
    }

    /// True if all of a window was read.
    pub fn holds(&self, window: Window) -> bool {
        let next = self
            .covered
            .partition_point(|covered| covered.from() <= window.from());
        let last = next.checked_sub(1).and_then(|at| self.covered.get(at));
        last.is_some_and(|covered| window.to() <= covered.to())
    }

    /// Gaps of an answer about a window, in order: what should have been read by `until`, the time
    /// of the run that answers, and was not.
    pub fn gaps(&self, asked: Window, until: Timestamp) -> Vec<CoverageGap> {
        let of = |read_by: ReadBy| move |window| CoverageGap { window, read_by };
        let wanted = match self.read_by {
            ReadBy::EventTime => Window::new(asked.from(), asked.to().min(until)),
            ReadBy::ChangeTime => Window::new(asked.from(), until),
        };
        let Ok(wanted) = wanted else {
            return Vec::new();
        };
        let mut gaps: Vec<CoverageGap> = subtract_windows(wanted, &self.covered)
            .into_iter()
            .map(of(self.read_by))
            .collect();
        if self.follows_changes {
            let unseen = self
                .oldest_read(wanted)
                .and_then(|since| Window::new(since, until).ok());
            let missing = unseen
                .map(|unseen| subtract_windows(unseen, &self.followed))
                .unwrap_or_default();
            gaps.extend(missing.into_iter().map(of(ReadBy::ChangeTime)));
        }
        gaps.sort();
        gaps
    }

    /// Judges if an answer about a window is complete, as of the time of the run that is asked: the one judgement that status, statistics,
    /// reports and pages show.
    pub fn assess(&self, asked: Window, until: Timestamp) -> CoverageAssessment {
        let gaps = self.gaps(asked, until);
        let through = match gaps.first().map(|gap| gap.window.from()) {
            Some(gap) => Some(gap).filter(|gap| *gap > asked.from()),
            None => self.read_through(asked.from(), until),
        };
        CoverageAssessment { through, gaps }
    }

    /// Time of the oldest among the newest reads of every instant of a window.
    fn oldest_read(&self, window: Window) -> Option<Timestamp> {
        let mut left = vec![window];
        let mut oldest = None;
        for (seen, read_at) in &self.reads {
            if left.iter().all(|piece| piece.intersection(seen).is_none()) {
                continue;
            }
            oldest = Some(*read_at);
            left = left
                .iter()
                .flat_map(|piece| subtract_windows(*piece, &[*seen]))
                .collect();
            if left.is_empty() {
                break;
            }
        }
        oldest
    }

    /// Up to when there is no gap, seen from an instant: the end of the first stretch that reaches beyond it; where none does, the end of
    /// the last. `None` where nothing was read.
    fn read_through(&self, from: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let first = self.covered.iter().find(|stretch| stretch.to() > from);
        let through = first.or(self.covered.last()).map(Window::to)?;
        let asked = Window::new(from, through)
            .ok()
            .filter(|_| self.follows_changes);
        let gaps = asked
            .map(|asked| self.gaps(asked, until))
            .unwrap_or_default();
        let unseen = gaps
            .iter()
            .find(|gap| gap.read_by == ReadBy::ChangeTime)
            .map(|gap| gap.window.from());
        Some(unseen.map_or(through, |unseen| unseen.min(through)))
    }

    /// Windows for a run to read since `start`: those not read yet, and all from `again` on once
    /// more.
    pub fn windows_to_read(
        &self,
        start: Timestamp,
        again: Timestamp,
        now: Timestamp,
    ) -> Vec<Window> {
        let Ok(wanted) = Window::new(start, now) else {
            return Vec::new();
        };
        let again = again.max(start);
        let kept = self
            .covered
            .iter()
            .filter_map(|seen| Window::new(seen.from(), seen.to().min(again)).ok());
        subtract_windows(wanted, &kept.collect::<Vec<_>>())
    }

    /// Since when the provider has to be asked for what it learnt: since the first reading, as far as it was not asked yet. `None` before
    /// that one, which sees all there is, and for a resource that is not read so beside its windows.
    pub fn change_window_to_read(&self, now: Timestamp) -> Option<Window> {
        let first = self.reads.last().filter(|_| self.follows_changes)?.1;
        let unseen = subtract_windows(Window::new(first, now).ok()?, &self.followed);
        Window::new(unseen.first()?.from(), now).ok()
    }
}

#[cfg(test)]
#[path = "coverage_tests.rs"]
mod tests;
