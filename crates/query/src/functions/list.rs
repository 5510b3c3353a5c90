//! Functions over lists of objects: a transaction's articles, payments, products.
//!
//! Invariant: a list keeps its rows and its order; a null list stays null; nothing is copied where a field is only picked out.

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, ListArray, StructArray, UInt32Array,
    new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Decimal128Type, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, exec_err, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use std::sync::Arc;
use tillhouse_model::blank::is_blank;
use tillhouse_model::word;

/// `pluck`, `positions`, `sum_where`, `value_where`, `values_where`.
pub(super) fn functions() -> Vec<ScalarUDF> {
    [
        ListFunctionKind::Pluck,
        ListFunctionKind::Positions,
        ListFunctionKind::SumWhere,
        ListFunctionKind::ValueWhere,
        ListFunctionKind::ValuesWhere,
    ]
    .into_iter()
    .map(|kind| {
        ScalarUDF::new_from_impl(ListFunction {
            kind,
            signature: match kind.arity() {
                Some(arity) => Signature::any(arity, Volatility::Immutable),
                None => Signature::variadic_any(Volatility::Immutable),
            },
        })
    })
    .collect()
}

/// The list functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum ListFunctionKind {
    /// `pluck(list, 'field')`: the list of one field's values; `pluck(list, 'field', 'field', ...)`: the list with these fields alone.
    Pluck,
    /// `positions(list)`: 1, 2, 3 ..., to be unnested beside the list.
    Positions,
    /// `sum_where(amounts, labels, label)`: the sum of the amounts whose label it is; null where none is. With `currencies, currency` behind:
    /// null too where one of these amounts is in another currency.
    SumWhere,
    /// `value_where(values, labels, label)`: the first value whose label it is.
    ValueWhere,
    /// `values_where(values, labels, label)`: the list of the values whose label it is.
    ValuesWhere,
}

impl ListFunctionKind {
    /// Number of arguments; `None` where that differs from call to call.
    fn arity(self) -> Option<usize> {
        match self {
            Self::Positions => Some(1),
            Self::Pluck | Self::SumWhere => None,
            Self::ValueWhere | Self::ValuesWhere => Some(3),
        }
    }
}

/// One of them. Their results' types depend on their arguments', which is why they are not a [`super::SqlFunction`].
#[derive(Debug, PartialEq, Eq, Hash)]
struct ListFunction {
    kind: ListFunctionKind,
    signature: Signature,
}

impl ScalarUDFImpl for ListFunction {
    fn name(&self) -> &str {
        match self.kind {
            ListFunctionKind::Pluck => "pluck",
            ListFunctionKind::Positions => "positions",
            ListFunctionKind::SumWhere => "sum_where",
            ListFunctionKind::ValueWhere => "value_where",
            ListFunctionKind::ValuesWhere => "values_where",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        internal_err!("{} asks for its arguments' fields", self.name())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let list = args.arg_fields.first().map(|f| f.data_type());
        let Some(DataType::List(element)) = list else {
            return plan_err!(
                "the first argument of {} must be a list, not {}",
                self.name(),
                list.unwrap_or(&DataType::Null)
            );
        };
        let data_type = match self.kind {
            ListFunctionKind::Positions => list_of(DataType::Int64),
            ListFunctionKind::SumWhere if !matches!(args.arg_fields.len(), 3 | 5) => {
                return plan_err!(
                    "sum_where takes three arguments, or five with currencies and a currency"
                );
            }
            ListFunctionKind::SumWhere => match element.data_type() {
                DataType::Decimal128(_, scale) => DataType::Decimal128(38, *scale),
                other => return plan_err!("sum_where adds decimals, not {other}"),
            },
            ListFunctionKind::ValueWhere => element.data_type().clone(),
            ListFunctionKind::ValuesWhere => list_of(element.data_type().clone()),
            ListFunctionKind::Pluck => {
                let given = args.scalar_arguments.iter().skip(1);
                let names: Option<Vec<&str>> = given
                    .map(|s| s.and_then(|s| s.try_as_str()).flatten())
                    .collect();
                let Some(names) = names.filter(|names| !names.is_empty()) else {
                    return plan_err!("after the list, pluck takes the names of fields");
                };
                let DataType::Struct(fields) = element.data_type() else {
                    return plan_err!(
                        "pluck takes a list of objects, not a list of {}",
                        element.data_type()
                    );
                };
                let mut picked = Vec::with_capacity(names.len());
                for name in &names {
                    match fields.find(name) {
                        Some((_, field)) => picked.push(Arc::clone(field)),
                        None => {
                            let known: Vec<&str> =
                                fields.iter().map(|f| f.name().as_str()).collect();
                            return plan_err!(
                                "the list's objects have no field {name:?}; they have {}",
                                known.join(", ")
                            );
                        }
                    }
                }
                match picked.as_slice() {
                    [field] => list_of(field.data_type().clone()),
                    _ => list_of(DataType::Struct(picked.into())),
                }
            }
        };
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let list = args.args.first().map(|a| a.to_array(rows)).transpose()?;
        let Some(list) = list else {
            return internal_err!("{} without arguments", self.name());
        };
        let Some(list) = list.as_list_opt::<i32>() else {
            return exec_err!("{} takes a list", self.name());
        };
        let result: ArrayRef = match self.kind {
            ListFunctionKind::Positions => Arc::new(positions(list)?),
            ListFunctionKind::Pluck => {
                let name = |argument: &ColumnarValue| match argument {
                    ColumnarValue::Scalar(
                        ScalarValue::Utf8(Some(name)) | ScalarValue::Utf8View(Some(name)),
                    ) => Some(name.clone()),
                    _ => None,
                };
                let names: Option<Vec<String>> = args.args.iter().skip(1).map(name).collect();
                match names.as_deref() {
                    Some([name]) => Arc::new(pluck(list, name)?),
                    Some(names) => Arc::new(narrowed(list, names)?),
                    None => return exec_err!("after the list, pluck takes the names of fields"),
                }
            }
            ListFunctionKind::SumWhere
            | ListFunctionKind::ValueWhere
            | ListFunctionKind::ValuesWhere => {
                let labels = args.args[1].to_array(rows)?;
                let labels = cast(&labels, &list_of(DataType::Utf8))?;
                let label = cast(&args.args[2].to_array(rows)?, &DataType::Utf8)?;
                let mut chosen = matches(list, labels.as_list::<i32>(), &label);
                if let [_, _, _, currencies, currency] = args.args.as_slice() {
                    let currencies = cast(&currencies.to_array(rows)?, &list_of(DataType::Utf8))?;
                    let currency = cast(&currency.to_array(rows)?, &DataType::Utf8)?;
                    drop_mixed(list, &mut chosen, currencies.as_list::<i32>(), &currency);
                }
                match self.kind {
                    ListFunctionKind::SumWhere => Arc::new(sum(list, &chosen)?),
                    ListFunctionKind::ValuesWhere => {
                        let nulls = NullBuffer::union(
                            list.nulls(),
                            NullBuffer::union(labels.nulls(), label.nulls()).as_ref(),
                        );
                        Arc::new(all(list, &chosen, nulls)?)
                    }
                    _ => first(list, &chosen)?,
                }
            }
        };
        Ok(ColumnarValue::Array(result))
    }
}

fn list_of(data_type: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", data_type, true)))
}

fn pluck(list: &ListArray, name: &str) -> Result<ListArray> {
    let Some(objects) = list.values().as_struct_opt() else {
        return exec_err!("pluck takes a list of objects");
    };
    let Some(column) = objects.column_by_name(name) else {
        return exec_err!("the list's objects have no field {name:?}");
    };
    let column = under(objects, column)?;
    let field = Arc::new(Field::new("element", column.data_type().clone(), true));
    Ok(ListArray::try_new(
        field,
        list.offsets().clone(),
        column,
        list.nulls().cloned(),
    )?)
}

/// Projects objects onto some of their fields. What is taken apart later is copied, so it pays to leave the rest behind first.
fn narrowed(list: &ListArray, names: &[String]) -> Result<ListArray> {
    let Some(objects) = list.values().as_struct_opt() else {
        return exec_err!("pluck takes a list of objects");
    };
    let mut fields = Vec::with_capacity(names.len());
    let mut columns = Vec::with_capacity(names.len());
    for name in names {
        let Some((at, field)) = objects.fields().find(name) else {
            return exec_err!("the list's objects have no field {name:?}");
        };
        fields.push(Arc::clone(field));
        columns.push(Arc::clone(objects.column(at)));
    }
    let objects = StructArray::try_new(fields.into(), columns, objects.nulls().cloned())?;
    let field = Arc::new(Field::new("element", objects.data_type().clone(), true));
    Ok(ListArray::try_new(
        field,
        list.offsets().clone(),
        Arc::new(objects),
        list.nulls().cloned(),
    )?)
}

/// A field's values, null where the object itself is.
fn under(objects: &StructArray, column: &ArrayRef) -> Result<ArrayRef> {
    match objects.nulls() {
        None => Ok(Arc::clone(column)),
        Some(nulls) => {
            let nulls = NullBuffer::union(column.nulls(), Some(nulls));
            Ok(arrow::array::make_array(
                column.to_data().into_builder().nulls(nulls).build()?,
            ))
        }
    }
}

fn positions(list: &ListArray) -> Result<ListArray> {
    let offsets = list.offsets();
    let mut values = Vec::with_capacity(list.values().len());
    let mut own = vec![0_i32];
    let mut end = 0_i32;
    for pair in offsets.windows(2) {
        let length = pair[1] - pair[0];
        values.extend((1..=i64::from(length)).collect::<Vec<_>>());
        end += length;
        own.push(end);
    }
    let field = Arc::new(Field::new("element", DataType::Int64, true));
    let offsets = OffsetBuffer::new(own.into());
    Ok(ListArray::try_new(
        field,
        offsets,
        Arc::new(Int64Array::from(values)),
        list.nulls().cloned(),
    )?)
}

/// Positions in `list.values()` whose label is the row's, for every row.
fn matches(list: &ListArray, labels: &ListArray, label: &ArrayRef) -> Vec<Vec<usize>> {
    let texts = labels.values().as_string::<i32>();
    let label = label.as_string::<i32>();
    (0..list.len())
        .map(|row| {
            if list.is_null(row) || labels.is_null(row) || label.is_null(row) {
                return Vec::new();
            }
            let wanted = label.value(row);
            let from = list.value_offsets()[row] as usize;
            let length = (list.value_length(row) as usize).min(labels.value_length(row) as usize);
            let labels_from = labels.value_offsets()[row] as usize;
            (0..length)
                .filter(|i| {
                    texts.is_valid(labels_from + i) && texts.value(labels_from + i) == wanted
                })
                .map(|i| from + i)
                .collect()
        })
        .collect()
}

/// Drops what was chosen of a row where it is in several currencies, the row's own among them. A null is in none, a value without a currency is in whatever the
/// others are.
fn drop_mixed(
    list: &ListArray,
    chosen: &mut [Vec<usize>],
    currencies: &ListArray,
    currency: &ArrayRef,
) {
    let texts = currencies.values().as_string::<i32>();
    let own = currency.as_string::<i32>();
    let is_there = |position: &&usize| list.values().is_valid(**position);
    for (row, positions) in chosen.iter_mut().enumerate() {
        let from = list.value_offsets()[row] as usize;
        let currencies_from = currencies.value_offsets()[row] as usize;
        let length = match currencies.is_null(row) {
            true => 0,
            false => currencies.value_length(row) as usize,
        };
        let named = |position: &usize| {
            let i = position - from;
            let is_named = i < length && texts.is_valid(currencies_from + i);
            is_named.then(|| texts.value(currencies_from + i))
        };
        let own = own.is_valid(row).then(|| own.value(row));
        let mut named = own
            .into_iter()
            .chain(positions.iter().filter(is_there).filter_map(named))
            .filter(|currency| !is_blank(currency));
        let is_mixed = named
            .next()
            .is_some_and(|first| named.any(|other| !word::is_same_word(first, other)));
        if is_mixed {
            positions.clear();
        }
    }
}

fn sum(list: &ListArray, chosen: &[Vec<usize>]) -> Result<Decimal128Array> {
    let Some(values) = list.values().as_primitive_opt::<Decimal128Type>() else {
        return exec_err!("sum_where adds decimals");
    };
    let sums: Decimal128Array = chosen
        .iter()
        .map(|positions| {
            positions
                .iter()
                .filter(|p| values.is_valid(**p))
                .try_fold(None, |sum: Option<i128>, p| {
                    Some(Some(sum.unwrap_or(0).checked_add(values.value(*p))?))
                })
                .flatten()
        })
        .collect();
    Ok(sums.with_precision_and_scale(38, values.scale())?)
}

fn all(list: &ListArray, chosen: &[Vec<usize>], nulls: Option<NullBuffer>) -> Result<ListArray> {
    let indices: UInt32Array = chosen
        .iter()
        .flatten()
        .map(|p| u32::try_from(*p).ok())
        .collect();
    let values = take(list.values(), &indices, None)?;
    let offsets = OffsetBuffer::from_lengths(chosen.iter().map(Vec::len));
    let field = Arc::new(Field::new("element", values.data_type().clone(), true));
    Ok(ListArray::try_new(field, offsets, values, nulls)?)
}

fn first(list: &ListArray, chosen: &[Vec<usize>]) -> Result<ArrayRef> {
    if list.values().is_empty() {
        return Ok(new_null_array(list.values().data_type(), list.len()));
    }
    let indices: UInt32Array = chosen
        .iter()
        .map(|p| p.first().and_then(|p| u32::try_from(*p).ok()))
        .collect();
    Ok(take(list.values(), &indices, None)?)
}

#[cfg(test)]
mod tests {
    use crate::{QueryEngine, QueryEngineOptions, collect};
    use arrow::util::pretty::pretty_format_batches;

    async fn answer(sql: &str) -> String {
        let session = QueryEngine::new(QueryEngineOptions::default())
            .unwrap()
            .empty_session()
            .unwrap();
        let batches = collect(session.query(sql).await.unwrap()).await.unwrap();
        pretty_format_batches(&batches).unwrap().to_string()
    }

    const ROWS: &str = "(VALUES (1, [{s: 'collected', v: 1.50}, {s: 'open', v: 2.00}, {s: 'collected', v: 3.25}]), \
        (2, [{s: 'open', v: 1.00}]), (3, NULL)) AS t(id, l)";

    #[tokio::test]
    async fn lists_are_plucked_summed_searched_and_numbered() {
        let shown = answer(&format!(
            "SELECT id, pluck(l, 's') AS s, sum_where(pluck(l, 'v'), pluck(l, 's'), 'collected') AS sum, \
             value_where(pluck(l, 'v'), pluck(l, 's'), 'open') AS first, positions(l) AS n FROM {ROWS} ORDER BY id"
        ))
        .await;
        let lines: Vec<String> = shown
            .lines()
            .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines[3], "| 1 | [collected, open, collected] | 4.75 | 2.00 | [1, 2, 3] |",
            "{shown}"
        );
        assert_eq!(lines[4], "| 2 | [open] | | 1.00 | [1] |", "{shown}");
        assert_eq!(lines[5], "| 3 | | | | |", "{shown}");
    }
}
