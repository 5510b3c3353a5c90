//! The rule that a value is there: the amount of a payment that was collected, the time zone of a site.
//!
//! Invariant: one element is looked at at a time. A list without elements misses nothing, and what is `null` in the place of an element is none. A
//! blank text says nothing, and is missing too. Where any of several values will do, the record is looked at as a whole, and any element has it.

use crate::column::ColumnBuilder;
use crate::fields::{FieldKind, ObjectPlan, PathStep, resolve};
use crate::identity::{is_missing, spell};
use crate::operand::{at, each_element, element_of, resolve_text, text_of, unfit_column_error};
use tillhouse_model::table::PresenceRule;
use tillhouse_model::{Result, word};

/// Compiled [`PresenceRule`].
#[derive(Debug)]
pub(crate) struct CompiledPresence {
    is: Vec<PathStep>,
    /// The values of which one does as well.
    or: Vec<Vec<PathStep>>,
    /// The values of which one has to be there for the rule to hold; empty: it always does.
    with: Vec<Vec<PathStep>>,
    /// The text that has to be one of these words; everything counts without.
    when: Option<(Vec<PathStep>, Vec<String>)>,
    /// Path to the element that is checked; empty where it is the record itself.
    element: Vec<PathStep>,
    /// Words for what counts in its place.
    otherwise: Option<String>,
}

impl CompiledPresence {
    pub(crate) fn new(record: &ObjectPlan, path: &[String], rule: &PresenceRule) -> Result<Self> {
        let single = |path: &[String]| {
            let (hops, field) = resolve(record, path)?;
            match field.kind {
                FieldKind::Object(_) => Err(unfit_column_error(path, "a single value")),
                _ => Ok(hops),
            }
        };
        let all = |paths: &[Vec<String>]| -> Result<Vec<_>> {
            paths.iter().map(|path| single(path)).collect()
        };
        let (is, or, with) = (single(path)?, all(&rule.or)?, all(&rule.with)?);
        let element = match or.is_empty() {
            true => element_of(&is).to_vec(),
            false => Vec::new(),
        };
        let when = match &rule.when {
            Some(when) => Some((resolve_text(record, &when.path)?.0, when.words.clone())),
            None => None,
        };
        if let (Some((hops, _)), Some(when)) = (&when, &rule.when)
            && !element.starts_with(element_of(hops))
        {
            return Err(unfit_column_error(&when.path, "a text of the same element"));
        }
        Ok(Self {
            is,
            or,
            with,
            when,
            element,
            otherwise: rule.otherwise.clone(),
        })
    }

    /// Tells what is missing in a row, element by element: where, and how.
    pub(crate) fn breaches(
        &self,
        record: &ObjectPlan,
        columns: &[ColumnBuilder],
        row: usize,
        tell: &mut dyn FnMut(String, String),
    ) {
        let is_there = |hops: &Vec<PathStep>| is_anywhere(columns, hops, row);
        let does_not_hold = !self.with.is_empty() && !self.with.iter().any(is_there);
        if does_not_hold || self.or.iter().any(is_there) {
            return;
        }
        if !self.or.is_empty() && is_there(&self.is) {
            return;
        }
        each_element(columns, &self.element, row, &mut |positions| {
            if at(columns, &self.is, row, positions)
                .is_some_and(|(column, row)| !is_missing(column, row))
            {
                return;
            }
            let field = spell(record, &self.is, positions);
            let mut words = match self.or.as_slice() {
                [] => format!("{field} is missing"),
                or => {
                    let others: Vec<String> =
                        or.iter().map(|hops| spell(record, hops, &[])).collect();
                    format!("{field} is missing, and so is {}", others.join(", "))
                }
            };
            if let Some((hops, wanted)) = &self.when {
                let said = text_of(columns, hops, row, positions);
                let Some(word) =
                    said.and_then(|said| wanted.iter().find(|word| word::is_same_word(word, said)))
                else {
                    return;
                };
                words.push_str(&format!(
                    ", and {} is {word}",
                    spell(record, hops, positions)
                ));
            }
            if let Some(otherwise) = &self.otherwise {
                words.push_str(&format!(": {otherwise}"));
            }
            tell(field, words);
        });
    }
}

/// True if a value is there in any element that the steps lead to.
fn is_anywhere(columns: &[ColumnBuilder], hops: &[PathStep], row: usize) -> bool {
    let mut found = false;
    each_element(columns, element_of(hops), row, &mut |positions| {
        found = found
            || at(columns, hops, row, positions)
                .is_some_and(|(column, row)| !is_missing(column, row));
    });
    found
}
