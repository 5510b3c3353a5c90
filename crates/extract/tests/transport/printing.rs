//! No secret is ever printed: not by Debug, not in an error, not in any event of any crate underneath.
//!
//! Invariant: events are captured at the finest level, so that a crate underneath cannot tell either.

use crate::scripted::{ScriptedReply, ScriptedServer, json, limits};
use async_trait::async_trait;
use std::io::Write;
use std::sync::{Arc, Mutex};
use tillhouse_extract::{AuthorizedClient, HttpClient, HttpRequest, Login, SourceLimits, Token};
use tillhouse_model::{Result, Secret};

const SECRETS: [&str; 4] = [
    "s3cr3t-client",
    "s3cr3t-access",
    "s3cr3t-refresh",
    "s3cr3t-query",
];

/// Login that sends its secret to a server.
#[derive(Debug)]
struct WiredLogin(HttpClient);

#[async_trait]
impl Login for WiredLogin {
    async fn login(&self, _refresh: Option<&Secret>) -> Result<Token> {
        let secret = Secret::new(SECRETS[0]);
        self.0.redactor().add(&secret);
        let body = serde_json::json!({"client_secret": secret.expose()});
        self.0
            .send(&HttpRequest::post_json(
                "login",
                self.0.url("/login")?,
                &body,
            ))
            .await?
            .success()?;
        let refresh = Some(Secret::new(SECRETS[2]));
        Ok(Token {
            access: Secret::new(SECRETS[1]),
            refresh,
            lifetime: None,
        })
    }
}

/// Log output kept in memory.
#[derive(Clone, Default)]
struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    let captured = LogBuffer::default();
    let writer = captured.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    // Threads without a subscriber would have the events that they meet first switched off for this one too.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry());
    let _guard = tracing::subscriber::set_default(subscriber);
    tracing::callsite::rebuild_interest_cache();
    let echo = format!(
        r#"{{"message":"bad: {} {} {}"}}"#,
        SECRETS[0], SECRETS[1], SECRETS[2]
    );
    let server = ScriptedServer::start(vec![
        json("200 OK", "", "{}"),
        json("500 Internal Server Error", "Retry-After: 0\r\n", &echo),
        ScriptedReply::Close(Vec::new()),
        json("400 Bad Request", "", &echo),
    ])
    .await;
    let client = server.client(SourceLimits {
        attempts: 6,
        ..limits()
    });
    let authorized = AuthorizedClient::new(client.clone(), Arc::new(WiredLogin(client.clone())));
    let request =
        HttpRequest::get("things", client.url("/things").unwrap()).query("key", SECRETS[3]);
    let refused = authorized.send(&request).await.unwrap();
    let mut shown = format!("{client:?} {authorized:?} {request:?} {refused:?}");
    let error = refused.success().unwrap_err();
    shown.push_str(&format!("{error} {error:?}"));
    assert!(error.message().contains("bad: *** *** ***"), "{error}");

    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let nobody = tillhouse_extract::BaseUrl::parse(&format!("http://127.0.0.1:{port}")).unwrap();
    let nobody = HttpClient::new(
        "testing",
        nobody,
        SourceLimits {
            attempts: 1,
            ..limits()
        },
    )
    .unwrap();
    let request =
        HttpRequest::get("things", nobody.url("/things").unwrap()).query("key", SECRETS[3]);
    let error = nobody.send(&request).await.unwrap_err();
    shown.push_str(&format!("{error} {error:?}"));

    let events = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
    for wanted in [
        "source=\"testing\"",
        "resource=\"things\"",
        "status=400",
        "attempt=2",
        "millis=",
        "bytes=",
        "trying again",
    ] {
        assert!(events.contains(wanted), "{wanted} in {events}");
    }
    assert!(
        events.lines().count() > 10,
        "the crates underneath are heard too"
    );
    for secret in SECRETS {
        assert!(!shown.contains(secret), "{shown}");
        assert!(!events.contains(secret), "{events}");
    }
}
