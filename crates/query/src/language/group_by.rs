//! `GROUP BY x WITH ROLLUP` and `WITH CUBE`, and places of columns within `ROLLUP (1, 2)`.
//!
//! Invariant: groups are those that are asked for. DataFusion takes no notice of the words behind, and takes a place in brackets for a number.

use super::refused;
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, GroupByWithModifier, Select, SelectItem, Value,
};
use tillhouse_model::Result;

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
            return Err(refused(
                "WITH CUBE of more than twelve columns",
                "Every set of them is a group: GROUPING SETS ((a, b), (a), ()) names those that are wanted.",
            ));
        }
        [GroupByWithModifier::Cube] => *by = vec![Expr::Cube(each_alone(by))],
        _ => {
            return Err(refused(
                "GROUP BY with several words behind it",
                "GROUP BY ROLLUP (a, b), CUBE (a, b) and GROUPING SETS ((a), (b)) say which groups there are.",
            ));
        }
    }
    let columns = &select.projection;
    for by in by {
        if let Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) = by {
            for part in sets.iter_mut().flatten() {
                if let Some(column) = at_place(columns, part) {
                    *part = column;
                }
            }
        }
    }
    Ok(())
}

fn each_alone(by: &[Expr]) -> Vec<Vec<Expr>> {
    by.iter().map(|by| vec![by.clone()]).collect()
}

/// The column whose place an expression is.
fn at_place(columns: &[SelectItem], part: &Expr) -> Option<Expr> {
    let Expr::Value(place) = part else {
        return None;
    };
    let Value::Number(place, _) = &place.value else {
        return None;
    };
    let at = place.parse::<usize>().ok()?.checked_sub(1)?;
    match columns.get(at)? {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            Some(expr.clone())
        }
        _ => None,
    }
}
