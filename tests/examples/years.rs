//! Years of a warehouse in an hour: thousands of quarter-hour syncs of four small sources by the binary, with the clock handed in and maintenance on. What a
//! sync, `stats`, `sql` and `status` take at the beginning and at the end, and what lies on storage meanwhile.
//!
//! `make bench-years` runs it; `YEARS_SYNCS` says how many syncs there are. It ends by itself, and its folder goes with it; with 1 where a goal is missed.
//!
//! ```text
//!   a first load of a month --> 3,000 syncs, a quarter of an hour apart, retention a day
//!        |                            |                      |
//!        after 100 of them            before each midnight   at the end
//!        a copy, kept for the end     files are most         the copy and the warehouse by turns: syncs, stats, sql, status
//! ```
//!
//! The machine is as fast for the copy of the beginning as for the end, since both are measured at the same time. The month before gives both the same
//! look-back to read. Files count as unused after as long as a day of syncs takes here.

// The output of a benchmark is its result; one that cannot go on stops, and says why.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]

use jiff::Timestamp;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use tillhouse_sandbox::{Sandbox, SandboxOptions};

const NAMES: [&str; 4] = ["bemo", "hecone", "pace", "smartnow"];
/// Seconds from one sync to the next.
const QUARTER: i64 = 900;
/// Quarters of a day.
const DAY: usize = 96;
/// Days before the first of the syncs.
const BEFORE: i64 = 31;
/// Sales of a quarter, over all sources.
const SALES: u64 = 4;
/// Syncs after which the copy of the beginning is made.
const BEGINNING: usize = 100;
/// Syncs whose median stands for an end.
const SAMPLE: usize = 50;
/// Starts of a command whose median stands for it.
const STARTS: usize = 15;
/// Width of the plot.
const BARS: usize = 60;
/// The first moment of sales.
const FROM: &str = "2024-01-01T00:00:00Z";

/// Wall and processor seconds of a process.
#[derive(Clone, Copy)]
struct Taken {
    wall: f64,
    cpu: f64,
}

/// Measurements after one sync.
struct Sample {
    taken: Taken,
    files: u64,
    bytes: u64,
    kept_runs: u64,
}

/// Bytes of a warehouse, by what needs them.
struct Needs {
    at_sync: usize,
    kept_runs: u64,
    all: u64,
    /// Of the newest versions, compacted, with nothing else beside them.
    compacted: u64,
    /// Of what kept runs need and the newest does not.
    kept_alone: u64,
}

/// A project, and the sandbox it reads from.
struct Contender {
    folder: PathBuf,
    binary: OsString,
    sandbox: Sandbox,
    /// Seconds since 1970.
    now: i64,
    published: u64,
    dropped: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let syncs: usize = std::env::var("YEARS_SYNCS").map_or(3_000, |n| n.parse().unwrap());
    let binary =
        std::env::var_os("TILLHOUSE_TEST_BINARY").expect("TILLHOUSE_TEST_BINARY names the binary");
    let root = std::env::temp_dir().join(format!("tillhouse-years-{}", std::process::id()));
    std::fs::create_dir_all(&root).unwrap();
    let quarters = syncs + 2 * SAMPLE + DAY;
    let mut years = Contender::new(root.join("years"), &binary, quarters).await;
    let (first, _) = years.sync();
    eprintln!("a month before: {:.1} s", first.wall);
    let beginning = BEGINNING.min(syncs.div_ceil(2)).max(1);
    let last_midnight = (syncs.saturating_sub(1) / DAY) * DAY;
    let mut samples: Vec<Sample> = Vec::with_capacity(syncs);
    let mut needs = Vec::new();
    for number in 0..syncs {
        years.go_on();
        let (taken, _) = years.sync();
        let (files, bytes) = size_of(&years.warehouse());
        samples.push(Sample {
            taken,
            files,
            bytes,
            kept_runs: years.kept_runs(),
        });
        if number + 1 == beginning {
            copy(&years.folder, &root.join("beginning"));
            // Files stay unused for as long as a day of syncs takes here.
            let walls = samples.iter().map(|sample| sample.taken.wall);
            let day = walls.sum::<f64>() / samples.len() as f64 * DAY as f64;
            years.configure(&format!("{}s", day.ceil()));
        }
        if number + 1 == last_midnight {
            needs.push(years.needs(number + 1, &root.join("copy")));
        }
        if number % 100 == 99 || number + 1 == syncs {
            let last = &samples[number];
            eprintln!(
                "{} syncs: {:.2} s, {:.2} s of processor, {} files, {:.1} MB, {} runs kept",
                number + 1,
                last.taken.wall,
                last.taken.cpu,
                last.files,
                last.bytes as f64 / 1e6,
                last.kept_runs
            );
        }
    }
    needs.push(years.needs(syncs, &root.join("copy")));
    let mut begun = Contender::new(root.join("beginning"), &binary, quarters).await;
    let pairs = by_turns(&mut begun, &mut years, SAMPLE.min(syncs.div_ceil(2)));
    let missed = report(&samples, &needs, &pairs);
    begun.sandbox.stop().await;
    years.sandbox.stop().await;
    std::fs::remove_dir_all(&root).unwrap();
    match missed {
        0 => ExitCode::SUCCESS,
        missed => {
            eprintln!("goals that were missed: {missed}");
            ExitCode::FAILURE
        }
    }
}

impl Contender {
    /// A project in a folder, which is made unless it is there; its sandbox's clock stands where the first load ends, or where the copy was made.
    async fn new(folder: PathBuf, binary: &OsStr, quarters: usize) -> Self {
        let from: Timestamp = FROM.parse().unwrap();
        let start = from.as_second() + BEFORE * 86_400;
        let to = start + QUARTER * i64::try_from(quarters).unwrap();
        let all = (to - from.as_second()) / QUARTER;
        let is_copy = folder.exists();
        let now = match is_copy {
            false => start,
            // As many quarters on as the copy has lived.
            true => {
                let lived = std::fs::read_to_string(folder.join("lived")).unwrap();
                lived.parse().unwrap()
            }
        };
        let sandbox = Sandbox::start(SandboxOptions {
            transactions: SALES * all.unsigned_abs(),
            from,
            to: Timestamp::from_second(to).unwrap(),
            clock: Timestamp::from_second(now).unwrap(),
            token_ttl: Duration::from_secs(86_400),
            ..SandboxOptions::default()
        })
        .await
        .unwrap();
        let contender = Self {
            folder,
            binary: binary.to_owned(),
            sandbox,
            now,
            published: 0,
            dropped: 0,
        };
        if !is_copy {
            contender.make_project();
        }
        contender.make_env();
        contender.configure("24h");
        contender
    }

    /// A project of four pipelines.
    fn make_project(&self) {
        let mut init = Command::new(&self.binary);
        init.arg("init")
            .arg(&self.folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        for name in NAMES {
            init.args(["--source", name]);
        }
        assert!(init.status().unwrap().success(), "init");
        for name in NAMES {
            let path = self.folder.join(format!("pipelines/{name}/pipeline.yaml"));
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text
                .replacen("rate_limit: 10/s", "rate_limit: 10000/s", 1)
                .replacen("rate_limit: 20/s", "rate_limit: 10000/s", 1);
            std::fs::write(path, text).unwrap();
        }
        let config = std::fs::read_to_string(self.folder.join("tillhouse.yaml")).unwrap();
        std::fs::write(self.folder.join("tillhouse.yaml.made"), config).unwrap();
        let env = std::fs::read_to_string(self.folder.join(".env")).unwrap();
        std::fs::write(self.folder.join(".env.made"), env).unwrap();
    }

    /// The addresses of the sandbox.
    fn make_env(&self) {
        let made = std::fs::read_to_string(self.folder.join(".env.made")).unwrap();
        let of = |name| self.sandbox.url_of(name);
        let values = format!(
            "HECONE_URL={}\nHECONE_CLIENT_ID=sandbox\nHECONE_CLIENT_SECRET=sandbox-secret\nSMARTNOW_URL={}\nSMARTNOW_USERNAME=sandbox\n\
             SMARTNOW_PASSWORD=sandbox-secret\nBEMO_URL={}\nBEMO_ACCESS_TOKEN=sandbox-token\nBEMO_SUBSCRIPTION_KEY=sandbox-key\nBEMO_ACCOUNTS={}\n\
             PACE_URL={pace}\nPACE_TOKEN_URL={pace}/auth/token\nPACE_CLIENT_ID=sandbox\nPACE_CLIENT_SECRET=sandbox-secret\nPACE_PARTNERS={}\n",
            of("hecone"),
            of("smartnow"),
            of("bemo"),
            self.sandbox.accounts().join(","),
            self.sandbox.partners().join(","),
            pace = of("pace"),
        );
        std::fs::write(self.folder.join(".env"), made + &values).unwrap();
    }

    /// Retention of a day, with unused files kept for so long.
    fn configure(&self, unused: &str) {
        let keep = format!("retention: {{ runs: 1d, daily: 1d, monthly: 1d, unused: {unused} }}\n");
        write_config(&self.folder, &keep);
    }

    fn warehouse(&self) -> PathBuf {
        self.folder.join("warehouse")
    }

    fn kept_runs(&self) -> u64 {
        self.published - self.dropped
    }

    /// A quarter of an hour passes.
    fn go_on(&mut self) {
        self.now += QUARTER;
        let quarter = Duration::from_secs(QUARTER.unsigned_abs());
        self.sandbox.advance(quarter).unwrap();
        std::fs::write(self.folder.join("lived"), self.now.to_string()).unwrap();
    }

    /// One sync of everything, and what it said.
    fn sync(&mut self) -> (Taken, String) {
        let (taken, said) = run(&self.binary, &self.folder, self.now, &["sync"]);
        self.published += 1;
        self.dropped += dropped(&said);
        (taken, said)
    }

    /// Bytes of the warehouse by what needs them, told by copies that are vacuumed.
    fn needs(&self, at_sync: usize, copy_to: &Path) -> Needs {
        copy(&self.folder, copy_to);
        let copied = copy_to.join("warehouse");
        let command = |command: &str| run(&self.binary, copy_to, self.now, &[command]);
        let write = |runs: &str| {
            let all = format!("runs: {runs}, daily: {runs}, monthly: {runs}, unused: 0s");
            write_config(
                copy_to,
                &format!("maintenance: off\nretention: {{ {all} }}\n"),
            );
        };
        let all = size_of(&copied).1;
        // A kept version stays kept.
        write("3660d");
        command("vacuum");
        let with_kept = size_of(&copied).1;
        write("0s");
        command("vacuum");
        let newest_alone = size_of(&copied).1;
        command("compact");
        // A little later, so that the run before is not the newest too.
        for last in ["sync", "vacuum"] {
            run(&self.binary, copy_to, self.now + 60, &[last]);
        }
        let compacted = size_of(&copied).1;
        std::fs::remove_dir_all(copy_to).unwrap();
        Needs {
            at_sync,
            kept_runs: self.kept_runs(),
            all,
            compacted,
            kept_alone: with_kept - newest_alone,
        }
    }
}

/// Adds lines to the configuration as it was made.
fn write_config(folder: &Path, lines: &str) {
    let made = std::fs::read_to_string(folder.join("tillhouse.yaml.made")).unwrap();
    std::fs::write(folder.join("tillhouse.yaml"), made + lines).unwrap();
}

/// Runs a command by the clock of the warehouse, which must end well; what it took, and what it said.
fn run(binary: &OsStr, folder: &Path, now: i64, arguments: &[&str]) -> (Taken, String) {
    let now = Timestamp::from_second(now).unwrap().to_string();
    let (cpu, began) = (cpu_of_children(), Instant::now());
    let ended = Command::new(binary)
        .args(["--now", &now])
        .args(arguments)
        .current_dir(folder)
        .stdout(Stdio::null())
        .output()
        .unwrap();
    let taken = Taken {
        wall: began.elapsed().as_secs_f64(),
        cpu: cpu_of_children() - cpu,
    };
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(
        ended.status.success(),
        "{arguments:?}: {}\n{said}",
        ended.status
    );
    (taken, said)
}

/// Processor seconds of the processes that have ended, in hundredths; zero where the system does not tell.
fn cpu_of_children() -> f64 {
    let told = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = told.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(13).take(2);
    let ticks = ticks.filter_map(|ticks| ticks.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// Number of runs that a sync's maintenance has dropped.
fn dropped(said: &str) -> u64 {
    let words: Vec<&str> = said.split_whitespace().collect();
    let found = words
        .windows(2)
        .filter(|two| matches!(two[1], "run" | "runs"));
    let found = found.filter_map(|two| two[0].replace(',', "").parse::<u64>().ok());
    match said.contains("no longer kept") {
        true => found.sum(),
        false => 0,
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
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

/// Name, goal, and what each took at the beginning and at the end.
type Pair = (&'static str, f64, Vec<(Taken, Taken)>);

/// The beginning and the end by turns.
fn by_turns(begun: &mut Contender, years: &mut Contender, pairs: usize) -> Vec<Pair> {
    // The first one on the copy reads what a copied disk does not tell.
    begun.go_on();
    begun.sync();
    let syncs = (0..pairs).map(|_| {
        begun.go_on();
        years.go_on();
        (begun.sync().0, years.sync().0)
    });
    let mut all: Vec<Pair> = vec![("sync", 1.2, syncs.collect())];
    let at = |seconds: i64| Timestamp::from_second(seconds).unwrap().to_string();
    let sums = "SELECT currency, sum(amount), count(*) FROM transactions GROUP BY currency";
    for name in ["stats", "sql", "status"] {
        let one = |of: &Contender| {
            let (from, to) = (at(of.now - 86_400), at(of.now));
            let arguments = match name {
                "stats" => vec!["stats", "--from", &from, "--to", &to],
                "sql" => vec!["sql", sums],
                _ => vec!["status"],
            };
            run(&of.binary, &of.folder, of.now, &arguments).0
        };
        let taken = (0..STARTS).map(|_| (one(begun), one(years))).collect();
        all.push((name, 1.3, taken));
    }
    all
}

fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Goals that were looked at.
#[derive(Default)]
struct Goals {
    missed: usize,
}

impl Goals {
    fn verdict(&mut self, holds: bool) -> &'static str {
        self.missed += usize::from(!holds);
        match holds {
            true => "holds",
            false => "MISSED",
        }
    }
}

/// Prints what was measured; the goals that were missed.
fn report(samples: &[Sample], needs: &[Needs], pairs: &[Pair]) -> usize {
    let mut goals = Goals::default();
    println!(
        "{} syncs, a quarter of an hour apart, after {BEFORE} days; retention a day. Medians of {SAMPLE} syncs and {STARTS} starts, beginning and end by turns.",
        samples.len()
    );
    println!("| what | begin: wall, CPU | end: wall, CPU | ratio: wall, CPU | goal | |");
    println!("|---|---|---|---|---|---|");
    for (name, goal, taken) in pairs {
        let of = |pick: fn(&(Taken, Taken)) -> f64| median(taken.iter().map(pick));
        let (begin, end) = (of(|pair| pair.0.wall), of(|pair| pair.1.wall));
        let (begin_cpu, end_cpu) = (of(|pair| pair.0.cpu), of(|pair| pair.1.cpu));
        println!(
            "| {name} | {begin:.3} s, {begin_cpu:.2} s | {end:.3} s, {end_cpu:.2} s | {:.2}, {:.2} | {goal} | {} |",
            end / begin,
            end_cpu / begin_cpu.max(0.01),
            goals.verdict(end / begin <= *goal)
        );
    }
    let allowed = |sample: &Sample| 500 + 40 * sample.kept_runs;
    let share = |sample: &Sample| sample.files as f64 / allowed(sample) as f64;
    let worst =
        (0..samples.len()).max_by(|a, b| share(&samples[*a]).total_cmp(&share(&samples[*b])));
    if let Some((at, worst)) = worst.map(|at| (at + 1, &samples[at])) {
        println!(
            "files: at most {:.0} % of 500 + 40 a kept run: {} after sync {at}, with {} runs kept and {} allowed: {}",
            100.0 * share(worst),
            worst.files,
            worst.kept_runs,
            allowed(worst),
            goals.verdict(share(worst) <= 1.0)
        );
    }
    let mega = |bytes: u64| bytes as f64 / 1e6;
    for needs in needs {
        let allowed = 3 * needs.compacted + needs.kept_alone;
        println!(
            "bytes after sync {}: {:.1} MB, of 3 x {:.1} MB (one compacted copy) + {:.1} MB ({} kept runs alone) = {:.1} MB: {}",
            needs.at_sync,
            mega(needs.all),
            mega(needs.compacted),
            mega(needs.kept_alone),
            needs.kept_runs,
            mega(allowed),
            goals.verdict(needs.all <= allowed)
        );
    }
    plot("seconds of a sync", samples, |s| s.taken.wall);
    plot("of processor", samples, |s| s.taken.cpu);
    plot("files", samples, |s| s.files as f64);
    plot("kept runs", samples, |s| s.kept_runs as f64);
    plot("megabytes", samples, |s| s.bytes as f64 / 1e6);
    goals.missed
}

/// Medians of equal parts, as a line of bars with its smallest and largest.
fn plot(name: &str, samples: &[Sample], value: impl Fn(&Sample) -> f64) {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let part = samples.len().div_ceil(BARS).max(1);
    let medians: Vec<f64> = samples
        .chunks(part)
        .map(|chunk| median(chunk.iter().map(&value)))
        .collect();
    let largest = medians.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let smallest = medians.iter().copied().fold(f64::INFINITY, f64::min);
    let bars: String = medians
        .iter()
        .map(|value| LEVELS[((value / largest * 7.0).round() as usize).min(7)])
        .collect();
    println!("{name:>18}  {bars}  {smallest:.2} to {largest:.2}");
}
