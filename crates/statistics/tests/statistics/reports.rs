//! Every report on cases small enough to be computed by hand; the expected JSON is written out.
//!
//! Invariant: what is expected here was worked out from docs/reports.md, not copied from an output.

use crate::fixture::some;
use crate::oracle_tables::{OracleArticle, OracleEvent, OraclePayment, OracleSale, OracleTables};
use tillhouse_model::{CivilPeriod, ErrorKind, ExactDecimal, Filter, Window};
use tillhouse_statistics::reports::{ReportName, ReportRequest, ReportTime, heat_map, report_data};
use tillhouse_statistics::{CheckedFilter, StatisticsRequest};

async fn shown(shop: &OracleTables, request: &ReportRequest) -> String {
    serde_json::to_string(&report_data(&shop.session(), request).await.unwrap()).unwrap()
}

fn over(name: ReportName, period: &str) -> ReportRequest {
    ReportRequest::new(
        name,
        ReportTime::Periods(CivilPeriod::parse(period).unwrap(), None),
    )
}

fn against(name: ReportName, period1: &str, period2: &str) -> ReportRequest {
    let period2 = Some(CivilPeriod::parse(period2).unwrap());
    ReportRequest::new(
        name,
        ReportTime::Periods(CivilPeriod::parse(period1).unwrap(), period2),
    )
}

fn on(name: ReportName, date: &str) -> ReportRequest {
    ReportRequest::new(name, ReportTime::On(date.parse().unwrap()))
}

#[tokio::test]
async fn nothing_gives_the_empty_shape() {
    let empty = OracleTables::default();
    let days = "2026-01-01..2026-02-01";
    let nothing = r#"{"period1":{"data":[],"endDate":"2026-01-31 23:59:59","startDate":"2026-01-01 00:00:00"}}"#;
    for (request, expected) in [
        (over(ReportName::RevenueSummary, days), "{}"),
        (over(ReportName::BestSellingProducts, days), "[]"),
        (on(ReportName::Summary, "2026-01-01"), "{}"),
        (on(ReportName::HeatMap, "2026-01-01"), "[]"),
        (over(ReportName::EventCounts, days), "[]"),
        (over(ReportName::Products, days), nothing),
        (over(ReportName::PaymentTypes, days), nothing),
        (over(ReportName::Events, days), nothing),
    ] {
        assert_eq!(shown(&empty, &request).await, expected, "{}", request.name);
        let session =
            tillhouse_query::QueryEngine::new(tillhouse_query::QueryEngineOptions::default())
                .unwrap()
                .empty_session()
                .unwrap();
        let data = report_data(&session, &request).await.unwrap();
        assert_eq!(
            serde_json::to_string(&data).unwrap(),
            expected,
            "{} without tables",
            request.name
        );
    }
}

#[tokio::test]
async fn a_day_is_the_sites_own() {
    // The second site's clock is in New York: half past four in the morning in UTC is the evening before.
    let shop = OracleTables {
        sales: vec![
            OracleSale::new("2026-01-01T23:30:00Z", 10_000),
            OracleSale {
                site: Some(1),
                ..OracleSale::new("2026-01-02T04:30:00Z", 20_000)
            },
            OracleSale {
                currency: some("CHF"),
                ..OracleSale::new("2026-01-01T12:00:00Z", 50_000)
            },
            OracleSale {
                kind: "refund".into(),
                ..OracleSale::new("2026-01-01T12:00:00Z", -5_000)
            },
            OracleSale {
                currency: None,
                ..OracleSale::new("2026-01-01T12:00:00Z", 1)
            },
            OracleSale {
                state: some("declined"),
                ..OracleSale::new("2026-01-01T12:00:00Z", 1)
            },
            OracleSale {
                kind: "test".into(),
                ..OracleSale::new("2026-01-01T12:00:00Z", 1)
            },
            OracleSale {
                perspective: "purchase".into(),
                ..OracleSale::new("2026-01-01T12:00:00Z", 1)
            },
            OracleSale {
                at: None,
                ..OracleSale::new("2026-01-01T12:00:00Z", 1)
            },
        ],
        ..OracleTables::default()
    };
    let expected = r#"{"CHF":[{"currency":"CHF","currencyRate":1,"date":"2026-01-01","orginalValue":5,"value":5}],"EUR":[{"currency":"EUR","currencyRate":1,"date":"2026-01-01","orginalValue":1.5,"value":1.5},{"currency":"EUR","currencyRate":1,"date":"2026-01-02","orginalValue":1,"value":1}],"unknown":[{"currency":"unknown","currencyRate":1,"date":"2026-01-01","orginalValue":0.0001,"value":0.0001}]}"#;
    assert_eq!(
        shown(
            &shop,
            &over(ReportName::RevenueSummary, "2026-01-01..2026-01-03")
        )
        .await,
        expected
    );
    let one_day = r#"{"EUR":[{"currency":"EUR","currencyRate":1,"date":"2026-01-02","orginalValue":1,"value":1}]}"#;
    assert_eq!(
        shown(
            &shop,
            &over(ReportName::RevenueSummary, "2026-01-02..2026-01-03")
        )
        .await,
        one_day
    );
}

#[tokio::test]
async fn the_four_periods_are_those_the_date_is_in() {
    // 31 December 2025 is a Wednesday of the first ISO week of 2026, which reaches into January.
    let sale = |at: &str| OracleSale::new(at, 10_000);
    let shop = OracleTables {
        sales: vec![
            sale("2025-12-31T12:00:00Z"),
            sale("2025-12-29T12:00:00Z"),
            sale("2026-01-04T12:00:00Z"),
            sale("2026-01-05T12:00:00Z"),
            sale("2025-12-01T12:00:00Z"),
            sale("2025-01-01T12:00:00Z"),
            sale("2024-12-31T12:00:00Z"),
        ],
        articles: vec![
            OracleArticle {
                quantity: Some(2_000_000),
                ..OracleArticle::new(0, "Tea", 5_000)
            },
            OracleArticle {
                unit: some("l"),
                quantity: Some(40_000_000),
                ..OracleArticle::new(0, "Diesel", 5_000)
            },
            OracleArticle {
                unit: some("kWh"),
                quantity: Some(-4_000_000),
                ..OracleArticle::new(2, "AC", 5_000)
            },
            OracleArticle {
                quantity: None,
                ..OracleArticle::new(4, "Tea", 5_000)
            },
            OracleArticle {
                state: some("declined"),
                ..OracleArticle::new(4, "Tea", 5_000)
            },
            OracleArticle {
                currency: some("CHF"),
                ..OracleArticle::new(5, "Tea", 5_000)
            },
        ],
        ..OracleTables::default()
    };
    let sold = |currency: &str, products: i64, revenue: i64| {
        format!(r#"{{"currency":"{currency}","products":{products},"revenue":{revenue}}}"#)
    };
    let row = |of: &str, [day, month, week, year]: [(i64, i64); 4]| {
        let sold = |(products, revenue)| sold(of, products, revenue);
        format!(
            r#"[{{"day":{},"month":{},"week":{},"year":{}}}]"#,
            sold(day),
            sold(month),
            sold(week),
            sold(year)
        )
    };
    let francs = row("CHF", [(0, 0), (0, 0), (0, 0), (1, 0)]);
    let euros = row("EUR", [(3, 1), (4, 3), (2, 3), (4, 4)]);
    assert_eq!(
        shown(&shop, &on(ReportName::Summary, "2025-12-31")).await,
        format!(r#"{{"CHF":{francs},"EUR":{euros}}}"#)
    );
}

#[tokio::test]
async fn what_a_refund_gives_back_without_a_quantity_takes_a_piece_away() {
    let shop = OracleTables {
        sales: vec![
            OracleSale::new("2026-01-01T10:00:00Z", 30_000),
            OracleSale {
                kind: "refund".into(),
                ..OracleSale::new("2026-01-01T11:00:00Z", -20_000)
            },
        ],
        articles: vec![
            OracleArticle {
                quantity: Some(3_000_000),
                ..OracleArticle::new(0, "Tea", 40_000)
            },
            // What makes a sale cheaper is a line like others.
            OracleArticle {
                quantity: None,
                ..OracleArticle::new(0, "Discount", -10_000)
            },
            OracleArticle {
                quantity: None,
                ..OracleArticle::new(1, "Tea", -10_000)
            },
            OracleArticle {
                unit: some("l"),
                quantity: None,
                ..OracleArticle::new(1, "Diesel", -10_000)
            },
        ],
        ..OracleTables::default()
    };
    let shown = shown(&shop, &on(ReportName::Summary, "2026-01-01")).await;
    let sold = r#"{"currency":"EUR","products":2,"revenue":1}"#;
    assert_eq!(shown.matches(sold).count(), 4, "{shown}");
}

#[tokio::test]
async fn the_heat_map_has_three_months_by_weekday_and_hour() {
    let shop = OracleTables {
        sales: vec![
            // Sundays, on the night the clocks go back: 02:30 comes twice.
            OracleSale::new("2026-10-25T00:30:00Z", 10_000),
            OracleSale::new("2026-10-25T01:30:00Z", 10_000),
            OracleSale::new("2026-10-18T00:30:00Z", 10_000),
            OracleSale {
                currency: some("CHF"),
                site: None,
                ..OracleSale::new("2026-10-19T23:30:00Z", 10_000)
            },
            OracleSale::new("2026-07-25T22:00:00Z", 40_000),
            OracleSale::new("2026-07-25T21:59:59Z", 1),
            OracleSale::new("2026-10-25T23:00:00Z", 1),
        ],
        ..OracleTables::default()
    };
    let expected = r#"[{"currency":"CHF","day":1,"hour":23,"count":1,"total":1},{"currency":"EUR","day":7,"hour":0,"count":1,"total":4},{"currency":"EUR","day":7,"hour":2,"count":3,"total":3}]"#;
    assert_eq!(
        shown(&shop, &on(ReportName::HeatMap, "2026-10-25")).await,
        expected
    );
}

#[tokio::test]
async fn the_heat_map_of_a_request_has_what_passes_its_filter() {
    let shop = OracleTables {
        sales: vec![
            OracleSale::new("2026-01-05T12:00:00Z", 10_000),
            OracleSale::new("2026-01-05T12:30:00Z", 40_000),
            OracleSale {
                site: None,
                ..OracleSale::new("2026-01-06T23:30:00Z", 50_000)
            },
        ],
        ..OracleTables::default()
    };
    let at = |text: &str| text.parse().unwrap();
    let week = Window::new(at("2026-01-05T00:00:00Z"), at("2026-01-12T00:00:00Z")).unwrap();
    for (filter, expected) in [
        (None, (2, "10.0000")),
        (
            Some(r#"{"field": "amount", "operator": "gte", "value": 4}"#),
            (2, "9.0000"),
        ),
        (
            Some(r#"{"field": "site_key", "operator": "isnull"}"#),
            (1, "5.0000"),
        ),
    ] {
        let filter = filter.map(|text| Filter::parse(text).unwrap());
        let filter = filter.map(|filter| CheckedFilter::new(&filter, "UTC", None).unwrap());
        let request = StatisticsRequest {
            filter,
            ..StatisticsRequest::new(week)
        };
        let cells = heat_map(&shop.session(), &request).await.unwrap();
        let total = cells.iter().map(|cell| cell.total.units).sum();
        let total = ExactDecimal::new(total, 4).to_string();
        assert_eq!((cells.len(), total.as_str()), expected, "{cells:?}");
    }
}

#[tokio::test]
async fn best_selling_products_are_ranked_over_the_period_and_shown_by_day() {
    let of = |sale: usize, product: &str, name: &str, quantity: i128| OracleArticle {
        product: some(product),
        quantity: Some(quantity * 1_000_000),
        ..OracleArticle::new(sale, name, 0)
    };
    let shop = OracleTables {
        sales: vec![
            OracleSale::new("2026-01-01T12:00:00Z", 1),
            OracleSale::new("2026-01-03T12:00:00Z", 1),
        ],
        articles: vec![
            of(0, "p:1", "Coffee (old)", 2),
            of(1, "p:1", "Coffee (old)", 1),
            of(1, "p:2", "Coffee", 1),
            of(0, "p:3", "Tea", 4),
            of(1, "p:4", "Cake", 3),
            of(1, "p:5", "Apple", 3),
        ],
        products: vec![("p:1".into(), some("Coffee"), None)],
        ..OracleTables::default()
    };
    let request = ReportRequest {
        amount: 3,
        ..over(ReportName::BestSellingProducts, "2026-01-01..2026-02-01")
    };
    let expected = r#"[{"name":"Coffee","values":[{"date":"2026-01-01","value":2},{"date":"2026-01-03","value":2}]},{"name":"Tea","values":[{"date":"2026-01-01","value":4}]},{"name":"Apple","values":[{"date":"2026-01-03","value":3}]}]"#;
    assert_eq!(shown(&shop, &request).await, expected);
}

#[tokio::test]
async fn products_of_one_period_against_another() {
    let coffee = |sale: usize, amount: i128| OracleArticle {
        product: some("p:1"),
        code: some("OLD"),
        ..OracleArticle::new(sale, "Coffee (old)", amount)
    };
    let shop = OracleTables {
        sales: vec![
            OracleSale::new("2026-01-01T12:00:00Z", 1),
            OracleSale {
                currency: some("CHF"),
                ..OracleSale::new("2025-01-01T12:00:00Z", 1)
            },
        ],
        articles: vec![
            coffee(0, 25_000),
            coffee(0, 25_000),
            OracleArticle {
                unit: some("l"),
                quantity: Some(40_500_000),
                ..OracleArticle::new(0, "Diesel", 600_000)
            },
            OracleArticle {
                currency: None,
                ..coffee(1, 30_000)
            },
        ],
        products: vec![("p:1".into(), some("Coffee"), some("KAF"))],
        ..OracleTables::default()
    };
    let request = against(
        ReportName::Products,
        "2026-01-01..2026-02-01",
        "2025-01-01..2025-02-01",
    );
    let expected = concat!(
        r#"{"period1":{"data":[{"productId":null,"name":"Diesel","internalRef":null,"revenue":60,"quantity":40.5,"currency":"EUR","unit":"l"},"#,
        r#"{"productId":"p:1","name":"Coffee","internalRef":"KAF","revenue":5,"quantity":2,"currency":"EUR","unit":"pc"}],"endDate":"2026-01-31 23:59:59","startDate":"2026-01-01 00:00:00"},"#,
        r#""period2":{"data":[{"productId":"p:1","name":"Coffee","internalRef":"KAF","revenue":3,"quantity":1,"currency":"CHF","unit":"pc"}],"endDate":"2025-01-31 23:59:59","startDate":"2025-01-01 00:00:00"}}"#
    );
    assert_eq!(shown(&shop, &request).await, expected);
}

#[tokio::test]
async fn the_same_product_of_many_machines_is_one() {
    let at = |device: &str, amount: i128| OracleSale {
        device: some(device),
        ..OracleSale::new("2026-01-01T12:00:00Z", amount)
    };
    let sold = |sale: usize, key: &str, code: &str, name: &str, amount: i128| OracleArticle {
        product: some(key),
        code: some(code).filter(|code| !code.is_empty()),
        ..OracleArticle::new(sale, name, amount)
    };
    let shop = OracleTables {
        sales: vec![at("p:80", 1), at("p:81", 1)],
        articles: vec![
            sold(0, "p:80/1", "KAF-KL", "Kaffee klein", 10_000),
            sold(1, "p:81/7", "KAF-KL", "Kleiner Kaffee", 30_000),
            // Given back.
            OracleArticle {
                quantity: Some(-1_000_000),
                ..sold(1, "p:81/7", "KAF-KL", "Kleiner Kaffee", -10_000)
            },
            sold(0, "p:80/2", "", "Tee", 5_000),
            sold(1, "p:81/2", "", "Tee", 5_000),
            sold(0, "p:80/3", "", "Suppe", 4_000),
            // The operator's own catalogue: two keys are two products, whatever they are called.
            sold(0, "p:1", "X", "Diesel", 2_000),
            sold(0, "p:2", "X", "Diesel", 1_000),
        ],
        ..OracleTables::default()
    };
    let row = |key: &str, name: &str, code: &str, revenue: &str, quantity: i64| {
        format!(
            r#"{{"productId":{key},"name":"{name}","internalRef":{code},"revenue":{revenue},"quantity":{quantity},"currency":"EUR","unit":"pc"}}"#
        )
    };
    let rows = [
        row("null", "Kleiner Kaffee", r#""KAF-KL""#, "3", 1),
        row("null", "Tee", "null", "1", 2),
        row(r#""p:80/3""#, "Suppe", "null", "0.4", 1),
        row(r#""p:1""#, "Diesel", r#""X""#, "0.2", 1),
        row(r#""p:2""#, "Diesel", r#""X""#, "0.1", 1),
    ]
    .join(",");
    let expected = format!(
        r#"{{"period1":{{"data":[{rows}],"endDate":"2026-01-31 23:59:59","startDate":"2026-01-01 00:00:00"}}}}"#
    );
    assert_eq!(
        shown(&shop, &over(ReportName::Products, "2026-01-01..2026-02-01")).await,
        expected
    );
}

#[tokio::test]
async fn a_code_that_one_machine_lacks_is_known_by_the_products_name() {
    let at = |device: &str, tenant: &str| OracleSale {
        device: some(device),
        tenant: some(tenant),
        ..OracleSale::new("2026-01-01T12:00:00Z", 1)
    };
    let sold = |sale: usize, key: &str, code: &str, name: &str, amount: i128| OracleArticle {
        product: some(key),
        code: some(code).filter(|code| !code.is_empty()),
        ..OracleArticle::new(sale, name, amount)
    };
    let shop = OracleTables {
        sales: vec![at("p:80", "a"), at("p:81", "a"), at("p:82", "b")],
        articles: vec![
            // One code, whatever its spelling; the line without it is the largest.
            sold(0, "p:80/1", "KAF-KL", "Kaffee klein", 10_000),
            sold(1, "p:81/1", "kaf-kl ", "Kaffee klein", 20_000),
            sold(1, "p:81/2", "", "KAFFEE  klein", 40_000),
            // Two codes: nobody knows which one it is.
            sold(0, "p:80/3", "S1", "Saft", 1_000),
            sold(1, "p:81/3", "S2", "Saft", 2_000),
            sold(1, "p:81/4", "", "Saft", 3_000),
            // Another tenant's.
            sold(2, "p:82/1", "", "Kaffee klein", 5_000),
        ],
        ..OracleTables::default()
    };
    let text = shown(&shop, &over(ReportName::Products, "2026-01-01..2026-02-01")).await;
    let text: serde_json::Value = serde_json::from_str(&text).unwrap();
    let brief = |row: &serde_json::Value| {
        ["name", "internalRef", "productId", "revenue", "quantity"]
            .map(|key| row[key].to_string())
            .join(" ")
    };
    let rows: Vec<String> = text["period1"]["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(brief)
        .collect();
    assert_eq!(
        rows,
        [
            r#""KAFFEE  klein" "KAF-KL" null 7 3"#,
            r#""Kaffee klein" null "p:82/1" 0.5 1"#,
            r#""Saft" null "p:81/4" 0.3 1"#,
            r#""Saft" "S2" "p:81/3" 0.2 1"#,
            r#""Saft" "S1" "p:80/3" 0.1 1"#,
        ]
    );
}

#[tokio::test]
async fn a_shift_is_what_lies_between_its_first_and_its_last_sale() {
    // Transactions are numbered from p:0 on; the sixth is of another site.
    let mut sales: Vec<OracleSale> = (0..7)
        .map(|_| OracleSale::new("2026-01-01T12:00:00Z", 1))
        .collect();
    sales[5].site = Some(2);
    let shop = OracleTables {
        payments: (0..7)
            .map(|sale| OraclePayment::new(sale, "cash", 10_000 << sale))
            .collect(),
        articles: (0..7)
            .map(|sale| OracleArticle {
                product: some("p:87/1"),
                ..OracleArticle::new(sale, "Tea", 10_000 << sale)
            })
            .collect(),
        sales,
        shifts: vec![
            ("p:9", 0, Some("p:1"), Some("p:2")),
            // Open when it was told, but another began since.
            ("p:10", 0, Some("p:3"), None),
            ("p:11", 0, Some("p:4"), None),
            // Without a sale.
            ("p:12", 0, None, None),
        ],
        ..OracleTables::default()
    };
    let days = "2026-01-01..2026-01-02";
    let parsed = async |name| {
        let text = shown(&shop, &over(name, days)).await;
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["period1"]["data"]
            .as_array()
            .unwrap()
            .clone()
    };
    let payments = parsed(ReportName::ShiftPayments).await;
    let brief = |row: &serde_json::Value| {
        let text = |key: &str| row[key].to_string();
        [
            text("shift"),
            text("location"),
            text("quantity"),
            text("revenue"),
        ]
        .join(" ")
    };
    assert_eq!(
        payments.iter().map(brief).collect::<Vec<_>>(),
        [
            r#""p:9" "p:1" 2 6"#,
            r#""p:10" "p:1" 1 8"#,
            r#""p:11" "p:1" 2 80"#,
            r#"null "p:3" 1 32"#,
            r#"null "p:1" 1 1"#,
        ]
    );
    let first = serde_json::json!({
        "location": "p:1", "payment": "cash", "quantity": 2, "reportGroup": null, "revenue": 6, "shift": "p:9", "type": "cash",
        "currency": "EUR"
    });
    assert_eq!(payments[0], first);
    let products = parsed(ReportName::ShiftProducts).await;
    let first = serde_json::json!({
        "shift": "p:9", "productId": "p:87/1", "name": "Tea", "barcode": null, "reportName": null, "quantity": 2, "revenue": 6,
        "sum": 6, "currency": "EUR", "unit": "pc"
    });
    assert_eq!((products.len(), &products[0]), (4, &first));
    let without = OracleTables {
        shifts: vec![],
        ..shop.clone()
    };
    let text = shown(&without, &over(ReportName::ShiftPayments, days)).await;
    assert!(text.contains(r#""revenue":95,"shift":null"#), "{text}");
}

#[tokio::test]
async fn a_group_stands_for_its_members() {
    let at = |device: &str, amount: i128| OracleSale {
        device: some(device),
        ..OracleSale::new("2026-01-01T12:00:00Z", amount)
    };
    let shop = OracleTables {
        sales: vec![
            at("p:80", 10_000),
            at("p:81", 20_000),
            at("p:82", 40_000),
            at("q:81", 80_000),
        ],
        device_groups: vec![
            ("p:1", vec!["p:80", "p:81"]),
            ("p:2", vec![]),
            ("q:1", vec!["q:81"]),
        ],
        ..OracleTables::default()
    };
    let list = |of: &[&str]| of.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let cases: [(&[&str], &[&str], Option<&str>); 5] = [
        (&["p:1"], &[], Some("3")),
        // By the provider's id, in every pipeline.
        (&["1"], &[], Some("11")),
        (&["p:1"], &["82"], Some("7")),
        (&["p:1", "p:2"], &[], Some("3")),
        (&["p:2"], &[], None),
    ];
    for (groups, devices, revenue) in cases {
        let of = over(ReportName::RevenueSummary, "2026-01-01..2026-01-02");
        let request = ReportRequest {
            device_groups: list(groups),
            devices: list(devices),
            ..of
        };
        let found = shown(&shop, &request).await;
        let expected = revenue.map_or("{}".to_owned(), |revenue| format!(r#""value":{revenue}}}"#));
        assert!(found.contains(&expected), "{request:?}: {found}");
    }
    let of = || over(ReportName::RevenueSummary, "2026-01-01..2026-01-02");
    for request in [
        ReportRequest {
            device_groups: list(&["9"]),
            ..of()
        },
        ReportRequest {
            device_groups: list(&["p:1", "' OR 1=1 --"]),
            ..of()
        },
        ReportRequest {
            site_groups: list(&["1"]),
            ..of()
        },
    ] {
        let error = report_data(&shop.session(), &request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.message().contains("there is no group"), "{error}");
    }
}

#[tokio::test]
async fn payment_types_leave_out_what_the_provider_leaves_out() {
    let shop = OracleTables {
        sales: vec![
            OracleSale::new("2026-01-01T12:00:00Z", 1),
            OracleSale::new("2026-01-02T12:00:00Z", 1),
        ],
        payments: vec![
            OraclePayment::new(0, "card", 10_000),
            OraclePayment {
                report_group: some("A"),
                ..OraclePayment::new(0, "card", 20_000)
            },
            OraclePayment {
                report_group: some("A"),
                excluded: Some(false),
                ..OraclePayment::new(1, "card", 20_000)
            },
            OraclePayment {
                excluded: Some(true),
                ..OraclePayment::new(1, "card", 500_000)
            },
            OraclePayment {
                state: some("open"),
                ..OraclePayment::new(1, "card", 500_000)
            },
            OraclePayment {
                payment_type: None,
                currency: None,
                ..OraclePayment::new(1, "", -10_000)
            },
        ],
        ..OracleTables::default()
    };
    let expected = concat!(
        r#"{"period1":{"data":[{"type":"card","quantity":2,"revenue":4,"reportGroup":"A","currency":"EUR"},"#,
        r#"{"type":"card","quantity":1,"revenue":1,"reportGroup":null,"currency":"EUR"},"#,
        r#"{"type":"unknown","quantity":1,"revenue":-1,"reportGroup":null,"currency":"EUR"}],"#,
        r#""endDate":"2026-01-31 23:59:59","startDate":"2026-01-01 00:00:00"}}"#
    );
    assert_eq!(
        shown(
            &shop,
            &over(ReportName::PaymentTypes, "2026-01-01..2026-02-01")
        )
        .await,
        expected
    );
}

#[tokio::test]
async fn events_are_counted_on_their_sites_clock() {
    let shop = OracleTables {
        events: vec![
            OracleEvent {
                description: some("Offline"),
                identity: Some(1),
                ..OracleEvent::new("2026-01-01T12:00:00Z", "CM_OFFLINE", 60)
            },
            OracleEvent {
                description: some("Offline"),
                ..OracleEvent::new("2026-01-01T13:00:00Z", "CM_OFFLINE", 30)
            },
            OracleEvent {
                description: some("door 1"),
                identity: Some(31),
                ..OracleEvent::new("2026-01-01T12:00:00Z", "ED014", 5)
            },
            OracleEvent {
                description: some("door 2"),
                identity: Some(32),
                seconds: None,
                ..OracleEvent::new("2026-01-01T12:00:00Z", "ED014", 0)
            },
            OracleEvent {
                code: None,
                ..OracleEvent::new("2026-01-01T23:00:00Z", "", 1)
            },
            OracleEvent {
                site: Some(1),
                ..OracleEvent::new("2026-01-02T04:00:00Z", "LATE", 7)
            },
            OracleEvent {
                scope: "payment".into(),
                ..OracleEvent::new("2026-01-01T08:00:00Z", "ED014", 100)
            },
            OracleEvent {
                at: None,
                ..OracleEvent::new("2026-01-01T08:00:00Z", "ED014", 100)
            },
        ],
        ..OracleTables::default()
    };
    let day = "2026-01-01..2026-01-02";
    let row = |code: &str, error: &str, quantity: i64, duration: i64| {
        let identity = if code == "CM_OFFLINE" { "1" } else { "null" };
        format!(
            r#"{{"code":"{code}","erroridentity":{identity},"error":"{error}","quantity":{quantity},"duration":{duration}}}"#
        )
    };
    let rows = [
        row("ED014", "ED014", 3, 105),
        row("CM_OFFLINE", "Offline", 2, 90),
        row("LATE", "LATE", 1, 7),
    ]
    .join(",");
    let expected = format!(
        r#"{{"period1":{{"data":[{rows}],"endDate":"2026-01-01 23:59:59","startDate":"2026-01-01 00:00:00"}}}}"#
    );
    assert_eq!(shown(&shop, &over(ReportName::Events, day)).await, expected);
    let counts = ReportRequest {
        limit: 1,
        scopes: vec!["device".into()],
        ..over(ReportName::EventCounts, "2026-01-01..2026-01-03")
    };
    let expected = r#"[{"code":"CM_OFFLINE","error":"Offline","summary":2,"duration":90}]"#;
    assert_eq!(shown(&shop, &counts).await, expected);
}

#[tokio::test]
async fn places_are_named_by_key_or_by_the_providers_id() {
    let at = |site: Option<usize>, device: &str, amount: i128| OracleSale {
        site,
        device: some(device),
        ..OracleSale::new("2026-01-01T12:00:00Z", amount)
    };
    let shop = OracleTables {
        sales: vec![
            at(Some(0), "p:87", 10_000),
            at(Some(1), "q:87", 20_000),
            at(Some(2), "p:1:2", 40_000),
            at(None, "p:9", 1),
        ],
        ..OracleTables::default()
    };
    let days = "2026-01-01..2026-01-02";
    let list = |of: &[&str]| of.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    for (sites, devices, revenue) in [
        (list(&["p:1"]), list(&[]), "1"),
        (list(&["1", "q:2"]), list(&[]), "3"),
        (list(&[]), list(&["87"]), "3"),
        (list(&[]), list(&["q:87", "1:2"]), "6"),
        (list(&["1"]), list(&["q:87"]), ""),
        (list(&["' OR 1=1 --"]), list(&[]), ""),
    ] {
        let request = ReportRequest {
            sites,
            devices,
            ..over(ReportName::RevenueSummary, days)
        };
        let found = shown(&shop, &request).await;
        let expected = if revenue.is_empty() {
            "{}".to_owned()
        } else {
            format!(r#""value":{revenue}}}"#)
        };
        assert!(found.contains(&expected), "{request:?}: {found}");
    }
}

#[tokio::test]
async fn hours_of_a_period_are_the_sites_own() {
    let shop = OracleTables {
        sales: vec![
            OracleSale::new("2026-01-01T05:30:00Z", 1),
            OracleSale {
                site: Some(1),
                ..OracleSale::new("2026-01-01T11:29:59Z", 1)
            },
        ],
        payments: vec![
            OraclePayment::new(0, "cash", 10_000),
            OraclePayment::new(1, "card", 20_000),
        ],
        ..OracleTables::default()
    };
    // Half past six in Berlin, just before it in New York.
    for (period, types) in [
        ("2026-01-01 06:30:00..2026-01-01 07:00:00", vec!["cash"]),
        ("2026-01-01 06:29:59..2026-01-01 06:30:00", vec!["card"]),
        (
            "2026-01-01 00:00:00..2026-01-02 00:00:00",
            vec!["card", "cash"],
        ),
    ] {
        let found: serde_json::Value =
            serde_json::from_str(&shown(&shop, &over(ReportName::PaymentTypes, period)).await)
                .unwrap();
        let rows = found["period1"]["data"].as_array().unwrap();
        assert_eq!(
            rows.iter()
                .map(|row| row["type"].as_str().unwrap())
                .collect::<Vec<_>>(),
            types,
            "{period}"
        );
    }
}

#[tokio::test]
async fn what_is_not_known_is_refused() {
    let days = "2026-01-01..2026-02-01";
    for request in [
        on(ReportName::Products, "2026-01-01"),
        over(ReportName::Summary, days),
        ReportRequest {
            perspective: "lease".into(),
            ..over(ReportName::Products, days)
        },
        ReportRequest {
            states: vec!["paid".into()],
            ..over(ReportName::Products, days)
        },
        ReportRequest {
            scopes: vec!["moon".into()],
            ..over(ReportName::Events, days)
        },
        ReportRequest {
            amount: 0,
            ..over(ReportName::BestSellingProducts, days)
        },
    ] {
        let error = report_data(&OracleTables::default().session(), &request)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(error.hint_text().is_some(), "{error}");
    }
    assert!(
        "best-sellers"
            .parse::<ReportName>()
            .unwrap_err()
            .hint_text()
            .unwrap()
            .contains("best-selling-products")
    );
}
