//! Records that the sandbox's own world lacks, put beside it: refunds, failures, sessions under
//! way, new names, odd currencies.
//!
//! Invariant: every record put is one the sandbox serves, changed; the truth is read from the sandbox afterwards.

use jiff::SignedDuration;
use serde_json::{Value, json};
use tillhouse_sandbox::{RecordSelection, Sandbox};

fn served(sandbox: &Sandbox, source: &str, resource: &str, tenant: Option<&str>) -> Vec<Value> {
    let selection = RecordSelection {
        tenant: tenant.map(str::to_owned),
        ..RecordSelection::of(resource)
    };
    let bodies = sandbox.truth_of(source, &selection).unwrap();
    bodies
        .iter()
        .map(|body| serde_json::from_slice(body).unwrap())
        .collect()
}

/// Turns the sign of the numbers at these places, where there are any.
fn negate(record: &mut Value, places: &[&str]) {
    for place in places {
        if let Some(number) = record
            .pointer_mut(place)
            .filter(|number| number.is_number())
        {
            let text = number.to_string();
            *number = serde_json::from_str(&format!("-{text}")).unwrap();
        }
    }
}

/// An id of the same form that no record has.
fn fresh(id: &Value, number: usize) -> Value {
    format!("{number:08x}{}", &id.as_str().unwrap()[8..]).into()
}

/// The site of HecOne's that gets another name.
const RENAMED: &str = "Station Nord";

/// Puts all of them.
pub(crate) fn put(sandbox: &Sandbox) {
    hecone(sandbox);
    smartnow(sandbox);
    bemo(sandbox);
    pace(sandbox);
}

fn hecone(sandbox: &Sandbox) {
    let bodies = sandbox.truth();
    let read = |index: usize| -> Value { serde_json::from_slice(&bodies[index]).unwrap() };
    for (number, index) in (0..bodies.len()).step_by(150).enumerate() {
        let mut record = read(index);
        record["id"] = fresh(&record["id"], number);
        match number % 50 {
            // No time at all: whatever window the provider lists it in, no figure can count it.
            0 if record["site"]["name"] != RENAMED => {
                record["invoice"] = Value::Null;
                record["payments"] = json!([]);
                record["articles"]
                    .as_array_mut()
                    .unwrap()
                    .iter_mut()
                    .for_each(|article| {
                        article["start_time"] = Value::Null;
                    });
                sandbox
                    .put_at(
                        &record.to_string(),
                        sandbox.clock() - SignedDuration::from_hours(1),
                    )
                    .unwrap();
                continue;
            }
            // A code in small letters, and one that nobody knows.
            1 => record["invoice"]["currency"] = "chf".into(),
            2 => record["invoice"]["currency"] = "XQX".into(),
            // More digits than a column has.
            3 if record["invoice"].is_object() => {
                record["invoice"]["amount"] = json!(12.290000000000001)
            }
            // Sold without a place.
            4 => (record["site_id"], record["site"]) = (Value::Null, Value::Null),
            _ => {
                negate(
                    &mut record,
                    &[
                        "/invoice/amount",
                        "/invoice/paid_amount",
                        "/invoice/tax_amount",
                    ],
                );
                for (list, places) in [
                    ("articles", &["/amount", "/quantity", "/tax_amount"][..]),
                    ("payments", &["/amount"]),
                ] {
                    record[list]
                        .as_array_mut()
                        .unwrap()
                        .iter_mut()
                        .for_each(|entry| negate(entry, places));
                }
            }
        }
        sandbox.put(&record.to_string()).unwrap();
    }
    // Another name in the site's last sale is its name from then on, for all its sales.
    let last = (0..bodies.len())
        .rev()
        .map(read)
        .find(|record| record["site"]["name"] == RENAMED);
    let mut last = last.unwrap();
    last["site"]["name"] = "Station Nordost".into();
    sandbox.put(&last.to_string()).unwrap();
}

fn smartnow(sandbox: &Sandbox) {
    let put = |resource: &str, parent: Option<&str>, record: &Value| {
        sandbox
            .put_in("smartnow", resource, parent, &record.to_string())
            .unwrap();
    };
    let sales = served(sandbox, "smartnow", "revenue_transactions", None);
    let payments = served(sandbox, "smartnow", "payment_transactions", None);
    for (number, (sale, payment)) in sales.iter().zip(&payments).step_by(100).enumerate() {
        let (mut sale, mut payment) = (sale.clone(), payment.clone());
        let id = 1_000_000 + number;
        (sale["id"], payment["id"], payment["revenuetransaction"]) =
            (id.into(), id.into(), id.into());
        for copied in [
            "price",
            "currency",
            "occurredAt",
            "timeZone",
            "machine",
            "location",
            "createdAt",
            "updatedAt",
        ] {
            payment[copied] = sale[copied].clone();
        }
        match number % 10 {
            0 => sale["usergroup"] = 0.into(),
            1 => sale["timeZone"] = "Mars/Olympus".into(),
            2 => (sale["currency"], payment["currency"]) = ("XQX".into(), "XQX".into()),
            // Paid in another currency than it is sold in.
            3 => payment["currency"] = "CHF".into(),
            // Its sale never comes.
            4 => {
                put("payment_transactions", None, &payment);
                continue;
            }
            // The provider learns of it weeks later: it is read by that time, and counted when it happened.
            5 => {
                for learnt in ["createdAt", "updatedAt"] {
                    (sale[learnt], payment[learnt]) =
                        ("2025-11-28T09:00:00Z".into(), "2025-11-28T09:00:00Z".into());
                }
            }
            _ => {
                negate(&mut sale, &["/price"]);
                negate(&mut payment, &["/price"]);
            }
        }
        put("revenue_transactions", None, &sale);
        put("payment_transactions", None, &payment);
    }
    let named = |resource: &str, id: i64, name: &str, parent: Option<&str>| {
        let mut record = served(sandbox, "smartnow", resource, None)
            .into_iter()
            .find(|r| r["id"] == id)
            .unwrap();
        record["name"] = name.into();
        put(resource, parent, &record);
    };
    named("locations", 3, "Kantoor Zuid II", None);
    named("products", 8002, "Kaffee riesig", Some("80"));
}

fn bemo(sandbox: &Sandbox) {
    for account in sandbox.accounts() {
        let sessions = served(sandbox, "bemo", "sessions", Some(&account));
        for (number, mut session) in sessions.into_iter().step_by(40).enumerate() {
            session["sessionId"] = fresh(&session["sessionId"], number);
            match number % 4 {
                0 => session["sessionEndDate"] = Value::Null,
                1 => session["transactions"][0]["currencyKey"] = Value::Null,
                2 => session["transactions"] = json!([]),
                _ => session["transactions"]
                    .as_array_mut()
                    .unwrap()
                    .iter_mut()
                    .for_each(|bought| {
                        negate(bought, &["/totalAmount", "/quantity"]);
                    }),
            }
            sandbox
                .put_in("bemo", "sessions", Some(&account), &session.to_string())
                .unwrap();
        }
    }
}

fn pace(sandbox: &Sandbox) {
    for partner in sandbox.partners() {
        let transactions = served(sandbox, "pace", "transactions", Some(&partner));
        for (number, mut record) in transactions.into_iter().step_by(90).enumerate() {
            record["id"] = fresh(&record["id"], number);
            let attributes = &mut record["attributes"];
            match number % 3 {
                0 => attributes["error"] = "declined by the bank".into(),
                1 => {
                    for price in ["priceIncludingVAT", "priceWithoutVAT"] {
                        attributes[price] = 0.into();
                    }
                    attributes["VAT"]["amount"] = 0.into();
                }
                _ => negate(
                    attributes,
                    &["/priceIncludingVAT", "/priceWithoutVAT", "/VAT/amount"],
                ),
            }
            sandbox
                .put_in("pace", "transactions", Some(&partner), &record.to_string())
                .unwrap();
        }
    }
}
