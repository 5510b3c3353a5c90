//! SQL that analysts write and DataFusion does not plan, said in what it does.
//!
//! Invariant: a statement means what it means in PostgreSQL, or, where only DuckDB has the words, what it means there; what cannot be said otherwise is refused by name. A
//! rewrite is of the tree, and the heading of a column stays what was written.
//!
//! ```text
//!   calls           count_if, every, if, arg_max, mode, percentile_disc ...      aggregates and CASE
//!   operands        AT TIME ZONE of a column, extract(century ...), ::json       functions of ours
//!   selects         EXISTS in a column, HAVING without groups, ORDER BY ALL      subqueries, aggregates, positions
//!   pivot           PIVOT, UNPIVOT                                               filtered aggregates, unnest
//! ```

mod calls;
mod lambda;
mod operands;
mod pivot;
mod selects;
mod tree;

pub(crate) use lambda::lambda_function;

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, JoinOperator, Query, Select, SelectItem, TableFactor, Value, ValueWithSpan, VisitMut,
    VisitorMut,
};
use std::ops::ControlFlow;
use tillhouse_model::{Error, ErrorKind, Result};

/// Rewrites a statement.
///
/// Errors with [`ErrorKind::Query`] for what cannot be had.
pub(crate) fn rewrite(statement: &mut Statement) -> Result<()> {
    let inner = match statement {
        Statement::Statement(inner) => inner,
        Statement::Explain(explain) => return rewrite(&mut explain.statement),
        _ => return Ok(()),
    };
    match VisitMut::visit(inner.as_mut(), &mut Rewriter::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Error of words that are known and cannot be had here.
fn refused(what: &str, hint: &str) -> Error {
    Error::new(ErrorKind::Query, format!("{what} is not known here")).hint(hint)
}

/// Visitor that rewrites from the inside out.
#[derive(Default)]
struct Rewriter {
    /// Columns without a name of their own, of the selects that are being visited: their texts before anything changes.
    headings: Vec<Vec<Option<String>>>,
}

fn flow(outcome: Result<()>) -> ControlFlow<Error> {
    match outcome {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl VisitorMut for Rewriter {
    type Break = Error;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        let heading = |item: &SelectItem| match item {
            SelectItem::UnnamedExpr(
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_),
            ) => None,
            SelectItem::UnnamedExpr(expr) => Some(expr.to_string()),
            _ => None,
        };
        self.headings
            .push(select.projection.iter().map(heading).collect());
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        let outcome = selects::rewrite(select);
        let headings = self.headings.pop().unwrap_or_default();
        for (item, heading) in select.projection.iter_mut().zip(headings) {
            let (SelectItem::UnnamedExpr(expr), Some(heading)) = (&item, heading) else {
                continue;
            };
            if expr.to_string() != heading {
                *item = SelectItem::ExprWithAlias {
                    expr: expr.clone(),
                    alias: tree::quoted(&heading),
                };
            }
        }
        flow(outcome)
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        flow(selects::order(query))
    }

    fn post_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Error> {
        if let TableFactor::NestedJoin {
            table_with_joins, ..
        } = table
            && table_with_joins
                .joins
                .iter()
                .any(|join| matches!(join.join_operator, JoinOperator::AsOf { .. }))
        {
            return ControlFlow::Break(selects::no_asof());
        }
        if let TableFactor::UNNEST { array_exprs, .. } = table {
            array_exprs.iter_mut().for_each(operands::as_call);
        }
        flow(pivot::rewrite(table))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if let Expr::Subquery(query) = expr {
            selects::first_row(query);
        }
        flow(calls::rewrite(expr).and_then(|()| operands::rewrite(expr)))
    }

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<Error> {
        // The tokenizer has read the escapes of `U&'...'` already.
        if let Value::UnicodeStringLiteral(text) | Value::NationalStringLiteral(text) =
            &mut value.value
        {
            value.value = Value::SingleQuotedString(std::mem::take(text));
        }
        ControlFlow::Continue(())
    }
}
