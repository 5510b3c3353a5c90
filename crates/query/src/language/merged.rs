//! `JOIN ... USING` and `NATURAL JOIN`: the column that two tables have in common, once.
//!
//! Invariant: such a column is that of the left side, of a RIGHT JOIN that of the right one, and of a FULL JOIN whichever is there, in `*` and by its name alone; each side's own
//! stays what it is. DataFusion takes the table whose name comes first in the alphabet for `*`, and the first table for a name.
//!
//! ```text
//!   SELECT * FROM a LEFT JOIN b USING (k)         SELECT a.k, a.* EXCLUDE (k), b.* EXCLUDE (k) FROM a LEFT JOIN b ON a.k = b.k
//!   SELECT k FROM a FULL JOIN b USING (k)         SELECT coalesce(a.k, b.k) AS k FROM a FULL JOIN b ON a.k = b.k
//! ```
//!
//! A column that the planner refuses, one that is not there or is there twice, is left to it as it is written, but for a name that is there twice in a subquery: see [`bare_names`].

use super::bare_names;
use super::merged_names::{
    JoinedTable, MergedNames, Output, Outputs, all_columns, is_output, used,
};
use super::operands::folded;
use super::refused;
use super::tree::{binary, call, quoted, values};
use arrow::datatypes::SchemaRef;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Ident, JoinConstraint, JoinOperator, ObjectNamePart, OrderBy,
    OrderByKind, PipeOperator, Query, Select, SelectItem, SetExpr, TableAlias, TableFactor,
    TableWithJoins, VisitMut, VisitorMut, WildcardAdditionalOptions,
};
use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use tillhouse_model::{Error, Result};

/// Columns of the tables that a statement names, by the names of schema and table.
pub(crate) type TableColumns = HashMap<(String, String), SchemaRef>;

/// Rewrites the joins of a statement.
///
/// Errors with [`tillhouse_model::ErrorKind::Query`] where nobody knows which table has the column.
pub(crate) fn merge_columns(
    statement: &mut Statement,
    tables: &TableColumns,
    default_schema: &str,
) -> Result<()> {
    let inner = match statement {
        Statement::Statement(inner) => inner,
        Statement::Explain(explain) => {
            return merge_columns(&mut explain.statement, tables, default_schema);
        }
        _ => return Ok(()),
    };
    let mut merger = Merger {
        tables,
        default_schema,
        named: Vec::new(),
        within: 0,
    };
    match VisitMut::visit(inner.as_mut(), &mut merger) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Names of the columns of a query that has a name of its own; `None` where they are not known.
type NamedQuery = (String, Option<Vec<String>>);

/// Visitor that merges from the inside out.
struct Merger<'t> {
    tables: &'t TableColumns,
    default_schema: &'t str,
    /// The queries of each WITH around.
    named: Vec<Vec<NamedQuery>>,
    /// Queries around this one whose columns it sees.
    within: usize,
}

impl VisitorMut for Merger<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        self.enter(query);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<Error> {
        let outcome = self.merge_query(query);
        self.named.pop();
        match outcome {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Error> {
        self.within += usize::from(bare_names::is_lateral(table));
        ControlFlow::Continue(())
    }

    fn post_visit_table_factor(&mut self, table: &mut TableFactor) -> ControlFlow<Error> {
        self.within -= usize::from(bare_names::is_lateral(table));
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        self.within += usize::from(bare_names::has_query(expr));
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        self.within -= usize::from(bare_names::has_query(expr));
        ControlFlow::Continue(())
    }
}

/// Key of one side.
enum SideKey {
    Known(Box<Expr>),
    /// The planner knows what to say.
    Missing,
    Unknown,
}

/// The key of a side.
fn key_of(side: &[Output], name: &str) -> SideKey {
    let (mut found, mut unknown) = (Vec::new(), Vec::new());
    for output in side {
        match output {
            Output::Merged(merged, expr) if merged == name => found.push(expr.as_ref().clone()),
            Output::Table(table) if table.hidden.iter().any(|hidden| hidden == name) => {}
            Output::Table(table) if table.has(name) => found.push(table.column(name)),
            Output::Table(table) if table.columns.is_none() => unknown.push(table.column(name)),
            _ => {}
        }
    }
    match (found.as_slice(), unknown.as_slice()) {
        ([one], _) | ([], [one]) => SideKey::Known(Box::new(one.clone())),
        ([], [_, _, ..]) => SideKey::Unknown,
        _ => SideKey::Missing,
    }
}

/// Takes a column out of a side, as it is merged with that of the other.
fn hide(side: &mut Outputs, name: &str) {
    let is_known = side.iter().any(|output| match output {
        Output::Merged(merged, _) => merged == name,
        Output::Table(table) => table.has(name),
    });
    side.retain(|output| !matches!(output, Output::Merged(merged, _) if merged == name));
    for output in side {
        let Output::Table(table) = output else {
            continue;
        };
        let has_it = table.has(name) || (!is_known && table.columns.is_none());
        if has_it && !table.hidden.iter().any(|hidden| hidden == name) {
            table.hidden.push(name.to_owned());
        }
    }
}

fn constraint_of(operator: &mut JoinOperator) -> Option<&mut JoinConstraint> {
    match operator {
        JoinOperator::Join(of)
        | JoinOperator::Inner(of)
        | JoinOperator::Left(of)
        | JoinOperator::LeftOuter(of)
        | JoinOperator::Right(of)
        | JoinOperator::RightOuter(of)
        | JoinOperator::FullOuter(of)
        | JoinOperator::CrossJoin(of)
        | JoinOperator::Semi(of)
        | JoinOperator::LeftSemi(of)
        | JoinOperator::RightSemi(of)
        | JoinOperator::Anti(of)
        | JoinOperator::LeftAnti(of)
        | JoinOperator::RightAnti(of)
        | JoinOperator::StraightJoin(of)
        | JoinOperator::AsOf { constraint: of, .. } => Some(of),
        _ => None,
    }
}

/// Rows that a join has of each side.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// Those of the left side have their columns always.
    Left,
    /// Those of the right side do.
    Right,
    /// Those of either may be missing.
    Either,
    /// The right side has no columns at all.
    LeftAlone,
    /// The left side has none.
    RightAlone,
}

fn kept_by(operator: &JoinOperator) -> Kept {
    match operator {
        JoinOperator::Right(_) | JoinOperator::RightOuter(_) => Kept::Right,
        JoinOperator::FullOuter(_) => Kept::Either,
        JoinOperator::Semi(_)
        | JoinOperator::LeftSemi(_)
        | JoinOperator::Anti(_)
        | JoinOperator::LeftAnti(_) => Kept::LeftAlone,
        JoinOperator::RightSemi(_) | JoinOperator::RightAnti(_) => Kept::RightAlone,
        _ => Kept::Left,
    }
}

fn is_by_name(operator: &mut JoinOperator) -> bool {
    matches!(
        constraint_of(operator),
        Some(JoinConstraint::Using(_) | JoinConstraint::Natural)
    )
}

/// True if tables are joined by the names of columns.
fn joins_by_name(from: &mut TableWithJoins) -> bool {
    let within = |table: &mut TableFactor| match table {
        TableFactor::NestedJoin {
            table_with_joins, ..
        } => joins_by_name(table_with_joins),
        _ => false,
    };
    within(&mut from.relation)
        || from
            .joins
            .iter_mut()
            .any(|join| is_by_name(&mut join.join_operator) || within(&mut join.relation))
}

impl Merger<'_> {
    /// Makes the queries of a WITH known.
    fn enter(&mut self, query: &Query) {
        self.named.push(Vec::new());
        let Some(with) = &query.with else {
            return;
        };
        for cte in &with.cte_tables {
            let columns = if cte.alias.columns.is_empty() {
                self.columns_of_query(&cte.query)
            } else {
                Some(alias_columns(&cte.alias))
            };
            if let Some(named) = self.named.last_mut() {
                named.push((folded(&cte.alias.name), columns));
            }
        }
    }

    fn merge_query(&self, query: &mut Query) -> Result<()> {
        for step in &mut query.pipe_operators {
            if let PipeOperator::Join(join) = step
                && is_by_name(&mut join.join_operator)
            {
                return Err(refused(
                    "|> JOIN with USING or NATURAL",
                    "ON a.k = b.k says it, or a JOIN before the first |>.",
                ));
            }
        }
        match query.body.as_mut() {
            SetExpr::Select(select) => {
                self.merge_select(select, query.order_by.as_mut())?;
                self.check_names(select)
            }
            body => self.merge_set(body),
        }
    }

    /// Queries in brackets are visited by themselves.
    fn merge_set(&self, body: &mut SetExpr) -> Result<()> {
        match body {
            SetExpr::Select(select) => {
                self.merge_select(select, None)?;
                self.check_names(select)
            }
            SetExpr::SetOperation { left, right, .. } => {
                self.merge_set(left)?;
                self.merge_set(right)
            }
            _ => Ok(()),
        }
    }

    /// Errors for a name that two tables have, in a query that sees the columns of the one around.
    fn check_names(&self, select: &mut Select) -> Result<()> {
        if self.within == 0 || select.from.iter_mut().any(joins_by_name) {
            return Ok(());
        }
        let (mut one, mut several) = (BTreeSet::new(), BTreeSet::new());
        let mut add = |table: &TableFactor| {
            let columns = self.columns_of(table).unwrap_or_default();
            for name in columns.into_iter().collect::<BTreeSet<_>>() {
                if !one.insert(name.clone()) {
                    several.insert(name);
                }
            }
        };
        for from in &select.from {
            add(&from.relation);
            for join in &from.joins {
                match kept_by(&join.join_operator) {
                    Kept::LeftAlone => {}
                    Kept::RightAlone => return Ok(()),
                    _ => add(&join.relation),
                }
            }
        }
        bare_names::check(&select.selection, &several)?;
        bare_names::check(&select.projection, &several)
    }

    fn merge_select(&self, select: &mut Select, order: Option<&mut OrderBy>) -> Result<()> {
        if !select.from.iter_mut().any(joins_by_name) {
            return Ok(());
        }
        let written = select.from.clone();
        let mut outputs = Outputs::new();
        for (at, from) in select.from.iter_mut().enumerate() {
            match self.outputs_of(from, &at.to_string())? {
                Some(of) => outputs.extend(of),
                None => {
                    select.from = written;
                    return Ok(());
                }
            }
        }
        let mut names = MergedNames::of(&outputs);
        let mut items = Vec::with_capacity(select.projection.len());
        for item in std::mem::take(&mut select.projection) {
            match item {
                SelectItem::Wildcard(options) => items.extend(all_columns(&outputs, &options)?),
                other => items.push(names.item(other)),
            }
        }
        if let Some(OrderBy {
            kind: OrderByKind::Expressions(order),
            ..
        }) = order
        {
            for by in order {
                let is_output = match &by.expr {
                    Expr::Identifier(name) => is_output(&items, &outputs, &folded(name)),
                    _ => false,
                };
                if !is_output {
                    names.replace(&mut by.expr);
                }
            }
        }
        select.projection = items;
        names.replace(&mut select.selection);
        names.replace(&mut select.group_by);
        names.replace(&mut select.having);
        names.replace(&mut select.qualify);
        names.replace(&mut select.named_window);
        names.replace(&mut select.distinct);
        Ok(())
    }

    /// The columns of tables that are joined, whose joins are by ON afterwards; `None` for what the planner refuses.
    fn outputs_of(&self, from: &mut TableWithJoins, at: &str) -> Result<Option<Outputs>> {
        let Some(mut left) = self.outputs_of_table(&mut from.relation, at)? else {
            return Ok(None);
        };
        for (number, join) in from.joins.iter_mut().enumerate() {
            let place = format!("{at}_{}", number + 1);
            let Some(mut right) = self.outputs_of_table(&mut join.relation, &place)? else {
                return Ok(None);
            };
            let kept = kept_by(&join.join_operator);
            let Some(constraint) = constraint_of(&mut join.join_operator) else {
                left.extend(right);
                continue;
            };
            let names = match constraint {
                JoinConstraint::On(condition) => {
                    MergedNames::of(left.iter().chain(&right)).replace(condition);
                    Vec::new()
                }
                JoinConstraint::Using(names) => match used(names) {
                    Some(names) => names,
                    None => return Ok(None),
                },
                JoinConstraint::Natural => common_names(&left, &right)?,
                JoinConstraint::None => Vec::new(),
            };
            let Some(merged) = merge(&mut left, &mut right, &names, kept)? else {
                return Ok(None);
            };
            if let Some(condition) = merged.condition {
                *constraint = JoinConstraint::On(condition);
            }
            left = merged.outputs;
        }
        Ok(Some(left))
    }

    fn outputs_of_table(&self, table: &mut TableFactor, place: &str) -> Result<Option<Outputs>> {
        if let TableFactor::NestedJoin {
            table_with_joins,
            alias,
        } = table
        {
            if alias.is_none() {
                return self.outputs_of(table_with_joins, &format!("{place}_0"));
            }
            if joins_by_name(table_with_joins) {
                return Err(refused(
                    "a name for tables that are joined in brackets by USING",
                    "Make it a subquery: (SELECT * FROM a JOIN b USING (k)) AS j.",
                ));
            }
        }
        let columns = self.columns_of(table);
        let name = match table {
            TableFactor::Table {
                alias: None,
                args: None,
                name,
                ..
            } => {
                let parts = name.0.iter().map(|part| part.as_ident().cloned());
                match parts.collect::<Option<Vec<Ident>>>() {
                    Some(parts) => parts,
                    None => return Ok(None),
                }
            }
            other => {
                let called = match other {
                    TableFactor::Table { name, .. } | TableFactor::Function { name, .. } => {
                        name.0.last().and_then(ObjectNamePart::as_ident).cloned()
                    }
                    _ => None,
                };
                let Some(alias) = alias_of(other) else {
                    return Ok(None);
                };
                let alias = alias.get_or_insert_with(|| TableAlias {
                    explicit: true,
                    name: called.unwrap_or_else(|| quoted(&format!("joined_{place}"))),
                    columns: Vec::new(),
                    at: None,
                });
                vec![alias.name.clone()]
            }
        };
        Ok(Some(vec![Output::Table(JoinedTable {
            name,
            columns,
            hidden: Vec::new(),
        })]))
    }

    /// The columns of a table; `None` where they are not known before it is planned.
    fn columns_of(&self, table: &TableFactor) -> Option<Vec<String>> {
        match table {
            TableFactor::Table {
                alias: Some(alias), ..
            }
            | TableFactor::Derived {
                alias: Some(alias), ..
            }
            | TableFactor::Function {
                alias: Some(alias), ..
            }
            | TableFactor::UNNEST {
                alias: Some(alias), ..
            } if !alias.columns.is_empty() => Some(alias_columns(alias)),
            TableFactor::Table {
                name, args: None, ..
            } => {
                let parts: Option<Vec<String>> = name
                    .0
                    .iter()
                    .map(|part| part.as_ident().map(folded))
                    .collect();
                let (schema, table) = match parts?.as_slice() {
                    [table] => {
                        let mut within =
                            self.named.iter().rev().flat_map(|named| named.iter().rev());
                        if let Some((_, columns)) = within.find(|(of, _)| of == table) {
                            return columns.clone();
                        }
                        (self.default_schema.to_owned(), table.clone())
                    }
                    [.., schema, table] => (schema.clone(), table.clone()),
                    [] => return None,
                };
                let fields = self.tables.get(&(schema, table))?.fields();
                Some(fields.iter().map(|field| field.name().clone()).collect())
            }
            TableFactor::Derived { subquery, .. } => self.columns_of_query(subquery),
            _ => None,
        }
    }

    fn columns_of_query(&self, query: &Query) -> Option<Vec<String>> {
        let mut body = query.body.as_ref();
        if !query.pipe_operators.is_empty() {
            return None;
        }
        let select = loop {
            body = match body {
                SetExpr::Select(select) => break select,
                SetExpr::SetOperation { left, .. } => left,
                SetExpr::Query(inner) => return self.columns_of_query(inner),
                _ => return None,
            };
        };
        let mut columns = Vec::new();
        for item in &select.projection {
            match item {
                SelectItem::ExprWithAlias { alias, .. } => columns.push(folded(alias)),
                SelectItem::UnnamedExpr(Expr::Identifier(name)) => columns.push(folded(name)),
                SelectItem::UnnamedExpr(Expr::CompoundIdentifier(path)) => {
                    columns.push(folded(path.last()?));
                }
                SelectItem::UnnamedExpr(other) => columns.push(other.to_string()),
                // Its own WITH may have the table.
                SelectItem::Wildcard(options)
                    if query.with.is_none() && *options == WildcardAdditionalOptions::default() =>
                {
                    columns.extend(self.columns_of_all(select)?);
                }
                _ => return None,
            }
        }
        Some(columns)
    }

    /// The columns of `*`, where no table hides its own.
    fn columns_of_all(&self, select: &Select) -> Option<Vec<String>> {
        let mut all = Vec::new();
        for from in &select.from {
            if !from.joins.is_empty() && joins_by_name(&mut from.clone()) {
                return None;
            }
            all.extend(self.columns_of(&from.relation)?);
            for join in &from.joins {
                match kept_by(&join.join_operator) {
                    Kept::LeftAlone => {}
                    Kept::RightAlone => return None,
                    _ => all.extend(self.columns_of(&join.relation)?),
                }
            }
        }
        Some(all)
    }
}

fn alias_columns(alias: &TableAlias) -> Vec<String> {
    alias
        .columns
        .iter()
        .map(|column| folded(&column.name))
        .collect()
}

fn alias_of(table: &mut TableFactor) -> Option<&mut Option<TableAlias>> {
    match table {
        TableFactor::Table { alias, .. }
        | TableFactor::Derived { alias, .. }
        | TableFactor::TableFunction { alias, .. }
        | TableFactor::Function { alias, .. }
        | TableFactor::UNNEST { alias, .. }
        | TableFactor::NestedJoin { alias, .. } => Some(alias),
        _ => None,
    }
}

/// The columns of a join, and its condition where it is by names.
struct MergedJoin {
    outputs: Outputs,
    condition: Option<Expr>,
}

/// Joins two sides by names; `None` for what the planner refuses.
fn merge(
    left: &mut Outputs,
    right: &mut Outputs,
    names: &[String],
    kept: Kept,
) -> Result<Option<MergedJoin>> {
    let (mut outputs, mut condition) = (Outputs::new(), None);
    for name in names {
        let (one, other) = match (key_of(left, name), key_of(right, name)) {
            (SideKey::Missing, _) | (_, SideKey::Missing) => return Ok(None),
            (SideKey::Known(one), SideKey::Known(other)) => (*one, *other),
            _ => {
                return Err(refused(
                    &format!("USING ({name}) after tables whose columns are not known before"),
                    &format!("Say which it is: ON a.{name} = b.{name}."),
                ));
            }
        };
        let value = match kept {
            Kept::Left | Kept::LeftAlone => one.clone(),
            Kept::Right | Kept::RightAlone => other.clone(),
            Kept::Either => whichever(&one, &other),
        };
        let equal = binary(one, BinaryOperator::Eq, other);
        condition = Some(match condition {
            Some(before) => binary(before, BinaryOperator::And, equal),
            None => equal,
        });
        outputs.push(Output::Merged(name.clone(), Box::new(value)));
    }
    for name in names {
        hide(left, name);
        hide(right, name);
    }
    if kept != Kept::RightAlone {
        outputs.append(left);
    }
    if kept != Kept::LeftAlone {
        outputs.append(right);
    }
    Ok(Some(MergedJoin { outputs, condition }))
}

/// The one that is there, of as many as have been joined: choices within each other stand in a plan over and over.
fn whichever(one: &Expr, other: &Expr) -> Expr {
    let mut choices = match one {
        Expr::Function(of) => values(&of.args).unwrap_or_default(),
        column => vec![column.clone()],
    };
    choices.push(other.clone());
    call("coalesce", choices)
}

/// The names that both sides of a NATURAL JOIN have, in the left one's order.
fn common_names(left: &[Output], right: &[Output]) -> Result<Vec<String>> {
    let (Some(left), Some(right)) = (names_of(left), names_of(right)) else {
        return Err(refused(
            "NATURAL JOIN of what has no columns before it is planned",
            "USING (column, ...) says by which columns.",
        ));
    };
    Ok(left
        .into_iter()
        .filter(|name| right.contains(name))
        .collect())
}

fn names_of(side: &[Output]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for output in side {
        match output {
            Output::Merged(name, _) => names.push(name.clone()),
            Output::Table(table) => {
                let shown = table.columns.as_ref()?.iter();
                names.extend(shown.filter(|name| !table.hidden.contains(name)).cloned());
            }
        }
    }
    Some(names)
}
