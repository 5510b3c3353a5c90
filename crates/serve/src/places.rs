//! Places at the table: how many questions are worked on at once, and how many wait.
//!
//! Invariant: no more than so many places are taken, and no more than so many questions wait; who comes after that is sent away at once. A place is free again when its
//! holder is dropped, whatever became of the question.

use crate::problem::Problem;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Seconds after which somebody who was sent away may come again.
const COME_AGAIN: u32 = 2;

/// Places, and the queue for them.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    all: usize,
    waiting: AtomicUsize,
    most_waiting: usize,
    patience: Duration,
}

/// A place that is taken, until dropped.
#[derive(Debug)]
pub(crate) struct TakenPlace {
    _permit: OwnedSemaphorePermit,
}

/// Somebody who waits, until dropped: also where the client leaves the queue.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Places {
    pub(crate) fn new(places: usize, most_waiting: usize, patience: Duration) -> Self {
        let places = places.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(places)),
            all: places,
            waiting: AtomicUsize::new(0),
            most_waiting,
            patience,
        }
    }

    /// Takes a place, at once or after waiting for one.
    ///
    /// Errors with 503 where too many wait already, or the wait was too long.
    pub(crate) async fn take(&self) -> Result<TakenPlace, Problem> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Ok(TakenPlace { _permit: permit });
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.most_waiting {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(Problem::busy(COME_AGAIN));
        }
        let _waiting = Waiting(&self.waiting);
        let permit = Arc::clone(&self.free).acquire_owned();
        match tokio::time::timeout(self.patience, permit).await {
            Ok(Ok(permit)) => Ok(TakenPlace { _permit: permit }),
            Ok(Err(_)) | Err(_) => Err(Problem::busy(COME_AGAIN)),
        }
    }

    /// Number of places that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.all.saturating_sub(self.free.available_permits())
    }

    /// Number of questions that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;

    #[tokio::test]
    async fn who_comes_when_the_queue_is_full_is_sent_away() {
        let places = Arc::new(Places::new(1, 1, Duration::from_secs(60)));
        let first = places.take().await.unwrap();
        let queued = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take().await }
        });
        while places.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        let refused = places.take().await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!((places.taken(), places.waiting()), (1, 1));
        drop(first);
        let second = queued.await.unwrap().unwrap();
        assert_eq!((places.taken(), places.waiting()), (1, 0));
        drop(second);
        assert_eq!(places.taken(), 0);
    }

    #[tokio::test]
    async fn who_leaves_the_queue_waits_no_more() {
        let places = Places::new(1, 1, Duration::from_secs(60));
        let _first = places.take().await.unwrap();
        let left = tokio::time::timeout(Duration::from_millis(5), places.take()).await;
        assert!(left.is_err());
        assert_eq!(places.waiting(), 0);
        let impatient = Places::new(1, 1, Duration::from_millis(5));
        let _taken = impatient.take().await.unwrap();
        assert!(impatient.take().await.is_err());
    }
}
