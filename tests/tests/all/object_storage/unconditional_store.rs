//! A store that takes every put, whatever its conditions, and one whose clock differs: S3 as some clones speak it, in memory.
//!
//! Invariant: such a store is refused before anything is written into it for good.

use super::servers::CloudPlace;
use crate::project::TestProject;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tillhouse_sandbox::{Sandbox, SandboxOptions};

/// Behaviour of the store.
#[derive(Clone, Copy, PartialEq)]
enum StoreFault {
    IgnoresConditions,
    ClockOff,
}

/// The store's objects by path.
#[derive(Clone)]
struct MemoryStore {
    objects: Arc<Mutex<BTreeMap<String, Bytes>>>,
    fault: StoreFault,
}

const DATE: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

async fn answer(State(store): State<MemoryStore>, request: Request) -> Response {
    if store.fault == StoreFault::ClockOff {
        let body = "<?xml version=\"1.0\"?><Error><Code>RequestTimeTooSkewed</Code><Message>The difference is too large.</Message>\
                    <RequestTime>hunter2</RequestTime></Error>";
        return (StatusCode::FORBIDDEN, body).into_response();
    }
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20)
        .await
        .unwrap();
    let path = uri.path().trim_start_matches('/').to_owned();
    let query = uri.query().unwrap_or_default();
    let mut objects = store.objects.lock().unwrap();
    let tag = |bytes: &Bytes| {
        format!(
            "\"{}-{}\"",
            bytes.len(),
            bytes.iter().map(|b| u32::from(*b)).sum::<u32>()
        )
    };
    match method {
        Method::GET if query.contains("list-type=2") => {
            let entries: String = objects
                .iter()
                .map(|(name, bytes)| {
                    let key = name.strip_prefix("tills/").unwrap_or(name);
                    format!(
                        "<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
                        tag(bytes).replace('"', "&quot;"),
                        bytes.len()
                    )
                })
                .collect();
            let list = format!(
                "<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
            );
            (StatusCode::OK, list).into_response()
        }
        Method::GET | Method::HEAD => match objects.get(&path) {
            Some(bytes) => (
                StatusCode::OK,
                [("etag", tag(bytes)), ("last-modified", DATE.to_owned())],
                bytes.clone(),
            )
                .into_response(),
            None => (
                StatusCode::NOT_FOUND,
                "<Error><Code>NoSuchKey</Code></Error>",
            )
                .into_response(),
        },
        Method::PUT => {
            let etag = tag(&body);
            objects.insert(path, body);
            (StatusCode::OK, [("etag", etag)]).into_response()
        }
        Method::POST => {
            let text = String::from_utf8_lossy(&body).into_owned();
            for part in text.split("<Key>").skip(1) {
                let key = part.split("</Key>").next().unwrap_or_default();
                objects.remove(&format!("tills/{key}"));
            }
            (StatusCode::OK, "<DeleteResult></DeleteResult>").into_response()
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

async fn refused(fault: StoreFault, words: &[&str]) {
    let store = MemoryStore {
        objects: Arc::default(),
        fault,
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(store.clone());
    let server = tokio::spawn(async move { axum::serve(listener, app).await });
    let sandbox = Sandbox::start(SandboxOptions {
        transactions: 20,
        ..SandboxOptions::default()
    })
    .await
    .unwrap();
    let project = TestProject::new(&sandbox.hecone_url()).await;
    let place = CloudPlace {
        url: "s3://tills/wh".to_owned(),
        options: vec![
            ("endpoint", endpoint),
            ("allow_http", "true".to_owned()),
            ("access_key_id", "key".to_owned()),
            ("secret_access_key", "hunter2".to_owned()),
        ],
        env: String::new(),
        reader: serde_json::Value::Null,
    };
    place.settle(&project);
    for command in [&["check"][..], &["sync", "--to", "2026-01-02"]] {
        let ran = project.run(command).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        for word in words {
            assert!(
                ran.stderr.contains(word),
                "{command:?} does not say {word:?}: {}",
                ran.stderr
            );
        }
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
    let left: Vec<String> = store.objects.lock().unwrap().keys().cloned().collect();
    assert!(left.is_empty(), "{left:?}");
    server.abort();
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_conditions_is_refused() {
    refused(
        StoreFault::IgnoresConditions,
        &[
            "the store cannot hold a warehouse",
            "both succeeded",
            "If-None-Match",
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_told() {
    refused(
        StoreFault::ClockOff,
        &["this machine's clock is off", "timedatectl"],
    )
    .await;
}
