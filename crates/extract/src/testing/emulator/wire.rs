//! HTTP/1.1, as far as a test server needs it: requests with a body of declared length, replies that can break.
//!
//! Invariant: a connection answers one request after the other; what it cannot read closes it.

use crate::testing::emulator::{Question, Reply};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How a reply goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// As JSON, whole.
    Plain,
    /// Under another content type.
    As(&'static str),
    /// After a while.
    After(Duration),
    /// Half of the body, then the connection closes.
    Truncated,
    /// Not at all: the connection is reset.
    Reset,
}

pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        Self { stream, read: Vec::new() }
    }

    /// The next request; `None` when the connection is over.
    pub(crate) async fn question(&mut self) -> Option<Question> {
        loop {
            if let Some((question, length)) = parse(&self.read) {
                self.read.drain(..length);
                return Some(question);
            }
            if self.stream.read_buf(&mut self.read).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// Sends a reply; `false` when the connection is over.
    pub(crate) async fn reply(&mut self, reply: Reply, manner: Manner) -> bool {
        if manner == Manner::Reset {
            // Closed without lingering, a connection is reset.
            let _ = self.stream.set_zero_linger();
            return false;
        }
        if let Manner::After(pause) = manner {
            tokio::time::sleep(pause).await;
        }
        let content_type = if let Manner::As(other) = manner { other } else { "application/json" };
        let mut head = format!(
            "HTTP/1.1 {} {}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\nDate: {}\r\n",
            reply.status,
            reason(reply.status),
            reply.body.len(),
            httpdate::fmt_http_date(SystemTime::now())
        );
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let whole = &reply.body[..];
        let body = if manner == Manner::Truncated { &whole[..whole.len() / 2] } else { whole };
        let sent = async {
            self.stream.write_all(head.as_bytes()).await?;
            self.stream.write_all(body).await
        };
        sent.await.is_ok() && manner != Manner::Truncated
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        404 => "Not Found",
        410 => "Gone",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        _ => "Other",
    }
}

/// A request at the beginning of the bytes, and how many it takes; `None` while it is not all there.
fn parse(bytes: &[u8]) -> Option<(Question, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?);
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.map_or(Some(0), |(_, value)| value.parse::<usize>().ok())?;
    let body = bytes.get(end + 4..end + 4 + length)?;
    let (path, raw_query) = target.split_once('?').unwrap_or((target, ""));
    let question = Question {
        method,
        path: path.to_owned(),
        query: url::form_urlencoded::parse(raw_query.as_bytes()).into_owned().collect(),
        raw_query: raw_query.to_owned(),
        headers,
        body: String::from_utf8_lossy(body).into_owned(),
        origin: String::new(),
    };
    Some((question, end + 4 + length))
}
