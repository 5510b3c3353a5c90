//! Figures of articles and payments on cases small enough to be computed by hand; the expected JSON is written out.
//!
//! Invariant: what is expected here was worked out from docs/statistics.md, not copied from an output.

use crate::figures::{ask, day, entries};
use crate::fixture::{FixtureArticle, FixturePayment, FixtureSale, FixtureTables, some};
use serde_json::{Value, json};
use tillhouse_model::Filter;
use tillhouse_statistics::{CheckedFilter, StatisticsFigures, StatisticsRequest};

#[tokio::test]
async fn children_count_with_their_transaction_alone() {
    let declined = FixtureSale {
        state: some("declined"),
        ..FixtureSale::new("2026-01-02T12:00:00Z", 1)
    };
    let free = FixtureSale {
        kind: "free".into(),
        ..FixtureSale::new("2026-01-02T12:00:00Z", 1)
    };
    let yesterday = FixtureSale::new("2026-01-01T12:00:00Z", 1);
    let words = ["a", "b", "c", "d", "e"];
    let mut house = FixtureTables {
        sales: vec![
            FixtureSale::new("2026-01-02T12:00:00Z", 1),
            declined,
            free,
            yesterday,
        ],
        articles: (0..4)
            .map(|i| FixtureArticle::new(i, "Tea", "pc", 1_000_000))
            .collect(),
        payments: (0..4)
            .map(|i| FixturePayment::new(i, words, 10_000))
            .collect(),
        ..FixtureTables::default()
    };
    for state in ["declined", "error"] {
        house.articles.push(FixtureArticle {
            state: some(state),
            ..FixtureArticle::new(0, "Tea", "pc", 1)
        });
    }
    house.articles.push(FixtureArticle {
        state: None,
        ..FixtureArticle::new(0, "Tea", "pc", 250_000)
    });
    for state in ["open", "reserved", "declined", "error"] {
        house.payments.push(FixturePayment {
            state: some(state),
            ..FixturePayment::new(0, words, 1)
        });
    }
    let entry = &entries(&house, &StatisticsRequest::new(day())).await[0];
    let tea = json!([{"unit_measure": "pc", "articles_quantities": [{"article_name": "Tea", "quantity": 1.25}]}]);
    assert_eq!(entry["article_quantities_ranking"], tea);
    assert_eq!(
        entry["payment_type_ranking"],
        json!([{"amount": 1, "payment_type": "a"}])
    );
    assert_eq!(
        entry["payment_function_ranking"],
        json!([{"amount": 1, "payment_function": "e"}])
    );
}

#[tokio::test]
async fn what_a_second_card_paid_after_the_first_was_declined_is_collected_elsewhere() {
    let noon = "2026-01-02T12:00:00Z";
    let declined = FixtureSale {
        state: some("declined"),
        ..FixtureSale::new(noon, 501_300)
    };
    let free = FixtureSale {
        kind: "free".into(),
        ..FixtureSale::new(noon, 0)
    };
    let abroad = FixtureSale {
        perspective: "purchase".into(),
        state: some("declined"),
        ..FixtureSale::new(noon, 10_000)
    };
    let yesterday = FixtureSale {
        state: some("declined"),
        ..FixtureSale::new("2026-01-01T12:00:00Z", 10_000)
    };
    let timeless = FixtureSale {
        at: None,
        state: some("declined"),
        ..FixtureSale::new(noon, 10_000)
    };
    let pay = |sale, amount| {
        FixturePayment::new(
            sale,
            ["PSPCard", "Card", "Visa", "Contactless", "SingleCard"],
            amount,
        )
    };
    let refused = |sale, amount| FixturePayment {
        state: some("declined"),
        ..pay(sale, amount)
    };
    let house = FixtureTables {
        sales: vec![
            FixtureSale::new(noon, 100_000),
            declined,
            free,
            abroad,
            yesterday,
            timeless,
            FixtureSale {
                amount: None,
                ..FixtureSale::new(noon, 0)
            },
            FixtureSale {
                amount: None,
                state: some("created"),
                ..FixtureSale::new(noon, 0)
            },
        ],
        // Payments 8 to 10 name a sale that is in no table.
        orphans: vec![
            FixtureSale {
                currency: None,
                ..FixtureSale::new(noon, 0)
            },
            FixtureSale::new("2026-01-03T12:00:00Z", 0),
            FixtureSale {
                at: None,
                ..FixtureSale::new(noon, 0)
            },
        ],
        payments: vec![
            pay(0, 100_000),
            refused(1, 501_300),
            pay(1, 501_300),
            FixturePayment {
                currency: some("CHF"),
                ..pay(1, 70_000)
            },
            FixturePayment {
                amount: None,
                ..pay(2, 0)
            },
            pay(3, 10_000),
            pay(4, 10_000),
            pay(5, 10_000),
            pay(8, 60_000),
            FixturePayment {
                state: some("open"),
                ..pay(8, 1)
            },
            FixturePayment {
                currency: None,
                ..pay(8, 40_000)
            },
            pay(9, 60_000),
            pay(10, 60_000),
            FixturePayment {
                state: some("open"),
                ..pay(10, 1)
            },
        ],
        ..FixtureTables::default()
    };
    let found = ask(&house, &StatisticsRequest::new(day())).await;
    assert_eq!(
        found.data.len(),
        1,
        "what is not counted is in the bridge alone"
    );
    assert_eq!(
        (
            found.transactions_without_amount,
            found.payments_without_amount,
            found.payments_without_sale
        ),
        (1, 1, 3)
    );
    assert_eq!(
        (found.transactions_without_time, found.payments_without_time),
        (1, 2),
        "no window has them"
    );
    let elsewhere = |found: &StatisticsFigures, at: usize| -> Value {
        serde_json::from_str(&serde_json::to_string(&found.bridge[at].collected_elsewhere).unwrap())
            .unwrap()
    };
    let part = |state: &str, kind: Option<&str>, count: i64, amount: Value| json!({"state": state, "kind": kind, "count": count, "amount": amount});
    let currencies: Vec<&str> = found
        .bridge
        .iter()
        .map(|entry| entry.currency.as_str())
        .collect();
    assert_eq!(currencies, ["CHF", "EUR", "unknown"]);
    let chf =
        json!({"count": 1, "amount": 7, "by_state": [part("declined", Some("sale"), 1, json!(7))]});
    assert_eq!(elsewhere(&found, 0), chf);
    let eur = [
        part("completed", Some("free"), 1, json!(0)),
        part("declined", Some("sale"), 1, json!(50.13)),
        part("without_sale", None, 1, json!(6)),
    ];
    assert_eq!(
        elsewhere(&found, 1),
        json!({"count": 3, "amount": 56.13, "by_state": eur})
    );
    let unknown =
        json!({"count": 1, "amount": 4, "by_state": [part("without_sale", None, 1, json!(4))]});
    assert_eq!(elsewhere(&found, 2), unknown);
    assert_eq!(
        (found.bridge[1].collected.units, found.bridge[1].open.units),
        (100_000, 0)
    );

    // A filter on what only transactions have: of the uncounted ones, those that pass, and no payment without a sale.
    let large = Filter::parse(r#"{"field": "amount", "operator": "gte", "value": 40}"#).unwrap();
    let asked = StatisticsRequest {
        filter: Some(CheckedFilter::new(&large, "UTC", None).unwrap()),
        ..StatisticsRequest::new(day())
    };
    let found = ask(&house, &asked).await;
    assert_eq!(
        (
            found.data.len(),
            found.payments_without_sale,
            found.bridge.len()
        ),
        (0, 0, 2)
    );
    assert_eq!(found.payments_without_time, 0);
    assert_eq!(elsewhere(&found, 0), chf);
    let eur = [part("declined", Some("sale"), 1, json!(50.13))];
    assert_eq!(
        elsewhere(&found, 1),
        json!({"count": 1, "amount": 50.13, "by_state": eur})
    );

    // Where declined sales are asked for, they are counted, and the completed one is elsewhere.
    let asked = StatisticsRequest {
        states: vec!["declined".into()],
        ..StatisticsRequest::new(day())
    };
    let found = ask(&house, &asked).await;
    assert_eq!(found.bridge[1].collected.units, 501_300);
    let parts = &found.bridge[1].collected_elsewhere.by_state;
    let words: Vec<String> = parts.iter().map(|part| part.words()).collect();
    assert_eq!(words, ["completed (free)", "completed", "without_sale"]);
}

#[tokio::test]
async fn articles_add_up_by_unit_and_current_product_name() {
    let of = |product: &str, name: &str, quantity| FixtureArticle {
        product: some(product),
        ..FixtureArticle::new(0, name, "l", quantity)
    };
    let house = FixtureTables {
        sales: vec![FixtureSale::new("2026-01-02T12:00:00Z", 1)],
        articles: vec![
            of("p:1", "Diesel B7 (old)", 1_000_000),
            of("p:1", "Diesel B7", 1_000_000),
            of("p:2", "Diesel", 500_000),
            of("p:3", "Super", 2_500_000),
            FixtureArticle::new(0, "Super", "l", 1),
            FixtureArticle {
                name: None,
                ..FixtureArticle::new(0, "", "pc", 3_000_000)
            },
            FixtureArticle {
                unit: None,
                quantity: None,
                ..FixtureArticle::new(0, "Wash", "", 0)
            },
            FixtureArticle::new(0, "AC", "kWh", 123_456),
        ],
        products: vec![
            ("p:1".into(), some("Diesel")),
            ("p:2".into(), some("Diesel")),
            ("p:3".into(), None),
        ],
        ..FixtureTables::default()
    };
    let entry = &entries(&house, &StatisticsRequest::new(day())).await[0];
    let expected = json!([
        {"unit_measure": "kWh", "articles_quantities": [{"article_name": "AC", "quantity": 0.123456}]},
        {"unit_measure": "l", "articles_quantities": [
            {"article_name": "Super", "quantity": 2.500001},
            {"article_name": "Diesel", "quantity": 2.5},
        ]},
        {"unit_measure": "pc", "articles_quantities": [{"article_name": "unknown", "quantity": 3}]},
        {"unit_measure": "unknown", "articles_quantities": [{"article_name": "Wash", "quantity": 0}]},
    ]);
    assert_eq!(entry["article_quantities_ranking"], expected);
}

#[tokio::test]
async fn children_have_their_own_currency_or_their_transactions() {
    let house = FixtureTables {
        sales: vec![
            FixtureSale {
                currency: some("CHF"),
                ..FixtureSale::new("2026-01-02T12:00:00Z", 10_000)
            },
            FixtureSale {
                currency: None,
                ..FixtureSale::new("2026-01-02T12:00:00Z", 10_000)
            },
        ],
        articles: vec![
            FixtureArticle::new(0, "Tea", "pc", 1_000_000),
            FixtureArticle {
                currency: None,
                ..FixtureArticle::new(0, "Tea", "pc", 2_000_000)
            },
            FixtureArticle {
                currency: None,
                ..FixtureArticle::new(1, "Tea", "pc", 3_000_000)
            },
        ],
        payments: vec![
            FixturePayment::new(0, ["x"; 5], 10_000),
            FixturePayment {
                currency: None,
                ..FixturePayment::new(0, ["x"; 5], 20_000)
            },
            FixturePayment {
                currency: None,
                ..FixturePayment::new(1, ["x"; 5], 30_000)
            },
        ],
        ..FixtureTables::default()
    };
    let entries = entries(&house, &StatisticsRequest::new(day())).await;
    for (entry, (currency, count, tea, paid)) in
        entries
            .iter()
            .zip([("CHF", 1, 2, 2), ("EUR", 0, 1, 1), ("unknown", 1, 3, 3)])
    {
        assert_eq!(entry["currency"], currency);
        assert_eq!(entry["transactions_count"]["value"], count, "{currency}");
        assert_eq!(
            entry["article_quantities_ranking"][0]["articles_quantities"][0]["quantity"], tea,
            "{currency}"
        );
        assert_eq!(
            entry["payment_medium_ranking"],
            json!([{"amount": paid, "payment_medium": "x"}]),
            "{currency}"
        );
    }
    assert_eq!(entries.len(), 3);
}
