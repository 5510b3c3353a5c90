//! Rows of many months in no order, under a small budget.
//!
//! Invariant: every row arrives once, in its month; no more files are open than allowed.

use super::*;
use crate::faulty_store::{TempWarehouse, fact_spec, sql, times};
use crate::month::MonthNamer;
use arrow::array::{BinaryArray, Decimal128Array, Int64Array, StringArray};
use arrow::datatypes::TimestampMicrosecondType;
use deltalake::kernel::Action;
use futures::StreamExt;
use tillhouse_model::table::RECORD_TIME;

/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600_000_000;

fn batch(from: i64, rows: i64) -> RecordBatch {
    // Scattered over twelve months; every hundredth row has no time.
    let time =
        |row: i64| (row % 100 != 0).then(|| START + (row * 7_919 % 360) * 86_400_000_000 + row);
    let range = from..from + rows;
    let time_column = times(range.clone().map(time));
    let mut months = MonthNamer::default();
    let month_column =
        StringArray::from_iter_values(range.clone().map(|row| months.of(time(row)).to_owned()));
    let keys = || StringArray::from_iter_values(range.clone().map(|row| format!("k{row}")));
    let count = range.clone().count();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(keys()),
        Arc::new(StringArray::from_iter_values(
            range.clone().map(|_| "hecone"),
        )),
        Arc::new(time_column.clone()),
        Arc::new(month_column),
        Arc::new(
            Decimal128Array::from_iter_values(range.clone().map(i128::from))
                .with_precision_and_scale(18, 4)
                .unwrap(),
        ),
        Arc::new(keys()),
        Arc::new(time_column),
        Arc::new(Int64Array::from_value(1, count)),
        Arc::new(times(range.clone().map(Some))),
        Arc::new(BinaryArray::from_iter_values(
            range.clone().map(i64::to_be_bytes),
        )),
        Arc::new(StringArray::from_iter_values(range.map(|_| "run"))),
    ];
    RecordBatch::try_new(fact_spec().unified_schema(), columns).unwrap()
}

#[tokio::test]
async fn every_row_arrives_once_whatever_the_order_and_the_budget() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    let unified = warehouse.unified_table(Arc::new(fact_spec()));
    let (table, layout) = (unified.table().unwrap(), unified.layout().unwrap());
    let snapshot = table
        .latest_or_create(&layout.definition, "run")
        .await
        .unwrap();
    let mut splitter = FanOutWriter::new(table.clone(), layout.clone()).unwrap();
    splitter.budget = 200_000;
    for from in (0..12_000).step_by(1_500) {
        splitter.write(batch(from, 1_500)).await.unwrap();
        assert!(splitter.waiting_bytes <= splitter.budget);
        assert!(
            splitter
                .writers
                .values()
                .filter(|(writer, _)| writer.is_open())
                .count()
                <= OPEN_FILES
        );
    }
    assert_eq!(splitter.rows(), 12_000);
    let adds = splitter.finish().await.unwrap();
    let change = crate::log::commit::CommitRequest {
        actions: adds.into_iter().map(Action::Add).collect(),
        operation: deltalake::protocol::DeltaOperation::Update { predicate: None },
        watermarks: Vec::new(),
        run_id: "run",
    };
    crate::log::commit::commit(&table, &snapshot, &change)
        .await
        .unwrap();
    let whole = "SELECT count(*), count(DISTINCT article_key), CAST(sum(amount) * 10000 AS BIGINT), \
                 count(DISTINCT month) FROM t";
    assert_eq!(
        sql(&warehouse, "unified/articles", None, whole).await,
        ["12000 12000 71994000 13"]
    );
    let astray =
        "SELECT count(*) FROM t WHERE month <> coalesce(to_char(occurred_at, '%Y-%m'), 'none')";
    assert_eq!(
        sql(&warehouse, "unified/articles", None, astray).await,
        ["0"]
    );
    let files = table.latest().await.unwrap().unwrap().files;
    assert!(files.len() > 13, "the budget closed files early");
    for file in files.iter() {
        assert_eq!(
            file.times.is_none(),
            file.partition_value("month") == Some("none"),
            "{file:?}"
        );
        let mut batches = crate::scan::columns(&table, file, vec![RECORD_TIME.to_owned()])
            .await
            .unwrap();
        let mut seen = 0;
        while let Some(batch) = batches.next().await {
            let batch = batch.unwrap();
            for time in batch.column(0).as_primitive::<TimestampMicrosecondType>() {
                seen += 1;
                assert!(
                    time.is_none_or(|time| file.may_hold_times(&[time], 0)),
                    "statistics are bounds"
                );
            }
        }
        assert_eq!(Some(seen), file.rows);
    }
}

#[tokio::test]
async fn a_file_larger_than_one_upload_part_is_whole() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    let unified = warehouse.unified_table(Arc::new(fact_spec()));
    let (table, layout) = (unified.table().unwrap(), unified.layout().unwrap());
    let snapshot = table
        .latest_or_create(&layout.definition, "run")
        .await
        .unwrap();
    let partition = vec![
        ("pipeline".to_owned(), Some("hecone".to_owned())),
        ("month".to_owned(), Some("none".to_owned())),
    ];
    let mut writer = PartitionWriter::new(&table, layout.clone(), partition);
    let mut state = 1_u64;
    for from in 0..24_i64 {
        // Bytes that do not compress: a megabyte a batch in the hash column.
        let rows = batch(from * 100, 100).project(&layout.projection).unwrap();
        let at = rows.schema().index_of("_content_hash").unwrap();
        let noise = (0..100).map(|_| {
            let mut next = || {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as u8
            };
            (0..10_000).map(|_| next()).collect::<Vec<u8>>()
        });
        let noise: BinaryArray = noise.map(Some).collect();
        let mut columns = rows.columns().to_vec();
        columns[at] = Arc::new(noise);
        let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
        writer
            .write(move |encoder| encoder.write(&rows))
            .await
            .unwrap();
    }
    let adds = writer.finish().await.unwrap();
    assert_eq!(adds.len(), 1);
    assert!(adds[0].size > 16 << 20, "{}", adds[0].size);
    let change = crate::log::commit::CommitRequest {
        actions: adds.into_iter().map(Action::Add).collect(),
        operation: deltalake::protocol::DeltaOperation::Update { predicate: None },
        watermarks: Vec::new(),
        run_id: "run",
    };
    crate::log::commit::commit(&table, &snapshot, &change)
        .await
        .unwrap();
    let query =
        "SELECT count(*), count(DISTINCT _content_hash), count(DISTINCT article_key) FROM t";
    assert_eq!(
        sql(&warehouse, "unified/articles", None, query).await,
        ["2400 2400 2400"]
    );
}
