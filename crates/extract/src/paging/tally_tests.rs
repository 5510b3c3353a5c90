//! Tallies of one listing, and what they make of totals that rise, fall, waver and lag.
//!
//! Invariant: no tally believes an end that its own pages, or those of a reading before, speak against.

use super::*;

fn ledger(pages: &[(u64, u64)]) -> ListingTally {
    let mut ledger = ListingTally::default();
    for (records, total) in pages {
        ledger.page(*records, Some(*total));
    }
    ledger
}

#[test]
fn the_largest_total_is_owed() {
    for (pages, owed) in [
        (&[(2, 5), (2, 5), (1, 5)][..], None),
        (&[(2, 5), (2, 5)][..], Some((5, 4))),
        (&[(2, 4), (2, 5), (0, 4)][..], Some((5, 4))),
        (&[(2, 2), (2, 2), (1, 1)][..], None),
        (&[(2, 6), (2, 4), (2, 2)][..], None),
        (&[(0, 0)][..], None),
        (&[(0, u64::MAX)][..], Some((u64::MAX, 0))),
    ] {
        let error = ledger(pages).shortfall();
        let wanted = owed.map(|(declared, came)| {
            format!("the source declares {declared} records, but {came} came")
        });
        assert_eq!(
            error.as_ref().map(|e| e.message().to_owned()),
            wanted,
            "{pages:?}"
        );
    }
    let wavering = ledger(&[(2, 6), (2, 4)]).shortfall().unwrap().to_string();
    assert!(
        wavering.contains("declares 6 records, but 4 came") && wavering.contains("4 to 6"),
        "{wavering}"
    );
    // Of two servers the one that says more may be right, however often the other is reached by what comes.
    let replicas = ledger(&[(3, 7), (3, 8), (1, 7)]).shortfall().unwrap();
    assert!(
        replicas
            .to_string()
            .contains("declares 8 records, but 7 came (totals of its pages 7 to 8"),
        "{replicas}"
    );
    assert!(
        replicas
            .hint_text()
            .unwrap()
            .contains("tell the provider both figures"),
        "{replicas}"
    );
}

#[test]
fn a_reached_total_is_believed_unless_something_says_that_there_is_more() {
    assert_eq!(
        ledger(&[(2, 5), (2, 5), (1, 5)]).is_complete(1, false, false),
        Some(true)
    );
    assert_eq!(
        ledger(&[(2, 4), (2, 4)]).is_complete(2, true, false),
        Some(false),
        "the page was full"
    );
    assert_eq!(
        ledger(&[(2, 3), (1, 3)]).is_complete(1, false, true),
        Some(false),
        "a link is given"
    );
    let passed = ledger(&[(2, 2), (1, 2)]);
    assert_eq!(
        passed.is_complete(1, false, false),
        Some(false),
        "more came than declared"
    );
    assert_eq!(
        passed.is_complete(0, false, false),
        None,
        "and an empty page is as one without a total"
    );
    assert_eq!(ListingTally::default().is_complete(1, false, false), None);
    assert_eq!(ledger(&[(0, 0)]).is_complete(0, false, false), Some(true));
}

#[test]
fn a_total_as_large_as_the_first_page_proves_nothing_until_totals_are_known() {
    let totals = TotalsClaim::default();
    let after = |pages: &[(u64, Option<u64>)]| {
        let mut ledger = ListingTally::of(&totals);
        pages
            .iter()
            .for_each(|(records, total)| ledger.page(*records, *total));
        ledger.is_complete(pages.last().unwrap().0, false, false)
    };
    assert_eq!(after(&[(2, Some(2))]), None);
    assert_eq!(
        after(&[(2, Some(2)), (0, Some(0))]),
        None,
        "an empty page's total may be its own too"
    );
    assert_eq!(after(&[(2, Some(2)), (0, None)]), None);
    assert_eq!(
        after(&[(2, Some(2)), (0, Some(2))]),
        Some(true),
        "it counts more than the page"
    );
    assert_eq!(
        after(&[(2, Some(2))]),
        None,
        "but not that it counts more than one page"
    );
    assert_eq!(after(&[(1, Some(2)), (1, Some(2))]), Some(true));
    assert_eq!(after(&[(2, Some(2))]), Some(true), "as was seen");
    assert_eq!(after(&[(2, Some(2)), (2, Some(2))]), Some(false));
    assert_eq!(after(&[(2, Some(2))]), None, "and never again");
    assert_eq!(after(&[(2, Some(4)), (2, Some(4))]), Some(true));
    assert_eq!(after(&[(2, Some(2))]), None, "wrong once is wrong for good");
}

#[test]
fn a_fall_is_stepped_back_for_once_a_low_and_holds_only_where_it_stays() {
    let mut falls = ListingTally::default();
    assert_eq!(falls.declare(Some(10), 3, true), 0);
    falls.came(3);
    assert_eq!(falls.declare(Some(8), 3, true), 2);
    falls.came(4);
    assert_eq!(falls.declare(Some(8), 3, true), 0);
    assert_eq!(falls.declared(), Some(8), "it held");

    let mut wavers = ListingTally::default();
    for (total, back) in [(6, 0), (4, 2), (6, 0), (4, 0), (2, 0), (0, 0)] {
        assert_eq!(wavers.declare(Some(total), 3, true), back, "{total}");
        wavers.came(2);
    }
    assert_eq!(wavers.declared(), Some(6));

    let mut passed = ListingTally::default();
    passed.page(100, Some(100));
    passed.page(100, Some(100));
    assert_eq!(
        passed.declare(Some(40), 3, true),
        0,
        "a total that was passed says nothing"
    );

    let mut endless = ListingTally::default();
    let steps = (0..1_000_u64)
        .filter(|n| endless.declare(Some(1_000_000 - n), 3, n % 10 == 0) > 0)
        .count();
    assert_eq!(steps, 9, "a few, and more in a long listing");
}

/// The pages of a reading, as records and totals.
type ReadPages<'a> = &'a [(u64, Option<u64>)];

/// Tally of the last of several readings of a listing; where one steps back, it goes on from the first page.
fn last_of(readings: &[ReadPages<'_>]) -> ListingTally {
    let mut tally = ListingTally::default();
    for (number, pages) in readings.iter().enumerate() {
        if number > 0 {
            tally = tally.anew();
        }
        let mut came = 0;
        for (records, total) in *pages {
            if tally.declare(*total, *records, true) > 0 {
                came = 0;
            }
            came += records;
            tally.came(came);
        }
    }
    tally
}

#[test]
fn a_fall_is_believed_only_by_a_reading_from_the_beginning_and_with_all_that_came() {
    let half: ReadPages<'_> = &[(5, Some(30)), (5, Some(30)), (5, Some(30))];
    let blip: ReadPages<'_> = &[(5, Some(30)), (10, Some(30)), (0, Some(0)), (0, Some(0))];
    let falls: ReadPages<'_> = &[(5, Some(30)), (5, Some(15)), (10, Some(15))];
    let cases: &[(&[ReadPages<'_>], Option<&str>)] = &[
        (&[blip], Some("declares 30 records, but 0 came")),
        (
            &[blip, &[(0, Some(0))]],
            Some("declares 30 records, but 0 came"),
        ),
        (
            &[half, &[(0, None)]],
            Some("declares 30 records, but 0 came"),
        ),
        (
            &[half, &[(0, None)], &[(0, None)]],
            Some("declares 30 records, but 0 came"),
        ),
        (
            &[half, &[(14, Some(14))]],
            Some("declares 30 records, but 14 came"),
        ),
        (
            &[half, &[(20, None)]],
            Some("declares 30 records, but 20 came"),
        ),
        (&[falls], Some("declares 30 records, but 15 came")),
        (&[falls, falls], Some("declares 30 records, but 15 came")),
        (
            &[&[(5, None)], &[(0, None)]],
            Some("gave records before, but 0 came"),
        ),
        (&[half, &[(30, Some(30))]], None),
        (&[blip, &[(30, Some(30))]], None),
        (&[half, &[(31, None)]], None),
        (&[&[(5, None)], &[(4, None)]], None),
    ];
    for (readings, figures) in cases {
        let tally = last_of(readings);
        let error = tally.unconfirmed().map(|error| error.to_string());
        match figures {
            Some(figures) => assert!(
                error.as_ref().is_some_and(|error| error.contains(*figures)),
                "{readings:?}: {error:?}"
            ),
            None => {
                assert_eq!(error, None, "{readings:?}");
                assert_eq!(tally.said_of_fall(), None, "{readings:?}");
            }
        }
    }
    for second in [15, 16, 29] {
        let tally = last_of(&[falls, &[(second, Some(second))]]);
        assert!(tally.unconfirmed().is_none(), "{second}");
        let said = tally.said_of_fall().unwrap();
        assert!(said.contains("a reading before declared 30"), "{said}");
    }
}

#[test]
fn what_is_pushed_back_by_arrivals_shows_that_they_came() {
    let shifted = |pages: &[(&'static str, Option<u64>)]| {
        let mut ledger = ListingTally::default();
        for (page, total) in pages {
            let page = Bytes::from_static(page.as_bytes());
            ledger.page(envelope::count(&page, &[]).unwrap(), *total);
            ledger.compare(&page, &[], "id");
        }
        ledger.is_shifted()
    };
    let (first, second) = (r#"[{"id":1},{"id":2}]"#, r#"[{"id":2,"x":1},{"id":3}]"#);
    assert!(
        shifted(&[(first, Some(3)), (second, Some(4))]),
        "one arrived in front"
    );
    assert!(
        shifted(&[(first, Some(5)), (second, Some(4))]),
        "and others vanished behind"
    );
    assert!(shifted(&[
        (first, Some(3)),
        (second, Some(4)),
        (r#"[{"id":9}]"#, Some(4))
    ]));
    assert!(
        !shifted(&[(first, Some(4)), (second, Some(4))]),
        "an id twice"
    );
    assert!(
        !shifted(&[(first, Some(3)), (r#"[{"id":3},{"id":4}]"#, Some(4))]),
        "one arrived behind"
    );
    assert!(!shifted(&[(first, None), (second, None)]));
    assert!(!shifted(&[(first, None), (second, Some(4))]));
}

#[test]
fn a_page_that_was_there_before_is_known_again() {
    let seen = |ledger: &mut ListingTally, print: u64, records: u64, total: Option<u64>| {
        ledger.page(records, total);
        let came = ledger.came;
        ledger.repeats(Some(print), records, came, || "a page repeats".into())
    };
    let mut untold = ListingTally::default();
    assert!(seen(&mut untold, 1, 2, None).is_none());
    assert!(matches!(
        seen(&mut untold, 1, 2, None),
        Some(RepeatedPage::Unproved(_))
    ));

    let mut told = ListingTally::default();
    assert!(seen(&mut told, 1, 2, Some(1_000_000_000)).is_none());
    let Some(RepeatedPage::Unproved(error)) = seen(&mut told, 1, 2, Some(1_000_000_000)) else {
        panic!()
    };
    let error = error.to_string();
    assert!(
        error.contains("a page repeats") && error.contains("1000000000"),
        "{error}"
    );

    let mut reached = ListingTally::default();
    assert!(seen(&mut reached, 1, 2, Some(4)).is_none());
    assert!(seen(&mut reached, 2, 2, Some(4)).is_none());
    assert!(
        matches!(
            seen(&mut reached, 2, 2, Some(4)),
            Some(RepeatedPage::OfTheEnd)
        ),
        "behind the total"
    );

    // With the repeat itself the number is reached, or the total may count pages: the same again is believed.
    for total in [2, 4] {
        let mut first = ListingTally::default();
        assert!(seen(&mut first, 1, 2, Some(total)).is_none());
        assert!(
            matches!(
                seen(&mut first, 1, 2, Some(total)),
                Some(RepeatedPage::Unproved(_))
            ),
            "{total}"
        );
        let mut second = first.anew();
        assert!(seen(&mut second, 1, 2, Some(total)).is_none());
        assert!(
            matches!(
                seen(&mut second, 1, 2, Some(total)),
                Some(RepeatedPage::OfTheEnd)
            ),
            "{total}"
        );
    }

    let mut rose = ListingTally::default();
    assert!(seen(&mut rose, 1, 2, Some(5)).is_none());
    assert!(
        seen(&mut rose, 1, 2, Some(7)).is_none(),
        "arrivals in front"
    );
    assert!(seen(&mut rose, 1, 2, Some(7)).is_some());

    let mut single = ListingTally::default();
    for print in [1, 2, 2, 3, 3] {
        assert!(
            seen(&mut single, print, 1, Some(9)).is_none(),
            "an id twice"
        );
    }
    assert!(seen(&mut single, 3, 1, Some(9)).is_some(), "twice in a row");
}
