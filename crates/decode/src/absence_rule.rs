//! The rule that a text is not there beside amounts: what went wrong with a sale that has a price all the same.
//!
//! Invariant: an amount of 0 is none. The record is taken as it came; what its text says is told as far as it may be quoted.

use crate::column::{ColumnBuilder, ColumnValues};
use crate::fields::{ObjectPlan, PathStep, resolve};
use crate::identity::{is_missing, spell};
use crate::operand::{RuleOperand, at, each_element, element_of, resolve_text};
use crate::warnings::{MAX_ORIGINAL, excerpt};
use tillhouse_model::Result;
use tillhouse_model::table::AbsenceRule;

/// Compiled [`AbsenceRule`].
#[derive(Debug)]
pub(crate) struct CompiledAbsence {
    is: Vec<PathStep>,
    /// True if the text may stand in a warning as it came.
    is_quotable: bool,
    beside: Vec<RuleOperand>,
    /// Words for what becomes of the record.
    otherwise: Option<String>,
}

impl CompiledAbsence {
    pub(crate) fn new(record: &ObjectPlan, path: &[String], rule: &AbsenceRule) -> Result<Self> {
        let (is, _) = resolve_text(record, path)?;
        Ok(Self {
            is,
            is_quotable: resolve(record, path)?.1.is_quotable,
            beside: RuleOperand::all(record, &rule.beside)?,
            otherwise: rule.otherwise.clone(),
        })
    }

    /// Tells each text of a row that is there beside an amount: where, and what it and the amount are.
    pub(crate) fn breaches(
        &self,
        record: &ObjectPlan,
        columns: &[ColumnBuilder],
        row: usize,
        tell: &mut dyn FnMut(String, String),
    ) {
        each_element(columns, element_of(&self.is), row, &mut |positions| {
            let text = at(columns, &self.is, row, positions)
                .filter(|(column, row)| !is_missing(column, *row))
                .and_then(|(column, row)| match &column.values {
                    ColumnValues::Text(texts) => Some(texts.get(row)),
                    _ => None,
                });
            // Most records have none, and no amount is looked for.
            let Some(text) = text else { return };
            let Some((name, amount)) = self.amount(record, columns, row) else {
                return;
            };
            let field = spell(record, &self.is, positions);
            let said = match self.is_quotable {
                true => format!("is {}", excerpt(text, MAX_ORIGINAL)),
                false => "is there".to_owned(),
            };
            let mut words = format!("{field} {said}, and {name} is {amount}");
            if let Some(otherwise) = &self.otherwise {
                words.push_str(&format!(": {otherwise}"));
            }
            tell(field, words);
        });
    }

    /// The first amount that is not 0, and its path.
    fn amount(
        &self,
        record: &ObjectPlan,
        columns: &[ColumnBuilder],
        row: usize,
    ) -> Option<(String, String)> {
        self.beside.iter().find_map(|operand| {
            let mut found = None;
            each_element(columns, element_of(&operand.path), row, &mut |positions| {
                let amount = operand
                    .value(columns, row, positions)
                    .filter(|amount| found.is_none() && amount.units != 0);
                if let Some(amount) = amount {
                    let path = spell(record, &operand.path, positions);
                    found = Some((path, amount.trimmed().to_string()));
                }
            });
            found
        })
    }
}
