//! One sync, from configuration to published tables; and what belongs around it: rebuild, status, scaffolding.
//!
//! ```text
//!   config --> plan --> read (extract + decode) --> land --> unify --> roll-ups --> publish
//! ```
//!
//! Invariant: no API is named here; sources come in through [`SourceEntry`]. All progress lives in the warehouse.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod assets;
mod common_keys;
mod config;
mod context;
mod contract_tables;
mod environment;
mod expected;
mod extraction;
mod follow;
mod held_lease;
mod key_examples;
mod labels;
mod land;
mod lease;
mod loss;
mod message;
mod newest_versions;
mod observer;
mod package_budget;
mod package_warning;
mod plan;
mod process_identity;
mod publish;
mod read;
mod read_resource;
mod rebuild;
mod reconcile;
mod record_origin;
mod repair;
mod report;
mod restore;
mod rollup;
mod scaffold;
#[cfg(test)]
mod scripted_source;
mod seen_keys;
mod slice_attempt;
mod slices;
mod status;
mod sync;
mod sync_keys;
mod text_file;
mod unify;
mod variables;
mod warehouse_before;
mod warning_limit;
mod yaml;

pub use assets::{TextAsset, built_in_contracts};
pub use config::{
    ChildLink, ChildResource, ExaminedPipeline, OwnColumn, PROJECT_FILE, Pipeline, Project,
    ProjectExamination, RequestedPipeline, ResourcePlan, RetentionSettings, ServeSettings,
    ServedCertificate, ServedLogin, ServedProvider, SourceEntry, SyncSettings, WorkerCertificates,
    WorkerSettings, parse_bytes,
};
pub use context::{RunContext, new_run_id};
pub use contract_tables::contract_tables;
pub use expected::expected_of_project;
pub use held_lease::release_leases;
pub use labels::labels;
pub use lease::{IfRunning, LeaseHolder};
pub use observer::{NoopObserver, RunEvent, RunObserver};
pub use plan::{SyncOptions, SyncRange};
pub use rebuild::rebuild;
pub use reconcile::{
    PipelineReconciliation, ReconcileFilter, ReconcileRequest, ReconcileVerdict, Reconciliation,
    ReportedDifference, reconcile,
};
pub use repair::{check_all_tables, check_inspected_tables, check_tables};
pub use report::{FailedSlice, PipelineFailure, PipelineReport, RunReport, SkippedPipeline};
pub use scaffold::{InitOutcome, eject, init};
pub use slices::{MOST_SLICES, check_starts};
pub use status::{ResourceStatus, ServerClockBehind, UnreadStretch, status};
pub use sync::{sync, sync_valid};
pub use text_file::read_given;
pub use unify::{
    CheckedStatements, UnifiedRowCounts, check as check_statements, rows_of_statement,
};

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// The lines of files below a folder that import the run as a whole.
    fn importing(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                importing(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let lines = text.lines().filter(|line| {
                let code = line.split("//").next().unwrap_or_default();
                ["crate::sync::", "super::sync::", "crate::rebuild"]
                    .iter()
                    .any(|name| code.contains(name) && !code.contains('"'))
            });
            found.extend(lines.map(|line| format!("{}: {line}", path.display())));
        }
    }

    #[test]
    fn no_step_imports_the_run_that_it_is_a_step_of() {
        let mut found = Vec::new();
        importing(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut found,
        );
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
