//! Rows of several columns that are compared: with others that are written out, and `(a, b) IN (SELECT x, y ...)` in WHERE, of which the planner knows one column alone.
//!
//! Invariant: rows are compared part by part, and a part that is null is not known. The planner takes a row for one value that is never null, with parts of which null equals null: `(NULL, 2) NOT IN ((1, 2))`
//! was true. A query is asked by EXISTS, which is false where IN is unknown. Both choose no row where conditions are joined by AND and OR; anywhere else, and with NOT, such a test is refused.
//!
//! ```text
//!   (a, b) < (c, d)                           a < c OR a = c AND b < d
//!   (a, b) IN ((1, 2), (3, 4))                a = 1 AND b = 2 OR a = 3 AND b = 4
//!   (a, b) IS NULL                            a IS NULL AND b IS NULL
//!   WHERE (a, b) IN (SELECT x, y FROM t)      WHERE EXISTS (SELECT 1 FROM (SELECT x, y FROM t) AS r(x, y) WHERE a = r.x AND b = r.y)
//! ```

use super::pivot;
use super::refused;
use super::tree::{binary, either, plain_name, quoted, values, whole};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, GroupByExpr, Query, SelectItem, SetExpr, TableAlias, TableAliasColumnDef,
    TableFactor, TableWithJoins, UnaryOperator,
};
use tillhouse_model::Result;

/// The name of the rows that are asked for; no query has it.
const ROWS: &str = "__rows";
/// Columns of rows that are put in order: each is a level of the tree.
const MOST_ORDERED: usize = 64;
/// Values of a list of rows: each is compared by itself.
const MOST_VALUES: usize = 10_000;

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

/// The comparison in a query that [`rewrite`] has made, whose names are those of the query around; `None` for any other query.
pub(super) fn comparison_in(query: &mut Query) -> Option<&mut Expr> {
    let SetExpr::Select(select) = query.body.as_mut() else {
        return None;
    };
    let is_ours = match select.from.as_slice() {
        [
            TableWithJoins {
                relation: TableFactor::Derived { alias, .. },
                ..
            },
        ] => alias.as_ref().is_some_and(|alias| alias.name.value == ROWS),
        _ => false,
    };
    select.selection.as_mut().filter(|_| is_ours)
}

/// Rewrites a comparison of rows that are written out.
pub(super) fn compare(expr: &mut Expr) -> Result<()> {
    let said = match expr {
        Expr::BinaryOp { left, op, right } => compared(left, op, right)?,
        Expr::InList {
            expr: of,
            list,
            negated,
        } if parts_of(of).is_some() => {
            let columns = parts_of(of).map_or(0, |parts| parts.len());
            if list.len().saturating_mul(columns) > MOST_VALUES {
                return Err(refused(
                    "a list of rows with more than 10,000 values",
                    "EXISTS (SELECT 1 FROM (VALUES (1, 2), (3, 4)) AS w(x, y) WHERE w.x = a AND w.y = b) compares with as many rows as there are.",
                ));
            }
            let each = list
                .iter()
                .map(|row| compared(of, &BinaryOperator::Eq, row))
                .collect::<Result<Option<Vec<_>>>>()?;
            each.and_then(either).map(|any| unless(*negated, any))
        }
        Expr::Between {
            expr: of,
            negated,
            low,
            high,
        } => {
            let low = compared(of, &BinaryOperator::GtEq, low)?;
            let high = compared(of, &BinaryOperator::LtEq, high)?;
            let within = low.zip(high);
            within.map(|(low, high)| unless(*negated, binary(low, BinaryOperator::And, high)))
        }
        Expr::IsNull(of) => each_part(of, Expr::IsNull),
        Expr::IsNotNull(of) => each_part(of, Expr::IsNotNull),
        _ => None,
    };
    if let Some(said) = said {
        *expr = nested(said);
    }
    Ok(())
}

fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

/// A condition, or that it does not hold.
fn unless(negated: bool, condition: Expr) -> Expr {
    if !negated {
        return condition;
    }
    Expr::UnaryOp {
        op: UnaryOperator::Not,
        expr: Box::new(nested(condition)),
    }
}

/// The parts of a row that is written out, `(a, b)` or `ROW(a, b)`; `None` for anything else.
fn parts_of(expr: &Expr) -> Option<Vec<Expr>> {
    match expr {
        Expr::Nested(inner) => parts_of(inner),
        Expr::Tuple(parts) => Some(parts.clone()),
        Expr::Function(call) if plain_name(&call.name).as_deref() == Some("row") => {
            values(&call.args)
        }
        _ => None,
    }
}

/// A test that holds for all parts of a row; `None` for what is none.
fn each_part(of: &Expr, test: fn(Box<Expr>) -> Expr) -> Option<Expr> {
    let parts = parts_of(of)?.into_iter();
    parts
        .map(|part| test(Box::new(part)))
        .reduce(|one, other| binary(one, BinaryOperator::And, other))
}

/// The comparison of two rows, or of two values within them; `None` where one is not written out, and for operators that compare nothing.
fn compared(left: &Expr, op: &BinaryOperator, right: &Expr) -> Result<Option<Expr>> {
    let (Some(left), Some(right)) = (parts_of(left), parts_of(right)) else {
        return Ok(None);
    };
    let strict = match op {
        BinaryOperator::Eq | BinaryOperator::NotEq => None,
        BinaryOperator::Lt | BinaryOperator::LtEq => Some(BinaryOperator::Lt),
        BinaryOperator::Gt | BinaryOperator::GtEq => Some(BinaryOperator::Gt),
        _ => return Ok(None),
    };
    if left.len() != right.len() {
        return Err(refused(
            "a comparison of rows with another number of columns",
            "Give both as many: (a, b) = (1, 2).",
        ));
    }
    if strict.is_some() && left.len() > MOST_ORDERED {
        return Err(refused(
            "an order of rows with more than 64 columns",
            "Compare the columns that decide.",
        ));
    }
    let mut said: Option<Expr> = None;
    // The first parts that differ decide.
    for (one, other) in left.iter().zip(&right).rev() {
        said = Some(match (said.take(), &strict) {
            (None, _) => of_parts(one, op, other)?,
            (Some(rest), Some(strict)) => {
                let alike = of_parts(one, &BinaryOperator::Eq, other)?;
                let rest = nested(binary(alike, BinaryOperator::And, rest));
                let decides = of_parts(one, strict, other)?;
                nested(binary(decides, BinaryOperator::Or, rest))
            }
            (Some(rest), None) if *op == BinaryOperator::NotEq => {
                nested(binary(of_parts(one, op, other)?, BinaryOperator::Or, rest))
            }
            (Some(rest), None) => binary(of_parts(one, op, other)?, BinaryOperator::And, rest),
        });
    }
    Ok(said)
}

/// The comparison of two parts, which may be rows themselves.
fn of_parts(one: &Expr, op: &BinaryOperator, other: &Expr) -> Result<Expr> {
    let rows = compared(one, op, other)?;
    Ok(rows.unwrap_or_else(|| binary(one.clone(), op.clone(), other.clone())))
}
