//! `tillhouse serve` from end to end: each endpoint says what its command prints, in every format, of one run.
//!
//! Invariant: where a command prints the same, the answer is compared with it to the byte.

use crate::project::{CLIENT_SECRET, TestProject};
use crate::python;
use crate::served::RunningServer;
use arrow::ipc::reader::StreamReader;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::Output;
use std::time::Duration;
use tillhouse_sandbox::{Sandbox, SandboxOptions};
use tokio::process::Command;

/// Media types of rows.
const CSV: &str = "text/csv";
const ARROW: &str = "application/vnd.apache.arrow.stream";
const PARQUET: &str = "application/vnd.apache.parquet";
const WORKBOOK: &str = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet";

/// A synced project.
pub(crate) async fn synced(transactions: u64) -> (Sandbox, TestProject) {
    TestProject::synced_at_once(transactions).await
}

/// Words of a command.
fn words<'a>(parts: &[&[&'a str]]) -> Vec<&'a str> {
    parts.concat()
}

/// Output of a command.
async fn printed(project: &TestProject, arguments: &[&str]) -> String {
    let ran = project.run(arguments).await;
    assert_eq!(ran.code, Some(0), "{arguments:?}: {}", ran.stderr);
    ran.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn each_endpoint_says_what_its_command_prints() {
    let (sandbox, project) = synced(900).await;
    let server = RunningServer::start(&project, "").await;
    let window = ["--from", "2026-01-01", "--to", "2026-01-06"];
    let filter = r#"{"field":"amount","operator":"gte","value":20}"#;
    let encoded =
        "%7B%22field%22%3A%22amount%22%2C%22operator%22%3A%22gte%22%2C%22value%22%3A20%7D";
    let asked = format!("/api/v1/statistics?from=2026-01-01&to=2026-01-06&filter={encoded}");
    let zoned = "/api/v1/statistics?from=2026-01-01&to=2026-01-06&timezone=Europe/Berlin&hours=of_day&states=completed&compare=calendar";
    let cases: Vec<(String, Vec<&str>)> = vec![
        (
            "/api/v1/statistics?from=2026-01-01&to=2026-01-06".to_owned(),
            words(&[&["stats"], &window]),
        ),
        (
            asked,
            words(&[&["stats"], &window, &["--filter", filter]]),
        ),
        (
            zoned.to_owned(),
            words(&[
                &["stats"],
                &window,
                &["--timezone", "Europe/Berlin", "--hours", "of_day"],
                &["--states", "completed", "--compare", "calendar"],
            ]),
        ),
        (
            "/api/v1/reports/revenue-summary?from=2026-01-01&to=2026-01-06".to_owned(),
            words(&[&["report", "revenue-summary"], &window]),
        ),
        (
            "/api/v1/reports/summary?reference=2026-01-05".to_owned(),
            vec!["report", "summary", "--reference", "2026-01-05"],
        ),
        (
            "/api/v1/reports/products?from=2026-01-01&to=2026-01-06&perspective=purchase".to_owned(),
            words(&[&["report", "products", "--perspective", "purchase"], &window]),
        ),
        (
            "/api/v1/reports/payment-types?period1=2026-01-03..2026-01-06&period2=2026-01-01..2026-01-03".to_owned(),
            vec![
                "report",
                "payment-types",
                "--period1",
                "2026-01-03..2026-01-06",
                "--period2",
                "2026-01-01..2026-01-03",
            ],
        ),
        ("/api/v1/tables".to_owned(), vec!["describe"]),
        ("/api/v1/tables/counted".to_owned(), vec!["describe", "counted"]),
        (
            "/api/v1/tables/hecone.transactions".to_owned(),
            vec!["describe", "hecone.transactions"],
        ),
        ("/api/v1/coverage".to_owned(), vec!["status"]),
    ];
    for (path, command) in &cases {
        for (format, accept) in [("json", "application/json"), ("csv", CSV)] {
            let answer = server.get_as(path, accept).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            let mut arguments = vec!["--format", format];
            arguments.extend(command);
            let expected = printed(&project, &arguments).await;
            assert_eq!(answer.text(), expected, "{path} as {format}");
            let again = server.get_as(path, accept).await;
            assert_eq!(
                again.bytes, answer.bytes,
                "{path} is the same when it is kept"
            );
        }
    }
    // Figures in columns are the lines of the CSV.
    for path in [
        "/api/v1/statistics?from=2026-01-01&to=2026-01-06",
        "/api/v1/reports/revenue-summary?from=2026-01-01&to=2026-01-06",
        "/api/v1/tables",
        "/api/v1/freshness",
    ] {
        let csv = server.get_as(path, CSV).await;
        let header: Vec<&str> = csv.text().lines().next().unwrap().split(',').collect();
        let arrow = server.get_as(path, ARROW).await;
        let reader = StreamReader::try_new(arrow.bytes.as_slice(), None).unwrap();
        let schema = reader.schema();
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        assert_eq!(names, header, "{path}");
        let rows: usize = reader.map(|batch| batch.unwrap().num_rows()).sum();
        let parquet = Bytes::from(server.get_as(path, PARQUET).await.bytes);
        let read = ParquetRecordBatchReaderBuilder::try_new(parquet).unwrap();
        assert_eq!(
            read.metadata().file_metadata().num_rows(),
            i64::try_from(rows).unwrap()
        );
        assert!(rows > 0, "{path}");
    }
    let run = project
        .sql("SELECT run_id FROM ops.runs WHERE published ORDER BY finished_at DESC LIMIT 1")
        .await;
    let run = run[0]["run_id"].as_str().unwrap().to_owned();
    let fresh = server.get("/api/v1/freshness").await.json();
    assert_eq!(fresh[0]["run"], run.as_str());
    assert_eq!(fresh[1]["pipeline"], "hecone");
    let runs = server.get("/api/v1/runs").await.json();
    assert_eq!(runs[0]["run_id"], run.as_str());
    for path in ["/api/v1/rejects", "/api/v1/drift?pipeline=hecone&limit=3"] {
        assert!(server.get(path).await.json().is_array(), "{path}");
    }
    let of_run = server
        .get(&format!(
            "/api/v1/statistics?from=2026-01-01&to=2026-01-06&as_of={run}"
        ))
        .await;
    let latest = server
        .get("/api/v1/statistics?from=2026-01-01&to=2026-01-06")
        .await;
    assert_eq!(of_run.bytes, latest.bytes);
    assert_eq!(latest.header("tillhouse-run"), Some(run.as_str()));
    // A tag is where the document says that there may be one.
    let document = server.get("/openapi.json").await.json();
    for (path, has_tag) in [("/api/v1/tables", true), ("/api/v1/runs", false)] {
        let responses = &document["paths"][path]["get"]["responses"];
        assert_eq!(responses["304"].is_object(), has_tag, "{path}");
        let answer = server.get(path).await;
        assert_eq!(answer.header("etag").is_some(), has_tag, "{path}");
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_answered_in_every_format() {
    let (sandbox, project) = synced(600).await;
    let server = RunningServer::start(&project, "").await;
    let query = "SELECT transaction_key, occurred_at, amount, currency FROM transactions WHERE amount > :least ORDER BY 1";
    let body = json!({"query": query, "parameters": {"least": 10}});
    for (format, accept) in [("json", "application/json"), ("csv", CSV)] {
        let answer = server.sql(&body, accept).await;
        let expected = printed(
            &project,
            &["--format", format, "sql", query, "--param", "least=10"],
        )
        .await;
        assert_eq!(answer.text(), expected, "{format}");
    }
    let expected = project
        .count("SELECT count(*) FROM transactions WHERE amount > 10")
        .await;
    assert!(expected > 10, "{expected}");
    let arrow = server.sql(&body, ARROW).await;
    assert_eq!(arrow.header("content-type"), Some(ARROW));
    let rows: usize = StreamReader::try_new(arrow.bytes.as_slice(), None)
        .unwrap()
        .map(|batch| batch.unwrap().num_rows())
        .sum();
    assert_eq!(i64::try_from(rows).unwrap(), expected);
    let parquet = server.sql(&body, PARQUET).await;
    let read = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(parquet.bytes)).unwrap();
    assert_eq!(read.schema().field(2).name(), "amount");
    assert_eq!(
        read.schema().field(2).data_type(),
        &arrow::datatypes::DataType::Decimal128(18, 4)
    );
    let rows: usize = read
        .build()
        .unwrap()
        .map(|batch| batch.unwrap().num_rows())
        .sum();
    assert_eq!(i64::try_from(rows).unwrap(), expected);
    // What a sheet has no room for is told, and what has.
    let long = json!({"query": "SELECT repeat('x', 32768) AS long"});
    let refused = server.sql(&long, WORKBOOK).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    for said in ["32,767 characters", "CSV or Parquet"] {
        assert!(refused.text().contains(said), "{}", refused.text());
    }
    // A number in JSON is one with every digit, wherever it stands, and a text a text.
    let echo = r#"{"query": "SELECT :a AS a, :b AS b, :c AS c, :d AS d",
        "parameters": {"a": 0.1, "b": 12345678901234567890.123456789, "c": "0.1", "d": true}}"#;
    let asked = async |body: &'static str| {
        let request = server.client.post(format!("{}/api/v1/sql", server.url));
        let request = request
            .header("content-type", "application/json")
            .body(body);
        RunningServer::read(request.send().await.unwrap()).await
    };
    let echoed = asked(echo).await;
    assert_eq!(echoed.status.as_u16(), 200, "{}", echoed.text());
    for digits in ["0.1", "12345678901234567890.123456789", "\"0.1\"", "true"] {
        assert!(
            echoed
                .text()
                .replace(": ", ":")
                .contains(&format!(":{digits}")),
            "{}",
            echoed.text()
        );
    }
    let twice = r#"{"query": "SELECT :a", "parameters": {"a": 1, "a": 2}}"#;
    asked(twice).await.problem(400);
    // An answer that is larger than what is gathered comes in chunks, and is whole.
    let large = json!({"query": "SELECT a.* FROM transactions a CROSS JOIN (SELECT 1 FROM transactions LIMIT 40) b"});
    let answer = server.sql(&large, "application/json").await;
    assert!(answer.bytes.len() > 5 << 20, "{}", answer.bytes.len());
    let all = project.count("SELECT count(*) FROM transactions").await;
    let rows = answer.json().as_array().unwrap().len();
    assert_eq!(i64::try_from(rows).unwrap(), 40 * all);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_transaction_once_and_read_one_run() {
    let (sandbox, project) = synced(400).await;
    let server = RunningServer::start(&project, "").await;
    let first = server.get("/api/v1/transactions?limit=100").await;
    let expected = project
        .sql("SELECT * FROM transactions ORDER BY occurred_at DESC NULLS LAST, transaction_key DESC LIMIT 100")
        .await;
    let first_rows = crate::exact_json::json(first.text(), "transactions");
    let without_lineage: Vec<Value> = expected
        .into_iter()
        .map(|row| {
            let Value::Object(mut row) = row else {
                panic!("a row is an object")
            };
            row.retain(|name, _| !name.starts_with('_'));
            Value::Object(row)
        })
        .collect();
    assert_eq!(first_rows, Value::Array(without_lineage));

    let (mut found, mut pages) = (Vec::new(), 0);
    let mut path = "/api/v1/transactions?limit=90&sort=amount".to_owned();
    let mut runs = BTreeSet::new();
    loop {
        let page = server.get(&path).await;
        assert_eq!(page.status, 200, "{}", page.text());
        runs.insert(page.header("tillhouse-run").unwrap().to_owned());
        for row in page.json().as_array().unwrap() {
            found.push(row["transaction_key"].as_str().unwrap().to_owned());
        }
        pages += 1;
        if pages == 1 {
            // What is published meanwhile is not on the pages that follow.
            project.sync(&["--to", "2026-01-09"]).await;
            let first = page.header("tillhouse-run").unwrap();
            server.until_run_after(first).await;
        }
        let Some(next) = page.header("link") else {
            break;
        };
        path = next
            .trim_start_matches('<')
            .split('>')
            .next()
            .unwrap()
            .to_owned();
    }
    assert_eq!(runs.len(), 1);
    let run = runs.pop_first().unwrap();
    let newest = server.get("/api/v1/transactions?limit=1").await;
    assert_ne!(newest.header("tillhouse-run"), Some(run.as_str()));
    let earlier = server
        .get(&format!("/api/v1/transactions?limit=1&as_of={run}"))
        .await;
    assert_eq!(earlier.header("tillhouse-run"), Some(run.as_str()));
    let all = project
        .run(&[
            "sql",
            "--as-of",
            &run,
            "--format",
            "csv",
            "SELECT count(*) FROM transactions",
        ])
        .await;
    assert_eq!(
        all.stdout.lines().nth(1),
        Some(found.len().to_string().as_str())
    );
    let once: BTreeSet<&String> = found.iter().collect();
    assert_eq!(once.len(), found.len());
    // A cursor that somebody has changed is none.
    assert_eq!(server.get(&path).await.status, 200);
    let last = path.pop().unwrap();
    for changed in ["", if last == '0' { "1" } else { "0" }, "00"] {
        let answer = server.get(&format!("{path}{changed}")).await;
        let problem = answer.problem(400);
        assert!(problem.to_string().contains("cursor"), "{problem}");
    }
    assert!(pages > 3, "{pages}");

    let filtered = server
        .ask(
            "/api/v1/transactions",
            &[
                (
                    "filter",
                    r#"{"field":"state","operator":"eq","value":"completed"}"#,
                ),
                ("from", "2026-01-02"),
                ("to", "2026-01-03"),
                ("limit", "10000"),
            ],
        )
        .await;
    let expected = project
        .count(
            "SELECT count(*) FROM transactions WHERE state = 'completed' AND occurred_at >= '2026-01-02T00:00:00Z' AND occurred_at < '2026-01-03T00:00:00Z'",
        )
        .await;
    let rows = filtered.json().as_array().unwrap().len();
    assert_eq!(i64::try_from(rows).unwrap(), expected);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_has_is_not_sent_again_and_the_rest_is_compressed() {
    let (sandbox, project) = synced(300).await;
    let server = RunningServer::start(&project, "").await;
    let path = "/api/v1/statistics?from=2026-01-01&to=2026-01-06";
    let answer = server.get(path).await;
    let tag = answer.header("etag").unwrap().to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    let csv = server.get_as(path, CSV).await;
    assert_ne!(csv.header("etag"), Some(tag.as_str()));
    let same = server
        .get("/api/v1/statistics?to=2026-01-06&from=2026-01-01")
        .await;
    assert_eq!(
        same.header("etag"),
        Some(tag.as_str()),
        "whatever the order"
    );
    let with = async |name: &str, value: &str| {
        let request = server.client.get(format!("{}{path}", server.url));
        RunningServer::read(request.header(name, value).send().await.unwrap()).await
    };
    let known = with("if-none-match", &tag).await;
    assert_eq!((known.status.as_u16(), known.bytes.len()), (304, 0));
    assert_eq!(known.header("etag"), Some(tag.as_str()));
    assert_eq!(with("if-none-match", "\"other\"").await.status, 200);
    assert!(server.metric("tillhouse_answers_given_again_total").await > 0);
    let any = with("if-none-match", "*").await;
    assert_eq!((any.status.as_u16(), any.bytes.len()), (304, 0));
    assert_eq!(any.header("etag"), Some(tag.as_str()));
    assert_eq!(server.metric("tillhouse_not_modified_total").await, 2);
    // Where there is no answer, nobody has it.
    let nobody = server
        .client
        .get(format!("{}{path}&tenant=nobody", server.url));
    let nobody = nobody.header("if-none-match", "*").send().await.unwrap();
    RunningServer::read(nobody).await.problem(400);

    let gzip = with("accept-encoding", "gzip").await;
    assert_eq!(gzip.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(gzip.bytes.as_slice())
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, answer.text());
    let zstd = with("accept-encoding", "zstd").await;
    assert_eq!(zstd.header("content-encoding"), Some("zstd"));
    assert!(zstd.bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    let head = server.method(Method::HEAD, path).await;
    assert_eq!((head.status.as_u16(), head.bytes.len()), (200, 0));
    // A new run makes a new tag.
    project.sync(&["--to", "2026-01-08"]).await;
    let run = answer.header("tillhouse-run").unwrap();
    server.until_run_after(run).await;
    assert_eq!(with("if-none-match", &tag).await.status, 200);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_run_is_seen_when_it_is_published() {
    let options = SandboxOptions {
        transactions: 100,
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let project = TestProject::new(&sandbox.hecone_url()).await;
    let server = RunningServer::start(&project, "").await;
    assert_eq!(server.get("/healthz").await.status, 200);
    assert_eq!(server.get("/readyz").await.status, 503);
    let nothing = server
        .get("/api/v1/statistics?from=2026-01-01&to=2026-01-06")
        .await;
    assert!(nothing.header("retry-after").is_some());
    let problem = nothing.problem(503);
    assert!(problem["detail"].as_str().unwrap().contains("published"));
    project.sync(&["--to", "2026-01-06"]).await;
    server.until_metric("tillhouse_ready", 1).await;
    let ready = server.get("/readyz").await;
    assert_eq!(ready.json()["status"], "ready");
    let answer = server
        .get("/api/v1/statistics?from=2026-01-01&to=2026-01-06")
        .await;
    assert_eq!(answer.json()["meta"]["run"], ready.json()["run"]);
    sandbox.stop().await;
}

/// Checks of the fuzzer: no fault of ours, and nothing that the document does not say.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,unsupported_method,allow_header_conformance";
/// Endpoints that have to answer it, and not to refuse everything that it asks.
const ANSWERING: [&str; 12] = [
    "hecone_statistics",
    "statistics",
    "report",
    "transactions",
    "runs",
    "rejects",
    "drift",
    "coverage",
    "freshness",
    "tables",
    "table",
    "sql",
];
/// Time after which the fuzzer hangs; by itself it takes some ten seconds.
const FUZZED_WITHIN: Duration = Duration::from_secs(300);

/// The document, with examples that this project has: names that nobody knows would be refused before anything is read.
async fn document_of(server: &RunningServer, project: &TestProject) -> Value {
    let mut document = server.get("/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    let busiest = "SELECT tenant_id FROM counted GROUP BY 1 ORDER BY count(*) DESC LIMIT 1";
    let tenant = project.sql(busiest).await[0]["tenant_id"].clone();
    let run = server.get("/readyz").await.json()["run"].clone();
    let paths = document["paths"].as_object_mut().unwrap().values_mut();
    let operations = paths.flat_map(|path| path.as_object_mut().unwrap().values_mut());
    for operation in operations {
        let parameters = operation
            .get_mut("parameters")
            .and_then(Value::as_array_mut);
        for parameter in parameters.into_iter().flatten() {
            let example = match parameter["name"].as_str() {
                Some("tenant" | "mandator_id") => tenant.clone(),
                Some("as_of") => run.clone(),
                Some("to") => json!("2026-01-06"),
                Some("end_date") => json!("2026-01-06T00:00:00Z"),
                _ => continue,
            };
            parameter["example"] = example;
        }
    }
    document
}

/// Runs the fuzzer over a document, always with the same questions. What it leaves behind stays in the folder.
async fn fuzz(folder: &Path, document: &Value, url: &str, token: &str) -> Output {
    std::fs::write(folder.join("openapi.json"), document.to_string()).unwrap();
    let header = format!("Authorization: Bearer {token}");
    let mut command = Command::new(python::interpreter().with_file_name("schemathesis"));
    command
        .current_dir(folder)
        .args(["run", "openapi.json", "--url", url, "--header"])
        .arg(header)
        .args(["--checks", CHECKS])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", "8", "--generation-deterministic"])
        .args(["--no-shrink", "--suppress-health-check", "all"])
        .args(["--warnings", "off", "--no-color"])
        .args(["--request-timeout", "60", "--continue-on-failure"])
        .kill_on_drop(true);
    tokio::time::timeout(FUZZED_WITHIN, command.output())
        .await
        .expect("the fuzzer ends")
        .expect("schemathesis is in the environment of the tests")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fuzzer_that_knows_the_document_finds_nothing() {
    let (sandbox, project) = synced(120).await;
    let settings = format!(
        "  hecone_login: {{ client_id: till, client_secret: {CLIENT_SECRET} }}\n  hecone_currency: EUR"
    );
    let server = RunningServer::start(&project, &settings).await;
    let page = server.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("swagger"), "{}", page.text());
    let login = json!({"client_id": "till", "client_secret": CLIENT_SECRET});
    let request = server.client.post(format!("{}/auth/login", server.url));
    let answer = RunningServer::read(request.json(&login).send().await.unwrap()).await;
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    let document = document_of(&server, &project).await;
    let folder = tempfile::tempdir().unwrap();
    let output = fuzz(folder.path(), &document, &server.url, &token).await;
    assert!(
        output.status.success(),
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let metrics = server.get("/metrics").await;
    for endpoint in ANSWERING {
        let answered =
            format!("tillhouse_http_requests_total{{endpoint=\"{endpoint}\",status=\"200\"}} ");
        let mut lines = metrics.text().lines();
        assert!(lines.any(|line| line.starts_with(&answered)), "{endpoint}");
    }
    sandbox.stop().await;
}
