//! Users of `tillhouse serve`, from the command that adds them to what they are answered: their own tenant's rows, and nobody else's.
//!
//! Invariant: what a user is answered is what somebody who sees everything is answered of that tenant.

use crate::project::TestProject;
use crate::serve::synced;
use crate::served::{ReadAnswer, RunningServer, set};
use crate::source_files;
use futures::future::join_all;
use serde_json::{Value, json};

pub(crate) const PASSWORD: &str = "a password of the tests";

/// Adds a user; `more` are flags.
pub(crate) async fn add(project: &TestProject, name: &str, more: &[&str]) {
    let file = project.path().join("password.txt");
    std::fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let file = file.to_str().unwrap();
    let arguments = [&["user", "add", name, "--password-file", file][..], more].concat();
    let added = project.run(&arguments).await;
    assert_eq!(added.code, Some(0), "{}", added.stderr);
    assert!(!added.stderr.contains(PASSWORD));
}

/// Asks with GET, as a user.
async fn get(server: &RunningServer, name: &str, path: &str) -> ReadAnswer {
    let request = server
        .client
        .get(format!("{}{path}", server.url))
        .basic_auth(name, Some(PASSWORD));
    RunningServer::read(request.send().await.unwrap()).await
}

/// Runs a query, as a user.
async fn sql(server: &RunningServer, name: &str, query: &str) -> ReadAnswer {
    let request = server
        .client
        .post(format!("{}/api/v1/sql", server.url))
        .basic_auth(name, Some(PASSWORD))
        .json(&json!({ "query": query }));
    RunningServer::read(request.send().await.unwrap()).await
}

/// The tenants there are, the one with the fewest sales first.
pub(crate) async fn tenants(project: &TestProject) -> Vec<String> {
    let rows = project
        .sql("SELECT tenant_id FROM transactions GROUP BY 1 ORDER BY count(*), 1")
        .await;
    let tenants = rows.iter().filter_map(|row| row["tenant_id"].as_str());
    tenants.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_alike_at_once_is_answered_of_its_own_tenant() {
    let (_sandbox, project) = synced(300).await;
    let tenants = tenants(&project).await;
    let [first, .., last] = tenants.as_slice() else {
        panic!("several tenants: {tenants:?}");
    };
    add(&project, "first", &["--tenant", first]).await;
    add(&project, "last", &["--tenant", last]).await;
    add(&project, "all", &["--personal", "--sources"]).await;
    let server = RunningServer::start(&project, "  concurrency: 1").await;
    let path = "/api/v1/statistics?from=2026-01-01&to=2026-01-06";
    let asked = (0..16).map(|at| {
        let name = if at % 2 == 0 { "first" } else { "last" };
        get(&server, name, path)
    });
    let answers = join_all(asked).await;
    for (at, tenant) in [first, last].into_iter().enumerate() {
        let expected = get(&server, "all", &format!("{path}&tenant={tenant}")).await;
        for answer in answers.iter().skip(at).step_by(2) {
            assert_eq!(answer.json()["data"], expected.json()["data"], "{tenant}");
        }
    }
    assert_ne!(answers[0].json()["data"], answers[1].json()["data"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_answered_of_its_own_tenant_and_nobody_without_a_password() {
    let (_sandbox, project) = synced(600).await;
    let tenants = tenants(&project).await;
    let [own, .., other] = tenants.as_slice() else {
        panic!("several tenants: {tenants:?}");
    };
    add(&project, "own", &["--tenant", own]).await;
    add(&project, "all", &["--personal", "--sources"]).await;
    // Names that nothing is known of are taken, and told.
    let misspelt = ["user", "add", "typo", "--no-password", "--pipeline"];
    let names = [
        "hecon",
        "--pipeline",
        "hecone",
        "--tenant",
        "nosuch",
        "--tenant",
        own.as_str(),
    ];
    let told = project.run(&[&misspelt[..], &names[..]].concat()).await;
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    assert_eq!(told.stderr.matches("note: ").count(), 2, "{}", told.stderr);
    for said in [
        "there is no pipeline \"hecon\"; did you mean \"hecone\"? This",
        "\"nosuch\"",
    ] {
        assert!(told.stderr.contains(said), "{}", told.stderr);
    }
    let checked = project
        .json(&["serve", "--check", "--listen", "127.0.0.1:0"])
        .await;
    assert!(
        checked["users"]["own"]
            .as_str()
            .unwrap()
            .contains(own.as_str())
    );
    let server = RunningServer::start(&project, "  audit: audit.jsonl").await;

    let window = "from=2026-01-01&to=2026-01-06";
    for path in [
        format!("/api/v1/statistics?{window}"),
        "/api/v1/tables".to_owned(),
        "/metrics".to_owned(),
    ] {
        let refused = server.get(&path).await;
        refused.problem(401);
        assert!(
            refused
                .header("www-authenticate")
                .unwrap()
                .contains("Basic")
        );
    }
    assert_eq!(server.get("/healthz").await.status.as_u16(), 200);
    let ready = server.get("/readyz").await;
    assert_eq!(
        (ready.status.as_u16(), &ready.json()["run"]),
        (200, &Value::Null)
    );

    // Its figures are those of its tenant, from the roll-ups and from the facts.
    let mine = get(&server, "own", &format!("/api/v1/statistics?{window}")).await;
    let of_tenant = get(
        &server,
        "all",
        &format!("/api/v1/statistics?{window}&tenant={own}"),
    )
    .await;
    assert_eq!(mine.json()["data"], of_tenant.json()["data"]);
    assert!(!mine.json()["data"].as_array().unwrap().is_empty());
    assert_ne!(mine.header("etag"), None);
    // The same question of another scope has another tag and another answer.
    let path = format!("/api/v1/statistics?{window}");
    let everybodys = get(&server, "all", &path).await;
    assert_ne!(mine.header("etag"), everybodys.header("etag"));
    assert_ne!(mine.json()["data"], everybodys.json()["data"]);
    // Whoever sends another's tag is answered, and not told to have the answer.
    let request = server
        .client
        .get(format!("{}{path}", server.url))
        .basic_auth("own", Some(PASSWORD))
        .header("if-none-match", everybodys.header("etag").unwrap());
    let answer = RunningServer::read(request.send().await.unwrap()).await;
    assert_eq!(answer.status.as_u16(), 200);
    assert_eq!(answer.json()["data"], mine.json()["data"]);
    // A cursor of another goes on in one's own list.
    let first = get(
        &server,
        "all",
        "/api/v1/transactions?limit=1&sort=occurred_at",
    )
    .await;
    let link = first.header("link").unwrap();
    let next = link.split(['<', '>']).nth(1).unwrap().to_owned();
    let further = get(&server, "own", &next).await;
    assert_eq!(further.status.as_u16(), 200, "{}", further.text());
    assert!(!further.text().contains(other.as_str()));

    let counted = |answer: &ReadAnswer| answer.json()[0]["n"].clone();
    let query = "SELECT count(*) AS n FROM transactions";
    let of_own = format!("{query} WHERE tenant_id = '{own}'");
    assert_eq!(
        counted(&sql(&server, "own", query).await),
        counted(&sql(&server, "all", &of_own).await)
    );
    for query in [
        "SELECT * FROM sales",
        "SELECT * FROM tenants",
        "SELECT * FROM statistics.levels",
        "SELECT * FROM counted_payments",
        "SELECT * FROM information_schema.columns",
        "SELECT * FROM hourly_transactions('2026-01-01', '2026-01-06')",
        "SELECT * FROM ops.runs",
        "SELECT * FROM ops.slices",
        "EXPLAIN VERBOSE SELECT * FROM transactions",
    ] {
        let answer = sql(&server, "own", query).await;
        assert_eq!(answer.status.as_u16(), 200, "{query}: {}", answer.text());
        assert!(!answer.text().contains(other.as_str()), "{query}");
        assert!(!answer.text().contains("hmac1:"), "{query}");
    }
    // So it is of the run by its name, as an earlier one is asked for.
    let run = mine.header("tillhouse-run").unwrap();
    let request = server
        .client
        .post(format!("{}/api/v1/sql?as_of={run}", server.url))
        .basic_auth("own", Some(PASSWORD))
        .json(&json!({ "query": "SELECT tenant_id FROM sales" }));
    let earlier = RunningServer::read(request.send().await.unwrap()).await;
    assert_eq!(earlier.status.as_u16(), 200, "{}", earlier.text());
    assert!(earlier.text().contains(own.as_str()) && !earlier.text().contains(other.as_str()));
    for query in [
        "SELECT license_plate FROM transactions",
        "SELECT * FROM hecone.transactions",
        "SELECT * FROM latest.hecone_transactions",
        "SELECT * FROM ops.warnings",
        "SELECT * FROM ops.audit",
    ] {
        sql(&server, "own", query).await.problem(400);
        assert_eq!(
            sql(&server, "all", query).await.status.as_u16(),
            200,
            "{query}"
        );
    }
    // A field that is not seen is one that nobody knows, whatever is asked of it.
    for (field, test) in [
        ("license_plate", r#""operator":"isnotnull""#),
        ("license_plate", r#""operator":"isnull""#),
        ("customer_driver_number", r#""operator":"eq","value":"7""#),
        ("receipt_email", r#""operator":"neq","value":null"#),
    ] {
        let filter = format!(r#"{{"logic":"and","filters":[{{"field":"{field}",{test}}}]}}"#);
        let encoded: String = url::form_urlencoded::byte_serialize(filter.as_bytes()).collect();
        for path in [
            format!("/api/v1/transactions?limit=1&filter={encoded}"),
            format!("/api/v1/statistics?{window}&filter={encoded}"),
            format!(
                "/transactions/statistics?mandator_id={own}&start_date=2026-01-01T00:00:00Z&end_date=2026-01-06T00:00:00Z&filter={encoded}"
            ),
        ] {
            let refused = get(&server, "own", &path).await.problem(400);
            let hint = refused["hint"].as_str().unwrap();
            assert!(hint.starts_with("Fields are "), "{refused}");
            assert!(!hint.contains("license_plate"), "{refused}");
            let seen = get(&server, "all", &path).await;
            assert_ne!(seen.status.as_u16(), 400, "{path}: {}", seen.text());
        }
        let query = format!(
            "SELECT * FROM hourly_transactions('2026-01-01', '2026-01-06', 'UTC', '{{\"filter\":{filter}}}')"
        );
        sql(&server, "own", &query).await.problem(400);
        assert_eq!(sql(&server, "all", &query).await.status.as_u16(), 200);
    }
    let asked = format!("/api/v1/statistics?{window}&tenant={other}");
    let refused = get(&server, "own", &asked).await.problem(400);
    assert!(
        !refused["hint"].to_string().contains(other.as_str()),
        "{refused}"
    );
    for path in ["/metrics", "/api/v1/coverage", "/api/v1/drift"] {
        get(&server, "own", path).await.problem(403);
        assert_eq!(
            get(&server, "all", path).await.status.as_u16(),
            200,
            "{path}"
        );
    }
    for path in [
        "/api/v1/runs",
        "/api/v1/rejects",
        "/api/v1/freshness",
        "/api/v1/transactions",
    ] {
        let answer = get(&server, "own", path).await;
        assert_eq!(answer.status.as_u16(), 200, "{path}: {}", answer.text());
        assert!(!answer.text().contains(other.as_str()), "{path}");
    }
    let log = std::fs::read_to_string(project.path().join("audit.jsonl")).unwrap();
    for who in ["\"who\":\"own\"", "\"who\":\"all\"", "\"who\":null"] {
        assert!(log.contains(who), "{who}");
    }
    assert!(!log.contains(PASSWORD));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_the_user_that_it_was_given_to_and_ends_with_it() {
    let (_sandbox, project) = synced(300).await;
    let tenants = tenants(&project).await;
    add(&project, "own", &["--tenant", &tenants[0]]).await;
    let server = RunningServer::start(&project, "").await;
    let log_in = async |secret: &str| {
        let body = json!({"client_id": "own", "client_secret": secret});
        let request = server.client.post(format!("{}/auth/login", server.url));
        RunningServer::read(request.json(&body).send().await.unwrap()).await
    };
    log_in("not the password").await.problem(401);
    let given: Value = log_in(PASSWORD).await.json();
    let token = given["access_token"].as_str().unwrap().to_owned();
    let ask = async |path: &str| {
        let request = server.client.get(format!("{}{path}", server.url));
        RunningServer::read(request.bearer_auth(&token).send().await.unwrap()).await
    };
    let path = format!(
        "/transactions/statistics?mandator_id={}&start_date=2026-01-01T00:00:00Z&end_date=2026-01-06T00:00:00Z",
        tenants[0]
    );
    let of_hecone = ask(&path).await.status.as_u16();
    assert!([200, 409].contains(&of_hecone), "{of_hecone}");
    assert_eq!(ask("/api/v1/tables").await.status.as_u16(), 200);
    let removed = project.run(&["user", "remove", "own"]).await;
    assert_eq!(removed.code, Some(0), "{}", removed.stderr);
    // The server looks for changes every few seconds.
    let mut is_out = false;
    for _ in 0..1_200 {
        is_out = ask("/api/v1/tables").await.status.as_u16() == 401;
        if is_out {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(is_out, "a token outlives its user");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_credentials_are_taken_as_oauth_has_them() {
    let project = TestProject::bare().await;
    add(&project, "reports", &[]).await;
    let server = RunningServer::start(&project, "").await;
    let ask = async |form: &[(&str, &str)], basic: Option<&str>| {
        let request = server.client.post(format!("{}/auth/login", server.url));
        let request = match basic {
            Some(password) => request.basic_auth("reports", Some(password)),
            None => request,
        };
        RunningServer::read(request.form(form).send().await.unwrap()).await
    };
    let grant = ("grant_type", "client_credentials");
    let (id, secret) = (("client_id", "reports"), ("client_secret", PASSWORD));
    for given in [
        ask(&[grant, id, secret], None).await,
        ask(&[grant, ("scope", "any")], Some(PASSWORD)).await,
    ] {
        assert_eq!(given.status.as_u16(), 200, "{}", given.text());
        assert_eq!(given.header("cache-control"), Some("no-store"));
        let given = given.json();
        assert_eq!(given["token_type"], "Bearer");
        let token = given["access_token"].as_str().unwrap();
        let request = server.client.get(format!("{}/api/v1/tables", server.url));
        let answer = request.bearer_auth(token).send().await.unwrap();
        // It comes in, and nothing is published yet.
        assert_eq!(answer.status().as_u16(), 503);
    }
    let wrong = ("client_secret", "not the password");
    for (form, basic, status, word) in [
        (&[grant, id, wrong][..], None, 401, "invalid_client"),
        (&[grant], Some("not the password"), 401, "invalid_client"),
        (&[id, secret], None, 400, "invalid_request"),
        (&[grant, id], None, 400, "invalid_request"),
        (&[grant, id, id, secret], None, 400, "invalid_request"),
        (
            &[("grant_type", "password"), id, secret],
            None,
            400,
            "unsupported_grant_type",
        ),
    ] {
        let refused = ask(form, basic).await;
        assert_eq!(refused.problem(status)["error"], word, "{form:?}");
        assert!(!refused.text().contains(PASSWORD));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_shows_its_certificate_and_listens_elsewhere_with_users_alone() {
    let project = TestProject::bare().await;
    let fixture = |name: &str| {
        let name = format!("tests/fixtures/certificates/{name}.pem");
        source_files::root().join(name).display().to_string()
    };
    let settings = format!(
        "  tls: {{ certificate: '{}', key: '{}' }}",
        fixture("trusted"),
        fixture("server-key")
    );
    set(&project, &settings);
    let elsewhere = ["serve", "--check", "--listen", "0.0.0.0:0"];
    let refused = project.run(&elsewhere).await;
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("nothing says who may come in"),
        "{}",
        refused.stderr
    );
    add(&project, "all", &[]).await;
    let checked = project.json(&elsewhere).await;
    assert_eq!(checked["url"], "https://0.0.0.0:0");
    assert_eq!(checked["who"], "users, from any machine that reaches it");
    let server = RunningServer::start(&project, &settings).await;
    assert!(
        server.url.starts_with("https://127.0.0.1:"),
        "{}",
        server.url
    );
    // A client that does not trust the authority comes to no answer.
    let alive = format!("{}/healthz", server.url);
    assert!(server.client.get(&alive).send().await.is_err());
    let authority = std::fs::read(fixture("authority")).unwrap();
    let authority = reqwest::Certificate::from_pem(&authority).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([authority])
        .build()
        .unwrap();
    let answered = client.get(&alive).send().await.unwrap();
    assert_eq!(answered.status().as_u16(), 200);
    let tables = format!("{}/api/v1/tables", server.url);
    let nobody = client.get(&tables).send().await.unwrap();
    assert_eq!(nobody.status().as_u16(), 401);
    let user = client.get(&tables).basic_auth("all", Some(PASSWORD));
    // Nothing is published yet.
    assert_eq!(user.send().await.unwrap().status().as_u16(), 503);
}
