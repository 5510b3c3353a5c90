//! Records of the source, by plain loops, and whether the unified tables hold exactly those.
//!
//! Invariant: every row of transactions, articles and payments is compared, not only counts and sums.

use crate::exact_json;
use crate::project::TestProject;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use tillhouse_sandbox::{Decimal, Sandbox};

/// The source's records, numbers exact.
pub(crate) fn records(sandbox: &Sandbox) -> Vec<Value> {
    let text = |body: &[u8]| String::from_utf8(body.to_vec()).expect("a record is UTF-8");
    sandbox
        .truth()
        .iter()
        .map(|body| exact_json::json(&text(body), "a record"))
        .collect()
}

pub(crate) fn list<'a>(record: &'a Value, name: &str) -> &'a [Value] {
    record[name]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn instant(value: &Value) -> Option<Timestamp> {
    value
        .as_str()
        .map(|text| text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}")))
}

/// When the sale happened: the invoice, else the first article's start, else the first payment.
pub(crate) fn record_time(record: &Value) -> Option<Timestamp> {
    let earliest = |name: &str, field: &str| {
        list(record, name)
            .iter()
            .filter_map(|entry| instant(&entry[field]))
            .min()
    };
    instant(&record["invoice"]["created_at"])
        .or_else(|| earliest("articles", "start_time"))
        .or_else(|| earliest("payments", "created_at"))
}

/// A transaction's currency: its invoice's, else the first that an article names, else the first of a payment.
pub(crate) fn currency(record: &Value) -> Option<&str> {
    let first = |name: &str| {
        list(record, name)
            .iter()
            .find_map(|entry| entry["currency"].as_str())
    };
    record["invoice"]["currency"]
        .as_str()
        .or_else(|| first("articles"))
        .or_else(|| first("payments"))
}

/// A value as the comparison shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn line(parts: impl IntoIterator<Item = String>) -> String {
    parts.into_iter().collect::<Vec<_>>().join(" | ")
}

/// The rows that unified.transactions, articles and payments must hold.
fn expected(records: &[Value]) -> [Vec<String>; 3] {
    let mut tables = [const { Vec::new() }; 3];
    for record in records {
        let key = format!("hecone:{}", shown(&record["id"]));
        let time = record_time(record);
        let at = time.map_or("-".to_owned(), |time| time.to_string());
        let month = time.map_or("none".to_owned(), |time| time.strftime("%Y-%m").to_string());
        let invoice = &record["invoice"];
        let own = currency(record).unwrap_or("-");
        tables[0].push(line([
            key.clone(),
            shown(&record["state"]),
            shown(&record["mandator_id"]),
            at.clone(),
            month.clone(),
            shown(&invoice["amount"]),
            shown(&invoice["paid_amount"]),
            shown(&invoice["tax_amount"]),
            own.to_owned(),
        ]));
        for (index, article) in list(record, "articles").iter().enumerate() {
            tables[1].push(line([
                key.clone(),
                shown(&article["id"]),
                format!("#{}", index + 1),
                shown(&article["state"]),
                shown(&article["name"]),
                shown(&article["quantity"]),
                shown(&article["unit_price"]),
                shown(&article["amount"]),
                article["currency"].as_str().unwrap_or(own).to_owned(),
                at.clone(),
                month.clone(),
                shown(&record["state"]),
            ]));
        }
        for payment in list(record, "payments") {
            tables[2].push(line([
                key.clone(),
                shown(&payment["id"]),
                shown(&payment["state"]),
                shown(&payment["type"]),
                shown(&payment["amount"]),
                shown(&payment["reserved_amount"]),
                payment["currency"].as_str().unwrap_or(own).to_owned(),
                at.clone(),
                month.clone(),
                shown(&record["state"]),
            ]));
        }
    }
    tables.each_mut().map(|rows| {
        rows.sort_unstable();
        std::mem::take(rows)
    })
}

const QUERIES: [(&str, &str); 3] = [
    (
        "transactions",
        "SELECT transaction_key, state, tenant_id, occurred_at, month, amount, paid_amount, tax_amount, currency \
         FROM transactions",
    ),
    (
        "articles",
        "SELECT transaction_key, article_id, line_number, state, name, quantity, unit_price, amount, currency, occurred_at, \
         month, transaction_state FROM articles",
    ),
    (
        "payments",
        "SELECT transaction_key, payment_id, state, type, amount, reserved_amount, currency, occurred_at, month, \
         transaction_state FROM payments",
    ),
];

/// A row of an answer in the columns' order, which serde_json's map does not keep.
fn row(columns: &str, row: &Value) -> String {
    let names = columns
        .trim_start_matches("SELECT ")
        .split(" FROM")
        .next()
        .unwrap_or_default()
        .split(',');
    line(names.map(str::trim).map(|name| match name {
        "occurred_at" => instant(&row[name]).map_or("-".to_owned(), |time| time.to_string()),
        _ => shown(&row[name]),
    }))
}

/// Compares the unified tables with these records, row by row.
pub(crate) async fn assert_unified_is(project: &TestProject, records: &[Value], when: &str) {
    for ((table, query), wanted) in QUERIES.into_iter().zip(expected(records)) {
        let mut found: Vec<String> = project
            .sql(query)
            .await
            .iter()
            .map(|r| row(query, r))
            .collect();
        found.sort_unstable();
        assert_same(&found, &wanted, &format!("{when}: unified.{table}"));
    }
}

/// Compares the unified tables with the source.
pub(crate) async fn assert_unified_equals(project: &TestProject, sandbox: &Sandbox, when: &str) {
    assert_unified_is(project, &records(sandbox), when).await;
}

/// Compares two sorted lists and names the first rows that differ.
pub(crate) fn assert_same(found: &[String], wanted: &[String], what: &str) {
    if found == wanted {
        return;
    }
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for text in found {
        *counts.entry(text).or_default() += 1;
    }
    for text in wanted {
        *counts.entry(text).or_default() -= 1;
    }
    let differ = |keep: fn(i64) -> bool| {
        let rows: Vec<&str> = counts
            .iter()
            .filter(|(_, n)| keep(**n))
            .map(|(text, _)| *text)
            .collect();
        format!(
            "{} rows\n  {}",
            rows.len(),
            rows.iter()
                .take(5)
                .copied()
                .collect::<Vec<_>>()
                .join("\n  ")
        )
    };
    panic!(
        "{what} has {} rows, not {}\ntoo many: {}\nmissing: {}",
        found.len(),
        wanted.len(),
        differ(|n| n > 0),
        differ(|n| n < 0)
    );
}

/// Rows and exact sums of one currency.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ExactCurrencySums {
    pub(crate) rows: i64,
    /// By column; none where no row has a value.
    pub(crate) sums: BTreeMap<String, Option<Decimal>>,
}

impl ExactCurrencySums {
    pub(crate) fn add(&mut self, column: &str, value: &Value) {
        let sum = self.sums.entry(column.to_owned()).or_default();
        if let Some(value) = exact_json::number(value) {
            *sum = Some(sum.unwrap_or(Decimal::ZERO).plus(value));
        }
    }
}
