//! be-mo, emulated: what the vehicles of a few accounts bought, as sessions in be-mo's envelope.
//!
//! Invariant: what is shown is a function of the seed, the clock and what was changed by hand. The access token is not one of the
//! world's: it is good until it is expired by a fault or replaced.
//!
//! Where the document is silent, this provider does the following; a source must cope with other choices too:
//! - Sessions come newest first, as in the document's sample; [`BemoOptions::oldest_first`] turns that round. A source asks for more
//!   days than it wants, so only the oldest come where a window that nothing precedes begins, and only there a session that vanishes
//!   hides another one of the window. `from` and `to` are days of the session's start in UTC, both inclusive;
//!   [`BemoOptions::narrow_days`] makes them the place's own days, without the day `to`.
//! - `offset` counts pages from [`BemoOptions::first_page`]; `limit` is 100 unless given, and silently cut.
//! - `lastCreated` finds what was created on that day (UTC) or later, within `from` and `to` where they are given.
//! - Range headers carry how many sessions a page has, and absolute URLs; [`BemoOptions::range_headers`] leaves them out.
//! - The accounts take turns in whether `version` is a text or a number.
//! - Parking has a category of its own, which nobody has seen: the list of categories is open.

mod listing;
mod session;
mod wire;

use crate::SandboxOptions;
use crate::random::{edge_uuid, uuid_text};
use crate::record_store::{ListingOrder, SortKey, StoredRecord, join_records};
use crate::scheduled_records::{ScheduledData, ScheduledRecords, lock, written_record};
use crate::world::World;
use axum::http::{Method, StatusCode};
use bytes::Bytes;
use jiff::Timestamp;
use listing::{BemoListQuery, BemoListRules, BemoPageRange};
use serde_json::json;
use session::BemoSchedule;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex};
use tillhouse_emulator::query::{decode, decode_part, encode, last};
use tillhouse_emulator::{
    EmulatedApi, EmulatedFault, EmulatedRequest, EmulatedResponse, FaultKind, FaultTarget,
    RecordMutation, RecordSelection, no_resource, no_tenant,
};
use tillhouse_model::{Error, Result};

pub(crate) use session::RFID_MARKER;

/// Choices that be-mo's document leaves open, and the sandbox's connection to it.
#[derive(Clone)]
pub struct BemoOptions {
    /// The access token. Not a secret: it is the sandbox's.
    pub access_token: String,
    /// The subscription key. Not a secret either.
    pub subscription_key: String,
    /// True if answers carry range headers.
    pub range_headers: bool,
    /// The index of the first page.
    pub first_page: u32,
    /// True if the oldest session comes first.
    pub oldest_first: bool,
    /// True if days are the place's own and the day `to` is left out, instead of UTC's and
    /// inclusive.
    pub narrow_days: bool,
}

impl Default for BemoOptions {
    fn default() -> Self {
        Self {
            access_token: "sandbox-token".into(),
            subscription_key: "sandbox-key".into(),
            range_headers: true,
            first_page: 0,
            oldest_first: false,
            narrow_days: false,
        }
    }
}

impl fmt::Debug for BemoOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BemoOptions")
            .field("range_headers", &self.range_headers)
            .field("first_page", &self.first_page)
            .field("oldest_first", &self.oldest_first)
            .field("narrow_days", &self.narrow_days)
            .finish_non_exhaustive()
    }
}

const SESSIONS: &str = "sessions";

/// The emulated be-mo API.
#[derive(Debug)]
pub(crate) struct EmulatedBemo {
    options: BemoOptions,
    /// Address the provider gives itself in links: `http://127.0.0.1:PORT/bemo`.
    base_url: String,
    world: Arc<World>,
    tokens: Mutex<BemoTokens>,
    records: ScheduledRecords<BemoSchedule, BemoListQuery>,
}

/// Valid and expired access tokens of the emulated be-mo.
#[derive(Debug)]
struct BemoTokens {
    good: Option<String>,
    expired: HashSet<String>,
}

type BemoData = ScheduledData<BemoSchedule, BemoListQuery>;

impl EmulatedBemo {
    pub(crate) fn new(options: &SandboxOptions, world: Arc<World>, base_url: String) -> Self {
        Self {
            base_url,
            world,
            records: ScheduledRecords::new(options.clock(), options.largest_page),
            tokens: Mutex::new(BemoTokens {
                good: Some(options.bemo.access_token.clone()),
                expired: HashSet::new(),
            }),
            options: options.bemo.clone(),
        }
    }

    /// Makes `token` the good one; the one before is expired.
    pub(crate) fn renew_token(&self, token: String) {
        let mut tokens = lock(&self.tokens);
        tokens.expired.remove(&token);
        if let Some(old) = tokens
            .good
            .replace(token)
            .filter(|old| tokens.good.as_ref() != Some(old))
        {
            tokens.expired.insert(old);
        }
    }

    fn account(&self, id: &str) -> Option<u16> {
        self.world
            .fleets
            .iter()
            .position(|fleet| fleet.account == id)
            .map(|index| index as u16)
    }

    /// The account that is meant; the first where none is named.
    fn tenant(&self, name: Option<&str>) -> Result<u16> {
        name.map_or(Ok(0), |name| {
            self.account(name).ok_or_else(|| no_tenant(name))
        })
    }

    /// The list's order.
    fn order(&self) -> ListingOrder {
        ListingOrder::by(SortKey::Time, !self.options.oldest_first)
    }

    fn with<R>(&self, act: impl FnOnce(&mut BemoData) -> Result<R>) -> Result<R> {
        let schedule = || BemoSchedule::new(Arc::clone(&self.world));
        self.records.with(schedule, act)
    }

    /// `None` lets the caller in.
    fn turned_away(
        &self,
        call: &EmulatedRequest<'_>,
        fault: Option<&EmulatedFault>,
    ) -> Option<EmulatedResponse> {
        match call.header("api-subscription-key") {
            Some(key) if key == self.options.subscription_key => {}
            key => {
                let what = if key.is_some() {
                    "is not valid"
                } else {
                    "is missing"
                };
                return Some(gateway(
                    StatusCode::UNAUTHORIZED,
                    &format!("Access denied: the subscription key {what}."),
                ));
            }
        }
        let expired = (
            "TokenExpired",
            "Lifetime validation failed, the JWT is expired.",
        );
        let tokens = lock(&self.tokens);
        let (code, message) = match call
            .authorization()
            .map(str::trim)
            .filter(|token| !token.is_empty())
        {
            None => ("TokenNotPresent", "JWT not present."),
            Some(_) if fault.is_some_and(|fault| fault.kind == FaultKind::Unauthorized) => expired,
            Some(token) if tokens.good.as_deref() == Some(token) => return None,
            Some(token) if tokens.expired.contains(token) => expired,
            Some(_) => ("InvalidJWT", "Unable to decode the JWT."),
        };
        let body = json!({ "status": "Error", "errors": [wire::BemoError { code, message }], "version": "1.0" });
        Some(EmulatedResponse {
            status: StatusCode::UNAUTHORIZED,
            ..EmulatedResponse::of(&body)
        })
    }

    fn list(
        &self,
        account: u16,
        pairs: Vec<(String, String)>,
        path: &str,
        fault: Option<&EmulatedFault>,
    ) -> Result<EmulatedResponse> {
        let reading = BemoListRules {
            first_page: self.options.first_page,
            largest: self.records.largest_page(),
            narrow_days: self.options.narrow_days,
        };
        let (question, cut) = match BemoListQuery::parse(&pairs, account, reading) {
            Ok(parsed) => parsed,
            Err(message) => {
                return Ok(refusal(
                    StatusCode::BAD_REQUEST,
                    "ArgumentException",
                    &message,
                ));
            }
        };
        let kind = fault.map(|fault| fault.kind);
        self.with(|data| {
            if kind == Some(FaultKind::Shift) {
                let oldest_first = self.options.oldest_first;
                let second = question.edge_second(oldest_first, data.shelf.clock());
                data.arrive(account, second, oldest_first)?;
            }
            let shelf = &data.shelf;
            let find = || shelf.select(&self.order(), |row| question.matches(row));
            let rows = data.listings.rows(&question, shelf.generation, find);
            let rows = match fault {
                Some(fault) => fault.reorder(rows),
                None => rows,
            };
            let start = cut.page.saturating_mul(cut.limit).min(rows.len());
            let end = rows.len().min(start.saturating_add(cut.limit));
            let mut body = b"{\"status\":\"Success\",\"errors\":null,\"data\":[".to_vec();
            let is_endless = kind == Some(FaultKind::Endless);
            if is_endless {
                let made_up = data.make_up_page(&question, cut.limit)?;
                join_records(made_up.iter(), &mut body);
            } else {
                join_records(
                    rows[start..end].iter().map(|row| &shelf.row(*row).body),
                    &mut body,
                );
            }
            let version = if account.is_multiple_of(2) {
                "\"1.0\""
            } else {
                "1.0"
            };
            body.extend_from_slice(format!("],\"trace\":null,\"version\":{version}}}").as_bytes());
            let has_more = is_endless || end < rows.len();
            Ok(self.ranged(
                EmulatedResponse::json(body),
                path,
                pairs,
                cut,
                has_more,
                fault,
            ))
        })
    }

    /// The answer with its range headers.
    fn ranged(
        &self,
        answer: EmulatedResponse,
        path: &str,
        mut pairs: Vec<(String, String)>,
        cut: BemoPageRange,
        has_more: bool,
        fault: Option<&EmulatedFault>,
    ) -> EmulatedResponse {
        pairs.retain(|(key, _)| key != "offset" && key != "limit");
        let link = |page: usize| {
            let mut all = pairs.clone();
            all.push((
                "offset".into(),
                (page + self.options.first_page as usize).to_string(),
            ));
            all.push(("limit".into(), cut.limit.to_string()));
            format!("{}{path}?{}", self.base_url, encode(&all))
        };
        if !self.options.range_headers {
            return answer;
        }
        let next = match fault.map(|fault| (fault.kind, fault)) {
            Some((FaultKind::SelfLink, _)) => Some(link(cut.page)),
            Some((FaultKind::ForeignLink, fault)) => {
                let elsewhere = link(cut.page + 1).replacen("127.0.0.1", "127.0.0.2", 1);
                Some(fault.link.clone().unwrap_or(elsewhere))
            }
            _ => has_more.then(|| link(cut.page + 1)),
        };
        let mut answer = answer.with("accept-range", cut.limit.to_string());
        if cut.page > 0 {
            answer = answer.with("prev-range", link(cut.page - 1));
        }
        match next {
            Some(next) => answer.with("next-range", next),
            None => answer,
        }
    }
}

impl BemoData {
    /// Puts a new session of the second at which a listing begins in front of all others of it; gives its id.
    fn arrive(&mut self, account: u16, second: i64, oldest_first: bool) -> Result<String> {
        let number = self.shelf.fresh_number();
        let (mut session, _) = self.schedule.make_up(number, account, second);
        let id = uuid_text(edge_uuid(number, !oldest_first));
        session.session_id = id.clone().into();
        let row = StoredRecord {
            id: id.clone(),
            tenant: account,
            time: Some(second * 1_000_000),
            stamp: Some(self.shelf.clock()),
            body: session::write(&session)?,
            legacy_body: None,
        };
        self.shelf.put(row);
        Ok(id)
    }

    /// Changes the first session of `rows` that has the document's shape; gives its id.
    fn change(&mut self, rows: &[u32]) -> Result<Option<String>> {
        for index in rows {
            let row = self.shelf.row(*index).clone();
            let Ok(mut session) = serde_json::from_slice::<wire::BemoSession<'_>>(&row.body) else {
                continue;
            };
            let Some(line) = session.transactions.first_mut() else {
                continue;
            };
            line.total_amount = line.total_amount.plus(crate::Decimal::new(1, 2));
            line.tariff_code = Some(format!("CORRECTED-{}", self.shelf.fresh_number()).into());
            let body = session::write(&session)?;
            let id = row.id.clone();
            self.shelf.put(StoredRecord { body, ..row });
            return Ok(Some(id));
        }
        Ok(None)
    }

    fn make_up_page(&mut self, question: &BemoListQuery, limit: usize) -> Result<Vec<Bytes>> {
        let last = question.edge_second(false, self.shelf.clock());
        let span = (last - question.from.map_or(last - 86_400, |from| from / 1_000_000)).max(0) + 1;
        let mut page = Vec::with_capacity(limit);
        for _ in 0..limit {
            let number = self.shelf.fresh_number();
            let second = last - (number % span.unsigned_abs()) as i64;
            page.push(session::write(
                &self.schedule.make_up(number, question.account, second).0,
            )?);
        }
        Ok(page)
    }
}

/// An error as the gateway in front words it.
fn gateway(status: StatusCode, message: &str) -> EmulatedResponse {
    EmulatedResponse {
        status,
        ..EmulatedResponse::of(&json!({ "statusCode": status.as_u16(), "message": message }))
    }
}

/// An error in the envelope.
fn refusal(status: StatusCode, code: &str, message: &str) -> EmulatedResponse {
    let body = json!({
        "status": "Error", "errors": [wire::BemoError { code, message }], "data": null, "trace": null, "version": "1.0",
    });
    EmulatedResponse {
        status,
        ..EmulatedResponse::of(&body)
    }
}

/// The account in `/reporting/v1/api/accounts/{accountId}/sessions`.
fn account_in(path: &str) -> Option<String> {
    let id = path
        .strip_prefix("/reporting/v1/api/accounts/")?
        .strip_suffix("/sessions")?;
    decode_part(id).filter(|id| !id.contains('/'))
}

impl EmulatedApi for EmulatedBemo {
    fn target(&self, call: &EmulatedRequest<'_>) -> FaultTarget {
        if account_in(call.path).is_none() {
            return FaultTarget::Other;
        }
        let pairs = decode(call.query).unwrap_or_default();
        let first = self.options.first_page.to_string();
        if last(&pairs, "offset").is_some_and(|page| page != first) {
            FaultTarget::LaterPage
        } else {
            FaultTarget::List
        }
    }

    fn answer(
        &self,
        call: &EmulatedRequest<'_>,
        fault: Option<&EmulatedFault>,
    ) -> EmulatedResponse {
        if let Some(refused) = self.turned_away(call, fault) {
            return refused;
        }
        if fault.is_some_and(|fault| fault.kind == FaultKind::HiddenError) {
            let body = json!({
                "status": "Error", "errors": [wire::BemoError { code: "ErrorCode", message: "something went wrong" }],
                "data": null, "trace": null, "version": 1.0,
            });
            return EmulatedResponse::of(&body);
        }
        let account = account_in(call.path).and_then(|id| self.account(&id));
        let Some(account) = account else {
            return refusal(
                StatusCode::NOT_FOUND,
                "ResourceNotFound",
                "The specified resource was not found",
            );
        };
        if *call.method != Method::GET {
            return refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "MethodNotAllowed",
                "only GET is allowed here",
            );
        }
        let Some(pairs) = decode(call.query) else {
            return refusal(
                StatusCode::BAD_REQUEST,
                "ArgumentException",
                "the query string is not well formed",
            );
        };
        self.list(account, pairs, call.path, fault)
            .unwrap_or_else(EmulatedResponse::from)
    }

    fn error(&self, status: StatusCode, code: &str, message: &str) -> EmulatedResponse {
        match status {
            StatusCode::TOO_MANY_REQUESTS => gateway(status, message),
            _ => refusal(status, code, message),
        }
    }

    /// Revokes the token; only `for_good` outlasts the request that meets the fault, until it is
    /// renewed.
    fn revoke(&self, for_good: bool) {
        let mut tokens = lock(&self.tokens);
        if for_good && let Some(old) = tokens.good.take() {
            tokens.expired.insert(old);
        }
    }

    fn set_clock(&self, now: Timestamp) -> Result<()> {
        self.records.set_clock(now);
        Ok(())
    }

    fn truth(&self, selection: &RecordSelection) -> Result<Vec<Bytes>> {
        let rows = |data: &mut BemoData| -> Result<Vec<Bytes>> {
            let found = self.selected(data, selection)?;
            Ok(found
                .into_iter()
                .map(|row| data.shelf.row(row).body.clone())
                .collect())
        };
        self.with(rows)
    }

    fn mutate(&self, order: &RecordMutation) -> Result<Option<String>> {
        let selection = order.selection();
        self.with(|data| {
            let found = self.selected(data, &selection)?;
            let oldest_first = self.options.oldest_first;
            let account = self.tenant(order.tenant.as_deref());
            let arrive = |data: &mut BemoData, second| data.arrive(account?, second, oldest_first);
            data.mutate(order, oldest_first, &found, arrive, BemoData::change)
        })
    }

    fn put(&self, resource: &str, tenant: Option<&str>, json: &str) -> Result<String> {
        if resource != SESSIONS {
            return Err(no_resource(resource));
        }
        let tenant = self.tenant(tenant)?;
        let bad = || Error::data("a session must be a JSON object with a string `sessionId`");
        let record: serde_json::Value = serde_json::from_str(json).map_err(|_| bad())?;
        let id = record
            .get("sessionId")
            .and_then(|id| id.as_str())
            .ok_or_else(bad)?
            .to_owned();
        let start = record
            .get("sessionStartDate")
            .and_then(|start| start.as_str());
        let time = start
            .and_then(|text| text.parse::<Timestamp>().ok())
            .map(Timestamp::as_microsecond);
        self.with(|data| {
            let stamp = Some(data.shelf.clock());
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

impl EmulatedBemo {
    /// The sessions of a selection, as listed.
    fn selected(&self, data: &BemoData, selection: &RecordSelection) -> Result<Vec<u32>> {
        if selection.resource != SESSIONS {
            return Err(no_resource(&selection.resource));
        }
        let tenant = selection
            .tenant
            .as_deref()
            .map(|name| self.tenant(Some(name)))
            .transpose()?;
        let keep = |row: &StoredRecord| {
            tenant.is_none_or(|tenant| row.tenant == tenant) && selection.holds(row.time)
        };
        Ok(data.shelf.select(&self.order(), keep))
    }
}
