//! Restatement: figures of the past that are not what they were when an earlier run was published, and the sales behind that.
//!
//! Invariant: it says what `tillhouse restated` says, of the same two runs; a sale that is there still leads to its page.

use super::document::{PageView, document, nothing};
use super::period_form::{hidden_fields, labelled};
use super::record_table::{ColumnForm, RecordTable, record_table};
use super::{RESTATED_PATH, SALE_FOLDER};
use crate::html::Html;
use crate::view_query::ViewQuery;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::ExactDecimal;
use tillhouse_statistics::restated::{
    ChangedTransaction, RestatedFigure, RestatedReport, TransactionVersion,
};

/// Most lines of a table of figures.
const LINES: usize = 500;

/// What was restated, and runs that can be compared with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RestatedPage {
    /// None where nothing had been published by the time that is compared with.
    pub report: Option<RestatedReport>,
    /// Published runs, the newest first: `run_id`, `finished_at`, `command`.
    pub runs: RecordTable,
    /// Time zones of the sites, by key.
    pub site_zones: BTreeMap<String, String>,
}

/// The page on what was restated.
pub fn restated(view: &PageView, page: &RestatedPage) -> String {
    let (words, zone) = (view.words(), view.zone());
    document(view, words.restated_page, |html| {
        since_form(html, view);
        match &page.report {
            None => nothing(html, words.no_earlier_run, words.no_earlier_run_hint),
            Some(report) => {
                let since = view.language.instant(report.meta.since_finished_at, &zone);
                let since = format!(
                    "{} {since} ({}).",
                    words.compared_with_run, report.meta.since
                );
                html.leaf("p", &[], &since);
                if report.meta.hours_first_read > 0 {
                    let many = view.language.count(report.meta.hours_first_read);
                    let said = format!("{}: {many}.", words.hours_first_read);
                    html.leaf("p", &[("class", "note")], &said);
                }
                match report.days.is_empty() && report.transactions.is_empty() {
                    true => nothing(html, words.nothing_restated, words.nothing_restated_hint),
                    false => changes(html, view, report, &page.site_zones),
                }
            }
        }
        runs(html, view, &page.runs);
    })
}

/// Adds the form that chooses what is compared with.
pub(crate) fn since_form(html: &mut Html, view: &PageView) {
    let words = view.words();
    let attributes = [
        ("class", "view since"),
        ("method", "get"),
        ("action", RESTATED_PATH),
        ("aria-label", words.since),
    ];
    html.element("form", &attributes, |html| {
        hidden_fields(html, view, &["since"]);
        labelled(html, words.since, |html| {
            html.open(
                "input",
                &[
                    ("name", "since"),
                    ("value", view.query.get("since").unwrap_or_default()),
                    ("placeholder", "2026-01-31"),
                    ("autocomplete", "off"),
                    ("spellcheck", "false"),
                ],
            );
        });
        html.leaf("button", &[("type", "submit")], words.show);
    });
    html.leaf("p", &[("class", "note")], words.since_note);
}

fn changes(
    html: &mut Html,
    view: &PageView,
    report: &RestatedReport,
    site_zones: &BTreeMap<String, String>,
) {
    let words = view.words();
    figures(html, view, words.restated_days, &report.days);
    figures(html, view, words.restated_months, &report.months);
    html.element("details", &[], |html| {
        html.leaf("summary", &[], words.restated_hours);
        figures(html, view, words.restated_hours, &report.hours);
    });
    transactions(html, view, report, site_zones);
}

/// Adds figures that are not what they were.
fn figures(html: &mut Html, view: &PageView, title: &str, figures: &[RestatedFigure]) {
    let words = view.words();
    let exact = |value: ExactDecimal| Some(value.to_string());
    let rows = figures.iter().take(LINES).map(|figure| {
        let unit = figure.unit.as_deref().unwrap_or(&figure.currency);
        vec![
            Some(figure.period.clone()),
            Some(figure.figure.clone()),
            Some(unit.to_owned()),
            exact(figure.then),
            exact(figure.now),
            exact(figure.difference),
        ]
    });
    let columns = ["period", "figure", "unit", "then", "now", "difference"];
    let table = RecordTable {
        columns: columns.map(str::to_owned).to_vec(),
        rows: rows.collect(),
    };
    let columns = [
        ("period", words.period, ColumnForm::Plain),
        ("figure", words.figure, ColumnForm::Plain),
        ("unit", words.unit, ColumnForm::Plain),
        ("then", words.then, ColumnForm::Number),
        ("now", words.now, ColumnForm::Number),
        ("difference", words.difference, ColumnForm::Number),
    ];
    record_table(html, view, title, &columns, &table, |_| None);
    if figures.len() > LINES {
        let more = i64::try_from(figures.len() - LINES).unwrap_or(i64::MAX);
        let said = format!("{} {}", view.language.count(more), words.more);
        html.leaf("p", &[("class", "note")], &said);
    }
}

/// A value of both versions of a sale, or of the one it has.
fn both(of: &ChangedTransaction, value: impl Fn(&TransactionVersion) -> Option<String>) -> String {
    let text = |version: &Option<TransactionVersion>| {
        let value = version.as_ref().and_then(&value);
        value.unwrap_or_default()
    };
    let (then, now) = (text(&of.then), text(&of.now));
    match then == now {
        true => now,
        false => format!("{then} \u{2192} {now}"),
    }
}

/// Adds the sales behind the changes, those that weigh most first.
fn transactions(
    html: &mut Html,
    view: &PageView,
    report: &RestatedReport,
    site_zones: &BTreeMap<String, String>,
) {
    let words = view.words();
    let rows = report.transactions.iter().map(|of| {
        let newest = of.now.as_ref().or(of.then.as_ref());
        let site = newest.and_then(|version| version.site_key.as_ref());
        vec![
            Some(of.transaction_key.clone()),
            newest.and_then(|version| version.occurred_at.map(|at| at.to_string())),
            Some(of.change.clone()),
            Some(of.what.join(", ")),
            Some(both(of, |version| version.state.clone())),
            Some(both(of, |version| {
                let currency = version.currency.as_deref().unwrap_or_default();
                Some(view.language.money(version.amount?, currency))
            })),
            site.and_then(|site| site_zones.get(site).cloned()),
        ]
    });
    let columns = [
        "key",
        "occurred_at",
        "change",
        "what",
        "state",
        "amount",
        "timezone",
    ];
    let table = RecordTable {
        columns: columns.map(str::to_owned).to_vec(),
        rows: rows.collect(),
    };
    if table.is_empty() {
        return;
    }
    let columns = [
        ("key", words.sale, ColumnForm::Plain),
        ("occurred_at", words.time, ColumnForm::Instant),
        ("change", words.change, ColumnForm::Plain),
        ("what", words.changed_fields, ColumnForm::Plain),
        ("state", words.state, ColumnForm::Plain),
        ("amount", words.amount, ColumnForm::Plain),
    ];
    record_table(html, view, words.changed_sales, &columns, &table, |row| {
        let of = report.transactions.get(row)?;
        of.now.as_ref()?;
        let path = ViewQuery::path(SALE_FOLDER, &of.transaction_key);
        Some(view.kept().address(&path))
    });
    let listed = i64::try_from(report.transactions.len()).unwrap_or(i64::MAX);
    let more = report.meta.transactions_changed.saturating_sub(listed);
    if more > 0 {
        let said = format!("{} {}", view.language.count(more), words.more);
        html.leaf("p", &[("class", "note")], &said);
    }
}

/// The line of the first view on what was restated since the day began.
pub fn restated_line(view: &PageView, report: &RestatedReport) -> String {
    let words = view.words();
    let days: BTreeSet<&str> = report.days.iter().map(|day| day.period.as_str()).collect();
    if days.is_empty() {
        return words.nothing_restated_since_yesterday.to_owned();
    }
    let days = view
        .language
        .count(i64::try_from(days.len()).unwrap_or(i64::MAX));
    let sales = view.language.count(report.meta.transactions_changed);
    format!(
        "{}: {} {days}, {} {sales}.",
        words.restated_since_yesterday, words.days, words.sales
    )
}

/// Adds the runs that can be compared with.
fn runs(html: &mut Html, view: &PageView, runs: &RecordTable) {
    let words = view.words();
    if runs.is_empty() {
        return;
    }
    let columns = [
        ("finished_at", words.finished, ColumnForm::Instant),
        ("command", words.command, ColumnForm::Plain),
        ("run_id", words.run, ColumnForm::Plain),
    ];
    record_table(
        html,
        view,
        words.compare_with_a_run,
        &columns,
        runs,
        |row| {
            let run = runs.value(row, "run_id")?;
            Some(view.query.with("since", run).address(RESTATED_PATH))
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;
    use tillhouse_statistics::restated::RestatedMeta;

    fn report() -> RestatedReport {
        let version = |state: &str, amount: i128| TransactionVersion {
            occurred_at: Some("2026-01-05T10:00:00Z".parse().unwrap()),
            kind: Some("sale".to_owned()),
            state: Some(state.to_owned()),
            currency: Some("EUR".to_owned()),
            amount: Some(ExactDecimal::new(amount, 4)),
            collected: None,
            site_key: Some("p:s".to_owned()),
        };
        let sale = |key: &str, then, now| ChangedTransaction {
            transaction_key: key.to_owned(),
            change: "changed".to_owned(),
            what: vec!["state".to_owned(), "amount".to_owned()],
            then,
            now,
        };
        let (then, now) = (version("<b>", 100_000), version("completed", 125_000));
        RestatedReport {
            months: Vec::new(),
            days: vec![RestatedFigure {
                period: "2026-01-05".to_owned(),
                currency: "EUR".to_owned(),
                figure: "amount".to_owned(),
                unit: None,
                then: ExactDecimal::new(100_000, 4),
                now: ExactDecimal::new(125_000, 4),
                difference: ExactDecimal::new(25_000, 4),
            }],
            hours: Vec::new(),
            transactions: vec![
                sale("p:1", Some(then.clone()), Some(now)),
                sale("p:2", Some(then), None),
            ],
            meta: RestatedMeta {
                since: "20260105T000000Z-000000".to_owned(),
                since_finished_at: "2026-01-05T23:00:00Z".parse().unwrap(),
                run: "20260106T000000Z-000000".to_owned(),
                tenant: None,
                source: None,
                perspective: "sale".to_owned(),
                states: Vec::new(),
                hours_first_read: 7,
                transactions_changed: 5,
                gaps: Vec::new(),
                before_start: Vec::new(),
            },
        }
    }

    #[test]
    fn what_was_restated_is_told_with_the_sales_behind_it() {
        let view = PageView::default();
        let page = RestatedPage {
            report: Some(report()),
            runs: RecordTable {
                columns: vec!["finished_at".to_owned(), "run_id".to_owned()],
                rows: vec![vec![
                    Some("2026-01-04T23:00:00Z".to_owned()),
                    Some("r&1".to_owned()),
                ]],
            },
            site_zones: [("p:s".to_owned(), "America/New_York".to_owned())].into(),
        };
        let html = restated(&view, &page);
        for part in [
            "<td class=\"plain\">2026-01-05</td>",
            "<td class=\"number\">2.5</td>",
            "<a href=\"/sales/p%3A1\">p:1</a>",
            "<td class=\"plain\">p:2</td>",
            "&lt;b&gt; \u{2192} completed",
            "10.00\u{a0}EUR \u{2192} 12.50\u{a0}EUR",
            "3 more",
            "href=\"/restated?since=r%261\"",
            "name=\"since\"",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        // Where the view asks for it, the time of a sale is that of its site.
        let view = PageView {
            query: ViewQuery::new([("clock", "site".to_owned())]),
            ..view
        };
        let html = restated(&view, &page);
        assert!(html.contains("5 January 2026, 05:00 -05:00"), "{html}");
        assert_eq!(
            restated_line(&view, &report()),
            "Restated since yesterday: Days 1, Sales 5."
        );
    }

    #[test]
    fn where_nothing_was_restated_or_there_is_no_earlier_run_the_page_says_so() {
        let view = PageView {
            language: Language::German,
            ..PageView::default()
        };
        let words = view.words();
        let mut same = report();
        (same.days, same.transactions) = (Vec::new(), Vec::new());
        assert_eq!(
            restated_line(&view, &same),
            words.nothing_restated_since_yesterday
        );
        let page = RestatedPage {
            report: Some(same),
            ..RestatedPage::default()
        };
        assert!(restated(&view, &page).contains(words.nothing_restated));
        let none = restated(&view, &RestatedPage::default());
        assert!(none.contains(words.no_earlier_run) && !none.contains(words.nothing_restated));
    }
}
