//! The HTTP API, PostgreSQL's protocol and Flight SQL: what the commands answer, over the newest published run, for tools.
//!
//! Invariant: a request reads one run from beginning to end, and writes nothing but its line in the audit log. What is answered is computed and encoded by `statistics` and
//! `query`, as for the command line; nothing is counted here.
//!
//! ```text
//!   connection ─ server ─ observe (id, audit, metrics) ─ router ─ endpoints ─┬─ api::statistics, report, transactions, tables ─ answer::fixed
//!                                                                            │     tag of (run, question) ─ 304 | kept answer | slot ─ work
//!                                                                            ├─ api::bookkeeping, sql ─ answer::live ─ slot ─ work
//!                                                                            ├─ api::hecone: login, and HecOne's statistics in HecOne's shape
//!                                                                            └─ dashboard: pages over the same questions, slots and kept answers, and a session for browsers
//!   callers: a user by password, token or token of a provider (oidc) ─ scope ─ runs::part: a session in which nothing else is there
//!   runs: looks for a new published run every two seconds; an answer is of the run that was newest when its question came
//!   postgres: a listener of its own for tools that speak PostgreSQL's protocol, over the same users, runs, slots and limits
//!   flight: a listener of its own for tools that speak Flight SQL, the same way
//!   work: a thread with a deep stack a question; dropped future or stream, or its time over ─> query asked to stop ─> free slot
//! ```
//!
//! Rejected: a session opened for each request of statistics, which reads the logs of the tables anew; and tags over the bytes of an answer, which would have to be made
//! before anybody knew that the client has it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod answer;
mod api;
mod arrivals;
mod audit;
mod base64;
mod batches;
mod callers;
mod dashboard;
mod endpoints;
mod flight;
mod guesses;
mod kept_answers;
mod media;
mod metrics;
mod observe;
mod observed_statement;
mod oidc;
mod openapi;
mod options;
mod parameters;
mod patient_stream;
mod postgres;
mod problem;
mod router;
mod rows;
mod runs;
mod server;
mod signer;
mod slots;
mod state;
mod system;
mod tls;
mod tokens;
mod users;
mod wording;
mod work;

pub use options::{
    CoverageAnswer, LoginCredentials, OidcOptions, ServeOptions, ServedProject, ServedWarehouse,
    TlsFiles,
};
pub use server::{BoundServer, check, check_addresses};
pub use users::{
    NewUser, ScramVerifier, User, UserChange, Users, add_user, change_user, expect_user,
    remove_user,
};
