//! Roll-ups by level: what the unified facts add up to by day, month and year, in the table `statistics/levels`.
//!
//! Invariant: a level holds every row of its fact, whatever its kind, state or perspective, and adds up only what can be added up
//! further: row counts, amounts, quantities. What a request counts is decided when it is answered, so that levels answer it
//! to the last digit, each for the part of a window that consists of its whole periods.
//!
//! - `fact` says what is kept of each fact, `level` which levels there are and which is added up from which, `table` where they stand;
//! - `aggregate` adds rows up, of the facts or of a finer level;
//! - `maintain` brings the table to the versions a run is about to publish, changed periods only; `sums` makes the rows of a fact, and
//!   `side_by_side` those of all facts at once;
//! - `routing` picks the levels that cover a request with the fewest rows, and the facts for what is left of it;
//! - `views` has a view a level, and the notes on all of it.
//!
//! Rejected: a table a level or a fact, whose logs and files cost requests of every run; one level for all three facts, in which every
//! transaction would have to be either counted once a payment or kept in rows of its own; and an own cut of hours a zone, since a request
//! may name any zone: the hourly curve of those that are not whole hours off UTC is counted from the facts.

mod aggregate;
mod fact;
mod interner;
mod level;
mod maintain;
mod routing;
mod side_by_side;
mod sums;
mod table;
mod views;

pub(crate) use fact::{FACTS, RolledFact, TRANSACTIONS, WITHOUT_AMOUNT};
pub use maintain::roll_up;
pub(crate) use routing::{
    AnswerPlan, AnswerSource, FactScan, Part, Span, route, route_week, source_of_days,
    source_of_site_hours,
};
pub(crate) use table::{TABLE, schema};
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
