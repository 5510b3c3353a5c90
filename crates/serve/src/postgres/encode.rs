//! Values as PostgreSQL sends them, as text and in binary form.
//!
//! Invariant: a value goes out with all that it is: decimals with every digit, instants to the microsecond (of what a warehouse holds, nothing is finer), nested values as
//! JSON with the digits of their numbers. Texts are those of `DateStyle` ISO, `IntervalStyle` postgres and `TimeZone` UTC, whatever a client has set.

use super::columns::{WireColumn, WireType};
use super::numeric;
use super::times::{self, Span};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow::util::display::FormatOptions;
use bytes::{BufMut, BytesMut};
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_query::encode::{cannot_show, json};

/// A value that does not fit is an error, and does not go out as none.
const EXACT: CastOptions<'static> = CastOptions {
    safe: false,
    format_options: FormatOptions::new(),
};
/// Version of the binary form of jsonb.
const JSONB: u8 = 1;

/// A column that is ready to be written.
struct ReadyColumn {
    of: WireType,
    values: ArrayRef,
    /// The items of lists.
    items: Option<Box<ReadyColumn>>,
}

/// Rows that are ready to be written.
pub(super) struct ReadyRows {
    columns: Vec<ReadyColumn>,
    pub(super) count: usize,
}

impl ReadyRows {
    pub(super) fn of(batch: &RecordBatch, columns: &[WireColumn]) -> Result<Self> {
        let ready = batch.columns().iter().zip(columns);
        Ok(Self {
            columns: ready
                .map(|(values, column)| ReadyColumn::of(values, &column.of))
                .collect::<Result<_>>()?,
            count: batch.num_rows(),
        })
    }

    pub(super) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Writes the text of a value; false where there is none.
    pub(super) fn put_text(&self, column: usize, row: usize, out: &mut BytesMut) -> Result<bool> {
        match self.columns.get(column) {
            Some(column) => column.put_text(row, out),
            None => Ok(false),
        }
    }

    /// Writes the binary form of a value; false where there is none.
    pub(super) fn put_binary(&self, column: usize, row: usize, out: &mut BytesMut) -> Result<bool> {
        match self.columns.get(column) {
            Some(column) => column.put_binary(row, out),
            None => Ok(false),
        }
    }

    /// Writes a value behind its length, -1 for none, as the rows of an answer have it.
    pub(super) fn put_sized(
        &self,
        column: usize,
        row: usize,
        is_binary: bool,
        out: &mut BytesMut,
    ) -> Result<()> {
        sized(out, |out| match is_binary {
            true => self.put_binary(column, row, out),
            false => self.put_text(column, row, out),
        })
    }
}

/// Writes what `put` does behind its length, or -1 where that is nothing.
fn sized(out: &mut BytesMut, put: impl FnOnce(&mut BytesMut) -> Result<bool>) -> Result<()> {
    let at = out.len();
    out.put_i32(-1);
    if put(out)? {
        let length = i32::try_from(out.len() - at - 4).map_err(|_| {
            Error::new(
                ErrorKind::Query,
                "a value is too large for a row of an answer",
            )
        })?;
        if let Some(place) = out.get_mut(at..at + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
    Ok(())
}

impl ReadyColumn {
    fn of(values: &ArrayRef, of: &WireType) -> Result<Self> {
        let wanted = of.written_from(values.data_type());
        let values = match *values.data_type() == wanted {
            true => ArrayRef::clone(values),
            false => cast_with_options(values, &wanted, &EXACT).map_err(cannot_show)?,
        };
        let items = match of {
            WireType::List(item) if matches!(values.data_type(), DataType::List(_)) => {
                let items = values.as_list::<i32>().values();
                Some(Box::new(Self::of(items, item)?))
            }
            _ => None,
        };
        Ok(Self {
            of: of.clone(),
            values,
            items,
        })
    }

    fn has_value(&self, row: usize) -> bool {
        // A column of the type null has no validity buffer: every value of it is null all the same.
        !self.values.is_null(row) && self.values.data_type() != &DataType::Null
    }

    /// Places of the items of a list.
    fn items(&self, row: usize) -> std::ops::Range<usize> {
        let offsets = self.values.as_list::<i32>().value_offsets();
        let at = |row: usize| offsets.get(row).and_then(|at| usize::try_from(*at).ok());
        at(row).unwrap_or_default()..at(row + 1).unwrap_or_default()
    }

    fn number(&self, row: usize) -> String {
        match self.values.data_type() {
            DataType::Decimal256(_, scale) => {
                let units = self.values.as_primitive::<Decimal256Type>().value(row);
                let units = units.to_string();
                let digits = units.trim_start_matches('-');
                numeric::text(digits.len() < units.len(), digits, *scale)
            }
            DataType::Decimal128(_, scale) => {
                let units = self.values.as_primitive::<Decimal128Type>().value(row);
                numeric::text(units < 0, &units.unsigned_abs().to_string(), *scale)
            }
            _ => String::new(),
        }
    }

    fn put_text(&self, row: usize, out: &mut BytesMut) -> Result<bool> {
        if !self.has_value(row) {
            return Ok(false);
        }
        let text = match &self.of {
            WireType::Text => {
                out.put_slice(self.values.as_string::<i32>().value(row).as_bytes());
                return Ok(true);
            }
            WireType::List(_) => {
                self.put_list_text(row, out)?;
                return Ok(true);
            }
            WireType::Bool => match self.values.as_boolean().value(row) {
                true => "t".to_owned(),
                false => "f".to_owned(),
            },
            WireType::Int2 => self
                .values
                .as_primitive::<Int16Type>()
                .value(row)
                .to_string(),
            WireType::Int4 => self
                .values
                .as_primitive::<Int32Type>()
                .value(row)
                .to_string(),
            WireType::Int8 => self
                .values
                .as_primitive::<Int64Type>()
                .value(row)
                .to_string(),
            WireType::Float4 => float_text(&self.values.as_primitive::<Float32Type>().value(row)),
            WireType::Float8 => float_text(&self.values.as_primitive::<Float64Type>().value(row)),
            WireType::Numeric => self.number(row),
            WireType::Bytea => bytes_text(self.values.as_binary::<i32>().value(row)),
            WireType::Date => times::date_text(self.days(row)),
            WireType::Time => times::time_text(self.time(row)),
            WireType::Timestamp => times::timestamp_text(self.micros(row)),
            WireType::Instant => times::instant_text(self.micros(row)),
            WireType::Span => self.span(row).text(),
            WireType::Json => json::value(&self.values, row)?,
        };
        out.put_slice(text.as_bytes());
        Ok(true)
    }

    fn put_binary(&self, row: usize, out: &mut BytesMut) -> Result<bool> {
        if !self.has_value(row) {
            return Ok(false);
        }
        match &self.of {
            WireType::Bool => out.put_u8(u8::from(self.values.as_boolean().value(row))),
            WireType::Int2 => out.put_i16(self.values.as_primitive::<Int16Type>().value(row)),
            WireType::Int4 => out.put_i32(self.values.as_primitive::<Int32Type>().value(row)),
            WireType::Int8 => out.put_i64(self.values.as_primitive::<Int64Type>().value(row)),
            WireType::Float4 => out.put_f32(self.values.as_primitive::<Float32Type>().value(row)),
            WireType::Float8 => out.put_f64(self.values.as_primitive::<Float64Type>().value(row)),
            WireType::Numeric => numeric::put_binary(&self.number(row), out),
            WireType::Bytea => out.put_slice(self.values.as_binary::<i32>().value(row)),
            WireType::Date => out.put_i32(times::days_of(self.days(row))?),
            WireType::Time => out.put_i64(self.time(row)),
            WireType::Timestamp | WireType::Instant => {
                out.put_i64(times::micros_of(self.micros(row))?);
            }
            WireType::Span => {
                let span = self.span(row);
                out.put_i64(span.micros);
                out.put_i32(span.days);
                out.put_i32(span.months);
            }
            WireType::Json => {
                out.put_u8(JSONB);
                out.put_slice(json::value(&self.values, row)?.as_bytes());
            }
            WireType::List(item) => self.put_list_binary(item, row, out)?,
            WireType::Text => return self.put_text(row, out),
        }
        Ok(true)
    }

    fn days(&self, row: usize) -> i32 {
        self.values.as_primitive::<Date32Type>().value(row)
    }

    fn time(&self, row: usize) -> i64 {
        let times = self.values.as_primitive::<Time64MicrosecondType>();
        times.value(row)
    }

    fn micros(&self, row: usize) -> i64 {
        let instants = self.values.as_primitive::<TimestampMicrosecondType>();
        instants.value(row)
    }

    fn span(&self, row: usize) -> Span {
        let span = self
            .values
            .as_primitive::<IntervalMonthDayNanoType>()
            .value(row);
        Span {
            months: span.months,
            days: span.days,
            micros: span.nanoseconds / 1_000,
        }
    }

    /// `{1,2,NULL,"a b"}`.
    fn put_list_text(&self, row: usize, out: &mut BytesMut) -> Result<()> {
        out.put_u8(b'{');
        let places = self.items(row);
        for place in places.clone() {
            if place > places.start {
                out.put_u8(b',');
            }
            let mut text = BytesMut::new();
            match &self.items {
                Some(items) if items.put_text(place, &mut text)? => put_item(&text, out),
                _ => out.put_slice(b"NULL"),
            }
        }
        out.put_u8(b'}');
        Ok(())
    }

    fn put_list_binary(&self, item: &WireType, row: usize, out: &mut BytesMut) -> Result<()> {
        let places = self.items(row);
        let has_nulls = match &self.items {
            Some(items) => places.clone().any(|place| !items.has_value(place)),
            None => false,
        };
        let is_empty = places.is_empty();
        out.put_i32(i32::from(!is_empty));
        out.put_i32(i32::from(has_nulls));
        out.put_u32(item.oid());
        if is_empty {
            return Ok(());
        }
        out.put_i32(i32::try_from(places.len()).unwrap_or(i32::MAX));
        // The first item is number 1.
        out.put_i32(1);
        for place in places {
            sized(out, |out| match &self.items {
                Some(items) => items.put_binary(place, out),
                None => Ok(false),
            })?;
        }
        Ok(())
    }
}

/// Writes an item of a list, in quotes where it could be taken for something else.
fn put_item(text: &[u8], out: &mut BytesMut) {
    let is_plain = |byte: &u8| {
        !matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\') && !byte.is_ascii_whitespace()
    };
    let is_word =
        !text.is_empty() && !text.eq_ignore_ascii_case(b"null") && text.iter().all(is_plain);
    if is_word {
        out.put_slice(text);
        return;
    }
    out.put_u8(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

/// The shortest text that is read as the same number.
fn float_text<F: std::fmt::Display + std::fmt::LowerExp>(number: &F) -> String {
    let text = number.to_string();
    match text.as_str() {
        "inf" => "Infinity".to_owned(),
        "-inf" => "-Infinity".to_owned(),
        _ if text.len() > 18 => format!("{number:e}"),
        _ => text,
    }
}

fn bytes_text(bytes: &[u8]) -> String {
    let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
    std::iter::once("\\x".to_owned()).chain(digits).collect()
}

#[cfg(test)]
mod tests {
    use super::super::columns::all_columns;
    use super::*;
    use arrow::array::{
        Decimal128Array, Float64Array, Int64Array, ListArray, StringArray, StructArray,
        TimestampMicrosecondArray,
    };
    use arrow::datatypes::{Field, Schema};
    use std::sync::Arc;

    fn rows(name: &str, array: ArrayRef) -> ReadyRows {
        let field = Field::new(name, array.data_type().clone(), true);
        let schema = Arc::new(Schema::new(vec![field]));
        let columns = all_columns(&schema);
        let batch = RecordBatch::try_new(schema, vec![array]).unwrap();
        ReadyRows::of(&batch, &columns).unwrap()
    }

    fn texts(array: ArrayRef) -> Vec<Option<String>> {
        let rows = rows("a", array);
        let text = |row| {
            let mut out = BytesMut::new();
            let has_value = rows.put_text(0, row, &mut out).unwrap();
            has_value.then(|| String::from_utf8(out.to_vec()).unwrap())
        };
        (0..rows.count).map(text).collect()
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    #[test]
    fn decimals_have_all_their_digits() {
        let most = 10_i128.pow(38) - 1;
        let decimals = Decimal128Array::from(vec![Some(most), Some(-1), None]);
        let decimals = decimals.with_precision_and_scale(38, 10).unwrap();
        let mut expected = some(&["9999999999999999999999999999.9999999999", "-0.0000000001"]);
        expected.push(None);
        assert_eq!(texts(Arc::new(decimals)), expected);
    }

    #[test]
    fn instants_have_an_offset_and_timestamps_have_none() {
        let micros = vec![1_767_225_600_000_000, -1];
        let local = TimestampMicrosecondArray::from(micros.clone());
        assert_eq!(
            texts(Arc::new(local)),
            some(&["2026-01-01 00:00:00", "1969-12-31 23:59:59.999999"])
        );
        let instants = TimestampMicrosecondArray::from(micros).with_timezone("UTC");
        assert_eq!(
            texts(Arc::new(instants)),
            some(&["2026-01-01 00:00:00+00", "1969-12-31 23:59:59.999999+00"])
        );
    }

    #[test]
    fn floats_are_read_back_as_they_are() {
        let floats = vec![0.1, 1.0, -2.5e-300, 1e300, f64::INFINITY, f64::NAN];
        let shown = texts(Arc::new(Float64Array::from(floats)));
        assert_eq!(
            shown,
            some(&["0.1", "1", "-2.5e-300", "1e300", "Infinity", "NaN"])
        );
    }

    #[test]
    fn lists_are_lists_and_what_is_nested_is_json() {
        let texts_of = StringArray::from(vec![
            Some("a"),
            Some("b c"),
            None,
            Some("\"q\""),
            Some("null"),
        ]);
        let field = Arc::new(Field::new("item", DataType::Utf8, true));
        let offsets = arrow::buffer::OffsetBuffer::new(vec![0, 5, 5].into());
        let list = ListArray::new(field, offsets, Arc::new(texts_of), None);
        assert_eq!(
            texts(Arc::new(list.clone())),
            some(&[r#"{a,"b c",NULL,"\"q\"","null"}"#, "{}"])
        );
        let mut out = BytesMut::new();
        assert!(
            rows("a", Arc::new(list))
                .put_binary(0, 1, &mut out)
                .unwrap()
        );
        assert_eq!(out.len(), 12);
        let number: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        let nested = StructArray::from(vec![(
            Arc::new(Field::new("n", DataType::Int64, true)),
            number,
        )]);
        let rows = rows("a", Arc::new(nested));
        let mut out = BytesMut::new();
        rows.put_sized(0, 0, true, &mut out).unwrap();
        assert_eq!(&out[..5], [0, 0, 0, 9, JSONB]);
        assert_eq!(&out[5..], br#"{"n": 7}"#);
    }

    #[test]
    fn a_row_says_where_there_is_no_value() {
        let rows = rows("a", Arc::new(Int64Array::from(vec![Some(258), None])));
        let mut out = BytesMut::new();
        rows.put_sized(0, 0, true, &mut out).unwrap();
        rows.put_sized(0, 1, true, &mut out).unwrap();
        let expected = [
            [0, 0, 0, 8].as_slice(),
            &[0, 0, 0, 0, 0, 0, 1, 2],
            &[255; 4],
        ]
        .concat();
        assert_eq!(out.as_ref(), expected.as_slice());
    }
}
