//! Queries that end when they are asked to, also where none of their steps ever waits for anything.
//!
//! Invariant: once a query was asked to stop, no source and no join of its plan gives another batch, and no condition of a join is
//! evaluated on another one: the query ends with an error of [`ErrorKind::Interrupted`], whatever it was asked for, on all threads
//! that it runs on. Until then its rows are those that it would give anyhow. Where a batch is made it gives way to others too, so that
//! whoever waits for it in the same task can give it up. A join of which no row passes makes none: that one is asked from another thread.
//!
//! ```text
//!   Aggregate                    counts batch after batch, and asks nobody
//!     Stoppable                  has it been asked to stop? ─> error
//!       NestedLoopJoin on F      F: has it been asked to stop? ─> error, also where no row of a million passes F
//!         Stoppable ─ scan
//!         Stoppable ─ scan
//! ```
//!
//! Not stopped before it has ended: a piece of work between two batches. That is the work of one function on one batch, also on one
//! long list or text; the sort of rows that fit into memory; the planning of a query; and a hash join whose rows are only looked for
//! (`IN`, `EXISTS`) and stand there a million times over.
//!
//! Rejected: tokio's own budget alone, which is spent by sources. A join makes a million batches of two of its inputs', and comes to
//! no source meanwhile. And a thread that is ended from without, which Rust does not have.

use crate::one_input::one_input;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::unnest::UnnestExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};
use futures::{Stream, StreamExt, stream};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tillhouse_model::{Error, ErrorKind};

tokio::task_local! {
    /// The flag of the work that queries are begun in.
    static OF_WORK: StopFlag;
}

/// A wish that queries stop. Copies are one flag; it is never taken back.
///
/// ```
/// # use tillhouse_query::{QueryEngine, QueryEngineOptions, StopFlag, collect, stoppable};
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let session = QueryEngine::new(QueryEngineOptions::default())?.empty_session()?;
/// let stop = StopFlag::default();
/// let query = stoppable(stop.clone(), session.query("SELECT count(*) FROM range(0, 10)")).await?;
/// stop.stop();
/// assert!(collect(query).await.is_err());
/// # Ok::<(), tillhouse_model::Error>(()) }).unwrap();
/// ```
#[derive(Debug, Clone, Default)]
pub struct StopFlag(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    is_set: AtomicBool,
    /// The flag of the work that the query is part of.
    of_work: Option<StopFlag>,
}

impl StopFlag {
    /// Asks all queries to stop that were begun under this flag, from any thread.
    pub fn stop(&self) {
        self.0.is_set.store(true, Ordering::Relaxed);
    }

    /// True once they were asked.
    pub fn is_stopped(&self) -> bool {
        let of_work = self.0.of_work.as_ref();
        self.0.is_set.load(Ordering::Relaxed) || of_work.is_some_and(Self::is_stopped)
    }

    /// The flag of a query that begins: its own, and that of the work around it.
    pub(crate) fn of_query() -> Self {
        Self(Arc::new(Flag {
            is_set: AtomicBool::new(false),
            of_work: OF_WORK.try_with(Self::clone).ok(),
        }))
    }
}

/// Awaits work whose queries stop once the flag is set: those that it begins by itself, not in tasks that it spawns.
pub async fn stoppable<T>(stop: StopFlag, work: impl Future<Output = T>) -> T {
    OF_WORK.scope(stop, work).await
}

fn stopped() -> DataFusionError {
    DataFusionError::External(Box::new(Error::new(
        ErrorKind::Interrupted,
        "the query was stopped",
    )))
}

/// A plan that is about to run, held to a flag. EXPLAIN shows it without; EXPLAIN ANALYZE, which runs it, shows what it ran.
pub(crate) fn held_to(
    plan: Arc<dyn ExecutionPlan>,
    stop: &StopFlag,
) -> Result<Arc<dyn ExecutionPlan>> {
    let done = plan.transform_up(|node| {
        let node = match with_checked_filter(&node, stop)? {
            Some(checked) => checked,
            None => node,
        };
        // A source, a join or a union, and what makes many rows of one.
        let makes_rows = node.children().len() != 1 || node.downcast_ref::<UnnestExec>().is_some();
        if !makes_rows {
            return Ok(Transformed::no(node));
        }
        let (input, stop) = (node, stop.clone());
        Ok(Transformed::yes(
            Arc::new(StoppableExec { input, stop }) as Arc<dyn ExecutionPlan>
        ))
    });
    Ok(done?.data)
}

/// A join with a condition that asks the flag; `None` for what has none.
fn with_checked_filter(
    node: &Arc<dyn ExecutionPlan>,
    stop: &StopFlag,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let checked = |filter: &JoinFilter| {
        let condition = StoppableCondition {
            inner: Arc::clone(filter.expression()),
            stop: stop.clone(),
        };
        let (columns, schema) = (filter.column_indices().to_vec(), filter.schema());
        JoinFilter::new(Arc::new(condition), columns, Arc::clone(schema))
    };
    if let Some(join) = node.downcast_ref::<NestedLoopJoinExec>()
        && let Some(filter) = join.filter()
    {
        let join = NestedLoopJoinExecBuilder::from(join).with_filter(Some(checked(filter)));
        return Ok(Some(Arc::new(join.build()?)));
    }
    if let Some(join) = node.downcast_ref::<HashJoinExec>()
        && let Some(filter) = join.filter()
    {
        let join = join.builder().with_filter(Some(checked(filter)));
        return join.build_exec().map(Some);
    }
    Ok(None)
}

/// The batches of its input, until the query is asked to stop.
#[derive(Debug)]
struct StoppableExec {
    input: Arc<dyn ExecutionPlan>,
    stop: StopFlag,
}

impl DisplayAs for StoppableExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stoppable")
    }
}

impl StoppableExec {
    fn over(&self, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let stop = self.stop.clone();
        Arc::new(Self { input, stop })
    }
}

impl ExecutionPlan for StoppableExec {
    fn name(&self) -> &'static str {
        "Stoppable"
    }

    one_input!(input);

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let stop = self.stop.clone();
        let mut rest = Some(make_cooperative(self.input.execute(partition, context)?));
        let held = stream::poll_fn(move |context| match &mut rest {
            Some(batches) if !stop.is_stopped() => batches.poll_next_unpin(context),
            // The error comes once, and what the input holds is given back with it.
            _ => Poll::Ready(rest.take().map(|_| Err(stopped()))),
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), held)))
    }
}

/// A condition that fails once the query is asked to stop.
#[derive(Debug)]
struct StoppableCondition {
    inner: Arc<dyn PhysicalExpr>,
    stop: StopFlag,
}

impl PartialEq for StoppableCondition {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for StoppableCondition {}

impl Hash for StoppableCondition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for StoppableCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

impl PhysicalExpr for StoppableCondition {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        match self.stop.is_stopped() {
            true => Err(stopped()),
            false => self.inner.evaluate(batch),
        }
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let stop = self.stop.clone();
        match children.into_iter().next() {
            Some(inner) => Ok(Arc::new(Self { inner, stop })),
            None => Ok(self),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

/// Streams of one query: once all are dropped, what still runs for them on other threads stops.
pub(crate) fn until_dropped(
    streams: impl IntoIterator<Item = SendableRecordBatchStream>,
    stop: StopFlag,
) -> Vec<SendableRecordBatchStream> {
    let wanted = Arc::new(Wanted(stop));
    let wanted = |batches| WantedStream {
        batches,
        _wanted: Arc::clone(&wanted),
    };
    let streams = streams.into_iter();
    streams
        .map(|batches| Box::pin(wanted(batches)) as SendableRecordBatchStream)
        .collect()
}

/// Somebody who wants the rows of a query.
struct Wanted(StopFlag);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct WantedStream {
    batches: SendableRecordBatchStream,
    _wanted: Arc<Wanted>,
}

impl Stream for WantedStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_next_unpin(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.batches.size_hint()
    }
}

impl RecordBatchStream for WantedStream {
    fn schema(&self) -> SchemaRef {
        self.batches.schema()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{QueryEngine, QueryEngineOptions, Session, collect, execute_partitioned};
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;
    use arrow::util::display::array_value_to_string;
    use std::sync::mpsc;
    use std::time::Duration;
    use tokio::runtime::{Builder, Runtime};

    /// Time after which a query that was asked to stop goes on for good.
    const LIMIT: Duration = Duration::from_secs(60);

    /// Queries that take days, and in which nothing is waited for: rows that are counted, rows of which none passes, in one partition and in several.
    const ENDLESS: [&str; 7] = [
        "SELECT count(*) FILTER (WHERE a.value + b.value > c.value) FROM range(0, 1000000) a CROSS JOIN range(0, 1000000) b CROSS JOIN range(0, 1000000) c",
        "SELECT count(*) FROM range(0, 1000000) a JOIN range(0, 1000000) b ON a.value + b.value < 0 JOIN range(0, 1000000) c ON a.value + c.value < 0",
        "SELECT count(*) FROM range(0, 1000000) a JOIN range(0, 1000000) b ON a.value % 2 = b.value % 2 AND a.value + b.value < 0",
        "SELECT count(*) FROM range(0, 1000000) a LEFT JOIN range(0, 1000000) b ON a.value + b.value < 0",
        "SELECT sum(a.value + b.value) FROM range(0, 1000000) a, range(0, 1000000) b WHERE a.value <> b.value GROUP BY a.value % 7",
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n % 1000 + 1 FROM r) SELECT count(*) FROM r",
        "SELECT a.value FROM range(0, 1000000) a, range(0, 1000000) b WHERE a.value + b.value < 0 UNION ALL SELECT 1 FROM range(0, 10)",
    ];

    fn session(threads: usize) -> Session {
        let options = QueryEngineOptions {
            threads,
            ..QueryEngineOptions::default()
        };
        QueryEngine::new(options).unwrap().empty_session().unwrap()
    }

    /// Outcome of work on a thread of its own, which may be one that never gives way.
    fn on_thread<T: Send + 'static>(
        sql: &str,
        work: impl FnOnce(&Runtime) -> T + Send + 'static,
    ) -> T {
        let (done, outcome) = mpsc::channel();
        std::thread::spawn(move || {
            let mut threads = Builder::new_multi_thread();
            let runtime = threads.worker_threads(2).enable_all().build().unwrap();
            done.send(work(&runtime)).ok();
        });
        let outcome = outcome.recv_timeout(LIMIT);
        outcome.unwrap_or_else(|_| panic!("{sql} goes on"))
    }

    #[test]
    fn a_query_that_never_gives_way_ends_when_it_is_asked_to() {
        for sql in ENDLESS {
            let stop = StopFlag::default();
            let (begun, has_begun) = mpsc::channel::<()>();
            // Whoever asks it to stop has a thread of its own.
            let flag = stop.clone();
            let asking = std::thread::spawn(move || {
                has_begun.recv().ok();
                flag.stop();
            });
            let outcome = on_thread(sql, move |runtime| {
                runtime.block_on(stoppable(stop, async {
                    let session = session(4);
                    let stream = session.query(sql).await?;
                    begun.send(()).ok();
                    collect(stream).await.map(drop)
                }))
            });
            assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Interrupted, "{sql}");
            asking.join().unwrap();
        }
    }

    #[test]
    fn a_query_that_makes_batches_gives_way_to_whoever_gives_it_up() {
        for sql in [ENDLESS[0], ENDLESS[4], ENDLESS[5]] {
            let is_given_up = on_thread(sql, move |runtime| {
                runtime.block_on(async {
                    let session = session(1);
                    let running = async { collect(session.query(sql).await?).await };
                    // The same task: it hears of the end of its time only where the query gives way.
                    let limited = tokio::time::timeout(Duration::from_millis(50), running);
                    limited.await.is_err()
                })
            });
            assert!(is_given_up, "{sql}");
        }
    }

    #[tokio::test]
    async fn what_nobody_wants_any_more_is_asked_to_stop_and_its_sisters_are_not() {
        let stop = StopFlag::of_query();
        let frame = |sql: &'static str| async move { session(1).frame(sql, &[]).await.unwrap() };
        let streams = execute_partitioned(frame("SELECT 1").await).await.unwrap();
        let more = execute_partitioned(frame("SELECT 2").await).await.unwrap();
        let mut streams = until_dropped(streams.into_iter().chain(more), stop.clone());
        assert_eq!(streams.len(), 2);
        assert!(collect(streams.remove(0)).await.is_ok());
        assert!(!stop.is_stopped(), "another is wanted");
        assert!(collect(streams.remove(0)).await.is_ok());
        assert!(stop.is_stopped());
    }

    #[tokio::test]
    async fn a_query_that_nobody_stops_gives_its_rows() {
        let sql = "SELECT count(*), sum(a.value) FROM range(0, 100) a JOIN range(0, 100) b ON a.value % 2 = b.value % 2 AND a.value < b.value";
        let rows = collect(session(2).query(sql).await.unwrap()).await.unwrap();
        let pairs = rows[0].column(0).as_primitive::<Int64Type>().value(0);
        // Of each pair of numbers that are both even, or both odd, the smaller: 2 times 50 * 49 / 2 pairs.
        assert_eq!(pairs, 2_450);
        let sum: i64 = (0..100).map(|n| n * ((99 - n) / 2)).sum();
        let shown = array_value_to_string(rows[0].column(1), 0).unwrap();
        assert_eq!(shown, sum.to_string());
    }
}
