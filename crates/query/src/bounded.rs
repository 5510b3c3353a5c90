//! Functions that make large values of small ones, held to the memory a query may use.
//!
//! Invariant: `repeat('x', 1000000000)` is an error before it is a gigabyte. DataFusion accounts for what sorts, joins and groupings hold, and not for what one call of
//! a function makes, so each call of these asks the pool first for what its arguments say it will take.

use crate::column_size;
use crate::limits::bytes_of;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::{
    DataType, FieldRef, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
    TimeUnit,
};
use datafusion::common::{Result, exec_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature,
};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Rule for the size of a function's result.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ResultSize {
    /// A text as often as a number says.
    Repeated,
    /// A text of as many characters as a number says.
    Padded,
    /// A list of as many elements as a number says.
    Listed,
    /// A list of the numbers, days or instants from one to another.
    Counted,
    /// A text in which each occurrence of one becomes another, the third argument.
    Replaced,
    /// All texts one after the other.
    Joined,
    /// All texts but the first, with the first between each two.
    Separated,
    /// The elements of a list as texts, with a text between each two, and one in place of each null.
    Listing,
    /// A list in which elements become another value, the third argument.
    Exchanged,
    /// A text by a pattern, the second argument.
    Formatted,
    /// The parts of a text that the brackets of a pattern, the second argument, match: each may match all of it.
    Matched,
    /// Parts of a text of JSON: their places, of one row at a time, and the parts of all rows.
    Parsed,
    /// As large as all arguments together, so many times.
    Together(i64),
}

/// The functions, and which of their arguments says how large.
const FUNCTIONS: [(&str, ResultSize); 43] = [
    ("repeat", ResultSize::Repeated),
    ("lpad", ResultSize::Padded),
    ("rpad", ResultSize::Padded),
    ("array_repeat", ResultSize::Listed),
    ("array_resize", ResultSize::Listed),
    ("range", ResultSize::Counted),
    ("generate_series", ResultSize::Counted),
    ("replace", ResultSize::Replaced),
    ("regexp_replace", ResultSize::Replaced),
    ("regexp_match", ResultSize::Matched),
    ("to_char", ResultSize::Formatted),
    ("strftime", ResultSize::Formatted),
    ("concat", ResultSize::Joined),
    ("concat_ws", ResultSize::Separated),
    ("array_to_string", ResultSize::Listing),
    ("overlay", ResultSize::Together(1)),
    ("array_concat", ResultSize::Together(1)),
    ("array_append", ResultSize::Together(1)),
    ("array_prepend", ResultSize::Together(1)),
    ("make_array", ResultSize::Together(1)),
    ("array_union", ResultSize::Together(1)),
    ("array_replace", ResultSize::Exchanged),
    ("array_replace_n", ResultSize::Exchanged),
    ("array_replace_all", ResultSize::Exchanged),
    ("array_sort", ResultSize::Together(2)),
    ("array_distinct", ResultSize::Together(2)),
    ("array_except", ResultSize::Together(2)),
    ("array_intersect", ResultSize::Together(2)),
    ("arrays_zip", ResultSize::Together(2)),
    ("map", ResultSize::Together(2)),
    ("json_get", ResultSize::Parsed),
    ("json_get_json", ResultSize::Parsed),
    ("json_get_int", ResultSize::Parsed),
    ("json_get_bool", ResultSize::Parsed),
    ("json_get_array", ResultSize::Parsed),
    ("json_object_keys", ResultSize::Parsed),
    ("json_length", ResultSize::Parsed),
    ("json_contains", ResultSize::Parsed),
    ("json_at", ResultSize::Parsed),
    ("json_text_at", ResultSize::Parsed),
    ("encode", ResultSize::Together(2)),
    // A letter may become one of four bytes.
    ("translate", ResultSize::Together(4)),
    // A letter may become an element, with where it ends and its padding.
    ("string_to_array", ResultSize::Together(8)),
];

/// The share of the limit that one call may make without asking the pool.
const FREE_SHARE: usize = 8;

/// Bytes of the place of a part of JSON for each letter of the text: `[1,1,1]` has one for every two.
const BYTES_OF_A_PART: i64 = 16;

/// Bytes that one letter of a pattern may become: `%+` is an instant with nine digits of its second.
const BYTES_OF_A_LETTER: i64 = 20;

/// Bytes of a pattern's letter that was read.
const BYTES_OF_A_READ_LETTER: i64 = 32;

/// Bytes of a character, at most.
const BYTES_OF_A_CHARACTER: i64 = 4;

/// Copies that planning makes of a constant.
const COPIES_OF_CONSTANTS: usize = 4;

/// The functions of a session that are to be held to the pool, so held.
pub(crate) fn functions(
    known: impl Fn(&str) -> Option<Arc<ScalarUDF>>,
    pool: &Arc<dyn MemoryPool>,
) -> Vec<ScalarUDF> {
    FUNCTIONS
        .into_iter()
        .filter_map(|(name, size)| Some(bounded(known(name)?, size, pool)))
        .collect()
}

/// A function in the form that is held to a pool, where it should be and is not: the parser knows some by itself, like `overlay(a PLACING b FROM 1)`.
pub(crate) fn held(function: &Arc<ScalarUDF>, pool: &Arc<dyn MemoryPool>) -> Option<ScalarUDF> {
    let (_, size) = FUNCTIONS
        .into_iter()
        .find(|(name, _)| *name == function.name())?;
    let is_held = function.inner().downcast_ref::<BoundedFunction>().is_some();
    (!is_held).then(|| bounded(Arc::clone(function), size, pool))
}

/// A function that is held to a pool.
pub(crate) fn bounded(
    inner: Arc<ScalarUDF>,
    size: ResultSize,
    pool: &Arc<dyn MemoryPool>,
) -> ScalarUDF {
    ScalarUDF::new_from_impl(BoundedFunction {
        inner,
        size,
        pool: Arc::clone(pool),
        free: free_of(pool),
    })
}

/// Bytes that a step may take without asking a pool.
pub(crate) fn free_of(pool: &Arc<dyn MemoryPool>) -> usize {
    match pool.memory_limit() {
        MemoryLimit::Finite(bytes) => bytes / FREE_SHARE,
        _ => usize::MAX,
    }
}

/// Function that reserves memory of the pool before it makes a large value.
struct BoundedFunction {
    inner: Arc<ScalarUDF>,
    size: ResultSize,
    pool: Arc<dyn MemoryPool>,
    /// Bytes that a call may make without asking: as any batch that is under way. A sort beside it takes all there is until it is asked to spill, and cannot be asked
    /// from here.
    free: usize,
}

impl BoundedFunction {
    /// Bytes of the values that a call makes, as far as the arguments tell.
    fn bytes(&self, args: &[ColumnarValue]) -> Result<usize> {
        let numbers = |at: usize| {
            args.get(at)
                .map_or(Ok(SizeArgument::NONE), SizeArgument::of)
        };
        let lengths = |at: usize| {
            args.get(at)
                .map_or(Ok(SizeArgument::NONE), SizeArgument::lengths_of)
        };
        let rows = args.iter().find_map(|arg| match arg {
            ColumnarValue::Array(array) => Some(array.len()),
            ColumnarValue::Scalar(_) => None,
        });
        let rows = rows.unwrap_or(1);
        let sum = |of: &dyn Fn(usize) -> i64| {
            (0..rows).fold(0_i64, |sum, row| sum.saturating_add(of(row).max(0)))
        };
        let bytes = match self.size {
            ResultSize::Repeated => {
                let (text, times) = (lengths(0)?, numbers(1)?);
                sum(&|row| text.at(row).saturating_mul(times.at(row).max(0)))
            }
            ResultSize::Padded => {
                // The width counts characters.
                let width = numbers(1)?;
                let each = match is_ascii(args.first()) && is_ascii(args.get(2)) {
                    true => 1,
                    false => BYTES_OF_A_CHARACTER,
                };
                sum(&|row| width.at(row).saturating_mul(each))
            }
            ResultSize::Formatted => {
                let pattern = lengths(1)?;
                let patterns = match &pattern {
                    SizeArgument::Constant(length) => *length,
                    SizeArgument::Each(_) => sum(&|row| pattern.at(row)),
                };
                sum(&|row| pattern.at(row).saturating_mul(BYTES_OF_A_LETTER))
                    .saturating_add(patterns.saturating_mul(BYTES_OF_A_READ_LETTER))
            }
            ResultSize::Matched => {
                let (text, pattern) = (lengths(0)?, lengths(1)?);
                let brackets = brackets_of(args.get(1));
                sum(&|row| {
                    let brackets = brackets.unwrap_or_else(|| pattern.at(row) / 2);
                    text.at(row).saturating_mul(brackets.max(1))
                })
            }
            ResultSize::Listed => {
                // `array_repeat(value, count)`, `array_resize(list, count, value)`.
                let of = if self.name() == "array_resize" { 2 } else { 0 };
                let (count, each) = (numbers(1)?, bytes_of_a_value(args.get(of)));
                sum(&|row| count.at(row).saturating_mul(each))
            }
            ResultSize::Counted
                if args
                    .first()
                    .is_some_and(|from| nanoseconds(&from.data_type()).is_some()) =>
            {
                let (from, to, step) = (
                    instants(args, 0)?,
                    instants(args, 1)?,
                    SeriesStep::of(args.get(2))?,
                );
                // A list that grows takes twice what it needs.
                sum(&|row| {
                    let count = (to.at(row) - from.at(row)).abs() / step.at(row).abs().max(1);
                    i64::try_from(count.saturating_mul(16)).unwrap_or(i64::MAX)
                })
            }
            ResultSize::Counted => {
                let (from, to, step) = (numbers(0)?, numbers(1)?, numbers(2)?);
                let is_one = args.len() < 2;
                sum(&|row| {
                    let (from, to) = if is_one {
                        (0, from.at(row))
                    } else {
                        (from.at(row), to.at(row))
                    };
                    let step = step.at(row).saturating_abs().max(1);
                    (to.saturating_sub(from).saturating_abs() / step).saturating_mul(8)
                })
            }
            ResultSize::Replaced => {
                let (text, to) = (lengths(0)?, lengths(2)?);
                // A pattern may match more often than it is long.
                let from = if self.name() == "replace" {
                    lengths(1)?
                } else {
                    SizeArgument::NONE
                };
                sum(&|row| {
                    (text.at(row) / from.at(row).max(1))
                        .saturating_add(1)
                        .saturating_mul(to.at(row))
                })
            }
            ResultSize::Joined | ResultSize::Separated => {
                let texts = args
                    .iter()
                    .map(SizeArgument::lengths_of)
                    .collect::<Result<Vec<_>>>()?;
                let gaps = if matches!(self.size, ResultSize::Separated) {
                    texts.len().saturating_sub(2)
                } else {
                    0
                };
                let gaps = i64::try_from(gaps).unwrap_or(i64::MAX);
                sum(&|row| {
                    let between = texts
                        .first()
                        .map_or(0, |first| first.at(row).saturating_mul(gaps));
                    texts
                        .iter()
                        .fold(between, |sum, text| sum.saturating_add(text.at(row)))
                })
            }
            ResultSize::Listing => {
                let elements = lengths(0)?;
                let (between, of_null) = (lengths(1)?, lengths(2)?);
                let gaps = sum(&|row| {
                    let each = between.at(row).saturating_add(of_null.at(row));
                    elements.at(row).saturating_mul(each)
                });
                // A number takes more letters than bytes.
                gaps.saturating_add(bytes_of_all(args, rows).saturating_mul(3))
            }
            ResultSize::Exchanged => {
                let (elements, each) = (lengths(0)?, bytes_of_a_value(args.get(2)));
                sum(&|row| elements.at(row).saturating_mul(each))
                    .saturating_add(bytes_of_all(args, rows))
            }
            ResultSize::Parsed => {
                let text = lengths(0)?;
                let longest = (0..rows).map(|row| text.at(row)).max().unwrap_or(0);
                sum(&|row| text.at(row).saturating_mul(4))
                    .saturating_add(longest.saturating_mul(BYTES_OF_A_PART))
            }
            ResultSize::Together(times) => bytes_of_all(args, rows).saturating_mul(times),
        };
        Ok(usize::try_from(bytes).unwrap_or(usize::MAX))
    }
}

/// True if no text of an argument has a character of several bytes; one that is not given has none.
fn is_ascii(arg: Option<&ColumnarValue>) -> bool {
    match arg {
        None => true,
        Some(ColumnarValue::Scalar(value)) => {
            value.try_as_str().flatten().is_none_or(str::is_ascii)
        }
        Some(ColumnarValue::Array(array)) => {
            let small = array.as_string_opt::<i32>().map(|texts| texts.is_ascii());
            let large = || array.as_string_opt::<i64>().map(|texts| texts.is_ascii());
            let views = || array.as_string_view_opt().map(|texts| texts.is_ascii());
            small.or_else(large).or_else(views).unwrap_or(false)
        }
    }
}

/// Brackets of a pattern; `None` where each row has one of its own.
fn brackets_of(arg: Option<&ColumnarValue>) -> Option<i64> {
    let Some(ColumnarValue::Scalar(pattern)) = arg else {
        return None;
    };
    let pattern = pattern.try_as_str().flatten().unwrap_or_default();
    let brackets = pattern.bytes().filter(|byte| *byte == b'(').count();
    Some(i64::try_from(brackets).unwrap_or(i64::MAX))
}

/// Bytes of all arguments of a call, of constants as often as there are rows.
fn bytes_of_all(args: &[ColumnarValue], rows: usize) -> i64 {
    let of = |arg: &ColumnarValue| match arg {
        ColumnarValue::Array(_) => bytes_of_a_value(Some(arg)),
        ColumnarValue::Scalar(value) => i64::try_from(value.size()).unwrap_or(i64::MAX),
    };
    args.iter()
        .fold(0_i64, |sum, arg| sum.saturating_add(of(arg)))
        .saturating_mul(i64::try_from(rows).unwrap_or(i64::MAX))
}

/// Nanoseconds of one unit of a type that counts days or parts of them.
fn nanoseconds(data_type: &DataType) -> Option<i128> {
    Some(match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => 1_000_000_000,
        DataType::Timestamp(TimeUnit::Millisecond, _) | DataType::Date64 => 1_000_000,
        DataType::Timestamp(TimeUnit::Microsecond, _) => 1_000,
        DataType::Timestamp(TimeUnit::Nanosecond, _) => 1,
        DataType::Date32 => DAY,
        _ => return None,
    })
}

/// The nanoseconds of a day.
const DAY: i128 = 86_400_000_000_000;

/// Days and instants, in nanoseconds since 1970.
struct InstantNanos {
    numbers: SizeArgument,
    unit: i128,
}

impl InstantNanos {
    fn at(&self, row: usize) -> i128 {
        i128::from(self.numbers.at(row)) * self.unit
    }
}

fn instants(args: &[ColumnarValue], at: usize) -> Result<InstantNanos> {
    let Some((arg, unit)) = args
        .get(at)
        .and_then(|arg| Some((arg, nanoseconds(&arg.data_type())?)))
    else {
        return Ok(InstantNanos {
            numbers: SizeArgument::NONE,
            unit: 1,
        });
    };
    Ok(InstantNanos {
        numbers: SizeArgument::from(arg, |array| Ok(Arc::clone(array)))?,
        unit,
    })
}

/// The steps of a series, in nanoseconds; of months as many as the shortest has.
enum SeriesStep {
    Constant(i128),
    Each(ArrayRef),
}

impl SeriesStep {
    fn of(arg: Option<&ColumnarValue>) -> Result<Self> {
        let of = |array: &ArrayRef| -> Result<ArrayRef> {
            let steps = cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
            let is_endless = steps
                .as_primitive::<IntervalMonthDayNanoType>()
                .iter()
                .any(|step| step == Some(IntervalMonthDayNano::ZERO));
            if is_endless {
                return exec_err!("a series with a step of zero never ends");
            }
            Ok(steps)
        };
        Ok(match arg {
            Some(ColumnarValue::Array(array)) => Self::Each(of(array)?),
            Some(ColumnarValue::Scalar(value)) => Self::Constant(step(&of(&value.to_array()?)?, 0)),
            None => Self::Constant(DAY),
        })
    }

    fn at(&self, row: usize) -> i128 {
        match self {
            Self::Constant(step) => *step,
            Self::Each(steps) => step(steps, row),
        }
    }
}

fn step(steps: &ArrayRef, row: usize) -> i128 {
    let steps = steps.as_primitive::<IntervalMonthDayNanoType>();
    if steps.is_null(row) {
        return DAY;
    }
    let step = steps.value(row);
    i128::from(step.months) * 28 * DAY + i128::from(step.days) * DAY + i128::from(step.nanoseconds)
}

/// Whole numbers of an argument that says how large a result becomes; 0 where it is not given or
/// no number. A constant stays one value: there may be thousands of rows.
enum SizeArgument {
    Constant(i64),
    Each(ArrayRef),
}

impl SizeArgument {
    const NONE: Self = Self::Constant(0);

    fn of(arg: &ColumnarValue) -> Result<Self> {
        if arg.data_type().is_integer() {
            Self::from(arg, |array| Ok(Arc::clone(array)))
        } else {
            Ok(Self::NONE)
        }
    }

    /// Bytes of a text, elements of a list.
    fn lengths_of(arg: &ColumnarValue) -> Result<Self> {
        let has_length = match arg.data_type() {
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => true,
            other => other.is_string(),
        };
        if has_length {
            Self::from(arg, |array| Ok(length(array.as_ref())?))
        } else {
            Ok(Self::NONE)
        }
    }

    fn from(arg: &ColumnarValue, of: impl Fn(&ArrayRef) -> Result<ArrayRef>) -> Result<Self> {
        let numbers =
            |array: &ArrayRef| -> Result<ArrayRef> { Ok(cast(&of(array)?, &DataType::Int64)?) };
        Ok(match arg {
            ColumnarValue::Array(array) => Self::Each(numbers(array)?),
            ColumnarValue::Scalar(value) => {
                Self::Constant(number(&numbers(&value.to_array()?)?, 0))
            }
        })
    }

    fn at(&self, row: usize) -> i64 {
        match self {
            Self::Constant(number) => *number,
            Self::Each(numbers) => number(numbers, row),
        }
    }
}

fn number(numbers: &ArrayRef, row: usize) -> i64 {
    let numbers = numbers.as_primitive::<Int64Type>();
    if numbers.is_null(row) {
        0
    } else {
        numbers.value(row)
    }
}

/// Bytes of one value of an argument, on the average.
fn bytes_of_a_value(arg: Option<&ColumnarValue>) -> i64 {
    let bytes = match arg {
        Some(ColumnarValue::Array(array)) => bytes_of(array.as_ref()) / array.len().max(1),
        Some(ColumnarValue::Scalar(value)) => value.size(),
        None => 0,
    };
    i64::try_from(bytes.max(8)).unwrap_or(i64::MAX)
}

impl ScalarUDFImpl for BoundedFunction {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn is_strict(&self) -> bool {
        self.inner.inner().is_strict()
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let mut bytes = self.bytes(&args.args)?;
        let made = bytes;
        // A value made of constants alone while a query is planned is kept by the plan, and copied with it.
        if args
            .args
            .iter()
            .all(|arg| matches!(arg, ColumnarValue::Scalar(_)))
        {
            bytes = bytes.saturating_mul(COPIES_OF_CONSTANTS);
        }
        let held = MemoryConsumer::new(self.name()).register(&self.pool);
        if bytes > self.free {
            held.try_grow(bytes)?;
        }
        // Exact for this one, which takes all of it at once.
        if matches!(self.size, ResultSize::Repeated)
            && *args.return_field.data_type() == DataType::Utf8
        {
            column_size::check_bytes(made)?;
        }
        self.inner.invoke_with_args(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        // A function may become itself with other arguments, and names itself then: not this one, which it does not know.
        Ok(match self.inner.simplify(args, info)? {
            ExprSimplifyResult::Simplified(Expr::ScalarFunction(call))
                if call.func == self.inner =>
            {
                let bounded = Self {
                    inner: Arc::clone(&self.inner),
                    pool: Arc::clone(&self.pool),
                    ..*self
                };
                let bounded = Arc::new(ScalarUDF::new_from_impl(bounded));
                ExprSimplifyResult::Simplified(Expr::ScalarFunction(ScalarFunction::new_udf(
                    bounded, call.args,
                )))
            }
            other => other,
        })
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn evaluate_bounds(&self, input: &[&Interval]) -> Result<Interval> {
        self.inner.evaluate_bounds(input)
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(inputs)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

impl fmt::Debug for BoundedFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounded")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl PartialEq for BoundedFunction {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for BoundedFunction {}

impl Hash for BoundedFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}
