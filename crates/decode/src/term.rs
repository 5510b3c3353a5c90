//! Columns that rules compare: the way to one, the scale of its numbers, and its name as the source spells it.
//!
//! Invariant: a [`Term`] leads to numbers that can be compared exactly, whole ones or decimals.

use crate::column::{Column, Values};
use crate::identity::{spell_in, visit};
use crate::plan::{Hop, Object, What, resolve};
use tillhouse_model::{Error, Exact, Result};

/// A column of numbers.
#[derive(Debug)]
pub(crate) struct Term {
    pub(crate) hops: Vec<Hop>,
    pub(crate) scale: u8,
    /// `articles[].amount`.
    pub(crate) name: String,
}

impl Term {
    pub(crate) fn new(record: &Object, path: &[String]) -> Result<Self> {
        let (hops, field) = resolve(record, path)?;
        let scale = match field.what {
            What::Int => Some(0),
            What::Decimal { scale, .. } => u8::try_from(scale).ok(),
            _ => None,
        };
        let scale = scale.ok_or_else(|| unfit(path, "a whole or decimal number"))?;
        Ok(Self { name: spell_in(record, &hops, &[]), hops, scale })
    }

    pub(crate) fn all(record: &Object, paths: &[Vec<String>]) -> Result<Vec<Self>> {
        paths.iter().map(|path| Self::new(record, path)).collect()
    }

    /// The number in the element at these positions.
    pub(crate) fn value(&self, columns: &[Column], row: usize, positions: &[usize]) -> Option<Exact> {
        let (column, row) = at(columns, &self.hops, row, positions)?;
        match &column.values {
            Values::Decimal(values) => values.get(row).map(|units| Exact::new(*units, self.scale)),
            Values::Int(values) => values.get(row).map(|whole| Exact::new(i128::from(*whole), self.scale)),
            _ => None,
        }
    }
}

/// The way to a text that is stored as it came, and its name.
pub(crate) fn open_text(record: &Object, path: &[String]) -> Result<(Vec<Hop>, String)> {
    let (hops, field) = resolve(record, path)?;
    if field.is_open_text() {
        Ok((hops.clone(), spell_in(record, &hops, &[])))
    } else {
        Err(unfit(path, "an open text"))
    }
}

/// The value a path leads to, in the elements at these positions of the lists on its way; `None` where it is null.
pub(crate) fn at<'c>(
    columns: &'c [Column],
    hops: &[Hop],
    row: usize,
    positions: &[usize],
) -> Option<(&'c Column, usize)> {
    let (Hop::Field(first), rest) = hops.split_first()? else { return None };
    let (mut column, mut row, mut positions) = (columns.get(*first)?, row, positions.iter());
    for hop in rest {
        if !column.valid.get(row) {
            return None;
        }
        match (hop, &column.values) {
            (Hop::Field(at), Values::Object(columns)) => column = columns.get(*at)?,
            (Hop::Elements, Values::List { offsets, elements }) => {
                row = Column::elements_of(offsets, row).nth(*positions.next()?)?;
                column = elements;
            }
            _ => return None,
        }
    }
    column.valid.get(row).then_some((column, row))
}

/// The text a path leads to, in the same way.
pub(crate) fn text_of<'c>(columns: &'c [Column], hops: &[Hop], row: usize, positions: &[usize]) -> Option<&'c str> {
    let (column, row) = at(columns, hops, row, positions)?;
    match &column.values {
        Values::Text(texts) => std::str::from_utf8(texts.get(row)).ok(),
        _ => None,
    }
}

/// Calls `each` with the positions of every element that the steps lead to; once, with none, where they lead nowhere: to the record itself.
pub(crate) fn each_element(columns: &[Column], element: &[Hop], row: usize, each: &mut dyn FnMut(&[usize])) {
    if element.is_empty() {
        return each(&[]);
    }
    visit(columns, element, row, &mut Vec::new(), &mut |_, _, positions| each(positions));
}

/// The steps up to the last list on the way.
pub(crate) fn element_of(hops: &[Hop]) -> &[Hop] {
    let last = hops.iter().rposition(|hop| *hop == Hop::Elements);
    last.map_or(&[], |last| &hops[..=last])
}

pub(crate) fn unfit(path: &[String], expected: &str) -> Error {
    Error::config(format!("the quality rule needs {expected}")).at("column", path.join("."))
}
