//! Tables that have lost commits: a file removed, a table's folder moved away, a copy that is older than the rest.
//!
//! Invariant: no command answers from what is left, or publishes it; what the message says repairs the warehouse does.

use crate::exact_json;
use crate::project::{CommandOutput, TestProject};
use crate::source_truth::assert_unified_equals;
use std::path::{Path, PathBuf};
use tillhouse_sandbox::{Sandbox, SandboxOptions};

const SOURCE: &str = "hecone/transactions";
const UNIFIED: &str = "unified/transactions";

/// A project that has been synced twice, so that its tables have more than one package.
async fn synced() -> (Sandbox, TestProject) {
    synced_and_copied(&[]).await
}

/// As [`synced`], with these folders of the warehouse copied between the two syncs, to `copy` in the project.
async fn synced_and_copied(folders: &[&str]) -> (Sandbox, TestProject) {
    let sandbox = Sandbox::start(SandboxOptions {
        transactions: 1000,
        ..SandboxOptions::default()
    })
    .await
    .unwrap();
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.set("slice", "30d");
    project.sync(&["--to", "2026-01-03"]).await;
    for name in folders {
        copy_folder(
            &folder(&project, name),
            &project.path().join("copy").join(name),
        );
    }
    project
        .sync(&["--from", "2026-01-03", "--to", "2026-01-06"])
        .await;
    (sandbox, project)
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy_folder(&path, &to),
            false => drop(std::fs::copy(&path, &to).unwrap()),
        }
    }
}

fn folder(project: &TestProject, table: &str) -> PathBuf {
    project.path().join("warehouse").join(table)
}

/// All data files in a table's folder, of earlier versions too.
fn data_files(project: &TestProject, table: &str) -> Vec<PathBuf> {
    let (mut folders, mut files) = (vec![folder(project, table)], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let is_parquet = path.extension().is_some_and(|kind| kind == "parquet");
            match is_parquet {
                true if !path.to_string_lossy().contains("_delta_log") => files.push(path),
                _ if path.is_dir() => folders.push(path),
                _ => {}
            }
        }
    }
    files
}

/// Changes every byte of a data file's pages.
fn spoil(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    let end = bytes.len() - 8;
    let footer = u32::from_le_bytes(bytes[end..][..4].try_into().unwrap());
    let pages = 4..end - footer as usize;
    bytes[pages].iter_mut().for_each(|byte| *byte ^= 0xff);
    std::fs::write(file, bytes).unwrap();
}

/// The commit files of a table, in their order.
fn commits(project: &TestProject, table: &str) -> Vec<PathBuf> {
    let log = std::fs::read_dir(folder(project, table).join("_delta_log")).unwrap();
    let mut commits: Vec<PathBuf> = log
        .map(|entry| entry.unwrap().path())
        .filter(|p| is_commit(p))
        .collect();
    commits.sort();
    commits
}

fn is_commit(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "json")
}

fn remove_newest(project: &TestProject, table: &str) {
    std::fs::remove_file(commits(project, table).pop().unwrap()).unwrap();
}

/// Each of these fails and says what was lost and what to do.
async fn assert_refused(project: &TestProject, commands: &[&[&str]], told: &[&str]) {
    for command in commands {
        let CommandOutput {
            code,
            stdout,
            stderr,
        } = project.run(command).await;
        assert_eq!(code, Some(1), "{command:?}: {stderr}{stdout}");
        for told in told {
            assert!(
                stderr.contains(told),
                "{command:?} does not say {told:?}: {stderr}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_table_without_its_last_commit_is_refused_and_read_again_from_the_provider() {
    let (sandbox, project) = synced().await;
    let count = "SELECT count(*) FROM hecone.transactions";
    let before = project.count(count).await;
    remove_newest(&project, SOURCE);
    let told = ["lost commits", SOURCE, "tillhouse sync hecone --full"];
    assert_refused(
        &project,
        &[
            &["sync"],
            &["status"],
            &["check"],
            &["rebuild"],
            &["sync", "--from", "2026-01-01"],
        ],
        &told,
    )
    .await;
    assert_refused(&project, &[&["sql", count]], &[SOURCE, "--full"]).await;
    project.sync(&["--full"]).await;
    assert_unified_equals(&project, &sandbox, "after a full sync").await;
    assert_eq!(project.count(count).await, before);
    assert_eq!(project.run(&["status"]).await.code, Some(0));
    assert_eq!(project.run(&["check"]).await.code, Some(0));
    let again = project.sync(&["--from", "2026-01-01"]).await;
    assert_eq!(
        (
            exact_json::integer(&again["new"]),
            exact_json::integer(&again["changed"])
        ),
        (0, 0),
        "{again}"
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_table_that_is_gone_is_refused_and_read_again_also_when_the_repair_was_cut_short()
{
    let (sandbox, project) = synced().await;
    std::fs::rename(folder(&project, SOURCE), project.path().join("away")).unwrap();
    assert_refused(
        &project,
        &[&["sync"], &["status"], &["rebuild"]],
        &["is gone", "tillhouse sync hecone --full"],
    )
    .await;
    // A repair that stops in the middle leaves a table that is long enough and still not what was published.
    sandbox.inject([tillhouse_sandbox::EmulatedFault::new(
        tillhouse_sandbox::FaultKind::ServerError,
    )
    .times(100_000)]);
    let mut stopped = project.command(&["sync", "--full"]);
    stopped.env("TILLHOUSE_LOG", "error");
    let mut child = stopped.spawn().unwrap();
    while !folder(&project, SOURCE)
        .join("_delta_log/00000000000000000002.json")
        .exists()
    {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the repair did not begin"
        );
        tokio::task::yield_now().await;
    }
    child.kill().await.unwrap();
    sandbox.clear_faults();
    // The next sync goes on from there, whether all is asked for again or not.
    project.sync(&[]).await;
    assert_unified_equals(&project, &sandbox, "after a sync").await;
    project.sync(&["--full"]).await;
    assert_unified_equals(&project, &sandbox, "after a full sync").await;
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_unified_table_that_lost_commits_is_refused_and_made_anew_from_a_whole_history() {
    let (sandbox, project) = synced().await;
    for repair in [&["rebuild"][..], &["sync", "--full"]] {
        let stats = [
            "stats",
            "--from",
            "2026-01-01",
            "--to",
            "2026-01-06",
            "--format",
            "json",
        ];
        let before = project.run(&stats).await.stdout;
        remove_newest(&project, UNIFIED);
        assert_refused(
            &project,
            &[&["sync"], &["status"]],
            &["lost commits", UNIFIED, "tillhouse rebuild"],
        )
        .await;
        assert_refused(
            &project,
            &[&["sql", "SELECT count(*) FROM transactions"]],
            &[UNIFIED, "tillhouse rebuild"],
        )
        .await;
        let ran = project.run(repair).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_unified_equals(&project, &sandbox, "after the repair").await;
        let entry = |text: &str| {
            let value: serde_json::Value =
                serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
            value["data"].clone()
        };
        assert_eq!(entry(&project.run(&stats).await.stdout), entry(&before));
        assert_eq!(project.run(&["status"]).await.code, Some(0));
    }
    // Of two tables that are lost, the provider has what the source tables lack.
    remove_newest(&project, UNIFIED);
    remove_newest(&project, SOURCE);
    assert_refused(
        &project,
        &[&["rebuild"]],
        &["lost commits", "tillhouse sync --full"],
    )
    .await;
    project.sync(&["--full"]).await;
    assert_unified_equals(&project, &sandbox, "after both were repaired").await;
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_is_empty_or_cut_stops_every_command_and_names_the_file() {
    let (sandbox, project) = synced().await;
    for table in [SOURCE, UNIFIED] {
        let commit = commits(&project, table).pop().unwrap();
        let whole = std::fs::read(&commit).unwrap();
        let line = whole.iter().rposition(|byte| *byte == b'\n').unwrap();
        let name = commit.file_name().unwrap().to_str().unwrap().to_owned();
        for cut in [0, line, whole.len() / 2] {
            std::fs::write(&commit, &whole[..cut]).unwrap();
            let sql = format!("SELECT count(*) FROM {}", table.replace('/', "."));
            assert_refused(
                &project,
                &[&["sync"], &["status"], &["check"], &["sql", &sql]],
                &[&name, "damaged", "copy"],
            )
            .await;
        }
        std::fs::write(&commit, &whole).unwrap();
        project
            .sync(&["--from", "2026-01-05", "--to", "2026-01-06"])
            .await;
    }
    assert_unified_equals(&project, &sandbox, "after the files were put back").await;
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_log_lacks_a_commit_is_set_aside_by_the_command_that_makes_it_anew() {
    let (sandbox, project) = synced().await;
    for (table, command) in [
        (UNIFIED, &["rebuild"][..]),
        (SOURCE, &["sync", "hecone", "--full"][..]),
    ] {
        let needed = commits(&project, table).into_iter().rev().nth(1).unwrap();
        std::fs::remove_file(&needed).unwrap();
        let name = needed.file_name().unwrap().to_str().unwrap().to_owned();
        assert_refused(
            &project,
            &[&["sync"], &["check"]],
            &[&name, "sets the table aside"],
        )
        .await;
        let ran = project.run(command).await;
        assert_eq!(ran.code, Some(0), "{table}: {}", ran.stderr);
        assert!(
            ran.stderr.contains(".set-aside") && ran.stderr.contains(table),
            "{}",
            ran.stderr
        );
        assert_unified_equals(&project, &sandbox, table).await;
        for check in [&["check"][..], &["check", "--warehouse"]] {
            let ran = project.run(check).await;
            assert_eq!(ran.code, Some(0), "{table}, {check:?}: {}", ran.stderr);
        }
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_table_that_lacks_data_is_set_aside_by_a_full_sync_and_one_that_is_whole_is_not() {
    let (sandbox, project) = synced().await;
    for left in [Some(0), Some(100), None] {
        let months = std::fs::read_dir(folder(&project, SOURCE)).unwrap();
        let months = months.map(|entry| entry.unwrap());
        let months = months.filter(|entry| entry.file_name().to_string_lossy().contains('='));
        // Some may be of earlier versions alone.
        for entry in months.flat_map(|month| std::fs::read_dir(month.path()).unwrap()) {
            let file = entry.unwrap().path();
            match left {
                Some(left) => {
                    let whole = std::fs::read(&file).unwrap();
                    std::fs::write(&file, &whole[..left]).unwrap();
                }
                None => std::fs::remove_file(&file).unwrap(),
            }
        }
        assert_refused(
            &project,
            &[&["rebuild"], &["check"]],
            &[SOURCE, "missing or cut", "tillhouse sync"],
        )
        .await;
        let ran = project.run(&["check", "--warehouse"]).await;
        assert_eq!(ran.code, Some(1), "{left:?}: {}", ran.stderr);
        let ran = project.run(&["sync", "hecone", "--full"]).await;
        assert_eq!(ran.code, Some(0), "{left:?}: {}", ran.stderr);
        assert!(
            ran.stderr.contains(".set-aside") && ran.stderr.contains(SOURCE),
            "{left:?}: {}",
            ran.stderr
        );
        assert_unified_equals(&project, &sandbox, "after a full sync").await;
        for check in [&["check"][..], &["check", "--warehouse"]] {
            let ran = project.run(check).await;
            assert_eq!(ran.code, Some(0), "{left:?}, {check:?}: {}", ran.stderr);
        }
    }
    let ran = project.run(&["sync", "hecone", "--full"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(!ran.stderr.contains("set aside"), "{}", ran.stderr);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_table_whose_files_are_not_what_was_written_is_set_aside_by_a_full_sync() {
    let (sandbox, project) = synced().await;
    for file in data_files(&project, SOURCE) {
        spoil(&file);
    }
    assert_refused(&project, &[&["rebuild"]], &["`tillhouse sync", "--full`"]).await;
    let ran = project.run(&["sync", "hecone", "--full"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr.contains(".set-aside") && ran.stderr.contains(SOURCE),
        "{}",
        ran.stderr
    );
    assert_unified_equals(&project, &sandbox, "after a full sync").await;
    for command in [&["check"][..], &["check", "--warehouse"], &["rebuild"]] {
        let ran = project.run(command).await;
        assert_eq!(ran.code, Some(0), "{command:?}: {}", ran.stderr);
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unified_tables_and_roll_ups_whose_files_are_lost_or_damaged_are_made_anew_by_a_rebuild() {
    let (sandbox, project) = synced().await;
    let range = ["--from", "2026-01-01", "--to", "2026-01-06"];
    let stats = [&["stats", "--format", "json"][..], &range].concat();
    let answer = async || {
        let ran = project.run(&stats).await;
        let value: serde_json::Value = serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", ran.stderr));
        value["data"].clone()
    };
    let before = answer().await;
    let tables = [
        UNIFIED,
        "unified/payments",
        "unified/sites",
        "statistics/levels",
    ];
    let cut = |file: &Path| {
        let whole = std::fs::read(file).unwrap();
        std::fs::write(file, &whole[..whole.len() / 2]).unwrap();
    };
    let remove = |file: &Path| std::fs::remove_file(file).unwrap();
    for what in ["cut", "missing", "spoiled"] {
        for file in tables.iter().flat_map(|table| data_files(&project, table)) {
            match what {
                "cut" => cut(&file),
                "missing" => remove(&file),
                _ => spoil(&file),
            }
        }
        let (command, told): (&[&str], &str) = match what {
            "spoiled" => (&["sql", "SELECT * FROM transactions"], "is damaged"),
            _ => (&["check"], "missing or cut"),
        };
        assert_refused(&project, &[command], &[told, "`tillhouse rebuild`"]).await;
        let ran = project.run(&["rebuild"]).await;
        assert_eq!(ran.code, Some(0), "{what}: {}", ran.stderr);
        assert_unified_equals(&project, &sandbox, what).await;
        assert_eq!(answer().await, before, "{what}");
        for check in [&["check"][..], &["check", "--warehouse"]] {
            let ran = project.run(check).await;
            assert_eq!(ran.code, Some(0), "{what}, {check:?}: {}", ran.stderr);
        }
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn older_unified_tables_and_roll_ups_that_were_put_back_are_made_good_by_what_is_named() {
    let both = ["unified", "statistics"];
    let (sandbox, project) = synced_and_copied(&both).await;
    for name in both {
        std::fs::remove_dir_all(folder(&project, name)).unwrap();
        let copy = project.path().join("copy").join(name);
        std::fs::rename(copy, folder(&project, name)).unwrap();
    }
    assert_refused(
        &project,
        &[&["sync"], &["check"], &["status"]],
        &["lost commits", UNIFIED, "`tillhouse rebuild`"],
    )
    .await;
    let ran = project.run(&["rebuild"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_unified_equals(&project, &sandbox, "after the rebuild").await;
    for check in [&["check"][..], &["check", "--warehouse"], &["status"]] {
        let ran = project.run(check).await;
        assert_eq!(ran.code, Some(0), "{check:?}: {}", ran.stderr);
    }
    sandbox.stop().await;
}

/// The newest commit of a table, or its folder, is moved away.
fn lose(project: &TestProject, table: &str, is_whole: bool) {
    let lost = match is_whole {
        true => folder(project, table),
        false => commits(project, table).pop().unwrap(),
    };
    let away = project.path().join("away");
    let _ = std::fs::remove_dir_all(&away);
    let _ = std::fs::remove_file(&away);
    std::fs::rename(lost, away).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bookkeeping_and_roll_ups_that_lost_something_are_told_and_the_next_sync_makes_them_good() {
    let (sandbox, project) = synced().await;
    let stats = [
        "stats",
        "--from",
        "2026-01-01",
        "--to",
        "2026-01-06",
        "--format",
        "json",
    ];
    let answer = async || {
        let ran = project.run(&stats).await;
        let value: serde_json::Value = serde_json::from_str(&ran.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", ran.stderr));
        (value["data"].clone(), value["meta"]["gaps"].clone())
    };
    let before = answer().await;
    let lost_run: &[&[&str]] = &[
        &stats,
        &["sql", "SELECT count(*) FROM transactions"],
        &["status"],
        &["check"],
    ];
    let noticed: &[&[&str]] = &[&["status"], &["check"]];
    for is_whole in [false, true] {
        for (table, commands, told) in [
            (
                "ops/runs",
                lost_run,
                ["missing in ops/runs", "`tillhouse sync`"],
            ),
            (
                "ops/slices",
                noticed,
                ["ops/slices", "reads again what is not noted as read"],
            ),
            (
                "statistics/levels",
                noticed,
                ["statistics/levels", "`tillhouse sync`"],
            ),
        ] {
            lose(&project, table, is_whole);
            assert_refused(&project, commands, &told).await;
            let ran = project.run(&["sync", "--to", "2026-01-06"]).await;
            assert_eq!(ran.code, Some(0), "{table}: {}", ran.stderr);
            assert!(
                ran.stderr.contains(table),
                "{table}: nothing is said of it: {}",
                ran.stderr
            );
            assert_eq!(answer().await, before, "{table}");
            for command in [&["status"][..], &["check"]] {
                let ran = project.run(command).await;
                assert_eq!(ran.code, Some(0), "{table}, {command:?}: {}", ran.stderr);
            }
        }
    }
    assert_unified_equals(&project, &sandbox, "after all repairs").await;
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_were_lost_together_with_their_run_are_missed() {
    let (sandbox, project) = synced().await;
    lose(&project, "ops/runs", true);
    remove_newest(&project, SOURCE);
    let told = ["lost commits", SOURCE, "tillhouse sync hecone --full"];
    assert_refused(
        &project,
        &[&["sync"], &["status"], &["check"], &["rebuild"]],
        &told,
    )
    .await;
    project.sync(&["--full"]).await;
    assert_unified_equals(&project, &sandbox, "after a full sync").await;
    assert_eq!(project.run(&["status"]).await.code, Some(0));
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_of_every_table_that_is_torn_and_of_commits_in_between() {
    let (sandbox, project) = synced().await;
    let torn = [
        SOURCE,
        UNIFIED,
        "unified/payments",
        "ops/slices",
        "statistics/levels",
    ];
    for table in torn {
        std::fs::write(commits(&project, table).pop().unwrap(), "").unwrap();
    }
    assert_refused(&project, &[&["check"]], &torn).await;
    std::fs::write(commits(&project, "ops/runs").pop().unwrap(), "").unwrap();
    assert_refused(
        &project,
        &[&["check"]],
        &[&torn[..], &["ops/runs"]].concat(),
    )
    .await;
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_page_is_named_with_its_file_by_every_command_that_reads_it() {
    let (sandbox, project) = synced().await;
    for (table, commands) in [
        (
            UNIFIED,
            &[
                &["sql", "SELECT * FROM transactions"][..],
                &[
                    "sql",
                    "SELECT sum(amount) FROM transactions WHERE amount > 1",
                ],
            ][..],
        ),
        (
            "unified/payments",
            &[&["sql", "SELECT * FROM payments ORDER BY payment_key LIMIT 5"]],
        ),
        (
            SOURCE,
            &[&["sql", "SELECT * FROM latest.hecone_transactions"]],
        ),
    ] {
        let file = data_files(&project, table).pop().unwrap();
        let whole = std::fs::read(&file).unwrap();
        spoil(&file);
        let name = std::fs::canonicalize(&file).unwrap().display().to_string();
        assert_refused(
            &project,
            commands,
            &["a data file is damaged", &name, "copy"],
        )
        .await;
        std::fs::write(&file, whole).unwrap();
    }
    sandbox.stop().await;
}
