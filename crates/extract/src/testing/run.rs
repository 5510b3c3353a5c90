//! A source at work on a slice: its stream is polled here, and time is moved where it waits.
//!
//! Invariant: while an answer is on its way the clock runs as it does; it is moved only when the source has said, by its count of
//! retries, that it waits. Nothing here sleeps.

use crate::http::ClientStats;
use crate::source::{Page, PageStream, Source, SourceLimits};
use crate::testing::control::{ControlClient, ControlLogEntry};
use crate::testing::reading::{ServerRecords, SliceReading};
use crate::testing::source_under_test::{ResourceUnderTest, SourceUnderTest};
use crate::testing::violation::{ClauseResult, ClauseViolation};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::Display;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tillhouse_emulator::RecordMutationKind;
use tillhouse_model::{Error, ReadMode as HowRead, Resource, Slice, Window};

/// Longer than any pause between two attempts that the kit makes by itself.
pub(crate) const BACKOFF: Duration = Duration::from_secs(120);
/// Longest silence, in real time, before a source is taken for hanging.
const PATIENCE: Duration = Duration::from_secs(60);
/// A log that did not grow over so many round trips does not grow by itself.
const STILL: usize = 8;
/// Pages of an attempt that never seems to end.
pub(crate) const TOO_MANY_PAGES: usize = 5_000;
/// Records that a slice has at least, so that it has several pages.
const FEWEST: usize = 5;
/// Page size where no largest page is known.
pub(crate) const CAP: u32 = 20;

/// The limits a clause starts from: nothing that waits on its own account.
pub(crate) fn limits(page_size: u32) -> SourceLimits {
    SourceLimits {
        page_size,
        concurrency: 4,
        rate_per_second: None,
        // The clock is moved: a request under way then must not be taken for a slow one.
        request_timeout: Duration::from_secs(7 * 24 * 3600),
        attempts: 4,
        ..SourceLimits::default()
    }
}

/// Moves the clock.
pub(crate) async fn advance_clock(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Resource under test, with the source's description of it and the tenant it is read for.
#[derive(Debug, Clone)]
pub(crate) struct TenantResource<'s> {
    pub(crate) records: &'s ResourceUnderTest,
    pub(crate) resource: &'static Resource,
    pub(crate) tenant: Option<String>,
}

impl TenantResource<'_> {
    pub(crate) fn slice(&self, window: Window) -> Slice {
        Slice {
            resource: self.resource.name.to_owned(),
            tenant: self.tenant.clone(),
            window,
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.resource.read_mode == HowRead::FullRefresh
    }

    /// Puts the resource in front of a violation.
    pub(crate) fn say<T>(
        &self,
        how: impl Display,
        outcome: Result<T, ClauseViolation>,
    ) -> Result<T, ClauseViolation> {
        outcome.map_err(|breach| {
            let tenant = self
                .tenant
                .as_deref()
                .map(|tenant| format!(" of {tenant}"))
                .unwrap_or_default();
            breach.at(format!("{}{tenant}, {how}", self.resource.name))
        })
    }
}

/// Run of one clause: the control of the server under test, and the sources opened on it.
pub(crate) struct ConformanceRun<'s> {
    pub(crate) subject: &'s SourceUnderTest,
    pub(crate) control: ControlClient,
}

impl<'s> ConformanceRun<'s> {
    pub(crate) fn new(subject: &'s SourceUnderTest) -> Result<Self, ClauseViolation> {
        Ok(Self {
            subject,
            control: ControlClient::new(&subject.url, subject.name)?,
        })
    }

    /// Opens the source anew.
    pub(crate) fn open(&self, limits: SourceLimits) -> Result<OpenedSource<'s>, ClauseViolation> {
        let source = (self.subject.open)(limits)
            .map_err(|error| ClauseViolation::new(format!("cannot open: {error}")))?;
        hold!(
            source.name() == self.subject.name,
            "the source calls itself {}",
            source.name()
        );
        Ok(OpenedSource {
            subject: self.subject,
            source,
            retries: Cell::new(0),
        })
    }

    /// Resources of the subject, each with its first tenant.
    pub(crate) async fn resources(&self) -> Result<Vec<TenantResource<'s>>, ClauseViolation> {
        let mut first: Vec<TenantResource<'s>> = Vec::new();
        for asked in self.resources_by_tenant().await? {
            if first
                .last()
                .is_none_or(|last| last.resource.name != asked.resource.name)
            {
                first.push(asked);
            }
        }
        Ok(first)
    }

    /// Resources of the subject, each with each of its tenants.
    pub(crate) async fn resources_by_tenant(
        &self,
    ) -> Result<Vec<TenantResource<'s>>, ClauseViolation> {
        let trial = self.open(limits(100))?;
        let offered = trial.source.resources();
        let left_out = offered
            .iter()
            .find(|o| self.subject.records.iter().all(|r| r.resource != o.name));
        hold!(
            left_out.is_none(),
            "the subject leaves out the resource {}",
            left_out.map_or("", |r| r.name)
        );
        let mut all = Vec::new();
        for records in &self.subject.records {
            let resource = offered
                .iter()
                .find(|offered| offered.name == records.resource);
            let resource = resource.ok_or_else(|| {
                ClauseViolation::new(format!("the source has no resource {}", records.resource))
            })?;
            let tenants = trial.source.tenants(resource.name).await;
            let tenants = tenants.map_err(|e| {
                ClauseViolation::new(format!("the tenants of {}: {e}", resource.name))
            })?;
            hold!(!tenants.is_empty(), "{} has no tenant", resource.name);
            all.extend(tenants.into_iter().map(|tenant| TenantResource {
                records,
                resource,
                tenant,
            }));
        }
        hold!(!all.is_empty(), "the subject lists no resource");
        Ok(all)
    }

    /// Records of the server for a resource, over a window or in all. Resources that are read
    /// whole know no window.
    pub(crate) async fn server_records(
        &self,
        asked: &TenantResource<'_>,
        window: Option<Window>,
    ) -> Result<ServerRecords, ClauseViolation> {
        let window = window.filter(|_| !asked.is_whole());
        asked.records.truth(
            self.control
                .server_records(asked.resource.name, asked.tenant.as_deref(), window)
                .await?,
        )
    }

    /// A window with about so many records, found by halving; at most twice as many, if time cuts them apart.
    pub(crate) async fn window(
        &self,
        asked: &TenantResource<'_>,
        about: usize,
    ) -> Result<Window, ClauseViolation> {
        let mut window = self.subject.window;
        if asked.is_whole() {
            return Ok(window);
        }
        for _ in 0..40 {
            if self.server_records(asked, Some(window)).await?.len() <= about * 2 {
                break;
            }
            let half = window.duration().as_micros() / 2;
            let middle = i64::try_from(half).ok().and_then(|us| {
                window
                    .from()
                    .checked_add(SignedDuration::from_micros(us))
                    .ok()
            });
            let halves = middle.and_then(|m| {
                Some((
                    Window::new(window.from(), m).ok()?,
                    Window::new(m, window.to()).ok()?,
                ))
            });
            let Some((early, late)) = halves else { break };
            let fuller = self.server_records(asked, Some(early)).await?.len() >= about;
            window = if fuller { early } else { late };
        }
        Ok(window)
    }

    /// Waits until the log stands still, and gives it.
    pub(crate) async fn settled_log(&self) -> Result<Vec<ControlLogEntry>, ClauseViolation> {
        let mut log = self.control.log().await?;
        let mut still = 0;
        while still < STILL {
            let now = self.control.log().await?;
            still = if now.len() == log.len() { still + 1 } else { 0 };
            log = now;
        }
        Ok(log)
    }

    /// The requests of a log that are no logins.
    pub(crate) fn lists<'l>(
        &'l self,
        log: &'l [ControlLogEntry],
    ) -> impl Iterator<Item = &'l ControlLogEntry> {
        log.iter().filter(|request| !self.is_login(request))
    }

    pub(crate) fn is_login(&self, request: &ControlLogEntry) -> bool {
        self.subject.login.contains(&request.path)
    }

    /// Reads a slice with a source of its own, undisturbed.
    pub(crate) async fn read(
        &self,
        asked: &TenantResource<'_>,
        window: Window,
        page_size: u32,
    ) -> Result<SliceReading, ClauseViolation> {
        let trial = self.open(limits(page_size))?;
        trial
            .read(asked, trial.source.pages(&asked.slice(window)))
            .await
    }

    /// A window of a few pages: some records (made up, where there are too few), and the page size that cuts them into about five. How many requests that takes, logins
    /// aside, was found by reading it once.
    pub(crate) async fn baseline(
        &self,
        asked: &TenantResource<'_>,
    ) -> Result<SliceBaseline, ClauseViolation> {
        let window = self.window(asked, 20).await?;
        let mut truth = self.server_records(asked, Some(window)).await?;
        while truth.len() < FEWEST {
            let (name, tenant) = (asked.resource.name, asked.tenant.as_deref());
            let more = self
                .control
                .mutate(RecordMutationKind::Arrive, name, tenant, window)
                .await?;
            hold!(
                more.is_some(),
                "the server holds {} records of it and can make up no more",
                truth.len()
            );
            truth = self.server_records(asked, Some(window)).await?;
        }
        let page_size = u32::try_from(truth.len().div_ceil(5)).unwrap_or(1).max(1);
        self.control.clear_log().await?;
        let reading = self.read(asked, window, page_size).await?;
        reading.ended_well()?;
        let log = self.control.log().await?;
        let requests = self.lists(&log).count();
        hold!(requests > 0, "reading it asked nothing");
        Ok(SliceBaseline {
            window,
            page_size,
            requests,
            pages: reading.pages.len(),
            truth,
        })
    }
}

/// Slice with the pages, requests and records that an undisturbed reading of it takes.
#[derive(Debug)]
pub(crate) struct SliceBaseline {
    pub(crate) window: Window,
    pub(crate) page_size: u32,
    /// Requests, logins aside, that reading it undisturbed takes.
    pub(crate) requests: usize,
    pub(crate) pages: usize,
    pub(crate) truth: ServerRecords,
}

/// Opened source under test.
pub(crate) struct OpenedSource<'s> {
    subject: &'s SourceUnderTest,
    pub(crate) source: Arc<dyn Source>,
    retries: Cell<u64>,
}

impl<'s> OpenedSource<'s> {
    pub(crate) fn stats(&self) -> ClientStats {
        self.source.stats()
    }

    /// True if the source has begun to wait since this was last asked.
    fn waits(&self) -> bool {
        let retries = self.source.stats().retries;
        self.retries.replace(retries) < retries
    }

    /// Begins to read a stream.
    pub(crate) fn start<'t>(
        &'t self,
        asked: &'t TenantResource<'s>,
        pages: PageStream,
    ) -> StreamRun<'t, 's> {
        StreamRun {
            trial: self,
            asked,
            pages: Some(pages),
            came: VecDeque::new(),
            reading: SliceReading::default(),
        }
    }

    /// Reads a stream to its end; pauses between attempts are skipped.
    pub(crate) async fn read(
        &self,
        asked: &TenantResource<'s>,
        pages: PageStream,
    ) -> Result<SliceReading, ClauseViolation> {
        self.start(asked, pages).finish().await
    }

    /// Checks that an error holds no secret.
    pub(crate) fn check_no_secrets(&self, error: &Error) -> ClauseResult {
        let hint = error.hint_text().unwrap_or_default();
        self.subject
            .keeps_secrets(&format!("{error} {error:?} {hint}"), "an error")
    }
}

/// Next event of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamEvent {
    /// A page came.
    Page,
    /// The source waits before it tries again.
    Waits,
    /// The stream is over, well or with an error.
    Over,
}

/// Stream being read, and what came of it so far.
pub(crate) struct StreamRun<'t, 's> {
    trial: &'t OpenedSource<'s>,
    asked: &'t TenantResource<'s>,
    /// `None` when it is over.
    pages: Option<PageStream>,
    came: VecDeque<Result<Page, Error>>,
    pub(crate) reading: SliceReading,
}

impl StreamRun<'_, '_> {
    /// Polls the stream once.
    async fn poll(&mut self) {
        if let Some(pages) = &mut self.pages {
            match futures::poll!(pages.next()) {
                Poll::Ready(Some(page)) => self.came.push_back(page),
                Poll::Ready(None) => self.pages = None,
                Poll::Pending => {}
            }
        }
    }

    /// Waits for the next thing to happen.
    pub(crate) async fn step(&mut self) -> Result<StreamEvent, ClauseViolation> {
        let start = Instant::now();
        loop {
            if self.came.is_empty() {
                self.poll().await;
            }
            match self.came.pop_front() {
                Some(Ok(page)) => {
                    self.trial
                        .subject
                        .keeps_secrets(&String::from_utf8_lossy(&page.bytes), "a page")?;
                    self.reading
                        .pages
                        .push(self.asked.records.read_page(&page, self.asked.resource)?);
                    let pages = self.reading.pages.len();
                    hold!(
                        pages < TOO_MANY_PAGES,
                        "the stream goes on after {pages} pages"
                    );
                    return Ok(StreamEvent::Page);
                }
                Some(Err(error)) => {
                    self.trial.check_no_secrets(&error)?;
                    self.poll().await;
                    hold!(
                        self.came.is_empty(),
                        "the stream goes on after an error: {error}"
                    );
                    self.pages = None;
                    self.reading.error = Some(error);
                    return Ok(StreamEvent::Over);
                }
                None if self.pages.is_none() => return Ok(StreamEvent::Over),
                None => {}
            }
            if self.trial.waits() {
                return Ok(StreamEvent::Waits);
            }
            hold!(
                start.elapsed() < PATIENCE,
                "neither a page nor an error came within {} s",
                PATIENCE.as_secs()
            );
            tokio::task::yield_now().await;
        }
    }

    /// Reads to the end; pauses between attempts are skipped.
    pub(crate) async fn finish(mut self) -> Result<SliceReading, ClauseViolation> {
        loop {
            match self.step().await? {
                StreamEvent::Page => {}
                StreamEvent::Waits => advance_clock(BACKOFF).await,
                StreamEvent::Over => return Ok(self.reading),
            }
        }
    }

    /// Does something else while the stream is polled, so that it goes on if it wants to.
    pub(crate) async fn during<T>(
        &mut self,
        work: impl Future<Output = Result<T, ClauseViolation>>,
    ) -> Result<T, ClauseViolation> {
        let mut work = pin!(work);
        loop {
            self.poll().await;
            if let Poll::Ready(done) = futures::poll!(work.as_mut()) {
                return done;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Later than every record that the server holds.
pub(crate) fn long_after(window: Window) -> Option<Window> {
    let from: Timestamp = window
        .to()
        .checked_add(SignedDuration::from_hours(24 * 40))
        .ok()?;
    Window::new(from, from.checked_add(SignedDuration::from_hours(1)).ok()?).ok()
}
