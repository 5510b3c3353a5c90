//! Faults on demand: what goes wrong, for whom, after how many requests and how often.
//!
//! Invariant: a request meets at most one fault, the first in the queue that matches and is due; every fault that matches counts
//! the request down.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// 429 with `Retry-After: <retry_after>` (default `1`; a date works too, and an empty text leaves the header out).
    RateLimited,
    /// `status` (default 500) with a JSON error.
    ServerError,
    /// Every access token is revoked (with `refresh_too`, every refresh token as well), so the request gets a 401.
    Unauthorized,
    /// The answer comes after `millis`.
    Slow,
    /// The body stops halfway through what Content-Length promised.
    Truncated,
    /// The connection is reset before anything is answered.
    Reset,
    /// 200 with no body at all.
    Empty,
    /// 200 with an HTML page, as a proxy would send it.
    Html,
    /// The right body under `text/plain`.
    WrongContentType,
    /// `status` (default 200) with `headers` and `body`.
    Answer,
    /// `status` (default 400) with what the request carried in the message: its body with every byte percent-encoded and as it came, its
    /// headers.
    Echo,
    /// The right body behind a byte order mark.
    ByteOrderMark,
    /// The right body under `Content-Encoding: <encoding>`; gzipped, in so many `members`, where its name ends in `gzip` in any case.
    Encoded,
    /// The right body, in which the first `text` is replaced by `with`; U+FFFD in the latter is sent as the byte 0xFF.
    Replaced,
    /// A listing's later page: a record is inserted before the pages already read, so that every offset shifts by one.
    Shift,
    /// A listing whose next link leads to another host (`link`, or 127.0.0.2 on the same port).
    ForeignLink,
    /// A listing whose next link leads to itself.
    SelfLink,
    /// The body is padded with blanks to `bytes` (default 65 MiB).
    Oversized,
    /// Statistics, or a summary of revenue, one figure of which is one too high.
    LieStatistics,
    /// A listing whose declared total is one too high, where the API declares one.
    LieTotal,
    /// A listing whose declared total counts the page only, where the API declares one.
    PageTotal,
    /// Answer to the first request that met this fault, again and again.
    Repeat,
    /// A listing's page without its records, all else as it is.
    Hole,
    /// A listing's page without records that says `with` (JSON, default `null`) instead of an empty list. Hits pages without records only.
    NullPage,
    /// A listing's page without records, as 204 without a body. Hits pages without records only.
    NoContent,
    /// A listing's page without records, as a refusal with `status` (default 404). Hits pages without records only.
    Missing,
    /// A page of a listing that is not there (`status`, default 404), and stays so: the first one that meets this fault, as it was asked for.
    Lost,
    /// A listing in an order of the server's own, whatever is asked for: the other way round.
    Unsorted,
    /// A listing in another order with every request, as one without an order may come.
    Shuffled,
    /// A listing that does not end: in place of what was asked for, a full page of new, made-up records, and always one more to
    /// come. With a `times` without end, it never does.
    Endless,
    /// HTTP 200 whose envelope says "Error", where the API has such envelopes (be-mo).
    HiddenError,
    /// 401 with the code `missing-linked-identity`, which no new token cures (PACE).
    MissingLinkedIdentity,
}

impl FaultKind {
    fn hits_what_is_empty(self) -> bool {
        matches!(self, Self::NullPage | Self::NoContent | Self::Missing)
    }
}

/// Kind of request that a fault can hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultTarget {
    /// A login, or the renewal of a token.
    Login,
    /// A list request.
    List,
    /// A list request beyond the first page.
    LaterPage,
    /// A list request whose answer holds no records.
    EmptyPage,
    /// A request for statistics, or for a summary of revenue.
    Statistics,
    /// Everything else.
    Other,
}

/// Fault that the emulator plays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmulatedFault {
    /// Kind of fault.
    pub kind: FaultKind,
    /// Number of matching requests that pass first.
    #[serde(default)]
    pub after: u64,
    /// Number of requests that are hit then.
    #[serde(default = "once")]
    pub times: u64,
    /// Only paths that contain this; without it, everything but the login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// See [`FaultKind::RateLimited`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// See [`FaultKind::ServerError`], [`FaultKind::Missing`], [`FaultKind::Lost`] and [`FaultKind::Answer`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// See [`FaultKind::Answer`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// See [`FaultKind::Answer`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// See [`FaultKind::Encoded`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// See [`FaultKind::Encoded`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<usize>,
    /// See [`FaultKind::Replaced`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// See [`FaultKind::Replaced`] and [`FaultKind::NullPage`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// See [`FaultKind::Slow`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub millis: Option<u64>,
    /// See [`FaultKind::ForeignLink`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// See [`FaultKind::Oversized`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// See [`FaultKind::Unauthorized`].
    #[serde(default)]
    pub refresh_too: bool,
}

fn once() -> u64 {
    1
}

impl EmulatedFault {
    /// A fault that hits the next matching request, once.
    pub fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            after: 0,
            times: 1,
            path: None,
            retry_after: None,
            status: None,
            headers: BTreeMap::new(),
            body: None,
            encoding: None,
            members: None,
            text: None,
            with: None,
            millis: None,
            link: None,
            bytes: None,
            refresh_too: false,
        }
    }

    /// The same fault after `requests` matching ones.
    #[must_use]
    pub fn after(mut self, requests: u64) -> Self {
        self.after = requests;
        self
    }

    /// The same fault, `times` times in a row.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// The same fault, only for paths that contain `part`.
    #[must_use]
    pub fn on(mut self, part: impl Into<String>) -> Self {
        self.path = Some(part.into());
        self
    }

    /// The rows of a whole listing, in the order that [`FaultKind::Unsorted`] and [`FaultKind::Shuffled`] give them.
    pub fn reorder<T: Clone>(&self, rows: Arc<Vec<T>>) -> Arc<Vec<T>> {
        match self.kind {
            FaultKind::Unsorted => Arc::new(rows.iter().rev().cloned().collect()),
            FaultKind::Shuffled if !rows.is_empty() => {
                // `times` is another one for every request that is hit.
                let length = rows.len() as u64;
                let start = usize::try_from(self.times.wrapping_mul(3) % length).unwrap_or(0);
                let (before, behind) = rows.split_at(start);
                Arc::new(behind.iter().chain(before).cloned().collect())
            }
            _ => rows,
        }
    }

    fn matches(&self, path: &str, target: FaultTarget) -> bool {
        let can_hit = match self.kind {
            _ if target == FaultTarget::EmptyPage && !self.kind.hits_what_is_empty() => false,
            FaultKind::Shift => target == FaultTarget::LaterPage,
            FaultKind::ForeignLink
            | FaultKind::SelfLink
            | FaultKind::LieTotal
            | FaultKind::PageTotal
            | FaultKind::Repeat
            | FaultKind::Hole
            | FaultKind::Lost
            | FaultKind::Unsorted
            | FaultKind::Shuffled
            | FaultKind::Endless => matches!(target, FaultTarget::List | FaultTarget::LaterPage),
            FaultKind::NullPage | FaultKind::NoContent | FaultKind::Missing => {
                target == FaultTarget::EmptyPage
            }
            FaultKind::LieStatistics => target == FaultTarget::Statistics,
            _ => true,
        };
        can_hit
            && self
                .path
                .as_ref()
                .map_or(target != FaultTarget::Login, |part| {
                    path.contains(part.as_str())
                })
    }
}

/// The faults that are still to come, in the order they were asked for.
#[derive(Debug, Default)]
pub(crate) struct FaultQueue {
    queue: Vec<EmulatedFault>,
    /// Answer to the first request that met [`FaultKind::Repeat`].
    repeated: Option<Vec<u8>>,
    /// Address of the first request that met [`FaultKind::Lost`].
    lost: Option<String>,
}

impl FaultQueue {
    pub(crate) fn add(&mut self, faults: impl IntoIterator<Item = EmulatedFault>) {
        self.queue.extend(faults);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Faults still to come.
    pub(crate) fn pending(&self) -> &[EmulatedFault] {
        &self.queue
    }

    /// The fault that this request meets; `open` says whether the API has what a kind is about.
    pub(crate) fn meet(
        &mut self,
        path: &str,
        target: FaultTarget,
        open: impl Fn(FaultKind) -> bool,
    ) -> Option<EmulatedFault> {
        let mut met: Option<EmulatedFault> = None;
        for fault in &mut self.queue {
            if !fault.matches(path, target) || !open(fault.kind) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
            } else if met.is_none() && fault.times > 0 {
                fault.times -= 1;
                met = Some(fault.clone());
            }
        }
        self.queue.retain(|fault| fault.times > 0);
        met
    }

    /// True if that page is lost; the first that is asked about is, from now on.
    pub(crate) fn is_lost(&mut self, address: &str) -> bool {
        self.lost.get_or_insert_with(|| address.to_owned()) == address
    }

    /// The body that is repeated from now on; `body` where there is none yet.
    pub(crate) fn repeat(&mut self, body: &[u8]) -> Vec<u8> {
        self.repeated.get_or_insert_with(|| body.to_vec()).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_wait_hit_and_are_used_up() {
        let mut faults = FaultQueue::default();
        faults.add([
            EmulatedFault::new(FaultKind::ServerError).after(1).times(2),
            EmulatedFault::new(FaultKind::Shift),
        ]);
        let mut meet = |target| {
            faults
                .meet("/transactions", target, |_| true)
                .map(|f| f.kind)
        };
        assert_eq!(meet(FaultTarget::Login), None);
        assert_eq!(meet(FaultTarget::List), None);
        assert_eq!(meet(FaultTarget::List), Some(FaultKind::ServerError));
        assert_eq!(meet(FaultTarget::LaterPage), Some(FaultKind::ServerError));
        assert_eq!(meet(FaultTarget::LaterPage), Some(FaultKind::Shift));
        assert_eq!(meet(FaultTarget::LaterPage), None);
        assert!(faults.pending().is_empty());
    }

    #[test]
    fn the_first_page_that_is_lost_stays_so_and_others_do_not() {
        let mut faults = FaultQueue::default();
        let lost = ["/a?2", "/a?4", "/a?2"].map(|address| faults.is_lost(address));
        assert_eq!(lost, [true, false, true]);
        faults.clear();
        assert!(faults.is_lost("/a?4"));
    }

    #[test]
    fn a_list_without_its_order_keeps_its_rows() {
        let rows = Arc::new(vec![1, 2, 3, 4, 5]);
        let order = |kind, times| {
            let fault = EmulatedFault::new(kind).times(times);
            fault.reorder(Arc::clone(&rows)).to_vec()
        };
        assert_eq!(order(FaultKind::Unsorted, 1), [5, 4, 3, 2, 1]);
        assert_eq!(order(FaultKind::Shuffled, 7), [2, 3, 4, 5, 1]);
        assert_eq!(order(FaultKind::Shuffled, 6), [4, 5, 1, 2, 3]);
        assert_eq!(order(FaultKind::Hole, 6), *rows);
        let nothing: Arc<Vec<u8>> = Arc::default();
        let fault = EmulatedFault::new(FaultKind::Shuffled);
        assert!(fault.reorder(nothing).is_empty());
    }

    #[test]
    fn an_api_without_links_uses_up_no_fault_of_links() {
        let mut faults = FaultQueue::default();
        faults.add([
            EmulatedFault::new(FaultKind::ForeignLink),
            EmulatedFault::new(FaultKind::LieTotal),
        ]);
        let has_no_links = |kind| kind != FaultKind::ForeignLink;
        let met = faults
            .meet("/sales", FaultTarget::List, has_no_links)
            .map(|fault| fault.kind);
        assert_eq!(met, Some(FaultKind::LieTotal));
        assert!(
            faults
                .meet("/sales", FaultTarget::List, has_no_links)
                .is_none()
        );
        assert_eq!(faults.pending().len(), 1);
    }

    #[test]
    fn the_login_fails_only_when_it_is_named() {
        let mut faults = FaultQueue::default();
        faults.add([EmulatedFault::new(FaultKind::Empty).on("/auth")]);
        assert!(
            faults
                .meet("/hecone/transactions", FaultTarget::List, |_| true)
                .is_none()
        );
        assert!(
            faults
                .meet("/hecone/auth/login", FaultTarget::Login, |_| true)
                .is_some()
        );
    }
}
