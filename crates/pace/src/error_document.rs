//! JSON:API's errors, and what to do about them.
//!
//! Invariant: what PACE says of a request is shown as title, detail, place and id, each scrubbed; links and meta are not. The id is what PACE
//! finds the failure by in its own logs.

use serde::Deserialize;
use tillhouse_extract::{HttpRefusal, Redactor};
use tillhouse_model::{Error, ErrorKind};

/// The code of a 401 that no token mends.
pub(crate) const LINKED_IDENTITY: &str = "missing-linked-identity";

/// A JSON:API error document, as far as it was given.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct PaceErrorDocument {
    #[serde(default)]
    errors: Vec<PaceErrorObject>,
}

/// One error object of JSON:API.
#[derive(Debug, Deserialize)]
struct PaceErrorObject {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    detail: Option<String>,
    #[serde(default)]
    source: Option<PaceErrorSource>,
}

/// Pointer or parameter of the request that an error is about.
#[derive(Debug, Deserialize)]
struct PaceErrorSource {
    #[serde(default)]
    pointer: Option<String>,
    #[serde(default)]
    parameter: Option<String>,
}

impl PaceErrorDocument {
    /// The errors in a body; none where it is no such document.
    pub(crate) fn of(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }

    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.errors
            .iter()
            .any(|problem| problem.code.as_deref() == Some(code))
    }

    /// `title: detail (at pointer)`, one after the other; `None` where there is nothing to show.
    fn words(&self) -> Option<String> {
        fn text(text: &Option<String>) -> Option<&str> {
            text.as_deref()
                .map(str::trim)
                .filter(|text| !text.is_empty())
        }
        let words = self.errors.iter().filter_map(|problem| {
            let words = match (text(&problem.title), text(&problem.detail)) {
                (Some(title), Some(detail)) if title != detail => format!("{title}: {detail}"),
                (title, detail) => title.or(detail).or(text(&problem.code))?.to_owned(),
            };
            let place = problem
                .source
                .as_ref()
                .and_then(|place| text(&place.pointer).or(text(&place.parameter)));
            Some(place.map_or_else(|| words.clone(), |place| format!("{words} (at {place})")))
        });
        let words: Vec<String> = words.collect();
        (!words.is_empty()).then(|| words.join("; "))
    }

    /// The ids of the errors, a few of them; `None` where there is none. They look like tokens, so they are not scrubbed by their looks: what is
    /// longer than an id, made of more than one is, or holds a secret that was sent is left out.
    fn ids(&self, redactor: &Redactor) -> Option<String> {
        const MOST: usize = 3;
        const LONGEST: usize = 40;
        let is_id = |id: &&str| {
            (1..=LONGEST).contains(&id.len())
                && id
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
                && !redactor.knows(id)
        };
        let ids = self
            .errors
            .iter()
            .filter_map(|problem| problem.id.as_deref().map(str::trim))
            .filter(is_id);
        let ids: Vec<&str> = ids.take(MOST).collect();
        (!ids.is_empty()).then(|| ids.join(", "))
    }
}

/// A refusal in PACE's own terms; `partner` is the one that was asked for, if one was.
pub(crate) fn refusal_error(
    refusal: HttpRefusal,
    partner: Option<&str>,
    redactor: &Redactor,
) -> Error {
    let problems = PaceErrorDocument::of(&refusal.body);
    let words = problems
        .words()
        .map(|words| redactor.scrub(&words))
        .or_else(|| refusal.message.clone());
    let ids = problems.ids(redactor);
    let with_ids = |error: Error| match &ids {
        Some(ids) => error.at("error id", ids.clone()),
        None => error,
    };
    let said = words.map(|words| format!(": {words}")).unwrap_or_default();
    let unauthorized = |text: &str| Error::new(ErrorKind::Unauthorized, format!("{text}{said}"));
    let error = match (refusal.status.as_u16(), partner) {
        (401, _) if problems.has_code(LINKED_IDENTITY) => unauthorized("PACE misses a linked identity").hint(
            "No new token helps. A client reads on behalf of itself and needs none: check that connection.client_id is a client of \
             the kind that client credentials are for, and ask the provider to link its identity.",
        ),
        (status, _) if refusal.names_token() || matches!(status, 401 | 419 | 440 | 498) => {
            unauthorized("PACE refuses a token it has just given out")
                .hint("Check that connection.base_url and connection.token_url belong together, and connection.scope.")
        }
        (403, _) => unauthorized("PACE does not allow this client to read transactions").hint(
            "Ask the provider which partners this client may read; some want connection.scope set, for example pay:transactions:read.",
        ),
        (404 | 410, Some(partner)) => Error::config(format!("PACE has nothing for the partner {partner:?}{said}")).hint(
            "Check connection.partners, and that the provider lets this client read it; then connection.base_url and connection.paths.",
        ),
        (404 | 410, _) => Error::config(format!("PACE has no such list{said}"))
            .hint("Check connection.base_url, connection.api and connection.paths."),
        (405, _) => Error::protocol(format!("PACE has no such list{said}"))
            .hint("Check connection.base_url, connection.api and connection.paths."),
        (406 | 415, _) => Error::protocol(format!("PACE refuses the media type application/vnd.api+json{said}"))
            .hint("It is what PACE documents: a proxy may be changing headers, or something else answers at connection.base_url."),
        _ if refusal.names_page_size() => {
            Error::protocol(format!("PACE does not give so many transactions at once{said}")).hint(HttpRefusal::LOWER_PAGE_SIZE)
        }
        (400 | 422, _) => Error::protocol(format!("PACE does not take what it is asked{said}"))
            .hint("Check sync.start and connection.filters: PACE names the parameter it means."),
        (409, _) => Error::protocol(format!("PACE finds the request in conflict with something{said}")),
        _ => {
            let error = with_ids(refusal.into_error());
            return match partner {
                Some(partner) => error.at("partner", partner),
                None => error,
            };
        }
    };
    let error = error.retryable(false).at("source", refusal.source);
    let error = match partner {
        Some(partner) => error.at("partner", partner),
        None => error,
    };
    with_ids(
        error
            .at("url", refusal.url)
            .at("status", refusal.status.as_str()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_extract::StatusCode;
    use tillhouse_model::Secret;

    /// The document's own example.
    const MISSING: &str = r#"{ "errors": [ { "id": "cbgmhslmp1o9or9kh1p0", "title": "Missing linked identity for authorized access", "detail": "Linked identity is needed to access this resource, please check why the user does not have a linked identity", "status": "401", "code": "missing-linked-identity" } ] }"#;

    const EXPIRED: &str =
        r#"{"errors":[{"title":"Forbidden","detail":"The token has expired","status":"403"}]}"#;
    const LARGE: &str =
        r#"{"errors":[{"title":"Invalid value","detail":"page[size] is above 100"}]}"#;

    fn told(status: u16, body: &str, partner: Option<&str>) -> Error {
        let redactor = Redactor::default();
        redactor.add(&Secret::new("hunter2"));
        let refusal = HttpRefusal {
            status: StatusCode::from_u16(status).unwrap(),
            message: redactor.provider_message(body.as_bytes()),
            body: body.to_owned().into(),
            redirect: None,
            challenge: None,
            source: "pace",
            resource: "transactions".into(),
            url: "http://127.0.0.1/x".into(),
        };
        refusal_error(refusal, partner, &redactor)
    }

    #[test]
    fn title_detail_and_place_are_shown() {
        let body = r#"{"errors":[
            {"id":"x1","title":"Invalid value","detail":"hunter2 is no date","source":{"parameter":"date_from"},"meta":{"secret":1}},
            {"title":"Invalid","source":{"pointer":"/data/attributes/x","parameter":"y"}},{"detail":"only this"},{"code":"c"},{}]}"#;
        let error = told(400, body, Some("acme"));
        assert_eq!(
            error.to_string(),
            "PACE does not take what it is asked: Invalid value: *** is no date (at date_from); Invalid (at /data/attributes/x); \
             only this; c (source pace, partner acme, url http://127.0.0.1/x, status 400, error id x1)"
        );
        for hidden in ["hunter2", "a b", "eyJhbGciOiJIUzI1NiJ9.e30.abc1", ""] {
            let body = format!(r#"{{"errors":[{{"id":"{hidden}","title":"No"}}]}}"#);
            assert!(
                !told(503, &body, None).to_string().contains("error id"),
                "{hidden}"
            );
        }
        assert!(
            told(503, MISSING, None)
                .to_string()
                .contains("error id cbgmhslmp1o9or9kh1p0"),
            "whatever the status"
        );
    }

    #[test]
    fn each_status_says_what_to_do() {
        for (status, body, partner, kind, text, hint) in [
            (
                401,
                MISSING,
                None,
                ErrorKind::Unauthorized,
                "Linked identity is needed",
                "No new token helps",
            ),
            (
                401,
                "{}",
                None,
                ErrorKind::Unauthorized,
                "just given out",
                "connection.token_url",
            ),
            (
                403,
                EXPIRED,
                Some("acme"),
                ErrorKind::Unauthorized,
                "just given out: Forbidden: The token has expired",
                "scope",
            ),
            (
                400,
                LARGE,
                None,
                ErrorKind::Protocol,
                "at once: Invalid value: page[size] is above 100",
                "sync.page_size",
            ),
            (
                403,
                "{}",
                Some("acme"),
                ErrorKind::Unauthorized,
                "does not allow",
                "connection.scope",
            ),
            (
                404,
                "{}",
                Some("acme"),
                ErrorKind::Config,
                "nothing for the partner \"acme\"",
                "connection.partners",
            ),
            (
                404,
                "{}",
                None,
                ErrorKind::Config,
                "no such list",
                "connection.paths",
            ),
            (406, "{}", None, ErrorKind::Protocol, "media type", "proxy"),
            (
                415,
                "{}",
                None,
                ErrorKind::Protocol,
                "media type",
                "connection.base_url",
            ),
            (
                422,
                "{}",
                None,
                ErrorKind::Protocol,
                "does not take",
                "connection.filters",
            ),
        ] {
            let error = told(status, body, partner);
            assert_eq!(error.kind(), kind, "{status}");
            assert!(error.message().contains(text), "{error}");
            assert!(error.hint_text().unwrap().contains(hint), "{error:?}");
            assert!(!error.is_retryable());
        }
        assert_eq!(told(409, "{}", None).kind(), ErrorKind::Protocol);
        assert!(
            told(409, "<html>", Some("acme"))
                .to_string()
                .contains("409")
        );
        assert_eq!(told(410, "<html>", Some("acme")).kind(), ErrorKind::Config);
    }

    #[test]
    fn a_body_that_is_no_such_document_has_no_problems() {
        assert!(PaceErrorDocument::of(MISSING.as_bytes()).has_code(LINKED_IDENTITY));
        for body in [
            "",
            "<html>",
            "[]",
            r#"{"errors":[{"code":7}]}"#,
            r#"{"errors":null}"#,
        ] {
            assert!(!PaceErrorDocument::of(body.as_bytes()).has_code(LINKED_IDENTITY));
            assert_eq!(PaceErrorDocument::of(body.as_bytes()).words(), None);
            assert_eq!(
                PaceErrorDocument::of(body.as_bytes()).ids(&Redactor::default()),
                None
            );
        }
    }
}
