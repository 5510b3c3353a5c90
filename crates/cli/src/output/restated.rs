//! Changes of the past, as tables and CSV.
//!
//! Invariant: every figure is printed with all its digits but trailing zeros; in tables amounts have at least their currency's.

use crate::args::PeriodArg;
use crate::output::{CsvStyle, TextTable};
use jiff::Timestamp;
use tillhouse_model::ExactDecimal;
use tillhouse_model::money::format_amount;
use tillhouse_page::completeness::{CompletenessSummary, UnreadWindow};
use tillhouse_statistics::csv::restated_csv;
use tillhouse_statistics::restated::{
    ChangedTransaction, RestatedFigure, RestatedReport, TransactionVersion,
};

/// Months, days, hours and transactions, each as far as there are any.
pub(crate) fn text(report: &RestatedReport, only: Option<PeriodArg>) -> String {
    let mut text = String::new();
    let wanted = |period| only.is_none_or(|only| only == period);
    for (period, title, changes) in [
        (PeriodArg::Month, "month", &report.months),
        (PeriodArg::Day, "day", &report.days),
        (PeriodArg::Hour, "hour (UTC)", &report.hours),
    ] {
        if wanted(period) && !changes.is_empty() {
            text.push_str(&table(title, changes));
        }
    }
    if !report.transactions.is_empty() {
        let mut table = TextTable::new();
        table.set_header(["transaction", "change", "what", "then", "now"]);
        for t in &report.transactions {
            let ChangedTransaction {
                transaction_key,
                change,
                what,
                then,
                now,
            } = t;
            table.add_row([
                transaction_key.clone(),
                change.clone(),
                what.join(", "),
                seen(then),
                seen(now),
            ]);
        }
        text.push_str(&format!("{table}\n"));
    }
    let meta = &report.meta;
    if report.hours.is_empty() {
        text.push_str(&format!(
            "nothing that run {} had read has changed\n",
            meta.since
        ));
    } else {
        let listed = report.transactions.len();
        let all = meta.transactions_changed;
        let most = if i64::try_from(listed).is_ok_and(|listed| listed < all) {
            " (see --most)"
        } else {
            ""
        };
        text.push_str(&format!(
            "since run {}, finished {}: {listed} of {all} transactions listed{most}\n",
            meta.since, meta.since_finished_at
        ));
    }
    if meta.hours_first_read > 0 {
        text.push_str(&format!(
            "{} hours with sales had not been read by then; they are new and not listed\n",
            meta.hours_first_read
        ));
    }
    let missing = CompletenessSummary {
        to: Timestamp::MAX,
        data_through: None,
        gaps: &meta.gaps,
        before_start: &meta.before_start,
        still_to_come: None,
    };
    for UnreadWindow { what, window, .. } in missing.unread_windows().into_iter().take(5) {
        text.push_str(&format!("never read: {what}: {window}\n"));
    }
    for early in missing.windows_before_start().into_iter().take(5) {
        text.push_str(&format!(
            "before sync.start, not read: {}: {}; to read it: {}\n",
            early.what,
            early.window,
            early.command()
        ));
    }
    text
}

fn table(title: &str, changes: &[RestatedFigure]) -> String {
    let mut table = TextTable::new();
    table.set_header([title, "currency", "figure", "then", "now", "difference"]);
    for change in changes {
        let is_amount = matches!(change.figure.as_str(), "amount" | "collected");
        let shown = |value: ExactDecimal| {
            if is_amount {
                format_amount(value, &change.currency)
            } else {
                short(value)
            }
        };
        let sign = if change.difference.units > 0 { "+" } else { "" };
        table.add_row([
            change.period.clone(),
            change.currency.clone(),
            figure(change),
            shown(change.then),
            shown(change.now),
            format!("{sign}{}", shown(change.difference)),
        ]);
    }
    table.align_numbers(3..6);
    format!("{table}\n")
}

fn figure(change: &RestatedFigure) -> String {
    change.unit.as_ref().map_or_else(
        || change.figure.clone(),
        |unit| format!("{} {unit}", change.figure),
    )
}

fn short(value: ExactDecimal) -> String {
    value.trimmed().to_string()
}

/// A transaction as one run has it, in a few words.
fn seen(seen: &Option<TransactionVersion>) -> String {
    let Some(seen) = seen else {
        return "-".to_owned();
    };
    let mut words = Vec::new();
    words.extend(seen.state.clone());
    words.extend(
        seen.amount
            .map(|amount| format_amount(amount, seen.currency.as_deref().unwrap_or_default())),
    );
    words.extend(seen.currency.clone());
    words.extend(seen.occurred_at.map(|at| at.to_string()));
    words.join(" ")
}

/// One kind of period.
pub(crate) fn csv(report: &RestatedReport, period: PeriodArg, style: CsvStyle) -> String {
    let changes = match period {
        PeriodArg::Hour => &report.hours,
        PeriodArg::Day => &report.days,
        PeriodArg::Month => &report.months,
    };
    restated_csv(changes, style)
}
