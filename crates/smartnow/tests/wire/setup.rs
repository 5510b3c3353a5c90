//! `tillhouse check`: what is asked, and servers and prices that do not fit the configuration.
//!
//! Invariant: each thing that can be configured wrongly is configured wrongly here, one at a time.

use super::{asked, connection, limits, open, query, with_list, with_login};
use serde_json::{Value, json};
use tillhouse_extract::SourceConnection;
use tillhouse_model::{Error, ErrorKind};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

/// A server whose newest sales are `sales`, and that knows the comparisons of these spellings.
async fn with_sales(server: &MockServer, sales: Value, known: [&'static str; 3]) {
    with_login(server).await;
    let answer = move |request: &Request| {
        let [at_least, below, above] = known;
        let asks = |column: &str, operator: &str| {
            query(request, &format!("where[{column}][{operator}]")).is_some()
        };
        let nothing = asks("updatedAt", at_least) || asks("updatedAt", below) || asks("id", above);
        ResponseTemplate::new(200).set_body_json(if nothing { json!([]) } else { sales.clone() })
    };
    Mock::given(method("GET"))
        .and(path("/smartnow/revenuetransaction"))
        .respond_with(answer)
        .mount(server)
        .await;
}

const KNOWN: [&str; 3] = [">=", "<", ">"];

async fn check(sales: Value, known: [&'static str; 3], more: Value) -> Result<(), Error> {
    let server = MockServer::start().await;
    with_sales(&server, sales, known).await;
    connection(&server, more)
        .open(limits())
        .unwrap()
        .check()
        .await
}

fn sale(price: Value, currency: &str) -> Value {
    json!({"id": 3184234, "price": price, "currency": currency})
}

#[tokio::test]
async fn little_is_asked() {
    let server = MockServer::start().await;
    with_sales(&server, json!([sale(json!(10), "EUR")]), KNOWN).await;
    open(&server, limits()).check().await.unwrap();
    assert_eq!(
        asked(&server).await,
        [
            "/revenuetransaction?sort=id desc&limit=100",
            "/revenuetransaction?where[updatedAt][>=]=2200-01-01T00:00:00Z&limit=1",
            "/revenuetransaction?where[updatedAt][<]=1971-01-01T00:00:00Z&limit=1",
            "/revenuetransaction?where[id][>]=3184234&limit=1",
            "/machine?limit=1",
        ]
    );
    check(json!([]), KNOWN, json!({})).await.unwrap();
}

#[tokio::test]
async fn an_operator_that_the_server_ignores_is_named() {
    for (at, named) in [(0, "at_least"), (1, "below"), (2, "above")] {
        let mut known = KNOWN;
        known[at] = "another";
        let error = check(json!([sale(json!(10), "EUR")]), known, json!({}))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(
            error
                .to_string()
                .contains(&format!("connection.operators.{named}")),
            "{error}"
        );
        let more = json!({"operators": {named: "another"}});
        check(json!([sale(json!(10), "EUR")]), known, more)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_server_that_does_not_sort_is_told() {
    let sales = |ids: &[i64]| json!(ids.iter().map(|id| json!({"id": id})).collect::<Vec<_>>());
    // Sorted on every page, and yet not by id: those that changed last come last.
    for ids in [&[3, 4, 5, 1, 2][..], &[1, 2], &[5, 4, 6]] {
        let error = check(sales(ids), KNOWN, json!({})).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("does not heed `sort`"), "{error}");
    }
    check(sales(&[5, 4, 4, 1]), KNOWN, json!({})).await.unwrap();
    // The whole list, whatever is asked.
    let all: Vec<i64> = (1..=101).collect();
    check(sales(&all), KNOWN, json!({})).await.unwrap();
}

#[tokio::test]
async fn prices_that_do_not_fit_their_unit_are_told() {
    let dram = json!([sale(json!(1653), "AMD"), sale(json!(1653.06), "AMD")]);
    let error = check(dram.clone(), KNOWN, json!({})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("1 of the newest 2"), "{error}");
    assert!(error.hint_text().unwrap().contains("price_unit to major"));
    assert!(
        !format!("{error:?}").contains("1653"),
        "no record's value is shown"
    );
    check(dram, KNOWN, json!({"price_unit": "major"}))
        .await
        .unwrap();

    let error = check(
        json!([sale(json!("1.505"), "EUR")]),
        KNOWN,
        json!({"price_unit": "major"}),
    )
    .await
    .unwrap_err();
    assert!(
        error
            .message()
            .contains("more decimals than their currency"),
        "{error}"
    );
    check(
        json!([sale(json!("1.50"), "EUR")]),
        KNOWN,
        json!({"price_unit": "major"}),
    )
    .await
    .unwrap();
}

async fn with_rates(rates: Value, more: Value) -> Result<(), Error> {
    let server = MockServer::start().await;
    with_sales(&server, json!([sale(json!(10), "EUR")]), KNOWN).await;
    with_list(&server, "/machine", vec![json!({"id": 80})]).await;
    let products = rates
        .as_array()
        .unwrap()
        .iter()
        .zip(1..)
        .map(|(rate, id)| json!({"id": id, "vatrate": rate}));
    with_list(&server, "/product/80", products.collect()).await;
    connection(&server, more)
        .open(limits())
        .unwrap()
        .check()
        .await
}

#[tokio::test]
async fn rates_of_tax_that_do_not_fit_their_unit_are_told() {
    let error = with_rates(json!([0.19, "0.07", 0, null]), json!({}))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.to_string().contains("connection.vat_rate") && error.to_string().contains("2 of 3"),
        "{error}"
    );
    assert!(
        error.hint_text().unwrap().contains("vat_rate to fraction"),
        "{error:?}"
    );
    let fraction = json!({"vat_rate": "fraction"});
    with_rates(json!([0.19, "0.07", 0, null]), fraction.clone())
        .await
        .unwrap();
    with_rates(json!([19, "7.7", 0, null]), json!({}))
        .await
        .unwrap();
    let error = with_rates(json!([19]), fraction).await.unwrap_err();
    assert!(
        error.hint_text().unwrap().contains("vat_rate to percent"),
        "{error:?}"
    );
    with_rates(json!([]), json!({})).await.unwrap();
}

#[tokio::test]
async fn a_wrong_path_is_told() {
    let server = MockServer::start().await;
    with_login(&server).await;
    let error = open(&server, limits()).check().await.unwrap_err();
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("connection.paths.revenue_transactions"),
        "{error:?}"
    );
}
