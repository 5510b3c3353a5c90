//! The prompt and other commands, in a terminal of their own: files, the editor, Ctrl-C, colours and widths.
//!
//! Invariant: one Ctrl-C stops what runs and the prompt stays; an editor and a file that fail cost nothing. A terminal gets nothing that it says not to know.

use crate::program::binary;
use crate::project::TestProject;
use crate::python;
use serde_json::{Value, json};
use std::io::Read;
use tillhouse_sandbox::Sandbox;

/// A query that runs until it is stopped.
const ENDLESS: &str = "SELECT sum(value % 7) FROM generate_series(1, 1000000000000)";

async fn small() -> (Sandbox, TestProject) {
    TestProject::synced(50, "2026-01-06").await
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

/// Screen of a prompt that is opened, driven by these steps, and left by Ctrl-D; it must end well.
async fn drive(project: &TestProject, editor: &str, steps: Vec<Value>) -> String {
    drive_with(project, editor, "no-such-pager", steps).await
}

/// The same with a pager. The prompt is opened in the project's folder.
async fn drive_with(project: &TestProject, editor: &str, pager: &str, steps: Vec<Value>) -> String {
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
            &format!("PAGER={pager}"),
            "sh",
            "-c",
            "cd \"$HOME\" && exec \"$0\" sql",
            binary.to_str().unwrap(),
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

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_list_tables_columns_and_functions_and_set_how_results_look() {
    let (sandbox, project) = small().await;
    let mut steps = Vec::new();
    for (line, answer) in [
        ("help", "run the queries of a file"),
        ("\\dt sit*", "┆ sites"),
        ("\\dt+ sites", "One site"),
        ("\\dt no_such_table", "no table fits no_such_table"),
        ("\\d sites", "┆ varchar"),
        ("\\d+ sites", "The site's current name"),
        ("\\df local_date", "local_date(instant, zone)"),
        ("\\df *set_min*", "utc_offset_minutes"),
        ("\\df no_such_function", "no function fits no_such_function"),
        ("\\x", "each row is shown as a record"),
        ("SELECT 7 AS seven;", "─[ 1 ]"),
        ("\\x off", "results are shown as tables"),
        ("SELECT 8 AS eight;", "╞"),
        ("\\x sideways", "is on, off or auto, not sideways"),
        ("\\x auto", "wider than the terminal"),
        ("\\timing", "timing is on"),
        ("SELECT 9 AS nine;", "1 row"),
        ("\\timing off", "timing is off"),
        ("SELECT 10 AS ten;", "1 row"),
        ("\\o ~/sites.txt", "names no format"),
        ("\\o ~/sites.xlsx", "the next result goes into"),
        (
            "\\o ~/warehouse/sites.csv",
            "would be written into the warehouse",
        ),
        ("\\o ~/sites.csv", "the next result goes into"),
        ("SELECT site_key, name FROM sites;", "the result is in"),
        ("SELECT 11 AS eleven;", "1 row"),
        ("\\no", "error: "),
    ] {
        steps.extend(asks(line, answer));
    }
    let shown = drive(&project, "true", steps).await;
    let is_time = |line: &&str| {
        let seconds = line.trim().strip_suffix(" s");
        seconds.is_some_and(|seconds| seconds.parse::<f64>().is_ok())
    };
    assert_eq!(shown.lines().filter(is_time).count(), 1, "{shown}");
    let written = std::fs::read_to_string(project.path().join("sites.csv")).unwrap();
    assert!(written.starts_with("site_key,name\nhecone:"), "{written}");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_results_go_through_the_pager() {
    let (sandbox, project) = small().await;
    let mut steps = Vec::new();
    let rows = |n: u8| format!("SELECT value FROM generate_series(1, {n});");
    steps.extend(asks(&rows(30), "paged:30 rows"));
    steps.extend(asks("SELECT 40 + 2 AS short;", "1 row"));
    steps.extend(asks("\\pager off", "the pager is off"));
    steps.extend(asks(&rows(31), "31 rows"));
    steps.extend(asks("\\pager", "the pager is on"));
    steps.extend(asks(&rows(32), "paged:32 rows"));
    let shown = drive_with(&project, "true", "sed s/^/paged:/", steps).await;
    for whole in ["paged:31 rows", "paged:1 row"] {
        assert!(!shown.contains(whole), "{shown}");
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tab_completes_tables_columns_functions_and_commands() {
    let (sandbox, project) = small().await;
    let mut steps = Vec::new();
    // A single choice is taken at once.
    for (begun, completed, rest, answer) in [
        (
            "SELECT count(*) AS n FROM counted_a",
            "counted_articles",
            ";\r",
            "1 row",
        ),
        (
            "SELECT utc_offset_m",
            "utc_offset_minutes(",
            "TIMESTAMPTZ '2026-01-02 03:04:05Z', 'UTC');\r",
            "1 row",
        ),
        ("\\tim", "\\timing", "\r", "timing is on"),
    ] {
        steps.extend([types(&format!("{begun}\t")), expects(completed)]);
        steps.extend([types(rest), expects(answer), expects("tillhouse>")]);
    }
    // Columns of a table that is named behind the cursor.
    let behind = " FROM counted";
    steps.extend([types(&format!("SELECT site_c{behind}")), expects(behind)]);
    steps.push(types(&"\u{1b}[D".repeat(behind.len())));
    steps.push(types("\t"));
    for column in ["site_code", "site_city", "site_country_code"] {
        steps.push(expects(column));
    }
    steps.extend([types("\u{3}"), expects("tillhouse>")]);
    drive(&project, "true", steps).await;
    sandbox.stop().await;
}

/// A line of the transcript, and what it brings.
struct Exchange {
    typed: String,
    answer: Vec<&'static str>,
}

/// The transcript of docs/prompt.md, block by block.
fn transcript() -> Vec<Vec<Exchange>> {
    const PAGE: &str = include_str!("../../../docs/prompt.md");
    const COLUMNS: usize = 80;
    let (mut blocks, mut is_open) = (Vec::<Vec<Exchange>>::new(), false);
    for line in PAGE.lines() {
        let Some(line) = line.strip_prefix("    ") else {
            is_open &= line.is_empty();
            continue;
        };
        if let Some(typed) = line.strip_prefix("tillhouse>") {
            if !is_open {
                blocks.push(Vec::new());
            }
            is_open = true;
            // The page leaves out a blank at the end of a line that the terminal has filled.
            let padding = if line.ends_with(';') || typed.starts_with(" \\") {
                0
            } else {
                COLUMNS.saturating_sub(line.chars().count())
            };
            let typed = typed.trim_start().to_owned() + &" ".repeat(padding);
            let answer = Vec::new();
            blocks.last_mut().unwrap().push(Exchange { typed, answer });
            continue;
        }
        let open = blocks.last_mut().filter(|_| is_open);
        let Some(exchange) = open.and_then(|block| block.last_mut()) else {
            continue;
        };
        let is_whole = exchange.typed.ends_with(';') || exchange.typed.starts_with('\\');
        match line.strip_prefix("::: ") {
            Some(more) => exchange.typed.extend(["\n", more]),
            None if is_whole => exchange.answer.push(line),
            None => {
                let padding = COLUMNS.saturating_sub(line.chars().count());
                exchange.typed.push_str(line);
                if !line.ends_with(';') {
                    exchange.typed.push_str(&" ".repeat(padding));
                }
            }
        }
    }
    blocks
}

/// Part of an answer that is the same over every warehouse: errors, notices, and the names of columns.
fn stable(answer: &[&'static str]) -> Vec<&'static str> {
    const NOTICES: [&str; 4] = [
        "the next result",
        "the result is",
        "timing is",
        "each row is",
    ];
    let mut found = Vec::new();
    let mut above = "";
    for line in answer.iter().copied() {
        let is_notice = NOTICES.iter().any(|notice| line.starts_with(notice));
        if line.starts_with('┌') {
            found.push("┌");
        } else if above.starts_with('┌') {
            found.extend(line.trim_matches('│').split('┆').map(str::trim));
        } else if line.starts_with("─[ ") {
            found.push("─[ ");
        } else if is_notice || line.starts_with("error: ") || line.starts_with("  ") {
            found.push(line.trim());
        } else if let Some((name, _)) = line.split_once(" │ ") {
            found.extend((!name.starts_with('│')).then(|| name.trim()));
        }
        above = line;
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_transcript_of_the_page_is_what_a_prompt_shows() {
    let (sandbox, project) = small().await;
    let week = "SELECT source, count(*) AS sales FROM counted\nGROUP BY 1 ORDER BY 1;\nSELECT source, sum(revenue) FROM counted GROUP BY 1;\nSELECT 'never' AS a;\n";
    std::fs::write(project.path().join("week.sql"), week).unwrap();
    let blocks = transcript();
    let mut tried = 0;
    for block in &blocks {
        let mut steps = vec![json!(["columns", "80"])];
        let mut is_edited = false;
        for Exchange { typed, answer } in block.iter().filter(|one| !one.typed.trim().is_empty()) {
            tried += 1;
            if is_edited {
                // It stands at the prompt already.
                std::fs::write(project.path().join("edited.sql"), typed).unwrap();
                steps.push(expects(typed.lines().next().unwrap()));
                steps.push(types("\r"));
            } else {
                steps.push(types(&format!("{typed}\r")));
            }
            is_edited = typed == "\\e";
            if is_edited {
                continue;
            }
            match answer.first().and_then(|line| line.strip_prefix("^C")) {
                Some(stopped) => {
                    steps.extend([json!(["busy", ""]), types("\u{3}"), expects(stopped)]);
                }
                None => {
                    let said = stable(answer);
                    assert!(!said.is_empty(), "{typed}: {answer:?}");
                    steps.extend(said.into_iter().map(expects));
                }
            }
            steps.push(expects("tillhouse>"));
        }
        drive(&project, "cp ~/edited.sql", steps).await;
    }
    assert!(blocks.len() >= 6 && tried >= 14, "{} {tried}", blocks.len());
    let mut file = [0; 4];
    let opened = std::fs::File::open(project.path().join("sites.parquet"));
    opened.unwrap().read_exact(&mut file).unwrap();
    assert_eq!(&file, b"PAR1");
    sandbox.stop().await;
}

/// Screen of a command in a terminal of this kind and width, and the colours and movements with it; it must end well.
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
