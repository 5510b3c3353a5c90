//! What has to be read now: the ledger and the clock in, slices out.
//!
//! Invariant: after every planned slice has been read, no instant between `start` and now is uncovered, and everything
//! within the look-back has been read again by this run.

use crate::config::SyncSettings;
use jiff::Timestamp;
use tillhouse_lake::SliceRow;
use tillhouse_model::{Result, Slice, Window, time::uncovered};

/// What the user narrowed a run to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range {
    /// Read from here on, known or not.
    pub from: Option<Timestamp>,
    /// Read up to here.
    pub to: Option<Timestamp>,
}

/// The name under which the ledger keeps what was read of a resource by the time the provider learnt of it.
pub fn late_name(resource: &str) -> String {
    format!("{resource} (late)")
}

/// What a resource has to be asked for by the time the provider learnt of it: all since it was last asked so, or since its first window
/// was read. `None` before the first run, whose windows see everything there is.
pub fn late(resource: &str, tenant: Option<&str>, ledger: &[SliceRow], now: Timestamp) -> Option<Slice> {
    let name = late_name(resource);
    let of = |name: &str, row: &&SliceRow| row.resource == name && row.tenant.as_deref() == tenant;
    let asked = ledger.iter().filter(|row| of(&name, row)).map(|row| row.window.to().min(row.read_at)).max();
    let since = asked.or_else(|| ledger.iter().filter(|row| of(resource, row)).map(|row| row.read_at).min())?;
    let window = Window::new(since, now).ok()?;
    Some(Slice { resource: resource.to_owned(), tenant: tenant.map(str::to_owned), window })
}

/// The one slice of a resource that is read whole.
pub fn whole(resource: &str, tenant: Option<&str>, sync: &SyncSettings, now: Timestamp) -> Result<Slice> {
    let from = sync.start.min(now.checked_sub(jiff::SignedDuration::from_secs(1)).unwrap_or(now));
    let window = Window::new(from, now)?;
    Ok(Slice { resource: resource.to_owned(), tenant: tenant.map(str::to_owned), window })
}

/// The slices to read for one tenant of a resource, oldest first.
///
/// - Without a range: what the ledger does not cover, and the look-back. A slice counts as covered up to the instant it was
///   read at: what was in the future then has not been seen.
/// - With a range: that range, whether covered or not.
pub fn slices(
    resource: &str,
    tenant: Option<&str>,
    sync: &SyncSettings,
    ledger: &[SliceRow],
    range: Range,
    now: Timestamp,
) -> Result<Vec<Slice>> {
    let windows = if range.from.is_some() || range.to.is_some() {
        vec![Window::new(range.from.unwrap_or(sync.start), range.to.unwrap_or(now))?]
    } else if sync.start >= now {
        Vec::new()
    } else {
        let wanted = Window::new(sync.start, now)?;
        let lookback = now.checked_sub(sync.lookback).unwrap_or(sync.start).max(sync.start);
        let covered: Vec<Window> = ledger
            .iter()
            .filter(|row| row.resource == resource && row.tenant.as_deref() == tenant)
            .filter_map(|row| Window::new(row.window.from(), row.window.to().min(row.read_at).min(lookback)).ok())
            .collect();
        uncovered(wanted, &covered)
    };
    Ok(windows
        .iter()
        .flat_map(|window| window.split(sync.start, sync.slice))
        .map(|window| Slice { resource: resource.to_owned(), tenant: tenant.map(str::to_owned), window })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

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

    fn row(window: Window, read_at: &str) -> SliceRow {
        SliceRow {
            pipeline: "p".into(),
            resource: "transactions".into(),
            tenant: None,
            window,
            run_id: "r".into(),
            read_at: t(read_at),
            records: 0,
            rejects: 0,
            declared_total: None,
            attempts: 1,
            land: 0,
        }
    }

    fn plan(ledger: &[SliceRow], range: Range, now: &str) -> Vec<Window> {
        slices("transactions", None, &settings(), ledger, range, t(now))
            .unwrap()
            .into_iter()
            .map(|s| s.window)
            .collect()
    }

    #[test]
    fn the_first_run_reads_everything_day_by_day() {
        let planned = plan(&[], Range::default(), "2026-01-03T06:00:00Z");
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
            row(w("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"), "2026-01-05T00:00:00Z"),
            row(w("2026-01-03T00:00:00Z", "2026-01-05T00:00:00Z"), "2026-01-05T00:00:00Z"),
        ];
        let planned = plan(&ledger, Range::default(), "2026-01-05T06:00:00Z");
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
        let ledger = [row(w("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"), "2026-01-01T12:00:00Z")];
        let planned = plan(&ledger, Range::default(), "2026-01-03T00:00:00Z");
        assert_eq!(planned.first(), Some(&w("2026-01-01T12:00:00Z", "2026-01-02T00:00:00Z")));
    }

    #[test]
    fn what_the_provider_learns_late_is_asked_for_since_the_last_time() {
        let now = t("2026-01-05T06:00:00Z");
        let window = w("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
        assert_eq!(late("transactions", None, &[], now), None, "the first run sees everything");
        let first = row(window, "2026-01-03T00:00:00Z");
        let second = row(window, "2026-01-04T00:00:00Z");
        let since = |ledger: &[SliceRow]| late("transactions", None, ledger, now).map(|slice| slice.window.from());
        assert_eq!(since(&[second.clone(), first.clone()]), Some(t("2026-01-03T00:00:00Z")));
        let asked = SliceRow {
            resource: late_name("transactions"),
            window: w("2026-01-03T00:00:00Z", "2026-01-04T12:00:00Z"),
            ..row(window, "2026-01-04T12:00:00Z")
        };
        assert_eq!(since(&[first.clone(), asked.clone()]), Some(t("2026-01-04T12:00:00Z")));
        assert_eq!(late("transactions", Some("other"), &[first, asked], now), None, "each tenant has its own");
    }

    #[test]
    fn a_range_is_read_whether_known_or_not_and_nothing_is_planned_before_the_start() {
        let ledger = [row(w("2026-01-01T00:00:00Z", "2026-01-09T00:00:00Z"), "2026-01-10T00:00:00Z")];
        let range = Range { from: Some(t("2026-01-02T00:00:00Z")), to: Some(t("2026-01-02T12:00:00Z")) };
        assert_eq!(
            plan(&ledger, range, "2026-01-09T00:00:00Z"),
            vec![w("2026-01-02T00:00:00Z", "2026-01-02T12:00:00Z")]
        );
        assert!(plan(&[], Range::default(), "2025-01-01T00:00:00Z").is_empty());
    }
}
