//! Answers that are kept to be given again, by run and question.
//!
//! Invariant: no more bytes are kept than were allowed; what was asked for least recently goes first. An answer of a run that is no longer the newest goes with the others,
//! by its turn. What several ask for at once, of one run and of what they all see, one of them makes, and the others are given; whoever made none keeps nobody waiting, and
//! no reader has more questions that wait so than there is room for.

use crate::problem::Problem;
use crate::slots::{RETRY_AFTER, WaitingRoom};
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Bytes that an entry takes beside its answer and its key.
const BESIDE: usize = 256;
/// An answer may take this part of the room.
const PART: usize = 4;

/// A question about a run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AskedOfRun {
    pub(crate) run: String,
    /// Endpoint, parameters and format in one form.
    pub(crate) question: String,
}

/// An answer that can be given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptAnswer {
    /// Media type.
    pub(crate) media: &'static str,
    pub(crate) bytes: Bytes,
    pub(crate) rows: u64,
    /// Cursor of the next page, where there is one.
    pub(crate) next: Option<String>,
}

/// The answers.
#[derive(Debug)]
pub(crate) struct KeptAnswers {
    room: usize,
    kept: Mutex<Kept>,
    making: Mutex<Making>,
}

/// Answers that are being made, which others wait for.
#[derive(Debug, Default)]
struct Making {
    answers: HashMap<AskedOfRun, AnswerInMaking>,
    /// Questions that wait, by reader.
    waiting: HashMap<String, usize>,
}

#[derive(Debug, Clone, Default)]
struct AnswerInMaking {
    /// Cancelled when nobody makes it any more.
    over: CancellationToken,
    /// Set where it was made, and cannot be kept.
    is_unkept: Arc<AtomicBool>,
}

/// Outcome of the wait for an answer.
#[derive(Debug)]
pub(crate) enum Made {
    Kept(KeptAnswer),
    /// Nobody makes it.
    Not,
    /// It cannot be kept: whoever asks makes it without others.
    Alone,
    /// It is still being made when the time of the question is over.
    Late,
}

/// Part of whoever makes an answer, which others wait for until it is dropped.
#[derive(Debug)]
pub(crate) struct MakingPermit<'a> {
    answers: &'a KeptAnswers,
    asked: AskedOfRun,
    of: AnswerInMaking,
}

impl MakingPermit<'_> {
    /// Says that the answer was made and cannot be kept: others need not make it one after the other.
    pub(crate) fn note_unkept(&self) {
        self.of.is_unkept.store(true, Ordering::Release);
    }
}

impl Drop for MakingPermit<'_> {
    fn drop(&mut self) {
        self.answers.making().answers.remove(&self.asked);
        self.of.over.cancel();
    }
}

/// A question that waits, until dropped.
struct WaitingQuestion<'a> {
    answers: &'a KeptAnswers,
    who: &'a str,
}

impl Drop for WaitingQuestion<'_> {
    fn drop(&mut self) {
        let mut making = self.answers.making();
        if let Some(own) = making.waiting.get_mut(self.who) {
            *own -= 1;
            if *own == 0 {
                making.waiting.remove(self.who);
            }
        }
    }
}

#[derive(Debug, Default)]
struct Kept {
    answers: HashMap<AskedOfRun, (u64, KeptAnswer)>,
    /// By the time that they were last asked for.
    order: BTreeMap<u64, AskedOfRun>,
    clock: u64,
    bytes: usize,
}

impl KeptAnswers {
    pub(crate) fn new(room: usize) -> Self {
        Self {
            room,
            kept: Mutex::default(),
            making: Mutex::default(),
        }
    }

    fn making(&self) -> MutexGuard<'_, Making> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Permit of who is about to make an answer, and has a slot for that; none where somebody else makes it.
    pub(crate) fn begin(&self, asked: &AskedOfRun) -> Option<MakingPermit<'_>> {
        let mut making = self.making();
        if making.answers.contains_key(asked) {
            return None;
        }
        let of = AnswerInMaking::default();
        making.answers.insert(asked.clone(), of.clone());
        Some(MakingPermit {
            answers: self,
            asked: asked.clone(),
            of,
        })
    }

    /// The answer to a question, where it is kept, or where somebody makes it until then and it is kept.
    ///
    /// Errors with 503 where as many wait already as there is room for.
    pub(crate) async fn made(
        &self,
        asked: &AskedOfRun,
        until: Instant,
        room: WaitingRoom<'_>,
    ) -> Result<Made, Problem> {
        if let Some(answer) = self.get(asked) {
            return Ok(Made::Kept(answer));
        }
        let Some((of, _waiting)) = self.wait(asked, room)? else {
            return Ok(Made::Not);
        };
        let in_time = tokio::time::timeout_at(until, of.over.cancelled()).await;
        if let Some(answer) = self.get(asked) {
            return Ok(Made::Kept(answer));
        }
        Ok(match in_time {
            Err(_) => Made::Late,
            Ok(()) if of.is_unkept.load(Ordering::Acquire) => Made::Alone,
            // Where its maker has left, another one makes it.
            Ok(()) => Made::Not,
        })
    }

    /// The answer that is being made, and a place among those who wait; none where nobody makes it.
    fn wait<'a>(
        &'a self,
        asked: &AskedOfRun,
        room: WaitingRoom<'a>,
    ) -> Result<Option<(AnswerInMaking, WaitingQuestion<'a>)>, Problem> {
        let mut making = self.making();
        let Some(of) = making.answers.get(asked).cloned() else {
            return Ok(None);
        };
        let all: usize = making.waiting.values().sum();
        let own = making.waiting.get(room.who).copied().unwrap_or(0);
        if own >= room.own || all >= room.all {
            return Err(Problem::busy(RETRY_AFTER));
        }
        making.waiting.insert(room.who.to_owned(), own + 1);
        let waiting = WaitingQuestion {
            answers: self,
            who: room.who,
        };
        Ok(Some((of, waiting)))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a question, where it is kept.
    pub(crate) fn get(&self, asked: &AskedOfRun) -> Option<KeptAnswer> {
        let mut kept = self.lock();
        kept.clock += 1;
        let now = kept.clock;
        let (since, answer) = kept.answers.get_mut(asked)?;
        let before = std::mem::replace(since, now);
        let answer = answer.clone();
        if let Some(asked) = kept.order.remove(&before) {
            kept.order.insert(now, asked);
        }
        Some(answer)
    }

    /// Keeps an answer; false where it would take too much of the room.
    pub(crate) fn keep(&self, asked: AskedOfRun, answer: KeptAnswer) -> bool {
        let bytes = weight(&asked, &answer);
        if bytes > self.room / PART {
            return false;
        }
        let mut kept = self.lock();
        kept.remove(&asked);
        kept.clock += 1;
        let now = kept.clock;
        kept.bytes += bytes;
        kept.order.insert(now, asked.clone());
        kept.answers.insert(asked, (now, answer));
        while kept.bytes > self.room {
            let Some(oldest) = kept.order.values().next().cloned() else {
                break;
            };
            kept.remove(&oldest);
        }
        true
    }

    /// Number of answers, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let kept = self.lock();
        (kept.answers.len(), kept.bytes)
    }
}

impl Kept {
    fn remove(&mut self, asked: &AskedOfRun) {
        if let Some((since, answer)) = self.answers.remove(asked) {
            self.order.remove(&since);
            self.bytes = self.bytes.saturating_sub(weight(asked, &answer));
        }
    }
}

/// Bytes of an entry; its key stands twice.
fn weight(asked: &AskedOfRun, answer: &KeptAnswer) -> usize {
    let next = answer.next.as_ref().map_or(0, String::len);
    BESIDE + 2 * (asked.run.len() + asked.question.len()) + answer.bytes.len() + next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::later;

    fn asked(question: &str) -> AskedOfRun {
        AskedOfRun {
            run: "r".to_owned(),
            question: question.to_owned(),
        }
    }

    fn answer(bytes: usize) -> KeptAnswer {
        KeptAnswer {
            media: "application/json",
            bytes: vec![0; bytes].into(),
            rows: 1,
            next: None,
        }
    }

    #[test]
    fn what_was_asked_least_recently_goes_first_and_the_room_is_kept() {
        let answers = KeptAnswers::new(8_000);
        for question in ["a", "b", "c", "d"] {
            answers.keep(asked(question), answer(1_600));
        }
        assert_eq!(answers.size().0, 4);
        assert!(answers.get(&asked("a")).is_some());
        answers.keep(asked("e"), answer(1_600));
        assert!(answers.get(&asked("b")).is_none());
        assert!(answers.get(&asked("a")).is_some());
        for number in 0..100 {
            answers.keep(asked(&number.to_string()), answer(number * 10));
            let (_, bytes) = answers.size();
            assert!(bytes <= 8_000, "{bytes}");
        }
    }

    #[test]
    fn an_answer_that_is_too_large_is_not_kept_and_one_that_comes_again_counts_once() {
        let answers = KeptAnswers::new(8_000);
        answers.keep(asked("a"), answer(2_000));
        assert_eq!(answers.size(), (0, 0));
        for _ in 0..10 {
            answers.keep(asked("a"), answer(100));
        }
        assert_eq!(answers.size(), (1, weight(&asked("a"), &answer(100))));
        let other = AskedOfRun {
            run: "s".to_owned(),
            ..asked("a")
        };
        assert!(answers.get(&other).is_none(), "of another run");
    }

    const ROOM: WaitingRoom<'static> = WaitingRoom {
        who: "north",
        own: 3,
        all: 4,
    };

    #[tokio::test]
    async fn one_makes_what_several_ask_for_at_once() {
        let answers = KeptAnswers::new(8_000);
        let question = asked("a");
        let permit = answers.begin(&question).unwrap();
        assert!(answers.begin(&question).is_none());
        let others =
            futures::future::join_all((0..3).map(|_| answers.made(&question, later(), ROOM)));
        let making = async {
            // Another question, as of who sees other rows, waits for nobody.
            let other = answers.made(&asked("b"), later(), ROOM).await;
            assert!(matches!(other, Ok(Made::Not)));
            drop(answers.begin(&asked("b")).unwrap());
            assert!(answers.keep(question.clone(), answer(10)));
            drop(permit);
        };
        let (others, ()) = futures::future::join(others, making).await;
        let are_given = others.iter().all(|made| matches!(made, Ok(Made::Kept(_))));
        assert!(are_given, "{others:?}");
        assert!(answers.making().answers.is_empty());
        assert!(answers.making().waiting.is_empty());
    }

    #[tokio::test]
    async fn who_leaves_and_what_is_not_kept_keeps_nobody_waiting() {
        let answers = KeptAnswers::new(8_000);
        let question = asked("a");
        for is_unkept in [false, true] {
            let permit = answers.begin(&question).unwrap();
            let impatient = answers.made(&question, Instant::now(), ROOM).await;
            assert!(matches!(impatient, Ok(Made::Late)), "{impatient:?}");
            let others =
                futures::future::join_all((0..3).map(|_| answers.made(&question, later(), ROOM)));
            let leaving = async {
                if is_unkept {
                    assert!(!answers.keep(question.clone(), answer(8_000)));
                    permit.note_unkept();
                }
                drop(permit);
            };
            let (others, ()) = futures::future::join(others, leaving).await;
            let are_right = others.iter().all(|made| match is_unkept {
                true => matches!(made, Ok(Made::Alone)),
                false => matches!(made, Ok(Made::Not)),
            });
            assert!(are_right, "{is_unkept}: {others:?}");
        }
        assert!(answers.begin(&question).is_some());
    }

    #[tokio::test]
    async fn no_reader_waits_with_more_questions_than_there_is_room_for() {
        let answers = KeptAnswers::new(8_000);
        let question = asked("a");
        let permit = answers.begin(&question).unwrap();
        let of = |who: &'static str| answers.made(&question, later(), WaitingRoom { who, ..ROOM });
        let asked = ["north", "north", "north", "north", "south", "south"];
        let all = futures::future::join_all(asked.map(of));
        let (all, ()) = futures::future::join(all, async { drop(permit) }).await;
        let refused: Vec<bool> = all.iter().map(Result::is_err).collect();
        assert_eq!(refused, [false, false, false, true, false, true]);
        assert!(answers.making().waiting.is_empty());
    }
}
