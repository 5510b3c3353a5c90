//! Lists that are compared and sorted, as PostgreSQL does it: element by element, of which one that is null is greater than any other.
//!
//! Invariant: `ARRAY[1, 2] < ARRAY[1, NULL]`, whatever stands first or last of lists that are null themselves. DataFusion takes such an element for the least where lists are compared, and where
//! they are sorted puts it where the lists go that are null.
//!
//! ```text
//!   a < b                          list_order(a, b) < 0
//!   ORDER BY a NULLS FIRST         ORDER BY a IS NULL DESC, a NULLS LAST
//! ```

use crate::typed_rewrite::rewrite_expressions;
use arrow::array::{Array, ArrayRef, Int32Array, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr::{Between, ScalarFunction, Sort as SortExpr};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility, binary_expr, lit, not,
};
use datafusion::optimizer::AnalyzerRule;
use std::cmp::Ordering;
use std::sync::Arc;

/// The rule. It comes after types are coerced.
#[derive(Debug)]
pub(crate) struct OrderedLists;

impl AnalyzerRule for OrderedLists {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let plan = rewrite_expressions(plan, in_order)?;
        let done = plan.transform_up_with_subqueries(|plan| {
            let LogicalPlan::Sort(mut sort) = plan else {
                return Ok(Transformed::no(plan));
            };
            let is_changed = order_apart(&mut sort.expr, sort.input.schema());
            Ok(Transformed::new_transformed(
                LogicalPlan::Sort(sort),
                is_changed,
            ))
        })?;
        Ok(done.data)
    }

    fn name(&self) -> &'static str {
        "ordered_lists"
    }
}

fn is_list(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(
        expr.get_type(schema),
        Ok(DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..))
    )
}

/// Sorts lists that are null apart from those that are not, where they go to the other end than an element does; true if there are any.
fn order_apart(order: &mut Vec<SortExpr>, schema: &DFSchema) -> bool {
    let is_apart = |by: &SortExpr| by.nulls_first == by.asc && is_list(&by.expr, schema);
    if !order.iter().any(is_apart) {
        return false;
    }
    let keys = std::mem::take(order).into_iter().flat_map(|by| {
        if !is_apart(&by) {
            return vec![by];
        }
        let is_null = SortExpr::new(by.expr.clone().is_null(), !by.nulls_first, false);
        vec![is_null, SortExpr::new(by.expr, by.asc, !by.asc)]
    });
    *order = keys.collect();
    true
}

/// An expression that asks which of two lists is greater, or sorts by lists.
fn in_order(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right })
            if is_order(op) && is_list(&left, schema) && is_list(&right, schema) =>
        {
            Transformed::yes(compared(*left, op, *right))
        }
        Expr::Between(Between {
            expr,
            negated,
            low,
            high,
        }) if is_list(&expr, schema) && is_list(&low, schema) && is_list(&high, schema) => {
            let from = compared(expr.as_ref().clone(), Operator::GtEq, *low);
            let between = from.and(compared(*expr, Operator::LtEq, *high));
            Transformed::yes(match negated {
                true => not(between),
                false => between,
            })
        }
        // One of different values is sorted by its argument alone.
        Expr::AggregateFunction(mut call) if !call.params.distinct => {
            let is_changed = order_apart(&mut call.params.order_by, schema);
            Transformed::new_transformed(Expr::AggregateFunction(call), is_changed)
        }
        Expr::WindowFunction(mut call) => {
            let is_changed = order_apart(&mut call.params.order_by, schema);
            Transformed::new_transformed(Expr::WindowFunction(call), is_changed)
        }
        other => Transformed::no(other),
    }
}

fn is_order(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Lt | Operator::LtEq | Operator::Gt | Operator::GtEq
    )
}

fn compared(left: Expr, operator: Operator, right: Expr) -> Expr {
    let call = ScalarFunction::new_udf(Arc::new(function()), vec![left, right]);
    binary_expr(Expr::ScalarFunction(call), operator, lit(0_i32))
}

/// `list_order`, below, at or above zero as a list is less than another one, equal, or greater.
pub(crate) fn function() -> ScalarUDF {
    ScalarUDF::new_from_impl(ListOrder {
        signature: Signature::any(2, Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ListOrder {
    signature: Signature,
}

impl ScalarUDFImpl for ListOrder {
    fn name(&self) -> &'static str {
        "list_order"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return internal_err!("two lists are compared");
        };
        let is_constant = matches!(
            (left, right),
            (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_))
        );
        let rows = if is_constant { 1 } else { args.number_rows };
        let order: ArrayRef = Arc::new(order_of(&column(left)?, &column(right)?, rows)?);
        if is_constant {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(
                &order, 0,
            )?));
        }
        Ok(ColumnarValue::Array(order))
    }
}

/// A column of lists, and 1, or 0 where one list stands for all rows.
fn column(value: &ColumnarValue) -> Result<(ArrayRef, usize)> {
    Ok(match value {
        ColumnarValue::Array(lists) => (Arc::clone(lists), 1),
        ColumnarValue::Scalar(list) => (list.to_array()?, 0),
    })
}

fn order_of(
    (left, left_step): &(ArrayRef, usize),
    (right, right_step): &(ArrayRef, usize),
    rows: usize,
) -> Result<Int32Array> {
    let options = SortOptions {
        descending: false,
        nulls_first: false,
    };
    let compare = make_comparator(left, right, options)?;
    let order = (0..rows).map(|row| {
        let (left_at, right_at) = (row * left_step, row * right_step);
        let is_known = left.is_valid(left_at) && right.is_valid(right_at);
        is_known.then(|| match compare(left_at, right_at) {
            Ordering::Less => -1,
            Ordering::Equal => 0,
            Ordering::Greater => 1,
        })
    });
    Ok(order.collect())
}

#[cfg(test)]
mod tests {
    use crate::nested_projections::tests::column;

    #[tokio::test]
    async fn an_element_that_is_null_is_the_greatest() {
        let rows =
            "(VALUES (1, [1, NULL]), (2, [1, 2]), (3, NULL), (4, [1]), (5, [NULL, 1])) AS v(k, x)";
        for (asked, expected) in [
            ("x < [1, 3]", "false true  true false"),
            ("x > [1, 2]", "true false  false true"),
            ("x BETWEEN [1, 2] AND [1, NULL]", "true true  false false"),
            (
                "x NOT BETWEEN [1, 2] AND [1, NULL]",
                "false false  true true",
            ),
            ("x = [1, NULL]", "true false  false false"),
        ] {
            let sql = format!("SELECT {asked} FROM {rows} ORDER BY k");
            assert_eq!(column(&sql).await, expected, "{asked}");
        }
        for (order, expected) in [
            ("x", "4 2 1 5 3"),
            ("x NULLS FIRST", "3 4 2 1 5"),
            ("x DESC", "3 5 1 2 4"),
            ("x DESC NULLS LAST", "5 1 2 4 3"),
        ] {
            let sql = format!("SELECT k FROM {rows} ORDER BY {order}");
            assert_eq!(column(&sql).await, expected, "{order}");
            let sql =
                format!("SELECT string_agg(CAST(k AS VARCHAR), ' ' ORDER BY {order}) FROM {rows}");
            assert_eq!(column(&sql).await, expected, "{order}");
            let sql = format!(
                "SELECT k FROM (SELECT k, row_number() OVER (ORDER BY {order}) AS n FROM {rows}) AS q ORDER BY n"
            );
            assert_eq!(column(&sql).await, expected, "{order}");
        }
        for (order, expected) in [
            ("x NULLS FIRST", "[, [1], [1, 2]]"),
            ("x DESC NULLS LAST", "[[1, 2], [1], ]"),
        ] {
            let sql = format!(
                "SELECT array_agg(DISTINCT x ORDER BY {order}) FROM {rows} WHERE k IN (2, 3, 4)"
            );
            assert_eq!(column(&sql).await, expected, "{order}");
        }
    }
}
