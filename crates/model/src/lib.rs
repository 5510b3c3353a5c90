//! The nouns of the house: what a table is, what a slice is, what money is, what a secret is, what an error says.
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
pub mod contract;
pub mod coverage;
mod derived_state;
pub mod error;
mod fast;
pub mod filter;
pub mod json;
mod labels;
pub mod money;
pub mod period;
mod problems;
pub mod pseudonym;
pub mod reconcile;
pub mod report;
pub mod restated;
pub mod sales_report;
pub mod secret;
pub mod slice;
pub mod spelling;
pub mod table;
pub mod time;
pub mod word;
pub mod yaml;
pub mod zone_name;

pub use coverage::{Assessment, Coverage, Missing, WindowRead};
pub use derived_state::derived_state;
pub use error::{Error, ErrorKind, Result, ResultExt};
pub use fast::{FastMap, FastSet};
pub use filter::Filter;
pub use labels::{LabelKind, Labels};
pub use money::Exact;
pub use period::Period;
pub use problems::Problems;
pub use pseudonym::PseudonymKey;
pub use secret::Secret;
pub use slice::{ReadBy, Reading, Resource, Slice};
pub use table::{Class, Column, Kind, OnMisfit, Role, TableSpec, TimeFormat};
pub use time::Window;
