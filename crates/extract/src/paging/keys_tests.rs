//! Lists that are paged by id, on servers that cut, repeat, order and mislead.
//!
//! Invariant: a list that ends well has given every record once, whatever the order of its ids; one in no order is an error.

use super::*;

/// Behaviour of a test server on `where[id][>]`, `sort` and `limit`.
#[derive(Clone, Copy)]
struct KeyedServer {
    keys: bool,
    limit: bool,
    cap: usize,
    /// The request that is answered with nothing.
    slips: Option<usize>,
}

const GOOD: KeyedServer = KeyedServer {
    keys: true,
    limit: true,
    cap: usize::MAX,
    slips: None,
};

fn page(ids: &[String]) -> String {
    format!(
        "[{}]",
        ids.iter()
            .map(|id| format!(r#"{{"id":{id}}}"#))
            .collect::<Vec<_>>()
            .join(",")
    )
}

/// Reads a list from a server of that manner; the ids that came, and how many requests it took.
fn read(pager: &mut KeyPager, all: &[String], manner: KeyedServer) -> Result<(Vec<String>, usize)> {
    pager.start_over();
    let (mut seen, mut requests) = (Vec::new(), 0);
    loop {
        requests += 1;
        assert!(requests < 1_000, "endless");
        let last = pager.last().map(|id| match id {
            RecordId::Number(number) => number.to_string(),
            RecordId::Text(text) => format!("{text:?}"),
        });
        let from = match last.filter(|_| manner.keys) {
            Some(last) => all.iter().position(|id| *id == last).unwrap() + 1,
            None => 0,
        };
        let asked = if pager.asks_for_one() { 1 } else { pager.limit };
        let most = if manner.limit { asked } else { usize::MAX };
        let some: Vec<String> = all[from..]
            .iter()
            .take(most.min(manner.cap))
            .cloned()
            .collect();
        let some = if manner.slips == Some(requests) {
            Vec::new()
        } else {
            some
        };
        let text = page(&some);
        let (keys, alone) = keys(text.as_bytes()).unwrap();
        if !pager.proves_order() {
            seen.extend(some);
        }
        if pager.take(&keys, alone)? == KeyedNext::End {
            return Ok((seen, requests));
        }
    }
}

fn numbers(count: usize) -> Vec<String> {
    (1..=count).map(|n| (n * 3).to_string()).collect()
}

/// In an order that is the server's own.
fn texts(count: usize) -> Vec<String> {
    (0..count)
        .map(|n| format!("\"v{}-{n}\"", (n * 7919) % 1000))
        .collect()
}

#[test]
fn every_record_comes_once_whatever_the_server_cuts() {
    for make in [numbers, texts] {
        for count in [0, 1, 9, 10, 11, 30, 31] {
            for cap in [1, 3, 10, usize::MAX] {
                for thorough in [true, false] {
                    let all = make(count);
                    let mut pager = KeyPager::new(10, true, thorough);
                    let (seen, _) = read(&mut pager, &all, KeyedServer { cap, ..GOOD }).unwrap();
                    assert_eq!(seen, all, "{count} records, cut to {cap}");
                }
            }
        }
    }
}

#[test]
fn an_empty_page_ends_a_list_where_the_one_before_was_short_or_it_comes_twice() {
    let requests = |confirm, thorough, counts: &[usize]| {
        let mut pager = KeyPager::new(10, confirm, thorough);
        counts
            .iter()
            .map(|count| read(&mut pager, &numbers(*count), GOOD).unwrap().1)
            .collect::<Vec<_>>()
    };
    assert_eq!(requests(true, true, &[25, 20, 3, 0]), [4, 4, 3, 2]);
    assert_eq!(requests(true, false, &[25, 20, 3, 0]), [4, 4, 2, 2]);
    assert_eq!(requests(false, true, &[25, 20, 3, 0]), [3, 3, 1, 1]);
}

#[test]
fn an_empty_page_in_the_middle_is_found_out() {
    for (cap, slips) in [
        (usize::MAX, 1),
        (usize::MAX, 2),
        (usize::MAX, 3),
        (5, 2),
        (5, 3),
    ] {
        let all = numbers(25);
        let mut pager = KeyPager::new(10, true, true);
        let (seen, _) = read(
            &mut pager,
            &all,
            KeyedServer {
                cap,
                slips: Some(slips),
                ..GOOD
            },
        )
        .unwrap();
        assert_eq!(seen, all, "{cap} {slips}");
    }
}

#[test]
fn a_server_that_gives_all_at_once_is_believed_where_it_cannot_have_cut() {
    let deaf = KeyedServer {
        keys: false,
        limit: false,
        ..GOOD
    };
    for make in [numbers, texts] {
        for (manner, count) in [
            (deaf, 25),
            (
                KeyedServer {
                    limit: false,
                    ..GOOD
                },
                25,
            ),
        ] {
            let (seen, _) = read(&mut KeyPager::new(10, true, true), &make(count), manner).unwrap();
            let distinct: HashSet<&String> = seen.iter().collect();
            assert_eq!(distinct.len(), count);
        }
        for (manner, count) in [
            (deaf, 4),
            (deaf, 10),
            (
                KeyedServer {
                    keys: false,
                    ..GOOD
                },
                4,
            ),
        ] {
            let error = read(&mut KeyPager::new(10, true, true), &make(count), manner).unwrap_err();
            assert!(error.message().contains("the same come again"), "{error}");
            assert!(error.hint_text().unwrap().contains("confirm_end"));
        }
        let (seen, requests) = read(&mut KeyPager::new(10, false, true), &make(4), deaf).unwrap();
        assert_eq!((seen.len(), requests), (4, 1), "somebody said so");
    }
    // Once known, it is not asked twice again.
    let mut pager = KeyPager::new(10, true, false);
    assert_eq!(read(&mut pager, &numbers(14), deaf).unwrap().1, 2);
    assert_eq!(read(&mut pager, &numbers(17), deaf).unwrap().1, 1);
    assert_eq!(read(&mut pager, &numbers(0), deaf).unwrap().1, 1);
    assert!(
        read(&mut pager, &numbers(10), deaf).is_err(),
        "it may have been cut"
    );
}

#[test]
fn a_list_in_no_order_has_to_come_again_without_its_least_id() {
    let of = |ids: &[i64]| {
        ids.iter()
            .map(|id| Some(RecordId::Number(*id)))
            .collect::<Vec<_>>()
    };
    let take = |second: &[i64]| {
        let mut pager = KeyPager::new(10, true, true);
        assert_eq!(pager.take(&of(&[5, 3, 9]), false).unwrap(), KeyedNext::More);
        assert_eq!(pager.last(), Some(&RecordId::Number(3)));
        pager.take(&of(second), false)
    };
    assert_eq!(take(&[9, 5]).unwrap(), KeyedNext::End);
    for second in [&[9, 5, 3][..], &[12, 9, 5], &[9]] {
        assert!(
            take(second)
                .unwrap_err()
                .message()
                .contains("the order of their ids"),
            "{second:?}"
        );
    }
    let mut all = numbers(10);
    all.reverse();
    assert!(
        read(&mut KeyPager::new(10, true, true), &all, GOOD).is_err(),
        "full"
    );
    assert_eq!(
        read(
            &mut KeyPager::new(9, true, true),
            &all,
            KeyedServer {
                limit: false,
                ..GOOD
            }
        )
        .unwrap()
        .0
        .len(),
        10
    );
    let text = r#"[{"day":1},{"day":2}]"#;
    let (without, _) = keys(text.as_bytes()).unwrap();
    assert!(
        KeyPager::new(2, true, true)
            .take(&without, false)
            .unwrap_err()
            .message()
            .contains("no id")
    );
    assert_eq!(
        KeyPager::new(3, true, true).take(&without, false).unwrap(),
        KeyedNext::End
    );
}

/// Reads a list from a server that compares ids as texts, and lists them in the order given, whatever is asked.
fn read_without_order(all: &[&str], limit: u32) -> Result<Vec<String>> {
    let mut pager = KeyPager::new(limit, true, true);
    let mut seen = Vec::new();
    for _ in 0..100 {
        let last = pager.last().map(ToString::to_string);
        let most = if pager.asks_for_one() { 1 } else { pager.limit };
        let page: Vec<String> = all
            .iter()
            .filter(|id| last.as_deref().is_none_or(|last| **id > last))
            .take(most)
            .map(|id| (*id).to_owned())
            .collect();
        let keys: Vec<_> = page.iter().cloned().map(RecordId::Text).map(Some).collect();
        seen.extend(page);
        if pager.take(&keys, false)? == KeyedNext::End {
            return Ok(seen);
        }
    }
    panic!("endless")
}

#[test]
fn a_list_of_texts_in_no_order_loses_none_without_a_word() {
    for all in [
        &["c", "a", "e", "b", "d"][..],
        &["c", "a", "b", "e", "d"],
        &["b", "d", "c", "a"],
        &["c", "b", "a", "d"],
        &["a", "z", "b", "c", "d"],
        &["b", "c", "a", "z", "d", "e"],
    ] {
        let error = read_without_order(all, 3).unwrap_err();
        assert!(
            error.message().contains("the order of their ids"),
            "{all:?}: {error}"
        );
    }
    // One that came whole is whole in any order.
    for all in [["c", "a", "b"], ["a", "c", "b"], ["c", "b", "a"]] {
        let seen = read_without_order(&all, 9).unwrap();
        assert!(
            all.iter().all(|id| seen.iter().any(|one| one == id)),
            "{all:?}"
        );
    }
}

#[test]
fn a_list_of_texts_shows_its_order_once_where_nobody_knows_it() {
    let requests = |all: &[String]| {
        let mut pager = KeyPager::new(3, true, true);
        let (seen, first) = read(&mut pager, all, GOOD).unwrap();
        assert_eq!(seen, all);
        let (seen, second) = read(&mut pager, all, GOOD).unwrap();
        assert_eq!(seen, all);
        (first, second)
    };
    let of = |ids: &[&str]| -> Vec<String> { ids.iter().map(|id| format!("{id:?}")).collect() };
    // Two pages, and two empty ones.
    assert_eq!(requests(&of(&["a", "b", "c", "d", "e", "f"])), (4, 4));
    assert_eq!(requests(&of(&["Ab", "aC", "b", "D", "e", "F"])), (4, 4));
    assert_eq!(requests(&of(&["f", "b", "d", "a", "e", "c"])), (5, 4));
}

#[test]
fn an_id_that_is_none_is_nothing_to_ask_behind() {
    let take = |pager: &mut KeyPager, page: &str| {
        let (keys, alone) = keys(page.as_bytes()).unwrap();
        pager
            .take(&keys, alone)
            .map(|next| (next, pager.last().map(ToString::to_string)))
    };
    let more = |last: &str| (KeyedNext::More, Some(last.to_owned()));
    for odd in [
        r#""""#,
        r#"" ""#,
        r#""abc""#,
        "null",
        "1.5",
        "true",
        "{}",
        r#""\ud83d""#,
    ] {
        for page in [
            format!(r#"[{{"id":1}},{{"id":2}},{{"id":{odd}}}]"#),
            format!(r#"[{{"id":{odd}}},{{"id":1}},{{"id":2}}]"#),
            format!(r#"[{{"id":1}},{{"id":{odd}}},{{"id":"2"}}]"#),
        ] {
            let mut pager = KeyPager::new(3, true, true);
            assert_eq!(take(&mut pager, &page).unwrap(), more("2"), "{page}");
            let rest = format!(r#"[{{"id":3}},{{"id":{odd}}}]"#);
            assert_eq!(take(&mut pager, &rest).unwrap(), more("3"), "{page}");
            let odds = format!(r#"[{{"id":{odd}}},{{"id":{odd}}},{{"id":{odd}}}]"#);
            assert_eq!(
                take(&mut pager, &odds).unwrap().0,
                KeyedNext::End,
                "behind the numbers are only such"
            );
            assert!(
                odd == r#""abc""# || take(&mut KeyPager::new(3, true, true), &odds).is_err(),
                "{odd}"
            );
        }
    }
    // Of texts a blank one.
    let mut pager = KeyPager::new(3, true, true);
    assert_eq!(
        take(&mut pager, r#"[{"id":"a"},{"id":"b"},{"id":" "}]"#).unwrap(),
        more("b")
    );
}

#[test]
fn an_id_twice_leads_on() {
    let read = |pages: &[&[i64]]| {
        let mut pager = KeyPager::new(10, true, true);
        let mut steps = Vec::new();
        for page in pages {
            let keys: Vec<_> = page.iter().map(|id| Some(RecordId::Number(*id))).collect();
            steps.push(
                pager
                    .take(&keys, false)
                    .map(|next| (next, pager.last().map(ToString::to_string))),
            );
        }
        steps.pop().unwrap()
    };
    let more = |last: &str| (KeyedNext::More, Some(last.to_owned()));
    assert_eq!(read(&[&[1, 2, 2]]).unwrap(), more("2"));
    assert_eq!(read(&[&[1, 1, 1]]).unwrap(), more("1"));
    assert_eq!(
        read(&[&[1, 2], &[2, 3]]).unwrap(),
        more("3"),
        "what is asked behind comes too"
    );
    assert_eq!(read(&[&[1, 2], &[1, 2, 3]]).unwrap(), more("3"));
    assert!(
        read(&[&[1, 2], &[2, 2]])
            .unwrap_err()
            .message()
            .contains("the same come again")
    );
    assert!(read(&[&[1, 2], &[1, 2]]).is_err());
    let texts = |page: &[&str]| {
        page.iter()
            .map(|id| Some(RecordId::Text((*id).to_owned())))
            .collect::<Vec<_>>()
    };
    let mut pager = KeyPager::new(10, true, true);
    assert_eq!(
        pager.take(&texts(&["a", "b", "b"]), false).unwrap(),
        KeyedNext::More
    );
    assert_eq!(
        pager.take(&texts(&["b", "c"]), false).unwrap(),
        KeyedNext::More
    );
    assert!(pager.take(&texts(&["c", "b"]), false).is_err());
}

#[test]
fn one_record_is_a_list_of_one() {
    assert_eq!(
        keys(br#"{"id":7,"price":"1.50"}"#).unwrap(),
        (vec![Some(RecordId::Number(7))], true)
    );
    let (of_list, alone) = keys(br#"[{"id":"a"},null,{"id":1.5},{"id":2,"price":NaN}]"#).unwrap();
    let (text, number) = (RecordId::Text("a".into()), RecordId::Number(2));
    assert_eq!(
        (of_list, alone),
        (vec![Some(text), None, None, Some(number)], false)
    );
    // Whole numbers, however they are written.
    let (of_list, _) = keys(br#"[{"id":1.0},{"id":2e0},{"id":30.00e-1},{"id":1e99}]"#).unwrap();
    let numbers = [1, 2, 3].map(|id| Some(RecordId::Number(id)));
    assert_eq!(of_list, [&numbers[..], &[None]].concat());
    for wrong in [
        &b"<html>"[..],
        b"",
        b"7",
        br#"{"message":"hunter2"}"#,
        br#"[{"id":1},"#,
    ] {
        let error = keys(wrong).unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
