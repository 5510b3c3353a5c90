//! The guard of the process: a thread of its own that answers signals and watches how much memory a query takes.
//!
//! Invariant: within a second of Ctrl-C no query runs any more, and no query takes more memory than its limit and [`ALLOWANCE`] for longer than [`GRACE`], nor [`MARGIN`] more. A query is asked to stop
//! first; one that does not (while it is planned, in a loop of one operator, while a reader keeps it waiting) ends with the process. Spilled data and what is half written are
//! removed however that ends.
//!
//! It shares nothing with the threads that work: they may all be busy, and then no task of theirs would ever see the signal.

use crate::failure;
use crate::output::print_notice;
use crate::temporary_file;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tillhouse_model::{Error, ErrorKind, Result};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Memory that a process may take beyond the limit of a query: the program, tables' metadata, batches under way, pages that are not given back yet.
const ALLOWANCE: u64 = 128 << 20;
/// Memory beyond that which it may take while it stops. One that takes more ends with the process at once.
const MARGIN: u64 = 20 << 20;
/// The time a query has to stop when it was asked to for its memory.
const GRACE: Duration = Duration::from_millis(250);
/// The time it has after Ctrl-C.
const PATIENCE: Duration = Duration::from_millis(800);
/// The pause between two looks at memory while a query runs.
const TICK: Duration = Duration::from_millis(10);
/// The same where half of what is allowed beyond the limit is taken.
const QUICK_TICK: Duration = Duration::from_millis(2);
/// The exit code of a process that ends with its query.
const FAILED: u8 = 1;
/// The exit code of a process that Ctrl-C ended at once, and of those that SIGTERM, SIGQUIT and SIGHUP ended: as a shell gives them.
pub(crate) const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;
/// The number of SIGXFSZ.
#[cfg(any(target_os = "linux", target_os = "macos"))]
const TOO_LARGE: i32 = 25;
#[cfg(unix)]
const QUIT: u8 = 131;
#[cfg(unix)]
const HUNG_UP: u8 = 129;

/// A query has begun.
static BEGUN: Notify = Notify::const_new();
static STATE: OnceLock<Mutex<WatchdogState>> = OnceLock::new();

#[derive(Default)]
struct WatchdogState {
    running: Option<RunningQuery>,
    /// A program of its own has the terminal, and Ctrl-C is meant for it.
    has_child: bool,
    /// A prompt is open, which outlives a Ctrl-C.
    has_prompt: bool,
    /// Ctrl-C came between two queries of a prompt; the next one is stopped as it begins.
    is_interrupted: bool,
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

/// Signals that the guard answers; a command answers the others itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GuardedSignals {
    /// Ctrl-C.
    pub(crate) interrupts: bool,
    /// SIGTERM and SIGHUP.
    pub(crate) terminations: bool,
}

/// Starts the guard. It leaves to commands the signals that they answer themselves.
pub(crate) fn start(answered: GuardedSignals) -> std::io::Result<()> {
    let thread = std::thread::Builder::new().name("guard".to_owned());
    thread.spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        match runtime.and_then(|runtime| runtime.block_on(guard(answered))) {
            Ok(()) => {}
            Err(error) => {
                tracing::warn!("signals are not answered and memory is not watched: {error}")
            }
        }
    })?;
    Ok(())
}

#[cfg(unix)]
async fn guard(answered: GuardedSignals) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let where_answered = |is_answered: bool, kind: SignalKind| match is_answered {
        true => signal(kind).map(Some),
        false => Ok(None),
    };
    let mut terminate = where_answered(answered.terminations, SignalKind::terminate())?;
    let mut interrupt = where_answered(answered.interrupts, SignalKind::interrupt())?;
    // Whoever started it with `nohup`, or behind a script's `&`, wants it to go on.
    let unless_ignored = |kind: SignalKind| match is_ignored(kind) {
        true => Ok(None),
        false => signal(kind).map(Some),
    };
    // Answered by nobody: what is written beyond a limit on the size of files is an error then, which takes away what is half written.
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    let _too_large = signal(SignalKind::from_raw(TOO_LARGE))?;
    let mut hang_up = match answered.terminations {
        true => unless_ignored(SignalKind::hangup())?,
        false => None,
    };
    let mut quit = unless_ignored(SignalKind::quit())?;
    loop {
        tokio::select! {
            () = received(&mut terminate) => exit_process(TERMINATED),
            () = received(&mut hang_up) => exit_process(HUNG_UP),
            () = received(&mut quit) => exit_process(QUIT),
            () = received(&mut interrupt) => on_interrupt(),
            () = look() => on_tick(),
        }
    }
}

/// The next of a signal that is answered; never of one that is not.
#[cfg(unix)]
async fn received(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// True if the process was started with a signal ignored, or if the system does not say.
#[cfg(unix)]
pub(crate) fn is_ignored(kind: tokio::signal::unix::SignalKind) -> bool {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else {
        return true;
    };
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = u32::try_from(kind.as_raw_value() - 1).unwrap_or_default();
    ignored.is_none_or(|mask| mask.checked_shr(bit).is_none_or(|mask| mask & 1 == 1))
}

#[cfg(not(unix))]
async fn guard(answered: GuardedSignals) -> std::io::Result<()> {
    loop {
        let interrupted = async {
            if answered.interrupts {
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
    match state(|state| state.running.as_ref().map(|running| running.memory_limit)) {
        Some(limit) if is_beyond(limit, ALLOWANCE / 2) => tokio::time::sleep(QUICK_TICK).await,
        Some(_) => tokio::time::sleep(TICK).await,
        None => BEGUN.notified().await,
    }
}

/// The first Ctrl-C stops the query, or the next one of a prompt, the second the process; without a query and a prompt the first does.
fn on_interrupt() {
    let is_asked = state(|state| match &mut state.running {
        Some(running) if running.stopping.is_none() => {
            running.stopping = Some((StopReason::Interrupted, Instant::now()));
            running.stop.cancel();
            true
        }
        Some(_) => false,
        None if state.has_child => true,
        None => state.has_prompt && !std::mem::replace(&mut state.is_interrupted, true),
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
            let is_runaway = matches!(why, StopReason::Memory { limit, .. } if is_beyond(limit, ALLOWANCE + MARGIN));
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

/// Takes away what must not outlive the process: leases, what was spilled, what is half written, and commands that secrets come from.
pub(crate) fn clean_up() {
    tillhouse_pipeline::release_leases();
    tillhouse_query::remove_spilled();
    temporary_file::remove_all();
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

/// True once the query that runs was asked to stop: for work of it that awaits nothing.
pub(crate) fn is_stopping() -> bool {
    state(|state| {
        let running = state.running.as_ref();
        running.is_some_and(|running| running.stopping.is_some())
    })
}

/// Registration of a running query with the watchdog, until dropped.
pub(crate) struct QueryGuard {
    stop: CancellationToken,
}

impl QueryGuard {
    /// Guards a query that may use so much memory.
    pub(crate) fn new(memory_limit: u64) -> Self {
        let stop = CancellationToken::new();
        state(|state| {
            let is_interrupted = std::mem::take(&mut state.is_interrupted);
            if is_interrupted {
                stop.cancel();
            }
            state.running = Some(RunningQuery {
                stop: stop.clone(),
                memory_limit,
                stopping: is_interrupted.then(|| (StopReason::Interrupted, Instant::now())),
            });
        });
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

/// Leaves Ctrl-C to a program that has the terminal, until dropped.
pub(crate) struct ChildGuard(());

impl ChildGuard {
    pub(crate) fn new() -> Self {
        state(|state| state.has_child = true);
        Self(())
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        state(|state| state.has_child = false);
    }
}

/// Keeps the process while a prompt is open, until dropped: a Ctrl-C between its queries, as while a result is printed, stops the next one of a file, and not the prompt.
pub(crate) struct PromptGuard(());

impl PromptGuard {
    pub(crate) fn new() -> Self {
        state(|state| state.has_prompt = true);
        Self(())
    }

    /// Forgets a Ctrl-C that came since the last query: it was meant for what is over.
    pub(crate) fn forget_interrupt() {
        state(|state| state.is_interrupted = false);
    }
}

impl Drop for PromptGuard {
    fn drop(&mut self) {
        state(|state| state.has_prompt = false);
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
        let answered = GuardedSignals {
            interrupts: false,
            terminations: false,
        };
        start(answered).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let block = std::hint::black_box(vec![1_u8; ALLOWANCE as usize]);
        let limit = memory().unwrap().saturating_sub(ALLOWANCE + MARGIN / 2);
        let stopped = runtime.block_on(guarded(limit, std::future::pending::<Result<()>>()));
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
    fn a_signal_that_the_process_was_started_with_ignored_is_left_alone() {
        use tokio::signal::unix::SignalKind;
        // SIGPIPE is ignored by every Rust program from its beginning on, SIGSTOP never.
        assert!(is_ignored(SignalKind::from_raw(13)));
        assert!(!is_ignored(SignalKind::from_raw(19)));
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
