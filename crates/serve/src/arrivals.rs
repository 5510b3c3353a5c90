//! Connections as they are accepted, and those on their way in: how many there may be at once, and how long they may take.
//!
//! Invariant: whoever has not come in is one of a bounded number, of which one machine has half at most, this one too, and has not come
//! in for a bounded time: nobody keeps other machines out. It holds for each listener of a database protocol by itself.

use crate::system::ask_if_there;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Connections that are on their way in at once.
const LOGINS: usize = 128;
/// As many of one machine: half of them, so that others come in beside it.
const OF_ONE_MACHINE: usize = LOGINS / 2;
/// Time in which whoever comes has to have come in.
pub(crate) const IN_WITHIN: Duration = Duration::from_secs(15);
/// Pause after a connection that could not be accepted, as where no file may be opened any more.
const PAUSE: Duration = Duration::from_millis(100);

/// The next connection to a listener of any protocol, with its address; `None` once `stop` is cancelled. A client that vanishes without a word is found out, also one that waits
/// for nothing, as an idle session of PostgreSQL's protocol does.
pub(crate) async fn accepted(
    listener: &TcpListener,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr)> {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                ask_if_there(&stream);
                return Some((stream, peer));
            }
            Err(error) => {
                tracing::warn!("a connection cannot be accepted: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

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

/// The machine of an address: every loopback address is this one's.
fn machine_of(peer: SocketAddr) -> IpAddr {
    match peer.ip().to_canonical() {
        address if address.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        address => address,
    }
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
        let address = machine_of(peer);
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            tracing::info!(%peer, "nobody was let in: {LOGINS} connections are on their way in");
            return None;
        };
        {
            let mut by_address = self
                .by_address
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let own = by_address.entry(address).or_default();
            if *own >= OF_ONE_MACHINE {
                tracing::info!(%peer, "nobody was let in: {OF_ONE_MACHINE} connections of that machine are on their way in");
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
        for [own, again, other] in [
            [
                "192.0.2.7:5000",
                "[::ffff:192.0.2.7]:5001",
                "192.0.2.8:5000",
            ],
            ["127.0.0.1:5000", "[::1]:5001", "192.0.2.8:5000"],
            ["[::1]:5000", "127.0.0.2:5001", "[2001:db8::1]:5000"],
        ] {
            let logins = Logins::new();
            let enter = |peer: &str| logins.enter(peer.parse().unwrap());
            let mut of_one: Vec<LoginPermit> =
                (0..OF_ONE_MACHINE).map(|_| enter(own).unwrap()).collect();
            assert!(enter(own).is_none());
            assert!(enter(again).is_none());
            let beside = enter(other).unwrap();
            drop(of_one.pop());
            of_one.push(enter(again).unwrap());
            drop((of_one, beside));
            assert!(logins.by_address.lock().unwrap().is_empty());
        }
    }

    #[test]
    fn all_together_are_a_bounded_number() {
        let logins = Logins::new();
        let peers = (0..=LOGINS).map(|nth| format!("192.0.2.{}:5000", nth % 4));
        let entered: Vec<_> = peers
            .map(|peer| logins.enter(peer.parse().unwrap()))
            .collect();
        assert_eq!(entered.iter().flatten().count(), LOGINS);
    }
}
