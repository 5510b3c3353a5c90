//! A server that writes exactly the given bytes, one reply a request.
//!
//! Invariant: it lives as long as the test that holds it; a request beyond the script finds the connection closed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tillhouse_extract::{BaseUrl, HttpClient, SourceLimits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// Scripted reply to one request.
pub(crate) enum ScriptedReply {
    /// Sends these bytes; the connection stays open.
    Write(Vec<u8>),
    /// Sends these bytes, then closes the connection.
    Close(Vec<u8>),
    /// Sends nothing.
    Silence,
}

/// Test server that answers by a script.
pub(crate) struct ScriptedServer {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
    _task: AbortOnDropHandle<()>,
}

/// A whole JSON response.
pub(crate) fn json(status: &str, headers: &str, body: &str) -> ScriptedReply {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    ScriptedReply::Write([head.as_bytes(), body.as_bytes()].concat())
}

/// Limits without a rate, so that tests wait for nothing.
pub(crate) fn limits() -> SourceLimits {
    SourceLimits {
        rate_per_second: None,
        ..SourceLimits::default()
    }
}

impl ScriptedServer {
    pub(crate) async fn start(script: Vec<ScriptedReply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let script = Arc::new(Mutex::new(VecDeque::from(script)));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(connection(socket, script.clone(), seen.clone()));
            }
        });
        Self {
            url,
            requests,
            _task: AbortOnDropHandle::new(task),
        }
    }

    pub(crate) fn client(&self, limits: SourceLimits) -> HttpClient {
        HttpClient::new("testing", BaseUrl::parse(&self.url).unwrap(), limits).unwrap()
    }

    /// The requests so far, head and body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn connection(
    mut socket: TcpStream,
    script: Arc<Mutex<VecDeque<ScriptedReply>>>,
    seen: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    loop {
        let request = request(&mut socket).await?;
        seen.lock().unwrap().push(request);
        let reply = script.lock().unwrap().pop_front()?;
        match reply {
            ScriptedReply::Write(bytes) => socket.write_all(&bytes).await.ok()?,
            ScriptedReply::Close(bytes) => {
                socket.write_all(&bytes).await.ok()?;
                return None;
            }
            ScriptedReply::Silence => std::future::pending().await,
        }
    }
}

async fn request(socket: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, length)| length.parse().unwrap());
            if body.len() >= length {
                return Some(text);
            }
        }
    }
}
