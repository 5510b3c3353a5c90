//! Version of a table as a run names it: one of the table, and of some pipelines another one.
//!
//! Invariant: the rows of a pipeline that is pinned are those of its own version; those of all others are the table's. A version without pinned
//! pipelines is written as a number, as it always was.
//!
//! ```text
//!   table's versions   7      8        9           10       11
//!   commits of         a, b   a 1/2    b           b        a 2/2
//!   run of b names                                 10, a pinned to 7
//!   run of a names                                          11
//! ```

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Pipelines that are pinned to a version of their own; `None` to none, since nothing of them was published.
pub type PinnedPipelines = BTreeMap<String, Option<u64>>;

/// Version of a table as a run names it.
///
/// ```
/// use tillhouse_lake::TableVersion;
///
/// let mut named = TableVersion::from(10);
/// named.pinned.insert("hecone".to_owned(), Some(7));
/// assert_eq!((named.of("hecone"), named.of("pace")), (Some(7), Some(10)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "WrittenVersion", into = "WrittenVersion")]
pub struct TableVersion {
    /// The Delta version.
    pub version: u64,
    /// Pipelines of which another version is shown: they were being synced by another process when the run was published.
    pub pinned: PinnedPipelines,
}

impl TableVersion {
    /// The version that holds a pipeline's rows; `None` where none of them is shown.
    pub fn of(&self, pipeline: &str) -> Option<u64> {
        match self.pinned.get(pipeline) {
            Some(pinned) => *pinned,
            None => Some(self.version),
        }
    }

    /// All versions whose files it needs, the table's first.
    pub fn versions(&self) -> impl Iterator<Item = u64> + '_ {
        std::iter::once(self.version).chain(self.pinned.values().copied().flatten())
    }

    /// The last of all versions whose files it needs.
    pub fn newest(&self) -> u64 {
        self.versions().max().unwrap_or(self.version)
    }
}

impl From<u64> for TableVersion {
    fn from(version: u64) -> Self {
        Self {
            version,
            pinned: PinnedPipelines::new(),
        }
    }
}

impl std::fmt::Display for TableVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.version)?;
        for (pipeline, version) in &self.pinned {
            match version {
                Some(version) => write!(f, ", {pipeline} at {version}")?,
                None => write!(f, ", without {pipeline}")?,
            }
        }
        Ok(())
    }
}

/// A version as it is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenVersion {
    Table(u64),
    Pinned {
        version: u64,
        pinned: PinnedPipelines,
    },
}

impl From<WrittenVersion> for TableVersion {
    fn from(written: WrittenVersion) -> Self {
        match written {
            WrittenVersion::Table(version) => version.into(),
            WrittenVersion::Pinned { version, pinned } => Self { version, pinned },
        }
    }
}

impl From<TableVersion> for WrittenVersion {
    fn from(named: TableVersion) -> Self {
        let TableVersion { version, pinned } = named;
        match pinned.is_empty() {
            true => Self::Table(version),
            false => Self::Pinned { version, pinned },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_without_pinned_pipelines_is_a_number() {
        let plain = TableVersion::from(7);
        assert_eq!(serde_json::to_string(&plain).unwrap(), "7");
        assert_eq!(serde_json::from_str::<TableVersion>("7").unwrap(), plain);
        let pinned = TableVersion {
            version: 10,
            pinned: [("a".to_owned(), Some(12)), ("b".to_owned(), None)].into(),
        };
        let json = serde_json::to_string(&pinned).unwrap();
        assert_eq!(json, r#"{"version":10,"pinned":{"a":12,"b":null}}"#);
        assert_eq!(serde_json::from_str::<TableVersion>(&json).unwrap(), pinned);
        assert_eq!((pinned.of("a"), pinned.of("b")), (Some(12), None));
        assert_eq!(pinned.of("c"), Some(10));
        assert_eq!(pinned.newest(), 12);
        assert_eq!(pinned.to_string(), "10, a at 12, without b");
    }
}
