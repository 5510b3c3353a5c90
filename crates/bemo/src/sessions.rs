//! Sessions of an account, by the days they started on or by the day be-mo learnt of them.
//!
//! Invariant: every request says the whole question and names one account, and so does every page, in its scope.

use crate::connection::{RESOURCES, SOURCE};
use crate::error_envelope::{is_past_the_end, refusal_error, verdict};
use async_trait::async_trait;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tillhouse_extract::paging::{
    self, FetchOutcome, NextPage, NumberedPage, PageNumbering, PagePosition,
};
use tillhouse_extract::{
    AuthorizedClient, ClientStats, HeaderName, HttpOutcome, HttpRequest, HttpResponse, Page,
    PageStream, PathTemplate, Source, check_page, envelope, failed_stream, find_resource,
    follow_link, redact_url,
};
use tillhouse_model::{Error, ReadBy, Resource, Result, Slice, Window};
use url::Url;

const SESSIONS: &Resource = &RESOURCES[0];
/// An answer that is no longer than this and holds no list may be an explanation.
const SHORT: usize = 2 << 10;
/// Key of a session's id.
const ID: &str = "sessionId";

/// Source of one be-mo access token and the accounts read with it.
#[derive(Debug)]
pub(crate) struct BemoSource {
    api: AuthorizedClient,
    accounts: Vec<String>,
    /// The path of an account's list.
    route: PathTemplate,
    next_range: Option<HeaderName>,
    first_page: u64,
    /// Numbering of pages, counted from `first_page` as far as that is known.
    numbering: PageNumbering,
    /// True if the warning that the server's links are not followed was given.
    warned: Arc<AtomicBool>,
}

impl BemoSource {
    pub(crate) fn new(
        api: AuthorizedClient,
        accounts: Vec<String>,
        route: PathTemplate,
        next_range: Option<HeaderName>,
        first_page: Option<u64>,
    ) -> Self {
        Self {
            api,
            accounts,
            route,
            next_range,
            first_page: first_page.unwrap_or(0),
            numbering: first_page.map_or_else(PageNumbering::default, |_| PageNumbering::known()),
            warned: Arc::default(),
        }
    }

    /// A question about an account's sessions, and how to read the answer.
    fn list(
        &self,
        account: &str,
        question: &[(&str, String)],
        limit: u32,
    ) -> Result<BemoSessionList> {
        let url = self.api.client().url(&self.route.expand(account)?)?;
        let request = HttpRequest::get(SESSIONS.name, url)
            .with_success_check(verdict)
            .expecting_records_at(SESSIONS.records_at);
        let request = question
            .iter()
            .fold(request, |request, (key, value)| request.query(key, value));
        Ok(BemoSessionList {
            api: self.api.clone(),
            account: account.into(),
            request,
            limit,
            next_range: self.next_range.clone(),
            first_page: self.first_page,
            warned: self.warned.clone(),
        })
    }

    fn stream(&self, slice: &Slice, question: &[(&str, String)]) -> PageStream {
        let listing = self.api.client().listing_options(SESSIONS);
        let list = find_resource("be-mo", RESOURCES, &slice.resource).and_then(|_| {
            let account = slice.tenant.as_deref();
            let account =
                account.ok_or_else(|| Error::config("be-mo is asked account by account"))?;
            self.list(account, question, listing.page_size)
        });
        match list {
            Err(error) => failed_stream(error),
            Ok(list) => paging::by_page(self.numbering.clone(), listing, move |place| {
                list.clone().page(place)
            }),
        }
    }
}

/// One query of a session list, read page by page.
#[derive(Debug, Clone)]
struct BemoSessionList {
    api: AuthorizedClient,
    account: Arc<str>,
    /// The question without the page's number and size.
    request: HttpRequest,
    limit: u32,
    next_range: Option<HeaderName>,
    first_page: u64,
    warned: Arc<AtomicBool>,
}

impl BemoSessionList {
    async fn page(self, place: PagePosition) -> Result<FetchOutcome<NumberedPage>> {
        let request = match place.link {
            Some(link) => HttpRequest::get(SESSIONS.name, link)
                .with_success_check(verdict)
                .expecting_records_at(SESSIONS.records_at),
            None => {
                let number = self.first_page.saturating_add(place.index);
                let limit = place.size.unwrap_or(self.limit);
                self.request
                    .clone()
                    .query("limit", &limit.to_string())
                    .query("offset", &number.to_string())
            }
        };
        let answer = self.api.send(&request).await?;
        let explained =
            |refusal| refusal_error(refusal, &self.account, self.api.client().redactor());
        let response = match answer {
            HttpOutcome::Success(response) => response,
            HttpOutcome::Refused(refusal) if is_past_the_end(&refusal) => {
                return Ok(FetchOutcome::Missing(refusal.explained(explained)));
            }
            HttpOutcome::Refused(refusal) => return Err(explained(refusal)),
        };
        let (next, declared_total) = (self.next(&response), response.range_total());
        let HttpResponse {
            bytes,
            requested_at,
            url,
            ..
        } = response;
        let bytes = paging::normalise_empty(bytes, SESSIONS.records_at);
        let records = envelope::identities(&bytes, SESSIONS.records_at, ID)
            .map_err(|error| self.in_their_words(error, &bytes))
            .map_err(|e| {
                e.at("source", SOURCE)
                    .at("account", &*self.account)
                    .at("url", redact_url(&url))
            })?;
        let page = Page {
            bytes,
            declared_total,
            requested_at,
            scope: Some(self.account),
            restarts_listing: false,
            is_reread: false,
            remarks: Vec::new(),
        };
        Ok(NumberedPage {
            page,
            records,
            url,
            next,
        }
        .into())
    }

    /// The error of an answer that is no page, with what the server says instead: there is no login that would have said it.
    fn in_their_words(&self, error: Error, body: &[u8]) -> Error {
        let short = body.len() <= SHORT;
        let said = self
            .api
            .client()
            .redactor()
            .provider_message(body)
            .filter(|_| short);
        match said {
            None => error,
            Some(words) => Error::protocol(format!("{}: {words}", error.message()))
                .hint("Check connection.access_token and connection.subscription_key, and connection.base_url and connection.paths."),
        }
    }

    /// The link to the next page. One that leads away is not followed, with our credentials or without: the page is then asked
    /// for by its number, at home.
    fn next(&self, response: &HttpResponse) -> NextPage {
        let header = self
            .next_range
            .as_ref()
            .and_then(|name| response.headers.get(name));
        let link = header
            .and_then(|value| value.to_str().ok())
            .map_or("", str::trim);
        if link.is_empty() {
            return match response.is_part() {
                true => NextPage::ByNumber,
                false => NextPage::Unknown,
            };
        }
        // Anything else would be taken for a path beside the list's.
        let is_link = link.starts_with(['/', '?']) || Url::parse(link).is_ok();
        match is_link.then(|| follow_link(&response.url, link)) {
            Some(Ok(url)) => NextPage::Link(url),
            Some(Err(error)) => {
                self.elsewhere(&self.api.client().redactor().scrub(&error.to_string()))
            }
            None => self.elsewhere("it is no address"),
        }
    }

    fn elsewhere(&self, why: &str) -> NextPage {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                source = SOURCE,
                why,
                "the server's link to the next page is not followed; asking by number"
            );
        }
        NextPage::Elsewhere
    }
}

/// Greatest distance of clocks on earth behind UTC and ahead of it.
const BEHIND: SignedDuration = SignedDuration::from_hours(12);
const AHEAD: SignedDuration = SignedDuration::from_hours(14);

/// The first date that any clock shows within a window, and the day after the last: which clock is meant, and whether the end itself
/// is, the document does not say.
fn dates(window: &Window) -> (Date, Date) {
    let day = |instant: Timestamp| instant.to_zoned(TimeZone::UTC).date();
    let from = day(window.from().checked_sub(BEHIND).unwrap_or(Timestamp::MIN));
    let last = window
        .to()
        .checked_sub(1.microsecond())
        .and_then(|last| last.checked_add(AHEAD));
    let last = day(last.unwrap_or(Timestamp::MAX));
    (from, last.checked_add(1.day()).unwrap_or(last))
}

fn started(window: &Window) -> [(&'static str, String); 2] {
    let (from, to) = dates(window);
    [("from", from.to_string()), ("to", to.to_string())]
}

#[async_trait]
impl Source for BemoSource {
    fn name(&self) -> &'static str {
        SOURCE
    }

    fn resources(&self) -> &'static [Resource] {
        RESOURCES
    }

    async fn check(&self) -> Result<()> {
        self.api.log_in().await?;
        let now = Timestamp::now();
        let today = Window::new(now, now.checked_add(1.second()).unwrap_or(Timestamp::MAX))?;
        let size = self.api.client().listing_options(SESSIONS).page_size;
        for account in &self.accounts {
            let page = check_page(size, async |limit| {
                let list = self.list(account, &started(&today), limit)?;
                match list
                    .page(PagePosition {
                        index: 0,
                        size: None,
                        link: None,
                    })
                    .await?
                {
                    FetchOutcome::Page(_) => Ok(()),
                    FetchOutcome::Missing(error) => Err(error),
                }
            });
            page.await?;
        }
        Ok(())
    }

    async fn tenants(&self, resource: &str) -> Result<Vec<Option<String>>> {
        find_resource("be-mo", RESOURCES, resource)?;
        Ok(self.accounts.iter().cloned().map(Some).collect())
    }

    fn pages(&self, slice: &Slice) -> PageStream {
        self.stream(slice, &started(&slice.window))
    }

    fn asks(&self, slice: &Slice, by: ReadBy) -> Window {
        let (from, to) = dates(&slice.window);
        // A date's instants on every clock.
        let start = |date: Date| {
            date.to_zoned(TimeZone::UTC)
                .map_or(Timestamp::MAX, |day| day.timestamp())
        };
        let from = start(from)
            .checked_sub(AHEAD)
            .unwrap_or(Timestamp::MIN)
            .min(slice.window.from());
        let to = match by {
            // The last date may be meant, all day long.
            ReadBy::EventTime => start(to.tomorrow().unwrap_or(Date::MAX))
                .checked_add(BEHIND)
                .unwrap_or(Timestamp::MAX)
                .max(slice.window.to()),
            // The changes learnt since.
            ReadBy::ChangeTime => slice.window.to(),
        };
        Window::new(from, to).unwrap_or(slice.window)
    }

    fn pages_by_change_time(&self, slice: &Slice) -> PageStream {
        self.stream(
            slice,
            &[("lastCreated", dates(&slice.window).0.to_string())],
        )
    }

    fn stats(&self) -> ClientStats {
        self.api.stats()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dates_of_a_window_are_those_of_every_clock() {
        for (from, to, wanted) in [
            (
                "2026-01-01T00:00:00Z",
                "2026-01-02T00:00:00Z",
                ("2025-12-31", "2026-01-03"),
            ),
            (
                "2026-01-01T12:00:00Z",
                "2026-01-01T13:00:00Z",
                ("2026-01-01", "2026-01-03"),
            ),
            (
                "2026-01-01T06:00:00Z",
                "2026-01-01T10:00:00Z",
                ("2025-12-31", "2026-01-02"),
            ),
            (
                "2024-02-28T12:00:00Z",
                "2024-02-28T13:00:00Z",
                ("2024-02-28", "2024-03-01"),
            ),
        ] {
            let window = Window::new(from.parse().unwrap(), to.parse().unwrap()).unwrap();
            let (from, to) = dates(&window);
            assert_eq!((from.to_string().as_str(), to.to_string().as_str()), wanted);
        }
        let ever = Window::new(Timestamp::MIN, Timestamp::MAX).unwrap();
        assert_eq!(dates(&ever).0.year(), -9999);
    }
}
