//! The law of fingerprints: a table whose landings go by them is the table that it would be without, and what is known is not read.
//!
//! Invariant: a fingerprint that outlives its truth, in whatever way, changes an outcome here.

use super::tests::{JAN, counts, history, listed, of_tenants, shared_table, table};
use super::*;
use crate::faulty_store::{FixtureRecord, TempWarehouse, page, run, sql, warehouse_of};
use crate::source::fingerprints::FingerprintUse;
use proptest::prelude::*;

const SYNC: FingerprintUse = FingerprintUse {
    recognizes: true,
    adds: true,
};
const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
const TIMES: [Option<&str>; 4] = [
    Some("2026-01-10T10:00:00Z"),
    Some("2026-01-10T10:00:01Z"),
    Some("2026-02-03T10:00:00Z"),
    None,
];
const UPDATED: [Option<&str>; 3] = [
    None,
    Some("2026-02-10T00:00:00Z"),
    Some("2026-02-11T00:00:00Z"),
];
const TENANTS: [&str; 3] = ["acc", "acc2", "acc3"];

/// Record of a page by places in the lists above, with its content.
type DrawnRecord = (usize, usize, i64, usize);

#[derive(Debug, Clone)]
enum Event {
    /// A package of pages: tenant, second of the request, records.
    Land(Vec<(usize, u32, Vec<DrawnRecord>)>),
    /// The same by a writer that has no fingerprints, of either table.
    LandByOther(Vec<(usize, u32, Vec<DrawnRecord>)>),
    /// The next run: which of the stored fingerprints it finds (0: the newest), how it uses them, and whether the one before drops what it did not see.
    NextRun(usize, FingerprintUse, bool),
}

fn package(pages: &[(usize, u32, Vec<DrawnRecord>)]) -> Vec<PackagePage> {
    let of_page = |(tenant, second, records): &(usize, u32, Vec<DrawnRecord>)| {
        let record = |(key, time, content, updated): &DrawnRecord| {
            FixtureRecord(KEYS[*key], TIMES[*time], *content, UPDATED[*updated])
        };
        let records: Vec<FixtureRecord> = records.iter().map(record).collect();
        let at = format!("2026-03-01T00:00:{second:02}Z");
        listed(Some(TENANTS[*tenant]), page(&at, &records))
    };
    pages.iter().map(of_page).collect()
}

fn pages() -> impl Strategy<Value = Vec<(usize, u32, Vec<DrawnRecord>)>> {
    let record = (0..KEYS.len(), 0..TIMES.len(), 0..3_i64, 0..UPDATED.len());
    let page = (
        0..TENANTS.len(),
        0..60_u32,
        prop::collection::vec(record, 1..4),
    );
    prop::collection::vec(page, 1..3)
}

fn event() -> impl Strategy<Value = Event> {
    let use_of = (prop::bool::weighted(0.9), prop::bool::weighted(0.8))
        .prop_map(|(recognizes, adds)| FingerprintUse { recognizes, adds });
    prop_oneof![
        6 => pages().prop_map(Event::Land),
        1 => pages().prop_map(Event::LandByOther),
        3 => (prop_oneof![4 => Just(0_usize), 1 => 1..4_usize], use_of, any::<bool>())
            .prop_map(|(which, use_of, drops)| Event::NextRun(which, use_of, drops)),
    ]
}

/// Parts that do not differ between two landings of the same.
fn told(landed: &LandingSummary) -> impl PartialEq + std::fmt::Debug + use<> {
    let LandingSummary {
        version,
        load_id,
        elsewhere,
        ..
    } = landed.clone();
    (version, load_id, counts(landed), elsewhere)
}

/// Plays a history; of each landing its outcomes with fingerprints and without, then the rows of both tables.
async fn play(events: &[Event]) -> (Vec<String>, Vec<String>) {
    const ROWS: &str = "SELECT id, _load_id, CAST(amount * 10000 AS BIGINT), account, _record_time, _prev_record_time, _extracted_at \
                        FROM t ORDER BY _load_id, id";
    let (with, without) = (TempWarehouse::new(), TempWarehouse::new());
    let (plain, other) = (shared_table(&with).await, shared_table(&without).await);
    let order = of_tenants(&["acc", "acc2"]);
    let mut fingerprints = Arc::new(RecordFingerprints::empty(SYNC));
    let mut stored = Vec::new();
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let mut note = |of: LandingSummary, and: LandingSummary| {
        first.push(format!("{:?}", told(&of)));
        second.push(format!("{:?}", told(&and)));
    };
    for event in events {
        match event {
            Event::Land(pages) => {
                let table = plain.clone().recognizing(Arc::clone(&fingerprints));
                let of = table.land(package(pages), &order).await.unwrap();
                note(of, other.land(package(pages), &order).await.unwrap());
            }
            Event::LandByOther(pages) => {
                let of = plain.land(package(pages), &order).await.unwrap();
                note(of, other.land(package(pages), &order).await.unwrap());
            }
            Event::NextRun(which, use_of, drops) => {
                if *drops {
                    fingerprints.drop_unseen();
                }
                stored.extend(fingerprints.stored());
                let found = stored.iter().rev().nth(*which);
                let read = found
                    .and_then(|(files, bytes)| RecordFingerprints::read(*files, bytes, *use_of));
                let read = read.unwrap_or_else(|| RecordFingerprints::empty(*use_of));
                fingerprints = Arc::new(read);
            }
        }
    }
    for (table, lines) in [(&plain, &mut first), (&other, &mut second)] {
        if table.version().await.unwrap().is_some() {
            let warehouse = warehouse_of(&table.registry);
            lines.extend(sql(&warehouse, &table.path, None, ROWS).await);
        }
    }
    (first, second)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn histories_with_fingerprints_and_without_give_the_same_tables(
        events in prop::collection::vec(event(), 1..14)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (with, without) = runtime.block_on(play(&events));
        prop_assert_eq!(with, without);
    }
}

/// The notes as the next run finds them.
fn of_next_run(fingerprints: &RecordFingerprints) -> Arc<RecordFingerprints> {
    let (files, bytes) = fingerprints.stored().unwrap();
    Arc::new(RecordFingerprints::read(files, &bytes, SYNC).unwrap())
}

#[tokio::test]
async fn what_comes_as_it_is_known_is_found_out_without_a_data_file_and_a_change_never_is() {
    let place = TempWarehouse::new();
    let first = Arc::new(RecordFingerprints::empty(SYNC));
    let records = |contents: [i64; 3]| {
        let record = |(key, content)| FixtureRecord(key, JAN, content, None);
        let records: Vec<_> = KEYS.into_iter().zip(contents).map(record).collect();
        vec![page("2026-03-02T00:00:00Z", &records)]
    };
    let landing = table(&place).await.recognizing(Arc::clone(&first));
    landing.land(records([1, 1, 1]), &run("r")).await.unwrap();
    // Another process: nothing is left in memory of what the files hold.
    let quiet = of_next_run(&first);
    let again = table(&place).await.recognizing(Arc::clone(&quiet));
    let before = place.store.data_files_read();
    let landed = again.land(records([1, 1, 1]), &run("s")).await.unwrap();
    assert_eq!((counts(&landed), landed.files_read), ((0, 0, 3, 0), 0));
    assert_eq!(place.store.data_files_read(), before);
    assert!(
        !quiet.is_changed(),
        "nothing is written where nothing is new"
    );
    // One that has changed is looked up, and it alone; from then on it is known as it is.
    let landed = again.land(records([1, 2, 1]), &run("s")).await.unwrap();
    assert_eq!(counts(&landed), (0, 1, 2, 0));
    assert!(landed.files_read > 0 && quiet.is_changed());
    let later = table(&place).await.recognizing(of_next_run(&quiet));
    let landed = later.land(records([1, 2, 1]), &run("t")).await.unwrap();
    assert_eq!((counts(&landed), landed.files_read), ((0, 0, 3, 0), 0));
    let landed = later.land(records([1, 1, 1]), &run("t")).await.unwrap();
    assert_eq!(counts(&landed), (0, 1, 2, 0), "a, b, a again are three");
    assert_eq!(
        history(&later).await,
        [
            "a 1 1 -",
            "b 1 1 -",
            "c 1 1 -",
            "b 2 2 2026-01-10T10:00:00Z",
            "b 3 1 2026-01-10T10:00:00Z"
        ]
    );
    // The notes of the second run are older than the table: none of them counts.
    let stale = table(&place).await.recognizing(of_next_run(&quiet));
    let landed = stale.land(records([1, 2, 1]), &run("u")).await.unwrap();
    assert_eq!(counts(&landed), (0, 1, 2, 0));
    assert!(landed.files_read > 0);
}
