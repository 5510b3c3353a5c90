//! Adding up, by hand.
//!
//! Invariant: the expected rows are written down here, not computed.

use super::*;
use arrow::array::DictionaryArray;
use arrow::datatypes::{Field, Schema};
use std::iter::repeat_n;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(HOUR_COLUMN, timestamp(), true),
        Field::new("business_date", DataType::Date32, true),
        Field::new("pipeline", DataType::Utf8, false),
        Field::new("state", DataType::Utf8, true),
        Field::new("excluded", DataType::Boolean, true),
        Field::new("currency", DataType::Utf8, true),
        Field::new("rows", DataType::Int64, false),
        Field::new("without", DataType::Int64, true),
        Field::new("quantity", DataType::Decimal128(28, 6), true),
        Field::new("amount", DataType::Decimal128(28, 4), true),
        Field::new(MONTH, DataType::Utf8, false),
    ]))
}

/// Hour or none, state, excluded, currency, amount, key of the transaction.
type FixtureAggregateRow<'a> = (
    Option<i64>,
    Option<&'a str>,
    Option<bool>,
    Option<&'a str>,
    Option<i128>,
    &'a str,
);

/// Hour or none, state, excluded, currency, amount, key of the transaction.
fn facts(rows: &[FixtureAggregateRow<'_>]) -> RecordBatch {
    let times = rows
        .iter()
        .map(|row| row.0.map(|hour| hour * HOUR + 59))
        .collect::<TimestampMicrosecondArray>();
    let days: Date32Array = repeat_n(Some(20_000), rows.len()).collect();
    let states: DictionaryArray<Int32Type> = rows.iter().map(|row| row.1).collect();
    let excluded: BooleanArray = rows.iter().map(|row| row.2).collect();
    let currencies: StringArray = rows.iter().map(|row| row.3).collect();
    let amounts: Decimal128Array = rows.iter().map(|row| row.4).collect();
    let keys: StringArray = rows.iter().map(|row| Some(row.5)).collect();
    let columns: [(&str, ArrayRef); 7] = [
        (OCCURRED_AT, Arc::new(times.with_timezone("UTC"))),
        ("business_date", Arc::new(days)),
        ("state", Arc::new(states)),
        ("excluded", Arc::new(excluded)),
        ("currency", Arc::new(currencies)),
        (
            "amount",
            Arc::new(amounts.with_precision_and_scale(18, 4).unwrap()),
        ),
        ("transaction_key", Arc::new(keys)),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
        .unwrap()
}

fn adding() -> HourlyAggregator {
    HourlyAggregator::new(
        schema(),
        "rows",
        &["quantity", "amount"],
        Some(("without", "amount")),
        "p",
        "2024-10",
    )
    .unwrap()
}

fn shown(adding: HourlyAggregator) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in adding.finish() {
        let batch = batch.unwrap();
        assert_eq!(batch.schema(), schema());
        let text = arrow::util::pretty::pretty_format_batches(&[batch])
            .unwrap()
            .to_string();
        let rows = text
            .lines()
            .skip(3)
            .filter(|line| line.starts_with("| "))
            .map(|line| {
                let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
                cells
                    .iter()
                    .map(|cell| if cell.is_empty() { "-" } else { cell })
                    .collect::<Vec<_>>()
                    .join(" ")
            });
        lines.extend(rows);
    }
    lines
}

#[test]
fn rows_that_are_alike_are_one_and_sums_are_exact() {
    let mut adding = adding();
    let eur = Some("EUR");
    let many = [
        (Some(2), Some("completed"), Some(false), eur, Some(1), "a"),
        (
            Some(1),
            Some("completed"),
            Some(false),
            eur,
            Some(10_001),
            "b",
        ),
        (Some(1), Some("completed"), None, eur, None, "c"),
    ];
    adding.add(&facts(&many), MissingCurrency::Keep).unwrap();
    adding
        .add(&facts(&many[1..]), MissingCurrency::Keep)
        .unwrap();
    adding
        .add(
            &facts(&[(None, None, None, None, Some(-5), "d")]),
            MissingCurrency::Keep,
        )
        .unwrap();
    assert_eq!(
        shown(adding),
        [
            "- 2024-10-04 p - - - 1 0 - -0.0005 2024-10",
            "1970-01-01T01:00:00Z 2024-10-04 p completed false EUR 2 0 - 2.0002 2024-10",
            "1970-01-01T01:00:00Z 2024-10-04 p completed - EUR 2 2 - - 2024-10",
            "1970-01-01T02:00:00Z 2024-10-04 p completed false EUR 1 0 - 0.0001 2024-10",
        ]
    );
}

#[test]
fn a_row_without_a_currency_has_its_transactions() {
    let mut adding = adding();
    let rows = [
        (Some(1), None, None, Some("CHF"), Some(1), "a"),
        (Some(1), None, None, None, Some(2), "b"),
        (None, None, None, None, Some(3), "c"),
    ];
    let mut times = HashSet::new();
    adding
        .add(&facts(&rows), MissingCurrency::Defer(&mut times))
        .unwrap();
    assert_eq!(times, HashSet::from([None, Some(HOUR + 59)]));
    let parents =
        TransactionCurrencies::from([("b".into(), Some("EUR".into())), ("c".into(), None)]);
    adding
        .add(
            &facts(&rows[1..]),
            MissingCurrency::FromTransaction(&parents),
        )
        .unwrap();
    let lines = shown(adding);
    let amounts: Vec<&str> = lines
        .iter()
        .map(|line| line.split_once(" p ").unwrap().1)
        .collect();
    assert_eq!(
        amounts,
        [
            "- - - 1 0 - 0.0003 2024-10",
            "- - CHF 1 0 - 0.0001 2024-10",
            "- - EUR 1 0 - 0.0002 2024-10"
        ]
    );
}

#[test]
fn many_rows_come_in_batches_and_what_is_too_large_is_an_error() {
    let mut adding = adding();
    let hours: Vec<FixtureAggregateRow<'_>> = (0..20_000)
        .map(|hour| (Some(hour), None, None, None, Some(i128::from(hour)), "a"))
        .collect();
    adding.add(&facts(&hours), MissingCurrency::Keep).unwrap();
    let sizes: Vec<usize> = adding
        .finish()
        .map(|batch| batch.unwrap().num_rows())
        .collect();
    assert_eq!(sizes, [BATCH_ROWS, BATCH_ROWS, 20_000 - 2 * BATCH_ROWS]);

    let mut adding = self::adding();
    let wide: Decimal128Array = repeat_n(Some(10_i128.pow(28) - 1), 2).collect();
    let at: TimestampMicrosecondArray = repeat_n(Some(0), 2).collect();
    let columns: [(&str, ArrayRef); 2] = [
        (OCCURRED_AT, Arc::new(at.with_timezone("UTC"))),
        (
            "amount",
            Arc::new(wide.with_precision_and_scale(28, 4).unwrap()),
        ),
    ];
    adding
        .add(
            &RecordBatch::try_from_iter(columns.clone()).unwrap(),
            MissingCurrency::Keep,
        )
        .unwrap();
    let error = adding.finish().next().unwrap().unwrap_err();
    assert!(error.to_string().contains("more digits"), "{error}");
    let finer: Decimal128Array = [Some(1)].into_iter().collect();
    let finer: ArrayRef = Arc::new(finer.with_precision_and_scale(18, 6).unwrap());
    let at: ArrayRef = Arc::new([Some(0)].into_iter().collect::<TimestampMicrosecondArray>());
    let batch = RecordBatch::try_from_iter([(OCCURRED_AT, at), ("amount", finer)]).unwrap();
    let nothing = HourlyAggregator::new(
        schema(),
        "rows",
        &["amount"],
        Some(("without", "quantity")),
        "p",
        "2024-10",
    );
    assert!(nothing.is_err(), "the quantity is no sum of this roll-up");
    assert!(
        self::adding().add(&batch, MissingCurrency::Keep).is_err(),
        "digits would be lost"
    );
}
