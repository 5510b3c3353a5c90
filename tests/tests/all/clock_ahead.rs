//! One sync while the machine's clock was ahead, and the syncs after it.
//!
//! Invariant: the days between are read, whatever that sync said, and its run is the newest only until the next.

use crate::canned_project::{CannedProject, SOURCES};
use jiff::Timestamp;
use std::sync::Arc;
use tillhouse_lake::AsOf;
use tillhouse_model::Window;
use tillhouse_pipeline::{ResourceStatus, SyncOptions, status, sync};

fn t(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Syncs by a clock that stands at this moment; the run, and what status says then.
async fn sync_at(bench: &CannedProject, now: &str) -> (String, ResourceStatus) {
    let now = t(now);
    let mut context = bench.context.clone();
    context.warehouse = context.warehouse.with_clock(Arc::new(move || now));
    let pipelines = context.project.pipelines(&[], SOURCES).unwrap();
    let report = sync(&context, &pipelines, SyncOptions::default())
        .await
        .unwrap();
    assert!(report.published && !report.is_partial(), "{report:?}");
    let newest = context
        .warehouse
        .ops()
        .published(&AsOf::Latest)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        newest.run_id, report.run,
        "the last committed run is the newest"
    );
    let state = status(&context.warehouse, &pipelines)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(state.last_run.as_deref(), Some(report.run.as_str()));
    (report.run, state)
}

/// The windows that a run read.
async fn read_by(bench: &CannedProject, run: &str) -> Vec<Window> {
    let slices = bench
        .context
        .warehouse
        .with_clock(Arc::new(|| t("9000-01-01T00:00:00Z")))
        .ops()
        .slices("hecone")
        .await;
    let mut windows: Vec<Window> = slices
        .unwrap()
        .into_iter()
        .filter(|row| row.run_id == run)
        .map(|row| row.window)
        .collect();
    windows.sort();
    windows
}

fn record(state: &str) -> Vec<String> {
    let invoice = r#"{"amount":12.5,"paid_amount":12.5,"tax_amount":2,"currency":"EUR","created_at":"2026-01-01T12:30:00Z"}"#;
    let site = r#"{"name":"S","timezone":"Europe/Berlin"}"#;
    vec![format!(
        r#"{{"id":"1","mandator_id":"m","state":"{state}","site_id":"s","site":{site},"invoice":{invoice},"articles":[],"payments":[]}}"#
    )]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_days_after_a_sync_whose_clock_was_ahead_are_read_and_its_run_hides_no_other() {
    let bench = CannedProject::new("hecone", &[("transactions", record("pending"))], "").await;
    let (_, state) = sync_at(&bench, "2026-02-01T00:00:00Z").await;
    assert_eq!(state.data_through, Some(t("2026-02-01T00:00:00Z")));
    let (ahead, _) = sync_at(&bench, "2030-06-01T00:00:00Z").await;
    assert_eq!(
        read_by(&bench, &ahead).await.last().map(Window::to),
        Some(t("2030-06-01T00:00:00Z"))
    );
    // The clock is right again. What that run landed does not keep the next version of a record out.
    let pages = bench.context.project.dir.join("pages.json");
    let text = std::fs::read_to_string(&pages)
        .unwrap()
        .replace("pending", "completed");
    std::fs::write(pages, text).unwrap();
    let mut through = t("2026-02-01T00:00:00Z");
    for now in ["2026-02-05T00:00:00Z", "2026-02-09T00:00:00Z"] {
        let (run, state) = sync_at(&bench, now).await;
        let windows = read_by(&bench, &run).await;
        let last = windows.last().unwrap();
        assert!(
            windows[0].from() <= through && last.to() == t(now),
            "{now}: {windows:?}"
        );
        assert_eq!(
            (state.data_through, state.gaps.len()),
            (Some(t(now)), 0),
            "{now}"
        );
        through = t(now);
    }
    assert_eq!(
        bench
            .rows("SELECT state, count(*) FROM unified.transactions GROUP BY 1")
            .await,
        ["completed 1"]
    );
    // When the time has come that the wrong clock showed, what lies between was not read either.
    let (run, state) = sync_at(&bench, "2030-06-02T00:00:00Z").await;
    let windows = read_by(&bench, &run).await;
    assert!(windows[0].from() <= through, "{windows:?}");
    assert_eq!(
        (state.data_through, state.gaps.len()),
        (Some(t("2030-06-02T00:00:00Z")), 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_sync_whose_clock_was_ahead_is_read_again_as_a_whole() {
    let bench = CannedProject::new("hecone", &[("transactions", record("completed"))], "").await;
    sync_at(&bench, "2027-01-01T00:00:00Z").await;
    let (run, state) = sync_at(&bench, "2026-02-01T00:00:00Z").await;
    let windows = read_by(&bench, &run).await;
    assert_eq!(windows[0].from(), t("2026-01-01T00:00:00Z"), "{windows:?}");
    assert_eq!(state.data_through, Some(t("2026-02-01T00:00:00Z")));
}
