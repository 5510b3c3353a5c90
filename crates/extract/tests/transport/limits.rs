//! Size, time, type and place: what an answer may be.
//!
//! Invariant: a body that breaks a limit is small on the wire, and is never asked for twice.

use crate::scripted::{ScriptedReply, ScriptedServer, json, limits};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::time::Duration;
use tillhouse_extract::{HttpOutcome, HttpRequest, SourceLimits};
use tillhouse_model::{Error, ErrorKind};

async fn fails(reply: ScriptedReply, limits: SourceLimits) -> (Error, usize) {
    let server = ScriptedServer::start(vec![reply]).await;
    let client = server.client(limits);
    let answer = client
        .send(&HttpRequest::get("things", client.url("/things").unwrap()))
        .await;
    let error = answer.and_then(HttpOutcome::success).unwrap_err();
    (error, server.requests().len())
}

fn gzip(body: &[u8]) -> ScriptedReply {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    let body = encoder.finish().unwrap();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    ScriptedReply::Write([head.as_bytes(), &body].concat())
}

#[tokio::test]
async fn bodies_are_bounded_declared_or_not_and_after_decompression() {
    let small = || SourceLimits {
        max_body_bytes: 1_000,
        ..limits()
    };
    let declared = json("200 OK", "", &"x".repeat(1_001));
    let mut chunked =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for _ in 0..3 {
        chunked.extend_from_slice(b"190\r\n");
        chunked.extend_from_slice(&[b' '; 400]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    // 10 MB of blanks are 10 kB on the wire.
    for reply in [
        declared,
        ScriptedReply::Write(chunked),
        gzip(&vec![b' '; 10_000_000]),
    ] {
        let (error, requests) = fails(reply, small()).await;
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(
            error.message().contains("longer than the 1000 bytes"),
            "{error}"
        );
        assert!(error.hint_text().unwrap().contains("page_size"));
        assert_eq!(requests, 1, "the same body would be too large again");
    }
}

#[tokio::test]
async fn bodies_arrive_whole_however_they_are_sent() {
    let body: Vec<u8> = (u32::from(b'"')..300_000)
        .flat_map(u32::to_le_bytes)
        .collect();
    let mut chunked =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for piece in body.chunks(65_536) {
        chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        chunked.extend_from_slice(piece);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let plain = ScriptedReply::Write([head.as_bytes(), &body].concat());
    let nothing = ScriptedReply::Write(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec());
    let server = ScriptedServer::start(vec![
        plain,
        ScriptedReply::Write(chunked),
        gzip(&body),
        nothing,
    ])
    .await;
    let client = server.client(limits());
    let request = HttpRequest::get("things", client.url("/things").unwrap());
    for _ in 0..3 {
        assert!(
            client
                .send(&request)
                .await
                .unwrap()
                .success()
                .unwrap()
                .bytes
                == body
        );
    }
    assert!(
        client
            .send(&request)
            .await
            .unwrap()
            .success()
            .unwrap()
            .bytes
            .is_empty()
    );
    let head = server.requests()[0].to_ascii_lowercase();
    assert!(
        head.contains("accept-encoding: gzip") && head.contains("user-agent: tillhouse/"),
        "{head}"
    );
    assert!(head.contains("accept: application/json"), "{head}");
}

#[tokio::test]
async fn a_web_page_is_told_by_its_type() {
    let page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 6\r\n\r\n<html>".to_vec();
    let (error, requests) = fails(ScriptedReply::Write(page), limits()).await;
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(
        error.message().contains("text/html instead of JSON"),
        "{error}"
    );
    assert_eq!(requests, 1);
}

#[tokio::test]
async fn a_proxy_that_steps_in_for_a_moment_is_outwaited() {
    let page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
    let good = || json("200 OK", "", "{}");
    let server = ScriptedServer::start(vec![
        good(),
        json("200 OK", "", ""),
        ScriptedReply::Close(page.to_vec()),
        good(),
    ])
    .await;
    let client = server.client(limits());
    let request = HttpRequest::get("things", client.url("/things").unwrap());
    for _ in 0..2 {
        assert_eq!(
            &client
                .send(&request)
                .await
                .unwrap()
                .success()
                .unwrap()
                .bytes[..],
            b"{}"
        );
    }
    assert_eq!(client.stats().retries, 2);
}

#[tokio::test]
async fn json_by_any_name_is_json() {
    for content_type in [
        "application/vnd.api+json",
        "Application/JSON; charset=utf-8",
        "text/json",
    ] {
        let reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        let server = ScriptedServer::start(vec![ScriptedReply::Write(reply.into_bytes())]).await;
        let client = server.client(limits());
        let answer = client
            .send(&HttpRequest::get("things", client.url("/").unwrap()))
            .await
            .unwrap();
        assert_eq!(&answer.success().unwrap().bytes[..], b"{}");
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_is_given_up() {
    let impatient = SourceLimits {
        request_timeout: Duration::from_millis(50),
        attempts: 1,
        ..limits()
    };
    let (error, _) = fails(ScriptedReply::Silence, impatient.clone()).await;
    assert_eq!(error.kind(), ErrorKind::Unreachable);
    assert!(
        error.message().contains("no complete answer within 0.05 s"),
        "{error}"
    );
    let stalled =
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
            .to_vec();
    let (error, _) = fails(ScriptedReply::Write(stalled), impatient).await;
    assert!(
        error.message().contains("no complete answer within 0.05 s"),
        "{error}"
    );
}

#[tokio::test]
async fn redirects_stay_at_home() {
    let moved = |to: &str| json("307 Temporary Redirect", &format!("Location: {to}\r\n"), "");
    let server = ScriptedServer::start(vec![moved("/there"), json("200 OK", "", "{}")]).await;
    let client = server.client(limits());
    let response = client
        .send(&HttpRequest::get("things", client.url("/here").unwrap()))
        .await
        .unwrap()
        .success()
        .unwrap();
    assert_eq!(response.url.path(), "/there");

    let elsewhere = ScriptedServer::start(vec![json("200 OK", "", "{}")]).await;
    let (error, requests) = fails(moved(&format!("{}/there", elsewhere.url)), limits()).await;
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.message().contains(&elsewhere.url), "{error}");
    assert_eq!((requests, elsewhere.requests().len()), (1, 0));
}
