//! When a request is tried again, and how long to wait before.
//!
//! Invariant: what is retried is the whole request, body included; what cannot get better by waiting is never retried; and the
//! error after the last attempt says how many there were.

use backon::{ExponentialBuilder, Retryable};
use reqwest::StatusCode;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;
use tillhouse_model::time::readable_std;
use tillhouse_model::{Error, ErrorKind, Result};

/// Failure of one attempt, and whether another one may follow.
#[derive(Debug)]
pub(crate) struct AttemptFailure {
    /// Error to report if no attempt follows.
    pub error: Error,
    /// True if another attempt can help.
    pub is_retryable: bool,
    /// Pause that the server asked for.
    pub after: Option<Duration>,
}

impl AttemptFailure {
    /// A failure that no waiting mends.
    pub(crate) fn permanent(error: Error) -> Self {
        Self {
            error: error.retryable(false),
            is_retryable: false,
            after: None,
        }
    }

    /// A failure that may be over soon.
    pub(crate) fn transient(error: Error) -> Self {
        Self {
            error,
            is_retryable: true,
            after: None,
        }
    }
}

impl From<Error> for AttemptFailure {
    fn from(error: Error) -> Self {
        Self {
            is_retryable: error.is_retryable(),
            error,
            after: None,
        }
    }
}

/// Number of attempts, and the longest pause between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    /// Attempts in all, at least one.
    pub attempts: usize,
    /// The longest pause a server may ask for.
    pub max_retry_after: Duration,
}

/// The pause before the second attempt; each further one is [`FACTOR`] times as long, up to [`LONGEST`], and up to twice that by jitter.
const FIRST: Duration = Duration::from_millis(250);
const FACTOR: f32 = 2.5;
const LONGEST: Duration = Duration::from_secs(30);

impl RetryPolicy {
    /// Calls until it works, fails for good, or the attempts are used up. `call` gets the attempt's number, from 1; `before_retry`
    /// hears of every failure that another attempt follows, with the pause.
    pub(crate) async fn run<T, Call, Fut>(
        &self,
        mut call: Call,
        mut before_retry: impl FnMut(&AttemptFailure, Duration),
    ) -> Result<T>
    where
        Call: FnMut(usize) -> Fut,
        Fut: Future<Output = Result<T, AttemptFailure>>,
    {
        let backoff = ExponentialBuilder::new()
            .with_min_delay(FIRST)
            .with_factor(FACTOR)
            .with_max_delay(LONGEST)
            .with_max_times(self.attempts.saturating_sub(1))
            // Without a seed of its own, every process would draw the same jitter.
            .with_jitter()
            .with_jitter_seed(RandomState::new().hash_one(self.attempts));
        let mut attempt = 0;
        let outcome = (|| {
            attempt += 1;
            call(attempt)
        })
        .retry(backoff)
        .when(|failure: &AttemptFailure| failure.is_retryable)
        .adjust(|failure, planned| self.pause(failure, planned))
        .notify(|failure, pause| before_retry(failure, pause))
        .await;
        outcome.map_err(|failure| {
            let error = match failure.after {
                Some(asked) if failure.is_retryable && asked > self.max_retry_after => {
                    too_long(asked, self.max_retry_after)
                }
                _ => failure.error,
            };
            if attempt > 1 {
                error.at("attempts", attempt.to_string())
            } else {
                error
            }
        })
    }

    /// The pause before the next attempt; `None` for no further one.
    fn pause(&self, failure: &AttemptFailure, planned: Option<Duration>) -> Option<Duration> {
        let planned = planned?;
        match failure.after {
            Some(asked) if asked > self.max_retry_after => None,
            // No pause, or a date that is over: the server says that it may be asked again, not that it may be asked without end.
            None => Some(planned),
            Some(asked) if asked < FIRST => Some(planned),
            // The server's word counts; a little of the planned jitter keeps everybody from coming back at the same moment.
            Some(asked) => Some(asked + planned.min(FIRST) / 8),
        }
    }
}

fn too_long(asked: Duration, allowed: Duration) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!(
            "the server asks to wait {}, longer than the {} allowed",
            readable_std(asked),
            readable_std(allowed)
        ),
    )
    .hint("Run again later; a lower rate_limit or concurrency may avoid it.")
}

/// True if a server with this status may answer better soon: it, or a gateway before it, is
/// overloaded, out of order or slow.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502..=504 | 507 | 509 | 520..=530 | 598 | 599)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use tokio::time::Instant;

    const POLICY: RetryPolicy = RetryPolicy {
        attempts: 4,
        max_retry_after: Duration::from_secs(60),
    };

    fn busy() -> AttemptFailure {
        AttemptFailure::transient(Error::new(ErrorKind::Busy, "busy"))
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_the_last_error_counts_the_attempts() {
        let pauses = RefCell::new(Vec::new());
        let outcome: Result<()> = POLICY
            .run(
                async |_| Err(busy()),
                |_, pause| pauses.borrow_mut().push(pause),
            )
            .await;
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Busy);
        assert_eq!(error.to_string(), "busy (attempts 4)");
        let pauses = pauses.into_inner();
        assert_eq!(pauses.len(), 3);
        for (pause, planned) in pauses.iter().zip([250_u64, 625, 1562]) {
            let planned = Duration::from_millis(planned);
            assert!(
                *pause >= planned && *pause <= planned * 2 + Duration::from_millis(2),
                "{pause:?} {planned:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_servers_word_counts() {
        let start = Instant::now();
        let answer = POLICY
            .run(
                async |attempt| {
                    if attempt < 3 {
                        Err(AttemptFailure {
                            after: Some(Duration::from_secs(7)),
                            ..busy()
                        })
                    } else {
                        Ok(attempt)
                    }
                },
                |_, _| {},
            )
            .await;
        assert_eq!(answer.unwrap(), 3);
        let elapsed = start.elapsed();
        assert!(
            elapsed >= Duration::from_secs(14) && elapsed < Duration::from_secs(15),
            "{elapsed:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn no_pause_is_a_planned_pause() {
        let start = Instant::now();
        let outcome: Result<()> = POLICY
            .run(
                async |_| {
                    Err(AttemptFailure {
                        after: Some(Duration::ZERO),
                        ..busy()
                    })
                },
                |_, _| {},
            )
            .await;
        assert_eq!(outcome.unwrap_err().to_string(), "busy (attempts 4)");
        assert!(
            start.elapsed() >= Duration::from_millis(250 + 625 + 1562),
            "{:?}",
            start.elapsed()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_is_too_long_is_an_error_that_says_so() {
        let start = Instant::now();
        let outcome: Result<()> = POLICY
            .run(
                async |_| {
                    Err(AttemptFailure {
                        after: Some(Duration::from_secs(3_600)),
                        ..busy()
                    })
                },
                |_, _| {},
            )
            .await;
        let error = outcome.unwrap_err();
        assert_eq!(
            error.message(),
            "the server asks to wait 1 h, longer than the 1 min allowed"
        );
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_final_is_not_tried_again() {
        let calls = RefCell::new(0);
        let outcome: Result<()> = POLICY
            .run(
                async |attempt| {
                    *calls.borrow_mut() = attempt;
                    Err(AttemptFailure::permanent(Error::protocol("not JSON")))
                },
                |_, _| {},
            )
            .await;
        assert_eq!(outcome.unwrap_err().to_string(), "not JSON");
        assert_eq!(calls.into_inner(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn one_attempt_is_one_attempt() {
        let once = RetryPolicy {
            attempts: 1,
            ..POLICY
        };
        let outcome: Result<()> = once
            .run(async |_| Err(busy()), |_, _| panic!("no retry"))
            .await;
        assert_eq!(outcome.unwrap_err().to_string(), "busy");
    }

    #[test]
    fn only_passing_troubles_are_retried() {
        let passing: Vec<u16> = (100..600)
            .filter(|s| is_transient(StatusCode::from_u16(*s).unwrap()))
            .collect();
        let servers = [500, 502, 503, 504, 507, 509]
            .into_iter()
            .chain(520..=530)
            .chain([598, 599]);
        assert_eq!(
            passing,
            [408, 425, 429]
                .into_iter()
                .chain(servers)
                .collect::<Vec<u16>>()
        );
    }
}
