//! Statistics, reports and restated figures as CSV: every figure on a line of its own.
//!
//! Invariant: an amount has every digit but trailing noughts, and no exponent; a style changes texts, never numbers. The command line prints these lines and a server sends
//! them.

mod report_rows;

pub use report_rows::{ReportRows, report_csv, report_rows};

use crate::report::StatisticsReport;
use crate::restated::RestatedFigure;
use std::fmt::Write;
use tillhouse_model::ExactDecimal;
use tillhouse_model::terminal_escape::CsvStyle;

/// Every figure on a line of its own: currency, statistic, label, value.
pub fn statistics_csv(report: &StatisticsReport, style: CsvStyle) -> String {
    let quoted = |text: &str| style.cell(text);
    let mut out = String::from("currency,statistic,unit,label,value\n");
    for e in &report.data {
        let mut line = |statistic: &str, unit: &str, label: &str, value: String| {
            let _ = writeln!(
                out,
                "{},{statistic},{},{},{value}",
                quoted(&e.currency),
                quoted(unit),
                quoted(label)
            );
        };
        let growth = |g: Option<ExactDecimal>| g.map_or_else(String::new, |g| g.to_string());
        line(
            "transactions_count",
            "",
            "value",
            e.transactions_count.value.to_string(),
        );
        line(
            "transactions_count",
            "",
            "growth",
            growth(e.transactions_count.growth),
        );
        line(
            "transactions_total_amount",
            "",
            "value",
            e.transactions_total_amount.value.trimmed().to_string(),
        );
        line(
            "transactions_total_amount",
            "",
            "growth",
            growth(e.transactions_total_amount.growth),
        );
        for h in &e.hourly_transactions {
            line(
                "hourly_transactions",
                "",
                &h.hour,
                h.transactions.to_string(),
            );
        }
        macro_rules! amounts {
            ($name:ident, $label:ident) => {
                for r in &e.$name {
                    line(
                        stringify!($name),
                        "",
                        &r.$label,
                        r.amount.trimmed().to_string(),
                    );
                }
            };
        }
        amounts!(payment_type_ranking, payment_type);
        amounts!(payment_medium_ranking, payment_medium);
        amounts!(payment_scheme_ranking, payment_scheme);
        amounts!(payment_entry_mode_ranking, payment_entry_mode);
        amounts!(payment_function_ranking, payment_function);
        amounts!(payment_method_ranking, payment_method);
        for g in &e.article_quantities_ranking {
            for a in &g.articles_quantities {
                line(
                    "article_quantities_ranking",
                    &g.unit_measure,
                    &a.article_name,
                    a.quantity.trimmed().to_string(),
                );
            }
        }
        amounts!(sites_amount_ranking, site_name);
        for s in &e.sites_transactions_ranking {
            line(
                "sites_transactions_ranking",
                "",
                &s.site_name,
                s.transactions.to_string(),
            );
        }
    }
    for entry in &report.meta.bridge {
        let mut line = |label: &str, value: String| {
            let _ = writeln!(
                out,
                "{},bridge,,{},{value}",
                quoted(&entry.currency),
                quoted(label)
            );
        };
        for (label, amount) in [
            ("total", entry.total),
            ("collected", entry.collected),
            ("open", entry.open),
            ("collected_excluded", entry.collected_excluded),
            ("collected_elsewhere", entry.collected_elsewhere.amount),
            ("free", entry.free.amount),
            ("test", entry.test.amount),
            ("excluded", entry.excluded.amount),
        ] {
            line(label, amount.trimmed().to_string());
        }
        for part in &entry.collected_elsewhere.by_state {
            line(
                &format!("collected_elsewhere: {}", part.words()),
                part.amount.trimmed().to_string(),
            );
        }
    }
    out
}

/// Restated figures of one kind of period.
pub fn restated_csv(changes: &[RestatedFigure], style: CsvStyle) -> String {
    let mut text = String::from("period,currency,figure,unit,then,now,difference\n");
    let short = |value: ExactDecimal| value.trimmed().to_string();
    for change in changes {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{}",
            change.period,
            style.cell(&change.currency),
            change.figure,
            style.cell(change.unit.as_deref().unwrap_or_default()),
            short(change.then),
            short(change.now),
            short(change.difference)
        );
    }
    text
}
