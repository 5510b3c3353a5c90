//! Pause that a server asks for, in whichever header it says so.
//!
//! Invariant: a header that cannot be read asks for nothing; a time in the past is no pause.
//!
//! | header | read as |
//! |---|---|
//! | `Retry-After` | seconds, with a fraction or without; a date of HTTP in any of its three forms, of RFC 2822 or RFC 3339; seconds since 1970 |
//! | `RateLimit-Reset`, `X-RateLimit-Reset`, `X-Rate-Limit-Reset`, `X-RateLimit-Reset-After` | the same, or milliseconds since 1970 |
//! | `RateLimit` | its `reset` or `t`, in seconds |
//!
//! The others count only where `Retry-After` is missing, and where the limit is what the answer is about: many servers tell with every answer when
//! their counters start again. A status alone does not say so for a 403: there the headers have to say that no request is left, or the words of the body
//! that a quota is used up, see [`reset_after`].
//!
//! Dates count from the server's own `Date` header where it sends one, so that wrong clocks do not matter.

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The names under which servers tell when a limit starts again.
const RESETS: [&str; 4] = [
    "ratelimit-reset",
    "x-ratelimit-reset",
    "x-rate-limit-reset",
    "x-ratelimit-reset-after",
];
/// The names under which servers tell how many requests are left.
const REMAINING: [&str; 3] = [
    "ratelimit-remaining",
    "x-ratelimit-remaining",
    "x-rate-limit-remaining",
];
const RATE_LIMIT: &str = "ratelimit";
/// A number from here on is no pause but seconds since 1970 (September 2001), and from a thousand times that on milliseconds.
const SINCE_1970: f64 = 1e9;
/// A number from here on is none of a time either (the year 5138 in milliseconds); it is taken for a pause without end.
const FAR_AWAY: f64 = 1e14;

/// Pause that an answer with this status asks for; `None` where it asks for none.
pub(crate) fn retry_after(
    status: StatusCode,
    headers: &HeaderMap,
    now: SystemTime,
) -> Option<Duration> {
    let server_now = server_time(headers, now);
    let said = headers
        .get_all(RETRY_AFTER)
        .iter()
        .filter_map(|value| value.to_str().ok());
    if let Some(pause) = said.filter_map(|said| pause(said, server_now)).next() {
        return Some(pause);
    }
    let counts = match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::SERVICE_UNAVAILABLE => remaining(headers).is_none_or(|left| left <= 0.0),
        _ => is_used_up(headers),
    };
    if counts {
        reset_after(headers, now)
    } else {
        None
    }
}

/// Time until the limit starts again, as the headers tell it, for an answer that is known to be about the limit.
pub(crate) fn reset_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let now = server_time(headers, now);
    let resets = RESETS
        .iter()
        .filter_map(|name| text(headers, name))
        .chain(reset_of_rate_limit(headers));
    resets.filter_map(|reset| pause(reset, now)).next()
}

/// The server's own time where it tells it, so that wrong clocks do not matter.
fn server_time(headers: &HeaderMap, now: SystemTime) -> SystemTime {
    text(headers, DATE.as_str())
        .and_then(|date| httpdate::parse_http_date(date).ok())
        .unwrap_or(now)
}

/// True if the headers say that no request is left.
pub(crate) fn is_used_up(headers: &HeaderMap) -> bool {
    remaining(headers).is_some_and(|left| left <= 0.0)
}

fn remaining(headers: &HeaderMap) -> Option<f64> {
    REMAINING
        .iter()
        .filter_map(|name| text(headers, name))
        .find_map(|left| left.parse().ok())
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// `limit=100, remaining=0, reset=30`, or its successor's `"default";r=0;t=30`.
fn reset_of_rate_limit(headers: &HeaderMap) -> Option<&str> {
    let mut parts = text(headers, RATE_LIMIT)?
        .split([',', ';'])
        .filter_map(|part| part.trim().split_once('='));
    parts
        .find(|(key, _)| matches!(*key, "reset" | "t"))
        .map(|(_, value)| value)
}

/// Pause in one header's value.
fn pause(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let is_number = text.bytes().any(|b| b.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if is_number {
        let number = text.parse::<f64>().ok()?;
        return Some(match number {
            FAR_AWAY.. => Duration::MAX,
            SINCE_1970.. => {
                let seconds = if number >= SINCE_1970 * 1e3 {
                    number / 1e3
                } else {
                    number
                };
                let then = UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
                then.duration_since(now).unwrap_or(Duration::ZERO)
            }
            _ => Duration::try_from_secs_f64(number).ok()?,
        });
    }
    let then = httpdate::parse_http_date(text)
        .or_else(|_| jiff::fmt::rfc2822::parse(text).map(|time| time.timestamp().into()))
        .or_else(|_| text.parse::<jiff::Timestamp>().map(Into::into))
        .ok()?;
    Some(then.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn now() -> SystemTime {
        httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap()
    }

    fn asked(status: u16, pairs: &[(&str, &str)]) -> Option<Duration> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()));
        retry_after(
            StatusCode::from_u16(status).unwrap(),
            &headers.collect(),
            now(),
        )
    }

    #[test]
    fn a_pause_comes_in_seconds_and_as_a_date() {
        let of = |value| asked(503, &[("retry-after", value)]);
        for (value, seconds) in [
            ("120", 120.0),
            ("0", 0.0),
            (" 7 ", 7.0),
            ("45.0", 45.0),
            ("0.25", 0.25),
            ("1.", 1.0),
            ("Sun, 06 Nov 1994 08:50:07 GMT", 30.0),
            ("Sunday, 06-Nov-94 08:50:07 GMT", 30.0),
            ("Sun Nov  6 08:50:07 1994", 30.0),
            ("Sun, 06 Nov 1994 09:50:07 +0100", 30.0),
            ("1994-11-06T08:50:07Z", 30.0),
            ("1994-11-06T09:50:07.5+01:00", 30.5),
            ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ] {
            assert_eq!(of(value), Some(Duration::from_secs_f64(seconds)), "{value}");
        }
        for value in [
            "99999999999999999999999",
            "1e",
            "-1",
            "-0.5",
            "soon",
            "",
            ".",
            "1.2.3",
            "NaN",
            "inf",
            "120 s",
        ] {
            let wanted = value.starts_with('9').then_some(Duration::MAX);
            assert_eq!(of(value), wanted, "{value}");
        }
        let skewed = [
            ("retry-after", "Mon, 07 Nov 1994 00:00:10 GMT"),
            ("date", "Mon, 07 Nov 1994 00:00:00 GMT"),
        ];
        assert_eq!(asked(503, &skewed), Some(Duration::from_secs(10)));
        assert_eq!(asked(503, &[]), None);
    }

    #[test]
    fn where_it_is_missing_the_limits_reset_counts() {
        let at = |offset: u64| now().duration_since(UNIX_EPOCH).unwrap().as_secs() + offset;
        // In November 1994 there were too few seconds since 1970 to be told from a pause.
        let late = "Tue, 01 Jan 2030 00:00:00 GMT";
        let since = httpdate::parse_http_date(late)
            .unwrap()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs()
            + 30;
        assert!(at(0) < 1_000_000_000);
        for (name, value) in [
            ("x-ratelimit-reset", since.to_string()),
            ("x-ratelimit-reset", format!("{since}000")),
            ("x-ratelimit-reset", format!("{since}.0")),
            ("x-rate-limit-reset", since.to_string()),
            ("ratelimit-reset", "30".to_owned()),
            ("x-ratelimit-reset-after", "30.0".to_owned()),
            ("x-ratelimit-reset", "2030-01-01T00:00:30Z".to_owned()),
            ("ratelimit", "limit=100, remaining=0, reset=30".to_owned()),
            ("ratelimit", "\"default\";r=0;t=30".to_owned()),
            ("retry-after", since.to_string()),
        ] {
            let pairs = [("date", late), (name, value.as_str())];
            assert_eq!(
                asked(429, &pairs),
                Some(Duration::from_secs(30)),
                "{name}: {value}"
            );
        }
        assert_eq!(
            asked(429, &[("retry-after", "7"), ("x-ratelimit-reset", "30")]),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            asked(429, &[("retry-after", "soon"), ("x-ratelimit-reset", "30")]),
            Some(Duration::from_secs(30))
        );
        assert_eq!(
            asked(429, &[("date", late), ("x-ratelimit-reset", "1000000000")]),
            Some(Duration::ZERO),
            "long ago"
        );
    }

    #[test]
    fn a_counter_that_is_told_with_every_answer_is_no_pause() {
        assert_eq!(
            asked(
                503,
                &[("x-ratelimit-reset", "30"), ("x-ratelimit-remaining", "7")]
            ),
            None
        );
        assert_eq!(asked(500, &[("ratelimit-reset", "30")]), None);
        assert_eq!(
            asked(503, &[("ratelimit-reset", "30")]),
            Some(Duration::from_secs(30))
        );
        let used_up = [("x-ratelimit-reset", "30"), ("x-ratelimit-remaining", "0")];
        assert_eq!(asked(403, &used_up), Some(Duration::from_secs(30)));
        assert_eq!(asked(403, &used_up[..1]), None, "it may be a refusal");
    }
}
