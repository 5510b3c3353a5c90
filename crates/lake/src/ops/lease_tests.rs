//! The law of leases: of any number who swap one, one does; what is swapped is what was read; and no swap drops the lease of another pipeline.
//!
//! Invariant: every test goes through handles that share nothing but the store, as processes do.

use super::*;
use crate::faulty_store::{lease_owner, t};
use crate::store::location::WarehouseLocation;
use crate::warehouse::Warehouse;
use object_store::memory::InMemory;
use std::sync::Arc;
use tempfile::TempDir;

const VALID: SignedDuration = SignedDuration::from_secs(60);

fn lease(run: &str) -> LeaseRecord {
    lease_of("hecone", run)
}

fn lease_of(pipeline: &str, run: &str) -> LeaseRecord {
    LeaseRecord::new(pipeline, lease_owner(run), t("2026-03-02T00:00:00Z"), VALID)
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

/// Handles of so many processes, on a disk and in memory.
async fn processes(count: usize) -> (TempDir, [Vec<OpsTables>; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let memory = Arc::new(InMemory::new());
    let (mut on_disk, mut in_memory) = (Vec::new(), Vec::new());
    for _ in 0..count {
        on_disk.push(open(&folder).await);
        let url = url::Url::parse("memory:///wh/").unwrap();
        let warehouse = Warehouse::open_on(memory.clone(), url).await.unwrap();
        in_memory.push(warehouse.ops());
    }
    (folder, [on_disk, in_memory])
}

/// Takes what is free of some pipelines, as a run does that leaves the others out; the names of what it got.
async fn take(ops: &OpsTables, pipelines: &[&str], run: &str) -> Vec<String> {
    let read = ops.leases().await.unwrap();
    let free = pipelines
        .iter()
        .map(|name| (*name, read.of(name)))
        .filter(|(_, found)| found.as_ref().is_none_or(|found| found.record.released));
    let swaps: Vec<LeaseSwap> = free
        .map(|(name, found)| {
            let found = found.as_ref().map(|found| &found.record);
            LeaseSwap::of(found, lease_of(name, run))
        })
        .collect();
    let swapped = ops.swap_leases(Some(read), &swaps).await.unwrap();
    let taken = swaps.into_iter().zip(swapped.done);
    taken
        .filter(|(_, done)| *done)
        .map(|(swap, _)| swap.into_record().pipeline)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_eight_who_take_the_same_pipelines_each_lease_has_one_owner() {
    const PIPELINES: [&str; 3] = ["bemo", "hecone", "pace"];
    let (_folder, stores) = processes(8).await;
    for all in stores {
        // At first nothing is there; later each was given back.
        for round in 0..3 {
            let racing = all.iter().cloned().enumerate().map(|(number, ops)| {
                tokio::spawn(async move {
                    let run = format!("{round}-{number}");
                    let taken = take(&ops, &PIPELINES, &run).await;
                    (run, taken)
                })
            });
            let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for outcome in futures::future::join_all(racing).await {
                let (run, taken) = outcome.unwrap();
                for pipeline in taken {
                    owners.entry(pipeline).or_default().push(run.clone());
                }
            }
            let leases = all[0].leases().await.unwrap();
            assert_eq!(owners.len(), PIPELINES.len(), "{owners:?}");
            let mut given = Vec::new();
            for (pipeline, runs) in owners {
                let found = leases.of(&pipeline).unwrap().record;
                assert_eq!(
                    runs,
                    std::slice::from_ref(&found.owner.run_id),
                    "{pipeline}"
                );
                let at = t("2026-03-02T00:01:00Z");
                given.push(LeaseSwap::by_owner(found.released(at), false));
            }
            let given = all[1].swap_leases(None, &given).await.unwrap();
            assert_eq!(given.done, [true; 3]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_who_take_a_pipeline_each_and_renew_it_lose_none() {
    const RENEWALS: i64 = 4;
    let (_folder, stores) = processes(8).await;
    for all in stores {
        let working = all.iter().cloned().enumerate().map(|(number, ops)| {
            tokio::spawn(async move {
                let name = format!("pipeline-{number}");
                assert_eq!(
                    take(&ops, &[name.as_str()], &name).await,
                    std::slice::from_ref(&name)
                );
                let mut known = ops.leases().await.unwrap();
                for second in 1..=RENEWALS {
                    let own = known.of(&name).unwrap().record;
                    let at = own.since + SignedDuration::from_secs(second);
                    let swap = LeaseSwap::by_owner(own.renewed(at), false);
                    // What is known is often outdated: the others write too.
                    let renewed = ops.swap_leases(Some(known), &[swap]).await.unwrap();
                    assert_eq!(renewed.done, [true], "{name}");
                    known = renewed.leases;
                }
                name
            })
        });
        let names = futures::future::join_all(working).await;
        let leases = all[0].leases().await.unwrap();
        for name in names {
            let name = name.unwrap();
            let found = leases.of(&name).unwrap().record;
            assert_eq!(found.owner.run_id, name);
            let renewed = found.renewed_at.duration_since(found.since);
            assert_eq!(renewed, SignedDuration::from_secs(RENEWALS));
        }
    }
}

#[tokio::test]
async fn leases_are_taken_in_one_write_and_those_that_another_has_are_left() {
    let (_folder, stores) = processes(2).await;
    for all in stores {
        assert_eq!(take(&all[0], &["pace"], "a").await, ["pace"]);
        let read = all[1].leases().await.unwrap();
        let swaps = ["bemo", "hecone", "pace"].map(|name| LeaseSwap::of(None, lease_of(name, "b")));
        let swapped = all[1].swap_leases(Some(read), &swaps).await.unwrap();
        assert_eq!(swapped.done, [true, true, false]);
        let runs = |leases: &StoredLeases| {
            ["bemo", "hecone", "pace"].map(|name| leases.of(name).unwrap().record.owner.run_id)
        };
        assert_eq!(runs(&swapped.leases), ["b", "b", "a"]);
        assert_eq!(runs(&all[0].leases().await.unwrap()), ["b", "b", "a"]);
    }
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_mended_by_an_owner_and_others_stay_unknown_until_they_expire()
 {
    let (folder, first, second) = two().await;
    let path = folder.path().join("ops/leases.json");
    let now = first.now();
    let owned = |pipeline: &str, run: &str| LeaseRecord {
        since: now,
        renewed_at: now,
        ..lease_of(pipeline, run)
    };
    let (ours, theirs) = (owned("hecone", "a"), owned("pace", "b"));
    for record in [&ours, &theirs] {
        let taken = first.swap_lease(None, record.clone()).await.unwrap();
        assert!(taken.is_some());
    }
    std::fs::write(&path, "{").unwrap();
    let renew = |record: &LeaseRecord, mends| LeaseSwap::by_owner(record.renewed(now), mends);
    let lost = first
        .swap_leases(None, &[renew(&ours, false)])
        .await
        .unwrap();
    assert_eq!(lost.done, [false], "it may have been taken over");
    let mended = first
        .swap_leases(None, &[renew(&ours, true)])
        .await
        .unwrap();
    assert_eq!(mended.done, [true]);
    assert_eq!(second.damaged_leases().await.len(), 0);
    let seen = second.lease("hecone").await.unwrap().unwrap();
    assert_eq!(
        (seen.damage, seen.record.owner.run_id.as_str()),
        (None, "a")
    );
    // Nobody takes what another run holds, only since its entry was lost.
    let unknown = second.lease("pace").await.unwrap().unwrap();
    assert!(unknown.damage.is_some() && !unknown.record.released);
    let other = lease_of("pace", "c");
    assert!(
        second
            .swap_lease(None, other.clone())
            .await
            .unwrap()
            .is_none()
    );
    let mended = first
        .swap_leases(None, &[renew(&theirs, true)])
        .await
        .unwrap();
    assert_eq!(mended.done, [true]);
    // One that saw it as unknown is too late now.
    assert!(
        second
            .swap_lease(Some(&unknown), other)
            .await
            .unwrap()
            .is_none()
    );
    let seen = second.lease("pace").await.unwrap().unwrap();
    assert_eq!(seen.record.owner.run_id, "b");
}

#[tokio::test]
async fn whatever_bit_of_the_leases_flips_no_pipeline_seems_free() {
    let (folder, first, second) = two().await;
    let taken = first.swap_lease(None, lease("a")).await.unwrap();
    assert!(taken.is_some());
    let path = folder.path().join("ops/leases.json");
    let whole = std::fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut wrong = whole.clone();
        wrong[at] ^= 1 << (at % 7);
        std::fs::write(&path, wrong).unwrap();
        let seen = second.lease("hecone").await.unwrap().unwrap();
        assert!(!seen.record.released, "{at}");
    }
}

#[tokio::test]
async fn leases_of_earlier_versions_are_read_while_they_may_hold() {
    let (folder, first, _) = two().await;
    assert_eq!(first.earlier_leases().await.unwrap().len(), 0);
    let below = folder.path().join("ops/leases");
    std::fs::create_dir_all(&below).unwrap();
    let write = |name: &str, text: &str, age: u64| {
        let path = below.join(name);
        std::fs::write(&path, text).unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        let written = std::time::SystemTime::now() - Duration::from_secs(age);
        file.set_modified(written).unwrap();
    };
    let json = serde_json::to_string(&lease("old")).unwrap();
    write("hecone.json", &json, 20);
    write("hecone.json#0", "", 20);
    write("bemo.json", &json, 3_600);
    write("pace.json", "{", 20);
    let mut found = first.earlier_leases().await.unwrap();
    found.sort_by(|a, b| a.record.pipeline.cmp(&b.record.pipeline));
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(
        (&found[0].record, &found[0].damage),
        (
            &LeaseRecord {
                write_id: found[0].record.write_id.clone(),
                ..lease("old")
            },
            &None
        )
    );
    let damage = found[1].damage.clone().unwrap();
    assert!(damage.starts_with("ops/leases/pace.json: "), "{damage}");
    assert_eq!(first.damaged_leases().await.len(), 1);
    assert!(first.lease("hecone").await.unwrap().is_none());
}

#[tokio::test]
async fn a_lease_that_cannot_be_read_is_nobodys_since_it_was_written_and_is_swapped_by_one() {
    let (folder, first, second) = two().await;
    let folder = folder.path().join("ops");
    assert_eq!(first.damaged_leases().await.len(), 0);
    for text in ["", "{}", "{\"leases\":[", "{\"leases\":[{}]}", "[]"] {
        let path = folder.join("leases.json");
        std::fs::write(&path, text).unwrap();
        let written = std::fs::metadata(&path).unwrap().modified().unwrap();
        let written = Timestamp::try_from(written).unwrap();
        let seen = first.lease("hecone").await.unwrap().unwrap();
        let damage = seen.damage.clone().unwrap();
        assert!(damage.starts_with("ops/leases.json: "), "{damage}");
        assert!(!seen.record.released);
        let apart = seen.record.renewed_at.duration_since(written);
        assert!(apart.abs() < SignedDuration::from_secs(1), "{apart}");
        let told = first.damaged_leases().await;
        assert!(
            told.len() == 1 && told[0].to_string().contains("ops/leases.json"),
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

#[cfg(unix)]
#[tokio::test]
async fn what_stands_in_the_place_of_the_leases_and_is_no_file_is_told_at_once_and_nothing_is_waited_for()
 {
    let (folder, first, second) = two().await;
    let taken = first.swap_lease(None, lease("a")).await.unwrap().unwrap();
    for name in ["leases.json", "leases.json#0"] {
        let at = folder.path().join("ops").join(name);
        for kind in [
            "a pipe",
            "a folder",
            "a link that leads nowhere",
            "a device",
        ] {
            let _ = std::fs::remove_file(&at);
            match kind {
                "a folder" => std::fs::create_dir(&at).unwrap(),
                "a device" => std::os::unix::fs::symlink("/dev/null", &at).unwrap(),
                "a pipe" => {
                    let made = std::process::Command::new("mkfifo").arg(&at).status();
                    assert!(made.unwrap().success());
                }
                _ => std::os::unix::fs::symlink("nowhere", &at).unwrap(),
            }
            let known = second.leases().await.unwrap();
            assert!(
                known.of("hecone").is_none() || name.ends_with("#0"),
                "{kind}"
            );
            // Neither taken nor renewed.
            for (read, lease) in [(None, lease("b")), (Some(&taken), taken.record.clone())] {
                let error = second.swap_lease(read, lease).await.unwrap_err();
                let told = format!("{kind} stands in the place of the pipelines' leases");
                assert_eq!(error.message(), told, "{name}");
                assert!(error.hint_text().unwrap().contains("move it away"));
            }
            match kind {
                "a folder" => std::fs::remove_dir(&at).unwrap(),
                _ => std::fs::remove_file(&at).unwrap(),
            }
        }
    }
    let again = second.swap_lease(None, lease("b")).await.unwrap();
    assert!(again.is_some(), "the file is made anew");
}

#[cfg(unix)]
#[tokio::test]
async fn a_pipe_in_the_place_of_a_lease_of_an_earlier_version_holds_nothing() {
    let (folder, first, _) = two().await;
    let below = folder.path().join("ops/leases");
    std::fs::create_dir_all(&below).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(below.join("hecone.json"))
        .status();
    assert!(made.unwrap().success());
    assert_eq!(first.earlier_leases().await.unwrap().len(), 0);
}
