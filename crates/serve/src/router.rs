//! The router: every endpoint, the dashboard, health, metrics, the document and its page.
//!
//! Invariant: whatever is asked, the answer is that of an endpoint or a problem document; what no endpoint knows is 404, and a method that it does not take 405.

use crate::answer::{AnswerNote, document, wrong_method};
use crate::api::{self, EndpointRequest, admit};
use crate::dashboard;
use crate::endpoints::{DOCUMENT, ENDPOINTS, Endpoint, EndpointMethod, PAGE, no_such_path};
use crate::observe::observe;
use crate::parameters::ParameterValues;
use crate::problem::Problem;
use crate::state::ServerState;
use crate::wording::in_words_of;
use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::middleware;
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use std::sync::Arc;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use utoipa_swagger_ui::SwaggerUi;

/// Answers that are smaller are sent as they are.
const COMPRESSED_FROM: u16 = 512;

/// The router of a server.
pub(crate) fn router(state: &Arc<ServerState>) -> Router {
    let mut router: Router<Arc<ServerState>> = Router::new();
    for endpoint in &ENDPOINTS {
        router = router.route(endpoint.path, route_of(endpoint));
    }
    // Parquet, Arrow and workbooks are compressed in themselves, or read as they are by what maps them.
    let compressed = SizeAbove::new(COMPRESSED_FROM)
        .and(NotForContentType::const_new("application/vnd.apache"))
        .and(NotForContentType::const_new(
            "application/vnd.openxmlformats",
        ))
        .and(NotForContentType::IMAGES);
    let page = SwaggerUi::new(PAGE).external_url_unchecked(DOCUMENT, state.document.clone());
    router
        .route("/healthz", service("healthz", healthz))
        .route("/readyz", service("readyz", readyz))
        .route("/metrics", on(MethodFilter::GET, metrics).fallback(not_get))
        .merge(dashboard::routes())
        .merge(page)
        .fallback(unknown_path)
        .layer(middleware::from_fn_with_state(Arc::clone(state), observe))
        .layer(CompressionLayer::new().compress_when(compressed))
        .with_state(Arc::clone(state))
}

/// Route of an endpoint.
fn route_of(endpoint: &'static Endpoint) -> MethodRouter<Arc<ServerState>> {
    let filter = match endpoint.method {
        EndpointMethod::Get => MethodFilter::GET,
        EndpointMethod::Post => MethodFilter::POST,
    };
    let allowed = match endpoint.method {
        EndpointMethod::Get => "GET, HEAD",
        EndpointMethod::Post => "POST",
    };
    let handler = move |State(state): State<Arc<ServerState>>,
                        in_path: Result<RawPathParams, RawPathParamsRejection>,
                        request: Request| async move {
        let in_path = in_path.ok().and_then(|values| {
            let first = values.iter().next();
            first.map(|(_, value)| value.to_owned())
        });
        open(&state, endpoint, in_path, request).await
    };
    on(filter, handler)
        .fallback(move |request: Request| async move { wrong_method(&request, allowed) })
}

/// Route of what tells of the server itself.
fn service(
    endpoint: &'static str,
    answer: fn(&ServerState) -> Result<Response, Problem>,
) -> MethodRouter<Arc<ServerState>> {
    let handler = move |State(state): State<Arc<ServerState>>, request: Request| async move {
        let note = AnswerNote::of(&request);
        let _ = note.endpoint.set(endpoint);
        answer(&state).unwrap_or_else(|problem| problem.response(&note.id))
    };
    on(MethodFilter::GET, handler).fallback(not_get)
}

async fn not_get(request: Request) -> Response {
    wrong_method(&request, "GET, HEAD")
}

/// Answers a request at an endpoint.
async fn open(
    state: &Arc<ServerState>,
    endpoint: &'static Endpoint,
    in_path: Option<String>,
    request: Request,
) -> Response {
    let mut note = AnswerNote::of(&request);
    let _ = note.endpoint.set(endpoint.id.as_str());
    let (parts, body) = request.into_parts();
    let outcome = match read(state, endpoint, in_path, parts, &mut note).await {
        Ok(incoming) => api::answer(state, endpoint, incoming, body, &mut note).await,
        Err(problem) => Err(problem),
    };
    let mut response = match outcome {
        Ok(response) => response,
        Err(problem) => {
            let problem = problem.reworded(|text| in_words_of(endpoint.id, text));
            let id = note.id.as_str();
            problem.log(id, endpoint.id.as_str());
            problem.response(id)
        }
    };
    response.extensions_mut().insert(note);
    response
}

/// A request as every endpoint reads it.
async fn read(
    state: &ServerState,
    endpoint: &'static Endpoint,
    in_path: Option<String>,
    parts: Parts,
    note: &mut AnswerNote,
) -> Result<EndpointRequest, Problem> {
    let caller = admit(state, endpoint, &parts.headers, note).await?;
    let values = ParameterValues::read(parts.uri.query(), endpoint.parameters)?;
    let in_path = match endpoint.in_path {
        None => String::new(),
        Some(parameter) => parameter.checked_in_path(in_path)?,
    };
    Ok(EndpointRequest {
        headers: parts.headers,
        values,
        in_path,
        caller,
    })
}

async fn unknown_path(request: Request) -> Response {
    no_such_path().response(&AnswerNote::of(&request).id)
}

fn healthz(_: &ServerState) -> Result<Response, Problem> {
    Ok(document("{\"status\":\"ok\"}\n", "application/json"))
}

fn readyz(state: &ServerState) -> Result<Response, Problem> {
    let newest = state.runs.readable()?;
    // Anybody may ask; where there are users, runs are for them.
    let text = match state.callers.users() {
        None => serde_json::json!({ "status": "ready", "run": newest.run }),
        Some(_) => serde_json::json!({ "status": "ready" }),
    };
    Ok(document(format!("{text}\n"), "application/json"))
}

/// Metrics. Sizes and times of answers tell of what was answered: where there are users, who sees some tenants or pipelines is refused.
async fn metrics(State(state): State<Arc<ServerState>>, request: Request) -> Response {
    let note = AnswerNote::of(&request);
    let _ = note.endpoint.set("metrics");
    let headers = request.headers().clone();
    let admitted = state.callers.admit(&headers, &state.tokens).await;
    let told = admitted.and_then(|caller| {
        if let Some(user) = &caller.user {
            let _ = note.who.set(user.name.clone());
        }
        caller.check_sees_all("metrics tell of the answers")
    });
    match told {
        Ok(()) => document(
            state.metrics.text(&state.gauges()),
            "text/plain; version=0.0.4; charset=utf-8",
        ),
        Err(problem) => problem.response(&note.id),
    }
}
