//! `GROUP BY x WITH ROLLUP` and `WITH CUBE`, rows of columns as in `GROUP BY (a, b)` and `ROLLUP ((a, b), c)`, and places of columns within `ROLLUP (1, 2)` and `DISTINCT ON (1)`.
//!
//! Invariant: groups are those that are asked for. DataFusion takes no notice of the words behind, takes a row for one value and a place in brackets for a number.
//!
//! ```text
//!   GROUP BY (a, (b, c))       GROUP BY a, b, c
//!   ROLLUP ((a, b), c)         GROUPING SETS ((a, b, c), (a, b), ())
//!   CUBE ((a, b), c)           GROUPING SETS ((a, b, c), (a, b), (c), ())
//!   SELECT DISTINCT ON (1) a   SELECT DISTINCT ON (a) a
//! ```

use super::refused;
use datafusion::sql::sqlparser::ast::{
    Distinct, Expr, GroupByExpr, GroupByWithModifier, OrderByExpr, Select, SelectItem, Value,
};
use tillhouse_model::{Error, ErrorKind, Result};

/// Columns whose sets are not too many to be planned: 4,096.
const CUBED: usize = 12;

/// Rewrites the groups of a select.
pub(super) fn rewrite(select: &mut Select) -> Result<()> {
    let GroupByExpr::Expressions(by, modifiers) = &mut select.group_by else {
        return Ok(());
    };
    match std::mem::take(modifiers).as_slice() {
        [] => {}
        [GroupByWithModifier::Rollup] => *by = vec![Expr::Rollup(each_alone(by))],
        [GroupByWithModifier::Cube] if by.len() > CUBED => {
            return Err(too_many("WITH CUBE of more than twelve columns"));
        }
        [GroupByWithModifier::Cube] => *by = vec![Expr::Cube(each_alone(by))],
        _ => {
            return Err(refused(
                "GROUP BY with several words behind it",
                "GROUP BY ROLLUP (a, b), CUBE (a, b) and GROUPING SETS ((a), (b)) say which groups there are.",
            ));
        }
    }
    if !by.is_empty() {
        *by = flat(std::mem::take(by));
        // `()` by itself is the group of all rows.
        if by.is_empty() {
            by.push(Expr::GroupingSets(vec![Vec::new()]));
        }
    }
    for by in by.iter_mut() {
        if let Some(sets) = of_rows(by)? {
            *by = Expr::GroupingSets(sets);
        }
    }
    let columns = &select.projection;
    for by in by {
        if let Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) = by {
            for part in sets.iter_mut().flatten() {
                put_column(columns, part, "GROUP BY")?;
            }
        }
    }
    Ok(())
}

/// Puts columns in the place of their numbers in DISTINCT ON.
pub(super) fn distinct_on(select: &mut Select) -> Result<()> {
    if let Some(Distinct::On(by)) = &mut select.distinct {
        for part in by {
            put_column(&select.projection, part, "DISTINCT ON")?;
        }
    }
    Ok(())
}

/// Puts columns in the place of their numbers in the order of a query of DISTINCT ON, whose first are those of DISTINCT ON: the planner compares them as they are written.
pub(super) fn order_distinct(select: &Select, order: &mut [OrderByExpr]) {
    if matches!(select.distinct, Some(Distinct::On(_))) {
        for by in order {
            if let Some(Placed::Column(column)) = at_place(&select.projection, &by.expr) {
                by.expr = column.clone();
            }
        }
    }
}

fn too_many(what: &str) -> Error {
    refused(
        what,
        "Every set of them is a group: GROUPING SETS ((a, b), (a), ()) names those that are wanted.",
    )
}

/// Expressions with the parts of rows in place of the rows.
fn flat(by: Vec<Expr>) -> Vec<Expr> {
    let mut parts = Vec::with_capacity(by.len());
    for one in by {
        match one {
            Expr::Tuple(row) => parts.extend(flat(row)),
            Expr::Nested(inner) if matches!(*inner, Expr::Tuple(_) | Expr::Nested(_)) => {
                parts.extend(flat(vec![*inner]));
            }
            other => parts.push(other),
        }
    }
    parts
}

/// The sets of a ROLLUP or a CUBE of rows, which the planner knows of single columns alone; `None` for any other. Rows within sets are made flat.
fn of_rows(by: &mut Expr) -> Result<Option<Vec<Vec<Expr>>>> {
    let (Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets)) = by else {
        return Ok(None);
    };
    for set in sets.iter_mut() {
        *set = flat(std::mem::take(set));
    }
    let has_rows = sets.iter().any(|set| set.len() != 1);
    Ok(match by {
        Expr::Rollup(sets) if has_rows => Some(
            (0..=sets.len())
                .rev()
                .map(|to| sets[..to].concat())
                .collect(),
        ),
        Expr::Cube(sets) if has_rows && sets.len() > CUBED => {
            return Err(too_many("CUBE of more than twelve rows"));
        }
        Expr::Cube(sets) if has_rows => {
            let chosen = |number: usize| {
                let is_in = |at: &usize| number & (1_usize << at) == 0;
                let places = (0..sets.len()).filter(is_in);
                places
                    .flat_map(|at| sets[at].clone())
                    .collect::<Vec<Expr>>()
            };
            Some((0..1_usize << sets.len()).map(chosen).collect())
        }
        _ => None,
    })
}

fn each_alone(by: &[Expr]) -> Vec<Vec<Expr>> {
    by.iter().map(|by| vec![by.clone()]).collect()
}

/// Replaces the place of a column by the column, in a clause.
///
/// Errors for a place where there is none, and behind `*`, whose columns the tables say.
fn put_column(columns: &[SelectItem], part: &mut Expr, clause: &str) -> Result<()> {
    match at_place(columns, part) {
        None => {}
        Some(Placed::Column(column)) => *part = column.clone(),
        Some(Placed::Unknown) => {
            return Err(refused(
                &format!("{clause} of a place that `*` takes"),
                "Name the column.",
            ));
        }
        Some(Placed::Outside) => {
            let message = format!("{clause} names column {part}, and there is no such column");
            return Err(Error::new(ErrorKind::Query, message));
        }
    }
    Ok(())
}

/// What stands at the place of a column.
enum Placed<'c> {
    Column(&'c Expr),
    /// One of all columns of a table, or behind them.
    Unknown,
    Outside,
}

/// The column whose place an expression is; `None` for any other expression.
fn at_place<'c>(columns: &'c [SelectItem], part: &Expr) -> Option<Placed<'c>> {
    let Expr::Value(number) = part else {
        return None;
    };
    if !matches!(&number.value, Value::Number(..)) {
        return None;
    }
    let Some(at) = place(part) else {
        return Some(Placed::Outside);
    };
    let is_one = |item: &SelectItem| {
        matches!(
            item,
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }
        )
    };
    if !columns.iter().take(at + 1).all(is_one) {
        return Some(Placed::Unknown);
    }
    Some(match columns.get(at) {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => {
            Placed::Column(expr)
        }
        _ => Placed::Outside,
    })
}

/// The place of a column that an expression is, counted from nought.
pub(crate) fn place(part: &Expr) -> Option<usize> {
    let Expr::Value(place) = part else {
        return None;
    };
    let Value::Number(place, _) = &place.value else {
        return None;
    };
    place.parse::<usize>().ok()?.checked_sub(1)
}
