//! The DataFusion session over a published snapshot: catalog, functions, memory limits. It runs SQL and changes nothing.
//!
//! Invariant: a session reads the table versions one published run names, for as long as it lives; SQL that is not a query is
//! refused before it is planned. This is the only crate that builds a DataFusion session.
//!
//! ```text
//!   QueryEngine ── memory pool, spill folder, threads; one a process
//!     └─ Session ── one published run (or none: `bare`), one catalog
//!          └─ schemas unified (default), one a pipeline, latest, ops, statistics; a table is opened when a query first names it
//!               └─ of a scope: of every table the part that its reader may see
//! ```
//!
//! Rejected: opening every table when the session starts. Opening a Delta table reads its log, and a warehouse with four
//! sources has some sixty tables, of which a query names two.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod average;
mod bounded;
mod bounded_lambdas;
mod carried;
mod catalog;
mod catalog_schema;
mod caught_panics;
mod column_size;
mod columnless_sorts;
mod completion;
mod damaged_files;
mod depth;
mod derived_columns;
mod dialect;
mod distinct;
mod distinct_count;
pub mod encode;
mod engine;
mod exact;
mod failure;
mod fenced_rules;
mod filter_fences;
mod flat_choices;
mod float_extremes;
mod floats_beside_decimals;
mod fresh_schemas;
mod function_list;
mod functions;
mod group_rows;
mod groups;
mod guarded;
mod hashed_value;
mod headings;
mod held_steps;
mod idle_orders;
mod ignored_clauses;
mod independent_laterals;
mod information_schema;
mod joined;
mod kept_conditions;
mod language;
mod large_constants;
mod lateral;
mod latest;
mod leaf_columns;
mod lenient;
mod limits;
mod linked_table;
mod list_order;
mod list_tests;
mod many_wildcards;
mod mended_rules;
mod merged_filters;
mod mistakes;
mod nested_projections;
mod notes;
mod null_offsets;
mod number_tokens;
mod one_input;
mod one_zero;
mod operators;
mod ordered;
mod outer_keys;
mod output_names;
mod overflow;
mod parameters;
mod placement;
mod pool;
mod read_only;
mod sales;
mod same_names;
mod schemas;
mod scope;
mod scoped_table;
mod session;
mod set_fences;
mod set_lists;
mod shown_casts;
mod similar_to;
mod skipped_rows;
mod slices;
mod sliding_frames;
mod span_texts;
mod spans;
mod spill;
mod sql_type;
mod sql_view;
mod staging;
mod stand_in;
mod statements;
mod stopping;
mod table_arguments;
mod table_count;
mod time_texts;
mod truth_tests;
mod truth_texts;
mod typed_rewrite;
mod unfit;
mod union_columns;
mod unnest_pieces;
mod unnested_keys;
mod value_files;
mod whole_groups;
mod window_extremes;
mod window_results;
mod window_values;
pub mod zone;

pub use carried::{CarriedColumn, carry_columns};
pub use completion::{ChoiceKind, Completion, CompletionChoice};
pub use datafusion::catalog::TableProvider;
pub use datafusion::common::ScalarValue;
pub use datafusion::dataframe::DataFrame;
pub use datafusion::execution::SendableRecordBatchStream;
pub use depth::{DEEP_STACK, WORKER_STACK, check_depth, check_plan};
pub use derived_columns::{DerivedColumn, derive_columns};
pub use engine::{QueryEngine, QueryEngineOptions};
pub use failure::{collect, into_error};
pub use function_list::{FunctionKind, FunctionSummary};
pub use guarded::{execute, execute_partitioned, execute_step};
pub use headings::{Headings, unique_names};
pub use lenient::{RowError, RowErrorLog, RowErrorReport};
pub use notes::{DescribedColumn, DescribedTable};
pub use parameters::{ParameterLiteral, QueryParameters, list_items};
pub use placement::{PlanPlacement, portable_plan, resumed_plan};
pub use pool::MemoryShare;
pub use sales::{JoinedNames, NAME_DIMENSIONS, NameDimension, SALES};
pub use same_names::plan_apart;
pub use schemas::{ContractTable, DEFAULT_SCHEMA, LATEST};
pub use scope::Scope;
pub use session::{QueryShape, Session, empty_table};
pub use spill::{remove_spilled, temporary_folder};
pub use sql_type::sql_type;
pub use sql_view::{SqlView, ViewDefinition, ViewTables, column_of, quoted_name};
pub use staging::{BatchRunner, PlannedQuery};
pub use statements::{LocatedStatement, is_complete, locate_statements, split_statements};
pub use stopping::{StopFlag, stoppable};
pub use unfit::out_of_calendar;
