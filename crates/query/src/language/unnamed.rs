//! Queries in FROM without a name, `FROM (SELECT ...)`: they get one where the SELECT around calls an output as one of the columns that it names.
//!
//! Invariant: a column of such a query is found as that of a query with a name is. Without one the planner takes it for the output that is called the same, in HAVING and QUALIFY, and sorts by it where
//! ORDER BY means the output. The name is none that the statement has, and no result and no message shows it: see [`without_given_names`].
//!
//! ```text
//!   SELECT -a AS a FROM (SELECT ...) GROUP BY a HAVING a > 0     SELECT -a AS a FROM (SELECT ...) AS "__from_1" GROUP BY a HAVING a > 0
//! ```
//!
//! A query that may have two columns of one name stays without: of a query with a name the planner takes the first of them, where it refuses both of one without.

use super::cast_column;
use super::operands::folded;
use super::tree::quoted;
use datafusion::sql::sqlparser::ast::{
    Expr, Query, Select, SelectItem, SetExpr, Statement, TableAlias, TableFactor, TableWithJoins,
    Visit, VisitMut, Visitor, VisitorMut,
};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// The beginning of the names; a number follows.
const GIVEN: &str = "__from_";

/// Gives names to the queries in FROM that have none.
pub(super) fn name_queries(statement: &mut Statement) {
    if Visit::visit(&*statement, &mut UnnamedQuery).is_continue() {
        return;
    }
    let written = statement.to_string().to_lowercase();
    let taken = written.split(GIVEN).skip(1).filter_map(|behind| {
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        behind.get(..digits)?.parse().ok()
    });
    let mut names = NameGiver {
        taken: taken.collect(),
        given: 0,
    };
    // It does not break off.
    let _ = VisitMut::visit(statement, &mut names);
}

/// True for a name that a query got here.
pub(crate) fn is_given(name: &str) -> bool {
    name.strip_prefix(GIVEN).is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// A text without such names: `sum(a)` for `sum(__from_1.a)`, and `(SELECT 1)` for `(SELECT 1) AS "__from_1"`.
pub(crate) fn without_given_names(text: &str) -> Cow<'_, str> {
    if !text.contains(GIVEN) {
        return Cow::Borrowed(text);
    }
    let mut parts = text.split(GIVEN);
    let mut shown = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let rest = part.get(digits..).filter(|_| digits > 0);
        let of_column = rest.and_then(|rest| rest.strip_prefix('.'));
        let of_query = rest.and_then(|rest| rest.strip_prefix('"'));
        let before = shown.strip_suffix(" AS \"").map(str::len);
        match (of_column, of_query, before) {
            (Some(column), _, _) => shown.push_str(column),
            (None, Some(behind), Some(before)) => {
                shown.truncate(before);
                shown.push_str(behind);
            }
            _ => {
                shown.push_str(GIVEN);
                shown.push_str(part);
            }
        }
    }
    Cow::Owned(shown)
}

/// Visitor that stops at the first query without a name.
struct UnnamedQuery;

impl Visitor for UnnamedQuery {
    type Break = ();

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        match table {
            TableFactor::Derived { alias: None, .. } => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// Visitor that gives the names.
struct NameGiver {
    /// Numbers of such names that the statement has.
    taken: BTreeSet<usize>,
    given: usize,
}

impl NameGiver {
    fn give(&mut self) -> String {
        loop {
            self.given += 1;
            if !self.taken.contains(&self.given) {
                return format!("{GIVEN}{}", self.given);
            }
        }
    }

    fn name_tables(&mut self, from: &mut TableWithJoins) {
        self.name_table(&mut from.relation);
        for join in &mut from.joins {
            self.name_table(&mut join.relation);
        }
    }

    fn name_table(&mut self, table: &mut TableFactor) {
        match table {
            TableFactor::Derived {
                subquery,
                alias: alias @ None,
                ..
            } => {
                if may_repeat_names(subquery) {
                    return;
                }
                *alias = Some(TableAlias {
                    explicit: true,
                    name: quoted(&self.give()),
                    columns: Vec::new(),
                    at: None,
                });
            }
            TableFactor::NestedJoin {
                table_with_joins,
                alias: None,
            } => self.name_tables(table_with_joins),
            _ => {}
        }
    }
}

impl VisitorMut for NameGiver {
    type Break = ();

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        if names_outputs_as_columns(select) {
            for from in &mut select.from {
                self.name_tables(from);
            }
        }
        ControlFlow::Continue(())
    }
}

/// True where an output is called as a column that the SELECT names, the one that it is made of or another.
fn names_outputs_as_columns(select: &Select) -> bool {
    let given = select.projection.iter().filter_map(|item| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(folded(alias)),
        // A cast of a column is called as the column.
        SelectItem::UnnamedExpr(expr) => cast_column(expr),
        _ => None,
    });
    let given: BTreeSet<String> = given.collect();
    if given.is_empty() {
        return false;
    }
    let mut named = NamedColumn { given: &given };
    Visit::visit(&select.projection, &mut named).is_break()
        || Visit::visit(&select.distinct, &mut named).is_break()
        || Visit::visit(&select.group_by, &mut named).is_break()
        || Visit::visit(&select.having, &mut named).is_break()
        || Visit::visit(&select.qualify, &mut named).is_break()
        || Visit::visit(&select.named_window, &mut named).is_break()
}

/// Visitor that stops at the first column of one of the names.
struct NamedColumn<'n> {
    given: &'n BTreeSet<String>,
}

impl Visitor for NamedColumn<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Identifier(name) if self.given.contains(&folded(name)) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

/// True for a query that may have two columns of one name, of which each is of another table: the planner refuses any others.
fn may_repeat_names(query: &Query) -> bool {
    let mut body = query.body.as_ref();
    let select = loop {
        body = match body {
            SetExpr::Select(select) => break select,
            // The first SELECT names the columns of all.
            SetExpr::SetOperation { left, .. } => left,
            SetExpr::Query(inner) => return may_repeat_names(inner),
            _ => return false,
        };
    };
    has_tables(select) && repeats_names(select)
}

/// True for a SELECT from several tables.
fn has_tables(select: &Select) -> bool {
    select.from.len() > 1
        || select.from.iter().any(|from| {
            !from.joins.is_empty() || matches!(from.relation, TableFactor::NestedJoin { .. })
        })
}

fn repeats_names(select: &Select) -> bool {
    let (mut names, mut tables) = (BTreeSet::new(), 0_usize);
    for item in &select.projection {
        let name = match item {
            SelectItem::Wildcard(_) => return true,
            SelectItem::QualifiedWildcard(..) => {
                tables += 1;
                None
            }
            SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name),
            SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => path.last(),
            _ => None,
        };
        if let Some(name) = name
            && !names.insert(folded(name))
        {
            return true;
        }
    }
    // `FROM a, b` without a SELECT has all columns.
    select.projection.is_empty() || tables > 1 || tables == 1 && !names.is_empty()
}

#[cfg(test)]
mod tests {
    use super::{name_queries, without_given_names};
    use datafusion::sql::sqlparser::dialect::GenericDialect;
    use datafusion::sql::sqlparser::parser::Parser;

    fn named(sql: &str) -> String {
        let mut statements = Parser::parse_sql(&GenericDialect {}, sql).unwrap();
        name_queries(&mut statements[0]);
        statements[0].to_string()
    }

    #[test]
    fn a_query_has_a_name_where_an_output_is_called_as_a_column() {
        for (sql, after) in [
            (
                "SELECT -a AS a FROM t, (SELECT 1 AS a) AS q",
                "SELECT -a AS a FROM t, (SELECT 1 AS a) AS q",
            ),
            (
                "SELECT k AS a, a AS k FROM (SELECT a + 1 AS a FROM (SELECT 1 AS a)), (VALUES (1)) AS v",
                "SELECT k AS a, a AS k FROM (SELECT a + 1 AS a FROM (SELECT 1 AS a) AS \"__from_2\") AS \"__from_1\", (VALUES (1)) AS v",
            ),
            (
                "SELECT (SELECT -a AS A FROM (SELECT 1 AS a)) FROM (VALUES (1)) UNION SELECT x AS y FROM ((SELECT 2 AS x) JOIN t ON true) GROUP BY x, y",
                "SELECT (SELECT -a AS A FROM (SELECT 1 AS a) AS \"__from_1\") FROM (VALUES (1)) UNION SELECT x AS y FROM ((SELECT 2 AS x) AS \"__from_2\" JOIN t ON true) GROUP BY x, y",
            ),
            (
                "SELECT a + 1 AS a FROM __From_1, (SELECT 1)",
                "SELECT a + 1 AS a FROM __From_1, (SELECT 1) AS \"__from_2\"",
            ),
            (
                "SELECT a + 1 AS a FROM __from_1 JOIN __from_2x ON true JOIN __from_31 ON true, (SELECT 1), (SELECT 2)",
                "SELECT a + 1 AS a FROM __from_1 JOIN __from_2x ON true JOIN __from_31 ON true, (SELECT 1) AS \"__from_3\", (SELECT 2) AS \"__from_4\"",
            ),
            (
                "SELECT CAST(n AS INT) FROM (SELECT a.*, b.k + 1 AS n FROM a, b) HAVING n > 1",
                "SELECT CAST(n AS INT) FROM (SELECT a.*, b.k + 1 AS n FROM a, b) AS \"__from_1\" HAVING n > 1",
            ),
        ] {
            assert_eq!(named(sql), after);
        }
    }

    #[test]
    fn any_other_query_has_none() {
        for sql in [
            "SELECT a FROM t",
            "SELECT a, b + 1 AS n FROM (SELECT 1 AS a, 2 AS b)",
            // It may have two columns of one name.
            "SELECT k + 1 AS k FROM (SELECT * FROM a, b)",
            "SELECT k + 1 AS k FROM (SELECT a.k, b.k FROM a JOIN b ON true)",
            "SELECT k + 1 AS k FROM (SELECT a.*, b.* FROM a, b UNION SELECT 1, 2)",
            "SELECT k + 1 AS k FROM (SELECT a.*, b.k FROM a, b)",
            "SELECT k + 1 AS k FROM ((SELECT * FROM a JOIN b ON true) LIMIT 1)",
        ] {
            assert_eq!(named(sql), sql);
        }
    }

    #[test]
    fn no_text_shows_a_name_that_was_given() {
        for (text, shown) in [
            ("sum(__from_1.a) + __from_12.b", "sum(a) + b"),
            (
                "__from_a.b, __from_, __from_1",
                "__from_a.b, __from_, __from_1",
            ),
            (
                "(SELECT a FROM (SELECT 1 AS a) AS \"__from_1\") + 1",
                "(SELECT a FROM (SELECT 1 AS a)) + 1",
            ),
            ("a.b", "a.b"),
        ] {
            assert_eq!(without_given_names(text), shown);
        }
    }
}
