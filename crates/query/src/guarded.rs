//! Queries in which a text or a list grows larger than a column can hold.
//!
//! Invariant: that is an error of the query, in one line; any other panic goes on its way. Arrow counts the bytes of a column in 31 bits, and some of its functions and
//! DataFusion's panic where they do not suffice, on whichever thread they run. So whatever plans or runs goes through here.

use crate::column_size;
use crate::failure::into_error;
use crate::placement;
use crate::stopping::{self, StopFlag};
use datafusion::common::{DataFusionError, internal_datafusion_err};
use datafusion::dataframe::DataFrame;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{ExecutionPlan, execute_stream, execute_stream_partitioned};
use futures::{StreamExt, future, stream};
use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::sync::{Arc, Once};
use std::task::Poll;

type Result<T> = std::result::Result<T, DataFusionError>;

/// The name of Tokio's threads. A panic there ends a task, and whoever waits for the task is told.
const WORKER: &str = "tokio-rt-worker";

thread_local! {
    /// Pieces of guarded work that this thread is in.
    static GUARDED: Cell<usize> = const { Cell::new(0) };
}

/// Keeps a panic that becomes an error from being written to standard error with its backtrace. Elsewhere it is written as any other.
pub(crate) fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            let is_caught = GUARDED.get() > 0 || std::thread::current().name() == Some(WORKER);
            let file = panicked.location().map_or("", |at| at.file());
            let is_of_library = ["/arrow-", "/datafusion-", "/alloc/src/"]
                .iter()
                .any(|library| file.contains(library));
            if !(is_caught && is_of_library && is_of_size(panicked.payload())) {
                loud(panicked);
            }
        }));
    });
}

fn text_of(payload: &(dyn Any + Send)) -> Option<&str> {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
}

fn is_of_size(payload: &(dyn Any + Send)) -> bool {
    text_of(payload).is_some_and(column_size::is_of_panic)
}

fn caught(payload: Box<dyn Any + Send>) -> DataFusionError {
    if is_of_size(payload.as_ref()) {
        return DataFusionError::External(Box::new(column_size::too_large(None)));
    }
    panic::resume_unwind(payload)
}

/// Runs a piece of guarded work.
pub(crate) fn call<T>(work: impl FnOnce() -> T) -> Result<T> {
    GUARDED.set(GUARDED.get() + 1);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(GUARDED.get() - 1);
    done.map_err(caught)
}

/// Awaits guarded work.
pub(crate) async fn wait<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut work = pin!(work);
    future::poll_fn(|context| {
        let polled = call(|| work.as_mut().poll(context));
        polled.unwrap_or_else(|error| Poll::Ready(Err(error)))
    })
    .await
}

/// The batches of a stream, which ends with the first panic that becomes an error.
pub(crate) fn batches(stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let (schema, mut rest) = (stream.schema(), Some(stream));
    let batches = stream::poll_fn(move |context| {
        let Some(stream) = &mut rest else {
            return Poll::Ready(None);
        };
        call(|| stream.poll_next_unpin(context)).unwrap_or_else(|error| {
            rest = None;
            Poll::Ready(Some(Err(error)))
        })
    });
    Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&schema), batches))
}

/// A plan as it runs: parts of it where the session's settings place them, all of it held to a flag.
fn ready(
    plan: Arc<dyn ExecutionPlan>,
    context: &TaskContext,
    stop: &StopFlag,
) -> Result<Arc<dyn ExecutionPlan>> {
    stopping::held_to(placement::placed(plan, context)?, stop)
}

/// Plans and starts a query. It stops once it is asked to, and once its stream is dropped.
pub(crate) async fn run(frame: DataFrame) -> Result<SendableRecordBatchStream> {
    let (context, stop) = (Arc::new(frame.task_ctx()), StopFlag::of_query());
    let started = wait(async {
        let plan = ready(frame.create_physical_plan().await?, &context, &stop)?;
        execute_stream(plan, context)
    });
    let stream = batches(started.await?);
    let mut streams = stopping::until_dropped([stream], stop);
    streams
        .pop()
        .ok_or_else(|| internal_datafusion_err!("a query has a stream"))
}

/// Plans and starts a query that was put together from expressions. The stream's errors are DataFusion's; [`into_error`] makes them ours.
///
/// Errors as [`crate::Session::query`] does.
///
/// ```
/// # use tillhouse_query::{QueryEngine, QueryEngineOptions, collect, execute};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let session = QueryEngine::new(QueryEngineOptions::default())?.empty_session()?;
/// let frame = session.frame("SELECT 1 AS n", &[]).await?;
/// assert_eq!(collect(execute(frame).await?).await?[0].num_rows(), 1);
/// # Ok::<(), tillhouse_model::Error>(()) }).unwrap();
/// ```
pub async fn execute(frame: DataFrame) -> tillhouse_model::Result<SendableRecordBatchStream> {
    run(frame).await.map_err(into_error)
}

/// As [`execute`], with a stream for each partition of the query.
pub async fn execute_partitioned(
    frame: DataFrame,
) -> tillhouse_model::Result<Vec<SendableRecordBatchStream>> {
    execute_step(frame, Ok).await
}

/// As [`execute_partitioned`], of a query with one more step on top, which SQL has no word for.
pub async fn execute_step(
    frame: DataFrame,
    step: impl FnOnce(Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>>,
) -> tillhouse_model::Result<Vec<SendableRecordBatchStream>> {
    let (context, stop) = (Arc::new(frame.task_ctx()), StopFlag::of_query());
    let started = wait(async {
        let plan = step(frame.create_physical_plan().await?)?;
        let plan = ready(plan, &context, &stop)?;
        execute_stream_partitioned(plan, context)
    });
    let streams = started.await.map_err(into_error)?.into_iter();
    Ok(stopping::until_dropped(streams.map(batches), stop))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Schema;
    use tillhouse_model::ErrorKind;

    #[test]
    fn another_panic_is_not_swallowed() {
        let other = panic::catch_unwind(|| caught(Box::new("index out of bounds")));
        assert!(other.is_err());
        assert!(into_error(caught(Box::new("offset overflow"))).kind() == ErrorKind::Query);
    }

    #[tokio::test]
    async fn a_panic_of_size_is_an_error_wherever_it_comes_up() {
        let is_of_size = |error: DataFusionError| into_error(error).message().contains("2 GiB");
        let called: Result<()> = call(|| panic!("capacity overflow"));
        assert!(is_of_size(called.unwrap_err()));
        let waited: Result<()> = wait(async { panic!("overflow") }).await;
        assert!(is_of_size(waited.unwrap_err()));
        let failing = stream::once(async { panic!("byte array offset overflow") });
        let schema = Arc::new(Schema::empty());
        let mut rest = batches(Box::pin(RecordBatchStreamAdapter::new(schema, failing)));
        assert!(is_of_size(rest.next().await.unwrap().unwrap_err()));
        assert!(
            rest.next().await.is_none(),
            "the stream ends with its panic"
        );
        assert_eq!(GUARDED.get(), 0);
    }
}
