//! The `connection` section of a be-mo pipeline, as written and then checked.
//!
//! Invariant: a connection that opens has a usable address, at least one account, each once, headers that can be sent, and credentials
//! that are not empty.

use crate::login::BemoLogin;
use crate::sessions::BemoSource;
use serde::Deserialize;
use std::sync::{Arc, RwLock};
use tillhouse_extract::{
    AuthorizedClient, BaseUrl, Credential, HeaderName, HttpClient, NameList, PathTemplate, Source,
    SourceConnection, SourceLimits, TokenPrefix,
};
use tillhouse_model::{Error, ProblemList, Resource, Result};

/// The source's name.
pub const SOURCE: &str = "bemo";

/// Resources of be-mo.
pub const RESOURCES: &[Resource] = &[Resource {
    name: "sessions",
    records_at: &["data"],
    follows_changes: true,
    ..Resource::INCREMENTAL
}];

/// Connection to be-mo.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BemoConnection {
    /// The gateway's address.
    pub base_url: BaseUrl,
    /// Token for the accounts: a JSON web token, from the provider.
    pub access_token: Credential,
    /// Key of the API as such, from the provider's portal.
    pub subscription_key: Credential,
    /// The accounts whose sessions are read.
    pub accounts: NameList,
    /// Prefix of the token in its header, for example `Bearer`; by default nothing.
    #[serde(default)]
    pub token_prefix: TokenPrefix,
    /// The number of the first page. Where it is not set, pages are counted from 0, and from 1 where that shows.
    #[serde(default)]
    pub first_page: Option<u64>,
    /// The names of headers.
    #[serde(default)]
    pub headers: BemoHeaders,
    /// Addresses of the endpoints.
    #[serde(default)]
    pub paths: BemoPaths,
}

/// Names of headers; the document names the subscription key's only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BemoHeaders {
    /// Header of the request with the access token.
    pub token: String,
    /// Header of the request with the subscription key.
    pub subscription_key: String,
    /// Header of the response with the address of the next page. Without it, pages are asked for
    /// by their number.
    pub next_range: Option<String>,
}

impl Default for BemoHeaders {
    fn default() -> Self {
        Self {
            token: "Authorization".into(),
            subscription_key: "Api-Subscription-Key".into(),
            next_range: Some("Next-Range".into()),
        }
    }
}

/// Paths below the base URL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BemoPaths {
    /// The list of an account's sessions, with `{account}` in it.
    pub sessions: String,
}

impl Default for BemoPaths {
    fn default() -> Self {
        Self {
            sessions: "/reporting/v1/api/accounts/{account}/sessions".into(),
        }
    }
}

/// Reads a header's name; `key` names it in the error.
fn header(key: &str, name: &str) -> Result<HeaderName> {
    HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| {
        Error::config(format!(
            "connection.headers.{key} {name:?} is not the name of a header"
        ))
        .hint("Write it like Api-Subscription-Key.")
    })
}

impl SourceConnection for BemoConnection {
    const SOURCE: &'static str = SOURCE;
    const RESOURCES: &'static [Resource] = RESOURCES;

    fn open(self, limits: SourceLimits) -> Result<Arc<dyn Source>> {
        let example = "/reporting/v1/api/accounts/{account}/sessions";
        let mut problems = ProblemList::default();
        let route = problems.keep(PathTemplate::with_id(
            "connection.paths.sessions",
            &self.paths.sessions,
            example,
        ));
        problems.keep(self.accounts.check("connection.accounts"));
        if self.accounts.as_slice().is_empty() {
            problems
                .0
                .push(Error::config("connection.accounts is empty").hint(
                    "List the ids of the accounts to read, [A, B], or write one text with commas.",
                ));
        }
        problems.keep(self.access_token.check("connection.access_token"));
        problems.keep(self.subscription_key.check("connection.subscription_key"));
        let token_header = problems.keep(header("token", &self.headers.token));
        let key_header = problems.keep(header("subscription_key", &self.headers.subscription_key));
        if token_header.is_some() && token_header == key_header {
            let text = "connection.headers: token and subscription_key cannot share a header";
            problems.0.push(Error::config(text));
        }
        let next_range = self
            .headers
            .next_range
            .as_deref()
            .map(|name| header("next_range", name))
            .transpose();
        let next_range = problems.keep(next_range);
        let settled = route.zip(token_header.zip(key_header)).zip(next_range);
        let ((route, (token_header, key_header)), next_range) = problems.or(settled)?;
        let client = HttpClient::new(SOURCE, self.base_url, limits)?;
        let login = BemoLogin {
            redactor: client.redactor().clone(),
            access_token: self.access_token,
            token_header,
            prefix: self.token_prefix,
            subscription_key: self.subscription_key,
            key_header,
            key: RwLock::default(),
        };
        let api = AuthorizedClient::new(client, Arc::new(login));
        Ok(Arc::new(BemoSource::new(
            api,
            self.accounts.into_vec(),
            route,
            next_range,
            self.first_page,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::ErrorKind;

    fn parse(more: &str) -> Result<BemoConnection, serde_json::Error> {
        serde_json::from_str(&format!(
            r#"{{"base_url":"http://127.0.0.1:1/bemo","access_token":"hunter2","subscription_key":"hunter3"{more}}}"#
        ))
    }

    #[test]
    fn little_has_to_be_written() {
        let connection = parse(r#","accounts":["a-1","b 2"]"#).unwrap();
        assert_eq!(
            (&connection.headers, &connection.paths),
            (&BemoHeaders::default(), &BemoPaths::default())
        );
        assert!(!format!("{connection:?}").contains("hunter"));
        let source = connection.open(SourceLimits::default()).unwrap();
        assert_eq!((source.name(), source.resources()), ("bemo", RESOURCES));
        assert!(!format!("{source:?}").contains("hunter"));
        assert!(
            parse("")
                .unwrap_err()
                .to_string()
                .contains("missing field `accounts`")
        );
    }

    #[test]
    fn mistakes_are_named() {
        assert!(
            parse(r#","acounts":[]"#)
                .unwrap_err()
                .to_string()
                .contains("unknown field `acounts`")
        );
        for (more, named) in [
            (r#","accounts":[]"#, "connection.accounts is empty"),
            (r#","accounts":["a",""]"#, "connection.accounts: \"\""),
            (r#","accounts":["a "]"#, "connection.accounts: \"a \""),
            (r#","accounts":["a","b","a"]"#, "names \"a\" twice"),
            (
                r#","accounts":["a"],"paths":{"sessions":"/sessions"}"#,
                "does not hold {account} once",
            ),
            (
                r#","accounts":["a"],"paths":{"sessions":"/{account}?x"}"#,
                "connection.paths.sessions",
            ),
            (
                r#","accounts":["a"],"headers":{"token":"To ken"}"#,
                "connection.headers.token",
            ),
            (
                r#","accounts":["a"],"headers":{"next_range":""}"#,
                "connection.headers.next_range",
            ),
            (
                r#","accounts":["a"],"headers":{"subscription_key":"authorization"}"#,
                "cannot share a header",
            ),
        ] {
            let error = parse(more)
                .unwrap()
                .open(SourceLimits::default())
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{more}");
            assert!(error.message().contains(named), "{error}");
        }
        for key in ["access_token", "subscription_key"] {
            let text = format!(
                r#"{{"base_url":"http://127.0.0.1","accounts":["a"],"access_token":"t","subscription_key":"k","{key}":""}}"#
            );
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let connection: BemoConnection = serde_json::from_value(value).unwrap();
            let error = connection.open(SourceLimits::default()).unwrap_err();
            assert!(
                error.message().contains(&format!("connection.{key}")),
                "{error}"
            );
        }
    }
}
