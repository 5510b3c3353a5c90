//! SmartNow's reports over all sources: revenue by day, products, payment types, events, and how they compare with another period.
//!
//! Invariant: what counts as a sale is what the statistics count, by the same conditions; a day is each site's own day, never
//! the asker's. Nothing here reads the clock: the date that relative periods count from comes with the request.
//!
//! ```text
//!   ReportRequest ─> ReportScope ─┬─ zones     the window that a period is in the sites' own time zones
//!                                 ├─ groups    whose members the sites and devices are
//!                                 ├─ revenue   transactions by currency, day, hour
//!                                 ├─ products ┐ children: what hangs on a transaction
//!                                 ├─ payments ┘
//!                                 ├─ shifts    payments and products between a shift's first and last sale
//!                                 └─ events    by code, on the clock of the event's site
//!   ReportData, and the completeness of every period ─> sales_report::SalesReport
//! ```
//!
//! `week` counts statistics by weekday and hour, as `revenue` does with amounts; neither is a report of SmartNow's.
//!
//! docs/reports.md defines each report for its readers; keep it and this folder alike.

mod children;
mod events;
mod groups;
mod payments;
mod periods;
mod products;
mod revenue;
mod scope;
mod shifts;
mod week;
mod zones;

pub use periods::{read_period, refuse_the_future};
pub use revenue::heat_map;
pub use week::{WeekHour, week_hours};

use crate::completeness;
use crate::definitions::{COUNTED_STATES, DEFINITIONS_VERSION, SALE};
use crate::request::{CheckedRequest, StatisticsRequest};
use crate::sales_report::{
    PeriodData, PeriodMeta, PeriodReport, ReportData, ReportMeta, SalesReport,
};
use jiff::Span;
use jiff::civil::Date;
use scope::ReportScope;
use std::fmt;
use std::str::FromStr;
use tillhouse_lake::Warehouse;
use tillhouse_model::{CivilPeriod, Error, ErrorKind, Result, Window};
use tillhouse_query::Session;

/// Default number of best-selling products.
pub const DEFAULT_AMOUNT: usize = 10;
/// Default number of codes in the event counts.
pub const DEFAULT_LIMIT: usize = 10;
/// Whose logs events stand in.
const SCOPES: [&str; 5] = ["transaction", "article", "payment", "receipt", "device"];
/// Months that the heat map looks back.
const HEAT_MAP_MONTHS: i64 = 3;

/// Name of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportName {
    /// Revenue by currency and day.
    RevenueSummary,
    /// The products that sold best, day by day.
    BestSellingProducts,
    /// A day, its ISO week, its month, its year.
    Summary,
    /// Weekday by hour over three months.
    HeatMap,
    /// Events by code.
    EventCounts,
    /// Products of one period against another.
    Products,
    /// Payment types of one period against another.
    PaymentTypes,
    /// Events of one period against another.
    Events,
    /// Payments by shift, of one period against another.
    ShiftPayments,
    /// Products by shift, of one period against another.
    ShiftProducts,
}

impl ReportName {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::RevenueSummary,
        Self::BestSellingProducts,
        Self::Summary,
        Self::HeatMap,
        Self::EventCounts,
        Self::Products,
        Self::PaymentTypes,
        Self::Events,
        Self::ShiftPayments,
        Self::ShiftProducts,
    ];

    /// As it is typed: `revenue-summary`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RevenueSummary => "revenue-summary",
            Self::BestSellingProducts => "best-selling-products",
            Self::Summary => "summary",
            Self::HeatMap => "heat-map",
            Self::EventCounts => "event-counts",
            Self::Products => "products",
            Self::PaymentTypes => "payment-types",
            Self::Events => "events",
            Self::ShiftPayments => "shift-payments",
            Self::ShiftProducts => "shift-products",
        }
    }

    /// True for a date of reference, false for periods.
    pub fn is_about_a_date(self) -> bool {
        matches!(self, Self::Summary | Self::HeatMap)
    }

    /// True if it compares two periods.
    pub fn compares(self) -> bool {
        matches!(
            self,
            Self::Products
                | Self::PaymentTypes
                | Self::Events
                | Self::ShiftPayments
                | Self::ShiftProducts
        )
    }
}

impl fmt::Display for ReportName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ReportName {
    type Err = Error;

    /// Errors with [`ErrorKind::Config`].
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|name| name.as_str() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::as_str).join(", ");
                Error::config(format!("there is no report {text:?}"))
                    .hint(format!("There are {names}."))
            })
    }
}

/// A report, and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportRequest {
    /// Its name.
    pub name: ReportName,
    /// Date or periods.
    pub when: ReportTime,
    /// Only that tenant's, by `tenant_id`; all by default.
    pub tenant: Option<String>,
    /// Only that source's; all by default.
    pub source: Option<String>,
    /// `sale` (the default) or `purchase`; events have neither.
    pub perspective: String,
    /// The transaction states that count; completed and consumed by default. Events have none.
    pub states: Vec<String>,
    /// Only these sites, by key (`smartnow:2`) or by the provider's id (`2`, of any pipeline); all where empty.
    pub sites: Vec<String>,
    /// Only these devices, likewise.
    pub devices: Vec<String>,
    /// Groups of sites, likewise by key or id: their sites count as if they were named.
    pub site_groups: Vec<String>,
    /// Groups of devices, likewise.
    pub device_groups: Vec<String>,
    /// Number of best-selling products.
    pub amount: usize,
    /// Number of codes in the event counts.
    pub limit: usize,
    /// Whose logs are counted: transaction, article, payment, receipt, device; all where empty.
    pub scopes: Vec<String>,
}

/// Time that a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportTime {
    /// A period, and for reports that compare, the one it is compared with.
    Periods(CivilPeriod, Option<CivilPeriod>),
    /// The day, week, month and year, or the three months, that a date is in or ends.
    On(Date),
}

impl ReportRequest {
    /// A report of everything, by the defaults.
    pub fn new(name: ReportName, when: ReportTime) -> Self {
        Self {
            name,
            when,
            tenant: None,
            source: None,
            perspective: SALE.to_owned(),
            states: COUNTED_STATES.map(str::to_owned).to_vec(),
            sites: Vec::new(),
            devices: Vec::new(),
            site_groups: Vec::new(),
            device_groups: Vec::new(),
            amount: DEFAULT_AMOUNT,
            limit: DEFAULT_LIMIT,
            scopes: Vec::new(),
        }
    }

    /// Request for the conditions that statistics share.
    fn as_statistics(&self, window: Window) -> StatisticsRequest {
        StatisticsRequest {
            tenant: self.tenant.clone(),
            source: self.source.clone(),
            perspective: self.perspective.clone(),
            states: self.states.clone(),
            ..StatisticsRequest::new(window)
        }
    }

    /// The periods it reads, in the order in which they are shown.
    fn periods(&self) -> Result<Vec<CivilPeriod>> {
        Ok(match (self.name.is_about_a_date(), self.when) {
            (false, ReportTime::Periods(one, two)) => [one]
                .into_iter()
                .chain(two.filter(|_| self.name.compares()))
                .collect(),
            (true, ReportTime::On(date)) if self.name == ReportName::HeatMap => {
                vec![three_months(date)?]
            }
            (true, ReportTime::On(date)) => vec![revenue::around(date)?],
            (true, ReportTime::Periods(..)) => {
                return Err(
                    Error::config(format!("{} is about a date, not a period", self.name))
                        .hint("Give the date of reference; today's is the default."),
                );
            }
            (false, ReportTime::On(_)) => {
                return Err(Error::config(format!("{} is about a period", self.name))
                    .hint("Say from when to when."));
            }
        })
    }

    fn check(&self) -> Result<()> {
        if let Some(unknown) = self
            .scopes
            .iter()
            .find(|scope| !SCOPES.contains(&scope.as_str()))
        {
            return Err(
                Error::config(format!("there are no events of scope {unknown:?}"))
                    .hint(format!("Name some of {}.", SCOPES.join(", "))),
            );
        }
        if self.amount == 0 || self.limit == 0 {
            return Err(
                Error::config("a list of nothing was asked for").hint("Ask for one row at least.")
            );
        }
        Ok(())
    }
}

/// The three months that end with a date: from the day after that day three months earlier.
fn three_months(date: Date) -> Result<CivilPeriod> {
    let beyond =
        |e| Error::config(format!("{date} is too near the end of the calendar")).because(e);
    let from = date
        .checked_sub(Span::new().months(HEAT_MAP_MONTHS))
        .and_then(Date::tomorrow)
        .map_err(beyond)?;
    CivilPeriod::days(from, date.tomorrow().map_err(beyond)?)
}

/// A report, with the completeness of its periods.
///
/// Errors with [`ErrorKind::Config`] when the request names something unknown, with [`ErrorKind::Query`] when the session does not
/// read a published run.
pub async fn report(
    session: &Session,
    warehouse: &Warehouse,
    request: &ReportRequest,
) -> Result<SalesReport> {
    let run = session.run().ok_or_else(|| {
        Error::new(
            ErrorKind::Query,
            "reports are asked of a published run, and this session reads none",
        )
    })?;
    let (data, excluded) = answer(session, request).await?;
    let mut periods = Vec::new();
    for (index, period) in request.periods()?.iter().enumerate() {
        let asked =
            request.as_statistics(zones::window(session, request.source.as_deref(), period).await?);
        let trust = completeness::check_completeness(
            session,
            warehouse,
            run,
            &CheckedRequest::new(&asked)?,
        )
        .await?;
        periods.push(PeriodMeta {
            from: period.from().to_string(),
            to: period.to().to_string(),
            data_through: trust.data_through,
            rejects: trust.rejects,
            gaps: trust.gaps,
            before_start: trust.before_start,
            still_to_come: trust.still_to_come,
            excluded_payments: excluded.get(index).copied(),
        });
    }
    let meta = ReportMeta {
        report: request.name.as_str().to_owned(),
        tenant: request.tenant.clone(),
        source: request.source.clone(),
        sites: request.sites.clone(),
        devices: request.devices.clone(),
        site_groups: request.site_groups.clone(),
        device_groups: request.device_groups.clone(),
        perspective: request.perspective.clone(),
        states: request.states.clone(),
        definitions_version: DEFINITIONS_VERSION,
        run: run.run_id.clone(),
        periods,
    };
    Ok(SalesReport { data, meta })
}

/// The figures alone, of any session that has the unified tables, also one over tables somebody registered.
///
/// Errors with [`ErrorKind::Config`] when the request names something unknown.
pub async fn report_data(session: &Session, request: &ReportRequest) -> Result<ReportData> {
    Ok(answer(session, request).await?.0)
}

/// The figures, and how many payments were left out of each period of a payment report.
async fn answer(session: &Session, request: &ReportRequest) -> Result<(ReportData, Vec<i64>)> {
    request.check()?;
    let periods = request.periods()?;
    let first = *periods
        .first()
        .ok_or_else(|| Error::internal("a report without a period"))?;
    let asked =
        request.as_statistics(zones::window(session, request.source.as_deref(), &first).await?);
    let question = CheckedRequest::new(&asked)?;
    let scope = ReportScope {
        session,
        question: &question,
        request,
        places: groups::places(session, request).await?,
    };
    let second = periods.get(1).copied();
    let mut excluded = Vec::new();
    let data = match (request.name, request.when) {
        (ReportName::RevenueSummary, _) => {
            ReportData::RevenueSummary(revenue::by_day(&scope, &first).await?)
        }
        (ReportName::Summary, ReportTime::On(date)) => {
            ReportData::Summary(revenue::summaries(&scope, &first, date).await?)
        }
        (ReportName::Summary | ReportName::HeatMap, _) => {
            ReportData::HeatMap(revenue::heat(&scope, &first).await?)
        }
        (ReportName::BestSellingProducts, _) => {
            ReportData::BestSellingProducts(products::best_selling(&scope, &first).await?)
        }
        (ReportName::EventCounts, _) => {
            ReportData::EventCounts(events::counts(&scope, &first).await?)
        }
        (ReportName::Products, _) => {
            let mut of = Vec::new();
            for period in &periods {
                of.push(products::sales(&scope, period).await?);
            }
            ReportData::Products(compared(&first, second.as_ref(), of))
        }
        (ReportName::PaymentTypes, _) => {
            let mut of = Vec::new();
            for period in &periods {
                let (rows, left_out) = payments::by_type(&scope, period).await?;
                excluded.push(left_out);
                of.push(rows);
            }
            ReportData::PaymentTypes(compared(&first, second.as_ref(), of))
        }
        (ReportName::Events, _) => {
            let mut of = Vec::new();
            for period in &periods {
                of.push(events::sums(&scope, period).await?);
            }
            ReportData::Events(compared(&first, second.as_ref(), of))
        }
        (ReportName::ShiftPayments, _) => {
            let mut of = Vec::new();
            for period in &periods {
                let (rows, left_out) = shifts::payments(&scope, period).await?;
                excluded.push(left_out);
                of.push(rows);
            }
            ReportData::ShiftPayments(compared(&first, second.as_ref(), of))
        }
        (ReportName::ShiftProducts, _) => {
            let mut of = Vec::new();
            for period in &periods {
                of.push(products::sales_by_shift(&scope, period).await?);
            }
            ReportData::ShiftProducts(compared(&first, second.as_ref(), of))
        }
    };
    Ok((data, excluded))
}

fn compared<R>(
    first: &CivilPeriod,
    second: Option<&CivilPeriod>,
    rows: Vec<Vec<R>>,
) -> PeriodReport<R> {
    let mut rows = rows.into_iter();
    let mut next = || rows.next().unwrap_or_default();
    let period1 = PeriodData::new(first, next());
    PeriodReport {
        period1,
        period2: second.map(|period| PeriodData::new(period, next())),
    }
}
