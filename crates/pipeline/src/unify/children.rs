//! Children of a resource's records: their history, how far it is unified, and those that belong to a step's parents.
//!
//! Invariant: of each child its newest version counts, unless that is deleted. Which parents a child has, or had in an earlier version, is
//! asked of every version there is.

use super::pinned_source::PinnedSource;
use super::rows::{collect, text};
use super::versions::{HistoryVersion, LatestVersions};
use crate::config::{ChildLink, ChildResource, ResourcePlan};
use crate::context::RunContext;
use jiff::SignedDuration;
use std::sync::Arc;
use tillhouse_lake::{ResourceWatermark, TableProvider};
use tillhouse_model::Result;
use tillhouse_query::ScalarValue;

/// History of a child resource, pinned, and how far it has been unified.
pub(super) struct ChildHistory {
    pub(super) child: ChildResource,
    /// Every version of every record.
    pub(super) versions: Arc<dyn TableProvider>,
    /// Longest time by which a child may precede its parent.
    near: SignedDuration,
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
        parents: &ResourcePlan,
        (child, source): (&ChildResource, &PinnedSource<'_>),
        done: i64,
    ) -> Result<Self> {
        let packages = source.packages_after(done).await?;
        Ok(Self {
            child: child.clone(),
            versions: source.history(context).await?,
            near: parents
                .spec
                .moves_within
                .saturating_add(source.plan.spec.moves_within),
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
        let changed = format!(
            "SELECT DISTINCT CAST(\"{by}\" AS VARCHAR) FROM history WHERE {range} AND \"{by}\" IS NOT NULL \
             UNION SELECT DISTINCT CAST(o.\"{by}\" AS VARCHAR) FROM history o \
             JOIN (SELECT _record_key FROM history WHERE {range} AND _prev_record_time IS NOT NULL) c \
             ON o._record_key = c._record_key WHERE o.\"{by}\" IS NOT NULL AND o._load_id <= {}",
            watermark.to_load_id
        );
        let mut keys = Vec::new();
        for batch in collect(&session, &changed).await? {
            keys.extend(text(&batch, 0)?.iter().flatten().map(str::to_owned));
        }
        Ok(keys)
    }

    /// The children of these parents: the newest version of each that is not deleted.
    pub(super) async fn children_of(
        &self,
        context: &RunContext,
        by: &str,
        parents: &LatestVersions,
    ) -> Result<Vec<HistoryVersion>> {
        let session = context.engine.empty_session()?;
        session.register("history", Arc::clone(&self.versions))?;
        let keys = parents.batch()?;
        session.register_batches("parents", keys.schema(), vec![keys])?;
        // As a parameter: a time in SQL text is read with nanoseconds, which hold no year before 1677 or after 2262.
        let from = parents
            .earliest()
            .map(|earliest| not_long_before(earliest, self.near));
        let near = if from.is_some() {
            "(_record_time IS NULL OR _record_time >= $from)"
        } else {
            "TRUE"
        };
        let parameters: Vec<(&str, ScalarValue)> =
            from.map(|from| ("from", from)).into_iter().collect();
        let newest = format!(
            "SELECT _record_key, _load_id, _record_time FROM ( \
                 SELECT _record_key, max(_load_id) AS _load_id, last_value(CAST(\"{by}\" AS VARCHAR) ORDER BY _load_id) AS parent, \
                        last_value(_deleted_at ORDER BY _load_id) AS gone, last_value(_record_time ORDER BY _load_id) AS _record_time \
                 FROM history WHERE {near} GROUP BY _record_key \
             ) WHERE gone IS NULL AND parent IN (SELECT _record_key FROM parents)"
        );
        let found = session.query_with(&newest, &parameters).await?;
        let found = LatestVersions::of(&tillhouse_query::collect(found).await?)?;
        Ok(found.into_iter().collect())
    }
}

/// A time not long before the earliest parent's. A child may come any time after its parent.
fn not_long_before(earliest: i64, near: SignedDuration) -> ScalarValue {
    let near = i64::try_from(near.as_micros()).unwrap_or(i64::MAX);
    ScalarValue::TimestampMicrosecond(Some(earliest.saturating_sub(near)), Some("UTC".into()))
}
