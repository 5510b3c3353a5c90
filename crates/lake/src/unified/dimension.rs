//! Dimensions: the newest known values of each key.
//!
//! Invariant: the result depends only on the set of rows that ever came, not on their order: the row with the greatest `_as_of`
//! stays; of equal ones that with the greater `_content_hash`. So a rebuild gives what the increments gave. A row of the future, of a
//! machine whose clock was ahead, counts as one without `_as_of`.
//!
//! A row that says what is there already is not written for its later `_as_of` alone, as long as that is less than a day later: sales name
//! their site each time, and sites hardly change. So `_as_of` may be a day behind, and a rebuild may name another sale of that day as the one
//! a row is from. Where a key's values go to and fro within a day and come out of order, an earlier one may stay until it is named again.

use super::step::UnifyStep;
use super::table::{StepStatus, UnifiedTable};
use crate::file::fan_out::FanOutWriter;
use crate::file::layout::TableLayout;
use crate::file::replacement::ReplaceSummary;
use crate::log::commit::{self, CommitOutcome, CommitRequest, ROUNDS};
use crate::log::data_file::DataFile;
use crate::log::table::TableHandle;
use crate::scan;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use deltalake::kernel::Action;
use futures::StreamExt;
use std::sync::Arc;
use tillhouse_model::table::{AS_OF, CONTENT_HASH, EXTRACTED_AT, RUN_ID};
use tillhouse_model::{Error, ErrorKind, FastMap, Result, ResultExt};

/// Most rows that lost, held before they are dropped.
const MANY: usize = 256;

/// Microseconds that a row has to be later for being written when it says what is there already.
const AS_OF_ADVANCES: i64 = 24 * 60 * 60 * 1_000_000;
/// Columns that tell where a row is from, not what it says.
const LINEAGE: [&str; 4] = [AS_OF, EXTRACTED_AT, CONTENT_HASH, RUN_ID];

/// Freshness of a row: its `_as_of` in microseconds, then its content hash.
type FreshnessRank = (Option<i64>, Vec<u8>);

/// The newest incoming row of each key.
pub(crate) struct NewestDimensionRows {
    converter: RowConverter,
    key: Vec<String>,
    rows: Option<RecordBatch>,
    /// Rows that say they are of a later time do not know.
    now: i64,
    /// By key: rank and row.
    best: FastMap<Box<[u8]>, (FreshnessRank, u32)>,
}

impl NewestDimensionRows {
    pub(crate) fn new(schema: &SchemaRef, key: &[String], now: i64) -> Result<Self> {
        let fields = key
            .iter()
            .map(|name| {
                let field = schema.field_with_name(name);
                field
                    .map(|f| SortField::new(f.data_type().clone()))
                    .or_error(ErrorKind::Config, "a key column is missing")
            })
            .collect::<Result<Vec<_>>>()?;
        let converter = RowConverter::new(fields)
            .or_error(ErrorKind::Config, "a key column has an impossible type")?;
        Ok(Self {
            converter,
            key: key.to_vec(),
            rows: None,
            now,
            best: FastMap::default(),
        })
    }

    fn keys(&self, batch: &RecordBatch) -> Result<arrow::row::Rows> {
        let columns: Vec<ArrayRef> = self
            .key
            .iter()
            .map(|name| {
                batch
                    .column_by_name(name)
                    .cloned()
                    .ok_or_else(|| Error::internal("a key column is missing"))
            })
            .collect::<Result<_>>()?;
        if columns.iter().any(|column| column.null_count() > 0) {
            return Err(Error::data("a dimension row has no key"));
        }
        self.converter
            .convert_columns(&columns)
            .or_error(ErrorKind::Internal, "keys cannot be compared")
    }

    /// Takes rows; keeps the newest of each key, so that memory is bounded by the keys.
    pub(crate) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let held = self.rows.as_ref().map_or(0, RecordBatch::num_rows);
        let keys = self.keys(batch)?;
        let ranks = FreshnessColumns::of(batch, self.now)?;
        // Rows of this batch that are the newest so far, one a key; they are numbered on from those that are held.
        let mut winners: Vec<u32> = Vec::new();
        for (row, number) in (0..batch.num_rows()).zip(0_u32..) {
            let rank = ranks.at(row);
            match self.best.get_mut(keys.row(row).as_ref()) {
                Some(((as_of, hash), _)) if (*as_of, hash.as_slice()) >= rank => {}
                Some((best, place)) => {
                    *best = (rank.0, rank.1.to_vec());
                    match (*place as usize)
                        .checked_sub(held)
                        .and_then(|at| winners.get_mut(at))
                    {
                        Some(winner) => *winner = number,
                        None => *place = add_winner(&mut winners, held, number)?,
                    }
                }
                None => {
                    let place = add_winner(&mut winners, held, number)?;
                    self.best.insert(
                        keys.row(row).as_ref().into(),
                        ((rank.0, rank.1.to_vec()), place),
                    );
                }
            }
        }
        if winners.is_empty() {
            return Ok(());
        }
        let won = picked(batch, winners)?;
        self.rows = Some(match self.rows.take() {
            Some(rows) => concat_batches(&rows.schema(), [&rows, &won])
                .or_error(ErrorKind::Internal, "rows cannot be joined")?,
            None => won,
        });
        self.forget()
    }

    /// Drops rows that lost since, once they are most of what is held.
    fn forget(&mut self) -> Result<()> {
        let Some(rows) = self
            .rows
            .as_ref()
            .filter(|rows| rows.num_rows() > 2 * self.best.len() + MANY)
        else {
            return Ok(());
        };
        let mut held: Vec<&mut u32> = self.best.values_mut().map(|(_, place)| place).collect();
        held.sort_unstable();
        let kept = picked(rows, held.iter().map(|place| **place).collect())?;
        held.into_iter()
            .zip(0..)
            .for_each(|(place, now)| *place = now);
        self.rows = Some(kept);
        Ok(())
    }
}

fn add_winner(winners: &mut Vec<u32>, held: usize, row: u32) -> Result<u32> {
    let place = u32::try_from(held + winners.len())
        .or_error(ErrorKind::Internal, "a dimension step is too large")?;
    winners.push(row);
    Ok(place)
}

fn picked(batch: &RecordBatch, rows: Vec<u32>) -> Result<RecordBatch> {
    take_record_batch(batch, &UInt32Array::from(rows))
        .or_error(ErrorKind::Internal, "rows cannot be picked")
}

/// Columns of a batch by which rows of one key are ranked.
struct FreshnessColumns<'a> {
    now: i64,
    as_of: &'a TimestampMicrosecondArray,
    hash: &'a BinaryArray,
}

impl<'a> FreshnessColumns<'a> {
    fn of(batch: &'a RecordBatch, now: i64) -> Result<Self> {
        let as_of = batch
            .column_by_name(AS_OF)
            .and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
        let hash = batch
            .column_by_name(CONTENT_HASH)
            .and_then(|c| c.as_binary_opt::<i32>());
        match (as_of, hash) {
            (Some(as_of), Some(hash)) => Ok(Self { now, as_of, hash }),
            _ => Err(Error::data("dimension rows lack _as_of or _content_hash")),
        }
    }

    fn at(&self, row: usize) -> (Option<i64>, &'a [u8]) {
        let hash = if self.hash.is_valid(row) {
            self.hash.value(row)
        } else {
            &[]
        };
        // A row of the future, of a clock that was ahead, goes before no other.
        let as_of = self
            .as_of
            .is_valid(row)
            .then(|| self.as_of.value(row))
            .filter(|as_of| *as_of <= self.now);
        (as_of, hash)
    }
}

/// Comparer of what rows say, apart from where they are from.
struct DimensionContent {
    converter: RowConverter,
    columns: Vec<usize>,
}

impl DimensionContent {
    fn of(schema: &SchemaRef) -> Result<Self> {
        let columns: Vec<usize> = (0..schema.fields().len())
            .filter(|at| !LINEAGE.contains(&schema.field(*at).name().as_str()))
            .collect();
        let fields = columns
            .iter()
            .map(|at| SortField::new(schema.field(*at).data_type().clone()))
            .collect();
        let converter = RowConverter::new(fields)
            .or_error(ErrorKind::Config, "a column has an impossible type")?;
        Ok(Self { converter, columns })
    }

    fn rows(&self, batch: &RecordBatch) -> Result<arrow::row::Rows> {
        let columns: Vec<ArrayRef> = self
            .columns
            .iter()
            .map(|at| Arc::clone(batch.column(*at)))
            .collect();
        self.converter
            .convert_columns(&columns)
            .or_error(ErrorKind::Internal, "rows cannot be compared")
    }
}

/// True if a row that wins says so much later than the one that is there that its time is worth writing.
fn advances(present: Option<i64>, incoming: Option<i64>) -> bool {
    match (present, incoming) {
        (Some(present), Some(incoming)) => incoming.saturating_sub(present) >= AS_OF_ADVANCES,
        (present, incoming) => present != incoming,
    }
}

impl UnifiedTable {
    /// Merges rows that have been gathered.
    pub(crate) async fn merge_with(
        &self,
        table: &Arc<TableHandle>,
        layout: &Arc<TableLayout>,
        step: &UnifyStep,
        newest: NewestDimensionRows,
    ) -> Result<ReplaceSummary> {
        let mut due = self.step_status(table, layout, step).await?;
        let mut done = ReplaceSummary::default();
        let content = DimensionContent::of(&layout.definition.schema)?;
        let incoming = newest.rows.as_ref();
        let incoming = incoming.map(|rows| content.rows(rows)).transpose()?;
        for _ in 0..ROUNDS {
            let snapshot = match due {
                StepStatus::Done(version) => return Ok(ReplaceSummary { version, ..done }),
                StepStatus::Next(snapshot) => snapshot,
            };
            let own: Vec<&DataFile> = snapshot
                .files
                .iter()
                .filter(|file| file.is_of(&step.pipeline))
                .collect();
            done.files_read += own.len() as u64;
            // Which of the incoming rows lose against what is there?
            let mut wins = newest.best.clone();
            let (mut replaced, mut is_news) = (0, false);
            for file in &own {
                let mut there = scan::rows(table, file, layout.definition.schema.clone()).await?;
                while let Some(batch) = there.next().await {
                    let batch = batch?;
                    let (keys, ranks) = (
                        newest.keys(&batch)?,
                        FreshnessColumns::of(&batch, newest.now)?,
                    );
                    let present = content.rows(&batch)?;
                    for row in 0..batch.num_rows() {
                        let key = keys.row(row);
                        match wins.get(key.as_ref()) {
                            Some(((as_of, hash), _))
                                if (*as_of, hash.as_slice()) <= ranks.at(row) =>
                            {
                                wins.remove(key.as_ref());
                            }
                            Some(((as_of, _), number)) => {
                                replaced += 1;
                                let says_the_same = incoming.as_ref().is_some_and(|incoming| {
                                    incoming.row(*number as usize) == present.row(row)
                                });
                                is_news |= !says_the_same || advances(ranks.at(row).0, *as_of);
                            }
                            None => {}
                        }
                    }
                }
            }
            // Every row that wins stands there already, as good as word for word.
            if !is_news && replaced == wins.len() as u64 {
                (replaced, wins) = (0, FastMap::default());
            }
            let mut actions = Vec::new();
            let mut written = Vec::new();
            if let Some(incoming) = newest.rows.as_ref().filter(|_| !wins.is_empty()) {
                let mut splitter = FanOutWriter::new(table.clone(), layout.clone())?;
                for file in &own {
                    let mut present =
                        scan::rows(table, file, layout.definition.schema.clone()).await?;
                    while let Some(batch) = present.next().await {
                        let batch = batch?;
                        let keys = newest.keys(&batch)?;
                        let stays: BooleanArray = (0..batch.num_rows())
                            .map(|row| Some(!wins.contains_key(keys.row(row).as_ref())))
                            .collect();
                        let rest = filter_record_batch(&batch, &stays)
                            .or_error(ErrorKind::Internal, "rows cannot be filtered")?;
                        splitter.write(rest).await?;
                    }
                }
                let mut numbers: Vec<u32> = wins.values().map(|(_, number)| *number).collect();
                numbers.sort_unstable();
                splitter.write(picked(incoming, numbers)?).await?;
                let adds = splitter.finish().await?;
                written = adds.iter().map(|add| add.path.clone()).collect();
                actions.extend(own.iter().map(|file| commit::remove(file)));
                actions.extend(adds.into_iter().map(Action::Add));
            }
            let change: CommitRequest<'_> = self.change(table, &snapshot, step, actions).await?;
            if let CommitOutcome::Committed(version) =
                commit::commit(table, &snapshot, &change).await?
            {
                table.checkpoint_if_due(version).await;
                done.rows_added = wins.len() as u64;
                done.rows_removed = replaced;
                return Ok(ReplaceSummary { version, ..done });
            }
            commit::discard(table, written).await;
            due = self.step_status(table, layout, step).await?;
        }
        Err(commit::too_many_conflicts(table))
    }
}

#[cfg(test)]
#[path = "dimension_tests.rs"]
mod tests;
