//! Changes of the past, worked out by hand.
//!
//! Invariant: with roll-ups and without them a report says the same.

use crate::fixture::{FixtureArticle, FixturePayment, FixtureSale, FixtureTables, some, t, window};
use crate::published::{FixtureWarehouse, LATER, RUN, slice};
use serde_json::{Value, json};
use tillhouse_lake::{AsOf, RunRecord};
use tillhouse_model::Window;
use tillhouse_statistics::{StatisticsRequest, find_restatements};

fn sale(at: &str, amount: i128) -> FixtureSale {
    FixtureSale {
        site: some("p:s1"),
        ..FixtureSale::new(at, amount)
    }
}

fn before() -> FixtureTables {
    FixtureTables {
        sales: vec![
            sale("2026-01-01T10:10:00Z", 100_000),
            sale("2026-01-01T10:20:00Z", 50_000),
            sale("2026-01-01T23:30:00Z", 70_000),
            FixtureSale {
                state: some("pending"),
                ..sale("2026-01-02T08:00:00Z", 30_000)
            },
            sale("2026-01-02T09:00:00Z", 10_000),
            sale("2026-01-02T12:00:00Z", 20_000),
            // Not there yet.
            sale("2026-01-02T12:30:00Z", 20_000),
            sale("2026-01-05T12:00:00Z", 99_000),
        ],
        articles: vec![
            FixtureArticle::new(0, "Diesel", "l", 5_000_000),
            FixtureArticle::new(4, "Tea", "pc", 1_000_000),
        ],
        payments: vec![
            FixturePayment::new(0, ["Card"; 5], 100_000),
            FixturePayment {
                state: some("open"),
                ..FixturePayment::new(3, ["Card"; 5], 30_000)
            },
        ],
        ..FixtureTables::default()
    }
}

/// Findings of the later run: an amount corrected, a sale moved to the day after, an open one
/// completed and paid, one that moved to another site, one that arrived late, and one of a day
/// nobody had read.
fn after() -> FixtureTables {
    let mut house = before();
    house.sales[0].amount = Some(110_000);
    house.payments[0].amount = Some(110_000);
    house.sales[2].at = Some(t("2026-01-02T00:15:00Z"));
    house.sales[3].state = some("completed");
    house.payments[1].state = some("collected");
    house.articles[1].quantity = Some(2_000_000);
    house.sales[5].site = some("p:s2");
    house
}

async fn two_runs(rolled: bool) -> (FixtureWarehouse, RunRecord, RunRecord) {
    let place = FixtureWarehouse::new().await;
    let (then, now) = (before(), after());
    place.replace(&then, &[0, 1, 2, 3, 4, 5], None, 1).await;
    let read = |run: &str| tillhouse_lake::SliceRow {
        pipeline: "p".into(),
        read_at: t("2026-01-03T00:00:00Z"),
        ..slice("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z", run)
    };
    place
        .warehouse
        .ops()
        .record_slices(&[read(RUN)])
        .await
        .unwrap();
    publish(&place, RUN, rolled).await;
    place
        .replace(&now, &[0, 1, 2, 3, 4, 5, 6, 7], Some(&then), 2)
        .await;
    publish(&place, LATER, rolled).await;
    let run = |id: &str| AsOf::Run(id.into());
    let since = place
        .warehouse
        .ops()
        .published(&run(RUN))
        .await
        .unwrap()
        .unwrap();
    let latest = place
        .warehouse
        .ops()
        .published(&run(LATER))
        .await
        .unwrap()
        .unwrap();
    (place, since, latest)
}

async fn publish(place: &FixtureWarehouse, run: &str, rolled: bool) {
    let versions = place.versions().await;
    match rolled {
        true => {
            place.publish_rolled(versions, run, &[]).await;
        }
        // Without the facts named there is nothing to roll up: named afterwards, as by a version without roll-ups.
        false => {
            place
                .publish_rolled(std::collections::BTreeMap::new(), run, &[])
                .await;
            let mut record = place
                .warehouse
                .ops()
                .published(&AsOf::Run(run.into()))
                .await
                .unwrap()
                .unwrap();
            let versions = versions.into_iter();
            record.tables = versions
                .map(|(path, version)| (path, version.into()))
                .collect();
            place.warehouse.ops().publish(&record).await.unwrap();
        }
    }
}

fn everything() -> StatisticsRequest {
    StatisticsRequest::new(Window::new(jiff::Timestamp::MIN, jiff::Timestamp::MAX).unwrap())
}

/// Changes as lines: period, figure, then, now, difference.
fn changes(report: &Value, length: &str) -> Vec<String> {
    let line = |change: &Value| {
        let figure = change["figure"].as_str().unwrap();
        let unit = change["unit"]
            .as_str()
            .map(|unit| format!(" {unit}"))
            .unwrap_or_default();
        let period = change["period"].as_str().unwrap();
        format!(
            "{period} {figure}{unit} {} {} {}",
            change["then"], change["now"], change["difference"]
        )
    };
    report[length]
        .as_array()
        .unwrap()
        .iter()
        .map(line)
        .collect()
}

#[tokio::test]
async fn hours_days_and_months_that_changed_are_told_with_their_transactions() {
    let mut reports = Vec::new();
    for rolled in [true, false] {
        let (place, since, now) = two_runs(rolled).await;
        assert_eq!(since.tables.contains_key("statistics/levels"), rolled);
        let report = find_restatements(
            &place.engine,
            &place.warehouse,
            &since,
            &now,
            &everything(),
            100,
        )
        .await
        .unwrap();
        reports.push(serde_json::to_value(&report).unwrap());
    }
    let report = &reports[0];
    assert_eq!(report, &reports[1]);
    // From the first reading on, all was read that the pipeline had to read by the later run.
    assert_eq!(report["meta"]["gaps"], json!([]));
    assert_eq!(
        changes(report, "months"),
        [
            "2026-01 transactions 5 7 2",
            "2026-01 amount 25 31 6",
            "2026-01 collected 10 14 4",
            "2026-01 quantity pc 1 2 1",
        ]
    );
    assert_eq!(
        changes(report, "days"),
        [
            "2026-01-01 transactions 3 2 -1",
            "2026-01-01 amount 22 16 -6",
            "2026-01-01 collected 10 11 1",
            "2026-01-02 transactions 2 5 3",
            "2026-01-02 amount 3 15 12",
            "2026-01-02 collected 0 3 3",
            "2026-01-02 quantity pc 1 2 1",
        ]
    );
    assert_eq!(
        changes(report, "hours"),
        [
            "2026-01-01T10:00:00Z amount 15 16 1",
            "2026-01-01T10:00:00Z collected 10 11 1",
            "2026-01-01T23:00:00Z transactions 1 0 -1",
            "2026-01-01T23:00:00Z amount 7 0 -7",
            "2026-01-02T00:00:00Z transactions 0 1 1",
            "2026-01-02T00:00:00Z amount 0 7 7",
            "2026-01-02T08:00:00Z transactions 0 1 1",
            "2026-01-02T08:00:00Z amount 0 3 3",
            "2026-01-02T08:00:00Z collected 0 3 3",
            "2026-01-02T09:00:00Z quantity pc 1 2 1",
            "2026-01-02T12:00:00Z transactions 1 2 1",
            "2026-01-02T12:00:00Z amount 2 4 2",
        ]
    );
    let transactions = report["transactions"].as_array().unwrap();
    let told: Vec<String> = transactions
        .iter()
        .map(|t| {
            format!(
                "{} {} {}",
                t["transaction_key"].as_str().unwrap(),
                t["change"].as_str().unwrap(),
                t["what"]
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            r#"p:6 arrived []"#,
            r#"p:0 changed ["amount","payments"]"#,
            r#"p:2 changed ["time"]"#,
            r#"p:3 changed ["state","payments"]"#,
            r#"p:4 changed ["articles"]"#,
            r#"p:5 changed ["site"]"#,
        ]
    );
    assert_eq!(transactions[1]["then"]["amount"].to_string(), "10");
    assert_eq!(transactions[3]["now"]["collected"].to_string(), "3");
    assert_eq!(report["meta"]["transactions_changed"], 6);
    assert_eq!(
        report["meta"]["hours_first_read"], 1,
        "the fifth of January had not been read"
    );
}

#[tokio::test]
async fn the_list_is_cut_and_the_window_and_the_states_narrow_it() {
    let (place, since, now) = two_runs(true).await;
    let ask = async |request: &StatisticsRequest, most: usize| {
        let report =
            find_restatements(&place.engine, &place.warehouse, &since, &now, request, most)
                .await
                .unwrap();
        serde_json::to_value(&report).unwrap()
    };
    let cut = ask(&everything(), 2).await;
    assert_eq!(
        (
            cut["transactions"].as_array().unwrap().len(),
            &cut["meta"]["transactions_changed"]
        ),
        (2, &json!(6))
    );
    let first = StatisticsRequest {
        window: window("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        ..everything()
    };
    let first = ask(&first, 10).await;
    assert_eq!(changes(&first, "days").len(), 3);
    assert_eq!(first["meta"]["transactions_changed"], 2);
    let pending = ask(
        &StatisticsRequest {
            states: vec!["pending".into()],
            ..everything()
        },
        10,
    )
    .await;
    assert_eq!(
        changes(&pending, "hours"),
        [
            "2026-01-02T08:00:00Z transactions 1 0 -1",
            "2026-01-02T08:00:00Z amount 3 0 -3"
        ]
    );
    let nobody = ask(
        &StatisticsRequest {
            tenant: some("nobody"),
            ..everything()
        },
        10,
    )
    .await;
    assert_eq!(
        (
            changes(&nobody, "hours").len(),
            &nobody["meta"]["hours_first_read"]
        ),
        (0, &json!(0))
    );
    let same = find_restatements(
        &place.engine,
        &place.warehouse,
        &now,
        &now,
        &everything(),
        10,
    )
    .await
    .unwrap();
    assert!(same.hours.is_empty() && same.transactions.is_empty());
    let error = find_restatements(
        &place.engine,
        &place.warehouse,
        &now,
        &since,
        &everything(),
        10,
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), tillhouse_model::ErrorKind::Config);
}
