//! Wrappings of a body: compressed, marked, under another media type, or said to be where
//! something else is.
//!
//! Invariant: what is read is the JSON alone; what cannot be read is named, and what to do about it.

use crate::scripted::{ScriptedReply, ScriptedServer, limits};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use tillhouse_extract::{HttpOutcome, HttpRequest, MediaTypes, SourceLimits};
use tillhouse_model::{Error, ErrorKind, Result};

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn reply(headers: &str, body: &[u8]) -> ScriptedReply {
    let head = format!(
        "HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    ScriptedReply::Write([head.as_bytes(), body].concat())
}

async fn asked(reply: ScriptedReply, limits: SourceLimits) -> Result<Vec<u8>> {
    let server = ScriptedServer::start(vec![reply]).await;
    let client = server.client(limits);
    let answer = client
        .send(&HttpRequest::get("things", client.url("/things").unwrap()))
        .await;
    answer
        .and_then(HttpOutcome::success)
        .map(|response| response.bytes.to_vec())
}

async fn refused(reply: ScriptedReply) -> Error {
    asked(
        reply,
        SourceLimits {
            attempts: 1,
            ..limits()
        },
    )
    .await
    .unwrap_err()
}

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn compressed_bodies_are_read_whatever_the_header_says() {
    let body = br#"{"a":"b"}"#;
    let members = [gzip(b"{\"a\""), gzip(b""), gzip(b":\"b\"}"), vec![0; 16]].concat();
    for (encoding, sent) in [
        ("Content-Encoding: gzip\r\n", gzip(body)),
        ("Content-Encoding: GZIP\r\n", gzip(body)),
        ("Content-Encoding: x-gzip\r\n", gzip(body)),
        ("Content-Encoding: gzip\r\n", members),
        (
            "Content-Encoding: gzip\r\nContent-Encoding: Gzip\r\n",
            gzip(&gzip(body)),
        ),
        ("Content-Encoding: identity, gzip\r\n", gzip(body)),
        ("Content-Encoding: identity\r\n", body.to_vec()),
        ("Content-Encoding: \r\n", body.to_vec()),
        ("Content-Encoding: gzip\r\n", body.to_vec()),
        ("Content-Encoding: utf-8\r\n", body.to_vec()),
        ("Content-Encoding: UTF8\r\n", body.to_vec()),
        ("Content-Encoding: iso-8859-1\r\n", body.to_vec()),
        ("Content-Encoding: None\r\n", body.to_vec()),
        ("Content-Encoding: identity, identity\r\n", body.to_vec()),
        ("Content-Encoding: identity;q=1.0, utf-8\r\n", body.to_vec()),
        ("Content-Encoding: application/json\r\n", body.to_vec()),
        ("Content-Encoding: utf-8, gzip\r\n", gzip(body)),
        (
            "Content-Encoding: binary\r\nContent-Encoding: 8bit\r\n",
            body.to_vec(),
        ),
        ("", gzip(body)),
    ] {
        assert_eq!(
            asked(reply(&format!("{JSON}{encoding}"), &sent), limits())
                .await
                .unwrap(),
            body,
            "{encoding}"
        );
    }
}

#[tokio::test]
async fn an_encoding_nobody_asked_for_is_named() {
    for encoding in ["br", "zstd", "Deflate", "gzip, br", "compress"] {
        let error = refused(reply(
            &format!("{JSON}Content-Encoding: {encoding}\r\n"),
            b"\x8b\x02\x80",
        ))
        .await;
        assert_eq!(error.kind(), ErrorKind::Protocol);
        let named = encoding.rsplit(' ').next().unwrap().to_lowercase();
        assert!(
            error
                .message()
                .contains(&format!("encoded as {named}, which nobody asked for")),
            "{error}"
        );
        assert!(error.hint_text().unwrap().contains("gzip"), "{error:?}");
    }
}

#[tokio::test]
async fn a_damaged_compressed_body_is_broken_and_may_be_asked_again() {
    let whole = gzip(&[b' '; 10_000]);
    let mut wrong = whole.clone();
    let at = wrong.len() - 5;
    wrong[at] ^= 1;
    for body in [&whole[..whole.len() - 3], &wrong] {
        let error = refused(reply(&format!("{JSON}Content-Encoding: gzip\r\n"), body)).await;
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error:?}");
        assert!(error.is_retryable());
    }
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_a_body_and_utf_16_is_named() {
    let marked = b"\xef\xbb\xbf{}";
    assert_eq!(asked(reply(JSON, marked), limits()).await.unwrap(), b"{}");
    let compressed = reply(&format!("{JSON}Content-Encoding: gzip\r\n"), &gzip(marked));
    assert_eq!(asked(compressed, limits()).await.unwrap(), b"{}");
    assert_eq!(asked(reply("", marked), limits()).await.unwrap(), b"{}");
    for body in [b"\xff\xfe{\0}\0", b"\xfe\xff\0{\0}"] {
        assert!(
            refused(reply(JSON, body))
                .await
                .message()
                .contains("UTF-16")
        );
    }
    let error = refused(reply(JSON, b"\xef\xbb\xbf")).await;
    assert!(
        error.message().contains("with nothing instead of JSON"),
        "{error}"
    );
}

#[tokio::test]
async fn what_stands_behind_the_json_and_a_foreign_charset_are_named() {
    for behind in ["<!-- 12 ms -->", "\n/* x */", " 7"] {
        let body = format!("{{\"data\":[1]}}{behind}");
        let error = refused(reply(JSON, body.as_bytes())).await;
        assert!(error.message().contains("something behind it"), "{error}");
    }
    for cut in [
        &b"{\"data\":[1,{\"a\":"[..],
        b"{\"data\":[{\"a\":1},{\"a\":2}",
    ] {
        let error = refused(reply(JSON, cut)).await;
        assert!(error.message().contains("cut off"), "{error}");
    }
    let latin = "Content-Type: application/json; charset=ISO-8859-1\r\n";
    let body = asked(reply(latin, b"{\"a\":\"Z\xfcrich\"}"), limits()).await;
    assert_eq!(body.unwrap(), "{\"a\":\"Z\u{fc}rich\"}".as_bytes());
    let cyrillic = "Content-Type: application/json; charset=koi8-r\r\n";
    let error = refused(reply(cyrillic, b"{\"a\":\"\xfc\"}")).await;
    assert!(error.message().contains("koi8-r"), "{error}");
}

#[tokio::test]
async fn other_media_types_are_accepted_by_asking_for_them() {
    for written in ["text/plain", "application/octet-stream"] {
        let header = format!("Content-Type: {written}; charset=utf-8\r\n");
        let error = refused(reply(&header, b"{}")).await;
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(
            error
                .message()
                .contains(&format!("answered {written} instead of JSON")),
            "{error}"
        );
        let hint = error.hint_text().unwrap();
        assert!(
            hint.contains(&format!("accept_media_types: [{written}]")),
            "{hint}"
        );
        let accepting = || SourceLimits {
            accept_media_types: MediaTypes::new([written]).unwrap(),
            attempts: 1,
            ..limits()
        };
        assert_eq!(
            asked(reply(&header, b" {}"), accepting()).await.unwrap(),
            b" {}"
        );
        let page = asked(reply(&header, b"<html>"), accepting())
            .await
            .unwrap_err();
        assert!(
            page.message().contains("something else than JSON"),
            "{page}"
        );
    }
    for script in [
        &b")]}',\n{\"data\":[]}"[..],
        b"cb({\"data\":[]})",
        b"fn({})",
    ] {
        let error = refused(reply(JSON, script)).await;
        assert!(
            error.message().contains("something else than JSON"),
            "{error}"
        );
    }
    assert_eq!(asked(reply("", b"[]"), limits()).await.unwrap(), b"[]");
    let page = refused(reply("", b"<html>")).await;
    assert!(
        page.message().contains("something else than JSON"),
        "{page}"
    );
    let nothing = ScriptedReply::Write(
        b"HTTP/1.1 204 No Content\r\nContent-Type: text/html\r\n\r\n".to_vec(),
    );
    assert_eq!(asked(nothing, limits()).await.unwrap(), b"");
}
