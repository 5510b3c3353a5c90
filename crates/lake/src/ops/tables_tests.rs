//! The bookkeeping tables.
//!
//! Invariant: what is noted twice stands once, whoever else writes.

use super::*;
use crate::faulty_store::{TempWarehouse, sql, t, warehouse_of};
use crate::warehouse::Warehouse;
use futures::FutureExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tillhouse_model::{ExpectedReads, ReadBy, Window};

fn window() -> Window {
    Window::new(t("2026-01-01T00:00:00Z"), t("2026-01-02T00:00:00Z")).unwrap()
}

fn slice(read_at: &str, tenant: Option<&str>) -> SliceRow {
    SliceRow {
        pipeline: "hecone".to_owned(),
        resource: "transactions".to_owned(),
        tenant: tenant.map(ToOwned::to_owned),
        window: window(),
        read_by: tenant.map(|_| ReadBy::ChangeTime),
        also_read_by: tenant.map(|_| ReadBy::EventTime),
        run_id: "20260301T000000Z-aaaaaa".to_owned(),
        read_at: t(read_at),
        records: 5,
        rejects: 1,
        declared_total: tenant.map(|_| 6),
        attempts: 2,
        load_id: 3,
    }
}

fn reject(key: Option<&str>, redacted: &str, seen: &str) -> RejectRow {
    RejectRow {
        pipeline: "hecone".to_owned(),
        resource: "transactions".to_owned(),
        record_key: key.map(ToOwned::to_owned),
        field: "amount".to_owned(),
        reason: "not a number".to_owned(),
        redacted: redacted.to_owned(),
        tenant: None,
        nth: 1,
        time: None,
        slice: window(),
        read_by: key.map(|_| ReadBy::EventTime),
        run_id: format!("run at {seen}"),
        first_seen: t(seen),
        last_seen: t(seen),
        resolved_at: None,
    }
}

fn record(run_id: &str, finished_at: &str, published: bool) -> RunRecord {
    RunRecord {
        run_id: run_id.to_owned(),
        command: "sync".to_owned(),
        pipelines: vec!["hecone".to_owned()],
        started_at: t("2026-03-01T00:00:00Z"),
        finished_at: t(finished_at),
        outcome: "done".to_owned(),
        published,
        tables: BTreeMap::from([
            ("hecone/transactions".to_owned(), 7.into()),
            ("unified/sites".to_owned(), 2.into()),
        ]),
        figures: BTreeMap::new(),
        counts: BTreeMap::from([("new".to_owned(), 10)]),
        expected: BTreeMap::new(),
    }
}

#[tokio::test]
async fn slices_are_read_back_as_they_were_and_no_file_is_written_anew() {
    let place = TempWarehouse::new();
    let ops = place.open().await.ops();
    assert_eq!(ops.slices("hecone").await.unwrap(), Vec::new());
    ops.record_slices(&[]).await.unwrap();
    let rows = [
        slice("2026-03-01T00:00:00.000001Z", None),
        slice("2026-03-01T00:00:01Z", Some("t1")),
        slice("2026-04-01T00:00:00Z", None),
    ];
    for row in &rows {
        ops.record_slices(std::slice::from_ref(row)).await.unwrap();
    }
    assert_eq!(
        place.open().await.ops().slices("hecone").await.unwrap(),
        rows
    );
    assert_eq!(ops.slices("other").await.unwrap(), Vec::new());
    let open = warehouse_of(&ops.registry)
        .open_at("ops/slices", None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((open.figures.files, open.figures.rows), (3, Some(3)));
}

/// A slice as an older version wrote it, without the column for the time its window is about.
#[derive(Clone)]
struct FixtureOldSlice(SliceRow);

impl BookkeepingRow for FixtureOldSlice {
    const TABLE: &'static str = SliceRow::TABLE;
    const COLUMNS: &'static [(&'static str, crate::ops::row_codec::ColumnType, bool)] =
        SliceRow::COLUMNS.split_at(OLD_COLUMNS).0;

    fn month(&self) -> String {
        self.0.month()
    }

    fn cells(&self) -> Result<Vec<crate::ops::row_codec::RowValue>> {
        let mut cells = self.0.cells()?;
        cells.truncate(OLD_COLUMNS);
        Ok(cells)
    }

    fn read(cells: &crate::ops::row_codec::RowReader<'_>) -> Result<Self> {
        SliceRow::read(cells).map(Self)
    }
}

/// From `pipeline` to `land`.
const OLD_COLUMNS: usize = 12;

impl BookkeepingEdit<FixtureOldSlice> for Vec<FixtureOldSlice> {
    fn looks_back(&self) -> bool {
        false
    }
    fn note(&mut self, _: &FixtureOldSlice) {}
    fn changed(&self, _: &FixtureOldSlice) -> Option<FixtureOldSlice> {
        None
    }
    fn added(&self) -> Vec<FixtureOldSlice> {
        self.clone()
    }
}

#[tokio::test]
async fn a_ledger_of_an_older_version_is_read_with_sense_and_gains_columns() {
    assert_eq!(SliceRow::COLUMNS[OLD_COLUMNS - 1].0, "land");
    let place = TempWarehouse::new();
    let ops = place.open().await.ops();
    let old = |resource: &str, read_at: &str| {
        FixtureOldSlice(SliceRow {
            resource: resource.to_owned(),
            ..slice(read_at, None)
        })
    };
    let mut before = vec![
        old("sessions", "2026-03-01T00:00:00Z"),
        old("sessions (late)", "2026-03-02T00:00:00Z"),
        old("sessions (late)", "2026-04-01T00:00:00Z"),
    ];
    ops.edit::<FixtureOldSlice>("r1", &mut before)
        .await
        .unwrap();
    let columns = warehouse_of(&ops.registry)
        .open_at("ops/slices", None)
        .await
        .unwrap()
        .unwrap()
        .provider
        .schema();
    assert!(columns.field_with_name("read_by").is_err());

    let told = async || {
        let rows = ops.slices("hecone").await.unwrap();
        rows.into_iter()
            .map(|row| (row.resource, row.read_by, row.also_read_by))
            .collect::<Vec<_>>()
    };
    let sessions = |read_by, also| ("sessions".to_owned(), read_by, also);
    let late = sessions(Some(ReadBy::ChangeTime), Some(ReadBy::EventTime));
    assert_eq!(
        told().await,
        [sessions(None, None), late.clone(), late.clone()]
    );

    let now = SliceRow {
        resource: "sessions".to_owned(),
        read_by: Some(ReadBy::EventTime),
        also_read_by: Some(ReadBy::ChangeTime),
        ..slice("2026-04-02T00:00:00Z", None)
    };
    ops.record_slices(&[now]).await.unwrap();
    let new = sessions(Some(ReadBy::EventTime), Some(ReadBy::ChangeTime));
    assert_eq!(
        told().await,
        [sessions(None, None), late.clone(), late, new]
    );
    // The files that were there are left as they were.
    let query = "SELECT resource, read_by FROM t ORDER BY read_at";
    let lines = [
        "sessions -",
        "sessions (late) -",
        "sessions (late) -",
        "sessions event_time",
    ];
    assert_eq!(
        sql(&warehouse_of(&ops.registry), "ops/slices", None, query).await,
        lines
    );
}

#[tokio::test]
async fn two_bookkeepers_lose_nothing() {
    let place = TempWarehouse::new();
    let (one, two) = (place.open().await.ops(), place.open().await.ops());
    one.record_slices(&[slice("2026-03-01T00:00:00Z", None)])
        .await
        .unwrap();
    let rival = two.clone();
    place.store.before_next_commit(move || {
        async move {
            rival
                .record_slices(&[slice("2026-03-02T00:00:00Z", None)])
                .await
                .unwrap()
        }
        .boxed()
    });
    place.store.hide_success(1);
    one.record_slices(&[slice("2026-03-03T00:00:00Z", None)])
        .await
        .unwrap();
    assert_eq!(one.slices("hecone").await.unwrap().len(), 3);
}

#[tokio::test]
async fn rejects_are_known_again_resolved_and_opened_again() {
    let place = TempWarehouse::new();
    let ops = place.open().await.ops();
    let nothing = |_: &RejectRow| false;
    let (day1, day2, day3) = (
        "2026-03-31T00:00:00Z",
        "2026-04-01T00:00:00Z",
        "2026-04-02T00:00:00Z",
    );
    let (a, anonymous) = (
        reject(Some("a"), "{}", day1),
        reject(None, "{\"x\":\"***\"}", day1),
    );
    ops.record_rejects(
        &[a.clone(), anonymous.clone(), a.clone()],
        &nothing,
        t(day1),
    )
    .await
    .unwrap();
    assert_eq!(ops.rejects(None, true).await.unwrap().len(), 2);
    // Seen again a month later: the same row, with its first sight.
    ops.record_rejects(&[reject(Some("a"), "{}", day2)], &nothing, t(day2))
        .await
        .unwrap();
    let rows = ops.rejects(Some("hecone"), false).await.unwrap();
    assert_eq!(rows.len(), 2);
    let again = rows.iter().find(|r| r.record_key.is_some()).unwrap();
    assert_eq!((again.first_seen, again.last_seen), (t(day1), t(day2)));
    // It lands: resolved. The one without a key never is.
    ops.record_rejects(
        &[],
        &|row| row.resource == "transactions" && row.record_key.as_deref() == Some("a"),
        t(day3),
    )
    .await
    .unwrap();
    let open = ops.rejects(None, true).await.unwrap();
    assert_eq!(open, [anonymous]);
    let resolved = ops
        .rejects(None, false)
        .await
        .unwrap()
        .into_iter()
        .find(|r| r.record_key.is_some())
        .unwrap();
    assert_eq!(resolved.resolved_at, Some(t(day3)));
    ops.record_rejects(&[reject(Some("a"), "{}", day3)], &nothing, t(day3))
        .await
        .unwrap();
    assert_eq!(
        ops.rejects(None, true).await.unwrap().len(),
        2,
        "open again"
    );
    assert_eq!(ops.rejects(Some("other"), false).await.unwrap(), Vec::new());
}

#[tokio::test]
async fn rejects_without_a_key_are_as_many_as_came_and_the_same_ones_when_they_come_again() {
    let place = TempWarehouse::new();
    let ops = place.open().await.ops();
    let nothing = |_: &RejectRow| false;
    let (day1, day2, day3) = (
        "2026-03-30T00:00:00Z",
        "2026-03-31T00:00:00Z",
        "2026-04-02T00:00:00Z",
    );
    let within = |from: &str, to: &str| Window::new(t(from), t(to)).unwrap();
    let (first, second) = (within("2026-03-01T00:00:00Z", day1), within(day1, day2));
    let null = |nth: u64, slice: Window, seen: &str| RejectRow {
        nth,
        slice,
        ..reject(None, "", seen)
    };
    let open = async || {
        let rows = ops.rejects(None, true).await.unwrap();
        rows.iter()
            .map(|row| (row.slice, row.tenant.clone(), row.nth))
            .collect::<Vec<_>>()
    };
    // Three of one slice, in two packages; two of another one, which are others.
    let rows = [
        null(1, first, day2),
        null(2, first, day2),
        null(1, second, day2),
        null(2, second, day2),
    ];
    ops.record_rejects(&rows, &nothing, t(day2)).await.unwrap();
    ops.record_rejects(&[null(3, first, day2)], &nothing, t(day2))
        .await
        .unwrap();
    let all = [(first, 1), (first, 2), (first, 3), (second, 1), (second, 2)]
        .map(|(slice, nth)| (slice, None, nth));
    assert_eq!(open().await, all);
    // Read again, they are the same ones, with their first sight.
    ops.record_rejects(
        &[1, 2, 3].map(|nth| null(nth, first, day3)),
        &nothing,
        t(day3),
    )
    .await
    .unwrap();
    assert_eq!(open().await, all);
    assert!(
        ops.rejects(None, true)
            .await
            .unwrap()
            .iter()
            .all(|row| row.first_seen == t(day2))
    );
    // Also in another cut of the time.
    let later = within("2026-03-02T00:00:00Z", day1);
    ops.record_rejects(
        &[1, 2, 3].map(|nth| null(nth, later, day3)),
        &nothing,
        t(day3),
    )
    .await
    .unwrap();
    assert_eq!(open().await.len(), 5);
    // Those of another tenant are others.
    let other = RejectRow {
        tenant: Some("acc2".to_owned()),
        ..null(1, second, day3)
    };
    ops.record_rejects(std::slice::from_ref(&other), &nothing, t(day3))
        .await
        .unwrap();
    ops.record_rejects(&[other], &nothing, t(day3))
        .await
        .unwrap();
    assert_eq!(open().await.len(), 6);
    // A newer reading that has fewer of them replaces the older one.
    let read_again =
        |row: &RejectRow| row.record_key.is_none() && row.tenant.is_none() && row.slice == second;
    ops.record_rejects(&[null(1, second, day3)], &read_again, t(day3))
        .await
        .unwrap();
    let left = [
        (later, None, 1),
        (later, None, 2),
        (later, None, 3),
        (second, None, 1),
    ];
    assert_eq!(open().await[..4], left);
    assert_eq!(open().await.len(), 5);
}

#[tokio::test]
async fn warnings_and_drift_stand_once() {
    let place = TempWarehouse::new();
    let ops = place.open().await.ops();
    let warning = |run: &str, seen: &str| WarningRow {
        pipeline: "hecone".to_owned(),
        resource: "transactions".to_owned(),
        record_key: "a".to_owned(),
        field: "amount".to_owned(),
        rule: "rounded".to_owned(),
        original: "12.290000000000001".to_owned(),
        content_hash: None,
        run_id: run.to_owned(),
        first_seen: t(seen),
    };
    let first = warning("r1", "2026-03-01T00:00:00Z");
    ops.record_warnings(&[first.clone(), first]).await.unwrap();
    ops.record_warnings(&[warning("r2", "2026-04-01T00:00:00Z")])
        .await
        .unwrap();
    assert_eq!(
        sql(
            &warehouse_of(&ops.registry),
            "ops/warnings",
            None,
            "SELECT run_id, month FROM t"
        )
        .await,
        ["r1 2026-03"]
    );
    // Of another version of the record it is another one.
    let about = |version: &str| WarningRow {
        content_hash: Some(version.to_owned()),
        ..warning("r3", "2026-03-02T00:00:00Z")
    };
    ops.record_warnings(&[about("01aa"), about("01bb"), about("01aa")])
        .await
        .unwrap();
    ops.record_warnings(&[about("01bb")]).await.unwrap();
    assert_eq!(
        sql(
            &warehouse_of(&ops.registry),
            "ops/warnings",
            None,
            "SELECT run_id, content_hash FROM t ORDER BY content_hash NULLS FIRST"
        )
        .await,
        ["r1 -", "r3 01aa", "r3 01bb"]
    );
    let found = ops.warnings("hecone", "rounded").await.unwrap();
    assert_eq!(found.len(), 3);
    for (pipeline, rule) in [("pace", "rounded"), ("hecone", "other")] {
        assert_eq!(ops.warnings(pipeline, rule).await.unwrap(), []);
    }
    let drift = |run: &str, count, seen: &str| DriftRow {
        pipeline: "hecone".to_owned(),
        resource: "transactions".to_owned(),
        field: "payments[].loyalty".to_owned(),
        count,
        run_id: run.to_owned(),
        seen_at: t(seen),
    };
    ops.record_drift(&[
        drift("r1", 2, "2026-03-01T00:00:00Z"),
        drift("r1", 3, "2026-03-01T00:00:00Z"),
    ])
    .await
    .unwrap();
    let query = "SELECT run_id, count, first_seen, last_seen FROM t";
    assert_eq!(
        sql(&warehouse_of(&ops.registry), "ops/drift", None, query).await,
        ["r1 5 2026-03-01T00:00:00Z 2026-03-01T00:00:00Z"]
    );
    ops.record_drift(&[drift("r2", 4, "2026-04-01T00:00:00Z")])
        .await
        .unwrap();
    assert_eq!(
        sql(&warehouse_of(&ops.registry), "ops/drift", None, query).await,
        ["r2 4 2026-03-01T00:00:00Z 2026-04-01T00:00:00Z"]
    );
}

#[tokio::test]
async fn readers_use_the_newest_published_run() {
    let place = TempWarehouse::new();
    let ops = place.open().await.ops();
    assert_eq!(ops.published(&AsOf::Latest).await.unwrap(), None);
    let (a, b, c) = (
        record("r1", "2026-03-01T01:00:00Z", true),
        record("r2", "2026-03-01T02:00:00Z", true),
        record("r3", "2026-03-01T03:00:00Z", false),
    );
    for run in [&a, &b, &c] {
        ops.publish(run).await.unwrap();
    }
    assert_eq!(ops.runs().await.unwrap(), [c, b.clone(), a.clone()]);
    assert_eq!(ops.published(&AsOf::Latest).await.unwrap(), Some(b.clone()));
    assert_eq!(
        ops.published(&AsOf::Run("r1".to_owned())).await.unwrap(),
        Some(a.clone())
    );
    assert_eq!(
        ops.published(&AsOf::Run("r3".to_owned())).await.unwrap(),
        None,
        "never published"
    );
    assert_eq!(
        ops.published(&AsOf::Time(t("2026-03-01T01:30:00Z")))
            .await
            .unwrap(),
        Some(a)
    );
    assert_eq!(
        ops.published(&AsOf::Time(t("2026-02-01T00:00:00Z")))
            .await
            .unwrap(),
        None
    );
}

/// A run as an older version wrote it, without the column for what was to be read.
#[derive(Clone)]
struct FixtureOldRun(NumberedRun);

impl BookkeepingRow for FixtureOldRun {
    const TABLE: &'static str = NumberedRun::TABLE;
    const COLUMNS: &'static [(&'static str, crate::ops::row_codec::ColumnType, bool)] =
        NumberedRun::COLUMNS.split_at(OLD_RUN_COLUMNS).0;
    const STATISTICS: &'static [&'static str] = NumberedRun::STATISTICS;

    fn month(&self) -> String {
        self.0.month()
    }

    fn cells(&self) -> Result<Vec<crate::ops::row_codec::RowValue>> {
        let mut cells = self.0.cells()?;
        cells.truncate(OLD_RUN_COLUMNS);
        Ok(cells)
    }

    fn read(cells: &crate::ops::row_codec::RowReader<'_>) -> Result<Self> {
        NumberedRun::read(cells).map(Self)
    }
}

/// From `run_id` to `number`.
const OLD_RUN_COLUMNS: usize = 11;

impl BookkeepingEdit<FixtureOldRun> for Vec<FixtureOldRun> {
    fn looks_back(&self) -> bool {
        false
    }
    fn note(&mut self, _: &FixtureOldRun) {}
    fn changed(&self, _: &FixtureOldRun) -> Option<FixtureOldRun> {
        None
    }
    fn added(&self) -> Vec<FixtureOldRun> {
        self.clone()
    }
}

#[tokio::test]
async fn what_other_pipelines_are_to_read_stays_as_the_run_before_said_it() {
    assert_eq!(NumberedRun::COLUMNS[OLD_RUN_COLUMNS].0, "expected");
    let place = TempWarehouse::new();
    let ops = place.open().await.ops();
    let old = FixtureOldRun(NumberedRun {
        run: record("r0", "2026-03-01T00:30:00Z", true),
        number: Some(0),
    });
    ops.edit("r0", &mut vec![old.clone()]).await.unwrap();
    assert_eq!(ops.runs().await.unwrap(), [old.0.run]);
    let reads = |tenants: &[&str]| {
        let tenants = tenants.iter().map(|tenant| Some((*tenant).to_owned()));
        ExpectedReads::new("pace", [("sales".to_owned(), tenants.collect())])
    };
    let unknown = || ExpectedReads::unknown(Some("pace".to_owned()));
    let publish = async |id: &str, expected: &[(&str, ExpectedReads)]| {
        let expected = expected.iter().cloned();
        let run = RunRecord {
            expected: expected
                .map(|(name, reads)| (name.to_owned(), reads))
                .collect(),
            ..record(id, "2026-03-01T01:00:00Z", true)
        };
        ops.publish(&run).await.unwrap();
        let read = place.open().await.ops();
        let newest = read.published(&AsOf::Latest).await.unwrap().unwrap();
        assert_eq!(newest, read.runs().await.unwrap()[0]);
        newest.expected
    };
    let of = |expected: &[(&str, ExpectedReads)]| -> BTreeMap<String, ExpectedReads> {
        let expected = expected.iter().cloned();
        expected
            .map(|(name, reads)| (name.to_owned(), reads))
            .collect()
    };
    let first = [
        ("a", reads(&["x", "y"])),
        ("b", unknown()),
        ("c", unknown()),
    ];
    assert_eq!(publish("r1", &first).await, of(&first));
    // Of `a` a run of `b` knows no more than that it is there; `c` is configured no more.
    let second = [("a", unknown()), ("b", reads(&["z"]))];
    let known = [("a", reads(&["x", "y"])), ("b", reads(&["z"]))];
    assert_eq!(publish("r2", &second).await, of(&known));
    assert_eq!(publish("r3", &[]).await, of(&known));
    let third = [("a", reads(&["x"]))];
    let known = [("a", reads(&["x"])), ("b", reads(&["z"]))];
    assert_eq!(publish("r4", &third).await, of(&known));
    // It was not unified, and is shown as the last run has it in which it was.
    let unified_by = |id: &str| ExpectedReads {
        unified_by: Some(id.to_owned()),
        ..reads(&["x"])
    };
    for (id, own, kept) in [
        ("r5", "", "r4"),
        ("r6", "", "r4"),
        ("r7", "r7", "r7"),
        ("r8", "", "r7"),
    ] {
        let expected = publish(id, &[("a", unified_by(own))]).await;
        assert_eq!(expected["a"], unified_by(kept), "{id}");
    }
}

/// A process of its own over a warehouse in a bucket.
async fn in_bucket(memory: &Arc<InMemory>) -> Warehouse {
    let store = Arc::clone(memory) as Arc<dyn ObjectStore>;
    let url = "s3://tills/warehouse/".parse().unwrap();
    let warehouse = Warehouse::open_on(store, url).await.unwrap();
    warehouse.prepare().await.unwrap();
    warehouse
}

/// Notes a slice and publishes a run that names the ledger with it.
async fn publish_slice(warehouse: &Warehouse, run_id: &str, tenant: Option<&str>, version: u64) {
    let (ops, time) = (warehouse.ops(), "2026-03-01T00:00:00Z");
    ops.record_slices(&[slice(time, tenant)]).await.unwrap();
    let run = RunRecord {
        tables: [(SliceRow::TABLE.to_owned(), version.into())].into(),
        ..record(run_id, time, true)
    };
    ops.publish(&run).await.unwrap();
}

#[tokio::test]
async fn a_run_in_a_bucket_is_noted_by_what_the_store_answered_and_opened_by_its_note() {
    let memory = Arc::new(InMemory::new());
    let one = in_bucket(&memory).await;
    let heads = one.requests().heads;
    publish_slice(&one, "a", None, 1).await;
    assert_eq!(one.requests().heads, heads);
    let other = in_bucket(&memory).await;
    let found = other.ops().published(&AsOf::Latest).await.unwrap();
    assert_eq!(found.unwrap().run_id, "a");
    let version = 1.into();
    let ledger = other.open_at(SliceRow::TABLE, Some(&version)).await;
    assert_eq!(ledger.unwrap().unwrap().figures.rows, Some(1));
    // The format and the note.
    assert_eq!(other.requests().gets, 2, "{}", other.requests());
}

#[tokio::test]
async fn a_run_that_is_overtaken_before_it_holds_its_pipelines_goes_on_from_what_was_published() {
    let memory = Arc::new(InMemory::new());
    publish_slice(&in_bucket(&memory).await, "a", None, 1).await;
    for is_overtaken in [false, true] {
        let late = in_bucket(&memory).await;
        late.ops().read_note_ahead().await;
        if is_overtaken {
            publish_slice(&in_bucket(&memory).await, "c", Some("7"), 2).await;
        }
        late.hold(vec![SliceRow::TABLE.to_owned()]);
        let (found, lost) = late.ops().newest_published().await.unwrap();
        let found = found.unwrap();
        let newest = if is_overtaken { "c" } else { "a" };
        assert_eq!((found.run_id.as_str(), lost), (newest, None));
        assert!(late.damage(&found).await.is_none());
        let slices = late.ops().slices("hecone").await.unwrap();
        assert_eq!(slices.len(), if is_overtaken { 2 } else { 1 });
        // What it has seen it need not ask for again, as long as nobody else commits.
        let lists = late.requests().lists;
        let next = if is_overtaken { "d" } else { "b" };
        let run = RunRecord {
            run_id: next.to_owned(),
            ..found
        };
        late.ops().publish(&run).await.unwrap();
        assert_eq!(late.requests().lists, lists);
        let reader = in_bucket(&memory).await;
        let published = reader.ops().published(&AsOf::Latest).await.unwrap();
        assert_eq!(published.unwrap().run_id, next);
        if is_overtaken {
            // One that was published meanwhile is seen by whoever publishes next, who loses the commit first.
            publish_slice(&reader, "e", Some("8"), 3).await;
            let run = RunRecord {
                run_id: "f".to_owned(),
                ..run
            };
            late.ops().publish(&run).await.unwrap();
            let reader = in_bucket(&memory).await;
            let published = reader.ops().published(&AsOf::Latest).await.unwrap();
            let published = published.unwrap();
            assert_eq!(published.run_id, "f");
            assert_eq!(published.tables[SliceRow::TABLE].version, 3);
        }
    }
}

#[tokio::test]
async fn reads_of_a_run_whose_record_is_there_before_its_note_are_published() {
    let memory = Arc::new(InMemory::new());
    let (one, time) = (in_bucket(&memory).await, "2026-03-01T00:00:00Z");
    publish_slice(&one, "a", None, 1).await;
    let warehouse = in_bucket(&memory).await;
    let reader = warehouse.ops();
    let (known, end) = reader.newest_with_ledger().await.unwrap();
    let known = known.unwrap();
    let requests = warehouse.requests().all();
    assert!(
        reader
            .unpublished_reads_at(&known, end)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        warehouse.requests().all(),
        requests,
        "the ledger's end was seen"
    );
    let (_, seen) = reader.newest_with_ledger().await.unwrap();
    let read = SliceRow {
        run_id: "b".to_owned(),
        ..slice(time, Some("7"))
    };
    one.ops().record_slices(&[read]).await.unwrap();
    let left = reader.unpublished_reads(&known).await.unwrap();
    assert_eq!(left.len(), 1, "it has not ended");
    let left = reader.unpublished_reads_at(&known, seen).await.unwrap();
    assert!(left.is_empty(), "of what came since nothing is told");
    let run = RunRecord {
        tables: [(SliceRow::TABLE.to_owned(), 2.into())].into(),
        ..record("b", time, true)
    };
    let unnoted = one.ops().publish_unnoted(&run).await.unwrap().unwrap();
    // Its lease is given back by now.
    assert!(reader.unpublished_reads(&known).await.unwrap().is_empty());
    unnoted.note().await;
    assert!(reader.unpublished_reads(&known).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_was_seen_before_a_run_holds_its_tables_is_looked_at_again() {
    let memory = Arc::new(InMemory::new());
    publish_slice(&in_bucket(&memory).await, "a", None, 1).await;
    let holder = in_bucket(&memory).await;
    for (run_id, tenant, version) in [("b", "7", 2), ("c", "8", 3)] {
        let seen = holder.ops().slices("hecone").await.unwrap();
        publish_slice(&in_bucket(&memory).await, run_id, Some(tenant), version).await;
        holder.hold(Vec::new());
        let held = holder.ops().slices("hecone").await.unwrap();
        assert_eq!(held.len(), seen.len() + 1);
    }
}

#[tokio::test]
async fn a_table_that_was_not_there_and_could_not_be_read_since_is_looked_for_again() {
    let place = TempWarehouse::new();
    let holder = place.open().await;
    holder.hold(Vec::new());
    let table = holder.table(SliceRow::TABLE).unwrap();
    assert!(table.latest().await.unwrap().is_none());
    let other = place.open().await.ops();
    let read = slice("2026-03-01T00:00:00Z", None);
    other.record_slices(&[read]).await.unwrap();
    let commit = place.root().join(SliceRow::TABLE).join("_delta_log");
    let commit = commit.join(format!("{:020}.json", 0));
    let whole = std::fs::read(&commit).unwrap();
    std::fs::remove_file(&commit).unwrap();
    table.is_overtaken();
    assert!(table.latest().await.is_err());
    std::fs::write(&commit, whole).unwrap();
    let found = table.latest().await.unwrap();
    assert_eq!(found.map(|found| found.version), Some(1));
}

#[tokio::test]
async fn a_run_that_went_on_from_a_lost_one_and_is_not_noted_is_what_the_next_one_goes_on_from() {
    let place = TempWarehouse::new();
    let time = "2026-03-01T00:00:00Z";
    for run_id in ["a", "b"] {
        let ops = place.open().await.ops();
        ops.publish(&record(run_id, time, true)).await.unwrap();
    }
    let log = place.root().join(NumberedRun::TABLE).join("_delta_log");
    std::fs::remove_file(log.join(format!("{:020}.json", 2))).unwrap();
    let mut run = record("one-with-a-longer-name-than-the-lost-one-had", time, true);
    let table = "hecone/transactions";
    run.tables.insert(table.to_owned(), 8.into());
    let unnoted = place.open().await.ops().publish_unnoted(&run).await;
    // Its process ends here.
    drop(unnoted.unwrap());
    let run = RunRecord {
        pipelines: vec!["smartnow".to_owned()],
        tables: BTreeMap::new(),
        ..record("c", time, true)
    };
    place.open().await.ops().publish(&run).await.unwrap();
    let found = place.open().await.ops().published(&AsOf::Latest).await;
    let found = found.unwrap().unwrap();
    assert_eq!(
        (found.run_id.as_str(), found.tables[table].version),
        ("c", 8)
    );
}

#[tokio::test]
async fn a_run_has_a_number_of_its_own_also_where_the_one_before_is_not_noted_yet() {
    let place = TempWarehouse::new();
    let ended = |run_id: &str, minute: u32| {
        let at = format!("2026-03-01T00:{minute:02}:00Z");
        record(run_id, &at, true)
    };
    for run_id in ["a", "b"] {
        let ops = place.open().await.ops();
        ops.publish(&ended(run_id, 0)).await.unwrap();
    }
    // From then on numbers are higher than versions.
    let log = place.root().join(NumberedRun::TABLE).join("_delta_log");
    std::fs::remove_file(log.join(format!("{:020}.json", 2))).unwrap();
    let ops = place.open().await.ops();
    ops.publish(&ended("c", 1)).await.unwrap();
    let late = place.open().await.ops();
    let unnoted = late.publish_unnoted(&ended("d", 3)).await.unwrap();
    // By a clock that is slow.
    let ops = place.open().await.ops();
    ops.publish(&ended("e", 2)).await.unwrap();
    unnoted.unwrap().note().await;
    let ops = place.open().await.ops();
    let newest = ops.published(&AsOf::Latest).await.unwrap();
    assert_eq!(newest.unwrap().run_id, "e");
    let runs = ops.run_heads().await.unwrap();
    let runs: Vec<&str> = runs.iter().map(|run| run.run_id.as_str()).collect();
    assert_eq!(runs, ["e", "d", "c", "a"]);
}

#[test]
fn every_column_of_the_bookkeeping_has_a_note_and_every_note_a_column() {
    use crate::ops::notes::{NOTES, OpsNote};
    let mut noted = NOTES.map(|note| note.0);
    noted.sort_unstable();
    assert_eq!(noted, OpsTables::NAMES);
    for OpsNote(table, _, own) in &NOTES {
        let (schema, note) = (
            OpsTables::schema(table).unwrap(),
            OpsTables::note(table).unwrap(),
        );
        let names: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
        for name in &names {
            assert!(note.columns.contains_key(*name), "{table}.{name}");
        }
        for (name, _) in *own {
            assert!(
                names.iter().any(|known| *known == name),
                "{table} has no {name}"
            );
        }
    }
    assert_eq!(OpsTables::note("transactions"), None);
}
