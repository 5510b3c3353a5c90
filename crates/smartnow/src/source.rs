//! The source itself: lists by window or whole, and the lists of every parent.
//!
//! Invariant: every request says its whole question anew, so a page can be asked for again at any time.

use crate::connection::{SOURCE, SmartNowSettings};
use crate::endpoints::{self, ENDPOINTS, RESOURCES, SmartNowEndpoint};
use crate::parents::ParentReadings;
use async_trait::async_trait;
use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use tillhouse_extract::paging::{self, KeyPosition, KeyedFetch, KeyedListing};
use tillhouse_extract::{
    AuthorizedClient, ClientStats, HttpOutcome, HttpRefusal, HttpRequest, HttpResponse, Page,
    PageStream, PathTemplate, Source, failed_stream, find_resource, overlapping_window,
};
use tillhouse_model::reconcile::{ProviderFigures, ReconcileAgainst};
use tillhouse_model::{Error, Filter, ReadBy, Resource, Result, Slice, Window};

/// A machine may have been offline for this long before it could tell the provider when a trouble was over.
const OFFLINE: SignedDuration = SignedDuration::from_hours(3 * 24);
/// The scope where one list is configured for what is otherwise listed parent by parent.
const ALL: &str = "all";
const NOT_BY_KEY: &str = "Check connection.operators (above) with the provider.";

/// Source of one SmartNow login.
#[derive(Debug)]
pub(crate) struct SmartNowSource {
    pub(crate) api: AuthorizedClient,
    pub(crate) settings: SmartNowSettings,
    /// Lists of parents that are being read.
    pub(crate) parents: ParentReadings,
}

impl SmartNowSource {
    fn route(&self, endpoint: &SmartNowEndpoint) -> Result<&PathTemplate> {
        let at = ENDPOINTS.iter().position(|e| e.name == endpoint.name);
        let route = at.and_then(|at| self.settings.routes.get(at));
        route.ok_or_else(|| {
            Error::internal("an endpoint without a route").at("resource", endpoint.name)
        })
    }

    /// The request for a list that has no parent.
    pub(crate) fn request(&self, endpoint: &SmartNowEndpoint) -> Result<HttpRequest> {
        self.request_of(endpoint, "")
    }

    /// The request for a parent's list.
    pub(crate) fn request_of(
        &self,
        endpoint: &SmartNowEndpoint,
        parent: &str,
    ) -> Result<HttpRequest> {
        Ok(HttpRequest::get(
            endpoint.name,
            self.api
                .client()
                .url(&self.route(endpoint)?.expand(parent)?)?,
        ))
    }

    /// Query for a window of a column, as it is to be asked for, and for the archive where that may be needed.
    fn filter(
        &self,
        endpoint: &SmartNowEndpoint,
        column: &str,
        window: &Window,
        archive: bool,
    ) -> Vec<(String, String)> {
        let operators = &self.settings.operators;
        let mut filter = vec![
            (
                comparison_parameter(column, &operators.at_least),
                window.from().to_string(),
            ),
            (
                comparison_parameter(column, &operators.below),
                window.to().to_string(),
            ),
        ];
        if archive && endpoint.archived {
            filter.push((self.settings.archive.parameter.clone(), "true".into()));
        }
        filter
    }

    /// True if a window reaches so far back that some of it may have been archived.
    fn reaches_the_archive(&self, window: &Window) -> bool {
        let after = self.settings.archive.after;
        after.is_some_and(|after| {
            Timestamp::now()
                .checked_sub(after)
                .is_ok_and(|oldest| window.from() < oldest)
        })
    }

    /// Records of an endpoint that a sync asks for at once.
    pub(crate) fn page_size(&self, endpoint: &SmartNowEndpoint) -> Result<u32> {
        find_resource("SmartNow", RESOURCES, endpoint.name)
            .map(|resource| self.api.client().listing_options(resource).page_size)
    }

    /// The records of a list, or of every parent's; `filter` says which of them.
    fn list(
        &self,
        endpoint: &'static SmartNowEndpoint,
        filter: Vec<(String, String)>,
    ) -> PageStream {
        let (route, resource) = match (
            self.route(endpoint),
            find_resource("SmartNow", RESOURCES, endpoint.name),
        ) {
            (Ok(route), Ok(resource)) => (route.clone(), resource),
            (Err(error), _) | (_, Err(error)) => return failed_stream(error),
        };
        let parent = endpoint
            .parent
            .and_then(endpoints::find)
            .filter(|_| route.wants_id());
        let parents = parent.map(|parent| {
            let begin = || self.list(parent, Vec::new());
            self.parents.join(parent.name, begin)
        });
        let listing = self.api.client().listing_options(resource);
        let asked = KeyedListing {
            source: SOURCE,
            resource: endpoint.name,
            listing,
            hint: NOT_BY_KEY,
        };
        let above = comparison_parameter("id", &self.settings.operators.above);
        let list = Arc::new(SmartNowList {
            api: self.api.clone(),
            endpoint,
            route,
            filter,
            above,
        });
        paging::by_key(asked, parents, move |after| list.clone().page(after))
    }
}

/// One query of a list, read page by page.
struct SmartNowList {
    api: AuthorizedClient,
    endpoint: &'static SmartNowEndpoint,
    route: PathTemplate,
    /// Further parameters of the query.
    filter: Vec<(String, String)>,
    /// The parameter that asks for what is behind an id.
    above: String,
}

impl SmartNowList {
    async fn page(self: Arc<Self>, after: KeyPosition) -> Result<KeyedFetch> {
        let path = self
            .route
            .expand(after.parent.as_deref().unwrap_or_default())?;
        let request = HttpRequest::get(self.endpoint.name, self.api.client().url(&path)?)
            .expecting_records_at(&[]);
        let mut request = self
            .filter
            .iter()
            .fold(request, |request, (key, value)| request.query(key, value));
        if let Some(key) = &after.key {
            request = request.query(&self.above, &key.to_string());
        }
        let request = request
            .query("sort", "id asc")
            .query("limit", &after.limit.to_string());
        match self.api.send(&request).await? {
            HttpOutcome::Success(response) => {
                let declared_total = response.range_total();
                let HttpResponse {
                    bytes,
                    requested_at,
                    ..
                } = response;
                let one_for_all = !self.route.wants_id() && self.endpoint.path.contains('{');
                let scope = one_for_all.then(|| ALL.into());
                Ok(KeyedFetch::Page(Page {
                    bytes,
                    declared_total,
                    requested_at,
                    scope,
                    restarts_listing: false,
                    is_reread: false,
                    remarks: Vec::new(),
                }))
            }
            HttpOutcome::Refused(refusal) if refusal.is_past_the_end() => {
                let explained = |refusal| refusal_error(self.endpoint, refusal);
                Ok(KeyedFetch::Missing(refusal.explained(explained)))
            }
            HttpOutcome::Refused(refusal) => Err(refusal_error(self.endpoint, refusal)),
        }
    }
}

/// A window with the days before it in which machines may have been offline.
fn offline_too(window: Window) -> Window {
    let from = window.from().checked_sub(OFFLINE).unwrap_or(Timestamp::MIN);
    Window::new(from, window.to()).unwrap_or(window)
}

/// `where[column][operator]`.
pub(crate) fn comparison_parameter(column: &str, operator: &str) -> String {
    format!("where[{column}][{operator}]")
}

/// A refusal, and what to do about it.
pub(crate) fn refusal_error(endpoint: &SmartNowEndpoint, refusal: HttpRefusal) -> Error {
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

fn endpoint(resource: &str) -> Result<&'static SmartNowEndpoint> {
    find_resource("SmartNow", RESOURCES, resource)?;
    endpoints::find(resource).ok_or_else(|| Error::internal("a resource without an endpoint"))
}

#[async_trait]
impl Source for SmartNowSource {
    fn name(&self) -> &'static str {
        SOURCE
    }

    fn resources(&self) -> &'static [Resource] {
        RESOURCES
    }

    async fn check(&self) -> Result<()> {
        crate::connection_check::check(self).await
    }

    async fn log_in(&self) -> Result<()> {
        self.api.log_in().await
    }

    async fn tenants(&self, resource: &str) -> Result<Vec<Option<String>>> {
        endpoint(resource).map(|_| vec![None])
    }

    fn pages(&self, slice: &Slice) -> PageStream {
        match endpoint(&slice.resource) {
            Err(error) => failed_stream(error),
            Ok(endpoint @ SmartNowEndpoint { time: None, .. }) => self.list(endpoint, Vec::new()),
            Ok(
                endpoint @ SmartNowEndpoint {
                    time: Some(column), ..
                },
            ) => {
                let archive = self.reaches_the_archive(&slice.window);
                let window = overlapping_window(slice.window);
                self.list(endpoint, self.filter(endpoint, column, &window, archive))
            }
        }
    }

    fn asks(&self, slice: &Slice, by: ReadBy) -> Window {
        match endpoint(&slice.resource) {
            Ok(SmartNowEndpoint { late: Some(_), .. }) if by == ReadBy::ChangeTime => {
                overlapping_window(offline_too(slice.window))
            }
            Ok(SmartNowEndpoint { time: Some(_), .. }) => overlapping_window(slice.window),
            _ => slice.window,
        }
    }

    fn pages_by_change_time(&self, slice: &Slice) -> PageStream {
        match endpoint(&slice.resource) {
            Err(error) => failed_stream(error),
            Ok(SmartNowEndpoint { late: None, .. }) => stream::empty().boxed(),
            Ok(
                endpoint @ SmartNowEndpoint {
                    late: Some(column), ..
                },
            ) => {
                // The age of the record that something was learnt of nobody knows: the archive is asked too.
                let archive = self.settings.archive.after.is_some();
                let window = overlapping_window(offline_too(slice.window));
                self.list(endpoint, self.filter(endpoint, column, &window, archive))
            }
        }
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let SmartNowSettings {
            price_unit,
            vat_rate,
            sales_types,
            ..
        } = &self.settings;
        vec![
            ("price_unit", price_unit.as_str().to_owned()),
            ("vat_rate", vat_rate.as_str().to_owned()),
            ("sales_types", sales_types.clone()),
        ]
    }

    fn reconcile_against(&self) -> ReconcileAgainst {
        ReconcileAgainst::Revenue
    }

    async fn provider_figures(
        &self,
        _tenant: Option<&str>,
        window: Window,
        filter: Option<&Filter>,
    ) -> Result<ProviderFigures> {
        if filter.is_some() {
            return Err(Error::config(
                "SmartNow's summary of revenue cannot be narrowed by a filter",
            )
            .hint(
                "Leave --filter out; a part of the sales can be compared with a file of --control.",
            ));
        }
        let SmartNowSettings {
            summary,
            price_unit,
            ..
        } = &self.settings;
        crate::summary::fetch_summary(&self.api, summary, *price_unit, window).await
    }

    fn stats(&self) -> ClientStats {
        self.api.stats()
    }
}
