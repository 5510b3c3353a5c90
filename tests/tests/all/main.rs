//! Every test that is about more than one crate, in one binary.
//!
//! Invariant: one binary. A second one would link DataFusion and Delta once more, and linking takes longer than most tests; a new
//! subject is a new module here.
//!
//! The tests are started by `make test`, which makes the Python environment and names it in `TILLHOUSE_TEST_PYTHON`. A test that
//! needs it fails when it is missing: a test that skips itself proves nothing.

// A test that cannot go on stops, and says why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod analysts;
mod bemo;
mod bench;
mod changes;
mod clock;
mod commands;
mod configuration;
mod contracts;
mod coverage;
mod currencies;
mod edges;
mod exact;
mod extremes;
mod faults;
mod fifth;
mod four;
mod guard;
mod hecone;
mod hostile_names;
mod hundred_thousand;
mod journey;
mod lost;
mod pace;
mod partial;
mod power;
mod privacy;
mod program;
mod project;
mod python;
mod readers;
mod reconcile;
mod rollups;
mod slt;
mod smartnow;
mod tidy;
mod tree;
mod truth;
mod vending;
