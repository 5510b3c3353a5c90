//! The endpoints of the document: login, list, by id, statistics, create, update.
//!
//! Invariant: without a good token nothing but the login answers; every answer, errors included, is JSON.

use super::EmulatedHecOne;
use super::listing::{HecOneListQuery, HecOnePageRange, HecOneSortKey, window};
use super::records::write;
use super::statistics;
use super::wire::{HecOneTransaction, HecOneTransactionInput};
use crate::decimal::Decimal;
use crate::oracle::OracleEntry;
use crate::tokens::TokenPair;
use axum::http::{Method, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use std::fmt::Write as _;
use tillhouse_emulator::query::{decode, decode_part, encode, last};
use tillhouse_emulator::{
    EmulatedFault, EmulatedRequest, EmulatedResponse, FaultKind, FaultTarget,
};
use tillhouse_model::Result;

/// Endpoint that a path leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum HecOneRoute {
    Login,
    Transactions,
    Statistics,
    Transaction(String),
    Unknown,
}

fn route(path: &str) -> HecOneRoute {
    match path.trim_end_matches('/') {
        "/auth/login" | "/auth/refresh" => HecOneRoute::Login,
        "/transactions" => HecOneRoute::Transactions,
        "/transactions/statistics" => HecOneRoute::Statistics,
        other => match other
            .strip_prefix("/transactions/")
            .filter(|id| !id.contains('/'))
            .and_then(decode_part)
        {
            Some(id) => HecOneRoute::Transaction(id),
            None => HecOneRoute::Unknown,
        },
    }
}

/// Body of a login request.
#[derive(Deserialize)]
struct HecOneCredentials {
    client_id: Option<String>,
    client_secret: Option<String>,
    refresh_token: Option<String>,
}

/// Fault target of a request.
pub(crate) fn target(call: &EmulatedRequest<'_>) -> FaultTarget {
    match route(call.path) {
        HecOneRoute::Login => FaultTarget::Login,
        HecOneRoute::Statistics => FaultTarget::Statistics,
        HecOneRoute::Transactions if *call.method == Method::GET => {
            let pairs = decode(call.query).unwrap_or_default();
            let later = last(&pairs, "page[offset]").is_some_and(|text| text != "0");
            if later {
                FaultTarget::LaterPage
            } else {
                FaultTarget::List
            }
        }
        _ => FaultTarget::Other,
    }
}

impl EmulatedHecOne {
    /// Answers a request, with the fault that concerns the content if there is one.
    pub(crate) fn respond(
        &self,
        call: &EmulatedRequest<'_>,
        fault: Option<&EmulatedFault>,
    ) -> EmulatedResponse {
        let route = route(call.path);
        if route == HecOneRoute::Login {
            return if *call.method == Method::POST {
                self.login(call.body)
            } else {
                not_allowed()
            };
        }
        if !self.tokens().admits(call.authorization()) {
            return EmulatedResponse::error(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "the token is missing, wrong or expired",
            );
        }
        let Some(pairs) = decode(call.query) else {
            return EmulatedResponse::bad_request("the query string is not well formed");
        };
        let answer = match (call.method.as_str(), route) {
            ("GET", HecOneRoute::Transactions) => self.list(pairs, fault),
            ("POST", HecOneRoute::Transactions) => self.create(call.body),
            ("GET", HecOneRoute::Statistics) => Ok(self.statistics(&pairs, fault)),
            ("GET", HecOneRoute::Transaction(id)) => {
                let asked = last(&pairs, "additional_info").is_some_and(|text| text == "true");
                let all = asked && !self.sparse_by_id;
                self.one(&id, all)
            }
            ("PUT" | "PATCH", HecOneRoute::Transaction(id)) => self.update(&id, call.body),
            (_, HecOneRoute::Unknown) => Ok(EmulatedResponse::not_found()),
            _ => Ok(not_allowed()),
        };
        answer.unwrap_or_else(EmulatedResponse::from)
    }

    fn login(&self, body: &[u8]) -> EmulatedResponse {
        let Ok(credentials) = serde_json::from_slice::<HecOneCredentials>(body) else {
            return EmulatedResponse::bad_request("send client_id and client_secret as JSON");
        };
        let pair = match (
            credentials.refresh_token,
            credentials.client_id,
            credentials.client_secret,
        ) {
            (Some(refresh), _, _) => self.tokens().renew(&refresh),
            (None, Some(id), Some(secret)) => (id == self.client_id
                && secret == self.client_secret)
                .then(|| self.tokens().issue()),
            _ => return EmulatedResponse::bad_request("client_id and client_secret are required"),
        };
        let Some(TokenPair { access, refresh }) = pair else {
            return EmulatedResponse::error(
                StatusCode::UNAUTHORIZED,
                "invalid_credentials",
                "the credentials are not known",
            );
        };
        EmulatedResponse::of(&json!({
            "access_token": access,
            "expires_in": self.token_ttl.as_secs(),
            "token_type": "Bearer",
            "refresh_token": refresh,
        }))
    }

    fn list(
        &self,
        pairs: Vec<(String, String)>,
        fault: Option<&EmulatedFault>,
    ) -> Result<EmulatedResponse> {
        let (question, cut) = match HecOneListQuery::parse(&pairs, self.largest_page()) {
            Ok(parsed) => parsed,
            Err(message) => return Ok(EmulatedResponse::bad_request(&message)),
        };
        if fault.is_some_and(|f| f.kind == FaultKind::Shift) {
            self.shift(&question)?;
        }
        let records = self.records();
        let rows = match self.listings().rows(&question, &records, self.end_included) {
            Ok(rows) => rows,
            Err(message) => return Ok(EmulatedResponse::bad_request(&message)),
        };
        let rows = match fault {
            Some(fault) => fault.reorder(rows),
            None => rows,
        };
        if fault.is_some_and(|f| f.kind == FaultKind::Endless) {
            let page = records.make_up_page(&question, cut)?;
            let total = cut.offset.saturating_add(cut.limit * 2);
            return Ok(self.page(&pairs, cut, total, &page, fault));
        }
        let start = cut.offset.min(rows.len());
        let page: Vec<&[u8]> = rows[start..rows.len().min(start.saturating_add(cut.limit))]
            .iter()
            .map(|row| records.rows[*row as usize].body.as_ref())
            .collect();
        Ok(self.page(&pairs, cut, rows.len(), &page, fault))
    }

    fn page<R: AsRef<[u8]>>(
        &self,
        pairs: &[(String, String)],
        cut: HecOnePageRange,
        total: usize,
        page: &[R],
        fault: Option<&EmulatedFault>,
    ) -> EmulatedResponse {
        let size: usize = page.iter().map(|record| record.as_ref().len() + 1).sum();
        let mut body = String::with_capacity(2048);
        self.write_head(&mut body, pairs, cut, page.len(), total, fault);
        let mut body = body.into_bytes();
        body.reserve_exact(size + 2);
        for (index, record) in page.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(record.as_ref());
        }
        body.extend_from_slice(b"]}");
        EmulatedResponse::json(body)
    }

    /// Puts a new record where the listing begins, so that everything behind it moves by one.
    fn shift(&self, question: &HecOneListQuery) -> Result<()> {
        let mut records = self.records_mut();
        let mandator = question
            .mandator
            .as_ref()
            .and_then(|m| records.mandators.iter().position(|known| known == m));
        let first_second = question.from.div_euclid(1_000_000)
            + i64::from(question.from.rem_euclid(1_000_000) > 0);
        let last_second = (question.to - 1).div_euclid(1_000_000).max(first_second);
        let at_end = question.sort == HecOneSortKey::Time && question.descending;
        let highest = question.descending;
        let second = if at_end { last_second } else { first_second };
        records
            .insert_at_edge(mandator.map(|m| m as u16), second, highest)
            .map(|_| ())
    }

    fn write_head(
        &self,
        body: &mut String,
        pairs: &[(String, String)],
        cut: HecOnePageRange,
        size: usize,
        total: usize,
        fault: Option<&EmulatedFault>,
    ) {
        let others: Vec<(String, String)> = pairs
            .iter()
            .filter(|(k, _)| k != "page[offset]" && k != "page[limit]")
            .cloned()
            .collect();
        let link = |offset: usize| {
            let mut all = others.clone();
            all.push(("page[offset]".into(), offset.to_string()));
            all.push(("page[limit]".into(), cut.limit.to_string()));
            format!("{}/transactions?{}", self.base_url, encode(&all))
        };
        let itself = link(cut.offset);
        let mut next =
            (cut.offset.saturating_add(cut.limit) < total).then(|| link(cut.offset + cut.limit));
        match fault.map(|f| (f.kind, f)) {
            Some((FaultKind::SelfLink, _)) => next = Some(itself.clone()),
            Some((FaultKind::ForeignLink, fault)) => {
                let elsewhere = link(cut.offset + cut.limit).replacen("127.0.0.1", "127.0.0.2", 1);
                next = Some(fault.link.clone().unwrap_or(elsewhere));
            }
            _ => {}
        }
        let previous = (cut.offset > 0).then(|| link(cut.offset.saturating_sub(cut.limit)));
        let final_page = total.saturating_sub(1) / cut.limit * cut.limit;
        let links = json!({
            "self": itself, "next": next, "prev": previous, "first": link(0), "last": link(final_page),
        });
        let total = match fault.map(|fault| fault.kind) {
            Some(FaultKind::LieTotal) => total + 1,
            Some(FaultKind::PageTotal) => size,
            _ => total,
        };
        // Writing into a String does not fail.
        let _ = write!(
            body,
            "{{\"_links\":{links},\"meta\":{{\"limit\":{},\"start\":{},\"size\":{size},\"total\":{}}},\"data\":[",
            cut.limit, cut.offset, total
        );
    }

    fn statistics(
        &self,
        pairs: &[(String, String)],
        fault: Option<&EmulatedFault>,
    ) -> EmulatedResponse {
        let Some(mandator) = last(pairs, "mandator_id") else {
            return EmulatedResponse::bad_request("mandator_id is required");
        };
        let (from, to) = match window(pairs) {
            Ok((from, to)) => (
                Timestamp::from_microsecond(from).unwrap_or_default(),
                Timestamp::from_microsecond(to).unwrap_or_default(),
            ),
            Err(message) => return EmulatedResponse::bad_request(&message),
        };
        let question = statistics::HecOneStatisticsQuery {
            mandator: Some(mandator.to_owned()),
            filter: last(pairs, "filter").map(str::to_owned),
            ..statistics::HecOneStatisticsQuery::new(from, to)
        };
        let mut answer = match statistics::answer(&self.records(), &question) {
            Ok(answer) => answer,
            Err(message) => return EmulatedResponse::bad_request(&message),
        };
        if fault.is_some_and(|f| f.kind == FaultKind::LieStatistics)
            && let Some(entry) = answer.data.first_mut()
        {
            entry.transactions_count.value = entry.transactions_count.value.plus(Decimal::from(1));
        }
        let size = answer.data.len();
        let itself = format!(
            "{}/transactions/statistics?{}",
            self.base_url,
            encode(pairs)
        );
        /// Body of a statistics response.
        #[derive(serde::Serialize)]
        struct HecOneStatisticsBody {
            _links: serde_json::Value,
            meta: serde_json::Value,
            data: Vec<OracleEntry>,
        }
        EmulatedResponse::of(&HecOneStatisticsBody {
            _links: json!({ "self": itself, "next": null, "prev": null, "first": itself, "last": itself }),
            meta: json!({ "limit": size, "start": 0, "size": size, "total": size }),
            data: answer.data,
        })
    }

    /// A single record in its envelope.
    fn envelope(&self, id: &str, record: &[u8]) -> EmulatedResponse {
        let itself = format!("{}/transactions/{id}", self.base_url);
        let links =
            json!({ "self": itself, "next": null, "prev": null, "first": itself, "last": itself });
        let mut body =
            format!("{{\"_links\":{links},\"meta\":{{\"limit\":1,\"start\":0,\"size\":1,\"total\":1}},\"data\":[")
                .into_bytes();
        body.extend_from_slice(record);
        body.extend_from_slice(b"]}");
        EmulatedResponse::json(body)
    }

    fn one(&self, id: &str, all: bool) -> Result<EmulatedResponse> {
        let records = self.records();
        let Some(row) = records.find(id) else {
            return Ok(EmulatedResponse::not_found());
        };
        match HecOneTransaction::parse(&row.body).filter(|_| !all) {
            // An answer without the document's shape is shown as it is.
            None => Ok(self.envelope(id, &row.body)),
            Some(record) => Ok(self.envelope(id, &write(&without_additional_info(record))?)),
        }
    }

    fn create(&self, body: &[u8]) -> Result<EmulatedResponse> {
        let Ok(change) = serde_json::from_slice::<HecOneTransactionInput<'static>>(body) else {
            return Ok(EmulatedResponse::bad_request(
                "the body is not a transaction",
            ));
        };
        let mut records = self.records_mut();
        let world = std::sync::Arc::clone(&records.world);
        let Some(place) = change
            .site_id
            .as_deref()
            .and_then(|id| world.places.sites.iter().find(|s| s.id == id))
        else {
            return Ok(EmulatedResponse::bad_request(
                "site_id is required and must be a site of this login",
            ));
        };
        let id = records.fresh_id();
        let mut record = HecOneTransaction {
            id: id.clone().into(),
            mandator_id: world.places.mandators[usize::from(place.mandator)]
                .clone()
                .into(),
            client: Some(super::wire::HecOneClient {
                id: Some(self.client_id.clone().into()),
                kind: Some("api".into()),
            }),
            site: Some(super::wire::HecOneSite {
                name: Some(place.name.into()),
                code: Some(place.code.into()),
                timezone: Some(place.timezone.into()),
                street: Some(place.street.into()),
                city: Some(place.city.into()),
            }),
            log: Some(Vec::new()),
            ..HecOneTransaction::default()
        };
        apply(&mut record, change);
        let body = records.settle(record)?;
        let mut answer = self.envelope(&id, &body);
        answer.status = StatusCode::CREATED;
        Ok(answer)
    }

    fn update(&self, id: &str, body: &[u8]) -> Result<EmulatedResponse> {
        let Ok(change) = serde_json::from_slice::<HecOneTransactionInput<'static>>(body) else {
            return Ok(EmulatedResponse::bad_request(
                "the body is not a transaction",
            ));
        };
        let mut records = self.records_mut();
        let Some(row) = records.find(id) else {
            return Ok(EmulatedResponse::not_found());
        };
        let Some(mut record) = HecOneTransaction::parse(&row.body) else {
            return Ok(EmulatedResponse::bad_request(
                "this record does not have the document's shape and cannot be changed",
            ));
        };
        apply(&mut record, change);
        let body = records.settle(record)?;
        Ok(self.envelope(id, &body))
    }
}

fn not_allowed() -> EmulatedResponse {
    EmulatedResponse::error(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path does not take that method",
    )
}

/// The by-id response of the document has no site, device, point, products, card issuer or log.
fn without_additional_info(record: HecOneTransaction<'static>) -> HecOneTransaction<'static> {
    HecOneTransaction {
        site: None,
        device: None,
        point: None,
        products: None,
        card_issuer: None,
        log: None,
        ..record
    }
}

/// Merges a change into a record: articles and payments by id, field by field; the rest where it is given.
fn apply(record: &mut HecOneTransaction<'static>, change: HecOneTransactionInput<'static>) {
    macro_rules! take {
        ($to:expr, $from:expr, $($field:ident)+) => {$(
            if $from.$field.is_some() {
                $to.$field = $from.$field;
            }
        )+};
    }
    take!(record, change, site_id point_id customer_data receipt terminal_transaction_number session_id);
    for article in change.articles {
        match record
            .articles
            .iter_mut()
            .find(|known| known.id == article.id)
        {
            None => record.articles.push(article),
            Some(known) => {
                take!(known, article, product_id category state start_time end_time unit_price amount tax_percentage
                    tax_amount quantity free_quantity max_quantity max_amount name unit_measure currency
                    charge_detail_record);
                known.log.extend(article.log);
            }
        }
    }
    for payment in change.payments {
        match record
            .payments
            .iter_mut()
            .find(|known| known.id == payment.id)
        {
            None => record.payments.push(payment),
            Some(known) => {
                take!(known, payment, identification_id state created_at reserved_amount amount currency card_entrymode
                    entry_mode medium kind function scheme card_id pin additional_card qr_code);
                known.log.extend(payment.log);
            }
        }
    }
}
