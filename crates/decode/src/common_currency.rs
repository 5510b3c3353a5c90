//! Currencies that a record names: the one of an amount, its smallest coin, and whether amounts that are added up or compared are in one.
//!
//! Invariant: currencies are compared as words, whatever their spelling. An amount that names none is in whatever the others are.

use crate::column::{ColumnBuilder, ColumnValues};
use crate::fields::{ObjectPlan, PathStep};
use crate::identity::visit;
use crate::operand::{element_of, resolve_text, text_of};
use tillhouse_model::blank::is_blank;
use tillhouse_model::money::minor_digits;
use tillhouse_model::{ExactDecimal, Result, word};

/// Digits after the point of amounts whose currency nobody knows.
const UNKNOWN_DIGITS: u8 = 2;

/// Currency of the amounts that are added up, and whether one of them is in another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CommonCurrency<'c> {
    pub(crate) known: Option<&'c str>,
    pub(crate) is_mixed: bool,
}

impl<'c> CommonCurrency<'c> {
    pub(crate) fn of(named: Option<&'c str>) -> Self {
        Self {
            known: named,
            is_mixed: false,
        }
    }

    /// Takes the currency of one more amount; one that names none is in whatever the others are.
    pub(crate) fn add(&mut self, named: Option<&'c str>) {
        match (self.known, named) {
            (Some(known), Some(named)) => self.is_mixed |= !word::is_same_word(known, named),
            (None, named) => self.known = named,
            (Some(_), None) => {}
        }
    }
}

/// Columns that name the currency of an amount, the first that does deciding.
#[derive(Debug, Default)]
pub(crate) struct CurrencyColumns(Vec<Vec<PathStep>>);

/// Currency that a column names, and where.
pub(crate) struct NamedCurrency<'p, 'c> {
    pub(crate) text: &'c str,
    pub(crate) path: &'p [PathStep],
    pub(crate) positions: Vec<usize>,
}

impl CurrencyColumns {
    pub(crate) fn new(record: &ObjectPlan, paths: &[Vec<String>]) -> Result<Self> {
        let hops = paths
            .iter()
            .map(|path| Ok(resolve_text(record, path)?.0))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self(hops))
    }

    /// The currency of an element: what its own columns name, or those of what it is in.
    pub(crate) fn of_element<'c>(
        &self,
        columns: &'c [ColumnBuilder],
        row: usize,
        positions: &[usize],
    ) -> Option<&'c str> {
        self.0
            .iter()
            .find_map(|path| text_of(columns, path, row, positions).filter(|text| !is_blank(text)))
    }

    /// Tolerance of amounts in the currency that is named: its smallest coin, 0.01 where none is known; nothing where no column is to name one.
    pub(crate) fn tolerance(&self, named: Option<&str>) -> ExactDecimal {
        if self.0.is_empty() {
            return ExactDecimal::new(0, 0);
        }
        ExactDecimal::new(1, named.and_then(minor_digits).unwrap_or(UNKNOWN_DIGITS))
    }

    /// The currency that the record names first; through a list, in any of its elements.
    pub(crate) fn of_record<'p, 'c>(
        &'p self,
        columns: &'c [ColumnBuilder],
        row: usize,
    ) -> Option<NamedCurrency<'p, 'c>> {
        self.0.iter().find_map(|path| {
            let mut found = None;
            visit(
                columns,
                path,
                row,
                &mut Vec::new(),
                &mut |column, row, positions| {
                    if found.is_none()
                        && let ColumnValues::Text(texts) = &column.values
                        && let Ok(text) = std::str::from_utf8(texts.get(row))
                        && !is_blank(text)
                    {
                        found = Some(NamedCurrency {
                            text,
                            path: path.as_slice(),
                            positions: positions.to_vec(),
                        });
                    }
                },
            );
            found
        })
    }

    /// True if each of them is of that element, or of what it is in.
    pub(crate) fn is_of_element(&self, element: &[PathStep]) -> bool {
        self.0
            .iter()
            .all(|path| element.starts_with(element_of(path)))
    }
}
