//! Answers in record batches: made on a thread of their own, taken as they come.
//!
//! Invariant: no more than a few batches of an answer are held, however many it has and however slowly they are taken. An answer ends with what became of it: one that was
//! broken off is never taken for a whole one. Whoever drops it ends its query.

use crate::problem::Problem;
use crate::slots::TakenSlot;
use crate::work::{WorkEnds, WorkLimits, begin, count_rows};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use tillhouse_model::{Error, ErrorKind};
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

/// Batches that wait to be taken.
const BATCHES: usize = 2;

/// Part of an answer.
enum AnswerPart {
    Columns(SchemaRef),
    Rows(RecordBatch),
}

/// Outcome of an answer, once it has ended.
type Outcome = Arc<OnceLock<Result<(), Problem>>>;

/// Sink of an answer's batches.
pub(crate) struct BatchSink {
    out: mpsc::Sender<AnswerPart>,
    rows: AtomicU64,
    most_rows: u64,
}

impl BatchSink {
    /// Says which columns follow; false where nobody waits for them.
    pub(crate) async fn columns(&self, columns: SchemaRef) -> bool {
        self.out.send(AnswerPart::Columns(columns)).await.is_ok()
    }

    /// Sends rows; false where nobody waits for them. Errors where there are more than an answer may have.
    pub(crate) async fn rows(&self, batch: RecordBatch) -> Result<bool, Error> {
        count_rows(&self.rows, batch.num_rows(), self.most_rows)?;
        Ok(self.out.send(AnswerPart::Rows(batch)).await.is_ok())
    }
}

/// Batches of an answer that is being made.
pub(crate) struct BatchStream {
    parts: mpsc::Receiver<AnswerPart>,
    ends: WorkEnds,
    outcome: Outcome,
    _guard: DropGuard,
}

impl BatchStream {
    /// Begins work that makes an answer, and waits until its columns are known.
    pub(crate) async fn begin<F>(
        slot: TakenSlot,
        limits: &WorkLimits,
        work: F,
    ) -> Result<(SchemaRef, Self), Problem>
    where
        F: AsyncFnOnce(&BatchSink) -> Result<(), Problem> + Send + 'static,
    {
        let ends = WorkEnds::of(limits);
        let guard = ends.stop.clone().drop_guard();
        let (out, parts) = mpsc::channel(BATCHES);
        let sink = BatchSink {
            out,
            rows: AtomicU64::new(0),
            most_rows: limits.rows,
        };
        let (own, outcome) = (ends.clone(), Outcome::default());
        let told = Arc::clone(&outcome);
        begin(slot, ends.clone(), async move || {
            // It is told before the sink goes, which is what the other side takes for the end.
            let _ = told.set(own.within(work(&sink)).await);
        })?;
        let mut stream = Self {
            parts,
            ends,
            outcome,
            _guard: guard,
        };
        match stream.part().await? {
            Some(AnswerPart::Columns(columns)) => Ok((columns, stream)),
            Some(AnswerPart::Rows(_)) | None => {
                Err(Problem::internal("an answer begins with its columns"))
            }
        }
    }

    /// The next batch; none at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<RecordBatch>, Problem> {
        match self.part().await? {
            Some(AnswerPart::Rows(batch)) => Ok(Some(batch)),
            Some(AnswerPart::Columns(_)) => {
                Err(Problem::internal("an answer has its columns once"))
            }
            None => Ok(None),
        }
    }

    /// The next part; none at the end. Errors with what became of the answer where that was not its end.
    async fn part(&mut self) -> Result<Option<AnswerPart>, Problem> {
        let part = tokio::select! {
            biased;
            // The maker of the parts may be stuck in one piece of work.
            () = self.ends.stop.cancelled() => {
                let what = "the answer was broken off";
                return Err(Error::new(ErrorKind::Interrupted, what).into());
            }
            part = self.parts.recv() => part,
            () = self.ends.late.cancelled() => return Err(self.ends.too_slow()),
        };
        match (part, self.outcome.get()) {
            (Some(part), _) => Ok(Some(part)),
            (None, Some(Ok(()))) => Ok(None),
            (None, Some(Err(problem))) => Err(problem.clone()),
            (None, None) => Err(Problem::internal("the query engine failed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slots::{Claim, Slots, later};
    use arrow::array::{ArrayRef, Int64Array};
    use axum::http::StatusCode;
    use std::time::Duration;
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    const LONG: Duration = Duration::from_secs(60);

    fn batch(rows: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([("n", column)]).unwrap()
    }

    fn limits(timeout: Duration) -> WorkLimits {
        WorkLimits {
            id: "1".to_owned(),
            timeout,
            until: Instant::now() + timeout,
            rows: 10,
            stop: CancellationToken::new(),
        }
    }

    async fn slot(slots: &Slots) -> TakenSlot {
        slots.take(Claim::GUEST, later()).await.unwrap()
    }

    async fn until_free(slots: &Slots) {
        for _ in 0..6_000 {
            if slots.taken() == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the slot is still taken");
    }

    /// Sends as many batches of three rows.
    async fn send(sink: &BatchSink, count: usize) -> Result<(), Problem> {
        sink.columns(batch(0).schema()).await;
        for _ in 0..count {
            if !sink.rows(batch(3)).await? {
                break;
            }
        }
        Ok(())
    }

    async fn endless(sink: &BatchSink) -> Result<(), Problem> {
        sink.columns(batch(0).schema()).await;
        std::future::pending::<()>().await;
        Ok(())
    }

    #[tokio::test]
    async fn an_answer_is_taken_to_its_end_or_ends_with_why_it_is_none() {
        let slots = Slots::new(1, 1);
        let begun = BatchStream::begin(
            slot(&slots).await,
            &limits(LONG),
            async |sink: &BatchSink| send(sink, 3).await,
        )
        .await;
        let (columns, mut stream) = begun.ok().unwrap();
        assert_eq!(columns.field(0).name(), "n");
        let mut rows = 0;
        while let Some(batch) = stream.next().await.unwrap() {
            rows += batch.num_rows();
        }
        assert_eq!(rows, 9);
        until_free(&slots).await;
        // A fourth is more than an answer may have.
        let begun = BatchStream::begin(
            slot(&slots).await,
            &limits(LONG),
            async |sink: &BatchSink| send(sink, 4).await,
        )
        .await;
        let (_, mut stream) = begun.ok().unwrap();
        for _ in 0..3 {
            assert!(stream.next().await.unwrap().is_some());
        }
        let problem = stream.next().await.unwrap_err();
        assert_eq!(problem.status, StatusCode::BAD_REQUEST);
        // An answer that fails before it has columns is none.
        until_free(&slots).await;
        let begun = BatchStream::begin(slot(&slots).await, &limits(LONG), async |_: &BatchSink| {
            Err(Problem::bad_request("no"))
        })
        .await;
        assert_eq!(begun.err().unwrap().status, StatusCode::BAD_REQUEST);
    }

    #[tokio::test]
    async fn an_answer_ends_with_its_time_and_with_whoever_takes_it() {
        let slots = Slots::new(1, 1);
        // A busy machine may need more time to begin.
        let mut begun = None;
        for millis in [50, 1_000, 30_000] {
            let short = limits(Duration::from_millis(millis));
            let beginning =
                BatchStream::begin(slot(&slots).await, &short, async |sink: &BatchSink| {
                    endless(sink).await
                });
            begun = beginning.await.ok();
            if begun.is_some() {
                break;
            }
            until_free(&slots).await;
        }
        let (_, mut stream) = begun.unwrap();
        let problem = stream.next().await.unwrap_err();
        assert_eq!(problem.status, StatusCode::GATEWAY_TIMEOUT);
        until_free(&slots).await;
        let begun = BatchStream::begin(
            slot(&slots).await,
            &limits(LONG),
            async |sink: &BatchSink| endless(sink).await,
        )
        .await;
        drop(begun.ok().unwrap());
        until_free(&slots).await;
    }
}
