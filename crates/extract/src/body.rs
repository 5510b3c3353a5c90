//! Reads a body into one buffer.
//!
//! Invariant: a body is never longer than the limit, counted after decompression and checked while it streams; a body of
//! declared length is copied once, into a buffer of that length. A byte order mark is no part of it.
//!
//! hyper hands out slices of its read buffer. Keeping those of a large body would keep its buffers alive and leave the page
//! in pieces, which the decoder cannot use; so pieces are copied together, while a body that comes in one piece is kept.
//!
//! Decompression is done here and not by reqwest, which knows `gzip` in lower case only, does not tell an encoding that nobody asked for from
//! none, and cannot be told a limit. What counts is whether a body begins as gzip does: some proxies decompress and leave the header, others
//! do the reverse.

use crate::gunzip::{self, GunzipDecoder};
use crate::media_type::begins_as_json;
use bytes::{Bytes, BytesMut};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use std::io;
use tillhouse_model::json::BYTE_ORDER_MARK;

/// A single piece below this size is copied, so that it does not keep the connection's whole read buffer alive.
const KEEP_FROM: usize = 64 << 10;
/// Most compressions of a body, one over another.
const LAYERS: usize = 4;

#[derive(Debug)]
pub(crate) enum BodyError {
    /// The body is longer than the limit; the declared length, where there is one.
    TooLong(Option<u64>),
    /// The connection or the compression broke.
    Broken {
        cause: String,
        read: usize,
        declared: Option<u64>,
    },
    /// Encoded in a way that was not asked for, by this name. Not for printing.
    Encoded(String),
}

/// The whole body, of at most `limit` bytes.
pub(crate) async fn whole(
    response: &mut reqwest::Response,
    limit: usize,
) -> Result<Bytes, BodyError> {
    let unasked = unasked(response.headers());
    if let Some(encoding) = unasked.iter().find(|name| is_encoding(name)) {
        return Err(BodyError::Encoded(encoding.clone()));
    }
    // The name of a character set, or a word of some proxy's: what counts is whether the body can be read.
    let odd = unasked.into_iter().next();
    // Later on it would be the length of what is still to come.
    let declared = response.content_length();
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(BodyError::TooLong(declared));
    }
    let Some(first) = piece(response, 0, declared).await? else {
        return Ok(Bytes::new());
    };
    let body = if gunzip::is_gzip(&first) {
        gunzipped(response, first, limit, declared).await?
    } else {
        plain(response, first, limit, declared).await?
    };
    let body = if body.starts_with(BYTE_ORDER_MARK) {
        body.slice(BYTE_ORDER_MARK.len()..)
    } else {
        body
    };
    match odd.filter(|_| !begins_as_json(&body)) {
        Some(encoding) => Err(BodyError::Encoded(encoding)),
        None => Ok(body),
    }
}

/// A body that is not compressed.
async fn plain(
    response: &mut reqwest::Response,
    first: Bytes,
    limit: usize,
    declared: Option<u64>,
) -> Result<Bytes, BodyError> {
    if first.len() > limit {
        return Err(BodyError::TooLong(declared));
    }
    // Asking for the end too lets the connection go back to the pool.
    let Some(second) = piece(response, first.len(), declared).await? else {
        return Ok(if first.len() < KEEP_FROM {
            Bytes::copy_from_slice(&first)
        } else {
            first
        });
    };
    let guess = (first.len() + second.len()) * 2;
    let capacity = declared
        .and_then(|length| usize::try_from(length).ok())
        .unwrap_or(guess)
        .min(limit);
    let mut all = BytesMut::with_capacity(capacity);
    all.extend_from_slice(&first);
    drop(first);
    let mut next = Some(second);
    while let Some(bytes) = next {
        if all.len() + bytes.len() > limit {
            return Err(BodyError::TooLong(declared));
        }
        all.extend_from_slice(&bytes);
        drop(bytes);
        next = piece(response, all.len(), declared).await?;
    }
    Ok(all.freeze())
}

/// A body that is compressed.
async fn gunzipped(
    response: &mut reqwest::Response,
    first: Bytes,
    limit: usize,
    declared: Option<u64>,
) -> Result<Bytes, BodyError> {
    let guess = declared
        .and_then(|length| usize::try_from(length).ok())
        .unwrap_or(first.len())
        .saturating_mul(4);
    let mut gunzip = GunzipDecoder::new(limit, guess);
    let (mut next, mut read) = (Some(first), 0);
    while let Some(bytes) = next {
        gunzip
            .push(&bytes)
            .map_err(|error| corrupt(&error, gunzip.len()))?;
        read += bytes.len();
        next = piece(response, read, declared).await?;
    }
    let read = gunzip.len();
    let mut body = gunzip.finish().map_err(|error| corrupt(&error, read))?;
    for _ in 1..LAYERS {
        if !gunzip::is_gzip(&body) {
            break;
        }
        let mut inner = GunzipDecoder::new(limit, body.len().saturating_mul(4));
        inner
            .push(&body)
            .map_err(|error| corrupt(&error, inner.len()))?;
        body = inner
            .finish()
            .map_err(|error| corrupt(&error, body.len()))?;
    }
    Ok(body.into())
}

fn corrupt(error: &io::Error, read: usize) -> BodyError {
    if gunzip::is_over_limit(error) {
        return BodyError::TooLong(None);
    }
    BodyError::Broken {
        cause: format!("cannot be decompressed: {error}"),
        read,
        declared: None,
    }
}

/// The encodings that are none of those asked for, as they are written: not for printing. There may be several, in one header or in many.
fn unasked(headers: &HeaderMap) -> Vec<String> {
    let encodings = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .map(|value| value.to_str().unwrap_or("unreadable"));
    let names = encodings
        .flat_map(|list| list.split([',', ';']))
        .map(str::trim);
    let known = |name: &&str| {
        ["", "identity", "gzip", "x-gzip", "none"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    };
    names
        .filter(|name| !known(name))
        .map(str::to_owned)
        .collect()
}

/// True if it is the name of an encoding, as registered or as seen: its body cannot be read, even where it looks so by chance.
fn is_encoding(name: &str) -> bool {
    const ENCODINGS: [&str; 17] = [
        "br",
        "zstd",
        "deflate",
        "x-deflate",
        "compress",
        "x-compress",
        "exi",
        "pack200-gzip",
        "aes128gcm",
        "dcb",
        "dcz",
        "bzip2",
        "x-bzip2",
        "xz",
        "lzma",
        "lz4",
        "snappy",
    ];
    ENCODINGS
        .iter()
        .any(|encoding| name.eq_ignore_ascii_case(encoding))
}

/// The first `limit` bytes of a body that is only read for its explanation. One that breaks off explains what it got to.
pub(crate) async fn beginning(response: &mut reqwest::Response, limit: usize) -> Bytes {
    if unasked(response.headers())
        .iter()
        .any(|name| is_encoding(name))
    {
        return Bytes::new();
    }
    let mut all = BytesMut::new();
    while all.len() < limit {
        match response.chunk().await {
            Ok(Some(bytes)) => all.extend_from_slice(&bytes[..bytes.len().min(limit - all.len())]),
            Ok(None) | Err(_) => break,
        }
    }
    let mut body = all.freeze();
    if gunzip::is_gzip(&body) {
        let mut gunzip = GunzipDecoder::new(limit, limit);
        // A body that is too long or broken explains what it got to, too.
        let _ = gunzip.push(&body);
        body = gunzip.beginning().into();
    }
    if body.starts_with(BYTE_ORDER_MARK) {
        body.slice(BYTE_ORDER_MARK.len()..)
    } else {
        body
    }
}

async fn piece(
    response: &mut reqwest::Response,
    read: usize,
    declared: Option<u64>,
) -> Result<Option<Bytes>, BodyError> {
    let broken = |error| BodyError::Broken {
        cause: crate::http::root_cause(&error),
        read,
        declared,
    };
    response.chunk().await.map_err(broken)
}
