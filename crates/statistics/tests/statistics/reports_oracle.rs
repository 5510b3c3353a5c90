//! The reports against an oracle: plain loops over the same rows, written from docs/reports.md without a look at the crate.
//!
//! Invariant: the oracle shares no code with what it checks but the shapes' names; its clocks are POSIX rules.

use crate::fixture::t;
use crate::oracle::{always, exact, one_of};
use crate::oracle_tables::{
    OracleArticle, OracleEvent, OraclePayment, OracleSale, OracleTables, SITES, site_key, wall,
};
use jiff::civil::{Date, DateTime};
use jiff::{Span, Timestamp};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::CivilPeriod;
use tillhouse_sandbox::Decimal;
use tillhouse_sandbox::oracle::{self, OracleQuery, label};
use tillhouse_statistics::reports::{ReportName, ReportRequest, ReportTime, report_data};

/// True for the days of a period.
type OraclePeriodTest = Box<dyn Fn(Date) -> bool>;

/// A report, by plain loops over the same rows.
struct ReportsOracle<'a> {
    shop: &'a OracleTables,
    sales: Vec<oracle::OracleSale>,
    request: &'a ReportRequest,
    question: OracleQuery,
}

/// A number as its digits.
fn number(value: impl ToString) -> Value {
    json!(value.to_string())
}

fn add(sum: &mut Decimal, value: Option<Decimal>) {
    *sum = sum.plus(value.unwrap_or_default());
}

/// A shop's rows as the oracle's sales.
fn sales(shop: &OracleTables) -> Vec<oracle::OracleSale> {
    let money = |units: Option<i128>| units.map(|units| Decimal::new(units, 4));
    let row = |sale: &OracleSale| oracle::OracleSale {
        source: sale.source.clone(),
        perspective: sale.perspective.clone(),
        tenant: sale.tenant.clone(),
        kind: Some(sale.kind.clone()),
        state: sale.state.clone(),
        at: sale.at,
        local: sale.at.map(|at| wall(sale.site, at)),
        amount: money(sale.amount),
        currency: sale.currency.clone(),
        site: site_key(sale.site),
        device: sale.device.clone(),
        ..oracle::OracleSale::default()
    };
    let mut sales: Vec<oracle::OracleSale> = shop.sales.iter().map(row).collect();
    for article in &shop.articles {
        let product = shop
            .products
            .iter()
            .find(|product| Some(&product.0) == article.product.as_ref());
        let (name, code) = product
            .map(|(_, name, code)| (name.clone(), code.clone()))
            .unwrap_or_default();
        sales[article.sale].articles.push(oracle::OracleArticle {
            product: article.product.clone(),
            name: name.or_else(|| article.name.clone()),
            code: code.or_else(|| article.code.clone()),
            state: article.state.clone(),
            unit: article.unit.clone(),
            quantity: article.quantity.map(|units| Decimal::new(units, 6)),
            amount: money(article.amount),
            currency: article.currency.clone(),
        });
    }
    for payment in &shop.payments {
        sales[payment.sale].payments.push(oracle::OraclePayment {
            words: [payment.payment_type.clone(), None, None, None, None],
            is_collected: payment.state.as_deref() == Some("collected"),
            is_excluded: payment.excluded == Some(true),
            report_group: payment.report_group.clone(),
            amount: money(payment.amount),
            currency: payment.currency.clone(),
        });
    }
    sales
}

fn is_place(wanted: &[String], key: &Option<String>) -> bool {
    let is = |key: &String| wanted.iter().any(|w| w == key || *w == key[2..]);
    wanted.is_empty() || key.as_ref().is_some_and(is)
}

fn pipeline_of(sale: &oracle::OracleSale) -> String {
    sale.site.as_ref().map_or("p", |site| &site[..1]).to_owned()
}

/// True if a product is of the device's own catalogue.
fn is_devices(product: Option<&String>, sale: &oracle::OracleSale) -> bool {
    let device = sale.device.as_deref().unwrap_or("nowhere");
    product.is_some_and(|key| key.starts_with(&format!("{device}/")))
}

/// Rows as objects, keyed for order: currency first, then largest, then the rest.
type OracleOrderedRows<N, K> = Vec<((String, Decimal, N, K), Value)>;

fn in_order<N: Ord, K: Ord>(mut rows: OracleOrderedRows<N, K>) -> Value {
    rows.sort_by(|(a, _), (b, _)| (&a.0, &b.1, &b.2, &a.3).cmp(&(&b.0, &a.1, &a.2, &b.3)));
    rows.into_iter().map(|(_, row)| row).collect()
}

impl<'a> ReportsOracle<'a> {
    fn new(shop: &'a OracleTables, request: &'a ReportRequest) -> Self {
        let question = OracleQuery {
            perspective: request.perspective.clone(),
            tenant: request.tenant.clone(),
            source: request.source.clone(),
            states: request.states.clone(),
            ..OracleQuery::new(Timestamp::MIN, Timestamp::MIN)
        };
        Self {
            shop,
            sales: sales(shop),
            request,
            question,
        }
    }

    /// Counted sales of all times, with what their clocks showed.
    fn counted(&self) -> impl Iterator<Item = (&oracle::OracleSale, DateTime)> {
        let r = self.request;
        let is_here = |sale: &oracle::OracleSale| {
            is_place(&r.sites, &sale.site) && is_place(&r.devices, &sale.device)
        };
        let counted = self
            .sales
            .iter()
            .filter(move |sale| self.question.takes(sale) && is_here(sale));
        counted.filter_map(|sale| Some((sale, sale.local?)))
    }

    /// Counted sales of a period.
    fn sales(&self, period: &CivilPeriod) -> impl Iterator<Item = (&oracle::OracleSale, DateTime)> {
        let (from, to) = (period.from(), period.to());
        self.counted()
            .filter(move |(_, at)| from <= *at && *at < to)
    }

    /// Articles sold, each with its sale, the sale's clock and its currency.
    fn sold(
        &self,
        period: &CivilPeriod,
    ) -> impl Iterator<Item = (&oracle::OracleArticle, &oracle::OracleSale, DateTime, &str)> {
        self.sales(period).flat_map(|(sale, at)| {
            sale.sold()
                .map(move |(article, own)| (article, sale, at, own))
        })
    }

    fn pieces(article: &oracle::OracleArticle, sale: &oracle::OracleSale) -> Option<Decimal> {
        let is_given_back = sale.kind.as_deref() == Some("refund")
            && article.amount.is_some_and(|amount| amount < Decimal::ZERO);
        match (article.unit.as_deref(), article.quantity) {
            (_, None) if is_given_back => Some(Decimal::from(-1)),
            (Some("pc"), Some(quantity)) => Some(quantity),
            (_, Some(quantity)) if quantity < Decimal::ZERO => Some(Decimal::from(-1)),
            _ => Some(Decimal::from(1)),
        }
    }

    fn revenue_summary(&self, period: &CivilPeriod) -> Value {
        let mut days: BTreeMap<String, BTreeMap<Date, Decimal>> = BTreeMap::new();
        for (sale, at) in self.sales(period) {
            let days = days.entry(sale.currency().to_owned()).or_default();
            add(days.entry(at.date()).or_default(), sale.amount);
        }
        let row = |currency: &str, date: Date, value: Decimal| {
            let value = number(value);
            json!({"currency": currency, "currencyRate": "1", "date": date, "orginalValue": value, "value": value})
        };
        let of = |(currency, days): (String, BTreeMap<Date, Decimal>)| {
            let rows: Value = days
                .into_iter()
                .map(|(date, value)| row(&currency, date, value))
                .collect();
            (currency, rows)
        };
        Value::Object(days.into_iter().map(of).collect())
    }

    fn best_selling(&self, period: &CivilPeriod) -> Value {
        let mut products: BTreeMap<&str, BTreeMap<Date, Decimal>> = BTreeMap::new();
        for (article, sale, at, _) in self.sold(period) {
            let days = products.entry(label(article.name.as_ref())).or_default();
            add(
                days.entry(at.date()).or_default(),
                Self::pieces(article, sale),
            );
        }
        let mut ranked: Vec<(Decimal, &str, BTreeMap<Date, Decimal>)> = products
            .into_iter()
            .map(|(name, days)| (days.values().copied().sum(), name, days))
            .collect();
        ranked.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        let values = |days: BTreeMap<Date, Decimal>| -> Value {
            days.into_iter()
                .map(|(date, value)| json!({"date": date, "value": number(value)}))
                .collect()
        };
        let row = |(_, name, days)| json!({"name": name, "values": values(days)});
        ranked
            .into_iter()
            .take(self.request.amount)
            .map(row)
            .collect()
    }

    fn summary(&self, date: Date) -> Value {
        let year_and_week = |day: Date| (day.iso_week_date().year(), day.iso_week_date().week());
        let parts: [(&str, OraclePeriodTest); 4] = [
            ("day", Box::new(move |day: Date| day == date)),
            (
                "month",
                Box::new(move |day: Date| (day.year(), day.month()) == (date.year(), date.month())),
            ),
            (
                "week",
                Box::new(move |day: Date| year_and_week(day) == year_and_week(date)),
            ),
            ("year", Box::new(move |day: Date| day.year() == date.year())),
        ];
        let ages =
            CivilPeriod::days(Date::constant(2000, 1, 1), Date::constant(2100, 1, 1)).unwrap();
        let mut currencies: BTreeMap<String, BTreeMap<&str, (Decimal, Decimal)>> = BTreeMap::new();
        for (part, is_in) in &parts {
            for (sale, _) in self.sales(&ages).filter(|(_, at)| is_in(at.date())) {
                let sums = currencies.entry(sale.currency().to_owned()).or_default();
                add(&mut sums.entry(part).or_default().1, sale.amount);
            }
            for (article, sale, _, own) in self.sold(&ages).filter(|(_, _, at, _)| is_in(at.date()))
            {
                let sums = currencies.entry(own.to_owned()).or_default();
                add(
                    &mut sums.entry(part).or_default().0,
                    Self::pieces(article, sale),
                );
            }
        }
        let of = |(currency, sums): (String, BTreeMap<&str, (Decimal, Decimal)>)| {
            let part = |(name, _): &(&str, Box<dyn Fn(Date) -> bool>)| {
                let (products, revenue) = sums.get(name).copied().unwrap_or_default();
                let row = json!({"currency": currency, "products": number(products), "revenue": number(revenue)});
                ((*name).to_owned(), row)
            };
            (
                currency.clone(),
                json!([Value::Object(parts.iter().map(part).collect::<Map<_, _>>())]),
            )
        };
        Value::Object(currencies.into_iter().map(of).collect())
    }

    fn heat_map(&self, date: Date) -> Value {
        let mut cells: BTreeMap<(String, i8, i8), (i64, Decimal)> = BTreeMap::new();
        let before = date.checked_sub(Span::new().months(3)).unwrap();
        for (sale, at) in self.counted() {
            if before < at.date() && at.date() <= date {
                let day = (at
                    .date()
                    .duration_since(Date::constant(2024, 1, 1))
                    .as_hours()
                    / 24)
                    .rem_euclid(7) as i8
                    + 1;
                let cell = cells
                    .entry((sale.currency().to_owned(), day, at.hour()))
                    .or_default();
                cell.0 += 1;
                add(&mut cell.1, sale.amount);
            }
        }
        let row = |((currency, day, hour), (count, total)): ((String, i8, i8), (i64, Decimal))| {
            json!({"currency": currency, "day": day.to_string(), "hour": hour.to_string(),
                   "count": number(count), "total": number(total)})
        };
        cells.into_iter().map(row).collect()
    }

    /// The code of each name of a tenant's in the devices' catalogues of a pipeline, where there is only one, whatever its case.
    fn codes_of_names(&self, period: &CivilPeriod) -> BTreeMap<[Option<String>; 3], String> {
        let mut known: BTreeMap<[Option<String>; 3], BTreeSet<String>> = BTreeMap::new();
        for (article, sale, _, _) in self.sold(period) {
            let is_devices = is_devices(article.product.as_ref(), sale);
            if let (true, Some(name), Some(code)) = (is_devices, &article.name, &article.code) {
                let pipeline = Some(pipeline_of(sale));
                let name = [pipeline, sale.tenant.clone(), Some(name.clone())];
                known.entry(name).or_default().insert(code.clone());
            }
        }
        let only = |(name, codes): ([Option<String>; 3], BTreeSet<String>)| {
            let forms: BTreeSet<String> = codes.iter().map(|code| code.to_lowercase()).collect();
            let first = codes.into_iter().next()?;
            (forms.len() == 1).then_some((name, first))
        };
        known.into_iter().filter_map(only).collect()
    }

    /// One product is one key; where the key begins with the device's, one code of a pipeline, or one name where no code is known.
    fn products(&self, period: &CivilPeriod) -> Value {
        type OracleProductNames = BTreeMap<(String, Option<String>), Decimal>;
        type OracleProductKey = (String, [Option<String>; 4], String);
        type OracleProductSums = (Decimal, Decimal, Vec<String>, OracleProductNames);
        let mut sums: BTreeMap<OracleProductKey, OracleProductSums> = BTreeMap::new();
        let codes = self.codes_of_names(period);
        for (article, sale, _, own) in self.sold(period) {
            let name = label(article.name.as_ref()).to_owned();
            let (key, pipeline) = (article.product.clone(), Some(pipeline_of(sale)));
            let is_devices = is_devices(key.as_ref(), sale);
            let code = article.code.clone().or_else(|| {
                let named = [pipeline.clone(), sale.tenant.clone(), article.name.clone()];
                codes.get(&named).filter(|_| is_devices).cloned()
            });
            let form = code.as_ref().map(|code| code.to_lowercase());
            let is = match &key {
                None => [None, None, Some(name.clone()), form],
                Some(_) if is_devices => [
                    None,
                    pipeline,
                    Some(name.clone()).filter(|_| code.is_none()),
                    form,
                ],
                Some(key) => [Some(key.clone()), None, None, None],
            };
            let sum = sums
                .entry((own.to_owned(), is, label(article.unit.as_ref()).to_owned()))
                .or_default();
            add(&mut sum.0, article.amount);
            add(&mut sum.1, article.quantity);
            sum.2.extend(key);
            add(sum.3.entry((name, code)).or_default(), article.amount);
        }
        let row = |((currency, _, unit), (revenue, quantity, mut keys, called)): (
            OracleProductKey,
            OracleProductSums,
        )| {
            keys.sort();
            keys.dedup();
            let key = if keys.len() == 1 { keys.pop() } else { None };
            let mut called: Vec<_> = called.into_iter().collect();
            called.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            let (name, code) = called.remove(0).0;
            let row = json!({
                "productId": key, "name": name, "internalRef": code, "revenue": number(revenue),
                "quantity": number(quantity), "currency": currency, "unit": unit,
            });
            ((currency, revenue, quantity, (key, name, code, unit)), row)
        };
        in_order(sums.into_iter().map(row).collect())
    }

    fn payment_types(&self, period: &CivilPeriod) -> Value {
        let mut sums: BTreeMap<(String, String, Option<String>), (Decimal, i64)> = BTreeMap::new();
        let collected = self.sales(period).flat_map(|(sale, _)| sale.collected());
        for (payment, own) in collected.filter(|(payment, _)| !payment.is_excluded) {
            let word = label(payment.words[0].as_ref()).to_owned();
            let sum = sums
                .entry((own.to_owned(), word, payment.report_group.clone()))
                .or_default();
            add(&mut sum.0, payment.amount);
            sum.1 += 1;
        }
        in_order(
            sums.into_iter()
                .map(|((currency, word, group), (revenue, count))| {
                    let row = json!({
                        "type": word, "quantity": number(count), "revenue": number(revenue),
                        "reportGroup": group, "currency": currency,
                    });
                    ((currency, revenue, count, (word, group)), row)
                })
                .collect(),
        )
    }

    /// Code, meaning, how often, how long.
    fn happened(&self, period: &CivilPeriod) -> Vec<(String, String, i64, i64, Option<i64>)> {
        let r = self.request;
        let mut codes: BTreeMap<String, (i64, i64, Vec<String>, Vec<i64>)> = BTreeMap::new();
        for event in &self.shop.events {
            let Some(at) = event.at.map(|at| wall(event.site, at)) else {
                continue;
            };
            let is_asked = r
                .tenant
                .as_ref()
                .is_none_or(|t| event.tenant.as_ref() == Some(t))
                && r.source.as_ref().is_none_or(|s| &event.source == s)
                && is_place(&r.sites, &site_key(event.site))
                && is_place(&r.devices, &event.device)
                && (r.scopes.is_empty() || r.scopes.contains(&event.scope));
            if is_asked && period.from() <= at && at < period.to() {
                let sum = codes
                    .entry(label(event.code.as_ref()).to_owned())
                    .or_default();
                sum.0 += 1;
                sum.1 += event.seconds.unwrap_or(0);
                sum.3.extend(event.identity);
                sum.2.extend(
                    event
                        .description
                        .clone()
                        .filter(|words| !words.starts_with('{')),
                );
            }
        }
        let mut rows: Vec<_> = codes
            .into_iter()
            .map(|(code, (count, seconds, mut words, mut identities))| {
                identities.sort_unstable();
                identities.dedup();
                let identity = if identities.len() == 1 {
                    identities.pop()
                } else {
                    None
                };
                words.sort();
                words.dedup();
                let error = if words.len() == 1 {
                    words.remove(0)
                } else {
                    code.clone()
                };
                (code, error, count, seconds, identity)
            })
            .collect();
        rows.sort_by_key(|(code, _, count, _, _)| (-count, code.clone()));
        rows
    }

    fn compared(&self, of: impl Fn(&CivilPeriod) -> Value) -> Value {
        let ReportTime::Periods(one, two) = self.request.when else {
            panic!("a report over periods")
        };
        let period = |period: &CivilPeriod| {
            let text = |at: DateTime| at.to_string().replace('T', " ");
            json!({"data": of(period), "startDate": text(period.from()),
                   "endDate": text(period.to() - Span::new().seconds(1))})
        };
        let mut answer = Map::from_iter([("period1".to_owned(), period(&one))]);
        answer.extend(two.map(|two| ("period2".to_owned(), period(&two))));
        Value::Object(answer)
    }

    fn answer(&self) -> Value {
        match (self.request.name, self.request.when) {
            (ReportName::RevenueSummary, ReportTime::Periods(period, _)) => self.revenue_summary(&period),
            (ReportName::BestSellingProducts, ReportTime::Periods(period, _)) => self.best_selling(&period),
            (ReportName::EventCounts, ReportTime::Periods(period, _)) => {
                let row = |(code, error, count, seconds, _)| json!({"code": code, "error": error, "summary": number(count), "duration": number(seconds)});
                self.happened(&period).into_iter().take(self.request.limit).map(row).collect()
            }
            (ReportName::Summary, ReportTime::On(date)) => self.summary(date),
            (ReportName::HeatMap, ReportTime::On(date)) => self.heat_map(date),
            (ReportName::Products, _) => self.compared(|period| self.products(period)),
            (ReportName::PaymentTypes, _) => self.compared(|period| self.payment_types(period)),
            (ReportName::Events, _) => self.compared(|period| {
                let row = |(code, error, count, seconds, identity): (_, _, _, _, Option<i64>)| {
                    json!({"code": code, "erroridentity": identity.map(|identity| identity.to_string()), "error": error, "quantity": number(count),
                           "duration": number(seconds)})
                };
                self.happened(period).into_iter().map(row).collect()
            }),
            other => panic!("no such report {other:?}"),
        }
    }
}

const CURRENCIES: &[&str] = &["EUR", "EUR", "CHF"];
const PRODUCTS: &[&str] = &["p:1", "p:8/1", "p:9/1", "p:8/2", "p:3"];
const DEVICES: &[&str] = &["p:8", "q:8", "p:9"];

/// Around the turn of the year, and the weeks in which clocks go back in Europe and then in America.
fn instant() -> impl Strategy<Value = Option<Timestamp>> {
    let between = |from: &str, to: &str| (t(from).as_second()..t(to).as_second()).prop_map(Some);
    let seconds = prop_oneof![
        1 => Just(None),
        8 => between("2025-12-24T00:00:00Z", "2026-01-08T00:00:00Z"),
        8 => between("2026-10-22T00:00:00Z", "2026-11-04T00:00:00Z"),
    ];
    seconds.prop_map(|at| at.map(|at| Timestamp::from_second(at).unwrap()))
}

fn site() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![1 => Just(None), 6 => (0..SITES.len()).prop_map(Some)]
}

fn sale() -> impl Strategy<Value = OracleSale> {
    let amount = prop_oneof![1 => Just(None), 8 => (-5_000_000_i128..50_000_000).prop_map(Some)];
    (
        (
            one_of(&["a", "b"]),
            always(&["smartnow", "pace"]),
            always(&["sale", "sale", "sale", "purchase"]),
        ),
        (
            always(&["sale", "sale", "sale", "refund", "void"]),
            one_of(&["completed", "completed", "consumed", "error"]),
        ),
        (
            instant(),
            amount,
            one_of(CURRENCIES),
            site(),
            one_of(DEVICES),
        ),
    )
        .prop_map(
            |(
                (tenant, source, perspective),
                (kind, state),
                (at, amount, currency, site, device),
            )| OracleSale {
                tenant,
                source,
                perspective,
                kind,
                state,
                at,
                amount,
                currency,
                site,
                device,
            },
        )
}

fn article() -> impl Strategy<Value = OracleArticle> {
    let quantity = prop_oneof![1 => Just(None), 6 => (-2_000_000_i128..9_000_000).prop_map(Some)];
    (
        (
            any::<proptest::sample::Index>(),
            one_of(PRODUCTS),
            one_of(&["X", "x", "Y"]),
            one_of(&["Diesel", "Tea"]),
        ),
        (
            one_of(&["done", "done", "declined", "error"]),
            one_of(&["l", "pc", "pc"]),
        ),
        (
            quantity,
            proptest::option::of(-100_i128..900_000),
            one_of(CURRENCIES),
        ),
    )
        .prop_map(
            |((sale, product, code, name), (state, unit), (quantity, amount, currency))| {
                OracleArticle {
                    sale: sale.index(usize::MAX),
                    product,
                    code,
                    name,
                    state,
                    unit,
                    quantity,
                    amount,
                    currency,
                }
            },
        )
}

fn payment() -> impl Strategy<Value = OraclePayment> {
    (
        (
            any::<proptest::sample::Index>(),
            one_of(&["card", "cash"]),
            one_of(&["collected", "collected", "open"]),
        ),
        (proptest::option::of(any::<bool>()), one_of(&["A"])),
        (
            proptest::option::of(-100_i128..1_000_000),
            one_of(CURRENCIES),
        ),
    )
        .prop_map(
            |((sale, payment_type, state), (excluded, report_group), (amount, currency))| {
                OraclePayment {
                    sale: sale.index(usize::MAX),
                    payment_type,
                    state,
                    excluded,
                    report_group,
                    amount,
                    currency,
                }
            },
        )
}

fn event() -> impl Strategy<Value = OracleEvent> {
    (
        (
            always(&["device", "device", "payment"]),
            one_of(&["ED1", "ED2"]),
            one_of(&["Door", "Offline", "{\"uptime\": 67}"]),
        ),
        (
            instant(),
            proptest::option::of(0_i64..9_000),
            proptest::option::of(1_i64..3),
        ),
        (
            one_of(&["a", "b"]),
            always(&["smartnow", "pace"]),
            site(),
            one_of(DEVICES),
        ),
    )
        .prop_map(
            |(
                (scope, code, description),
                (at, seconds, identity),
                (tenant, source, site, device),
            )| OracleEvent {
                scope,
                code,
                identity,
                description,
                at,
                seconds,
                tenant,
                source,
                site,
                device,
            },
        )
}

fn shop() -> impl Strategy<Value = OracleTables> {
    let product = (one_of(&["Coffee", "Tea"]), one_of(&["C", "T"]));
    (
        prop::collection::vec(sale(), 1..60),
        prop::collection::vec(article(), 0..80),
        prop::collection::vec(payment(), 0..80),
        prop::collection::vec(event(), 0..40),
        prop::collection::vec(product, 0..=4),
    )
        .prop_map(|(sales, mut articles, mut payments, events, products)| {
            articles.iter_mut().for_each(|a| a.sale %= sales.len());
            payments.iter_mut().for_each(|p| p.sale %= sales.len());
            let products = PRODUCTS
                .iter()
                .zip(products)
                .map(|(key, (name, code))| ((*key).to_owned(), name, code))
                .collect();
            OracleTables {
                sales,
                articles,
                payments,
                events,
                products,
                ..OracleTables::default()
            }
        })
}

fn date() -> impl Strategy<Value = Date> {
    prop_oneof![Just("2025-12-24"), Just("2026-10-22")].prop_flat_map(|from| {
        (0_i64..15).prop_map(move |days| from.parse::<Date>().unwrap() + Span::new().days(days))
    })
}

/// Whole days as a rule, now and then some hours and minutes.
fn period() -> impl Strategy<Value = CivilPeriod> {
    let whole = (date(), 1_i64..20)
        .prop_map(|(from, days)| CivilPeriod::days(from, from + Span::new().days(days)).unwrap());
    let part = (date(), 0_i64..1440, 1_i64..4000).prop_map(|(from, start, minutes)| {
        let from = from.to_datetime(jiff::civil::Time::midnight()) + Span::new().minutes(start);
        CivilPeriod::new(from, from + Span::new().minutes(minutes)).unwrap()
    });
    prop_oneof![2 => whole, 1 => part]
}

fn request() -> impl Strategy<Value = ReportRequest> {
    let when = (period(), proptest::option::of(period()), date());
    let places = |of: &'static [&'static str]| prop::collection::vec(always(of), 0..2);
    (
        // The reports by shift stand in reports.rs.
        proptest::sample::select(&ReportName::ALL[..8]),
        when,
        (
            proptest::option::weighted(0.3, always(&["a"])),
            proptest::option::weighted(0.3, always(&["pace"])),
        ),
        (
            places(&["p:1", "2", "3", "none"]),
            places(&["8", "p:9"]),
            places(&["device"]),
        ),
        (always(&["sale", "sale", "purchase"]), 1_usize..4),
    )
        .prop_map(
            |(
                name,
                (one, two, date),
                (tenant, source),
                (sites, devices, scopes),
                (perspective, amount),
            )| {
                let when = if name.is_about_a_date() {
                    ReportTime::On(date)
                } else {
                    ReportTime::Periods(one, two.filter(|_| name.compares()))
                };
                let all = ReportRequest::new(name, when);
                ReportRequest {
                    tenant,
                    source,
                    sites,
                    devices,
                    scopes,
                    perspective,
                    amount,
                    limit: amount,
                    ..all
                }
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_report_is_the_oracles(shop in shop(), request in request()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let found = runtime.block_on(async { report_data(&shop.session(), &request).await }).unwrap();
        prop_assert_eq!(exact(&found), ReportsOracle::new(&shop, &request).answer(), "{:?}", request);
    }
}
