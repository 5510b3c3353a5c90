//! The statistics against the oracle: plain loops over the same rows, written from docs/statistics.md without a look at the crate.
//!
//! Invariant: the oracle shares no code with what it checks; its clock is a POSIX rule, not a table. Here rows become its sales, and the
//! window that growth is measured against is found by stepping through the calendar.

use crate::fixture::{FixtureArticle, FixturePayment, FixtureSale, FixtureTables, some, t};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::prelude::*;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use tillhouse_model::Window;
use tillhouse_sandbox::{Decimal, oracle};
use tillhouse_statistics::{GrowthBaseline, HourGrouping, StatisticsRequest, figures};

/// Every number of a report as text, compared as such, since a float would hide a difference.
fn numbers_as_text(report: &str) -> Value {
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

/// The same of a value.
pub(crate) fn exact(value: &impl Serialize) -> Value {
    numbers_as_text(&serde_json::to_string(value).unwrap())
}

/// Figures without those that no provider has.
fn providers(mut data: Value) -> Value {
    for entry in data.as_array_mut().unwrap() {
        entry
            .as_object_mut()
            .unwrap()
            .remove("payment_method_ranking")
            .unwrap();
    }
    data
}

/// Window that growth is measured against, by stepping through the calendar.
fn before(request: &StatisticsRequest, zone: &TimeZone) -> Window {
    let (from, to) = (request.window.from(), request.window.to());
    let length = to.duration_since(from);
    let wall = |at: Timestamp| at.to_zoned(zone.clone()).datetime();
    let at = |wall: DateTime| wall.to_zoned(zone.clone()).unwrap().timestamp();
    let window = |from: DateTime, to: DateTime| {
        Window::new(at(from), at(to))
            .unwrap_or_else(|_| Window::new(at(from), at(from) + length).unwrap())
    };
    let (first, last) = (wall(from), wall(to));
    let is_midnight = |wall: DateTime| wall.time() == jiff::civil::time(0, 0, 0, 0);
    match request.compare {
        GrowthBaseline::Previous => Window::new(from - length, from).unwrap(),
        GrowthBaseline::Window(other) => other,
        GrowthBaseline::Calendar if is_midnight(first) && first.day() == 1 => {
            let (mut start, mut reached, mut months) = (first, first, 0);
            while reached < last {
                (start, reached, months) = (start - 1.month(), reached + 1.month(), months + 1);
            }
            let mut end = last - months.months();
            if end.day() != last.day() {
                // The month has no such day: it is there as a whole.
                end = end
                    .first_of_month()
                    .date()
                    .to_datetime(jiff::civil::time(0, 0, 0, 0))
                    + 1.month();
            }
            window(start, end)
        }
        GrowthBaseline::Calendar => {
            let (mut start, mut end) = (first - 1.day(), last - 1.day());
            while end > first {
                (start, end) = (start - 1.day(), end - 1.day());
            }
            window(start, end)
        }
        GrowthBaseline::LastYear => {
            // Of the day after 28 February a leap year has one more; an end at its beginning includes all of the 28th.
            let back = |wall: DateTime, day| {
                let leap_day = wall.month() == 2 && wall.day() == 29;
                let (month, day) = if leap_day {
                    day
                } else {
                    (wall.month(), wall.day())
                };
                jiff::civil::date(wall.year() - 1, month, day).to_datetime(wall.time())
            };
            window(
                back(first, (2, 28)),
                back(last, if is_midnight(last) { (3, 1) } else { (2, 28) }),
            )
        }
    }
}

/// A house's rows as the oracle's sales; payments whose transaction is in no table have one each that is only theirs.
fn sales(house: &FixtureTables) -> Vec<oracle::OracleSale> {
    let amount = |units: Option<i128>, scale| units.map(|units| Decimal::new(units, scale));
    let name = |names: &[(String, Option<String>)], key: &Option<String>| {
        names
            .iter()
            .find(|(known, _)| Some(known) == key.as_ref())?
            .1
            .clone()
    };
    let row = |sale: &FixtureSale, is_known: bool| oracle::OracleSale {
        source: sale.source.clone(),
        perspective: sale.perspective.clone(),
        tenant: sale.tenant.clone(),
        kind: is_known.then(|| sale.kind.clone()),
        state: sale.state.clone(),
        at: sale.at,
        local: sale
            .local_hour
            .map(|hour| jiff::civil::datetime(2026, 1, 1, hour as i8, 0, 0, 0)),
        amount: amount(sale.amount, 4),
        currency: sale.currency.clone().filter(|_| is_known),
        site: sale.site.clone(),
        site_name: name(&house.sites, &sale.site),
        ..oracle::OracleSale::default()
    };
    let mut sales: Vec<oracle::OracleSale> =
        house.sales.iter().map(|sale| row(sale, true)).collect();
    sales.extend(house.orphans.iter().map(|sale| row(sale, false)));
    for article in &house.articles {
        sales[article.sale].articles.push(oracle::OracleArticle {
            product: article.product.clone(),
            name: name(&house.products, &article.product).or_else(|| article.name.clone()),
            state: article.state.clone(),
            unit: article.unit.clone(),
            quantity: amount(article.quantity, 6),
            currency: article.currency.clone(),
            ..oracle::OracleArticle::default()
        });
    }
    for payment in &house.payments {
        sales[payment.sale].payments.push(oracle::OraclePayment {
            words: payment.words.clone(),
            is_collected: payment.state.as_deref() == Some("collected"),
            is_excluded: payment.excluded == Some(true),
            amount: amount(payment.amount, 4),
            currency: payment.currency.clone(),
            ..oracle::OraclePayment::default()
        });
    }
    sales
}

fn question(request: &StatisticsRequest, zone: &TimeZone) -> oracle::OracleQuery {
    let instants = |window: Window| (window.from(), window.to());
    oracle::OracleQuery {
        perspective: request.perspective.clone(),
        tenant: request.tenant.clone(),
        source: request.source.clone(),
        states: request.states.clone(),
        window: instants(request.window),
        before: instants(before(request, zone)),
        timezone: zone.clone(),
        of_day: request.hours == HourGrouping::OfDay,
    }
}

pub(crate) fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    prop_oneof![1 => Just(None), 6 => proptest::sample::select(words).prop_map(some)]
}

pub(crate) fn always(words: &'static [&'static str]) -> impl Strategy<Value = String> {
    proptest::sample::select(words).prop_map(str::to_owned)
}

const KEYS: &[&str] = &["p:1", "p:2", "p:3"];
const STATES: &[&str] = &[
    "completed",
    "completed",
    "consumed",
    "created",
    "pending",
    "declined",
    "error",
];
const CURRENCIES: &[&str] = &["EUR", "EUR", "CHF", "JPY"];

/// Around the night in which clocks in central Europe go back.
fn sale() -> impl Strategy<Value = FixtureSale> {
    let from = t("2026-10-23T20:00:00Z").as_microsecond();
    let to = t("2026-10-26T02:00:00Z").as_microsecond();
    let at = prop_oneof![1 => Just(None), 15 => (from..to).prop_map(Some), 2 => Just(Some(t("2026-10-25T00:00:00Z").as_microsecond()))];
    let amount = prop_oneof![1 => Just(None), 8 => (-5_000_000_i128..50_000_000).prop_map(Some), 2 => Just(Some(10_000))];
    (
        (
            one_of(&["a", "b"]),
            always(&["hecone", "pace"]),
            always(&["sale", "sale", "sale", "purchase"]),
        ),
        (
            always(&["sale", "sale", "sale", "refund", "void", "free", "test"]),
            one_of(STATES),
        ),
        (
            at,
            proptest::option::of(0_i64..24),
            amount,
            one_of(CURRENCIES),
            one_of(KEYS),
        ),
    )
        .prop_map(
            |(
                (tenant, source, perspective),
                (kind, state),
                (at, local_hour, amount, currency, site),
            )| {
                FixtureSale {
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
            },
        )
}

fn article() -> impl Strategy<Value = FixtureArticle> {
    (
        (
            any::<proptest::sample::Index>(),
            one_of(KEYS),
            one_of(&["Diesel", "AC", "Tea"]),
        ),
        (
            one_of(&["done", "done", "ongoing", "declined", "error"]),
            one_of(&["l", "kWh"]),
        ),
        (
            proptest::option::of(-1_000_000_i128..90_000_000),
            one_of(CURRENCIES),
        ),
    )
        .prop_map(
            |((sale, product, name), (state, unit), (quantity, currency))| FixtureArticle {
                sale: sale.index(usize::MAX),
                product,
                name,
                state,
                unit,
                quantity,
                currency,
            },
        )
}

fn payment() -> impl Strategy<Value = FixturePayment> {
    let word = || one_of(&["x", "y"]);
    (
        (
            any::<proptest::sample::Index>(),
            [word(), word(), word(), word(), word()],
        ),
        (
            one_of(&["collected", "collected", "open", "declined"]),
            proptest::option::of(-100_i128..1_000_000),
        ),
        (one_of(CURRENCIES), proptest::option::of(any::<bool>())),
    )
        .prop_map(
            |((sale, words), (state, amount), (currency, excluded))| FixturePayment {
                sale: sale.index(usize::MAX),
                words,
                state,
                amount,
                currency,
                excluded,
            },
        )
}

pub(crate) fn house() -> impl Strategy<Value = FixtureTables> {
    let names = || prop::collection::vec(one_of(&["Centre", "Harbour", "Diesel"]), 0..=3);
    (
        (
            prop::collection::vec(sale(), 1..60),
            prop::collection::vec(sale(), 0..4),
        ),
        prop::collection::vec(article(), 0..80),
        prop::collection::vec(payment(), 0..80),
        names(),
        names(),
    )
        .prop_map(
            |((sales, orphans), mut articles, mut payments, sites, products)| {
                articles.iter_mut().for_each(|a| a.sale %= sales.len());
                payments
                    .iter_mut()
                    .for_each(|p| p.sale %= sales.len() + orphans.len());
                let keyed = |names: Vec<Option<String>>| {
                    KEYS.iter().map(|k| (*k).to_owned()).zip(names).collect()
                };
                FixtureTables {
                    sales,
                    orphans,
                    articles,
                    payments,
                    sites: keyed(sites),
                    products: keyed(products),
                }
            },
        )
}

/// Zones, and the rules they have today.
pub(crate) const ZONES: [(&str, &str); 9] = [
    ("Europe/Berlin", "CET-1CEST,M3.5.0,M10.5.0/3"),
    ("America/New_York", "EST5EDT,M3.2.0,M11.1.0"),
    ("America/St_Johns", "NST3:30NDT,M3.2.0,M11.1.0"),
    (
        "Australia/Lord_Howe",
        "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0",
    ),
    (
        "Pacific/Chatham",
        "<+1245>-12:45<+1345>,M9.5.0/2:45,M4.1.0/3:45",
    ),
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
pub(crate) fn moved_house(mut house: FixtureTables, by: SignedDuration) -> FixtureTables {
    for sale in house.sales.iter_mut().chain(&mut house.orphans) {
        sale.at = sale.at.map(|at| at + by);
    }
    house
}

/// A window near a moment: any hours, or days and months of the zone's calendar.
fn asked(moment: Timestamp, zone: &TimeZone, (shape, start, length): (u8, i64, i64)) -> Window {
    let midnight = |days: i64| {
        let day = moment
            .to_zoned(zone.clone())
            .date()
            .checked_add(days.days())
            .unwrap();
        day.to_zoned(zone.clone()).unwrap().timestamp()
    };
    match shape {
        0 => {
            let from = moment + SignedDuration::from_mins(30 * (start - 22));
            Window::new(from, from + SignedDuration::from_mins(60 * length)).unwrap()
        }
        1 => Window::new(
            midnight(start % 3 - 2),
            midnight(start % 3 - 1 + length % 3),
        )
        .unwrap(),
        _ => {
            let first = moment.to_zoned(zone.clone()).date().first_of_month();
            let at = |months: i64| {
                (first + months.months())
                    .to_zoned(zone.clone())
                    .unwrap()
                    .timestamp()
            };
            Window::new(at(-(start % 2)), at(1 + length % 2)).unwrap()
        }
    }
}

fn compare() -> impl Strategy<Value = GrowthBaseline> {
    let other = (-60_i64..60, 1_i64..90).prop_map(|(start, hours)| {
        let from = t(MOMENTS[0]) + SignedDuration::from_hours(start);
        GrowthBaseline::Window(Window::new(from, from + SignedDuration::from_hours(hours)).unwrap())
    });
    prop_oneof![3 => Just(GrowthBaseline::Previous), 2 => Just(GrowthBaseline::Calendar), 2 => Just(GrowthBaseline::LastYear), 2 => other]
}

/// A request, the rule of its zone, and how far from the first of the moments it is.
pub(crate) fn request() -> impl Strategy<Value = (StatisticsRequest, TimeZone, SignedDuration)> {
    let when = (
        proptest::sample::select(&MOMENTS[..]),
        proptest::sample::select(&ZONES[..]),
        (0_u8..3, 0_i64..30, 1_i64..40),
    );
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
        .prop_map(
            |(
                ((moment, (name, rule), shape), compare),
                states,
                tenant,
                source,
                by_day,
                purchase,
            )| {
                let zone = TimeZone::posix(rule).unwrap();
                let by = t(moment).duration_since(t(MOMENTS[0]));
                let request = StatisticsRequest {
                    tenant: tenant.filter(|t| t == "a"),
                    source,
                    perspective: if purchase { "purchase" } else { "sale" }.to_owned(),
                    states,
                    timezone: name.to_owned(),
                    hours: if by_day {
                        HourGrouping::OfDay
                    } else {
                        HourGrouping::Timeline
                    },
                    compare: match compare {
                        GrowthBaseline::Window(window) => GrowthBaseline::Window(
                            Window::new(window.from() + by, window.to() + by).unwrap(),
                        ),
                        other => other,
                    },
                    ..StatisticsRequest::new(asked(t(moment), &zone, shape))
                };
                (request, zone, by)
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_figure_is_the_oracles(house in house(), last_year in any::<bool>(), (request, zone, by) in request()) {
        // Half of the houses are a year earlier, where last year's figures are looked for.
        let year = if last_year && request.compare == GrowthBaseline::LastYear { SignedDuration::from_hours(24 * 365) } else { SignedDuration::ZERO };
        let house = moved_house(house, by - year);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let found = runtime.block_on(async { figures(&house.session(), &request).await }).unwrap();
        let (sales, question) = (sales(&house), question(&request, &zone));
        let wanted = oracle::answer(&sales, &question);
        prop_assert_eq!(providers(exact(&found.data)), exact(&wanted.data));
        prop_assert_eq!(exact(&found.bridge), exact(&wanted.bridge));
        let counts = oracle::OracleCounts {
            open_transactions: found.open_transactions,
            free_transactions: found.free_transactions,
            test_transactions: found.test_transactions,
            transactions_without_time: found.transactions_without_time,
            transactions_without_amount: found.transactions_without_amount,
            payments_without_amount: found.payments_without_amount,
            payments_without_sale: found.payments_without_sale,
            payments_without_time: found.payments_without_time,
        };
        prop_assert_eq!(counts, wanted.counts);
        for entry in &found.bridge {
            prop_assert_eq!(entry.collected.units + entry.open.units, entry.total.units, "{}", entry.currency);
        }
        // Every collected payment of the window is in one of the two figures.
        let mut collected: BTreeMap<String, Decimal> = BTreeMap::new();
        let is_now = |at: Timestamp| request.window.from() <= at && at < request.window.to();
        for sale in sales.iter().filter(|sale| question.is_about(sale) && sale.at.is_some_and(is_now)) {
            for (payment, currency) in sale.collected() {
                let sum = collected.entry(currency.to_owned()).or_default();
                *sum = sum.plus(payment.amount.unwrap_or_default());
            }
        }
        for entry in &found.bridge {
            let both = Decimal::new(entry.collected.units + entry.collected_elsewhere.amount.units, 4);
            prop_assert_eq!(both, collected.remove(&entry.currency).unwrap_or_default(), "{}", entry.currency);
        }
        prop_assert!(collected.is_empty(), "{:?} is in no entry", collected);
    }
}
