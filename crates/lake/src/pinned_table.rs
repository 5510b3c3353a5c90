//! A version of a table whose files hold rows of several pipelines, as a run names it that pins some of them.
//!
//! Invariant: of every file exactly the rows are there whose pipelines it shows. A plan holds nothing of this crate.
//!
//! ```text
//!   files of the table's version     pipeline NOT IN (pinned)  ─┐
//!   files of a pinned version        pipeline = one of them    ─┴─► UnionExec
//! ```

use crate::log::data_file::ShownPipelines;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use deltalake::datafusion::catalog::{Session, TableProvider};
use deltalake::datafusion::common::{Result, ToDFSchema};
use deltalake::datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType, col, lit};
use deltalake::datafusion::physical_expr::{PhysicalExpr, expressions};
use deltalake::datafusion::physical_plan::ExecutionPlan;
use deltalake::datafusion::physical_plan::filter::FilterExec;
use deltalake::datafusion::physical_plan::projection::ProjectionExec;
use deltalake::datafusion::physical_plan::union::UnionExec;
use std::fmt;
use std::sync::Arc;
use tillhouse_model::table::PIPELINE;

/// Files of a table, and the condition on their rows.
struct ShownFiles {
    files: Arc<dyn TableProvider>,
    rows: Option<Expr>,
}

/// A table of which files show the rows of some pipelines.
pub(crate) struct PinnedTable {
    schema: SchemaRef,
    parts: Vec<ShownFiles>,
}

impl fmt::Debug for PinnedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedTable")
            .field("parts", &self.parts.len())
            .finish_non_exhaustive()
    }
}

impl PinnedTable {
    /// A table of these files, which have one schema.
    pub(crate) fn new(
        schema: SchemaRef,
        parts: Vec<(Option<ShownPipelines>, Arc<dyn TableProvider>)>,
    ) -> Self {
        let parts = parts.into_iter().map(|(shown, files)| ShownFiles {
            files,
            rows: shown.as_ref().map(condition),
        });
        Self {
            schema,
            parts: parts.collect(),
        }
    }
}

/// Condition on rows of shown pipelines.
fn condition(shown: &ShownPipelines) -> Expr {
    match shown {
        ShownPipelines::Only(pipeline) => col(PIPELINE).eq(lit(pipeline.as_str())),
        ShownPipelines::But(others) => {
            let others = others.iter().map(|pipeline| lit(pipeline.as_str()));
            col(PIPELINE).in_list(others.collect(), true)
        }
    }
}

impl ShownFiles {
    /// Scan of the wanted columns of the rows that are shown.
    async fn scan(
        &self,
        session: &dyn Session,
        wanted: &[usize],
        filters: &[Expr],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(rows) = &self.rows else {
            let wanted = wanted.to_vec();
            return self.files.scan(session, Some(&wanted), filters, None).await;
        };
        let pipeline = self.files.schema().index_of(PIPELINE)?;
        let mut needed = wanted.to_vec();
        if !needed.contains(&pipeline) {
            needed.push(pipeline);
        }
        let filters: Vec<Expr> = filters.iter().chain([rows]).cloned().collect();
        let plan = self
            .files
            .scan(session, Some(&needed), &filters, None)
            .await?;
        let names = plan.schema().as_ref().clone().to_dfschema()?;
        let rows = session.create_physical_expr(rows.clone(), &names)?;
        let plan: Arc<dyn ExecutionPlan> = Arc::new(FilterExec::try_new(rows, plan)?);
        if needed.len() == wanted.len() {
            return Ok(plan);
        }
        let schema = plan.schema();
        let columns = schema.fields().iter().take(wanted.len()).enumerate();
        let columns: Vec<(Arc<dyn PhysicalExpr>, String)> = columns
            .map(|(at, field)| {
                let column = expressions::Column::new(field.name(), at);
                let column: Arc<dyn PhysicalExpr> = Arc::new(column);
                (column, field.name().clone())
            })
            .collect();
        Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
    }
}

#[async_trait]
impl TableProvider for PinnedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted: Vec<usize> = match projection {
            Some(projection) => projection.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let mut plans = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            plans.push(part.scan(session, &wanted, filters).await?);
        }
        UnionExec::try_new(plans)
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // Partition columns are the same in all parts.
        match self.parts.first() {
            Some(part) => part.files.supports_filters_pushdown(filters),
            None => Ok(vec![
                TableProviderFilterPushDown::Unsupported;
                filters.len()
            ]),
        }
    }
}
