//! A small contract with one of everything, for tests.
//!
//! Invariant: every kind, class and rule that decode knows occurs in it.

// Shared by the crate's own tests and the integration binary, which each use a part of it.
#![allow(dead_code, clippy::unwrap_used)]

use jiff::SignedDuration;
use std::collections::BTreeMap;
use tillhouse_model::money::PriceUnit;
use tillhouse_model::table::{
    Amount, Check, Except, LocalTime, Normalise, Product, Role, Rule, StateRule, Sum, UnitOf, UnknownFields,
};
use tillhouse_model::{Class, Column, Exact, Kind, PseudonymKey, Secret, TableSpec, TimeFormat};

pub(crate) fn column(name: &str, kind: Kind) -> Column {
    Column {
        name: name.to_owned(),
        json_name: name.to_owned(),
        kind,
        required: false,
        class: Class::Open,
        restricted: false,
        on_misfit: None,
        blank_is_none: false,
        description: String::new(),
    }
}

fn classed(name: &str, class: Class) -> Column {
    Column { class, ..column(name, Kind::Text) }
}

fn list(name: &str, of: Kind) -> Column {
    column(name, Kind::List(Box::new(column("element", of))))
}

fn strings(path: &[&str]) -> Vec<String> {
    path.iter().map(|s| (*s).to_owned()).collect()
}

pub(crate) fn spec(columns: Vec<Column>, key: &[&str]) -> TableSpec {
    TableSpec {
        source: "shop".into(),
        name: "sales".into(),
        description: String::new(),
        role: Role::Source,
        columns,
        key: strings(key),
        record_time: Vec::new(),
        updated_at: None,
        moves_within: SignedDuration::from_hours(24 * 45),
        partition_by: Vec::new(),
        unknown: UnknownFields::Count,
        rules: Vec::new(),
    }
}

pub(crate) const MONEY: Kind = Kind::Decimal { precision: 18, scale: 4 };

pub(crate) fn sales() -> TableSpec {
    let time = || Kind::Timestamp(TimeFormat::Offset);
    let articles = Kind::Struct(vec![
        Column { required: true, ..column("name", Kind::Text) },
        column("amount", MONEY),
        column("start_time", time()),
        column("currency", Kind::Text),
        classed("pin", Class::Secret),
        list("log", Kind::Struct(vec![column("code", Kind::Int), column("note", Kind::Text)])),
    ]);
    let invoice = Kind::Struct(vec![column("amount", MONEY), column("created_at", time())]);
    let columns = vec![
        Column { required: true, ..column("id", Kind::Text) },
        Column { json_name: "zähler".into(), ..column("counter", Kind::Int) },
        column("paid", Kind::Bool),
        column("invoice", invoice),
        list("articles", articles),
        list("tags", Kind::Text),
        column("day", Kind::Date),
        column("local", Kind::Timestamp(TimeFormat::Zone("Europe/Berlin".into()))),
        column("seconds", Kind::Timestamp(TimeFormat::EpochSeconds)),
        column("millis", Kind::Timestamp(TimeFormat::EpochMillis)),
        column("updated_at", time()),
        classed("license_plate", Class::Pseudonym(Normalise::Plate)),
        classed("card", Class::LastFour),
        classed("pin", Class::Secret),
        classed("driver", Class::Dropped),
        column("timezone", Kind::Text),
        column("state", Kind::Text),
        column("tip", Kind::Int),
        column("clock", Kind::Text),
        column("continent", Kind::Text),
    ];
    let sum = Sum {
        of: vec![strings(&["articles", "amount"]), strings(&["tip"])],
        within: Exact::new(1, 2),
        except: Some(Except { path: strings(&["articles", "name"]), words: strings(&["void"]) }),
    };
    let product = Product {
        of: vec![strings(&["counter"]), strings(&["tip"])],
        is: vec![strings(&["invoice", "amount"])],
        or_less: Vec::new(),
        within: Exact::new(0, 0),
    };
    let state = StateRule {
        articles: strings(&["tags"]),
        payments: strings(&["articles", "name"]),
        collected: strings(&["articles", "amount"]),
        owed: strings(&["invoice", "amount"]),
    };
    let zones = BTreeMap::from([("Europe".to_owned(), vec!["Europe/Berlin".to_owned(), "Europe/London".to_owned()])]);
    let clock = LocalTime { of: strings(&["updated_at"]), zone_by: Some(strings(&["continent"])), zones };
    let tip = Amount { currency: strings(&["continent"]), unit: UnitOf::Contract(PriceUnit::Major) };
    let rule = |name: &str, path: &[&str], check| Rule { name: name.into(), path: strings(path), check };
    TableSpec {
        record_time: vec![strings(&["invoice", "created_at"]), strings(&["articles", "start_time"])],
        updated_at: Some(strings(&["updated_at"])),
        rules: vec![
            rule("known_state", &["state"], Check::OneOf(strings(&["open", "done"]))),
            rule("real_currency", &["articles", "currency"], Check::Currency),
            rule("real_zone", &["timezone"], Check::TimeZone),
            rule("not_negative", &["invoice", "amount"], Check::AtLeast(0)),
            rule("counted", &["counter"], Check::AtLeast(1)),
            rule("unique", &["id"], Check::Unique),
            rule("adds_up", &["invoice", "amount"], Check::Sum(sum)),
            rule("clock_right", &["clock"], Check::LocalTime(clock)),
            rule("whole_tip", &["tip"], Check::Amount(tip)),
            rule("multiplies", &["invoice", "amount"], Check::Product(product)),
            rule("follows", &["state"], Check::State(state)),
        ],
        ..spec(columns, &["id"])
    }
}

pub(crate) fn key() -> PseudonymKey {
    PseudonymKey::parse(&Secret::new("ab".repeat(32))).unwrap()
}
