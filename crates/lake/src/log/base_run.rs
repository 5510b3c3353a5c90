//! Published run that a commit was made behind: the newest one that its writer knew of.
//!
//! Invariant: a run that a commit names was published, and its record was on disk, before the commit was made. So bookkeeping that does not
//! know the run is older than the table. A commit of a writer that knew of no run, or of an earlier version of the program, names none and
//! tells nothing. A commit of bookkeeping names only runs that bookkeeping knew when it was made, and so tells that it did.
//!
//! Rejected: to look the writer's own run up among the leases. An interrupted sync has no other trace than its lease, which a power cut may
//! take back.

use crate::log::commit::RUN_ID;
use crate::log::table::TableHandle;
use crate::store::failure::is_store_failure;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tillhouse_model::Result;

/// The member of a commit's own description.
pub(crate) const BASE_RUN: &str = "tillhousePublishedRun";
/// Most commits that are looked at for those that name a run.
const LOOKED_AT: u64 = 16;
/// Newest commits that name a run and are compared: one of a writer that began long before the others names an old one.
const COMPARED: usize = 4;

/// The newest published run that a process knows of, shared by all tables of a warehouse.
#[derive(Clone, Default)]
pub(crate) struct BaseRun(Arc<Mutex<NamedRun>>);

/// Run that commits name.
#[derive(Default)]
struct NamedRun {
    run_id: Option<String>,
    known_to: KnownTo,
}

/// Part of a warehouse that knows a published run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum KnownTo {
    /// `ops/runs`, which has its record.
    #[default]
    Runs,
    /// Other bookkeeping, which was written by it or behind it, and tables.
    Bookkeeping,
    /// Tables alone.
    Tables,
}

/// Runs that a commit names.
struct CommitRuns {
    /// The one that was published last when it was made.
    base: Option<String>,
    /// The one that made it.
    own: Option<String>,
}

/// True for the path of a bookkeeping table.
pub(crate) fn is_bookkeeping(path: &str) -> bool {
    path.starts_with("ops/")
}

impl BaseRun {
    /// From now on commits name this run, which bookkeeping says is the newest; unless a table tells of a later one.
    pub(crate) fn read(&self, run_id: &str) {
        let mut named = self.lock();
        if named.known_to == KnownTo::Runs {
            named.run_id = Some(run_id.to_owned());
        }
    }

    /// From now on commits name this run, which a table names and `ops/runs` does not know: whoever is cut short leaves it as it was. Whether
    /// that is new.
    pub(crate) fn found_in_table(&self, run_id: &str, known_to: KnownTo) -> bool {
        let mut named = self.lock();
        let is_new = named.known_to != known_to || named.run_id.as_deref() != Some(run_id);
        *named = NamedRun {
            run_id: Some(run_id.to_owned()),
            known_to,
        };
        is_new
    }

    /// From now on commits name this run, which this process has published.
    pub(crate) fn published(&self, run_id: &str) {
        *self.lock() = NamedRun {
            run_id: Some(run_id.to_owned()),
            known_to: KnownTo::Runs,
        };
    }

    /// The run that a commit of a table names now, by the table's path.
    pub(crate) fn of_table(&self, path: &str) -> Option<String> {
        let named = self.lock();
        let is_hidden = named.known_to == KnownTo::Tables && is_bookkeeping(path);
        named.run_id.clone().filter(|_| !is_hidden)
    }

    fn lock(&self) -> MutexGuard<'_, NamedRun> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TableHandle {
    /// The runs that the last commits name which name any, of those behind one version and up to another, the last commit's first. A commit
    /// that is not there or not what was written ends it: whoever needs it says so.
    pub(crate) async fn base_runs_between(&self, behind: u64, newest: u64) -> Result<Vec<String>> {
        let oldest = behind.max(newest.saturating_sub(LOOKED_AT));
        let (mut found, mut compared) = (Vec::new(), 0);
        for version in (oldest + 1..=newest).rev() {
            let Some(runs) = self.commit_runs(version).await? else {
                break;
            };
            let Some(base) = runs.base else {
                continue;
            };
            if !found.contains(&base) {
                found.push(base);
            }
            compared += 1;
            if compared == COMPARED {
                break;
            }
        }
        Ok(found)
    }

    /// The runs that made the newest commits of a table, and those that were published last by then. None of a log that cannot be read:
    /// whoever needs it says so.
    pub(crate) async fn runs_of_newest_commits(&self) -> Result<BTreeSet<String>> {
        let newest = match self.latest().await {
            Ok(Some(newest)) => newest.version,
            Ok(None) => return Ok(BTreeSet::new()),
            Err(error) if is_store_failure(&error) => return Err(error),
            Err(_) => return Ok(BTreeSet::new()),
        };
        let mut found = BTreeSet::new();
        let oldest = (newest + 1).saturating_sub(LOOKED_AT);
        for version in (oldest..=newest).rev() {
            let Some(runs) = self.commit_runs(version).await? else {
                break;
            };
            found.extend(runs.own);
            found.extend(runs.base);
        }
        Ok(found)
    }

    /// The runs that a commit names; `None` where it is not there or not what was written.
    async fn commit_runs(&self, version: u64) -> Result<Option<CommitRuns>> {
        match self.commit_file(version).await {
            Ok(commit) => Ok(commit.map(|commit| CommitRuns::of(&commit))),
            Err(error) if is_store_failure(&error) => {
                Err(self.storage_error("a table's log cannot be read", error))
            }
            Err(_) => Ok(None),
        }
    }
}

impl CommitRuns {
    /// The runs that a commit names in its first line.
    fn of(commit: &[u8]) -> Self {
        let first = commit.split(|byte| *byte == b'\n').next();
        let line = first.and_then(|line| serde_json::from_slice::<serde_json::Value>(line).ok());
        let named = |member: &str| {
            let run = line.as_ref()?.get("commitInfo")?.get(member)?;
            run.as_str().map(str::to_owned)
        };
        Self {
            base: named(BASE_RUN),
            own: named(RUN_ID),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_only_tables_know_is_named_until_another_one_is_published() {
        let base = BaseRun::default();
        let named = || ["shop/sales", "ops/slices"].map(|table| base.of_table(table));
        let both = |run: &str| [Some(run.to_owned()), Some(run.to_owned())];
        assert_eq!(named(), [None, None]);
        base.read("r1");
        assert_eq!(named(), both("r1"));
        assert!(base.found_in_table("r3", KnownTo::Tables));
        assert!(!base.found_in_table("r3", KnownTo::Tables));
        base.read("r1");
        assert_eq!(named(), [Some("r3".to_owned()), None]);
        assert!(base.found_in_table("r3", KnownTo::Bookkeeping));
        base.read("r1");
        assert_eq!(named(), both("r3"));
        base.published("r4");
        base.read("r5");
        assert_eq!(named(), both("r5"));
    }

    #[test]
    fn a_commit_names_a_run_in_its_first_line_or_none() {
        let named_by = |commit: &[u8]| {
            let CommitRuns { base, own } = CommitRuns::of(commit);
            (base, own)
        };
        let named = br#"{"commitInfo":{"tillhousePublishedRun":"r1","tillhouseRunId":"r2"}}
{"add":{}}"#;
        assert_eq!(
            named_by(named),
            (Some("r1".to_owned()), Some("r2".to_owned()))
        );
        let own = br#"{"commitInfo":{"tillhouseRunId":"r2"}}"#;
        assert_eq!(named_by(own), (None, Some("r2".to_owned())));
        for other in [
            &b""[..],
            b"{\"commitInfo\":{}}",
            b"{\"commitInfo\":{\"tillhousePublishedRun\":7}}",
            b"{\"add\":{\"tillhousePublishedRun\":\"r1\"}}",
            b"{\"commitInfo\":{\"tillhousePublished",
        ] {
            assert_eq!(named_by(other), (None, None));
        }
    }
}
