//! A page of a small report, and one of a hostile one.
//!
//! Invariant: the pages are read as text here; how they look is judged by people.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use crate::sample_report::report;
use tillhouse_model::{ExactDecimal, Window};
use tillhouse_statistics::report::{
    CollectedElsewhere, CollectedInState, ReportedGap, UncountedTotals,
};

fn heat() -> Vec<HeatMapCell> {
    vec![HeatMapCell {
        currency: "EUR".into(),
        day: 2,
        hour: 10,
        count: 40,
        total: ExactDecimal::new(12_345_000, 4),
    }]
}

#[test]
fn the_headline_says_what_the_report_says() {
    let html = page(&report("Harbour"), &heat());
    for part in [
        "<title>Sales, 5 to 11 January 2026</title>",
        "1\u{202f}234.50 <span class=\"unit\">EUR</span>",
        "nothing to compare with",
        "\u{25bc} \u{2212}2.50 %",
        "30.86 <span class=\"unit\">EUR</span>",
        "Tuesday 10:00",
        "<strong>Complete.</strong>",
        "1 transaction may still change. 2 test sales are not counted.",
        "The busiest hour was 6 January 2026, 10:00, with 40 transactions.",
        "<summary>2 more</summary>",
        "Tuesday 10:00: 40 transactions, 1\u{202f}234.50 EUR",
    ] {
        assert!(html.contains(part), "{part} is not in the page");
    }
    assert!(
        !html.contains("Sites by transactions"),
        "a ranking of what is unknown says nothing"
    );
}

#[test]
fn times_are_those_of_an_offset_that_was_asked_for() {
    let mut report = report("Harbour");
    report.meta.timezone = "+02:00".into();
    let html = page(&report, &heat());
    assert!(
        html.contains("The busiest hour was 6 January 2026, 12:00, with 40 transactions."),
        "{html}"
    );
}

#[test]
fn growth_says_what_it_was_measured_against() {
    let mut report = report("Harbour");
    assert!(page(&report, &heat()).contains("\u{2212}2.50 %</b> on the period before"));
    report.meta.compare = "last-year".into();
    report.meta.compared = Window::new(
        "2025-01-05T00:00:00Z".parse().unwrap(),
        "2025-01-12T00:00:00Z".parse().unwrap(),
    )
    .ok();
    let html = page(&report, &heat());
    assert!(html.contains("\u{2212}2.50 %</b> on last year"), "{html}");
    assert!(
        html.contains("Growth is measured on last year, 5 to 11 January 2025."),
        "{html}"
    );
    assert!(!html.contains("period before"), "{html}");
}

#[test]
fn the_page_is_whole_in_itself_and_nobody_writes_into_it() {
    let hostile = "</h3><script>alert('1')</script><img src=x onerror=\"1\">&amp;";
    let html = page(&report(hostile), &heat());
    for forbidden in [
        "<script", "<img", "<link", "src=\"", "url(", "http://", "https://", "@import", "<iframe",
    ] {
        assert!(!html.contains(forbidden), "{forbidden} is in the page");
    }
    assert!(html.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"));
    assert!(html.contains("default-src 'none'"));
}

#[test]
fn a_curve_without_end_is_refused_with_a_way_out() {
    let w = |from: &str, to: &str| Window::new(from.parse().unwrap(), to.parse().unwrap()).unwrap();
    let ages = w("0001-01-01T00:00:00Z", "9999-12-30T00:00:00Z");
    let error = check_window(ages, HourGrouping::Timeline).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("3652057 were asked for, and 7320 are the most"),
        "{error}"
    );
    assert!(
        error.hint_text().unwrap().contains("--hours of_day"),
        "{error}"
    );
    assert!(check_window(ages, HourGrouping::OfDay).is_ok());
    assert!(
        check_window(
            w("2010-01-01T00:00:00Z", "2030-01-01T00:00:00Z"),
            HourGrouping::Timeline
        )
        .is_ok()
    );
}

#[test]
fn what_was_not_read_is_said_first() {
    let mut report = report("Harbour");
    report.meta.gaps = vec![ReportedGap {
        pipeline: "hecone".into(),
        resource: "transactions".into(),
        tenant: None,
        window: Window::new(report.meta.from, report.meta.to).unwrap(),
        read_by: None,
    }];
    report.meta.rejects = 1;
    report.meta.data_through = None;
    let html = page(&report, &[]);
    assert!(
        html.contains("<strong>Not complete.</strong>")
            && html.contains("Never read: transactions of hecone, from 5 January")
    );
    assert!(html.contains("1 record did not fit"), "{html}");
    report.data.clear();
    assert!(page(&report, &[]).contains("Nothing was sold in this window."));
    report.meta.perspective = "purchase".into();
    assert!(page(&report, &[]).contains("Nothing was bought in this window."));
}

#[test]
fn what_is_still_to_come_is_no_gap() {
    let mut report = report("Harbour");
    assert!(page(&report, &[]).contains("<strong>Complete.</strong>"));
    let read: jiff::Timestamp = "2026-01-11T23:58:00Z".parse().unwrap();
    report.meta.data_through = Some(read);
    report.meta.still_to_come = Window::new(read, report.meta.to).ok();
    let html = page(&report, &[]);
    let said = "<strong>Not over yet.</strong> Read up to 11 January 2026, 23:58, two minutes of the window are still to come.";
    assert!(
        html.contains(said) && !html.contains("<strong>Complete") && !html.contains("Never read"),
        "{html}"
    );
}

#[test]
fn the_currency_with_the_most_transactions_comes_first_and_small_ones_are_folded() {
    let mut report = report("Harbour");
    let entry = report.data[0].clone();
    let of = |(currency, value): (&str, i64)| CurrencyStatistics {
        currency: currency.into(),
        transactions_count: GrowthFigure {
            growth: None,
            value,
        },
        ..entry.clone()
    };
    report.data = [("AMD", 1), ("CHF", 3), ("EUR", 9), ("JPY", 2)]
        .map(of)
        .to_vec();
    let html = page(&report, &[]);
    let headings = [
        "<h2 id=\"c0\">EUR",
        "<h2 id=\"c1\">CHF",
        "<h2 id=\"c2\">JPY",
    ];
    let order: Vec<usize> = headings
        .iter()
        .map(|heading| html.find(heading).expect(heading))
        .collect();
    assert!(order.is_sorted(), "{order:?}");
    assert!(
        html.contains("<details class=\"currency\" id=\"c3\"><summary><h2>AMD</h2>"),
        "the fourth is folded"
    );
}

#[test]
fn what_was_collected_elsewhere_is_told_with_its_states() {
    let mut report = report("Harbour");
    let money = |cents: i128| ExactDecimal::new(cents, 2);
    let none = UncountedTotals {
        transactions: 0,
        amount: money(0),
    };
    let part = |state: &str, kind: Option<&str>, count, cents| CollectedInState {
        state: state.into(),
        kind: kind.map(str::to_owned),
        count,
        amount: money(cents),
    };
    report.meta.bridge = vec![Bridge {
        currency: "EUR".into(),
        total: money(123_450),
        collected: money(120_000),
        open: money(3_450),
        collected_excluded: money(0),
        collected_elsewhere: CollectedElsewhere {
            count: 3,
            amount: money(4_210),
            by_state: vec![
                part("declined", Some("sale"), 2, 4_110),
                part("without_sale", None, 1, 100),
            ],
        },
        free: none.clone(),
        test: none.clone(),
        excluded: none,
    }];
    report.meta.transactions_without_amount = 1;
    report.meta.payments_without_amount = 3;
    report.meta.payments_without_sale = 2;
    let html = page(&report, &[]);
    let gap = '\u{202f}';
    for part in [
        format!(
            "Collected 1{gap}200.00 EUR, open 34.50 EUR, together the revenue of 1{gap}234.50 EUR."
        ),
        "Collected elsewhere 42.10 EUR, in 3 payments for sales that are not counted".to_owned(),
        "(declined: 41.10 EUR, without_sale: 1.00 EUR).".to_owned(),
        "1 transaction has no amount and adds nothing.".to_owned(),
        "3 collected payments have no amount and add nothing.".to_owned(),
        "The sales of 2 payments are not known.".to_owned(),
    ] {
        assert!(html.contains(&part), "{part} is not in the page");
    }
}

#[test]
fn what_was_collected_in_a_currency_in_which_nothing_was_sold_is_told() {
    let bridge = |currency: &str, count, units| {
        let none = UncountedTotals {
            transactions: 0,
            amount: ExactDecimal::new(0, 4),
        };
        Bridge {
            currency: currency.into(),
            total: ExactDecimal::new(0, 4),
            collected: ExactDecimal::new(0, 4),
            open: ExactDecimal::new(0, 4),
            collected_excluded: ExactDecimal::new(0, 4),
            collected_elsewhere: CollectedElsewhere {
                count,
                amount: ExactDecimal::new(units, 4),
                by_state: vec![CollectedInState {
                    state: "declined".into(),
                    kind: Some("sale".into()),
                    count,
                    amount: ExactDecimal::new(units, 4),
                }],
            },
            free: none.clone(),
            test: none.clone(),
            excluded: none,
        }
    };
    let mut report = report("Harbour");
    report.meta.bridge = vec![
        bridge("EUR", 1, 10_000),
        bridge("JPY", 2, 15_000_000),
        bridge("CHF", 0, 0),
    ];
    let told = "Collected elsewhere 1\u{202f}500 JPY, in 2 payments for sales that are not counted (declined: 1\u{202f}500 JPY).";
    let html = page(&report, &heat());
    assert!(
        html.contains("<h2>Currencies in which nothing was sold</h2>"),
        "{html}"
    );
    assert_eq!(html.matches(told).count(), 1, "{html}");
    assert_eq!(html.matches("Collected elsewhere").count(), 2, "{html}");
    assert!(!html.contains("CHF"), "nothing came in there: {html}");
    report.data = Vec::new();
    let html = page(&report, &[]);
    assert!(
        html.contains("Nothing was sold in this window.") && html.contains(told),
        "{html}"
    );
    report.meta.bridge = vec![bridge("CHF", 0, 0)];
    assert!(!page(&report, &[]).contains("Currencies in which"));
}
