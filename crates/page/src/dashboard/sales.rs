//! The list of sales, a page at a time, and the page of one sale with what hangs on it.
//!
//! Invariant: a row leads to its sale, and the next page goes on in the run of the first.

use super::document::{PageView, document, nothing};
use super::overview::export_links;
use super::period_form::period_form;
use super::record_table::{ColumnForm, RecordTable, record, record_table};
use super::versions::way_to_versions;
use super::{SALE_FOLDER, SALES_PATH};
use crate::html::Html;
use crate::view_query::ViewQuery;
use std::collections::BTreeMap;
use tillhouse_model::Window;

/// Parameters that narrow the list beyond the form, which can be taken off one by one.
const NARROWING: [&str; 8] = [
    "currency",
    "site",
    "product",
    "payment_method",
    "weekday",
    "hour",
    "counted",
    "as_of",
];
/// The same of figures.
pub(crate) const OF_FIGURES: [&str; 3] = ["site", "states", "as_of"];

/// A page of the list of sales.
#[derive(Debug, Clone, Default)]
pub struct SalesPage {
    /// The window that is listed; none where all of it is.
    pub window: Option<Window>,
    /// Columns of `unified.transactions`.
    pub sales: RecordTable,
    /// Names of the sites, by key.
    pub site_names: BTreeMap<String, String>,
    /// Parameters of the next page; none where this is the last.
    pub next: Option<ViewQuery>,
}

/// The list of sales.
pub fn sales(view: &PageView, page: &SalesPage) -> String {
    let (words, zone) = (view.words(), view.zone());
    let title = match &page.window {
        Some(window) => format!("{}, {}", words.sales, view.language.window(window, &zone)),
        None => words.sales.to_owned(),
    };
    document(view, &title, |html| {
        period_form(html, view);
        let site = view.query.get("site");
        let site = site.and_then(|key| page.site_names.get(key));
        narrowed(html, view, &NARROWING, site.map(String::as_str));
        if page.sales.is_empty() {
            nothing(html, words.no_sale_passes, words.nothing_sold_hint);
            return;
        }
        let table = with_names(page);
        let columns = [
            ("occurred_at", words.time, ColumnForm::Instant),
            // Before what a narrow screen has no place for.
            ("amount", words.amount, ColumnForm::Amount),
            ("site", words.site, ColumnForm::Plain),
            ("category", words.category, ColumnForm::Plain),
            ("kind", words.kind, ColumnForm::Plain),
            ("state", words.state, ColumnForm::Plain),
        ];
        record_table(html, view, words.sales, &columns, &table, |row| {
            let key = table.value(row, "transaction_key")?;
            let kept = view.kept().without(&["site"]);
            Some(kept.address(&ViewQuery::path(SALE_FOLDER, key)))
        });
        html.element(
            "nav",
            &[("class", "ways"), ("aria-label", words.pages_of_list)],
            |html| {
                if view.query.get("cursor").is_some() {
                    let first = view.query.without(&["cursor"]).address(SALES_PATH);
                    html.leaf("a", &[("href", &first)], words.first_page);
                    html.raw(" ");
                }
                if let Some(next) = &page.next {
                    let next = next.address(SALES_PATH);
                    html.leaf("a", &[("href", &next), ("rel", "next")], words.next_page);
                    html.raw(" ");
                }
                export_links(html, view, "sales");
            },
        );
        html.leaf("p", &[("class", "note")], words.export_note);
    })
}

/// The rows with the names of their sites.
fn with_names(page: &SalesPage) -> RecordTable {
    let mut table = page.sales.clone();
    table.columns.push("site".to_owned());
    for row in 0..table.rows.len() {
        let key = page.sales.value(row, "site_key");
        let name = key.map(|key| page.site_names.get(key).map_or(key, String::as_str));
        if let Some(values) = table.rows.get_mut(row) {
            values.push(name.map(str::to_owned));
        }
    }
    table
}

/// Narrowings of a page, each with a link that takes it off; `site` is the name of the site among them.
pub(crate) fn narrowed(
    html: &mut Html,
    view: &PageView,
    names: &[&'static str],
    site: Option<&str>,
) {
    let words = view.words();
    let given: Vec<(&str, &str)> = names
        .iter()
        .filter_map(|name| Some((*name, view.query.get(name)?)))
        .collect();
    if given.is_empty() {
        return;
    }
    html.element(
        "ul",
        &[("class", "narrowed"), ("aria-label", words.narrowed)],
        |html| {
            for (name, value) in given {
                let said = match name {
                    "currency" => value.to_owned(),
                    "site" => format!("{} {}", words.site, site.unwrap_or(value)),
                    "states" => format!("{} {value}", words.state),
                    "as_of" => format!("{} {value}", words.run),
                    "product" => format!("{} {value}", words.article),
                    "payment_method" => format!("{} {value}", words.payment_method),
                    "weekday" => {
                        let at = value.parse::<usize>().unwrap_or(1).saturating_sub(1);
                        let names = view.language.weekdays();
                        names.get(at).copied().unwrap_or_default().to_owned()
                    }
                    "hour" => format!("{value}:00\u{2013}{value}:59, {}", words.sites_clock),
                    _ => words.counted_alone.to_owned(),
                };
                html.element("li", &[], |html| {
                    html.text(&said);
                    html.raw(" ");
                    let without = view.query.without(&[name, "cursor"]).address(&view.path);
                    let label = format!("{}: {said}", words.take_off);
                    html.leaf("a", &[("href", &without), ("aria-label", &label)], "\u{d7}");
                });
            }
        },
    );
    html.raw("\n");
}

/// A sale, and what hangs on it.
#[derive(Debug, Clone, Default)]
pub struct SaleParts {
    /// Its row of `unified.transactions`.
    pub sale: RecordTable,
    /// Its articles.
    pub articles: RecordTable,
    /// Its payments.
    pub payments: RecordTable,
    /// Its events.
    pub events: RecordTable,
    /// Name of its site.
    pub site_name: Option<String>,
}

/// The page of a sale.
pub fn sale(view: &PageView, key: &str, parts: &SaleParts) -> String {
    let view = &view.at_site(parts.sale.value(0, "timezone"));
    let (words, zone) = (view.words(), view.zone());
    let at = ColumnForm::Instant.shown(view, &zone, (&parts.sale, 0), "occurred_at");
    let amount = ColumnForm::Amount.shown(view, &zone, (&parts.sale, 0), "amount");
    document(view, &format!("{} {key}", words.sale), |html| {
        html.element("p", &[("class", "headline")], |html| {
            let said: Vec<String> = [amount, at]
                .into_iter()
                .filter(|said| !said.is_empty())
                .collect();
            html.text(&said.join(" \u{b7} "));
            if let Some(site) = parts.sale.value(0, "site_key") {
                html.raw(" \u{b7} ");
                // Of one without a name no more than the key may be known.
                let address = match parts.site_name {
                    Some(_) => view
                        .kept()
                        .address(&ViewQuery::path(super::SITE_FOLDER, site)),
                    None => view.kept().with("site", site).address(SALES_PATH),
                };
                let name = parts.site_name.as_deref().unwrap_or(site);
                html.leaf("a", &[("href", &address)], name);
            }
        });
        way_to_versions(html, view, key);
        articles(html, view, &parts.articles);
        payments(html, view, &parts.payments);
        events(html, view, &parts.events);
        html.leaf("h2", &[], words.all_fields);
        record(html, view, &parts.sale, 0);
    })
}

fn articles(html: &mut Html, view: &PageView, table: &RecordTable) {
    let words = view.words();
    let columns = [
        ("name", words.article, ColumnForm::Plain),
        ("quantity", words.quantity, ColumnForm::Number),
        ("unit_measure", words.unit, ColumnForm::Plain),
        ("unit_price", words.unit_price, ColumnForm::Amount),
        ("tax_percentage", words.tax, ColumnForm::Number),
        ("state", words.state, ColumnForm::Plain),
        ("amount", words.amount, ColumnForm::Amount),
    ];
    part(html, view, words.articles, &columns, table);
}

fn payments(html: &mut Html, view: &PageView, table: &RecordTable) {
    let words = view.words();
    let columns = [
        ("created_at", words.time, ColumnForm::Instant),
        ("method", words.payment_method, ColumnForm::Plain),
        ("type", words.kind, ColumnForm::Plain),
        ("scheme", words.scheme, ColumnForm::Plain),
        ("state", words.state, ColumnForm::Plain),
        ("amount", words.amount, ColumnForm::Amount),
    ];
    part(html, view, words.payments, &columns, table);
}

fn events(html: &mut Html, view: &PageView, table: &RecordTable) {
    let words = view.words();
    let columns = [
        ("occurred_at", words.time, ColumnForm::Instant),
        ("code", words.code, ColumnForm::Plain),
        ("description", words.description, ColumnForm::Plain),
        ("level", words.level, ColumnForm::Plain),
        ("resolved_at", words.resolved, ColumnForm::Instant),
    ];
    part(html, view, words.events, &columns, table);
}

/// Adds a part of a sale, or that there is none of it.
fn part(
    html: &mut Html,
    view: &PageView,
    title: &str,
    columns: &[(&'static str, &str, ColumnForm)],
    table: &RecordTable,
) {
    match table.is_empty() {
        true => {
            html.leaf("h2", &[], title);
            html.leaf("p", &[("class", "note")], view.words().none);
        }
        false => record_table(html, view, title, columns, table, |_| None),
    }
}
