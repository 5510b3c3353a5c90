//! The values of all groups, as DataFusion adds to them, merges and spills them.
//!
//! Invariant: values are handed out by group, then by key, and among equal keys as they came, in whatever pieces they were held or merged between. The bytes that are counted are those that
//! are held and those that handing them out takes: a result, or what is spilled, is made while they are still there, and nobody can be asked for memory then.

use super::gathered::{GatheredInto, ResultBuilder};
use super::keys::{KeyLayout, SortKeys};
use super::records::{HeldRecords, SortedRows};
use crate::group_rows::{group_number, passes};
use crate::value_files::{LARGE_GROUP, Piece, ValueFile, ValueFiles};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, LargeBinaryArray};
use arrow::buffer::{Buffer, OffsetBuffer};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_datafusion_err};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use std::mem::size_of_val;
use std::sync::Arc;

/// The values of all groups.
#[derive(Debug)]
pub(super) struct HeldValues {
    into: GatheredInto,
    keys: SortKeys,
    /// Arguments of the call that come before its keys.
    arguments: usize,
    records: HeldRecords,
    /// Pieces of groups that are on disk, as they came.
    pieces: Vec<HeldPiece>,
    groups: usize,
    /// Files for large groups; `None` where partial results go to another call.
    files: Option<Arc<ValueFiles>>,
    /// The file that this one writes.
    file: Option<Arc<ValueFile>>,
}

/// A piece of a group that is on disk, and its place among the records in memory.
#[derive(Debug, Clone, Copy)]
struct HeldPiece {
    group: u32,
    /// Number of the first record that came behind it.
    next: u32,
    piece: Piece,
}

impl HeldPiece {
    /// Of rows by their numbers those that came before it, and those behind it.
    fn split(self, rows: &[u32]) -> (&[u32], &[u32]) {
        rows.split_at(rows.partition_point(|row| *row < self.next))
    }
}

/// Values of the first groups, taken out of what is held.
struct TakenValues {
    records: HeldRecords,
    sorted: SortedRows,
    /// By group, and as they came.
    pieces: Vec<HeldPiece>,
}

fn no_file() -> DataFusionError {
    internal_datafusion_err!("a spilled group has no file")
}

/// Byte strings, one for each group.
#[derive(Default)]
struct ByteStrings {
    bytes: Vec<u8>,
    lengths: Vec<usize>,
}

impl ByteStrings {
    /// Ends the string of a group, which began where the last one ended.
    fn end(&mut self, began: usize) {
        self.lengths.push(self.bytes.len() - began);
    }

    fn finish(self) -> Result<ArrayRef> {
        let offsets = OffsetBuffer::<i64>::from_lengths(self.lengths);
        let bytes = Buffer::from_vec(self.bytes);
        Ok(Arc::new(LargeBinaryArray::try_new(offsets, bytes, None)?))
    }
}

impl TakenValues {
    fn groups(&self) -> usize {
        self.sorted.groups()
    }

    /// Pieces of a group.
    fn pieces_of(&self, group: usize) -> &[HeldPiece] {
        let from = (self.pieces).partition_point(|held| (held.group as usize) < group);
        let others = &self.pieces[from..];
        &others[..others.partition_point(|held| held.group as usize <= group)]
    }

    /// The rows of a group as they came.
    fn as_they_came(&self, group: usize) -> Vec<u32> {
        let mut rows = self.sorted.of_group(group).to_vec();
        rows.sort_unstable();
        rows
    }

    /// The bytes of records, one behind the other.
    fn bytes_of(&self, rows: &[u32]) -> Vec<u8> {
        let records: Vec<&[u8]> = (rows.iter())
            .map(|row| self.records.bytes_of(*row))
            .collect();
        records.concat()
    }

    fn values_of<'a>(&'a self, rows: &'a [u32]) -> impl Iterator<Item = &'a [u8]> {
        rows.iter().map(move |row| self.records.record(*row).value)
    }

    /// Partial results: the pieces of each group that are on disk, and the records that came behind them. A large group is written by `write`, where there is a place for it.
    fn states(
        &self,
        mut write: impl FnMut(&[u32]) -> Result<Option<Piece>>,
    ) -> Result<Vec<ArrayRef>> {
        let (mut records, mut pieces) = (ByteStrings::default(), ByteStrings::default());
        for group in 0..self.groups() {
            let (records_begin, pieces_begin) = (records.bytes.len(), pieces.bytes.len());
            let on_disk = self.pieces_of(group);
            let as_they_came = match on_disk.is_empty() {
                true => Vec::new(),
                false => self.as_they_came(group),
            };
            let mut rows = as_they_came.as_slice();
            for held in on_disk {
                let (before, behind) = held.split(rows);
                if !before.is_empty() {
                    let piece = write(before)?.ok_or_else(no_file)?;
                    pieces.bytes.extend_from_slice(&piece.to_bytes());
                }
                pieces.bytes.extend_from_slice(&held.piece.to_bytes());
                rows = behind;
            }
            if on_disk.is_empty() {
                rows = self.sorted.of_group(group);
            }
            let bytes = rows.iter().map(|row| self.records.bytes_of(*row));
            let length: usize = bytes.clone().map(<[u8]>::len).sum();
            let written = if length < LARGE_GROUP {
                None
            } else {
                write(rows)?
            };
            match written {
                Some(piece) => pieces.bytes.extend_from_slice(&piece.to_bytes()),
                None => bytes.for_each(|record| records.bytes.extend_from_slice(record)),
            }
            records.end(records_begin);
            pieces.end(pieces_begin);
        }
        Ok(vec![records.finish()?, pieces.finish()?])
    }

    /// The results of groups that are all in memory.
    fn result(&self, into: &GatheredInto) -> Result<ArrayRef> {
        let groups = self.groups();
        let between = into.bytes_between(self.records.len());
        let bytes = self.records.value_bytes() + between;
        let mut results = ResultBuilder::new(into, groups, bytes);
        let lengths: Vec<usize> = (0..groups)
            .map(|group| self.sorted.of_group(group).len())
            .collect();
        results.add(&lengths, self.values_of(self.sorted.all()))?;
        results.finish()
    }

    /// The results of groups with pieces on disk, of one group after the other.
    fn result_with_pieces(
        &self,
        into: &GatheredInto,
        layout: KeyLayout,
        files: &ValueFiles,
    ) -> Result<ArrayRef> {
        let memory = MemoryConsumer::new("values in an order").register(&files.spill.pool);
        let pieces = || self.pieces.iter().map(|held| held.piece);
        let values = self.records.value_bytes() + pieces().map(Piece::values).sum::<usize>();
        let rows = self.records.len() + pieces().map(Piece::rows).sum::<usize>();
        let bytes = values.saturating_add(into.bytes_between(rows));
        memory.try_resize(bytes)?;
        let mut results = ResultBuilder::new(into, self.groups(), bytes);
        for group in 0..self.groups() {
            let on_disk = self.pieces_of(group);
            if on_disk.is_empty() {
                let rows = self.sorted.of_group(group);
                results.add(&[rows.len()], self.values_of(rows))?;
                continue;
            }
            let as_they_came = self.as_they_came(group);
            let mut rows = as_they_came.as_slice();
            let mut whole = HeldRecords::default();
            for held in on_disk {
                let (before, behind) = held.split(rows);
                whole.adopt(0, self.bytes_of(before))?;
                let size = bytes.max(results.size()) + whole.size();
                memory.try_resize(size.saturating_add(held.piece.length()))?;
                whole.adopt(0, files.read(held.piece)?)?;
                rows = behind;
            }
            whole.adopt(0, self.bytes_of(rows))?;
            memory.try_resize(bytes.max(results.size()) + whole.size() + whole.sorting())?;
            let sorted = whole.sorted(1, layout);
            let values = (sorted.all().iter()).map(|row| whole.record(*row).value);
            results.add(&[whole.len()], values)?;
        }
        results.finish()
    }
}

impl HeldValues {
    pub(super) fn new(
        into: GatheredInto,
        keys: SortKeys,
        arguments: usize,
        files: Option<Arc<ValueFiles>>,
    ) -> Self {
        Self {
            into,
            keys,
            arguments,
            records: HeldRecords::default(),
            pieces: Vec::new(),
            groups: 0,
            files,
            file: None,
        }
    }

    /// The records of a batch: arguments, then keys.
    fn add_batch(
        &self,
        to: &mut HeldRecords,
        values: &[ArrayRef],
        group: impl Fn(usize) -> Option<usize>,
    ) -> Result<()> {
        let first = (values.first())
            .ok_or_else(|| internal_datafusion_err!("what is gathered has values"))?;
        let bytes = self.into.bytes_of(first)?;
        let keys = values.get(self.arguments..).unwrap_or_default();
        let keys = self.keys.of_batch(first, keys)?;
        for row in 0..first.len() {
            if let (Some(group), Some(value)) = (group(row), bytes.at(row)) {
                to.push(group_number(group)?, keys.of_row(row), value)?;
            }
        }
        Ok(())
    }

    /// Takes rows in.
    fn update(
        &mut self,
        values: &[ArrayRef],
        group: impl Fn(usize) -> Option<usize>,
    ) -> Result<()> {
        let mut records = std::mem::take(&mut self.records);
        let added = self.add_batch(&mut records, values, group);
        self.records = records;
        added
    }

    /// Takes partial results in.
    fn merge(&mut self, states: &[ArrayRef], group: impl Fn(usize) -> usize) -> Result<()> {
        let strings = |at: usize| {
            let state = states
                .get(at)
                .and_then(|state| state.as_binary_opt::<i64>());
            state.ok_or_else(|| internal_datafusion_err!("a state of an aggregate is bytes"))
        };
        let (records, pieces) = (strings(0)?, strings(1)?);
        for row in 0..records.len() {
            let group = group_number(group(row))?;
            // What a partial result has on disk came before what it holds.
            if pieces.is_valid(row) {
                let next = self.records.next_row()?;
                let pieces = Piece::all_of(pieces.value(row));
                let held = pieces.map(|piece| HeldPiece { group, next, piece });
                self.pieces.extend(held);
            }
            if records.is_valid(row) {
                self.records.push_records(group, records.value(row))?;
            }
        }
        Ok(())
    }

    /// Takes out the values of the first groups, sorted, and numbers the others anew.
    fn take(&mut self, emit_to: EmitTo) -> Result<TakenValues> {
        let groups = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(groups) => groups,
        };
        let first = group_number(groups)?;
        let records = std::mem::take(&mut self.records);
        self.records = records.split_off(first)?;
        self.groups = self.groups.saturating_sub(groups);
        let mut pieces = std::mem::take(&mut self.pieces);
        // Those of one group stay as they came.
        pieces.sort_by_key(|held| held.group);
        let others = pieces.split_off(pieces.partition_point(|held| held.group < first));
        let kept = match others.is_empty() {
            true => Vec::new(),
            false => records.rows_from(first),
        };
        self.pieces = (others.into_iter())
            .map(|held| HeldPiece {
                group: held.group - first,
                next: u32::try_from(held.split(&kept).0.len()).unwrap_or(held.next),
                piece: held.piece,
            })
            .collect();
        let sorted = records.sorted(groups, self.keys.layout());
        Ok(TakenValues {
            records,
            sorted,
            pieces,
        })
    }

    /// Writes records to a file of their own; `None` where there is no place for them.
    fn write(&mut self, records: &HeldRecords, rows: &[u32]) -> Result<Option<Piece>> {
        let Some(files) = &self.files else {
            return Ok(None);
        };
        if self.file.is_none() {
            self.file = Some(files.create()?);
        }
        let Some(file) = &self.file else {
            return Ok(None);
        };
        let values = rows.iter().map(|row| records.record(*row).value.len());
        let bytes = rows.iter().map(|row| records.bytes_of(*row));
        Ok(Some(file.write(bytes, values.sum())?))
    }

    /// Bytes that are held, and those that handing them out takes: sorting first, then so many copies of a result, or what is spilled.
    fn bytes_held(&self, copies: usize) -> usize {
        let pieces = self.pieces.capacity() * size_of::<HeldPiece>();
        if self.records.is_empty() {
            return self.records.size() + pieces;
        }
        let between = self.into.bytes_between(self.records.len());
        let result = self.records.value_bytes() + between;
        let partial = match &self.files {
            Some(_) => (self.records.record_bytes()).min(self.groups.saturating_mul(LARGE_GROUP)),
            None => self.records.record_bytes(),
        };
        let handing_out = (self.records.sorting())
            .max(result.saturating_mul(copies))
            .max(partial);
        let ends = self.groups * size_of::<usize>();
        self.records.size() + pieces + ends + handing_out
    }
}

impl GroupsAccumulator for HeldValues {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = self.groups.max(total_num_groups);
        self.update(values, |row| {
            let group = group_indices.get(row).copied();
            group.filter(|_| passes(opt_filter, row))
        })
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = self.groups.max(total_num_groups);
        self.merge(values, |row| group_indices[row])
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let taken = self.take(emit_to)?;
        match &self.files {
            _ if taken.pieces.is_empty() => taken.result(&self.into),
            Some(files) => taken.result_with_pieces(&self.into, self.keys.layout(), files),
            None => Err(no_file()),
        }
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let taken = self.take(emit_to)?;
        taken.states(|rows| self.write(&taken.records, rows))
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut records = HeldRecords::default();
        self.add_batch(&mut records, values, |row| {
            Some(row).filter(|row| passes(opt_filter, *row))
        })?;
        let rows = values.first().map_or(0, |values| values.len());
        let taken = TakenValues {
            sorted: records.sorted(rows, self.keys.layout()),
            records,
            pieces: Vec::new(),
        };
        taken.states(|_| Ok(None))
    }

    fn size(&self) -> usize {
        self.bytes_held(1)
    }
}

/// The values of one group.
#[derive(Debug)]
pub(super) struct WholeGroup(pub(super) HeldValues);

impl WholeGroup {
    /// The values that are held, sorted. They have to be put back: the group may be asked again.
    fn take(&mut self) -> TakenValues {
        let records = std::mem::take(&mut self.0.records);
        TakenValues {
            sorted: records.sorted(1, self.0.keys.layout()),
            records,
            pieces: Vec::new(),
        }
    }
}

impl Accumulator for WholeGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.groups = 1;
        self.0.update(values, |_| Some(0))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.groups = 1;
        self.0.merge(states, |_| 0)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let taken = self.take();
        let result = taken.result(&self.0.into);
        self.0.records = taken.records;
        ScalarValue::try_from_array(&result?, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let taken = self.take();
        let states = taken.states(|_| Ok(None));
        self.0.records = taken.records;
        let scalar = |state: &ArrayRef| ScalarValue::try_from_array(state, 0);
        states?.iter().map(scalar).collect()
    }

    fn size(&self) -> usize {
        // One result becomes another: a column, then a value.
        size_of_val(self) + self.0.bytes_held(2)
    }
}
