//! Source whose answers a test writes, and what a reader and a package writer need around it.
//!
//! Invariant: nothing leaves the process; what was asked for, how many pages were taken and how many streams were dropped can be seen from
//! outside.

use crate::config::{Pipeline, Project, ResourcePlan, SyncSettings};
use crate::context::{RunContext, SharedWork};
use crate::land::PackageWriter;
use crate::message::{LandedPackage, QueuedPage};
use crate::observer::{RunEvent, RunObserver};
use crate::read::SliceReader;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tillhouse_decode::Decoder;
use tillhouse_extract::{Page, PageStream, Source};
use tillhouse_lake::{
    LandingOptions, PackagePage, RunBookkeeping, SliceRow, Warehouse, WarehouseLocation,
};
use tillhouse_model::table::{TableRole, UnknownFields};
use tillhouse_model::{
    ColumnClass, ColumnKind, ColumnSpec, Error, LabelMap, ReadBy, ReadMode, Resource, Result,
    Slice, TableSpec, TimeFormat, Window,
};
use tillhouse_query::{QueryEngine, QueryEngineOptions};
use tokio::sync::{Barrier, mpsc};
use tokio_util::sync::CancellationToken;

const WINDOWED: Resource = Resource {
    name: "sales",
    records_at: &["data"],
    by_id: true,
    sparse_by_id: false,
    declares_total: true,
    largest_page: None,
    read_mode: ReadMode::Incremental,
    read_by: ReadBy::EventTime,
    follows_changes: true,
};

/// A resource that is read window by window, and whose records are parts of sales.
pub(crate) const PAYMENTS: &Resource = &Resource {
    name: "payments",
    by_id: false,
    follows_changes: false,
    ..WINDOWED
};
/// A resource that is read window by window, and whose records sales look up.
pub(crate) const CLOCKS: &Resource = &Resource {
    name: "clocks",
    by_id: false,
    follows_changes: false,
    ..WINDOWED
};
/// A resource that is read window by window.
pub(crate) const SALES: &Resource = &WINDOWED;
/// One whose records leave something out when they are asked for by id.
pub(crate) const SPARSE: &Resource = &Resource {
    sparse_by_id: true,
    ..WINDOWED
};
/// A resource that is read whole, parent by parent.
pub(crate) const SHOPS: &Resource = &Resource {
    name: "shops",
    by_id: false,
    declares_total: false,
    read_mode: ReadMode::FullRefresh,
    follows_changes: false,
    ..WINDOWED
};

/// Next act of a stream.
#[derive(Debug)]
pub(crate) enum Turn {
    Page(Page),
    Fail(Error),
    Hang,
    /// Waits until as many streams are at it as the barrier says.
    Meet(Arc<Barrier>),
}

/// Requests to a source, and their outcomes.
#[derive(Debug, Default)]
pub(crate) struct SourceLog {
    /// Questions, as `method resource`.
    pub(crate) questions: Mutex<Vec<String>>,
    logins: AtomicUsize,
    taken: AtomicUsize,
    dropped: AtomicUsize,
    /// Streams that were open at once, at most.
    most_open: AtomicUsize,
}

impl SourceLog {
    /// Logins before the first question.
    pub(crate) fn logins(&self) -> usize {
        self.logins.load(Ordering::SeqCst)
    }

    /// Pages that were taken from streams.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::SeqCst)
    }

    /// Streams that were open at once, at most.
    pub(crate) fn most_open(&self) -> usize {
        self.most_open.load(Ordering::SeqCst)
    }

    /// Streams that were dropped.
    pub(crate) fn dropped(&self) -> usize {
        self.dropped.load(Ordering::SeqCst)
    }
}

/// A stream that has not been dropped.
struct OpenStream(Arc<SourceLog>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// Source that gives one answer after the other, and no pages once they are used up.
#[derive(Debug, Default)]
pub(crate) struct ScriptedSource {
    answers: Mutex<VecDeque<Vec<Turn>>>,
    /// Answers of single resources, which go before the others.
    of_resource: Mutex<HashMap<&'static str, VecDeque<Vec<Turn>>>>,
    log: Arc<SourceLog>,
}

impl ScriptedSource {
    fn answer(&self, question: &str, resource: &str) -> PageStream {
        let question = format!("{question} {resource}");
        let asked = {
            let mut questions = self.log.questions.lock().unwrap();
            questions.push(question);
            questions.len()
        };
        let open = asked - self.log.dropped();
        self.log.most_open.fetch_max(open, Ordering::SeqCst);
        let mut of_resource = self.of_resource.lock().unwrap();
        let turns = match of_resource.get_mut(resource) {
            Some(answers) => answers.pop_front(),
            None => self.answers.lock().unwrap().pop_front(),
        };
        let turns = VecDeque::from(turns.unwrap_or_default());
        let state = (turns, OpenStream(Arc::clone(&self.log)));
        futures::stream::unfold(state, |(mut turns, open)| async move {
            loop {
                let page = match turns.pop_front()? {
                    Turn::Page(page) => {
                        open.0.taken.fetch_add(1, Ordering::SeqCst);
                        Ok(page)
                    }
                    Turn::Fail(error) => Err(error),
                    Turn::Hang => std::future::pending().await,
                    Turn::Meet(barrier) => {
                        barrier.wait().await;
                        continue;
                    }
                };
                return Some((page, (turns, open)));
            }
        })
        .boxed()
    }
}

impl Source for ScriptedSource {
    fn name(&self) -> &'static str {
        "shop"
    }

    fn resources(&self) -> &'static [Resource] {
        const ALL: &[Resource] = &[WINDOWED];
        ALL
    }

    fn check<'life0, 'async_trait>(&'life0 self) -> BoxFuture<'async_trait, Result<()>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        async { Ok(()) }.boxed()
    }

    fn log_in<'life0, 'async_trait>(&'life0 self) -> BoxFuture<'async_trait, Result<()>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        if self.log.questions.lock().unwrap().is_empty() {
            self.log.logins.fetch_add(1, Ordering::SeqCst);
        }
        async { Ok(()) }.boxed()
    }

    fn tenants<'life0, 'life1, 'async_trait>(
        &'life0 self,
        _: &'life1 str,
    ) -> BoxFuture<'async_trait, Result<Vec<Option<String>>>>
    where
        'life0: 'async_trait,
        'life1: 'async_trait,
        Self: 'async_trait,
    {
        async { Ok(vec![None]) }.boxed()
    }

    fn pages(&self, slice: &Slice) -> PageStream {
        self.answer("pages", &slice.resource)
    }

    fn pages_by_id(&self, resource: &str, ids: Vec<String>) -> PageStream {
        self.answer(&format!("{} by id", ids.len()), resource)
    }

    fn pages_by_change_time(&self, slice: &Slice) -> PageStream {
        self.answer("changes", &slice.resource)
    }
}

/// Observer that keeps what it was told.
#[derive(Debug, Default)]
pub(crate) struct EventLog(Mutex<Vec<RunEvent>>);

impl RunObserver for EventLog {
    fn on_event(&self, event: &RunEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl EventLog {
    /// Records and bytes of every page.
    pub(crate) fn pages(&self) -> Vec<(u64, u64)> {
        let of_page = |event: &RunEvent| match event {
            RunEvent::Page { records, bytes } => Some((*records, *bytes)),
            _ => None,
        };
        self.0.lock().unwrap().iter().filter_map(of_page).collect()
    }

    /// Names of the stages that ended.
    pub(crate) fn stages(&self) -> Vec<&'static str> {
        let of_stage = |event: &RunEvent| match event {
            RunEvent::Stage { name, .. } => Some(*name),
            _ => None,
        };
        self.0.lock().unwrap().iter().filter_map(of_stage).collect()
    }

    /// For every slice that is over, whether it is complete.
    pub(crate) fn slices(&self) -> Vec<bool> {
        let of_slice = |event: &RunEvent| match event {
            RunEvent::SliceDone { complete } => Some(*complete),
            _ => None,
        };
        self.0.lock().unwrap().iter().filter_map(of_slice).collect()
    }

    /// Slices that were planned, resource by resource.
    pub(crate) fn planned(&self) -> Vec<usize> {
        let of_plan = |event: &RunEvent| match event {
            RunEvent::Planned { slices, .. } => Some(*slices),
            _ => None,
        };
        self.0.lock().unwrap().iter().filter_map(of_plan).collect()
    }

    /// New versions of every package.
    pub(crate) fn landed(&self) -> Vec<u64> {
        let of_package = |event: &RunEvent| match event {
            RunEvent::Landed { versions } => Some(*versions),
            _ => None,
        };
        let events = self.0.lock().unwrap();
        events.iter().filter_map(of_package).collect()
    }
}

/// A warehouse in a temporary folder, a source that answers as it is told, and who watches.
pub(crate) struct ScriptedRun {
    pub(crate) warehouse: Warehouse,
    pub(crate) bookkeeping: Arc<RunBookkeeping>,
    pub(crate) events: Arc<EventLog>,
    pub(crate) cancel: CancellationToken,
    source: Arc<ScriptedSource>,
    folder: TempDir,
}

impl ScriptedRun {
    pub(crate) async fn new(answers: impl IntoIterator<Item = Vec<Turn>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location =
            WarehouseLocation::new(folder.path().join("warehouse").display().to_string());
        let warehouse = Warehouse::open(&location).await.unwrap();
        warehouse.prepare().await.unwrap();
        Self {
            warehouse,
            bookkeeping: Arc::default(),
            events: Arc::default(),
            cancel: CancellationToken::new(),
            source: Arc::new(ScriptedSource {
                answers: Mutex::new(answers.into_iter().collect()),
                of_resource: Mutex::default(),
                log: Arc::default(),
            }),
            folder,
        }
    }

    /// Has the source answer so, once the answers it has are used up.
    pub(crate) fn answer_next(&self, turns: Vec<Turn>) {
        self.source.answers.lock().unwrap().push_back(turns);
    }

    /// Answers to the questions for one resource.
    pub(crate) fn answer(
        &self,
        resource: &'static Resource,
        answers: impl IntoIterator<Item = Vec<Turn>>,
    ) {
        let mut all = self.source.of_resource.lock().unwrap();
        all.entry(resource.name).or_default().extend(answers);
    }

    /// Another source over the same warehouse, with answers of its own.
    pub(crate) fn other_source(
        &self,
        answers: impl IntoIterator<Item = Vec<Turn>>,
    ) -> Arc<dyn Source> {
        Arc::new(ScriptedSource {
            answers: Mutex::new(answers.into_iter().collect()),
            ..ScriptedSource::default()
        })
    }

    pub(crate) fn log(&self) -> &SourceLog {
        &self.source.log
    }

    pub(crate) fn reader(&self, resource: &'static Resource) -> SliceReader {
        SliceReader {
            source: Arc::clone(&self.source) as Arc<dyn Source>,
            resource,
            decoder: Arc::new(Decoder::new(Arc::new(spec(resource)), None).unwrap()),
            observer: Arc::clone(&self.events) as Arc<dyn RunObserver>,
            cancel: self.cancel.child_token(),
            ops: self.warehouse.ops(),
            start: window().from(),
        }
    }

    /// Context of a run over this warehouse, with this observer.
    pub(crate) fn context(&self) -> RunContext {
        let file = self.folder.path().join("tillhouse.yaml");
        let key = "0123456789abcdef".repeat(4);
        let text = format!("warehouse: {{ url: ./warehouse }}\nprivacy_key: {key}\n");
        std::fs::write(file, text).unwrap();
        RunContext {
            cancel: self.cancel.clone(),
            ..RunContext::new(
                Arc::new(Project::load(self.folder.path()).unwrap()),
                self.warehouse.clone(),
                QueryEngine::new(QueryEngineOptions::default()).unwrap(),
                Arc::clone(&self.events) as Arc<dyn RunObserver>,
            )
        }
    }

    /// As [`ScriptedRun::context`], of a process that has read nothing of the warehouse yet.
    pub(crate) async fn other_process(&self) -> RunContext {
        let location =
            WarehouseLocation::new(self.folder.path().join("warehouse").display().to_string());
        RunContext {
            warehouse: Warehouse::open(&location).await.unwrap(),
            ..self.context()
        }
    }

    /// The ledger, once the run has written its bookkeeping.
    pub(crate) async fn ledger(&self) -> Vec<SliceRow> {
        let ops = self.warehouse.ops();
        self.bookkeeping.flush(&ops).await.unwrap();
        ops.slices("shop").await.unwrap()
    }

    /// A pipeline that reads one resource, one slice at a time, and unifies nothing.
    pub(crate) fn pipeline(&self, resource: &'static Resource) -> Pipeline {
        self.pipeline_of(&[resource])
    }

    /// As [`ScriptedRun::pipeline`], of several resources.
    pub(crate) fn pipeline_of(&self, resources: &[&'static Resource]) -> Pipeline {
        let offered: Vec<_> = resources
            .iter()
            .map(|resource| (*resource, Arc::new(spec(resource))))
            .collect();
        let plan = |(resource, spec): &(&'static Resource, Arc<TableSpec>)| ResourcePlan {
            resource,
            spec: Arc::clone(spec),
            sync: SyncSettings {
                start: window().from(),
                slice: SignedDuration::from_hours(24),
                lookback: SignedDuration::from_hours(1),
                follow_open: SignedDuration::from_hours(1),
            },
        };
        Pipeline {
            name: "shop".to_owned(),
            source_name: "shop",
            source: Arc::clone(&self.source) as Arc<dyn Source>,
            resources: offered.iter().map(plan).collect(),
            offered,
            children: Vec::new(),
            labels: LabelMap::default(),
            unify: Vec::new(),
            unified: BTreeMap::new(),
            overrides: Vec::new(),
            concurrency: 1,
            scheduled: false,
            remarks: Vec::new(),
        }
    }

    pub(crate) fn writer(&self, landed: Option<mpsc::Sender<LandedPackage>>) -> PackageWriter {
        self.writer_of(SALES, landed)
    }

    /// As [`ScriptedRun::writer`], of another resource.
    pub(crate) fn writer_of(
        &self,
        resource: &'static Resource,
        landed: Option<mpsc::Sender<LandedPackage>>,
    ) -> PackageWriter {
        let spec = Arc::new(spec(resource));
        let table = self.warehouse.source_table("shop", spec);
        PackageWriter {
            pipeline: "shop".to_owned(),
            resource,
            table: Arc::new(table),
            ops: self.warehouse.ops(),
            bookkeeping: Arc::clone(&self.bookkeeping),
            options: LandingOptions {
                run_id: "run".to_owned(),
                tenants: vec![None],
                whole: Default::default(),
            },
            observer: Arc::clone(&self.events) as Arc<dyn RunObserver>,
            rejected_keys: Arc::new(HashSet::new()),
            known_lists: BTreeMap::new(),
            has_open_rejects: false,
            finds_unlisted: false,
            landed_packages: landed,
            warning_limit: Mutex::default(),
            shared: SharedWork::default(),
        }
    }
}

fn column(name: &str, kind: ColumnKind) -> ColumnSpec {
    ColumnSpec {
        name: name.to_owned(),
        json_name: name.to_owned(),
        kind,
        required: false,
        class: ColumnClass::Open,
        restricted: false,
        on_misfit: None,
        blank_is_none: false,
        zero_is_none: false,
        is_identifier: false,
        ahead_is_none: false,
        note: Default::default(),
    }
}

/// A contract of records with an id, the time they happened, and the time they changed; payments name their sale.
pub(crate) fn spec(resource: &Resource) -> TableSpec {
    let time = || ColumnKind::Timestamp(TimeFormat::Offset);
    let mut columns = vec![
        column("id", ColumnKind::Text),
        column("at", time()),
        column("changed", time()),
    ];
    if resource.name == PAYMENTS.name {
        columns.push(column("sale", ColumnKind::Text));
    }
    TableSpec {
        source: "shop".into(),
        name: resource.name.into(),
        description: String::new(),
        role: TableRole::Source,
        columns,
        key: vec!["id".into()],
        record_time: vec![vec!["at".into()]],
        updated_at: Some(vec!["changed".into()]),
        moves_within: SignedDuration::from_hours(24 * 45),
        partition_by: vec!["month".into()],
        unknown: UnknownFields::Count,
        rules: Vec::new(),
    }
}

pub(crate) fn t(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn window() -> Window {
    Window::new(t("2026-01-01T00:00:00Z"), t("2026-01-02T00:00:00Z")).unwrap()
}

pub(crate) fn slice(resource: &Resource) -> Slice {
    Slice {
        resource: resource.name.to_owned(),
        tenant: None,
        window: window(),
    }
}

/// A record that happened at ten.
pub(crate) fn sale(id: &str) -> String {
    format!(r#"{{"id":"{id}","at":"2026-01-01T10:00:00Z"}}"#)
}

fn json(records: &[String]) -> String {
    format!(r#"{{"data":[{}]}}"#, records.join(","))
}

/// A page of records that declares nothing.
pub(crate) fn page(records: &[String]) -> Page {
    Page {
        bytes: json(records).into(),
        declared_total: None,
        requested_at: t("2026-01-03T00:00:00Z"),
        scope: None,
        restarts_listing: false,
        is_reread: false,
        remarks: Vec::new(),
    }
}

/// A page as the reader hands it on, asked for at an hour of the third.
pub(crate) fn queued(records: &[String], hour: i8) -> QueuedPage {
    queued_of(SALES, records, hour)
}

/// As [`queued`], of another resource.
pub(crate) fn queued_of(resource: &Resource, records: &[String], hour: i8) -> QueuedPage {
    let decoder = Decoder::new(Arc::new(spec(resource)), None).unwrap();
    let decoded = decoder.decode(json(records).as_bytes(), &["data"]).unwrap();
    QueuedPage {
        slice: slice(resource),
        incoming: PackagePage {
            batch: decoded.batch,
            keys: decoded.keys,
            record_times: decoded.record_times,
            updated_at: decoded.updated_at,
            content_hashes: decoded.content_hashes,
            requested_at: t(&format!("2026-01-03T{hour:02}:00:00Z")),
        },
        unchanged: Vec::new(),
        rejects: Vec::new(),
        warnings: Vec::new(),
        unknown: BTreeMap::new(),
        read_by: Some(ReadBy::EventTime),
    }
}
