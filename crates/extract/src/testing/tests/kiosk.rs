//! A made-up API: sales by window, by offset with a total or by link; and a price list, all at once.
//!
//! Invariant: it follows the control protocol, and its listings are sorted by id.

use crate::testing::emulator::{Fault, Provider, Question, Reply, Stirring};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use tillhouse_model::Window;

pub(super) const USER: &str = "cashier";
pub(super) const PASSWORD: &str = "hunter2-kiosk";

pub(super) fn instant(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn window() -> Window {
    Window::new(instant("2026-01-01T00:00:00Z"), instant("2026-01-04T00:00:00Z")).unwrap()
}

pub(super) fn now() -> Timestamp {
    instant("2026-02-01T00:00:00Z")
}

struct Sale {
    at: Timestamp,
    learnt: Timestamp,
    text: String,
}

#[derive(Default)]
pub(super) struct Kiosk {
    sales: BTreeMap<String, Sale>,
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

impl Kiosk {
    pub(super) fn new() -> Self {
        let mut kiosk = Self { largest: 1_000, ..Self::default() };
        for n in 0..420_i64 {
            // Pairs at the same instant, and instants between two seconds.
            let at = window().from() + SignedDuration::from_millis((n / 2) * 600_500);
            let id = format!("s{:03}", (n * 37) % 420);
            let text = text(&id, at, &format!("{n}.90000000000000001"));
            kiosk.sales.insert(id, Sale { at, learnt: at, text });
        }
        kiosk.prices = (0..12).map(|n| format!(r#"{{"code":{n},"price":1.{n}}}"#)).collect();
        kiosk
    }

    fn grant(&mut self) -> Reply {
        self.issued += 1;
        let (token, refresh) = (format!("token-{}", self.issued), format!("refresh-{}", self.issued));
        self.tokens.insert(token.clone());
        self.refreshes.insert(refresh.clone());
        Reply::json(json!({"token": token, "refresh": refresh, "expires_in": 3600}).to_string())
    }

    fn login(&mut self, question: &Question) -> Reply {
        let body: Value = serde_json::from_str(&question.body).unwrap_or_default();
        let good = match question.path.as_str() {
            "/kiosk/refresh" => body["refresh"].as_str().is_some_and(|refresh| self.refreshes.remove(refresh)),
            _ => body["user"] == USER && body["password"] == PASSWORD,
        };
        if good { self.grant() } else { Reply::error(401, "wrong user or password") }
    }

    fn list(&mut self, question: &Question, fault: Option<&Fault>) -> Reply {
        let number = |name| question.parameter(name).and_then(|text| text.parse::<usize>().ok());
        let time = |name| question.parameter(name).and_then(|text| text.parse::<Timestamp>().ok());
        let limit = number("limit").unwrap_or(100).clamp(1, self.largest);
        let is = |kind: &str| fault.is_some_and(|fault| fault.kind == kind);
        let by_link = question.path == "/kiosk/feed";
        if is("endless") {
            let page: Vec<String> = (0..limit)
                .map(|_| {
                    self.made_up += 1;
                    text(&format!("x{}", self.made_up), now(), "1")
                })
                .collect();
            let next = format!("{}/kiosk/feed?after=x{}&limit={limit}", question.origin, self.made_up);
            let next = if by_link { json!(next) } else { Value::Null };
            return page_of(&page, Some(self.made_up as usize + 1_000_000).filter(|_| !by_link), &next);
        }
        let wanted = |sale: &Sale| match (time("learnt_from"), time("learnt_to")) {
            (Some(from), Some(to)) => from <= sale.learnt && sale.learnt < to,
            _ => time("from").is_none_or(|from| from <= sale.at) && time("to").is_none_or(|to| sale.at < to),
        };
        let after = question.parameter("after").unwrap_or_default();
        let rows: Vec<(&String, &Sale)> =
            self.sales.iter().filter(|(id, sale)| id.as_str() > after && wanted(sale)).collect();
        let offset = number("offset").unwrap_or_default();
        let page: Vec<_> = rows.iter().skip(offset).take(limit).collect();
        let texts: Vec<String> = page.iter().map(|(_, sale)| sale.text.clone()).collect();
        if !by_link {
            let total = if is("page_total") { texts.len() } else { rows.len() + usize::from(is("lie_total")) };
            return page_of(&texts, Some(total), &Value::Null);
        }
        let link = |after: &str| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(question.query.iter().filter(|(key, _)| key != "after"));
            query.append_pair("after", after);
            format!("{}/kiosk/feed?{}", question.origin, query.finish())
        };
        let next = match (page.last(), fault) {
            (Some(_), Some(fault)) if fault.kind == "foreign_link" => json!(fault.link),
            (Some(_), Some(fault)) if fault.kind == "self_link" => json!(link(after)),
            (Some((last, _)), _) if page.len() < rows.len() => json!(link(last)),
            _ => Value::Null,
        };
        page_of(&texts, None, &next)
    }
}

fn page_of(records: &[String], total: Option<usize>, next: &Value) -> Reply {
    let total = total.map(|total| format!(r#""total":{total},"#)).unwrap_or_default();
    Reply::json(format!(r#"{{{total}"next":{next},"sales":[{}]}}"#, records.join(",")))
}

impl Provider for Kiosk {
    fn name(&self) -> &'static str {
        "kiosk"
    }

    fn is_login(&self, path: &str) -> bool {
        ["/kiosk/login", "/kiosk/refresh"].contains(&path)
    }

    fn answer(&mut self, question: &Question, fault: Option<&Fault>) -> Reply {
        if self.is_login(&question.path) {
            return self.login(question);
        }
        let token = question.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
        if !token.is_some_and(|token| self.tokens.contains(token)) {
            return Reply::error(401, "log in first");
        }
        match question.path.as_str() {
            "/kiosk/sales" | "/kiosk/feed" => self.list(question, fault),
            "/kiosk/prices" => Reply::json(format!(r#"{{"prices":[{}]}}"#, self.prices.join(","))),
            path => match path.strip_prefix("/kiosk/sales/").and_then(|id| self.sales.get(id)) {
                Some(sale) => page_of(std::slice::from_ref(&sale.text), None, &Value::Null),
                None => Reply::error(404, "there is no such thing"),
            },
        }
    }

    fn is_open_to(&self, question: &Question, fault: &Fault) -> bool {
        match fault.kind.as_str() {
            "endless" => ["/kiosk/sales", "/kiosk/feed"].contains(&question.path.as_str()),
            "lie_total" | "page_total" => question.path == "/kiosk/sales",
            _ => question.path == "/kiosk/feed",
        }
    }

    fn revoke(&mut self, refresh_too: bool) {
        self.tokens.clear();
        if refresh_too {
            self.refreshes.clear();
        }
    }

    fn truth(&self, resource: &str, _: Option<&str>, window: Option<Window>) -> Vec<String> {
        if resource == "prices" {
            return self.prices.clone();
        }
        let inside = |sale: &&Sale| window.is_none_or(|window| window.contains(sale.at));
        self.sales.values().filter(inside).map(|sale| sale.text.clone()).collect()
    }

    fn stir(&mut self, stirring: Stirring, resource: &str, _: Option<&str>, window: Window) -> Option<String> {
        if resource == "prices" {
            return None;
        }
        let first = self.sales.iter().find(|(_, sale)| window.contains(sale.at)).map(|(id, _)| id.clone());
        match stirring {
            Stirring::Arrive => {
                let (id, at) = (format!("a{:03}", 999 - self.made_up), window.from());
                self.made_up += 1;
                self.sales.insert(id.clone(), Sale { at, learnt: now(), text: text(&id, at, "1.0") });
                Some(id)
            }
            Stirring::Change => {
                let id = first?;
                let sale = self.sales.get_mut(&id)?;
                sale.text = text(&id, sale.at, "7.77");
                Some(id)
            }
            Stirring::Vanish => {
                let id = first?;
                self.sales.remove(&id);
                Some(id)
            }
        }
    }

    fn cap(&mut self, largest_page: usize) {
        self.largest = largest_page;
    }
}
