//! The washbay's own test server: its API and its records; the control protocol is the emulator's.
//!
//! Invariant: a listing is sorted by the wash's number, and a link says behind which one the next page begins.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::collections::BTreeMap;
use tillhouse_extract::testing::emulator::{Fault, Provider, Question, Reply, Stirring};
use tillhouse_model::Window;

pub(crate) const API_KEY: &str = "washbay-key-not-a-secret";

pub(crate) fn instant(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// All that is sold.
pub(crate) fn window() -> Window {
    Window::new(instant("2026-03-01T00:00:00Z"), instant("2026-03-04T00:00:00Z")).expect("not empty")
}

/// The server's now.
pub(crate) fn now() -> Timestamp {
    instant("2026-03-10T00:00:00Z")
}

/// One wash.
#[derive(Debug, Clone)]
pub(crate) struct Wash {
    pub(crate) paid_at: Timestamp,
    pub(crate) hall: u64,
    pub(crate) price_cents: i64,
    pub(crate) paid_with: &'static str,
}

impl Wash {
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

pub(crate) struct Washbay {
    pub(crate) washes: BTreeMap<i64, Wash>,
    halls: BTreeMap<u64, String>,
    largest: usize,
    key_is_good: bool,
    made_up: i64,
}

impl Washbay {
    pub(crate) fn new() -> Self {
        let washes = (0..300_i64).map(|n| {
            let wash = Wash {
                paid_at: window().from() + SignedDuration::from_secs(n * 860),
                hall: n as u64 % 7,
                price_cents: [890, 1_290, 990][n as usize % 3] + n % 10,
                paid_with: ["card", "cash", "plate"][n as usize % 3],
            };
            // Numbers do not follow the time.
            (1_000 + (n * 7) % 300, wash)
        });
        let halls = (0..7).map(|n| (n, format!("Hall {n}")));
        Self { washes: washes.collect(), halls: halls.collect(), largest: 50, key_is_good: true, made_up: 0 }
    }

    fn hall(&self, number: u64) -> String {
        let zone = if number == 6 { "Europe/Lisbon" } else { "Europe/Berlin" };
        json!({"id": format!("H{number}"), "name": self.halls[&number], "timezone": zone}).to_string()
    }

    fn list(&mut self, question: &Question, fault: Option<&Fault>) -> Reply {
        let (Ok(since), Ok(until)) = (time(question, "since"), time(question, "until")) else {
            return Reply::error(400, "since and until are needed");
        };
        let number = |name| question.parameter(name).and_then(|text| text.parse::<i64>().ok());
        let limit = number("limit").and_then(|limit| usize::try_from(limit).ok()).unwrap_or(20);
        let limit = limit.clamp(1, self.largest);
        let after = number("after").unwrap_or(i64::MIN);
        let kind = fault.map(|fault| fault.kind.as_str());
        let mut page: Vec<(i64, String)> = Vec::new();
        let mut more = true;
        if kind == Some("endless") {
            for _ in 0..limit {
                self.made_up += 1;
                let sample = Wash { paid_at: since, hall: 0, price_cents: 1, paid_with: "cash" };
                page.push((1_000_000 + self.made_up, sample.text(1_000_000 + self.made_up)));
            }
        } else {
            let rows = self.washes.range(after.saturating_add(1)..);
            let mut rows = rows.filter(|(_, wash)| since <= wash.paid_at && wash.paid_at < until);
            page.extend(rows.by_ref().take(limit).map(|(number, wash)| (*number, wash.text(*number))));
            more = rows.next().is_some();
        }
        let link = |after: i64| format!("/washbay/v1/washes?since={since}&until={until}&limit={limit}&after={after}");
        let next = match (kind, page.last()) {
            (Some("foreign_link"), _) => fault.and_then(|fault| fault.link.clone()),
            (Some("self_link"), _) => Some(format!("/washbay/v1/washes?{}", question.raw_query)),
            (_, Some((last, _))) if more => Some(link(*last)),
            _ => None,
        };
        let texts: Vec<String> = page.into_iter().map(|(_, text)| text).collect();
        Reply::json(format!(r#"{{"washes":[{}],"next":{}}}"#, texts.join(","), json!(next)))
    }
}

fn time(question: &Question, name: &str) -> Result<Timestamp, ()> {
    question.parameter(name).and_then(|text| text.parse().ok()).ok_or(())
}

impl Provider for Washbay {
    fn name(&self) -> &'static str {
        "washbay"
    }

    fn is_login(&self, _: &str) -> bool {
        false
    }

    fn answer(&mut self, question: &Question, fault: Option<&Fault>) -> Reply {
        if !self.key_is_good || question.header("x-api-key") != Some(API_KEY) {
            return Reply::error(401, "this key opens nothing");
        }
        match question.path.as_str() {
            "/washbay/v1/washes" => self.list(question, fault),
            "/washbay/v1/halls" => {
                let halls: Vec<String> = self.halls.keys().map(|number| self.hall(*number)).collect();
                Reply::json(format!(r#"{{"halls":[{}]}}"#, halls.join(",")))
            }
            _ => Reply::error(404, "there is no such thing"),
        }
    }

    fn is_open_to(&self, question: &Question, fault: &Fault) -> bool {
        question.path == "/washbay/v1/washes" && fault.kind != "lie_total"
    }

    fn revoke(&mut self, _: bool) {
        self.key_is_good = false;
    }

    fn truth(&self, resource: &str, _: Option<&str>, window: Option<Window>) -> Vec<String> {
        if resource == "halls" {
            return self.halls.keys().map(|number| self.hall(*number)).collect();
        }
        let washes = self.washes.iter().filter(|(_, wash)| window.is_none_or(|window| window.contains(wash.paid_at)));
        washes.map(|(number, wash)| wash.text(*number)).collect()
    }

    fn stir(&mut self, stirring: Stirring, resource: &str, _: Option<&str>, window: Window) -> Option<String> {
        self.made_up += 1;
        if resource == "halls" {
            let first = *self.halls.keys().next()?;
            let number = match stirring {
                Stirring::Arrive => self.halls.keys().last()? + 1,
                Stirring::Change | Stirring::Vanish => first,
            };
            match stirring {
                Stirring::Vanish => self.halls.remove(&number),
                _ => self.halls.insert(number, format!("Hall {number}, painted {} times", self.made_up)),
            };
            return Some(format!("H{number}"));
        }
        let inside = self.washes.iter().find(|(_, wash)| window.contains(wash.paid_at)).map(|(number, _)| *number);
        let number = match stirring {
            Stirring::Arrive => {
                let wash = Wash { paid_at: window.from(), hall: 1, price_cents: 700, paid_with: "cash" };
                self.washes.insert(900 - self.made_up, wash);
                900 - self.made_up
            }
            Stirring::Change => {
                self.washes.get_mut(&inside?)?.price_cents += 1;
                inside?
            }
            Stirring::Vanish => {
                self.washes.remove(&inside?);
                inside?
            }
        };
        Some(format!("W{number:06}"))
    }

    fn cap(&mut self, largest_page: usize) {
        self.largest = largest_page.min(50);
    }
}
