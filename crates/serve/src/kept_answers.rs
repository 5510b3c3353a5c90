//! Answers that are kept to be given again, by run and question.
//!
//! Invariant: no more bytes are kept than were allowed; what was asked for least recently goes first. An answer of a run that is no longer the newest goes with the others,
//! by its turn.

use crate::media::AnswerFormat;
use bytes::Bytes;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    pub(crate) format: AnswerFormat,
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
        }
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

    /// Keeps an answer, unless it would take too much of the room.
    pub(crate) fn keep(&self, asked: AskedOfRun, answer: KeptAnswer) {
        let bytes = weight(&asked, &answer);
        if bytes > self.room / PART {
            return;
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

    fn asked(question: &str) -> AskedOfRun {
        AskedOfRun {
            run: "r".to_owned(),
            question: question.to_owned(),
        }
    }

    fn answer(bytes: usize) -> KeptAnswer {
        KeptAnswer {
            format: AnswerFormat::Json,
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
}
