//! More machines for questions: parts of a query's plan run in worker processes, which read the same warehouse.
//!
//! Invariant: an answer is the same with any number of workers, to the last digit. A part of a plan travels only if what arrives is what was sent; everything else runs where the question was
//! asked, and so does a part that fails elsewhere for its own sake. No credential of a store is ever sent: a worker opens the warehouse by its own configuration.
//!
//! ```text
//!   coordinator                                    worker
//!   plan ─ parts ─> RemoteExec                     WorkerServer
//!                     │ which workers are there?     │ token or certificate, version
//!                     │ a plan a task, its own files ┤ files of this warehouse alone
//!                     └─ partial sums <──────────────┘
//!   final sums, joins, sorts: here
//! ```
//!
//! The engine under it is datafusion-distributed: it carries plans to workers and rows back. What travels is decided here and not by its planner: a part is the scan of a table's files with the
//! steps on it, up to the first that adds rows up. Such a part makes little of much, and nothing in it depends on the rows of another task.
//!
//! Rejected: the planner of that library, which also sends joins, sorts and windows, and repartitions rows between workers. Steps of ours that hold queries to memory are not known there, and the
//! rows of a fact would cross the network twice.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod address;
mod channel;
mod codec;
mod fleet;
mod parts;
mod placement;
mod readable_files;
mod remote;
mod server;
mod spread;
mod trust;

pub use address::WorkerAddress;
pub use fleet::WorkerFleet;
pub use placement::{PlacementOptions, with_workers};
pub use server::{TaskCount, WorkerServer};
pub use trust::{TrustFiles, WorkerTrust};

/// Version that coordinator and workers must share.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
