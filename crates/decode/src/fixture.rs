//! A small contract with one of everything, for tests.
//!
//! Invariant: every kind, class and rule that decode knows occurs in it.

// Shared by the crate's own tests and the integration binary, which each use a part of it.
#![allow(dead_code, clippy::unwrap_used)]

use jiff::SignedDuration;
use std::collections::BTreeMap;
use tillhouse_model::money::PriceUnit;
use tillhouse_model::table::{
    AmountRule, ElementFilter, LocalTimeRule, PriceUnitSource, ProductRule, QualityRule, RuleCheck,
    StateRule, SumRule, TableRole, UnknownFields, ValueNormalisation,
};
use tillhouse_model::{
    ColumnClass, ColumnKind, ColumnSpec, PseudonymKey, Secret, TableSpec, TimeFormat,
};

pub(crate) fn column(name: &str, kind: ColumnKind) -> ColumnSpec {
    ColumnSpec {
        name: name.to_owned(),
        json_name: name.to_owned(),
        kind,
        required: false,
        class: ColumnClass::Open,
        restricted: false,
        on_misfit: None,
        blank_is_none: false,
        zero_is_none: false,
        is_identifier: false,
        ahead_is_none: false,
        note: Default::default(),
    }
}

fn classed(name: &str, class: ColumnClass) -> ColumnSpec {
    ColumnSpec {
        class,
        ..column(name, ColumnKind::Text)
    }
}

fn list(name: &str, of: ColumnKind) -> ColumnSpec {
    column(name, ColumnKind::List(Box::new(column("element", of))))
}

pub(crate) fn strings(path: &[&str]) -> Vec<String> {
    path.iter().map(|s| (*s).to_owned()).collect()
}

pub(crate) fn spec(columns: Vec<ColumnSpec>, key: &[&str]) -> TableSpec {
    TableSpec {
        source: "shop".into(),
        name: "sales".into(),
        description: String::new(),
        role: TableRole::Source,
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

pub(crate) const MONEY: ColumnKind = ColumnKind::Decimal {
    precision: 18,
    scale: 4,
};

pub(crate) fn sales() -> TableSpec {
    let time = || ColumnKind::Timestamp(TimeFormat::Offset);
    let articles = ColumnKind::Struct(vec![
        ColumnSpec {
            required: true,
            ..column("name", ColumnKind::Text)
        },
        column("amount", MONEY),
        column("start_time", time()),
        column("currency", ColumnKind::Text),
        classed("pin", ColumnClass::Secret),
        list(
            "log",
            ColumnKind::Struct(vec![
                column("code", ColumnKind::Int),
                column("note", ColumnKind::Text),
            ]),
        ),
    ]);
    let invoice = ColumnKind::Struct(vec![column("amount", MONEY), column("created_at", time())]);
    let columns = vec![
        ColumnSpec {
            required: true,
            ..column("id", ColumnKind::Text)
        },
        ColumnSpec {
            json_name: "zähler".into(),
            ..column("counter", ColumnKind::Int)
        },
        column("paid", ColumnKind::Bool),
        column("invoice", invoice),
        list("articles", articles),
        list("tags", ColumnKind::Text),
        column("day", ColumnKind::Date),
        column(
            "local",
            ColumnKind::Timestamp(TimeFormat::Zone("Europe/Berlin".into())),
        ),
        column("seconds", ColumnKind::Timestamp(TimeFormat::EpochSeconds)),
        column("millis", ColumnKind::Timestamp(TimeFormat::EpochMillis)),
        column("updated_at", time()),
        classed(
            "license_plate",
            ColumnClass::Pseudonym(ValueNormalisation::Plate),
        ),
        classed("card", ColumnClass::LastFour),
        classed("pin", ColumnClass::Secret),
        classed("driver", ColumnClass::Dropped),
        column("timezone", ColumnKind::Text),
        column("state", ColumnKind::Text),
        column("tip", ColumnKind::Int),
        column("clock", ColumnKind::Text),
        column("continent", ColumnKind::Text),
    ];
    let sum = SumRule {
        of: vec![strings(&["articles", "amount"]), strings(&["tip"])],
        except: Some(ElementFilter {
            path: strings(&["articles", "name"]),
            words: strings(&["void"]),
        }),
        only: None,
        currency: vec![strings(&["continent"])],
        direction: None,
        of_currency: None,
    };
    let product = ProductRule {
        of: vec![strings(&["counter"]), strings(&["tip"])],
        is: vec![strings(&["invoice", "amount"])],
        or_less: Vec::new(),
        currency: Vec::new(),
    };
    let state = StateRule {
        articles: strings(&["tags"]),
        payments: strings(&["articles", "name"]),
        collected: strings(&["articles", "amount"]),
        owed: strings(&["invoice", "amount"]),
        currencies: None,
    };
    let zones = BTreeMap::from([(
        "Europe".to_owned(),
        vec!["Europe/Berlin".to_owned(), "Europe/London".to_owned()],
    )]);
    let clock = LocalTimeRule {
        of: strings(&["updated_at"]),
        zone_by: Some(strings(&["continent"])),
        zones,
    };
    let tip = AmountRule {
        currency: vec![strings(&["continent"])],
        guess: vec![strings(&["articles", "currency"])],
        currency_elsewhere: Some(strings(&["id"])),
        unit: PriceUnitSource::Contract(PriceUnit::Major),
    };
    let rule = |name: &str, path: &[&str], check| QualityRule {
        name: name.into(),
        path: strings(path),
        check,
    };
    TableSpec {
        record_time: vec![
            strings(&["invoice", "created_at"]),
            strings(&["articles", "start_time"]),
        ],
        updated_at: Some(strings(&["updated_at"])),
        rules: vec![
            rule(
                "known_state",
                &["state"],
                RuleCheck::OneOf(strings(&["open", "done"])),
            ),
            rule(
                "real_currency",
                &["articles", "currency"],
                RuleCheck::Currency,
            ),
            rule("real_zone", &["timezone"], RuleCheck::TimeZone),
            rule(
                "not_negative",
                &["invoice", "amount"],
                RuleCheck::AtLeast(0),
            ),
            rule("counted", &["counter"], RuleCheck::AtLeast(1)),
            rule("unique", &["id"], RuleCheck::Unique),
            rule("adds_up", &["invoice", "amount"], RuleCheck::Sum(sum)),
            rule("clock_right", &["clock"], RuleCheck::LocalTime(clock)),
            rule("whole_tip", &["tip"], RuleCheck::Amount(tip)),
            rule(
                "multiplies",
                &["invoice", "amount"],
                RuleCheck::Product(product),
            ),
            rule("follows", &["state"], RuleCheck::State(state)),
        ],
        ..spec(columns, &["id"])
    }
}

pub(crate) fn key() -> PseudonymKey {
    PseudonymKey::parse(&Secret::new("ab".repeat(32))).unwrap()
}
