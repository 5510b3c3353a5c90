//! The law of a run's leases: when one may be taken, that it is kept, and what becomes of one that is lost.
//!
//! Invariant: clocks are handed in; time that is waited is tokio's paused time.

use super::*;
use crate::context::RunContext;
use crate::held_lease::{FRESH, part_with};
use crate::scripted_source::{ScriptedRun, t};
use std::collections::BTreeMap;

const NOW: &str = "2026-03-02T12:00:00Z";

fn elsewhere(run: &str, renewed_at: Timestamp) -> LeaseRecord {
    let owner = LeaseOwner {
        host: "elsewhere".to_owned(),
        pid: 7,
        process: None,
        run_id: run.to_owned(),
        command: "sync".to_owned(),
    };
    LeaseRecord::new("shop", owner, renewed_at, VALID)
}

fn before(seconds: i64) -> Timestamp {
    t(NOW) - SignedDuration::from_secs(seconds)
}

/// A context whose clock stands still.
async fn context() -> (ScriptedRun, RunContext) {
    let run = ScriptedRun::new([]).await;
    let context = run.context();
    let warehouse = run.warehouse.with_clock(Arc::new(|| t(NOW)));
    (
        run,
        RunContext {
            warehouse,
            ..context
        },
    )
}

async fn take(context: &RunContext, run: &str) -> (RunLeases, LeaseOutcome) {
    let owner = (run, "sync");
    let taken = RunLeases::take(
        (&context.warehouse, &context.cancel),
        &["shop"],
        owner,
        IfRunning::Fail,
    )
    .await;
    let (leases, mut outcomes) = taken.unwrap();
    (leases, outcomes.remove(0))
}

async fn holder(warehouse: &Warehouse, pipeline: &str) -> Result<Option<LeaseHolder>> {
    Ok(LeaseHolders::read(warehouse).await?.of(pipeline))
}

#[test]
fn a_lease_is_free_held_or_abandoned_by_its_age_and_its_owners_fate() {
    use LeaseVerdict::{Abandoned, Doubtful, Free, Held};
    use OwnerFate::{Gone, Here, Unknown};
    for (age, here, unknown) in [
        (-3_600, Doubtful, Doubtful),
        (-299, Held, Held),
        (0, Held, Held),
        (60, Held, Held),
        (61, Abandoned, Doubtful),
        (360, Abandoned, Doubtful),
        (361, Abandoned, Abandoned),
        (86_400, Abandoned, Abandoned),
    ] {
        let record = elsewhere("run", before(age));
        assert_eq!(judge(&record, t(NOW), Here), here, "{age}");
        assert_eq!(judge(&record, t(NOW), Unknown), unknown, "{age}");
        assert_eq!(judge(&record, t(NOW), Gone), Abandoned, "{age}");
        let released = record.released(before(age));
        assert_eq!(judge(&released, t(NOW), Here), Free, "{age}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_while_it_is_held_and_given_back() {
    let (_run, context) = context().await;
    let (leases, outcome) = take(&context, "first").await;
    assert!(matches!(outcome, LeaseOutcome::Held(..)));
    let ops = context.warehouse.ops();
    let mut seen = std::collections::HashSet::new();
    let until = Instant::now() + Duration::from_secs(70);
    while Instant::now() < until {
        tokio::time::sleep(Duration::from_secs(5)).await;
        seen.insert(ops.lease("shop").await.unwrap().unwrap().record.write_id);
    }
    assert!((4..=6).contains(&seen.len()), "{}", seen.len());
    let shown = holder(&context.warehouse, "shop").await.unwrap().unwrap();
    assert_eq!((shown.run.as_str(), shown.abandoned), ("first", false));
    drop(outcome);
    leases.release().await;
    assert!(holder(&context.warehouse, "shop").await.unwrap().is_none());
    let (leases, outcome) = take(&context, "second").await;
    assert!(matches!(outcome, LeaseOutcome::Held(..)));
    leases.release().await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_lease_is_watched_and_taken_and_one_of_yesterday_at_once() {
    for (age, watched) in [
        (30, None),
        (120, Some(60)),
        (600, Some(0)),
        (86_400, Some(0)),
    ] {
        let (_run, context) = context().await;
        let ops = context.warehouse.ops();
        let lease = elsewhere("other", before(age));
        ops.swap_lease(None, lease).await.unwrap().unwrap();
        let start = Instant::now();
        let (leases, outcome) = take(&context, "own").await;
        match watched {
            None => assert!(
                matches!(outcome, LeaseOutcome::Refused(error) if error.to_string().contains("on elsewhere"))
            ),
            Some(seconds) => {
                assert!(matches!(outcome, LeaseOutcome::Held(..)), "{age}");
                let waited = start.elapsed().as_secs();
                assert!((seconds..seconds + 5).contains(&waited), "{age}: {waited}");
            }
        }
        leases.release().await;
    }
}

#[tokio::test]
async fn a_folder_where_the_lease_belongs_is_an_error_at_once() {
    let (_run, context) = context().await;
    let folder = context.warehouse.url().to_file_path().unwrap();
    std::fs::create_dir_all(folder.join("ops/leases.json")).unwrap();
    let ops = context.warehouse.ops();
    let lease = elsewhere("other", before(0));
    let error = ops.swap_lease(None, lease).await.unwrap_err();
    assert!(error.to_string().contains("ops/leases.json"), "{error}");
    assert!(error.hint_text().is_some(), "{error}");
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn a_pipe_where_the_leases_belong_is_an_error_at_once() {
    let (_run, context) = context().await;
    let folder = context.warehouse.url().to_file_path().unwrap().join("ops");
    std::fs::create_dir_all(&folder).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(folder.join("leases.json"))
        .status();
    assert!(made.unwrap().success());
    let start = Instant::now();
    let (leases, outcome) = take(&context, "own").await;
    assert!(
        matches!(outcome, LeaseOutcome::Refused(error) if error.to_string().contains("a pipe stands"))
    );
    assert!(start.elapsed() < LOOK_EVERY);
    leases.release().await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_read_expires_as_any_other_since_it_was_written() {
    for (age, watched) in [(30, None), (120, Some(60)), (600, Some(0))] {
        let (_run, context) = context().await;
        let folder = context.warehouse.url().to_file_path().unwrap();
        let file = folder.join("ops/leases.json");
        let (leases, outcome) = take(&context, "first").await;
        drop(outcome);
        leases.release().await;
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() - 1]).unwrap();
        let written = std::fs::File::options().write(true).open(&file).unwrap();
        written.set_modified(before(age).into()).unwrap();
        let shown = holder(&context.warehouse, "shop").await.unwrap().unwrap();
        assert_eq!(shown.abandoned, watched.is_some(), "{age}");
        assert!(shown.to_string().contains("ops/leases.json"), "{shown}");
        let start = Instant::now();
        let (leases, outcome) = take(&context, "own").await;
        match watched {
            None => assert!(
                matches!(outcome, LeaseOutcome::Refused(error) if error.to_string().contains("cannot be read"))
            ),
            Some(seconds) => {
                assert!(matches!(outcome, LeaseOutcome::Held(..)), "{age}");
                let waited = start.elapsed().as_secs();
                assert!((seconds..seconds + 5).contains(&waited), "{age}: {waited}");
            }
        }
        leases.release().await;
        let is_mended = context.warehouse.ops().damaged_leases().await.is_empty();
        assert_eq!(is_mended, watched.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_clock_is_slow_keeps_its_lease_while_it_renews_it() {
    let (_run, context) = context().await;
    let ops = context.warehouse.ops();
    let mut stored = ops
        .swap_lease(None, elsewhere("other", before(200)))
        .await
        .unwrap()
        .unwrap();
    let renewing = async {
        for second in [185, 170, 155] {
            tokio::time::sleep(Duration::from_secs(15)).await;
            let next = stored.record.renewed(before(second));
            stored = ops.swap_lease(Some(&stored), next).await.unwrap().unwrap();
        }
    };
    let ((leases, outcome), ()) = tokio::join!(take(&context, "own"), renewing);
    assert!(matches!(outcome, LeaseOutcome::Refused(_)));
    leases.release().await;
}

#[tokio::test(start_paused = true)]
async fn of_two_whose_clocks_stand_at_odds_the_dead_one_is_waited_out() {
    // By this clock it was renewed just now, or will be: nothing but watching tells.
    for age in [0, -3_600] {
        let (_run, context) = context().await;
        let ops = context.warehouse.ops();
        ops.swap_lease(None, elsewhere("other", before(age)))
            .await
            .unwrap()
            .unwrap();
        let owner = ("own", "sync");
        let start = Instant::now();
        let (leases, outcomes) = RunLeases::take(
            (&context.warehouse, &context.cancel),
            &["shop"],
            owner,
            IfRunning::Wait,
        )
        .await
        .unwrap();
        assert!(matches!(outcomes[0], LeaseOutcome::Held(..)));
        assert!((60..65).contains(&start.elapsed().as_secs()));
        leases.release().await;
    }
}

#[tokio::test]
async fn a_run_that_was_dropped_leaves_a_lease_that_is_taken_at_once() {
    // Another test of this process may hold a lease of the same pipeline: the run tells them apart.
    let (_run, context) = context().await;
    let (leases, outcome) = take(&context, "dropped").await;
    drop((leases, outcome));
    let shown = holder(&context.warehouse, "shop").await.unwrap().unwrap();
    assert!(shown.abandoned || cfg!(not(target_os = "linux")));
    if cfg!(target_os = "linux") {
        let (leases, outcome) = take(&context, "second").await;
        assert!(matches!(outcome, LeaseOutcome::Held(..)));
        leases.release().await;
    }
}

#[tokio::test]
async fn a_process_that_is_ended_gives_its_leases_back_from_any_thread() {
    let (_run, context) = context().await;
    let (leases, outcome) = take(&context, "ended").await;
    let LeaseOutcome::Held(held, _) = outcome else {
        panic!("it is held")
    };
    let is_it = |lease: &Arc<HeldLease>| Arc::ptr_eq(lease, &held);
    // Other tests of this process keep theirs.
    let own: Vec<_> = held_here().into_iter().filter(is_it).collect();
    assert_eq!(own.len(), 1);
    tokio::task::spawn_blocking(|| part_with(own))
        .await
        .unwrap();
    let lease = context.warehouse.ops().lease("shop").await.unwrap();
    assert!(lease.unwrap().record.released);
    assert!(held.check().await.is_err(), "nothing is committed any more");
    leases.release().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_suspended_asks_before_it_commits() {
    let (_run, context) = context().await;
    let (leases, outcome) = take(&context, "first").await;
    let LeaseOutcome::Held(held, cancel) = outcome else {
        panic!("it is held")
    };
    let ops = context.warehouse.ops();
    held.check().await.unwrap();
    let stored = ops.lease("shop").await.unwrap().unwrap();
    let other = elsewhere("other", t(NOW));
    ops.swap_lease(Some(&stored), other).await.unwrap().unwrap();
    // It relies on what it knew lately, and no longer.
    held.check().await.unwrap();
    tokio::time::advance(FRESH + Duration::from_millis(1)).await;
    let error = held.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(
        error.to_string().contains("process 7 on elsewhere"),
        "{error}"
    );
    assert!(cancel.is_cancelled() && !context.cancel.is_cancelled());
    assert!(held.check().await.is_err());
    leases.release().await;
    let stored = ops.lease("shop").await.unwrap().unwrap();
    assert_eq!(
        (stored.record.owner.run_id.as_str(), stored.record.released),
        ("other", false)
    );
}

#[tokio::test]
async fn waiting_ends_where_the_run_is_stopped() {
    let (_run, context) = context().await;
    let ops = context.warehouse.ops();
    ops.swap_lease(None, elsewhere("other", t(NOW)))
        .await
        .unwrap()
        .unwrap();
    context.cancel.cancel();
    let taken = RunLeases::take(
        (&context.warehouse, &context.cancel),
        &["other", "shop"],
        ("own", "sync"),
        IfRunning::Wait,
    )
    .await;
    assert_eq!(taken.err().unwrap().kind(), ErrorKind::Interrupted);
    let other = ops.lease("other").await.unwrap().unwrap();
    assert!(other.record.released, "what was taken before is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_eight_runs_each_pipeline_has_one_and_what_another_has_keeps_nobody_back() {
    const SHARED: [&str; 2] = ["pace", "shop"];
    let run = ScriptedRun::new([]).await;
    let racing = (0..8).map(|number| {
        let (warehouse, stop) = (run.warehouse.clone(), run.cancel.clone());
        tokio::spawn(async move {
            let own = format!("own-{number}");
            let pipelines = ["pace", own.as_str(), "shop"];
            let name = format!("run-{number}");
            let asked = (name.as_str(), "sync");
            let taken = RunLeases::take((&warehouse, &stop), &pipelines, asked, IfRunning::Fail);
            let (leases, outcomes) = taken.await.unwrap();
            let held = outcomes
                .iter()
                .map(|outcome| matches!(outcome, LeaseOutcome::Held(..)));
            let held: Vec<bool> = held.collect();
            (name, own, leases, held)
        })
    });
    let mut runs = Vec::new();
    for outcome in futures::future::join_all(racing).await {
        runs.push(outcome.unwrap());
    }
    let leases = run.warehouse.ops().leases().await.unwrap();
    let owner = |pipeline: &str| {
        let found = leases.of(pipeline).unwrap().record;
        assert!(!found.released, "{pipeline}");
        found.owner.run_id
    };
    let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, own, _, held) in &runs {
        assert!(held[1], "{own}");
        assert_eq!(owner(own), *name);
        for (pipeline, held) in SHARED.into_iter().zip([held[0], held[2]]) {
            if held {
                owners.entry(pipeline).or_default().push(name);
            }
        }
    }
    for pipeline in SHARED {
        assert_eq!(owners[pipeline], [owner(pipeline)], "{pipeline}");
    }
    let released = runs.into_iter().map(|(_, _, leases, _)| leases.release());
    futures::future::join_all(released).await;
    let leases = run.warehouse.ops().leases().await.unwrap();
    for pipeline in ["own-0", "own-7", "pace", "shop"] {
        assert!(leases.of(pipeline).unwrap().record.released, "{pipeline}");
    }
}

#[tokio::test(start_paused = true)]
async fn leases_of_a_run_are_taken_renewed_and_given_back_in_one_write_each() {
    let (_run, context) = context().await;
    let writes = || context.warehouse.requests().puts;
    let before = writes();
    let taken = RunLeases::take(
        (&context.warehouse, &context.cancel),
        &["shop", "bemo", "pace"],
        ("own", "sync"),
        IfRunning::Fail,
    );
    let (leases, outcomes) = taken.await.unwrap();
    assert_eq!(writes() - before, 1);
    for outcome in &outcomes {
        let LeaseOutcome::Held(held, _) = outcome else {
            panic!("it is held")
        };
        held.check().await.unwrap();
    }
    assert_eq!(writes() - before, 1, "what was taken lately is relied on");
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(writes() - before, 2, "renewed");
    drop(outcomes);
    leases.release().await;
    assert_eq!(writes() - before, 3);
    for pipeline in ["bemo", "pace", "shop"] {
        assert!(
            holder(&context.warehouse, pipeline)
                .await
                .unwrap()
                .is_none()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_of_an_earlier_version_is_respected_until_its_lease_expires() {
    for (age, watched) in [(30, None), (120, Some(60)), (600, Some(0))] {
        let (_run, context) = context().await;
        let folder = context.warehouse.url().to_file_path().unwrap();
        std::fs::create_dir_all(folder.join("ops/leases")).unwrap();
        let file = folder.join("ops/leases/shop.json");
        let lease = elsewhere("other", before(age));
        std::fs::write(&file, serde_json::to_vec(&lease).unwrap()).unwrap();
        let written = std::fs::File::options().write(true).open(&file).unwrap();
        written.set_modified(before(age).into()).unwrap();
        let start = Instant::now();
        let (leases, outcome) = take(&context, "own").await;
        match watched {
            None => assert!(
                matches!(outcome, LeaseOutcome::Refused(error) if error.to_string().contains("on elsewhere"))
            ),
            Some(seconds) => {
                assert!(matches!(outcome, LeaseOutcome::Held(..)), "{age}");
                let waited = start.elapsed().as_secs();
                assert!((seconds..seconds + 5).contains(&waited), "{age}: {waited}");
            }
        }
        leases.release().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_mends_leases_that_cannot_be_read_and_another_run_keeps_its_own() {
    let (_run, context) = context().await;
    let folder = context.warehouse.url().to_file_path().unwrap();
    let (first, outcome) = take(&context, "first").await;
    let second = RunLeases::take(
        (&context.warehouse, &context.cancel),
        &["pace"],
        ("second", "sync"),
        IfRunning::Fail,
    );
    let (second, of_second) = second.await.unwrap();
    std::fs::write(folder.join("ops/leases.json"), "{").unwrap();
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert!(context.warehouse.ops().damaged_leases().await.is_empty());
    for outcome in of_second.iter().chain([&outcome]) {
        let LeaseOutcome::Held(held, _) = outcome else {
            panic!("it is held")
        };
        held.check().await.unwrap();
    }
    for (pipeline, run) in [("shop", "first"), ("pace", "second")] {
        let shown = holder(&context.warehouse, pipeline).await.unwrap().unwrap();
        assert_eq!((shown.run.as_str(), shown.damage), (run, None));
    }
    drop((outcome, of_second));
    first.release().await;
    second.release().await;
}

#[tokio::test]
async fn leases_that_were_seen_to_be_free_and_were_taken_since_are_another_runs() {
    let run = ScriptedRun::new([]).await;
    let context = run.context();
    let asking = (&context.warehouse, &context.cancel);
    let seen = SeenLeases::read(&run.warehouse.ops()).await.unwrap();
    assert!(seen.is_free("a") && seen.is_free("b"));
    let first = RunLeases::take(asking, &["a"], ("first", "sync"), IfRunning::Fail);
    let (first, _) = first.await.unwrap();
    let owner = ("second", "sync");
    let second =
        RunLeases::take_after(Some(seen), asking, &["a", "b"], owner, IfRunning::Fail).await;
    let (second, outcomes) = second.unwrap();
    let held: Vec<bool> = outcomes
        .iter()
        .map(|outcome| matches!(outcome, LeaseOutcome::Held(..)))
        .collect();
    assert_eq!(held, [false, true]);
    first.release().await;
    second.release().await;
    let seen = SeenLeases::read(&run.warehouse.ops()).await.unwrap();
    assert!(
        seen.is_free("a") && seen.is_free("b"),
        "both were given back"
    );
}
