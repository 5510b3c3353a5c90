//! Source tables at the version that a run unifies.
//!
//! Invariant: whatever lands meanwhile, a run sees one version of each; a table that is not there yet has no records and no packages.

use crate::config::{Pipeline, ResourcePlan};
use crate::context::RunContext;
use std::sync::Arc;
use tillhouse_lake::{PackageInfo, SourceTable, TableProvider};
use tillhouse_model::Result;

/// A source table at one version.
pub(super) struct PinnedSource<'a> {
    pub(super) plan: &'a ResourcePlan,
    table: SourceTable,
    /// `None` before the first landing.
    version: Option<u64>,
}

impl<'a> PinnedSource<'a> {
    /// The newest version.
    pub(super) async fn open(
        context: &RunContext,
        pipeline: &Pipeline,
        plan: &'a ResourcePlan,
    ) -> Result<Self> {
        let spec = Arc::clone(&plan.spec);
        let table = context.warehouse.source_table(&pipeline.name, spec);
        let version = table.version().await?;
        Ok(Self {
            plan,
            table,
            version,
        })
    }

    /// True once anything has landed.
    pub(super) fn exists(&self) -> bool {
        self.version.is_some()
    }

    /// Every version of every record.
    pub(super) async fn history(&self, context: &RunContext) -> Result<Arc<dyn TableProvider>> {
        let found = match self.version {
            Some(_) => {
                let state = context.engine.state()?;
                self.table.provider(self.version, Some(state)).await?
            }
            None => None,
        };
        Ok(found.unwrap_or_else(|| tillhouse_query::empty_table(self.plan.spec.source_schema())))
    }

    /// The packages after one, ascending.
    pub(super) async fn packages_after(&self, load_id: i64) -> Result<Vec<PackageInfo>> {
        match self.version {
            Some(_) => self.table.packages(self.version, load_id).await,
            None => Ok(Vec::new()),
        }
    }

    /// The packages after `after` up to and with `to`, where whole files hold them and nothing else.
    pub(super) async fn package_files(
        &self,
        context: &RunContext,
        (after, to): (i64, i64),
    ) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(version) = self.version else {
            return Ok(None);
        };
        let state = context.engine.state()?;
        self.table
            .package_provider(version, Some(state), after, to)
            .await
    }
}
