//! The first view: how much was sold, whether that may be trusted, when, where, what, and how it was paid.
//!
//! Invariant: a currency has a section of its own, the one with the most sales first and the others folded behind a line each, and no figure is of two of them.

use super::document::{PageView, document, nothing};
use super::hour_chart::HourChart;
use super::key_figures::{compared, key_figures};
use super::notices::notices;
use super::period_form::period_form;
use super::rankings::{UNKNOWN, rankings};
use super::sales::{OF_FIGURES, narrowed};
use super::trust::trust_line;
use super::week_chart::week_chart;
use super::{EXPORT_FOLDER, FILE_FORMATS, SALES_PATH};
use crate::html::Html;
use crate::view_query::ViewQuery;
use jiff::tz::TimeZone;
use tillhouse_model::Window;
use tillhouse_statistics::report::{CurrencyStatistics, StatisticsReport};
use tillhouse_statistics::reports::WeekHour;

/// Names of the formats of files, as people say them.
const FORMAT_NAMES: [&str; 3] = ["CSV", "Parquet", "Excel (xlsx)"];

/// The first view, of statistics and the hours of their week.
pub fn overview(view: &PageView, report: &StatisticsReport, week: &[WeekHour]) -> String {
    let (words, zone, meta) = (view.words(), view.zone(), &report.meta);
    let name = match meta.perspective.as_str() {
        "purchase" => words.purchases,
        _ => words.sales,
    };
    let window = Window::new(meta.from, meta.to).ok();
    let period = window.map(|window| view.language.window(&window, &zone));
    let title = format!("{name}, {}", period.unwrap_or_default());
    let mut entries: Vec<&CurrencyStatistics> = report.data.iter().collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.transactions_count.value));
    if let Some(currency) = view.query.get("currency") {
        entries.retain(|entry| entry.currency == currency);
    }
    let sales = counted_sales(view, report);
    document(view, &title, |html| {
        period_form(html, view);
        narrowed(html, view, &OF_FIGURES, name_of_site(view, report));
        trust_line(html, view, meta, &zone);
        notices(html, view);
        if entries.is_empty() {
            nothing(html, words.nothing_sold, words.nothing_sold_hint);
        }
        contents(html, view, &entries);
        for (index, entry) in entries.iter().enumerate() {
            let id = format!("c{index}");
            let section = |html: &mut Html| {
                html.element("section", &[("aria-labelledby", &id)], |html| {
                    heading(html, view, &id, &entry.currency, entries.len() == 1);
                    key_figures(html, view, meta, entry);
                    let sales = sales.with("currency", entry.currency.as_str());
                    if let Some(window) = window {
                        let chart = HourChart {
                            id: format!("{id}-hours"),
                            hours: &entry.hourly_transactions,
                            window,
                            zone: &zone,
                            sales: sales.clone(),
                        };
                        chart.add_to(html, view);
                    }
                    let cells = week.iter().filter(|cell| cell.currency == entry.currency);
                    let cells: Vec<&WeekHour> = cells.collect();
                    if !cells.is_empty() {
                        week_chart(html, view, &format!("{id}-week"), &cells, &sales);
                    }
                    rankings(html, view, entry, &sales);
                });
            };
            match index {
                0 => section(html),
                _ => html.element("details", &[("class", "currency")], |html| {
                    html.leaf("summary", &[], &in_a_line(view, entry));
                    section(html);
                }),
            }
        }
        foot(html, view, report, &zone);
    })
}

/// The sales that a report counts, which its parts narrow.
fn counted_sales(view: &PageView, report: &StatisticsReport) -> ViewQuery {
    let meta = &report.meta;
    let sales = view
        .kept()
        .without(&["period", "compare"])
        .with("from", meta.from.to_string())
        .with("to", meta.to.to_string())
        .with("counted", "yes");
    match view.query.get("currency") {
        Some(currency) => sales.with("currency", currency),
        None => sales,
    }
}

/// Name of the site that the view is narrowed to, where the report has it.
pub(crate) fn name_of_site<'a>(view: &PageView, report: &'a StatisticsReport) -> Option<&'a str> {
    let key = view.query.get("site")?;
    let rows = report
        .data
        .iter()
        .flat_map(|entry| &entry.sites_amount_ranking);
    let mut rows = rows.filter(|row| row.site_key.as_deref() == Some(key));
    let name = rows.next()?.site_name.as_str();
    Some(name).filter(|name| *name != UNKNOWN)
}

/// Links to the currencies, where there are several, or back to all of them.
fn contents(html: &mut Html, view: &PageView, entries: &[&CurrencyStatistics]) {
    let words = view.words();
    let is_narrowed = view.query.get("currency").is_some();
    if entries.len() < 2 && !is_narrowed {
        return;
    }
    let attributes = [("class", "currencies"), ("aria-label", words.currencies)];
    html.element("nav", &attributes, |html| {
        if is_narrowed {
            let all = view.query.without(&["currency"]).address(&view.path);
            html.leaf("a", &[("href", &all)], words.all_currencies);
            return;
        }
        for (index, entry) in entries.iter().enumerate() {
            html.leaf("a", &[("href", &format!("#c{index}"))], &entry.currency);
            html.raw(" ");
        }
    });
    html.raw("\n");
}

/// Revenue and sales of a currency, in a line.
fn in_a_line(view: &PageView, entry: &CurrencyStatistics) -> String {
    let (words, language) = (view.words(), view.language);
    let revenue = language.money(entry.transactions_total_amount.value, &entry.currency);
    let sales = language.count(entry.transactions_count.value);
    format!("{revenue} \u{b7} {}: {sales}", words.sales)
}

/// Heading of a currency's section, with the way to that currency alone.
fn heading(html: &mut Html, view: &PageView, id: &str, currency: &str, is_alone: bool) {
    html.leaf("h2", &[("id", id)], currency);
    if !is_alone {
        let only = view.query.with("currency", currency).address(&view.path);
        html.element("p", &[("class", "note")], |html| {
            html.leaf("a", &[("href", &only)], view.words().only_currency);
        });
    }
}

/// Ways on from the figures, and what they were measured against.
fn foot(html: &mut Html, view: &PageView, report: &StatisticsReport, zone: &TimeZone) {
    let (words, meta) = (view.words(), &report.meta);
    html.element("p", &[("class", "ways")], |html| {
        let sales = counted_sales(view, report).address(SALES_PATH);
        html.leaf("a", &[("href", &sales)], words.all_sales);
        html.raw(" ");
        export_links(html, view, "statistics");
    });
    html.element("p", &[("class", "note")], |html| {
        html.text(&compared(view, meta, zone));
        html.text(&format!(
            " {} {}.",
            words.definitions, meta.definitions_version
        ));
    });
}

/// Links to files of what is seen.
pub(crate) fn export_links(html: &mut Html, view: &PageView, name: &str) {
    let query = view.query.without(&["cursor", "limit"]);
    for (ending, format) in FILE_FORMATS.into_iter().zip(FORMAT_NAMES) {
        let address = query.address(&format!("{EXPORT_FOLDER}{name}.{ending}"));
        html.leaf("a", &[("href", &address), ("download", "")], format);
        html.raw(" ");
    }
}

#[cfg(test)]
#[path = "overview_tests.rs"]
mod tests;
