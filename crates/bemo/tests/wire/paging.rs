//! The list: what is asked, and servers that cut, count and link their pages as they like.
//!
//! Invariant: the ids that came are compared page by page, and the queries to the letter where they matter.

use crate::connection;
use crate::{SESSIONS, ids, limits, number, open, page, queries, read, serve, slice};
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering};
use tillhouse_extract::{SourceConnection, SourceLimits};
use tillhouse_model::ErrorKind;
use wiremock::matchers::{method, path, query_param};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

/// The sessions `0..total` in pages of at most `most`, counted from `base`.
fn cut(request: &Request, base: u64, most: u64, total: u64) -> ResponseTemplate {
    let size = number(request, "limit").min(most);
    let Some(before) = number(request, "offset")
        .checked_sub(base)
        .map(|page| page * size)
    else {
        return page([]);
    };
    page(before.min(total)..(before + size).min(total))
}

#[tokio::test]
async fn a_window_is_asked_for_by_the_dates_of_every_clock() {
    let server = MockServer::start().await;
    serve(&server, |request| cut(request, 0, 1_000, 3)).await;
    let pages = read(open(&server, json!({})).pages(&slice())).await;
    let first = pages[0].as_ref().unwrap();
    assert_eq!(
        (first.scope.as_deref(), first.declared_total),
        (Some("acme"), None)
    );
    assert_eq!(ids(pages), [vec![0, 1, 2], vec![], vec![]]);
    let asked = "from=2025-12-31&to=2026-01-03&limit=500&offset=";
    assert_eq!(
        queries(&server).await,
        [0, 1, 2].map(|page| format!("{asked}{page}"))
    );
}

#[tokio::test]
async fn late_sessions_are_asked_for_by_the_day_they_were_learnt_of() {
    let server = MockServer::start().await;
    serve(&server, |request| cut(request, 0, 1_000, 2)).await;
    let source = open(&server, json!({}));
    assert!(source.resources()[0].follows_changes);
    assert_eq!(
        ids(read(source.pages_by_change_time(&slice())).await),
        [vec![0, 1], vec![], vec![]]
    );
    assert_eq!(
        queries(&server).await[0],
        "lastCreated=2025-12-31&limit=500&offset=0"
    );
}

#[tokio::test]
async fn pages_are_read_until_one_is_short_however_large_they_are() {
    for (most, total, wanted) in [
        (1_000, 5, vec![vec![0, 1], vec![2, 3], vec![4], vec![]]),
        (
            1_000,
            4,
            vec![vec![0, 1], vec![2, 3], vec![], vec![], vec![]],
        ),
        (
            1,
            3,
            vec![vec![0], vec![1], vec![2], vec![], vec![], vec![]],
        ),
        (1_000, 0, vec![vec![], vec![]]),
    ] {
        let server = MockServer::start().await;
        serve(&server, move |request| cut(request, 0, most, total)).await;
        let source = connection(&server, json!({}))
            .open(SourceLimits {
                page_size: 2,
                ..limits()
            })
            .unwrap();
        assert_eq!(
            ids(read(source.pages(&slice())).await),
            wanted,
            "{most} {total}"
        );
    }
}

#[tokio::test]
async fn pages_counted_from_one_are_found_out_or_configured() {
    let server = MockServer::start().await;
    serve(&server, |request| cut(request, 1, 2, 3)).await;
    assert_eq!(
        ids(read(open(&server, json!({})).pages(&slice())).await),
        [vec![], vec![0, 1], vec![], vec![2], vec![]]
    );
    let told = open(&server, json!({"first_page": 1}));
    assert_eq!(
        ids(read(told.pages(&slice())).await),
        [vec![0, 1], vec![2], vec![]]
    );
    assert!(queries(&server).await[5].ends_with("offset=1"));
    // One that takes zero for one repeats its first page.
    let lenient = MockServer::start().await;
    let answer = |request: &Request| {
        let before = (number(request, "offset").max(1) - 1) * 2;
        page(before.min(5)..(before + 2).min(5))
    };
    serve(&lenient, answer).await;
    let source = open(&lenient, json!({}));
    let all = [vec![0, 1], vec![0, 1], vec![2, 3], vec![4], vec![]];
    // Found out by reading anew, and known from then on.
    assert_eq!(
        ids(read(source.pages(&slice())).await),
        [&all[..2], &all].concat()
    );
    assert_eq!(ids(read(source.pages(&slice())).await), all);
}

#[tokio::test]
async fn an_empty_first_page_is_doubted_only_until_one_had_sessions() {
    let server = MockServer::start().await;
    let asked = AtomicU64::new(0);
    serve(&server, move |request| {
        let is_second = asked.fetch_add(1, Ordering::SeqCst) == 2;
        if is_second {
            cut(request, 0, 10, 1)
        } else {
            page([])
        }
    })
    .await;
    let source = open(&server, json!({}));
    for wanted in [
        vec![vec![], vec![]],
        vec![vec![0], vec![], vec![]],
        vec![vec![], vec![]],
    ] {
        assert_eq!(ids(read(source.pages(&slice())).await), wanted);
    }
}

#[tokio::test]
async fn a_server_that_gives_the_same_sessions_whatever_is_asked_is_found_out() {
    let server = MockServer::start().await;
    serve(&server, |request| {
        // The envelope differs every time.
        let data: Vec<_> = (0..2)
            .map(|id| json!({"sessionId": format!("s{id}")}))
            .collect();
        let trace = format!("{}", number(request, "offset"));
        ResponseTemplate::new(200)
            .set_body_json(json!({"status": "Success", "trace": trace, "data": data}))
    })
    .await;
    let source = connection(&server, json!({}))
        .open(SourceLimits {
            page_size: 2,
            ..limits()
        })
        .unwrap();
    let pages = read(source.pages(&slice())).await;
    let error = pages.last().unwrap().as_ref().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(
        error.message().contains("repeats what was there before"),
        "{error}"
    );
    assert!(queries(&server).await.len() <= 12);
    // Somebody says that a short page is believed: this is all there is.
    let unpaged = connection(&server, json!({}))
        .open(SourceLimits {
            confirm_end: false,
            ..limits()
        })
        .unwrap();
    assert_eq!(ids(read(unpaged.pages(&slice())).await), [vec![0, 1]]);
}

#[tokio::test]
async fn an_empty_page_in_the_middle_is_found_out() {
    for slip in [0, 1, 2] {
        let server = MockServer::start().await;
        let asked = AtomicU64::new(0);
        serve(&server, move |request| {
            let slips = asked.fetch_add(1, Ordering::SeqCst) == slip;
            if slips {
                page([])
            } else {
                cut(request, 0, 2, 5)
            }
        })
        .await;
        let source = connection(&server, json!({"first_page": 0}))
            .open(limits())
            .unwrap();
        let came: std::collections::BTreeSet<u64> = ids(read(source.pages(&slice())).await)
            .into_iter()
            .flatten()
            .collect();
        assert_eq!(came, (0..5).collect(), "{slip}");
    }
}

#[tokio::test]
async fn nothing_behind_the_last_page_is_said_in_many_ways() {
    for how in 0..5 {
        let server = MockServer::start().await;
        serve(&server, move |request| {
            match (number(request, "offset"), how) {
                (0, _) => page([0, 1]),
                (_, 0) => ResponseTemplate::new(200)
                    .set_body_json(json!({"status": "Success", "data": null})),
                (_, 1) => ResponseTemplate::new(204),
                (_, how) => {
                    crate::complaint([404, 410, 416][how - 2], "ResourceNotFound", "no such page")
                }
            }
        })
        .await;
        let pages = ids(read(open(&server, json!({})).pages(&slice())).await);
        assert_eq!((pages[0].len(), pages[1..].concat().len()), (2, 0), "{how}");
    }
}

#[tokio::test]
async fn the_next_range_header_is_followed_where_there_is_one() {
    for relative in [true, false] {
        let server = MockServer::start().await;
        let home = if relative {
            String::new()
        } else {
            server.uri()
        };
        Mock::given(query_param("range", "2"))
            .respond_with(page([2]))
            .mount(&server)
            .await;
        let link = format!("{home}{SESSIONS}?range=2");
        serve(&server, move |_| {
            page([0, 1]).insert_header("X-Next", link.as_str())
        })
        .await;
        let source = open(&server, json!({"headers": {"next_range": "X-Next"}}));
        // By number it gives its first page only, and that twice.
        assert_eq!(
            ids(read(source.pages(&slice())).await),
            [vec![0, 1], vec![2], vec![0, 1], vec![0, 1]]
        );
        let requests = server.received_requests().await.unwrap();
        assert_eq!(requests[1].url.query(), Some("range=2"));
        assert_eq!(requests[1].headers["authorization"], "hunter2");
    }
}

#[tokio::test]
async fn a_next_range_that_is_missing_or_never_ends_loses_no_session() {
    type LinkPredicate = fn(u64) -> bool;
    // On which pages there is a link, and whether it is an empty one elsewhere.
    let manners: [(LinkPredicate, bool); 4] = [
        (|at| at == 0, false),
        (|at| at == 0, true),
        (|at| at < 3 && at != 1, false),
        (|_| true, false),
    ];
    for (has_link, is_empty) in manners {
        let server = MockServer::start().await;
        serve(&server, move |request| {
            let at = number(request, "offset");
            let link = if has_link(at) {
                format!("{SESSIONS}?limit=2&offset={}", at + 1)
            } else {
                String::new()
            };
            let answer = cut(request, 0, 2, 7);
            if link.is_empty() && !is_empty {
                answer
            } else {
                answer.insert_header("Next-Range", link.as_str())
            }
        })
        .await;
        let source = connection(&server, json!({}))
            .open(SourceLimits {
                page_size: 2,
                ..limits()
            })
            .unwrap();
        let pages = ids(read(source.pages(&slice())).await);
        assert_eq!(pages[..4], [vec![0, 1], vec![2, 3], vec![4, 5], vec![6]]);
        assert!(
            (5..=16).contains(&pages.len()),
            "one page more, and few behind the end: {pages:?}"
        );
    }
}

#[tokio::test]
async fn a_page_that_is_lacking_for_good_is_an_error() {
    for how in 0..4 {
        let server = MockServer::start().await;
        serve(&server, move |request| {
            match (number(request, "offset"), how) {
                (1, 0) => page([]),
                (1, 1) => ResponseTemplate::new(200)
                    .set_body_json(json!({"status": "Success", "data": null})),
                (1, 2) => ResponseTemplate::new(204),
                (1, _) => crate::complaint(404, "ResourceNotFound", "no such page"),
                _ => cut(request, 0, 2, 7),
            }
        })
        .await;
        let source = connection(&server, json!({}))
            .open(SourceLimits {
                page_size: 2,
                ..limits()
            })
            .unwrap();
        let pages = read(source.pages(&slice())).await;
        let error = pages.last().unwrap().as_ref().unwrap_err();
        assert!(
            error
                .message()
                .contains("page 1 of the listing has no records"),
            "{how}: {error}"
        );
        assert!(error.to_string().contains("times read 4"), "{error}");
    }
}

#[tokio::test]
async fn a_link_that_leads_away_or_nowhere_leaves_the_number() {
    let away = MockServer::start().await;
    for link in [
        format!("{}/sessions?offset=1", away.uri()),
        SESSIONS.to_owned(),
        "2".to_owned(),
        "100-199".to_owned(),
    ] {
        let server = MockServer::start().await;
        let first = if link == SESSIONS {
            Some(format!(
                "{SESSIONS}?from=2025-12-31&to=2026-01-03&limit=500&offset=0"
            ))
        } else {
            None
        };
        let header = first.unwrap_or(link);
        serve(&server, move |request| {
            cut(request, 0, 2, 5).insert_header("Next-Range", header.as_str())
        })
        .await;
        let pages = ids(read(open(&server, json!({})).pages(&slice())).await);
        assert_eq!(pages, [vec![0, 1], vec![2, 3], vec![4], vec![]]);
    }
    assert!(
        away.received_requests().await.unwrap().is_empty(),
        "no credentials, and nothing else"
    );
}

#[tokio::test]
async fn without_the_headers_name_links_are_not_looked_for() {
    let server = MockServer::start().await;
    serve(&server, |request| {
        cut(request, 0, 2, 3).insert_header("Next-Range", "/elsewhere")
    })
    .await;
    let source = open(&server, json!({"headers": {"next_range": null}}));
    assert_eq!(
        ids(read(source.pages(&slice())).await),
        [vec![0, 1], vec![2], vec![]]
    );
}

#[tokio::test]
async fn a_listing_without_end_is_an_error() {
    let server = MockServer::start().await;
    serve(&server, |request| cut(request, 0, 2, u64::MAX)).await;
    let source = connection(&server, json!({}))
        .open(SourceLimits {
            most_pages: 5,
            ..limits()
        })
        .unwrap();
    let pages = read(source.pages(&slice())).await;
    assert_eq!(pages.len(), 6);
    assert!(
        pages[5]
            .as_ref()
            .unwrap_err()
            .message()
            .contains("after 5 pages")
    );
}

#[tokio::test]
async fn only_sessions_of_an_account_can_be_asked_for() {
    let server = MockServer::start().await;
    Mock::given(method("GET"))
        .and(path(SESSIONS))
        .respond_with(page([]))
        .expect(0)
        .mount(&server)
        .await;
    let source = open(&server, json!({}));
    let mut slices = [slice(), slice(), slice()];
    slices[0].resource = "vehicles".into();
    slices[1].tenant = None;
    slices[2].tenant = Some("..".into());
    for (slice, kind) in slices
        .iter()
        .zip([ErrorKind::Config, ErrorKind::Config, ErrorKind::Data])
    {
        for pages in [source.pages(slice), source.pages_by_change_time(slice)] {
            let pages = read(pages).await;
            assert_eq!(
                (pages.len(), pages[0].as_ref().unwrap_err().kind()),
                (1, kind)
            );
        }
    }
    for resource in ["sessions", "vehicles"] {
        let pages = read(source.pages_by_id(resource, vec!["s1".into()])).await;
        assert_eq!(pages[0].as_ref().unwrap_err().kind(), ErrorKind::Config);
    }
}
