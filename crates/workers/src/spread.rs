//! A part of a plan, divided among tasks.
//!
//! Invariant: every byte of the files that are divided is read by exactly one task, and each of the others by all of them.

use crate::parts::file_scan;
use datafusion::common::Result;
use datafusion::datasource::physical_plan::{FileGroup, FileGroupPartitioner, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::{ChildrenPropertiesMode, ExecutionPlan, ReplaceChildrenOptions};
use datafusion_distributed::DistributedLeafExec;
use std::sync::Arc;

/// Tasks of a part, and the partitions that each reads its files in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TaskShape {
    pub(crate) tasks: usize,
    pub(crate) partitions: usize,
}

/// A part whose scans have the files of each task: those whose rows are divided their own, those of what is looked up all of them.
pub(crate) fn spread(
    plan: &Arc<dyn ExecutionPlan>,
    shape: TaskShape,
) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(scan) = file_scan(plan) {
        let of_tasks = divided(scan, shape).into_iter().map(|file_groups| {
            let mut config = scan.clone();
            config.file_groups = file_groups;
            DataSourceExec::from_data_source(config) as Arc<dyn ExecutionPlan>
        });
        return Ok(Arc::new(DistributedLeafExec::try_new(
            Arc::clone(plan),
            of_tasks,
        )?));
    }
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        let sides = vec![whole(join.left(), shape)?, spread(join.right(), shape)?];
        return over(plan, sides);
    }
    let children = plan.children().into_iter();
    let children = children.map(|child| spread(child, shape));
    over(plan, children.collect::<Result<_>>()?)
}

/// A plan that every task runs as it is.
fn whole(plan: &Arc<dyn ExecutionPlan>, shape: TaskShape) -> Result<Arc<dyn ExecutionPlan>> {
    if file_scan(plan).is_some() {
        let same = std::iter::repeat_n(Arc::clone(plan), shape.tasks);
        let leaf = DistributedLeafExec::try_new(Arc::clone(plan), same)?;
        return Ok(Arc::new(leaf));
    }
    let children = plan.children().into_iter();
    let children = children.map(|child| whole(child, shape));
    over(plan, children.collect::<Result<_>>()?)
}

fn over(
    plan: &Arc<dyn ExecutionPlan>,
    children: Vec<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    if children.is_empty() {
        return Ok(Arc::clone(plan));
    }
    let anew = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    Arc::clone(plan).replace_children(children, anew)
}

/// The files of each task, in equally many groups.
fn divided(scan: &FileScanConfig, shape: TaskShape) -> Vec<Vec<FileGroup>> {
    let tasks = shape.tasks.max(1);
    let groups = FileGroupPartitioner::new()
        .with_target_partitions(tasks * shape.partitions.max(1))
        .with_repartition_file_min_size(0)
        .repartition_file_groups(&scan.file_groups)
        .unwrap_or_else(|| scan.file_groups.clone());
    let mut of_tasks: Vec<Vec<FileGroup>> = vec![Vec::new(); tasks];
    for (at, group) in groups.into_iter().enumerate() {
        of_tasks[at % tasks].push(group);
    }
    let most = of_tasks.iter().map(Vec::len).max().unwrap_or(0).max(1);
    for groups in &mut of_tasks {
        groups.resize_with(most, || FileGroup::new(Vec::new()));
    }
    of_tasks
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::Schema;
    use datafusion::datasource::listing::PartitionedFile;
    use datafusion::datasource::object_store::ObjectStoreUrl;
    use datafusion::datasource::physical_plan::{FileScanConfigBuilder, ParquetSource};
    use std::collections::BTreeMap;

    /// Parts of files, by file, as (from, to).
    fn ranges(of_tasks: &[Vec<FileGroup>]) -> BTreeMap<String, Vec<(i64, i64)>> {
        let mut found: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
        for file in of_tasks.iter().flatten().flat_map(FileGroup::iter) {
            let size = i64::try_from(file.object_meta.size).unwrap();
            let range = file.range.as_ref();
            let range = range.map_or((0, size), |range| (range.start, range.end));
            let name = file.object_meta.location.to_string();
            found.entry(name).or_default().push(range);
        }
        found
    }

    #[test]
    fn every_byte_is_read_by_one_task() {
        for sizes in [
            vec![1],
            vec![7, 1_000_000],
            vec![300; 50],
            vec![1_001, 2, 90_000],
        ] {
            let files = sizes.iter().enumerate();
            let files = files.map(|(at, size)| PartitionedFile::new(format!("f{at}"), *size));
            let source = Arc::new(ParquetSource::new(Arc::new(Schema::empty())));
            let url = ObjectStoreUrl::parse("file:///").unwrap();
            let scan = FileScanConfigBuilder::new(url, source)
                .with_file_groups(vec![FileGroup::new(files.collect())])
                .build();
            for (tasks, partitions) in [(1, 1), (2, 1), (2, 4), (3, 2), (7, 5)] {
                let of_tasks = divided(&scan, TaskShape { tasks, partitions });
                assert_eq!(of_tasks.len(), tasks);
                let groups = of_tasks[0].len();
                assert!(groups > 0 && of_tasks.iter().all(|task| task.len() == groups));
                let found = ranges(&of_tasks);
                assert_eq!(found.len(), sizes.len());
                for (at, size) in sizes.iter().enumerate() {
                    let mut parts = found[&format!("f{at}")].clone();
                    parts.sort_unstable();
                    let mut end = 0;
                    for (from, to) in parts {
                        assert_eq!(from, end);
                        end = to;
                    }
                    assert_eq!(end, i64::try_from(*size).unwrap());
                }
            }
        }
    }
}
