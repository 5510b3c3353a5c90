//! The law of tables that are replaced by ranges, rule by rule.
//!
//! Invariant: each test fails when its rule is taken out of the code.

use super::*;
use crate::faulty_store::{TempWarehouse, sql, sql_as_named, times, us, warehouse_of};
use crate::log::damage::LogFiles;
use crate::store::location::WarehouseLocation;
use crate::warehouse::Warehouse;
use arrow::array::{ArrayRef, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use futures::FutureExt;
use parquet::file::reader::{FileReader, SerializedFileReader};
use tillhouse_model::table::timestamp;

const ROWS: &str = "SELECT pipeline, period, hour, n FROM t ORDER BY pipeline, hour, n";
const HOUR: &str = "hour";
const HOURLY: &str = "hourly";
const NINE: Option<&str> = Some("2026-01-10T09:00:00Z");
const TEN: Option<&str> = Some("2026-01-10T10:00:00Z");
const MARCH: Option<&str> = Some("2026-03-01T00:00:00Z");

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(HOUR, timestamp(), true),
        Field::new("pipeline", DataType::Utf8, false),
        Field::new("n", DataType::Int64, true),
        Field::new(LEVEL, DataType::Utf8, false),
        Field::new(PERIOD, DataType::Utf8, false),
    ]))
}

fn rows(rows: &[(&str, Option<&str>, i64)]) -> UnifiedRowStream {
    rows_of(HOURLY, 7, rows)
}

/// Rows of a level whose periods are the first letters of the ranges' starts.
fn rows_of(level: &str, letters: usize, rows: &[(&str, Option<&str>, i64)]) -> UnifiedRowStream {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(times(rows.iter().map(|r| r.1.map(us)))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.0))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|_| level))),
        Arc::new(StringArray::from_iter_values(
            rows.iter()
                .map(|r| r.1.map_or("none", |hour| &hour[..letters])),
        )),
    ];
    futures::stream::iter([Ok(RecordBatch::try_new(schema(), columns).unwrap())]).boxed()
}

async fn table(place: &TempWarehouse, edition: u32) -> RangeTable {
    let sources = ["transactions", "articles"];
    let warehouse = place.open().await;
    let table = warehouse.range_table("hourly", schema(), HOUR, &sources, edition);
    table
        .with_level(HOURLY, PeriodWidth::Month)
        .with_level("yearly", PeriodWidth::Year)
}

fn of_hours(changed: ChangedRanges) -> ChangedLevels {
    ChangedLevels::from([(HOURLY.to_owned(), changed)])
}

fn counted(transactions: u64, articles: u64) -> SourceWatermarks {
    SourceWatermarks::from([
        ("transactions".to_owned(), transactions),
        ("articles".to_owned(), articles),
    ])
}

fn ranges(pipeline: &str, starts: &[Option<&str>]) -> ChangedRanges {
    let starts = RangeSet::Only(starts.iter().map(|start| start.map(us)).collect());
    ChangedRanges(BTreeMap::from([(pipeline.to_owned(), starts)]))
}

fn hours(pipeline: &str, hours: &[Option<&str>]) -> ChangedLevels {
    of_hours(ranges(pipeline, hours))
}

fn every(pipelines: &[&str]) -> ChangedLevels {
    let all = pipelines.iter();
    of_hours(ChangedRanges(
        all.map(|pipeline| ((*pipeline).to_owned(), RangeSet::All))
            .collect(),
    ))
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
    ranges: &ChangedLevels,
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
        "March's file is not opened"
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
async fn every_hour_of_a_pipeline_is_replaced_and_those_of_others_stay() {
    let place = TempWarehouse::new();
    let table = filled(&place).await;
    let done = replace(&table, (3, 4), (3, 5), &every(&["a"]), &[("a", NINE, 9)]).await;
    assert_eq!(done.unwrap().unwrap().rows_removed, 5);
    let left = [
        "a 2026-01 2026-01-10T09:00:00Z 9",
        "b 2026-01 2026-01-10T10:00:00Z 6",
    ];
    assert_eq!(lines(&table).await, left);
    // Of a level or a pipeline that no file holds, none is opened.
    place.store.data_files_read();
    let other = ChangedLevels::from([(
        "yearly".to_owned(),
        ChangedRanges(BTreeMap::from([("a".to_owned(), RangeSet::All)])),
    )]);
    for touched in [other, every(&["c"])] {
        let done = replace(&table, (3, 5), (3, 5), &touched, &[]).await;
        assert_eq!(done.unwrap().unwrap().files_read, 0);
    }
    assert_eq!(place.store.data_files_read(), 0);
    assert_eq!(lines(&table).await, left);
}

#[tokio::test]
async fn all_rows_are_replaced_without_reading_any() {
    let place = TempWarehouse::new();
    let table = filled(&place).await;
    place.store.data_files_read();
    let rows = rows(&[("c", NINE, 9)]);
    let done = table
        .replace_all(&counted(3, 4), &counted(3, 5), rows, "run")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((done.rows_added, done.rows_removed), (1, 6));
    assert_eq!(place.store.data_files_read(), 0);
    assert_eq!(
        lines(&table).await,
        ["c 2026-01 2026-01-10T09:00:00Z 9"],
        "also those of pipelines that are gone"
    );
}

#[tokio::test]
async fn a_period_is_one_file_with_its_rows_in_order_and_levels_of_few_rows_in_one_row_group() {
    let place = TempWarehouse::new();
    let table = table(&place, 1)
        .await
        .with_level("daily", PeriodWidth::Month);
    let both = |changed: ChangedRanges| {
        ChangedLevels::from([
            ("daily".to_owned(), changed.clone()),
            (HOURLY.to_owned(), changed),
        ])
    };
    let new = rows(&[("b", TEN, 1), ("a", TEN, 2)])
        .chain(rows_of("daily", 7, &[("b", NINE, 3), ("a", NINE, 4)]))
        .chain(rows(&[("a", NINE, 5)]))
        .boxed();
    let none = SourceWatermarks::new();
    let mut touched = ranges("a", &[NINE, TEN]);
    touched.merge(ranges("b", &[NINE, TEN]));
    table
        .replace(&none, &counted(1, 1), &both(touched), new, "run")
        .await
        .unwrap()
        .unwrap();
    // A part of one level and pipeline is replaced, and the file is whole again.
    let again = hours("a", &[TEN]);
    replace(&table, (1, 1), (2, 1), &again, &[("a", TEN, 6)])
        .await
        .unwrap()
        .unwrap();
    let snapshot = table.table().unwrap().latest().await.unwrap().unwrap();
    assert_eq!(snapshot.files.len(), 1);
    let file = &snapshot.files[0];
    assert_eq!(file.partition.len(), 1);
    assert!(file.may_hold_text(LEVEL, HOURLY) && !file.may_hold_text(LEVEL, "monthly"));
    assert!(file.may_hold_text(PIPELINE, "b") && !file.may_hold_text(PIPELINE, "c"));
    assert_eq!(
        sql(
            &warehouse_of(&table.registry),
            &table.path,
            None,
            "SELECT level, pipeline, n FROM t"
        )
        .await,
        [
            "daily a 4",
            "daily b 3",
            "hourly a 5",
            "hourly a 6",
            "hourly b 1"
        ]
    );
    let path = place.folder.path().join("wäre house/statistics/hourly");
    let bytes = std::fs::read(path.join(&file.path)).unwrap();
    let reader = SerializedFileReader::new(bytes::Bytes::from(bytes)).unwrap();
    let groups = reader.metadata().row_groups().iter().map(|group| {
        let columns = group.columns().iter();
        let mut levels = columns.filter(|column| column.column_path().string() == LEVEL);
        let bounds = levels.next().unwrap().statistics().unwrap();
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
        [text(bounds.min_bytes_opt()), text(bounds.max_bytes_opt())]
    });
    assert_eq!(groups.collect::<Vec<_>>(), [["daily", "hourly"]]);
    let group = reader.metadata().row_group(0);
    let may_hold = |level: &str| scan::may_hold_text(group, LEVEL, level);
    assert!(may_hold("daily") && may_hold("hourly") && !may_hold("monthly"));
}

#[tokio::test]
async fn a_file_that_is_shown_in_parts_is_read_in_parts_and_counted_once() {
    let place = TempWarehouse::new();
    let table = filled(&place).await;
    let first = version(&table).await;
    // January is written anew, March and what has no time are not.
    let touched = hours("b", &[TEN]);
    replace(&table, (3, 4), (4, 4), &touched, &[("b", TEN, 60)])
        .await
        .unwrap()
        .unwrap();
    let touched = hours("a", &[TEN]);
    replace(&table, (4, 4), (5, 4), &touched, &[("a", TEN, 20)])
        .await
        .unwrap()
        .unwrap();
    let mut named = TableVersion::from(version(&table).await.unwrap());
    named.pinned.insert("a".to_owned(), first);
    let warehouse = warehouse_of(&table.registry);
    assert_eq!(
        sql_as_named(&warehouse, &table.path, Some(&named), ROWS).await,
        [
            "a 2026-01 2026-01-10T09:00:00Z 1",
            "a 2026-01 2026-01-10T10:00:00Z 2",
            "a 2026-01 2026-01-10T10:00:00Z 3",
            "a 2026-03 2026-03-01T00:00:00Z 4",
            "a none - 5",
            "b 2026-01 2026-01-10T10:00:00Z 60",
        ]
    );
    let count = "SELECT count(*) FROM t";
    assert_eq!(
        sql_as_named(&warehouse, &table.path, Some(&named), count).await,
        ["6"]
    );
    let open = warehouse.open_at(&table.path, Some(&named)).await;
    let figures = open.unwrap().unwrap().figures;
    assert_eq!((figures.rows, figures.files), (None, 4));
    named.pinned.insert("a".to_owned(), None);
    assert_eq!(
        sql_as_named(&warehouse, &table.path, Some(&named), ROWS).await,
        ["b 2026-01 2026-01-10T10:00:00Z 60"]
    );
}

#[tokio::test]
async fn a_table_of_other_partitions_is_no_part_of_it() {
    let place = TempWarehouse::new();
    let table = table(&place, 1).await;
    let handle = table.table().unwrap();
    let partition_by = [LEVEL, PIPELINE, PERIOD].map(str::to_owned).to_vec();
    let other = TableLayout::new(schema(), &[HOUR.to_owned()], partition_by).unwrap();
    handle
        .latest_or_create(&other.definition, "run")
        .await
        .unwrap();
    let none = SourceWatermarks::new();
    assert_eq!(table.version_made_from(&none).await.unwrap(), None);
    assert!(table.damage().await.unwrap().is_some());
    table.begin_anew("run").await.unwrap();
    assert_eq!(table.damage().await.unwrap(), None);
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
async fn a_level_of_years_has_a_file_a_year_and_levels_leave_one_another_alone() {
    let place = TempWarehouse::new();
    let table = filled(&place).await;
    let (january, april) = (Some("2026-01-01T00:00:00Z"), Some("2026-04-01T00:00:00Z"));
    let earlier = Some("2025-12-01T00:00:00Z");
    let all = [
        ("a", earlier, 11),
        ("a", january, 12),
        ("a", april, 13),
        ("a", None, 14),
    ];
    let years = |changed: ChangedRanges| ChangedLevels::from([("yearly".to_owned(), changed)]);
    let all_years = ChangedRanges(BTreeMap::from([("a".to_owned(), RangeSet::All)]));
    let filled = table
        .replace(
            &counted(3, 4),
            &counted(4, 4),
            &years(all_years),
            rows_of("yearly", 4, &all),
            "run",
        )
        .await
        .unwrap()
        .unwrap();
    assert_eq!((filled.rows_added, filled.rows_removed), (4, 0));
    place.store.data_files_read();
    // Both levels in one commit: an hour of one, and what begins at the same instant of the other stays.
    let mut touched = years(ranges("a", &[april]));
    touched.extend(hours("a", &[NINE, january]));
    let both = rows_of("yearly", 4, &[("a", april, 30)])
        .chain(rows(&[("a", NINE, 10)]))
        .boxed();
    let second = table
        .replace(&counted(4, 4), &counted(5, 4), &touched, both, "run")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((second.rows_removed, second.files_read), (2, 2));
    assert_eq!(
        lines(&table).await,
        [
            "a 2025 2025-12-01T00:00:00Z 11",
            "a 2026 2026-01-01T00:00:00Z 12",
            "a 2026-01 2026-01-10T09:00:00Z 10",
            "a 2026-01 2026-01-10T10:00:00Z 2",
            "a 2026-01 2026-01-10T10:00:00Z 3",
            "a 2026-03 2026-03-01T00:00:00Z 4",
            "a 2026 2026-04-01T00:00:00Z 30",
            "a none - 5",
            "a none - 14",
            "b 2026-01 2026-01-10T10:00:00Z 6",
        ]
    );
    let warehouse = warehouse_of(&table.registry);
    let of_years = "SELECT DISTINCT level, period FROM t WHERE level = 'yearly' ORDER BY period";
    assert_eq!(
        sql(&warehouse, &table.path, None, of_years).await,
        ["yearly 2025", "yearly 2026", "yearly none"]
    );
}

#[tokio::test]
async fn what_was_counted_from_these_very_versions_is_told_without_a_request() {
    let place = TempWarehouse::new();
    let table = filled(&place).await;
    let made = version(&table).await;
    assert_eq!(table.version_made_from(&counted(3, 4)).await.unwrap(), made);
    for other in [counted(3, 5), counted(2, 4), SourceWatermarks::new()] {
        assert_eq!(table.version_made_from(&other).await.unwrap(), None);
    }
    let next = self::table(&place, 2).await;
    assert_eq!(next.version_made_from(&counted(3, 4)).await.unwrap(), None);
    let why = "it has other content".to_owned();
    table.table().unwrap().forsake(why, 1);
    assert_eq!(table.version_made_from(&counted(3, 4)).await.unwrap(), None);
}

#[tokio::test]
async fn counting_without_a_touched_hour_only_moves_the_marks() {
    let place = TempWarehouse::new();
    let table = filled(&place).await;
    let before = lines(&table).await;
    let done = replace(&table, (3, 4), (9, 9), &ChangedLevels::default(), &[])
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

#[tokio::test]
async fn what_one_edition_counted_holds_until_another_writes() {
    let place = TempWarehouse::new();
    let one = filled(&place).await;
    let two = table(&place, 2).await;
    let first = TableVersion::from(version(&one).await.unwrap());
    // Forth, back and forth again: each begins with nothing counted.
    for (edition, other) in [(&two, &one), (&one, &two), (&two, &one)] {
        let nothing = SourceWatermarks::new();
        assert_eq!(seen(edition).await, nothing);
        let rows = rows(&[("a", TEN, 1)]);
        let done = edition
            .replace(&nothing, &counted(3, 4), &every(&["a", "b"]), rows, "run")
            .await;
        assert!(done.unwrap().is_some());
        assert_eq!(seen(edition).await, counted(3, 4));
        assert_eq!(seen(other).await, nothing);
        let made = other.version_made_from(&counted(3, 4)).await.unwrap();
        assert_eq!(made, None);
    }
    // Of each version that is named, whoever wrote later.
    let of_one = one.made_from_at(&first).await.unwrap();
    assert_eq!(of_one, Some(counted(3, 4)));
    let of_two = two.made_from_at(&first).await.unwrap();
    assert_eq!(of_two, Some(SourceWatermarks::new()));
}

/// Data files of the table, on disk.
fn data_files(place: &TempWarehouse) -> Vec<std::path::PathBuf> {
    let root = place.folder.path().join("wäre house/statistics/hourly");
    let mut folders = vec![root];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true if path.ends_with("_delta_log") => {}
                true => folders.push(path),
                false => found.push(path),
            }
        }
    }
    found
}

#[tokio::test]
async fn whatever_is_damaged_the_table_begins_anew_and_uses_no_version_again() {
    let commit = |place: &TempWarehouse, version: u64| {
        let log = "wäre house/statistics/hourly/_delta_log";
        place
            .folder
            .path()
            .join(log)
            .join(format!("{version:020}.json"))
    };
    for (what, told) in [
        ("a commit is empty", "00000000000000000001.json"),
        ("a commit is missing", "missing"),
        ("two commits are swapped", "it is the commit of version"),
        ("the log is another table's", "another table's"),
        ("a data file is missing", "missing or cut"),
        ("a data file is cut", "missing or cut"),
        ("a run found it to be another", "other content"),
        ("a folder has the next commit's name", "a folder stands"),
    ] {
        let place = TempWarehouse::new();
        let before = filled(&place).await;
        replace(
            &before,
            (3, 4),
            (4, 4),
            &hours("a", &[NINE]),
            &[("a", NINE, 7)],
        )
        .await
        .unwrap()
        .unwrap();
        let newest = version(&before).await.unwrap();
        let file = data_files(&place).remove(0);
        match what {
            "a commit is empty" => std::fs::write(commit(&place, 1), "").unwrap(),
            "a commit is missing" => std::fs::remove_file(commit(&place, 1)).unwrap(),
            "two commits are swapped" => {
                let away = place.folder.path().join("away");
                std::fs::rename(commit(&place, 1), &away).unwrap();
                std::fs::rename(commit(&place, 2), commit(&place, 1)).unwrap();
                std::fs::rename(&away, commit(&place, 2)).unwrap();
            }
            "the log is another table's" => {
                let text = std::fs::read_to_string(commit(&place, 0)).unwrap();
                let other = text.replace(
                    "\\\"name\\\":\\\"n\\\",\\\"type\\\":\\\"long\\\"",
                    "\\\"name\\\":\\\"n\\\",\\\"type\\\":\\\"string\\\"",
                );
                assert_ne!(other, text, "{text}");
                // Whoever wrote that table said no checksum of this one.
                let other = other.replace("\"tillhouseChecksum\":", "\"tillhouseSum\":");
                std::fs::write(commit(&place, 0), other).unwrap();
            }
            "a data file is missing" => std::fs::remove_file(&file).unwrap(),
            "a folder has the next commit's name" => {
                std::fs::create_dir(commit(&place, newest + 1)).unwrap();
            }
            "a data file is cut" => {
                let whole = std::fs::read(&file).unwrap();
                std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
            }
            _ => {}
        }
        let table = table(&place, 1).await;
        if what == "a run found it to be another" {
            assert_eq!(table.damage().await.unwrap(), None);
            let why = "statistics/hourly has other content in version 2".to_owned();
            table.table().unwrap().forsake(why, newest + 3);
        }
        let why = table.damage().await.unwrap();
        // Of files that no version names any more nobody misses one.
        if why.is_none() && what.starts_with("a data file") {
            continue;
        }
        assert!(
            why.as_ref().is_some_and(|why| why.contains(told)),
            "{what}: {why:?}"
        );
        table.begin_anew("run").await.unwrap();
        assert_eq!(table.damage().await.unwrap(), None, "{what}");
        let (begun, watermarks) = table.watermarks().await.unwrap();
        assert!(
            begun.is_some_and(|begun| begun > newest),
            "{what}: {begun:?}"
        );
        assert_eq!(watermarks, SourceWatermarks::new(), "{what}");
        let none = SourceWatermarks::new();
        let rows = rows(&[("a", TEN, 2)]);
        let done = table
            .replace(&none, &counted(5, 5), &every(&["a"]), rows, "run")
            .await
            .unwrap()
            .unwrap();
        assert_eq!(done.rows_removed, 0, "{what}");
        // So another process, and any Delta reader, sees it.
        let again = self::table(&place, 1).await;
        assert_eq!(
            lines(&again).await,
            ["a 2026-01 2026-01-10T10:00:00Z 2"],
            "{what}"
        );
        assert_eq!(seen(&again).await, counted(5, 5), "{what}");
        assert_eq!(version(&again).await, Some(done.version), "{what}");
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_where_its_rows_stay_makes_the_table_begin_anew() {
    let place = TempWarehouse::new();
    filled(&place).await;
    for file in data_files(&place) {
        let mut bytes = std::fs::read(&file).unwrap();
        let end = bytes.len() - 12;
        bytes[4..end].iter_mut().for_each(|byte| *byte ^= 0xff);
        std::fs::write(&file, bytes).unwrap();
    }
    let table = table(&place, 1).await;
    assert_eq!(
        table.damage().await.unwrap(),
        None,
        "its files are as long as they were"
    );
    let done = replace(
        &table,
        (3, 4),
        (5, 4),
        &hours("a", &[TEN]),
        &[("a", TEN, 20)],
    )
    .await;
    assert_eq!(done.unwrap(), None);
    assert!(table.damage().await.unwrap().is_some());
    table.begin_anew("run").await.unwrap();
    assert_eq!(seen(&table).await, SourceWatermarks::new());
}

#[tokio::test]
async fn the_checkpoint_that_a_table_begins_anew_with_is_proved_without_what_is_before_it() {
    let place = TempWarehouse::new();
    filled(&place).await;
    let table = table(&place, 1).await;
    table.begin_anew("run").await.unwrap();
    let version = version(&table).await.unwrap();
    let log = LogFiles {
        commits: (0..=version).collect(),
        checkpoints: [version].into(),
    };
    let handle = table.table().unwrap();
    handle.prove_checkpoint(version, &log).await.unwrap();
    assert!(!handle.can_be_mended(version).await);
}

#[tokio::test]
async fn of_two_that_begin_a_table_anew_neither_loses_what_the_other_counts() {
    let place = TempWarehouse::new();
    filled(&place).await;
    let (one, other) = (table(&place, 1).await, table(&place, 1).await);
    one.begin_anew("one").await.unwrap();
    let none = SourceWatermarks::new();
    let of_one = one
        .replace(
            &none,
            &counted(5, 5),
            &every(&["a"]),
            rows(&[("a", TEN, 2)]),
            "one",
        )
        .await
        .unwrap()
        .unwrap();
    other.begin_anew("other").await.unwrap();
    let of_other = other
        .replace(
            &none,
            &counted(5, 5),
            &every(&["a"]),
            rows(&[("a", TEN, 2)]),
            "other",
        )
        .await
        .unwrap()
        .unwrap();
    assert!(of_other.version > of_one.version);
    let warehouse = warehouse_of(&table(&place, 1).await.registry);
    for version in [of_one.version, of_other.version] {
        let found = sql(&warehouse, "statistics/hourly", Some(version), ROWS).await;
        assert_eq!(found, ["a 2026-01 2026-01-10T10:00:00Z 2"]);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn what_stands_in_the_place_of_the_folder_or_the_log_is_set_aside() {
    for of in ["", "_delta_log"] {
        for kind in ["a file", "a pipe", "a link that leads nowhere"] {
            let place = TempWarehouse::new();
            filled(&place).await;
            let at = place.root().join("statistics/hourly").join(of);
            // Without the slash at its end.
            let at: std::path::PathBuf = at.components().collect();
            std::fs::remove_dir_all(&at).unwrap();
            match kind {
                "a file" => std::fs::write(&at, "x").unwrap(),
                "a pipe" => {
                    let made = std::process::Command::new("mkfifo").arg(&at).status();
                    assert!(made.unwrap().success());
                }
                _ => std::os::unix::fs::symlink("nowhere", &at).unwrap(),
            }
            let location = WarehouseLocation::new(place.root().display().to_string());
            let warehouse = Warehouse::open(&location).await.unwrap();
            let sources = ["transactions", "articles"];
            let table = warehouse.range_table("hourly", schema(), HOUR, &sources, 1);
            let table = table.with_level(HOURLY, PeriodWidth::Month);
            let why = table.damage().await.unwrap();
            assert!(why.is_some_and(|why| why.contains(kind)), "{of} {kind}");
            table.begin_anew("run").await.unwrap();
            assert_eq!(table.damage().await.unwrap(), None, "{of} {kind}");
            assert_eq!(seen(&table).await, SourceWatermarks::new());
            let aside = place.root().join(".set-aside/run/statistics/hourly");
            assert!(aside.symlink_metadata().is_ok(), "{of} {kind}");
        }
    }
}
