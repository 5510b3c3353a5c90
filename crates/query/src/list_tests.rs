//! Tests of one value against several lists, in one condition.
//!
//! Invariant: `x IN (1, 2) AND x IN (3)` is null where x is, and false elsewhere. DataFusion 55.2 puts such lists together, and takes an empty one for false, so that `NOT` of the
//! condition was true where it is null (mended upstream, in a version that is not out).
//!
//! While its rule runs, the value has a name of its own in each test that may not be put together with another one: those that AND has between them, unless both are `NOT IN`, and
//! those that OR has, unless none is.

use crate::nested_projections::without_names;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, Expr, LogicalPlan, Operator};
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};
use std::collections::{HashMap, HashSet};

/// The rule that puts lists together.
pub(crate) const SIMPLIFYING: &str = "simplify_expressions";
/// Beginning of the names of values in tests.
const TESTED: &str = "#tested ";

/// The rule, over tests that are kept apart.
pub(crate) fn over_tests_apart(
    rule: &dyn OptimizerRule,
    plan: LogicalPlan,
    config: &dyn OptimizerConfig,
) -> Result<Transformed<LogicalPlan>> {
    let names = NamePreserver::new(&plan);
    let apart = plan.map_expressions(|expr| {
        let name = names.save(&expr);
        let done = kept_apart(expr)?;
        Ok(done.update_data(|expr| name.restore(expr)))
    })?;
    if !apart.transformed {
        return rule.rewrite(apart.data, config);
    }
    let simpler = rule.rewrite(apart.data, config)?;
    let names = NamePreserver::new(&simpler.data);
    let plan = simpler.data.map_expressions(|expr| {
        let name = names.save(&expr);
        let done = without_names(expr, TESTED)?;
        Ok(done.update_data(|expr| name.restore(expr)))
    })?;
    Ok(Transformed::new_transformed(plan.data, simpler.transformed))
}

/// A test of a value against a list, or against one value.
struct ListTest<'a> {
    value: &'a Expr,
    is_in: bool,
}

fn list_test(expr: &Expr) -> Option<ListTest<'_>> {
    match expr {
        Expr::InList(list) => Some(ListTest {
            value: &list.expr,
            is_in: !list.negated,
        }),
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: op @ (Operator::Eq | Operator::NotEq),
            right,
        }) if matches!(right.as_ref(), Expr::Literal(..)) => Some(ListTest {
            value: left,
            is_in: *op == Operator::Eq,
        }),
        _ => None,
    }
}

/// Number of the test among those that it may be put together with.
#[derive(Clone, Copy)]
struct Chain {
    op: Operator,
    number: usize,
}

/// An expression whose conditions have names for the values of their tests, where a value has several that may not be put together.
fn kept_apart(expr: Expr) -> Result<Transformed<Expr>> {
    if !is_joined(&expr) {
        return expr.map_children(kept_apart);
    }
    let concerned = concerned_values(&expr);
    let mut naming = Naming {
        concerned,
        number: 0,
        is_changed: false,
    };
    let expr = naming.condition(expr, None)?;
    Ok(Transformed::new_transformed(expr, naming.is_changed))
}

/// Values of a condition that have several tests which may not be put together.
fn concerned_values(condition: &Expr) -> HashSet<Expr> {
    let mut of_values: HashMap<&Expr, HashSet<usize>> = HashMap::new();
    number_tests(condition, None, &mut 0, &mut of_values);
    of_values
        .into_iter()
        .filter(|(_, numbers)| numbers.len() > 1)
        .map(|(value, _)| value.clone())
        .collect()
}

fn is_joined(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::BinaryExpr(BinaryExpr {
            op: Operator::And | Operator::Or,
            ..
        })
    )
}

/// The chain of the two sides of AND or OR.
fn chain_of(op: Operator, around: Option<Chain>, number: &mut usize) -> Chain {
    match around {
        Some(chain) if chain.op == op => chain,
        _ => {
            *number += 1;
            let number = *number;
            Chain { op, number }
        }
    }
}

/// Number of a test: that of its chain, or one of its own.
fn number_of(is_in: bool, chain: Option<Chain>, number: &mut usize) -> usize {
    match chain {
        Some(chain) if is_in == (chain.op == Operator::Or) => chain.number,
        _ => {
            *number += 1;
            *number
        }
    }
}

fn number_tests<'a>(
    expr: &'a Expr,
    chain: Option<Chain>,
    number: &mut usize,
    of_values: &mut HashMap<&'a Expr, HashSet<usize>>,
) {
    if let Some(test) = list_test(expr) {
        let of_test = number_of(test.is_in, chain, number);
        of_values.entry(test.value).or_default().insert(of_test);
        return;
    }
    match expr {
        Expr::BinaryExpr(both) if is_joined(expr) => {
            let chain = chain_of(both.op, chain, number);
            number_tests(&both.left, Some(chain), number, of_values);
            number_tests(&both.right, Some(chain), number, of_values);
        }
        Expr::Not(inner) => number_tests(inner, None, number, of_values),
        _ => {}
    }
}

/// Names for the values of a condition's tests, numbered as by [`number_tests`].
struct Naming {
    concerned: HashSet<Expr>,
    number: usize,
    is_changed: bool,
}

impl Naming {
    /// The condition with these names. What is within other expressions is seen to by itself.
    fn condition(&mut self, expr: Expr, chain: Option<Chain>) -> Result<Expr> {
        if let Some(test) = list_test(&expr) {
            let of_test = number_of(test.is_in, chain, &mut self.number);
            let is_concerned = self.concerned.contains(test.value);
            return Ok(match is_concerned {
                true => self.test(expr, &format!("{TESTED}{of_test}")),
                false => self.within(expr)?,
            });
        }
        match expr {
            Expr::BinaryExpr(BinaryExpr {
                left,
                op: op @ (Operator::And | Operator::Or),
                right,
            }) => {
                let chain = chain_of(op, chain, &mut self.number);
                let left = Box::new(self.condition(*left, Some(chain))?);
                let right = Box::new(self.condition(*right, Some(chain))?);
                Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }))
            }
            Expr::Not(inner) => Ok(Expr::Not(Box::new(self.condition(*inner, None)?))),
            other => self.within(other),
        }
    }

    fn test(&mut self, test: Expr, name: &str) -> Expr {
        self.is_changed = true;
        match test {
            Expr::InList(list) => Expr::InList(InList {
                expr: Box::new(list.expr.alias(name)),
                ..list
            }),
            Expr::BinaryExpr(test) => Expr::BinaryExpr(BinaryExpr {
                left: Box::new(test.left.alias(name)),
                ..test
            }),
            other => other,
        }
    }

    fn within(&mut self, expr: Expr) -> Result<Expr> {
        let done = expr.map_children(kept_apart)?;
        self.is_changed |= done.transformed;
        Ok(done.data)
    }
}

#[cfg(test)]
mod tests {
    use crate::nested_projections::tests::value;

    /// A condition's truth for x = 1 to 4 and null, in this order: true, false or null.
    async fn truths(condition: &str) -> String {
        let sql = format!(
            "SELECT string_agg(CASE WHEN c THEN 't' WHEN NOT c THEN 'f' ELSE '-' END, '' ORDER BY n)
             FROM (SELECT n, {condition} AS c FROM (VALUES (1, 1), (2, 2), (3, 3), (4, 4), (5, NULL)) AS v(n, x)) AS q"
        );
        value(&sql).await
    }

    #[tokio::test]
    async fn lists_without_a_common_value_are_null_where_the_value_is() {
        for (condition, expected) in [
            ("x IN (1, 2) AND x IN (3, 4)", "ffff-"),
            ("NOT (x IN (1, 2) AND x IN (3, 4))", "tttt-"),
            ("x NOT IN (1, 2) OR x NOT IN (3, 4)", "tttt-"),
            ("x IN (1, 2) AND x NOT IN (1, 2)", "ffff-"),
            ("NOT (x IN (1, 2) AND x NOT IN (1, 2, 3))", "tttt-"),
            ("x NOT IN (1, 2) AND x IN (1, 2)", "ffff-"),
            ("(x = 1 OR x = 2) AND (x = 3 OR x = 4)", "ffff-"),
            ("NOT ((x = 1 OR x = 2) AND (x = 3 OR x = 4))", "tttt-"),
            ("x = 1 AND x = 2", "ffff-"),
            ("x <> 1 OR x <> 2", "tttt-"),
            ("x IN (1, 2) OR x NOT IN (1, 2)", "tttt-"),
            // What may be put together.
            ("x IN (1, 2) OR x IN (2, 3)", "tttf-"),
            ("x NOT IN (1, 2) AND x NOT IN (2, 3)", "ffft-"),
            ("x IN (1, 2, 3) AND x IN (2, 3, 4)", "fttf-"),
            ("x = 1 OR x = 2 OR x = 4", "ttft-"),
            // Deeper, and beside others.
            (
                "n > 0 AND (x IN (1, 2) AND (x IN (3, 4) AND n > 0))",
                "ffff-",
            ),
            (
                "CASE WHEN x IN (1) THEN true ELSE x NOT IN (1, 2) OR x NOT IN (3) END",
                "tttt-",
            ),
        ] {
            assert_eq!(truths(condition).await, expected, "{condition}");
        }
    }

    #[tokio::test]
    async fn filters_and_aggregates_leave_no_row_out_or_in() {
        let rows = "FROM (VALUES (1), (2), (3), (NULL)) AS v(x)";
        for (sql, expected) in [
            (
                format!("SELECT count(*) {rows} WHERE x NOT IN (1) OR x NOT IN (2)"),
                "3",
            ),
            (
                format!("SELECT count(*) FILTER (WHERE NOT (x IN (1) AND x IN (2))) {rows}"),
                "3",
            ),
            (
                format!("SELECT count(*) {rows} WHERE (x IN (1) AND x IN (2)) IS NULL"),
                "1",
            ),
            (
                format!("SELECT count(*) {rows} WHERE (x IN (1) AND x IN (2)) IS NOT TRUE"),
                "4",
            ),
        ] {
            assert_eq!(value(&sql).await, expected, "{sql}");
        }
    }
}
