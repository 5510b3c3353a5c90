//! Columns of queries within a statement, under PostgreSQL's names: `SELECT sum FROM (SELECT sum(x) FROM t)`.
//!
//! ```text
//!   SELECT sum FROM (SELECT sum(x) FROM t)            SELECT sum FROM (SELECT sum(x) AS "sum" FROM t)
//!   WITH c AS (SELECT 1) SELECT "?column?" FROM c     WITH c AS (SELECT 1 AS "?column?") SELECT "?column?" FROM c
//!   SELECT upper(k) FROM t ORDER BY upper             SELECT upper(k) AS "upper" FROM t ORDER BY upper
//! ```
//!
//! Invariant: a column gets such a name where the statement asks for it outside of the SELECT that gives the column, and where its own clauses mean no other column by it: HAVING and QUALIFY, and a
//! calculation in ORDER BY, read the columns of the rows in PostgreSQL, and the new names here. All others keep the engine's names, and are found by them. Names are those of the result's
//! headings; a calculation has both, PostgreSQL's `?column?` and its text. Columns of a query within an expression, as in `x IN (SELECT ...)`, are found by that query's own ORDER BY alone: beside
//! `c.count` a `(SELECT count(*) FROM t)` that is called so would be a second one.
//!
//! Rejected: names for all columns. A column that nobody names needs none, and a name may be another column's.

use crate::headings::{name_of, unique_names, written};
use crate::language::{self, folded};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    Expr, Ident, JoinConstraint, JoinOperator, OrderByKind, Query, Select, SelectItem, SetExpr,
    TableFactor, Visit, VisitMut, Visitor, VisitorMut,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// PostgreSQL's name for what has none.
const UNNAMED: &str = "?column?";

/// Gives names to columns that are asked for by PostgreSQL's names, and to queries in FROM that want one, in a statement that is planned.
pub(crate) fn give_names(statement: &mut Statement) {
    name_columns(statement);
    language::name_queries(statement);
}

fn name_columns(statement: &mut Statement) {
    let inner = match statement {
        Statement::Statement(inner) => inner.as_mut(),
        Statement::Explain(explain) => return name_columns(&mut explain.statement),
        _ => return,
    };
    let mut names = ColumnNames {
        asked: asked_in(&*inner),
    };
    // It does not break off.
    let _ = VisitMut::visit(inner, &mut names);
}

/// Number of times that each name is asked for in a part of a statement.
fn asked_in(part: &impl Visit) -> BTreeMap<String, usize> {
    let mut names = AskedNames::default();
    let _ = Visit::visit(part, &mut names);
    names.0
}

#[derive(Default)]
struct AskedNames(BTreeMap<String, usize>);

impl AskedNames {
    fn add(&mut self, name: &Ident) {
        *self.0.entry(folded(name)).or_default() += 1;
    }
}

impl Visitor for AskedNames {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) => self.add(name),
            // The column, or a field of one.
            Expr::CompoundIdentifier(path) => path.iter().skip(1).for_each(|name| self.add(name)),
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let joins = select.from.iter().flat_map(|from| &from.joins);
        for join in joins {
            if let Some(JoinConstraint::Using(columns)) = constraint(&join.join_operator) {
                let names = columns
                    .iter()
                    .filter_map(|column| column.0.last()?.as_ident());
                names.for_each(|name| self.add(name));
            }
        }
        ControlFlow::Continue(())
    }
}

fn constraint(join: &JoinOperator) -> Option<&JoinConstraint> {
    match join {
        JoinOperator::Join(of)
        | JoinOperator::Inner(of)
        | JoinOperator::Left(of)
        | JoinOperator::LeftOuter(of)
        | JoinOperator::Right(of)
        | JoinOperator::RightOuter(of)
        | JoinOperator::FullOuter(of) => Some(of),
        _ => None,
    }
}

/// Visitor that names the columns of each query.
struct ColumnNames {
    /// Names that the whole statement asks for.
    asked: BTreeMap<String, usize>,
}

impl VisitorMut for ColumnNames {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let within = query.with.iter_mut().flat_map(|with| &mut with.cte_tables);
        for named in within {
            name_query(&mut named.query, &self.asked);
        }
        // Its own ORDER BY finds the columns of any query.
        let asked = asked_in(&*query);
        name_query(query, &asked);
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Derived { subquery, .. } = table {
            name_query(subquery, &self.asked);
        }
        ControlFlow::Continue(())
    }
}

/// Names the columns of a query that are among what is asked for, in the SELECT that gives them, if need be of a query in brackets.
fn name_query(query: &mut Query, asked: &BTreeMap<String, usize>) {
    let in_order = names_in_calculations(query);
    match first_body(&mut query.body) {
        SetExpr::Select(select) => name_items(select, &in_order, asked),
        SetExpr::Query(inner) => name_query(inner, asked),
        _ => {}
    }
}

fn name_items(select: &mut Select, in_order: &BTreeSet<String>, asked: &BTreeMap<String, usize>) {
    let is_candidate =
        |item: &SelectItem| matches!(item, SelectItem::UnnamedExpr(expr) if !is_column(expr));
    if !select.projection.iter().any(is_candidate) {
        return;
    }
    let within = asked_in(&*select);
    let in_conditions = [asked_in(&select.having), asked_in(&select.qualify)];
    let of_others: BTreeSet<String> = select.projection.iter().filter_map(own_name).collect();
    let has_wildcard = select.projection.iter().any(|item| {
        matches!(
            item,
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
        )
    });
    let is_free = |name: &str| {
        let times = |of: &BTreeMap<String, usize>| of.get(name).copied().unwrap_or_default();
        times(asked) > times(&within)
            && in_conditions.iter().all(|asked| times(asked) == 0)
            && !in_order.contains(name)
            && !of_others.contains(name)
    };
    let names: Vec<String> = select.projection.iter().map(name_in_postgresql).collect();
    let names = unique_names(names.iter().map(String::as_str));
    for (item, name) in select.projection.iter_mut().zip(names) {
        let SelectItem::UnnamedExpr(expr) = &*item else {
            continue;
        };
        // One of all columns may have the name of a column that is cast.
        if is_column(expr) || has_wildcard && is_cast_column(expr) {
            continue;
        }
        let text = || name_of(expr).is_none().then(|| written(expr));
        let name = Some(name)
            .filter(|name| is_free(name))
            .or_else(|| text().filter(|text| is_free(text)));
        if let Some(name) = name {
            *item = SelectItem::ExprWithAlias {
                expr: expr.clone(),
                alias: Ident::with_quote('"', name),
            };
        }
    }
}

/// The names that a query is ordered by within calculations, or with a table before them.
fn names_in_calculations(query: &Query) -> BTreeSet<String> {
    let order = query.order_by.as_ref().map(|by| &by.kind);
    let order = match order {
        Some(OrderByKind::Expressions(order)) => order.as_slice(),
        _ => &[],
    };
    let calculated = order
        .iter()
        .filter(|by| !matches!(by.expr, Expr::Identifier(_)));
    let names = calculated.flat_map(|by| asked_in(&by.expr).into_keys());
    names.collect()
}

/// The part of a set operation that names its columns: the first.
fn first_body(body: &mut SetExpr) -> &mut SetExpr {
    match body {
        SetExpr::SetOperation { left, .. } => first_body(left),
        other => other,
    }
}

/// The name of an item that has one without being given it.
fn own_name(item: &SelectItem) -> Option<String> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(folded(name)),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => path.last().map(folded),
        _ => None,
    }
}

/// PostgreSQL's name of an item; none of several columns.
fn name_in_postgresql(item: &SelectItem) -> String {
    let own = own_name(item);
    own.or_else(|| match item {
        SelectItem::UnnamedExpr(expr) => Some(name_of(expr).unwrap_or_else(|| UNNAMED.to_owned())),
        _ => None,
    })
    .unwrap_or_default()
}

fn is_column(expr: &Expr) -> bool {
    matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_))
}

fn is_cast_column(expr: &Expr) -> bool {
    match expr {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => is_column(expr) || is_cast_column(expr),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::give_names;
    use datafusion::sql::parser::{DFParser, Statement};

    fn named(sql: &str) -> String {
        let mut statements = DFParser::parse_sql(sql).unwrap();
        let statement: &mut Statement = &mut statements[0];
        give_names(statement);
        statement.to_string()
    }

    #[test]
    fn a_column_that_is_asked_for_has_postgresqls_name() {
        for (sql, after) in [
            (
                "SELECT sum FROM (SELECT sum(x) FROM t) AS q",
                "SELECT sum FROM (SELECT sum(x) AS \"sum\" FROM t) AS q",
            ),
            (
                "WITH c AS (SELECT k, count(*) FROM t GROUP BY k) SELECT c.k FROM c WHERE c.count > 1",
                "WITH c AS (SELECT k, count(*) AS \"count\" FROM t GROUP BY k) SELECT c.k FROM c WHERE c.count > 1",
            ),
            (
                "SELECT sum_2 FROM (SELECT sum(x), sum(y) FROM t) AS q",
                "SELECT sum_2 FROM (SELECT sum(x), sum(y) AS \"sum_2\" FROM t) AS q",
            ),
            (
                "SELECT \"?column?\", \"x * 2\" FROM (SELECT x + 1, x * 2 FROM t) AS q",
                "SELECT \"?column?\", \"x * 2\" FROM (SELECT x + 1 AS \"?column?\", x * 2 AS \"x * 2\" FROM t) AS q",
            ),
            (
                "SELECT max(x) FROM (SELECT x::INT FROM t UNION ALL SELECT 2) AS q",
                "SELECT max(x) FROM (SELECT x::INT AS \"x\" FROM t UNION ALL SELECT 2) AS q",
            ),
            (
                "SELECT upper(k) FROM t ORDER BY upper",
                "SELECT upper(k) AS \"upper\" FROM t ORDER BY upper",
            ),
            (
                "SELECT * FROM (SELECT count(*) FROM t) AS q JOIN u USING(count)",
                "SELECT * FROM (SELECT count(*) AS \"count\" FROM t) AS q JOIN u USING(count)",
            ),
            (
                "SELECT sum FROM ((SELECT sum(x) FROM t ORDER BY 1) UNION ALL SELECT 2) AS q",
                "SELECT sum FROM ((SELECT sum(x) AS \"sum\" FROM t ORDER BY 1) UNION ALL SELECT 2) AS q",
            ),
            (
                "SELECT k IN (SELECT upper(k) FROM t ORDER BY upper LIMIT 1) FROM t",
                "SELECT k IN (SELECT upper(k) AS \"upper\" FROM t ORDER BY upper LIMIT 1) FROM t",
            ),
            (
                "EXPLAIN SELECT sum FROM (SELECT sum(x) FROM t) AS q",
                "EXPLAIN SELECT sum FROM (SELECT sum(x) AS \"sum\" FROM t) AS q",
            ),
        ] {
            assert_eq!(named(sql), after);
        }
    }

    #[test]
    fn any_other_column_keeps_its_own() {
        for sql in [
            "SELECT sum(x) FROM t",
            "SELECT q.* FROM (SELECT sum(x) FROM t) AS q",
            "SELECT \"sum(t.x)\" FROM (SELECT sum(x) FROM t) AS q",
            // The column of the rows is meant.
            "SELECT x::INT FROM t GROUP BY x HAVING x > 1 ORDER BY x",
            "SELECT x::INT FROM t ORDER BY x + 1",
            "SELECT x::INT FROM t ORDER BY t.x",
            // It would be a second one of the name.
            "SELECT c.count, (SELECT count(*) FROM u WHERE u.k = c.k) FROM c",
            "SELECT k FROM t WHERE k IN (SELECT k::INT FROM u WHERE u.k = t.k)",
            // One of two, which are the column's own.
            "SELECT x FROM (SELECT *, x::INT FROM t) AS q",
            "SELECT sum FROM (SELECT sum, sum(x) FROM t GROUP BY sum) AS q",
        ] {
            assert_eq!(named(sql), sql);
        }
    }
}
