//! PACE as an extractor sees it: the token, the media types, both endpoints, and what can go wrong with them.
//!
//! Invariant: whatever is read page by page is the truth of the same partner, in its order.

use crate::client::{SandboxClient, with};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tillhouse_sandbox::{
    EmulatedFault, FaultKind, PaceApi, RecordSelection, Sandbox, SandboxOptions,
};

const JSON_API: &str = "application/vnd.api+json";
const NORTH: &str = "/pay/2022-1/transactions/contracts/partners/north-fuels";
const SUCCESSOR: &str = "/pay/2025-1/transactions";
const WINDOW: &str = "date_from=2026-01-01T00:00:00Z&date_to=2026-01-06T00:00:00Z";

/// HTTP client of the emulated PACE, with its token.
struct PaceClient {
    client: SandboxClient,
    token: String,
}

async fn some(pace_api: PaceApi) -> (Sandbox, PaceClient) {
    let options = SandboxOptions {
        transactions: 10,
        bemo_sessions: Some(500),
        pace_transactions: Some(600),
        pace_api,
        ..SandboxOptions::default()
    };
    let (sandbox, client) = with(options).await;
    let mut pace = PaceClient {
        client,
        token: String::new(),
    };
    pace.login().await;
    (sandbox, pace)
}

impl PaceClient {
    fn url(&self, path: &str) -> String {
        format!("{}/pace{path}", self.client.url)
    }

    async fn form(&self, pairs: &[(&str, &str)]) -> (StatusCode, Value) {
        let response = self
            .client
            .http
            .post(self.url("/auth/token"))
            .form(pairs)
            .send()
            .await
            .unwrap();
        (response.status(), response.json().await.unwrap())
    }

    async fn login(&mut self) {
        let credentials = [
            ("grant_type", "client_credentials"),
            ("client_id", "sandbox"),
            ("client_secret", "sandbox-secret"),
        ];
        let (status, body) = self.form(&credentials).await;
        assert_eq!(
            (status.as_u16(), &body["expires_in"], &body["token_type"]),
            (200, &json!(3600), &json!("Bearer"))
        );
        self.token = body["access_token"].as_str().unwrap().to_owned();
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let request = self
            .client
            .http
            .get(self.url(path))
            .bearer_auth(&self.token)
            .header("accept", JSON_API);
        let response = request.send().await.unwrap();
        let status = response.status();
        assert_eq!(response.headers()["content-type"], JSON_API);
        (status, response.json().await.unwrap())
    }

    async fn page(&self, path: &str) -> Value {
        let (status, body) = self.get(path).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    /// All transactions of a listing, by counting pages.
    async fn all(&self, path: &str, size: usize) -> Vec<Value> {
        let mut all = Vec::new();
        for number in 0.. {
            let page = self
                .page(&format!("{path}&page[number]={number}&page[size]={size}"))
                .await;
            let rows = page["data"].as_array().unwrap();
            all.extend(rows.iter().cloned());
            if rows.len() < size {
                assert_eq!(page["meta"]["count"], all.len());
                break;
            }
        }
        all
    }
}

fn truth(sandbox: &Sandbox, partner: Option<&str>) -> Vec<Value> {
    let selection = RecordSelection {
        tenant: partner.map(str::to_owned),
        ..RecordSelection::of("transactions")
    };
    let records = sandbox.truth_of("pace", &selection).unwrap();
    records
        .iter()
        .map(|body| serde_json::from_slice(body).unwrap())
        .collect()
}

fn ids(records: &[Value]) -> Vec<&str> {
    records
        .iter()
        .map(|record| record["id"].as_str().unwrap())
        .collect()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[tokio::test]
async fn the_partners_endpoint_shows_exactly_the_documents_fields() {
    let (sandbox, pace) = some(PaceApi::Partner).await;
    assert_eq!(sandbox.partners(), ["north-fuels", "south-fuels"]);
    let all = pace.all(&format!("{NORTH}?{WINDOW}"), 100).await;
    assert!(all.len() > 150, "{}", all.len());
    assert_eq!(all, truth(&sandbox, Some("north-fuels")));
    let expected = [
        "VAT",
        "createdAt",
        "createdAtLocaltime",
        "currency",
        "fuel",
        "location",
        "priceIncludingVAT",
        "priceWithoutVAT",
    ];
    for record in &all {
        assert_eq!(
            (keys(record), &record["type"]),
            (["attributes", "id", "type"].into(), &json!("transaction"))
        );
        let attributes = &record["attributes"];
        assert_eq!(keys(attributes), expected.into());
        assert_eq!(
            keys(&attributes["location"]),
            ["address", "brand", "latitude", "longitude"].into()
        );
        let zone = match attributes["location"]["address"]["city"].as_str().unwrap() {
            "Helsinki" => 2,
            _ => 1,
        };
        let instant: jiff::Timestamp = attributes["createdAt"].as_str().unwrap().parse().unwrap();
        let local: jiff::civil::DateTime = attributes["createdAtLocaltime"]
            .as_str()
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(
            local
                .to_zoned(jiff::tz::offset(zone).to_time_zone())
                .unwrap()
                .timestamp(),
            instant
        );
        assert!(
            [json!(0.19), json!(0.255)].contains(&attributes["VAT"]["rate"]),
            "a fraction"
        );
        assert_eq!(attributes["fuel"]["unit"], "liter");
    }
}

#[tokio::test]
async fn the_successor_shows_more_and_sorts_and_filters() {
    let (sandbox, pace) = some(PaceApi::Successor).await;
    let all = pace.all(&format!("{SUCCESSOR}?sort=id"), 100).await;
    assert_eq!(all, truth(&sandbox, None));
    assert!(ids(&all).is_sorted());
    let mut seen = BTreeSet::new();
    for record in &all {
        seen.extend(keys(&record["attributes"]));
        assert!(record["attributes"]["location"]["stationName"].is_string());
        let attributes = &record["attributes"];
        assert!(
            attributes["updatedAt"].as_str().unwrap() >= attributes["createdAt"].as_str().unwrap()
        );
        assert!(
            attributes
                .get("vin")
                .is_none_or(|vin| vin.as_str().unwrap().starts_with("ZZ9"))
        );
        assert!(
            attributes
                .get("mileage")
                .is_none_or(|metres| metres.as_i64().unwrap() > 1_000_000)
        );
    }
    for more in [
        "updatedAt",
        "paymentMethodKind",
        "discountAmount",
        "priceIncludingVATBeforeDiscount",
        "numberPlate",
        "vin",
        "mileage",
        "driverVehicleID",
        "providerPRN",
        "references",
    ] {
        assert!(seen.contains(more), "{more}: {seen:?}");
    }
    for (sort, field) in [("createdAt", "createdAt"), ("-updatedAt", "updatedAt")] {
        let sorted = pace.all(&format!("{SUCCESSOR}?sort={sort}"), 100).await;
        let instants: Vec<jiff::Timestamp> = sorted
            .iter()
            .map(|r| r["attributes"][field].as_str().unwrap().parse().unwrap())
            .collect();
        assert!(if sort.starts_with('-') {
            instants.is_sorted_by(|a, b| a >= b)
        } else {
            instants.is_sorted()
        });
        assert_eq!(sorted.len(), all.len());
    }
    let half = "2026-01-03T00:00:00Z";
    let count = async |filter: &str| {
        pace.page(&format!("{SUCCESSOR}?{filter}")).await["data"]
            .as_array()
            .unwrap()
            .len()
    };
    let early = count(&format!("filter[createdAt][lt]={half}")).await;
    assert!(early > 100);
    assert_eq!(
        early + count(&format!("filter[createdAt][gte]={half}")).await,
        all.len()
    );
    let updated = count(&format!("filter[updatedAt][gte]={half}")).await;
    assert!(
        updated > all.len() - early,
        "some of the early ones changed later"
    );
    let of = async |partner: &str| count(&format!("filter[partner]={partner}")).await;
    assert_eq!(of("north-fuels").await + of("south-fuels").await, all.len());
}

#[tokio::test]
async fn transactions_change_later_and_updated_at_tells() {
    let (sandbox, pace) = some(PaceApi::Successor).await;
    let before = truth(&sandbox, None);
    let now = sandbox.clock();
    sandbox.advance(Duration::from_secs(5 * 86_400)).unwrap();
    let after = truth(&sandbox, None);
    assert_eq!(ids(&after)[..20], ids(&before)[..20]);
    let changed: Vec<_> = after
        .iter()
        .filter(|record| !before.contains(record))
        .cloned()
        .collect();
    assert!(changed.len() > 5, "{}", changed.len());
    let found = pace
        .page(&format!("{SUCCESSOR}?filter[updatedAt][gte]={now}&sort=id"))
        .await;
    assert_eq!(
        found["data"],
        Value::Array(changed),
        "exactly what changed since"
    );
}

#[tokio::test]
async fn pages_are_cut_only_where_a_number_is_given() {
    let (sandbox, pace) = some(PaceApi::Partner).await;
    let total = truth(&sandbox, Some("north-fuels")).len();
    let size = async |query: &str| {
        let page = pace.page(&format!("{NORTH}?{WINDOW}{query}")).await;
        assert_eq!(page["meta"]["count"], total);
        page["data"].as_array().unwrap().len()
    };
    assert_eq!(size("").await, total);
    assert_eq!(
        size("&page[size]=10").await,
        total,
        "no number, no paging at all"
    );
    assert_eq!(size("&page[number]=0").await, 50);
    assert_eq!(
        size("&page[number]=1&page[size]=100").await,
        100.min(total - 100)
    );
    assert_eq!(size("&page[number]=999").await, 0);
    assert_eq!(
        pace.client
            .post("/control/pace/page_cap", &json!({"largest_page": 7}))
            .await
            .0,
        200
    );
    assert_eq!(size("&page[number]=0&page[size]=100").await, 7);
}

#[tokio::test]
async fn windows_are_half_open_unless_told() {
    for end_included in [false, true] {
        let options = SandboxOptions {
            transactions: 10,
            pace_transactions: Some(50),
            end_included,
            ..SandboxOptions::default()
        };
        let (sandbox, client) = with(options).await;
        let mut pace = PaceClient {
            client,
            token: String::new(),
        };
        pace.login().await;
        let at = truth(&sandbox, Some("north-fuels"))[3]["attributes"]["createdAt"]
            .as_str()
            .unwrap()
            .to_owned();
        let page = pace
            .page(&format!("{NORTH}?date_from={at}&date_to={at}"))
            .await;
        assert_eq!(page["meta"]["count"], u32::from(end_included));
    }
}

#[tokio::test]
async fn errors_are_json_api_and_name_the_parameter() {
    let (_sandbox, pace) = some(PaceApi::Partner).await;
    for (path, status, parameter) in [
        (
            format!("{NORTH}?date_from=2026-01-01"),
            400,
            json!("date_from"),
        ),
        (format!("{NORTH}?date_to=soon"), 400, json!("date_to")),
        (
            format!("{NORTH}?date_from=2026-01-02T00:00:00Z&date_to=2026-01-01T00:00:00Z"),
            422,
            json!("date_from"),
        ),
        (
            format!("{NORTH}?page[number]=x"),
            400,
            json!("page[number]"),
        ),
        (
            format!("{NORTH}?page[number]=0&page[size]=101"),
            400,
            json!("page[size]"),
        ),
        (format!("{SUCCESSOR}?sort=price"), 400, json!("sort")),
        (
            format!("{SUCCESSOR}?filter[vin][gte]=x"),
            400,
            json!("filter[vin][gte]"),
        ),
        (
            "/pay/2022-1/transactions/contracts/partners/nobody".to_owned(),
            404,
            json!(null),
        ),
        ("/pay/nothing".to_owned(), 404, json!(null)),
    ] {
        let (got, body) = pace.get(&path).await;
        let error = &body["errors"][0];
        assert_eq!(
            (got.as_u16(), &error["status"]),
            (status, &json!(status.to_string())),
            "{path}: {body}"
        );
        assert_eq!(error["source"]["parameter"], parameter, "{path}");
        assert!(
            error["id"].is_string() && error["title"].is_string() && error["detail"].is_string()
        );
    }
}

#[tokio::test]
async fn media_types_are_insisted_on() {
    let (_sandbox, pace) = some(PaceApi::Partner).await;
    let request = || {
        pace.client
            .http
            .get(pace.url(NORTH))
            .bearer_auth(&pace.token)
    };
    for accept in ["application/json", "*/*"] {
        assert_eq!(
            request()
                .header("accept", accept)
                .send()
                .await
                .unwrap()
                .status(),
            406,
            "{accept}"
        );
    }
    let accepted = || request().header("accept", format!("application/json, {JSON_API}"));
    assert_eq!(accepted().send().await.unwrap().status(), 200);
    assert_eq!(accepted().body("{}").send().await.unwrap().status(), 415);
    assert_eq!(
        accepted()
            .header("content-type", "application/json")
            .send()
            .await
            .unwrap()
            .status(),
        415
    );
    assert_eq!(
        accepted()
            .header("content-type", JSON_API)
            .body("{}")
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
    let posted = pace
        .client
        .http
        .post(pace.url(NORTH))
        .bearer_auth(&pace.token)
        .header("accept", JSON_API);
    assert_eq!(posted.send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn tokens_are_given_for_good_credentials_only() {
    let (sandbox, mut pace) = some(PaceApi::Partner).await;
    let grant = ("grant_type", "client_credentials");
    let wrong = [grant, ("client_id", "sandbox"), ("client_secret", "wrong")];
    let (status, body) = pace.form(&wrong).await;
    assert_eq!(
        (status.as_u16(), &body["error"]),
        (401, &json!("invalid_client"))
    );
    let (status, body) = pace.form(&[("grant_type", "password")]).await;
    assert_eq!(
        (status.as_u16(), &body["error"]),
        (400, &json!("unsupported_grant_type"))
    );
    let token = pace.url("/auth/token");
    let json = pace
        .client
        .http
        .post(&token)
        .json(&json!({"client_id": "sandbox"}))
        .send()
        .await
        .unwrap();
    assert_eq!(json.status(), 415);
    let basic = pace
        .client
        .http
        .post(&token)
        .basic_auth("sandbox", Some("sandbox-secret"))
        .form(&[grant]);
    let body: Value = basic.send().await.unwrap().json().await.unwrap();
    assert!(body["access_token"].is_string(), "{body}");

    sandbox.inject([EmulatedFault::new(FaultKind::Unauthorized)]);
    for _ in 0..2 {
        let (status, body) = pace.get(NORTH).await;
        assert_eq!(
            (status.as_u16(), &body["errors"][0]["status"]),
            (401, &json!("401"))
        );
    }
    pace.login().await;
    sandbox.inject([EmulatedFault::new(FaultKind::MissingLinkedIdentity)]);
    let (status, body) = pace.get(NORTH).await;
    assert_eq!(
        (status.as_u16(), &body["errors"][0]["code"]),
        (401, &json!("missing-linked-identity"))
    );
    assert_eq!(pace.get(NORTH).await.0, 200);
    sandbox.inject([EmulatedFault::new(FaultKind::ServerError).on("/pace/auth")]);
    assert_eq!(pace.form(&wrong).await.0, 500);
}

#[tokio::test]
async fn listings_go_wrong_on_demand() {
    let (sandbox, pace) = some(PaceApi::Partner).await;
    let page = async |number: u32| {
        pace.page(&format!(
            "{NORTH}?{WINDOW}&page[number]={number}&page[size]=20"
        ))
        .await
    };
    let honest = page(0).await;
    sandbox.inject([
        EmulatedFault::new(FaultKind::LieTotal),
        EmulatedFault::new(FaultKind::Shift),
    ]);
    let lie = page(0).await;
    assert_eq!(
        lie["meta"]["count"].as_i64(),
        honest["meta"]["count"].as_i64().map(|count| count + 1)
    );
    assert_eq!(
        page(1).await["data"][0],
        honest["data"][19],
        "the last of the first page comes again"
    );
    for status in [429, 503] {
        let kind = if status == 429 {
            FaultKind::RateLimited
        } else {
            FaultKind::ServerError
        };
        sandbox.inject([EmulatedFault {
            status: Some(status),
            ..EmulatedFault::new(kind)
        }]);
        let (got, body) = pace.get(&format!("{NORTH}?{WINDOW}")).await;
        assert_eq!(
            (got.as_u16(), &body["errors"][0]["status"]),
            (status, &json!(status.to_string()))
        );
    }
    sandbox.inject([EmulatedFault::new(FaultKind::Endless).times(u64::MAX)]);
    let mut seen = BTreeSet::new();
    for number in 70..74 {
        let page = page(number).await;
        assert!(
            page["meta"]["count"].as_u64().unwrap() > u64::from(number + 1) * 20,
            "always one more to come"
        );
        seen.extend(
            ids(page["data"].as_array().unwrap())
                .into_iter()
                .map(str::to_owned),
        );
    }
    assert_eq!(seen.len(), 80);
}

#[tokio::test]
async fn transactions_are_stirred_where_the_listing_begins() {
    for (api, listing) in [
        (
            PaceApi::Partner,
            format!("{NORTH}?date_from=2026-01-03T00:00:00Z&date_to=2026-01-04T00:00:00Z"),
        ),
        (
            PaceApi::Successor,
            format!(
                "{SUCCESSOR}?filter[partner]=north-fuels&filter[updatedAt][gte]=2026-01-03T00:00:00Z\
                 &filter[updatedAt][lt]=2026-01-04T00:00:00Z&sort=id"
            ),
        ),
    ] {
        let (sandbox, pace) = some(api).await;
        let day = async || {
            pace.page(&listing).await["data"]
                .as_array()
                .unwrap()
                .clone()
        };
        let stir = async |kind: &str| {
            let order = json!({"resource": "transactions", "tenant": "north-fuels", "kind": kind,
                               "from": "2026-01-03T00:00:00Z", "to": "2026-01-04T00:00:00Z"});
            let (status, body) = pace.client.post("/control/pace/stir", &order).await;
            assert_eq!(status, 200, "{body}");
            body["id"].as_str().unwrap().to_owned()
        };
        let before = day().await;
        let (first, second) = (stir("arrive").await, stir("arrive").await);
        let after = day().await;
        assert_eq!(ids(&after)[..2], [second.as_str(), first.as_str()]);
        assert_eq!(after[2..], before[..]);
        assert_eq!(stir("change").await, second);
        let changed = day().await;
        if api == PaceApi::Partner {
            assert_eq!(ids(&changed), ids(&after));
            assert_ne!(changed[0], after[0]);
        } else {
            assert_eq!(changed[..], after[1..], "updatedAt moved out of the window");
            let now = sandbox.clock();
            let moved = pace
                .page(&format!("{SUCCESSOR}?filter[updatedAt][gte]={now}"))
                .await;
            assert_eq!(ids(moved["data"].as_array().unwrap()), [second.as_str()]);
        }
        let gone = stir("vanish").await;
        assert_eq!(gone, ids(&changed)[0]);
        assert_eq!(day().await[..], changed[1..]);

        let odd = r#"{"type":"transaction","id":"odd","attributes":{"createdAt":"2026-01-03T10:00:00Z","priceIncludingVAT":1.10}}"#;
        let path = "/control/pace/records?resource=transactions&tenant=north-fuels";
        assert_eq!(
            pace.client
                .send(Method::PUT, path, Some(odd.into()))
                .await
                .0,
            200
        );
        let truth = sandbox
            .truth_of("pace", &RecordSelection::of("transactions"))
            .unwrap();
        assert!(truth.iter().any(|body| body == odd), "as written");
        assert_eq!(day().await.len(), changed.len());
        for bad in [
            "/control/pace/truth?resource=sessions",
            "/control/pace/truth?resource=transactions&tenant=nobody",
        ] {
            assert_eq!(pace.client.get(bad).await.0, 400, "{bad}");
        }
    }
}

#[tokio::test]
async fn the_same_seed_gives_the_same_transactions_in_whatever_steps_the_clock_moves() {
    let at = |seed, clock: &str| SandboxOptions {
        seed,
        transactions: 10,
        pace_transactions: Some(300),
        pace_api: PaceApi::Successor,
        clock: clock.parse().unwrap(),
        ..SandboxOptions::default()
    };
    let (whole, _) = with(at(7, "2026-01-12T00:00:00Z")).await;
    let (stepped, _) = with(at(7, "2026-01-02T00:00:00Z")).await;
    for now in ["2026-01-04T12:34:56Z", "2026-01-12T00:00:00Z"] {
        assert!(truth(&stepped, None).len() < 300);
        stepped.set_clock(now.parse().unwrap()).unwrap();
    }
    assert_eq!(truth(&stepped, None), truth(&whole, None));
    assert_eq!(truth(&whole, None).len(), 300);
    let (other, _) = with(at(8, "2026-01-12T00:00:00Z")).await;
    assert_ne!(truth(&other, None), truth(&whole, None));
}
