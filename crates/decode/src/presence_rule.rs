//! The rule that a number is there: the amount of a purchase, of a payment that was collected.
//!
//! Invariant: one element is looked at at a time. A list without elements misses nothing, and what is `null` in the place of an element is none.

use crate::column::ColumnBuilder;
use crate::fields::{ObjectPlan, PathStep};
use crate::identity::spell;
use crate::operand::{
    RuleOperand, each_element, element_of, resolve_text, text_of, unfit_column_error,
};
use tillhouse_model::table::PresenceRule;
use tillhouse_model::{Result, word};

/// Compiled [`PresenceRule`].
#[derive(Debug)]
pub(crate) struct CompiledPresence {
    is: RuleOperand,
    /// The text that has to be one of these words; everything counts without.
    when: Option<(Vec<PathStep>, Vec<String>)>,
    /// Path to the element that is checked; empty where it is the record itself.
    element: Vec<PathStep>,
}

impl CompiledPresence {
    pub(crate) fn new(record: &ObjectPlan, path: &[String], rule: &PresenceRule) -> Result<Self> {
        let is = RuleOperand::new(record, path)?;
        let element = element_of(&is.path).to_vec();
        let when = match &rule.when {
            Some(when) => Some((resolve_text(record, &when.path)?.0, when.words.clone())),
            None => None,
        };
        if let (Some((hops, _)), Some(when)) = (&when, &rule.when)
            && !element.starts_with(element_of(hops))
        {
            return Err(unfit_column_error(&when.path, "a text of the same element"));
        }
        Ok(Self { is, when, element })
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
            if self.is.value(columns, row, positions).is_some() {
                return;
            }
            let field = spell(record, &self.is.path, positions);
            match &self.when {
                None => tell(field.clone(), format!("{field} is missing")),
                Some((hops, words)) => {
                    let said = text_of(columns, hops, row, positions);
                    if let Some(word) = said
                        .and_then(|said| words.iter().find(|word| word::is_same_word(word, said)))
                    {
                        let where_said = spell(record, hops, positions);
                        tell(
                            field.clone(),
                            format!("{field} is missing, and {where_said} is {word}"),
                        );
                    }
                }
            }
        });
    }
}
