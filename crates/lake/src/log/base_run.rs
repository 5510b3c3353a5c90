//! Published run that a commit was made behind: the newest one that its writer knew of.
//!
//! Invariant: a run that a commit names was published, and its record was on disk, before the commit was made. So bookkeeping that does not
//! know the run is older than the table. A commit of a writer that knew of no run, or of an earlier version of the program, names none and
//! tells nothing.
//!
//! Rejected: to look the writer's own run up among the leases. An interrupted sync has no other trace than its lease, which a power cut may
//! take back.

use crate::log::table::TableHandle;
use crate::store::failure::is_store_failure;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tillhouse_model::Result;

/// The member of a commit's own description.
pub(crate) const BASE_RUN: &str = "tillhousePublishedRun";
/// Most commits that are looked at for one that names a run.
const LOOKED_AT: u64 = 16;

/// The newest published run that a process knows of, shared by all tables of a warehouse.
#[derive(Clone, Default)]
pub(crate) struct BaseRun(Arc<Mutex<NamedRun>>);

/// Run that commits name.
#[derive(Default)]
struct NamedRun {
    run_id: Option<String>,
    /// True for one that a table names and bookkeeping does not know.
    is_unknown: bool,
}

impl BaseRun {
    /// From now on commits name this run, which bookkeeping says is the newest; unless a table tells of a later one.
    pub(crate) fn read(&self, run_id: &str) {
        let mut named = self.lock();
        if !named.is_unknown {
            named.run_id = Some(run_id.to_owned());
        }
    }

    /// From now on commits name this run, which a table names and bookkeeping does not know: whoever is cut short leaves it as it was.
    pub(crate) fn found_in_table(&self, run_id: &str) {
        *self.lock() = NamedRun {
            run_id: Some(run_id.to_owned()),
            is_unknown: true,
        };
    }

    /// From now on commits name this run, which this process has published.
    pub(crate) fn published(&self, run_id: &str) {
        *self.lock() = NamedRun {
            run_id: Some(run_id.to_owned()),
            is_unknown: false,
        };
    }

    /// The run that a commit names now.
    pub(crate) fn get(&self) -> Option<String> {
        self.lock().run_id.clone()
    }

    fn lock(&self) -> MutexGuard<'_, NamedRun> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TableHandle {
    /// The run that the last commit names which names any, of those behind one version and up to another. `None` where none does, and where
    /// commits are not there or not what was written: whoever needs them says so.
    pub(crate) async fn base_run_between(
        &self,
        behind: u64,
        newest: u64,
    ) -> Result<Option<String>> {
        let oldest = behind.max(newest.saturating_sub(LOOKED_AT));
        for version in (oldest + 1..=newest).rev() {
            let commit = match self.commit_file(version).await {
                Ok(Some(commit)) => commit,
                Ok(None) => return Ok(None),
                Err(error) if is_store_failure(&error) => {
                    return Err(self.storage_error("a table's log cannot be read", error));
                }
                Err(_) => return Ok(None),
            };
            if let Some(run) = named_by(&commit) {
                return Ok(Some(run));
            }
        }
        Ok(None)
    }
}

/// The run that a commit names, in its first line.
fn named_by(commit: &[u8]) -> Option<String> {
    let first = commit.split(|byte| *byte == b'\n').next()?;
    let line: serde_json::Value = serde_json::from_slice(first).ok()?;
    let run = line.get("commitInfo")?.get(BASE_RUN)?;
    run.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_only_tables_know_is_named_until_another_one_is_published() {
        let base = BaseRun::default();
        assert_eq!(base.get(), None);
        base.read("r1");
        assert_eq!(base.get().as_deref(), Some("r1"));
        base.found_in_table("r3");
        base.read("r1");
        assert_eq!(base.get().as_deref(), Some("r3"));
        base.published("r4");
        base.read("r5");
        assert_eq!(base.get().as_deref(), Some("r5"));
    }

    #[test]
    fn a_commit_names_a_run_in_its_first_line_or_none() {
        let named = br#"{"commitInfo":{"tillhousePublishedRun":"r1"}}
{"add":{}}"#;
        assert_eq!(named_by(named), Some("r1".to_owned()));
        for other in [
            &b""[..],
            b"{\"commitInfo\":{}}",
            b"{\"commitInfo\":{\"tillhousePublishedRun\":7}}",
            b"{\"add\":{\"tillhousePublishedRun\":\"r1\"}}",
            b"{\"commitInfo\":{\"tillhousePublished",
        ] {
            assert_eq!(named_by(other), None);
        }
    }
}
