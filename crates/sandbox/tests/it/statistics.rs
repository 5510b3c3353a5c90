//! The oracle against figures worked out by hand, and against itself.
//!
//! Invariant: every figure asserted here was computed on paper from the records in the test.

use crate::client::{WINDOW, with};
use serde_json::{Value, json};
use tillhouse_sandbox::{Sandbox, SandboxOptions, statistics::HecOneStatisticsQuery};

/// A world without sales, to be filled by hand.
async fn empty() -> (Sandbox, crate::client::SandboxClient) {
    with(SandboxOptions {
        transactions: 0,
        ..SandboxOptions::default()
    })
    .await
}

fn sale(id: &str, at: &str, state: &str, site: &str, amount: &str, kind: &str) -> String {
    format!(
        r#"{{"id":"{id}","mandator_id":"m","state":"{state}","site_id":"{site}",
        "invoice":{{"amount":{amount},"currency":"EUR","created_at":"{at}"}},
        "site":{{"name":"Site {site}","timezone":"Asia/Kolkata"}},
        "articles":[{{"id":"a","state":"done","name":"Diesel","unit_measure":"l","quantity":10.005,"amount":{amount}}}],
        "payments":[{{"id":"p","state":"collected","type":{kind},"medium":"Card","amount":{amount}}}]}}"#
    )
}

async fn filled() -> (Sandbox, crate::client::SandboxClient) {
    let (sandbox, client) = empty().await;
    for (id, at, state, site, amount, kind) in [
        // The window before: one of 10.00, one that does not count.
        (
            "b1",
            "2026-01-01T23:59:59Z",
            "completed",
            "1",
            "10.00",
            "\"PSPCard\"",
        ),
        (
            "b2",
            "2026-01-01T10:00:00Z",
            "declined",
            "1",
            "99",
            "\"PSPCard\"",
        ),
        // The window.
        (
            "w1",
            "2026-01-02T01:00:00+01:00",
            "completed",
            "1",
            "0.10",
            "\"Cash\"",
        ),
        (
            "w2",
            "2026-01-02T00:59:59Z",
            "completed",
            "2",
            "0.20",
            "\"PSPCard\"",
        ),
        (
            "w3",
            "2026-01-02T12:00:00Z",
            "consumed",
            "2",
            "10.50",
            "null",
        ),
        (
            "w4",
            "2026-01-02T12:30:00Z",
            "pending",
            "2",
            "77",
            "\"PSPCard\"",
        ),
        (
            "w5",
            "2026-01-02T12:31:00Z",
            "completed",
            "1",
            "0",
            "\"Voucher\"",
        ),
        // The end is not in it.
        (
            "e1",
            "2026-01-03T00:00:00Z",
            "completed",
            "1",
            "1000",
            "\"PSPCard\"",
        ),
    ] {
        sandbox
            .put(&sale(id, at, state, site, amount, kind))
            .unwrap();
    }
    // Swiss francs only before, so they appear with nothing; and a record nobody can read.
    let francs = sale(
        "c1",
        "2026-01-01T12:00:00Z",
        "completed",
        "1",
        "5",
        "\"Cash\"",
    )
    .replace("EUR", "CHF");
    sandbox.put(&francs).unwrap();
    sandbox.put(r#"{"id":"x1","mandator_id":"m","state":4,"invoice":{"created_at":"2026-01-02T10:00:00Z"}}"#).unwrap();
    sandbox
        .put(r#"{"id":"t1","mandator_id":"m","state":"created"}"#)
        .unwrap();
    (sandbox, client)
}

fn question() -> HecOneStatisticsQuery {
    HecOneStatisticsQuery::new(
        "2026-01-02T00:00:00Z".parse().unwrap(),
        "2026-01-03T00:00:00Z".parse().unwrap(),
    )
}

#[tokio::test]
async fn every_part_by_hand() {
    let (sandbox, client) = filled().await;
    let answer = serde_json::to_value(sandbox.statistics(&question()).unwrap()).unwrap();
    let expected = json!({
        "data": [
            {
                "currency": "CHF",
                "hourly_transactions": [], "payment_type_ranking": [], "payment_medium_ranking": [],
                "payment_scheme_ranking": [], "payment_entry_mode_ranking": [], "payment_function_ranking": [],
                "article_quantities_ranking": [], "sites_amount_ranking": [], "sites_transactions_ranking": [],
                "transactions_count": {"growth": -100, "value": 0},
                "transactions_total_amount": {"growth": -100, "value": 0},
            },
            {
                "currency": "EUR",
                "hourly_transactions": [
                    {"hour": "2026-01-02T00:00:00Z", "transactions": 2},
                    {"hour": "2026-01-02T12:00:00Z", "transactions": 1},
                ],
                "payment_type_ranking": [
                    {"amount": 10.5, "payment_type": "unknown"},
                    {"amount": 0.2, "payment_type": "PSPCard"},
                    {"amount": 0.1, "payment_type": "Cash"},
                ],
                "payment_medium_ranking": [{"amount": 10.8, "payment_medium": "Card"}],
                "payment_scheme_ranking": [{"amount": 10.8, "payment_scheme": "unknown"}],
                "payment_entry_mode_ranking": [{"amount": 10.8, "payment_entry_mode": "unknown"}],
                "payment_function_ranking": [{"amount": 10.8, "payment_function": "unknown"}],
                "article_quantities_ranking": [
                    {"unit_measure": "l", "articles_quantities": [{"article_name": "Diesel", "quantity": 30.015}]},
                ],
                "sites_amount_ranking": [
                    {"amount": 10.7, "site_name": "Site 2"},
                    {"amount": 0.1, "site_name": "Site 1"},
                ],
                "sites_transactions_ranking": [
                    {"site_name": "Site 2", "transactions": 2},
                    {"site_name": "Site 1", "transactions": 1},
                ],
                "transactions_count": {"growth": 200, "value": 3},
                "transactions_total_amount": {"growth": 8, "value": 10.8},
            },
        ],
        "meta": {
            "open_transactions": 2, "free_transactions": 1, "test_transactions": 0,
            "transactions_without_time": 1, "unreadable": 1,
        },
    });
    assert_eq!(answer, expected);

    let window = "start_date=2026-01-02T00:00:00Z&end_date=2026-01-03T00:00:00Z";
    let (_, over_http) = client.get(&format!("/control/statistics?{window}")).await;
    assert_eq!(over_http, expected);
    let (_, provider) = client
        .get(&format!(
            "/hecone/transactions/statistics?{window}&mandator_id=m"
        ))
        .await;
    assert_eq!(provider["data"], expected["data"]);
    assert_eq!(
        provider["meta"],
        json!({"limit": 2, "start": 0, "size": 2, "total": 2})
    );
    let (status, _) = client
        .get(&format!("/hecone/transactions/statistics?{window}"))
        .await;
    assert_eq!(status, 400, "the mandator is required");
}

#[tokio::test]
async fn hours_follow_the_zone_asked_for_or_the_sites_own_clock() {
    let (sandbox, client) = filled().await;
    let hours = |question: &HecOneStatisticsQuery| -> Value {
        let answer = sandbox.statistics(question).unwrap();
        serde_json::to_value(&answer.data[1].hourly_transactions).unwrap()
    };
    let kolkata = HecOneStatisticsQuery {
        timezone: jiff::tz::TimeZone::get("Asia/Kolkata").unwrap(),
        ..question()
    };
    assert_eq!(
        hours(&kolkata),
        json!([
            {"hour": "2026-01-02T05:00:00+05:30", "transactions": 1},
            {"hour": "2026-01-02T06:00:00+05:30", "transactions": 1},
            {"hour": "2026-01-02T17:00:00+05:30", "transactions": 1},
        ])
    );
    let of_day = HecOneStatisticsQuery {
        of_day: true,
        ..question()
    };
    assert_eq!(
        hours(&of_day),
        json!([{"hour": "05", "transactions": 1}, {"hour": "06", "transactions": 1}, {"hour": "17", "transactions": 1}])
    );
    let window = "start_date=2026-01-02T00:00:00Z&end_date=2026-01-03T00:00:00Z";
    let (_, body) = client
        .get(&format!(
            "/control/statistics?{window}&timezone=Asia/Kolkata"
        ))
        .await;
    assert_eq!(body["data"][1]["hourly_transactions"], hours(&kolkata));
}

#[tokio::test]
async fn states_mandators_and_filters_narrow_the_question() {
    let (sandbox, _client) = filled().await;
    let count = |question: HecOneStatisticsQuery| -> Vec<(String, String)> {
        let answer = sandbox.statistics(&question).unwrap();
        answer
            .data
            .iter()
            .map(|e| {
                (
                    e.currency.clone(),
                    e.transactions_total_amount.value.to_string(),
                )
            })
            .collect()
    };
    let eur = |amount: &str| vec![("EUR".to_owned(), amount.to_owned())];
    assert_eq!(
        count(HecOneStatisticsQuery {
            states: vec!["pending".into()],
            ..question()
        }),
        eur("77")
    );
    assert_eq!(
        count(HecOneStatisticsQuery {
            mandator: Some("nobody".into()),
            ..question()
        }),
        vec![]
    );
    let filter = r#"{"field":"site_name","operator":"eq","value":"site 2"}"#;
    assert_eq!(
        count(HecOneStatisticsQuery {
            filter: Some(filter.into()),
            ..question()
        }),
        eur("10.7")
    );
    assert!(
        sandbox
            .statistics(&HecOneStatisticsQuery {
                filter: Some("{}".into()),
                ..question()
            })
            .is_err()
    );
}

#[tokio::test]
async fn a_generated_world_adds_up() {
    let (sandbox, client) = with(SandboxOptions {
        transactions: 3_000,
        ..SandboxOptions::default()
    })
    .await;
    let whole = HecOneStatisticsQuery::new(
        "2026-01-01T00:00:00Z".parse().unwrap(),
        "2026-01-06T00:00:00Z".parse().unwrap(),
    );
    let answer = sandbox.statistics(&whole).unwrap();
    let currencies: Vec<&str> = answer.data.iter().map(|e| e.currency.as_str()).collect();
    assert_eq!(currencies, ["CHF", "EUR", "GBP", "INR", "USD", "unknown"]);
    assert!(answer.meta.open_transactions > 0 && answer.meta.free_transactions > 0);
    for entry in &answer.data {
        let hours: i64 = entry
            .hourly_transactions
            .iter()
            .map(|h| h.transactions)
            .sum();
        let sites: i64 = entry
            .sites_transactions_ranking
            .iter()
            .map(|s| s.transactions)
            .sum();
        assert_eq!((hours, sites), (sites, hours));
        assert_eq!(
            entry.transactions_count.value.to_string(),
            hours.to_string()
        );
        let amounts: tillhouse_sandbox::Decimal =
            entry.sites_amount_ranking.iter().map(|s| s.amount).sum();
        assert_eq!(amounts, entry.transactions_total_amount.value);
        let by_type: tillhouse_sandbox::Decimal =
            entry.payment_type_ranking.iter().map(|p| p.amount).sum();
        let by_scheme: tillhouse_sandbox::Decimal =
            entry.payment_scheme_ranking.iter().map(|p| p.amount).sum();
        assert_eq!(by_type, by_scheme);
        assert!(
            by_type <= entry.transactions_total_amount.value,
            "consumed sales are not all paid"
        );
        assert!(
            entry.transactions_count.growth.is_none(),
            "nothing came before"
        );
    }
    let mut count = 0;
    for mandator in sandbox.mandators() {
        let (_, body) = client
            .get(&format!(
                "/hecone/transactions/statistics?{WINDOW}&mandator_id={mandator}"
            ))
            .await;
        let entries = body["data"].as_array().unwrap();
        count += entries
            .iter()
            .map(|e| e["transactions_count"]["value"].as_i64().unwrap())
            .sum::<i64>();
    }
    let all: i64 = answer
        .data
        .iter()
        .flat_map(|e| &e.hourly_transactions)
        .map(|h| h.transactions)
        .sum();
    assert_eq!(count, all);
}
