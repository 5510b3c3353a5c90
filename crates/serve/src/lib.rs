//! The HTTP API: what the commands answer, over the newest published run, for tools.
//!
//! Invariant: a request reads one run from beginning to end, and writes nothing but its line in the audit log. What is answered is computed and encoded by `statistics` and
//! `query`, as for the command line; nothing is counted here.
//!
//! ```text
//!   connection ─ server ─ observe (id, audit, metrics) ─ router ─ doors ─┬─ api::statistics, report, transactions, tables ─ answer::fixed
//!                                                                        │     tag of (run, question) ─ 304 | kept answer | place ─ work
//!                                                                        ├─ api::bookkeeping, sql ─ answer::live ─ place ─ work
//!                                                                        └─ api::hecone: login, and HecOne's statistics in HecOne's shape
//!   runs: looks for a new published run every two seconds; an answer is of the run that was newest when its question came
//!   work: a thread with a deep stack a question; dropped future or stream ─> cancelled query ─> free place
//! ```
//!
//! Rejected: a session opened for each request of statistics, which reads the logs of the tables anew; and tags over the bytes of an answer, which would have to be made
//! before anybody knew that the client has it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod answer;
mod api;
mod audit;
mod doors;
mod kept_answers;
mod media;
mod metrics;
mod observe;
mod openapi;
mod options;
mod parameters;
mod patient_stream;
mod places;
mod problem;
mod router;
mod rows;
mod runs;
mod server;
mod state;
mod tokens;
mod work;

pub use options::{CoverageAnswer, LoginCredentials, ServeOptions, ServedProject, ServedWarehouse};
pub use server::BoundServer;
