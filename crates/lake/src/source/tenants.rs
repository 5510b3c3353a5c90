//! The tenant of a record that does not name its own: the one it was listed for.
//!
//! Invariant: a record that is listed for several tenants belongs to the first of them in the order in which they are configured, whoever
//! is read first; that it is listed for another one changes nothing. One that it was found under and that lists it no more gives it up.

use crate::source::package::{NewestRecord, PackagePage};
use arrow::array::{Array, AsArray};
use std::cmp::Ordering;
use tillhouse_model::table::ColumnSpec;

/// The tenants that are read, in the order in which they are configured.
pub(crate) struct TenantOrder<'a> {
    column: Option<&'a str>,
    order: &'a [Option<String>],
}

impl<'a> TenantOrder<'a> {
    /// `None`: the table's records name their tenant themselves, or have none.
    pub(crate) fn new(column: Option<&'a ColumnSpec>, order: &'a [Option<String>]) -> Self {
        Self {
            column: column.map(|column| column.name.as_str()),
            order,
        }
    }

    /// The column that names the tenant.
    pub(crate) fn column(&self) -> Option<&'a str> {
        self.column
    }

    /// The tenant that a record of a package was listed for.
    pub(crate) fn of<'p>(
        &self,
        package: &'p [PackagePage],
        record: NewestRecord,
    ) -> Option<&'p str> {
        let tenants = package
            .get(record.page)?
            .batch
            .column_by_name(self.column?)?
            .as_string_opt::<i32>()?;
        tenants
            .is_valid(record.row)
            .then(|| tenants.value(record.row))
    }

    /// Order of two tenants; one that is not read any more comes last.
    pub(crate) fn order(&self, a: Option<&str>, b: Option<&str>) -> Ordering {
        if a == b || self.column.is_none() {
            return Ordering::Equal;
        }
        self.place(a).cmp(&self.place(b))
    }

    /// The record's key and the later of two different tenants, where both are read: what is listed for both of them.
    pub(crate) fn elsewhere(
        &self,
        key: &str,
        a: Option<&str>,
        b: Option<&str>,
    ) -> Option<(String, String)> {
        let later = match self.order(a, b) {
            Ordering::Less => b,
            Ordering::Equal => return None,
            Ordering::Greater => a,
        };
        let later = later.filter(|_| self.place(later) < self.order.len())?;
        Some((key.to_owned(), later.to_owned()))
    }

    fn place(&self, tenant: Option<&str>) -> usize {
        self.order
            .iter()
            .position(|known| known.as_deref() == tenant)
            .unwrap_or(self.order.len())
    }
}
