//! Answers about a sorted list without nulls: what `mode` and `percentile_disc` come to, once their values are gathered.
//!
//! Invariant: an empty list, and none, give null; the share is compared in whole numbers.

use super::arguments::by_columns;
use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt64Array, make_comparator};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, Decimal128Type};
use datafusion::common::{Result, exec_err, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use std::cmp::Ordering;

/// Digits behind the point of a share.
const SHARE_DIGITS: i8 = 18;
/// Those of a share that is a float: all that it has for certain.
const FLOAT_DIGITS: i8 = 15;

/// The functions.
pub(super) fn functions() -> [ScalarUDF; 2] {
    [
        SortedListFunction::function("most_frequent", false),
        SortedListFunction::function("value_at_share", true),
    ]
}

/// SQL function that picks one element.
#[derive(Debug, PartialEq, Eq, Hash)]
struct SortedListFunction {
    name: &'static str,
    /// True if a share says which; else the one that is there most often.
    takes_share: bool,
    signature: Signature,
}

impl SortedListFunction {
    fn function(name: &'static str, takes_share: bool) -> ScalarUDF {
        ScalarUDF::new_from_impl(Self {
            name,
            takes_share,
            signature: Signature::user_defined(Volatility::Immutable),
        })
    }
}

impl ScalarUDFImpl for SortedListFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match (types, self.takes_share) {
            ([list @ DataType::List(_)], false) => Ok(vec![list.clone()]),
            ([list @ DataType::List(_), share], true) if share.is_numeric() || share.is_null() => {
                let digits = if share.is_floating() {
                    FLOAT_DIGITS
                } else {
                    SHARE_DIGITS
                };
                Ok(vec![list.clone(), DataType::Decimal128(38, digits)])
            }
            (_, true) => plan_err!("a share is a number from 0 to 1, like 0.5"),
            _ => plan_err!("{} takes a list", self.name),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(DataType::List(element)) => Ok(element.data_type().clone()),
            _ => plan_err!("{} takes a list", self.name),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        by_columns(&args, |columns, _| {
            let (Some(lists), share) = (
                columns.first().and_then(|list| list.as_list_opt::<i32>()),
                columns.get(1),
            ) else {
                return internal_err!("{} takes a list", self.name);
            };
            let places = match share {
                Some(share) => places_of_share(lists, share)?,
                None => places_of_most_frequent(lists)?,
            };
            Ok(take(lists.values(), &places, None)?)
        })
    }
}

/// Beginning and end of a row's elements; `None` for no elements.
fn range(lists: &ListArray, row: usize) -> Option<(usize, usize)> {
    let offsets = lists.value_offsets();
    let (from, to) = (
        usize::try_from(*offsets.get(row)?).ok()?,
        usize::try_from(*offsets.get(row + 1)?).ok()?,
    );
    (lists.is_valid(row) && from < to).then_some((from, to))
}

/// The first element at or after a share of all: PostgreSQL's `percentile_disc`.
fn places_of_share(lists: &ListArray, share: &ArrayRef) -> Result<UInt64Array> {
    let Some(shares) = share.as_primitive_opt::<Decimal128Type>() else {
        return internal_err!("a share came as {}", share.data_type());
    };
    let one = 10_i128.pow(u32::from(shares.scale().unsigned_abs()));
    (0..lists.len())
        .map(|row| {
            if shares.is_null(row) {
                return Ok(None);
            }
            let share = shares.value(row);
            if !(0..=one).contains(&share) {
                return exec_err!("a share is a number from 0 to 1, like 0.5");
            }
            let Some((from, to)) = range(lists, row) else {
                return Ok(None);
            };
            let elements = i128::try_from(to - from).unwrap_or(i128::MAX);
            // Rounded up: the share of an element that is not whole is that element.
            let number = share.saturating_mul(elements).saturating_add(one - 1) / one;
            let place = usize::try_from(number - 1).unwrap_or(0).min(to - from - 1);
            Ok(u64::try_from(from + place).ok())
        })
        .collect()
}

/// The first of those elements that are there most often.
fn places_of_most_frequent(lists: &ListArray) -> Result<UInt64Array> {
    let values = lists.values();
    let compare = make_comparator(values, values, SortOptions::default())?;
    Ok((0..lists.len())
        .map(|row| {
            let (from, to) = range(lists, row)?;
            let (mut best, mut most, mut begun) = (from, 0, from);
            for at in from + 1..=to {
                if at == to || compare(begun, at) != Ordering::Equal {
                    if at - begun > most {
                        (best, most) = (begun, at - begun);
                    }
                    begun = at;
                }
            }
            u64::try_from(best).ok()
        })
        .collect())
}
