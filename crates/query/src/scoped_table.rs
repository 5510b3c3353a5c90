//! Tables of which a part is there: some of the rows, some of the columns.
//!
//! Invariant: nothing that somebody asks is evaluated on a row that is not there, and nothing of the whole table shows in a plan. The condition on the rows is applied by the
//! scan itself, which is one closed step of the plan: it has no inputs that a rule could reach into, no order, no files, as many partitions as there are threads, and of statistics a figure that is the same whatever is in the table. Conditions of a query come below that
//! border only where they cannot fail: comparisons of a column with constants of its type.
//!
//! ```text
//!   FilterExec  what somebody asks, on rows that are there
//!     ScopedExec  closed
//!       ┆ projection <─ condition on rows AND comparisons, in the reader of Parquet <─ files, pruned by both
//! ```
//!
//! Rejected: a filter in the logical plan above the table. The optimizer merges it with the conditions of the query and changes their order, so that `1 / (amount - 7) = 0` fails
//! for an amount of somebody else; and statistics of the files below it show in EXPLAIN.

use crate::damaged_files::NamedFiles;
use crate::failure::into_error;
use crate::merged_filters::MergedFilters;
use crate::scope::TableRule;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DataFusionError, Result, ToDFSchema, internal_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::unnormalize_cols;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Between, BinaryExpr, Expr, Operator, TableProviderFilterPushDown, TableType,
};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr, expressions};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::filter_pushdown::FilterPushdown;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, reset_plan_states};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    Statistics, StatisticsArgs,
};
use futures::{StreamExt, TryStreamExt, stream};
use std::fmt;
use std::sync::Arc;
use tillhouse_model::table::{LOAD_ID, OCCURRED_AT, PERIOD};
use tillhouse_model::{Error, ErrorKind};

/// Rows that a planner reckons with, so that a join holds the dimension in memory and not the fact: the same for every table of a kind, whatever is in it.
const ROWS_OF_FACT: usize = 10_000_000;
const ROWS_OF_OTHERS: usize = 10_000;
/// Columns of which a fact, a history or a roll-up has one.
const OF_FACTS: [&str; 3] = [LOAD_ID, OCCURRED_AT, PERIOD];

/// A table of which a part is there.
pub(crate) struct ScopedTable {
    whole: Arc<dyn TableProvider>,
    /// Places of the columns that are there, in the whole table.
    shown: Vec<usize>,
    /// Their columns.
    schema: SchemaRef,
    /// Conditions on rows, all of which hold.
    rows: Vec<Expr>,
    /// Rows that a planner reckons with.
    reckoned: usize,
}

impl fmt::Debug for ScopedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScopedTable")
    }
}

impl ScopedTable {
    /// The part of a table that a rule leaves.
    pub(crate) fn new(whole: Arc<dyn TableProvider>, rule: TableRule) -> Result<Self> {
        let schema = Arc::new(whole.schema().project(&rule.shown)?);
        let of_whole = whole.schema();
        let is_fact = OF_FACTS
            .iter()
            .any(|name| of_whole.field_with_name(name).is_ok());
        Ok(Self {
            whole,
            shown: rule.shown,
            schema,
            rows: rule.rows,
            reckoned: if is_fact {
                ROWS_OF_FACT
            } else {
                ROWS_OF_OTHERS
            },
        })
    }

    /// Places in the whole table of the columns that a condition or the answer needs.
    fn needed(&self, wanted: &[usize], conditions: &[Expr]) -> Vec<usize> {
        let mut needed = wanted.to_vec();
        let schema = self.whole.schema();
        for condition in conditions {
            let columns = condition.column_refs();
            let fields = schema.fields().iter().enumerate();
            let named = fields
                .filter(|(_, field)| columns.iter().any(|column| column.name == *field.name()));
            needed.extend(named.map(|(at, _)| at));
        }
        needed.sort_unstable();
        needed.dedup();
        needed
    }

    /// The columns that are wanted, of those that were needed.
    fn projected(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        needed: &[usize],
        wanted: &[usize],
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if needed == wanted {
            return Ok(plan);
        }
        let schema = self.whole.schema();
        let mut columns: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::with_capacity(wanted.len());
        for at in wanted {
            let place = needed
                .binary_search(at)
                .map_err(|_| internal_datafusion_err!("a column that is wanted was not read"))?;
            let name = schema.field(*at).name();
            let column: Arc<dyn PhysicalExpr> = Arc::new(expressions::Column::new(name, place));
            columns.push((column, name.clone()));
        }
        Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
    }
}

#[async_trait]
impl TableProvider for ScopedTable {
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
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let wanted: Vec<usize> = match projection {
            Some(projection) => projection.iter().map(|at| self.shown[*at]).collect(),
            None => self.shown.clone(),
        };
        let harmless = unnormalize_cols(filters.iter().cloned())
            .into_iter()
            .filter(|filter| is_harmless(filter, &self.schema));
        let conditions: Vec<Expr> = self.rows.iter().cloned().chain(harmless).collect();
        let needed = self.needed(&wanted, &conditions);
        let pruning = {
            let conditions: Vec<&Expr> = conditions.iter().collect();
            let answers = self.whole.supports_filters_pushdown(&conditions)?;
            let taken = conditions.into_iter().zip(answers);
            let taken =
                taken.filter(|(_, answer)| *answer != TableProviderFilterPushDown::Unsupported);
            taken.map(|(filter, _)| filter.clone()).collect::<Vec<_>>()
        };
        // Of rows that a condition may drop, nobody knows how many hold enough.
        let limit = limit.filter(|_| conditions.is_empty());
        let mut plan = self
            .whole
            .scan(session, Some(&needed), &pruning, limit)
            .await
            .map_err(without_inside)?;
        let options = session.config_options();
        if let Some(spread) = plan.repartitioned(session.config().target_partitions(), options)? {
            plan = spread;
        }
        if let Some(condition) = conjunction(conditions) {
            let names = plan.schema().as_ref().clone().to_dfschema()?;
            let condition = session.create_physical_expr(condition, &names)?;
            plan = Arc::new(FilterExec::try_new(condition, plan)?);
        }
        // The rules of the session do not come here.
        let plan = FilterPushdown::new().optimize(plan, options)?;
        let plan = MergedFilters.optimize(plan, options)?;
        let plan = NamedFiles.optimize(plan, options)?;
        let plan = self.projected(plan, &needed, &wanted)?;
        let partitions = session.config().target_partitions();
        Ok(Arc::new(ScopedExec::new(plan, partitions, self.reckoned)))
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        // Above the border it is asked once more: a rule may write a condition anew on its way here, as one that cannot be taken.
        let answer = |filter: &&Expr| match is_harmless(filter, &self.schema) {
            true => TableProviderFilterPushDown::Inexact,
            false => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(answer).collect())
    }
}

/// Type of a column or a constant; `None` for anything else.
fn plain_type(expr: &Expr, schema: &Schema) -> Option<DataType> {
    let found = match expr {
        Expr::Column(Column { name, .. }) => schema.field_with_name(name).ok()?.data_type().clone(),
        Expr::Literal(value, _) => value.data_type(),
        _ => return None,
    };
    (!found.is_nested()).then_some(found)
}

/// True for columns and constants of one type.
fn are_alike<'a>(parts: impl IntoIterator<Item = &'a Expr>, schema: &Schema) -> bool {
    let mut types = parts.into_iter().map(|part| plain_type(part, schema));
    let first = types.next().flatten();
    first.is_some() && types.all(|other| other == first)
}

/// True for a condition that cannot fail, whatever the row: comparisons of columns and constants of one type, and their AND, OR and NOT.
fn is_harmless(expr: &Expr, schema: &Schema) -> bool {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And | Operator::Or => is_harmless(left, schema) && is_harmless(right, schema),
            Operator::Eq
            | Operator::NotEq
            | Operator::Lt
            | Operator::LtEq
            | Operator::Gt
            | Operator::GtEq => are_alike([left.as_ref(), right.as_ref()], schema),
            _ => false,
        },
        Expr::Not(inner) => is_harmless(inner, schema),
        Expr::IsNull(inner) | Expr::IsNotNull(inner) => plain_type(inner, schema).is_some(),
        Expr::Between(Between {
            expr, low, high, ..
        }) => are_alike([expr.as_ref(), low.as_ref(), high.as_ref()], schema),
        Expr::InList(InList { expr, list, .. }) => {
            are_alike(std::iter::once(expr.as_ref()).chain(list), schema)
        }
        Expr::Column(_) | Expr::Literal(..) => plain_type(expr, schema) == Some(DataType::Boolean),
        _ => false,
    }
}

/// The scan of a part, closed to whoever looks at the plan.
pub(crate) struct ScopedExec {
    /// The plan that reads the part. It is in no answer of this step.
    closed: Arc<dyn ExecutionPlan>,
    /// Partitions, as many as a session has threads: those of the closed plan would tell of the table's size.
    partitions: usize,
    properties: Arc<PlanProperties>,
    /// Rows that a planner reckons with.
    reckoned: usize,
}

impl ScopedExec {
    fn new(closed: Arc<dyn ExecutionPlan>, partitions: usize, reckoned: usize) -> Self {
        let partitions = partitions.max(1);
        // Nothing is known of the rows: not their order, and not what all of them have in common.
        let properties = PlanProperties::new(
            EquivalenceProperties::new(closed.schema()),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            closed,
            partitions,
            properties: Arc::new(properties),
            reckoned,
        }
    }
}

impl fmt::Debug for ScopedExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScopedExec")
    }
}

impl DisplayAs for ScopedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScopedExec")
    }
}

impl ExecutionPlan for ScopedExec {
    fn name(&self) -> &'static str {
        "ScopedExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        let closed = reset_plan_states(Arc::clone(&self.closed))?;
        Ok(Arc::new(Self::new(closed, self.partitions, self.reckoned)))
    }

    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let unknown = Statistics::new_unknown(self.properties.eq_properties.schema());
        let rows = Precision::Inexact(self.reckoned);
        Ok(Arc::new(unknown.with_num_rows(rows)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let closed = self.closed.output_partitioning().partition_count();
        let parts: Result<Vec<SendableRecordBatchStream>> = (partition..closed)
            .step_by(self.partitions)
            .map(|at| self.closed.execute(at, Arc::clone(&context)))
            .collect();
        let rows = stream::iter(parts.map_err(without_inside)?).flatten();
        let rows = rows.map_err(without_inside);
        let schema = Arc::clone(self.properties.eq_properties.schema());
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

/// An error of reading, without the files and values it was met at; those are for the log.
fn without_inside(error: DataFusionError) -> DataFusionError {
    if let DataFusionError::ResourcesExhausted(_) = error.find_root() {
        return error;
    }
    let why = into_error(error);
    tracing::error!("a table cannot be read for somebody who may see a part of it: {why}");
    let shown = Error::new(ErrorKind::Storage, "a table cannot be read")
        .hint("The log of the process that answers says why.");
    DataFusionError::External(Box::new(shown))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Field;
    use datafusion::logical_expr::{cast, col, lit, not};

    #[test]
    fn only_what_cannot_fail_comes_below_the_border() {
        let schema = Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("m", DataType::Int64, true),
            Field::new("t", DataType::Utf8, true),
            Field::new("b", DataType::Boolean, true),
        ]);
        for harmless in [
            col("n").eq(lit(1_i64)),
            col("n").lt(col("m")),
            col("n").between(lit(1_i64), lit(2_i64)),
            col("t").in_list(vec![lit("x"), lit("y")], true),
            col("b").and(col("n").is_null().or(not(col("t").eq(lit("x"))))),
        ] {
            assert!(is_harmless(&harmless, &schema), "{harmless}");
        }
        for other in [
            (lit(1_i64) / col("n")).eq(lit(1_i64)),
            cast(col("t"), DataType::Int64).eq(lit(1_i64)),
            col("t").eq(lit(1_i64)),
            col("t").like(lit("%\\")),
            col("hidden").eq(lit("x")),
            col("n")
                .eq(lit(1_i64))
                .and((col("n") * col("m")).gt(lit(1_i64))),
        ] {
            assert!(!is_harmless(&other, &schema), "{other}");
        }
    }
}
