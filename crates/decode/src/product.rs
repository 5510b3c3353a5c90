//! The rule that a number is the product of others: quantity and unit price, and what they come to.
//!
//! Invariant: one element is compared at a time, and only where every number it needs is there; exactly, as whole numbers of one scale. What was
//! given away, for 0, breaks nothing.

use crate::column::Column;
use crate::identity::{spell_in, visit};
use crate::plan::{Hop, Object};
use crate::term::{Term, element_of};
use tillhouse_model::table::Product;
use tillhouse_model::{Error, Exact, Result};

/// [`Product`], compiled.
#[derive(Debug)]
pub(crate) struct ProductRule {
    of: Vec<Term>,
    /// What is compared, and whether it may be less.
    is: Vec<(Term, bool)>,
    within: Exact,
    /// To the element that is compared; empty where it is the record itself.
    element: Vec<Hop>,
}

/// A product that is another one.
#[derive(Debug)]
pub(crate) struct Miscalculated {
    /// The path to what was compared,
    pub(crate) field: String,
    /// and how.
    pub(crate) words: String,
}

impl ProductRule {
    pub(crate) fn new(record: &Object, rule: &Product) -> Result<Self> {
        let (of, is) = (Term::all(record, &rule.of)?, Term::all(record, &rule.is)?);
        let is: Vec<(Term, bool)> =
            is.into_iter().zip(&rule.is).map(|(term, path)| (term, rule.or_less.contains(path))).collect();
        let element = is.first().map(|(is, _)| element_of(&is.hops).to_vec()).unwrap_or_default();
        let is_stray = |term: &Term| !element.starts_with(element_of(&term.hops));
        if is.is_empty() || of.iter().chain(is.iter().map(|(is, _)| is)).any(is_stray) {
            return Err(Error::config("the quality rule multiplies numbers of different elements"));
        }
        Ok(Self { of, is, within: rule.within, element })
    }

    /// What is wrong with a row, element by element.
    pub(crate) fn breaches(&self, record: &Object, columns: &[Column], row: usize) -> Vec<Miscalculated> {
        if self.element.is_empty() {
            return self.breach(record, columns, row, &[]).into_iter().collect();
        }
        let mut found = Vec::new();
        visit(columns, &self.element, row, &mut Vec::new(), &mut |_, _, positions| {
            found.extend(self.breach(record, columns, row, positions));
        });
        found
    }

    fn breach(&self, record: &Object, columns: &[Column], row: usize, positions: &[usize]) -> Option<Miscalculated> {
        let product = self.of.iter().try_fold(Exact::new(1, 0), |product, factor| {
            let factor = factor.value(columns, row, positions)?;
            Some(Exact::new(product.units.checked_mul(factor.units)?, product.scale.checked_add(factor.scale)?))
        })?;
        let (term, is, may_be_less) = self
            .is
            .iter()
            .find_map(|(is, may_be_less)| Some((is, is.value(columns, row, positions)?, *may_be_less)))?;
        let size = |number: Exact| Some(Exact::new(number.units.checked_abs()?, number.scale));
        // What may be less may be anything from nothing to the product.
        let is_less =
            may_be_less && is.units.signum() == product.units.signum() && size(is)?.compare(size(product)?).is_lt();
        if is.units == 0 || is_less {
            return None;
        }
        // A refund may be told by its amount alone: quantity and price say how much, and not which way.
        let is_refund = is.units < 0 && product.units > 0;
        let product = if is_refund { Exact::new(product.units.checked_neg()?, product.scale) } else { product };
        let off = size(product.minus(is)?)?;
        (off.compare(self.within).is_gt()).then(|| {
            let spelled = |term: &Term| spell_in(record, &term.hops, positions);
            let factors = self.of.iter().filter_map(|factor| {
                Some(format!("{} {}", spelled(factor), factor.value(columns, row, positions)?.trimmed()))
            });
            let factors = factors.collect::<Vec<_>>().join(" x ");
            let field = spelled(term);
            let words = format!("{field} is {}, expected {} = {factors}", is.trimmed(), product.trimmed());
            Miscalculated { field, words }
        })
    }
}
