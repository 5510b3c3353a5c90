//! Functions that take lambdas, like `list_transform(list, x -> repeat('y', 100000))`, held to the memory a query may use.
//!
//! Invariant: a list of a million elements that become large, or beside which large columns stand, is an error before it is made. DataFusion writes the columns of a row once for each
//! element of its list, and a constant body as often, without asking anybody; beyond 2 GiB it panics. How large an element becomes nobody knows before, so the first one is tried.

use crate::bounded::free_of;
use crate::column_size;
use crate::limits::bytes_of;
use arrow::array::{Array, ArrayRef, AsArray, UInt64Array};
use arrow::compute::kernels::length::length;
use arrow::compute::{cast, take_arrays};
use arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, Expr, HigherOrderFunctionArgs, HigherOrderReturnFieldArgs,
    HigherOrderSignature, HigherOrderUDF, HigherOrderUDFImpl, LambdaParametersProgress,
    ValueOrLambda,
};
use std::cell::Cell;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A function in the form that is held to a pool.
pub(crate) fn held(inner: &Arc<HigherOrderUDF>, pool: &Arc<dyn MemoryPool>) -> HigherOrderUDF {
    HigherOrderUDF::new_from_impl(BoundedLambda {
        inner: Arc::clone(inner.inner()),
        pool: Arc::clone(pool),
        free: free_of(pool),
    })
}

/// Function that reserves memory of the pool before it works out a lambda for all elements.
struct BoundedLambda {
    inner: Arc<dyn HigherOrderUDFImpl>,
    pool: Arc<dyn MemoryPool>,
    /// Bytes that a call may make without asking.
    free: usize,
}

/// Bytes that a call makes.
#[derive(Default)]
struct BytesMade {
    /// Results of its first element, and the columns beside it, as often as there are elements.
    all: usize,
    /// Those of texts, where each element becomes the same one.
    texts: usize,
}

fn bytes_made(args: &HigherOrderFunctionArgs) -> Result<BytesMade> {
    let [ValueOrLambda::Value(lists), ValueOrLambda::Lambda(lambda)] = args.args.as_slice() else {
        return Ok(BytesMade::default());
    };
    let lists = lists.to_array(args.number_rows)?;
    if !matches!(
        lists.data_type(),
        DataType::List(_) | DataType::LargeList(_)
    ) {
        return Ok(BytesMade::default());
    }
    let lengths = cast(&length(lists.as_ref())?, &DataType::Int64)?;
    let lengths = lengths.as_primitive::<Int64Type>();
    let of = |row: usize| match lengths.is_valid(row) {
        true => usize::try_from(lengths.value(row)).unwrap_or(0),
        false => 0,
    };
    let elements = (0..lists.len()).map(of).fold(0, usize::saturating_add);
    let Some(row) = (0..lists.len()).find(|row| of(*row) > 0) else {
        return Ok(BytesMade::default());
    };
    let first: ArrayRef = match lists.as_list_opt::<i32>() {
        Some(lists) => lists.value(row).slice(0, 1),
        None => lists.as_list::<i64>().value(row).slice(0, 1),
    };
    let beside = Cell::new(0_usize);
    let made = lambda.evaluate(&[&|| Ok(Arc::clone(&first))], |columns| {
        let width = |column: &ArrayRef| bytes_of(column.as_ref()).div_ceil(column.len().max(1));
        beside.set(columns.iter().map(width).sum());
        let place = UInt64Array::from_value(row as u64, 1);
        Ok(take_arrays(columns, &place, None)?)
    })?;
    let of_text = match &made {
        ColumnarValue::Scalar(ScalarValue::Utf8(Some(text))) => text.len(),
        _ => 0,
    };
    let each = match &made {
        ColumnarValue::Array(values) => bytes_of(values.as_ref()),
        ColumnarValue::Scalar(value) => value.size(),
    };
    Ok(BytesMade {
        all: elements.saturating_mul(each.saturating_add(beside.get())),
        texts: elements.saturating_mul(of_text),
    })
}

impl HigherOrderUDFImpl for BoundedLambda {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.inner.schema_name(args)
    }

    fn signature(&self) -> &HigherOrderSignature {
        self.inner.signature()
    }

    fn lambda_parameters(
        &self,
        step: usize,
        fields: &[ValueOrLambda<FieldRef, Option<FieldRef>>],
    ) -> Result<LambdaParametersProgress> {
        self.inner.lambda_parameters(step, fields)
    }

    fn coerce_values_for_lambdas(
        &self,
        fields: &[ValueOrLambda<DataType, DataType>],
    ) -> Result<Option<Vec<DataType>>> {
        self.inner.coerce_values_for_lambdas(fields)
    }

    fn coerce_value_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_value_types(types)
    }

    fn return_field_from_args(&self, args: HigherOrderReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn clear_null_values(&self) -> bool {
        self.inner.clear_null_values()
    }

    fn invoke_with_args(&self, args: HigherOrderFunctionArgs) -> Result<ColumnarValue> {
        let bytes = bytes_made(&args)?;
        let held = MemoryConsumer::new(self.name()).register(&self.pool);
        if bytes.all > self.free {
            held.try_grow(bytes.all)?;
        }
        column_size::check_bytes(bytes.texts)?;
        self.inner.invoke_with_args(args)
    }

    fn short_circuits(&self) -> bool {
        self.inner.short_circuits()
    }

    fn conditional_arguments<'a>(
        &self,
        args: &'a [Expr],
    ) -> Option<(Vec<&'a Expr>, Vec<&'a Expr>)> {
        self.inner.conditional_arguments(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

impl fmt::Debug for BoundedLambda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoundedLambda")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl PartialEq for BoundedLambda {
    fn eq(&self, other: &Self) -> bool {
        self.inner.name() == other.inner.name()
    }
}

impl Eq for BoundedLambda {}

impl Hash for BoundedLambda {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.name().hash(state);
    }
}
