//! Transactions by window and by id.
//!
//! Invariant: the pages of a window start at offset 0 and each begins where the one before ended, whatever size the server
//! gives them; every request says the whole window and the sort anew.

use crate::connection::{RESOURCES, SOURCE};
use crate::statistics;
use async_trait::async_trait;
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tillhouse_extract::envelope::{self, EnvelopeValue};
use tillhouse_extract::paging::{self, FetchOutcome, OffsetPage, PageOffset};
use tillhouse_extract::{
    AuthorizedClient, ClientStats, HttpOutcome, HttpRefusal, HttpRequest, HttpResponse, Page,
    PageStream, PathTemplate, RecordEndpoint, RecordLookup, ServerClaim, Source, check_page,
    failed_stream, find_resource, record_pages, redact_url,
};
use tillhouse_model::reconcile::{ProviderFigures, ReconcileAgainst};
use tillhouse_model::{Error, Filter, ReadBy, Resource, Result, Slice, Window};
use tokio_util::task::AbortOnDropHandle;
use url::Url;

const TRANSACTIONS: &str = RESOURCES[0].name;
/// Key of a transaction's id.
const ID: &str = "id";
/// Neighbouring slices overlap by this much, since the document does not say whether a window's ends belong to it.
const OVERLAP: SignedDuration = SignedDuration::from_secs(1);
/// The least that a window can be longer.
const INSTANT: SignedDuration = SignedDuration::from_micros(1);
/// A page of so many bytes is counted in no time; one whose records went missing is such a page.
const SMALL: usize = 64 << 10;

/// Source of one HecOne login.
#[derive(Debug)]
pub(crate) struct HecOneSource {
    pub(crate) api: AuthorizedClient,
    pub(crate) list: Url,
    /// The path of one transaction.
    pub(crate) one: PathTemplate,
    /// True if any was ever found there.
    pub(crate) singles: Arc<RecordEndpoint>,
    pub(crate) statistics: Url,
    /// The query parameter that carries a filter for the statistics.
    pub(crate) filter_parameter: String,
    /// The claim that `meta.size` counts a page's records. A page that it counted right once spares us counting the others, which would read
    /// every byte of them twice.
    pub(crate) sizes: Arc<ServerClaim>,
}

impl HecOneSource {
    /// The request for a page of a window.
    fn page_of(&self, window: &Window) -> impl Fn(PageOffset) -> HttpRequest + Send + 'static {
        let window = asked(window);
        let base = HttpRequest::get(TRANSACTIONS, self.list.clone())
            .query("start_date", &window.from().to_string())
            .query("end_date", &window.to().to_string())
            .query("sort", "id")
            .expecting_records_at(RESOURCES[0].records_at)
            .counted_at(&["meta", "total"]);
        move |at| {
            base.clone()
                .query("page[offset]", &at.offset.to_string())
                .query("page[limit]", &at.limit.to_string())
        }
    }

    /// The request for one transaction. Errors with [`tillhouse_model::ErrorKind::Data`] for an id that is no name.
    fn one_of(&self, id: &str) -> Result<HttpRequest> {
        let url = self.api.client().url(&self.one.expand(id)?)?;
        Ok(HttpRequest::get(TRANSACTIONS, url)
            .query("additional_info", "true")
            .expecting_records_at(RESOURCES[0].records_at))
    }
}

#[async_trait]
impl Source for HecOneSource {
    fn name(&self) -> &'static str {
        SOURCE
    }

    fn resources(&self) -> &'static [Resource] {
        RESOURCES
    }

    async fn check(&self) -> Result<()> {
        self.api.log_in().await?;
        let now = Timestamp::now();
        let minute = now
            .checked_sub(SignedDuration::from_mins(1))
            .unwrap_or(Timestamp::MIN);
        let request = self.page_of(&Window::new(minute, now)?);
        let page = check_page(
            self.api.client().listing_options(&RESOURCES[0]).page_size,
            async |limit| {
                let at = PageOffset { offset: 0, limit };
                let answer = self.api.send(&request(at)).await?;
                match listed(answer, at, &ServerClaim::default())? {
                    FetchOutcome::Page(page) => Ok(page),
                    FetchOutcome::Missing(error) => Err(error),
                }
            },
        );
        let page = page.await?;
        if page.page.declared_total.is_none() {
            return Err(
                Error::protocol("the list of transactions declares no meta.total").hint(
                    "Check connection.paths.transactions: something else may be answering there.",
                ),
            );
        }
        Ok(())
    }

    async fn log_in(&self) -> Result<()> {
        self.api.log_in().await
    }

    async fn tenants(&self, resource: &str) -> Result<Vec<Option<String>>> {
        find_resource("HecOne", RESOURCES, resource).map(|_| vec![None])
    }

    fn asks(&self, slice: &Slice, _by: ReadBy) -> Window {
        // The end may be meant.
        asked(&slice.window).extended_by(INSTANT)
    }

    fn pages(&self, slice: &Slice) -> PageStream {
        if let Err(error) = find_resource("HecOne", RESOURCES, &slice.resource) {
            return failed_stream(error);
        }
        let request = self.page_of(&slice.window);
        let api = self.api.clone();
        let listing = api.client().listing_options(&RESOURCES[0]);
        let sizes = self.sizes.clone();
        paging::by_offset(listing.page_size, listing, move |at| {
            let (api, request, sizes) = (api.clone(), request(at), sizes.clone());
            async move { listed(api.send(&request).await?, at, &sizes) }
        })
    }

    fn pages_by_id(&self, resource: &str, ids: Vec<String>) -> PageStream {
        if let Err(error) = find_resource("HecOne", RESOURCES, resource) {
            return failed_stream(error);
        }
        let requests: Vec<(String, Result<HttpRequest>)> =
            ids.iter().map(|id| (id.clone(), self.one_of(id))).collect();
        let api = self.api.clone();
        let concurrency = api.client().limits().concurrency;
        let outcomes = stream::iter(requests).map(move |(id, request)| {
            let api = api.clone();
            // A task each, so that requests go on while the consumer is busy; dropping the stream aborts them.
            let asked = id.clone();
            let task = AbortOnDropHandle::new(tokio::spawn(async move {
                match request {
                    Ok(request) => one(&api, &asked, request).await,
                    Err(error) => RecordLookup::InvalidId(error),
                }
            }));
            let died =
                || RecordLookup::Failed(Error::internal("the task that reads a record died"));
            async move { (id, task.await.unwrap_or_else(|_| died())) }
        });
        record_pages(
            Arc::clone(&self.singles),
            ids,
            outcomes.buffered(concurrency),
        )
    }

    fn reconcile_against(&self) -> ReconcileAgainst {
        ReconcileAgainst::Statistics
    }

    async fn provider_figures(
        &self,
        tenant: Option<&str>,
        window: Window,
        filter: Option<&Filter>,
    ) -> Result<ProviderFigures> {
        let mandator = tenant.ok_or_else(|| {
            Error::data("HecOne's statistics are a mandator's, and these transactions name none")
                .hint("Look for transactions without tenant_id in unified.transactions.")
        })?;
        let filter = filter.map(|filter| (self.filter_parameter.as_str(), filter));
        statistics::fetch_statistics(&self.api, &self.statistics, mandator, window, filter).await
    }

    fn stats(&self) -> ClientStats {
        self.api.stats()
    }
}

/// A window as it is asked for.
fn asked(window: &Window) -> Window {
    window.in_seconds().extended_by(OVERLAP)
}

/// One transaction by id, as a page of the list.
async fn one(api: &AuthorizedClient, id: &str, request: HttpRequest) -> RecordLookup {
    let HttpResponse {
        bytes,
        requested_at,
        url,
        ..
    } = match api.send(&request).await {
        Ok(HttpOutcome::Success(response)) => response,
        Ok(HttpOutcome::Refused(refusal)) if refusal.is_gone() => return RecordLookup::NotFound,
        Ok(HttpOutcome::Refused(refusal)) if refusal.is_about_the_question() => {
            return RecordLookup::Refused(refused(refusal));
        }
        Ok(HttpOutcome::Refused(refusal)) => return RecordLookup::Failed(refused(refusal)),
        Err(error) => return RecordLookup::Failed(error),
    };
    // "Nothing" is no record, and no damaged page.
    let bytes = paging::normalise_empty(bytes, RESOURCES[0].records_at);
    let records = match envelope::records(&bytes, RESOURCES[0].records_at, ID) {
        Ok(records) => records,
        Err(error) => {
            return RecordLookup::Failed(error.at("source", SOURCE).at("url", redact_url(&url)));
        }
    };
    let (ours, strangers): (Vec<&[u8]>, Vec<&[u8]>) = records
        .into_iter()
        .partition(|record| envelope::has(record, ID, id));
    if !strangers.is_empty() {
        tracing::warn!(
            source = SOURCE,
            url = redact_url(&url),
            strangers = strangers.len(),
            "an answer by id holds records of other ids, or of none; they are left out: check connection.paths.transaction"
        );
    }
    if ours.is_empty() {
        return RecordLookup::NotFound;
    }
    RecordLookup::Found(Page {
        bytes: [&b"{\"data\":["[..], &ours.join(&b","[..]), b"]}"]
            .concat()
            .into(),
        declared_total: None,
        requested_at,
        scope: None,
        restarts_listing: false,
        is_reread: false,
        remarks: Vec::new(),
    })
}

/// A page of the list, with what its envelope says. `sizes` is whether `meta.size` was right so far.
///
/// Counting walks the whole page, which costs as much as a tenth of decoding it. So of large pages the records of one are counted, and
/// later only where `meta.size` proved wrong, or is not what must be left; what the decoder finds is compared with the total once more. For the link to a next page only what may be the last one is looked into.
fn listed(
    answer: HttpOutcome,
    at: PageOffset,
    sizes: &ServerClaim,
) -> Result<FetchOutcome<OffsetPage>> {
    let response = match answer {
        HttpOutcome::Success(response) => response,
        HttpOutcome::Refused(refusal) if refusal.is_past_the_end() => {
            return Ok(FetchOutcome::Missing(refusal.explained(refused)));
        }
        HttpOutcome::Refused(refusal) => return Err(refused(refusal)),
    };
    let (of_range, is_part) = (response.range_total(), response.is_part());
    let HttpResponse {
        bytes,
        requested_at,
        url,
        ..
    } = response;
    let bytes = paging::normalise_empty(bytes, RESOURCES[0].records_at);
    let meta = envelope::read(
        &bytes,
        &[&["meta", "total"], &["meta", "limit"], &["meta", "size"]],
    )?;
    let [total, limit, size] = meta.map(|value| value.and_then(|v| v.as_u64()));
    let total = total.max(of_range);
    let asked = u64::from(at.limit);
    let limit = limit.filter(|limit| (1..asked).contains(limit));
    let expected = total.map(|total| total.saturating_sub(at.offset).min(limit.unwrap_or(asked)));
    let records = match size {
        Some(size) if Some(size) == expected && sizes.is_proven() && bytes.len() > SMALL => size,
        _ => {
            let counted = envelope::count(&bytes, RESOURCES[0].records_at)?;
            sizes.check(size == Some(counted));
            counted
        }
    };
    let may_be_last =
        records == 0 || total.is_none_or(|total| at.offset.saturating_add(records) >= total);
    let next = if may_be_last { next_of(&bytes) } else { None };
    let leads_to = next
        .as_deref()
        .and_then(|next| url.join(next).ok())
        .and_then(|next| offset_of(&next));
    let page = Page {
        bytes,
        declared_total: total,
        requested_at,
        scope: None,
        restarts_listing: false,
        is_reread: false,
        remarks: Vec::new(),
    };
    Ok(OffsetPage {
        page,
        records,
        limit,
        linked: next.is_some() || is_part,
        leads_to,
    }
    .into())
}

/// The link to a next page, as it stands there or in an object of its own (`href`). A page that cannot be read that far says nothing of it; its
/// records are the decoder's to judge.
fn next_of(page: &[u8]) -> Option<String> {
    let text = |value: Option<EnvelopeValue>| {
        value
            .as_ref()
            .and_then(EnvelopeValue::as_text)
            .map(str::to_owned)
    };
    let [next] = envelope::read(page, &[&["_links", "next"]]).ok()?;
    if next != Some(EnvelopeValue::Nested) {
        return text(next);
    }
    let [href] = envelope::read(page, &[&["_links", "next", "href"]]).ok()?;
    text(href)
}

/// The offset that an address asks for.
fn offset_of(url: &Url) -> Option<u64> {
    url.query_pairs()
        .find(|(key, _)| key == "page[offset]")
        .and_then(|(_, offset)| offset.parse().ok())
}

fn refused(refusal: HttpRefusal) -> Error {
    let status = refusal.status;
    let error = refusal.into_error();
    match status.as_u16() {
        401 => error.hint("HecOne refuses a token it has just given out: ask the provider what this login may do."),
        404 | 405 => error.hint(
            "Set connection.paths.transactions (and base_url): HecOne does not document them, so ask the provider.",
        ),
        _ => error,
    }
}
