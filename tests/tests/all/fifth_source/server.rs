//! The washbay's own test server: its API and its records; the control protocol is the emulator's.
//!
//! Invariant: a listing is sorted by the wash's number, and a link says behind which one the next page begins.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use tillhouse_extract::testing::emulator::{
    EmulatedApi, EmulatedFault, EmulatedRequest, EmulatedResponse, FaultKind, FaultTarget,
    RecordMutation, RecordMutationKind, RecordSelection, StatusCode,
};
use tillhouse_model::{Result, Window};

pub(crate) const API_KEY: &str = "washbay-key-not-a-secret";

pub(crate) fn instant(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// Window of all sales.
pub(crate) fn window() -> Window {
    Window::new(
        instant("2026-03-01T00:00:00Z"),
        instant("2026-03-04T00:00:00Z"),
    )
    .expect("not empty")
}

/// The server's now.
pub(crate) fn now() -> Timestamp {
    instant("2026-03-10T00:00:00Z")
}

/// One wash.
#[derive(Debug, Clone)]
pub(crate) struct WashRecord {
    pub(crate) paid_at: Timestamp,
    pub(crate) hall: u64,
    pub(crate) price_cents: i64,
    pub(crate) paid_with: &'static str,
}

impl WashRecord {
    fn text(&self, number: i64) -> String {
        let programme = ["Basic", "Premium"][usize::from(self.price_cents > 1_000)];
        json!({
            "wash": format!("W{number:06}"),
            "hall": format!("H{}", self.hall),
            "paid_at": self.paid_at.to_string(),
            "programme": programme,
            "price_cents": self.price_cents,
            "currency": "EUR",
            "paid_with": self.paid_with,
            "plate": format!("KA-WB {number}"),
        })
        .to_string()
    }
}

/// Records of the car wash, by number.
pub(crate) fn washes() -> BTreeMap<i64, WashRecord> {
    let wash = |n: i64| {
        let wash = WashRecord {
            paid_at: window().from() + SignedDuration::from_secs(n * 860),
            hall: n as u64 % 7,
            price_cents: [890, 1_290, 990][n as usize % 3] + n % 10,
            paid_with: ["card", "cash", "plate"][n as usize % 3],
        };
        // Numbers do not follow the time.
        (1_000 + (n * 7) % 300, wash)
    };
    (0..300).map(wash).collect()
}

#[derive(Debug)]
pub(crate) struct WashbayServer(Mutex<State>);

#[derive(Debug)]
struct State {
    washes: BTreeMap<i64, WashRecord>,
    halls: BTreeMap<u64, String>,
    largest: usize,
    key_is_good: bool,
    made_up: i64,
}

impl WashbayServer {
    pub(crate) fn new() -> Self {
        let halls = (0..7).map(|n| (n, format!("Hall {n}"))).collect();
        Self(Mutex::new(State {
            washes: washes(),
            halls,
            largest: 50,
            key_is_good: true,
            made_up: 0,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panicked")
    }
}

impl State {
    fn hall(&self, number: u64) -> String {
        let zone = if number == 6 {
            "Europe/Lisbon"
        } else {
            "Europe/Berlin"
        };
        json!({"id": format!("H{number}"), "name": self.halls[&number], "timezone": zone})
            .to_string()
    }

    fn list(
        &mut self,
        call: &EmulatedRequest<'_>,
        fault: Option<&EmulatedFault>,
    ) -> EmulatedResponse {
        let time = |name| {
            call.parameter(name)
                .and_then(|text| text.parse::<Timestamp>().ok())
        };
        let (Some(since), Some(until)) = (time("since"), time("until")) else {
            return EmulatedResponse::bad_request("since and until are needed");
        };
        let number = |name| {
            call.parameter(name)
                .and_then(|text| text.parse::<i64>().ok())
        };
        let limit = number("limit")
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(20);
        let limit = limit.clamp(1, self.largest);
        let after = number("after").unwrap_or(i64::MIN);
        let kind = fault.map(|fault| fault.kind);
        let mut page: Vec<(i64, String)> = Vec::new();
        let mut more = true;
        if kind == Some(FaultKind::Endless) {
            for _ in 0..limit {
                self.made_up += 1;
                let sample = WashRecord {
                    paid_at: since,
                    hall: 0,
                    price_cents: 1,
                    paid_with: "cash",
                };
                page.push((
                    1_000_000 + self.made_up,
                    sample.text(1_000_000 + self.made_up),
                ));
            }
        } else {
            let rows = self.washes.range(after.saturating_add(1)..);
            let mut rows = rows.filter(|(_, wash)| since <= wash.paid_at && wash.paid_at < until);
            page.extend(
                rows.by_ref()
                    .take(limit)
                    .map(|(number, wash)| (*number, wash.text(*number))),
            );
            more = rows.next().is_some();
        }
        let link = |after: i64| {
            format!("/washbay/v1/washes?since={since}&until={until}&limit={limit}&after={after}")
        };
        let next = match (kind, page.last()) {
            (Some(FaultKind::ForeignLink), _) => fault.and_then(|fault| fault.link.clone()),
            (Some(FaultKind::SelfLink), _) => Some(format!("/washbay/v1/washes?{}", call.query)),
            (_, Some((last, _))) if more => Some(link(*last)),
            _ => None,
        };
        let texts: Vec<String> = page.into_iter().map(|(_, text)| text).collect();
        EmulatedResponse::json(format!(
            r#"{{"washes":[{}],"next":{}}}"#,
            texts.join(","),
            json!(next)
        ))
    }
}

impl EmulatedApi for WashbayServer {
    fn target(&self, call: &EmulatedRequest<'_>) -> FaultTarget {
        if ["/v1/washes", "/v1/halls"].contains(&call.path) {
            FaultTarget::List
        } else {
            FaultTarget::Other
        }
    }

    fn is_open_to(&self, call: &EmulatedRequest<'_>, kind: FaultKind) -> bool {
        match kind {
            FaultKind::LieTotal | FaultKind::PageTotal => false,
            FaultKind::Endless | FaultKind::ForeignLink | FaultKind::SelfLink => {
                call.path == "/v1/washes"
            }
            _ => true,
        }
    }

    fn answer(
        &self,
        call: &EmulatedRequest<'_>,
        fault: Option<&EmulatedFault>,
    ) -> EmulatedResponse {
        let mut state = self.state();
        if !state.key_is_good || call.header("x-api-key") != Some(API_KEY) {
            return EmulatedResponse::error(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "this key opens nothing",
            );
        }
        match call.path {
            "/v1/washes" => state.list(call, fault),
            "/v1/halls" => {
                let halls: Vec<String> = state
                    .halls
                    .keys()
                    .map(|number| state.hall(*number))
                    .collect();
                EmulatedResponse::json(format!(r#"{{"halls":[{}]}}"#, halls.join(",")))
            }
            _ => EmulatedResponse::not_found(),
        }
    }

    fn revoke(&self, _: bool) {
        self.state().key_is_good = false;
    }

    fn truth(&self, selection: &RecordSelection) -> Result<Vec<bytes::Bytes>> {
        let state = self.state();
        if selection.resource == "halls" {
            return Ok(state
                .halls
                .keys()
                .map(|number| state.hall(*number).into())
                .collect());
        }
        let inside = state
            .washes
            .iter()
            .filter(|(_, wash)| selection.holds(Some(wash.paid_at.as_microsecond())));
        Ok(inside
            .map(|(number, wash)| wash.text(*number).into())
            .collect())
    }

    fn mutate(&self, order: &RecordMutation) -> Result<Option<String>> {
        Ok(self.state().stir(order))
    }

    fn cap_pages(&self, largest: u32) {
        self.state().largest = (largest as usize).min(50);
    }
}

impl State {
    fn stir(&mut self, order: &RecordMutation) -> Option<String> {
        self.made_up += 1;
        if order.resource == "halls" {
            let first = *self.halls.keys().next()?;
            let number = if order.kind == RecordMutationKind::Arrive {
                self.halls.keys().last()? + 1
            } else {
                first
            };
            match order.kind {
                RecordMutationKind::Vanish => self.halls.remove(&number),
                _ => self.halls.insert(
                    number,
                    format!("Hall {number}, painted {} times", self.made_up),
                ),
            };
            return Some(format!("H{number}"));
        }
        let is_meant =
            |wash: &WashRecord| order.selection().holds(Some(wash.paid_at.as_microsecond()));
        let inside = self
            .washes
            .iter()
            .find(|(_, wash)| is_meant(wash))
            .map(|(number, _)| *number);
        let number = match order.kind {
            RecordMutationKind::Arrive => {
                let wash = WashRecord {
                    paid_at: order.from,
                    hall: 1,
                    price_cents: 700,
                    paid_with: "cash",
                };
                self.washes.insert(900 - self.made_up, wash);
                900 - self.made_up
            }
            RecordMutationKind::Change => {
                self.washes.get_mut(&inside?)?.price_cents += 1;
                inside?
            }
            RecordMutationKind::Vanish => {
                self.washes.remove(&inside?);
                inside?
            }
        };
        Some(format!("W{number:06}"))
    }
}
