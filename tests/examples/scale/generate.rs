//! Generation of a warehouse: facts and dimensions through the lake's own writers, roll-ups by the function that a sync uses, and a published run.
//!
//! Invariant: what lies in the folder is what a sync would have written of these sales, source tables aside: sorted files with their statistics,
//! watermarks, coverage, and a run record that names the versions of all tables. A folder that was finished is used again by whoever asks for the same.
//!
//! ```text
//!   a task each source:  months --blocking thread--> batches --> writers of four tables --> a commit a table for some months
//!   then                 dimensions --> roll-ups --> coverage --> run record --> scale.json
//! ```

use crate::rows::{FactRows, FactSchemas, Lineage, dimension_rows, fact_rows};
use crate::world::{
    CURRENCIES, DEVICES, FIRST_YEAR, MonthPlan, POINTS, Product, SMARTNOW, SOURCES, Site, TENANTS,
    World, YEARS, months,
};
use arrow::array::RecordBatch;
use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tillhouse_lake::{
    AsOf, RunBookkeeping, RunRecord, SliceRow, SupersededRecords, TableFigures, UnifiedTable,
    UnifyStep, Warehouse, WarehouseLocation,
};
use tillhouse_model::{ExpectedReads, ReadBy, TableSpec, Window, contract};
use tillhouse_statistics::roll_up;

/// Raised when the rows mean something else than before.
const EDITION: u32 = 1;
/// Rows of transactions that are made at a time.
const BATCH: u64 = 8_192;
/// Sales of a commit, at least: whole months.
const COMMIT: u64 = 60_000;
/// The resource that the sales are said to be of. No source has it, so that a sync of one begins its own watermarks.
pub(crate) const RESOURCE: &str = "history";
/// File that says what a finished folder holds.
const FINISHED: &str = "scale.json";
/// File that says that a folder is one of these, finished or not.
const BEGUN: &str = "scale.begun";

/// Content of a folder, and what making it took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GeneratedWarehouse {
    edition: u32,
    sales: u64,
    seed: u64,
    /// Seconds by stage.
    seconds: BTreeMap<String, f64>,
    /// Tables with their sizes.
    tables: BTreeMap<String, TableFigures>,
    /// True where it was found as it is.
    #[serde(default)]
    reused: bool,
}

/// The first instant of sales, and the first without.
pub(crate) fn stretch() -> Window {
    let instant = |year: i32| format!("{year}-01-01T00:00:00Z").parse().unwrap();
    Window::new(instant(FIRST_YEAR), instant(FIRST_YEAR + YEARS)).unwrap()
}

/// The contract of a unified table.
pub(crate) fn spec(table: &str) -> Arc<TableSpec> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/unified");
    let path = format!("{folder}/{table}.yaml");
    Arc::new(contract::parse(&std::fs::read_to_string(&path).unwrap(), &path).unwrap())
}

/// Id of the run of a number.
fn run_id(number: usize) -> String {
    format!(
        "{}-{number:05x}aaa",
        stretch().to().strftime("%Y%m%dT%H%M%SZ")
    )
}

/// The warehouse in a folder, by a clock that stands where the sales end.
pub(crate) async fn open(folder: &Path) -> Warehouse {
    std::fs::create_dir_all(folder).unwrap();
    let location = WarehouseLocation::new(folder.display().to_string());
    let warehouse = Warehouse::open(&location).await.unwrap();
    let now = stretch().to();
    warehouse.with_clock(Arc::new(move || now))
}

/// Makes the warehouse of so many sales below a folder, unless it is there. Roll-ups are brought up to date in any case: the program may count
/// others than the one that made them.
pub(crate) async fn generate(folder: &Path, sales: u64, seed: u64) -> GeneratedWarehouse {
    if let Some(mut made) = finished(folder, sales, seed) {
        let warehouse = open(&folder.join("warehouse")).await;
        let clock = Instant::now();
        if renew_roll_ups(&warehouse).await {
            made.seconds
                .insert("roll-ups".to_owned(), clock.elapsed().as_secs_f64());
            made.tables = published(&warehouse).await.figures;
            write_finished(folder, &made);
        }
        made.reused = true;
        return made;
    }
    make_room(folder);
    let warehouse = open(&folder.join("warehouse")).await;
    warehouse.prepare().await.unwrap();
    let (run, world, clock) = (run_id(0), Arc::new(World::new(seed)), Instant::now());
    let plans = months(sales);
    let mut seconds = BTreeMap::new();
    let mut lap = |stage: &str, clock: Instant| {
        seconds.insert(stage.to_owned(), clock.elapsed().as_secs_f64());
    };
    let tables = FactTables::of(&warehouse);
    let writing = plans.iter().enumerate().map(|(source, plans)| {
        let (tables, world, run) = (tables.clone(), Arc::clone(&world), run.clone());
        let plans = plans.clone();
        tokio::spawn(async move { write_source(&tables, &world, source, plans, &run).await })
    });
    let writing: Vec<_> = writing.collect();
    let mut shifts = Vec::new();
    for task in writing {
        shifts.push(task.await.unwrap());
    }
    lap("facts", clock);
    let clock = Instant::now();
    for (source, shifts) in shifts.iter().enumerate() {
        write_dimensions(&warehouse, &world, source, shifts, &run).await;
    }
    lap("dimensions", clock);
    let clock = Instant::now();
    let unified = unified_versions(&warehouse).await;
    let rolled = roll_up(&warehouse, &unified, &[], &run).await.unwrap();
    assert!(!rolled.is_empty(), "the sales were not added up");
    lap("roll-ups", clock);
    publish_first(&warehouse, &plans, unified.into_iter().chain(rolled), &run).await;
    let made = GeneratedWarehouse {
        edition: EDITION,
        sales,
        seed,
        seconds,
        tables: published(&warehouse).await.figures,
        reused: false,
    };
    write_finished(folder, &made);
    made
}

/// Content of a folder, if it is what is asked for.
fn finished(folder: &Path, sales: u64, seed: u64) -> Option<GeneratedWarehouse> {
    let text = std::fs::read_to_string(folder.join(FINISHED)).ok()?;
    let made: GeneratedWarehouse = serde_json::from_str(&text).ok()?;
    let is_asked = (made.edition, made.sales, made.seed) == (EDITION, sales, seed);
    is_asked.then_some(made)
}

fn write_finished(folder: &Path, made: &GeneratedWarehouse) {
    let text = serde_json::to_string_pretty(made).unwrap();
    std::fs::write(folder.join(FINISHED), text).unwrap();
}

/// Empties a folder that an earlier run has begun; one that holds anything else is left alone.
fn make_room(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    let is_empty = std::fs::read_dir(folder).unwrap().next().is_none();
    let begun = folder.join(BEGUN);
    assert!(
        is_empty || begun.exists(),
        "{} holds something else: name another folder",
        folder.display()
    );
    let _ = std::fs::remove_file(folder.join(FINISHED));
    let warehouse = folder.join("warehouse");
    if warehouse.exists() {
        std::fs::remove_dir_all(&warehouse).unwrap();
    }
    std::fs::write(begun, "").unwrap();
}

/// The facts. Sources write them side by side, as pipelines do: a commit that loses a race is made again.
#[derive(Clone)]
struct FactTables {
    tables: [UnifiedTable; 4],
    schemas: FactSchemas,
}

impl FactTables {
    fn of(warehouse: &Warehouse) -> Self {
        let names = ["transactions", "articles", "payments", "events"];
        let specs = names.map(spec);
        let [transactions, articles, payments, events] =
            specs.each_ref().map(|spec| spec.unified_schema());
        Self {
            tables: specs.map(|spec| warehouse.unified_table(spec)),
            schemas: FactSchemas {
                transactions,
                articles,
                payments,
                events,
            },
        }
    }
}

/// First and last number of the sales of each shift, by site and number of the shift.
type Shifts = BTreeMap<(usize, i64), (u64, u64)>;

/// Writes the facts of a source, some whole months a commit.
async fn write_source(
    tables: &FactTables,
    world: &Arc<World>,
    source: usize,
    plans: Vec<MonthPlan>,
    run: &str,
) -> Shifts {
    let mut shifts = Shifts::new();
    let (mut load_id, mut waiting) = (0, Vec::new());
    let count = plans.len();
    for (at, plan) in plans.into_iter().enumerate() {
        waiting.push(plan);
        let sales: u64 = waiting.iter().map(|plan| plan.sales).sum();
        if sales >= COMMIT || at + 1 == count {
            write_months(tables, world, source, &waiting, (load_id, run), &mut shifts).await;
            load_id += 1;
            waiting.clear();
        }
    }
    shifts
}

/// Writes the facts of some months after a package, in one commit of each table.
async fn write_months(
    tables: &FactTables,
    world: &Arc<World>,
    source: usize,
    plans: &[MonthPlan],
    (after, run): (i64, &str),
    shifts: &mut Shifts,
) {
    let pipeline = SOURCES[source];
    let begin = |at: usize| tables.tables[at].begin(pipeline).unwrap();
    let mut writers = [begin(0), begin(1), begin(2), begin(3)];
    let mut has_events = false;
    for plan in plans {
        let mut from = 0;
        while from < plan.sales {
            let to = plan.sales.min(from + BATCH);
            let rows = {
                let (world, schemas) = (Arc::clone(world), tables.schemas.clone());
                let (plan, run) = (plan.clone(), run.to_owned());
                tokio::task::spawn_blocking(move || {
                    let lineage = Lineage {
                        load_id: after + 1,
                        extracted_at: stretch().to().as_microsecond(),
                        run_id: &run,
                        version: 0,
                    };
                    fact_rows(&world, &schemas, &plan, from..to, lineage)
                })
            };
            let FactRows {
                transactions,
                articles,
                payments,
                events,
                shifts: of_rows,
            } = rows.await.unwrap();
            has_events |= events.is_some();
            let [first, second, third, fourth] = &mut writers;
            tokio::try_join!(
                first.write(transactions),
                second.write(articles),
                third.write(payments),
                async {
                    match events {
                        Some(events) => fourth.write(events).await,
                        None => Ok(()),
                    }
                }
            )
            .unwrap();
            for (shift, (first, last)) in of_rows {
                shifts.entry(shift).or_insert((first, last)).1 = last;
            }
            from = to;
        }
    }
    let (step, nothing) = (step(pipeline, after, run), SupersededRecords::default());
    let count = if has_events { 4 } else { 3 };
    for writer in writers.into_iter().take(count) {
        writer.commit(&step, &nothing).await.unwrap();
    }
}

fn step(pipeline: &str, after: i64, run: &str) -> UnifyStep {
    UnifyStep {
        pipeline: pipeline.to_owned(),
        resource: RESOURCE.to_owned(),
        after_load_id: after,
        to_load_id: after + 1,
        children: Vec::new(),
        run_id: run.to_owned(),
    }
}

/// Columns of text with their names.
type TextColumns = Vec<(&'static str, Vec<String>)>;

/// Writes what a source's facts name.
async fn write_dimensions(
    warehouse: &Warehouse,
    world: &World,
    source: usize,
    shifts: &Shifts,
    run: &str,
) {
    let (name, sites, products) = (
        SOURCES[source],
        &world.sites[source],
        &world.products[source],
    );
    let of_sites = |of: fn(&Site) -> String| -> Vec<String> { sites.iter().map(of).collect() };
    let of_products =
        |of: fn(&Product) -> String| -> Vec<String> { products.iter().map(of).collect() };
    let tenants: Vec<String> = (0..TENANTS)
        .map(|tenant| format!("{name}-{tenant}"))
        .collect();
    let keys = tenants
        .iter()
        .map(|tenant| format!("{name}:{tenant}"))
        .collect();
    // So many of each site, by the site and a place in it.
    let each = |count: usize, of: fn(&Site, usize) -> String| -> Vec<String> {
        let of_site = |site| (0..count).map(move |at| of(site, at));
        sites.iter().flat_map(of_site).collect()
    };
    let each_device = |of| each(DEVICES, of);
    let each_point = |of| each(DEVICES * POINTS, of);
    let mut dimensions: Vec<(&str, TextColumns)> = vec![
        (
            "tenants",
            vec![("tenant_key", keys), ("tenant_id", tenants)],
        ),
        (
            "sites",
            vec![
                ("site_key", of_sites(|site| site.key.clone())),
                ("name", of_sites(|site| format!("Site {}", site.key))),
                ("code", of_sites(|site| site.id.clone())),
                (
                    "timezone",
                    of_sites(|site| CURRENCIES[site.currency].zone.to_owned()),
                ),
            ],
        ),
        (
            "products",
            vec![
                ("product_key", of_products(|product| product.key.clone())),
                ("code", of_products(|product| product.code.clone())),
                ("name", of_products(|product| product.name.clone())),
                (
                    "category",
                    of_products(|product| product.category.to_owned()),
                ),
                (
                    "unit_measure",
                    of_products(|product| product.unit.to_owned()),
                ),
            ],
        ),
        (
            "devices",
            vec![
                (
                    "device_key",
                    each_device(|site, at| site.devices[at].clone()),
                ),
                ("site_key", each_device(|site, _| site.key.clone())),
                ("name", each_device(|_, at| format!("Device {at}"))),
                ("code", each_device(|_, at| at.to_string())),
            ],
        ),
        (
            "points",
            vec![
                ("point_key", each_point(|site, at| site.points[at].clone())),
                ("site_key", each_point(|site, _| site.key.clone())),
                ("number", each_point(|_, at| at.to_string())),
            ],
        ),
    ];
    if source == SMARTNOW && !shifts.is_empty() {
        let numbered = shifts.iter().zip(1_u64..);
        let ids: Vec<String> = numbered.map(|(_, number)| number.to_string()).collect();
        let keys = ids.iter().map(|id| format!("{name}:{id}")).collect();
        let site_keys = shifts.keys().map(|(site, _)| sites[*site].key.clone());
        let firsts = shifts.values().map(|(first, _)| format!("{name}:{first}"));
        let lasts = shifts.values().map(|(_, last)| format!("{name}:{last}"));
        dimensions.push((
            "shifts",
            vec![
                ("shift_key", keys),
                ("shift_id", ids),
                ("site_key", site_keys.collect()),
                ("first_transaction_key", firsts.collect()),
                ("last_transaction_key", lasts.collect()),
            ],
        ));
    }
    let lineage = Lineage {
        load_id: 1,
        extracted_at: stretch().to().as_microsecond(),
        run_id: run,
        version: 0,
    };
    for (table, columns) in dimensions {
        let spec = spec(table);
        let rows: RecordBatch = dimension_rows(&spec.unified_schema(), source, &columns, lineage);
        let table = warehouse.unified_table(spec);
        let rows = stream::iter([Ok(rows)]).boxed();
        table.merge(&step(name, 0, run), rows).await.unwrap();
    }
}

/// The newest versions of the unified tables that exist, by path.
async fn unified_versions(warehouse: &Warehouse) -> BTreeMap<String, u64> {
    let names = [
        "transactions",
        "articles",
        "payments",
        "events",
        "tenants",
        "sites",
        "products",
        "devices",
        "points",
        "shifts",
    ];
    let mut versions = BTreeMap::new();
    for name in names {
        let path = format!("unified/{name}");
        let table = warehouse.open_at(&path, None).await.unwrap();
        versions.extend(table.map(|table| (path, table.version)));
    }
    versions
}

/// Notes what was read, and publishes the run.
async fn publish_first(
    warehouse: &Warehouse,
    plans: &[Vec<MonthPlan>; 4],
    tables: impl Iterator<Item = (String, u64)>,
    run: &str,
) {
    let (window, now, ops) = (stretch(), warehouse.now(), warehouse.ops());
    let notes = RunBookkeeping::default();
    let slices = SOURCES.iter().zip(plans).map(|(source, plans)| {
        let records = plans.iter().map(|plan| plan.sales).sum();
        SliceRow {
            pipeline: (*source).to_owned(),
            resource: RESOURCE.to_owned(),
            tenant: None,
            window,
            read_by: Some(ReadBy::EventTime),
            also_read_by: None,
            run_id: run.to_owned(),
            read_at: now,
            records,
            rejects: 0,
            declared_total: Some(records),
            attempts: 1,
            load_id: 1,
        }
    });
    notes.add_slices(slices.collect(), now);
    notes.close(&ops).await.unwrap();
    let expected = SOURCES.map(|source| {
        let reads = ExpectedReads::new(source, [(RESOURCE.to_owned(), vec![None])]);
        let reads = ExpectedReads {
            unified_by: Some(run.to_owned()),
            ..reads.starting([(RESOURCE.to_owned(), window.from())])
        };
        (source.to_owned(), reads)
    });
    let bookkeeping = "ops/slices".to_owned();
    let slices = warehouse.open_at(&bookkeeping, None).await.unwrap();
    let slices = slices.map(|table| (bookkeeping, table.version));
    let tables = tables.chain(slices).collect();
    publish(warehouse, tables, expected.into(), (now, run)).await;
}

/// Publishes a run that names these versions.
async fn publish(
    warehouse: &Warehouse,
    tables: BTreeMap<String, u64>,
    expected: BTreeMap<String, ExpectedReads>,
    (at, run): (Timestamp, &str),
) {
    let mut figures = BTreeMap::new();
    for (path, version) in &tables {
        let version = (*version).into();
        let table = warehouse.open_at(path, Some(&version)).await.unwrap();
        figures.insert(path.clone(), table.unwrap().figures);
    }
    let tables = tables
        .into_iter()
        .map(|(path, version)| (path, version.into()));
    let record = RunRecord {
        run_id: run.to_owned(),
        command: "sync".to_owned(),
        pipelines: SOURCES.map(str::to_owned).to_vec(),
        started_at: at,
        finished_at: at,
        outcome: "done".to_owned(),
        published: true,
        tables: tables.collect(),
        figures,
        counts: BTreeMap::new(),
        expected,
    };
    warehouse.ops().publish(&record).await.unwrap();
}

async fn published(warehouse: &Warehouse) -> RunRecord {
    let run = warehouse.ops().published(&AsOf::Latest).await.unwrap();
    run.expect("a run is published")
}

/// Brings the roll-ups to the published versions of the facts; true if they were not there, which another run then tells.
async fn renew_roll_ups(warehouse: &Warehouse) -> bool {
    let before = published(warehouse).await;
    let versions = before
        .tables
        .iter()
        .map(|(path, named)| (path.clone(), named.version));
    let (old, mut tables): (BTreeMap<String, u64>, BTreeMap<String, u64>) =
        versions.partition(|(path, _)| path.starts_with("statistics/"));
    let unified = tables
        .iter()
        .filter(|(path, _)| path.starts_with("unified/"));
    let unified = unified
        .map(|(path, version)| (path.clone(), *version))
        .collect();
    let runs = warehouse.ops().runs().await.unwrap().len();
    let run = run_id(runs);
    let rolled = roll_up(warehouse, &unified, &[], &run).await.unwrap();
    assert!(!rolled.is_empty(), "the sales were not added up");
    if rolled == old {
        return false;
    }
    tables.extend(rolled);
    let at = (before.finished_at, run.as_str());
    publish(warehouse, tables, before.expected, at).await;
    true
}
