//! The law of leases: of any number who swap one, one does; and what is swapped is what was read.
//!
//! Invariant: every test goes through two handles that share nothing but the folder, as two processes do.

use super::*;
use crate::faulty_store::t;
use crate::store::location::WarehouseLocation;
use crate::warehouse::Warehouse;
use tempfile::TempDir;

const VALID: SignedDuration = SignedDuration::from_secs(60);

fn lease(run: &str) -> LeaseRecord {
    let owner = LeaseOwner {
        host: "till".to_owned(),
        pid: 7,
        process: None,
        run_id: run.to_owned(),
        command: "sync".to_owned(),
    };
    LeaseRecord::new("hecone", owner, t("2026-03-02T00:00:00Z"), VALID)
}

async fn open(folder: &TempDir) -> OpsTables {
    let location = WarehouseLocation::new(folder.path().display().to_string());
    let warehouse = Warehouse::open(&location).await.unwrap();
    warehouse.prepare().await.unwrap();
    warehouse.ops()
}

async fn two() -> (TempDir, OpsTables, OpsTables) {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (open(&folder).await, open(&folder).await);
    (folder, first, second)
}

#[tokio::test]
async fn of_two_who_take_a_lease_one_gets_it_and_the_other_sees_whose_it_is() {
    let (_folder, first, second) = two().await;
    assert!(first.lease("hecone").await.unwrap().is_none());
    let taken = first.swap_lease(None, lease("a")).await.unwrap().unwrap();
    assert_eq!(taken.record.owner.run_id, "a");
    assert!(second.swap_lease(None, lease("b")).await.unwrap().is_none());
    let seen = second.lease("hecone").await.unwrap().unwrap();
    assert_eq!(seen.record, taken.record);
    assert_eq!(seen.record.owner.to_string(), "sync a, process 7 on till");
    assert!(second.lease("pace").await.unwrap().is_none());
}

#[tokio::test]
async fn an_owner_that_was_taken_over_can_neither_renew_nor_release() {
    let (_folder, first, second) = two().await;
    let taken = first.swap_lease(None, lease("a")).await.unwrap().unwrap();
    let later = t("2026-03-02T00:00:15Z");
    let renewed = first
        .swap_lease(Some(&taken), taken.record.renewed(later))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (renewed.record.since, renewed.record.renewed_at),
        (taken.record.since, later)
    );
    let seen = second.lease("hecone").await.unwrap().unwrap();
    let over = second.swap_lease(Some(&seen), lease("b")).await.unwrap();
    assert!(over.is_some());
    for next in [
        renewed.record.renewed(later),
        renewed.record.released(later),
    ] {
        let lost = first.swap_lease(Some(&renewed), next).await.unwrap();
        assert!(lost.is_none());
    }
    let seen = first.lease("hecone").await.unwrap().unwrap();
    assert_eq!(seen.record.owner.run_id, "b");
}

#[tokio::test]
async fn a_lease_that_was_released_is_swapped_by_one_of_many() {
    let (_folder, first, second) = two().await;
    let taken = first.swap_lease(None, lease("a")).await.unwrap().unwrap();
    let released = taken.record.released(t("2026-03-02T00:01:00Z"));
    assert!(
        first
            .swap_lease(Some(&taken), released)
            .await
            .unwrap()
            .is_some()
    );
    let racing = (0..16).map(|number| {
        let ops = if number % 2 == 0 {
            first.clone()
        } else {
            second.clone()
        };
        tokio::spawn(async move {
            let seen = ops.lease("hecone").await.unwrap().unwrap();
            let was_free = seen.record.released;
            let won = ops
                .swap_lease(Some(&seen), lease(&number.to_string()))
                .await
                .unwrap();
            was_free && won.is_some()
        })
    });
    let won = futures::future::join_all(racing).await;
    let won = won.into_iter().filter(|won| *won.as_ref().unwrap()).count();
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_lease_that_cannot_be_read_is_nobodys_since_it_was_written_and_is_swapped_by_one() {
    let (folder, first, second) = two().await;
    let folder = folder.path().join("ops/leases");
    std::fs::create_dir_all(&folder).unwrap();
    assert_eq!(first.damaged_leases().await.len(), 0);
    for text in ["", "{}", "{\"pipeline\":\"hecone\"", "[]"] {
        let path = folder.join("hecone.json");
        std::fs::write(&path, text).unwrap();
        let written = std::fs::metadata(&path).unwrap().modified().unwrap();
        let written = Timestamp::try_from(written).unwrap();
        let seen = first.lease("hecone").await.unwrap().unwrap();
        let damage = seen.damage.clone().unwrap();
        assert!(damage.starts_with("ops/leases/hecone.json: "), "{damage}");
        assert!(!seen.record.released);
        let apart = seen.record.renewed_at.duration_since(written);
        assert!(apart.abs() < SignedDuration::from_secs(1), "{apart}");
        let told = first.damaged_leases().await;
        assert!(
            told.len() == 1 && told[0].to_string().contains("ops/leases/hecone.json"),
            "{told:?}"
        );
        let other = second.lease("hecone").await.unwrap().unwrap();
        let won = first.swap_lease(Some(&seen), lease("a")).await.unwrap();
        assert!(won.is_some());
        let lost = second.swap_lease(Some(&other), lease("b")).await.unwrap();
        assert!(lost.is_none());
        assert_eq!(first.damaged_leases().await.len(), 0);
    }
}
