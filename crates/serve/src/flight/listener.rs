//! The listener for Flight SQL: accepting, encrypting, letting in, stopping.
//!
//! Invariant: each call is let in by itself, by a password or a token, before any method sees it; so a user who is gone, or has another password or other rights, is refused by the
//! next call. Connections are bounded in number, those on which nobody has come in apart from the others and for a short time. Where there is a certificate nothing is said in
//! the clear. Asked to stop, no connection takes another call, and each is closed when its last has ended.

use super::ENDPOINT;
use super::service::FlightMethods;
use super::statements::Entered;
use super::status::refused;
use crate::arrivals::{IN_WITHIN, LoginPermit, Logins, accepted};
use crate::observe::new_id;
use crate::observed_statement::observe_refusal;
use crate::patient_stream::PatientStream;
use crate::problem::Problem;
use crate::state::ServerState;
use arrow_flight::flight_service_server::FlightServiceServer;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

/// Connections that are open at once.
const CONNECTIONS: usize = 256;
/// Calls of one connection at once.
const CALLS: u32 = 64;
/// Bytes of the headers of a call, at most.
const HEADERS: u32 = 32 << 10;
/// Bytes of an answer that wait in a connection to be taken.
const WAITING: usize = 1 << 20;
/// Time in which a client has to take something of what it is sent.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// Time after which a client that says nothing is asked if it is still there, and the time that it has to say so.
const ARE_YOU_THERE: Duration = Duration::from_secs(60);
const I_AM: Duration = Duration::from_secs(20);

/// The listener.
pub(crate) struct FlightListener {
    state: Arc<ServerState>,
    methods: FlightServiceServer<FlightMethods>,
    tls: Option<TlsAcceptor>,
    room: Arc<Semaphore>,
}

/// Place of a connection: among those on their way in, until somebody has come in on it.
struct Arrival {
    peer: SocketAddr,
    permit: Mutex<Option<LoginPermit>>,
    _room: OwnedSemaphorePermit,
}

impl Arrival {
    fn permit(&self) -> MutexGuard<'_, Option<LoginPermit>> {
        self.permit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that somebody has come in.
    fn let_in(&self) {
        let permit = self.permit().take();
        drop(permit);
    }

    /// True once somebody has come in.
    fn is_in(&self) -> bool {
        self.permit().is_none()
    }
}

impl FlightListener {
    /// A listener; `tls` has to offer HTTP/2.
    pub(crate) fn new(
        state: Arc<ServerState>,
        tls: Option<TlsAcceptor>,
    ) -> Result<Arc<Self>, Problem> {
        let methods = FlightMethods::new(Arc::clone(&state))?;
        let methods = FlightServiceServer::from_arc(Arc::new(methods))
            .max_decoding_message_size(message_bytes(state.options.body_bytes));
        Ok(Arc::new(Self {
            state,
            methods,
            tls,
            room: Arc::new(Semaphore::new(CONNECTIONS)),
        }))
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
            // One too many is closed: before HTTP/2 has begun there are no words to tell why.
            let room = Arc::clone(&self.room).try_acquire_owned();
            let (Some(permit), Ok(room)) = (logins.enter(peer), room) else {
                continue;
            };
            let arrival = Arrival {
                peer,
                permit: Mutex::new(Some(permit)),
                _room: room,
            };
            let (listener, stop) = (Arc::clone(&self), stop.clone());
            connections.spawn(async move {
                let state = Arc::clone(&listener.state);
                state.connections.fetch_add(1, Ordering::Relaxed);
                listener.receive(stream, arrival, stop).await;
                state.connections.fetch_sub(1, Ordering::Relaxed);
            });
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    /// One connection, encrypted where there is a certificate.
    async fn receive(
        self: Arc<Self>,
        stream: TcpStream,
        arrival: Arrival,
        stop: CancellationToken,
    ) {
        // Answers are sent whole: waiting for more to send would only delay them.
        let _ = stream.set_nodelay(true);
        let Some(tls) = self.tls.clone() else {
            return self.converse(stream, arrival, stop).await;
        };
        let greeting = tokio::time::timeout(IN_WITHIN, tls.accept(stream));
        let greeted = stop.run_until_cancelled(greeting).await;
        match greeted {
            Some(Ok(Ok(stream))) => self.converse(stream, arrival, stop).await,
            Some(Ok(Err(error))) => {
                tracing::debug!(peer = %arrival.peer, "a client does not speak TLS: {error}");
            }
            Some(Err(_)) | None => {}
        }
    }

    /// Answers the calls of a connection, until it is closed, nobody comes in on it in time, or the server stops and its calls have ended.
    async fn converse<S>(self: Arc<Self>, stream: S, arrival: Arrival, stop: CancellationToken)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let arrival = Arc::new(arrival);
        let own = Arc::clone(&arrival);
        let service = service_fn(move |request: Request<Incoming>| {
            let (listener, arrival) = (Arc::clone(&self), Arc::clone(&own));
            async move { Ok::<_, Infallible>(listener.call(request, &arrival).await) }
        });
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(CALLS)
            .max_header_list_size(HEADERS)
            .max_send_buf_size(WAITING)
            .keep_alive_interval(ARE_YOU_THERE)
            .keep_alive_timeout(I_AM);
        let stream = PatientStream::new(stream, TAKEN_WITHIN);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut in_time = std::pin::pin!(tokio::time::sleep(IN_WITHIN));
        let (mut is_stopping, mut is_checked) = (false, false);
        let outcome = loop {
            tokio::select! {
                outcome = connection.as_mut() => break outcome,
                () = stop.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = in_time.as_mut(), if !is_checked => {
                    is_checked = true;
                    if !arrival.is_in() {
                        return;
                    }
                }
            }
        };
        if let Err(error) = outcome {
            tracing::debug!(peer = %arrival.peer, "a connection ended: {error}");
        }
    }

    /// Answers a call of who may come in.
    async fn call(&self, mut request: Request<Incoming>, arrival: &Arrival) -> Response<Body> {
        let (callers, tokens) = (&self.state.callers, &self.state.tokens);
        let caller = match callers.admit(request.headers(), tokens).await {
            Ok(caller) => caller,
            Err(problem) => {
                let status = problem.status.as_u16();
                observe_refusal(&self.state, ENDPOINT, arrival.peer, status);
                return refused(&problem, &new_id()).into_http();
            }
        };
        arrival.let_in();
        let peer = arrival.peer;
        request.extensions_mut().insert(Entered { caller, peer });
        let mut methods = self.methods.clone();
        let Ok(response) = methods.call(request.map(Body::new)).await;
        response
    }
}

/// Bytes of a message that is sent here, at most: a ticket holds a query with what JSON puts around it, and the values of its parameters.
fn message_bytes(body: usize) -> usize {
    body.saturating_mul(2).saturating_add(64 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_has_come_in_leaves_room_on_the_way_in() {
        let logins = Logins::new();
        let peer: SocketAddr = "192.0.2.7:5000".parse().unwrap();
        let room = Arc::new(Semaphore::new(1));
        let arrival = Arrival {
            peer,
            permit: Mutex::new(logins.enter(peer)),
            _room: Arc::clone(&room).try_acquire_owned().unwrap(),
        };
        assert!(!arrival.is_in());
        let others = || {
            let entered = (0..64).map_while(|_| logins.enter(peer));
            entered.collect::<Vec<_>>().len()
        };
        let before = others();
        arrival.let_in();
        assert!(arrival.is_in());
        assert_eq!(others(), before + 1);
        assert_eq!(room.available_permits(), 0);
        drop(arrival);
        assert_eq!(room.available_permits(), 1);
    }
}
