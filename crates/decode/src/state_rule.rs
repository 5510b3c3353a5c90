//! The rule that a transaction's state is the one that follows from its articles and payments.
//!
//! Invariant: where the rule table has no answer, or the source names no state, nothing is wrong. States are compared as words, whatever their
//! spelling. Amounts of several currencies are not added up, nor compared: what they come to is nobody's to say.

use crate::column::{ColumnBuilder, ColumnValues};
use crate::common_currency::{CommonCurrency, CurrencyColumns};
use crate::fields::{ObjectPlan, PathStep};
use crate::identity::visit;
use crate::operand::{RuleOperand, element_of, resolve_text, unfit_column_error};
use tillhouse_model::table::StateRule;
use tillhouse_model::{Error, ExactDecimal, Result, derived_state, word};

/// Payments in this state are collected.
const COLLECTED: &str = "collected";

/// Compiled [`StateRule`].
#[derive(Debug)]
pub(crate) struct CompiledState {
    is: TextPath,
    articles: TextPath,
    payments: TextPath,
    /// The amounts of the payments.
    collected: RuleOperand,
    owed: RuleOperand,
    currencies: Option<StateCurrencyColumns>,
}

/// Currencies of what was collected, payment by payment, and of what is owed.
#[derive(Debug)]
struct StateCurrencyColumns {
    collected: CurrencyColumns,
    owed: CurrencyColumns,
}

/// Path to texts, and its name.
type TextPath = (Vec<PathStep>, String);

impl CompiledState {
    pub(crate) fn new(record: &ObjectPlan, path: &[String], rule: &StateRule) -> Result<Self> {
        let (payments, collected) = (
            resolve_text(record, &rule.payments)?,
            RuleOperand::new(record, &rule.collected)?,
        );
        if element_of(&payments.0) != element_of(&collected.path) {
            return Err(unfit_column_error(
                &rule.collected,
                "the amounts of the payments",
            ));
        }
        let articles = resolve_text(record, &rule.articles)?;
        let currencies = rule.currencies.as_ref().map(|currencies| {
            Ok::<_, Error>(StateCurrencyColumns {
                collected: CurrencyColumns::new(
                    record,
                    std::slice::from_ref(&currencies.collected),
                )?,
                owed: CurrencyColumns::new(record, &currencies.owed)?,
            })
        });
        Ok(Self {
            is: resolve_text(record, path)?,
            articles,
            payments,
            collected,
            owed: RuleOperand::new(record, &rule.owed)?,
            currencies: currencies.transpose()?,
        })
    }

    /// Violation of a row; `None` where there is none.
    pub(crate) fn breach(&self, columns: &[ColumnBuilder], row: usize) -> Option<String> {
        let mut said = None;
        each_text(columns, &self.is.0, row, |text, _| said = Some(text));
        let (said, mut articles, mut payments) = (said?, Vec::new(), Vec::new());
        each_text(columns, &self.articles.0, row, |state, _| {
            articles.push(state)
        });
        let currencies = self.currencies.as_ref();
        let owed_in = currencies.and_then(|named| named.owed.of_record(columns, row));
        let mut common = CommonCurrency::of(owed_in.map(|named| named.text));
        let mut collected: Option<Option<i128>> = None;
        each_text(columns, &self.payments.0, row, |state, positions| {
            payments.push(state);
            if word::is_same_word(state, COLLECTED)
                && let Some(amount) = self.collected.value(columns, row, positions)
            {
                common.add(
                    currencies
                        .and_then(|named| named.collected.of_element(columns, row, positions)),
                );
                collected = Some(
                    collected.map_or(Some(amount.units), |sum| sum?.checked_add(amount.units)),
                );
            }
        });
        let collected = collected
            .flatten()
            .filter(|_| !common.is_mixed)
            .map(|units| ExactDecimal::new(units, self.collected.scale));
        let both = collected.zip(self.owed.value(columns, row, &[]));
        let compared = both.map(|(collected, owed)| collected.compare(owed));
        let derived = derived_state(articles.iter().copied(), payments.iter().copied(), compared)?;
        if word::is_same_word(said, derived) {
            return None;
        }
        let mut words = format!("{} is {said}, expected {derived}", self.is.1);
        for ((_, name), states) in [(&self.articles, &articles), (&self.payments, &payments)] {
            if !states.is_empty() {
                words.push_str(&format!("; {name} {}", states.join(", ")));
            }
        }
        if let Some((collected, owed)) = both {
            let (of, is) = (&self.collected.name, &self.owed.name);
            words.push_str(&format!(
                "; {of} collected {} for {is} {}",
                collected.trimmed(),
                owed.trimmed()
            ));
        }
        Some(words)
    }
}

/// The texts a path leads to, with the positions of their elements.
fn each_text<'c>(
    columns: &'c [ColumnBuilder],
    hops: &[PathStep],
    row: usize,
    mut each: impl FnMut(&'c str, &[usize]),
) {
    visit(
        columns,
        hops,
        row,
        &mut Vec::new(),
        &mut |column, row, positions| {
            if let ColumnValues::Text(texts) = &column.values
                && let Ok(text) = std::str::from_utf8(texts.get(row))
            {
                each(text, positions);
            }
        },
    );
}
