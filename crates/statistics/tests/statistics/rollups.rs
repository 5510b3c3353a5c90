//! The roll-ups: whatever is asked, they say what the facts say, after every change of the facts.
//!
//! Invariant: answers are compared as JSON text, so to the last digit; only `answered_from` may differ.

use crate::fixture::{FixtureArticle, FixturePayment, FixtureSale, FixtureTables, some, t, window};
use crate::oracle::{house, request};
use crate::published::{
    ARTICLES, FixtureWarehouse, LATER, PAYMENTS, RUN, SITES, TRANSACTIONS, fit,
};
use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};
use proptest::prelude::*;
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tillhouse_lake::{
    LostTable, RunRecord, SupersededRecords, UnifyStep, Warehouse, WarehouseLocation,
};
use tillhouse_model::{Filter, Window, contract};
use tillhouse_query::Session;
use tillhouse_statistics::reports::{heat_map, week_hours};
use tillhouse_statistics::{
    CheckedFilter, GrowthBaseline, HourGrouping, StatisticsRequest, register_sql, roll_up,
    statistics, statistics_of_facts,
};

const PRODUCTS: &str = include_str!("../../../../schemas/unified/products.yaml");
const FACTS: [(&str, &str); 3] = [
    ("transactions", TRANSACTIONS),
    ("articles", ARTICLES),
    ("payments", PAYMENTS),
];

impl FixtureWarehouse {
    /// Puts the sales at these positions, with what hangs on them, in place of what `old` had there.
    pub(crate) async fn replace(
        &self,
        house: &FixtureTables,
        positions: &[usize],
        old: Option<&FixtureTables>,
        land: i64,
    ) {
        let mut superseded = SupersededRecords::default();
        for position in positions {
            superseded.keys.insert(position.to_string());
            superseded.keys_maybe_untimed.insert(position.to_string());
            superseded
                .times
                .extend(old.and_then(|old| Some(old.sale(*position).at?.as_microsecond())));
        }
        let session = house.session();
        let wanted: Vec<String> = positions.iter().map(|i| format!("'p:{i}'")).collect();
        let wanted = if wanted.is_empty() {
            "''".to_owned()
        } else {
            wanted.join(", ")
        };
        for (name, text) in FACTS {
            let spec = Arc::new(contract::parse(text, name).unwrap());
            let key = spec.key[0].clone();
            let own = if key == "transaction_key" {
                String::new()
            } else {
                format!(
                    "concat(transaction_key, '/', CAST(row_number() OVER () AS VARCHAR)) AS {key}, "
                )
            };
            let sql = format!(
                "SELECT {own}*, substr(transaction_key, 3) AS transaction_id, substr(transaction_key, 3) AS _record_key,
                        occurred_at AS _record_time, 'r' AS _run_id, to_timestamp_micros(0) AS _extracted_at,
                        X'00' AS _content_hash, {land} AS _load_id
                 FROM {name} WHERE transaction_key IN ({wanted})"
            );
            let rows: Vec<RecordBatch> = session
                .query(&sql)
                .await
                .unwrap()
                .map_ok(|batch| fit(&batch, &spec))
                .try_collect()
                .await
                .unwrap();
            let rows = futures::stream::iter(rows.into_iter().map(Ok)).boxed();
            self.warehouse
                .unified_table(spec)
                .replace(&step(land), &superseded, rows)
                .await
                .unwrap();
        }
    }

    /// Sites and products, as they are called now.
    pub(crate) async fn name(&self, house: &FixtureTables) {
        let session = house.session();
        for (name, text) in [("sites", SITES), ("products", PRODUCTS)] {
            let spec = Arc::new(contract::parse(text, name).unwrap());
            let sql = format!(
                "SELECT *, 'p' AS pipeline, 'hecone' AS source, to_timestamp_micros(0) AS _as_of, 'r' AS _run_id,
                        to_timestamp_micros(0) AS _extracted_at, X'00' AS _content_hash FROM {name}"
            );
            let rows: Vec<RecordBatch> = session
                .query(&sql)
                .await
                .unwrap()
                .map_ok(|batch| fit(&batch, &spec))
                .try_collect()
                .await
                .unwrap();
            let rows = futures::stream::iter(rows.into_iter().map(Ok)).boxed();
            self.warehouse
                .unified_table(spec)
                .merge(&step(1), rows)
                .await
                .unwrap();
        }
    }

    pub(crate) async fn versions(&self) -> BTreeMap<String, u64> {
        let mut tables = BTreeMap::new();
        for name in ["transactions", "articles", "payments", "sites", "products"] {
            let path = format!("unified/{name}");
            if let Some(table) = self.warehouse.open_at(&path, None).await.unwrap() {
                tables.insert(path, table.version);
            }
        }
        tables
    }

    /// Publishes these versions; what was rolled up.
    pub(crate) async fn publish_rolled(
        &self,
        mut tables: BTreeMap<String, u64>,
        run_id: &str,
        anew: &[String],
    ) -> BTreeMap<String, u64> {
        let rolled = roll_up(&self.warehouse, &tables, anew, run_id)
            .await
            .unwrap();
        tables.extend(rolled.clone());
        self.publish_tables(tables, run_id).await;
        rolled
    }

    pub(crate) async fn publish_tables(&self, tables: BTreeMap<String, u64>, run_id: &str) {
        // Ids sort by time, and so does the time of day they begin with.
        let finished = t(&format!("2026-11-{}T01:00:00Z", &run_id[6..8]));
        let run = RunRecord {
            run_id: run_id.into(),
            command: "sync".into(),
            pipelines: vec!["p".into()],
            started_at: finished,
            finished_at: finished,
            outcome: "done".into(),
            published: true,
            tables: tables
                .into_iter()
                .map(|(path, version)| (path, version.into()))
                .collect(),
            figures: BTreeMap::new(),
            counts: BTreeMap::new(),
            expected: BTreeMap::new(),
        };
        self.warehouse.ops().publish(&run).await.unwrap();
    }

    pub(crate) async fn roll(&self, run_id: &str) {
        let rolled = self
            .publish_rolled(self.versions().await, run_id, &[])
            .await;
        assert!(rolled.contains_key("statistics/levels"), "{rolled:?}");
    }
}

fn step(land: i64) -> UnifyStep {
    UnifyStep {
        pipeline: "p".into(),
        resource: "transactions".into(),
        after_load_id: land - 1,
        to_load_id: land,
        children: Vec::new(),
        run_id: RUN.into(),
    }
}

pub(crate) fn all(house: &FixtureTables) -> Vec<usize> {
    (0..house.sales.len() + house.orphans.len()).collect()
}

/// Origin of an answer: `levels`, `facts`, or `both`.
fn origin(answered_from: &str) -> &'static str {
    let names: Vec<&str> = answered_from.split(", ").collect();
    match (names.contains(&"facts"), names.len()) {
        (false, _) => "levels",
        (true, 1) => "facts",
        (true, _) => "both",
    }
}

/// Asks both ways and wants the same; what the answer came from.
pub(crate) async fn both(
    place: &FixtureWarehouse,
    session: &Session,
    request: &StatisticsRequest,
) -> &'static str {
    let mut answer = statistics(session, &place.warehouse, request)
        .await
        .unwrap();
    let facts = statistics_of_facts(session, &place.warehouse, request)
        .await
        .unwrap();
    assert_eq!(facts.meta.answered_from, "facts");
    let from = std::mem::replace(&mut answer.meta.answered_from, "facts".to_owned());
    let text = |answer| serde_json::to_string(answer).unwrap();
    assert_eq!(text(&answer), text(&facts), "from {from}: {request:?}");
    // Weekday by hour, from days where they tell it apart, and with amounts from the facts alone.
    let week = week_hours(session, request).await.unwrap().into_iter();
    let week: Vec<_> = week
        .map(|of| (of.currency, of.day, of.hour, of.count))
        .collect();
    let cells = heat_map(session, request).await.unwrap().into_iter();
    let cells: Vec<_> = cells
        .map(|cell| (cell.currency, cell.day, cell.hour, cell.count))
        .collect();
    assert_eq!(week, cells, "{request:?}");
    origin(&from)
}

/// Every kind of request over the days of the random houses, and where it is answered from. Articles and payments have days of all sites together;
/// what is less, and a site's days, are counted from the facts.
fn requests() -> Vec<(StatisticsRequest, &'static str)> {
    let days = StatisticsRequest::new(window("2026-10-24T00:00:00Z", "2026-10-26T00:00:00Z"));
    let month = StatisticsRequest::new(window("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z"));
    let with = |change: &dyn Fn(&mut StatisticsRequest)| {
        let mut request = days.clone();
        change(&mut request);
        request
    };
    let in_month = |change: &dyn Fn(&mut StatisticsRequest)| {
        let mut request = month.clone();
        change(&mut request);
        request
    };
    let an_hour_off = |r: &mut StatisticsRequest| {
        r.window = window("2026-09-30T23:00:00Z", "2026-10-31T23:00:00Z");
        r.timezone = "+01:00".into();
    };
    let mut asked = vec![
        (month.clone(), "levels"),
        (in_month(&|r| r.timezone = "Europe/Berlin".into()), "levels"),
        // Its hours alone are no level's.
        (in_month(&|r| r.timezone = "Asia/Kolkata".into()), "both"),
        (in_month(&|r| r.timezone = "+05:45".into()), "both"),
        (
            in_month(&|r| (r.timezone, r.hours) = ("Asia/Kolkata".into(), HourGrouping::OfDay)),
            "levels",
        ),
        (in_month(&|r| r.hours = HourGrouping::OfDay), "levels"),
        (in_month(&an_hour_off), "both"),
        (
            in_month(&|r| {
                an_hour_off(r);
                r.hours = HourGrouping::OfDay;
            }),
            "both",
        ),
        (
            in_month(&|r| {
                an_hour_off(r);
                r.filter = filter("site_id", "eq", json!("1"));
            }),
            "both",
        ),
        (in_month(&|r| r.tenant = some("a")), "levels"),
        (in_month(&|r| r.source = some("pace")), "levels"),
        (in_month(&|r| r.pipeline = some("p")), "levels"),
        (in_month(&|r| r.pipeline = some("another")), "levels"),
        (
            in_month(&|r| r.compare = GrowthBaseline::Calendar),
            "levels",
        ),
        (in_month(&|r| r.perspective = "purchase".into()), "levels"),
        (
            in_month(&|r| r.states = vec!["created".into(), "pending".into(), "error".into()]),
            "levels",
        ),
        (
            in_month(&|r| r.window = window("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z")),
            "levels",
        ),
        (
            in_month(&|r| r.window = window("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z")),
            "levels",
        ),
        // A year but for a part of its end, and all of two months but for three days of each.
        (
            in_month(&|r| r.window = window("2026-01-01T00:00:00Z", "2026-12-30T22:30:00Z")),
            "both",
        ),
        (
            in_month(&|r| r.window = window("2026-09-04T00:00:00Z", "2026-10-29T00:00:00Z")),
            "levels",
        ),
        // Sites are looked up for long windows.
        (
            in_month(&|r| {
                r.window = window("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z");
                r.filter = filter("site_id", "eq", json!("1"));
            }),
            "levels",
        ),
        (
            in_month(&|r| {
                r.window = window("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z");
                r.filter = filter("site_name", "isnull", json!(null));
            }),
            "levels",
        ),
    ];
    for (field, operator, value, of_days, of_month) in [
        ("site_name", "contains", json!("entr"), "both", "levels"),
        ("mandator_id", "neq", json!("a"), "levels", "levels"),
        ("site_id", "eq", json!("1"), "both", "levels"),
        ("state", "eq", json!("consumed"), "levels", "levels"),
        ("month", "eq", json!("2026-10"), "levels", "levels"),
        // By day alone.
        (
            "business_date",
            "gte",
            json!("2026-10-25"),
            "levels",
            "levels",
        ),
        ("local_hour", "gte", json!(12), "facts", "facts"),
        (
            "occurred_at",
            "gte",
            json!("2026-10-25T00:10:00Z"),
            "facts",
            "facts",
        ),
        ("amount", "gt", json!(20), "facts", "facts"),
        ("device_name", "isnull", json!(null), "facts", "facts"),
    ] {
        let filter = filter(field, operator, value);
        asked.push((with(&|r| r.filter = filter.clone()), of_days));
        asked.push((in_month(&|r| r.filter = filter.clone()), of_month));
    }
    asked.extend([
        (days.clone(), "levels"),
        (with(&|r| r.tenant = some("a")), "levels"),
        (with(&|r| r.source = some("pace")), "levels"),
        // Its hours alone are no level's.
        (with(&|r| r.timezone = "Asia/Kolkata".into()), "both"),
        (with(&|r| r.hours = HourGrouping::OfDay), "levels"),
        (
            with(&|r| {
                (r.compare, r.timezone) = (GrowthBaseline::LastYear, "America/New_York".into());
            }),
            "levels",
        ),
        (
            with(&|r| {
                r.compare =
                    GrowthBaseline::Window(window("2026-10-23T21:00:00Z", "2026-10-23T23:10:00Z"));
            }),
            "both",
        ),
    ]);
    // Less than a day at an end.
    let beside = [
        ("2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"),
        ("2026-10-24T18:30:00Z", "2026-10-25T18:30:00Z"),
        ("2026-10-24T00:00:00Z", "2026-10-26T00:00:00.000001Z"),
        ("2026-10-23T23:00:00Z", "2026-10-25T23:00:00Z"),
    ];
    let beside = beside.map(|(from, to)| (with(&|r| r.window = window(from, to)), "both"));
    asked.extend(beside);
    asked.push((
        with(&|r| r.window = window("2026-10-24T18:10:00Z", "2026-10-24T18:30:00Z")),
        "facts",
    ));
    asked
}

fn filter(field: &str, operator: &str, value: serde_json::Value) -> Option<CheckedFilter> {
    let descriptor = json!({"field": field, "operator": operator, "value": value}).to_string();
    Some(CheckedFilter::new(&Filter::parse(&descriptor).unwrap(), "UTC", None).unwrap())
}

pub(crate) async fn every_request(place: &FixtureWarehouse) {
    let session = place.session().await;
    for (request, from) in requests() {
        assert_eq!(both(place, &session, &request).await, from, "{request:?}");
    }
}

proptest! {
    // Half as many where nothing is optimized: a case takes ten seconds there.
    #![proptest_config(ProptestConfig { cases: if cfg!(debug_assertions) { 4 } else { 8 }, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random houses, of which a random part changes twice; between the changes the roll-ups sometimes miss a run.
    #[test]
    fn both_ways_say_the_same_after_every_change(
        first in house(),
        second in house(),
        (asked, _, _) in request(),
        which in prop::collection::vec(any::<bool>(), 64),
        missed in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let place = FixtureWarehouse::new().await;
            place.name(&first).await;
            place.replace(&first, &all(&first), None, 1).await;
            if !missed {
                place.roll(RUN).await;
                every_request(&place).await;
            }
            // A payment's sale comes, and goes again.
            let changed: Vec<usize> =
                (0..all(&first).len().min(all(&second).len())).filter(|i| which[*i]).collect();
            place.replace(&second, &changed, Some(&first), 2).await;
            place.roll(LATER).await;
            every_request(&place).await;
            both(&place, &place.session().await, &asked).await;

            // And back again, through a rebuild's eyes.
            place.replace(&first, &changed, Some(&second), 3).await;
            let rolled = place.publish_rolled(place.versions().await, "20261112T000000Z-cccccc", &["p".into()]).await;
            assert!(rolled.contains_key("statistics/levels"));
            every_request(&place).await;
        });
    }

    /// A house spread over fifteen months, of which a random part changes once, asked whatever there is to be asked.
    #[test]
    fn whatever_is_drawn_is_answered_alike_both_ways(
        first in house(),
        second in house(),
        which in prop::collection::vec(any::<bool>(), 64),
        asked in prop::collection::vec(drawn(), 24),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let (first, second) = (spread(first), spread(second));
            let place = FixtureWarehouse::new().await;
            place.name(&first).await;
            place.replace(&first, &all(&first), None, 1).await;
            place.roll(RUN).await;
            let changed: Vec<usize> =
                (0..all(&first).len().min(all(&second).len())).filter(|i| which[*i]).collect();
            place.replace(&second, &changed, Some(&first), 2).await;
            place.roll(LATER).await;
            let session = place.session().await;
            for request in &asked {
                both(&place, &session, request).await;
            }
        });
    }
}

/// A house whose hours lie 200 times as far apart.
fn spread(mut house: FixtureTables) -> FixtureTables {
    let first = t("2026-10-23T20:00:00Z");
    for sale in house.sales.iter_mut().chain(&mut house.orphans) {
        sale.at = sale.at.map(|at| first + at.duration_since(first) * 200);
    }
    house
}

/// A window of months, of days or of hours in UTC, or one that lies some minutes beside them.
fn drawn_window() -> impl Strategy<Value = Window> {
    let minutes = proptest::sample::select(&[0_i64, 0, 0, 0, -60, -120, 330, 7][..]);
    (0_u8..3, -1_i64..16, 1_i64..18, minutes).prop_map(|(grain, start, length, minutes)| {
        let month = jiff::civil::date(2026, 10, 1);
        let midnight = |date: jiff::civil::Date| date.to_zoned(TimeZone::UTC).unwrap().timestamp();
        let day = month + (start * 27).days();
        let (from, to) = match grain {
            0 => (
                midnight(month + start.months()),
                midnight(month + (start + length).months()),
            ),
            1 => (midnight(day), midnight(day + (length * 3).days())),
            _ => {
                let from = midnight(day) + SignedDuration::from_hours(length % 7);
                (from, from + SignedDuration::from_hours(length * 2))
            }
        };
        let beside = SignedDuration::from_mins(minutes);
        Window::new(from + beside, to + beside).unwrap()
    })
}

/// A request over the months of a house that is spread.
fn drawn() -> impl Strategy<Value = StatisticsRequest> {
    let filters = (0_u8..12).prop_map(|which| match which {
        0 => filter("site_name", "contains", json!("entr")),
        1 => filter("site_id", "neq", json!("2")),
        2 => filter("business_date", "gte", json!("2027-03-01")),
        3 => filter("local_hour", "lt", json!(9)),
        4 => filter("month", "eq", json!("2027-01")),
        5 => filter("kind", "eq", json!("refund")),
        6 => filter("occurred_at", "gte", json!("2027-02-01T00:30:00Z")),
        7 => filter("amount", "gt", json!(100)),
        _ => None,
    });
    let compare = prop_oneof![
        3 => Just(GrowthBaseline::Previous),
        2 => Just(GrowthBaseline::Calendar),
        2 => Just(GrowthBaseline::LastYear),
        2 => drawn_window().prop_map(GrowthBaseline::Window),
    ];
    let zones = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "+01:00",
        "Asia/Kolkata",
    ];
    (
        (drawn_window(), compare, filters),
        proptest::sample::select(zones.to_vec()),
        (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>()),
    )
        .prop_map(
            |((window, compare, filter), zone, (of_day, of_tenant, of_source, others))| {
                let mut request = StatisticsRequest::new(window);
                (request.compare, request.filter) = (compare, filter);
                request.timezone = zone.to_owned();
                if of_day {
                    request.hours = HourGrouping::OfDay;
                }
                request.tenant = of_tenant.then(|| "a".to_owned());
                request.source = of_source.then(|| "hecone".to_owned());
                if others {
                    request.states = vec!["completed".into(), "created".into(), "error".into()];
                }
                request
            },
        )
}

/// One sale in each of two hours of a site in Kathmandu, a quarter off everybody's hours.
pub(crate) fn kathmandu() -> FixtureTables {
    let sale = |at: &str, local_hour, amount| FixtureSale {
        local_hour: Some(local_hour),
        site: some("p:k"),
        ..FixtureSale::new(at, amount)
    };
    FixtureTables {
        sales: vec![
            sale("2026-10-24T10:10:00Z", 15, 10_000),
            sale("2026-10-24T10:20:00Z", 16, 20_000),
            sale("2026-10-24T11:10:00Z", 16, 40_000),
        ],
        articles: vec![FixtureArticle {
            currency: None,
            ..FixtureArticle::new(1, "Tea", "pc", 1_000_000)
        }],
        payments: vec![FixturePayment {
            currency: None,
            ..FixturePayment::new(2, ["Cash"; 5], 40_000)
        }],
        ..FixtureTables::default()
    }
}

pub(crate) async fn lines(session: &Session, sql: &str) -> Vec<String> {
    let batches = tillhouse_query::collect(session.query(sql).await.unwrap())
        .await
        .unwrap();
    let text = arrow::util::pretty::pretty_format_batches(&batches)
        .unwrap()
        .to_string();
    text.lines()
        .skip(3)
        .filter(|line| line.starts_with('|'))
        .map(|line| line.replace(' ', ""))
        .collect()
}

#[tokio::test]
async fn hours_are_columns_and_what_has_no_currency_has_its_transactions() {
    let place = FixtureWarehouse::new().await;
    let house = kathmandu();
    place.replace(&house, &all(&house), None, 1).await;
    place.roll(RUN).await;
    let session = place.session().await;
    register_sql(&session, None);
    let sql = "SELECT CAST(day AS BIGINT) / 86400000000 % 7 AS d, business_date, transactions, amount, utc_10, utc_11, local_15, local_16
               FROM statistics.daily_transactions";
    assert_eq!(
        lines(&session, sql).await,
        ["|2|2026-10-24|3|7.0000|2|1|1|2|"]
    );
    let sql =
        "SELECT level, period, site_key, business_date, transactions, amount FROM statistics.levels
               WHERE transactions IS NOT NULL ORDER BY level";
    assert_eq!(
        lines(&session, sql).await,
        [
            "|daily_transaction_totals|2026|||3|7.0000|",
            "|daily_transactions|2026-10|p:k|2026-10-24|3|7.0000|",
            "|monthly_transactions|2026|p:k||3|7.0000|",
            "|yearly_transactions|2026|p:k||3|7.0000|",
        ]
    );
    let sql = "SELECT site_key, transactions, local_16 FROM statistics.yearly_transactions";
    assert_eq!(lines(&session, sql).await, ["|p:k|3|2|"]);
    let sql = "SELECT name, articles, quantity FROM statistics.yearly_article_totals";
    assert_eq!(lines(&session, sql).await, ["|Tea|1|1.000000|"]);
    let sql = "SELECT currency, articles, quantity FROM statistics.monthly_articles";
    assert_eq!(lines(&session, sql).await, ["|EUR|1|1.000000|"]);
    let sql = "SELECT currency, payments, amount, method FROM statistics.monthly_payment_totals";
    assert_eq!(lines(&session, sql).await, ["|EUR|1|4.0000|cash|"]);
    let sql =
        "SELECT business_date, currency, payments, amount FROM statistics.daily_payment_totals";
    assert_eq!(lines(&session, sql).await, ["|2026-10-24|EUR|1|4.0000|"]);
    let sql = "SELECT business_date, currency, name, articles FROM statistics.daily_article_totals";
    assert_eq!(lines(&session, sql).await, ["|2026-10-24|EUR|Tea|1|"]);
    let described = session
        .columns("statistics", "monthly_articles")
        .await
        .unwrap();
    let names: Vec<&str> = described
        .fields()
        .iter()
        .map(|f| f.name().as_str())
        .collect();
    assert_eq!(names.first(), Some(&"month_start"));
    assert!(
        !names.contains(&"level") && names.contains(&"site_key"),
        "{names:?}"
    );
    let count = described.field_with_name("articles").unwrap();
    assert!(!count.is_nullable(), "of its own rows a level has a count");
    every_request(&place).await;
}

#[tokio::test]
async fn payments_without_an_amount_are_counted_by_levels_and_taken_off_by_facts() {
    let place = FixtureWarehouse::new().await;
    let mut house = kathmandu();
    // Sold in the hour that Berlin has in November.
    house
        .sales
        .push(FixtureSale::new("2026-10-31T23:30:00Z", 70_000));
    let unknown = |sale, state| FixturePayment {
        amount: None,
        state: some(state),
        ..FixturePayment::new(sale, ["Cash"; 5], 0)
    };
    house.payments.extend([
        unknown(0, "collected"),
        unknown(1, "reserved"),
        unknown(3, "collected"),
    ]);
    place.replace(&house, &all(&house), None, 1).await;
    place.roll(RUN).await;
    let session = place.session().await;
    let month = window("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z");
    let of_berlin = window("2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z");
    for (asked, without, from) in [(month, 2, "levels"), (of_berlin, 1, "both")] {
        let asked = StatisticsRequest::new(asked);
        assert_eq!(both(&place, &session, &asked).await, from);
        let answer = statistics(&session, &place.warehouse, &asked)
            .await
            .unwrap();
        assert_eq!(answer.meta.payments_without_amount, without);
    }
    let sql = "SELECT state, payments, without_amount, amount FROM statistics.levels
               WHERE level = 'yearly_payment_totals' ORDER BY state";
    assert_eq!(
        lines(&session, sql).await,
        ["|collected|3|2|4.0000|", "|reserved|1|1||"]
    );
    every_request(&place).await;
}

#[tokio::test]
async fn a_run_that_died_before_the_roll_ups_is_made_up_for() {
    let place = FixtureWarehouse::new().await;
    let mut house = kathmandu();
    place.replace(&house, &all(&house), None, 1).await;
    place.roll(RUN).await;
    let old = house.clone();
    // One run changed a sale and died; the next died after its roll-ups, which no run has named, and one more before them.
    house.sales[0].amount = Some(990_000);
    place.replace(&house, &[0], Some(&old), 2).await;
    let versions = place.versions().await;
    let rolled = roll_up(&place.warehouse, &versions, &[], "died")
        .await
        .unwrap();
    assert!(rolled.contains_key("statistics/levels"));
    let old = house.clone();
    house.sales[2].currency = some("CHF");
    place.replace(&house, &[2], Some(&old), 3).await;
    place.roll(LATER).await;
    every_request(&place).await;
    let session = place.session().await;
    let sql =
        "SELECT currency, amount FROM statistics.levels WHERE level = 'yearly_payment_totals'";
    assert_eq!(
        lines(&session, sql).await,
        ["|CHF|4.0000|"],
        "its currency is its transaction's, which changed"
    );
}

#[tokio::test]
async fn a_run_writes_a_file_of_the_month_and_one_of_the_year() {
    let place = FixtureWarehouse::new().await;
    let mut house = kathmandu();
    place.replace(&house, &all(&house), None, 1).await;
    place.roll(RUN).await;
    let old = house.clone();
    house.sales[0].amount = Some(990_000);
    place.replace(&house, &[0], Some(&old), 2).await;
    let rolled = place
        .publish_rolled(place.versions().await, LATER, &[])
        .await;
    let tables: Vec<&str> = rolled.keys().map(String::as_str).collect();
    assert_eq!(tables, ["statistics/levels"]);
    let version = rolled["statistics/levels"];
    let log = format!("statistics/levels/_delta_log/{version:020}.json");
    let commit = std::fs::read_to_string(place.folder.path().join(log)).unwrap();
    let added = commit.lines().filter(|line| line.contains("\"add\":{"));
    let mut periods: Vec<&str> = added
        .map(|line| match line.contains("\"period\":\"2026-10\"") {
            true => "2026-10",
            false if line.contains("\"period\":\"2026\"") => "2026",
            false => "another",
        })
        .collect();
    periods.sort_unstable();
    assert_eq!(periods, ["2026", "2026-10"]);
    every_request(&place).await;
}

#[tokio::test]
async fn a_run_that_is_published_late_takes_nothing_back() {
    let place = FixtureWarehouse::new().await;
    let house = kathmandu();
    place.replace(&house, &[0], None, 1).await;
    let earlier = place.versions().await;
    place.replace(&house, &[1, 2], None, 2).await;
    place.roll(LATER).await;
    let rolled = place
        .publish_rolled(earlier, "20261113T000000Z-dddddd", &[])
        .await;
    assert!(rolled.is_empty(), "they are further on than its versions");
    // Figures that another run published meanwhile count, with the roll-ups that belong to it.
    let session = place.session().await;
    let asked = StatisticsRequest::new(window("2026-10-24T00:00:00Z", "2026-10-25T00:00:00Z"));
    assert_eq!(both(&place, &session, &asked).await, "levels");
    let answer = statistics(&session, &place.warehouse, &asked)
        .await
        .unwrap();
    assert_eq!(answer.data[0].transactions_count.value, 3);
}

#[tokio::test]
async fn where_earlier_files_are_gone_every_hour_is_counted_anew() {
    let place = FixtureWarehouse::new().await;
    let mut house = kathmandu();
    place.replace(&house, &all(&house), None, 1).await;
    place.roll(RUN).await;
    let folder = place
        .folder
        .path()
        .join("unified/transactions/pipeline=p/month=2026-10");
    let old: HashSet<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let before = house.clone();
    house.sales[0].amount = Some(990_000);
    place.replace(&house, &[0], Some(&before), 2).await;
    for file in &old {
        std::fs::remove_file(file).unwrap();
    }
    place.roll(LATER).await;
    every_request(&place).await;
}

#[tokio::test]
async fn damaged_roll_ups_are_counted_anew_and_hold_nothing_else() {
    const TABLE: &str = "statistics/levels";
    for what in [
        "its newest commits are swapped",
        "its newest commit is cut",
        "a data file is missing",
        "its log is another table's",
    ] {
        let mut place = FixtureWarehouse::new().await;
        let mut house = kathmandu();
        place.replace(&house, &all(&house), None, 1).await;
        place.roll(RUN).await;
        let old = house.clone();
        house.sales[0].amount = Some(990_000);
        place.replace(&house, &[0], Some(&old), 2).await;
        place.roll(LATER).await;
        let root = place.folder.path().join(TABLE);
        let log = root.join("_delta_log");
        let commit = |version: u64| log.join(format!("{version:020}.json"));
        // As an earlier version of the program wrote it, which says neither its version nor its checksum.
        let older = |path: &std::path::Path| {
            let text = std::fs::read_to_string(path).unwrap();
            text.replace("\"tillhouseVersion\":", "\"tillhouseOther\":")
                .replace("\"tillhouseChecksum\":", "\"tillhouseSum\":")
        };
        let named = (0..)
            .take_while(|version| commit(*version).exists())
            .count() as u64
            - 1;
        assert!(named >= 2, "{named}");
        match what {
            "its newest commits are swapped" => {
                let (last, before) = (older(&commit(named)), older(&commit(named - 1)));
                std::fs::write(commit(named), before).unwrap();
                std::fs::write(commit(named - 1), last).unwrap();
            }
            "its newest commit is cut" => std::fs::write(commit(named), "").unwrap(),
            "a data file is missing" => {
                let periods = ["2026-10", "2026"];
                let mut folders: Vec<_> = periods
                    .iter()
                    .map(|period| root.join(format!("period={period}")))
                    .collect();
                while let Some(folder) = folders.pop() {
                    for entry in std::fs::read_dir(folder).unwrap() {
                        let path = entry.unwrap().path();
                        match path.is_dir() {
                            true => folders.push(path),
                            false => std::fs::remove_file(path).unwrap(),
                        }
                    }
                }
            }
            _ => {
                std::fs::remove_dir_all(&log).unwrap();
                let other = place.folder.path().join("unified/articles/_delta_log");
                std::fs::create_dir(&log).unwrap();
                for entry in std::fs::read_dir(other).unwrap() {
                    let entry = entry.unwrap();
                    std::fs::copy(entry.path(), log.join(entry.file_name())).unwrap();
                }
            }
        }
        let url = place.folder.path().to_str().unwrap().to_owned();
        place.warehouse = Warehouse::open(&WarehouseLocation::new(url)).await.unwrap();
        if what == "its newest commits are swapped" {
            // The run that is published next has found it.
            let lost = LostTable {
                path: TABLE.to_owned(),
                named,
                found: Some(named),
            };
            place.warehouse.go_on_with(&lost, "run").await.unwrap();
        }
        if what == "a data file is missing" {
            // Data files are looked at where there is something to count.
            let old = house.clone();
            house.sales[1].amount = Some(5);
            place.replace(&house, &[1], Some(&old), 3).await;
        }
        let rolled = place
            .publish_rolled(place.versions().await, "20261115T000000Z-ffffff", &[])
            .await;
        assert!(rolled[TABLE] > named, "{what}: {rolled:?}");
        every_request(&place).await;
        let session = place.session().await;
        let counted =
            "SELECT level, sum(transactions) FROM statistics.levels WHERE transactions IS NOT NULL
                       GROUP BY level ORDER BY level";
        assert_eq!(
            lines(&session, counted).await,
            [
                "|daily_transaction_totals|3|",
                "|daily_transactions|3|",
                "|monthly_transactions|3|",
                "|yearly_transactions|3|"
            ],
            "{what}: every sale once"
        );
    }
}

#[tokio::test]
async fn nothing_changed_writes_nothing() {
    let place = FixtureWarehouse::new().await;
    let house = kathmandu();
    place.replace(&house, &all(&house), None, 1).await;
    let versions = place.versions().await;
    let first = place.publish_rolled(versions.clone(), RUN, &[]).await;
    assert_eq!(
        place.publish_rolled(versions.clone(), LATER, &[]).await,
        first
    );
    let anew = place
        .publish_rolled(versions, "20261114T000000Z-eeeeee", &["p".into()])
        .await;
    assert!(
        anew.iter()
            .all(|(path, version)| *version == first[path] + 1),
        "{anew:?}"
    );
    every_request(&place).await;
}
