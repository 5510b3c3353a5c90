//! Query results as CSV, written as they come.
//!
//! Invariant: one header, then a line a row. CSV has no lists and no objects: these are JSON text in a cell. Numbers, times and booleans are never changed by a
//! style; only texts are.

use super::{as_texts, cannot_show, cell, interval, json, made};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, SchemaRef};
use std::sync::Arc;
use tillhouse_model::Result;
use tillhouse_model::terminal_escape::CsvStyle;

/// Encoder of record batches as CSV, batch by batch.
#[derive(Debug)]
pub struct CsvRowEncoder {
    style: CsvStyle,
    separator: u8,
    null: String,
    has_header: bool,
}

impl Default for CsvRowEncoder {
    fn default() -> Self {
        Self::new(CsvStyle::default())
    }
}

impl CsvRowEncoder {
    /// An encoder with commas between cells, and nothing for null.
    pub fn new(style: CsvStyle) -> Self {
        Self {
            style,
            separator: b',',
            null: String::new(),
            has_header: false,
        }
    }

    /// The same with another separator of cells, and another text for null.
    #[must_use]
    pub fn with(self, separator: u8, null: String) -> Self {
        Self {
            separator,
            null,
            ..self
        }
    }

    /// The text of more rows; the header stands before the first of them.
    pub fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        let mut text = Vec::new();
        let mut writer = arrow::csv::WriterBuilder::new()
            .with_header(!std::mem::replace(&mut self.has_header, true))
            .with_delimiter(self.separator)
            .with_null(self.null.clone())
            .build(&mut text);
        writer
            .write(&styled(flattened(batch)?, self.style)?)
            .map_err(cannot_show)?;
        drop(writer);
        Ok(text)
    }

    /// The text that ends the result: the header where there was no row, else nothing.
    pub fn finish(mut self, schema: SchemaRef) -> Result<Vec<u8>> {
        match self.has_header {
            true => Ok(Vec::new()),
            false => self.encode(&RecordBatch::new_empty(schema)),
        }
    }
}

/// CSV has no lists and no objects: these become JSON text. Spans of time, and instants that Arrow would cut, become text too.
pub fn flattened(batch: &RecordBatch) -> Result<RecordBatch> {
    let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if field.data_type().is_nested()
            || matches!(field.data_type(), DataType::Binary | DataType::BinaryView)
        {
            let texts: StringArray = (0..column.len())
                .map(|row| {
                    if column.is_null(row) {
                        Ok(None)
                    } else {
                        json::value(column.as_ref(), row).map(Some)
                    }
                })
                .collect::<Result<_>>()?;
            fields.push(Field::new(field.name(), DataType::Utf8, true));
            columns.push(Arc::new(texts));
        } else if interval::is_span(field.data_type()) || cell::historic(column.as_ref())?.is_some()
        {
            fields.push(Field::new(field.name(), DataType::Utf8, true));
            columns.push(as_texts(column)?);
        } else {
            fields.push(field.as_ref().clone());
            columns.push(Arc::clone(column));
        }
    }
    made(fields, columns, batch)
}

/// The texts of CSV in a style; numbers, times and booleans are no texts.
fn styled(batch: RecordBatch, style: CsvStyle) -> Result<RecordBatch> {
    if style.is_plain() {
        return Ok(batch);
    }
    let is_text = |data_type: &DataType| match data_type {
        DataType::Dictionary(_, values) => values.is_string(),
        other => other.is_string(),
    };
    let (mut fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let name = style.text(field.name()).into_owned();
        if is_text(field.data_type()) {
            let texts = arrow::compute::cast(column, &DataType::Utf8).map_err(cannot_show)?;
            let texts: StringArray = texts
                .as_string::<i32>()
                .iter()
                .map(|text| text.map(|text| style.text(text)))
                .collect();
            fields.push(Field::new(name, DataType::Utf8, true));
            columns.push(Arc::new(texts));
        } else {
            fields.push(field.as_ref().clone().with_name(name));
            columns.push(Arc::clone(column));
        }
    }
    made(fields, columns, &batch)
}
