//! The law of source tables, commit by commit: races, failures, files, packages and pinned versions.
//!
//! Invariant: each test fails when its rule is taken out of the code.

use super::tests::{FEB, JAN, JAN_LATER, counts, history, table};
use super::*;
use crate::faulty_store::{
    FixtureRecord, TempWarehouse, extra_column, page, run, source_spec, sql, t, us, warehouse_of,
};
use arrow::array::StringArray;
use futures::FutureExt;
use tillhouse_model::ErrorKind;

#[tokio::test]
async fn of_two_racing_writers_the_loser_looks_again() {
    let place = TempWarehouse::new();
    let (one, two) = (table(&place).await, table(&place).await);
    one.land(
        vec![page(
            "2026-03-01T00:00:00Z",
            &[FixtureRecord("z", JAN, 1, None)],
        )],
        &run("r"),
    )
    .await
    .unwrap();
    let rival = two.clone();
    place.store.before_next_commit(move || {
        async move {
            let landed = rival
                .land(
                    vec![page(
                        "2026-03-02T00:00:00Z",
                        &[
                            FixtureRecord("a", JAN, 1, None),
                            FixtureRecord("b", JAN, 7, None),
                        ],
                    )],
                    &run("two"),
                )
                .await
                .unwrap();
            assert_eq!(landed.load_id, 2);
        }
        .boxed()
    });
    let landed = one
        .land(
            vec![page(
                "2026-03-03T00:00:00Z",
                &[
                    FixtureRecord("a", JAN, 1, None),
                    FixtureRecord("b", JAN, 8, None),
                    FixtureRecord("c", JAN, 1, None),
                ],
            )],
            &run("one"),
        )
        .await
        .unwrap();
    assert_eq!(counts(&landed), (1, 1, 1, 0));
    assert_eq!((landed.load_id, landed.version), (3, 3));
    assert_eq!(
        history(&one).await,
        [
            "z 1 1 -",
            "a 2 1 -",
            "b 2 7 -",
            "b 3 8 2026-01-10T10:00:00Z",
            "c 3 1 -"
        ]
    );
    let on_disk = walk(
        &place
            .folder
            .path()
            .join("wäre house/hecone/transactions/month=2026-01"),
    );
    assert_eq!(on_disk, 3, "the data file of the lost race is gone");
}

fn walk(folder: &std::path::Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_at_once_land_every_record_once() {
    let place = TempWarehouse::new();
    let mut tasks = Vec::new();
    for writer in 0..4 {
        let table = table(&place).await;
        tasks.push(tokio::spawn(async move {
            for round in 0..3 {
                let at = t("2026-03-01T00:00:00Z") + jiff::SignedDuration::from_secs(round);
                let records = [
                    FixtureRecord("a", JAN, 1, None),
                    FixtureRecord("b", JAN_LATER, 1, None),
                    FixtureRecord(["p", "q", "r", "s"][writer], FEB, round, None),
                ];
                table
                    .land(vec![page(&at.to_string(), &records)], &run("r"))
                    .await
                    .unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let table = table(&place).await;
    let query = "SELECT id, count(*), count(DISTINCT _load_id) FROM t GROUP BY id ORDER BY id";
    assert_eq!(
        sql(&warehouse_of(&table.registry), &table.path, None, query).await,
        ["a 1 1", "b 1 1", "p 3 3", "q 3 3", "r 3 3", "s 3 3"]
    );
    let lands: Vec<i64> = table
        .packages(None, 0)
        .await
        .unwrap()
        .iter()
        .map(|p| p.load_id)
        .collect();
    assert_eq!(
        lands,
        (1..=12).collect::<Vec<_>>(),
        "every package has its own number"
    );
}

/// A large package is one file of its month, encoded by columns; beyond a row group's rows it has several.
#[tokio::test]
async fn a_month_of_a_package_is_one_file() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    let records: Vec<FixtureRecord> = (0..70_001)
        .map(|n| {
            FixtureRecord(
                Box::leak(format!("k{n}").into_boxed_str()),
                JAN,
                i64::from(n),
                None,
            )
        })
        .collect();
    let pages = |at: &str| {
        records
            .chunks(1_000)
            .map(|some| page(at, some))
            .collect::<Vec<_>>()
    };
    let landed = table
        .land(pages("2026-03-01T00:00:00Z"), &run("r"))
        .await
        .unwrap();
    assert_eq!((counts(&landed), landed.load_id), ((70_001, 0, 0, 0), 1));
    let files = table
        .table()
        .unwrap()
        .latest()
        .await
        .unwrap()
        .unwrap()
        .files;
    assert_eq!(
        files
            .iter()
            .map(|file| file.rows.unwrap())
            .collect::<Vec<_>>(),
        [70_001]
    );
    let whole = "SELECT count(*), count(DISTINCT id), CAST(sum(amount) * 10000 AS BIGINT) FROM t";
    assert_eq!(
        sql(&warehouse_of(&table.registry), &table.path, None, whole).await,
        ["70001 70001 2450035000"]
    );
    let again = table
        .land(pages("2026-03-02T00:00:00Z"), &run("r"))
        .await
        .unwrap();
    assert_eq!(counts(&again), (0, 0, 70_001, 0));
}

#[tokio::test]
async fn packages_are_listed_as_of_a_version() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    let first = table
        .land(
            vec![page(
                "2026-03-01T00:00:00Z",
                &[FixtureRecord("a", JAN, 1, None)],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    table
        .land(
            vec![page(
                "2026-03-02T00:00:00Z",
                &[FixtureRecord("b", JAN, 1, None)],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    let lands = |packages: Vec<PackageInfo>| {
        packages
            .iter()
            .map(|package| package.load_id)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        lands(table.packages(Some(first.version), 0).await.unwrap()),
        [1],
        "what came later is not in it"
    );
    assert_eq!(lands(table.packages(None, 0).await.unwrap()), [1, 2]);
}

#[tokio::test]
async fn a_commit_whose_error_hides_its_success_counts_once() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    place.store.hide_success(2); // of the table's creation and of the landing
    let package = || {
        vec![page(
            "2026-03-01T00:00:00Z",
            &[FixtureRecord("a", JAN, 1, None)],
        )]
    };
    let landed = table.land(package(), &run("r")).await.unwrap();
    assert_eq!((landed.version, landed.new), (1, 1));
    assert_eq!(
        counts(&table.land(package(), &run("r")).await.unwrap()),
        (0, 0, 1, 0)
    );
    assert_eq!(history(&table).await, ["a 1 1 -"]);
}

#[tokio::test]
async fn a_commit_that_fails_is_tried_again_and_then_given_up_with_a_hint() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    let package = |key| {
        vec![page(
            "2026-03-01T00:00:00Z",
            &[FixtureRecord(key, JAN, 1, None)],
        )]
    };
    table.land(package("a"), &run("r")).await.unwrap();
    place.store.fail(2);
    assert_eq!(
        table.land(package("b"), &run("r")).await.unwrap().version,
        2
    );
    place.store.fail(10);
    let error = table.land(package("c"), &run("r")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage);
    assert!(error.hint_text().unwrap().contains("again"), "{error:?}");
    place.store.fail(0);
    assert_eq!(
        counts(&table.land(package("c"), &run("r")).await.unwrap()),
        (1, 0, 0, 0)
    );
    assert_eq!(history(&table).await, ["a 1 1 -", "b 2 1 -", "c 3 1 -"]);
}

#[tokio::test]
async fn packages_are_read_from_statistics() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    table
        .land(
            vec![page(
                "2026-03-01T00:00:00Z",
                &[
                    FixtureRecord("a", JAN, 1, None),
                    FixtureRecord("b", FEB, 1, None),
                    FixtureRecord("c", None, 1, None),
                ],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    table
        .land(
            vec![page(
                "2026-03-01T00:00:00Z",
                &[FixtureRecord("d", JAN, 1, None)],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    place.store.data_files_read();
    let packages = table.packages(None, 0).await.unwrap();
    assert_eq!(
        packages
            .iter()
            .map(|p| (p.load_id, p.records))
            .collect::<Vec<_>>(),
        [(1, 3), (2, 1)]
    );
    assert!(packages.iter().all(|p| p.bytes > 0));
    assert_eq!(table.packages(None, 1).await.unwrap().len(), 1);
    assert_eq!(place.store.data_files_read(), 0);
}

#[tokio::test]
async fn a_pinned_version_stays_what_it_was_and_largest_values_are_exact() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    let odd = Some("2026-01-10T10:00:00.000123Z");
    table
        .land(
            vec![page(
                "2026-03-01T00:00:00Z",
                &[FixtureRecord("a", odd, 1, None)],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    let count = "SELECT count(*), max(_record_time), min(_record_time) FROM t";
    let pinned = sql(&warehouse_of(&table.registry), &table.path, Some(1), count).await;
    assert_eq!(
        pinned,
        ["1 2026-01-10T10:00:00.000123Z 2026-01-10T10:00:00.000123Z"]
    );
    for (i, key) in ["b", "c", "d", "e", "f", "g", "h", "i", "j", "k"]
        .into_iter()
        .enumerate()
    {
        let land = table
            .land(
                vec![page(
                    "2026-03-01T00:00:00Z",
                    &[FixtureRecord(key, FEB, 1, None)],
                )],
                &run("r"),
            )
            .await
            .unwrap();
        assert_eq!(land.version, i as u64 + 2);
    }
    assert_eq!(
        sql(&warehouse_of(&table.registry), &table.path, Some(1), count).await,
        pinned
    );
    assert_eq!(
        sql(
            &warehouse_of(&table.registry),
            &table.path,
            None,
            "SELECT count(*) FROM t"
        )
        .await,
        ["11"]
    );
    let log = place
        .folder
        .path()
        .join("wäre house/hecone/transactions/_delta_log");
    assert!(
        log.join("00000000000000000010.checkpoint.parquet").exists(),
        "a checkpoint every ten versions"
    );
    // From the checkpoint, statistics and all.
    let fresh = self::table(&place).await;
    let exact = fresh
        .land(
            vec![page(
                "2026-03-02T00:00:00Z",
                &[FixtureRecord("a", odd, 1, None)],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    assert_eq!(counts(&exact), (0, 0, 1, 0));
    assert_eq!(fresh.packages(None, 0).await.unwrap().len(), 11);
    assert!(
        warehouse_of(&table.registry)
            .open_at(&table.path, Some(&99.into()))
            .await
            .is_err()
    );
    assert!(
        warehouse_of(&table.registry)
            .open_at("hecone/nothing", None)
            .await
            .unwrap()
            .is_none()
    );
    assert!(table.provider(None, None).await.unwrap().is_some());
}

#[tokio::test]
async fn a_contract_may_gain_optional_columns_and_nothing_else() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    let old = warehouse.source_table("hecone", Arc::new(source_spec()));
    old.land(
        vec![page(
            "2026-03-01T00:00:00Z",
            &[FixtureRecord("a", JAN, 1, None)],
        )],
        &run("r"),
    )
    .await
    .unwrap();
    let widened = |required| {
        let mut spec = source_spec();
        spec.columns.push(extra_column("loyalty", required));
        Arc::new(spec)
    };
    let wide_page = |key, loyalty: &str| {
        let narrow = page("2026-03-02T00:00:00Z", &[FixtureRecord(key, JAN, 1, None)]);
        let mut columns = narrow.batch.columns().to_vec();
        columns.push(Arc::new(StringArray::from_iter_values([loyalty])));
        PackagePage {
            batch: RecordBatch::try_new(widened(false).content_schema(), columns).unwrap(),
            ..narrow
        }
    };
    let new = warehouse.source_table("hecone", widened(false));
    new.land(vec![wide_page("b", "gold")], &run("r"))
        .await
        .unwrap();
    assert_eq!(
        sql(
            &warehouse,
            &new.path,
            None,
            "SELECT id, loyalty FROM t ORDER BY id"
        )
        .await,
        ["a -", "b gold"]
    );
    // The older contract still lands: the column is null then.
    old.land(
        vec![page(
            "2026-03-01T00:00:00Z",
            &[FixtureRecord("c", JAN, 1, None)],
        )],
        &run("r"),
    )
    .await
    .unwrap();
    assert_eq!(
        sql(
            &warehouse,
            &new.path,
            None,
            "SELECT loyalty FROM t WHERE id = 'c'"
        )
        .await,
        ["-"]
    );
    let mut other = source_spec();
    other.columns[1].kind = tillhouse_model::ColumnKind::Text;
    let changed = warehouse.source_table("hecone", Arc::new(other.clone()));
    let narrow = page("2026-03-02T00:00:00Z", &[FixtureRecord("d", JAN, 1, None)]);
    let mut columns = narrow.batch.columns().to_vec();
    columns[1] = Arc::new(StringArray::from_iter_values(["1"]));
    let batch = RecordBatch::try_new(other.content_schema(), columns).unwrap();
    let error = changed
        .land(vec![PackagePage { batch, ..narrow }], &run("r"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("amount"), "{error}");
}

#[tokio::test]
async fn a_page_that_does_not_fit_is_refused_before_anything_is_written() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    let mut bad = page("2026-03-01T00:00:00Z", &[FixtureRecord("a", JAN, 1, None)]);
    bad.keys = StringArray::from_iter_values(["a", "b"]);
    assert_eq!(
        table.land(vec![bad], &run("r")).await.unwrap_err().kind(),
        ErrorKind::Internal
    );
    assert_eq!(table.version().await.unwrap(), None);
    let empty = table.land(Vec::new(), &run("r")).await.unwrap();
    assert_eq!(
        (empty.version, empty.load_id),
        (0, 0),
        "an empty first package makes an empty table"
    );
    assert_eq!(us("1970-01-01T00:00:01Z"), 1_000_000);
}
