//! The source itself: lists by window or whole, and the lists of every parent.
//!
//! Invariant: every request says its whole question anew, so a page can be asked for again at any time.

use crate::connection::{SOURCE, Settings};
use crate::endpoints::{self, ENDPOINTS, Endpoint, RESOURCES};
use async_trait::async_trait;
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tillhouse_extract::http::Stats;
use tillhouse_extract::paging::{self, After, Keyed, KeyedPage};
use tillhouse_extract::source::{failed, known};
use tillhouse_extract::{Answer, AuthorizedClient, Page, PageStream, Refusal, Request, Response, Route, Source};
use tillhouse_model::reconcile::{Evidence, Yardstick};
use tillhouse_model::{Error, Filter, ReadBy, Resource, Result, Slice, Window};

/// A machine may have been offline for this long before it could tell the provider when a trouble was over.
const OFFLINE: SignedDuration = SignedDuration::from_hours(3 * 24);
/// The scope where one list is configured for what is otherwise listed parent by parent.
const ALL: &str = "all";
const NOT_BY_KEY: &str = "Check connection.operators (above) with the provider.";

/// One SmartNow login.
#[derive(Debug)]
pub(crate) struct SmartNow {
    pub(crate) api: AuthorizedClient,
    pub(crate) settings: Settings,
}

impl SmartNow {
    fn route(&self, endpoint: &Endpoint) -> Result<&Route> {
        let at = ENDPOINTS.iter().position(|e| e.name == endpoint.name);
        let route = at.and_then(|at| self.settings.routes.get(at));
        route.ok_or_else(|| Error::internal("an endpoint without a route").at("resource", endpoint.name))
    }

    /// The request for a list that has no parent.
    pub(crate) fn request(&self, endpoint: &Endpoint) -> Result<Request> {
        self.request_of(endpoint, "")
    }

    /// The request for a parent's list.
    pub(crate) fn request_of(&self, endpoint: &Endpoint, parent: &str) -> Result<Request> {
        Ok(Request::get(endpoint.name, self.api.client().url(&self.route(endpoint)?.to(parent)?)?))
    }

    /// What asks for a window of a column, and for the archive where that may be needed.
    fn filter(&self, endpoint: &Endpoint, column: &str, window: &Window, archive: bool) -> Vec<(String, String)> {
        let (operators, window) = (&self.settings.operators, window.in_seconds());
        let mut filter = vec![
            (compare(column, &operators.at_least), window.from().to_string()),
            (compare(column, &operators.below), window.to().to_string()),
        ];
        if archive && endpoint.archived {
            filter.push((self.settings.archive.parameter.clone(), "true".into()));
        }
        filter
    }

    /// Whether a window reaches so far back that some of it may have been archived.
    fn reaches_the_archive(&self, window: &Window) -> bool {
        let after = self.settings.archive.after;
        after.is_some_and(|after| Timestamp::now().checked_sub(after).is_ok_and(|oldest| window.from() < oldest))
    }

    /// How many records of an endpoint a sync asks for at once.
    pub(crate) fn page_size(&self, endpoint: &Endpoint) -> Result<u32> {
        known("SmartNow", RESOURCES, endpoint.name).map(|resource| self.api.client().listing(resource).page_size)
    }

    /// The records of a list, or of every parent's; `filter` says which of them.
    fn list(&self, endpoint: &'static Endpoint, filter: Vec<(String, String)>) -> PageStream {
        let (route, resource) = match (self.route(endpoint), known("SmartNow", RESOURCES, endpoint.name)) {
            (Ok(route), Ok(resource)) => (route.clone(), resource),
            (Err(error), _) | (_, Err(error)) => return failed(error),
        };
        let parent = endpoint.parent.and_then(endpoints::find).filter(|_| route.wants_id());
        let parents = parent.map(|parent| self.list(parent, Vec::new()));
        let listing = self.api.client().listing(resource);
        let asked = Keyed { source: SOURCE, resource: endpoint.name, listing, hint: NOT_BY_KEY };
        let above = compare("id", &self.settings.operators.above);
        let list = Arc::new(List { api: self.api.clone(), endpoint, route, filter, above });
        paging::by_key(asked, parents, move |after| list.clone().page(after))
    }
}

/// One question, page by page.
struct List {
    api: AuthorizedClient,
    endpoint: &'static Endpoint,
    route: Route,
    /// Further parameters of the query.
    filter: Vec<(String, String)>,
    /// The parameter that asks for what is behind an id.
    above: String,
}

impl List {
    async fn page(self: Arc<Self>, after: After) -> Result<KeyedPage> {
        let path = self.route.to(after.parent.as_deref().unwrap_or_default())?;
        let request = Request::get(self.endpoint.name, self.api.client().url(&path)?).lists(&[]);
        let mut request = self.filter.iter().fold(request, |request, (key, value)| request.query(key, value));
        if let Some(key) = &after.key {
            request = request.query(&self.above, &key.to_string());
        }
        let request = request.query("sort", "id asc").query("limit", &after.limit.to_string());
        match self.api.send(&request).await? {
            Answer::Success(Response { bytes, requested_at, .. }) => {
                let one_for_all = !self.route.wants_id() && self.endpoint.path.contains('{');
                let scope = one_for_all.then(|| ALL.into());
                Ok(KeyedPage::Here(Page {
                    bytes,
                    declared_total: None,
                    requested_at,
                    scope,
                    anew: false,
                    again: false,
                }))
            }
            Answer::Refused(refusal) if refusal.is_past_the_end() => {
                Ok(KeyedPage::Gone(refused(self.endpoint, refusal)))
            }
            Answer::Refused(refusal) => Err(refused(self.endpoint, refusal)),
        }
    }
}

/// A window with the days before it in which machines may have been offline.
fn offline_too(window: Window) -> Window {
    let from = window.from().checked_sub(OFFLINE).unwrap_or(Timestamp::MIN);
    Window::new(from, window.to()).unwrap_or(window)
}

/// `where[column][operator]`.
pub(crate) fn compare(column: &str, operator: &str) -> String {
    format!("where[{column}][{operator}]")
}

/// A refusal, and what to do about it.
pub(crate) fn refused(endpoint: &Endpoint, refusal: Refusal) -> Error {
    let (status, name) = (refusal.status.as_u16(), endpoint.name);
    let settled = refusal.names_page_size() || (status != 401 && refusal.names_token());
    let error = refusal.into_error();
    match status {
        _ if settled => error,
        401 => error.hint(
            "SmartNow refuses a token it has just given out: check connection.token_prefix, and ask the provider what this user may do.",
        ),
        403 => error.hint(format!(
            "Ask the provider to let this user read {name}, or leave {name} out of the pipeline's resources."
        )),
        404 | 405 => error.hint(format!("Set connection.paths.{name} (and base_url) as the provider says.")),
        400 | 422 => error.hint(format!(
            "If it is the filter that is refused, set connection.operators as the provider spells them; {name} is asked for by {}.",
            endpoint.time.unwrap_or("id"),
        )),
        _ => error,
    }
}

fn endpoint(resource: &str) -> Result<&'static Endpoint> {
    known("SmartNow", RESOURCES, resource)?;
    endpoints::find(resource).ok_or_else(|| Error::internal("a resource without an endpoint"))
}

#[async_trait]
impl Source for SmartNow {
    fn name(&self) -> &'static str {
        SOURCE
    }

    fn resources(&self) -> &'static [Resource] {
        RESOURCES
    }

    async fn check(&self) -> Result<()> {
        crate::setup::check(self).await
    }

    async fn tenants(&self, resource: &str) -> Result<Vec<Option<String>>> {
        endpoint(resource).map(|_| vec![None])
    }

    fn pages(&self, slice: &Slice) -> PageStream {
        match endpoint(&slice.resource) {
            Err(error) => failed(error),
            Ok(endpoint @ Endpoint { time: None, .. }) => self.list(endpoint, Vec::new()),
            Ok(endpoint @ Endpoint { time: Some(column), .. }) => {
                let archive = self.reaches_the_archive(&slice.window);
                self.list(endpoint, self.filter(endpoint, column, &slice.window, archive))
            }
        }
    }

    fn asks(&self, slice: &Slice, by: ReadBy) -> Window {
        match endpoint(&slice.resource) {
            Ok(Endpoint { late: Some(_), .. }) if by == ReadBy::ChangeTime => offline_too(slice.window),
            _ => slice.window,
        }
    }

    fn late_pages(&self, slice: &Slice) -> PageStream {
        match endpoint(&slice.resource) {
            Err(error) => failed(error),
            Ok(Endpoint { late: None, .. }) => stream::empty().boxed(),
            Ok(endpoint @ Endpoint { late: Some(column), .. }) => {
                // How old the record is that something was learnt of, nobody knows: the archive is asked too.
                let archive = self.settings.archive.after.is_some();
                self.list(endpoint, self.filter(endpoint, column, &offline_too(slice.window), archive))
            }
        }
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let Settings { price_unit, vat_rate, sales_types, .. } = &self.settings;
        vec![
            ("price_unit", price_unit.as_str().to_owned()),
            ("vat_rate", vat_rate.as_str().to_owned()),
            ("sales_types", sales_types.clone()),
        ]
    }

    fn yardstick(&self) -> Yardstick {
        Yardstick::Revenue
    }

    async fn evidence(&self, _tenant: Option<&str>, window: Window, filter: Option<&Filter>) -> Result<Evidence> {
        if filter.is_some() {
            return Err(Error::config("SmartNow's summary of revenue cannot be narrowed by a filter")
                .hint("Leave --filter out; a part of the sales can be compared with a file of --control."));
        }
        let Settings { summary, price_unit, .. } = &self.settings;
        crate::summary::ask(&self.api, summary, *price_unit, window).await
    }

    fn stats(&self) -> Stats {
        self.api.stats()
    }
}
