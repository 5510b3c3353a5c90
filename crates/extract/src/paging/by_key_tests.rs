//! Listings by key, on servers that cut, repeat, lose pages and refuse parents.
//!
//! Invariant: every list is read whole and comes once, or the listing ends with an error that says where.

use super::*;
use futures::StreamExt;
use std::sync::Mutex;

fn asked() -> KeyedListing {
    let listing = ListingOptions {
        page_size: 2,
        ..ListingOptions::from(100)
    };
    KeyedListing {
        source: "till",
        resource: "products",
        listing,
        hint: "Ask about ids.",
    }
}

fn here(text: &str) -> KeyedFetch {
    KeyedFetch::Page(Page {
        bytes: Bytes::from(text.to_owned()),
        ..nothing()
    })
}

/// Reads a stream; scope and text of each page, the error's message last, and what was asked.
async fn read(
    parents: Option<&'static str>,
    answer: fn(&str, Option<i64>) -> KeyedFetch,
) -> (Vec<String>, Vec<String>) {
    let parents = parents.map(|list| {
        by_key(asked(), None, move |after| async move {
            Ok(here(if after.key.is_none() { list } else { "[]" }))
        })
    });
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = requests.clone();
    let stream = by_key(asked(), parents, move |after| {
        let parent = after.parent.as_deref().unwrap_or("-").to_owned();
        let key = after.key.map(|key| key.to_string());
        let one = if after.limit == 1 { "?" } else { "" };
        log.lock()
            .unwrap()
            .push(format!("{parent}>{}{one}", key.as_deref().unwrap_or("")));
        let page = answer(&parent, key.map(|key| key.parse().unwrap()));
        async move { Ok(page) }
    });
    let shown = |page: Result<Page>| match page {
        Ok(page) => format!(
            "{}{}",
            page.scope.as_deref().unwrap_or(""),
            String::from_utf8_lossy(&page.bytes)
        ),
        Err(error) => format!("{error} {}", error.hint_text().unwrap_or_default()),
    };
    let pages = stream.map(shown).collect().await;
    let requests = requests.lock().unwrap().clone();
    (pages, requests)
}

#[tokio::test]
async fn what_has_no_id_to_ask_behind_comes_again_and_is_said_to() {
    let answer = |after: KeyPosition| {
        let key = after.key.map(|key| key.to_string());
        let page = match key.as_deref() {
            None => r#"[{"id":1},null]"#,
            Some("1") => r#"[null,{"id":3}]"#,
            Some("3") => r#"[{"id":4},{"x":1}]"#,
            _ => r#"[{"x":1}]"#,
        };
        async move { Ok(here(page)) }
    };
    let again: Vec<bool> = by_key(asked(), None, answer)
        .map(|page| page.unwrap().is_reread)
        .collect()
        .await;
    assert_eq!(again, [false, true, false, true]);
}

/// The pages of a list of texts, errors by their messages, and the ids that were asked behind.
async fn read_texts(answer: fn(Option<&str>) -> KeyedFetch) -> (Vec<String>, Vec<String>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = requests.clone();
    let stream = by_key(asked(), None, move |after| {
        let key = after.key.map(|key| key.to_string());
        log.lock().unwrap().push(key.clone().unwrap_or_default());
        let page = answer(key.as_deref());
        async move { Ok(page) }
    });
    let shown = |page: Result<Page>| match page {
        Ok(page) => String::from_utf8_lossy(&page.bytes).into_owned(),
        Err(error) => error.to_string(),
    };
    let pages = stream.map(shown).collect().await;
    let requests = requests.lock().unwrap().clone();
    (pages, requests)
}

#[tokio::test(start_paused = true)]
async fn a_list_of_texts_that_is_in_no_order_is_read_anew_and_then_an_error() {
    let (pages, asked) = read_texts(|key| {
        here(match key {
            None => r#"[{"id":"b"},{"id":"a"}]"#,
            Some("b") => r#"[{"id":"a"},{"id":"d"}]"#,
            Some("a") => r#"[{"id":"d"},{"id":"c"}]"#,
            _ => "[]",
        })
    })
    .await;
    assert_eq!(asked, ["", "b", "a", "c", "c"], "in an order of its own");
    let came: Vec<_> = pages.iter().filter(|page| *page != "[]").collect();
    assert_eq!(
        came,
        [r#"[{"id":"b"},{"id":"a"}]"#, r#"[{"id":"d"},{"id":"c"}]"#],
        "nothing comes twice"
    );
    // The last of the page is the greatest: behind it is nothing, and the rest would be lost.
    let in_no_order: fn(Option<&str>) -> KeyedFetch = |key| {
        here(match key {
            None => r#"[{"id":"d"},{"id":"a"}]"#,
            Some("d") => "[]",
            _ => r#"[{"id":"d"},{"id":"b"}]"#,
        })
    };
    let missing: fn(Option<&str>) -> KeyedFetch = |key| match key {
        None => here(r#"[{"id":"d"},{"id":"a"}]"#),
        _ => KeyedFetch::Missing(Error::protocol("there is nothing")),
    };
    for answer in [in_no_order, missing] {
        let (pages, asked) = read_texts(answer).await;
        assert_eq!(asked, ["", "d"].repeat(4));
        assert!(
            pages[pages.len() - 1].contains("the order of their ids"),
            "{pages:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_place_that_stays_missing_is_looked() {
    let gone = || KeyedFetch::Missing(Error::protocol("there is nothing"));
    let (ear, _guard) = crate::testing::log_capture::LogCapture::start();
    let (pages, asked) = read(None, |_, key| match key {
        None => here(r#"[{"id":1},{"id":2}]"#),
        Some(2) => here(r#"[{"id":3},{"id":4}]"#),
        Some(5) => here(r#"[{"id":6},{"id":7}]"#),
        _ => KeyedFetch::Missing(Error::protocol("there is nothing")),
    })
    .await;
    let error = pages.last().unwrap();
    assert!(
        error.contains("nothing behind the id 4, but records further on")
            && error.contains("times read 4"),
        "{error}"
    );
    assert_eq!(asked[..6], ["->", "->2", "->4", "->4", "->5", "->"]);
    assert!(!ear.heard().contains("is believed to be at its end"));
    // Nothing is behind it either, or nobody can look there.
    for first in [r#"[{"id":1},{"id":2}]"#, r#"[{"id":"a"},{"id":"b"}]"#] {
        let before = ear.heard().len();
        let list = by_key(super::tests::asked(), None, move |after| {
            let page = if after.key.is_none() {
                here(first)
            } else {
                gone()
            };
            async move { Ok(page) }
        });
        let pages: Vec<Page> = list.map(|page| page.unwrap()).collect().await;
        assert_eq!(pages.len(), 2);
        let heard = ear.heard()[before..].to_owned();
        assert!(
            heard.contains("is believed to be at its end") && heard.contains("there is nothing"),
            "{heard}"
        );
    }
    let before = ear.heard().len();
    let (pages, asked) = read(None, |_, key| match key {
        None => here(r#"[{"id":1},{"id":2}]"#),
        Some(2) => here(r#"[{"id":3}]"#),
        _ => KeyedFetch::Missing(Error::protocol("there is nothing")),
    })
    .await;
    assert_eq!(
        (pages.len(), asked.len()),
        (3, 4),
        "a short page was before it"
    );
    assert!(!ear.heard()[before..].contains("is believed"));
}

#[tokio::test]
async fn every_parents_list_comes_under_its_id() {
    let (pages, asked) = read(
        Some(r#"[{"id":7},{"id":8},{"id":9}]"#),
        |parent, key| match (parent, key) {
            ("7", None) => here(r#"[{"id":1},{"id":2}]"#),
            ("7", Some(2)) => here(r#"[{"id":3}]"#),
            ("8", None) => here(r#"{"id":4}"#),
            _ => here(["null", ""][usize::from(key.is_some())]),
        },
    )
    .await;
    assert_eq!(asked, ["7>", "7>2", "7>3", "8>", "8>4", "9>", "9>?"]);
    let came: Vec<_> = pages.iter().filter(|page| page.ends_with("}]")).collect();
    assert_eq!(
        came,
        [
            r#"7[{"id":1},{"id":2}]"#,
            r#"7[{"id":3}]"#,
            r#"8[{"id":4}]"#
        ]
    );
    assert_eq!(
        read(Some("[]"), |_, _| panic!("nobody to ask for")).await,
        (vec!["[]".to_owned()], vec![])
    );
}

/// Numbers of requests: all, those under way, and the most of these.
#[derive(Default)]
struct RequestCounts {
    all: u64,
    under_way: usize,
    most: usize,
}

/// A request under way, until it is answered or dropped.
struct RequestUnderWay(Arc<Mutex<RequestCounts>>);

impl Drop for RequestUnderWay {
    fn drop(&mut self) {
        self.0.lock().unwrap().under_way -= 1;
    }
}

/// Answer to a parent, a key and the number of the request.
type NumberedAnswer = fn(&str, Option<i64>, u64) -> KeyedFetch;

/// As [`read`], with so many parents' lists begun at once; also the most requests that were under way together.
async fn read_side_by_side(
    parents: &'static str,
    side_by_side: usize,
    answer: NumberedAnswer,
) -> (Vec<String>, usize) {
    let list = by_key(asked(), None, move |after| async move {
        Ok(here(if after.key.is_none() { parents } else { "[]" }))
    });
    let mut asked = asked();
    asked.listing.side_by_side = side_by_side;
    let counts = Arc::new(Mutex::new(RequestCounts::default()));
    let seen = Arc::clone(&counts);
    let stream = by_key(asked, Some(list), move |after| {
        let counts = Arc::clone(&counts);
        async move {
            let number = {
                let mut counts = counts.lock().unwrap();
                (counts.all, counts.under_way) = (counts.all + 1, counts.under_way + 1);
                counts.most = counts.most.max(counts.under_way);
                counts.all
            };
            let _under_way = RequestUnderWay(counts);
            tokio::time::sleep(std::time::Duration::from_millis(80)).await;
            let key = after.key.map(|key| key.to_string().parse().unwrap());
            Ok(answer(after.parent.as_deref().unwrap(), key, number))
        }
    });
    let shown = |page: Result<Page>| match page {
        Ok(page) => format!(
            "{}{}",
            page.scope.as_deref().unwrap_or(""),
            String::from_utf8_lossy(&page.bytes)
        ),
        Err(error) => error.to_string(),
    };
    let pages = stream.map(shown).collect().await;
    let most = seen.lock().unwrap().most;
    (pages, most)
}

#[tokio::test(start_paused = true)]
async fn lists_that_are_begun_side_by_side_come_as_they_would_one_by_one() {
    let parents = r#"[{"id":7},{"id":8},{"id":9},{"id":10},{"id":11}]"#;
    let answers: [NumberedAnswer; 5] = [
        |parent, key, _| match (parent, key) {
            ("7", None) => here(r#"[{"id":1},{"id":2}]"#),
            ("7", Some(2)) => here(r#"[{"id":3},{"id":4}]"#),
            ("7", Some(4)) => here(r#"[{"id":5}]"#),
            ("9", None) => here(r#"{"id":6}"#),
            ("10", None) => here(r#"[{"id":8},{"id":7}]"#),
            ("11", None) => here(r#"[{"id":8}]"#),
            _ => here("[]"),
        },
        // Parents that are gone, one of them for good.
        |parent, key, number| match (parent, key) {
            ("8", _) => KeyedFetch::Missing(Error::protocol("no such list")),
            ("9", None) if number < 6 => KeyedFetch::Missing(Error::protocol("not now")),
            (_, None) => here(r#"[{"id":1}]"#),
            _ => here("[]"),
        },
        |_, _, _| KeyedFetch::Missing(Error::protocol("no such list")),
        // A total that is missed: everything is read anew.
        |parent, key, _| match (parent, key) {
            ("9", None) => KeyedFetch::Page(Page {
                bytes: Bytes::from_static(br#"[{"id":1}]"#),
                declared_total: Some(2),
                ..nothing()
            }),
            (_, None) => here(r#"[{"id":1}]"#),
            _ => here("[]"),
        },
        // A fault of a page is said where its turn is.
        |parent, key, _| match (parent, key) {
            ("9", _) => here("{}"),
            (_, None) => here(r#"[{"id":1}]"#),
            _ => here("[]"),
        },
    ];
    for answer in answers {
        let (one_by_one, most) = read_side_by_side(parents, 1, answer).await;
        assert_eq!(most, 1);
        for side_by_side in [2, 3, 9] {
            let (pages, most) = read_side_by_side(parents, side_by_side, answer).await;
            assert_eq!(pages, one_by_one, "{side_by_side}");
            assert_eq!(most, side_by_side.min(5), "{side_by_side}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_is_gone_is_left_out_but_not_all_of_them() {
    let parents = Some(r#"[{"id":7},{"id":8}]"#);
    let gone = |_: &str, _: Option<i64>| KeyedFetch::Missing(Error::protocol("no such list"));
    let (pages, _) = read(parents, gone).await;
    assert_eq!(pages, ["[]", "[]", "[]", "no such list "]);
    let (pages, asked) = read(parents, |parent, _| match parent {
        "8" => here("[]"),
        _ => KeyedFetch::Missing(Error::protocol("no such list")),
    })
    .await;
    // It is asked for once more, behind all others.
    assert_eq!(asked, ["7>", "8>", "8>?", "7>"]);
    assert_eq!(pages, ["[]", "8[]", "8[]", "[]"]);
}

/// The pages of a list whose request of that number is answered as missing.
async fn slipping(parents: Option<&'static str>, slips: usize) -> Vec<String> {
    let number = Arc::new(Mutex::new(0));
    let parents = parents.map(|list| {
        by_key(asked(), None, move |after| async move {
            Ok(here(if after.key.is_none() { list } else { "[]" }))
        })
    });
    let stream = by_key(asked(), parents, move |after| {
        let number = {
            let mut number = number.lock().unwrap();
            *number += 1;
            *number
        };
        async move {
            Ok(match after.key {
                _ if number == slips => KeyedFetch::Missing(Error::protocol("no such page")),
                None => here(r#"[{"id":1},{"id":2}]"#),
                Some(RecordId::Number(2)) => here(r#"[{"id":3}]"#),
                _ => here("[]"),
            })
        }
    });
    let mut pages: Vec<String> = stream
        .map(|page| {
            page.map(|p| {
                format!(
                    "{}{}",
                    p.scope.as_deref().unwrap_or(""),
                    String::from_utf8_lossy(&p.bytes)
                )
            })
        })
        .map(|page| page.unwrap_or_else(|error| error.to_string()))
        .collect()
        .await;
    pages.retain(|page| !page.ends_with("[]"));
    pages.sort();
    pages
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_missing_once_hides_no_record() {
    let all = [r#"[{"id":1},{"id":2}]"#, r#"[{"id":3}]"#];
    for slips in 2..6 {
        assert_eq!(slipping(None, slips).await, all, "{slips}");
    }
    let parents = Some(r#"[{"id":7},{"id":8}]"#);
    let all: Vec<String> = ["7", "8"]
        .iter()
        .flat_map(|id| all.map(|page| format!("{id}{page}")))
        .collect();
    for slips in 1..8 {
        assert_eq!(slipping(parents, slips).await, all, "{slips}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_behind_a_page_is_the_end_of_a_list() {
    let (pages, asked) = read(None, |_, key| match key {
        None => here(r#"[{"id":1},{"id":2}]"#),
        _ => KeyedFetch::Missing(Error::protocol("no such page")),
    })
    .await;
    assert_eq!(
        (pages.len(), asked),
        (2, ["->", "->2", "->2", "->3"].map(str::to_owned).to_vec())
    );
    let (pages, _) = read(None, |_, _| {
        KeyedFetch::Missing(Error::protocol("no such list"))
    })
    .await;
    assert_eq!(pages, ["no such list "]);
}

#[tokio::test(start_paused = true)]
async fn a_total_that_is_not_reached_has_every_list_read_anew() {
    let parents = Some(r#"[{"id":7},{"id":8}]"#);
    let (pages, asked) = read(parents, |parent, key| {
        let page = if key.is_none() { r#"[{"id":1}]"# } else { "[]" };
        let declared_total = Some(if parent == "8" { 2 } else { 1 });
        KeyedFetch::Page(Page {
            bytes: Bytes::from_static(page.as_bytes()),
            declared_total,
            ..nothing()
        })
    })
    .await;
    assert_eq!(
        (&asked[..4], asked.len()),
        (&["7>", "7>1", "8>", "8>1"].map(String::from)[..], 16)
    );
    assert!(
        pages[16].contains("declares 2 records, but 1 came"),
        "{pages:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_empty_in_the_next_reading_is_not_believed_and_one_that_fell_is() {
    let of = |text: &'static str, declared_total| {
        KeyedFetch::Page(Page {
            bytes: Bytes::from_static(text.as_bytes()),
            declared_total,
            ..nothing()
        })
    };
    // The server's own count of requests tells one reading from the next.
    for (second, total, is_believed) in [
        ("[]", None, false),
        ("[]", Some(0), false),
        (r#"[{"id":1}]"#, Some(1), true),
    ] {
        let number = Arc::new(Mutex::new(0));
        let stream = by_key(asked(), None, move |after| {
            *number.lock().unwrap() += 1;
            let is_first = *number.lock().unwrap() < 3;
            let page = match (after.key, is_first) {
                (None, true) => of(r#"[{"id":1}]"#, Some(5)),
                (None, false) => of(second, total),
                (_, true) => of("[]", Some(5)),
                (_, false) => of("[]", total),
            };
            async move { Ok(page) }
        });
        let pages: Vec<Result<Page>> = stream.collect().await;
        match pages.last().unwrap() {
            Ok(page) => {
                assert!(is_believed, "{second} {total:?}");
                let words = &page.remarks[0].words;
                assert!(words.contains("a reading before declared 5"), "{words}");
            }
            Err(error) => {
                assert!(!is_believed, "{error}");
                let error = error.to_string();
                assert!(error.contains("declares 5 records, but 0 came"), "{error}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_paged_says_where_and_what_to_do() {
    let (pages, asked) = read(None, |_, _| here(r#"[{"id":1},{"id":2}]"#)).await;
    assert_eq!(asked, ["->", "->2"].repeat(4), "it may be a slip");
    assert_eq!(pages[0], r#"[{"id":1},{"id":2}]"#);
    let error = "the list cannot be paged: the records behind an id are asked for, and the same come again \
                 (source till, resource products, times read 4) Ask about ids. If the provider gives this list whole";
    assert!(pages[8].starts_with(error), "{}", pages[8]);
}
