//! Lists and series in FROM that go by the tables before them.
//!
//! Invariant: each becomes UNNEST, which sees these tables with LATERAL and without, as in PostgreSQL. One column of a list that only its table has a name for has the same name.
//!
//! ```text
//!   t, LATERAL unnest(t.list) AS x           t, UNNEST(t.list) AS x(x)
//!   t, generate_series(1, t.n) AS g          t, UNNEST(generate_series(1, t.n)) AS g(g)
//!   LATERAL f('2026-01-01', ...)             f('2026-01-01', ...)
//! ```

use super::tree::{call, plain_name, quoted};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, Query, TableAlias, TableAliasColumnDef, TableFactor,
    TableFunctionArgs, Visit, Visitor,
};
use std::ops::ControlFlow;

/// Functions that are tables by constants, and lists by anything else.
const SERIES: [&str; 2] = ["generate_series", "range"];

/// Rewrites a table.
pub(super) fn rewrite(table: &mut TableFactor) {
    if let Some(list) = list_of(table) {
        *table = list;
    }
    if let TableFactor::UNNEST {
        alias: Some(alias),
        array_exprs,
        ..
    } = table
        && array_exprs.len() == 1
        && alias.columns.is_empty()
    {
        alias.columns.push(column(alias.name.clone()));
    }
}

fn column(name: Ident) -> TableAliasColumnDef {
    TableAliasColumnDef {
        name,
        data_type: None,
    }
}

/// The UNNEST that a call becomes, or the table that LATERAL says nothing about; `None` for a table that stays.
fn list_of(table: &TableFactor) -> Option<TableFactor> {
    let (name, args, alias, is_lateral) = match table {
        TableFactor::Table {
            name,
            args: Some(args),
            alias,
            ..
        } => (name, &args.args, alias, false),
        TableFactor::Function {
            name, args, alias, ..
        } => (name, args, alias, true),
        _ => return None,
    };
    let function = plain_name(name)?;
    let is_series = SERIES.contains(&function.as_str());
    if is_lateral && function == "unnest" {
        return Some(unnest(exprs_of(args)?, alias.clone()));
    }
    if is_series && depends(args) {
        let alias = alias.clone().unwrap_or_else(|| TableAlias {
            explicit: true,
            name: quoted(&function),
            columns: vec![column(Ident::new("value"))],
            at: None,
        });
        return Some(unnest(vec![call(&function, exprs_of(args)?)], Some(alias)));
    }
    is_lateral.then(|| TableFactor::Table {
        name: name.clone(),
        alias: alias.clone(),
        args: Some(TableFunctionArgs {
            args: args.clone(),
            settings: None,
        }),
        with_hints: Vec::new(),
        version: None,
        with_ordinality: false,
        partitions: Vec::new(),
        json_path: None,
        sample: None,
        index_hints: Vec::new(),
    })
}

fn unnest(array_exprs: Vec<Expr>, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::UNNEST {
        alias,
        array_exprs,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    }
}

fn exprs_of(args: &[FunctionArg]) -> Option<Vec<Expr>> {
    let exprs = args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    exprs.collect()
}

/// True for arguments that name a column or ask a query.
fn depends(args: &[FunctionArg]) -> bool {
    struct Dependence;
    impl Visitor for Dependence {
        type Break = ();
        fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            match expr {
                Expr::Identifier(_) | Expr::CompoundIdentifier(_) => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        }
    }
    args.iter()
        .any(|argument| Visit::visit(argument, &mut Dependence).is_break())
}
