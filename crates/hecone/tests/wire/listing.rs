//! The list: what is asked, and servers that cut pages as they like.
//!
//! Invariant: the ids that came are compared as a list: none missing, none twice, in the order of the server.

use super::{limits, open, query, slice, with_login};
use futures::StreamExt;
use serde_json::{Value, json};
use tillhouse_extract::{Page, SourceLimits};
use tillhouse_model::{Error, ErrorKind};
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

/// Page sizes and metadata of a test server.
#[derive(Clone, Copy)]
struct PagingBehaviour {
    records: u64,
    smallest: u64,
    largest: u64,
    meta: fn(asked: u64, used: u64, start: u64, size: u64, total: u64) -> Value,
}

const BY_THE_DOCUMENT: PagingBehaviour = PagingBehaviour {
    records: 7,
    smallest: 1,
    largest: 1_000,
    meta: |_, used, start, size, total| json!({"limit": used, "start": start, "size": size, "total": total}),
};

async fn serve(server: &MockServer, manner: PagingBehaviour) {
    let answer = move |request: &Request| {
        let number = |key| query(request, key).unwrap().parse::<u64>().unwrap();
        let (start, asked) = (number("page[offset]"), number("page[limit]"));
        let used = asked.clamp(manner.smallest, manner.largest);
        let ids: Vec<Value> = (start..manner.records.min(start + used))
            .map(|id| json!({"id": id}))
            .collect();
        let meta = (manner.meta)(asked, used, start, ids.len() as u64, manner.records);
        // Written by hand: the envelope stands after the records, the hard case.
        let body = format!(r#"{{"data":{},"meta":{meta}}}"#, Value::Array(ids));
        ResponseTemplate::new(200).set_body_raw(body, "application/json")
    };
    Mock::given(method("GET"))
        .and(path("/hecone/transactions"))
        .respond_with(answer)
        .mount(server)
        .await;
}

async fn read(server: &MockServer, page_size: u32) -> Vec<Result<Page, Error>> {
    let source = open(
        server,
        SourceLimits {
            page_size,
            attempts: 1,
            ..limits()
        },
    );
    source
        .pages(&slice("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"))
        .collect()
        .await
}

fn ids(pages: Vec<Result<Page, Error>>) -> Vec<u64> {
    let records = |page: Page| {
        let page: Value = serde_json::from_slice(&page.bytes).unwrap();
        page["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["id"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    pages
        .into_iter()
        .flat_map(|page| records(page.unwrap()))
        .collect()
}

#[tokio::test]
async fn a_window_is_asked_for_as_the_document_says() {
    let server = MockServer::start().await;
    with_login(&server).await;
    serve(&server, BY_THE_DOCUMENT).await;
    let source = open(
        &server,
        SourceLimits {
            page_size: 5,
            ..limits()
        },
    );
    let window = slice("2026-01-01T00:00:00.4Z", "2026-01-02T01:00:00.2+01:00");
    let pages: Vec<Page> = source.pages(&window).map(Result::unwrap).collect().await;
    assert_eq!(pages.len(), 2);
    assert!(pages.iter().all(|p| p.declared_total == Some(7)));
    let requests: Vec<Request> = server.received_requests().await.unwrap();
    let lists: Vec<&Request> = requests.iter().filter(|r| r.method == "GET").collect();
    for (request, offset) in lists.iter().zip(["0", "5"]) {
        let asked: Vec<(String, String)> = request.url.query_pairs().into_owned().collect();
        let wanted = [
            ("start_date", "2026-01-01T00:00:00Z"),
            ("end_date", "2026-01-02T00:00:02Z"),
            ("sort", "id"),
            ("page[offset]", offset),
            ("page[limit]", "5"),
        ];
        assert_eq!(asked, wanted.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(request.headers["authorization"], "Bearer token-1");
    }
    assert_eq!((lists.len(), requests.len()), (2, 3));
    let login: Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(
        login,
        json!({"client_id": "me", "client_secret": "hunter2"})
    );
    assert_eq!(source.stats().requests, 3);
    assert!(pages[0].requested_at < pages[1].requested_at);
}

#[tokio::test]
async fn every_record_comes_once_however_pages_are_cut() {
    let silent = |_, _, _, _, total| json!({"total": total});
    let manners = [
        BY_THE_DOCUMENT,
        PagingBehaviour {
            largest: 3,
            ..BY_THE_DOCUMENT
        },
        PagingBehaviour {
            smallest: 4,
            ..BY_THE_DOCUMENT
        },
        PagingBehaviour {
            records: 0,
            ..BY_THE_DOCUMENT
        },
        // A total of the page's own, on a server that cuts pages.
        PagingBehaviour {
            records: 8,
            largest: 2,
            meta: |_, _, _, size, _| json!({"total": size}),
            ..BY_THE_DOCUMENT
        },
        PagingBehaviour {
            records: 10,
            largest: 5,
            ..BY_THE_DOCUMENT
        },
        // Servers whose meta says less, or something else, than it should.
        PagingBehaviour {
            largest: 3,
            meta: silent,
            ..BY_THE_DOCUMENT
        },
        PagingBehaviour {
            largest: 3,
            meta: |asked, _, start, _, total| json!({"limit": asked, "start": start, "size": asked, "total": total}),
            ..BY_THE_DOCUMENT
        },
        PagingBehaviour {
            largest: 3,
            meta: |_, _, _, _, total| json!({"limit": 0, "size": total, "total": total.to_string()}),
            ..BY_THE_DOCUMENT
        },
        PagingBehaviour {
            records: 20,
            largest: 3,
            meta: |asked, _, start, _, total| json!({"limit": asked, "start": start, "size": asked, "total": total}),
            ..BY_THE_DOCUMENT
        },
        PagingBehaviour {
            meta: |_, _, _, _, _| json!({}),
            ..BY_THE_DOCUMENT
        },
    ];
    for (i, manner) in manners.into_iter().enumerate() {
        let server = MockServer::start().await;
        with_login(&server).await;
        serve(&server, manner).await;
        for page_size in [1, 2, 7, 100] {
            let wanted: Vec<u64> = (0..manner.records).collect();
            assert_eq!(
                ids(read(&server, page_size).await),
                wanted,
                "manner {i}, page size {page_size}"
            );
        }
    }
}

/// A server whose pages say what `answer` makes of their offset.
async fn listed(
    page_size: u32,
    answer: fn(u64) -> ResponseTemplate,
) -> (Vec<u64>, Option<Error>, usize) {
    let server = MockServer::start().await;
    with_login(&server).await;
    let answer =
        move |request: &Request| answer(query(request, "page[offset]").unwrap().parse().unwrap());
    Mock::given(method("GET"))
        .and(path("/hecone/transactions"))
        .respond_with(answer)
        .mount(&server)
        .await;
    let (mut good, mut error) = (Vec::new(), None);
    for page in read(&server, page_size).await {
        match page {
            Ok(page) => good.push(Ok(page)),
            Err(e) => error = Some(e),
        }
    }
    let asked = server
        .received_requests()
        .await
        .unwrap()
        .iter()
        .filter(|request| request.method == "GET")
        .count();
    (ids(good), error, asked)
}

fn rows(from: u64, to: u64, total: u64) -> ResponseTemplate {
    let rows: Vec<Value> = (from..to.max(from)).map(|id| json!({"id": id})).collect();
    ResponseTemplate::new(200).set_body_json(json!({"meta": {"total": total}, "data": rows}))
}

#[tokio::test]
async fn a_total_that_falls_from_page_to_page_is_an_error_with_both_figures_and_no_loop() {
    let answers: [fn(u64) -> ResponseTemplate; 2] = [
        |offset| rows(offset, (offset + 2).min(4), if offset == 0 { 6 } else { 4 }),
        |offset| match offset {
            0 => rows(0, 2, 6),
            _ => ResponseTemplate::new(200)
                .set_body_json(json!({"status": "error", "data": [], "meta": {"total": 0}})),
        },
    ];
    for (answer, came) in answers.into_iter().zip([4, 2]) {
        let (_, error, asked) = listed(2, answer).await;
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        let text = error.to_string();
        // A page that says that it failed is none, and none is no figure either.
        let both = text.contains(&format!("declares 6 records, but {came} came"))
            || (text.contains("declared 6") && text.contains(&format!("came {came}")));
        assert!(both, "{error}");
        assert!(asked <= 24, "{asked} requests");
    }
    let hidden = |_| {
        ResponseTemplate::new(200)
            .set_body_json(json!({"status": "error", "data": [], "meta": {"total": 0}}))
    };
    assert!(
        listed(2, hidden)
            .await
            .1
            .unwrap()
            .message()
            .contains("an error in it")
    );
}

#[tokio::test]
async fn the_same_page_under_a_huge_total_is_an_error() {
    let (came, error, asked) = listed(2, |_| rows(0, 2, 1_000_000_000)).await;
    assert_eq!((came.len(), asked), (16, 8), "read anew three times");
    assert!(error.unwrap().message().contains("offset 2 repeats"));
}

#[tokio::test]
async fn an_empty_page_that_links_to_a_next_one_is_not_the_end() {
    let sieved: fn(u64) -> ResponseTemplate = |offset| {
        let (ids, next) = match offset {
            0 => (vec![1, 2], Some(2)),
            2 => (vec![], Some(4)),
            4 => (vec![3, 4], None),
            _ => (vec![], None),
        };
        let ids: Vec<Value> = ids.into_iter().map(|id| json!({"id": id})).collect();
        let next = next.map(|next: u64| {
            format!("/hecone/transactions?page%5Boffset%5D={next}&page%5Blimit%5D=2")
        });
        // As a text, and in an object.
        let next = if offset == 0 {
            json!(next)
        } else {
            json!({"href": next})
        };
        ResponseTemplate::new(200)
            .set_body_json(json!({"_links": {"next": next}, "meta": {"total": 4}, "data": ids}))
    };
    for page_size in [2, 500] {
        let (came, error, _) = listed(page_size, sieved).await;
        assert_eq!(
            (came, error.is_none()),
            (vec![1, 2, 3, 4], true),
            "{page_size}"
        );
    }
}

#[tokio::test]
async fn a_banner_on_every_page_takes_nothing_from_a_total() {
    // Behind the last page it comes without records, also where its text is damaged.
    fn with_banner(offset: u64, total: u64) -> String {
        let rows: Vec<Value> = (offset.min(5)..5).map(|id| json!({"id": id})).collect();
        json!({"message": "API v1 will be switched off in March", "meta": {"total": total}, "data": rows}).to_string()
    }
    let json = |body: String| ResponseTemplate::new(200).set_body_raw(body, "application/json");
    let banners: [fn(u64) -> String; 2] = [
        |offset| with_banner(offset, 5),
        |offset| with_banner(offset, 5).replace("March", "\\ud83d"),
    ];
    for banner in banners {
        let server = MockServer::start().await;
        with_login(&server).await;
        let answer = move |request: &Request| {
            json(banner(
                query(request, "page[offset]").unwrap().parse().unwrap(),
            ))
        };
        Mock::given(method("GET"))
            .and(path("/hecone/transactions"))
            .respond_with(answer)
            .mount(&server)
            .await;
        let pages: Vec<_> = read(&server, 10).await;
        assert!(pages.iter().all(Result::is_ok), "{pages:?}");
        // A damaged text is no value to serde.
        let whole = |page: Result<Page, Error>| {
            let page = page.unwrap();
            let text = String::from_utf8(page.bytes.to_vec()).unwrap();
            Ok(Page {
                bytes: text.replace("\\ud83d", "").into(),
                ..page
            })
        };
        let pages = pages.into_iter().map(whole).collect();
        assert_eq!(ids(pages), [0, 1, 2, 3, 4]);
    }
    let short = |offset: u64| {
        ResponseTemplate::new(200).set_body_raw(with_banner(offset, 6), "application/json")
    };
    let error = listed(10, short).await.1.unwrap();
    assert!(
        error.message().contains("declares 6 records, but 5 came"),
        "{error}"
    );
}

#[tokio::test]
async fn an_id_twice_and_nothing_said_in_many_ways_end_well() {
    let twice = |offset: u64| {
        let ids: Vec<Value> = [1, 2, 2, 3]
            .iter()
            .skip(offset as usize)
            .take(2)
            .map(|id| json!({"id": id}))
            .collect();
        ResponseTemplate::new(200).set_body_json(json!({"meta": {"total": 4}, "data": ids}))
    };
    let (came, error, _) = listed(2, twice).await;
    assert_eq!((came, error.is_none()), (vec![1, 2, 2, 3], true));
    let answers: [fn(u64) -> ResponseTemplate; 5] = [
        |_| ResponseTemplate::new(200).set_body_json(json!({"meta": {"total": 2}, "data": null})),
        |_| ResponseTemplate::new(204),
        |_| ResponseTemplate::new(404),
        |_| ResponseTemplate::new(410),
        |_| ResponseTemplate::new(416),
    ];
    for (how, answer) in answers.into_iter().enumerate() {
        let server = MockServer::start().await;
        with_login(&server).await;
        let answer = move |request: &Request| match query(request, "page[offset]").unwrap().as_str()
        {
            "0" => rows(0, 2, 2),
            _ => answer(2),
        };
        Mock::given(method("GET"))
            .and(path("/hecone/transactions"))
            .respond_with(answer)
            .mount(&server)
            .await;
        assert_eq!(ids(read(&server, 2).await), [0, 1], "{how}");
    }
}

#[tokio::test]
async fn a_link_to_a_next_page_is_a_sign_that_there_is_one() {
    let linked = |offset: u64| {
        let ids: Vec<Value> = (offset..3.min(offset + 2))
            .map(|id| json!({"id": id}))
            .collect();
        let next = if offset == 0 {
            json!("/hecone/transactions?page[offset]=2")
        } else {
            Value::Null
        };
        ResponseTemplate::new(200)
            .set_body_json(json!({"_links": {"next": next}, "meta": {"total": 2}, "data": ids}))
    };
    let (came, error, _) = listed(10, linked).await;
    assert_eq!((came, error.is_none()), (vec![0, 1, 2], true));
}

async fn answer_with(response: ResponseTemplate) -> Error {
    let server = MockServer::start().await;
    with_login(&server).await;
    Mock::given(method("GET"))
        .and(path("/hecone/transactions"))
        .respond_with(response)
        .mount(&server)
        .await;
    read(&server, 10).await.remove(0).unwrap_err()
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let error =
        answer_with(ResponseTemplate::new(404).set_body_json(json!({"message": "no route"}))).await;
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        error.to_string().contains("no route") && error.to_string().contains("status 404"),
        "{error}"
    );
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("connection.paths.transactions")
    );

    let error = answer_with(
        ResponseTemplate::new(400).set_body_json(json!({"error": {"title": "bad hunter2"}})),
    )
    .await;
    assert!(
        error.to_string().contains("400 Bad Request: bad ***"),
        "{error}"
    );

    let error = answer_with(ResponseTemplate::new(401)).await;
    assert_eq!(error.kind(), ErrorKind::Unauthorized);

    let error = answer_with(
        ResponseTemplate::new(200).set_body_json(json!({"meta": {"total": 3}, "items": []})),
    )
    .await;
    assert!(error.message().contains("no list called data"), "{error}");

    let html = ResponseTemplate::new(200).set_body_raw("<html>", "text/html");
    assert!(
        answer_with(html)
            .await
            .message()
            .contains("text/html instead of JSON")
    );
}

#[tokio::test]
async fn an_unknown_resource_is_a_mistake() {
    let server = MockServer::start().await;
    let source = open(&server, limits());
    let mut unknown = slice("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    unknown.resource = "invoices".into();
    assert_eq!(
        source
            .pages(&unknown)
            .next()
            .await
            .unwrap()
            .unwrap_err()
            .kind(),
        ErrorKind::Config
    );
    assert_eq!(
        source
            .pages_by_id("invoices", vec![])
            .next()
            .await
            .unwrap()
            .unwrap_err()
            .kind(),
        ErrorKind::Config
    );
    assert!(source.tenants("invoices").await.is_err());
    assert_eq!(source.tenants("transactions").await.unwrap(), vec![None]);
}
