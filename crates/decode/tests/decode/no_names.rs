//! Identifiers that name nothing, in the shipped contracts: of records, of records within them, of what they refer to; and currencies.
//!
//! Invariant: what names nothing is as good as absent, wherever it stands: no two things become one by it, and no amount is lost.

use crate::fixture::{column, spec, strings};
use crate::row_json::rows;
use crate::sources::shipped;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use tillhouse_decode::{DecodedPage, Decoder};
use tillhouse_model::table::{QualityRule, RuleCheck};
use tillhouse_model::{ColumnKind, ColumnSpec};

/// Texts that name nothing in whatever source.
const NOTHING: [&str; 14] = [
    "",
    " \u{a0}",
    "null",
    "NULL ",
    "(null)",
    "\"null\"",
    "undefined",
    "None",
    "nil",
    "N/A",
    "-",
    "\u{2014}",
    "[object Object]",
    "00000000-0000-0000-0000-000000000000",
];

/// Zeros: they name nothing where ids are UUIDs or counted from 1.
fn zeros() -> [Value; 4] {
    [json!(0), json!("0"), json!(" 00 "), json!("0.0")]
}

fn nothing_or_zero() -> Vec<Value> {
    let words = NOTHING.iter().map(|word| json!(word));
    words.chain(zeros()).collect()
}

/// Decoders of the shipped contracts, each compiled once.
static DECODERS: LazyLock<Mutex<HashMap<String, Decoder>>> = LazyLock::new(Mutex::default);

fn page(table: &str, records: &[Value]) -> DecodedPage {
    let decoder = DECODERS
        .lock()
        .unwrap()
        .entry(table.to_owned())
        .or_insert_with(|| shipped(table))
        .clone();
    let page = Value::from(records.to_vec()).to_string();
    decoder
        .decode_scoped(page.as_bytes(), &[], Some("scope"))
        .unwrap()
}

/// Number of the page's warnings that an element of a list was left out.
fn left_out(decoded: &DecodedPage) -> usize {
    let rules = decoded.warnings.iter().map(|warning| &warning.rule);
    rules.filter(|rule| rule.ends_with("_id_unique")).count()
}

/// The only row of a page of one record.
fn row(table: &str, record: &Value) -> Value {
    let decoded = page(table, std::slice::from_ref(record));
    assert_eq!(decoded.rejects, [], "{record}");
    serde_json::from_str(&rows(&decoded.batch)[0]).unwrap()
}

#[test]
fn a_record_whose_id_names_nothing_is_rejected() {
    for (table, id) in [
        ("hecone/transactions.yaml", "id"),
        ("bemo/sessions.yaml", "sessionId"),
        ("pace/transactions.yaml", "id"),
        ("smartnow/vouchers.yaml", "id"),
    ] {
        for nothing in NOTHING.map(|word| json!(word)) {
            let decoded = page(table, &[json!({ id: nothing })]);
            assert_eq!(decoded.rejects.len(), 1, "{table} {nothing}");
            let reject = &decoded.rejects[0];
            assert_eq!(
                (reject.field.as_str(), &reject.key),
                (id, &None),
                "{table} {nothing}"
            );
            assert_eq!(reject.reason, "missing required field", "{table} {nothing}");
        }
        // One record called 0 is one like any other.
        for name in [
            "00000000-0000-0000-0000-000000000001",
            "0",
            "0-0",
            "0a",
            "nullable",
        ] {
            assert_eq!(
                page(table, &[json!({ id: name })]).rejects,
                [],
                "{table} {name}"
            );
        }
    }
}

#[test]
fn payments_and_articles_whose_ids_name_nothing_stay_two() {
    for list in ["payments", "articles"] {
        for nothing in nothing_or_zero() {
            let record = json!({ "id": "s", list: [
                { "id": nothing, "amount": 4, "currency": "EUR" },
                { "id": nothing, "amount": 6, "currency": "EUR" },
                { "amount": 6, "currency": "EUR" },
            ] });
            let decoded = page("hecone/transactions.yaml", &[record]);
            assert_eq!(
                (decoded.rejects.len(), left_out(&decoded)),
                (0, 0),
                "{list} {nothing}"
            );
            let row: Value = serde_json::from_str(&rows(&decoded.batch)[0]).unwrap();
            let elements = row[list].as_array().unwrap();
            assert_eq!(elements.len(), 3, "{list} {nothing}");
            assert!(
                elements.iter().all(|element| element.get("id").is_none()),
                "{list} {nothing}"
            );
        }
        // Of two versions of one the last counts, and that is told.
        let record = json!({ "id": "s", list: [{ "id": "p", "amount": 4 }, { "id": "p", "amount": 6 }, { "id": "q", "amount": 6 }] });
        let decoded = page("hecone/transactions.yaml", &[record]);
        assert_eq!(left_out(&decoded), 1, "{list}");
        assert_eq!(
            rows(&decoded.batch)[0].matches("\"amount\"").count(),
            2,
            "{list}"
        );
    }
}

#[test]
fn of_several_elements_called_zero_none_is_dropped_and_one_is_told_apart() {
    for kind in [ColumnKind::Int, ColumnKind::Text] {
        let element =
            ColumnKind::Struct(vec![column("no", kind), column("what", ColumnKind::Text)]);
        let list = ColumnKind::List(Box::new(column("element", element)));
        let id = ColumnSpec {
            required: true,
            ..column("id", ColumnKind::Text)
        };
        let mut contract = spec(vec![id, column("lines", list)], &["id"]);
        contract.rules.push(QualityRule {
            name: "line_unique".into(),
            path: strings(&["lines", "no"]),
            check: RuleCheck::Unique,
        });
        let decoder = crate::decoder(contract);
        let kept = |numbers: &[u8]| {
            let lines: Vec<Value> = numbers
                .iter()
                .enumerate()
                .map(|(at, no)| json!({ "no": no, "what": at.to_string() }))
                .collect();
            let page = json!([{ "id": "1", "lines": lines }]).to_string();
            let decoded = decoder.decode(page.as_bytes(), &[]).unwrap();
            let row = rows(&decoded.batch)[0].clone();
            (
                row.matches("\"what\"").count(),
                row.matches("\"no\"").count(),
            )
        };
        assert_eq!(kept(&[0, 0, 0]), (3, 3), "all of them are called zero");
        assert_eq!(kept(&[0, 1, 2]), (3, 3), "one is, and keeps its name");
        assert_eq!(kept(&[1, 1, 2]), (2, 2), "two versions of one");
    }
}

#[test]
fn references_that_name_nothing_are_absent() {
    for (field, list) in [
        ("mandator_id", None),
        ("site_id", None),
        ("point_id", None),
        ("product_id", Some("articles")),
        ("identification_id", Some("payments")),
    ] {
        for nothing in nothing_or_zero() {
            let record = match list {
                None => json!({ "id": "s", field: nothing }),
                Some(list) => json!({ "id": "s", list: [{ field: nothing, "amount": 1 }] }),
            };
            let row = row("hecone/transactions.yaml", &record);
            assert!(!row.to_string().contains(field), "{field} {nothing}: {row}");
        }
    }
    for nothing in NOTHING {
        let code = json!({ "id": "s", "device": { "name": "d", "code": nothing }, "products": [{ "id": "p", "code": nothing }] });
        let row = row("hecone/transactions.yaml", &code);
        assert!(!row.to_string().contains("code"), "{nothing}: {row}");
        let session = json!({ "sessionId": "s", "placeId": nothing, "placeNetwork": nothing, "vehicleId": nothing,
            "transactions": [{ "productCode": nothing, "productFamily": nothing, "totalAmount": 1, "currencyKey": "EUR" }] });
        let row = self::row("bemo/sessions.yaml", &session);
        for field in [
            "place_id",
            "place_network",
            "vehicle_id",
            "product_code",
            "product_family",
        ] {
            assert!(!row.to_string().contains(field), "{field} {nothing}: {row}");
        }
        let sale = json!({ "id": "s", "attributes": { "currency": "EUR", "priceIncludingVAT": 1, "paymentMethodId": nothing, "error": nothing,
            "fuel": { "type": nothing, "productName": nothing, "amount": 1 },
            "location": { "brand": nothing, "brandId": nothing, "address": { "street": nothing, "houseNo": nothing, "postalCode": nothing,
                "city": nothing, "countryCode": nothing } },
            "discountTokens": [{ "id": nothing, "amount": 1 }] } });
        let row = self::row("pace/transactions.yaml", &sale);
        for field in [
            "payment_method_id",
            "error",
            "type",
            "product_name",
            "brand",
            "street",
            "house_no",
            "postal_code",
            "city",
            "country_code",
        ] {
            assert!(!row.to_string().contains(field), "{field} {nothing}: {row}");
        }
        let discount = &row["attributes"]["discount_tokens"][0];
        assert!(
            discount["amount"].is_number() && discount["id"].is_null(),
            "{nothing}: {row}"
        );
        let sale = json!({ "id": 1, "machine": nothing, "location": nothing, "product": nothing, "internalRef": nothing });
        let row = self::row("smartnow/revenue_transactions.yaml", &sale);
        for field in ["machine", "location", "product", "internal_ref"] {
            assert!(!row.to_string().contains(field), "{field} {nothing}: {row}");
        }
    }
}

#[test]
fn an_identifier_has_one_spelling_wherever_it_stands() {
    const UUID: &str = "3f2504e0-4f89-11d3-9a0c-0305e82c3301";
    let upper = UUID.to_uppercase();
    for id in [
        UUID.to_owned(),
        upper.clone(),
        format!("{{{upper}}}"),
        format!("urn:uuid:{UUID}"),
        format!(" {upper}\t"),
    ] {
        let id = json!(id);
        let hecone = json!({ "id": id, "mandator_id": id, "site_id": id, "point_id": id, "session_id": id, "device": { "code": id },
            "articles": [{ "id": id, "product_id": id }], "payments": [{ "id": id, "identification_id": id, "amount": 1 }],
            "products": [{ "id": id }] });
        let bemo = json!({ "sessionId": id, "vehicleId": id, "placeId": id, "transactions": [{ "productCode": id, "totalAmount": 1 }] });
        let pace = json!({ "id": id, "attributes": { "paymentMethodId": id, "location": { "brandId": id },
            "discountTokens": [{ "id": id, "amount": 1 }] } });
        for (table, record, identifiers) in [
            ("hecone/transactions.yaml", hecone, 11),
            ("bemo/sessions.yaml", bemo, 4),
            ("pace/transactions.yaml", pace, 4),
            ("smartnow/vouchers.yaml", json!({ "id": id }), 1),
            (
                "smartnow/voucher_logs.yaml",
                json!({ "id": 7, "voucher": id }),
                1,
            ),
        ] {
            let row = row(table, &record).to_string();
            assert_eq!(
                row.matches(UUID).count(),
                identifiers,
                "{table} {id}: {row}"
            );
        }
    }
    // A number is its digits, and two spellings of one element are one.
    for (payments, kept) in [
        (
            json!([{ "id": 7, "amount": 1 }, { "id": "7", "amount": 2 }, { "id": "７", "amount": 3 }]),
            1,
        ),
        (
            json!([{ "id": 7, "amount": 1 }, { "id": "007", "amount": 2 }]),
            2,
        ),
        (
            json!([{ "id": "a", "amount": 1 }, { "id": "A", "amount": 2 }]),
            2,
        ),
        (
            json!([{ "id": UUID, "amount": 1 }, { "id": upper, "amount": 2 }]),
            1,
        ),
    ] {
        let row = row(
            "hecone/transactions.yaml",
            &json!({ "id": "s", "payments": payments }),
        );
        assert_eq!(row["payments"].as_array().unwrap().len(), kept, "{row}");
    }
    assert_eq!(
        row("smartnow/revenue_transactions.yaml", &json!({ "id": "７" }))["id"],
        7
    );
    // A name is no identifier.
    let name = row(
        "hecone/transactions.yaml",
        &json!({ "id": "s", "site": { "name": upper } }),
    );
    assert_eq!(name["site"]["name"], json!(upper));
}

#[test]
fn zero_is_a_name_where_the_source_has_such() {
    let row = row(
        "hecone/transactions.yaml",
        &json!({ "id": "s", "device": { "code": "0" }, "point": { "number": 0 } }),
    );
    assert_eq!(
        (&row["device"]["code"], &row["point"]["number"]),
        (&json!("0"), &json!(0))
    );
    let session =
        json!({ "sessionId": "s", "placeId": "0", "transactions": [{ "productCode": 0 }] });
    let row = self::row("bemo/sessions.yaml", &session);
    assert_eq!(row["place_id"], "0");
    assert_eq!(row["transactions"][0]["product_code"], "0");
    let row = self::row(
        "pace/transactions.yaml",
        &json!({ "id": "s", "attributes": { "fuel": { "pumpNumber": 0 }, "location": { "address": { "houseNo": "0" } } } }),
    );
    assert_eq!(row["attributes"]["fuel"]["pump_number"], 0);
    assert_eq!(row["attributes"]["location"]["address"]["house_no"], "0");
    // The number of a product at the machine's keypad.
    let row = self::row(
        "smartnow/revenue_transactions.yaml",
        &json!({ "id": 1, "product": 0 }),
    );
    assert_eq!(row["product"], 0);
}

#[test]
fn a_currency_that_names_nothing_is_none() {
    for nothing in NOTHING {
        for (table, record, currency) in [
            (
                "hecone/transactions.yaml",
                json!({ "id": "s", "invoice": { "currency": nothing }, "articles": [{ "currency": nothing }],
                    "payments": [{ "currency": nothing, "amount": 1 }] }),
                "currency",
            ),
            (
                "bemo/sessions.yaml",
                json!({ "sessionId": "s", "transactions": [{ "totalAmount": 1, "currencyKey": nothing }] }),
                "currency_key",
            ),
            (
                "pace/transactions.yaml",
                json!({ "id": "s", "attributes": { "priceIncludingVAT": 1, "currency": nothing } }),
                "currency",
            ),
            (
                "smartnow/revenue_transactions.yaml",
                json!({ "id": 1, "price": 100, "currency": nothing }),
                "currency",
            ),
            (
                "smartnow/payment_transactions.yaml",
                json!({ "id": 1, "price": 100, "currency": nothing }),
                "currency",
            ),
        ] {
            let row = row(table, &record);
            assert!(
                !row.to_string().contains(currency),
                "{table} {nothing}: {row}"
            );
            let rules = |record: &Value| -> Vec<String> {
                let decoded = page(table, std::slice::from_ref(record));
                decoded.warnings.iter().map(|w| w.rule.clone()).collect()
            };
            let absent = record
                .to_string()
                .replace(&json!(nothing).to_string(), "null");
            let absent = serde_json::from_str(&absent).unwrap();
            assert_eq!(rules(&record), rules(&absent), "{table} {nothing}");
        }
    }
    // A currency that nobody knows is one of its own all the same.
    let sale = row(
        "pace/transactions.yaml",
        &json!({ "id": "s", "attributes": { "currency": "btc" } }),
    );
    assert_eq!(sale["attributes"]["currency"], "BTC");
    for real in ["USD", "NOK", "NAD", "UAH", "OMR"] {
        let sale = row(
            "pace/transactions.yaml",
            &json!({ "id": "s", "attributes": { "currency": real } }),
        );
        assert_eq!(sale["attributes"]["currency"], real);
    }
}

#[test]
fn nobody_is_called_null() {
    for nothing in NOTHING {
        let record = json!({ "id": "s", "client": { "id": nothing }, "customer_data": { "license_plate": nothing, "driver_number": nothing },
            "payments": [{ "card_id": nothing, "amount": 1 }] });
        let row = row("hecone/transactions.yaml", &record).to_string();
        for field in [
            "license_plate",
            "driver_number",
            "card_id",
            "\"client\":{\"id\"",
        ] {
            assert!(!row.contains(field), "{field} {nothing}: {row}");
        }
    }
}

#[test]
fn names_and_words_that_name_nothing_are_absent() {
    for nothing in NOTHING {
        for (table, record, fields) in [
            (
                "hecone/transactions.yaml",
                json!({ "id": "s", "state": nothing, "site": { "name": nothing, "code": nothing, "street": nothing, "city": nothing },
                    "point": { "name": nothing, "number": nothing }, "device": { "name": nothing },
                    "articles": [{ "name": nothing, "amount": 1 }],
                    "payments": [{ "type": nothing, "medium": nothing, "scheme": nothing, "state": nothing, "amount": 1 }] }),
                &[
                    "name", "state", "code", "street", "city", "number", "type", "medium", "scheme",
                ][..],
            ),
            (
                "bemo/sessions.yaml",
                json!({ "sessionId": "s", "placeName": nothing, "address": nothing, "cityKey": nothing, "zipCode": nothing, "countryCode": nothing }),
                &[
                    "place_name",
                    "address",
                    "city_key",
                    "zip_code",
                    "country_code",
                ][..],
            ),
            (
                "pace/transactions.yaml",
                json!({ "id": "s", "attributes": { "paymentMethodKind": nothing, "fuel": { "pumpNumber": nothing },
                    "location": { "stationName": nothing } } }),
                &["payment_method_kind", "pump_number", "station_name"][..],
            ),
            (
                "smartnow/locations.yaml",
                json!({ "id": 1, "name": nothing, "address": nothing, "postcode": nothing, "city": nothing, "country": nothing }),
                &["name", "address", "postcode", "city", "country"][..],
            ),
            (
                "smartnow/machines.yaml",
                json!({ "id": 1, "name": nothing, "hostname": nothing, "tag": nothing }),
                &["name", "tag"][..],
            ),
            (
                "smartnow/products.yaml",
                json!({ "id": 1, "name": nothing, "barcode": nothing, "reportName": nothing }),
                &["name", "barcode"][..],
            ),
            (
                "smartnow/payment_transactions.yaml",
                json!({ "id": 1, "type": nothing, "method": nothing, "reportGroup": nothing }),
                &["type", "method", "report_group"][..],
            ),
            (
                "smartnow/revenue_transactions.yaml",
                json!({ "id": 1, "name": nothing, "barcode": nothing, "salestype": nothing, "usergroup": nothing }),
                &["name", "barcode", "salestype", "usergroup"][..],
            ),
        ] {
            let decoded = page(table, std::slice::from_ref(&record));
            assert_eq!(decoded.rejects, [], "{record}");
            let misfits = decoded.warnings.iter();
            let misfits =
                misfits.filter(|w| w.rule.starts_with("expected_") || w.rule.ends_with("_known"));
            assert_eq!(
                misfits
                    .filter(|w| w.original.is_empty() || *w.original == *nothing)
                    .count(),
                0,
                "{record}"
            );
            let row = rows(&decoded.batch)[0].clone();
            for field in fields {
                assert!(
                    !row.contains(&format!("\"{field}\"")),
                    "{field} {nothing:?}: {row}"
                );
            }
        }
    }
    // A word that only looks like one is kept, and so is what is told in sentences.
    let site =
        json!({ "id": "s", "site": { "name": "Null & Co" }, "log": [{ "description": "null" }] });
    let row = row("hecone/transactions.yaml", &site);
    assert_eq!(row["site"]["name"], "Null & Co");
    assert_eq!(row["log"][0]["description"], "null");
}
