//! Rankings: what brought in most, with a bar and its share each.
//!
//! Invariant: a ranking is of one currency, or of one unit of measure; a share is of what the ranking lists, and stands nowhere where that is not a whole.

use super::document::PageView;
use super::{NO_SITE, SALES_PATH};
use crate::html::Html;
use crate::numbers::per_cent;
use crate::view_query::ViewQuery;
use tillhouse_model::ExactDecimal;
use tillhouse_statistics::report::CurrencyStatistics;

/// Rows that are shown at once; the others are a click away.
const ROWS: usize = 8;
/// Label of what nothing is known of.
pub(crate) const UNKNOWN: &str = "unknown";

/// Row of a ranking.
struct RankedRow {
    label: String,
    /// Its figure, as it is shown.
    shown: String,
    /// Its figure, as bars are measured.
    size: i128,
    /// Address of the sales behind it, where a list of sales can be narrowed to them.
    address: Option<String>,
}

/// Adds the rankings of one currency; `sales` are its sales.
pub(crate) fn rankings(
    html: &mut Html,
    view: &PageView,
    entry: &CurrencyStatistics,
    sales: &ViewQuery,
) {
    let (words, language) = (view.words(), view.language);
    let of_site = |key: &Option<String>| {
        let key = key.as_deref().unwrap_or(NO_SITE);
        Some(sales.with("site", key).address(SALES_PATH))
    };
    // A row that adds up several products has no one key to narrow by.
    let of_product = |key: Option<&str>| Some(sales.with("product", key?).address(SALES_PATH));
    let of_method = |method: &str| Some(sales.with("payment_method", method).address(SALES_PATH));
    let money = |label: &str, amount: ExactDecimal, address: Option<String>| RankedRow {
        label: label.to_owned(),
        shown: language.amount(amount, &entry.currency),
        size: amount.units,
        address,
    };
    html.element("div", &[("class", "rankings")], |html| {
        let sites = entry.sites_amount_ranking.iter();
        let sites: Vec<RankedRow> = sites
            .map(|row| money(&row.site_name, row.amount, of_site(&row.site_key)))
            .collect();
        ranking(html, view, words.sites_by_revenue, &entry.currency, &sites);
        let sites = entry.sites_transactions_ranking.iter();
        let sites: Vec<RankedRow> = sites
            .map(|row| RankedRow {
                label: row.site_name.clone(),
                shown: language.count(row.transactions),
                size: i128::from(row.transactions),
                address: of_site(&row.site_key),
            })
            .collect();
        ranking(html, view, words.sites_by_sales, "", &sites);
        for unit in &entry.article_quantities_ranking {
            let articles = &unit.articles_quantities;
            let scale = articles.iter().map(|row| row.quantity.scale).max();
            let size = |quantity: ExactDecimal| {
                let scaled = quantity.rescaled(scale.unwrap_or(0));
                scaled.map_or(0, |quantity| quantity.units)
            };
            let rows: Vec<RankedRow> = articles
                .iter()
                .map(|row| RankedRow {
                    label: row.article_name.clone(),
                    shown: language.quantity(row.quantity),
                    size: size(row.quantity),
                    address: of_product(row.product_key.as_deref()),
                })
                .collect();
            ranking(html, view, words.articles, &unit.unit_measure, &rows);
        }
        let methods = entry.payment_method_ranking.iter();
        let methods: Vec<RankedRow> = methods
            .map(|row| {
                money(
                    &row.payment_method,
                    row.amount,
                    of_method(&row.payment_method),
                )
            })
            .collect();
        ranking(html, view, words.payment_methods, &entry.currency, &methods);
    });
    html.raw("\n");
}

fn ranking(html: &mut Html, view: &PageView, title: &str, unit: &str, rows: &[RankedRow]) {
    if rows.iter().all(|row| row.label == UNKNOWN) {
        return;
    }
    let most = rows.iter().map(|row| row.size).max().unwrap_or(0);
    let whole: i128 = match rows.iter().any(|row| row.size < 0) {
        true => 0,
        false => rows.iter().map(|row| row.size).sum(),
    };
    html.element("section", &[("class", "ranking")], |html| {
        html.element("h3", &[], |html| {
            html.text(title);
            html.raw(" ");
            html.leaf("span", &[("class", "note")], unit);
        });
        html.element("ol", &[], |html| {
            for row in rows.iter().take(ROWS) {
                item(html, view, row, (most, whole));
            }
        });
        if rows.len() > ROWS {
            html.element("details", &[], |html| {
                let more = format!("{} {}", rows.len() - ROWS, view.words().more);
                html.leaf("summary", &[], &more);
                let start = (ROWS + 1).to_string();
                html.element("ol", &[("start", &start)], |html| {
                    for row in rows.iter().skip(ROWS) {
                        item(html, view, row, (most, whole));
                    }
                });
            });
        }
    });
}

fn item(html: &mut Html, view: &PageView, row: &RankedRow, (most, whole): (i128, i128)) {
    html.element("li", &[], |html| {
        match &row.address {
            Some(address) => {
                html.leaf("a", &[("class", "label"), ("href", address)], &row.label);
            }
            None => html.leaf("span", &[("class", "label")], &row.label),
        }
        html.element("span", &[("class", "amount")], |html| {
            html.text(&row.shown);
            if let Some(share) = view.language.share(row.size, whole) {
                html.raw(" ");
                html.leaf("span", &[("class", "share")], &share);
            }
        });
        let length = per_cent(row.size, most);
        let bar = [
            ("class", "bar"),
            ("viewBox", "0 0 100 1"),
            ("preserveAspectRatio", "none"),
            ("aria-hidden", "true"),
        ];
        html.element("svg", &bar, |html| {
            html.leaf("rect", &[("width", &length), ("height", "1")], "");
        });
    });
}
