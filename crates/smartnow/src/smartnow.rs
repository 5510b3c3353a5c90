//! The source itself: lists by window or whole, and the lists of every parent.
//!
//! Invariant: every request says its whole question anew, so a page can be asked for again at any time; the pages of a parent's
//! list carry the parent's id as their scope.
//!
//! ```text
//!   machines            page after page, for their ids only (not given on)
//!     -> /product/80    page after page, scope 80
//!     -> /product/81    page after page, scope 81
//! ```
//!
//! Rejected: parents as tenants, which would make a slice of every machine and a line in the ledger of every voucher; and asking
//! for the lists of several parents at once, since a stream reads ahead by one page and no more. Slices do run side by side.

use crate::connection::{Route, SOURCE, Settings};
use crate::endpoints::{self, ENDPOINTS, Endpoint, LARGEST_PAGE, RESOURCES};
use crate::listing::{Next, Pager, Row, rows};
use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tillhouse_extract::http::Stats;
use tillhouse_extract::paging;
use tillhouse_extract::{Answer, AuthorizedClient, Page, PageStream, Refusal, Request, Response, Source, StatusCode};
use tillhouse_model::reconcile::{Evidence, Yardstick};
use tillhouse_model::{Error, ErrorKind, Resource, Result, Slice, Window};

/// A machine may have been offline for this long before it could tell the provider when a trouble was over.
const OFFLINE: SignedDuration = SignedDuration::from_hours(3 * 24);
/// The scope where one list is configured for what is otherwise listed parent by parent.
const ALL: &str = "all";

/// One SmartNow login. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct SmartNow(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    api: AuthorizedClient,
    settings: Settings,
    /// Whether it was said already that prices do not fit their unit.
    misfit_told: AtomicBool,
}

/// What is asked of one endpoint, beside where in the list a page begins.
#[derive(Debug, Clone)]
struct Question {
    endpoint: &'static Endpoint,
    /// Further parameters of the query.
    filter: Vec<(String, String)>,
}

/// Where a stream stands.
#[derive(Debug)]
struct Place {
    /// The parents whose lists are still to come; `None` before they are known.
    parents: Option<VecDeque<Arc<str>>>,
    parent: Option<Arc<str>>,
    pager: Pager,
    /// Whether any list was there.
    found: bool,
}

impl SmartNow {
    pub(crate) fn new(api: AuthorizedClient, settings: Settings) -> Self {
        Self(Arc::new(Inner { api, settings, misfit_told: AtomicBool::new(false) }))
    }

    pub(crate) fn api(&self) -> &AuthorizedClient {
        &self.0.api
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.0.settings
    }

    fn route(&self, endpoint: &Endpoint) -> Result<&Route> {
        let at = ENDPOINTS.iter().position(|e| e.name == endpoint.name);
        let route = at.and_then(|at| self.0.settings.routes.get(at));
        route.ok_or_else(|| Error::internal("an endpoint without a route").at("resource", endpoint.name))
    }

    /// The request for a list, of a parent where the endpoint has one.
    pub(crate) fn request(&self, endpoint: &Endpoint, parent: &str) -> Result<Request> {
        let path = self.route(endpoint)?.path(parent)?;
        Ok(Request::get(endpoint.name, self.0.api.client().url(&path)?))
    }

    /// What asks for a window of a column, and for the archive where that may be needed.
    fn window(&self, endpoint: &'static Endpoint, column: &str, window: &Window, archive: bool) -> Question {
        let operators = &self.0.settings.operators;
        let (from, to) = (written(window.from(), RoundMode::Floor), written(window.to(), RoundMode::Ceil));
        let mut filter = vec![
            (compare(column, &operators.at_least), from.to_string()),
            (compare(column, &operators.below), to.to_string()),
        ];
        if archive && endpoint.archived {
            filter.push((self.0.settings.archive.parameter.clone(), "true".into()));
        }
        Question { endpoint, filter }
    }

    /// Whether a window reaches so far back that some of it may have been archived.
    fn reaches_the_archive(&self, window: &Window) -> bool {
        let after = self.0.settings.archive.after;
        after.is_some_and(|after| Timestamp::now().checked_sub(after).is_ok_and(|oldest| window.from() < oldest))
    }

    fn list(&self, question: Question) -> PageStream {
        let this = self.clone();
        let has_parent = self.route(question.endpoint).is_ok_and(Route::has_parent);
        let limits = self.0.api.client().limits();
        let (limit, most_pages) = (limits.page_size.min(LARGEST_PAGE), limits.most_pages);
        let first = Place {
            parents: (!has_parent).then(VecDeque::new),
            parent: None,
            pager: Pager::new(limit, !has_parent),
            found: !has_parent,
        };
        let question = Arc::new(question);
        paging::chain(first, most_pages, move |place| {
            let (this, question) = (this.clone(), question.clone());
            async move { this.page(&question, place, limit).await }
        })
    }

    async fn page(&self, question: &Question, mut place: Place, limit: u32) -> Result<(Page, Option<Place>)> {
        let endpoint = question.endpoint;
        if place.parents.is_none() {
            let mut parents = self.parents(endpoint).await?;
            place.parent = parents.pop_front();
            place.parents = Some(parents);
            if place.parent.is_none() {
                return Ok((nothing(Timestamp::now()), None));
            }
        }
        let mut request = self.request(endpoint, place.parent.as_deref().unwrap_or_default())?;
        for (key, value) in &question.filter {
            request = request.query(key, value);
        }
        if let Some(last) = place.pager.last() {
            request = request.query(&compare("id", &self.0.settings.operators.above), &last.to_string());
        }
        request = request.query("sort", "id asc").query("limit", &limit.to_string());
        let (page, next) = match self.0.api.send(&request).await? {
            Answer::Success(response) => self.listed(endpoint, response, &mut place)?,
            Answer::Refused(refusal) if is_gone(&refusal) && place.parent.is_some() => {
                // The parent is gone since it was listed. Where every list is missing, it is the path that is wrong.
                let last = place.parents.as_ref().is_none_or(VecDeque::is_empty);
                if last && !place.found {
                    return Err(refused(endpoint, refusal));
                }
                (nothing(Timestamp::now()), Next::End)
            }
            Answer::Refused(refusal) => return Err(refused(endpoint, refusal)),
        };
        if next == Next::More {
            return Ok((page, Some(place)));
        }
        place.pager.start_over();
        place.parent = place.parents.as_mut().and_then(VecDeque::pop_front);
        let more = place.parent.is_some();
        Ok((page, more.then_some(place)))
    }

    fn listed(&self, endpoint: &Endpoint, response: Response, place: &mut Place) -> Result<(Page, Next)> {
        let Response { bytes, requested_at, .. } = response;
        let at = |e: Error| e.at("source", SOURCE).at("resource", endpoint.name);
        let (records, alone) = rows(&bytes).map_err(at)?;
        if endpoint.priced {
            self.look_at_prices(endpoint, &records);
        }
        let next = place.pager.take(&records).map_err(at)?;
        place.found = true;
        let bytes = if alone { as_list(&bytes) } else { bytes };
        let one_for_all = place.parent.is_none() && endpoint.path.contains('{');
        let scope = place.parent.clone().or_else(|| one_for_all.then(|| ALL.into()));
        Ok((Page { bytes, declared_total: None, requested_at, scope }, next))
    }

    /// The ids of an endpoint's parents, in their order.
    async fn parents(&self, endpoint: &Endpoint) -> Result<VecDeque<Arc<str>>> {
        let parent = endpoint.parent.and_then(endpoints::find);
        let parent = parent.ok_or_else(|| Error::internal("an endpoint without its parent"))?;
        let mut ids = VecDeque::new();
        let mut pages = self.list(Question { endpoint: parent, filter: Vec::new() });
        while let Some(page) = pages.try_next().await? {
            let (records, _) = rows(&page.bytes)?;
            for id in records.iter().filter_map(Row::id) {
                let id: Arc<str> = id.to_string().into();
                // A list that ignores paging is given twice.
                if ids.back() != Some(&id) {
                    ids.push_back(id);
                }
            }
        }
        Ok(ids)
    }

    /// Says once when prices cannot be in the unit that is configured.
    fn look_at_prices(&self, endpoint: &Endpoint, records: &[Row<'_>]) {
        let unit = self.0.settings.price_unit;
        let odd = records.iter().filter(|record| !record.fits(unit)).count();
        if odd > 0 && !self.0.misfit_told.swap(true, Ordering::Relaxed) {
            let (what, hint) = unit.misfit();
            tracing::warn!(source = SOURCE, resource = endpoint.name, records = odd, hint, "{what}");
        }
    }
}

/// `where[column][operator]`.
pub(crate) fn compare(column: &str, operator: &str) -> String {
    format!("where[{column}][{operator}]")
}

/// An instant in whole seconds, as the document's samples have them.
fn written(instant: Timestamp, mode: RoundMode) -> Timestamp {
    instant.round(TimestampRound::new().smallest(Unit::Second).mode(mode)).unwrap_or(instant)
}

/// A page without records.
fn nothing(requested_at: Timestamp) -> Page {
    Page { bytes: Bytes::from_static(b"[]"), declared_total: None, requested_at, scope: None }
}

/// One record as a list of one: the document shows some lists so.
fn as_list(record: &Bytes) -> Bytes {
    let mut list = BytesMut::with_capacity(record.len() + 2);
    list.put_u8(b'[');
    list.put_slice(record);
    list.put_u8(b']');
    list.freeze()
}

fn is_gone(refusal: &Refusal) -> bool {
    matches!(refusal.status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

/// A refusal, and what to do about it.
pub(crate) fn refused(endpoint: &Endpoint, refusal: Refusal) -> Error {
    let status = refusal.status;
    let error = refusal.into_error();
    let name = endpoint.name;
    match status.as_u16() {
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

fn known(resource: &str) -> Result<&'static Endpoint> {
    endpoints::find(resource).ok_or_else(|| {
        let names: Vec<&str> = ENDPOINTS.iter().map(|endpoint| endpoint.name).collect();
        Error::config(format!("SmartNow has no resource {resource:?}"))
            .hint(format!("It offers: {}.", names.join(", ")))
    })
}

fn failed(error: Error) -> PageStream {
    stream::iter([Err(error)]).boxed()
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
        known(resource)?;
        Ok(vec![None])
    }

    fn pages(&self, slice: &Slice) -> PageStream {
        let endpoint = match known(&slice.resource) {
            Ok(endpoint) => endpoint,
            Err(error) => return failed(error),
        };
        let Some(column) = endpoint.time else {
            return self.list(Question { endpoint, filter: Vec::new() });
        };
        let archive = self.reaches_the_archive(&slice.window);
        self.list(self.window(endpoint, column, &slice.window, archive))
    }

    fn pages_by_id(&self, resource: &str, _: Vec<String>) -> PageStream {
        let error = known(resource).err();
        failed(error.unwrap_or_else(|| {
            Error::new(ErrorKind::Internal, "SmartNow's records are found by their time of change, not by id")
                .at("resource", resource)
        }))
    }

    fn late_pages(&self, slice: &Slice) -> PageStream {
        match known(&slice.resource) {
            Err(error) => failed(error),
            Ok(Endpoint { late: None, .. }) => stream::empty().boxed(),
            // How old the record is that something was learnt of, nobody knows: the archive is asked too.
            Ok(endpoint @ Endpoint { late: Some(column), .. }) => {
                let from = slice.window.from().checked_sub(OFFLINE).unwrap_or(Timestamp::MIN);
                match Window::new(from, slice.window.to()) {
                    Ok(window) => {
                        self.list(self.window(endpoint, column, &window, self.0.settings.archive.after.is_some()))
                    }
                    Err(error) => failed(error),
                }
            }
        }
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![("price_unit", self.0.settings.price_unit.as_str().to_owned())]
    }

    fn yardstick(&self) -> Yardstick {
        Yardstick::Revenue
    }

    async fn evidence(&self, _tenant: Option<&str>, window: Window) -> Result<Evidence> {
        let Settings { summary, price_unit, .. } = self.settings();
        crate::summary::ask(self.api(), summary, *price_unit, window).await
    }

    fn stats(&self) -> Stats {
        self.0.api.stats()
    }
}
