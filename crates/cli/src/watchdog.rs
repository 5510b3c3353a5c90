//! The guard of the process: a thread of its own that answers signals and watches how much memory a query takes.
//!
//! Invariant: within a second of Ctrl-C no query runs any more, and no query takes more memory than its limit and [`ALLOWANCE`] for longer than [`GRACE`]. A query is asked to stop
//! first; one that does not (while it is planned, in a loop of one operator, while a reader keeps it waiting) ends with the process. Spilled data is
//! removed however that ends.
//!
//! It shares nothing with the threads that work: they may all be busy, and then no task of theirs would ever see the signal.

use crate::failure;
use crate::output::print_notice;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tillhouse_model::{Error, ErrorKind, Result};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Memory that a process may take beyond the limit of a query: the program, tables' metadata, batches under way, pages that are not given back yet.
const ALLOWANCE: u64 = 128 << 20;
/// The time a query has to stop when it was asked to for its memory.
const GRACE: Duration = Duration::from_millis(250);
/// The time it has after Ctrl-C.
const PATIENCE: Duration = Duration::from_millis(800);
/// The pause between two looks at memory while a query runs.
const TICK: Duration = Duration::from_millis(10);
/// The exit code of a process that ends with its query.
const FAILED: u8 = 1;
/// The exit code of a process that Ctrl-C ended at once, and of one that SIGTERM ended: as a shell gives them.
pub(crate) const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// A query has begun.
static BEGUN: Notify = Notify::const_new();
static STATE: OnceLock<Mutex<WatchdogState>> = OnceLock::new();

#[derive(Default)]
struct WatchdogState {
    running: Option<RunningQuery>,
}

/// A query.
struct RunningQuery {
    stop: CancellationToken,
    memory_limit: u64,
    /// The reason for which it was asked to stop, and the moment.
    stopping: Option<(StopReason, Instant)>,
}

/// Reasons to stop a query.
#[derive(Debug, Clone, Copy)]
enum StopReason {
    Interrupted,
    Memory { used: u64, limit: u64 },
}

impl StopReason {
    fn error(self) -> Error {
        match self {
            Self::Interrupted => Error::new(ErrorKind::Interrupted, "the query was stopped"),
            Self::Memory { used, limit } => {
                let (used, limit, allowance) = (used >> 20, limit >> 20, ALLOWANCE >> 20);
                Error::new(ErrorKind::Query, "the query needs more memory than it may use")
                    .because(format!("the process has {used} MiB, with a memory_limit of {limit} MiB and {allowance} MiB for itself"))
                    .hint("Raise memory_limit in tillhouse.yaml, or ask for less at a time: a shorter period, fewer columns, shorter texts.")
            }
        }
    }

    fn grace_period(self) -> Duration {
        match self {
            Self::Interrupted => PATIENCE,
            Self::Memory { .. } => GRACE,
        }
    }
}

fn state<T>(with: impl FnOnce(&mut WatchdogState) -> T) -> T {
    with(
        &mut STATE
            .get_or_init(Mutex::default)
            .lock()
            .unwrap_or_else(PoisonError::into_inner),
    )
}

/// Starts the guard. It leaves Ctrl-C to commands that answer it themselves.
pub(crate) fn start(answers_interrupts: bool) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("guard".to_owned());
    thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime.and_then(|runtime| runtime.block_on(guard(answers_interrupts))) {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!("signals are not answered and memory is not watched: {error}")
            }
        }
    })?;
    Ok(())
}

#[cfg(unix)]
async fn guard(answers_interrupts: bool) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = if answers_interrupts {
        Some(signal(SignalKind::interrupt())?)
    } else {
        None
    };
    loop {
        let interrupted = async {
            match &mut interrupt {
                Some(interrupt) => interrupt.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = terminate.recv() => exit_process(TERMINATED),
            _ = interrupted => on_interrupt(),
            () = look() => on_tick(),
        }
    }
}

#[cfg(not(unix))]
async fn guard(answers_interrupts: bool) -> std::io::Result<()> {
    loop {
        let interrupted = async {
            if answers_interrupts {
                tokio::signal::ctrl_c().await
            } else {
                std::future::pending().await
            }
        };
        tokio::select! {
            _ = interrupted => on_interrupt(),
            () = look() => on_tick(),
        }
    }
}

/// The time to look at a query again; without one, the moment one begins.
async fn look() {
    if state(|state| state.running.is_some()) {
        tokio::time::sleep(TICK).await;
    } else {
        BEGUN.notified().await;
    }
}

/// The first Ctrl-C stops the query, the second the process; without a query the first does.
fn on_interrupt() {
    let is_asked = state(|state| match &mut state.running {
        Some(running) if running.stopping.is_none() => {
            running.stopping = Some((StopReason::Interrupted, Instant::now()));
            running.stop.cancel();
            true
        }
        _ => false,
    });
    if !is_asked {
        exit_process(INTERRUPTED);
    }
}

/// Asks a query to stop that has too much memory, and ends the process where one that was asked goes on.
fn on_tick() {
    let overdue = state(|state| {
        let running = state.running.as_mut()?;
        if let Some((why, since)) = running.stopping {
            let is_runaway =
                matches!(why, StopReason::Memory { limit, .. } if is_beyond(limit, 2 * ALLOWANCE));
            return (since.elapsed() > why.grace_period() || is_runaway).then_some(why);
        }
        let (used, limit) = (memory()?, running.memory_limit);
        if used > limit.saturating_add(ALLOWANCE) {
            running.stopping = Some((StopReason::Memory { used, limit }, Instant::now()));
            running.stop.cancel();
        }
        None
    });
    if let Some(why) = overdue {
        let _ = failure::report(&why.error());
        print_notice("  It could not be stopped by itself, so the process ends.");
        exit_process(FAILED);
    }
}

/// Takes away what must not outlive the process: leases, what was spilled, and commands that secrets come from.
pub(crate) fn clean_up() {
    tillhouse_pipeline::release_leases();
    tillhouse_query::remove_spilled();
    tillhouse_extract::stop_commands();
}

fn is_beyond(limit: u64, allowance: u64) -> bool {
    memory().is_some_and(|used| used > limit.saturating_add(allowance))
}

/// Ends the process.
pub(crate) fn exit_process(code: u8) -> ! {
    clean_up();
    std::process::exit(i32::from(code));
}

/// Bytes of memory that belong to this process alone, in memory or swapped out; `None` where the system does not say. Pages of files do not count: the system takes
/// them back when it wants.
pub(crate) fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = |field: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.trim().trim_end_matches("kB").trim().parse().ok()
    };
    Some((kilobytes("RssAnon:")? + kilobytes("VmSwap:").unwrap_or(0)) << 10)
}

/// Runs what asks queries of its own, guarded as one query is from its beginning to its end.
pub(crate) async fn guarded<T>(
    memory_limit: u64,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let guarded = QueryGuard::new(memory_limit);
    let outcome = guarded.token().run_until_cancelled(work).await;
    outcome.unwrap_or_else(|| Err(guarded.reason()))
}

/// Registration of a running query with the watchdog, until dropped.
pub(crate) struct QueryGuard {
    stop: CancellationToken,
}

impl QueryGuard {
    /// Guards a query that may use so much memory.
    pub(crate) fn new(memory_limit: u64) -> Self {
        let stop = CancellationToken::new();
        let running = RunningQuery {
            stop: stop.clone(),
            memory_limit,
            stopping: None,
        };
        state(|state| state.running = Some(running));
        BEGUN.notify_one();
        Self { stop }
    }

    /// Cancelled when the query must stop.
    pub(crate) fn token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// The reason for which it was stopped.
    pub(crate) fn reason(&self) -> Error {
        let stopping = state(|state| state.running.as_ref().and_then(|running| running.stopping));
        stopping
            .map_or(StopReason::Interrupted, |(why, _)| why)
            .error()
    }
}

impl Drop for QueryGuard {
    fn drop(&mut self) {
        state(|state| state.running = None);
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn whatever_asks_queries_is_stopped_where_it_takes_too_much() {
        start(false).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let block = std::hint::black_box(vec![1_u8; (ALLOWANCE + (48 << 20)) as usize]);
        let stopped = runtime.block_on(guarded(0, std::future::pending::<Result<()>>()));
        assert_eq!(
            stopped.unwrap_err().message(),
            "the query needs more memory than it may use"
        );
        assert_eq!(block[block.len() - 1], 1);
        drop(block);
        assert_eq!(
            runtime
                .block_on(guarded(u64::MAX, async { Ok(7) }))
                .unwrap(),
            7
        );
    }

    #[test]
    fn memory_is_what_the_process_has_for_itself() {
        let before = memory().unwrap();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        let with = memory().unwrap();
        assert!(with > before + (32 << 20), "{before} {with}");
        assert_eq!(block[block.len() - 1], 1);
    }
}
