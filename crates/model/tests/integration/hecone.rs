//! The contract of HecOne's transactions against the sample answer of its document.
//!
//! Invariant: the contract and the document name the same fields, no more and no fewer, with types that fit.

use crate::shipped;
use jiff::SignedDuration;
use serde_json::Value;
use tillhouse_model::money::{PriceUnit, VatRateUnit};
use tillhouse_model::table::{
    AmountRule, ColumnClass, ColumnKind, ColumnSpec, ElementFilter, PresenceRule, PriceUnitSource,
    ProductRule, RateUnitSource, RuleCheck, StateCurrencies, StateRule, SumRule, TableRole,
    TaxRule, TimeFormat, UnknownFields, ValueNormalisation,
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
        Value::Array(items) => items
            .iter()
            .for_each(|item| leaves(item, &format!("{path}[]"), out)),
        leaf => out.push((path.to_owned(), leaf)),
    }
}

/// Every leaf of a contract, in the same spelling, with its column and its class, or the class of what it lies in.
fn columns<'c>(
    columns: &'c [ColumnSpec],
    path: &str,
    class: ColumnClass,
    out: &mut Vec<(String, &'c ColumnSpec, ColumnClass)>,
) {
    for column in columns {
        let dot = if path.is_empty() { "" } else { "." };
        descend(
            column,
            &format!("{path}{dot}{}", column.json_name),
            class,
            out,
        );
    }
}

fn descend<'c>(
    column: &'c ColumnSpec,
    path: &str,
    class: ColumnClass,
    out: &mut Vec<(String, &'c ColumnSpec, ColumnClass)>,
) {
    let class = if class == ColumnClass::Open {
        column.class
    } else {
        class
    };
    match &column.kind {
        ColumnKind::Struct(inner) => columns(inner, path, class, out),
        ColumnKind::List(element) => descend(element, &format!("{path}[]"), class, out),
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
    columns(&spec.columns, "", ColumnClass::Open, &mut known);

    let mut paths: Vec<&str> = documented.iter().map(|(path, _)| path.as_str()).collect();
    let mut have: Vec<&str> = known.iter().map(|(path, ..)| path.as_str()).collect();
    paths.sort_unstable();
    have.sort_unstable();
    assert_eq!(have, paths);
    assert_eq!(have.len(), 98);

    for (path, value) in documented {
        let (_, column, _) = known.iter().find(|(known, ..)| *known == path).unwrap();
        let fits = match (value, &column.kind) {
            (Value::String(text), ColumnKind::Timestamp(TimeFormat::Offset)) => {
                text.parse::<jiff::Timestamp>().is_ok()
            }
            (Value::String(text), ColumnKind::Text) => text.parse::<jiff::Timestamp>().is_err(),
            (Value::Number(number), ColumnKind::Int) => number.is_i64(),
            (Value::Number(_), ColumnKind::Decimal { .. }) => true,
            _ => false,
        };
        assert!(fits, "{path}: {value} is no {:?}", column.kind);
    }
}

#[test]
fn what_is_secret_personal_or_dropped_is_exactly_this() {
    let spec = shipped("hecone/transactions.yaml");
    let mut all = Vec::new();
    columns(&spec.columns, "", ColumnClass::Open, &mut all);
    let mut closed: Vec<(&str, ColumnClass)> = all
        .iter()
        .filter(|(.., class)| *class != ColumnClass::Open)
        .map(|(path, _, class)| (path.as_str(), *class))
        .collect();
    closed.sort_unstable_by_key(|(path, _)| *path);
    let pseudonym = ColumnClass::Pseudonym;
    assert_eq!(
        closed,
        [
            (
                "card_issuer.driver_name",
                pseudonym(ValueNormalisation::Text)
            ),
            ("client.id", pseudonym(ValueNormalisation::Email)),
            (
                "customer_data.driver_number",
                pseudonym(ValueNormalisation::Text)
            ),
            (
                "customer_data.license_plate",
                pseudonym(ValueNormalisation::Plate)
            ),
            (
                "payments[].additional_card.card_id",
                pseudonym(ValueNormalisation::Card)
            ),
            ("payments[].card_id", pseudonym(ValueNormalisation::Card)),
            ("payments[].fiscal_receipt[]", ColumnClass::Dropped),
            ("payments[].pin", ColumnClass::Secret),
            ("payments[].qr_code", ColumnClass::Secret),
            ("payments[].terminal_receipt[]", ColumnClass::Dropped),
            ("receipt.email", pseudonym(ValueNormalisation::Email)),
            ("receipt.links.customer_url", ColumnClass::Secret),
        ]
    );
    let stored = format!("{:?}", spec.source_schema());
    for never in [
        "pin",
        "qr_code",
        "links",
        "customer_url",
        "terminal_receipt",
        "fiscal_receipt",
    ] {
        assert!(
            !stored.contains(&format!("\"{never}\"")),
            "{never} has a column"
        );
    }
}

#[test]
fn the_table_is_keyed_timed_and_checked_as_designed() {
    let spec = shipped("hecone/transactions.yaml");
    assert_eq!(
        (spec.source.as_str(), spec.name.as_str(), spec.role),
        ("hecone", "transactions", TableRole::Source)
    );
    assert_eq!(spec.key, ["id"]);
    assert_eq!(spec.partition_by, ["month"]);
    assert_eq!(spec.moves_within, SignedDuration::from_hours(45 * 24));
    assert_eq!(spec.unknown, UnknownFields::Count);
    assert_eq!(spec.updated_at, None);
    let times: Vec<String> = spec.record_time.iter().map(|path| path.join(".")).collect();
    assert_eq!(
        times,
        [
            "invoice.created_at",
            "articles.start_time",
            "payments.created_at"
        ]
    );

    let mut required = Vec::new();
    let mut all = Vec::new();
    columns(&spec.columns, "", ColumnClass::Open, &mut all);
    required.extend(
        all.iter()
            .filter(|(_, column, _)| column.required)
            .map(|(path, ..)| path.as_str()),
    );
    assert_eq!(
        required,
        ["id"],
        "a transaction that is still going on has little else"
    );

    let rules: Vec<(&str, String, &RuleCheck)> = spec
        .rules
        .iter()
        .map(|r| (r.name.as_str(), r.path.join("."), &r.check))
        .collect();
    let words = |list: &[&str]| RuleCheck::OneOf(list.iter().map(|w| (*w).to_owned()).collect());
    let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let sum = |of: &str, direction: Option<&str>| {
        let except = ElementFilter {
            path: path("articles.state"),
            words: vec!["declined".into(), "error".into()],
        };
        RuleCheck::Sum(SumRule {
            of: vec![path(of)],
            except: Some(except),
            only: None,
            currency: vec![path("invoice.currency")],
            direction: direction.map(path),
            of_currency: Some(path("articles.currency")),
        })
    };
    let state = RuleCheck::State(StateRule {
        articles: path("articles.state"),
        payments: path("payments.state"),
        collected: path("payments.amount"),
        owed: path("invoice.amount"),
        currencies: Some(StateCurrencies {
            collected: path("payments.currency"),
            owed: vec![path("invoice.currency"), path("articles.currency")],
        }),
    });
    let product = RuleCheck::Product(ProductRule {
        of: vec![path("articles.quantity"), path("articles.unit_price")],
        is: vec![path("articles.amount")],
        or_less: Vec::new(),
        currency: vec![path("articles.currency"), path("invoice.currency")],
    });
    let tax = RuleCheck::Tax(TaxRule {
        of: path("articles.amount"),
        rate: path("articles.tax_percentage"),
        currency: vec![path("articles.currency"), path("invoice.currency")],
        unit: Some(RateUnitSource::Contract(VatRateUnit::Percent)),
    });
    let collected = ElementFilter {
        path: path("payments.state"),
        words: vec!["collected".into()],
    };
    let paid = RuleCheck::Sum(SumRule {
        of: vec![path("payments.amount")],
        except: None,
        only: Some(collected.clone()),
        currency: vec![path("invoice.currency")],
        direction: Some(path("invoice.amount")),
        of_currency: Some(path("payments.currency")),
    });
    let present = RuleCheck::Present(PresenceRule {
        when: Some(collected),
        ..PresenceRule::default()
    });
    let over = ElementFilter {
        path: path("state"),
        words: vec!["consumed".into(), "completed".into()],
    };
    let invoiced = RuleCheck::Present(PresenceRule {
        when: Some(over),
        ..PresenceRule::default()
    });
    let times = [
        "invoice.created_at",
        "articles.start_time",
        "payments.created_at",
    ];
    let time_given = RuleCheck::Present(PresenceRule {
        or: times[1..].iter().map(|named| path(named)).collect(),
        otherwise: Some("it has no time and is of no day".into()),
        ..PresenceRule::default()
    });
    let zone_given = RuleCheck::Present(PresenceRule {
        with: times.iter().map(|named| path(named)).collect(),
        otherwise: Some("the day and hour are those of UTC".into()),
        ..PresenceRule::default()
    });
    let state_given = RuleCheck::Present(PresenceRule {
        otherwise: Some(
            "the state that follows from its articles and payments counts, if one does".into(),
        ),
        ..PresenceRule::default()
    });
    let payment_state_given = RuleCheck::Present(PresenceRule {
        otherwise: Some("it does not count as collected".into()),
        ..PresenceRule::default()
    });
    let amount = |currency: &[&str], elsewhere: Option<&str>| {
        RuleCheck::Amount(AmountRule {
            currency: currency.iter().map(|named| path(named)).collect(),
            guess: vec![path("articles.currency"), path("payments.currency")],
            currency_elsewhere: elsewhere.map(path),
            unit: PriceUnitSource::Contract(PriceUnit::Major),
        })
    };
    assert_eq!(
        rules,
        [
            ("id_unique", "id".to_owned(), &RuleCheck::Unique),
            (
                "state_known",
                "state".to_owned(),
                &words(&[
                    "created",
                    "pending",
                    "consumed",
                    "completed",
                    "declined",
                    "error"
                ])
            ),
            (
                "invoice_currency_known",
                "invoice.currency".to_owned(),
                &RuleCheck::Currency
            ),
            (
                "article_id_unique",
                "articles.id".to_owned(),
                &RuleCheck::Unique
            ),
            (
                "article_state_known",
                "articles.state".to_owned(),
                &words(&[
                    "reserved", "released", "ongoing", "done", "declined", "error"
                ])
            ),
            (
                "tax_percentage_not_negative",
                "articles.tax_percentage".to_owned(),
                &RuleCheck::AtLeast(0)
            ),
            (
                "tax_percentage_at_most_100",
                "articles.tax_percentage".to_owned(),
                &RuleCheck::AtMost(100)
            ),
            (
                "article_currency_known",
                "articles.currency".to_owned(),
                &RuleCheck::Currency
            ),
            (
                "payment_id_unique",
                "payments.id".to_owned(),
                &RuleCheck::Unique
            ),
            (
                "payment_state_known",
                "payments.state".to_owned(),
                &words(&["open", "reserved", "collected", "declined", "error"])
            ),
            (
                "payment_currency_known",
                "payments.currency".to_owned(),
                &RuleCheck::Currency
            ),
            (
                "site_timezone_known",
                "site.timezone".to_owned(),
                &RuleCheck::TimeZone
            ),
            ("state_follows", "state".to_owned(), &state),
            (
                "articles_add_up",
                "invoice.amount".to_owned(),
                &sum("articles.amount", None)
            ),
            (
                "taxes_add_up",
                "invoice.tax_amount".to_owned(),
                &sum("articles.tax_amount", Some("invoice.amount"))
            ),
            (
                "paid_amount_adds_up",
                "invoice.paid_amount".to_owned(),
                &paid
            ),
            ("article_multiplies", "articles.amount".to_owned(), &product),
            ("article_tax_fits", "articles.tax_amount".to_owned(), &tax),
            (
                "payment_amount_known",
                "payments.amount".to_owned(),
                &present
            ),
            (
                "invoice_amount_known",
                "invoice.amount".to_owned(),
                &invoiced
            ),
            (
                "payment_state_given",
                "payments.state".to_owned(),
                &payment_state_given
            ),
            ("state_given", "state".to_owned(), &state_given),
            ("time_given", "invoice.created_at".to_owned(), &time_given),
            (
                "site_timezone_given",
                "site.timezone".to_owned(),
                &zone_given
            ),
            (
                "invoice_amount_fits",
                "invoice.amount".to_owned(),
                &amount(&["invoice.currency"], None)
            ),
            (
                "article_amount_fits",
                "articles.amount".to_owned(),
                &amount(
                    &["articles.currency", "invoice.currency"],
                    Some("invoice.amount")
                )
            ),
            (
                "payment_amount_fits",
                "payments.amount".to_owned(),
                &amount(
                    &["payments.currency", "invoice.currency"],
                    Some("invoice.amount")
                )
            ),
        ]
    );
}

#[test]
fn money_and_quantities_have_the_scales_of_the_house() {
    let spec = shipped("hecone/transactions.yaml");
    let mut all = Vec::new();
    columns(&spec.columns, "", ColumnClass::Open, &mut all);
    for (path, column, _) in all {
        let ColumnKind::Decimal { precision, scale } = column.kind else {
            continue;
        };
        let expected = match column.name.as_str() {
            "quantity" | "free_quantity" | "max_quantity" | "unit_price" => (18, 6),
            "tax_percentage" => (9, 4),
            "odometer" => (18, 3),
            _ => (18, 4),
        };
        assert_eq!((precision, scale), expected, "{path}");
    }
}
