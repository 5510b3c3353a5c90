//! The reports against an oracle: plain loops over the same rows, written from docs/reports.md without a look at the crate.
//!
//! Invariant: the oracle shares no code with what it checks but the shapes' names; its clocks are POSIX rules.

use crate::fixture::t;
use crate::oracle::{always, number, numbers_as_text, one_of};
use crate::shop::{Article, Event, Payment, SITES, Sale, Shop, pipeline, site_key, wall};
use jiff::civil::{Date, DateTime};
use jiff::{Span, Timestamp};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tillhouse_model::Period;
use tillhouse_statistics::reports::{ReportName, ReportRequest, When, report_data};

/// Whether a day belongs to a period.
type Holds = Box<dyn Fn(Date) -> bool>;

struct Oracle<'a> {
    shop: &'a Shop,
    request: &'a ReportRequest,
}

fn label(text: &Option<String>) -> String {
    text.clone().unwrap_or_else(|| "unknown".to_owned())
}

fn is_place(wanted: &[String], key: &Option<String>) -> bool {
    let is = |key: &String| wanted.iter().any(|w| w == key || *w == key[2..]);
    wanted.is_empty() || key.as_ref().is_some_and(is)
}

/// Rows as objects, keyed for order: currency first, then largest, then the rest.
type Ordered<K> = Vec<((String, i128, i128, K), Value)>;

fn in_order<K: Ord>(mut rows: Ordered<K>) -> Value {
    rows.sort_by(|(a, _), (b, _)| (&a.0, -a.1, -a.2, &a.3).cmp(&(&b.0, -b.1, -b.2, &b.3)));
    rows.into_iter().map(|(_, row)| row).collect()
}

impl Oracle<'_> {
    fn counts(&self, sale: &Sale) -> bool {
        let r = self.request;
        sale.perspective == r.perspective
            && r.tenant.as_ref().is_none_or(|t| sale.tenant.as_ref() == Some(t))
            && r.source.as_ref().is_none_or(|s| &sale.source == s)
            && is_place(&r.sites, &site_key(sale.site))
            && is_place(&r.devices, &sale.device)
            && (sale.kind == "sale" || sale.kind == "refund")
            && sale.state.as_ref().is_some_and(|s| r.states.contains(s))
    }

    fn clock(&self, sale: &Sale) -> Option<DateTime> {
        sale.at.map(|at| wall(sale.site, at))
    }

    /// Counted sales of a period, with what their clocks showed.
    fn sales(&self, period: &Period) -> Vec<(usize, &Sale, DateTime)> {
        let all = self.shop.sales.iter().enumerate();
        all.filter(|(_, sale)| self.counts(sale))
            .filter_map(|(i, sale)| Some((i, sale, self.clock(sale)?)))
            .filter(|(_, _, at)| period.from() <= *at && *at < period.to())
            .collect()
    }

    /// Articles sold, each with its sale's clock and its currency.
    fn sold(&self, period: &Period) -> Vec<(&Article, DateTime, String)> {
        let mut sold = Vec::new();
        for (i, sale, at) in self.sales(period) {
            for article in self.shop.articles.iter().filter(|a| a.sale == i) {
                if !matches!(article.state.as_deref(), Some("declined" | "error")) {
                    sold.push((article, at, label(&article.currency.clone().or_else(|| sale.currency.clone()))));
                }
            }
        }
        sold
    }

    /// In millionths.
    fn pieces(article: &Article) -> i128 {
        match (article.unit.as_deref(), article.quantity) {
            (Some("pc"), quantity) => quantity.unwrap_or(1_000_000),
            (_, Some(quantity)) if quantity < 0 => -1_000_000,
            _ => 1_000_000,
        }
    }

    fn product(&self, article: &Article) -> (String, Option<String>) {
        let of = self.shop.products.iter().find(|p| Some(&p.0) == article.product.as_ref());
        let name = of.and_then(|p| p.1.clone()).or_else(|| article.name.clone());
        (label(&name), of.and_then(|p| p.2.clone()).or_else(|| article.code.clone()))
    }

    fn revenue_summary(&self, period: &Period) -> Value {
        let mut days: BTreeMap<String, BTreeMap<Date, i128>> = BTreeMap::new();
        for (_, sale, at) in self.sales(period) {
            *days.entry(label(&sale.currency)).or_default().entry(at.date()).or_default() += sale.amount.unwrap_or(0);
        }
        let row = |currency: &str, date: Date, value: i128| {
            let value = number(value, 4);
            json!({"currency": currency, "currencyRate": "1", "date": date, "orginalValue": value, "value": value})
        };
        let of = |(currency, days): (String, BTreeMap<Date, i128>)| {
            let rows: Value = days.into_iter().map(|(date, value)| row(&currency, date, value)).collect();
            (currency, rows)
        };
        Value::Object(days.into_iter().map(of).collect())
    }

    fn best_selling(&self, period: &Period) -> Value {
        let mut products: BTreeMap<String, BTreeMap<Date, i128>> = BTreeMap::new();
        for (article, at, _) in self.sold(period) {
            *products.entry(self.product(article).0).or_default().entry(at.date()).or_default() +=
                Self::pieces(article);
        }
        let mut ranked: Vec<(i128, String, BTreeMap<Date, i128>)> =
            products.into_iter().map(|(name, days)| (days.values().sum(), name, days)).collect();
        ranked.sort_by_key(|(total, name, _)| (-total, name.clone()));
        let values = |days: BTreeMap<Date, i128>| -> Value {
            days.into_iter().map(|(date, value)| json!({"date": date, "value": number(value, 6)})).collect()
        };
        let row = |(_, name, days)| json!({"name": name, "values": values(days)});
        ranked.into_iter().take(self.request.amount).map(row).collect()
    }

    fn summary(&self, date: Date) -> Value {
        let year_and_week = |day: Date| (day.iso_week_date().year(), day.iso_week_date().week());
        let parts: [(&str, Holds); 4] = [
            ("day", Box::new(move |day: Date| day == date)),
            ("month", Box::new(move |day: Date| (day.year(), day.month()) == (date.year(), date.month()))),
            ("week", Box::new(move |day: Date| year_and_week(day) == year_and_week(date))),
            ("year", Box::new(move |day: Date| day.year() == date.year())),
        ];
        let ages = Period::days(Date::constant(2000, 1, 1), Date::constant(2100, 1, 1)).unwrap();
        let mut currencies: BTreeMap<String, BTreeMap<&str, (i128, i128)>> = BTreeMap::new();
        for (part, is_in) in &parts {
            for (_, sale, at) in self.sales(&ages) {
                if is_in(at.date()) {
                    currencies.entry(label(&sale.currency)).or_default().entry(part).or_default().1 +=
                        sale.amount.unwrap_or(0);
                }
            }
            for (article, at, currency) in self.sold(&ages) {
                if is_in(at.date()) {
                    currencies.entry(currency).or_default().entry(part).or_default().0 += Self::pieces(article);
                }
            }
        }
        let of = |(currency, sums): (String, BTreeMap<&str, (i128, i128)>)| {
            let part = |(name, _): &(&str, Box<dyn Fn(Date) -> bool>)| {
                let (products, revenue) = sums.get(name).copied().unwrap_or_default();
                let row = json!({"currency": currency, "products": number(products, 6), "revenue": number(revenue, 4)});
                ((*name).to_owned(), row)
            };
            (currency.clone(), json!([Value::Object(parts.iter().map(part).collect::<Map<_, _>>())]))
        };
        Value::Object(currencies.into_iter().map(of).collect())
    }

    fn heat_map(&self, date: Date) -> Value {
        let mut cells: BTreeMap<(String, i8, i8), (i128, i128)> = BTreeMap::new();
        let before = date.checked_sub(Span::new().months(3)).unwrap();
        for sale in self.shop.sales.iter().filter(|sale| self.counts(sale)) {
            let Some(at) = self.clock(sale) else { continue };
            if before < at.date() && at.date() <= date {
                let day =
                    (at.date().duration_since(Date::constant(2024, 1, 1)).as_hours() / 24).rem_euclid(7) as i8 + 1;
                let cell = cells.entry((label(&sale.currency), day, at.hour())).or_default();
                *cell = (cell.0 + 1, cell.1 + sale.amount.unwrap_or(0));
            }
        }
        let row = |((currency, day, hour), (count, total)): ((String, i8, i8), (i128, i128))| {
            json!({"currency": currency, "day": day.to_string(), "hour": hour.to_string(),
                   "count": number(count, 0), "total": number(total, 4)})
        };
        cells.into_iter().map(row).collect()
    }

    /// One product is one key; where the key begins with the device's, one code of a pipeline, or one name where there is no code.
    fn products(&self, period: &Period) -> Value {
        type Called = BTreeMap<(String, Option<String>), i128>;
        type Product = (String, [Option<String>; 4], String);
        type Sum = (i128, i128, Vec<String>, Called);
        let mut sums: BTreeMap<Product, Sum> = BTreeMap::new();
        for (article, _, currency) in self.sold(period) {
            let (name, code) = self.product(article);
            let sale = &self.shop.sales[article.sale];
            let (key, device) = (article.product.clone(), sale.device.clone().unwrap_or("nowhere".to_owned()));
            let is = match &key {
                None => [None, None, Some(name.clone()), code.clone()],
                Some(key) if key.starts_with(&format!("{device}/")) => {
                    [None, Some(pipeline(sale.site)), Some(name.clone()).filter(|_| code.is_none()), code.clone()]
                }
                Some(key) => [Some(key.clone()), None, None, None],
            };
            let sum = sums.entry((currency, is, label(&article.unit))).or_default();
            sum.0 += article.amount.unwrap_or(0);
            sum.1 += article.quantity.unwrap_or(0);
            sum.2.extend(key);
            *sum.3.entry((name, code)).or_default() += article.amount.unwrap_or(0);
        }
        let row = |((currency, _, unit), (revenue, quantity, mut keys, called)): (Product, Sum)| {
            keys.sort();
            keys.dedup();
            let key = if keys.len() == 1 { keys.pop() } else { None };
            let mut called: Vec<_> = called.into_iter().map(|(called, revenue)| (-revenue, called)).collect();
            called.sort();
            let (name, code) = called.remove(0).1;
            let row = json!({
                "productId": key, "name": name, "internalRef": code, "revenue": number(revenue, 4),
                "quantity": number(quantity, 6), "currency": currency, "unit": unit,
            });
            ((currency, revenue, quantity, (key, name, code, unit)), row)
        };
        in_order(sums.into_iter().map(row).collect())
    }

    fn payment_types(&self, period: &Period) -> Value {
        let mut sums: BTreeMap<(String, String, Option<String>), (i128, i128)> = BTreeMap::new();
        for (i, sale, _) in self.sales(period) {
            for payment in self.shop.payments.iter().filter(|p| p.sale == i) {
                if payment.state.as_deref() != Some("collected") || payment.excluded == Some(true) {
                    continue;
                }
                let currency = label(&payment.currency.clone().or_else(|| sale.currency.clone()));
                let key = (currency, label(&payment.payment_type), payment.report_group.clone());
                let sum = sums.entry(key).or_default();
                *sum = (sum.0 + payment.amount.unwrap_or(0), sum.1 + 1);
            }
        }
        in_order(
            sums.into_iter()
                .map(|((currency, word, group), (revenue, count))| {
                    let row = json!({
                        "type": word, "quantity": number(count, 0), "revenue": number(revenue, 4),
                        "reportGroup": group, "currency": currency,
                    });
                    ((currency, revenue, count, (word, group)), row)
                })
                .collect(),
        )
    }

    /// Code, meaning, how often, how long.
    fn happened(&self, period: &Period) -> Vec<(String, String, i128, i128, Option<i64>)> {
        let r = self.request;
        let mut codes: BTreeMap<String, (i128, i128, Vec<String>, Vec<i64>)> = BTreeMap::new();
        for event in &self.shop.events {
            let Some(at) = event.at.map(|at| wall(event.site, at)) else { continue };
            let is_asked = r.tenant.as_ref().is_none_or(|t| event.tenant.as_ref() == Some(t))
                && r.source.as_ref().is_none_or(|s| &event.source == s)
                && is_place(&r.sites, &site_key(event.site))
                && is_place(&r.devices, &event.device)
                && (r.scopes.is_empty() || r.scopes.contains(&event.scope));
            if is_asked && period.from() <= at && at < period.to() {
                let sum = codes.entry(label(&event.code)).or_default();
                sum.0 += 1;
                sum.1 += i128::from(event.seconds.unwrap_or(0));
                sum.3.extend(event.identity);
                sum.2.extend(event.description.clone().filter(|words| !words.starts_with('{')));
            }
        }
        let mut rows: Vec<_> = codes
            .into_iter()
            .map(|(code, (count, seconds, mut words, mut identities))| {
                identities.sort_unstable();
                identities.dedup();
                let identity = if identities.len() == 1 { identities.pop() } else { None };
                words.sort();
                words.dedup();
                let error = if words.len() == 1 { words.remove(0) } else { code.clone() };
                (code, error, count, seconds, identity)
            })
            .collect();
        rows.sort_by_key(|(code, _, count, _, _)| (-count, code.clone()));
        rows
    }

    fn compared(&self, of: impl Fn(&Period) -> Value) -> Value {
        let When::Periods(one, two) = self.request.when else { panic!("a report over periods") };
        let period = |period: &Period| {
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
            (ReportName::RevenueSummary, When::Periods(period, _)) => self.revenue_summary(&period),
            (ReportName::BestSellingProducts, When::Periods(period, _)) => self.best_selling(&period),
            (ReportName::EventCounts, When::Periods(period, _)) => {
                let row = |(code, error, count, seconds, _)| json!({"code": code, "error": error, "summary": number(count, 0), "duration": number(seconds, 0)});
                self.happened(&period).into_iter().take(self.request.limit).map(row).collect()
            }
            (ReportName::Summary, When::On(date)) => self.summary(date),
            (ReportName::HeatMap, When::On(date)) => self.heat_map(date),
            (ReportName::Products, _) => self.compared(|period| self.products(period)),
            (ReportName::PaymentTypes, _) => self.compared(|period| self.payment_types(period)),
            (ReportName::Events, _) => self.compared(|period| {
                let row = |(code, error, count, seconds, identity): (_, _, _, _, Option<i64>)| {
                    json!({"code": code, "erroridentity": identity.map(|identity| identity.to_string()), "error": error, "quantity": number(count, 0),
                           "duration": number(seconds, 0)})
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

fn sale() -> impl Strategy<Value = Sale> {
    let amount = prop_oneof![1 => Just(None), 8 => (-5_000_000_i128..50_000_000).prop_map(Some)];
    (
        (one_of(&["a", "b"]), always(&["smartnow", "pace"]), always(&["sale", "sale", "sale", "purchase"])),
        (always(&["sale", "sale", "sale", "refund", "void"]), one_of(&["completed", "completed", "consumed", "error"])),
        (instant(), amount, one_of(CURRENCIES), site(), one_of(DEVICES)),
    )
        .prop_map(|((tenant, source, perspective), (kind, state), (at, amount, currency, site, device))| Sale {
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
        })
}

fn article() -> impl Strategy<Value = Article> {
    let quantity = prop_oneof![1 => Just(None), 6 => (-2_000_000_i128..9_000_000).prop_map(Some)];
    (
        (any::<proptest::sample::Index>(), one_of(PRODUCTS), one_of(&["X"]), one_of(&["Diesel", "Tea"])),
        (one_of(&["done", "done", "declined", "error"]), one_of(&["l", "pc", "pc"])),
        (quantity, proptest::option::of(-100_i128..900_000), one_of(CURRENCIES)),
    )
        .prop_map(|((sale, product, code, name), (state, unit), (quantity, amount, currency))| Article {
            sale: sale.index(usize::MAX),
            product,
            code,
            name,
            state,
            unit,
            quantity,
            amount,
            currency,
        })
}

fn payment() -> impl Strategy<Value = Payment> {
    (
        (any::<proptest::sample::Index>(), one_of(&["card", "cash"]), one_of(&["collected", "collected", "open"])),
        (proptest::option::of(any::<bool>()), one_of(&["A"])),
        (proptest::option::of(-100_i128..1_000_000), one_of(CURRENCIES)),
    )
        .prop_map(|((sale, payment_type, state), (excluded, report_group), (amount, currency))| Payment {
            sale: sale.index(usize::MAX),
            payment_type,
            state,
            excluded,
            report_group,
            amount,
            currency,
        })
}

fn event() -> impl Strategy<Value = Event> {
    (
        (
            always(&["device", "device", "payment"]),
            one_of(&["ED1", "ED2"]),
            one_of(&["Door", "Offline", "{\"uptime\": 67}"]),
        ),
        (instant(), proptest::option::of(0_i64..9_000), proptest::option::of(1_i64..3)),
        (one_of(&["a", "b"]), always(&["smartnow", "pace"]), site(), one_of(DEVICES)),
    )
        .prop_map(|((scope, code, description), (at, seconds, identity), (tenant, source, site, device))| Event {
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
        })
}

fn shop() -> impl Strategy<Value = Shop> {
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
            let products =
                PRODUCTS.iter().zip(products).map(|(key, (name, code))| ((*key).to_owned(), name, code)).collect();
            Shop { sales, articles, payments, events, products, ..Shop::default() }
        })
}

fn date() -> impl Strategy<Value = Date> {
    prop_oneof![Just("2025-12-24"), Just("2026-10-22")]
        .prop_flat_map(|from| (0_i64..15).prop_map(move |days| from.parse::<Date>().unwrap() + Span::new().days(days)))
}

/// Whole days as a rule, now and then some hours and minutes.
fn period() -> impl Strategy<Value = Period> {
    let whole = (date(), 1_i64..20).prop_map(|(from, days)| Period::days(from, from + Span::new().days(days)).unwrap());
    let part = (date(), 0_i64..1440, 1_i64..4000).prop_map(|(from, start, minutes)| {
        let from = from.to_datetime(jiff::civil::Time::midnight()) + Span::new().minutes(start);
        Period::new(from, from + Span::new().minutes(minutes)).unwrap()
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
        (proptest::option::weighted(0.3, always(&["a"])), proptest::option::weighted(0.3, always(&["pace"]))),
        (places(&["p:1", "2", "3", "none"]), places(&["8", "p:9"]), places(&["device"])),
        (always(&["sale", "sale", "purchase"]), 1_usize..4),
    )
        .prop_map(|(name, (one, two, date), (tenant, source), (sites, devices, scopes), (perspective, amount))| {
            let when = if name.is_about_a_date() {
                When::On(date)
            } else {
                When::Periods(one, two.filter(|_| name.compares()))
            };
            let all = ReportRequest::new(name, when);
            ReportRequest { tenant, source, sites, devices, scopes, perspective, amount, limit: amount, ..all }
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_report_is_the_oracles(shop in shop(), request in request()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let found = runtime.block_on(async { report_data(&shop.session(), &request).await }).unwrap();
        let found = numbers_as_text(&serde_json::to_string(&found).unwrap());
        prop_assert_eq!(found, Oracle { shop: &shop, request: &request }.answer(), "{:?}", request);
    }
}
