//! Columns that rules compare: the way to one, the scale of its numbers, and its name as the source spells it.
//!
//! Invariant: a [`RuleOperand`] leads to numbers that can be compared exactly, whole ones or decimals.

use crate::column::{ColumnBuilder, ColumnValues};
use crate::fields::{FieldKind, ObjectPlan, PathStep, resolve};
use crate::identity::{spell, visit};
use tillhouse_model::{Error, ExactDecimal, Result};

/// Column of numbers that a rule compares: its path, scale and name.
#[derive(Debug)]
pub(crate) struct RuleOperand {
    pub(crate) path: Vec<PathStep>,
    pub(crate) scale: u8,
    /// `articles[].amount`.
    pub(crate) name: String,
}

impl RuleOperand {
    pub(crate) fn new(record: &ObjectPlan, path: &[String]) -> Result<Self> {
        let (hops, field) = resolve(record, path)?;
        let scale = match field.kind {
            FieldKind::Int => Some(0),
            FieldKind::Decimal { scale, .. } => u8::try_from(scale).ok(),
            _ => None,
        };
        let scale = scale.ok_or_else(|| unfit_column_error(path, "a whole or decimal number"))?;
        Ok(Self {
            name: spell(record, &hops, &[]),
            path: hops,
            scale,
        })
    }

    pub(crate) fn all(record: &ObjectPlan, paths: &[Vec<String>]) -> Result<Vec<Self>> {
        paths.iter().map(|path| Self::new(record, path)).collect()
    }

    /// The number in the element at these positions.
    pub(crate) fn value(
        &self,
        columns: &[ColumnBuilder],
        row: usize,
        positions: &[usize],
    ) -> Option<ExactDecimal> {
        let (column, row) = at(columns, &self.path, row, positions)?;
        match &column.values {
            ColumnValues::Decimal(values) => values
                .get(row)
                .map(|units| ExactDecimal::new(*units, self.scale)),
            ColumnValues::Int(values) => values
                .get(row)
                .map(|whole| ExactDecimal::new(i128::from(*whole), self.scale)),
            _ => None,
        }
    }
}

/// The way to a text that is stored as it came, and its name.
pub(crate) fn resolve_text(
    record: &ObjectPlan,
    path: &[String],
) -> Result<(Vec<PathStep>, String)> {
    let (hops, field) = resolve(record, path)?;
    if field.is_open_text() {
        Ok((hops.clone(), spell(record, &hops, &[])))
    } else {
        Err(unfit_column_error(path, "an open text"))
    }
}

/// The value a path leads to, in the elements at these positions of the lists on its way; `None` where it is null.
pub(crate) fn at<'c>(
    columns: &'c [ColumnBuilder],
    hops: &[PathStep],
    row: usize,
    positions: &[usize],
) -> Option<(&'c ColumnBuilder, usize)> {
    let (PathStep::Field(first), rest) = hops.split_first()? else {
        return None;
    };
    let (mut column, mut row, mut positions) = (columns.get(*first)?, row, positions.iter());
    for hop in rest {
        if !column.valid.get(row) {
            return None;
        }
        match (hop, &column.values) {
            (PathStep::Field(at), ColumnValues::Object(columns)) => column = columns.get(*at)?,
            (PathStep::Elements, ColumnValues::List { offsets, elements }) => {
                row = ColumnBuilder::elements_of(offsets, row).nth(*positions.next()?)?;
                column = elements;
            }
            _ => return None,
        }
    }
    column.valid.get(row).then_some((column, row))
}

/// The text a path leads to, in the same way.
pub(crate) fn text_of<'c>(
    columns: &'c [ColumnBuilder],
    hops: &[PathStep],
    row: usize,
    positions: &[usize],
) -> Option<&'c str> {
    let (column, row) = at(columns, hops, row, positions)?;
    match &column.values {
        ColumnValues::Text(texts) => std::str::from_utf8(texts.get(row)).ok(),
        _ => None,
    }
}

/// Calls `each` with the positions of every element that the steps lead to; once, with none, where they lead nowhere: to the record itself.
pub(crate) fn each_element(
    columns: &[ColumnBuilder],
    element: &[PathStep],
    row: usize,
    each: &mut dyn FnMut(&[usize]),
) {
    if element.is_empty() {
        return each(&[]);
    }
    visit(
        columns,
        element,
        row,
        &mut Vec::new(),
        &mut |_, _, positions| each(positions),
    );
}

/// The steps up to the last list on the way.
pub(crate) fn element_of(hops: &[PathStep]) -> &[PathStep] {
    let last = hops.iter().rposition(|hop| *hop == PathStep::Elements);
    last.map_or(&[], |last| &hops[..=last])
}

pub(crate) fn unfit_column_error(path: &[String], expected: &str) -> Error {
    Error::config(format!("the quality rule needs {expected}")).at("column", path.join("."))
}
