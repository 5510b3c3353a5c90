//! Connection to a worker, whose failures name the worker.
//!
//! Invariant: an error of the connection is a [`LostWorker`] with the worker's name; an error that the worker gives of the work itself goes through as it is.

use crate::address::WorkerAddress;
use crate::trust::WorkerTrust;
use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_distributed::grpc::{BoxCloneSyncChannel, create_worker_client};
use datafusion_distributed::{
    CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse,
    SetPlanRequest, WorkerChannel, WorkerToCoordinatorMsg,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tillhouse_model::{Error, ErrorKind};
use tonic::body::Body;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tower::ServiceExt;

/// Time in which a connection has to be there.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Time after which a worker that says nothing is asked if it is still there, and the time that it has to say so.
const ARE_YOU_THERE: Duration = Duration::from_secs(10);
const I_AM: Duration = Duration::from_secs(10);

/// A worker that does not answer any more, or lets nobody in.
#[derive(Debug)]
pub(crate) struct LostWorker {
    pub(crate) name: Arc<str>,
    pub(crate) code: Code,
    pub(crate) why: String,
}

impl fmt::Display for LostWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {} was lost: {}", self.name, self.why)
    }
}

impl StdError for LostWorker {}

impl LostWorker {
    /// The worker that an error is about, anywhere among its causes.
    pub(crate) fn of<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(lost) = error.downcast_ref::<Self>() {
                return Some(lost);
            }
            next = error.source();
        }
        None
    }

    /// The error for whoever asked.
    pub(crate) fn to_error(&self) -> Error {
        Error::new(
            ErrorKind::Unreachable,
            format!("worker {} was lost", self.name),
        )
        .because(self.why.clone())
        .hint("Ask again: it is left out until it answers. Its log says what became of it.")
    }
}

/// An error of a worker's connection.
fn named(name: &Arc<str>, error: DataFusionError) -> DataFusionError {
    let status = match &error {
        DataFusionError::External(inner) => inner.downcast_ref::<Status>(),
        _ => None,
    };
    let Some(status) = status else {
        return error;
    };
    let mut why = status.message().to_owned();
    let mut source = status.source();
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    let (name, code) = (Arc::clone(name), status.code());
    DataFusionError::External(Box::new(LostWorker { name, code, why }))
}

/// The way to a worker. It is connected once something is sent, and anew after it was lost.
///
/// Errors with [`ErrorKind::Config`] for certificates that cannot be used. It has to be called within a runtime.
pub(crate) fn connection(
    address: &WorkerAddress,
    trust: &WorkerTrust,
) -> tillhouse_model::Result<BoxCloneSyncChannel> {
    let unusable = |error: tonic::transport::Error| {
        Error::config(format!("worker {address} cannot be connected to")).because(error)
    };
    let tls = trust.client_tls()?;
    let url = address.url(tls.is_some())?;
    let mut endpoint = Endpoint::from_shared(url.to_string())
        .map_err(unusable)?
        .connect_timeout(CONNECT_WITHIN)
        .http2_keep_alive_interval(ARE_YOU_THERE)
        .keep_alive_timeout(I_AM)
        .keep_alive_while_idle(true);
    if let Some(tls) = tls {
        endpoint = endpoint.tls_config(tls).map_err(unusable)?;
    }
    let header = trust.header()?;
    let shown = endpoint
        .connect_lazy()
        .map_request(move |mut request: http::Request<Body>| {
            if let Some(header) = &header {
                request.headers_mut().insert(AUTHORIZATION, header.clone());
            }
            request
        });
    Ok(BoxCloneSyncChannel::new(shown))
}

/// The library's client of a worker, with the worker's name in its errors.
pub(crate) struct NamedChannel {
    name: Arc<str>,
    client: Box<dyn WorkerChannel>,
}

impl NamedChannel {
    pub(crate) fn new(name: &Arc<str>, channel: BoxCloneSyncChannel) -> Self {
        Self {
            name: Arc::clone(name),
            client: create_worker_client(channel),
        }
    }
}

#[async_trait]
impl WorkerChannel for NamedChannel {
    async fn coordinator_channel(
        &mut self,
        headers: HeaderMap,
        set_plan_request: SetPlanRequest,
        c2w_stream: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        task_ctx: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        let name = Arc::clone(&self.name);
        let sent = self.client.coordinator_channel(
            headers,
            set_plan_request,
            c2w_stream,
            metrics,
            task_ctx,
        );
        let messages = sent.await.map_err(|error| named(&name, error))?;
        Ok(messages.map_err(move |error| named(&name, error)).boxed())
    }

    async fn execute_task(
        &mut self,
        headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        task_ctx: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let sent = self
            .client
            .execute_task(headers, request, metrics, task_ctx);
        let streams = sent.await.map_err(|error| named(&self.name, error))?;
        let streams = streams.into_iter().map(|batches| {
            let name = Arc::clone(&self.name);
            batches.map_err(move |error| named(&name, error)).boxed()
        });
        Ok(streams.collect())
    }

    async fn get_worker_info(
        &mut self,
        request: GetWorkerInfoRequest,
    ) -> Result<GetWorkerInfoResponse> {
        let asked = self.client.get_worker_info(request);
        asked.await.map_err(|error| named(&self.name, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_connection_names_the_worker_and_one_of_the_work_does_not() {
        let name: Arc<str> = "worker-1:7433".into();
        let status = DataFusionError::External(Box::new(Status::unavailable("gone")));
        let lost = DataFusionError::Shared(Arc::new(named(&name, status))).context("reading");
        let lost = LostWorker::of(&lost).unwrap();
        assert_eq!(lost.code, Code::Unavailable);
        let shown = lost.to_error().to_string();
        assert!(
            shown.contains("worker-1:7433") && shown.contains("gone"),
            "{shown}"
        );
        let work = DataFusionError::Execution("Divide by zero".to_owned());
        assert!(LostWorker::of(&named(&name, work)).is_none());
    }
}
