//! `avg` of decimals: a total and a count until the end, divided once and rounded.
//!
//! Invariant: same states as DataFusion's `avg` of decimals (a count, and a sum of 38 digits), so that partial results are interchangeable. A total that does not
//! fit into 38 digits is an error. Averages of floats, whole numbers and durations are DataFusion's.

use super::{average_type, rounded_quotient};
use crate::group_rows::passes;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, PrimitiveArray, UInt64Array,
};
use arrow::compute::{cast, not, nullif, prep_null_mask_filter};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, DecimalType, Field, FieldRef, UInt64Type,
};
use arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::functions_aggregate::average::Avg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator, ReversedUDAF,
    Signature,
};
use std::collections::HashMap;
use std::mem::{size_of, size_of_val};
use std::sync::Arc;

/// DataFusion's `avg`, exact for decimals.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ExactAverage {
    inner: Avg,
}

/// The type in which decimals are added.
fn total_type(scale: i8) -> DataType {
    DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale)
}

impl AggregateUDFImpl for ExactAverage {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            // Narrow decimals are added in 128 bits as all others are.
            [DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale)] => {
                Ok(average_type(&DataType::Decimal128(*precision, *scale)))
            }
            [of @ DataType::Decimal128(..)] => Ok(average_type(of)),
            _ => self.inner.return_type(types),
        }
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let scale = match args.input_fields.first().map(|field| field.data_type()) {
            Some(
                DataType::Decimal128(_, scale)
                | DataType::Decimal64(_, scale)
                | DataType::Decimal32(_, scale),
            ) => *scale,
            _ => return self.inner.state_fields(args),
        };
        if args.is_distinct {
            let list = Field::new_list(
                format_state_name(args.name, "avg distinct"),
                Field::new_list_field(total_type(scale), true),
                false,
            );
            return Ok(vec![Arc::new(list)]);
        }
        Ok(vec![
            Arc::new(Field::new(
                format_state_name(args.name, "count"),
                DataType::UInt64,
                true,
            )),
            Arc::new(Field::new(
                format_state_name(args.name, "sum"),
                total_type(scale),
                true,
            )),
        ])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let Some(of) = AverageTypes::of(&args) else {
            return self.inner.accumulator(args);
        };
        if args.is_distinct {
            return Ok(Box::new(DistinctMean {
                of,
                values: HashMap::new(),
            }));
        }
        Ok(Box::new(Mean {
            of,
            total: 0,
            count: 0,
        }))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        match AverageTypes::of(&args) {
            Some(_) => !args.is_distinct,
            None => self.inner.groups_accumulator_supported(args),
        }
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match AverageTypes::of(&args) {
            Some(of) => Ok(Box::new(GroupMeans {
                of,
                totals: Vec::new(),
                counts: Vec::new(),
            })),
            None => self.inner.create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_expr()
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// Scale of what is averaged, and type of the average.
#[derive(Debug, Clone)]
struct AverageTypes {
    from: i8,
    gives: DataType,
}

impl AverageTypes {
    /// `None` for what is not a decimal.
    fn of(args: &AccumulatorArgs<'_>) -> Option<Self> {
        match args.expr_fields.first()?.data_type() {
            DataType::Decimal128(_, scale)
            | DataType::Decimal64(_, scale)
            | DataType::Decimal32(_, scale) => Some(Self {
                from: *scale,
                gives: args.return_field.data_type().clone(),
            }),
            _ => None,
        }
    }

    /// Values in 128 bits.
    fn decimals(&self, values: &ArrayRef) -> Result<Decimal128Array> {
        if let Some(decimals) = values.as_primitive_opt::<Decimal128Type>() {
            return Ok(decimals.clone());
        }
        let cast = cast(values, &total_type(self.from))?;
        match cast.as_primitive_opt::<Decimal128Type>() {
            Some(decimals) => Ok(decimals.clone()),
            None => internal_err!("the values of an average are {}", values.data_type()),
        }
    }

    fn overflow(&self) -> ArrowError {
        ArrowError::ArithmeticOverflow(format!("an average does not fit into {}", self.gives))
    }

    fn average(&self, total: i128, count: u64) -> Result<Option<i128>, ArrowError> {
        if count == 0 {
            return Ok(None);
        }
        let DataType::Decimal128(precision, to) = self.gives else {
            return Err(self.overflow());
        };
        rounded_quotient(
            total,
            i16::from(to) - i16::from(self.from),
            i128::from(count),
        )
        .filter(|value| Decimal128Type::is_valid_decimal_precision(*value, precision))
        .map(Some)
        .ok_or_else(|| self.overflow())
    }

    fn scalar(&self, value: Option<i128>) -> Result<ScalarValue> {
        match self.gives {
            DataType::Decimal128(precision, scale) => {
                Ok(ScalarValue::Decimal128(value, precision, scale))
            }
            _ => internal_err!("an average of decimals is {}", self.gives),
        }
    }
}

fn fits(total: Option<i128>, of: &AverageTypes) -> Result<i128, ArrowError> {
    total
        .filter(|total| {
            Decimal128Type::is_valid_decimal_precision(*total, DECIMAL128_MAX_PRECISION)
        })
        .ok_or_else(|| {
            ArrowError::ArithmeticOverflow(format!(
                "the total of an average does not fit into {}",
                total_type(of.from)
            ))
        })
}

/// The average of one group.
#[derive(Debug)]
struct Mean {
    of: AverageTypes,
    total: i128,
    count: u64,
}

fn counts_of(states: &[ArrayRef]) -> Result<&UInt64Array> {
    match states
        .first()
        .and_then(|counts| counts.as_primitive_opt::<UInt64Type>())
    {
        Some(counts) => Ok(counts),
        None => internal_err!("a state of an average begins with a count"),
    }
}

impl Accumulator for Mean {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let decimals = self.of.decimals(&values[0])?;
        for value in decimals.iter().flatten() {
            self.total = fits(self.total.checked_add(value), &self.of)?;
        }
        self.count += (decimals.len() - decimals.null_count()) as u64;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let decimals = self.of.decimals(&values[0])?;
        for value in decimals.iter().flatten() {
            self.total = fits(self.total.checked_sub(value), &self.of)?;
        }
        self.count -= (decimals.len() - decimals.null_count()) as u64;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let totals = self.of.decimals(&states[1])?;
        for (count, total) in counts_of(states)?.iter().zip(&totals) {
            self.count += count.unwrap_or(0);
            if let Some(total) = total {
                self.total = fits(self.total.checked_add(total), &self.of)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.of.scalar(self.of.average(self.total, self.count)?)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let total = (self.count > 0).then_some(self.total);
        Ok(vec![
            ScalarValue::UInt64(Some(self.count)),
            ScalarValue::Decimal128(total, DECIMAL128_MAX_PRECISION, self.of.from),
        ])
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The average of the different values of one group; each with how often it is there, for windows that move on.
#[derive(Debug)]
struct DistinctMean {
    of: AverageTypes,
    values: HashMap<i128, u64>,
}

impl DistinctMean {
    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        for value in self.of.decimals(values)?.iter().flatten() {
            *self.values.entry(value).or_insert(0) += 1;
        }
        Ok(())
    }
}

impl Accumulator for DistinctMean {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0])
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in self.of.decimals(&values[0])?.iter().flatten() {
            if let Some(times) = self.values.get_mut(&value) {
                *times -= 1;
                if *times == 0 {
                    self.values.remove(&value);
                }
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(lists) = states.first().and_then(|state| state.as_list_opt::<i32>()) else {
            return internal_err!("different values are a list");
        };
        for values in lists.iter().flatten() {
            self.add(&values)?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut total = 0_i128;
        for value in self.values.keys() {
            total = fits(total.checked_add(*value), &self.of)?;
        }
        self.of
            .scalar(self.of.average(total, self.values.len() as u64)?)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> = self
            .values
            .keys()
            .map(|value| {
                ScalarValue::Decimal128(Some(*value), DECIMAL128_MAX_PRECISION, self.of.from)
            })
            .collect();
        Ok(vec![ScalarValue::List(ScalarValue::new_list_nullable(
            &values,
            &total_type(self.of.from),
        ))])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * (size_of::<(i128, u64)>() + 1) * 8 / 7
    }
}

/// Averages by group; a group without values has none.
#[derive(Debug)]
struct GroupMeans {
    of: AverageTypes,
    totals: Vec<i128>,
    counts: Vec<u64>,
}

impl GroupMeans {
    fn resize(&mut self, groups: usize) {
        self.totals.resize(groups, 0);
        self.counts.resize(groups, 0);
    }

    fn add(&mut self, group: usize, total: i128, count: u64) -> Result<(), ArrowError> {
        self.totals[group] = fits(self.totals[group].checked_add(total), &self.of)?;
        self.counts[group] += count;
        Ok(())
    }

    fn decimals(&self, values: Vec<Option<i128>>, data_type: &DataType) -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_data_type(data_type.clone()))
    }
}

impl GroupsAccumulator for GroupMeans {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        let decimals = self.of.decimals(&values[0])?;
        for (row, (value, group)) in decimals.iter().zip(group_indices).enumerate() {
            if let Some(value) = value.filter(|_| passes(opt_filter, row)) {
                self.add(*group, value, 1)?;
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
        self.resize(total_num_groups);
        let totals = self.of.decimals(&values[1])?;
        let counts = counts_of(values)?;
        for ((count, total), group) in counts.iter().zip(&totals).zip(group_indices) {
            self.add(*group, total.unwrap_or(0), count.unwrap_or(0))?;
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let totals = emit_to.take_needed(&mut self.totals);
        let counts = emit_to.take_needed(&mut self.counts);
        let averages = totals
            .into_iter()
            .zip(counts)
            .map(|(total, count)| self.of.average(total, count))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(self.decimals(averages, &self.of.gives))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let totals = emit_to.take_needed(&mut self.totals);
        let counts = emit_to.take_needed(&mut self.counts);
        let totals = totals
            .into_iter()
            .zip(&counts)
            .map(|(total, count)| (*count > 0).then_some(total))
            .collect();
        Ok(vec![
            Arc::new(UInt64Array::from(counts)),
            self.decimals(totals, &total_type(self.of.from)),
        ])
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
        let totals = self
            .of
            .decimals(&values)?
            .with_data_type(total_type(self.of.from));
        let counts: PrimitiveArray<UInt64Type> = (0..totals.len())
            .map(|row| Some(u64::from(totals.is_valid(row))))
            .collect();
        Ok(vec![Arc::new(counts), Arc::new(totals)])
    }

    fn size(&self) -> usize {
        self.totals.capacity() * size_of::<i128>() + self.counts.capacity() * size_of::<u64>()
    }
}
