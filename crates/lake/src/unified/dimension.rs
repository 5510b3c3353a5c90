//! Dimensions: the newest known values of each key.
//!
//! Invariant: the result depends only on the set of rows that ever came, not on their order: the row with the greatest `_as_of`
//! stays; of equal ones, such as two versions of one sale, that which was read last (`_extracted_at`), else that with the greater `_content_hash`. So a rebuild
//! gives what the increments gave. A row of the future, of a machine whose clock was ahead, counts as one without `_as_of`.
//!
//! Sales only name their site or product, some with all that is known of it and some by its id alone. Of rows that are gathered from such records
//! ([`UnifiedTable::keeping_known`]) a null says nothing: the newest row takes what it lacks from the newest one that has it. A list of the sites or
//! products themselves says all there is, and a null of it is a value that is gone.
//!
//! ```text
//!   as of   name    code              name    code
//!   1       Tea     T-1
//!   2       Chai    -          -->    Chai    T-1     of 3
//!   3       -       -
//! ```
//!
//! A statement that knows what may stand in for such a value gives it in a row of its own, as of 1970: it is taken where no other row has one.
//!
//! The times of values that were taken over are not kept. So where a value that the newest row lacks comes late in several versions, and these come
//! out of order, the one that came first stays until it is named again; a rebuild, which has all of them at once, takes the newest.
//!
//! A row that says what is there already is not written for its later `_as_of` alone, as long as that is less than a day later: sales name
//! their site each time, and sites hardly change. So `_as_of` may be a day behind, and a rebuild may name another sale of that day as the one
//! a row is from. Where a key's values go to and fro within a day and come out of order, an earlier one may stay until it is named again.

use super::step::{UnifyStep, WatermarkPlace};
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
use arrow::compute::{concat_batches, filter_record_batch, take, take_record_batch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};
use deltalake::kernel::Action;
use futures::StreamExt;
use std::sync::Arc;
use tillhouse_model::table::{AS_OF, CONTENT_HASH, DELETED_AT, EXTRACTED_AT, RUN_ID};
use tillhouse_model::{Error, ErrorKind, FastMap, Result, ResultExt};

/// Most rows that lost, held before they are dropped.
const MANY: usize = 256;
/// Most columns of a dimension that are filled: one each bit of a row's nulls.
const MOST_FILLED: usize = 64;

/// Microseconds that a row has to be later for being written when it says what is there already.
const AS_OF_ADVANCES: i64 = 24 * 60 * 60 * 1_000_000;
/// Columns that tell where a row is from, not what it says.
const LINEAGE: [&str; 4] = [AS_OF, EXTRACTED_AT, CONTENT_HASH, RUN_ID];

/// Freshness of a row: its `_as_of` and when it was read, both in microseconds, then its content hash.
type FreshnessRank<H> = (Option<i64>, Option<i64>, H);

/// A row's freshness, and its nulls in the columns that others fill.
type RowStanding<'a> = (FreshnessRank<&'a [u8]>, u64);

/// A row of a key of which something may stay.
struct CandidateRow {
    rank: FreshnessRank<Vec<u8>>,
    /// The columns that other rows fill where it has no value, a bit each; see [`NewestDimensionRows::nulls`].
    nulls: u64,
    place: u32,
}

/// True if nothing stays of a row where another one is there: it is no newer, and knows nothing that the other does not.
fn covers((rank, nulls): RowStanding<'_>, other: RowStanding<'_>) -> bool {
    rank >= other.0 && (nulls & !other.1) == 0
}

impl CandidateRow {
    fn standing(&self) -> RowStanding<'_> {
        let (as_of, read_at, hash) = &self.rank;
        ((*as_of, *read_at, hash.as_slice()), self.nulls)
    }

    /// The newest of some rows, the first of equal ones.
    fn newest<'c>(rows: impl Iterator<Item = &'c Self>) -> Option<&'c Self> {
        rows.reduce(|newest, row| if row.rank > newest.rank { row } else { newest })
    }
}

/// The freshness of a row, and its place.
type RankedPlace = (FreshnessRank<Vec<u8>>, u32);

/// One row a key, with its freshness and its place, by key.
#[derive(Default)]
struct MergedDimensionRows {
    rows: Option<RecordBatch>,
    by_key: FastMap<Box<[u8]>, RankedPlace>,
}

/// The newest incoming row of each key, and older ones that have values which it lacks.
pub(crate) struct NewestDimensionRows {
    converter: RowConverter,
    key: Vec<String>,
    /// Columns in which a null says nothing.
    filled: Vec<usize>,
    rows: Option<RecordBatch>,
    /// Rows that say they are of a later time do not know.
    now: i64,
    best: FastMap<Box<[u8]>, Vec<CandidateRow>>,
}

impl NewestDimensionRows {
    /// `keeps_known`: a null says nothing, and what an older row says stays.
    pub(crate) fn new(
        schema: &SchemaRef,
        key: &[String],
        now: i64,
        keeps_known: bool,
    ) -> Result<Self> {
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
        let fills = |at: &usize| {
            let (name, is_nullable) = (schema.field(*at).name(), schema.field(*at).is_nullable());
            let is_lineage = LINEAGE.contains(&name.as_str()) || name == DELETED_AT;
            keeps_known && is_nullable && !is_lineage && !key.contains(name)
        };
        let filled = (0..schema.fields().len()).filter(fills);
        Ok(Self {
            converter,
            key: key.to_vec(),
            filled: filled.take(MOST_FILLED).collect(),
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

    /// By row, the columns to be filled that it has no value in, a bit each; empty where no row lacks one.
    fn nulls(&self, batch: &RecordBatch) -> Vec<u64> {
        let mut found: Vec<u64> = Vec::new();
        for (bit, at) in self.filled.iter().enumerate() {
            let column = batch.column(*at);
            if column.null_count() == 0 {
                continue;
            }
            found.resize(batch.num_rows(), 0);
            for (row, nulls) in found.iter_mut().enumerate() {
                *nulls |= u64::from(column.is_null(row)) << bit;
            }
        }
        found
    }

    /// Takes rows; keeps those of each key of which something may stay, so that memory is bounded by the keys.
    pub(crate) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let held = self.rows.as_ref().map_or(0, RecordBatch::num_rows);
        let keys = self.keys(batch)?;
        let ranks = FreshnessColumns::of(batch, self.now)?;
        let nulls = self.nulls(batch);
        // Rows of this batch of which something stays so far; they are numbered on from those that are held.
        let mut winners: Vec<u32> = Vec::new();
        for (row, number) in (0..batch.num_rows()).zip(0_u32..) {
            let own = (ranks.at(row), nulls.get(row).copied().unwrap_or(0));
            let known = match self.best.get_mut(keys.row(row).as_ref()) {
                Some(known) => known,
                None => self.best.entry(keys.row(row).as_ref().into()).or_default(),
            };
            if known.iter().any(|other| covers(other.standing(), own)) {
                continue;
            }
            let beaten = known.iter().find(|other| covers(own, other.standing()));
            // The place of one of this batch that loses is taken over.
            let taken = beaten.and_then(|beaten| {
                let at = (beaten.place as usize).checked_sub(held)?;
                *winners.get_mut(at)? = number;
                Some(beaten.place)
            });
            let place = match taken {
                Some(place) => place,
                None => add_winner(&mut winners, held, number)?,
            };
            known.retain(|other| !covers(own, other.standing()));
            let ((as_of, read_at, hash), nulls) = own;
            known.push(CandidateRow {
                rank: (as_of, read_at, hash.to_vec()),
                nulls,
                place,
            });
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
        let is_much = |rows: &RecordBatch, held: usize| rows.num_rows() > 2 * held + MANY;
        let Some(rows) = self
            .rows
            .as_ref()
            .filter(|rows| is_much(rows, self.best.len()))
        else {
            return Ok(());
        };
        let held = self.best.values_mut().flatten().map(|row| &mut row.place);
        let mut held: Vec<&mut u32> = held.collect();
        if !is_much(rows, held.len()) {
            return Ok(());
        }
        held.sort_unstable();
        let kept = picked(rows, held.iter().map(|place| **place).collect())?;
        held.into_iter()
            .zip(0..)
            .for_each(|(place, now)| *place = now);
        self.rows = Some(kept);
        Ok(())
    }

    /// The newest row of each key, with what it lacks from the newest one that has it.
    fn merged(&self) -> Result<MergedDimensionRows> {
        let Some(rows) = &self.rows else {
            return Ok(MergedDimensionRows::default());
        };
        let mut merged = MergedDimensionRows::default();
        let mut newest = Vec::with_capacity(self.best.len());
        let mut filled: Vec<Vec<u32>> = vec![Vec::new(); self.filled.len()];
        for ((key, known), number) in self.best.iter().zip(0_u32..) {
            let of_key = CandidateRow::newest(known.iter())
                .ok_or_else(|| Error::internal("a key of a dimension has no row"))?;
            newest.push(of_key.place);
            for (bit, places) in filled.iter_mut().enumerate() {
                let with_value = known.iter().filter(|row| (row.nulls >> bit) & 1 == 0);
                let with_value = CandidateRow::newest(with_value);
                places.push(with_value.map_or(of_key.place, |row| row.place));
            }
            let value = (of_key.rank.clone(), number);
            merged.by_key.insert(key.clone(), value);
        }
        let newest = UInt32Array::from(newest);
        let filled: Vec<UInt32Array> = filled.into_iter().map(UInt32Array::from).collect();
        let columns = rows.columns().iter().enumerate().map(|(at, column)| {
            let own = self.filled.iter().position(|filled| *filled == at);
            let places = own.and_then(|own| filled.get(own)).unwrap_or(&newest);
            take(column, places, None)
        });
        let columns = columns.collect::<std::result::Result<Vec<ArrayRef>, ArrowError>>();
        let taken = columns.and_then(|columns| RecordBatch::try_new(rows.schema(), columns));
        merged.rows = Some(taken.or_error(ErrorKind::Internal, "rows cannot be picked")?);
        Ok(merged)
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
    read_at: &'a TimestampMicrosecondArray,
    hash: &'a BinaryArray,
}

impl<'a> FreshnessColumns<'a> {
    fn of(batch: &'a RecordBatch, now: i64) -> Result<Self> {
        let times = |name: &str| {
            let column = batch.column_by_name(name)?;
            column.as_primitive_opt::<TimestampMicrosecondType>()
        };
        let hash = batch
            .column_by_name(CONTENT_HASH)
            .and_then(|c| c.as_binary_opt::<i32>());
        match (times(AS_OF), times(EXTRACTED_AT), hash) {
            (Some(as_of), Some(read_at), Some(hash)) => Ok(Self {
                now,
                as_of,
                read_at,
                hash,
            }),
            _ => Err(Error::data(
                "dimension rows lack _as_of, _extracted_at or _content_hash",
            )),
        }
    }

    fn at(&self, row: usize) -> FreshnessRank<&'a [u8]> {
        let hash = if self.hash.is_valid(row) {
            self.hash.value(row)
        } else {
            &[]
        };
        // A row of the future, of a clock that was ahead, goes before no other.
        let past = |times: &TimestampMicrosecondArray| {
            let time = times.is_valid(row).then(|| times.value(row));
            time.filter(|time| *time <= self.now)
        };
        (past(self.as_of), past(self.read_at), hash)
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
        mut place: WatermarkPlace,
    ) -> Result<ReplaceSummary> {
        let mut carried = Vec::new();
        // Whoever waits does so before it looks where its table is.
        if matches!(place, WatermarkPlace::OwnLog(_)) {
            carried.extend(place.of_others().await);
        }
        let mut due = self.step_status(table, layout, step).await?;
        let mut done = ReplaceSummary::default();
        let schema = &layout.definition.schema;
        let content = DimensionContent::of(schema)?;
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
            // What is there of the keys that came, and then what came on top of it.
            let mut all =
                NewestDimensionRows::new(schema, &self.spec.key, newest.now, self.keeps_known)?;
            for file in &own {
                let mut there = scan::rows(table, file, schema.clone()).await?;
                while let Some(batch) = there.next().await {
                    let batch = batch?;
                    let keys = newest.keys(&batch)?;
                    let is_named = |row: &usize| newest.best.contains_key(keys.row(*row).as_ref());
                    let named = (0..batch.num_rows()).zip(0_u32..);
                    let named: Vec<u32> = named
                        .filter(|(row, _)| is_named(row))
                        .map(|(_, number)| number)
                        .collect();
                    if !named.is_empty() {
                        all.add(&picked(&batch, named)?)?;
                    }
                }
            }
            let there = all.merged()?;
            if let Some(rows) = &newest.rows {
                all.add(rows)?;
            }
            let merged = all.merged()?;
            let says = |rows: &MergedDimensionRows| {
                let rows = rows.rows.as_ref();
                rows.map(|rows| content.rows(rows)).transpose()
            };
            let (before, after) = (says(&there)?, says(&merged)?);
            let (mut replaced, mut is_news) = (0, false);
            let mut wins: FastMap<Box<[u8]>, u32> = FastMap::default();
            for (key, (rank, number)) in &merged.by_key {
                if let Some((was, place)) = there.by_key.get(key) {
                    let says_the_same = match (&before, &after) {
                        (Some(before), Some(after)) => {
                            before.row(*place as usize) == after.row(*number as usize)
                        }
                        _ => false,
                    };
                    if says_the_same && rank == was {
                        continue;
                    }
                    replaced += 1;
                    is_news |= !says_the_same || advances(was.0, rank.0);
                }
                wins.insert(key.clone(), *number);
            }
            // Every row that wins stands there already, as good as word for word.
            if !is_news && replaced == wins.len() as u64 {
                (replaced, wins) = (0, FastMap::default());
            }
            let mut actions = Vec::new();
            let mut written = Vec::new();
            if let Some(incoming) = merged.rows.as_ref().filter(|_| !wins.is_empty()) {
                let mut splitter = FanOutWriter::new(table.clone(), layout.clone())?;
                for file in &own {
                    let mut present = scan::rows(table, file, schema.clone()).await?;
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
                let mut numbers: Vec<u32> = wins.values().copied().collect();
                numbers.sort_unstable();
                splitter.write(picked(incoming, numbers)?).await?;
                let adds = splitter.finish().await?;
                written = adds.iter().map(|add| add.path.clone()).collect();
                actions.extend(own.iter().map(|file| commit::remove(file)));
                actions.extend(adds.into_iter().map(Action::Add));
            }
            if actions.is_empty() && self.is_carried(table, &snapshot, step, &mut place).await? {
                let version = snapshot.version;
                return Ok(ReplaceSummary { version, ..done });
            }
            carried.extend(place.of_others().await);
            let change: CommitRequest<'_> = self
                .change(table, &snapshot, step, actions, &carried)
                .await?;
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
