//! SQL that analysts write and DataFusion does not plan, said in what it does.
//!
//! Invariant: a statement means what it means in PostgreSQL, or, where only DuckDB has the words, what it means there; what cannot be said otherwise is refused by name. A
//! rewrite is of the tree, and the heading of a column stays what was written.
//!
//! ```text
//!   calls           count_if, every, if, arg_max, mode, percentile_disc ...      aggregates and CASE
//!   operands        AT TIME ZONE, extract(century ...), ::json, ::varchar(3)     functions
//!                   LIKE ANY (ARRAY[...])                                        LIKE ... OR LIKE ...
//!                   LIKE ... ESCAPE '!'                                          LIKE ..., escaped by backslashes
//!   selects         ORDER BY 2 of a calculation over groups                      a name for it
//!                   EXISTS in a column, HAVING without groups, ORDER BY ALL, FETCH FIRST   subqueries, aggregates, positions, LIMIT
//!   rows            (a, b) = (1, 2), (a, b) IN ((1, 2), (3, 4))                  comparisons of the parts
//!                   (a, b) IN (SELECT x, y ...) in WHERE                         EXISTS
//!   group_by        GROUP BY ... WITH ROLLUP, WITH CUBE                          ROLLUP (...), CUBE (...)
//!   windows         OVER w, OVER (w ORDER BY ...)                                the window written out
//!   lists           LATERAL unnest(...), generate_series(1, t.n)                 UNNEST
//!   pivot           PIVOT, UNPIVOT                                               filtered aggregates, unnest
//!   with_names      WITH of a name that a query around it has given already        a name of its own
//!   unnamed         -a AS a FROM (SELECT ...)                                    a name that nobody sees
//!   bare_names      a name that two tables of a subquery have                    refused
//!   merged          JOIN ... USING, NATURAL JOIN                                 ON, and the merged column written out; it needs the tables' columns
//! ```

mod bare_names;
mod calls;
mod group_by;
mod lambda;
mod lists;
mod merged;
mod merged_names;
mod operands;
mod pivot;
mod rows;
mod selects;
mod tree;
mod unnamed;
mod windows;
mod with_names;

pub(crate) use group_by::place;
pub(crate) use lambda::lambda_function;
pub(crate) use merged::{TableColumns, merge_columns};
pub(crate) use operands::folded;
pub(crate) use tree::{call, text};
pub(crate) use unnamed::{is_given, without_given_names};

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, JoinOperator, Query, Select, SelectItem, TableFactor, Value, ValueWithSpan, VisitMut,
    VisitorMut,
};
use std::ops::ControlFlow;
use tillhouse_model::{Error, ErrorKind, Result};
use with_names::WithNames;

/// Rewrites a statement.
///
/// Errors with [`ErrorKind::Query`] for what cannot be had.
pub(crate) fn rewrite(statement: &mut Statement) -> Result<()> {
    let inner = match statement {
        Statement::Statement(inner) => inner,
        Statement::Explain(explain) => return rewrite(&mut explain.statement),
        _ => return Ok(()),
    };
    // It does not break off.
    let _ = VisitMut::visit(inner.as_mut(), &mut WithNames::default());
    match VisitMut::visit(inner.as_mut(), &mut Rewriter::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Gives names to queries in FROM that have none and want one, in a statement that is planned. One that becomes a text again stays as it is written.
pub(crate) fn name_queries(statement: &mut Statement) {
    match statement {
        Statement::Statement(inner) => unnamed::name_queries(inner),
        Statement::Explain(explain) => name_queries(&mut explain.statement),
        _ => {}
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
    headings: Vec<Vec<Option<WrittenColumn>>>,
    /// Queries within each other.
    queries: usize,
}

/// A column without a name of its own, as it is written.
struct WrittenColumn {
    text: String,
    /// The name that it gets where it changes.
    name: String,
}

impl WrittenColumn {
    /// Outside of all queries nobody asks for a column by the name that it got, but for ORDER BY, which would take it for the column that it is of.
    fn of(expr: &Expr, is_asked_for: bool) -> Self {
        let text = expr.to_string();
        let name = cast_column(expr).filter(|_| is_asked_for);
        let name = name.unwrap_or_else(|| text.clone());
        Self { text, name }
    }

    /// The column, under its name.
    fn naming(&self, expr: Expr) -> SelectItem {
        SelectItem::ExprWithAlias {
            expr,
            alias: tree::quoted(&self.name),
        }
    }
}

/// The column that a cast is of, whose name it keeps.
fn cast_column(expr: &Expr) -> Option<String> {
    let Expr::Cast { expr, .. } = expr else {
        return None;
    };
    match expr.as_ref() {
        Expr::Identifier(name) => Some(operands::folded(name)),
        Expr::CompoundIdentifier(path) => path.last().map(operands::folded),
        inner => cast_column(inner),
    }
}

fn flow(outcome: Result<()>) -> ControlFlow<Error> {
    match outcome {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => ControlFlow::Break(error),
    }
}

impl VisitorMut for Rewriter {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Error> {
        if let Some(condition) = &mut select.selection {
            rows::rewrite(condition);
        }
        let is_within = self.queries > 1;
        let heading = |item: &SelectItem| match item {
            SelectItem::UnnamedExpr(
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) | Expr::Value(_),
            ) => None,
            SelectItem::UnnamedExpr(expr) => Some(WrittenColumn::of(expr, is_within)),
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
            if expr.to_string() != heading.text {
                *item = heading.naming(expr.clone());
            }
        }
        flow(outcome)
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        self.queries -= 1;
        selects::limit(query);
        flow(selects::order(query, self.queries > 0))
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
        lists::rewrite(table);
        if let TableFactor::UNNEST { array_exprs, .. } = table {
            array_exprs.iter_mut().for_each(operands::as_call);
        }
        flow(pivot::rewrite(table))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        if let Expr::Subquery(query) = expr {
            selects::first_row(query);
        }
        let rewritten = rows::check(expr)
            .and_then(|()| calls::rewrite(expr))
            .and_then(|()| rows::compare(expr))
            .and_then(|()| operands::rewrite(expr));
        flow(rewritten)
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
