//! Compaction, vacuum, upgrade and their schedule, by the binary.
//!
//! Invariant: whatever is killed at whatever moment, every kept run answers as it did when it was published.

use crate::exact_json::integer;
use crate::project::TestProject;
use crate::python;
use crate::source_files;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tillhouse_sandbox::{Sandbox, SandboxOptions};
use tokio::process::Command;

/// Syncs of the beginning, each of some hours.
const SYNCS: u32 = 24;
/// Kills of one test.
const KILLS: u64 = 20;
const SHOWN: &str = "SELECT count(*) AS n, sum(amount) AS amount, min(transaction_key) AS first, max(transaction_key) AS last, \
     sum(_load_id) AS packages FROM transactions";

async fn sandbox(transactions: u64) -> Sandbox {
    Sandbox::start(SandboxOptions {
        transactions,
        ..SandboxOptions::default()
    })
    .await
    .unwrap()
}

fn configure(project: &TestProject, lines: &str) {
    let path = project.path().join("tillhouse.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, format!("{text}\n{lines}\n")).unwrap();
}

/// The day of a sync, one each five days.
fn day(number: u32) -> String {
    let first: Timestamp = "2026-02-01T12:00:00Z".parse().unwrap();
    let since = SignedDuration::from_hours(5 * 24 * i64::from(number));
    first.checked_add(since).unwrap().to_string()
}

/// True if no later sync is in the same month, or few are later: with all of 16 days kept, and then one a month.
fn is_kept(number: u32) -> bool {
    number + 4 >= SYNCS || day(number)[..7] != day(number + 1)[..7]
}

/// Syncs of a few hours of sales each, on a day each; the runs in their order, each with what it answers.
async fn synced_day_by_day(project: &TestProject) -> BTreeMap<String, Value> {
    let mut runs = BTreeMap::new();
    for number in 0..SYNCS {
        let hours = 4 * (number + 1);
        let to = format!("2026-01-{:02}T{:02}:00:00Z", 1 + hours / 24, hours % 24);
        let report = project
            .json(&["--now", &day(number), "sync", "--to", &to])
            .await;
        assert_eq!(report["published"], true, "{report}");
        let run = report["run"].as_str().unwrap().to_owned();
        let answer = project.json(&["sql", "--as-of", &run, SHOWN]).await;
        runs.insert(run, answer);
    }
    runs
}

async fn assert_kept(project: &TestProject, runs: &BTreeMap<String, Value>) {
    let kept = (0..).zip(runs).filter(|(number, _)| is_kept(*number));
    for (_, (run, answer)) in kept {
        let found = project.json(&["sql", "--as-of", run, SHOWN]).await;
        assert_eq!(found, *answer, "run {run}");
    }
}

/// Starts a command and kills it after a while; false where it had ended before.
async fn killed_after(mut command: Command, pause: Duration) -> bool {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    tokio::select! {
        status = child.wait() => {
            assert!(status.unwrap().success());
            false
        }
        () = tokio::time::sleep(pause) => {
            child.kill().await.unwrap();
            true
        }
    }
}

fn data_files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "_delta_log") {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "parquet") {
                found.push(path);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_compact_and_vacuum_leave_every_kept_run_as_it_was() {
    let sandbox = sandbox(3_000).await;
    let project = TestProject::new(&sandbox.hecone_url()).await;
    configure(
        &project,
        "maintenance: off\nretention: { runs: 16d, daily: 16d, monthly: 400d, unused: 0s }",
    );
    let runs = synced_day_by_day(&project).await;
    let now = day(SYNCS - 1);
    let facts = project.warehouse().join("unified/transactions");
    let before = data_files(&facts).len();
    let mut kills = 0;
    for attempt in 0..KILLS {
        let verb = if attempt % 2 == 0 {
            "compact"
        } else {
            "vacuum"
        };
        // From the moment it starts up to about when it ends.
        let pause = Duration::from_millis(20 + 17 * (attempt / 2));
        let command = project.command(&["--now", &now, verb]);
        kills += u32::from(killed_after(command, pause).await);
        assert_kept(&project, &runs).await;
    }
    assert!(kills > 3, "only {kills} kills came in time");
    for verb in ["compact", "vacuum"] {
        let done = project.run(&["--now", &now, verb]).await;
        assert_eq!(done.code, Some(0), "{}", done.stderr);
    }
    assert_kept(&project, &runs).await;
    // Of the log there is what kept runs need, and other programs read it.
    let log = std::fs::read_dir(facts.join("_delta_log")).unwrap().count();
    assert!(log < 24, "{log} files");
    let place = facts.to_str().unwrap();
    let read = python::json("read_delta.py", [place, "--sum", "amount"]).await;
    let rows = integer(&runs.values().next_back().unwrap()[0]["n"]);
    for reader in ["duckdb", "deltalake"] {
        assert_eq!(read[reader]["rows"], rows, "{reader}");
    }
    let left = data_files(&facts).len();
    // The runs that are kept still name the small files: beside them is one compacted file, and nothing of what was killed.
    assert_eq!(left, before + 1);
    let whole = project.run(&["check", "--warehouse"]).await;
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    let oldest = runs.keys().next().unwrap();
    let dropped = project.run(&["sql", "--as-of", oldest, SHOWN]).await;
    assert_eq!(dropped.code, Some(1), "{}", dropped.stderr);
    assert!(
        dropped.stderr.contains("no longer kept"),
        "{}",
        dropped.stderr
    );
    // And a sync goes on from there, with the same rows as ever.
    let report = project
        .json(&["--now", &day(SYNCS), "sync", "--to", "2026-01-06"])
        .await;
    assert_eq!(report["published"], true);
    let truth = sandbox.truth().len() as i64;
    assert_eq!(
        project.count("SELECT count(*) FROM transactions").await,
        truth
    );
    assert_eq!(
        project
            .count("SELECT count(*) FROM hecone.transactions")
            .await,
        truth
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_does_its_share_says_so_and_notes_it_unless_it_is_off() {
    let sandbox = sandbox(3_000).await;
    let project = TestProject::new(&sandbox.hecone_url()).await;
    configure(
        &project,
        "retention: { runs: 4d, daily: 4d, monthly: 4d, unused: 0s }",
    );
    let mut said = 0;
    for number in 0..SYNCS {
        let hours = 4 * (number + 1);
        let to = format!("2026-01-{:02}T{:02}:00:00Z", 1 + hours / 24, hours % 24);
        let ran = project
            .run(&["--now", &day(number), "sync", "--to", &to])
            .await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        said += ran.stderr.matches("maintenance: compacted").count();
    }
    assert!(said > 0, "it was never due");
    let rows = project
        .sql("SELECT action, table_path FROM ops.maintenance")
        .await;
    let of = |action: &str| rows.iter().filter(|row| row["action"] == action).count();
    assert!(
        of("compact") > 0 && of("vacuum") > 0 && of("retain") > 0,
        "{rows:?}"
    );
    configure(&project, "maintenance: off");
    let noted = rows.len() as i64;
    for verb in ["compact", "vacuum"] {
        let done = project
            .json(&["--now", &day(SYNCS), verb, "--dry-run"])
            .await;
        assert_eq!(done["dry_run"], true, "{done}");
    }
    assert_eq!(
        project.count("SELECT count(*) FROM ops.maintenance").await,
        noted
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_each_few_days_with_little_to_compact_lets_old_runs_go_all_the_same() {
    let sandbox = sandbox(300).await;
    let project = TestProject::new(&sandbox.hecone_url()).await;
    configure(
        &project,
        "retention: { runs: 4d, daily: 4d, monthly: 4d, unused: 0s }",
    );
    let mut said = String::new();
    for number in 0..4 {
        let to = format!("2026-01-0{}", 2 + number);
        let ran = project
            .run(&["--now", &day(number), "sync", "--to", &to])
            .await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        said += &ran.stderr;
    }
    assert!(!said.contains("maintenance: compacted"), "{said}");
    assert!(said.contains("is no longer kept"), "{said}");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_and_cut_files_are_found_with_what_helps() {
    let sandbox = sandbox(500).await;
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.sync(&["--to", "2026-01-06"]).await;
    let report = project.json(&["check", "--warehouse"]).await;
    assert_eq!(report["damaged"].as_array().unwrap().len(), 0, "{report}");
    let lost = data_files(&project.warehouse().join("unified/payments")).remove(0);
    std::fs::remove_file(&lost).unwrap();
    let cut = data_files(&project.warehouse().join("hecone/transactions")).remove(0);
    let bytes = std::fs::read(&cut).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() - 10]).unwrap();
    let flipped = data_files(&project.warehouse().join("unified/articles")).remove(0);
    let mut bytes = std::fs::read(&flipped).unwrap();
    let at = bytes.len() - 60;
    bytes[at] ^= 1;
    std::fs::write(&flipped, bytes).unwrap();
    let ran = project
        .run(&["--format", "json", "check", "--warehouse"])
        .await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let damaged = report["damaged"].as_array().unwrap();
    let told: Vec<(&str, bool)> = damaged
        .iter()
        .map(|d| {
            (
                d["table"].as_str().unwrap(),
                d["can_be_rebuilt"].as_bool().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("hecone/transactions", false),
            ("unified/articles", true),
            ("unified/payments", true)
        ]
    );
    assert_eq!(damaged[2]["what"], "is missing");
    let ran = project.run(&["check", "--warehouse"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.stderr.contains("tillhouse rebuild"), "{}", ran.stderr);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_beside_the_tables_that_are_damaged_are_named_until_a_sync_has_written_them_anew() {
    let sandbox = sandbox(200).await;
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.sync(&["--to", "2026-01-05"]).await;
    project.sync(&["--to", "2026-01-06"]).await;
    let ops = project.warehouse().join("ops");
    let notes = std::fs::read_dir(ops.join("published")).unwrap();
    let notes = notes.map(|note| note.unwrap().file_name().into_string().unwrap());
    let earlier = format!("published/{}", notes.min().unwrap());
    let files = ["coverage.json", "fingerprints/hecone", earlier.as_str()];
    for file in files {
        let whole = std::fs::read(ops.join(file)).unwrap();
        std::fs::write(ops.join(file), &whole[..whole.len() / 2]).unwrap();
    }
    let ran = project
        .run(&["--format", "json", "check", "--warehouse"])
        .await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(!ran.stderr.contains("Nothing is damaged"), "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let damaged = report["damaged"].as_array().unwrap();
    let told: Vec<&str> = damaged
        .iter()
        .map(|d| d["file"].as_str().unwrap())
        .collect();
    assert_eq!(told, files, "{report}");
    for found in damaged {
        assert_eq!(found["table"], "ops");
        assert_eq!(found["what"], "is damaged");
        assert_eq!(found["can_be_rebuilt"], true);
        let hint = found["hint"].as_str().unwrap();
        assert!(hint.contains("`tillhouse sync`"), "{hint}");
    }
    project.sync(&["--to", "2026-01-07"]).await;
    let ran = project.run(&["check", "--warehouse"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("Nothing is damaged"), "{}", ran.stderr);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_up_that_was_counted_anew_is_whole_though_earlier_runs_lack_it() {
    let sandbox = sandbox(200).await;
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.sync(&["--to", "2026-01-05"]).await;
    project.sync(&["--to", "2026-01-06"]).await;
    let roll_up = "statistics/levels";
    std::fs::remove_dir_all(project.warehouse().join(roll_up)).unwrap();
    let lost = project.run(&["check", "--warehouse"]).await;
    assert_eq!(lost.code, Some(1), "{}", lost.stderr);
    project.sync(&["--to", "2026-01-07"]).await;
    let ran = project
        .run(&["--format", "json", "check", "--warehouse"])
        .await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let earlier = report["of_earlier_runs"].as_array().unwrap();
    assert!(
        !earlier.is_empty() && earlier.iter().all(|lack| lack["table"] == roll_up),
        "{report}"
    );
    let ran = project.run(&["check", "--warehouse"]).await;
    assert!(ran.stderr.contains("only earlier runs"), "{}", ran.stderr);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn monitors_are_told_of_old_runs_and_schedulers_that_part_is_enough() {
    let sandbox = sandbox(200).await;
    let project = TestProject::new(&sandbox.hecone_url()).await;
    let never = project.run(&["status", "--max-age", "2h"]).await;
    assert_eq!(never.code, Some(1), "{}", never.stderr);
    assert!(never.stderr.contains("ever published"), "{}", never.stderr);
    // One line for the pipeline, and none for each of its resources.
    assert_eq!(
        never.stdout.matches("hecone").count(),
        1,
        "{}",
        never.stdout
    );
    assert!(never.stdout.contains("never synced") && !never.stderr.contains("never read"));
    let at = ["--now", "2026-03-01T12:00:00Z"];
    let synced = project
        .run(&[&at[..], &["sync", "--to", "2026-01-06", "--partial-ok"]].concat())
        .await;
    assert_eq!(synced.code, Some(0), "{}", synced.stderr);
    // The time handed in is that of everything that was read, whatever this machine's clock says.
    let elsewhere = "SELECT count(*) FROM ops.slices WHERE read_at <> '2026-03-01T12:00:00Z'";
    assert_eq!(project.count(elsewhere).await, 0);
    for (now, code) in [("2026-03-01T13:59:00Z", 0), ("2026-03-01T14:01:00Z", 1)] {
        let ran = project
            .run(&["--now", now, "status", "--max-age", "2h"])
            .await;
        assert_eq!(ran.code, Some(code), "{now}: {}", ran.stderr);
        assert!(
            ran.stdout.contains("transactions"),
            "the table is printed all the same"
        );
    }
    let ahead = project
        .run(&["--now", "2026-02-27T12:00:00Z", "status", "--max-age", "2h"])
        .await;
    assert_eq!(ahead.code, Some(1), "{}", ahead.stderr);
    assert!(ahead.stderr.contains("still to come"), "{}", ahead.stderr);
    let wrong = project.run(&["status", "--max-age", "soon"]).await;
    assert_eq!(wrong.code, Some(2), "{}", wrong.stderr);
    sandbox.stop().await;
}

/// Unpacks the warehouse that the last version of format 1 wrote.
fn unpack_format_1(project: &TestProject) {
    let archive = source_files::root().join("tests/fixtures/warehouses/format-1.tar.gz");
    let mut unpack = std::process::Command::new("tar");
    unpack
        .arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(project.path())
        .arg("./warehouse");
    assert!(unpack.status().expect("tar is there").success());
}

/// Sums of the fixture, read with another Delta reader before its format was upgraded.
const OF_FORMAT_1: [&str; 12] = [
    "bemo EUR 1 144.5000",
    "bemo PLN 1 111.4400",
    "hecone CHF 6 99.4800",
    "hecone EUR 11 496.8900",
    "hecone GBP 3 20.2600",
    "hecone INR 2 12251.9200",
    "hecone USD 2 14.5200",
    "pace EUR 2 263.5000",
    "smartnow AMD 2 1722.0000",
    "smartnow EUR 2 4.2000",
    "smartnow GBP 1 2.3500",
    "smartnow JPY 1 265.0000",
];

async fn sums(project: &TestProject, table: &str) -> Vec<String> {
    let query = format!(
        "SELECT concat_ws(' ', pipeline, currency, count(DISTINCT transaction_key), sum(amount)) AS line FROM {table} \
         GROUP BY pipeline, currency ORDER BY pipeline, currency"
    );
    let rows = project.sql(&query).await;
    rows.iter()
        .map(|row| row["line"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_of_format_1_is_upgraded_however_often_that_is_killed() {
    let sandbox = sandbox(20).await;
    let project = TestProject::of(
        &["hecone", "smartnow", "bemo", "pace"],
        &sandbox,
        "2026-11-15",
    )
    .await;
    unpack_format_1(&project);
    let refused = project.run(&["sql", "SELECT 1"]).await;
    assert_eq!(refused.code, Some(2));
    assert!(
        refused.stderr.contains("tillhouse upgrade"),
        "{}",
        refused.stderr
    );
    let files = data_files(&project.warehouse()).len();
    let told = project.json(&["upgrade", "--dry-run"]).await;
    let tables = told["tables"].as_array().unwrap().len();
    assert_eq!(
        (integer(&told["from"]), integer(&told["to"]), tables),
        (1, 2, 37)
    );
    assert_eq!(
        data_files(&project.warehouse()).len(),
        files,
        "a dry run changes nothing"
    );
    let mut kills = 0;
    for attempt in 0..8 {
        let pause = Duration::from_millis(40 + 40 * attempt);
        if !killed_after(project.command(&["upgrade"]), pause).await {
            break;
        }
        kills += 1;
        let refused = project.run(&["sql", "SELECT 1"]).await;
        assert_eq!(refused.code, Some(2), "{}", refused.stderr);
        assert!(
            refused.stderr.contains("tillhouse upgrade"),
            "{}",
            refused.stderr
        );
    }
    assert!(kills > 0, "not one of the kills came in time");
    let done = project.run(&["upgrade"]).await;
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    for table in ["transactions", "articles"] {
        assert_eq!(sums(&project, table).await, OF_FORMAT_1, "{table}");
    }
    let versions = "SELECT count(*) FROM (SELECT _load_id FROM hecone.transactions UNION ALL SELECT _load_id FROM smartnow.products)";
    assert!(project.count(versions).await > 20);
    let stats = project
        .json(&["stats", "--from", "2026-11-15", "--to", "2026-11-28"])
        .await;
    let euros = stats["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["currency"] == "EUR")
        .unwrap();
    assert_eq!(integer(&euros["transactions_count"]["value"]), 15);
    assert_eq!(euros["transactions_total_amount"]["value"], "#764.59");
    let again = project.json(&["upgrade"]).await;
    assert_eq!(again["from"], again["to"]);
    // Whoever did a table's part, it is noted.
    let noted = project
        .sql("SELECT table_path, files_before, files_after FROM ops.maintenance WHERE action = 'upgrade'")
        .await;
    let paths: BTreeSet<&str> = noted
        .iter()
        .map(|row| row["table_path"].as_str().unwrap())
        .collect();
    assert_eq!((noted.len(), paths.len()), (tables, tables), "{noted:?}");
    // Nothing is unified twice, and syncs go on.
    let rebuilt = project.run(&["rebuild"]).await;
    assert_eq!(rebuilt.code, Some(0), "{}", rebuilt.stderr);
    for table in ["transactions", "articles"] {
        assert_eq!(
            sums(&project, table).await,
            OF_FORMAT_1,
            "{table}, made anew"
        );
    }
    let whole = project.run(&["check", "--warehouse"]).await;
    assert_eq!(whole.code, Some(0), "{}\n{}", whole.stdout, whole.stderr);
    sandbox.stop().await;
}
