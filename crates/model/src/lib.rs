//! Domain types of Tillhouse: tables, slices, windows, money, secrets, errors.
//!
//! Invariant: this crate knows no network, no clock, no async runtime and no storage. Everything here is a value.
//!
//! ```text
//!   contract (YAML) --parse--> TableSpec --+--> decode (JSON -> Arrow)
//!                                          +--> lake   (Delta schema, keys, partitions)
//!                                          +--> unify  (what a result must look like)
//! ```

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod blank;
pub mod calendar;
pub mod contract;
mod coverage;
mod derived_state;
mod dictionary;
pub mod did_you_mean;
mod error;
mod exact_decimal;
mod expected_reads;
mod filter;
mod hash_map;
pub mod identifier;
pub mod json;
mod labels;
pub mod money;
mod note;
mod period;
mod problems;
mod pseudonym;
pub mod reconcile;
mod secret;
mod slice;
pub mod table;
pub mod terminal_escape;
pub mod time;
pub mod time_zone;
mod unit;
mod window;
pub mod word;
pub mod yaml;
pub mod zone_name;

pub use coverage::{Coverage, CoverageAssessment, CoverageGap, WindowRead};
pub use derived_state::derived_state;
pub use dictionary::{DataDictionary, TableNote};
pub use error::{Error, ErrorKind, Result, ResultExt};
pub use exact_decimal::ExactDecimal;
pub use expected_reads::ExpectedReads;
pub use filter::{Filter, FilterOperand, FilterOperator, FilterTest};
pub use hash_map::{FastMap, FastSet};
pub use labels::{LabelKind, LabelMap};
pub use note::ColumnNote;
pub use period::{CivilPeriod, PeriodEnd, PeriodRequest, RelativeDate, parse_day};
pub use problems::ProblemList;
pub use pseudonym::PseudonymKey;
pub use secret::Secret;
pub use slice::{ReadBy, ReadMode, Resource, Slice};
pub use table::{
    ColumnClass, ColumnKind, ColumnSpec, MisfitPolicy, TableRole, TableSpec, TimeFormat,
};
pub use unit::MeasureUnit;
pub use window::{Window, merge_windows, subtract_windows};
