//! The DataFusion session over a published snapshot: catalog, functions, memory limits. It runs SQL and changes nothing.
//!
//! Invariant: a session reads the table versions one published run names, for as long as it lives; SQL that is not a query is
//! refused before it is planned. This is the only crate that builds a DataFusion session.
//!
//! ```text
//!   QueryEngine ── memory pool, spill folder, threads; one a process
//!     └─ Session ── one published run (or none: `bare`), one catalog
//!          └─ schemas unified (default), one a pipeline, latest, ops, statistics; a table is opened when a query first names it
//! ```
//!
//! Rejected: opening every table when the session starts. Opening a Delta table reads its log, and a warehouse with four
//! sources has some sixty tables, of which a query names two.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod average;
mod bounded;
mod carried;
mod catalog;
mod damaged_files;
mod depth;
mod derived_columns;
mod dialect;
mod distinct;
mod distinct_count;
mod engine;
mod exact;
mod failure;
mod functions;
mod groups;
mod hashed_value;
mod held_windows;
mod ignored_clauses;
mod joined;
mod latest;
mod lenient;
mod limits;
mod merged_filters;
mod ordered_texts;
mod overflow;
mod pool;
mod read_only;
mod sales;
mod session;
mod similar_to;
mod slices;
mod spill;
mod sql_view;
mod staging;
mod statements;
mod typed_rewrite;
mod whole_groups;
pub mod zone;

pub use carried::{CarriedColumn, carry_columns};
pub use catalog::{DEFAULT_SCHEMA, LATEST};
pub use datafusion::catalog::TableProvider;
pub use datafusion::common::ScalarValue;
pub use datafusion::dataframe::DataFrame;
pub use datafusion::execution::SendableRecordBatchStream;
pub use depth::{DEEP_STACK, WORKER_STACK};
pub use derived_columns::{DerivedColumn, derive_columns};
pub use engine::{QueryEngine, QueryEngineOptions};
pub use failure::{collect, into_error};
pub use functions::canonical_unit;
pub use lenient::{RowError, RowErrorLog, RowErrorReport};
pub use sales::{JoinedNames, NAME_DIMENSIONS, NameDimension, SALES};
pub use session::{Session, empty_table};
pub use spill::{remove_spilled, temporary_folder};
pub use sql_view::{SqlView, ViewDefinition, ViewTables, column_of, quoted_name};
pub use staging::{BatchRunner, PlannedQuery};
pub use statements::{is_complete, split_statements};
