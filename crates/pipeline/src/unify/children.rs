//! Children of a resource's records: their history, how far it is unified, and those that belong to a step's parents.
//!
//! ```text
//!   versions that name a parent of the step   -->  the newest of each child
//!   a later version that names another,
//!   or none, or is deleted                    -->  the child is not theirs
//! ```
//!
//! Invariant: of each child its newest version counts, unless that is deleted, and its parent is the one that this version names: no time
//! decides, however far a child's is from its parent's, so that a step gives what a rebuild gives. What a child's parents were is asked of every
//! version there is.
//!
//! Cost: of the history, the columns of keys are read, and of these what [`key_ranges`] cannot leave out. Ids that rise with time open the row
//! groups around the step's parents, whatever the table's age. A window of record times around the parents was rejected: a payment
//! weeks before its sale was in no figure, and which one depended on what landed together.

use super::changes::may_have_earlier;
use super::key_ranges;
use super::pinned_source::PinnedSource;
use super::rows::{collect, text};
use super::versions::{HistoryVersion, LatestVersions};
use crate::config::{ChildLink, ChildResource};
use crate::context::RunContext;
use std::sync::Arc;
use tillhouse_lake::{ResourceWatermark, TableProvider};
use tillhouse_model::Result;
use tillhouse_model::table::RECORD_KEY;
use tillhouse_query::Session;

/// History of a child resource, pinned, and how far it has been unified.
pub(super) struct ChildHistory {
    pub(super) child: ChildResource,
    /// Every version of every record.
    pub(super) versions: Arc<dyn TableProvider>,
    done: i64,
    newest: i64,
}

/// A child resource in a step.
pub(super) struct StepChild<'a> {
    pub(super) history: &'a ChildHistory,
    pub(super) watermark: &'a ResourceWatermark,
    /// As a part of its parents: the children of the step's.
    pub(super) versions: Vec<HistoryVersion>,
}

impl ChildHistory {
    pub(super) async fn open(
        context: &RunContext,
        (child, source): (&ChildResource, &PinnedSource<'_>),
        done: i64,
    ) -> Result<Self> {
        let packages = source.packages_after(done).await?;
        Ok(Self {
            child: child.clone(),
            versions: source.history(context).await?,
            done,
            newest: packages.last().map_or(done, |package| package.load_id),
        })
    }

    /// True if packages have come that are not unified.
    pub(super) fn has_news(&self) -> bool {
        self.newest != self.done
    }

    /// Its part of a step, which takes what has come since, or nothing.
    pub(super) fn watermark(&self, is_taken: bool) -> ResourceWatermark {
        ResourceWatermark {
            resource: self.child.resource.to_owned(),
            after_load_id: self.done,
            to_load_id: if is_taken { self.newest } else { self.done },
        }
    }

    /// The column by which a part names its parent; `None` of what is looked up.
    pub(super) fn link_column(&self) -> Option<&str> {
        match &self.child.link {
            ChildLink::Part { by, .. } => Some(by),
            ChildLink::Lookup { .. } => None,
        }
    }

    /// The keys of the parents that the children changed in a step have, or had in an earlier version.
    pub(super) async fn changed_parents(
        &self,
        context: &RunContext,
        by: &str,
        watermark: &ResourceWatermark,
    ) -> Result<Vec<String>> {
        let session = context.engine.empty_session()?;
        session.register("history", Arc::clone(&self.versions))?;
        let range = format!(
            "_load_id > {} AND _load_id <= {}",
            watermark.after_load_id, watermark.to_load_id
        );
        let earlier = may_have_earlier(&session).await?;
        // Versions of the step name theirs themselves.
        let changed = format!(
            "SELECT DISTINCT CAST(\"{by}\" AS VARCHAR) FROM history WHERE {range} AND \"{by}\" IS NOT NULL \
             UNION SELECT DISTINCT CAST(o.\"{by}\" AS VARCHAR) FROM history o \
             JOIN (SELECT _record_key FROM history WHERE {range} AND {earlier}) c \
             ON o._record_key = c._record_key WHERE o.\"{by}\" IS NOT NULL AND o._load_id <= {}",
            watermark.after_load_id
        );
        let mut keys = Vec::new();
        for batch in collect(&session, &changed).await? {
            keys.extend(text(&batch, 0)?.iter().flatten().map(str::to_owned));
        }
        Ok(keys)
    }

    /// The children of these parents, by their keys alone: the newest version of each that is not deleted.
    pub(super) async fn children_of(
        &self,
        context: &RunContext,
        by: &str,
        parents: &LatestVersions,
    ) -> Result<Vec<HistoryVersion>> {
        let session = context.engine.empty_session()?;
        session.register("history", Arc::clone(&self.versions))?;
        let listed = parents.batch()?;
        session.register_batches("parents", listed.schema(), vec![listed])?;
        let near = key_ranges::condition(&self.versions.schema(), by, parents.keys());
        let named = format!(
            "SELECT _record_key, _load_id, _record_time FROM history \
             WHERE {near} AND _deleted_at IS NULL AND CAST(\"{by}\" AS VARCHAR) IN (SELECT _record_key FROM parents)"
        );
        let mut named = LatestVersions::of(&collect(&session, &named).await?)?;
        self.remove_outdated(&session, &mut named).await?;
        Ok(named.into_iter().collect())
    }

    /// Removes the versions that another one replaces, which names another parent or is deleted. `session` has the `history`.
    async fn remove_outdated(&self, session: &Session, named: &mut LatestVersions) -> Result<()> {
        let Some(oldest) = named.lowest_load_id() else {
            return Ok(());
        };
        let earlier = may_have_earlier(session).await?;
        let listed = named.batch()?;
        session.register_batches("named", listed.schema(), vec![listed])?;
        let near = key_ranges::condition(&self.versions.schema(), RECORD_KEY, named.keys());
        let outdated = format!(
            "SELECT DISTINCT h._record_key FROM ( \
                 SELECT _record_key, _load_id FROM history WHERE _load_id > {oldest} AND {earlier} AND {near} \
             ) h JOIN named n ON h._record_key = n._record_key AND h._load_id > n._load_id"
        );
        for batch in collect(session, &outdated).await? {
            for key in text(&batch, 0)?.iter().flatten() {
                named.remove(key);
            }
        }
        Ok(())
    }
}
