//! Incidents at tills, beside plain sales: refunds, voids, records that do not fit, a site that is renamed.
//!
//! Invariant: it is there where it is wanted, drawn from the seed like everything else, and nowhere else.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_sandbox::{RecordSelection, Sandbox, SandboxOptions};

/// Incidents of a world, counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct FoundIncidents {
    refunds: usize,
    without_offset: usize,
    names_of_a_site: usize,
    sales_types: BTreeSet<i64>,
}

async fn found(incidents: bool) -> FoundIncidents {
    let sandbox = Sandbox::start(SandboxOptions {
        transactions: 2_000,
        incidents,
        ..SandboxOptions::default()
    })
    .await
    .unwrap();
    let records = |source: &str, resource: &str| -> Vec<Value> {
        sandbox
            .truth_of(source, &RecordSelection::of(resource))
            .unwrap()
            .iter()
            .map(|body| serde_json::from_slice(body).unwrap())
            .collect()
    };
    let mut found = FoundIncidents::default();
    let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for sale in records("hecone", "transactions") {
        let invoice = &sale["invoice"];
        if invoice["amount"]
            .as_f64()
            .is_some_and(|amount| amount < 0.0)
        {
            found.refunds += 1;
            assert_eq!(
                sale["state"], "completed",
                "what was given back is collected: {sale}"
            );
        }
        let at = invoice["created_at"].as_str();
        let has_offset = |text: &str| text.ends_with('Z') || text[10..].contains(['+', '-']);
        found.without_offset += usize::from(at.is_some_and(|text| !has_offset(text)));
        let site = names.entry(sale["site_id"].to_string()).or_default();
        site.insert(sale["site"]["name"].to_string());
    }
    found.names_of_a_site = names.values().map(BTreeSet::len).max().unwrap_or(0);
    for sale in records("smartnow", "revenue_transactions") {
        found
            .sales_types
            .insert(sale["salestype"].as_i64().unwrap());
    }
    sandbox.stop().await;
    found
}

#[tokio::test]
async fn incidents_are_in_a_world_that_wants_them_and_only_there() {
    let plain = found(false).await;
    assert_eq!(
        plain,
        FoundIncidents {
            names_of_a_site: 1,
            sales_types: [0, 1].into(),
            ..FoundIncidents::default()
        }
    );
    let wanted = found(true).await;
    assert!(wanted.refunds >= 5, "{wanted:?}");
    assert_eq!((wanted.without_offset, wanted.names_of_a_site), (4, 2));
    assert_eq!(wanted.sales_types, [0, 1, 2, 3].into());
    assert_eq!(found(true).await, wanted);
}
