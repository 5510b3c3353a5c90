//! The skeleton of a step of a plan that gives the rows of its one input, in their order.
//!
//! Invariant: such a step is to the optimizer what its input is: it has the input's properties, if none of its own, and no expressions.

/// The parts of an `ExecutionPlan` over the input in a field, but for its name and its stream. Its type has `over`, which makes the step over another input.
macro_rules! one_input {
    ($input:ident) => {
        $crate::one_input::one_input!($input, maintains_input_order: true);
    };
    ($input:ident, maintains_input_order: $maintains:literal) => {
        fn properties(&self) -> &std::sync::Arc<datafusion::physical_plan::PlanProperties> {
            self.$input.properties()
        }

        $crate::one_input::one_input!(@parts $input, $maintains);
    };
    ($input:ident, properties: $properties:ident) => {
        fn properties(&self) -> &std::sync::Arc<datafusion::physical_plan::PlanProperties> {
            &self.$properties
        }

        $crate::one_input::one_input!(@parts $input, false);
    };
    (@parts $input:ident, $maintains:literal) => {
        fn maintains_input_order(&self) -> Vec<bool> {
            vec![$maintains]
        }

        fn benefits_from_input_partitioning(&self) -> Vec<bool> {
            vec![false]
        }

        fn children(
            &self,
        ) -> Vec<&std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>> {
            vec![&self.$input]
        }

        fn apply_expressions(
            &self,
            _: &mut dyn FnMut(
                &std::sync::Arc<dyn datafusion::physical_expr::PhysicalExpr>,
            ) -> datafusion::common::Result<
                datafusion::common::tree_node::TreeNodeRecursion,
            >,
        ) -> datafusion::common::Result<datafusion::common::tree_node::TreeNodeRecursion> {
            Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
        }

        fn with_new_children(
            self: std::sync::Arc<Self>,
            children: Vec<std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>>,
        ) -> datafusion::common::Result<
            std::sync::Arc<dyn datafusion::physical_plan::ExecutionPlan>,
        > {
            match children.into_iter().next() {
                Some(input) => Ok(self.over(input)),
                None => datafusion::common::internal_err!("{} has an input", self.name()),
            }
        }
    };
}

pub(crate) use one_input;
