//! Columns of one name in a SELECT, as in `SELECT sum(a), sum(a)` and `SELECT a + 1 AS a, t.a`, and calls that differ in a cast alone, which PostgreSQL answers and the planner refuses: they get
//! names of their own.
//!
//! ```text
//!   SELECT sum(a), sum(a) FROM t                    -->   SELECT sum(a) AS sum, sum(a) AS sum_2 FROM t
//!   SELECT k, a.k, b.k FROM a FULL JOIN b USING (k) -->   SELECT coalesce(a.k, b.k) AS k, a.k AS k_2, b.k AS k_3 FROM a FULL JOIN b ON a.k = b.k
//!   SELECT sum(a), sum(CAST(a AS INT)) FROM t       -->   SELECT sum(a) AS sum, sum(shown_cast(CAST(a AS INT), 'INT')) AS sum_2 FROM t
//!   SELECT count(*) FROM t GROUP BY a, a::int       -->   SELECT count(*) FROM t GROUP BY a, shown_cast(CAST(a AS INT), 'INT')
//!   SELECT r ^ 2, power(r, 2) FROM t                -->   SELECT r ^ 2 AS "r ^ 2", power(r, 2) AS power FROM t
//! ```
//!
//! A cast is no part of the planner's name for what is cast, and a name that the planner gives to a step is none that a statement could give: the call that stands around the cast is, and changes nothing,
//! see [`crate::shown_casts`].
//!
//! Invariant: only a statement that the planner has refused for it is changed, or would plan with two groups of one name, which no later step tells apart. Where a name is asked for outside of the SELECT that gives it twice, the
//! statement stays refused: nobody knows which of the two is meant.

use crate::language::{self, folded, place};
use crate::shown_casts::SHOWN_CAST;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::{
    self, BinaryOperator, CastKind, DataType, ExcludeSelectItem, Expr, GroupByExpr, Ident,
    ObjectName, ObjectNamePart, OrderBy, OrderByExpr, OrderByKind, Query, Select, SelectItem,
    SetExpr, Visit, VisitMut, Visitor, VisitorMut,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// The planner's words.
const REFUSED: &str = "require unique expression names";
/// Its words of windows, whatever SELECT calls them.
const REFUSED_WINDOWS: &str = "Windows require unique expression names";

/// Plans of a statement, at most: as it is, with other names, with casts that show, and with names for those.
const ATTEMPTS: usize = 4;

/// The plan of a statement, whose columns of one name get names of their own where the planner refuses them.
pub async fn plan_apart(
    state: &SessionState,
    statement: Statement,
) -> Result<LogicalPlan, DataFusionError> {
    let mut statement = statement;
    show_alike_groups(&mut statement);
    let mut are_casts_shown = false;
    let mut left = ATTEMPTS;
    loop {
        let error = match state.statement_to_plan(statement.clone()).await {
            Err(error) => error,
            planned => return planned,
        };
        left -= 1;
        let changed = told_apart(&statement, &error).or_else(|| {
            let shown = casts_shown(&statement, &error).filter(|_| !are_casts_shown);
            are_casts_shown |= shown.is_some();
            shown
        });
        match changed {
            Some(changed) if left > 0 => statement = changed,
            _ => return Err(error),
        }
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

/// Visitor that leaves of every cast what is cast, of a query that it is one, and of an operator the call that it is.
struct CastRemover;

impl VisitorMut for CastRemover {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        match expr {
            Expr::Cast { .. } | Expr::Nested(_) => *expr = uncast(expr).clone(),
            Expr::TypedString(typed) => *expr = Expr::Value(typed.value.clone()),
            Expr::Subquery(_) => *expr = Expr::Identifier(Ident::new("<subquery>")),
            Expr::BinaryOp { left, op, right } => {
                // The planner makes calls of these.
                let call = match op {
                    BinaryOperator::PGExp => format!("power({left}, {right})"),
                    BinaryOperator::AtArrow => format!("array_has_all({left}, {right})"),
                    BinaryOperator::ArrowAt => format!("array_has_all({right}, {left})"),
                    _ => return ControlFlow::Continue(()),
                };
                *expr = Expr::Identifier(Ident::new(call));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Shows the casts of SELECTs that group by a value and a cast of it, or by two casts.
fn show_alike_groups(statement: &mut Statement) {
    if let Some(inner) = inner(statement) {
        let mut casts = ShownCasts {
            is_of_alike_groups: true,
            ..ShownCasts::default()
        };
        // It does not break off.
        let _ = VisitMut::visit(inner, &mut casts);
    }
}

/// True for a SELECT of which two groups differ in casts alone.
fn has_alike_groups(select: &Select) -> bool {
    let columns: Vec<(&Expr, Option<&Ident>)> = select
        .projection
        .iter()
        .filter_map(|item| match item {
            SelectItem::UnnamedExpr(expr) => Some((expr, None)),
            SelectItem::ExprWithAlias { expr, alias } => Some((expr, Some(alias))),
            _ => None,
        })
        .collect();
    let meant = |by: &Expr| -> Expr {
        let by_name = |name: &Ident| {
            let is_it = |alias: Option<&Ident>| alias.is_some_and(|of| folded(of) == folded(name));
            columns.iter().find(|(_, alias)| is_it(*alias))
        };
        let column = match by {
            Expr::Identifier(name) => by_name(name),
            other => place(other).and_then(|at| columns.get(at)),
        };
        column.map_or_else(|| by.clone(), |(expr, _)| Expr::clone(expr))
    };
    let groups: Vec<Expr> = match &select.group_by {
        GroupByExpr::All(_) => columns.iter().map(|(expr, _)| Expr::clone(expr)).collect(),
        GroupByExpr::Expressions(by, _) => by.iter().flat_map(parts_of_sets).map(meant).collect(),
    };
    let mut written: BTreeMap<String, String> = BTreeMap::new();
    groups.iter().any(|group| {
        let text = group.to_string();
        let known = written.insert(name_of_group(group), text.clone());
        known.is_some_and(|known| known != text)
    })
}

/// The expressions of a set of groups; of any other its own.
fn parts_of_sets(by: &Expr) -> Vec<&Expr> {
    match by {
        Expr::Rollup(sets) | Expr::Cube(sets) | Expr::GroupingSets(sets) => {
            sets.iter().flatten().collect()
        }
        other => vec![other],
    }
}

/// A group as the planner names it, a column without its table.
fn name_of_group(by: &Expr) -> String {
    match uncast(by) {
        Expr::Identifier(name) => folded(name),
        Expr::CompoundIdentifier(path) => path.last().map(folded).unwrap_or_default(),
        other => without_casts(other),
    }
}

/// The statement with casts that are part of a name, where an error says that two steps of a plan have one.
fn casts_shown(statement: &Statement, error: &DataFusionError) -> Option<Statement> {
    let is_of_step = match error.find_root() {
        DataFusionError::SchemaError(of, _) => {
            matches!(of.as_ref(), SchemaError::DuplicateUnqualifiedField { .. })
        }
        other => other.to_string().contains(REFUSED_WINDOWS),
    };
    // Of groups it says what it says of columns, and these have names of their own by now.
    let is_of_groups = error.to_string().contains(REFUSED);
    if !is_of_step && !is_of_groups {
        return None;
    }
    let mut shown = statement.clone();
    let mut casts = ShownCasts::default();
    let _ = VisitMut::visit(inner(&mut shown)?, &mut casts);
    let count = if is_of_step {
        casts.shown
    } else {
        casts.shown_in_groups
    };
    (count > 0).then_some(shown)
}

/// Visitor of queries that shows the casts in what their SELECTs give, group, filter by groups and order by.
#[derive(Default)]
struct ShownCasts {
    shown: usize,
    /// Those of SELECTs that group.
    shown_in_groups: usize,
    /// True where only SELECTs are meant whose groups differ in casts alone.
    is_of_alike_groups: bool,
}

impl ShownCasts {
    fn show(&mut self, part: &mut impl VisitMut) {
        let mut casts = CastMarker::default();
        let _ = VisitMut::visit(part, &mut casts);
        self.shown += casts.shown;
    }

    fn show_in(&mut self, select: &mut Select) {
        let before_all = self.shown;
        for item in &mut select.projection {
            let name = match item {
                SelectItem::UnnamedExpr(_) => named(item).and_then(|(_, known, _)| known),
                _ => None,
            };
            // There the column of the rows is meant, and the planner would take the new one.
            let is_asked = |name: &String| {
                mentions(&select.having, name) + mentions(&select.qualify, name) > 0
            };
            let name = name.filter(|name| !is_asked(name));
            let before = self.shown;
            self.show(item);
            // A cast of a column is called as the column.
            let is_shown = self.shown > before;
            if let Some(name) = name.filter(|_| is_shown)
                && let SelectItem::UnnamedExpr(expr) = item
            {
                let (expr, alias) = (expr.clone(), Ident::with_quote('"', name));
                *item = SelectItem::ExprWithAlias { expr, alias };
            }
        }
        self.show(&mut select.distinct);
        self.show(&mut select.group_by);
        self.show(&mut select.having);
        self.show(&mut select.qualify);
        self.show(&mut select.named_window);
        if !matches!(&select.group_by, GroupByExpr::Expressions(by, _) if by.is_empty()) {
            self.shown_in_groups += self.shown - before_all;
        }
    }
}

impl VisitorMut for ShownCasts {
    type Break = ();

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        let mut selects = Vec::new();
        selects_of(&mut query.body, &mut selects);
        selects.retain(|select| !self.is_of_alike_groups || has_alike_groups(select));
        let is_concerned = !selects.is_empty();
        for select in selects {
            self.show_in(select);
        }
        if is_concerned || !self.is_of_alike_groups {
            self.show(&mut query.order_by);
        }
        ControlFlow::Continue(())
    }
}

/// Visitor that puts casts into a call that says their type. The queries within have been visited by themselves.
#[derive(Default)]
struct CastMarker {
    queries: usize,
    shown: usize,
}

impl VisitorMut for CastMarker {
    type Break = ();

    fn pre_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &mut Query) -> ControlFlow<()> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if self.queries == 0
            && let Some(says) = cast_to_show(expr)
        {
            let shown = vec![expr.clone(), language::text(&says)];
            *expr = language::call(SHOWN_CAST, shown);
            self.shown += 1;
        }
        ControlFlow::Continue(())
    }
}

/// The work of a cast of columns; `None` for anything else. Constants stay what they are: a place may want one.
fn cast_to_show(expr: &Expr) -> Option<String> {
    let Expr::Cast {
        kind, data_type, ..
    } = expr
    else {
        return None;
    };
    let mut columns = ColumnFinder::default();
    let _ = Visit::visit(expr, &mut columns);
    let is_null_else = matches!(kind, CastKind::TryCast | CastKind::SafeCast);
    let or_null = if is_null_else { " or null" } else { "" };
    (columns.has_columns && !columns.has_queries)
        .then(|| format!("{}{or_null}", one_name(data_type)))
}

/// A type as it is written, by one of the names that it has.
fn one_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Int(None) | DataType::Int4(None) | DataType::Integer(None) => "INT".to_owned(),
        DataType::BigInt(None) | DataType::Int8(None) => "BIGINT".to_owned(),
        DataType::SmallInt(None) | DataType::Int2(None) => "SMALLINT".to_owned(),
        DataType::DoublePrecision | DataType::Float8 => "DOUBLE".to_owned(),
        DataType::Text | DataType::Varchar(None) | DataType::CharacterVarying(None) => {
            "VARCHAR".to_owned()
        }
        DataType::Numeric(digits) | DataType::Dec(digits) => DataType::Decimal(*digits).to_string(),
        other => other.to_string(),
    }
}

#[derive(Default)]
struct ColumnFinder {
    has_columns: bool,
    has_queries: bool,
}

impl Visitor for ColumnFinder {
    type Break = ();

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<()> {
        self.has_queries = true;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.has_columns |= matches!(expr, Expr::Identifier(_) | Expr::CompoundIdentifier(_));
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
