//! Listings by page number whose pages name the next one, or are missing.
//!
//! Invariant: as that of the tests of listings by page: every record comes once, or there is an error.

use super::*;
use jiff::Timestamp;

#[tokio::test(start_paused = true)]
async fn a_page_that_is_missing_behind_others_is_the_end() {
    for (base, total, came) in [(2, None, 4), (2, Some(4), 3), (0, None, 0)] {
        let stream = by_page(PageNumbering::known(), 20, move |place| async move {
            if place.index >= base {
                return Ok(FetchOutcome::Missing(Error::protocol("no such page")));
            }
            let records = cut(&place, 0, 2, 10);
            let page = Page {
                bytes: Bytes::new(),
                declared_total: total,
                requested_at: Timestamp::UNIX_EPOCH,
                scope: None,
                restarts_listing: false,
                is_reread: false,
                remarks: Vec::new(),
            };
            Ok(NumberedPage {
                page,
                records,
                url: url(place.index),
                next: NextPage::Unknown,
            }
            .into())
        });
        let pages: Vec<_> = stream.collect().await;
        assert_eq!(pages.iter().filter(|page| page.is_ok()).count(), came);
        assert_eq!(
            pages.iter().filter(|page| page.is_err()).count(),
            usize::from(came == 0)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn links_are_followed_until_there_is_none() {
    let linked = read(|at, _| {
        let next = if at.index < 2 {
            NextPage::Link(url(100 + at.index))
        } else {
            NextPage::Unknown
        };
        (cut(at, 0, 1, 3), None, next)
    });
    assert_eq!(
        linked.await,
        ["0:[0]", "1L:[1]", "2L:[2]", "3:[]", "4:[]", "3:[]"]
    );
    let short = read(|at, _| {
        let next = if at.index < 1 {
            NextPage::Link(url(100 + at.index))
        } else {
            NextPage::Unknown
        };
        (cut(at, 0, 2, 3), None, next)
    });
    assert_eq!(short.await, ["0:[0, 1]", "1L:[2]", "2:[]"]);
    // A server that heeds its links only gives its first page for every number.
    let deaf = read(|at, _| {
        let index = if at.link.is_some() { at.index } else { 0 };
        let next = if at.index < 2 {
            NextPage::Link(url(100 + at.index))
        } else {
            NextPage::Unknown
        };
        (
            cut(
                &PagePosition {
                    index,
                    size: None,
                    link: None,
                },
                0,
                1,
                3,
            ),
            None,
            next,
        )
    });
    assert_eq!(deaf.await, ["0:[0]", "1L:[1]", "2L:[2]", "3:[0]", "3:[0]"]);
    let deaf = read(|at, _| {
        let index = if at.link.is_some() { at.index } else { 0 };
        let next = if at.index < 2 {
            NextPage::Link(url(100 + at.index))
        } else {
            NextPage::Unknown
        };
        (
            cut(
                &PagePosition {
                    index,
                    size: None,
                    link: None,
                },
                0,
                3,
                8,
            ),
            None,
            next,
        )
    });
    assert_eq!(
        deaf.await,
        [
            "0:[0, 1, 2]",
            "1L:[3, 4, 5]",
            "2L:[6, 7]",
            "3:[0, 1, 2]",
            "3:[0, 1, 2]"
        ]
    );
    // A page without records is no end where a link leads on.
    let gap = read(|at, _| match at.index {
        0 => (vec![1], None, NextPage::Link(url(100))),
        1 => (vec![], None, NextPage::Link(url(101))),
        2 => (vec![2], None, NextPage::Unknown),
        _ => (vec![], None, NextPage::Unknown),
    });
    let wanted = ["0:[1]", "1L:[]", "1L:[]", "2L:[2]", "3:[]", "4:[]", "3:[]"];
    assert_eq!(gap.await, wanted, "an empty page may be a slip");
    // One that always names a next page.
    let always = read(|at, _| (cut(at, 0, 2, 3), None, NextPage::Link(url(100 + at.index))));
    assert_eq!(
        always.await,
        [
            "0:[0, 1]", "1L:[2]", "2L:[]", "2L:[]", "3L:[]", "4L:[]", "5L:[]", "6L:[]", "7L:[]",
            "8L:[]", "9L:[]", "10L:[]", "11L:[]", "12L:[]"
        ]
    );
}

#[tokio::test]
async fn links_that_lead_nowhere_leave_the_number() {
    for next in [NextPage::Elsewhere, NextPage::Link(url(0))] {
        let manner: NumberedAnswers = match next {
            NextPage::Elsewhere => |at, _| (cut(at, 0, 2, 5), None, NextPage::Elsewhere),
            _ => |at, _| (cut(at, 0, 2, 5), None, NextPage::Link(url(0))),
        };
        assert_eq!(
            read(manner).await,
            ["0:[0, 1]", "1:[2, 3]", "2:[4]", "3:[]"]
        );
    }
}

#[tokio::test]
async fn a_link_in_circles_leaves_the_number() {
    // Every link leads back to its own page, under another address each time.
    let circles = read(|at, number| {
        let index = at.link.as_ref().map_or(at.index, |_| at.index - 1);
        (
            cut(
                &PagePosition {
                    index,
                    size: None,
                    link: None,
                },
                0,
                2,
                5,
            ),
            None,
            NextPage::Link(url(100 + number as u64)),
        )
    });
    assert_eq!(
        circles.await,
        ["0:[0, 1]", "1L:[0, 1]", "1:[2, 3]", "2:[4]", "3:[]"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_empty_page_that_names_a_next_one_leads_on() {
    for total in [None, Some(4), Some(6)] {
        let sieved = move |at: &PagePosition, _: usize| match at.index {
            0 => (vec![0, 1], total, NextPage::ByNumber),
            1 | 2 => (vec![], total, NextPage::ByNumber),
            3 => (vec![6, 7], total, NextPage::Unknown),
            _ => (vec![], total, NextPage::Unknown),
        };
        let (pages, error, _) = read_in(PageNumbering::known(), 20.into(), sieved).await;
        assert!(
            pages.contains(&"3:[6, 7]".to_owned()),
            "{total:?} {pages:?}"
        );
        assert_eq!(error.is_some(), total == Some(6), "{total:?} {error:?}");
    }
    let own = |at: &PagePosition, _: usize| match at.index {
        0 => (vec![0, 1], Some(2), NextPage::ByNumber),
        1 => (vec![], Some(0), NextPage::ByNumber),
        2 => (vec![4, 5], Some(2), NextPage::Unknown),
        _ => (vec![], Some(0), NextPage::Unknown),
    };
    assert!(
        read_in(PageNumbering::known(), 20.into(), own)
            .await
            .0
            .contains(&"2:[4, 5]".to_owned())
    );
    // One that always names a next page ends all the same.
    for total in [None, Some(3)] {
        let always =
            move |at: &PagePosition, _: usize| (cut(at, 0, 2, 3), total, NextPage::ByNumber);
        let (pages, error, _) = read_in(PageNumbering::known(), 100.into(), always).await;
        assert!(error.is_none() && pages.len() < 24, "{pages:?} {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn links_through_a_list_without_an_order_are_told() {
    for (second, is_told) in [(vec![1, 2, 3], true), (vec![2, 3, 4], false)] {
        let (ids, remarks) = ids_and_remarks(3, move |at| {
            let link = NextPage::Link(url(100));
            match at.index {
                0 => (vec![0, 1, 2], None, link),
                1 => (second.clone(), None, NextPage::Unknown),
                _ => (vec![], None, NextPage::Unknown),
            }
        })
        .await;
        assert_eq!(ids.len(), if is_told { 4 } else { 5 });
        let words = "2 of them at least came on a second page";
        assert_eq!(
            matches!(&remarks[..], [one] if one.contains(words)),
            is_told,
            "{remarks:?}"
        );
        assert_eq!(remarks.is_empty(), !is_told);
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_missing_once_is_asked_for_again() {
    for slip in 1..5 {
        for total in [None, Some(7), Some(2)] {
            let mut number = 0;
            let stream = by_page(PageNumbering::known(), 50, move |place| {
                number += 1;
                let (missing, rows) = (number == slip + 1, cut(&place, 0, 2, 7));
                async move {
                    if missing {
                        return Ok(FetchOutcome::Missing(Error::protocol("no such page")));
                    }
                    let bytes = Bytes::from(format!("{rows:?}"));
                    let (requested_at, url) = (Timestamp::UNIX_EPOCH, url(place.index));
                    let page = Page {
                        bytes,
                        declared_total: total,
                        requested_at,
                        scope: None,
                        restarts_listing: false,
                        is_reread: false,
                        remarks: Vec::new(),
                    };
                    Ok(NumberedPage {
                        page,
                        records: rows,
                        url,
                        next: NextPage::Unknown,
                    }
                    .into())
                }
            });
            let pages: Vec<_> = stream
                .map(|page| String::from_utf8(page.unwrap().bytes.to_vec()).unwrap())
                .collect()
                .await;
            for rows in ["[0, 1]", "[2, 3]", "[4, 5]", "[6]"] {
                assert!(
                    pages.contains(&rows.to_owned()),
                    "{slip} {total:?}: {pages:?}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_only_a_missing_page_tells_of_is_told() {
    for (of, total, is_told) in [(6, None, true), (7, None, false), (6, Some(6), false)] {
        let (ear, _guard) = crate::testing::log_capture::LogCapture::start();
        let stream = by_page(PageNumbering::known(), 50, move |place| async move {
            let rows = cut(&place, 0, 2, of);
            if rows.is_empty() {
                return Ok(FetchOutcome::Missing(Error::protocol("no such page")));
            }
            let page = Page {
                bytes: Bytes::from(format!("{rows:?}")),
                declared_total: total,
                requested_at: Timestamp::UNIX_EPOCH,
                scope: None,
                restarts_listing: false,
                is_reread: false,
                remarks: Vec::new(),
            };
            Ok(NumberedPage {
                page,
                records: rows,
                url: url(place.index),
                next: NextPage::Unknown,
            }
            .into())
        });
        let pages: Vec<_> = stream.map(|page| page.unwrap()).collect().await;
        assert!(pages.len() >= 3);
        let heard = ear.heard();
        assert_eq!(
            heard.contains("is believed to be at its end") && heard.contains("no such page"),
            is_told,
            "{of} {total:?}: {heard}"
        );
    }
}
