//! The prompt and other commands, in a terminal of their own: files, the editor, Ctrl-C, colours and widths.
//!
//! Invariant: one Ctrl-C stops what runs and the prompt stays; an editor and a file that fail cost nothing. A terminal gets nothing that it says not to know.

use crate::program::binary;
use crate::project::TestProject;
use crate::python;
use serde_json::{Value, json};
use tillhouse_sandbox::{Sandbox, SandboxOptions};

/// A query that runs until it is stopped.
const ENDLESS: &str = "SELECT sum(value % 7) FROM generate_series(1, 1000000000000)";

async fn small() -> (Sandbox, TestProject) {
    let sandbox = Sandbox::start(SandboxOptions {
        transactions: 50,
        ..SandboxOptions::default()
    })
    .await
    .unwrap();
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.sync(&["--to", "2026-01-06"]).await;
    (sandbox, project)
}

fn types(text: &str) -> Value {
    json!(["type", text])
}

fn expects(text: &str) -> Value {
    json!(["expect", text])
}

/// A line, what it brings, and the prompt behind it.
fn asks(line: &str, answer: &str) -> [Value; 3] {
    [
        types(&format!("{line}\r")),
        expects(answer),
        expects("tillhouse>"),
    ]
}

/// What a prompt shows that is opened, driven by these steps, and left by Ctrl-D; it must end well.
async fn drive(project: &TestProject, editor: &str, steps: Vec<Value>) -> String {
    let mut all = vec![expects("tillhouse>")];
    all.extend(steps);
    all.push(types("\u{4}"));
    let steps = Value::Array(all).to_string();
    let (binary, folder) = (binary(), project.path());
    let found = python::json(
        "terminal.py",
        [
            steps.as_str(),
            "env",
            "-i",
            "TERM=xterm",
            &format!("HOME={}", folder.display()),
            &format!("PATH={}", std::env::var("PATH").unwrap()),
            &format!("EDITOR={editor}"),
            "PAGER=no-such-pager",
            binary.to_str().unwrap(),
            "--project",
            folder.to_str().unwrap(),
            "sql",
        ],
    )
    .await;
    assert_eq!(found["code"], 0, "{}", found["shown"]);
    found["shown"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_and_the_editor_bring_queries() {
    let (sandbox, project) = small().await;
    let file = project.path().join("some queries.sql");
    let text = "SELECT 'first' AS a;\nSELECT 'second' AS a;\nSELECT revenue FROM counted;\nSELECT 'never' AS a;\n";
    std::fs::write(&file, text).unwrap();
    let mut steps = Vec::new();
    steps.extend(asks("SELECT 1 + 1 AS two;", "1 row"));
    // The last query, changed; Enter runs it.
    steps.extend([types("\\e\r"), expects("SELECT 1 + 1 AS three;")]);
    steps.extend(asks("", "1 row"));
    steps.extend(asks("\\i ~/some queries.sql", "line 3, column 8"));
    steps.extend([types("\\i '~/some queries.sql'\r"), expects("second")]);
    steps.extend([expects("line 3, column 8"), expects("tillhouse>")]);
    steps.extend(asks("\\i none.sql", "cannot read the queries"));
    // A pager that cannot be started costs no result.
    steps.extend(asks("SELECT value FROM generate_series(1, 30);", "30 rows"));
    steps.extend(asks("SELECT 40 + 2 AS alive;", "42"));
    let shown = drive(&project, "sed -i s/two/three/", steps).await;
    assert!(!shown.contains("never"), "{shown}");

    let mut steps = Vec::new();
    steps.extend(asks("\\e", "the editor failed"));
    steps.extend(asks("SELECT 40 + 2 AS alive;", "42"));
    drive(&project, "false", steps).await;
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_stops_a_query_or_drops_a_line_and_the_prompt_stays() {
    let (sandbox, project) = small().await;
    let file = project.path().join("long.sql");
    std::fs::write(&file, format!("{ENDLESS};\nSELECT 'never' AS a;\n")).unwrap();
    let stopped = |line: &str| {
        let typed = types(&format!("{line}\r"));
        let stops = [json!(["busy", ""]), types("\u{3}")];
        let said = [expects("the query was stopped"), expects("tillhouse>")];
        [vec![typed], stops.to_vec(), said.to_vec()].concat()
    };
    let mut steps = stopped(&format!("{ENDLESS};"));
    steps.extend(asks("SELECT 40 + 2 AS alive;", "42"));
    steps.extend(stopped("\\i ~/long.sql"));
    steps.extend([types("SELECT half"), expects("half"), types("\u{3}")]);
    steps.push(expects("tillhouse>"));
    steps.extend(asks("SELECT 50 - 7 AS still_alive;", "43"));
    let shown = drive(&project, "true", steps).await;
    assert!(!shown.contains("never"), "{shown}");
    sandbox.stop().await;
}

/// What a command shows in a terminal of this kind and width, and the colours and movements with it; it must end well.
async fn shown_in(project: &TestProject, term: &str, columns: u16, arguments: &[&str]) -> Value {
    let mut all = vec![
        json!([["columns", columns.to_string()]]).to_string(),
        "env".to_owned(),
        "-i".to_owned(),
        format!("TERM={term}"),
        format!("HOME={}", project.path().display()),
        format!("PATH={}", std::env::var("PATH").unwrap()),
        binary().display().to_string(),
        "--project".to_owned(),
        project.path().display().to_string(),
    ];
    all.extend(arguments.iter().map(|word| (*word).to_owned()));
    let found = python::json("terminal.py", all).await;
    assert_eq!(found["code"], 0, "{}", found["shown"]);
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dumb_terminal_gets_neither_colours_nor_movements() {
    let (sandbox, project) = small().await;
    let sync = |to| ["-v", "sync", "--to", to];
    let plain = shown_in(&project, "dumb", 100, &sync("2026-01-07")).await;
    assert_eq!(plain["sequences"], 0, "{}", plain["shown"]);
    assert!(plain["shown"].as_str().unwrap().contains("INFO"));
    let coloured = shown_in(&project, "xterm", 100, &sync("2026-01-08")).await;
    assert_ne!(coloured["sequences"], 0, "{}", coloured["shown"]);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_that_does_not_know_its_width_gets_whole_words() {
    let (sandbox, project) = small().await;
    let query = [
        "sql",
        "SELECT 'abcdefghijklmnopqrstuvwxyz' AS letters, 1 AS n",
    ];
    for columns in [0, 1, 100] {
        let found = shown_in(&project, "xterm", columns, &query).await;
        let shown = found["shown"].as_str().unwrap();
        assert!(
            shown.contains("abcdefghijklmnopqrstuvwxyz"),
            "{columns}: {shown}"
        );
    }
    sandbox.stop().await;
}
