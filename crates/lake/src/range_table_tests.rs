//! The law of tables that are replaced by ranges, rule by rule.
//!
//! Invariant: each test fails when its rule is taken out of the code.

use super::*;
use crate::faulty_store::{TempWarehouse, sql, times, us, warehouse_of};
use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use futures::FutureExt;
use tillhouse_model::table::timestamp;

const ROWS: &str = "SELECT pipeline, month, hour, n FROM t ORDER BY pipeline, hour, n";
const HOUR: &str = "hour";
const NINE: Option<&str> = Some("2026-01-10T09:00:00Z");
const TEN: Option<&str> = Some("2026-01-10T10:00:00Z");
const MARCH: Option<&str> = Some("2026-03-01T00:00:00Z");

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(HOUR, timestamp(), true),
        Field::new("pipeline", DataType::Utf8, false),
        Field::new("n", DataType::Int64, true),
        Field::new(MONTH, DataType::Utf8, false),
    ]))
}

fn rows(rows: &[(&str, Option<&str>, i64)]) -> UnifiedRowStream {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times(rows.iter().map(|r| r.1.map(us)))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2))),
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|r| r.1.map_or("none", |hour| &hour[..7])),
        )),
    ];
    futures::stream::iter([Ok(RecordBatch::try_new(schema(), columns).unwrap())]).boxed()
}

async fn table(place: &TempWarehouse, edition: u32) -> RangeTable {
    place.open().await.range_table(
        "hourly",
        schema(),
        HOUR,
        &["transactions", "articles"],
        edition,
    )
}

fn counted(transactions: u64, articles: u64) -> SourceWatermarks {
    SourceWatermarks::from([
        ("transactions".to_owned(), transactions),
        ("articles".to_owned(), articles),
    ])
}

fn hours(pipeline: &str, hours: &[Option<&str>]) -> ChangedRanges {
    let hours = RangeSet::Only(hours.iter().map(|hour| hour.map(us)).collect());
    ChangedRanges(BTreeMap::from([(pipeline.to_owned(), hours)]))
}

fn every(pipelines: &[&str]) -> ChangedRanges {
    ChangedRanges(
        pipelines
            .iter()
            .map(|pipeline| ((*pipeline).to_owned(), RangeSet::All))
            .collect(),
    )
}

async fn seen(table: &RangeTable) -> SourceWatermarks {
    table.watermarks().await.unwrap().1
}

async fn version(table: &RangeTable) -> Option<u64> {
    table.watermarks().await.unwrap().0
}

/// Replaces ranges by rows that were counted from one state of the sources, up to another.
async fn replace(
    table: &RangeTable,
    before: (u64, u64),
    now: (u64, u64),
    ranges: &ChangedRanges,
    lines: &[(&str, Option<&str>, i64)],
) -> Result<Option<ReplaceSummary>> {
    let (before, now) = (counted(before.0, before.1), counted(now.0, now.1));
    let done = table.replace(&before, &now, ranges, rows(lines), "run");
    done.await
}

async fn lines(table: &RangeTable) -> Vec<String> {
    sql(&warehouse_of(&table.registry), &table.path, None, ROWS).await
}

/// A table of two pipelines, counted from (3, 4).
async fn filled(place: &TempWarehouse) -> RangeTable {
    let table = table(place, 1).await;
    let all = [
        ("a", NINE, 1),
        ("a", TEN, 2),
        ("a", TEN, 3),
        ("a", MARCH, 4),
        ("a", None, 5),
        ("b", TEN, 6),
    ];
    let none = SourceWatermarks::new();
    let done = table
        .replace(
            &none,
            &counted(3, 4),
            &every(&["a", "b"]),
            rows(&all),
            "run",
        )
        .await
        .unwrap()
        .unwrap();
    assert_eq!((done.rows_added, done.rows_removed), (6, 0));
    assert_eq!(seen(&table).await, counted(3, 4));
    table
}

#[tokio::test]
async fn touched_hours_are_replaced_and_all_others_stay() {
    let place = TempWarehouse::new();
    let table = filled(&place).await;
    place.store.data_files_read();
    let touched = hours("a", &[TEN, None]);
    let done = replace(&table, (3, 4), (5, 4), &touched, &[("a", TEN, 20)])
        .await
        .unwrap();
    let done = done.unwrap();
    assert_eq!(
        (done.rows_added, done.rows_removed, done.files_read),
        (1, 3, 2)
    );
    assert_eq!(
        place.store.data_files_read(),
        2,
        "neither March's file nor the other pipeline's is opened"
    );
    assert_eq!(
        lines(&table).await,
        [
            "a 2026-01 2026-01-10T09:00:00Z 1",
            "a 2026-01 2026-01-10T10:00:00Z 20",
            "a 2026-03 2026-03-01T00:00:00Z 4",
            "b 2026-01 2026-01-10T10:00:00Z 6",
        ]
    );
    assert_eq!(seen(&table).await, counted(5, 4));
}

#[tokio::test]
async fn every_hour_of_a_pipeline_is_replaced_without_reading_any() {
    let place = TempWarehouse::new();
    let table = filled(&place).await;
    place.store.data_files_read();
    let done = replace(&table, (3, 4), (3, 5), &every(&["a"]), &[("a", NINE, 9)]).await;
    assert_eq!(done.unwrap().unwrap().rows_removed, 5);
    assert_eq!(place.store.data_files_read(), 0);
    assert_eq!(
        lines(&table).await,
        [
            "a 2026-01 2026-01-10T09:00:00Z 9",
            "b 2026-01 2026-01-10T10:00:00Z 6"
        ]
    );
    assert_eq!(
        table.pipelines().await.unwrap(),
        BTreeSet::from(["a".to_owned(), "b".to_owned()])
    );
}

#[tokio::test]
async fn small_files_of_a_touched_month_do_not_pile_up() {
    let place = TempWarehouse::new();
    let table = table(&place, 1).await;
    for n in 0..6 {
        let was = seen(&table).await;
        let hour = format!("2026-01-10T{n:02}:00:00Z");
        let touched = hours("a", &[Some(&hour)]);
        table
            .replace(
                &was,
                &counted(n + 1, 1),
                &touched,
                rows(&[("a", Some(&hour), 1)]),
                "run",
            )
            .await
            .unwrap()
            .unwrap();
    }
    let open = place
        .open()
        .await
        .open_at("statistics/hourly", None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!((open.figures.rows, open.figures.files), (Some(6), 1));
}

#[tokio::test]
async fn counting_without_a_touched_hour_only_moves_the_marks() {
    let place = TempWarehouse::new();
    let table = filled(&place).await;
    let before = lines(&table).await;
    let done = replace(&table, (3, 4), (9, 9), &ChangedRanges::default(), &[])
        .await
        .unwrap();
    assert_eq!(
        (done.clone().unwrap().rows_added, done.unwrap().files_read),
        (0, 0)
    );
    assert_eq!(
        (seen(&table).await, lines(&table).await),
        (counted(9, 9), before)
    );
}

#[tokio::test]
async fn whoever_counted_from_something_else_writes_nothing() {
    let place = TempWarehouse::new();
    let table = filled(&place).await;
    let before = version(&table).await;
    let touched = hours("a", &[TEN]);
    let late = replace(&table, (2, 4), (4, 4), &touched, &[("a", TEN, 9)])
        .await
        .unwrap();
    assert_eq!((late, version(&table).await), (None, before));

    // Another writer counts on while we do.
    let other = self::table(&place, 1).await;
    let theirs = hours("b", &[TEN]);
    place.store.before_next_commit(move || {
        async move {
            other
                .replace(
                    &counted(3, 4),
                    &counted(6, 4),
                    &theirs,
                    rows(&[("b", TEN, 60)]),
                    "other",
                )
                .await
                .unwrap();
        }
        .boxed()
    });
    let lost = replace(&table, (3, 4), (5, 4), &touched, &[("a", TEN, 9)])
        .await
        .unwrap();
    assert_eq!(lost, None);
    assert_eq!(seen(&table).await, counted(6, 4));
    assert!(
        lines(&table)
            .await
            .contains(&"b 2026-01 2026-01-10T10:00:00Z 60".to_owned())
    );
    assert!(
        !lines(&table)
            .await
            .contains(&"a 2026-01 2026-01-10T10:00:00Z 9".to_owned())
    );
}

#[tokio::test]
async fn a_commit_that_says_it_failed_and_did_not_is_found() {
    let place = TempWarehouse::new();
    let table = filled(&place).await;
    place.store.hide_success(1);
    let touched = hours("a", &[TEN]);
    let done = replace(&table, (3, 4), (4, 4), &touched, &[("a", TEN, 9)])
        .await
        .unwrap();
    assert!(done.is_some());
    place.store.fail(9);
    let failed = replace(&table, (4, 4), (5, 4), &touched, &[("a", TEN, 8)]).await;
    assert_eq!(failed.unwrap_err().kind(), ErrorKind::Storage);
    assert_eq!(seen(&self::table(&place, 1).await).await, counted(4, 4));
}

#[tokio::test]
async fn a_new_edition_begins_with_nothing_counted() {
    let place = TempWarehouse::new();
    filled(&place).await;
    let next = table(&place, 2).await;
    assert_eq!(seen(&next).await, SourceWatermarks::new());
    let done = next
        .replace(
            &SourceWatermarks::new(),
            &counted(3, 4),
            &every(&["a", "b"]),
            rows(&[("a", TEN, 1)]),
            "run",
        )
        .await;
    assert_eq!(done.unwrap().unwrap().rows_removed, 6);
    assert_eq!(lines(&next).await, ["a 2026-01 2026-01-10T10:00:00Z 1"]);
}
