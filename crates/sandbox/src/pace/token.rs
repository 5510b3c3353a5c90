//! PACE's token endpoint: OAuth2 with the client's credentials.
//!
//! Invariant: errors are those of RFC 6749, in plain JSON; no answer but a good one holds a token.

use super::{EmulatedPace, lock};
use axum::http::{Method, StatusCode};
use serde_json::json;
use tillhouse_emulator::query::{decode, decode_part, last};
use tillhouse_emulator::{EmulatedRequest, EmulatedResponse};

fn refuse(status: StatusCode, error: &str, description: &str) -> EmulatedResponse {
    EmulatedResponse {
        status,
        ..EmulatedResponse::of(&json!({ "error": error, "error_description": description }))
    }
}

impl EmulatedPace {
    pub(super) fn token(&self, call: &EmulatedRequest<'_>) -> EmulatedResponse {
        if *call.method != Method::POST {
            return refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request",
                "only POST is allowed here",
            );
        }
        let kind = call.header("content-type").unwrap_or_default();
        if kind.split(';').next() != Some("application/x-www-form-urlencoded") {
            return refuse(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "invalid_request",
                "send a form",
            );
        }
        let Some(pairs) = std::str::from_utf8(call.body).ok().and_then(decode) else {
            return refuse(
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "the form is not well formed",
            );
        };
        if last(&pairs, "grant_type") != Some("client_credentials") {
            return refuse(
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "only client_credentials is known here",
            );
        }
        let in_form = || {
            Some((
                last(&pairs, "client_id")?.to_owned(),
                last(&pairs, "client_secret")?.to_owned(),
            ))
        };
        let named = call
            .authorization()
            .and_then(|value| value.strip_prefix("Basic "))
            .and_then(basic);
        match named.or_else(in_form) {
            Some((id, secret)) if id == self.client_id && secret == self.client_secret => {
                let token = lock(&self.tokens).issue().access;
                EmulatedResponse::of(&json!({
                    "access_token": token,
                    "expires_in": self.token_ttl.as_secs(),
                    "refresh_expires_in": 0,
                    "token_type": "Bearer",
                    "not-before-policy": 0,
                    "scope": "",
                }))
            }
            _ => refuse(
                StatusCode::UNAUTHORIZED,
                "invalid_client",
                "the client's credentials are missing or wrong",
            ),
        }
    }
}

/// The id and secret of a Basic header: both are form-encoded before they are joined and written in base 64.
fn basic(text: &str) -> Option<(String, String)> {
    let joined = String::from_utf8(base64(text.trim())?).ok()?;
    let (id, secret) = joined.split_once(':')?;
    Some((decode_part(id)?, decode_part(secret)?))
}

/// Reads base 64 in the usual alphabet; padding may be missing.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut held, mut bits) = (Vec::with_capacity(text.len() * 3 / 4), 0_u32, 0);
    for c in text.trim_end_matches('=').bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = (held << 6) | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_decoded_twice() {
        assert_eq!(
            basic("c2FuZGJveDpzYW5kYm94LXNlY3JldA=="),
            Some(("sandbox".into(), "sandbox-secret".into()))
        );
        assert_eq!(basic("YSUzQWI6Yw"), Some(("a:b".into(), "c".into())));
        assert_eq!((basic("!"), basic("YWJj")), (None, None));
    }
}
