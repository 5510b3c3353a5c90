//! A house of tables in memory for the reports: sites with clocks of their own, products, payments, events.
//!
//! Invariant: the tables have the columns reports read, under the unified contracts' names and types. What a site's clock shows is
//! worked out by a POSIX rule, not by the tables the crate has.

use crate::fixture::{register, some, text};
use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int64Array, ListBuilder, StringBuilder,
    TimestampMicrosecondArray,
};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::sync::Arc;
use tillhouse_query::{QueryEngine, QueryEngineOptions, Session};

/// The sites' keys, and the zones of their clocks: by name for the crate, by rule for the test.
pub(crate) const SITES: [(&str, &str, &str); 3] = [
    ("p:1", "Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"),
    ("q:2", "America/New_York", "EST5EDT,M3.2.0,M11.1.0"),
    ("p:3", "Asia/Kolkata", "IST-5:30"),
];

/// A transaction. Its key is its pipeline, a colon and its position.
#[derive(Debug, Clone)]
pub(crate) struct OracleSale {
    pub(crate) tenant: Option<String>,
    pub(crate) source: String,
    pub(crate) perspective: String,
    pub(crate) kind: String,
    pub(crate) state: Option<String>,
    pub(crate) at: Option<Timestamp>,
    /// In ten-thousandths.
    pub(crate) amount: Option<i128>,
    pub(crate) currency: Option<String>,
    /// A position in [`SITES`].
    pub(crate) site: Option<usize>,
    pub(crate) device: Option<String>,
}

/// An article of the transaction at position `sale`.
#[derive(Debug, Clone)]
pub(crate) struct OracleArticle {
    pub(crate) sale: usize,
    pub(crate) product: Option<String>,
    pub(crate) code: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) unit: Option<String>,
    /// In millionths.
    pub(crate) quantity: Option<i128>,
    /// In ten-thousandths.
    pub(crate) amount: Option<i128>,
    pub(crate) currency: Option<String>,
}

/// A payment of the transaction at position `sale`.
#[derive(Debug, Clone)]
pub(crate) struct OraclePayment {
    pub(crate) sale: usize,
    pub(crate) payment_type: Option<String>,
    pub(crate) state: Option<String>,
    pub(crate) excluded: Option<bool>,
    pub(crate) report_group: Option<String>,
    /// In ten-thousandths.
    pub(crate) amount: Option<i128>,
    pub(crate) currency: Option<String>,
}

/// An entry of a log.
#[derive(Debug, Clone)]
pub(crate) struct OracleEvent {
    pub(crate) scope: String,
    pub(crate) code: Option<String>,
    pub(crate) identity: Option<i64>,
    pub(crate) description: Option<String>,
    pub(crate) at: Option<Timestamp>,
    pub(crate) seconds: Option<i64>,
    pub(crate) tenant: Option<String>,
    pub(crate) source: String,
    pub(crate) site: Option<usize>,
    pub(crate) device: Option<String>,
}

/// Unified tables in memory, for the reports and their oracle.
#[derive(Debug, Clone, Default)]
pub(crate) struct OracleTables {
    pub(crate) sales: Vec<OracleSale>,
    pub(crate) articles: Vec<OracleArticle>,
    pub(crate) payments: Vec<OraclePayment>,
    pub(crate) events: Vec<OracleEvent>,
    /// Key, name, code.
    pub(crate) products: Vec<(String, Option<String>, Option<String>)>,
    /// Key, site, first and last sale.
    pub(crate) shifts: Vec<(
        &'static str,
        usize,
        Option<&'static str>,
        Option<&'static str>,
    )>,
    /// Key, devices.
    pub(crate) device_groups: Vec<(&'static str, Vec<&'static str>)>,
}

/// Local time of a site; UTC where there is none.
pub(crate) fn wall(site: Option<usize>, at: Timestamp) -> DateTime {
    let zone = site.map_or(TimeZone::UTC, |site| {
        TimeZone::posix(SITES[site].2).unwrap()
    });
    zone.to_datetime(at)
}

/// The site's key, and the pipeline in it.
pub(crate) fn site_key(site: Option<usize>) -> Option<String> {
    site.map(|site| SITES[site].0.to_owned())
}

pub(crate) fn pipeline(site: Option<usize>) -> String {
    site_key(site).map_or("p".to_owned(), |key| key[..1].to_owned())
}

impl OracleSale {
    /// A completed sale in euros at the first site.
    pub(crate) fn new(at: &str, amount: i128) -> Self {
        Self {
            tenant: None,
            source: "smartnow".to_owned(),
            perspective: "sale".to_owned(),
            kind: "sale".to_owned(),
            state: some("completed"),
            at: Some(at.parse().unwrap()),
            amount: Some(amount),
            currency: some("EUR"),
            site: Some(0),
            device: some("p:87"),
        }
    }
}

impl OracleArticle {
    /// One piece.
    pub(crate) fn new(sale: usize, name: &str, amount: i128) -> Self {
        Self {
            sale,
            product: None,
            code: None,
            name: some(name),
            state: some("done"),
            unit: some("pc"),
            quantity: Some(1_000_000),
            amount: Some(amount),
            currency: some("EUR"),
        }
    }
}

impl OraclePayment {
    /// A collected payment in euros.
    pub(crate) fn new(sale: usize, payment_type: &str, amount: i128) -> Self {
        Self {
            sale,
            payment_type: some(payment_type),
            state: some("collected"),
            excluded: None,
            report_group: None,
            amount: Some(amount),
            currency: some("EUR"),
        }
    }
}

impl OracleEvent {
    /// A device's event at the first site.
    pub(crate) fn new(at: &str, code: &str, seconds: i64) -> Self {
        Self {
            scope: "device".to_owned(),
            code: some(code),
            identity: None,
            description: None,
            at: Some(at.parse().unwrap()),
            seconds: Some(seconds),
            tenant: None,
            source: "smartnow".to_owned(),
            site: Some(0),
            device: some("p:87"),
        }
    }
}

impl OracleTables {
    /// A session in which these are the unified tables.
    pub(crate) fn session(&self) -> Session {
        let options = QueryEngineOptions {
            threads: 2,
            ..QueryEngineOptions::default()
        };
        let session = QueryEngine::new(options).unwrap().empty_session().unwrap();
        let every: Vec<usize> = (0..self.sales.len()).collect();
        let mut columns = self.inherited(&every, "state");
        let offset = |sale: &OracleSale| {
            let at = sale.at?;
            // A site without a clock has no offset either.
            let zone = TimeZone::posix(SITES[sale.site?].2).unwrap();
            Some(i64::from(zone.to_offset(at).seconds()) / 60)
        };
        columns.push((
            "utc_offset_minutes",
            Arc::new(self.sales.iter().map(offset).collect::<Int64Array>()),
        ));
        columns.push(("amount", decimal(self.sales.iter().map(|s| s.amount), 4)));
        columns.push((
            "currency",
            text(self.sales.iter().map(|s| s.currency.clone())),
        ));
        register(&session, "transactions", columns);

        let of = |get: fn(&OracleArticle) -> Option<String>| text(self.articles.iter().map(get));
        let parents: Vec<usize> = self.articles.iter().map(|a| a.sale).collect();
        let mut columns = self.inherited(&parents, "transaction_state");
        columns.push(("product_key", of(|a| a.product.clone())));
        columns.push(("product_code", of(|a| a.code.clone())));
        columns.push(("name", of(|a| a.name.clone())));
        columns.push(("state", of(|a| a.state.clone())));
        columns.push(("unit_measure", of(|a| a.unit.clone())));
        columns.push((
            "quantity",
            decimal(self.articles.iter().map(|a| a.quantity), 6),
        ));
        columns.push(("amount", decimal(self.articles.iter().map(|a| a.amount), 4)));
        columns.push(("currency", of(|a| a.currency.clone())));
        register(&session, "articles", columns);

        let of = |get: fn(&OraclePayment) -> Option<String>| text(self.payments.iter().map(get));
        let parents: Vec<usize> = self.payments.iter().map(|p| p.sale).collect();
        let mut columns = self.inherited(&parents, "transaction_state");
        columns.push(("type", of(|p| p.payment_type.clone())));
        columns.push(("medium", of(|p| p.payment_type.clone())));
        columns.push(("state", of(|p| p.state.clone())));
        columns.push((
            "excluded",
            Arc::new(
                self.payments
                    .iter()
                    .map(|p| p.excluded)
                    .collect::<BooleanArray>(),
            ),
        ));
        columns.push(("report_group", of(|p| p.report_group.clone())));
        columns.push(("amount", decimal(self.payments.iter().map(|p| p.amount), 4)));
        columns.push(("currency", of(|p| p.currency.clone())));
        register(&session, "payments", columns);

        let of = |get: fn(&OracleEvent) -> Option<String>| text(self.events.iter().map(get));
        let columns = vec![
            ("scope", of(|e| Some(e.scope.clone()))),
            ("code", of(|e| e.code.clone())),
            (
                "error_identity",
                Arc::new(
                    self.events
                        .iter()
                        .map(|e| e.identity)
                        .collect::<Int64Array>(),
                ) as ArrayRef,
            ),
            ("description", of(|e| e.description.clone())),
            ("occurred_at", times(self.events.iter().map(|e| e.at))),
            (
                "duration_seconds",
                Arc::new(
                    self.events
                        .iter()
                        .map(|e| e.seconds)
                        .collect::<Int64Array>(),
                ) as ArrayRef,
            ),
            ("pipeline", of(|e| Some(pipeline(e.site)))),
            ("source", of(|e| Some(e.source.clone()))),
            ("tenant_id", of(|e| e.tenant.clone())),
            ("site_key", of(|e| site_key(e.site))),
            ("device_key", of(|e| e.device.clone())),
            ("month", text(self.events.iter().map(|e| Some(month(e.at))))),
        ];
        register(&session, "events", columns);

        let sites = vec![
            ("site_key", text(SITES.iter().map(|site| some(site.0)))),
            ("name", text(SITES.iter().map(|_| None))),
            ("timezone", text(SITES.iter().map(|site| some(site.1)))),
            ("source", text(SITES.iter().map(|_| some("smartnow")))),
        ];
        register(&session, "sites", sites);
        let products = vec![
            (
                "product_key",
                text(self.products.iter().map(|p| Some(p.0.clone()))),
            ),
            ("name", text(self.products.iter().map(|p| p.1.clone()))),
            ("code", text(self.products.iter().map(|p| p.2.clone()))),
        ];
        register(&session, "products", products);
        self.register_shifts_and_groups(&session);
        session
    }

    /// Shifts and groups, where there are some.
    fn register_shifts_and_groups(&self, session: &Session) {
        let pipelines = |keys: Vec<&'static str>| text(keys.into_iter().map(|key| some(&key[..1])));
        let never = |rows: usize| times((0..rows).map(|_| None));
        if !self.shifts.is_empty() {
            let columns = vec![
                ("shift_key", text(self.shifts.iter().map(|s| some(s.0)))),
                (
                    "site_key",
                    text(self.shifts.iter().map(|s| site_key(Some(s.1)))),
                ),
                (
                    "first_transaction_key",
                    text(self.shifts.iter().map(|s| s.2.map(str::to_owned))),
                ),
                (
                    "last_transaction_key",
                    text(self.shifts.iter().map(|s| s.3.map(str::to_owned))),
                ),
                (
                    "pipeline",
                    pipelines(self.shifts.iter().map(|s| s.0).collect()),
                ),
                ("_deleted_at", never(self.shifts.len())),
            ];
            register(session, "shifts", columns);
        }
        if !self.device_groups.is_empty() {
            let mut members = ListBuilder::new(StringBuilder::new());
            for (_, devices) in &self.device_groups {
                members.append_value(devices.iter().map(|device| Some(*device)));
            }
            let groups = || self.device_groups.iter().map(|group| group.0);
            let columns = vec![
                ("group_key", text(groups().map(some))),
                ("name", text(groups().map(some))),
                ("device_keys", Arc::new(members.finish()) as ArrayRef),
                ("pipeline", pipelines(groups().collect())),
                ("source", text(groups().map(|_| some("smartnow")))),
                ("_deleted_at", never(self.device_groups.len())),
            ];
            register(session, "device_groups", columns);
        }
    }

    /// The columns every fact has from its transaction.
    fn inherited(&self, parents: &[usize], state: &'static str) -> Vec<(&'static str, ArrayRef)> {
        let sales = || parents.iter().map(|i| &self.sales[*i]);
        let of = |get: fn(&OracleSale) -> Option<String>| text(sales().map(get));
        let day = |sale: &OracleSale| {
            Some(
                (wall(sale.site, sale.at?)
                    .date()
                    .duration_since(EPOCH)
                    .as_hours()
                    / 24) as i32,
            )
        };
        let hour = |sale: &OracleSale| Some(i64::from(wall(sale.site, sale.at?).hour()));
        let key = |i: &usize| Some(format!("{}:{i}", pipeline(self.sales[*i].site)));
        vec![
            ("transaction_key", text(parents.iter().map(key))),
            ("pipeline", of(|s| Some(pipeline(s.site)))),
            ("source", of(|s| Some(s.source.clone()))),
            ("tenant_id", of(|s| s.tenant.clone())),
            ("perspective", of(|s| Some(s.perspective.clone()))),
            ("kind", of(|s| Some(s.kind.clone()))),
            (state, of(|s| s.state.clone())),
            ("site_key", of(|s| site_key(s.site))),
            ("device_key", of(|s| s.device.clone())),
            ("occurred_at", times(sales().map(|s| s.at))),
            ("month", of(|s| Some(month(s.at)))),
            (
                "business_date",
                Arc::new(sales().map(day).collect::<Date32Array>()),
            ),
            (
                "local_hour",
                Arc::new(sales().map(hour).collect::<Int64Array>()),
            ),
        ]
    }
}

const EPOCH: jiff::civil::Date = jiff::civil::Date::constant(1970, 1, 1);

fn month(at: Option<Timestamp>) -> String {
    at.map_or("none".to_owned(), |at| at.strftime("%Y-%m").to_string())
}

fn times(values: impl Iterator<Item = Option<Timestamp>>) -> ArrayRef {
    let micros = values.map(|at| at.map(Timestamp::as_microsecond));
    Arc::new(
        micros
            .collect::<TimestampMicrosecondArray>()
            .with_timezone("UTC"),
    )
}

fn decimal(values: impl Iterator<Item = Option<i128>>, scale: i8) -> ArrayRef {
    Arc::new(
        values
            .collect::<Decimal128Array>()
            .with_precision_and_scale(18, scale)
            .unwrap(),
    )
}
