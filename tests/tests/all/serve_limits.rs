//! Refusals of `tillhouse serve`, its limits, and its end.
//!
//! Invariant: whatever is asked wrong, the answer is a problem document of the right status, and nothing of the inside is in it.

use crate::project::TestProject;
use crate::serve::synced;
use crate::served::{COUNTED, ENDLESS, NOTHING_PASSES, RunningServer, set};
use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A query that takes some seconds.
const SLOW: &str = "SELECT count(*) FILTER (WHERE a.amount + b.amount > c.amount) AS n \
     FROM transactions a CROSS JOIN transactions b CROSS JOIN transactions c";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_wrong_is_refused_with_what_to_do() {
    let (sandbox, project) = synced(60).await;
    let server = RunningServer::start(&project, "  body: 2KiB\n  rows: 1000").await;
    let window = "from=2026-01-01&to=2026-01-06";
    for (path, status, words) in [
        (
            format!("/api/v1/statistics?{window}&tenat=x"),
            400,
            "Did you mean tenant?",
        ),
        (
            "/api/v1/statistics?from=2026-01-01".to_owned(),
            400,
            "to is missing",
        ),
        (
            format!("/api/v1/statistics?{window}&from=2026-01-02"),
            400,
            "given twice",
        ),
        (
            "/api/v1/statistics?from=soon&to=2026-01-06".to_owned(),
            400,
            "soon",
        ),
        (
            "/api/v1/statistics?from=2026-01-06&to=2026-01-01".to_owned(),
            400,
            "empty",
        ),
        (
            "/api/v1/statistics?from=2999-01-01&to=2999-01-06".to_owned(),
            400,
            "future",
        ),
        (
            format!("/api/v1/statistics?{window}&tenant=nobody"),
            400,
            "there is no tenant",
        ),
        (
            format!("/api/v1/statistics?{window}&states=sold"),
            400,
            "sold",
        ),
        (
            format!("/api/v1/statistics?{window}&timezone=Mars"),
            400,
            "Mars",
        ),
        (
            format!("/api/v1/statistics?{window}&filter=%7B"),
            400,
            "no JSON",
        ),
        (
            format!(
                "/api/v1/statistics?{window}&filter=%7B%22field%22%3A%22mood%22%2C%22operator%22%3A%22eq%22%2C%22value%22%3A1%7D"
            ),
            400,
            "mood",
        ),
        (
            format!("/api/v1/statistics?{window}&as_of=no-such-run"),
            400,
            "no published run",
        ),
        (
            format!("/api/v1/statistics?{window}&as_of=no-such-run"),
            400,
            "GET /api/v1/runs lists the runs",
        ),
        (
            "/api/v1/transactions?from=2026-01-06&to=2026-01-01".to_owned(),
            400,
            "a from that is earlier than to",
        ),
        // A value that this question has no use for.
        (
            "/api/v1/transactions?timezone=Mars/X".to_owned(),
            400,
            "Mars/X",
        ),
        ("/api/v1/reports/nothing".to_owned(), 400, "nothing"),
        ("/api/v1/reports/products".to_owned(), 400, "needs a period"),
        (
            "/api/v1/tables/countde".to_owned(),
            404,
            "Did you mean counted?",
        ),
        ("/api/v1/transactions?cursor=7b".to_owned(), 400, "cursor"),
        ("/api/v1/transactions?sort=mood".to_owned(), 400, "mood"),
        ("/api/v1/transactions?limit=0".to_owned(), 400, "limit"),
        ("/api/v1/runs?limit=many".to_owned(), 400, "limit"),
        ("/api/v2/statistics".to_owned(), 404, "nothing at this path"),
        (
            "/%2e%2e/%2e%2e/etc/passwd".to_owned(),
            404,
            "nothing at this path",
        ),
        ("/docs/no-such-file".to_owned(), 404, "not found"),
    ] {
        let answer = server.get(&path).await;
        let problem = answer.problem(status);
        assert!(problem.to_string().contains(words), "{path}: {problem}");
        let text = problem.to_string();
        assert!(!speaks_of_commands(&text), "{path}: {text}");
        let folder = project.path().display().to_string();
        assert!(!text.contains(&folder), "{path}: {text}");
    }
    let post = server.method(Method::POST, "/api/v1/statistics").await;
    post.problem(405);
    assert_eq!(post.header("allow"), Some("GET, HEAD"));
    let delete = server.method(Method::DELETE, "/api/v1/sql").await;
    delete.problem(405);
    let document = server.method(Method::PUT, "/openapi.json").await;
    document.problem(405);
    assert_eq!(delete.header("allow"), Some("POST"));
    let picture = server
        .get_as(&format!("/api/v1/statistics?{window}"), "image/png")
        .await;
    assert!(picture.problem(406)["accepted"].is_array());
    let foreign = server
        .client
        .get(format!("{}/api/v1/tables", server.url))
        .header("host", "example.com");
    RunningServer::read(foreign.send().await.unwrap())
        .await
        .problem(421);
    wrong_queries(&server).await;
    sandbox.stop().await;
}

/// True for words of the command line, which nobody has who asks over HTTP.
fn speaks_of_commands(text: &str) -> bool {
    ["--", "tillhouse sql", "at the prompt"]
        .iter()
        .any(|words| text.contains(words))
}

async fn wrong_queries(server: &RunningServer) {
    let json_type = "application/json";
    for (body, status, words) in [
        (
            json!({"query": "SELECT amout FROM transactions"}),
            400,
            "amout",
        ),
        (json!({"query": "DROP TABLE transactions"}), 400, ""),
        (json!({"query": "SELECT 1; SELECT 2"}), 400, "more than one"),
        (json!({"query": ""}), 400, ""),
        (json!({"query": "SELECT :a"}), 400, "no value"),
        (json!({"query": "SELECT 1 / 0"}), 400, ""),
        (json!({"querry": "SELECT 1"}), 400, "query is missing"),
        (
            json!({"query": format!("SELECT 1 -- {}", "x".repeat(3000))}),
            413,
            "2048",
        ),
        (
            json!({"query": "SELECT a.amount FROM transactions a CROSS JOIN transactions b"}),
            400,
            "1000 rows",
        ),
    ] {
        let problem = server.sql(&body, json_type).await.problem(status);
        assert!(problem.to_string().contains(words), "{body}: {problem}");
        assert!(!speaks_of_commands(&problem.to_string()), "{problem}");
    }
    let ask = async |media: &str, body: &str| {
        let request = server.client.post(format!("{}/api/v1/sql", server.url));
        let request = request.header("content-type", media).body(body.to_owned());
        RunningServer::read(request.send().await.unwrap()).await
    };
    ask("text/plain", "SELECT 1").await.problem(415);
    let broken = ask(json_type, "{\"query\": \"KA-XY 1").await.problem(400);
    assert!(!broken.to_string().contains("KA-XY"), "{broken}");
    let address = server.url.trim_start_matches("http://");
    // A body that does not come.
    let head = format!(
        "POST /api/v1/sql HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    );
    let text = exchanged(address, head.as_bytes()).await;
    assert!(text.starts_with("HTTP/1.1 408"), "{text}");
    // One host is meant, whatever it is; HTTP/1.0 need not say which.
    let asked = |version: &str, hosts: &str| format!("GET /healthz HTTP/{version}\r\n{hosts}\r\n");
    let host = format!("Host: {address}\r\n");
    for (head, status) in [
        (asked("1.1", &host), 200),
        (asked("1.0", ""), 200),
        (asked("1.1", ""), 400),
        (asked("1.1", &host.repeat(2)), 400),
        (asked("1.1", &format!("{host}host: example.com\r\n")), 400),
        (asked("1.0", &host.repeat(2)), 400),
    ] {
        let text = exchanged(address, head.as_bytes()).await;
        let code = text.split(' ').nth(1);
        assert_eq!(code, Some(status.to_string().as_str()), "{head}: {text}");
    }
    // No HTTP at all.
    let text = exchanged(address, b"SELECT 1;\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 400"), "{text}");
    assert!(!text.contains("SELECT"), "{text}");
}

/// The first bytes that the server answers to some.
async fn exchanged(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut answer)).await;
    let length = read.expect("it is not waited for without end").unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_makes_room_and_who_comes_too_late_is_sent_away() {
    let (sandbox, project) = synced(600).await;
    let settings = "  concurrency: 1\n  queue: 1\n  timeout: 600s\n  audit: audit.jsonl";
    let server = RunningServer::start(&project, settings).await;
    let endless = || {
        server
            .client
            .post(format!("{}/api/v1/sql", server.url))
            .json(&json!({ "query": ENDLESS }))
            .send()
    };
    let ask = |server: &RunningServer| {
        let request = server.client.post(format!("{}/api/v1/sql", server.url));
        tokio::spawn(request.json(&json!({ "query": ENDLESS })).send())
    };
    let first = ask(&server);
    server.until_metric("tillhouse_slots_taken", 1).await;
    let second = ask(&server);
    server.until_metric("tillhouse_queue_length", 1).await;
    let refused = RunningServer::read(endless().await.unwrap()).await;
    refused.problem(503);
    assert_eq!(refused.header("retry-after"), Some("2"));
    // Health does not wait in the queue.
    assert_eq!(server.get("/healthz").await.status, 200);
    second.abort();
    server.until_metric("tillhouse_queue_length", 0).await;
    // Long before its time is over.
    first.abort();
    server.until_metric("tillhouse_slots_taken", 0).await;
    let free = server
        .get("/api/v1/statistics?from=2026-01-01&to=2026-01-06")
        .await;
    assert_eq!(free.status, 200);
    // A line is written when its answer has ended, which the client may know a little earlier: once all requests are counted, all lines are written.
    let statistics = "tillhouse_http_requests_total{endpoint=\"statistics\",status=\"200\"}";
    server.until_metric(statistics, 1).await;
    let log = std::fs::read_to_string(project.path().join("audit.jsonl")).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |endpoint: &str, status: u16| {
        let mut lines = lines.iter();
        lines.any(|line| line["endpoint"] == endpoint && line["status"] == status)
    };
    assert!(
        of("sql", 503) && of("sql", 499) && of("statistics", 200),
        "{log}"
    );
    let counted = lines
        .iter()
        .find(|line| line["endpoint"] == "statistics")
        .unwrap();
    assert!(
        counted["run"].is_string() && counted["rows"] != 0,
        "{counted}"
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_many_ask_for_at_once_is_made_once() {
    let (sandbox, project) = synced(300).await;
    let server = RunningServer::start(&project, "  concurrency: 1").await;
    let before = server.metric("tillhouse_answers_made_total").await;
    let ask = || server.get("/api/v1/statistics?from=2026-01-01&to=2026-01-06");
    let answers = join_all((0..16).map(|_| ask())).await;
    let tag = answers[0].header("etag");
    assert!(tag.is_some());
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(
            (answer.header("etag"), &answer.bytes),
            (tag, &answers[0].bytes)
        );
    }
    let after = server.metric("tillhouse_answers_made_total").await;
    assert_eq!(after - before, 1);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_takes_too_long_is_refused() {
    let (sandbox, project) = synced(600).await;
    let server = RunningServer::start(&project, "  timeout: 2s").await;
    for query in [ENDLESS, COUNTED, NOTHING_PASSES] {
        let body = json!({ "query": query });
        let problem = server.sql(&body, "application/json").await.problem(504);
        assert!(problem["detail"].as_str().unwrap().contains("2 s"));
        // The query ends with its time, and not by itself.
        server.until_metric("tillhouse_slots_taken", 0).await;
    }
    sandbox.stop().await;
}

/// Rows that come for days.
const FLOOD: &str =
    "SELECT a.value, b.value AS other FROM range(0, 1000000) a CROSS JOIN range(0, 1000000) b";

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_being_sent_ends_with_its_time_and_is_no_whole_one() {
    let (sandbox, project) = synced(60).await;
    let settings = "  timeout: 6s\n  rows: 1000000000000";
    let server = RunningServer::start(&project, settings).await;
    for media in [
        "text/csv",
        "application/json",
        "application/vnd.apache.arrow.stream",
    ] {
        let request = server.client.post(format!("{}/api/v1/sql", server.url));
        let request = request.header("accept", media);
        let sent = request.json(&json!({ "query": FLOOD })).send().await;
        let mut answer = sent.expect("it begins");
        assert_eq!(answer.status(), 200, "{media}");
        let end = loop {
            match answer.chunk().await {
                Ok(Some(_)) => {}
                end => break end,
            }
        };
        assert!(end.is_err(), "{media}: nobody takes a part for the whole");
        server.until_metric("tillhouse_slots_taken", 0).await;
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_stop_it_answers_what_runs_and_ends_well() {
    let (sandbox, project) = synced(400).await;
    let mut server = RunningServer::start(&project, "").await;
    let request = server.client.post(format!("{}/api/v1/sql", server.url));
    let running = tokio::spawn(request.json(&json!({ "query": SLOW })).send());
    server.until_metric("tillhouse_slots_taken", 1).await;
    server.terminate().await;
    let answer = running.await.unwrap().expect("what ran is answered");
    let answer = RunningServer::read(answer).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json().as_array().unwrap().len(), 1);
    let ended = server.ended().await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let refused = server.client.get(format!("{}/healthz", server.url)).send();
    assert!(refused.await.is_err(), "nobody listens any more");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_listens_on_loopback_alone_and_says_so_beforehand() {
    let project = TestProject::bare().await;
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        for more in [&["--check"][..], &[]] {
            let mut arguments = vec!["serve", "--listen", address];
            arguments.extend(more);
            let ran = project.run(&arguments).await;
            assert_eq!(ran.code, Some(2), "{address}: {}", ran.stderr);
            assert!(ran.stderr.contains("users and TLS"), "{}", ran.stderr);
        }
    }
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let login = "hecone_login: { client_id: till, client_secret: hush-hush }";
    set(
        &project,
        &format!("  listen: {address}\n  {login}\n  audit: a.jsonl"),
    );
    let ran = project.run(&["serve", "--check", "--format", "json"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(told["url"], format!("http://{address}"));
    assert_eq!(told["hecone_login"], "till");
    assert!(told["run"].is_null());
    assert!(!ran.stdout.contains("hush-hush") && !ran.stderr.contains("hush-hush"));
    let ran = project.run(&["serve", "--check"]).await;
    assert!(ran.stdout.contains("nobody from another"), "{}", ran.stdout);
    // A port that somebody else has.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for more in [&["--check"][..], &[]] {
        let arguments = [&["serve", "--listen", address.as_str()][..], more].concat();
        let ran = project.run(&arguments).await;
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(&address), "{}", ran.stderr);
    }
    // What would not start is told beforehand, in the same words.
    for (settings, word) in [
        ("  audit: no/such/folder/audit.jsonl", "serve.audit"),
        ("  audit: .", "audit"),
        ("  concurrency: 1000000", "serve.concurrency"),
        ("  timeout: 90000h", "serve.timeout"),
        ("  body: 100GiB", "serve.body"),
        (
            "  oidc: { issuer: http://id.example.com, audience: till }",
            "serve.oidc.issuer",
        ),
        (
            "  tls: { certificate: none.pem, key: none.pem }",
            "none.pem",
        ),
    ] {
        set(&project, settings);
        for arguments in [&["--check"][..], &["--listen", "127.0.0.1:0"]] {
            let mut all = vec!["serve"];
            all.extend(arguments);
            let ran = project.run(&all).await;
            assert_eq!(ran.code, Some(2), "{settings}: {}", ran.stderr);
            assert!(ran.stderr.contains(word), "{settings}: {}", ran.stderr);
        }
    }
}

/// True if what this process starts hears SIGHUP: it was not started with that ignored, as by `nohup`.
fn hears_hang_ups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 == 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_stands_in_the_warehouse_once_the_server_has_stopped() {
    let (_sandbox, project) = synced(60).await;
    let count = "SELECT count(*) FROM ops.audit";
    assert_eq!(project.count(count).await, 0);
    let mut server = RunningServer::start(&project, "").await;
    let query = json!({"query": "SELECT 'KA-XY 1' AS plate, 7 AS n"});
    let answered = server.sql(&query, "application/json").await;
    assert_eq!(answered.status.as_u16(), 200, "{}", answered.text());
    let refused = server.get("/api/v1/nothing").await;
    refused.problem(404);
    server.terminate().await;
    assert!(server.ended().await.success());
    let rows = project
        .sql("SELECT request_id, who, method, endpoint, asked, run_id, status, rows, is_whole FROM ops.audit ORDER BY asked_at")
        .await;
    assert_eq!(rows.len(), 2, "{rows:?}");
    let (sql, unknown) = (&rows[0], &rows[1]);
    assert_eq!(sql["endpoint"], "sql");
    assert_eq!(sql["method"], "POST");
    assert_eq!(sql["run_id"].as_str(), answered.header("tillhouse-run"));
    assert_eq!(
        (&sql["status"], &sql["rows"]),
        (&json!("#200"), &json!("#1"))
    );
    assert_eq!(sql["is_whole"], true);
    let asked = sql["asked"].as_str().unwrap();
    assert!(!asked.contains("KA-XY") && asked.contains('7'), "{asked}");
    assert_eq!(
        unknown["request_id"].as_str(),
        refused.header("x-request-id")
    );
    assert_eq!(
        (&unknown["endpoint"], &unknown["status"]),
        (&json!("none"), &json!("#404"))
    );
    assert!(unknown["who"].is_null() && unknown["run_id"].is_null());
    // A server that goes on adds to it, also where its terminal is closed, and its shell hangs up once more.
    let mut server = RunningServer::start(&project, "").await;
    server.get("/api/v1/nothing").await.problem(404);
    if hears_hang_ups() {
        server.signal("-HUP").await;
        server.signal("-HUP").await;
    } else {
        server.terminate().await;
    }
    let ended = server.ended().await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!(project.count(count).await, 3);
}
