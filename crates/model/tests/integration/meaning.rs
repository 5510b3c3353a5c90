//! Meaning of a contract, key by key.
//!
//! Invariant: each test says one thing in YAML and looks at the one thing it should mean.

use jiff::SignedDuration;
use tillhouse_model::money::{PriceUnit, VatRateUnit};
use tillhouse_model::table::{
    AmountRule, ColumnClass, ColumnKind, ElementFilter, LocalTimeRule, PriceUnitSource,
    ProductRule, RateRule, RateUnitSource, RuleCheck, StateCurrencies, StateRule, SumRule,
    TableRole, TimeFormat, UnknownFields, ValueNormalisation,
};
use tillhouse_model::{ColumnSpec, MisfitPolicy, TableSpec, contract};

/// A contract of one table with these lines under `customProperties` and `properties`, beside its key.
pub(crate) fn contract_of(custom: &str, properties: &str) -> String {
    let indented = |text: &str, by: usize| -> String {
        text.lines()
            .map(|line| format!("{:by$}{line}\n", ""))
            .collect()
    };
    let custom = if custom.is_empty() {
        String::new()
    } else {
        format!("    customProperties:\n{}", indented(custom, 6))
    };
    format!(
        "apiVersion: v3.1.0\nkind: DataContract\nid: kiosk-sales\nversion: 1.0.0\nstatus: active\ndataProduct: kiosk\nschema:\n  \
         - name: sales\n    description: One sale.\n{custom}    properties:\n      - name: id\n        logicalType: string\n        \
         required: true\n        primaryKey: true\n{}",
        indented(properties, 6)
    )
}

fn spec(custom: &str, properties: &str) -> TableSpec {
    let text = contract_of(custom, properties);
    contract::parse(&text, "kiosk/sales.yaml").unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn column(properties: &str) -> ColumnSpec {
    spec("", properties).columns.pop().unwrap()
}

#[test]
fn the_smallest_contract_has_the_defaults() {
    let spec = spec("", "");
    assert_eq!(spec.qualified_name(), "kiosk.sales");
    assert_eq!(spec.description, "One sale.");
    assert_eq!(
        (spec.role, spec.unknown),
        (TableRole::Source, UnknownFields::Count)
    );
    assert_eq!(spec.key, ["id"]);
    assert_eq!(spec.partition_by, ["month"]);
    assert_eq!(spec.moves_within, SignedDuration::from_hours(45 * 24));
    assert!(spec.record_time.is_empty() && spec.updated_at.is_none() && spec.rules.is_empty());
}

#[test]
fn later_editions_of_the_standard_are_read() {
    let text = contract_of("", "")
        .replace("v3.1.0", "v3.2.0")
        .replace("status: active", "status: active\ncontext: {}");
    assert_eq!(contract::parse(&text, "f").unwrap().name, "sales");
}

#[test]
fn types() {
    let kind = |lines: &str| column(&format!("- name: a\n{lines}")).kind;
    assert_eq!(kind("  logicalType: string"), ColumnKind::Text);
    assert_eq!(kind("  logicalType: integer"), ColumnKind::Int);
    assert_eq!(kind("  logicalType: boolean"), ColumnKind::Bool);
    assert_eq!(kind("  logicalType: date"), ColumnKind::Date);
    assert_eq!(
        kind("  logicalType: number\n  physicalType: decimal(38,38)"),
        ColumnKind::Decimal {
            precision: 38,
            scale: 38
        }
    );
    assert_eq!(
        kind("  logicalType: number\n  physicalType: decimal(5)"),
        ColumnKind::Decimal {
            precision: 5,
            scale: 0
        }
    );
    let time = |lines: &str| kind(&format!("  logicalType: timestamp\n{lines}"));
    assert_eq!(time(""), ColumnKind::Timestamp(TimeFormat::Offset));
    assert_eq!(
        time("  logicalTypeOptions: { timezone: true }"),
        ColumnKind::Timestamp(TimeFormat::Offset)
    );
    assert_eq!(
        time("  logicalTypeOptions: { timezone: false, defaultTimezone: Europe/Berlin }"),
        ColumnKind::Timestamp(TimeFormat::Zone("Europe/Berlin".into()))
    );
    let epoch = |unit: &str| {
        time(&format!(
            "  customProperties: [{{ property: epochUnit, value: {unit} }}]"
        ))
    };
    assert_eq!(
        epoch("seconds"),
        ColumnKind::Timestamp(TimeFormat::EpochSeconds)
    );
    assert_eq!(
        epoch("millis"),
        ColumnKind::Timestamp(TimeFormat::EpochMillis)
    );
}

#[test]
fn objects_and_arrays_nest() {
    let list = column(
        "- name: lines\n  physicalName: Lines\n  logicalType: array\n  items:\n    logicalType: object\n    properties:\n      \
         - name: codes\n        logicalType: array\n        items: { logicalType: integer }",
    );
    assert_eq!(
        (list.name.as_str(), list.json_name.as_str()),
        ("lines", "Lines")
    );
    let ColumnKind::List(line) = &list.kind else {
        panic!("{list:?}")
    };
    assert_eq!(line.name, "element");
    let ColumnKind::Struct(fields) = &line.kind else {
        panic!("{line:?}")
    };
    let ColumnKind::List(code) = &fields[0].kind else {
        panic!("{fields:?}")
    };
    assert_eq!(
        (code.name.as_str(), &code.kind),
        ("element", &ColumnKind::Int)
    );
}

#[test]
fn classes_and_treatments() {
    let class = |lines: &str| column(&format!("- name: a\n  logicalType: string\n{lines}")).class;
    let treated = |classification: &str, pairs: &[(&str, &str)]| {
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(k, v)| format!("{{ property: {k}, value: {v} }}"))
            .collect();
        class(&format!(
            "  classification: {classification}\n  customProperties: [{}]",
            pairs.join(", ")
        ))
    };
    assert_eq!(class(""), ColumnClass::Open);
    for open in ["public", "internal", "confidential"] {
        assert_eq!(
            class(&format!("  classification: {open}")),
            ColumnClass::Open
        );
    }
    assert_eq!(class("  classification: secret"), ColumnClass::Secret);
    assert_eq!(class("  classification: restricted"), ColumnClass::Dropped);
    assert_eq!(
        treated("restricted", &[("treatment", "drop")]),
        ColumnClass::Dropped
    );
    assert_eq!(
        treated("restricted", &[("treatment", "keep")]),
        ColumnClass::Open
    );
    assert_eq!(
        treated("personal", &[("treatment", "drop")]),
        ColumnClass::Dropped
    );
    assert_eq!(
        treated("personal", &[("treatment", "lastFour")]),
        ColumnClass::LastFour
    );
    for (word, how) in [
        ("text", ValueNormalisation::Text),
        ("plate", ValueNormalisation::Plate),
        ("email", ValueNormalisation::Email),
        ("card", ValueNormalisation::Card),
    ] {
        let class = treated(
            "personal",
            &[("treatment", "pseudonym"), ("normalise", word)],
        );
        assert_eq!(class, ColumnClass::Pseudonym(how));
    }
}

#[test]
fn the_tables_own_properties() {
    let spec = spec(
        "- { property: recordTime, value: [paid.at, lines.at] }\n- { property: updatedAt, value: paid.changed }\n\
         - { property: movesWithin, value: 12h }\n- { property: unknown, value: keep }",
        "- name: paid\n  logicalType: object\n  properties:\n    - { name: at, logicalType: timestamp }\n    \
         - { name: changed, logicalType: timestamp }\n- name: lines\n  logicalType: array\n  items:\n    logicalType: object\n    \
         properties:\n      - { name: at, logicalType: timestamp }",
    );
    assert_eq!(spec.record_time, [vec!["paid", "at"], vec!["lines", "at"]]);
    assert_eq!(
        spec.updated_at,
        Some(vec!["paid".to_owned(), "changed".to_owned()])
    );
    assert_eq!(spec.moves_within, SignedDuration::from_hours(12));
    assert_eq!(spec.unknown, UnknownFields::Keep);
    let schema = spec.source_schema();
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(
        names,
        [
            "id",
            "paid",
            "lines",
            "_extra",
            "_record_key",
            "_record_time",
            "_prev_record_time",
            "_load_id",
            "_content_hash",
            "_extracted_at",
            "_run_id",
            "_deleted_at",
            "month"
        ]
    );
}

#[test]
fn keys_of_several_columns_follow_their_positions() {
    let text = contract_of(
        "",
        "- { name: site, logicalType: integer, required: true, primaryKey: true, primaryKeyPosition: 1 }",
    )
    .replace("primaryKey: true\n", "primaryKey: true\n        primaryKeyPosition: 2\n");
    assert_eq!(contract::parse(&text, "f").unwrap().key, ["site", "id"]);
}

#[test]
fn a_contract_may_say_what_a_misfit_costs() {
    let column = |more: &str| {
        let spec = spec("", &format!("- name: a\n  logicalType: string\n{more}"));
        let column = spec.column("a").unwrap().clone();
        (column.on_misfit, column.restricted)
    };
    assert_eq!(column(""), (None, false));
    assert_eq!(
        column("  customProperties: [{ property: misfit, value: reject }]"),
        (Some(MisfitPolicy::Reject), false)
    );
    assert_eq!(
        column("  customProperties: [{ property: misfit, value: warn }]"),
        (Some(MisfitPolicy::Warn), false)
    );
    assert_eq!(
        column("  customProperties: [{ property: misfit, value: keep }]"),
        (Some(MisfitPolicy::Keep), false)
    );
    assert_eq!(
        column(
            "  classification: restricted\n  customProperties: [{ property: treatment, value: keep }]"
        ),
        (None, true)
    );
}

#[test]
fn quality_rules() {
    let spec = spec(
        "",
        "- name: tags\n  logicalType: array\n  items:\n    logicalType: string\n    quality:\n      - name: tag_known\n        \
         metric: invalidValues\n        arguments: { validValues: [a, 'no'] }\n        mustBe: 0\n\
         - name: price\n  logicalType: number\n  physicalType: decimal(18,4)\n  quality:\n    - name: price_not_negative\n      \
         type: custom\n      engine: tillhouse\n      implementation: { atLeast: 0 }\n    - name: price_below\n      \
         type: custom\n      engine: tillhouse\n      implementation: { atMost: 100 }\n    - type: text\n      \
         description: It is a price.\n    - type: custom\n      engine: soda\n      implementation: {}\n",
    );
    let rules: Vec<_> = spec
        .rules
        .iter()
        .map(|r| (r.name.as_str(), r.path.join("."), r.check.clone()))
        .collect();
    assert_eq!(
        rules,
        [
            (
                "tag_known",
                "tags".to_owned(),
                RuleCheck::OneOf(vec!["a".into(), "no".into()])
            ),
            (
                "price_not_negative",
                "price".to_owned(),
                RuleCheck::AtLeast(0)
            ),
            ("price_below", "price".to_owned(), RuleCheck::AtMost(100)),
        ]
    );
}

/// The contract with these lines under the table's own `quality`.
pub(crate) fn with_quality(quality: &str, properties: &str) -> String {
    let lines: String = quality
        .lines()
        .map(|line| format!("      {line}\n"))
        .collect();
    contract_of("", properties).replacen(
        "    properties:\n",
        &format!("    quality:\n{lines}    properties:\n"),
        1,
    )
}

/// Two numbers, one of them nested, a list of them, an instant and two texts.
pub(crate) const COMPARED: &str = "- { name: net, logicalType: number, physicalType: 'decimal(18,4)' }\n\
    - { name: vat, logicalType: object, properties: [{ name: amount, logicalType: number, physicalType: 'decimal(18,2)' }] }\n\
    - { name: lines, logicalType: array, items: { logicalType: object, properties: [{ name: pieces, logicalType: integer }, { name: kind, logicalType: string }] } }\n\
    - { name: at, logicalType: timestamp }\n- { name: clock, logicalType: string }\n- { name: country, logicalType: string }\n\
    - { name: card, logicalType: string, classification: personal, customProperties: [{ property: treatment, value: lastFour }] }";

#[test]
fn rules_that_compare_columns_stand_at_the_table() {
    let text = with_quality(
        "- name: adds_up\n  type: custom\n  engine: tillhouse\n  \
         implementation: { sum: { of: [vat.amount, lines.pieces], is: net, currency: country } }\n\
         - name: exactly\n  type: custom\n  engine: tillhouse\n  implementation: { sum: { of: [net], is: vat.amount } }\n\
         - name: clock_right\n  type: custom\n  engine: tillhouse\n  implementation:\n    localTime:\n      of: at\n      \
         is: clock\n      zoneBy: country\n      zones: { DE: Europe/Berlin, 'NO': [Europe/Oslo] }\n\
         - name: clock_near\n  type: custom\n  engine: tillhouse\n  implementation: { localTime: { of: at, is: clock } }\n\
         - name: fits\n  type: custom\n  engine: tillhouse\n  implementation: { amount: { is: net, currency: country, currencyElsewhere: clock, unit: $price_unit } }\n\
         - name: in_cents\n  type: custom\n  engine: tillhouse\n  implementation: { amount: { is: net, currency: [country, clock], guess: lines.kind, unit: minor } }\n\
         - name: multiplies\n  type: custom\n  engine: tillhouse\n  implementation: { product: { of: [net, lines.pieces], is: lines.pieces, currency: [lines.kind, country] } }\n\
         - name: either\n  type: custom\n  engine: tillhouse\n  implementation: { product: { of: [net], is: [vat.amount, net] } }\n\
         - name: rated\n  type: custom\n  engine: tillhouse\n  implementation: { rate: { is: net, unit: $vat_rate } }\n\
         - name: fraction\n  type: custom\n  engine: tillhouse\n  implementation: { rate: { is: net, unit: fraction } }\n\
         - name: counted\n  type: custom\n  engine: tillhouse\n  \
         implementation: { sum: { of: [lines.pieces], is: net, except: { lines.kind: [void] }, direction: vat.amount, ofCurrency: lines.kind, currency: country } }\n\
         - name: follows\n  type: custom\n  engine: tillhouse\n  implementation:\n    state: { is: clock, articles: lines.kind, \
         payments: lines.kind, collected: lines.pieces, owed: net, collectedCurrency: country, owedCurrency: [country, lines.kind] }",
        COMPARED,
    );
    let spec = contract::parse(&text, "f").unwrap_or_else(|e| panic!("{e}\n{text}"));
    let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let zones = |list: &[(&str, &str)]| {
        list.iter()
            .map(|(k, z)| ((*k).to_owned(), vec![(*z).to_owned()]))
            .collect()
    };
    let sum = |of: &[&str], currency: &[&str]| {
        RuleCheck::Sum(SumRule {
            of: of.iter().map(|p| path(p)).collect(),
            except: None,
            only: None,
            currency: currency.iter().map(|p| path(p)).collect(),
            direction: None,
            of_currency: None,
        })
    };
    let local = |zone_by: Option<&str>, known: &[(&str, &str)]| {
        RuleCheck::LocalTime(LocalTimeRule {
            of: path("at"),
            zone_by: zone_by.map(path),
            zones: zones(known),
        })
    };
    let paths = |of: &[&str]| of.iter().map(|p| path(p)).collect::<Vec<_>>();
    let product = |of: &[&str], is: &[&str], currency: &[&str]| {
        RuleCheck::Product(ProductRule {
            of: paths(of),
            is: paths(is),
            or_less: Vec::new(),
            currency: paths(currency),
        })
    };
    let rate = |unit| RuleCheck::Rate(RateRule { unit });
    let amount = |currency: &[&str], guess: &[&str], elsewhere: Option<&str>, unit| {
        RuleCheck::Amount(AmountRule {
            currency: paths(currency),
            guess: paths(guess),
            currency_elsewhere: elsewhere.map(path),
            unit,
        })
    };
    let rules: Vec<_> = spec
        .rules
        .iter()
        .map(|r| (r.name.as_str(), r.path.join("."), r.check.clone()))
        .collect();
    assert_eq!(
        rules,
        [
            (
                "adds_up",
                "net".to_owned(),
                sum(&["vat.amount", "lines.pieces"], &["country"])
            ),
            ("exactly", "vat.amount".to_owned(), sum(&["net"], &[])),
            (
                "clock_right",
                "clock".to_owned(),
                local(
                    Some("country"),
                    &[("DE", "Europe/Berlin"), ("NO", "Europe/Oslo")]
                )
            ),
            ("clock_near", "clock".to_owned(), local(None, &[])),
            (
                "fits",
                "net".to_owned(),
                amount(
                    &["country"],
                    &[],
                    Some("clock"),
                    PriceUnitSource::Connection("price_unit".into())
                )
            ),
            (
                "in_cents",
                "net".to_owned(),
                amount(
                    &["country", "clock"],
                    &["lines.kind"],
                    None,
                    PriceUnitSource::Contract(PriceUnit::Minor)
                )
            ),
            (
                "multiplies",
                "lines.pieces".to_owned(),
                product(
                    &["net", "lines.pieces"],
                    &["lines.pieces"],
                    &["lines.kind", "country"]
                )
            ),
            (
                "either",
                "vat.amount".to_owned(),
                product(&["net"], &["vat.amount", "net"], &[])
            ),
            (
                "rated",
                "net".to_owned(),
                rate(RateUnitSource::Connection("vat_rate".into()))
            ),
            (
                "fraction",
                "net".to_owned(),
                rate(RateUnitSource::Contract(VatRateUnit::Fraction))
            ),
            (
                "counted",
                "net".to_owned(),
                RuleCheck::Sum(SumRule {
                    of: vec![path("lines.pieces")],
                    except: Some(ElementFilter {
                        path: path("lines.kind"),
                        words: vec!["void".into()]
                    }),
                    only: None,
                    currency: vec![path("country")],
                    direction: Some(path("vat.amount")),
                    of_currency: Some(path("lines.kind")),
                })
            ),
            (
                "follows",
                "clock".to_owned(),
                RuleCheck::State(StateRule {
                    articles: path("lines.kind"),
                    payments: path("lines.kind"),
                    collected: path("lines.pieces"),
                    owed: path("net"),
                    currencies: Some(StateCurrencies {
                        collected: path("country"),
                        owed: paths(&["country", "lines.kind"]),
                    }),
                })
            ),
        ]
    );
}

#[test]
fn uniqueness_of_the_key_can_be_said_in_three_ways() {
    let base = contract_of("", "");
    let key = "primaryKey: true\n";
    let column = base.replace(
        key,
        "primaryKey: true\n        quality: [{ name: u, metric: duplicateValues, mustBe: 0 }]\n",
    );
    let short = base.replace(key, "primaryKey: true\n        unique: true\n");
    let table = base.replace(
        "    properties:\n",
        "    quality: [{ name: u, metric: duplicateValues, arguments: { properties: [id] }, mustBe: 0 }]\n    properties:\n",
    );
    for (text, name) in [(column, "u"), (short, "id_unique"), (table, "u")] {
        let rules = contract::parse(&text, "f")
            .unwrap_or_else(|e| panic!("{e}"))
            .rules;
        let rule = rules.first().unwrap();
        assert_eq!(
            (
                rules.len(),
                rule.name.as_str(),
                rule.path.join("."),
                &rule.check
            ),
            (1, name, "id".into(), &RuleCheck::Unique)
        );
    }
}

#[test]
fn the_example_of_the_documentation_means_what_it_says() {
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/contracts.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let example = text
        .split("```yaml\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .unwrap();
    let spec = contract::parse(example, "docs/contracts.md").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(spec.qualified_name(), "kiosk.sales");
    assert_eq!(
        spec.record_time,
        [vec!["sold_at"], vec!["lines", "taken_at"]]
    );
    assert_eq!(spec.updated_at, Some(vec!["changed_at".to_owned()]));
    assert_eq!(
        (spec.moves_within, spec.unknown),
        (SignedDuration::from_hours(240), UnknownFields::Keep)
    );
    let class = |name: &str| spec.column(name).unwrap().class;
    assert_eq!(
        class("plate"),
        ColumnClass::Pseudonym(ValueNormalisation::Plate)
    );
    assert_eq!(
        (class("card"), class("pin"), class("slip")),
        (
            ColumnClass::LastFour,
            ColumnClass::Secret,
            ColumnClass::Dropped
        )
    );
    let rules: Vec<&str> = spec.rules.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(
        rules,
        [
            "id_unique",
            "total_not_negative",
            "currency_known",
            "state_known"
        ]
    );
}
