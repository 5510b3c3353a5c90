//! The lists: what is asked, page by page, and servers that cut their pages as they like.
//!
//! Invariant: the ids that came are compared page by page; every query is compared as a whole.

use crate::{
    CHANGES, MEDIA_TYPE, PARTNER, PaceServers, cut, ids, limits, page, query, read, slice,
};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use tillhouse_extract::{SourceConnection, SourceLimits};
use tillhouse_model::{ErrorKind, ReadBy};
use wiremock::matchers::{header, method};
use wiremock::{Mock, ResponseTemplate};

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn a_partners_window_is_asked_for_as_the_document_says() {
    let servers = PaceServers::start().await;
    servers.serve(|request| cut(request, 100, 103)).await;
    let source = servers
        .connection(json!({}))
        .open(SourceLimits {
            page_size: 500,
            ..limits()
        })
        .unwrap();
    // Either end may be meant.
    assert_eq!(
        source.asks(&slice(), ReadBy::EventTime).to_string(),
        "[2026-01-01T00:00:00Z, 2026-01-02T00:00:02.000001Z)"
    );
    let pages = read(source.pages(&slice())).await;
    for page in &pages {
        let page = page.as_ref().unwrap();
        assert_eq!(
            (page.scope.as_deref(), page.declared_total),
            (Some("acme"), Some(103))
        );
    }
    assert_eq!(
        ids(pages),
        [(0..100).collect::<Vec<_>>(), (100..103).collect()]
    );
    let asked = servers.asked().await;
    for (number, request) in ["0", "1"].iter().zip(&asked) {
        assert_eq!(request.url.path(), PARTNER);
        let wanted = [
            ("date_from", "2026-01-01T00:00:00Z"),
            ("date_to", "2026-01-02T00:00:02Z"),
            ("page[number]", number),
            ("page[size]", "100"),
        ];
        assert_eq!(query(request), pairs(&wanted));
        assert_eq!(
            (&request.headers["accept"], &request.headers["content-type"]),
            (&MEDIA_TYPE.parse().unwrap(), &MEDIA_TYPE.parse().unwrap())
        );
    }
    assert_eq!(asked.len(), 2);
}

#[tokio::test]
async fn the_newer_list_is_asked_for_by_the_time_of_last_change() {
    let servers = PaceServers::start().await;
    servers.serve(|request| cut(request, 100, 1)).await;
    let window = [
        ("filter[updatedAt][gte]", "2025-12-31T23:59:59Z"),
        ("filter[updatedAt][lt]", "2026-01-02T00:00:01Z"),
        ("sort", "id"),
    ];
    let page = [("page[number]", "0"), ("page[size]", "100")];
    let all = servers.open(json!({"api": "2025-1", "partners": []}));
    assert_eq!(all.tenants("transactions").await.unwrap(), [None]);
    let mut whole = slice();
    whole.tenant = None;
    let pages = read(all.pages(&whole)).await;
    assert_eq!(pages[0].as_ref().unwrap().scope, None);
    let filters = json!({"partner": "filter[partner]", "from": "filter[createdAt][gte]", "to": "filter[createdAt][lt]"});
    let narrowed =
        servers.open(json!({"api": "2025-1", "partners": ["acme", "b c"], "filters": filters}));
    assert_eq!(
        narrowed.tenants("transactions").await.unwrap(),
        [Some("acme".to_owned()), Some("b c".to_owned())]
    );
    let pages = read(narrowed.pages(&slice())).await;
    assert_eq!(pages[0].as_ref().unwrap().scope.as_deref(), Some("acme"));
    let asked = servers.asked().await;
    assert!(asked.iter().all(|request| request.url.path() == CHANGES));
    assert_eq!(query(&asked[0]), pairs(&[&window[..], &page[..]].concat()));
    let created = [
        ("filter[createdAt][gte]", window[0].1),
        ("filter[createdAt][lt]", window[1].1),
        window[2],
    ];
    // Behind a first page as long as its total one more is asked for.
    assert_eq!(asked.len(), 4);
    assert_eq!(
        query(&asked[2]),
        pairs(&[&created[..], &[("filter[partner]", "acme")], &page[..]].concat())
    );
}

#[tokio::test]
async fn pages_are_read_until_so_many_have_passed_as_are_declared() {
    for (size, most, total, pages) in [
        (2, 100, 5, vec![vec![0, 1], vec![2, 3], vec![4]]),
        // A total may be too low where the last page is full.
        (2, 100, 4, vec![vec![0, 1], vec![2, 3], vec![]]),
        (100, 2, 3, vec![vec![0, 1], vec![2]]),
        (1, 100, 0, vec![vec![]]),
    ] {
        let servers = PaceServers::start().await;
        servers
            .serve(move |request| cut(request, most, total))
            .await;
        let source = servers
            .connection(json!({}))
            .open(SourceLimits {
                page_size: size,
                ..limits()
            })
            .unwrap();
        assert_eq!(
            ids(read(source.pages(&slice())).await),
            pages,
            "{size} {most} {total}"
        );
    }
}

#[tokio::test]
async fn transactions_that_leave_the_window_meanwhile_hide_none_of_the_others() {
    let servers = PaceServers::start().await;
    let asked = AtomicU64::new(0);
    servers
        .serve(move |request| {
            // After the first page the first transaction changes, and leaves the window.
            let gone = u64::from(asked.fetch_add(1, Ordering::SeqCst) > 0);
            let before = crate::number(request, "page[number]") * 2 + gone;
            page(before.min(6)..(before + 2).min(6), 6 - gone)
        })
        .await;
    let source = servers
        .connection(json!({"api": "2025-1"}))
        .open(SourceLimits {
            page_size: 2,
            ..limits()
        })
        .unwrap();
    let pages = ids(read(source.pages(&slice())).await);
    // That the count fell is believed of a reading from the beginning.
    let whole = [vec![1, 2], vec![3, 4], vec![5]];
    let expected = [vec![0, 1], vec![3, 4]].into_iter().chain(whole.clone());
    assert_eq!(pages, expected.chain(whole).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_count_of_the_page_or_up_to_a_limit_hides_none() {
    type DeclaredCount = fn(u64, u64) -> u64;
    let counts: [DeclaredCount; 4] = [
        |here, _| here,
        |_, _| 100,
        |_, _| 200,
        |_, before| 240 - before,
    ];
    for count in counts {
        let servers = PaceServers::start().await;
        servers
            .serve(move |request| {
                let before = crate::number(request, "page[number]") * 100;
                let here = before.min(240)..(before + 100).min(240);
                page(here.clone(), count(here.end - here.start, before.min(240)))
            })
            .await;
        let pages = ids(read(servers.open(json!({})).pages(&slice())).await);
        let came: std::collections::BTreeSet<u64> = pages.into_iter().flatten().collect();
        assert_eq!(came, (0..240).collect());
        assert!(servers.asked().await.len() <= 6);
    }
}

#[tokio::test]
async fn nothing_behind_the_last_page_is_said_in_many_ways() {
    let nothing = |how: usize| match how {
        0 => ResponseTemplate::new(200)
            .set_body_raw(r#"{"data":null,"meta":{"count":0}}"#, MEDIA_TYPE),
        1 => ResponseTemplate::new(204),
        how => crate::problem([404, 410, 416][how - 2], json!({"title": "no such page"})),
    };
    for how in 0..5 {
        let servers = PaceServers::start().await;
        servers
            .serve(move |request| {
                if crate::number(request, "page[number]") == 0 {
                    page([0, 1], 2)
                } else {
                    nothing(how)
                }
            })
            .await;
        let source = servers
            .connection(json!({}))
            .open(SourceLimits {
                page_size: 2,
                ..limits()
            })
            .unwrap();
        // A total that counts the page, or none, proves nothing: what is behind the empty page is asked for too.
        let mut pages = ids(read(source.pages(&slice())).await);
        assert_eq!(pages.remove(0), [0, 1], "{how}");
        assert!(
            pages.iter().all(Vec::is_empty) && pages.len() < 4,
            "{how}: {pages:?}"
        );
        // Of a first page, only null and 204 are no error.
        let servers = PaceServers::start().await;
        servers.serve(move |_| nothing(how)).await;
        let first = read(servers.open(json!({})).pages(&slice()))
            .await
            .remove(0);
        match how {
            0 | 1 => assert!(first.is_ok(), "{how}"),
            _ => assert!(first.unwrap_err().to_string().contains("no such page")),
        }
    }
}

#[tokio::test]
async fn an_empty_page_that_links_to_a_next_one_is_not_the_end() {
    for total in [4, 2, 0] {
        let servers = PaceServers::start().await;
        servers
            .serve(move |request| {
                let (rows, linked) = match crate::number(request, "page[number]") {
                    0 => (vec![0, 1], true),
                    1 => (vec![], true),
                    2 => (vec![2, 3], false),
                    _ => (vec![], false),
                };
                // A total of the listing, one that counts the page, and none.
                let count = [
                    json!(null),
                    json!(null),
                    json!(rows.len()),
                    json!(null),
                    json!(4),
                ][total]
                    .clone();
                let rows: Vec<Value> = rows
                    .into_iter()
                    .map(|id: u64| json!({"id": format!("t{id}")}))
                    .collect();
                let next = linked.then_some("/pace/next");
                let body = json!({"links": {"next": next}, "meta": {"count": count}, "data": rows});
                ResponseTemplate::new(200).set_body_raw(body.to_string(), MEDIA_TYPE)
            })
            .await;
        let source = servers
            .connection(json!({}))
            .open(SourceLimits {
                page_size: 2,
                ..limits()
            })
            .unwrap();
        let came: std::collections::BTreeSet<u64> = ids(read(source.pages(&slice())).await)
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(came, (0..4).collect(), "{total}");
    }
}

#[tokio::test]
async fn a_server_that_ignores_the_pages_number_is_found_out() {
    let servers = PaceServers::start().await;
    servers.serve(|_| page([0, 1], 9)).await;
    let source = servers
        .connection(json!({}))
        .open(SourceLimits {
            page_size: 2,
            ..limits()
        })
        .unwrap();
    let pages = read(source.pages(&slice())).await;
    assert_eq!(pages.len(), 9, "read anew three times");
    assert!(
        pages[8]
            .as_ref()
            .unwrap_err()
            .message()
            .contains("page 1 repeats")
    );
}

#[tokio::test]
async fn a_listing_without_end_is_an_error() {
    let servers = PaceServers::start().await;
    servers.serve(|request| cut(request, 100, 1_000_000)).await;
    let source = servers
        .connection(json!({}))
        .open(SourceLimits {
            most_pages: 3,
            ..limits()
        })
        .unwrap();
    let pages = read(source.pages(&slice())).await;
    assert_eq!(pages.len(), 4);
    assert!(
        pages[3]
            .as_ref()
            .unwrap_err()
            .message()
            .contains("after 3 pages")
    );
}

#[tokio::test]
async fn check_asks_for_one_page_of_each_partner_and_wants_a_total() {
    let servers = PaceServers::start().await;
    Mock::given(method("GET"))
        .and(header("accept", MEDIA_TYPE))
        .respond_with(page([1], 1))
        .expect(2)
        .mount(&servers.api)
        .await;
    servers
        .open(json!({"partners": ["acme", "beta"]}))
        .check()
        .await
        .unwrap();
    let asked = servers.asked().await;
    assert!(asked.iter().all(|request| {
        query(request).ends_with(&pairs(&[("page[number]", "0"), ("page[size]", "100")]))
    }));
    assert!(asked[1].url.path().ends_with("/partners/beta"));

    let servers = PaceServers::start().await;
    servers
        .serve(|_| ResponseTemplate::new(200).set_body_json(json!({"data": []})))
        .await;
    let error = servers.open(json!({})).check().await.unwrap_err();
    assert!(
        error.message().contains("declares no meta.count"),
        "{error}"
    );
}

#[tokio::test]
async fn only_transactions_of_a_partner_can_be_asked_for() {
    let servers = PaceServers::start().await;
    let source = servers.open(json!({}));
    let mut slices = [slice(), slice(), slice()];
    slices[0].resource = "receipts".into();
    slices[1].tenant = None;
    slices[2].tenant = Some("..".into());
    for (slice, kind) in slices
        .iter()
        .zip([ErrorKind::Config, ErrorKind::Config, ErrorKind::Data])
    {
        let pages = read(source.pages(slice)).await;
        assert_eq!(
            (pages.len(), pages[0].as_ref().unwrap_err().kind()),
            (1, kind)
        );
    }
    assert!(read(source.pages_by_change_time(&slice())).await.is_empty());
    for resource in ["transactions", "receipts"] {
        let pages = read(source.pages_by_id(resource, vec!["t1".into()])).await;
        assert_eq!(pages[0].as_ref().unwrap_err().kind(), ErrorKind::Config);
    }
    assert!(source.tenants("receipts").await.is_err());
    assert!(servers.asked().await.is_empty());
}
