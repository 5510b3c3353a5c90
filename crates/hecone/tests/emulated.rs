//! The HecOne source against sandboxes that are built otherwise; what holds for every source is in the conformance tests.
//!
//! Invariant: the sandbox's truth is the measure.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::Bytes;
use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tillhouse_extract::{Page, PageStream, Source, SourceConnection, SourceLimits};
use tillhouse_hecone::HecOneConnection;
use tillhouse_model::{Error, ReadBy, Slice, Window};
use tillhouse_sandbox::{Sandbox, SandboxOptions};

const SALES: u64 = 700;

async fn sandbox(options: SandboxOptions) -> Sandbox {
    Sandbox::start(SandboxOptions {
        transactions: SALES,
        ..options
    })
    .await
    .unwrap()
}

fn limits(page_size: u32) -> SourceLimits {
    SourceLimits {
        page_size,
        rate_per_second: None,
        ..SourceLimits::default()
    }
}

fn open(sandbox: &Sandbox, limits: SourceLimits) -> Arc<dyn Source> {
    let text = serde_json::json!({
        "base_url": sandbox.hecone_url(),
        "client_id": "sandbox",
        "client_secret": "sandbox-secret",
        "paths": {"refresh": "/auth/refresh"},
    });
    serde_json::from_value::<HecOneConnection>(text)
        .unwrap()
        .open(limits)
        .unwrap()
}

/// Slice of all five days.
fn everything() -> Slice {
    let options = SandboxOptions::default();
    Slice {
        resource: "transactions".into(),
        tenant: None,
        window: Window::new(options.from, options.to).unwrap(),
    }
}

fn records(bytes: &Bytes) -> Vec<String> {
    let page: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    page["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["id"].as_str().unwrap().to_owned())
        .collect()
}

fn truth(sandbox: &Sandbox) -> BTreeSet<String> {
    let id = |record: Bytes| {
        serde_json::from_slice::<serde_json::Value>(&record).unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    sandbox.truth().into_iter().map(id).collect()
}

/// The ids that came, and how many times each; and the last page's total.
async fn read(pages: PageStream) -> Result<(BTreeMap<String, usize>, Option<u64>), Error> {
    let pages: Vec<Page> = pages
        .collect::<Vec<_>>()
        .await
        .into_iter()
        .collect::<Result<_, _>>()?;
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
async fn no_page_is_asked_for_in_vain_but_the_one_behind_a_full_last_one() {
    let sandbox = sandbox(SandboxOptions::default()).await;
    assert!(truth(&sandbox).len() > 600);
    for page_size in [7, 100, 1_000, 100_000] {
        sandbox.clear_requests();
        exact(&sandbox, &*open(&sandbox, limits(page_size))).await;
        let (records, size) = (truth(&sandbox).len(), page_size as usize);
        // A total as large as the first page may be that page's, as long as no other has shown what totals count.
        let pages = (records / size + 1) as u64 + u64::from(records < size);
        assert_eq!(sandbox.requests().counts["GET /hecone/transactions"], pages);
    }
}

#[tokio::test]
async fn servers_with_small_pages_inclusive_ends_and_compression_are_read_too() {
    for options in [
        SandboxOptions {
            largest_page: 30,
            ..SandboxOptions::default()
        },
        SandboxOptions {
            end_included: true,
            ..SandboxOptions::default()
        },
        SandboxOptions {
            gzip: true,
            ..SandboxOptions::default()
        },
    ] {
        let sandbox = sandbox(options).await;
        exact(&sandbox, &*open(&sandbox, limits(250))).await;
    }
}

#[tokio::test]
async fn slices_together_hold_everything_where_ends_are_inclusive() {
    let sandbox = sandbox(SandboxOptions {
        end_included: true,
        ..SandboxOptions::default()
    })
    .await;
    let source = open(&sandbox, limits(100));
    let whole = everything().window;
    let mut seen = BTreeSet::new();
    for window in whole.split(whole.from(), jiff::SignedDuration::from_hours(7)) {
        let (ids, _) = read(source.pages(&Slice {
            window,
            ..everything()
        }))
        .await
        .unwrap();
        seen.extend(ids.into_keys());
    }
    assert_eq!(seen, truth(&sandbox));
    // A record that comes twice for that is known by its time, also where it has no key.
    let day = Slice {
        window: Window::new(
            "2026-01-01T00:00:00.5Z".parse().unwrap(),
            "2026-01-02T00:00:00Z".parse().unwrap(),
        )
        .unwrap(),
        ..everything()
    };
    assert_eq!(
        source.asks(&day, ReadBy::EventTime).to_string(),
        "[2026-01-01T00:00:00Z, 2026-01-02T00:00:01.000001Z)"
    );
}
