//! The law of source tables, record by record: which of its versions are written, and which are known.
//!
//! Invariant: each test fails when its rule is taken out of the code.

use super::*;
use crate::faulty_store::{
    FixtureRecord, TempWarehouse, extra_column, page, run, source_spec, sql, warehouse_of,
};
use crate::log::comments::{ColumnComments, written_comments};
use crate::log::schema_evolution;
use arrow::array::StringArray;
use tillhouse_model::{ColumnKind, ColumnNote, ColumnSpec, Window};

const HISTORY: &str = "SELECT id, _load_id, CAST(amount * 10000 AS BIGINT), _prev_record_time FROM t ORDER BY _load_id, id";

pub(super) async fn table(place: &TempWarehouse) -> SourceTable {
    place
        .open()
        .await
        .source_table("hecone", Arc::new(source_spec()))
}

pub(super) async fn history(table: &SourceTable) -> Vec<String> {
    sql(&warehouse_of(&table.registry), &table.path, None, HISTORY).await
}

pub(super) fn counts(landed: &LandingSummary) -> (u64, u64, u64, u64) {
    (landed.new, landed.changed, landed.unchanged, landed.stale)
}

pub(super) const JAN: Option<&str> = Some("2026-01-10T10:00:00Z");
pub(super) const JAN_LATER: Option<&str> = Some("2026-01-10T10:00:01.5Z");
pub(super) const FEB: Option<&str> = Some("2026-02-03T10:00:00Z");

#[tokio::test]
async fn a_b_a_again_are_three_versions_and_what_is_known_is_not_written() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    for (i, (at, content)) in [
        ("2026-03-01T00:00:00Z", 1),
        ("2026-03-02T00:00:00Z", 2),
        ("2026-03-03T00:00:00Z", 1),
    ]
    .iter()
    .enumerate()
    {
        let landed = table
            .land(
                vec![page(at, &[FixtureRecord("a", JAN, *content, None)])],
                &run("r"),
            )
            .await
            .unwrap();
        assert_eq!(landed.load_id, i as i64 + 1);
        let again = table
            .land(
                vec![page(at, &[FixtureRecord("a", JAN, *content, None)])],
                &run("r"),
            )
            .await
            .unwrap();
        assert_eq!(counts(&again), (0, 0, 1, 0));
        assert_eq!(
            (again.version, again.load_id, again.bytes_written),
            (landed.version, landed.load_id, 0)
        );
    }
    assert_eq!(
        history(&table).await,
        [
            "a 1 1 -",
            "a 2 2 2026-01-10T10:00:00Z",
            "a 3 1 2026-01-10T10:00:00Z"
        ]
    );
    assert_eq!(table.version().await.unwrap(), Some(3));
}

#[tokio::test]
async fn a_slow_page_after_a_fresh_one_is_dropped() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    table
        .land(
            vec![page(
                "2026-03-02T00:00:00Z",
                &[FixtureRecord("a", JAN, 2, None)],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    let slow = table
        .land(
            vec![page(
                "2026-03-01T00:00:00Z",
                &[FixtureRecord("a", JAN, 1, None)],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    assert_eq!(counts(&slow), (0, 0, 0, 1));
    assert_eq!(history(&table).await, ["a 1 2 -"]);
}

#[tokio::test]
async fn the_sources_own_version_time_goes_before_the_time_of_request() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    let (old, new) = (Some("2026-01-01T00:00:00Z"), Some("2026-01-02T00:00:00Z"));
    table
        .land(
            vec![page(
                "2026-03-01T00:00:00Z",
                &[
                    FixtureRecord("a", JAN, 2, new),
                    FixtureRecord("b", JAN, 1, old),
                ],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    let landed = table
        .land(
            vec![
                page("2026-03-02T00:00:00Z", &[FixtureRecord("a", JAN, 1, old)]),
                page("2026-02-01T00:00:00Z", &[FixtureRecord("b", JAN, 2, new)]),
            ],
            &run("r"),
        )
        .await
        .unwrap();
    assert_eq!(
        counts(&landed),
        (0, 1, 0, 1),
        "a's older version is stale though asked for later; b's newer one counts"
    );
    let dropped: Vec<&str> = landed.dropped.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(dropped, ["a"]);
    let [told] = landed.passed_over.as_slice() else {
        panic!("one record is told: {:?}", landed.passed_over)
    };
    assert_eq!(
        (told.key.as_str(), told.stays - told.updated_at),
        ("a", 86_400_000_000)
    );
    // The same content with an earlier time is no news, and neither is a page that was asked for earlier.
    let (same, slow) = (
        FixtureRecord("a", JAN, 2, old),
        FixtureRecord("a", JAN, 3, old),
    );
    for (asked, record) in [
        ("2026-03-03T00:00:00Z", same),
        ("2026-02-02T00:00:00Z", slow),
    ] {
        let landed = table
            .land(vec![page(asked, &[record])], &run("r"))
            .await
            .unwrap();
        assert_eq!(landed.passed_over, []);
    }
    assert_eq!(
        history(&table).await,
        ["a 1 2 -", "b 1 1 -", "b 2 2 2026-01-10T10:00:00Z"]
    );
}

#[tokio::test]
async fn a_version_that_was_dropped_is_told_unless_it_came_again_behind_the_other() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    let version = |asked: &str, content| page(asked, &[FixtureRecord("a", JAN, content, None)]);
    let package = vec![
        version("2026-03-01T00:00:00Z", 1),
        version("2026-03-02T00:00:00Z", 2),
        version("2026-03-03T00:00:00Z", 1),
    ];
    let between = package[1].content_hashes.value(0).to_vec();
    let landed = table.land(package, &run("r")).await.unwrap();
    assert_eq!(counts(&landed), (1, 0, 0, 2));
    let [dropped] = landed.dropped.as_slice() else {
        panic!("one version is told: {:?}", landed.dropped)
    };
    assert_eq!(
        (dropped.key.as_str(), &dropped.content_hash[..]),
        ("a", &between[..])
    );
}

#[tokio::test]
async fn a_time_of_change_outlives_a_version_that_names_none() {
    let (old, new) = (Some("2026-01-01T00:00:00Z"), Some("2026-01-02T00:00:00Z"));
    let versions = |key| {
        [
            ("2026-03-01T00:00:00Z", FixtureRecord(key, JAN, 1, new)),
            ("2026-03-02T00:00:00Z", FixtureRecord(key, JAN, 2, None)),
            ("2026-03-03T00:00:00Z", FixtureRecord(key, JAN, 3, old)),
        ]
    };
    let place = TempWarehouse::new();
    let table = table(&place).await;
    let mut told = Vec::new();
    for (asked, record) in versions("a") {
        let landed = table
            .land(vec![page(asked, &[record])], &run("r"))
            .await
            .unwrap();
        told.extend(landed.passed_over);
    }
    let together = versions("b").map(|(asked, record)| page(asked, &[record]));
    let landed = table.land(together.into(), &run("r")).await.unwrap();
    told.extend(landed.passed_over);
    let told: Vec<_> = told
        .iter()
        .map(|told| (told.key.as_str(), told.stays - told.updated_at))
        .collect();
    assert_eq!(told, [("a", 86_400_000_000), ("b", 86_400_000_000)]);
    assert_eq!(
        history(&table).await,
        ["a 1 1 -", "a 2 2 2026-01-10T10:00:00Z", "b 3 2 -"]
    );
}

#[tokio::test]
async fn of_doubles_in_a_package_the_newest_wins() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    let package = vec![
        page(
            "2026-03-02T00:00:00Z",
            &[
                FixtureRecord("a", JAN, 2, None),
                FixtureRecord("b", JAN, 1, None),
            ],
        ),
        page(
            "2026-03-01T00:00:00Z",
            &[
                FixtureRecord("a", JAN, 1, None),
                FixtureRecord("c", JAN, 1, None),
            ],
        ),
        page(
            "2026-03-03T00:00:00Z",
            &[
                FixtureRecord("b", JAN, 1, None),
                FixtureRecord("c", FEB, 3, None),
            ],
        ),
    ];
    let landed = table.land(package.clone(), &run("r")).await.unwrap();
    assert_eq!(counts(&landed), (3, 0, 1, 2));
    assert_eq!(history(&table).await, ["a 1 2 -", "b 1 1 -", "c 1 3 -"]);
    let again = table.land(package, &run("r")).await.unwrap();
    assert_eq!(
        (again.new, again.changed),
        (0, 0),
        "landing the same package again changes nothing"
    );
}

#[tokio::test]
async fn a_record_that_moved_to_another_month_is_recognised() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    table
        .land(
            vec![page(
                "2026-03-01T00:00:00Z",
                &[
                    FixtureRecord("a", JAN, 1, None),
                    FixtureRecord("none", None, 1, None),
                ],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    let moved = page(
        "2026-03-02T00:00:00Z",
        &[
            FixtureRecord("a", FEB, 2, None),
            FixtureRecord("none", FEB, 1, None),
        ],
    );
    let landed = table.land(vec![moved], &run("r")).await.unwrap();
    assert_eq!(
        counts(&landed),
        (0, 2, 0, 0),
        "also one that had no time before, and has the same content"
    );
    assert_eq!(
        sql(
            &warehouse_of(&table.registry),
            &table.path,
            None,
            "SELECT id, month, _prev_record_time FROM t ORDER BY _load_id, id"
        )
        .await,
        [
            "a 2026-01 -",
            "none none -",
            "a 2026-02 2026-01-10T10:00:00Z",
            "none 2026-02 -"
        ]
    );
    // Without a time, or with the same, it is as it is known.
    for time in [FEB, None] {
        let same = page(
            "2026-03-03T00:00:00Z",
            &[FixtureRecord("none", time, 1, None)],
        );
        let landed = table.land(vec![same], &run("r")).await.unwrap();
        assert_eq!(counts(&landed), (0, 0, 1, 0), "{time:?}");
    }
}

#[tokio::test]
async fn a_record_that_moved_farther_than_its_contract_expects_is_recognised() {
    let place = TempWarehouse::new();
    let home = FixtureRecord("a", JAN, 1, None);
    for (i, away) in [
        Some("2001-01-01T00:00:00Z"),
        Some("2126-11-27T00:00:00Z"),
        Some("2026-09-01T00:00:00Z"),
        None,
    ]
    .into_iter()
    .enumerate()
    {
        // A process of its own for each: none remembers what another wrote.
        let table = || table(&place);
        let at = |hour: usize| format!("2026-03-0{}T0{hour}:00:00Z", i + 1);
        let first = table()
            .await
            .land(vec![page(&at(0), std::slice::from_ref(&home))], &run("r"))
            .await
            .unwrap();
        assert_eq!(
            (first.new, first.changed),
            (u64::from(i == 0), u64::from(i > 0)),
            "{away:?}"
        );
        let moved = table()
            .await
            .land(
                vec![page(&at(1), &[FixtureRecord("a", away, 2, None)])],
                &run("r"),
            )
            .await
            .unwrap();
        assert_eq!(counts(&moved), (0, 1, 0, 0), "{away:?}");
        let again = table()
            .await
            .land(
                vec![page(&at(2), &[FixtureRecord("a", away, 2, None)])],
                &run("r"),
            )
            .await
            .unwrap();
        assert_eq!(counts(&again), (0, 0, 1, 0), "{away:?}");
    }
}

#[tokio::test]
async fn files_far_in_time_are_read_once_and_for_their_keys() {
    let place = TempWarehouse::new();
    let first = table(&place).await;
    for (i, month) in [
        "2025-01-05T00:00:00Z",
        "2025-06-05T00:00:00Z",
        "2025-12-30T00:00:00Z",
    ]
    .into_iter()
    .enumerate()
    {
        let key = ["x", "y", "z"][i];
        first
            .land(
                vec![page(
                    "2026-03-01T00:00:00Z",
                    &[FixtureRecord(key, Some(month), 1, None)],
                )],
                &run("r"),
            )
            .await
            .unwrap();
    }
    // Another process: it knows nothing of what the first one wrote.
    let other = table(&place).await;
    place.store.data_files_read();
    let landed = other
        .land(
            vec![page(
                "2026-03-02T00:00:00Z",
                &[FixtureRecord("a", JAN, 1, None)],
            )],
            &run("r"),
        )
        .await
        .unwrap();
    assert_eq!(
        (landed.new, landed.files_read, place.store.data_files_read()),
        (1, 3, 3),
        "December, and two for their keys"
    );
    let far = page(
        "2026-03-02T00:00:00Z",
        &[FixtureRecord("b", Some("2027-01-01T00:00:00Z"), 1, None)],
    );
    assert_eq!(
        other.land(vec![far], &run("r")).await.unwrap().files_read,
        1,
        "December's keys"
    );
    assert_eq!(place.store.data_files_read(), 1);
    // A file written or read by this very process need not be read to know that a key is not in it.
    let near = page("2026-03-03T00:00:00Z", &[FixtureRecord("c", JAN, 1, None)]);
    assert_eq!(
        other.land(vec![near], &run("r")).await.unwrap().files_read,
        0
    );
}

#[tokio::test]
async fn the_newest_versions_of_a_few_records_are_had_whole() {
    let place = TempWarehouse::new();
    let table = table(&place).await;
    assert_eq!(
        table
            .newest_rows(&["a".to_owned()], &[])
            .await
            .unwrap()
            .num_rows(),
        0,
        "before the first landing"
    );
    for (at, records) in [
        (
            "2026-03-01T00:00:00Z",
            vec![
                FixtureRecord("a", JAN, 1, None),
                FixtureRecord("b", JAN, 1, None),
                FixtureRecord("none", None, 1, None),
            ],
        ),
        (
            "2026-03-02T00:00:00Z",
            vec![
                FixtureRecord("a", FEB, 2, None),
                FixtureRecord("c", FEB, 1, None),
            ],
        ),
        (
            "2026-03-03T00:00:00Z",
            vec![FixtureRecord("a", FEB, 1, None)],
        ),
    ] {
        table
            .land(vec![page(at, &records)], &run("r"))
            .await
            .unwrap();
    }
    let keys: Vec<String> = ["a", "b", "b", "none", "unknown"].map(str::to_owned).into();
    let times = [JAN.unwrap().parse().unwrap()];
    let rows = table.newest_rows(&keys, &times).await.unwrap();
    let column = |name: &str| rows.column_by_name(name).unwrap().clone();
    let (ids, lands) = (column("_record_key"), column(LOAD_ID));
    let mut found: Vec<(&str, i64)> = ids
        .as_string::<i32>()
        .iter()
        .flatten()
        .zip(lands.as_primitive::<Int64Type>().values().iter().copied())
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [("a", 3), ("b", 1), ("none", 1)],
        "also one that has moved to another month, and one without a time"
    );
    assert!(
        rows.column_by_name("amount")
            .is_some_and(|amounts| amounts.null_count() == 0)
    );
    let far = table
        .newest_rows(&keys, &["2020-01-01T00:00:00Z".parse().unwrap()])
        .await
        .unwrap();
    assert_eq!(
        far.num_rows(),
        3,
        "however far they are from where they are looked for"
    );
}

/// A source table whose amounts, and quantities in their list, have a note.
async fn noted_table(place: &TempWarehouse, words: &str, more: &[ColumnSpec]) -> SourceTable {
    let mut spec = source_spec();
    for column in &mut spec.columns {
        match &mut column.kind {
            ColumnKind::List(element) => {
                let ColumnKind::Struct(inner) = &mut element.kind else {
                    panic!("a list of objects");
                };
                inner[1].note = ColumnNote::of(format!("{words} quantity."));
            }
            _ if column.name == "amount" => {
                column.note = ColumnNote::of(format!("{words} amount."))
            }
            _ => {}
        }
    }
    spec.columns.extend_from_slice(more);
    place.open().await.source_table("hecone", Arc::new(spec))
}

/// Comments that the newest version of a table's log has.
async fn comments(table: &SourceTable) -> ColumnComments {
    let snapshot = table.table().unwrap().latest().await.unwrap().unwrap();
    let no_metadata = |field: &Arc<arrow::datatypes::Field>| field.metadata().is_empty();
    assert!(snapshot.schema().fields().iter().all(no_metadata));
    written_comments(&snapshot.description.metadata).unwrap()
}

#[tokio::test]
async fn comments_come_with_the_table_and_its_new_columns_and_make_no_difference_to_it() {
    let place = TempWarehouse::new();
    let land = async |table: &SourceTable, second: u32| {
        let at = format!("2026-03-01T00:00:{second:02}Z");
        let record = FixtureRecord("a", JAN, i64::from(second), None);
        let narrow = page(&at, &[record]);
        let schema = table.spec().content_schema();
        let mut columns = narrow.batch.columns().to_vec();
        columns.resize_with(schema.fields().len(), || {
            Arc::new(StringArray::from_iter_values(["M-AB 1"]))
        });
        let batch = RecordBatch::try_new(schema, columns).unwrap();
        let read = PackagePage { batch, ..narrow };
        table.land(vec![read], &run("r")).await.unwrap();
    };
    let version = async |table: &SourceTable| {
        let latest = table.table().unwrap().latest().await.unwrap();
        latest.unwrap().version
    };
    let table = noted_table(&place, "The", &[]).await;
    land(&table, 1).await;
    let written = comments(&table).await;
    assert_eq!(written["amount"], "The amount.");
    assert_eq!(written["articles.quantity"], "The quantity.");
    assert!(written.contains_key("_load_id") && !written.contains_key("id"));
    // Another program's words are no reason to write.
    let other = noted_table(&place, "An", &[]).await;
    let before = version(&table).await;
    land(&other, 2).await;
    assert_eq!(
        (comments(&other).await, version(&other).await),
        (written, before + 1)
    );
    // A new column is.
    let grown = noted_table(&place, "Its", &[extra_column("plate", false)]).await;
    land(&grown, 3).await;
    assert_eq!(comments(&grown).await["amount"], "Its amount.");
    assert_eq!(comments(&grown).await["articles.quantity"], "Its quantity.");
    // One that the contract no longer has keeps its own.
    let mut spec = source_spec();
    spec.columns.retain(|column| column.name != "amount");
    spec.columns.push(extra_column("gate", false));
    let shrunk = place.open().await.source_table("hecone", Arc::new(spec));
    let table = shrunk.table().unwrap();
    let mut snapshot = table.latest().await.unwrap().unwrap();
    let definition = &shrunk.layout().unwrap().definition;
    assert!(
        schema_evolution::ensure(&table, &mut snapshot, definition, "r")
            .await
            .unwrap()
    );
    assert_eq!(comments(&shrunk).await["amount"], "Its amount.");
    assert_eq!(history(&shrunk).await.len(), 3);
}

/// A table whose records do not name their tenant.
pub(super) async fn shared_table(place: &TempWarehouse) -> SourceTable {
    let mut spec = source_spec();
    spec.columns.push(ColumnSpec {
        json_name: "$scope".to_owned(),
        ..extra_column("account", false)
    });
    place.open().await.source_table("bemo", Arc::new(spec))
}

/// A page that was listed for a tenant.
pub(super) fn listed(tenant: Option<&str>, page: PackagePage) -> PackagePage {
    let rows = page.batch.num_rows();
    let mut fields = page.batch.schema().fields().to_vec();
    fields.push(Arc::new(arrow::datatypes::Field::new(
        "account",
        arrow::datatypes::DataType::Utf8,
        true,
    )));
    let mut columns = page.batch.columns().to_vec();
    columns.push(Arc::new(StringArray::from_iter(std::iter::repeat_n(
        tenant, rows,
    ))));
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    PackagePage {
        batch: RecordBatch::try_new(schema, columns).unwrap(),
        ..page
    }
}

pub(super) fn of_tenants(tenants: &[&str]) -> LandingOptions {
    LandingOptions {
        tenants: tenants
            .iter()
            .map(|tenant| Some((*tenant).to_owned()))
            .collect(),
        ..run("r")
    }
}

#[tokio::test]
async fn a_record_that_is_listed_for_two_tenants_belongs_to_the_first_and_stays_as_it_is() {
    const OWNERS: &str = "SELECT id, _load_id, account FROM t ORDER BY _load_id, id";
    let place = TempWarehouse::new();
    let table = shared_table(&place).await;
    let order = of_tenants(&["acc", "acc2"]);
    let of = |tenant: &str, second: u32, content: i64| {
        let at = format!("2026-03-01T00:00:{second:02}Z");
        listed(
            Some(tenant),
            page(
                &at,
                &[
                    FixtureRecord("x", JAN, content, None),
                    FixtureRecord("y", JAN, content, None),
                ],
            ),
        )
    };
    let twice = |first: PackagePage, then: PackagePage| vec![first, then];
    // Whoever comes first and whoever was asked last: the owner is the same, and so are the counts.
    let landed = table
        .land(twice(of("acc2", 2, 1), of("acc", 1, 1)), &order)
        .await
        .unwrap();
    assert_eq!(counts(&landed), (2, 0, 2, 0));
    let both = [
        ("x".to_owned(), "acc2".to_owned()),
        ("y".to_owned(), "acc2".to_owned()),
    ];
    assert_eq!(landed.elsewhere, both);
    let again = [
        twice(of("acc", 3, 1), of("acc2", 4, 1)),
        twice(of("acc2", 5, 1), of("acc", 6, 1)),
        twice(of("acc", 8, 1), of("acc2", 7, 1)),
        vec![of("acc2", 9, 1)],
    ];
    for package in again {
        let landed = table.land(package, &order).await.unwrap();
        assert_eq!((landed.new, landed.changed, landed.stale), (0, 0, 0));
        assert_eq!(landed.elsewhere, both);
    }
    assert_eq!(
        sql(&warehouse_of(&table.registry), &table.path, None, OWNERS).await,
        ["x 1 acc", "y 1 acc"]
    );
    // Where the two lists say different things, the owner's counts.
    let differ = table
        .land(twice(of("acc", 10, 1), of("acc2", 11, 2)), &order)
        .await
        .unwrap();
    assert_eq!((differ.new, differ.changed), (0, 0));
    // A record whose own list alone is read is nobody else's.
    assert_eq!(
        table
            .land(vec![of("acc", 12, 1)], &order)
            .await
            .unwrap()
            .elsewhere,
        []
    );

    // The order of the configuration decides, and who is not read any more owns nothing that another one lists.
    let turned = of_tenants(&["acc2", "acc"]);
    let landed = table
        .land(twice(of("acc", 13, 1), of("acc2", 14, 1)), &turned)
        .await
        .unwrap();
    assert_eq!(
        (counts(&landed), landed.elsewhere.first()),
        ((0, 2, 2, 0), Some(&("x".to_owned(), "acc".to_owned())))
    );
    let landed = table
        .land(twice(of("acc", 15, 1), of("acc2", 16, 1)), &turned)
        .await
        .unwrap();
    assert_eq!(landed.changed, 0);
    let landed = table
        .land(vec![of("acc3", 17, 1)], &of_tenants(&["acc3"]))
        .await
        .unwrap();
    assert_eq!(
        (counts(&landed), landed.elsewhere),
        ((0, 2, 0, 0), Vec::new())
    );
    assert_eq!(
        sql(&warehouse_of(&table.registry), &table.path, None, OWNERS).await,
        [
            "x 1 acc", "y 1 acc", "x 2 acc2", "y 2 acc2", "x 3 acc3", "y 3 acc3"
        ]
    );
}

#[tokio::test]
async fn a_tenant_that_was_read_before_and_comes_later_in_the_order_gives_its_records_up_once() {
    let place = TempWarehouse::new();
    let table = shared_table(&place).await;
    let order = of_tenants(&["acc", "acc2"]);
    let at = |second: u32| format!("2026-03-01T00:00:{second:02}Z");
    let of = |tenant, second| {
        listed(
            tenant,
            page(&at(second), &[FixtureRecord("x", JAN, 1, None)]),
        )
    };
    assert_eq!(
        counts(&table.land(vec![of(None, 1)], &order).await.unwrap()),
        (1, 0, 0, 0)
    );
    for (tenant, second, changed) in [
        ("acc2", 2, 1),
        ("acc2", 3, 0),
        ("acc", 4, 1),
        ("acc2", 5, 0),
        ("acc", 6, 0),
    ] {
        let landed = table
            .land(vec![of(Some(tenant), second)], &order)
            .await
            .unwrap();
        assert_eq!(landed.changed, changed, "{tenant} at {second}");
    }
}

#[tokio::test]
async fn a_record_that_its_tenant_lists_no_more_is_of_the_one_that_does() {
    const OWNERS: &str = "SELECT id, account FROM t ORDER BY _load_id";
    let window = |from: &str, to: &str| Window::new(from.parse().unwrap(), to.parse().unwrap());
    let january = window("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z").unwrap();
    let february = window("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z").unwrap();
    let read = |tenant: &str, window: Window, contested: &[&str]| LandingOptions {
        whole: WholeListings {
            windows: vec![(Some(tenant.to_owned()), window)],
            contested: contested.iter().map(|key| (*key).to_owned()).collect(),
        },
        ..of_tenants(&["acc", "acc2"])
    };
    let of = |tenant: &str, second: u32| {
        let at = format!("2026-03-01T00:00:{second:02}Z");
        listed(Some(tenant), page(&at, &[FixtureRecord("x", JAN, 1, None)]))
    };
    let place = TempWarehouse::new();
    let table = shared_table(&place).await;
    table
        .land(vec![of("acc", 1)], &of_tenants(&["acc", "acc2"]))
        .await
        .unwrap();
    // Nobody knows whether the first one lists it still: it was not read, or not there, or it did.
    for options in [
        of_tenants(&["acc", "acc2"]),
        read("acc", february, &[]),
        read("acc2", january, &[]),
        read("acc", january, &["x"]),
    ] {
        let landed = table.land(vec![of("acc2", 2)], &options).await.unwrap();
        assert_eq!(
            (landed.changed, landed.elsewhere.len(), landed.moved.len()),
            (0, 1, 0)
        );
    }
    let both = vec![of("acc2", 3), of("acc", 3)];
    let landed = table.land(both, &read("acc", january, &[])).await.unwrap();
    assert_eq!((landed.changed, landed.moved.len()), (0, 0));
    for (second, changed) in [(4, 1), (5, 0)] {
        let options = read("acc", january, &[]);
        let landed = table
            .land(vec![of("acc2", second)], &options)
            .await
            .unwrap();
        assert_eq!((landed.changed, landed.elsewhere.len()), (changed, 0));
        let moved = (changed == 1).then(|| ("x".to_owned(), "acc".to_owned()));
        assert_eq!(landed.moved, Vec::from_iter(moved));
    }
    let owners = sql(&warehouse_of(&table.registry), &table.path, None, OWNERS).await;
    assert_eq!(owners, ["x acc", "x acc2"]);
}

#[tokio::test]
async fn an_identifier_that_was_stored_in_another_spelling_is_told() {
    const OLD: &str = "3F2504E0-4F89-11D3-9A0C-0305E82C3301";
    const NEW: &str = "3f2504e0-4f89-11d3-9a0c-0305e82c3301";
    let place = TempWarehouse::new();
    // Opened anew each time, as by a process of its own.
    let land = async |second: u32, key: &'static str| {
        let at = format!("2026-03-01T00:00:{second:02}Z");
        let package = vec![page(&at, &[FixtureRecord(key, JAN, 1, None)])];
        let table = table(&place).await;
        table.land(package, &run("r")).await.unwrap()
    };
    assert_eq!(land(1, OLD).await.other_spellings, []);
    let landed = land(2, NEW).await;
    assert_eq!(landed.new, 1);
    assert_eq!(landed.other_spellings, [(NEW.to_owned(), OLD.to_owned())]);
    assert_eq!(land(3, NEW).await.other_spellings, []);
    // Also where a file is known by its keys.
    let place = TempWarehouse::new();
    let of = |second: u32, key: &'static str, time: Option<&'static str>| {
        let at = format!("2026-03-01T00:00:{second:02}Z");
        vec![page(&at, &[FixtureRecord(key, time, 1, None)])]
    };
    let first = table(&place).await;
    first.land(of(1, OLD, JAN), &run("r")).await.unwrap();
    let table = table(&place).await;
    let far = Some("2025-06-01T00:00:00Z");
    table.land(of(2, "z", far), &run("r")).await.unwrap();
    let landed = table.land(of(3, NEW, JAN), &run("r")).await.unwrap();
    assert_eq!(landed.other_spellings, [(NEW.to_owned(), OLD.to_owned())]);
}
