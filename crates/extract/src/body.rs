//! Reads a body into one buffer.
//!
//! Invariant: a body is never longer than the limit, counted after decompression and checked while it streams; a body of
//! declared length is copied once, into a buffer of that length.
//!
//! hyper hands out slices of its read buffer. Keeping those of a large body would keep its buffers alive and leave the page
//! in pieces, which the decoder cannot use; so pieces are copied together, while a body that comes in one piece is kept.

use bytes::{Bytes, BytesMut};

/// A single piece below this size is copied, so that it does not keep the connection's whole read buffer alive.
const KEEP_FROM: usize = 64 << 10;

#[derive(Debug)]
pub(crate) enum BodyError {
    /// The body is longer than the limit; the declared length, where there is one.
    TooLong(Option<u64>),
    /// The connection or the compression broke.
    Broken { error: reqwest::Error, read: usize, declared: Option<u64> },
}

/// The whole body, of at most `limit` bytes.
pub(crate) async fn whole(response: &mut reqwest::Response, limit: usize) -> Result<Bytes, BodyError> {
    let declared = response.content_length();
    if declared.is_some_and(|length| length > limit as u64) {
        return Err(BodyError::TooLong(declared));
    }
    let Some(first) = piece(response, 0, declared).await? else {
        return Ok(Bytes::new());
    };
    if first.len() > limit {
        return Err(BodyError::TooLong(declared));
    }
    // Asking for the end too lets the connection go back to the pool.
    let Some(second) = piece(response, first.len(), declared).await? else {
        return Ok(if first.len() < KEEP_FROM { Bytes::copy_from_slice(&first) } else { first });
    };
    let guess = (first.len() + second.len()) * 2;
    let capacity = declared.and_then(|length| usize::try_from(length).ok()).unwrap_or(guess).min(limit);
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

/// The first `limit` bytes of a body that is only read for its explanation. One that breaks off explains what it got to.
pub(crate) async fn beginning(response: &mut reqwest::Response, limit: usize) -> Bytes {
    let mut all = BytesMut::new();
    while all.len() < limit {
        match response.chunk().await {
            Ok(Some(bytes)) => all.extend_from_slice(&bytes[..bytes.len().min(limit - all.len())]),
            Ok(None) | Err(_) => break,
        }
    }
    all.freeze()
}

async fn piece(
    response: &mut reqwest::Response,
    read: usize,
    declared: Option<u64>,
) -> Result<Option<Bytes>, BodyError> {
    response.chunk().await.map_err(|error| BodyError::Broken { error, read, declared })
}
