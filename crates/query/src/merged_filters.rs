//! Conditions of a scan, merged where there are many.
//!
//! Invariant: a scan keeps the rows it would keep with its conditions apart, and prunes files and row groups by the first of those that compare a column.
//!
//! The reader of Parquet takes the conditions joined by AND one by one, and decodes the columns of each anew: four hundred conditions of two columns read both four hundred times. So only
//! a few stay apart, and the others become one for each set of columns.
//!
//! Rejected: no conditions in the reader at all where there are many. A period, which most queries have, would not spare the decoding of other columns any more.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::kernels::boolean::and_kleene;
use arrow::compute::prep_null_mask_filter;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::datasource::physical_plan::{
    FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, InListExpr, Literal};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, conjunction, split_conjunction};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Conditions that stay apart, and sets of columns that do.
const APART: usize = 8;

/// The rule; it comes when conditions are where they belong.
#[derive(Debug)]
pub(crate) struct MergedFilters;

impl PhysicalOptimizerRule for MergedFilters {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let done = plan.transform_up(|node| {
            let Some((config, source)) = node
                .downcast_ref::<DataSourceExec>()
                .and_then(|scan| scan.downcast_to_file_source::<ParquetSource>())
            else {
                return Ok(Transformed::no(node));
            };
            let Some(merged) = source.filter().as_ref().and_then(merged) else {
                return Ok(Transformed::no(node));
            };
            Ok(Transformed::yes(with_condition(config, source, merged)))
        });
        Ok(done?.data)
    }

    fn name(&self) -> &'static str {
        "merged_filters"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A scan with another condition.
fn with_condition(
    config: &FileScanConfig,
    source: &ParquetSource,
    condition: Arc<dyn PhysicalExpr>,
) -> Arc<dyn ExecutionPlan> {
    let source = Arc::new(source.with_predicate(condition));
    let config = FileScanConfigBuilder::from(config.clone())
        .with_source(source)
        .build();
    DataSourceExec::from_data_source(config)
}

/// A plan whose scans have their conditions joined by AND again, as they were before the rule.
pub(crate) fn apart(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let done = plan.transform_up(|node| {
        let changed = node
            .downcast_ref::<DataSourceExec>()
            .and_then(|scan| scan.downcast_to_file_source::<ParquetSource>())
            .and_then(|(config, source)| {
                let filter = source.filter();
                let parts = split_conjunction(filter.as_ref()?);
                let is_merged = |part: &&Arc<dyn PhysicalExpr>| part.is::<AllOf>();
                if !parts.iter().any(is_merged) {
                    return None;
                }
                let parts = parts
                    .into_iter()
                    .flat_map(|part| match part.downcast_ref::<AllOf>() {
                        Some(all) => all.parts.clone(),
                        None => vec![Arc::clone(part)],
                    });
                Some(with_condition(config, source, conjunction(parts)))
            });
        Ok(match changed {
            Some(changed) => Transformed::yes(changed),
            None => Transformed::no(node),
        })
    });
    Ok(done?.data)
}

/// A condition in place of one with many parts; `None` for one with few.
fn merged(condition: &Arc<dyn PhysicalExpr>) -> Option<Arc<dyn PhysicalExpr>> {
    let parts = split_conjunction(condition);
    if parts.len() <= APART {
        return None;
    }
    let (mut apart, mut by_columns) = (Vec::new(), BTreeMap::<Vec<usize>, Vec<_>>::new());
    let mut comparisons = 0;
    for part in parts {
        // A filter that a join or a heap learns on the way changes while the scan runs, and is asked for on its own.
        let is_dynamic = part.snapshot_generation() != 0;
        let is_kept = comparisons < APART && is_comparison(part);
        comparisons += usize::from(is_kept);
        if is_dynamic || is_kept {
            apart.push(Arc::clone(part));
            continue;
        }
        let mut columns: Vec<usize> = collect_columns(part).iter().map(Column::index).collect();
        columns.sort_unstable();
        by_columns
            .entry(columns)
            .or_default()
            .push(Arc::clone(part));
    }
    let merged: Vec<Vec<_>> = if by_columns.len() > APART {
        vec![by_columns.into_values().flatten().collect()]
    } else {
        by_columns.into_values().collect()
    };
    let merged = merged
        .into_iter()
        .map(|parts| Arc::new(AllOf { parts }) as Arc<dyn PhysicalExpr>);
    Some(conjunction(apart.into_iter().chain(merged)))
}

/// True for a comparison of a column with constants: files and row groups are pruned by those.
fn is_comparison(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let is = |expr: &Arc<dyn PhysicalExpr>| {
        (
            expr.downcast_ref::<Column>().is_some(),
            expr.downcast_ref::<Literal>().is_some(),
        )
    };
    if let Some(list) = expr.downcast_ref::<InListExpr>() {
        return is(list.expr()).0;
    }
    expr.downcast_ref::<BinaryExpr>().is_some_and(|binary| {
        matches!(
            (is(binary.left()), is(binary.right())),
            ((true, _), (_, true)) | ((_, true), (true, _))
        )
    })
}

/// Conditions that must all hold, as one.
#[derive(Debug)]
struct AllOf {
    parts: Vec<Arc<dyn PhysicalExpr>>,
}

impl PartialEq for AllOf {
    fn eq(&self, other: &Self) -> bool {
        self.parts.iter().eq(other.parts.iter())
    }
}

impl Eq for AllOf {}

impl Hash for AllOf {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts.hash(state);
    }
}

impl fmt::Display for AllOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.parts.iter().enumerate() {
            let and = if at > 0 { " AND " } else { "" };
            write!(f, "{and}({part})")?;
        }
        Ok(())
    }
}

impl PhysicalExpr for AllOf {
    fn data_type(&self, _: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let rows = batch.num_rows();
        let mut all = BooleanArray::from(vec![true; rows]);
        for part in &self.parts {
            if !all.has_true() && all.null_count() == 0 {
                break;
            }
            let holds = match part.evaluate(batch) {
                Ok(holds) => holds,
                // A condition may be there to keep the next from rows for which it fails.
                Err(error) if all.has_false() || all.null_count() > 0 => {
                    let kept = prep_null_mask_filter(&all);
                    part.evaluate_selection(batch, &kept).map_err(|_| error)?
                }
                Err(error) => return Err(error),
            };
            let holds: ArrayRef = holds.into_array(rows)?;
            let holds = holds.as_boolean_opt();
            let holds =
                holds.ok_or_else(|| internal_datafusion_err!("a condition is true or false"))?;
            all = and_kleene(&all, holds)?;
        }
        Ok(ColumnarValue::Array(Arc::new(all)))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        self.parts.iter().collect()
    }

    fn with_new_children(
        self: Arc<Self>,
        parts: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Self { parts }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, part) in self.parts.iter().enumerate() {
            f.write_str(if at > 0 { " AND (" } else { "(" })?;
            part.fmt_sql(f)?;
            f.write_str(")")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use arrow::datatypes::Field;
    use datafusion::common::ScalarValue;
    use datafusion::datasource::object_store::ObjectStoreUrl;
    use datafusion::logical_expr::Operator;

    fn column(at: usize) -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new(["a", "b"][at], at))
    }

    fn constant(value: i64) -> Arc<dyn PhysicalExpr> {
        Arc::new(Literal::new(ScalarValue::Int64(Some(value))))
    }

    fn binary(
        left: Arc<dyn PhysicalExpr>,
        operator: Operator,
        right: Arc<dyn PhysicalExpr>,
    ) -> Arc<dyn PhysicalExpr> {
        Arc::new(BinaryExpr::new(left, operator, right))
    }

    fn batch() -> RecordBatch {
        let fields = ["a", "b"].map(|name| Field::new(name, DataType::Int64, true));
        let a = Int64Array::from(vec![Some(1), None, Some(3), Some(0)]);
        let b = Int64Array::from(vec![Some(5), Some(5), None, Some(7)]);
        RecordBatch::try_new(
            Arc::new(Schema::new(fields.to_vec())),
            vec![Arc::new(a), Arc::new(b)],
        )
        .unwrap()
    }

    #[test]
    fn many_conditions_keep_the_rows_of_their_and() {
        let either = |a: i64, b: i64| {
            binary(
                binary(column(0), Operator::NotEq, constant(a)),
                Operator::Or,
                binary(column(1), Operator::Eq, constant(b)),
            )
        };
        for count in [9, 40] {
            let parts: Vec<_> = (2..count).map(|n| either(n, n + 2)).collect();
            let period = binary(column(0), Operator::Lt, constant(3));
            let all = conjunction(parts.into_iter().chain([period.clone(), period]));
            let merged = merged(&all).unwrap();
            assert!(split_conjunction(&merged).len() <= 3, "{merged}");
            let rows = |expr: &Arc<dyn PhysicalExpr>| {
                let holds = expr.evaluate(&batch()).unwrap().into_array(4).unwrap();
                prep_null_mask_filter(holds.as_boolean())
            };
            assert_eq!(rows(&merged), rows(&all), "{count}");
        }
    }

    #[test]
    fn merged_conditions_stand_apart_again() {
        let parts = (0..12).map(|n| binary(column(0), Operator::NotEq, constant(n)));
        let source = ParquetSource::new(batch().schema()).with_predicate(conjunction(parts));
        let url = ObjectStoreUrl::parse("file:///").unwrap();
        let scan = FileScanConfigBuilder::new(url, Arc::new(source)).build();
        let scan: Arc<dyn ExecutionPlan> = DataSourceExec::from_data_source(scan);
        let conditions = |plan: &Arc<dyn ExecutionPlan>| {
            let scan = plan.downcast_ref::<DataSourceExec>().unwrap();
            let (_, source) = scan.downcast_to_file_source::<ParquetSource>().unwrap();
            split_conjunction(&source.filter().unwrap()).len()
        };
        let merged = MergedFilters
            .optimize(scan, &ConfigOptions::default())
            .unwrap();
        assert_eq!(conditions(&merged), APART + 1);
        assert_eq!(conditions(&apart(merged).unwrap()), 12);
    }

    #[test]
    fn a_condition_keeps_the_next_from_rows_for_which_it_fails() {
        let divided = binary(constant(10), Operator::Divide, column(0));
        let parts = vec![
            binary(column(0), Operator::NotEq, constant(0)),
            binary(divided, Operator::Gt, constant(3)),
        ];
        let alone = AllOf {
            parts: parts[1..].to_vec(),
        };
        assert!(alone.evaluate(&batch()).is_err());
        let holds = AllOf { parts }.evaluate(&batch()).unwrap();
        let holds = holds.into_array(4).unwrap();
        assert_eq!(
            prep_null_mask_filter(holds.as_boolean()),
            BooleanArray::from(vec![true, false, false, false])
        );
    }
}
