//! One sync, from configuration to published tables; and what belongs around it: rebuild, status, scaffolding.
//!
//! ```text
//!   config --> plan --> read (extract + decode) --> land --> unify --> roll-ups --> publish
//! ```
//!
//! Invariant: no API is named here; sources come in through [`SourceEntry`]. All progress lives in the warehouse.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod assets;
mod common_keys;
pub mod config;
mod context;
mod environment;
mod follow;
mod key_examples;
pub mod labels;
mod land;
mod message;
pub mod observer;
pub mod plan;
mod publish;
mod read;
mod rebuild;
pub mod reconcile;
mod repair;
mod report;
mod rollup;
pub mod scaffold;
mod status;
pub mod sync;
mod sync_keys;
pub mod unify;
mod variables;
mod warning_limit;
pub mod yaml;

pub use config::{ExaminedPipeline, Pipeline, Project, ProjectExamination, SourceEntry};
pub use context::RunContext;
pub use observer::{NoopObserver, RunEvent, RunObserver};
pub use rebuild::rebuild;
pub use repair::{check_all_tables, check_tables};
pub use report::{FailedSlice, PipelineReport, RunReport};
pub use status::{ResourceStatus, status};
pub use sync::{SyncOptions, check_starts, sync};
