//! Transactions with every column there is, random, and a plain-loop reading of the documented meaning of filters over them.
//!
//! Invariant: nothing here knows how the crate filters. Columns and their kinds come from the contracts; the rules are written from
//! docs/statistics.md, with integers for numbers and string functions for text.

use crate::filter_oracle::{is_fine, passes};
use crate::fixture::{register, t};
use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int64Array, StringArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::datatypes::DataType;
use jiff::Timestamp;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use tillhouse_model::table::ValueNormalisation;
use tillhouse_model::{
    ColumnClass, ColumnKind, ExactDecimal, PseudonymKey, Secret, TableSpec, contract,
};
use tillhouse_model::{Filter, FilterOperand, FilterOperator, FilterTest};
use tillhouse_query::{QueryEngine, QueryEngineOptions, Session};

/// The project's key in these tests.
pub(crate) fn key() -> PseudonymKey {
    PseudonymKey::parse(&Secret::new("0123456789abcdef0123456789abcdef")).unwrap()
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OracleValue {
    Null,
    Text(String),
    /// Units of the column's scale.
    Number(i128),
    Whole(i64),
    /// Microseconds.
    Instant(i64),
    /// Days.
    Date(i32),
}

/// The unified tables here: name, contract, and the column that says which record a row came from.
pub(crate) const TABLES: [(&str, &str, &str); 7] = [
    (
        "transactions",
        include_str!("../../../../schemas/unified/transactions.yaml"),
        "transaction_key",
    ),
    (
        "articles",
        include_str!("../../../../schemas/unified/articles.yaml"),
        "transaction_key",
    ),
    (
        "payments",
        include_str!("../../../../schemas/unified/payments.yaml"),
        "transaction_key",
    ),
    (
        "sites",
        include_str!("../../../../schemas/unified/sites.yaml"),
        "site_key",
    ),
    (
        "devices",
        include_str!("../../../../schemas/unified/devices.yaml"),
        "device_key",
    ),
    (
        "points",
        include_str!("../../../../schemas/unified/points.yaml"),
        "point_key",
    ),
    (
        "tenants",
        include_str!("../../../../schemas/unified/tenants.yaml"),
        "tenant_key",
    ),
];

/// A row by column.
pub(crate) type OracleRow = BTreeMap<String, OracleValue>;

/// All tables of the filter oracle. A transaction has the article and the payment of its position.
#[derive(Debug, Clone)]
pub(crate) struct OracleWorld {
    pub(crate) sales: Vec<OracleRow>,
    pub(crate) dimensions: BTreeMap<&'static str, Vec<OracleRow>>,
}

static CONTRACTS: LazyLock<BTreeMap<&'static str, TableSpec>> = LazyLock::new(|| {
    TABLES
        .iter()
        .map(|(name, text, _)| (*name, contract::parse(text, name).unwrap()))
        .collect()
});

/// The names a filter may use that are not columns of transactions: the table and the column they mean.
pub(crate) const NAMES: [(&str, &str, &str); 19] = [
    ("id", "transactions", "transaction_id"),
    ("mandator_id", "transactions", "tenant_id"),
    ("site_id", "transactions", "site_key"),
    ("point_id", "transactions", "point_key"),
    ("customer_odometer", "transactions", "odometer_km"),
    ("customer_driver_number", "transactions", "driver_number"),
    ("customer_vehicle_number", "transactions", "vehicle_number"),
    (
        "customer_additional_info",
        "transactions",
        "additional_info",
    ),
    ("card_driver_number", "transactions", "card_driver_name"),
    ("site_name", "sites", "name"),
    ("site_code", "sites", "code"),
    ("site_city", "sites", "city"),
    ("site_country_code", "sites", "country_code"),
    ("site_brand", "sites", "brand"),
    ("device_name", "devices", "name"),
    ("device_code", "devices", "code"),
    ("point_name", "points", "name"),
    ("point_number", "points", "number"),
    ("tenant_name", "tenants", "name"),
];

const DIMENSIONS: [(&str, &[&str]); 4] = [
    ("sites", &["site_key"]),
    ("devices", &["device_key"]),
    ("points", &["point_key"]),
    ("tenants", &["pipeline", "tenant_id"]),
];

/// Every field a filter may name.
pub(crate) fn fields() -> Vec<String> {
    let own = CONTRACTS["transactions"]
        .columns
        .iter()
        .map(|column| column.name.clone());
    own.chain(NAMES.iter().map(|(name, ..)| (*name).to_owned()))
        .collect()
}

/// The table and the column of a field, and the column's kind and class.
pub(crate) fn meaning(
    field: &str,
) -> (&'static str, &'static str, &'static ColumnKind, ColumnClass) {
    let column = |table: &'static str, name: &str| {
        let column = CONTRACTS[table]
            .columns
            .iter()
            .find(|column| column.name == name)
            .unwrap();
        (table, column.name.as_str(), &column.kind, column.class)
    };
    match NAMES.iter().find(|(name, ..)| *name == field) {
        Some((_, table, name)) => column(table, name),
        None => column("transactions", field),
    }
}

impl OracleWorld {
    /// A field's value for a transaction.
    fn value(&self, sale: &OracleRow, field: &str) -> OracleValue {
        let (table, column, ..) = meaning(field);
        if table == "transactions" {
            let value = sale.get(column).cloned().unwrap_or(OracleValue::Null);
            return match (field, value) {
                ("site_id" | "point_id", OracleValue::Text(key)) => {
                    OracleValue::Text(key.split_once(':').unwrap().1.to_owned())
                }
                (_, value) => value,
            };
        }
        let (_, keys) = DIMENSIONS.iter().find(|(name, _)| *name == table).unwrap();
        let meets = |row: &&OracleRow| {
            keys.iter()
                .all(|key| row.get(*key) == sale.get(*key) && row[*key] != OracleValue::Null)
        };
        let row = self
            .dimensions
            .get(table)
            .and_then(|rows| rows.iter().find(meets));
        row.and_then(|row| row.get(column))
            .cloned()
            .unwrap_or(OracleValue::Null)
    }

    /// The transactions that pass; `None` where the filter must be refused.
    pub(crate) fn passing(&self, filter: &Filter) -> Option<Self> {
        filter.tests().iter().all(|test| is_fine(test)).then(|| {
            let sales = self
                .sales
                .iter()
                .filter(|sale| self.passes(filter, sale))
                .cloned()
                .collect();
            Self {
                sales,
                dimensions: self.dimensions.clone(),
            }
        })
    }

    fn passes(&self, filter: &Filter, sale: &OracleRow) -> bool {
        match filter {
            Filter::All(filters) => filters.iter().all(|filter| self.passes(filter, sale)),
            Filter::Any(filters) => filters.iter().any(|filter| self.passes(filter, sale)),
            Filter::Test(test) => passes(test, &self.value(sale, &test.field)),
        }
    }

    /// Gives every transaction a key of its own.
    pub(crate) fn number(&mut self) {
        for (index, sale) in self.sales.iter_mut().enumerate() {
            sale.insert(
                "transaction_key".into(),
                OracleValue::Text(format!("p:{index}")),
            );
        }
    }

    /// A session in which these are the unified tables.
    pub(crate) fn session(&self) -> Session {
        let session = QueryEngine::new(QueryEngineOptions {
            threads: 2,
            ..QueryEngineOptions::default()
        })
        .unwrap()
        .empty_session()
        .unwrap();
        register(&session, "transactions", table("transactions", &self.sales));
        for (name, rows) in &self.dimensions {
            register(&session, name, table(name, rows));
        }
        let child = |own: &[(&str, OracleValue)]| -> Vec<OracleRow> {
            let with = |sale: &OracleRow| {
                let OracleValue::Text(key) = &sale["transaction_key"] else {
                    panic!("every transaction has a key")
                };
                // By these amounts it shows whose article or payment was counted.
                let index: u32 = key.strip_prefix("p:").unwrap().parse().unwrap();
                let mut row = sale.clone();
                row.insert("transaction_state".into(), sale["state"].clone());
                row.insert("article_key".into(), OracleValue::Text(format!("{key}/1")));
                row.insert("payment_key".into(), OracleValue::Text(format!("{key}/1")));
                row.insert(
                    "quantity".into(),
                    OracleValue::Number(1_000_000 << (index % 40)),
                );
                row.insert("amount".into(), OracleValue::Number(10_000 << (index % 40)));
                row.extend(
                    own.iter()
                        .map(|(name, value)| ((*name).to_owned(), value.clone())),
                );
                row
            };
            self.sales.iter().map(with).collect()
        };
        let word = |text: &str| OracleValue::Text(text.into());
        register(
            &session,
            "articles",
            table(
                "articles",
                &child(&[("state", word("done")), ("name", word("Tea"))]),
            ),
        );
        register(
            &session,
            "payments",
            table(
                "payments",
                &child(&[("state", word("collected")), ("type", word("Card"))]),
            ),
        );
        session
    }
}

fn table(name: &str, rows: &[OracleRow]) -> Vec<(&'static str, ArrayRef)> {
    let contract: &'static TableSpec = &CONTRACTS[name];
    let column = |column: &'static tillhouse_model::ColumnSpec| {
        (
            column.name.as_str(),
            array(&column.name, &column.kind, rows),
        )
    };
    contract.columns.iter().map(column).collect()
}

fn array(name: &str, kind: &ColumnKind, rows: &[OracleRow]) -> ArrayRef {
    let values = || {
        rows.iter()
            .map(|row| row.get(name).unwrap_or(&OracleValue::Null))
    };
    macro_rules! taken {
        ($array:ty, $variant:ident) => {
            values()
                .map(|value| match value {
                    OracleValue::$variant(value) => Some(value.clone()),
                    OracleValue::Null => None,
                    other => panic!("{name} is {other:?}"),
                })
                .collect::<$array>()
        };
    }
    match kind {
        ColumnKind::Text => Arc::new(taken!(StringArray, Text)),
        ColumnKind::Decimal { precision, scale } => Arc::new(
            taken!(Decimal128Array, Number)
                .with_precision_and_scale(*precision, *scale)
                .unwrap(),
        ),
        ColumnKind::Int => Arc::new(taken!(Int64Array, Whole)),
        ColumnKind::Timestamp(_) => {
            Arc::new(taken!(TimestampMicrosecondArray, Instant).with_timezone("UTC"))
        }
        ColumnKind::Date => Arc::new(taken!(Date32Array, Date)),
        ColumnKind::Bool => new_null_array(&DataType::Boolean, rows.len()),
        other => panic!("{name}: {other:?}"),
    }
}

/// Texts that look like patterns, escapes, numbers, dates and one another; letters whose lower case is longer, or depends on its place.
const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "A",
    "abc",
    "ABC",
    "aBc ",
    "a%c",
    "a_c",
    "%",
    "_",
    "\\",
    "a\\%c",
    "x\\y",
    "'",
    "\"",
    "'; --",
    "ß",
    "STRASSE",
    "straße",
    "İ",
    "i̇",
    "Σ",
    "ΟΔΟΣ",
    "οδος",
    "οδοσ",
    "É",
    "é",
    "ｗ",
    "𝔘",
    "7",
    "07",
    "7.50",
    "-7.5",
    "A3",
    "12",
    "+7",
    "7.",
    "null",
    "completed",
    "2026-01-15",
    "KA-XY 1",
    "kaxy1",
];
/// Around the window of these tests, the steps of a grid, and 2038.
const INSTANTS: &[i64] = &[
    0,
    -1,
    1_768_435_200_000_000,
    1_768_435_199_999_999,
    1_768_431_600_000_000,
    1_768_521_600_000_000,
    2_147_483_648_000_000,
];
const INSTANT_TEXTS: &[&str] = &[
    "2026-01-15",
    "2026-01-16",
    "2026-01-15T00:00:00Z",
    "2026-01-15T01:00:00+01:00",
    "2026-01-14T23:59:59.999999Z",
    "2026-01-14T23:59:59.9999995Z",
    "1970-01-01T00:00:00Z",
    "1969-12-31T23:59:59.9999999Z",
    "2038-01-19T03:14:08Z",
    "-009999-01-02T00:00:00Z",
    "9999-12-30T00:00:00Z",
    "2026-02-30",
    "noon",
];

fn text() -> BoxedStrategy<String> {
    let some = || proptest::sample::select(TEXTS);
    prop_oneof![4 => some().prop_map(str::to_owned), 1 => (some(), some()).prop_map(|(a, b)| format!("{a}{b}"))].boxed()
}

fn units(scale: u8) -> BoxedStrategy<i128> {
    let one = 10_i128.pow(u32::from(scale));
    let most = 10_i128.pow(18) - 1;
    proptest::sample::select(vec![
        0,
        one,
        -one,
        one + 1,
        one * 5 / 4,
        one * 10,
        most,
        -most,
        1,
        -1,
    ])
    .boxed()
}

fn value(kind: &ColumnKind, class: ColumnClass, required: bool) -> BoxedStrategy<OracleValue> {
    let some: BoxedStrategy<OracleValue> = match kind {
        ColumnKind::Text => match class {
            ColumnClass::Pseudonym(how) => text()
                .prop_map(move |text| OracleValue::Text(key().pseudonym(how, &text)))
                .boxed(),
            _ => text().prop_map(OracleValue::Text).boxed(),
        },
        ColumnKind::Decimal { scale, .. } => units(scale.unsigned_abs())
            .prop_map(OracleValue::Number)
            .boxed(),
        ColumnKind::Int => proptest::sample::select(&[0_i64, 1, 7, 23, -1, i64::MAX, i64::MIN][..])
            .prop_map(OracleValue::Whole)
            .boxed(),
        ColumnKind::Timestamp(_) => proptest::sample::select(INSTANTS)
            .prop_map(OracleValue::Instant)
            .boxed(),
        ColumnKind::Date => proptest::sample::select(&[20_468_i32, 20_469, 0, -1][..])
            .prop_map(OracleValue::Date)
            .boxed(),
        _ => Just(OracleValue::Null).boxed(),
    };
    if required {
        some
    } else {
        prop_oneof![1 => Just(OracleValue::Null), 4 => some].boxed()
    }
}

fn row(table: &str) -> BoxedStrategy<OracleRow> {
    let columns: Vec<_> = CONTRACTS[table]
        .columns
        .iter()
        .map(|c| (Just(c.name.clone()), value(&c.kind, c.class, c.required)))
        .collect();
    columns
        .prop_map(|values| values.into_iter().collect())
        .boxed()
}

fn one(words: &'static [&'static str]) -> BoxedStrategy<OracleValue> {
    proptest::sample::select(words)
        .prop_map(|word| OracleValue::Text(word.to_owned()))
        .boxed()
}

fn key_of(name: &'static str) -> BoxedStrategy<OracleValue> {
    prop_oneof![1 => Just(OracleValue::Null), 4 => (0..3).prop_map(move |i| OracleValue::Text(format!("p:{name}{i}")))].boxed()
}

/// The window every question here is about, and its first instant.
pub(crate) const DAY: (&str, &str) = ("2026-01-15T00:00:00Z", "2026-01-16T00:00:00Z");

fn sale() -> BoxedStrategy<OracleRow> {
    let day = t(DAY.0).as_microsecond();
    let at = prop_oneof![1 => Just(OracleValue::Null), 9 => (-86_400_000_000..86_400_000_000_i64).prop_map(move |at| OracleValue::Instant(day + at))];
    let always: Vec<(&'static str, BoxedStrategy<OracleValue>)> = vec![
        ("occurred_at", at.boxed()),
        ("pipeline", one(&["p", "p", "p", "pp"])),
        ("source", one(&["hecone", "pace"])),
        ("perspective", one(&["sale", "sale", "sale", "purchase"])),
        (
            "kind",
            one(&["sale", "sale", "refund", "free", "test", "void"]),
        ),
        (
            "state",
            one(&["completed", "completed", "consumed", "created", "declined"]),
        ),
        ("currency", one(&["EUR", "CHF"])),
        ("tenant_id", one(&["a", "A", "b"])),
        ("site_key", key_of("s")),
        ("device_key", key_of("d")),
        ("point_key", key_of("p")),
        (
            "local_hour",
            (0..24_i64).prop_map(OracleValue::Whole).boxed(),
        ),
    ];
    (
        row("transactions"),
        always
            .into_iter()
            .map(|(name, value)| (Just(name), value))
            .collect::<Vec<_>>(),
    )
        .prop_map(|(mut row, always)| {
            row.extend(
                always
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value)),
            );
            row
        })
        .boxed()
}

fn dimension(table: &'static str) -> BoxedStrategy<Vec<OracleRow>> {
    prop::collection::vec(row(table), 0..4)
        .prop_map(move |mut rows| {
            for (index, row) in rows.iter_mut().enumerate() {
                row.insert("pipeline".into(), OracleValue::Text("p".into()));
                row.insert(
                    "tenant_key".into(),
                    OracleValue::Text(format!("p:t{index}")),
                );
                let (_, keys) = DIMENSIONS.iter().find(|(name, _)| *name == table).unwrap();
                for key in *keys {
                    let value = match *key {
                        "pipeline" => "p".to_owned(),
                        "tenant_id" => ["a", "A", "b"][index % 3].to_owned(),
                        _ => format!("p:{}{index}", key.chars().next().unwrap()),
                    };
                    row.insert((*key).to_owned(), OracleValue::Text(value));
                }
            }
            rows.truncate(3);
            rows
        })
        .boxed()
}

/// Any world.
pub(crate) fn world() -> BoxedStrategy<OracleWorld> {
    let dimensions = DIMENSIONS.map(|(name, _)| (Just(name), dimension(name)));
    (prop::collection::vec(sale(), 1..40), dimensions.to_vec())
        .prop_map(|(mut sales, dimensions)| {
            for sale in &mut sales {
                for key in ["site_key", "device_key", "point_key"] {
                    if let (OracleValue::Text(id), OracleValue::Text(pipeline)) =
                        (sale[key].clone(), &sale["pipeline"])
                    {
                        let id = format!("{pipeline}{}", id.strip_prefix('p').unwrap());
                        sale.insert(key.into(), OracleValue::Text(id));
                    }
                }
                let at = if let OracleValue::Instant(at) = sale["occurred_at"] {
                    Some(at)
                } else {
                    None
                };
                let month = at.map(|at| {
                    Timestamp::from_microsecond(at)
                        .unwrap()
                        .strftime("%Y-%m")
                        .to_string()
                });
                sale.insert(
                    "month".into(),
                    OracleValue::Text(month.unwrap_or_else(|| "none".into())),
                );
            }
            let mut world = OracleWorld {
                sales,
                dimensions: dimensions.into_iter().collect(),
            };
            world.number();
            world
        })
        .boxed()
}

fn operand() -> BoxedStrategy<FilterOperand> {
    let numbers = [
        "0",
        "1",
        "-1",
        "1.25",
        "1.00001",
        "0.99995",
        "-0.00005",
        "7",
        "7.5",
        "-7.5",
        "12",
        "23",
        "1e30",
        "-1e30",
        "99999999999999.9999",
        "100000000000000",
        "99999999999999.99995",
        "9223372036854775807",
        "-9223372036854775808.5",
    ];
    let number = proptest::sample::select(numbers.to_vec())
        .prop_map(|text| FilterOperand::Number(ExactDecimal::from_json(text).unwrap()));
    prop_oneof![
        1 => Just(FilterOperand::Null),
        1 => any::<bool>().prop_map(FilterOperand::Bool),
        6 => text().prop_map(FilterOperand::Text),
        4 => number,
        4 => proptest::sample::select(INSTANT_TEXTS).prop_map(|text| FilterOperand::Text(text.to_owned())),
        1 => text().prop_map(|text| FilterOperand::Text(key().pseudonym(ValueNormalisation::Plate, &text))),
    ]
    .boxed()
}

/// A test whose value fits its field more often than not.
fn test() -> BoxedStrategy<FilterTest> {
    (
        proptest::sample::select(fields()),
        proptest::sample::select(FilterOperator::ALL),
        prop::collection::vec(operand(), 12),
        any::<bool>(),
        0..12,
    )
        .prop_map(|(field, operator, operands, ignore_case, strict)| {
            let test = |operator, value: &FilterOperand| FilterTest {
                field: field.clone(),
                operator,
                value: value.clone(),
                ignore_case,
            };
            let fitting = |operator| {
                operands
                    .iter()
                    .map(|value| test(operator, value))
                    .find(is_fine)
            };
            if strict == 0 {
                return test(operator, &operands[0]);
            }
            fitting(operator)
                .or_else(|| fitting(FilterOperator::Neq))
                .unwrap_or_else(|| test(FilterOperator::IsNull, &FilterOperand::Null))
        })
        .boxed()
}

/// Any filter, mostly one that can be asked.
pub(crate) fn filter() -> BoxedStrategy<Filter> {
    test()
        .prop_map(Filter::Test)
        .prop_recursive(4, 24, 4, |inner| {
            let filters = || prop::collection::vec(inner.clone(), 0..4);
            prop_oneof![
                filters().prop_map(Filter::All),
                filters().prop_map(Filter::Any)
            ]
        })
        .boxed()
}
