//! Clauses that the planner reads and does not heed.
//!
//! Invariant: a query that says something is answered with it, or refused. DataFusion takes no notice of a sample, a partition, a version, hints and locks, and of the number of equal rows
//! in EXCEPT ALL and INTERSECT ALL; a comparison with ANY or ALL of a query gives it wrong answers.

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Query, SetExpr, SetOperator, SetQuantifier, TableFactor, Visit, Visitor,
};
use std::ops::ControlFlow;
use tillhouse_model::{Error, ErrorKind, Result};

/// Errors when a statement has such a clause.
pub(crate) fn check(statement: &Statement) -> Result<()> {
    let inner = match statement {
        Statement::Statement(inner) => inner,
        Statement::Explain(explain) => return check(&explain.statement),
        _ => return Ok(()),
    };
    match Visit::visit(inner.as_ref(), &mut IgnoredClauses) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break((clause, hint)) => {
            Err(Error::new(ErrorKind::Query, format!("{clause} is not known here")).hint(hint))
        }
    }
}

/// Visitor that stops at the first of them, with its name and what to do.
struct IgnoredClauses;

type FoundClause = (&'static str, &'static str);

const LEAVE_OUT: &str = "Leave it out: SQL here reads one published run, as a whole.";

fn of_set(body: &SetExpr) -> Option<FoundClause> {
    let mut body = body;
    while let SetExpr::SetOperation {
        op,
        set_quantifier,
        left,
        right,
    } = body
    {
        let is_all = matches!(
            set_quantifier,
            SetQuantifier::All | SetQuantifier::AllByName
        );
        if is_all && *op != SetOperator::Union {
            return Some((
                "ALL of EXCEPT and INTERSECT",
                "Without ALL each row is there once; count(*) with GROUP BY tells how often there was one.",
            ));
        }
        if let Some(found) = of_set(right) {
            return Some(found);
        }
        body = left;
    }
    None
}

impl Visitor for IgnoredClauses {
    type Break = FoundClause;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<FoundClause> {
        if !query.locks.is_empty() {
            return ControlFlow::Break(("FOR UPDATE, or FOR SHARE,", LEAVE_OUT));
        }
        match of_set(&query.body) {
            Some(found) => ControlFlow::Break(found),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<FoundClause> {
        match expr {
            // The planner takes the one for the other where there are nulls.
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. }
                if matches!(right.as_ref(), Expr::Subquery(_)) =>
            {
                ControlFlow::Break((
                    "a comparison with ANY, SOME or ALL of a query",
                    "`= ANY (SELECT ...)` is `IN (SELECT ...)`, `> ALL` compares with `(SELECT max(...))`, `> ANY` with `(SELECT min(...))`.",
                ))
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<FoundClause> {
        let (sample, others) = match table {
            TableFactor::Table {
                sample,
                with_hints,
                partitions,
                version,
                index_hints,
                ..
            } => (
                sample.is_some(),
                !with_hints.is_empty()
                    || !partitions.is_empty()
                    || version.is_some()
                    || !index_hints.is_empty(),
            ),
            TableFactor::Derived { sample, .. } => (sample.is_some(), false),
            _ => (false, false),
        };
        if sample {
            return ControlFlow::Break((
                "TABLESAMPLE",
                "A part of the rows by chance: WHERE random() < 0.1.",
            ));
        }
        if others {
            return ControlFlow::Break(("a partition, a version or a hint of a table", LEAVE_OUT));
        }
        ControlFlow::Continue(())
    }
}
