//! Properties over any contract: what is meant comes back, and no text whatever makes the parser panic.
//!
//! Invariant: a mutated contract is either understood or refused with a place; a generated one is understood exactly.

use crate::schemas;
use proptest::prelude::*;
use std::fmt::Write as _;
use tillhouse_model::table::{
    ColumnClass, ColumnKind, MisfitPolicy, TimeFormat, ValueNormalisation,
};
use tillhouse_model::{ColumnNote, ColumnSpec, contract};

fn scalar() -> impl Strategy<Value = (ColumnKind, ColumnClass)> {
    let open = prop_oneof![
        Just(ColumnKind::Text),
        Just(ColumnKind::Int),
        Just(ColumnKind::Bool),
        Just(ColumnKind::Date),
        (1_u8..=38)
            .prop_flat_map(|p| (Just(p), 0..=p))
            .prop_map(|(precision, scale)| ColumnKind::Decimal {
                precision,
                scale: i8::try_from(scale).unwrap()
            }),
        Just(ColumnKind::Timestamp(TimeFormat::Offset)),
        Just(ColumnKind::Timestamp(TimeFormat::Zone(
            "Asia/Yerevan".into()
        ))),
        Just(ColumnKind::Timestamp(TimeFormat::EpochMillis)),
    ];
    let class = prop_oneof![
        3 => Just(ColumnClass::Open),
        1 => Just(ColumnClass::LastFour),
        1 => Just(ColumnClass::Pseudonym(ValueNormalisation::Plate)),
        1 => Just(ColumnClass::Pseudonym(ValueNormalisation::Card)),
    ];
    (open, class).prop_map(|(kind, class)| {
        let class = if kind == ColumnKind::Text {
            class
        } else {
            ColumnClass::Open
        };
        (kind, class)
    })
}

fn column(name: String, (kind, class): (ColumnKind, ColumnClass), required: bool) -> ColumnSpec {
    let note = ColumnNote {
        description: format!("What {name} means: a \"thing\" # and more"),
        unit: name.ends_with('1').then(|| "per cent: %".to_owned()),
        examples: ["a # b", "-17", "true"]
            .iter()
            .filter(|_| name.ends_with('2'))
            .map(|text| (*text).to_owned())
            .collect(),
    };
    let blank_is_none =
        kind == ColumnKind::Text && class == ColumnClass::Open && name.ends_with('3');
    let zero_is_none = matches!(kind, ColumnKind::Text | ColumnKind::Int)
        && class == ColumnClass::Open
        && name.ends_with('4');
    let is_identifier =
        kind == ColumnKind::Text && class == ColumnClass::Open && name.ends_with('0');
    let ahead_is_none = matches!(kind, ColumnKind::Timestamp(_))
        && class == ColumnClass::Open
        && name.ends_with('1');
    let on_misfit = match name.as_bytes().last() {
        Some(b'1') if !required => Some(MisfitPolicy::Warn),
        Some(b'2') => Some(MisfitPolicy::Reject),
        Some(b'3') if blank_is_none => Some(MisfitPolicy::Keep),
        _ => None,
    };
    ColumnSpec {
        json_name: format!("json {name}"),
        name,
        kind,
        required,
        class,
        restricted: false,
        on_misfit,
        blank_is_none,
        zero_is_none,
        is_identifier,
        ahead_is_none,
        note,
    }
}

/// Columns with distinct names, secrets among them.
fn columns() -> impl Strategy<Value = Vec<ColumnSpec>> {
    let leaf = scalar().boxed();
    let tree = leaf.prop_recursive(3, 24, 4, |inner| {
        let fields =
            prop::collection::vec((inner.clone(), any::<bool>()), 1..4).prop_map(|kinds| {
                let fields = kinds
                    .into_iter()
                    .enumerate()
                    .map(|(i, (kind, required))| column(format!("f{i}"), kind, required));
                let hidden = ColumnSpec {
                    required: false,
                    class: ColumnClass::Secret,
                    ..column("pin".into(), (ColumnKind::Text, ColumnClass::Open), false)
                };
                (
                    ColumnKind::Struct(fields.chain([hidden]).collect()),
                    ColumnClass::Open,
                )
            });
        let list = inner.prop_map(|kind| {
            let element = ColumnSpec {
                json_name: "element".into(),
                note: Default::default(),
                ..column("element".into(), kind, false)
            };
            (ColumnKind::List(Box::new(element)), ColumnClass::Open)
        });
        prop_oneof![fields, list]
    });
    prop::collection::vec((tree, any::<bool>()), 0..6).prop_map(|kinds| {
        kinds
            .into_iter()
            .enumerate()
            .map(|(i, (kind, required))| column(format!("c{i}"), kind, required))
            .collect()
    })
}

/// Writes a column as a contract spells it; `dash` starts a list entry, items have none.
fn write(column: &ColumnSpec, dash: bool, indent: usize, out: &mut String) {
    let pad = " ".repeat(indent);
    let mut lines: Vec<String> = Vec::new();
    if dash {
        lines.push(format!("name: {}", column.name));
        lines.push(format!("physicalName: {}", column.json_name));
        lines.push(format!(
            "description: {}",
            serde_json::to_string(&column.note.description).unwrap()
        ));
        lines.push(format!("required: {}", column.required));
        if !column.note.examples.is_empty() {
            let examples = &column.note.examples;
            let quoted = serde_json::to_string(&examples[..1]).unwrap();
            let plain = examples[1..].join(", ");
            lines.push(format!(
                "examples: {}, {plain}]",
                quoted.trim_end_matches(']')
            ));
        }
    }
    let mut own: Vec<String> = Vec::new();
    let mut say =
        |key: &str, value: &str| own.push(format!("{{ property: {key}, value: {value} }}"));
    match column.class {
        ColumnClass::Open => {}
        ColumnClass::Secret => lines.push("classification: secret".into()),
        ColumnClass::Dropped => lines.push("classification: restricted".into()),
        ColumnClass::LastFour => {
            lines.push("classification: personal".into());
            say("treatment", "lastFour");
        }
        ColumnClass::Pseudonym(how) => {
            lines.push("classification: personal".into());
            say("treatment", "pseudonym");
            say("normalise", &format!("{how:?}").to_lowercase());
        }
    }
    if let Some(unit) = &column.note.unit {
        say("unit", &serde_json::to_string(unit).unwrap());
    }
    if column.blank_is_none {
        say("blank", "none");
    }
    if column.zero_is_none {
        say("zero", "none");
    }
    if column.ahead_is_none {
        say("ahead", "none");
    }
    if column.is_identifier {
        say("identifier", "canonical");
    }
    if let Some(on_misfit) = column.on_misfit {
        say("misfit", &format!("{on_misfit:?}").to_lowercase());
    }
    let logical = match &column.kind {
        ColumnKind::Text => "string",
        ColumnKind::Bool => "boolean",
        ColumnKind::Int => "integer",
        ColumnKind::Date => "date",
        ColumnKind::Decimal { precision, scale } => {
            lines.push(format!("physicalType: decimal({precision},{scale})"));
            "number"
        }
        ColumnKind::Timestamp(format) => {
            match format {
                TimeFormat::Offset => {}
                TimeFormat::Zone(zone) => {
                    lines.push(format!(
                        "logicalTypeOptions: {{ timezone: false, defaultTimezone: {zone} }}"
                    ));
                }
                TimeFormat::EpochSeconds => say("epochUnit", "seconds"),
                TimeFormat::EpochMillis => say("epochUnit", "millis"),
            }
            "timestamp"
        }
        ColumnKind::Struct(_) => "object",
        ColumnKind::List(_) => "array",
        ColumnKind::Binary => unreachable!("a source has none"),
    };
    lines.push(format!("logicalType: {logical}"));
    if !own.is_empty() {
        lines.push(format!("customProperties: [{}]", own.join(", ")));
    }
    for (index, line) in lines.iter().enumerate() {
        let mark = if dash && index == 0 {
            "- "
        } else if dash {
            "  "
        } else {
            ""
        };
        writeln!(out, "{pad}{mark}{line}").unwrap();
    }
    let inside = if dash { indent + 2 } else { indent };
    match &column.kind {
        ColumnKind::Struct(fields) => {
            writeln!(out, "{}properties:", " ".repeat(inside)).unwrap();
            fields
                .iter()
                .for_each(|field| write(field, true, inside + 2, out));
        }
        ColumnKind::List(element) => {
            writeln!(out, "{}items:", " ".repeat(inside)).unwrap();
            write(element, false, inside + 2, out);
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_meant_comes_back(columns in columns()) {
        let mut text = crate::meaning::contract_of("", "");
        columns.iter().for_each(|column| write(column, true, 6, &mut text));
        let spec = contract::parse(&text, "any.yaml");
        let spec = spec.unwrap_or_else(|e| panic!("{e}\n{text}"));
        prop_assert_eq!(&spec.columns[1..], columns.as_slice());
        // Arrow takes the schema, and secrets have no column in it.
        let stored = format!("{:?}", spec.source_schema());
        prop_assert!(!stored.contains("\"pin\""));
    }

    #[test]
    fn a_spoilt_contract_is_understood_or_refused_with_its_place(
        at in any::<prop::sample::Index>(),
        length in 0_usize..40,
        insert in prop::sample::select(vec![
            "", ":", "- ", "\n", "\n\n  ", "[", "}", "\"", "&a ", "*a", "<<: *a\n", "!!int ", "~", "{a: 1}", "\t", "|\n", "\u{feff}", "é",
        ]),
    ) {
        let text = std::fs::read_to_string(schemas().join("hecone/transactions.yaml")).unwrap();
        let floor = |mut i: usize| { while !text.is_char_boundary(i) { i -= 1; } i };
        let from = floor(at.index(text.len()));
        let to = floor((from + length).min(text.len()));
        let spoilt = format!("{}{insert}{}", &text[..from], &text[to.max(from)..]);
        match contract::parse(&spoilt, "t.yaml") {
            Ok(spec) => prop_assert!(!spec.key.is_empty() && spec.column(&spec.key[0]).is_some_and(|c| c.required)),
            Err(error) => {
                let shown = error.to_string();
                let place = shown.split("t.yaml:").nth(1).map(|rest| rest.split([':', ')']).take(2).collect::<Vec<_>>());
                let numbers = place.map(|p| p.iter().all(|n| n.parse::<u64>().is_ok_and(|n| n > 0)));
                prop_assert_eq!(numbers, Some(true), "{}", shown);
            }
        }
    }

    #[test]
    fn any_text_whatever_is_no_panic(text in "\\PC{0,200}") {
        prop_assert!(contract::parse(&text, "t.yaml").is_err());
    }
}
