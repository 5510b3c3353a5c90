//! Listings by offset, on servers that cut, repeat, miscount and link.
//!
//! Invariant: every listing is read whole, or ends with an error.

use super::super::tests::{good, page, texts};
use super::*;
use futures::StreamExt;
use tokio::time::Instant;

const DATA: &[&str] = &["data"];

fn listing() -> ListingOptions {
    ListingOptions {
        records_at: Some(DATA),
        ..ListingOptions::from(100)
    }
}

/// A server with `total` records that gives at most `most` a page.
fn server(total: u64, most: u64, declares: bool, limit: u32) -> PageStream {
    by_offset(limit, 100, move |at| async move {
        let records = total
            .saturating_sub(at.offset)
            .min(most)
            .min(u64::from(at.limit));
        let page = page(
            format!("{}+{records}", at.offset),
            declares.then_some(total),
        );
        Ok(OffsetPage {
            page,
            records,
            limit: Some(most),
            linked: false,
            leads_to: None,
        })
    })
}

/// Answers of a test server: the records at an offset, and the total, by the number of the
/// request.
type OffsetAnswers = fn(u64, usize) -> (Vec<u64>, Option<u64>);

/// The pages that came, as their offset and records; when each was asked for, in seconds; and the error.
async fn read(
    limit: u32,
    listing: ListingOptions,
    manner: OffsetAnswers,
) -> (Vec<String>, Vec<u64>, Option<Error>) {
    let (began, asked) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let log = Arc::clone(&asked);
    let stream = by_offset(limit, listing, move |at| {
        let number = {
            let mut log = log.lock().unwrap();
            log.push((at.offset, began.elapsed().as_secs()));
            log.len() - 1
        };
        let (rows, total) = manner(at.offset, number);
        let text = format!(r#"{{"start":{},"data":{rows:?}}}"#, at.offset);
        let records = rows.len() as u64;
        async move {
            Ok(OffsetPage {
                page: page(text, total),
                records,
                limit: None,
                linked: false,
                leads_to: None,
            })
        }
    });
    let (mut pages, mut error) = (Vec::new(), None);
    for page in texts(stream).await {
        match page {
            Ok(text) => pages.push(
                text.replace(r#"{"start":"#, "")
                    .replace(r#","data""#, "")
                    .replace('}', ""),
            ),
            Err(e) => error = Some(e),
        }
    }
    let asked = asked.lock().unwrap();
    let in_a_row = asked
        .windows(2)
        .any(|pair| pair[0].0 == pair[1].0 && pair[0].1 == pair[1].1);
    assert!(
        !in_a_row,
        "the same page twice in a row without a pause: {asked:?}"
    );
    (pages, asked.iter().map(|(_, at)| *at).collect(), error)
}

fn cut(offset: u64, size: u64, of: u64) -> Vec<u64> {
    (offset.min(of)..(offset + size).min(of)).collect()
}

#[tokio::test]
async fn offsets_follow_the_records_that_came() {
    assert_eq!(good(server(7, 100, true, 3)).await, ["0+3", "3+3", "6+1"]);
    // The total may be too low where the last page is full.
    assert_eq!(good(server(6, 100, true, 3)).await, ["0+3", "3+3", "6+0"]);
    assert_eq!(good(server(0, 100, true, 3)).await, ["0+0"]);
    // A total as large as the first page may be that page's.
    assert_eq!(good(server(2, 100, true, 3)).await, ["0+2", "2+0"]);
    assert_eq!(good(server(5, 2, true, 3)).await, ["0+2", "2+2", "4+1"]);
}

#[tokio::test]
async fn without_a_total_one_page_more_proves_the_end() {
    assert_eq!(
        good(server(7, 100, false, 3)).await,
        ["0+3", "3+3", "6+1", "7+0"]
    );
    assert_eq!(
        good(server(6, 100, false, 3)).await,
        ["0+3", "3+3", "6+0", "9+0", "6+0"]
    );
    assert_eq!(
        good(server(5, 2, false, 3)).await,
        ["0+2", "2+2", "4+1", "5+0"]
    );
    assert_eq!(good(server(0, 2, false, 3)).await, ["0+0", "3+0"]);
    let unsure = ListingOptions {
        confirm_end: false,
        ..listing()
    };
    let (pages, _, error) = read(3, unsure, |offset, _| (cut(offset, 3, 7), None)).await;
    assert_eq!(
        (pages.last().map(String::as_str), error.is_none()),
        (Some("6:[6]"), true)
    );
}

#[tokio::test]
async fn an_empty_or_a_short_page_in_the_middle_is_found_out() {
    let empty: OffsetAnswers = |offset, number| {
        (
            if number == 1 {
                vec![]
            } else {
                cut(offset, 2, 5)
            },
            None,
        )
    };
    let (pages, _, error) = read(2, listing(), empty).await;
    assert_eq!(
        pages,
        ["0:[0, 1]", "2:[]", "4:[4]", "2:[2, 3]", "4:[4]", "5:[]"]
    );
    assert!(error.is_none());
    let short: OffsetAnswers =
        |offset, number| (cut(offset, if number == 0 { 1 } else { 2 }, 4), None);
    assert_eq!(
        read(2, listing(), short).await.0,
        ["0:[0]", "1:[1, 2]", "3:[3]", "4:[]"]
    );
}

#[tokio::test(start_paused = true)]
async fn rows_that_move_up_are_not_passed_over() {
    // 0 to 12; after the second page the rows 0 and 1 vanish, after two more those behind row 10. That the total fell is believed of a reading
    // from the beginning.
    let manner: OffsetAnswers = |offset, number| {
        let listings: [Vec<u64>; 3] = [(0..13).collect(), (2..13).collect(), (2..11).collect()];
        let rows = &listings[[0, 0, 1, 1, 2][number.min(4)]];
        (
            rows.iter().skip(offset as usize).take(3).copied().collect(),
            Some(rows.len() as u64),
        )
    };
    let (pages, _, error) = read(3, listing(), manner).await;
    assert_eq!(
        pages,
        [
            "0:[0, 1, 2]",
            "3:[3, 4, 5]",
            "6:[8, 9, 10]",
            "4:[6, 7, 8]",
            "7:[9, 10]",
            "5:[7, 8, 9]",
            "8:[10]",
            "0:[2, 3, 4]",
            "3:[5, 6, 7]",
            "6:[8, 9, 10]",
            "9:[]"
        ]
    );
    assert!(error.is_none(), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn rows_that_arrive_in_front_are_read_too() {
    // Row 9 arrives in front after the second page, and pushes row 3 to the third.
    let listing = || ListingOptions {
        records_at: Some(DATA),
        id: "",
        ..ListingOptions::from(100)
    };
    let manner: OffsetAnswers = |offset, number| {
        let rows: Vec<u64> = if number < 2 {
            (0..6).collect()
        } else {
            [9, 0, 1, 2, 3, 4, 5].to_vec()
        };
        (
            rows.iter().skip(offset as usize).take(2).copied().collect(),
            Some(rows.len() as u64),
        )
    };
    let (pages, asked, error) = read(2, listing(), manner).await;
    let anew = ["0:[9, 0]", "2:[1, 2]", "4:[3, 4]", "6:[5]"];
    let before = ["0:[0, 1]", "2:[2, 3]", "4:[3, 4]", "6:[5]"];
    assert_eq!(
        (pages, error.is_none()),
        (
            [before, anew]
                .concat()
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
            true
        )
    );
    assert_eq!(asked, [0, 0, 0, 0, 1, 1, 1, 1]);
    // Records that arrive with every page are read three times more, and then let be.
    let stream: OffsetAnswers = |offset, number| {
        let new = number as u64;
        let rows: Vec<u64> = (0..6 + new).map(|row| 1_000 - new + row).collect();
        (
            rows.iter().skip(offset as usize).take(4).copied().collect(),
            Some(rows.len() as u64),
        )
    };
    let (_, asked, error) = read(4, listing(), stream).await;
    assert!(error.is_none() && asked.len() < 40, "{asked:?} {error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_total_that_falls_from_page_to_page_ends_with_both_figures() {
    let falls: OffsetAnswers = |offset, _| {
        (
            cut(offset, 2, 4),
            Some([6, 4, 4][(offset / 2).min(2) as usize]),
        )
    };
    let vanishes: OffsetAnswers = |offset, _| {
        if offset == 0 {
            (vec![0, 1], Some(6))
        } else {
            (vec![], Some(0))
        }
    };
    for (manner, came, most) in [(falls, 4, 24), (vanishes, 2, 16)] {
        let (_, asked, error) = read(2, listing(), manner).await;
        assert!(asked.len() <= most, "{} requests", asked.len());
        let error = error.unwrap().to_string();
        assert!(
            error.contains(&format!("declares 6 records, but {came} came")),
            "{error}"
        );
        assert!(
            error.contains("times read 4") && error.contains("to 6"),
            "{error}"
        );
    }
    // The rest is no total, but no reason to lose a row.
    let left: OffsetAnswers = |offset, _| (cut(offset, 2, 6), Some(6_u64.saturating_sub(offset)));
    let (pages, _, error) = read(2, listing(), left).await;
    assert!(
        error.is_none() && pages.contains(&"4:[4, 5]".to_owned()),
        "{pages:?} {error:?}"
    );
    // One that falls at every page is followed, and ends.
    let slides: OffsetAnswers =
        |offset, number| (cut(offset, 3, 60), Some(1_000_000 - number as u64));
    let long = ListingOptions {
        most_pages: 500,
        ..listing()
    };
    let (_, asked, error) = read(3, long, slides).await;
    assert!(error.unwrap().message().contains("records, but 60 came"));
    assert!(asked.len() < 4 * 30, "{} requests", asked.len());
    let slides: OffsetAnswers = |offset, number| (cut(offset, 2, 7), Some(1_000 - number as u64));
    let (_, asked, error) = read(2, listing(), slides).await;
    assert!(error.unwrap().message().contains("records, but 7 came"));
    assert!(
        asked.len() <= 4 * 10 && asked.last() < Some(&40),
        "{asked:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_declared_and_came_binds_the_readings_after() {
    // 30 rows, and from the fourth answer on, twice or for good, none.
    let blip: OffsetAnswers = |offset, number| match number {
        3 | 4 => (vec![], Some(0)),
        _ => (cut(offset, 5, 30), Some(30)),
    };
    let (pages, _, error) = read(5, listing(), blip).await;
    assert!(error.is_none(), "{error:?}");
    let anew = [
        "0:[0, 1, 2, 3, 4]",
        "5:[5, 6, 7, 8, 9]",
        "10:[10, 11, 12, 13, 14]",
        "15:[15, 16, 17, 18, 19]",
        "20:[20, 21, 22, 23, 24]",
        "25:[25, 26, 27, 28, 29]",
        "30:[]",
    ];
    assert_eq!(pages[5..], anew);
    let silent: OffsetAnswers = |offset, number| match number {
        0..3 => (cut(offset, 5, 30), Some(30)),
        _ => (vec![], None),
    };
    let none: OffsetAnswers = |offset, number| match number {
        0..3 => (cut(offset, 5, 30), Some(30)),
        _ => (vec![], Some(0)),
    };
    let fewer: OffsetAnswers = |offset, number| match number {
        0..3 => (cut(offset, 5, 30), Some(30)),
        _ => (cut(offset, 5, 12), Some(12)),
    };
    for (manner, came) in [(silent, 0), (none, 0), (fewer, 12)] {
        let (_, asked, error) = read(5, listing(), manner).await;
        let error = error.unwrap().to_string();
        assert!(
            error.contains(&format!("declares 30 records, but {came} came"))
                && error.contains("came in a reading before 15")
                && error.contains("times read 4"),
            "{error}"
        );
        assert!(asked.len() < 24, "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_total_that_fell_to_what_came_is_believed_of_another_reading_and_told() {
    let requests = Arc::new(Mutex::new(0));
    let stream = by_offset(5, listing(), move |at| {
        let mut number = requests.lock().unwrap();
        *number += 1;
        let total = if *number < 3 { 30 } else { 15 };
        let rows = cut(at.offset, 5, total);
        let records = rows.len() as u64;
        let page = page(format!(r#"{{"data":{rows:?}}}"#), Some(total));
        async move {
            Ok(OffsetPage {
                page,
                records,
                limit: None,
                linked: false,
                leads_to: None,
            })
        }
    });
    let pages: Vec<Page> = stream.map(Result::unwrap).collect().await;
    assert_eq!(pages.iter().filter(|page| page.restarts_listing).count(), 1);
    let told: Vec<_> = pages.iter().flat_map(|page| &page.remarks).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].rule, "end_not_proven");
    assert!(
        told[0].words.contains("after 15 records") && told[0].words.contains("declared 30"),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_total_that_is_too_low_is_not_believed() {
    for manner in [
        |offset, _| (cut(offset, 2, 7), Some(cut(offset, 2, 7).len() as u64)),
        |offset, _| (cut(offset, 2, 7), Some(4)),
        |offset, _| (cut(offset, 2, 7), Some(6)),
        |offset, number| (cut(offset, 2, 7), Some(7 - number as u64 % 2)),
        |offset, _| (cut(offset, 2, 7), Some(0)),
    ] as [OffsetAnswers; 5]
    {
        let (pages, _, error) = read(2, listing(), manner).await;
        assert!(error.is_none(), "{error:?} {pages:?}");
        assert!(pages.iter().any(|page| page.ends_with("6]")), "{pages:?}");
    }
    // A link says it too, where the page is short.
    let linked = by_offset(3, listing(), |at| async move {
        let rows = cut(at.offset, 2, 3);
        let text = format!(r#"{{"data":{rows:?}}}"#);
        let (records, linked) = (rows.len() as u64, at.offset == 0);
        Ok(OffsetPage {
            page: page(text, Some(2)),
            records,
            limit: None,
            linked,
            leads_to: None,
        })
    });
    assert_eq!(good(linked).await.len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_total_that_is_too_high_for_a_while_is_read_again_after_a_pause() {
    let lags: OffsetAnswers =
        |offset, number| (cut(offset, 2, 3), Some(if number < 6 { 4 } else { 3 }));
    let (pages, asked, error) = read(2, listing(), lags).await;
    assert_eq!((pages.len(), error.is_none()), (8, true), "{pages:?}");
    assert_eq!(asked, [0, 0, 0, 1, 1, 1, 5, 5]);
    let anew = by_offset(2, listing(), {
        let mut number = 0;
        move |at| {
            number += 1;
            let rows = cut(at.offset, 2, 1);
            let total = if number > 2 { 1 } else { 2 };
            let text = format!(r#"{{"data":{rows:?}}}"#);
            async move {
                let records = rows.len() as u64;
                Ok(OffsetPage {
                    page: page(text, Some(total)),
                    records,
                    limit: None,
                    linked: false,
                    leads_to: None,
                })
            }
        }
    });
    let anew: Vec<bool> = futures::StreamExt::collect::<Vec<_>>(anew)
        .await
        .into_iter()
        .map(|p| p.unwrap().restarts_listing)
        .collect();
    assert_eq!(anew, [false, false, true, false]);
}

#[tokio::test(start_paused = true)]
async fn an_id_twice_counts_twice() {
    let twice: OffsetAnswers = |offset, _| {
        (
            [1, 2, 2, 3]
                .into_iter()
                .skip(offset as usize)
                .take(2)
                .collect(),
            Some(4),
        )
    };
    let (pages, asked, error) = read(2, listing(), twice).await;
    assert_eq!(
        (pages.join(" ").as_str(), asked.last()),
        ("0:[1, 2] 2:[2, 3] 4:[]", Some(&0))
    );
    assert!(error.is_none(), "{error:?}");
    let single: OffsetAnswers = |offset, _| {
        (
            [1, 2, 2, 3]
                .into_iter()
                .skip(offset as usize)
                .take(1)
                .collect(),
            Some(4),
        )
    };
    let (pages, _, error) = read(1, listing(), single).await;
    assert!(error.is_none() && pages.len() == 5, "{pages:?} {error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ignores_the_offset_is_found_out() {
    let (pages, asked, error) = read(2, listing(), |_, _| (vec![1, 2], Some(1_000_000_000))).await;
    assert_eq!((pages.len(), asked), (8, vec![0, 0, 1, 1, 5, 5, 20, 20]));
    let error = error.unwrap().to_string();
    assert!(
        error.contains("offset 2 repeats") && error.contains("declared 1000000000"),
        "{error}"
    );
    let (_, asked, error) = read(2, listing(), |_, _| (vec![1, 2], None)).await;
    assert_eq!(asked, [0, 0, 1, 1, 5, 5, 20, 20]);
    assert!(error.unwrap().message().contains("offset 2 repeats"));
    // Behind the total it is the end: the server gives its last page whatever is asked.
    let last: OffsetAnswers = |offset, _| (cut(offset.min(2), 2, 4), Some(4));
    assert!(read(2, listing(), last).await.2.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_long_page_that_comes_in_another_order_each_time_is_found_out() {
    // Longer than a first reading looks into.
    let turned = |number: usize| -> Vec<u64> {
        let mut rows: Vec<u64> = (100_000..120_000).collect();
        rows.rotate_left(number * 7_919 % 20_000);
        rows
    };
    for total in [None, Some(40_000), Some(1_000_000_000)] {
        let asked = Arc::new(Mutex::new(0_usize));
        let log = Arc::clone(&asked);
        let stream = by_offset(20_000, listing(), move |_| {
            let number = {
                let mut log = log.lock().unwrap();
                *log += 1;
                *log - 1
            };
            let text = format!(r#"{{"data":{:?}}}"#, turned(number));
            async move {
                Ok(OffsetPage {
                    page: page(text, total),
                    records: 20_000,
                    limit: None,
                    linked: false,
                    leads_to: None,
                })
            }
        });
        let (error, remarks) = outcome(stream).await;
        let asked = *asked.lock().unwrap();
        assert!(asked <= 20, "{total:?}: {asked} requests");
        if total == Some(40_000) {
            assert!(error.is_none(), "{error:?}");
            assert!(
                matches!(&remarks[..], [one] if one.contains("20000 different records of 40000 declared")),
                "{remarks:?}"
            );
            continue;
        }
        let error = error.unwrap().to_string();
        assert!(
            error.contains("repeats one before it") && error.contains("times read 4"),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn pages_that_bring_nothing_new_end_with_an_error() {
    // The same five without one of them, which are no page that came before.
    let manner: OffsetAnswers = |offset, number| {
        let lacking = number as u64 % 5;
        let rows = (0..5).filter(|row| offset == 0 || *row != lacking);
        (rows.collect(), Some(1_000_000_000))
    };
    let (_, asked, error) = read(5, listing(), manner).await;
    assert_eq!((asked.len(), asked.last()), (4 * 6, Some(&32)));
    let error = error.unwrap().to_string();
    assert!(
        error.contains("brings nothing that was not there before, nor did the 4 before it")
            && error.contains("declared 1000000000"),
        "{error}"
    );
    // New records have no end but their own.
    let fresh: OffsetAnswers = |offset, _| (cut(offset, 2, 30), Some(4));
    assert!(read(2, listing(), fresh).await.2.is_none());
}

/// The error of a listing, and the rules and words of what is said of it.
async fn outcome(stream: PageStream) -> (Option<Error>, Vec<String>) {
    let (mut error, mut remarks) = (None, Vec::new());
    for page in futures::StreamExt::collect::<Vec<_>>(stream).await {
        match page {
            Ok(page) => {
                let said = page.remarks.into_iter();
                remarks.extend(said.map(|remark| format!("{}: {}", remark.rule, remark.words)));
            }
            Err(e) => error = Some(e),
        }
    }
    (error, remarks)
}

#[tokio::test(start_paused = true)]
async fn a_total_that_is_made_up_of_records_on_two_pages_is_told() {
    // A list without a stable order: of five rows three come.
    let unstable = |total: Option<u64>, listing: &ListingOptions| {
        by_offset(3, listing.clone(), move |at| async move {
            let rows = match at.offset {
                0 => vec![0, 1, 2],
                3 => vec![2, 1],
                _ => vec![],
            };
            let (records, text) = (rows.len() as u64, format!(r#"{{"data":{rows:?}}}"#));
            Ok(OffsetPage {
                page: page(text, total),
                records,
                limit: None,
                linked: false,
                leads_to: None,
            })
        })
    };
    let listing = listing();
    for seconds in [20, 1] {
        let began = Instant::now();
        let (error, remarks) = outcome(unstable(Some(5), &listing)).await;
        assert!(error.is_none(), "{error:?}");
        assert!(
            matches!(&remarks[..], [one] if one.starts_with("end_not_proven: ")
                && one.contains("3 different records of 5 declared: 2 came on a second page")),
            "{remarks:?}"
        );
        assert_eq!(began.elapsed().as_secs(), seconds, "later ones once");
    }
    let (error, remarks) = outcome(unstable(None, &listing)).await;
    assert!(error.is_none(), "{error:?}");
    assert!(
        matches!(&remarks[..], [one] if one.contains("2 of them at least came on a second page, and no total")),
        "{remarks:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_page_that_says_that_there_is_more_is_told() {
    for (beside, total, is_told) in [
        (r#""hasMore":true"#, None, true),
        (r#""totalCount":7"#, None, true),
        (r#""totalCount":4"#, None, false),
        (r#""totalCount":7"#, Some(4), false),
    ] {
        let stream = by_offset(2, listing(), move |at| async move {
            let rows = cut(at.offset, 2, 4);
            let (records, text) = (
                rows.len() as u64,
                format!(r#"{{{beside},"data":{rows:?}}}"#),
            );
            Ok(OffsetPage {
                page: page(text, total),
                records,
                limit: None,
                linked: false,
                leads_to: None,
            })
        });
        let (error, remarks) = outcome(stream).await;
        assert!(error.is_none(), "{error:?}");
        let wanted = beside.replace('"', "").replace(':', ": ");
        assert_eq!(
            matches!(&remarks[..], [one] if one.contains(&format!("says `{wanted}`"))),
            is_told,
            "{remarks:?}"
        );
        assert_eq!(remarks.is_empty(), !is_told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_missing_behind_others_is_the_end() {
    let listed = |from: u64, total: Option<u64>| {
        by_offset(2, listing(), move |at| async move {
            if at.offset >= from {
                return Ok(FetchOutcome::Missing(Error::protocol("no such page")));
            }
            let page = page(
                format!(r#"{{"data":[{},{}]}}"#, at.offset, at.offset + 1),
                total,
            );
            Ok(OffsetPage {
                page,
                records: 2,
                limit: None,
                linked: false,
                leads_to: None,
            }
            .into())
        })
    };
    assert_eq!(
        good(listed(4, None)).await.len(),
        4,
        "nothing is behind it either"
    );
    assert_eq!(good(listed(4, Some(4))).await[2], r#"{"data":[]}"#);
    assert_eq!(
        texts(listed(0, None)).await[0]
            .as_ref()
            .unwrap_err()
            .message(),
        "no such page"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_behind_pages_is_an_error_that_names_the_way_out() {
    for (status, from, is_named) in [
        ("400", 4, true),
        ("422", 4, true),
        ("403", 4, false),
        ("400", 0, false),
    ] {
        let stream = by_offset(2, listing(), move |at| async move {
            if at.offset >= from {
                let refused = Error::protocol("offset is out of range").at("status", status);
                return Err(refused.hint("Look there."));
            }
            let page = page(
                format!(r#"{{"data":[{},{}]}}"#, at.offset, at.offset + 1),
                None,
            );
            Ok(OffsetPage {
                page,
                records: 2,
                limit: None,
                linked: false,
                leads_to: None,
            })
        });
        let error = outcome(stream).await.0.unwrap();
        let hint = error.hint_text().unwrap();
        assert!(hint.starts_with("Look there."), "{hint}");
        assert_eq!(
            hint.contains("empty_messages"),
            is_named,
            "{status} from {from}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_repeats_once_by_a_slip_is_read_again() {
    // The second request gets what the first got, in whichever order; with a total, without one, with one that counts pages.
    let straight: [OffsetAnswers; 4] = [
        |offset, number| (cut(if number == 1 { 0 } else { offset }, 2, 5), Some(5)),
        |offset, number| (cut(if number == 1 { 0 } else { offset }, 2, 4), Some(4)),
        |offset, number| (cut(if number == 1 { 0 } else { offset }, 2, 5), None),
        |offset, number| {
            let rows = cut(if number == 1 { 0 } else { offset }, 2, 5);
            let total = rows.len() as u64;
            (rows, Some(total))
        },
    ];
    let turned: [OffsetAnswers; 2] = [
        |offset, number| {
            (
                if number == 1 {
                    vec![1, 0]
                } else {
                    cut(offset, 2, 5)
                },
                Some(5),
            )
        },
        |offset, number| {
            (
                if number == 1 {
                    vec![1, 0]
                } else {
                    cut(offset, 2, 5)
                },
                None,
            )
        },
    ];
    for (nth, manner) in straight.into_iter().chain(turned).enumerate() {
        let (pages, _, error) = read(2, listing(), manner).await;
        assert!(error.is_none(), "{nth}: {error:?}");
        let last = pages.iter().rposition(|page| page == "0:[0, 1]").unwrap();
        let rest = pages[last..].join(" ");
        assert!(
            last > 0 && rest.contains("2:[2, 3]") && (nth == 1 || rest.contains("4:[4]")),
            "{nth}: {pages:?}"
        );
    }
    // Rows that make up the total are believed where they come twice.
    let (pages, asked, error) = read(2, listing(), |_, _| (vec![0, 1], Some(4))).await;
    assert_eq!(
        (pages.len(), asked, error.is_none()),
        (4, vec![0, 0, 1, 1], true)
    );
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_missing_once_is_asked_for_again() {
    for (slip, total) in [
        (1, None),
        (2, None),
        (3, None),
        (1, Some(7)),
        (2, Some(4)),
        (3, Some(2)),
    ] {
        let mut number = 0;
        let stream = by_offset(2, listing(), move |at| {
            number += 1;
            let (missing, rows) = (number == slip + 1, cut(at.offset, 2, 7));
            async move {
                if missing {
                    return Ok(FetchOutcome::Missing(Error::protocol("no such page")));
                }
                let (records, page) = (
                    rows.len() as u64,
                    page(format!(r#"{{"data":{rows:?}}}"#), total),
                );
                Ok(OffsetPage {
                    page,
                    records,
                    limit: None,
                    linked: false,
                    leads_to: None,
                }
                .into())
            }
        });
        let pages = good(stream).await.join(" ");
        for rows in ["[0, 1]", "[2, 3]", "[4, 5]", "[6]"] {
            assert!(pages.contains(rows), "{slip} {total:?}: {pages}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_only_a_missing_page_tells_of_is_told() {
    for (of, limit, total, is_told) in [
        (6, 2, None, true),
        (2, 2, None, true),
        (6, 4, None, false),
        (1, 2, None, false),
        (6, 2, Some(6), false),
    ] {
        let (ear, _guard) = crate::testing::log_capture::LogCapture::start();
        let stream = by_offset(limit, listing(), move |at| async move {
            let rows = cut(at.offset, u64::from(limit), of);
            if rows.is_empty() {
                return Ok(FetchOutcome::Missing(Error::protocol("no such page")));
            }
            let (records, page) = (
                rows.len() as u64,
                page(format!(r#"{{"data":{rows:?}}}"#), total),
            );
            Ok(OffsetPage {
                page,
                records,
                limit: None,
                linked: false,
                leads_to: None,
            }
            .into())
        });
        good(stream).await;
        let heard = ear.heard();
        assert_eq!(
            heard.contains("is believed to be at its end") && heard.contains("no such page"),
            is_told,
            "{of} {limit} {total:?}: {heard}"
        );
    }
}

/// Records read from a server whose pages link each other: rows by offset, and where their
/// link leads.
async fn linked(
    limit: u32,
    total: Option<u64>,
    manner: fn(u64) -> (Vec<u64>, Option<u64>),
) -> Vec<u64> {
    let stream = by_offset(limit, listing(), move |at| async move {
        let (rows, leads_to) = manner(at.offset);
        let (records, page) = (rows.len() as u64, page(format!("{rows:?}"), total));
        Ok(OffsetPage {
            page,
            records,
            limit: None,
            linked: leads_to.is_some(),
            leads_to,
        })
    });
    let pages = good(stream).await;
    pages
        .iter()
        .flat_map(|page| serde_json::from_str::<Vec<u64>>(page).unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn an_empty_page_that_names_a_next_one_leads_on() {
    let sieved = |offset: u64| match offset {
        0 => (vec![0, 1], Some(2)),
        2 => (vec![], Some(4)),
        4 => (vec![], Some(6)),
        6 => (vec![6, 7], None),
        _ => (vec![], None),
    };
    for (limit, total) in [(2, None), (500, None), (2, Some(4)), (500, Some(4))] {
        assert_eq!(
            linked(limit, total, sieved).await,
            [0, 1, 6, 7],
            "{limit} {total:?}"
        );
    }
    // One that always names a next page ends all the same.
    let always = |offset: u64| (cut(offset, 2, 3), Some(offset + 2));
    assert_eq!(linked(2, None, always).await, [0, 1, 2]);
    assert_eq!(linked(2, Some(3), always).await, [0, 1, 2]);
    let first = |offset: u64| {
        if offset == 4 {
            (vec![4], None)
        } else {
            (vec![], (offset < 4).then_some(offset + 2))
        }
    };
    assert_eq!(linked(2, None, first).await, [4]);
}

#[tokio::test(start_paused = true)]
async fn a_total_of_the_page_on_a_server_that_cuts_pages_is_not_believed() {
    let own: OffsetAnswers = |offset, _| {
        let rows = cut(offset, 2, 8);
        let total = rows.len() as u64;
        (rows, Some(total))
    };
    let (pages, _, error) = read(500, listing(), own).await;
    assert!(
        error.is_none() && pages.contains(&"6:[6, 7]".to_owned()),
        "{pages:?}"
    );
    // Once a listing has shown what totals count, a listing of one page costs one request.
    let known = listing();
    let whole: OffsetAnswers = |offset, _| (cut(offset, 2, 2), Some(2));
    let of_two: OffsetAnswers = |offset, _| (cut(offset, 2, 3), Some(3));
    let (unsure, sure) = (["0:[0, 1]", "2:[]"], ["0:[0, 1]"]);
    assert_eq!(read(3, known.clone(), whole).await.0, unsure);
    assert_eq!(
        read(3, known.clone(), whole).await.0,
        unsure,
        "one of one page shows nothing"
    );
    assert_eq!(read(3, known.clone(), of_two).await.0.len(), 2);
    assert_eq!(read(3, known.clone(), whole).await.0, sure);
    let unsure = ListingOptions {
        confirm_end: false,
        ..listing()
    };
    assert_eq!(read(3, unsure, whole).await.0.len(), 1);
}

#[tokio::test]
async fn an_endless_chain_ends_with_an_error() {
    let stream = by_offset(1, 3, |at| async move {
        let page = page(at.offset.to_string(), Some(at.offset + 10));
        Ok(OffsetPage {
            page,
            records: 1,
            limit: None,
            linked: false,
            leads_to: None,
        })
    });
    let pages = texts(stream).await;
    assert_eq!(pages.len(), 4);
    assert!(
        pages[3]
            .as_ref()
            .unwrap_err()
            .message()
            .contains("after 3 pages")
    );
}
