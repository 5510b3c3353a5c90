//! be-mo as an extractor sees it: sessions, pages, tokens, and what can go wrong with them.
//!
//! Invariant: whatever is read page by page is the truth of the same account, in its order.

use crate::client::{SandboxClient, with};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tillhouse_sandbox::{
    BemoOptions, EmulatedFault, FaultKind, RecordSelection, Sandbox, SandboxOptions,
};

const DAYS: &str = "from=2026-01-01&to=2026-01-05";

async fn some(bemo: BemoOptions) -> (Sandbox, SandboxClient) {
    with(SandboxOptions {
        transactions: 10,
        bemo_sessions: Some(600),
        bemo,
        ..SandboxOptions::default()
    })
    .await
}

/// Response of the emulated be-mo, parsed.
struct BemoResponse {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl BemoResponse {
    fn ids(&self) -> Vec<String> {
        let rows = self.body["data"].as_array().unwrap();
        rows.iter()
            .map(|row| row["sessionId"].as_str().unwrap().to_owned())
            .collect()
    }

    fn range(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    fn code(&self) -> (u16, &str) {
        (
            self.status.as_u16(),
            self.body["errors"][0]["code"].as_str().unwrap_or_default(),
        )
    }
}

async fn send(
    client: &SandboxClient,
    url: &str,
    key: Option<&str>,
    token: Option<&str>,
) -> BemoResponse {
    let mut request = client.http.get(url);
    if let Some(key) = key {
        request = request.header("api-subscription-key", key);
    }
    if let Some(token) = token {
        request = request.header("authorization", token);
    }
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    BemoResponse {
        status,
        headers,
        body: serde_json::from_str(&response.text().await.unwrap()).unwrap(),
    }
}

fn url(client: &SandboxClient, account: &str, query: &str) -> String {
    format!(
        "{}/bemo/reporting/v1/api/accounts/{account}/sessions?{query}",
        client.url
    )
}

async fn list(client: &SandboxClient, account: &str, query: &str) -> BemoResponse {
    send(
        client,
        &url(client, account, query),
        Some("sandbox-key"),
        Some("sandbox-token"),
    )
    .await
}

fn truth(sandbox: &Sandbox, account: &str) -> Vec<Value> {
    let selection = RecordSelection {
        tenant: Some(account.to_owned()),
        ..RecordSelection::of("sessions")
    };
    let records = sandbox.truth_of("bemo", &selection).unwrap();
    records
        .iter()
        .map(|body| serde_json::from_slice(body).unwrap())
        .collect()
}

fn ids(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .map(|record| record["sessionId"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn sessions_have_the_documents_fields_and_some_variety() {
    let (sandbox, client) = some(BemoOptions::default()).await;
    let session = [
        "address",
        "cityKey",
        "countryCode",
        "isRfid",
        "latitude",
        "longitude",
        "placeId",
        "placeName",
        "placeNetwork",
        "rfid",
        "sessionEndDate",
        "sessionId",
        "sessionStartDate",
        "timeZone",
        "transactions",
        "vehicleId",
        "zipCode",
    ];
    let line = [
        "currencyKey",
        "productCategory",
        "productCode",
        "productFamily",
        "quantity",
        "quantityUnit",
        "tariffCode",
        "totalAmount",
        "transactionDate",
        "unitPrice",
    ];
    let keys = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let (mut categories, mut codes, mut several, mut mixed) =
        (BTreeSet::new(), BTreeSet::new(), 0, 0);
    let mut versions = BTreeSet::new();
    for account in sandbox.accounts() {
        let page = list(&client, &account, &format!("{DAYS}&limit=1000")).await;
        assert_eq!(
            keys(&page.body),
            keys(&json!({"status": 0, "errors": 0, "data": 0, "trace": 0, "version": 0}))
        );
        assert_eq!(
            (&page.body["status"], &page.body["errors"]),
            (&json!("Success"), &json!(null))
        );
        versions.insert(page.body["version"].to_string());
        let rows = page.body["data"].as_array().unwrap();
        assert!(rows.len() > 50, "{}", rows.len());
        for row in rows {
            assert_eq!(keys(row), session.map(str::to_owned).into());
            assert!(
                row["sessionStartDate"].as_str().unwrap() < row["sessionEndDate"].as_str().unwrap()
            );
            assert!(["+01:00", "+02:00"].contains(&row["timeZone"].as_str().unwrap()));
            assert!(
                row["rfid"]
                    .as_str()
                    .is_none_or(|tag| tag.starts_with(Sandbox::RFID_MARKER))
            );
            assert!(row["isRfid"] == false || row["rfid"].is_string());
            let lines = row["transactions"].as_array().unwrap();
            let currencies: BTreeSet<_> = lines
                .iter()
                .map(|line| text(&line["currencyKey"]))
                .collect();
            several += u32::from(lines.len() > 1);
            mixed += u32::from(currencies.len() > 1);
            for each in lines {
                assert_eq!(keys(each), line.map(str::to_owned).into());
                categories.insert(text(&each["productCategory"]));
                codes.insert(text(&each["productCode"]));
            }
        }
    }
    assert_eq!(
        versions,
        ["\"1.0\"".to_owned(), "1.0".to_owned()].into(),
        "a text here and a number there"
    );
    assert!(several > 20 && mixed > 2, "{several} {mixed}");
    assert_eq!(
        categories,
        ["Charging", "Fueling", "Parking"].map(str::to_owned).into()
    );
    for code in [
        "B7",
        "E_Standard",
        "E_Accelerated",
        "E_Fast_AC",
        "E_Fast_DC",
        "E_UltraFast",
    ] {
        assert!(codes.contains(code), "{code}: {codes:?}");
    }
}

#[tokio::test]
async fn the_next_range_leads_through_all_pages() {
    for first_page in [0, 1] {
        let (sandbox, client) = some(BemoOptions {
            first_page,
            ..BemoOptions::default()
        })
        .await;
        let account = sandbox.accounts()[1].clone();
        let expected = truth(&sandbox, &account);
        let starts: Vec<_> = expected
            .iter()
            .map(|row| row["sessionStartDate"].as_str().unwrap())
            .collect();
        assert!(starts.is_sorted_by(|a, b| a >= b), "newest first");
        let (mut at, mut read, mut pages) = (
            url(&client, &account, &format!("{DAYS}&limit=20")),
            Vec::new(),
            0,
        );
        loop {
            let page = send(&client, &at, Some("sandbox-key"), Some("sandbox-token")).await;
            assert_eq!(page.range("accept-range"), Some("20"));
            assert_eq!(page.range("prev-range").is_some(), pages > 0);
            read.extend(page.ids());
            pages += 1;
            match page.range("next-range") {
                Some(next) => at = next.to_owned(),
                None => break,
            }
            assert!(
                at.starts_with(&client.url) && at.contains("from=2026-01-01"),
                "{at}"
            );
        }
        assert_eq!(read, ids(&expected));
        assert_eq!(pages, expected.len().div_ceil(20));
        let beyond = list(&client, &account, &format!("{DAYS}&offset=5000")).await;
        assert_eq!((beyond.status.as_u16(), beyond.ids().len()), (200, 0));
    }
}

#[tokio::test]
async fn the_oldest_come_first_when_told() {
    let (sandbox, client) = some(BemoOptions {
        oldest_first: true,
        ..BemoOptions::default()
    })
    .await;
    let account = &sandbox.accounts()[0];
    let page = async || list(&client, account, &format!("{DAYS}&limit=10")).await;
    let before = page().await;
    assert_eq!(before.ids(), ids(&truth(&sandbox, account))[..10]);
    let starts: Vec<_> = before.body["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["sessionStartDate"])
        .collect();
    assert!(starts.is_sorted_by(|a, b| a.as_str() <= b.as_str()));
    let order = json!({"resource": "sessions", "tenant": account, "kind": "arrive",
                       "from": "2026-01-01T00:00:00.5Z", "to": "2026-01-01T00:00:01.5Z"});
    let (_, first) = client.post("/control/bemo/stir", &order).await;
    let (_, second) = client.post("/control/bemo/stir", &order).await;
    let after = page().await;
    assert_eq!(
        after.body["data"][0]["sessionStartDate"],
        "2026-01-01T00:00:01Z"
    );
    assert_eq!(
        after.ids()[..2],
        [
            second["id"].as_str().unwrap(),
            first["id"].as_str().unwrap()
        ]
    );
    let mut none = order.clone();
    none["to"] = json!("2026-01-01T00:00:00.9Z");
    assert_eq!(
        client.post("/control/bemo/stir", &none).await.0,
        404,
        "no whole second fits"
    );
}

#[tokio::test]
async fn without_range_headers_the_offset_counts_pages() {
    let (sandbox, client) = some(BemoOptions {
        range_headers: false,
        ..BemoOptions::default()
    })
    .await;
    let account = &sandbox.accounts()[0];
    let mut read = Vec::new();
    for offset in 0.. {
        let page = list(
            &client,
            account,
            &format!("{DAYS}&limit=30&offset={offset}"),
        )
        .await;
        assert!(page.range("next-range").is_none() && page.range("accept-range").is_none());
        read.extend(page.ids());
        if page.ids().len() < 30 {
            break;
        }
    }
    assert_eq!(read, ids(&truth(&sandbox, account)));
    sandbox.inject([
        EmulatedFault::new(FaultKind::SelfLink),
        EmulatedFault::new(FaultKind::ForeignLink),
    ]);
    for _ in 0..2 {
        assert!(
            list(&client, account, DAYS)
                .await
                .range("next-range")
                .is_none(),
            "no link, none that is wrong"
        );
    }
}

#[tokio::test]
async fn days_are_inclusive_and_utc_unless_told() {
    for narrow_days in [false, true] {
        let (sandbox, client) = some(BemoOptions {
            narrow_days,
            ..BemoOptions::default()
        })
        .await;
        let account = &sandbox.accounts()[0];
        let record = |id: &str, start: &str| {
            json!({"sessionId": id, "sessionStartDate": start, "timeZone": "+01:00"}).to_string()
        };
        for (id, start) in [
            ("late", "2026-02-01T22:59:59Z"),
            ("later", "2026-02-01T23:00:00Z"),
        ] {
            sandbox
                .put_in("bemo", "sessions", Some(account), &record(id, start))
                .unwrap();
        }
        let on = async |from: &str, to: &str| {
            list(&client, account, &format!("from={from}&to={to}"))
                .await
                .ids()
        };
        if narrow_days {
            assert_eq!(on("2026-02-01", "2026-02-02").await, ["late"]);
            assert_eq!(on("2026-02-02", "2026-02-03").await, ["later"]);
            assert_eq!(on("2026-02-01", "2026-02-01").await, [""; 0]);
        } else {
            assert_eq!(on("2026-02-01", "2026-02-01").await, ["later", "late"]);
            assert_eq!(on("2026-02-02", "2026-02-03").await, [""; 0]);
        }
    }
}

#[tokio::test]
async fn vehicles_and_countries_narrow_the_list() {
    let (sandbox, client) = some(BemoOptions::default()).await;
    let account = &sandbox.accounts()[0];
    let all = truth(&sandbox, account);
    let vehicle = all[0]["vehicleId"].as_str().unwrap();
    let found = list(
        &client,
        account,
        &format!("{DAYS}&limit=1000&vehicleId={vehicle}"),
    )
    .await;
    let expected: Vec<_> = all
        .iter()
        .filter(|row| row["vehicleId"] == vehicle)
        .cloned()
        .collect();
    assert_eq!(found.body["data"], Value::Array(expected));
    let found = list(
        &client,
        account,
        &format!("{DAYS}&limit=1000&countryCode=ch,PL"),
    )
    .await;
    let expected: Vec<_> = all
        .iter()
        .filter(|row| row["countryCode"] == "CH" || row["countryCode"] == "PL")
        .collect();
    assert!(!expected.is_empty());
    assert_eq!(
        found.body["data"]
            .as_array()
            .unwrap()
            .iter()
            .collect::<Vec<_>>(),
        expected
    );
}

#[tokio::test]
async fn what_is_created_late_is_found_by_last_created() {
    let (sandbox, client) = some(BemoOptions::default()).await;
    let account = &sandbox.accounts()[0];
    let before = truth(&sandbox, account);
    sandbox.advance(Duration::from_secs(8 * 86_400)).unwrap();
    let after = truth(&sandbox, account);
    let new: Vec<&str> = ids(&after)
        .into_iter()
        .filter(|id| !ids(&before).contains(id))
        .collect();
    assert!(new.len() > 3, "{}", new.len());
    assert!(
        after
            .iter()
            .any(|row| new.contains(&row["sessionId"].as_str().unwrap())
                && row["sessionStartDate"].as_str().unwrap() < "2026-01-05")
    );
    let found = list(&client, account, "lastCreated=2026-01-06&limit=1000")
        .await
        .ids();
    assert_eq!(
        found, new,
        "all that was created since, whenever it started"
    );
    let none = list(&client, account, "lastCreated=2026-01-13&limit=1000")
        .await
        .ids();
    assert!(none.is_empty());
    let of_a_day = list(
        &client,
        account,
        "lastCreated=2026-01-06&from=2026-01-05&to=2026-01-05",
    )
    .await
    .ids();
    assert!(!of_a_day.is_empty() && of_a_day.len() < new.len());
}

#[tokio::test]
async fn who_is_refused_learns_why_in_the_documents_words() {
    let (sandbox, client) = some(BemoOptions::default()).await;
    let account = sandbox.accounts()[0].clone();
    for (query, name) in [
        ("from=01.01.2026", "from"),
        ("to=2026-02-30", "to"),
        ("lastCreated=x", "lastCreated"),
    ] {
        let refused = list(&client, &account, query).await;
        assert_eq!(refused.code(), (400, "ArgumentException"));
        let message = format!("{name} must be a valid date (YYYY-MM-DD)");
        let whole = json!({"status": "Error", "errors": [{"message": message, "code": "ArgumentException"}],
                           "data": null, "trace": null, "version": "1.0"});
        assert_eq!(refused.body, whole);
    }
    for query in ["limit=0", "limit=x", "offset=-1"] {
        assert_eq!(
            list(&client, &account, query).await.code(),
            (400, "ArgumentException"),
            "{query}"
        );
    }
    assert_eq!(
        list(&client, "nobody", DAYS).await.code(),
        (404, "ResourceNotFound")
    );
    let at = url(&client, &account, DAYS);
    let (key, token) = (Some("sandbox-key"), Some("sandbox-token"));
    assert_eq!(
        send(&client, &at, key, None).await.code(),
        (401, "TokenNotPresent")
    );
    for wrong in ["nonsense", "Bearer sandbox-token"] {
        assert_eq!(
            send(&client, &at, key, Some(wrong)).await.code(),
            (401, "InvalidJWT"),
            "{wrong}"
        );
    }
    for wrong in [None, Some("nonsense")] {
        let refused = send(&client, &at, wrong, token).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.body["statusCode"]),
            (401, &json!(401))
        );
    }
    assert_eq!(send(&client, &at, key, token).await.status, 200);
}

#[tokio::test]
async fn tokens_expire_and_are_renewed() {
    let (sandbox, client) = some(BemoOptions::default()).await;
    let account = sandbox.accounts()[0].clone();
    sandbox.inject([EmulatedFault::new(FaultKind::Unauthorized)]);
    assert_eq!(
        list(&client, &account, DAYS).await.code(),
        (401, "TokenExpired")
    );
    assert_eq!(
        list(&client, &account, DAYS).await.status,
        200,
        "only that once"
    );
    sandbox.inject([EmulatedFault {
        refresh_too: true,
        ..EmulatedFault::new(FaultKind::Unauthorized)
    }]);
    for _ in 0..2 {
        assert_eq!(
            list(&client, &account, DAYS).await.code(),
            (401, "TokenExpired")
        );
    }
    let renewal = json!({"access_token": "another"});
    assert_eq!(
        client.post("/control/bemo/access_token", &renewal).await.0,
        200
    );
    assert_eq!(
        list(&client, &account, DAYS).await.code(),
        (401, "TokenExpired")
    );
    let at = url(&client, &account, DAYS);
    assert_eq!(
        send(&client, &at, Some("sandbox-key"), Some("another"))
            .await
            .status,
        200
    );
    sandbox.renew_bemo_token("sandbox-token");
    assert_eq!(list(&client, &account, DAYS).await.status, 200);
    assert_eq!(
        client
            .post("/control/bemo/access_token", &json!({}))
            .await
            .0,
        400
    );
}

#[tokio::test]
async fn listings_go_wrong_on_demand() {
    let (sandbox, client) = some(BemoOptions::default()).await;
    let account = sandbox.accounts()[0].clone();
    let page =
        async |query: &str| list(&client, &account, &format!("{DAYS}&limit=20&{query}")).await;
    sandbox.inject([
        EmulatedFault::new(FaultKind::HiddenError),
        EmulatedFault::new(FaultKind::RateLimited),
        EmulatedFault {
            status: Some(503),
            ..EmulatedFault::new(FaultKind::ServerError)
        },
        EmulatedFault::new(FaultKind::ForeignLink),
        EmulatedFault::new(FaultKind::SelfLink),
    ]);
    let hidden = page("").await;
    assert_eq!(
        (hidden.code(), &hidden.body["status"]),
        ((200, "ErrorCode"), &json!("Error"))
    );
    let limited = page("").await;
    assert_eq!(
        (limited.status.as_u16(), limited.range("retry-after")),
        (429, Some("1"))
    );
    assert_eq!(page("").await.body["status"], "Error");
    assert!(
        page("")
            .await
            .range("next-range")
            .unwrap()
            .starts_with("http://127.0.0.2:")
    );
    let again = page("offset=1").await;
    assert!(
        again.range("next-range").unwrap().contains("offset=1"),
        "{:?}",
        again.range("next-range")
    );

    let before = page("").await.ids();
    sandbox.inject([EmulatedFault::new(FaultKind::Shift)]);
    let second = page("offset=1").await.ids();
    assert_eq!(
        second[0], before[19],
        "the last of the first page comes again"
    );
    let total = truth(&sandbox, &account).len();

    sandbox.inject([EmulatedFault::new(FaultKind::Endless).times(u64::MAX)]);
    let mut seen = BTreeSet::new();
    for offset in 40..44 {
        let page = page(&format!("offset={offset}")).await;
        assert!(page.range("next-range").is_some());
        seen.extend(page.ids());
    }
    assert_eq!(seen.len(), 80);
    assert_eq!(
        truth(&sandbox, &account).len(),
        total,
        "nothing of it was kept"
    );
}

#[tokio::test]
async fn sessions_are_stirred_where_the_listing_begins() {
    let (sandbox, client) = some(BemoOptions::default()).await;
    let account = sandbox.accounts()[2].clone();
    let day = async || {
        list(
            &client,
            &account,
            "from=2026-01-03&to=2026-01-03&limit=1000",
        )
        .await
    };
    let stir = async |kind: &str| {
        let order = json!({"resource": "sessions", "tenant": account, "kind": kind,
                           "from": "2026-01-03T00:00:00Z", "to": "2026-01-04T00:00:00Z"});
        let (status, body) = client.post("/control/bemo/stir", &order).await;
        assert_eq!(status, 200, "{body}");
        body["id"].as_str().unwrap().to_owned()
    };
    let before = day().await;
    let (first, second) = (stir("arrive").await, stir("arrive").await);
    let after = day().await;
    assert_eq!(after.ids()[..2], [second.clone(), first.clone()]);
    assert_eq!(after.ids()[2..], before.ids());
    assert!(
        list(&client, &account, "lastCreated=2026-01-06")
            .await
            .ids()
            .contains(&first)
    );
    assert_eq!(stir("change").await, second);
    let changed = day().await;
    assert_ne!(
        changed.body["data"][0]["transactions"],
        after.body["data"][0]["transactions"]
    );
    assert_eq!(changed.ids(), after.ids());
    for gone in [second, first, before.ids()[0].clone()] {
        assert_eq!(stir("vanish").await, gone);
    }
    assert_eq!(day().await.ids(), before.ids()[1..]);
    sandbox.advance(Duration::from_secs(86_400)).unwrap();
    assert!(
        !day().await.ids().contains(&before.ids()[0]),
        "what vanished stays away"
    );

    let odd = r#"{"sessionId":"odd-1","sessionStartDate":"2026-01-03T10:00:00Z","rfid":5,"new":12.290000000000001}"#;
    let path = format!("/control/bemo/records?resource=sessions&tenant={account}");
    assert_eq!(
        client.send(Method::PUT, &path, Some(odd.into())).await.0,
        200
    );
    let second = "from=2026-01-03T10:00:00Z&to=2026-01-03T10:00:01Z";
    let path = format!("/control/bemo/truth?resource=sessions&tenant={account}&{second}");
    let truth = client.raw(&path).await.unwrap().text().await.unwrap();
    assert!(truth.lines().any(|line| line == odd), "as written");
    assert_eq!(
        client
            .post("/control/bemo/page_cap", &json!({"largest_page": 3}))
            .await
            .0,
        200
    );
    assert_eq!(day().await.ids().len(), 3);
    for bad in [
        "/control/bemo/truth?resource=transactions",
        "/control/bemo/truth?resource=sessions&tenant=nobody",
    ] {
        assert_eq!(client.get(bad).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_sessions_in_whatever_steps_the_clock_moves() {
    let at = |seed, clock: &str| SandboxOptions {
        seed,
        transactions: 10,
        bemo_sessions: Some(300),
        clock: clock.parse().unwrap(),
        ..SandboxOptions::default()
    };
    let (whole, _) = with(at(7, "2026-01-09T00:00:00Z")).await;
    let (stepped, _) = with(at(7, "2026-01-02T00:00:00Z")).await;
    let selection = RecordSelection::of("sessions");
    assert!(stepped.truth_of("bemo", &selection).unwrap().len() < 100);
    for now in ["2026-01-04T12:34:56Z", "2026-01-09T00:00:00Z"] {
        stepped.set_clock(now.parse().unwrap()).unwrap();
        stepped.truth_of("bemo", &selection).unwrap();
    }
    let all = whole.truth_of("bemo", &selection).unwrap();
    assert_eq!(stepped.truth_of("bemo", &selection).unwrap(), all);
    let (other, _) = with(at(8, "2026-01-09T00:00:00Z")).await;
    assert_ne!(other.truth_of("bemo", &selection).unwrap(), all);
}
