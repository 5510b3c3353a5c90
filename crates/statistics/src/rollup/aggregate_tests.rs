//! Adding up, by hand.
//!
//! Invariant: the expected rows are written down here, not computed.

use super::super::fact::{ARTICLES, PAYMENTS, TRANSACTIONS};
use super::super::level::{LOCAL_HOURS, UTC_HOURS};
use super::*;
use arrow::array::DictionaryArray;
use std::iter::repeat_n;

fn level(name: &str) -> &'static Level {
    let all = [&TRANSACTIONS, &ARTICLES, &PAYMENTS].into_iter();
    let mut levels = all.flat_map(Level::of);
    levels.find(|level| level.name == name).unwrap()
}

fn adding(name: &str, rows: AggregatedRows) -> PeriodAggregator {
    PeriodAggregator::new(level(name), rows, "p", "1970-01").unwrap()
}

/// Hour since 1970 or none, hour of the site's clock, state, currency, amount, key of the transaction.
type FixtureFactRow<'a> = (
    Option<i64>,
    Option<i64>,
    Option<&'a str>,
    Option<&'a str>,
    Option<i128>,
    &'a str,
);

fn facts(rows: &[FixtureFactRow<'_>]) -> RecordBatch {
    let times = rows
        .iter()
        .map(|row| row.0.map(|hour| hour * HOUR + 59))
        .collect::<TimestampMicrosecondArray>();
    let days: Date32Array = repeat_n(Some(20_000), rows.len()).collect();
    let hours: Int64Array = rows.iter().map(|row| row.1).collect();
    let states: DictionaryArray<Int32Type> = rows.iter().map(|row| row.2).collect();
    let currencies: StringArray = rows.iter().map(|row| row.3).collect();
    let amounts: Decimal128Array = rows.iter().map(|row| row.4).collect();
    let keys: StringArray = rows.iter().map(|row| Some(row.5)).collect();
    let columns: [(&str, ArrayRef); 7] = [
        (OCCURRED_AT, Arc::new(times.with_timezone("UTC"))),
        ("business_date", Arc::new(days)),
        ("local_hour", Arc::new(hours)),
        ("state", Arc::new(states)),
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

fn text(column: &ArrayRef, row: usize) -> String {
    match column.is_null(row) {
        true => "-".to_owned(),
        false => arrow::util::display::array_value_to_string(column, row).unwrap(),
    }
}

/// Rows of what was added up, in these columns; behind them the hours that are counted in, as `10u2` and `11l2`.
fn shown(adding: PeriodAggregator, columns: &[&str]) -> Vec<String> {
    let mut lines = Vec::new();
    for batch in adding.finish() {
        let batch = batch.unwrap();
        for row in 0..batch.num_rows() {
            let cell = |name: &str| text(batch.column_by_name(name).unwrap(), row);
            let mut cells: Vec<String> = columns.iter().map(|name| cell(name)).collect();
            for (kind, names) in [("u", &UTC_HOURS), ("l", &LOCAL_HOURS)] {
                for (hour, name) in names.iter().enumerate() {
                    if batch.column_by_name(name).is_some() && !["0", "-"].contains(&&*cell(name)) {
                        cells.push(format!("{hour}{kind}{}", cell(name)));
                    }
                }
            }
            lines.push(cells.join(" "));
        }
    }
    lines
}

const DAYS: [&str; 9] = [
    "period_start",
    "business_date",
    "state",
    "currency",
    "transactions",
    "without_amount",
    "amount",
    "level",
    "period",
];

#[test]
fn rows_that_are_alike_are_one_and_sums_and_hours_are_exact() {
    let mut adding = adding("daily_transactions", AggregatedRows::Facts);
    let (sold, eur) = (Some("completed"), Some("EUR"));
    let many = [
        (Some(26), Some(3), sold, eur, Some(1), "a"),
        (Some(1), Some(2), sold, eur, Some(10_001), "b"),
        (Some(5), None, sold, eur, None, "c"),
    ];
    adding.add(&facts(&many), MissingCurrency::Keep).unwrap();
    adding
        .add(&facts(&many[1..]), MissingCurrency::Keep)
        .unwrap();
    let untimed = [(None, None, None, None, Some(-5), "d")];
    adding.add(&facts(&untimed), MissingCurrency::Keep).unwrap();
    assert_eq!(
        shown(adding, &DAYS),
        [
            "- 2024-10-04 - - 1 0 -0.0005 daily_transactions 1970-01",
            "1970-01-01T00:00:00Z 2024-10-04 completed EUR 4 2 2.0002 daily_transactions 1970-01 1u2 5u2 2l2 5l2",
            "1970-01-02T00:00:00Z 2024-10-04 completed EUR 1 0 0.0001 daily_transactions 1970-01 2u1 3l1",
        ]
    );
}

#[test]
fn a_row_without_a_currency_has_its_transactions() {
    let mut adding = adding("monthly_payments", AggregatedRows::Facts);
    let rows = [
        (Some(1), None, None, Some("CHF"), Some(1), "a"),
        (Some(1), None, None, None, None, "b"),
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
    assert_eq!(
        shown(
            adding,
            &[
                "period_start",
                "currency",
                "payments",
                "without_amount",
                "amount"
            ]
        ),
        [
            "- - 1 0 0.0003",
            "1970-01-01T00:00:00Z CHF 1 0 0.0001",
            "1970-01-01T00:00:00Z EUR 1 1 -",
        ]
    );
}

#[test]
fn many_rows_come_in_batches_and_what_is_too_large_is_an_error() {
    let mut adding = adding("daily_transactions", AggregatedRows::Facts);
    let days: Vec<FixtureFactRow<'_>> = (0..20_000)
        .map(|day| (Some(day * 24), None, None, None, Some(i128::from(day)), "a"))
        .collect();
    adding.add(&facts(&days), MissingCurrency::Keep).unwrap();
    let sizes: Vec<usize> = adding
        .finish()
        .map(|batch| batch.unwrap().num_rows())
        .collect();
    assert_eq!(sizes, [BATCH_ROWS, BATCH_ROWS, 20_000 - 2 * BATCH_ROWS]);

    let of_amounts = |amounts: Decimal128Array| {
        let at: TimestampMicrosecondArray = repeat_n(Some(0), amounts.len()).collect();
        let columns: [(&str, ArrayRef); 2] = [
            (OCCURRED_AT, Arc::new(at.with_timezone("UTC"))),
            ("amount", Arc::new(amounts)),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let mut adding = self::adding("daily_transactions", AggregatedRows::Facts);
    let wide: Decimal128Array = repeat_n(Some(10_i128.pow(21) - 1), 2).collect();
    let wide = of_amounts(wide.with_precision_and_scale(21, 4).unwrap());
    adding.add(&wide, MissingCurrency::Keep).unwrap();
    let error = adding.finish().next().unwrap().unwrap_err();
    assert!(error.to_string().contains("more digits"), "{error}");
    let finer: Decimal128Array = [Some(1)].into_iter().collect();
    let finer = of_amounts(finer.with_precision_and_scale(18, 6).unwrap());
    let mut adding = self::adding("daily_transactions", AggregatedRows::Facts);
    assert!(
        adding.add(&finer, MissingCurrency::Keep).is_err(),
        "digits would be lost"
    );
}

#[test]
fn rows_of_a_finer_level_stand_for_as_many_as_they_count() {
    let mut days = adding("daily_transactions", AggregatedRows::Facts);
    let (sold, void) = (Some("completed"), Some("declined"));
    let rows = [
        (Some(1), Some(2), sold, None, Some(10_000), "a"),
        (Some(1), Some(2), sold, None, None, "b"),
        (Some(30), Some(7), sold, None, Some(-1), "c"),
        (Some(30), Some(7), void, None, None, "d"),
        (None, None, sold, None, Some(5), "e"),
    ];
    days.add(&facts(&rows), MissingCurrency::Keep).unwrap();
    let days: Vec<RecordBatch> = days.finish().map(Result::unwrap).collect();
    let columns = [
        "period_start",
        "business_date",
        "state",
        "transactions",
        "without_amount",
        "amount",
        "level",
    ];
    let of = |name: &str| {
        let mut adding = adding(name, AggregatedRows::Sums);
        for batch in &days {
            adding.add(batch, MissingCurrency::Keep).unwrap();
        }
        shown(adding, &columns)
    };
    assert_eq!(
        of("monthly_transactions"),
        [
            "- - completed 1 0 0.0005 monthly_transactions",
            "1970-01-01T00:00:00Z - completed 3 1 0.9999 monthly_transactions 2l2 7l1",
            "1970-01-01T00:00:00Z - declined 1 1 - monthly_transactions 7l1",
        ]
    );
    assert_eq!(
        of("daily_transaction_totals"),
        [
            "- - completed 1 0 0.0005 daily_transaction_totals",
            "1970-01-01T00:00:00Z - completed 2 1 1.0000 daily_transaction_totals 1u2",
            "1970-01-02T00:00:00Z - completed 1 0 -0.0001 daily_transaction_totals 6u1",
            "1970-01-02T00:00:00Z - declined 1 1 - daily_transaction_totals 6u1",
        ]
    );
}
