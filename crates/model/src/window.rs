//! Windows of instants, and how a window is cut into slices.
//!
//! Invariant: a [`Window`] is half-open, never empty, and its instants are UTC.

use crate::error::{Error, Result};
use crate::time::future_window_error;
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A half-open range of instants, [from, to), never empty.
///
/// ```
/// use tillhouse_model::Window;
///
/// let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
/// let day = Window::new(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z"))?;
/// assert!(day.contains(day.from()) && !day.contains(day.to()));
/// assert_eq!(day.split(day.from(), jiff::SignedDuration::from_hours(6)).len(), 4);
/// # Ok::<(), tillhouse_model::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Window {
    from: Timestamp,
    to: Timestamp,
}

impl Window {
    /// A window. Errors with [`crate::ErrorKind::Config`] when `from` is not before `to`.
    pub fn new(from: Timestamp, to: Timestamp) -> Result<Self> {
        if from >= to {
            return Err(Error::config(format!(
                "the window is empty: from {from} is not before to {to}"
            ))
            .hint("Give a --from that is earlier than --to; the end itself is not included."));
        }
        Ok(Self { from, to })
    }

    /// Part that is over at `now`: nothing can be asked of the future.
    ///
    /// Errors with [`crate::ErrorKind::Config`] where it begins then or later.
    pub fn until(self, now: Timestamp) -> Result<Self> {
        if self.from >= now {
            Err(future_window_error(self.from, now))
        } else {
            Self::new(self.from, self.to.min(now))
        }
    }

    /// The first instant inside.
    pub fn from(&self) -> Timestamp {
        self.from
    }

    /// The first instant after.
    pub fn to(&self) -> Timestamp {
        self.to
    }

    /// Length.
    pub fn duration(&self) -> SignedDuration {
        self.to.duration_since(self.from)
    }

    /// True if an instant lies inside.
    pub fn contains(&self, instant: Timestamp) -> bool {
        self.from <= instant && instant < self.to
    }

    /// The window of equal length (in instants) that ends where this one starts; `None` before the beginning of time.
    pub fn before(&self) -> Option<Self> {
        let from = self.from.checked_sub(self.duration()).ok()?;
        Some(Self {
            from,
            to: self.from,
        })
    }

    /// The same window, a little longer on both sides.
    #[must_use]
    pub fn widened(&self, by: SignedDuration) -> Self {
        Self {
            from: self.from.checked_sub(by).unwrap_or(Timestamp::MIN),
            to: self.to.checked_add(by).unwrap_or(Timestamp::MAX),
        }
    }

    /// The same window in whole seconds, for APIs whose times have no fractions: the start rounded down, the end up.
    #[must_use]
    pub fn in_seconds(&self) -> Self {
        let seconds = |instant: Timestamp, mode| {
            instant
                .round(TimestampRound::new().smallest(Unit::Second).mode(mode))
                .unwrap_or(instant)
        };
        Self {
            from: seconds(self.from, RoundMode::Floor),
            to: seconds(self.to, RoundMode::Ceil),
        }
    }

    /// The same window, ending later by this much.
    #[must_use]
    pub fn extended_by(&self, more: SignedDuration) -> Self {
        Self {
            from: self.from,
            to: self.to.checked_add(more).unwrap_or(Timestamp::MAX),
        }
    }

    /// The part both windows share.
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        Self::new(self.from.max(other.from), self.to.min(other.to)).ok()
    }

    /// Cuts the window at every multiple of `step` counted from `origin`; the first and last piece may be shorter.
    pub fn split(&self, origin: Timestamp, step: SignedDuration) -> Vec<Self> {
        let step_us = (step.as_micros()).max(1);
        let origin_us = i128::from(origin.as_microsecond());
        let mut pieces = Vec::new();
        let mut from = self.from;
        while from < self.to {
            let index = (i128::from(from.as_microsecond()) - origin_us).div_euclid(step_us);
            let next = origin_us + (index + 1) * step_us;
            let to = i64::try_from(next)
                .ok()
                .and_then(|us| Timestamp::from_microsecond(us).ok())
                .unwrap_or(self.to)
                .min(self.to);
            pieces.push(Self { from, to });
            from = to;
        }
        pieces
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.from, self.to)
    }
}

/// Merges windows into as few as possible, in order.
pub fn merge_windows(mut windows: Vec<Window>) -> Vec<Window> {
    windows.sort();
    let mut merged: Vec<Window> = Vec::with_capacity(windows.len());
    for window in windows {
        match merged.last_mut() {
            Some(last) if window.from <= last.to => last.to = last.to.max(window.to),
            _ => merged.push(window),
        }
    }
    merged
}

/// Parts of `wanted` that none of `covered` covers, in order.
pub fn subtract_windows(wanted: Window, covered: &[Window]) -> Vec<Window> {
    let mut covered: Vec<Window> = covered
        .iter()
        .filter_map(|w| w.intersection(&wanted))
        .collect();
    covered.sort();
    let mut gaps = Vec::new();
    let mut at = wanted.from;
    for window in covered {
        if window.from > at {
            gaps.push(Window {
                from: at,
                to: window.from,
            });
        }
        at = at.max(window.to);
    }
    if at < wanted.to {
        gaps.push(Window {
            from: at,
            to: wanted.to,
        });
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn w(from: &str, to: &str) -> Window {
        Window::new(t(from), t(to)).unwrap()
    }

    #[test]
    fn an_empty_window_is_refused() {
        assert!(Window::new(t("2026-01-02T00:00:00Z"), t("2026-01-02T00:00:00Z")).is_err());
    }

    #[test]
    fn splitting_covers_exactly_and_follows_the_grid() {
        let window = w("2026-01-01T12:00:00Z", "2026-01-03T06:00:00Z");
        let pieces = window.split(t("2026-01-01T00:00:00Z"), SignedDuration::from_hours(24));
        assert_eq!(
            pieces,
            vec![
                w("2026-01-01T12:00:00Z", "2026-01-02T00:00:00Z"),
                w("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
                w("2026-01-03T00:00:00Z", "2026-01-03T06:00:00Z"),
            ]
        );
    }

    #[test]
    fn whole_seconds_hold_all_of_a_window() {
        let whole = w("2026-01-01T00:00:00Z", "2026-01-01T00:00:02Z");
        assert_eq!(
            w("2026-01-01T00:00:00.25Z", "2026-01-01T00:00:01.75Z").in_seconds(),
            whole
        );
        assert_eq!(whole.in_seconds(), whole);
        assert_eq!(
            whole.extended_by(SignedDuration::from_secs(1)),
            w("2026-01-01T00:00:00Z", "2026-01-01T00:00:03Z")
        );
        let ever = Window::new(Timestamp::MIN, Timestamp::MAX).unwrap();
        assert_eq!(
            ever.extended_by(SignedDuration::from_secs(1)).to(),
            Timestamp::MAX
        );
    }

    #[test]
    fn gaps_are_what_nothing_covers() {
        let gaps = subtract_windows(
            w("2026-01-01T00:00:00Z", "2026-01-05T00:00:00Z"),
            &[
                w("2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z"),
                w("2025-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
            ],
        );
        assert_eq!(
            gaps,
            vec![
                w("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
                w("2026-01-04T00:00:00Z", "2026-01-05T00:00:00Z")
            ]
        );
    }
}
