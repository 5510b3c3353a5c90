//! Reading a query's result column by column, as the few types statistics are made of.
//!
//! Invariant: a decimal stays an integer with its scale; there is no way from here to a float.

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, RecordBatch, StringArray,
};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use futures::TryStreamExt;
use tillhouse_model::{Error, Result};
use tillhouse_query::{DataFrame, ScalarValue, Session, execute, into_error};

/// A text column; empty text reads as null, since providers use both for "not said".
pub(crate) struct TextColumn(StringArray);

impl TextColumn {
    pub(crate) fn get(&self, row: usize) -> Option<&str> {
        (self.0.is_valid(row) && !self.0.value(row).is_empty()).then(|| self.0.value(row))
    }
}

/// A column of whole numbers, or of instants.
pub(crate) struct IntegerColumn(Int64Array);

impl IntegerColumn {
    pub(crate) fn get(&self, row: usize) -> Option<i64> {
        self.0.is_valid(row).then(|| self.0.value(row))
    }

    /// The numbers; null reads as zero.
    pub(crate) fn or_zero(self) -> ScalarBuffer<i64> {
        match self.0.null_count() {
            0 => self.0.values().clone(),
            _ => self.0.iter().map(Option::unwrap_or_default).collect(),
        }
    }
}

/// A column of decimals, all of one scale.
pub(crate) struct DecimalColumn {
    values: Decimal128Array,
    /// Digits after the point.
    pub(crate) scale: u8,
}

impl DecimalColumn {
    /// The digits as a whole number; null reads as zero, which is what it adds.
    pub(crate) fn get(&self, row: usize) -> i128 {
        self.known(row).unwrap_or(0)
    }

    /// The digits as a whole number, where there are any.
    pub(crate) fn known(&self, row: usize) -> Option<i128> {
        self.values.is_valid(row).then(|| self.values.value(row))
    }
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef> {
    batch
        .column_by_name(name)
        .ok_or_else(|| Error::internal(format!("the query gave no column {name}")))
}

fn cast(batch: &RecordBatch, name: &str, to: &DataType) -> Result<ArrayRef> {
    arrow::compute::cast(column(batch, name)?, to)
        .map_err(|e| Error::internal(format!("column {name} is not {to}")).because(e))
}

pub(crate) fn texts(batch: &RecordBatch, name: &str) -> Result<TextColumn> {
    Ok(TextColumn(
        cast(batch, name, &DataType::Utf8)?
            .as_string::<i32>()
            .clone(),
    ))
}

pub(crate) fn integers(batch: &RecordBatch, name: &str) -> Result<IntegerColumn> {
    Ok(IntegerColumn(
        cast(batch, name, &DataType::Int64)?
            .as_primitive::<Int64Type>()
            .clone(),
    ))
}

/// Microseconds since 1970.
pub(crate) fn instants(batch: &RecordBatch, name: &str) -> Result<IntegerColumn> {
    let micros = cast(
        batch,
        name,
        &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    )?;
    let micros = micros.as_primitive::<TimestampMicrosecondType>();
    Ok(IntegerColumn(Int64Array::new(
        micros.values().clone(),
        micros.nulls().cloned(),
    )))
}

/// Never cast: a sum that is no decimal means a table that breaks its contract.
pub(crate) fn decimals(batch: &RecordBatch, name: &str) -> Result<DecimalColumn> {
    let array = column(batch, name)?;
    let values = array.as_primitive_opt::<Decimal128Type>().cloned();
    let values = values.ok_or_else(|| {
        Error::data(format!(
            "column {name} is {}, not a decimal",
            array.data_type()
        ))
    })?;
    let scale = u8::try_from(values.scale())
        .map_err(|_| Error::data(format!("column {name} has a negative scale")))?;
    Ok(DecimalColumn { values, scale })
}

/// Runs a query and hands over its batches one by one.
pub(crate) async fn each_batch(
    session: &Session,
    sql: &str,
    params: &[(&str, ScalarValue)],
    mut take: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    each_batch_of(session.frame(sql, params).await?, &mut take).await
}

/// The same for a query that was put together from expressions.
pub(crate) async fn each_batch_of(
    frame: DataFrame,
    mut take: impl FnMut(&RecordBatch) -> Result<()>,
) -> Result<()> {
    let mut stream = execute(frame).await?;
    while let Some(batch) = stream.try_next().await.map_err(into_error)? {
        take(&batch)?;
    }
    Ok(())
}

/// An exact sum.
pub(crate) fn add(to: &mut i128, amount: i128) -> Result<()> {
    *to = to
        .checked_add(amount)
        .ok_or_else(|| Error::data("a sum has more than 38 digits"))?;
    Ok(())
}
