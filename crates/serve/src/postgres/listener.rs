//! The listener for PostgreSQL's protocol: accepting, encrypting, letting in, stopping.
//!
//! Invariant: connections are bounded in number, those that have not come in apart from the others, of those the ones of one other machine, and those of one user too, so that
//! neither a stranger nor one user keeps everybody else out; one too many is told so. Who comes from another machine says nothing in the clear. Asked to stop, idle connections are closed at once and the others
//! when their statement has ended.

use super::ENDPOINT;
use super::cancel::CancelKeys;
use super::catalog::KeptCatalogs;
use super::conversation::Conversation;
use super::fault::{Fault, NO_PASSWORD, NOT_ALLOWED, Stop, TOO_MANY};
use super::opening::{Beginning, OpenedConnection, begin, enter};
use super::wire::{Ended, MOST_BEFORE_LOGIN, Wire};
use crate::arrivals::{IN_WITHIN, LoginPermit, Logins, accepted};
use crate::callers::REFUSED_AFTER;
use crate::observed_statement::observe_refusal;
use crate::patient_stream::PatientStream;
use crate::state::ServerState;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// Connections that are open at once and have come in.
const CONNECTIONS: usize = 256;
/// Time in which a client has to take something of what it is sent.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// Time in which one too many has to take the answer that there is no room.
const TOLD_WITHIN: Duration = Duration::from_millis(100);
/// Purpose of the key behind the salts of names that nobody has.
const DECOYS: &str = "SCRAM of names that nobody has";

/// The listener.
pub(crate) struct PostgresListener {
    pub(super) state: Arc<ServerState>,
    pub(super) keys: Arc<CancelKeys>,
    pub(super) catalogs: Arc<KeptCatalogs>,
    /// Key of the salts of names that nobody has: the project's, so that they stay the same when the process or its users change, as those of users do.
    pub(super) decoy_key: [u8; 32],
    tls: Option<TlsAcceptor>,
    room: Arc<Semaphore>,
}

/// A connection on its way in.
struct Arrival {
    peer: SocketAddr,
    /// End of the time in which it has to have come in.
    deadline: Instant,
    stop: CancellationToken,
    is_encrypted: bool,
    /// One of those that may be on their way in.
    permit: LoginPermit,
}

impl Arrival {
    /// Outcome of a step on the way in; none where it takes too long or the server stops.
    async fn in_time<F: Future>(&self, step: F) -> Option<F::Output> {
        let limited = tokio::time::timeout_at(self.deadline, step);
        self.stop.run_until_cancelled(limited).await?.ok()
    }

    /// Errors where something would be said in the clear that others on the way could read.
    fn check_encryption(&self) -> Result<(), Fault> {
        let is_here = self.peer.ip().to_canonical().is_loopback();
        match self.is_encrypted || is_here {
            true => Ok(()),
            false => {
                let what = "a connection from another machine has to be encrypted";
                let hint = "Connect with sslmode=verify-full, and sslrootcert where the certificate's authority is not known.";
                Err(Fault::new(NOT_ALLOWED, what).hint(hint).fatal())
            }
        }
    }
}

impl PostgresListener {
    pub(crate) fn new(state: Arc<ServerState>, tls: Option<TlsAcceptor>) -> Arc<Self> {
        Arc::new(Self {
            decoy_key: state.served.privacy_key.derived_key(DECOYS),
            state,
            keys: Arc::default(),
            catalogs: Arc::default(),
            tls,
            room: Arc::new(Semaphore::new(CONNECTIONS)),
        })
    }

    /// Lets in and answers until `stop` is cancelled and every connection is closed.
    pub(crate) async fn answer(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        let logins = Logins::new();
        loop {
            while connections.try_join_next().is_some() {}
            let Some((stream, peer)) = accepted(&listener, &stop).await else {
                break;
            };
            let Some(permit) = logins.enter(peer) else {
                refuse(stream);
                continue;
            };
            let arrival = Arrival {
                peer,
                deadline: Instant::now() + IN_WITHIN,
                stop: stop.clone(),
                is_encrypted: false,
                permit,
            };
            let listener = Arc::clone(&self);
            connections.spawn(async move {
                let state = Arc::clone(&listener.state);
                state.connections.fetch_add(1, Ordering::Relaxed);
                listener.receive(stream, arrival).await;
                state.connections.fetch_sub(1, Ordering::Relaxed);
            });
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    /// One connection, encrypted where its client wants that.
    async fn receive(self: Arc<Self>, stream: TcpStream, mut arrival: Arrival) {
        // Answers are sent whole: waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let stream = PatientStream::new(stream, TAKEN_WITHIN);
        let mut wire = Wire::new(stream, MOST_BEFORE_LOGIN);
        let begun = arrival.in_time(begin(&mut wire, self.tls.is_some())).await;
        match (begun, self.tls.clone()) {
            (Some(Ok(Beginning::Encryption)), Some(tls)) => {
                let encrypting = arrival.in_time(encrypt(wire, &tls)).await;
                let Some(Ok(mut wire)) = encrypting else {
                    return;
                };
                arrival.is_encrypted = true;
                let begun = arrival.in_time(begin(&mut wire, false)).await;
                self.go_on(wire, begun, arrival).await;
            }
            (begun, _) => self.go_on(wire, begun, arrival).await,
        }
    }

    /// Does what a connection began with; nothing where it did not come to that in time.
    async fn go_on<S: AsyncRead + AsyncWrite + Unpin>(
        self: Arc<Self>,
        mut wire: Wire<S>,
        begun: Option<Result<Beginning, Stop>>,
        arrival: Arrival,
    ) {
        let opened = match begun {
            None | Some(Ok(Beginning::Encryption)) => None,
            Some(Ok(Beginning::Cancellation(key))) => {
                self.keys.cancel(key);
                None
            }
            Some(Ok(Beginning::Startup(startup))) => match arrival.check_encryption() {
                Ok(()) => arrival.in_time(enter(&self, &mut wire, startup)).await,
                Err(fault) => Some(Err(fault.into())),
            },
            Some(Err(stop)) => Some(Err(stop)),
        };
        match opened {
            None | Some(Err(Stop::Ended(_))) => {}
            Some(Err(Stop::Fault(fault))) => self.turn_away(wire, arrival.peer, &fault).await,
            Some(Ok(opened)) => self.converse(wire, opened, arrival).await,
        }
    }

    /// Answers who has come in, as long as there is room.
    async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
        self: Arc<Self>,
        mut wire: Wire<S>,
        opened: OpenedConnection,
        arrival: Arrival,
    ) {
        let Arrival {
            peer,
            stop,
            permit,
            is_encrypted,
            ..
        } = arrival;
        let known = self.keys.register(opened.login.caller());
        let room = Arc::clone(&self.room).try_acquire_owned();
        let (Some(known), Ok(_room)) = (known, room) else {
            return self.turn_away(wire, peer, &no_room()).await;
        };
        drop(permit);
        wire.allow(self.state.options.body_bytes);
        let conversation = Conversation::new(wire, self, (peer, known, is_encrypted), opened);
        if let Err(ended) = conversation.answer(stop).await {
            tracing::debug!(%peer, "a connection ended: {ended:?}");
        }
    }

    /// Tells who does not come in why. Whoever guesses a password waits, as at HTTP's login.
    async fn turn_away<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        mut wire: Wire<S>,
        peer: SocketAddr,
        fault: &Fault,
    ) {
        // The message may hold a name, and that may be a password that was typed in its place.
        tracing::info!(%peer, code = fault.code, "nobody was let in");
        if fault.code == NO_PASSWORD {
            tokio::time::sleep(REFUSED_AFTER).await;
        }
        observe_refusal(&self.state, ENDPOINT, peer, fault.status());
        fault.put(&mut wire);
        // Nobody waits any more where the client has left.
        let _ = wire.flush().await;
    }
}

/// Encrypts a connection whose client waits for that.
async fn encrypt<S: AsyncRead + AsyncWrite + Unpin>(
    mut wire: Wire<S>,
    tls: &TlsAcceptor,
) -> Result<Wire<TlsStream<S>>, Ended> {
    wire.put_byte(b'S');
    wire.flush().await?;
    match tls.accept(wire.into_stream()).await {
        Ok(stream) => Ok(Wire::new(stream, MOST_BEFORE_LOGIN)),
        Err(error) => {
            tracing::debug!("a client does not speak TLS: {error}");
            Err(Ended::Left)
        }
    }
}

fn no_room() -> Fault {
    Fault::new(TOO_MANY, "there are as many connections as there may be").fatal()
}

/// Tells one too many that there is no room, as far as it is still there to be told.
fn refuse(stream: TcpStream) {
    let mut wire = Wire::new(PatientStream::new(stream, TOLD_WITHIN), 0);
    no_room().put(&mut wire);
    drop(tokio::spawn(async move {
        let _ = wire.flush().await;
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_comes_from_another_machine_says_nothing_in_the_clear() {
        let peer: SocketAddr = "192.0.2.7:5000".parse().unwrap();
        let mut arrival = Arrival {
            peer,
            deadline: Instant::now() + IN_WITHIN,
            stop: CancellationToken::new(),
            is_encrypted: false,
            permit: Logins::new().enter(peer).unwrap(),
        };
        let refused = arrival.check_encryption().unwrap_err();
        assert!(refused.is_fatal && refused.status() == 401, "{refused:?}");
        arrival.is_encrypted = true;
        assert!(arrival.check_encryption().is_ok());
        arrival.is_encrypted = false;
        for here in ["127.0.0.1:5000", "[::1]:5000", "[::ffff:127.0.0.1]:5000"] {
            arrival.peer = here.parse().unwrap();
            assert!(arrival.check_encryption().is_ok(), "{here}");
        }
    }
}
