//! Filters: which transactions a question is about, beyond window, tenant and source.
//!
//! Invariant: a [`CheckedFilter`] names fields that exist with operands of their types, and holds no personal value: what is compared with
//! a pseudonymised column is a pseudonym already. It becomes DataFusion expressions, never SQL text.
//!
//! ```text
//!   model::Filter ─check (fields, types, key)─> Selection ─expression─> Expr over the facts joined with the dimensions it names
//!                                                   └─ asks what only transactions have? then the keys of those that pass
//!                                                      are kept, and articles and payments are asked by key
//! ```
//!
//! Rejected: a semi-join of articles and of payments with the filtered transactions, which scans transactions three times a request.

mod check;
mod expression;
mod fields;
mod keys;
mod number;
mod offered;
mod select;

pub(crate) use keys::TransactionKeys;
pub(crate) use number::function as number_in_text;
pub use offered::{FieldForm, OfferedField, offered_fields};
pub(crate) use select::{FilteredFact, select};

use check::FilterNode;
use fields::FilterField;
use std::collections::BTreeSet;
use tillhouse_model::{Filter, PseudonymKey, Result};
use tillhouse_query::Scope;

/// A filter that has been checked against the fields there are.
///
/// ```
/// use tillhouse_model::Filter;
/// use tillhouse_statistics::CheckedFilter;
///
/// let over_fifty = Filter::parse(r#"{"field": "amount", "operator": "gte", "value": 50}"#)?;
/// assert!(CheckedFilter::new(&over_fifty, "Europe/Berlin", None).is_ok());
/// let unknown = Filter::parse(r#"{"field": "mood", "operator": "eq", "value": "fine"}"#)?;
/// assert!(CheckedFilter::new(&unknown, "Europe/Berlin", None).is_err());
/// # Ok::<(), tillhouse_model::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedFilter {
    descriptor: Filter,
    root: FilterNode,
}

impl CheckedFilter {
    /// Checks a filter. Dates and times without an offset are those of `timezone`; `key` is the project's, for operands that are
    /// compared with pseudonyms.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] for a field, an operator or a value that does not fit, listing what
    /// does. The message holds no value that is personal.
    pub fn new(filter: &Filter, timezone: &str, key: Option<&PseudonymKey>) -> Result<Self> {
        Self::within(&Scope::everything(), filter, timezone, key)
    }

    /// As [`CheckedFilter::new`], for a reader of a part of a run: without personal columns their fields are unknown, and the errors name
    /// none of them.
    pub fn within(
        scope: &Scope,
        filter: &Filter,
        timezone: &str,
        key: Option<&PseudonymKey>,
    ) -> Result<Self> {
        let zone = crate::clock::zone(timezone)?;
        let (descriptor, root) = check::check(filter, zone, key, scope.personal)?;
        Ok(Self { descriptor, root })
    }

    /// The filter as it was asked, with pseudonyms for what is personal in it.
    pub fn descriptor(&self) -> &Filter {
        &self.descriptor
    }

    /// Conjunction of both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self {
            descriptor: Filter::All(vec![self.descriptor.clone(), other.descriptor.clone()]),
            root: FilterNode::All(vec![self.root.clone(), other.root.clone()]),
        }
    }

    /// True if articles and payments can answer it by their own columns.
    pub(crate) fn is_on_every_fact(&self) -> bool {
        self.root
            .fields()
            .iter()
            .all(|field| field.is_on_every_fact())
    }

    /// The columns of a fact by which it is told: the named ones, and the keys of dimensions.
    pub(crate) fn fact_columns(&self) -> BTreeSet<&'static str> {
        let fields = self.root.fields().into_iter();
        fields.map(FilterField::fact_column).collect()
    }
}
