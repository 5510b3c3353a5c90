//! Findings of analysts and managers: the newest versions, the books, earlier runs, statistics as
//! tables, reports, a page of charts.
//!
//! Invariant: what one way of asking answers, the others answer too.

use crate::exact_json;
use crate::project::TestProject;
use jiff::Timestamp;
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;
use tillhouse_sandbox::{Sandbox, SandboxOptions};
use tokio::io::{AsyncBufReadExt, BufReader};

const DAY: Duration = Duration::from_secs(86_400);
const WINDOW: [&str; 4] = ["--from", "2026-01-01", "--to", "2026-01-06"];

async fn small() -> (Sandbox, TestProject) {
    TestProject::synced(400, "2026-01-06").await
}

#[tokio::test(flavor = "multi_thread")]
async fn latest_shows_each_record_once_and_as_of_shows_what_was() {
    let clock = "2026-01-03T12:00:00Z".parse::<Timestamp>().unwrap();
    let options = SandboxOptions {
        transactions: 2000,
        clock,
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.sync(&["--to", "2026-02-01"]).await;
    let then = sandbox.truth().len() as i64;
    let run = project.sql("SELECT run_id FROM ops.runs").await[0]["run_id"]
        .as_str()
        .expect("a run")
        .to_owned();
    sandbox.advance(2 * DAY).unwrap();
    let report = project.sync(&["--to", "2026-02-01"]).await;
    assert!(exact_json::integer(&report["changed"]) > 0, "{report}");

    let latest = "SELECT count(*) FROM latest.hecone_transactions";
    let unique = "SELECT count(DISTINCT _record_key) FROM latest.hecone_transactions";
    let now = sandbox.truth().len() as i64;
    assert_eq!(
        (project.count(latest).await, project.count(unique).await),
        (now, now)
    );
    assert!(
        project
            .count("SELECT count(*) FROM hecone.transactions")
            .await
            > now,
        "all versions are in the source table"
    );
    let differing = "SELECT count(*) FROM latest.hecone_transactions l
                     LEFT JOIN transactions t ON t.transaction_id = l.id
                     WHERE t.state IS DISTINCT FROM l.state";
    assert_eq!(
        project.count(differing).await,
        0,
        "the newest version is the one that is unified"
    );

    let as_of = project.json(&["sql", "--as-of", &run, latest]).await;
    assert_eq!(
        exact_json::integer(as_of[0].as_object().unwrap().values().next().unwrap()),
        then
    );
    let unknown = project
        .run(&["sql", "--as-of", "20200101T000000Z-000000", latest])
        .await;
    assert_eq!(unknown.code, Some(1), "{}", unknown.stderr);
    assert!(unknown.stderr.contains("ops.runs"), "{}", unknown.stderr);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_are_there_before_anything_is_noted() {
    let (sandbox, project) = small().await;
    // The sandbox's sales that name no currency are warned about.
    let others = "warnings WHERE rule <> 'invoice_amount_fits'";
    for table in ["rejects", others, "drift"] {
        assert_eq!(
            project
                .count(&format!("SELECT count(*) FROM ops.{table}"))
                .await,
            0,
            "{table}"
        );
    }
    assert_eq!(project.count("SELECT count(*) FROM ops.runs").await, 1);
    let open = "SELECT pipeline, resource, field, reason, count(*) FROM ops.rejects WHERE resolved_at IS NULL GROUP BY ALL";
    assert!(project.sql(open).await.is_empty());
    let tables = project
        .sql("SELECT table_schema || '.' || table_name AS name FROM information_schema.tables")
        .await;
    for name in [
        "latest.hecone_transactions",
        "ops.rejects",
        "unified.sales",
        "hecone.transactions",
    ] {
        assert!(
            tables.iter().any(|row| row["name"] == name),
            "{name} is not listed: {tables:?}"
        );
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_asking_gives_the_same_figures() {
    let (sandbox, project) = small().await;
    let stats = project.json(&[&["stats"], &WINDOW[..]].concat()).await;
    let entries = stats["data"].as_array().expect("entries");
    assert!(entries.len() > 1, "the sandbox sells in several currencies");

    let sql = "SELECT c.currency, c.value AS transactions, a.value AS amount, a.growth
               FROM transactions_count('2026-01-01', '2026-01-06') AS c
               JOIN transactions_total_amount('2026-01-01', '2026-01-06') AS a ON a.currency = c.currency
               ORDER BY c.currency";
    let rows = project.sql(sql).await;
    let report = project
        .json(&[&["report", "revenue-summary"], &WINDOW[..]].concat())
        .await;
    for (entry, row) in entries.iter().zip(&rows) {
        assert_eq!(entry["currency"], row["currency"]);
        assert_eq!(entry["transactions_count"]["value"], row["transactions"]);
        assert_eq!(entry["transactions_total_amount"]["value"], row["amount"]);
        // The report's days are the sites' own, the statistics' window is in UTC: only together do they have the same sales.
        assert!(
            report["data"][entry["currency"].as_str().unwrap()].is_array(),
            "{report}"
        );
    }
    assert_eq!(entries.len(), rows.len());
    let by_hour = "SELECT CAST(sum(transactions) AS BIGINT) AS n FROM hourly_transactions('2026-01-01', '2026-01-06')";
    let counted: i64 = entries
        .iter()
        .map(|entry| exact_json::integer(&entry["transactions_count"]["value"]))
        .sum();
    assert_eq!(project.count(by_hour).await, counted);
    assert_eq!(stats["meta"]["run"], report["meta"]["run"]);

    let heat = project
        .json(&["report", "heat-map", "--reference", "2026-01-31"])
        .await;
    let in_heat: i64 = heat["data"]
        .as_array()
        .expect("cells")
        .iter()
        .map(|cell| exact_json::integer(&cell["count"]))
        .sum();
    let all = "SELECT count(*) FROM transactions WHERE business_date BETWEEN DATE '2025-11-01' AND DATE '2026-01-31'
               AND perspective = 'sale' AND kind IN ('sale', 'refund') AND state IN ('completed', 'consumed')";
    assert_eq!(in_heat, project.count(all).await);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nothing_has_is_an_error_with_a_guess_however_it_is_asked() {
    let (sandbox, project) = small().await;
    let site = project.sql("SELECT site_key, site_name, tenant_id FROM counted WHERE site_name <> 'unknown' LIMIT 1").await;
    let of = |column: &str| site[0][column].as_str().unwrap().to_owned();
    let (key, name, tenant) = (of("site_key"), of("site_name"), of("tenant_id"));
    // Two letters in the wrong order.
    let slip = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        let at = (1..letters.len())
            .rev()
            .find(|i| letters[*i] != letters[i - 1])
            .unwrap();
        letters.swap(at, at - 1);
        letters.into_iter().collect::<String>()
    };
    let filter = |field: &str, value: &str| {
        format!(r#"{{"field": "{field}", "operator": "eq", "value": "{value}"}}"#)
    };
    let call = |options: &str| {
        format!("SELECT * FROM transactions_count('2026-01-01', '2026-01-06', 'UTC', '{options}')")
    };
    for (field, right) in [
        ("tenant_id", &tenant),
        ("site_key", &key),
        ("site_name", &name),
    ] {
        for (value, code) in [(right.clone(), 0), (slip(right), 2)] {
            let filter = filter(field, &value);
            let stats = [&["stats"], &WINDOW[..], &["--filter", &filter]].concat();
            let sql = call(&format!(r#"{{"filter": {filter}}}"#));
            for arguments in [stats, vec!["sql", &sql]] {
                let ran = project.run(&arguments).await;
                assert_eq!(ran.code, Some(code), "{arguments:?}: {}", ran.stderr);
                let is_guessed =
                    ran.stderr.contains("Did you mean") && ran.stderr.contains(right.as_str());
                assert!(code == 0 || is_guessed, "{arguments:?}: {}", ran.stderr);
            }
        }
    }
    let typo = slip(&tenant);
    let sql = call(&format!(r#"{{"tenant": "{typo}"}}"#));
    for arguments in [
        [&["stats"], &WINDOW[..], &["--tenant", &typo]].concat(),
        vec![
            "report",
            "summary",
            "--reference",
            "2026-01-03",
            "--tenant",
            &typo,
        ],
        vec!["restated", "--since", "2030-01-01", "--tenant", &typo],
        vec!["sql", &sql],
    ] {
        let ran = project.run(&arguments).await;
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
        assert!(
            ran.stderr.contains(&format!("Did you mean \"{tenant}\"")),
            "{arguments:?}: {}",
            ran.stderr
        );
    }
    let named = project
        .run(&[
            "report",
            "heat-map",
            "--reference",
            "2026-01-31",
            "--sites",
            &name,
        ])
        .await;
    assert_eq!(named.code, Some(2), "{}", named.stderr);
    assert!(named.stderr.contains(&key), "{}", named.stderr);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_before_without_sales_is_told_and_hours_without_sales_are_gaps() {
    let (sandbox, project) = small().await;
    let ran = project.run(&[&["stats"], &WINDOW[..]].concat()).await;
    assert!(
        ran.stdout.contains(
            "no growth: nothing was sold from 2025-12-27T00:00:00Z to 2026-01-01T00:00:00Z"
        ),
        "{}",
        ran.stdout
    );
    let report = project.json(&[&["stats"], &WINDOW[..]].concat()).await;
    assert_eq!(
        exact_json::integer(&report["meta"]["compared_transactions"]),
        0
    );
    let later = [
        "stats",
        "--from",
        "2026-01-03",
        "--to",
        "2026-01-05",
        "--compare",
        "calendar",
    ];
    let report = project.json(&later).await;
    assert!(exact_json::integer(&report["meta"]["compared_transactions"]) > 0);
    assert!(!project.run(&later).await.stdout.contains("no growth"));
    // An hour of the day and one twelve hours later: eleven blanks between them.
    let hours = r#"{"logic": "or", "filters": [{"field": "local_hour", "operator": "eq", "value": 7},
        {"field": "local_hour", "operator": "eq", "value": 19}]}"#;
    let ran = project
        .run(
            &[
                &["stats"],
                &WINDOW[..],
                &["--hours", "of_day", "--filter", hours],
            ]
            .concat(),
        )
        .await;
    let line = ran
        .stdout
        .lines()
        .find(|line| line.starts_with("by hour"))
        .expect("hours");
    assert!(line.contains(&" ".repeat(11)), "{}", ran.stdout);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_take_requests_as_their_provider_writes_them() {
    let (sandbox, project) = small().await;
    let file = project.path().join("request.json");
    let request = r#"{"period1": {"referenceDate": "2026-01-05T11:40:43+01:00",
        "startDate": {"year": 0, "month": 1, "day": 1, "week": null, "hour": 0, "minute": 0, "second": 0},
        "endDate": {"year": 0, "month": 0, "day": 0, "week": null, "hour": 23, "minute": 59, "second": 59}},
        "period2": {"startDate": "2025-01-01 00:00:00", "endDate": "2025-01-05 23:59:59"}}"#;
    std::fs::write(&file, request).unwrap();
    let file = file.to_str().unwrap();
    let asked = project
        .json(&["report", "products", "--request", file])
        .await;
    let typed = project
        .json(&[
            "report",
            "products",
            "--period1",
            "2026-01-01..2026-01-06",
            "--period2",
            "2025-01-01..2025-01-06",
        ])
        .await;
    assert_eq!(asked["data"], typed["data"]);
    assert_eq!(asked["data"]["period1"]["startDate"], "2026-01-01 00:00:00");
    assert_eq!(asked["data"]["period1"]["endDate"], "2026-01-05 23:59:59");
    assert!(
        !asked["data"]["period1"]["data"]
            .as_array()
            .unwrap()
            .is_empty(),
        "{asked}"
    );
    assert_eq!(asked["data"]["period2"]["data"], Value::Array(vec![]));
    assert_eq!(asked["meta"]["periods"].as_array().map(Vec::len), Some(2));

    for arguments in [
        &[
            "revenue-summary",
            "--from",
            "2026-01-01",
            "--to",
            "2026-01-06",
        ][..],
        &[
            "best-selling-products",
            "--from",
            "2026-01-01",
            "--to",
            "2026-01-06",
            "--amount",
            "2",
        ],
        &["summary", "--reference", "2026-01-03"],
        &["heat-map", "--reference", "2026-01-31"],
        &["event-counts", "--from", "2026-01-01", "--to", "2026-01-06"],
        &[
            "products",
            "--period1",
            "2026-01-01..2026-01-03",
            "--period2",
            "2026-01-03..2026-01-05",
        ],
        &[
            "payment-types",
            "--from",
            "2026-01-01",
            "--to",
            "2026-01-06",
        ],
        &["events", "--request", file],
        &[
            "shift-payments",
            "--period1",
            "2026-01-01..2026-01-03",
            "--period2",
            "2026-01-03..2026-01-05",
        ],
        &[
            "shift-products",
            "--from",
            "2026-01-01",
            "--to",
            "2026-01-06",
        ],
    ] {
        for format in ["table", "csv"] {
            let ran = project
                .run(&[&["--format", format, "report"], arguments].concat())
                .await;
            assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
            assert!(
                ran.stdout.lines().count() > 1,
                "{arguments:?}: {}",
                ran.stdout
            );
        }
    }
    for (arguments, word) in [
        (
            &["summary", "--from", "2026-01-01", "--to", "2026-01-02"][..],
            "--reference",
        ),
        (&["products"], "--period1"),
        (
            &["revenue-summary", "--period1", "January"],
            "2026-01-01..2026-02-01",
        ),
        (&["best-sellers"], "best-selling-products"),
        (
            &[
                "products",
                "--period1",
                "2026-01-01..2026-01-03",
                "--device-groups",
                "99",
            ],
            "device_groups",
        ),
        (
            &[
                "products",
                "--period1",
                "2026-01-01..2026-01-03",
                "--site-groups",
                "99",
            ],
            "site_groups",
        ),
    ] {
        let ran = project.run(&[&["report"], arguments].concat()).await;
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(word), "{arguments:?}: {}", ran.stderr);
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_charts_is_written_as_a_whole() {
    let (sandbox, project) = small().await;
    let file = project.path().join("january.html");
    let name = file.to_str().unwrap();
    let arguments = [
        &["stats"],
        &WINDOW[..],
        &["--format", "html", "--output", name],
    ]
    .concat();
    let ran = project.run(&arguments).await;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), ""),
        "{}",
        ran.stderr
    );
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.trim_end().ends_with("</html>"));
    for part in [
        "Sales, 1 to 5 January 2026",
        "<svg",
        "Transactions by weekday and hour",
        "EUR",
    ] {
        assert!(page.contains(part), "{part} is not in the page");
    }
    let printed = project
        .run(&[&["stats"], &WINDOW[..], &["--format", "html"]].concat())
        .await;
    assert_eq!(printed.stdout, page);
    let nowhere = [
        &["stats"],
        &WINDOW[..],
        &["--output", "/nonexistent/folder/x.html"],
    ]
    .concat();
    let ran = project.run(&nowhere).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("/nonexistent/folder/x.html"),
        "{}",
        ran.stderr
    );
    let sql = project.run(&["--format", "html", "sql", "SELECT 1"]).await;
    assert_eq!(sql.code, Some(2), "{}", sql.stderr);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_takes_too_long_or_too_much_is_stopped() {
    let (sandbox, project) = small().await;
    // Thirty million pairs times thirty million: it would run for days.
    let endless = "SELECT count(*) FROM range(0, 30000000) AS a CROSS JOIN range(0, 30000000) AS b WHERE (a.value + b.value) % 7 = 3";
    let mut query = project.command(&["-vv", "sql", endless]);
    query.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = query.spawn().expect("the binary starts");
    let mut lines = BufReader::new(running.stderr.take().expect("a pipe")).lines();
    let mut said = String::new();
    while let Some(line) = lines.next_line().await.expect("text") {
        if line.contains("the query runs") {
            break;
        }
        said.push_str(&line);
    }
    let pid = running
        .id()
        .unwrap_or_else(|| panic!("it ended by itself: {said}"))
        .to_string();
    let interrupted = tokio::process::Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .await
        .expect("kill is there");
    assert!(interrupted.success());
    let ended = tokio::time::timeout(Duration::from_secs(60), running.wait())
        .await
        .expect("it stops")
        .expect("it ends");
    assert_eq!(ended.code(), Some(1));
    let last = lines.next_line().await.expect("text").unwrap_or_default();
    assert_eq!(last, "error: the query was stopped");

    // A hundred megabytes of sorting within 64: it spills and comes to its end.
    let sort = "SELECT max(n) AS n FROM (SELECT row_number() OVER (ORDER BY pad) AS n
                FROM (SELECT repeat(CAST(value AS VARCHAR), 10) AS pad FROM range(0, 1000000)))";
    let ran = project
        .json(&["sql", "--memory-limit", "64MiB", sort])
        .await;
    assert_eq!(exact_json::integer(&ran[0]["n"]), 1_000_000);
    let held = "SELECT array_agg(value) FROM range(0, 30000000)";
    let ran = project.run(&["sql", "--memory-limit", "64MiB", held]).await;
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("more memory than it may use"),
        "{}",
        ran.stderr
    );
    let ran = project
        .run(&["sql", "--memory-limit", "some", "SELECT 1"])
        .await;
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);

    // Results are printed as they come: who has read enough ends the query.
    let rows = project
        .run(&[
            "--format",
            "csv",
            "sql",
            "SELECT value FROM range(0, 300000)",
        ])
        .await;
    assert_eq!(rows.stdout.lines().count(), 300_001);
    let table = project
        .run(&["sql", "SELECT value FROM range(0, 30000)"])
        .await;
    assert!(
        table.stdout.contains("10000 rows") && table.stderr.contains("--format csv"),
        "{}",
        table.stderr
    );
    sandbox.stop().await;
}
