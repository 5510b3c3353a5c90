//! `percentile_cont` and `median`: the value at a place among sorted values, between two of them in proportion.
//!
//! Invariant: the place is worked out in whole numbers, so that no weight is cut, and between decimals the value is exact, rounded once to ten digits more than they have.
//! Floats and whole numbers give a float, by PostgreSQL's formula. What is held are the values of all groups in one list, each with its group.

use super::{average_type, rounded_quotient};
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, ListArray, PrimitiveArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, DecimalType, Field, FieldRef, Float64Type, Schema,
};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use datafusion::common::{
    Result, ScalarValue, internal_datafusion_err, internal_err, plan_datafusion_err, plan_err,
};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, ColumnarValue, EmitTo, GroupsAccumulator, Signature, Volatility,
};
use std::cmp::Ordering;
use std::fmt::Debug;
use std::mem::{size_of, size_of_val};
use std::sync::Arc;

/// `percentile_cont(share) WITHIN GROUP (ORDER BY value)`, or `percentile_cont(value, share)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ExactPercentile {
    signature: Signature,
    aliases: Vec<String>,
}

impl Default for ExactPercentile {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
            aliases: vec!["quantile_cont".to_owned()],
        }
    }
}

/// `median(value)`: the percentile of a half.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ExactMedian {
    signature: Signature,
}

impl Default for ExactMedian {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

/// The type in which values are held.
fn held_in(of: &DataType, function: &str) -> Result<DataType> {
    match of {
        DataType::Decimal128(..) => Ok(of.clone()),
        DataType::Decimal64(precision, scale) | DataType::Decimal32(precision, scale) => {
            Ok(DataType::Decimal128(*precision, *scale))
        }
        DataType::Null => Ok(DataType::Float64),
        other if other.is_numeric() && !matches!(other, DataType::Decimal256(..)) => {
            Ok(DataType::Float64)
        }
        other => plan_err!("{function} is of numbers, not of {other}"),
    }
}

/// The type of the value at a place.
fn value_type(held: &DataType) -> DataType {
    average_type(held)
}

fn state_of(args: &StateFieldsArgs<'_>, function: &str) -> Result<Vec<FieldRef>> {
    let Some(field) = args.input_fields.first() else {
        return internal_err!("{function} has an argument");
    };
    let values = Field::new_list_field(held_in(field.data_type(), function)?, true);
    let name = format_state_name(args.name, function);
    Ok(vec![Arc::new(Field::new(
        name,
        DataType::List(Arc::new(values)),
        true,
    ))])
}

impl AggregateUDFImpl for ExactPercentile {
    fn name(&self) -> &'static str {
        "percentile_cont"
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [of, share] if share.is_numeric() => Ok(vec![held_in(of, self.name())?, share.clone()]),
            _ => plan_err!(
                "percentile_cont(share) WITHIN GROUP (ORDER BY value) takes one share, a number from 0 to 1"
            ),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [of, ..] => Ok(value_type(&held_in(of, self.name())?)),
            [] => internal_err!("percentile_cont has an argument"),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        state_of(&args, self.name())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        whole(&args, Share::of(&args)?)
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        by_group(&args, Share::of(&args)?)
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    /// Values are sorted here, whatever order they come in.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

impl AggregateUDFImpl for ExactMedian {
    fn name(&self) -> &'static str {
        "median"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [of] => Ok(vec![held_in(of, self.name())?]),
            _ => plan_err!("median takes one argument"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [of] => Ok(value_type(&held_in(of, self.name())?)),
            _ => internal_err!("median has an argument"),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        state_of(&args, self.name())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        whole(&args, Share::HALF)
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        by_group(&args, Share::HALF)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// A share of the values, from 0 to 1: a number of so many digits behind the point.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Share {
    numerator: i128,
    denominator: i128,
    /// The share as a float, for values that are floats.
    float: f64,
}

impl Share {
    const HALF: Self = Self {
        numerator: 1,
        denominator: 2,
        float: 0.5,
    };
    /// Digits that are kept of a float: more than it has between 0 and 1, for all but the smallest.
    const FLOAT_DIGITS: i8 = 17;

    fn of(args: &AccumulatorArgs<'_>) -> Result<Self> {
        let Some(share) = args.exprs.get(1) else {
            return internal_err!("percentile_cont has a share");
        };
        let refused = || {
            plan_datafusion_err!(
                "the share of percentile_cont is a constant from 0 to 1, like 0.95"
            )
        };
        let no_rows = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let Ok(ColumnarValue::Scalar(share)) = share.evaluate(&no_rows) else {
            return Err(refused());
        };
        let ScalarValue::Float64(Some(float)) = share.cast_to(&DataType::Float64)? else {
            return Err(refused());
        };
        let exact = match &share {
            ScalarValue::Float64(_) | ScalarValue::Float32(_) | ScalarValue::Float16(_) => {
                share.cast_to(&DataType::Decimal128(38, Self::FLOAT_DIGITS))?
            }
            ScalarValue::Decimal128(..) => share,
            other => other.cast_to(&DataType::Decimal128(38, 18))?,
        };
        let ScalarValue::Decimal128(Some(numerator), _, scale) = exact else {
            return Err(refused());
        };
        let denominator = u32::try_from(scale)
            .ok()
            .and_then(|scale| 10_i128.checked_pow(scale))
            .ok_or_else(refused)?;
        if !(0..=denominator).contains(&numerator) {
            return Err(refused());
        }
        let is_descending = args
            .order_bys
            .first()
            .is_some_and(|order| order.options.descending);
        Ok(if is_descending {
            Self {
                numerator: denominator - numerator,
                denominator,
                float: 1.0 - float,
            }
        } else {
            Self {
                numerator,
                denominator,
                float,
            }
        })
    }

    /// The place of the lower of two neighbours among so many values, and the part of the way to the upper one, in parts of the denominator.
    fn place(&self, values: usize) -> Option<(usize, i128)> {
        let last = i128::try_from(values.checked_sub(1)?).ok()?;
        // The share has at most 38 digits; what does not fit is split into a whole and a rest.
        let place = match self.numerator.checked_mul(last) {
            Some(place) => place,
            None => {
                let fewer = 10_i128.pow(18);
                let shorter = Self {
                    numerator: self.numerator / fewer,
                    denominator: self.denominator / fewer,
                    ..*self
                };
                let (lower, part) = shorter.place(values)?;
                return Some((lower, part.checked_mul(fewer)?));
            }
        };
        let lower = usize::try_from(place / self.denominator).ok()?;
        Some((lower, place % self.denominator))
    }
}

/// Numbers that can be put in order and have something between them.
trait Ordered: ArrowPrimitiveType {
    fn order(one: &Self::Native, other: &Self::Native) -> Ordering;
    /// The value at a place among sorted values.
    fn at(sorted: &[Self::Native], share: &Share, held: &DataType) -> Result<Option<Self::Native>>;
}

impl Ordered for Float64Type {
    fn order(one: &f64, other: &f64) -> Ordering {
        one.total_cmp(other)
    }

    fn at(sorted: &[f64], share: &Share, _: &DataType) -> Result<Option<f64>> {
        let Some((lower, part)) = share.place(sorted.len()) else {
            return Ok(None);
        };
        let Some(low) = sorted.get(lower).copied() else {
            return Ok(None);
        };
        let Some(high) = sorted.get(lower + 1).copied().filter(|_| part != 0) else {
            return Ok(Some(low));
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "the place of a value; PostgreSQL works it out in floats too"
        )]
        let weight = share.float * (sorted.len() - 1) as f64 - lower as f64;
        Ok(Some(low + weight * (high - low)))
    }
}

impl Ordered for Decimal128Type {
    fn order(one: &i128, other: &i128) -> Ordering {
        one.cmp(other)
    }

    fn at(sorted: &[i128], share: &Share, held: &DataType) -> Result<Option<i128>> {
        let gives = value_type(held);
        let (DataType::Decimal128(_, from), DataType::Decimal128(precision, to)) = (held, &gives)
        else {
            return internal_err!("decimals are held as {held}");
        };
        let Some((lower, part)) = share.place(sorted.len()) else {
            return Ok(None);
        };
        let overflow =
            || ArrowError::ArithmeticOverflow(format!("a percentile does not fit into {gives}"));
        let more = i16::from(*to) - i16::from(*from);
        let between = |low: i128| {
            let whole = rounded_quotient(low, more, 1)?;
            let Some(high) = sorted.get(lower + 1).filter(|_| part != 0) else {
                return Some(whole);
            };
            let step = rounded_share(high.checked_sub(low)?, part, share.denominator, more)?;
            whole.checked_add(step)
        };
        let Some(low) = sorted.get(lower) else {
            return Ok(None);
        };
        let value = between(*low)
            .filter(|value| Decimal128Type::is_valid_decimal_precision(*value, *precision))
            .ok_or_else(overflow)?;
        Ok(Some(value))
    }
}

/// A part of a difference, in a scale that is larger by `more`. A part of many digits loses those that no sum of money can tell.
fn rounded_share(difference: i128, part: i128, of: i128, more: i16) -> Option<i128> {
    let (mut part, mut of) = (part, of);
    loop {
        if let Some(product) = difference.checked_mul(part) {
            return rounded_quotient(product, more, of);
        }
        (part, of) = (rounded_quotient(part, -1, 1)?, of / 10);
        if of < 10 {
            return None;
        }
    }
}

/// The values of all groups, each with its group.
#[derive(Debug)]
struct HeldValues<T: Ordered> {
    values: Vec<(u32, T::Native)>,
    groups: usize,
    share: Share,
    held: DataType,
    is_distinct: bool,
}

fn group_number(group: usize) -> Result<u32> {
    u32::try_from(group).map_err(|_| internal_datafusion_err!("more groups than can be numbered"))
}

fn whole(args: &AccumulatorArgs<'_>, share: Share) -> Result<Box<dyn Accumulator>> {
    let held = held_type(args)?;
    Ok(match held {
        DataType::Decimal128(..) => Box::new(WholeValues(HeldValues::<Decimal128Type>::new(
            share, held, args,
        ))),
        _ => Box::new(WholeValues(HeldValues::<Float64Type>::new(
            share, held, args,
        ))),
    })
}

fn by_group(args: &AccumulatorArgs<'_>, share: Share) -> Result<Box<dyn GroupsAccumulator>> {
    let held = held_type(args)?;
    Ok(match held {
        DataType::Decimal128(..) => Box::new(HeldValues::<Decimal128Type>::new(share, held, args)),
        _ => Box::new(HeldValues::<Float64Type>::new(share, held, args)),
    })
}

fn held_type(args: &AccumulatorArgs<'_>) -> Result<DataType> {
    match args.expr_fields.first() {
        Some(field) => held_in(field.data_type(), args.name),
        None => internal_err!("a percentile has an argument"),
    }
}

impl<T: Ordered> HeldValues<T> {
    fn new(share: Share, held: DataType, args: &AccumulatorArgs<'_>) -> Self {
        Self {
            values: Vec::new(),
            groups: 0,
            share,
            held,
            is_distinct: args.is_distinct,
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

    /// The sorted values of the first groups, with the number of values in each; the others stay, with new numbers.
    fn take(&mut self, emit_to: EmitTo) -> Result<(Vec<T::Native>, Vec<usize>)> {
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
        self.groups = self.groups.saturating_sub(groups);
        Ok((taken, lengths))
    }

    fn lists(&self, values: Vec<T::Native>, lengths: Vec<usize>) -> ArrayRef {
        let values =
            PrimitiveArray::<T>::new(values.into(), None).with_data_type(self.held.clone());
        let field = Arc::new(Field::new_list_field(self.held.clone(), true));
        let offsets = OffsetBuffer::<i32>::from_lengths(lengths);
        Arc::new(ListArray::new(field, offsets, Arc::new(values), None))
    }
}

fn lists_of(states: &[ArrayRef]) -> Result<&ListArray> {
    match states.first().and_then(|state| state.as_list_opt::<i32>()) {
        Some(lists) => Ok(lists),
        None => internal_err!("a state of a percentile is a list"),
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
            let is_counted =
                opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if let Some(value) = value.filter(|_| is_counted) {
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
        for (values, group) in lists_of(values)?.iter().zip(group_indices) {
            if let Some(values) = values {
                self.add(*group, &values)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (values, lengths) = self.take(emit_to)?;
        let mut rest = values.as_slice();
        let mut results = Vec::with_capacity(lengths.len());
        for length in lengths {
            let (of_group, others) = rest.split_at(length.min(rest.len()));
            rest = others;
            results.push(T::at(of_group, &self.share, &self.held)?);
        }
        let results: PrimitiveArray<T> = results.into_iter().collect();
        Ok(Arc::new(results.with_data_type(value_type(&self.held))))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (values, lengths) = self.take(emit_to)?;
        Ok(vec![self.lists(values, lengths)])
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let numbers = self.array(&values[0])?;
        let is_kept = |row: usize| {
            numbers.is_valid(row)
                && opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
        };
        let lengths = (0..numbers.len())
            .map(|row| usize::from(is_kept(row)))
            .collect();
        let kept = (0..numbers.len())
            .filter(|row| is_kept(*row))
            .map(|row| numbers.value(row))
            .collect();
        Ok(vec![self.lists(kept, lengths)])
    }

    fn size(&self) -> usize {
        self.values.capacity() * size_of::<(u32, T::Native)>()
    }
}

/// The values of one group. They are sorted whenever a value is asked for, and kept: a window goes on with them.
#[derive(Debug)]
struct WholeValues<T: Ordered>(HeldValues<T>);

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
        let (values, lengths) = self.0.take(EmitTo::All)?;
        let lists = self.0.lists(values, lengths);
        Ok(vec![ScalarValue::try_from_array(&lists, 0)?])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.0.values.capacity() * size_of::<(u32, T::Native)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(numerator: i128, denominator: i128) -> Share {
        Share {
            numerator,
            denominator,
            #[allow(clippy::cast_precision_loss)]
            float: numerator as f64 / denominator as f64,
        }
    }

    #[test]
    fn decimals_between_two_are_exact() {
        let held = DataType::Decimal128(18, 2);
        let at = |sorted: &[i128], share: &Share| Decimal128Type::at(sorted, share, &held).unwrap();
        assert_eq!(at(&[], &Share::HALF), None);
        assert_eq!(at(&[1], &Share::HALF), Some(10_000_000_000));
        assert_eq!(at(&[1, 2], &Share::HALF), Some(15_000_000_000));
        assert_eq!(at(&[-2, -1], &Share::HALF), Some(-15_000_000_000));
        // A third of the way: 1 + 0.333… of 1, in twelve digits.
        assert_eq!(at(&[100, 200], &share(1, 3)), Some(1_333_333_333_333));
        assert_eq!(at(&[100, 200], &share(2, 3)), Some(1_666_666_666_667));
        // A weight of more than six digits.
        assert_eq!(
            at(&[0, 100], &share(123_456_789, 1_000_000_000)),
            Some(123_456_789_000)
        );
        assert_eq!(at(&[1, 2, 3], &share(1, 1)), Some(30_000_000_000));
    }

    #[test]
    fn shares_of_many_digits_have_a_place() {
        let long = share(10_i128.pow(37), 10_i128.pow(38) - 1);
        let (lower, part) = long.place(1_000_001).unwrap();
        assert!(
            lower == 100_000 && part < long.denominator,
            "{lower} {part}"
        );
    }

    #[test]
    fn floats_go_by_the_formula() {
        let at = |sorted: &[f64], share: &Share| {
            Float64Type::at(sorted, share, &DataType::Float64).unwrap()
        };
        assert_eq!(at(&[1.0, 2.0], &Share::HALF), Some(1.5));
        assert_eq!(at(&[10.0, 20.0, 30.0], &share(95, 100)), Some(29.0));
        assert_eq!(at(&[], &Share::HALF), None);
    }
}
