//! The headline figures of a currency: revenue, sales, mean, collected and open, each with its growth where it has one.
//!
//! Invariant: every figure is the report's; the mean alone is worked out here, exactly, from two of them.

use super::document::PageView;
use crate::html::Html;
use crate::numbers::mean;
use jiff::tz::TimeZone;
use tillhouse_model::ExactDecimal;
use tillhouse_statistics::report::{Bridge, CurrencyStatistics, StatisticsMeta};

/// Adds the figures of one currency.
pub(crate) fn key_figures(
    html: &mut Html,
    view: &PageView,
    meta: &StatisticsMeta,
    entry: &CurrencyStatistics,
) {
    let (words, language) = (view.words(), view.language);
    let currency = entry.currency.as_str();
    let (revenue, sales) = (&entry.transactions_total_amount, &entry.transactions_count);
    html.element("dl", &[("class", "cards")], |html| {
        let value = language.money(revenue.value, currency);
        card(html, words.revenue, &value, |html| {
            growth(html, view, meta, revenue.growth)
        });
        let value = language.count(sales.value);
        card(html, words.sales, &value, |html| {
            growth(html, view, meta, sales.growth)
        });
        if let Some(mean) = mean(revenue.value, sales.value, currency) {
            let value = language.money(mean, currency);
            card(html, words.mean, &value, |html| html.text(words.a_sale));
        }
        let bridge = meta
            .bridge
            .iter()
            .find(|bridge| bridge.currency == currency);
        if let Some(bridge) = bridge {
            let value = language.money(bridge.collected, currency);
            card(html, words.collected, &value, |html| {
                elsewhere(html, view, bridge)
            });
            let value = language.money(bridge.open, currency);
            card(html, words.open, &value, |html| html.text(words.open_note));
        }
    });
}

fn card(html: &mut Html, name: &str, value: &str, below: impl FnOnce(&mut Html)) {
    html.element("div", &[("class", "card")], |html| {
        html.leaf("dt", &[], name);
        html.element("dd", &[("class", "value")], |html| {
            match value.rsplit_once('\u{a0}') {
                Some((amount, currency)) => {
                    html.text(amount);
                    html.raw(" ");
                    html.leaf("span", &[("class", "unit")], currency);
                }
                None => html.text(value),
            }
        });
        html.element("dd", &[("class", "growth")], below);
    });
}

/// Growth against a window that was read. Of a period that is not over it is no verdict, and has no colour.
fn growth(html: &mut Html, view: &PageView, meta: &StatisticsMeta, growth: Option<ExactDecimal>) {
    let words = view.words();
    if !meta.compared_unread.is_empty() {
        html.text(words.compared_unread);
        return;
    }
    let Some(growth) = growth else {
        html.text(words.no_growth);
        return;
    };
    let is_over = meta.still_to_come.is_none();
    let class = match growth.units.signum() {
        1 if is_over => "up",
        -1 if is_over => "down",
        _ => "even",
    };
    html.leaf("b", &[("class", class)], &view.language.growth(growth));
    if !is_over {
        html.raw(" ");
        html.text(words.period_not_over);
    }
}

/// Payments that were collected for sales which are not counted.
fn elsewhere(html: &mut Html, view: &PageView, bridge: &Bridge) {
    let elsewhere = &bridge.collected_elsewhere;
    if elsewhere.count > 0 {
        let amount = view.language.money(elsewhere.amount, &bridge.currency);
        html.text(&format!("{} {amount}", view.words().collected_elsewhere));
    }
}

/// Window that growth is measured against, in words.
pub(crate) fn compared(view: &PageView, meta: &StatisticsMeta, zone: &TimeZone) -> String {
    let words = view.words();
    match &meta.compared {
        Some(window) => {
            let window = view.language.window(window, zone);
            let read = match meta.compared_unread.is_empty() {
                true => String::new(),
                false => format!(" ({})", words.compared_unread),
            };
            format!("{} {window}{read}.", words.growth_against)
        }
        None => words.nothing_before.to_owned(),
    }
}
