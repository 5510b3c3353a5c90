//! The form in which our own steps travel, and the check that a part of a plan travels whole.
//!
//! Invariant: a part is sent only if reading what was written gives the same steps, functions and expressions. Functions travel by their names: one that holds something of its query (a set of
//! keys) is another than the one that its name stands for, so that the part with it stays.

use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, not_impl_err};
use datafusion::execution::session_state::SessionState;
use datafusion::execution::{FunctionRegistry, TaskContext};
use datafusion::physical_expr::expressions::DynamicFilterPhysicalExpr;
use datafusion::physical_expr::{PhysicalExpr, split_conjunction};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::prelude::SessionConfig;
use datafusion_distributed::DistributedCodec;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_proto_converter, physical_plan_to_bytes_with_proto_converter,
};
use datafusion_proto::physical_plan::{
    DeduplicatingProtoConverter, PhysicalExtensionCodec, PhysicalProtoConverterExtension,
};
use std::sync::Arc;
use tillhouse_query::into_error;
use tillhouse_statistics::{TransactionSums, plan_functions};

/// Writes and reads our own steps.
#[derive(Debug)]
pub(crate) struct StepCodec;

impl PhysicalExtensionCodec for StepCodec {
    fn try_decode(
        &self,
        buf: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        _: &TaskContext,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let broken = || exec_datafusion_err!("a step of a plan cannot be read");
        let text = std::str::from_utf8(buf).map_err(|_| broken())?;
        let input = inputs.first().ok_or_else(broken)?;
        TransactionSums::by_rules(text, Arc::clone(input))
            .map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buf: &mut Vec<u8>,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> Result<()> {
        let Some(sums) = node.downcast_ref::<TransactionSums>() else {
            return not_impl_err!("{} does not travel", node.name());
        };
        let text = sums.rules_text();
        let text = text.map_err(|error| DataFusionError::External(Box::new(error)))?;
        buf.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// A state that also knows the functions of the statistics' own plans.
pub(crate) fn with_plan_functions(
    mut state: SessionState,
) -> tillhouse_model::Result<SessionState> {
    for function in plan_functions() {
        let known = state.register_udf(Arc::new(function));
        known.map_err(into_error)?;
    }
    Ok(state)
}

/// True if a part arrives as it was sent. `config` has the codecs, `context` the functions that a worker has.
pub(crate) fn travels(
    part: &Arc<dyn ExecutionPlan>,
    config: &SessionConfig,
    context: &TaskContext,
) -> bool {
    let codec = DistributedCodec::new_combined_with_user(config);
    let converter = DeduplicatingProtoConverter::default();
    let read = physical_plan_to_bytes_with_proto_converter(Arc::clone(part), &codec, &converter)
        .and_then(|bytes| {
            physical_plan_from_bytes_with_proto_converter(&bytes, context, &codec, &converter)
        });
    match read {
        Ok(read) => is_same(part, &read),
        Err(error) => {
            tracing::debug!("a part of the plan stays here: {error}");
            false
        }
    }
}

/// True for plans of the same steps, with equal expressions and functions.
fn is_same(one: &Arc<dyn ExecutionPlan>, other: &Arc<dyn ExecutionPlan>) -> bool {
    let functions = |plan: &Arc<dyn ExecutionPlan>| {
        let aggregate = plan.downcast_ref::<AggregateExec>();
        aggregate.map(|aggregate| aggregate.aggr_expr().to_vec())
    };
    let (children, others) = (one.children(), other.children());
    one.name() == other.name()
        && one.schema() == other.schema()
        && functions(one) == functions(other)
        && have_same_expressions(one, other)
        && children.len() == others.len()
        && children
            .into_iter()
            .zip(others)
            .all(|(one, other)| is_same(one, other))
}

/// Expressions of a step, with the conditions that are joined by AND apart.
pub(crate) fn expressions(plan: &Arc<dyn ExecutionPlan>) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
    let mut found = Vec::new();
    plan.apply_expressions(&mut |expr: &Arc<dyn PhysicalExpr>| {
        found.extend(split_conjunction(expr).into_iter().cloned());
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

fn have_same_expressions(one: &Arc<dyn ExecutionPlan>, other: &Arc<dyn ExecutionPlan>) -> bool {
    let (Ok(ours), Ok(theirs)) = (expressions(one), expressions(other)) else {
        return false;
    };
    // What a plan learns while it runs is equal to itself alone. It spares rows, and decides about none.
    let is_learnt = |expr: &Arc<dyn PhysicalExpr>| expr.is::<DynamicFilterPhysicalExpr>();
    ours.len() == theirs.len()
        && ours
            .iter()
            .zip(&theirs)
            .all(|(one, other)| one == other || (is_learnt(one) && is_learnt(other)))
}
