//! The fields of filters for whoever helps to write one: which operators each takes, what its values look like, and where those that there are stand.
//!
//! Invariant: what is said here of a field is read from the table that filters are checked by, so that a form offers what passes. Values are looked up where that is cheap, in tables of dimensions and in
//! roll-ups by year, and never among the sales.

use super::fields::{FieldTable, FilterField, FilterFieldType, seen};
use tillhouse_model::FilterOperator;

/// View of the roll-ups in which values of transactions are looked up: of ten years some thousand rows.
const YEARS: &str = "yearly_transactions";
/// Columns of that view that a field may be.
const IN_YEARS: [&str; 7] = [
    "pipeline",
    "source",
    "tenant_id",
    "perspective",
    "kind",
    "state",
    "currency",
];

/// Form of the values that a field is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldForm {
    /// Texts.
    Text,
    /// Texts that may be numbers, by which they are compared where one is given.
    TextOrNumber,
    /// Personal values, which are compared as a whole.
    Pseudonym,
    /// Numbers.
    Number,
    /// Instants, or dates for their first instant.
    Instant,
    /// Dates.
    Date,
}

/// A field that a filter may name.
///
/// ```
/// use tillhouse_model::FilterOperator;
/// use tillhouse_statistics::{FieldForm, offered_fields};
/// let amount = offered_fields(false).find(|field| field.name() == "amount").unwrap();
/// assert_eq!(amount.form(), FieldForm::Number);
/// assert!(amount.takes(FilterOperator::Gte) && !amount.takes(FilterOperator::Contains));
/// ```
#[derive(Debug, Clone, Copy)]
pub struct OfferedField(&'static FilterField);

/// The fields that a filter may name, the personal ones only for a reader who sees these.
pub fn offered_fields(sees_personal: bool) -> impl Iterator<Item = OfferedField> {
    seen(sees_personal).map(OfferedField)
}

impl OfferedField {
    /// Name of the field, as a descriptor has it.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// Form of its values.
    pub fn form(self) -> FieldForm {
        match self.0.kind {
            FilterFieldType::Text | FilterFieldType::ProvidersId => FieldForm::Text,
            FilterFieldType::TextOrNumber => FieldForm::TextOrNumber,
            FilterFieldType::Pseudonym(_) => FieldForm::Pseudonym,
            FilterFieldType::Decimal { .. } | FilterFieldType::Whole => FieldForm::Number,
            FilterFieldType::Instant => FieldForm::Instant,
            FilterFieldType::Date => FieldForm::Date,
        }
    }

    /// True for HecOne's name of a column of transactions that has a name of its own.
    pub fn is_another_name(self) -> bool {
        let is_own = matches!(
            self.0.table,
            FieldTable::Transaction | FieldTable::EveryFact
        );
        is_own && self.0.name != self.0.column
    }

    /// True if it can be asked for by an operator.
    pub fn takes(self, operator: FilterOperator) -> bool {
        self.0.takes(operator)
    }

    /// Table, with its schema, and column in which its values can be looked up cheaply; none where there is no such table.
    pub fn values(self) -> Option<[&'static str; 3]> {
        let table = match self.0.table {
            FieldTable::Site => "sites",
            FieldTable::Device => "devices",
            FieldTable::Point => "points",
            FieldTable::Tenant => "tenants",
            FieldTable::Transaction | FieldTable::EveryFact => {
                let is_there = IN_YEARS.contains(&self.0.column);
                return is_there.then_some(["statistics", YEARS, self.0.column]);
            }
        };
        Some(["unified", table, self.0.column])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CheckedFilter;
    use crate::rollup::{TRANSACTIONS, level_views};
    use tillhouse_model::{Filter, PseudonymKey, Secret};

    #[test]
    fn a_field_takes_the_operators_that_its_check_lets_pass() {
        let key = PseudonymKey::parse(&Secret::new("ab".repeat(32))).unwrap();
        for field in offered_fields(true) {
            for operator in FilterOperator::ALL {
                let value = match field.form() {
                    FieldForm::Number => "1",
                    FieldForm::Instant | FieldForm::Date => "\"2026-01-31\"",
                    _ => "\"x\"",
                };
                let name = field.name();
                let text = format!(
                    "{{\"field\":\"{name}\",\"operator\":\"{operator}\",\"value\":{value}}}"
                );
                let filter = Filter::parse(&text).unwrap();
                let passes = CheckedFilter::new(&filter, "UTC", Some(&key)).is_ok();
                assert_eq!(field.takes(*operator), passes, "{text}");
            }
        }
    }

    #[test]
    fn values_are_looked_up_in_columns_that_there_are() {
        assert!(level_views().iter().any(|view| view.name == YEARS));
        let rolled = TRANSACTIONS.schema();
        let mut looked_up = 0;
        for field in offered_fields(false) {
            if let Some(["statistics", _, column]) = field.values() {
                assert!(rolled.field_with_name(column).is_ok(), "{column}");
                looked_up += 1;
            }
        }
        // HecOne's mandator_id is tenant_id under another name.
        assert_eq!(looked_up, IN_YEARS.len() + 1);
        let mut personal =
            offered_fields(true).filter(|field| field.form() == FieldForm::Pseudonym);
        assert!(personal.all(|field| field.values().is_none()));
    }
}
