//! Login, windows, pages, sorts, filters, links.
//!
//! Invariant: whatever the page size and order, a listing holds every record of its window once.

use crate::client::{WINDOW, small, with};
use serde_json::json;
use std::collections::BTreeSet;
use tillhouse_sandbox::{Sandbox, SandboxOptions};

#[tokio::test]
async fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let world = |seed| SandboxOptions {
        seed,
        transactions: 9_000,
        ..SandboxOptions::default()
    };
    let (a, b, c) = tokio::join!(
        Sandbox::start(world(1)),
        Sandbox::start(world(1)),
        Sandbox::start(world(2))
    );
    let (a, b, c) = (a.unwrap(), b.unwrap(), c.unwrap());
    assert_eq!(a.truth(), b.truth());
    assert_eq!(a.mandators(), b.mandators());
    assert_eq!(a.mandators().len(), 3);
    assert_ne!(a.truth(), c.truth());
    assert_eq!(a.truth().len(), 9_000);
}

#[tokio::test]
async fn every_page_size_and_order_gives_each_record_once() {
    let (sandbox, client) = small().await;
    let all: BTreeSet<String> = client.ids("page[limit]=1000").await.into_iter().collect();
    assert_eq!(all.len(), 600);
    for rest in [
        "page[limit]=7&sort=id",
        "page%5Blimit%5D=64&sort=-id",
        "page[limit]=599",
        "page[limit]=600",
        "page[limit]=250&sort=-created_at",
        "page[limit]=100&sort=site_name",
    ] {
        let ids = client.ids(rest).await;
        assert_eq!(ids.len(), 600, "{rest}");
        assert_eq!(ids.iter().cloned().collect::<BTreeSet<_>>(), all, "{rest}");
        if rest.contains("=id") {
            assert!(ids.is_sorted());
        }
        if rest.contains("=-id") {
            assert!(ids.iter().rev().is_sorted());
        }
    }
    sandbox.stop().await;
}

#[tokio::test]
async fn the_envelope_says_where_it_is() {
    let (_sandbox, client) = small().await;
    let page = client.page("page[limit]=100&page[offset]=550").await;
    assert_eq!(
        page["meta"],
        json!({"limit": 100, "start": 550, "size": 50, "total": 600})
    );
    assert_eq!(page["_links"]["next"], json!(null));
    let links = &page["_links"];
    assert!(
        links["prev"]
            .as_str()
            .unwrap()
            .contains("page%5Boffset%5D=450"),
        "{links}"
    );
    assert!(
        links["first"]
            .as_str()
            .unwrap()
            .contains("page%5Boffset%5D=0"),
        "{links}"
    );
    assert!(
        links["last"]
            .as_str()
            .unwrap()
            .contains("page%5Boffset%5D=500"),
        "{links}"
    );
    assert!(
        links["self"]
            .as_str()
            .unwrap()
            .starts_with(&format!("{}/hecone/transactions?", client.url)),
        "{links}"
    );
    let beyond = client.page("page[offset]=1000000").await;
    assert_eq!(
        (&beyond["meta"]["size"], &beyond["meta"]["total"]),
        (&json!(0), &json!(600))
    );
    let cut = client.page("page[limit]=5000").await;
    assert_eq!(cut["meta"]["limit"], 1000);
}

#[tokio::test]
async fn windows_are_half_open_unless_told() {
    for end_included in [false, true] {
        let options = SandboxOptions {
            transactions: 300,
            end_included,
            ..SandboxOptions::default()
        };
        let (sandbox, client) = with(options).await;
        let ask = async |from: &str, to: &str| {
            let (status, body) = client
                .get(&format!(
                    "/hecone/transactions?start_date={from}&end_date={to}"
                ))
                .await;
            assert_eq!(status, 200);
            body["meta"]["total"].as_u64().unwrap()
        };
        let split = |body: &[u8]| {
            let record: serde_json::Value = serde_json::from_slice(body).unwrap();
            record["invoice"]["created_at"]
                .as_str()
                .map(|t| t.replace('+', "%2B"))
        };
        let at = sandbox.truth().iter().find_map(|body| split(body)).unwrap();
        let before = ask("2026-01-01T00:00:00Z", &at).await;
        let from = ask(&at, "2026-01-06T00:00:00Z").await;
        let exactly = ask(&at, &at).await;
        assert_eq!(
            before + from,
            300 + exactly,
            "an end that is included is counted on both sides"
        );
        assert_eq!(exactly > 0, end_included);
        sandbox.stop().await;
    }
}

#[tokio::test]
async fn a_mandator_narrows_the_list_and_all_together_are_everything() {
    let (sandbox, client) = small().await;
    let mut sum = 0;
    for mandator in sandbox.mandators() {
        let page = client
            .page(&format!("mandator_id={mandator}&page[limit]=1000"))
            .await;
        assert!(
            page["data"]
                .as_array()
                .unwrap()
                .iter()
                .all(|row| row["mandator_id"] == json!(mandator))
        );
        sum += page["meta"]["total"].as_u64().unwrap();
    }
    assert_eq!(sum, 600);
    assert_eq!(client.page("mandator_id=nobody").await["meta"]["total"], 0);
}

#[tokio::test]
async fn a_filter_narrows_the_list_too() {
    let (_sandbox, client) = small().await;
    let filter = r#"{"logic":"and","filters":[{"field":"site_code","operator":"eq","value":"ber-01"},{"field":"amount","operator":"gte","value":50.5}]}"#;
    let mut url =
        reqwest::Url::parse(&format!("{}/hecone/transactions?{WINDOW}", client.url)).unwrap();
    url.query_pairs_mut()
        .append_pair("filter", filter)
        .append_pair("page[limit]", "1000");
    let (status, body) = client.get(&url.as_str()[client.url.len()..]).await;
    assert_eq!(status, 200);
    let all = client.page("page[limit]=1000").await;
    let expected: Vec<_> = all["data"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|r| {
            r["site"]["code"] == "BER-01"
                && r["invoice"]["amount"].as_f64().is_some_and(|a| a >= 50.5)
        })
        .collect();
    assert!(!expected.is_empty());
    assert_eq!(
        body["data"].as_array().unwrap().iter().collect::<Vec<_>>(),
        expected
    );
}

#[tokio::test]
async fn bad_questions_get_a_400_in_json() {
    let (_sandbox, client) = small().await;
    for bad in [
        "",
        "?start_date=2026-01-01T00:00:00Z",
        "?end_date=2026-01-01T00:00:00Z",
        "?start_date=2026-01-01&end_date=2026-01-02",
        "?start_date=2026-01-01T00:00:00+01:00&end_date=2026-01-02T00:00:00Z",
        "?start_date=2026-01-02T00:00:00Z&end_date=2026-01-01T00:00:00Z",
        &format!("?{WINDOW}&sort=pin"),
        &format!("?{WINDOW}&page[limit]=0"),
        &format!("?{WINDOW}&page[limit]=-1"),
        &format!("?{WINDOW}&page[offset]=x"),
        &format!("?{WINDOW}&filter=%7B%7D"),
        &format!("?{WINDOW}&x=%zz"),
    ] {
        let (status, body) = client.get(&format!("/hecone/transactions{bad}")).await;
        assert_eq!(status, 400, "{bad}");
        assert!(body["error"]["message"].is_string(), "{bad}: {body}");
    }
    assert_eq!(client.get("/hecone/nothing").await.0, 404);
    assert_eq!(
        client
            .get("/hecone/transactions/00000000-0000-4000-8000-000000000000")
            .await
            .0,
        404
    );
    assert_eq!(
        client
            .send(reqwest::Method::DELETE, "/hecone/transactions", None)
            .await
            .0,
        405
    );
}

#[tokio::test]
async fn nobody_gets_in_without_a_good_token() {
    let (_sandbox, mut client) = small().await;
    let wrong = json!({"client_id": "sandbox", "client_secret": "wrong"});
    assert_eq!(client.post("/hecone/auth/login", &wrong).await.0, 401);
    assert_eq!(
        client
            .post("/hecone/auth/login", &json!({"client_id": "sandbox"}))
            .await
            .0,
        400
    );
    let good = std::mem::replace(&mut client.token, "nonsense".into());
    let path = format!("/hecone/transactions?{WINDOW}");
    let (status, body) = client.get(&path).await;
    assert_eq!(
        (status.as_u16(), &body["error"]["code"]),
        (401, &json!("unauthorized"))
    );
    client.token = good;
    assert_eq!(client.get(&path).await.0, 200);

    let credentials = json!({"client_id": "sandbox", "client_secret": "sandbox-secret"});
    let (_, first) = client.post("/hecone/auth/login", &credentials).await;
    assert_eq!(
        (&first["token_type"], &first["expires_in"]),
        (&json!("Bearer"), &json!(3600))
    );
    for path in ["/hecone/auth/login", "/hecone/auth/refresh"] {
        let (_, login) = client.post("/hecone/auth/login", &credentials).await;
        let refresh = json!({"refresh_token": login["refresh_token"]});
        let (status, second) = client.post(path, &refresh).await;
        assert_eq!(status, 200);
        assert_ne!(login["access_token"], second["access_token"]);
        assert_eq!(
            client.post(path, &refresh).await.0,
            401,
            "a refresh token is good once"
        );
    }
}

#[tokio::test]
async fn tokens_expire() {
    let options = SandboxOptions {
        transactions: 10,
        token_ttl: std::time::Duration::ZERO,
        ..SandboxOptions::default()
    };
    let (_sandbox, client) = with(options).await;
    assert_eq!(
        client
            .get(&format!("/hecone/transactions?{WINDOW}"))
            .await
            .0,
        401
    );
}

#[tokio::test]
async fn bodies_are_compressed_only_when_told() {
    for gzip in [false, true] {
        let (_sandbox, client) = with(SandboxOptions {
            transactions: 50,
            gzip,
            ..SandboxOptions::default()
        })
        .await;
        let path = format!("{}/hecone/transactions?{WINDOW}", client.url);
        let plain = reqwest::Client::builder()
            .no_proxy()
            .no_gzip()
            .build()
            .unwrap();
        let request = plain
            .get(path)
            .bearer_auth(&client.token)
            .header("accept-encoding", "gzip");
        let response = request.send().await.unwrap();
        assert_eq!(
            response
                .headers()
                .get("content-encoding")
                .is_some_and(|v| v == "gzip"),
            gzip
        );
        let body = response.bytes().await.unwrap();
        assert_eq!(body.starts_with(&[0x1f, 0x8b]), gzip);
        assert_eq!(client.page("").await["meta"]["total"], 50);
    }
}

#[tokio::test]
async fn only_loopback_is_taken() {
    let options = SandboxOptions {
        bind: ([192, 0, 2, 1], 0).into(),
        ..SandboxOptions::default()
    };
    assert_eq!(
        Sandbox::start(options).await.unwrap_err().kind(),
        tillhouse_model::ErrorKind::Config
    );
}
