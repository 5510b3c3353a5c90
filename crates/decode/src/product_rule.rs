//! The rule that a number is the product of others: quantity and unit price, and what they come to.
//!
//! Invariant: one element is compared at a time, and only where every number it needs is there; exactly, as whole numbers of one scale. A product may
//! be rounded by the smallest coin of its currency. What was given away, for 0, breaks nothing.

use crate::column::ColumnBuilder;
use crate::common_currency::CurrencyColumns;
use crate::fields::{ObjectPlan, PathStep};
use crate::identity::{spell, visit};
use crate::operand::{RuleOperand, element_of};
use tillhouse_model::table::ProductRule;
use tillhouse_model::{Error, ExactDecimal, Result};

/// Compiled [`ProductRule`].
#[derive(Debug)]
pub(crate) struct CompiledProduct {
    of: Vec<RuleOperand>,
    /// Compared columns, each with whether it may be less.
    is: Vec<(RuleOperand, bool)>,
    currency: CurrencyColumns,
    /// Path to the element that is compared; empty where it is the record itself.
    element: Vec<PathStep>,
}

/// Product that differs from the column it should equal.
#[derive(Debug)]
pub(crate) struct ProductMismatch {
    /// The path to what was compared,
    pub(crate) field: String,
    /// and how.
    pub(crate) words: String,
}

impl CompiledProduct {
    pub(crate) fn new(record: &ObjectPlan, rule: &ProductRule) -> Result<Self> {
        let (of, is) = (
            RuleOperand::all(record, &rule.of)?,
            RuleOperand::all(record, &rule.is)?,
        );
        let is: Vec<(RuleOperand, bool)> = is
            .into_iter()
            .zip(&rule.is)
            .map(|(term, path)| (term, rule.or_less.contains(path)))
            .collect();
        let element = is
            .first()
            .map(|(is, _)| element_of(&is.path).to_vec())
            .unwrap_or_default();
        let currency = CurrencyColumns::new(record, &rule.currency)?;
        let is_stray = |term: &RuleOperand| !element.starts_with(element_of(&term.path));
        if is.is_empty()
            || of.iter().chain(is.iter().map(|(is, _)| is)).any(is_stray)
            || !currency.is_of_element(&element)
        {
            return Err(Error::config(
                "the quality rule multiplies numbers of different elements",
            ));
        }
        Ok(Self {
            of,
            is,
            currency,
            element,
        })
    }

    /// Violations of a row, element by element.
    pub(crate) fn breaches(
        &self,
        record: &ObjectPlan,
        columns: &[ColumnBuilder],
        row: usize,
    ) -> Vec<ProductMismatch> {
        if self.element.is_empty() {
            return self.breach(record, columns, row, &[]).into_iter().collect();
        }
        let mut found = Vec::new();
        visit(
            columns,
            &self.element,
            row,
            &mut Vec::new(),
            &mut |_, _, positions| {
                found.extend(self.breach(record, columns, row, positions));
            },
        );
        found
    }

    fn breach(
        &self,
        record: &ObjectPlan,
        columns: &[ColumnBuilder],
        row: usize,
        positions: &[usize],
    ) -> Option<ProductMismatch> {
        let mut has_sign = false;
        let product = self
            .of
            .iter()
            .try_fold(ExactDecimal::new(1, 0), |product, factor| {
                let factor = factor.value(columns, row, positions)?;
                has_sign |= factor.units < 0;
                Some(ExactDecimal::new(
                    product.units.checked_mul(factor.units)?,
                    product.scale.checked_add(factor.scale)?,
                ))
            })?;
        let (term, is, may_be_less) = self.is.iter().find_map(|(is, may_be_less)| {
            Some((is, is.value(columns, row, positions)?, *may_be_less))
        })?;
        let size = |number: ExactDecimal| {
            Some(ExactDecimal::new(number.units.checked_abs()?, number.scale))
        };
        // An amount that may be less may be anything from nothing to the product.
        let is_less = may_be_less
            && is.units.signum() == product.units.signum()
            && size(is)?.compare(size(product)?).is_lt();
        if is.units == 0 || is_less {
            return None;
        }
        // A refund may be told by its amount alone: quantity and price say how much, and not which way. Where
        // one of them has a sign, they say that too.
        let is_refund = is.units < 0 && product.units > 0 && !has_sign;
        let product = if is_refund {
            ExactDecimal::new(product.units.checked_neg()?, product.scale)
        } else {
            product
        };
        let off = size(product.minus(is)?)?;
        // Asked only here, since nearly all are exact.
        let named = || self.currency.of_element(columns, row, positions);
        let is_off = off.units != 0 && off.compare(self.currency.tolerance(named())).is_gt();
        is_off.then(|| {
            let spelled = |term: &RuleOperand| spell(record, &term.path, positions);
            let factors = self.of.iter().filter_map(|factor| {
                Some(format!(
                    "{} {}",
                    spelled(factor),
                    factor.value(columns, row, positions)?.trimmed()
                ))
            });
            let factors = factors.collect::<Vec<_>>().join(" x ");
            let field = spelled(term);
            let words = format!(
                "{field} is {}, expected {} = {factors}",
                is.trimmed(),
                product.trimmed()
            );
            ProductMismatch { field, words }
        })
    }
}
