//! The pages about sales: the first view, the list, one sale, the sites, one site.
//!
//! Invariant: what a page needs and does not depend on each other is asked side by side.

use super::question::DashboardQuestion;
use super::row_texts::{rows_where_there, table_of};
use super::run_page::RunPage;
use super::unknown_names::{CURRENCY, OF_SALES, check};
use crate::answer::AnswerNote;
use crate::api::statistics::{counted, request_of};
use crate::api::transactions::ListQuestion;
use crate::problem::Problem;
use crate::runs::RunSession;
use crate::state::ServerState;
use axum::http::StatusCode;
use axum::response::Response;
use futures::try_join;
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_page::dashboard::{
    self as page, PageView, RecordTable, SaleParts, SalesPage, SitesPage,
};
use tillhouse_query::{ScalarValue, Session};
use tillhouse_statistics::last_sales;
use tillhouse_statistics::report::StatisticsReport;
use tillhouse_statistics::reports::week_hours;

/// Most sites that a page lists.
const SITES: usize = 5_000;
/// Most rows of what hangs on a sale, or a site.
const PARTS: usize = 500;
/// Most days of the first view, which draws a bar each: twenty years.
const DAYS: i64 = 7_320;

/// True where nothing was sold in the currency that a view is narrowed to.
fn has_nothing(report: &StatisticsReport, view: &PageView) -> bool {
    let is_nowhere = |currency: &str| report.data.iter().all(|entry| entry.currency != currency);
    view.query.get("currency").is_some_and(is_nowhere)
}

/// The first view.
pub(super) async fn overview(
    state: &Arc<ServerState>,
    mut question: DashboardQuestion,
    note: &mut AnswerNote,
) -> Result<Response, Problem> {
    if question.window.duration().as_secs() > DAYS * 86_400 {
        return Err(Problem::bad_request(
            "the first view draws a bar a day, and more than twenty years were asked for",
        )
        .hint("Choose a shorter period. Files, and the API, have no such limit."));
    }
    let (request, shown) = request_of(state, &question.caller, &question.figures())?;
    let asked = format!("overview {}", shown.canonical());
    question.view.is_too_long_for_links = question.is_too_long_for_links();
    let page = RunPage::of(state, question, asked)?;
    page.answer(
        state,
        note,
        async move |state: &ServerState, run: &RunSession, view: PageView| {
            let week = async {
                let week = week_hours(&run.session, &request).await;
                week.map_err(Problem::from)
            };
            let (report, week) = try_join!(counted(state, run, &request), week)?;
            if has_nothing(&report, &view) {
                check(&run.session, &view.query, &[CURRENCY]).await?;
            }
            Ok((page::overview(&view, &report, &week), report.data.len()))
        },
    )
    .await
}

/// The list of sales.
pub(super) async fn sales(
    state: &Arc<ServerState>,
    question: DashboardQuestion,
    note: &mut AnswerNote,
) -> Result<Response, Problem> {
    let list = ListQuestion::read(state, &question.caller, &question.sales())?;
    let asked = format!("sales {}", list.shown.canonical());
    let dated = question.dated();
    let page = RunPage {
        question,
        wanted: list.wanted.clone(),
        asked,
    };
    page.answer(
        state,
        note,
        async move |_: &ServerState, run: &RunSession, view: PageView| {
            let ((rows, next), site_names) = try_join!(list.page(run), site_names(&run.session))?;
            if rows.num_rows() == 0 {
                check(&run.session, &view.query, &OF_SALES).await?;
            }
            let page = SalesPage {
                window: list.window(),
                sales: table_of(&rows)?,
                site_names,
                next: next.map(|cursor| dated.with("cursor", cursor)),
            };
            Ok((page::sales(&view, &page), page.sales.rows.len()))
        },
    )
    .await
}

/// Names of the sites, by key.
pub(super) async fn site_names(session: &Session) -> Result<BTreeMap<String, String>, Problem> {
    of_places(session, ("sites", "site_key"), "name", SITES).await
}

/// Time zones of the sites, by key.
pub(super) async fn site_zones(session: &Session) -> Result<BTreeMap<String, String>, Problem> {
    of_places(session, ("sites", "site_key"), "timezone", SITES).await
}

/// A column of a table of places, by the key that it has in another column; of so many places at most.
pub(super) async fn of_places(
    session: &Session,
    (table, key): (&str, &str),
    column: &str,
    most: usize,
) -> Result<BTreeMap<String, String>, Problem> {
    let sql = format!(
        "SELECT {key} AS key, {column} AS value FROM unified.{table} WHERE {column} IS NOT NULL LIMIT {most}"
    );
    Ok(by_key(&rows_where_there(session, table, &sql, &[]).await?))
}

/// Values in the column `value`, by those in the column `key`.
fn by_key(table: &RecordTable) -> BTreeMap<String, String> {
    let values = (0..table.rows.len()).filter_map(|row| {
        let (key, value) = (table.value(row, "key")?, table.value(row, "value")?);
        Some((key.to_owned(), value.to_owned()))
    });
    values.collect()
}

/// The page of a sale.
pub(super) async fn sale(
    state: &Arc<ServerState>,
    question: DashboardQuestion,
    key: String,
    note: &mut AnswerNote,
) -> Result<Response, Problem> {
    let asked = format!("sale {key:?}");
    let page = RunPage::of(state, question, asked)?;
    page.answer(
        state,
        note,
        async move |_: &ServerState, run: &RunSession, view: PageView| {
            let parts = parts_of(&run.session, &key).await?;
            let rows = parts.articles.rows.len() + parts.payments.rows.len() + 1;
            Ok((page::sale(&view, &key, &parts), rows))
        },
    )
    .await
}

/// A sale, and what hangs on it.
///
/// Errors with 404 where there is no such sale, or it is not seen.
pub(super) async fn parts_of(session: &Session, key: &str) -> Result<SaleParts, Problem> {
    let params = [("key", ScalarValue::from(key))];
    let of = |table: &'static str, order: &str, most: usize| {
        let sql = format!(
            "SELECT * FROM unified.{table} WHERE transaction_key = $key ORDER BY {order} LIMIT {most}"
        );
        let params = &params;
        async move { rows_where_there(session, table, &sql, params).await }
    };
    let (sale, articles, payments, events) = try_join!(
        of("transactions", "transaction_key", 1),
        of("articles", "line_number, article_key", PARTS),
        of("payments", "created_at, payment_key", PARTS),
        of("events", "occurred_at, event_key", PARTS),
    )?;
    if sale.is_empty() {
        return Err(
            Problem::new(StatusCode::NOT_FOUND, format!("there is no sale {key:?}"))
                .hint("The list of sales has the keys there are."),
        );
    }
    let site_name = match sale.value(0, "site_key") {
        None => None,
        Some(site) => {
            let site = [("key", ScalarValue::from(site))];
            let sql = "SELECT name FROM unified.sites WHERE site_key = $key LIMIT 1";
            let names = rows_where_there(session, "sites", sql, &site).await?;
            names.value(0, "name").map(str::to_owned)
        }
    };
    Ok(SaleParts {
        sale,
        articles,
        payments,
        events,
        site_name,
    })
}

/// The list of sites.
pub(super) async fn sites(
    state: &Arc<ServerState>,
    question: DashboardQuestion,
    note: &mut AnswerNote,
) -> Result<Response, Problem> {
    let (request, shown) = request_of(state, &question.caller, &question.figures())?;
    let asked = format!("sites {}", shown.canonical());
    let page = RunPage::of(state, question, asked)?;
    page.answer(
        state,
        note,
        async move |state: &ServerState, run: &RunSession, view: PageView| {
            let session = &run.session;
            let sql = format!(
                "SELECT site_key, name, city, timezone, latitude, longitude FROM unified.sites ORDER BY name, site_key LIMIT {SITES}"
            );
            // One that fell silent is told by it, also where cards are declined there all day.
            let last = async { last_sales(session).await.map_err(Problem::from) };
            let (sites, last_sales, report) = try_join!(
                rows_where_there(session, "sites", &sql, &[]),
                last,
                counted(state, run, &request),
            )?;
            let page = SitesPage {
                sites,
                last_sales,
                report,
            };
            if has_nothing(&page.report, &view) {
                check(session, &view.query, &[CURRENCY]).await?;
            }
            Ok((page::sites(&view, &page), page.sites.rows.len()))
        },
    )
    .await
}

/// The page of a site.
pub(super) async fn site(
    state: &Arc<ServerState>,
    question: DashboardQuestion,
    key: String,
    note: &mut AnswerNote,
) -> Result<Response, Problem> {
    let asked = format!("site {key:?}");
    let page = RunPage::of(state, question, asked)?;
    page.answer(
        state,
        note,
        async move |_: &ServerState, run: &RunSession, view: PageView| {
            let params = [("key", ScalarValue::from(key.as_str()))];
            let sql = "SELECT * FROM unified.sites WHERE site_key = $key LIMIT 1";
            let of_devices = format!(
                "SELECT * FROM unified.devices WHERE site_key = $key ORDER BY name, device_key LIMIT {PARTS}"
            );
            let (site, devices) = try_join!(
                rows_where_there(&run.session, "sites", sql, &params),
                rows_where_there(&run.session, "devices", &of_devices, &params),
            )?;
            if site.is_empty() {
                return Err(
                    Problem::new(StatusCode::NOT_FOUND, format!("there is no site {key:?}"))
                        .hint("The list of sites has the keys there are."),
                );
            }
            let html = page::site(&view, &key, &site, &devices);
            Ok((html, 1 + devices.rows.len()))
        },
    )
    .await
}
