//! Transactions by window: a partner's by the time of creation, or those of the newer list by the time of last change.
//!
//! Invariant: every request says the whole window, the page's number and its size, and so does the next; the server's links lead nowhere.

use crate::connection::{CHANGES, LARGEST_PAGE, PaceFilters, RESOURCES, SOURCE};
use crate::error_document::refusal_error;
use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tillhouse_extract::envelope::{self, EnvelopeValue};
use tillhouse_extract::paging::{
    self, FetchOutcome, NextPage, NumberedPage, PageNumbering, PagePosition,
};
use tillhouse_extract::{
    ACCEPT, AuthorizedClient, CONTENT_TYPE, ClientStats, HeaderValue, HttpOutcome, HttpRequest,
    HttpResponse, Page, PageStream, PathTemplate, Source, check_page, failed_stream, find_resource,
    overlapping_window, redact_url,
};
use tillhouse_model::{Error, ReadBy, Resource, Result, Slice, Window};

const TRANSACTIONS: &Resource = &RESOURCES[0];
/// JSON:API's.
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.api+json");
/// Neighbouring slices of a partner overlap by this much, since the document does not say whether a window's ends belong to it.
const OVERLAP: SignedDuration = SignedDuration::from_secs(1);
/// The least that a window can be longer.
const INSTANT: SignedDuration = SignedDuration::from_micros(1);

/// List that is read: a partner's, or that of what changed.
#[derive(Debug)]
pub(crate) enum PaceListEndpoint {
    /// A partner's list.
    Partner { route: PathTemplate },
    /// The list of what changed.
    Changes { path: String, filters: PaceFilters },
}

/// Source of one PACE client and the partners read with it.
#[derive(Debug)]
pub(crate) struct PaceSource {
    api: AuthorizedClient,
    partners: Vec<String>,
    question: PaceListEndpoint,
}

impl PaceSource {
    pub(crate) fn new(
        api: AuthorizedClient,
        partners: Vec<String>,
        question: PaceListEndpoint,
    ) -> Self {
        Self {
            api,
            partners,
            question,
        }
    }

    /// The partners that are asked for one by one; `[None]` where one question answers for all.
    fn tenants(&self) -> Vec<Option<String>> {
        if self.partners.is_empty() {
            vec![None]
        } else {
            self.partners.iter().cloned().map(Some).collect()
        }
    }

    /// A window as it is asked for.
    fn asked(&self, window: &Window) -> Window {
        match self.question {
            PaceListEndpoint::Partner { .. } => window.in_seconds().extended_by(OVERLAP),
            PaceListEndpoint::Changes { .. } => overlapping_window(*window),
        }
    }

    /// The request for a window, without the page.
    fn window(&self, partner: Option<&str>, window: &Window) -> Result<HttpRequest> {
        let (window, client) = (self.asked(window), self.api.client());
        match (&self.question, partner) {
            (PaceListEndpoint::Partner { route }, Some(partner)) => Ok(HttpRequest::get(
                TRANSACTIONS.name,
                client.url(&route.expand(partner)?)?,
            )
            .query("date_from", &window.from().to_string())
            .query("date_to", &window.to().to_string())),
            (PaceListEndpoint::Partner { .. }, None) => {
                Err(Error::config("PACE is asked partner by partner"))
            }
            (PaceListEndpoint::Changes { path, filters }, partner) => {
                let request = HttpRequest::get(TRANSACTIONS.name, client.url(path)?)
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

    fn list(
        &self,
        partner: Option<&str>,
        window: &Window,
        size: u32,
    ) -> Result<PaceTransactionList> {
        let request = self.window(partner, window)?;
        // Both, since PACE answers 406 for the one and 415 for the other.
        let request = request
            .header(ACCEPT, MEDIA_TYPE)
            .header(CONTENT_TYPE, MEDIA_TYPE)
            .expecting_records_at(TRANSACTIONS.records_at)
            .counted_at(&["meta", "count"]);
        Ok(PaceTransactionList {
            api: self.api.clone(),
            partner: partner.map(Arc::from),
            request,
            size,
        })
    }
}

/// One query of a transaction list, read page by page.
#[derive(Debug, Clone)]
struct PaceTransactionList {
    api: AuthorizedClient,
    partner: Option<Arc<str>>,
    request: HttpRequest,
    size: u32,
}

impl PaceTransactionList {
    async fn page(self, place: PagePosition) -> Result<FetchOutcome<NumberedPage>> {
        let request = self
            .request
            .clone()
            .query("page[number]", &place.index.to_string())
            .query("page[size]", &place.size.unwrap_or(self.size).to_string());
        let (answer, redactor) = (self.api.send(&request).await?, self.api.client().redactor());
        let explained = |refusal| refusal_error(refusal, self.partner.as_deref(), redactor);
        let response = match answer {
            HttpOutcome::Success(response) => response,
            HttpOutcome::Refused(refusal) if refusal.is_past_the_end() => {
                return Ok(FetchOutcome::Missing(refusal.explained(explained)));
            }
            HttpOutcome::Refused(refusal) => return Err(explained(refusal)),
        };
        let (of_range, is_part) = (response.range_total(), response.is_part());
        let HttpResponse {
            bytes,
            requested_at,
            url,
            ..
        } = response;
        let bytes = paging::normalise_empty(bytes, TRANSACTIONS.records_at);
        let PacePageSummary {
            declared_total,
            records,
            next,
        } = read(&bytes).map_err(|e| e.at("source", SOURCE).at("url", redact_url(&url)))?;
        let page = Page {
            bytes,
            declared_total: declared_total.max(of_range),
            requested_at,
            scope: self.partner,
            restarts_listing: false,
            is_reread: false,
            remarks: Vec::new(),
        };
        Ok(NumberedPage {
            page,
            records,
            url,
            next: if is_part { NextPage::ByNumber } else { next },
        }
        .into())
    }
}

/// Declared total, record identities and next link of a page.
struct PacePageSummary {
    declared_total: Option<u64>,
    /// Identities of its transactions.
    records: Vec<u64>,
    next: NextPage,
}

fn read(page: &[u8]) -> Result<PacePageSummary> {
    // Only whether there is a link: JSON:API has them, PACE's document does not say so.
    let [count, next] = envelope::read(page, &[&["meta", "count"], &["links", "next"]])?;
    let linked = match next {
        Some(EnvelopeValue::Nested) => true,
        next => next.as_ref().and_then(EnvelopeValue::as_text).is_some(),
    };
    Ok(PacePageSummary {
        declared_total: count.and_then(|count| count.as_u64()),
        records: envelope::identities(page, TRANSACTIONS.records_at, "id")?,
        next: if linked {
            NextPage::ByNumber
        } else {
            NextPage::Unknown
        },
    })
}

#[async_trait]
impl Source for PaceSource {
    fn name(&self) -> &'static str {
        SOURCE
    }

    fn resources(&self) -> &'static [Resource] {
        match self.question {
            PaceListEndpoint::Partner { .. } => RESOURCES,
            PaceListEndpoint::Changes { .. } => CHANGES,
        }
    }

    async fn check(&self) -> Result<()> {
        self.api.log_in().await?;
        let now = Timestamp::now();
        let window = Window::new(
            now.checked_sub(SignedDuration::from_mins(1))
                .unwrap_or(Timestamp::MIN),
            now,
        )?;
        let size = self
            .api
            .client()
            .listing_options(TRANSACTIONS)
            .page_size
            .min(LARGEST_PAGE);
        for partner in self.tenants() {
            let page = check_page(size, async |limit| {
                let list = self.list(partner.as_deref(), &window, limit)?;
                match list
                    .page(PagePosition {
                        index: 0,
                        size: None,
                        link: None,
                    })
                    .await?
                {
                    FetchOutcome::Page(page) => Ok(page),
                    FetchOutcome::Missing(error) => Err(error),
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

    async fn log_in(&self) -> Result<()> {
        self.api.log_in().await
    }

    async fn tenants(&self, resource: &str) -> Result<Vec<Option<String>>> {
        find_resource("PACE", RESOURCES, resource)?;
        Ok(self.tenants())
    }

    fn asks(&self, slice: &Slice, _by: ReadBy) -> Window {
        // The end may be meant.
        self.asked(&slice.window).extended_by(INSTANT)
    }

    fn pages(&self, slice: &Slice) -> PageStream {
        let listing = self.api.client().listing_options(TRANSACTIONS);
        let size = listing.page_size.min(LARGEST_PAGE);
        let list = find_resource("PACE", RESOURCES, &slice.resource)
            .and_then(|_| self.list(slice.tenant.as_deref(), &slice.window, size));
        match list {
            Err(error) => failed_stream(error),
            // The document says that pages are counted from 0.
            Ok(list) => paging::by_page(PageNumbering::known(), listing, move |place| {
                list.clone().page(place)
            }),
        }
    }

    fn stats(&self) -> ClientStats {
        self.api.stats()
    }
}
