//! The trust line: whether the figures are complete, until when, and what is not in them.
//!
//! Invariant: it says what the report says of itself; what is still to come is not called a gap, and nothing that lacks anything is called complete.

use super::document::PageView;
use crate::completeness::{CompletenessSummary, UnreadWindow};
use crate::html::Html;
use jiff::tz::TimeZone;
use tillhouse_statistics::report::StatisticsMeta;

/// Most stretches that are named.
const NAMED: usize = 5;

/// Adds the trust line of a report.
pub(crate) fn trust_line(html: &mut Html, view: &PageView, meta: &StatisticsMeta, zone: &TimeZone) {
    let words = view.words();
    let read = CompletenessSummary::of(meta);
    let missing = missing(view, meta, &read, zone);
    let (class, said) = match (missing.is_empty(), read.is_complete()) {
        (true, true) => ("trust ok", words.complete),
        (true, false) if read.is_complete_so_far() => ("trust warn", words.not_over),
        _ => ("trust warn", words.not_complete),
    };
    html.element(
        "section",
        &[("class", class), ("aria-label", words.trust)],
        |html| {
            html.leaf("strong", &[], said);
            if meta.still_to_come.is_some() && said != words.not_over {
                html.text(&format!(" {}", words.not_over));
            }
            if let Some(through) = meta.data_through {
                let through = view.language.instant(through, zone);
                html.text(&format!(" {} {through}.", words.read_until));
            }
            for line in beside(view, meta) {
                html.text(&format!(" {line}"));
            }
            if !missing.is_empty() {
                html.element("ul", &[], |html| {
                    for line in &missing {
                        html.leaf("li", &[], line);
                    }
                });
            }
        },
    );
    html.raw("\n");
}

/// Parts that the figures lack, a line each.
fn missing(
    view: &PageView,
    meta: &StatisticsMeta,
    read: &CompletenessSummary<'_>,
    zone: &TimeZone,
) -> Vec<String> {
    let words = view.words();
    let mut lines = Vec::new();
    let told = |said: &str, unread: &UnreadWindow| {
        let window = view.language.window(&unread.window, zone);
        format!("{said}: {}, {window}.", unread.pipeline)
    };
    let unread = read.unread_windows();
    let early = read.windows_before_start();
    lines.extend(
        early
            .iter()
            .take(NAMED)
            .map(|early| told(words.before_start, early)),
    );
    lines.extend(
        unread
            .iter()
            .take(NAMED)
            .map(|unread| told(words.never_read, unread)),
    );
    lines.dedup();
    let more = unread.len().saturating_sub(NAMED) + early.len().saturating_sub(NAMED);
    if more > 0 {
        lines.push(format!("{more} {}", words.more));
    }
    if lines.is_empty() && meta.data_through.is_none() {
        lines.push(words.nothing_read.to_owned());
    }
    if meta.rejects > 0 {
        lines.push(format!(
            "{}: {}.",
            words.rejected,
            view.language.count(meta.rejects)
        ));
    }
    lines
}

/// Sales and payments that are in no figure, or may still change.
fn beside(view: &PageView, meta: &StatisticsMeta) -> Vec<String> {
    let words = view.words();
    [
        (words.may_change, meta.open_transactions),
        (words.free_sales, meta.free_transactions),
        (words.test_sales, meta.test_transactions),
        (words.without_time, meta.transactions_without_time),
        (words.without_amount, meta.transactions_without_amount),
        (words.payments_without_amount, meta.payments_without_amount),
        (words.payments_without_sale, meta.payments_without_sale),
        (words.payments_without_time, meta.payments_without_time),
    ]
    .into_iter()
    .filter(|(_, number)| *number > 0)
    .map(|(said, number)| format!("{said}: {}.", view.language.count(number)))
    .collect()
}
