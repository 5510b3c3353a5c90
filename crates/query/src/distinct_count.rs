//! Count of different values by their hashes, beside aggregates that cannot be worked out in two steps.
//!
//! Invariant: the number of different hashes of each group, nulls aside; every byte it holds is counted. One list, in [`partitions`], holds the values of all groups, 24 bytes each, where
//! DataFusion's sets keep each text and one table for every group. What is more than its part of memory goes to disk, and is counted there file by file.

mod partitions;
mod spilled_hashes;

use crate::group_rows::{group_number, passes};
use crate::hashed_value::GIVES;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array, ListArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef};
use datafusion::common::{DataFusionError, Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use partitions::{HashPartitions, partition_of};
use spilled_hashes::SpilledHashes;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

pub(crate) use spilled_hashes::SpillSettings;

/// The aggregate's name.
pub(crate) const NAME: &str = "distinct_count";

/// The aggregate; its argument is a [`crate::hashed_value`].
#[derive(Debug)]
struct DistinctCount {
    signature: Signature,
    spill: SpillSettings,
}

impl PartialEq for DistinctCount {
    fn eq(&self, other: &Self) -> bool {
        self.signature == other.signature
    }
}

impl Eq for DistinctCount {}

impl Hash for DistinctCount {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.signature.hash(state);
    }
}

/// The aggregate's function.
pub(crate) fn function(spill: SpillSettings) -> AggregateUDF {
    AggregateUDF::new_from_impl(DistinctCount {
        signature: Signature::exact(vec![GIVES], Volatility::Immutable),
        spill,
    })
}

fn hashes_field() -> FieldRef {
    Arc::new(Field::new_list_field(GIVES, true))
}

impl AggregateUDFImpl for DistinctCount {
    fn name(&self) -> &'static str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, _: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format!("{}[hashes]", args.name);
        Ok(vec![Arc::new(Field::new(
            name,
            DataType::List(hashes_field()),
            true,
        ))])
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(WholeCount {
            of_one: GroupCounts::new(&self.spill),
        }))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        _: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(GroupCounts::new(&self.spill)))
    }
}

/// A hash of a group. Two words and not one of 128 bits, which would be put at a multiple of sixteen bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct GroupHash {
    low: u64,
    high: u64,
    group: u32,
}

impl GroupHash {
    fn new(group: u32, hash: i128) -> Self {
        let bits = hash.cast_unsigned();
        let word = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(u64::MAX);
        Self {
            low: word(bits),
            high: word(bits >> 64),
            group,
        }
    }

    fn hash(&self) -> i128 {
        (u128::from(self.high) << 64 | u128::from(self.low)).cast_signed()
    }
}

impl GroupHash {
    /// Bits by which entries of one partition are told apart. It is a hash already; the group only has to differ from its neighbours.
    fn spread(&self) -> u64 {
        (self.low >> 8)
            ^ self.high.rotate_left(24)
            ^ u64::from(self.group).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// Different hashes by group.
#[derive(Debug)]
struct GroupCounts {
    seen: HashPartitions,
    groups: usize,
    spilled: Option<SpilledHashes>,
    spill: SpillSettings,
}

impl GroupCounts {
    fn new(spill: &SpillSettings) -> Self {
        Self {
            seen: HashPartitions::default(),
            groups: 0,
            spilled: None,
            spill: spill.clone(),
        }
    }

    fn add(&mut self, group: usize, hash: i128) -> Result<()> {
        self.seen.add(GroupHash::new(group_number(group)?, hash));
        Ok(())
    }

    fn spill_if_large(&mut self) -> Result<()> {
        let room = self.spill.room();
        if self.seen.bytes() <= room {
            return Ok(());
        }
        // Half of it may have been seen before.
        self.seen.shrink();
        if self.seen.bytes() > room / 2 {
            self.spill()?;
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<()> {
        let spilled = match &mut self.spilled {
            Some(spilled) => spilled,
            none => none.insert(SpilledHashes::new(&self.spill.disk)?),
        };
        self.seen
            .drain(|partition, hashes| spilled.write(partition, hashes))
    }

    /// Takes out the first groups, and numbers the others anew: their counts, and what they have seen where that is `wanted`.
    fn take(&mut self, emit_to: EmitTo, wanted: bool) -> Result<(Vec<i64>, Vec<GroupHash>)> {
        let groups = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(groups) => groups,
        };
        self.groups = self.groups.saturating_sub(groups);
        let first = group_number(groups)?;
        let mut counts = vec![0_i64; groups];
        let (mut taken, mut rest) = (Vec::new(), HashPartitions::default());
        let mut sort = |hash: &GroupHash| match usize::try_from(hash.group)
            .ok()
            .and_then(|at| counts.get_mut(at))
        {
            Some(count) => {
                *count += 1;
                if wanted {
                    taken.push(*hash);
                }
                None
            }
            None => Some(GroupHash {
                group: hash.group - first,
                ..*hash
            }),
        };
        if self.spilled.is_some() {
            self.spill()?;
        }
        let Some(spilled) = self.spilled.take() else {
            self.seen.drain(|_, hashes| {
                for left in hashes.iter().filter_map(&mut sort) {
                    rest.add(left);
                }
                Ok::<_, DataFusionError>(())
            })?;
            self.seen = rest;
            return Ok((counts, taken));
        };
        let mut left_behind: Option<SpilledHashes> = None;
        spilled.drain(|hashes| {
            for left in hashes.iter().filter_map(&mut sort) {
                let files = match &mut left_behind {
                    Some(files) => files,
                    none => none.insert(SpilledHashes::new(&self.spill.disk)?),
                };
                files.write(partition_of(&left), &[left])?;
            }
            Ok(())
        })?;
        self.spilled = left_behind;
        Ok((counts, taken))
    }
}

/// The hashes of groups, a list each.
fn lists(counts: &[i64], seen: &[GroupHash]) -> ArrayRef {
    let lengths = counts
        .iter()
        .map(|count| usize::try_from(*count).unwrap_or(0));
    let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
    let mut next: Vec<usize> = offsets
        .iter()
        .map(|offset| usize::try_from(*offset).unwrap_or(0))
        .collect();
    let mut hashes = vec![0_i128; seen.len()];
    for seen in seen {
        let place = usize::try_from(seen.group)
            .ok()
            .and_then(|group| next.get_mut(group));
        if let Some(place) = place {
            hashes[*place] = seen.hash();
            *place += 1;
        }
    }
    list_of(offsets, hashes.into())
}

fn list_of(offsets: OffsetBuffer<i32>, hashes: Decimal128Array) -> ArrayRef {
    let hashes = Arc::new(hashes.with_data_type(GIVES));
    Arc::new(ListArray::new(hashes_field(), offsets, hashes, None))
}

fn hashes_of(values: &[ArrayRef]) -> Result<&Decimal128Array> {
    match values
        .first()
        .and_then(|of| of.as_primitive_opt::<Decimal128Type>())
    {
        Some(hashes) => Ok(hashes),
        None => internal_err!("what is counted are hashes"),
    }
}

fn lists_of(states: &[ArrayRef]) -> Result<&ListArray> {
    match states.first().and_then(|of| of.as_list_opt::<i32>()) {
        Some(lists) => Ok(lists),
        None => internal_err!("a state of a count is a list of hashes"),
    }
}

impl GroupsAccumulator for GroupCounts {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = self.groups.max(total_num_groups);
        for (row, (hash, group)) in hashes_of(values)?.iter().zip(group_indices).enumerate() {
            if let Some(hash) = hash.filter(|_| passes(opt_filter, row)) {
                self.add(*group, hash)?;
            }
        }
        self.spill_if_large()
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (counts, _) = self.take(emit_to, false)?;
        Ok(Arc::new(Int64Array::from(counts)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (counts, seen) = self.take(emit_to, true)?;
        Ok(vec![lists(&counts, &seen)])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups = self.groups.max(total_num_groups);
        for (hashes, group) in lists_of(values)?.iter().zip(group_indices) {
            let Some(hashes) = hashes else { continue };
            for hash in hashes_of(&[hashes])?.iter().flatten() {
                self.add(*group, hash)?;
            }
            self.spill_if_large()?;
        }
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let kept: Vec<Option<i128>> = hashes_of(values)?
            .iter()
            .enumerate()
            .map(|(row, hash)| hash.filter(|_| passes(opt_filter, row)))
            .collect();
        let offsets =
            OffsetBuffer::<i32>::from_lengths(kept.iter().map(|hash| usize::from(hash.is_some())));
        Ok(vec![list_of(offsets, kept.into_iter().flatten().collect())])
    }

    fn size(&self) -> usize {
        self.seen.bytes()
    }
}

/// The count without groups: of one.
#[derive(Debug)]
struct WholeCount {
    of_one: GroupCounts,
}

impl WholeCount {
    fn groups(values: &[ArrayRef]) -> Vec<usize> {
        vec![0; values.first().map_or(0, |values| values.len())]
    }
}

impl Accumulator for WholeCount {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.of_one
            .update_batch(values, &Self::groups(values), None, 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.of_one.merge_batch(states, &Self::groups(states), 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.of_one.groups = 1;
        let counts = self.of_one.evaluate(EmitTo::All)?;
        ScalarValue::try_from_array(&counts, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.of_one.groups = 1;
        let states = self.of_one.state(EmitTo::All)?;
        states
            .iter()
            .map(|state| ScalarValue::try_from_array(state, 0))
            .collect()
    }

    fn size(&self) -> usize {
        self.of_one.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::SharedMemory;
    use datafusion::execution::disk_manager::DiskManager;

    fn hashes(values: &[Option<i128>]) -> ArrayRef {
        Arc::new(Decimal128Array::from(values.to_vec()).with_data_type(GIVES))
    }

    fn counts(array: ArrayRef) -> Vec<i64> {
        let counts = array.as_primitive::<arrow::datatypes::Int64Type>();
        counts.values().to_vec()
    }

    fn new(bytes: usize) -> GroupCounts {
        let disk = Arc::new(DiskManager::builder().build().unwrap());
        GroupCounts::new(&SpillSettings {
            disk,
            bytes,
            memory: None,
            counts: 1,
        })
    }

    #[test]
    fn a_count_spills_before_its_grouping_is_refused_memory() {
        let memory = Arc::new(SharedMemory::new(400_000));
        let mut some = new(usize::MAX);
        some.spill.memory = Some(Arc::clone(&memory));
        some.spill = some.spill.shared_by(2);
        let values: Vec<_> = (0..20_000_i128).map(Some).collect();
        for values in values.chunks(1_000) {
            some.update_batch(&[hashes(values)], &vec![0; values.len()], None, 1)
                .unwrap();
            assert!(2 * some.size() < memory.share(), "{}", some.size());
        }
        assert!(some.spilled.is_some());
        assert_eq!(counts(some.evaluate(EmitTo::All).unwrap()), [20_000]);
    }

    #[test]
    fn groups_are_counted_emitted_and_merged() {
        for bytes in [0, 1 << 20] {
            let values = hashes(&[Some(1), Some(1), None, Some(2), Some(1), Some(1 << 100)]);
            let groups = [0, 0, 0, 1, 2, 1];
            let mut first = new(bytes);
            first
                .update_batch(&[Arc::clone(&values)], &groups, None, 4)
                .unwrap();
            assert_eq!(first.spilled.is_some(), bytes == 0);
            let filter = BooleanArray::from(vec![false, false, true, true, false, false]);
            let mut second = new(bytes);
            second
                .update_batch(&[Arc::clone(&values)], &groups, Some(&filter), 4)
                .unwrap();
            let early = first.state(EmitTo::First(1)).unwrap();
            let rest = first.state(EmitTo::All).unwrap();
            assert!(first.seen.is_empty() && first.groups == 0 && first.spilled.is_none());
            second.merge_batch(&early, &[0], 4).unwrap();
            second.merge_batch(&rest, &[1, 2, 3], 4).unwrap();
            let direct = second.convert_to_state(&[values], Some(&filter)).unwrap();
            second.merge_batch(&direct, &[3; 6], 4).unwrap();
            assert_eq!(counts(second.evaluate(EmitTo::First(2)).unwrap()), [1, 2]);
            assert_eq!(counts(second.evaluate(EmitTo::All).unwrap()), [1, 1]);
        }
    }

    #[test]
    fn what_is_on_disk_is_counted_once() {
        let mut some = new(10_000);
        for round in 0..50_i128 {
            let values: Vec<_> = (0..1_000).map(|n| Some(n * 7919 + round % 5)).collect();
            let groups: Vec<usize> = (0..1_000).map(|n| n % 3).collect();
            some.update_batch(&[hashes(&values)], &groups, None, 3)
                .unwrap();
        }
        assert!(some.spilled.is_some() && some.size() < 100_000);
        assert_eq!(
            counts(some.evaluate(EmitTo::All).unwrap()),
            [1670, 1665, 1665]
        );
    }
}
