//! Identity of a table by its log: the name in its description is the table's path.
//!
//! Invariant: a log that names another table is neither read nor written on, also where its columns would fit: an operator has put it there. Logs of earlier versions of
//! the program name none, and are taken for the table's own.

use crate::log::remedy::replace_log_file;
use crate::log::table::TableHandle;
use deltalake::DeltaTable;
use tillhouse_model::{Error, ErrorKind};

impl TableHandle {
    /// True unless the log says that it is another table's.
    pub(super) fn is_own(&self, table: &DeltaTable) -> bool {
        named(table).is_none_or(|name| name == self.path())
    }

    /// The error of a log that is another table's.
    pub(super) fn log_of_another(&self, table: &DeltaTable) -> Error {
        Error::new(
            ErrorKind::Storage,
            "the log in a table's folder is another table's",
        )
        .at("table", self.path())
        .at("log of", named(table).unwrap_or_default())
        .hint(replace_log_file(self.path()))
    }
}

/// Path of the table that a log names.
fn named(table: &DeltaTable) -> Option<&str> {
    table.snapshot().ok()?.metadata().name()
}
