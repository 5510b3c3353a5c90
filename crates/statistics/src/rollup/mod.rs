//! Roll-ups by level: what the unified facts add up to by day, month and year, in a table a fact under `statistics/`.
//!
//! Invariant: a level holds every row of its fact, whatever its kind, state or perspective, and adds up only what can be added up
//! further: row counts, amounts, quantities. What a request counts is decided when it is answered, so that levels answer it
//! to the last digit, each for the part of a window that consists of its whole periods.
//!
//! - `fact` says what is kept of each fact, `level` which levels there are and which is added up from which;
//! - `aggregate` adds rows up, of the facts or of a finer level;
//! - `maintain` brings the tables to the versions a run is about to publish, changed periods only, and `sums` makes their rows;
//! - `routing` picks the levels that cover a request with the fewest rows, and the facts for what is left of it;
//! - `views` has a view a level, and the notes on all of it.
//!
//! Rejected: a table a level, whose fourteen logs cost requests of every run; one table for all three facts, in which every
//! transaction would have to be either counted once a payment or kept in rows of its own; and an own cut of hours a zone, since a request
//! may name any zone: the hourly curve of those that are not whole hours off UTC is counted from the facts.

mod aggregate;
mod fact;
mod interner;
mod level;
mod maintain;
mod routing;
mod sums;
mod views;

pub(crate) use fact::{FACTS, RolledFact, TRANSACTIONS, WITHOUT_AMOUNT};
pub use maintain::roll_up;
pub(crate) use routing::{AnswerPlan, AnswerSource, FactScan, Part, Span, route, source_of_days};
pub(crate) use views::{add_notes, level_views};

use tillhouse_lake::RangeColumn;
use tillhouse_model::calendar::HOUR;
use tillhouse_model::table::OCCURRED_AT;

/// The hours by which two versions of a fact are compared.
const HOURS: RangeColumn = RangeColumn::new(OCCURRED_AT, HOUR);
/// The column that names the transaction a fact is of.
const TRANSACTION_KEY: &str = "transaction_key";
const CURRENCY: &str = "currency";
/// Start of a row's period.
const START: &str = "period_start";

/// Schema of the roll-ups.
pub(crate) const SCHEMA: &str = "statistics";
