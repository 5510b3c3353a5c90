//! Requests on their way, and the redirects that they meet.
//!
//! Invariant: a redirect is followed within the origin only, never to a login that was not asked for, and never so that content gets lost.

use super::HttpClientInner;
use crate::origin;
use crate::refusal_cause;
use crate::request::{HttpRequest, Method};
use crate::retry::AttemptFailure;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderValue, LOCATION};
use std::sync::atomic::Ordering;
use tillhouse_model::{Error, Result};
use url::Url;

/// Redirects followed in a row, all to the same origin.
const REDIRECTS: usize = 5;

impl HttpClientInner {
    /// Sends a request, and follows where it is redirected within the origin. Any other redirect is the answer it is.
    pub(super) async fn ask(
        &self,
        request: &HttpRequest,
    ) -> Result<reqwest::Response, AttemptFailure> {
        let mut url = request.url.clone();
        for _ in 0..=REDIRECTS {
            let client = self.http.client().map_err(AttemptFailure::permanent)?;
            let mut builder = client.request(request.method.clone(), url);
            if !request.headers.contains_key(ACCEPT) {
                builder = builder.header(ACCEPT, HeaderValue::from_static("application/json"));
            }
            builder = builder.header(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
            builder = builder.headers(request.headers.clone());
            if let Some(body) = &request.body {
                builder = builder.body(body.clone());
            }
            let response = builder.send().await.map_err(|e| self.not_sent(&e))?;
            self.answers.fetch_add(1, Ordering::Relaxed);
            match self
                .redirect(request, &response)
                .map_err(AttemptFailure::permanent)?
            {
                Some(next) => url = next,
                None => return Ok(response),
            }
        }
        Err(AttemptFailure::permanent(Error::protocol(format!(
            "{} redirects in circles",
            self.base.origin()
        ))))
    }

    /// Target of a redirect within the origin. A POST that would become a GET is an error: what it carries would be lost.
    fn redirect(&self, request: &HttpRequest, response: &reqwest::Response) -> Result<Option<Url>> {
        let status = response.status();
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let Some(next) = location(response).filter(|next| origin::same(next, response.url()))
        else {
            return Ok(None);
        };
        // A login is no answer to what was asked with a token.
        if !request.logs_in
            && refusal_cause::is_login(&next)
            && !refusal_cause::is_login(&request.url)
        {
            return Ok(None);
        }
        if request.method == Method::GET || matches!(status.as_u16(), 307 | 308) {
            return Ok(Some(next));
        }
        let (method, to) = (&request.method, self.shown(&next));
        let error = Error::protocol(format!(
            "the server redirects this {method} to {to} with {status}, which would make it a GET without its content"
        ));
        let hint = match self.key {
            "base_url" => {
                format!(
                    "Change base_url and the paths in the pipeline's connection, so that they lead to {to}."
                )
            }
            key => format!("Set {key} to {to}."),
        };
        Err(error.at("status", status.as_str()).hint(hint))
    }
}

/// The address in a response's `Location`.
pub(super) fn location(response: &reqwest::Response) -> Option<Url> {
    response
        .url()
        .join(response.headers().get(LOCATION)?.to_str().ok()?)
        .ok()
}
