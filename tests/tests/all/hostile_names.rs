//! Names that providers choose, printed by every command: harmless for a terminal, a browser and a spreadsheet.
//!
//! Invariant: no control character but line ends, and nothing that turns text around, leaves the binary in tables, JSON, pages, errors and logs,
//! whatever stands in a record. CSV for a program has the bytes as they are.

use crate::project::TestProject;
use serde_json::Value;
use tillhouse_sandbox::{Sandbox, SandboxOptions};

const NAMES: [&str; 12] = [
    "\u{1b}[2J\u{1b}[Hcleared",
    "\u{1b}]0;title\u{7}titled",
    "\u{1b}]52;c;ZXZpbA==\u{7}",
    "\u{9b}31mred",
    "back\rover",
    "\u{8}\u{8}\u{8}erased",
    "\u{202e}exe.turned",
    "\u{2066}iso\u{2069}lated",
    "line\nforged \u{2502} row",
    "tab\tcell",
    "\u{7f}deleted\u{0}",
    "=HYPERLINK(\"http://x\",\"y\")",
];

fn is_harmless(text: &str) -> bool {
    !text.chars().any(|c| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

/// A project that has read sales of sites, articles and payments with such names.
async fn synced() -> (Sandbox, TestProject) {
    let sandbox = Sandbox::start(SandboxOptions {
        transactions: 120,
        ..SandboxOptions::default()
    })
    .await
    .unwrap();
    let records: Vec<Value> = sandbox
        .truth()
        .iter()
        .map(|body| serde_json::from_slice(body).unwrap())
        .collect();
    let is_usual = |r: &&Value| {
        r["state"] == "completed" && r["invoice"]["created_at"].is_string() && r["site"].is_object()
    };
    let mut sold = records.iter().filter(is_usual);
    for (nth, name) in NAMES.iter().enumerate() {
        let mut sale = sold.next().expect("a completed sale").clone();
        sale["site"]["name"] = (*name).into();
        sale["site"]["id"] = format!("hostile-{nth}").into();
        sale["site_id"] = format!("hostile-{nth}").into();
        for article in sale["articles"].as_array_mut().unwrap() {
            article["name"] = (*name).into();
            article["product_id"] = Value::Null;
        }
        for payment in sale["payments"].as_array_mut().unwrap() {
            payment["medium"] = (*name).into();
        }
        sandbox.put(&sale.to_string()).unwrap();
    }
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.set("slice", "90d");
    let ran = project.run(&["-v", "sync"]).await;
    assert!(
        ran.code == Some(0) && is_harmless(&ran.stderr),
        "{}",
        ran.stderr
    );
    (sandbox, project)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_terminal_would_obey_is_printed() {
    let (sandbox, project) = synced().await;
    let window = ["--from", "2026-01-01", "--to", "2026-02-01"];
    let all = "SELECT name, site_key, length(name) AS n FROM sites WHERE site_key LIKE 'hecone:hostile-%' ORDER BY site_key";
    let bad = format!("SELECT '{}' FROM nowhere", NAMES[0]);
    let mut commands: Vec<Vec<&str>> = vec![
        vec!["sql", all],
        vec!["--format", "json", "sql", all],
        vec!["sql", &bad],
        vec!["status"],
        vec![
            "stats",
            "--from",
            "2026-01-01",
            "--to",
            "2026-02-01",
            "--tenant",
            NAMES[3],
        ],
        vec![
            "report",
            "products",
            "--from",
            "2026-01-01",
            "--to",
            "2026-02-01",
            "--sites",
            NAMES[6],
        ],
    ];
    for report in [
        "revenue-summary",
        "best-selling-products",
        "products",
        "payment-types",
        "shift-payments",
    ] {
        commands.push([&["report", report][..], &window].concat());
        commands.push([&["--format", "json", "report", report][..], &window].concat());
    }
    for format in ["table", "json", "html"] {
        commands.push([&["--format", format, "stats"][..], &window].concat());
    }
    // Their sales are not what the provider's statistics say: every name is in a difference.
    commands.push([&["reconcile", "--states", "pending"][..], &window].concat());
    commands.push(
        [
            &["--format", "json", "reconcile", "--states", "pending"][..],
            &window,
        ]
        .concat(),
    );
    let mut seen = String::new();
    for command in &commands {
        let ran = project.run(command).await;
        assert!(is_harmless(&ran.stdout), "{command:?}: {:?}", ran.stdout);
        assert!(is_harmless(&ran.stderr), "{command:?}: {:?}", ran.stderr);
        seen.push_str(&ran.stdout);
    }
    for shown in [
        "\\u{1b}[2J",
        "\\u{9b}31mred",
        "back\\rover",
        "\\u{202e}exe",
        "line\\nforged",
        "\\u009b31mred",
        "\\u202eexe",
    ] {
        assert!(seen.contains(shown), "{shown} is not to be seen");
    }
    // JSON and CSV for programs hold the names themselves.
    let names: Vec<Value> = project.sql(all).await;
    assert!(names.iter().any(|row| row["name"] == NAMES[3]), "{names:?}");
    let csv = project.run(&["--format", "csv", "sql", all]).await.stdout;
    assert!(
        csv.contains(NAMES[0]) && csv.contains("\"=HYPERLINK("),
        "{csv:?}"
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_that_is_asked_to_be_safe_holds_no_formula() {
    let (sandbox, project) = synced().await;
    let window = ["--from", "2026-01-01", "--to", "2026-02-01"];
    let typed = "SELECT '=1' AS a, '+1' AS b, '-1' AS c, '@x' AS d, chr(9) || 'x' AS e, -1 AS f, CAST(-1.5 AS DECIMAL(9,2)) AS g, 'x=1' AS h, chr(160) || '=1' AS i, chr(65291) || '1' AS j";
    let ran = project
        .run(&["--csv-safe", "--format", "csv", "sql", typed])
        .await;
    assert_eq!(
        ran.stdout,
        "a,b,c,d,e,f,g,h,i,j\n'=1,'+1,'-1,'@x,'\tx,-1,-1.50,x=1,'\u{a0}=1,'\u{ff0b}1\n"
    );
    for command in [
        &["stats"][..],
        &["report", "payment-types"],
        &["reconcile", "--states", "pending"],
    ] {
        let ran = project
            .run(&[&["--csv-safe", "--format", "csv"], command, &window].concat())
            .await;
        let cells = ran
            .stdout
            .lines()
            .flat_map(|line| line.split(','))
            .map(|cell| cell.trim_start_matches('"'));
        let formulas: Vec<&str> = cells
            .filter(|cell| {
                cell.starts_with(['=', '+', '@', '\t'])
                    || (cell.starts_with('-') && cell.parse::<f64>().is_err())
            })
            .collect();
        assert!(formulas.is_empty(), "{command:?}: {formulas:?}");
    }
    let help = project.run(&["stats", "--help"]).await.stdout;
    assert!(
        help.contains("--csv-safe") && help.contains("= + - @"),
        "{help}"
    );
    sandbox.stop().await;
}
