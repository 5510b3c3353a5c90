//! The HecOne source against the sandbox: every record of a window, whatever goes wrong on the way.
//!
//! Invariant: the sandbox's truth is the measure, and no test waits longer than a Retry-After of one second and the kit's first pauses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;
use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tillhouse_extract::{Connection, Limits, Page, PageStream, Source};
use tillhouse_hecone::HecOneConnection;
use tillhouse_model::{Error, ErrorKind, Slice, Window};
use tillhouse_sandbox::{Fault, FaultKind, Sandbox, SandboxOptions};

const SALES: u64 = 700;

async fn sandbox(options: SandboxOptions) -> Sandbox {
    Sandbox::start(SandboxOptions { transactions: SALES, ..options }).await.unwrap()
}

fn limits(page_size: u32) -> Limits {
    Limits { page_size, rate_per_second: None, ..Limits::default() }
}

fn open(sandbox: &Sandbox, limits: Limits) -> Arc<dyn Source> {
    let text = serde_json::json!({
        "base_url": sandbox.hecone_url(),
        "client_id": "sandbox",
        "client_secret": "sandbox-secret",
        "paths": {"refresh": "/auth/refresh"},
    });
    serde_json::from_value::<HecOneConnection>(text).unwrap().open(limits).unwrap()
}

/// All five days.
fn everything() -> Slice {
    let options = SandboxOptions::default();
    Slice { resource: "transactions".into(), tenant: None, window: Window::new(options.from, options.to).unwrap() }
}

fn records(bytes: &Bytes) -> Vec<String> {
    let page: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    page["data"].as_array().unwrap().iter().map(|r| r["id"].as_str().unwrap().to_owned()).collect()
}

fn truth(sandbox: &Sandbox) -> BTreeSet<String> {
    let id = |record: Bytes| {
        serde_json::from_slice::<serde_json::Value>(&record).unwrap()["id"].as_str().unwrap().to_owned()
    };
    sandbox.truth().into_iter().map(id).collect()
}

/// The ids that came, and how many times each; and the last page's total.
async fn read(pages: PageStream) -> Result<(BTreeMap<String, usize>, Option<u64>), Error> {
    let pages: Vec<Page> = pages.collect::<Vec<_>>().await.into_iter().collect::<Result<_, _>>()?;
    let mut seen = BTreeMap::new();
    for id in pages.iter().flat_map(|page| records(&page.bytes)) {
        *seen.entry(id).or_default() += 1;
    }
    Ok((seen, pages.last().and_then(|page| page.declared_total)))
}

/// Reads everything and wants exactly the truth, each record once.
async fn exact(sandbox: &Sandbox, source: &dyn Source) {
    let (seen, total) = read(source.pages(&everything())).await.unwrap();
    assert!(seen.values().all(|times| *times == 1));
    assert_eq!(total, Some(seen.len() as u64));
    assert_eq!(seen.into_keys().collect::<BTreeSet<_>>(), truth(sandbox));
}

#[tokio::test]
async fn a_window_holds_exactly_the_truth_whatever_the_page_size() {
    let sandbox = sandbox(SandboxOptions::default()).await;
    assert!(truth(&sandbox).len() > 600);
    for page_size in [1, 7, 100, 1_000, 100_000] {
        sandbox.clear_requests();
        exact(&sandbox, &*open(&sandbox, limits(page_size))).await;
        let pages = truth(&sandbox).len().div_ceil(page_size as usize) as u64;
        assert_eq!(sandbox.requests().counts["GET /hecone/transactions"], pages, "no request too many");
    }
}

#[tokio::test]
async fn servers_with_small_pages_inclusive_ends_and_compression_are_read_too() {
    for options in [
        SandboxOptions { largest_page: 30, ..SandboxOptions::default() },
        SandboxOptions { end_included: true, ..SandboxOptions::default() },
        SandboxOptions { gzip: true, ..SandboxOptions::default() },
    ] {
        let sandbox = sandbox(options).await;
        exact(&sandbox, &*open(&sandbox, limits(250))).await;
    }
}

#[tokio::test]
async fn slices_together_hold_everything() {
    for end_included in [false, true] {
        let sandbox = sandbox(SandboxOptions { end_included, ..SandboxOptions::default() }).await;
        let source = open(&sandbox, limits(100));
        let whole = everything().window;
        let mut seen = BTreeSet::new();
        for window in whole.split(whole.from(), jiff::SignedDuration::from_hours(7)) {
            let (ids, _) = read(source.pages(&Slice { window, ..everything() })).await.unwrap();
            seen.extend(ids.into_keys());
        }
        assert_eq!(seen, truth(&sandbox));
    }
}

#[tokio::test]
async fn what_passes_is_outwaited() {
    let asks = |text: &str, times: u64| {
        let mut fault = Fault::new(FaultKind::RateLimited).after(2).times(times);
        fault.retry_after = Some(text.into());
        fault
    };
    let faults = [
        asks("0", 3),
        asks("1", 1),
        asks("Sun, 06 Nov 1994 08:49:37 GMT", 2),
        Fault::new(FaultKind::ServerError).after(3),
        Fault::new(FaultKind::Truncated).after(1),
        Fault::new(FaultKind::Reset).after(1),
        Fault::new(FaultKind::Empty).after(4),
        Fault::new(FaultKind::Html).after(2),
        Fault::new(FaultKind::WrongContentType).after(2),
        Fault::new(FaultKind::ServerError).on("/auth/login"),
    ];
    let sandbox = sandbox(SandboxOptions::default()).await;
    for fault in faults {
        let source = open(&sandbox, limits(100));
        let (kind, times) = (fault.kind, fault.times);
        sandbox.inject([fault]);
        exact(&sandbox, &*source).await;
        assert!(sandbox.pending_faults().is_empty(), "{kind:?} did not hit");
        assert_eq!(source.stats().retries, times, "{kind:?}");
    }
}

#[tokio::test]
async fn a_token_that_dies_on_the_way_is_replaced() {
    let sandbox = sandbox(SandboxOptions::default()).await;
    for (refresh_too, logins, refreshes) in [(false, 1, 1), (true, 2, 1)] {
        sandbox.clear_requests();
        let mut fault = Fault::new(FaultKind::Unauthorized).after(3);
        fault.refresh_too = refresh_too;
        sandbox.inject([fault]);
        exact(&sandbox, &*open(&sandbox, limits(100))).await;
        let counts = sandbox.requests().counts;
        assert_eq!((counts["POST /hecone/auth/login"], counts["POST /hecone/auth/refresh"]), (logins, refreshes));
    }
}

#[tokio::test]
async fn short_lived_tokens_are_renewed_on_the_way() {
    let options = SandboxOptions { token_ttl: Duration::from_secs(1), ..SandboxOptions::default() };
    let sandbox = sandbox(options).await;
    let source = open(&sandbox, Limits { rate_per_second: Some(20), ..limits(20) });
    exact(&sandbox, &*source).await;
    assert!(sandbox.requests().counts["POST /hecone/auth/refresh"] >= 1);
}

#[tokio::test]
async fn a_slow_answer_is_asked_for_again() {
    let sandbox = sandbox(SandboxOptions::default()).await;
    let source = open(&sandbox, Limits { request_timeout: Duration::from_millis(500), ..limits(300) });
    let mut fault = Fault::new(FaultKind::Slow).after(1);
    fault.millis = Some(20_000);
    sandbox.inject([fault]);
    exact(&sandbox, &*source).await;
    assert!(source.stats().retries >= 1);
}

#[tokio::test]
async fn what_does_not_pass_is_an_error_that_says_what_happened() {
    let sandbox = sandbox(SandboxOptions::default()).await;
    for (fault, kind, text) in [
        (FaultKind::ServerError, ErrorKind::Busy, "500 Internal Server Error"),
        (FaultKind::Truncated, ErrorKind::Unreachable, "broke off after"),
        (FaultKind::Reset, ErrorKind::Unreachable, "broke before the answer"),
        (FaultKind::Html, ErrorKind::Protocol, "text/html instead of JSON"),
        (FaultKind::Empty, ErrorKind::Protocol, "with nothing instead of JSON"),
    ] {
        let source = open(&sandbox, Limits { attempts: 2, ..limits(100) });
        sandbox.inject([Fault::new(fault).after(1).times(2)]);
        let pages: Vec<_> = source.pages(&everything()).collect().await;
        assert_eq!(pages.len(), 2, "the page before is good");
        let error = pages[1].as_ref().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(text) && error.to_string().contains("attempts 2"), "{error}");
        assert!(!format!("{error:?}").contains("sandbox-secret"));
    }
    let source = open(&sandbox, Limits { max_body_bytes: 1 << 20, ..limits(100) });
    sandbox.inject([Fault { bytes: Some(2 << 20), ..Fault::new(FaultKind::Oversized) }]);
    let error = read(source.pages(&everything())).await.unwrap_err();
    assert!(error.message().contains("longer than the 1048576 bytes"), "{error}");
}

#[tokio::test]
async fn records_that_arrive_meanwhile_lose_none() {
    let sandbox = sandbox(SandboxOptions::default()).await;
    let before = truth(&sandbox);
    sandbox.inject([Fault::new(FaultKind::Shift)]);
    let (seen, total) = read(open(&sandbox, limits(100)).pages(&everything())).await.unwrap();
    let seen: BTreeSet<String> = seen.into_keys().collect();
    assert!(seen.is_superset(&before));
    // The one inserted before the pages already read is missed, and the total tells.
    assert_eq!(total, Some(before.len() as u64 + 1));
}

#[tokio::test]
async fn a_total_that_lies_ends_all_the_same() {
    let sandbox = sandbox(SandboxOptions::default()).await;
    sandbox.inject([Fault::new(FaultKind::LieTotal).times(100)]);
    let (seen, total) = read(open(&sandbox, limits(100)).pages(&everything())).await.unwrap();
    assert_eq!(seen.into_keys().collect::<BTreeSet<_>>(), truth(&sandbox));
    assert_eq!(total, Some(truth(&sandbox).len() as u64 + 1));
}

#[tokio::test]
async fn links_of_the_server_lead_nowhere() {
    let sandbox = sandbox(SandboxOptions::default()).await;
    for kind in [FaultKind::ForeignLink, FaultKind::SelfLink] {
        sandbox.inject([Fault::new(kind).times(2)]);
        exact(&sandbox, &*open(&sandbox, limits(100))).await;
    }
}

#[tokio::test]
async fn records_are_followed_by_id() {
    let sandbox = sandbox(SandboxOptions::default()).await;
    let source = open(&sandbox, limits(100));
    source.check().await.unwrap();
    let mut ids: Vec<String> = truth(&sandbox).into_iter().take(40).collect();
    let (seen, _) = read(source.pages_by_id("transactions", ids.clone())).await.unwrap();
    assert_eq!(seen.into_keys().collect::<Vec<_>>(), ids);
    let gone = ids.remove(7);
    assert!(sandbox.remove(&gone));
    let (seen, _) = read(source.pages_by_id("transactions", [ids.clone(), vec![gone]].concat())).await.unwrap();
    assert_eq!(seen.into_keys().collect::<Vec<_>>(), ids);
}

#[tokio::test]
async fn a_wrong_secret_is_refused_with_a_hint() {
    let sandbox = sandbox(SandboxOptions { client_secret: "another".into(), ..SandboxOptions::default() }).await;
    let error = open(&sandbox, limits(100)).check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.hint_text().unwrap().contains("connection.client_secret"));
    assert_eq!(sandbox.requests().total, 1);
}
