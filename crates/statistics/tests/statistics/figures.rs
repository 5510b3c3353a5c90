//! Every figure on cases small enough to be computed by hand; the expected JSON is written out.
//!
//! Invariant: what is expected here was worked out from docs/statistics.md, not copied from an output.

use crate::fixture::{FixtureArticle, FixturePayment, FixtureSale, FixtureTables, some, t, window};
use serde_json::{Value, json};
use tillhouse_model::Window;
use tillhouse_statistics::{HourGrouping, StatisticsFigures, StatisticsRequest, figures};

pub(crate) async fn ask(house: &FixtureTables, request: &StatisticsRequest) -> StatisticsFigures {
    figures(&house.session(), request).await.unwrap()
}

/// The entries as JSON values; the figures in these tests are short enough for that.
pub(crate) async fn entries(house: &FixtureTables, request: &StatisticsRequest) -> Vec<Value> {
    let text = serde_json::to_string(&ask(house, request).await.data).unwrap();
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn day() -> Window {
    window("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z")
}

#[tokio::test]
async fn nothing_gives_no_entry() {
    let none = ask(&FixtureTables::default(), &StatisticsRequest::new(day())).await;
    assert_eq!(
        (
            none.data.len(),
            none.open_transactions,
            none.transactions_without_time
        ),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn a_house_without_tables_gives_no_entry() {
    let session = tillhouse_query::QueryEngine::new(tillhouse_query::QueryEngineOptions::default())
        .unwrap()
        .empty_session()
        .unwrap();
    assert!(
        figures(&session, &StatisticsRequest::new(day()))
            .await
            .unwrap()
            .data
            .is_empty()
    );
}

#[tokio::test]
async fn one_sale_in_the_documents_shape() {
    let house = FixtureTables {
        sales: vec![FixtureSale {
            site: some("p:a"),
            ..FixtureSale::new("2026-01-02T10:30:00Z", 125_000)
        }],
        articles: vec![FixtureArticle::new(0, "Diesel", "l", 5_500_000)],
        payments: vec![FixturePayment::new(
            0,
            ["PSPCard", "Card", "Visa", "Contactless", "SingleCard"],
            125_000,
        )],
        sites: vec![("p:a".into(), some("Harbour"))],
        products: vec![],
        ..FixtureTables::default()
    };
    let expected = r#"[{"currency":"EUR","hourly_transactions":[{"hour":"2026-01-02T10:00:00Z","transactions":1}],"payment_type_ranking":[{"amount":12.5,"payment_type":"PSPCard"}],"payment_medium_ranking":[{"amount":12.5,"payment_medium":"Card"}],"payment_scheme_ranking":[{"amount":12.5,"payment_scheme":"Visa"}],"payment_entry_mode_ranking":[{"amount":12.5,"payment_entry_mode":"Contactless"}],"payment_function_ranking":[{"amount":12.5,"payment_function":"SingleCard"}],"payment_method_ranking":[{"amount":12.5,"payment_method":"card"}],"article_quantities_ranking":[{"unit_measure":"l","articles_quantities":[{"article_name":"Diesel","quantity":5.5}]}],"sites_amount_ranking":[{"amount":12.5,"site_name":"Harbour"}],"sites_transactions_ranking":[{"site_name":"Harbour","transactions":1}],"transactions_count":{"growth":null,"value":1},"transactions_total_amount":{"growth":null,"value":12.5}}]"#;
    assert_eq!(
        serde_json::to_string(&ask(&house, &StatisticsRequest::new(day())).await.data).unwrap(),
        expected
    );
}

#[tokio::test]
async fn the_window_is_half_open_and_the_one_before_is_as_long() {
    let sales = [
        ("2025-12-31T23:59:59.999999Z", 1),
        ("2026-01-01T00:00:00Z", 20_000),
        ("2026-01-01T23:59:59.999999Z", 40_000),
        ("2026-01-02T00:00:00Z", 10_000),
        ("2026-01-02T23:59:59.999999Z", 30_000),
        ("2026-01-03T00:00:00Z", 1),
        ("2026-01-02T12:00:00Z", 50_000),
    ];
    let house = FixtureTables {
        sales: sales
            .iter()
            .map(|(at, amount)| FixtureSale::new(at, *amount))
            .collect(),
        ..FixtureTables::default()
    };
    let entry = &entries(&house, &StatisticsRequest::new(day())).await[0];
    assert_eq!(
        entry["transactions_count"],
        json!({"growth": 50, "value": 3})
    );
    assert_eq!(
        entry["transactions_total_amount"],
        json!({"growth": 50, "value": 9})
    );
}

#[tokio::test]
async fn growth_is_rounded_to_two_decimals_and_null_against_zero() {
    let mut sales: Vec<FixtureSale> = (0..3)
        .map(|_| FixtureSale::new("2026-01-01T12:00:00Z", 0))
        .collect();
    sales.push(FixtureSale::new("2026-01-02T12:00:00Z", 7));
    let entry = &entries(
        &FixtureTables {
            sales,
            ..FixtureTables::default()
        },
        &StatisticsRequest::new(day()),
    )
    .await[0];
    let text = serde_json::to_string(&entry["transactions_count"]).unwrap();
    assert_eq!(text, r#"{"growth":-66.67,"value":1}"#);
    assert_eq!(entry["transactions_total_amount"]["growth"], Value::Null);
}

#[tokio::test]
async fn a_currency_of_the_earlier_window_alone_fell_by_all_of_it() {
    let gone = FixtureSale {
        currency: some("CHF"),
        ..FixtureSale::new("2026-01-01T12:00:00Z", 100)
    };
    let house = FixtureTables {
        sales: vec![FixtureSale::new("2026-01-02T12:00:00Z", 100), gone],
        ..FixtureTables::default()
    };
    let entries = entries(&house, &StatisticsRequest::new(day())).await;
    assert_eq!(
        entries
            .iter()
            .map(|e| e["currency"].as_str().unwrap())
            .collect::<Vec<_>>(),
        ["CHF", "EUR"]
    );
    assert_eq!(
        entries[0]["transactions_count"],
        json!({"growth": -100, "value": 0})
    );
    assert_eq!(
        entries[0]["transactions_total_amount"],
        json!({"growth": -100, "value": 0})
    );
    assert_eq!(entries[0]["hourly_transactions"], json!([]));
    assert_eq!(entries[0]["sites_amount_ranking"], json!([]));
}

#[tokio::test]
async fn what_does_not_count_is_counted_apart() {
    let sale = |kind: &str, state: &str| FixtureSale {
        kind: kind.into(),
        state: some(state),
        ..FixtureSale::new("2026-01-02T12:00:00Z", 10_000)
    };
    let house = FixtureTables {
        sales: vec![
            sale("sale", "completed"),
            sale("sale", "consumed"),
            FixtureSale {
                amount: Some(-10_000),
                ..sale("refund", "completed")
            },
            sale("sale", "created"),
            sale("sale", "pending"),
            sale("sale", "declined"),
            sale("sale", "error"),
            FixtureSale {
                state: None,
                ..sale("sale", "")
            },
            sale("void", "completed"),
            sale("free", "completed"),
            sale("free", "declined"),
            sale("test", "completed"),
            sale("test", "consumed"),
            FixtureSale {
                perspective: "purchase".into(),
                ..sale("sale", "completed")
            },
            FixtureSale {
                at: None,
                ..sale("sale", "created")
            },
            FixtureSale {
                at: None,
                perspective: "purchase".into(),
                ..sale("sale", "created")
            },
        ],
        ..FixtureTables::default()
    };
    let found = ask(&house, &StatisticsRequest::new(day())).await;
    assert_eq!(
        (
            found.data[0].transactions_count.value,
            found.data[0].transactions_total_amount.value.units
        ),
        (3, 10_000)
    );
    assert_eq!(
        (
            found.open_transactions,
            found.free_transactions,
            found.test_transactions
        ),
        (3, 1, 2)
    );
    assert_eq!(found.transactions_without_time, 1);

    let purchases = ask(
        &house,
        &StatisticsRequest {
            perspective: "purchase".into(),
            ..StatisticsRequest::new(day())
        },
    )
    .await;
    assert_eq!(purchases.data[0].transactions_count.value, 1);
    let open = StatisticsRequest {
        states: vec!["created".into(), "pending".into()],
        ..StatisticsRequest::new(day())
    };
    assert_eq!(ask(&house, &open).await.data[0].transactions_count.value, 2);
}

#[tokio::test]
async fn rankings_are_largest_first_and_ties_by_label() {
    let pay = |scheme: Option<&str>, amount| {
        let mut payment = FixturePayment::new(0, ["t", "m", "s", "e", "f"], amount);
        payment.words[2] = scheme.map(str::to_owned);
        payment
    };
    let house = FixtureTables {
        sales: vec![FixtureSale::new("2026-01-02T12:00:00Z", 1)],
        payments: vec![
            pay(Some("visa"), 10_000),
            pay(Some("amex"), 10_000),
            pay(Some("zeta"), 5_000),
            pay(Some("zeta"), 15_000),
            pay(None, 10_000),
            pay(Some(""), 1),
            pay(Some("back"), -1),
        ],
        ..FixtureTables::default()
    };
    let entry = &entries(&house, &StatisticsRequest::new(day())).await[0];
    let labels: Vec<(&str, String)> = entry["payment_scheme_ranking"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["payment_scheme"].as_str().unwrap(),
                row["amount"].to_string(),
            )
        })
        .collect();
    let expected = [
        ("zeta", "2"),
        ("unknown", "1.0001"),
        ("amex", "1"),
        ("visa", "1"),
        ("back", "-0.0001"),
    ]
    .map(|(l, a)| (l, a.to_owned()));
    assert_eq!(labels, expected);
    assert_eq!(
        entry["payment_type_ranking"],
        json!([{"amount": 5, "payment_type": "t"}])
    );
}

#[tokio::test]
async fn sites_of_one_name_stay_apart_and_names_are_the_current_ones() {
    let at = |site: Option<&str>, amount| FixtureSale {
        site: site.map(str::to_owned),
        ..FixtureSale::new("2026-01-02T12:00:00Z", amount)
    };
    let house = FixtureTables {
        sales: vec![
            at(Some("p:b"), 20_000),
            at(Some("p:a"), 10_000),
            at(Some("p:a"), 10_000),
            at(Some("p:c"), 1),
            at(None, 2),
        ],
        sites: vec![
            ("p:a".into(), some("Centre")),
            ("p:b".into(), some("Centre")),
            ("p:c".into(), None),
        ],
        ..FixtureTables::default()
    };
    let entry = &entries(&house, &StatisticsRequest::new(day())).await[0];
    let amounts = json!([
        {"amount": 2, "site_name": "Centre"},
        {"amount": 2, "site_name": "Centre"},
        {"amount": 0.0002, "site_name": "unknown"},
        {"amount": 0.0001, "site_name": "unknown"},
    ]);
    assert_eq!(entry["sites_amount_ranking"], amounts);
    let counts = json!([
        {"site_name": "Centre", "transactions": 2},
        {"site_name": "Centre", "transactions": 1},
        {"site_name": "unknown", "transactions": 1},
        {"site_name": "unknown", "transactions": 1},
    ]);
    assert_eq!(entry["sites_transactions_ranking"], counts);
}

#[tokio::test]
async fn hours_follow_the_requested_zone_through_the_change_of_clocks() {
    let at = |at: &str| FixtureSale::new(at, 1);
    let house = FixtureTables {
        sales: vec![
            at("2026-10-24T23:59:59Z"),
            at("2026-10-25T00:00:00Z"),
            at("2026-10-25T00:59:59.999999Z"),
            at("2026-10-25T01:00:00Z"),
            at("2026-10-25T02:00:00Z"),
        ],
        ..FixtureTables::default()
    };
    let request = StatisticsRequest {
        timezone: "Europe/Zurich".into(),
        ..StatisticsRequest::new(window("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"))
    };
    let expected = json!([
        {"hour": "2026-10-25T01:00:00+02:00", "transactions": 1},
        {"hour": "2026-10-25T02:00:00+02:00", "transactions": 2},
        {"hour": "2026-10-25T02:00:00+01:00", "transactions": 1},
        {"hour": "2026-10-25T03:00:00+01:00", "transactions": 1},
    ]);
    assert_eq!(
        entries(&house, &request).await[0]["hourly_transactions"],
        expected
    );
}

#[tokio::test]
async fn hours_of_the_day_are_those_of_the_site() {
    let at = |at: &str, local_hour| FixtureSale {
        local_hour,
        ..FixtureSale::new(at, 1)
    };
    let house = FixtureTables {
        sales: vec![
            at("2026-01-02T22:30:00Z", Some(7)),
            at("2026-01-02T06:30:00Z", Some(7)),
            at("2026-01-02T06:30:00Z", Some(23)),
            at("2026-01-02T05:30:00Z", None),
        ],
        ..FixtureTables::default()
    };
    let request = StatisticsRequest {
        hours: HourGrouping::OfDay,
        timezone: "Asia/Tokyo".into(),
        ..StatisticsRequest::new(day())
    };
    let expected = json!([
        {"hour": "05", "transactions": 1},
        {"hour": "07", "transactions": 2},
        {"hour": "23", "transactions": 1},
    ]);
    assert_eq!(
        entries(&house, &request).await[0]["hourly_transactions"],
        expected
    );
}

#[tokio::test]
async fn tenants_and_sources_are_told_apart() {
    let of = |tenant: &str, source: &str| FixtureSale {
        tenant: some(tenant),
        source: source.into(),
        ..FixtureSale::new("2026-01-02T12:00:00Z", 10_000)
    };
    let house = FixtureTables {
        sales: vec![
            of("o'hara", "hecone"),
            of("o'hara", "pace"),
            of("b", "hecone"),
        ],
        payments: (0..3)
            .map(|i| FixturePayment::new(i, ["x"; 5], 10_000))
            .collect(),
        ..FixtureTables::default()
    };
    for (tenant, source, count) in [
        (None, None, 3),
        (Some("o'hara"), None, 2),
        (Some("o'hara"), Some("pace"), 1),
        (Some("c"), None, 0),
    ] {
        let request = StatisticsRequest {
            tenant: tenant.map(str::to_owned),
            source: source.map(str::to_owned),
            ..StatisticsRequest::new(day())
        };
        let entries = entries(&house, &request).await;
        let found = entries.first().map_or(0, |entry| {
            entry["transactions_count"]["value"].as_i64().unwrap()
        });
        assert_eq!(found, count, "{tenant:?} {source:?}");
        let paid = entries.first().map_or(0, |entry| {
            entry["payment_type_ranking"][0]["amount"].as_i64().unwrap()
        });
        assert_eq!(paid, count, "{tenant:?} {source:?}");
    }
}

#[tokio::test]
async fn sums_are_exact_where_floats_are_not() {
    let largest = 10_i128.pow(18) - 1;
    let mut sales: Vec<FixtureSale> = (0..10)
        .map(|_| FixtureSale::new("2026-01-02T12:00:00Z", 1_000))
        .collect();
    sales.extend((0..1000).map(|_| FixtureSale {
        currency: some("JPY"),
        ..FixtureSale::new("2026-01-02T13:00:00Z", largest)
    }));
    let found = ask(
        &FixtureTables {
            sales,
            ..FixtureTables::default()
        },
        &StatisticsRequest::new(day()),
    )
    .await;
    let text = |i: usize| serde_json::to_string(&found.data[i].transactions_total_amount).unwrap();
    assert_eq!(text(0), r#"{"growth":null,"value":1}"#);
    assert_eq!(text(1), r#"{"growth":null,"value":99999999999999999.9}"#);
}

#[tokio::test]
async fn a_window_over_a_years_end_spans_its_months() {
    let house = FixtureTables {
        sales: [
            "2025-11-30T23:59:59Z",
            "2025-12-01T00:00:00Z",
            "2026-01-15T00:00:00Z",
            "2026-02-28T23:00:00Z",
        ]
        .iter()
        .map(|at| FixtureSale::new(at, 1))
        .collect(),
        ..FixtureTables::default()
    };
    let request = StatisticsRequest::new(
        Window::new(t("2025-12-01T00:00:00Z"), t("2026-03-01T00:00:00Z")).unwrap(),
    );
    assert_eq!(
        entries(&house, &request).await[0]["transactions_count"]["value"],
        3
    );
}
