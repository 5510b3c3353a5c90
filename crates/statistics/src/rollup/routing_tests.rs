//! Sources of answers: which levels a window is read from, and what of it is left to the facts.
//!
//! Invariant: each test plans scans alone; no table is opened and no row is read.

use super::*;

fn t(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
}

fn levels(fact: &RolledFact) -> Vec<&'static Level> {
    Level::of(fact).collect()
}

/// Parts that are read of a source, as hours of 2026, with a minus where it is taken off: `monthly_articles -0..744`.
fn read(scans: &[FactScan], of: fn(&FactScan) -> &Vec<Part>) -> Vec<String> {
    let hour = |at: i64| (at - t("2026-01-01T00:00:00Z")) / HOUR;
    let lines = scans.iter().flat_map(|scan| {
        let parts = of(scan).iter();
        parts.map(|part| {
            let (name, (from, to)) = (scan.source.name(), part.span);
            let off = if part.is_taken_off { "off " } else { "" };
            format!("{off}{name} {}..{}", hour(from), hour(to))
        })
    });
    lines.collect()
}

fn windows(now: (&str, &str), before: Option<(&str, &str)>, has_hours: bool) -> PlannedWindows {
    let span = |(from, to)| (t(from), t(to));
    PlannedWindows {
        now: span(now),
        before: before.map(span),
        hours: HourGrouping::Timeline,
        has_hours,
    }
}

/// Signs of all sources at an instant, together.
fn sign(parts: &[(AnswerSource, Part)], at: i64) -> i64 {
    parts
        .iter()
        .map(|(_, part)| Part::sign_at(&[*part], at))
        .sum()
}

#[test]
fn ends_are_added_or_taken_off_whichever_is_less() {
    // Berlin's first quarter but for half an hour, and three hours before it.
    let asked = windows(
        ("2025-12-31T23:00:00Z", "2026-03-31T21:30:00Z"),
        Some(("2025-12-31T20:00:00Z", "2025-12-31T23:00:00Z")),
        true,
    );
    let scans = asked.scans(&TRANSACTIONS, &levels(&TRANSACTIONS));
    assert_eq!(
        read(&scans, |scan| &scan.now),
        [
            "facts -1..0",
            "off facts 2157..2160",
            "monthly_transactions 0..1416",
            "monthly_transactions 1416..2160",
        ]
    );
    assert_eq!(
        read(&scans, |scan| &scan.hours),
        ["facts 2157..2157", "daily_transaction_totals -1..2157",]
    );
    assert_eq!(read(&scans, |scan| &scan.before), ["facts -4..-1"]);
    let untimed: Vec<bool> = scans.iter().map(|scan| scan.untimed).collect();
    assert_eq!(untimed, [true, false, false]);
    let days = scans
        .iter()
        .find(|scan| scan.source.name() == "daily_transaction_totals");
    let whole_days = (t("2025-12-31T00:00:00Z"), t("2026-04-01T00:00:00Z"));
    assert_eq!(days.unwrap().spans(), [whole_days]);
    let scans = asked.scans(&ARTICLES, &levels(&ARTICLES));
    assert!(scans.iter().all(|scan| !scan.untimed));
    assert_eq!(
        read(&scans, |scan| &scan.now),
        [
            "facts -1..0",
            "off facts 2157..2160",
            "monthly_article_totals 0..1416",
            "monthly_article_totals 1416..2160",
        ]
    );
    assert_eq!(
        scans[0].taken_off(),
        [(t("2026-03-31T21:30:00Z"), t("2026-04-01T00:00:00Z"))]
    );
}

#[test]
fn years_an_hour_off_are_years_and_two_hours() {
    let asked = windows(("2015-12-31T23:00:00Z", "2025-12-31T23:00:00Z"), None, true);
    let year = t("2025-01-01T00:00:00Z");
    let parts = cover(asked.now, &levels(&PAYMENTS));
    let names: Vec<&str> = parts.iter().map(|(source, _)| source.name()).collect();
    assert_eq!(
        names,
        [
            "yearly_payment_totals",
            "facts",
            "yearly_payment_totals",
            "facts"
        ]
    );
    assert_eq!(parts[0].1.span, (t("2016-01-01T00:00:00Z"), year));
    assert!(parts[3].1.is_taken_off && !parts[2].1.is_taken_off);
}

#[test]
fn days_of_articles_and_payments_are_levels_of_all_sites_together() {
    let fact = &PAYMENTS;
    let scans = |to, levels: &[&'static Level]| {
        let asked = windows(("2026-01-01T00:00:00Z", to), None, true);
        read(&asked.scans(fact, levels), |scan| &scan.now)
    };
    let week = scans("2026-01-08T00:00:00Z", &levels(fact));
    assert_eq!(week, ["daily_payment_totals 0..168"]);
    let but_for_four_days = scans("2026-01-28T00:00:00Z", &levels(fact));
    assert_eq!(
        but_for_four_days,
        [
            "monthly_payment_totals 0..744",
            "off daily_payment_totals 648..744"
        ]
    );
    // Of one site.
    let by_site = fitting(&levels(fact), |level| level.keeps(SITE));
    assert_eq!(scans("2026-01-08T00:00:00Z", &by_site), ["facts 0..168"]);
    let of_own_days = fitting(&levels(fact), |level| level.keeps(BUSINESS_DATE));
    let month = scans("2026-02-01T00:00:00Z", &of_own_days);
    assert_eq!(month, ["daily_payment_totals 0..744"]);
}

#[test]
fn every_instant_of_a_window_counts_once_and_no_other() {
    let begin = t("2024-11-20T00:00:00Z");
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        i64::try_from((state >> 33) % below).unwrap()
    };
    for fact in [&TRANSACTIONS, &ARTICLES] {
        for _ in 0..300 {
            let from = begin + random(14_000) * HOUR / 2;
            let window = (from, from + (1 + random(14_000)) * HOUR / 2);
            let parts = cover(window, &levels(fact));
            for _ in 0..60 {
                let at = begin - 40 * DAY + random(60_000) * HOUR / 2 + HOUR / 4;
                let expected = i64::from(window.0 <= at && at < window.1);
                assert_eq!(sign(&parts, at), expected, "{window:?} at {at}: {parts:?}");
            }
            for edge in [window.0, window.1] {
                assert_eq!(sign(&parts, edge - 1), i64::from(edge == window.1));
                assert_eq!(sign(&parts, edge), i64::from(edge == window.0));
            }
            // A scan names six stretches at most.
            let asked = PlannedWindows {
                now: window,
                before: Some((window.0 - (window.1 - window.0), window.0)),
                hours: HourGrouping::OfDay,
                has_hours: true,
            };
            for scan in asked.scans(fact, &levels(fact)) {
                assert!(scan.spans().len() <= 6, "{scan:?}");
                assert!(scan.taken_off().len() <= 4, "{scan:?}");
            }
        }
    }
}

#[test]
fn what_fits_no_level_comes_from_the_facts_in_one_scan() {
    let asked = windows(
        ("2026-01-01T00:10:00Z", "2026-01-01T00:50:00Z"),
        Some(("2025-12-31T23:30:00Z", "2026-01-01T00:10:00Z")),
        true,
    );
    let scans = asked.scans(&TRANSACTIONS, &levels(&TRANSACTIONS));
    assert_eq!(scans.len(), 1);
    let merged = (t("2025-12-31T23:30:00Z"), t("2026-01-01T00:50:00Z"));
    assert_eq!(scans[0].spans(), [merged]);
    // Hours of a zone that is half an hour off, with all else from levels.
    let asked = windows(
        ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        None,
        false,
    );
    let scans = asked.scans(&TRANSACTIONS, &levels(&TRANSACTIONS));
    assert_eq!(read(&scans, |scan| &scan.now), ["daily_transactions 0..24"]);
    assert_eq!(read(&scans, |scan| &scan.hours), ["facts 0..24"]);
    // Nothing at all still asks for what has no time.
    let nothing = windows(("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"), None, true);
    let scans = nothing.scans(&PAYMENTS, &levels(&PAYMENTS));
    assert_eq!((scans.len(), scans[0].untimed), (1, true));
    assert!(scans[0].spans().is_empty());
    assert!(nothing.scans(&ARTICLES, &levels(&ARTICLES)).is_empty());
}

#[test]
fn weekdays_by_hour_are_read_from_days_and_less_than_a_day_from_the_facts() {
    let read_of = |window: (&str, &str), filtered: &[&'static str]| {
        let filtered = filtered.iter().copied().collect();
        let span = (t(window.0), t(window.1));
        let scans = week_scans(span, &levels(&TRANSACTIONS), &filtered);
        assert!(
            scans
                .iter()
                .all(|scan| !scan.untimed && scan.hours.is_empty())
        );
        read(&scans, |scan| &scan.now)
    };
    let week = ("2026-01-05T00:00:00Z", "2026-01-12T00:00:00Z");
    assert_eq!(read_of(week, &[]), ["daily_transactions 96..264"]);
    // A year has no days of its own.
    let year = ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
    assert_eq!(read_of(year, &[]), ["daily_transactions 0..8760"]);
    let filtered = [SITE, BUSINESS_DATE, "state"];
    assert_eq!(read_of(week, &filtered), ["daily_transactions 96..264"]);
    assert_eq!(read_of(week, &["local_hour"]), ["facts 96..264"]);
    let berlin = ("2026-01-04T23:00:00Z", "2026-01-11T23:00:00Z");
    assert_eq!(
        read_of(berlin, &[]),
        [
            "daily_transactions 96..240",
            "daily_transactions 240..264",
            "facts 95..96",
            "off facts 263..264",
        ]
    );
}

#[test]
fn parts_that_do_not_touch_stay_apart() {
    let parts = |spans: &[Span]| spans.iter().copied().map(added).collect();
    let scan = FactScan {
        now: parts(&[(10, 20), (40, 50)]),
        hours: parts(&[(15, 25)]),
        before: parts(&[(0, 10)]),
        ..FactScan::of(AnswerSource::Facts)
    };
    assert_eq!(scan.spans(), [(0, 25), (40, 50)]);
    assert!(scan.taken_off().is_empty());
}

#[test]
fn hours_of_a_zone_fit_while_it_is_whole_hours_off_utc() {
    let fits =
        |from: &str, to: &str, zone| has_whole_hours(Zone::parse(zone).unwrap(), t(from), t(to));
    let (from, to) = ("2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z");
    for zone in [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "+05:00",
        "Asia/Tokyo",
    ] {
        assert!(fits(from, to, zone), "{zone}");
    }
    for zone in [
        "Asia/Kolkata",
        "+05:30",
        "Asia/Kathmandu",
        "-03:30",
        "Australia/Adelaide",
    ] {
        assert!(!fits(from, to, zone), "{zone}");
    }
    // Half an hour of summer time, which ends on 5 April 2026.
    assert!(fits(
        "2026-02-01T00:00:00Z",
        "2026-03-01T00:00:00Z",
        "Australia/Lord_Howe"
    ));
    assert!(!fits(from, "2026-05-01T00:00:00Z", "Australia/Lord_Howe"));
    // Until 2011 a minute after midnight.
    assert!(!fits(
        "2010-03-01T00:00:00Z",
        "2010-04-01T00:00:00Z",
        "America/Goose_Bay"
    ));
    assert!(fits(from, to, "America/Goose_Bay"));
    assert!(
        !fits(
            "1890-01-01T00:00:00Z",
            "1895-01-01T00:00:00Z",
            "Europe/Berlin"
        ),
        "local mean time until 1893"
    );
    assert!(!fits(
        "1600-01-01T00:00:00Z",
        "2026-01-01T00:00:00Z",
        "America/New_York"
    ));
}
