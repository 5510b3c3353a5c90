//! `percentile_cont` and `median`: the value at a place among sorted values, between two of them in proportion.
//!
//! Invariant: the place is worked out in whole numbers, so that no weight is cut, and between decimals the value is exact, rounded once to ten digits more than they have.
//! Floats and whole numbers give a float, by PostgreSQL's formula. What is held are the values of all groups in one list, each with its group, in [`held`].

mod held;

use self::held::{HeldValues, WholeValues};
use super::{average_type, rounded_quotient};
use crate::value_files::{ValueFiles, ValueSpill};
use arrow::array::ArrowPrimitiveType;
use arrow::datatypes::{
    DataType, Decimal128Type, DecimalType, Field, FieldRef, Float64Type, Schema,
};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use datafusion::common::{Result, ScalarValue, internal_err, plan_datafusion_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDFImpl, ColumnarValue, GroupsAccumulator, Signature, Volatility,
};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

const PERCENTILE: &str = "percentile_cont";
const MEDIAN: &str = "median";

/// True for the name of an aggregate that holds all values of its groups.
pub(crate) fn holds_values(name: &str) -> bool {
    [PERCENTILE, MEDIAN].contains(&name)
}

/// A call whose large groups spill to files that live for as long as its plan; `None` for another aggregate. It has to be the only step of its grouping: partial results that name files are
/// of no use to another call.
pub(crate) fn with_files(
    call: &Arc<AggregateFunctionExpr>,
) -> Result<Option<AggregateFunctionExpr>> {
    if !holds_values(call.fun().name()) {
        return Ok(None);
    }
    // The call's own order is out of reach but for this way, which DataFusion takes for aggregates that depend on one.
    Arc::clone(call).with_beneficial_ordering(true)
}

/// Place of the values of large groups; with files, those of one call.
#[derive(Debug, Clone)]
struct SpilledValues {
    spill: ValueSpill,
    files: Option<Arc<ValueFiles>>,
}

impl SpilledValues {
    fn new(spill: &ValueSpill) -> Self {
        Self {
            spill: spill.clone(),
            files: None,
        }
    }

    fn with_files(&self) -> Self {
        Self {
            spill: self.spill.clone(),
            files: Some(Arc::new(ValueFiles::new(self.spill.clone()))),
        }
    }
}

/// All of them are the same to a plan.
impl PartialEq for SpilledValues {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for SpilledValues {}

impl Hash for SpilledValues {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// `percentile_cont(share) WITHIN GROUP (ORDER BY value)`, or `percentile_cont(value, share)`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ExactPercentile {
    signature: Signature,
    aliases: Vec<String>,
    spilled: SpilledValues,
}

impl ExactPercentile {
    /// The aggregate, with the place of large groups.
    pub(crate) fn new(spill: &ValueSpill) -> Self {
        Self::of(SpilledValues::new(spill))
    }

    fn of(spilled: SpilledValues) -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
            aliases: vec!["quantile_cont".to_owned()],
            spilled,
        }
    }
}

/// `median(value)`: the percentile of a half.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ExactMedian {
    signature: Signature,
    spilled: SpilledValues,
}

impl ExactMedian {
    /// The aggregate, with the place of large groups.
    pub(crate) fn new(spill: &ValueSpill) -> Self {
        Self::of(SpilledValues::new(spill))
    }

    fn of(spilled: SpilledValues) -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
            spilled,
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
    let field = |name: &str, data_type| {
        let name = format_state_name(args.name, name);
        Arc::new(Field::new(name, data_type, true))
    };
    Ok(vec![
        field(function, DataType::List(Arc::new(values))),
        field("pieces", DataType::LargeBinary),
    ])
}

impl AggregateUDFImpl for ExactPercentile {
    fn name(&self) -> &'static str {
        PERCENTILE
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
        by_group(&args, Share::of(&args)?, &self.spilled)
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    /// Values are sorted here, whatever order they come in.
    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        _: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(Arc::new(Self::of(self.spilled.with_files()))))
    }
}

impl AggregateUDFImpl for ExactMedian {
    fn name(&self) -> &'static str {
        MEDIAN
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
        by_group(&args, Share::HALF, &self.spilled)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn with_beneficial_ordering(
        self: Arc<Self>,
        _: bool,
    ) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        Ok(Some(Arc::new(Self::of(self.spilled.with_files()))))
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
    /// The bytes of a value on disk.
    type Bytes: AsRef<[u8]>;

    fn to_bytes(value: Self::Native) -> Self::Bytes;
    /// The value of its bytes; `None` for too few.
    fn from_bytes(bytes: &[u8]) -> Option<Self::Native>;
    fn order(one: &Self::Native, other: &Self::Native) -> Ordering;
    /// The value at a place among sorted values.
    fn at(sorted: &[Self::Native], share: &Share, held: &DataType) -> Result<Option<Self::Native>>;
}

impl Ordered for Float64Type {
    type Bytes = [u8; size_of::<f64>()];

    fn to_bytes(value: f64) -> Self::Bytes {
        value.to_le_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<f64> {
        bytes.first_chunk().copied().map(f64::from_le_bytes)
    }

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
    type Bytes = [u8; size_of::<i128>()];

    fn to_bytes(value: i128) -> Self::Bytes {
        value.to_le_bytes()
    }

    fn from_bytes(bytes: &[u8]) -> Option<i128> {
        bytes.first_chunk().copied().map(i128::from_le_bytes)
    }

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

fn whole(args: &AccumulatorArgs<'_>, share: Share) -> Result<Box<dyn Accumulator>> {
    let (held, is_distinct) = (held_type(args)?, args.is_distinct);
    Ok(match held {
        DataType::Decimal128(..) => Box::new(WholeValues(HeldValues::<Decimal128Type>::new(
            share,
            held,
            is_distinct,
            None,
        ))),
        _ => Box::new(WholeValues(HeldValues::<Float64Type>::new(
            share,
            held,
            is_distinct,
            None,
        ))),
    })
}

fn by_group(
    args: &AccumulatorArgs<'_>,
    share: Share,
    spilled: &SpilledValues,
) -> Result<Box<dyn GroupsAccumulator>> {
    let (held, is_distinct) = (held_type(args)?, args.is_distinct);
    let files = spilled.files.clone();
    Ok(match held {
        DataType::Decimal128(..) => Box::new(HeldValues::<Decimal128Type>::new(
            share,
            held,
            is_distinct,
            files,
        )),
        _ => Box::new(HeldValues::<Float64Type>::new(
            share,
            held,
            is_distinct,
            files,
        )),
    })
}

fn held_type(args: &AccumulatorArgs<'_>) -> Result<DataType> {
    match args.expr_fields.first() {
        Some(field) => held_in(field.data_type(), args.name),
        None => internal_err!("a percentile has an argument"),
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
