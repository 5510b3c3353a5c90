//! Parents of a step: the records of a resource that has children, and those children, as its statements read them.
//!
//! ```text
//!   parents: changed since the last step   +   parents of children that changed since then, as they are now
//!   children: of all these parents, the newest version of each, without the deleted;
//!             and changed ones whose parent is not there, or that look up what changed, see `orphans`
//!   looked up: every version, see `lookup`
//! ```
//!
//! Invariant: a record is unified from its newest version and the newest versions of its children, and anew when one of either arrives or
//! changes.

use super::changes::StepChanges;
use super::children::{ChildHistory, StepChild};
use super::orphans::ElsewhereAmount;
use super::rows::{collect, key_batch};
use super::statement::UnifyStatement;
use super::versions::{LatestVersions, create_version_view, version_batch};
use super::{child_counts, key_ranges, lookup, orphans};
use crate::config::{ChildLink, Pipeline, ResourcePlan};
use crate::context::RunContext;
use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use tillhouse_lake::{SupersededRecords, TableProvider, UnifyStep, WarningRow};
use tillhouse_model::Result;
use tillhouse_model::table::RECORD_KEY;
use tillhouse_query::Session;

/// The parents of a step, and their children.
pub(super) struct StepParents<'a> {
    history: &'a Arc<dyn TableProvider>,
    /// The version of each that counts.
    newest: LatestVersions,
    /// The keys of parents that are there, of those that changed children name, and the step's own.
    present: HashSet<String>,
    children: Vec<StepChild<'a>>,
    superseded: SupersededRecords,
}

/// Earlier versions that a statement's rows supersede, and warnings about its records.
pub(super) struct StatementRecords<'a> {
    pub(super) superseded: Cow<'a, SupersededRecords>,
    pub(super) warnings: Vec<WarningRow>,
}

impl<'a> StepParents<'a> {
    /// Finds the step's own parents, and those of changed children. What the latter have in the unified tables is superseded.
    ///
    /// `start` is where this run began: a parent that came since then has been unified with the children there are now, or is about to be.
    pub(super) async fn find(
        context: &RunContext,
        history: &'a Arc<dyn TableProvider>,
        children: &'a [ChildHistory],
        step: &'a UnifyStep,
        start: i64,
    ) -> Result<Self> {
        let range = (step.after_load_id, step.to_load_id);
        let StepChanges { superseded, .. } = StepChanges::find(context, history, range).await?;
        let mut parents = Self {
            history,
            newest: LatestVersions::default(),
            present: HashSet::new(),
            children: Vec::with_capacity(children.len()),
            superseded,
        };
        let touched = touched_parents(context, history, children, step).await?;
        parents.find_newest(context, touched, step, start).await?;
        for (history, watermark) in children.iter().zip(&step.children) {
            let versions = match history.link_column() {
                Some(by) => history.children_of(context, by, &parents.newest).await?,
                None => Vec::new(),
            };
            parents.children.push(StepChild {
                history,
                watermark,
                versions,
            });
        }
        Ok(parents)
    }

    async fn find_newest(
        &mut self,
        context: &RunContext,
        mut touched: HashSet<String>,
        step: &UnifyStep,
        start: i64,
    ) -> Result<()> {
        let session = context.engine.empty_session()?;
        session.register("history", Arc::clone(self.history))?;
        let sql = format!(
            "SELECT _record_key, _load_id, _record_time FROM history WHERE _load_id > {} AND _load_id <= {}",
            step.after_load_id, step.to_load_id
        );
        self.newest = LatestVersions::of(&collect(&session, &sql).await?)?;
        self.present = self.newest.keys().map(str::to_owned).collect();
        touched.retain(|key| !self.newest.contains(key));
        if touched.is_empty() {
            return Ok(());
        }
        let keys = key_batch(touched.iter().map(String::as_str))?;
        session.register_batches("touched", keys.schema(), vec![keys])?;
        let near = key_ranges::condition(
            &self.history.schema(),
            RECORD_KEY,
            touched.iter().map(String::as_str),
        );
        let sql = format!(
            "SELECT h._record_key, h._load_id, h._record_time \
             FROM (SELECT _record_key, _load_id, _record_time FROM history WHERE {near}) h \
             JOIN touched t ON h._record_key = t._record_key"
        );
        let again = LatestVersions::of(&collect(&session, &sql).await?)?;
        self.present.extend(again.keys().map(str::to_owned));
        // A parent that this run has met, or will, is unified by its own step.
        for version in again.into_iter().filter(|version| version.load_id <= start) {
            self.superseded.add(version.key.clone(), version.time);
            self.newest.extend([version]);
        }
        Ok(())
    }

    /// Makes the tables of the resource and of its children show them in a session, as that statement reads them.
    pub(super) async fn create_views(
        &self,
        context: &RunContext,
        (pipeline, plan): (&Pipeline, &ResourcePlan),
        (session, statement): (&Session, &UnifyStatement),
        run_id: &str,
    ) -> Result<StatementRecords<'_>> {
        let mut records = StatementRecords {
            superseded: Cow::Borrowed(&self.superseded),
            warnings: Vec::new(),
        };
        create_version_view(
            session,
            statement.resource,
            self.history,
            self.newest.batch()?,
        )
        .await?;
        for child in &self.children {
            let resource = child.history.child.resource;
            let Some(by) = child.history.link_column() else {
                session.deregister(resource)?;
                session.register(resource, Arc::clone(&child.history.versions))?;
                continue;
            };
            let mut versions: BTreeSet<(&str, i64)> = child
                .versions
                .iter()
                .map(|version| (version.key.as_str(), version.load_id))
                .collect();
            let (mut orphans, mut looking_up) = (Vec::new(), Vec::new());
            let elsewhere = ElsewhereAmount::of(pipeline, child, by);
            let link = (by, elsewhere.as_ref());
            if child.history.child.has_orphans_in(&statement.table.name) {
                let superseded = records.superseded.to_mut();
                orphans = orphans::find(context, child, link, &self.present, superseded).await?;
                if child.watermark.after_load_id > 0 {
                    let beside = (self.children.as_slice(), self.history);
                    looking_up =
                        orphans::find_looking_up(context, child, by, beside, superseded).await?;
                }
            }
            for orphan in &orphans {
                versions.insert((orphan.version.key.as_str(), orphan.version.load_id));
                records
                    .warnings
                    .extend(orphan.warnings(pipeline, child, link, run_id));
            }
            let looking_up = looking_up.iter();
            versions.extend(looking_up.map(|version| (version.key.as_str(), version.load_id)));
            let versions = version_batch(versions)?;
            create_version_view(session, resource, &child.history.versions, versions).await?;
        }
        for child in &self.children {
            let child = &child.history.child;
            if child.has_orphans_in(&statement.table.name) {
                let found =
                    child_counts::check_counts_in_step(session, plan, child, pipeline, run_id);
                records.warnings.extend(found.await?);
            }
        }
        Ok(records)
    }
}

/// The keys of the parents of what changed in a step among their children.
async fn touched_parents(
    context: &RunContext,
    parents: &Arc<dyn TableProvider>,
    children: &[ChildHistory],
    step: &UnifyStep,
) -> Result<HashSet<String>> {
    let mut touched = HashSet::new();
    for (child, watermark) in children.iter().zip(&step.children) {
        if watermark.to_load_id > watermark.after_load_id {
            touched.extend(match &child.child.link {
                ChildLink::Part { by, .. } => child.changed_parents(context, by, watermark).await?,
                ChildLink::Lookup { on, uses, unless } => {
                    let link = (on.as_slice(), uses.as_slice(), unless.as_ref());
                    lookup::parents(context, parents, child, link, watermark).await?
                }
            });
        }
    }
    Ok(touched)
}
