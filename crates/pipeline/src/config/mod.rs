//! A project and its pipelines: what the user wrote, turned once into what it means.
//!
//! ```text
//!   project.rs          tillhouse.yaml                      -> Project
//!   retention.rs        its `retention` and `maintenance`
//!   serve.rs            its `serve`
//!   workers.rs          its `workers`
//!   project_folder.rs   pipelines/NAME/pipeline.yaml, and the contracts, labels and SQL beside it -> Pipeline
//!   source_entry.rs     its `connection`                    -> Source
//!   shared_connections.rs  connections that several pipelines name
//!   children.rs         unify/children.yaml                 -> ChildResource
//! ```
//!
//! Invariant: a [`Project`] and a [`Pipeline`] are valid; everything about them that can be checked without a network has been.

mod children;
mod pipeline;
mod project;
mod project_folder;
mod retention;
mod serve;
mod shared_connections;
mod source_entry;
mod store_option;
mod workers;

pub use crate::sync_keys::SyncSettings;
pub use children::{ChildLink, ChildResource, OwnColumn};
pub use pipeline::{Pipeline, RequestedPipeline, ResourcePlan};
pub use project::{ExaminedPipeline, PROJECT_FILE, Project, ProjectExamination, parse_bytes};
pub use retention::RetentionSettings;
pub use serve::{ServeSettings, ServedCertificate, ServedLogin, ServedProvider};
pub use source_entry::SourceEntry;
pub use workers::{WorkerCertificates, WorkerSettings};
