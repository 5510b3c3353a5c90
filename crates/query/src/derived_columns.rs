//! Columns of a statement's result that are computed from others of its columns, where it leaves them out.
//!
//! ```text
//!   SELECT id, t.at AS occurred_at FROM t   -->   SELECT id, t.at AS occurred_at, month_of(t.at) AS month FROM t
//! ```
//!
//! Invariant: a column that a statement names stays as it is written, and so does a statement that lacks what one is computed from first. What
//! is added is what its author would have written, so the plan is the same.

use crate::failure::into_error;
use crate::read_only;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    self, Expr, Function, Ident, ObjectName, Select, SelectItem, SetExpr, SetOperator,
};
use tillhouse_model::Result;

/// A column of a statement's result, the function that computes it, and the columns of the result that it is computed from: without the first
/// it is not, and any other that is left out is null.
pub type DerivedColumn<'a> = (&'a str, &'a str, &'a [&'a str]);

/// A statement with these columns computed where it leaves them out.
///
/// ```
/// let derived: tillhouse_query::DerivedColumn<'_> = ("month", "month_of", &["occurred_at"]);
/// let sql = tillhouse_query::derive_columns("SELECT at AS occurred_at FROM sales", &[derived]);
/// assert_eq!(sql.unwrap(), "SELECT at AS occurred_at, month_of(at) AS month FROM sales");
/// ```
///
/// Errors with [`tillhouse_model::ErrorKind::Query`] when the SQL cannot be parsed or is not a query.
pub fn derive_columns(sql: &str, columns: &[DerivedColumn<'_>]) -> Result<String> {
    let Statement::Statement(mut statement) = read_only::parse(sql).map_err(into_error)? else {
        return Ok(sql.to_owned());
    };
    let ast::Statement::Query(query) = statement.as_mut() else {
        return Ok(sql.to_owned());
    };
    Ok(match derive(&mut query.body, columns) {
        Some(added) if !added.is_empty() => statement.to_string(),
        _ => sql.to_owned(),
    })
}

/// Names of the columns that were added, in their order; `None` where they cannot be.
fn derive<'a>(body: &mut SetExpr, columns: &[DerivedColumn<'a>]) -> Option<Vec<&'a str>> {
    match body {
        SetExpr::Select(select) => derive_select(select, columns),
        SetExpr::Query(query) => derive(&mut query.body, columns),
        SetExpr::SetOperation {
            left,
            op: SetOperator::Union,
            right,
            ..
        } => {
            let added = derive(left, columns)?;
            // Columns of a union meet by position.
            (derive(right, columns)? == added).then_some(added)
        }
        _ => None,
    }
}

fn derive_select<'a>(select: &mut Select, columns: &[DerivedColumn<'a>]) -> Option<Vec<&'a str>> {
    // The columns of a wildcard nobody knows here.
    let is_named = |item: &SelectItem| {
        matches!(
            item,
            SelectItem::UnnamedExpr(_) | SelectItem::ExprWithAlias { .. }
        )
    };
    if !select.projection.iter().all(is_named) {
        return None;
    }
    let mut added = Vec::new();
    for (name, function, of) in columns {
        if expression(select, name).is_some() {
            continue;
        }
        let argument = |column: &&str| expression(select, column).cloned();
        let arguments: Vec<Option<Expr>> = of.iter().map(argument).collect();
        if let Some(Some(_)) = arguments.first() {
            let null = || Expr::Value(ast::Value::Null.with_empty_span());
            let arguments = arguments
                .into_iter()
                .map(|argument| argument.unwrap_or_else(null));
            let arguments: Vec<Expr> = arguments.collect();
            select.projection.push(SelectItem::ExprWithAlias {
                expr: Expr::Function(call(function, arguments)),
                alias: Ident::new(*name),
            });
            added.push(*name);
        }
    }
    Some(added)
}

/// The expression that a SELECT gives this name.
fn expression<'s>(select: &'s Select, name: &str) -> Option<&'s Expr> {
    select.projection.iter().find_map(|item| match item {
        SelectItem::ExprWithAlias { expr, alias } => (alias.value == name).then_some(expr),
        SelectItem::UnnamedExpr(expr @ Expr::Identifier(ident)) => {
            (ident.value == name).then_some(expr)
        }
        SelectItem::UnnamedExpr(expr @ Expr::CompoundIdentifier(path)) => {
            let last = path.last()?;
            (last.value == name).then_some(expr)
        }
        _ => None,
    })
}

/// A call of a function.
pub(crate) fn call(function: &str, arguments: impl IntoIterator<Item = Expr>) -> Function {
    let arguments = arguments
        .into_iter()
        .map(|argument| ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(argument)));
    Function {
        name: ObjectName::from(vec![Ident::new(function)]),
        uses_odbc_syntax: false,
        parameters: ast::FunctionArguments::None,
        args: ast::FunctionArguments::List(ast::FunctionArgumentList {
            duplicate_treatment: None,
            args: arguments.collect(),
            clauses: Vec::new(),
        }),
        filter: None,
        null_treatment: None,
        over: None,
        within_group: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[DerivedColumn<'static>] = &[
        ("month", "month_of", &["at"]),
        ("day", "local_date", &["at", "zone"]),
    ];

    fn derived(sql: &str) -> String {
        derive_columns(sql, COLUMNS).unwrap()
    }

    #[test]
    fn what_is_left_out_is_computed_from_what_is_there() {
        for (sql, wanted) in [
            (
                "SELECT t.at, o.z['name'] AS zone FROM t JOIN o ON t.id = o.id",
                "SELECT t.at, o.z['name'] AS zone, month_of(t.at) AS month, local_date(t.at, o.z['name']) AS day FROM t JOIN o ON t.id = o.id",
            ),
            (
                "SELECT coalesce(a, b) AS at FROM t",
                "SELECT coalesce(a, b) AS at, month_of(coalesce(a, b)) AS month, local_date(coalesce(a, b), NULL) AS day FROM t",
            ),
            (
                "SELECT at, zone, now() AS month FROM t",
                "SELECT at, zone, now() AS month, local_date(at, zone) AS day FROM t",
            ),
            (
                "SELECT at FROM t UNION ALL SELECT b AS at FROM u",
                "SELECT at, month_of(at) AS month, local_date(at, NULL) AS day FROM t \
                 UNION ALL SELECT b AS at, month_of(b) AS month, local_date(b, NULL) AS day FROM u",
            ),
        ] {
            assert_eq!(derived(sql), wanted);
        }
    }

    #[test]
    fn what_cannot_be_computed_is_left_as_it_is_written() {
        for sql in [
            "SELECT  id, zone -- no time\nFROM t",
            "SELECT *, 1 AS at FROM t",
            "SELECT at FROM t UNION ALL SELECT id FROM t",
            "SELECT at, 'x' AS month, now() AS day FROM t",
        ] {
            assert_eq!(derived(sql), sql);
        }
    }
}
