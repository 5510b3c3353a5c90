//! Steps of a plan that no condition is moved past.
//!
//! Invariant: a condition, written or learnt while a query runs, is asked of the column that it is about. DataFusion moves conditions towards the files, and finds their columns by name in
//! what lies below: of a join of sales with payments, `ORDER BY p.amount LIMIT 1` learnt an amount of the payments and left out sales by it. And a column that is `random()` became
//! another number in the condition than in the result.
//!
//! ```text
//!   Sort amount@1, first 1                  learns amount@1 < 30
//!     fence                                 its columns are amount, amount, site: a condition on amount goes no further
//!       Join: amount, amount, site
//!         Join, Scan, ...                   what these learn they move as before
//! ```
//!
//! The fences stand while conditions are moved, and are taken away at once.
//!
//! Rejected: no conditions that are learnt at all. A join with a few sites reads the files of those alone by it. And names of their own for all columns of a join: plans are made by others,
//! and names are what people read in EXPLAIN.

use crate::fenced_rules::FencedRule;
use crate::one_input::one_input;
use crate::set_fences::{self, SetFences};
use crate::skipped_rows;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::filter_pushdown::{
    ChildFilterDescription, FilterDescription, FilterPushdownPhase,
};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// Beginning of the names of the rules that move conditions.
const MOVING: &str = "FilterPushdown";

/// DataFusion's rules for the steps of a plan, with fences around those that move conditions, and those that move orders, and above groupings of several sets.
pub(crate) fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let fences: Arc<dyn PhysicalOptimizerRule + Send + Sync> = Arc::new(SetFences);
    let rules = PhysicalOptimizer::new().rules.into_iter();
    let rules = rules.map(|rule| match rule.name().starts_with(MOVING) {
        true => Arc::new(FencedRule {
            rule,
            with_fence,
            without_fence,
        }) as Arc<dyn PhysicalOptimizerRule + Send + Sync>,
        false => set_fences::mended(skipped_rows::mended(rule)),
    });
    std::iter::once(fences).chain(rules).collect()
}

/// The fence above a step that some condition is not moved past.
fn with_fence(step: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let held = held_names(step);
    let input = Arc::clone(step);
    (!held.is_empty()).then(|| Arc::new(FenceExec { input, held }) as Arc<dyn ExecutionPlan>)
}

fn without_fence(step: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let fence = step.downcast_ref::<FenceExec>()?;
    Some(Arc::clone(&fence.input))
}

/// Names of the columns of a step that no condition is moved past it by.
fn held_names(node: &Arc<dyn ExecutionPlan>) -> HashSet<String> {
    let mut held = same_names(node);
    held.extend(other_names(node));
    held.extend(made_names(node));
    held
}

/// Names that several columns of a step have.
fn same_names(node: &Arc<dyn ExecutionPlan>) -> HashSet<String> {
    let schema = node.schema();
    let mut known = HashSet::with_capacity(schema.fields().len());
    let fields = schema.fields().iter();
    fields
        .filter(|field| !known.insert(field.name().as_str()))
        .map(|field| field.name().clone())
        .collect()
}

/// Names of columns that another one has below: a group may be called as what it is worked out of. The sides of a set operation, which goes by places, have
/// names of their own where they differ: the engine gives them to it.
fn other_names(node: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    let Some(groups) = node.downcast_ref::<AggregateExec>() else {
        return Vec::new();
    };
    let below = groups.input().schema();
    let renamed = groups.group_expr().expr().iter().filter(|(expr, name)| {
        let column = expr.downcast_ref::<Column>();
        let is_itself = column.is_some_and(|column| column.name() == name);
        !is_itself && below.column_with_name(name).is_some()
    });
    renamed.map(|(_, name)| name.clone()).collect()
}

/// Names of columns that have another value each time they are worked out.
fn made_names(node: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    let made = |columns: &[ProjectionExpr]| -> Vec<String> {
        let made = columns.iter().filter(|column| is_volatile(&column.expr));
        made.map(|column| column.alias.clone()).collect()
    };
    if let Some(columns) = node.downcast_ref::<ProjectionExec>() {
        return made(columns.expr());
    }
    let scan = node.downcast_ref::<DataSourceExec>();
    let files = scan.and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>());
    let columns = files.and_then(|files| files.file_source().projection());
    columns.map_or_else(Vec::new, |columns| made(columns.as_ref()))
}

/// The rows of its input; conditions on some of its columns stay above.
#[derive(Debug)]
struct FenceExec {
    input: Arc<dyn ExecutionPlan>,
    /// Names of these columns.
    held: HashSet<String>,
}

impl FenceExec {
    fn over(&self, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let held = self.held.clone();
        Arc::new(Self { input, held })
    }
}

impl DisplayAs for FenceExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for FenceExec {
    fn name(&self) -> &'static str {
        "Fence"
    }

    one_input!(input);

    fn gather_filters_for_pushdown(
        &self,
        _: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let schema = self.schema();
        let fields = schema.fields().iter().enumerate();
        let free = fields.filter(|(_, field)| !self.held.contains(field.name()));
        let moved = ChildFilterDescription::from_child_with_allowed_indices(
            &parent_filters,
            free.map(|(at, _)| at).collect(),
            &self.input,
        )?;
        Ok(FilterDescription::new().with_child(moved))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        self.input.execute(partition, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema};
    use datafusion::execution::session_state::SessionStateBuilder;
    use datafusion::parquet::arrow::ArrowWriter;
    use datafusion::physical_plan::displayable;
    use datafusion::physical_plan::empty::EmptyExec;
    use datafusion::physical_plan::filter_pushdown::PushedDown;
    use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
    use std::fs::File;
    use std::path::Path;

    /// A file with a row for each amount, numbered from 1, each in a group of its own: what a query learns of one is known when the next is read.
    fn write(path: &Path, amounts: impl Iterator<Item = i64>) {
        let amounts: Vec<i64> = amounts.collect();
        let ids = (1_i64..).take(amounts.len());
        let columns: [(&str, ArrayRef); 2] = [
            ("id", Arc::new(Int64Array::from_iter_values(ids))),
            ("amount", Arc::new(Int64Array::from(amounts))),
        ];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let file = File::create(path).unwrap();
        let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
        for row in 0..rows.num_rows() {
            writer.write(&rows.slice(row, 1)).unwrap();
            writer.flush().unwrap();
        }
        writer.close().unwrap();
    }

    async fn session(folder: &Path) -> SessionContext {
        let mut config = SessionConfig::new()
            .with_target_partitions(1)
            .with_batch_size(1);
        config.options_mut().execution.parquet.pushdown_filters = true;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_physical_optimizer_rules(physical_rules())
            .with_default_features()
            .build();
        let session = SessionContext::new_with_state(state);
        for (table, count, first, step) in [
            ("sales", 200, 1_001, 1),
            ("payments", 20, 99, -1),
            ("vouchers", 10, 99, -1),
        ] {
            let path = folder.join(format!("{table}.parquet"));
            write(&path, (0..count).map(|row| first + step * row));
            session
                .register_parquet(table, path.to_str().unwrap(), ParquetReadOptions::default())
                .await
                .unwrap();
        }
        session
    }

    async fn rows(session: &SessionContext, sql: &str) -> Vec<RecordBatch> {
        let frame = session.sql(sql).await.unwrap();
        frame.collect().await.unwrap()
    }

    #[tokio::test]
    async fn what_a_query_learns_of_one_column_leaves_another_of_its_name_alone() {
        let folder = tempfile::tempdir().unwrap();
        let session = session(folder.path()).await;
        let joined = "FROM sales s JOIN payments p ON s.id = p.id JOIN vouchers v ON p.id = v.id";
        for (order, sale, payment) in [
            ("p.amount", 1_010, 90),
            ("p.amount DESC", 1_001, 99),
            ("s.amount", 1_001, 99),
            ("s.amount DESC", 1_010, 90),
        ] {
            let sql = format!("SELECT s.amount, p.amount {joined} ORDER BY {order} LIMIT 1");
            let found = rows(&session, &sql).await;
            let value = |at: usize| found[0].column(at).as_primitive::<Int64Type>().value(0);
            assert_eq!((value(0), value(1)), (sale, payment), "{order}");
        }
        let found = rows(
            &session,
            "SELECT count(s.amount + p.amount) FROM sales s JOIN payments p ON s.id = p.id JOIN vouchers v ON v.amount = p.amount",
        )
        .await;
        assert_eq!(found[0].column(0).as_primitive::<Int64Type>().value(0), 10);
        // A set operation has the first column of each side in its first, whatever they are called.
        let found = rows(
            &session,
            "SELECT id, amount FROM vouchers UNION ALL SELECT amount, id FROM sales ORDER BY id DESC LIMIT 1",
        )
        .await;
        assert_eq!(
            found[0].column(0).as_primitive::<Int64Type>().value(0),
            1_200
        );
    }

    /// A step without rows that has columns of these names.
    fn step(names: &[&str]) -> Arc<dyn ExecutionPlan> {
        let fields = names
            .iter()
            .map(|name| Field::new(*name, DataType::Int64, true));
        Arc::new(EmptyExec::new(Arc::new(Schema::new(
            fields.collect::<Vec<_>>(),
        ))))
    }

    #[test]
    fn a_condition_on_a_column_without_namesakes_passes() {
        let input = step(&["amount", "site", "amount"]);
        let held = held_names(&input);
        assert_eq!(held, HashSet::from(["amount".to_owned()]));
        let filters: Vec<Arc<dyn PhysicalExpr>> = [("amount", 0), ("site", 1), ("amount", 2)]
            .into_iter()
            .map(|(name, at)| Arc::new(Column::new(name, at)) as Arc<dyn PhysicalExpr>)
            .collect();
        let fence = FenceExec { input, held };
        let moved = fence
            .gather_filters_for_pushdown(
                FilterPushdownPhase::Post,
                filters,
                &ConfigOptions::default(),
            )
            .unwrap();
        let moved: Vec<bool> = moved.parent_filters()[0]
            .iter()
            .map(|filter| matches!(filter.discriminant, PushedDown::Yes))
            .collect();
        assert_eq!(moved, [false, true, false]);
    }

    #[tokio::test]
    async fn a_condition_is_asked_of_the_number_that_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let session = session(folder.path()).await;
        for sql in [
            "SELECT r FROM (SELECT random() AS r FROM sales) AS q WHERE r < 0.5",
            "SELECT r FROM (SELECT random() AS r FROM sales WHERE amount > 1050) AS q WHERE r < 0.5",
            "SELECT r FROM (SELECT r FROM (SELECT id, random() AS r FROM sales) AS a JOIN payments p ON p.id <> a.id) AS q WHERE r < 0.5",
        ] {
            for batch in rows(&session, sql).await {
                let shown = batch.column(0).as_primitive::<Float64Type>();
                assert!(shown.values().iter().all(|r| *r < 0.5), "{sql}");
            }
        }
    }

    #[tokio::test]
    async fn a_plan_has_no_fences_and_still_moves_conditions() {
        let folder = tempfile::tempdir().unwrap();
        let session = session(folder.path()).await;
        let sql = "SELECT s.amount, p.amount FROM sales s JOIN payments p ON s.id = p.id WHERE s.amount > 1010 ORDER BY p.amount LIMIT 1";
        let frame = session.sql(sql).await.unwrap();
        let plan = frame.create_physical_plan().await.unwrap();
        let shown = displayable(plan.as_ref()).indent(false).to_string();
        assert!(!shown.contains("Fence"), "{shown}");
        assert!(
            shown.contains("predicate=") && shown.contains("> 1010"),
            "{shown}"
        );
        assert!(!shown.contains("FilterExec"), "{shown}");
    }
}
