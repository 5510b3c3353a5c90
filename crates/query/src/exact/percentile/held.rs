//! The values of all groups of a percentile, in memory and on disk.
//!
//! Invariant: a percentile is of all values of its group, in whatever pieces they were held, merged and spilled. The bytes that are counted are those that are held, and those of the values
//! that are taken out of them.

use super::{Ordered, Share, value_type};
use crate::group_rows::{group_number, passes};
use crate::value_files::{LARGE_GROUP, Piece, ValueFile, ValueFiles};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, LargeBinaryArray, ListArray, PrimitiveArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use std::fmt::Debug;
use std::sync::Arc;

/// The values of all groups, each with its group.
#[derive(Debug)]
pub(super) struct HeldValues<T: Ordered> {
    values: Vec<(u32, T::Native)>,
    /// Pieces of groups that are on disk.
    pieces: Vec<(u32, Piece)>,
    groups: usize,
    share: Share,
    held: DataType,
    is_distinct: bool,
    /// Files for large groups; `None` where partial results go to another call.
    files: Option<Arc<ValueFiles>>,
    /// The file that this one writes.
    file: Option<Arc<ValueFile>>,
}

/// Values of the first groups: sorted by groups, and how many there are of each.
struct TakenValues<N> {
    values: Vec<N>,
    lengths: Vec<usize>,
    /// By group, and as they were written.
    pieces: Vec<(u32, Piece)>,
}

impl<N> TakenValues<N> {
    /// Each group: its values in memory, and its pieces.
    fn groups(&self) -> impl Iterator<Item = (&[N], &[(u32, Piece)])> {
        let (mut values, mut pieces) = (self.values.as_slice(), self.pieces.as_slice());
        self.lengths.iter().enumerate().map(move |(group, length)| {
            let (of_group, others) = values.split_at((*length).min(values.len()));
            values = others;
            let end = pieces.partition_point(|(number, _)| *number as usize <= group);
            let (pieces_of_group, others) = pieces.split_at(end);
            pieces = others;
            (of_group, pieces_of_group)
        })
    }
}

/// The pieces of each group in a partial result.
fn piece_column<'a>(groups: impl Iterator<Item = &'a [(u32, Piece)]>) -> ArrayRef {
    let bytes = groups.map(|pieces| {
        let bytes = pieces.iter().flat_map(|(_, piece)| piece.to_bytes());
        bytes.collect::<Vec<u8>>()
    });
    Arc::new(LargeBinaryArray::from_iter_values(bytes))
}

impl<T: Ordered> HeldValues<T> {
    pub(super) fn new(
        share: Share,
        held: DataType,
        is_distinct: bool,
        files: Option<Arc<ValueFiles>>,
    ) -> Self {
        Self {
            values: Vec::new(),
            pieces: Vec::new(),
            groups: 0,
            share,
            held,
            is_distinct,
            files,
            file: None,
        }
    }

    fn array(&self, values: &ArrayRef) -> Result<PrimitiveArray<T>> {
        if let Some(numbers) = values.as_primitive_opt::<T>() {
            return Ok(numbers.clone());
        }
        let cast = cast(values, &self.held)?;
        match cast.as_primitive_opt::<T>() {
            Some(numbers) => Ok(numbers.clone()),
            None => internal_err!("the values of a percentile are {}", values.data_type()),
        }
    }

    fn add(&mut self, group: usize, values: &ArrayRef) -> Result<()> {
        let group = group_number(group)?;
        let numbers = self.array(values)?;
        self.values
            .extend(numbers.iter().flatten().map(|value| (group, value)));
        Ok(())
    }

    fn sort(&mut self) {
        self.values
            .sort_unstable_by(|(group, value), (other_group, other)| {
                group.cmp(other_group).then_with(|| T::order(value, other))
            });
        if self.is_distinct {
            self.values
                .dedup_by(|(group, value), (other_group, other)| {
                    group == other_group && T::order(value, other).is_eq()
                });
        }
    }

    /// Takes out the sorted values of the first groups; the others stay, with new numbers.
    fn take(&mut self, emit_to: EmitTo) -> Result<TakenValues<T::Native>> {
        let groups = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(first) => first,
        };
        self.sort();
        let first = group_number(groups)?;
        let end = self.values.partition_point(|(group, _)| *group < first);
        let mut lengths = vec![0; groups];
        let mut taken = Vec::with_capacity(end);
        for (group, value) in &self.values[..end] {
            if let Some(length) = usize::try_from(*group)
                .ok()
                .and_then(|group| lengths.get_mut(group))
            {
                *length += 1;
            }
            taken.push(*value);
        }
        if end == self.values.len() {
            self.values = Vec::new();
        } else {
            self.values.drain(..end);
            for (group, _) in &mut self.values {
                *group -= first;
            }
        }
        let mut pieces = std::mem::take(&mut self.pieces);
        pieces.sort_unstable();
        let others = pieces.split_off(pieces.partition_point(|(group, _)| *group < first));
        self.pieces = (others.into_iter())
            .map(|(group, piece)| (group - first, piece))
            .collect();
        self.groups = self.groups.saturating_sub(groups);
        Ok(TakenValues {
            values: taken,
            lengths,
            pieces,
        })
    }

    /// Bytes that are held, and those of the values that are taken out of them while they are there.
    fn bytes_held(&self) -> usize {
        self.values.capacity() * size_of::<(u32, T::Native)>()
            + self.values.len() * size_of::<T::Native>()
            + self.pieces.capacity() * size_of::<(u32, Piece)>()
    }

    fn lists(&self, values: Vec<T::Native>, lengths: Vec<usize>) -> ArrayRef {
        let values =
            PrimitiveArray::<T>::new(values.into(), None).with_data_type(self.held.clone());
        let field = Arc::new(Field::new_list_field(self.held.clone(), true));
        let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
        Arc::new(ListArray::new(field, offsets, Arc::new(values), None))
    }

    /// Writes the values of a large group to a file; `None` where the group is small, or there is no place for it.
    fn write(&mut self, values: &[T::Native]) -> Result<Option<Piece>> {
        let bytes = size_of_val(values);
        let Some(files) = self.files.as_ref().filter(|_| bytes >= LARGE_GROUP) else {
            return Ok(None);
        };
        if self.file.is_none() {
            self.file = Some(files.create()?);
        }
        let Some(file) = &self.file else {
            return Ok(None);
        };
        let values = values.iter().map(|value| T::to_bytes(*value));
        Ok(Some(file.write(values, bytes)?))
    }

    /// Partial results: the values of each group in a list, and the pieces of it that are on disk.
    fn states(&mut self, taken: &TakenValues<T::Native>) -> Result<Vec<ArrayRef>> {
        let mut values = Vec::with_capacity(taken.values.len());
        let mut lengths = Vec::with_capacity(taken.lengths.len());
        let mut pieces = Vec::with_capacity(taken.lengths.len());
        for (number, (of_group, on_disk)) in (0_u32..).zip(taken.groups()) {
            let mut on_disk = on_disk.to_vec();
            match self.write(of_group)? {
                Some(piece) => {
                    on_disk.push((number, piece));
                    lengths.push(0);
                }
                None => {
                    values.extend_from_slice(of_group);
                    lengths.push(of_group.len());
                }
            }
            pieces.push(on_disk);
        }
        let pieces = piece_column(pieces.iter().map(Vec::as_slice));
        Ok(vec![self.lists(values, lengths), pieces])
    }

    /// The values of a group with pieces on disk, sorted.
    fn with_pieces(
        &self,
        in_memory: &[T::Native],
        pieces: &[(u32, Piece)],
        files: &ValueFiles,
        memory: &MemoryReservation,
    ) -> Result<Vec<T::Native>> {
        let on_disk: usize = pieces.iter().map(|(_, piece)| piece.rows()).sum();
        let rows = in_memory.len().saturating_add(on_disk);
        let largest = (pieces.iter().map(|(_, piece)| piece.length()).max()).unwrap_or(0);
        let bytes = rows.saturating_mul(size_of::<T::Native>());
        memory.try_resize(bytes.saturating_add(largest))?;
        let mut values = Vec::with_capacity(rows);
        values.extend_from_slice(in_memory);
        for (_, piece) in pieces {
            let bytes = files.read(*piece)?;
            let found = bytes.chunks_exact(size_of::<T::Native>());
            values.extend(found.filter_map(T::from_bytes));
        }
        values.sort_unstable_by(T::order);
        if self.is_distinct {
            values.dedup_by(|one, other| T::order(one, other).is_eq());
        }
        Ok(values)
    }
}

fn lists_of(states: &[ArrayRef]) -> Result<&ListArray> {
    match states.first().and_then(|state| state.as_list_opt::<i32>()) {
        Some(lists) => Ok(lists),
        None => internal_err!("a state of a percentile is a list"),
    }
}

fn pieces_of(states: &[ArrayRef]) -> Result<&LargeBinaryArray> {
    match states.get(1).and_then(|state| state.as_binary_opt::<i64>()) {
        Some(pieces) => Ok(pieces),
        None => internal_err!("a state of a percentile names its pieces"),
    }
}

impl<T: Ordered + Debug + Send> GroupsAccumulator for HeldValues<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = total_num_groups;
        let numbers = self.array(&values[0])?;
        for (row, (value, group)) in numbers.iter().zip(group_indices).enumerate() {
            if let Some(value) = value.filter(|_| passes(opt_filter, row)) {
                self.values.push((group_number(*group)?, value));
            }
        }
        Ok(())
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = total_num_groups;
        let pieces = pieces_of(values)?;
        for (row, (values, group)) in lists_of(values)?.iter().zip(group_indices).enumerate() {
            if let Some(values) = values {
                self.add(*group, &values)?;
            }
            if pieces.is_valid(row) {
                let group = group_number(*group)?;
                let pieces = Piece::all_of(pieces.value(row));
                self.pieces.extend(pieces.map(|piece| (group, piece)));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let taken = self.take(emit_to)?;
        let mut results = Vec::with_capacity(taken.lengths.len());
        let memory = self.files.as_ref().filter(|_| !taken.pieces.is_empty());
        let memory = memory.map(|files| {
            let consumer = MemoryConsumer::new("values of a percentile");
            (files, consumer.register(&files.spill.pool))
        });
        for (of_group, on_disk) in taken.groups() {
            results.push(match &memory {
                Some((files, memory)) if !on_disk.is_empty() => {
                    let values = self.with_pieces(of_group, on_disk, files, memory)?;
                    T::at(&values, &self.share, &self.held)?
                }
                None if !on_disk.is_empty() => {
                    return internal_err!("a spilled group has no file");
                }
                _ => T::at(of_group, &self.share, &self.held)?,
            });
        }
        let results: PrimitiveArray<T> = results.into_iter().collect();
        Ok(Arc::new(results.with_data_type(value_type(&self.held))))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let taken = self.take(emit_to)?;
        self.states(&taken)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let numbers = self.array(&values[0])?;
        let is_kept = |row: usize| numbers.is_valid(row) && passes(opt_filter, row);
        let lengths = (0..numbers.len())
            .map(|row| usize::from(is_kept(row)))
            .collect();
        let kept = (0..numbers.len())
            .filter(|row| is_kept(*row))
            .map(|row| numbers.value(row))
            .collect();
        let none: &[(u32, Piece)] = &[];
        let pieces = piece_column((0..numbers.len()).map(|_| none));
        Ok(vec![self.lists(kept, lengths), pieces])
    }

    fn size(&self) -> usize {
        self.bytes_held()
    }
}

/// The values of one group. They are sorted whenever a value is asked for, and kept: a window goes on with them.
#[derive(Debug)]
pub(super) struct WholeValues<T: Ordered>(pub(super) HeldValues<T>);

impl<T: Ordered + Debug + Send> Accumulator for WholeValues<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.add(0, &values[0])
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let gone = self.0.array(&values[0])?;
        for gone in gone.iter().flatten() {
            let held = &mut self.0.values;
            match held
                .iter()
                .position(|(_, value)| T::order(value, &gone).is_eq())
            {
                Some(place) => {
                    held.swap_remove(place);
                }
                None => return internal_err!("a value leaves a window that it is not in"),
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for values in lists_of(states)?.iter().flatten() {
            self.0.add(0, &values)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let held = &mut self.0;
        let mut sorted: Vec<T::Native> = held.values.iter().map(|(_, value)| *value).collect();
        sorted.sort_unstable_by(T::order);
        if held.is_distinct {
            sorted.dedup_by(|one, other| T::order(one, other).is_eq());
        }
        let value = T::at(&sorted, &held.share, &held.held)?;
        let value: PrimitiveArray<T> = std::iter::once(value).collect();
        ScalarValue::try_from_array(&value.with_data_type(value_type(&held.held)), 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.groups = 1;
        let taken = self.0.take(EmitTo::All)?;
        let states = self.0.states(&taken)?;
        let scalar = |state: &ArrayRef| ScalarValue::try_from_array(state, 0);
        states.iter().map(scalar).collect()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.bytes_held()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value_files::ValueSpill;
    use arrow::array::{Decimal128Array, Float64Array};
    use arrow::datatypes::{Decimal128Type, Float64Type};
    use datafusion::common::DataFusionError;
    use datafusion::execution::disk_manager::DiskManager;
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    fn files(memory: usize) -> Option<Arc<ValueFiles>> {
        Some(Arc::new(ValueFiles::new(ValueSpill {
            disk: Arc::new(DiskManager::builder().build().unwrap()),
            pool: Arc::new(GreedyMemoryPool::new(memory)),
        })))
    }

    fn decimals(is_distinct: bool, files: Option<Arc<ValueFiles>>) -> HeldValues<Decimal128Type> {
        let held = DataType::Decimal128(18, 2);
        HeldValues::new(Share::HALF, held, is_distinct, files)
    }

    fn batch(from: i128, to: i128) -> (ArrayRef, Vec<usize>) {
        let values: Decimal128Array = (from..to).map(|n| Some(n * 7919 % 1009)).collect();
        let values = values.with_data_type(DataType::Decimal128(18, 2));
        // The last group has few values, and another none.
        let groups = (from..to).map(|n| match n % 500 {
            0 => 3,
            n => usize::from(n % 3 == 0),
        });
        (Arc::new(values), groups.collect())
    }

    /// Medians of 12,000 values, as they are, and by pieces that were handed on.
    fn medians(is_distinct: bool, files: Option<Arc<ValueFiles>>, step: usize) -> ArrayRef {
        let mut whole = decimals(is_distinct, files.clone());
        let mut first = decimals(is_distinct, files);
        for from in (0..12_000).step_by(step) {
            let to = (from + i128::try_from(step).unwrap()).min(12_000);
            let (values, groups) = batch(from, to);
            first.update_batch(&[values], &groups, None, 4).unwrap();
            let states = first.state(EmitTo::All).unwrap();
            whole.merge_batch(&states, &[0, 1, 2, 3], 4).unwrap();
        }
        let early = whole.evaluate(EmitTo::First(1)).unwrap();
        let others = whole.evaluate(EmitTo::All).unwrap();
        arrow::compute::concat(&[&early, &others]).unwrap()
    }

    #[test]
    fn groups_on_disk_have_the_medians_of_those_in_memory() {
        for is_distinct in [false, true] {
            let (values, groups) = batch(0, 12_000);
            let mut held = decimals(is_distinct, None);
            held.update_batch(&[values], &groups, None, 4).unwrap();
            let expected = held.evaluate(EmitTo::All).unwrap();
            assert!(expected.is_null(2) && expected.null_count() == 1);
            for step in [300, 5_000, 12_000] {
                assert_eq!(&medians(is_distinct, None, step), &expected);
                let files = files(1 << 20);
                assert_eq!(&medians(is_distinct, files.clone(), step), &expected);
                assert_eq!(files.unwrap().paths().len(), 1, "one call writes one file");
            }
        }
    }

    #[test]
    fn floats_come_back_from_disk() {
        let values: Float64Array = (0..1_000).map(|n| Some(f64::from(n) / 8.0)).collect();
        let files = files(1 << 20);
        let held = || {
            let (share, held) = (Share::HALF, DataType::Float64);
            HeldValues::<Float64Type>::new(share, held, false, files.clone())
        };
        let (mut first, mut last) = (held(), held());
        let groups = vec![0; 1_000];
        first
            .update_batch(&[Arc::new(values)], &groups, None, 1)
            .unwrap();
        let states = first.state(EmitTo::All).unwrap();
        assert!(states[0].as_list::<i32>().value(0).is_empty());
        last.merge_batch(&states, &[0], 1).unwrap();
        let median = last.evaluate(EmitTo::All).unwrap();
        assert_eq!(median.as_primitive::<Float64Type>().value(0), 499.5 / 8.0);
    }

    #[test]
    fn a_group_that_does_not_fit_is_refused() {
        let mut held = decimals(false, files(10_000));
        let (values, groups) = batch(0, 12_000);
        held.update_batch(&[values], &groups, None, 4).unwrap();
        let states = held.state(EmitTo::All).unwrap();
        held.merge_batch(&states, &[0, 1, 2, 3], 4).unwrap();
        let error = held.evaluate(EmitTo::All).unwrap_err();
        assert!(matches!(
            error.find_root(),
            DataFusionError::ResourcesExhausted(_)
        ));
    }

    #[test]
    fn what_is_held_and_what_is_taken_out_of_it_is_counted() {
        let mut held = decimals(false, None);
        let (values, groups) = batch(0, 1_000);
        held.update_batch(&[values], &groups, None, 4).unwrap();
        let values = 1_000 * size_of::<i128>();
        assert!(held.size() >= 2 * values + 1_000 * size_of::<u32>());
        held.state(EmitTo::All).unwrap();
        assert_eq!(held.size(), 0);
    }
}
