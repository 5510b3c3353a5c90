//! A fifth source, as docs/add-a-source.md says it is added: a car wash with an API of its own, from its first page to SQL.
//!
//! Invariant: nothing outside this folder and its fixtures knows of it. What the page asks of a crate is in [`source`], what it asks
//! of a test server in [`server`], contracts and unify SQL in `fixtures/washbay`.

mod server;
mod source;

use crate::published_rows::published_rows;
use jiff::Timestamp;
use serde_json::json;
use server::{API_KEY, WashbayServer};
use source::WashbayConnection;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tillhouse_extract::SourceConnection;
use tillhouse_extract::testing::emulator::Emulator;
use tillhouse_extract::testing::{PageLinks, ResourceUnderTest, SourceUnderTest};
use tillhouse_lake::Warehouse;
use tillhouse_pipeline::{
    NoopObserver, Project, RunContext, SourceEntry, SyncOptions, SyncRange, sync,
};
use tillhouse_query::{QueryEngine, QueryEngineOptions};

/// The registry with its one more line.
const SOURCES: &[SourceEntry] = &[SourceEntry::of::<WashbayConnection>()];

mod law {
    //! One test a clause.

    tillhouse_extract::conformance!(super::subject);
}

async fn subject() -> SourceUnderTest {
    let server = Emulator::start("washbay", WashbayServer::new(), server::now())
        .await
        .unwrap();
    let connection = |key: &str| {
        let written = json!({"base_url": format!("{}/washbay", server.url()), "api_key": key});
        serde_json::from_value::<WashbayConnection>(written).unwrap()
    };
    let (good, wrong) = (connection(API_KEY), connection("another-key"));
    SourceUnderTest::new(server.url(), "washbay", server::window(), move |limits| {
        good.clone().open(limits)
    })
    .refused(move |limits| wrong.clone().open(limits))
    .secret(API_KEY)
    .secret("another-key")
    .records(
        ResourceUnderTest::of("washes")
            .key("/wash")
            .time("/paid_at")
            .links(PageLinks::Followed),
    )
    .records(ResourceUnderTest::of("halls").key("/id").unpaged())
    .keep_alive(server)
}

/// Copies a folder's files, with the folders they lie in.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry
            .map(|entry| (entry.path(), entry.file_name()))
            .unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// A project with the fixtures' pipeline, pointed at a server.
async fn project(dir: &Path, url: &str) -> RunContext {
    copy(
        &crate::source_files::root().join("tests/fixtures/washbay"),
        dir,
    );
    let key = "0123456789abcdef".repeat(4);
    let env = format!(
        "TILLHOUSE_PRIVACY_KEY={key}\nWASHBAY_URL={url}/washbay\nWASHBAY_API_KEY={API_KEY}\n"
    );
    std::fs::write(dir.join(".env"), env).unwrap();
    let project = Arc::new(Project::load(dir).unwrap());
    let warehouse = Warehouse::open(&project.warehouse).await.unwrap();
    let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
    RunContext::new(project, warehouse, engine, Arc::new(NoopObserver))
}

/// New and changed records of a sync over all of the washbay's days.
async fn synced(context: &RunContext) -> (u64, u64) {
    let pipelines = context.project.pipelines(&[], SOURCES).unwrap();
    let range = SyncRange {
        from: Some(server::window().from()),
        to: Some(server::window().to()),
    };
    let report = sync(
        context,
        &pipelines,
        SyncOptions {
            range,
            ..SyncOptions::default()
        },
    )
    .await
    .unwrap();
    assert!(report.published && !report.is_partial(), "{report:?}");
    let [pipeline] = &report.pipelines[..] else {
        panic!("one pipeline: {report:?}")
    };
    assert_eq!(
        (pipeline.rejects, pipeline.warnings),
        (0, 0),
        "{pipeline:?}"
    );
    (pipeline.new, pipeline.changed)
}

/// An amount of cents as the warehouse shows it.
fn euros(cents: i64) -> String {
    format!("{}.{:02}00", cents / 100, cents % 100)
}

async fn stir(url: &str, kind: &str, resource: &str, from: Timestamp) {
    let order = json!({"resource": resource, "tenant": null, "kind": kind, "from": from, "to": server::window().to()});
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = client
        .post(format!("{url}/control/washbay/stir"))
        .body(order.to_string())
        .send()
        .await
        .unwrap();
    assert!(answer.status().is_success(), "{order}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_synced_unified_and_asked_in_sql() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let server = Emulator::start("washbay", WashbayServer::new(), server::now())
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let context = project(folder.path(), server.url()).await;
    let washes = server::washes();

    assert_eq!(synced(&context).await, (washes.len() as u64 + 7, 0));
    let mut by_hall: BTreeMap<u64, (usize, i64)> = BTreeMap::new();
    let mut by_method: BTreeMap<&str, i64> = BTreeMap::new();
    for wash in washes.values() {
        let sums = by_hall.entry(wash.hall).or_default();
        *sums = (sums.0 + 1, sums.1 + wash.price_cents);
        *by_method
            .entry(if wash.paid_with == "plate" {
                "account"
            } else {
                wash.paid_with
            })
            .or_default() += wash.price_cents;
    }
    let halls: Vec<String> = by_hall
        .iter()
        .map(|(n, (count, sum))| format!("Hall {n} {count} {}", euros(*sum)))
        .collect();
    let by_site = "SELECT s.name, count(*), sum(t.amount) FROM transactions t JOIN sites s ON t.site_key = s.site_key \
                   GROUP BY 1 ORDER BY 1";
    assert_eq!(published_rows(&context, by_site).await, halls);
    let methods: Vec<String> = by_method
        .iter()
        .map(|(method, sum)| format!("{method} {}", euros(*sum)))
        .collect();
    assert_eq!(
        published_rows(
            &context,
            "SELECT method, sum(amount) FROM payments GROUP BY 1 ORDER BY 1"
        )
        .await,
        methods
    );
    let plates = "SELECT count(*), count(DISTINCT license_plate) FROM transactions WHERE license_plate LIKE 'hmac1:%'";
    assert_eq!(
        published_rows(&context, plates).await,
        [format!("{0} {0}", washes.len())]
    );

    assert_eq!(synced(&context).await, (0, 0), "nothing happened");

    stir(server.url(), "change", "washes", server::window().from()).await;
    stir(server.url(), "vanish", "halls", server::window().from()).await;
    let (new, changed) = synced(&context).await;
    assert_eq!(
        (new, changed),
        (0, 2),
        "a wash became dearer, and a hall is gone"
    );
    let all: i64 = washes.values().map(|wash| wash.price_cents).sum();
    assert_eq!(
        published_rows(
            &context,
            "SELECT sum(amount), sum(paid_amount) FROM transactions"
        )
        .await,
        [[euros(all + 1), euros(all + 1)].join(" ")]
    );
    let gone = "SELECT name FROM sites WHERE _deleted_at IS NOT NULL";
    assert_eq!(published_rows(&context, gone).await, ["Hall 0"]);
    assert_eq!(
        published_rows(&context, "SELECT count(*) FROM washbay.washes").await,
        [(washes.len() + 1).to_string()]
    );
}
