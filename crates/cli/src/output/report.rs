//! The reports as tables for people, and as CSV for spreadsheets.
//!
//! Invariant: everything shown is in the report; only how far one period is from the other is worked out here.

use crate::output::TextTable;
use crate::output::instant::instant;
use crate::output::statistics::gaps;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::fmt::Write;
use tillhouse_model::ExactDecimal;
use tillhouse_model::money::format_amount;
use tillhouse_page::completeness::CompletenessSummary;
use tillhouse_statistics::csv::{ReportRows, report_rows};
use tillhouse_statistics::sales_report::{PeriodReport, ReportData, SalesReport};

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Names of columns of amounts; their currency stands in the column [`CURRENCY`] of the row.
const AMOUNTS: [&str; 3] = ["value", "revenue", "total"];
const CURRENCY: &str = "currency";
/// The figure to the left of it, of the period before.
const BEFORE: &str = "before";

/// Rows as a table, amounts as people read them.
fn drawn(listing: &ReportRows) -> TextTable {
    let mut table = TextTable::new();
    table.set_header(&listing.header);
    listing
        .rows
        .iter()
        .for_each(|row| table.add_row(shown(listing, row)));
    table.align_numbers(listing.numbers..listing.header.len());
    table
}

/// A row's cells, amounts with their currency's digits.
fn shown(listing: &ReportRows, row: &[String]) -> Vec<String> {
    let Some(at) = listing.header.iter().position(|name| name == CURRENCY) else {
        return row.to_vec();
    };
    let currency = row.get(at).map_or("", String::as_str);
    let cell =
        |(index, text): (usize, &String)| match exact(text).filter(|_| is_amount(listing, index)) {
            Some(amount) => format_amount(amount, currency),
            None => text.clone(),
        };
    row.iter().enumerate().map(cell).collect()
}

fn is_amount(listing: &ReportRows, column: usize) -> bool {
    let name = |column: usize| listing.header.get(column).map_or("", String::as_str);
    AMOUNTS.contains(&name(column))
        || (name(column) == BEFORE
            && column
                .checked_sub(1)
                .is_some_and(|now| AMOUNTS.contains(&name(now))))
}

/// The whole report as text.
pub(crate) fn text(report: &SalesReport) -> String {
    let mut out = String::new();
    let periods: Vec<String> = report
        .meta
        .periods
        .iter()
        .map(|p| format!("{} to {}", day(&p.from), day(&p.to)))
        .collect();
    // Writing to a String cannot fail.
    let _ = writeln!(
        out,
        "{}  {} (each site's own days, the end not included)",
        report.meta.report,
        periods.join(", against ")
    );
    let tables = tables(&report.data);
    if tables.iter().all(|(_, listing)| listing.rows.is_empty()) {
        let _ = writeln!(out, "\nThere is nothing to report.");
    }
    for (title, listing) in tables
        .iter()
        .filter(|(_, listing)| !listing.rows.is_empty())
    {
        if !title.is_empty() {
            let _ = writeln!(out, "\n{title}");
        }
        let _ = writeln!(out, "{}", drawn(listing));
    }
    let _ = writeln!(out);
    for period in &report.meta.periods {
        let until = period
            .still_to_come
            .map(|rest| rest.to())
            .or(period.data_through)
            .unwrap_or(Timestamp::MAX);
        let read = CompletenessSummary {
            to: until,
            data_through: period.data_through,
            gaps: &period.gaps,
            before_start: &period.before_start,
            still_to_come: period.still_to_come,
        };
        let through = read.describe(|at| instant(at, &TimeZone::UTC));
        let left_out = match period.excluded_payments {
            Some(count @ 1..) => format!(", {count} payments left out as their provider does"),
            _ => String::new(),
        };
        let early = match period.before_start.is_empty() {
            true => "",
            false => ", not read before sync.start",
        };
        let _ = writeln!(
            out,
            "{} to {}: {through}; {} rejects, {}{early}{left_out}; run {}",
            day(&period.from),
            day(&period.to),
            period.rejects,
            gaps(read.unread_windows().len()),
            report.meta.run
        );
    }
    out
}

/// A civil time, without the midnight.
fn day(civil: &str) -> &str {
    civil.strip_suffix("T00:00:00").unwrap_or(civil)
}

/// Tables with their titles: as people read them.
fn tables(data: &ReportData) -> Vec<(String, ReportRows)> {
    match data {
        ReportData::HeatMap(_) => grids(data),
        ReportData::Products(PeriodReport {
            period2: Some(_), ..
        })
        | ReportData::PaymentTypes(PeriodReport {
            period2: Some(_), ..
        })
        | ReportData::Events(PeriodReport {
            period2: Some(_), ..
        })
        | ReportData::ShiftPayments(PeriodReport {
            period2: Some(_), ..
        })
        | ReportData::ShiftProducts(PeriodReport {
            period2: Some(_), ..
        }) => vec![(String::new(), side_by_side(data))],
        ReportData::Products(_)
        | ReportData::PaymentTypes(_)
        | ReportData::Events(_)
        | ReportData::ShiftPayments(_)
        | ReportData::ShiftProducts(_) => {
            // One period: its name says nothing.
            let mut listing = report_rows(data);
            listing.header.remove(0);
            listing.numbers -= 1;
            listing.rows.iter_mut().for_each(|row| drop(row.remove(0)));
            vec![(String::new(), listing)]
        }
        _ => vec![(String::new(), report_rows(data))],
    }
}

/// A week a currency, its days from top to bottom, its hours from left to right.
fn grids(data: &ReportData) -> Vec<(String, ReportRows)> {
    let ReportData::HeatMap(cells) = data else {
        return Vec::new();
    };
    let mut currencies: BTreeMap<&str, BTreeMap<(i8, i8), i64>> = BTreeMap::new();
    for cell in cells {
        currencies
            .entry(&cell.currency)
            .or_default()
            .insert((cell.day, cell.hour), cell.count);
    }
    let grid = |counts: BTreeMap<(i8, i8), i64>| {
        let mut listing = ReportRows::new([""], 1);
        listing
            .header
            .extend((0..24).map(|hour| format!("{hour:02}")));
        for (day, name) in (1_i8..).zip(WEEKDAYS) {
            let count = |hour: i8| {
                counts
                    .get(&(day, hour))
                    .map_or_else(String::new, i64::to_string)
            };
            listing.rows.push(
                [name.to_owned()]
                    .into_iter()
                    .chain((0..24).map(count))
                    .collect(),
            );
        }
        listing
    };
    currencies
        .into_iter()
        .map(|(currency, counts)| {
            (
                format!("{currency}, transactions by weekday and hour"),
                grid(counts),
            )
        })
        .collect()
}

/// Labels, then each figure of both periods with what became of it.
fn side_by_side(data: &ReportData) -> ReportRows {
    let flat = report_rows(data);
    let (labels, figures) = (flat.numbers - 1, flat.header.len() - flat.numbers);
    let mut listing = ReportRows {
        header: flat.header[1..flat.numbers].to_vec(),
        numbers: labels,
        rows: Vec::new(),
    };
    for name in &flat.header[flat.numbers..] {
        listing
            .header
            .extend([name.clone(), BEFORE.to_owned(), "change %".to_owned()]);
    }
    // By label: the figures of both periods, in the order of the first and then of what only the second has.
    let mut order: Vec<Vec<String>> = Vec::new();
    let mut both: BTreeMap<Vec<String>, [Vec<String>; 2]> = BTreeMap::new();
    for row in &flat.rows {
        let label = row[1..flat.numbers].to_vec();
        let found = both.entry(label.clone()).or_insert_with(|| {
            order.push(label);
            [vec!["0".to_owned(); figures], vec!["0".to_owned(); figures]]
        });
        found[usize::from(row[0] == "period2")] = row[flat.numbers..].to_vec();
    }
    for label in order {
        let Some([now, before]) = both.get(&label) else {
            continue;
        };
        let mut row = label;
        for (now, before) in now.iter().zip(before) {
            row.extend([now.clone(), before.clone(), change(now, before)]);
        }
        listing.rows.push(row);
    }
    listing
}

/// Growth in per cent; nothing where the earlier figure was zero.
fn change(now: &str, before: &str) -> String {
    let growth = exact(now).zip(exact(before)).and_then(|(now, before)| {
        let scale = now.scale.max(before.scale);
        now.rescaled(scale)?.growth_against(before.rescaled(scale)?)
    });
    growth.map_or_else(String::new, |growth| growth.to_string())
}

/// A number as it is written in the rows of a report.
fn exact(text: &str) -> Option<ExactDecimal> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let units = format!("{whole}{fraction}").parse().ok()?;
    Some(ExactDecimal::new(units, u8::try_from(fraction.len()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::CsvStyle;
    use tillhouse_model::CivilPeriod;
    use tillhouse_statistics::sales_report::{PaymentTypeSales, PeriodData};

    fn payments(rows: &[(&str, i64, i128)]) -> PeriodData<PaymentTypeSales> {
        let row = |(word, quantity, revenue): &(&str, i64, i128)| PaymentTypeSales {
            payment_type: (*word).to_owned(),
            quantity: *quantity,
            revenue: ExactDecimal::new(*revenue, 4),
            report_group: None,
            currency: "EUR".to_owned(),
        };
        let period =
            CivilPeriod::parse("2026-01-01..2026-02-01").unwrap_or_else(|e| unreachable!("{e}"));
        PeriodData::new(&period, rows.iter().map(row).collect())
    }

    #[test]
    fn periods_stand_side_by_side() {
        let data = ReportData::PaymentTypes(PeriodReport {
            period1: payments(&[("card", 3, 125_000), ("cash, coins", 1, 1)]),
            period2: Some(payments(&[("card", 2, 250_000), ("token", 1, 10_000)])),
        });
        let listing = side_by_side(&data);
        assert_eq!(
            listing.header.join("|"),
            "type|report_group|currency|quantity|before|change %|revenue|before|change %"
        );
        let rows: Vec<String> = listing.rows.iter().map(|row| row.join("|")).collect();
        let expected = [
            "card||EUR|3|2|50.00|12.5|25|-50.00",
            "cash, coins||EUR|1|0||0.0001|0|",
            "token||EUR|0|1|-100.00|0|1|-100.00",
        ];
        assert_eq!(rows, expected);
        // As people read them; the numbers of sales and the growth stay as they are.
        assert_eq!(
            shown(&listing, &listing.rows[0]).join("|"),
            "card||EUR|3|2|50.00|12.50|25.00|-50.00"
        );
        assert_eq!(
            shown(&listing, &listing.rows[1]).join("|"),
            "cash, coins||EUR|1|0||0.0001|0.00|"
        );
        let csv = report_rows(&data).csv(CsvStyle::default());
        assert!(
            csv.starts_with(
                "period,type,report_group,currency,quantity,revenue\nperiod1,card,,EUR,3,12.5\n"
            ),
            "{csv}"
        );
        assert!(csv.contains("\"cash, coins\""), "{csv}");
    }

    #[test]
    fn numbers_are_read_back_as_they_were() {
        for text in ["0", "-0.0001", "12.5", "-3", "123456789012345678.9"] {
            assert_eq!(
                exact(text).map(|n| n.trimmed().to_string()).as_deref(),
                Some(text)
            );
        }
    }
}
