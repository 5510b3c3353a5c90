//! The size of a table at one version.
//!
//! Invariant: rows are a number only where every file says how many it has.

use crate::log::snapshot::Snapshot;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// The size of a table at one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFigures {
    /// Rows, where every file says so.
    pub rows: Option<u64>,
    /// Data files.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
}

impl TableFigures {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        // One that is shown in parts is one file.
        let mut shown = HashSet::new();
        let files = snapshot.files.iter();
        let files: Vec<_> = files
            .filter(|file| file.shown.is_none() || shown.insert(file.path.as_str()))
            .collect();
        Self {
            rows: files.iter().map(|file| file.rows).sum(),
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.size).sum(),
        }
    }
}

impl std::fmt::Display for TableFigures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { rows, files, bytes } = self;
        match rows {
            Some(rows) => write!(f, "{rows} rows, {files} files, {bytes} bytes"),
            None => write!(f, "{files} files, {bytes} bytes"),
        }
    }
}
