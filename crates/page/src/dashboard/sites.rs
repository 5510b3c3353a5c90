//! The sites with what each sold, where they are, and which of them sold nothing; and the page of one site.
//!
//! Invariant: the map is drawn from the sites' own coordinates on a plain grid, and asks nobody for a picture of the ground.

use super::document::{PageView, document, nothing};
use super::overview::name_of_site;
use super::period_form::period_form;
use super::record_table::{ColumnForm, RecordTable, record, record_table};
use super::sales::narrowed;
use super::trust::trust_line;
use super::{NO_SITE, OVERVIEW_PATH, SALES_PATH, SITE_FOLDER};
use crate::html::Html;
use crate::view_query::ViewQuery;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::{ExactDecimal, Window};
use tillhouse_statistics::report::{CurrencyStatistics, StatisticsReport};

/// Parameters that narrow the page beyond the form, which can be taken off one by one.
const NARROWING: [&str; 4] = ["currency", "site", "states", "as_of"];
/// Digits after the point that a place on the map is told by.
const MAP_DIGITS: u8 = 4;
/// Length of the map's longer side, in units of the drawing.
const MAP_SIDE: i128 = 1_000;

/// The list of sites.
#[derive(Debug, Clone)]
pub struct SitesPage {
    /// Columns of `unified.sites`.
    pub sites: RecordTable,
    /// Time of the last sale of each site that ever had one, by key.
    pub last_sales: BTreeMap<String, String>,
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
        map(html, view, &page.sites);
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
    last_sales: &BTreeMap<String, String>,
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
        values.push(last_sales.get(key).cloned());
        values.push(Some(counts));
        values.push(Some(amounts.join(" \u{b7} ")));
    }
    table
}

/// A site on the map: its row, and where it is, in ten-thousandths of a degree.
type MapPoint = (usize, i128, i128);

/// Adds the map, where two sites or more say where they are.
fn map(html: &mut Html, view: &PageView, sites: &RecordTable) {
    let degree = |row: usize, column: &str| {
        let value = ExactDecimal::parse(sites.value(row, column)?)?;
        value.floor(MAP_DIGITS).map(|(units, _)| units)
    };
    let points: Vec<MapPoint> = (0..sites.rows.len())
        .filter_map(|row| Some((row, degree(row, "longitude")?, degree(row, "latitude")?)))
        .collect();
    let ends = |of: fn(&MapPoint) -> i128| {
        let all = points.iter().map(of);
        all.clone().min().zip(all.max()).unwrap_or((0, 0))
    };
    let ((west, east), (south, north)) = (ends(|point| point.1), ends(|point| point.2));
    let side = (east - west).max(north - south);
    if points.len() < 2 || side == 0 {
        return;
    }
    let words = view.words();
    let scaled = |units: i128| units * MAP_SIDE / side;
    let (width, height) = (scaled(east - west), scaled(north - south));
    let view_box = format!("-30 -30 {} {}", width + 60, height + 60);
    html.element("figure", &[("class", "chart map")], |html| {
        html.leaf("h3", &[], words.map);
        html.leaf("p", &[("class", "note")], words.map_note);
        let attributes = [
            ("viewBox", view_box.as_str()),
            ("role", "img"),
            ("aria-label", words.map),
        ];
        html.element("svg", &attributes, |html| {
            for (row, longitude, latitude) in &points {
                let x = scaled(longitude - west).to_string();
                let y = scaled(north - latitude).to_string();
                let link = address(view, sites, *row).unwrap_or_default();
                html.element("a", &[("href", &link), ("tabindex", "-1")], |html| {
                    let name = sites.value(*row, "name");
                    let name = name.or_else(|| sites.value(*row, "site_key"));
                    html.leaf("title", &[], name.unwrap_or_default());
                    html.leaf("circle", &[("cx", &x), ("cy", &y), ("r", "12")], "");
                });
            }
        });
    });
    html.raw("\n");
}

/// The page of a site, of its row and those of its devices.
pub fn site(view: &PageView, key: &str, site: &RecordTable, devices: &RecordTable) -> String {
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
