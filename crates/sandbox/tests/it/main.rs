//! The sandbox seen from outside: over HTTP, as an extractor sees it.
//!
//! Invariant: every test starts its own sandbox on a free loopback port and stops it; nothing waits for time to pass.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod bemo;
mod changes;
mod client;
mod control;
mod faults;
mod incidents;
mod lifecycle;
mod pace;
mod paging;
mod smartnow;
mod source_control;
mod statistics;
