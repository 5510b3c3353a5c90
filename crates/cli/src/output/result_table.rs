//! Results of queries for people: a table where a row fits the terminal, else each row as a record, a line a column.
//!
//! Invariant: every value is there with all its digits. An amount has its currency's digits where its row names the currency, and no trailing noughts where it
//! does not; null is not a text of nothing.

use super::TextTable;

use super::terminal_escape::escape_controls;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, Schema};
use std::fmt::Write;
use tillhouse_model::money::format_amount;
use tillhouse_model::{ExactDecimal, Result};
use tillhouse_query::encode::cell::CellFormatter;

/// Null, in a result for people.
pub(crate) const NULL: &str = "NULL";
/// Digits after the point of money.
const MONEY_SCALE: i8 = 4;
/// Digits after the point of averages and quotients of money.
const QUOTIENT_SCALE: i8 = MONEY_SCALE + 10;
/// A value has at least so many characters of a record's line.
const NARROWEST_VALUE: usize = 20;

/// Form of a result for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ResultLayout {
    /// A table, or records where a row is wider than the terminal.
    #[default]
    Automatic,
    /// A table; wide cells take several lines.
    Table,
    /// Records.
    Expanded,
}

/// A result as text, for a terminal of a width where there is one.
pub(crate) fn result_text(
    schema: &Schema,
    batches: &[RecordBatch],
    null: &str,
    layout: ResultLayout,
    width: Option<usize>,
) -> Result<String> {
    let rows = rows(schema, batches, null)?;
    if is_plan(schema) {
        return Ok(plans(&rows));
    }
    let footer = format!(
        "{} {}\n",
        rows.len(),
        if rows.len() == 1 { "row" } else { "rows" }
    );
    if layout == ResultLayout::Expanded {
        return Ok(records(schema, &rows, width) + &footer);
    }
    let filled = |mut table: TextTable| {
        table.set_header(schema.fields().iter().map(|field| field.name().as_str()));
        for row in &rows {
            table.add_row(row);
        }
        for (index, field) in schema.fields().iter().enumerate() {
            if field.data_type().is_numeric() {
                table.align_right(index);
            }
        }
        table.to_string()
    };
    if layout == ResultLayout::Table || width.is_none() {
        return Ok(format!("{}\n{footer}", filled(TextTable::new())));
    }
    let table = filled(TextTable::unwrapped());
    let needed = table.lines().next().map_or(0, |line| line.chars().count());
    if width.is_some_and(|width| needed > width) && !rows.is_empty() {
        return Ok(records(schema, &rows, width) + &footer);
    }
    Ok(format!("{table}\n{footer}"))
}

/// True for what EXPLAIN gives.
fn is_plan(schema: &Schema) -> bool {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    names.eq(["plan_type", "plan"])
}

/// Plans of a query, line by line: their lines are the engine's, not a record's.
fn plans(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for cells in rows {
        for (index, cell) in cells.iter().enumerate() {
            for line in cell.lines() {
                let indent = if index == 0 { "" } else { "  " };
                // Writing to a String cannot fail.
                let _ = writeln!(text, "{indent}{}", escape_controls(line));
            }
        }
    }
    text
}

/// The cells of every row.
fn rows(schema: &Schema, batches: &[RecordBatch], null: &str) -> Result<Vec<Vec<String>>> {
    let currency = schema
        .fields()
        .iter()
        .position(|field| field.name() == "currency");
    let mut rows = Vec::new();
    for batch in batches {
        let currencies = match currency.and_then(|at| batch.columns().get(at)) {
            Some(column) => cast(column, &DataType::Utf8).ok(),
            None => None,
        };
        let cells: Vec<CellFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|column| CellFormatter::of(column.as_ref()))
            .collect::<Result<_>>()?;
        let nulls: Vec<_> = batch
            .columns()
            .iter()
            .map(|column| column.logical_nulls())
            .collect();
        for row in 0..batch.num_rows() {
            let of_row = currencies.as_ref().map(|column| column.as_string::<i32>());
            let currency = of_row
                .filter(|column| column.is_valid(row))
                .map(|column| column.value(row));
            let mut shown = Vec::with_capacity(cells.len());
            for (index, field) in schema.fields().iter().enumerate() {
                let is_null = nulls[index]
                    .as_ref()
                    .is_some_and(|nulls| nulls.is_null(row));
                shown.push(if is_null {
                    null.to_owned()
                } else {
                    match decimal(batch.column(index).as_ref(), row) {
                        Some(value) => match currency.filter(|_| is_money(field)) {
                            Some(currency) => format_amount(value, currency).replace(' ', ""),
                            None => value.trimmed().to_string(),
                        },
                        None => cells[index].text(row)?,
                    }
                });
            }
            rows.push(shown);
        }
    }
    Ok(rows)
}

/// A value that is a decimal.
fn decimal(column: &dyn Array, row: usize) -> Option<ExactDecimal> {
    let DataType::Decimal128(_, scale) = column.data_type() else {
        return None;
    };
    let units = column.as_primitive::<Decimal128Type>().value(row);
    u8::try_from(*scale)
        .ok()
        .map(|scale| ExactDecimal::new(units, scale))
}

/// True for a column of money, as far as its type and name tell: amounts have four digits, and so have their sums; rounded ones have two or three, and averages and quotients ten more. Quantities have
/// six, and whole numbers are counts. Where it is wrong, a number has a nought too many behind its point, and never another value.
fn is_money(field: &Field) -> bool {
    let is_of_scale = matches!(
        field.data_type(),
        DataType::Decimal128(_, 2..=MONEY_SCALE | QUOTIENT_SCALE)
    );
    let others = [
        "percent", "pct", "quantity", "growth", "rate", "share", "ratio",
    ];
    is_of_scale && !others.iter().any(|other| field.name().contains(other))
}

/// Each row as a record: a line a column, and more where a value is long.
fn records(schema: &Schema, rows: &[Vec<String>], width: Option<usize>) -> String {
    let names: Vec<String> = schema
        .fields()
        .iter()
        .map(|field| escape_controls(field.name()).into_owned())
        .collect();
    let widest = names
        .iter()
        .map(|name| name.chars().count())
        .max()
        .unwrap_or_default();
    let room = width.map(|width| width.saturating_sub(widest + 3).max(NARROWEST_VALUE));
    let line = width.unwrap_or(60);
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let title = format!("─[ {} ]", number + 1);
        let rest = line.saturating_sub(title.chars().count());
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{title}{}", "─".repeat(rest));
        for (name, value) in names.iter().zip(row) {
            let value = escape_controls(value);
            for (part, piece) in pieces(&value, room).into_iter().enumerate() {
                let name = if part == 0 { name.as_str() } else { "" };
                let padding = " ".repeat(widest - name.chars().count());
                let _ = writeln!(text, "{}", format!("{name}{padding} │ {piece}").trim_end());
            }
        }
    }
    text
}

/// A text in pieces that fit.
fn pieces(value: &str, room: Option<usize>) -> Vec<String> {
    let Some(room) = room.filter(|room| value.chars().count() > *room) else {
        return vec![value.to_owned()];
    };
    let characters: Vec<char> = value.chars().collect();
    characters
        .chunks(room)
        .map(|piece| piece.iter().collect())
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Decimal128Array, Int64Array, StringArray};
    use std::sync::Arc;

    fn decimals(values: Vec<Option<i128>>, scale: i8) -> ArrayRef {
        Arc::new(
            Decimal128Array::from(values)
                .with_precision_and_scale(30, scale)
                .unwrap(),
        )
    }

    fn text(values: Vec<Option<&str>>) -> ArrayRef {
        Arc::new(StringArray::from(values))
    }

    fn shown(columns: Vec<(&str, ArrayRef)>, layout: ResultLayout, width: Option<usize>) -> String {
        let columns = columns
            .into_iter()
            .map(|(name, values)| (name, values, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        result_text(
            &batch.schema(),
            std::slice::from_ref(&batch),
            NULL,
            layout,
            width,
        )
        .unwrap()
    }

    #[test]
    fn amounts_have_the_digits_of_their_currency() {
        let columns = vec![
            (
                "currency",
                text(vec![
                    Some("EUR"),
                    Some("JPY"),
                    Some("KWD"),
                    None,
                    Some("EUR"),
                ]),
            ),
            (
                "sum",
                decimals(
                    vec![
                        Some(123_000),
                        Some(12_000_000),
                        Some(15_000),
                        Some(15_000),
                        Some(123_456),
                    ],
                    4,
                ),
            ),
            ("tax_percentage", decimals(vec![Some(190_000); 5], 4)),
            (
                "quantity",
                decimals(
                    vec![Some(1_500_000), Some(0), None, Some(1), Some(-2_000_000)],
                    6,
                ),
            ),
        ];
        assert_eq!(
            shown(columns, ResultLayout::Automatic, Some(80)),
            "\
┌──────────┬─────────┬────────────────┬──────────┐
│ currency ┆     sum ┆ tax_percentage ┆ quantity │
╞══════════╪═════════╪════════════════╪══════════╡
│ EUR      ┆   12.30 ┆             19 ┆      1.5 │
│ JPY      ┆    1200 ┆             19 ┆        0 │
│ KWD      ┆   1.500 ┆             19 ┆     NULL │
│ NULL     ┆     1.5 ┆             19 ┆ 0.000001 │
│ EUR      ┆ 12.3456 ┆             19 ┆       -2 │
└──────────┴─────────┴────────────────┴──────────┘
5 rows
"
        );
        // Rounded by the query, an average, a quantity and a share of it.
        let currency = || ("currency", text(vec![Some("EUR"), Some("JPY")]));
        let columns = vec![
            currency(),
            ("round", decimals(vec![Some(1_250), Some(120_000)], 2)),
            (
                "avg",
                decimals(
                    vec![Some(1_250_000_000_000_000), Some(333_333_333_333_333)],
                    14,
                ),
            ),
            ("sum", decimals(vec![Some(1_500_000), Some(2_000_000)], 6)),
            ("share", decimals(vec![Some(1_250), Some(1_250)], 2)),
            ("n", decimals(vec![Some(7), Some(8)], 0)),
        ];
        assert_eq!(
            shown(columns, ResultLayout::Automatic, Some(80)),
            "\
┌──────────┬───────┬──────────────────┬─────┬───────┬───┐
│ currency ┆ round ┆              avg ┆ sum ┆ share ┆ n │
╞══════════╪═══════╪══════════════════╪═════╪═══════╪═══╡
│ EUR      ┆ 12.50 ┆            12.50 ┆ 1.5 ┆  12.5 ┆ 7 │
│ JPY      ┆  1200 ┆ 3.33333333333333 ┆   2 ┆  12.5 ┆ 8 │
└──────────┴───────┴──────────────────┴─────┴───────┴───┘
2 rows
"
        );
        let alone = vec![("sum", decimals(vec![Some(123_000)], 4))];
        assert!(shown(alone, ResultLayout::Automatic, Some(80)).contains("│ 12.3 │"));
    }

    #[test]
    fn a_row_that_is_too_wide_is_a_record() {
        let long = "x".repeat(50);
        let columns = || {
            vec![
                ("transaction_key", text(vec![Some("hecone:1"), None])),
                ("note", text(vec![Some(&long), Some("")])),
                ("n", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
            ]
        };
        assert_eq!(
            shown(columns(), ResultLayout::Automatic, Some(48)),
            format!(
                "\
─[ 1 ]──────────────────────────────────────────
transaction_key │ hecone:1
note            │ {}
                │ {}
n               │ 1
─[ 2 ]──────────────────────────────────────────
transaction_key │ NULL
note            │
n               │ 2
2 rows
",
                "x".repeat(30),
                "x".repeat(20)
            )
        );
        let wide = shown(columns(), ResultLayout::Automatic, Some(200));
        assert!(wide.starts_with('┌'), "{wide}");
        let unknown = shown(columns(), ResultLayout::Automatic, None);
        assert!(
            unknown.starts_with('┌'),
            "what is no terminal has no width: {unknown}"
        );
        let expanded = shown(columns(), ResultLayout::Expanded, Some(200));
        assert!(expanded.starts_with("─[ 1 ]"), "{expanded}");
    }

    #[test]
    fn a_plan_is_read_line_by_line() {
        let columns = vec![
            ("plan_type", text(vec![Some("logical_plan")])),
            ("plan", text(vec![Some("Limit: 1\n  TableScan: t\u{1b}")])),
        ];
        assert_eq!(
            shown(columns, ResultLayout::Automatic, Some(20)),
            "logical_plan\n  Limit: 1\n    TableScan: t\\u{1b}\n"
        );
    }

    #[test]
    fn a_value_can_neither_order_the_terminal_nor_forge_a_line() {
        let columns = vec![("a\u{1b}[8m", text(vec![Some("x\n─[ 9 ]\u{1b}[1A")]))];
        let text = shown(columns, ResultLayout::Expanded, Some(40));
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert_eq!(text.lines().count(), 3, "{text}");
    }
}
