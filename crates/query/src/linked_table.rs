//! Dimensions without a tenant, for a reader who may see some tenants: the rows that a fact of theirs names.
//!
//! Invariant: a row is there if a fact that may be seen has its key, and the part of the table is worked out before anything is asked of it: conditions of a query meet no other row.
//!
//! It is worked out when the table is first read, and held for as long as a session lives that sees the same of the run: a dimension is small beside its facts, whose keys are
//! read for it once.

use crate::scoped_table::ScopedTable;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{MemTable, Session, TableProvider};
use datafusion::common::{Column, Result};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::{Expr, JoinType, LogicalPlanBuilder, TableType};
use datafusion::physical_plan::{ExecutionPlan, collect};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OnceCell;

const DIMENSION: &str = "dimension";
const FACTS: &str = "facts";

/// Rows of a part, once they are worked out.
type LinkedRows = Arc<OnceCell<Arc<MemTable>>>;

/// Parts of dimensions by name, for sessions that see the same of one run.
#[derive(Default)]
pub(crate) struct LinkedParts {
    known: Mutex<HashMap<String, LinkedRows>>,
}

impl fmt::Debug for LinkedParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkedParts")
    }
}

impl LinkedParts {
    /// The rows of a dimension.
    pub(crate) fn rows_of(&self, dimension: &str) -> LinkedRows {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(dimension.to_owned()).or_default())
    }
}

/// The part of a dimension.
pub(crate) struct LinkedTable {
    dimension: Arc<ScopedTable>,
    key: &'static str,
    /// Facts that have the key, as far as they may be seen.
    facts: Vec<Arc<ScopedTable>>,
    rows: LinkedRows,
}

impl fmt::Debug for LinkedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkedTable")
    }
}

impl LinkedTable {
    pub(crate) fn new(
        dimension: ScopedTable,
        key: &'static str,
        facts: Vec<Arc<ScopedTable>>,
        rows: LinkedRows,
    ) -> Self {
        Self {
            dimension: Arc::new(dimension),
            key,
            facts,
            rows,
        }
    }

    async fn load(&self, session: &dyn Session) -> Result<Arc<MemTable>> {
        let mut keys: Option<LogicalPlanBuilder> = None;
        for fact in &self.facts {
            let of_fact = scan(FACTS, fact)?.project([column(FACTS, self.key)])?;
            keys = Some(match keys {
                None => of_fact,
                Some(known) => known.union(of_fact.build()?)?,
            });
        }
        let mut batches = Vec::new();
        if let Some(keys) = keys {
            let keys = keys.distinct()?.alias(FACTS)?.build()?;
            let meet = (
                vec![Column::new(Some(DIMENSION), self.key)],
                vec![Column::new(Some(FACTS), self.key)],
            );
            let plan =
                scan(DIMENSION, &self.dimension)?.join(keys, JoinType::LeftSemi, meet, None)?;
            let plan = session.create_physical_plan(&plan.build()?).await?;
            batches = collect(plan, session.task_ctx()).await?;
        }
        Ok(Arc::new(MemTable::try_new(self.schema(), vec![batches])?))
    }
}

fn scan(name: &str, table: &Arc<ScopedTable>) -> Result<LogicalPlanBuilder> {
    let table = Arc::clone(table) as Arc<dyn TableProvider>;
    LogicalPlanBuilder::scan(name, provider_as_source(table), None)
}

fn column(table: &str, name: &str) -> Expr {
    Expr::Column(Column::new(Some(table), name))
}

#[async_trait]
impl TableProvider for LinkedTable {
    fn schema(&self) -> SchemaRef {
        self.dimension.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = self.rows.get_or_try_init(|| self.load(session)).await?;
        rows.scan(session, projection, &[], limit).await
    }
}
