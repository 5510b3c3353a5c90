//! Questions that are answered with the help of workers, over the warehouse of the demo.
//!
//! Invariant: an answer is the same, to the last digit, with no worker, one, two and three, also where one is lost in the middle; a worker that must not be asked is named.

use crate::certificates::fixture;
use crate::program::{command, run};
use crate::recipes::recipes;
use arrow::util::display::array_value_to_string;
use datafusion::physical_plan::displayable;
use futures::TryStreamExt;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;
use tillhouse_lake::{AsOf, Warehouse};
use tillhouse_model::{CivilPeriod, ErrorKind, Filter, Secret, Window};
use tillhouse_pipeline::{Project, contract_tables};
use tillhouse_query::{QueryEngine, QueryEngineOptions, QueryParameters, Session, into_error};
use tillhouse_statistics::reports::{ReportName, ReportRequest, ReportTime, report};
use tillhouse_statistics::{
    CheckedFilter, HourGrouping, StatisticsRequest, register_sql, statistics, statistics_of_facts,
};
use tillhouse_workers::{
    PlacementOptions, TaskCount, TrustFiles, WorkerAddress, WorkerFleet, WorkerServer, WorkerTrust,
    with_workers,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The demo's project, and the time that its sales are of.
struct Demo {
    _folder: TempDir,
    project: Project,
    window: Window,
}

impl Demo {
    async fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("demo");
        let text = dir.to_str().unwrap();
        let made = run(command(["demo", "--transactions", "4000", "--dir", text])).await;
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "{said}");
        let project = Project::load(&dir).unwrap();
        let mut demo = Self {
            _folder: folder,
            project,
            window: window("2000-01-01T00:00:00Z", "2000-01-02T00:00:00Z"),
        };
        let session = demo.session(demo.engine()).await;
        let sql = "SELECT min(occurred_at) AS first, max(occurred_at) AS last FROM transactions";
        let found = rows(&session, sql).await.unwrap().remove(0);
        let [first, last] = [0, 1].map(|at| found.split('|').nth(at).unwrap());
        demo.window = window(first, last);
        demo
    }

    async fn warehouse(&self) -> Warehouse {
        Warehouse::open(&self.project.warehouse).await.unwrap()
    }

    /// An engine of a process of its own.
    fn engine(&self) -> QueryEngine {
        let options = QueryEngineOptions {
            threads: 3,
            ..QueryEngineOptions::default()
        };
        let engine = QueryEngine::new(options).unwrap();
        engine.knowing(contract_tables(&self.project))
    }

    async fn session(&self, engine: QueryEngine) -> Session {
        let warehouse = self.warehouse().await;
        let session = engine.open(&warehouse, &AsOf::Latest).await.unwrap();
        register_sql(&session, Some(&self.project.privacy_key));
        session
    }

    /// A session with the help of workers, which are asked for the smallest part.
    async fn helped(&self, workers: &[WorkerAddress], trust: &WorkerTrust) -> Session {
        let fleet = WorkerFleet::new(workers, trust).unwrap();
        let options = PlacementOptions { least_bytes: 0 };
        let engine = with_workers(self.engine(), &fleet, options).unwrap();
        self.session(engine).await
    }

    async fn worker(&self, trust: &WorkerTrust) -> RunningWorker {
        self.worker_of(tillhouse_workers::VERSION, trust).await
    }

    async fn worker_of(&self, version: &'static str, trust: &WorkerTrust) -> RunningWorker {
        let (engine, warehouse) = (self.engine(), self.warehouse().await);
        let listen = "127.0.0.1:0".parse().unwrap();
        let server = WorkerServer::bind_as(version, listen, trust, &engine, &warehouse);
        let server = server.await.unwrap();
        let (address, tasks) = (server.address(), server.tasks());
        let stop = CancellationToken::new();
        let answering = server.answer(stop.clone());
        tokio::spawn(async move { answering.await.unwrap() });
        RunningWorker {
            address,
            tasks,
            _stop: stop.drop_guard(),
        }
    }
}

/// A worker that answers until it is dropped.
struct RunningWorker {
    address: SocketAddr,
    tasks: TaskCount,
    _stop: DropGuard,
}

fn address(of: SocketAddr) -> WorkerAddress {
    of.to_string().parse().unwrap()
}

fn window(from: &str, to: &str) -> Window {
    Window::new(from.parse().unwrap(), to.parse().unwrap()).unwrap()
}

/// Rows of a query as text, in the order of their texts. `Err` is what the error says.
async fn rows(session: &Session, sql: &str) -> Result<Vec<String>, String> {
    let given = QueryParameters::default();
    let stream = session.query_written(sql, &given, (1, 1)).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let batches: Vec<_> = stream
        .try_collect()
        .await
        .map_err(|error| into_error(error).to_string())?;
    let mut rows = Vec::new();
    for batch in &batches {
        for row in 0..batch.num_rows() {
            let values = batch.columns().iter();
            let values = values.map(|column| array_value_to_string(column, row).unwrap());
            rows.push(values.collect::<Vec<_>>().join("|"));
        }
    }
    rows.sort_unstable();
    Ok(rows)
}

/// Requests for statistics: all of it, with hours of the day in a zone, and with filters that ask for keys and for numbers in texts.
fn requests(demo: &Demo) -> Vec<StatisticsRequest> {
    let key = &demo.project.privacy_key;
    let filtered = |text: &str| {
        let filter = Filter::parse(text).unwrap();
        Some(CheckedFilter::new(&filter, "UTC", Some(key)).unwrap())
    };
    let all = StatisticsRequest::new(demo.window);
    vec![
        StatisticsRequest {
            hours: HourGrouping::OfDay,
            timezone: "America/St_Johns".to_owned(),
            ..all.clone()
        },
        StatisticsRequest {
            perspective: "purchase".to_owned(),
            ..all.clone()
        },
        StatisticsRequest {
            filter: filtered(r#"{"field": "amount", "operator": "gte", "value": 20}"#),
            ..all.clone()
        },
        StatisticsRequest {
            filter: filtered(r#"{"field": "point_number", "operator": "lte", "value": 3}"#),
            ..all.clone()
        },
        StatisticsRequest {
            filter: filtered(r#"{"field": "site_name", "operator": "contains", "value": "a"}"#),
            ..all.clone()
        },
        all,
    ]
}

/// Every answer, by what was asked.
async fn answers(demo: &Demo, session: &Session) -> BTreeMap<String, String> {
    let warehouse = demo.warehouse().await;
    let mut answers = BTreeMap::new();
    for (question, sql) in recipes() {
        let found = rows(session, &sql).await.unwrap();
        answers.insert(question, found.join("\n"));
    }
    for (at, request) in requests(demo).iter().enumerate() {
        let of_facts = statistics_of_facts(session, &warehouse, request).await;
        let planned = statistics(session, &warehouse, request).await;
        for (how, answer) in [("facts", of_facts), ("planned", planned)] {
            let text = serde_json::to_string(&answer.unwrap()).unwrap();
            answers.insert(format!("statistics {at} {how}"), text);
        }
    }
    let period = || {
        let day = |at: jiff::Timestamp| at.to_zoned(jiff::tz::TimeZone::UTC).date();
        let (from, to) = (day(demo.window.from()), day(demo.window.to()));
        CivilPeriod::parse(&format!("{from}..{to}")).unwrap()
    };
    for name in ReportName::ALL {
        let when = match name.is_about_a_date() {
            true => ReportTime::On(demo.window.to().to_zoned(jiff::tz::TimeZone::UTC).date()),
            false => ReportTime::Periods(period(), None),
        };
        let answer = report(session, &warehouse, &ReportRequest::new(name, when)).await;
        let text = serde_json::to_string(&answer.unwrap()).unwrap();
        answers.insert(format!("report {name}"), text);
    }
    answers
}

fn assert_same(found: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>, how: &str) {
    assert_eq!(found.len(), wanted.len(), "{how}");
    for (question, answer) in wanted {
        assert_eq!(&found[question], answer, "{how}: {question}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_the_same_with_any_number_of_workers() {
    let demo = Demo::make().await;
    let trust = WorkerTrust {
        token: Some(Secret::new("a token that all machines share")),
        tls: None,
    };
    let alone = answers(&demo, &demo.session(demo.engine()).await).await;
    let total = alone.keys().filter(|asked| asked.starts_with("statistics"));
    assert_eq!(total.count(), 12);
    let mut workers = Vec::new();
    for count in 1..=3 {
        workers.push(demo.worker(&trust).await);
        let addresses: Vec<_> = workers
            .iter()
            .map(|worker| address(worker.address))
            .collect();
        let session = demo.helped(&addresses, &trust).await;
        let before: Vec<u64> = workers.iter().map(|worker| worker.tasks.get()).collect();
        let found = answers(&demo, &session).await;
        assert_same(&found, &alone, &format!("{count} workers"));
        for (worker, before) in workers.iter().zip(before) {
            // Each question is at least a task of each worker, but for those of small dimensions and of bookkeeping.
            let tasks = worker.tasks.get() - before;
            assert!(
                tasks >= 40,
                "{count} workers, and one of them ran {tasks} tasks"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_the_same_with_workers() {
    let demo = Demo::make().await;
    let trust = WorkerTrust::default();
    let worker = demo.worker(&trust).await;
    let alone = demo.session(demo.engine()).await;
    let helped = demo.helped(&[address(worker.address)], &trust).await;
    for sql in [
        "SELECT currency, sum(1 / (amount - amount)) FROM transactions GROUP BY 1",
        "SELECT nothing FROM transactions",
    ] {
        let wanted = rows(&alone, sql).await.unwrap_err();
        assert_eq!(rows(&helped, sql).await.unwrap_err(), wanted, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_lost_in_the_middle_changes_nothing() {
    let demo = Demo::make().await;
    let trust = WorkerTrust::default();
    let (lasting, broken) = (demo.worker(&trust).await, demo.worker(&trust).await);
    let request = StatisticsRequest::new(demo.window);
    let warehouse = demo.warehouse().await;
    let asked = async |session: &Session| {
        let answer = statistics_of_facts(session, &warehouse, &request).await;
        serde_json::to_string(&answer.unwrap()).unwrap()
    };
    let wanted = asked(&demo.session(demo.engine()).await).await;
    // While plans are sent, and while answers come back.
    for budget in [
        RelayBudget::to_worker(4_000),
        RelayBudget::from_worker(1_200),
    ] {
        let relay = Relay::before(broken.address, budget).await;
        let workers = [address(lasting.address), address(relay.address)];
        let session = demo.helped(&workers, &trust).await;
        let before = lasting.tasks.get();
        for _ in 0..50 {
            assert_eq!(asked(&session).await, wanted);
            if relay.broken.is_cancelled() {
                break;
            }
        }
        assert!(relay.broken.is_cancelled(), "it was never cut");
        assert!(lasting.tasks.get() > before);
        // It is left out from then on.
        assert_eq!(asked(&session).await, wanted);
    }
    // Nobody is there at all.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = nobody.local_addr().unwrap();
    drop(nobody);
    let session = demo.helped(&[address(gone)], &trust).await;
    assert_eq!(asked(&session).await, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_must_not_be_asked_is_named() {
    let demo = Demo::make().await;
    let with = |token: &str| WorkerTrust {
        token: Some(Secret::new(token)),
        tls: None,
    };
    let sql = "SELECT currency, sum(amount) FROM transactions GROUP BY 1";
    let right = demo.worker(&with("right")).await;
    let older = demo.worker_of("0.0.9", &with("right")).await;
    let at = |worker: &RunningWorker| [address(worker.address)];

    let fleet = WorkerFleet::new(&at(&right), &with("wrong")).unwrap();
    let error = fleet.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{error}");
    let name = right.address.to_string();
    assert!(error.to_string().contains(&name), "{error}");
    let session = demo.helped(&at(&right), &with("wrong")).await;
    assert!(rows(&session, sql).await.unwrap_err().contains(&name));
    let without = demo.helped(&at(&right), &WorkerTrust::default()).await;
    assert!(rows(&without, sql).await.unwrap_err().contains(&name));
    assert_eq!(
        right.tasks.get(),
        0,
        "nobody who is not let in is worked for"
    );

    let fleet = WorkerFleet::new(&at(&older), &with("right")).unwrap();
    let error = fleet.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let (name, said) = (older.address.to_string(), error.to_string());
    assert!(said.contains(&name) && said.contains("0.0.9"), "{said}");
    let session = demo.helped(&at(&older), &with("right")).await;
    assert!(rows(&session, sql).await.unwrap_err().contains(&name));
    assert_eq!(older.tasks.get(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_one_authority_let_both_sides_in_and_others_nobody() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let demo = Demo::make().await;
    let trust = |certificate: &str, key: &str| WorkerTrust {
        token: None,
        tls: Some(TrustFiles {
            authority: fixture("worker-authority"),
            certificate: fixture(certificate),
            key: fixture(key),
        }),
    };
    let known = trust("worker", "worker-key");
    let unknown = trust("trusted", "server-key");
    let sql = "SELECT currency, sum(amount) FROM transactions GROUP BY 1";
    let wanted = rows(&demo.session(demo.engine()).await, sql).await.unwrap();
    let worker = demo.worker(&known).await;
    let workers = [address(worker.address)];
    // Whoever shows another certificate, or none, is a machine that the worker does not know: everything runs there.
    for stranger in [&unknown, &WorkerTrust::default()] {
        let session = demo.helped(&workers, stranger).await;
        assert_eq!(rows(&session, sql).await.unwrap(), wanted);
    }
    // So is a worker whose certificate is not the authority's to whoever asks.
    let other = demo.worker(&unknown).await;
    let session = demo.helped(&[address(other.address)], &known).await;
    assert_eq!(rows(&session, sql).await.unwrap(), wanted);
    assert_eq!(worker.tasks.get() + other.tasks.get(), 0);
    let session = demo.helped(&workers, &known).await;
    assert_eq!(rows(&session, sql).await.unwrap(), wanted);
    assert!(worker.tasks.get() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_travel_and_what_is_of_one_query_stays() {
    let demo = Demo::make().await;
    let trust = WorkerTrust::default();
    let worker = demo.worker(&trust).await;
    let session = demo.helped(&[address(worker.address)], &trust).await;
    for (sql, travels) in [
        (
            "SELECT currency, sum(amount) FROM transactions GROUP BY 1",
            true,
        ),
        ("SELECT site_name, count(*) FROM counted GROUP BY 1", true),
        (
            "SELECT pseudonym('plate', kind), count(*) FROM transactions GROUP BY 1",
            false,
        ),
        ("SELECT amount FROM transactions WHERE amount > 10", false),
        (
            "SELECT count(*) FROM transactions WHERE random() < 2",
            false,
        ),
        // Each task would look its rows up in another site.
        (
            "SELECT count(*) FROM transactions AS t JOIN (SELECT site_key FROM sites LIMIT 1) AS s ON s.site_key = t.site_key",
            false,
        ),
    ] {
        let before = worker.tasks.get();
        rows(&session, sql).await.unwrap();
        assert_eq!(worker.tasks.get() > before, travels, "{sql}");
    }
    // A plan is shown as it is made.
    let frame = session
        .frame("SELECT sum(amount) FROM transactions", &[])
        .await
        .unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    let shown = displayable(plan.as_ref()).indent(false).to_string();
    assert!(!shown.contains("RemoteExec"), "{shown}");
}

/// Bytes after which a relay breaks.
struct RelayBudget {
    to_worker: usize,
    from_worker: usize,
}

impl RelayBudget {
    fn to_worker(bytes: usize) -> Self {
        Self {
            to_worker: bytes,
            from_worker: usize::MAX,
        }
    }

    fn from_worker(bytes: usize) -> Self {
        Self {
            to_worker: usize::MAX,
            from_worker: bytes,
        }
    }
}

/// A relay before a worker that breaks for good, as a machine that loses its power does.
struct Relay {
    address: SocketAddr,
    broken: CancellationToken,
}

impl Relay {
    async fn before(worker: SocketAddr, budget: RelayBudget) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let broken = CancellationToken::new();
        let to_worker = Arc::new(AtomicUsize::new(budget.to_worker));
        let from_worker = Arc::new(AtomicUsize::new(budget.from_worker));
        let is_broken = broken.clone();
        tokio::spawn(is_broken.clone().run_until_cancelled_owned(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(worker).await.unwrap();
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = far.into_split();
                for (from, to, left) in [
                    (near_in, far_out, Arc::clone(&to_worker)),
                    (far_in, near_out, Arc::clone(&from_worker)),
                ] {
                    let passing = pass(from, to, left, is_broken.clone());
                    tokio::spawn(is_broken.clone().run_until_cancelled_owned(passing));
                }
            }
        }));
        Self { address, broken }
    }
}

/// Passes bytes on while any are left of a budget.
async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    left: Arc<AtomicUsize>,
    broken: CancellationToken,
) {
    let mut buffer = vec![0; 512];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
            Some(left.saturating_sub(read))
        });
        if before.unwrap() <= read {
            broken.cancel();
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
