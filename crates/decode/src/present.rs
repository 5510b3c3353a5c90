//! The rule that a number is there: the amount of a purchase, of a payment that was collected.
//!
//! Invariant: one element is looked at at a time. A list without elements misses nothing, and what is `null` in the place of an element is none.

use crate::column::Column;
use crate::identity::spell_in;
use crate::plan::{Hop, Object};
use crate::term::{Term, each_element, element_of, open_text, text_of, unfit};
use tillhouse_model::table::Present;
use tillhouse_model::{Result, word};

/// [`Present`], compiled.
#[derive(Debug)]
pub(crate) struct Presence {
    is: Term,
    /// The text that has to be one of these words; everything counts without.
    when: Option<(Vec<Hop>, Vec<String>)>,
    /// To the element that is looked at; empty where it is the record itself.
    element: Vec<Hop>,
}

impl Presence {
    pub(crate) fn new(record: &Object, path: &[String], rule: &Present) -> Result<Self> {
        let is = Term::new(record, path)?;
        let element = element_of(&is.hops).to_vec();
        let when = match &rule.when {
            Some(when) => Some((open_text(record, &when.path)?.0, when.words.clone())),
            None => None,
        };
        if let (Some((hops, _)), Some(when)) = (&when, &rule.when)
            && !element.starts_with(element_of(hops))
        {
            return Err(unfit(&when.path, "a text of the same element"));
        }
        Ok(Self { is, when, element })
    }

    /// Tells what is missing in a row, element by element: where, and how.
    pub(crate) fn breaches(
        &self,
        record: &Object,
        columns: &[Column],
        row: usize,
        tell: &mut dyn FnMut(String, String),
    ) {
        each_element(columns, &self.element, row, &mut |positions| {
            if self.is.value(columns, row, positions).is_some() {
                return;
            }
            let field = spell_in(record, &self.is.hops, positions);
            match &self.when {
                None => tell(field.clone(), format!("{field} is missing")),
                Some((hops, words)) => {
                    let said = text_of(columns, hops, row, positions);
                    if let Some(word) = said.and_then(|said| words.iter().find(|word| word::is(word, said))) {
                        let where_said = spell_in(record, hops, positions);
                        tell(field.clone(), format!("{field} is missing, and {where_said} is {word}"));
                    }
                }
            }
        });
    }
}
