//! The statistics, checked from outside: cases computed by hand, and an oracle of plain loops over random houses.
//!
//! Invariant: one binary, because each would link the query engine anew.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clocks;
mod counted;
mod figures;
mod figures_of_children;
mod filter_oracle;
mod filtering;
mod fixture;
mod last_sales;
mod oracle;
mod oracle_tables;
mod published;
mod reconcile;
mod reports;
mod reports_oracle;
mod restated;
mod rollup_editions;
mod rollups;
mod scan_counts;
mod silence;
mod table_functions;
mod world;
