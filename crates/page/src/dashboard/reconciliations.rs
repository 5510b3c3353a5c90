//! Reconciliations: what was compared with others' figures, and what differed.
//!
//! Invariant: it shows what `tillhouse reconcile` kept, and counts nothing again; a window that was not compared whole is not called equal.

use super::document::{PageView, document, nothing};
use super::record_table::{ColumnForm, RecordTable, record_table};
use super::{RECONCILIATIONS_PATH, SALE_FOLDER, SALES_PATH};
use crate::html::Html;
use crate::view_query::ViewQuery;

/// Reconciliations, and what differed in one of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReconciliationsPage {
    /// Reconciliations of each pipeline, the newest first: `reconciliation_id`, `pipeline`, `yardstick`, `reconciled_at`, `window_from`, `window_to`, `windows`, `figures`,
    /// `differing`, `incomplete`.
    pub list: RecordTable,
    /// The one whose differences are there.
    pub chosen: Option<String>,
    /// Rows of `ops.reconciliations` that differ or are incomplete, with their `difference`.
    pub differences: RecordTable,
    /// Keys of the sales that these rows name.
    pub sales_to_look_at: Vec<String>,
}

/// The page on reconciliations.
pub fn reconciliations(view: &PageView, page: &ReconciliationsPage) -> String {
    let words = view.words();
    document(view, words.reconciliations, |html| {
        if page.list.is_empty() {
            nothing(
                html,
                words.no_reconciliations,
                words.no_reconciliations_hint,
            );
            return;
        }
        let columns = [
            ("reconciled_at", words.finished, ColumnForm::Instant),
            ("pipeline", words.pipeline, ColumnForm::Plain),
            ("yardstick", words.compared_with, ColumnForm::Plain),
            ("window_from", words.from, ColumnForm::Instant),
            ("window_to", words.to, ColumnForm::Instant),
            ("windows", words.windows, ColumnForm::Number),
            ("figures", words.figures, ColumnForm::Number),
            ("differing", words.differing, ColumnForm::Number),
            ("incomplete", words.incomplete, ColumnForm::Number),
            ("reconciliation_id", words.id, ColumnForm::Plain),
        ];
        record_table(
            html,
            view,
            words.reconciliations,
            &columns,
            &page.list,
            |row| {
                let id = page.list.value(row, "reconciliation_id")?;
                let chosen = view.kept().with("reconciliation", id);
                Some(chosen.address(RECONCILIATIONS_PATH))
            },
        );
        if let Some(chosen) = &page.chosen {
            html.leaf("h2", &[], &format!("{} {chosen}", words.differences));
            differences(html, view, &page.differences, &page.sales_to_look_at);
        }
    })
}

/// Adds what differed, each window with the way to its sales, and the sales to look at.
fn differences(html: &mut Html, view: &PageView, table: &RecordTable, to_look_at: &[String]) {
    let words = view.words();
    if table.is_empty() {
        html.leaf("p", &[("class", "note")], words.nothing_differs);
        return;
    }
    let columns = [
        ("window_from", words.from, ColumnForm::Instant),
        ("window_to", words.to, ColumnForm::Instant),
        ("pipeline", words.pipeline, ColumnForm::Plain),
        ("tenant", words.tenant, ColumnForm::Plain),
        ("outcome", words.outcome, ColumnForm::Plain),
        ("part", words.part, ColumnForm::Plain),
        ("label", words.label, ColumnForm::Plain),
        ("ours", words.ours, ColumnForm::Number),
        ("theirs", words.theirs, ColumnForm::Number),
        ("difference", words.difference, ColumnForm::Number),
        ("unit", words.unit, ColumnForm::Plain),
        ("currency", words.currencies, ColumnForm::Plain),
    ];
    record_table(html, view, words.differing, &columns, table, |row| {
        let sales = view.kept().without(&["period", "from", "to", "compare"]);
        let sales = sales.with("from", table.value(row, "window_from")?);
        Some(
            sales
                .with("to", table.value(row, "window_to")?)
                .address(SALES_PATH),
        )
    });
    if to_look_at.is_empty() {
        return;
    }
    html.leaf("h3", &[], words.sales_to_look_at);
    html.element("ul", &[], |html| {
        for key in to_look_at {
            html.element("li", &[], |html| {
                let address = view.kept().address(&ViewQuery::path(SALE_FOLDER, key));
                html.leaf("a", &[("href", &address)], key);
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&str], rows: &[&[&str]]) -> RecordTable {
        let text = |text: &&str| (!text.is_empty()).then(|| (*text).to_owned());
        RecordTable {
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            rows: rows
                .iter()
                .map(|row| row.iter().map(text).collect())
                .collect(),
        }
    }

    #[test]
    fn differences_lead_to_their_windows_and_to_the_sales_to_look_at() {
        let at = ["2026-01-05T10:00:00Z", "2026-01-05T11:00:00Z"];
        let page = ReconciliationsPage {
            list: table(
                &[
                    "reconciliation_id",
                    "reconciled_at",
                    "pipeline",
                    "differing",
                ],
                &[&["r1", at[0], "hecone", "1"]],
            ),
            chosen: Some("r1".to_owned()),
            sales_to_look_at: vec!["hecone:2".to_owned()],
            differences: table(
                &[
                    "window_from",
                    "window_to",
                    "part",
                    "ours",
                    "theirs",
                    "difference",
                ],
                &[&[at[0], at[1], "<b>", "1.0000", "2.5000", "1.5000"]],
            ),
        };
        let html = reconciliations(&PageView::default(), &page);
        for part in [
            "href=\"/reconciliations?reconciliation=r1\"",
            "href=\"/sales?from=2026-01-05T10%3A00%3A00Z&amp;to=2026-01-05T11%3A00%3A00Z\"",
            "<td class=\"plain\">&lt;b&gt;</td>",
            "<td class=\"number\">1.5</td>",
            "<a href=\"/sales/hecone%3A2\">hecone:2</a>",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }

    #[test]
    fn where_nothing_was_compared_or_nothing_differs_the_page_says_so() {
        let view = PageView::default();
        let words = view.words();
        let none = reconciliations(&view, &ReconciliationsPage::default());
        assert!(none.contains(words.no_reconciliations) && none.contains("tillhouse reconcile"));
        let equal = ReconciliationsPage {
            list: table(&["reconciliation_id"], &[&["r1"]]),
            chosen: Some("r1".to_owned()),
            ..ReconciliationsPage::default()
        };
        assert!(reconciliations(&view, &equal).contains(words.nothing_differs));
    }
}
