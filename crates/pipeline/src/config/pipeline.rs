//! A pipeline and the resources that it reads.
//!
//! Invariant: nothing here reads a file; a pipeline is made by its project's folder, and is valid.

use super::ChildResource;
use crate::assets::TextAsset;
use crate::sync_keys::SyncSettings;
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_extract::Source;
use tillhouse_model::{LabelMap, Resource, Result, TableSpec};

/// One configured connection to one source.
#[derive(Debug)]
pub struct Pipeline {
    /// Its folder's name.
    pub name: String,
    /// The source's name.
    pub source_name: &'static str,
    /// The source, ready to be asked.
    pub source: Arc<dyn Source>,
    /// Resources to read, in the order of the configuration.
    pub resources: Vec<ResourcePlan>,
    /// Everything the source offers that has a contract, whether it is read or not: unify statements may name it.
    pub offered: Vec<(&'static Resource, Arc<TableSpec>)>,
    /// Resources that hold parts of another's records.
    pub children: Vec<ChildResource>,
    /// The source's words for how was paid, and the common ones.
    pub labels: LabelMap,
    /// The unify statements, by name of the unified table.
    pub unify: Vec<TextAsset>,
    /// The contracts of the unified tables, by name.
    pub unified: BTreeMap<String, Arc<TableSpec>>,
    /// Built-in files that the project overrides.
    pub overrides: Vec<String>,
    /// Requests and slices under way at once.
    pub concurrency: usize,
    /// True if `sync.schedule` says when it is to run, which whoever runs it has to see to.
    pub scheduled: bool,
    /// Settings that are allowed in its file and were hardly meant, in a sentence each.
    pub remarks: Vec<String>,
}

impl Pipeline {
    /// True if a resource is read.
    pub(crate) fn reads(&self, resource: &str) -> bool {
        self.resources
            .iter()
            .any(|plan| plan.resource.name == resource)
    }
}

/// Pipeline that was asked for by name.
#[derive(Debug)]
pub struct RequestedPipeline {
    /// Its name.
    pub name: String,
    /// The pipeline, or all that is wrong with its configuration.
    pub pipeline: Result<Pipeline>,
}

/// One resource of a pipeline and how it is synced.
#[derive(Debug, Clone)]
pub struct ResourcePlan {
    /// Resource as the source offers it.
    pub resource: &'static Resource,
    /// Its contract.
    pub spec: Arc<TableSpec>,
    /// Settings of its sync.
    pub sync: SyncSettings,
}
