//! The statistics: HecOne's eleven figures over the unified tables, with growth, one entry a currency.
//!
//! Invariant: a figure depends on the published run and the request alone, never on the clock or on who asks; no amount passes
//! through a float on its way from the table to the JSON text.
//!
//! ```text
//!   Request ─check─> Question ─┬─ facts     transactions of both windows: hours, sites, totals, meta's counts
//!    └ filter, compare         ├─ articles  ┐ children: what hangs on a transaction
//!                              ├─ payments  ┘    └─ bridge: collected + open = total
//!                              └─ trust     the ledger: gaps, data_through, rejects
//!                                   └─ ranking: sorted, labelled ─> report::Statistics
//! ```
//!
//! `rollup` adds the facts up hour by hour, and says which of the two a question is asked of. `restated` tells what changed between
//! two runs, `reconcile` what differs from somebody else's figures.
//!
//! docs/statistics.md defines each figure for its readers; keep it and this crate alike, and raise [`DEFINITIONS_VERSION`] when a
//! definition changes.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod articles;
mod bridge;
mod children;
mod clock;
mod columns;
mod compare;
mod facts;
mod filter;
mod names;
mod payments;
mod ranking;
pub mod reconcile;
pub mod reports;
mod request;
mod restated;
pub mod rollup;
pub mod table_functions;
mod trust;

pub use clock::parse_instant;
pub use compare::Compare;
pub use filter::Selection;
pub use names::Names;
pub use request::{Hours, Request};
pub use restated::restated;
pub use rollup::Place;

use request::Question;
use tillhouse_lake::Warehouse;
use tillhouse_model::report::{Bridge, CurrencyStatistics, Meta, Statistics};
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_query::Session;

/// Which edition of the definitions in docs/statistics.md is used.
pub const DEFINITIONS_VERSION: u32 = 2;

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
    /// Counted transactions without an amount.
    pub transactions_without_amount: i64,
    /// Payments of the window whose sale is in no table.
    pub payments_without_sale: i64,
    /// Payments whose sale is in no table and that have no time either.
    pub payments_without_time: i64,
    /// How the amounts hang together, one entry a currency that the window has, ordered by currency.
    pub bridge: Vec<Bridge>,
}

/// The whole answer: figures, and whether they may be trusted.
///
/// Errors with [`ErrorKind::Config`] when the request names something unknown, with [`ErrorKind::Query`] when the session does not
/// read a published run.
pub async fn statistics(session: &Session, warehouse: &Warehouse, request: &Request) -> Result<Statistics> {
    let mut question = Question::new(request)?;
    question.place = rollup::place(session, &question).await?;
    judged(session, warehouse, question).await
}

/// The same, always counted from the facts.
pub async fn statistics_of_facts(session: &Session, warehouse: &Warehouse, request: &Request) -> Result<Statistics> {
    judged(session, warehouse, Question::new(request)?).await
}

async fn judged(session: &Session, warehouse: &Warehouse, question: Question<'_>) -> Result<Statistics> {
    let request = question.request;
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
        filter: request.filter.as_ref().map(|filter| filter.descriptor().clone()),
        compare: request.compare.as_str().to_owned(),
        compared: question.compared,
        definitions_version: DEFINITIONS_VERSION,
        run: run.run_id.clone(),
        answered_from: question.place.as_str().to_owned(),
        data_through: trust.data_through,
        rejects: trust.rejects,
        gaps: trust.gaps,
        still_to_come: trust.still_to_come,
        open_transactions: figures.open_transactions,
        free_transactions: figures.free_transactions,
        test_transactions: figures.test_transactions,
        transactions_without_time: figures.transactions_without_time,
        transactions_without_amount: figures.transactions_without_amount,
        payments_without_sale: figures.payments_without_sale,
        payments_without_time: figures.payments_without_time,
        bridge: figures.bridge,
    };
    Ok(Statistics { data: figures.data, meta })
}

/// The figures alone, of any session that has the unified tables, also one over tables somebody registered.
///
/// Errors with [`ErrorKind::Config`] when the request names something unknown.
pub async fn figures(session: &Session, request: &Request) -> Result<Figures> {
    let mut question = Question::new(request)?;
    question.place = rollup::place(session, &question).await?;
    answer(session, &question).await
}

async fn answer(session: &Session, question: &Question<'_>) -> Result<Figures> {
    let sites = articles::names(session, "sites", "site_key");
    // Where a filter asks what only transactions have, articles and payments wait for the keys of those that pass.
    let (transactions, articles, payments, sites) = if question.needs_keys() {
        let (transactions, sites) = futures::try_join!(facts::transactions(session, question), sites)?;
        let (articles, payments) = futures::try_join!(
            articles::articles(session, question, &transactions.passing),
            payments::payments(session, question, &transactions.passing),
        )?;
        (transactions, articles, payments, sites)
    } else {
        futures::try_join!(
            facts::transactions(session, question),
            articles::articles(session, question, &None),
            payments::payments(session, question, &None),
            sites,
        )?
    };
    let bridge = bridge::bridge(&transactions, &payments)?;
    let counted = |which: fn(&facts::Aside) -> facts::Tally| transactions.aside.values().map(|a| which(a).count).sum();
    Ok(Figures {
        open_transactions: transactions.open,
        free_transactions: counted(|aside| aside.free),
        test_transactions: counted(|aside| aside.test),
        transactions_without_time: transactions.without_time,
        transactions_without_amount: transactions.without_amount,
        payments_without_sale: payments.without_sale,
        payments_without_time: payments.without_time,
        bridge,
        data: ranking::entries(question, transactions, articles, payments, &sites)?,
    })
}
