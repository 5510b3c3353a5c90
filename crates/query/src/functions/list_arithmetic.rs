//! Arithmetic of lists: `array_sum` and `array_avg` of decimals and whole numbers, exactly, and no other function of vectors over decimals.
//!
//! Invariant: money never passes through a float. DataFusion's functions of vectors (`array_sum`, `array_avg`, `inner_product`, `array_scale` ...) make floats of whatever they are
//! given; here the first two add decimals as `sum` and `avg` do, and the others refuse decimals.

use crate::average::average;
use crate::exact::average_type;
use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Int64Array, ListArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, DecimalType, Field};
use arrow::error::ArrowError;
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use std::sync::Arc;

/// Functions of vectors whose results would be exact, and which work in floats alone. Distances and the like are no exact numbers, whatever they are of.
const OF_FLOATS: [&str; 5] = [
    "array_product",
    "array_add",
    "array_subtract",
    "array_scale",
    "inner_product",
];

/// The functions of a session that are exact, or refuse, in place of those it knows.
pub(crate) fn functions(known: impl Fn(&str) -> Option<Arc<ScalarUDF>>) -> Vec<ScalarUDF> {
    let of = |name: &str, kind| {
        Some(ScalarUDF::new_from_impl(ListArithmetic {
            kind,
            inner: known(name)?,
            signature: Signature::user_defined(Volatility::Immutable),
        }))
    };
    let exact = [
        of("array_sum", ListArithmeticKind::Sum),
        of("array_avg", ListArithmeticKind::Average),
    ];
    let of_floats = OF_FLOATS.map(|name| of(name, ListArithmeticKind::OfFloats));
    exact.into_iter().chain(of_floats).flatten().collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ListArithmeticKind {
    Sum,
    Average,
    /// No function of decimals.
    OfFloats,
}

/// One function over a list; floats are left to DataFusion's own.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ListArithmetic {
    kind: ListArithmeticKind,
    inner: Arc<ScalarUDF>,
    signature: Signature,
}

/// The type of a list's elements.
fn element(list: &DataType) -> Option<&DataType> {
    match list {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => Some(field.data_type()),
        _ => None,
    }
}

fn list_of(element: DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(element, true)))
}

impl ListArithmetic {
    /// The type in which the elements of a list are added; `None` for what is left to DataFusion.
    fn added_in(&self, list: &DataType) -> Option<DataType> {
        match (self.kind, element(list)?) {
            (ListArithmeticKind::OfFloats, _) => None,
            (
                _,
                DataType::Decimal32(_, scale)
                | DataType::Decimal64(_, scale)
                | DataType::Decimal128(_, scale),
            ) => Some(DataType::Decimal128(38, *scale)),
            (ListArithmeticKind::Sum, DataType::UInt64) => Some(DataType::Decimal128(38, 0)),
            (ListArithmeticKind::Sum, other) if other.is_integer() => Some(DataType::Int64),
            _ => None,
        }
    }
}

impl ScalarUDFImpl for ListArithmetic {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first().and_then(|list| self.added_in(list)) {
            Some(added @ DataType::Decimal128(..)) if self.kind == ListArithmeticKind::Average => {
                Ok(average_type(&added))
            }
            Some(added) => Ok(added),
            None => self.inner.return_type(types),
        }
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if let [list] = types
            && let Some(added) = self.added_in(list)
        {
            return Ok(vec![list_of(added)]);
        }
        if types
            .iter()
            .filter_map(|list| element(list))
            .any(DataType::is_decimal)
        {
            return plan_err!(
                "{} works in floats and would not keep a decimal exact; CAST the list to DOUBLE[] if that will do",
                self.name()
            );
        }
        self.inner.inner().coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let list = match args.args.as_slice() {
            [list] if self.added_in(&list.data_type()).is_some() => list,
            _ => return self.inner.invoke_with_args(args),
        };
        let is_constant = matches!(list, ColumnarValue::Scalar(_));
        let lists = list.to_array(if is_constant { 1 } else { args.number_rows })?;
        let sums = sums(&lists, self.kind, args.return_field.data_type())?;
        if is_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &sums, 0,
            )?));
        }
        Ok(ColumnarValue::Array(sums))
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

/// Sum or average of each list; null for one that is null, empty or of nulls alone.
fn sums(lists: &ArrayRef, kind: ListArithmeticKind, result: &DataType) -> Result<ArrayRef> {
    let Some(lists) = lists.as_list_opt::<i32>() else {
        return internal_err!("a list is {}", lists.data_type());
    };
    let (values, scale) = match lists.values().data_type() {
        DataType::Decimal128(_, scale) => (Arc::clone(lists.values()), *scale),
        // Whole numbers cannot overflow 128 bits on the way.
        _ => (cast(lists.values(), &DataType::Decimal128(38, 0))?, 0),
    };
    let sums = totals(lists, &values, |sum, count| {
        let value = match (kind, result) {
            (ListArithmeticKind::Average, DataType::Decimal128(_, to)) => {
                average(sum, count, scale, *to)
            }
            _ => Some(sum),
        };
        let fits = |value: &i128| match result {
            DataType::Decimal128(precision, _) => {
                Decimal128Type::is_valid_decimal_precision(*value, *precision)
            }
            _ => i64::try_from(*value).is_ok(),
        };
        value.filter(fits).ok_or_else(|| does_not_fit(result))
    })?;
    if let DataType::Decimal128(..) = result {
        return Ok(Arc::new(sums.with_data_type(result.clone())));
    }
    let sums: Int64Array = sums
        .iter()
        .map(|sum| sum.and_then(|sum| i64::try_from(sum).ok()))
        .collect();
    Ok(Arc::new(sums))
}

/// Sum and number of values of each list.
fn totals(
    lists: &ListArray,
    values: &ArrayRef,
    of: impl Fn(i128, i64) -> Result<i128, ArrowError>,
) -> Result<Decimal128Array> {
    let values = values.as_primitive::<Decimal128Type>();
    let mut totals = Vec::with_capacity(lists.len());
    for (row, ends) in lists.value_offsets().windows(2).enumerate() {
        let (mut sum, mut count) = (Some(0_i128), 0_i64);
        if lists.is_valid(row) {
            let range =
                usize::try_from(ends[0]).unwrap_or(0)..usize::try_from(ends[1]).unwrap_or(0);
            for at in range.filter(|at| values.is_valid(*at)) {
                sum = sum.and_then(|sum| sum.checked_add(values.value(at)));
                count += 1;
            }
        }
        let total = match (sum, count) {
            (_, 0) => None,
            (Some(sum), count) => Some(of(sum, count)?),
            (None, _) => return Err(does_not_fit(values.data_type()).into()),
        };
        totals.push(total);
    }
    Ok(totals.into_iter().collect())
}

fn does_not_fit(data_type: &DataType) -> ArrowError {
    ArrowError::ArithmeticOverflow(format!("the sum of a list does not fit into {data_type}"))
}
