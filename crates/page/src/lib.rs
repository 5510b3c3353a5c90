//! HTML and charts over the shapes of the statistics: the page of one file that `stats --format html` writes, and the pages of the dashboard that `serve` shows.
//!
//! Invariant: a page holds figures that were counted elsewhere, and adds none up; amounts of different currencies never meet. Every text that came from data goes through one
//! function, `html::escaped`. Nothing here reads a clock, a file or a network.
//!
//! ```text
//!   StatisticsReport, heat map ──────┬─ one_file    whole in itself: style within, no script
//!                                    └─ dashboard   links, forms, assets of its own; in the reader's language
//!   rows of queries, as texts ────────── dashboard
//! ```
//!
//! Rejected: a library of templates. What it would check is what `html::Html` checks: markup is known when the program is compiled, all else is escaped.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod completeness;
pub mod dashboard;
mod html;
mod language;
mod numbers;
pub mod one_file;
#[cfg(test)]
mod sample_report;
mod slots;
mod view_query;
mod words;

pub use language::Language;
pub use view_query::ViewQuery;
