//! The rule that a tax is what is in its amount at its rate: an article's tax, amount and rate.
//!
//! Invariant: one element is compared at a time, and only where every value it needs is there, a currency with a smallest coin among them; exactly, as
//! whole numbers. A tax may be rounded by that coin. What was given away, for 0, breaks nothing.

use crate::column::ColumnBuilder;
use crate::common_currency::CurrencyColumns;
use crate::fields::{ObjectPlan, PathStep};
use crate::identity::spell;
use crate::operand::{RuleOperand, each_element, element_of, unfit_column_error};
use crate::record_rules::rate_unit;
use tillhouse_model::money::{VatRateUnit, minor_digits};
use tillhouse_model::table::TaxRule;
use tillhouse_model::{ExactDecimal, Result};

/// Compiled [`TaxRule`].
#[derive(Debug)]
pub(crate) struct CompiledTax {
    is: RuleOperand,
    of: RuleOperand,
    rate: RuleOperand,
    currency: CurrencyColumns,
    /// Unit of the rate; `None` where it may be either.
    unit: Option<VatRateUnit>,
    /// Path to the element that is compared; empty where it is the record itself.
    element: Vec<PathStep>,
}

impl CompiledTax {
    /// `parameters` are what the connection settles, by name.
    pub(crate) fn new(
        record: &ObjectPlan,
        path: &[String],
        rule: &TaxRule,
        parameters: &[(&str, String)],
    ) -> Result<Self> {
        let is = RuleOperand::new(record, path)?;
        let (of, rate) = (
            RuleOperand::new(record, &rule.of)?,
            RuleOperand::new(record, &rule.rate)?,
        );
        let currency = CurrencyColumns::new(record, &rule.currency)?;
        let element = element_of(&is.path).to_vec();
        let is_stray = |term: &RuleOperand| !element.starts_with(element_of(&term.path));
        if is_stray(&of) || is_stray(&rate) || !currency.is_of_element(&element) {
            let expected = "the amount, rate and currency of the same element";
            return Err(unfit_column_error(path, expected));
        }
        let unit = rule.unit.as_ref();
        Ok(Self {
            is,
            of,
            rate,
            currency,
            unit: unit.map(|unit| rate_unit(unit, parameters)).transpose()?,
            element,
        })
    }

    /// Tells what is wrong with a row, element by element: where, and how.
    pub(crate) fn breaches(
        &self,
        record: &ObjectPlan,
        columns: &[ColumnBuilder],
        row: usize,
        tell: &mut dyn FnMut(String, String),
    ) {
        each_element(columns, &self.element, row, &mut |positions| {
            if let Some(words) = self.breach(record, columns, row, positions) {
                tell(spell(record, &self.is.path, positions), words);
            }
        });
    }

    fn breach(
        &self,
        record: &ObjectPlan,
        columns: &[ColumnBuilder],
        row: usize,
        positions: &[usize],
    ) -> Option<String> {
        let value = |term: &RuleOperand| term.value(columns, row, positions);
        let (tax, gross, rate) = (value(&self.is)?, value(&self.of)?, value(&self.rate)?);
        let percent = self.percent(rate)?;
        let currency = self.currency.of_element(columns, row, positions)?;
        let digits = minor_digits(currency)?;
        if gross.units == 0 {
            return None;
        }
        // The tax of a refund may be told without the sign.
        let signed = if gross.units < 0 && tax.units > 0 {
            ExactDecimal::new(tax.units.checked_neg()?, tax.scale)
        } else {
            tax
        };
        // The tax is gross x rate / (100 + rate); both sides are multiplied by the divisor, so that nothing is rounded.
        let divisor = percent.plus(ExactDecimal::new(100, 0))?;
        let share = product(gross, percent)?;
        let off = product(signed, divisor)?.minus(share)?;
        let off = ExactDecimal::new(off.units.checked_abs()?, off.scale);
        let coin = ExactDecimal::new(1, digits);
        if off.compare(product(coin, divisor)?).is_le() {
            return None;
        }
        // Both have the digits of the rate, so that those of the amount remain; two more for the rounding.
        let units = share.units.checked_mul(100)? / divisor.units;
        let expected = ExactDecimal::new(units, gross.scale.checked_add(2)?).rescaled(digits)?;
        let spelled = |term: &RuleOperand| spell(record, &term.path, positions);
        Some(format!(
            "{} is {}, expected {} in {} {} at {} {}",
            spelled(&self.is),
            tax.trimmed(),
            expected.trimmed(),
            spelled(&self.of),
            gross.trimmed(),
            spelled(&self.rate),
            rate.trimmed()
        ))
    }

    /// The rate in per cent; `None` for one that is below zero or above a hundred.
    fn percent(&self, rate: ExactDecimal) -> Option<ExactDecimal> {
        let is_fraction = match self.unit {
            Some(unit) => unit == VatRateUnit::Fraction,
            None => rate.compare(ExactDecimal::new(1, 0)).is_le(),
        };
        let percent = if is_fraction {
            ExactDecimal::new(rate.units.checked_mul(100)?, rate.scale)
        } else {
            rate
        };
        let is_rate = percent.units >= 0 && percent.compare(ExactDecimal::new(100, 0)).is_le();
        is_rate.then_some(percent)
    }
}

fn product(a: ExactDecimal, b: ExactDecimal) -> Option<ExactDecimal> {
    Some(ExactDecimal::new(
        a.units.checked_mul(b.units)?,
        a.scale.checked_add(b.scale)?,
    ))
}
