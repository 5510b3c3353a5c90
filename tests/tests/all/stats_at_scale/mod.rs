//! `tillhouse stats` on more than 100,000 transactions of four sources, against plain loops over what the sources serve.
//!
//! Invariant: every part of an answer is compared, `meta` included, to the last digit, and counted both from the roll-ups and from the
//! facts. What a record means is in [`facts`], what the figures are in the sandbox's oracle; neither shares code with the other crates.

mod facts;
mod rarities;

use crate::exact_json;
use crate::project::TestProject;
use crate::rollups::origin;
use facts::{ExpectedFact, ExpectedFacts};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_sandbox::oracle::{self, OracleQuery};
use tillhouse_sandbox::{Decimal, Sandbox, SandboxOptions};
use tillhouse_statistics::definitions::DEFINITIONS_VERSION;

/// Three months with the night in which Europe's clocks go back, and the one in which America's do.
const STRETCH: [&str; 2] = ["2025-09-01T00:00:00Z", "2025-12-01T00:00:00Z"];
const SOURCES: [&str; 4] = ["bemo", "hecone", "pace", "smartnow"];

/// A Kendo UI filter, and what it means.
type FilterCase = (&'static str, fn(&ExpectedFact) -> bool);

/// Case of a `stats` command, and the answer it must give.
#[derive(Clone, Copy)]
struct StatsCase<'a> {
    from: &'a str,
    to: &'a str,
    zone: &'a str,
    tenant: Option<&'a str>,
    source: Option<&'a str>,
    states: &'a [&'a str],
    purchases: bool,
    of_day: bool,
    /// Window that growth is measured against: as it is asked, as `meta` calls it, and its first
    /// and last day. The window of equal length just before unless told.
    compare: Option<(&'a str, &'a str, [&'a str; 2])>,
    filter: Option<FilterCase>,
    /// Origin of its answer, as [`origin`] calls it.
    answered_from: &'a str,
}

impl<'a> StatsCase<'a> {
    fn of(from: &'a str, to: &'a str) -> Self {
        Self {
            from,
            to,
            zone: "UTC",
            tenant: None,
            source: None,
            states: &["completed", "consumed"],
            purchases: false,
            of_day: false,
            compare: None,
            filter: None,
            answered_from: "levels",
        }
    }

    fn arguments(&self) -> Vec<String> {
        let mut all = vec!["stats".to_owned()];
        let mut add = |flag: &str, value: Option<&str>| {
            all.extend(
                value
                    .map(|value| [format!("--{flag}"), value.to_owned()])
                    .into_iter()
                    .flatten(),
            );
        };
        add("from", Some(self.from));
        add("to", Some(self.to));
        add("timezone", Some(self.zone));
        add("states", Some(&self.states.join(",")));
        add("tenant", self.tenant);
        add("source", self.source);
        add("perspective", self.purchases.then_some("purchase"));
        add("hours", self.of_day.then_some("of_day"));
        add("compare", self.compare.map(|(asked, ..)| asked));
        add("filter", self.filter.map(|(json, _)| json));
        all
    }

    /// The answer by plain loops.
    fn expected(&self, facts: &ExpectedFacts) -> (StatsAnswer, Value) {
        let zone = TimeZone::get(self.zone).unwrap();
        // A time with its offset, or a day's first instant in the zone.
        let instant = |text: &str| {
            text.parse::<Timestamp>().unwrap_or_else(|_| {
                text.parse::<Date>()
                    .unwrap()
                    .to_zoned(zone.clone())
                    .unwrap()
                    .timestamp()
            })
        };
        let window = (instant(self.from), instant(self.to));
        let before = match self.compare {
            Some((_, _, [from, to])) => (instant(from), instant(to)),
            // Length is counted in instants.
            None => (window.0 - window.1.duration_since(window.0), window.0),
        };
        let question = OracleQuery {
            perspective: if self.purchases { "purchase" } else { "sale" }.to_owned(),
            tenant: self.tenant.map(str::to_owned),
            source: self.source.map(str::to_owned),
            states: self
                .states
                .iter()
                .map(|state| (*state).to_owned())
                .collect(),
            window,
            before,
            timezone: zone.clone(),
            of_day: self.of_day,
        };
        let passing = || {
            facts
                .all
                .iter()
                .filter(|fact| self.filter.is_none_or(|(_, passes)| passes(fact)))
        };
        let answer = StatsAnswer::of(
            &oracle::answer(passing().map(|fact| &fact.sale), &question),
            passing(),
            &question,
        );
        let mut meta = json!({
            "from": window.0.to_string(), "to": window.1.to_string(), "tenant": self.tenant, "source": self.source,
            "perspective": question.perspective, "states": self.states, "timezone": self.zone,
            "hours": if self.of_day { "of_day" } else { "timeline" },
            "filter": self.filter.map(|(text, _)| exact_json::json(text, "a filter")),
            "compare": self.compare.map_or("previous", |(_, name, _)| name),
            "compared": {"from": before.0.to_string(), "to": before.1.to_string()},
            "definitions_version": format!("#{DEFINITIONS_VERSION}"), "answered_from": self.answered_from, "gaps": [], "rejects": "#0",
        });
        meta.as_object_mut().unwrap().extend(answer.counted.clone());
        (answer, meta)
    }
}

/// The oracle's answer, in the shape of `tillhouse stats --format json` as `exact` reads it: a figure that differs in its last digit differs.
struct StatsAnswer {
    /// An entry a currency, as in the answer's `data`.
    data: Value,
    /// Counted fields of its `meta`.
    counted: Map<String, Value>,
    seen: CountedSaleTraits,
}

/// Traits of the counted sales.
#[derive(Debug)]
struct CountedSaleTraits {
    transactions: usize,
    refunds: usize,
    offsets: BTreeSet<i32>,
}

impl StatsAnswer {
    fn of<'f>(
        answer: &oracle::OracleStatistics,
        facts: impl Iterator<Item = &'f ExpectedFact>,
        question: &OracleQuery,
    ) -> Self {
        let exact = |value: String| exact_json::json(&value, "the oracle");
        let mut counted = exact(serde_json::to_string(&answer.counts).unwrap());
        counted["bridge"] = exact(serde_json::to_string(&answer.bridge).unwrap());
        let Value::Object(counted) = counted else {
            panic!("counts are an object: {counted}")
        };
        let facts: Vec<&ExpectedFact> = facts.filter(|fact| question.counts(&fact.sale)).collect();
        let seen = CountedSaleTraits {
            transactions: facts.len(),
            refunds: facts
                .iter()
                .filter(|fact| fact.sale.kind.as_deref() == Some("refund"))
                .count(),
            offsets: facts.iter().filter_map(|fact| fact.offset).collect(),
        };
        Self {
            data: exact(serde_json::to_string(&answer.data).unwrap()),
            counted,
            seen,
        }
    }
}

/// Number, tax and net amounts of SmartNow's sales, whose tax is derived, by currency.
fn derived_tax(facts: &ExpectedFacts) -> Value {
    let mut sums: BTreeMap<&str, (i64, Decimal, Decimal)> = BTreeMap::new();
    for fact in &facts.all {
        if let (Some(tax), Some(amount)) = (fact.derived_tax, fact.sale.amount) {
            let sum = sums
                .entry(fact.sale.currency.as_deref().unwrap_or("unknown"))
                .or_default();
            *sum = (sum.0 + 1, sum.1.plus(tax), sum.2.plus(amount.minus(tax)));
        }
    }
    let row = |(currency, (n, tax, net)): (&str, (i64, Decimal, Decimal))| json!({"currency": currency, "n": format!("#{n}"), "tax": format!("#{tax}"), "net": format!("#{net}")});
    sums.into_iter().map(row).collect()
}

/// Compares part by part, so that a failure names what differs.
fn assert_answer_is(found: &Value, wanted: &StatsAnswer, meta: &Value, what: &str) {
    let (ours, theirs) = (
        found["data"].as_array().unwrap(),
        wanted.data.as_array().unwrap(),
    );
    let currencies = |entries: &[Value]| {
        entries
            .iter()
            .map(|entry| entry["currency"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(currencies(ours), currencies(theirs), "{what}: currencies");
    for (ours, theirs) in ours.iter().zip(theirs) {
        let (mut ours, theirs) = (
            ours.as_object().unwrap().clone(),
            theirs.as_object().unwrap(),
        );
        // No provider has it, and so has the oracle not.
        assert!(ours.remove("payment_method_ranking").is_some(), "{what}");
        assert!(ours.keys().eq(theirs.keys()), "{what}: {:?}", ours.keys());
        for (part, wanted) in theirs {
            assert_eq!(
                &ours[part], wanted,
                "{what}: {part} of {}",
                theirs["currency"]
            );
        }
    }
    let mut ours = found["meta"].as_object().unwrap().clone();
    let run = ours.remove("run");
    assert!(run.is_some_and(|run| run.is_string()), "{what}");
    assert!(ours.remove("compared_transactions").is_some(), "{what}");
    let through = ours.remove("data_through").unwrap();
    let [through, to] = [&through, &meta["to"]].map(|time| {
        time.as_str()
            .and_then(|text| text.parse::<Timestamp>().ok())
    });
    assert!(
        through.is_some() && through >= to,
        "{what}: read up to {through:?} only"
    );
    for (part, wanted) in meta.as_object().unwrap() {
        assert_eq!(ours.remove(part).as_ref(), Some(wanted), "{what}: {part}");
    }
    assert!(ours.is_empty(), "{what}: {ours:?} is not compared");
}

/// Filters that levels of the roll-ups can tell, and such as only the facts can, over a month whose ends lie within a UTC day.
const FILTERS: [(&str, FilterCase); 4] = [
    (
        "both",
        (
            r#"{"field": "site_name", "operator": "contains", "value": "HA"}"#,
            |fact| {
                fact.sale
                    .site_name
                    .as_ref()
                    .is_some_and(|name| name.to_lowercase().contains("ha"))
            },
        ),
    ),
    (
        "facts",
        (
            r#"{"logic": "and", "filters": [{"field": "local_hour", "operator": "lt", "value": 6},
                {"field": "business_date", "operator": "gte", "value": "2025-10-26"}]}"#,
            |fact| {
                let first = jiff::civil::date(2025, 10, 26);
                fact.sale
                    .local
                    .is_some_and(|local| local.hour() < 6 && local.date() >= first)
            },
        ),
    ),
    (
        "both",
        (
            r#"{"field": "kind", "operator": "eq", "value": "refund"}"#,
            |fact| fact.sale.kind.as_deref() == Some("refund"),
        ),
    ),
    (
        "facts",
        (
            r#"{"logic": "or", "filters": [{"field": "license_plate", "operator": "isnotnull"},
                {"logic": "and", "filters": [{"field": "amount", "operator": "gte", "value": 49.99},
                {"field": "currency", "operator": "neq", "value": "eur"}]}]}"#,
            |fact| {
                let is_large = fact
                    .sale
                    .amount
                    .is_some_and(|amount| amount >= Decimal::new(4999, 2));
                fact.has_plate || (is_large && fact.sale.currency.as_deref() != Some("EUR"))
            },
        ),
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn statistics_of_a_hundred_thousand_transactions_are_those_of_plain_loops() {
    let [from, to] = STRETCH.map(|text| text.parse::<Timestamp>().unwrap());
    let options = SandboxOptions {
        transactions: 51_000,
        smartnow_sales: Some(25_000),
        bemo_sessions: Some(10_000),
        pace_transactions: Some(20_000),
        from,
        to,
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    rarities::put(&sandbox);
    let project = TestProject::of(&SOURCES, &sandbox, "2025-05-01").await;
    // Up to now: what is read by change time is complete only so far.
    let report = project.json(&["sync"]).await;
    assert_eq!(report["published"], true, "{report}");
    let facts = ExpectedFacts::of(&sandbox);

    let (whole, november) = (
        StatsCase::of("2025-09-01", "2025-12-01"),
        StatsCase::of("2025-11-01", "2025-12-01"),
    );
    let october = StatsCase {
        zone: "Europe/Zurich",
        answered_from: "both",
        ..StatsCase::of("2025-10-01", "2025-11-01")
    };
    let calendar = Some(("calendar", "calendar", ["2025-10-01", "2025-11-01"]));
    let purchases = StatsCase {
        purchases: true,
        ..october
    };
    let mut asks = vec![
        whole,
        october,
        StatsCase {
            of_day: true,
            ..october
        },
        StatsCase {
            zone: "Europe/Zurich",
            compare: calendar,
            answered_from: "both",
            ..november
        },
        // SmartNow's archive has sales of May.
        StatsCase {
            compare: Some((
                "2025-05-01..2025-06-01",
                "window",
                ["2025-05-01", "2025-06-01"],
            )),
            ..november
        },
        StatsCase {
            zone: "America/New_York",
            answered_from: "both",
            ..StatsCase::of("2025-10-27", "2025-11-10")
        },
        // A clock that is half an hour off.
        StatsCase {
            zone: "Asia/Kolkata",
            answered_from: "both",
            ..october
        },
        StatsCase {
            zone: "Asia/Kolkata",
            answered_from: "both",
            of_day: true,
            ..october
        },
        // The hour that comes twice, and half of the next.
        StatsCase {
            zone: "Europe/Berlin",
            answered_from: "both",
            ..StatsCase::of("2025-10-26T02:00:00+02:00", "2025-10-26T03:30:00+01:00")
        },
        StatsCase {
            zone: "Europe/London",
            answered_from: "both",
            ..StatsCase::of("2025-10-26", "2025-10-27")
        },
        StatsCase {
            states: &["created", "pending", "declined", "error"],
            ..october
        },
        StatsCase {
            purchases: true,
            ..whole
        },
        purchases,
        StatsCase {
            of_day: true,
            ..purchases
        },
        StatsCase {
            states: &["pending"],
            ..purchases
        },
        StatsCase {
            zone: "Europe/Zurich",
            purchases: true,
            compare: calendar,
            answered_from: "both",
            ..november
        },
        StatsCase {
            zone: "Asia/Kathmandu",
            answered_from: "both",
            ..purchases
        },
    ];
    asks.extend(SOURCES.map(|source| StatsCase {
        source: Some(source),
        purchases: source == "bemo",
        ..october
    }));
    let (mandators, partners, accounts) =
        (sandbox.mandators(), sandbox.partners(), sandbox.accounts());
    asks.extend(
        [mandators[2].as_str(), &partners[1], "3"].map(|tenant| StatsCase {
            tenant: Some(tenant),
            ..october
        }),
    );
    asks.push(StatsCase {
        tenant: Some(&accounts[0]),
        ..purchases
    });
    asks.extend(FILTERS.map(|(answered_from, filter)| StatsCase {
        filter: Some(filter),
        answered_from,
        ..october
    }));
    asks.push(StatsCase {
        filter: Some(FILTERS[0].1),
        ..purchases
    });

    for ask in &asks {
        let arguments = ask.arguments();
        let what = arguments.join(" ");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let from_facts: Vec<&str> = arguments.iter().copied().chain(["--from-facts"]).collect();
        let (mut found, again) = tokio::join!(project.json(&arguments), project.json(&from_facts));
        found["meta"]["answered_from"] = origin(&found).into();
        let (wanted, mut meta) = ask.expected(&facts);
        assert!(wanted.seen.transactions > 0, "{what}: nothing is compared");
        assert_answer_is(&found, &wanted, &meta, &what);
        meta["answered_from"] = "facts".into();
        assert_answer_is(&again, &wanted, &meta, &format!("{what} --from-facts"));
    }
    assert_is_not_trivial(&facts);
    let sql = "SELECT currency, count(*) AS n, sum(tax_amount) AS tax, sum(net_amount) AS net FROM transactions
               WHERE tax_origin = 'derived' GROUP BY currency ORDER BY currency";
    let derived = project.json(&["sql", sql]).await;
    assert_eq!(derived, derived_tax(&facts));
    // Every collected payment is counted or listed.
    let [all, counted, listed] = [
        "payments WHERE state = 'collected'",
        "payments WHERE state = 'collected' AND kind IN ('sale', 'refund')
         AND transaction_state IN ('completed', 'consumed') AND occurred_at IS NOT NULL",
        "uncounted_payments",
    ]
    .map(|rows| format!("SELECT count(*) FROM {rows}"));
    let (all, counted) = (project.count(&all).await, project.count(&counted).await);
    assert_eq!(project.count(&listed).await, all - counted);
    assert!(all - counted > 1_000, "{all} collected, {counted} counted");
    sandbox.stop().await;
}

/// Asserts that what was compared is not trivial.
fn assert_is_not_trivial(facts: &ExpectedFacts) {
    let whole = StatsCase::of("2025-09-01", "2025-12-01");
    let mut transactions = 0;
    for source in SOURCES {
        let (answer, _) = StatsCase {
            source: Some(source),
            purchases: source == "bemo",
            ..whole
        }
        .expected(facts);
        let currencies = answer.data.as_array().unwrap().len();
        let free = exact_json::integer(&answer.counted["free_transactions"]);
        let open = exact_json::integer(&answer.counted["open_transactions"]);
        let seen = answer.seen;
        assert!(
            currencies >= 2 && free > 0,
            "{source}: {currencies} currencies, {free} free"
        );
        assert!(open > 0 || source == "pace", "{source}: {open} open");
        assert!(
            seen.refunds > 20 && seen.offsets.len() >= 3,
            "{source}: {seen:?}"
        );
        transactions += seen.transactions;
    }
    assert!(transactions >= 100_000, "only {transactions}");
    let (answer, _) = whole.expected(facts);
    assert!(exact_json::integer(&answer.counted["transactions_without_time"]) > 0);
    assert!(exact_json::integer(&answer.counted["transactions_without_amount"]) > 0);
    // A second card paid what the first was declined for.
    let declined = answer.counted["bridge"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|entry| {
            let parts = entry["collected_elsewhere"]["by_state"]
                .as_array()
                .unwrap()
                .iter();
            parts
                .filter(|part| part["state"] == "declined")
                .map(|part| exact_json::integer(&part["count"]))
        });
    assert!(declined.sum::<i64>() > 100);
    assert!(exact_json::integer(&answer.counted["payments_without_sale"]) > 10);
    let names = answer.data.to_string();
    for renamed in ["Station Nordost", "Kantoor Zuid II", "Kaffee riesig"] {
        assert!(names.contains(renamed), "nothing is called {renamed}");
    }
    let currencies: BTreeSet<_> = facts
        .all
        .iter()
        .filter_map(|fact| fact.sale.currency.as_deref())
        .collect();
    let offsets: BTreeSet<_> = facts.all.iter().filter_map(|fact| fact.offset).collect();
    assert!(
        currencies.is_superset(&["CHF", "EUR", "INR", "JPY", "KWD"].into()),
        "{currencies:?}"
    );
    // India is half an hour off, Nepal three quarters.
    assert!(
        offsets.is_superset(&[-240, 60, 120, 330, 345].into()),
        "{offsets:?}"
    );
}
