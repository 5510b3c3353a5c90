//! Years of a warehouse in minutes: thousands of quarter-hour syncs of four small sources, with the clock handed in. What a sync, `stats`,
//! `sql` and `status` take at the beginning and at the end, and what lies on storage.
//!
//! `make bench-years` runs it; `YEARS_SYNCS` says how many syncs there are. It ends by itself, and its folder goes with it.

// What a benchmark prints is its result; one that cannot go on stops, and says why.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use jiff::Timestamp;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tillhouse_bemo::BemoConnection;
use tillhouse_hecone::HecOneConnection;
use tillhouse_lake::Warehouse;
use tillhouse_pace::PaceConnection;
use tillhouse_pipeline::{NoopObserver, Project, RunContext, SourceEntry, SyncOptions, sync};
use tillhouse_query::{QueryEngine, QueryEngineOptions};
use tillhouse_sandbox::{Sandbox, SandboxOptions};
use tillhouse_smartnow::SmartNowConnection;

const SOURCES: &[SourceEntry] = &[
    SourceEntry::of::<BemoConnection>(),
    SourceEntry::of::<HecOneConnection>(),
    SourceEntry::of::<PaceConnection>(),
    SourceEntry::of::<SmartNowConnection>(),
];
const NAMES: [&str; 4] = ["bemo", "hecone", "pace", "smartnow"];
/// Seconds from one sync to the next.
const QUARTER: i64 = 900;
/// Syncs whose median stands for an end.
const SAMPLE: usize = 50;
/// Starts of a command whose median stands for it.
const STARTS: usize = 7;
/// Width of the plot.
const BARS: usize = 60;
const KEEP: &str = "retention: { runs: 1d }\n";

/// Measurements after one sync.
struct Sample {
    seconds: f64,
    files: u64,
    bytes: u64,
}

#[tokio::main]
async fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let syncs: usize = std::env::var("YEARS_SYNCS").map_or(3_000, |n| n.parse().unwrap());
    let binary =
        std::env::var_os("TILLHOUSE_TEST_BINARY").expect("TILLHOUSE_TEST_BINARY names the binary");
    // Beyond the times of the files that are written meanwhile, so that what nobody needs is old enough to go.
    let start: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
    let span = QUARTER * i64::try_from(syncs + 8).unwrap();
    let end = Timestamp::from_second(start.as_second() + span).unwrap();
    let sandbox = Sandbox::start(SandboxOptions {
        transactions: 4 * syncs as u64,
        from: start,
        to: end,
        clock: Timestamp::from_second(start.as_second() + QUARTER).unwrap(),
        ..SandboxOptions::default()
    })
    .await
    .unwrap();
    let folder = std::env::temp_dir().join(format!("tillhouse-years-{}", std::process::id()));
    make_project(&folder, &binary, &sandbox);
    let clock = Arc::new(AtomicI64::new(0));
    let warehouse_folder = folder.join("warehouse");
    let mut samples = Vec::with_capacity(syncs);
    let mut at_first = None;
    for number in 0..syncs {
        let now = start.as_second() + QUARTER * i64::try_from(number + 1).unwrap();
        if number > 0 {
            sandbox
                .advance(Duration::from_secs(QUARTER.unsigned_abs()))
                .unwrap();
        }
        clock.store(now, Relaxed);
        let began = Instant::now();
        sync_once(&folder, &clock).await;
        let seconds = began.elapsed().as_secs_f64();
        let (files, bytes) = size_of(&warehouse_folder);
        samples.push(Sample {
            seconds,
            files,
            bytes,
        });
        if number + 1 == SAMPLE.min(syncs) {
            at_first = Some(commands(&folder, &binary, now));
        }
        if number % 100 == 99 {
            let last = &samples[number];
            eprintln!(
                "{} syncs: {:.2} s, {} files, {:.1} MB",
                number + 1,
                last.seconds,
                last.files,
                last.bytes as f64 / 1e6
            );
        }
    }
    let now = clock.load(Relaxed);
    let at_last = commands(&folder, &binary, now);
    report(&samples, &at_first.unwrap_or_default(), &at_last);
    sandbox.stop().await;
    std::fs::remove_dir_all(&folder).unwrap();
}

/// A project of four pipelines that read from the sandbox.
fn make_project(folder: &Path, binary: &OsStr, sandbox: &Sandbox) {
    let mut init = Command::new(binary);
    init.arg("init")
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    for name in NAMES {
        init.args(["--source", name]);
    }
    assert!(init.status().unwrap().success(), "init");
    for name in NAMES {
        let path = folder.join(format!("pipelines/{name}/pipeline.yaml"));
        let text = std::fs::read_to_string(&path).unwrap();
        let text = text
            .replacen("start: 2024-01-01", "start: 2030-01-01", 1)
            .replacen("rate_limit: 10/s", "rate_limit: 10000/s", 1)
            .replacen("rate_limit: 20/s", "rate_limit: 10000/s", 1);
        std::fs::write(path, text).unwrap();
    }
    let config = folder.join("tillhouse.yaml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(config, text + KEEP).unwrap();
    let env = folder.join(".env");
    let text = std::fs::read_to_string(&env).unwrap();
    let of = |name| sandbox.url_of(name);
    let values = format!(
        "HECONE_URL={}\nHECONE_CLIENT_ID=sandbox\nHECONE_CLIENT_SECRET=sandbox-secret\nSMARTNOW_URL={}\nSMARTNOW_USERNAME=sandbox\n\
         SMARTNOW_PASSWORD=sandbox-secret\nBEMO_URL={}\nBEMO_ACCESS_TOKEN=sandbox-token\nBEMO_SUBSCRIPTION_KEY=sandbox-key\nBEMO_ACCOUNTS={}\n\
         PACE_URL={pace}\nPACE_TOKEN_URL={pace}/auth/token\nPACE_CLIENT_ID=sandbox\nPACE_CLIENT_SECRET=sandbox-secret\nPACE_PARTNERS={}\n",
        of("hecone"),
        of("smartnow"),
        of("bemo"),
        sandbox.accounts().join(","),
        sandbox.partners().join(","),
        pace = of("pace"),
    );
    std::fs::write(env, text + &values).unwrap();
}

/// One sync of everything, as a process that has just started would do it.
async fn sync_once(folder: &Path, clock: &Arc<AtomicI64>) {
    let project = Arc::new(Project::load(folder).unwrap());
    let warehouse = Warehouse::open(&project.warehouse).await.unwrap();
    let clock = Arc::clone(clock);
    let now = move || Timestamp::from_second(clock.load(Relaxed)).unwrap();
    let warehouse = warehouse.with_clock(Arc::new(now));
    let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
    let context = RunContext::new(project, warehouse, engine, Arc::new(NoopObserver));
    let pipelines = context.project.pipelines(&[], SOURCES).unwrap();
    let report = sync(&context, &pipelines, SyncOptions::default())
        .await
        .unwrap();
    assert!(report.published && !report.is_partial(), "{report:?}");
}

/// Number and size of the files of a warehouse.
fn size_of(folder: &Path) -> (u64, u64) {
    let mut found = (0, 0);
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            match meta.is_dir() {
                true => folders.push(entry.path()),
                false => found = (found.0 + 1, found.1 + meta.len()),
            }
        }
    }
    found
}

/// Median seconds of the commands that read, from start to exit.
fn commands(folder: &Path, binary: &OsStr, now: i64) -> Vec<(&'static str, f64)> {
    let at = |seconds: i64| Timestamp::from_second(seconds).unwrap().to_string();
    let (from, to) = (at(now - 86_400), at(now));
    let all: [(&str, Vec<&str>); 3] = [
        ("stats", vec!["stats", "--from", &from, "--to", &to]),
        (
            "sql",
            vec![
                "sql",
                "SELECT currency, sum(amount), count(*) FROM transactions GROUP BY currency",
            ],
        ),
        ("status", vec!["status"]),
    ];
    all.into_iter()
        .map(|(name, arguments)| {
            let mut seconds: Vec<f64> = (0..STARTS)
                .map(|_| {
                    let began = Instant::now();
                    let ended = Command::new(binary)
                        .args(&arguments)
                        .current_dir(folder)
                        .stdout(Stdio::null())
                        .stderr(Stdio::null())
                        .status()
                        .unwrap();
                    assert!(
                        ended.code().is_some_and(|code| code == 0 || code == 3),
                        "{name}: {ended}"
                    );
                    began.elapsed().as_secs_f64()
                })
                .collect();
            (name, median(&mut seconds))
        })
        .collect()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

fn report(samples: &[Sample], first: &[(&str, f64)], last: &[(&str, f64)]) {
    let sample = SAMPLE.min(samples.len());
    let of = |part: &[Sample]| median(&mut part.iter().map(|s| s.seconds).collect::<Vec<_>>());
    // The first one reads everything there is: it stands for no other.
    let begin = of(&samples[1.min(samples.len() - 1)..sample]);
    let end = of(&samples[samples.len() - sample..]);
    println!("{} syncs, a quarter of an hour apart", samples.len());
    println!("| what | begin | end | ratio | goal |");
    println!("|---|---|---|---|---|");
    println!(
        "| sync | {begin:.3} s | {end:.3} s | {:.2} | 1.2 |",
        end / begin
    );
    for ((name, begin), (_, end)) in first.iter().zip(last) {
        println!(
            "| {name} | {begin:.3} s | {end:.3} s | {:.2} | 1.3 |",
            end / begin
        );
    }
    let most = samples.iter().map(|s| s.files).max().unwrap_or_default();
    let newest = samples.last().map_or((0, 0), |s| (s.files, s.bytes));
    println!(
        "files: {most} at most, {} at the end; bytes at the end: {}",
        newest.0, newest.1
    );
    plot("seconds of a sync", samples, |s| s.seconds);
    plot("files", samples, |s| s.files as f64);
    plot("megabytes", samples, |s| s.bytes as f64 / 1e6);
}

/// Medians of equal parts, as a line of bars with its smallest and largest.
fn plot(name: &str, samples: &[Sample], value: impl Fn(&Sample) -> f64) {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let part = samples.len().div_ceil(BARS).max(1);
    let medians: Vec<f64> = samples
        .chunks(part)
        .map(|chunk| median(&mut chunk.iter().map(&value).collect::<Vec<_>>()))
        .collect();
    let largest = medians.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let smallest = medians.iter().copied().fold(f64::INFINITY, f64::min);
    let bars: String = medians
        .iter()
        .map(|value| LEVELS[((value / largest * 7.0).round() as usize).min(7)])
        .collect();
    println!("{name:>18}  {bars}  {smallest:.2} to {largest:.2}");
}
