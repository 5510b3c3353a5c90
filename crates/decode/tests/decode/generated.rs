//! Contracts and records by chance, for the properties.
//!
//! Invariant: every record generated for a contract fits it; [`record`] spells it in a different way for each seed (order of fields, white space,
//! escapes, null or left out, offsets), [`canonical`] in exactly one, that of `written`.

use crate::fixture;
use crate::row_json;
use jiff::Timestamp;
use jiff::tz::Offset;
use proptest::prelude::*;
use tillhouse_model::{ColumnKind, ColumnSpec, ExactDecimal, TableSpec, TimeFormat};

/// Columns of a generated contract.
#[derive(Debug, Clone)]
pub(crate) struct GeneratedContract {
    pub(crate) columns: Vec<ColumnSpec>,
}

impl GeneratedContract {
    /// The columns, and before them a key.
    pub(crate) fn spec(&self) -> TableSpec {
        let mut columns = vec![ColumnSpec {
            required: true,
            ..fixture::column("key", ColumnKind::Text)
        }];
        columns.extend(self.columns.iter().cloned());
        fixture::spec(columns, &["key"])
    }
}

/// Generated value of a column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum GeneratedValue {
    Null,
    Text(String),
    Bool(bool),
    Int(i64),
    Decimal(i128, u8),
    Time(i64),
    Date(i32),
    Object(Vec<GeneratedValue>),
    List(Vec<GeneratedValue>),
}

fn kind() -> impl Strategy<Value = ColumnKind> {
    let leaf = prop_oneof![
        Just(ColumnKind::Text),
        Just(ColumnKind::Bool),
        Just(ColumnKind::Int),
        (1_u8..=38).prop_flat_map(|p| (Just(p), 0..=i8::try_from(p).unwrap())
            .prop_map(|(precision, scale)| ColumnKind::Decimal { precision, scale })),
        Just(ColumnKind::Timestamp(TimeFormat::Offset)),
        Just(ColumnKind::Timestamp(TimeFormat::Zone(
            "Europe/Berlin".into()
        ))),
        Just(ColumnKind::Timestamp(TimeFormat::EpochSeconds)),
        Just(ColumnKind::Timestamp(TimeFormat::EpochMillis)),
        Just(ColumnKind::Date),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            columns_of(inner.clone(), 1..5).prop_map(ColumnKind::Struct),
            inner.prop_map(|kind| ColumnKind::List(Box::new(fixture::column("element", kind)))),
        ]
    })
}

fn columns_of(
    kind: impl Strategy<Value = ColumnKind>,
    count: std::ops::Range<usize>,
) -> impl Strategy<Value = Vec<ColumnSpec>> {
    // Some names are longer than a word, some need an escape, some are each other's beginning.
    let names = [
        "k",
        "a name with spaces",
        "ä",
        "quo\"te",
        "occurred_at",
        "occurred_at_local",
    ];
    prop::collection::vec((kind, any::<bool>()), count).prop_map(move |kinds| {
        kinds
            .into_iter()
            .enumerate()
            .map(|(i, (kind, required))| ColumnSpec {
                required,
                ..fixture::column(&format!("{}{i}", names[i % names.len()]), kind)
            })
            .collect()
    })
}

pub(crate) fn contract() -> impl Strategy<Value = GeneratedContract> {
    columns_of(kind(), 1..7).prop_map(|columns| GeneratedContract { columns })
}

/// 1753-01-01, 1899-12-30, 1900-01-01 and 1970-01-01, with which systems write "none".
const FIRST_DAYS: [i32; 4] = [-79_257, -25_569, -25_567, 0];

/// A record's values for the columns.
pub(crate) fn values(columns: &[ColumnSpec]) -> BoxedStrategy<Vec<GeneratedValue>> {
    columns.iter().map(value).collect::<Vec<_>>().boxed()
}

fn value(column: &ColumnSpec) -> BoxedStrategy<GeneratedValue> {
    let some = match &column.kind {
        ColumnKind::Text => prop_oneof!["[a-z ]{0,40}", any::<String>()]
            .prop_map(GeneratedValue::Text)
            .boxed(),
        ColumnKind::Bool => any::<bool>().prop_map(GeneratedValue::Bool).boxed(),
        ColumnKind::Int => prop_oneof![any::<i64>(), -100_i64..100]
            .prop_map(GeneratedValue::Int)
            .boxed(),
        ColumnKind::Decimal { precision, scale } => {
            let (limit, scale) = (
                10_i128.pow(u32::from(*precision)),
                u8::try_from(*scale).unwrap(),
            );
            prop_oneof![-limit + 1..limit, (-99).max(1 - limit)..100.min(limit)]
                .prop_map(move |n| GeneratedValue::Decimal(n, scale))
                .boxed()
        }
        // Years 1678 to 2261, less a day on either side for the offsets: the others mean something else.
        // So does the instant from which Unix counts, and its day.
        ColumnKind::Timestamp(_) => (-9_214_400_000_000_000_i64..9_214_500_000_000_000)
            .prop_filter("none", |micros| *micros != 0)
            .prop_map(GeneratedValue::Time)
            .boxed(),
        ColumnKind::Date => (-106_650..106_651)
            .prop_filter("none", |day| !FIRST_DAYS.contains(day))
            .prop_map(GeneratedValue::Date)
            .boxed(),
        ColumnKind::Struct(columns) => values(columns).prop_map(GeneratedValue::Object).boxed(),
        // A null in the place of an object or a list is left out.
        ColumnKind::List(element) => {
            let required = element.required
                || matches!(element.kind, ColumnKind::Struct(_) | ColumnKind::List(_));
            let element = ColumnSpec {
                required,
                ..(**element).clone()
            };
            prop::collection::vec(value(&element), 0..4)
                .prop_map(GeneratedValue::List)
                .boxed()
        }
        ColumnKind::Binary => unreachable!("no JSON is binary"),
    };
    if column.required {
        some
    } else {
        prop_oneof![1 => Just(GeneratedValue::Null), 3 => some].boxed()
    }
}

/// The one spelling that `written` gives a row.
pub(crate) fn canonical(columns: &[ColumnSpec], key: usize, values: &[GeneratedValue]) -> String {
    let mut out = format!(r#"{{"key":"{key}""#);
    fields(columns, values, true, &mut out);
    out.push('}');
    out
}

fn fields(columns: &[ColumnSpec], values: &[GeneratedValue], mut comma: bool, out: &mut String) {
    for (column, value) in columns.iter().zip(values) {
        if *value != GeneratedValue::Null {
            if std::mem::replace(&mut comma, true) {
                out.push(',');
            }
            out.push_str(&serde_json::to_string(&column.name).unwrap());
            out.push(':');
            canonical_value(&column.kind, value, out);
        }
    }
}

fn canonical_value(kind: &ColumnKind, value: &GeneratedValue, out: &mut String) {
    match (kind, value) {
        (ColumnKind::Struct(columns), GeneratedValue::Object(values)) => {
            out.push('{');
            fields(columns, values, false, out);
            out.push('}');
        }
        (ColumnKind::List(element), GeneratedValue::List(values)) => {
            out.push('[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                canonical_value(&element.kind, value, out);
            }
            out.push(']');
        }
        (_, GeneratedValue::Time(micros)) => {
            out.push_str(&format!("{:?}", row_json::instant(*micros)))
        }
        (_, other) => plain(other, out),
    }
}

fn plain(value: &GeneratedValue, out: &mut String) {
    match value {
        GeneratedValue::Null => out.push_str("null"),
        GeneratedValue::Text(text) => out.push_str(&serde_json::to_string(text).unwrap()),
        GeneratedValue::Bool(bit) => out.push_str(&bit.to_string()),
        GeneratedValue::Int(n) => out.push_str(&n.to_string()),
        GeneratedValue::Decimal(units, scale) => {
            out.push_str(&ExactDecimal::new(*units, *scale).to_string())
        }
        GeneratedValue::Date(days) => out.push_str(&format!("{:?}", row_json::date(*days))),
        other => panic!("{other:?} does not fit its kind"),
    }
}

/// Pseudo-random choices of spellings, from a seed.
struct SpellingRng(u64);

impl SpellingRng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn space(&mut self) -> &'static str {
        ["", "", "", " ", "\n\t", "\r\n  "][usize::try_from(self.below(6)).unwrap()]
    }
}

/// One of the many spellings of a record.
pub(crate) fn record(
    columns: &[ColumnSpec],
    key: usize,
    values: &[GeneratedValue],
    seed: u64,
) -> String {
    let mut dice = SpellingRng(seed);
    let mut parts = parts(columns, values, &mut dice);
    parts.push(format!(r#""key":"{key}""#));
    join(parts, &mut dice)
}

fn join(mut parts: Vec<String>, dice: &mut SpellingRng) -> String {
    for at in (1..parts.len()).rev() {
        parts.swap(at, usize::try_from(dice.below(at as u64 + 1)).unwrap());
    }
    let space = dice.space();
    format!(
        "{{{space}{}{space}}}",
        parts.join(&format!("{space},{}", dice.space()))
    )
}

fn parts(columns: &[ColumnSpec], values: &[GeneratedValue], dice: &mut SpellingRng) -> Vec<String> {
    let mut parts = Vec::new();
    for (column, value) in columns.iter().zip(values) {
        if *value == GeneratedValue::Null && dice.below(2) == 0 {
            continue;
        }
        let name = text(&column.name, dice);
        let (before, after) = (dice.space(), dice.space());
        parts.push(format!(
            "{name}{before}:{after}{}",
            spelled(&column.kind, value, dice)
        ));
    }
    if dice.below(4) == 0 {
        parts.push(r#""not in any contract":{"x":[1,{}]}"#.to_owned());
    }
    parts
}

fn spelled(kind: &ColumnKind, value: &GeneratedValue, dice: &mut SpellingRng) -> String {
    match (kind, value) {
        (ColumnKind::Struct(columns), GeneratedValue::Object(values)) => {
            let parts = parts(columns, values, dice);
            join(parts, dice)
        }
        (ColumnKind::List(element), GeneratedValue::List(values)) => {
            let space = dice.space();
            let parts: Vec<String> = values
                .iter()
                .map(|v| spelled(&element.kind, v, dice))
                .collect();
            format!(
                "[{space}{}{space}]",
                parts.join(&format!("{space},{space}"))
            )
        }
        (ColumnKind::Timestamp(TimeFormat::EpochSeconds), GeneratedValue::Time(micros)) => {
            ExactDecimal::new(i128::from(*micros), 6)
                .trimmed()
                .to_string()
        }
        (ColumnKind::Timestamp(TimeFormat::EpochMillis), GeneratedValue::Time(micros)) => {
            ExactDecimal::new(i128::from(*micros), 3)
                .trimmed()
                .to_string()
        }
        (_, GeneratedValue::Time(micros)) => {
            let offset =
                Offset::from_seconds(i32::try_from(dice.below(48)).unwrap() * 1800 - 43_200)
                    .unwrap();
            let instant = Timestamp::from_microsecond(*micros).unwrap();
            if dice.below(2) == 0 {
                format!("\"{instant}\"")
            } else {
                format!("\"{}\"", instant.display_with_offset(offset))
            }
        }
        (_, GeneratedValue::Text(value)) => text(value, dice),
        (_, GeneratedValue::Decimal(units, scale)) => match dice.below(3) {
            0 => format!("\"{}\"", ExactDecimal::new(*units, *scale)),
            1 => format!("{units}e-{scale}"),
            _ => ExactDecimal::new(*units, *scale).trimmed().to_string(),
        },
        (_, other) => {
            let mut out = String::new();
            plain(other, &mut out);
            out
        }
    }
}

/// A text in quotes, with some characters escaped that need not be.
fn text(value: &str, dice: &mut SpellingRng) -> String {
    if dice.below(3) > 0 {
        return serde_json::to_string(value).unwrap();
    }
    let units: String = value
        .encode_utf16()
        .map(|unit| format!("\\u{unit:04x}"))
        .collect();
    format!("\"{units}\"")
}

/// A page of records.
pub(crate) fn page_of(records: &[String]) -> String {
    format!(r#"{{"data":[{}]}}"#, records.join(","))
}
