//! The figures of a report as rows under a header, for CSV and for tables.
//!
//! Invariant: columns from `numbers` on are numbers, written exactly; whoever shows them to people shows amounts as people read them.

use crate::sales_report::{PeriodReport, PeriodSummaries, PeriodTotals, ReportData, SalesReport};
use tillhouse_model::ExactDecimal;
use tillhouse_model::terminal_escape::CsvStyle;

/// Rows under a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRows {
    /// Names of the columns.
    pub header: Vec<String>,
    /// The first column of numbers.
    pub numbers: usize,
    /// The rows; each has a cell a column.
    pub rows: Vec<Vec<String>>,
}

impl ReportRows {
    /// No rows yet.
    pub fn new<const N: usize>(header: [&str; N], numbers: usize) -> Self {
        Self {
            header: header.map(str::to_owned).to_vec(),
            numbers,
            rows: Vec::new(),
        }
    }

    /// The rows as CSV.
    pub fn csv(&self, style: CsvStyle) -> String {
        let mut out = String::new();
        for row in std::iter::once(&self.header).chain(&self.rows) {
            // A number may begin with a minus.
            let cell = |(at, cell): (usize, &String)| {
                if at < self.numbers {
                    style.cell(cell)
                } else {
                    cell.clone()
                }
            };
            let cells: Vec<String> = row.iter().enumerate().map(cell).collect();
            out.push_str(&cells.join(","));
            out.push('\n');
        }
        out
    }
}

/// A report as CSV, every figure on a line of its own.
pub fn report_csv(report: &SalesReport, style: CsvStyle) -> String {
    report_rows(&report.data).csv(style)
}

fn number(exact: ExactDecimal) -> String {
    exact.trimmed().to_string()
}

fn optional(text: &Option<String>) -> String {
    text.clone().unwrap_or_default()
}

/// The figures of a report, every one in a row of its own.
pub fn report_rows(data: &ReportData) -> ReportRows {
    match data {
        ReportData::RevenueSummary(currencies) => {
            let mut listing = ReportRows::new(["currency", "date", "value"], 2);
            for row in currencies.values().flatten() {
                listing.rows.push(vec![
                    row.currency.clone(),
                    row.date.to_string(),
                    number(row.value),
                ]);
            }
            listing
        }
        ReportData::BestSellingProducts(products) => {
            let mut listing = ReportRows::new(["name", "date", "value"], 2);
            for product in products {
                for day in &product.values {
                    listing.rows.push(vec![
                        product.name.clone(),
                        day.date.to_string(),
                        number(day.value),
                    ]);
                }
            }
            listing
        }
        ReportData::Summary(currencies) => {
            let mut listing = ReportRows::new(["currency", "period", "products", "revenue"], 2);
            for row in currencies.values().flatten() {
                for (part, sold) in parts(row) {
                    listing.rows.push(vec![
                        sold.currency.clone(),
                        part.to_owned(),
                        number(sold.products),
                        number(sold.revenue),
                    ]);
                }
            }
            listing
        }
        ReportData::HeatMap(cells) => {
            let mut listing = ReportRows::new(["currency", "day", "hour", "count", "total"], 1);
            for cell in cells {
                listing.rows.push(vec![
                    cell.currency.clone(),
                    cell.day.to_string(),
                    cell.hour.to_string(),
                    cell.count.to_string(),
                    number(cell.total),
                ]);
            }
            listing
        }
        ReportData::EventCounts(rows) => {
            let mut listing = ReportRows::new(["code", "error", "summary", "duration"], 2);
            for row in rows {
                listing.rows.push(vec![
                    row.code.clone(),
                    row.error.clone(),
                    row.summary.to_string(),
                    row.duration.to_string(),
                ]);
            }
            listing
        }
        ReportData::Products(report) => {
            let header = [
                "period",
                "product_id",
                "name",
                "internal_ref",
                "unit",
                "currency",
                "quantity",
                "revenue",
            ];
            let mut listing = ReportRows::new(header, 6);
            each(report, |period, row| {
                listing.rows.push(vec![
                    period.to_owned(),
                    optional(&row.product_id),
                    row.name.clone(),
                    optional(&row.internal_ref),
                    row.unit.clone(),
                    row.currency.clone(),
                    number(row.quantity),
                    number(row.revenue),
                ]);
            });
            listing
        }
        ReportData::PaymentTypes(report) => {
            let mut listing = ReportRows::new(
                [
                    "period",
                    "type",
                    "report_group",
                    "currency",
                    "quantity",
                    "revenue",
                ],
                4,
            );
            each(report, |period, row| {
                listing.rows.push(vec![
                    period.to_owned(),
                    row.payment_type.clone(),
                    optional(&row.report_group),
                    row.currency.clone(),
                    row.quantity.to_string(),
                    number(row.revenue),
                ]);
            });
            listing
        }
        ReportData::Events(report) => {
            let mut listing = ReportRows::new(
                [
                    "period",
                    "code",
                    "erroridentity",
                    "error",
                    "quantity",
                    "duration",
                ],
                4,
            );
            each(report, |period, row| {
                listing.rows.push(vec![
                    period.to_owned(),
                    row.code.clone(),
                    row.erroridentity
                        .map_or_else(String::new, |identity| identity.to_string()),
                    row.error.clone(),
                    row.quantity.to_string(),
                    row.duration.to_string(),
                ]);
            });
            listing
        }
        ReportData::ShiftPayments(report) => {
            let header = [
                "period",
                "shift",
                "location",
                "payment",
                "type",
                "report_group",
                "currency",
                "quantity",
                "revenue",
            ];
            let mut listing = ReportRows::new(header, 7);
            each(report, |period, row| {
                listing.rows.push(vec![
                    period.to_owned(),
                    optional(&row.shift),
                    row.location.clone(),
                    row.payment.clone(),
                    row.payment_type.clone(),
                    optional(&row.report_group),
                    row.currency.clone(),
                    row.quantity.to_string(),
                    number(row.revenue),
                ]);
            });
            listing
        }
        ReportData::ShiftProducts(report) => {
            let header = [
                "period",
                "shift",
                "product_id",
                "name",
                "barcode",
                "report_name",
                "unit",
                "currency",
                "quantity",
                "revenue",
            ];
            let mut listing = ReportRows::new(header, 8);
            each(report, |period, row| {
                listing.rows.push(vec![
                    period.to_owned(),
                    optional(&row.shift),
                    optional(&row.product_id),
                    row.name.clone(),
                    optional(&row.barcode),
                    optional(&row.report_name),
                    row.unit.clone(),
                    row.currency.clone(),
                    number(row.quantity),
                    number(row.revenue),
                ]);
            });
            listing
        }
    }
}

fn each<R>(report: &PeriodReport<R>, mut take: impl FnMut(&str, &R)) {
    report
        .period1
        .data
        .iter()
        .for_each(|row| take("period1", row));
    report
        .period2
        .iter()
        .flat_map(|period| &period.data)
        .for_each(|row| take("period2", row));
}

fn parts(row: &PeriodSummaries) -> [(&'static str, &PeriodTotals); 4] {
    [
        ("day", &row.day),
        ("week", &row.week),
        ("month", &row.month),
        ("year", &row.year),
    ]
}
