//! Changes of the past since a run: hours, days and months whose figures differ, and why.
//!
//! Invariant: amounts are [`ExactDecimal`]; `now` is always `then` and `difference` together.

use crate::report::ReportedGap;
use jiff::Timestamp;
use serde::Serialize;
use tillhouse_model::ExactDecimal;

/// Report of the figures that changed since a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestatedReport {
    /// Figures by the site's own month, `2026-01`.
    pub months: Vec<RestatedFigure>,
    /// Figures by the site's own day, `2026-01-31`.
    pub days: Vec<RestatedFigure>,
    /// Figures by UTC hour, named by its start.
    pub hours: Vec<RestatedFigure>,
    /// The transactions that made the difference, those that weigh most first.
    pub transactions: Vec<ChangedTransaction>,
    /// Request, and notes on the answer.
    pub meta: RestatedMeta,
}

/// Figure of one period that is not what it was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestatedFigure {
    /// The hour, day or month.
    pub period: String,
    /// ISO 4217, or `unknown`.
    pub currency: String,
    /// `transactions`, `amount`, `collected` or `quantity`.
    pub figure: String,
    /// The unit of a quantity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Former figure.
    pub then: ExactDecimal,
    /// Present figure.
    pub now: ExactDecimal,
    /// Difference of the two. Zero where sales moved between sites or labels within the period.
    pub difference: ExactDecimal,
}

/// A transaction that is counted differently.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangedTransaction {
    /// Its key.
    pub transaction_key: String,
    /// `arrived`, `changed` or `gone`.
    pub change: String,
    /// Changed parts: state, kind, amount, time, currency, site, payments, articles.
    pub what: Vec<String>,
    /// Former version; null if new.
    pub then: Option<TransactionVersion>,
    /// Present version; null if gone.
    pub now: Option<TransactionVersion>,
}

/// Transaction as one of two runs has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TransactionVersion {
    /// When it happened.
    pub occurred_at: Option<Timestamp>,
    /// Its kind.
    pub kind: Option<String>,
    /// Its state.
    pub state: Option<String>,
    /// ISO 4217, or null.
    pub currency: Option<String>,
    /// Its amount.
    pub amount: Option<ExactDecimal>,
    /// Sum of its collected payments.
    pub collected: Option<ExactDecimal>,
    /// Its site.
    pub site_key: Option<String>,
}

/// Parameters of the report, and what else is to be known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestatedMeta {
    /// The run that is compared with.
    pub since: String,
    /// When it finished.
    pub since_finished_at: Timestamp,
    /// The run whose figures are the present ones.
    pub run: String,
    /// The tenant asked for; null for all.
    pub tenant: Option<String>,
    /// The source asked for; null for all.
    pub source: Option<String>,
    /// `sale` or `purchase`.
    pub perspective: String,
    /// The transaction states that count.
    pub states: Vec<String>,
    /// Hours that have sales now and had not been read at all when the run finished: they are new, not restated, and stand nowhere
    /// above.
    pub hours_first_read: i64,
    /// Number of transactions that made the difference; more than are listed where the list was
    /// cut.
    pub transactions_changed: i64,
    /// Stretches of the window that the later run lacks, as in [`crate::StatisticsMeta`]: what changed in them nobody knows. A window without a
    /// beginning is one from the first reading on.
    pub gaps: Vec<ReportedGap>,
    /// Stretches of the window that were not to be read, since they lie before the resource's `sync.start`: no gaps.
    pub before_start: Vec<ReportedGap>,
}
