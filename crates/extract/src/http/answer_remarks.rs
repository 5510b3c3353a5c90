//! Remarks of a server on what it gives: that it is a part, that something failed beside it, that there is nothing.
//!
//! Invariant: what a server writes is shown scrubbed, and records are never looked into.

use super::{EXPLANATION, HttpClientInner};
use crate::envelope_error::{self, EnvelopeError, PageRemark};
use crate::paging;
use crate::redact;
use crate::request::{HttpOutcome, HttpRefusal, HttpRequest, StatusCode, range_total};
use crate::retry::AttemptFailure;
use bytes::Bytes;
use reqwest::header::HeaderMap;
use std::sync::atomic::Ordering;
use tillhouse_model::{Error, Result};

/// The statement of a page without records against itself. A mere message beside the total of a listing is a note: a banner on every page, mostly,
/// and a total that was not reached tells of anything else.
pub(super) fn complaint(
    request: &HttpRequest,
    bytes: &[u8],
    records_at: &[&str],
) -> Option<EnvelopeError> {
    let complaint = paging::complaint(bytes, records_at)?;
    let is_note = complaint == EnvelopeError::Remark
        && paging::is_empty(bytes, records_at)
        && request.is_counted(bytes)
        && !envelope_error::names_an_error(bytes);
    Some(match is_note {
        true => EnvelopeError::Note,
        false => complaint,
    })
}

impl HttpClientInner {
    /// The error of a list's part (206) without records; a warning about one with records, whose end is none.
    pub(super) fn judge_part(
        &self,
        request: &HttpRequest,
        headers: &HeaderMap,
        bytes: &[u8],
    ) -> Option<AttemptFailure> {
        let status = StatusCode::PARTIAL_CONTENT;
        let records_at = request.lists?;
        if paging::is_empty(bytes, records_at) {
            let words = self
                .redactor(request)
                .provider_message(&bytes[..bytes.len().min(EXPLANATION)]);
            let said = words.map(|words| format!(": {words}")).unwrap_or_default();
            let error = Error::protocol(format!(
                "the server answered {status} without records, which is no whole answer{said}"
            ));
            return Some(AttemptFailure::transient(error.hint(
                "Run `tillhouse sync` again later; if it stays so, ask the provider.",
            )));
        }
        tracing::warn!(
            source = self.source,
            resource = &*request.resource,
            url = redact::redact_url(&request.url),
            total = range_total(status, headers),
            "the server answered {status}: it says itself that these records are not all"
        );
        None
    }

    /// Outcome of a success with records that may not be all, by what stands beside them. Its error may pass.
    pub(super) fn partly_failed(
        &self,
        request: &HttpRequest,
        status: StatusCode,
        said: PageRemark,
    ) -> Result<HttpOutcome> {
        let message = self.redactor(request).provider_message(&said.envelope);
        let refusal = HttpRefusal {
            message,
            body: said.envelope,
            ..self.refusal(request, status)
        };
        if refusal.names_token() {
            return Ok(HttpOutcome::Refused(refusal));
        }
        Err(PageRemark::error(status, refusal.message.as_deref()))
    }

    /// Warns, once a client, of what a server says beside its records.
    pub(super) fn warn_beside_records(&self, request: &HttpRequest, said: &PageRemark) {
        if self.shared.warned.swap(true, Ordering::Relaxed) {
            return;
        }
        let words = self.redactor(request).words(&said.envelope);
        tracing::warn!(
            source = self.source,
            resource = &*request.resource,
            url = redact::redact_url(&request.url),
            "the server warns beside its records: {}; they are taken as they are, and it is not told again",
            words.as_deref().unwrap_or("nothing that can be shown"),
        );
    }

    /// The answer to a refusal that the connection knows to mean that there is nothing: a page without records.
    pub(super) fn said_nothing(
        &self,
        request: &HttpRequest,
        refusal: &HttpRefusal,
    ) -> Option<Bytes> {
        let records_at = request.lists?;
        let waits = matches!(refusal.status.as_u16(), 407 | 408 | 425 | 429 | 503);
        let known = &self.limits.empty_messages;
        (!waits
            && !refusal.status.is_redirection()
            && !refusal.blames_token()
            && envelope_error::says_only(known, &refusal.body))
        .then(|| paging::normalise_empty(Bytes::new(), records_at))
    }
}
