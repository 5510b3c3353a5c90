//! Lists by window and whole: what is asked, and servers that answer as they like.
//!
//! Invariant: queries are compared as they are written, key by key and in their order. Ends, holes and pages that come again are the
//! conformance suite's.

use super::{
    asked, connection, ids, limits, open, pages, query, select, slice, today, with_list, with_login,
};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tillhouse_extract::{SourceConnection, SourceLimits};
use tillhouse_model::{Error, ErrorKind};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

fn numbered(count: i64) -> Vec<Value> {
    (1..=count).map(|id| json!({"id": id * 10})).collect()
}

#[tokio::test]
async fn a_window_is_asked_for_by_the_last_change_and_paged_by_key() {
    let server = MockServer::start().await;
    with_login(&server).await;
    with_list(&server, "/revenuetransaction", numbered(5)).await;
    let source = open(
        &server,
        SourceLimits {
            page_size: 2,
            ..limits()
        },
    );
    let day = slice(
        "revenue_transactions",
        "2019-02-06T00:00:00.25Z",
        "2019-02-06T23:59:59.75Z",
    );
    assert_eq!(ids(source.pages(&day)).await, [10, 20, 30, 40, 50]);
    let window = "where[updatedAt][>=]=2019-02-05T23:59:59Z&where[updatedAt][<]=2019-02-07T00:00:00Z&useArchive=true";
    let page = |last: &str| format!("/revenuetransaction?{window}{last}&sort=id asc&limit=2");
    assert_eq!(
        asked(&server).await,
        [
            page(""),
            page("&where[id][>]=20"),
            page("&where[id][>]=40"),
            page("&where[id][>]=50")
        ],
        "the last page was short"
    );
}

#[tokio::test]
async fn each_fact_has_its_own_time_and_a_page_is_a_hundred_at_most() {
    let server = MockServer::start().await;
    with_login(&server).await;
    for (resource, at, column) in [
        ("revenue_transactions", "/revenuetransaction", "updatedAt"),
        ("payment_transactions", "/paymenttransaction", "updatedAt"),
        ("logs", "/log", "createdAt"),
    ] {
        with_list(&server, at, vec![]).await;
        assert!(
            ids(open(&server, limits()).pages(&today(resource)))
                .await
                .is_empty()
        );
        let last = asked(&server).await.pop().unwrap();
        assert!(
            last.starts_with(&format!("{at}?where[{column}][>=]=")),
            "{last}"
        );
        assert!(last.contains(&format!("&where[{column}][<]=")), "{last}");
        assert!(
            last.ends_with("&sort=id asc&limit=1"),
            "an empty list is doubted once: {last}"
        );
        assert!(
            asked(&server)
                .await
                .iter()
                .any(|asked| asked.ends_with("&sort=id asc&limit=100"))
        );
        assert!(
            !last.contains("useArchive"),
            "today is not archived: {last}"
        );
    }
}

#[tokio::test]
async fn what_was_resolved_late_is_asked_for_by_the_time_of_it() {
    let server = MockServer::start().await;
    with_login(&server).await;
    with_list(&server, "/log", numbered(1)).await;
    let source = open(&server, limits());
    assert_eq!(
        ids(source.pages_by_change_time(&slice(
            "logs",
            "2026-01-01T00:00:00Z",
            "2026-01-02T00:00:00Z"
        )))
        .await,
        [10]
    );
    // From three days earlier on: a machine may have been offline.
    let window =
        "where[resolvedAt][>=]=2025-12-28T23:59:59Z&where[resolvedAt][<]=2026-01-02T00:00:00Z";
    assert_eq!(
        asked(&server).await[0],
        format!("/log?{window}&useArchive=true&sort=id asc&limit=100")
    );
    assert!(
        ids(source.pages_by_change_time(&today("revenue_transactions")))
            .await
            .is_empty()
    );
    assert_eq!(
        asked(&server).await.len(),
        3,
        "nothing is learnt late of other resources"
    );
}

#[tokio::test]
async fn the_archive_is_asked_when_a_window_reaches_back_far_enough() {
    for (archive, days_ago, asks) in [
        (json!({}), 59, false),
        (json!({}), 61, true),
        (json!({"archive": {"after": "10d"}}), 11, true),
        (json!({"archive": {"after": "0d"}}), 1, true),
        (json!({"archive": {"after": "never"}}), 1_000, false),
        (
            json!({"archive": {"after": "1d", "parameter": "archive"}}),
            5,
            true,
        ),
    ] {
        let server = MockServer::start().await;
        with_login(&server).await;
        with_list(&server, "/paymenttransaction", vec![]).await;
        let source = connection(&server, archive.clone()).open(limits()).unwrap();
        let mut old = today("payment_transactions");
        let from = jiff::Timestamp::now()
            .checked_sub(jiff::SignedDuration::from_hours(24 * days_ago))
            .unwrap();
        old.window = tillhouse_model::Window::new(from, jiff::Timestamp::now()).unwrap();
        assert!(ids(source.pages(&old)).await.is_empty());
        let parameter = archive["archive"]["parameter"]
            .as_str()
            .unwrap_or("useArchive");
        let asked = asked(&server).await.pop().unwrap();
        assert_eq!(
            asked.contains(&format!("&{parameter}=true")),
            asks,
            "{archive} {days_ago}: {asked}"
        );
    }
}

#[tokio::test]
async fn ids_that_are_texts_are_paged_by_key_too() {
    let server = MockServer::start().await;
    with_login(&server).await;
    let texts = ["a-1", "b-2", "c-3", "d-4", "e-5"];
    with_list(
        &server,
        "/voucher",
        texts.iter().map(|id| json!({"id": id})).collect(),
    )
    .await;
    let source = open(
        &server,
        SourceLimits {
            page_size: 2,
            ..limits()
        },
    );
    assert_eq!(ids(source.pages(&today("vouchers"))).await, texts);
    assert_eq!(
        asked(&server).await[1],
        "/voucher?where[id][>]=b-2&sort=id asc&limit=2"
    );
}

#[tokio::test]
async fn operators_are_spelt_as_configured() {
    let server = MockServer::start().await;
    with_login(&server).await;
    let answer = |request: &Request| {
        let all = numbered(if query(request, "where[id][gt]").is_some() {
            0
        } else {
            3
        });
        ResponseTemplate::new(200).set_body_json(all)
    };
    Mock::given(path("/smartnow/revenuetransaction"))
        .respond_with(answer)
        .mount(&server)
        .await;
    let more = json!({"operators": {"at_least": "gte", "below": "lt", "above": "gt"}});
    let source = connection(&server, more).open(limits()).unwrap();
    assert_eq!(
        ids(source.pages(&today("revenue_transactions")))
            .await
            .len(),
        3
    );
    let asked = asked(&server).await;
    assert!(
        asked[1].contains("where[updatedAt][gte]=") && asked[1].contains("where[updatedAt][lt]="),
        "{asked:?}"
    );
    assert!(asked[1].contains("where[id][gt]=30"), "{asked:?}");
}

#[tokio::test]
async fn rows_that_vanish_meanwhile_take_no_others_with_them() {
    let server = MockServer::start().await;
    with_login(&server).await;
    let requests = AtomicUsize::new(0);
    let answer = move |request: &Request| {
        // After the first page, what it held is gone.
        let gone = if requests.fetch_add(1, Ordering::SeqCst) == 0 {
            0
        } else {
            3
        };
        let records: Vec<Value> = numbered(9).into_iter().skip(gone).collect();
        ResponseTemplate::new(200).set_body_json(select(&records, request))
    };
    Mock::given(path("/smartnow/log"))
        .respond_with(answer)
        .mount(&server)
        .await;
    let source = open(
        &server,
        SourceLimits {
            page_size: 3,
            ..limits()
        },
    );
    assert_eq!(
        ids(source.pages(&today("logs"))).await,
        [10, 20, 30, 40, 50, 60, 70, 80, 90]
    );
}

#[tokio::test]
async fn servers_that_cut_pages_or_know_no_paging_are_read_whole() {
    for (cap, pages_by_key) in [(4, true), (usize::MAX, true), (usize::MAX, false)] {
        let server = MockServer::start().await;
        with_login(&server).await;
        let answer = move |request: &Request| {
            let found = if pages_by_key {
                select(&numbered(23), request)
            } else {
                numbered(23)
            };
            ResponseTemplate::new(200)
                .set_body_json(found.into_iter().take(cap).collect::<Vec<_>>())
        };
        Mock::given(path("/smartnow/location"))
            .respond_with(answer)
            .mount(&server)
            .await;
        for page_size in [5, 10, 100] {
            let confirm_end = pages_by_key || page_size < 23;
            let source = open(
                &server,
                SourceLimits {
                    page_size,
                    confirm_end,
                    ..limits()
                },
            );
            let mut seen = ids(source.pages(&today("locations"))).await;
            seen.dedup();
            seen.truncate(23);
            let wanted: Vec<Value> = numbered(23)
                .into_iter()
                .map(|record| record["id"].clone())
                .collect();
            assert_eq!(
                seen, wanted,
                "cut to {cap}, by key {pages_by_key}, pages of {page_size}"
            );
        }
    }
}

#[tokio::test]
async fn an_id_that_is_none_at_the_end_of_a_page_blocks_nothing() {
    for odd in [
        json!(""),
        json!(" "),
        json!("abc"),
        json!(null),
        json!(1.5),
        json!({}),
    ] {
        let server = MockServer::start().await;
        with_login(&server).await;
        let shown = odd.clone();
        // Whatever is asked behind, the odd record stands at the end.
        let answer = move |request: &Request| {
            let after = query(request, "where[id][>]").map_or(0, |id| id.parse::<i64>().unwrap());
            let mut page: Vec<Value> = [1, 2, 2, 3, 4]
                .iter()
                .filter(|id| **id > after)
                .take(2)
                .map(|id| json!({"id": id}))
                .collect();
            page.push(json!({"id": odd, "name": "odd"}));
            ResponseTemplate::new(200).set_body_json(page)
        };
        Mock::given(path("/smartnow/machine"))
            .respond_with(answer)
            .mount(&server)
            .await;
        let source = open(
            &server,
            SourceLimits {
                page_size: 3,
                ..limits()
            },
        );
        let seen = ids(source.pages(&today("machines"))).await;
        for id in [1, 2, 3, 4] {
            assert!(seen.contains(&json!(id)), "{shown}: {seen:?}");
        }
    }
}

#[tokio::test]
async fn a_page_that_comes_again_is_an_error_unless_somebody_says_that_it_is_whole() {
    let server = MockServer::start().await;
    with_login(&server).await;
    Mock::given(path("/smartnow/location"))
        .respond_with(ResponseTemplate::new(200).set_body_json(numbered(2)))
        .mount(&server)
        .await;
    let error = pages(open(&server, limits()).pages(&today("locations")))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(
        error.hint_text().unwrap().contains("confirm_end"),
        "{error:?}"
    );
    let believed = open(
        &server,
        SourceLimits {
            confirm_end: false,
            ..limits()
        },
    );
    assert_eq!(ids(believed.pages(&today("locations"))).await, [10, 20]);
}

#[tokio::test]
async fn a_full_page_that_comes_again_is_an_error_and_not_the_end() {
    let server = MockServer::start().await;
    with_login(&server).await;
    Mock::given(path("/smartnow/location"))
        .respond_with(ResponseTemplate::new(200).set_body_json(numbered(10)))
        .mount(&server)
        .await;
    let error = pages(
        open(
            &server,
            SourceLimits {
                page_size: 10,
                ..limits()
            },
        )
        .pages(&today("locations")),
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(
        error.to_string().contains("cannot be paged") && error.to_string().contains("locations"),
        "{error}"
    );
    assert!(error.hint_text().unwrap().contains("connection.operators"));
}

async fn answer_with(resource: &str, response: ResponseTemplate) -> Error {
    let server = MockServer::start().await;
    with_login(&server).await;
    Mock::given(method("GET"))
        .respond_with(response)
        .mount(&server)
        .await;
    pages(open(&server, limits()).pages(&today(resource)))
        .await
        .unwrap_err()
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let error = answer_with(
        "shifts",
        ResponseTemplate::new(404).set_body_json(json!({"message": "no route"})),
    )
    .await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.to_string().contains("no route") && error.to_string().contains("status 404"),
        "{error}"
    );
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("connection.paths.shifts")
    );

    let refused =
        ResponseTemplate::new(400).set_body_json(json!({"error": "unknown operator, hunter2"}));
    let error = answer_with("logs", refused).await;
    assert!(
        error
            .to_string()
            .contains("400 Bad Request: unknown operator, ***"),
        "{error}"
    );
    let hint = error.hint_text().unwrap();
    assert!(
        hint.contains("connection.operators") && hint.contains("createdAt"),
        "{hint}"
    );

    let error = answer_with("users", ResponseTemplate::new(403)).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(error.hint_text().unwrap().contains("leave users out"));

    let error = answer_with("logs", ResponseTemplate::new(401)).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized);

    let error = answer_with(
        "logs",
        ResponseTemplate::new(200).set_body_json(json!({"logs": []})),
    )
    .await;
    assert!(
        error.message().contains("neither a list nor a record"),
        "{error}"
    );

    let html = ResponseTemplate::new(200).set_body_raw("<html>", "text/html");
    assert!(
        answer_with("logs", html)
            .await
            .message()
            .contains("text/html instead of JSON")
    );
}

#[tokio::test]
async fn an_unknown_resource_is_a_mistake() {
    let server = MockServer::start().await;
    let source = open(&server, limits());
    for stream in [
        source.pages(&today("invoices")),
        source.pages_by_change_time(&today("invoices")),
        source.pages_by_id("invoices", vec!["1".into()]),
    ] {
        let error = pages(stream).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.hint_text().unwrap().contains("revenue_transactions"));
    }
    assert!(source.tenants("invoices").await.is_err());
    assert_eq!(source.tenants("logs").await.unwrap(), vec![None]);
}

#[tokio::test]
async fn every_resource_is_asked_for_and_no_configuration_of_a_machine() {
    let server = MockServer::start().await;
    with_login(&server).await;
    Mock::given(method("GET"))
        .respond_with(|request: &Request| {
            ResponseTemplate::new(200).set_body_json(select(&numbered(2), request))
        })
        .mount(&server)
        .await;
    let source: Arc<dyn tillhouse_extract::Source> = open(&server, limits());
    for resource in source.resources() {
        assert!(
            !ids(source.pages(&today(resource.name))).await.is_empty(),
            "{}",
            resource.name
        );
    }
    let asked = asked(&server).await;
    assert!(
        asked
            .iter()
            .all(|request| !request.to_lowercase().contains("config")),
        "{asked:?}"
    );
    let mut paths: Vec<&str> = asked
        .iter()
        .map(|request| request.split_once('?').unwrap().0)
        .collect();
    paths.sort_unstable();
    paths.dedup();
    let children = [
        "/product/",
        "/productextra/",
        "/productflavour/",
        "/voucher/",
        "/integration/",
    ];
    let parents = paths
        .iter()
        .filter(|path| !children.iter().any(|child| path.starts_with(child)))
        .count();
    assert_eq!((parents, paths.len()), (25, 25 + 6 * 2));
}
