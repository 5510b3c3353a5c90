//! `sum` that fails where the total does not fit.
//!
//! Invariant: same names, types and states as DataFusion's `sum`, so that plans and partial results are interchangeable; only a total that would be wrapped
//! is an error instead.

use crate::group_rows::passes;
use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowNumericType, AsArray, BooleanArray, PrimitiveArray,
};
use arrow::buffer::NullBuffer;
use arrow::compute::{not, nullif, prep_null_mask_filter};
use arrow::datatypes::{DataType, Decimal128Type, DecimalType, FieldRef, Int64Type, UInt64Type};
use arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::functions_aggregate::sum::Sum;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature,
};
use std::fmt;
use std::mem::{size_of, size_of_val};
use std::sync::Arc;

/// DataFusion's `sum`, checked for whole numbers and decimals.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct CheckedSum {
    inner: Sum,
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let data_type = args.return_field.data_type().clone();
        if !is_checked(&data_type) {
            return self.inner.accumulator(args);
        }
        if args.is_distinct {
            return Ok(Box::new(DistinctTotal {
                inner: self.inner.accumulator(args)?,
                data_type,
            }));
        }
        Ok(Box::new(CheckedTotal::new(data_type)))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let data_type = args.return_field.data_type();
        match data_type {
            DataType::Int64 => Ok(GroupTotals::<Int64Type>::boxed(data_type)),
            DataType::UInt64 => Ok(GroupTotals::<UInt64Type>::boxed(data_type)),
            DataType::Decimal128(..) => Ok(GroupTotals::<Decimal128Type>::boxed(data_type)),
            _ => self.inner.create_groups_accumulator(args),
        }
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        let data_type = args.return_field.data_type().clone();
        if args.is_distinct || !is_checked(&data_type) {
            return self.inner.create_sliding_accumulator(args);
        }
        Ok(Box::new(CheckedTotal::new(data_type)))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_expr()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.set_monotonicity(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// The types whose totals wrap.
fn is_checked(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int64 | DataType::UInt64 | DataType::Decimal128(..)
    )
}

fn does_not_fit(data_type: &DataType) -> ArrowError {
    ArrowError::ArithmeticOverflow(format!("a sum does not fit into {data_type}"))
}

/// Accumulator of a total in 128 bits: whole numbers cannot overflow it on the way, only at the
/// end.
struct CheckedTotal {
    sum: i128,
    count: u64,
    data_type: DataType,
}

impl CheckedTotal {
    fn new(data_type: DataType) -> Self {
        Self {
            sum: 0,
            count: 0,
            data_type,
        }
    }

    /// Sum and number of the values that are not null.
    fn of(&self, values: &ArrayRef) -> Result<(i128, u64)> {
        #[expect(
            clippy::expect_used,
            reason = "no platform has a usize of more than 64 bits"
        )]
        let count = u64::try_from(values.len() - values.null_count()).expect("a length");
        let fits = |sum: Option<i128>| sum.ok_or_else(|| does_not_fit(&self.data_type));
        let sum = match values.data_type() {
            DataType::Int64 => fits(sum_of(
                values
                    .as_primitive::<Int64Type>()
                    .iter()
                    .flatten()
                    .map(i128::from),
            ))?,
            DataType::UInt64 => fits(sum_of(
                values
                    .as_primitive::<UInt64Type>()
                    .iter()
                    .flatten()
                    .map(i128::from),
            ))?,
            DataType::Decimal128(..) => fits(sum_of(
                values.as_primitive::<Decimal128Type>().iter().flatten(),
            ))?,
            other => return internal_err!("the values of a sum are {other}"),
        };
        Ok((sum, count))
    }
}

fn sum_of(mut values: impl Iterator<Item = i128>) -> Option<i128> {
    values.try_fold(0_i128, i128::checked_add)
}

/// A total in its column's type.
fn fitting(sum: Option<i128>, data_type: &DataType) -> Result<ScalarValue> {
    let overflow = || does_not_fit(data_type);
    Ok(match data_type {
        DataType::Int64 => ScalarValue::Int64(
            sum.map(|sum| i64::try_from(sum).map_err(|_| overflow()))
                .transpose()?,
        ),
        DataType::UInt64 => ScalarValue::UInt64(
            sum.map(|sum| u64::try_from(sum).map_err(|_| overflow()))
                .transpose()?,
        ),
        DataType::Decimal128(precision, scale) => {
            if sum.is_some_and(|sum| !Decimal128Type::is_valid_decimal_precision(sum, *precision)) {
                return Err(overflow().into());
            }
            ScalarValue::Decimal128(sum, *precision, *scale)
        }
        other => return internal_err!("a sum is {other}"),
    })
}

impl fmt::Debug for CheckedTotal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Total({})", self.data_type)
    }
}

impl Accumulator for CheckedTotal {
    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (sum, count) = self.of(&values[0])?;
        self.sum = self
            .sum
            .checked_add(sum)
            .ok_or_else(|| does_not_fit(&self.data_type))?;
        self.count += count;
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (sum, count) = self.of(&values[0])?;
        self.sum = self
            .sum
            .checked_sub(sum)
            .ok_or_else(|| does_not_fit(&self.data_type))?;
        self.count -= count;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        fitting((self.count > 0).then_some(self.sum), &self.data_type)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The total of different values: DataFusion collects them, and they are added here.
#[derive(Debug)]
struct DistinctTotal {
    inner: Box<dyn Accumulator>,
    data_type: DataType,
}

impl Accumulator for DistinctTotal {
    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut total = CheckedTotal::new(self.data_type.clone());
        for state in self.inner.state()? {
            let ScalarValue::List(values) = state else {
                return internal_err!("different values are a list");
            };
            for values in values.iter().flatten() {
                total.update_batch(&[values])?;
            }
        }
        total.evaluate()
    }

    fn size(&self) -> usize {
        self.inner.size() + size_of_val(&self.data_type)
    }
}

/// Totals by group; a group without values has none.
struct GroupTotals<T: ArrowNumericType> {
    sums: Vec<T::Native>,
    has_values: Vec<bool>,
    data_type: DataType,
}

impl<T: ArrowNumericType + Send> GroupTotals<T> {
    fn boxed(data_type: &DataType) -> Box<dyn GroupsAccumulator> {
        Box::new(Self {
            sums: Vec::new(),
            has_values: Vec::new(),
            data_type: data_type.clone(),
        })
    }

    fn add(&mut self, group: usize, value: T::Native) -> Result<(), ArrowError> {
        // Which two numbers are too large for one is nobody's business: the message names the type alone.
        self.sums[group] = self.sums[group]
            .add_checked(value)
            .map_err(|_| does_not_fit(&self.data_type))?;
        self.has_values[group] = true;
        Ok(())
    }

    fn array(&self, values: PrimitiveArray<T>) -> ArrayRef {
        Arc::new(values.with_data_type(self.data_type.clone()))
    }
}

impl<T: ArrowNumericType + Send> GroupsAccumulator for GroupTotals<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.sums.resize(total_num_groups, T::Native::ZERO);
        self.has_values.resize(total_num_groups, false);
        let values = values[0].as_primitive::<T>();
        if values.null_count() == 0 && opt_filter.is_none() {
            for (value, group) in values.values().iter().zip(group_indices) {
                self.add(*group, *value)?;
            }
            return Ok(());
        }
        for (row, (value, group)) in values.iter().zip(group_indices).enumerate() {
            if let Some(value) = value.filter(|_| passes(opt_filter, row)) {
                self.add(*group, value)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sums = emit_to.take_needed(&mut self.sums);
        let has_values = emit_to.take_needed(&mut self.has_values);
        let sums = PrimitiveArray::<T>::new(sums.into(), Some(NullBuffer::from(has_values)));
        let sums = self.array(sums);
        if let (DataType::Decimal128(precision, _), Some(sums)) =
            (&self.data_type, sums.as_primitive_opt::<Decimal128Type>())
            && !sums
                .iter()
                .flatten()
                .all(|sum| Decimal128Type::is_valid_decimal_precision(sum, *precision))
        {
            return Err(does_not_fit(&self.data_type).into());
        }
        Ok(sums)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate(emit_to)?])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = match opt_filter {
            None => Arc::clone(&values[0]),
            Some(filter) => nullif(&values[0], &not(&prep_null_mask_filter(filter))?)?,
        };
        Ok(vec![self.array(values.as_primitive::<T>().clone())])
    }

    fn size(&self) -> usize {
        self.sums.capacity() * size_of::<T::Native>() + self.has_values.capacity()
    }
}
