//! Cost of landing and unifying: rows of the real HecOne contract through a warehouse in a
//! temporary folder.
//!
//! Invariant: deterministic data, one process; one line a step with wall time, processor time and the peak memory so far.
//!
//! ```text
//! cargo run --release --workspace --example landing -- [ROWS] [ROWS A PACKAGE] [FOLDER]
//! ```

#![allow(clippy::print_stdout)]

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray,
    Int64Array, ListArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use jiff::Timestamp;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;
use tillhouse_lake::{
    LandingOptions, PackagePage, SupersededRecords, UnifyStep, Warehouse, WarehouseLocation,
};
use tillhouse_model::TableSpec;

/// Result of this example, with any error.
type ExampleResult<T> = std::result::Result<T, Box<dyn Error>>;

/// Rows of a page.
const PAGE: usize = 1_000;
/// 2026-01-01T00:00:00Z.
const START: i64 = 1_767_225_600_000_000;

fn mixed(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The instant of a row: five days hold them all.
fn instant(row: usize, rows: usize) -> i64 {
    START
        + i64::try_from(row).unwrap_or(0) * (5 * 86_400_000_000 / i64::try_from(rows).unwrap_or(1))
}

/// Plausible values: ids are random, the rest repeats as tills repeat themselves.
fn values(field: &Field, rows: &[usize], all: usize) -> ArrayRef {
    let salt = field
        .name()
        .bytes()
        .fold(7_u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
    let random = |row: usize| mixed(row as u64 ^ (salt << 32));
    match field.data_type() {
        DataType::Utf8 if field.name().ends_with("id") || field.name().ends_with("key") => {
            Arc::new(StringArray::from_iter_values(
                rows.iter()
                    .map(|r| format!("{:016x}{:016x}", random(*r), random(r + 1))),
            ))
        }
        DataType::Utf8 => Arc::new(StringArray::from_iter_values(
            rows.iter()
                .map(|r| format!("{} {}", field.name(), random(*r) % 40)),
        )),
        DataType::Boolean => Arc::new(
            rows.iter()
                .map(|r| Some(random(*r).is_multiple_of(2)))
                .collect::<BooleanArray>(),
        ),
        DataType::Int64 => Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|r| (random(*r) % 1_000) as i64),
        )),
        DataType::Date32 => Arc::new(Date32Array::from_iter_values(rows.iter().map(|_| 20_454))),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Arc::new(
            TimestampMicrosecondArray::from_iter_values(
                rows.iter()
                    .map(|r| instant(*r, all) + (random(*r) % 300) as i64 * 1_000_000),
            )
            .with_timezone("UTC"),
        ),
        DataType::Decimal128(p, s) => {
            let array = Decimal128Array::from_iter_values(
                rows.iter().map(|r| i128::from(random(*r) % 20_000) * 100),
            );
            Arc::new(
                array
                    .with_precision_and_scale(*p, *s)
                    .unwrap_or_else(|_| Decimal128Array::from(vec![0_i128; rows.len()])),
            )
        }
        DataType::Struct(fields) => {
            let columns = fields.iter().map(|f| values(f, rows, all)).collect();
            Arc::new(StructArray::new(fields.clone(), columns, None))
        }
        DataType::List(element) => {
            let lengths: Vec<usize> = rows.iter().map(|r| 1 + (random(*r) % 2) as usize).collect();
            let inner: Vec<usize> = rows
                .iter()
                .zip(&lengths)
                .flat_map(|(r, n)| (0..*n).map(move |i| r * 2 + i))
                .collect();
            let inner_values = values(element, &inner, all * 2);
            Arc::new(ListArray::new(
                element.clone(),
                OffsetBuffer::from_lengths(lengths),
                inner_values,
                None,
            ))
        }
        _ => Arc::new(BinaryArray::from_iter_values(
            rows.iter().map(|r| mixed(*r as u64).to_be_bytes()),
        )),
    }
}

fn page(spec: &TableSpec, rows: &[usize], all: usize) -> ExampleResult<PackagePage> {
    let schema = spec.content_schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| values(field, rows, all))
        .collect();
    let keys = StringArray::from_iter_values(
        rows.iter()
            .map(|r| format!("{:016x}{:016x}", mixed(*r as u64), mixed(!(*r as u64)))),
    );
    Ok(PackagePage {
        batch: RecordBatch::try_new(schema, columns)?,
        keys,
        record_times: TimestampMicrosecondArray::from_iter_values(
            rows.iter().map(|r| instant(*r, all)),
        )
        .with_timezone("UTC"),
        updated_at: TimestampMicrosecondArray::new_null(rows.len()).with_timezone("UTC"),
        content_hashes: FixedSizeBinaryArray::try_from_iter(rows.iter().map(|r| {
            let mut hash = [1_u8; 17];
            hash[1..9].copy_from_slice(&mixed(*r as u64).to_be_bytes());
            hash[9..].copy_from_slice(&mixed(!(*r as u64)).to_be_bytes());
            hash
        }))?,
        requested_at: Timestamp::from_microsecond(START)?,
    })
}

fn unified(schema: &SchemaRef, rows: &[usize], all: usize) -> ExampleResult<RecordBatch> {
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match field.name().as_str() {
            "pipeline" => Arc::new(StringArray::from_iter_values(rows.iter().map(|_| "hecone"))),
            "month" => Arc::new(StringArray::from_iter_values(
                rows.iter().map(|_| "2026-01"),
            )),
            "_load_id" => Arc::new(Int64Array::from_value(1, rows.len())),
            "_record_time" | "occurred_at" => Arc::new(
                TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| instant(*r, all)))
                    .with_timezone("UTC"),
            ),
            _ => values(field, rows, all),
        }
    });
    Ok(RecordBatch::try_new(schema.clone(), columns.collect())?)
}

/// Processor seconds of this process so far, and its peak memory in MiB, where the system tells.
fn used() -> (f64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|t| t.parse::<u64>().ok())
        .sum();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status
        .lines()
        .find_map(|l| l.strip_prefix("VmHWM:"))
        .and_then(|l| l.split_whitespace().next()?.parse().ok());
    (ticks as f64 / 100.0, peak.unwrap_or(0_u64) / 1024)
}

/// Stopwatch of one step: wall time and processor time since it started.
struct StepTimer(Instant, f64);

impl StepTimer {
    fn start() -> Self {
        Self(Instant::now(), used().0)
    }

    fn say(&self, what: &str) {
        let (cpu, peak) = used();
        println!(
            "{what:<44} {:>7.2} s wall {:>7.2} s cpu   peak {peak} MiB",
            self.0.elapsed().as_secs_f64(),
            cpu - self.1
        );
    }
}

fn contract(path: &str) -> ExampleResult<Arc<TableSpec>> {
    let full = format!("{}/../../schemas/{path}", env!("CARGO_MANIFEST_DIR"));
    Ok(Arc::new(tillhouse_model::contract::parse(
        &std::fs::read_to_string(&full)?,
        path,
    )?))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExampleResult<()> {
    let mut arguments = std::env::args().skip(1);
    let rows: usize = arguments.next().map_or(Ok(100_000), |a| a.parse())?;
    let a_package: usize = arguments.next().map_or(Ok(20_000), |a| a.parse())?;
    let temporary = tempfile::tempdir()?;
    let folder = arguments
        .next()
        .unwrap_or_else(|| temporary.path().to_string_lossy().into_owned());
    let warehouse = Warehouse::open(&WarehouseLocation::new(folder)).await?;
    let spec = contract("hecone/transactions.yaml")?;
    let table = warehouse.source_table("hecone", spec.clone());
    let all: Vec<usize> = (0..rows).collect();

    let clock = StepTimer::start();
    for part in all.chunks(a_package) {
        for rows_of_page in part.chunks(PAGE) {
            std::hint::black_box(page(&spec, rows_of_page, rows)?);
        }
    }
    clock.say("(making the pages alone)");
    for pass in [
        "landing, all new (with making)",
        "landing again, same process (with making)",
    ] {
        let clock = StepTimer::start();
        let (mut new, mut unchanged, mut bytes) = (0, 0, 0);
        for part in all.chunks(a_package) {
            let package = part
                .chunks(PAGE)
                .map(|p| page(&spec, p, rows))
                .collect::<ExampleResult<Vec<_>>>()?;
            let options = LandingOptions {
                run_id: "20260101T000000Z-000000".to_owned(),
                tenants: Vec::new(),
                whole: Default::default(),
            };
            let landed = table.land(package, &options).await?;
            new += landed.new;
            unchanged += landed.unchanged;
            bytes += landed.bytes_written;
        }
        clock.say(pass);
        println!(
            "    {new} new, {unchanged} unchanged, {} MiB written",
            bytes >> 20
        );
    }
    for name in ["transactions", "articles", "payments"] {
        let spec = contract(&format!("unified/{name}.yaml"))?;
        let schema = spec.unified_schema();
        let clock = StepTimer::start();
        for part in all.chunks(8_192) {
            std::hint::black_box(unified(&schema, part, rows)?);
        }
        clock.say(&format!("(making unified {name} alone)"));
        let clock = StepTimer::start();
        let table = warehouse.unified_table(spec);
        let pieces: Vec<Vec<usize>> = all.chunks(8_192).map(<[usize]>::to_vec).collect();
        let batches = futures::stream::iter(pieces).map(move |piece| {
            unified(&schema, &piece, rows)
                .map_err(|e| tillhouse_model::Error::internal(e.to_string()))
        });
        let step = UnifyStep {
            pipeline: "hecone".to_owned(),
            resource: "transactions".to_owned(),
            after_load_id: 0,
            to_load_id: 1,
            children: Vec::new(),
            run_id: "20260101T000000Z-000000".to_owned(),
        };
        let done = table
            .replace(&step, &SupersededRecords::default(), batches.boxed())
            .await?;
        clock.say(&format!(
            "unified {name}, {} rows (with making)",
            done.rows_added
        ));
    }
    Ok(())
}
