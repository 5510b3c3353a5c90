//! Sorting keys of values, as bytes that compare as the keys do.
//!
//! Invariant: two keys compare as the columns that they were made of, in the directions and with the nulls of the call. A text that is the last of them stands there as it is: nothing has to
//! come behind it. Where the value is sorted by itself, its key is not held a second time.
//!
//! ```text
//!   string_agg(x, ',' ORDER BY n, x DESC)    key: n in bytes that compare                       tail: the value
//!   string_agg(x, ',' ORDER BY n, t)         key: n in bytes that compare, t null or not, t     tail: t
//!   string_agg(x, ',' ORDER BY t, n)         key: both in bytes that compare                    no tail
//! ```

use super::records::Record;
use super::sort::KeyParts;
use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion::common::{Result, internal_datafusion_err};

/// Flag before a tail that is there, and one that is null and comes first or last.
const PRESENT: &[u8] = &[1];
const NULL_FIRST: &[u8] = &[0];
const NULL_LAST: &[u8] = &[2];
const NOTHING: &[u8] = &[];

/// One sorting key of a call.
#[derive(Debug)]
pub(super) struct SortKey {
    pub(super) data_type: DataType,
    pub(super) options: SortOptions,
    /// True if it is the value itself.
    pub(super) is_value: bool,
}

/// Parts of a key's bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct KeyLayout {
    tail: Tail,
    descends: bool,
}

/// Bytes behind the bytes that compare as they are.
#[derive(Debug, Clone, Copy, Default)]
enum Tail {
    #[default]
    None,
    /// The bytes of the key from a place on.
    From(usize),
    /// The value.
    Value,
}

impl KeyLayout {
    pub(super) fn parts(self, of: Record<'_>) -> KeyParts<'_> {
        match self.tail {
            Tail::None => (of.key, NOTHING),
            Tail::From(at) => (of.key.split_at_checked(at)).unwrap_or((of.key, NOTHING)),
            Tail::Value => (of.key, of.value),
        }
    }

    pub(super) fn tail_descends(self) -> bool {
        self.descends
    }
}

/// The keys of a call.
#[derive(Debug)]
pub(super) struct SortKeys {
    /// Converter of the columns before the tail; `None` if there are none.
    head: Option<RowConverter>,
    layout: KeyLayout,
    /// Flag of a tail that is null; `None` if none is, or there is no tail.
    null_tail: Option<&'static [u8]>,
}

/// The keys of a batch.
pub(super) struct BatchKeys {
    head: Option<Rows>,
    null_tail: Option<&'static [u8]>,
    nulls: Option<NullBuffer>,
    tail: Option<LargeStringArray>,
}

pub(super) fn is_text(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// True for types whose values all take as many bytes.
fn is_fixed(data_type: &DataType) -> bool {
    data_type.is_primitive() || *data_type == DataType::Boolean
}

fn converter(keys: &[SortKey]) -> Result<Option<RowConverter>> {
    if keys.is_empty() {
        return Ok(None);
    }
    let field = |key: &SortKey| SortField::new_with_options(key.data_type.clone(), key.options);
    Ok(Some(RowConverter::new(keys.iter().map(field).collect())?))
}

/// Bytes of keys of types that all take as many.
fn width(of: Option<&RowConverter>, keys: &[SortKey]) -> Result<usize> {
    let Some(converter) = of else {
        return Ok(0);
    };
    let nulls: Vec<ArrayRef> = (keys.iter())
        .map(|key| new_null_array(&key.data_type, 1))
        .collect();
    Ok(converter.convert_columns(&nulls)?.row(0).data().len())
}

impl SortKeys {
    /// The keys of a call; `has_nulls` if values that are null are held.
    pub(super) fn new(keys: &[SortKey], has_nulls: bool) -> Result<Self> {
        let with_tail = keys.split_last().filter(|(last, before)| {
            let is_tail =
                is_text(&last.data_type) || (last.is_value && !last.data_type.is_nested());
            is_tail && before.iter().all(|key| is_fixed(&key.data_type))
        });
        let Some((last, before)) = with_tail else {
            return Ok(Self {
                head: converter(keys)?,
                layout: KeyLayout::default(),
                null_tail: None,
            });
        };
        let head = converter(before)?;
        let has_flag = has_nulls || !last.is_value;
        let tail = if last.is_value {
            Tail::Value
        } else {
            Tail::From(width(head.as_ref(), before)? + usize::from(has_flag))
        };
        let null_tail = if last.options.nulls_first {
            NULL_FIRST
        } else {
            NULL_LAST
        };
        Ok(Self {
            head,
            layout: KeyLayout {
                tail,
                descends: last.options.descending,
            },
            null_tail: has_flag.then_some(null_tail),
        })
    }

    pub(super) fn layout(&self) -> KeyLayout {
        self.layout
    }

    /// The keys of a batch of values.
    pub(super) fn of_batch(&self, value: &ArrayRef, keys: &[ArrayRef]) -> Result<BatchKeys> {
        let (last, before) = match self.layout.tail {
            Tail::None => (None, keys),
            Tail::From(_) | Tail::Value => keys
                .split_last()
                .map(|(last, before)| (Some(last), before))
                .ok_or_else(|| internal_datafusion_err!("a sorting key has a column"))?,
        };
        let (nulls, tail) = match (self.layout.tail, last) {
            (Tail::From(_), Some(last)) => {
                let texts = cast(last, &DataType::LargeUtf8)?;
                let texts = texts.as_string::<i64>().clone();
                (texts.logical_nulls(), Some(texts))
            }
            (Tail::Value, _) => (value.logical_nulls(), None),
            _ => (None, None),
        };
        let head = match &self.head {
            Some(head) => Some(head.convert_columns(before)?),
            None => None,
        };
        Ok(BatchKeys {
            head,
            null_tail: self.null_tail,
            nulls,
            tail,
        })
    }
}

impl BatchKeys {
    /// The parts of a row's key.
    pub(super) fn of_row(&self, row: usize) -> [&[u8]; 3] {
        let head = self.head.as_ref().map(|head| head.row(row).data());
        let is_null = self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        let flag = (self.null_tail).map(|null| if is_null { null } else { PRESENT });
        let tail = (self.tail.as_ref().filter(|_| !is_null)).map(|tail| tail.value(row).as_bytes());
        [head, flag, tail].map(Option::unwrap_or_default)
    }
}

#[cfg(test)]
mod tests {
    use super::super::records::HeldRecords;
    use super::super::tests::key;
    use super::*;
    use arrow::array::{Int64Array, StringArray};
    use arrow::compute::{SortColumn, lexsort_to_indices};
    use std::sync::Arc;

    fn number(n: Option<u8>) -> Option<i64> {
        n.map(|n| i64::from(n) - 1)
    }

    fn text(n: Option<u8>) -> Option<String> {
        n.map(|n| ["", "a", "a\0", "ab", "b", "ä"][usize::from(n)].repeat(usize::from(n % 3) + 1))
    }

    fn options(key: &SortKey, values: &ArrayRef) -> SortColumn {
        SortColumn {
            values: Arc::clone(values),
            options: Some(key.options),
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

        /// Numbers and texts, in either order, the text the value itself or not: as Arrow sorts the columns.
        #[test]
        fn bytes_compare_as_columns_do(
            rows in proptest::collection::vec((proptest::option::of(0_u8..3), proptest::option::of(0_u8..6)), 1..60),
            of_number: (bool, bool),
            of_text: (bool, bool),
            text_is_last: bool,
            is_value: bool,
        ) {
            let numbers: Int64Array = rows.iter().map(|(n, _)| number(*n)).collect();
            let texts: StringArray = rows.iter().map(|(_, t)| text(*t)).collect();
            let (numbers, texts): (ArrayRef, ArrayRef) = (Arc::new(numbers), Arc::new(texts));
            let mut columns = vec![
                (key(DataType::Int64, of_number, false), Arc::clone(&numbers)),
                (key(DataType::Utf8, of_text, is_value), Arc::clone(&texts)),
            ];
            if !text_is_last {
                columns.reverse();
            }
            let (keys, columns): (Vec<SortKey>, Vec<ArrayRef>) = columns.into_iter().unzip();
            let sort_keys = SortKeys::new(&keys, true).unwrap();
            let batch = sort_keys.of_batch(&texts, &columns).unwrap();
            let mut held = HeldRecords::default();
            let values = texts.as_string::<i32>();
            for row in 0..rows.len() {
                held.push(0, batch.of_row(row), values.value(row).as_bytes()).unwrap();
            }
            let sorted = held.sorted(1, sort_keys.layout());
            let by_arrow: Vec<SortColumn> = keys.iter().zip(&columns).map(|(key, column)| options(key, column)).collect();
            // Rows by their numbers where keys are equal: Arrow's sort is not stable.
            let in_order: ArrayRef = Arc::new(Int64Array::from_iter_values(0..i64::try_from(rows.len()).unwrap()));
            let by_arrow: Vec<SortColumn> = by_arrow.into_iter().chain([SortColumn { values: in_order, options: None }]).collect();
            let expected = lexsort_to_indices(&by_arrow, None).unwrap();
            proptest::prop_assert_eq!(sorted.all(), &expected.values()[..]);
        }
    }

    #[test]
    fn a_value_that_is_its_key_is_held_once() {
        let value: ArrayRef = Arc::new(StringArray::from(vec!["a long text"]));
        let keys = [key(DataType::Utf8, (true, false), true)];
        let keys = SortKeys::new(&keys, false).unwrap();
        let batch = keys.of_batch(&value, &[Arc::clone(&value)]).unwrap();
        assert!(batch.of_row(0).iter().all(|part| part.is_empty()));
        assert!(keys.layout().tail_descends());
    }
}
