//! The `connection` section of a HecOne pipeline, as written and then checked.
//!
//! Invariant: a connection that opens has a usable address, paths that stay below it, and credentials that are not empty.

use crate::transactions::HecOneSource;
use serde::Deserialize;
use std::sync::Arc;
use tillhouse_extract::{
    AuthorizedClient, BaseUrl, Credential, HttpClient, JsonLogin, LoginWording, PathTemplate,
    RecordEndpoint, Source, SourceConnection, SourceLimits, TokenPrefix, check_path, not_blank,
};
use tillhouse_model::{ProblemList, Resource, Result};

/// The source's name.
pub const SOURCE: &str = "hecone";

/// Resources of HecOne.
///
/// The document's sample of a transaction by id has no site, device, point, products, card issuer and log.
pub const RESOURCES: &[Resource] = &[Resource {
    name: "transactions",
    records_at: &["data"],
    by_id: true,
    sparse_by_id: true,
    declares_total: true,
    ..Resource::INCREMENTAL
}];

const WORDS: LoginWording = LoginWording {
    provider: "HecOne",
    name: "client_id",
    secret: "client_secret",
    if_refused: "Check connection.client_id and connection.client_secret of this pipeline.",
    if_missing: "Set connection.paths.login (and base_url): HecOne does not document them, so ask the provider.",
};

/// Connection to HecOne.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HecOneConnection {
    /// The address that all paths lie below.
    pub base_url: BaseUrl,
    /// The login's name, from the provider.
    pub client_id: String,
    /// The login's secret, from the provider.
    pub client_secret: Credential,
    /// Addresses of the endpoints; HecOne's document does not say.
    #[serde(default)]
    pub paths: HecOnePaths,
    /// The query parameter that carries a filter, for the statistics to reconcile with.
    #[serde(default = "filter_parameter")]
    pub filter_parameter: String,
}

/// Paths below the base URL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HecOnePaths {
    /// Address that gives tokens for credentials.
    pub login: String,
    /// Address that gives tokens for a refresh token; without it, credentials are sent again.
    pub refresh: Option<String>,
    /// The list of transactions.
    pub transactions: String,
    /// One transaction, with `{id}` in it; by default the list's path and `/{id}`.
    pub transaction: Option<String>,
    /// The provider's own statistics, to reconcile with.
    pub statistics: String,
}

impl Default for HecOnePaths {
    fn default() -> Self {
        Self {
            login: "/auth/login".into(),
            refresh: None,
            transactions: "/transactions".into(),
            transaction: None,
            statistics: "/transactions/statistics".into(),
        }
    }
}

fn filter_parameter() -> String {
    "filter".into()
}

impl HecOnePaths {
    /// Checks them; the route of one transaction.
    fn check(&self) -> Result<PathTemplate> {
        let mut problems = ProblemList::default();
        problems.keep(check_path("connection.paths.login", &self.login));
        let list = problems.keep(check_path(
            "connection.paths.transactions",
            &self.transactions,
        ));
        problems.keep(check_path("connection.paths.statistics", &self.statistics));
        if let Some(refresh) = &self.refresh {
            problems.keep(check_path("connection.paths.refresh", refresh));
        }
        let default = || format!("{}/{{id}}", self.transactions.trim_end_matches('/'));
        let one = self
            .transaction
            .clone()
            .or_else(|| list.map(|()| default()));
        let route = one.and_then(|one| {
            problems.keep(PathTemplate::with_id(
                "connection.paths.transaction",
                &one,
                "/transactions/{id}",
            ))
        });
        problems.or(route)
    }
}

impl SourceConnection for HecOneConnection {
    const SOURCE: &'static str = SOURCE;
    const RESOURCES: &'static [Resource] = RESOURCES;

    fn open(self, limits: SourceLimits) -> Result<Arc<dyn Source>> {
        let mut problems = ProblemList::default();
        let one = problems.keep(self.paths.check());
        problems.keep(self.client_secret.check("connection.client_secret"));
        problems.keep(not_blank("connection.client_id", &self.client_id));
        problems.keep(not_blank(
            "connection.filter_parameter",
            &self.filter_parameter,
        ));
        let one = problems.or(one)?;
        let client = HttpClient::new(SOURCE, self.base_url, limits)?;
        let (list, statistics) = (
            client.url(&self.paths.transactions)?,
            client.url(&self.paths.statistics)?,
        );
        let login = JsonLogin {
            login: client.url(&self.paths.login)?,
            refresh: self
                .paths
                .refresh
                .as_deref()
                .map(|path| client.url(path))
                .transpose()?,
            client: client.clone(),
            name: self.client_id,
            secret: self.client_secret,
            prefix: TokenPrefix::bearer(),
            words: WORDS,
        };
        let singles = Arc::new(RecordEndpoint::new(
            SOURCE,
            "connection.paths.transaction",
            one.to_string(),
        ));
        Ok(Arc::new(HecOneSource {
            api: AuthorizedClient::new(client, Arc::new(login)),
            list,
            one,
            singles,
            statistics,
            filter_parameter: self.filter_parameter,
            sizes: Arc::default(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::ErrorKind;

    fn parse(more: &str) -> Result<HecOneConnection, serde_json::Error> {
        serde_json::from_str(&format!(
            r#"{{"base_url":"http://127.0.0.1:1/hecone","client_id":"me","client_secret":"hunter2"{more}}}"#
        ))
    }

    #[test]
    fn little_has_to_be_written() {
        let connection = parse("").unwrap();
        assert_eq!(connection.paths, HecOnePaths::default());
        assert_eq!(
            connection.paths.check().unwrap().expand("7").unwrap(),
            "/transactions/7"
        );
        assert_eq!(connection.filter_parameter, "filter");
        assert!(!format!("{connection:?}").contains("hunter2"));
        let source = connection.open(SourceLimits::default()).unwrap();
        assert_eq!((source.name(), source.resources()), ("hecone", RESOURCES));
        assert!(!format!("{source:?}").contains("hunter2"));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(
            parse(r#","client_secert":"x""#)
                .unwrap_err()
                .to_string()
                .contains("unknown field `client_secert`")
        );
        assert!(
            parse(r#","paths":{"log_in":"/x"}"#)
                .unwrap_err()
                .to_string()
                .contains("unknown field `log_in`")
        );
        for (more, named) in [
            (r#","paths":{"login":"auth"}"#, "connection.paths.login"),
            (r#","paths":{"refresh":"/a?b"}"#, "connection.paths.refresh"),
            (
                r#","paths":{"transactions":"/../x"}"#,
                "connection.paths.transactions",
            ),
            (
                r#","paths":{"statistics":"//x"}"#,
                "connection.paths.statistics",
            ),
            (
                r#","paths":{"transaction":"/transactions"}"#,
                "connection.paths.transaction",
            ),
            (r#","filter_parameter":" ""#, "connection.filter_parameter"),
        ] {
            let error = parse(more)
                .unwrap()
                .open(SourceLimits::default())
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains(named), "{error}");
        }
        let empty = r#"{"base_url":"http://127.0.0.1","client_id":"me","client_secret":""}"#;
        let error = serde_json::from_str::<HecOneConnection>(empty)
            .unwrap()
            .open(SourceLimits::default())
            .unwrap_err();
        assert!(
            error.message().contains("connection.client_secret"),
            "{error}"
        );
    }
}
