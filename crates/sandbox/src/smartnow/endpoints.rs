//! The endpoints of the document that read: login, refresh, the thirty-one lists, single records, what belongs to one, the summary.
//!
//! Invariant: without a good token nothing but the login answers; what is not well asked gets an error in the shape of Sails,
//! never a guess.

use super::list_query::SmartNowListQuery;
use super::resources::{self, RESOURCES, SmartNowResource};
use super::table::{SmartNowKey, SmartNowRow};
use super::{EmulatedSmartNow, control, inventory, summary};
use crate::tokens::TokenPair;
use axum::http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tillhouse_emulator::query::{decode, decode_part};
use tillhouse_emulator::{
    EmulatedFault, EmulatedRequest, EmulatedResponse, FaultKind, FaultTarget,
};
use tillhouse_model::Result;

/// Endpoint that a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SmartNowRoute {
    Login,
    Refresh,
    /// A resource by its number, and the parent's id where the path names one.
    List(usize, Option<String>),
    One(usize, String),
    /// Records of a sale.
    OfSale(String, String),
    Configuration(Option<String>),
    Summary,
    Unknown,
}

pub(super) fn route(path: &str) -> SmartNowRoute {
    let Some(parts) = path
        .trim_matches('/')
        .split('/')
        .map(decode_part)
        .collect::<Option<Vec<String>>>()
    else {
        return SmartNowRoute::Unknown;
    };
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["auth", "login"] => return SmartNowRoute::Login,
        ["auth", "refresh"] => return SmartNowRoute::Refresh,
        ["machineconfig"] => return SmartNowRoute::Configuration(None),
        ["machineconfig", hostname] => {
            return SmartNowRoute::Configuration(Some((*hostname).to_owned()));
        }
        ["revenuetransaction", "summary"] => return SmartNowRoute::Summary,
        ["revenuetransaction", id, alias] => {
            return SmartNowRoute::OfSale((*id).to_owned(), (*alias).to_owned());
        }
        // The vouchers of a campaign are also listed here.
        ["campaign", id, "vouchers"] => {
            return resources::resource_index("vouchers").map_or(SmartNowRoute::Unknown, |n| {
                SmartNowRoute::List(n, Some((*id).to_owned()))
            });
        }
        _ => {}
    }
    for (number, kind) in RESOURCES.iter().enumerate() {
        let pattern: Vec<&str> = kind.path.trim_matches('/').split('/').collect();
        let fits = |parts: &[&str]| {
            pattern.len() == parts.len()
                && pattern
                    .iter()
                    .zip(parts)
                    .all(|(p, part)| *p == "*" || p == part)
        };
        if fits(&parts) {
            let parent = pattern
                .iter()
                .position(|p| *p == "*")
                .map(|at| parts[at].to_owned());
            return SmartNowRoute::List(number, parent);
        }
        if let [before @ .., id] = parts.as_slice()
            && !kind.is_listed_by_parent()
            && fits(before)
        {
            return SmartNowRoute::One(number, (*id).to_owned());
        }
    }
    SmartNowRoute::Unknown
}

/// Fault target of a request.
pub(super) fn target(call: &EmulatedRequest<'_>) -> FaultTarget {
    match route(call.path) {
        SmartNowRoute::Login | SmartNowRoute::Refresh => FaultTarget::Login,
        SmartNowRoute::Summary => FaultTarget::Statistics,
        SmartNowRoute::List(..) if *call.method == Method::GET => {
            let pairs = decode(call.query).unwrap_or_default();
            let is_later = |(key, value): &(String, String)| match key.as_str() {
                "skip" => value != "0",
                key => key == "where[id][>]",
            };
            if pairs.iter().any(is_later) {
                FaultTarget::LaterPage
            } else {
                FaultTarget::List
            }
        }
        _ => FaultTarget::Other,
    }
}

/// An error in the shape that Sails gives it.
pub(super) fn error(status: StatusCode, code: &str, message: &str) -> EmulatedResponse {
    let reason = status.canonical_reason().unwrap_or("Error");
    let body =
        json!({ "status": status.as_u16(), "error": reason, "code": code, "message": message });
    EmulatedResponse {
        status,
        ..EmulatedResponse::json(body.to_string().into_bytes())
    }
}

fn not_found() -> EmulatedResponse {
    error(
        StatusCode::NOT_FOUND,
        "E_NOT_FOUND",
        "No record found with the specified id.",
    )
}

/// Body of a login request.
#[derive(Deserialize)]
struct SmartNowCredentials {
    username: Option<String>,
    password: Option<String>,
}

/// Body of a token refresh request.
#[derive(Deserialize)]
struct SmartNowRefreshBody {
    refresh_token: Option<String>,
}

impl EmulatedSmartNow {
    pub(super) fn respond(
        &self,
        call: &EmulatedRequest<'_>,
        fault: Option<&EmulatedFault>,
    ) -> EmulatedResponse {
        let route = route(call.path);
        if matches!(route, SmartNowRoute::Login | SmartNowRoute::Refresh) {
            return if *call.method != Method::POST {
                not_allowed()
            } else if route == SmartNowRoute::Login {
                self.login(call.body)
            } else {
                self.renew(call.body)
            };
        }
        if !self.tokens().admits(call.authorization()) {
            let message = "The access token is missing, invalid or expired.";
            return error(StatusCode::UNAUTHORIZED, "E_UNAUTHORIZED", message);
        }
        if route == SmartNowRoute::Unknown {
            return error(
                StatusCode::NOT_FOUND,
                "E_NOT_FOUND",
                "There is nothing at this address.",
            );
        }
        if *call.method != Method::GET {
            return not_allowed();
        }
        let Some(pairs) = decode(call.query) else {
            return error(
                StatusCode::BAD_REQUEST,
                "E_BAD_REQUEST",
                "The query string is malformed.",
            );
        };
        let answer = match route {
            SmartNowRoute::List(number, parent) => {
                self.list(number, parent.as_deref(), &pairs, fault)
            }
            SmartNowRoute::One(number, id) => self.one(number, &id),
            SmartNowRoute::OfSale(id, alias) => self.of_sale(&id, &alias),
            SmartNowRoute::Configuration(hostname) => self.configuration(hostname.as_deref()),
            _ => self.summary(&pairs, fault),
        };
        answer.unwrap_or_else(|failure| {
            error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "E_INTERNAL",
                failure.message(),
            )
        })
    }

    fn login(&self, body: &[u8]) -> EmulatedResponse {
        let Ok(SmartNowCredentials {
            username: Some(username),
            password: Some(password),
        }) = serde_json::from_slice(body)
        else {
            return error(
                StatusCode::BAD_REQUEST,
                "E_VALIDATION",
                "`username` and `password` are required.",
            );
        };
        let known = username == self.username && password == self.password;
        let pair = known.then(|| self.tokens().issue());
        tokens(pair, "Invalid username or password.")
    }

    fn renew(&self, body: &[u8]) -> EmulatedResponse {
        let Ok(SmartNowRefreshBody {
            refresh_token: Some(refresh),
        }) = serde_json::from_slice(body)
        else {
            return error(
                StatusCode::BAD_REQUEST,
                "E_VALIDATION",
                "`refresh_token` is required.",
            );
        };
        let pair = self.tokens().renew(&refresh);
        tokens(pair, "The refresh token is invalid or expired.")
    }

    fn list(
        &self,
        number: usize,
        parent: Option<&str>,
        pairs: &[(String, String)],
        fault: Option<&EmulatedFault>,
    ) -> Result<EmulatedResponse> {
        let kind = &RESOURCES[number];
        let question = match SmartNowListQuery::parse(kind, pairs) {
            Ok(question) if fault.is_some_and(|f| f.kind == FaultKind::Unsorted) => {
                question.reversed()
            }
            Ok(question) => question,
            Err(message) => {
                return Ok(error(
                    StatusCode::BAD_REQUEST,
                    "E_INVALID_CRITERIA",
                    &message,
                ));
            }
        };
        let mut state = self.state();
        let parent = match parent {
            None => None,
            Some(id) => match self.parent(&mut state, kind, id)? {
                None => return Ok(not_found()),
                found => found,
            },
        };
        let (archived, cap) = (state.archived(), self.largest_page());
        let table = self.table(&mut state, number)?;
        let mut page: Vec<SmartNowRow> = Vec::new();
        match fault.map(|fault| fault.kind) {
            Some(FaultKind::Shift) => {
                let first = question
                    .rows(kind, &table, parent.as_ref(), archived, 1)
                    .first()
                    .copied()
                    .cloned();
                if let Some(sample) = first {
                    drop(table);
                    let row = control::first_of_all(kind, &mut state, number, &sample, None)?;
                    state.edit(number, row.key.clone(), Some(row));
                }
            }
            Some(FaultKind::Endless) => {
                let most = question.limit.unwrap_or(100).min(cap);
                page = control::make_up_page(
                    kind,
                    &table,
                    &question,
                    parent.as_ref(),
                    archived,
                    most,
                )?;
            }
            _ => {}
        }
        let table = self.table(&mut state, number)?;
        drop(state);
        if page.is_empty() {
            let rows = question.rows(kind, &table, parent.as_ref(), archived, cap);
            return Ok(EmulatedResponse::json(array(rows.into_iter())));
        }
        Ok(EmulatedResponse::json(array(page.iter())))
    }

    /// The key of a parent that is there.
    fn parent(
        &self,
        state: &mut super::SmartNowState,
        kind: &SmartNowResource,
        id: &str,
    ) -> Result<Option<SmartNowKey>> {
        let Some(number) = kind
            .parent
            .and_then(|parent| resources::resource_index(parent.of))
        else {
            return Ok(None);
        };
        let parents = self.table(state, number)?;
        Ok(SmartNowKey::parse(&RESOURCES[number], id).filter(|key| parents.find(key).is_some()))
    }

    fn find(&self, number: usize, id: &str) -> Result<Option<SmartNowRow>> {
        let table = self.table(&mut self.state(), number)?;
        Ok(SmartNowKey::parse(&RESOURCES[number], id).and_then(|key| table.find(&key).cloned()))
    }

    fn one(&self, number: usize, id: &str) -> Result<EmulatedResponse> {
        Ok(self
            .find(number, id)?
            .map_or_else(not_found, |row| EmulatedResponse::json(row.body.to_vec())))
    }

    fn of_sale(&self, id: &str, alias: &str) -> Result<EmulatedResponse> {
        let number = |name: &str| resources::resource_index(name).unwrap_or_default();
        let Some(sale) = self.find(number("revenue_transactions"), id)? else {
            return Ok(not_found());
        };
        match alias {
            "paymenttransactions" => {
                let table = self.table(&mut self.state(), number("payment_transactions"))?;
                let of_it = |row: &&SmartNowRow| {
                    row.fields().get("revenuetransaction") == Some(&sale.key.value())
                };
                Ok(EmulatedResponse::json(array(
                    table.rows().iter().filter(of_it),
                )))
            }
            "machine" | "location" => {
                let wanted = sale
                    .fields()
                    .get(alias)
                    .and_then(SmartNowKey::of)
                    .map(|key| key.text())
                    .unwrap_or_default();
                self.one(
                    number(if alias == "machine" {
                        "machines"
                    } else {
                        "locations"
                    }),
                    &wanted,
                )
            }
            _ => Ok(not_found()),
        }
    }

    fn configuration(&self, hostname: Option<&str>) -> Result<EmulatedResponse> {
        let mut state = self.state();
        let plan = self.plan(&mut state)?;
        let now = state.clock.as_microsecond();
        drop(state);
        let one = |hostname: &str| {
            inventory::configuration(&plan, hostname, now).map(|object| object.done())
        };
        if let Some(hostname) = hostname {
            return Ok(
                one(hostname).map_or_else(not_found, |body| EmulatedResponse::json(body.to_vec()))
            );
        }
        let all: Vec<_> = plan
            .machines
            .iter()
            .filter_map(|machine| one(&format!("sb-{}", machine.id)))
            .collect();
        Ok(EmulatedResponse::json(
            [b"[".as_slice(), &all.join(&b','), b"]"].concat(),
        ))
    }

    fn summary(
        &self,
        pairs: &[(String, String)],
        fault: Option<&EmulatedFault>,
    ) -> Result<EmulatedResponse> {
        let asked = match summary::RevenueQuery::parse(pairs) {
            Ok(asked) => asked,
            Err(message) => return Ok(error(StatusCode::BAD_REQUEST, "E_VALIDATION", &message)),
        };
        let number = resources::resource_index("revenue_transactions").unwrap_or_default();
        let table = self.table(&mut self.state(), number)?;
        let lie = fault.is_some_and(|fault| fault.kind == FaultKind::LieStatistics);
        Ok(EmulatedResponse::of(&summary::revenue(
            table.rows(),
            &asked,
            lie,
        )))
    }
}

fn tokens(pair: Option<TokenPair>, refused: &str) -> EmulatedResponse {
    match pair {
        Some(TokenPair { access, refresh }) => {
            EmulatedResponse::of(&json!({ "access_token": access, "refresh_token": refresh }))
        }
        None => error(StatusCode::UNAUTHORIZED, "E_UNAUTHORIZED", refused),
    }
}

fn not_allowed() -> EmulatedResponse {
    error(
        StatusCode::METHOD_NOT_ALLOWED,
        "E_METHOD_NOT_ALLOWED",
        "This address does not take that method.",
    )
}

/// Records as a JSON array.
fn array<'r>(rows: impl Iterator<Item = &'r SmartNowRow>) -> Vec<u8> {
    let mut body = vec![b'['];
    for row in rows {
        if body.len() > 1 {
            body.push(b',');
        }
        body.extend_from_slice(&row.body);
    }
    body.push(b']');
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_where_they_should() {
        let number = |name: &str| resources::resource_index(name).unwrap();
        for (path, expected) in [
            ("/auth/login", SmartNowRoute::Login),
            (
                "/revenuetransaction",
                SmartNowRoute::List(number("revenue_transactions"), None),
            ),
            (
                "/revenuetransaction/7",
                SmartNowRoute::One(number("revenue_transactions"), "7".into()),
            ),
            ("/revenuetransaction/summary", SmartNowRoute::Summary),
            (
                "/revenuetransaction/7/machine",
                SmartNowRoute::OfSale("7".into(), "machine".into()),
            ),
            (
                "/product/80",
                SmartNowRoute::List(number("products"), Some("80".into())),
            ),
            ("/product", SmartNowRoute::Unknown),
            ("/voucher", SmartNowRoute::List(number("vouchers"), None)),
            (
                "/voucher/ab-1",
                SmartNowRoute::One(number("vouchers"), "ab-1".into()),
            ),
            (
                "/voucher/ab-1/logs",
                SmartNowRoute::List(number("voucher_logs"), Some("ab-1".into())),
            ),
            (
                "/campaign/2/vouchers",
                SmartNowRoute::List(number("vouchers"), Some("2".into())),
            ),
            (
                "/integration/1/records",
                SmartNowRoute::List(number("integration_records"), Some("1".into())),
            ),
            (
                "/integration/1/transactions",
                SmartNowRoute::List(number("integration_transactions"), Some("1".into())),
            ),
            (
                "/machineconfig/sb-80",
                SmartNowRoute::Configuration(Some("sb-80".into())),
            ),
            ("/machine/80/config/x", SmartNowRoute::Unknown),
            ("/", SmartNowRoute::Unknown),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
    }
}
