//! Hears every log line of this thread, to look for secrets in it.
//!
//! Invariant: everything is heard, at the finest level, from every crate, whatever other threads do meanwhile; nothing is printed.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::subscriber::{DefaultGuard, Interest};

/// The subscriber of threads that do not listen: it takes nothing, and has nothing switched off for others.
struct UndecidedSubscriber;

impl tracing::Subscriber for UndecidedSubscriber {
    fn register_callsite(&self, _: &'static tracing::Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Log lines captured while its guard lives.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogCapture {
    heard: Arc<Mutex<String>>,
    spans: Arc<AtomicU64>,
}

impl LogCapture {
    /// Listens until the guard is dropped.
    pub(crate) fn start() -> (Self, DefaultGuard) {
        // Where only one subscriber exists, `tracing` lets the thread that meets an event first decide for all whether anyone wants it.
        // A thread without a subscriber would silence the event for this one, so those threads get one that leaves the question open.
        static OTHER_THREADS: Once = Once::new();
        OTHER_THREADS.call_once(|| {
            // An error says that the process has a subscriber for all threads already, which serves as well.
            let _ = tracing::subscriber::set_global_default(UndecidedSubscriber);
        });
        let ear = Self::default();
        let guard = tracing::subscriber::set_default(ear.clone());
        tracing::callsite::rebuild_interest_cache();
        (ear, guard)
    }

    pub(crate) fn heard(&self) -> String {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(&self, record: impl FnOnce(&mut CapturedLine)) {
        let mut line = CapturedLine(String::new());
        record(&mut line);
        line.0.push('\n');
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push_str(&line.0);
    }
}

/// One log line under construction.
struct CapturedLine(String);

impl Visit for CapturedLine {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing into a String does not fail.
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl tracing::Subscriber for LogCapture {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        self.note(|line| span.record(line));
        span::Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        self.note(|line| values.record(line));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        self.note(|line| event.record(line));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
