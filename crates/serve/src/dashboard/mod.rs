//! The dashboard: pages for people, over what the endpoints answer.
//!
//! Invariant: a page is made of what an endpoint's own code finds, under the same scope, slots, limits and kept answers, and nothing is counted here. A page is for whoever asks for
//! HTML: to all others its path is one that nothing is at, as before there were pages. What a browser may do with a page is said with each of them, in one policy.

mod exports;
mod filters;
mod health;
mod narrowing;
mod pages;
mod period;
mod question;
mod reconciliations;
mod record_fields;
mod restated;
mod row_texts;
mod run_page;
mod session;
mod silence;
mod unknown_names;
mod versions;

use crate::answer::{AnswerNote, UnattendedPoll, document, set, wrong_method};
use crate::endpoints::{EndpointId, no_such_path};
use crate::problem::{Problem, ProblemPage};
use crate::state::ServerState;
use crate::wording::in_words_of;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use question::{DashboardQuestion, PARAMETERS};
use std::sync::Arc;
use tillhouse_page::dashboard::{
    ASSET_FOLDER, ASSETS, EXPORT_FOLDER, FILTER_PATH, FILTER_VALUES_FOLDER, FaultPage, LOGIN_PATH,
    LOGOUT_PATH, NEWS_PATH, NOTICES_PATH, OVERVIEW_PATH, PageView, RECONCILIATIONS_PATH,
    RESTATED_PATH, SALES_PATH, SILENT_PATH, SITES_PATH, SOURCES_PATH, VERSIONS_ENDING,
};
use tillhouse_page::{Language, ViewQuery};
use xxhash_rust::xxh3::xxh3_64;

/// Policy that a browser holds a page to: nothing but what comes from this server, and no script or style that stands in it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
/// Media type of a page.
const HTML: &str = "text/html; charset=utf-8";
/// Headers that a page depends on besides its address.
const VARIES: &str = "accept, accept-language, authorization, cookie";

/// A page, or what pages ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DashboardPage {
    Overview,
    Sales,
    Sale,
    Versions,
    Sites,
    Site,
    Silent,
    Restated,
    Reconciliations,
    Sources,
    Export,
    Notices,
    News,
    Filter,
    FilterValues,
}

impl DashboardPage {
    const ALL: [Self; 15] = [
        Self::Overview,
        Self::Sales,
        Self::Sale,
        Self::Versions,
        Self::Sites,
        Self::Site,
        Self::Silent,
        Self::Restated,
        Self::Reconciliations,
        Self::Sources,
        Self::Export,
        Self::Notices,
        Self::News,
        Self::Filter,
        Self::FilterValues,
    ];

    /// Its name, in the log and the metrics.
    fn name(self) -> &'static str {
        match self {
            Self::Overview => "page_overview",
            Self::Sales => "page_sales",
            Self::Sale => "page_sale",
            Self::Versions => "page_versions",
            Self::Sites => "page_sites",
            Self::Site => "page_site",
            Self::Silent => "page_silent",
            Self::Restated => "page_restated",
            Self::Reconciliations => "page_reconciliations",
            Self::Sources => "page_sources",
            Self::Export => "page_export",
            Self::Notices => "page_notices",
            Self::News => "page_news",
            Self::Filter => "page_filter",
            Self::FilterValues => "page_filter_values",
        }
    }

    /// Its route.
    fn path(self) -> String {
        match self {
            Self::Overview => OVERVIEW_PATH.to_owned(),
            Self::Sales => SALES_PATH.to_owned(),
            Self::Sale => format!("{SALES_PATH}/{{key}}"),
            Self::Versions => format!("{SALES_PATH}/{{key}}{VERSIONS_ENDING}"),
            Self::Sites => SITES_PATH.to_owned(),
            Self::Site => format!("{SITES_PATH}/{{key}}"),
            Self::Silent => SILENT_PATH.to_owned(),
            Self::Restated => RESTATED_PATH.to_owned(),
            Self::Reconciliations => RECONCILIATIONS_PATH.to_owned(),
            Self::Sources => SOURCES_PATH.to_owned(),
            Self::Export => format!("{EXPORT_FOLDER}{{file}}"),
            Self::Notices => NOTICES_PATH.to_owned(),
            Self::News => NEWS_PATH.to_owned(),
            Self::Filter => FILTER_PATH.to_owned(),
            Self::FilterValues => format!("{FILTER_VALUES_FOLDER}{{field}}"),
        }
    }

    /// True for what a person looks at.
    fn is_looked_at(self) -> bool {
        !matches!(
            self,
            Self::Export | Self::Notices | Self::News | Self::FilterValues
        )
    }
}

/// The routes of the dashboard.
pub(crate) fn routes() -> Router<Arc<ServerState>> {
    let mut router: Router<Arc<ServerState>> = Router::new();
    for page in DashboardPage::ALL {
        router = router.route(&page.path(), route_of(page));
    }
    let log_in = on(MethodFilter::GET, login_page).post(session::log_in);
    let log_out = on(MethodFilter::POST, session::log_out);
    router
        .route(
            LOGIN_PATH,
            log_in.fallback(
                |request: Request| async move { wrong_method(&request, "GET, HEAD, POST") },
            ),
        )
        .route(
            LOGOUT_PATH,
            log_out.fallback(|request: Request| async move { wrong_method(&request, "POST") }),
        )
        .route(
            &format!("{ASSET_FOLDER}{{file}}"),
            on(MethodFilter::GET, asset).fallback(not_get),
        )
}

async fn not_get(request: Request) -> Response {
    wrong_method(&request, "GET, HEAD")
}

/// The one parameter of a path.
fn in_path(values: Result<RawPathParams, RawPathParamsRejection>) -> Option<String> {
    let values = values.ok()?;
    let first = values.iter().next();
    first.map(|(_, value)| value.to_owned())
}

fn route_of(page: DashboardPage) -> MethodRouter<Arc<ServerState>> {
    let handler = move |State(state): State<Arc<ServerState>>,
                        values: Result<RawPathParams, RawPathParamsRejection>,
                        request: Request| async move {
        shown(&state, page, in_path(values), request).await
    };
    on(MethodFilter::GET, handler).fallback(not_get)
}

/// Answers a request for a page.
async fn shown(
    state: &Arc<ServerState>,
    page: DashboardPage,
    in_path: Option<String>,
    request: Request,
) -> Response {
    let mut note = AnswerNote::of(&request);
    let (parts, _) = request.into_parts();
    let wants_html = wants_html(&parts.headers);
    if page.is_looked_at() && !wants_html {
        return no_such_path().response(&note.id);
    }
    let _ = note.endpoint.set(page.name());
    let outcome = answer(state, page, in_path, &parts, &mut note).await;
    let response = match outcome {
        Ok(response) => response,
        Err(problem) => refusal(problem, &parts, wants_html, &note),
    };
    let mut response = sealed(response);
    response.extensions_mut().insert(note);
    response
}

async fn answer(
    state: &Arc<ServerState>,
    page: DashboardPage,
    in_path: Option<String>,
    parts: &Parts,
    note: &mut AnswerNote,
) -> Result<Response, Problem> {
    let (caller, has_session) = session::admit(state, &parts.headers, note).await?;
    if page == DashboardPage::News {
        let newest = state.runs.newest()?;
        let text = serde_json::json!({ "run": newest.run }).to_string();
        let mut response = document(text, "application/json");
        response.extensions_mut().insert(UnattendedPoll);
        return Ok(response);
    }
    if page == DashboardPage::Filter {
        return filters::added(parts, &caller);
    }
    let mut question = DashboardQuestion::read(state, parts, caller)?;
    question.view.has_session = has_session;
    question.view.sees_personal = question.caller.scope().personal;
    let mut response = match page {
        DashboardPage::Overview => pages::overview(state, question, note).await,
        DashboardPage::Sales => pages::sales(state, question, note).await,
        DashboardPage::Sale => pages::sale(state, question, key(in_path)?, note).await,
        DashboardPage::Versions => versions::versions(state, question, key(in_path)?, note).await,
        DashboardPage::Sites => pages::sites(state, question, note).await,
        DashboardPage::Site => pages::site(state, question, key(in_path)?, note).await,
        DashboardPage::Silent => silence::silence(state, question, note).await,
        DashboardPage::Restated => restated::restated(state, question, note).await,
        DashboardPage::Reconciliations => {
            reconciliations::reconciliations(state, question, note).await
        }
        DashboardPage::Notices => silence::notices(state, question, note).await,
        DashboardPage::Sources => health::sources(state, question, note).await,
        DashboardPage::Export => exports::file(state, question, &key(in_path)?, note).await,
        DashboardPage::FilterValues => filters::values(state, question, &key(in_path)?, note).await,
        DashboardPage::News | DashboardPage::Filter => Err(no_such_path()),
    }?;
    // Whoever comes to the browser after a session sees nothing of it.
    if has_session {
        set(response.headers_mut(), header::CACHE_CONTROL, "no-store");
    }
    Ok(response)
}

/// The key in a path.
fn key(in_path: Option<String>) -> Result<String, Problem> {
    in_path
        .filter(|key| !key.contains('\u{fffd}') && !key.contains('\0'))
        .ok_or_else(|| Problem::bad_request("the path is no text in UTF-8"))
}

/// Response to a request that cannot be answered: the way to log in, a page that says why, or the problem's document.
fn refusal(problem: Problem, parts: &Parts, wants_html: bool, note: &AnswerNote) -> Response {
    let problem = problem.reworded(|text| in_words_of(EndpointId::Statistics, text));
    let endpoint = note.endpoint.get().copied().unwrap_or_default();
    problem.log(&note.id, endpoint);
    if !wants_html {
        return without_challenge(problem.response(&note.id));
    }
    let query = asked_with(parts);
    if problem.status == StatusCode::UNAUTHORIZED {
        let asked = parts
            .uri
            .path_and_query()
            .map_or("/", |asked| asked.as_str());
        let mut login = ViewQuery::default().with("next", asked);
        if let Some(lang) = query.get("lang") {
            login = login.with("lang", lang);
        }
        return redirect(&login.address(LOGIN_PATH));
    }
    let view = PageView {
        language: language(parts),
        path: parts.uri.path().to_owned(),
        query,
        timezone: "UTC".to_owned(),
        // Who was admitted without telling a password came by a session.
        has_session: note.who.get().is_some() && !parts.headers.contains_key(header::AUTHORIZATION),
        ..PageView::default()
    };
    problem_page(problem, &view, &note.id)
}

/// The parameters of an address that is refused, as far as pages know them.
fn asked_with(parts: &Parts) -> ViewQuery {
    let query = parts.uri.query().unwrap_or_default();
    let given = url::form_urlencoded::parse(query.as_bytes());
    let given = given.filter(|(_, value)| !value.trim().is_empty());
    let known = given.filter_map(|(name, value)| {
        let mut known = PARAMETERS.into_iter().map(|known| known.name);
        let name = known.find(|known| **known == *name)?;
        Some((name, value.into_owned()))
    });
    ViewQuery::new(known).without(&["cursor", "shown"])
}

/// A page that says what was wrong.
fn problem_page(problem: Problem, view: &PageView, id: &str) -> Response {
    let fault = FaultPage {
        detail: problem.detail().to_owned(),
        hint: problem.hint_text().map(str::to_owned),
        id: id.to_owned(),
        is_ours: problem.status.is_server_error(),
    };
    let html = fault.html(view);
    let mut response = problem.response(id).map(|_| Body::from(html));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(HTML));
    response.extensions_mut().insert(ProblemPage);
    without_challenge(response)
}

/// A refusal by which a browser asks for no password of its own: the page to log in at does.
fn without_challenge(mut response: Response) -> Response {
    response.headers_mut().remove(header::WWW_AUTHENTICATE);
    response
}

/// A response that leads to another address of this server.
fn redirect(address: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let headers = response.headers_mut();
    set(headers, header::LOCATION, address);
    set(headers, header::CACHE_CONTROL, "no-store");
    response
}

/// A response with what a browser may do with it.
fn sealed(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::VARY, VARIES),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        set(headers, name, value);
    }
    response
}

/// True for a client that asks for HTML by name, as browsers do.
fn wants_html(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|wish| {
            let mut parts = wish.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            media.eq_ignore_ascii_case("text/html") && !parts.any(|part| part == "q=0")
        })
}

/// The language that a request names, or else its browser prefers.
fn language(parts: &Parts) -> Language {
    let query = parts.uri.query().unwrap_or_default();
    let mut named = url::form_urlencoded::parse(query.as_bytes());
    let named = named.find(|(name, _)| name == "lang");
    let preferred = || {
        let header = parts.headers.get(header::ACCEPT_LANGUAGE);
        let header = header.and_then(|value| value.to_str().ok());
        Language::preferred(header.unwrap_or_default())
    };
    named
        .and_then(|(_, code)| Language::named(&code))
        .unwrap_or_else(preferred)
}

/// The page to log in at.
async fn login_page(State(state): State<Arc<ServerState>>, request: Request) -> Response {
    let note = AnswerNote::of(&request);
    let _ = note.endpoint.set("page_login");
    let (parts, _) = request.into_parts();
    let mut response = sealed(session::login_page(&state, &parts));
    response.extensions_mut().insert(note);
    response
}

/// A file that pages ask for.
async fn asset(
    values: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Response {
    let note = AnswerNote::of(&request);
    let _ = note.endpoint.set("page_asset");
    let name = in_path(values).unwrap_or_default();
    let Some((_, media, text)) = ASSETS.into_iter().find(|(known, ..)| *known == name) else {
        return no_such_path().response(&note.id);
    };
    let tag = format!("W/\"{:016x}\"", xxh3_64(text.as_bytes()));
    let known = request.headers().get(header::IF_NONE_MATCH);
    let mut response = match known.is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        true => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        false => document(text, media),
    };
    let headers = response.headers_mut();
    set(headers, header::ETAG, &tag);
    set(headers, header::CACHE_CONTROL, "public, no-cache");
    let mut response = sealed(response);
    response.extensions_mut().insert(note);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_for_whoever_asks_for_html() {
        for (accept, wants) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", true),
            ("application/json, Text/HTML;q=0.1", true),
            ("*/*", false),
            ("application/json", false),
            ("text/html;q=0, */*", false),
        ] {
            let value = HeaderValue::from_static(accept);
            let headers = HeaderMap::from_iter([(header::ACCEPT, value)]);
            assert_eq!(wants_html(&headers), wants, "{accept}");
        }
        assert!(!wants_html(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn a_problem_is_told_as_a_page_with_its_id_and_no_challenge() {
        let problem = Problem::bad_request("there is no tenant \"<b>\"")
            .hint("There is \"n\".")
            .header(header::WWW_AUTHENTICATE, "Basic")
            .retry_after(3);
        let response = sealed(problem_page(problem, &PageView::default(), "7f"));
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let headers = response.headers();
        assert_eq!(headers[header::CONTENT_TYPE], HTML);
        assert_eq!(headers[header::RETRY_AFTER], "3");
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], POLICY);
        assert!(!headers.contains_key(header::WWW_AUTHENTICATE));
        assert!(response.extensions().get::<ProblemPage>().is_some());
        let body = axum::body::to_bytes(response.into_body(), 1 << 16)
            .await
            .unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("&lt;b&gt;") && text.contains("7f"), "{text}");
    }
}
