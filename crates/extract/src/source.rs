//! The [`Source`] trait: an API that is read slice by slice.
//!
//! Invariant: a [`Source`] is asked for slices and answers with pages; it keeps no progress of its own. What was read, and what
//! is still missing, only the warehouse's ledger knows.

use crate::empty_messages::EmptyMessages;
use crate::http::ClientStats;
use crate::media_type::MediaTypes;
use crate::throttle::SharedLimits;
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tillhouse_model::reconcile::{ProviderFigures, ReconcileAgainst};
use tillhouse_model::{Error, ErrorKind, Filter, ReadBy, Resource, Result, Slice, Window};

/// Overlap of neighbouring windows: the resolution of the coarsest API.
const OVERLAP: SignedDuration = SignedDuration::from_secs(1);

/// One response, as it came, and what its envelope says of the rest.
#[derive(Debug, Clone)]
pub struct Page {
    /// The body, decompressed, not yet parsed.
    pub bytes: Bytes,
    /// Number of records in the whole window, where the provider says so; the last page's figure
    /// counts.
    pub declared_total: Option<u64>,
    /// When the request was sent: every record in it is at least as fresh as that.
    pub requested_at: Timestamp,
    /// Account, partner or parent that the request named and the records do not repeat. Contracts
    /// read it as a column with `physicalName: $scope`.
    pub scope: Option<Arc<str>>,
    /// True if the listing begins anew with this page, since the pages before proved not to be the
    /// whole of it: what was counted of the slice so far is void. What was landed stays, it was
    /// true. Only [`crate::paging`] sets it.
    pub restarts_listing: bool,
    /// True if the reader asked for it again, so that its records may have come before for that alone. Only [`crate::paging`] sets it.
    pub is_reread: bool,
    /// Remarks on what nobody could prove about the listing up to here, for those who use its records. Only [`crate::paging`] sets it.
    pub remarks: Vec<ListingRemark>,
}

/// Remark about a listing that is taken as it came, though it may lack records: the server leaves no way to tell. It is no error, since a listing
/// that ends so every time could never be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingRemark {
    /// Its kind, as warnings name it: `end_not_proven`, `short_page`, `list_missing`.
    pub rule: &'static str,
    /// Observation, for people.
    pub words: String,
}

/// Pages in the order the provider gave them. Dropping the stream cancels what is under way.
pub type PageStream = BoxStream<'static, Result<Page>>;

/// Limits of asking a source: concurrency, rate, sizes, attempts and time.
#[derive(Debug, Clone)]
pub struct SourceLimits {
    /// Records a page; a source lowers it to the provider's largest.
    pub page_size: u32,
    /// Requests under way at once, over all slices.
    pub concurrency: usize,
    /// Requests a second, over all slices; `None` for no limit.
    pub rate_per_second: Option<u32>,
    /// Longest time of one request, from the first byte sent to the last one read.
    pub request_timeout: Duration,
    /// The largest body that is read, decompressed, in bytes.
    pub max_body_bytes: usize,
    /// Most attempts of a request.
    pub attempts: usize,
    /// The longest pause a Retry-After is obeyed for; a longer one is an error that says how long.
    pub max_retry_after: Duration,
    /// Pages a slice may have; what goes on after them is taken for a listing without end.
    pub most_pages: u64,
    /// True if the end of a listing that no total proves takes one page more to be believed. An
    /// API that charges for requests may be worth the risk.
    pub confirm_end: bool,
    /// The pause before a listing is read anew for the first time, and before a page is asked for once more: replicas that lag behind need
    /// seconds, not milliseconds. The second time it is four times as long, the third fifteen times.
    pub reread_pause: Duration,
    /// Media types that JSON may come under beside its own.
    pub accept_media_types: MediaTypes,
    /// Texts that mean, beside an empty list or in place of one, that there is nothing.
    pub empty_messages: EmptyMessages,
    /// Limits of single resources, by name.
    pub by_resource: BTreeMap<String, ResourceLimits>,
    /// Limits that are shared with other sources over the same connection; `None` for limits of its own.
    pub shared: Option<SharedLimits>,
}

/// Limits of one resource that replace the pipeline's; `None` for the pipeline's. The pipeline's
/// own concurrency and rate hold over all resources together, whatever stands here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResourceLimits {
    /// See [`SourceLimits::page_size`].
    pub page_size: Option<u32>,
    /// Its requests under way at once.
    pub concurrency: Option<usize>,
    /// Its requests a second.
    pub rate_per_second: Option<u32>,
    /// See [`SourceLimits::confirm_end`].
    pub confirm_end: Option<bool>,
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self {
            page_size: 500,
            concurrency: 4,
            rate_per_second: Some(20),
            request_timeout: Duration::from_secs(60),
            max_body_bytes: 64 << 20,
            attempts: 6,
            max_retry_after: Duration::from_secs(300),
            most_pages: 1_000_000,
            confirm_end: true,
            reread_pause: Duration::from_secs(1),
            accept_media_types: MediaTypes::default(),
            empty_messages: EmptyMessages::default(),
            by_resource: BTreeMap::new(),
            shared: None,
        }
    }
}

/// An API that can be read slice by slice.
///
/// # Contract
///
/// Every source is tested against it by the clauses of the module `testing` (feature `testing`), over a server that misbehaves.
///
/// - **Complete**: the pages of a slice hold every record whose time, as the provider sees it, lies in the slice's window. They
///   may hold more, and neighbouring slices do overlap ([`overlapping_window`]) where the server may take either end of a window for outside of
///   it: the record on the end of one and the start of the other is in one of them. They may hold the same record more than once; landing drops what it knows. What
///   arrives, changes or vanishes while pages are read hides none of the records that are there throughout; where an API leaves
///   no way to be sure of that, its total tells, or the look-back reads it again.
/// - **Every row, or an error**: a slice ends well only where as many records came, repeats counted, as the largest total says that its
///   pages declared, or none did; and only a page that is missing, empty or short, or that names no next one, is a sign of the end.
///   A listing that is not whole is read anew after a pause, three times at most, from a page with [`Page::restarts_listing`] on; then the slice ends with an
///   error of kind [`tillhouse_model::ErrorKind::Protocol`] and both figures. No page is asked for twice in a row without a pause. All of that is
///   [`crate::paging`]'s to do, see its head.
/// - **Same question, same answer**: reading a slice changes nothing, at the provider's or here. It may be read again at any time.
/// - **Order**: pages come in the provider's paging order. No order is promised between slices.
/// - **Freshness**: `Page::requested_at` is taken before the request is sent, anew for every attempt.
/// - **Errors**: an `Err` ends the stream; pages before it are good. A retryable error was already retried by the kit as
///   often as [`SourceLimits::attempts`] allows. No error, log or page holds a credential.
/// - **Bounded**: a stream reads ahead by at most one page; a page is at most [`SourceLimits::max_body_bytes`]; a slice is at most
///   [`SourceLimits::most_pages`]. No link is followed to another origin or in circles: it is an error, or the source knows another way.
/// - **Cancellation**: dropping a stream stops its requests. Nothing is left behind.
#[async_trait]
pub trait Source: Send + Sync + Debug {
    /// The source's name, as configuration and tables spell it.
    fn name(&self) -> &'static str;

    /// Resources that it offers.
    fn resources(&self) -> &'static [Resource];

    /// Logs in and asks for as little as possible, to find out whether everything is set up.
    async fn check(&self) -> Result<()>;

    /// Gets the token of the first requests before they are sent, while a run still waits for something else. They share its outcome, good or bad, and a
    /// source that is never told to logs in with them. By default nothing, for sources that need no login.
    async fn log_in(&self) -> Result<()> {
        Ok(())
    }

    /// The tenants a resource has to be asked for one by one; `[None]` where one question answers for all. Each of them is expected to be read:
    /// one that never is, is a gap. Tenants that the configuration names are given without asking anybody, at the first poll, so that
    /// readers know of them too.
    async fn tenants(&self, resource: &str) -> Result<Vec<Option<String>>>;

    /// The time that the answer for a slice is about, by the resource's own time or by the other: the slice's window, and what an API that cuts
    /// coarser gives beside it. Neighbouring slices may share some of it.
    fn asks(&self, slice: &Slice, _by: ReadBy) -> Window {
        slice.window
    }

    /// The pages of a slice.
    fn pages(&self, slice: &Slice) -> PageStream;

    /// The pages that hold single records, for resources with [`Resource::by_id`]. A record that no longer exists is left out, and so is, with
    /// a warning, one whose id cannot be asked for or that the server refuses; what fails otherwise comes last. By
    /// default an error, for sources that have no such resource.
    fn pages_by_id(&self, resource: &str, ids: Vec<String>) -> PageStream {
        let _ = ids;
        let error = find_resource(self.name(), self.resources(), resource).err();
        failed_stream(error.unwrap_or_else(|| {
            Error::config(format!(
                "{} cannot be asked for single records",
                self.name()
            ))
            .at("resource", resource)
        }))
    }

    /// The pages that hold what the provider learnt within the slice's window, whenever it happened, for resources with
    /// [`Resource::follows_changes`]. By default none.
    fn pages_by_change_time(&self, slice: &Slice) -> PageStream {
        let _ = slice;
        futures::stream::empty().boxed()
    }

    /// Parameters that the connection settles and unify SQL has to know, as `$name`, beside
    /// `$pipeline` and `$source`: always the same names. By default none.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Figures that this source can be reconciled with. By default only with the number of its
    /// records, read again through [`Source::pages`].
    fn reconcile_against(&self) -> ReconcileAgainst {
        ReconcileAgainst::Records
    }

    /// The provider's own figures of a window, for sources whose [`Source::reconcile_against`] is more than counting. `tenant` is
    /// one of the tenants that transactions name; a provider without tenants ignores it.
    ///
    /// With a `filter`, they are of the transactions that pass it; a source whose provider cannot narrow them errors with
    /// [`tillhouse_model::ErrorKind::Config`].
    ///
    /// Figures are what the provider said: labels as it spells them, numbers with all their digits, and no part that it left out.
    async fn provider_figures(
        &self,
        tenant: Option<&str>,
        window: Window,
        filter: Option<&Filter>,
    ) -> Result<ProviderFigures> {
        let _ = (tenant, window, filter);
        Err(Error::internal("this source has no figures of its own").at("source", self.name()))
    }

    /// Requests, bytes and retries so far, for the progress display.
    fn stats(&self) -> ClientStats {
        ClientStats::default()
    }
}

/// The resource of that name. Errors with [`tillhouse_model::ErrorKind::Config`], naming those there are.
pub fn find_resource(
    source: &str,
    resources: &'static [Resource],
    name: &str,
) -> Result<&'static Resource> {
    resources
        .iter()
        .find(|resource| resource.name == name)
        .ok_or_else(|| {
            let names: Vec<&str> = resources.iter().map(|resource| resource.name).collect();
            Error::config(format!("{source} has no resource {name:?}"))
                .hint(format!("It offers: {}.", names.join(", ")))
        })
}

/// Asks for a first page as large as a sync will ask for, for [`Source::check`]. Where the server refuses it, one record is asked for: if
/// those come, it is the size that is refused, whatever the server calls it: a refusal (403 too), or a failure of its own that no patience mends.
pub async fn check_page<T, F: Future<Output = Result<T>>>(
    size: u32,
    ask: impl Fn(u32) -> F,
) -> Result<T> {
    match ask(size).await {
        Err(error) if size > 1 && may_be_the_size(&error) && ask(1).await.is_ok() => {
            let hint = format!(
                "The server answers when it is asked for one record, and not for {size}: lower sync.page_size of this pipeline."
            );
            Err(match error.kind() {
                ErrorKind::Protocol => error,
                // Neither the login nor the server is what is wrong.
                _ => Error::protocol(format!(
                    "the server gives no page of {size} records: {error}"
                )),
            }
            .hint(hint))
        }
        outcome => outcome,
    }
}

/// True for a failure that may be about the number of records asked for: anything that the server said, but that the login is wrong.
fn may_be_the_size(error: &Error) -> bool {
    let has_status = |wanted: &str| {
        let mut context = error.context().iter();
        context.any(|(key, value)| *key == "status" && value == wanted)
    };
    match error.kind() {
        ErrorKind::Protocol | ErrorKind::Busy => true,
        ErrorKind::Unauthorized => has_status("403"),
        _ => false,
    }
}

/// A window as it is asked for where the API cuts time by the second: in whole seconds, and a second earlier. A server may take a window's start for
/// outside of it; then only a neighbour that overlaps brings the record on it.
pub fn overlapping_window(window: Window) -> Window {
    let window = window.in_seconds();
    let from = window.from().checked_sub(OVERLAP).unwrap_or(Timestamp::MIN);
    Window::new(from, window.to()).unwrap_or(window)
}

/// A stream that is an error and nothing else.
pub fn failed_stream(error: Error) -> PageStream {
    futures::stream::iter([Err(error)]).boxed()
}

/// The `connection` section of a pipeline: the settings that reach one source, parsed once and
/// validated.
///
/// ```
/// use futures::{StreamExt, stream};
/// use std::sync::Arc;
/// use tillhouse_extract::{
///     BaseUrl, ClientStats, HttpClient, HttpRequest, Page, PageStream, Source, SourceConnection, SourceLimits, envelope, paging,
/// };
/// use tillhouse_model::{Resource, Result, Slice};
///
/// const SALES: Resource = Resource { name: "sales", records_at: &["sales"], ..Resource::INCREMENTAL };
///
/// /// Kiosks that anybody may read: `GET /sales?from=...&to=...`, a page and the link to the next.
/// #[derive(Debug, serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct KioskConnection {
///     base_url: BaseUrl,
/// }
///
/// impl SourceConnection for KioskConnection {
///     const SOURCE: &'static str = "kiosk";
///     const RESOURCES: &'static [Resource] = &[SALES];
///
///     fn open(self, limits: SourceLimits) -> Result<Arc<dyn Source>> {
///         Ok(Arc::new(KioskSource(HttpClient::new(Self::SOURCE, self.base_url, limits)?)))
///     }
/// }
///
/// #[derive(Debug)]
/// struct KioskSource(HttpClient);
///
/// #[async_trait::async_trait]
/// impl Source for KioskSource {
///     fn name(&self) -> &'static str {
///         KioskConnection::SOURCE
///     }
///
///     fn resources(&self) -> &'static [Resource] {
///         KioskConnection::RESOURCES
///     }
///
///     async fn check(&self) -> Result<()> {
///         self.0.send(&HttpRequest::get("sales", self.0.url("/sales")?)).await?.success().map(drop)
///     }
///
///     async fn tenants(&self, _: &str) -> Result<Vec<Option<String>>> {
///         Ok(vec![None])
///     }
///
///     fn pages(&self, slice: &Slice) -> PageStream {
///         let first = match self.0.url("/sales") {
///             Ok(url) => HttpRequest::get("sales", url)
///                 .query("from", &slice.window.from().to_string())
///                 .query("to", &slice.window.to().to_string()),
///             Err(error) => return stream::iter([Err(error)]).boxed(),
///         };
///         let client = self.0.clone();
///         paging::by_link(first.url().clone(), client.listing_options(&SALES), move |url| {
///             let client = client.clone();
///             async move {
///                 let request = HttpRequest::get("sales", url).expecting_records_at(SALES.records_at);
///                 let response = client.send(&request).await?.success()?;
///                 let [next] = envelope::read(&response.bytes, &[&["next"]])?;
///                 let page = Page {
///                     bytes: response.bytes,
///                     declared_total: None,
///                     requested_at: response.requested_at,
///                     scope: None,
///                     restarts_listing: false,
///                     is_reread: false,
///                     remarks: Vec::new(),
///                 };
///                 Ok((page, next.and_then(|next| next.as_text().map(str::to_owned))))
///             }
///         })
///     }
///
///     fn stats(&self) -> ClientStats {
///         self.0.stats()
///     }
/// }
///
/// let connection: KioskConnection = serde_json::from_str(r#"{"base_url": "http://127.0.0.1:8080"}"#).unwrap();
/// let source = connection.open(SourceLimits::default())?;
/// assert_eq!(source.resources()[0].name, "sales");
/// # Ok::<(), tillhouse_model::Error>(())
/// ```
pub trait SourceConnection: DeserializeOwned + Send + 'static {
    /// The source's name.
    const SOURCE: &'static str;

    /// Resources that the source offers.
    const RESOURCES: &'static [Resource];

    /// Builds the source. No I/O happens here. Errors with [`tillhouse_model::ErrorKind::Config`].
    fn open(self, limits: SourceLimits) -> Result<Arc<dyn Source>>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_size_that_is_refused_is_found_whatever_the_server_calls_it() {
        let refused = |kind: ErrorKind, status: &'static str| {
            move |limit: u32| async move {
                match limit {
                    1 => Ok(()),
                    _ => Err(Error::new(kind, "no").at("status", status)),
                }
            }
        };
        for (kind, status, is_size) in [
            (ErrorKind::Protocol, "422", true),
            (ErrorKind::Busy, "500", true),
            (ErrorKind::Busy, "504", true),
            (ErrorKind::Unauthorized, "403", true),
            (ErrorKind::Unauthorized, "401", false),
            (ErrorKind::Unreachable, "", false),
            (ErrorKind::Config, "404", false),
        ] {
            let error = check_page(500, refused(kind, status)).await.unwrap_err();
            let hint = error.hint_text().unwrap_or_default();
            assert_eq!(
                hint.contains("lower sync.page_size"),
                is_size,
                "{status}: {error}"
            );
            assert!(error.to_string().contains("no"), "{error}");
        }
        // Where one record does not come either, it is not the size.
        let never = check_page(500, async |_| -> Result<()> { Err(Error::protocol("no")) });
        assert_eq!(never.await.unwrap_err().hint_text(), None);
    }
}
