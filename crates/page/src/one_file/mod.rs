//! The statistics as one page for a browser: figures, curve, heat map, rankings, light and dark.
//!
//! Invariant: the page is whole in itself. It loads nothing, runs nothing, and says so to the browser; every text that came from
//! data is escaped. What is drawn is in the report, and stands there as text too.

mod charts;
mod timeline;

use crate::completeness::{CompletenessSummary, UnreadWindow, traded};
use crate::html::escaped;
use crate::numbers::{self, amount, count, mean, per_cent, quantity, share};
use charts::{HeatChartCell, weekday};
use jiff::tz::TimeZone;
use std::fmt::Write;
use tillhouse_model::{Error, ExactDecimal, Result, Window, zone_name};
use tillhouse_statistics::HourGrouping;
use tillhouse_statistics::report::{
    Bridge, CurrencyStatistics, GrowthFigure, StatisticsMeta, StatisticsReport,
};
use tillhouse_statistics::sales_report::HeatMapCell;

const STYLE: &str = include_str!("style.css");
/// Rows of a ranking that are shown at once; the others are a click away.
const ROWS: usize = 8;
/// Currencies that are shown at once, those with the most transactions; the others are a click away.
const CURRENCIES: usize = 3;
const UNKNOWN: &str = "unknown";

/// Most points of a curve: twenty years of days, which is more than a screen shows.
const POINTS: i64 = 7_320;

/// Refuses a window whose curve would have more points than a page can hold, before anything is counted for it.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`].
pub fn check_window(window: Window, hours: HourGrouping) -> Result<()> {
    let days = window.duration().as_secs().saturating_add(86_399) / 86_400;
    if hours == HourGrouping::OfDay || days <= POINTS {
        return Ok(());
    }
    Err(Error::config(format!("a page draws a point a day: {days} were asked for, and {POINTS} are the most")).hint(
        "Narrow --from and --to to twenty years, or ask with --hours of_day; --format json and csv have no such limit.",
    ))
}

/// The whole page of a report and the cells of its heat map.
pub fn page(report: &StatisticsReport, heat: &[HeatMapCell]) -> String {
    let meta = &report.meta;
    let zone = zone_name::clock(&meta.timezone).unwrap_or(TimeZone::UTC);
    let title = format!(
        "{}, {}",
        if meta.perspective == "purchase" {
            "Purchases"
        } else {
            "Sales"
        },
        window(meta, &zone)
    );
    let mut body = String::new();
    if report.data.is_empty() {
        body.push_str(&format!(
            "<h2>Nothing was {} in this window.</h2>",
            traded(meta)
        ));
    }
    let entries = by_size(report);
    for (index, entry) in entries.iter().enumerate() {
        let cells: Vec<&HeatMapCell> = heat
            .iter()
            .filter(|cell| cell.currency == entry.currency)
            .collect();
        currency(&mut body, index, entry, &cells, meta, &zone);
    }
    body.push_str(&collected_beside(report));
    format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{STYLE}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="asked">{asked}</p>{contents}
{trust}
</header>
<main>
{body}</main>
<footer><p>{foot}</p></footer>
</body>
</html>
"#,
        title = escaped(&title),
        asked = escaped(&asked(meta)),
        contents = contents(&entries),
        trust = completeness_section(meta, &zone),
        foot = escaped(&format!(
            "Run {}, definitions {}. {}",
            meta.run,
            meta.definitions_version,
            compared(meta, &zone)
        )),
    )
}

fn window(meta: &StatisticsMeta, zone: &TimeZone) -> String {
    tillhouse_model::Window::new(meta.from, meta.to).map_or_else(
        |_| meta.from.to_string(),
        |window| numbers::window(&window, zone),
    )
}

/// Whose figures these are.
fn asked(meta: &StatisticsMeta) -> String {
    let mut parts = vec![meta.timezone.clone()];
    parts.extend(meta.tenant.iter().map(|tenant| format!("tenant {tenant}")));
    parts.extend(meta.source.iter().map(|source| format!("source {source}")));
    parts.push(format!("{} transactions", meta.states.join(" and ")));
    parts.join(" · ")
}

/// The currency with the most transactions first: amounts of different currencies cannot be compared.
fn by_size(report: &StatisticsReport) -> Vec<&CurrencyStatistics> {
    let mut entries: Vec<&CurrencyStatistics> = report.data.iter().collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.transactions_count.value));
    entries
}

/// Links to the currencies, where there are several.
fn contents(entries: &[&CurrencyStatistics]) -> String {
    if entries.len() < 2 {
        return String::new();
    }
    let links: Vec<String> = entries
        .iter()
        .enumerate()
        .map(|(index, entry)| format!("<a href=\"#c{index}\">{}</a>", escaped(&entry.currency)))
        .collect();
    format!("\n<nav aria-label=\"Currencies\">{}</nav>", links.join(" "))
}

/// Section that says how complete the figures are.
fn completeness_section(meta: &StatisticsMeta, zone: &TimeZone) -> String {
    let mut missing = Vec::new();
    let read = CompletenessSummary::of(meta);
    let so_far = sentence(&read.describe(|at| numbers::instant(at, zone)));
    if !read.is_complete() && !read.is_complete_so_far() {
        missing.push(so_far.clone());
    }
    for early in read.windows_before_start() {
        missing.push(format!(
            "Not read, since it lies before sync.start: {}, from {} to {}. Earlier sales: {}",
            early.what,
            numbers::instant(early.window.from(), zone),
            numbers::instant(early.window.to(), zone),
            early.command()
        ));
    }
    for UnreadWindow { what, window, .. } in read.unread_windows() {
        missing.push(format!(
            "Never read: {what}, from {} to {}.",
            numbers::instant(window.from(), zone),
            numbers::instant(window.to(), zone)
        ));
    }
    if meta.rejects > 0 {
        missing.push(format!(
            "{} did not fit and are not counted.",
            several(meta.rejects, "record", "records")
        ));
    }
    let mut more = Vec::new();
    if meta.open_transactions > 0 {
        more.push(format!(
            "{} may still change.",
            several(meta.open_transactions, "transaction", "transactions")
        ));
    }
    let apart = [
        (meta.free_transactions, "free"),
        (meta.test_transactions, "test"),
    ];
    for (number, kind) in apart.into_iter().filter(|(number, _)| *number > 0) {
        more.push(format!(
            "{} {kind} {} not counted.",
            count(number),
            if number == 1 { "sale is" } else { "sales are" }
        ));
    }
    let lacking = [
        (
            meta.transactions_without_time,
            "no time and is in no period",
            "no time and are in no period",
        ),
        (
            meta.transactions_without_amount,
            "no amount and adds nothing",
            "no amount and add nothing",
        ),
    ];
    for (number, one, many) in lacking.into_iter().filter(|(number, ..)| *number > 0) {
        let of = if number == 1 {
            "transaction has"
        } else {
            "transactions have"
        };
        more.push(format!(
            "{} {of} {}.",
            count(number),
            if number == 1 { one } else { many }
        ));
    }
    if meta.payments_without_amount > 0 {
        let number = meta.payments_without_amount;
        let of = if number == 1 {
            "collected payment has no amount and adds"
        } else {
            "collected payments have no amount and add"
        };
        more.push(format!("{} {of} nothing.", count(number)));
    }
    if meta.payments_without_time > 0 {
        let number = meta.payments_without_time;
        let of = if number == 1 {
            "payment has neither a known sale nor a time and is"
        } else {
            "payments have neither a known sale nor a time and are"
        };
        more.push(format!("{} {of} in no period.", count(number)));
    }
    if meta.payments_without_sale > 0 {
        let number = meta.payments_without_sale;
        more.push(format!(
            "The {} not known.",
            if number == 1 {
                "sale of 1 payment is".to_owned()
            } else {
                format!("sales of {} payments are", count(number))
            }
        ));
    }
    let rest = if more.is_empty() {
        String::new()
    } else {
        format!(" {}", escaped(&more.join(" ")))
    };
    if missing.is_empty() && !read.is_complete() {
        let so_far = escaped(&so_far);
        return format!(
            "<p class=\"trust warn\"><strong>Not over yet.</strong> {so_far}{rest}</p>"
        );
    }
    if missing.is_empty() {
        return format!(
            "<p class=\"trust ok\"><strong>Complete.</strong> Everything in this period was read.{rest}</p>"
        );
    }
    let listed: String = missing
        .iter()
        .map(|line| format!("<li>{}</li>", escaped(line)))
        .collect();
    format!("<div class=\"trust warn\"><strong>Not complete.</strong>{rest}<ul>{listed}</ul></div>")
}

/// A text as a sentence of its own.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        format!("{}{}.", first.to_uppercase(), letters.as_str())
    })
}

fn currency(
    body: &mut String,
    index: usize,
    entry: &CurrencyStatistics,
    heat: &[&HeatMapCell],
    meta: &StatisticsMeta,
    zone: &TimeZone,
) {
    let (name, is_open) = (escaped(&entry.currency), index < CURRENCIES);
    // Writing to a String cannot fail.
    let _ = if is_open {
        writeln!(
            body,
            "<section aria-labelledby=\"c{index}\">\n<h2 id=\"c{index}\">{name}</h2>"
        )
    } else {
        let (total, number) = (
            entry.transactions_total_amount.value,
            entry.transactions_count.value,
        );
        writeln!(
            body,
            "<details class=\"currency\" id=\"c{index}\"><summary><h2>{name}</h2> <span class=\"note\">{} in {} transactions</span></summary>",
            amount(total, &entry.currency),
            count(number)
        )
    };
    cards(body, entry, heat, meta);
    if let Some(bridge) = meta
        .bridge
        .iter()
        .find(|bridge| bridge.currency == entry.currency)
    {
        body.push_str(&collected(bridge));
    }
    let curve = match tillhouse_model::Window::new(meta.from, meta.to) {
        Ok(window) if meta.hours == "timeline" => timeline::timeline(
            format!("c{index}-hours"),
            &entry.hourly_transactions,
            &window,
            zone,
        ),
        _ => timeline::of_day(format!("c{index}-hours"), &entry.hourly_transactions),
    };
    body.push_str(&curve.html());
    if !heat.is_empty() {
        let cells: Vec<HeatChartCell> = heat
            .iter()
            .map(|cell| HeatChartCell {
                day: cell.day,
                hour: cell.hour,
                count: cell.count,
                total: format!("{} {}", amount(cell.total, &entry.currency), entry.currency),
            })
            .collect();
        let description = busiest(heat)
            .map(|cell| {
                format!(
                    "The busiest hour of the week is {}, with {} transactions.",
                    hour(cell),
                    count(cell.count)
                )
            })
            .unwrap_or_default();
        body.push_str(&charts::heat_chart(
            &format!("c{index}-heat"),
            &cells,
            &description,
        ));
    }
    body.push_str("<div class=\"rankings\">\n");
    rankings(body, entry);
    body.push_str(if is_open {
        "</div>\n</section>\n"
    } else {
        "</div>\n</details>\n"
    });
}

fn busiest<'a>(heat: &[&'a HeatMapCell]) -> Option<&'a HeatMapCell> {
    heat.iter()
        .copied()
        .max_by_key(|cell| (cell.count, std::cmp::Reverse((cell.day, cell.hour))))
}

/// `Friday 17:00 to 18:00`.
fn hour(cell: &HeatMapCell) -> String {
    format!(
        "{} {:02}:00 to {:02}:00",
        weekday(cell.day),
        cell.hour,
        cell.hour + 1
    )
}

fn cards(
    body: &mut String,
    entry: &CurrencyStatistics,
    heat: &[&HeatMapCell],
    meta: &StatisticsMeta,
) {
    let unit = |text: &str| format!(" <span class=\"unit\">{}</span>", escaped(text));
    let total = entry.transactions_total_amount.value;
    body.push_str("<dl class=\"cards\">\n");
    let mut card = |name: &str, value: String, below: String| {
        let _ = writeln!(
            body,
            "<div class=\"card\"><dt>{name}</dt><dd class=\"value\">{value}</dd><dd class=\"growth\">{below}</dd></div>"
        );
    };
    let revenue = amount(total, &entry.currency) + &unit(&entry.currency);
    card(
        "Revenue",
        revenue,
        growth(&entry.transactions_total_amount, meta),
    );
    card(
        "Transactions",
        count(entry.transactions_count.value),
        growth(&entry.transactions_count, meta),
    );
    if let Some(mean) = mean(total, entry.transactions_count.value, &entry.currency) {
        card(
            "Average",
            amount(mean, &entry.currency) + &unit(&entry.currency),
            "a transaction".to_owned(),
        );
    }
    if let Some(cell) = busiest(heat) {
        let name = format!("{} {:02}:00", weekday(cell.day), cell.hour);
        card(
            "Busiest hour of the week",
            escaped(&name),
            format!("{} transactions", count(cell.count)),
        );
    }
    body.push_str("</dl>\n");
}

/// Collected part of the charged amount, and what was collected for sales that are not counted.
fn collected(bridge: &Bridge) -> String {
    let money =
        |value: ExactDecimal| format!("{} {}", amount(value, &bridge.currency), bridge.currency);
    let mut text = format!(
        "Collected {}, open {}, together the revenue of {}.",
        money(bridge.collected),
        money(bridge.open),
        money(bridge.total)
    );
    let parts = bridge.collected_elsewhere.by_state.iter();
    let parts: Vec<_> = parts.filter(|part| part.count != 0).collect();
    if !parts.is_empty() {
        let payments = parts.iter().map(|part| part.count).sum();
        let listed: Vec<String> = parts
            .iter()
            .map(|part| format!("{}: {}", part.words(), money(part.amount)))
            .collect();
        let _ = write!(
            text,
            " Collected elsewhere {}, in {} for sales that are not counted ({}).",
            money(bridge.collected_elsewhere.amount),
            several(payments, "payment", "payments"),
            listed.join(", ")
        );
    }
    format!("<p class=\"note\">{}</p>\n", escaped(&text))
}

/// Amounts collected in currencies in which nothing was sold: they have no part of the page of their own.
fn collected_beside(report: &StatisticsReport) -> String {
    let is_sold = |bridge: &Bridge| {
        let mut entries = report.data.iter();
        entries.any(|entry| entry.currency == bridge.currency)
    };
    let has_payments = |bridge: &Bridge| {
        let mut parts = bridge.collected_elsewhere.by_state.iter();
        bridge.collected.units != 0 || parts.any(|part| part.count != 0)
    };
    let bridges = report.meta.bridge.iter();
    let notes: String = bridges
        .filter(|bridge| !is_sold(bridge) && has_payments(bridge))
        .map(collected)
        .collect();
    match (notes.is_empty(), report.data.is_empty()) {
        (true, _) => String::new(),
        (false, true) => notes,
        (false, false) => {
            let traded = traded(&report.meta);
            format!(
                "<section>\n<h2>Currencies in which nothing was {traded}</h2>\n{notes}</section>\n"
            )
        }
    }
}

fn several(number: i64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// Window that growth was measured against, in few words.
fn on(meta: &StatisticsMeta) -> &'static str {
    match meta.compare.as_str() {
        "previous" => "on the period before",
        "calendar" => "on the calendar period before",
        "last-year" => "on last year",
        _ => "on the period compared with",
    }
}

/// Window that growth was measured against, in full, with its days.
fn compared(meta: &StatisticsMeta, zone: &TimeZone) -> String {
    match &meta.compared {
        Some(window) => format!(
            "Growth is measured {}, {}.",
            on(meta),
            numbers::window(window, zone)
        ),
        None => format!("Growth is measured {}.", on(meta)),
    }
}

/// Growth against a window that was read. Of a period that is not over it is no verdict, and has no colour.
fn growth<T>(figure: &GrowthFigure<T>, meta: &StatisticsMeta) -> String {
    if !meta.compared_unread.is_empty() {
        return "compared window not read".to_owned();
    }
    let Some(growth) = figure.growth else {
        return "nothing to compare with".to_owned();
    };
    let number = numbers::grouped(&ExactDecimal::new(growth.units.abs(), growth.scale).to_string());
    let (class, sign) = match growth.units {
        0 => ("", "\u{b1}"),
        1.. => ("up", "\u{25b2} +"),
        _ => ("down", "\u{25bc} \u{2212}"),
    };
    let (class, so_far) = match meta.still_to_come {
        Some(_) => ("", ", period not over"),
        None => (class, ""),
    };
    format!(
        "<b class=\"{class}\">{sign}{number} %</b> {}{so_far}",
        on(meta)
    )
}

/// One row of a ranking: label, what is shown, what it is measured by.
type PageRankingRow = (String, String, i128);

fn rankings(body: &mut String, entry: &CurrencyStatistics) {
    let money = |label: &str, value: ExactDecimal| {
        (
            label.to_owned(),
            amount(value, &entry.currency),
            value.units,
        )
    };
    macro_rules! of_amounts {
        ($title:literal, $rows:ident, $label:ident) => {
            let rows: Vec<PageRankingRow> = entry
                .$rows
                .iter()
                .map(|row| money(&row.$label, row.amount))
                .collect();
            ranking(body, $title, &entry.currency, &rows);
        };
    }
    of_amounts!("Sites by revenue", sites_amount_ranking, site_name);
    let sites = entry.sites_transactions_ranking.iter();
    let sites: Vec<PageRankingRow> = sites
        .map(|row| {
            (
                row.site_name.clone(),
                count(row.transactions),
                i128::from(row.transactions),
            )
        })
        .collect();
    ranking(body, "Sites by transactions", "", &sites);
    for unit in &entry.article_quantities_ranking {
        let scale = unit
            .articles_quantities
            .iter()
            .map(|row| row.quantity.scale)
            .max()
            .unwrap_or(0);
        let rows = unit.articles_quantities.iter().map(|row| {
            let units = row
                .quantity
                .rescaled(scale)
                .map_or(0, |quantity| quantity.units);
            (row.article_name.clone(), quantity(row.quantity), units)
        });
        ranking(
            body,
            "Articles",
            &unit.unit_measure,
            &rows.collect::<Vec<_>>(),
        );
    }
    of_amounts!("Payment types", payment_type_ranking, payment_type);
    of_amounts!("Payment media", payment_medium_ranking, payment_medium);
    of_amounts!("Payment schemes", payment_scheme_ranking, payment_scheme);
    of_amounts!(
        "Entry modes",
        payment_entry_mode_ranking,
        payment_entry_mode
    );
    of_amounts!(
        "Payment functions",
        payment_function_ranking,
        payment_function
    );
}

fn ranking(body: &mut String, title: &str, unit: &str, rows: &[PageRankingRow]) {
    if rows.iter().all(|(label, _, _)| label == UNKNOWN) {
        return;
    }
    let most = rows.iter().map(|(_, _, value)| *value).max().unwrap_or(0);
    let whole: i128 = if rows.iter().any(|(_, _, value)| *value < 0) {
        0
    } else {
        rows.iter().map(|(_, _, value)| *value).sum()
    };
    let item = |(label, shown, value): &PageRankingRow| {
        let part = share(*value, whole)
            .map(|share| format!("<span class=\"share\">{share}</span>"))
            .unwrap_or_default();
        format!(
            "<li><span class=\"label\">{}</span><span class=\"amount\">{shown}{part}</span><span class=\"bar\"><i style=\"width:{}%\"></i></span></li>",
            escaped(label),
            per_cent(*value, most)
        )
    };
    let listed: String = rows.iter().take(ROWS).map(item).collect();
    let more: String = rows.iter().skip(ROWS).map(item).collect();
    let rest = if more.is_empty() {
        String::new()
    } else {
        let start = ROWS + 1;
        format!(
            "<details><summary>{} more</summary><ol start=\"{start}\">{more}</ol></details>",
            rows.len() - ROWS
        )
    };
    let _ = writeln!(
        body,
        "<section class=\"ranking\"><h3>{title} <span class=\"note\">{}</span></h3><ol>{listed}</ol>{rest}</section>",
        escaped(unit)
    );
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
