//! The listener for Flight SQL: accepting, encrypting, letting in, stopping.
//!
//! Invariant: each call is let in by itself, by a password or a token, before any method sees it; so a user who is gone, or has another password or other rights, is refused by the
//! next call. Connections are bounded in number, those on which nobody has come in apart from the others and for a short time. A connection whose client leaves an answer
//! untaken beyond its time is closed, with the other calls on it. Where there is a certificate nothing is said in the clear. Asked to stop, no connection takes another call, and
//! each is closed when its last has ended.

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
use bytes::Bytes;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;
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
    /// Cancelled when its client takes nothing any more.
    given_up: CancellationToken,
    _room: OwnedSemaphorePermit,
}

/// Body of an answer, while its client takes it.
struct TakenBody {
    body: Body,
    /// Time by which something of it has to be taken.
    until: Arc<Mutex<Instant>>,
    /// Time for what comes later than first allowed for.
    patience: Duration,
    /// Says that it was taken, or left.
    _over: DropGuard,
}

impl hyper::body::Body for TakenBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(_))) = &polled {
            let later = Instant::now() + self.patience;
            let mut until = lock(&self.until);
            *until = later.max(*until);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl TakenBody {
    /// The body of an answer that has to be taken within a time, and each part of it within a patience: a client that keeps its window shut is asked for nothing else, and
    /// would hold what was made for ever.
    fn within(
        body: Body,
        (time, patience): (Duration, Duration),
        given_up: CancellationToken,
    ) -> Self {
        let over = CancellationToken::new();
        let guard = over.clone().drop_guard();
        let until = Arc::new(Mutex::new(Instant::now() + time));
        let own = Arc::clone(&until);
        let is_late = async move {
            loop {
                let until = *lock(&own);
                if until <= Instant::now() {
                    return;
                }
                tokio::time::sleep_until(until).await;
            }
        };
        drop(tokio::spawn(async move {
            tokio::select! {
                () = over.cancelled() => {}
                () = is_late => given_up.cancel(),
            }
        }));
        Self {
            body,
            until,
            patience,
            _over: guard,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Arrival {
    fn permit(&self) -> MutexGuard<'_, Option<LoginPermit>> {
        lock(&self.permit)
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
                given_up: CancellationToken::new(),
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
                () = arrival.given_up.cancelled() => {
                    tracing::debug!(peer = %arrival.peer, "an answer was not taken in time");
                    return;
                }
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
        let time = (self.state.timeout(&caller) + TAKEN_WITHIN, TAKEN_WITHIN);
        request.extensions_mut().insert(Entered { caller, peer });
        let mut methods = self.methods.clone();
        let Ok(response) = methods.call(request.map(Body::new)).await;
        response.map(|body| Body::new(TakenBody::within(body, time, arrival.given_up.clone())))
    }
}

/// Bytes of a message that is sent here, at most: a ticket holds a query with what JSON puts around it, and the values of its parameters.
fn message_bytes(body: usize) -> usize {
    body.saturating_mul(2).saturating_add(64 << 10)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::body::Body as _;

    #[tokio::test]
    async fn who_has_come_in_leaves_room_on_the_way_in() {
        let logins = Logins::new();
        let peer: SocketAddr = "192.0.2.7:5000".parse().unwrap();
        let room = Arc::new(Semaphore::new(1));
        let arrival = Arrival {
            peer,
            permit: Mutex::new(logins.enter(peer)),
            given_up: CancellationToken::new(),
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

    /// Time for an answer, and for a part of it.
    const TIMES: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(30));

    async fn until_given_up(given_up: &CancellationToken) -> Duration {
        let began = Instant::now();
        let given_up = tokio::time::timeout(Duration::from_secs(600), given_up.cancelled());
        given_up.await.unwrap();
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_ends_its_connection() {
        let (left, taken) = (CancellationToken::new(), CancellationToken::new());
        let held = TakenBody::within(Body::empty(), TIMES, left.clone());
        drop(TakenBody::within(Body::empty(), TIMES, taken.clone()));
        assert!(until_given_up(&left).await >= TIMES.0);
        drop(held);
        tokio::time::sleep(TIMES.0).await;
        assert!(!taken.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_taken_late_leaves_time_for_the_next() {
        let left = CancellationToken::new();
        let body = Body::new(axum::body::Body::from("a part"));
        let mut held = TakenBody::within(body, TIMES, left.clone());
        tokio::time::sleep(Duration::from_secs(50)).await;
        let part = std::future::poll_fn(|context| Pin::new(&mut held).poll_frame(context)).await;
        assert!(part.is_some_and(|part| part.is_ok()));
        assert!(until_given_up(&left).await >= TIMES.1);
    }
}
