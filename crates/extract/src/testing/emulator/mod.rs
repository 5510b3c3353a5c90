//! A server that speaks the control protocol, for an API that is described by a [`Provider`].
//!
//! Invariant: it listens on loopback only, ends with its value, and knows nothing of the kit that it puts to the test: it speaks HTTP by
//! itself. Its clock stands still.
//!
//! Faults that concern the transport are done here; those that concern content ([`Fault::concerns_content`]) are handed to the provider
//! with the request.

mod control;
mod fault;
mod listing;
mod wire;

pub use fault::Fault;

use crate::testing::breach::Breach;
use fault::Faults;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use tillhouse_model::Window;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;
use wire::{Connection, Manner};

/// A request to the provider.
#[derive(Debug, Clone)]
pub struct Question {
    /// `GET`, `POST`, ...
    pub method: String,
    /// The path, the provider's prefix included.
    pub path: String,
    /// The query's pairs, decoded, in order.
    pub query: Vec<(String, String)>,
    /// The query as it came.
    pub raw_query: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
    /// Where the server is, `http://127.0.0.1:PORT`, for links.
    pub origin: String,
}

impl Question {
    /// The first value of a query parameter.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What the provider answers: a status and a JSON body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body, JSON unless a fault says otherwise.
    pub body: Vec<u8>,
    /// More headers.
    pub headers: Vec<(Cow<'static, str>, String)>,
}

impl Reply {
    /// 200 with a body.
    pub fn json(body: impl Into<String>) -> Self {
        Self { status: 200, body: body.into().into_bytes(), headers: Vec::new() }
    }

    /// An error with a message.
    pub fn error(status: u16, message: &str) -> Self {
        Self { status, body: json!({ "error": message }).to_string().into_bytes(), headers: Vec::new() }
    }
}

/// What is to happen to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stirring {
    /// A new one.
    Arrive,
    /// Another content.
    Change,
    /// It is removed.
    Vanish,
}

/// An API and the records it has.
pub trait Provider: Send + 'static {
    /// Its name, which is also the first segment of its paths: `/name/...`.
    fn name(&self) -> &'static str;

    /// Whether a path is a login.
    fn is_login(&self, path: &str) -> bool;

    /// Answers a request. `fault` is one that concerns content, if the request met one.
    fn answer(&mut self, question: &Question, fault: Option<&Fault>) -> Reply;

    /// Whether a fault that concerns content can hit this request.
    fn is_open_to(&self, question: &Question, fault: &Fault) -> bool;

    /// Forgets the access tokens it gave out, and the refresh tokens as well if asked.
    fn revoke(&mut self, refresh_too: bool);

    /// The records of a resource, byte for byte as they are served; those of a window where one is given.
    fn truth(&self, resource: &str, tenant: Option<&str>, window: Option<Window>) -> Vec<String>;

    /// Stirs a record of the window, at the beginning of the listing; its id, `None` where nothing fits.
    fn stir(&mut self, stirring: Stirring, resource: &str, tenant: Option<&str>, window: Window) -> Option<String>;

    /// Cuts pages to so many records.
    fn cap(&mut self, largest_page: usize);
}

struct Shared<P> {
    provider: P,
    faults: Faults,
    log: Vec<Value>,
    now: Timestamp,
    origin: String,
    /// What the first request got that met a `repeat`.
    repeated: Option<Vec<u8>>,
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Emulator {
    url: String,
    _server: AbortOnDropHandle<()>,
}

impl Emulator {
    /// Serves a provider on a free port of 127.0.0.1, at this time.
    pub async fn start<P: Provider>(provider: P, now: Timestamp) -> Result<Self, Breach> {
        let unbound = |error| Breach::new(format!("cannot listen on loopback: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(unbound)?;
        let url = format!("http://{}", listener.local_addr().map_err(unbound)?);
        let (faults, log) = (Faults::default(), Vec::new());
        let shared = Arc::new(Mutex::new(Shared { provider, faults, log, now, origin: url.clone(), repeated: None }));
        let server = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&shared)));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { url, _server: AbortOnDropHandle::new(server) })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Answers one connection until it closes.
async fn serve<P: Provider>(stream: TcpStream, shared: Arc<Mutex<Shared<P>>>) {
    let mut connection = Connection::new(stream);
    while let Some(question) = connection.question().await {
        let (reply, manner) = {
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            shared.answer(question)
        };
        if !connection.reply(reply, manner).await {
            return;
        }
    }
}

impl<P: Provider> Shared<P> {
    fn answer(&mut self, mut question: Question) -> (Reply, Manner) {
        question.origin.clone_from(&self.origin);
        if let Some(route) = question.path.strip_prefix("/control/") {
            return (self.control(route, &question), Manner::Plain);
        }
        let login = self.provider.is_login(&question.path);
        let open = |fault: &Fault| match fault.kind.as_str() {
            _ if fault.hits_what_is_empty() => false,
            _ => !fault.concerns_content() || self.provider.is_open_to(&question, fault),
        };
        let fault = self.faults.meet(&question.path, login, open);
        if let Some(Fault { kind, refresh_too, .. }) = &fault
            && kind == "unauthorized"
        {
            self.provider.revoke(*refresh_too);
        }
        let content = fault.as_ref().filter(|fault| fault.concerns_content());
        let (reply, manner) = match fault.as_ref().and_then(|fault| fault.instead(&question)) {
            Some(instead) => instead,
            None => {
                let reply = self.provider.answer(&question, content);
                fault.as_ref().map_or((reply.clone(), Manner::Plain), |fault| fault.spoil(reply))
            }
        };
        let (reply, manner) = self.as_listing(&question.path, login, fault.as_ref(), (reply, manner));
        self.log.push(json!({
            "method": question.method, "path": question.path, "query": question.raw_query, "status": reply.status,
        }));
        (reply, manner)
    }

    /// The faults that need to know no more of an API than that its pages hold a list.
    fn as_listing(
        &mut self,
        path: &str,
        login: bool,
        fault: Option<&Fault>,
        (mut reply, manner): (Reply, Manner),
    ) -> (Reply, Manner) {
        let body = &reply.body[..];
        match fault.map(|fault| fault.kind.as_str()) {
            Some("repeat") => reply.body = self.repeated.get_or_insert_with(|| reply.body.clone()).clone(),
            Some("hole") => reply.body = listing::with_records(body, json!([])).unwrap_or(reply.body),
            None if reply.status == 200 && listing::is_empty(body) => {
                match self.faults.meet(path, login, Fault::hits_what_is_empty) {
                    Some(fault) if fault.kind == "missing" => {
                        reply = Reply::error(fault.status.unwrap_or(404), "there is no such page");
                    }
                    Some(fault) if fault.kind == "no_content" => reply = Reply { status: 204, ..Reply::json("") },
                    Some(_) => reply.body = listing::with_records(body, Value::Null).unwrap_or(reply.body),
                    None => {}
                }
            }
            _ => {}
        }
        (reply, manner)
    }
}
