//! Work on a question: on a thread of its own, until it is done, takes too long, or nobody waits for it any more.
//!
//! Invariant: a question is planned and run with the stack that deep queries need, and nobody else waits with it. Whoever drops the
//! future that waits for the work, or the stream of its chunks, cancels the work, and so does the end of its time, to the last byte
//! that is made of it; its slot is free when it has ended. Queries have worker threads of their own, and a watch among those that
//! answer requests: where a query never gives way, whoever asked is answered in time all the same, and its plan is asked to stop
//! (`tillhouse_query::StopFlag`).

use crate::problem::Problem;
use crate::slots::TakenSlot;
use bytes::Bytes;
use futures::stream::{self, Stream, StreamExt};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tillhouse_model::{Error, ErrorKind};
use tillhouse_query::{DEEP_STACK, StopFlag, WORKER_STACK, stoppable};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Bytes of an answer that are gathered before the first of them is sent: what is whole by then has a length, and an error a status.
const GATHERED: usize = 4 << 20;
/// Chunks that wait for a reader.
const CHUNKS: usize = 4;

/// Outcome of work, as far as it is known when the first byte is due.
pub(crate) enum Delivered {
    /// All of it.
    Whole(WholeAnswer),
    /// It is larger than what is gathered: the rest follows.
    Stream(AnswerStream),
}

/// An answer that is complete.
#[derive(Debug, Clone)]
pub(crate) struct WholeAnswer {
    pub(crate) bytes: Bytes,
    pub(crate) rows: u64,
    /// Cursor of the next page, where there is one.
    pub(crate) next: Option<String>,
}

/// Chunks of an answer that is being made.
pub(crate) struct AnswerStream {
    chunks: mpsc::Receiver<Bytes>,
    _guard: DropGuard,
    /// Cancelled when the time of the answer is over.
    late: CancellationToken,
    rows: Arc<AtomicU64>,
    is_whole: Arc<AtomicBool>,
    /// Cursor of the next page, where there is one.
    pub(crate) next: Option<String>,
}

impl AnswerStream {
    /// Rows so far.
    pub(crate) fn rows(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.rows)
    }

    /// The chunks. Dropping them cancels the work. The last is an error where the answer was not made to its end, in time: the status was
    /// sent long ago, and the connection is broken off, so that nobody takes a part for the whole.
    pub(crate) fn into_chunks(self) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static {
        let broken = || Error::new(ErrorKind::Interrupted, "the answer was broken off");
        stream::unfold(Some(self), move |state| async move {
            let mut state = state?;
            let chunk = tokio::select! {
                biased;
                chunk = state.chunks.recv() => chunk,
                // What makes them may be stuck in one piece of work.
                () = state.late.cancelled() => return Some((Err(broken()), None)),
            };
            match chunk {
                Some(chunk) => Some((Ok(chunk), Some(state))),
                None if state.is_whole.load(Ordering::Acquire) => None,
                None => Some((Err(broken()), None)),
            }
        })
        // Compression asks once more behind the end.
        .fuse()
    }
}

/// Sink of an answer's bytes: gathered first, then sent chunk by chunk.
pub(crate) struct AnswerSink {
    gathered: Vec<u8>,
    first: Option<oneshot::Sender<Result<Delivered, Problem>>>,
    chunks: Option<mpsc::Sender<Bytes>>,
    rows: Arc<AtomicU64>,
    is_whole: Arc<AtomicBool>,
    next: Option<String>,
    most_rows: u64,
    /// Id of the request, for the log.
    id: String,
    ends: WorkEnds,
}

/// Ends that work may come to before it is done.
#[derive(Debug, Clone)]
pub(crate) struct WorkEnds {
    /// Cancelled when nobody waits any more.
    pub(crate) stop: CancellationToken,
    /// Cancelled when its time is over.
    pub(crate) late: CancellationToken,
    /// Time that it has, waiting for its turn with it.
    pub(crate) timeout: Duration,
    /// End of that time.
    pub(crate) until: Instant,
}

impl WorkEnds {
    pub(crate) fn of(limits: &WorkLimits) -> Self {
        Self::new(limits.stop.child_token(), limits.timeout, limits.until)
    }

    /// The ends of work that stops with a token, and has a time until then.
    pub(crate) fn new(stop: CancellationToken, timeout: Duration, until: Instant) -> Self {
        Self {
            stop,
            late: CancellationToken::new(),
            timeout,
            until,
        }
    }

    /// The problem of work whose time is over.
    pub(crate) fn too_slow(&self) -> Problem {
        Problem::too_slow(self.timeout.as_secs())
    }

    /// Outcome of work, or of the end that it comes to before it is done.
    pub(crate) async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        let limited = async {
            let done = self.late.run_until_cancelled(work).await;
            done.unwrap_or_else(|| Err(self.too_slow()))
                // A query that was stopped at the end of its time says no more than that.
                .map_err(|problem| match self.late.is_cancelled() {
                    true => self.too_slow(),
                    false => problem,
                })
        };
        match self.stop.run_until_cancelled(limited).await {
            Some(outcome) => outcome,
            None => Err(Error::new(ErrorKind::Interrupted, "nobody waits for the answer").into()),
        }
    }

    /// Asks the queries of work to stop when it comes to one of its ends, unless it is over before. On a thread that answers requests:
    /// those always come to it.
    async fn watch(self, queries: StopFlag, over: CancellationToken) {
        tokio::select! {
            () = over.cancelled() => return,
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep_until(self.until) => self.late.cancel(),
        }
        queries.stop();
    }
}

/// Counts rows of an answer. Errors where there are more than one may have.
pub(crate) fn count_rows(counted: &AtomicU64, rows: usize, most: u64) -> Result<(), Error> {
    let rows = u64::try_from(rows).unwrap_or(u64::MAX);
    let before = counted.fetch_add(rows, Ordering::Relaxed);
    match before.saturating_add(rows) > most {
        false => Ok(()),
        true => Err(Error::config(format!(
            "the answer has more than the {most} rows that one may have"
        ))
        .hint("Ask for less at a time, with LIMIT or a shorter period. serve.rows in tillhouse.yaml is the limit.")),
    }
}

impl AnswerSink {
    /// Counts rows of the answer. Errors where there are more than one may have.
    pub(crate) fn count(&self, rows: usize) -> Result<(), Error> {
        count_rows(&self.rows, rows, self.most_rows)
    }

    /// Condition that holds once nobody waits for the answer any more, or its time is over: for work that awaits nothing.
    pub(crate) fn is_stopping(&self) -> impl Fn() -> bool + Send + use<> {
        let WorkEnds { stop, late, .. } = self.ends.clone();
        move || stop.is_cancelled() || late.is_cancelled()
    }

    /// Says where the next page begins; before the first byte of this one is written.
    pub(crate) fn continue_at(&mut self, next: Option<String>) {
        self.next = next;
    }

    /// Writes bytes; false when nobody reads on.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> bool {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() < GATHERED {
            return true;
        }
        self.send().await
    }

    /// Sends what was gathered.
    async fn send(&mut self) -> bool {
        let chunk = Bytes::from(std::mem::take(&mut self.gathered));
        if let Some(first) = self.first.take() {
            let (sender, chunks) = mpsc::channel(CHUNKS);
            self.chunks = Some(sender);
            let stream = AnswerStream {
                chunks,
                _guard: self.ends.stop.clone().drop_guard(),
                late: self.ends.late.clone(),
                rows: Arc::clone(&self.rows),
                is_whole: Arc::clone(&self.is_whole),
                next: self.next.clone(),
            };
            if first.send(Ok(Delivered::Stream(stream))).is_err() {
                return false;
            }
        }
        match &self.chunks {
            Some(chunks) => chunks.send(chunk).await.is_ok(),
            None => false,
        }
    }

    /// Sends what is left of an answer of which a part was sent.
    async fn flush(&mut self) {
        if self.first.is_none() && !self.gathered.is_empty() {
            self.send().await;
        }
    }

    /// Ends the answer.
    fn finish(mut self, outcome: Result<(), Problem>) {
        let Some(first) = self.first.take() else {
            match outcome {
                Ok(()) => self.is_whole.store(true, Ordering::Release),
                Err(problem) => {
                    let why = problem.for_log();
                    tracing::warn!(id = %self.id, "an answer was broken off: {why}");
                }
            }
            return;
        };
        let rows = self.rows.load(Ordering::Relaxed);
        let whole = WholeAnswer {
            bytes: Bytes::from(std::mem::take(&mut self.gathered)),
            rows,
            next: self.next.take(),
        };
        let delivered = outcome.map(|()| Delivered::Whole(whole));
        // Nobody waits any more where the client has left.
        let _ = first.send(delivered);
    }
}

/// Limits of one piece of work.
#[derive(Debug, Clone)]
pub(crate) struct WorkLimits {
    /// Id of the request, for the log.
    pub(crate) id: String,
    /// Time that it has, waiting for its turn with it.
    pub(crate) timeout: Duration,
    /// End of that time.
    pub(crate) until: Instant,
    pub(crate) rows: u64,
    /// Cancelled when the server stops and waits no longer.
    pub(crate) stop: CancellationToken,
}

impl WorkLimits {
    /// The problem of work whose time is over.
    pub(crate) fn too_slow(&self) -> Problem {
        Problem::too_slow(self.timeout.as_secs())
    }
}

/// Runs work that writes an answer.
///
/// Errors with 504 where it takes too long.
pub(crate) async fn run<F>(
    slot: TakenSlot,
    limits: WorkLimits,
    work: F,
) -> Result<Delivered, Problem>
where
    F: AsyncFnOnce(&mut AnswerSink) -> Result<(), Problem> + Send + 'static,
{
    let ends = WorkEnds::of(&limits);
    let guard = ends.stop.clone().drop_guard();
    let (first, outcome) = oneshot::channel();
    let sink = AnswerSink {
        gathered: Vec::new(),
        first: Some(first),
        chunks: None,
        rows: Arc::default(),
        is_whole: Arc::default(),
        next: None,
        most_rows: limits.rows,
        id: limits.id,
        ends: ends.clone(),
    };
    let own = ends.clone();
    begin(slot, ends.clone(), async move || {
        until_done(sink, work, own).await
    })?;
    let delivered = tokio::select! {
        biased;
        outcome = outcome => match outcome {
            Ok(delivered) => delivered,
            Err(_) => Err(Problem::internal("the query engine failed")),
        },
        // Also where the work is stuck in one piece, and cannot say so.
        () = ends.late.cancelled() => Err(ends.too_slow()),
    };
    // A stream has a guard of its own.
    drop(guard.disarm());
    delivered
}

/// Runs work that finds something small, and waits for it.
///
/// Errors with 504 where it takes too long.
pub(crate) async fn find<T, F>(slot: TakenSlot, limits: &WorkLimits, work: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: AsyncFnOnce() -> Result<T, Problem> + Send + 'static,
{
    let ends = WorkEnds::of(limits);
    let _guard = ends.stop.clone().drop_guard();
    let (out, found) = oneshot::channel();
    let own = ends.clone();
    begin(slot, ends.clone(), async move || {
        // Nobody waits any more where the client has left.
        let _ = out.send(own.within(work()).await);
    })?;
    tokio::select! {
        biased;
        found = found => match found {
            Ok(found) => found,
            Err(_) => Err(Problem::internal("the query engine failed")),
        },
        () = ends.late.cancelled() => Err(ends.too_slow()),
    }
}

/// Begins work on a thread of its own. What it holds, as its slot, is dropped when it has ended; at its ends its queries are asked to stop.
pub(crate) fn begin<H, F>(held: H, ends: WorkEnds, work: F) -> Result<(), Problem>
where
    H: Send + 'static,
    F: AsyncFnOnce() + Send + 'static,
{
    let runtime = query_threads()?;
    let (queries, over) = (StopFlag::default(), CancellationToken::new());
    tokio::spawn(ends.watch(queries.clone(), over.clone()));
    let over = over.drop_guard();
    let job = move || {
        stand_back();
        let (_held, _over) = (held, over);
        runtime.block_on(stoppable(queries, work()));
    };
    let thread = std::thread::Builder::new()
        .name("question".to_owned())
        .stack_size(DEEP_STACK);
    thread
        .spawn(job)
        .map(drop)
        .map_err(|error| Problem::internal(format!("cannot start a thread: {error}")))
}

/// Queries give way to what else the machine does, such as a sync, and to the server's own answers: their threads are as nice as a batch job.
///
/// Only Linux tells threads apart here: elsewhere the whole server would stand back. A refusal, as of a sandbox, costs the courtesy alone.
fn stand_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, QUERY_NICENESS) {
        tracing::debug!(%error, "queries run at the server's own priority");
    }
}

/// Outcome of work that computes and waits for nothing, on a thread that stands back as those of queries do.
pub(crate) async fn computed<T, W>(work: W) -> Result<T, Problem>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    let done = query_threads()?.spawn_blocking(work).await;
    done.map_err(|error| Problem::internal(format!("work ended without an outcome: {error}")))
}

/// The niceness of threads that queries run on: what `nice` gives where nothing is said.
#[cfg(target_os = "linux")]
const QUERY_NICENESS: i32 = 10;

/// The threads that queries run on. They end with the process.
fn query_threads() -> Result<&'static Runtime, Problem> {
    static THREADS: OnceLock<std::io::Result<Runtime>> = OnceLock::new();
    let threads = THREADS.get_or_init(|| {
        Builder::new_multi_thread()
            .enable_all()
            .thread_name("query")
            .on_thread_start(stand_back)
            .thread_stack_size(WORKER_STACK)
            .build()
    });
    threads
        .as_ref()
        .map_err(|error| Problem::internal(format!("cannot start threads: {error}")))
}

async fn until_done<F>(mut sink: AnswerSink, work: F, ends: WorkEnds)
where
    F: AsyncFnOnce(&mut AnswerSink) -> Result<(), Problem>,
{
    let done = async {
        work(&mut sink).await?;
        sink.flush().await;
        Ok::<_, Problem>(())
    };
    let outcome = ends.within(done).await;
    sink.finish(outcome);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::{Claim, Slots, later};
    use axum::http::StatusCode;
    use tillhouse_query::{QueryEngine, QueryEngineOptions, collect};

    fn limits(timeout: Duration) -> WorkLimits {
        WorkLimits {
            id: "1".to_owned(),
            timeout,
            until: Instant::now() + timeout,
            rows: 10,
            stop: CancellationToken::new(),
        }
    }

    const LONG: Duration = Duration::from_secs(60);

    async fn until_free(slots: &Slots) {
        for _ in 0..6_000 {
            if slots.taken() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the slot is still taken");
    }

    #[tokio::test]
    async fn a_small_answer_is_whole_and_a_large_one_is_streamed() {
        let slots = Slots::new(1, 1);
        let slot = slots.take(Claim::GUEST, later()).await.unwrap();
        let delivered = run(slot, limits(LONG), async |sink: &mut AnswerSink| {
            sink.count(3)?;
            sink.continue_at(Some("next".to_owned()));
            sink.write(b"abc").await;
            Ok(())
        })
        .await;
        let Ok(Delivered::Whole(whole)) = delivered else {
            panic!("it is whole");
        };
        assert_eq!((&whole.bytes[..], whole.rows), (&b"abc"[..], 3));
        assert_eq!(whole.next.as_deref(), Some("next"));

        until_free(&slots).await;
        let slot = slots.take(Claim::GUEST, later()).await.unwrap();
        let delivered = run(slot, limits(LONG), async |sink: &mut AnswerSink| {
            for _ in 0..10 {
                sink.write(&vec![7; 1 << 20]).await;
            }
            Ok(())
        })
        .await;
        let Ok(Delivered::Stream(stream)) = delivered else {
            panic!("it is a stream");
        };
        let mut stream = Box::pin(stream.into_chunks());
        let chunks: Vec<_> = stream.as_mut().collect().await;
        // Whoever asks once more hears that it has ended.
        assert!(stream.next().await.is_none());
        let bytes: usize = chunks
            .iter()
            .map(|chunk| chunk.as_ref().unwrap().len())
            .sum();
        assert_eq!(bytes, 10 << 20);
        until_free(&slots).await;
    }

    #[tokio::test]
    async fn something_small_is_found_in_time_or_not_at_all() {
        let slots = Slots::new(1, 1);
        let slot = slots.take(Claim::GUEST, later()).await.unwrap();
        let found = find(slot, &limits(LONG), async || Ok(7)).await;
        assert_eq!(found.unwrap(), 7);
        until_free(&slots).await;
        let slot = slots.take(Claim::GUEST, later()).await.unwrap();
        let slow = find(slot, &limits(Duration::from_millis(20)), async || {
            std::future::pending::<()>().await;
            Ok(7)
        })
        .await;
        assert_eq!(slow.unwrap_err().status, StatusCode::GATEWAY_TIMEOUT);
        until_free(&slots).await;
    }

    #[tokio::test]
    async fn what_takes_too_long_or_has_too_many_rows_is_refused() {
        let slots = Slots::new(1, 1);
        let slot = slots.take(Claim::GUEST, later()).await.unwrap();
        let slow = run(
            slot,
            limits(Duration::from_millis(20)),
            async |_: &mut AnswerSink| {
                std::future::pending::<()>().await;
                Ok(())
            },
        )
        .await;
        assert_eq!(slow.err().unwrap().status, StatusCode::GATEWAY_TIMEOUT);
        until_free(&slots).await;
        let slot = slots.take(Claim::GUEST, later()).await.unwrap();
        let many = run(slot, limits(LONG), async |sink: &mut AnswerSink| {
            sink.count(11)?;
            Ok(())
        })
        .await;
        assert_eq!(many.err().unwrap().status, StatusCode::BAD_REQUEST);
        until_free(&slots).await;
    }

    #[tokio::test(start_paused = true)]
    async fn work_has_what_is_left_of_the_time_of_its_question() {
        let slots = Slots::new(1, 1);
        let began = Instant::now();
        let limits = limits(LONG);
        // The time that it waited for its turn.
        tokio::time::sleep(Duration::from_secs(50)).await;
        let slot = slots.take(Claim::GUEST, limits.until).await.unwrap();
        let slow = find(slot, &limits, async || {
            std::future::pending::<()>().await;
            Ok(7)
        })
        .await;
        assert_eq!(slow.unwrap_err().status, StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(began.elapsed().as_secs(), 60);
    }

    #[tokio::test]
    async fn who_leaves_frees_the_place() {
        let slots = Slots::new(1, 1);
        let slot = slots.take(Claim::GUEST, later()).await.unwrap();
        let waiting = run(slot, limits(LONG), async |_: &mut AnswerSink| {
            std::future::pending::<()>().await;
            Ok(())
        });
        let left = tokio::time::timeout(Duration::from_millis(20), waiting).await;
        assert!(left.is_err());
        until_free(&slots).await;

        let slot = slots.take(Claim::GUEST, later()).await.unwrap();
        let delivered = run(slot, limits(LONG), async |sink: &mut AnswerSink| {
            while sink.write(&vec![7; 1 << 20]).await {}
            Ok(())
        })
        .await;
        let Ok(Delivered::Stream(stream)) = delivered else {
            panic!("it is a stream");
        };
        drop(stream);
        until_free(&slots).await;
    }

    #[tokio::test]
    async fn a_part_is_never_taken_for_the_whole() {
        let slots = Slots::new(1, 1);
        let slot = slots.take(Claim::GUEST, later()).await.unwrap();
        let delivered = run(slot, limits(LONG), async |sink: &mut AnswerSink| {
            for rows in 0..10 {
                sink.count(rows)?;
                sink.write(&vec![7; 1 << 20]).await;
            }
            Ok(())
        })
        .await;
        let Ok(Delivered::Stream(stream)) = delivered else {
            panic!("it is a stream");
        };
        let chunks: Vec<_> = stream.into_chunks().collect().await;
        assert!(chunks.last().unwrap().is_err());
        until_free(&slots).await;
    }

    #[tokio::test]
    async fn a_stream_has_the_time_of_its_answer_and_no_more() {
        let slots = Slots::new(1, 1);
        // A busy machine may need more time to begin.
        let mut begun = None;
        for seconds in [1, 30] {
            let slot = slots.take(Claim::GUEST, later()).await.unwrap();
            let short = limits(Duration::from_secs(seconds));
            let delivered = run(slot, short, async |sink: &mut AnswerSink| {
                while sink.write(&vec![7; 1 << 20]).await {}
                Ok(())
            })
            .await;
            if let Ok(Delivered::Stream(stream)) = delivered {
                begun = Some(stream);
                break;
            }
            until_free(&slots).await;
        }
        let stream = begun.unwrap();
        let mut last = None;
        let mut chunks = Box::pin(stream.into_chunks());
        while let Some(chunk) = chunks.next().await {
            last = Some(chunk.is_err());
        }
        assert_eq!(last, Some(true), "it is broken off");
        until_free(&slots).await;
    }

    #[tokio::test]
    async fn work_that_is_stuck_is_answered_for_in_time_and_holds_its_slot_until_it_ends() {
        let slots = Slots::new(1, 1);
        let slot = slots.take(Claim::GUEST, later()).await.unwrap();
        let (free, freed) = std::sync::mpsc::channel::<()>();
        let short = limits(Duration::from_millis(20));
        let stuck = run(slot, short, async move |_: &mut AnswerSink| {
            freed.recv().ok();
            Ok(())
        });
        assert_eq!(
            stuck.await.err().unwrap().status,
            StatusCode::GATEWAY_TIMEOUT
        );
        assert_eq!(slots.taken(), 1);
        free.send(()).unwrap();
        until_free(&slots).await;
    }

    /// Queries of days that never give way.
    const ENDLESS: [&str; 2] = [
        "SELECT count(*) FILTER (WHERE a.value > b.value) FROM range(0, 1000000) a CROSS JOIN range(0, 1000000) b",
        "SELECT count(*) FROM range(0, 1000000) a JOIN range(0, 1000000) b ON a.value + b.value < 0",
    ];

    async fn count(sql: &str) -> Result<(), Problem> {
        let engine = QueryEngine::new(QueryEngineOptions::default())?;
        let rows = engine.empty_session()?.query(sql).await?;
        collect(rows).await?;
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_query_that_never_gives_way_ends_with_its_time_and_with_its_client() {
        let slots = Slots::new(1, 1);
        for sql in ENDLESS {
            let slot = slots.take(Claim::GUEST, later()).await.unwrap();
            let short = limits(Duration::from_millis(200));
            let slow = run(slot, short, async move |_: &mut AnswerSink| {
                count(sql).await
            })
            .await;
            assert_eq!(
                slow.err().unwrap().status,
                StatusCode::GATEWAY_TIMEOUT,
                "{sql}"
            );
            until_free(&slots).await;

            let slot = slots.take(Claim::GUEST, later()).await.unwrap();
            let asked = run(slot, limits(LONG), async move |_: &mut AnswerSink| {
                count(sql).await
            });
            let left = tokio::time::timeout(Duration::from_millis(200), asked).await;
            assert!(left.is_err(), "{sql}");
            until_free(&slots).await;
        }
    }
}
