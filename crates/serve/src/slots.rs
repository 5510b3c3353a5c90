//! Slots for work: how many questions are worked on at once, how many wait, and whose turn it is.
//!
//! Invariant: no more than so many slots are taken, no reader has more than that reader may have, and no more than so many questions wait, of one reader half of them; who comes after
//! that is sent away at once, and whoever waits is when the time of the question is over. Readers who wait are served in turn, one question each, however many one of them asks. A slot is free again when its holder is dropped, whatever became of the question.

use crate::problem::Problem;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Seconds after which somebody who was sent away may ask again.
pub(crate) const RETRY_AFTER: u32 = 2;

/// Reader whose question it is, and the most slots that this reader may have at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) who: &'a str,
    pub(crate) most: usize,
}

impl Claim<'static> {
    /// Anybody, where there are no users.
    pub(crate) const GUEST: Self = Self {
        who: "",
        most: usize::MAX,
    };
}

/// Room for the questions of a reader that wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WaitingRoom<'a> {
    pub(crate) who: &'a str,
    /// Questions of this reader, at most.
    pub(crate) own: usize,
    /// Questions of all readers, at most.
    pub(crate) all: usize,
}

/// Slots, and the queue for them.
#[derive(Debug)]
pub(crate) struct Slots {
    pool: Arc<SlotPool>,
    most_waiting: usize,
}

/// State that all holders of slots share.
#[derive(Debug)]
struct SlotPool {
    all: usize,
    state: Mutex<SlotState>,
}

#[derive(Debug, Default)]
struct SlotState {
    taken: usize,
    /// Slots by reader, of those who have some.
    by_reader: HashMap<String, usize>,
    /// Readers who wait, the next first.
    queue: VecDeque<WaitingReader>,
}

/// A reader with questions that wait.
#[derive(Debug)]
struct WaitingReader {
    who: String,
    most: usize,
    questions: VecDeque<oneshot::Sender<TakenSlot>>,
}

/// A slot that is taken, until dropped.
#[derive(Debug)]
pub(crate) struct TakenSlot {
    pool: Arc<SlotPool>,
    who: String,
}

impl Drop for TakenSlot {
    fn drop(&mut self) {
        {
            let mut state = self.pool.state();
            state.taken = state.taken.saturating_sub(1);
            if let Some(own) = state.by_reader.get_mut(&self.who) {
                *own -= 1;
                if *own == 0 {
                    state.by_reader.remove(&self.who);
                }
            }
        }
        self.pool.serve();
    }
}

impl SlotPool {
    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the slots that are free to those who wait.
    fn serve(self: &Arc<Self>) {
        loop {
            // A slot is handed over when nobody holds the lock: one that nobody takes any more comes back here.
            let Some((question, who)) = self.state().assign_next(self.all) else {
                return;
            };
            let pool = Arc::clone(self);
            drop(question.send(TakenSlot { pool, who }));
        }
    }
}

impl SlotState {
    fn take(&mut self, who: &str) {
        self.taken += 1;
        *self.by_reader.entry(who.to_owned()).or_default() += 1;
    }

    fn has_room(&self, who: &str, most: usize, all: usize) -> bool {
        self.taken < all && self.by_reader.get(who).copied().unwrap_or(0) < most
    }

    /// Takes a slot for the question whose turn it is.
    fn assign_next(&mut self, all: usize) -> Option<(oneshot::Sender<TakenSlot>, String)> {
        for _ in 0..self.queue.len() {
            let mut reader = self.queue.pop_front()?;
            reader.questions.retain(|question| !question.is_closed());
            let may_take = self.has_room(&reader.who, reader.most, all);
            let question = match may_take {
                true => reader.questions.pop_front(),
                false => None,
            };
            let who = reader.who.clone();
            if !reader.questions.is_empty() {
                // Whoever was served goes to the end; who may not have more keeps nobody waiting.
                self.queue.push_back(reader);
            }
            if let Some(question) = question {
                self.take(&who);
                return Some((question, who));
            }
        }
        None
    }

    /// Questions that wait.
    fn waiting(&self) -> usize {
        self.queue.iter().map(WaitingReader::waiting).sum()
    }
}

impl WaitingReader {
    /// Questions of this reader that wait.
    fn waiting(&self) -> usize {
        let questions = self.questions.iter();
        questions.filter(|question| !question.is_closed()).count()
    }
}

impl Slots {
    pub(crate) fn new(slots: usize, most_waiting: usize) -> Self {
        Self {
            pool: Arc::new(SlotPool {
                all: slots.max(1),
                state: Mutex::default(),
            }),
            most_waiting,
        }
    }

    /// Questions of one reader that wait, at most: half of them where readers are told apart, so that nobody fills the queue alone.
    fn share(&self, claim: Claim<'_>) -> usize {
        match claim.who == Claim::GUEST.who {
            true => self.most_waiting,
            false => self.most_waiting.div_ceil(2),
        }
    }

    /// Room for the questions of a reader that wait.
    pub(crate) fn waiting_room<'a>(&self, claim: Claim<'a>) -> WaitingRoom<'a> {
        WaitingRoom {
            who: claim.who,
            own: self.share(claim),
            all: self.most_waiting,
        }
    }

    /// Takes a slot, at once or after waiting for one, until then.
    ///
    /// Errors with 503 where too many wait already, or the wait was too long.
    pub(crate) async fn take(
        &self,
        claim: Claim<'_>,
        until: Instant,
    ) -> Result<TakenSlot, Problem> {
        let slot = {
            let mut state = self.pool.state();
            let waits = state.queue.iter().position(|reader| {
                reader.who == claim.who && reader.questions.iter().any(|open| !open.is_closed())
            });
            if waits.is_none() && state.has_room(claim.who, claim.most, self.pool.all) {
                state.take(claim.who);
                return Ok(TakenSlot {
                    pool: Arc::clone(&self.pool),
                    who: claim.who.to_owned(),
                });
            }
            let own = waits.and_then(|at| state.queue.get(at));
            let is_own_full = own.is_some_and(|own| own.waiting() >= self.share(claim));
            if is_own_full || state.waiting() >= self.most_waiting {
                return Err(Problem::busy(RETRY_AFTER));
            }
            let (question, slot) = oneshot::channel();
            match waits.and_then(|at| state.queue.get_mut(at)) {
                Some(reader) => reader.questions.push_back(question),
                None => state.queue.push_back(WaitingReader {
                    who: claim.who.to_owned(),
                    most: claim.most,
                    questions: VecDeque::from([question]),
                }),
            }
            slot
        };
        match tokio::time::timeout_at(until, slot).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => Err(Problem::busy(RETRY_AFTER)),
        }
    }

    /// Number of slots that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.pool.state().taken
    }

    /// Number of questions that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.pool.state().waiting()
    }
}

/// A moment that no test waits for.
#[cfg(test)]
pub(crate) fn later() -> Instant {
    Instant::now() + std::time::Duration::from_secs(60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use std::time::Duration;
    use tokio::task::JoinHandle;

    /// Asks for a slot and waits until the question is in the queue.
    async fn queued(slots: &Arc<Slots>, who: &'static str, most: usize) -> JoinHandle<TakenSlot> {
        let before = slots.waiting();
        let asked = Arc::clone(slots);
        let task =
            tokio::spawn(async move { asked.take(Claim { who, most }, later()).await.unwrap() });
        while slots.waiting() == before {
            tokio::task::yield_now().await;
        }
        task
    }

    #[tokio::test]
    async fn who_comes_when_the_queue_is_full_is_sent_away() {
        let slots = Arc::new(Slots::new(1, 1));
        let first = slots.take(Claim::GUEST, later()).await.unwrap();
        let waiting = queued(&slots, "", usize::MAX).await;
        let refused = slots.take(Claim::GUEST, later()).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!((slots.taken(), slots.waiting()), (1, 1));
        drop(first);
        let second = waiting.await.unwrap();
        assert_eq!((slots.taken(), slots.waiting()), (1, 0));
        drop(second);
        assert_eq!(slots.taken(), 0);
    }

    #[tokio::test]
    async fn who_leaves_the_queue_waits_no_more() {
        let slots = Slots::new(1, 1);
        let first = slots.take(Claim::GUEST, later()).await.unwrap();
        let left =
            tokio::time::timeout(Duration::from_millis(5), slots.take(Claim::GUEST, later())).await;
        assert!(left.is_err());
        assert_eq!(slots.waiting(), 0);
        drop(first);
        assert_eq!(slots.taken(), 0, "nobody is served who has left");
        drop(slots.take(Claim::GUEST, later()).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_is_sent_away_when_the_time_of_the_question_is_over() {
        let slots = Slots::new(1, 1);
        let began = Instant::now();
        let until = began + Duration::from_secs(60);
        let _taken = slots.take(Claim::GUEST, until).await.unwrap();
        // Time that went before it came into the queue is its own too.
        tokio::time::sleep(Duration::from_secs(50)).await;
        let refused = slots.take(Claim::GUEST, until).await.unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(began.elapsed().as_secs(), 60);
        assert_eq!((slots.taken(), slots.waiting()), (1, 0));
    }

    #[tokio::test]
    async fn readers_are_served_in_turn_however_many_questions_one_asks() {
        let slots = Arc::new(Slots::new(1, 64));
        let first = slots
            .take(Claim { who: "a", most: 9 }, later())
            .await
            .unwrap();
        let mut of_a = Vec::new();
        for _ in 0..3 {
            of_a.push(queued(&slots, "a", 9).await);
        }
        let of_b = queued(&slots, "b", 9).await;
        drop(first);
        let second = of_a.remove(0).await.unwrap();
        assert!(!of_b.is_finished());
        drop(second);
        // The others of `a` came before, and wait.
        let third = of_b.await.unwrap();
        assert_eq!(third.who, "b");
        assert_eq!(slots.waiting(), 2);
        drop(third);
        for task in of_a {
            drop(task.await.unwrap());
        }
        assert_eq!((slots.taken(), slots.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn one_reader_leaves_room_in_the_queue_for_others() {
        let slots = Arc::new(Slots::new(1, 4));
        let first = slots
            .take(Claim { who: "a", most: 9 }, later())
            .await
            .unwrap();
        let second = queued(&slots, "a", 9).await;
        let third = queued(&slots, "a", 9).await;
        let refused = slots
            .take(Claim { who: "a", most: 9 }, later())
            .await
            .unwrap_err();
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        let of_b = queued(&slots, "b", 9).await;
        assert_eq!((slots.taken(), slots.waiting()), (1, 3));
        drop(first);
        // In the order in which they are served.
        for task in [second, of_b, third] {
            drop(task.await.unwrap());
        }
        assert_eq!((slots.taken(), slots.waiting()), (0, 0));
    }

    #[tokio::test]
    async fn a_reader_has_no_more_slots_than_it_may_and_keeps_nobody_waiting() {
        let slots = Arc::new(Slots::new(3, 64));
        let one = slots
            .take(Claim { who: "a", most: 1 }, later())
            .await
            .unwrap();
        let of_a = queued(&slots, "a", 1).await;
        let other = slots
            .take(Claim { who: "b", most: 1 }, later())
            .await
            .unwrap();
        assert_eq!((slots.taken(), slots.waiting()), (2, 1));
        drop(one);
        assert_eq!(of_a.await.unwrap().who, "a");
        drop(other);
    }
}
