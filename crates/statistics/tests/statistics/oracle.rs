//! The statistics against an oracle: plain loops over the same rows, written from docs/statistics.md without a look at the crate.
//!
//! Invariant: the oracle shares no code with what it checks but the shape of the report; its clock is a POSIX rule, not a table.

use crate::fixture::{Article, House, Payment, Sale, some, t};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use tillhouse_model::Window;
use tillhouse_statistics::{Compare, Hours, Request, figures};

/// Count and amount of payments, by state and kind of their sale.
type ByStateAndKind = BTreeMap<(String, Option<String>), (i128, i128)>;

/// Growth in per cent, half-even at two decimals, as text.
fn growth(now: i128, before: i128) -> Value {
    if before == 0 {
        return Value::Null;
    }
    let (numerator, divisor) = ((now - before) * 10_000, before.abs());
    let negative = numerator < 0;
    let (mut hundredths, rest) = (numerator.abs() / divisor, numerator.abs() % divisor);
    if rest * 2 > divisor || (rest * 2 == divisor && hundredths % 2 == 1) {
        hundredths += 1;
    }
    number(if negative { -hundredths } else { hundredths }, 2)
}

/// A number as its digits, the way JSON prints it; compared as text, since a float would hide a difference.
pub(crate) fn number(units: i128, scale: u32) -> Value {
    let power = 10_i128.pow(scale);
    let sign = if units < 0 { "-" } else { "" };
    let text = format!("{sign}{}.{:0width$}", units.abs() / power, units.abs() % power, width = scale as usize);
    json!(text.trim_end_matches('0').trim_end_matches('.'))
}

/// Every number of a report as text.
pub(crate) fn numbers_as_text(report: &str) -> Value {
    let mut out = String::new();
    let (mut in_text, mut in_number) = (false, false);
    for c in report.chars() {
        if c == '"' {
            in_text = !in_text;
        }
        let numeric = !in_text && (c.is_ascii_digit() || matches!(c, '-' | '.'));
        if numeric != in_number {
            out.push('"');
            in_number = numeric;
        }
        out.push(c);
    }
    serde_json::from_str(&out).unwrap()
}

fn unknown(label: &Option<String>) -> String {
    label.clone().unwrap_or_else(|| "unknown".to_owned())
}

/// Rows of (label, amount), largest first, ties by label.
fn ranking(rows: BTreeMap<String, i128>, scale: u32, label: &str, value: &str) -> Value {
    let mut rows: Vec<(String, i128)> = rows.into_iter().collect();
    rows.sort_by_key(|(name, amount)| (-amount, name.clone()));
    let row = |(name, amount): (String, i128)| {
        Value::Object(Map::from_iter([(label.to_owned(), json!(name)), (value.to_owned(), number(amount, scale))]))
    };
    rows.into_iter().map(row).collect()
}

fn site_ranking(rows: &BTreeMap<(String, Option<String>), i128>, scale: u32, value: &str) -> Value {
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by_key(|((name, key), amount)| (-**amount, name.clone(), key.clone()));
    let row = |((name, _), amount): (&(String, Option<String>), &i128)| {
        Value::Object(Map::from_iter([
            ("site_name".to_owned(), json!(name)),
            (value.to_owned(), number(*amount, scale)),
        ]))
    };
    rows.into_iter().map(row).collect()
}

struct Oracle<'a> {
    house: &'a House,
    request: &'a Request,
    zone: TimeZone,
}

impl Oracle<'_> {
    fn is_asked(&self, sale: &Sale) -> bool {
        sale.perspective == self.request.perspective
            && self.request.tenant.as_ref().is_none_or(|t| sale.tenant.as_ref() == Some(t))
            && self.request.source.as_ref().is_none_or(|s| &sale.source == s)
    }

    fn is_in(&self, sale: &Sale, window: Window) -> bool {
        self.is_asked(sale) && sale.at.is_some_and(|at| window.from() <= at && at < window.to())
    }

    fn has_counted_state(&self, sale: &Sale) -> bool {
        sale.state.as_ref().is_some_and(|s| self.request.states.contains(s))
    }

    fn is_counted(&self, sale: &Sale, window: Window) -> bool {
        self.is_in(sale, window) && (sale.kind == "sale" || sale.kind == "refund") && self.has_counted_state(sale)
    }

    fn now(&self) -> Window {
        self.request.window
    }

    /// What growth is measured against, by stepping through the calendar.
    fn before(&self) -> Window {
        let (from, to) = (self.now().from(), self.now().to());
        let length = to.duration_since(from);
        let wall = |at: Timestamp| at.to_zoned(self.zone.clone()).datetime();
        let at = |wall: DateTime| wall.to_zoned(self.zone.clone()).unwrap().timestamp();
        let window = |from: DateTime, to: DateTime| {
            Window::new(at(from), at(to)).unwrap_or_else(|_| Window::new(at(from), at(from) + length).unwrap())
        };
        let (first, last) = (wall(from), wall(to));
        let is_midnight = |wall: DateTime| wall.time() == jiff::civil::time(0, 0, 0, 0);
        match self.request.compare {
            Compare::Previous => Window::new(from - length, from).unwrap(),
            Compare::Window(other) => other,
            Compare::Calendar if [first, last].iter().all(|wall| is_midnight(*wall) && wall.day() == 1) => {
                let (mut start, mut reached) = (first, first);
                while reached < last {
                    (start, reached) = (start - 1.month(), reached + 1.month());
                }
                Window::new(at(start), from).unwrap()
            }
            Compare::Calendar => {
                let (mut start, mut end) = (first - 1.day(), last - 1.day());
                while end > first {
                    (start, end) = (start - 1.day(), end - 1.day());
                }
                window(start, end)
            }
            Compare::LastYear => {
                // Of the day after 28 February a leap year has one more; an end at its beginning includes all of the 28th.
                let back = |wall: DateTime, day| {
                    let leap_day = wall.month() == 2 && wall.day() == 29;
                    let (month, day) = if leap_day { day } else { (wall.month(), wall.day()) };
                    jiff::civil::date(wall.year() - 1, month, day).to_datetime(wall.time())
                };
                window(back(first, (2, 28)), back(last, if is_midnight(last) { (3, 1) } else { (2, 28) }))
            }
        }
    }

    /// Amounts of a currency: what was charged, what came in, what is still to come in, sale by sale and payment by payment.
    fn bridge(&self) -> Vec<Value> {
        let mut entries: BTreeMap<String, [i128; 10]> = BTreeMap::new();
        let mut elsewhere: BTreeMap<String, ByStateAndKind> = BTreeMap::new();
        for payment in self.house.payments.iter().filter(|p| p.state.as_deref() == Some("collected")) {
            let sale = self.house.sale(payment.sale);
            let is_known = self.house.is_known(payment.sale);
            if !self.is_in(sale, self.now()) || (is_known && self.is_counted(sale, self.now())) {
                continue;
            }
            let why = match is_known {
                true => (unknown(&sale.state), Some(sale.kind.clone())),
                false => ("without_sale".to_owned(), None),
            };
            let currency = self.currency(&payment.currency, payment.sale);
            entries.entry(currency.clone()).or_default();
            let sums = elsewhere.entry(currency).or_default().entry(why).or_default();
            *sums = (sums.0 + 1, sums.1 + payment.amount.unwrap_or(0));
        }
        for sale in self.house.sales.iter().filter(|sale| self.is_in(sale, self.now())) {
            let (amount, entry) = (sale.amount.unwrap_or(0), entries.entry(unknown(&sale.currency)).or_default());
            if self.is_counted(sale, self.now()) {
                (entry[0], entry[2]) = (entry[0] + amount, entry[2] + amount);
                continue;
            }
            let beside = match sale.kind.as_str() {
                "free" if self.has_counted_state(sale) => 4,
                "test" if self.has_counted_state(sale) => 6,
                _ => 8,
            };
            (entry[beside], entry[beside + 1]) = (entry[beside] + 1, entry[beside + 1] + amount);
        }
        for payment in self.payments() {
            let amount = payment.amount.unwrap_or(0);
            let entry = entries.entry(self.currency(&payment.currency, payment.sale)).or_default();
            (entry[1], entry[2]) = (entry[1] + amount, entry[2] - amount);
            if payment.excluded == Some(true) {
                entry[3] += amount;
            }
        }
        let mut shown = |(currency, e): (String, [i128; 10])| {
            let beside = |at: usize| json!({"transactions": number(e[at], 0), "amount": number(e[at + 1], 4)});
            let by_state = elsewhere.remove(&currency).unwrap_or_default();
            let sum = by_state.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
            let rows = by_state.into_iter().map(|((state, kind), (count, amount))| {
                json!({"state": state, "kind": kind, "count": number(count, 0), "amount": number(amount, 4)})
            });
            let elsewhere =
                json!({"count": number(sum.0, 0), "amount": number(sum.1, 4), "by_state": rows.collect::<Value>()});
            json!({
                "currency": currency, "total": number(e[0], 4), "collected": number(e[1], 4), "open": number(e[2], 4),
                "collected_excluded": number(e[3], 4), "collected_elsewhere": elsewhere, "free": beside(4), "test": beside(6), "excluded": beside(8),
            })
        };
        entries.into_iter().map(&mut shown).collect()
    }

    fn currency(&self, own: &Option<String>, sale: usize) -> String {
        let inherited = || self.house.sales.get(sale).and_then(|sale| sale.currency.clone());
        unknown(&own.clone().or_else(inherited))
    }

    fn name<'b>(names: &'b [(String, Option<String>)], key: Option<&String>) -> Option<&'b String> {
        names.iter().find(|(k, _)| Some(k) == key)?.1.as_ref()
    }

    fn articles(&self) -> impl Iterator<Item = &Article> {
        self.house.articles.iter().filter(|a| {
            self.is_counted(&self.house.sales[a.sale], self.now())
                && !matches!(a.state.as_deref(), Some("declined" | "error"))
        })
    }

    fn payments(&self) -> impl Iterator<Item = &Payment> {
        self.house.payments.iter().filter(|p| {
            let sale = self.house.sales.get(p.sale);
            sale.is_some_and(|sale| self.is_counted(sale, self.now())) && p.state.as_deref() == Some("collected")
        })
    }

    fn hours(&self, currency: &str) -> Value {
        let mut hours: BTreeMap<(Timestamp, String), i128> = BTreeMap::new();
        for sale in &self.house.sales {
            if unknown(&sale.currency) != currency || !self.is_counted(sale, self.now()) {
                continue;
            }
            let at = sale.at.unwrap();
            let key = match self.request.hours {
                Hours::OfDay => {
                    let hour = sale.local_hour.unwrap_or_else(|| at.as_second().rem_euclid(86_400) / 3600);
                    (Timestamp::UNIX_EPOCH, format!("{hour:02}"))
                }
                Hours::Timeline => {
                    let wall = at.to_zoned(self.zone.clone());
                    let into = SignedDuration::from_nanos(
                        i64::from(wall.minute()) * 60_000_000_000
                            + i64::from(wall.second()) * 1_000_000_000
                            + i64::from(wall.subsec_nanosecond()),
                    );
                    (at - into, format!("{}", wall.strftime("%Y-%m-%dT%H:00:00%:z")))
                }
            };
            *hours.entry(key).or_default() += 1;
        }
        hours.into_iter().map(|((_, hour), n)| json!({"hour": hour, "transactions": number(n, 0)})).collect()
    }

    fn entry(&self, currency: &str) -> Value {
        let (mut count, mut amount) = ([0_i128; 2], [0_i128; 2]);
        let (mut site_amounts, mut site_counts) = (BTreeMap::new(), BTreeMap::new());
        for sale in self.house.sales.iter().filter(|s| unknown(&s.currency) == currency) {
            for (i, window) in [self.now(), self.before()].into_iter().enumerate() {
                if !self.is_counted(sale, window) {
                    continue;
                }
                count[i] += 1;
                amount[i] += sale.amount.unwrap_or(0);
                if i == 0 {
                    let name = Self::name(&self.house.sites, sale.site.as_ref()).cloned();
                    let site = (unknown(&name), sale.site.clone());
                    *site_amounts.entry(site.clone()).or_default() += sale.amount.unwrap_or(0);
                    *site_counts.entry(site).or_default() += 1;
                }
            }
        }
        let mut paid: [BTreeMap<String, i128>; 5] = Default::default();
        for payment in self.payments().filter(|p| self.currency(&p.currency, p.sale) == currency) {
            for (ranking, word) in paid.iter_mut().zip(&payment.words) {
                *ranking.entry(unknown(word)).or_default() += payment.amount.unwrap_or(0);
            }
        }
        let mut sold: BTreeMap<String, BTreeMap<String, i128>> = BTreeMap::new();
        for article in self.articles().filter(|a| self.currency(&a.currency, a.sale) == currency) {
            let name = Self::name(&self.house.products, article.product.as_ref()).or(article.name.as_ref()).cloned();
            *sold.entry(unknown(&article.unit)).or_default().entry(unknown(&name)).or_default() +=
                article.quantity.unwrap_or(0);
        }
        let [types, mediums, schemes, modes, functions] = paid;
        let sold: Value = sold
            .into_iter()
            .map(|(unit, names)| {
                json!({"unit_measure": unit, "articles_quantities": ranking(names, 6, "article_name", "quantity")})
            })
            .collect();
        json!({
            "currency": currency,
            "hourly_transactions": self.hours(currency),
            "payment_type_ranking": ranking(types, 4, "payment_type", "amount"),
            "payment_medium_ranking": ranking(mediums, 4, "payment_medium", "amount"),
            "payment_scheme_ranking": ranking(schemes, 4, "payment_scheme", "amount"),
            "payment_entry_mode_ranking": ranking(modes, 4, "payment_entry_mode", "amount"),
            "payment_function_ranking": ranking(functions, 4, "payment_function", "amount"),
            "article_quantities_ranking": sold,
            "sites_amount_ranking": site_ranking(&site_amounts, 4, "amount"),
            "sites_transactions_ranking": site_ranking(&site_counts, 0, "transactions"),
            "transactions_count": {"growth": growth(count[0], count[1]), "value": number(count[0], 0)},
            "transactions_total_amount": {"growth": growth(amount[0], amount[1]), "value": number(amount[0], 4)},
        })
    }

    fn data(&self) -> Value {
        let mut currencies: Vec<String> = Vec::new();
        for sale in &self.house.sales {
            if self.is_counted(sale, self.now()) || self.is_counted(sale, self.before()) {
                currencies.push(unknown(&sale.currency));
            }
        }
        currencies.extend(self.articles().map(|a| self.currency(&a.currency, a.sale)));
        currencies.extend(self.payments().map(|p| self.currency(&p.currency, p.sale)));
        currencies.sort();
        currencies.dedup();
        currencies.iter().map(|currency| self.entry(currency)).collect()
    }

    fn how_many(&self, counts: impl Fn(&Sale) -> bool) -> i64 {
        self.house.sales.iter().filter(|sale| counts(sale)).count() as i64
    }
}

pub(crate) fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    prop_oneof![1 => Just(None), 6 => proptest::sample::select(words).prop_map(some)]
}

pub(crate) fn always(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(words).prop_map(str::to_owned)
}

const KEYS: &[&str] = &["p:1", "p:2", "p:3"];
const STATES: &[&str] = &["completed", "completed", "consumed", "created", "pending", "declined", "error"];
const CURRENCIES: &[&str] = &["EUR", "EUR", "CHF", "JPY"];

/// Around the night in which clocks in central Europe go back.
fn sale() -> impl Strategy<Value = Sale> {
    let from = t("2026-10-23T20:00:00Z").as_microsecond();
    let to = t("2026-10-26T02:00:00Z").as_microsecond();
    let at = prop_oneof![1 => Just(None), 15 => (from..to).prop_map(Some), 2 => Just(Some(t("2026-10-25T00:00:00Z").as_microsecond()))];
    let amount =
        prop_oneof![1 => Just(None), 8 => (-5_000_000_i128..50_000_000).prop_map(Some), 2 => Just(Some(10_000))];
    (
        (one_of(&["a", "b"]), always(&["hecone", "pace"]), always(&["sale", "sale", "sale", "purchase"])),
        (always(&["sale", "sale", "sale", "refund", "void", "free", "test"]), one_of(STATES)),
        (at, proptest::option::of(0_i64..24), amount, one_of(CURRENCIES), one_of(KEYS)),
    )
        .prop_map(|((tenant, source, perspective), (kind, state), (at, local_hour, amount, currency, site))| {
            Sale {
                tenant,
                source,
                perspective,
                kind,
                state,
                at: at.map(|at| Timestamp::from_microsecond(at).unwrap()),
                local_hour,
                amount,
                currency,
                site,
            }
        })
}

fn article() -> impl Strategy<Value = Article> {
    (
        (any::<proptest::sample::Index>(), one_of(KEYS), one_of(&["Diesel", "AC", "Tea"])),
        (one_of(&["done", "done", "ongoing", "declined", "error"]), one_of(&["l", "kWh"])),
        (proptest::option::of(-1_000_000_i128..90_000_000), one_of(CURRENCIES)),
    )
        .prop_map(|((sale, product, name), (state, unit), (quantity, currency))| Article {
            sale: sale.index(usize::MAX),
            product,
            name,
            state,
            unit,
            quantity,
            currency,
        })
}

fn payment() -> impl Strategy<Value = Payment> {
    let word = || one_of(&["x", "y"]);
    (
        (any::<proptest::sample::Index>(), [word(), word(), word(), word(), word()]),
        (one_of(&["collected", "collected", "open", "declined"]), proptest::option::of(-100_i128..1_000_000)),
        (one_of(CURRENCIES), proptest::option::of(any::<bool>())),
    )
        .prop_map(|((sale, words), (state, amount), (currency, excluded))| Payment {
            sale: sale.index(usize::MAX),
            words,
            state,
            amount,
            currency,
            excluded,
        })
}

pub(crate) fn house() -> impl Strategy<Value = House> {
    let names = || prop::collection::vec(one_of(&["Centre", "Harbour", "Diesel"]), 0..=3);
    (
        (prop::collection::vec(sale(), 1..60), prop::collection::vec(sale(), 0..4)),
        prop::collection::vec(article(), 0..80),
        prop::collection::vec(payment(), 0..80),
        names(),
        names(),
    )
        .prop_map(|((sales, orphans), mut articles, mut payments, sites, products)| {
            articles.iter_mut().for_each(|a| a.sale %= sales.len());
            payments.iter_mut().for_each(|p| p.sale %= sales.len() + orphans.len());
            let keyed = |names: Vec<Option<String>>| KEYS.iter().map(|k| (*k).to_owned()).zip(names).collect();
            House { sales, orphans, articles, payments, sites: keyed(sites), products: keyed(products) }
        })
}

/// Zones, and the rules they have today.
pub(crate) const ZONES: [(&str, &str); 9] = [
    ("Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"),
    ("America/New_York", "EST5EDT,M3.2.0,M11.1.0"),
    ("America/St_Johns", "NST3:30NDT,M3.2.0,M11.1.0"),
    ("Australia/Lord_Howe", "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"),
    ("Pacific/Chatham", "<+1245>-12:45<+1345>,M9.5.0/2:45,M4.1.0/3:45"),
    ("Asia/Kolkata", "IST-5:30"),
    ("Asia/Kathmandu", "<+0545>-5:45"),
    ("Pacific/Kiritimati", "<+14>-14"),
    ("-03:30", "NST3:30"),
];

/// Moments worth being around: clocks that go back and forward, leap days, a year's and a month's end, 2038-01-19T03:14:08Z, a century
/// that is no leap year.
pub(crate) const MOMENTS: [&str; 10] = [
    "2026-10-25T01:00:00Z",
    "2026-03-29T01:00:00Z",
    "2026-11-01T06:00:00Z",
    "2026-03-08T07:00:00Z",
    "2027-04-03T14:00:00Z",
    "2028-02-29T12:00:00Z",
    "2028-12-31T23:00:00Z",
    "2038-01-19T03:14:08Z",
    "2100-02-28T23:00:00Z",
    "2151-10-31T01:00:00Z",
];

/// Moves a house from around the first of the moments to around another.
fn moved(mut house: House, by: SignedDuration) -> House {
    for sale in house.sales.iter_mut().chain(&mut house.orphans) {
        sale.at = sale.at.map(|at| at + by);
    }
    house
}

/// A window near a moment: any hours, or days and months of the zone's calendar.
fn asked(moment: Timestamp, zone: &TimeZone, (shape, start, length): (u8, i64, i64)) -> Window {
    let midnight = |days: i64| {
        let day = moment.to_zoned(zone.clone()).date().checked_add(days.days()).unwrap();
        day.to_zoned(zone.clone()).unwrap().timestamp()
    };
    match shape {
        0 => {
            let from = moment + SignedDuration::from_mins(30 * (start - 22));
            Window::new(from, from + SignedDuration::from_mins(60 * length)).unwrap()
        }
        1 => Window::new(midnight(start % 3 - 2), midnight(start % 3 - 1 + length % 3)).unwrap(),
        _ => {
            let first = moment.to_zoned(zone.clone()).date().first_of_month();
            let at = |months: i64| (first + months.months()).to_zoned(zone.clone()).unwrap().timestamp();
            Window::new(at(-(start % 2)), at(1 + length % 2)).unwrap()
        }
    }
}

fn compare() -> impl Strategy<Value = Compare> {
    let other = (-60_i64..60, 1_i64..90).prop_map(|(start, hours)| {
        let from = t(MOMENTS[0]) + SignedDuration::from_hours(start);
        Compare::Window(Window::new(from, from + SignedDuration::from_hours(hours)).unwrap())
    });
    prop_oneof![3 => Just(Compare::Previous), 2 => Just(Compare::Calendar), 2 => Just(Compare::LastYear), 2 => other]
}

/// A request, the rule of its zone, and how far from the first of the moments it is.
pub(crate) fn request() -> impl Strategy<Value = (Request, TimeZone, SignedDuration)> {
    let when =
        (proptest::sample::select(&MOMENTS[..]), proptest::sample::select(&ZONES[..]), (0_u8..3, 0_i64..30, 1_i64..40));
    let states = prop_oneof![
        3 => Just(vec!["completed".to_owned(), "consumed".to_owned()]),
        1 => Just(vec!["created".to_owned(), "error".to_owned()])
    ];
    (
        (when, compare()),
        states,
        one_of(&["a", "b"]),
        proptest::option::of(always(&["pace"])),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(((moment, (name, rule), shape), compare), states, tenant, source, by_day, purchase)| {
            let zone = TimeZone::posix(rule).unwrap();
            let by = t(moment).duration_since(t(MOMENTS[0]));
            let request = Request {
                tenant: tenant.filter(|t| t == "a"),
                source,
                perspective: if purchase { "purchase" } else { "sale" }.to_owned(),
                states,
                timezone: name.to_owned(),
                hours: if by_day { Hours::OfDay } else { Hours::Timeline },
                compare: match compare {
                    Compare::Window(window) => {
                        Compare::Window(Window::new(window.from() + by, window.to() + by).unwrap())
                    }
                    other => other,
                },
                ..Request::new(asked(t(moment), &zone, shape))
            };
            (request, zone, by)
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_figure_is_the_oracles(house in house(), last_year in any::<bool>(), (request, zone, by) in request()) {
        // Half of the houses are a year earlier, where last year's figures are looked for.
        let year = if last_year && request.compare == Compare::LastYear { SignedDuration::from_hours(24 * 365) } else { SignedDuration::ZERO };
        let house = moved(house, by - year);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let found = runtime.block_on(async { figures(&house.session(), &request).await }).unwrap();
        let oracle = Oracle { house: &house, request: &request, zone };
        let data = numbers_as_text(&serde_json::to_string(&found.data).unwrap());
        prop_assert_eq!(data, oracle.data());

        let now = request.window;
        let sells = |sale: &Sale| sale.kind == "sale" || sale.kind == "refund";
        let is_open = |sale: &Sale| matches!(sale.state.as_deref(), Some("created" | "pending" | "consumed"));
        prop_assert_eq!(found.open_transactions, oracle.how_many(|s| oracle.is_in(s, now) && sells(s) && is_open(s)));
        let apart = |kind: &str| oracle.how_many(|s| oracle.is_in(s, now) && s.kind == kind && oracle.has_counted_state(s));
        prop_assert_eq!(found.free_transactions, apart("free"));
        prop_assert_eq!(found.test_transactions, apart("test"));
        prop_assert_eq!(found.transactions_without_time, oracle.how_many(|s| oracle.is_asked(s) && s.at.is_none()));
        let has_none = |s: &Sale| oracle.is_counted(s, now) && s.amount.is_none();
        prop_assert_eq!(found.transactions_without_amount, oracle.how_many(has_none));
        let is_orphan = |p: &&Payment| !house.is_known(p.sale) && oracle.is_in(house.sale(p.sale), now);
        prop_assert_eq!(found.payments_without_sale, house.payments.iter().filter(is_orphan).count() as i64);
        let is_lost = |p: &&Payment| !house.is_known(p.sale) && oracle.is_asked(house.sale(p.sale)) && house.sale(p.sale).at.is_none();
        prop_assert_eq!(found.payments_without_time, house.payments.iter().filter(is_lost).count() as i64);
        let bridge = numbers_as_text(&serde_json::to_string(&found.bridge).unwrap());
        prop_assert_eq!(&bridge, &Value::Array(oracle.bridge()));
        for entry in &found.bridge {
            prop_assert_eq!(entry.collected.units + entry.open.units, entry.total.units, "{}", entry.currency);
        }
        // Every collected payment of the window is in one of the two figures.
        let mut collected: BTreeMap<String, i128> = BTreeMap::new();
        for payment in house.payments.iter().filter(|p| p.state.as_deref() == Some("collected")) {
            if oracle.is_in(house.sale(payment.sale), now) {
                let currency = oracle.currency(&payment.currency, payment.sale);
                *collected.entry(currency).or_default() += payment.amount.unwrap_or(0);
            }
        }
        for entry in &found.bridge {
            let both = entry.collected.units + entry.collected_elsewhere.amount.units;
            prop_assert_eq!(both, collected.remove(&entry.currency).unwrap_or(0), "{}", entry.currency);
        }
        prop_assert!(collected.is_empty(), "{:?} is in no entry", collected);
    }
}
