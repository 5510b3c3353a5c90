//! The name of the data file that a query could not read.
//!
//! Invariant: a scan gives what it would give without this; only its errors say more. Nothing is read twice unless a scan has failed.
//!
//! The reader of Parquet decodes far below whoever knows which file it is, and its errors are "Data corruption detected". So when a scan fails as
//! one does over a file that is missing or damaged, its files are read one by one until one fails alike.
//!
//! Rejected: an opener of our own around the library's, file by file. It knows the file at once, but takes away the library's way of sharing
//! the row groups of a file among threads.

use crate::failure::{in_file, is_of_data_file};
use crate::one_input::one_input;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DataFusionError, Result};
use datafusion::config::ConfigOptions;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan};
use futures::{FutureExt, StreamExt};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tillhouse_lake::{ASK_ANOTHER_RUN, LET_READ, Warehouse, first_damaged_file};

/// Setting of a session that may be one over a run before the newest, whose files the newest may do without.
pub(crate) struct EarlierRun(pub(crate) Warehouse);

/// Makes the scans of a plan name their damaged files. It comes after all other rules.
#[derive(Debug)]
pub(crate) struct NamedFiles;

impl PhysicalOptimizerRule for NamedFiles {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let done = plan.transform_up(|node| {
            let is_of_files = node.downcast_ref::<DataSourceExec>().is_some_and(|scan| {
                scan.data_source()
                    .downcast_ref::<FileScanConfig>()
                    .is_some()
            });
            Ok(match is_of_files {
                true => Transformed::yes(Arc::new(NamedFilesExec {
                    files_of: Arc::clone(&node),
                    scan: node,
                }) as Arc<dyn ExecutionPlan>),
                false => Transformed::no(node),
            })
        });
        Ok(done?.data)
    }

    fn name(&self) -> &'static str {
        "named_files"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A plan as it was before the rule.
pub(crate) fn unnamed(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let done = plan.transform_up(|node| {
        let scan = node
            .downcast_ref::<NamedFilesExec>()
            .map(|named| Arc::clone(&named.scan));
        Ok(match scan {
            Some(scan) => Transformed::yes(scan),
            None => Transformed::no(node),
        })
    });
    Ok(done?.data)
}

/// A scan of files whose errors name the file.
#[derive(Debug)]
struct NamedFilesExec {
    /// The scan, or what has been put around it since.
    scan: Arc<dyn ExecutionPlan>,
    /// The scan itself, which knows its files.
    files_of: Arc<dyn ExecutionPlan>,
}

impl NamedFilesExec {
    fn over(&self, scan: Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        let is_scan = scan.downcast_ref::<DataSourceExec>().is_some();
        let files_of = Arc::clone(if is_scan { &scan } else { &self.files_of });
        Arc::new(Self { scan, files_of })
    }

    fn config(&self) -> Option<&FileScanConfig> {
        self.files_of
            .downcast_ref::<DataSourceExec>()?
            .data_source()
            .downcast_ref::<FileScanConfig>()
    }
}

impl DisplayAs for NamedFilesExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl ExecutionPlan for NamedFilesExec {
    fn name(&self) -> &'static str {
        "NamedFilesExec"
    }

    one_input!(scan);

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let scan = self.scan.execute(partition, Arc::clone(&context))?;
        let Some(config) = self.config() else {
            return Ok(scan);
        };
        let store = context
            .runtime_env()
            .object_store(&config.object_store_url)?;
        let files = config.file_groups.iter().flat_map(|group| group.files());
        // Small beside the plan, which holds the same.
        let files: Arc<[(String, u64)]> = files
            .map(|file| (file.object_meta.location.to_string(), file.object_meta.size))
            .collect();
        let earlier = context.session_config().get_extension::<EarlierRun>();
        let schema = scan.schema();
        // The library panics where a page's header has changed so that its values and its encoding do not fit.
        let batches = AssertUnwindSafe(scan).catch_unwind().then(move |batch| {
            let (store, files) = (Arc::clone(&store), Arc::clone(&files));
            let earlier = earlier.clone();
            async move {
                match batch {
                    Ok(Ok(batch)) => Ok(batch),
                    Ok(Err(error)) if !is_of_data_file(&error) => Err(error),
                    Ok(Err(error)) => match first_damaged_file(store, &files).await {
                        Some((file, why)) => Err(named(earlier.as_deref(), &file, &why).await),
                        None => Err(error),
                    },
                    Err(panic) => match first_damaged_file(store, &files).await {
                        Some((file, why)) => Err(named(earlier.as_deref(), &file, &why).await),
                        None => std::panic::resume_unwind(panic),
                    },
                }
            }
            .boxed()
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.scan.metrics()
    }
}

async fn named(earlier: Option<&EarlierRun>, file: &str, why: &str) -> DataFusionError {
    let error = in_file(file, why);
    let error = match earlier {
        Some(EarlierRun(warehouse)) if error.hint_text() != Some(LET_READ) => {
            match warehouse.newest_needs(file).await {
                true => error,
                false => error.hint(ASK_ANOTHER_RUN),
            }
        }
        _ => error,
    };
    DataFusionError::External(Box::new(error))
}
