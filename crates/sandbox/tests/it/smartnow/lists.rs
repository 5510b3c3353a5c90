//! The thirty-one lists: paging, conditions, order, parents, single records.
//!
//! Invariant: whatever way a list is read, it shows exactly the truth.

use super::{OF_PARENTS, PLAIN, SmartNowClient, id, ids, options, small};
use serde_json::Value;
use std::collections::BTreeSet;
use tillhouse_sandbox::{RecordSelection, Sandbox, SandboxOptions};

const ARCHIVE: (&str, &str) = ("useArchive", "true");

/// Reads a list by key, as a careful client does.
async fn by_key(client: &SmartNowClient, path: &str, limit: &str) -> Vec<Value> {
    let mut all: Vec<Value> = Vec::new();
    loop {
        let last = all.last().map(id);
        let mut pairs = vec![("limit", limit), ("sort", "id asc"), ARCHIVE];
        if let Some(last) = &last {
            pairs.push(("where[id][>]", last));
        }
        let page = client.list(path, &pairs).await;
        assert!(page.len() <= limit.parse().unwrap());
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

#[tokio::test]
async fn every_list_shows_the_truth_at_once_and_page_by_page() {
    let (_sandbox, client) = small().await;
    for (resource, path) in PLAIN {
        let truth = client.truth(&format!("resource={resource}")).await;
        assert!(!truth.is_empty(), "{resource}");
        assert_eq!(
            client.list(path, &[ARCHIVE]).await,
            truth,
            "{resource} without a limit is everything"
        );
        assert_eq!(by_key(&client, path, "37").await, truth, "{resource}");
        for record in [&truth[0], &truth[truth.len() - 1]] {
            assert_eq!(
                client.ask(&format!("{path}/{}", id(record)), &[]).await.1,
                *record
            );
        }
    }
    for (resource, path, parents) in OF_PARENTS {
        let truth = client.truth(&format!("resource={resource}")).await;
        let mut all = Vec::new();
        for parent in client.list(parents, &[]).await {
            let path = path.replace('*', &id(&parent));
            let of_parent = by_key(&client, &path, "3").await;
            let tenant = client
                .truth(&format!("resource={resource}&tenant={}", id(&parent)))
                .await;
            assert_eq!(of_parent, tenant);
            all.extend(of_parent);
        }
        assert_eq!(all.len(), truth.len(), "{resource}");
        let texts = |records: &[Value]| {
            records
                .iter()
                .map(Value::to_string)
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(texts(&all), texts(&truth), "{resource}");
    }
    let campaigns = client.list("/campaign", &[]).await;
    let mut vouchers = Vec::new();
    for campaign in &campaigns {
        let of_campaign = client
            .list(&format!("/campaign/{}/vouchers", id(campaign)), &[])
            .await;
        assert!(
            of_campaign
                .iter()
                .all(|voucher| voucher["campaign"] == campaign["id"])
        );
        vouchers.extend(of_campaign);
    }
    assert_eq!(vouchers.len(), client.list("/voucher", &[]).await.len());
}

#[tokio::test]
async fn windows_are_cut_exactly() {
    let (_sandbox, client) = small().await;
    let (from, to) = ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z");
    for (resource, path, column) in [
        ("revenue_transactions", "/revenuetransaction", "updatedAt"),
        ("payment_transactions", "/paymenttransaction", "updatedAt"),
        ("logs", "/log", "createdAt"),
    ] {
        let truth = client
            .truth(&format!("resource={resource}&from={from}&to={to}"))
            .await;
        assert!(truth.len() > 10, "{resource}: {}", truth.len());
        let (lower, upper) = (
            format!("where[{column}][>=]"),
            format!("where[{column}][<]"),
        );
        let list = client
            .list(path, &[(&lower, from), (&upper, to), ARCHIVE])
            .await;
        assert_eq!(list, truth, "{resource}");
        let is_within = |record: &Value| {
            let at = record[column].as_str().unwrap();
            from <= at && at < to
        };
        let all = client.truth(&format!("resource={resource}")).await;
        assert_eq!(
            all.iter().filter(|record| is_within(record)).count(),
            truth.len()
        );
    }
}

#[tokio::test]
async fn conditions_order_skip_and_limit_work_together() {
    let (_sandbox, client) = small().await;
    let all = client.list("/revenuetransaction", &[ARCHIVE]).await;
    let machines: Vec<Value> = all
        .iter()
        .filter(|r| r["machine"] == 80 || r["machine"] == 83)
        .cloned()
        .collect();
    let both = [
        ("where[machine][in][]", "80"),
        ("where[machine][in][]", "83"),
        ARCHIVE,
    ];
    assert_eq!(client.list("/revenuetransaction", &both).await, machines);
    assert_eq!(
        client
            .list(
                "/revenuetransaction",
                &[("where[machine][in]", "80,83"), ARCHIVE]
            )
            .await,
        machines
    );

    let mut dear: Vec<&Value> = all
        .iter()
        .filter(|r| r["price"].as_i64() > Some(200))
        .collect();
    dear.sort_by_key(|r| (-r["price"].as_i64().unwrap(), r["id"].as_i64()));
    let page = [
        ("where[price][>]", "200"),
        ("sort", "price desc"),
        ("skip", "5"),
        ("limit", "7"),
        ARCHIVE,
    ];
    let expected: Vec<Value> = dear[5..12].iter().map(|r| (*r).clone()).collect();
    assert_eq!(client.list("/revenuetransaction", &page).await, expected);

    let named = client
        .list(
            "/revenuetransaction",
            &[("where[name][startsWith]", "Kaffee"), ARCHIVE],
        )
        .await;
    assert!(
        !named.is_empty()
            && named
                .iter()
                .all(|r| r["name"].as_str().unwrap().starts_with("Kaffee"))
    );
    let sale = id(&machines[0]);
    let payments = client
        .list(
            &format!("/revenuetransaction/{sale}/paymenttransactions"),
            &[],
        )
        .await;
    assert_eq!(
        payments,
        client
            .list(
                "/paymenttransaction",
                &[("where[revenuetransaction]", &sale), ARCHIVE]
            )
            .await
    );
    let machine = client
        .ask(&format!("/revenuetransaction/{sale}/machine"), &[])
        .await
        .1;
    assert_eq!(machine["id"], machines[0]["machine"]);
}

#[tokio::test]
async fn what_is_not_well_asked_is_refused() {
    let (_sandbox, client) = small().await;
    for pair in [
        ("limit", "101"),
        ("limit", "0"),
        ("skip", "x"),
        ("sort", "colour"),
        ("where[colour][>]", "1"),
        ("where[price][~]", "1"),
        ("where[price][>]", "dear"),
        ("where[updatedAt][>=]", "yesterday"),
        ("page", "1"),
        ("useArchive", "maybe"),
    ] {
        for path in ["/revenuetransaction", "/paymenttransaction"] {
            let (status, body) = client.ask(path, &[pair]).await;
            assert_eq!(status, 400, "{pair:?}");
            assert_eq!(
                (&body["code"], &body["error"]),
                (&"E_INVALID_CRITERIA".into(), &"Bad Request".into())
            );
        }
    }
}

#[tokio::test]
async fn the_archive_holds_what_is_old() {
    let (_sandbox, client) = small().await;
    for (path, column) in [
        ("/revenuetransaction", "updatedAt"),
        ("/paymenttransaction", "updatedAt"),
        ("/log", "createdAt"),
    ] {
        let (all, recent) = (
            client.list(path, &[ARCHIVE]).await,
            client.list(path, &[]).await,
        );
        assert!(
            recent.len() < all.len() && recent.len() > 100,
            "{path}: {} of {}",
            recent.len(),
            all.len()
        );
        let old: Vec<&Value> = all
            .iter()
            .filter(|r| r["occurredAt"].as_str() < Some("2025-10-08"))
            .collect();
        assert_eq!(old.len(), all.len() - recent.len());
        assert_eq!(client.list(path, &[("useArchive", "false")]).await, recent);
        let window = format!("where[{column}][<]");
        assert!(
            client
                .list(path, &[(&window, "2025-11-01T00:00:00Z")])
                .await
                .is_empty()
        );
        let (status, one) = client.ask(&format!("{path}/{}", id(old[0])), &[]).await;
        assert_eq!((status.as_u16(), &one), (200, old[0]));
    }
    assert!(client.list("/shift", &[]).await == client.list("/shift", &[ARCHIVE]).await);
}

#[tokio::test]
async fn equal_seeds_give_equal_bytes() {
    let bytes = |sandbox: &Sandbox| -> Vec<bytes::Bytes> {
        let resources = PLAIN
            .iter()
            .map(|(name, _)| *name)
            .chain(OF_PARENTS.iter().map(|(name, _, _)| *name));
        resources
            .flat_map(|name| {
                sandbox
                    .truth_of("smartnow", &RecordSelection::of(name))
                    .unwrap()
            })
            .collect()
    };
    let (one, _) = small().await;
    let (two, client) = small().await;
    client.list("/log", &[("limit", "5")]).await;
    assert_eq!(bytes(&one), bytes(&two), "whatever was asked before");
    let other = SandboxOptions {
        seed: 2,
        ..options()
    };
    assert_ne!(bytes(&Sandbox::start(other).await.unwrap()), bytes(&one));
}

#[tokio::test]
async fn money_time_and_secrets_are_of_many_kinds() {
    let (sandbox, client) = small().await;
    let sales = client.list("/revenuetransaction", &[ARCHIVE]).await;
    let distinct = |field: &str| {
        sales
            .iter()
            .map(|r| r[field].to_string())
            .collect::<BTreeSet<_>>()
            .len()
    };
    assert!(distinct("currency") >= 8 && distinct("timeZone") >= 8 && distinct("usergroup") == 2);
    for sale in &sales {
        let at: jiff::Timestamp = sale["occurredAt"].as_str().unwrap().parse().unwrap();
        assert_eq!(sale["timestamp"], at.as_second(), "{sale}");
        assert!(sale["price"].is_i64());
    }
    let methods: BTreeSet<String> = client
        .list("/paymenttransaction", &[])
        .await
        .iter()
        .map(|r| r["method"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        methods,
        ["card", "cash", "code", "token", "virtual"]
            .map(str::to_owned)
            .into()
    );

    let holds =
        async |path: &str, marker: &str| client.ask(path, &[]).await.1.to_string().contains(marker);
    let [code, pdf, tag, key, mail] = Sandbox::SMARTNOW_MARKERS;
    assert!(
        holds("/voucher", code).await
            && holds("/voucher", pdf).await
            && holds("/campaign", pdf).await
    );
    assert!(
        holds("/user", mail).await
            && holds("/alertrecipient", mail).await
            && holds("/voucher", mail).await
    );
    assert!(holds("/machineconfig", key).await && holds("/machineconfig/sb-80", key).await);
    assert!(holds("/revenuetransaction", tag).await);
    let logs = sandbox
        .truth_of("smartnow", &RecordSelection::of("voucher_logs"))
        .unwrap();
    for log in logs {
        let log: Value = serde_json::from_slice(&log).unwrap();
        assert!(
            ["request", "response"]
                .iter()
                .all(|side| log[side].as_str().unwrap().contains(code)),
            "{log}"
        );
    }
    let paths: Vec<String> = sandbox
        .requests()
        .requests
        .iter()
        .map(|request| request.path.clone())
        .collect();
    assert!(
        paths.contains(&"/smartnow/machineconfig/sb-80".to_owned()),
        "who asks for a configuration is seen"
    );
}

#[tokio::test]
async fn fleet_drivers_buy_their_coffee_here() {
    let (_sandbox, client) = small().await;
    let sales = client
        .list(
            "/revenuetransaction",
            &[("where[token][contains]", "SECRETTAG")],
        )
        .await;
    assert!(!sales.is_empty());
    for sale in sales {
        assert_eq!(sale["internalRef"], "KAF-KL");
        let payments = client
            .list(
                "/paymenttransaction",
                &[("where[revenuetransaction]", &id(&sale))],
            )
            .await;
        assert!(
            payments.iter().any(|payment| payment["method"] == "token"),
            "{payments:?}"
        );
    }
    assert_eq!(ids(&client.list("/language", &[]).await), ["1", "2", "3"]);
}
