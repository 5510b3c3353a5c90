//! Output of the commands: errors that help, exit codes that scripts can trust, data on standard
//! output and nothing else there.
//!
//! Invariant: whatever is typed, the answer is an exit code and a few lines, never a panic.

use crate::program::command;
use crate::project::{CLIENT_SECRET, CommandOutput, TestProject, run_to_end};
use crate::source_files;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use tillhouse_sandbox::{EmulatedFault, FaultKind, Sandbox};

/// A refused command: the code, nothing on standard output, and one short paragraph that holds all these words.
#[track_caller]
fn assert_refused(ran: &CommandOutput, code: i32, words: &[&str]) {
    assert_eq!(ran.code, Some(code), "{}", ran.stderr);
    assert_eq!(
        ran.stdout, "",
        "data only on standard output: {}",
        ran.stderr
    );
    assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    let lines: Vec<&str> = ran.stderr.trim_end().lines().collect();
    assert!(
        (2..=12).contains(&lines.len()),
        "one paragraph with what to do: {}",
        ran.stderr
    );
    for word in words {
        assert!(
            ran.stderr.contains(word),
            "{word:?} is missing in: {}",
            ran.stderr
        );
    }
}

async fn small() -> (Sandbox, TestProject) {
    TestProject::of_sandbox(50).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_wrong_is_refused_with_what_to_do() {
    let (sandbox, project) = small().await;
    for (arguments, words) in [
        (&["sync", "heckone"][..], &["heckone", "hecone"][..]),
        (&["sync", "--from", "yesterday"], &["yesterday", "2026-"]),
        (&["sync", "--from", "2026-13-01"], &["2026-13-01"]),
        (
            &["sync", "--from", "2026-01-05", "--to", "2026-01-02"],
            &["2026-01-05", "2026-01-02"],
        ),
        (
            &["stats", "--from", "2026-01-05", "--to", "2026-01-02"],
            &["2026-01-05", "2026-01-02"],
        ),
        (
            &[
                "stats",
                "--from",
                "2026-01-01",
                "--to",
                "2026-01-02",
                "--timezone",
                "Mars/Olympus",
            ],
            &["Mars/Olympus"],
        ),
        (
            &[
                "stats",
                "--from",
                "2026-01-01",
                "--to",
                "2026-01-02",
                "--compare",
                "lastyear",
            ],
            &["lastyear", "last-year"],
        ),
        (
            &[
                "stats",
                "--from",
                "2026-01-01",
                "--to",
                "2026-01-02",
                "--compare",
                "2026-01-02..2026-01-01",
            ],
            &["2026-01-02..2026-01-01"],
        ),
        (
            &[
                "stats",
                "--from",
                "2026-01-01",
                "--to",
                "2026-01-02",
                "--filter",
                "site_name",
            ],
            &["not JSON", "single quotes"],
        ),
        (
            &[
                "stats",
                "--from",
                "2026-01-01",
                "--to",
                "2026-01-02",
                "--filter",
                r#"{"field":"site","operator":"eq","value":"x"}"#,
            ],
            &["no field \"site\"", "site_name"],
        ),
        (
            &[
                "stats",
                "--from",
                "2026-01-01",
                "--to",
                "2026-01-02",
                "--filter",
                r#"{"field":"license_plate","operator":"contains","value":"KA"}"#,
            ],
            &["contains cannot be asked of license_plate", "eq, neq"],
        ),
        (&["sync", "--quickly"], &["--quickly"]),
        (&["stats", "--from", "2026-01-01"], &["--to"]),
        (&["init", "--source", "till"], &["till", "hecone"]),
        (&["--format", "yaml", "status"], &["yaml", "json"]),
    ] {
        let ran = project.run(arguments).await;
        assert_refused(&ran, 2, words);
    }
    assert_eq!(
        sandbox.requests().total,
        0,
        "nothing of this was worth a request"
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_source_has_its_variables_named_though_no_file_is_changed() {
    let project = TestProject::bare().await;
    let example = project.path().join(".env.example");
    let before = std::fs::read_to_string(&example).unwrap();
    let folder = project.path();
    let init = |source: &'static str| {
        run_to_end(command([
            "init".as_ref(),
            folder.as_os_str(),
            "--source".as_ref(),
            source.as_ref(),
        ]))
    };
    let made = init("bemo").await;
    assert_eq!(
        (made.code, made.stdout.as_str()),
        (Some(0), ""),
        "{}",
        made.stderr
    );
    assert_eq!(
        std::fs::read_to_string(&example).unwrap(),
        before,
        "what exists stays as it is"
    );
    for variable in [
        "BEMO_URL",
        "BEMO_ACCESS_TOKEN",
        "BEMO_SUBSCRIPTION_KEY",
        "BEMO_ACCOUNTS",
    ] {
        assert!(
            made.stderr.contains(&format!("\n  {variable}=\n")),
            "{variable} is missing in: {}",
            made.stderr
        );
    }
    assert!(!made.stderr.contains("HECONE_URL"), "{}", made.stderr);
    // One that the file names already is not named again, and neither is any where the file is new.
    std::fs::write(&example, before + "PACE_URL=\n# PACE_TOKEN_URL=\n").unwrap();
    let made = init("pace").await;
    assert!(
        made.stderr.contains("\n  PACE_CLIENT_ID=\n") && !made.stderr.contains("PACE_URL="),
        "{}",
        made.stderr
    );
    assert!(!made.stderr.contains("PACE_TOKEN_URL="), "{}", made.stderr);
    std::fs::remove_file(&example).unwrap();
    let made = init("smartnow").await;
    assert!(
        made.stderr.contains("see .env.example") && !made.stderr.contains("SMARTNOW_URL="),
        "{}",
        made.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_is_wrong_is_refused_with_the_place() {
    let (sandbox, project) = small().await;
    let empty = tempfile::tempdir().unwrap();
    let nowhere = run_to_end(command([
        "--project".as_ref(),
        empty.path().as_os_str(),
        "status".as_ref(),
    ]))
    .await;
    assert_refused(&nowhere, 2, &["no Tillhouse project", "tillhouse init"]);

    let bare = TestProject::bare().await;
    let missing = bare.run(&["sync"]).await;
    assert_refused(
        &missing,
        2,
        &["HECONE_URL", "base_url", &bare.place("base_url")],
    );

    project.set("resources", "[invoices]");
    assert_refused(
        &project.run(&["sync"]).await,
        2,
        &["invoices", "transactions", &project.place("resources")],
    );
    project.set("resources", "[transactions]");
    project.set("slice", "soon");
    assert_refused(
        &project.run(&["sync"]).await,
        2,
        &["soon", &project.place("slice")],
    );
    project.set("slice", "1d");

    let ran = project.run(&["eject", "hecone"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let sql = project
        .path()
        .join("pipelines/hecone/unify/transactions.sql");
    let text = std::fs::read_to_string(&sql).expect("eject wrote it");
    let without = text.replace("AS license_plate,", "AS plate_of_the_car,");
    assert_ne!(text, without);
    std::fs::write(&sql, without).unwrap();
    for command in [&["sync"][..], &["rebuild"], &["sync", "hecone"]] {
        assert_refused(
            &project.run(command).await,
            2,
            &["license_plate", "transactions.sql"],
        );
    }
    assert_eq!(
        sandbox.requests().total,
        0,
        "refused before any request is made"
    );

    std::fs::write(&sql, text).unwrap();
    project.sync(&["--to", "2026-01-06"]).await;
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_may_stand_in_quotes_and_within_a_text() {
    let (sandbox, project) = small().await;
    let url = sandbox.hecone_url();
    let host = url
        .strip_prefix("http://")
        .and_then(|url| url.strip_suffix("/hecone"))
        .expect("a local address");
    project.add_env(&format!("HOST={host}\nSIZE=500\nFOLDER=ware # house\n"));
    let file = project.path().join("tillhouse.yaml");
    let text = std::fs::read_to_string(&file)
        .unwrap()
        .replace("url: ./warehouse", "url: \"./${FOLDER}/of-$$5\"");
    std::fs::write(&file, text).unwrap();
    project.set("base_url", "'http://${HOST}/${PATH_OF_IT:-hecone}'");
    project.set("client_secret", "\"${HECONE_CLIENT_SECRET}\" # not ${THIS}");
    project.set("page_size", "'${SIZE}'");
    let ran = project.run(&["check"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report = project.json(&["sync", "--to", "2026-01-06"]).await;
    assert_eq!(report["published"], true, "{report}");
    assert!(
        project
            .path()
            .join("ware # house/of-$5/hecone/transactions/_delta_log")
            .is_dir()
    );

    for (key, value, said) in [
        (
            "base_url",
            "'http://${NO_HOST}/hecone'",
            ["connection.base_url", "NO_HOST"],
        ),
        (
            "base_url",
            "\"http://${HOST/hecone\"",
            ["connection.base_url", "is not closed"],
        ),
        ("base_url", "'http://$HOST/hecone'", ["host", "base_url"]),
        (
            "base_url",
            "'${HECONE_CLIENT_SECRET}'",
            ["base_url", "http://"],
        ),
        (
            "page_size",
            "'${HECONE_CLIENT_SECRET}'",
            ["pipeline.yaml", "a whole number"],
        ),
        (
            "slice",
            "'${HECONE_CLIENT_SECRET}'",
            ["pipeline.yaml", "${HECONE_CLIENT_SECRET}"],
        ),
    ] {
        let before = std::fs::read_to_string(project.pipeline()).unwrap();
        project.set(key, value);
        let ran = project.run(&["check"]).await;
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(
            said.iter().all(|word| ran.stderr.contains(word)),
            "{said:?}: {}",
            ran.stderr
        );
        assert!(
            !ran.stderr.contains(CLIENT_SECRET) && !ran.stderr.contains("bug"),
            "{}",
            ran.stderr
        );
        std::fs::write(project.pipeline(), before).unwrap();
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_all_that_is_wrong_and_what_is_lost() {
    let (sandbox, project) = small().await;
    let ran = project.run(&["check"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let told = "the first sync makes it";
    assert!(ran.stderr.contains(told), "{}", ran.stderr);
    let nothing = project.run(&["check", "--warehouse"]).await;
    assert_refused(&nothing, 1, &["there is no warehouse", "warehouse.url"]);
    assert!(
        !project.path().join("warehouse").exists(),
        "a probe makes no folder"
    );
    project.sync(&["--to", "2026-01-06"]).await;
    let ran = project.run(&["check"]).await;
    assert!(!ran.stderr.contains(told), "{}", ran.stderr);

    let mut files = Vec::new();
    for month in std::fs::read_dir(
        project
            .path()
            .join("warehouse/unified/articles/pipeline=hecone"),
    )
    .unwrap()
    {
        files.extend(
            std::fs::read_dir(month.unwrap().path())
                .unwrap()
                .map(|file| file.unwrap().path()),
        );
    }
    let (lost, kept) = (
        files.pop().expect("a data file"),
        project.path().join("kept"),
    );
    std::fs::rename(&lost, &kept).unwrap();
    let name = lost.file_name().unwrap().to_str().unwrap();
    let ran = project.run(&["check"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(
        ["missing", name, "rebuild"]
            .iter()
            .all(|word| ran.stderr.contains(word)),
        "{}",
        ran.stderr
    );
    assert!(ran.stdout.contains("failed warehouse "), "{}", ran.stdout);
    assert_refused(
        &project
            .run(&["sql", "SELECT sum(amount) FROM articles"])
            .await,
        1,
        &[name],
    );
    std::fs::rename(&kept, &lost).unwrap();
    assert_eq!(project.run(&["check"]).await.code, Some(0));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |mode: u32| {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&lost, permissions).unwrap();
        };
        mode(0o000);
        // The superuser may read all.
        if std::fs::read(&lost).is_err() {
            let asked = "SELECT sum(amount) FROM articles";
            let ran = project.run(&["sql", asked]).await;
            assert_refused(
                &ran,
                1,
                &[name, "may not be read", "move and delete nothing"],
            );
            let ran = project.run(&["check", "--warehouse"]).await;
            assert_eq!(ran.code, Some(1), "{}", ran.stderr);
            assert!(ran.stdout.contains("may not be read"), "{}", ran.stdout);
            assert!(
                !ran.stderr.contains("out of the warehouse"),
                "{}",
                ran.stderr
            );
        }
        mode(0o600);
    }

    // Two pipelines and the project itself: each mistake is told, and the pipeline that has none is asked all the same.
    let folder = project.path().join("pipelines/other");
    std::fs::create_dir_all(&folder).unwrap();
    let text = std::fs::read_to_string(project.pipeline()).unwrap();
    let wrong = |line: &str| match line.trim_start().split(':').next() {
        Some("page_size") => "  page_size: 0\n".to_owned(),
        Some("lookback") => "  lookback: 3 days\n".to_owned(),
        Some("resources") => format!("{}\n", line.replacen("resources", "resource", 1)),
        _ => format!("{line}\n"),
    };
    std::fs::write(
        folder.join("pipeline.yaml"),
        text.lines().map(wrong).collect::<String>(),
    )
    .unwrap();
    let file = project.path().join("tillhouse.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("memory_limt: 3GiB\n{text}")).unwrap();
    let ran = project.run(&["check"]).await;
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    for told in [
        "unknown key `memory_limt`; did you mean `memory_limit`?",
        "unknown key `resource`; did you mean `resources`?",
        "`sync.page_size` must be between 1 and 100000",
        "`sync.lookback` is \"3 days\"",
    ] {
        assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
    }
    assert!(
        ran.stdout.contains("ok     hecone: connection to hecone"),
        "{}",
        ran.stdout
    );
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::write(&file, text).unwrap();

    for (start, words) in [
        ("9000-01-01", ["9000-01-01", "lies in the future"]),
        (
            "0001-01-01",
            [
                "from 0001-01-01T00:00:00Z on, in slices of 1 d, are ",
                "--yes reads them all",
            ],
        ),
    ] {
        project.set("start", start);
        let ran = project.run(&["check"]).await;
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(
            words.iter().all(|word| ran.stderr.contains(word)),
            "{}",
            ran.stderr
        );
        assert!(
            ran.stdout.contains("failed hecone: configuration"),
            "{}",
            ran.stdout
        );
    }
    let asked = sandbox.requests().total;
    assert_refused(
        &project.run(&["sync"]).await,
        2,
        &["0001-01-01", "slices of 1 d", "--yes"],
    );
    assert!(
        sandbox.requests().total <= asked + 1,
        "refused before any page is asked for; the login goes ahead"
    );
    sandbox.stop().await;
}

/// The limit is reached by the first part of the union, so that nobody reads the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_has_had_enough_ends() {
    let (sandbox, project) = small().await;
    let ran = project.run(&["eject", "hecone"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let sql = project.path().join("pipelines/hecone/unify/events.sql");
    let text = std::fs::read_to_string(&sql).expect("eject wrote it");
    std::fs::write(&sql, format!("{}\nLIMIT 1\n", text.trim_end())).unwrap();
    project.sync(&["--to", "2026-01-06"]).await;
    let counted = project
        .run(&[
            "sql",
            "SELECT count(*) AS n FROM events",
            "--format",
            "json",
        ])
        .await;
    assert!(
        counted.stdout.contains("\"n\":1") || counted.stdout.contains("\"n\": 1"),
        "{}",
        counted.stdout
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_at_work_is_exit_code_one() {
    let (sandbox, project) = small().await;
    let range = ["stats", "--from", "2026-01-01", "--to", "2026-01-06"];
    assert_refused(&project.run(&range).await, 1, &["tillhouse sync"]);
    assert_refused(
        &project.run(&["sql", "SELECT 1 FROM transactions"]).await,
        1,
        &["tillhouse sync"],
    );

    project.sync(&["--to", "2026-01-06"]).await;
    assert_refused(
        &project
            .run(&["sql", "SELECT amout FROM transactions"])
            .await,
        1,
        &["amout"],
    );
    assert_refused(&project.run(&["sql", "SELEC 1"]).await, 1, &["SELEC"]);
    assert_refused(
        &project.run(&["sql", "DROP TABLE transactions"]).await,
        1,
        &[],
    );
    assert_refused(
        &project.run(&["sql", "SELECT * FROM nothing_here"]).await,
        1,
        &["nothing_here"],
    );

    // A list that is not there is the configuration's fault, whatever the source; one that is there and refuses is not.
    for (status, code) in [(405, 1), (404, 2)] {
        sandbox.inject([EmulatedFault {
            status: Some(status),
            ..EmulatedFault::new(FaultKind::ServerError).times(100)
        }]);
        let ran = project.run(&["sync", "--to", "2026-01-06"]).await;
        assert_eq!(ran.code, Some(code), "{status}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("connection.paths.transactions"),
            "{}",
            ran.stderr
        );
        sandbox.clear_faults();
    }
    sandbox.stop().await;
    let ran = project.run(&["check"]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("127.0.0.1"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_goes_to_standard_output_and_nothing_else_does() {
    let (sandbox, project) = small().await;
    for arguments in [
        &["check"][..],
        &["sync", "--to", "2026-01-06"],
        &["status"],
        &["stats", "--from", "2026-01-01", "--to", "2026-01-06"],
        &["sql", "SELECT transaction_id, amount FROM transactions"],
        &["rebuild"],
    ] {
        let mut all = vec!["--format", "json", "-v"];
        all.extend(arguments);
        let ran = project.run(&all).await;
        assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
        let value: serde_json::Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{arguments:?}: {e}"));
        assert!(value.is_object() || value.is_array(), "{arguments:?}");
        assert!(
            !ran.stderr.contains("\"transaction_id\"") && !ran.stderr.contains("\"data\""),
            "{}",
            ran.stderr
        );
        assert!(
            !ran.stderr.contains('\u{1b}'),
            "colours are for terminals: {:?}",
            ran.stderr
        );
    }
    let csv = project
        .run(&[
            "--format",
            "csv",
            "sql",
            "SELECT transaction_id, amount FROM transactions",
        ])
        .await;
    assert_eq!(csv.stdout.lines().next(), Some("transaction_id,amount"));
    assert_eq!(csv.stdout.lines().count(), sandbox.truth().len() + 1);
    assert_eq!(csv.stderr, "");
    let table = project.run(&["status"]).await;
    assert!(
        table.stdout.contains("hecone") && table.stdout.contains("2026-01-06T00:00:00Z"),
        "{}",
        table.stdout
    );
    let eject = project.run(&["eject", "hecone"]).await;
    assert_eq!((eject.code, eject.stdout.as_str()), (Some(0), ""));
    let again = project.run(&["eject", "hecone"]).await;
    assert!(
        again.stderr.contains("kept"),
        "a file that is there stays: {}",
        again.stderr
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn help_teaches_and_completions_complete() {
    for subcommand in [
        "init",
        "eject",
        "check",
        "sync",
        "rebuild",
        "status",
        "stats",
        "report",
        "sql",
        "serve",
        "user",
        "worker",
        "sandbox",
        "demo",
        "completions",
    ] {
        let help = run_to_end(command([subcommand, "--help"])).await;
        assert_eq!(help.code, Some(0), "{subcommand}");
        let example = format!("tillhouse {subcommand}");
        let (_, examples) = help
            .stdout
            .split_once("Example")
            .unwrap_or_else(|| panic!("{subcommand} has no example"));
        assert!(examples.contains(&example), "{subcommand}: {examples}");
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = run_to_end(command(["completions", shell])).await;
        assert_eq!(
            (script.code, script.stderr.as_str()),
            (Some(0), ""),
            "{shell}"
        );
        assert!(script.stdout.contains("--timezone"), "{shell}");
    }
}

/// Every file below a folder, with its bytes.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => drop(found.insert(path.clone(), std::fs::read(path).unwrap())),
            }
        }
    }
    found
}

/// A warehouse that the last version of format 1 wrote, with all four sources in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_of_an_older_format_is_refused_and_left_alone() {
    let (sandbox, project) = small().await;
    let archive = source_files::root().join("tests/fixtures/warehouses/format-1.tar.gz");
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(project.path())
        .arg("./warehouse")
        .status()
        .expect("tar is there");
    assert!(unpacked.success());
    let before = contents(&project.warehouse());
    assert!(before.len() > 100, "{} files", before.len());
    for arguments in [
        ["sync"].as_slice(),
        &["status"],
        &["rebuild"],
        &["sql", "SELECT count(*) FROM transactions"],
        &["stats", "--from", "2026-01-01", "--to", "2026-02-01"],
    ] {
        let ran = project.run(arguments).await;
        assert_refused(
            &ran,
            2,
            &["has format 1", "works with 2", "`tillhouse upgrade`"],
        );
    }
    assert_eq!(contents(&project.warehouse()), before);
    sandbox.stop().await;
}
