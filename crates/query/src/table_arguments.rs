//! Arguments of table functions, `f('2026-01-01', now() - INTERVAL '1 day')` in FROM. DataFusion works them out while it plans, before any rule of ours has seen them.
//!
//! Invariant: an argument has the value that the same expression has in SELECT. One that is no constant is left to the planner, which refuses it.
//!
//! ```text
//!   arguments ── Projection over one row ── the analyzer's rules ── arguments ── the planner makes literals of them ── the function
//! ```

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, Result, TableReference, internal_err};
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::Analyzer;
use datafusion::sql::sqlparser::ast::{
    Expr as WrittenExpr, FunctionArg, FunctionArgExpr, Ident, ObjectName, TableFactor,
};

/// Planner of calls of table functions.
#[derive(Debug)]
pub(crate) struct TableArguments {
    analyzer: Analyzer,
}

impl TableArguments {
    /// A planner with a session's rules.
    pub(crate) fn new(analyzer: Analyzer) -> Self {
        Self { analyzer }
    }

    /// The arguments as the rules leave them.
    fn analyzed(&self, arguments: Vec<Expr>, config: &ConfigOptions) -> Result<Vec<Expr>> {
        let is_literal = |argument: &Expr| matches!(argument, Expr::Literal(..));
        if arguments.iter().all(is_literal) || !are_constant(&arguments)? {
            return Ok(arguments);
        }
        // Of two that are the same, each has a name of its own.
        let named = arguments
            .into_iter()
            .enumerate()
            .map(|(at, argument)| argument.alias(format!("argument_{at}")));
        let plan = LogicalPlanBuilder::empty(true).project(named)?.build()?;
        let analyzed = self.analyzer.execute_and_check(plan, config, |_, _| {})?;
        match analyzed {
            LogicalPlan::Projection(of) => {
                let arguments = of.expr.into_iter();
                Ok(arguments.map(|expr| expr.unalias_nested().data).collect())
            }
            other => internal_err!("arguments became {}", other.display()),
        }
    }
}

/// True for arguments that depend on no row and no value that is given later.
fn are_constant(arguments: &[Expr]) -> Result<bool> {
    for argument in arguments {
        let depends = argument.exists(|part| {
            Ok(matches!(
                part,
                Expr::Column(_)
                    | Expr::OuterReferenceColumn(..)
                    | Expr::Placeholder(_)
                    | Expr::ScalarSubquery(_)
                    | Expr::Exists(_)
                    | Expr::InSubquery(_)
            ))
        })?;
        if depends {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The name and the arguments of a call in FROM.
fn call_of(relation: &TableFactor) -> Option<(Ident, Vec<WrittenExpr>)> {
    let (name, args): (&ObjectName, &[FunctionArg]) = match relation {
        TableFactor::Table {
            name,
            args: Some(args),
            ..
        } => (name, args.args.as_slice()),
        TableFactor::Function { name, args, .. } => (name, args.as_slice()),
        _ => return None,
    };
    let [name] = name.0.as_slice() else {
        return None;
    };
    let args = args.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    });
    Some((name.as_ident()?.clone(), args.collect::<Option<_>>()?))
}

impl RelationPlanner for TableArguments {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let Some((name, written)) = call_of(&relation) else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let (TableFactor::Table { alias, .. } | TableFactor::Function { alias, .. }) = relation
        else {
            return internal_err!("a call that is none");
        };
        let nothing = DFSchema::empty();
        let arguments = written
            .into_iter()
            .map(|argument| context.sql_expr_to_logical_expr(argument, &nothing))
            .collect::<Result<Vec<_>>>()?;
        let name = context.normalize_ident(name);
        let tables = context.context_provider();
        let arguments = self.analyzed(arguments, tables.options())?;
        let source = tables.get_table_function_source(&name, arguments)?;
        let scanned = TableReference::bare(format!("{name}()"));
        let plan = LogicalPlanBuilder::scan(scanned, source, None)?.build()?;
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(
            plan, alias,
        ))))
    }
}
