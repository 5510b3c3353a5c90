//! The `connection` section of a SmartNow pipeline, as written and then checked.
//!
//! Invariant: a connection that opens has a usable address, paths that stay below it and lead to no machine's configuration, and
//! credentials that are not empty.

use crate::endpoints::{self, ENDPOINTS, RESOURCES, SmartNowEndpoint};
use crate::parents::ParentReadings;
use crate::source::SmartNowSource;
use jiff::SignedDuration;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_extract::{
    AuthorizedClient, BaseUrl, Credential, HttpClient, JsonLogin, LoginWording, PathTemplate,
    Source, SourceConnection, SourceLimits, TokenPrefix, check_path, not_blank,
};
use tillhouse_model::money::{PriceUnit, VatRateUnit};
use tillhouse_model::{Error, ProblemList, Resource, Result, did_you_mean, time};

/// The source's name.
pub const SOURCE: &str = "smartnow";

const LOGIN: &str = "login";
const REFRESH: &str = "refresh";
const SUMMARY: &str = "summary";
const WORDS: LoginWording = LoginWording {
    provider: "SmartNow",
    name: "username",
    secret: "password",
    if_refused: "Check connection.username and connection.password of this pipeline, and that the user's e-mail is confirmed and the \
                 password has not expired.",
    if_missing: "Set connection.paths.login and connection.paths.refresh (and base_url) as the provider says.",
};

/// Connection to SmartNow.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmartNowConnection {
    /// The address that all paths lie below.
    pub base_url: BaseUrl,
    /// The user that reads.
    pub username: String,
    /// The user's password.
    pub password: Credential,
    /// Unit of prices.
    #[serde(default)]
    pub price_unit: PriceUnit,
    /// Unit of a product's `vatrate`.
    #[serde(default)]
    pub vat_rate: VatRateUnit,
    /// Kind of sale by `salestype`: sale, refund, void, free or test. Of those it does not name,
    /// the price decides.
    #[serde(default)]
    pub sales_types: BTreeMap<SalesType, String>,
    /// Addresses of `login`, `refresh`, `summary` (of revenue, to reconcile with) and the resources, if they differ. A path with `{...}` in it is asked for every parent.
    #[serde(default)]
    pub paths: BTreeMap<String, String>,
    /// Spelling of comparisons in `where[column][operator]`.
    #[serde(default)]
    pub operators: SmartNowOperators,
    /// When the archive is asked too.
    #[serde(default)]
    pub archive: SmartNowArchive,
    /// Prefix of the token in the header `Authorization`; empty for the token alone.
    #[serde(default = "TokenPrefix::bearer")]
    pub token_prefix: TokenPrefix,
}

/// A `salestype` as a configuration writes it: a number, or a text that is one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(untagged)]
pub enum SalesType {
    /// `1`
    Number(i64),
    /// `"1"`
    Text(String),
}

/// The kinds of sale, as the unified model has them.
const KINDS: [&str; 5] = ["sale", "refund", "void", "free", "test"];

/// The mapping as unify SQL reads it, `1=test,2=void`. What is a sale by its type is left out: its price says whether it is free or a
/// refund.
fn sales_types(written: &BTreeMap<SalesType, String>) -> Result<String> {
    let mut types = BTreeMap::new();
    for (key, kind) in written {
        let (number, shown) = match key {
            SalesType::Number(number) => (Some(*number), number.to_string()),
            SalesType::Text(text) => (text.trim().parse().ok(), text.clone()),
        };
        let at = |error: Error| error.at("key", format!("connection.sales_types.{shown}"));
        let Some(number) = number else {
            return Err(at(Error::config(format!("a sales type is a number, and {shown:?} is none"))
                .hint("Write what stands in a sale's salestype, as in `sales_types: { 1: test, 2: void }`.")));
        };
        let Some(known) = KINDS.into_iter().find(|known| *known == kind.trim()) else {
            let hint = match did_you_mean::nearest(kind.trim(), &KINDS) {
                Some(near) => format!("Did you mean {near:?}?"),
                None => format!("There are {}.", KINDS.join(", ")),
            };
            return Err(at(Error::config(format!(
                "there is no kind of sale {kind:?}"
            ))
            .hint(hint)));
        };
        if types.insert(number, known).is_some() {
            return Err(at(Error::config(format!(
                "the sales type {number} stands there twice"
            ))));
        }
    }
    let decided = types.into_iter().filter(|(_, kind)| *kind != "sale");
    Ok(decided
        .map(|(number, kind)| format!("{number}={kind}"))
        .collect::<Vec<_>>()
        .join(","))
}

/// Spelling of comparisons on the server. The document names none; these are the ones its kind of
/// server has.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmartNowOperators {
    /// At or after.
    pub at_least: String,
    /// Before.
    pub below: String,
    /// Behind.
    pub above: String,
}

impl Default for SmartNowOperators {
    fn default() -> Self {
        Self {
            at_least: ">=".into(),
            below: "<".into(),
            above: ">".into(),
        }
    }
}

/// The archive of old sales, payments and logs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SmartNowArchive {
    /// Windows that begin longer ago than this ask the archive too; `never`, or a length of time. The provider archives what is
    /// older than 90 days.
    pub after: String,
    /// The query parameter that asks for it.
    pub parameter: String,
}

impl Default for SmartNowArchive {
    fn default() -> Self {
        Self {
            after: "60d".into(),
            parameter: "useArchive".into(),
        }
    }
}

/// Meaning of the archive's settings.
#[derive(Debug, Clone)]
pub(crate) struct ArchiveRule {
    /// `None` for never.
    pub(crate) after: Option<SignedDuration>,
    pub(crate) parameter: String,
}

impl SmartNowArchive {
    fn rule(self) -> Result<ArchiveRule> {
        let after = match self.after.trim() {
            "never" => None,
            text => Some(
                time::parse_duration(text).map_err(|e| e.at("key", "connection.archive.after"))?,
            ),
        };
        word("archive.parameter", &self.parameter)?;
        Ok(ArchiveRule {
            after,
            parameter: self.parameter,
        })
    }
}

/// The path an endpoint is asked at: one with a placeholder is asked for every parent.
fn route(endpoint: &SmartNowEndpoint, path: &str) -> Result<PathTemplate> {
    let key = format!("connection.paths.{}", endpoint.name);
    if path.to_ascii_lowercase().contains("config") {
        return Err(Error::config(format!(
            "{key} {path:?} leads to the machines' configurations"
        ))
        .hint("They hold Wi-Fi keys and are never asked for."));
    }
    if endpoint.parent.is_some() && path.contains('{') {
        PathTemplate::with_id(&key, path, endpoint.path)
    } else {
        PathTemplate::plain(&key, path)
    }
}

/// Routes, operators, archive rule and units of a connection.
#[derive(Debug)]
pub(crate) struct SmartNowSettings {
    /// Paths in the order of [`ENDPOINTS`].
    pub(crate) routes: Vec<PathTemplate>,
    /// Address of the summary of revenue.
    pub(crate) summary: url::Url,
    pub(crate) operators: SmartNowOperators,
    pub(crate) archive: ArchiveRule,
    pub(crate) price_unit: PriceUnit,
    pub(crate) vat_rate: VatRateUnit,
    /// As unify SQL reads it.
    pub(crate) sales_types: String,
}

fn word(key: &str, value: &str) -> Result<()> {
    if value.is_empty()
        || value.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '[' | ']'))
    {
        return Err(Error::config(format!(
            "connection.{key} {value:?} cannot be part of a query"
        ))
        .hint("Write it as the provider spells it, without brackets and white space."));
    }
    Ok(())
}

impl SourceConnection for SmartNowConnection {
    const SOURCE: &'static str = SOURCE;
    const RESOURCES: &'static [Resource] = RESOURCES;

    fn open(self, limits: SourceLimits) -> Result<Arc<dyn Source>> {
        let known = |name: &str| {
            [LOGIN, REFRESH, SUMMARY].contains(&name) || endpoints::find(name).is_some()
        };
        let mut problems = ProblemList::default();
        for name in self.paths.keys().filter(|name| !known(name)) {
            let names: Vec<&str> = ENDPOINTS.iter().map(|endpoint| endpoint.name).collect();
            problems.0.push(
                Error::config(format!(
                    "connection.paths.{name} names nothing that is asked for"
                ))
                .hint(format!(
                    "Known are login, refresh, summary, {}.",
                    names.join(", ")
                )),
            );
        }
        let path = |name: &str, default: &'static str| {
            self.paths
                .get(name)
                .cloned()
                .unwrap_or_else(|| default.into())
        };
        let (login, refresh) = (path(LOGIN, "/auth/login"), path(REFRESH, "/auth/refresh"));
        problems.keep(check_path("connection.paths.login", &login));
        problems.keep(check_path("connection.paths.refresh", &refresh));
        let summary = path(SUMMARY, "/revenuetransaction/summary");
        problems.keep(check_path("connection.paths.summary", &summary));
        let routes = ENDPOINTS
            .iter()
            .map(|endpoint| route(endpoint, &path(endpoint.name, endpoint.path)));
        let routes = routes.filter_map(|route| problems.keep(route)).collect();
        problems.keep(self.password.check("connection.password"));
        problems.keep(not_blank("connection.username", &self.username));
        let SmartNowOperators {
            at_least,
            below,
            above,
        } = &self.operators;
        for (key, value) in [("at_least", at_least), ("below", below), ("above", above)] {
            problems.keep(word(&format!("operators.{key}"), value));
        }
        let archive = problems.keep(self.archive.rule());
        let sales_types = problems.keep(sales_types(&self.sales_types));
        let (archive, sales_types) = problems.or(archive.zip(sales_types))?;
        let client = HttpClient::new(SOURCE, self.base_url, limits)?;
        let login = JsonLogin {
            login: client.url(&login)?,
            refresh: Some(client.url(&refresh)?),
            client: client.clone(),
            name: self.username,
            secret: self.password,
            prefix: self.token_prefix,
            words: WORDS,
        };
        let summary = client.url(&summary)?;
        let settings = SmartNowSettings {
            routes,
            summary,
            operators: self.operators,
            archive,
            price_unit: self.price_unit,
            vat_rate: self.vat_rate,
            sales_types,
        };
        Ok(Arc::new(SmartNowSource {
            api: AuthorizedClient::new(client, Arc::new(login)),
            settings,
            parents: ParentReadings::default(),
        }))
    }
}
