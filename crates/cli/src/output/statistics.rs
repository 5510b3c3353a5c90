//! The statistics as tables with small bars, for the terminal.
//!
//! Invariant: everything shown is in the report; the bars are drawn from the exact figures and are the only thing rounded.

use crate::output::TextTable;
use crate::output::instant::{clock, ends};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::fmt::Write;
use tillhouse_model::money::format_amount;
use tillhouse_model::{ExactDecimal, Window, zone_name};
use tillhouse_page::completeness::{CompletenessSummary, UnreadWindow, traded};
use tillhouse_statistics::report::{
    ArticleQuantities, Bridge, CurrencyStatistics, GrowthFigure, HourlyTransactions,
    StatisticsMeta, StatisticsReport,
};

const BAR: usize = 24;
/// Most gaps that are named.
const GAPS: usize = 10;
/// Most hours that are looked at one by one: twenty years of them.
const EVERY_HOUR: usize = 175_320;

/// Detail of the statistics as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StatisticsDetail {
    /// Every row of every ranking of every currency: for files and pipes.
    Everything,
    /// The currency with the most transactions, with ten rows of each ranking; the others in a
    /// line each: for a terminal.
    LeadingCurrency,
    /// The same with five rows of three rankings: for a first look.
    #[cfg_attr(
        not(feature = "sandbox"),
        expect(dead_code, reason = "the demo shows it")
    )]
    Glance,
}

impl StatisticsDetail {
    /// Rows of a ranking that are shown.
    fn rows(self) -> usize {
        match self {
            Self::Everything => usize::MAX,
            Self::LeadingCurrency => 10,
            Self::Glance => 5,
        }
    }

    /// Currencies that are shown in full.
    fn currencies(self) -> usize {
        match self {
            Self::Everything => usize::MAX,
            Self::LeadingCurrency | Self::Glance => 1,
        }
    }
}

/// The currencies of a report, the one with the most transactions first.
pub(crate) fn by_transactions(report: &StatisticsReport) -> Vec<&CurrencyStatistics> {
    let mut entries: Vec<&CurrencyStatistics> = report.data.iter().collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.transactions_count.value));
    entries
}

/// The report as text.
pub(crate) fn text(report: &StatisticsReport, detail: StatisticsDetail) -> String {
    let mut out = String::new();
    let meta = &report.meta;
    // Writing to a String cannot fail.
    let is_glance = detail == StatisticsDetail::Glance;
    if !is_glance {
        let _ = writeln!(out, "{} to {} ({})", meta.from, meta.to, meta.timezone);
    }
    if report.data.is_empty() {
        let _ = writeln!(out, "\nNothing was {} in this window.", traded(meta));
    }
    let entries = by_transactions(report);
    let (in_full, in_short) = entries.split_at(entries.len().min(detail.currencies()));
    for entry in in_full {
        headline(&mut out, meta, entry, is_glance);
        rankings(&mut out, entry, detail);
    }
    let _ = writeln!(out);
    if is_glance && !in_short.is_empty() {
        let names: Vec<&str> = in_short.iter().map(|e| e.currency.as_str()).collect();
        let _ = writeln!(out, "{} too: see --all", names.join(", "));
    } else if !in_short.is_empty() {
        for entry in in_short {
            let _ = writeln!(out, "{}", totals(entry));
        }
        let _ = writeln!(out, "--all shows these in full too\n");
    }
    // A currency of which nothing was sold may still have payments without their sale.
    let is_told = |entry: &&Bridge| {
        in_short
            .iter()
            .all(|other| other.currency != entry.currency)
    };
    for entry in meta.bridge.iter().filter(is_told) {
        let _ = writeln!(out, "{}", bridge(entry));
    }
    let count = |number: i64, text: &str| {
        if number > 0 {
            format!("{number} {text}; ")
        } else {
            String::new()
        }
    };
    let _ = write!(
        out,
        "{}{}{}{}{}",
        count(
            meta.transactions_without_time,
            "transactions without a time"
        ),
        count(
            meta.transactions_without_amount,
            "transactions without an amount"
        ),
        count(
            meta.payments_without_amount,
            "collected payments without an amount"
        ),
        count(meta.payments_without_sale, "payments without their sale"),
        count(
            meta.payments_without_time,
            "payments without their sale and a time"
        )
    );
    let zone = zone_name::clock(&meta.timezone).unwrap_or(TimeZone::UTC);
    let StatisticsMeta {
        to,
        data_through,
        still_to_come,
        ..
    } = *meta;
    let read = CompletenessSummary {
        to,
        data_through,
        gaps: &meta.gaps,
        before_start: &meta.before_start,
        still_to_come,
    };
    let unread = read.unread_windows();
    let _ = writeln!(
        out,
        "{}; {} open, {} free, {} test transactions, {} rejects, {}; run {}",
        read.describe(|at| clock(at, to, &zone)),
        meta.open_transactions,
        meta.free_transactions,
        meta.test_transactions,
        meta.rejects,
        gaps(unread.len()),
        meta.run
    );
    for UnreadWindow { what, window, .. } in unread.iter().take(GAPS) {
        // The window's end says nothing of the days a gap begins and ends on.
        let (from, to) = ends(*window, &zone);
        let _ = writeln!(out, "never read: {what}, from {from} to {to}");
    }
    let early = read.windows_before_start();
    for early in early.iter().take(GAPS) {
        let (from, to) = ends(early.window, &zone);
        let _ = writeln!(
            out,
            "before sync.start, not read: {}, from {from} to {to}; to read it: {}",
            early.what,
            early.command()
        );
    }
    if early.len() > GAPS {
        let _ = writeln!(
            out,
            "before sync.start, not read: {} more; --format json names all",
            early.len() - GAPS
        );
    }
    if unread.len() > GAPS {
        let _ = writeln!(
            out,
            "never read: {} more; --format json names all",
            unread.len() - GAPS
        );
    }
    out
}

/// `no gaps`, `1 gap`, `2 gaps`.
pub(crate) fn gaps(count: usize) -> String {
    match count {
        0 => "no gaps".to_owned(),
        1 => "1 gap".to_owned(),
        many => format!("{many} gaps"),
    }
}

/// Bridge of a currency's amounts, in one line; what was collected for uncounted sales, in one
/// more.
fn bridge(entry: &Bridge) -> String {
    let money = |amount: ExactDecimal| format_amount(amount, &entry.currency);
    let mut line = format!(
        "{}  collected {} + open {} = total {}",
        entry.currency,
        money(entry.collected),
        money(entry.open),
        money(entry.total)
    );
    if entry.collected_excluded.units != 0 {
        let _ = write!(
            line,
            " (of it {} outside the provider's reports)",
            money(entry.collected_excluded)
        );
    }
    for (name, beside) in [
        ("free", &entry.free),
        ("test", &entry.test),
        ("not counted", &entry.excluded),
    ] {
        if beside.transactions > 0 {
            let _ = write!(
                line,
                "; {} {name}: {}",
                beside.transactions,
                money(beside.amount)
            );
        }
    }
    let parts = entry.collected_elsewhere.by_state.iter();
    let parts: Vec<String> = parts
        .filter(|part| part.count != 0)
        .map(|part| format!("{} in {}", money(part.amount), part.words()))
        .collect();
    if !parts.is_empty() {
        let _ = write!(
            line,
            "\n{}  collected elsewhere {}, for sales that are not counted: {} (SQL: uncounted_payments)",
            entry.currency,
            money(entry.collected_elsewhere.amount),
            parts.join(", ")
        );
    }
    line
}

/// Window that growth was measured against, as people say it.
fn against(meta: &StatisticsMeta) -> String {
    match (meta.compare.as_str(), meta.compared) {
        ("previous", _) => "against the window of equal length before".to_owned(),
        ("calendar", Some(window)) => {
            format!(
                "against the calendar window before, {} to {}",
                window.from(),
                window.to()
            )
        }
        ("last-year", Some(window)) => {
            format!("against last year, {} to {}", window.from(), window.to())
        }
        (_, Some(window)) => format!("against {} to {}", window.from(), window.to()),
        (_, None) => "against nothing".to_owned(),
    }
}

/// Reason why there is no growth: nothing was sold in the window that it would be measured against.
fn nothing_before(meta: &StatisticsMeta, entry: &CurrencyStatistics, window: Window) -> String {
    let traded = traded(meta);
    let nothing = match meta.compared_transactions {
        0 => format!("nothing was {traded}"),
        _ => format!("nothing was {traded} in {}", entry.currency),
    };
    format!(
        "no growth: {nothing} from {} to {}, the window it would be measured against",
        window.from(),
        window.to()
    )
}

/// Words for a window to compare with that was not read, or not all of it.
fn partly_read(meta: &StatisticsMeta) -> &'static str {
    match meta.compared_unread.is_empty() {
        true => "",
        false => "; not all of that window was read",
    }
}

/// Transactions of every hour from the first with some to the last, also of those without any.
fn every_hour(grouping: &str, hours: &[HourlyTransactions]) -> Vec<i64> {
    let counts = || hours.iter().map(|hour| hour.transactions).collect();
    let places: Option<Vec<i64>> = hours
        .iter()
        .map(|hour| match grouping {
            "of_day" => hour.hour.parse().ok(),
            _ => {
                let start: Timestamp = hour.hour.parse().ok()?;
                Some(start.as_second().div_euclid(3600))
            }
        })
        .collect();
    // A zone may move its clock by half an hour: two hours are then one place, of which both are counted.
    let Some(places) = places else {
        return counts();
    };
    let (Some(first), Some(last)) = (places.iter().min(), places.iter().max()) else {
        return Vec::new();
    };
    let Some(length) = usize::try_from(last - first)
        .ok()
        .filter(|n| *n < EVERY_HOUR)
    else {
        return counts();
    };
    let mut found = vec![0; length + 1];
    for (place, hour) in places.iter().zip(hours) {
        if let Some(count) = usize::try_from(place - first)
            .ok()
            .and_then(|at| found.get_mut(at))
        {
            *count += hour.transactions;
        }
    }
    found
}

/// Amount and number of a currency's transactions, with their growth.
fn totals(entry: &CurrencyStatistics) -> String {
    format!(
        "{}  {} in {} transactions",
        entry.currency,
        with_growth(
            format_amount(entry.transactions_total_amount.value, &entry.currency),
            &entry.transactions_total_amount
        ),
        with_growth(
            entry.transactions_count.value.to_string(),
            &entry.transactions_count
        )
    )
}

fn headline(out: &mut String, meta: &StatisticsMeta, entry: &CurrencyStatistics, is_glance: bool) {
    let _ = writeln!(
        out,
        "\n{}{}",
        totals(entry),
        match (entry.transactions_count.growth, meta.compared) {
            // Lines are dear at first sight.
            _ if is_glance => String::new(),
            (Some(_), _) => format!(", {}{}", against(meta), partly_read(meta)),
            (None, Some(window)) => format!(
                "; {}{}",
                nothing_before(meta, entry, window),
                partly_read(meta)
            ),
            (None, None) => String::new(),
        }
    );
    let hours = every_hour(&meta.hours, &entry.hourly_transactions);
    if !hours.is_empty() {
        let _ = writeln!(out, "by hour  {}", sparkline(&hours).trim_end());
    }
}

fn rankings(out: &mut String, entry: &CurrencyStatistics, detail: StatisticsDetail) {
    let is_glance = detail == StatisticsDetail::Glance;
    let amounts = |rows: &[(&str, ExactDecimal)]| -> Vec<(String, String, i128)> {
        rows.iter()
            .map(|(label, amount)| {
                (
                    (*label).to_owned(),
                    format_amount(*amount, &entry.currency),
                    scaled(*amount),
                )
            })
            .collect()
    };
    macro_rules! ranking {
        ($title:literal, $rows:expr, $label:ident) => {
            let rows: Vec<(&str, ExactDecimal)> = $rows
                .iter()
                .map(|r| (r.$label.as_str(), r.amount))
                .collect();
            ranked(out, $title, "amount", &amounts(&rows), detail);
        };
    }
    ranking!("site", entry.sites_amount_ranking, site_name);
    if !is_glance {
        let sites: Vec<(String, String, i128)> = entry
            .sites_transactions_ranking
            .iter()
            .map(|s| {
                (
                    s.site_name.clone(),
                    s.transactions.to_string(),
                    i128::from(s.transactions),
                )
            })
            .collect();
        ranked(out, "site", "transactions", &sites, detail);
        ranking!("payment type", entry.payment_type_ranking, payment_type);
        ranking!(
            "payment medium",
            entry.payment_medium_ranking,
            payment_medium
        );
        ranking!(
            "payment scheme",
            entry.payment_scheme_ranking,
            payment_scheme
        );
        ranking!(
            "entry mode",
            entry.payment_entry_mode_ranking,
            payment_entry_mode
        );
        ranking!(
            "payment function",
            entry.payment_function_ranking,
            payment_function
        );
    }
    ranking!(
        "payment method",
        entry.payment_method_ranking,
        payment_method
    );
    let mut groups: Vec<&ArticleQuantities> = entry.article_quantities_ranking.iter().collect();
    if is_glance {
        groups.sort_by_key(|group| std::cmp::Reverse(group.articles_quantities.len()));
        groups.truncate(1);
    }
    for group in groups {
        let rows: Vec<(String, String, i128)> = group
            .articles_quantities
            .iter()
            .map(|a| {
                (
                    a.article_name.clone(),
                    a.quantity.trimmed().to_string(),
                    scaled(a.quantity),
                )
            })
            .collect();
        ranked(out, "article", &group.unit_measure, &rows, detail);
    }
}

/// A number for comparing quantities of one list, which may have different scales.
pub(crate) fn scaled(value: ExactDecimal) -> i128 {
    value.rescaled(6).map_or(value.units, |v| v.units)
}

fn with_growth<T>(value: String, figure: &GrowthFigure<T>) -> String {
    match figure.growth {
        Some(growth) if growth.units >= 0 => format!("{value} (+{growth} %)"),
        Some(growth) => format!("{value} ({growth} %)"),
        None => value,
    }
}

fn ranked(
    out: &mut String,
    title: &str,
    unit: &str,
    rows: &[(String, String, i128)],
    detail: StatisticsDetail,
) {
    // A list of nothing but the unknown says nothing.
    if rows.iter().all(|(label, _, _)| label == "unknown") {
        return;
    }
    let most = rows.iter().map(|r| r.2).max().unwrap_or(0);
    let mut table = match detail {
        StatisticsDetail::Glance => TextTable::without_borders(),
        _ => TextTable::new(),
    };
    table.set_header([title, unit, ""]);
    for (label, shown, value) in rows.iter().take(detail.rows()) {
        table.add_row([label.clone(), shown.clone(), bar(*value, most)]);
    }
    table.align_numbers([1]);
    let _ = writeln!(out, "{table}");
    if rows.len() > detail.rows() && detail != StatisticsDetail::Glance {
        let _ = writeln!(
            out,
            "  and {} more; --all shows them",
            rows.len() - detail.rows()
        );
    }
}

/// A bar as long as its share of the largest, in eighths of a character.
fn bar(value: i128, most: i128) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    if value <= 0 || most <= 0 {
        return String::new();
    }
    let width = i128::try_from(BAR * 8).unwrap_or(1);
    let eighths = usize::try_from(value.saturating_mul(width) / most)
        .unwrap_or(0)
        .clamp(1, BAR * 8);
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

/// One character an hour, a blank for one without sales; more than a terminal holds are added up in groups.
fn sparkline(values: &[i64]) -> String {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let group = values.len().div_ceil(72);
    let sums: Vec<i64> = values
        .chunks(group.max(1))
        .map(|c| c.iter().sum())
        .collect();
    let most = sums.iter().copied().max().unwrap_or(0).max(1);
    sums.iter()
        .map(|v| match v {
            0 => ' ',
            _ => LEVELS[usize::try_from(v * 7 / most).unwrap_or(0).min(7)],
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::sample_report::report;
    use tillhouse_statistics::report::{CollectedElsewhere, CollectedInState, UncountedTotals};

    #[test]
    fn bars_show_shares_and_never_hide_something() {
        assert_eq!(bar(8, 8).chars().count(), BAR);
        assert_eq!(bar(1, 1_000_000), "▏");
        assert_eq!(bar(0, 8), "");
        assert_eq!(sparkline(&[1, 0, 8]), "▁ █");
        // Hours of one group share a character; a group without sales is a gap.
        let mut month = vec![0; 720];
        month[0] = 3;
        month[719] = 6;
        let line = sparkline(&month);
        assert_eq!(line.chars().count(), 72);
        assert_eq!(line.trim_matches(['▄', '█']).trim(), "");
    }

    /// A report of 12 sites in EUR, and of two currencies with fewer transactions.
    fn three_currencies() -> StatisticsReport {
        let mut report = report("Harbour");
        let euro = &mut report.data[0];
        let more = euro.sites_amount_ranking[0].clone();
        euro.sites_amount_ranking.extend([more.clone(), more]);
        for (currency, transactions) in [("CHF", 3), ("JPY", 2)] {
            let mut entry = report.data[0].clone();
            entry.currency = currency.into();
            entry.transactions_count.value = transactions;
            report.data.insert(0, entry);
        }
        report
    }

    #[test]
    fn times_are_those_of_the_zone_that_was_asked_for() {
        let mut report = report("Harbour");
        for (zone, read) in [("UTC", "00:00"), ("+02:00", "02:00")] {
            report.meta.timezone = zone.into();
            let shown = text(&report, StatisticsDetail::Everything);
            assert!(shown.contains(&format!("read up to {read};")), "{shown}");
        }
    }

    #[test]
    fn a_terminal_shows_the_leading_currency_in_full_and_the_others_in_a_line_each() {
        let shown = text(&three_currencies(), StatisticsDetail::LeadingCurrency);
        assert_eq!(shown.matches("payment type").count(), 1, "{shown}");
        assert!(shown.contains("  and 2 more; --all shows them"), "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        let at = |start: &str| lines.iter().position(|line| line.starts_with(start));
        assert!(at("EUR  ") < at("CHF  "), "{shown}");
        assert_eq!(at("CHF  ").map(|at| at + 1), at("JPY  "), "{shown}");
        assert!(at("--all shows these in full too").is_some(), "{shown}");
    }

    #[test]
    fn a_file_or_a_pipe_gets_every_row_of_every_currency() {
        let shown = text(&three_currencies(), StatisticsDetail::Everything);
        assert_eq!(shown.matches("payment type").count(), 3, "{shown}");
        assert_eq!(shown.matches("Harbour").count(), 3 * (12 + 1), "{shown}");
        assert!(!shown.contains("--all"), "{shown}");
    }

    #[test]
    fn a_first_look_is_short() {
        let shown = text(&three_currencies(), StatisticsDetail::Glance);
        assert_eq!(shown.matches("Harbour").count(), 5, "{shown}");
        assert!(!shown.contains("payment type"), "{shown}");
    }

    #[test]
    fn hours_without_sales_are_gaps() {
        let hour = |hour: &str, transactions| HourlyTransactions {
            hour: hour.to_owned(),
            transactions,
        };
        let hours = [
            hour("2026-10-25T02:00:00+02:00", 1),
            hour("2026-10-25T02:00:00+01:00", 2),
            hour("2026-10-25T05:00:00+01:00", 3),
        ];
        assert_eq!(every_hour("timeline", &hours), [1, 2, 0, 0, 3]);
        assert_eq!(
            every_hour("of_day", &[hour("06", 1), hour("09", 2)]),
            [1, 0, 0, 2]
        );
        assert_eq!(every_hour("timeline", &[]), [0; 0]);
    }

    #[test]
    fn the_bridge_shows_what_was_collected_elsewhere_with_the_currencys_digits() {
        let none = UncountedTotals {
            transactions: 0,
            amount: ExactDecimal::new(0, 4),
        };
        let part = |state: &str, kind: Option<&str>, count, amount| CollectedInState {
            state: state.to_owned(),
            kind: kind.map(str::to_owned),
            count,
            amount: ExactDecimal::new(amount, 4),
        };
        let mut entry = Bridge {
            currency: "JPY".to_owned(),
            total: ExactDecimal::new(604_320_000, 4),
            collected: ExactDecimal::new(604_320_000, 4),
            open: ExactDecimal::new(0, 4),
            collected_excluded: ExactDecimal::new(0, 4),
            collected_elsewhere: CollectedElsewhere {
                count: 3,
                amount: ExactDecimal::new(12_340_000, 4),
                by_state: vec![
                    part("completed", Some("free"), 1, 40_000),
                    part("declined", Some("sale"), 1, 12_000_000),
                    part("without_sale", None, 1, 300_000),
                ],
            },
            free: none.clone(),
            test: none.clone(),
            excluded: none,
        };
        assert_eq!(
            bridge(&entry),
            "JPY  collected 60 432 + open 0 = total 60 432\n\
             JPY  collected elsewhere 1 234, for sales that are not counted: 4 in completed (free), 1 200 in declined, \
             30 in without_sale (SQL: uncounted_payments)"
        );
        // Payments of nothing, or without an amount, are payments.
        entry.collected_elsewhere = CollectedElsewhere {
            count: 9,
            amount: ExactDecimal::new(0, 4),
            by_state: vec![part("completed", Some("free"), 9, 0)],
        };
        assert_eq!(
            bridge(&entry),
            "JPY  collected 60 432 + open 0 = total 60 432\n\
             JPY  collected elsewhere 0, for sales that are not counted: 0 in completed (free) (SQL: uncounted_payments)"
        );
        entry.collected_elsewhere.by_state = Vec::new();
        assert_eq!(
            bridge(&entry),
            "JPY  collected 60 432 + open 0 = total 60 432"
        );
    }
}
