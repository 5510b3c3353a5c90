//! Expected reads of pipelines, from their configuration.
//!
//! Invariant: a pipeline that is configured is expected, also where its configuration is wrong, it was never synced, or every request of it fails.

use crate::config::{Pipeline, Project, SourceEntry};
use futures::FutureExt;
use std::collections::BTreeMap;
use tillhouse_model::{ExpectedReads, ReadMode, Result};

/// Resources of a pipeline with their tenants, as its source names them now, and since when each is read.
pub(crate) async fn expected_reads(pipeline: &Pipeline) -> Result<ExpectedReads> {
    let mut resources = Vec::with_capacity(pipeline.resources.len());
    for plan in &pipeline.resources {
        let name = plan.resource.name;
        resources.push((name.to_owned(), pipeline.source.tenants(name).await?));
    }
    let by_time = pipeline
        .resources
        .iter()
        .filter(|plan| plan.resource.read_mode == ReadMode::Incremental);
    let starts = by_time.map(|plan| (plan.resource.name.to_owned(), plan.sync.start));
    Ok(ExpectedReads::new(pipeline.source_name, resources).starting(starts))
}

/// As [`expected_reads`], as far as the configuration alone tells: no source is asked.
pub(crate) fn configured_reads(pipeline: &Pipeline) -> ExpectedReads {
    let told = expected_reads(pipeline).now_or_never().and_then(Result::ok);
    told.unwrap_or_else(|| ExpectedReads::unknown(Some(pipeline.source_name.to_owned())))
}

/// Expected reads for the record of a run: of its own pipelines in full; of all others of the project, that there are such.
pub(crate) async fn of_run(
    project: &Project,
    pipelines: &[&Pipeline],
) -> BTreeMap<String, ExpectedReads> {
    let mut expected = of_files(project);
    for pipeline in pipelines {
        let reads = match expected_reads(pipeline).await {
            Ok(reads) => reads,
            Err(error) => {
                tracing::warn!(pipeline = %pipeline.name, %error, "its tenants are not known; those that were known before count");
                ExpectedReads::unknown(Some(pipeline.source_name.to_owned()))
            }
        };
        expected.insert(pipeline.name.clone(), reads);
    }
    expected
}

/// Expected reads of all pipelines of a project, for who reads what is published. One whose configuration is not valid here, for want of a
/// credential for example, is one of which more is not known.
pub fn expected_of_project(
    project: &Project,
    registry: &[SourceEntry],
) -> BTreeMap<String, ExpectedReads> {
    let mut expected = of_files(project);
    for (name, reads) in &mut expected {
        if let Ok(pipelines) = project.pipelines(std::slice::from_ref(name), registry)
            && let [pipeline] = pipelines.as_slice()
        {
            *reads = configured_reads(pipeline);
        }
    }
    expected
}

/// Expected reads as far as the files tell that are there, whether or not they are valid.
fn of_files(project: &Project) -> BTreeMap<String, ExpectedReads> {
    let sources = project.pipeline_sources().into_iter();
    sources
        .map(|(name, source)| (name, ExpectedReads::unknown(source)))
        .collect()
}
