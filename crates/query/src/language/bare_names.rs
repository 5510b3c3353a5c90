//! Columns without a table's name before them, in a query that sees the columns of the one around: in a condition, in a column, behind LATERAL.
//!
//! Invariant: such a name is a column of one table. A name that several tables of a query have the planner takes for one of the query around, where that has it too, and answers
//! another question.

use super::operands::folded;
use datafusion::sql::sqlparser::ast::{Expr, Query, TableFactor, Visit, Visitor};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use tillhouse_model::{Error, ErrorKind, Result};

/// Errors when a part of a query names a column alone that `several` tables have.
pub(super) fn check(part: &impl Visit, several: &BTreeSet<String>) -> Result<()> {
    let mut names = BareNames { several, within: 0 };
    match Visit::visit(part, &mut names) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(name) => Err(Error::new(
            ErrorKind::Query,
            format!("the column `{name}` is in more than one table of the query"),
        )
        .hint(format!("Say of which table, like t.{name}."))),
    }
}

/// True for an expression with a query in it that sees the columns around.
pub(super) fn has_query(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Exists { .. } | Expr::InSubquery { .. } | Expr::Subquery(_)
    )
}

/// True for a query in FROM that sees the tables before it.
pub(super) fn is_lateral(table: &TableFactor) -> bool {
    matches!(table, TableFactor::Derived { lateral: true, .. })
}

/// Visitor that stops at the first such name.
struct BareNames<'n> {
    several: &'n BTreeSet<String>,
    /// Queries, whose names are their own, lambdas, which have parameters, and accesses to fields around.
    within: usize,
}

fn has_own_names(expr: &Expr) -> bool {
    matches!(expr, Expr::Lambda(_) | Expr::CompoundFieldAccess { .. })
}

impl Visitor for BareNames<'_> {
    type Break = String;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<String> {
        self.within += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<String> {
        self.within -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        match expr {
            Expr::Identifier(name) if self.within == 0 => {
                let name = folded(name);
                if self.several.contains(&name) {
                    return ControlFlow::Break(name);
                }
            }
            other if has_own_names(other) => self.within += 1,
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        if has_own_names(expr) {
            self.within -= 1;
        }
        ControlFlow::Continue(())
    }
}
