//! The statistics by plain loops, as docs/statistics.md defines them: every sale is looked at for every question.
//!
//! Invariant: nothing here shares code with the crate `statistics`, which is checked against this; figures are exact. A caller turns
//! records of an API, or rows of tables, into [`OracleSale`]s first.
//!
//! ```
//! use tillhouse_sandbox::oracle::{OracleQuery, OracleSale, answer};
//!
//! let [from, to] = ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"].map(|text| text.parse().unwrap());
//! let sale = OracleSale { state: Some("completed".into()), at: Some(from), currency: Some("EUR".into()), ..OracleSale::of("hecone") };
//! let answer = answer([&sale], &OracleQuery::new(from, to));
//! assert_eq!(answer.data[0].transactions_count.value.to_string(), "1");
//! ```
//!
//! Counted are:
//! - Sales and refunds of the perspective, tenant and source asked for, in one of the states asked for, at a time in [from, to).
//! - An article or payment without a currency has its transaction's; that without one has `unknown`.
//! - Articles in state declined or error, and payments that are not collected, do not count. Missing labels are `unknown`.
//! - Rankings: largest first, ties by label. Quantities are grouped by unit, units in alphabetical order. Sites are grouped by key.
//! - Growth is against the window before; a currency only that one had appears with value 0.
//! - Open: created, pending or consumed.
//! - The bridge from charged to collected: every collected payment of the window is in `collected` or in `collected_elsewhere`.

use crate::decimal::Decimal;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::collections::BTreeMap;

/// A transaction with its articles and payments.
#[derive(Debug, Clone, Default)]
pub struct OracleSale {
    /// The source it came from.
    pub source: String,
    /// `sale`, or `purchase` where the buyer reports it.
    pub perspective: String,
    /// The tenant.
    pub tenant: Option<String>,
    /// `sale`, `refund`, `void`, `free` or `test`; none where there are payments only, whose transaction is nowhere.
    pub kind: Option<String>,
    /// The state.
    pub state: Option<String>,
    /// The record time.
    pub at: Option<Timestamp>,
    /// The date and time that the site's own clock showed; UTC's where it is not known.
    pub local: Option<DateTime>,
    /// The amount charged.
    pub amount: Option<Decimal>,
    /// The currency.
    pub currency: Option<String>,
    /// The site's key.
    pub site: Option<String>,
    /// The site's current name.
    pub site_name: Option<String>,
    /// The device's key.
    pub device: Option<String>,
    /// Articles sold.
    pub articles: Vec<OracleArticle>,
    /// Payments.
    pub payments: Vec<OraclePayment>,
}

/// An article.
#[derive(Debug, Clone, Default)]
pub struct OracleArticle {
    /// The product's key.
    pub product: Option<String>,
    /// The product's current name, else the article's own.
    pub name: Option<String>,
    /// The product's current code, else the article's own.
    pub code: Option<String>,
    /// The state.
    pub state: Option<String>,
    /// The unit of the quantity.
    pub unit: Option<String>,
    /// The quantity.
    pub quantity: Option<Decimal>,
    /// The amount charged for it.
    pub amount: Option<Decimal>,
    /// Its own currency.
    pub currency: Option<String>,
}

/// A payment.
#[derive(Debug, Clone, Default)]
pub struct OraclePayment {
    /// Type, medium, scheme, entry mode and function.
    pub words: [Option<String>; 5],
    /// True in the state `collected`.
    pub is_collected: bool,
    /// True where the provider leaves it out of its own reports.
    pub is_excluded: bool,
    /// The group it has in its provider's reports.
    pub report_group: Option<String>,
    /// The amount.
    pub amount: Option<Decimal>,
    /// Its own currency.
    pub currency: Option<String>,
}

/// Mandator, window, states, time zone and filter of a statistics query.
#[derive(Debug, Clone)]
pub struct OracleQuery {
    /// The perspective of the transactions that count.
    pub perspective: String,
    /// One tenant's only.
    pub tenant: Option<String>,
    /// One source's only.
    pub source: Option<String>,
    /// The transaction states that count.
    pub states: Vec<String>,
    /// The first instant counted, and the first no longer counted.
    pub window: (Timestamp, Timestamp),
    /// The window that growth is measured against.
    pub before: (Timestamp, Timestamp),
    /// The zone in which hours are cut and labelled.
    pub timezone: TimeZone,
    /// Hours are "00" to "23" of each site's own clock instead.
    pub of_day: bool,
}

impl OracleSale {
    /// A sale of a source, of which no more is known.
    pub fn of(source: &str) -> Self {
        let (source, perspective, kind) = (
            source.to_owned(),
            "sale".to_owned(),
            Some("sale".to_owned()),
        );
        Self {
            source,
            perspective,
            kind,
            ..Self::default()
        }
    }

    fn is_sold(&self) -> bool {
        matches!(self.kind.as_deref(), Some("sale" | "refund"))
    }

    /// The currency's label.
    pub fn currency(&self) -> &str {
        label(self.currency.as_ref())
    }

    /// Articles that count, each with the label of its currency.
    pub fn sold(&self) -> impl Iterator<Item = (&OracleArticle, &str)> {
        let counts = |article: &&OracleArticle| {
            !matches!(article.state.as_deref(), Some("declined" | "error"))
        };
        self.articles.iter().filter(counts).map(|article| {
            (
                article,
                article.currency.as_deref().unwrap_or(self.currency()),
            )
        })
    }

    /// Payments that count, each with the label of its currency.
    pub fn collected(&self) -> impl Iterator<Item = (&OraclePayment, &str)> {
        let collected = self.payments.iter().filter(|payment| payment.is_collected);
        collected.map(|payment| {
            (
                payment,
                payment.currency.as_deref().unwrap_or(self.currency()),
            )
        })
    }
}

fn is_in(at: Timestamp, (from, to): (Timestamp, Timestamp)) -> bool {
    from <= at && at < to
}

impl OracleQuery {
    /// Query for all that was sold in [from, to): completed and consumed, hours in UTC, growth
    /// against as long a window just before.
    pub fn new(from: Timestamp, to: Timestamp) -> Self {
        let before = from
            .checked_sub(to.duration_since(from))
            .unwrap_or(Timestamp::MIN);
        Self {
            perspective: "sale".to_owned(),
            tenant: None,
            source: None,
            states: vec!["completed".to_owned(), "consumed".to_owned()],
            window: (from, to),
            before: (before, from),
            timezone: TimeZone::UTC,
            of_day: false,
        }
    }

    /// True for a sale that is asked about, at whatever time and in whatever state.
    pub fn is_about(&self, sale: &OracleSale) -> bool {
        sale.perspective == self.perspective
            && self
                .tenant
                .as_ref()
                .is_none_or(|tenant| sale.tenant.as_ref() == Some(tenant))
            && self
                .source
                .as_ref()
                .is_none_or(|source| sale.source == *source)
    }

    fn has_state(&self, sale: &OracleSale) -> bool {
        sale.state
            .as_ref()
            .is_some_and(|state| self.states.contains(state))
    }

    /// True for a sale that is counted where its time is asked for.
    pub fn takes(&self, sale: &OracleSale) -> bool {
        self.is_about(sale) && sale.is_sold() && self.has_state(sale)
    }

    /// True for a sale that is counted in the window.
    pub fn counts(&self, sale: &OracleSale) -> bool {
        self.takes(sale) && sale.at.is_some_and(|at| is_in(at, self.window))
    }

    /// The sort key and the label of the hour of a sale.
    fn hour(&self, sale: &OracleSale, at: Timestamp) -> (i64, String) {
        if self.of_day {
            let hour = sale
                .local
                .unwrap_or_else(|| TimeZone::UTC.to_datetime(at))
                .hour();
            return (i64::from(hour), format!("{hour:02}"));
        }
        let offset = self.timezone.to_offset(at);
        let ahead = i64::from(offset.seconds());
        let second = at.as_microsecond().div_euclid(1_000_000);
        let even = (second + ahead).div_euclid(3600) * 3600 - ahead;
        // Where the clock was changed within the hour, it began with the change.
        let next = Timestamp::from_second(second + 1).unwrap_or(at);
        let change = self.timezone.preceding(next).next();
        let start = change.map_or(even, |change| even.max(change.timestamp().as_second()));
        let instant = Timestamp::from_second(start).unwrap_or_default();
        if self.timezone == TimeZone::UTC {
            return (start, instant.to_string());
        }
        let (sign, size) = if ahead < 0 {
            ('-', -ahead)
        } else {
            ('+', ahead)
        };
        (
            start,
            format!(
                "{}{sign}{:02}:{:02}",
                offset.to_datetime(instant),
                size / 3600,
                size / 60 % 60
            ),
        )
    }
}

/// Statistics of a query: one entry a currency, ordered by currency.
#[derive(Debug, Clone, PartialEq)]
pub struct OracleStatistics {
    /// HecOne's statistics, an entry a currency.
    pub data: Vec<OracleEntry>,
    /// Counts of Tillhouse's `meta`.
    pub counts: OracleCounts,
    /// Bridges from charged to collected, an entry a currency.
    pub bridge: Vec<OracleBridge>,
}

/// Counts of the statistics' `meta`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are those of `meta`")]
pub struct OracleCounts {
    pub open_transactions: i64,
    pub free_transactions: i64,
    pub test_transactions: i64,
    pub transactions_without_time: i64,
    pub transactions_without_amount: i64,
    pub payments_without_amount: i64,
    pub payments_without_sale: i64,
    pub payments_without_time: i64,
}

/// Statistics of one currency; names are the document's.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the document's")]
pub struct OracleEntry {
    pub currency: String,
    pub hourly_transactions: Vec<OracleHour>,
    pub payment_type_ranking: Vec<PaymentType>,
    pub payment_medium_ranking: Vec<PaymentMedium>,
    pub payment_scheme_ranking: Vec<PaymentScheme>,
    pub payment_entry_mode_ranking: Vec<PaymentEntryMode>,
    pub payment_function_ranking: Vec<PaymentFunction>,
    pub article_quantities_ranking: Vec<OracleUnitQuantities>,
    pub sites_amount_ranking: Vec<OracleSiteAmount>,
    pub sites_transactions_ranking: Vec<OracleSiteCount>,
    pub transactions_count: OracleFigure,
    pub transactions_total_amount: OracleFigure,
}

/// Transactions of one hour.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the document's")]
pub struct OracleHour {
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
            fn ranking(sums: BTreeMap<&str, Decimal>) -> Vec<Self> {
                largest_first(sums).into_iter().map(|($label, amount)| Self { amount, $label }).collect()
            }
        }
    )*};
}
ranked!(PaymentType payment_type PaymentMedium payment_medium PaymentScheme payment_scheme
        PaymentEntryMode payment_entry_mode PaymentFunction payment_function);

/// Amount collected at one site.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the document's")]
pub struct OracleSiteAmount {
    pub amount: Decimal,
    pub site_name: String,
}

/// Number of transactions at one site.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the document's")]
pub struct OracleSiteCount {
    pub site_name: String,
    pub transactions: i64,
}

/// The quantities sold in one unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the document's")]
pub struct OracleUnitQuantities {
    pub unit_measure: String,
    pub articles_quantities: Vec<OracleArticleQuantity>,
}

/// The quantity of one article.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the document's")]
pub struct OracleArticleQuantity {
    pub article_name: String,
    pub quantity: Decimal,
}

/// A figure and its growth, per cent with two decimals; null where the earlier figure was zero.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the document's")]
pub struct OracleFigure {
    pub growth: Option<Decimal>,
    pub value: Decimal,
}

/// Bridge from charged to collected in one currency; names are those of `meta`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are those of `meta`")]
pub struct OracleBridge {
    pub currency: String,
    pub total: Decimal,
    pub collected: Decimal,
    pub open: Decimal,
    pub collected_excluded: Decimal,
    pub collected_elsewhere: OracleCollectedElsewhere,
    pub free: OracleUncounted,
    pub test: OracleUncounted,
    pub excluded: OracleUncounted,
}

/// Transactions that are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are those of `meta`")]
pub struct OracleUncounted {
    pub transactions: i64,
    pub amount: Decimal,
}

/// Payments collected on transactions that are not counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are those of `meta`")]
pub struct OracleCollectedElsewhere {
    pub count: i64,
    pub amount: Decimal,
    pub by_state: Vec<StateAmount>,
}

/// Payments of one state and kind of transactions.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are those of `meta`")]
pub struct StateAmount {
    pub state: String,
    pub kind: Option<String>,
    pub count: i64,
    pub amount: Decimal,
}

/// Running sums of one currency.
#[derive(Default)]
struct OracleSums<'s> {
    hours: BTreeMap<(i64, String), i64>,
    /// By type, medium, scheme, entry mode and function, in that order.
    payments: [BTreeMap<&'s str, Decimal>; 5],
    quantities: BTreeMap<&'s str, BTreeMap<&'s str, Decimal>>,
    /// By the site's key: name, amount, count.
    sites: BTreeMap<Option<&'s str>, (&'s str, Decimal, i64)>,
    count: i64,
    amount: Decimal,
    count_before: i64,
    amount_before: Decimal,
}

/// The bridge of one currency while looping.
#[derive(Default)]
struct OracleWindows<'s> {
    sums: OracleBridge,
    /// By the transaction's state and kind: count, amount.
    elsewhere: BTreeMap<(&'s str, Option<&'s str>), (i64, Decimal)>,
}

fn largest_first<V: Ord + Copy>(sums: BTreeMap<&str, V>) -> Vec<(String, V)> {
    let mut ranking: Vec<(String, V)> = sums
        .into_iter()
        .map(|(name, sum)| (name.to_owned(), sum))
        .collect();
    ranking.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    ranking
}

/// A label, `unknown` where there is none.
pub fn label(text: Option<&String>) -> &str {
    text.map_or("unknown", String::as_str)
}

fn add(sum: &mut Decimal, value: Option<Decimal>) {
    *sum = sum.plus(value.unwrap_or_default());
}

/// Answers a question.
pub fn answer<'s>(
    sales: impl IntoIterator<Item = &'s OracleSale>,
    question: &OracleQuery,
) -> OracleStatistics {
    let mut currencies: BTreeMap<&str, OracleSums<'_>> = BTreeMap::new();
    let mut bridges: BTreeMap<&str, OracleWindows<'_>> = BTreeMap::new();
    let mut counts = OracleCounts::default();
    for sale in sales.into_iter().filter(|sale| question.is_about(sale)) {
        let is_known = sale.kind.is_some();
        let payments = sale.payments.len() as i64;
        let Some(at) = sale.at else {
            counts.transactions_without_time += i64::from(is_known);
            counts.payments_without_time += if is_known { 0 } else { payments };
            continue;
        };
        let currency = sale.currency();
        if is_in(at, question.before) && question.takes(sale) {
            let sums = currencies.entry(currency).or_default();
            sums.count_before += 1;
            add(&mut sums.amount_before, sale.amount);
        }
        if !is_in(at, question.window) {
            continue;
        }
        let amounts = sale.collected().map(|(payment, _)| payment.amount);
        counts.payments_without_amount += amounts.filter(Option::is_none).count() as i64;
        if sale.is_sold()
            && matches!(
                sale.state.as_deref(),
                Some("created" | "pending" | "consumed")
            )
        {
            counts.open_transactions += 1;
        }
        if !question.takes(sale) {
            let state = if is_known {
                label(sale.state.as_ref())
            } else {
                "without_sale"
            };
            for (payment, own) in sale.collected() {
                let by_state = &mut bridges.entry(own).or_default().elsewhere;
                let sum = by_state.entry((state, sale.kind.as_deref())).or_default();
                sum.0 += 1;
                add(&mut sum.1, payment.amount);
            }
            if !is_known {
                counts.payments_without_sale += payments;
                continue;
            }
            let bridge = &mut bridges.entry(currency).or_default().sums;
            let beside = match sale.kind.as_deref() {
                Some("free") if question.has_state(sale) => {
                    counts.free_transactions += 1;
                    &mut bridge.free
                }
                Some("test") if question.has_state(sale) => {
                    counts.test_transactions += 1;
                    &mut bridge.test
                }
                _ => &mut bridge.excluded,
            };
            beside.transactions += 1;
            add(&mut beside.amount, sale.amount);
            continue;
        }
        counts.transactions_without_amount += i64::from(sale.amount.is_none());
        add(
            &mut bridges.entry(currency).or_default().sums.total,
            sale.amount,
        );
        let sums = currencies.entry(currency).or_default();
        sums.count += 1;
        add(&mut sums.amount, sale.amount);
        *sums.hours.entry(question.hour(sale, at)).or_default() += 1;
        let site = sums.sites.entry(sale.site.as_deref()).or_default();
        site.0 = label(sale.site_name.as_ref());
        add(&mut site.1, sale.amount);
        site.2 += 1;
        for (payment, own) in sale.collected() {
            for (ranking, word) in currencies
                .entry(own)
                .or_default()
                .payments
                .iter_mut()
                .zip(&payment.words)
            {
                add(
                    ranking.entry(label(word.as_ref())).or_default(),
                    payment.amount,
                );
            }
            let bridge = &mut bridges.entry(own).or_default().sums;
            add(&mut bridge.collected, payment.amount);
            if payment.is_excluded {
                add(&mut bridge.collected_excluded, payment.amount);
            }
        }
        for (article, own) in sale.sold() {
            let names = currencies
                .entry(own)
                .or_default()
                .quantities
                .entry(label(article.unit.as_ref()))
                .or_default();
            add(
                names.entry(label(article.name.as_ref())).or_default(),
                article.quantity,
            );
        }
    }
    OracleStatistics {
        data: currencies
            .into_iter()
            .map(|(currency, sums)| sums.entry(currency))
            .collect(),
        counts,
        bridge: bridges
            .into_iter()
            .map(|(currency, spans)| spans.bridge(currency))
            .collect(),
    }
}

impl OracleSums<'_> {
    fn entry(self, currency: &str) -> OracleEntry {
        let [types, media, schemes, modes, functions] = self.payments;
        let mut amounts: Vec<OracleSiteAmount> = Vec::new();
        let mut counts: Vec<OracleSiteCount> = Vec::new();
        for (name, amount, transactions) in self.sites.into_values() {
            amounts.push(OracleSiteAmount {
                amount,
                site_name: name.to_owned(),
            });
            counts.push(OracleSiteCount {
                site_name: name.to_owned(),
                transactions,
            });
        }
        amounts.sort_by(|a, b| {
            b.amount
                .cmp(&a.amount)
                .then_with(|| a.site_name.cmp(&b.site_name))
        });
        counts.sort_by(|a, b| {
            b.transactions
                .cmp(&a.transactions)
                .then_with(|| a.site_name.cmp(&b.site_name))
        });
        let quantity = |(article_name, quantity)| OracleArticleQuantity {
            article_name,
            quantity,
        };
        let quantities = self
            .quantities
            .into_iter()
            .map(|(unit, names)| OracleUnitQuantities {
                unit_measure: unit.to_owned(),
                articles_quantities: largest_first(names).into_iter().map(quantity).collect(),
            });
        let figure = |value: Decimal, before: Decimal| OracleFigure {
            growth: value.growth_against(before),
            value,
        };
        let hours = self.hours.into_iter();
        OracleEntry {
            currency: currency.to_owned(),
            hourly_transactions: hours
                .map(|((_, hour), transactions)| OracleHour { hour, transactions })
                .collect(),
            payment_type_ranking: PaymentType::ranking(types),
            payment_medium_ranking: PaymentMedium::ranking(media),
            payment_scheme_ranking: PaymentScheme::ranking(schemes),
            payment_entry_mode_ranking: PaymentEntryMode::ranking(modes),
            payment_function_ranking: PaymentFunction::ranking(functions),
            article_quantities_ranking: quantities.collect(),
            sites_amount_ranking: amounts,
            sites_transactions_ranking: counts,
            transactions_count: figure(Decimal::from(self.count), Decimal::from(self.count_before)),
            transactions_total_amount: figure(self.amount, self.amount_before),
        }
    }
}

impl OracleWindows<'_> {
    fn bridge(self, currency: &str) -> OracleBridge {
        let by_state = self
            .elsewhere
            .into_iter()
            .map(|((state, kind), (count, amount))| StateAmount {
                state: state.to_owned(),
                kind: kind.map(str::to_owned),
                count,
                amount,
            });
        let by_state: Vec<StateAmount> = by_state.collect();
        let collected_elsewhere = OracleCollectedElsewhere {
            count: by_state.iter().map(|row| row.count).sum(),
            amount: by_state.iter().map(|row| row.amount).sum(),
            by_state,
        };
        let open = self.sums.total.minus(self.sums.collected);
        OracleBridge {
            currency: currency.to_owned(),
            open,
            collected_elsewhere,
            ..self.sums
        }
    }
}
