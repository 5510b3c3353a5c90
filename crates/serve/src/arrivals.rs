//! Connections on their way in: how many there may be at once, and how long they may take.
//!
//! Invariant: whoever has not come in is one of a bounded number, of which another machine has half at most, and has not come in for a bounded time: a stranger keeps nobody
//! else out. It holds for each listener of a database protocol by itself.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections that are on their way in at once.
const LOGINS: usize = 64;
/// As many of another machine: half of them, so that others come in beside it.
const OF_ONE_MACHINE: usize = LOGINS / 2;
/// Time in which whoever comes has to have come in.
pub(crate) const IN_WITHIN: Duration = Duration::from_secs(15);

/// Connections that are on their way in, by their address.
pub(crate) struct Logins {
    room: Arc<Semaphore>,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// Room for a connection on its way in, until dropped.
pub(crate) struct LoginPermit {
    address: IpAddr,
    by_address: Arc<Mutex<HashMap<IpAddr, usize>>>,
    _room: OwnedSemaphorePermit,
}

impl Logins {
    pub(crate) fn new() -> Self {
        Self {
            room: Arc::new(Semaphore::new(LOGINS)),
            by_address: Arc::default(),
        }
    }

    /// Room for one more; none where there are as many as there may be, or as many of its machine.
    pub(crate) fn enter(&self, peer: SocketAddr) -> Option<LoginPermit> {
        let address = peer.ip().to_canonical();
        let room = Arc::clone(&self.room).try_acquire_owned().ok()?;
        {
            let mut by_address = self
                .by_address
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let own = by_address.entry(address).or_default();
            if *own >= OF_ONE_MACHINE && !address.is_loopback() {
                return None;
            }
            *own += 1;
        }
        Some(LoginPermit {
            address,
            by_address: Arc::clone(&self.by_address),
            _room: room,
        })
    }
}

impl Drop for LoginPermit {
    fn drop(&mut self) {
        let mut by_address = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = by_address.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_machine_leaves_room_for_others_on_their_way_in() {
        let logins = Logins::new();
        let enter = |peer: &str| logins.enter(peer.parse().unwrap());
        let mut of_one: Vec<LoginPermit> = (0..OF_ONE_MACHINE)
            .map(|_| enter("192.0.2.7:5000").unwrap())
            .collect();
        assert!(enter("192.0.2.7:5001").is_none());
        assert!(enter("[::ffff:192.0.2.7]:5001").is_none());
        let other = enter("192.0.2.8:5000").unwrap();
        drop(of_one.pop());
        of_one.push(enter("192.0.2.7:5001").unwrap());
        drop((of_one, other));
        assert!(logins.by_address.lock().unwrap().is_empty());
        // Whoever is on this machine comes in as far as there is room.
        let here: Vec<_> = (0..=LOGINS).map(|_| enter("127.0.0.1:5000")).collect();
        assert_eq!(here.iter().flatten().count(), LOGINS);
    }
}
