//! Columns that a statement carries from its table's rows to its own without naming them: who a row comes from, its lineage.
//!
//! ```text
//!   SELECT t.p['id'] AS payment_id                           SELECT t.p['id'] AS payment_id, t._record_key
//!   FROM (SELECT unnest(payments) AS p FROM sales) t   -->   FROM (SELECT unnest(payments) AS p, _record_key FROM sales) t
//! ```
//!
//! Invariant: a column that a level names itself stays as it is written, and a statement that names them all is not touched. Rows that are
//! made of many (GROUP BY, DISTINCT, UNION without ALL) have no lineage that could be carried: such a statement has to name its own.
//!
//! Rejected: carrying them through the logical plan. Every kind of node would have to be taken apart, where SQL has four places.

use crate::derived_columns::call;
use crate::failure::into_error;
use crate::read_only;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    self, Cte, Expr, GroupByExpr, Ident, Query, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetExpr, SetOperator, SetQuantifier, TableFactor,
};
use tillhouse_model::Result;

/// A column of a statement's result, and the columns of its table that it is taken from: the first that is not null.
pub type CarriedColumn<'a> = (&'a str, &'a [&'a str]);

/// A statement with these columns carried from `table` where it leaves them out; as it was, where it cannot carry them.
///
/// ```
/// let carried = tillhouse_query::carry_columns("SELECT id FROM sales", "sales", &[("_run_id", &["_run_id"])]);
/// assert_eq!(carried.unwrap(), "SELECT id, sales._run_id FROM sales");
/// ```
///
/// Errors with [`tillhouse_model::ErrorKind::Query`] when the SQL cannot be parsed or is not a query.
pub fn carry_columns(sql: &str, table: &str, columns: &[CarriedColumn<'_>]) -> Result<String> {
    let Statement::Statement(mut statement) = read_only::parse(sql).map_err(into_error)? else {
        return Ok(sql.to_owned());
    };
    let ast::Statement::Query(query) = statement.as_mut() else {
        return Ok(sql.to_owned());
    };
    let added = carry(query, &mut [], table, columns);
    Ok(match added {
        Some(added) if !added.is_empty() => statement.to_string(),
        _ => sql.to_owned(),
    })
}

/// Names of the columns that were added, in their order; `None` where they cannot be carried.
type Added = Option<Vec<String>>;

fn carry(
    query: &mut Query,
    known: &mut [Cte],
    table: &str,
    columns: &[CarriedColumn<'_>],
) -> Added {
    match &mut query.with {
        // Names of an outer WITH are out of reach from here: whoever nests them names the columns.
        Some(with) => carry_through(&mut query.body, &mut with.cte_tables, table, columns),
        None => carry_through(&mut query.body, known, table, columns),
    }
}

fn carry_through(
    body: &mut SetExpr,
    known: &mut [Cte],
    table: &str,
    columns: &[CarriedColumn<'_>],
) -> Added {
    match body {
        SetExpr::Select(select) => carry_select(select, known, table, columns),
        SetExpr::Query(query) => carry(query, known, table, columns),
        SetExpr::SetOperation {
            left,
            op: SetOperator::Union,
            set_quantifier: SetQuantifier::All,
            right,
        } => {
            let added = carry_through(left, known, table, columns)?;
            // Columns of a union meet by position.
            (carry_through(right, known, table, columns)? == added).then_some(added)
        }
        _ => None,
    }
}

fn carry_select(
    select: &mut Select,
    known: &mut [Cte],
    table: &str,
    columns: &[CarriedColumn<'_>],
) -> Added {
    let left_out: Vec<CarriedColumn<'_>> = columns
        .iter()
        .filter(|(name, _)| !select.projection.iter().any(|item| gives(item, name)))
        .copied()
        .collect();
    if left_out.is_empty() {
        return Some(Vec::new());
    }
    let grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    if grouped || select.distinct.is_some() {
        return None;
    }
    let mut needed: Vec<CarriedColumn<'_>> = Vec::new();
    for (_, sources) in &left_out {
        for source in *sources {
            if !needed.iter().any(|(name, _)| name == source) {
                needed.push((*source, std::slice::from_ref(source)));
            }
        }
    }
    let relations = select.from.iter_mut().flat_map(|from| {
        std::iter::once(&mut from.relation)
            .chain(from.joins.iter_mut().map(|join| &mut join.relation))
    });
    let mut reached = None;
    for relation in relations {
        if let Some(qualifier) = carry_relation(relation, known, table, &needed) {
            reached = Some(qualifier);
            break;
        }
    }
    let qualifier = reached?;
    let mut added = Vec::new();
    for (name, sources) in left_out {
        if select
            .projection
            .iter()
            .any(|item| is_wildcard_of(item, &qualifier))
            && sources == [name]
        {
            continue;
        }
        select.projection.push(item(name, sources, &qualifier));
        added.push(name.to_owned());
    }
    Some(added)
}

/// The relation's name in its SELECT, where it brings the columns.
fn carry_relation(
    relation: &mut TableFactor,
    known: &mut [Cte],
    table: &str,
    needed: &[CarriedColumn<'_>],
) -> Option<Option<Ident>> {
    match relation {
        TableFactor::Derived {
            subquery, alias, ..
        } => {
            if alias
                .as_ref()
                .is_some_and(|alias| !alias.columns.is_empty())
            {
                return None;
            }
            carry(subquery, known, table, needed)?;
            Some(alias.as_ref().map(|alias| alias.name.clone()))
        }
        TableFactor::Table { name, alias, .. } => {
            let last = name.0.last().and_then(|part| part.as_ident())?.clone();
            let called = alias.as_ref().map_or(&last, |alias| &alias.name).clone();
            if let Some(at) = known.iter().position(|cte| cte.alias.name == last) {
                let (before, from) = known.split_at_mut(at);
                let cte = from.first_mut()?;
                if !cte.alias.columns.is_empty() {
                    return None;
                }
                carry(&mut cte.query, before, table, needed)?;
                return Some(Some(called));
            }
            (last.value == table).then_some(Some(called))
        }
        _ => None,
    }
}

/// True if an item of a SELECT has this name.
fn gives(item: &SelectItem, name: &str) -> bool {
    match item {
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => ident.value == name,
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => {
            path.last().is_some_and(|ident| ident.value == name)
        }
        SelectItem::ExprWithAlias { alias, .. } => alias.value == name,
        SelectItem::ExprWithAliases { aliases, .. } => {
            aliases.iter().any(|alias| alias.value == name)
        }
        _ => false,
    }
}

/// True if an item gives all columns of the relation.
fn is_wildcard_of(item: &SelectItem, qualifier: &Option<Ident>) -> bool {
    match item {
        SelectItem::Wildcard(_) => true,
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
            name.0.last().and_then(|part| part.as_ident()) == qualifier.as_ref()
        }
        _ => false,
    }
}

fn item(name: &str, sources: &[&str], qualifier: &Option<Ident>) -> SelectItem {
    let column = |source: &&str| match qualifier {
        Some(qualifier) => Expr::CompoundIdentifier(vec![qualifier.clone(), Ident::new(*source)]),
        None => Expr::Identifier(Ident::new(*source)),
    };
    if sources == [name] {
        return SelectItem::UnnamedExpr(column(&name));
    }
    let expr = match sources {
        [source] => column(source),
        _ => Expr::Function(call("coalesce", sources.iter().map(column))),
    };
    SelectItem::ExprWithAlias {
        expr,
        alias: Ident::new(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINEAGE: &[CarriedColumn<'static>] =
        &[("_key", &["_key"]), ("_as_of", &["_time", "_read"])];

    fn carried(sql: &str) -> String {
        carry_columns(sql, "sales", LINEAGE).unwrap()
    }

    #[test]
    fn columns_are_carried_through_every_level() {
        let cases = [
            (
                "SELECT id FROM sales",
                "SELECT id, sales._key, coalesce(sales._time, sales._read) AS _as_of FROM sales",
            ),
            (
                "SELECT t.id FROM (SELECT id FROM sales WHERE id > 1) t",
                "SELECT t.id, t._key, coalesce(t._time, t._read) AS _as_of FROM \
                 (SELECT id, sales._key, sales._time, sales._read FROM sales WHERE id > 1) t",
            ),
            (
                "SELECT id FROM (SELECT *, 1 AS one FROM sales)",
                "SELECT id, _key, coalesce(_time, _read) AS _as_of FROM (SELECT *, 1 AS one FROM sales)",
            ),
            (
                "SELECT s.id FROM payments p JOIN (SELECT s.* FROM sales s) s ON p.sale = s.id",
                "SELECT s.id, s._key, coalesce(s._time, s._read) AS _as_of FROM payments p \
                 JOIN (SELECT s.* FROM sales s) s ON p.sale = s.id",
            ),
            (
                "WITH a AS (SELECT id FROM sales) SELECT id FROM a UNION ALL SELECT id FROM a AS b",
                "WITH a AS (SELECT id, sales._key, sales._time, sales._read FROM sales) \
                 SELECT id, a._key, coalesce(a._time, a._read) AS _as_of FROM a \
                 UNION ALL SELECT id, b._key, coalesce(b._time, b._read) AS _as_of FROM a AS b",
            ),
        ];
        for (sql, wanted) in cases {
            let found = carried(sql);
            assert_eq!(
                found.split_whitespace().collect::<Vec<_>>().join(" "),
                wanted.split_whitespace().collect::<Vec<_>>().join(" "),
                "{sql}"
            );
        }
    }

    #[test]
    fn what_a_statement_names_stays_as_it_is_written() {
        let named = "SELECT  id, 'mine' AS _key, now() AS _as_of -- both\nFROM sales";
        assert_eq!(carried(named), named);
        let half = carried("SELECT id, 'mine' AS _key FROM (SELECT id, 1 AS _time FROM sales) t");
        assert_eq!(
            half,
            "SELECT id, 'mine' AS _key, coalesce(t._time, t._read) AS _as_of FROM (SELECT id, 1 AS _time, sales._read FROM sales) t"
        );
    }

    #[test]
    fn rows_that_are_made_of_many_carry_nothing() {
        for sql in [
            "SELECT id FROM sales GROUP BY id",
            "SELECT DISTINCT id FROM sales",
            "SELECT id FROM sales UNION SELECT id FROM sales",
            "SELECT id FROM (SELECT id FROM sales GROUP BY id)",
            "SELECT id FROM payments",
            "SELECT id FROM sales UNION ALL SELECT id, _key FROM sales",
            "SELECT id FROM (SELECT id FROM sales) AS t (id)",
        ] {
            assert_eq!(carried(sql), sql);
        }
    }
}
