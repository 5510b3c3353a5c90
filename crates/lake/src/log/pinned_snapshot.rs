//! Versions of a table as runs name them: opened with the files of pinned pipelines, and told for a run that is about to be published.
//!
//! Invariant: all rows of a pipeline come from one version of the table; a file that holds those of several is shown for some of them. A
//! pipeline is pinned only where its rows have changed since the version that is published of it: what was only compacted is shown as it is.

use crate::log::data_file::DataFile;
use crate::log::snapshot::{Snapshot, StoredSnapshot};
use crate::log::table::TableHandle;
use crate::log::table_version::{PinnedPipelines, TableVersion};
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::table::PIPELINE;
use tillhouse_model::{Error, ErrorKind, Result};

impl TableHandle {
    /// A version as a run names it, whatever it holds; `None` where there is no table.
    pub(crate) async fn opened_as_named(&self, named: &TableVersion) -> Result<Option<Snapshot>> {
        if !named.pinned.is_empty()
            && let Some(kept) = self.kept(named).await?
        {
            return Ok(Some(kept));
        }
        let Some(snapshot) = self.unchecked(named.version).await? else {
            return Ok(None);
        };
        if named.pinned.is_empty() {
            return Ok(Some(snapshot));
        }
        let mut versions = BTreeMap::new();
        for version in named.pinned.values().copied().flatten() {
            if let std::collections::btree_map::Entry::Vacant(missing) = versions.entry(version) {
                missing.insert(self.there(version).await?);
            }
        }
        let files = |pipeline: &str, version: &Option<u64>| -> Vec<DataFile> {
            let pinned = version.and_then(|version| versions.get(&version));
            pinned.map_or_else(Vec::new, |pinned| pinned.files_of(pipeline))
        };
        let pinned = named.pinned.iter();
        let pinned =
            pinned.map(|(pipeline, version)| (pipeline.as_str(), files(pipeline, version)));
        Ok(Some(snapshot.with_files_of(pinned.collect())))
    }

    async fn there(&self, version: u64) -> Result<Snapshot> {
        self.unchecked(version).await?.ok_or_else(|| {
            Error::new(ErrorKind::Storage, "a table of the warehouse is gone")
                .at("table", self.path())
                .at("version", version.to_string())
        })
    }

    /// The pipelines, but for some, that are not shown as a version has them while `published` is what readers have: it has more of them, or less.
    pub(crate) async fn behind(
        &self,
        own: &Snapshot,
        published: Option<&TableVersion>,
        but: &BTreeSet<&str>,
    ) -> Result<PinnedPipelines> {
        let is_other = |pipeline: &&str| !but.contains(*pipeline);
        let Some(published) = published else {
            let there = pipelines(own).into_iter().filter(is_other);
            return Ok(there.map(|pipeline| (pipeline.to_owned(), None)).collect());
        };
        let mut pinned = published.pinned.clone();
        pinned.retain(|pipeline, _| is_other(&pipeline.as_str()));
        if published.version == own.version {
            return Ok(pinned);
        }
        let changed: BTreeSet<String> = match own.changed_since(published.version) {
            Some(changed) => changed.into_iter().map(str::to_owned).collect(),
            None => {
                let Some(shown) = self.opened_as_named(published).await? else {
                    return Ok(pinned);
                };
                let both = pipelines(own).into_iter().chain(pipelines(&shown));
                let differs = |pipeline: &&str| paths(own, pipeline) != paths(&shown, pipeline);
                both.filter(differs).map(str::to_owned).collect()
            }
        };
        for pipeline in changed {
            if is_other(&pipeline.as_str()) {
                let version = published.of(&pipeline);
                pinned.insert(pipeline, version);
            }
        }
        Ok(pinned)
    }

    /// A version as the published run should keep it. No request where an earlier run keeps it, nor as a rule where this process has made it.
    pub(crate) async fn stored(&self, named: &TableVersion) -> Result<Option<StoredSnapshot>> {
        if let Some(offered) = self.offered().filter(|offered| offered.named() == *named) {
            let mut kept = (*offered).clone();
            // Whoever comes next need not find out again how far the table was brought up to date.
            if let Some(seen) = self.seen().await.filter(|s| s.version == kept.version) {
                kept.learn_marks(&seen);
            }
            return Ok(Some(kept));
        }
        let Some(mut snapshot) = self.unchecked(named.version).await? else {
            return Ok(None);
        };
        if snapshot.stamp.is_none() {
            snapshot.stamp = self.stamp(named.version).await?;
        }
        let stored = StoredSnapshot::from(&snapshot);
        if named.pinned.is_empty() {
            return Ok(Some(stored));
        }
        let shown = self.opened_as_named(named).await?;
        Ok(shown.map(|shown| stored.with_pinned(named, &shown)))
    }
}

/// The pipelines that have files.
fn pipelines(snapshot: &Snapshot) -> BTreeSet<&str> {
    let files = snapshot.files.iter();
    files
        .filter_map(|file| file.partition_value(PIPELINE))
        .collect()
}

/// The files of a pipeline.
fn paths<'a>(snapshot: &'a Snapshot, pipeline: &str) -> BTreeSet<&'a str> {
    let files = snapshot.files.iter().filter(|file| file.is_of(pipeline));
    files.map(|file| file.path.as_str()).collect()
}
