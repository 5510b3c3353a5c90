//! Output of `check` for files that are wrong in several ways at once.
//!
//! Invariant: every problem is told, with file, line and column, and none that is only a consequence of another; the words are for people.

use crate::project::{CommandOutput, TestProject};
use std::fs;

const KEY: &str = "privacy_key: 0123456789abcdef0123456789abcdef\n";

/// Asserts that `check` reported each of `wanted`, and no other problem.
#[track_caller]
fn assert_told(ran: &CommandOutput, wanted: &[&str]) {
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    let told: Vec<&str> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    for one in wanted {
        assert!(
            told.iter().any(|line| line.contains(one)),
            "{one} is missing in: {}",
            ran.stderr
        );
    }
    assert_eq!(told.len(), wanted.len(), "{}", ran.stderr);
    for foreign in [
        "serde",
        "mapping",
        "scalar",
        "0 problems",
        "bug in Tillhouse",
        "Io(",
        "Os {",
    ] {
        assert!(!ran.stderr.contains(foreign), "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_mistake_hides_no_other() {
    let project = TestProject::bare().await;
    let at = |name: &str| project.path().join(name);
    fs::write(
        at("tillhouse.yaml"),
        "warehouse:\n  url: ''\n  ulr: x\nmemory_limit: 12\nprivacy_key: ${NO_KEY}\nfoo: 1\n",
    )
    .unwrap();
    fs::write(
        project.pipeline(),
        "source: hecone\nconnection:\n  base_url: ftp://x\n  client_id: ''\n  client_secret: ${NO_SECRET}\n  paths: { login: login, lgin: /x }\n\
         sync: { start: tomorrow, slice: 1 day, page_size: 0, lookback: \"${NO_DAYS}\" }\nresources: [transactions, sales]\n",
    )
    .unwrap();
    fs::write(
        at("pipelines/hecone/labels.yaml"),
        "meduim:\n  card: Card\nmedium:\n  card: \"${CARD}\"\n  cash: [1]\n",
    )
    .unwrap();
    fs::create_dir_all(at("pipelines/hecone/unify")).unwrap();
    fs::write(at("pipelines/hecone/unify/evnets.sql"), "SELECT 1").unwrap();
    fs::create_dir_all(at("pipelines/shop")).unwrap();
    fs::create_dir_all(at("pipelines/yml")).unwrap();
    fs::write(at("pipelines/yml/pipeline.yml"), "source: hecone").unwrap();
    fs::write(at(".env"), "A=1\nB: 2\nC='x\n").unwrap();
    let ran = project.run(&["check"]).await;
    assert_told(
        &ran,
        &[
            "a line of .env is not NAME=value (file ",
            "a value in .env begins with a quotation mark and does not end with it",
            "`warehouse.url` is empty",
            "unknown key `ulr` in `warehouse`; did you mean `url`? (file ",
            "`memory_limit` is \"12\", and must be 64MiB or more",
            "wants the environment variable NO_KEY",
            "unknown key `foo`",
            "`connection.base_url`",
            "connection.client_id is empty",
            "wants the environment variable NO_SECRET",
            "connection.paths.login",
            "unknown key `lgin`",
            "`sync.start` is \"tomorrow\"",
            "`sync.slice` is \"1 day\"",
            "`sync.page_size` must be between",
            "wants the environment variable NO_DAYS",
            "hecone has no resource \"sales\"",
            "unknown kind of label `meduim`",
            "`${CARD}` in `medium.card`",
            "`medium.cash`",
            "there is no unified table \"evnets\"",
            "the folder has no pipeline.yaml",
            "pipeline.yml is not read",
        ],
    );
    for place in [
        ".env:2",
        ".env:3",
        "tillhouse.yaml:2:8",
        "tillhouse.yaml:3:3",
        "tillhouse.yaml:4:15",
        "tillhouse.yaml:6:1",
        "pipeline.yaml:3:13",
        "labels.yaml:4:9",
    ] {
        assert!(ran.stderr.contains(place), "{place}: {}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_nothing_behind_it_is_no_default() {
    let project = TestProject::bare().await;
    fs::write(
        project.path().join("tillhouse.yaml"),
        "warehouse: { url: ./w }\nmemory_limit:\nprivacy_key: 0123456789abcdef0123456789abcdef\nretention:\n  runs:\n  daily: ~\nmaintenance: null\n",
    )
    .unwrap();
    fs::write(
        project.pipeline(),
        "source: hecone\nconnection: { base_url: http://127.0.0.1:1, client_id: a, client_secret: b }\n\
         sync:\n  start:\n  slice: ~\nresources:\n  transactions:\n    lookback:\n",
    )
    .unwrap();
    let assert_all_told = |ran: &CommandOutput, blank: &[(&str, &str)]| {
        for (key, place) in blank {
            let told = format!("`{key}` has nothing behind it");
            assert!(
                ran.stderr.contains(&told) && ran.stderr.contains(place),
                "{told}: {}",
                ran.stderr
            );
        }
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    };
    let ran = project.run(&["check"]).await;
    assert_all_told(
        &ran,
        &[
            ("memory_limit", "tillhouse.yaml:2:1"),
            ("retention.runs", "tillhouse.yaml:5:3"),
            ("retention.daily", "tillhouse.yaml:6:3"),
            ("maintenance", "tillhouse.yaml:7:1"),
        ],
    );
    // Pipelines are read once the project's file is right.
    fs::write(
        project.path().join("tillhouse.yaml"),
        "warehouse: { url: ./w }\nprivacy_key: 0123456789abcdef0123456789abcdef\n",
    )
    .unwrap();
    let ran = project.run(&["check"]).await;
    assert_all_told(
        &ran,
        &[
            ("sync.start", "pipeline.yaml:4:3"),
            ("sync.slice", "pipeline.yaml:5:3"),
            ("resources.transactions.lookback", "pipeline.yaml:8:5"),
        ],
    );
    // Sections that are empty are as if they were left out.
    fs::write(
        project.pipeline(),
        "source: hecone\nconnection: { base_url: http://127.0.0.1:1, client_id: a, client_secret: b }\nsync:\n",
    )
    .unwrap();
    let ran = project.run(&["sync"]).await;
    assert!(
        ran.stderr.contains("`sync.start` is missing"),
        "{}",
        ran.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_would_order_a_terminal_are_shown_as_escapes() {
    let project = TestProject::bare().await;
    for hostile in ["\u{202e}", "a\u{1b}]0;x\u{7}", "--\u{9b}31m", "\u{2066}x"] {
        for arguments in [
            &[hostile][..],
            &["sql", "--format", hostile, "SELECT 1"],
            &["sync", hostile, "--x"],
        ] {
            let ran = project.run(arguments).await;
            assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
            let is_harmless =
                |c: char| c == '\n' || !(c.is_control() || "\u{202e}\u{2066}".contains(c));
            assert!(
                ran.stderr.chars().all(is_harmless),
                "{arguments:?}: {:?}",
                ran.stderr
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_is_looked_at_though_the_connection_lacks_its_values() {
    let project = TestProject::bare().await;
    let folder = project.path().join("pipelines/hecone/unify");
    fs::create_dir_all(&folder).unwrap();
    for (name, sql) in [
        ("events", "SELEC 1"),
        ("articles", "SELECT 1 AS x FROM transactions"),
        ("payments", "SELECT nothing FROM transactions"),
        ("points", "SELECT 1 FROM sales"),
    ] {
        fs::write(folder.join(format!("{name}.sql")), sql).unwrap();
    }
    let ran = project.run(&["check"]).await;
    assert_told(
        &ran,
        &[
            "wants the environment variable HECONE_URL",
            "wants the environment variable HECONE_CLIENT_ID",
            "wants the environment variable HECONE_CLIENT_SECRET",
            "events.sql:1:1): the SQL cannot be read",
            "a unify statement reads \"sales\", which hecone does not have",
            "the result does not fit the contract of unified.articles",
            "a unify statement cannot be planned",
        ],
    );
    assert!(
        ran.stdout.contains("ok     warehouse ")
            && ran
                .stdout
                .contains("failed hecone: contracts and unify SQL"),
        "{}",
        ran.stdout
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_with_a_key_nobody_knows_is_looked_at_all_the_same() {
    let project = TestProject::new("http://127.0.0.1:1/hecone").await;
    assert_eq!(project.run(&["eject", "hecone"]).await.code, Some(0));
    let contract = project.path().join("schemas/hecone/transactions.yaml");
    let text = fs::read_to_string(&contract).unwrap();
    let text = text
        .replacen("kind: DataContract", "knid: x\nkind: DataContract", 1)
        .replacen("logicalType: string", "logicalType: strnig", 1);
    fs::write(&contract, text).unwrap();
    fs::write(project.path().join("schemas/unified/extra.yml"), "").unwrap();
    let ran = project.run(&["check"]).await;
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    for told in [
        "unknown key `knid`; did you mean `kind`?",
        "strnig",
        "a file is not read, for the end of its name",
    ] {
        assert!(ran.stderr.contains(told), "{told}: {}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_of_ours_is_told_in_plain_words() {
    let project = TestProject::bare().await;
    let file = project.path().join("tillhouse.yaml");
    let base = format!("warehouse: {{ url: ./warehouse }}\n{KEY}");
    for (bytes, says, place) in [
        (b"".to_vec(), "the file is empty", ":1:1"),
        (b"# nothing\n\n".to_vec(), "the file is empty", ":1:1"),
        (
            format!("{base}memory_limit: !!binary 512MiB\n").into_bytes(),
            "the value has a tag",
            ":3:",
        ),
        (
            format!("{base}memory_limit: !!binary gIGC\n").into_bytes(),
            "the value has a tag",
            ":3:",
        ),
        (
            format!("{base}memory_limit: !!int 512MiB\n").into_bytes(),
            "the value has a tag",
            ":3:",
        ),
        (
            format!("{base}memory_limit: !custom 512MiB\n").into_bytes(),
            "begins with `!`",
            ":3:",
        ),
        (
            format!("{base}memory_limit: !include x.yaml\n").into_bytes(),
            "begins with `!`",
            ":3:",
        ),
        (
            format!("{base}memory_limit: !e!x y\n").into_bytes(),
            "begins with `!`",
            ":3:",
        ),
        (
            format!("{base}memory_limit: *none\n").into_bytes(),
            "no `&` before it gives",
            ":3:15",
        ),
        (
            format!("{base}memory_limit: &\n").into_bytes(),
            "want a name",
            ":3:",
        ),
        (
            format!("{base}memory_limit: 64MiB # none\nmemory: #5\n").into_bytes(),
            "unknown key `memory`",
            ":4:1",
        ),
        (
            format!("{base}memory_limit: \"C:\\data\"\n").into_bytes(),
            "begins an escape",
            ":3:",
        ),
        (
            format!("{base}memory_limit: - 5\n").into_bytes(),
            "begins a list here",
            ":3:",
        ),
        (
            format!("{base} memory_limit: 5\n").into_bytes(),
            "indented deeper",
            ":3:",
        ),
        (
            format!("{base}memory_limit: 'x\na: b\n").into_bytes(),
            "never closed",
            ":3:15",
        ),
        (
            format!("{base}memory_limit: a\u{7}b\n").into_bytes(),
            "U+0007",
            ":3:16",
        ),
        (
            format!("{base}\u{a0}memory_limit: 64MiB\n").into_bytes(),
            "`\\u{a0}memory_limit`",
            ":3:1",
        ),
        (b"w\0a\0r\0e\0".to_vec(), "a NUL character", ":1:2"),
        (b"\xff\xfew\0".to_vec(), "UTF-16", ":1:1"),
        (
            format!("{base}# ")
                .into_bytes()
                .into_iter()
                .chain(*b"caf\xe9\n")
                .collect(),
            "something else than UTF-8",
            ":3:6",
        ),
        (
            b"- a\n".to_vec(),
            "expected keys and values, found a list",
            ":1:1",
        ),
    ] {
        fs::write(&file, &bytes).unwrap();
        let ran = project.run(&["sql", "SELECT 1"]).await;
        let shown = String::from_utf8_lossy(&bytes);
        assert_told(&ran, &[says]);
        assert!(
            ran.stderr.contains(&format!("tillhouse.yaml{place}")),
            "{shown}: {}",
            ran.stderr
        );
        assert!(
            ran.stderr.lines().count() == 2,
            "what to do follows: {shown}: {}",
            ran.stderr
        );
    }
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_told(
        &project.run(&["sql", "SELECT 1"]).await,
        &["a folder stands where a file is expected"],
    );
    fs::remove_dir(&file).unwrap();
    #[cfg(unix)]
    for (target, says) in [
        ("tillhouse.yaml", "a link that leads back to itself"),
        ("nowhere", "the file is not there"),
    ] {
        std::os::unix::fs::symlink(target, &file).unwrap();
        let ran = project.run(&["sql", "SELECT 1"]).await;
        assert_told(&ran, &[says]);
        fs::remove_file(&file).unwrap();
    }
    fs::write(project.path().join("tillhouse.yml"), &base).unwrap();
    assert_told(
        &project.run(&["sql", "SELECT 1"]).await,
        &["its file has another name"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_were_hardly_meant_are_remarked_on_and_never_shown() {
    let project = TestProject::new("http://127.0.0.1:1/hecone").await;
    project.set("client_id", "\"${THE_ID}\"");
    project.add_env("THE_ID='hunter2 '\n");
    let ran = project.run(&["check"]).await;
    assert!(
        ran.stderr
            .contains("the value of THE_ID, which the key `connection.client_id` reads, begins or ends with a blank"),
        "{}",
        ran.stderr
    );
    assert!(
        !ran.stderr.contains("hunter2") && !ran.stderr.contains("chmod"),
        "{}",
        ran.stderr
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(
            project.path().join(".env"),
            fs::Permissions::from_mode(0o644),
        )
        .unwrap();
        assert!(
            project
                .run(&["check"])
                .await
                .stderr
                .contains("other users of this machine may read")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_env_file_that_cannot_be_read_is_the_one_error_that_there_is() {
    let project = TestProject::bare().await;
    let env = project.path().join(".env");
    fs::remove_file(&env).unwrap();
    fs::create_dir(&env).unwrap();
    let ran = project.run(&["check"]).await;
    assert_told(&ran, &["a folder stands where a file is expected"]);
    fs::remove_dir(&env).unwrap();
    fs::write(&env, b"\xff\xfeA\0=\x001\0").unwrap();
    let ran = project.run(&["check"]).await;
    assert_told(&ran, &["the file is written in UTF-16"]);
    #[cfg(unix)]
    {
        fs::remove_file(&env).unwrap();
        std::os::unix::fs::symlink("nowhere", &env).unwrap();
        let ran = project.run(&["check"]).await;
        assert_told(&ran, &["the file is not there"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_whose_variable_is_not_set_is_not_said_to_be_empty_too() {
    let project = TestProject::bare().await;
    let pace = "source: pace\nconnection: { base_url: http://127.0.0.1:1, token_url: http://127.0.0.1:1, client_id: a, client_secret: b, \
                partners: LIST }\nsync: { start: 2026-01-01 }\n";
    let bemo = "source: bemo\nconnection: { base_url: http://127.0.0.1:1, access_token: a, subscription_key: b, accounts: LIST }\n\
                sync: { start: 2026-01-01 }\n";
    for text in [pace, bemo] {
        for list in ["\"${NO_NAMES}\"", "[\"${NO_NAMES}\"]"] {
            fs::write(project.pipeline(), text.replace("LIST", list)).unwrap();
            let ran = project.run(&["check"]).await;
            assert_told(
                &ran,
                &["wants the environment variable NO_NAMES, which is not set"],
            );
        }
        fs::write(project.pipeline(), text.replace("LIST", "{ a: 1 }")).unwrap();
        let ran = project.run(&["check"]).await;
        assert_told(&ran, &["a list of names"]);
        fs::write(project.pipeline(), text.replace("LIST", "[]")).unwrap();
        let ran = project.run(&["check"]).await;
        assert_told(&ran, &[" is empty"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_in_the_place_of_the_pipelines_is_told() {
    let project = TestProject::bare().await;
    let pipelines = project.path().join("pipelines");
    fs::remove_dir_all(&pipelines).unwrap();
    let ran = project.run(&["check"]).await;
    assert_told(&ran, &["has no pipelines"]);
    fs::write(&pipelines, "").unwrap();
    let ran = project.run(&["check"]).await;
    assert_told(&ran, &["a file stands where a folder is expected"]);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_may_not_be_read_is_not_said_to_be_absent() {
    use std::os::unix::fs::PermissionsExt;
    let project = TestProject::bare().await;
    let mode = |folder: &std::path::Path, mode: u32| {
        fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
    };
    for folder in ["pipelines/hecone", "pipelines", ""] {
        let folder = project.path().join(folder);
        mode(&folder, 0o000);
        // The superuser may read all.
        let is_denied = fs::read_dir(&folder).is_err();
        let ran = project.run(&["check"]).await;
        mode(&folder, 0o700);
        if !is_denied {
            return;
        }
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(
            ran.stderr
                .contains("may not be read by the user that runs this"),
            "{folder:?}: {}",
            ran.stderr
        );
        for wrong in [
            "has no pipelines",
            "is no Tillhouse project",
            "no pipeline.yaml",
        ] {
            assert!(!ran.stderr.contains(wrong), "{folder:?}: {}", ran.stderr);
        }
    }
}
