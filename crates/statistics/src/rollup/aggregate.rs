//! Adds facts up into the rows of a roll-up.
//!
//! Invariant: a row of the roll-up is one combination of all its columns that are neither count nor sum; sums are exact, and null where
//! nothing that was added had a value, as in SQL.
//!
//! ```text
//!   a column's values          --> small numbers, by its dictionary
//!   the numbers of all columns --> two: when (the hour, the site's day and hour), and what (all others, of which there are few
//!                                  combinations, over and over)
//!   when and what              --> count and sums, and back to values in the order of the hours
//! ```
//!
//! Rejected: GROUP BY in the query engine. With fifteen columns, most of them text, it encodes every row as bytes, and decodes every
//! group again: half of what adding up cost. And it takes its memory from the queries' limit, beyond which it fails.

use super::{CURRENCY, HOUR_COLUMN, TRANSACTION_KEY};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type, SchemaRef};
use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;
use tillhouse_model::calendar::HOUR;
use tillhouse_model::table::{MONTH, OCCURRED_AT, PIPELINE, timestamp};
use tillhouse_model::{Error, ErrorKind, FastMap, Result, ResultExt};

/// Rows in a batch of the result.
const BATCH_ROWS: usize = 8_192;
/// No roll-up adds up more than this.
const MOST_SUMS: usize = 2;
/// The code of null.
const NULL: u32 = 0;

/// Currencies of transactions, by transaction key.
pub(super) type TransactionCurrencies = HashMap<String, Option<String>>;

/// Treatment of a row without a currency.
pub(super) enum MissingCurrency<'a> {
    /// It has none.
    Keep,
    /// It is left out, and its time noted.
    Defer(&'a mut HashSet<Option<i64>>),
    /// It has its transaction's.
    FromTransaction(&'a TransactionCurrencies),
}

/// Aggregator of one partition of a roll-up: groups rows of facts by time key and label key,
/// counts them and sums their measures.
pub(super) struct HourlyAggregator {
    schema: SchemaRef,
    count: String,
    measures: Vec<(String, DataType)>,
    missing: Option<NullCountColumn>,
    partition: [(&'static str, String); 2],
    columns: Vec<GroupKeyColumn>,
    time_keys: KeyInterner,
    label_keys: KeyInterner,
    /// Place in `sums` of a time key and a label key.
    groups: HashMap<(u32, u32), usize, BuildHasherDefault<CodeHasher>>,
    sums: Vec<AggregateSums>,
}

/// Column that counts the rows without a value in one of the measures.
struct NullCountColumn {
    name: String,
    /// The measure's position.
    of: usize,
}

/// Count and sums of one group.
#[derive(Default, Clone, Copy)]
struct AggregateSums {
    count: i64,
    /// Rows without a value in the measure that [`NullCountColumn`] names.
    missing: i64,
    sums: [Option<i128>; MOST_SUMS],
}

impl AggregateSums {
    fn add(
        &mut self,
        measured: &[Option<Decimal128Array>],
        missing: Option<&NullCountColumn>,
        row: usize,
    ) -> Result<()> {
        self.count += 1;
        if let Some(NullCountColumn { of, .. }) = missing {
            let has_value = measured
                .get(*of)
                .and_then(Option::as_ref)
                .is_some_and(|values| values.is_valid(row));
            self.missing += i64::from(!has_value);
        }
        for (sum, values) in self.sums.iter_mut().zip(measured) {
            if let Some(values) = values.as_ref().filter(|values| values.is_valid(row)) {
                *sum = Some(
                    sum.unwrap_or(0)
                        .checked_add(values.value(row))
                        .ok_or_else(too_much)?,
                );
            }
        }
        Ok(())
    }
}

impl HourlyAggregator {
    /// Adds up facts of a pipeline and month. Of the roll-up's schema one column counts rows, some are sums of the fact's columns of the
    /// same name, and one may count the rows without a value in one of these (`missing`: its name, and the sum's); all others are what
    /// its rows are told apart by.
    pub(super) fn new(
        schema: SchemaRef,
        count: &str,
        sums: &[&str],
        missing: Option<(&str, &str)>,
        pipeline: &str,
        month: &str,
    ) -> Result<Self> {
        if sums.len() > MOST_SUMS {
            return Err(Error::internal("a roll-up adds up too much"));
        }
        let partition = [(PIPELINE, pipeline.to_owned()), (MONTH, month.to_owned())];
        let (mut columns, mut measured) = (Vec::new(), Vec::new());
        for field in schema.fields() {
            let name = field.name().as_str();
            if sums.contains(&name) {
                measured.push((name.to_owned(), field.data_type().clone()));
            } else if name != count
                && missing.is_none_or(|(column, _)| column != name)
                && partition.iter().all(|(column, _)| *column != name)
            {
                columns.push(GroupKeyColumn::new(name, field.data_type()));
            }
        }
        let missing = missing
            .map(|(name, of)| {
                let of = measured.iter().position(|(measure, _)| measure == of);
                let of = of.ok_or_else(|| {
                    Error::internal("a roll-up counts what is missing of no sum of its own")
                })?;
                Ok::<_, Error>(NullCountColumn {
                    name: name.to_owned(),
                    of,
                })
            })
            .transpose()?;
        Ok(Self {
            schema,
            count: count.to_owned(),
            measures: measured,
            missing,
            partition,
            columns,
            time_keys: KeyInterner::default(),
            label_keys: KeyInterner::default(),
            groups: HashMap::default(),
            sums: Vec::new(),
        })
    }

    /// Adds rows of the fact. A column they do not have is null.
    pub(super) fn add(
        &mut self,
        batch: &RecordBatch,
        mut currency: MissingCurrency<'_>,
    ) -> Result<()> {
        let rows = batch.num_rows();
        let mut codes = Vec::with_capacity(self.columns.len());
        for column in &mut self.columns {
            let mut of_column = column.codes(batch)?;
            if column.name == CURRENCY {
                match &mut currency {
                    MissingCurrency::Keep => {}
                    MissingCurrency::Defer(times) => {
                        let at = instants(batch)?;
                        let without = of_column
                            .iter()
                            .enumerate()
                            .filter(|(_, code)| **code == NULL);
                        times.extend(
                            without.map(|(row, _)| at.is_valid(row).then(|| at.value(row))),
                        );
                    }
                    MissingCurrency::FromTransaction(parents) => {
                        column.inherit(&mut of_column, batch, parents)?
                    }
                }
            }
            codes.push(of_column);
        }
        let currencies = self
            .columns
            .iter()
            .position(|column| column.name == CURRENCY);
        let apart = currencies.filter(|_| matches!(currency, MissingCurrency::Defer(_)));
        let measured: Vec<Option<Decimal128Array>> = self
            .measures
            .iter()
            .map(|(name, kind)| {
                batch
                    .column_by_name(name)
                    .map(|array| decimals(array, name, kind))
                    .transpose()
            })
            .collect::<Result<_>>()?;
        let (when, what): (Vec<_>, Vec<_>) = codes
            .iter()
            .zip(&self.columns)
            .partition(|(_, column)| column.is_time_key());
        let (when, what) = (
            self.time_keys.of_all(&when, rows),
            self.label_keys.of_all(&what, rows),
        );
        for (row, key) in when.into_iter().zip(what).enumerate() {
            if apart.is_some_and(|at| codes[at][row] == NULL) {
                continue;
            }
            let at = *self.groups.entry(key).or_insert(self.sums.len());
            if at == self.sums.len() {
                self.sums.push(AggregateSums::default());
            }
            if let Some(sums) = self.sums.get_mut(at) {
                sums.add(&measured, self.missing.as_ref(), row)?;
            }
        }
        Ok(())
    }

    /// The rows of the roll-up, in the order of their hours.
    pub(super) fn finish(self) -> impl Iterator<Item = Result<RecordBatch>> + Send {
        let (when, what) = (self.time_keys.lists, self.label_keys.lists);
        let hours = self
            .columns
            .iter()
            .filter(|column| column.is_time_key())
            .position(|column| column.name == HOUR_COLUMN);
        let hour = |when: &[u32]| {
            let column = self
                .columns
                .iter()
                .find(|column| column.name == HOUR_COLUMN)?;
            column.numbers.value(*when.get(hours?)?).copied()
        };
        let by_when: Vec<Option<i64>> = when.iter().map(|codes| hour(codes)).collect();
        let hour = |(when, _): (u32, u32)| by_when.get(when as usize).copied().flatten();
        let mut rows: Vec<HourGroup> = self
            .groups
            .into_iter()
            .map(|(key, at)| (hour(key), at, key))
            .collect();
        // Of one hour in the order they turned up.
        rows.sort_unstable_by_key(|(hour, at, _)| (*hour, *at));
        let starts = (0..rows.len()).step_by(BATCH_ROWS);
        let finished = RollupBatchWriter {
            schema: self.schema,
            count: self.count,
            measures: self.measures,
            missing: self.missing,
            partition: self.partition,
            columns: self.columns,
            time_keys: when,
            label_keys: what,
            sums: self.sums,
        };
        starts.map(move |start| finished.batch(&rows[start..(start + BATCH_ROWS).min(rows.len())]))
    }
}

/// A group: its hour, the position of its sums, and its time key and label key.
type HourGroup = (Option<i64>, usize, (u32, u32));

/// Finished groups, and what it takes to write them as batches of the roll-up.
struct RollupBatchWriter {
    schema: SchemaRef,
    count: String,
    measures: Vec<(String, DataType)>,
    missing: Option<NullCountColumn>,
    partition: [(&'static str, String); 2],
    columns: Vec<GroupKeyColumn>,
    time_keys: Vec<Box<[u32]>>,
    label_keys: Vec<Box<[u32]>>,
    sums: Vec<AggregateSums>,
}

impl RollupBatchWriter {
    fn batch(&self, rows: &[HourGroup]) -> Result<RecordBatch> {
        let (mut keys, mut whens, mut whats) = (self.columns.iter(), 0.., 0..);
        let mut measures = self.measures.iter().enumerate();
        let sums = || rows.iter().map(|(_, at, _)| self.sums[*at]);
        let mut arrays: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for field in self.schema.fields() {
            let of_all = self
                .partition
                .iter()
                .find(|(column, _)| column == field.name());
            arrays.push(if let Some((_, value)) = of_all {
                Arc::new(StringArray::from_iter_values(std::iter::repeat_n(
                    value,
                    rows.len(),
                )))
            } else if *field.name() == self.count {
                Arc::new(sums().map(|sums| Some(sums.count)).collect::<Int64Array>())
            } else if self
                .missing
                .as_ref()
                .is_some_and(|missing| missing.name == *field.name())
            {
                Arc::new(
                    sums()
                        .map(|sums| Some(sums.missing))
                        .collect::<Int64Array>(),
                )
            } else if self.measures.iter().any(|(name, _)| name == field.name()) {
                let Some((at, (_, kind))) = measures.next() else {
                    continue;
                };
                let values: Decimal128Array = sums().map(|sums| sums.sums[at]).collect();
                let values = values.with_data_type(kind.clone());
                values
                    .validate_decimal_precision(values.precision())
                    .map_err(|_| too_much())?;
                Arc::new(values)
            } else {
                let Some(column) = keys.next() else { continue };
                let (lists, at) = if column.is_time_key() {
                    (&self.time_keys, &mut whens)
                } else {
                    (&self.label_keys, &mut whats)
                };
                let Some(at) = at.next() else { continue };
                let of = |(when, what): (u32, u32)| if column.is_time_key() { when } else { what };
                column.values(rows.iter().map(|(_, _, key)| lists[of(*key) as usize][at]))?
            });
        }
        RecordBatch::try_new(self.schema.clone(), arrays).or_error(
            ErrorKind::Internal,
            "what was added up does not fit its roll-up",
        )
    }
}

/// A column that rows are grouped by, with its values as codes.
struct GroupKeyColumn {
    name: String,
    kind: DataType,
    texts: ValueInterner<String>,
    numbers: ValueInterner<i64>,
}

impl GroupKeyColumn {
    fn new(name: &str, kind: &DataType) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.clone(),
            texts: ValueInterner::default(),
            numbers: ValueInterner::default(),
        }
    }

    /// True if it says when a fact was, rather than what.
    fn is_time_key(&self) -> bool {
        !matches!(self.kind, DataType::Utf8 | DataType::Boolean)
    }

    /// A batch's values as numbers.
    fn codes(&mut self, batch: &RecordBatch) -> Result<Vec<u32>> {
        if self.name == HOUR_COLUMN {
            let at = instants(batch)?;
            return Ok(self.numbers.of_all(
                at.iter()
                    .map(|at| at.map(|at| at.saturating_sub(at.rem_euclid(HOUR)))),
            ));
        }
        let Some(array) = batch.column_by_name(&self.name) else {
            return Ok(vec![NULL; batch.num_rows()]);
        };
        if self.kind != DataType::Utf8 {
            let whole = whole_numbers(array, &self.name)?;
            return Ok(self
                .numbers
                .of_all(whole.as_primitive::<Int64Type>().iter()));
        }
        let array = cast(array, &label_type(), &self.name)?;
        let array = array.as_dictionary::<Int32Type>();
        let values = array.values().as_string::<i32>();
        let of_value: Vec<u32> = values
            .iter()
            .map(|value| value.map_or(NULL, |value| self.texts.of(value)))
            .collect();
        let code = |key: i32| of_value.get(key as usize).copied().unwrap_or(NULL);
        let keys = array.keys();
        Ok(match keys.nulls() {
            None => keys.values().iter().map(|key| code(*key)).collect(),
            Some(nulls) => {
                let keys = keys.values().iter().zip(nulls);
                keys.map(|(key, is_there)| if is_there { code(*key) } else { NULL })
                    .collect()
            }
        })
    }

    /// Puts the transactions' currencies where there is none.
    fn inherit(
        &mut self,
        codes: &mut [u32],
        batch: &RecordBatch,
        parents: &TransactionCurrencies,
    ) -> Result<()> {
        let keys = batch.column_by_name(TRANSACTION_KEY);
        let keys = keys
            .ok_or_else(|| Error::new(ErrorKind::Storage, "a data file has no transaction keys"))?;
        let keys = cast(keys, &DataType::Utf8, TRANSACTION_KEY)?;
        for (code, key) in codes
            .iter_mut()
            .zip(keys.as_string::<i32>())
            .filter(|(code, _)| **code == NULL)
        {
            let currency = key.and_then(|key| parents.get(key)?.as_deref());
            *code = currency.map_or(NULL, |currency| self.texts.of(currency));
        }
        Ok(())
    }

    /// The values again.
    fn values(&self, codes: impl Iterator<Item = u32>) -> Result<ArrayRef> {
        if self.kind == DataType::Utf8 {
            return Ok(Arc::new(
                codes
                    .map(|code| self.texts.value(code))
                    .collect::<StringArray>(),
            ));
        }
        let numbers = codes.map(|code| self.numbers.value(code).copied());
        Ok(match &self.kind {
            DataType::Boolean => Arc::new(
                numbers
                    .map(|number| number.map(|n| n != 0))
                    .collect::<BooleanArray>(),
            ),
            DataType::Date32 => {
                let days = numbers.map(|number| number.and_then(|day| i32::try_from(day).ok()));
                Arc::new(days.collect::<Date32Array>())
            }
            DataType::Int64 => Arc::new(numbers.collect::<Int64Array>()),
            DataType::Timestamp(_, _) => Arc::new(
                numbers
                    .collect::<TimestampMicrosecondArray>()
                    .with_data_type(self.kind.clone()),
            ),
            other => return Err(Error::internal(format!("a roll-up has no rows by {other}"))),
        })
    }
}

/// Combinations of several columns' codes, numbered in the order in which they first occur.
#[derive(Default)]
struct KeyInterner {
    codes: HashMap<Box<[u32]>, u32, BuildHasherDefault<CodeHasher>>,
    lists: Vec<Box<[u32]>>,
}

impl KeyInterner {
    fn of_all(&mut self, columns: &[(&Vec<u32>, &GroupKeyColumn)], rows: usize) -> Vec<u32> {
        let (mut codes, mut last) = (vec![NULL; columns.len()], None);
        let mut of_all = Vec::with_capacity(rows);
        for row in 0..rows {
            let mut is_last = true;
            for (code, (column, _)) in codes.iter_mut().zip(columns) {
                is_last &= *code == column[row];
                *code = column[row];
            }
            // Neighbours are often alike.
            let number = last.filter(|_| is_last).unwrap_or_else(|| self.of(&codes));
            last = Some(number);
            of_all.push(number);
        }
        of_all
    }

    fn of(&mut self, codes: &[u32]) -> u32 {
        if let Some(number) = self.codes.get(codes) {
            return *number;
        }
        let number = u32::try_from(self.lists.len()).unwrap_or(u32::MAX);
        self.lists.push(codes.into());
        self.codes.insert(codes.into(), number);
        number
    }
}

/// Values, numbered in the order in which they first occur.
struct ValueInterner<T> {
    codes: FastMap<T, u32>,
    values: Vec<T>,
}

impl<T> Default for ValueInterner<T> {
    fn default() -> Self {
        Self {
            codes: FastMap::default(),
            values: Vec::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> ValueInterner<T> {
    fn of<Q: ToOwned<Owned = T> + Eq + Hash + ?Sized>(&mut self, value: &Q) -> u32
    where
        T: Borrow<Q>,
    {
        if let Some(code) = self.codes.get(value) {
            return *code;
        }
        self.values.push(value.to_owned());
        let code = u32::try_from(self.values.len()).unwrap_or(u32::MAX);
        self.codes.insert(value.to_owned(), code);
        code
    }

    fn value(&self, code: u32) -> Option<&T> {
        self.values.get(usize::try_from(code.checked_sub(1)?).ok()?)
    }
}

impl ValueInterner<i64> {
    /// Neighbours are mostly alike.
    fn of_all(&mut self, values: impl Iterator<Item = Option<i64>>) -> Vec<u32> {
        let mut last = (None, NULL);
        let code = |value: Option<i64>| {
            if value != last.0 {
                last = (value, value.map_or(NULL, |value| self.of(&value)));
            }
            last.1
        };
        values.map(code).collect()
    }
}

/// Hasher of value codes. They are our own small numbers, so nobody can choose them to collide; the standard library's hasher, which
/// guards against that, took a fifth of the time of aggregating.
#[derive(Default)]
struct CodeHasher(u64);

impl Hasher for CodeHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<4>();
        for word in words {
            self.write_u32(u32::from_le_bytes(*word));
        }
        for byte in rest {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, length: usize) {
        self.write_u64(length as u64);
    }

    fn finish(&self) -> u64 {
        // The table takes the lowest bits and the highest; the lowest have seen little.
        self.0 ^ (self.0 >> 32)
    }
}

/// Text of few different values, as the lake reads it.
fn label_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn too_much() -> Error {
    Error::data("a sum of an hour has more digits than a roll-up keeps")
}

/// Never widened by guesswork: what does not fit is an error.
fn cast(array: &ArrayRef, to: &DataType, column: &str) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(array, to, &strict)
        .or_error(ErrorKind::Storage, "a data file does not fit its table")
        .map_err(|e| e.at("column", column))
}

fn whole_numbers(array: &ArrayRef, column: &str) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Date32 => cast(
            &cast(array, &DataType::Int32, column)?,
            &DataType::Int64,
            column,
        ),
        _ => cast(array, &DataType::Int64, column),
    }
}

fn instants(batch: &RecordBatch) -> Result<Int64Array> {
    let at = batch.column_by_name(OCCURRED_AT);
    let at = at.ok_or_else(|| Error::new(ErrorKind::Storage, "a data file has no times"))?;
    let at = cast(at, &timestamp(), OCCURRED_AT)?;
    Ok(cast(&at, &DataType::Int64, OCCURRED_AT)?
        .as_primitive::<Int64Type>()
        .clone())
}

/// In the scale of the sum. Rounding would not be exact, so more digits are an error.
fn decimals(array: &ArrayRef, column: &str, sum: &DataType) -> Result<Decimal128Array> {
    let same_scale = match (array.data_type(), sum) {
        (DataType::Decimal128(_, scale), DataType::Decimal128(_, wanted)) if scale <= wanted => {
            scale == wanted
        }
        (other, _) => {
            let error = Error::new(ErrorKind::Storage, format!("{other} cannot be added up"));
            return Err(error.at("column", column));
        }
    };
    let array = if same_scale {
        array.clone()
    } else {
        cast(array, sum, column)?
    };
    Ok(array.as_primitive::<Decimal128Type>().clone())
}

#[cfg(test)]
#[path = "aggregate_tests.rs"]
mod tests;
