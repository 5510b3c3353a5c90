//! A query that runs: on a thread of its own, its rows sent as they come.
//!
//! Invariant: no more than a few batches of an answer are held, however many it has and however slowly they are taken; a query ends when its client leaves or cancels it, when
//! it takes too long, and when whoever holds this drops it. Whoever asked is answered in time also where it never gives way. A slot is held while rows are made or taken, and
//! not while a cursor waits.

use super::cancel::CancelHandle;
use super::columns::{WireColumn, columns};
use super::copy::CopyFormat;
use super::encode::ReadyRows;
use super::fault::{BUSY, CANCELLED, Fault, STOPPED, Stop};
use super::query_slot::{QuerySlot, RowMaker};
use super::reader::{BoundQuery, RunReader};
use super::wire::{Ended, Wire};
use crate::callers::Caller;
use crate::problem::Problem;
use crate::slots::TakenSlot;
use crate::state::ServerState;
use crate::work::{WorkEnds, begin};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::BufMut;
use futures::TryStreamExt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tillhouse_model::Error;
use tillhouse_query::encode::pieces;
use tillhouse_query::into_error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Batches that wait to be sent.
const BATCHES: usize = 2;

/// Part of an answer.
enum Part {
    Columns(SchemaRef),
    Rows(RecordBatch),
}

/// End of the making of an answer.
enum MadeEnd {
    Whole,
    Failed(Error),
    TooSlow,
}

/// Outcome of an answer, once that is known.
type Outcome = Arc<OnceLock<MadeEnd>>;

/// Form in which rows are written.
#[derive(Clone, Copy)]
pub(super) enum RowForm<'a> {
    /// As the protocol's rows, text and binary by column.
    Messages(&'a [i16]),
    /// As data of COPY.
    Copy(&'a CopyFormat),
    /// Not at all: they are passed over.
    Skipped,
}

/// State of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) rows: u64,
    pub(super) is_at_end: bool,
}

/// Things a query is run with.
pub(super) struct Surroundings<'a> {
    pub(super) state: &'a Arc<ServerState>,
    pub(super) cancel: &'a Arc<CancelHandle>,
    /// Whoever asks, whose slot it takes.
    pub(super) caller: &'a Caller,
    /// Id of the statement, for the log.
    pub(super) id: &'a str,
    /// Text that errors name a place of.
    pub(super) text: &'a str,
    pub(super) timeout: Duration,
    /// End of its time.
    pub(super) until: Instant,
}

impl Surroundings<'_> {
    /// The fault of a query that ended before its time.
    fn interrupted(&self) -> Fault {
        match self.cancel.was_cancelled() {
            true => Fault::new(
                CANCELLED,
                "the statement was cancelled, as its client asked",
            ),
            false if self.state.stop.is_cancelled() => Fault::new(STOPPED, "the server stops"),
            false => Fault::of(&Error::internal("the query engine failed"), "", self.id),
        }
    }

    /// Waits for a slot until then, as long as somebody waits for the answer.
    async fn slot<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        (stop, until): (&CancellationToken, Instant),
        wire: &mut Wire<S>,
    ) -> Result<TakenSlot, Stop> {
        tokio::select! {
            slot = self.state.slots.take(self.caller.claim(), until) => slot.map_err(|_| {
                Fault::new(BUSY, "more is asked at once than is answered at once")
                    .hint("Ask again later. serve.concurrency and serve.queue in tillhouse.yaml are the limits.")
                    .into()
            }),
            () = stop.cancelled() => Err(self.interrupted().into()),
            () = wire.left() => Err(Ended::Left.into()),
        }
    }

    /// The fault of work that could not be begun.
    fn not_begun(&self, problem: &Problem) -> Fault {
        self.fault(&Error::internal(problem.for_log()))
    }

    /// The fault of an error.
    pub(super) fn fault(&self, error: &Error) -> Fault {
        Fault::of(error, self.text, self.id)
    }
}

/// A query that runs, or waits to be asked for more rows.
pub(super) struct Running {
    pub(super) columns: Arc<[WireColumn]>,
    parts: mpsc::Receiver<Part>,
    ends: WorkEnds,
    outcome: Outcome,
    _guard: DropGuard,
    slot: Arc<QuerySlot>,
    /// Rows that were made and not sent yet, and the next of them.
    ready: Option<(ReadyRows, usize)>,
    is_at_end: bool,
    /// Rows so far.
    pub(super) rows: u64,
}

impl Running {
    /// Begins a query, and waits until its columns are known.
    pub(super) async fn begin<S: AsyncRead + AsyncWrite + Unpin>(
        reader: &Arc<RunReader>,
        query: BoundQuery,
        around: &Surroundings<'_>,
        wire: &mut Wire<S>,
    ) -> Result<Self, Stop> {
        let stop = around.state.stop.child_token();
        let guard = stop.clone().drop_guard();
        around.cancel.begin(stop.clone());
        let slot = QuerySlot::new(around.slot((&stop, around.until), wire).await?);
        let (out, parts) = mpsc::channel(BATCHES);
        let ends = WorkEnds::new(stop, around.timeout, around.until);
        let (reader, own, outcome) = (Arc::clone(reader), ends.clone(), Outcome::default());
        let told = Arc::clone(&outcome);
        let sink = PartSink {
            out,
            maker: slot.maker(),
        };
        // The slot is the maker's, which gives it back.
        let begun = begin((), ends.clone(), async move || {
            let end = make(&reader, &query, &sink, &own).await;
            let PartSink { out, maker } = sink;
            drop(maker);
            if let Some(end) = end {
                // It is told before the parts end, which is what the other side takes for the end.
                let _ = told.set(end);
            }
            drop(out);
        });
        begun.map_err(|problem| around.not_begun(&problem))?;
        let mut running = Self {
            columns: Arc::from([]),
            parts,
            ends,
            outcome,
            _guard: guard,
            slot,
            ready: None,
            is_at_end: false,
            rows: 0,
        };
        match running.part(around, wire).await? {
            Some(Part::Columns(schema)) => running.columns = columns(&schema)?,
            Some(Part::Rows(_)) | None => return Err(around.interrupted().into()),
        }
        Ok(running)
    }

    /// Says that no rows are taken until more are asked for.
    pub(super) fn rest(&self) {
        self.slot.end_taking();
    }

    /// Waits for a part; none at the end. Errors where that is not the end of the answer.
    async fn part<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        around: &Surroundings<'_>,
        wire: &mut Wire<S>,
    ) -> Result<Option<Part>, Stop> {
        let part = tokio::select! {
            biased;
            // The maker of the parts may be stuck in one piece of work.
            () = self.ends.stop.cancelled() => return Err(around.interrupted().into()),
            part = self.parts.recv() => part,
            () = self.ends.late.cancelled() => return Err(too_slow(self.ends.timeout).into()),
            () = wire.left() => return Err(Ended::Left.into()),
        };
        match (part, self.outcome.get()) {
            (Some(part), _) => Ok(Some(part)),
            (None, Some(MadeEnd::Whole)) => Ok(None),
            (None, Some(MadeEnd::Failed(error))) => Err(around.fault(error).into()),
            (None, Some(MadeEnd::TooSlow)) => Err(too_slow(self.ends.timeout).into()),
            (None, None) => Err(around.interrupted().into()),
        }
    }

    /// Sends rows, a number of them at most.
    pub(super) async fn send<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        form: RowForm<'_>,
        most: Option<u64>,
        around: &Surroundings<'_>,
        wire: &mut Wire<S>,
    ) -> Result<Progress, Stop> {
        around.cancel.begin(self.ends.stop.clone());
        if !self.slot.begin_taking() && !self.is_at_end {
            let slot = around
                .slot((&self.ends.stop, self.ends.until), wire)
                .await?;
            self.slot.bring(slot);
        }
        let mut rows = 0;
        while most.is_none_or(|most| rows < most) {
            let is_first = self.rows == 0;
            let Some((ready, row)) = self.next_row(around, wire).await? else {
                break;
            };
            put(form, ready, (row, is_first), wire).map_err(|error| around.fault(&error))?;
            rows += 1;
            self.rows += 1;
            if self.rows > around.state.options.rows {
                let most = around.state.options.rows;
                return Err(Fault::new("54000", format!("the answer has more than the {most} rows that one may have"))
                    .hint("Ask for less at a time, with LIMIT or a shorter period. serve.rows in tillhouse.yaml is the limit.")
                    .into());
            }
            wire.flush_much().await?;
        }
        // A cursor that waits takes nobody's slot.
        self.rest();
        Ok(Progress {
            rows,
            is_at_end: self.is_at_end,
        })
    }

    /// The next row; none at the end.
    async fn next_row<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        around: &Surroundings<'_>,
        wire: &mut Wire<S>,
    ) -> Result<Option<(&ReadyRows, usize)>, Stop> {
        loop {
            if self.is_at_end {
                return Ok(None);
            }
            if self.ends.stop.is_cancelled() {
                return Err(around.interrupted().into());
            }
            if self
                .ready
                .as_ref()
                .is_some_and(|(rows, next)| *next < rows.count)
            {
                break;
            }
            self.ready = None;
            match self.part(around, wire).await? {
                Some(Part::Rows(batch)) => {
                    let ready = ReadyRows::of(&batch, &self.columns);
                    let ready = ready.map_err(|error| around.fault(&error))?;
                    self.ready = Some((ready, 0));
                }
                Some(Part::Columns(_)) => {}
                None => self.is_at_end = true,
            }
        }
        Ok(self.ready.as_mut().map(|(rows, next)| {
            let row = *next;
            *next += 1;
            (&*rows, row)
        }))
    }
}

/// Writes a row, which may be the first of all.
fn put<S: AsyncRead + AsyncWrite + Unpin>(
    form: RowForm<'_>,
    rows: &ReadyRows,
    (row, is_first): (usize, bool),
    wire: &mut Wire<S>,
) -> Result<(), Error> {
    match form {
        RowForm::Skipped => Ok(()),
        RowForm::Copy(format) => wire.try_put(b'd', |out| {
            if is_first {
                format.put_signature(out);
            }
            format.put_row(rows, row, out)
        }),
        RowForm::Messages(formats) => wire.try_put(b'D', |out| {
            out.put_u16(u16::try_from(rows.width()).unwrap_or(u16::MAX));
            (0..rows.width())
                .try_for_each(|column| rows.put_sized(column, row, is_binary(formats, column), out))
        }),
    }
}

/// True if a column is wanted in binary form: one format is for all columns, none is text.
pub(super) fn is_binary(formats: &[i16], column: usize) -> bool {
    match formats {
        [] => false,
        [one] => *one == 1,
        many => many.get(column) == Some(&1),
    }
}

fn too_slow(limit: Duration) -> Fault {
    let seconds = limit.as_secs_f32();
    Fault::new(CANCELLED, format!("the answer took more than the {seconds} s that one may take")).hint(
        "Ask for less at a time: a shorter period, fewer columns. serve.timeout in tillhouse.yaml and statement_timeout are the limits.",
    )
}

/// Makes the parts of an answer; no end of it where nobody waits for one.
async fn make(
    reader: &RunReader,
    query: &BoundQuery,
    sink: &PartSink,
    ends: &WorkEnds,
) -> Option<MadeEnd> {
    let work = async {
        let mut stream = reader.rows(query).await?;
        let schema = stream.schema();
        if !sink.send(Part::Columns(schema)).await {
            return Ok(());
        }
        while let Some(batch) = stream.try_next().await.map_err(into_error)? {
            for piece in pieces(&batch) {
                if !sink.send(Part::Rows(piece)).await {
                    return Ok(());
                }
            }
        }
        Ok::<_, Error>(())
    };
    let limited = ends.late.run_until_cancelled(work);
    match ends.stop.run_until_cancelled(limited).await? {
        Some(Ok(())) => Some(MadeEnd::Whole),
        // A query that was stopped at the end of its time says no more than that.
        Some(Err(error)) if !ends.late.is_cancelled() => Some(MadeEnd::Failed(error)),
        Some(Err(_)) | None => Some(MadeEnd::TooSlow),
    }
}

/// Destination of the parts of an answer.
struct PartSink {
    out: mpsc::Sender<Part>,
    maker: RowMaker,
}

impl PartSink {
    /// Sends a part; false where nobody waits for it. No more are made while there is no room for it, nor before there is a slot again.
    async fn send(&self, part: Part) -> bool {
        let part = match self.out.try_send(part) {
            Ok(()) => return true,
            Err(TrySendError::Closed(_)) => return false,
            Err(TrySendError::Full(part)) => part,
        };
        self.maker.pause();
        if self.out.send(part).await.is_err() {
            return false;
        }
        self.maker.resume().await;
        true
    }
}

/// Plans something on a thread of its own, with a slot, within the time that a statement has.
pub(super) async fn planned<S, T, W, F>(
    around: &Surroundings<'_>,
    wire: &mut Wire<S>,
    work: W,
) -> Result<T, Stop>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: Send + 'static,
    W: FnOnce() -> F + Send + 'static,
    F: Future<Output = Result<T, Error>>,
{
    let stop = around.state.stop.child_token();
    let _guard = stop.clone().drop_guard();
    around.cancel.begin(stop.clone());
    let slot = around.slot((&stop, around.until), wire).await?;
    let ends = WorkEnds::new(stop, around.timeout, around.until);
    let (out, answer) = oneshot::channel();
    let own = ends.clone();
    let begun = begin(slot, ends.clone(), async move || {
        let limited = own.late.run_until_cancelled(work());
        if let Some(outcome) = own.stop.run_until_cancelled(limited).await {
            // What was stopped at the end of its time says no more than that.
            let outcome = outcome.filter(|outcome| outcome.is_ok() || !own.late.is_cancelled());
            // Nobody waits any more where the client has left.
            let _ = out.send(outcome);
        }
    });
    begun.map_err(|problem| around.not_begun(&problem))?;
    let outcome = tokio::select! {
        biased;
        // The work may be stuck in one piece.
        () = ends.stop.cancelled() => return Err(around.interrupted().into()),
        outcome = answer => outcome,
        () = ends.late.cancelled() => return Err(too_slow(ends.timeout).into()),
        () = wire.left() => return Err(Ended::Left.into()),
    };
    match outcome {
        Ok(Some(Ok(planned))) => Ok(planned),
        Ok(Some(Err(error))) => Err(around.fault(&error).into()),
        Ok(None) => Err(too_slow(ends.timeout).into()),
        Err(_) => Err(around.interrupted().into()),
    }
}
