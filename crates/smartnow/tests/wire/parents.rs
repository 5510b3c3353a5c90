//! Lists of every parent: whose they are, and parents that are gone, many or none.
//!
//! Invariant: requests are counted, since a machine more must not mean a request more than its lists need.

use super::{asked, connection, ids, limits, open, pages, records, today, with_list, with_login};
use serde_json::{Value, json};
use tillhouse_extract::{SourceConnection, SourceLimits};
use tillhouse_model::ErrorKind;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

/// Three machines: one sells three products, one none, one two.
async fn with_machines(server: &MockServer) {
    with_login(server).await;
    with_list(
        server,
        "/machine",
        vec![json!({"id": 7}), json!({"id": 80}), json!({"id": 81})],
    )
    .await;
    with_list(
        server,
        "/product/7",
        (1..=3).map(|id| json!({"id": id})).collect(),
    )
    .await;
    with_list(server, "/product/80", vec![]).await;
    with_list(
        server,
        "/product/81",
        vec![json!({"id": 4}), json!({"id": 5})],
    )
    .await;
}

fn of(scope: &str, id: i64) -> (Option<String>, Value) {
    (Some(scope.into()), json!(id))
}

#[tokio::test]
async fn every_parents_list_comes_with_its_id() {
    let server = MockServer::start().await;
    with_machines(&server).await;
    let source = open(&server, limits());
    let products = records(source.pages(&today("products"))).await.unwrap();
    assert_eq!(
        products,
        [of("7", 1), of("7", 2), of("7", 3), of("81", 4), of("81", 5)]
    );
    let asked = asked(&server).await;
    let count = |path: &str| {
        asked
            .iter()
            .filter(|request| request.starts_with(&format!("{path}?")))
            .count()
    };
    assert_eq!(count("/machine"), 3, "to the empty page, and once more");
    assert_eq!(
        [
            count("/product/7"),
            count("/product/80"),
            count("/product/81")
        ],
        [2, 2, 2],
        "{asked:?}"
    );
}

#[tokio::test]
async fn parents_that_several_resources_ask_for_at_once_are_listed_once() {
    let server = MockServer::start().await;
    with_machines(&server).await;
    for (machine, extras) in [
        ("7", vec![]),
        ("80", vec![json!({"id": 6})]),
        ("81", vec![]),
    ] {
        with_list(&server, &format!("/productextra/{machine}"), extras).await;
    }
    let source = open(&server, limits());
    let machines = async || {
        let asked = asked(&server).await;
        let lists = asked.iter().filter(|asked| asked.starts_with("/machine?"));
        lists.count()
    };
    let wanted = [of("7", 1), of("7", 2), of("7", 3), of("81", 4), of("81", 5)];
    let (products, extras) = tokio::join!(
        records(source.pages(&today("products"))),
        records(source.pages(&today("product_extras"))),
    );
    assert_eq!(products.unwrap(), wanted);
    assert_eq!(extras.unwrap(), [of("80", 6)]);
    assert_eq!(machines().await, 3, "to the empty page, and once more");
    // Whoever asks later may find others.
    let products = records(source.pages(&today("products"))).await;
    assert_eq!(products.unwrap(), wanted);
    assert_eq!(machines().await, 6);
    // One who leaves keeps nobody from reading on.
    let left = source.pages(&today("product_extras"));
    let staying = source.pages(&today("products"));
    drop(left);
    assert_eq!(records(staying).await.unwrap(), wanted);
    assert_eq!(machines().await, 9);
}

#[tokio::test]
async fn parents_and_children_are_paged() {
    let server = MockServer::start().await;
    with_machines(&server).await;
    let source = open(
        &server,
        SourceLimits {
            page_size: 1,
            ..limits()
        },
    );
    let products = records(source.pages(&today("products"))).await.unwrap();
    assert_eq!(
        products,
        [of("7", 1), of("7", 2), of("7", 3), of("81", 4), of("81", 5)]
    );
}

#[tokio::test]
async fn one_record_that_is_no_list_is_a_list_of_one() {
    let server = MockServer::start().await;
    with_login(&server).await;
    with_list(&server, "/machine", vec![json!({"id": 7})]).await;
    Mock::given(path("/smartnow/productextra/7"))
        .respond_with(
            ResponseTemplate::new(200).set_body_json(json!({"id": 3, "plu": 1, "price": "0.50"})),
        )
        .mount(&server)
        .await;
    let source = open(&server, limits());
    let mut extras = records(source.pages(&today("product_extras")))
        .await
        .unwrap();
    extras.dedup();
    assert_eq!(extras, [of("7", 3)]);
}

#[tokio::test]
async fn a_parent_that_is_gone_is_left_out_but_not_all_of_them() {
    let server = MockServer::start().await;
    with_login(&server).await;
    with_list(
        &server,
        "/machine",
        vec![json!({"id": 7}), json!({"id": 8})],
    )
    .await;
    with_list(&server, "/product/8", vec![json!({"id": 4})]).await;
    let source = open(&server, limits());
    assert_eq!(
        records(source.pages(&today("products"))).await.unwrap(),
        [of("8", 4)]
    );
    // No machine has extras at that path: the path is wrong, and nothing may be taken for deleted.
    let error = pages(source.pages(&today("product_extras")))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("connection.paths.product_extras"),
        "{error:?}"
    );
}

#[tokio::test]
async fn without_parents_there_is_nothing_to_ask() {
    let server = MockServer::start().await;
    with_login(&server).await;
    with_list(&server, "/integration", vec![]).await;
    let source = open(&server, limits());
    assert!(
        ids(source.pages(&today("integration_transactions")))
            .await
            .is_empty()
    );
    assert_eq!(
        asked(&server).await.len(),
        2,
        "an empty list is doubted once"
    );
}

#[tokio::test]
async fn a_parent_that_cannot_be_listed_is_an_error() {
    let server = MockServer::start().await;
    with_login(&server).await;
    let error = pages(open(&server, limits()).pages(&today("products")))
        .await
        .unwrap_err();
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("connection.paths.machines"),
        "{error:?}"
    );
}

#[tokio::test]
async fn vouchers_may_be_listed_by_campaign_and_their_logs_below_them() {
    let server = MockServer::start().await;
    with_login(&server).await;
    with_list(
        &server,
        "/campaign",
        vec![json!({"id": 1}), json!({"id": 2})],
    )
    .await;
    with_list(&server, "/campaign/1/vouchers", vec![json!({"id": "a"})]).await;
    with_list(&server, "/campaign/2/vouchers", vec![json!({"id": "b"})]).await;
    with_list(&server, "/voucher/a/logs", vec![json!({"id": 5})]).await;
    with_list(&server, "/voucher/b/logs", vec![json!({"id": 6})]).await;
    let more = json!({"paths": {"vouchers": "/campaign/{campaign}/vouchers"}});
    let source = connection(&server, more).open(limits()).unwrap();
    let vouchers = records(source.pages(&today("vouchers"))).await.unwrap();
    assert_eq!(
        vouchers,
        [
            (Some("1".into()), json!("a")),
            (Some("2".into()), json!("b"))
        ]
    );
    assert_eq!(
        records(source.pages(&today("voucher_logs"))).await.unwrap(),
        [of("a", 5), of("b", 6)]
    );
    let window = asked(&server)
        .await
        .into_iter()
        .find(|request| request.starts_with("/voucher/a/logs"))
        .unwrap();
    assert!(window.contains("where[updatedAt][>=]="), "{window}");
}

#[tokio::test]
async fn a_child_list_may_be_one_list() {
    let server = MockServer::start().await;
    with_login(&server).await;
    with_list(&server, "/voucherlog", vec![json!({"id": 5})]).await;
    let source = connection(&server, json!({"paths": {"voucher_logs": "/voucherlog"}}))
        .open(limits())
        .unwrap();
    assert_eq!(
        records(source.pages(&today("voucher_logs"))).await.unwrap(),
        [of("all", 5)]
    );
    assert_eq!(asked(&server).await.len(), 3, "no voucher is asked for");
}
