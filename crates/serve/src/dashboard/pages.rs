//! The pages about sales: the first view, the list, one sale, the sites, one site.
//!
//! Invariant: a page is kept and tagged as an answer is, by run, question and scope, and by what it repeats of its address.

use super::HTML;
use super::question::DashboardQuestion;
use super::row_texts::{rows_of, table_of};
use super::unknown_names::{CURRENCY, OF_SALES, check};
use crate::answer::{AnswerNote, FixedQuestion, WantedRun, fixed};
use crate::api::statistics::{counted, request_of};
use crate::api::transactions::ListQuestion;
use crate::problem::Problem;
use crate::runs::RunSession;
use crate::state::ServerState;
use crate::work::AnswerSink;
use axum::http::StatusCode;
use axum::response::Response;
use futures::future::try_join;
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_page::dashboard::{
    self as page, PageView, RecordTable, SaleParts, SalesPage, SitesPage,
};
use tillhouse_query::{ScalarValue, Session};
use tillhouse_statistics::definitions::{COUNTED_STATES, SALE};
use tillhouse_statistics::report::StatisticsReport;
use tillhouse_statistics::reports::heat_map;

/// Most sites that a page lists.
const SITES: usize = 5_000;
/// Most rows of what hangs on a sale, or a site.
const PARTS: usize = 500;
/// Most days of the first view, which draws a bar each: twenty years.
const DAYS: i64 = 7_320;

/// Question of a page that one run answers always alike.
fn fixed_question(
    name: &str,
    asked: &str,
    wanted: WantedRun,
    question: &DashboardQuestion,
) -> FixedQuestion {
    FixedQuestion {
        caller: question.caller.clone(),
        asked: format!("{name} {asked}"),
        spelling: question.spelling(),
        wanted,
        media: HTML,
        pages: None,
    }
}

/// The view of a page, of a run.
fn view_of(view: PageView, run: &RunSession) -> PageView {
    PageView {
        run: Some(run.run.clone()),
        ..view
    }
}

async fn write(sink: &mut AnswerSink, rows: usize, html: &str) -> Result<(), Problem> {
    sink.count(rows)?;
    sink.write(html.as_bytes()).await;
    Ok(())
}

/// True where nothing was sold in the currency that a view is narrowed to.
fn has_nothing(report: &StatisticsReport, view: &PageView) -> bool {
    let is_nowhere = |currency: &str| report.data.iter().all(|entry| entry.currency != currency);
    view.query.get("currency").is_some_and(is_nowhere)
}

/// The first view.
pub(super) async fn overview(
    state: &Arc<ServerState>,
    question: DashboardQuestion,
    note: &mut AnswerNote,
) -> Result<Response, Problem> {
    if question.window.duration().as_secs() > DAYS * 86_400 {
        return Err(Problem::bad_request(
            "the first view draws a bar a day, and more than twenty years were asked for",
        )
        .hint("Choose a shorter period. Files, and the API, have no such limit."));
    }
    let (request, shown) = request_of(state, &question.caller, &question.figures())?;
    let wanted = WantedRun::of(state, question.as_of())?;
    let fixed_question = fixed_question("page overview", &shown.canonical(), wanted, &question);
    let view = PageView {
        is_too_long_for_links: question.is_too_long_for_links(),
        ..question.view
    };
    fixed(
        state,
        fixed_question,
        &question.headers,
        note,
        async move |state: &ServerState, run: &RunSession, sink: &mut AnswerSink| {
            let report = counted(state, run, &request);
            let heat = async {
                let heat = heat_map(&run.session, &request).await;
                heat.map_err(Problem::from)
            };
            let (report, heat) = try_join(report, heat).await?;
            if has_nothing(&report, &view) {
                check(&run.session, &view.query, &[CURRENCY]).await?;
            }
            let html = page::overview(&view_of(view, run), &report, &heat);
            write(sink, report.data.len(), &html).await
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
    let asked = list.shown.canonical();
    let fixed_question = fixed_question("page sales", &asked, list.wanted.clone(), &question);
    let dated = question.dated();
    let view = question.view;
    fixed(
        state,
        fixed_question,
        &question.headers,
        note,
        async move |_: &ServerState, run: &RunSession, sink: &mut AnswerSink| {
            let (rows, next) = list.page(run).await?;
            if rows.num_rows() == 0 {
                check(&run.session, &view.query, &OF_SALES).await?;
            }
            let page = SalesPage {
                window: list.window(),
                sales: table_of(&rows)?,
                site_names: site_names(&run.session).await?,
                next: next.map(|cursor| dated.with("cursor", cursor)),
            };
            let html = page::sales(&view_of(view, run), &page);
            write(sink, page.sales.rows.len(), &html).await
        },
    )
    .await
}

/// Names of the sites, by key.
async fn site_names(session: &Session) -> Result<BTreeMap<String, String>, Problem> {
    let sql = format!(
        "SELECT site_key, name AS value FROM unified.sites WHERE name IS NOT NULL LIMIT {SITES}"
    );
    let names = rows_where_there(session, "sites", &sql, &[]).await?;
    Ok(by_site(&names))
}

/// Time of the last counted sale of each site, by key: one that fell silent is told by it, also where cards are declined there all day.
async fn last_sales(session: &Session) -> Result<BTreeMap<String, String>, Problem> {
    let states = COUNTED_STATES.map(|state| format!("'{state}'")).join(", ");
    let sql = format!(
        "SELECT site_key, max(occurred_at) AS value FROM unified.transactions \
         WHERE perspective = '{SALE}' AND kind = 'sale' AND state IN ({states}) AND site_key IS NOT NULL GROUP BY site_key"
    );
    let times = rows_where_there(session, "transactions", &sql, &[]).await?;
    Ok(by_site(&times))
}

/// Values of sites, by key.
fn by_site(table: &RecordTable) -> BTreeMap<String, String> {
    let values = (0..table.rows.len()).filter_map(|row| {
        let (key, value) = (table.value(row, "site_key")?, table.value(row, "value")?);
        Some((key.to_owned(), value.to_owned()))
    });
    values.collect()
}

/// Rows of a query about a unified table; none where there is no such table.
pub(super) async fn rows_where_there(
    session: &Session,
    table: &str,
    sql: &str,
    params: &[(&str, ScalarValue)],
) -> Result<RecordTable, Problem> {
    match session.has_table("unified", table).await? {
        true => rows_of(session, sql, params).await,
        false => Ok(RecordTable::default()),
    }
}

/// The page of a sale.
pub(super) async fn sale(
    state: &Arc<ServerState>,
    question: DashboardQuestion,
    key: String,
    note: &mut AnswerNote,
) -> Result<Response, Problem> {
    let wanted = WantedRun::of(state, question.as_of())?;
    let fixed_question = fixed_question("page sale", &format!("{key:?}"), wanted, &question);
    let view = question.view;
    fixed(
        state,
        fixed_question,
        &question.headers,
        note,
        async move |_: &ServerState, run: &RunSession, sink: &mut AnswerSink| {
            let parts = parts_of(&run.session, &key).await?;
            let rows = parts.articles.rows.len() + parts.payments.rows.len() + 1;
            let html = page::sale(&view_of(view, run), &key, &parts);
            write(sink, rows, &html).await
        },
    )
    .await
}

/// A sale, and what hangs on it.
///
/// Errors with 404 where there is no such sale, or it is not seen.
async fn parts_of(session: &Session, key: &str) -> Result<SaleParts, Problem> {
    let params = [("key", ScalarValue::from(key))];
    let of = |table: &str, order: &str, most: usize| {
        format!(
            "SELECT * FROM unified.{table} WHERE transaction_key = $key ORDER BY {order} LIMIT {most}"
        )
    };
    let sale = of("transactions", "transaction_key", 1);
    let sale = rows_where_there(session, "transactions", &sale, &params).await?;
    if sale.is_empty() {
        return Err(
            Problem::new(StatusCode::NOT_FOUND, format!("there is no sale {key:?}"))
                .hint("The list of sales has the keys there are."),
        );
    }
    let articles = of("articles", "line_number, article_key", PARTS);
    let payments = of("payments", "created_at, payment_key", PARTS);
    let events = of("events", "occurred_at, event_key", PARTS);
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
        articles: rows_where_there(session, "articles", &articles, &params).await?,
        payments: rows_where_there(session, "payments", &payments, &params).await?,
        events: rows_where_there(session, "events", &events, &params).await?,
        site_name,
        sale,
    })
}

/// The list of sites.
pub(super) async fn sites(
    state: &Arc<ServerState>,
    question: DashboardQuestion,
    note: &mut AnswerNote,
) -> Result<Response, Problem> {
    let (request, shown) = request_of(state, &question.caller, &question.figures())?;
    let wanted = WantedRun::of(state, question.as_of())?;
    let fixed_question = fixed_question("page sites", &shown.canonical(), wanted, &question);
    let view = question.view;
    fixed(
        state,
        fixed_question,
        &question.headers,
        note,
        async move |state: &ServerState, run: &RunSession, sink: &mut AnswerSink| {
            let sql = format!(
                "SELECT site_key, name, city, latitude, longitude FROM unified.sites ORDER BY name, site_key LIMIT {SITES}"
            );
            let sites = rows_where_there(&run.session, "sites", &sql, &[]).await?;
            let page = SitesPage {
                sites,
                last_sales: last_sales(&run.session).await?,
                report: counted(state, run, &request).await?,
            };
            if has_nothing(&page.report, &view) {
                check(&run.session, &view.query, &[CURRENCY]).await?;
            }
            let html = page::sites(&view_of(view, run), &page);
            write(sink, page.sites.rows.len(), &html).await
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
    let wanted = WantedRun::of(state, question.as_of())?;
    let fixed_question = fixed_question("page site", &format!("{key:?}"), wanted, &question);
    let view = question.view;
    fixed(
        state,
        fixed_question,
        &question.headers,
        note,
        async move |_: &ServerState, run: &RunSession, sink: &mut AnswerSink| {
            let params = [("key", ScalarValue::from(key.as_str()))];
            let sql = "SELECT * FROM unified.sites WHERE site_key = $key LIMIT 1";
            let site = rows_where_there(&run.session, "sites", sql, &params).await?;
            if site.is_empty() {
                return Err(
                    Problem::new(StatusCode::NOT_FOUND, format!("there is no site {key:?}"))
                        .hint("The list of sites has the keys there are."),
                );
            }
            let sql = format!(
                "SELECT * FROM unified.devices WHERE site_key = $key ORDER BY name, device_key LIMIT {PARTS}"
            );
            let devices = rows_where_there(&run.session, "devices", &sql, &params).await?;
            let html = page::site(&view_of(view, run), &key, &site, &devices);
            write(sink, 1 + devices.rows.len(), &html).await
        },
    )
    .await
}
