//! A source for the kiosk, built on the kit as a real one is; and all the ways in which it can be built badly.
//!
//! Invariant: without a flaw it obeys the law; a flaw changes one thing.

use super::kiosk::{self, PASSWORD, USER};
use crate::http::Stats;
use crate::paging::{self, Fetched, Listing, Offset, OffsetPage};
use crate::request::{Answer, Refusal, Request, StatusCode};
use crate::source::{Limits, Page, PageStream, Source};
use crate::testing::{Links, Records, Subject};
use crate::{AuthorizedClient, BaseUrl, Client, EmptyMessages, Login, MediaTypes, Token, envelope, origin};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tillhouse_emulator::Emulator;
use tillhouse_model::{Error, ErrorKind, Resource, Result, Secret, Slice};
use url::Url;

pub(super) const WRONG_PASSWORD: &str = "hunter3-wrong";

/// How the sales are paged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Offset,
    Link,
}

/// What is built badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// Of pages and windows.
    DropsLastRecord,
    RewritesNumbers,
    RepeatsPages,
    IgnoresPageSize,
    StopsAtShortPages,
    CutsTheWindow,
    AsksForNow,
    ForgetsOldPrices,
    /// Of totals.
    MovesOnlyForward,
    HasNoTotals,
    HidesTotals,
    RepairsTotals,
    DeniesTotals,
    /// Of what can be asked for.
    KnowsEverything,
    ChecksNothing,
    KeepsKnocking,
    HasNoLateRecords,
    FailsForGoneRecords,
    /// Of tokens.
    NeverRenews,
    KnowsOnly401,
    HidesTheServersWords,
    NeedsItsRefresh,
    SeesNoLifetime,
    /// Of patience.
    GivesUpAtOnce,
    IgnoresRetryAfter,
    WaitsTooLong,
    WaitsForEver,
    TriesForEver,
    TakesTheFirstTime,
    TakesAnyBody,
    EndsQuietly,
    /// Of ends.
    BelievesTheEnd,
    TakesNothingForAnError,
    ForgetsEmptyMessages,
    /// Of bodies.
    RefusesAcceptedTypes,
    KeepsTheMark,
    KnowsOneSpelling,
    IsStricterThanTheDecoder,
    /// Of links and ends.
    FollowsAnyLink,
    FollowsInCircles,
    GoesOnForEver,
    ReadsAllAtOnce,
    LeavesATaskBehind,
    /// Of secrets.
    TellsItsPassword,
    LogsItsPassword,
    ShowsItsPassword,
}

const SALES: Resource = Resource {
    name: "sales",
    records_at: &["sales"],
    by_id: true,
    declares_total: true,
    late: true,
    ..Resource::WINDOWS
};
const PRICES: Resource = Resource { name: "prices", records_at: &["prices"], ..Resource::WHOLE };
const WITH_TOTALS: &[Resource] = &[SALES, PRICES];
const WITHOUT_TOTALS: &[Resource] = &[Resource { declares_total: false, ..SALES }, PRICES];

struct Cashier {
    client: Client,
    password: &'static str,
    flaw: Flaw,
}

impl fmt::Debug for Cashier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.flaw {
            Flaw::ShowsItsPassword => write!(f, "Cashier({})", self.password),
            _ => f.write_str("Cashier"),
        }
    }
}

#[async_trait]
impl Login for Cashier {
    async fn login(&self, refresh: Option<&Secret>) -> Result<Token> {
        let (path, body) = match refresh {
            Some(refresh) => ("/refresh", serde_json::json!({ "refresh": refresh.expose() })),
            None => ("/login", serde_json::json!({ "user": USER, "password": self.password })),
        };
        self.client.redactor().add(&Secret::new(self.password));
        if self.flaw == Flaw::LogsItsPassword {
            tracing::debug!(password = self.password, "logging in");
        }
        let body = match self.client.send(&Request::post_json("login", self.client.url(path)?, &body)).await? {
            Answer::Success(response) => response.bytes,
            Answer::Refused(_) if refresh.is_some() && self.flaw == Flaw::NeedsItsRefresh => {
                return Err(Error::internal("the refresh token is not good"));
            }
            Answer::Refused(refusal) => return Err(refusal.into_error().hint("Check the password.")),
        };
        let [access, refresh] = envelope::read(&body, &[&["token"], &["refresh"]])?
            .map(|value| value.and_then(|value| value.as_text().map(Secret::new)));
        let access = access.ok_or_else(|| Error::protocol("the login gives no token"))?;
        let lifetime = Some(Duration::from_secs(3_600)).filter(|_| self.flaw != Flaw::SeesNoLifetime);
        Ok(Token { access, refresh, lifetime })
    }

    fn wants_new_token(&self, refusal: &Refusal) -> bool {
        match self.flaw {
            Flaw::NeverRenews => false,
            Flaw::KnowsOnly401 => refusal.status == StatusCode::UNAUTHORIZED,
            _ => refusal.blames_token(),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Till {
    api: AuthorizedClient,
    cashier: Arc<Cashier>,
    style: Style,
    flaw: Flaw,
    /// Retries of its own, where it has its own idea of them.
    retries: Arc<AtomicU64>,
}

fn open(url: &str, style: Style, flaw: Flaw, password: &'static str, mut limits: Limits) -> Result<Arc<dyn Source>> {
    match flaw {
        Flaw::IgnoresPageSize => limits.page_size = 50,
        Flaw::GoesOnForEver => limits.most_pages = 1_000_000,
        Flaw::GivesUpAtOnce => limits.attempts = 1,
        Flaw::TakesAnyBody => limits.max_body_bytes = 1 << 30,
        Flaw::ForgetsEmptyMessages => limits.empty_messages = EmptyMessages::default(),
        Flaw::RefusesAcceptedTypes => limits.accept_media_types = MediaTypes::default(),
        Flaw::WaitsForEver => limits.request_timeout = Duration::from_secs(100_000),
        Flaw::WaitsTooLong => limits.max_retry_after = Duration::from_secs(100_000),
        Flaw::IgnoresRetryAfter | Flaw::TriesForEver => (limits.attempts, limits.max_retry_after) = (1, Duration::ZERO),
        _ => {}
    }
    let client = Client::new("kiosk", BaseUrl::parse(&format!("{url}/kiosk"))?, limits)?;
    let cashier = Arc::new(Cashier { client: client.clone(), password, flaw });
    let api = AuthorizedClient::new(client, cashier.clone());
    Ok(Arc::new(Till { api, cashier, style, flaw, retries: Arc::default() }))
}

/// The kiosk's server and a source for it.
pub(super) async fn subject(style: Style, flaw: Flaw) -> Subject {
    let server = Emulator::start("kiosk", kiosk::Kiosk::new(), kiosk::now()).await.unwrap();
    let (url, again) = (server.url().to_owned(), server.url().to_owned());
    let links = if style == Style::Link { Links::Followed } else { Links::None };
    Subject::new(server.url(), "kiosk", kiosk::window(), move |limits| open(&url, style, flaw, PASSWORD, limits))
        .records(Records::of("sales").key("/id").time("/nowhere").time("/at").links(links))
        .records(Records::of("prices").key("/code").unpaged())
        .login(["/kiosk/login", "/kiosk/refresh"])
        .token_lifetime(Duration::from_secs(3_600))
        .refused(move |limits| open(&again, style, flaw, WRONG_PASSWORD, limits))
        .secret(PASSWORD)
        .secret(WRONG_PASSWORD)
        .keeping(server)
}

impl Till {
    /// The sales between two instants, by these names.
    fn sales(&self, from: (&str, Timestamp), to: (&str, Timestamp)) -> PageStream {
        let Limits { page_size, most_pages, .. } = *self.api.client().limits();
        let path = if self.style == Style::Link { "/feed" } else { "/sales" };
        let url = match self.api.client().url(path) {
            Ok(url) => url,
            Err(error) => return failed(error),
        };
        let end = if self.flaw == Flaw::CutsTheWindow { to.1 - SignedDuration::from_secs(1) } else { to.1 };
        let mut request = Request::get("sales", url)
            .lists(SALES.records_at)
            .query(from.0, &from.1.to_string())
            .query(to.0, &end.to_string());
        if self.flaw == Flaw::AsksForNow {
            request = request.query("now", &Timestamp::now().to_string());
        }
        let this = self.clone();
        match self.style {
            Style::Link => {
                self.by_link(request.query("limit", &page_size.to_string()).url().clone(), self.listing(most_pages))
            }
            Style::Offset
                if matches!(
                    self.flaw,
                    Flaw::MovesOnlyForward | Flaw::HasNoTotals | Flaw::StopsAtShortPages | Flaw::BelievesTheEnd
                ) =>
            {
                paging::chain(0, most_pages, move |offset| {
                    let (this, request) = (this.clone(), at_offset(&request, Offset { offset, limit: page_size }));
                    async move {
                        let (page, records) = this.page(&request).await?;
                        let next = offset + records;
                        let on = match this.flaw {
                            Flaw::StopsAtShortPages => records == u64::from(page_size),
                            Flaw::HasNoTotals => records > 0,
                            Flaw::BelievesTheEnd if records == 0 => false,
                            _ => page.declared_total.is_some_and(|total| next < total),
                        };
                        Ok((page, on.then_some(next)))
                    }
                })
            }
            Style::Offset => paging::by_offset(page_size, self.listing(most_pages), move |at| {
                let (this, request) = (this.clone(), at_offset(&request, at));
                async move {
                    Ok(match this.page_or_none(&request).await? {
                        Ok((page, records)) => {
                            OffsetPage { page, records, limit: None, linked: false, leads_to: None }.into()
                        }
                        Err(refusal) => Fetched::Missing(refusal.into_error()),
                    })
                }
            }),
        }
    }

    fn listing(&self, most_pages: u64) -> Listing {
        Listing { most_pages, ..self.api.client().listing(&SALES) }
    }

    fn by_link(&self, first: Url, listing: Listing) -> PageStream {
        let (this, flaw) = (self.clone(), self.flaw);
        let fetch = move |url: Url| {
            let this = this.clone();
            async move {
                let page = match this.page_or_none(&Request::get("sales", url).lists(SALES.records_at)).await? {
                    Ok((page, _)) => page,
                    Err(refusal) => return Ok(Fetched::Missing(refusal.into_error())),
                };
                let [next] = envelope::read(&page.bytes, &[&["next"]])?;
                Ok(Fetched::Page((page, next.and_then(|next| next.as_text().map(str::to_owned)))))
            }
        };
        if !matches!(flaw, Flaw::FollowsAnyLink | Flaw::FollowsInCircles) {
            return paging::by_link(first, listing, fetch);
        }
        paging::chain(first, listing.most_pages, move |url| {
            let page = fetch(url.clone());
            async move {
                let (page, next) = match page.await? {
                    Fetched::Page(found) => found,
                    Fetched::Missing(error) => return Err(error),
                };
                let next = match next.map(|next| (origin::follow(&url, &next), next)) {
                    // The kit's own client would refuse.
                    Some((Err(_), next)) if flaw == Flaw::FollowsAnyLink => {
                        let asked = reqwest::Client::builder().no_proxy().build().map(|client| client.get(next).send());
                        match asked {
                            Ok(answer) => answer.await.map(|_| None).map_err(|_| Error::protocol("nobody there"))?,
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
    async fn page(&self, request: &Request) -> Result<(Page, u64)> {
        self.page_or_none(request).await?.map_err(Refusal::into_error)
    }

    /// The same, or that there is no such page.
    async fn page_or_none(&self, request: &Request) -> Result<Result<(Page, u64), Refusal>> {
        let first = Timestamp::now();
        let mut response = match self.api.send(request).await {
            Ok(Answer::Refused(refusal)) if refusal.is_past_the_end() && self.flaw != Flaw::TakesNothingForAnError => {
                return Ok(Err(refusal));
            }
            answer => answer.and_then(Answer::success),
        };
        while let Err(error) = &response
            && matches!(self.flaw, Flaw::IgnoresRetryAfter | Flaw::TriesForEver)
            && error.kind() != ErrorKind::Protocol
        {
            self.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            response = self.api.send(request).await.and_then(Answer::success);
        }
        let response = match response {
            Err(error) if self.flaw == Flaw::TellsItsPassword => return Err(error.at("password", PASSWORD)),
            Err(error) if self.flaw == Flaw::HidesTheServersWords => return Err(Error::new(error.kind(), "it failed")),
            response => response?,
        };
        let encoding = response.headers.get(reqwest::header::CONTENT_ENCODING);
        if self.flaw == Flaw::KnowsOneSpelling && encoding.is_some_and(|encoding| encoding != "gzip") {
            return Err(Error::protocol("an unknown encoding"));
        }
        if self.flaw == Flaw::IsStricterThanTheDecoder {
            serde_json::from_slice::<serde_json::Value>(&response.bytes).map_err(|_| Error::protocol("not JSON"))?;
        }
        let bytes = match self.flaw {
            Flaw::TakesNothingForAnError => response.bytes,
            _ if &*request.resource == "sales" => paging::or_empty(response.bytes, SALES.records_at),
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
            anew: false,
            again: false,
        };
        match self.flaw {
            Flaw::RewritesNumbers => {
                let body: serde_json::Value = serde_json::from_slice(&page.bytes).unwrap_or_default();
                page.bytes = body.to_string().into();
            }
            Flaw::DropsLastRecord if records > 0 => {
                let body = String::from_utf8_lossy(&page.bytes);
                let kept = body.rfind(r#",{"id""#).or_else(|| Some(body.rfind('[')? + 1)).unwrap_or_default();
                page.bytes = format!("{}]}}", &body[..kept]).into();
            }
            Flaw::HidesTotals | Flaw::HasNoTotals => page.declared_total = None,
            // The lie is one too high, and the last page is the one that is not full.
            Flaw::RepairsTotals => page.declared_total = total.map(|total| total - total % 2),
            Flaw::TakesTheFirstTime => page.requested_at = first,
            Flaw::KeepsTheMark => page.bytes = [b"\xef\xbb\xbf", &page.bytes[..]].concat().into(),
            _ => {}
        }
        Ok(Ok((page, records)))
    }

    fn prices(&self, slice: &Slice) -> PageStream {
        if self.flaw == Flaw::ForgetsOldPrices && slice.window.from() > kiosk::now() {
            return stream::empty().boxed();
        }
        let this = self.clone();
        paging::chain((), 1, move |()| {
            let this = this.clone();
            async move {
                let request = Request::get("prices", this.api.client().url("/prices")?).lists(PRICES.records_at);
                Ok((this.page(&request).await?.0, None))
            }
        })
    }

    /// The stream as the flaw has it.
    fn flawed(&self, mut pages: PageStream) -> PageStream {
        match self.flaw {
            Flaw::RepeatsPages => {
                let twice = pages.flat_map(|page| match page {
                    Ok(page) => stream::iter(vec![Ok(page.clone()), Ok(page)]),
                    Err(error) => stream::iter(vec![Err(error)]),
                });
                twice.boxed()
            }
            Flaw::EndsQuietly => pages.take_while(|page| std::future::ready(page.is_ok())).boxed(),
            Flaw::ReadsAllAtOnce => stream::once(pages.collect::<Vec<_>>()).flat_map(stream::iter).boxed(),
            Flaw::LeavesATaskBehind => {
                let begin = async move {
                    let (sender, receiver) = tokio::sync::mpsc::channel(1_000);
                    tokio::spawn(async move {
                        while let Some(page) = pages.next().await {
                            let _ = sender.send(page).await;
                        }
                    });
                    stream::unfold(receiver, |mut pages| async move { Some((pages.recv().await?, pages)) })
                };
                stream::once(begin).flatten().boxed()
            }
            _ => pages,
        }
    }
}

fn at_offset(request: &Request, at: Offset) -> Request {
    request.clone().query("offset", &at.offset.to_string()).query("limit", &at.limit.to_string())
}

fn failed(error: Error) -> PageStream {
    stream::iter([Err(error)]).boxed()
}

fn known(resource: &str) -> Result<()> {
    match WITH_TOTALS.iter().any(|known| known.name == resource) {
        true => Ok(()),
        false => Err(Error::config(format!("the kiosk has no resource {resource:?}"))),
    }
}

#[async_trait]
impl Source for Till {
    fn name(&self) -> &'static str {
        "kiosk"
    }

    fn resources(&self) -> &'static [Resource] {
        match (self.style, self.flaw) {
            (Style::Link, _) | (_, Flaw::HasNoTotals | Flaw::DeniesTotals) => WITHOUT_TOTALS,
            _ => WITH_TOTALS,
        }
    }

    async fn check(&self) -> Result<()> {
        match self.flaw {
            Flaw::ChecksNothing => Ok(()),
            Flaw::KeepsKnocking => self.cashier.login(None).await.map(drop),
            _ => {
                self.api.log_in().await?;
                let request = Request::get("prices", self.api.client().url("/prices")?);
                self.api.send(&request).await?.success().map(drop)
            }
        }
    }

    async fn tenants(&self, resource: &str) -> Result<Vec<Option<String>>> {
        known(resource)?;
        Ok(vec![None])
    }

    fn pages(&self, slice: &Slice) -> PageStream {
        let pages = match slice.resource.as_str() {
            "sales" => self.sales(("from", slice.window.from()), ("to", slice.window.to())),
            "prices" => self.prices(slice),
            _ if self.flaw == Flaw::KnowsEverything => stream::empty().boxed(),
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
                let url = this.api.client().url(&format!("/sales/{}", origin::path_segment(&id)?))?;
                match this.api.send(&Request::get("sales", url)).await? {
                    Answer::Refused(refusal)
                        if refusal.status == StatusCode::NOT_FOUND && this.flaw != Flaw::FailsForGoneRecords =>
                    {
                        Ok(None)
                    }
                    answer => answer.success().map(Some),
                }
            }
        };
        let pages =
            stream::iter(ids).then(one).filter_map(|page: Result<Option<_>>| std::future::ready(page.transpose()));
        pages
            .map(|response: Result<crate::Response>| {
                let crate::Response { bytes, requested_at, .. } = response?;
                Ok(Page { bytes, declared_total: None, requested_at, scope: None, anew: false, again: false })
            })
            .boxed()
    }

    fn late_pages(&self, slice: &Slice) -> PageStream {
        if slice.resource != "sales" || self.flaw == Flaw::HasNoLateRecords {
            return stream::empty().boxed();
        }
        self.sales(("learnt_from", slice.window.from()), ("learnt_to", slice.window.to()))
    }

    fn stats(&self) -> Stats {
        let stats = self.api.stats();
        Stats { retries: stats.retries + self.retries.load(Ordering::Relaxed), ..stats }
    }
}
