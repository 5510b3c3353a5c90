//! Reconciliation: our figures beside somebody else's, what differs, why that may be, and which transactions to look at.
//!
//! ```text
//!   provider's figures ┐
//!                      ├─ compare ─> differences ─┬─ explain   another definition that makes them vanish everywhere
//!   our figures        ┘                          └─ suspects  transactions of that window, site and label
//! ```
//!
//! Invariant: figures are compared as exact numbers at the scale our tables hold; nothing is called equal for being close. Who is asked,
//! and how, is not known here.

mod compare;
mod control;
mod explain;
mod hours;
mod suspects;

pub use compare::{FigureComparison, FigureDifference, compare};
pub use control::{ControlTotal, control_totals, own_totals};
pub use explain::{DefinitionFinding, OTHER_TIMES, ReconcileSample, explain};
pub use suspects::find_suspects;
