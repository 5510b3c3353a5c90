//! `(a, b) IN (SELECT x, y ...)` in WHERE, of which the planner knows one column alone.
//!
//! Invariant: it is asked as EXISTS, which is false where IN is unknown. Both choose no row where conditions are joined by AND and OR; anywhere else, and with NOT, such a test is refused.
//!
//! ```text
//!   WHERE (a, b) IN (SELECT x, y FROM t)      WHERE EXISTS (SELECT 1 FROM (SELECT x, y FROM t) AS r(x, y) WHERE a = r.x AND b = r.y)
//! ```

use super::pivot;
use super::refused;
use super::tree::{binary, quoted, whole};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Query, SelectItem, TableAlias, TableAliasColumnDef,
    TableFactor,
};
use tillhouse_model::Result;

/// The name of the rows that are asked for; no query has it.
const ROWS: &str = "__rows";

/// Rewrites a condition of WHERE.
pub(super) fn rewrite(condition: &mut Expr) {
    match condition {
        Expr::Nested(inner) => rewrite(inner),
        Expr::BinaryOp {
            left,
            op: BinaryOperator::And | BinaryOperator::Or,
            right,
        } => {
            rewrite(left);
            rewrite(right);
        }
        Expr::InSubquery {
            expr,
            subquery,
            negated: false,
        } => {
            if let Expr::Tuple(parts) = expr.as_ref() {
                let exists = exists(parts, subquery);
                *condition = exists;
            }
        }
        _ => {}
    }
}

/// Errors for such a test that is left.
pub(super) fn check(expr: &Expr) -> Result<()> {
    match expr {
        Expr::InSubquery { expr, .. } if matches!(expr.as_ref(), Expr::Tuple(_)) => Err(refused(
            "(a, b) IN (SELECT ...) with NOT, or outside of WHERE",
            "EXISTS (SELECT 1 FROM t WHERE t.x = a AND t.y = b) asks nearly the same: it is false where IN would be null.",
        )),
        _ => Ok(()),
    }
}

fn exists(parts: &[Expr], query: &Query) -> Expr {
    let names: Vec<_> = (1..=parts.len())
        .map(|at| quoted(&format!("__c{at}")))
        .collect();
    let columns = names.iter().map(|name| TableAliasColumnDef {
        name: name.clone(),
        data_type: None,
    });
    let rows = TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query.clone()),
        alias: Some(TableAlias {
            explicit: true,
            name: quoted(ROWS),
            columns: columns.collect(),
            at: None,
        }),
        sample: None,
    };
    let one = vec![SelectItem::UnnamedExpr(whole(1))];
    let all = GroupByExpr::Expressions(Vec::new(), Vec::new());
    let mut select = pivot::select(one, &rows, all);
    let equal = parts.iter().zip(names).map(|(part, name)| {
        let column = Expr::CompoundIdentifier(vec![quoted(ROWS), name]);
        binary(part.clone(), BinaryOperator::Eq, column)
    });
    select.selection = equal.reduce(|one, other| binary(one, BinaryOperator::And, other));
    Expr::Exists {
        subquery: Box::new(pivot::query(select)),
        negated: false,
    }
}
