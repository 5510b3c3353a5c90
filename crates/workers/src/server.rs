//! The worker: it runs parts of plans over its own warehouse, for coordinators that it knows.
//!
//! Invariant: nobody is answered who does not show the token, or a certificate of the authority, where there are these; without either only this machine is listened to. What is read is the
//! worker's own warehouse, by its own credentials and within its own memory.

use crate::VERSION;
use crate::codec::{StepCodec, with_plan_functions};
use crate::readable_files::ReadableFiles;
use crate::trust::{TokenCheck, WorkerTrust};
use async_trait::async_trait;
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::session_state::SessionState;
use datafusion_distributed::{
    DistributedExt, Worker, WorkerPlanRewriteEvent, WorkerPlanRewriteEventResponse,
    WorkerPlanRewriteHandler, WorkerQueryContext, WorkerSessionBuilder,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tillhouse_lake::Warehouse;
use tillhouse_model::{Error, ErrorKind, Result as TillhouseResult};
use tillhouse_query::{QueryEngine, resumed_plan};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::InterceptorLayer;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Server, ServerTlsConfig};

/// Bytes of a message at most: a plan names its files, and those of a large warehouse are some megabytes.
const MESSAGE_BYTES: usize = 256 << 20;
/// Time after which a coordinator that says nothing is asked if it is still there, and the time that it has to say so. It may be busy for a while.
const ARE_YOU_THERE: Duration = Duration::from_secs(60);
const I_AM: Duration = Duration::from_secs(60);

/// Number of tasks that a worker was sent. Copies count together.
#[derive(Debug, Clone, Default)]
pub struct TaskCount(Arc<AtomicU64>);

impl TaskCount {
    /// Tasks until now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A worker that listens.
pub struct WorkerServer {
    listener: TcpListener,
    address: SocketAddr,
    worker: Worker,
    tls: Option<ServerTlsConfig>,
    tokens: TokenCheck,
    tasks: TaskCount,
}

impl WorkerServer {
    /// Listens for coordinators of a warehouse; nobody is answered before [`Self::answer`]. Port 0 takes any that is free.
    ///
    /// Errors with [`ErrorKind::Config`] for an address that others reach without token and certificates, for one that cannot be listened on, and for certificates that cannot be used.
    pub async fn bind(
        listen: SocketAddr,
        trust: &WorkerTrust,
        engine: &QueryEngine,
        warehouse: &Warehouse,
    ) -> TillhouseResult<Self> {
        Self::bind_as(VERSION, listen, trust, engine, warehouse).await
    }

    /// As [`Self::bind`], under another version; for tests of what becomes of one.
    pub async fn bind_as(
        version: &'static str,
        listen: SocketAddr,
        trust: &WorkerTrust,
        engine: &QueryEngine,
        warehouse: &Warehouse,
    ) -> TillhouseResult<Self> {
        trust.check_listen(listen)?;
        let tls = trust.server_tls()?;
        engine.register_warehouse(warehouse);
        let tasks = TaskCount::default();
        let session = WorkerSession {
            state: with_plan_functions(engine.state_builder()?.build())?,
            files: ReadableFiles::of(warehouse)?,
            tasks: tasks.clone(),
        };
        let taken = |error: std::io::Error| {
            Error::config(format!("{listen} cannot be listened on"))
                .because(error)
                .hint("Name another address with --listen, or find out who listens there.")
        };
        let listener = TcpListener::bind(listen).await.map_err(taken)?;
        let address = listener.local_addr().map_err(taken)?;
        let runtime = Arc::clone(session.state.runtime_env());
        let worker = Worker::from_session_builder(session)
            .with_runtime_env(runtime)
            .with_version(version);
        Ok(Self {
            listener,
            address,
            worker,
            tls,
            tokens: trust.token_check(),
            tasks,
        })
    }

    /// The address that is listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Count of the tasks that it is sent.
    pub fn tasks(&self) -> TaskCount {
        self.tasks.clone()
    }

    /// Answers until it is asked to stop; what runs by then is brought to an end first.
    ///
    /// Errors with [`ErrorKind::Unreachable`] where connections cannot be taken any more, and with [`ErrorKind::Config`] for certificates that do not belong together.
    pub async fn answer(self, stop: CancellationToken) -> TillhouseResult<()> {
        let mut server = Server::builder()
            .http2_keepalive_interval(Some(ARE_YOU_THERE))
            .http2_keepalive_timeout(Some(I_AM));
        if let Some(tls) = self.tls {
            server = server.tls_config(tls).map_err(|error| {
                Error::config("the worker's certificate and key cannot be used").because(error)
            })?;
        }
        let incoming = TcpIncoming::from(self.listener).with_nodelay(Some(true));
        let service = self.worker.into_worker_server();
        let service = service.max_decoding_message_size(MESSAGE_BYTES);
        server
            .layer(InterceptorLayer::new(self.tokens))
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
            .await
            .map_err(|error| {
                Error::new(
                    ErrorKind::Unreachable,
                    "the worker takes no more connections",
                )
                .because(error)
            })
    }
}

/// The session of a task: the engine's functions, settings and memory.
struct WorkerSession {
    state: SessionState,
    files: ReadableFiles,
    tasks: TaskCount,
}

#[async_trait]
impl WorkerSessionBuilder for WorkerSession {
    async fn build_session_state(
        &self,
        context: WorkerQueryContext,
    ) -> Result<SessionState, DataFusionError> {
        self.tasks.0.fetch_add(1, Ordering::Relaxed);
        let mut builder = context.builder;
        let mut config = builder.config().take().unwrap_or_default();
        let mut state = self.state.clone();
        // What the library says of the task stays; all else is as in this process.
        let mut options = ConfigOptions::clone(state.config().options());
        options.extensions = std::mem::take(&mut config.options_mut().extensions);
        *config.options_mut() = options;
        let resumed = ResumedPlans {
            files: self.files.clone(),
        };
        *state.config_mut() = config
            .with_distributed_user_codec(StepCodec)
            .with_distributed_worker_plan_rewrite_handler(resumed);
        Ok(state)
    }
}

/// Plans that were sent, as this process runs them.
struct ResumedPlans {
    files: ReadableFiles,
}

impl WorkerPlanRewriteHandler for ResumedPlans {
    fn rewrite_worker_plan(
        &self,
        event: WorkerPlanRewriteEvent<'_>,
    ) -> Result<WorkerPlanRewriteEventResponse> {
        self.files.check(&event.plan)?;
        let options = event.session_config.options();
        let plan = resumed_plan(event.plan, options)?;
        Ok(WorkerPlanRewriteEventResponse::new(plan))
    }
}
