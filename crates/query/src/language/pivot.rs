//! `PIVOT` and `UNPIVOT`, as DuckDB has them.
//!
//! Invariant: a pivot groups by all columns that it does not name; each of its columns is an aggregate over the rows of one value, so that what has no row is null, or 0
//! where it is counted. An unpivot reads its table once.
//!
//! ```text
//!   t PIVOT (sum(a) FOR c IN ('x', 'y'))    SELECT * EXCLUDE (a, c), sum(a) FILTER (WHERE c = 'x') AS "x", ... FROM t GROUP BY ALL
//!   t UNPIVOT (v FOR n IN (a, b))           SELECT * EXCLUDE (a, b), unnest(['a', 'b']) AS n, unnest([a, b]) AS v FROM t, without null
//! ```

use super::operands::folded;
use super::refused;
use super::tree::{binary, both, call, is_not_null, quoted, text};
use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    Array, BinaryOperator, ExcludeSelectItem, Expr, ExprWithAlias, GroupByExpr, Ident,
    NullInclusion, ObjectName, PivotValueSource, Query, Select, SelectFlavor, SelectItem, SetExpr,
    TableAlias, TableFactor, TableWithJoins, Value, Visit, Visitor, WildcardAdditionalOptions,
};
use std::ops::ControlFlow;
use tillhouse_model::Result;

/// Rewrites a table that is turned.
pub(super) fn rewrite(table: &mut TableFactor) -> Result<()> {
    let (query, alias) = match table {
        TableFactor::Pivot {
            table,
            aggregate_functions,
            value_column,
            value_source,
            default_on_null,
            alias,
        } => {
            if default_on_null.is_some() {
                return Err(refused(
                    "DEFAULT ON NULL of PIVOT",
                    "Say coalesce(column, 0) where the pivot is read.",
                ));
            }
            let PivotValueSource::List(values) = value_source else {
                return Err(refused(
                    "PIVOT over ANY or a query",
                    "The columns of a result are known before it is read: list the values, IN ('EUR', 'CHF').",
                ));
            };
            let [column] = value_column.as_slice() else {
                return Err(refused(
                    "PIVOT over several columns",
                    "Join them to one in a subquery: a || '/' || b AS ab.",
                ));
            };
            (
                pivot(table, aggregate_functions, column, values)?,
                alias.take(),
            )
        }
        TableFactor::Unpivot {
            table,
            value,
            name,
            columns,
            null_inclusion,
            alias,
        } => {
            let keeps_nulls = *null_inclusion == Some(NullInclusion::IncludeNulls);
            (
                unpivot(table, value, name, columns, keeps_nulls)?,
                alias.take(),
            )
        }
        _ => return Ok(()),
    };
    *table = derived(query, alias);
    Ok(())
}

fn pivot(
    table: &TableFactor,
    aggregates: &[ExprWithAlias],
    column: &Expr,
    values: &[ExprWithAlias],
) -> Result<Select> {
    let mut named = columns_in(column);
    for aggregate in aggregates {
        named.extend(columns_in(&aggregate.expr));
    }
    let mut items = vec![all_but(named)];
    for value in values {
        let is_null = matches!(&value.expr, Expr::Value(of) if of.value == Value::Null);
        let equals = if is_null {
            Expr::IsNull(Box::new(column.clone()))
        } else {
            binary(column.clone(), BinaryOperator::Eq, value.expr.clone())
        };
        let value_name = match (&value.alias, &value.expr) {
            (Some(alias), _) => folded(alias),
            (None, Expr::Value(of)) => match &of.value {
                Value::SingleQuotedString(text) => text.clone(),
                other => other.to_string(),
            },
            (None, other) => other.to_string(),
        };
        for aggregate in aggregates {
            let Expr::Function(of) = &aggregate.expr else {
                return Err(refused(
                    "a PIVOT of what is no aggregate",
                    "Write sum(x), count(*) or another one.",
                ));
            };
            let mut of = of.clone();
            of.filter = Some(both(equals.clone(), of.filter.take()));
            let name = match &aggregate.alias {
                Some(alias) => format!("{value_name}_{}", folded(alias)),
                None if aggregates.len() == 1 => value_name.clone(),
                None => format!("{value_name}_{}", aggregate.expr),
            };
            items.push(SelectItem::ExprWithAlias {
                expr: Expr::Function(of),
                alias: quoted(&name),
            });
        }
    }
    Ok(select(items, table, GroupByExpr::All(Vec::new())))
}

fn unpivot(
    table: &TableFactor,
    value: &Expr,
    name: &Ident,
    columns: &[ExprWithAlias],
    keeps_nulls: bool,
) -> Result<Select> {
    let Expr::Identifier(value) = value else {
        return Err(refused(
            "UNPIVOT into several columns",
            "One UNPIVOT makes one column of values: UNPIVOT (value FOR name IN (a, b)).",
        ));
    };
    let mut named = Vec::new();
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for column in columns {
        let of = match &column.expr {
            Expr::Identifier(of) => of,
            Expr::CompoundIdentifier(parts) if !parts.is_empty() => &parts[parts.len() - 1],
            _ => {
                return Err(refused(
                    "UNPIVOT of what is no column",
                    "Name columns of the table; a subquery makes columns of expressions.",
                ));
            }
        };
        named.push(of.clone());
        values.push(column.expr.clone());
        names.push(text(&folded(column.alias.as_ref().unwrap_or(of))));
    }
    let list = |elem: Vec<Expr>| Expr::Array(Array { elem, named: false });
    let unnested = |elements, alias: &Ident| SelectItem::ExprWithAlias {
        expr: call("unnest", vec![list(elements)]),
        alias: alias.clone(),
    };
    let items = vec![
        all_but(named),
        unnested(names, name),
        unnested(values, value),
    ];
    let inner = select(
        items,
        table,
        GroupByExpr::Expressions(Vec::new(), Vec::new()),
    );
    if keeps_nulls {
        return Ok(inner);
    }
    let all = vec![SelectItem::Wildcard(WildcardAdditionalOptions::default())];
    let inner = derived(inner, None);
    let mut outer = select(
        all,
        &inner,
        GroupByExpr::Expressions(Vec::new(), Vec::new()),
    );
    outer.selection = Some(is_not_null(&Expr::Identifier(value.clone())));
    Ok(outer)
}

/// `*` without some columns.
fn all_but(columns: Vec<Ident>) -> SelectItem {
    let mut names: Vec<ObjectName> = Vec::new();
    for column in columns {
        let name = ObjectName::from(quoted(&folded(&column)));
        if !names.contains(&name) {
            names.push(name);
        }
    }
    SelectItem::Wildcard(WildcardAdditionalOptions {
        opt_exclude: (!names.is_empty()).then_some(ExcludeSelectItem::Multiple(names)),
        ..WildcardAdditionalOptions::default()
    })
}

/// The columns that an expression names, without their tables.
fn columns_in(expr: &Expr) -> Vec<Ident> {
    struct NamedColumns(Vec<Ident>);
    impl Visitor for NamedColumns {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Identifier(name) => self.0.push(name.clone()),
                Expr::CompoundIdentifier(parts) => self.0.extend(parts.last().cloned()),
                _ => {}
            }
            ControlFlow::Continue(())
        }
    }
    let mut columns = NamedColumns(Vec::new());
    let _ = Visit::visit(expr, &mut columns);
    columns.0
}

/// A select from one table.
pub(super) fn select(
    projection: Vec<SelectItem>,
    table: &TableFactor,
    group_by: GroupByExpr,
) -> Select {
    Select {
        select_token: AttachedToken::empty(),
        optimizer_hints: Vec::new(),
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: false,
        projection,
        exclude: None,
        into: None,
        from: vec![TableWithJoins {
            relation: table.clone(),
            joins: Vec::new(),
        }],
        lateral_views: Vec::new(),
        prewhere: None,
        selection: None,
        connect_by: Vec::new(),
        group_by,
        cluster_by: Vec::new(),
        distribute_by: Vec::new(),
        sort_by: Vec::new(),
        having: None,
        named_window: Vec::new(),
        qualify: None,
        window_before_qualify: false,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    }
}

/// A query of a select alone.
pub(super) fn query(select: Select) -> Query {
    Query {
        with: None,
        body: Box::new(SetExpr::Select(Box::new(select))),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// A query as a table.
pub(super) fn derived_query(query: Query) -> TableFactor {
    TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query),
        alias: None,
        sample: None,
    }
}

fn derived(select: Select, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Derived {
        lateral: false,
        subquery: Box::new(query(select)),
        alias,
        sample: None,
    }
}
