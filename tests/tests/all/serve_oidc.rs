//! Tokens of an OpenID Connect provider at `tillhouse serve`, from the provider's own login to the rows of one tenant.
//!
//! Invariant: the provider is a real one of others' making, that signs with a key that nobody here has; it listens on loopback and ends with the test.

use crate::project::TestProject;
use crate::python::interpreter;
use crate::serve::synced;
use crate::serve_users::{add, tenants};
use crate::served::{ReadAnswer, RunningServer};
use crate::source_files;
use reqwest::Client;
use reqwest::redirect::Policy;
use serde_json::{Value, json};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Time after which something that is waited for does not come.
const LIMIT: Duration = Duration::from_secs(60);
/// Address that a login leads to; nobody listens there.
const BACK: &str = "http://127.0.0.1/back";

/// A provider that runs.
struct RunningProvider {
    /// Ends when it is dropped.
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    issuer: String,
    client: Client,
}

impl RunningProvider {
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut child = Command::new(interpreter())
            .arg("-B")
            .arg(source_files::root().join("tests/python/oidc_provider.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("the provider starts");
        let input = child.stdin.take().expect("its input is written");
        let output = child.stdout.take().expect("its output is read");
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .timeout(LIMIT)
            .build()
            .expect("a client");
        let mut provider = Self {
            _child: child,
            input,
            output: BufReader::new(output).lines(),
            issuer: String::new(),
            client,
        };
        provider.issuer = provider.line().await;
        provider
    }

    async fn line(&mut self) -> String {
        tokio::time::timeout(LIMIT, self.output.next_line())
            .await
            .expect("it says something")
            .expect("its output is text")
            .expect("it has not ended")
    }

    /// Makes it sign with another key.
    async fn change_key(&mut self) {
        self.input.write_all(b"change\n").await.expect("it reads");
        assert_eq!(self.line().await, "changed");
    }

    /// Logs in at a client of the provider, as a browser and the client do, and gives the id token.
    async fn token(&self, client: &str, who: &str) -> String {
        let asked = [
            ("client_id", client),
            ("redirect_uri", BACK),
            ("response_type", "code"),
            ("scope", "openid email"),
        ];
        let request = self
            .client
            .post(format!("{}/oauth2/authorize", self.issuer));
        let answer = request.query(&asked).form(&[("sub", who)]).send().await;
        let answer = answer.expect("an answer");
        let back = answer.headers()["location"].to_str().expect("an address");
        let back = reqwest::Url::parse(back).expect("an address");
        let code = back.query_pairs().find(|(name, _)| name == "code");
        let code = code.expect("a code").1.into_owned();
        let given = [
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", BACK),
            ("client_id", client),
            ("client_secret", "any"),
        ];
        let request = self.client.post(format!("{}/oauth2/token", self.issuer));
        let answer = request.form(&given).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        answer["id_token"].as_str().expect("a token").to_owned()
    }
}

/// Counts the transactions with a token.
async fn count(server: &RunningServer, token: &str) -> ReadAnswer {
    let request = server
        .client
        .post(format!("{}/api/v1/sql", server.url))
        .bearer_auth(token)
        .json(&json!({ "query": "SELECT count(*) AS n, count(DISTINCT tenant_id) AS tenants FROM transactions" }));
    RunningServer::read(request.send().await.unwrap()).await
}

fn settings(provider: &RunningProvider, more: &str) -> String {
    format!(
        "  audit: audit.jsonl\n  oidc: {{ issuer: '{}', audience: tillhouse{more} }}",
        provider.issuer
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_providers_token_is_answered_of_its_users_tenant_and_of_nothing_else() {
    let (_sandbox, project) = synced(300).await;
    let of_all = project.sql("SELECT count(*) AS n FROM transactions").await;
    let tenants = tenants(&project).await;
    add(&project, "own", &["--tenant", &tenants[0]]).await;
    let mut provider = RunningProvider::start().await;
    let server = RunningServer::start(&project, &settings(&provider, "")).await;

    let token = provider.token("tillhouse", "own").await;
    let answer = count(&server, &token).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    assert_eq!(answer.json()[0]["tenants"], 1);
    assert_ne!(answer.json()[0]["n"], of_all[0]["n"]);

    let for_others = provider.token("another", "own").await;
    let strangers = provider.token("tillhouse", "stranger").await;
    let (header, rest) = token.split_once('.').unwrap();
    let (payload, signature) = rest.split_once('.').unwrap();
    let (_, others_rest) = strangers.split_once('.').unwrap();
    let (others_payload, _) = others_rest.split_once('.').unwrap();
    // {"alg":"none"}
    let unsigned = format!("eyJhbGciOiJub25lIn0.{payload}.");
    // {"alg":"HS256","typ":"JWT"}
    let of_secret = format!("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.{payload}.{signature}");
    let mixed = format!("{header}.{others_payload}.{signature}");
    for (wrong, word) in [
        (for_others.as_str(), "another audience"),
        (strangers.as_str(), "nobody among the users"),
        (unsigned.as_str(), "not signed with"),
        (of_secret.as_str(), "not signed with"),
        (mixed.as_str(), "no key of its provider"),
        ("a.b.c", "cannot be read"),
        ("0123456789abcdef", "not known"),
    ] {
        let refused = count(&server, wrong).await;
        let told = refused.problem(401);
        assert!(told["detail"].to_string().contains(word), "{told}");
        assert!(
            refused
                .header("www-authenticate")
                .unwrap()
                .contains("Bearer")
        );
    }

    // The provider changes its key: what the one before has signed is good for nobody once the new one is known.
    provider.change_key().await;
    let of_new_key = provider.token("tillhouse", "own").await;
    let began = Instant::now();
    while count(&server, &of_new_key).await.status.as_u16() != 200 {
        assert!(began.elapsed() < LIMIT, "no token of the new key is taken");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    count(&server, &token).await.problem(401);

    let log = std::fs::read_to_string(project.path().join("audit.jsonl")).unwrap();
    assert!(log.contains("\"who\":\"own\""), "{log}");
    for text in [&token, &of_new_key, &strangers] {
        assert!(!log.contains(text.as_str()), "a token stands in the log");
    }
    // Who is no user any more is out, with a token that is good.
    let removed = project.run(&["user", "remove", "own"]).await;
    assert_eq!(removed.code, Some(0), "{}", removed.stderr);
    let began = Instant::now();
    while count(&server, &of_new_key).await.status.as_u16() != 401 {
        assert!(began.elapsed() < LIMIT, "a token outlives its user");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_claim_names_the_user_and_without_users_nobody_comes_in() {
    let project = TestProject::bare().await;
    let provider = RunningProvider::start().await;
    let settings = settings(&provider, ", claim: email");
    {
        let server = RunningServer::start(&project, &settings).await;
        server.get("/api/v1/tables").await.problem(401);
        let token = provider.token("tillhouse", "own").await;
        count(&server, &token).await.problem(401);
        let checked = project
            .json(&["serve", "--check", "--listen", "127.0.0.1:0"])
            .await;
        assert_eq!(checked["oidc"], provider.issuer);
        assert!(checked["who"].as_str().unwrap().starts_with("nobody"));
    }
    let added = ["user", "add", "own@example.org", "--no-password"];
    let added = project.run(&added).await;
    assert_eq!(added.code, Some(0), "{}", added.stderr);
    let server = RunningServer::start(&project, &settings).await;
    let token = provider.token("tillhouse", "own").await;
    // Who comes in is told that nothing is published yet.
    assert_eq!(count(&server, &token).await.status.as_u16(), 503);
    assert_eq!(
        count(&server, &provider.token("tillhouse", "stranger").await)
            .await
            .status
            .as_u16(),
        401
    );
}
