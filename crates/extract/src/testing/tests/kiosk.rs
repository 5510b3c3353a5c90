//! A made-up API: sales by window, by offset with a total or by link; and a price list, all at once.
//!
//! Invariant: it follows the control protocol, and its listings are sorted by id.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use tillhouse_emulator::{
    EmulatedApi, EmulatedFault, EmulatedRequest, EmulatedResponse, FaultKind, FaultTarget,
    RecordMutation, RecordMutationKind, RecordSelection, StatusCode,
};
use tillhouse_model::{Result, Window};

pub(super) const USER: &str = "cashier";
pub(super) const PASSWORD: &str = "hunter2-kiosk";

pub(super) fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn window() -> Window {
    Window::new(
        instant("2026-01-01T00:00:00Z"),
        instant("2026-01-04T00:00:00Z"),
    )
    .unwrap()
}

pub(super) fn now() -> Timestamp {
    instant("2026-02-01T00:00:00Z")
}

#[derive(Debug)]
struct KioskSale {
    at: Timestamp,
    learnt: Timestamp,
    text: String,
}

/// Small emulated provider for the suite's own tests.
#[derive(Debug)]
pub(super) struct KioskProvider(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    sales: BTreeMap<String, KioskSale>,
    prices: Vec<String>,
    largest: usize,
    tokens: HashSet<String>,
    refreshes: HashSet<String>,
    issued: u64,
    made_up: u64,
}

fn text(id: &str, at: Timestamp, amount: &str) -> String {
    // Written by hand: the amount has digits that a float does not keep.
    format!(r#"{{"id": "{id}", "at": "{at}", "amount": {amount}}}"#)
}

impl KioskProvider {
    pub(super) fn new() -> Self {
        let mut state = State {
            largest: 1_000,
            ..State::default()
        };
        for n in 0..420_i64 {
            // Pairs at the same instant, and instants between two seconds.
            let at = window().from() + SignedDuration::from_millis((n / 2) * 600_500);
            let id = format!("s{:03}", (n * 37) % 420);
            let text = text(&id, at, &format!("{n}.90000000000000001"));
            state.sales.insert(
                id,
                KioskSale {
                    at,
                    learnt: at,
                    text,
                },
            );
        }
        state.prices = (0..12)
            .map(|n| format!(r#"{{"code":{n},"price":1.{n}}}"#))
            .collect();
        Self(Mutex::new(state))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn answer(
        &mut self,
        call: &EmulatedRequest<'_>,
        fault: Option<&EmulatedFault>,
    ) -> EmulatedResponse {
        if is_login(call.path) {
            return self.login(call);
        }
        let token = call
            .authorization()
            .and_then(|header| header.strip_prefix("Bearer "));
        if !token.is_some_and(|token| self.tokens.contains(token)) {
            return EmulatedResponse::error(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "log in first",
            );
        }
        match call.path {
            "/sales" | "/feed" => self.list(call, fault),
            "/prices" => {
                EmulatedResponse::json(format!(r#"{{"prices":[{}]}}"#, self.prices.join(",")))
            }
            path => match path
                .strip_prefix("/sales/")
                .and_then(|id| self.sales.get(id))
            {
                Some(sale) => page_of(std::slice::from_ref(&sale.text), None, &Value::Null),
                None => EmulatedResponse::not_found(),
            },
        }
    }

    fn grant(&mut self) -> EmulatedResponse {
        self.issued += 1;
        let (token, refresh) = (
            format!("token-{}", self.issued),
            format!("refresh-{}", self.issued),
        );
        self.tokens.insert(token.clone());
        self.refreshes.insert(refresh.clone());
        EmulatedResponse::json(
            json!({"token": token, "refresh": refresh, "expires_in": 3600}).to_string(),
        )
    }

    fn login(&mut self, call: &EmulatedRequest<'_>) -> EmulatedResponse {
        let body: Value = serde_json::from_slice(call.body).unwrap_or_default();
        let good = match call.path {
            "/refresh" => body["refresh"]
                .as_str()
                .is_some_and(|refresh| self.refreshes.remove(refresh)),
            _ => body["user"] == USER && body["password"] == PASSWORD,
        };
        if good {
            self.grant()
        } else {
            EmulatedResponse::error(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "wrong user or password",
            )
        }
    }

    fn list(
        &mut self,
        call: &EmulatedRequest<'_>,
        fault: Option<&EmulatedFault>,
    ) -> EmulatedResponse {
        let number = |name| {
            call.parameter(name)
                .and_then(|text| text.parse::<usize>().ok())
        };
        let time = |name| {
            call.parameter(name)
                .and_then(|text| text.parse::<Timestamp>().ok())
        };
        let limit = number("limit").unwrap_or(100).clamp(1, self.largest);
        let is = |kind| fault.is_some_and(|fault| fault.kind == kind);
        let by_link = call.path == "/feed";
        if is(FaultKind::Endless) {
            let page: Vec<String> = (0..limit)
                .map(|_| {
                    self.made_up += 1;
                    text(&format!("x{}", self.made_up), now(), "1")
                })
                .collect();
            let next = format!(
                "{}/kiosk/feed?after=x{}&limit={limit}",
                call.origin(),
                self.made_up
            );
            let next = if by_link { json!(next) } else { Value::Null };
            return page_of(
                &page,
                Some(self.made_up as usize + 1_000_000).filter(|_| !by_link),
                &next,
            );
        }
        let wanted = |sale: &KioskSale| match (time("learnt_from"), time("learnt_to")) {
            (Some(from), Some(to)) => from <= sale.learnt && sale.learnt < to,
            _ => {
                time("from").is_none_or(|from| from <= sale.at)
                    && time("to").is_none_or(|to| sale.at < to)
            }
        };
        let after = call.parameter("after").unwrap_or_default();
        let rows: Vec<(&String, &KioskSale)> = self
            .sales
            .iter()
            .filter(|(id, sale)| *id > &after && wanted(sale))
            .collect();
        let rows = match fault {
            Some(fault) => fault.reorder(Arc::new(rows)),
            None => Arc::new(rows),
        };
        let offset = number("offset").unwrap_or_default();
        let page: Vec<_> = rows.iter().skip(offset).take(limit).collect();
        let texts: Vec<String> = page.iter().map(|(_, sale)| sale.text.clone()).collect();
        if !by_link {
            let total = if is(FaultKind::PageTotal) {
                texts.len()
            } else {
                rows.len() + usize::from(is(FaultKind::LieTotal))
            };
            return page_of(&texts, Some(total), &Value::Null);
        }
        let link = |after: &str| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            let pairs = tillhouse_emulator::query::decode(call.query).unwrap_or_default();
            query.extend_pairs(pairs.iter().filter(|(key, _)| key != "after"));
            query.append_pair("after", after);
            format!("{}/kiosk/feed?{}", call.origin(), query.finish())
        };
        let next = match (page.last(), fault) {
            (Some(_), Some(fault)) if fault.kind == FaultKind::ForeignLink => json!(fault.link),
            (Some(_), Some(fault)) if fault.kind == FaultKind::SelfLink => json!(link(&after)),
            (Some((last, _)), _) if page.len() < rows.len() => json!(link(last)),
            _ => Value::Null,
        };
        page_of(&texts, None, &next)
    }
}

fn page_of(records: &[String], total: Option<usize>, next: &Value) -> EmulatedResponse {
    let total = total
        .map(|total| format!(r#""total":{total},"#))
        .unwrap_or_default();
    EmulatedResponse::json(format!(
        r#"{{{total}"next":{next},"sales":[{}]}}"#,
        records.join(",")
    ))
}

fn is_login(path: &str) -> bool {
    ["/login", "/refresh"].contains(&path)
}

impl EmulatedApi for KioskProvider {
    fn target(&self, call: &EmulatedRequest<'_>) -> FaultTarget {
        match call.path {
            path if is_login(path) => FaultTarget::Login,
            "/sales" | "/feed" | "/prices" => FaultTarget::List,
            _ => FaultTarget::Other,
        }
    }

    fn is_open_to(&self, call: &EmulatedRequest<'_>, kind: FaultKind) -> bool {
        match kind {
            FaultKind::Endless => ["/sales", "/feed"].contains(&call.path),
            FaultKind::LieTotal
            | FaultKind::PageTotal
            | FaultKind::Unsorted
            | FaultKind::Shuffled => call.path == "/sales",
            FaultKind::ForeignLink | FaultKind::SelfLink => call.path == "/feed",
            _ => true,
        }
    }

    fn answer(
        &self,
        call: &EmulatedRequest<'_>,
        fault: Option<&EmulatedFault>,
    ) -> EmulatedResponse {
        self.state().answer(call, fault)
    }

    fn revoke(&self, refresh_too: bool) {
        let mut state = self.state();
        state.tokens.clear();
        if refresh_too {
            state.refreshes.clear();
        }
    }

    fn truth(&self, selection: &RecordSelection) -> Result<Vec<bytes::Bytes>> {
        let state = self.state();
        if selection.resource == "prices" {
            return Ok(state
                .prices
                .iter()
                .map(|price| price.clone().into())
                .collect());
        }
        let inside = state
            .sales
            .values()
            .filter(|sale| selection.holds(Some(sale.at.as_microsecond())));
        Ok(inside.map(|sale| sale.text.clone().into()).collect())
    }

    fn mutate(&self, order: &RecordMutation) -> Result<Option<String>> {
        if order.resource == "prices" {
            return Ok(None);
        }
        let mut state = self.state();
        let is_meant = |sale: &KioskSale| order.selection().holds(Some(sale.at.as_microsecond()));
        let first = state
            .sales
            .iter()
            .find(|(_, sale)| is_meant(sale))
            .map(|(id, _)| id.clone());
        let id = match (order.kind, first) {
            (RecordMutationKind::Arrive, _) => {
                let (id, at) = (format!("a{:03}", 999 - state.made_up), order.from);
                state.made_up += 1;
                state.sales.insert(
                    id.clone(),
                    KioskSale {
                        at,
                        learnt: now(),
                        text: text(&id, at, "1.0"),
                    },
                );
                id
            }
            (_, None) => return Ok(None),
            (RecordMutationKind::Change, Some(id)) => {
                if let Some(sale) = state.sales.get_mut(&id) {
                    sale.text = text(&id, sale.at, "7.77");
                }
                id
            }
            (RecordMutationKind::Vanish, Some(id)) => {
                state.sales.remove(&id);
                id
            }
        };
        Ok(Some(id))
    }

    fn cap_pages(&self, largest: u32) {
        self.state().largest = largest as usize;
    }
}
