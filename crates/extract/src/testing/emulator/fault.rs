//! Faults on demand, as the control protocol orders them.
//!
//! Invariant: a request meets at most one fault, the first in the queue that is due; every fault that could hit a request counts it
//! down.

use crate::testing::emulator::wire::Manner;
use crate::testing::emulator::{Question, Reply};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// What goes wrong, as the control protocol names it.
    pub kind: String,
    /// How many more requests pass first.
    #[serde(default)]
    pub after: u64,
    /// How many more are hit then.
    #[serde(default = "once")]
    pub times: u64,
    /// Only paths that contain this; without it, all that are no logins.
    #[serde(default)]
    pub path: Option<String>,
    /// For `rate_limited`.
    #[serde(default)]
    pub retry_after: Option<String>,
    /// For `server_error`, `answer` and `missing`.
    #[serde(default)]
    pub status: Option<u16>,
    /// For `answer`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// For `answer`.
    #[serde(default)]
    pub body: Option<String>,
    /// For `encoded`.
    #[serde(default)]
    pub encoding: Option<String>,
    /// For `encoded`.
    #[serde(default)]
    pub members: Option<usize>,
    /// For `replaced`.
    #[serde(default)]
    pub text: Option<String>,
    /// For `replaced`.
    #[serde(default)]
    pub with: Option<String>,
    /// For `foreign_link`.
    #[serde(default)]
    pub link: Option<String>,
    /// For `oversized`.
    #[serde(default)]
    pub bytes: Option<usize>,
    /// For `slow`.
    #[serde(default)]
    pub millis: Option<u64>,
    /// For `unauthorized`.
    #[serde(default)]
    pub refresh_too: bool,
}

fn once() -> u64 {
    1
}

impl Fault {
    /// Whether it is the provider's to do: its pages hold other links, totals or records.
    pub fn concerns_content(&self) -> bool {
        matches!(self.kind.as_str(), "foreign_link" | "self_link" | "endless" | "lie_total" | "page_total")
    }

    /// Whether it hits only listings' pages that have no records.
    pub(crate) fn hits_what_is_empty(&self) -> bool {
        matches!(self.kind.as_str(), "null_page" | "no_content" | "missing")
    }

    /// Whether there is such a fault.
    pub(crate) fn is_known(&self) -> bool {
        let transport = [
            "rate_limited",
            "server_error",
            "unauthorized",
            "truncated",
            "reset",
            "empty",
            "html",
            "slow",
            "wrong_content_type",
            "oversized",
            "repeat",
            "hole",
            "answer",
            "echo",
            "byte_order_mark",
            "encoded",
            "replaced",
        ];
        self.concerns_content() || self.hits_what_is_empty() || transport.contains(&self.kind.as_str())
    }

    /// What is answered in the provider's place.
    pub(crate) fn instead(&self, question: &Question) -> Option<(Reply, Manner)> {
        let reply = match self.kind.as_str() {
            "rate_limited" => {
                let mut reply = Reply::error(429, "too many requests");
                reply.headers.push(("Retry-After".into(), self.retry_after.clone().unwrap_or_else(|| "1".to_owned())));
                reply
            }
            "server_error" => Reply::error(self.status.unwrap_or(500), "something went wrong"),
            "answer" => Reply {
                status: self.status.unwrap_or(200),
                body: self.body.clone().unwrap_or_default().into(),
                headers: self.headers.iter().map(|(name, value)| (name.clone().into(), value.clone())).collect(),
            },
            "echo" => Reply::error(self.status.unwrap_or(400), &echo(question)),
            "empty" => Reply::json(""),
            "reset" => return Some((Reply::json(""), Manner::Reset)),
            "html" => return Some((Reply::json("<!doctype html><title>Please wait</title>"), Manner::As("text/html"))),
            _ => return None,
        };
        Some((reply, Manner::Plain))
    }

    /// A good reply, spoilt.
    pub(crate) fn spoil(&self, mut reply: Reply) -> (Reply, Manner) {
        match self.kind.as_str() {
            "truncated" => (reply, Manner::Truncated),
            "slow" => (reply, Manner::After(Duration::from_millis(self.millis.unwrap_or(1_000)))),
            "wrong_content_type" => (reply, Manner::As("text/plain")),
            "oversized" => {
                let missing = self.bytes.unwrap_or(65 << 20).saturating_sub(reply.body.len());
                reply.body.resize(reply.body.len() + missing, b' ');
                (reply, Manner::Plain)
            }
            "byte_order_mark" => {
                reply.body.splice(..0, *b"\xef\xbb\xbf");
                (reply, Manner::Plain)
            }
            "encoded" => {
                let encoding = self.encoding.clone().unwrap_or_else(|| "gzip".to_owned());
                if encoding.to_ascii_lowercase().ends_with("gzip") {
                    let pieces = reply.body.chunks(reply.body.len().div_ceil(self.members.unwrap_or(1)).max(1));
                    reply.body = pieces.flat_map(gzip).collect();
                }
                reply.headers.push(("Content-Encoding".into(), encoding));
                (reply, Manner::Plain)
            }
            "replaced" => {
                let (text, with) = (self.text.clone().unwrap_or_default(), self.with.clone().unwrap_or_default());
                reply.body = replaced(&reply.body, text.as_bytes(), &with);
                (reply, Manner::Plain)
            }
            _ => (reply, Manner::Plain),
        }
    }
}

/// What a request carried, as it came and with every byte percent-encoded.
fn echo(question: &Question) -> String {
    let headers: String = question.headers.iter().map(|(name, value)| format!(" {name}: {value}")).collect();
    let encoded: String = question.body.bytes().map(|byte| format!("%{byte:02x}")).collect();
    format!("cannot read {encoded} {}{headers}", question.body)
}

/// One member.
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing into a Vec does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}

/// A body with a text replaced, once; U+FFFD in what replaces it stands for the byte 0xFF.
fn replaced(body: &[u8], text: &[u8], with: &str) -> Vec<u8> {
    let Some(at) = body.windows(text.len().max(1)).position(|window| window == text) else { return body.to_vec() };
    let with: Vec<u8> = with.split('\u{fffd}').map(str::as_bytes).collect::<Vec<_>>().join(&0xff);
    [&body[..at], &with, &body[at + text.len()..]].concat()
}

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, faults: Vec<Fault>) {
        self.0.extend(faults);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn shown(&self) -> String {
        json!({ "faults": self.0 }).to_string()
    }

    /// The fault that a request meets; `open` says which could hit it.
    pub(crate) fn meet(&mut self, path: &str, login: bool, open: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let mut met: Option<Fault> = None;
        for fault in &mut self.0 {
            if !fault.path.as_ref().map_or(!login, |part| path.contains(part)) || !open(fault) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
            } else if met.is_none() {
                fault.times -= 1;
                met = Some(fault.clone());
            }
        }
        self.0.retain(|fault| fault.times > 0);
        met
    }
}
