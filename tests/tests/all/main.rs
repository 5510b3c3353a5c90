//! Every test that is about more than one crate, in one binary.
//!
//! Invariant: one binary. A second one would link DataFusion and Delta once more, and linking takes longer than most tests; a new
//! subject is a new module here.
//!
//! The tests are started by `make test`, which makes the Python environment and names it in `TILLHOUSE_TEST_PYTHON`, and a browser in
//! `TILLHOUSE_TEST_CHROMIUM`. A test that needs one fails when it is missing: a test that skips itself proves nothing.

// A test that cannot go on stops, and says why.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod all_sources;
mod analysts;
mod attach;
mod bemo;
mod browser;
mod canned_project;
mod certificates;
mod changes;
mod clock_ahead;
mod commands;
mod configuration;
mod contracts;
mod counted_once;
mod coverage;
mod crate_dependencies;
mod currencies;
mod demo;
mod ejected_statements;
mod exact_json;
mod extremes;
mod failing_pipelines;
mod faults;
mod fifth_source;
mod guard;
mod hecone;
mod hostile_names;
mod journey;
mod known_names;
mod lost_commits;
mod maintenance;
mod never_read;
mod nothing_yet;
mod object_storage;
mod pace;
mod partial_failures;
mod postgres_client;
mod power_loss;
mod privacy;
mod program;
mod project;
mod prompt;
mod published_rows;
mod python;
mod queries;
mod readers;
mod recent_sales;
mod recipes;
mod reconcile;
mod rollups;
mod scram_client;
mod serve;
mod serve_dashboard;
mod serve_flight;
mod serve_hecone;
mod serve_history;
mod serve_limits;
mod serve_oidc;
mod serve_postgres;
mod serve_postgres_users;
mod serve_users;
mod served;
mod side_by_side;
mod slt;
mod smartnow;
mod smartnow_end_to_end;
mod source_files;
mod source_truth;
mod stats_at_scale;
mod store_requests;
mod store_steps;
mod style_rules;
mod unify_harness;
mod workers;
