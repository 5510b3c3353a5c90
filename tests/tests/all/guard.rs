//! A query and its process: Ctrl-C, a request to terminate, a closed pipe, more memory than it may take, SQL that is too deep.
//!
//! Invariant: a signal is sent when the query is known to run, because it has printed or written something; nothing here waits for a time to pass.

use crate::exact_json;
use crate::program;
use crate::project::{CommandOutput, TestProject, run_to_end};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tillhouse_sandbox::{Sandbox, SandboxOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Rows without an end.
const ENDLESS: &str = "SELECT value FROM generate_series(1, 1000000000000)";

async fn small() -> TestProject {
    let (sandbox, project) = TestProject::synced(200, "2026-01-03").await;
    sandbox.stop().await;
    project
}

/// A query that has printed something; its reader reads no further.
async fn printing(project: &TestProject, temporary: &Path) -> Child {
    let mut command = project.command(&["sql", "--format", "csv", ENDLESS]);
    command
        .env("TMPDIR", temporary)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut begun = [0; 1_000];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut begun)
        .await
        .unwrap();
    child
}

async fn signal(child: &Child, name: &str) {
    let id = child.id().expect("it runs").to_string();
    assert!(
        Command::new("kill")
            .args([format!("-{name}"), id])
            .status()
            .await
            .unwrap()
            .success()
    );
}

/// Runs the queries of a text that standard input brings.
async fn from_stdin(project: &TestProject, text: &str, arguments: &[&str]) -> CommandOutput {
    let mut all = vec!["--format", "json", "sql"];
    all.extend(arguments);
    let mut command = project.command(&all);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    CommandOutput {
        code: output.status.code(),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// Signals that end a query, with the exit code of each.
fn answered_signals() -> Vec<(&'static str, i32)> {
    // Signals that this process was started with ignored, its children ignore too.
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
    let all = [
        ("INT", 2, 1),
        ("TERM", 15, 143),
        ("HUP", 1, 129),
        ("QUIT", 3, 131),
    ];
    all.into_iter()
        .filter(|(_, number, _)| ignored >> (number - 1) & 1 == 0)
        .map(|(name, _, code)| (name, code))
        .collect()
}

/// Bytes of the files below a folder.
fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}

/// Starts a command, and ends it by a signal once it has written something below a folder. Whatever that is, it is gone then.
async fn ended_while_it_writes(mut command: Command, folder: &Path, name: &str, code: i32) {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let writes = async {
        while bytes_below(folder) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(program::LIMIT, writes)
        .await
        .expect("it writes");
    signal(&child, name).await;
    let status = tokio::time::timeout(program::LIMIT, child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(code), "{name}");
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().collect();
    assert!(left.is_empty(), "{name}: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_leave_nothing_of_what_is_spilled_or_half_written() {
    let (project, folder) = (small().await, tempfile::tempdir().unwrap());
    let sorted = "SELECT repeat(CAST(value AS VARCHAR), 20) AS x FROM generate_series(1, 1000000000000) ORDER BY x";
    let output = folder.path().join("out.csv");
    let output = output.to_str().unwrap();
    for (name, code) in answered_signals() {
        let mut spilling = project.command(&["sql", "--memory-limit", "64MiB", sorted]);
        spilling.env("TMPDIR", folder.path());
        ended_while_it_writes(spilling, folder.path(), name, code).await;
        let writing = project.command(&["sql", "--output", output, ENDLESS]);
        ended_while_it_writes(writing, folder.path(), name, code).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_end_a_query_that_nobody_reads_and_leave_nothing() {
    let (project, temporary) = (small().await, tempfile::tempdir().unwrap());
    for (name, code) in answered_signals() {
        let mut child = printing(&project, temporary.path()).await;
        signal(&child, name).await;
        let status = tokio::time::timeout(program::LIMIT, child.wait())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(status.code(), Some(code), "{name}");
    }
    let mut child = printing(&project, temporary.path()).await;
    drop(child.stdout.take());
    let status = tokio::time::timeout(program::LIMIT, child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        status.code(),
        Some(0),
        "a reader that has had enough is no failure"
    );
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_on_the_size_of_files_is_an_error_that_leaves_no_half_of_one() {
    let project = small().await;
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.html");
    let stats = [
        "stats",
        "--from",
        "2026-01-01",
        "--to",
        "2026-01-03",
        "--format",
        "html",
        "--output",
        output.to_str().unwrap(),
    ];
    let ran = run_to_end(program::limited(&project.command(&stats), 2)).await;
    let told = ran.stderr;
    assert_eq!(ran.code, Some(1), "{told}");
    assert!(
        told.contains("File too large") && told.contains("ulimit -f"),
        "{told}"
    );
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_the_commands_of_secrets_too() {
    let sandbox = Sandbox::start(SandboxOptions {
        transactions: 20,
        ..SandboxOptions::default()
    })
    .await
    .unwrap();
    let project = TestProject::new(&sandbox.hecone_url()).await;
    let folder = tempfile::tempdir().unwrap();
    // Whatever the command starts holds the pipe open: it ends once nobody of them is left.
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .await
            .unwrap()
            .success()
    );
    let script = format!(
        "exec 3>'{}'; echo up >&3; sleep 1000 & sleep 1000; echo never",
        pipe.display()
    );
    project.set(
        "client_secret",
        &format!("{{ command: [sh, -c, \"{script}\"] }}"),
    );
    for arguments in [&["check"][..], &["sync", "--to", "2026-01-02"]] {
        for name in ["INT", "TERM"] {
            let mut child = project
                .command(arguments)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut up = [0; 3];
            let mut held = tokio::fs::File::open(&pipe).await.unwrap();
            held.read_exact(&mut up).await.unwrap();
            signal(&child, name).await;
            let ended = async {
                (
                    child.wait().await.unwrap(),
                    held.read_to_end(&mut Vec::new()).await.unwrap(),
                )
            };
            let (status, rest) = tokio::time::timeout(program::LIMIT, ended)
                .await
                .expect(name);
            assert!(
                !status.success() && rest == 0,
                "{arguments:?} {name}: {status}"
            );
        }
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_takes_too_much_is_stopped_or_never_begins() {
    let project = small().await;
    let doubled = (0..30)
        .map(|i| format!("c{} AS (SELECT concat(a, a) AS a FROM c{i})", i + 1))
        .collect::<Vec<_>>();
    let doubling = format!(
        "WITH c0 AS (SELECT 'abcdefgh' AS a), {} SELECT length(a) FROM c30",
        doubled.join(", ")
    );
    for query in [doubling.as_str(), "SELECT length(repeat('x', 1000000000))"] {
        let ran = run_to_end(project.command(&["sql", "--memory-limit", "64MiB", query])).await;
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("more memory than it may use"),
            "{}",
            ran.stderr
        );
        assert!(ran.stderr.contains("memory_limit"), "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn long_queries_are_answered_and_deep_ones_refused() {
    let project = small().await;
    let list = (0..19_000)
        .map(|i| format!("'x{i}'"))
        .collect::<Vec<_>>()
        .join(",");
    let conditions = (0..1_343)
        .map(|i| format!("transaction_id <> 'y{i}'"))
        .collect::<Vec<_>>()
        .join(" AND ");
    let text = format!(
        "SELECT count(*) AS n FROM transactions WHERE transaction_id NOT IN ({list}); -- one; two\n\
         SELECT count(*) AS n FROM transactions WHERE {conditions};"
    );
    let long = from_stdin(&project, &text, &[]).await;
    assert_eq!(long.code, Some(0), "{}", long.stderr);
    let all = project.count("SELECT count(*) FROM transactions").await;
    assert!(all > 0);
    let answers: Vec<_> = long
        .stdout
        .split_inclusive("]\n")
        .map(|text| exact_json::json(text, "an answer"))
        .collect();
    assert_eq!(
        answers
            .iter()
            .map(|rows| exact_json::integer(&rows[0]["n"]))
            .collect::<Vec<_>>(),
        [all, all]
    );
    for deep in [
        format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000)),
        format!("SELECT {}", ["amount"; 10_000].join(" + ")),
    ] {
        let refused = from_stdin(&project, &deep, &[]).await;
        assert_eq!(refused.code, Some(1), "{}", refused.stderr);
        assert!(
            refused.stderr.contains("nested too deeply"),
            "{}",
            refused.stderr
        );
    }
}
