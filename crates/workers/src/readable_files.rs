//! Files that a worker reads for others.
//!
//! Invariant: none but those of the worker's own warehouse, nothing is written, and no other machine is asked for rows, whatever a plan says that was sent.

use crate::parts::file_scan;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result};
use datafusion::datasource::object_store::ObjectStoreUrl;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::sink::DataSinkExec;
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_distributed::NetworkBoundaryExt;
use object_store::path::Path;
use std::sync::Arc;
use tillhouse_lake::Warehouse;
use tillhouse_model::{Error, ErrorKind};
use url::Position;

/// The files of a warehouse.
#[derive(Debug, Clone)]
pub(crate) struct ReadableFiles {
    store: ObjectStoreUrl,
    root: Path,
}

impl ReadableFiles {
    pub(crate) fn of(warehouse: &Warehouse) -> tillhouse_model::Result<Self> {
        let url = warehouse.url();
        let unusual = |error: Box<dyn std::error::Error + Send + Sync>| {
            Error::config("the warehouse's place cannot be read by workers").because(error)
        };
        Ok(Self {
            store: ObjectStoreUrl::parse(&url[..Position::BeforePath])
                .map_err(|error| unusual(error.into()))?,
            root: Path::from_url_path(url.path()).map_err(|error| unusual(error.into()))?,
        })
    }

    /// Errors for a plan that reads other files, writes, or has rows from another machine.
    pub(crate) fn check(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<()> {
        plan.apply(|node| {
            let is_of_files = node
                .downcast_ref::<DataSourceExec>()
                .is_some_and(|source| source.data_source().is::<FileScanConfig>());
            let is_allowed = match file_scan(node) {
                Some(scan) => self.has_all_of(scan),
                None => !is_of_files && !node.is::<DataSinkExec>() && !node.is_network_boundary(),
            };
            match is_allowed {
                true => Ok(TreeNodeRecursion::Continue),
                false => Err(refused()),
            }
        })
        .map(drop)
    }

    fn has_all_of(&self, scan: &FileScanConfig) -> bool {
        let mut files = scan.file_groups.iter().flat_map(|group| group.files());
        scan.object_store_url == self.store
            && files.all(|file| file.object_meta.location.prefix_matches(&self.root))
    }
}

fn refused() -> DataFusionError {
    DataFusionError::External(Box::new(
        Error::new(
            ErrorKind::Query,
            "a plan was sent that reaches outside of this worker's warehouse",
        )
        .hint("Coordinator and workers must name the same warehouse in tillhouse.yaml."),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::Schema;
    use datafusion::datasource::listing::PartitionedFile;
    use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
    use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
    use datafusion_distributed::NetworkCoalesceExec;

    fn scan(store: &str, file: &str) -> Arc<dyn ExecutionPlan> {
        let source = Arc::new(ParquetSource::new(Arc::new(Schema::empty())));
        let files = vec![PartitionedFile::new(file, 1)];
        let scan = FileScanConfigBuilder::new(ObjectStoreUrl::parse(store).unwrap(), source)
            .with_file_groups(vec![FileGroup::new(files)])
            .build();
        let scan = DataSourceExec::from_data_source(scan);
        Arc::new(CoalescePartitionsExec::new(scan))
    }

    #[test]
    fn a_plan_reads_the_warehouse_and_nothing_else() {
        let files = ReadableFiles {
            store: ObjectStoreUrl::parse("file:///").unwrap(),
            root: Path::from("data/warehouse"),
        };
        let of_table = "data/warehouse/unified/transactions/part.parquet";
        assert!(files.check(&scan("file:///", of_table)).is_ok());
        for (store, file) in [
            ("file:///", "data/other/part.parquet"),
            ("file:///", "data/warehouses/part.parquet"),
            ("s3://bucket/", of_table),
        ] {
            let error = files.check(&scan(store, file)).unwrap_err();
            assert!(error.to_string().contains("outside"), "{store} {file}");
        }
        let elsewhere = NetworkCoalesceExec::try_new(scan("file:///", of_table), 2, 1).unwrap();
        let elsewhere: Arc<dyn ExecutionPlan> = Arc::new(elsewhere);
        assert!(files.check(&elsewhere).is_err());
    }
}
