//! Listening, answering, stopping.
//!
//! Invariant: the server listens on loopback alone, unless there are users and TLS. Asked to stop, it takes no new connection and no new request, gives running ones their time, and ends well whether or
//! not they used it. Connections are bounded in number, and one that says nothing or takes nothing is closed.

use crate::arrivals::accepted;
use crate::audit::AuditLog;
use crate::flight::FlightListener;
use crate::observe::{Peer, new_id};
use crate::oidc::OidcVerifier;
use crate::options::{ServeOptions, ServedWarehouse};
use crate::patient_stream::PatientStream;
use crate::postgres::PostgresListener;
use crate::router::router;
use crate::state::ServerState;
use crate::tls::{for_http2, server_config};
use crate::users::Users;
use axum::Router;
use axum::extract::Request;
use futures::future::join;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tillhouse_model::{Error, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tower::Service;

/// Connections that are open at once; further ones wait to be accepted.
const CONNECTIONS: usize = 1_024;
/// Connections that wait to be accepted, at most.
const NOT_ACCEPTED: u32 = 1_024;
/// Time in which a request's head has to arrive, also the first on a connection.
const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// Time in which a client has to take something of what it is sent.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// Bytes of a request's head, at most.
const HEAD_BYTES: usize = 128 << 10;
/// Time that a last answer has to be sent, once all are made.
const LAST_BYTES: Duration = Duration::from_millis(500);
/// Time in which the last lines of the audit log have to be written, once there are no more to come.
const RECORDED_WITHIN: Duration = Duration::from_secs(10);
/// Pause between two looks at what still runs.
const TICK: Duration = Duration::from_millis(50);

/// Check of what a server starts with, by the server itself and by whoever only asks. Nothing is made that stays, and nothing is listened on.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`] where it would not start: for an address that others reach without users and TLS, and for a
/// certificate, an audit log, users or a provider of tokens that cannot be used. Whether the provider answers is not tried.
pub fn check(options: &ServeOptions) -> Result<()> {
    options.check_address()?;
    if let Some(path) = &options.users {
        Users::load_if_there(path)?;
    }
    if let Some(oidc) = &options.oidc {
        OidcVerifier::new(oidc)?;
    }
    if let Some(files) = &options.tls {
        server_config(files)?;
    }
    AuditLog::check(options.audit.as_deref())
}

/// Check of the addresses that a server is to listen on, beside [`check`]: they are listened on together as the server does, and given back. Nobody is answered.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`] for one that cannot be listened on, as where somebody else does, or another of them.
pub async fn check_addresses(options: &ServeOptions) -> Result<()> {
    let taken = TakenAddresses::of(options)?;
    // An address that is named twice is taken twice, and listened on once.
    let _http = taken.http.listen()?;
    let _postgres = taken.postgres.map(TakenAddress::listen).transpose()?;
    taken.flight.map(TakenAddress::listen).transpose().map(drop)
}

/// Addresses that nobody else listens on, taken to be listened on.
struct TakenAddresses {
    http: TakenAddress,
    postgres: Option<TakenAddress>,
    flight: Option<TakenAddress>,
}

impl TakenAddresses {
    fn of(options: &ServeOptions) -> Result<Self> {
        let http = "Name another with --listen or `serve.listen`, or find out who listens there.";
        let postgres =
            "Name another with --postgres or `serve.postgres`, or find out who listens there.";
        let flight = "Name another with --flight or `serve.flight`, or find out who listens there.";
        let if_wanted = |wanted: Option<SocketAddr>, hint: &'static str| {
            wanted
                .map(|wanted| TakenAddress::of(wanted, hint))
                .transpose()
        };
        Ok(Self {
            http: TakenAddress::of(options.listen, http)?,
            postgres: if_wanted(options.postgres, postgres)?,
            flight: if_wanted(options.flight, flight)?,
        })
    }
}

/// One of them.
struct TakenAddress {
    socket: TcpSocket,
    wanted: SocketAddr,
    hint: &'static str,
}

impl TakenAddress {
    fn of(wanted: SocketAddr, hint: &'static str) -> Result<Self> {
        let taken = || {
            let socket = match wanted {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            // Connections of a server before it, which are over, keep nobody out.
            #[cfg(not(windows))]
            socket.set_reuseaddr(true)?;
            socket.bind(wanted)?;
            Ok::<_, std::io::Error>(socket)
        };
        let socket = taken().map_err(|error| cannot_listen(error, wanted, hint))?;
        Ok(Self {
            socket,
            wanted,
            hint,
        })
    }

    /// Listens on the address, and gives the one that it is.
    fn listen(self) -> Result<(TcpListener, SocketAddr)> {
        let listened = || {
            let listener = self.socket.listen(NOT_ACCEPTED)?;
            let address = listener.local_addr()?;
            Ok::<_, std::io::Error>((listener, address))
        };
        listened().map_err(|error| cannot_listen(error, self.wanted, self.hint))
    }
}

fn cannot_listen(error: std::io::Error, wanted: SocketAddr, hint: &str) -> Error {
    Error::config("cannot listen")
        .because(error)
        .at("address", wanted.to_string())
        .hint(hint)
}

/// A server that listens, and does not answer yet.
pub struct BoundServer {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    /// Listener for PostgreSQL's protocol, and its address.
    postgres: Option<(TcpListener, SocketAddr)>,
    /// Listener for Flight SQL, its address, and what answers there.
    flight: Option<(TcpListener, SocketAddr, Arc<FlightListener>)>,
    state: Arc<ServerState>,
}

impl BoundServer {
    /// Listens, and looks for the newest run.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] for an address that others reach or that cannot be listened on, and for an audit log that cannot be written. A warehouse that
    /// cannot be read is no error: it may be readable later, and `/readyz` says so.
    pub async fn bind(served: ServedWarehouse, options: ServeOptions) -> Result<Self> {
        check(&options)?;
        let tls = options.tls.as_ref().map(server_config).transpose()?;
        let flight_tls = tls.clone().map(for_http2);
        let acceptor = |config: rustls::ServerConfig| TlsAcceptor::from(Arc::new(config));
        let (tls, flight_tls) = (tls.map(acceptor), flight_tls.map(acceptor));
        let state = ServerState::new(served, options)?;
        let taken = TakenAddresses::of(&state.options)?;
        let (listener, address) = taken.http.listen()?;
        let postgres = taken.postgres.map(TakenAddress::listen).transpose()?;
        let flight = match taken.flight {
            None => None,
            Some(taken) => {
                let (listener, address) = taken.listen()?;
                let answering = FlightListener::new(Arc::clone(&state), flight_tls)
                    .map_err(|problem| Error::internal(problem.for_log()))?;
                Some((listener, address, answering))
            }
        };
        let looking = Arc::clone(&state);
        on_thread("runs", move || async move {
            if let Err(error) = looking.runs.look().await {
                tracing::debug!("the first look failed: {error}");
            }
        })
        .await;
        Ok(Self {
            listener,
            address,
            tls,
            postgres,
            flight,
            state,
        })
    }

    /// Address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Address as clients write it.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Address for PostgreSQL's protocol, where it listens for it.
    pub fn postgres_address(&self) -> Option<SocketAddr> {
        self.postgres.as_ref().map(|(_, address)| *address)
    }

    /// Address for Flight SQL, where it listens for it.
    pub fn flight_address(&self) -> Option<SocketAddr> {
        self.flight.as_ref().map(|(_, address, _)| *address)
    }

    /// Id of the run that is answered from; none where there is none yet.
    pub fn run(&self) -> Option<String> {
        self.state.runs.known_newest().map(|run| run.run.clone())
    }

    /// Answers until `stop` is cancelled and what ran by then has ended, or had its time.
    pub async fn answer(self, stop: CancellationToken) {
        let Self {
            listener,
            tls,
            postgres,
            flight,
            state,
            ..
        } = self;
        look_for_news(Arc::clone(&state), stop.clone());
        let all_told = CancellationToken::new();
        let recording = tokio::spawn(record_audit(Arc::clone(&state), all_told.clone()));
        let postgres = postgres.map(|(listener, _)| {
            let postgres = PostgresListener::new(Arc::clone(&state), tls.clone());
            tokio::spawn(postgres.answer(listener, stop.clone()))
        });
        let flight = flight
            .map(|(listener, _, answering)| tokio::spawn(answering.answer(listener, stop.clone())));
        let router = router(&state);
        let mut connections = JoinSet::new();
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            while connections.try_join_next().is_some() {}
            let permit = tokio::select! {
                () = stop.cancelled() => break,
                permit = Arc::clone(&room).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { break };
            let Some((stream, peer)) = accepted(&listener, &stop).await else {
                break;
            };
            let (router, stop, state) = (router.clone(), stop.clone(), Arc::clone(&state));
            let tls = tls.clone();
            connections.spawn(async move {
                let _permit = permit;
                state.connections.fetch_add(1, Ordering::Relaxed);
                // Answers are sent whole: waiting for more to send would only delay them.
                let _ = stream.set_nodelay(true);
                if let Some(tls) = tls {
                    if let Some(stream) = greet(stream, peer, &tls, &stop).await {
                        converse(stream, peer, router, stop).await;
                    }
                } else {
                    converse(stream, peer, router, stop).await;
                }
                state.connections.fetch_sub(1, Ordering::Relaxed);
            });
        }
        drop(listener);
        let within = state.options.stop_within;
        if tokio::time::timeout(within, ended(&state, &mut connections))
            .await
            .is_err()
        {
            let left = state.in_flight.load(Ordering::Relaxed);
            tracing::warn!(
                "{left} requests have not ended within {} s and are dropped",
                within.as_secs()
            );
        }
        state.stop.cancel();
        connections.shutdown().await;
        for mut other in postgres.into_iter().chain(flight) {
            if tokio::time::timeout(LAST_BYTES, &mut other).await.is_err() {
                other.abort();
            }
        }
        all_told.cancel();
        let recorded = tokio::time::timeout(RECORDED_WITHIN, recording);
        if recorded.await.is_err() {
            tracing::error!("the last lines of the audit log could not be written in time");
        }
    }
}

/// Waits until every connection is closed, or no answer is under way any more and the last had its time to be sent.
async fn ended(state: &ServerState, connections: &mut JoinSet<()>) {
    loop {
        let is_quiet = state.in_flight.load(Ordering::Relaxed) == 0;
        // Statements of other endpoints are under way too.
        if connections.is_empty() && is_quiet {
            return;
        }
        if is_quiet {
            let all = async { while connections.join_next().await.is_some() {} };
            if tokio::time::timeout(LAST_BYTES, all).await.is_ok()
                || state.in_flight.load(Ordering::Relaxed) == 0
            {
                return;
            }
        }
        while connections.try_join_next().is_some() {}
        tokio::time::sleep(TICK).await;
    }
}

/// Shows a client the certificate; `None` where it does not come to terms with the client in time.
async fn greet(
    stream: TcpStream,
    peer: SocketAddr,
    tls: &TlsAcceptor,
    stop: &CancellationToken,
) -> Option<TlsStream<TcpStream>> {
    let greeting = tokio::time::timeout(HEAD_WITHIN, tls.accept(stream));
    match stop.run_until_cancelled(greeting).await? {
        Ok(Ok(stream)) => Some(stream),
        Ok(Err(error)) => {
            tracing::debug!(%peer, "a client does not speak TLS: {error}");
            None
        }
        Err(_) => None,
    }
}

/// One connection, until it is closed or the server stops and its request has been answered.
async fn converse<S>(stream: S, peer: SocketAddr, router: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        let request: Request = request.map(axum::body::Body::new);
        router.clone().call(request)
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .max_buf_size(HEAD_BYTES);
    let stream = PatientStream::new(stream, TAKEN_WITHIN);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let mut is_stopping = false;
    let outcome = loop {
        tokio::select! {
            outcome = connection.as_mut() => break outcome,
            () = stop.cancelled(), if !is_stopping => {
                is_stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    match outcome {
        // No request came of it that could have a line in the audit log.
        Err(error) if error.is_parse() => {
            tracing::info!(id = %new_id(), %peer, "a request cannot be read: {error}");
        }
        Err(error) => tracing::debug!(%peer, "a connection ended: {error}"),
        Ok(()) => {}
    }
}

/// Looks for new runs and other users until the server stops. A store that does not answer keeps nobody in who was removed.
fn look_for_news(state: Arc<ServerState>, stop: CancellationToken) {
    let every = state.options.look_every;
    let work = move || async move {
        let users = async {
            loop {
                tokio::time::sleep(every).await;
                state.callers.look();
            }
        };
        let runs = async {
            loop {
                tokio::time::sleep(every).await;
                // What went wrong has been logged, and is tried again.
                let _ = state.runs.look().await;
            }
        };
        stop.run_until_cancelled(join(users, runs)).await;
    };
    drop(tokio::spawn(on_thread("runs", work)));
}

/// Writes the audit log into the warehouse, where it goes there, until all that was asked has been told.
async fn record_audit(state: Arc<ServerState>, all_told: CancellationToken) {
    let work = move || async move {
        // A warehouse in which nothing is published yet is not made by questions.
        let warehouse = || {
            let newest = state.runs.known_newest();
            newest.map(|_| state.served.warehouse.clone())
        };
        state.audit.keep_writing(warehouse, &all_told).await;
    };
    on_thread("audit", work).await;
}

/// Runs work on a thread of its own, which the worker threads need not wait for.
async fn on_thread<W, F>(name: &str, work: W)
where
    W: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()>,
{
    let (runtime, (done, outcome)) = (Handle::current(), tokio::sync::oneshot::channel());
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(tillhouse_query::WORKER_STACK);
    let spawned = thread.spawn(move || {
        runtime.block_on(work());
        // Nobody waits where the server has ended.
        let _ = done.send(());
    });
    match spawned {
        Ok(_) => {
            let _ = outcome.await;
        }
        Err(error) => tracing::error!("a thread cannot be started: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{OidcOptions, TlsFiles};

    #[tokio::test]
    async fn an_address_that_somebody_listens_on_is_told_beforehand() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let free = ServeOptions::default();
        assert!(check_addresses(&free).await.is_ok());
        for (taken, flag) in [
            (
                ServeOptions {
                    listen: address,
                    ..free.clone()
                },
                "--listen",
            ),
            (
                ServeOptions {
                    postgres: Some(address),
                    ..free.clone()
                },
                "--postgres",
            ),
            (
                ServeOptions {
                    flight: Some(address),
                    ..free.clone()
                },
                "--flight",
            ),
        ] {
            let error = check_addresses(&taken).await.unwrap_err();
            assert!(error.to_string().contains(&address.to_string()), "{error}");
            assert!(error.hint_text().unwrap().contains(flag), "{error}");
        }
        // Nobody listens any more, and the server would twice.
        drop(other);
        let twice = ServeOptions {
            listen: address,
            flight: Some(address),
            ..free
        };
        let error = check_addresses(&twice).await.unwrap_err();
        assert!(error.to_string().contains(&address.to_string()), "{error}");
    }

    #[test]
    fn what_would_not_start_is_told_beforehand() {
        let folder = tempfile::tempdir().unwrap();
        let right = ServeOptions {
            audit: Some(folder.path().join("audit.jsonl")),
            ..ServeOptions::default()
        };
        assert!(check(&right).is_ok());
        let same = "127.0.0.1:9".parse().unwrap();
        let broken = folder.path().join("users.yaml");
        std::fs::write(&broken, "users: [").unwrap();
        for wrong in [
            ServeOptions {
                audit: Some(folder.path().join("none/audit.jsonl")),
                ..right.clone()
            },
            ServeOptions {
                tls: Some(TlsFiles {
                    certificate: folder.path().join("c.pem"),
                    key: folder.path().join("k.pem"),
                }),
                ..right.clone()
            },
            ServeOptions {
                users: Some(broken),
                ..right.clone()
            },
            ServeOptions {
                oidc: Some(OidcOptions {
                    issuer: "http://id.example.com".to_owned(),
                    audience: "tillhouse".to_owned(),
                    claim: "sub".to_owned(),
                }),
                ..right.clone()
            },
            ServeOptions {
                listen: same,
                postgres: Some(same),
                ..right.clone()
            },
            ServeOptions {
                listen: same,
                flight: Some(same),
                ..right.clone()
            },
            ServeOptions {
                postgres: Some(same),
                flight: Some(same),
                ..right
            },
        ] {
            assert!(check(&wrong).is_err(), "{wrong:?}");
        }
    }
}
