//! Connections that are known: a client asks on another connection that its statement end, and no user has more than so many.
//!
//! Invariant: a statement ends only for whoever has the secret of its connection; a request that has not changes nothing and is told nothing. Connections of one user are
//! bounded in number.

use crate::callers::Caller;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// Connections of one user: others come in too.
const OF_ONE_USER: usize = 32;

/// Number and secret of a connection.
pub(super) type CancelKey = (i32, i32);

/// The statement that a connection is at.
#[derive(Debug, Default)]
pub(super) struct CancelHandle(Mutex<CurrentStatement>);

#[derive(Debug, Default)]
struct CurrentStatement {
    stop: Option<CancellationToken>,
    was_cancelled: bool,
}

impl CancelHandle {
    /// Says which statement begins or goes on, and forgets that an earlier one was cancelled.
    pub(super) fn begin(&self, stop: CancellationToken) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // It may go on: what was cancelled stays so.
        current.was_cancelled &= stop.is_cancelled();
        current.stop = Some(stop);
    }

    /// Says that no statement runs.
    pub(super) fn end(&self) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        current.stop = None;
    }

    /// True if the statement was cancelled by its client.
    pub(super) fn was_cancelled(&self) -> bool {
        let current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        current.was_cancelled
    }

    fn cancel(&self) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stop) = &current.stop {
            stop.cancel();
            current.was_cancelled = true;
        }
    }
}

/// The connections by their numbers and secrets.
#[derive(Debug, Default)]
pub(super) struct CancelKeys(Mutex<BTreeMap<CancelKey, RegisteredConnection>>);

/// A connection, with the name of its user; no name where there are no users.
#[derive(Debug)]
struct RegisteredConnection {
    user: Option<String>,
    handle: Arc<CancelHandle>,
}

/// A connection that is known until this is dropped.
pub(super) struct KnownConnection {
    keys: Arc<CancelKeys>,
    pub(super) key: CancelKey,
    pub(super) handle: Arc<CancelHandle>,
}

impl CancelKeys {
    /// Makes a connection known under a number and a secret of its own; none where its user has as many as one may have.
    pub(super) fn register(self: &Arc<Self>, caller: &Caller) -> Option<KnownConnection> {
        let handle = Arc::<CancelHandle>::default();
        let user = caller.user.as_ref().map(|user| user.name.clone());
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_user = known.values().filter(|other| other.user == user);
        if user.is_some() && of_user.count() >= OF_ONE_USER {
            return None;
        }
        let key = loop {
            let key = (rand::random::<i32>() & i32::MAX, rand::random::<i32>());
            if !known.contains_key(&key) {
                break key;
            }
        };
        let registered = RegisteredConnection {
            user,
            handle: Arc::clone(&handle),
        };
        known.insert(key, registered);
        Some(KnownConnection {
            keys: Arc::clone(self),
            key,
            handle,
        })
    }

    /// Cancels the statement of a connection, if there is one.
    pub(super) fn cancel(&self, key: CancelKey) {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = known.get(&key) {
            connection.handle.cancel();
        }
    }
}

impl Drop for KnownConnection {
    fn drop(&mut self) {
        let mut known = self.keys.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::User;
    use std::time::Duration;
    use tillhouse_query::Scope;

    #[test]
    fn only_who_has_the_secret_cancels_a_statement() {
        let keys = Arc::<CancelKeys>::default();
        let connection = keys.register(&Caller::default()).unwrap();
        let (number, secret) = connection.key;
        let stop = CancellationToken::new();
        connection.handle.begin(stop.clone());
        keys.cancel((number, secret.wrapping_add(1)));
        assert!(!stop.is_cancelled());
        keys.cancel((number, secret));
        assert!(stop.is_cancelled() && connection.handle.was_cancelled());
        connection.handle.begin(CancellationToken::new());
        assert!(!connection.handle.was_cancelled());
        connection.handle.end();
        keys.cancel((number, secret));
        assert!(!connection.handle.was_cancelled());
        drop(connection);
        assert!(keys.0.lock().unwrap().is_empty());
    }

    #[test]
    fn one_user_leaves_room_for_others() {
        let keys = Arc::<CancelKeys>::default();
        let of = |name: &str| Caller {
            user: Some(Arc::new(User {
                name: name.to_owned(),
                scope: Scope::default(),
                timeout: Duration::from_secs(1),
                memory: 1,
                concurrency: 1,
            })),
        };
        let mut of_north: Vec<KnownConnection> = (0..OF_ONE_USER)
            .map(|_| keys.register(&of("north")).unwrap())
            .collect();
        assert!(keys.register(&of("north")).is_none());
        assert!(keys.register(&of("south")).is_some());
        drop(of_north.pop());
        assert!(keys.register(&of("north")).is_some());
        let guests: Vec<_> = (0..=OF_ONE_USER)
            .map(|_| keys.register(&Caller::default()))
            .collect();
        assert!(guests.iter().all(Option::is_some));
    }
}
