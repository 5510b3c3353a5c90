//! Transactions by window: a partner's by the time of creation, or those of the newer list by the time of last change.
//!
//! Invariant: every request says the whole window, the page's number and its size, and so does the next; the server's links lead nowhere.

use crate::connection::{CHANGES, Filters, LARGEST_PAGE, RESOURCES, SOURCE};
use crate::problem::explained;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tillhouse_extract::envelope::{self, Scalar};
use tillhouse_extract::http::Stats;
use tillhouse_extract::paging::{self, Fetched, Next, NumberedPage, Numbering, Place};
use tillhouse_extract::request::{ACCEPT, CONTENT_TYPE, HeaderValue};
use tillhouse_extract::source::{check_page, failed, known};
use tillhouse_extract::{Answer, AuthorizedClient, Page, PageStream, Request, Response, Route, Source, redact};
use tillhouse_model::{Error, Resource, Result, Slice, Window};

const TRANSACTIONS: &Resource = &RESOURCES[0];
/// JSON:API's.
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.api+json");
/// Neighbouring slices of a partner overlap by this much, since the document does not say whether a window's ends belong to it.
const OVERLAP: SignedDuration = SignedDuration::from_secs(1);

/// What is asked.
#[derive(Debug)]
pub(crate) enum Question {
    /// A partner's list.
    Partner { route: Route },
    /// The list of what changed.
    Changes { path: String, filters: Filters },
}

/// One PACE client, and the partners that are read with it.
#[derive(Debug)]
pub(crate) struct Pace {
    api: AuthorizedClient,
    partners: Vec<String>,
    question: Question,
}

impl Pace {
    pub(crate) fn new(api: AuthorizedClient, partners: Vec<String>, question: Question) -> Self {
        Self { api, partners, question }
    }

    /// The partners that are asked for one by one; `[None]` where one question answers for all.
    fn tenants(&self) -> Vec<Option<String>> {
        if self.partners.is_empty() { vec![None] } else { self.partners.iter().cloned().map(Some).collect() }
    }

    /// The request for a window, without the page.
    fn window(&self, partner: Option<&str>, window: &Window) -> Result<Request> {
        let (window, client) = (window.in_seconds(), self.api.client());
        match (&self.question, partner) {
            (Question::Partner { route }, Some(partner)) => {
                let window = window.longer_by(OVERLAP);
                Ok(Request::get(TRANSACTIONS.name, client.url(&route.to(partner)?)?)
                    .query("date_from", &window.from().to_string())
                    .query("date_to", &window.to().to_string()))
            }
            (Question::Partner { .. }, None) => Err(Error::config("PACE is asked partner by partner")),
            (Question::Changes { path, filters }, partner) => {
                let request = Request::get(TRANSACTIONS.name, client.url(path)?)
                    .query(&filters.from, &window.from().to_string())
                    .query(&filters.to, &window.to().to_string())
                    .query("sort", "id");
                Ok(match (&filters.partner, partner) {
                    (Some(parameter), Some(partner)) => request.query(parameter, partner),
                    _ => request,
                })
            }
        }
    }

    fn list(&self, partner: Option<&str>, window: &Window, size: u32) -> Result<List> {
        let request = self.window(partner, window)?;
        // Both, since PACE answers 406 for the one and 415 for the other.
        let request =
            request.header(ACCEPT, MEDIA_TYPE).header(CONTENT_TYPE, MEDIA_TYPE).lists(TRANSACTIONS.records_at);
        Ok(List { api: self.api.clone(), partner: partner.map(Arc::from), request, size })
    }
}

/// One question, page by page.
#[derive(Debug, Clone)]
struct List {
    api: AuthorizedClient,
    partner: Option<Arc<str>>,
    request: Request,
    size: u32,
}

impl List {
    async fn page(self, place: Place) -> Result<Fetched<NumberedPage>> {
        let request = self
            .request
            .clone()
            .query("page[number]", &place.index.to_string())
            .query("page[size]", &self.size.to_string());
        let (answer, redactor) = (self.api.send(&request).await?, self.api.client().redactor());
        let explained = |refusal| explained(refusal, self.partner.as_deref(), redactor);
        let Response { bytes, requested_at, url, .. } = match answer {
            Answer::Success(response) => response,
            Answer::Refused(refusal) if refusal.is_past_the_end() => return Ok(Fetched::Missing(explained(refusal))),
            Answer::Refused(refusal) => return Err(explained(refusal)),
        };
        let bytes = paging::or_empty(bytes, TRANSACTIONS.records_at);
        let Read { declared_total, records, next } =
            read(&bytes).map_err(|e| e.at("source", SOURCE).at("url", redact::url(&url)))?;
        let page = Page { bytes, declared_total, requested_at, scope: self.partner, anew: false, again: false };
        Ok(NumberedPage { page, records, url, next }.into())
    }
}

/// What of a page is looked at.
struct Read {
    declared_total: Option<u64>,
    /// What identifies its transactions.
    records: Vec<u64>,
    next: Next,
}

fn read(page: &[u8]) -> Result<Read> {
    // Only whether there is a link: JSON:API has them, PACE's document does not say so.
    let [count, next] = envelope::read(page, &[&["meta", "count"], &["links", "next"]])?;
    let linked = match next {
        Some(Scalar::Nested) => true,
        next => next.as_ref().and_then(Scalar::as_text).is_some(),
    };
    Ok(Read {
        declared_total: count.and_then(|count| count.as_u64()),
        records: envelope::identities(page, TRANSACTIONS.records_at, "id")?,
        next: if linked { Next::There } else { Next::Unsaid },
    })
}

#[async_trait]
impl Source for Pace {
    fn name(&self) -> &'static str {
        SOURCE
    }

    fn resources(&self) -> &'static [Resource] {
        match self.question {
            Question::Partner { .. } => RESOURCES,
            Question::Changes { .. } => CHANGES,
        }
    }

    async fn check(&self) -> Result<()> {
        self.api.log_in().await?;
        let now = Timestamp::now();
        let window = Window::new(now.checked_sub(SignedDuration::from_mins(1)).unwrap_or(Timestamp::MIN), now)?;
        let size = self.api.client().listing(TRANSACTIONS).page_size.min(LARGEST_PAGE);
        for partner in self.tenants() {
            let page = check_page(size, async |limit| {
                let list = self.list(partner.as_deref(), &window, limit)?;
                match list.page(Place { index: 0, link: None }).await? {
                    Fetched::Page(page) => Ok(page),
                    Fetched::Missing(error) => Err(error),
                }
            });
            let page = page.await?;
            if page.page.declared_total.is_none() {
                return Err(Error::protocol("the list of transactions declares no meta.count")
                    .hint("Check connection.api and connection.paths: something else may be answering there."));
            }
        }
        Ok(())
    }

    async fn tenants(&self, resource: &str) -> Result<Vec<Option<String>>> {
        known("PACE", RESOURCES, resource)?;
        Ok(self.tenants())
    }

    fn pages(&self, slice: &Slice) -> PageStream {
        let listing = self.api.client().listing(TRANSACTIONS);
        let size = listing.page_size.min(LARGEST_PAGE);
        let list = known("PACE", RESOURCES, &slice.resource)
            .and_then(|_| self.list(slice.tenant.as_deref(), &slice.window, size));
        match list {
            Err(error) => failed(error),
            // The document says that pages are counted from 0.
            Ok(list) => paging::by_page(Numbering::known(), listing, move |place| list.clone().page(place)),
        }
    }

    fn stats(&self) -> Stats {
        self.api.stats()
    }
}
