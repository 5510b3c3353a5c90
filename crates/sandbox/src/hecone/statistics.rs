//! HecOne's statistics: its records, turned into the oracle's sales one by one.
//!
//! Invariant: every record of the window is looked at, and the figures are the oracle's; what HecOne means by a record stands here.
//!
//! - The record time decides (invoice.created_at, else first article start, else first payment), in [from, to).
//! - Free are completed or consumed transactions with an invoice of zero and no article that costs anything: they are only counted. HecOne
//!   marks no test sales, so their count is always 0.
//! - A transaction's currency is its invoice's, else the first one named by an article, else by a payment.
//! - Records that do not have the document's shape are only counted, as `unreadable`.

use super::filter::HecOneFilter;
use super::records::HecOneRecordStore;
use super::wire::HecOneTransaction;
use crate::decimal::Decimal;
use crate::oracle::{self, OracleArticle, OracleEntry, OraclePayment, OracleSale};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::collections::HashMap;
use tillhouse_model::time_zone::time_zone;

/// Request for statistics.
#[derive(Debug, Clone)]
pub struct HecOneStatisticsQuery {
    /// One mandator; `None` for all of the login's.
    pub mandator: Option<String>,
    /// The first instant counted.
    pub from: Timestamp,
    /// The first instant no longer counted.
    pub to: Timestamp,
    /// The transaction states that count.
    pub states: Vec<String>,
    /// The zone in which hours are cut and labelled.
    pub timezone: TimeZone,
    /// True if hours are "00" to "23" of each site's own clock instead.
    pub of_day: bool,
    /// A Kendo filter descriptor as JSON.
    pub filter: Option<String>,
}

impl HecOneStatisticsQuery {
    /// Query over all mandators in [from, to): completed and consumed, hours in UTC.
    pub fn new(from: Timestamp, to: Timestamp) -> Self {
        Self {
            mandator: None,
            from,
            to,
            states: vec!["completed".into(), "consumed".into()],
            timezone: TimeZone::UTC,
            of_day: false,
            filter: None,
        }
    }
}

/// The answer: one entry a currency, ordered by currency.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HecOneStatisticsBody {
    /// HecOne's statistics, an entry a currency.
    pub data: Vec<OracleEntry>,
    /// The counts beside them.
    pub meta: HecOneStatisticsCounts,
}

/// Counts of Tillhouse's `meta`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct HecOneStatisticsCounts {
    /// Created, pending or consumed in the window, free ones aside.
    pub open_transactions: i64,
    /// Sales of the window that cost nothing.
    pub free_transactions: i64,
    /// Always 0: HecOne marks none.
    pub test_transactions: i64,
    /// Known records without any time.
    pub transactions_without_time: i64,
    /// Records of the window that do not have the document's shape.
    pub unreadable: i64,
}

fn text(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn is_free(record: &HecOneTransaction<'_>) -> bool {
    matches!(record.state.as_ref(), "completed" | "consumed")
        && record
            .invoice
            .as_ref()
            .and_then(|i| i.amount)
            .is_some_and(Decimal::is_zero)
        && record
            .articles
            .iter()
            .all(|a| a.amount.is_none_or(Decimal::is_zero))
}

/// A record as a sale; `zone` is its site's.
fn sale(record: &HecOneTransaction<'_>, at: Timestamp, zone: Option<&TimeZone>) -> OracleSale {
    let invoice = record.invoice.as_ref();
    let currency = invoice.and_then(|invoice| invoice.currency.as_deref());
    let currency = currency.or_else(|| {
        record
            .articles
            .iter()
            .find_map(|article| article.currency.as_deref())
    });
    let currency = currency.or_else(|| {
        record
            .payments
            .iter()
            .find_map(|payment| payment.currency.as_deref())
    });
    // An article without a quantity has no place among the quantities.
    let articles = record
        .articles
        .iter()
        .filter(|article| article.quantity.is_some())
        .map(|article| OracleArticle {
            name: text(article.name.as_deref()),
            state: text(article.state.as_deref()),
            unit: text(article.unit_measure.as_deref()),
            quantity: article.quantity,
            currency: article.currency.as_deref().map(str::to_owned),
            ..OracleArticle::default()
        });
    let payments = record.payments.iter().map(|payment| OraclePayment {
        words: [
            &payment.kind,
            &payment.medium,
            &payment.scheme,
            &payment.entry_mode,
            &payment.function,
        ]
        .map(|word| text(word.as_deref())),
        is_collected: payment.state.as_deref() == Some("collected"),
        amount: payment.amount,
        currency: payment.currency.as_deref().map(str::to_owned),
        ..OraclePayment::default()
    });
    OracleSale {
        state: Some(record.state.to_string()),
        at: Some(at),
        local: zone.map(|zone| zone.to_datetime(at)),
        amount: invoice.and_then(|invoice| invoice.amount),
        currency: text(currency),
        site: text(record.site_id.as_deref()),
        site_name: text(record.site.as_ref().and_then(|site| site.name.as_deref())),
        articles: articles.collect(),
        payments: payments.collect(),
        ..OracleSale::of("hecone")
    }
}

/// Answers a question. Errors with words about the filter when that cannot be read.
pub(crate) fn answer(
    records: &HecOneRecordStore,
    question: &HecOneStatisticsQuery,
) -> Result<HecOneStatisticsBody, String> {
    let filter = question
        .filter
        .as_deref()
        .map(HecOneFilter::parse)
        .transpose()?;
    let mandator = |row: u16| {
        question
            .mandator
            .as_ref()
            .is_none_or(|wanted| records.mandators[usize::from(row)] == *wanted)
    };
    let mut asked = oracle::OracleQuery::new(question.from, question.to);
    asked.states.clone_from(&question.states);
    asked.timezone = question.timezone.clone();
    asked.of_day = question.of_day;
    let timeless = records
        .rows
        .iter()
        .filter(|r| r.alive && r.time.is_none() && mandator(r.mandator))
        .count();
    let mut meta = HecOneStatisticsCounts {
        transactions_without_time: timeless as i64,
        ..HecOneStatisticsCounts::default()
    };
    let mut zones: HashMap<String, Option<TimeZone>> = HashMap::new();
    let mut sales = Vec::new();
    for index in records.between(
        asked.before.0.as_microsecond(),
        asked.window.1.as_microsecond(),
        false,
    ) {
        let row = &records.rows[*index as usize];
        let Some(at) = row.time.filter(|_| mandator(row.mandator)) else {
            continue;
        };
        let at = Timestamp::from_microsecond(at).unwrap_or_default();
        let in_window = at >= question.from;
        let Some(record) = HecOneTransaction::parse(&row.body) else {
            meta.unreadable += i64::from(in_window);
            continue;
        };
        if filter
            .as_ref()
            .is_some_and(|filter| !filter.passes(&record))
        {
            continue;
        }
        if is_free(&record) {
            meta.free_transactions += i64::from(in_window);
            continue;
        }
        let zone = record
            .site
            .as_ref()
            .and_then(|s| s.timezone.as_deref())
            .unwrap_or_default();
        let zone = zones
            .entry(zone.to_owned())
            .or_insert_with(|| time_zone(zone));
        sales.push(sale(&record, at, zone.as_ref()));
    }
    let oracle::OracleStatistics { data, counts, .. } = oracle::answer(&sales, &asked);
    meta.open_transactions = counts.open_transactions;
    Ok(HecOneStatisticsBody { data, meta })
}
