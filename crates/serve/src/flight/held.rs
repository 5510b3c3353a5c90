//! State that clients hold on the server between their calls: prepared statements and transactions.
//!
//! Invariant: a handle is random and good for the user whom it was given to. What a user holds is bounded in number and in bytes: where more is held, what was used longest ago
//! goes, so that a client that never closes anything keeps nobody from working. A transaction is the run that it reads, and nothing that costs memory.

use super::parameters::BoundValues;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tonic::Status;

/// Prepared statements of a user, and their bytes.
const PREPARED: (usize, usize) = (1_024, 8 << 20);
/// Transactions of a user, and their bytes.
const TRANSACTIONS: (usize, usize) = (4_096, 1 << 20);

/// Something that is held, and takes memory.
pub(super) trait HeldValue: Clone {
    /// Name, as errors have it.
    const NAME: &'static str;
    /// Most of a user, and their bytes.
    const MOST: (usize, usize);
    /// Bytes that it takes.
    fn bytes(&self) -> usize;
}

/// A statement that was prepared, with the values that were bound to it last.
#[derive(Debug, Clone)]
pub(super) struct PreparedStatement {
    pub(super) sql: Arc<str>,
    /// Number of its parameters.
    pub(super) parameters: usize,
    pub(super) values: Option<BoundValues>,
    /// The transaction that it was prepared in.
    pub(super) transaction: Option<Bytes>,
}

impl HeldValue for PreparedStatement {
    const NAME: &'static str = "prepared statement";
    const MOST: (usize, usize) = PREPARED;

    fn bytes(&self) -> usize {
        let values = self
            .values
            .as_ref()
            .map_or(0, |values| values.bytes().len());
        let transaction = self.transaction.as_ref().map_or(0, Bytes::len);
        self.sql.len() + values + transaction
    }
}

/// A transaction: the run that all its queries read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Transaction {
    pub(super) run: String,
}

impl HeldValue for Transaction {
    const NAME: &'static str = "transaction";
    const MOST: (usize, usize) = TRANSACTIONS;

    fn bytes(&self) -> usize {
        self.run.len()
    }
}

/// Values that are held by handles.
pub(super) struct Held<T>(Mutex<HeldValues<T>>);

struct HeldValues<T> {
    by_handle: HashMap<Bytes, HeldEntry<T>>,
    /// Number of the last use.
    uses: u64,
}

struct HeldEntry<T> {
    /// None where there are no users.
    user: Option<String>,
    value: T,
    used: u64,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self(Mutex::new(HeldValues {
            by_handle: HashMap::new(),
            uses: 0,
        }))
    }
}

impl<T: HeldValue> Held<T> {
    fn values(&self) -> MutexGuard<'_, HeldValues<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a value for a user; its handle.
    pub(super) fn keep(&self, user: Option<&str>, value: T) -> Result<Bytes, Status> {
        let handle = Bytes::copy_from_slice(&rand::random::<[u8; 16]>());
        self.values().put(handle.clone(), user, value)?;
        Ok(handle)
    }

    /// The value of a user's handle.
    pub(super) fn get(&self, user: Option<&str>, handle: &Bytes) -> Result<T, Status> {
        let mut values = self.values();
        values.uses += 1;
        let used = values.uses;
        let found = values.by_handle.get_mut(handle);
        match found.filter(|entry| entry.user.as_deref() == user) {
            Some(entry) => {
                entry.used = used;
                Ok(entry.value.clone())
            }
            None => Err(not_held::<T>()),
        }
    }

    /// Puts another value in the place of the one of a user's handle.
    pub(super) fn replace(
        &self,
        user: Option<&str>,
        handle: &Bytes,
        value: T,
    ) -> Result<(), Status> {
        let mut values = self.values();
        match values.remove(user, handle) {
            Some(_) => values.put(handle.clone(), user, value),
            None => Err(not_held::<T>()),
        }
    }

    /// Holds the value of a user's handle no longer.
    pub(super) fn end(&self, user: Option<&str>, handle: &Bytes) -> Result<(), Status> {
        let ended = self.values().remove(user, handle);
        ended.map(drop).ok_or_else(not_held::<T>)
    }
}

impl<T: HeldValue> HeldValues<T> {
    fn put(&mut self, handle: Bytes, user: Option<&str>, value: T) -> Result<(), Status> {
        let (most, most_bytes) = T::MOST;
        if value.bytes() > most_bytes {
            return Err(Status::resource_exhausted(format!(
                "a {} has more than the {most_bytes} bytes that one may have",
                T::NAME
            )));
        }
        let mut own: Vec<(u64, usize, Bytes)> = self
            .by_handle
            .iter()
            .filter(|(_, entry)| entry.user.as_deref() == user)
            .map(|(handle, entry)| (entry.used, entry.value.bytes(), handle.clone()))
            .collect();
        own.sort_unstable_by_key(|(used, ..)| *used);
        let mut count = own.len() + 1;
        let mut bytes = value.bytes() + own.iter().map(|(_, bytes, _)| bytes).sum::<usize>();
        for (_, freed, oldest) in own {
            if count <= most && bytes <= most_bytes {
                break;
            }
            self.by_handle.remove(&oldest);
            count -= 1;
            bytes -= freed;
        }
        self.uses += 1;
        let entry = HeldEntry {
            user: user.map(str::to_owned),
            value,
            used: self.uses,
        };
        self.by_handle.insert(handle, entry);
        Ok(())
    }

    fn remove(&mut self, user: Option<&str>, handle: &Bytes) -> Option<T> {
        let is_own = self
            .by_handle
            .get(handle)
            .is_some_and(|entry| entry.user.as_deref() == user);
        let entry = is_own.then(|| self.by_handle.remove(handle)).flatten();
        entry.map(|entry| entry.value)
    }
}

/// Refusal of a handle that is not held, in the same words whether it never was, has ended or is another user's.
fn not_held<T: HeldValue>() -> Status {
    Status::not_found(format!(
        "there is no such {}: it was ended, or the server has another. Begin a new one.",
        T::NAME
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    fn statement(sql: &str) -> PreparedStatement {
        PreparedStatement {
            sql: sql.into(),
            parameters: 0,
            values: None,
            transaction: None,
        }
    }

    #[test]
    fn a_handle_is_good_for_its_user_until_it_ends() {
        let held = Held::<Transaction>::default();
        let run = |run: &str| Transaction {
            run: run.to_owned(),
        };
        let handle = held.keep(Some("north"), run("1")).unwrap();
        assert_eq!(held.get(Some("north"), &handle).unwrap(), run("1"));
        for user in [Some("south"), None] {
            assert_eq!(held.get(user, &handle).unwrap_err().code(), Code::NotFound);
            assert!(held.end(user, &handle).is_err());
            assert!(held.replace(user, &handle, run("2")).is_err());
        }
        held.replace(Some("north"), &handle, run("2")).unwrap();
        assert_eq!(held.get(Some("north"), &handle).unwrap(), run("2"));
        held.end(Some("north"), &handle).unwrap();
        assert!(held.get(Some("north"), &handle).is_err());
        assert!(held.end(Some("north"), &handle).is_err());
    }

    #[test]
    fn what_was_used_longest_ago_makes_room_for_its_own_user_alone() {
        let held = Held::<PreparedStatement>::default();
        let others = held.keep(Some("south"), statement("SELECT 1")).unwrap();
        let mut handles = Vec::new();
        for _ in 0..PREPARED.0 {
            handles.push(held.keep(Some("north"), statement("SELECT 1")).unwrap());
        }
        // The first is used again, and the second is the one to go.
        held.get(Some("north"), &handles[0]).unwrap();
        held.keep(Some("north"), statement("SELECT 2")).unwrap();
        assert!(held.get(Some("north"), &handles[0]).is_ok());
        assert!(held.get(Some("north"), &handles[1]).is_err());
        assert!(held.get(Some("north"), &handles[2]).is_ok());
        // A long one makes room for itself, and none is longer than all may be.
        held.keep(Some("north"), statement(&"x".repeat(PREPARED.1)))
            .unwrap();
        assert!(held.get(Some("north"), &handles[2]).is_err());
        assert!(held.get(Some("south"), &others).is_ok());
        let refused = held.keep(Some("north"), statement(&"x".repeat(PREPARED.1 + 1)));
        assert_eq!(refused.unwrap_err().code(), Code::ResourceExhausted);
    }
}
