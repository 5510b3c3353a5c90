//! `UNNEST` of a column of the tables before it.
//!
//! Invariant: every row of the left side is beside its own elements; where all rows stay, one without elements is there once, and is known by it.

use super::{IS_THERE, KnownColumns, columns, said_by, without_name};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, JoinType, NullHandling, Result, TableReference, UnnestOptions};
use datafusion::functions_nested::expr_fn::array_length;
use datafusion::logical_expr::{
    Case, Expr, ExprSchemable, Join, LogicalPlan, LogicalPlanBuilder, Unnest, lit,
};

/// The join with the elements of lists of its left side, if that is what its right side is, and no row has to be left out again.
pub(super) fn unnested(
    join: &Join,
    lateral: &LogicalPlan,
    alias: Option<&TableReference>,
) -> Result<Option<LogicalPlan>> {
    let left: Vec<Expr> = columns(join.left.schema()).map(Expr::Column).collect();
    let side = LeftSide {
        plan: &join.left,
        columns: &left,
        keeps_all: join.join_type == JoinType::Left,
        mark: free_mark(lateral, &join.left)?,
    };
    if side.keeps_all && are_several(lateral) {
        return Ok(None);
    }
    let Some(over) = over_left(lateral, &side)? else {
        return Ok(None);
    };
    let (rows, is_there) = (over.rows, over.is_there);
    let outputs = columns(lateral.schema()).map(|column| {
        let relation = alias.cloned().or_else(|| column.relation.clone());
        let name = column.name.clone();
        let mut said = Expr::Column(column);
        if let Some(is_there) = &is_there {
            let when = vec![(Box::new(is_there.clone()), Box::new(said))];
            said = Expr::Case(Case::new(None, when, None));
        }
        said.alias_qualified(relation, name)
    });
    let outputs: Vec<Expr> = left.iter().cloned().chain(outputs).collect();
    LogicalPlanBuilder::from(rows)
        .project(outputs)?
        .build()
        .map(Some)
}

/// The rows that lists are unnested beside.
pub(super) struct LeftSide<'p> {
    pub(super) plan: &'p LogicalPlan,
    /// Its columns, which go through.
    pub(super) columns: &'p [Expr],
    /// True where a row stays that has no element.
    pub(super) keeps_all: bool,
    /// The name of what is true for an element.
    pub(super) mark: String,
}

/// A name that no column of a plan over the left side has: the elements of a list within a LATERAL query may have a mark of their own.
pub(super) fn free_mark(plan: &LogicalPlan, left: &LogicalPlan) -> Result<String> {
    let mut mark = IS_THERE.to_owned();
    let has = |plan: &LogicalPlan, name: &str| plan.schema().has_column_with_unqualified_name(name);
    while has(left, &mark) || plan.exists(|step| Ok(has(step, &mark)))? {
        mark.push('_');
    }
    Ok(mark)
}

/// True for a list that is joined by LEFT JOIN within a LATERAL query: its rows all stay.
fn keeps_rows(unnest: &Unnest) -> bool {
    unnest.options.null_handling == NullHandling::PreserveAndExpandEmpty
}

/// True where lists lie in lists: of a row with elements, some may have none of their own.
pub(super) fn are_several(plan: &LogicalPlan) -> bool {
    let mut lists = 0;
    // The closure does not fail.
    let _ = plan.apply(|step| {
        lists += usize::from(matches!(step, LogicalPlan::Unnest(of) if !keeps_rows(of)));
        Ok(TreeNodeRecursion::Continue)
    });
    lists > 1
}

/// Rows of a plan of UNNEST over the left side.
pub(super) struct OverLeft {
    pub(super) rows: LogicalPlan,
    /// True for an element, false for a row that has none, where all rows stay.
    pub(super) is_there: Option<Expr>,
}

/// True for a plan that [`over_left`] knows.
pub(super) fn is_over_lists(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::EmptyRelation(of) => of.produce_one_row,
        LogicalPlan::Projection(of) => is_over_lists(&of.input),
        LogicalPlan::Unnest(of) => is_over_lists(&of.input),
        LogicalPlan::Subquery(of) => is_over_lists(&of.subquery),
        LogicalPlan::SubqueryAlias(of) => is_over_lists(&of.input),
        _ => false,
    }
}

impl OverLeft {
    /// The columns that go through: those of the left side, and whether the row is there.
    fn kept<'e>(&self, left: &'e [Expr]) -> impl Iterator<Item = Expr> + use<'e> {
        left.iter().cloned().chain(self.is_there.clone())
    }

    /// The same rows with other columns beside those that go through.
    fn projected(self, left: &[Expr], own: impl IntoIterator<Item = Expr>) -> Result<Self> {
        let outputs: Vec<Expr> = self.kept(left).chain(own).collect();
        Ok(Self {
            rows: LogicalPlanBuilder::from(self.rows)
                .project(outputs)?
                .build()?,
            is_there: self.is_there,
        })
    }
}

/// True for a row that has an element in any of the lists.
fn has_elements(lists: &[Column], rows: &LogicalPlan) -> Result<Expr> {
    let mut has_any = lit(false);
    for list in lists {
        let of = Expr::Column(list.clone());
        let has_some = match of.get_type(rows.schema())? {
            DataType::List(_) | DataType::LargeList(_) => array_length(of).gt(lit(0_u64)).is_true(),
            _ => of.is_not_null(),
        };
        has_any = has_any.or(has_some);
    }
    Ok(has_any)
}

/// A plan of UNNEST with the rows of the left side below, whose columns go through; `None` for any other plan.
pub(super) fn over_left(plan: &LogicalPlan, left: &LeftSide<'_>) -> Result<Option<OverLeft>> {
    Ok(match plan {
        LogicalPlan::EmptyRelation(of) if of.produce_one_row => Some(OverLeft {
            rows: left.plan.clone(),
            is_there: None,
        }),
        LogicalPlan::Projection(of) => {
            let Some(input) = over_left(&of.input, left)? else {
                return Ok(None);
            };
            let nothing = KnownColumns::new();
            let own = of
                .expr
                .iter()
                .zip(columns(of.schema.as_ref()))
                .map(|(expr, column)| {
                    let said = said_by(without_name(expr), &nothing)?;
                    Ok(said.alias_qualified(column.relation, column.name))
                })
                .collect::<Result<Vec<_>>>()?;
            Some(input.projected(left.columns, own)?)
        }
        LogicalPlan::Unnest(of) => {
            let Some(input) = over_left(&of.input, left)? else {
                return Ok(None);
            };
            let lists = &of.exec_columns;
            let null_handling = if left.keeps_all || keeps_rows(of) {
                NullHandling::PreserveAndExpandEmpty
            } else {
                NullHandling::Drop
            };
            let options = UnnestOptions {
                null_handling,
                ..of.options.clone()
            };
            let mut rows = input.rows;
            let mut is_there = input.is_there;
            if left.keeps_all && !keeps_rows(of) {
                // Of an element that is null, and of none at all, the same would be left.
                let mut has_some = has_elements(lists, &rows)?;
                if let Some(before) = is_there.take() {
                    has_some = before.and(has_some);
                }
                let kept = columns(rows.schema())
                    .filter(|column| column.name != left.mark || column.relation.is_some())
                    .map(Expr::Column);
                let kept: Vec<Expr> = kept.chain([has_some.alias(&left.mark)]).collect();
                rows = LogicalPlanBuilder::from(rows).project(kept)?.build()?;
                is_there = Some(Expr::Column(Column::new_unqualified(&left.mark)));
            }
            let unnested = LogicalPlanBuilder::from(rows)
                .unnest_columns_with_options(lists.clone(), options)?;
            Some(OverLeft {
                rows: unnested.build()?,
                is_there,
            })
        }
        LogicalPlan::Subquery(of) => over_left(&of.subquery, left)?,
        LogicalPlan::SubqueryAlias(of) => {
            let Some(input) = over_left(&of.input, left)? else {
                return Ok(None);
            };
            let own = columns(of.input.schema())
                .zip(columns(of.schema.as_ref()))
                .map(|(inner, outer)| {
                    Expr::Column(inner).alias_qualified(outer.relation, outer.name)
                });
            Some(input.projected(left.columns, own)?)
        }
        _ => None,
    })
}
