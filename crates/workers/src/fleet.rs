//! The workers that a coordinator knows, and which of them answer.
//!
//! Invariant: a worker is asked for its version before each part that it is sent, since it may be another process than before; one of another version, or one that does not let this
//! coordinator in, is an error with its name. One that cannot be reached is left out for a while.

use crate::VERSION;
use crate::address::WorkerAddress;
use crate::channel::{LostWorker, NamedChannel, connection};
use crate::trust::WorkerTrust;
use async_trait::async_trait;
use datafusion::common::{DataFusionError, internal_datafusion_err};
use datafusion_distributed::grpc::BoxCloneSyncChannel;
use datafusion_distributed::{ChannelResolver, GetWorkerInfoRequest, WorkerChannel};
use futures::future::join_all;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tillhouse_model::{Error, ErrorKind, Result};
use tonic::Code;
use url::Url;

/// Time in which a worker has to say its version.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Time for which a lost worker is left alone.
const LEFT_OUT_FOR: Duration = Duration::from_secs(30);

/// Workers of a coordinator. Copies are one fleet.
#[derive(Clone)]
pub struct WorkerFleet {
    workers: Arc<[KnownWorker]>,
}

impl fmt::Debug for WorkerFleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.workers.iter().map(|worker| worker.address.name());
        f.debug_list().entries(names).finish()
    }
}

struct KnownWorker {
    address: WorkerAddress,
    url: Url,
    channel: BoxCloneSyncChannel,
    /// The last time that it did not answer.
    lost_at: Mutex<Option<Instant>>,
}

impl WorkerFleet {
    /// Workers at these addresses. Nothing is sent yet. It has to be called within a runtime.
    ///
    /// Errors with [`ErrorKind::Config`] for one on another machine without a token and certificates, and for certificates that cannot be used.
    ///
    /// ```
    /// use tillhouse_workers::{WorkerAddress, WorkerFleet, WorkerTrust};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let local: [WorkerAddress; 1] = ["127.0.0.1:7433".parse()?];
    /// assert!(WorkerFleet::new(&local, &WorkerTrust::default()).is_ok());
    /// let other: [WorkerAddress; 1] = ["10.0.0.2:7433".parse()?];
    /// assert!(WorkerFleet::new(&other, &WorkerTrust::default()).is_err());
    /// # Ok::<(), tillhouse_model::Error>(()) }).unwrap();
    /// ```
    pub fn new(addresses: &[WorkerAddress], trust: &WorkerTrust) -> Result<Self> {
        let mut workers: Vec<KnownWorker> = Vec::with_capacity(addresses.len());
        for address in addresses {
            trust.check_worker(address)?;
            let url = address.url(trust.tls.is_some())?;
            if workers.iter().any(|known| known.url == url) {
                continue;
            }
            workers.push(KnownWorker {
                address: address.clone(),
                url,
                channel: connection(address, trust)?,
                lost_at: Mutex::default(),
            });
        }
        Ok(Self {
            workers: workers.into(),
        })
    }

    /// Asks every worker for its version, before there is a question.
    ///
    /// Errors with [`ErrorKind::Config`] for one of another version, and with [`ErrorKind::Unauthorized`] for one that does not let this coordinator in. One that cannot be reached is none: it
    /// is warned of, and left out.
    pub async fn check(&self) -> Result<()> {
        self.answering().await.map(drop)
    }

    /// Workers that answer, by their URLs. Errors as [`Self::check`] does.
    pub(crate) async fn answering(&self) -> Result<Vec<Url>> {
        let asked = self.workers.iter().map(KnownWorker::is_ready);
        let mut answering = Vec::new();
        for (worker, is_ready) in self.workers.iter().zip(join_all(asked).await) {
            if is_ready? {
                answering.push(worker.url.clone());
            }
        }
        Ok(answering)
    }

    /// Leaves a worker out for a while.
    pub(crate) fn lose(&self, lost: &LostWorker) {
        let named = self.workers.iter();
        for worker in named.filter(|worker| *worker.address.name() == lost.name) {
            worker.lose();
        }
    }

    /// Number of workers, whether they answer or not.
    pub(crate) fn count(&self) -> usize {
        self.workers.len()
    }
}

impl KnownWorker {
    fn lost_at(&self) -> MutexGuard<'_, Option<Instant>> {
        self.lost_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self) {
        *self.lost_at() = Some(Instant::now());
    }

    /// True if the worker answers now, as this version.
    async fn is_ready(&self) -> Result<bool> {
        let lost_at = *self.lost_at();
        if lost_at.is_some_and(|at| at.elapsed() < LEFT_OUT_FOR) {
            return Ok(false);
        }
        let mut client = NamedChannel::new(self.address.name(), self.channel.clone());
        let asked = client.get_worker_info(GetWorkerInfoRequest {});
        let name = self.address.name();
        let told = match tokio::time::timeout(ANSWER_WITHIN, asked).await {
            Ok(Ok(told)) => told,
            Ok(Err(error)) => return self.refused(&error),
            Err(_) => return Ok(self.left_out("it does not answer")),
        };
        match told.version == VERSION {
            true => {
                *self.lost_at() = None;
                Ok(true)
            }
            false => Err(Error::config(format!(
                "worker {name} is version {}, and this is {VERSION}",
                told.version
            ))
            .hint("Run the same version on all machines.")),
        }
    }

    /// Outcome of a worker's refusal to say its version.
    fn refused(&self, error: &DataFusionError) -> Result<bool> {
        match LostWorker::of(error) {
            Some(lost) if lost.code == Code::Unauthenticated => Err(Error::new(
                ErrorKind::Unauthorized,
                format!("worker {} does not let this machine in", self.address),
            )
            .hint("TILLHOUSE_WORKERS_TOKEN must be the same on all machines.")),
            Some(lost) => Ok(self.left_out(&lost.why)),
            None => Ok(self.left_out(&error.to_string())),
        }
    }

    fn left_out(&self, why: &str) -> bool {
        tracing::warn!("worker {} is left out: {why}", self.address);
        self.lose();
        false
    }
}

#[async_trait]
impl ChannelResolver for WorkerFleet {
    async fn get_worker_client_for_url(
        &self,
        url: &Url,
    ) -> Result<Box<dyn WorkerChannel>, DataFusionError> {
        let known = self.workers.iter().find(|worker| worker.url == *url);
        let worker = known.ok_or_else(|| internal_datafusion_err!("no worker has this URL"))?;
        let channel = NamedChannel::new(worker.address.name(), worker.channel.clone());
        Ok(Box::new(channel))
    }
}
