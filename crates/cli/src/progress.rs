//! Progress on standard error: a bar while slices are read, a line while tables are unified.
//!
//! Invariant: bars are drawn only on a terminal; log lines are printed above them, never through them.

use crate::output::terminal_escape::LogStyle;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tillhouse_pipeline::{RunEvent, RunObserver};

/// Most pipelines that are named before the bar.
const NAMED: usize = 3;

static BAR: OnceLock<ProgressBar> = OnceLock::new();

/// Observer of a run that draws a progress bar.
pub(crate) struct ProgressObserver {
    bar: ProgressBar,
    records: AtomicU64,
    bytes: AtomicU64,
    /// When the first page came.
    since: OnceLock<Instant>,
    /// Pipelines that are read, in the order of their names.
    pipelines: Mutex<BTreeSet<String>>,
}

impl ProgressObserver {
    /// A bar on standard error; hidden where that is no terminal.
    pub(crate) fn new() -> Self {
        let target = if std::io::stderr().is_terminal() && !crate::logging::is_dumb() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        bar.set_style(bar_style());
        bar.enable_steady_tick(Duration::from_millis(100));
        // The log writer prints above the bar of the process; a second run in one process keeps the first.
        let _ = BAR.set(bar.clone());
        Self {
            bar,
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            since: OnceLock::new(),
            pipelines: Mutex::default(),
        }
    }

    /// The names of the pipelines that are read, with one more; their number, where they are too many for a line.
    fn prefix_with(&self, pipeline: &str) -> String {
        let mut pipelines = self
            .pipelines
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        pipelines.insert(pipeline.to_owned());
        match pipelines.len() {
            0..=NAMED => pipelines.iter().cloned().collect::<Vec<_>>().join(", "),
            more => format!("{more} pipelines"),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl RunObserver for ProgressObserver {
    fn on_event(&self, event: &RunEvent) {
        match event {
            RunEvent::Planned { pipeline, slices } => {
                self.bar.set_prefix(self.prefix_with(pipeline));
                self.bar.inc_length(*slices as u64);
            }
            RunEvent::Page { records, bytes } => {
                let records = self.records.fetch_add(*records, Ordering::Relaxed) + records;
                let bytes = self.bytes.fetch_add(*bytes, Ordering::Relaxed) + bytes;
                let since = self.since.get_or_init(Instant::now);
                let seconds = since.elapsed().as_secs_f64().max(0.001);
                self.bar.set_message(format!(
                    "{} records, {} at {}/s",
                    HumanCount(records),
                    HumanBytes(bytes),
                    HumanBytes((bytes as f64 / seconds) as u64)
                ));
            }
            RunEvent::SliceDone { .. } => self.bar.inc(1),
            RunEvent::Landed { .. } => {}
            RunEvent::Unifying { table } => self.bar.set_message(format!(
                "{} records, unifying {table}",
                HumanCount(self.records.load(Ordering::Relaxed))
            )),
            RunEvent::Stage {
                pipeline,
                name,
                took,
            } => {
                let pipeline = pipeline.as_deref();
                tracing::info!(
                    stage = name,
                    pipeline,
                    seconds = took.as_secs_f64(),
                    "stage done"
                );
            }
        }
    }
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template(
        "{prefix:.bold} {bar:24.cyan/dim} {pos}/{len} slices  {wide_msg} {elapsed}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar())
    .progress_chars("━╸─")
}

/// Writes a log line above the bar.
pub(crate) struct LogWriter {
    line: Vec<u8>,
    style: LogStyle,
}

impl LogWriter {
    /// A writer of one event.
    pub(crate) fn new(style: LogStyle) -> Self {
        Self {
            line: Vec::new(),
            style,
        }
    }
}

impl Write for LogWriter {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.line.extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        let line = self.style.escape_controls(&line);
        let write = || {
            // Nothing can be done where standard error itself is gone.
            let _ = std::io::stderr().write_all(line.as_bytes());
        };
        match BAR.get() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}
