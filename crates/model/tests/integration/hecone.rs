//! The contract of HecOne's transactions against the sample answer of its document.
//!
//! Invariant: the contract and the document name the same fields, no more and no fewer, with types that fit.

use crate::shipped;
use jiff::SignedDuration;
use serde_json::Value;
use tillhouse_model::Exact;
use tillhouse_model::money::PriceUnit;
use tillhouse_model::table::{
    Amount, Check, Class, Column, Except, Kind, Normalise, Present, Product, Role, StateRule, Sum, TimeFormat, UnitOf,
    UnknownFields,
};

/// One record of the list answer, as the API's document prints it.
const SAMPLE: &str = include_str!("hecone_transaction.json");

/// Every leaf of a sample, as `payments[].log[].code`, with the value it has there.
fn leaves<'v>(value: &'v Value, path: &str, out: &mut Vec<(String, &'v Value)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let dot = if path.is_empty() { "" } else { "." };
                leaves(value, &format!("{path}{dot}{key}"), out);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| leaves(item, &format!("{path}[]"), out)),
        leaf => out.push((path.to_owned(), leaf)),
    }
}

/// Every leaf of a contract, in the same spelling, with its column and its class, or the class of what it lies in.
fn columns<'c>(columns: &'c [Column], path: &str, class: Class, out: &mut Vec<(String, &'c Column, Class)>) {
    for column in columns {
        let dot = if path.is_empty() { "" } else { "." };
        descend(column, &format!("{path}{dot}{}", column.json_name), class, out);
    }
}

fn descend<'c>(column: &'c Column, path: &str, class: Class, out: &mut Vec<(String, &'c Column, Class)>) {
    let class = if class == Class::Open { column.class } else { class };
    match &column.kind {
        Kind::Struct(inner) => columns(inner, path, class, out),
        Kind::List(element) => descend(element, &format!("{path}[]"), class, out),
        _ => out.push((path.to_owned(), column, class)),
    }
}

#[test]
fn every_field_of_the_document_is_in_the_contract_with_a_type_that_fits_and_nothing_else_is() {
    let sample: Value = serde_json::from_str(SAMPLE).unwrap();
    let mut documented = Vec::new();
    leaves(&sample, "", &mut documented);
    let spec = shipped("hecone/transactions.yaml");
    let mut known = Vec::new();
    columns(&spec.columns, "", Class::Open, &mut known);

    let mut paths: Vec<&str> = documented.iter().map(|(path, _)| path.as_str()).collect();
    let mut have: Vec<&str> = known.iter().map(|(path, ..)| path.as_str()).collect();
    paths.sort_unstable();
    have.sort_unstable();
    assert_eq!(have, paths);
    assert_eq!(have.len(), 98);

    for (path, value) in documented {
        let (_, column, _) = known.iter().find(|(known, ..)| *known == path).unwrap();
        let fits = match (value, &column.kind) {
            (Value::String(text), Kind::Timestamp(TimeFormat::Offset)) => text.parse::<jiff::Timestamp>().is_ok(),
            (Value::String(text), Kind::Text) => text.parse::<jiff::Timestamp>().is_err(),
            (Value::Number(number), Kind::Int) => number.is_i64(),
            (Value::Number(_), Kind::Decimal { .. }) => true,
            _ => false,
        };
        assert!(fits, "{path}: {value} is no {:?}", column.kind);
    }
}

#[test]
fn what_is_secret_personal_or_dropped_is_exactly_this() {
    let spec = shipped("hecone/transactions.yaml");
    let mut all = Vec::new();
    columns(&spec.columns, "", Class::Open, &mut all);
    let mut closed: Vec<(&str, Class)> = all
        .iter()
        .filter(|(.., class)| *class != Class::Open)
        .map(|(path, _, class)| (path.as_str(), *class))
        .collect();
    closed.sort_unstable_by_key(|(path, _)| *path);
    let pseudonym = Class::Pseudonym;
    assert_eq!(
        closed,
        [
            ("card_issuer.driver_name", pseudonym(Normalise::Text)),
            ("client.id", pseudonym(Normalise::Email)),
            ("customer_data.driver_number", pseudonym(Normalise::Text)),
            ("customer_data.license_plate", pseudonym(Normalise::Plate)),
            ("payments[].additional_card.card_id", pseudonym(Normalise::Card)),
            ("payments[].card_id", pseudonym(Normalise::Card)),
            ("payments[].fiscal_receipt[]", Class::Dropped),
            ("payments[].pin", Class::Secret),
            ("payments[].qr_code", Class::Secret),
            ("payments[].terminal_receipt[]", Class::Dropped),
            ("receipt.email", pseudonym(Normalise::Email)),
            ("receipt.links.customer_url", Class::Secret),
        ]
    );
    let stored = format!("{:?}", spec.source_schema());
    for never in ["pin", "qr_code", "links", "customer_url", "terminal_receipt", "fiscal_receipt"] {
        assert!(!stored.contains(&format!("\"{never}\"")), "{never} has a column");
    }
}

#[test]
fn the_table_is_keyed_timed_and_checked_as_designed() {
    let spec = shipped("hecone/transactions.yaml");
    assert_eq!((spec.source.as_str(), spec.name.as_str(), spec.role), ("hecone", "transactions", Role::Source));
    assert_eq!(spec.key, ["id"]);
    assert_eq!(spec.partition_by, ["month"]);
    assert_eq!(spec.moves_within, SignedDuration::from_hours(45 * 24));
    assert_eq!(spec.unknown, UnknownFields::Count);
    assert_eq!(spec.updated_at, None);
    let times: Vec<String> = spec.record_time.iter().map(|path| path.join(".")).collect();
    assert_eq!(times, ["invoice.created_at", "articles.start_time", "payments.created_at"]);

    let mut required = Vec::new();
    let mut all = Vec::new();
    columns(&spec.columns, "", Class::Open, &mut all);
    required.extend(all.iter().filter(|(_, column, _)| column.required).map(|(path, ..)| path.as_str()));
    assert_eq!(required, ["id"], "a transaction that is still going on has little else");

    let rules: Vec<(&str, String, &Check)> =
        spec.rules.iter().map(|r| (r.name.as_str(), r.path.join("."), &r.check)).collect();
    let words = |list: &[&str]| Check::OneOf(list.iter().map(|w| (*w).to_owned()).collect());
    let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let within = Exact::new(1, 2);
    let sum = |of: &str| {
        let except = Except { path: path("articles.state"), words: vec!["declined".into(), "error".into()] };
        Check::Sum(Sum { of: vec![path(of)], within, except: Some(except) })
    };
    let state = Check::State(StateRule {
        articles: path("articles.state"),
        payments: path("payments.state"),
        collected: path("payments.amount"),
        owed: path("invoice.amount"),
    });
    let product = Check::Product(Product {
        of: vec![path("articles.quantity"), path("articles.unit_price")],
        is: vec![path("articles.amount")],
        or_less: Vec::new(),
        within,
    });
    let collected = Except { path: path("payments.state"), words: vec!["collected".into()] };
    let present = Check::Present(Present { when: Some(collected) });
    let amount =
        |currency: &str| Check::Amount(Amount { currency: path(currency), unit: UnitOf::Contract(PriceUnit::Major) });
    assert_eq!(
        rules,
        [
            ("id_unique", "id".to_owned(), &Check::Unique),
            (
                "state_known",
                "state".to_owned(),
                &words(&["created", "pending", "consumed", "completed", "declined", "error"])
            ),
            ("invoice_currency_known", "invoice.currency".to_owned(), &Check::Currency),
            ("article_id_unique", "articles.id".to_owned(), &Check::Unique),
            (
                "article_state_known",
                "articles.state".to_owned(),
                &words(&["reserved", "released", "ongoing", "done", "declined", "error"])
            ),
            ("tax_percentage_not_negative", "articles.tax_percentage".to_owned(), &Check::AtLeast(0)),
            ("tax_percentage_at_most_100", "articles.tax_percentage".to_owned(), &Check::AtMost(100)),
            ("article_currency_known", "articles.currency".to_owned(), &Check::Currency),
            ("payment_id_unique", "payments.id".to_owned(), &Check::Unique),
            (
                "payment_state_known",
                "payments.state".to_owned(),
                &words(&["open", "reserved", "collected", "declined", "error"])
            ),
            ("payment_currency_known", "payments.currency".to_owned(), &Check::Currency),
            ("site_timezone_known", "site.timezone".to_owned(), &Check::TimeZone),
            ("state_follows", "state".to_owned(), &state),
            ("articles_add_up", "invoice.amount".to_owned(), &sum("articles.amount")),
            ("taxes_add_up", "invoice.tax_amount".to_owned(), &sum("articles.tax_amount")),
            ("article_multiplies", "articles.amount".to_owned(), &product),
            ("payment_amount_known", "payments.amount".to_owned(), &present),
            ("invoice_amount_fits", "invoice.amount".to_owned(), &amount("invoice.currency")),
            ("article_amount_fits", "articles.amount".to_owned(), &amount("articles.currency")),
            ("payment_amount_fits", "payments.amount".to_owned(), &amount("payments.currency")),
        ]
    );
}

#[test]
fn money_and_quantities_have_the_scales_of_the_house() {
    let spec = shipped("hecone/transactions.yaml");
    let mut all = Vec::new();
    columns(&spec.columns, "", Class::Open, &mut all);
    for (path, column, _) in all {
        let Kind::Decimal { precision, scale } = column.kind else { continue };
        let expected = match column.name.as_str() {
            "quantity" | "free_quantity" | "max_quantity" | "unit_price" => (18, 6),
            "tax_percentage" => (9, 4),
            "odometer" => (18, 3),
            _ => (18, 4),
        };
        assert_eq!((precision, scale), expected, "{path}");
    }
}
