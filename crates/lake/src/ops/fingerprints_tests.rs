//! Fingerprints on storage: what one run leaves and the next one finds.
//!
//! Invariant: whatever is wrong with the object, it counts as nothing, and the next run writes it anew.

use super::*;
use crate::faulty_store::{FixtureRecord, TempWarehouse, page, run, source_spec};
use crate::source::table::SourceTable;

const SYNC: FingerprintUse = FingerprintUse {
    recognizes: true,
    adds: true,
};

async fn table(place: &TempWarehouse, notes: &PipelineFingerprints, name: &str) -> SourceTable {
    let spec = tillhouse_model::TableSpec {
        name: name.to_owned(),
        ..source_spec()
    };
    let table = place.open().await.source_table("hecone", Arc::new(spec));
    table.recognizing(notes.of(name, SYNC))
}

/// Number of data files that landing a record again reads.
async fn files_read(place: &TempWarehouse, name: &str) -> u64 {
    let ops = place.open().await.ops();
    let notes = ops.fingerprints("hecone").await;
    let table = table(place, &notes, name).await;
    let landed = land(&table, 1).await;
    ops.keep_fingerprints(&notes).await;
    landed
}

async fn land(table: &SourceTable, content: i64) -> u64 {
    let record = FixtureRecord("a", Some("2026-01-10T10:00:00Z"), content, None);
    let package = vec![page("2026-03-02T00:00:00Z", &[record])];
    table.land(package, &run("r")).await.unwrap().files_read
}

#[tokio::test]
async fn they_are_found_by_the_next_run_each_resource_its_own() {
    let place = TempWarehouse::new();
    let ops = place.open().await.ops();
    let notes = ops.fingerprints("hecone").await;
    for name in ["sales", "payments"] {
        land(&table(&place, &notes, name).await, 1).await;
    }
    ops.keep_fingerprints(&notes).await;
    assert_eq!(files_read(&place, "sales").await, 0);
    // A run of the one leaves the other's as they are.
    let notes = ops.fingerprints("hecone").await;
    land(&table(&place, &notes, "sales").await, 2).await;
    ops.keep_fingerprints(&notes).await;
    assert_eq!(files_read(&place, "payments").await, 0);
    assert!(ops.fingerprints("other").await.before.is_empty());
}

#[tokio::test]
async fn an_object_that_is_damaged_counts_as_nothing_and_is_written_anew() {
    let place = TempWarehouse::new();
    let ops = place.open().await.ops();
    let file = place.root().join("ops/fingerprints/hecone");
    let notes = ops.fingerprints("hecone").await;
    land(&table(&place, &notes, "sales").await, 1).await;
    ops.keep_fingerprints(&notes).await;
    let whole = std::fs::read(&file).unwrap();
    let mut turned = whole.clone();
    *turned.last_mut().unwrap() ^= 1;
    let newer = String::from_utf8_lossy(&whole[..12]).replacen('1', "9", 1);
    let newer = [newer.as_bytes(), &whole[12..]].concat();
    for damaged in [&whole[..whole.len() - 1], &turned, &newer, &b"{"[..], b""] {
        std::fs::write(&file, damaged).unwrap();
        assert!(ops.fingerprints("hecone").await.before.is_empty());
        assert!(files_read(&place, "sales").await > 0);
        assert_eq!(std::fs::read(&file).unwrap(), whole);
        assert_eq!(files_read(&place, "sales").await, 0);
    }
}
