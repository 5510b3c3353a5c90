//! Derived tables within a subquery, with the values that are compared with the row around it.
//!
//! Invariant: a derived table gives what it gave, and one column more for each value of its rows that a condition compares with the row
//! around: its rows are joined to that row by these. Compared for equality, such a value is one for a row around, so that it may be a key of
//! groups beside the others. DataFusion carries a column by its name, which a derived table may not have, or have for something else.
//!
//! ```text
//!   (SELECT max(q.c) FROM (SELECT count(*) AS c FROM b WHERE b.k = a.k GROUP BY b.m) AS q)
//!     SubqueryAlias q
//!       Projection count(*) AS c, __around_0
//!         Aggregate count(*) BY b.m, __around_0
//!           Filter __around_0 = a.k
//!             Projection b.*, b.k AS __around_0
//! ```

use super::columns;
use super::subqueries::has_subquery;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, Filter, Join, LogicalPlan, Operator, Projection,
    Subquery, SubqueryAlias,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The beginning of the names of what is compared with the row around.
const AROUND: &str = "__around";

/// The subquery with columns in its derived tables for what is compared with the row around, where one of them lacks it. `made` counts such columns of the whole query.
pub(super) fn carried(of: Subquery, made: &mut usize) -> Result<Transformed<LogicalPlan>> {
    if !has_loss(&of.subquery) {
        return Ok(Transformed::no(LogicalPlan::Subquery(of)));
    }
    let done = of.subquery.as_ref().clone().transform_down(|part| {
        Ok(match part {
            LogicalPlan::Subquery(_) => Transformed::new(part, false, TreeNodeRecursion::Jump),
            LogicalPlan::SubqueryAlias(_) => match with_keys(&part, made)? {
                Some(rows) if !rows.keys.is_empty() => {
                    Transformed::new(rows.plan, true, TreeNodeRecursion::Jump)
                }
                _ => Transformed::no(part),
            },
            other => Transformed::no(other),
        })
    })?;
    if !done.transformed {
        return Ok(Transformed::no(LogicalPlan::Subquery(of)));
    }
    let done = done.data.transform_up(|part| match part {
        LogicalPlan::Union(_) => Ok(Transformed::no(part)),
        other => other.recompute_schema().map(Transformed::yes),
    })?;
    let plan = done.data;
    // What is asked for has the columns that it had.
    if plan.schema().fields().len() != of.subquery.schema().fields().len() {
        return Ok(Transformed::no(LogicalPlan::Subquery(of)));
    }
    Ok(Transformed::yes(LogicalPlan::Subquery(Subquery {
        subquery: Arc::new(plan),
        ..of
    })))
}

/// True where a derived table lacks a column by which its rows are joined to the row around, or that column's name is another's too.
fn has_loss(plan: &LogicalPlan) -> bool {
    let shared = shared_names(plan);
    let mut has = false;
    // The closure does not fail.
    let _ = plan.apply(|part| {
        match part {
            LogicalPlan::Subquery(_) => return Ok(TreeNodeRecursion::Jump),
            LogicalPlan::SubqueryAlias(of) => {
                let schema = of.input.schema();
                let compared = compared_columns(&of.input);
                has |= compared
                    .iter()
                    .any(|column| !schema.has_column(column) || shared.contains(&column.name));
            }
            _ => {}
        }
        Ok(match has {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    });
    has
}

/// The names that two columns of one step have.
fn shared_names(plan: &LogicalPlan) -> BTreeSet<String> {
    let mut shared = BTreeSet::new();
    // The closure does not fail.
    let _ = plan.apply(|part| {
        if matches!(part, LogicalPlan::Subquery(_)) {
            return Ok(TreeNodeRecursion::Jump);
        }
        let mut names = BTreeSet::new();
        for field in part.schema().fields() {
            if !names.insert(field.name()) {
                shared.insert(field.name().clone());
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    shared
}

/// The columns that are compared with the row around, by the names that DataFusion carries them under.
fn compared_columns(plan: &LogicalPlan) -> Vec<Column> {
    match plan {
        LogicalPlan::Subquery(_) => Vec::new(),
        LogicalPlan::SubqueryAlias(of) => compared_columns(&of.input)
            .into_iter()
            .map(|column| Column::new(Some(of.alias.clone()), column.name))
            .collect(),
        other => {
            let mut found: Vec<Column> = (other.inputs().into_iter())
                .flat_map(compared_columns)
                .collect();
            if let LogicalPlan::Filter(of) = other {
                let conditions = split_conjunction(&of.predicate).into_iter();
                for condition in conditions.filter(|condition| condition.contains_outer()) {
                    found.extend(condition.column_refs().into_iter().cloned());
                }
            }
            found
        }
    }
}

/// Value that is compared with the row around.
struct Key {
    column: Column,
    /// The same said by the other columns, as long as they say it.
    said: Option<Expr>,
}

/// Rows of a plan with columns for what is compared with the row around.
struct KeyedRows {
    plan: LogicalPlan,
    keys: Vec<Key>,
    /// True where each is compared for equality alone.
    are_equal: bool,
}

impl KeyedRows {
    fn keys(&self) -> impl Iterator<Item = Expr> {
        self.keys.iter().map(|key| Expr::Column(key.column.clone()))
    }

    /// The same keys in another plan, where a part of them may still be said by its columns.
    fn in_plan(self, plan: LogicalPlan, still_says: impl Fn(&Expr) -> bool) -> Self {
        let keys = self.keys.into_iter().map(|key| Key {
            column: key.column,
            said: key.said.filter(|said| still_says(said)),
        });
        Self {
            plan,
            keys: keys.collect(),
            are_equal: self.are_equal,
        }
    }
}

/// A plan with its keys; `None` where they cannot go through.
fn with_keys(plan: &LogicalPlan, made: &mut usize) -> Result<Option<KeyedRows>> {
    if plan.all_out_ref_exprs().is_empty() {
        return Ok(Some(KeyedRows {
            plan: plan.clone(),
            keys: Vec::new(),
            are_equal: true,
        }));
    }
    if let LogicalPlan::Filter(of) = plan {
        return filtered(of, made);
    }
    if plan.contains_outer_reference() {
        return Ok(None);
    }
    let input = match plan {
        LogicalPlan::Projection(of) => &of.input,
        LogicalPlan::SubqueryAlias(of) => &of.input,
        LogicalPlan::Aggregate(of) => &of.input,
        LogicalPlan::Distinct(Distinct::All(input)) => input,
        LogicalPlan::Join(of) => return joined(of, made),
        _ => return Ok(None),
    };
    let Some(rows) = with_keys(input, made)? else {
        return Ok(None);
    };
    match plan {
        LogicalPlan::Projection(of) => {
            let outputs = of.expr.iter().cloned().chain(rows.keys()).collect();
            let plan = Projection::try_new(outputs, Arc::new(rows.plan.clone()))?;
            let is_there = |said: &Expr| matches!(said, Expr::Column(_)) && of.expr.contains(said);
            Ok(Some(rows.in_plan(LogicalPlan::Projection(plan), is_there)))
        }
        LogicalPlan::SubqueryAlias(of) => {
            let plan = SubqueryAlias::try_new(Arc::new(rows.plan), of.alias.clone())?;
            let keys = rows.keys.into_iter().map(|key| Key {
                column: Column::new(Some(of.alias.clone()), key.column.name),
                said: None,
            });
            Ok(Some(KeyedRows {
                plan: LogicalPlan::SubqueryAlias(plan),
                keys: keys.collect(),
                are_equal: rows.are_equal,
            }))
        }
        LogicalPlan::Aggregate(of) if rows.are_equal => grouped(of, rows),
        LogicalPlan::Distinct(_) if rows.are_equal => {
            let plan = LogicalPlan::Distinct(Distinct::All(Arc::new(rows.plan.clone())));
            Ok(Some(rows.in_plan(plan, |_| true)))
        }
        _ => Ok(None),
    }
}

/// Rows that a condition chooses.
fn filtered(of: &Filter, made: &mut usize) -> Result<Option<KeyedRows>> {
    let Some(mut rows) = with_keys(&of.input, made)? else {
        return Ok(None);
    };
    let mut keys: Vec<Key> = Vec::new();
    let mut key_of = |said: &Expr| -> Expr {
        if let Some(known) = keys.iter().find(|key| key.said.as_ref() == Some(said)) {
            return Expr::Column(known.column.clone());
        }
        let column = Column::new_unqualified(format!("{AROUND}_{made}"));
        *made += 1;
        keys.push(Key {
            column: column.clone(),
            said: Some(said.clone()),
        });
        Expr::Column(column)
    };
    let mut conditions = Vec::new();
    for condition in split_conjunction(&of.predicate) {
        if !condition.contains_outer() {
            conditions.push(condition.clone());
            continue;
        }
        if condition.is_volatile() || has_subquery(condition) {
            return Ok(None);
        }
        if let Some((own, around)) = sides(condition) {
            conditions.push(key_of(own).eq(around.clone()));
            continue;
        }
        let done = condition.clone().transform_up(|expr| {
            Ok(match expr {
                Expr::Column(_) => Transformed::yes(key_of(&expr)),
                other => Transformed::no(other),
            })
        })?;
        rows.are_equal &= !done.transformed;
        conditions.push(done.data);
    }
    if !keys.is_empty() {
        let own = columns(rows.plan.schema()).map(Expr::Column);
        let said = keys.iter().filter_map(|key| {
            let said = key.said.clone()?;
            Some(said.alias(key.column.name.clone()))
        });
        let outputs = own.chain(said).collect();
        rows.plan = LogicalPlan::Projection(Projection::try_new(outputs, Arc::new(rows.plan))?);
        rows.keys.extend(keys);
    }
    if let Some(condition) = conjunction(conditions) {
        rows.plan = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(rows.plan))?);
    }
    Ok(Some(rows))
}

/// Both sides of an equation: a value of the rows, and one of the row around.
fn sides(condition: &Expr) -> Option<(&Expr, &Expr)> {
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::Eq,
        right,
    }) = condition
    else {
        return None;
    };
    let is_own = |side: &Expr| !side.contains_outer() && side.any_column_refs();
    let is_around = |side: &Expr| side.contains_outer() && !side.any_column_refs();
    if is_own(left) && is_around(right) {
        Some((left, right))
    } else if is_own(right) && is_around(left) {
        Some((right, left))
    } else {
        None
    }
}

/// Groups, of each row around its own. A key that is one of its groups already takes the place of that.
fn grouped(of: &Aggregate, rows: KeyedRows) -> Result<Option<KeyedRows>> {
    let is_of_sets = |by: &Expr| matches!(by, Expr::GroupingSet(_));
    if of.group_expr.is_empty() || of.group_expr.iter().any(is_of_sets) {
        return Ok(None);
    }
    let (mut groups, mut outputs) = (Vec::new(), Vec::new());
    let mut made = columns(of.schema.as_ref());
    for (group, column) in of.group_expr.iter().zip(made.by_ref()) {
        let known = rows
            .keys
            .iter()
            .find(|key| key.said.as_ref() == Some(group));
        match known {
            Some(key) => {
                let said = Expr::Column(key.column.clone());
                outputs.push(said.alias_qualified(column.relation, column.name));
            }
            None => {
                groups.push(group.clone());
                outputs.push(Expr::Column(column));
            }
        }
    }
    outputs.extend(made.map(Expr::Column));
    groups.extend(rows.keys());
    outputs.extend(rows.keys());
    let input = Arc::new(rows.plan.clone());
    let plan = Aggregate::try_new(input, groups, of.aggr_expr.clone())?;
    let plan = Projection::try_new(outputs, Arc::new(LogicalPlan::Aggregate(plan)))?;
    let plan = LogicalPlan::Projection(plan);
    Ok(Some(rows.in_plan(plan, |_| false)))
}

/// Rows beside each other, where those that depend on the row around are all there.
fn joined(of: &Join, made: &mut usize) -> Result<Option<KeyedRows>> {
    let (Some(left), Some(right)) = (with_keys(&of.left, made)?, with_keys(&of.right, made)?)
    else {
        return Ok(None);
    };
    let is_whole = match of.join_type {
        JoinType::Inner => true,
        JoinType::Left => right.keys.is_empty(),
        JoinType::Right => left.keys.is_empty(),
        _ => false,
    };
    if !is_whole {
        return Ok(None);
    }
    let mut join = of.clone();
    join.left = Arc::new(left.plan);
    join.right = Arc::new(right.plan);
    Ok(Some(KeyedRows {
        plan: LogicalPlan::Join(join).recompute_schema()?,
        keys: left.keys.into_iter().chain(right.keys).collect(),
        are_equal: left.are_equal && right.are_equal,
    }))
}
