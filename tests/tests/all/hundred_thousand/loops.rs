//! The statistics by plain loops, as docs/statistics.md defines them: every sale is looked at for every question.
//!
//! Invariant: nothing here shares code with the house. Answers have the shape of `tillhouse stats --format json` as `exact` reads it, so
//! that a figure that differs in its last digit differs.

use super::facts::{Facts, Kind, Sale};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_sandbox::Decimal;

/// What is asked.
pub(crate) struct Question<'a> {
    pub(crate) purchases: bool,
    pub(crate) tenant: Option<&'a str>,
    pub(crate) source: Option<&'a str>,
    pub(crate) states: &'a [&'a str],
    /// The first instant counted, and the first no longer.
    pub(crate) window: (Timestamp, Timestamp),
    /// What growth is measured against.
    pub(crate) before: (Timestamp, Timestamp),
    pub(crate) zone: &'a TimeZone,
    pub(crate) of_day: bool,
    pub(crate) passes: fn(&Facts, &Sale) -> bool,
}

/// The answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// An entry a currency, as in the answer's `data`.
    pub(crate) data: Value,
    /// Those fields of its `meta` that are counted.
    pub(crate) counted: Map<String, Value>,
    /// What was looked at: how many, where clocks show which time, and what is not quite usual.
    pub(crate) seen: Seen,
}

/// What the counted sales were like.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) transactions: i64,
    pub(crate) refunds: i64,
    pub(crate) offsets: BTreeSet<i32>,
}

/// The sums of one currency.
#[derive(Default)]
struct Sums<'f> {
    hours: BTreeMap<(i64, String), i64>,
    payments: [BTreeMap<&'f str, Decimal>; 5],
    quantities: BTreeMap<&'f str, BTreeMap<&'f str, Decimal>>,
    /// By name and key: sites are told apart by their key.
    sites: BTreeMap<(&'f str, Option<&'f str>), (Decimal, i64)>,
    count: i64,
    amount: Decimal,
    count_before: i64,
    amount_before: Decimal,
}

/// From charged to collected, in one currency.
#[derive(Default)]
struct Bridge {
    total: Decimal,
    collected: Decimal,
    collected_excluded: Decimal,
    /// How many and how much, by the state and kind of transactions that are not counted.
    elsewhere: BTreeMap<(String, Option<&'static str>), (i64, Decimal)>,
    free: (i64, Decimal),
    excluded: (i64, Decimal),
}

const NONE: &str = "unknown";

fn number(value: impl ToString) -> Value {
    Value::String(format!("#{}", value.to_string()))
}

fn add(sum: &mut Decimal, value: Option<Decimal>) {
    *sum = sum.plus(value.unwrap_or(Decimal::ZERO));
}

/// The sort key and the name of the hour of a sale.
fn hour(sale: &Sale, at: Timestamp, question: &Question<'_>) -> (i64, String) {
    if question.of_day {
        return (0, format!("{:02}", sale.hour));
    }
    let ahead = i64::from(question.zone.to_offset(at).seconds());
    let start = (at.as_second() + ahead).div_euclid(3600) * 3600 - ahead;
    let instant = Timestamp::from_second(start).unwrap();
    let name = match question.zone {
        zone if *zone == TimeZone::UTC => instant.to_string(),
        zone => zone.to_offset(at).to_time_zone().to_datetime(instant).to_string() + &offset(ahead),
    };
    (start, name)
}

/// `+01:00`.
fn offset(seconds: i64) -> String {
    let (sign, size) = if seconds < 0 { ('-', -seconds) } else { ('+', seconds) };
    format!("{sign}{:02}:{:02}", size / 3600, size / 60 % 60)
}

/// Answers a question.
pub(crate) fn answer(facts: &Facts, question: &Question<'_>) -> Answer {
    let mut currencies: BTreeMap<&str, Sums<'_>> = BTreeMap::new();
    let mut bridges: BTreeMap<&str, Bridge> = BTreeMap::new();
    let mut seen = Seen::default();
    let (mut open, mut free, mut timeless, mut without_amount) = (0, 0, 0, 0);
    let is_in = |at: Timestamp, (from, to): (Timestamp, Timestamp)| from <= at && at < to;
    for sale in &facts.sales {
        let is_asked = sale.is_purchase == question.purchases
            && question.tenant.is_none_or(|tenant| sale.tenant.as_deref() == Some(tenant))
            && question.source.is_none_or(|source| sale.source == source)
            && (question.passes)(facts, sale);
        if !is_asked {
            continue;
        }
        let Some(at) = sale.at else {
            timeless += 1;
            continue;
        };
        let has_state = question.states.contains(&sale.state.as_str());
        let is_counted = has_state && sale.kind != Kind::Free;
        let currency = sale.currency.unwrap_or(NONE);
        if is_in(at, question.before) && is_counted {
            let sums = currencies.entry(currency).or_default();
            sums.count_before += 1;
            add(&mut sums.amount_before, sale.amount);
        }
        if !is_in(at, question.window) {
            continue;
        }
        if sale.kind != Kind::Free && matches!(sale.state.as_str(), "created" | "pending" | "consumed") {
            open += 1;
        }
        if !is_counted {
            let why = (sale.state.clone(), Some(sale.kind.word()));
            for payment in sale.payments.iter().filter(|payment| payment.is_collected) {
                let bridge = bridges.entry(payment.currency.unwrap_or(currency)).or_default();
                bridge.collect_elsewhere(why.clone(), payment.amount);
            }
        }
        let bridge = bridges.entry(currency).or_default();
        if !is_counted {
            let is_free = sale.kind == Kind::Free && has_state;
            free += i64::from(is_free);
            let beside = if is_free { &mut bridge.free } else { &mut bridge.excluded };
            beside.0 += 1;
            add(&mut beside.1, sale.amount);
            continue;
        }
        add(&mut bridge.total, sale.amount);
        without_amount += i64::from(sale.amount.is_none());
        seen.transactions += 1;
        seen.refunds += i64::from(sale.kind == Kind::Refund);
        seen.offsets.extend(sale.offset);
        let sums = currencies.entry(currency).or_default();
        sums.count += 1;
        add(&mut sums.amount, sale.amount);
        *sums.hours.entry(hour(sale, at, question)).or_default() += 1;
        let site = sums.sites.entry((facts.site(sale).unwrap_or(NONE), sale.site.as_deref())).or_default();
        add(&mut site.0, sale.amount);
        site.1 += 1;
        for payment in sale.payments.iter().filter(|payment| payment.is_collected) {
            let own = payment.currency.unwrap_or(currency);
            let sums = currencies.entry(own).or_default();
            for (ranking, word) in sums.payments.iter_mut().zip(&payment.words) {
                add(ranking.entry(word.as_deref().unwrap_or(NONE)).or_default(), payment.amount);
            }
            let bridge = bridges.entry(own).or_default();
            add(&mut bridge.collected, payment.amount);
            if payment.is_excluded {
                add(&mut bridge.collected_excluded, payment.amount);
            }
        }
        for line in sale.lines.iter().filter(|line| !matches!(line.state.as_str(), "declined" | "error")) {
            let sums = currencies.entry(line.currency.unwrap_or(currency)).or_default();
            let names = sums.quantities.entry(line.unit).or_default();
            add(names.entry(facts.product(line).unwrap_or(NONE)).or_default(), line.quantity);
        }
    }
    let is_whose = |sale: &Sale| {
        sale.is_purchase == question.purchases
            && question.tenant.is_none_or(|tenant| sale.tenant.as_deref() == Some(tenant))
            && question.source.is_none_or(|source| sale.source == source)
            && (question.passes)(facts, sale)
    };
    let is_asked = |sale: &Sale| is_whose(sale) && sale.at.is_some_and(|at| is_in(at, question.window));
    let is_lost = |orphan: &&Sale| is_whose(orphan) && orphan.at.is_none();
    let lost: i64 = facts.orphans.iter().filter(is_lost).map(|orphan| orphan.payments.len() as i64).sum();
    let mut without_sale = 0;
    for orphan in facts.orphans.iter().filter(|orphan| is_asked(orphan)) {
        for payment in &orphan.payments {
            without_sale += 1;
            if payment.is_collected {
                let bridge = bridges.entry(payment.currency.unwrap_or(NONE)).or_default();
                bridge.collect_elsewhere(("without_sale".to_owned(), None), payment.amount);
            }
        }
    }
    let counted = json!({
        "open_transactions": number(open), "free_transactions": number(free),
        // No source marks a test sale.
        "test_transactions": number(0), "transactions_without_time": number(timeless),
        "transactions_without_amount": number(without_amount), "payments_without_sale": number(without_sale),
        "payments_without_time": number(lost),
        "bridge": bridges.into_iter().map(|(currency, bridge)| bridge.shown(currency)).collect::<Value>(),
    });
    let Value::Object(counted) = counted else { unreachable!("an object was written") };
    let data = currencies.into_iter().map(|(currency, sums)| sums.shown(currency)).collect();
    Answer { data, counted, seen }
}

/// Of SmartNow's sales, whose tax is derived: how many, their tax and what is left of their amounts, by currency.
pub(crate) fn derived_tax(facts: &Facts) -> Value {
    let mut sums: BTreeMap<&str, (i64, Decimal, Decimal)> = BTreeMap::new();
    for sale in &facts.sales {
        if let (Some(tax), Some(amount)) = (sale.derived_tax, sale.amount) {
            let sum = sums.entry(sale.currency.unwrap_or(NONE)).or_default();
            *sum = (sum.0 + 1, sum.1.plus(tax), sum.2.plus(amount.minus(tax)));
        }
    }
    let row = |(currency, (n, tax, net)): (&str, (i64, Decimal, Decimal))| json!({"currency": currency, "n": number(n), "tax": number(tax), "net": number(net)});
    sums.into_iter().map(row).collect()
}

/// Largest first, ties by label.
fn ranking(sums: BTreeMap<&str, Decimal>, label: &str, value: &str) -> Value {
    let mut rows: Vec<(&str, Decimal)> = sums.into_iter().collect();
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let row = |(name, sum)| Map::from_iter([(label.to_owned(), json!(name)), (value.to_owned(), number(sum))]);
    rows.into_iter().map(|entry| Value::Object(row(entry))).collect()
}

impl Sums<'_> {
    fn shown(self, currency: &str) -> Value {
        let [types, media, schemes, modes, functions] = self.payments;
        let mut by_amount: Vec<_> = self.sites.iter().collect();
        by_amount.sort_by(|a, b| b.1.0.cmp(&a.1.0).then_with(|| a.0.cmp(b.0)));
        let mut by_count: Vec<_> = self.sites.iter().collect();
        by_count.sort_by(|a, b| b.1.1.cmp(&a.1.1).then_with(|| a.0.cmp(b.0)));
        let units = self.quantities.into_iter().map(|(unit, names)| {
            json!({"unit_measure": unit, "articles_quantities": ranking(names, "article_name", "quantity")})
        });
        let growth = |now: Decimal, before: Decimal| now.growth_against(before).map_or(Value::Null, number);
        let (count, count_before) = (Decimal::from(self.count), Decimal::from(self.count_before));
        json!({
            "currency": currency,
            "hourly_transactions": self.hours.into_iter()
                .map(|((_, hour), n)| json!({"hour": hour, "transactions": number(n)})).collect::<Value>(),
            "payment_type_ranking": ranking(types, "payment_type", "amount"),
            "payment_medium_ranking": ranking(media, "payment_medium", "amount"),
            "payment_scheme_ranking": ranking(schemes, "payment_scheme", "amount"),
            "payment_entry_mode_ranking": ranking(modes, "payment_entry_mode", "amount"),
            "payment_function_ranking": ranking(functions, "payment_function", "amount"),
            "article_quantities_ranking": units.collect::<Value>(),
            "sites_amount_ranking": by_amount.into_iter()
                .map(|((name, _), (amount, _))| json!({"site_name": name, "amount": number(amount)})).collect::<Value>(),
            "sites_transactions_ranking": by_count.into_iter()
                .map(|((name, _), (_, n))| json!({"site_name": name, "transactions": number(n)})).collect::<Value>(),
            "transactions_count": {"growth": growth(count, count_before), "value": number(count)},
            "transactions_total_amount":
                {"growth": growth(self.amount, self.amount_before), "value": number(self.amount)},
        })
    }
}

impl Bridge {
    fn collect_elsewhere(&mut self, why: (String, Option<&'static str>), amount: Option<Decimal>) {
        let sums = self.elsewhere.entry(why).or_default();
        sums.0 += 1;
        add(&mut sums.1, amount);
    }

    fn shown(self, currency: &str) -> Value {
        let beside = |(n, amount): (i64, Decimal)| json!({"transactions": number(n), "amount": number(amount)});
        let count: i64 = self.elsewhere.values().map(|(n, _)| n).sum();
        let amount: Decimal = self.elsewhere.values().map(|(_, amount)| *amount).sum();
        let by_state = self.elsewhere.iter().map(|((state, kind), (n, amount))| {
            json!({"state": state, "kind": kind, "count": number(n), "amount": number(amount)})
        });
        let elsewhere =
            json!({"count": number(count), "amount": number(amount), "by_state": by_state.collect::<Value>()});
        json!({
            "currency": currency, "total": number(self.total), "collected": number(self.collected),
            "open": number(self.total.minus(self.collected)), "collected_excluded": number(self.collected_excluded),
            "collected_elsewhere": elsewhere, "free": beside(self.free), "test": beside((0, Decimal::ZERO)), "excluded": beside(self.excluded),
        })
    }
}
