//! Sessions of browsers: how somebody comes in by name and password, stays in by a cookie, and leaves.
//!
//! Invariant: the cookie holds 256 random bits and nothing else, is never seen by a script, is sent by pages of this server alone, and is good for pages only: no endpoint of the API
//! takes it. A session ends by its time, with its user's password or rights, with the process, and by logging out. What a form of another server sends is refused.

use super::{HTML, language, redirect, sealed};
use crate::answer::{AnswerNote, document, set};
use crate::api::{body_bytes, media_type};
use crate::callers::Caller;
use crate::problem::{Problem, ProblemPage};
use crate::state::{SESSION, ServerState};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;
use tillhouse_page::Language;
use tillhouse_page::dashboard::{LOGIN_PATH, LoginPage};
use url::form_urlencoded;

/// Media type of a form.
const FORM: &str = "application/x-www-form-urlencoded";

/// Name of the cookie. The prefix keeps others of the same host from setting it, and asks for TLS.
fn cookie_name(state: &ServerState) -> &'static str {
    match state.options.tls {
        Some(_) => "__Host-tillhouse",
        None => "tillhouse",
    }
}

/// Caller of a page, by its cookie or as callers of endpoints are known; and whether there is a session that can be ended.
///
/// Errors with 401 where there are users and it is none of them.
pub(super) async fn admit(
    state: &ServerState,
    headers: &HeaderMap,
    note: &mut AnswerNote,
) -> Result<(Caller, bool), Problem> {
    let is_told = headers.contains_key(header::AUTHORIZATION);
    let caller = match is_told {
        true => state.callers.admit(headers, &state.tokens).await?,
        false => {
            let token = cookie(headers, cookie_name(state));
            let owner = token.and_then(|token| state.sessions.owner_of(token, Instant::now()));
            state.callers.admit_session(owner.as_ref())?
        }
    };
    if let Some(user) = &caller.user {
        let _ = note.who.set(user.name.clone());
    }
    let has_session = caller.user.is_some() && !is_told;
    Ok((caller, has_session))
}

/// The value of a cookie.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

/// Sets the cookie for so many seconds; none end it.
fn set_cookie(state: &ServerState, response: &mut Response, token: &str, seconds: u64) {
    let secure = match state.options.tls {
        Some(_) => "; Secure",
        None => "",
    };
    let name = cookie_name(state);
    let cookie =
        format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}");
    set(response.headers_mut(), header::SET_COOKIE, &cookie);
}

/// The page to log in at; the way on where nobody has to.
pub(super) fn login_page(state: &ServerState, parts: &Parts) -> Response {
    let query = parts.uri.query().unwrap_or_default();
    let mut given = form_urlencoded::parse(query.as_bytes());
    let next = given.find(|(name, _)| name == "next");
    let next = next.map(|(_, next)| next.into_owned()).unwrap_or_default();
    if state.callers.users().is_none() {
        return redirect(LoginPage::way_on(&next));
    }
    let page = LoginPage {
        language: language(parts),
        next,
        ..LoginPage::default()
    };
    document(page.html(), HTML)
}

/// Fields of the form.
struct LoginForm(HashMap<String, String>);

impl LoginForm {
    async fn read(state: &ServerState, request: Request) -> Result<Self, Problem> {
        check_origin(request.headers())?;
        let (parts, body) = request.into_parts();
        if !media_type(&parts.headers).eq_ignore_ascii_case(FORM) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body has to be a form",
            ));
        }
        let bytes = body_bytes(state, &parts.headers, body).await?;
        Ok(Self(form_urlencoded::parse(&bytes).into_owned().collect()))
    }

    fn field(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }
}

/// Begins a session for a name and a password.
pub(super) async fn log_in(State(state): State<Arc<ServerState>>, request: Request) -> Response {
    let note = AnswerNote::of(&request);
    let _ = note.endpoint.set("page_login");
    let form = LoginForm::read(&state, request).await;
    let mut response = match form {
        Ok(form) => begin(&state, &form, &note).await,
        Err(problem) => {
            problem.log(&note.id, "page_login");
            problem.response(&note.id)
        }
    };
    response = sealed(response);
    response.extensions_mut().insert(note);
    response
}

async fn begin(state: &ServerState, form: &LoginForm, note: &AnswerNote) -> Response {
    let way_on = LoginPage::way_on(form.field("next"));
    let Some(users) = state.callers.users() else {
        return redirect(way_on);
    };
    let (name, password) = (form.field("name"), form.field("password"));
    match state.callers.log_in(&users, name, password).await {
        Ok(owner) => {
            let _ = note.who.set(owner.name.clone());
            let pair = state.sessions.give(Instant::now(), owner);
            let mut response = redirect(way_on);
            set_cookie(state, &mut response, &pair.access, SESSION.as_secs());
            response
        }
        Err(problem) => {
            problem.log(&note.id, "page_login");
            refused(&problem, form)
        }
    }
}

/// The page to log in at once more.
fn refused(problem: &Problem, form: &LoginForm) -> Response {
    let page = LoginPage {
        language: Language::named(form.field("lang")).unwrap_or_default(),
        next: form.field("next").to_owned(),
        name: form.field("name").to_owned(),
        refused: Some(problem.status.as_u16()),
    };
    let mut response = document(page.html(), HTML);
    *response.status_mut() = problem.status;
    response.extensions_mut().insert(ProblemPage);
    response
}

/// Ends a session.
pub(super) async fn log_out(State(state): State<Arc<ServerState>>, request: Request) -> Response {
    let note = AnswerNote::of(&request);
    let _ = note.endpoint.set("page_logout");
    let mut response = match check_origin(request.headers()) {
        Ok(()) => {
            if let Some(token) = cookie(request.headers(), cookie_name(&state)) {
                state.sessions.end(token);
            }
            let mut response = redirect(LOGIN_PATH);
            set_cookie(&state, &mut response, "", 0);
            response
        }
        Err(problem) => problem.response(&note.id),
    };
    response = sealed(response);
    response.extensions_mut().insert(note);
    response
}

/// Errors with 403 where a form of another server is sent here: a browser says so, by one of two headers.
fn check_origin(headers: &HeaderMap) -> Result<(), Problem> {
    let told = |name: &str| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    let is_own = match (told("sec-fetch-site"), told("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let host = origin.split_once("://").map(|(_, host)| host);
            host.is_some() && host == told("host")
        }
        (None, None) => true,
    };
    match is_own {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "the form is of another server",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        pairs.collect()
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let sent = headers(&[("cookie", "a=1; xtillhouse=2;tillhouse=3; tillhouse=4")]);
        assert_eq!(cookie(&sent, "tillhouse"), Some("3"));
        assert_eq!(cookie(&sent, "till"), None);
        assert_eq!(cookie(&HeaderMap::new(), "tillhouse"), None);
    }

    #[test]
    fn forms_of_other_servers_are_refused() {
        for (sent, is_own) in [
            (headers(&[]), true),
            (headers(&[("sec-fetch-site", "same-origin")]), true),
            (headers(&[("sec-fetch-site", "none")]), true),
            (headers(&[("sec-fetch-site", "same-site")]), false),
            (headers(&[("sec-fetch-site", "cross-site")]), false),
            (
                headers(&[("origin", "http://127.0.0.1:1"), ("host", "127.0.0.1:1")]),
                true,
            ),
            (
                headers(&[("origin", "http://127.0.0.1:2"), ("host", "127.0.0.1:1")]),
                false,
            ),
            (headers(&[("origin", "null"), ("host", "a")]), false),
            (headers(&[("origin", "null")]), false),
        ] {
            assert_eq!(check_origin(&sent).is_ok(), is_own, "{sent:?}");
        }
    }
}
