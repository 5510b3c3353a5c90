//! The statistics: HecOne's eleven figures over the unified tables, with growth, one entry a currency.
//!
//! Invariant: a figure depends on the published run and the request alone, never on the clock or on who asks; no amount passes
//! through a float on its way from the table to the JSON text.
//!
//! ```text
//!   Request ─check─> Question ─┬─ facts     transactions of both windows: hours, sites, totals, meta's counts
//!                              ├─ articles  ┐ children: what hangs on a transaction
//!                              ├─ payments  ┘
//!                              └─ trust     the ledger: gaps, data_through, rejects
//!                                   └─ ranking: sorted, labelled ─> report::Statistics
//! ```
//!
//! docs/statistics.md defines each figure for its readers; keep it and this crate alike, and raise [`DEFINITIONS_VERSION`] when a
//! definition changes.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod articles;
mod children;
mod columns;
mod facts;
mod payments;
mod ranking;
pub mod reports;
mod request;
pub mod table_functions;
mod trust;

pub use request::{Hours, Request};

use request::Question;
use tillhouse_lake::Warehouse;
use tillhouse_model::report::{CurrencyStatistics, Meta, Statistics};
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_query::Session;

/// Which edition of the definitions in docs/statistics.md is used.
pub const DEFINITIONS_VERSION: u32 = 1;

/// The figures of a request, without the ledger's judgement of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// One entry a currency, ordered by currency.
    pub data: Vec<CurrencyStatistics>,
    /// Sales of the window in state created, pending or consumed.
    pub open_transactions: i64,
    /// Free sales of the window in a counted state.
    pub free_transactions: i64,
    /// Test sales of the window in a counted state.
    pub test_transactions: i64,
    /// Transactions without any time, whatever their kind and state.
    pub transactions_without_time: i64,
}

/// The whole answer: figures, and whether they may be trusted.
///
/// Errors with [`ErrorKind::Config`] when the request names something unknown, with [`ErrorKind::Query`] when the session does not
/// read a published run.
pub async fn statistics(session: &Session, warehouse: &Warehouse, request: &Request) -> Result<Statistics> {
    let question = Question::new(request)?;
    let run = session.run().ok_or_else(|| {
        Error::new(ErrorKind::Query, "statistics are asked of a published run, and this session reads none")
    })?;
    let (figures, trust) =
        futures::try_join!(answer(session, &question), trust::trust(session, warehouse, run, &question))?;
    let meta = Meta {
        from: request.window.from(),
        to: request.window.to(),
        tenant: request.tenant.clone(),
        source: request.source.clone(),
        perspective: request.perspective.clone(),
        states: request.states.clone(),
        timezone: request.timezone.clone(),
        hours: request.hours.as_str().to_owned(),
        definitions_version: DEFINITIONS_VERSION,
        run: run.run_id.clone(),
        answered_from: "facts".to_owned(),
        data_through: trust.data_through,
        rejects: trust.rejects,
        gaps: trust.into_gaps(),
        open_transactions: figures.open_transactions,
        free_transactions: figures.free_transactions,
        test_transactions: figures.test_transactions,
        transactions_without_time: figures.transactions_without_time,
    };
    Ok(Statistics { data: figures.data, meta })
}

/// The figures alone, of any session that has the unified tables, also one over tables somebody registered.
///
/// Errors with [`ErrorKind::Config`] when the request names something unknown.
pub async fn figures(session: &Session, request: &Request) -> Result<Figures> {
    answer(session, &Question::new(request)?).await
}

async fn answer(session: &Session, question: &Question<'_>) -> Result<Figures> {
    let (transactions, without_time, articles, payments, sites) = futures::try_join!(
        facts::transactions(session, question),
        facts::without_time(session, question),
        articles::articles(session, question),
        payments::payments(session, question),
        articles::names(session, "sites", "site_key"),
    )?;
    let (open, free, test) = (transactions.open, transactions.free, transactions.test);
    Ok(Figures {
        data: ranking::entries(question, transactions, articles, payments, &sites)?,
        open_transactions: open,
        free_transactions: free,
        test_transactions: test,
        transactions_without_time: without_time,
    })
}
