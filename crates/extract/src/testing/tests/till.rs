//! A source for the kiosk, built on the kit as a real one is; and all the ways in which it can be built badly.
//!
//! Invariant: without a flaw it passes every clause; a flaw changes one thing.

use super::kiosk::{self, PASSWORD, USER};
use crate::http::ClientStats;
use crate::paging::{self, FetchOutcome, ListingOptions, OffsetPage, PageOffset};
use crate::request::{HttpOutcome, HttpRefusal, HttpRequest, StatusCode};
use crate::source::{Page, PageStream, Source, SourceLimits};
use crate::testing::{PageLinks, ResourceUnderTest, SourceUnderTest};
use crate::{
    AuthorizedClient, BaseUrl, EmptyMessages, HttpClient, Login, MediaTypes, Token, envelope,
    origin,
};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tillhouse_emulator::Emulator;
use tillhouse_model::{Error, ErrorKind, ReadBy, Resource, Result, Secret, Slice, Window};
use url::Url;

pub(super) const WRONG_PASSWORD: &str = "hunter3-wrong";

/// Paging of the sales.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PagingStyle {
    Offset,
    Link,
}

/// Flaw that is built into the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SourceFlaw {
    None,
    /// Flaws of pages and windows.
    DropsLastRecord,
    RewritesNumbers,
    RepeatsPages,
    IgnoresPageSize,
    StopsAtShortPages,
    CutsTheWindow,
    TakesTheStartForInside,
    AsksForNow,
    ForgetsOldPrices,
    /// Flaws of totals.
    MovesOnlyForward,
    HasNoTotals,
    HidesTotals,
    RepairsTotals,
    DeniesTotals,
    /// Flaws of resources.
    KnowsEverything,
    ChecksNothing,
    KeepsKnocking,
    HasNoLateRecords,
    FailsForGoneRecords,
    /// Flaws of tokens.
    NeverRenews,
    KnowsOnly401,
    HidesTheServersWords,
    NeedsItsRefresh,
    SeesNoLifetime,
    /// Flaws of retries.
    GivesUpAtOnce,
    IgnoresRetryAfter,
    WaitsTooLong,
    WaitsForEver,
    TriesForEver,
    TakesTheFirstTime,
    TakesAnyBody,
    EndsQuietly,
    /// Flaws of ends.
    BelievesTheEnd,
    TakesNothingForAnError,
    ForgetsEmptyMessages,
    /// Flaws of bodies.
    RefusesAcceptedTypes,
    KeepsTheMark,
    KnowsOneSpelling,
    IsStricterThanTheDecoder,
    /// Flaws of links and ends.
    FollowsAnyLink,
    FollowsInCircles,
    GoesOnForEver,
    ReadsAllAtOnce,
    LeavesATaskBehind,
    /// Flaws of secrets.
    TellsItsPassword,
    LogsItsPassword,
    ShowsItsPassword,
}

const SALES: Resource = Resource {
    name: "sales",
    records_at: &["sales"],
    by_id: true,
    declares_total: true,
    follows_changes: true,
    ..Resource::INCREMENTAL
};
const PRICES: Resource = Resource {
    name: "prices",
    records_at: &["prices"],
    ..Resource::FULL_REFRESH
};
const WITH_TOTALS: &[Resource] = &[SALES, PRICES];
const WITHOUT_TOTALS: &[Resource] = &[
    Resource {
        declares_total: false,
        ..SALES
    },
    PRICES,
];

/// Login at the kiosk, with or without a flaw.
struct KioskLogin {
    client: HttpClient,
    password: &'static str,
    flaw: SourceFlaw,
}

impl fmt::Debug for KioskLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.flaw {
            SourceFlaw::ShowsItsPassword => write!(f, "Cashier({})", self.password),
            _ => f.write_str("Cashier"),
        }
    }
}

#[async_trait]
impl Login for KioskLogin {
    async fn login(&self, refresh: Option<&Secret>) -> Result<Token> {
        let (path, body) = match refresh {
            Some(refresh) => (
                "/refresh",
                serde_json::json!({ "refresh": refresh.expose() }),
            ),
            None => (
                "/login",
                serde_json::json!({ "user": USER, "password": self.password }),
            ),
        };
        self.client.redactor().add(&Secret::new(self.password));
        if self.flaw == SourceFlaw::LogsItsPassword {
            tracing::debug!(password = self.password, "logging in");
        }
        let body = match self
            .client
            .send(&HttpRequest::post_json(
                "login",
                self.client.url(path)?,
                &body,
            ))
            .await?
        {
            HttpOutcome::Success(response) => response.bytes,
            HttpOutcome::Refused(_)
                if refresh.is_some() && self.flaw == SourceFlaw::NeedsItsRefresh =>
            {
                return Err(Error::internal("the refresh token is not good"));
            }
            HttpOutcome::Refused(refusal) => {
                return Err(refusal.into_error().hint("Check the password."));
            }
        };
        let [access, refresh] = envelope::read(&body, &[&["token"], &["refresh"]])?
            .map(|value| value.and_then(|value| value.as_text().map(Secret::new)));
        let access = access.ok_or_else(|| Error::protocol("the login gives no token"))?;
        let lifetime =
            Some(Duration::from_secs(3_600)).filter(|_| self.flaw != SourceFlaw::SeesNoLifetime);
        Ok(Token {
            access,
            refresh,
            lifetime,
        })
    }

    fn wants_new_token(&self, refusal: &HttpRefusal) -> bool {
        match self.flaw {
            SourceFlaw::NeverRenews => false,
            SourceFlaw::KnowsOnly401 => refusal.status == StatusCode::UNAUTHORIZED,
            _ => refusal.blames_token(),
        }
    }
}

/// Source for the kiosk with a flaw that the suite has to find.
#[derive(Debug, Clone)]
pub(super) struct FlawedSource {
    api: AuthorizedClient,
    cashier: Arc<KioskLogin>,
    style: PagingStyle,
    flaw: SourceFlaw,
    /// Retries of its own, where it has its own idea of them.
    retries: Arc<AtomicU64>,
}

fn open(
    url: &str,
    style: PagingStyle,
    flaw: SourceFlaw,
    password: &'static str,
    mut limits: SourceLimits,
) -> Result<Arc<dyn Source>> {
    match flaw {
        SourceFlaw::IgnoresPageSize => limits.page_size = 50,
        SourceFlaw::GoesOnForEver => limits.most_pages = 1_000_000,
        SourceFlaw::GivesUpAtOnce => limits.attempts = 1,
        SourceFlaw::TakesAnyBody => limits.max_body_bytes = 1 << 30,
        SourceFlaw::ForgetsEmptyMessages => limits.empty_messages = EmptyMessages::default(),
        SourceFlaw::RefusesAcceptedTypes => limits.accept_media_types = MediaTypes::default(),
        SourceFlaw::WaitsForEver => limits.request_timeout = Duration::from_secs(100_000),
        SourceFlaw::WaitsTooLong => limits.max_retry_after = Duration::from_secs(100_000),
        SourceFlaw::IgnoresRetryAfter | SourceFlaw::TriesForEver => {
            (limits.attempts, limits.max_retry_after) = (1, Duration::ZERO)
        }
        _ => {}
    }
    let client = HttpClient::new("kiosk", BaseUrl::parse(&format!("{url}/kiosk"))?, limits)?;
    let cashier = Arc::new(KioskLogin {
        client: client.clone(),
        password,
        flaw,
    });
    let api = AuthorizedClient::new(client, cashier.clone());
    Ok(Arc::new(FlawedSource {
        api,
        cashier,
        style,
        flaw,
        retries: Arc::default(),
    }))
}

/// The kiosk's server and a source for it.
pub(super) async fn subject(style: PagingStyle, flaw: SourceFlaw) -> SourceUnderTest {
    let server = Emulator::start("kiosk", kiosk::KioskProvider::new(), kiosk::now())
        .await
        .unwrap();
    let (url, again) = (server.url().to_owned(), server.url().to_owned());
    let links = if style == PagingStyle::Link {
        PageLinks::Followed
    } else {
        PageLinks::None
    };
    SourceUnderTest::new(server.url(), "kiosk", kiosk::window(), move |limits| {
        open(&url, style, flaw, PASSWORD, limits)
    })
    .records(
        ResourceUnderTest::of("sales")
            .key("/id")
            .time("/nowhere")
            .time("/at")
            .links(links),
    )
    .records(ResourceUnderTest::of("prices").key("/code").unpaged())
    .login(["/kiosk/login", "/kiosk/refresh"])
    .token_lifetime(Duration::from_secs(3_600))
    .refused(move |limits| open(&again, style, flaw, WRONG_PASSWORD, limits))
    .secret(PASSWORD)
    .secret(WRONG_PASSWORD)
    .keep_alive(server)
}

impl FlawedSource {
    /// The sales between two instants, by these names.
    fn sales(&self, from: (&str, Timestamp), to: (&str, Timestamp)) -> PageStream {
        let SourceLimits {
            page_size,
            most_pages,
            ..
        } = *self.api.client().limits();
        let path = if self.style == PagingStyle::Link {
            "/feed"
        } else {
            "/sales"
        };
        let url = match self.api.client().url(path) {
            Ok(url) => url,
            Err(error) => return failed(error),
        };
        let end = if self.flaw == SourceFlaw::CutsTheWindow {
            to.1 - SignedDuration::from_secs(1)
        } else {
            to.1
        };
        let start = if self.flaw == SourceFlaw::TakesTheStartForInside {
            from.1
        } else {
            from.1 - SignedDuration::from_secs(1)
        };
        let mut request = HttpRequest::get("sales", url)
            .expecting_records_at(SALES.records_at)
            .query(from.0, &start.to_string())
            .query(to.0, &end.to_string());
        if self.flaw == SourceFlaw::AsksForNow {
            request = request.query("now", &Timestamp::now().to_string());
        }
        let this = self.clone();
        match self.style {
            PagingStyle::Link => self.by_link(
                request.query("limit", &page_size.to_string()).url().clone(),
                self.listing(most_pages),
            ),
            PagingStyle::Offset
                if matches!(
                    self.flaw,
                    SourceFlaw::MovesOnlyForward
                        | SourceFlaw::HasNoTotals
                        | SourceFlaw::StopsAtShortPages
                        | SourceFlaw::BelievesTheEnd
                ) =>
            {
                paging::chain(0, most_pages, move |offset| {
                    let (this, request) = (
                        this.clone(),
                        at_offset(
                            &request,
                            PageOffset {
                                offset,
                                limit: page_size,
                            },
                        ),
                    );
                    async move {
                        let (page, records) = this.page(&request).await?;
                        let next = offset + records;
                        let on = match this.flaw {
                            SourceFlaw::StopsAtShortPages => records == u64::from(page_size),
                            SourceFlaw::HasNoTotals => records > 0,
                            SourceFlaw::BelievesTheEnd if records == 0 => false,
                            _ => page.declared_total.is_some_and(|total| next < total),
                        };
                        Ok((page, on.then_some(next)))
                    }
                })
            }
            PagingStyle::Offset => {
                paging::by_offset(page_size, self.listing(most_pages), move |at| {
                    let (this, request) = (this.clone(), at_offset(&request, at));
                    async move {
                        Ok(match this.page_or_none(&request).await? {
                            Ok((page, records)) => OffsetPage {
                                page,
                                records,
                                limit: None,
                                linked: false,
                                leads_to: None,
                            }
                            .into(),
                            Err(refusal) => {
                                FetchOutcome::Missing(refusal.explained(HttpRefusal::into_error))
                            }
                        })
                    }
                })
            }
        }
    }

    fn listing(&self, most_pages: u64) -> ListingOptions {
        ListingOptions {
            most_pages,
            ..self.api.client().listing_options(&SALES)
        }
    }

    fn by_link(&self, first: Url, listing: ListingOptions) -> PageStream {
        let (this, flaw) = (self.clone(), self.flaw);
        let fetch = move |url: Url| {
            let this = this.clone();
            async move {
                let page = match this
                    .page_or_none(
                        &HttpRequest::get("sales", url).expecting_records_at(SALES.records_at),
                    )
                    .await?
                {
                    Ok((page, _)) => page,
                    Err(refusal) => {
                        return Ok(FetchOutcome::Missing(
                            refusal.explained(HttpRefusal::into_error),
                        ));
                    }
                };
                let [next] = envelope::read(&page.bytes, &[&["next"]])?;
                Ok(FetchOutcome::Page((
                    page,
                    next.and_then(|next| next.as_text().map(str::to_owned)),
                )))
            }
        };
        if !matches!(
            flaw,
            SourceFlaw::FollowsAnyLink | SourceFlaw::FollowsInCircles
        ) {
            return paging::by_link(first, listing, fetch);
        }
        paging::chain(first, listing.most_pages, move |url| {
            let page = fetch(url.clone());
            async move {
                let (page, next) = match page.await? {
                    FetchOutcome::Page(found) => found,
                    FetchOutcome::Missing(error) => return Err(error),
                };
                let next = match next.map(|next| (origin::follow_link(&url, &next), next)) {
                    // The kit's own client would refuse.
                    Some((Err(_), next)) if flaw == SourceFlaw::FollowsAnyLink => {
                        let asked = reqwest::Client::builder()
                            .no_proxy()
                            .build()
                            .map(|client| client.get(next).send());
                        match asked {
                            Ok(answer) => answer
                                .await
                                .map(|_| None)
                                .map_err(|_| Error::protocol("nobody there"))?,
                            Err(_) => None,
                        }
                    }
                    next => next.map(|(next, _)| next).transpose()?,
                };
                Ok((page, next))
            }
        })
    }

    /// One page, and how many records it had.
    async fn page(&self, request: &HttpRequest) -> Result<(Page, u64)> {
        self.page_or_none(request)
            .await?
            .map_err(|refusal| refusal.explained(HttpRefusal::into_error))
    }

    /// Asks for a page; the refusal, if there is no such page.
    async fn page_or_none(
        &self,
        request: &HttpRequest,
    ) -> Result<Result<(Page, u64), HttpRefusal>> {
        let first = Timestamp::now();
        let mut response = match self.api.send(request).await {
            Ok(HttpOutcome::Refused(refusal))
                if refusal.is_past_the_end() && self.flaw != SourceFlaw::TakesNothingForAnError =>
            {
                return Ok(Err(refusal));
            }
            answer => answer.and_then(HttpOutcome::success),
        };
        while let Err(error) = &response
            && matches!(
                self.flaw,
                SourceFlaw::IgnoresRetryAfter | SourceFlaw::TriesForEver
            )
            && error.kind() != ErrorKind::Protocol
        {
            self.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            response = self.api.send(request).await.and_then(HttpOutcome::success);
        }
        let response = match response {
            Err(error) if self.flaw == SourceFlaw::TellsItsPassword => {
                return Err(error.at("password", PASSWORD));
            }
            Err(error) if self.flaw == SourceFlaw::HidesTheServersWords => {
                return Err(Error::new(error.kind(), "it failed"));
            }
            response => response?,
        };
        let encoding = response.headers.get(reqwest::header::CONTENT_ENCODING);
        if self.flaw == SourceFlaw::KnowsOneSpelling
            && encoding.is_some_and(|encoding| encoding != "gzip")
        {
            return Err(Error::protocol("an unknown encoding"));
        }
        if self.flaw == SourceFlaw::IsStricterThanTheDecoder {
            serde_json::from_slice::<serde_json::Value>(&response.bytes)
                .map_err(|_| Error::protocol("not JSON"))?;
        }
        let bytes = match self.flaw {
            SourceFlaw::TakesNothingForAnError => response.bytes,
            _ if &*request.resource == "sales" => {
                paging::normalise_empty(response.bytes, SALES.records_at)
            }
            _ => response.bytes,
        };
        let [total] = envelope::read(&bytes, &[&["total"]])?;
        let records = envelope::count(&bytes, &["sales"]).unwrap_or_default();
        let total = total.and_then(|total| total.as_u64());
        let mut page = Page {
            bytes,
            declared_total: total,
            requested_at: response.requested_at,
            scope: None,
            restarts_listing: false,
            is_reread: false,
            remarks: Vec::new(),
        };
        match self.flaw {
            SourceFlaw::RewritesNumbers => {
                let body: serde_json::Value =
                    serde_json::from_slice(&page.bytes).unwrap_or_default();
                page.bytes = body.to_string().into();
            }
            SourceFlaw::DropsLastRecord if records > 0 => {
                let body = String::from_utf8_lossy(&page.bytes);
                let kept = body
                    .rfind(r#",{"id""#)
                    .or_else(|| Some(body.rfind('[')? + 1))
                    .unwrap_or_default();
                page.bytes = format!("{}]}}", &body[..kept]).into();
            }
            SourceFlaw::HidesTotals | SourceFlaw::HasNoTotals => page.declared_total = None,
            // The lie is one too high, and the last page is the one that is not full.
            SourceFlaw::RepairsTotals => page.declared_total = total.map(|total| total - total % 2),
            SourceFlaw::TakesTheFirstTime => page.requested_at = first,
            SourceFlaw::KeepsTheMark => {
                page.bytes = [b"\xef\xbb\xbf", &page.bytes[..]].concat().into()
            }
            _ => {}
        }
        Ok(Ok((page, records)))
    }

    fn prices(&self, slice: &Slice) -> PageStream {
        if self.flaw == SourceFlaw::ForgetsOldPrices && slice.window.from() > kiosk::now() {
            return stream::empty().boxed();
        }
        let this = self.clone();
        paging::chain((), 1, move |()| {
            let this = this.clone();
            async move {
                let request = HttpRequest::get("prices", this.api.client().url("/prices")?)
                    .expecting_records_at(PRICES.records_at);
                Ok((this.page(&request).await?.0, None))
            }
        })
    }

    /// The stream as the flaw has it.
    fn flawed(&self, mut pages: PageStream) -> PageStream {
        match self.flaw {
            SourceFlaw::RepeatsPages => {
                let twice = pages.flat_map(|page| match page {
                    Ok(page) => stream::iter(vec![Ok(page.clone()), Ok(page)]),
                    Err(error) => stream::iter(vec![Err(error)]),
                });
                twice.boxed()
            }
            SourceFlaw::EndsQuietly => pages
                .take_while(|page| std::future::ready(page.is_ok()))
                .boxed(),
            SourceFlaw::ReadsAllAtOnce => stream::once(pages.collect::<Vec<_>>())
                .flat_map(stream::iter)
                .boxed(),
            SourceFlaw::LeavesATaskBehind => {
                let begin = async move {
                    let (sender, receiver) = tokio::sync::mpsc::channel(1_000);
                    tokio::spawn(async move {
                        while let Some(page) = pages.next().await {
                            let _ = sender.send(page).await;
                        }
                    });
                    stream::unfold(receiver, |mut pages| async move {
                        Some((pages.recv().await?, pages))
                    })
                };
                stream::once(begin).flatten().boxed()
            }
            _ => pages,
        }
    }
}

fn at_offset(request: &HttpRequest, at: PageOffset) -> HttpRequest {
    request
        .clone()
        .query("offset", &at.offset.to_string())
        .query("limit", &at.limit.to_string())
}

fn failed(error: Error) -> PageStream {
    stream::iter([Err(error)]).boxed()
}

fn known(resource: &str) -> Result<()> {
    match WITH_TOTALS.iter().any(|known| known.name == resource) {
        true => Ok(()),
        false => Err(Error::config(format!(
            "the kiosk has no resource {resource:?}"
        ))),
    }
}

#[async_trait]
impl Source for FlawedSource {
    fn name(&self) -> &'static str {
        "kiosk"
    }

    fn resources(&self) -> &'static [Resource] {
        match (self.style, self.flaw) {
            (PagingStyle::Link, _) | (_, SourceFlaw::HasNoTotals | SourceFlaw::DeniesTotals) => {
                WITHOUT_TOTALS
            }
            _ => WITH_TOTALS,
        }
    }

    async fn check(&self) -> Result<()> {
        match self.flaw {
            SourceFlaw::ChecksNothing => Ok(()),
            SourceFlaw::KeepsKnocking => self.cashier.login(None).await.map(drop),
            _ => {
                self.api.log_in().await?;
                let request = HttpRequest::get("prices", self.api.client().url("/prices")?);
                self.api.send(&request).await?.success().map(drop)
            }
        }
    }

    async fn tenants(&self, resource: &str) -> Result<Vec<Option<String>>> {
        known(resource)?;
        Ok(vec![None])
    }

    fn asks(&self, slice: &Slice, _by: ReadBy) -> Window {
        let from = slice.window.from() - SignedDuration::from_secs(1);
        Window::new(from, slice.window.to()).unwrap_or(slice.window)
    }

    fn pages(&self, slice: &Slice) -> PageStream {
        let pages = match slice.resource.as_str() {
            "sales" => self.sales(("from", slice.window.from()), ("to", slice.window.to())),
            "prices" => self.prices(slice),
            _ if self.flaw == SourceFlaw::KnowsEverything => stream::empty().boxed(),
            other => known(other).map_or_else(failed, |()| stream::empty().boxed()),
        };
        self.flawed(pages)
    }

    fn pages_by_id(&self, resource: &str, ids: Vec<String>) -> PageStream {
        if let Err(error) = known(resource) {
            return failed(error);
        }
        let this = self.clone();
        let one = move |id: String| {
            let this = this.clone();
            async move {
                let url = this
                    .api
                    .client()
                    .url(&format!("/sales/{}", origin::path_segment(&id)?))?;
                match this.api.send(&HttpRequest::get("sales", url)).await? {
                    HttpOutcome::Refused(refusal)
                        if refusal.status == StatusCode::NOT_FOUND
                            && this.flaw != SourceFlaw::FailsForGoneRecords =>
                    {
                        Ok(None)
                    }
                    answer => answer.success().map(Some),
                }
            }
        };
        let pages = stream::iter(ids)
            .then(one)
            .filter_map(|page: Result<Option<_>>| std::future::ready(page.transpose()));
        pages
            .map(|response: Result<crate::HttpResponse>| {
                let crate::HttpResponse {
                    bytes,
                    requested_at,
                    ..
                } = response?;
                Ok(Page {
                    bytes,
                    declared_total: None,
                    requested_at,
                    scope: None,
                    restarts_listing: false,
                    is_reread: false,
                    remarks: Vec::new(),
                })
            })
            .boxed()
    }

    fn pages_by_change_time(&self, slice: &Slice) -> PageStream {
        if slice.resource != "sales" || self.flaw == SourceFlaw::HasNoLateRecords {
            return stream::empty().boxed();
        }
        self.sales(
            ("learnt_from", slice.window.from()),
            ("learnt_to", slice.window.to()),
        )
    }

    fn stats(&self) -> ClientStats {
        let stats = self.api.stats();
        ClientStats {
            retries: stats.retries + self.retries.load(Ordering::Relaxed),
            ..stats
        }
    }
}
