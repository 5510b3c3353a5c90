//! Plan of a run: what was read before and the clock in, windows to read out.
//!
//! Invariant: after every planned window has been read, no instant between `start` and now is uncovered, and everything
//! within the look-back has been read again by this run. Nothing is planned beyond now, whatever was asked for.

use crate::config::SyncSettings;
use crate::lease::IfRunning;
use jiff::Timestamp;
use tillhouse_model::time::future_window_error;
use tillhouse_model::{Coverage, Error, Result, Window};

/// Range of time to which a run is narrowed.
#[derive(Debug, Clone, Copy, Default)]
pub struct SyncRange {
    /// Read from here on, known or not.
    pub from: Option<Timestamp>,
    /// Read up to here.
    pub to: Option<Timestamp>,
}

/// Options of a sync.
#[derive(Debug, Clone, Copy, Default)]
pub struct SyncOptions {
    /// Read only this, known or not.
    pub range: SyncRange,
    /// Read everything again, and look for known versions everywhere.
    pub full: bool,
    /// No limit on slices: without it, more than [`crate::MOST_SLICES`] slices of a resource are an
    /// error that says how many.
    pub allow_many_slices: bool,
    /// Behaviour where another run of a pipeline is under way.
    pub if_running: IfRunning,
    /// From now on pseudonyms are made with the project's key, also where the warehouse's were made with another.
    pub new_privacy_key: bool,
}

impl SyncRange {
    /// True if it narrows nothing.
    pub fn is_open(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// Part that is over at `now`: no API is asked for what has not happened.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] where it begins then or later.
    pub fn until(self, now: Timestamp) -> Result<Self> {
        match self.from {
            Some(from) if from >= now => Err(future_window_error(from, now)),
            _ => Ok(Self {
                to: self.to.map(|to| to.min(now)),
                ..self
            }),
        }
    }
}

/// Window of a resource that is read by full refresh.
pub(crate) fn full_window(sync: &SyncSettings, now: Timestamp) -> Result<Window> {
    let from = sync.start.min(
        now.checked_sub(jiff::SignedDuration::from_secs(1))
            .unwrap_or(now),
    );
    Window::new(from, now)
}

/// The windows to read for one tenant of a resource, oldest first.
///
/// - Without a range: what is not covered, and the look-back.
/// - With a range: that range, whether covered or not.
pub(crate) fn windows(
    sync: &SyncSettings,
    coverage: &Coverage,
    range: SyncRange,
    now: Timestamp,
) -> Result<Vec<Window>> {
    let windows = stretches(sync, coverage, range, now)?;
    Ok(windows
        .iter()
        .flat_map(|window| window.split(sync.start, sync.slice))
        .collect())
}

/// Number of windows that [`windows`] gives, without making them: of a start in the year 1 there
/// may be a billion.
pub(crate) fn count_windows(
    sync: &SyncSettings,
    coverage: &Coverage,
    range: SyncRange,
    now: Timestamp,
) -> Result<u64> {
    let slice = sync.slice.as_micros().max(1);
    let of = |window: &Window| {
        (window.to().duration_since(window.from()).as_micros() / slice).saturating_add(1)
    };
    let all = stretches(sync, coverage, range, now)?
        .iter()
        .map(of)
        .fold(0, i128::saturating_add);
    Ok(u64::try_from(all).unwrap_or(u64::MAX))
}

/// Stretches to read, not yet cut into slices.
fn stretches(
    sync: &SyncSettings,
    coverage: &Coverage,
    range: SyncRange,
    now: Timestamp,
) -> Result<Vec<Window>> {
    Ok(if range.is_open() {
        let again = now.checked_sub(sync.lookback).unwrap_or(sync.start);
        coverage.windows_to_read(sync.start, again, now)
    } else {
        let range = range.until(now)?;
        if let (None, Some(to)) = (range.from, range.to)
            && to <= sync.start
        {
            return Err(Error::config(format!(
                "--to {to} is not after {}, the `start` of sync",
                sync.start
            ))
            .hint("Give a --from too, to read what lies before `start`."));
        }
        vec![Window::new(
            range.from.unwrap_or(sync.start),
            range.to.unwrap_or(now),
        )?]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;
    use tillhouse_model::{ReadBy, WindowRead};

    fn t(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn w(from: &str, to: &str) -> Window {
        Window::new(t(from), t(to)).unwrap()
    }

    fn settings() -> SyncSettings {
        SyncSettings {
            start: t("2026-01-01T00:00:00Z"),
            slice: SignedDuration::from_hours(24),
            lookback: SignedDuration::from_hours(24),
            follow_open: SignedDuration::from_hours(720),
        }
    }

    fn read(window: Window, read_at: &str) -> WindowRead {
        WindowRead {
            window,
            read_at: t(read_at),
            read_by: Some(ReadBy::EventTime),
            also_read_by: None,
        }
    }

    fn plan(read: &[WindowRead], range: SyncRange, now: &str) -> Vec<Window> {
        windows(
            &settings(),
            &Coverage::of(read.iter().copied()),
            range,
            t(now),
        )
        .unwrap()
    }

    #[test]
    fn the_first_run_reads_everything_day_by_day() {
        let planned = plan(&[], SyncRange::default(), "2026-01-03T06:00:00Z");
        assert_eq!(
            planned,
            vec![
                w("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
                w("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
                w("2026-01-03T00:00:00Z", "2026-01-03T06:00:00Z"),
            ]
        );
    }

    #[test]
    fn later_runs_read_gaps_and_the_look_back() {
        let ledger = [
            read(
                w("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
                "2026-01-05T00:00:00Z",
            ),
            read(
                w("2026-01-03T00:00:00Z", "2026-01-05T00:00:00Z"),
                "2026-01-05T00:00:00Z",
            ),
        ];
        let planned = plan(&ledger, SyncRange::default(), "2026-01-05T06:00:00Z");
        assert_eq!(
            planned,
            vec![
                w("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
                w("2026-01-04T06:00:00Z", "2026-01-05T00:00:00Z"),
                w("2026-01-05T00:00:00Z", "2026-01-05T06:00:00Z"),
            ]
        );
    }

    #[test]
    fn a_window_read_before_it_ended_is_covered_only_so_far() {
        let ledger = [read(
            w("2026-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
            "2026-01-01T12:00:00Z",
        )];
        let planned = plan(&ledger, SyncRange::default(), "2026-01-03T00:00:00Z");
        assert_eq!(
            planned.first(),
            Some(&w("2026-01-01T12:00:00Z", "2026-01-02T00:00:00Z"))
        );
    }

    #[test]
    fn a_range_is_read_whether_known_or_not_and_nothing_is_planned_before_the_start() {
        let ledger = [read(
            w("2026-01-01T00:00:00Z", "2026-01-09T00:00:00Z"),
            "2026-01-10T00:00:00Z",
        )];
        let range = SyncRange {
            from: Some(t("2026-01-02T00:00:00Z")),
            to: Some(t("2026-01-02T12:00:00Z")),
        };
        assert_eq!(
            plan(&ledger, range, "2026-01-09T00:00:00Z"),
            vec![w("2026-01-02T00:00:00Z", "2026-01-02T12:00:00Z")]
        );
        assert!(plan(&[], SyncRange::default(), "2025-01-01T00:00:00Z").is_empty());
    }

    #[test]
    fn nothing_is_planned_beyond_now() {
        let now = "2026-01-02T06:00:00Z";
        for to in [
            "2026-01-02T06:00:01Z",
            "2030-01-01T00:00:00Z",
            "9999-12-30T22:00:00Z",
        ] {
            for from in [
                None,
                Some(t("2025-12-31T00:00:00Z")),
                Some(t("2026-01-02T05:59:59Z")),
            ] {
                let planned = plan(
                    &[],
                    SyncRange {
                        from,
                        to: Some(t(to)),
                    },
                    now,
                );
                assert!(
                    planned.len() <= 3 && planned.last().unwrap().to() == t(now),
                    "{from:?} {to}: {planned:?}"
                );
            }
        }
        for (from, to) in [
            (now, None),
            ("2027-01-01T00:00:00Z", None),
            ("2027-01-01T00:00:00Z", Some("2028-01-01T00:00:00Z")),
        ] {
            let range = SyncRange {
                from: Some(t(from)),
                to: to.map(t),
            };
            let error = windows(&settings(), &Coverage::of([]), range, t(now)).unwrap_err();
            assert!(
                error.to_string().contains("lies in the future") && error.hint_text().is_some(),
                "{error}"
            );
        }
        // Before `start`, only what was asked for by both its ends.
        let before = |from: Option<&str>| SyncRange {
            from: from.map(t),
            to: Some(t("2025-12-01T00:00:00Z")),
        };
        let error = windows(&settings(), &Coverage::of([]), before(None), t(now)).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("2026-01-01T00:00:00Z, the `start` of sync"),
            "{error}"
        );
        assert_eq!(
            plan(&[], before(Some("2025-11-30T12:00:00Z")), now).len(),
            1
        );
    }
}
