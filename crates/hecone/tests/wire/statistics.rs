//! HecOne's own statistics.
//!
//! Invariant: a filter is sent as it was asked, in the parameter that the connection names.

use super::{connection, limits, query, with_login};
use serde_json::json;
use tillhouse_extract::SourceConnection;
use tillhouse_model::{Filter, Window};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

#[tokio::test]
async fn a_filter_goes_into_the_parameter_that_is_configured() {
    let server = MockServer::start().await;
    let window = Window::new(
        "2026-01-01T00:00:00Z".parse().unwrap(),
        "2026-01-02T00:00:00Z".parse().unwrap(),
    )
    .unwrap();
    let filter = Filter::parse(r#"{"field":"site_id","operator":"eq","value":"a&b=ü %"}"#).unwrap();
    for (more, parameter, filter) in [
        ("", "filter", None),
        ("", "filter", Some(&filter)),
        (r#","filter_parameter":"$where""#, "$where", Some(&filter)),
    ] {
        server.reset().await;
        with_login(&server).await;
        let answer = ResponseTemplate::new(200).set_body_json(json!({"data": []}));
        Mock::given(method("GET"))
            .and(path("/hecone/transactions/statistics"))
            .respond_with(answer)
            .mount(&server)
            .await;
        let source = connection(&server, more).open(limits()).unwrap();
        source
            .provider_figures(Some("m"), window, filter)
            .await
            .unwrap();
        let requests = server.received_requests().await.unwrap();
        let asked = requests
            .iter()
            .find(|request| request.method.as_str() == "GET")
            .unwrap();
        assert_eq!(query(asked, "mandator_id").as_deref(), Some("m"));
        let sent = query(asked, parameter).map(|sent| Filter::parse(&sent).unwrap());
        assert_eq!(sent.as_ref(), filter, "{}", asked.url);
    }
}

#[tokio::test]
async fn a_plate_in_a_filter_is_not_shown_where_the_server_quotes_it() {
    let server = MockServer::start().await;
    let window = Window::new(
        "2026-01-01T00:00:00Z".parse().unwrap(),
        "2026-01-02T00:00:00Z".parse().unwrap(),
    )
    .unwrap();
    let plate = "KA-XY 1234";
    let day = "2026-01-01T12:00:00Z";
    let filter = json!({"logic": "and", "filters": [
        {"field": "license_plate", "operator": "eq", "value": plate},
        {"field": "created_at", "operator": "gt", "value": day},
    ]});
    let filter = Filter::parse(&filter.to_string()).unwrap();
    with_login(&server).await;
    let message = format!("no such field with {plate}, or KA-XY%201234, after {day}");
    let answer = ResponseTemplate::new(400).set_body_json(json!({"message": message}));
    Mock::given(method("GET"))
        .and(path("/hecone/transactions/statistics"))
        .respond_with(answer)
        .mount(&server)
        .await;
    let source = connection(&server, "").open(limits()).unwrap();
    let error = source
        .provider_figures(Some("m"), window, Some(&filter))
        .await
        .unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(
        shown.contains("no such field") && shown.contains(day),
        "{shown}"
    );
    assert!(
        !shown.contains("1234") && !shown.contains("KA-XY"),
        "{shown}"
    );
}
