//! Tests of listings read page by page, against servers that misbehave.
//!
//! Invariant: every record of a listing is read, or reading it ends with an error.

use super::*;
use bytes::Bytes;
use futures::StreamExt;
use std::collections::BTreeSet;

fn url(index: u64) -> Url {
    Url::parse(&format!("http://127.0.0.1:1/list?page={index}")).unwrap()
}

/// Answers of a test server: the records of a page, its total and its link, by position and
/// number of the request.
type NumberedAnswers = fn(&PagePosition, usize) -> (Vec<u64>, Option<u64>, NextPage);

/// The pages that were had, as their places and records, and the outcome of the last.
async fn read_with(counted: bool, manner: NumberedAnswers) -> (Vec<String>, Option<Error>, bool) {
    let numbering = if counted {
        PageNumbering::known()
    } else {
        PageNumbering::default()
    };
    read_in(numbering, 20.into(), manner).await
}

async fn read_in(
    numbering: PageNumbering,
    listing: ListingOptions,
    manner: impl Fn(&PagePosition, usize) -> (Vec<u64>, Option<u64>, NextPage) + Send + 'static,
) -> (Vec<String>, Option<Error>, bool) {
    let asked = Arc::new(Mutex::new(0));
    let stream = by_page(numbering.clone(), listing, move |place| {
        let number = {
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            *asked - 1
        };
        let (records, declared_total, next) = manner(&place, number);
        let at = place.link.as_ref().map_or(url(place.index), Url::clone);
        let text = format!(
            "{}{}:{records:?}",
            place.index,
            if place.link.is_some() { "L" } else { "" }
        );
        let page = Page {
            bytes: Bytes::from(text),
            declared_total,
            requested_at: jiff::Timestamp::UNIX_EPOCH,
            scope: None,
            restarts_listing: false,
            is_reread: false,
            remarks: Vec::new(),
        };
        async move {
            Ok(NumberedPage {
                page,
                records,
                url: at,
                next,
            })
        }
    });
    let (mut pages, mut error) = (Vec::new(), None);
    for page in stream.collect::<Vec<_>>().await {
        match page {
            Ok(page) => pages.push(String::from_utf8(page.bytes.to_vec()).unwrap()),
            Err(e) => error = Some(e),
        }
    }
    (pages, error, numbering.is_known())
}

async fn read(manner: NumberedAnswers) -> Vec<String> {
    let (pages, error, _) = read_with(true, manner).await;
    assert!(error.is_none(), "{error:?}");
    pages
}

/// The records `from..to`, cut into pages of `size` counted from `base`.
fn cut(place: &PagePosition, base: u64, size: u64, to: u64) -> Vec<u64> {
    let Some(page) = place.index.checked_sub(base) else {
        return Vec::new();
    };
    ((page * size).min(to)..((page + 1) * size).min(to)).collect()
}

/// Options for pages of so many records, as a source asks for them.
fn sized(page_size: u32) -> ListingOptions {
    ListingOptions {
        page_size,
        ..ListingOptions::from(20)
    }
}

#[tokio::test]
async fn without_a_total_one_page_more_proves_the_end() {
    let seven = read(|at, _| (cut(at, 0, 3, 7), None, NextPage::Unknown)).await;
    assert_eq!(seven, ["0:[0, 1, 2]", "1:[3, 4, 5]", "2:[6]", "3:[]"]);
    let six = read(|at, _| (cut(at, 0, 3, 6), None, NextPage::Unknown)).await;
    assert_eq!(six, ["0:[0, 1, 2]", "1:[3, 4, 5]", "2:[]", "3:[]", "2:[]"]);
    // A first page that is short may be all that the server gives at once.
    assert_eq!(
        read(|at, _| (cut(at, 0, 3, 2), None, NextPage::Unknown)).await,
        ["0:[0, 1]", "1:[]", "2:[]"]
    );
    assert_eq!(
        read(|_, _| (vec![], None, NextPage::Unknown)).await,
        ["0:[]", "1:[]"]
    );
    let manner: NumberedAnswers = |at, _| (cut(at, 0, 3, 4), None, NextPage::Unknown);
    for (page_size, wanted) in [
        (3, &["0:[0, 1, 2]", "1:[3]"][..]),
        (100, &["0:[0, 1, 2]"][..]),
    ] {
        let unsure = ListingOptions {
            confirm_end: false,
            ..sized(page_size)
        };
        assert_eq!(
            read_in(PageNumbering::known(), unsure, manner).await.0,
            wanted,
            "short is believed"
        );
    }
}

/// So every listing ends whose last page is full; only a total could tell the difference.
#[tokio::test]
async fn two_empty_pages_in_a_row_are_the_end_where_no_total_tells() {
    let hole: NumberedAnswers = |at, _| {
        let rows = match at.index {
            1 | 2 => vec![],
            _ => cut(at, 0, 2, 10),
        };
        (rows, None, NextPage::Unknown)
    };
    let pages = read(hole).await;
    assert_eq!(pages, ["0:[0, 1]", "1:[]", "2:[]"]);
}

#[tokio::test]
async fn an_empty_or_a_short_page_in_the_middle_is_found_out() {
    let slip: NumberedAnswers = |at, number| {
        (
            if number == 1 {
                vec![]
            } else {
                cut(at, 0, 2, 5)
            },
            None,
            NextPage::Unknown,
        )
    };
    for page_size in [2, 500] {
        let (pages, error, _) = read_in(PageNumbering::known(), sized(page_size), slip).await;
        assert_eq!(
            pages,
            ["0:[0, 1]", "1:[]", "2:[4]", "1:[2, 3]", "3:[]"],
            "{page_size}"
        );
        assert!(error.is_none());
    }
    let last: NumberedAnswers = |at, number| {
        (
            if number == 2 {
                vec![]
            } else {
                cut(at, 0, 2, 5)
            },
            None,
            NextPage::Unknown,
        )
    };
    assert_eq!(
        read(last).await,
        ["0:[0, 1]", "1:[2, 3]", "2:[]", "3:[]", "2:[4]", "3:[]"]
    );
    let first: NumberedAnswers = |at, number| {
        (
            if number == 0 {
                vec![]
            } else {
                cut(at, 0, 2, 3)
            },
            None,
            NextPage::Unknown,
        )
    };
    for counted in [true, false] {
        let (pages, _, _) = read_with(counted, first).await;
        assert_eq!(
            pages,
            ["0:[]", "1:[2]", "0:[0, 1]", "2:[]", "3:[]"],
            "{counted}"
        );
    }
    // Pages that the server sieves afterwards: it is asked once whether that is so.
    let sieved: NumberedAnswers = |at, _| {
        let mut page = cut(at, 0, 3, 15);
        page.retain(|id| ![4, 7, 8].contains(id));
        (page, None, NextPage::Unknown)
    };
    let (pages, error, _) = read_in(PageNumbering::known(), sized(3), sieved).await;
    let wanted = [
        "0:[0, 1, 2]",
        "1:[3, 5]",
        "2:[6]",
        "1:[3, 5]",
        // The same in smaller pages, which bring nothing new.
        "1:[3, 5]",
        "2:[6]",
        "3:[9, 10, 11]",
        "4:[12, 13, 14]",
        "5:[]",
        "6:[]",
        "5:[]",
    ];
    assert_eq!(
        (
            pages.iter().map(String::as_str).collect::<Vec<_>>(),
            error.is_none()
        ),
        (wanted.to_vec(), true)
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_heed_the_number_is_found_out() {
    let deaf: NumberedAnswers = |_, _| (vec![1, 2], None, NextPage::Unknown);
    for counted in [true, false] {
        let (pages, error, _) = read_with(counted, deaf).await;
        assert!(pages.len() <= 12, "{pages:?}");
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(
            error.message().contains("repeats what was there before"),
            "{error}"
        );
        assert!(error.to_string().contains("times read 4"), "{error}");
    }
    // The last page again and again, and one that slips in the middle once.
    let clamped: NumberedAnswers = |at, _| {
        (
            cut(
                &PagePosition {
                    index: at.index.min(1),
                    size: None,
                    link: None,
                },
                0,
                3,
                6,
            ),
            None,
            NextPage::Unknown,
        )
    };
    assert!(
        read_with(true, clamped)
            .await
            .1
            .unwrap()
            .message()
            .contains("page 2 repeats")
    );
    let slip: NumberedAnswers = |at, number| {
        let index = if number == 2 { 1 } else { at.index };
        (
            cut(
                &PagePosition {
                    index,
                    size: None,
                    link: None,
                },
                0,
                2,
                7,
            ),
            None,
            NextPage::Unknown,
        )
    };
    let pages = read(slip).await;
    let wanted = [
        "0:[0, 1]", "1:[2, 3]", "2:[2, 3]", "0:[0, 1]", "1:[2, 3]", "2:[4, 5]", "3:[6]", "4:[]",
    ];
    assert_eq!(pages, wanted);
}

#[tokio::test(start_paused = true)]
async fn pages_counted_from_one_are_all_read() {
    let from_one: NumberedAnswers = |at, _| (cut(at, 1, 2, 3), None, NextPage::Unknown);
    let numbering = PageNumbering::default();
    let (pages, _, counted) = read_in(numbering.clone(), 20.into(), from_one).await;
    assert_eq!(pages, ["0:[]", "1:[0, 1]", "0:[]", "2:[2]", "3:[]"]);
    assert!(!counted);
    assert_eq!(
        read_in(numbering, 20.into(), from_one).await.0,
        ["0:[]", "1:[0, 1]", "2:[2]", "3:[]"]
    );
    // Zero taken for one: found out by reading anew, and remembered.
    let lenient: NumberedAnswers = |at, _| {
        let place = PagePosition {
            index: at.index.max(1),
            size: None,
            link: None,
        };
        (cut(&place, 1, 2, 5), None, NextPage::Unknown)
    };
    let numbering = PageNumbering::default();
    let all = ["0:[0, 1]", "1:[0, 1]", "2:[2, 3]", "3:[4]", "4:[]"];
    let (pages, error, _) = read_in(numbering.clone(), 20.into(), lenient).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(pages, [&["0:[0, 1]", "1:[0, 1]"][..], &all].concat());
    assert_eq!(read_in(numbering, 20.into(), lenient).await.0, all);
    // Whoever says where pages are counted from is believed.
    assert!(read_with(true, lenient).await.1.is_some());
    // Where a first page once had records, an empty one is no first page before the first.
    let (pages, _, counted) = read_with(false, |_, _| (vec![], None, NextPage::Unknown)).await;
    assert_eq!((pages.len(), counted), (2, false));
    assert!(
        read_with(false, |at, _| (cut(at, 0, 2, 1), None, NextPage::Unknown))
            .await
            .2
    );
}

#[tokio::test(start_paused = true)]
async fn a_total_says_where_it_ends() {
    let full = read(|at, _| (cut(at, 0, 3, 6), Some(6), NextPage::Unknown)).await;
    assert_eq!(
        full,
        ["0:[0, 1, 2]", "1:[3, 4, 5]", "2:[]"],
        "a full page may not be the last"
    );
    assert_eq!(
        read(|at, _| (cut(at, 0, 3, 4), Some(4), NextPage::Unknown)).await,
        ["0:[0, 1, 2]", "1:[3]"]
    );
    let own = read(|at, _| (cut(at, 0, 3, 2), Some(2), NextPage::Unknown)).await;
    assert_eq!(
        own,
        ["0:[0, 1]", "1:[]"],
        "the total may be the first page's"
    );
    assert_eq!(
        read(|_, _| (vec![], Some(0), NextPage::Unknown)).await,
        ["0:[]"]
    );
    let (pages, error, _) =
        read_with(true, |at, _| (cut(at, 0, 3, 4), Some(5), NextPage::Unknown)).await;
    assert_eq!((pages.len(), pages[2].as_str()), (12, "2:[]"));
    assert!(
        error
            .unwrap()
            .message()
            .contains("declares 5 records, but 4 came")
    );
    let (pages, error, _) = read_with(true, |_, _| (vec![1, 2], Some(9), NextPage::Unknown)).await;
    assert_eq!(pages, ["0:[1, 2]", "1:[1, 2]"].repeat(4));
    let error = error.unwrap();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.message().contains("page 1 repeats"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_total_that_is_too_low_is_not_believed() {
    for manner in [
        |at, _| {
            (
                cut(at, 0, 2, 7),
                Some(cut(at, 0, 2, 7).len() as u64),
                NextPage::Unknown,
            )
        },
        |at, _| (cut(at, 0, 2, 7), Some(4), NextPage::Unknown),
        |at, _| (cut(at, 0, 2, 7), Some(6), NextPage::Unknown),
        |at, _| {
            (
                cut(at, 0, 2, 7),
                Some(7 - 2 * at.index.min(3)),
                NextPage::Unknown,
            )
        },
        |at, _| (cut(at, 0, 2, 7), Some(0), NextPage::Unknown),
        |at, number| {
            (
                cut(at, 0, 2, 7),
                Some(7 - number as u64 % 2),
                NextPage::Unknown,
            )
        },
    ] as [NumberedAnswers; 6]
    {
        let (pages, error, _) = read_in(PageNumbering::known(), sized(2), manner).await;
        assert!(
            error.is_none() && pages.contains(&"3:[6]".to_owned()),
            "{pages:?} {error:?}"
        );
    }
    let linked = read(|at, _| {
        (
            cut(at, 0, 1, 2),
            Some(1),
            if at.index == 0 {
                NextPage::Elsewhere
            } else {
                NextPage::Unknown
            },
        )
    });
    assert!(linked.await.len() > 2);
}

#[tokio::test(start_paused = true)]
async fn a_total_that_falls_from_page_to_page_ends_with_both_figures() {
    let (pages, error, _) = read_with(true, |at, _| {
        (
            cut(at, 0, 2, 4),
            Some([6, 4, 4][at.index.min(2) as usize]),
            NextPage::Unknown,
        )
    })
    .await;
    assert!(pages.len() <= 24, "{pages:?}");
    let error = error.unwrap().to_string();
    assert!(
        error.contains("declares 6 records, but 4 came") && error.contains("4 to 6"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_declared_and_came_binds_the_readings_after() {
    // 30 records, and from the fourth answer on, twice or for good, none.
    let (pages, error, _) = read_with(true, |at, number| match number {
        3 | 4 => (vec![], Some(0), NextPage::Unknown),
        _ => (cut(at, 0, 5, 30), Some(30), NextPage::Unknown),
    })
    .await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(pages[5], "0:[0, 1, 2, 3, 4]");
    assert!(
        pages.contains(&"5:[25, 26, 27, 28, 29]".to_owned()),
        "{pages:?}"
    );
    for total in [None, Some(0)] {
        let manner = move |at: &PagePosition, number: usize| match number {
            0..3 => (cut(at, 0, 5, 30), Some(30), NextPage::Unknown),
            _ => (vec![], total, NextPage::Unknown),
        };
        let (_, error, _) = read_in(PageNumbering::known(), 20.into(), manner).await;
        let error = error.unwrap().to_string();
        assert!(
            error.contains("declares 30 records, but 0 came")
                && error.contains("came in a reading before 15"),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_move_are_not_passed_over() {
    // After the second page the first two records vanish: what stood at 4 and 5 stands at 2 and 3.
    let vanish = read(|at, number| {
        let listing: Vec<u64> = if number < 2 {
            (0..8).collect()
        } else {
            (2..8).collect()
        };
        let page = listing
            .iter()
            .skip(at.index as usize * 2)
            .take(2)
            .copied()
            .collect();
        (page, Some(listing.len() as u64), NextPage::Unknown)
    });
    assert_eq!(
        vanish.await,
        [
            "0:[0, 1]", "1:[2, 3]", "2:[6, 7]", "1:[4, 5]", "2:[6, 7]", "3:[]",
            // That the total fell is believed of a reading from the beginning.
            "0:[2, 3]", "1:[4, 5]", "2:[6, 7]", "3:[]"
        ]
    );
    // One that arrives at the front pushes the others back, and a page may bring nothing new.
    let arrive = read(|at, number| {
        let listing: Vec<u64> = if number < 2 {
            (0..3).collect()
        } else {
            [9, 0, 1, 2].to_vec()
        };
        let page = listing
            .iter()
            .skip(at.index as usize)
            .take(1)
            .copied()
            .collect();
        (page, Some(listing.len() as u64), NextPage::Unknown)
    });
    let anew = ["0:[9]", "1:[0]", "2:[1]", "3:[2]", "4:[]"];
    assert_eq!(
        arrive.await,
        [&["0:[0]", "1:[1]", "2:[1]", "3:[2]", "4:[]"][..], &anew].concat()
    );
    // The same without a total, and with a whole page of arrivals.
    let crowd = read(|at, number| {
        let listing: Vec<u64> = if number < 2 {
            (0..5).collect()
        } else {
            [8, 9, 0, 1, 2, 3, 4].to_vec()
        };
        (
            listing
                .iter()
                .skip(at.index as usize * 2)
                .take(2)
                .copied()
                .collect(),
            None,
            NextPage::Unknown,
        )
    });
    let anew = ["0:[8, 9]", "1:[0, 1]", "2:[2, 3]", "3:[4]", "4:[]"];
    assert_eq!(
        crowd.await,
        [&["0:[0, 1]", "1:[2, 3]", "2:[2, 3]"][..], &anew].concat()
    );
}

#[tokio::test(start_paused = true)]
async fn a_page_that_repeats_once_by_a_slip_is_read_again() {
    for manner in [
        |at, number| (cut(at, 0, 2, 5), Some(5), NextPage::Unknown, number),
        |at, number| (cut(at, 0, 2, 5), None, NextPage::Unknown, number),
        |at, number| {
            (
                cut(at, 0, 2, 5),
                Some(cut(at, 0, 2, 5).len() as u64),
                NextPage::Unknown,
                number,
            )
        },
    ] as [fn(&PagePosition, usize) -> (Vec<u64>, Option<u64>, NextPage, usize); 3]
    {
        let slip = move |place: &PagePosition, number: usize| {
            let (mut rows, total, next, _) = manner(place, number);
            if number == 1 {
                rows = vec![1, 0];
            }
            (rows, total, next)
        };
        let (pages, error, _) = read_in(PageNumbering::known(), 20.into(), slip).await;
        assert!(error.is_none(), "{error:?}");
        let second = pages.iter().rposition(|page| page == "0:[0, 1]").unwrap();
        assert!(
            second > 0 && pages[second..].join(" ").contains("1:[2, 3] 2:[4]"),
            "{pages:?}"
        );
    }
    let (pages, error, _) = read_with(true, |_, _| (vec![1, 2], Some(4), NextPage::Unknown)).await;
    assert_eq!(
        (pages.len(), error.is_none()),
        (4, true),
        "the total is made up, twice"
    );
}

#[tokio::test(start_paused = true)]
async fn pages_that_bring_nothing_new_end_with_an_error() {
    // The same five without one of them, which are no page that came before.
    let manner: NumberedAnswers = |at, number| {
        let lacking = number as u64 % 5;
        let rows = (0..5).filter(|row| at.index == 0 || *row != lacking);
        (rows.collect(), Some(1_000_000_000), NextPage::Unknown)
    };
    let (pages, error, _) = read_in(PageNumbering::known(), sized(5), manner).await;
    assert_eq!(pages.len(), 4 * 6);
    let error = error.unwrap().to_string();
    assert!(
        error.contains("page 5 brings nothing that was not there before")
            && error.contains("declared 1000000000"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_total_that_is_made_up_of_records_on_two_pages_is_told() {
    for (total, words) in [
        (Some(5), "3 different records of 5 declared"),
        (None, "and no total is declared"),
    ] {
        let stream = by_page(PageNumbering::known(), sized(3), move |place| async move {
            let records = match place.index {
                0 => vec![0, 1, 2],
                1 => vec![2, 1],
                _ => vec![],
            };
            let page = super::super::tests::page(format!("{records:?}"), total);
            Ok(NumberedPage {
                page,
                records,
                url: url(place.index),
                next: NextPage::Unknown,
            })
        });
        let pages = stream.collect::<Vec<_>>().await;
        let remarks: Vec<_> = pages
            .into_iter()
            .flat_map(|page| page.unwrap().remarks)
            .collect();
        assert!(
            matches!(&remarks[..], [one] if one.rule == "end_not_proven" && one.words.contains(words)),
            "{remarks:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_total_of_the_page_on_a_server_that_cuts_pages_is_not_believed() {
    let own: NumberedAnswers = |at, _| {
        (
            cut(at, 0, 2, 8),
            Some(cut(at, 0, 2, 8).len() as u64),
            NextPage::Unknown,
        )
    };
    let (pages, error, _) = read_in(PageNumbering::known(), sized(500), own).await;
    assert!(
        error.is_none() && pages.contains(&"3:[6, 7]".to_owned()),
        "{pages:?}"
    );
    let known = sized(3);
    let whole: NumberedAnswers = |at, _| (cut(at, 0, 3, 2), Some(2), NextPage::Unknown);
    assert_eq!(
        read_in(PageNumbering::known(), known.clone(), whole)
            .await
            .0
            .len(),
        2
    );
    assert_eq!(
        read_in(PageNumbering::known(), known.clone(), whole)
            .await
            .0
            .len(),
        2,
        "one page shows nothing"
    );
    let of_two: NumberedAnswers = |at, _| (cut(at, 0, 3, 4), Some(4), NextPage::Unknown);
    assert_eq!(
        read_in(PageNumbering::known(), known.clone(), of_two)
            .await
            .0
            .len(),
        2
    );
    assert_eq!(
        read_in(PageNumbering::known(), known, whole).await.0.len(),
        1,
        "as was seen"
    );
}

#[tokio::test]
async fn what_never_ends_is_an_error() {
    let (pages, error, _) =
        read_with(true, |at, _| (vec![at.index], None, NextPage::Unknown)).await;
    assert_eq!(pages.len(), 20);
    assert!(error.unwrap().message().contains("after 20 pages"));
}

#[tokio::test(start_paused = true)]
async fn ends_that_nothing_proves_are_told() {
    use crate::testing::log_capture::LogCapture;
    let listed = |page_size: u32, confirm_end: bool, manner: NumberedAnswers| {
        let listing = ListingOptions {
            confirm_end,
            ..sized(page_size)
        };
        read_in(PageNumbering::known(), listing, manner)
    };
    let led_on = "though the last page names a next one";
    let (ear, _guard) = LogCapture::start();
    let counted: NumberedAnswers = |at, _| {
        (
            cut(at, 0, 2, 4),
            Some(4),
            NextPage::Link(url(100 + at.index)),
        )
    };
    listed(2, true, counted).await;
    assert!(!ear.heard().contains(led_on), "the total tells");
    let uncounted: NumberedAnswers =
        |at, _| (cut(at, 0, 2, 4), None, NextPage::Link(url(100 + at.index)));
    listed(2, true, uncounted).await;
    assert!(ear.heard().contains(led_on));
    // A page in the middle is short whenever it is asked for.
    let short: NumberedAnswers = |at, _| {
        let records = match at.index {
            1 => vec![2],
            _ => cut(at, 0, 2, 8),
        };
        (records, None, NextPage::Unknown)
    };
    listed(2, true, short).await;
    assert!(ear.heard().contains("has fewer records than others, twice"));
    // A page that names a next one is no end, also where ends are not to be confirmed.
    let by_number: NumberedAnswers = |at, _| {
        let next = match at.index {
            2 => NextPage::Unknown,
            _ => NextPage::ByNumber,
        };
        (cut(at, 0, 2, 5), None, next)
    };
    let (pages, error, _) = listed(10, false, by_number).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!(pages, ["0:[0, 1]", "1:[2, 3]", "2:[4]"]);
    // There a short page in the middle costs no request, but is told.
    for total in [None, Some(2)] {
        let listing = ListingOptions {
            confirm_end: false,
            ..sized(2)
        };
        let manner = move |at: &PagePosition, number: usize| {
            let (records, _, _) = short(at, number);
            let next = match at.index {
                ..3 => NextPage::ByNumber,
                _ => NextPage::Unknown,
            };
            (records, total, next)
        };
        let (pages, error, _) = read_in(PageNumbering::known(), listing, manner).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(pages, ["0:[0, 1]", "1:[2]", "2:[4, 5]", "3:[6, 7]", "4:[]"]);
    }
    assert!(ear.heard().contains("is not asked for once more"));
}

/// The ids that came, without repeats, and the rules and words of what is said of the listing. Ids come again only with pages that say so.
async fn ids_and_remarks(
    page_size: u32,
    manner: impl Fn(&PagePosition) -> (Vec<u64>, Option<u64>, NextPage) + Send + 'static,
) -> (Vec<u64>, Vec<String>) {
    let stream = by_page(PageNumbering::known(), sized(page_size), move |place| {
        let (records, declared_total, next) = manner(&place);
        let page = Page {
            bytes: Bytes::from(format!("{records:?}")),
            declared_total,
            requested_at: jiff::Timestamp::UNIX_EPOCH,
            scope: None,
            restarts_listing: false,
            is_reread: false,
            remarks: Vec::new(),
        };
        async move {
            Ok(NumberedPage {
                page,
                records,
                url: url(place.index),
                next,
            })
        }
    });
    let (mut ids, mut listed, mut remarks) = (BTreeSet::new(), HashSet::new(), Vec::new());
    for page in stream.collect::<Vec<_>>().await {
        let page = page.unwrap();
        let said = page.remarks.into_iter();
        remarks.extend(said.map(|remark| format!("{}: {}", remark.rule, remark.words)));
        if page.restarts_listing {
            listed.clear();
        }
        for id in serde_json::from_slice::<Vec<u64>>(&page.bytes).unwrap() {
            ids.insert(id);
            assert!(listed.insert(id) || page.is_reread, "{id} is told twice");
        }
    }
    (ids.into_iter().collect(), remarks)
}

/// A page as a server cuts it that heeds the size, without its last record where `is_short`.
fn heeding(at: &PagePosition, listed: u64, of: u64, is_short: impl Fn(u64) -> bool) -> Vec<u64> {
    let size = u64::from(at.size.unwrap_or(u32::try_from(listed).unwrap()));
    let mut page = cut(at, 0, size, of);
    // The fault is the page's, not the records'.
    if is_short(at.index) && at.size.is_none() {
        page.pop();
    }
    page
}

#[tokio::test(start_paused = true)]
async fn what_a_short_page_in_the_middle_lacks_comes_with_smaller_pages() {
    for size in [2, 3, 4, 5] {
        for short in 0..3 {
            for total in [|_: usize| None, |records| Some(records as u64)] {
                let (ids, remarks) = ids_and_remarks(size, move |at| {
                    let page = heeding(at, u64::from(size), 17, |index| index == short);
                    let total = total(page.len());
                    (page, total, NextPage::Unknown)
                })
                .await;
                let wanted: Vec<u64> = (0..17).collect();
                assert_eq!((ids, remarks), (wanted, vec![]), "{size} {short}");
            }
        }
    }
    // Several of them.
    for total in [|_: usize| None, |records| Some(records as u64)] {
        let (ids, remarks) = ids_and_remarks(4, move |at| {
            let page = heeding(at, 4, 30, |index| [0, 1, 4].contains(&index));
            let total = total(page.len());
            (page, total, NextPage::Unknown)
        })
        .await;
        assert_eq!((ids, remarks), ((0..30).collect(), vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_told_is_believed_and_said() {
    // What nobody gives, in pages of whatever size.
    for (lacking, others) in [(0, 5), (3, 5), (2, 6)] {
        let (ids, remarks) = ids_and_remarks(2, move |at| {
            let mut page = heeding(at, 2, 7, |_| false);
            page.retain(|id| *id != lacking);
            (page, None, NextPage::Unknown)
        })
        .await;
        assert!(ids.len() == 6 && ids.contains(&others), "{ids:?}");
        assert_eq!(remarks.len(), 1, "{remarks:?}");
        let place = lacking / 2;
        assert!(
            remarks[0].starts_with(&format!("short_page: page {place}, in the middle")),
            "{remarks:?}"
        );
    }
    // A server that heeds no size gives other pages for the smaller ones: they are no proof of anything.
    let (_, remarks) = ids_and_remarks(2, |at| {
        let mut page = cut(at, 0, 2, 12);
        page.retain(|id| *id != 3);
        (page, None, NextPage::Unknown)
    })
    .await;
    assert_eq!(remarks.len(), 1, "{remarks:?}");
    // Nor is the last page of such a server, which may be as short as a smaller one; and its records come once.
    for total in [|_: usize| None, |records| Some(records as u64)] {
        let (ids, remarks) = ids_and_remarks(4, move |at| {
            let mut page = cut(at, 0, 4, 26);
            page.retain(|id| *id != 13);
            let total = total(page.len());
            (page, total, NextPage::Unknown)
        })
        .await;
        assert_eq!(ids, (0..26).filter(|id| *id != 13).collect::<Vec<_>>());
        assert!(
            matches!(&remarks[..], [one] if one.starts_with("short_page: page 3, in the middle")),
            "{remarks:?}"
        );
    }
    // A page that is filled in part only.
    let (ids, remarks) = ids_and_remarks(4, |at| {
        let mut page = heeding(at, 4, 30, |_| false);
        page.retain(|id| *id != 9 && (*id != 10 || at.size.is_some()));
        (page, None, NextPage::Unknown)
    })
    .await;
    assert_eq!(ids, (0..30).filter(|id| *id != 9).collect::<Vec<_>>());
    assert!(
        matches!(&remarks[..], [one] if one.contains("has 2 records twice where others have 4 (1 more came in smaller pages)")),
        "{remarks:?}"
    );
    // Pages without end that name a next one, before others that have records.
    let (ids, remarks) = ids_and_remarks(2, |at| match at.index {
        0 => (vec![0, 1], None, NextPage::ByNumber),
        1..=12 => (vec![], None, NextPage::ByNumber),
        page => (vec![page], None, NextPage::Unknown),
    })
    .await;
    assert_eq!(ids, [0, 1]);
    assert!(
        matches!(&remarks[..], [one] if one.starts_with("end_not_proven: ") && one.contains("after 2 records")
            && one.contains("11 pages in a row had no records")),
        "{remarks:?}"
    );
    // A listing that is at its end says nothing.
    let (_, remarks) = ids_and_remarks(2, |at| (cut(at, 0, 2, 5), None, NextPage::Unknown)).await;
    assert!(remarks.is_empty(), "{remarks:?}");
}

#[path = "by_page_links_tests.rs"]
mod links;
