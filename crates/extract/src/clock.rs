//! Two clocks: this machine's, and the one of the server it asks.
//!
//! Invariant: a record is no newer, and a window read no further, than by the slower of the two.

use crate::origin;
use jiff::{SignedDuration, Timestamp};
use reqwest::header::{DATE, HeaderMap};
use std::collections::BTreeSet;
use std::sync::{Mutex, OnceLock, PoisonError};
use tillhouse_model::time;
use url::Url;

/// Lead over the server's clock that does not count as being ahead: the header has whole seconds.
const CLOCKS_AGREE: SignedDuration = SignedDuration::from_secs(2);
/// A clock that is ahead by more than this is reported.
const TOLD: SignedDuration = SignedDuration::from_mins(5);

/// The time that was handed in, where one was.
static HANDED_IN: OnceLock<Timestamp> = OnceLock::new();

/// Times of both clocks at the last answer by which this machine's is ahead.
static LEAD: Mutex<Option<ClockLead>> = Mutex::new(None);

/// Servers of which it was said that this machine's clock is ahead of theirs.
static TOLD_OF: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Times that this machine's clock and a server's showed when an answer came, of which this machine's is far ahead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockLead {
    /// Scheme, host and port of the server.
    pub server: String,
    /// This machine's.
    pub here: Timestamp,
    /// The server's, as it said in the header `Date`.
    pub there: Timestamp,
}

/// The times of both clocks at the last answer of any server by which this machine's clock is ahead; `None` where none said so.
pub fn clock_lead() -> Option<ClockLead> {
    LEAD.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Stops this machine's clock at a time, for measurements that live through years: every request of the process counts as sent then, whatever
/// servers say. The first time that is handed in holds.
pub fn hand_in_clock(time: Timestamp) {
    HANDED_IN.get_or_init(|| time);
}

/// The time by this machine's clock, unless one was handed in.
pub(crate) fn now() -> Timestamp {
    HANDED_IN.get().copied().unwrap_or_else(Timestamp::now)
}

/// The moment at which the server says that it answered; not told where a time was handed in, which is the only one then.
pub(crate) fn answered_at(headers: &HeaderMap) -> Option<Timestamp> {
    if HANDED_IN.get().is_some() {
        return None;
    }
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    Timestamp::try_from(date).ok()
}

/// The moment at which a request was sent, by the slower clock. Records are what the server knew at that moment; a clock that is ahead must not make them
/// newer, or let a window count as read that has not ended.
///
/// An answer that a cache had kept is as old as it says.
pub(crate) fn moment_of_asking(
    sent: Timestamp,
    received: Timestamp,
    answered: Option<Timestamp>,
    server: &Url,
) -> Timestamp {
    let Some(answered) = answered else {
        return sent;
    };
    if sent.duration_since(answered) <= CLOCKS_AGREE {
        return sent;
    }
    let ahead = received.duration_since(answered);
    if ahead > TOLD {
        let server = origin::name(server);
        if is_told_first(&server) {
            tracing::warn!(
                ahead = %time::readable(ahead),
                server,
                "this machine's clock is ahead of the server's: what is asked for now counts as asked for at the server's time"
            );
        }
        *LEAD.lock().unwrap_or_else(PoisonError::into_inner) = Some(ClockLead {
            server,
            here: received,
            there: answered,
        });
    }
    sent.checked_sub(ahead)
        .map_or(answered, |asked| asked.min(sent))
}

/// True for the first time that something is said of a server's clock: each answer of it would say the same.
fn is_told_first(server: &str) -> bool {
    let mut told = TOLD_OF.lock().unwrap_or_else(PoisonError::into_inner);
    told.insert(server.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_slower_clock_counts() {
        let (sent, received) = (t("2026-03-01T12:00:00.700Z"), t("2026-03-01T12:00:03.200Z"));
        let server = Url::parse("https://user@api.example.com/v1?x=1").unwrap();
        let asked = |answered: &str| moment_of_asking(sent, received, Some(t(answered)), &server);
        // The clocks agree: the answer came within the second, or after some, or this machine is behind.
        for answered in [
            "2026-03-01T12:00:00Z",
            "2026-03-01T12:00:03Z",
            "2026-03-01T11:59:59Z",
            "2026-03-05T00:00:00Z",
        ] {
            assert_eq!(asked(answered), sent, "{answered}");
        }
        // This machine is four days ahead, or ten seconds.
        assert_eq!(asked("2026-02-25T12:00:03Z"), t("2026-02-25T12:00:00.500Z"));
        assert_eq!(asked("2026-03-01T11:59:53Z"), t("2026-03-01T11:59:50.500Z"));
        assert!(asked("1970-01-01T00:00:00Z") <= Timestamp::UNIX_EPOCH);
        // Another test of this process may have met a clock of its own.
        let lead = clock_lead().unwrap();
        assert!(lead.here > lead.there, "{lead:?}");
        assert!(!lead.server.contains("user"), "{lead:?}");
        assert_eq!(moment_of_asking(sent, received, None, &server), sent);
    }

    #[test]
    fn each_server_is_told_of_once() {
        let (here, there) = (t("2026-03-01T12:00:00Z"), t("2026-02-25T12:00:00Z"));
        let (ear, _guard) = crate::testing::log_capture::LogCapture::start();
        for answer in 0..2 {
            for name in ["https://one.example.com", "https://two.example.com"] {
                let server = Url::parse(&format!("{name}/v1?page={answer}")).unwrap();
                moment_of_asking(here, here, Some(there), &server);
                assert_eq!(ear.heard().matches(name).count(), 1, "{}", ear.heard());
            }
        }
        // One whose clock agrees is not told of.
        let third = Url::parse("https://three.example.com/").unwrap();
        moment_of_asking(here, here, Some(here), &third);
        assert!(!ear.heard().contains("three"), "{}", ear.heard());
    }

    #[test]
    fn a_date_that_is_none_is_left_alone() {
        let of = |text: &str| answered_at(&HeaderMap::from_iter([(DATE, text.parse().unwrap())]));
        assert_eq!(
            of("Sun, 01 Mar 2026 12:00:00 GMT"),
            Some(t("2026-03-01T12:00:00Z"))
        );
        assert_eq!(of("yesterday"), None);
        assert_eq!(answered_at(&HeaderMap::new()), None);
    }
}
