//! Throttle of a provider: requests under way at once, requests a second, and pauses it asked for.
//!
//! Invariant: a request is sent only while it holds a permit, after its place in the rate, and not before a pause that the
//! provider asked for is over. Requests are spaced evenly, so no second sees more than the rate and one.
//!
//! Rejected: a burst of a whole second's requests at the start, which is governor's default; a provider that counts strictly
//! would see twice the rate in the first second.

use crate::source::SourceLimits;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tillhouse_model::{Error, Result};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// tokio's clock for governor, so that a paused clock pauses the rate too.
#[derive(Debug, Clone)]
struct TokioClock(Instant);

impl Clock for TokioClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Limits of requests in flight and of requests a second.
#[derive(Debug)]
struct RequestGate {
    permits: Semaphore,
    rate: Option<RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Duration>>>,
}

/// Width of a gate.
#[derive(Debug, Clone, Copy)]
struct GateWidth {
    concurrency: usize,
    rate_per_second: Option<NonZeroU32>,
}

impl GateWidth {
    fn new(concurrency: usize, rate_per_second: Option<u32>) -> Result<Self> {
        if concurrency == 0 || concurrency > Semaphore::MAX_PERMITS {
            return Err(
                Error::config("concurrency is zero").hint("Allow at least one request at a time.")
            );
        }
        let rate = |rate| {
            NonZeroU32::new(rate).ok_or_else(|| {
                Error::config("rate_limit is zero")
                    .hint("Allow at least one request a second, or leave it out.")
            })
        };
        Ok(Self {
            concurrency,
            rate_per_second: rate_per_second.map(rate).transpose()?,
        })
    }

    /// As narrow as both are.
    fn narrowed(self, other: Self) -> Self {
        let rates = self
            .rate_per_second
            .into_iter()
            .chain(other.rate_per_second);
        Self {
            concurrency: self.concurrency.min(other.concurrency),
            rate_per_second: rates.min(),
        }
    }
}

impl RequestGate {
    fn new(width: GateWidth) -> Self {
        let rate = width.rate_per_second.map(|rate| {
            let quota = Quota::per_second(rate).allow_burst(NonZeroU32::MIN);
            RateLimiter::direct_with_clock(quota, TokioClock(Instant::now()))
        });
        Self {
            permits: Semaphore::new(width.concurrency),
            rate,
        }
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>> {
        self.permits
            .acquire()
            .await
            .map_err(|_| Error::internal("the throttle was closed"))
    }

    async fn turn(&self) {
        if let Some(rate) = &self.rate {
            while let Err(denied) = rate.check() {
                tokio::time::sleep(denied.wait_time_from(rate.clock().now())).await;
            }
        }
    }
}

/// Permit of one request in flight: its resource's own, where that has a limit, and that of all.
#[derive(Debug)]
pub(crate) struct RequestPermit<'t> {
    _of_resource: Option<SemaphorePermit<'t>>,
    _of_all: SemaphorePermit<'t>,
}

/// Limits that a provider sets for one connection, shared by all sources that ask over it. Clones are the same limits.
///
/// The narrowest of what these sources allow holds, as it is when the first request is sent.
///
/// ```
/// use tillhouse_extract::{SharedLimits, SourceLimits};
///
/// let connection = SharedLimits::default();
/// let limits = SourceLimits {
///     shared: Some(connection.clone()),
///     ..SourceLimits::default()
/// };
/// ```
#[derive(Debug, Clone, Default)]
pub struct SharedLimits(Arc<SharedGate>);

/// Gate of a connection, which opens with the first request.
#[derive(Debug, Default)]
struct SharedGate {
    width: Mutex<Option<GateWidth>>,
    gate: OnceLock<RequestGate>,
    resume_at: Mutex<Option<Instant>>,
}

impl SharedLimits {
    fn narrow(&self, width: GateWidth) {
        let mut narrowest = held(&self.0.width);
        *narrowest = Some(narrowest.map_or(width, |known| known.narrowed(width)));
    }

    fn gate(&self) -> Result<&RequestGate> {
        if let Some(gate) = self.0.gate.get() {
            return Ok(gate);
        }
        let width = *held(&self.0.width);
        let width = width.ok_or_else(|| Error::internal("limits that nobody has set"))?;
        Ok(self.0.gate.get_or_init(|| RequestGate::new(width)))
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
pub(crate) struct Throttle {
    all: SharedLimits,
    by_resource: HashMap<String, RequestGate>,
}

impl Throttle {
    pub(crate) fn new(limits: &SourceLimits) -> Result<Self> {
        let narrower = limits.by_resource.iter();
        let narrower =
            narrower.filter(|(_, own)| own.concurrency.is_some() || own.rate_per_second.is_some());
        let by_resource = narrower.map(|(name, own)| {
            let concurrency = own.concurrency.unwrap_or(limits.concurrency);
            let width = GateWidth::new(concurrency, own.rate_per_second)?;
            Ok((name.clone(), RequestGate::new(width)))
        });
        let by_resource = by_resource.collect::<Result<_>>()?;
        let all = limits.shared.clone().unwrap_or_default();
        all.narrow(GateWidth::new(limits.concurrency, limits.rate_per_second)?);
        Ok(Self { all, by_resource })
    }

    /// Waits until a request for a resource may be sent. The permit is held until its body is read.
    pub(crate) async fn enter(&self, resource: &str) -> Result<RequestPermit<'_>> {
        // Its own place first: whoever waits for that keeps no place from the others.
        let own = self.by_resource.get(resource);
        let of_resource = match own {
            Some(gate) => Some(gate.permit().await?),
            None => None,
        };
        if let Some(gate) = own {
            gate.turn().await;
        }
        let all = self.all.gate()?;
        let permit = all.permit().await?;
        loop {
            let resume_at = *held(&self.all.0.resume_at);
            match resume_at {
                Some(instant) if instant > Instant::now() => {
                    tokio::time::sleep_until(instant).await
                }
                _ => break,
            }
        }
        all.turn().await;
        Ok(RequestPermit {
            _of_resource: of_resource,
            _of_all: permit,
        })
    }

    /// The provider asked everybody to wait: no request is sent before that time is over.
    pub(crate) fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut resume_at = held(&self.all.0.resume_at);
        *resume_at = Some(resume_at.map_or(until, |old| old.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(concurrency: usize, rate_per_second: Option<u32>) -> Throttle {
        Throttle::new(&SourceLimits {
            concurrency,
            rate_per_second,
            ..SourceLimits::default()
        })
        .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_spaced_by_the_rate() {
        let throttle = throttle(8, Some(10));
        let start = Instant::now();
        for _ in 0..11 {
            drop(throttle.enter("x").await.unwrap());
        }
        let elapsed = start.elapsed();
        assert!(
            elapsed >= Duration::from_millis(1_000) && elapsed < Duration::from_millis(1_100),
            "{elapsed:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everybody_and_the_longest_counts() {
        let throttle = throttle(2, None);
        throttle.pause(Duration::from_secs(5));
        throttle.pause(Duration::from_secs(1));
        let start = Instant::now();
        let (a, b) = tokio::join!(throttle.enter("x"), throttle.enter("x"));
        drop((a.unwrap(), b.unwrap()));
        assert_eq!(start.elapsed().as_secs(), 5);
    }

    #[tokio::test]
    async fn permits_are_bounded_and_come_back() {
        let throttle = throttle(1, None);
        let permit = throttle.enter("x").await.unwrap();
        assert!(futures::FutureExt::now_or_never(throttle.enter("x")).is_none());
        drop(permit);
        drop(throttle.enter("x").await.unwrap());
    }

    #[test]
    fn nothing_at_all_is_no_limit_but_a_mistake() {
        assert!(
            Throttle::new(&SourceLimits {
                concurrency: 0,
                ..SourceLimits::default()
            })
            .is_err()
        );
        assert!(
            Throttle::new(&SourceLimits {
                rate_per_second: Some(0),
                ..SourceLimits::default()
            })
            .is_err()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn sources_of_one_connection_share_its_limits_and_the_narrowest_holds() {
        let shared = SharedLimits::default();
        let of = |concurrency, rate_per_second| {
            Throttle::new(&SourceLimits {
                concurrency,
                rate_per_second,
                shared: Some(shared.clone()),
                ..SourceLimits::default()
            })
            .unwrap()
        };
        let (first, second, third) = (of(8, Some(10)), of(2, None), of(4, Some(5)));
        let start = Instant::now();
        for _ in 0..3 {
            drop(first.enter("x").await.unwrap());
            drop(third.enter("x").await.unwrap());
        }
        let elapsed = start.elapsed();
        assert!(
            (Duration::from_millis(1_000)..Duration::from_millis(1_100)).contains(&elapsed),
            "six at five a second: {elapsed:?}"
        );
        let (a, b) = (
            first.enter("x").await.unwrap(),
            second.enter("x").await.unwrap(),
        );
        let waits = tokio::time::timeout(Duration::from_secs(9), third.enter("x")).await;
        assert!(waits.is_err(), "two at once, over all of them");
        drop((a, b));
        // One that is asked to wait lets all of them wait.
        second.pause(Duration::from_secs(5));
        let start = Instant::now();
        drop(first.enter("x").await.unwrap());
        assert_eq!(start.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_resource_may_have_narrower_limits() {
        let slow = crate::source::ResourceLimits {
            rate_per_second: Some(1),
            ..Default::default()
        };
        let one = crate::source::ResourceLimits {
            concurrency: Some(1),
            ..Default::default()
        };
        let by_resource = [("slow".to_owned(), slow), ("one".to_owned(), one)].into();
        let limits = SourceLimits {
            concurrency: 2,
            rate_per_second: None,
            by_resource,
            ..SourceLimits::default()
        };
        let throttle = Throttle::new(&limits).unwrap();
        let start = Instant::now();
        for resource in ["slow", "other", "other", "slow"] {
            drop(throttle.enter(resource).await.unwrap());
        }
        assert!((Duration::from_secs(1)..Duration::from_secs(2)).contains(&start.elapsed()));
        let held = throttle.enter("one").await.unwrap();
        let second = throttle.enter("one");
        assert!(
            tokio::time::timeout(Duration::from_secs(9), second)
                .await
                .is_err()
        );
        let other = throttle.enter("other").await.unwrap();
        drop((held, other));
        drop(throttle.enter("one").await.unwrap());
    }
}
