//! The rule that a transaction's state is the one that follows from its articles and payments.
//!
//! Invariant: where the rule table has no answer, or the source names no state, nothing is wrong.

use crate::column::{Column, Values};
use crate::identity::visit;
use crate::plan::{Hop, Keep, Object, What, resolve};
use crate::product::{at, element_of};
use tillhouse_model::table::StateRule;
use tillhouse_model::{Error, Exact, Result, derived_state};

/// Payments in this state are collected.
const COLLECTED: &str = "collected";

/// [`StateRule`], compiled.
#[derive(Debug)]
pub(crate) struct StateRules {
    is: Vec<Hop>,
    articles: Vec<Hop>,
    payments: Vec<Hop>,
    /// The amounts of the payments, and their scale.
    collected: (Vec<Hop>, u8),
    owed: (Vec<Hop>, u8),
}

impl StateRules {
    pub(crate) fn new(record: &Object, path: &[String], rule: &StateRule) -> Result<Self> {
        let unfit = |path: &[String], expected| {
            Error::config(format!("the quality rule needs {expected}")).at("column", path.join("."))
        };
        let text = |path: &[String]| {
            let (hops, field) = resolve(record, path)?;
            if matches!(field.what, What::Text(Keep::All)) { Ok(hops) } else { Err(unfit(path, "an open text")) }
        };
        let number = |path: &[String]| {
            let (hops, field) = resolve(record, path)?;
            let scale = match field.what {
                What::Int => Some(0),
                What::Decimal { scale, .. } => u8::try_from(scale).ok(),
                _ => None,
            };
            Ok((hops, scale.ok_or_else(|| unfit(path, "a number that can be compared"))?))
        };
        let (payments, collected) = (text(&rule.payments)?, number(&rule.collected)?);
        if element_of(&payments) != element_of(&collected.0) {
            return Err(unfit(&rule.collected, "the amounts of the payments"));
        }
        Ok(Self { is: text(path)?, articles: text(&rule.articles)?, payments, collected, owed: number(&rule.owed)? })
    }

    /// What is wrong with a row; `None` where nothing is.
    pub(crate) fn breach(&self, columns: &[Column], row: usize) -> Option<String> {
        let mut said = None;
        each_text(columns, &self.is, row, |text, _| said = Some(text));
        let (said, mut articles, mut payments) = (said?, Vec::new(), Vec::new());
        each_text(columns, &self.articles, row, |state, _| articles.push(state));
        let mut collected: Option<Option<i128>> = None;
        each_text(columns, &self.payments, row, |state, positions| {
            payments.push(state);
            if state == COLLECTED
                && let Some(amount) = number(columns, &self.collected.0, row, positions)
            {
                collected = Some(collected.map_or(Some(amount), |sum| sum?.checked_add(amount)));
            }
        });
        let compared = collected.flatten().zip(number(columns, &self.owed.0, row, &[]));
        let compared = compared
            .map(|(collected, owed)| Exact::new(collected, self.collected.1).compare(Exact::new(owed, self.owed.1)));
        let derived = derived_state(articles.into_iter(), payments.into_iter(), compared)?;
        (!said.trim().eq_ignore_ascii_case(derived))
            .then(|| format!("{said}, where its articles and payments say {derived}"))
    }
}

fn number(columns: &[Column], hops: &[Hop], row: usize, positions: &[usize]) -> Option<i128> {
    let (column, row) = at(columns, hops, row, positions)?;
    match &column.values {
        Values::Decimal(values) => values.get(row).copied(),
        Values::Int(values) => values.get(row).map(|whole| i128::from(*whole)),
        _ => None,
    }
}

/// The texts a path leads to, with the positions of their elements.
fn each_text<'c>(columns: &'c [Column], hops: &[Hop], row: usize, mut each: impl FnMut(&'c str, &[usize])) {
    visit(columns, hops, row, &mut Vec::new(), &mut |column, row, positions| {
        if let Values::Text(texts) = &column.values
            && let Ok(text) = std::str::from_utf8(texts.get(row))
        {
            each(text, positions);
        }
    });
}
