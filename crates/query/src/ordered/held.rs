//! The values of all groups with their sorting keys, in one buffer.
//!
//! Invariant: values are handed out by group, then by key, and among equal keys as they came, in whatever pieces they were held, merged or spilled between.

use super::gathered::GatheredInto;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, LargeBinaryBuilder, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use arrow::row::RowConverter;
use datafusion::common::{Result, ScalarValue, exec_datafusion_err, internal_datafusion_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};
use std::mem::{size_of, size_of_val};
use std::sync::Arc;

/// A value of a group, and where it lies: its key, then the value itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeldRow {
    at: usize,
    group: u32,
    key: u32,
    value: u32,
}

impl HeldRow {
    pub(super) fn group(&self) -> usize {
        self.group as usize
    }

    pub(super) fn value_length(&self) -> usize {
        self.value as usize
    }
}

/// The values of all groups.
#[derive(Debug)]
pub(super) struct HeldValues {
    into: GatheredInto,
    keys: RowConverter,
    /// Arguments of the call that come before its keys.
    arguments: usize,
    buffer: HeldBuffer,
    groups: usize,
}

/// Rows, and the bytes that they point into.
#[derive(Debug, Default)]
struct HeldBuffer {
    rows: Vec<HeldRow>,
    bytes: Vec<u8>,
}

/// Rows of the first groups, taken out of what is held.
struct TakenRows {
    bytes: Vec<u8>,
    sorted: Vec<HeldRow>,
    groups: usize,
}

fn length(of: &[u8]) -> Result<u32> {
    u32::try_from(of.len()).map_err(|_| exec_datafusion_err!("a value is longer than 4 GiB"))
}

fn group_number(group: usize) -> Result<u32> {
    u32::try_from(group).map_err(|_| internal_datafusion_err!("more groups than can be numbered"))
}

/// True for rows that a filter lets pass.
fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

fn key_of<'a>(bytes: &'a [u8], row: &HeldRow) -> &'a [u8] {
    &bytes[row.at..row.at + row.key as usize]
}

pub(super) fn value_of<'a>(bytes: &'a [u8], row: &HeldRow) -> &'a [u8] {
    let from = row.at + row.key as usize;
    &bytes[from..from + row.value as usize]
}

impl HeldBuffer {
    fn push(&mut self, group: u32, key: &[u8], value: &[u8]) -> Result<()> {
        self.rows.push(HeldRow {
            at: self.bytes.len(),
            group,
            key: length(key)?,
            value: length(value)?,
        });
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        Ok(())
    }

    /// The rows by group and key; of equal ones the first first.
    fn sorted(&self) -> Vec<HeldRow> {
        let mut sorted = self.rows.clone();
        sorted.sort_unstable_by(|one, other| {
            let by_key = || key_of(&self.bytes, one).cmp(key_of(&self.bytes, other));
            (one.group.cmp(&other.group))
                .then_with(by_key)
                .then_with(|| one.at.cmp(&other.at))
        });
        sorted
    }

    fn bytes_held(&self) -> usize {
        // Sorting takes the places once more.
        self.bytes.capacity() + 2 * self.rows.capacity() * size_of::<HeldRow>()
    }
}

/// Partial results: a list of values and one of keys for each group.
fn states(bytes: &[u8], sorted: &[HeldRow], groups: usize) -> Result<Vec<ArrayRef>> {
    if i32::try_from(sorted.len()).is_err() {
        return Err(exec_datafusion_err!("more values than a list can count"));
    }
    let mut lengths = vec![0_usize; groups];
    // Exactly as much room as they take: a spill asks for all of it.
    let with_room = |of: fn(&HeldRow) -> u32| {
        let bytes = sorted.iter().map(|row| of(row) as usize).sum();
        LargeBinaryBuilder::with_capacity(sorted.len(), bytes)
    };
    let (mut values, mut keys) = (with_room(|row| row.value), with_room(|row| row.key));
    for row in sorted {
        lengths[row.group()] += 1;
        values.append_value(value_of(bytes, row));
        keys.append_value(key_of(bytes, row));
    }
    let list = |values: ArrayRef| -> ArrayRef {
        let field = Arc::new(Field::new_list_field(DataType::LargeBinary, true));
        let offsets = OffsetBuffer::<i32>::from_lengths(lengths.iter().copied());
        Arc::new(ListArray::new(field, offsets, values, None))
    };
    Ok(vec![
        list(Arc::new(values.finish())),
        list(Arc::new(keys.finish())),
    ])
}

impl HeldValues {
    pub(super) fn new(into: GatheredInto, keys: RowConverter, arguments: usize) -> Self {
        Self {
            into,
            keys,
            arguments,
            buffer: HeldBuffer::default(),
            groups: 0,
        }
    }

    /// Takes rows in: arguments, then keys.
    fn update(
        &mut self,
        values: &[ArrayRef],
        group: impl Fn(usize) -> Option<usize>,
    ) -> Result<()> {
        let bytes = self.into.bytes_of(&values[0])?;
        let keys = values.get(self.arguments..).unwrap_or_default();
        let keys = self.keys.convert_columns(keys)?;
        for row in 0..values[0].len() {
            if let (Some(group), Some(value)) = (group(row), bytes.at(row)) {
                let group = group_number(group)?;
                self.buffer.push(group, keys.row(row).data(), value)?;
            }
        }
        Ok(())
    }

    /// Takes partial results in.
    fn merge(&mut self, states: &[ArrayRef], group: impl Fn(usize) -> usize) -> Result<()> {
        let lists = |at: usize| {
            let state = states.get(at).and_then(|state| state.as_list_opt::<i32>());
            state.ok_or_else(|| internal_datafusion_err!("a state of an aggregate is a list"))
        };
        let (values, keys) = (lists(0)?, lists(1)?);
        for row in 0..values.len() {
            if values.is_null(row) {
                continue;
            }
            let group = group_number(group(row))?;
            let (values, keys) = (values.value(row), keys.value(row));
            let (values, keys) = (values.as_binary::<i64>(), keys.as_binary::<i64>());
            for at in 0..values.len() {
                self.buffer.push(group, keys.value(at), values.value(at))?;
            }
        }
        Ok(())
    }

    /// Takes out the values of the first groups, sorted, and numbers the others anew.
    fn take(&mut self, emit_to: EmitTo) -> Result<TakenRows> {
        let groups = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(groups) => groups,
        };
        let first = group_number(groups)?;
        let mut sorted = self.buffer.sorted();
        let bytes = std::mem::take(&mut self.buffer).bytes;
        self.groups = self.groups.saturating_sub(groups);
        let end = sorted.partition_point(|row| row.group < first);
        for left in &sorted[end..] {
            let group = left.group - first;
            (self.buffer).push(group, key_of(&bytes, left), value_of(&bytes, left))?;
        }
        sorted.truncate(end);
        Ok(TakenRows {
            bytes,
            sorted,
            groups,
        })
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
        (self.into).of(&taken.bytes, &taken.sorted, taken.groups)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let taken = self.take(emit_to)?;
        states(&taken.bytes, &taken.sorted, taken.groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = values[0].len();
        let bytes = self.into.bytes_of(&values[0])?;
        let keys = values.get(self.arguments..).unwrap_or_default();
        let keys = self.keys.convert_columns(keys)?;
        let mut buffer = HeldBuffer::default();
        for row in (0..rows).filter(|row| passes(opt_filter, *row)) {
            if let Some(value) = bytes.at(row) {
                buffer.push(group_number(row)?, keys.row(row).data(), value)?;
            }
        }
        states(&buffer.bytes, &buffer.rows, rows)
    }

    fn size(&self) -> usize {
        self.buffer.bytes_held()
    }
}

/// The values of one group.
#[derive(Debug)]
pub(super) struct WholeGroup(pub(super) HeldValues);

impl Accumulator for WholeGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.0.update(values, |_| Some(0))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.0.merge(states, |_| 0)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let buffer = &self.0.buffer;
        let gathered = (self.0.into).of(&buffer.bytes, &buffer.sorted(), 1)?;
        ScalarValue::try_from_array(&gathered, 0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let buffer = &self.0.buffer;
        let states = states(&buffer.bytes, &buffer.sorted(), 1)?;
        let scalar = |state: &ArrayRef| ScalarValue::try_from_array(state, 0);
        states.iter().map(scalar).collect()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.buffer.bytes_held()
    }
}
