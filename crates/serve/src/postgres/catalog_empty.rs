//! Questions about the catalog that have no rows here, whatever they ask: those for constraints and indexes, of which our tables have none.
//!
//! Invariant: a query, or a branch of one, is emptied only where its FROM gives no row and it makes none of its own: an outer join keeps the rows of its other side, UNION its
//! other branches, and an aggregate of nothing is a row. It is emptied only where it has words that the engine has not: what the engine can plan it answers itself.

use super::words::{Token, tokens};
use datafusion::sql::sqlparser::ast::{
    AccessExpr, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    Ident, Join, JoinOperator, ObjectName, ObjectNamePart, Query, Select, SelectItem, SetExpr,
    SetOperator, Statement, TableFactor, TableWithJoins, Visit, Visitor, visit_relations,
};
use datafusion::sql::sqlparser::dialect::PostgreSqlDialect;
use datafusion::sql::sqlparser::parser::Parser;
use std::ops::ControlFlow;

/// Functions of lists that questions about constraints and indexes are asked with, and pgjdbc's.
const OF_LISTS: [&str; 3] = ["generate_subscripts", "_pg_expandarray", "unnest"];
/// Word of psql's question about the descriptions of constraints.
const CONSTRAINT: &str = "table constraint";
/// Tables of constraints and indexes, of which there are none here.
pub(super) const CONSTRAINED: [&str; 2] = ["pg_constraint", "pg_index"];
/// Columns with the columns of an index or a constraint, and what is said of each, of which psqlODBC and pgjdbc ask for one.
const KEYS: [&str; 6] = [
    "conkey",
    "confkey",
    "indclass",
    "indcollation",
    "indkey",
    "indoption",
];
/// Functions that make one row of none.
const AGGREGATES: [&str; 14] = [
    "array_agg",
    "avg",
    "bool_and",
    "bool_or",
    "count",
    "every",
    "json_agg",
    "json_object_agg",
    "jsonb_agg",
    "jsonb_object_agg",
    "max",
    "min",
    "string_agg",
    "sum",
];
/// Words that make something of null.
const OF_NULL: [&str; 5] = ["case", "coalesce", "concat", "count", "is"];

/// Name of a query in WITH, and if it has no rows. The last of a name is meant.
pub(super) type NamedQuery = (String, bool);

/// Adds the queries in WITH of a query.
pub(super) fn add_named(query: &Query, named: &mut Vec<NamedQuery>) {
    for with in query.with.iter().flat_map(|with| &with.cte_tables) {
        let is_empty = is_empty_query(&with.query, named);
        named.push((with.alias.name.value.clone(), is_empty));
    }
}

/// True of a statement that reads constraints or indexes anywhere.
pub(super) fn reads_constrained(statement: &Statement) -> bool {
    let read = visit_relations(statement, |name| {
        match catalog_table(name).is_some_and(|name| CONSTRAINED.contains(&name)) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    read.is_break()
}

/// Empties a query, or the branches of one, that is about constraints or indexes: its columns, by the names that it gives them, and no rows. Those of the outermost query
/// are texts; within another they have the type that they meet there.
pub(super) fn empty(query: &mut Query, named: &[NamedQuery], is_outermost: bool) {
    let is_empty = is_empty_body(&query.body, named) && has_words(&query.to_string());
    match is_empty.then(|| without_rows(&query.body, is_outermost)) {
        Some(Some(none)) => *query = none,
        Some(None) => {}
        None => empty_branches(&mut query.body, named),
    }
}

fn empty_branches(body: &mut SetExpr, named: &[NamedQuery]) {
    let SetExpr::SetOperation { left, right, .. } = body else {
        return;
    };
    for branch in [left, right] {
        let is_empty = is_empty_body(branch, named) && has_words(&branch.to_string());
        match is_empty.then(|| without_rows(branch, false)).flatten() {
            Some(none) => **branch = *none.body,
            None => empty_branches(branch, named),
        }
    }
}

/// True of the query of a value that is about constraints or indexes: it has no row, or makes null of none.
pub(super) fn is_null(query: &Query, named: &[NamedQuery]) -> bool {
    let mut named = named.to_vec();
    add_named(query, &mut named);
    let is_nothing = match query.body.as_ref() {
        SetExpr::Select(select) => {
            has_no_source(select, &named) && (!makes_a_row(select) || makes_null(select))
        }
        body => is_empty_body(body, &named),
    };
    is_nothing && has_words(&query.to_string())
}

/// True of one of the columns of an index or a constraint, `indkey[1]`: no row has any.
pub(super) fn is_of_key(root: &Expr, chain: &[AccessExpr]) -> bool {
    let name = match chain.split_last() {
        Some((AccessExpr::Subscript(_), [])) => root,
        Some((AccessExpr::Subscript(_), [.., AccessExpr::Dot(name)])) => name,
        _ => return false,
    };
    is_key(name)
}

/// True of the columns of an index or a constraint.
pub(super) fn is_key(expr: &Expr) -> bool {
    let name = match expr {
        Expr::Identifier(name) => Some(name),
        Expr::CompoundIdentifier(path) => path.last(),
        _ => None,
    };
    name.is_some_and(|name| KEYS.contains(&name.value.as_str()))
}

/// True of a text with words of questions about constraints and indexes that the engine has not.
fn has_words(written: &str) -> bool {
    let placed = tokens(written);
    placed.iter().enumerate().any(|(at, of)| {
        let is_before = |sign: char| {
            let next = placed.get(at + 1);
            next.is_some_and(|next| next.token.is_sign(sign))
        };
        match &of.token {
            Token::Text(text) => text == CONSTRAINT,
            Token::Word(name) | Token::Name(name) => {
                let name = name.as_str();
                (OF_LISTS.contains(&name) && is_before('('))
                    || (KEYS.contains(&name) && is_before('['))
            }
            Token::Number(_) | Token::Sign(_) => false,
        }
    })
}

fn is_empty_query(query: &Query, named: &[NamedQuery]) -> bool {
    let mut named = named.to_vec();
    add_named(query, &mut named);
    is_empty_body(&query.body, &named)
}

fn is_empty_body(body: &SetExpr, named: &[NamedQuery]) -> bool {
    match body {
        SetExpr::Select(select) => {
            (has_no_source(select, named) || has_no_elements(select)) && !makes_a_row(select)
        }
        SetExpr::Query(inner) => is_empty_query(inner, named),
        SetExpr::SetOperation {
            op, left, right, ..
        } => match op {
            SetOperator::Union => is_empty_body(left, named) && is_empty_body(right, named),
            SetOperator::Intersect => is_empty_body(left, named) || is_empty_body(right, named),
            SetOperator::Except | SetOperator::Minus => is_empty_body(left, named),
        },
        _ => false,
    }
}

/// True where FROM gives no rows.
fn has_no_source(select: &Select, named: &[NamedQuery]) -> bool {
    select.from.iter().any(|from| is_empty_from(from, named)) || is_of_descriptions(select)
}

/// True where a column has a row for each column of an index or a constraint, and no other column has rows of its own.
fn has_no_elements(select: &Select) -> bool {
    let calls = select.projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(Expr::Function(call))
        | SelectItem::ExprWithAlias {
            expr: Expr::Function(call),
            ..
        } => Some(call),
        _ => None,
    });
    let of_sets: Vec<&Function> = calls.filter(|call| gives_set(&call.name)).collect();
    !of_sets.is_empty() && of_sets.iter().all(|call| is_over_key(&call.args))
}

/// True of a function that gives a row for each element of something.
fn gives_set(name: &ObjectName) -> bool {
    let name = last_word(name);
    name.is_some_and(|name| OF_LISTS.contains(&name) || name == "generate_series")
}

/// True of arguments that begin with the columns of an index or a constraint.
fn is_over_key(args: &FunctionArguments) -> bool {
    match args {
        FunctionArguments::List(list) => is_first_key(&list.args),
        FunctionArguments::None | FunctionArguments::Subquery(_) => false,
    }
}

fn is_first_key(args: &[FunctionArg]) -> bool {
    matches!(args.first(), Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(of))) if is_key(of))
}

/// True of psql's question about descriptions of constraints, operators, rules and triggers: tables and columns alone have some.
fn is_of_descriptions(select: &Select) -> bool {
    let [from] = select.from.as_slice() else {
        return false;
    };
    let TableFactor::Derived { subquery, .. } = &from.relation else {
        return false;
    };
    let is_joined = |join: &Join| {
        let is_inner = matches!(
            join.join_operator,
            JoinOperator::Join(_) | JoinOperator::Inner(_)
        );
        let TableFactor::Table { name, .. } = &join.relation else {
            return false;
        };
        is_inner && catalog_table(name) == Some("pg_description")
    };
    let has_text = |of: &Token| matches!(of, Token::Text(text) if text == CONSTRAINT);
    from.joins.iter().any(is_joined)
        && tokens(&subquery.to_string())
            .iter()
            .any(|of| has_text(&of.token))
}

fn is_empty_from(from: &TableWithJoins, named: &[NamedQuery]) -> bool {
    let mut is_empty = is_empty_relation(&from.relation, named);
    for join in &from.joins {
        let is_other = is_empty_relation(&join.relation, named);
        is_empty = match &join.join_operator {
            JoinOperator::Join(_) | JoinOperator::Inner(_) | JoinOperator::CrossJoin(_) => {
                is_empty || is_other
            }
            JoinOperator::Left(_) | JoinOperator::LeftOuter(_) => is_empty,
            JoinOperator::Right(_) | JoinOperator::RightOuter(_) => is_other,
            JoinOperator::FullOuter(_) => is_empty && is_other,
            _ => false,
        };
    }
    is_empty
}

fn is_empty_relation(relation: &TableFactor, named: &[NamedQuery]) -> bool {
    match relation {
        TableFactor::Table {
            name, args: None, ..
        } => {
            let Some(table) = catalog_table(name) else {
                return false;
            };
            let mut with = named.iter().rev();
            match with.find(|(other, _)| name.0.len() == 1 && other == table) {
                Some((_, is_empty)) => *is_empty,
                None => CONSTRAINED.contains(&table),
            }
        }
        // Behind LATERAL, or a comma: a row for each column of an index.
        TableFactor::Table {
            name,
            args: Some(given),
            ..
        } => gives_set(name) && is_first_key(&given.args),
        TableFactor::Function { name, args, .. } => gives_set(name) && is_first_key(args),
        TableFactor::UNNEST { array_exprs, .. } => array_exprs.iter().all(is_key),
        TableFactor::Derived { subquery, .. } => is_empty_query(subquery, named),
        TableFactor::NestedJoin {
            table_with_joins, ..
        } => is_empty_from(table_with_joins, named),
        _ => false,
    }
}

/// True of a query that has one row where its FROM has none, or may have.
fn makes_a_row(select: &Select) -> bool {
    let is_grouped = match &select.group_by {
        GroupByExpr::Expressions(by, modifiers) => {
            let has_totals = by.iter().any(|by| {
                matches!(
                    by,
                    Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_) | Expr::Tuple(_)
                )
            });
            !by.is_empty() && modifiers.is_empty() && !has_totals
        }
        GroupByExpr::All(_) => false,
    };
    let aggregates = || {
        let mut finder = AggregateFinder::default();
        select.projection.visit(&mut finder).is_break()
    };
    !is_grouped && (select.having.is_some() || aggregates())
}

/// True of a query whose one row of nothing is null.
fn makes_null(select: &Select) -> bool {
    let written: Vec<String> = select.projection.iter().map(ToString::to_string).collect();
    let placed = tokens(&written.join(", "));
    let is_of_null = |word: &str| OF_NULL.contains(&word);
    select.having.is_none()
        && !placed
            .iter()
            .any(|of| of.token.word().is_some_and(is_of_null))
}

/// Finder of aggregates of a query itself, and not of those within it.
#[derive(Default)]
struct AggregateFinder {
    depth: usize,
}

impl Visitor for AggregateFinder {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        match expr {
            Expr::Function(call) if self.depth == 0 && is_aggregate(call) => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn is_aggregate(call: &Function) -> bool {
    let name = last_word(&call.name).map(str::to_ascii_lowercase);
    call.over.is_none() && name.is_some_and(|name| AGGREGATES.contains(&name.as_str()))
}

/// A query with the columns of another, by the names that it gives them, and no rows.
fn without_rows(body: &SetExpr, is_outermost: bool) -> Option<Query> {
    let mut body = body;
    let select = loop {
        body = match body {
            SetExpr::Select(select) => break select,
            SetExpr::Query(inner) => inner.body.as_ref(),
            SetExpr::SetOperation { left, .. } => left.as_ref(),
            _ => return None,
        };
    };
    let name = |item: &SelectItem| match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.clone()),
        SelectItem::UnnamedExpr(Expr::Identifier(name)) => Some(name.value.clone()),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => {
            path.last().map(|name| name.value.clone())
        }
        SelectItem::UnnamedExpr(Expr::Function(call)) => last_word(&call.name).map(str::to_owned),
        SelectItem::UnnamedExpr(_) => Some("?column?".to_owned()),
        _ => None,
    };
    let value = match is_outermost {
        true => "CAST(NULL AS TEXT)",
        false => "NULL",
    };
    let mut known: Vec<String> = Vec::new();
    let columns: Option<Vec<String>> = select
        .projection
        .iter()
        .map(|item| {
            let mut name = name(item)?;
            // A query of the engine has each name once; a client reads those that were written.
            while known.contains(&name) {
                name.push('_');
            }
            let column = Ident::with_quote('"', name.clone());
            known.push(name);
            Some(format!("{value} AS {column}"))
        })
        .collect();
    let sql = format!("SELECT {} WHERE false", columns?.join(", "));
    match Parser::parse_sql(&PostgreSqlDialect {}, &sql).ok()?.pop()? {
        Statement::Query(query) => Some(*query),
        _ => None,
    }
}

/// The table of the catalog that a name without a schema, or with that of the catalog, may be of.
pub(super) fn catalog_table(name: &ObjectName) -> Option<&str> {
    let mut parts = name.0.iter().rev().map(ObjectNamePart::as_ident);
    let table = parts.next()??;
    match parts.next() {
        Some(schema) if schema?.value != "pg_catalog" => None,
        _ => Some(table.value.as_str()),
    }
}

/// The last word of a name with or without a schema.
pub(super) fn last_word(name: &ObjectName) -> Option<&str> {
    let last = name.0.last().and_then(ObjectNamePart::as_ident)?;
    Some(last.value.as_str())
}
