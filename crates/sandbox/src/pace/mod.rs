//! PACE, emulated: what the pumps of its partners sold, as JSON:API, at the partners' endpoint and at its successor.
//!
//! Invariant: what is shown is a function of the seed, the clock and what was changed by hand; never of the machine's time. Only
//! tokens age with the machine.
//!
//! Where the document is silent, this provider does the following; a source must cope with other choices too:
//! - A window is [date_from, date_to) over createdAt; [`SandboxOptions::end_included`] makes the end inclusive. Oldest first.
//! - A page size that is not from 1 to 100 is refused. Without `page[number]` everything comes at once.
//! - The successor sorts by id unless told, and knows `filter[partner]`; without it, all partners' transactions come.
//! - The token endpoint takes the credentials in the form or as Basic, and gives no refresh token.

mod listing;
mod sale;
mod token;
mod wire;

use crate::SandboxOptions;
use crate::random::{RandomStream, edge_uuid, uuid_text};
use crate::record_store::{StoredRecord, join_records};
use crate::scheduled_records::{ScheduledData, ScheduledRecords, lock, written_record};
use crate::tokens::TokenIssuer;
use crate::world::{World, partners};
use axum::http::{Method, StatusCode};
use bytes::Bytes;
use jiff::Timestamp;
use listing::{PaceListQuery, PacePageRange, PaceQueryError, page_range};
use sale::{PaceSchedule, instant, row};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tillhouse_emulator::query::{decode, decode_part, last};
use tillhouse_emulator::{
    EmulatedApi, EmulatedFault, EmulatedRequest, EmulatedResponse, FaultKind, FaultTarget,
    RecordMutation, RecordSelection, no_resource, no_tenant,
};
use tillhouse_model::{Error, Result};
use wire::{PaceText, PaceTransaction};

pub use listing::PaceApi;

/// The media type of every answer but the token endpoint's.
const JSON_API: &str = "application/vnd.api+json";
const TRANSACTIONS: &str = "transactions";
/// Address that gives tokens.
const TOKEN: &str = "/auth/token";
/// The stream of random numbers for tokens and for the ids of errors.
const STREAM: u64 = u64::MAX - 3;

/// The emulated PACE API.
#[derive(Debug)]
pub(crate) struct EmulatedPace {
    client_id: String,
    client_secret: String,
    token_ttl: std::time::Duration,
    end_included: bool,
    /// Endpoint that the truth is of.
    api: PaceApi,
    sales: u64,
    world: Arc<World>,
    tokens: Mutex<TokenIssuer>,
    errors: Mutex<RandomStream>,
    records: ScheduledRecords<PaceSchedule, PaceListQuery>,
}

type PaceData = ScheduledData<PaceSchedule, PaceListQuery>;

/// Endpoint that a path leads to.
enum PaceRoute {
    Token,
    /// The partners' endpoint, with the partner's name.
    Partner(String),
    Successor,
    Unknown,
}

fn route(path: &str) -> PaceRoute {
    match path {
        TOKEN => PaceRoute::Token,
        "/pay/2025-1/transactions" => PaceRoute::Successor,
        other => match other
            .strip_prefix("/pay/2022-1/transactions/contracts/partners/")
            .and_then(decode_part)
        {
            Some(partner) if !partner.contains('/') => PaceRoute::Partner(partner),
            _ => PaceRoute::Unknown,
        },
    }
}

fn partner(name: &str) -> Option<u16> {
    partners()
        .iter()
        .position(|known| *known == name)
        .map(|index| index as u16)
}

/// The partner that is meant; the first where none is named.
fn tenant(name: Option<&str>) -> Result<u16> {
    name.map_or(Ok(0), |name| partner(name).ok_or_else(|| no_tenant(name)))
}

impl EmulatedPace {
    pub(crate) fn new(options: &SandboxOptions, world: Arc<World>) -> Self {
        Self {
            client_id: options.client_id.clone(),
            client_secret: options.client_secret.clone(),
            token_ttl: options.token_ttl,
            end_included: options.end_included,
            api: options.pace_api,
            sales: options.pace_transactions(),
            world,
            records: ScheduledRecords::new(options.clock(), options.largest_page),
            tokens: Mutex::new(TokenIssuer::new(options.seed, STREAM, options.token_ttl)),
            errors: Mutex::new(RandomStream::new(options.seed, STREAM - 1)),
        }
    }

    fn with<R>(&self, act: impl FnOnce(&mut PaceData) -> Result<R>) -> Result<R> {
        let schedule = || PaceSchedule::new(Arc::clone(&self.world), self.sales);
        self.records.with(schedule, act)
    }

    /// An error object of JSON:API; `source` names the parameter at fault.
    fn refuse(
        &self,
        status: StatusCode,
        code: Option<&str>,
        detail: &str,
        parameter: Option<&str>,
    ) -> EmulatedResponse {
        let mut error = json!({
            "id": format!("{:020x}", self.error_number()),
            "title": status.canonical_reason().unwrap_or("Error"),
            "detail": detail,
            "status": status.as_u16().to_string(),
        });
        if let Some(code) = code {
            error["code"] = code.into();
        }
        if let Some(parameter) = parameter {
            error["source"] = json!({ "parameter": parameter });
        }
        EmulatedResponse {
            status,
            content_type: JSON_API,
            ..EmulatedResponse::of(&json!({ "errors": [error] }))
        }
    }

    fn error_number(&self) -> u64 {
        lock(&self.errors).next()
    }

    /// `None` lets the caller in.
    fn turned_away(
        &self,
        call: &EmulatedRequest<'_>,
        fault: Option<&EmulatedFault>,
    ) -> Option<EmulatedResponse> {
        if fault.is_some_and(|fault| fault.kind == FaultKind::MissingLinkedIdentity) {
            let detail = "this resource needs a linked identity, and the user has none";
            return Some(self.refuse(
                StatusCode::UNAUTHORIZED,
                Some("missing-linked-identity"),
                detail,
                None,
            ));
        }
        if !lock(&self.tokens).admits(call.authorization()) {
            let detail = "the OAuth token is missing or not valid";
            return Some(self.refuse(StatusCode::UNAUTHORIZED, None, detail, None));
        }
        let names = |header: &str| {
            call.header(header)
                .is_some_and(|value| value.split(',').any(|part| part.trim() == JSON_API))
        };
        if !names("accept") {
            let detail = format!("the header Accept must be {JSON_API}");
            return Some(self.refuse(StatusCode::NOT_ACCEPTABLE, None, &detail, None));
        }
        let speaks = call.headers.contains_key("content-type") || !call.body.is_empty();
        if speaks && !names("content-type") {
            let detail = format!("the header Content-Type must be {JSON_API}");
            return Some(self.refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, None, &detail, None));
        }
        None
    }

    fn list(
        &self,
        question: &PaceListQuery,
        cut: Option<PacePageRange>,
        fault: Option<&EmulatedFault>,
    ) -> Result<EmulatedResponse> {
        let kind = fault.map(|fault| fault.kind);
        self.with(|data| {
            if kind == Some(FaultKind::Shift) {
                let second = question.edge_second(data.shelf.clock());
                data.arrive(
                    question.partner.unwrap_or(0),
                    second,
                    question.order.smallest_id_first(),
                )?;
            }
            let shelf = &data.shelf;
            let find = || shelf.select(&question.order, |row| question.matches(row));
            let rows = data.listings.rows(question, shelf.generation, find);
            let rows = match fault {
                Some(fault) => fault.reorder(rows),
                None => rows,
            };
            let page = match cut {
                None => &rows[..],
                Some(PacePageRange { number, size }) => {
                    let start = number.saturating_mul(size).min(rows.len());
                    &rows[start..rows.len().min(start.saturating_add(size))]
                }
            };
            let mut body = b"{\"data\":[".to_vec();
            let mut count = match kind {
                Some(FaultKind::LieTotal) => rows.len() + 1,
                Some(FaultKind::PageTotal) => page.len(),
                _ => rows.len(),
            };
            if kind == Some(FaultKind::Endless) {
                let PacePageRange { number, size } = cut.unwrap_or(PacePageRange {
                    number: 0,
                    size: 1000,
                });
                count = number.saturating_add(2).saturating_mul(size);
                let made_up = data.make_up_page(question, size)?;
                join_records(
                    made_up.iter().map(|row| shown(row, question.api)),
                    &mut body,
                );
            } else {
                join_records(
                    page.iter()
                        .map(|index| shown(shelf.row(*index), question.api)),
                    &mut body,
                );
            }
            body.extend_from_slice(format!("],\"meta\":{{\"count\":{count}}}}}").as_bytes());
            Ok(EmulatedResponse {
                content_type: JSON_API,
                ..EmulatedResponse::json(body)
            })
        })
    }

    /// The transactions of a selection, as listed.
    fn selected(&self, data: &PaceData, selection: &RecordSelection) -> Result<Vec<u32>> {
        if selection.resource != TRANSACTIONS {
            return Err(no_resource(&selection.resource));
        }
        let partner = selection
            .tenant
            .as_deref()
            .map(|name| tenant(Some(name)))
            .transpose()?;
        let keep = |row: &StoredRecord| {
            partner.is_none_or(|partner| row.tenant == partner)
                && selection.holds(self.api.instant(row))
        };
        Ok(data.shelf.select(&self.api.order(), keep))
    }
}

/// A transaction as an endpoint shows it.
fn shown(row: &StoredRecord, api: PaceApi) -> &Bytes {
    match api {
        PaceApi::Partner => row.legacy_body.as_ref().unwrap_or(&row.body),
        PaceApi::Successor => &row.body,
    }
}

impl PaceData {
    /// Puts a new transaction of the second `done` where a listing begins; gives its id.
    fn arrive(&mut self, partner: u16, done: i64, smallest_id: bool) -> Result<String> {
        let number = self.shelf.fresh_number();
        let mut sale = self.schedule.make_up(number, partner, done);
        let id = uuid_text(edge_uuid(number, !smallest_id));
        sale.first.id = id.clone().into();
        self.shelf
            .put(row(&sale.first, partner, sale.created, sale.created)?);
        Ok(id)
    }

    /// Changes the first transaction of `rows` that has the document's shape; gives its id.
    fn change(&mut self, rows: &[u32]) -> Result<Option<String>> {
        for index in rows {
            let old = self.shelf.row(*index).clone();
            let Ok(mut transaction) = serde_json::from_slice::<PaceTransaction<'_>>(&old.body)
            else {
                continue;
            };
            let Some(created) = old.time else { continue };
            // Strictly later than before, also while the clock stands.
            let changed = self.shelf.clock().max(old.stamp.unwrap_or(created) + 1000);
            let attributes = &mut transaction.attributes;
            let cent = crate::Decimal::new(1, 2);
            attributes.price_including_vat = attributes.price_including_vat.plus(cent);
            attributes.price_without_vat = attributes.price_without_vat.plus(cent);
            let note = PaceText::Owned(format!("correction:{}", self.shelf.fresh_number()));
            attributes.references.get_or_insert_default().push(note);
            attributes.updated_at = Some(instant(changed).into());
            let row = row(&transaction, old.tenant, created, changed)?;
            self.shelf.put(row);
            return Ok(Some(old.id));
        }
        Ok(None)
    }

    fn make_up_page(&mut self, question: &PaceListQuery, size: usize) -> Result<Vec<StoredRecord>> {
        let second = question.edge_second(self.shelf.clock());
        let partner = question.partner.unwrap_or(0);
        let mut page = Vec::with_capacity(size);
        for _ in 0..size {
            let sale = self
                .schedule
                .make_up(self.shelf.fresh_number(), partner, second);
            page.push(row(&sale.first, partner, sale.created, sale.created)?);
        }
        Ok(page)
    }
}

impl EmulatedApi for EmulatedPace {
    fn target(&self, call: &EmulatedRequest<'_>) -> FaultTarget {
        match route(call.path) {
            PaceRoute::Token => FaultTarget::Login,
            PaceRoute::Unknown => FaultTarget::Other,
            PaceRoute::Partner(_) | PaceRoute::Successor => {
                let pairs = decode(call.query).unwrap_or_default();
                let later = last(&pairs, "page[number]").is_some_and(|number| number != "0");
                if later {
                    FaultTarget::LaterPage
                } else {
                    FaultTarget::List
                }
            }
        }
    }

    fn answer(
        &self,
        call: &EmulatedRequest<'_>,
        fault: Option<&EmulatedFault>,
    ) -> EmulatedResponse {
        let route = route(call.path);
        if matches!(route, PaceRoute::Token) {
            return self.token(call);
        }
        if let Some(refused) = self.turned_away(call, fault) {
            return refused;
        }
        if *call.method != Method::GET && !matches!(route, PaceRoute::Unknown) {
            return self.refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                None,
                "only GET is allowed here",
                None,
            );
        }
        let Some(pairs) = decode(call.query) else {
            return self.refuse(
                StatusCode::BAD_REQUEST,
                None,
                "the query string is not well formed",
                None,
            );
        };
        let question = match route {
            PaceRoute::Partner(name) => match partner(&name) {
                Some(partner) => PaceListQuery::of_partner(partner, &pairs, self.end_included),
                None => {
                    return self.refuse(
                        StatusCode::NOT_FOUND,
                        None,
                        "there is no such partner",
                        None,
                    );
                }
            },
            PaceRoute::Successor => PaceListQuery::of_successor(&pairs, partner),
            PaceRoute::Token | PaceRoute::Unknown => {
                return self.refuse(
                    StatusCode::NOT_FOUND,
                    None,
                    "there is no such resource",
                    None,
                );
            }
        };
        let largest = self.records.largest_page();
        match question.and_then(|question| Ok((question, page_range(&pairs, largest)?))) {
            Ok((question, cut)) => self
                .list(&question, cut, fault)
                .unwrap_or_else(EmulatedResponse::from),
            Err(PaceQueryError {
                status,
                detail,
                parameter,
            }) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
                self.refuse(status, None, &detail, Some(&parameter))
            }
        }
    }

    fn error(&self, status: StatusCode, code: &str, message: &str) -> EmulatedResponse {
        self.refuse(status, Some(code), message, None)
    }

    fn revoke(&self, refresh_too: bool) {
        lock(&self.tokens).revoke(refresh_too);
    }

    fn set_clock(&self, now: Timestamp) -> Result<()> {
        self.records.set_clock(now);
        Ok(())
    }

    fn truth(&self, selection: &RecordSelection) -> Result<Vec<Bytes>> {
        self.with(|data| {
            let found = self.selected(data, selection)?;
            Ok(found
                .into_iter()
                .map(|index| shown(data.shelf.row(index), self.api).clone())
                .collect())
        })
    }

    fn mutate(&self, order: &RecordMutation) -> Result<Option<String>> {
        let selection = order.selection();
        self.with(|data| {
            let found = self.selected(data, &selection)?;
            let partner = tenant(order.tenant.as_deref());
            let arrive = |data: &mut PaceData, second| data.arrive(partner?, second, true);
            data.mutate(order, true, &found, arrive, PaceData::change)
        })
    }

    fn put(&self, resource: &str, name: Option<&str>, json: &str) -> Result<String> {
        if resource != TRANSACTIONS {
            return Err(no_resource(resource));
        }
        let tenant = tenant(name)?;
        let bad = || Error::data("a transaction must be a JSON object with a string `id`");
        let record: Value = serde_json::from_str(json).map_err(|_| bad())?;
        let id = record
            .get("id")
            .and_then(Value::as_str)
            .ok_or_else(bad)?
            .to_owned();
        let micros = |field: &str| -> Option<i64> {
            let text = record.get("attributes")?.get(field)?.as_str()?;
            Some(text.parse::<Timestamp>().ok()?.as_microsecond())
        };
        let time = micros("createdAt");
        let stamp = micros("updatedAt").or(time);
        self.with(|data| {
            let record = written_record(&id, tenant, (time, stamp), json);
            data.shelf.put(record);
            Ok(())
        })?;
        Ok(id)
    }

    fn cap_pages(&self, largest: u32) {
        self.records.cap_pages(largest);
    }
}
