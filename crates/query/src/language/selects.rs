//! Clauses of a SELECT: `EXISTS` in a column, `HAVING` without groups, `ORDER BY ALL`, `FETCH FIRST`, the first row as a value.
//!
//! Invariant: a clause is heeded or refused. DataFusion leaves `ORDER BY ALL` of a UNION out.

use super::tree::{all_rows, binary, function, ordered, plain_name, whole, with_order};
use super::windows::KnownWindows;
use super::{WrittenColumn, group_by, pivot, refused};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Fetch, GroupByExpr, JoinOperator, LimitClause, OrderBy, OrderByExpr,
    OrderByKind, Query, Select, SelectFlavor, SelectItem, SetExpr, UnaryOperator, Value, Visit,
    VisitMut, Visitor, VisitorMut, WildcardAdditionalOptions,
};
use std::ops::ControlFlow;
use tillhouse_model::{Error, Result};

/// Rewrites a select whose parts are rewritten.
pub(super) fn rewrite(select: &mut Select) -> Result<()> {
    let joins = select.from.iter().flat_map(|from| &from.joins);
    if joins
        .into_iter()
        .any(|join| matches!(join.join_operator, JoinOperator::AsOf { .. }))
    {
        return Err(no_asof());
    }
    if select.projection.is_empty() && select.flavor == SelectFlavor::FromFirstNoSelect {
        let all = SelectItem::Wildcard(WildcardAdditionalOptions::default());
        select.projection.push(all);
    }
    for item in &mut select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            count_rows(expr)?;
        }
    }
    group_by::rewrite(select)?;
    group_by::distinct_on(select)?;
    let windows = KnownWindows::of(&select.named_window)?;
    windows.write_out(&mut select.projection, true)?;
    windows.write_out(&mut select.qualify, false)?;
    no_groups_by_subqueries(select)?;
    let is_grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    if let Some(having) = select.having.take() {
        // Without groups all rows are one, also where nothing is aggregated.
        select.having = Some(if is_grouped {
            having
        } else {
            let rows = Expr::Function(function("count", all_rows(), None));
            let holds = binary(rows, BinaryOperator::GtEq, whole(0));
            binary(holds, BinaryOperator::And, having)
        });
    }
    Ok(())
}

/// Errors for a group by what a subquery answers, by itself or as a column that is named by its place or its name.
fn no_groups_by_subqueries(select: &Select) -> Result<()> {
    let GroupByExpr::Expressions(by, _) = &select.group_by else {
        return Ok(());
    };
    let columns = || {
        select.projection.iter().filter_map(|item| match item {
            SelectItem::UnnamedExpr(expr) => Some((expr, None)),
            SelectItem::ExprWithAlias { expr, alias } => Some((expr, Some(alias))),
            _ => None,
        })
    };
    let meant = |by: &Expr| match by {
        Expr::Value(place) => match &place.value {
            Value::Number(place, _) => place
                .parse::<usize>()
                .ok()
                .and_then(|place| columns().nth(place.checked_sub(1)?))
                .is_some_and(|(expr, _)| has_subquery(expr)),
            _ => false,
        },
        Expr::Identifier(name) => columns().any(|(expr, alias)| {
            alias.is_some_and(|alias| alias.value.eq_ignore_ascii_case(&name.value))
                && has_subquery(expr)
        }),
        other => has_subquery(other),
    };
    if by.iter().any(meant) {
        return Err(refused(
            "a group by what a subquery answers",
            "Answer it first: SELECT x, count(*) FROM (SELECT EXISTS (...) AS x FROM t) GROUP BY x.",
        ));
    }
    Ok(())
}

fn has_subquery(expr: &Expr) -> bool {
    struct Subqueries;
    impl Visitor for Subqueries {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    Visit::visit(expr, &mut Subqueries).is_break()
}

/// Error of a join with the last row before another.
pub(super) fn no_asof() -> Error {
    refused(
        "ASOF JOIN",
        "JOIN LATERAL (SELECT ... WHERE b.key = a.key AND b.at <= a.at ORDER BY b.at DESC LIMIT 1) asks the same of a few rows; of many, UNION ALL both and take last_value(...) IGNORE NULLS.",
    )
}

/// Replaces EXISTS in a column by the number of its rows.
fn count_rows(expr: &mut Expr) -> Result<()> {
    struct InColumns {
        queries: usize,
    }
    impl VisitorMut for InColumns {
        type Break = Error;
        fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
            self.queries += 1;
            ControlFlow::Continue(())
        }
        fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<Error> {
            self.queries -= 1;
            ControlFlow::Continue(())
        }
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
            if self.queries > 0 {
                return ControlFlow::Continue(());
            }
            if matches!(expr, Expr::InSubquery { .. }) {
                return ControlFlow::Break(refused(
                    "IN (SELECT ...) in a column",
                    "EXISTS (SELECT 1 FROM ... WHERE y = x) asks nearly the same: it is false where IN would be null.",
                ));
            }
            let Expr::Exists { subquery, negated } = expr else {
                return ControlFlow::Continue(());
            };
            let has_rows = Expr::Nested(Box::new(binary(
                Expr::Subquery(Box::new(counted(subquery))),
                BinaryOperator::Gt,
                whole(0),
            )));
            *expr = if *negated {
                Expr::UnaryOp {
                    op: UnaryOperator::Not,
                    expr: Box::new(has_rows),
                }
            } else {
                has_rows
            };
            ControlFlow::Continue(())
        }
    }
    match VisitMut::visit(expr, &mut InColumns { queries: 0 }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The query that counts the rows of another.
fn counted(query: &Query) -> Query {
    let rows = SelectItem::UnnamedExpr(Expr::Function(function("count", all_rows(), None)));
    let mut inner = query.clone();
    inner.order_by = None;
    let is_limited =
        inner.limit_clause.is_some() || inner.fetch.is_some() || !inner.pipe_operators.is_empty();
    if let SetExpr::Select(select) = inner.body.as_mut() {
        let is_grouped =
            !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
        // Without groups an aggregate has one row, whatever there is.
        let is_one_row = !is_grouped
            && select.projection.iter().any(|item| {
                calls_of(item).is_none_or(|calls| calls.iter().any(|name| is_aggregate(name)))
            });
        // Sets of groups may have a row for no rows, and a list has as many rows as elements.
        let has_own_rows =
            has_sets(&select.group_by) || select.projection.iter().any(expands_lists);
        if !is_limited
            && !is_one_row
            && !has_own_rows
            && select.having.is_none()
            && select.qualify.is_none()
            && select.top.is_none()
        {
            select.distinct = None;
            select.group_by = GroupByExpr::Expressions(Vec::new(), Vec::new());
            select.projection = vec![rows];
            return inner;
        }
    }
    let all = pivot::derived_query(inner);
    pivot::query(pivot::select(
        vec![rows],
        &all,
        GroupByExpr::Expressions(Vec::new(), Vec::new()),
    ))
}

/// Aggregates that a query of one column may be of, by the beginning of their names.
const AGGREGATES: [&str; 27] = [
    "any_value",
    "approx_",
    "array_agg",
    "avg",
    "bit_",
    "bool_",
    "corr",
    "count",
    "covar",
    "every",
    "first_value",
    "grouping",
    "last_value",
    "listagg",
    "max",
    "mean",
    "median",
    "min",
    "mode",
    "nth_value",
    "percentile_",
    "quantile_",
    "regr_",
    "stddev",
    "string_agg",
    "sum",
    "var",
];

/// Rewrites a query of one column and its first row to the first value in its order: `(SELECT x FROM b WHERE b.k = a.k ORDER BY at LIMIT 1)`. An aggregate is joined to the rows
/// that it depends on, a limit is not.
pub(super) fn first_row(query: &mut Query) {
    let is_first = match &query.limit_clause {
        Some(LimitClause::LimitOffset {
            limit: Some(Expr::Value(limit)),
            offset: None,
            limit_by,
        }) => limit_by.is_empty() && matches!(&limit.value, Value::Number(one, _) if one == "1"),
        _ => false,
    };
    let SetExpr::Select(select) = query.body.as_mut() else {
        return;
    };
    let is_grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let [SelectItem::UnnamedExpr(value) | SelectItem::ExprWithAlias { expr: value, .. }] =
        select.projection.as_slice()
    else {
        return;
    };
    if !is_first
        || is_grouped
        || query.fetch.is_some()
        || !query.pipe_operators.is_empty()
        || select.distinct.is_some()
        || expands_lists(&select.projection[0])
        || select.having.is_some()
        || select.qualify.is_some()
        || select.top.is_some()
        || calls_of(&select.projection[0])
            .is_none_or(|calls| calls.iter().any(|name| is_aggregate(name)))
    {
        return;
    }
    // There is one column, and no second place.
    let is_elsewhere = |by: &OrderByExpr| match &by.expr {
        Expr::Value(place) => matches!(&place.value, Value::Number(one, _) if one != "1"),
        _ => false,
    };
    if let Some(OrderBy {
        kind: OrderByKind::Expressions(order),
        ..
    }) = &query.order_by
        && order.iter().any(is_elsewhere)
    {
        return;
    }
    let value = value.clone();
    let alias = match &select.projection[0] {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.value.to_lowercase()),
        _ => None,
    };
    let mut order = match query.order_by.take().map(|by| by.kind) {
        None => Vec::new(),
        Some(OrderByKind::Expressions(order)) => order,
        Some(OrderByKind::All(options)) => vec![ordered(value.clone(), options)],
    };
    for by in &mut order {
        let is_value = match &by.expr {
            Expr::Value(place) => matches!(&place.value, Value::Number(one, _) if one == "1"),
            Expr::Identifier(name) => alias.as_ref() == Some(&name.value.to_lowercase()),
            _ => false,
        };
        if is_value {
            by.expr = value.clone();
        }
    }
    let first = Expr::Function(with_order("first_value", value, order));
    select.projection = vec![SelectItem::UnnamedExpr(first)];
    query.limit_clause = None;
}

/// True for a column that has a row for each element of a list.
fn expands_lists(item: &SelectItem) -> bool {
    let is_unnest = |name: &String| matches!(name.as_str(), "unnest" | "unnest_outer");
    calls_of(item).is_some_and(|calls| calls.iter().any(is_unnest))
}

/// True where there is a group of all rows, perhaps beside others.
fn has_sets(group_by: &GroupByExpr) -> bool {
    let is_set = |by: &Expr| {
        matches!(
            by,
            Expr::Rollup(_) | Expr::Cube(_) | Expr::GroupingSets(_) | Expr::Tuple(_)
        )
    };
    matches!(group_by, GroupByExpr::Expressions(by, _) if by.iter().any(is_set))
}

fn is_aggregate(name: &str) -> bool {
    AGGREGATES
        .iter()
        .any(|aggregate| name.starts_with(aggregate))
}

/// The names of the functions that a column calls; `None` where there is a window function.
fn calls_of(item: &SelectItem) -> Option<Vec<String>> {
    #[derive(Default)]
    struct Calls(Vec<String>);
    impl Visitor for Calls {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Function(of) if of.over.is_some() => return ControlFlow::Break(()),
                Expr::Function(of) => self.0.extend(plain_name(&of.name)),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut calls = Calls::default();
    Visit::visit(item, &mut calls)
        .is_continue()
        .then_some(calls.0)
}

/// Rewrites `FETCH FIRST 5 ROWS ONLY` to `LIMIT 5`. Rows that are as good as the last, and per cent of all, are left to the planner, which refuses them.
pub(super) fn limit(query: &mut Query) {
    let Some(Fetch {
        with_ties: false,
        percent: false,
        quantity,
    }) = &query.fetch
    else {
        return;
    };
    let rows = quantity.clone().unwrap_or_else(|| whole(1));
    match &mut query.limit_clause {
        Some(LimitClause::LimitOffset {
            limit: limit @ None,
            limit_by,
            ..
        }) if limit_by.is_empty() => *limit = Some(rows),
        Some(_) => return,
        none => {
            *none = Some(LimitClause::LimitOffset {
                limit: Some(rows),
                offset: None,
                limit_by: Vec::new(),
            });
        }
    }
    query.fetch = None;
}

/// Rewrites `ORDER BY ALL` to the places of the columns, where these are known; the planner knows those of `*`. Columns over groups that are ordered by their places get names, and those of DISTINCT ON take their places.
pub(super) fn order(query: &mut Query, is_within: bool) -> Result<()> {
    places(query)?;
    if let SetExpr::Select(select) = query.body.as_ref()
        && let Some(OrderBy {
            kind: OrderByKind::Expressions(order),
            ..
        }) = &mut query.order_by
    {
        group_by::order_distinct(select, order);
    }
    name_ordered(query, is_within);
    Ok(())
}

/// Names the calculations over groups whose places a query is ordered by: the planner takes such a place for a column of the rows below, and refuses it.
fn name_ordered(query: &mut Query, is_within: bool) {
    let (
        SetExpr::Select(select),
        Some(OrderBy {
            kind: OrderByKind::Expressions(order),
            ..
        }),
    ) = (query.body.as_mut(), &query.order_by)
    else {
        return;
    };
    let is_grouped = !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty());
    let has_aggregate = |item: &SelectItem| {
        calls_of(item).is_some_and(|calls| calls.iter().any(|name| is_aggregate(name)))
    };
    let is_of_groups =
        is_grouped || select.having.is_some() || select.projection.iter().any(has_aggregate);
    if !is_of_groups || select.projection.iter().any(is_wildcard) {
        return;
    }
    for by in order {
        if let Some(at) = group_by::place(&by.expr)
            && let Some(item) = select.projection.get_mut(at)
            && let SelectItem::UnnamedExpr(expr) = &*item
            && is_calculated(expr)
        {
            *item = WrittenColumn::of(expr, is_within).naming(expr.clone());
        }
    }
}

/// True for what is neither a column of a table nor an aggregate, which the planner finds by themselves.
fn is_calculated(expr: &Expr) -> bool {
    match expr {
        Expr::Nested(inner) => is_calculated(inner),
        Expr::Identifier(_) | Expr::CompoundIdentifier(_) => false,
        Expr::Function(call) => {
            call.over.is_some() || plain_name(&call.name).is_none_or(|name| !is_aggregate(&name))
        }
        _ => true,
    }
}

/// Rewrites `ORDER BY ALL` to places, and what cannot be in an order as it is.
fn places(query: &mut Query) -> Result<()> {
    if let SetExpr::Select(select) = query.body.as_ref() {
        KnownWindows::of(&select.named_window)?.write_out(&mut query.order_by, false)?;
    }
    let Some(order_by) = &mut query.order_by else {
        return Ok(());
    };
    let OrderByKind::All(options) = &order_by.kind else {
        if let OrderByKind::Expressions(by) = &mut order_by.kind {
            by.iter_mut().try_for_each(|by| count_rows(&mut by.expr))?;
        }
        return Ok(());
    };
    let (mut body, mut is_set) = (query.body.as_ref(), false);
    loop {
        match body {
            SetExpr::SetOperation { left, .. } => {
                is_set = true;
                body = left;
            }
            SetExpr::Query(inner) => body = &inner.body,
            _ => break,
        }
    }
    let columns = match body {
        SetExpr::Select(select) if !select.projection.iter().any(is_wildcard) => {
            Some(select.projection.len())
        }
        SetExpr::Values(values) => values.rows.first().map(|row| row.content.len()),
        _ => None,
    };
    match columns {
        Some(columns) if columns > 0 => {
            let options = *options;
            order_by.kind = OrderByKind::Expressions(
                (1..=columns)
                    .map(|place| ordered(whole(place), options))
                    .collect(),
            );
            Ok(())
        }
        _ if is_set => Err(refused(
            "ORDER BY ALL of a UNION of all columns",
            "Name the columns, or their places: ORDER BY 1, 2.",
        )),
        _ => Ok(()),
    }
}

fn is_wildcard(item: &SelectItem) -> bool {
    matches!(
        item,
        SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
    )
}
