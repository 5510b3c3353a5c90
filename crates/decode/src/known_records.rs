//! Records as they were last known, for pages that show only a part of them.
//!
//! Invariant: where a page says nothing of a record, what was known stays, at every depth. A missing field, null, `{}`, `[]` and a text of which
//! nothing can be seen are the same: nothing said, and so is the name of a time zone that nobody can read. What a page does say counts, also where
//! more was known. What was known of one thing is never said of another: an object whose id changed, its own or the one that refers to it, starts anew.
//!
//! ```text
//!   known  site {name: "A", timezone: "Europe/Berlin"}   articles [{id: 1, name: "Diesel"}, {id: 2}]
//!   page   site {name: "B", timezone: null}              articles [{id: 1, amount: 5}]
//!   row    site {name: "B", timezone: "Europe/Berlin"}   articles [{id: 1, name: "Diesel", amount: 5}]
//! ```
//!
//! A list that says something has the elements that the page says. Which known element one of them is, its `id` tells; where the page names none,
//! its place does, as long as the two lists are equally long.

use crate::abort::ReadResult;
use crate::column::{ColumnBuilder, ColumnValues};
use crate::fields::{FieldKind, FieldPlan, ObjectPlan};
use crate::identity;
use crate::plan::DecodePlan;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Date32Type, Decimal128Type, Int64Type, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use std::collections::HashMap;
use tillhouse_model::blank::is_blank;
use tillhouse_model::table::RECORD_KEY;
use tillhouse_model::{Error, Result, zone_name};

/// The column that identifies the elements of a list.
const ELEMENT_ID: &str = "id";

/// The column that tells an object within a record from others where it has no id.
const ELEMENT_CODE: &str = "code";

/// The last known versions of some records.
#[derive(Debug, Clone)]
pub struct KnownRecords {
    rows: RecordBatch,
    by_key: HashMap<String, usize>,
}

/// Known value: an array, and its row.
type KnownValue<'k> = (&'k dyn Array, usize);

impl KnownRecords {
    /// Known records from rows of the source table, one a record. Columns that the contract had
    /// not yet when they were written are unknown.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Internal`] where they lack the record key.
    pub fn new(rows: RecordBatch) -> Result<Self> {
        let keys = rows
            .column_by_name(RECORD_KEY)
            .and_then(|keys| keys.as_string_opt::<i32>());
        let keys = keys.ok_or_else(|| Error::internal("known records come without their keys"))?;
        let by_key = keys
            .iter()
            .enumerate()
            .filter_map(|(row, key)| Some((key?.to_owned(), row)))
            .collect();
        Ok(Self { rows, by_key })
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Completes a row, the last one of the columns, by what is known of its record; whether anything is.
    pub(crate) fn complete(
        &self,
        key: &[u8],
        plan: &DecodePlan,
        columns: &mut [ColumnBuilder],
        row: usize,
    ) -> ReadResult<bool> {
        let known = std::str::from_utf8(key)
            .ok()
            .and_then(|key| self.by_key.get(key));
        let Some(known) = known else { return Ok(false) };
        let fields = &plan.record.fields;
        let mut said = Vec::with_capacity(fields.len());
        for (field, column) in fields.iter().zip(columns.iter()) {
            let mut value = ColumnBuilder::new(field, &mut [].iter());
            append(field, &mut value, column, row)?;
            said.push(value);
        }
        let value_of = |name: &str| -> Option<KnownValue<'_>> {
            let array = self.rows.column_by_name(name)?;
            Some((array.as_ref(), *known))
        };
        for (at, (field, column)) in fields.iter().zip(columns).enumerate() {
            // A value that the request named is not the record's own.
            let value = value_of(&field.name).filter(|_| plan.scope != Some(at));
            if value.is_none() || is_another(&plan.record, at, &said, 0, &value_of) {
                continue;
            }
            column.truncate(row);
            complete(field, column, &said[at], 0, value)?;
        }
        Ok(true)
    }
}

/// The path to the first required field of an object that has no value.
pub(crate) fn missing(
    object: &ObjectPlan,
    columns: &[ColumnBuilder],
    row: usize,
    path: &str,
) -> Option<String> {
    object
        .fields
        .iter()
        .zip(columns)
        .find_map(|(field, column)| {
            let path = match path {
                "" => field.json_name.clone(),
                path => format!("{path}.{}", field.json_name),
            };
            match column.valid.get(row) {
                false => field.required.then_some(path),
                true => missing_below(field, column, row, &path),
            }
        })
}

fn missing_below(
    field: &FieldPlan,
    column: &ColumnBuilder,
    row: usize,
    path: &str,
) -> Option<String> {
    match (&field.kind, &column.values) {
        (FieldKind::Object(object), ColumnValues::Object(columns)) => {
            missing(object, columns, row, path)
        }
        (FieldKind::List(element), ColumnValues::List { offsets, elements }) => {
            ColumnBuilder::elements_of(offsets, row)
                .enumerate()
                .find_map(|(nth, row)| {
                    let is_there = elements.valid.get(row);
                    is_there
                        .then(|| missing_below(element, elements, row, &format!("{path}[{nth}]")))
                        .flatten()
                })
        }
        _ => None,
    }
}

/// True if a value says nothing, at any depth.
fn says_nothing(field: &FieldPlan, column: &ColumnBuilder, row: usize) -> bool {
    if !column.valid.get(row) {
        return true;
    }
    match (&field.kind, &column.values) {
        (FieldKind::Text(_), ColumnValues::Text(texts)) => {
            let is_nothing =
                |text| is_blank(text) || (field.is_zone && zone_name::parse(text).is_none());
            std::str::from_utf8(texts.get(row)).is_ok_and(is_nothing)
        }
        (FieldKind::Object(object), ColumnValues::Object(columns)) => object
            .fields
            .iter()
            .zip(columns)
            .all(|(field, column)| says_nothing(field, column, row)),
        (FieldKind::List(element), ColumnValues::List { offsets, elements }) => {
            ColumnBuilder::elements_of(offsets, row).all(|row| says_nothing(element, elements, row))
        }
        (FieldKind::NotDecoded, _) => true,
        _ => false,
    }
}

/// Appends what is said, and where that is nothing, what is known.
fn complete(
    field: &FieldPlan,
    out: &mut ColumnBuilder,
    said: &ColumnBuilder,
    row: usize,
    known: Option<KnownValue<'_>>,
) -> ReadResult {
    let Some((array, known_row)) = known else {
        return append(field, out, said, row);
    };
    // A name that nobody can read says more than none.
    let is_last_word = field.is_zone && array.is_null(known_row);
    if !is_last_word && says_nothing(field, said, row) {
        return copy(field, out, array, known_row);
    }
    if array.is_null(known_row) || !fits(field, array) {
        return append(field, out, said, row);
    }
    match (&field.kind, &mut out.values, &said.values) {
        (FieldKind::Object(object), ColumnValues::Object(columns), ColumnValues::Object(said)) => {
            let parent = array.as_struct();
            let value_of = |name: &str| -> Option<KnownValue<'_>> {
                let array = parent.column_by_name(name)?;
                Some((array.as_ref(), known_row))
            };
            for (at, (field, column)) in object.fields.iter().zip(columns).enumerate() {
                let known =
                    value_of(&field.name).filter(|_| !is_another(object, at, said, row, &value_of));
                complete(field, column, &said[at], row, known)?;
            }
        }
        (
            FieldKind::List(element),
            ColumnValues::List { offsets, elements },
            ColumnValues::List {
                offsets: ends,
                elements: said,
            },
        ) => {
            let known = array.as_list::<i32>().value(known_row);
            let rows = ColumnBuilder::elements_of(ends, row);
            let places_tell = rows.len() == known.len();
            for (nth, row) in rows.enumerate() {
                let same = known_element(element, said, row, &known, places_tell.then_some(nth));
                complete(
                    element,
                    elements,
                    said,
                    row,
                    same.map(|at| (known.as_ref(), at)),
                )?;
            }
            ColumnBuilder::close_list(offsets, elements)?;
        }
        _ => return append(field, out, said, row),
    }
    out.valid.push(true);
    Ok(())
}

/// True if an object within another one is not the one that was known there: its own id changed, or the id beside it that refers to it (`site_id` of
/// `site`). One that has but a code is a thing of a place: it is another one where its code changed, or what such an id refers to. Nothing that was known of
/// the other one is said of it.
fn is_another<'k>(
    parent: &ObjectPlan,
    at: usize,
    said: &[ColumnBuilder],
    row: usize,
    known: &dyn Fn(&str) -> Option<KnownValue<'k>>,
) -> bool {
    let (FieldKind::Object(object), ColumnValues::Object(inner)) =
        (&parent.fields[at].kind, &said[at].values)
    else {
        return false;
    };
    let name = &parent.fields[at].name;
    let within = |name: &str| -> Option<KnownValue<'k>> {
        let (array, row) =
            known(&parent.fields[at].name).filter(|(array, row)| array.is_valid(*row))?;
        let array = array.as_struct_opt()?.column_by_name(name)?;
        Some((array.as_ref(), row))
    };
    let own_changed =
        |id: &str| said[at].valid.get(row) && has_changed(object, id, inner, row, within(id));
    let changed = |id: &str| has_changed(parent, id, said, row, known(id));
    let has = |fields: &[FieldPlan], name: &str| fields.iter().any(|field| field.name == name);
    let reference = format!("{name}_{ELEMENT_ID}");
    if own_changed(ELEMENT_ID) || changed(&reference) {
        return true;
    }
    let is_told_by_code = !has(&object.fields, ELEMENT_ID)
        && !has(&parent.fields, &reference)
        && has(&object.fields, ELEMENT_CODE);
    is_told_by_code
        && (own_changed(ELEMENT_CODE)
            || parent.fields.iter().any(|field| {
                let refers_to = field.name.strip_suffix(ELEMENT_ID);
                refers_to
                    .and_then(|name| name.strip_suffix('_'))
                    .is_some_and(|name| has(&parent.fields, name))
                    && changed(&field.name)
            }))
}

/// True if both sides name something in that field, and not the same.
fn has_changed(
    object: &ObjectPlan,
    name: &str,
    said: &[ColumnBuilder],
    row: usize,
    known: Option<KnownValue<'_>>,
) -> bool {
    let at = object.fields.iter().position(|field| field.name == name);
    let (Some(at), Some((array, known_row))) = (at, known) else {
        return false;
    };
    let is_known = array.is_valid(known_row) && fits(&object.fields[at], array);
    is_known
        && !identity::names_nothing(&said[at], row)
        && !is_same_id(&said[at], row, array, known_row)
}

/// Finds the known element that an element of a list is a version of.
fn known_element(
    element: &FieldPlan,
    said: &ColumnBuilder,
    row: usize,
    known: &ArrayRef,
    place: Option<usize>,
) -> Option<usize> {
    let (FieldKind::Object(object), ColumnValues::Object(columns)) = (&element.kind, &said.values)
    else {
        return None;
    };
    let at = object
        .fields
        .iter()
        .position(|field| field.name == ELEMENT_ID);
    let named = at.filter(|at| said.valid.get(row) && !identity::names_nothing(&columns[*at], row));
    let Some(at) = named else { return place };
    let ids = known.as_struct_opt()?.column_by_name(ELEMENT_ID)?;
    (0..ids.len()).find(|known| is_same_id(&columns[at], row, ids.as_ref(), *known))
}

fn is_same_id(said: &ColumnBuilder, row: usize, ids: &dyn Array, known: usize) -> bool {
    if ids.is_null(known) {
        return false;
    }
    match &said.values {
        ColumnValues::Text(texts) => ids
            .as_string_opt::<i32>()
            .is_some_and(|ids| ids.value(known).as_bytes() == texts.get(row)),
        ColumnValues::Int(values) => ids
            .as_primitive_opt::<Int64Type>()
            .is_some_and(|ids| values.get(row) == Some(&ids.value(known))),
        _ => false,
    }
}

/// Appends a value of another column of the same field.
fn append(
    field: &FieldPlan,
    out: &mut ColumnBuilder,
    from: &ColumnBuilder,
    row: usize,
) -> ReadResult {
    if !from.valid.get(row) {
        return out.push_null();
    }
    match (&field.kind, &mut out.values, &from.values) {
        (FieldKind::Object(object), ColumnValues::Object(columns), ColumnValues::Object(from)) => {
            for ((field, column), from) in object.fields.iter().zip(columns).zip(from) {
                append(field, column, from, row)?;
            }
        }
        (
            FieldKind::List(element),
            ColumnValues::List { offsets, elements },
            ColumnValues::List {
                offsets: ends,
                elements: from,
            },
        ) => {
            for row in ColumnBuilder::elements_of(ends, row) {
                append(element, elements, from, row)?;
            }
            ColumnBuilder::close_list(offsets, elements)?;
        }
        (_, ColumnValues::Text(texts), ColumnValues::Text(from)) => {
            texts.bytes.extend_from_slice(from.get(row));
            texts.close()?;
        }
        (_, ColumnValues::Bool(bits), ColumnValues::Bool(from)) => bits.push(from.get(row)),
        (_, ColumnValues::Int(values), ColumnValues::Int(from))
        | (_, ColumnValues::Time(values), ColumnValues::Time(from)) => {
            values.push(from[row]);
        }
        (_, ColumnValues::Decimal(values), ColumnValues::Decimal(from)) => values.push(from[row]),
        (_, ColumnValues::Date(values), ColumnValues::Date(from)) => values.push(from[row]),
        (_, ColumnValues::NotDecoded, ColumnValues::NotDecoded) => {}
        // Columns of one field hold one type.
        _ => return out.push_null(),
    }
    out.valid.push(true);
    Ok(())
}

/// Appends a value of an array to the column of its field; null where the array is of another type, as after a change of contract.
fn copy(
    field: &FieldPlan,
    column: &mut ColumnBuilder,
    array: &dyn Array,
    row: usize,
) -> ReadResult {
    if array.is_null(row) || !fits(field, array) {
        return column.push_null();
    }
    match (&field.kind, &mut column.values) {
        (FieldKind::Object(object), ColumnValues::Object(columns)) => {
            let parent = array.as_struct();
            for (field, column) in object.fields.iter().zip(columns) {
                match parent.column_by_name(&field.name) {
                    Some(array) => copy(field, column, array.as_ref(), row)?,
                    None => column.push_null()?,
                }
            }
        }
        (FieldKind::List(element), ColumnValues::List { offsets, elements }) => {
            let list = array.as_list::<i32>().value(row);
            for row in 0..list.len() {
                copy(element, elements, list.as_ref(), row)?;
            }
            ColumnBuilder::close_list(offsets, elements)?;
        }
        (_, ColumnValues::Text(texts)) => {
            texts
                .bytes
                .extend_from_slice(array.as_string::<i32>().value(row).as_bytes());
            texts.close()?;
        }
        (_, ColumnValues::Bool(bits)) => bits.push(array.as_boolean().value(row)),
        (_, ColumnValues::Int(values)) => values.push(array.as_primitive::<Int64Type>().value(row)),
        (_, ColumnValues::Decimal(values)) => {
            values.push(array.as_primitive::<Decimal128Type>().value(row))
        }
        (_, ColumnValues::Time(values)) => {
            values.push(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        (_, ColumnValues::Date(values)) => {
            values.push(array.as_primitive::<Date32Type>().value(row))
        }
        // Nothing is decoded there.
        _ => return column.push_null(),
    }
    column.valid.push(true);
    Ok(())
}

/// True if an array has the type its field decodes to.
fn fits(field: &FieldPlan, array: &dyn Array) -> bool {
    use arrow::datatypes::{DataType, TimeUnit};
    match (&field.kind, array.data_type()) {
        (FieldKind::Text(_), DataType::Utf8)
        | (FieldKind::Bool, DataType::Boolean)
        | (FieldKind::Int, DataType::Int64)
        | (FieldKind::Time(_), DataType::Timestamp(TimeUnit::Microsecond, _))
        | (FieldKind::Date, DataType::Date32)
        | (FieldKind::Object(_), DataType::Struct(_))
        | (FieldKind::List(_), DataType::List(_)) => true,
        (FieldKind::Decimal { scale, .. }, DataType::Decimal128(_, held)) => scale == held,
        _ => false,
    }
}
