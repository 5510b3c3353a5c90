//! Guesses at passwords: how many of a name were wrong one after the other, and when the next may be made.
//!
//! Invariant: a name that nobody has is counted as any other, so that the count tells nothing. Where few are looked at at once, a guess is counted before it is looked at
//! ([`Guesses::begin`]), so that many at once are no way round the pause; one that is refused for the pause is not counted, so that a pause has an end. What is kept is bounded.

use crate::users::LONGEST_NAME;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Guesses at one name that are checked without a pause.
const FREE: u32 = 5;
/// Longest pause between two guesses at one name.
const LONGEST: Duration = Duration::from_secs(60);
/// Time after which wrong guesses are forgotten.
const FORGOTTEN: Duration = Duration::from_secs(900);
/// Names that are known at once. Where there are more, the one with the fewest guesses goes.
const NAMES: usize = 4_096;

/// Wrong guesses at one name.
#[derive(Debug, Clone, Copy)]
struct WrongGuesses {
    count: u32,
    last: Instant,
}

impl WrongGuesses {
    /// Time that has to lie between the last guess and the next: none at first, then one second, twice as long with each.
    fn pause(self) -> Duration {
        match self.count.checked_sub(FREE) {
            None => Duration::ZERO,
            Some(further) => Duration::from_secs(1_u64 << further.min(6)).min(LONGEST),
        }
    }
}

/// Guesses by the name that was said.
#[derive(Debug, Default)]
pub(crate) struct Guesses {
    wrong: Mutex<HashMap<String, WrongGuesses>>,
}

impl Guesses {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, WrongGuesses>> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a guess at a name as wrong, until [`Self::right`] says otherwise.
    ///
    /// Errors with the time to wait where it comes too early; it is not to be looked at then.
    pub(crate) fn begin(&self, name: &str, now: Instant) -> Result<(), Duration> {
        self.check(name, now)?;
        self.wrong(name, now);
        Ok(())
    }

    /// Errors with the time to wait where a guess at a name comes too early.
    pub(crate) fn check(&self, name: &str, now: Instant) -> Result<(), Duration> {
        let wrong = self.lock();
        let wait = wrong.get(kept(name)).map_or(Duration::ZERO, |known| {
            let since = now.saturating_duration_since(known.last);
            known.pause().saturating_sub(since)
        });
        match wait.is_zero() {
            true => Ok(()),
            false => Err(wait),
        }
    }

    /// Counts a wrong guess at a name.
    pub(crate) fn wrong(&self, name: &str, now: Instant) {
        let (name, mut wrong) = (kept(name), self.lock());
        if let Some(known) = wrong.get_mut(name) {
            if now.saturating_duration_since(known.last) >= FORGOTTEN {
                known.count = 0;
            }
            known.count = known.count.saturating_add(1);
            known.last = now;
            return;
        }
        if wrong.len() >= NAMES {
            wrong.retain(|_, known| now.saturating_duration_since(known.last) < FORGOTTEN);
        }
        if wrong.len() >= NAMES {
            let fewest = wrong
                .iter()
                .min_by_key(|(_, known)| (known.count, known.last));
            let fewest = fewest.map(|(name, _)| name.clone());
            if let Some(name) = fewest {
                wrong.remove(&name);
            }
        }
        let first = WrongGuesses {
            count: 1,
            last: now,
        };
        wrong.insert(name.to_owned(), first);
    }

    /// Forgets the guesses at a name whose password was proven.
    pub(crate) fn right(&self, name: &str) {
        self.lock().remove(kept(name));
    }
}

/// Name as it is kept: those that are too long to be anybody's are one.
fn kept(name: &str) -> &str {
    match name.len() <= LONGEST_NAME {
        true => name,
        false => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_at_a_name_become_slow_and_those_at_others_do_not() {
        let guesses = Guesses::default();
        let mut now = Instant::now();
        for _ in 0..FREE {
            assert!(guesses.begin("north", now).is_ok());
        }
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = guesses.begin("north", now).unwrap_err();
            assert_eq!(guesses.begin("north", now), Err(pause), "it is not counted");
            pauses.push(pause.as_secs());
            now += pause;
            assert!(guesses.begin("north", now).is_ok());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(guesses.begin("south", now).is_ok());
        guesses.right("north");
        assert!(guesses.begin("north", now).is_ok());
    }

    #[test]
    fn wrong_guesses_are_forgotten_after_a_while() {
        let guesses = Guesses::default();
        let now = Instant::now();
        for _ in 0..FREE {
            assert!(guesses.begin("north", now).is_ok());
        }
        for _ in 0..FREE {
            assert!(guesses.begin("north", now + FORGOTTEN).is_ok());
        }
        assert!(guesses.begin("north", now + FORGOTTEN).is_err());
    }

    #[test]
    fn many_names_push_out_no_name_that_is_guessed_at() {
        let guesses = Guesses::default();
        let now = Instant::now();
        for _ in 0..FREE {
            assert!(guesses.begin("north", now).is_ok());
        }
        for number in 0..2 * NAMES {
            assert!(guesses.begin(&number.to_string(), now).is_ok());
        }
        assert!(guesses.begin("north", now).is_err());
        assert_eq!(guesses.lock().len(), NAMES);
        for number in 0..FREE {
            let long = number.to_string().repeat(LONGEST_NAME + 1);
            assert!(guesses.begin(&long, now).is_ok());
        }
        let long = "x".repeat(1_000);
        assert!(guesses.begin(&long, now).is_err());
        assert!(guesses.lock().keys().all(|name| name.len() <= LONGEST_NAME));
    }
}
