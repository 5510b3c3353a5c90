//! Metrics, as Prometheus reads them: requests by endpoint and status, times, bytes, slots, answers that are kept.
//!
//! Invariant: labels are names of endpoints and statuses, of which there are few; nothing that somebody sends becomes a label.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of the histogram of times, in milliseconds.
const BOUNDS: [u64; 11] = [1, 5, 10, 25, 50, 100, 250, 500, 1_000, 5_000, 30_000];

/// Requests of one endpoint and status.
#[derive(Debug, Clone, Copy, Default)]
struct RequestTally {
    count: u64,
    milliseconds: u64,
    bytes: u64,
    /// Number within each bound.
    within: [u64; BOUNDS.len()],
}

/// Counters.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, u16), RequestTally>>,
    pub(crate) kept_given: AtomicU64,
    pub(crate) kept_missed: AtomicU64,
    pub(crate) not_modified: AtomicU64,
}

/// Measures that are read where they stand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gauges {
    pub(crate) taken: usize,
    pub(crate) waiting: usize,
    pub(crate) connections: usize,
    pub(crate) kept_answers: usize,
    pub(crate) kept_bytes: usize,
    /// Seconds since 1970 at which the newest run ended.
    pub(crate) newest_run: Option<i64>,
    pub(crate) is_ready: bool,
}

impl Metrics {
    /// Counts a request that has been answered.
    pub(crate) fn count(&self, endpoint: &'static str, status: u16, took: Duration, bytes: u64) {
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let tally = requests.entry((endpoint, status)).or_default();
        tally.count += 1;
        tally.milliseconds = tally.milliseconds.saturating_add(milliseconds);
        tally.bytes = tally.bytes.saturating_add(bytes);
        for (bound, within) in BOUNDS.iter().zip(&mut tally.within) {
            *within += u64::from(milliseconds <= *bound);
        }
    }

    /// Everything, in Prometheus' text format.
    pub(crate) fn text(&self, gauges: &Gauges) -> String {
        let requests = self
            .requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut out = String::new();
        // Writing to a String cannot fail.
        head(
            &mut out,
            "tillhouse_http_requests_total",
            "counter",
            "Requests answered.",
        );
        for ((endpoint, status), tally) in &requests {
            let _ = writeln!(
                out,
                "tillhouse_http_requests_total{{endpoint=\"{endpoint}\",status=\"{status}\"}} {}",
                tally.count
            );
        }
        head(
            &mut out,
            "tillhouse_http_response_bytes_total",
            "counter",
            "Bytes of answers, before they are compressed.",
        );
        for ((endpoint, status), tally) in &requests {
            let _ = writeln!(
                out,
                "tillhouse_http_response_bytes_total{{endpoint=\"{endpoint}\",status=\"{status}\"}} {}",
                tally.bytes
            );
        }
        times(&mut out, &requests);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (name, help, value) in [
            (
                "tillhouse_answers_given_again_total",
                "Answers that were kept and given again.",
                read(&self.kept_given),
            ),
            (
                "tillhouse_answers_made_total",
                "Answers that had to be made.",
                read(&self.kept_missed),
            ),
            (
                "tillhouse_not_modified_total",
                "Answers that the client had already.",
                read(&self.not_modified),
            ),
        ] {
            head(&mut out, name, "counter", help);
            let _ = writeln!(out, "{name} {value}");
        }
        gauges.write(&mut out);
        out
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// The histogram of times: all endpoints and statuses of an endpoint together.
fn times(out: &mut String, requests: &BTreeMap<(&'static str, u16), RequestTally>) {
    const NAME: &str = "tillhouse_http_request_seconds";
    head(out, NAME, "histogram", "Time to the end of an answer.");
    let mut endpoints: BTreeMap<&str, RequestTally> = BTreeMap::new();
    for ((endpoint, _), tally) in requests {
        let sum = endpoints.entry(endpoint).or_default();
        sum.count += tally.count;
        sum.milliseconds = sum.milliseconds.saturating_add(tally.milliseconds);
        for (sum, within) in sum.within.iter_mut().zip(tally.within) {
            *sum += within;
        }
    }
    for (endpoint, tally) in endpoints {
        for (bound, within) in BOUNDS.iter().zip(tally.within) {
            let _ = writeln!(
                out,
                "{NAME}_bucket{{endpoint=\"{endpoint}\",le=\"{}\"}} {within}",
                seconds(*bound)
            );
        }
        let _ = writeln!(
            out,
            "{NAME}_bucket{{endpoint=\"{endpoint}\",le=\"+Inf\"}} {}\n{NAME}_sum{{endpoint=\"{endpoint}\"}} {}\n{NAME}_count{{endpoint=\"{endpoint}\"}} {}",
            tally.count,
            seconds(tally.milliseconds),
            tally.count
        );
    }
}

/// Milliseconds in seconds, exactly.
fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

impl Gauges {
    fn write(&self, out: &mut String) {
        let mut gauge = |name: &str, help: &str, value: String| {
            head(out, name, "gauge", help);
            let _ = writeln!(out, "{name} {value}");
        };
        gauge(
            "tillhouse_slots_taken",
            "Questions that are worked on.",
            self.taken.to_string(),
        );
        gauge(
            "tillhouse_queue_length",
            "Questions that wait for a slot.",
            self.waiting.to_string(),
        );
        gauge(
            "tillhouse_connections",
            "Connections that are open.",
            self.connections.to_string(),
        );
        gauge(
            "tillhouse_kept_answers",
            "Answers that are kept.",
            self.kept_answers.to_string(),
        );
        gauge(
            "tillhouse_kept_answer_bytes",
            "Bytes of answers that are kept.",
            self.kept_bytes.to_string(),
        );
        gauge(
            "tillhouse_ready",
            "1 if a run is there to be read.",
            u8::from(self.is_ready).to_string(),
        );
        if let Some(at) = self.newest_run {
            gauge(
                "tillhouse_newest_run_timestamp_seconds",
                "When the newest published run ended.",
                at.to_string(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_help_and_buckets_add_up() {
        let metrics = Metrics::default();
        metrics.count("statistics", 200, Duration::from_millis(7), 100);
        metrics.count("statistics", 200, Duration::from_millis(40), 100);
        metrics.count("statistics", 400, Duration::from_secs(60), 10);
        let gauges = Gauges {
            newest_run: Some(5),
            is_ready: true,
            ..Gauges::default()
        };
        let text = metrics.text(&gauges);
        for line in [
            "tillhouse_http_requests_total{endpoint=\"statistics\",status=\"200\"} 2",
            "tillhouse_http_request_seconds_bucket{endpoint=\"statistics\",le=\"0.010\"} 1",
            "tillhouse_http_request_seconds_bucket{endpoint=\"statistics\",le=\"0.050\"} 2",
            "tillhouse_http_request_seconds_bucket{endpoint=\"statistics\",le=\"+Inf\"} 3",
            "tillhouse_http_request_seconds_sum{endpoint=\"statistics\"} 60.047",
            "tillhouse_ready 1",
            "tillhouse_newest_run_timestamp_seconds 5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().unwrap();
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(*end).filter(|n| n.ends_with("_seconds")))
                .unwrap_or(name);
            assert!(text.contains(&format!("# TYPE {base} ")), "{line}");
        }
    }
}
