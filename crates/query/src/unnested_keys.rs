//! Keys below UNNEST, as columns that are keys no more.
//!
//! Invariant: no row, group or order of elements is left out. DataFusion takes a key of rows (what they are grouped by, the number of each) for one of the elements of their lists too, and
//! thinks that it tells them apart: `count(*)` of `SELECT DISTINCT k, unnest(list)` counted rows, and `ORDER BY k, element` left elements as they came. A key that goes through a function, which
//! nothing sees through, is a column like any other; a mark on the plan would be made anew with the next rule.

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::logical_expr::{
    Expr, LogicalPlan, LogicalPlanBuilder, Unnest, Volatility, create_udf,
};
use datafusion::optimizer::AnalyzerRule;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The rule.
#[derive(Debug)]
pub(crate) struct UnnestedKeys;

impl AnalyzerRule for UnnestedKeys {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let mut has_keys = false;
        plan.apply_with_subqueries(|node| {
            has_keys |= matches!(node, LogicalPlan::Unnest(of) if !keys_below(of).is_empty());
            Ok(match has_keys {
                true => TreeNodeRecursion::Stop,
                false => TreeNodeRecursion::Continue,
            })
        })?;
        if !has_keys {
            return Ok(plan);
        }
        let done = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Unnest(of) => {
                let keys = keys_below(&of);
                let input = match keys.is_empty() {
                    true => of.input.as_ref().clone(),
                    false => without_keys(of.input.as_ref(), &keys)?,
                };
                LogicalPlanBuilder::from(input)
                    .unnest_columns_with_options(of.exec_columns, of.options)?
                    .build()
                    .map(Transformed::yes)
            }
            // What is above knows of the keys by the schema of what is below it.
            other => other.recompute_schema().map(Transformed::yes),
        })?;
        Ok(done.data)
    }

    fn name(&self) -> &'static str {
        "unnested_keys"
    }
}

/// Places of the columns that tell the rows below apart.
fn keys_below(unnest: &Unnest) -> BTreeSet<usize> {
    let dependencies = unnest.input.schema().functional_dependencies();
    let sources = dependencies.iter().map(|known| &known.source_indices);
    sources.flatten().copied().collect()
}

fn without_keys(input: &LogicalPlan, keys: &BTreeSet<usize>) -> Result<LogicalPlan> {
    let outputs = input
        .schema()
        .iter()
        .enumerate()
        .map(|(at, (relation, field))| {
            let column = Expr::from((relation, field));
            if !keys.contains(&at) {
                return column;
            }
            let data_type = field.data_type();
            let same = create_udf(
                "column_of",
                vec![data_type.clone()],
                data_type.clone(),
                Volatility::Immutable,
                Arc::new(|values| Ok(values[0].clone())),
            );
            same.call(vec![column])
                .alias_qualified(relation.cloned(), field.name())
        });
    let outputs: Vec<Expr> = outputs.collect();
    LogicalPlanBuilder::from(input.clone())
        .project(outputs)?
        .build()
}
