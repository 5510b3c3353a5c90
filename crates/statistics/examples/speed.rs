//! Speed of statistics over a warehouse on disk: windows of different lengths, from the roll-ups
//! and from the facts.
//!
//! Invariant: the warehouse is made once, in the folder that is named, and found there by the next run; every question is asked in a
//! fresh session, so that opening the tables counts.
//!
//! ```text
//! cargo run --release --workspace --example speed -- FOLDER [TRANSACTIONS] [YEARS]
//! ```

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::cast;
use futures::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tillhouse_lake::{AsOf, RunRecord, SupersededRecords, UnifyStep, Warehouse, WarehouseLocation};
use tillhouse_model::{Filter, TableSpec, Window, contract};
use tillhouse_query::{QueryEngine, QueryEngineOptions};
use tillhouse_statistics::roll_up;
use tillhouse_statistics::{CheckedFilter, StatisticsRequest, statistics, statistics_of_facts};

const RUN: &str = "20260101T000000Z-aaaaaa";
/// Repetitions of each question; the median counts.
const TIMES: usize = 7;

/// The sources, a pipeline each.
const SOURCES: [&str; 4] = ["bemo", "hecone", "pace", "smartnow"];
/// Microseconds of a year of 365 days.
const YEAR: u64 = 365 * 86_400_000_000;
/// 2016-01-01, from which sales are made.
const FIRST: u64 = 1_451_606_400_000_000;

/// Sales from 2016 on, every fourth of which is of one pipeline: one article and one payment each, at 500 sites of six tenants and currencies, of 60 articles and 40
/// combinations of payment labels, which multiplications scatter. Every fact has the columns of all three, of which its contract takes its own.
fn facts(pipeline: usize, count: u64, years: u64) -> String {
    let step = years * YEAR / count;
    let source = SOURCES[pipeline];
    let scattered = |by: u64, of: u64| format!("(value * {by} % 4294967296 / 65536 % {of})");
    let (site, article, paid) = (
        scattered(2_654_435_761, 125),
        scattered(2_246_822_519, 60),
        scattered(3_266_489_917, 40),
    );
    let fate = scattered(668_265_263, 1_000);
    format!(
        "SELECT *, month_of(occurred_at) AS month, occurred_at AS _record_time, occurred_at AS created_at,
                local_hour(occurred_at, timezone) AS local_hour, local_date(occurred_at, timezone) AS business_date,
                '{source}:' || id AS transaction_key, '{source}:' || id AS _record_key,
                '{source}:' || id || '/1' AS article_key, '{source}:' || id || '/1' AS payment_key,
                '{source}:s' || site AS site_key, '{source}:s' || site || '/' || (site % 5) AS device_key,
                'tenant-' || (site % 6) AS tenant_id, 'Product ' || article AS name,
                '{source}:' || article AS product_key,
                CASE WHEN article % 4 = 0 THEN 'kWh' ELSE 'l' END AS unit_measure,
                CASE site % 6 WHEN 0 THEN 'CHF' WHEN 1 THEN 'GBP' WHEN 2 THEN 'PLN' WHEN 3 THEN 'SEK' WHEN 4 THEN 'CZK' ELSE 'EUR' END AS currency,
                CASE WHEN fate < 10 THEN 'free' WHEN fate < 20 THEN 'refund' ELSE 'sale' END AS kind,
                CASE WHEN fate > 980 THEN 'declined' WHEN fate > 950 THEN 'consumed' ELSE 'completed' END AS transaction_state,
                'Type ' || (paid % 5) AS type, 'Medium ' || (paid % 8) AS medium, 'Scheme ' || (paid % 10) AS scheme,
                'Mode ' || (paid % 4) AS entry_mode, 'Function ' || (paid % 2) AS function, 'card' AS method
         FROM (SELECT md5(CAST(value AS VARCHAR)) AS id, md5(CAST(value AS VARCHAR)) AS transaction_id,
                      to_timestamp_micros({FIRST} + {step} * value) AS occurred_at,
                      '{source}' AS pipeline, '{source}' AS source, 'sale' AS perspective, 'Europe/Berlin' AS timezone,
                      {site} AS site, {article} AS article, {paid} AS paid, {fate} AS fate,
                      CAST(value * 7919 % 12000 AS DECIMAL(18,4)) / 100 AS amount,
                      CAST(value * 7919 % 9000 AS DECIMAL(18,4)) / 100 AS quantity,
                      'plate ' || (value % 9973) AS vehicle_number,
                      'r' AS _run_id, to_timestamp_micros(0) AS _extracted_at, sha256(CAST(value AS VARCHAR)) AS _content_hash, 1 AS _load_id
               FROM range(0, {count}) WHERE value % 4 = {pipeline}) AS made"
    )
}

fn spec(table: &str) -> Arc<TableSpec> {
    let path = format!(
        "{}/../../schemas/unified/{table}.yaml",
        env!("CARGO_MANIFEST_DIR")
    );
    Arc::new(contract::parse(&std::fs::read_to_string(&path).unwrap(), &path).unwrap())
}

fn fit(batch: &RecordBatch, spec: &TableSpec) -> RecordBatch {
    let schema = spec.unified_schema();
    let column = |field: &arrow::datatypes::Field| match batch.column_by_name(field.name()) {
        Some(column) => cast(column, field.data_type()).unwrap(),
        None => new_null_array(field.data_type(), batch.num_rows()),
    };
    let columns = schema.fields().iter().map(|field| column(field)).collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

async fn make(warehouse: &Warehouse, engine: &QueryEngine, count: u64, years: u64) {
    let mut tables = BTreeMap::new();
    for (at, source) in SOURCES.into_iter().enumerate() {
        let of_state = |state: &str| {
            let sales = facts(at, count, years);
            format!("SELECT *, {state} AS state FROM ({sales}) AS sales")
        };
        let sites = format!(
            "SELECT '{source}:s' || value AS site_key, 'Site ' || value AS name, '{source}' AS pipeline, '{source}' AS source,
                    to_timestamp_micros(0) AS _as_of, to_timestamp_micros(0) AS _extracted_at, X'00' AS _content_hash,
                    'r' AS _run_id FROM range(0, 125)"
        );
        for (table, sql) in [
            ("transactions", of_state("transaction_state")),
            ("articles", of_state("'done'")),
            ("payments", of_state("'collected'")),
            ("sites", sites),
        ] {
            let spec = spec(table);
            let fitting = Arc::clone(&spec);
            let rows = engine
                .empty_session()
                .unwrap()
                .query(&sql)
                .await
                .unwrap()
                .map_ok(move |batch| fit(&batch, &fitting));
            let rows = rows.map_err(tillhouse_query::into_error).boxed();
            let unified = warehouse.unified_table(spec);
            let step = UnifyStep {
                pipeline: source.into(),
                resource: "transactions".into(),
                after_load_id: 0,
                to_load_id: 1,
                children: Vec::new(),
                run_id: RUN.into(),
            };
            if table == "sites" {
                unified.merge(&step, rows).await.unwrap();
            } else {
                unified
                    .replace(&step, &SupersededRecords::default(), rows)
                    .await
                    .unwrap();
            }
            let path = format!("unified/{table}");
            let version = warehouse
                .open_at(&path, None)
                .await
                .unwrap()
                .unwrap()
                .version;
            tables.insert(path, version);
        }
    }
    let start = Instant::now();
    tables.extend(roll_up(warehouse, &tables, &[], RUN).await.unwrap());
    println!("rolled up in {:.1} s", start.elapsed().as_secs_f64());
    let mut figures = BTreeMap::new();
    for path in tables.keys() {
        let table = warehouse.open_at(path, None).await.unwrap().unwrap();
        figures.insert(path.clone(), table.figures);
    }
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    let run = RunRecord {
        run_id: RUN.into(),
        command: "sync".into(),
        pipelines: SOURCES.map(str::to_owned).to_vec(),
        started_at: at,
        finished_at: at,
        outcome: "done".into(),
        published: true,
        tables: tables
            .into_iter()
            .map(|(path, version)| (path, version.into()))
            .collect(),
        figures,
        counts: BTreeMap::new(),
        expected: BTreeMap::new(),
    };
    warehouse.ops().publish(&run).await.unwrap();
}

/// Rows and bytes of every table for each sale, and the part that the roll-ups are of the facts.
fn print_sizes(run: &RunRecord, count: u64) {
    let facts = ["transactions", "articles", "payments"].map(|fact| format!("unified/{fact}"));
    let of_facts: u64 = facts.iter().map(|path| run.figures[path].bytes).sum();
    let mut of_levels = 0;
    for (path, figures) in &run.figures {
        let rows = figures.rows.unwrap_or(0) as f64 / count as f64;
        let bytes = figures.bytes as f64 / count as f64;
        let part = 100.0 * figures.bytes as f64 / of_facts as f64;
        println!(
            "{path:<42} {rows:>6.3} rows {bytes:>8.3} bytes a sale, {part:>6.2} % of the facts"
        );
        if path.starts_with("statistics/") {
            of_levels += figures.bytes;
        }
    }
    let part = 100.0 * of_levels as f64 / of_facts as f64;
    println!("roll-ups are {part:.2} % of the facts");
}

/// The processor time this process has taken, in hundredths of a second.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum()
}

async fn time(
    warehouse: &Warehouse,
    engine: &QueryEngine,
    name: &str,
    request: &StatisticsRequest,
) {
    for from_facts in [false, true] {
        time_from(warehouse, engine, name, request, from_facts).await;
    }
}

async fn time_from(
    warehouse: &Warehouse,
    engine: &QueryEngine,
    name: &str,
    request: &StatisticsRequest,
    from_facts: bool,
) {
    let mut from = String::new();
    let mut took: Vec<Duration> = Vec::new();
    let before = ticks();
    let mut counted = 0;
    for _ in 0..TIMES {
        let start = Instant::now();
        let session = engine.open(warehouse, &AsOf::Latest).await.unwrap();
        let report = match from_facts {
            true => statistics_of_facts(&session, warehouse, request)
                .await
                .unwrap(),
            false => statistics(&session, warehouse, request).await.unwrap(),
        };
        from = report.meta.answered_from;
        took.push(start.elapsed());
        counted = report
            .data
            .iter()
            .map(|entry| entry.transactions_count.value)
            .sum();
    }
    took.sort();
    let processor = (ticks() - before) * 10 / TIMES as u64;
    let wall = took[TIMES / 2].as_secs_f64() * 1000.0;
    println!(
        "{name:<24} {counted:>9} counted {wall:>8.1} ms, processor {processor:>5} ms from {from}"
    );
}

fn window(from: &str, to: &str) -> StatisticsRequest {
    let instant = |day: &str| format!("{day}T00:00:00Z").parse().unwrap();
    StatisticsRequest::new(Window::new(instant(from), instant(to)).unwrap())
}

/// The same days in a zone an hour ahead of UTC.
fn an_hour_ahead(request: &StatisticsRequest) -> StatisticsRequest {
    let earlier = |at: jiff::Timestamp| at - jiff::SignedDuration::from_hours(1);
    let (from, to) = (request.window.from(), request.window.to());
    StatisticsRequest {
        window: Window::new(earlier(from), earlier(to)).unwrap(),
        timezone: "+01:00".into(),
        ..request.clone()
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| {
        std::env::temp_dir()
            .join("tillhouse-speed")
            .display()
            .to_string()
    });
    let mut number = |default| {
        let given = arguments.next();
        given.map_or(default, |number| number.parse().unwrap())
    };
    let (count, years) = (number(1_000_000), number(1));
    let warehouse = Warehouse::open(&WarehouseLocation::new(folder))
        .await
        .unwrap();
    let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
    let published = async || warehouse.ops().published(&AsOf::Latest).await.unwrap();
    if published().await.is_none() {
        let start = Instant::now();
        make(&warehouse, &engine, count, years).await;
        println!(
            "made {count} transactions in {:.1} s",
            start.elapsed().as_secs_f64()
        );
    }
    print_sizes(&published().await.unwrap(), count);
    let mut periods = vec![
        ("a day", window("2016-07-02", "2016-07-03")),
        ("a month", window("2016-07-01", "2016-08-01")),
        ("a year", window("2016-01-01", "2017-01-01")),
    ];
    if years > 1 {
        periods.push(("ten years", window("2016-01-01", "2026-01-01")));
    }
    for (name, period) in &periods {
        time(&warehouse, &engine, name, period).await;
        let ahead = an_hour_ahead(period);
        time(&warehouse, &engine, &format!("{name}, +01:00"), &ahead).await;
        let of_source = StatisticsRequest {
            source: Some("hecone".into()),
            ..period.clone()
        };
        time(
            &warehouse,
            &engine,
            &format!("{name}, a source"),
            &of_source,
        )
        .await;
        let site =
            r#"{"field": "site_key", "operator": "eq", "value": "hecone:s7", "ignoreCase": false}"#;
        let site = Filter::parse(site).unwrap();
        let of_site = StatisticsRequest {
            filter: Some(CheckedFilter::new(&site, "UTC", None).unwrap()),
            ..period.clone()
        };
        time(&warehouse, &engine, &format!("{name}, a site"), &of_site).await;
    }
}
