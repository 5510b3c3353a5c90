//! The control protocol's routes.
//!
//! Invariant: a route that is asked against the protocol answers 4xx and changes nothing.

use crate::testing::emulator::{Fault, Provider, Question, Reply, Shared, Stirring};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use tillhouse_model::Window;

#[derive(Deserialize)]
struct FaultOrder {
    faults: Vec<Fault>,
}

#[derive(Deserialize)]
struct StirOrder {
    resource: String,
    tenant: Option<String>,
    kind: String,
    from: Timestamp,
    to: Timestamp,
}

#[derive(Deserialize)]
struct CapOrder {
    largest_page: usize,
}

impl<P: Provider> Shared<P> {
    /// Answers a route below `/control/`.
    pub(crate) fn control(&mut self, route: &str, question: &Question) -> Reply {
        let (provider, own) = match route.split_once('/') {
            Some((name, own)) if name == self.provider.name() => (true, own),
            _ => (false, route),
        };
        match (question.method.as_str(), provider, own) {
            ("GET", false, "clock") => Reply::json(json!({ "now": self.now.to_string() }).to_string()),
            ("GET", false, "faults") => Reply::json(self.faults.shown()),
            ("POST", false, "faults") => self.add_faults(&question.body),
            ("DELETE", false, "faults") => {
                self.faults.clear();
                self.repeated = None;
                Reply::json(self.faults.shown())
            }
            ("GET", false, "requests") => {
                Reply::json(json!({ "total": self.log.len(), "requests": self.log }).to_string())
            }
            ("DELETE", false, "requests") => {
                self.log.clear();
                Reply::json("{}")
            }
            ("GET", true, "truth") => self.truth(question),
            ("POST", true, "stir") => self.stir(&question.body),
            ("POST", true, "page_cap") => match serde_json::from_str::<CapOrder>(&question.body) {
                Ok(order) => {
                    self.provider.cap(order.largest_page);
                    Reply::json("{}")
                }
                Err(error) => bad(&error),
            },
            _ => Reply::error(404, "there is no such route"),
        }
    }

    fn add_faults(&mut self, body: &str) -> Reply {
        match serde_json::from_str::<FaultOrder>(body) {
            Ok(order) => match order.faults.iter().find(|fault| !fault.is_known()) {
                Some(unknown) => Reply::error(400, &format!("there is no fault {:?}", unknown.kind)),
                None => {
                    self.faults.add(order.faults);
                    Reply::json(self.faults.shown())
                }
            },
            Err(error) => bad(&error),
        }
    }

    fn truth(&self, question: &Question) -> Reply {
        let Some(resource) = question.parameter("resource") else {
            return Reply::error(400, "name a resource");
        };
        let instant = |name| question.parameter(name).map(str::parse::<Timestamp>).transpose();
        let window = match (instant("from"), instant("to")) {
            (Ok(Some(from)), Ok(Some(to))) => match Window::new(from, to) {
                Ok(window) => Some(window),
                Err(error) => return bad(&error),
            },
            (Ok(None), Ok(None)) => None,
            _ => return Reply::error(400, "from and to are RFC 3339, and come together"),
        };
        let mut body = self.provider.truth(resource, question.parameter("tenant"), window).join("\n");
        body.push('\n');
        Reply::json(body)
    }

    fn stir(&mut self, body: &str) -> Reply {
        let order: StirOrder = match serde_json::from_str(body) {
            Ok(order) => order,
            Err(error) => return bad(&error),
        };
        let stirring = match order.kind.as_str() {
            "arrive" => Stirring::Arrive,
            "change" => Stirring::Change,
            "vanish" => Stirring::Vanish,
            _ => return Reply::error(400, "kind is arrive, change or vanish"),
        };
        let window = match Window::new(order.from, order.to) {
            Ok(window) => window,
            Err(error) => return bad(&error),
        };
        match self.provider.stir(stirring, &order.resource, order.tenant.as_deref(), window) {
            Some(id) => Reply::json(json!({ "id": id }).to_string()),
            None => Reply::error(404, "nothing fits"),
        }
    }
}

fn bad(error: &dyn std::error::Error) -> Reply {
    Reply::error(400, &error.to_string())
}
