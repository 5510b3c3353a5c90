//! The shapes of the reports: SmartNow's field names, its spelling included, plus a currency or a unit where adding up needs one.
//!
//! Invariant: every amount is an [`ExactDecimal`] and stands beside its currency, every quantity beside its unit; what a report is made of is
//! ordered, so that the same figures always give the same text.

use crate::report::ReportedGap;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tillhouse_model::PeriodRequest;
use tillhouse_model::json::fault;
use tillhouse_model::{CivilPeriod, Error, ExactDecimal, Result, Window};

/// A report: SmartNow's answer as it is, and whether it may be trusted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SalesReport {
    /// The answer.
    pub data: ReportData,
    /// Request, and whether the answer may be trusted.
    pub meta: ReportMeta,
}

/// The answer of one of the reports.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ReportData {
    /// Revenue by currency and day.
    RevenueSummary(BTreeMap<String, Vec<RevenueOfDay>>),
    /// The products that sold best, day by day.
    BestSellingProducts(Vec<ProductDays>),
    /// A day, its week, its month and its year, by currency.
    Summary(BTreeMap<String, Vec<PeriodSummaries>>),
    /// Weekday by hour.
    HeatMap(Vec<HeatMapCell>),
    /// Events by code.
    EventCounts(Vec<EventCount>),
    /// Products of one or two periods.
    Products(PeriodReport<ProductSales>),
    /// Payment types of one or two periods.
    PaymentTypes(PeriodReport<PaymentTypeSales>),
    /// Events of one or two periods.
    Events(PeriodReport<EventSum>),
    /// Payments by shift, of one or two periods.
    ShiftPayments(PeriodReport<ShiftPayments>),
    /// Products by shift, of one or two periods.
    ShiftProducts(PeriodReport<ShiftProducts>),
}

/// The revenue of one day in one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RevenueOfDay {
    /// ISO 4217, or `unknown`.
    pub currency: String,
    /// Always 1: nothing is converted.
    #[serde(rename = "currencyRate")]
    pub currency_rate: ExactDecimal,
    /// The sites' own day.
    pub date: Date,
    /// The revenue before conversion, so the same as `value`.
    #[serde(rename = "orginalValue")]
    pub original_value: ExactDecimal,
    /// The revenue, in major units.
    pub value: ExactDecimal,
}

/// One product's days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProductDays {
    /// The current product name, or `unknown`.
    pub name: String,
    /// The days on which it was sold, in order.
    pub values: Vec<DayValue>,
}

/// Sales of one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DayValue {
    /// The sites' own day.
    pub date: Date,
    /// Number sold.
    pub value: ExactDecimal,
}

/// Sales of four periods around one date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeriodSummaries {
    /// The date itself.
    pub day: PeriodTotals,
    /// Its month.
    pub month: PeriodTotals,
    /// Its ISO week.
    pub week: PeriodTotals,
    /// Its year.
    pub year: PeriodTotals,
}

/// Number and revenue of the products sold in a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeriodTotals {
    /// ISO 4217, or `unknown`.
    pub currency: String,
    /// Number of products.
    pub products: ExactDecimal,
    /// The revenue, in major units.
    pub revenue: ExactDecimal,
}

/// One hour of one weekday.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeatMapCell {
    /// ISO 4217, or `unknown`; SmartNow's answer has no such field, because it has one currency.
    pub currency: String,
    /// 1 Monday to 7 Sunday.
    pub day: i8,
    /// 0 to 23, on each site's own clock.
    pub hour: i8,
    /// Number of transactions.
    pub count: i64,
    /// Their amount, in major units.
    pub total: ExactDecimal,
}

/// Number of occurrences of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventCount {
    /// The provider's code, or `unknown`.
    pub code: String,
    /// Meaning of the code, or the code again.
    pub error: String,
    /// Count.
    pub summary: i64,
    /// Total seconds of those that ended.
    pub duration: i64,
}

/// A report over one or two periods.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PeriodReport<R> {
    /// The first.
    pub period1: PeriodData<R>,
    /// Data of the period to compare with, where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period2: Option<PeriodData<R>>,
}

/// One period's rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeriodData<R> {
    /// The rows, the largest first.
    pub data: Vec<R>,
    /// The last second, on each site's own clock.
    #[serde(rename = "endDate")]
    pub end_date: String,
    /// The first second.
    #[serde(rename = "startDate")]
    pub start_date: String,
}

impl<R> PeriodData<R> {
    /// The rows of a period.
    pub fn new(period: &CivilPeriod, data: Vec<R>) -> Self {
        let written = |at: jiff::civil::DateTime| at.strftime("%Y-%m-%d %H:%M:%S").to_string();
        Self {
            data,
            end_date: written(period.last_second()),
            start_date: written(period.from()),
        }
    }
}

/// One product's sales.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProductSales {
    /// The product's key, `<pipeline>:<id>`; null where the article names none, and where several machines sell it, each by a key of its
    /// own.
    #[serde(rename = "productId")]
    pub product_id: Option<String>,
    /// Its current name, or `unknown`.
    pub name: String,
    /// The operator's code of it.
    #[serde(rename = "internalRef")]
    pub internal_ref: Option<String>,
    /// Revenue, in major units.
    pub revenue: ExactDecimal,
    /// Quantity sold, in `unit`.
    pub quantity: ExactDecimal,
    /// ISO 4217, or `unknown`.
    pub currency: String,
    /// The canonical unit of `quantity`, or `unknown`; SmartNow's answer has no such field, because it counts pieces.
    pub unit: String,
}

/// The payments of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PaymentTypeSales {
    /// The provider's word, or `unknown`.
    #[serde(rename = "type")]
    pub payment_type: String,
    /// Number of payments.
    pub quantity: i64,
    /// Amount paid, in major units.
    pub revenue: ExactDecimal,
    /// The group the provider reports them under.
    #[serde(rename = "reportGroup")]
    pub report_group: Option<String>,
    /// ISO 4217, or `unknown`.
    pub currency: String,
}

/// The events of one code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EventSum {
    /// The provider's code, or `unknown`.
    pub code: String,
    /// The provider's number of what the code means; null where it has none, or several for one code.
    pub erroridentity: Option<i64>,
    /// Meaning of the code, or the code again.
    pub error: String,
    /// Count.
    pub quantity: i64,
    /// Total seconds of those that ended.
    pub duration: i64,
}

/// The payments of one shift and one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShiftPayments {
    /// The current name of the site, or its key, or `unknown`.
    pub location: String,
    /// Means of payment, in the provider's words, or `unknown`.
    pub payment: String,
    /// Number of payments.
    pub quantity: i64,
    /// The group the provider reports them under.
    #[serde(rename = "reportGroup")]
    pub report_group: Option<String>,
    /// Amount paid, in major units.
    pub revenue: ExactDecimal,
    /// The shift's key, `<pipeline>:<id>`; null for what was sold in none.
    pub shift: Option<String>,
    /// The provider's word for the type, or `unknown`.
    #[serde(rename = "type")]
    pub payment_type: String,
    /// ISO 4217, or `unknown`; SmartNow's answer has no such field.
    pub currency: String,
}

/// One product's sales in one shift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShiftProducts {
    /// The shift's key, `<pipeline>:<id>`; null for what was sold in none.
    pub shift: Option<String>,
    /// As in [`ProductSales`].
    #[serde(rename = "productId")]
    pub product_id: Option<String>,
    /// Its current name, or `unknown`.
    pub name: String,
    /// Its bar code, where all its machines have the same.
    pub barcode: Option<String>,
    /// Its name in the provider's reports, where all its machines have the same.
    #[serde(rename = "reportName")]
    pub report_name: Option<String>,
    /// Quantity sold, in `unit`.
    pub quantity: ExactDecimal,
    /// Revenue, in major units.
    pub revenue: ExactDecimal,
    /// Equal to `revenue`: nothing says in what the provider's differs.
    pub sum: ExactDecimal,
    /// ISO 4217, or `unknown`.
    pub currency: String,
    /// The canonical unit of `quantity`, or `unknown`; SmartNow's answer has no such field.
    pub unit: String,
}

/// Request, and whether the answer may be trusted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReportMeta {
    /// The report's name.
    pub report: String,
    /// The tenant asked for; null for all.
    pub tenant: Option<String>,
    /// The source asked for; null for all.
    pub source: Option<String>,
    /// The sites asked for; empty for all.
    pub sites: Vec<String>,
    /// The devices asked for; empty for all.
    pub devices: Vec<String>,
    /// The groups of sites asked for, whose sites count as if they were named.
    pub site_groups: Vec<String>,
    /// The groups of devices asked for.
    pub device_groups: Vec<String>,
    /// `sale` or `purchase`.
    pub perspective: String,
    /// The transaction states that count.
    pub states: Vec<String>,
    /// Edition of the definitions.
    pub definitions_version: u32,
    /// The published run the figures come from.
    pub run: String,
    /// The periods, in the order in which they were asked for.
    pub periods: Vec<PeriodMeta>,
}

/// Trust in the answer for one period.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PeriodMeta {
    /// The first second, on each site's own clock.
    pub from: String,
    /// The first second no longer counted.
    pub to: String,
    /// End of what every pipeline has read without a gap, from the window's beginning on; null
    /// where that was not read.
    pub data_through: Option<Timestamp>,
    /// Windows not read that the period needs, in any of the sites' time zones.
    pub gaps: Vec<ReportedGap>,
    /// Windows that were not read and were not to be, since it lies before the resource's `sync.start`: no gap, and not read by any later sync of itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before_start: Vec<ReportedGap>,
    /// The end of the period that no run can have read yet, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub still_to_come: Option<Window>,
    /// Records of the period that did not fit their contract.
    pub rejects: i64,
    /// Payments left out because their provider leaves them out of its own reports; in the payment report alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excluded_payments: Option<i64>,
}

/// Body of a SmartNow report request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportRequestBody {
    /// Devices.
    #[serde(default)]
    pub machines: Vec<ReportEntityId>,
    /// Sites.
    #[serde(default)]
    pub locations: Vec<ReportEntityId>,
    /// Groups of devices, whose devices count as if they were named.
    #[serde(default)]
    pub machine_groups: Vec<ReportEntityId>,
    /// Groups of sites, likewise.
    #[serde(default)]
    pub location_groups: Vec<ReportEntityId>,
    /// The first period.
    pub period1: PeriodRequest,
    /// Period to compare with.
    #[serde(default)]
    pub period2: Option<PeriodRequest>,
}

/// Id of a site, device or group, as the provider's number or as text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum ReportEntityId {
    /// SmartNow's.
    Number(u64),
    /// Anybody's, or a key of the unified model.
    Text(String),
}

impl ReportEntityId {
    /// As text.
    pub fn into_text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

impl ReportRequestBody {
    /// Reads the JSON of a request.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] when it is no such request.
    pub fn parse(json: &str) -> Result<Self> {
        serde_json::from_str(json).map_err(|e| {
            Error::config("the report request cannot be read")
                .because(fault(&e))
                .hint("docs/reports.md shows one.")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_the_document_shows_it() {
        let body = ReportRequestBody::parse(
            r#"{"machines": [87, 94, "smartnow:80"], "machineGroups": [3], "locationGroups": ["smartnow:4"],
                "period1": {"referenceDate": "2019-03-11T11:40:43+01:00",
                    "startDate": {"year": 0, "month": 1, "day": 1, "week": null, "hour": 0, "minute": 0, "second": 0},
                    "endDate": {"year": 0, "month": 0, "day": 0, "week": null, "hour": 23, "minute": 59, "second": 59}}}"#,
        )
        .unwrap();
        let machines: Vec<String> = body
            .machines
            .into_iter()
            .map(ReportEntityId::into_text)
            .collect();
        assert_eq!(machines, ["87", "94", "smartnow:80"]);
        assert_eq!(body.machine_groups, [ReportEntityId::Number(3)]);
        assert_eq!(
            body.location_groups,
            [ReportEntityId::Text("smartnow:4".into())]
        );
        let period = body.period1.resolve("2000-01-01".parse().unwrap()).unwrap();
        let shown = serde_json::to_string(&PeriodData::<()>::new(&period, vec![])).unwrap();
        assert_eq!(
            shown,
            r#"{"data":[],"endDate":"2019-03-11 23:59:59","startDate":"2019-01-01 00:00:00"}"#
        );
    }

    #[test]
    fn nonsense_is_refused() {
        let period = r#""period1": {"startDate": {}, "endDate": {}}"#;
        for broken in [
            "",
            "{}",
            "[]",
            r#"{"period1": 1}"#,
            &format!(r#"{{"machine": [1], {period}}}"#),
        ] {
            assert_eq!(
                ReportRequestBody::parse(broken).unwrap_err().kind(),
                tillhouse_model::ErrorKind::Config,
                "{broken}"
            );
        }
    }
}
