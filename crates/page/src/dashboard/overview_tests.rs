//! The first view of a small report, and of a hostile one.
//!
//! Invariant: the pages are read as text here; how they look is judged by people.

use super::*;
use crate::language::Language;
use crate::sample_report::report;
use tillhouse_model::ExactDecimal;
use tillhouse_statistics::report::{
    ArticleQuantities, ArticleQuantity, PaymentMethodAmount, ReportedGap,
};

fn week() -> Vec<WeekHour> {
    vec![WeekHour {
        currency: "EUR".into(),
        day: 2,
        hour: 10,
        count: 40,
    }]
}

fn view(language: Language) -> PageView {
    PageView {
        language,
        path: "/".to_owned(),
        query: ViewQuery::new([("period", "7-days".to_owned()), ("tenant", "n".to_owned())]),
        timezone: "Europe/Berlin".to_owned(),
        run: Some("20260112T000000Z-000000".to_owned()),
        ..PageView::default()
    }
}

#[test]
fn the_first_view_says_what_the_report_says_in_both_languages() {
    let english = overview(&view(Language::English), &report("Harbour"), &week());
    for part in [
        "<html lang=\"en\">",
        "data-run=\"20260112T000000Z-000000\"",
        "<dd class=\"value\">1,234.50 <span class=\"unit\">EUR</span></dd>",
        "<b class=\"down\">\u{25bc}\u{a0}\u{2212}2.50\u{a0}%</b>",
        "<dd class=\"value\">30.86 <span class=\"unit\">EUR</span></dd>",
        "nothing to compare with",
        "<strong>Complete.</strong>",
        "Sales that may still change: 1.",
        "Test sales, not counted: 2.",
        "Most in: 6 January 2026, 11:00, 40.",
        "<title>Tuesday 10:00: 40</title>",
        "Times are those of Europe/Berlin.",
    ] {
        assert!(english.contains(part), "{part} is not in the page");
    }
    let german = overview(&view(Language::German), &report("Harbour"), &week());
    for part in [
        "<html lang=\"de\">",
        "<dd class=\"value\">1.234,50 <span class=\"unit\">EUR</span></dd>",
        "\u{2212}2,50\u{a0}%",
        "<strong>Vollst\u{e4}ndig.</strong>",
        "6. Januar 2026, 11:00",
        "<title>Dienstag 10:00: 40</title>",
    ] {
        assert!(german.contains(part), "{part} is not in the page");
    }
}

#[test]
fn every_bar_hour_and_square_leads_to_its_sales() {
    let mut report = report("Harbour");
    report.data[0].sites_amount_ranking[0].site_key = Some("hecone:a&b".to_owned());
    let html = overview(&view(Language::English), &report, &week());
    for address in [
        "/sales?counted=yes&amp;currency=EUR&amp;from=2026-01-06T10%3A00%3A00Z&amp;tenant=n&amp;to=2026-01-06T11%3A00%3A00Z",
        "/sales?counted=yes&amp;currency=EUR&amp;from=2026-01-05T00%3A00%3A00Z&amp;hour=10&amp;tenant=n&amp;to=2026-01-12T00%3A00%3A00Z&amp;weekday=2",
        "/sales?counted=yes&amp;currency=EUR&amp;from=2026-01-05T00%3A00%3A00Z&amp;site=hecone%3Aa%26b&amp;tenant=n&amp;to=2026-01-12T00%3A00%3A00Z",
        "/sales?counted=yes&amp;currency=EUR&amp;from=2026-01-05T00%3A00%3A00Z&amp;site=none&amp;tenant=n&amp;to=2026-01-12T00%3A00%3A00Z",
    ] {
        assert!(html.contains(&format!("href=\"{address}\"")), "{address}");
    }
    // What the keyboard reaches has a name that is read out.
    let reached = html.matches("tabindex=\"0\"").count();
    assert_eq!(
        html.matches("tabindex=\"0\" role=\"region\" aria-label=")
            .count(),
        reached
    );
    assert!(reached >= 2, "{html}");
    // Once in the drawing, where the keyboard passes it by, and once in the table.
    let hour = "from=2026-01-06T10%3A00%3A00Z";
    assert_eq!(html.matches(hour).count(), 2, "{html}");
}

#[test]
fn nobody_writes_into_the_page_and_the_policy_has_nothing_to_forbid() {
    let hostile = "</h3><script>alert('1')</script><img src=x onerror=\"1\">&amp;";
    let mut report = report(hostile);
    report.data[0].currency = hostile.to_owned();
    report.data[0].payment_method_ranking = vec![PaymentMethodAmount {
        amount: ExactDecimal::new(1, 0),
        payment_method: hostile.to_owned(),
    }];
    report.data[0].article_quantities_ranking = vec![ArticleQuantities {
        unit_measure: hostile.to_owned(),
        articles_quantities: vec![ArticleQuantity {
            article_name: hostile.to_owned(),
            quantity: ExactDecimal::new(15, 1),
            product_key: None,
            products: 1,
        }],
    }];
    report.meta.run = hostile.to_owned();
    let view = PageView {
        query: ViewQuery::new([
            ("filter", hostile.to_owned()),
            ("tenant", hostile.to_owned()),
        ]),
        timezone: hostile.to_owned(),
        run: Some(hostile.to_owned()),
        ..view(Language::English)
    };
    let html = overview(&view, &report, &week());
    assert_eq!(html.matches("<script").count(), 1, "our own module");
    for forbidden in [
        "<img",
        "onerror=\"",
        " style=\"",
        "<style",
        "http://",
        "https://",
        "javascript:",
    ] {
        assert!(!html.contains(forbidden), "{forbidden} is in the page");
    }
    assert!(html.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"));
}

#[test]
fn figures_of_one_site_say_so_and_lead_back_to_all() {
    let view = PageView {
        query: ViewQuery::new([("site", "hecone:1".to_owned())]),
        ..view(Language::English)
    };
    let html = overview(&view, &report("Harbour"), &week());
    for part in [
        "<li>Site hecone:1 <a href=\"/\"",
        "aria-label=\"Take off: Site hecone:1\"",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
}

#[test]
fn a_period_without_sales_says_so_and_what_to_do() {
    let mut report = report("Harbour");
    report.data.clear();
    report.meta.data_through = None;
    let html = overview(&view(Language::English), &report, &[]);
    for part in [
        "Nothing was sold in this period.",
        "Choose another period",
        "<strong>Not complete.</strong>",
        "Nothing of this period was read.",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
}

#[test]
fn currencies_stand_apart_the_one_with_the_most_sales_first() {
    let mut report = report("Harbour");
    let mut other = report.data[0].clone();
    other.currency = "CHF".to_owned();
    other.transactions_count.value = 41;
    report.data.push(other);
    let html = overview(&view(Language::English), &report, &week());
    let at = |text: &str| html.find(text).unwrap();
    assert!(at("<h2 id=\"c0\">CHF</h2>") < at("<h2 id=\"c1\">EUR</h2>"));
    assert!(html.contains("<a href=\"#c1\">EUR</a>"), "{html}");
    let alone = PageView {
        query: ViewQuery::new([("currency", "EUR".to_owned())]),
        ..view(Language::English)
    };
    let html = overview(&alone, &report, &week());
    assert!(
        html.contains("<h2 id=\"c0\">EUR</h2>") && !html.contains(">CHF<"),
        "{html}"
    );
    assert!(html.contains("<a href=\"/\">All currencies</a>"), "{html}");
    // The way to all sales is of that currency too.
    let sales = "/sales?counted=yes&amp;currency=EUR&amp;from=2026-01-05T00%3A00%3A00Z&amp;to=2026-01-12T00%3A00%3A00Z\">All sales";
    assert!(html.contains(sales), "{html}");
}

#[test]
fn growth_is_a_verdict_on_a_period_that_is_over_against_one_that_was_read() {
    let mut report = report("Harbour");
    report.meta.still_to_come = Window::new(report.meta.from, report.meta.to).ok();
    report.meta.rejects = 1;
    let html = overview(&view(Language::English), &report, &week());
    for part in [
        "<strong>Not complete.</strong> Not over yet.",
        "<b class=\"even\">\u{25bc}\u{a0}\u{2212}2.50\u{a0}%</b> period not over",
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    report.meta.compared_unread = vec![ReportedGap {
        pipeline: "p".into(),
        resource: "sales".into(),
        tenant: None,
        window: Window::new(report.meta.from, report.meta.to).unwrap(),
        read_by: None,
    }];
    let html = overview(&view(Language::English), &report, &week());
    assert!(html.contains("compared window not read") && !html.contains("2.50\u{a0}%"));
}

#[test]
fn a_window_too_long_for_a_filter_has_no_links_by_the_hour_of_a_weekday_and_says_so() {
    let view = PageView {
        is_too_long_for_links: true,
        ..view(Language::English)
    };
    let html = overview(&view, &report("Harbour"), &week());
    assert!(html.contains("more days than a filter can name"), "{html}");
    assert!(!html.contains("weekday=2"), "{html}");
    assert!(html.contains("Tuesday 10:00: 40"), "{html}");
}

#[test]
fn a_site_is_told_by_its_name_where_that_is_known() {
    let mut report = report("Harbour");
    report.data[0].sites_amount_ranking[0].site_key = Some("hecone:1".to_owned());
    let view = PageView {
        query: ViewQuery::new([("site", "hecone:1".to_owned())]),
        ..view(Language::English)
    };
    let html = overview(&view, &report, &week());
    assert!(html.contains("<li>Site Harbour <a"), "{html}");
}
