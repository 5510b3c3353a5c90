//! Journey from an empty folder to statistics: 20,000 sales of five days, read over HTTP, and what
//! strangers find in the tables.
//!
//! Invariant: the truth is computed from the source's records by plain loops; none of our crates takes part in it.

use crate::project::TestProject;
use crate::source_truth::{self, ExactCurrencySums, assert_unified_equals, currency, list};
use crate::{exact_json, python};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use std::collections::BTreeMap;
use tillhouse_sandbox::statistics::HecOneStatisticsQuery;
use tillhouse_sandbox::{Decimal, Sandbox, SandboxOptions};

/// The sums of one unified table by currency, from the source's records.
fn wanted(records: &[Value], table: &str, columns: &[&str]) -> BTreeMap<String, ExactCurrencySums> {
    let mut sums: BTreeMap<String, ExactCurrencySums> = BTreeMap::new();
    for record in records {
        let own = currency(record).unwrap_or("none");
        let mut add = |currency: &str, row: &Value| {
            let sums = sums.entry(currency.to_owned()).or_default();
            sums.rows += 1;
            columns
                .iter()
                .for_each(|column| sums.add(column, &row[*column]));
        };
        match table {
            "transactions" => add(own, &record["invoice"]),
            _ => list(record, table)
                .iter()
                .for_each(|row| add(row["currency"].as_str().unwrap_or(own), row)),
        }
    }
    sums
}

/// Sums of a reader, in the same shape; distinct keys must equal rows.
fn found(read: &Value, key: &str) -> BTreeMap<String, ExactCurrencySums> {
    let mut sums = BTreeMap::new();
    for group in read["groups"].as_array().expect("groups") {
        let rows = group["rows"].as_i64().expect("rows is a number");
        assert_eq!(
            group["distinct"][key], rows,
            "every row has a {key} of its own"
        );
        let of = group["sums"].as_object().expect("sums");
        let decimal = |text: &Value| text.as_str().map(|t| Decimal::parse(t).expect("a decimal"));
        let of = of
            .iter()
            .map(|(column, sum)| (column.clone(), decimal(sum)))
            .collect();
        let currency = group["group"]["currency"]
            .as_str()
            .unwrap_or("none")
            .to_owned();
        sums.insert(currency, ExactCurrencySums { rows, sums: of });
    }
    sums
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_find_every_row_and_every_cent() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let project = TestProject::new(&sandbox.hecone_url()).await;
    let report = project.sync(&["--to", "2026-01-06"]).await;
    let records = source_truth::records(&sandbox);
    assert!(records.len() >= 20_000, "{}", records.len());
    assert_eq!(exact_json::integer(&report["new"]), records.len() as i64);
    assert_eq!(exact_json::integer(&report["rejects"]), 0);
    assert_unified_equals(&project, &sandbox, "after the first sync").await;

    for (table, key, columns) in [
        (
            "transactions",
            "transaction_key",
            &["amount", "paid_amount", "tax_amount"][..],
        ),
        (
            "articles",
            "article_key",
            &["amount", "quantity", "tax_amount"][..],
        ),
        (
            "payments",
            "payment_key",
            &["amount", "reserved_amount"][..],
        ),
    ] {
        let folder = project.warehouse().join("unified").join(table);
        let mut arguments = vec![
            folder.to_str().expect("a plain path"),
            "--group",
            "currency",
            "--distinct",
            key,
        ];
        columns
            .iter()
            .for_each(|column| arguments.extend(["--sum", column]));
        let read = python::json("read_delta.py", arguments).await;
        let wanted = wanted(&records, table, columns);
        assert!(wanted.len() > 1, "the sandbox sells in several currencies");
        for reader in ["duckdb", "deltalake"] {
            assert_eq!(
                found(&read[reader], key),
                wanted,
                "{table} read by {reader}"
            );
        }
    }

    let versions = "SELECT count(*) FROM hecone.transactions";
    let before = project.count(versions).await;
    let again = project.sync(&["--to", "2026-01-06"]).await;
    assert_eq!(
        (
            exact_json::integer(&again["new"]),
            exact_json::integer(&again["changed"])
        ),
        (0, 0),
        "{again}"
    );
    assert_eq!(
        project.count(versions).await,
        before,
        "a second sync adds no record version"
    );
    assert_eq!(before, records.len() as i64);
    sandbox.stop().await;
}

fn instant(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// The figures of an answer that providers have too: no provider ranks methods of payment.
fn providers_figures(answer: &Value) -> Value {
    let mut data = answer["data"].clone();
    for entry in data.as_array_mut().unwrap() {
        let ranking = entry
            .as_object_mut()
            .unwrap()
            .remove("payment_method_ranking");
        assert!(ranking.is_some_and(|ranking| ranking.is_array()));
    }
    data
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_equal_plain_loops_over_the_source() {
    let sandbox = Sandbox::start(SandboxOptions::default()).await.unwrap();
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.sync(&["--to", "2026-01-06"]).await;

    let whole = HecOneStatisticsQuery::new(
        instant("2026-01-01T00:00:00Z"),
        instant("2026-01-06T00:00:00Z"),
    );
    let berlin = TimeZone::get("Europe/Berlin").unwrap();
    let mandator = sandbox.mandators()[0].clone();
    let questions = [
        (
            whole.clone(),
            vec!["--from", "2026-01-01", "--to", "2026-01-06"],
        ),
        (
            HecOneStatisticsQuery {
                from: instant("2026-01-01T23:00:00Z"),
                to: instant("2026-01-04T23:00:00Z"),
                timezone: berlin,
                ..whole.clone()
            },
            vec![
                "--from",
                "2026-01-02",
                "--to",
                "2026-01-05",
                "--timezone",
                "Europe/Berlin",
            ],
        ),
        (
            HecOneStatisticsQuery {
                of_day: true,
                ..whole.clone()
            },
            vec![
                "--from",
                "2026-01-01",
                "--to",
                "2026-01-06",
                "--hours",
                "of_day",
            ],
        ),
        (
            HecOneStatisticsQuery {
                mandator: Some(mandator.clone()),
                ..whole.clone()
            },
            vec![
                "--from",
                "2026-01-01",
                "--to",
                "2026-01-06",
                "--tenant",
                &mandator,
            ],
        ),
        // Two days before this window have sales too, so every growth is a figure.
        (
            HecOneStatisticsQuery {
                from: instant("2026-01-04T00:00:00Z"),
                ..whole.clone()
            },
            vec!["--from", "2026-01-04", "--to", "2026-01-06"],
        ),
    ];
    for (question, arguments) in questions {
        let oracle = sandbox.statistics(&question).unwrap();
        let oracle = exact_json::json(&serde_json::to_string(&oracle).unwrap(), "the oracle");
        let mut all = vec!["stats"];
        all.extend(&arguments);
        let answer = project.json(&all).await;
        let ours = providers_figures(&answer);
        let (ours, theirs) = (ours.as_array().unwrap(), oracle["data"].as_array().unwrap());
        assert!(
            theirs.len() > 1 || question.mandator.is_some(),
            "several currencies"
        );
        assert_eq!(ours.len(), theirs.len(), "{arguments:?}: currencies");
        for (ours, theirs) in ours.iter().zip(theirs) {
            let (ours, theirs) = (ours.as_object().unwrap(), theirs.as_object().unwrap());
            assert!(
                ours.keys().eq(theirs.keys()),
                "{arguments:?}: {:?}",
                ours.keys()
            );
            for (part, wanted) in theirs {
                assert_eq!(
                    &ours[part], wanted,
                    "{arguments:?}: {} of {}",
                    part, theirs["currency"]
                );
            }
        }
        for part in [
            "open_transactions",
            "free_transactions",
            "test_transactions",
            "transactions_without_time",
        ] {
            assert_eq!(
                answer["meta"][part], oracle["meta"][part],
                "{arguments:?}: {part}"
            );
        }
        assert_eq!(
            answer["meta"]["gaps"],
            Value::Array(Vec::new()),
            "{arguments:?}"
        );
        assert_eq!(answer["meta"]["rejects"], "#0", "{arguments:?}");
        let growth = &answer["data"][0]["transactions_count"]["growth"];
        let has_before = question.from >= instant("2026-01-04T00:00:00Z");
        assert_eq!(
            growth.is_string(),
            has_before || question.from > whole.from,
            "{arguments:?}: {growth}"
        );
    }
    sandbox.stop().await;
}

/// Filters as HecOne takes them: the source's own reading of a descriptor and ours give the same statistics.
#[tokio::test(flavor = "multi_thread")]
async fn filters_mean_what_the_source_takes_them_for() {
    let options = SandboxOptions {
        transactions: 4_000,
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.sync(&["--to", "2026-01-06"]).await;
    let records = source_truth::records(&sandbox);
    let first = |path: &str| {
        let found = records
            .iter()
            .filter_map(|record| record.pointer(path)?.as_str());
        found
            .filter(|text| text.len() > 3)
            .map(str::to_owned)
            .next()
            .unwrap_or_else(|| panic!("no record has {path}"))
    };
    let part = |path: &str| {
        first(path)
            .chars()
            .take(3)
            .collect::<String>()
            .to_uppercase()
    };
    let test = |field: &str, operator: &str, value: Value| serde_json::json!({"field": field, "operator": operator, "value": value});
    let both =
        |logic: &str, filters: [Value; 2]| serde_json::json!({"logic": logic, "filters": filters});
    let number = |value: i64| Value::from(value);
    let plate = first("/customer_data/license_plate");
    let filters = [
        test("site_name", "startswith", part("/site/name").into()),
        test("device_code", "neq", first("/device/code").into()),
        test("license_plate", "eq", plate.clone().into()),
        test("license_plate", "neq", plate.into()),
        test("client_type", "isnotnull", Value::Null),
        test("created_at", "gte", "2026-01-03T12:00:00+01:00".into()),
        both(
            "and",
            [
                test("amount", "gte", number(20)),
                test("point_number", "lte", number(2)),
            ],
        ),
        both(
            "or",
            [
                test("customer_odometer", "isnull", Value::Null),
                test("paid_amount", "lt", number(5)),
            ],
        ),
        both(
            "and",
            [
                test("customer_additional_info", "doesnotcontain", "e".into()),
                both(
                    "or",
                    [
                        test("state", "eq", "COMPLETED".into()),
                        test("receipt_state", "isnullorempty", Value::Null),
                    ],
                ),
            ],
        ),
        test("customer_driver_number", "isnotnull", Value::Null),
        test("site_id", "eq", first("/site_id").into()),
        test("mandator_id", "eq", sandbox.mandators()[0].clone().into()),
    ];
    let mut told = 0;
    let all = sandbox
        .statistics(&HecOneStatisticsQuery::new(
            instant("2026-01-01T00:00:00Z"),
            instant("2026-01-06T00:00:00Z"),
        ))
        .unwrap();
    for filter in filters {
        let filter = filter.to_string();
        let question = HecOneStatisticsQuery {
            filter: Some(filter.clone()),
            ..HecOneStatisticsQuery::new(
                instant("2026-01-01T00:00:00Z"),
                instant("2026-01-06T00:00:00Z"),
            )
        };
        let oracle = sandbox.statistics(&question).unwrap();
        told += usize::from(oracle != all && !oracle.data.is_empty());
        let oracle = exact_json::json(&serde_json::to_string(&oracle).unwrap(), "the oracle");
        let arguments = [
            "stats",
            "--from",
            "2026-01-01",
            "--to",
            "2026-01-06",
            "--filter",
            &filter,
        ];
        let answer = project.json(&arguments).await;
        assert_eq!(providers_figures(&answer), oracle["data"], "{filter}");
        for part in [
            "open_transactions",
            "free_transactions",
            "test_transactions",
            "transactions_without_time",
        ] {
            assert_eq!(
                answer["meta"][part], oracle["meta"][part],
                "{filter}: {part}"
            );
        }
    }
    assert!(
        told >= 9,
        "only {told} of the filters told some sales from others"
    );

    let compared = [
        "stats",
        "--from",
        "2026-01-04",
        "--to",
        "2026-01-06",
        "--compare",
        "2026-01-01..2026-01-02",
    ];
    let answer = project.json(&compared).await;
    assert_eq!(answer["meta"]["compare"], "window");
    assert_eq!(answer["meta"]["compared"]["from"], "2026-01-01T00:00:00Z");
    let text = project.run(&compared).await;
    assert!(
        text.stdout
            .contains("against 2026-01-01T00:00:00Z to 2026-01-02T00:00:00Z"),
        "{}",
        text.stdout
    );
    assert!(text.stdout.contains("collected "), "{}", text.stdout);
    sandbox.stop().await;
}
