//! The law of watching: in which order events come, and that nothing depends on who hears them.
//!
//! Invariant: each test runs a whole sync, as whoever watches one sees it.

use super::*;
use crate::plan::{SyncOptions, SyncRange};
use crate::scripted_source::{SALES, ScriptedRun, Turn, page, sale, window};
use std::sync::{Arc, Mutex};

/// Observer that writes down events as they are printed.
#[derive(Default)]
struct Printer(Mutex<Vec<String>>);

impl RunObserver for Printer {
    fn on_event(&self, event: &RunEvent) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

/// Syncs two pages of one slice; what the report says of the records.
async fn sync_watched(observer: Arc<dyn RunObserver>) -> (u64, u64, u64) {
    let turns = [&["secret-a", "secret-b"], &["secret-b", "secret-c"]]
        .map(|ids| Turn::Page(page(&ids.map(sale))));
    let run = ScriptedRun::new([turns.into()]).await;
    let (mut context, pipeline) = (run.context(), run.pipeline(SALES));
    context.observer = observer;
    let options = SyncOptions {
        range: SyncRange {
            from: Some(window().from()),
            to: Some(window().to()),
        },
        ..SyncOptions::default()
    };
    let done = crate::sync(&context, &[pipeline], options).await.unwrap();
    let report = &done.pipelines[0];
    (report.slices, report.new, report.records)
}

#[tokio::test]
async fn a_run_does_the_same_with_nobody_watching() {
    let watched = sync_watched(Arc::<Printer>::default()).await;
    assert_eq!(watched, (1, 3, 3));
    assert_eq!(sync_watched(Arc::new(NoopObserver)).await, watched);
}

#[tokio::test]
async fn events_come_in_the_order_of_the_work_and_hold_no_data() {
    let printer = Arc::<Printer>::default();
    sync_watched(Arc::clone(&printer) as Arc<dyn RunObserver>).await;
    let events = printer.0.lock().unwrap();
    let at = |start: &str| {
        let found = events.iter().position(|event| event.starts_with(start));
        found.unwrap_or_else(|| panic!("no {start} in {events:?}"))
    };
    let order = [
        at("Planned"),
        at("Page"),
        at("SliceDone"),
        at("Stage { pipeline: Some(\"shop\"), name: \"extract\""),
        at("Stage { pipeline: Some(\"shop\"), name: \"unify\""),
        at("Stage { pipeline: None, name: \"publish\""),
    ];
    assert!(order.is_sorted(), "{events:?}");
    assert!(at("Page") < at("Landed") && at("Landed") < order[3]);
    let pages = events.iter().filter(|event| event.starts_with("Page"));
    assert_eq!(pages.count(), 2);
    assert!(events.iter().all(|event| !event.contains("secret")));
}
