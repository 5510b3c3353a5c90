//! The roll-ups: whatever is asked, they say what the facts say, after every change of the facts.
//!
//! Invariant: answers are compared as JSON text, so to the last digit; only `answered_from` may differ.

use crate::fixture::{FixtureArticle, FixturePayment, FixtureSale, FixtureTables, some, t, window};
use crate::oracle::{house, request};
use crate::published::{
    ARTICLES, FixtureWarehouse, LATER, PAYMENTS, RUN, SITES, TRANSACTIONS, fit,
};
use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use futures::{StreamExt, TryStreamExt};
use proptest::prelude::*;
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tillhouse_lake::{
    ChangedRanges, LostTable, RangeSet, RunRecord, SupersededRecords, UnifyStep, Warehouse,
    WarehouseLocation,
};
use tillhouse_model::table::timestamp;
use tillhouse_model::{Filter, contract};
use tillhouse_query::Session;
use tillhouse_statistics::roll_up;
use tillhouse_statistics::{
    CheckedFilter, GrowthBaseline, HourGrouping, StatisticsRequest, statistics, statistics_of_facts,
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

    async fn publish_tables(&self, tables: BTreeMap<String, u64>, run_id: &str) {
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
        assert_eq!(rolled.len(), 3, "{rolled:?}");
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

fn all(house: &FixtureTables) -> Vec<usize> {
    (0..house.sales.len() + house.orphans.len()).collect()
}

/// Asks both ways and wants the same; where the answer came from.
async fn both(place: &FixtureWarehouse, session: &Session, request: &StatisticsRequest) -> String {
    let answer = statistics(session, &place.warehouse, request)
        .await
        .unwrap();
    let facts = statistics_of_facts(session, &place.warehouse, request)
        .await
        .unwrap();
    assert_eq!(facts.meta.answered_from, "facts");
    let text = |answer: &tillhouse_statistics::report::StatisticsReport| {
        serde_json::to_string(answer)
            .unwrap()
            .replace(r#""answered_from":"rollups""#, r#""answered_from":"facts""#)
    };
    assert_eq!(text(&answer), text(&facts), "{request:?}");
    answer.meta.answered_from
}

/// Every kind of request over the days of the random houses.
fn requests() -> Vec<(StatisticsRequest, &'static str)> {
    let days = StatisticsRequest::new(window("2026-10-24T00:00:00Z", "2026-10-26T00:00:00Z"));
    let with = |change: &dyn Fn(&mut StatisticsRequest)| {
        let mut request = days.clone();
        change(&mut request);
        request
    };
    vec![
        (days.clone(), "rollups"),
        (with(&|r| r.timezone = "Europe/Berlin".into()), "rollups"),
        (with(&|r| r.timezone = "Asia/Kolkata".into()), "facts"),
        (with(&|r| r.timezone = "+05:45".into()), "facts"),
        (
            with(&|r| (r.timezone, r.hours) = ("Asia/Kolkata".into(), HourGrouping::OfDay)),
            "rollups",
        ),
        (with(&|r| r.hours = HourGrouping::OfDay), "rollups"),
        (with(&|r| r.tenant = some("a")), "rollups"),
        (with(&|r| r.source = some("pace")), "rollups"),
        (with(&|r| r.pipeline = some("p")), "rollups"),
        (with(&|r| r.pipeline = some("another")), "rollups"),
        (
            with(&|r| r.filter = filter("site_name", "contains", json!("entr"))),
            "rollups",
        ),
        (
            with(&|r| r.filter = filter("mandator_id", "neq", json!("a"))),
            "rollups",
        ),
        (
            with(&|r| r.filter = filter("local_hour", "gte", json!(12))),
            "rollups",
        ),
        (
            with(&|r| r.filter = filter("state", "eq", json!("consumed"))),
            "rollups",
        ),
        (
            with(&|r| r.filter = filter("occurred_at", "gte", json!("2026-10-25T00:10:00Z"))),
            "facts",
        ),
        (
            with(&|r| r.filter = filter("amount", "gt", json!(20))),
            "facts",
        ),
        (
            with(&|r| r.filter = filter("device_name", "isnull", json!(null))),
            "facts",
        ),
        (with(&|r| r.compare = GrowthBaseline::Calendar), "rollups"),
        (
            with(&|r| {
                (r.compare, r.timezone) = (GrowthBaseline::LastYear, "America/New_York".into())
            }),
            "rollups",
        ),
        (
            with(&|r| {
                r.compare =
                    GrowthBaseline::Window(window("2026-10-23T21:00:00Z", "2026-10-23T23:00:00Z"))
            }),
            "rollups",
        ),
        (
            with(&|r| {
                r.compare =
                    GrowthBaseline::Window(window("2026-10-23T21:00:00Z", "2026-10-23T23:10:00Z"))
            }),
            "facts",
        ),
        (with(&|r| r.perspective = "purchase".into()), "rollups"),
        (
            with(&|r| r.states = vec!["created".into(), "pending".into(), "error".into()]),
            "rollups",
        ),
        (
            with(&|r| r.window = window("2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z")),
            "rollups",
        ),
        (
            with(&|r| r.window = window("2026-10-24T18:30:00Z", "2026-10-25T18:30:00Z")),
            "facts",
        ),
        (
            with(&|r| r.window = window("2026-10-24T00:00:00Z", "2026-10-26T00:00:00.000001Z")),
            "facts",
        ),
        (
            with(&|r| r.window = window("2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z")),
            "rollups",
        ),
        (
            with(&|r| r.window = window("2020-01-01T00:00:00Z", "2021-01-01T00:00:00Z")),
            "rollups",
        ),
    ]
}

fn filter(field: &str, operator: &str, value: serde_json::Value) -> Option<CheckedFilter> {
    let descriptor = json!({"field": field, "operator": operator, "value": value}).to_string();
    Some(CheckedFilter::new(&Filter::parse(&descriptor).unwrap(), "UTC", None).unwrap())
}

async fn every_request(place: &FixtureWarehouse) {
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
            assert_eq!(rolled.len(), 3);
            every_request(&place).await;
        });
    }
}

/// One sale in each of two hours of a site in Kathmandu, a quarter off everybody's hours.
fn kathmandu() -> FixtureTables {
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

async fn lines(session: &Session, sql: &str) -> Vec<String> {
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
async fn an_hour_of_a_site_off_the_hour_is_two_rows_and_what_has_no_currency_has_its_transactions()
{
    let place = FixtureWarehouse::new().await;
    let house = kathmandu();
    place.replace(&house, &all(&house), None, 1).await;
    place.roll(RUN).await;
    let session = place.session().await;
    let sql = "SELECT CAST(hour AS BIGINT) / 3600000000 % 24 AS h, local_hour, transactions, amount
               FROM statistics.hourly_transactions ORDER BY hour, local_hour";
    assert_eq!(
        lines(&session, sql).await,
        ["|10|15|1|1.0000|", "|10|16|1|2.0000|", "|11|16|1|4.0000|"]
    );
    let sql = "SELECT currency, articles, quantity FROM statistics.hourly_articles";
    assert_eq!(lines(&session, sql).await, ["|EUR|1|1.000000|"]);
    let sql = "SELECT currency, payments, amount, method FROM statistics.hourly_payments";
    assert_eq!(lines(&session, sql).await, ["|EUR|1|4.0000|cash|"]);
    every_request(&place).await;
}

#[tokio::test]
async fn a_run_that_died_before_the_roll_ups_is_made_up_for() {
    let place = FixtureWarehouse::new().await;
    let mut house = kathmandu();
    place.replace(&house, &all(&house), None, 1).await;
    place.roll(RUN).await;
    let old = house.clone();
    // One run changed a sale and died; of the next only two of the three tables were written.
    house.sales[0].amount = Some(990_000);
    place.replace(&house, &[0], Some(&old), 2).await;
    house.sales[2].currency = some("CHF");
    place.replace(&house, &[2], Some(&old), 3).await;
    let mut without_payments = place.versions().await;
    without_payments.remove("unified/payments");
    let rolled = roll_up(&place.warehouse, &without_payments, &[], "died")
        .await
        .unwrap();
    assert_eq!(rolled.len(), 2);
    place.roll(LATER).await;
    every_request(&place).await;
    let session = place.session().await;
    let sql = "SELECT currency, amount FROM statistics.hourly_payments";
    assert_eq!(
        lines(&session, sql).await,
        ["|CHF|4.0000|"],
        "its currency is its transaction's, which changed"
    );
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
    assert_eq!(both(&place, &session, &asked).await, "rollups");
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
    const TABLE: &str = "statistics/hourly_transactions";
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
                let mut folders = vec![root.join("pipeline=p")];
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
                let other = place
                    .folder
                    .path()
                    .join("statistics/hourly_articles/_delta_log");
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
        let rolled = place
            .publish_rolled(place.versions().await, "20261115T000000Z-ffffff", &[])
            .await;
        assert!(rolled[TABLE] > named, "{what}: {rolled:?}");
        every_request(&place).await;
        let session = place.session().await;
        let count = |table: &str| {
            format!("SELECT sum({table}), count(*) FROM statistics.hourly_transactions")
        };
        let counted = lines(&session, &count("transactions")).await;
        let facts = "SELECT count(*), count(DISTINCT transaction_key) FROM transactions";
        assert_eq!(
            counted,
            lines(&session, facts).await,
            "{what}: an hour each"
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

/// The schema of the first edition's roll-up of transactions.
fn first_edition() -> Schema {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    Schema::new(vec![
        Field::new("hour", timestamp(), true),
        Field::new("business_date", DataType::Date32, true),
        Field::new("local_hour", DataType::Int64, true),
        Field::new("pipeline", DataType::Utf8, false),
        text("source"),
        text("tenant_id"),
        text("perspective"),
        text("kind"),
        text("site_key"),
        text("state"),
        text("currency"),
        Field::new("transactions", DataType::Int64, false),
        Field::new("amount", DataType::Decimal128(28, 4), true),
        Field::new("month", DataType::Utf8, false),
    ])
}

#[tokio::test]
async fn roll_ups_of_an_earlier_edition_are_not_asked_and_then_counted_anew() {
    let place = FixtureWarehouse::new().await;
    let mut house = kathmandu();
    house.sales[2].amount = None;
    place.replace(&house, &all(&house), None, 1).await;
    let versions = place.versions().await;
    // A roll-up of an earlier program, without the column that was added since; and wrong, so that it shows if it is asked.
    let schema = Arc::new(first_edition());
    let sql = "SELECT to_timestamp_micros(1792836000000000) AS hour, 'p' AS pipeline, 'hecone' AS source, 'sale' AS perspective,
                      'sale' AS kind, 'completed' AS state, 'EUR' AS currency, 99 AS transactions, 99 AS amount, '2026-10' AS month";
    let session = place.engine.empty_session().unwrap();
    let rows = session.query(sql).await.unwrap().map_ok(|batch| {
        let columns =
            schema
                .fields()
                .iter()
                .map(|field| match batch.column_by_name(field.name()) {
                    Some(column) => cast(column, field.data_type()).unwrap(),
                    None => new_null_array(field.data_type(), 1),
                });
        RecordBatch::try_new(schema.clone(), columns.collect()).unwrap()
    });
    let rows: Vec<RecordBatch> = rows.try_collect().await.unwrap();
    let old = place.warehouse.range_table(
        "hourly_transactions",
        schema.clone(),
        "hour",
        &["transactions"],
        1,
    );
    let counted = BTreeMap::from([("transactions".to_owned(), versions["unified/transactions"])]);
    let mut touched = ChangedRanges::default();
    touched.add("p", RangeSet::All);
    let rows = futures::stream::iter(rows.into_iter().map(Ok)).boxed();
    let done = old
        .replace(&BTreeMap::new(), &counted, &touched, rows, RUN)
        .await
        .unwrap()
        .unwrap();
    let mut tables = versions.clone();
    let others: BTreeMap<String, u64> = versions
        .iter()
        .filter(|(path, _)| *path != "unified/transactions")
        .map(|(p, v)| (p.clone(), *v))
        .collect();
    tables.extend(roll_up(&place.warehouse, &others, &[], RUN).await.unwrap());
    tables.insert("statistics/hourly_transactions".to_owned(), done.version);
    place.publish_tables(tables, RUN).await;

    let asked = StatisticsRequest::new(window("2026-10-24T00:00:00Z", "2026-10-25T00:00:00Z"));
    assert_eq!(both(&place, &place.session().await, &asked).await, "facts");
    place.roll(LATER).await;
    let session = place.session().await;
    assert_eq!(both(&place, &session, &asked).await, "rollups");
    let answer = statistics(&session, &place.warehouse, &asked)
        .await
        .unwrap();
    assert_eq!(
        (
            answer.data[0].transactions_count.value,
            answer.meta.transactions_without_amount
        ),
        (3, 1)
    );
    every_request(&place).await;
}
