//! Data files that are uploaded in parts, against real servers: one that is ended, and one that is given up.
//!
//! Invariant: a request that writes before the end of a file shows that it goes in parts; a file in one is put at its end.

use super::servers::{CloudPlace, azurite, seaweedfs};
use crate::unify_harness::spec;
use arrow::array::{
    ArrayRef, AsArray, BinaryArray, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field};
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tillhouse_lake::{
    ScanRequest, SupersededRecords, TableVersion, UnifiedTableWriter, UnifyStep, Warehouse,
};

const ROWS: u64 = 8;
const ROW_BYTES: usize = 512 << 10;
/// Of 4 MiB each: several parts of 5 MiB, also where a quarter of it is compressed away.
const BATCHES: u64 = 7;
const TABLE: &str = "unified/events";
const MONTH: &str = "2026-01";

/// Letters that hardly compress, the same for the same row.
fn letters(row: u64) -> String {
    let mut state = row.wrapping_mul(2).wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut text = String::with_capacity(ROW_BYTES + 10);
    while text.len() < ROW_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        for shift in (0..60).step_by(6) {
            let letter = u8::try_from((state >> shift) & 63).unwrap();
            text.push(char::from(b'0' + letter));
        }
    }
    text
}

fn column(field: &Field, rows: &[u64]) -> ArrayRef {
    let same =
        |text: &'static str| -> ArrayRef { Arc::new(StringArray::from(vec![text; rows.len()])) };
    match (field.name().as_str(), field.data_type()) {
        ("description", _) => Arc::new(
            rows.iter()
                .map(|row| Some(letters(*row)))
                .collect::<StringArray>(),
        ),
        ("event_key" | "_record_key", _) => Arc::new(
            rows.iter()
                .map(|row| Some(row.to_string()))
                .collect::<StringArray>(),
        ),
        ("pipeline" | "source", _) => same("hecone"),
        ("month", _) => same(MONTH),
        (_, wanted) if field.is_nullable() => new_null_array(wanted, rows.len()),
        (_, DataType::Utf8) => same("x"),
        (_, DataType::Int64) => Arc::new(Int64Array::from(vec![1; rows.len()])),
        (_, DataType::Binary) => Arc::new(BinaryArray::from_iter_values(rows.iter().map(|_| b"x"))),
        (_, DataType::Timestamp(..)) => {
            let times = TimestampMicrosecondArray::from(vec![1_767_225_600_000_000; rows.len()]);
            Arc::new(times.with_timezone("UTC"))
        }
        (name, wanted) => panic!("{name}: {wanted}"),
    }
}

/// Writes the rows of one file, all but its end.
async fn write(writer: &mut UnifiedTableWriter) {
    let schema = spec("unified", "events").unified_schema();
    for batch in 0..BATCHES {
        let rows: Vec<u64> = (batch * ROWS..(batch + 1) * ROWS).collect();
        let columns = schema.fields().iter().map(|field| column(field, &rows));
        let columns = columns.collect();
        let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
        writer.write(batch).await.unwrap();
    }
}

async fn open(place: &CloudPlace) -> Warehouse {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let warehouse = Warehouse::open(&place.location()).await.unwrap();
    warehouse.prepare().await.unwrap();
    warehouse
}

/// A file of many parts is read as it was written.
async fn in_parts(place: &CloudPlace) -> Warehouse {
    let warehouse = open(place).await;
    let table = warehouse.unified_table(spec("unified", "events"));
    let before = warehouse.requests().puts;
    let mut writer = table.begin("hecone").unwrap();
    write(&mut writer).await;
    let begun = warehouse.requests().puts - before;
    assert!(begun >= 2, "its beginning and a part of it: {begun}");
    let step = UnifyStep {
        pipeline: "hecone".to_owned(),
        resource: "transactions".to_owned(),
        after_load_id: 0,
        to_load_id: 1,
        children: Vec::new(),
        run_id: "run".to_owned(),
    };
    let done = writer
        .commit(&step, &SupersededRecords::default())
        .await
        .unwrap();
    assert_eq!(done.rows_added, BATCHES * ROWS);
    let version = TableVersion::from(done.version);
    let facts = warehouse.facts(TABLE, &version).await.unwrap().unwrap();
    let asked = ScanRequest {
        labels: Vec::new(),
        columns: vec!["event_key".to_owned(), "description".to_owned()],
        row_filter: None,
    };
    let found: Vec<RecordBatch> = facts
        .rows("hecone", MONTH, asked)
        .try_collect()
        .await
        .unwrap();
    let mut texts = BTreeMap::new();
    for batch in &found {
        let column = |name: &str| batch.column_by_name(name).unwrap().as_string::<i32>();
        for (key, text) in column("event_key").iter().zip(column("description")) {
            texts.insert(
                key.unwrap().parse::<u64>().unwrap(),
                text.unwrap().to_owned(),
            );
        }
    }
    assert_eq!(texts.len() as u64, BATCHES * ROWS);
    for (row, text) in texts {
        assert!(text == letters(row), "row {row} is another one");
    }
    warehouse
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_parts_on_s3_is_whole_and_of_one_that_is_given_up_nothing_stays() {
    let server = seaweedfs().await;
    let warehouse = in_parts(&CloudPlace::s3(server, "large/parts")).await;
    let (names, uploads) = server.list("large/parts").await;
    assert!(uploads.is_empty(), "the upload is over: {uploads:?}");
    let table = warehouse.unified_table(spec("unified", "events"));
    let mut writer = table.begin("hecone").unwrap();
    write(&mut writer).await;
    let (_, uploads) = server.list("large/parts").await;
    assert_eq!(uploads.len(), 1, "{uploads:?}");
    drop(writer);
    // It is aborted by a task of its own.
    let ended = async { while !server.list("large/parts").await.1.is_empty() {} };
    let ended = tokio::time::timeout(Duration::from_secs(60), ended).await;
    assert!(ended.is_ok(), "the parts of a file that was given up stay");
    assert_eq!(server.list("large/parts").await.0, names);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_parts_on_azure_is_whole() {
    in_parts(&CloudPlace::azure(azurite().await, "large/parts")).await;
}
