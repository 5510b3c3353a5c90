//! A source that misbehaves, a network that breaks, a machine that stops: what a sync leaves behind then.
//!
//! Invariant: after a sync that reports success the unified tables equal the source; after one that does not, the next one that
//! does makes them equal.

use crate::project::{CommandOutput, TestProject};
use crate::source_truth::assert_unified_equals;
use std::path::Path;
use std::time::Duration;
use tillhouse_sandbox::{EmulatedFault, FaultKind, Sandbox, SandboxOptions};

async fn sandbox(transactions: u64) -> Sandbox {
    Sandbox::start(SandboxOptions {
        transactions,
        ..SandboxOptions::default()
    })
    .await
    .unwrap()
}

fn limited(retry_after: &str) -> EmulatedFault {
    EmulatedFault {
        retry_after: Some(retry_after.to_owned()),
        ..EmulatedFault::new(FaultKind::RateLimited)
    }
}

const SYNC: [&str; 3] = ["sync", "--to", "2026-01-06"];

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_goes_on_through_every_passing_fault() {
    let sandbox = sandbox(4000).await;
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.set("page_size", "100");
    // One request after the other: two revocations must not meet the same request, which would rightly give up.
    project.set("concurrency", "1");
    sandbox.inject([
        limited("0"),
        limited("1").after(3),
        EmulatedFault::new(FaultKind::ServerError).after(6),
        EmulatedFault::new(FaultKind::Unauthorized).after(9),
        EmulatedFault::new(FaultKind::Truncated).after(12),
        EmulatedFault::new(FaultKind::Reset).after(15),
        EmulatedFault {
            refresh_too: true,
            ..EmulatedFault::new(FaultKind::Unauthorized).after(18)
        },
        EmulatedFault::new(FaultKind::Shift).after(21),
        EmulatedFault {
            status: Some(503),
            ..EmulatedFault::new(FaultKind::ServerError).after(23)
        },
    ]);
    project.sync(&["--to", "2026-01-06"]).await;
    assert!(
        sandbox.pending_faults().is_empty(),
        "every fault has hit: {:?}",
        sandbox.pending_faults()
    );
    assert_unified_equals(&project, &sandbox, "after a sync with faults").await;
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_under_way_at_once_survive_a_revoked_token() {
    let sandbox = sandbox(2000).await;
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.set("page_size", "100");
    sandbox.inject([EmulatedFault {
        refresh_too: true,
        ..EmulatedFault::new(FaultKind::Unauthorized).after(6)
    }]);
    project.sync(&["--to", "2026-01-06"]).await;
    assert!(
        sandbox.pending_faults().is_empty(),
        "{:?}",
        sandbox.pending_faults()
    );
    assert_unified_equals(&project, &sandbox, "after a token was revoked").await;
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_is_wrong_once_is_read_again() {
    let sandbox = sandbox(1000).await;
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.set("concurrency", "1");
    // A total that is one too high makes the extractor ask for one page more; that one has to say the same.
    sandbox.inject([EmulatedFault::new(FaultKind::LieTotal).times(2)]);
    project.sync(&["--to", "2026-01-06"]).await;
    assert!(sandbox.pending_faults().is_empty());
    assert_unified_equals(&project, &sandbox, "after the slice was read again").await;
    let attempts = project.count("SELECT max(attempts) FROM ops.slices").await;
    assert_eq!(attempts, 2);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_stays_wrong_fails_its_slice_with_both_figures() {
    let sandbox = sandbox(1000).await;
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.set("concurrency", "1");
    // The first slice, every time it is read (four times two pages); the other days are told the truth.
    sandbox.inject([EmulatedFault::new(FaultKind::LieTotal).times(8)]);
    let ran = project.run(&SYNC).await;
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(
        sandbox.pending_faults().is_empty(),
        "{:?}",
        sandbox.pending_faults()
    );
    let figures = declared(&ran);
    assert_eq!(figures.0, figures.1 + 1, "{}", ran.stderr);
    project.sync(&["--to", "2026-01-06"]).await;
    assert_unified_equals(&project, &sandbox, "after the next sync").await;
    sandbox.stop().await;
}

/// The two figures of "declares N records, but M came".
fn declared(ran: &CommandOutput) -> (u64, u64) {
    let message = ran
        .stderr
        .split("declares ")
        .nth(1)
        .unwrap_or_else(|| panic!("no figures: {}", ran.stderr));
    let mut numbers = message
        .split(|c: char| !c.is_ascii_digit())
        .filter(|t| !t.is_empty());
    let mut number = || {
        numbers
            .next()
            .and_then(|t| t.parse().ok())
            .expect("a figure")
    };
    (number(), number())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_and_a_secret_that_is_wrong_are_said() {
    let sandbox = sandbox(10).await;
    let project = TestProject::new(&sandbox.hecone_url()).await;
    let mut wrong = project.command(&SYNC);
    wrong.env("HECONE_CLIENT_SECRET", "not-the-secret");
    let ran = crate::project::run_to_end(wrong).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("client_secret"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("not-the-secret"), "{}", ran.stderr);
    let url = sandbox.url();
    sandbox.stop().await;
    let ran = project.run(&SYNC).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(
        ran.stderr.contains(url.trim_start_matches("http://")),
        "the error names the address: {}",
        ran.stderr
    );
    assert_eq!(ran.stdout, "");
}

/// True if there is a data file somewhere below a folder.
fn has_data(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            has_data(&path)
        } else {
            path.extension().is_some_and(|e| e == "parquet")
        }
    })
}

/// Kills a sync as soon as a data file stands below `folder` of the warehouse; whether it was still running then.
async fn kill_at(project: &TestProject, folder: &str) -> bool {
    let mut child = project
        .command(&SYNC)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let folder = project.warehouse().join(folder);
    let mut poll = tokio::time::interval(Duration::from_millis(1));
    let watch = async {
        loop {
            tokio::select! {
                status = child.wait() => {
                    status.unwrap();
                    return false;
                }
                _ = poll.tick() => if has_data(&folder) {
                    child.kill().await.unwrap();
                    return true;
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(120), watch)
        .await
        .expect("a sync writes within two minutes")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_was_killed_is_finished_by_the_next() {
    let mut hits = 0;
    for folder in ["hecone", "unified/transactions", "unified/payments"] {
        let sandbox = sandbox(20_000).await;
        let project = TestProject::new(&sandbox.hecone_url()).await;
        let killed = kill_at(&project, folder).await;
        hits += u32::from(killed);
        project.sync(&["--to", "2026-01-06"]).await;
        assert_unified_equals(
            &project,
            &sandbox,
            &format!("killed ({killed}) at {folder}"),
        )
        .await;
        let records = sandbox.truth().len() as i64;
        assert_eq!(
            project
                .count("SELECT count(*) FROM hecone.transactions")
                .await,
            records,
            "no record landed twice"
        );
        sandbox.stop().await;
    }
    assert!(hits > 0, "not one of the kills came in time");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_was_stopped_with_ctrl_c_is_finished_by_the_next() {
    let sandbox = sandbox(2000).await;
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.set("concurrency", "1");
    // From the third page on every answer takes a minute: the sync is surely at work when it is stopped.
    sandbox.inject([EmulatedFault {
        millis: Some(60_000),
        ..EmulatedFault::new(FaultKind::Slow).after(2).times(100)
    }]);
    let mut command = project.command(&SYNC);
    let child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut poll = tokio::time::interval(Duration::from_millis(2));
    let two_pages = async {
        while sandbox
            .requests()
            .counts
            .get("GET /hecone/transactions")
            .is_none_or(|pages| *pages < 2)
        {
            poll.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), two_pages)
        .await
        .expect("two pages are read within two minutes");
    let id = child.id().expect("it is running").to_string();
    let sent = tokio::process::Command::new("sh")
        .args(["-c", "kill -INT \"$0\"", &id])
        .status()
        .await
        .unwrap();
    assert!(sent.success());
    let output = tokio::time::timeout(Duration::from_secs(55), child.wait_with_output()).await;
    let output = output
        .expect("it stops without waiting for the answer")
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("interrupted") && said.contains("tillhouse sync"),
        "{said}"
    );
    sandbox.clear_faults();
    project.sync(&["--to", "2026-01-06"]).await;
    assert_unified_equals(&project, &sandbox, "after a sync that was stopped").await;
    sandbox.stop().await;
}
