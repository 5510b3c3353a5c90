//! SmartNow's contracts and unify SQL, on the document's own samples and on what they leave out.
//!
//! Invariant: what comes out stands in golden files, value by value; a statement that gives a column too many or too few for its
//! unified contract fails, and so does a value that does not fit.

use crate::bench::{Bench, by_key, key, shown, spec};
use crate::tree;
use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use futures::TryStreamExt;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use tillhouse_decode::{Decoded, Decoder};
use tillhouse_extract::{Connection, Limits};
use tillhouse_model::{Slice, Window, contract};
use tillhouse_query::Session;
use tillhouse_sandbox::{Sandbox, SandboxOptions};
use tillhouse_smartnow::SmartNowConnection;

const BENCH: Bench =
    Bench { source: "smartnow", records_at: &[], scope: Some("7"), parameters: &[("price_unit", "minor")] };

fn sample(resource: &str) -> String {
    BENCH.sample(resource)
}

fn decode(resource: &str, page: &str) -> Decoded {
    BENCH.decode(resource, page)
}

fn session(pages: &[(&str, String)]) -> Session {
    BENCH.session(pages)
}

async fn unified(session: &Session, table: &str) -> Vec<RecordBatch> {
    BENCH.unified(session, table).await
}

fn expected(rows: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<String>> {
    rows.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned))).collect()
}

const SAMPLES: [&str; 3] = ["revenue_transactions", "payment_transactions", "logs"];

#[test]
fn the_documents_samples_are_decoded() {
    for resource in SAMPLES {
        let decoded = decode(resource, &sample(resource));
        assert_eq!((decoded.rejects.len(), decoded.warnings.len(), decoded.unknown.len()), (0, 0, 0), "{resource}");
        insta::assert_snapshot!(format!("smartnow_decoded_{resource}"), shown(&[decoded.batch]));
    }
}

#[tokio::test]
async fn the_documents_samples_are_unified() {
    let session = session(&SAMPLES.map(|resource| (resource, sample(resource))));
    for table in ["transactions", "articles", "payments", "events"] {
        let rows = unified(&session, table).await;
        insta::assert_snapshot!(format!("smartnow_unified_{table}"), shown(&rows));
    }
}

/// A sale like the document's, with some fields changed.
fn sale(id: i64, changes: Value) -> Value {
    changed(&sample("revenue_transactions"), id, changes)
}

fn changed(page: &str, id: i64, changes: Value) -> Value {
    let mut record = serde_json::from_str::<Vec<Value>>(page).unwrap().remove(0);
    record["id"] = id.into();
    record.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    record
}

fn payment(id: i64, sale: i64, changes: Value) -> Value {
    let mut record = changed(&sample("payment_transactions"), id, changes);
    record["revenuetransaction"] = sale.into();
    record
}

fn page(records: &[Value]) -> String {
    serde_json::to_string(records).unwrap()
}

#[tokio::test]
async fn what_the_samples_leave_out() {
    let sales = [
        sale(1, json!({"price": 0})),
        sale(2, json!({"price": -250})),
        sale(3, json!({"price": "180", "originalPrice": 200, "usergroup": 5})),
        sale(4, json!({"price": 1500, "currency": "JPY"})),
        sale(5, json!({"price": 1500, "currency": "???"})),
        sale(6, json!({"price": 300, "timeZone": "Mars/Olympus", "occurredAt": "2019-02-06T23:30:00+01:00"})),
        sale(7, json!({"price": 300, "occurredAt": "2019-02-06T23:30:00Z"})),
        sale(8, json!({"price": 12.5})),
        sale(9, json!({"price": 300, "currency": null, "location": null})),
    ];
    let payments = [
        payment(10, 2, json!({"price": -250, "method": "cash", "type": "Bargeld"})),
        payment(11, 3, json!({"price": 100, "method": "card", "type": "EC/Credit"})),
        payment(12, 3, json!({"price": 80, "method": "code", "exclude": 1, "reportGroup": "office"})),
        payment(13, 4, json!({"price": 1000, "currency": "JPY", "method": "token"})),
        payment(14, 6, json!({"price": 300, "currency": "USD"})),
        payment(15, 7, json!({"price": 300, "method": null, "type": "cash"})),
        payment(16, 99, json!({})),
    ];
    let decoded = decode("revenue_transactions", &page(&sales));
    let mut warned: Vec<(String, String)> = decoded.warnings.into_iter().map(|w| (w.key, w.rule)).collect();
    warned.sort();
    let warning = |key: &str, rule: &str| (key.to_owned(), rule.to_owned());
    assert_eq!(
        warned,
        [warning("5", "currency_known"), warning("6", "time_zone_known"), warning("8", "price_fits_unit")]
    );

    let session = session(&[("revenue_transactions", page(&sales)), ("payment_transactions", page(&payments))]);
    let rows = unified(&session, "transactions").await;
    let of = |column: &str| by_key(&rows, column);
    let some = |values: [Option<&str>; 9]| {
        let keys = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
        expected(&keys.into_iter().zip(values).collect::<Vec<_>>())
    };
    let all = |value| some([Some(value); 9]);
    assert_eq!(
        of("kind"),
        some(["free", "refund", "sale", "sale", "sale", "sale", "sale", "sale", "sale"].map(Some)),
        "free at 0, a refund below"
    );
    assert_eq!(
        of("amount"),
        some([
            Some("0.0000"),
            Some("-2.5000"),
            Some("1.8000"),
            Some("1500.0000"),
            None,
            Some("3.0000"),
            Some("3.0000"),
            Some("0.1250"),
            None
        ]),
        "minor units by the currency"
    );
    assert_eq!(of("discount_amount"), some([None, None, Some("0.2000"), None, None, None, None, None, None]));
    let (consumed, completed) = (Some("consumed"), Some("completed"));
    let states = some([completed, completed, completed, consumed, consumed, consumed, completed, consumed, consumed]);
    assert_eq!(of("state"), states, "a payment in another currency covers nothing");
    assert_eq!(of("state_derived"), states);
    assert_eq!(of("tenant_id"), some([None, None, Some("5"), None, None, None, None, None, None]));
    assert_eq!(of("currency")["5"], None);
    assert_eq!(of("site_key")["9"], None);
    assert_eq!(of("category"), all("vending"));
    assert_eq!(of("perspective"), all("sale"));
    // Unknown to us: the day and hour of UTC, and no offset. Known: the site's own.
    assert_eq!(
        [&of("business_date")["6"], &of("local_hour")["6"], &of("utc_offset_minutes")["6"]].map(Option::as_deref),
        [Some("2019-02-06"), Some("22"), None]
    );
    assert_eq!(
        [&of("business_date")["7"], &of("local_hour")["7"], &of("utc_offset_minutes")["7"]].map(Option::as_deref),
        [Some("2019-02-07"), Some("0"), Some("60")]
    );
    let bench = Bench { parameters: &[("price_unit", "major")], ..BENCH };
    let in_major_units = bench.unified(&session, "transactions").await;
    assert_eq!(by_key(&in_major_units, "amount")["3"].as_deref(), Some("180.0000"));
    let articles = unified(&session, "articles").await;
    let of_article = |column: &str| {
        by_key(&articles, column)
            .into_iter()
            .map(|(key, value)| (key.replace("/1", ""), value))
            .collect::<BTreeMap<_, _>>()
    };
    for (article, transaction) in
        [("amount", "amount"), ("kind", "kind"), ("transaction_state", "state"), ("discount_amount", "discount_amount")]
    {
        assert_eq!(of_article(article), of(transaction), "{article}");
    }

    let rows = unified(&session, "payments").await;
    let of = |column: &str| by_key(&rows, column);
    let some = |values: [Option<&str>; 6]| {
        let keys = ["2/10", "3/11", "3/12", "4/13", "6/14", "7/15"];
        expected(&keys.into_iter().zip(values).collect::<Vec<_>>())
    };
    assert_eq!(of("method"), some(["cash", "card", "voucher", "token", "token", "cash"].map(Some)));
    assert_eq!(of("type")["3/11"].as_deref(), Some("EC/Credit"));
    assert_eq!(of("excluded"), some(["false", "false", "true", "false", "false", "false"].map(Some)));
    assert_eq!(of("report_group")["3/12"].as_deref(), Some("office"));
    assert_eq!(of("amount"), some(["-2.5000", "1.0000", "0.8000", "1000.0000", "3.0000", "3.0000"].map(Some)));
    assert_eq!(of("currency")["6/14"].as_deref(), Some("USD"));
    assert_eq!(
        of("transaction_state"),
        some([completed, completed, completed, consumed, consumed, completed]),
        "its sale's"
    );
    assert_eq!(of("kind")["2/10"].as_deref(), Some("refund"));
}

#[tokio::test]
async fn dimensions_vouchers_and_their_redemptions() {
    let time = "2026-01-02T03:04:05Z";
    let voucher = |id: &str, expires: Value, changes: Value| {
        let mut record = json!({
            "id": id, "code": "SECRET-CODE", "campaign": 3, "type": "gift", "value": 2000, "valueType": "cents", "currency": "EUR",
            "initialValue": 2000, "redemptionLimit": null, "redemptionCount": 1, "totalRedemptionCount": 2,
            "lastRedemptionAt": time, "lastRedemptionLocation": "Canteen", "prefix": "ABC", "resetFrequency": "never",
            "lastResetAt": null, "expiresOn": expires, "timeZone": "Europe/Amsterdam", "lockOwner": null, "lockedTill": null,
            "status": "active", "amountRedeemed": 150, "totalAmountRedeemed": 250, "createdAt": time, "updatedAt": time,
            "balance": 1750, "text1": "for the guest", "pdfUrl": "SECRET-PDF", "voucherComments": "for the guest"
        });
        record.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        record
    };
    let log = |id: i64, action: &str, success: i64| {
        json!({
            "id": id, "voucher": "v-1", "requester": "sb-80", "requesterLocation": "Canteen", "action": action, "success": success,
            "request": "SECRET-CODE", "response": "SECRET-CODE", "currency": "EUR", "createdAt": time, "updatedAt": time
        })
    };
    let pages = [
        (
            "locations",
            page(&[
                json!({"id": 2, "name": "Canteen", "address": "Zuidplein 8", "postcode": "1077 XV", "city": "Amsterdam", "country": "nl ",
                "latitude": "52.3393001234", "longitude": "4.8737", "timeZone": "Europe/Amsterdam", "updatedAt": time}),
                json!({"id": 3, "country": "Netherlands", "latitude": "5233.9", "longitude": null}),
            ]),
        ),
        (
            "machines",
            page(&[
                json!({"id": 80, "name": "Coffee", "hostname": "sb-80", "location": 2, "tag": ""}),
                json!({"id": 81, "name": "Snacks", "hostname": "sb-81", "location": 2, "tag": "T1"}),
            ]),
        ),
        (
            "products",
            page(&[
                json!({"id": 8001, "plu": 1, "name": "Kaffee klein", "price": 10, "machine": 80, "barcode": "4000000000211"}),
                json!({"id": 8002, "plu": null, "name": "nothing", "machine": 80}),
            ]),
        ),
        ("user_groups", page(&[json!({"id": 5, "name": "Continent", "deleted": false})])),
        (
            "shifts",
            page(&[
                json!({"id": 9, "location": 2, "firstTransaction": 3184234, "lastTransaction": null, "previousShift": 8, "closed": null,
                "createdAt": time, "updatedAt": time}),
            ]),
        ),
        (
            "vouchers",
            page(&[
                voucher("v-1", json!("2026-12-31T23:00:00Z"), json!({})),
                voucher("v-2", json!("2026-12-31"), json!({"currency": "JPY"})),
                voucher("v-3", json!("2026-12-31 23:59:59"), json!({"valueType": "points"})),
                voucher("v-4", json!("one day"), json!({"currency": null})),
            ]),
        ),
        ("voucher_logs", page(&[log(1, "validate", 1), log(2, "redeem", 1), log(3, "redeem", 0)])),
    ];
    let session = session(&pages);
    let mut all = String::new();
    for table in ["sites", "devices", "products", "tenants", "shifts", "vouchers", "voucher_redemptions"] {
        let rows = unified(&session, table).await;
        writeln!(all, "# {table}\n\n{}", shown(&rows)).unwrap();
    }
    assert!(!all.contains("SECRET") && !all.contains("guest"), "{all}");
    insta::assert_snapshot!("smartnow_unified_dimensions", all);
}

/// The sandbox reads the document in its own way: what it serves has to fit the contracts, record by record.
#[tokio::test(flavor = "multi_thread")]
async fn every_resource_of_the_sandbox_fits_its_contract() {
    let options = SandboxOptions { transactions: 10, smartnow_sales: Some(400), ..SandboxOptions::default() };
    let window = Window::new(options.from, options.to).unwrap();
    let sandbox = Sandbox::start(options).await.unwrap();
    let written = json!({"base_url": sandbox.url_of("smartnow"), "username": "sandbox", "password": "sandbox-secret"});
    let connection: SmartNowConnection = serde_json::from_value(written).unwrap();
    let source = connection.open(Limits { rate_per_second: None, ..Limits::default() }).unwrap();
    source.check().await.unwrap();
    for resource in source.resources() {
        let slice = Slice { resource: resource.name.into(), tenant: None, window };
        let mut pages = source.pages(&slice);
        let mut records = 0;
        while let Some(page) = pages.try_next().await.unwrap() {
            let decoder = Decoder::with(spec("smartnow", resource.name), Some(key()), &source.parameters()).unwrap();
            let decoded = decoder.decode_scoped(&page.bytes, &[], page.scope.as_deref()).unwrap();
            assert_eq!(decoded.rejects, [], "{}", resource.name);
            assert_eq!(decoded.warnings, [], "{}", resource.name);
            assert!(decoded.unknown.is_empty(), "{}: {:?}", resource.name, decoded.unknown);
            records += decoded.batch.num_rows();
        }
        assert!(records > 0, "{} has no records", resource.name);
    }
}

/// Field names that are secrets, personal or free text about people must never be stored as they came, in whatever resource.
#[test]
fn secrets_and_people_are_kept_out_of_every_table() {
    use tillhouse_model::Class;
    let closed = ["code", "pdfUrl", "vouchersPdfUrl", "request", "response", "voucherComments", "ownerData", "details"];
    let people = ["email", "username", "token"];
    let mut seen = 0;
    for path in tree::files("schemas/smartnow", "yaml") {
        let spec = contract::parse(&tree::text(&path), &tree::name(&path)).unwrap();
        for column in &spec.columns {
            let name = column.json_name.as_str();
            // An event's or an error's code is no voucher's, and neither is what is paid by one.
            let closed = closed.contains(&name) && !(name == "code" && spec.name != "vouchers");
            let person = people.contains(&name) || (spec.name == "alert_recipients" && name == "name");
            assert!(!closed || !column.class.is_stored(), "{}.{name}", spec.name);
            assert!(!person || matches!(column.class, Class::Pseudonym(_)), "{}.{name}", spec.name);
            assert!(!name.to_lowercase().contains("encryption"), "{}.{name}", spec.name);
            seen += usize::from(closed || person);
            if let Some(DataType::Float64 | DataType::Float32) =
                column.class.is_stored().then(|| column.kind.data_type())
            {
                panic!("{}.{name} is a float", spec.name);
            }
        }
    }
    assert_eq!(seen, 14, "the fields are where they are looked for");
}
