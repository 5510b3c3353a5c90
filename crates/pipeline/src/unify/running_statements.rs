//! Statements that run while their records still arrive: each batch is handed to all of them, and none reads a table.
//!
//! ```text
//!   landing, or one scan of the source table
//!        |  batch
//!        +--> transactions.sql --> files --+
//!        +--> articles.sql     --> files --+--> the step is known: each commits
//!        +--> sites.sql        --> rows  --+
//! ```
//!
//! Statements that leave to the transaction what is its own run batch by batch, and so does `transactions.sql`, whose rows of the same batch
//! fill theirs in. It is handed each batch first and waits for none of them.
//!
//! A step that changes no row of a table is not committed there: its carrier, the table that is committed with every step, waits for what the others have
//! found and takes their watermarks along. Where its carrier does not take part in the step, a table is committed by itself.
//!
//! Invariant: nothing is in a unified table before [`RunningStatements::finish`]; a feed that is dropped leaves only files that no commit names.
//! Whoever pushes waits for the slowest statement, so that a few batches are in memory, however many come.

use super::StatementOutcome;
use super::misfits::{MisfitLog, StatementOrigin, fit};
use super::omitted::{TRANSACTIONS, TransactionRows};
use super::statement::UnifyStatement;
use crate::context::RunContext;
use crate::observer::{RunEvent, RunObserver};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::future::Shared;
use futures::{FutureExt, StreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_lake::{
    CarriedWatermark, SupersededRecords, UnifiedTableWriter, UnifyStep, WatermarkPlace,
};
use tillhouse_model::table::TableRole;
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_query::PlannedQuery;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

/// Batches that may wait before a statement.
const WAITING: usize = 12;

/// Statements over the records of one resource, all of them running.
pub(super) struct RunningStatements {
    running: Vec<RunningStatement>,
    observer: Arc<dyn RunObserver>,
}

struct RunningStatement {
    role: TableRole,
    input: StatementInput,
    end: Option<oneshot::Sender<Arc<StepEnd>>>,
    task: Option<AbortOnDropHandle<Result<Option<StatementOutcome>>>>,
}

/// The senders of a statement's records; none once it wants no more.
enum StatementInput {
    /// One for each scan.
    Scans(Vec<mpsc::Sender<RecordBatch>>),
    /// Batches, of which `transactions.sql` makes known its rows.
    Transactions(Option<mpsc::Sender<TransactionBatch>>),
    /// Batches, with the transactions' rows of each.
    Lines(Option<mpsc::Sender<LineBatch>>),
}

/// Records, and where the rows go that `transactions.sql` makes of them.
type TransactionBatch = (RecordBatch, oneshot::Sender<Arc<TransactionRows>>);
/// Records, and where those rows come from.
type LineBatch = (RecordBatch, PendingTransactions);

/// The rows of `transactions.sql`, once it has them.
type PendingTransactions = Shared<oneshot::Receiver<Arc<TransactionRows>>>;

/// Step and superseded records, known once all records have come.
struct StepEnd {
    step: UnifyStep,
    superseded: SupersededRecords,
}

impl RunningStatements {
    /// Starts the statements, which all read one resource with this schema.
    pub(super) fn start(
        context: &RunContext,
        pipeline: &str,
        statements: &[&UnifyStatement],
        schema: &SchemaRef,
    ) -> Self {
        let transactions = statements
            .iter()
            .find_map(|statement| statement.transactions.clone());
        let mut unwritten = UnwrittenWatermarks::of(statements);
        let mut start = |statement: &UnifyStatement, writes: bool| {
            let (end, ended) = oneshot::channel();
            let task = StatementTask {
                context: context.clone(),
                pipeline: pipeline.to_owned(),
                statement: statement.clone(),
                schema: Arc::clone(schema),
                writes,
                ended,
                watermark: unwritten.place_of(&statement.table.name, writes),
            };
            let (input, task) = if statement.transactions.is_some() {
                let (send, receive) = mpsc::channel(WAITING);
                let task = tokio::spawn(task.run_lines(receive));
                (StatementInput::Lines(Some(send)), task)
            } else if transactions.is_some() && statement.table.name == TRANSACTIONS {
                let (send, receive) = mpsc::channel(WAITING);
                let task = tokio::spawn(task.run_transactions(receive));
                (StatementInput::Transactions(Some(send)), task)
            } else {
                let scans = statement
                    .streaming_plan
                    .as_ref()
                    .and_then(|planned| planned.scans)
                    .unwrap_or(1);
                let channels = (0..scans).map(|_| mpsc::channel(WAITING));
                let (batches, arriving): (Vec<_>, Vec<_>) = channels.unzip();
                let task = tokio::spawn(task.run_scans(arriving));
                (StatementInput::Scans(batches), task)
            };
            RunningStatement {
                role: statement.table.role,
                input,
                end: Some(end),
                task: Some(AbortOnDropHandle::new(task)),
            }
        };
        let (first, others): (Vec<&UnifyStatement>, Vec<&UnifyStatement>) = statements
            .iter()
            .copied()
            .partition(|statement| statement.table.name == TRANSACTIONS);
        let mut running: Vec<RunningStatement> = first
            .iter()
            .map(|statement| start(statement, true))
            .collect();
        if let (Some(transactions), true) = (&transactions, first.is_empty()) {
            // Its own table stands elsewhere: here its rows only fill in those of others.
            running.push(start(transactions, false));
        }
        running.extend(others.into_iter().map(|statement| start(statement, true)));
        Self {
            running,
            observer: Arc::clone(&context.observer),
        }
    }

    /// Hands on records. A dimension shows the freshest row that any version ever brought, so it gets `all`; facts get those that no
    /// later version of the same step replaces.
    ///
    /// Errors as the statement does that has failed.
    pub(super) async fn push(&mut self, all: &RecordBatch, current: &RecordBatch) -> Result<()> {
        let (publish, transactions) = oneshot::channel();
        let (mut publish, transactions) = (Some(publish), transactions.shared());
        for running in &mut self.running {
            let batch = if running.role == TableRole::Dimension {
                all
            } else {
                current
            };
            if batch.num_rows() == 0 {
                continue;
            }
            match &mut running.input {
                StatementInput::Scans(scans) => {
                    let mut open = Vec::with_capacity(scans.len());
                    for batches in std::mem::take(scans) {
                        if batches.send(batch.clone()).await.is_ok() {
                            open.push(batches);
                        }
                    }
                    *scans = open;
                }
                StatementInput::Transactions(batches) => {
                    if let (Some(send), Some(publish)) = (&*batches, publish.take())
                        && send.send((batch.clone(), publish)).await.is_err()
                    {
                        *batches = None;
                    }
                }
                StatementInput::Lines(batches) => {
                    if let Some(send) = &*batches
                        && send
                            .send((batch.clone(), transactions.clone()))
                            .await
                            .is_err()
                    {
                        *batches = None;
                    }
                }
            }
            // A statement that has all the rows it wants (LIMIT) stops reading; one that failed says why.
            if running.input.is_closed()
                && running
                    .task
                    .as_ref()
                    .is_some_and(AbortOnDropHandle::is_finished)
            {
                return outcome(running.task.take()).await.map(drop);
            }
        }
        Ok(())
    }

    /// All records have come: every statement commits the step. What each did, by table.
    pub(super) async fn finish(
        mut self,
        step: &UnifyStep,
        superseded: &SupersededRecords,
    ) -> Result<Vec<StatementOutcome>> {
        let end = Arc::new(StepEnd {
            step: step.clone(),
            superseded: superseded.clone(),
        });
        for running in &mut self.running {
            running.input.close();
            if let Some(sender) = running.end.take() {
                // A task that is gone says why below.
                let _ = sender.send(Arc::clone(&end));
            }
        }
        let mut done = Vec::new();
        for running in self.running {
            done.extend(outcome(running.task).await?);
        }
        for StatementOutcome { table, .. } in &done {
            let table = table.clone();
            self.observer.on_event(&RunEvent::Unifying { table });
        }
        Ok(done)
    }
}

impl StatementInput {
    fn close(&mut self) {
        match self {
            Self::Scans(batches) => batches.clear(),
            Self::Transactions(batches) => *batches = None,
            Self::Lines(batches) => *batches = None,
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Scans(batches) => batches.is_empty(),
            Self::Transactions(batches) => batches.is_none(),
            Self::Lines(batches) => batches.is_none(),
        }
    }
}

/// Channels on which statements send the watermarks of tables without a change to those whose tables are the carriers, where both write.
struct UnwrittenWatermarks {
    /// By table.
    senders: BTreeMap<String, oneshot::Sender<CarriedWatermark>>,
    /// By carrier.
    receivers: BTreeMap<String, Vec<oneshot::Receiver<CarriedWatermark>>>,
}

impl UnwrittenWatermarks {
    fn of(statements: &[&UnifyStatement]) -> Self {
        let (mut senders, mut receivers) = (BTreeMap::new(), BTreeMap::new());
        let is_written = |table: &str| statements.iter().any(|s| s.table.name == table);
        for statement in statements {
            let carrier = statement.carrier.as_ref();
            if let Some(carrier) = carrier.filter(|carrier| is_written(&carrier.name)) {
                let (send, receive) = oneshot::channel();
                senders.insert(statement.table.name.clone(), send);
                let of_carrier: &mut Vec<_> = receivers.entry(carrier.name.clone()).or_default();
                of_carrier.push(receive);
            }
        }
        Self { senders, receivers }
    }

    fn place_of(&mut self, table: &str, writes: bool) -> WatermarkPlace {
        if !writes {
            return WatermarkPlace::OwnLog(Vec::new());
        }
        match self.senders.remove(table) {
            Some(carrier) => WatermarkPlace::Carrier(carrier),
            None => WatermarkPlace::OwnLog(self.receivers.remove(table).unwrap_or_default()),
        }
    }
}

async fn outcome(
    task: Option<AbortOnDropHandle<Result<Option<StatementOutcome>>>>,
) -> Result<Option<StatementOutcome>> {
    let task = task.ok_or_else(|| Error::internal("a unify statement has failed before"))?;
    task.await
        .map_err(|e| Error::internal("a unify step failed").because(e))?
}

/// One statement at work.
struct StatementTask {
    context: RunContext,
    pipeline: String,
    statement: UnifyStatement,
    schema: SchemaRef,
    /// Its rows are written, and not only made known.
    writes: bool,
    ended: oneshot::Receiver<Arc<StepEnd>>,
    /// Place of the watermark, where no row of its table changes.
    watermark: WatermarkPlace,
}

impl StatementTask {
    fn at(&self) -> impl Fn(Error) -> Error + use<> {
        let statement = self.statement.clone();
        move |error| statement.place(error)
    }

    fn plan(&self) -> Result<&PlannedQuery> {
        let plan = self.statement.streaming_plan.as_ref();
        plan.ok_or_else(|| Error::internal("a statement that needs tables was fed"))
    }

    fn begin(&self) -> Result<UnifiedTableWriter> {
        let target = self.statement.target(&self.context.warehouse);
        target.begin(&self.pipeline)
    }

    async fn run_scans(
        self,
        arriving: Vec<mpsc::Receiver<RecordBatch>>,
    ) -> Result<Option<StatementOutcome>> {
        let at = self.at();
        let misfits = MisfitLog::of(&self.statement.errors);
        let mut writing = self.begin().map_err(&at)?;
        let planned = self.plan().map_err(&at)?;
        let mut rows = planned
            .run(Arc::clone(&self.schema), arriving)
            .await
            .map_err(&at)?;
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(tillhouse_query::into_error).map_err(&at)?;
            let batch = fit(&batch, &self.statement, None, &misfits).map_err(&at)?;
            writing.write(batch).await.map_err(&at)?;
        }
        // A statement that has had enough may leave some of its scans unread: whoever pushes must not wait for them.
        drop(rows);
        self.commit(writing, misfits).await.map(Some)
    }

    async fn run_transactions(
        self,
        mut arriving: mpsc::Receiver<TransactionBatch>,
    ) -> Result<Option<StatementOutcome>> {
        let at = self.at();
        let misfits = MisfitLog::of(&self.statement.errors);
        let mut writing = self.writes.then(|| self.begin()).transpose().map_err(&at)?;
        let planned = self.plan().map_err(&at)?;
        let mut runner = planned
            .batch_runner(Arc::clone(&self.schema))
            .await
            .map_err(&at)?;
        while let Some((batch, publish)) = arriving.recv().await {
            let found = runner.run(batch).await.map_err(&at)?;
            let rows = found
                .iter()
                .map(|batch| fit(batch, &self.statement, None, &misfits))
                .collect::<Result<Vec<_>>>()
                .map_err(&at)?;
            let known = TransactionRows::of(&self.statement.schema, &rows).map_err(&at)?;
            // Whoever waited for them may have had enough, or failed.
            let _ = publish.send(Arc::new(known));
            if let Some(writing) = &mut writing {
                for batch in rows {
                    writing.write(batch).await.map_err(&at)?;
                }
            }
        }
        match writing {
            Some(writing) => self.commit(writing, misfits).await.map(Some),
            None => Ok(None),
        }
    }

    async fn run_lines(
        self,
        mut arriving: mpsc::Receiver<LineBatch>,
    ) -> Result<Option<StatementOutcome>> {
        let at = self.at();
        let misfits = MisfitLog::of(&self.statement.errors);
        let mut writing = self.begin().map_err(&at)?;
        let planned = self.plan().map_err(&at)?;
        let mut runner = planned
            .batch_runner(Arc::clone(&self.schema))
            .await
            .map_err(&at)?;
        while let Some((batch, transactions)) = arriving.recv().await {
            let found = runner.run(batch).await.map_err(&at)?;
            let transactions = transactions
                .await
                .map_err(|_| Error::internal("the transactions of these records were given up"))
                .map_err(&at)?;
            for batch in &found {
                let batch = fit(batch, &self.statement, Some(&transactions), &misfits);
                writing.write(batch.map_err(&at)?).await.map_err(&at)?;
            }
        }
        self.commit(writing, misfits).await.map(Some)
    }

    async fn commit(
        self,
        writing: UnifiedTableWriter,
        misfits: MisfitLog,
    ) -> Result<StatementOutcome> {
        let at = self.at();
        let end = self
            .ended
            .await
            .map_err(|_| Error::new(ErrorKind::Interrupted, "a unify step was given up"))?;
        let origin = StatementOrigin::of(&self.statement.table, &end.step);
        misfits
            .record(&self.context.shared, &self.context.warehouse.ops(), &origin)
            .await
            .map_err(&at)?;
        let replaced = writing
            .commit_with(&end.step, &end.superseded, self.watermark)
            .await
            .map_err(&at)?;
        let table = &self.statement.table.name;
        Ok(StatementOutcome::of(table, &replaced, misfits.count()))
    }
}

#[cfg(test)]
#[path = "running_statements_tests.rs"]
mod tests;
