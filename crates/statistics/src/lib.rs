//! The statistics: HecOne's eleven figures over the unified tables, with growth, one entry a currency.
//!
//! Invariant: a figure depends on the published run and the request alone, never on the clock or on who asks; no amount passes
//! through a float on its way from the table to the JSON text.
//!
//! ```text
//!   StatisticsRequest ─> CheckedRequest (filter, growth_baseline) ─┬─ rollup::route  from which sums, and what from the facts?
//!                                                                  ├─ facts         transactions of both windows: hours, sites, totals
//!                                                                  ├─ articles  ┐   children: what hangs on a transaction
//!                                                                  ├─ payments  ┘     └─ bridge: collected + open = total
//!                                                                  └─ completeness  bookkeeping: gaps, data_through, rejects
//!   facts, articles, payments ─ranking─> StatisticsFigures, and with completeness ─> report::StatisticsReport
//! ```
//!
//! `rollup` adds the facts up by day, month and year and keeps the sums; `restatement` tells what changed between two runs, `reconcile` what
//! differs from somebody else's figures, `silence` where nothing is sold any more, `last_sales` when something last was, `reports` holds SmartNow's reports over all sources.
//!
//! docs/statistics.md defines each figure for its readers; `definitions` is its code half.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod articles;
mod bridge;
mod children;
mod clock;
mod columns;
mod completeness;
mod counted;
pub mod csv;
pub mod definitions;
mod facts;
mod filter;
mod growth_baseline;
mod hour_counts;
mod last_sales;
mod names;
mod payments;
mod ranking;
pub mod reconcile;
pub mod report;
pub mod reports;
mod request;
pub mod restated;
mod restatement;
mod rollup;
pub mod sales_report;
mod silence;
mod table_functions;
mod transaction_list;
mod transaction_sums;
mod transaction_totals;
mod uncounted_payments;

pub use clock::parse_instant;
pub use filter::{CheckedFilter, FieldForm, OfferedField, offered_fields};
pub use growth_baseline::GrowthBaseline;
pub use last_sales::last_sales;
pub use names::RequestedNames;
pub use request::{HourGrouping, StatisticsRequest};
pub use restatement::{find_restatements, find_restatements_seen};
pub use rollup::roll_up;
pub use silence::{
    LEAST_SELLING_HOURS, LEAST_SILENCE, PlaceKind, SilenceReport, SilentPlace, USUAL_GAPS,
    find_silence,
};
pub use transaction_list::{
    TransactionListRequest, TransactionOrder, TransactionPage, TransactionPlace, list_transactions,
};
pub use transaction_sums::TransactionSums;

use crate::report::{Bridge, CurrencyStatistics, StatisticsMeta, StatisticsReport};
use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::ScalarUDF;
use definitions::DEFINITIONS_VERSION;
use request::CheckedRequest;
use tillhouse_lake::Warehouse;
use tillhouse_model::{DataDictionary, Error, ErrorKind, PseudonymKey, Result};
use tillhouse_query::Session;
use transaction_totals::{AmountTally, UncountedSales};

/// Makes the statistics known to the SQL of a session: the table functions (`hourly_transactions(...)`), and the views `counted`,
/// `counted_articles`, `counted_payments` and `uncounted_payments` where their tables are, and those of the roll-ups' levels in the schema
/// `statistics`. They read what the session reads: the same run, within
/// the same memory. `key` is the project's, for filters that name personal values and for `pseudonym(kind, value)`; a session that has no personal columns has neither.
pub fn register_sql(session: &Session, key: Option<&PseudonymKey>) {
    // A pseudonym is of use beside the columns that have some.
    let key = key.filter(|_| session.scope().personal);
    table_functions::register(session, key);
    if let Some(key) = key {
        session.register_pseudonyms(key);
    }
    for view in [
        counted::COUNTED,
        counted::COUNTED_ARTICLES,
        counted::COUNTED_PAYMENTS,
        uncounted_payments::UNCOUNTED_PAYMENTS,
    ] {
        session.register_view(view);
    }
    for view in rollup::level_views() {
        session.register_view_of(rollup::SCHEMA, view);
    }
}

/// Functions that plans of statistics call and SQL does not know, for a process that runs parts of such plans.
pub fn plan_functions() -> Vec<ScalarUDF> {
    vec![filter::number_in_text()]
}

/// Adds notes on the roll-ups to a dictionary that has those on the facts they add up.
pub fn add_rollup_notes(dictionary: &mut DataDictionary) {
    rollup::add_notes(dictionary);
}

/// The table of the roll-ups in the schema `statistics`, as (name, columns).
pub fn rollup_table() -> (&'static str, SchemaRef) {
    (rollup::TABLE, rollup::schema())
}

/// Figures of a request, without the assessment of their completeness.
#[derive(Debug, Clone, PartialEq)]
pub struct StatisticsFigures {
    /// One entry a currency, ordered by currency.
    pub data: Vec<CurrencyStatistics>,
    /// Counted transactions of the window that growth is measured against.
    pub compared_transactions: i64,
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
    /// Collected payments of the window without an amount, of counted transactions or not.
    pub payments_without_amount: i64,
    /// Payments of the window whose sale is in no table.
    pub payments_without_sale: i64,
    /// Payments whose sale is in no table and that have no time either.
    pub payments_without_time: i64,
    /// Bridges of the amounts, one entry a currency that the window has, ordered by currency.
    pub bridge: Vec<Bridge>,
}

/// The whole answer: figures, and whether they may be trusted.
///
/// Errors with [`ErrorKind::Config`] when the request names something unknown, with [`ErrorKind::Query`] when the session does not
/// read a published run.
///
/// ```no_run
/// use tillhouse_lake::{AsOf, Warehouse};
/// use tillhouse_model::{Result, Window};
/// use tillhouse_query::QueryEngine;
/// use tillhouse_statistics::{StatisticsRequest, statistics};
///
/// async fn revenue(engine: &QueryEngine, warehouse: &Warehouse, window: Window) -> Result<()> {
///     let session = engine.open(warehouse, &AsOf::Latest).await?;
///     let request = StatisticsRequest { source: Some("hecone".into()), ..StatisticsRequest::new(window) };
///     for entry in statistics(&session, warehouse, &request).await?.data {
///         println!("{} {}", entry.transactions_total_amount.value, entry.currency);
///     }
///     Ok(())
/// }
/// ```
pub async fn statistics(
    session: &Session,
    warehouse: &Warehouse,
    request: &StatisticsRequest,
) -> Result<StatisticsReport> {
    let planned = planned(session, request);
    assess_statistics(session, warehouse, request, planned).await
}

/// The same, always counted from the facts.
pub async fn statistics_of_facts(
    session: &Session,
    warehouse: &Warehouse,
    request: &StatisticsRequest,
) -> Result<StatisticsReport> {
    let of_facts = futures::future::ready(CheckedRequest::new(request));
    assess_statistics(session, warehouse, request, of_facts).await
}

/// The request with the scans that answer it with the least reading.
async fn planned<'a>(
    session: &Session,
    request: &'a StatisticsRequest,
) -> Result<CheckedRequest<'a>> {
    let mut question = CheckedRequest::new(request)?;
    question.plan = rollup::route(session, &question).await?;
    Ok(question)
}

/// The report of a request that is `planned` meanwhile: the bookkeeping is read beside the tables.
async fn assess_statistics<'a>(
    session: &Session,
    warehouse: &Warehouse,
    request: &'a StatisticsRequest,
    planned: impl Future<Output = Result<CheckedRequest<'a>>>,
) -> Result<StatisticsReport> {
    // Completeness does not depend on what is scanned.
    let asked = CheckedRequest::new(request)?;
    let run = session.run().ok_or_else(|| {
        Error::new(
            ErrorKind::Query,
            "statistics are asked of a published run, and this session reads none",
        )
    })?;
    let counting = async {
        let question = planned.await?;
        let figures = answer(session, &question).await?;
        Ok::<_, Error>((figures, question.plan.sources()))
    };
    let ((figures, sources), trust) = futures::try_join!(
        counting,
        completeness::check_completeness(session, warehouse, run, &asked)
    )?;
    let meta = StatisticsMeta {
        from: request.window.from(),
        to: request.window.to(),
        tenant: request.tenant.clone(),
        source: request.source.clone(),
        perspective: request.perspective.clone(),
        states: request.states.clone(),
        timezone: request.timezone.clone(),
        hours: request.hours.as_str().to_owned(),
        filter: request
            .filter
            .as_ref()
            .map(|filter| filter.descriptor().clone()),
        compare: request.compare.as_str().to_owned(),
        compared: asked.compared,
        compared_transactions: figures.compared_transactions,
        compared_unread: trust.compared_unread,
        definitions_version: DEFINITIONS_VERSION,
        run: run.run_id.clone(),
        answered_from: sources,
        data_through: trust.data_through,
        rejects: trust.rejects,
        gaps: trust.gaps,
        before_start: trust.before_start,
        still_to_come: trust.still_to_come,
        open_transactions: figures.open_transactions,
        free_transactions: figures.free_transactions,
        test_transactions: figures.test_transactions,
        transactions_without_time: figures.transactions_without_time,
        transactions_without_amount: figures.transactions_without_amount,
        payments_without_amount: figures.payments_without_amount,
        payments_without_sale: figures.payments_without_sale,
        payments_without_time: figures.payments_without_time,
        bridge: figures.bridge,
    };
    Ok(StatisticsReport {
        data: figures.data,
        meta,
    })
}

/// The figures alone, of any session that has the unified tables, also one over tables somebody registered.
///
/// Errors with [`ErrorKind::Config`] when the request names something unknown.
pub async fn figures(session: &Session, request: &StatisticsRequest) -> Result<StatisticsFigures> {
    let question = planned(session, request).await?;
    answer(session, &question).await
}

async fn answer(session: &Session, question: &CheckedRequest<'_>) -> Result<StatisticsFigures> {
    let sites = articles::names(session, "sites", "site_key");
    // Where a filter asks what only transactions have, articles and payments wait for the keys of those that pass.
    let (transactions, articles, payments, sites) = if question.needs_keys() {
        let (transactions, sites) =
            futures::try_join!(facts::transactions(session, question), sites)?;
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
    let counted = |which: fn(&UncountedSales) -> AmountTally| {
        transactions
            .uncounted
            .values()
            .map(|a| which(a).count)
            .sum()
    };
    Ok(StatisticsFigures {
        compared_transactions: transactions
            .currencies
            .values()
            .map(|currency| currency.before.count)
            .sum(),
        open_transactions: transactions.open,
        free_transactions: counted(|aside| aside.free),
        test_transactions: counted(|aside| aside.test),
        transactions_without_time: transactions.without_time,
        transactions_without_amount: transactions.without_amount,
        payments_without_amount: payments.without_amount,
        payments_without_sale: payments.without_sale,
        payments_without_time: payments.without_time,
        bridge,
        data: ranking::entries(question, transactions, articles, payments, &sites)?,
    })
}
