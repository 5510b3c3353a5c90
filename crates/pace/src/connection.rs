//! The `connection` section of a PACE pipeline, as written and then checked.
//!
//! Invariant: a connection that opens has usable addresses, credentials that are not empty, and partners that the chosen API can be
//! asked for.

use crate::login::PaceLogin;
use crate::transactions::{PaceListEndpoint, PaceSource};
use serde::Deserialize;
use std::sync::Arc;
use tillhouse_extract::oauth2::ClientCredentials;
use tillhouse_extract::{
    AuthorizedClient, BaseUrl, Credential, EndpointUrl, HttpClient, NameList, PathTemplate, Source,
    SourceConnection, SourceLimits, check_path,
};
use tillhouse_model::{Error, ProblemList, ReadBy, Resource, Result};

/// The source's name.
pub const SOURCE: &str = "pace";

/// The most records PACE gives a page.
pub(crate) const LARGEST_PAGE: u32 = 100;

/// Resources of PACE.
pub const RESOURCES: &[Resource] = &[Resource {
    name: "transactions",
    records_at: &["data"],
    declares_total: true,
    largest_page: Some(LARGEST_PAGE),
    ..Resource::INCREMENTAL
}];

/// Resources as `api: 2025-1` offers them.
pub(crate) const CHANGES: &[Resource] = &[Resource {
    read_by: ReadBy::ChangeTime,
    ..RESOURCES[0]
}];

/// Connection to PACE.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PaceConnection {
    /// The API's address.
    pub base_url: BaseUrl,
    /// Address that gives out tokens, on a server of its own.
    pub token_url: EndpointUrl,
    /// The client's name, from the provider.
    pub client_id: String,
    /// The client's secret, from the provider.
    pub client_secret: Credential,
    /// Scope of the token, where the provider wants one.
    #[serde(default)]
    pub scope: Option<String>,
    /// The partners whose transactions are read. `api: 2025-1` can do without.
    #[serde(default)]
    pub partners: NameList,
    /// List of PACE's that is read.
    #[serde(default)]
    pub api: PaceListApi,
    /// Addresses of the lists.
    #[serde(default)]
    pub paths: PacePaths,
    /// Filters of the list of `api: 2025-1`.
    #[serde(default)]
    pub filters: PaceFilters,
}

/// List of PACE that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum PaceListApi {
    /// The list of a partner, by the time of creation: the one the document describes, and calls deprecated.
    #[default]
    #[serde(rename = "partner")]
    Partner,
    /// Its successor, by the time of last change, with more fields.
    #[serde(rename = "2025-1")]
    V2025_1,
}

/// Paths below the base URL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PacePaths {
    /// The list of `api: partner`, with `{partner}` in it.
    pub partner: String,
    /// The list of `api: 2025-1`.
    pub transactions: String,
}

impl Default for PacePaths {
    fn default() -> Self {
        Self {
            partner: "/pay/2022-1/transactions/contracts/partners/{partner}".into(),
            transactions: "/pay/2025-1/transactions".into(),
        }
    }
}

/// Query parameters of `api: 2025-1`; how they are spelled is not documented.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PaceFilters {
    /// The window's start, which belongs to it.
    pub from: String,
    /// The window's end, which does not.
    pub to: String,
    /// The partner. Without it, the list is taken for that of the one partner named, or of all.
    pub partner: Option<String>,
}

impl Default for PaceFilters {
    fn default() -> Self {
        Self {
            from: "filter[updatedAt][gte]".into(),
            to: "filter[updatedAt][lt]".into(),
            partner: None,
        }
    }
}

impl PaceConnection {
    /// Checks it; the route of a partner's list.
    fn check(&self) -> Result<PathTemplate> {
        let example = "/pay/2022-1/transactions/contracts/partners/{partner}";
        let mut problems = ProblemList::default();
        let route = problems.keep(PathTemplate::with_id(
            "connection.paths.partner",
            &self.paths.partner,
            example,
        ));
        problems.keep(check_path(
            "connection.paths.transactions",
            &self.paths.transactions,
        ));
        let PaceFilters { from, to, partner } = &self.filters;
        for (key, name) in [
            ("from", Some(from)),
            ("to", Some(to)),
            ("partner", partner.as_ref()),
        ] {
            if name.is_some_and(|name| name.trim().is_empty()) {
                problems.0.push(
                    Error::config(format!("connection.filters.{key} is empty"))
                        .hint("Write the query parameter's name, like filter[updatedAt][gte]."),
                );
            }
        }
        if self
            .scope
            .as_ref()
            .is_some_and(|scope| scope.trim().is_empty())
        {
            let error = Error::config("connection.scope is empty");
            problems
                .0
                .push(error.hint("Leave it out where none is wanted."));
        }
        problems.keep(self.partners.check("connection.partners"));
        match (self.api, self.partners.as_slice().len(), &self.filters.partner) {
            (PaceListApi::Partner, 0, _) => problems.0.push(Error::config("connection.partners is empty")
                .hint("List the partners to read, partners: [A, B]; or read all this client may see with api: 2025-1.")),
            (PaceListApi::V2025_1, 2.., None) => problems.0.push(Error::config("api: 2025-1 cannot tell several partners apart by itself")
                .hint(
                    "Set connection.filters.partner to the query parameter that narrows the list to one partner; or make a pipeline for \
                     each partner.",
                )),
            _ => {}
        }
        problems.or(route)
    }
}

impl SourceConnection for PaceConnection {
    const SOURCE: &'static str = SOURCE;
    const RESOURCES: &'static [Resource] = RESOURCES;

    fn open(self, limits: SourceLimits) -> Result<Arc<dyn Source>> {
        let mut problems = ProblemList::default();
        let route = problems.keep(self.check());
        let client = problems.keep(HttpClient::new(SOURCE, self.base_url, limits));
        let credentials = client.as_ref().map(|client| {
            ClientCredentials::new(
                client,
                &self.token_url,
                self.client_id,
                self.client_secret,
                self.scope,
            )
        });
        let credentials = credentials.and_then(|credentials| problems.keep(credentials));
        let ((route, client), credentials) = problems.or(route.zip(client).zip(credentials))?;
        let question = match self.api {
            PaceListApi::Partner => PaceListEndpoint::Partner { route },
            PaceListApi::V2025_1 => PaceListEndpoint::Changes {
                path: self.paths.transactions,
                filters: self.filters,
            },
        };
        let api = AuthorizedClient::new(client, Arc::new(PaceLogin::new(credentials)));
        Ok(Arc::new(PaceSource::new(
            api,
            self.partners.into_vec(),
            question,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::ErrorKind;

    fn parse(more: &str) -> Result<PaceConnection, serde_json::Error> {
        serde_json::from_str(&format!(
            r#"{{"base_url":"http://127.0.0.1:1/pace","token_url":"http://127.0.0.1:2/token","client_id":"me",
            "client_secret":"hunter2"{more}}}"#
        ))
    }

    fn refused(more: &str) -> Error {
        parse(more)
            .unwrap()
            .open(SourceLimits::default())
            .unwrap_err()
    }

    #[test]
    fn little_has_to_be_written() {
        let connection = parse(r#","partners":["acme"]"#).unwrap();
        assert_eq!(
            (connection.api, &connection.paths),
            (PaceListApi::Partner, &PacePaths::default())
        );
        assert!(!format!("{connection:?}").contains("hunter2"));
        let source = connection.open(SourceLimits::default()).unwrap();
        assert_eq!((source.name(), source.resources()), ("pace", RESOURCES));
        assert_eq!(source.resources()[0].read_by, ReadBy::EventTime);
        assert!(!format!("{source:?}").contains("hunter2"));
        for api in [
            r#","api":"2025-1""#,
            r#","api":"2025-1","partners":["acme"]"#,
        ] {
            let source = parse(api).unwrap().open(SourceLimits::default()).unwrap();
            let [
                Resource {
                    name,
                    read_by,
                    follows_changes: late,
                    ..
                },
            ] = source.resources()
            else {
                panic!("one resource")
            };
            assert_eq!(
                (*name, *read_by, *late),
                (RESOURCES[0].name, ReadBy::ChangeTime, false),
                "{api}"
            );
        }
        let several =
            r#","api":"2025-1","partners":["a","b"],"filters":{"partner":"filter[partner]"}"#;
        assert!(
            parse(several)
                .unwrap()
                .open(SourceLimits::default())
                .is_ok()
        );
    }

    #[test]
    fn mistakes_are_named() {
        assert!(
            parse(r#","partner":[]"#)
                .unwrap_err()
                .to_string()
                .contains("unknown field `partner`")
        );
        assert!(
            parse(r#","api":"2025-2""#)
                .unwrap_err()
                .to_string()
                .contains("`partner` or `2025-1`")
        );
        for (more, named) in [
            ("", "connection.partners is empty"),
            (
                r#","partners":["a/../b","."]"#,
                "connection.partners: \".\"",
            ),
            (r#","partners":["a","a"]"#, "names \"a\" twice"),
            (
                r#","partners":["a"],"paths":{"partner":"/x"}"#,
                "does not hold {partner} once",
            ),
            (
                r#","partners":["a"],"paths":{"transactions":"x"}"#,
                "connection.paths.transactions",
            ),
            (
                r#","partners":["a"],"filters":{"to":" "}"#,
                "connection.filters.to",
            ),
            (r#","partners":["a"],"scope":"""#, "connection.scope"),
            (
                r#","api":"2025-1","partners":["a","b"]"#,
                "cannot tell several partners apart",
            ),
        ] {
            let error = refused(more);
            assert_eq!(error.kind(), ErrorKind::Config, "{more}");
            assert!(error.message().contains(named), "{error}");
        }
        for key in ["client_id", "client_secret"] {
            let text = format!(
                r#"{{"base_url":"http://127.0.0.1","token_url":"http://127.0.0.1","client_id":"me","client_secret":"s","partners":["a"],"{key}":""}}"#
            );
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            let connection: PaceConnection = serde_json::from_value(value).unwrap();
            let error = connection.open(SourceLimits::default()).unwrap_err();
            assert!(
                error.message().contains(&format!("connection.{key}")),
                "{error}"
            );
        }
        let bad = r#"{"base_url":"http://127.0.0.1","token_url":"id.example.com","client_id":"me","client_secret":"s"}"#;
        let error = serde_json::from_str::<PaceConnection>(bad)
            .unwrap_err()
            .to_string();
        assert!(error.contains("has no http:// or https://"), "{error}");
    }
}
