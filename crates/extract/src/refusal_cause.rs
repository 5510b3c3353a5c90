//! Cause of a refusal: the token, the number of records asked for, or a quota that is used up.
//!
//! Invariant: only words of the server decide, each text of its body by itself; none of them is shown from here.
//!
//! Not every expired token is a 401: gateways say 403, 400 or 422, some servers 419 or 498, some fall over it with 500 or write 401 into a success,
//! and OAuth's resource servers say it in `WWW-Authenticate` (RFC 6750, section 3.1). A new token is cheap where it was not the token after all, and nothing else helps where it was.
//! The words for it, in several languages, are those of [`vocabulary`](crate::vocabulary).

use crate::plain_text::{any_text, letters, words};
use crate::vocabulary::{WORDS, WordList};
use serde_json::Value;
use url::Url;

/// Most letters between what is blamed and what is wrong with it.
const APART: usize = 40;

/// True if a challenge (`WWW-Authenticate`) or a body says that a token has expired or is none.
pub(crate) fn names_token(challenge: Option<&str>, body: &[u8]) -> bool {
    challenge.is_some_and(names_a_dead_token) || any_text(body, &names_a_dead_token)
}

/// True if a body states the code of a refused token where it states how it went: `{"status": 401}`, `{"error": {"code": "401"}}`.
pub(crate) fn states_unauthorized(body: &[u8]) -> bool {
    serde_json::from_slice::<Value>(body).is_ok_and(|body| states(&body, 0))
}

/// True if an address is that of a login: a part of its path says so.
pub(crate) fn is_login(url: &Url) -> bool {
    let begins = [
        "login",
        "logon",
        "signin",
        "signon",
        "anmeld",
        "authenticate",
    ];
    url.path_segments().into_iter().flatten().any(|part| {
        let part = letters(part);
        part == "sso" || begins.iter().any(|login| part.starts_with(login))
    })
}

/// True if a body is a web page at which people log in.
pub(crate) fn is_login_page(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let words = words(&text);
    let is_login = [
        " login ",
        " log in ",
        " logon ",
        " sign in ",
        " signin ",
        " password ",
        " anmelden ",
        " anmeldung ",
        " passwort ",
        " kennwort ",
    ]
    .iter()
    .any(|login| words.contains(login));
    is_login
        && text
            .trim_start_matches('\u{feff}')
            .trim_start()
            .starts_with('<')
}

/// Levels of wrapping around such a code.
const DEEPEST: usize = 2;

fn states(value: &Value, depth: usize) -> bool {
    let Value::Object(fields) = value else {
        return false;
    };
    fields.iter().any(|(key, value)| {
        let is_code = ["status", "code", "error", "httpcode", "httpstatus"]
            .iter()
            .any(|word| letters(key).ends_with(word));
        let code = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        (is_code && matches!(code, Some(401 | 419 | 440 | 498)))
            || (depth < DEEPEST && states(value, depth + 1))
    })
}

fn names_a_dead_token(text: &str) -> bool {
    let letters = letters(text);
    if WORDS
        .other_tokens
        .iter()
        .any(|other| letters.contains(other))
    {
        return false;
    }
    let places = |list: &WordList| -> Vec<usize> {
        list.iter()
            .flat_map(|word| letters.match_indices(word).map(|(at, _)| at))
            .collect()
    };
    let is_near = |blamed: &[usize], wrong: &[usize]| {
        blamed
            .iter()
            .any(|what| wrong.iter().any(|wrong| what.abs_diff(*wrong) <= APART))
    };
    let (tokens, expiries) = (places(&WORDS.tokens), places(&WORDS.expiries));
    is_near(&tokens, &expiries)
        || is_near(&tokens, &places(&WORDS.token_faults))
        || is_near(&places(&WORDS.logins), &expiries)
}

/// True if a body says that too many records are asked for at once.
pub(crate) fn names_page_size(body: &[u8]) -> bool {
    let names = |text: &str| {
        let words = words(text);
        let is_rate = [" rate ", " quota ", " time ", " calls ", " requests "]
            .iter()
            .any(|rate| words.contains(rate));
        let sizes = [
            " limit ",
            " page size ",
            " pagesize ",
            " page limit ",
            " per page ",
            " perpage ",
            " max results ",
            " many records ",
        ];
        !is_rate && sizes.iter().any(|size| words.contains(size))
    };
    any_text(body, &names)
}

/// True if a body says that a quota of calls is used up, which a gateway (Azure API Management)
/// says with 403.
pub(crate) fn names_quota(body: &[u8]) -> bool {
    let names = |text: &str| {
        let letters = letters(text);
        let quotas = [
            "outofcallvolumequota",
            "outofbandwidthquota",
            "quotawillbereplenished",
            "quotaexceeded",
            "ratelimit",
        ];
        quotas.iter().any(|quota| letters.contains(quota))
    };
    any_text(body, &names)
}

/// True if a text says no more than that nothing is at an address: of what was looked for there it knows nothing.
pub(crate) fn is_about_the_address(text: &str) -> bool {
    let words = words(text);
    let addresses = [
        " route ",
        " url ",
        " uri ",
        " endpoint ",
        " path ",
        " page ",
        " resource ",
        " method ",
        " cannot get ",
    ];
    matches!(
        words.trim(),
        "not found" | "gone" | "http not found" | "error not found"
    ) || addresses.iter().any(|address| words.contains(address))
}

/// Words of a challenge: its `error_description`, else its `error`.
pub(crate) fn words_of(challenge: &str) -> Option<String> {
    let parameter = |name: &str| {
        let (_, rest) = challenge.split_once(&format!("{name}="))?;
        let text = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next()?,
            None => rest.split([',', ' ']).next()?,
        };
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    parameter("error_description").or_else(|| parameter("error"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain_text::LONGEST;

    #[test]
    fn a_dead_token_is_known_by_the_servers_words() {
        for body in [
            r#"{"status":"Error","errors":[{"code":"TokenExpired","message":"so it is"}]}"#,
            r#"{"errors":[{"code":"InvalidJWT"}]}"#,
            r#"{"errors":[{"status":"403","title":"Forbidden","detail":"The access token has expired"}]}"#,
            r#"{"error":"invalid_token"}"#,
            r#"{"error":{"code":"ExpiredAuthenticationToken"}}"#,
            r#"{"message":"jwt expired"}"#,
            r#"{"message":"Token is invalid or has been revoked"}"#,
            r#"{"fault":{"faultstring":"Access Token expired","detail":{"errorcode":"keymanagement.service.access_token_expired"}}}"#,
            r#"{"message":"Your session has expired, please log in again."}"#,
            r#"{"message":"Lifetime validation failed, the token is expired."}"#,
            r#"{"message":"The token is no longer valid"}"#,
            r#"{"message":"The token is no longer active"}"#,
            r#"{"message":"Your access token has timed out"}"#,
            r#"{"message":"Das Zugriffstoken ist abgelaufen."}"#,
            r#"{"meldung":"Token ung\u00fcltig oder widerrufen"}"#,
            r#"{"message":"Der Token ist nicht mehr gültig"}"#,
            r#"{"message":"Ihre Sitzung ist abgelaufen, bitte melden Sie sich neu an."}"#,
            r#"{"message":"Le jeton d'accès a expiré"}"#,
            r#"{"message":"Le jeton n'est plus valide"}"#,
            r#"{"message":"El token ha caducado"}"#,
            r#"{"message":"Token no válido"}"#,
            r#"{"message":"La sesión ha expirado"}"#,
            r#"{"message":"Il token è scaduto"}"#,
            r#"{"message":"Het token is verlopen"}"#,
            r#"{"message":"Ongeldig token"}"#,
            "Token expired",
        ] {
            assert!(names_token(None, body.as_bytes()), "{body}");
        }
        assert!(names_token(
            Some(r#"Bearer realm="x", error="invalid_token", error_description="gone""#),
            b""
        ));
        assert!(names_token(Some("Bearer error=expired_token"), b"<html>"));
        for body in [
            r#"{"errors":[{"title":"Missing linked identity for authorized access","code":"missing-linked-identity"}]}"#,
            r#"{"message":"you may not read this account"}"#,
            r#"{"message":"start_date is invalid"}"#,
            r#"{"message":"sessionStartDate is invalid"}"#,
            r#"{"message":"the page token is invalid"}"#,
            r#"{"message":"invalid csrf token"}"#,
            r#"{"message":"Ungültiges CSRF-Token"}"#,
            r#"{"message":"Anmeldung ungültig"}"#,
            r#"{"message":"the database session has timed out"}"#,
            r#"{"message":"Der Zeitraum ist abgelaufen"}"#,
            r#"{"message":"Unexpected token < in JSON: invalid"}"#,
            r#"{"message":"invalid subscription"}"#,
            r#"{"token":"expired"}"#,
            "",
            "<html>",
        ] {
            assert!(!names_token(None, body.as_bytes()), "{body}");
        }
        assert!(!names_token(Some(r#"Bearer realm="api""#), b"{}"));
        let story = format!(r#"{{"trace":"{} token expired"}}"#, "x".repeat(LONGEST));
        assert!(!names_token(None, story.as_bytes()));
    }

    #[test]
    fn logins_are_known_by_their_address_and_their_page() {
        let is_login = |path: &str| {
            let url = Url::parse(&format!("https://till.example.com{path}")).unwrap();
            is_login(&url)
        };
        for path in [
            "/login",
            "/auth/Login.aspx?next=/x",
            "/account/sign-in",
            "/sso/",
            "/Anmeldung",
        ] {
            assert!(is_login(path), "{path}");
        }
        for path in [
            "/",
            "/there",
            "/transactions/",
            "/session",
            "/list?then=/login",
            "/password",
        ] {
            assert!(!is_login(path), "{path}");
        }
        for page in [
            "<html>login</html>",
            "<!DOCTYPE html><title>Sign in</title>",
            "\u{feff} <form><input type=\"password\"></form>",
            "<p>Bitte neu anmelden</p>",
        ] {
            assert!(is_login_page(page.as_bytes()), "{page}");
        }
        for page in [
            "<html>",
            "<title>Bad gateway</title>",
            "login",
            r#"{"message":"login"}"#,
            "",
        ] {
            assert!(!is_login_page(page.as_bytes()), "{page}");
        }
    }

    #[test]
    fn a_code_in_the_envelope_tells_of_a_refused_token() {
        for body in [
            r#"{"status":401,"message":"Unauthorized"}"#,
            r#"{"statusCode":"498"}"#,
            r#"{"meta":{"error":{"code":401}}}"#,
        ] {
            assert!(states_unauthorized(body.as_bytes()), "{body}");
        }
        for body in [
            r#"{"status":403}"#,
            r#"{"total":401}"#,
            r#"{"data":[{"status":401}]}"#,
            r#"{"postcode":40100}"#,
            "401",
            "<html>",
        ] {
            assert!(!states_unauthorized(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn a_page_that_is_too_large_is_told_from_a_rate_that_is_too_high() {
        for body in [
            r#"{"message":"limit must not exceed 100"}"#,
            r#"{"errors":[{"title":"Invalid value","source":{"parameter":"page[size]"}}]}"#,
            r#"{"errors":{"page[limit]":["must be at most 100"]},"message":"page[limit] is too large"}"#,
            r#"{"error":"per_page out of range"}"#,
            r#"{"message":"pageSize must be between 1 and 100"}"#,
            r#"{"message":"too many records requested"}"#,
        ] {
            assert!(names_page_size(body.as_bytes()), "{body}");
        }
        for body in [
            r#"{"message":"rate limit exceeded"}"#,
            r#"{"message":"limit of requests reached"}"#,
            r#"{"message":"start_date is no date"}"#,
            r#"{"message":"the delimiter is unlimited"}"#,
            "",
            "<html>",
        ] {
            assert!(!names_page_size(body.as_bytes()), "{body}");
        }
    }

    #[test]
    fn what_is_said_of_an_address_is_nothing_about_records() {
        for text in [
            "Not Found",
            "404 not found",
            "Gone",
            "Cannot GET /transactions",
            "No static resource transactions.",
            "The requested URL was not found on this server",
            "no Route matched with those values",
        ] {
            assert!(is_about_the_address(text), "{text}");
        }
        for text in [
            "No transactions found",
            "Period 7: closed",
            "nothing here today",
            "E-204",
        ] {
            assert!(!is_about_the_address(text), "{text}");
        }
    }

    #[test]
    fn a_gateways_quota_is_known() {
        let azure = r#"{"statusCode":403,"message":"Out of call volume quota. Quota will be replenished in 12:34:56."}"#;
        assert!(names_quota(azure.as_bytes()));
        assert!(!names_quota(
            br#"{"statusCode":403,"message":"Access denied"}"#
        ));
    }

    #[test]
    fn a_challenge_has_words() {
        let of = |challenge| words_of(challenge);
        assert_eq!(
            of(r#"Bearer error="invalid_token", error_description="it, is over""#).as_deref(),
            Some("it, is over")
        );
        assert_eq!(
            of("Bearer error=invalid_token, x=y").as_deref(),
            Some("invalid_token")
        );
        assert_eq!(of("Basic realm=x"), None);
    }
}
