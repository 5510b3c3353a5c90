//! The rule that a value is there: the amount of a payment that was collected, the time zone of a site.
//!
//! Invariant: one element is looked at at a time. A list without elements misses nothing, and what is `null` in the place of an element is none. A
//! blank text says nothing, and is missing too.

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
    /// The text that has to be one of these words; everything counts without.
    when: Option<(Vec<PathStep>, Vec<String>)>,
    /// Path to the element that is checked; empty where it is the record itself.
    element: Vec<PathStep>,
    /// Words for what counts in its place.
    otherwise: Option<String>,
}

impl CompiledPresence {
    pub(crate) fn new(record: &ObjectPlan, path: &[String], rule: &PresenceRule) -> Result<Self> {
        let (is, field) = resolve(record, path)?;
        if matches!(field.kind, FieldKind::Object(_)) {
            return Err(unfit_column_error(path, "a single value"));
        }
        let element = element_of(&is).to_vec();
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
        each_element(columns, &self.element, row, &mut |positions| {
            if at(columns, &self.is, row, positions)
                .is_some_and(|(column, row)| !is_missing(column, row))
            {
                return;
            }
            let field = spell(record, &self.is, positions);
            let mut words = format!("{field} is missing");
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
