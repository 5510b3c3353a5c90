//! Adds rows of a fact, or of a finer level, up into the rows of a level.
//!
//! Invariant: a row of the level is one combination of all its columns that are neither count nor sum; sums are exact, and null where
//! nothing that was added had a value, as in SQL. What the level does not tell apart is null.
//!
//! ```text
//!   a column's values          --> small numbers, by its dictionary
//!   the numbers of all columns --> two: when (the period and the site's day), and what (all others, of which there are few
//!                                  combinations, over and over)
//!   when and what              --> count, sums and hours, and back to values in the order of the periods
//! ```
//!
//! Rejected: GROUP BY in the query engine. With fifteen columns, most of them text, it encodes every row as bytes, and decodes every
//! group again: half of what adding up cost. And it takes its memory from the queries' limit, beyond which it fails.

use super::fact::{LOCAL_HOUR, RolledFact};
use super::interner::{CodeHasher, KeyInterner, NULL, ValueInterner};
use super::level::{Grain, Level};
use super::{CURRENCY, START, TRANSACTION_KEY};
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Decimal128Type, Int32Type, Int64Type, SchemaRef};
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use tillhouse_model::calendar::{DAY, HOUR};
use tillhouse_model::table::{LEVEL, OCCURRED_AT, PERIOD, PIPELINE, timestamp};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Rows in a batch of the result.
const BATCH_ROWS: usize = 8_192;
/// No roll-up adds up more than this.
const MOST_SUMS: usize = 2;

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

/// Rows that are added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AggregatedRows {
    /// Those of the fact.
    Facts,
    /// Sums of a finer level: they have counts themselves, and stand for as many of the fact's.
    Sums,
}

impl AggregatedRows {
    /// The column of their times.
    pub(super) fn times(self) -> &'static str {
        match self {
            Self::Facts => OCCURRED_AT,
            Self::Sums => START,
        }
    }
}

/// Aggregator of the rows of a level, of one pipeline and period: groups rows by time key and label key, counts them and sums their measures.
pub(super) struct PeriodAggregator {
    level: &'static Level,
    schema: SchemaRef,
    rows: AggregatedRows,
    measures: Vec<(String, DataType)>,
    missing: Option<NullCountColumn>,
    /// The hours of a row: the columns that count by them, UTC's before the sites' own.
    hours: Vec<&'static str>,
    /// Columns that tell where the rows belong.
    place: [(&'static str, String); 3],
    columns: Vec<GroupKeyColumn>,
    time_keys: KeyInterner,
    label_keys: KeyInterner,
    /// Place in `sums` of a time key and a label key.
    groups: HashMap<(u32, u32), usize, BuildHasherDefault<CodeHasher>>,
    sums: Vec<AggregateSums>,
    /// Counts by hour, of one group after the other.
    by_hour: Vec<i64>,
}

/// Column that counts the rows without a value in one of the measures.
struct NullCountColumn {
    name: &'static str,
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

/// Columns of a batch that are added up.
struct MeasuredColumns {
    /// Number of the fact's rows that each stands for; one each where there is no such column.
    counts: Option<Int64Array>,
    /// Those of them without a value.
    missing: Option<Int64Array>,
    sums: Vec<Option<Decimal128Array>>,
    hours: HourlyMeasures,
}

/// Counts of a batch's rows by hour.
enum HourlyMeasures {
    /// The level has none.
    None,
    /// The places, among the level's hours, of those that each row is in: UTC's, and its site's own.
    Places(Vec<[Option<usize>; 2]>),
    /// The level's hours, a column each.
    Columns(Vec<Int64Array>),
}

impl AggregateSums {
    fn add(
        &mut self,
        measured: &MeasuredColumns,
        missing: Option<&NullCountColumn>,
        row: usize,
    ) -> Result<()> {
        let count = measured
            .counts
            .as_ref()
            .map_or(1, |counts| known(counts, row));
        let without = match (missing, &measured.missing) {
            (None, _) => 0,
            (Some(_), Some(values)) => known(values, row),
            (Some(NullCountColumn { of, .. }), None) => {
                let values = measured.sums.get(*of).and_then(Option::as_ref);
                i64::from(!values.is_some_and(|values| values.is_valid(row)))
            }
        };
        self.count = added(self.count, count)?;
        self.missing = added(self.missing, without)?;
        for (sum, values) in self.sums.iter_mut().zip(&measured.sums) {
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

/// A count; null reads as zero.
fn known(values: &Int64Array, row: usize) -> i64 {
    if values.is_valid(row) {
        values.value(row)
    } else {
        0
    }
}

fn added(to: i64, more: i64) -> Result<i64> {
    to.checked_add(more).ok_or_else(too_much)
}

impl HourlyMeasures {
    /// Adds a row's to those of its group.
    fn add(&self, to: &mut [i64], row: usize) -> Result<()> {
        match self {
            Self::None => {}
            Self::Places(places) => {
                let places = places.get(row).into_iter().flatten().flatten();
                for place in places {
                    if let Some(count) = to.get_mut(*place) {
                        *count = added(*count, 1)?;
                    }
                }
            }
            Self::Columns(columns) => {
                for (count, column) in to.iter_mut().zip(columns) {
                    *count = added(*count, known(column, row))?;
                }
            }
        }
        Ok(())
    }
}

impl PeriodAggregator {
    /// An aggregator of a pipeline's rows into those of a level, in one of its periods.
    pub(super) fn new(
        level: &'static Level,
        rows: AggregatedRows,
        pipeline: &str,
        period: &str,
    ) -> Result<Self> {
        let (fact, schema) = (level.fact, level.fact.schema());
        if fact.sums.len() > MOST_SUMS {
            return Err(Error::internal("a roll-up adds up too much"));
        }
        let hours: Vec<&'static str> = level
            .utc_hours()
            .iter()
            .chain(level.local_hours())
            .copied()
            .collect();
        let (mut columns, mut measures) = (Vec::new(), Vec::new());
        for field in schema.fields() {
            let name = field.name().as_str();
            if fact.is_sum(name) {
                measures.push((name.to_owned(), field.data_type().clone()));
            } else if level.fills(name) && is_key(fact, name) {
                let period = (name == START).then_some((level.grain, rows.times()));
                columns.push(GroupKeyColumn::new(name, field.data_type(), period));
            }
        }
        let missing = fact.missing.map(|(name, of)| {
            let of = measures.iter().position(|(measure, _)| measure == of);
            let of = of.ok_or_else(|| {
                Error::internal("a roll-up counts what is missing of no sum of its own")
            })?;
            Ok::<_, Error>(NullCountColumn { name, of })
        });
        Ok(Self {
            level,
            rows,
            measures,
            missing: missing.transpose()?,
            hours,
            place: [
                (LEVEL, level.name.to_owned()),
                (PIPELINE, pipeline.to_owned()),
                (PERIOD, period.to_owned()),
            ],
            columns,
            time_keys: KeyInterner::default(),
            label_keys: KeyInterner::default(),
            groups: HashMap::default(),
            sums: Vec::new(),
            by_hour: Vec::new(),
            schema,
        })
    }

    /// Adds rows. A column they do not have is null.
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
                        let at = instants(batch, self.rows.times())?;
                        let without = of_column
                            .iter()
                            .enumerate()
                            .filter(|(_, code)| **code == NULL);
                        times.extend(
                            without.map(|(row, _)| at.is_valid(row).then(|| at.value(row))),
                        );
                    }
                    MissingCurrency::FromTransaction(parents) => {
                        column.inherit(&mut of_column, batch, parents)?;
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
        let measured = self.measured(batch)?;
        let (when, what): (Vec<_>, Vec<_>) = codes
            .iter()
            .zip(&self.columns)
            .partition(|(_, column)| column.is_time_key());
        let (when, what) = (
            self.time_keys.of_all(&when, rows),
            self.label_keys.of_all(&what, rows),
        );
        let (missing, hours) = (self.missing.as_ref(), self.hours.len());
        for (row, key) in when.into_iter().zip(what).enumerate() {
            if apart.is_some_and(|at| codes[at][row] == NULL) {
                continue;
            }
            let at = *self.groups.entry(key).or_insert(self.sums.len());
            if at == self.sums.len() {
                self.sums.push(AggregateSums::default());
                self.by_hour.resize(self.by_hour.len() + hours, 0);
            }
            if let Some(sums) = self.sums.get_mut(at) {
                sums.add(&measured, missing, row)?;
            }
            if let Some(of_group) = self.by_hour.get_mut(at * hours..(at + 1) * hours) {
                measured.hours.add(of_group, row)?;
            }
        }
        Ok(())
    }

    /// The columns of a batch that are added up.
    fn measured(&self, batch: &RecordBatch) -> Result<MeasuredColumns> {
        let sums = self
            .measures
            .iter()
            .map(|(name, kind)| {
                batch
                    .column_by_name(name)
                    .map(|array| decimals(array, name, kind))
                    .transpose()
            })
            .collect::<Result<_>>()?;
        let is_counted = self.rows == AggregatedRows::Sums;
        let counted = |name: &'static str| is_counted.then(|| counts(batch, name)).transpose();
        let missing = self.missing.as_ref();
        let hours = match (self.hours.is_empty(), self.rows) {
            (true, _) => HourlyMeasures::None,
            (_, AggregatedRows::Facts) => HourlyMeasures::Places(self.places(batch)?),
            (_, AggregatedRows::Sums) => {
                let columns = self.hours.iter().map(|name| counts(batch, name));
                HourlyMeasures::Columns(columns.collect::<Result<_>>()?)
            }
        };
        Ok(MeasuredColumns {
            counts: counted(self.level.fact.count)?,
            missing: missing
                .map(|missing| counted(missing.name))
                .transpose()?
                .flatten(),
            sums,
            hours,
        })
    }

    /// Places of the hours of facts among those of the level. A site whose clock is not known goes by UTC.
    fn places(&self, batch: &RecordBatch) -> Result<Vec<[Option<usize>; 2]>> {
        let at = instants(batch, OCCURRED_AT)?;
        let local = batch
            .column_by_name(LOCAL_HOUR)
            .map(|hours| cast(hours, &DataType::Int64, LOCAL_HOUR))
            .transpose()?;
        let local = local
            .as_ref()
            .map(|hours| hours.as_primitive::<Int64Type>());
        let (utc_hours, local_hours) =
            (self.level.utc_hours().len(), self.level.local_hours().len());
        let place = |hour: i64, hours: usize, before: usize| {
            let hour = usize::try_from(hour).ok().filter(|hour| *hour < hours)?;
            Some(before + hour)
        };
        let of_row = |row: usize| {
            let utc = at
                .is_valid(row)
                .then(|| at.value(row).rem_euclid(DAY) / HOUR);
            let own = local.filter(|hours| hours.is_valid(row));
            let own = own.map(|hours| hours.value(row)).or(utc);
            [
                utc.and_then(|hour| place(hour, utc_hours, 0)),
                own.and_then(|hour| place(hour, local_hours, utc_hours)),
            ]
        };
        Ok((0..batch.num_rows()).map(of_row).collect())
    }

    /// The rows of the level, in the order of their periods.
    pub(super) fn finish(self) -> impl Iterator<Item = Result<RecordBatch>> + Send {
        let (when, what) = (self.time_keys.lists, self.label_keys.lists);
        let periods = self
            .columns
            .iter()
            .filter(|column| column.is_time_key())
            .position(|column| column.period.is_some());
        let period = |when: &[u32]| {
            let column = self.columns.iter().find(|column| column.period.is_some())?;
            column.numbers.value(*when.get(periods?)?).copied()
        };
        let by_when: Vec<Option<i64>> = when.iter().map(|codes| period(codes)).collect();
        let period = |(when, _): (u32, u32)| by_when.get(when as usize).copied().flatten();
        let mut rows: Vec<PeriodGroup> = self
            .groups
            .into_iter()
            .map(|(key, at)| (period(key), at, key))
            .collect();
        // Of one period those that are alike side by side, which files are smaller for.
        let ranks = ranks(&what);
        let rank = |(_, what): (u32, u32)| ranks.get(what as usize).copied();
        rows.sort_unstable_by_key(|(period, at, key)| (*period, rank(*key), *at));
        let starts = (0..rows.len()).step_by(BATCH_ROWS);
        let finished = RollupBatchWriter {
            schema: self.schema,
            count: self.level.fact.count,
            measures: self.measures,
            missing: self.missing,
            hours: self.hours,
            place: self.place,
            columns: self.columns,
            time_keys: when,
            label_keys: what,
            sums: self.sums,
            by_hour: self.by_hour,
        };
        starts.map(move |start| finished.batch(&rows[start..(start + BATCH_ROWS).min(rows.len())]))
    }
}

/// True for a column of a fact's roll-ups that tells their rows apart within a level, a pipeline and a period.
fn is_key(fact: &RolledFact, name: &str) -> bool {
    let is_missing = fact.missing.is_some_and(|(column, _)| column == name);
    let is_measure = name == fact.count || is_missing || fact.is_sum(name);
    !is_measure && !super::level::is_hour(name) && !RolledFact::is_place(name)
}

/// The place of each combination of codes, were they in order.
fn ranks(combinations: &[Box<[u32]>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..combinations.len()).collect();
    order.sort_unstable_by_key(|at| &combinations[*at]);
    let mut ranks = vec![0; combinations.len()];
    for (rank, at) in order.into_iter().enumerate() {
        ranks[at] = rank;
    }
    ranks
}

/// A group: its period, the position of its sums, and its time key and label key.
type PeriodGroup = (Option<i64>, usize, (u32, u32));

/// Finished groups, and what it takes to write them as batches of the level.
struct RollupBatchWriter {
    schema: SchemaRef,
    count: &'static str,
    measures: Vec<(String, DataType)>,
    missing: Option<NullCountColumn>,
    hours: Vec<&'static str>,
    /// Columns that tell where the rows belong.
    place: [(&'static str, String); 3],
    columns: Vec<GroupKeyColumn>,
    time_keys: Vec<Box<[u32]>>,
    label_keys: Vec<Box<[u32]>>,
    sums: Vec<AggregateSums>,
    by_hour: Vec<i64>,
}

impl RollupBatchWriter {
    fn batch(&self, rows: &[PeriodGroup]) -> Result<RecordBatch> {
        let columns = self.schema.fields().iter().map(|field| {
            let column = self.column(field.name(), rows)?;
            let column = column.unwrap_or_else(|| new_null_array(field.data_type(), rows.len()));
            Ok::<ArrayRef, Error>(column)
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        RecordBatch::try_new(self.schema.clone(), columns).or_error(
            ErrorKind::Internal,
            "what was added up does not fit its roll-up",
        )
    }

    /// A column of some groups; `None` where the level has none of that name.
    fn column(&self, name: &str, rows: &[PeriodGroup]) -> Result<Option<ArrayRef>> {
        let sums = || rows.iter().map(|(_, at, _)| self.sums[*at]);
        if let Some((_, value)) = self.place.iter().find(|(column, _)| *column == name) {
            let values = std::iter::repeat_n(value, rows.len());
            return Ok(Some(Arc::new(StringArray::from_iter_values(values))));
        }
        if name == self.count {
            let counts: Int64Array = sums().map(|sums| Some(sums.count)).collect();
            return Ok(Some(Arc::new(counts)));
        }
        if self
            .missing
            .as_ref()
            .is_some_and(|missing| missing.name == name)
        {
            let counts: Int64Array = sums().map(|sums| Some(sums.missing)).collect();
            return Ok(Some(Arc::new(counts)));
        }
        if let Some(at) = self
            .measures
            .iter()
            .position(|(measure, _)| measure == name)
        {
            let values: Decimal128Array = sums().map(|sums| sums.sums[at]).collect();
            let values = values.with_data_type(self.measures[at].1.clone());
            values
                .validate_decimal_precision(values.precision())
                .map_err(|_| too_much())?;
            return Ok(Some(Arc::new(values)));
        }
        if let Some(hour) = self.hours.iter().position(|column| *column == name) {
            let all = self.hours.len();
            let counts = rows.iter().map(|(_, at, _)| self.by_hour[at * all + hour]);
            return Ok(Some(Arc::new(Int64Array::from_iter_values(counts))));
        }
        let Some(place) = self.columns.iter().position(|column| column.name == name) else {
            return Ok(None);
        };
        let column = &self.columns[place];
        let is_time_key = column.is_time_key();
        // Its place among the columns of its key.
        let before = self.columns[..place].iter();
        let at = before
            .filter(|column| column.is_time_key() == is_time_key)
            .count();
        let codes = rows.iter().map(|(_, _, (when, what))| match is_time_key {
            true => self.time_keys[*when as usize][at],
            false => self.label_keys[*what as usize][at],
        });
        column.values(codes).map(Some)
    }
}

/// A column that rows are grouped by, with its values as codes.
struct GroupKeyColumn {
    name: String,
    kind: DataType,
    /// Of the column with the periods' starts: their length, and the rows' column of times.
    period: Option<(Grain, &'static str)>,
    texts: ValueInterner<String>,
    numbers: ValueInterner<i64>,
}

impl GroupKeyColumn {
    fn new(name: &str, kind: &DataType, period: Option<(Grain, &'static str)>) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.clone(),
            period,
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
        if let Some((grain, times)) = self.period {
            let at = instants(batch, times)?;
            let starts = at.iter().map(|at| at.map(|at| grain.start_of(at)));
            return Ok(self.numbers.of_all(starts));
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

/// Text of few different values, as the lake reads it.
fn label_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8))
}

fn too_much() -> Error {
    Error::data("a sum has more digits than a roll-up keeps")
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

fn instants(batch: &RecordBatch, column: &str) -> Result<Int64Array> {
    let at = batch.column_by_name(column);
    let at = at.ok_or_else(|| Error::new(ErrorKind::Storage, "a data file has no times"))?;
    let at = cast(at, &timestamp(), column)?;
    Ok(cast(&at, &DataType::Int64, column)?
        .as_primitive::<Int64Type>()
        .clone())
}

/// A column of a finer level that counts rows.
fn counts(batch: &RecordBatch, column: &str) -> Result<Int64Array> {
    let counts = batch.column_by_name(column);
    let counts = counts.ok_or_else(|| {
        Error::new(
            ErrorKind::Storage,
            "a data file does not say what its rows count",
        )
        .at("column", column)
    })?;
    Ok(cast(counts, &DataType::Int64, column)?
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
