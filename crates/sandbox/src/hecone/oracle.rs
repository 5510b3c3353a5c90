//! The statistics by plain loops over the records as they are served: the house's own statistics are checked against this.
//!
//! Invariant: nothing here shares code with the house's statistics; figures are exact, and every record of the window is looked
//! at one by one.
//!
//! What is counted:
//! - The record time decides (invoice.created_at, else first article start, else first payment), in [from, to).
//! - A transaction counts when its state, as served, is one of `states` and it is not free. Free: completed or consumed, with an
//!   invoice of zero and no article that costs anything. HecOne marks no test sales, so their count is always 0.
//! - A transaction's currency is its invoice's, else the first one named by an article, else by a payment, else `unknown`; an
//!   article or payment without one has its transaction's.
//! - Articles in state declined or error, and payments that are not collected, do not count. Missing labels are `unknown`.
//! - Rankings: largest first, ties by label. Quantities are grouped by unit, units in alphabetical order.
//! - Growth is against the window of equal length just before; a currency only that one had appears with value 0.
//! - Open: created, pending or consumed, and not free.
//! - Records that do not have the document's shape are only counted, as `unreadable`.

use super::filter::Filter;
use super::records::Records;
use super::wire::Transaction;
use crate::decimal::Decimal;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
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
    /// Whether hours are "00" to "23" of each site's own clock instead.
    pub of_day: bool,
    /// A Kendo filter descriptor as JSON.
    pub filter: Option<String>,
}

impl Question {
    /// All mandators over [from, to): completed and consumed, hours in UTC.
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
pub struct Answer {
    /// HecOne's statistics, an entry a currency.
    pub data: Vec<Entry>,
    /// The counts beside them.
    pub meta: Counts,
}

/// The counts that stand in the house's `meta`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
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

/// One currency; names are the document's.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the document's")]
pub struct Entry {
    pub currency: String,
    pub hourly_transactions: Vec<Hour>,
    pub payment_type_ranking: Vec<PaymentType>,
    pub payment_medium_ranking: Vec<PaymentMedium>,
    pub payment_scheme_ranking: Vec<PaymentScheme>,
    pub payment_entry_mode_ranking: Vec<PaymentEntryMode>,
    pub payment_function_ranking: Vec<PaymentFunction>,
    pub article_quantities_ranking: Vec<Quantities>,
    pub sites_amount_ranking: Vec<SiteAmount>,
    pub sites_transactions_ranking: Vec<SiteCount>,
    pub transactions_count: Figure,
    pub transactions_total_amount: Figure,
}

/// Transactions of one hour.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the document's")]
pub struct Hour {
    pub hour: String,
    pub transactions: i64,
}

macro_rules! ranked {
    ($($name:ident $label:ident)*) => {$(
        /// One row of a ranking by amount.
        #[derive(Debug, Clone, PartialEq, Serialize)]
        #[allow(missing_docs, reason = "the names are the document's")]
        pub struct $name {
            pub amount: Decimal,
            pub $label: String,
        }

        impl $name {
            fn ranking(sums: BTreeMap<String, Decimal>) -> Vec<Self> {
                largest_first(sums).into_iter().map(|($label, amount)| Self { amount, $label }).collect()
            }
        }
    )*};
}
ranked!(PaymentType payment_type PaymentMedium payment_medium PaymentScheme payment_scheme
        PaymentEntryMode payment_entry_mode PaymentFunction payment_function);

/// One site's takings.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the document's")]
pub struct SiteAmount {
    pub amount: Decimal,
    pub site_name: String,
}

/// One site's transactions.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the document's")]
pub struct SiteCount {
    pub site_name: String,
    pub transactions: i64,
}

/// The quantities sold in one unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the document's")]
pub struct Quantities {
    pub unit_measure: String,
    pub articles_quantities: Vec<Quantity>,
}

/// The quantity of one article.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the document's")]
pub struct Quantity {
    pub article_name: String,
    pub quantity: Decimal,
}

/// A figure and its growth, per cent with two decimals; null where the earlier figure was zero.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the document's")]
pub struct Figure {
    pub growth: Option<Decimal>,
    pub value: Decimal,
}

/// The sums of one currency while looping.
#[derive(Default)]
struct Sums {
    hours: BTreeMap<(i64, String), i64>,
    /// By type, medium, scheme, entry mode and function, in that order.
    payments: [BTreeMap<String, Decimal>; 5],
    quantities: BTreeMap<String, BTreeMap<String, Decimal>>,
    /// By site id: name, amount, count.
    sites: BTreeMap<String, (String, Decimal, i64)>,
    count: i64,
    amount: Decimal,
    count_before: i64,
    amount_before: Decimal,
}

fn largest_first<V: Ord + Copy>(sums: BTreeMap<String, V>) -> Vec<(String, V)> {
    let mut ranking: Vec<(String, V)> = sums.into_iter().collect();
    ranking.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    ranking
}

fn label(text: Option<&str>) -> String {
    text.filter(|t| !t.is_empty()).unwrap_or("unknown").to_owned()
}

fn amount_of(record: &Transaction<'_>) -> Decimal {
    record.invoice.as_ref().and_then(|i| i.amount).unwrap_or(Decimal::ZERO)
}

fn is_free(record: &Transaction<'_>) -> bool {
    matches!(record.state.as_ref(), "completed" | "consumed")
        && record.invoice.as_ref().and_then(|i| i.amount).is_some_and(Decimal::is_zero)
        && record.articles.iter().all(|a| a.amount.is_none_or(Decimal::is_zero))
}

fn currency_of(record: &Transaction<'_>) -> String {
    let invoice = record.invoice.as_ref().and_then(|i| i.currency.as_deref());
    let article = || record.articles.iter().find_map(|a| a.currency.as_deref());
    let payment = || record.payments.iter().find_map(|p| p.currency.as_deref());
    label(invoice.or_else(article).or_else(payment))
}

/// The hour's sort key and label for an instant.
fn hour_of(at: i64, question: &Question, zone: Option<&TimeZone>) -> (i64, String) {
    let instant = Timestamp::from_microsecond(at).unwrap_or_default();
    if question.of_day {
        let hour = zone.unwrap_or(&TimeZone::UTC).to_datetime(instant).hour();
        return (i64::from(hour), format!("{hour:02}"));
    }
    let offset = question.timezone.to_offset(instant);
    let shift = i64::from(offset.seconds());
    let start = (at.div_euclid(1_000_000) + shift).div_euclid(3600) * 3600 - shift;
    let text = if question.timezone == TimeZone::UTC {
        Timestamp::from_second(start).unwrap_or_default().to_string()
    } else {
        super::paper::stamp(&TimeZone::fixed(offset), start)
    };
    (start, text)
}

/// Answers a question. Errors with words about the filter when that cannot be read.
pub(crate) fn answer(records: &Records, question: &Question) -> Result<Answer, String> {
    let filter = question.filter.as_deref().map(Filter::parse).transpose()?;
    let mandator =
        |row: u16| question.mandator.as_ref().is_none_or(|wanted| records.mandators[usize::from(row)] == *wanted);
    let (from, to) = (question.from.as_microsecond(), question.to.as_microsecond());
    let before = from.saturating_sub(to.saturating_sub(from));
    let mut currencies: BTreeMap<String, Sums> = BTreeMap::new();
    let mut zones: HashMap<String, Option<TimeZone>> = HashMap::new();
    let timeless = records.rows.iter().filter(|r| r.alive && r.time.is_none() && mandator(r.mandator)).count();
    let mut meta = Counts { transactions_without_time: timeless as i64, ..Counts::default() };

    for index in records.between(before, to, false) {
        let row = &records.rows[*index as usize];
        let Some(at) = row.time.filter(|_| mandator(row.mandator)) else { continue };
        let in_window = at >= from;
        let Some(record) = Transaction::parse(&row.body) else {
            meta.unreadable += i64::from(in_window);
            continue;
        };
        if filter.as_ref().is_some_and(|filter| !filter.passes(&record)) {
            continue;
        }
        if is_free(&record) {
            meta.free_transactions += i64::from(in_window);
            continue;
        }
        if in_window && matches!(record.state.as_ref(), "created" | "pending" | "consumed") {
            meta.open_transactions += 1;
        }
        if !question.states.iter().any(|state| *state == record.state) {
            continue;
        }
        let currency = currency_of(&record);
        let amount = amount_of(&record);
        let sums = currencies.entry(currency.clone()).or_default();
        if !in_window {
            sums.count_before += 1;
            sums.amount_before = sums.amount_before.plus(amount);
            continue;
        }
        sums.count += 1;
        sums.amount = sums.amount.plus(amount);
        let zone_name = record.site.as_ref().and_then(|s| s.timezone.as_deref()).unwrap_or_default();
        let zone = zones.entry(zone_name.to_owned()).or_insert_with(|| TimeZone::get(zone_name).ok());
        *sums.hours.entry(hour_of(at, question, zone.as_ref())).or_default() += 1;
        let site = sums.sites.entry(label(record.site_id.as_deref())).or_default();
        site.0 = label(record.site.as_ref().and_then(|s| s.name.as_deref()));
        site.1 = site.1.plus(amount);
        site.2 += 1;
        for payment in record.payments.iter().filter(|p| p.state.as_deref() == Some("collected")) {
            let own = payment.currency.as_deref().unwrap_or(&currency);
            let sums = currencies.entry(own.to_owned()).or_default();
            let labels = [&payment.kind, &payment.medium, &payment.scheme, &payment.entry_mode, &payment.function];
            for (sums, name) in sums.payments.iter_mut().zip(labels) {
                let sum = sums.entry(label(name.as_deref())).or_default();
                *sum = sum.plus(payment.amount.unwrap_or(Decimal::ZERO));
            }
        }
        for article in &record.articles {
            if matches!(article.state.as_deref(), Some("declined" | "error")) {
                continue;
            }
            let Some(quantity) = article.quantity else { continue };
            let own = article.currency.as_deref().unwrap_or(&currency);
            let sums = currencies.entry(own.to_owned()).or_default();
            let unit = sums.quantities.entry(label(article.unit_measure.as_deref())).or_default();
            let sum = unit.entry(label(article.name.as_deref())).or_default();
            *sum = sum.plus(quantity);
        }
    }
    Ok(Answer { data: currencies.into_iter().map(|(currency, sums)| entry(currency, sums)).collect(), meta })
}

fn entry(currency: String, sums: Sums) -> Entry {
    let [types, media, schemes, modes, functions] = sums.payments;
    let mut amounts: Vec<SiteAmount> = Vec::new();
    let mut counts: Vec<SiteCount> = Vec::new();
    for (site_name, amount, transactions) in sums.sites.into_values() {
        amounts.push(SiteAmount { amount, site_name: site_name.clone() });
        counts.push(SiteCount { site_name, transactions });
    }
    amounts.sort_by(|a, b| b.amount.cmp(&a.amount).then_with(|| a.site_name.cmp(&b.site_name)));
    counts.sort_by(|a, b| b.transactions.cmp(&a.transactions).then_with(|| a.site_name.cmp(&b.site_name)));
    let quantities = sums.quantities.into_iter().map(|(unit_measure, names)| Quantities {
        unit_measure,
        articles_quantities: largest_first(names)
            .into_iter()
            .map(|(article_name, quantity)| Quantity { article_name, quantity })
            .collect(),
    });
    let figure = |value: Decimal, before: Decimal| Figure { growth: value.growth_against(before), value };
    Entry {
        currency,
        hourly_transactions: sums
            .hours
            .into_iter()
            .map(|((_, hour), transactions)| Hour { hour, transactions })
            .collect(),
        payment_type_ranking: PaymentType::ranking(types),
        payment_medium_ranking: PaymentMedium::ranking(media),
        payment_scheme_ranking: PaymentScheme::ranking(schemes),
        payment_entry_mode_ranking: PaymentEntryMode::ranking(modes),
        payment_function_ranking: PaymentFunction::ranking(functions),
        article_quantities_ranking: quantities.collect(),
        sites_amount_ranking: amounts,
        sites_transactions_ranking: counts,
        transactions_count: figure(Decimal::from(sums.count), Decimal::from(sums.count_before)),
        transactions_total_amount: figure(sums.amount, sums.amount_before),
    }
}
