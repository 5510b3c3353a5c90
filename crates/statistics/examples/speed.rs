//! Speed of statistics over a warehouse on disk: windows of different lengths, from the roll-ups
//! and from the facts.
//!
//! Invariant: the warehouse is made once, in the folder that is named, and found there by the next run; every question is asked in a
//! fresh session, so that opening the tables counts.
//!
//! ```text
//! cargo run --release --workspace --example speed -- FOLDER [TRANSACTIONS]
//! ```

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::cast;
use futures::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tillhouse_lake::{AsOf, RunRecord, SupersededRecords, UnifyStep, Warehouse, WarehouseLocation};
use tillhouse_model::{TableSpec, Window, contract};
use tillhouse_query::{QueryEngine, QueryEngineOptions};
use tillhouse_statistics::roll_up;
use tillhouse_statistics::{StatisticsRequest, statistics, statistics_of_facts};

const RUN: &str = "20260101T000000Z-aaaaaa";
/// Repetitions of each question; the median counts.
const TIMES: usize = 7;

/// A year of sales, one article and one payment each, at 40 sites of three tenants. Every fact has the columns of all three, of which
/// its contract takes its own.
fn facts(count: u64) -> String {
    let step = 365 * 86_400_000_000 / count;
    format!(
        "SELECT *, month_of(occurred_at) AS month, occurred_at AS _record_time, occurred_at AS created_at,
                local_hour(occurred_at, timezone) AS local_hour, local_date(occurred_at, timezone) AS business_date,
                'hecone:' || id AS transaction_key, 'hecone:' || id AS _record_key,
                'hecone:' || id || '/1' AS article_key, 'hecone:' || id || '/1' AS payment_key
         FROM (SELECT md5(CAST(value AS VARCHAR)) AS id, md5(CAST(value AS VARCHAR)) AS transaction_id,
                      to_timestamp_micros(1735689600000000 + {step} * value) AS occurred_at,
                      'hecone' AS pipeline, 'hecone' AS source, 'sale' AS perspective, 'Europe/Berlin' AS timezone,
                      'tenant-' || (value % 3) AS tenant_id, 'hecone:s' || (value * 7 % 40) AS site_key,
                      'hecone:s' || (value * 7 % 40) || '/' || (value % 5) AS device_key,
                      CASE WHEN value % 97 = 0 THEN 'free' WHEN value % 101 = 0 THEN 'refund' ELSE 'sale' END AS kind,
                      CASE WHEN value % 11 = 0 THEN 'CHF' ELSE 'EUR' END AS currency,
                      CASE WHEN value % 53 = 0 THEN 'declined' WHEN value % 31 = 0 THEN 'consumed' ELSE 'completed' END
                          AS transaction_state,
                      CAST(value * 7919 % 12000 AS DECIMAL(18,4)) / 100 AS amount,
                      CAST(value * 7919 % 9000 AS DECIMAL(18,4)) / 100 AS quantity,
                      'plate ' || (value % 9973) AS vehicle_number, 'Product ' || (value % 60) AS name,
                      CASE WHEN value % 4 = 0 THEN 'kWh' ELSE 'l' END AS unit_measure,
                      'Type ' || (value % 6) AS type, 'Medium ' || (value % 4) AS medium, 'Scheme ' || (value % 9) AS scheme,
                      'Mode ' || (value % 5) AS entry_mode, 'Function ' || (value % 3) AS function,
                      'r' AS _run_id, to_timestamp_micros(0) AS _extracted_at, X'00' AS _content_hash, 1 AS _load_id
               FROM range(0, {count})) AS made"
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

async fn make(warehouse: &Warehouse, engine: &QueryEngine, count: u64) {
    let mut tables = BTreeMap::new();
    let state = |state: &str| {
        facts(count).replace(
            "AS made",
            &format!("AS made, (VALUES ('{state}')) AS word(state)"),
        )
    };
    let sites = "SELECT 'hecone:s' || value AS site_key, 'Site ' || value AS name, 'hecone' AS pipeline, 'hecone' AS source,
                        to_timestamp_micros(0) AS _as_of, to_timestamp_micros(0) AS _extracted_at, X'00' AS _content_hash,
                        'r' AS _run_id FROM range(0, 40)";
    let transactions = facts(count).replace(
        "AS\n                          transaction_state",
        "AS transaction_state",
    );
    let transactions = transactions.replace("SELECT *,", "SELECT *, transaction_state AS state,");
    for (table, sql) in [
        ("transactions", transactions),
        ("articles", state("done")),
        ("payments", state("collected")),
        ("sites", sites.to_owned()),
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
            pipeline: "hecone".into(),
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
    let start = Instant::now();
    tables.extend(roll_up(warehouse, &tables, &[], RUN).await.unwrap());
    println!("rolled up in {:.1} s", start.elapsed().as_secs_f64());
    let at = "2026-01-01T00:00:00Z".parse().unwrap();
    let run = RunRecord {
        run_id: RUN.into(),
        command: "sync".into(),
        pipelines: vec!["hecone".into()],
        started_at: at,
        finished_at: at,
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
    warehouse.ops().publish(&run).await.unwrap();
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
        "{name:<22} {from:<8} {counted:>9} counted {wall:>8.1} ms, processor {processor:>5} ms"
    );
}

fn window(from: &str, to: &str) -> StatisticsRequest {
    let instant = |day: &str| format!("{day}T00:00:00Z").parse().unwrap();
    StatisticsRequest::new(Window::new(instant(from), instant(to)).unwrap())
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
    let count = arguments
        .next()
        .map_or(1_000_000, |count| count.parse().unwrap());
    let warehouse = Warehouse::open(&WarehouseLocation::new(folder))
        .await
        .unwrap();
    let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
    if warehouse
        .ops()
        .published(&AsOf::Latest)
        .await
        .unwrap()
        .is_none()
    {
        let start = Instant::now();
        make(&warehouse, &engine, count).await;
        println!(
            "made {count} transactions in {:.1} s",
            start.elapsed().as_secs_f64()
        );
    }
    let (day, month, year) = (
        window("2025-07-02", "2025-07-03"),
        window("2025-07-01", "2025-08-01"),
        window("2025-01-01", "2026-01-01"),
    );
    time(&warehouse, &engine, "a day", &day).await;
    time(&warehouse, &engine, "a month", &month).await;
    time(&warehouse, &engine, "a year", &year).await;
    let of_source = StatisticsRequest {
        source: Some("hecone".into()),
        ..month.clone()
    };
    time(&warehouse, &engine, "a month of one source", &of_source).await;
}
