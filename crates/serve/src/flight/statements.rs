//! Queries: planned for their columns, answered batch by batch, cancelled.
//!
//! Invariant: a query is planned and run with a slot, on a thread of its own, within the time, the rows and the memory that its user may have, and ends when its client leaves or
//! cancels it. It reads one run, and of that what its user sees now. A line of the audit log is of each call that plans or answers.

use super::ENDPOINT;
use super::metadata;
use super::parameters::BoundValues;
use super::sent::{batch_bytes, messages, sent_batch, sent_schema};
use super::status::{http_status, refused};
use super::ticket::{Question, TicketSigner};
use crate::batches::{BatchSink, BatchStream};
use crate::callers::Caller;
use crate::observe::new_id;
use crate::observed_statement::ObservedStatement;
use crate::problem::Problem;
use crate::runs::RunSession;
use crate::slots::TakenSlot;
use crate::state::ServerState;
use crate::work::{self, WorkLimits};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::sql::Command;
use axum::http::StatusCode;
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tillhouse_query::encode::cannot_show;
use tillhouse_query::{QueryParameters, QueryShape, into_error};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Messages of an answer.
pub(super) type AnswerMessages = BoxStream<'static, Result<FlightData, Status>>;

/// Sender of a call, who has come in.
#[derive(Debug, Clone)]
pub(super) struct Entered {
    pub(super) caller: Caller,
    pub(super) peer: SocketAddr,
}

impl Entered {
    /// Name of the user; none where there are no users.
    pub(super) fn user(&self) -> Option<&str> {
        self.caller.user.as_ref().map(|user| user.name.as_str())
    }
}

/// Place where queries are planned and answered.
pub(super) struct Statements {
    pub(super) state: Arc<ServerState>,
    pub(super) signer: TicketSigner,
    running: Arc<RunningQueries>,
}

impl Statements {
    pub(super) fn new(state: Arc<ServerState>) -> Result<Self, Problem> {
        Ok(Self {
            signer: TicketSigner::new(&state.served.privacy_key)?,
            state,
            running: Arc::default(),
        })
    }

    /// The newest run that is known.
    pub(super) fn newest_run(&self) -> Result<String, Status> {
        match self.state.runs.newest() {
            Ok(newest) => Ok(newest.run.clone()),
            Err(error) => Err(refused(&error.into(), &new_id())),
        }
    }

    /// A question of a run, with an id of its own.
    pub(super) fn question(&self, entered: &Entered, sql: &str, run: String) -> Question {
        Question {
            id: new_id(),
            sql: sql.to_owned(),
            run,
            user: entered.user().map(str::to_owned),
        }
    }

    /// Columns that the answer to a question has. They are those of the plan that would be run: a driver takes an answer of others for a broken one.
    pub(super) async fn plan(
        &self,
        entered: &Entered,
        method: &str,
        question: &Question,
        values: Option<&BoundValues>,
    ) -> Result<SchemaRef, Status> {
        let given = given(values)?;
        let Question { sql, run, .. } = question.clone();
        self.found(
            entered,
            (method, question.sql.as_str()),
            run,
            async move |part| {
                let stream = part.session.query_written(&sql, &given, (1, 1)).await?;
                Ok(sent_schema(&stream.schema()))
            },
        )
        .await
    }

    /// Columns and parameters of a query whose parameters have no values yet.
    pub(super) async fn shape(
        &self,
        entered: &Entered,
        method: &str,
        sql: &str,
        run: String,
    ) -> Result<QueryShape, Status> {
        let own = sql.to_owned();
        self.found(entered, (method, sql), run, async move |part| {
            Ok(part.session.shape_unbound(&own, (1, 1)).await?)
        })
        .await
    }

    /// Rows of a list that drivers ask for.
    pub(super) async fn list(
        &self,
        entered: &Entered,
        command: Command,
    ) -> Result<AnswerMessages, Status> {
        let told = |outcome: Result<Option<_>, Problem>| {
            outcome.map_err(|problem| refused(&problem, &new_id()))
        };
        let rows = match told(metadata::fixed_rows(&command))? {
            Some(rows) => rows,
            None => {
                let run = self.newest_run()?;
                self.found(entered, ("DoGet", ""), run, async move |part| {
                    metadata::session_rows(&command, &part.session).await
                })
                .await?
            }
        };
        let columns = rows.schema();
        let rows = messages(rows).into_iter().map(Ok);
        Ok(encoded(columns, stream::iter(rows)))
    }

    /// Outcome of work on a part of a run.
    async fn found<T, F>(
        &self,
        entered: &Entered,
        asked: (&str, &str),
        run: String,
        work: F,
    ) -> Result<T, Status>
    where
        T: Send + 'static,
        F: AsyncFnOnce(Arc<RunSession>) -> Result<T, Problem> + Send + 'static,
    {
        let observed = self.observed(entered, asked, &run);
        let limits = self.state.limits(&entered.caller, observed.id());
        let (state, caller) = (Arc::clone(&self.state), entered.caller.clone());
        let outcome = async {
            let slot = self.slot(&entered.caller, limits.until).await?;
            work::find(slot, &limits, async move || {
                work(part_of(&state, &caller, &run).await?).await
            })
            .await
        };
        match outcome.await {
            Ok(found) => {
                observed.finish(200, 0, 0);
                Ok(found)
            }
            Err(problem) => Err(ended(observed, &problem)),
        }
    }

    fn observed(&self, entered: &Entered, asked: (&str, &str), run: &str) -> ObservedStatement {
        let who = (entered.user(), entered.peer);
        let mut observed = ObservedStatement::new(&self.state, ENDPOINT, who, asked);
        observed.of_run(Some(run.to_owned()));
        observed
    }

    async fn slot(&self, caller: &Caller, until: Instant) -> Result<TakenSlot, Problem> {
        let slot = self.state.slots.take(caller.claim(), until).await;
        slot.map_err(|_| {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "more is asked at once than is answered at once",
            )
            .hint("Ask again later. serve.concurrency and serve.queue in tillhouse.yaml are the limits.")
        })
    }

    /// Answers a question.
    pub(super) async fn answer(
        &self,
        entered: &Entered,
        question: Question,
        values: Option<&BoundValues>,
    ) -> Result<AnswerMessages, Status> {
        let given = given(values)?;
        let observed = self.observed(entered, ("DoGet", question.sql.as_str()), &question.run);
        let cancelled = self.state.stop.child_token();
        let running = self.running.begin(question.id.clone(), cancelled.clone());
        let limits = WorkLimits {
            stop: cancelled.clone(),
            ..self.state.limits(&entered.caller, observed.id())
        };
        let (state, caller) = (Arc::clone(&self.state), entered.caller.clone());
        let begun = async {
            let slot = self.slot(&entered.caller, limits.until).await?;
            BatchStream::begin(slot, &limits, async move |sink: &BatchSink| {
                let part = part_of(&state, &caller, &question.run).await?;
                send(&part, &question.sql, &given, sink).await
            })
            .await
        };
        let fate = QueryFate {
            server: self.state.stop.clone(),
            cancelled: cancelled.clone(),
        };
        let begun = match cancelled.run_until_cancelled(begun).await {
            Some(begun) => begun,
            None => Err(Problem::internal("a query was cancelled")),
        };
        match begun {
            Ok((columns, batches)) => {
                let answered = AnsweredQuery {
                    batches,
                    observed: Some(observed),
                    fate,
                    _running: running,
                    rows: 0,
                    bytes: 0,
                };
                let rows = stream::unfold(answered, |mut answered| async move {
                    let next = answered.next().await?;
                    Some((next, answered))
                });
                Ok(encoded(columns, rows))
            }
            Err(problem) => Err(fate.ended(observed, &problem)),
        }
    }

    /// Cancels what is being answered of a question; false where nothing is.
    pub(super) fn cancel(&self, question: &Question) -> bool {
        self.running.cancel(&question.id)
    }
}

/// The values of parameters.
fn given(values: Option<&BoundValues>) -> Result<QueryParameters, Status> {
    match values {
        None => Ok(QueryParameters::default()),
        Some(values) => values.given(),
    }
}

/// The part of a run that a caller sees.
async fn part_of(
    state: &ServerState,
    caller: &Caller,
    run: &str,
) -> Result<Arc<RunSession>, Problem> {
    let whole = state.runs.at(Some(run)).await?;
    Ok(state.runs.part(&whole, caller)?)
}

/// Runs a query, and sends its rows.
async fn send(
    part: &RunSession,
    sql: &str,
    given: &QueryParameters,
    sink: &BatchSink,
) -> Result<(), Problem> {
    let mut stream = part.session.query_written(sql, given, (1, 1)).await?;
    let columns = sent_schema(&stream.schema());
    if !sink.columns(Arc::clone(&columns)).await {
        return Ok(());
    }
    while let Some(batch) = stream.try_next().await.map_err(into_error)? {
        let batch = sent_batch(&batch, &columns).map_err(cannot_show)?;
        for message in messages(batch) {
            if !sink.rows(message).await? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Writes the line of a call that failed; its status.
fn ended(observed: ObservedStatement, problem: &Problem) -> Status {
    let status = refused(problem, observed.id());
    observed.finish(http_status(&status), 0, 0);
    status
}

/// Batches as messages, their columns first.
fn encoded(
    columns: SchemaRef,
    rows: impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
) -> AnswerMessages {
    FlightDataEncoderBuilder::new()
        .with_schema(columns)
        // They have their size already.
        .with_max_flight_data_size(usize::MAX)
        .build(rows)
        .map_err(|error| match error {
            FlightError::Tonic(status) => *status,
            error => {
                let inside = Problem::internal(format!("a message cannot be made: {error}"));
                refused(&inside, &new_id())
            }
        })
        .boxed()
}

/// Reasons for which a query ends before its time.
struct QueryFate {
    server: CancellationToken,
    cancelled: CancellationToken,
}

impl QueryFate {
    /// Writes the line of a query that failed; its status.
    fn ended(&self, observed: ObservedStatement, problem: &Problem) -> Status {
        match self.cancelled.is_cancelled() && !self.server.is_cancelled() {
            true => {
                let status = Status::cancelled("the query was cancelled, as its client asked");
                observed.finish(http_status(&status), 0, 0);
                status
            }
            false => ended(observed, problem),
        }
    }
}

/// A query whose answer is being taken. Whoever drops it ends it.
struct AnsweredQuery {
    batches: BatchStream,
    /// None once its line is written.
    observed: Option<ObservedStatement>,
    fate: QueryFate,
    _running: RunningQuery,
    rows: u64,
    bytes: u64,
}

impl AnsweredQuery {
    async fn next(&mut self) -> Option<Result<RecordBatch, FlightError>> {
        match self.batches.next().await {
            Ok(Some(batch)) => {
                let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
                self.rows = self.rows.saturating_add(number(batch.num_rows()));
                self.bytes = self.bytes.saturating_add(number(batch_bytes(&batch)));
                if let Some(observed) = &mut self.observed {
                    observed.sent(self.rows, self.bytes);
                }
                Some(Ok(batch))
            }
            Ok(None) => {
                if let Some(observed) = self.observed.take() {
                    observed.finish(200, self.rows, self.bytes);
                }
                None
            }
            Err(problem) => {
                let observed = self.observed.take()?;
                let status = self.fate.ended(observed, &problem);
                Some(Err(FlightError::from(status)))
            }
        }
    }
}

/// Queries that are being answered, by the ids of their questions; one may be asked several times at once.
#[derive(Debug, Default)]
struct RunningQueries {
    by_id: Mutex<BTreeMap<(String, u64), CancellationToken>>,
    begun: AtomicU64,
}

/// A query that can be cancelled until this is dropped.
struct RunningQuery {
    all: Arc<RunningQueries>,
    key: (String, u64),
}

impl RunningQueries {
    fn begin(self: &Arc<Self>, id: String, cancelled: CancellationToken) -> RunningQuery {
        let key = (id, self.begun.fetch_add(1, Ordering::Relaxed));
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        by_id.insert(key.clone(), cancelled);
        RunningQuery {
            all: Arc::clone(self),
            key,
        }
    }

    fn cancel(&self, id: &str) -> bool {
        let by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let all = (id.to_owned(), 0)..=(id.to_owned(), u64::MAX);
        let mut is_any = false;
        for (_, cancelled) in by_id.range(all) {
            cancelled.cancel();
            is_any = true;
        }
        is_any
    }
}

impl Drop for RunningQuery {
    fn drop(&mut self) {
        let mut by_id = self
            .all
            .by_id
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        by_id.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_cancelled_by_its_own_id_while_it_is_answered() {
        let all = Arc::<RunningQueries>::default();
        let token = CancellationToken::new;
        let (one, again, other) = (token(), token(), token());
        let first = all.begin("a".to_owned(), one.clone());
        let second = all.begin("a".to_owned(), again.clone());
        let third = all.begin("b".to_owned(), other.clone());
        drop(second);
        assert!(all.cancel("a"));
        assert!(one.is_cancelled() && !again.is_cancelled() && !other.is_cancelled());
        drop((first, third));
        assert!(!all.cancel("a") && !all.cancel("b"));
        assert!(all.by_id.lock().unwrap().is_empty());
    }
}
