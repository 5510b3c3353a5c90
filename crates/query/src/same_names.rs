//! Columns of one name in a SELECT, as in `SELECT sum(a), sum(a)` and `SELECT a + 1 AS a, t.a`, which PostgreSQL answers and the planner refuses: they get names of their own.
//!
//! ```text
//!   SELECT sum(a), sum(a) FROM t                    -->   SELECT sum(a) AS sum, sum(a) AS sum_2 FROM t
//!   SELECT k, a.k, b.k FROM a FULL JOIN b USING (k) -->   SELECT coalesce(a.k, b.k) AS k, a.k AS k_2, b.k AS k_3 FROM a FULL JOIN b ON a.k = b.k
//! ```
//!
//! Invariant: only a statement that the planner has refused for it is changed. Where a name is asked for outside of the SELECT that gives it twice, the
//! statement stays refused: nobody knows which of the two is meant.

use crate::language::folded;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    self, ExcludeSelectItem, Expr, Ident, ObjectName, ObjectNamePart, OrderBy, OrderByExpr,
    OrderByKind, Query, Select, SelectItem, SetExpr, Visit, VisitMut, Visitor, VisitorMut,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// The planner's words.
const REFUSED: &str = "require unique expression names";

/// The plan of a statement, whose columns of one name get names of their own where the planner refuses them.
pub async fn plan_apart(
    state: &SessionState,
    statement: Statement,
) -> Result<LogicalPlan, DataFusionError> {
    match state.statement_to_plan(statement.clone()).await {
        Err(error) => match told_apart(&statement, &error) {
            Some(renamed) => state.statement_to_plan(renamed).await,
            None => Err(error),
        },
        planned => planned,
    }
}

/// The statement with names of their own for columns of one name, where an error says that it has such.
fn told_apart(statement: &Statement, error: &DataFusionError) -> Option<Statement> {
    let refused = refused_column(error)?;
    let mut renamed = statement.clone();
    let inner = inner(&mut renamed)?;
    let whole = inner.clone();
    let mut names = NameGiver {
        whole: &whole,
        refused,
        depth: 0,
        has_renamed: false,
    };
    let _ = VisitMut::visit(inner, &mut names);
    names.has_renamed.then_some(renamed)
}

fn inner(statement: &mut Statement) -> Option<&mut ast::Statement> {
    match statement {
        Statement::Statement(inner) => Some(inner),
        Statement::Explain(explain) => self::inner(&mut explain.statement),
        _ => None,
    }
}

/// The column that an error says is there twice: `"t.a" at position 0 and "t.a" at position 3`, or as a table's and as one that is calculated. `None` for any other error, `Some(None)`
/// where it does not say which.
#[expect(
    clippy::option_option,
    reason = "another error, and one that does not say the name"
)]
fn refused_column(error: &DataFusionError) -> Option<Option<String>> {
    if let DataFusionError::SchemaError(of, _) = error.find_root()
        && let SchemaError::AmbiguousReference { field } = of.as_ref()
    {
        return field.relation.is_some().then(|| Some(field.name.clone()));
    }
    let text = error.to_string();
    let behind = text.split_once(REFUSED)?.1;
    let quoted = behind.split('"').nth(1);
    Some(quoted.and_then(|quoted| Some(quoted.rsplit('.').next()?.to_owned())))
}

/// Visitor that gives names to the columns of each SELECT that has two of one.
struct NameGiver<'s> {
    whole: &'s ast::Statement,
    refused: Option<String>,
    depth: usize,
    has_renamed: bool,
}

impl VisitorMut for NameGiver<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let is_outermost = self.depth == 0;
        self.depth += 1;
        let before = query.clone();
        let is_asked_for = |name: &str| {
            // `t.a` in ORDER BY is the table's, whatever the columns are called.
            let ordered = query.order_by.as_ref();
            let ordered = ordered.map_or(0, |by| MentionCounter::of(by, name).bare);
            let elsewhere = mentions(self.whole, name) - mentions(&before, name);
            (ordered, elsewhere)
        };
        let allows = |name: &str, is_same: bool| {
            let (ordered, elsewhere) = is_asked_for(name);
            (is_outermost || elsewhere == 0) && (is_same || ordered == 0)
        };
        let is_ordered_by = |name: &str| is_asked_for(name).0 > 0;
        let mut selects = Vec::new();
        selects_of(&mut query.body, &mut selects);
        let mut given = Vec::new();
        for select in selects {
            let refused = self.refused.as_deref();
            given.extend(name_apart(select, refused, &allows, &is_ordered_by));
        }
        if let Some(OrderBy {
            kind: OrderByKind::Expressions(order),
            ..
        }) = &mut query.order_by
        {
            order_by_given(order, &given);
        }
        self.has_renamed |= !given.is_empty();
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.depth -= 1;
        ControlFlow::Continue(())
    }
}

/// The SELECTs of a query that are none of a query within it.
fn selects_of<'q>(body: &'q mut SetExpr, found: &mut Vec<&'q mut Select>) {
    match body {
        SetExpr::Select(select) => found.push(select),
        SetExpr::SetOperation { left, right, .. } => {
            selects_of(left, found);
            selects_of(right, found);
        }
        _ => {}
    }
}

/// A column that a SELECT names: what it is, the name it is known by, and the one it gets where it is not alone.
fn named(item: &SelectItem) -> Option<(&Expr, Option<String>, String)> {
    let (expr, alias) = match item {
        SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias)),
        SelectItem::UnnamedExpr(expr) => (expr, None),
        _ => return None,
    };
    if let Some(alias) = alias {
        return Some((expr, Some(folded(alias)), folded(alias)));
    }
    Some(match uncast(expr) {
        Expr::Identifier(column) => (expr, Some(folded(column)), folded(column)),
        Expr::CompoundIdentifier(path) => {
            let column = folded(path.last()?);
            (expr, Some(column.clone()), column)
        }
        Expr::Function(function) => match function.name.0.last()? {
            ObjectNamePart::Identifier(name) => (expr, None, name.value.to_lowercase()),
            ObjectNamePart::Function(_) => (expr, None, expr.to_string()),
        },
        _ => (expr, None, unnamed(expr)),
    })
}

/// The name of a column that has none: a cast is called as its type.
fn unnamed(expr: &Expr) -> String {
    match expr {
        Expr::Cast { data_type, .. } => data_type.to_string().to_lowercase(),
        _ => expr.to_string(),
    }
}

/// An expression without the casts around it, which are no part of its name for the planner.
fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast { expr, .. } | Expr::Nested(expr) => uncast(expr),
        _ => expr,
    }
}

/// An expression as the planner names it, of whose name no cast within it is a part.
fn without_casts(expr: &Expr) -> String {
    let mut bare = expr.clone();
    let _ = VisitMut::visit(&mut bare, &mut CastRemover);
    bare.to_string()
}

/// Visitor that leaves of every cast what is cast.
struct CastRemover;

impl VisitorMut for CastRemover {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if matches!(expr, Expr::Cast { .. } | Expr::Nested(_)) {
            *expr = uncast(expr).clone();
        }
        ControlFlow::Continue(())
    }
}

/// Replaces tables' columns in ORDER BY by the names that they got in SELECT: the planner would look for them beside these.
fn order_by_given(order: &mut [OrderByExpr], given: &[(Expr, Ident)]) {
    for by in order {
        let is_it = |(column, _): &&(Expr, Ident)| {
            matches!(column, Expr::CompoundIdentifier(_)) && *column == by.expr
        };
        if let Some((_, name)) = given.iter().find(is_it) {
            by.expr = Expr::Identifier(name.clone());
        }
    }
}

/// Gives columns of one name names of their own, if it `allows` it for a name, and whether all of that name are the same. None is one that the query `is_ordered_by`: that would
/// be the new column then. Gives those that got one, and the names.
fn name_apart(
    select: &mut Select,
    refused: Option<&str>,
    allows: &dyn Fn(&str, bool) -> bool,
    is_ordered_by: &dyn Fn(&str) -> bool,
) -> Vec<(Expr, Ident)> {
    let in_wildcard = |name: &str| select.projection.iter().any(|item| may_have(item, name));
    let in_wildcard = refused.is_some_and(in_wildcard);
    // By the name, or by the text where there is none.
    let mut alike: BTreeMap<(bool, String), Vec<usize>> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (at, item) in select.projection.iter().enumerate() {
        let Some((expr, known, _)) = named(item) else {
            continue;
        };
        taken.extend(known.clone());
        let key = match known {
            Some(name) => (true, name),
            None => (false, without_casts(expr)),
        };
        alike.entry(key).or_default().push(at);
    }
    let mut given = Vec::new();
    for ((has_name, name), places) in alike {
        let by_wildcard = in_wildcard && has_name && refused == Some(name.as_str());
        if places.len() < 2 && !by_wildcard {
            continue;
        }
        let exprs: BTreeSet<String> = places
            .iter()
            .filter_map(|at| Some(named(select.projection.get(*at)?)?.0.to_string()))
            .collect();
        let is_same = exprs.len() == 1 && !by_wildcard;
        if has_name && !allows(&name, is_same) {
            continue;
        }
        // The first keeps the name, where it is one and no wildcard has it.
        let kept = usize::from(has_name && !by_wildcard);
        for (number, at) in places.iter().enumerate().skip(kept) {
            let Some(item) = select.projection.get_mut(*at) else {
                continue;
            };
            let Some((expr, _, base)) = named(item) else {
                continue;
            };
            let mut number = number + 1 + usize::from(by_wildcard);
            let mut alias = match number {
                _ if !has_name && !taken.contains(&base) => base.clone(),
                1 => base.clone(),
                number => format!("{base}_{number}"),
            };
            while taken.contains(&alias) || (alias != base && is_ordered_by(&alias)) {
                number += 1;
                alias = format!("{base}_{number}");
            }
            taken.insert(alias.clone());
            let (expr, alias) = (expr.clone(), Ident::with_quote('"', alias));
            given.push((expr.clone(), alias.clone()));
            *item = SelectItem::ExprWithAlias { expr, alias };
        }
    }
    given
}

/// Number of times that a column of that name is asked for in a part of a statement.
fn mentions(part: &impl Visit, name: &str) -> usize {
    let found = MentionCounter::of(part, name);
    found.bare + found.qualified
}

/// Visitor that counts columns of a name, with a table before it and without.
struct MentionCounter<'n> {
    name: &'n str,
    bare: usize,
    qualified: usize,
}

impl<'n> MentionCounter<'n> {
    fn of(part: &impl Visit, name: &'n str) -> Self {
        let mut counter = Self {
            name,
            bare: 0,
            qualified: 0,
        };
        let _ = part.visit(&mut counter);
        counter
    }
}

impl Visitor for MentionCounter<'_> {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let (column, count) = match expr {
            Expr::Identifier(column) => (Some(column), &mut self.bare),
            Expr::CompoundIdentifier(path) => (path.last(), &mut self.qualified),
            _ => return ControlFlow::Continue(()),
        };
        if column.is_some_and(|column| column.value.eq_ignore_ascii_case(self.name)) {
            *count += 1;
        }
        ControlFlow::Continue(())
    }
}

/// True for a wildcard that may have a column of that name: one of all columns but some, of which it is none.
fn may_have(item: &SelectItem, name: &str) -> bool {
    let (SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options)) = item else {
        return false;
    };
    let excluded = match &options.opt_exclude {
        Some(ExcludeSelectItem::Single(one)) => std::slice::from_ref(one),
        Some(ExcludeSelectItem::Multiple(several)) => several.as_slice(),
        None => &[],
    };
    let is_name = |excluded: &ObjectName| match excluded.0.as_slice() {
        [ObjectNamePart::Identifier(column)] => column.value.eq_ignore_ascii_case(name),
        _ => false,
    };
    !excluded.iter().any(is_name)
}
