//! Requests to the store that wait for one another: on a network each costs a way there and back, however many go beside it.
//!
//! Invariant: steps are counted, not timed. Each request takes one tick of a clock that goes on only while everybody waits for an answer.

use crate::canned_project::{CannedProject, SOURCES};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tillhouse_lake::{AsOf, Warehouse};
use tillhouse_model::Window;
use tillhouse_pipeline::{NoopObserver, RunContext, SyncOptions, sync};
use tillhouse_query::{QueryEngine, QueryEngineOptions};
use tillhouse_statistics::{StatisticsRequest, statistics};
use tokio::time::Instant;

const TICK: Duration = Duration::from_secs(1);

/// A store in memory whose requests take a tick each, once it is told to.
#[derive(Debug, Default)]
struct TickingStore {
    inner: InMemory,
    is_ticking: AtomicBool,
    /// True if data files are had at once.
    spares_data: AtomicBool,
}

impl TickingStore {
    fn tick(&self) -> impl Future<Output = ()> + Send + use<> {
        let is_ticking = self.is_ticking.load(Ordering::Relaxed);
        async move {
            if is_ticking {
                tokio::time::sleep(TICK).await;
            }
        }
    }
}

impl fmt::Display for TickingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticking({})", self.inner)
    }
}

#[async_trait::async_trait]
impl ObjectStore for TickingStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.tick().await;
        self.inner.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.tick().await;
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if !(self.spares_data.load(Ordering::Relaxed) && is_data(location)) {
            self.tick().await;
        }
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let deleted = self.inner.delete_stream(locations);
        self.tick().map(|()| deleted).flatten_stream().boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.inner.list(prefix);
        self.tick().map(|()| listed).flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.tick().await;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.tick().await;
        self.inner.copy_opts(from, to, options).await
    }
}

/// True for the path of a data file.
fn is_data(location: &Path) -> bool {
    let is_log = location.parts().any(|part| part.as_ref() == "_delta_log");
    !is_log && location.as_ref().ends_with(".parquet")
}

/// A sale without anything that a quality rule would warn about.
fn sale(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","mandator_id":"m","state":"completed","site_id":"s","site":{{"name":"S","timezone":"Europe/Berlin"}},
        "point_id":"p","point":{{"number":1}},
        "invoice":{{"amount":11.90,"paid_amount":11.90,"tax_amount":1.90,"currency":"EUR","created_at":"2026-01-01T12:30:00Z"}},
        "articles":[{{"id":"{id}1","product_id":"x","category":"charging","state":"done","start_time":"2026-01-01T12:00:00Z",
            "end_time":"2026-01-01T12:29:00Z","unit_price":11.90,"amount":11.90,"tax_percentage":19,"tax_amount":1.90,"quantity":1,"name":"x",
            "unit_measure":"pc","currency":"EUR"}}],
        "payments":[{{"id":"{id}2","state":"collected","created_at":"2026-01-01T12:30:00Z","amount":11.90,"reserved_amount":11.90,
            "currency":"EUR"}}]}}"#
    )
}

async fn open(store: &Arc<TickingStore>) -> Warehouse {
    let url = "s3://tills/warehouse/".parse().unwrap();
    let shared = Arc::clone(store) as Arc<dyn ObjectStore>;
    Warehouse::open_on(shared, url).await.unwrap()
}

/// A sync of a process of its own, from opening the warehouse to the end; the ticks that it took, and its requests.
async fn sync_by_another_process(project: &CannedProject, store: &Arc<TickingStore>) -> (u64, u64) {
    let began = Instant::now();
    let warehouse = open(store).await;
    let context = RunContext::new(
        Arc::clone(&project.context.project),
        warehouse,
        project.context.engine.clone(),
        Arc::new(NoopObserver),
    );
    let pipelines = context.project.pipelines(&[], SOURCES).unwrap();
    let report = sync(&context, &pipelines, SyncOptions::default())
        .await
        .unwrap();
    assert!(report.published && !report.is_partial(), "{report:?}");
    let ticks = began.elapsed().as_secs() / TICK.as_secs();
    (ticks, context.warehouse.requests().all())
}

#[tokio::test]
async fn a_sync_that_finds_nothing_new_waits_for_the_store_a_few_times_in_a_row() {
    let pages = [("transactions", vec![sale("a"), sale("b")])];
    let project = CannedProject::new("hecone", &pages, "").await;
    let store = Arc::new(TickingStore::default());
    // The second one still keeps what it learnt of the records of the first.
    for _ in 0..2 {
        sync_by_another_process(&project, &store).await;
    }
    store.is_ticking.store(true, Ordering::Relaxed);
    tokio::time::pause();
    let (steps, requests) = sync_by_another_process(&project, &store).await;
    // The format; the leases, beside the note of the newest run, and that they are taken; all tables, beside the fold of what was read; the ledger's rows
    // and their commit; the run and its commit, beside the fold; and its note, while the leases are given back.
    assert!((6..=10).contains(&steps), "{steps} of {requests} requests");
}

#[tokio::test]
async fn statistics_of_a_month_wait_for_the_store_a_few_times_in_a_row() {
    let pages = [("transactions", vec![sale("a"), sale("b")])];
    let project = CannedProject::new("hecone", &pages, "").await;
    let store = Arc::new(TickingStore::default());
    sync_by_another_process(&project, &store).await;
    store.is_ticking.store(true, Ordering::Relaxed);
    // Pages of data files are beside the budget.
    store.spares_data.store(true, Ordering::Relaxed);
    tokio::time::pause();
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    // A month by roll-ups alone, and one whose edges are counted from the facts.
    for (from, to) in [
        ("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
        ("2026-01-01T00:30:00Z", "2026-01-31T12:15:00Z"),
    ] {
        let began = Instant::now();
        let warehouse = open(&store).await;
        let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
        let session = engine.open(&warehouse, &AsOf::Latest).await.unwrap();
        let month = Window::new(at(from), at(to)).unwrap();
        let report = statistics(&session, &warehouse, &StatisticsRequest::new(month))
            .await
            .unwrap();
        let steps = began.elapsed().as_secs() / TICK.as_secs();
        assert_eq!(report.data[0].transactions_count.value, 2);
        let reads_facts = report.meta.answered_from.contains("facts");
        assert_eq!(reads_facts, from.contains("00:30"), "{from}");
        // The format; the note of the newest run, listed and read; the ends of the logs; the tables, beside what was read, folded.
        let requests = warehouse.requests().all();
        assert!((3..=6).contains(&steps), "{steps} of {requests} requests");
    }
}
