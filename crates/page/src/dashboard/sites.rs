//! The sites with what each sold, where they are, and which of them sold nothing; and the page of one site.
//!
//! Invariant: a site that sold something is on the page, also where no more than its key is known, and so is one that sold nothing.

use super::document::{PageView, document, nothing};
use super::overview::name_of_site;
use super::period_form::period_form;
use super::record_table::{ColumnForm, RecordTable, record, record_table};
use super::sales::narrowed;
use super::site_map::site_map;
use super::trust::trust_line;
use super::{NO_SITE, OVERVIEW_PATH, SALES_PATH, SITE_FOLDER};
use crate::view_query::ViewQuery;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::{ExactDecimal, Window};
use tillhouse_statistics::report::{CurrencyStatistics, StatisticsReport};

/// Parameters that narrow the page beyond the form, which can be taken off one by one.
const NARROWING: [&str; 4] = ["currency", "site", "states", "as_of"];

/// The list of sites.
#[derive(Debug, Clone)]
pub struct SitesPage {
    /// Columns of `unified.sites`.
    pub sites: RecordTable,
    /// Time of the last sale of each site that ever had one, by key.
    pub last_sales: BTreeMap<String, Timestamp>,
    /// Statistics of the view's period.
    pub report: StatisticsReport,
}

/// Sales of a site in a currency.
type SiteSales = (String, i64, Option<ExactDecimal>);

/// The list of sites.
pub fn sites(view: &PageView, page: &SitesPage) -> String {
    let (words, zone, meta) = (view.words(), view.zone(), &page.report.meta);
    let window = Window::new(meta.from, meta.to).ok();
    let period = window.map(|window| view.language.window(&window, &zone));
    let title = format!("{}, {}", words.sites, period.unwrap_or_default());
    let sold = sold(&page.report, view.query.get("currency"));
    let sites = with_unlisted(&page.sites, &sold);
    document(view, &title, |html| {
        period_form(html, view);
        narrowed(html, view, &NARROWING, name_of_site(view, &page.report));
        trust_line(html, view, meta, &zone);
        if sites.is_empty() {
            nothing(html, words.no_sites, words.no_sites_hint);
            return;
        }
        let count = |key: &str| {
            let sales = sold.get(key).into_iter().flatten();
            sales.map(|(_, count, _)| count).sum::<i64>()
        };
        let page_of = |row| address(view, &page.sites, row);
        site_map(html, view, &page.sites, count, page_of);
        let table = with_sales(view, &sites, &page.last_sales, &sold);
        let columns = [
            ("shown_name", words.site, ColumnForm::Plain),
            ("city", words.city, ColumnForm::Plain),
            ("last_sale", words.last_sale, ColumnForm::Instant),
            ("sales", words.sales, ColumnForm::Plain),
            ("revenue", words.revenue, ColumnForm::Plain),
        ];
        record_table(html, view, words.sites, &columns, &table, |row| {
            match row < page.sites.rows.len() {
                true => address(view, &sites, row),
                false => {
                    let key = sites.value(row, "site_key")?;
                    Some(view.kept().with("site", key).address(SALES_PATH))
                }
            }
        });
    })
}

fn address(view: &PageView, sites: &RecordTable, row: usize) -> Option<String> {
    let key = sites.value(row, "site_key")?;
    Some(view.kept().address(&ViewQuery::path(SITE_FOLDER, key)))
}

/// The sites, and behind them those that sold something and of which no more than a key is known, or not even that.
fn with_unlisted(sites: &RecordTable, sold: &BTreeMap<&str, Vec<SiteSales>>) -> RecordTable {
    let mut table = sites.clone();
    if table.columns.is_empty() {
        table.columns.push("site_key".to_owned());
    }
    let rows = 0..sites.rows.len();
    let listed: BTreeSet<&str> = rows
        .filter_map(|row| sites.value(row, "site_key"))
        .collect();
    for key in sold.keys().filter(|key| !listed.contains(*key)) {
        let values = table
            .columns
            .iter()
            .map(|column| (column == "site_key").then(|| (*key).to_owned()));
        let values = values.collect();
        table.rows.push(values);
    }
    table
}

/// Sales of the report by site, those of each currency, or of `only` one, apart; those without a site under [`NO_SITE`].
fn sold<'a>(report: &'a StatisticsReport, only: Option<&str>) -> BTreeMap<&'a str, Vec<SiteSales>> {
    let mut sold: BTreeMap<&str, Vec<SiteSales>> = BTreeMap::new();
    let is_asked = |entry: &&CurrencyStatistics| only.is_none_or(|only| entry.currency == only);
    for entry in report.data.iter().filter(is_asked) {
        let amounts = entry.sites_amount_ranking.iter();
        let amounts: BTreeMap<&str, ExactDecimal> = amounts
            .map(|row| (row.site_key.as_deref().unwrap_or(NO_SITE), row.amount))
            .collect();
        for row in &entry.sites_transactions_ranking {
            let key = row.site_key.as_deref().unwrap_or(NO_SITE);
            let sales = (
                entry.currency.clone(),
                row.transactions,
                amounts.get(key).copied(),
            );
            sold.entry(key).or_default().push(sales);
        }
    }
    sold
}

/// The sites with their names as they are shown, and what each sold.
fn with_sales(
    view: &PageView,
    sites: &RecordTable,
    last_sales: &BTreeMap<String, Timestamp>,
    sold: &BTreeMap<&str, Vec<SiteSales>>,
) -> RecordTable {
    let words = view.words();
    let mut table = sites.clone();
    table
        .columns
        .extend(["shown_name", "last_sale", "sales", "revenue"].map(str::to_owned));
    for (row, values) in table.rows.iter_mut().enumerate() {
        let key = sites.value(row, "site_key").unwrap_or_default();
        let name = match key {
            NO_SITE => words.no_site,
            key => sites.value(row, "name").unwrap_or(key),
        };
        let of_site = sold.get(key).map(Vec::as_slice).unwrap_or_default();
        let counts: Vec<String> = of_site
            .iter()
            .map(|(_, sales, _)| view.language.count(*sales))
            .collect();
        let amounts: Vec<String> = of_site
            .iter()
            .filter_map(|(currency, _, amount)| Some(view.language.money((*amount)?, currency)))
            .collect();
        let counts = match counts.is_empty() {
            true => words.no_sales_here.to_owned(),
            false => counts.join(" \u{b7} "),
        };
        values.push(Some(name.to_owned()));
        values.push(last_sales.get(key).map(Timestamp::to_string));
        values.push(Some(counts));
        values.push(Some(amounts.join(" \u{b7} ")));
    }
    table
}

/// The page of a site, of its row and those of its devices.
pub fn site(view: &PageView, key: &str, site: &RecordTable, devices: &RecordTable) -> String {
    let view = &view.at_site(site.value(0, "timezone"));
    let words = view.words();
    let name = site.value(0, "name").unwrap_or(key);
    document(view, name, |html| {
        let of_site = view.kept().with("site", key);
        html.element("p", &[("class", "ways")], |html| {
            html.leaf(
                "a",
                &[("href", &of_site.address(OVERVIEW_PATH))],
                words.figures_of_site,
            );
            html.raw(" ");
            html.leaf(
                "a",
                &[("href", &of_site.address(SALES_PATH))],
                words.sales_of_site,
            );
        });
        record(html, view, site, 0);
        let columns = [
            ("name", words.device, ColumnForm::Plain),
            ("code", words.code, ColumnForm::Plain),
            ("kind", words.kind, ColumnForm::Plain),
            ("device_key", words.key, ColumnForm::Plain),
        ];
        if !devices.is_empty() {
            record_table(html, view, words.devices, &columns, devices, |_| None);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_report::report;
    use tillhouse_statistics::report::{SiteAmount, SiteTransactions};

    #[test]
    fn sales_of_sites_that_nothing_is_known_of_are_on_the_page() {
        let mut report = report("Harbour");
        let sold: [(Option<&str>, i64); 2] = [(Some("hecone:9"), 3), (None, 2)];
        let key = |key: Option<&str>| key.map(str::to_owned);
        report.data[0].sites_transactions_ranking = sold
            .map(|(site, transactions)| SiteTransactions {
                site_name: "unknown".into(),
                transactions,
                site_key: key(site),
            })
            .to_vec();
        report.data[0].sites_amount_ranking = sold
            .map(|(site, amount)| SiteAmount {
                amount: ExactDecimal::new(i128::from(amount), 0),
                site_name: "unknown".into(),
                site_key: key(site),
            })
            .to_vec();
        let page = SitesPage {
            sites: RecordTable {
                columns: ["site_key", "name"].map(str::to_owned).to_vec(),
                rows: vec![
                    ["hecone:1", "Harbour"]
                        .map(|text| Some(text.to_owned()))
                        .to_vec(),
                ],
            },
            last_sales: BTreeMap::new(),
            report,
        };
        let html = sites(&PageView::default(), &page);
        for part in [
            "<a href=\"/sites/hecone%3A1\">Harbour</a>",
            "<a href=\"/sales?site=hecone%3A9\">hecone:9</a>",
            "<a href=\"/sales?site=none\">Without a site</a>",
            ">3.00\u{a0}EUR<",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }
}
