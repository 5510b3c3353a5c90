//! A plan whose panics are errors, for a process that runs it for another.
//!
//! Invariant: a partition ends with all of its rows or with an error. Whoever sends rows over a network takes the end of a stream for the end of its rows, also where a task died of a panic: the sum of
//! what came until then would be a wrong answer.

use crate::one_input::one_input;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};
use futures::StreamExt;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// The rows of its input; an error where it panics.
#[derive(Debug)]
pub(crate) struct CaughtExec {
    pub(crate) input: Arc<dyn ExecutionPlan>,
}

impl CaughtExec {
    fn over(&self, input: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self { input })
    }
}

impl DisplayAs for CaughtExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Caught")
    }
}

impl ExecutionPlan for CaughtExec {
    fn name(&self) -> &'static str {
        "Caught"
    }

    one_input!(input);

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let started = catch_unwind(AssertUnwindSafe(|| self.input.execute(partition, context)));
        let rows = started.unwrap_or_else(|_| Err(panicked()))?;
        let schema = rows.schema();
        let rows = AssertUnwindSafe(rows)
            .catch_unwind()
            .map(|polled| polled.unwrap_or_else(|_| Err(panicked())));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.input.metrics()
    }
}

fn panicked() -> DataFusionError {
    DataFusionError::Execution("a step of the plan panicked".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{QueryEngine, QueryEngineOptions};
    use arrow::datatypes::DataType;
    use datafusion::logical_expr::{
        ColumnarValue, ScalarFunctionImplementation, Volatility, create_udf,
    };
    use datafusion::physical_plan::collect;

    #[tokio::test]
    async fn a_panic_is_an_error_of_its_partition() {
        let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
        let session = engine.empty_session().unwrap();
        let body: ScalarFunctionImplementation =
            Arc::new(|_: &[ColumnarValue]| -> Result<ColumnarValue> { panic!("on purpose") });
        let panics = create_udf(
            "panics",
            vec![],
            DataType::Int64,
            Volatility::Volatile,
            body,
        );
        session.context().register_udf(panics);
        for (sql, fails) in [("SELECT panics()", true), ("SELECT 1", false)] {
            let frame = session.frame(sql, &[]).await.unwrap();
            let context = Arc::new(frame.task_ctx());
            let input = frame.create_physical_plan().await.unwrap();
            let found = collect(Arc::new(CaughtExec { input }), context).await;
            assert_eq!(found.is_err(), fails, "{sql}: {found:?}");
        }
    }
}
