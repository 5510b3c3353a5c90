//! Clauses that the planner reads and does not heed.
//!
//! Invariant: a query that says something is answered with it, or refused. DataFusion takes no notice of a sample, a partition, a version, hints and locks, of words that ClickHouse, Oracle and
//! others have (PREWHERE, CONNECT BY, SETTINGS, FORMAT, FOR JSON), of FILTER, DISTINCT, ORDER BY and OVER behind a function that is no aggregate, and of the number of equal rows
//! in EXCEPT ALL and INTERSECT ALL; a comparison with ANY or ALL of a query gives it wrong answers, and a JOIN whose condition was forgotten every row beside every other.

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function, FunctionArg, FunctionArguments, GroupByExpr,
    GroupByWithModifier, Join, JoinConstraint, JoinOperator, PipeOperator, Query, Select, SetExpr,
    SetOperator, SetQuantifier, TableAlias, TableFactor, Visit, Visitor,
};
use std::ops::ControlFlow;
use tillhouse_model::{Error, ErrorKind, Result};

/// Errors when a statement has such a clause.
pub(crate) fn check(statement: &Statement) -> Result<()> {
    let inner = match statement {
        Statement::Statement(inner) => inner,
        Statement::Explain(explain) => return check(&explain.statement),
        _ => return Ok(()),
    };
    match Visit::visit(inner.as_ref(), &mut IgnoredClauses) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break((clause, hint)) => {
            Err(Error::new(ErrorKind::Query, format!("{clause} is not known here")).hint(hint))
        }
    }
}

/// Visitor that stops at the first of them, with its name and what to do.
struct IgnoredClauses;

type FoundClause = (&'static str, &'static str);

const LEAVE_OUT: &str = "Leave it out: SQL here reads one published run, as a whole.";

/// A join that says nothing of which rows belong together.
const NO_CONDITION: FoundClause = (
    "JOIN without ON or USING",
    "JOIN b ON a.key = b.key, or USING (key); CROSS JOIN is every row beside every other.",
);

fn has_no_condition(join: &Join) -> bool {
    match &join.join_operator {
        JoinOperator::Join(of)
        | JoinOperator::Inner(of)
        | JoinOperator::Left(of)
        | JoinOperator::LeftOuter(of)
        | JoinOperator::Right(of)
        | JoinOperator::RightOuter(of)
        | JoinOperator::FullOuter(of)
        | JoinOperator::Semi(of)
        | JoinOperator::LeftSemi(of)
        | JoinOperator::RightSemi(of)
        | JoinOperator::Anti(of)
        | JoinOperator::LeftAnti(of)
        | JoinOperator::RightAnti(of)
        | JoinOperator::StraightJoin(of) => *of == JoinConstraint::None,
        _ => false,
    }
}

fn of_set(body: &SetExpr) -> Option<FoundClause> {
    let mut body = body;
    while let SetExpr::SetOperation {
        op,
        set_quantifier,
        left,
        right,
    } = body
    {
        let is_all = matches!(
            set_quantifier,
            SetQuantifier::All | SetQuantifier::AllByName
        );
        if is_all && *op != SetOperator::Union {
            return Some((
                "ALL of EXCEPT and INTERSECT",
                "Without ALL each row is there once; count(*) with GROUP BY tells how often there was one.",
            ));
        }
        if let Some(found) = of_set(right) {
            return Some(found);
        }
        body = left;
    }
    None
}

fn of_select(select: &Select) -> Option<FoundClause> {
    if select.prewhere.is_some() {
        return Some(("PREWHERE", "WHERE says it."));
    }
    if !select.connect_by.is_empty() {
        return Some((
            "START WITH, or CONNECT BY,",
            "WITH RECURSIVE t AS (SELECT ... UNION ALL SELECT ... FROM t JOIN ...) goes down a tree.",
        ));
    }
    let modifiers: &[GroupByWithModifier] = match &select.group_by {
        GroupByExpr::All(modifiers) if !modifiers.is_empty() => {
            return Some((
                "GROUP BY ALL with words behind it",
                "Name the columns: GROUP BY ROLLUP (a, b).",
            ));
        }
        GroupByExpr::All(_) => &[],
        GroupByExpr::Expressions(_, modifiers) => modifiers.as_slice(),
    };
    let is_known = |modifier: &GroupByWithModifier| {
        matches!(
            modifier,
            GroupByWithModifier::Rollup | GroupByWithModifier::Cube
        )
    };
    if !modifiers.iter().all(is_known) {
        return Some((
            "GROUP BY ... WITH TOTALS, or GROUPING SETS behind columns,",
            "GROUP BY GROUPING SETS ((a), ()) has a row for all.",
        ));
    }
    if select.exclude.is_some() {
        return Some((
            "EXCLUDE behind the columns",
            "It stands behind the star: SELECT * EXCLUDE (a).",
        ));
    }
    if select.value_table_mode.is_some() || select.select_modifiers.is_some() {
        return Some(("a word between SELECT and its columns", "Leave it out."));
    }
    let joins = || select.from.iter().flat_map(|from| &from.joins);
    if joins().any(has_no_condition) {
        return Some(NO_CONDITION);
    }
    joins()
        .any(|join| join.global)
        .then_some(("GLOBAL JOIN", "JOIN says it."))
}

fn of_table(table: &TableFactor) -> Option<FoundClause> {
    let alias = match table {
        TableFactor::Table {
            with_ordinality: true,
            ..
        }
        | TableFactor::Function {
            with_ordinality: true,
            ..
        } => {
            return Some((
                "WITH ORDINALITY",
                "row_number() OVER () numbers the rows of a subquery.",
            ));
        }
        TableFactor::Table {
            json_path: Some(_), ..
        } => {
            return Some((
                "a path behind a table's name",
                "Fields are read of columns: SELECT t.a['b'] FROM t.",
            ));
        }
        TableFactor::Table {
            args: Some(args), ..
        } if args.settings.is_some() => {
            return Some(("SETTINGS", "Leave it out."));
        }
        TableFactor::Function { args, .. }
            if args
                .iter()
                .any(|arg| !matches!(arg, FunctionArg::Unnamed(_))) =>
        {
            return Some((
                "a table function's argument by its name",
                "Give the arguments in their order.",
            ));
        }
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::TableFunction { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. } => alias.as_ref(),
        _ => None,
    };
    let TableAlias { columns, at, .. } = alias?;
    if at.is_some() {
        return Some((
            "AT behind a table's name",
            "row_number() OVER () numbers the rows of a subquery.",
        ));
    }
    columns
        .iter()
        .any(|column| column.data_type.is_some())
        .then_some((
            "a type behind a column's new name",
            "CAST(column AS type) gives it one.",
        ))
}

/// Errors when a call of a function that is no aggregate has what only one heeds. `is_plain` knows such functions by their names.
pub(crate) fn check_calls(statement: &Statement, is_plain: impl Fn(&str) -> bool) -> Result<()> {
    struct PlainCalls<F>(F);
    impl<F: Fn(&str) -> bool> Visitor for PlainCalls<F> {
        type Break = (&'static str, String);
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Self::Break> {
            if let Expr::Function(call) = expr
                && let Some(clause) = of_call(call)
                && let [part] = call.name.0.as_slice()
                && let Some(name) = part.as_ident()
                && (self.0)(&name.value.to_lowercase())
            {
                return ControlFlow::Break((clause, name.value.clone()));
            }
            ControlFlow::Continue(())
        }
    }
    let inner = match statement {
        Statement::Statement(inner) => inner,
        Statement::Explain(explain) => return check_calls(&explain.statement, is_plain),
        _ => return Ok(()),
    };
    match Visit::visit(inner.as_ref(), &mut PlainCalls(is_plain)) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break((clause, name)) => Err(Error::new(
            ErrorKind::Query,
            format!("{name} is no aggregate and no window function: {clause} has no meaning there"),
        )
        .hint("Leave it out, or put it into the aggregate around.")),
    }
}

/// Clauses that only an aggregate or a window function heeds.
fn of_call(call: &Function) -> Option<&'static str> {
    if call.over.is_some() {
        return Some("OVER");
    }
    if call.filter.is_some() {
        return Some("FILTER");
    }
    if !call.within_group.is_empty() {
        return Some("WITHIN GROUP");
    }
    if call.null_treatment.is_some() {
        return Some("IGNORE NULLS");
    }
    match &call.args {
        FunctionArguments::List(list) if list.duplicate_treatment.is_some() => Some("DISTINCT"),
        FunctionArguments::List(list) if !list.clauses.is_empty() => Some("ORDER BY"),
        _ => None,
    }
}

/// Operators that are read, and planned by nobody.
fn of_operator(op: &BinaryOperator) -> Option<FoundClause> {
    Some(match op {
        BinaryOperator::Overlaps => (
            "OVERLAPS",
            "a.begin < b.end AND b.begin < a.end asks if two spans of time do.",
        ),
        BinaryOperator::Xor => ("XOR", "a <> b is true where one of two conditions holds."),
        BinaryOperator::PGOverlap => (
            "`&&`",
            "AND joins conditions; array_has_any(a, b) asks if two lists have an element in common.",
        ),
        _ => return None,
    })
}

impl Visitor for IgnoredClauses {
    type Break = FoundClause;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<FoundClause> {
        if !query.locks.is_empty() {
            return ControlFlow::Break(("FOR UPDATE, or FOR SHARE,", LEAVE_OUT));
        }
        if query.for_clause.is_some() {
            return ControlFlow::Break((
                "FOR XML, FOR JSON or FOR BROWSE",
                "`--format json` of `tillhouse sql` writes JSON.",
            ));
        }
        if query.settings.is_some() || query.format_clause.is_some() {
            return ControlFlow::Break((
                "SETTINGS or FORMAT",
                "`--format` of `tillhouse sql` says how rows are written; settings stand in tillhouse.yaml.",
            ));
        }
        let is_joined = |step: &PipeOperator| matches!(step, PipeOperator::Join(join) if has_no_condition(join));
        if query.pipe_operators.iter().any(is_joined) {
            return ControlFlow::Break(NO_CONDITION);
        }
        match of_set(&query.body) {
            Some(found) => ControlFlow::Break(found),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<FoundClause> {
        match of_select(select) {
            Some(found) => ControlFlow::Break(found),
            None => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<FoundClause> {
        match expr {
            // The planner takes the one for the other where there are nulls.
            Expr::AnyOp { right, .. } | Expr::AllOp { right, .. }
                if matches!(right.as_ref(), Expr::Subquery(_)) =>
            {
                ControlFlow::Break((
                    "a comparison with ANY, SOME or ALL of a query",
                    "`= ANY (SELECT ...)` is `IN (SELECT ...)`, `> ALL` compares with `(SELECT max(...))`, `> ANY` with `(SELECT min(...))`.",
                ))
            }
            Expr::BinaryOp { op, .. } => match of_operator(op) {
                Some(found) => ControlFlow::Break(found),
                None => ControlFlow::Continue(()),
            },
            Expr::Function(Function {
                parameters: FunctionArguments::List(_) | FunctionArguments::Subquery(_),
                ..
            }) => ControlFlow::Break((
                "a function with two pairs of brackets",
                "Write all arguments into one: quantile_disc(x, 0.5).",
            )),
            Expr::Function(Function {
                args: FunctionArguments::Subquery(_),
                ..
            }) => ControlFlow::Break((
                "a query as the arguments of a function",
                "One value stands in brackets of its own, f((SELECT ...)); a list of all is (SELECT array_agg(x) FROM ...).",
            )),
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<FoundClause> {
        if let Some(found) = of_table(table) {
            return ControlFlow::Break(found);
        }
        if let TableFactor::NestedJoin {
            table_with_joins, ..
        } = table
            && table_with_joins.joins.iter().any(has_no_condition)
        {
            return ControlFlow::Break(NO_CONDITION);
        }
        let (sample, others) = match table {
            TableFactor::Table {
                sample,
                with_hints,
                partitions,
                version,
                index_hints,
                ..
            } => (
                sample.is_some(),
                !with_hints.is_empty()
                    || !partitions.is_empty()
                    || version.is_some()
                    || !index_hints.is_empty(),
            ),
            TableFactor::Derived { sample, .. } => (sample.is_some(), false),
            _ => (false, false),
        };
        if sample {
            return ControlFlow::Break((
                "TABLESAMPLE",
                "A part of the rows by chance: WHERE random() < 0.1.",
            ));
        }
        if others {
            return ControlFlow::Break(("a partition, a version or a hint of a table", LEAVE_OUT));
        }
        ControlFlow::Continue(())
    }
}
