//! The table provider against the Delta library's own scan, and by the files and row groups that it reads.
//!
//! Invariant: what is counted is what a plan names and the store is asked for.

use crate::faulty_store::{
    FixtureFact, FixtureRecord, TempWarehouse, extra_column, fact_spec, facts, page, run,
    source_spec, step,
};
use crate::log::data_file::DataFile;
use crate::log::snapshot::Snapshot;
use crate::log::table::TableHandle;
use crate::source::package::PackagePage;
use crate::table_provider::provider;
use crate::unified::step::SupersededRecords;
use crate::warehouse::Warehouse;
use arrow::array::{RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use deltalake::DeltaTable;
use deltalake::datafusion::catalog::TableProvider;
use deltalake::datafusion::datasource::physical_plan::FileScanConfig;
use deltalake::datafusion::datasource::source::DataSourceExec;
use deltalake::datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use deltalake::datafusion::prelude::{SessionConfig, SessionContext};
use std::collections::HashMap;
use std::sync::Arc;

const SOURCE: &str = "hecone/transactions";
const FACTS: &str = "unified/articles";

/// A session as the query crate makes them: filters are pushed into the scan, text comes as it is.
fn session(warehouse: &Warehouse, threads: usize) -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(threads);
    let parquet = &mut config.options_mut().execution.parquet;
    parquet.pushdown_filters = true;
    parquet.schema_force_view_types = false;
    let context = SessionContext::new_with_config(config);
    warehouse.register_store(&context.runtime_env());
    context
}

async fn opened(warehouse: &Warehouse, path: &str) -> (Arc<TableHandle>, Snapshot) {
    let table = warehouse.table(path).unwrap();
    let snapshot = table.latest().await.unwrap().unwrap();
    (table, snapshot)
}

/// The Delta library's own scan of the same version: what ours has to agree with.
async fn twin(
    table: &TableHandle,
    snapshot: &Snapshot,
    context: Option<&SessionContext>,
) -> Arc<dyn TableProvider> {
    let mut twin = DeltaTable::new(table.log_store().clone());
    twin.load_version(snapshot.version).await.unwrap();
    let mut builder = twin.table_provider();
    if let Some(context) = context {
        builder = builder.with_session(Arc::new(context.state()));
    }
    builder.await.unwrap()
}

/// A schema without the comments of its columns, which the library shows and ours leaves out.
fn uncommented(schema: &Schema) -> Vec<Field> {
    let fields = schema.fields().iter();
    fields
        .map(|field| field.as_ref().clone().with_metadata(HashMap::new()))
        .collect()
}

/// The cells of some batches, a line a row, sorted.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("-");
    let mut lines = Vec::new();
    for batch in batches {
        let columns: Vec<ArrayFormatter<'_>> = batch
            .columns()
            .iter()
            .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let cells: Vec<String> = columns.iter().map(|c| c.value(row).to_string()).collect();
            lines.push(cells.join(" | "));
        }
    }
    lines.sort();
    lines
}

async fn planned(context: &SessionContext, sql: &str) -> Arc<dyn ExecutionPlan> {
    let frame = context.sql(sql).await.unwrap();
    frame.create_physical_plan().await.unwrap()
}

async fn answer(context: &SessionContext, sql: &str) -> Vec<String> {
    let plan = planned(context, sql).await;
    lines(&collect(plan, context.task_ctx()).await.unwrap())
}

/// The data files that a plan reads, each once.
fn files(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = plan.downcast_ref::<DataSourceExec>().and_then(|scan| {
        let config = scan.data_source().downcast_ref::<FileScanConfig>()?;
        let files = config.file_groups.iter().flat_map(|group| group.files());
        let paths: std::collections::BTreeSet<&str> = files
            .map(|file| file.object_meta.location.as_ref())
            .collect();
        Some(paths.len())
    });
    own.unwrap_or(0) + plan.children().into_iter().map(files).sum::<usize>()
}

/// A counter of a plan's scans after it ran; of one that says how many were pruned and matched, those pruned.
fn metric(plan: &Arc<dyn ExecutionPlan>, name: &str) -> usize {
    use deltalake::datafusion::physical_plan::metrics::MetricValue;
    let own = plan.metrics().map_or(0, |metrics| {
        metrics
            .iter()
            .filter(|metric| metric.value().name() == name)
            .map(|metric| match metric.value() {
                MetricValue::PruningMetrics {
                    pruning_metrics, ..
                } => pruning_metrics.pruned(),
                value => value.as_usize(),
            })
            .sum()
    });
    own + plan
        .children()
        .into_iter()
        .map(|child| metric(child, name))
        .sum::<usize>()
}

const TIMES: [Option<&str>; 5] = [
    Some("2026-01-05T10:00:00.123456Z"),
    Some("2026-01-25T23:59:59.999999Z"),
    Some("2026-02-03T00:00:00Z"),
    Some("2026-03-09T12:00:00.5Z"),
    None,
];

/// A source table of several packages and months, whose later files have a column more.
async fn landed(warehouse: &Warehouse) {
    let table = warehouse.source_table("hecone", Arc::new(source_spec()));
    for package in 0..4_i64 {
        let records: Vec<FixtureRecord> = (0..12_i64)
            .map(|n| {
                let key: &'static str = format!("p{package} record {n:03}").leak();
                let time = TIMES[usize::try_from((package + n) % 5).unwrap()];
                FixtureRecord(
                    key,
                    time,
                    package * 100 + n,
                    TIMES[0].filter(|_| n % 2 == 0),
                )
            })
            .collect();
        let at = format!("2026-03-{:02}T00:00:00Z", package + 10);
        table
            .land(vec![page(&at, &records)], &run("r"))
            .await
            .unwrap();
    }
    let mut spec = source_spec();
    spec.columns.push(extra_column("loyalty", false));
    let narrow = page(
        "2026-04-01T00:00:00Z",
        &[FixtureRecord("wide", TIMES[3], 7, None)],
    );
    let mut columns = narrow.batch.columns().to_vec();
    columns.push(Arc::new(StringArray::from_iter_values(["gold"])));
    let wide = PackagePage {
        batch: RecordBatch::try_new(spec.content_schema(), columns).unwrap(),
        ..narrow
    };
    let table = warehouse.source_table("hecone", Arc::new(spec));
    table.land(vec![wide], &run("r")).await.unwrap();
}

/// A unified table of two pipelines and three months, two files in each.
async fn unified(warehouse: &Warehouse) {
    let table = warehouse.unified_table(Arc::new(fact_spec()));
    for (pipeline, load_id) in [("hecone", 1), ("pace", 1), ("hecone", 2), ("pace", 2)] {
        let rows: Vec<FixtureFact> = TIMES
            .iter()
            .enumerate()
            .map(|(n, time)| {
                let key: &'static str = format!("record {load_id} {n}").leak();
                FixtureFact(key, key, *time, i64::try_from(n).unwrap() * 1_000)
            })
            .collect();
        let superseded = SupersededRecords {
            keys_maybe_untimed: rows.iter().map(|row| row.0.to_owned()).collect(),
            ..SupersededRecords::default()
        };
        table
            .replace(
                &step(pipeline, load_id - 1, load_id),
                &superseded,
                facts(pipeline, load_id, &rows),
            )
            .await
            .unwrap();
    }
}

/// Questions over a source table.
const SOURCE_QUESTIONS: &[&str] = &[
    "SELECT * FROM t",
    "SELECT id, month FROM t",
    "SELECT month, id, loyalty FROM t",
    "SELECT articles FROM t",
    "SELECT articles[1]['name'] AS name, _load_id FROM t WHERE articles[1]['quantity'] > 0.0001",
    "SELECT count(*) FROM t",
    "SELECT count(loyalty), count(updated_at), min(month), max(_record_time) FROM t",
    "SELECT month, count(*) FROM t GROUP BY month",
    "SELECT month FROM t",
    "SELECT id FROM t WHERE month = '2026-01'",
    "SELECT id FROM t WHERE month IN ('2026-02', '2026-03') AND month <> '2026-02'",
    "SELECT id FROM t WHERE month LIKE '2026-%' AND substr(month, 6) > '01'",
    "SELECT id FROM t WHERE month = '2026-01' OR id = 'wide'",
    "SELECT max(_record_time), min(id), count(*) FROM t WHERE month = '2026-01'",
    "SELECT id FROM t WHERE _load_id > 2 AND _load_id <= 4",
    "SELECT id FROM t WHERE id = 'p2 record 003'",
    "SELECT id FROM t WHERE id BETWEEN 'p1' AND 'p2'",
    "SELECT id FROM t WHERE _record_time >= '2026-01-25T23:59:59.999999Z' AND _record_time < '2026-02-03T00:00:00.000001Z'",
    "SELECT id FROM t WHERE _record_time = '2026-01-05T10:00:00.123456Z'",
    "SELECT id FROM t WHERE _record_time IS NULL",
    "SELECT id FROM t WHERE _record_time IS NOT NULL AND loyalty IS NULL",
    "SELECT id, loyalty FROM t WHERE loyalty = 'gold'",
    "SELECT id FROM t WHERE amount > 0.02 AND month > '2026-01'",
    "SELECT a.id FROM t a JOIN t b ON a.id = b.id AND b._load_id = 3",
    "SELECT id FROM t ORDER BY _record_time DESC NULLS LAST, id LIMIT 3",
    "SELECT count(*) FROM t WHERE month = 'nothing'",
];

/// Questions over a fact table.
const FACT_QUESTIONS: &[&str] = &[
    "SELECT * FROM t",
    "SELECT pipeline, month, count(*), sum(amount) FROM t GROUP BY pipeline, month",
    "SELECT pipeline, month, count(*) FROM t WHERE pipeline = 'pace' GROUP BY pipeline, month",
    "SELECT * FROM t WHERE pipeline = 'hecone' AND occurred_at < '2026-02-01T00:00:00Z'",
    "SELECT * FROM t WHERE article_key = 'pace:record 2 3'",
    "SELECT * FROM t WHERE concat(pipeline, ':record 2 3') = article_key",
    "SELECT count(*) FROM t WHERE pipeline = 'pace' AND month = 'none'",
];

#[tokio::test]
async fn the_answers_are_those_of_the_delta_library_and_no_more_files_are_read() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    landed(&warehouse).await;
    unified(&warehouse).await;
    for (path, questions) in [(SOURCE, SOURCE_QUESTIONS), (FACTS, FACT_QUESTIONS)] {
        let (table, snapshot) = opened(&warehouse, path).await;
        assert!(snapshot.files.len() > 5, "{}", snapshot.files.len());
        for threads in [1, 3] {
            for has_session in [true, false] {
                let (ours, theirs) = (session(&warehouse, threads), session(&warehouse, threads));
                let state = ours.state();
                let own = provider(&table, &snapshot, has_session.then_some(&state), None);
                let own = own.unwrap();
                let twin = twin(&table, &snapshot, has_session.then_some(&theirs)).await;
                let columns = uncommented(&twin.schema());
                assert_eq!(own.schema().as_ref(), &Schema::new(columns), "{path}");
                ours.register_table("t", own).unwrap();
                theirs.register_table("t", twin).unwrap();
                for sql in questions {
                    let (plan, other) = (planned(&ours, sql).await, planned(&theirs, sql).await);
                    assert!(
                        files(&plan) <= files(&other),
                        "{sql}\n{}\n{}",
                        displayable(plan.as_ref()).indent(true),
                        displayable(other.as_ref()).indent(true)
                    );
                    let columns = uncommented(&other.schema());
                    assert_eq!(uncommented(&plan.schema()), columns, "{sql}");
                    let rows = collect(plan, ours.task_ctx()).await.unwrap();
                    let expected = collect(other, theirs.task_ctx()).await.unwrap();
                    assert_eq!(lines(&rows), lines(&expected), "{sql}");
                }
            }
        }
    }
}

#[tokio::test]
async fn files_are_left_out_by_partition_key_time_and_package() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    landed(&warehouse).await;
    unified(&warehouse).await;
    let source = [
        // Four packages with files of January, February, March and none each; the fifth has one of March.
        ("SELECT id FROM t", 17),
        ("SELECT id FROM t WHERE month = '2026-01'", 4),
        (
            "SELECT id FROM t WHERE month = '2026-01' OR month IS NULL",
            4,
        ),
        ("SELECT id FROM t WHERE _load_id > 1 AND _load_id <= 3", 8),
        ("SELECT id FROM t WHERE id = 'wide'", 1),
        ("SELECT id FROM t WHERE id LIKE 'p3%'", 4),
        ("SELECT id FROM t WHERE _record_key >= 'p3'", 5),
        (
            "SELECT id FROM t WHERE _record_time > '2026-02-10T00:00:00Z'",
            5,
        ),
        ("SELECT id FROM t WHERE _record_time IS NULL", 4),
        (
            "SELECT id FROM t WHERE month = '2026-02' AND _load_id = 2",
            1,
        ),
        (
            "SELECT id FROM t WHERE month = '2026-02' OR _load_id = 2",
            7,
        ),
        ("SELECT id FROM t WHERE upper(month) = 'NONE'", 4),
        ("SELECT id FROM t WHERE month = 'nothing'", 0),
        // The log answers alone.
        ("SELECT count(*) FROM t", 0),
        ("SELECT count(*) FROM t WHERE month = '2026-01'", 0),
        ("SELECT month, count(*) FROM t GROUP BY month", 0),
        ("SELECT id FROM t LIMIT 1", 1),
        ("SELECT id FROM t WHERE month = '2026-03' LIMIT 1", 1),
        ("SELECT id FROM t WHERE amount >= 0 LIMIT 1", 17),
    ];
    let facts = [
        ("SELECT * FROM t", 16),
        (
            "SELECT * FROM t WHERE pipeline = 'pace' AND month = '2026-01'",
            2,
        ),
        ("SELECT * FROM t WHERE article_key = 'pace:record 2 3'", 1),
        (
            "SELECT * FROM t WHERE pipeline = 'pace' AND occurred_at >= '2026-03-01T00:00:00Z'",
            2,
        ),
    ];
    for (path, questions) in [(SOURCE, source.as_slice()), (FACTS, facts.as_slice())] {
        let (table, snapshot) = opened(&warehouse, path).await;
        let context = session(&warehouse, 2);
        let state = context.state();
        let own = provider(&table, &snapshot, Some(&state), None).unwrap();
        context.register_table("t", own).unwrap();
        for (sql, expected) in questions {
            let plan = planned(&context, sql).await;
            assert_eq!(
                files(&plan),
                *expected,
                "{sql}\n{}",
                displayable(plan.as_ref()).indent(true)
            );
            place.store.data_files_read();
            collect(plan, context.task_ctx()).await.unwrap();
            let read = place.store.data_files_read();
            assert!(read <= *expected, "{sql}: {read}");
        }
    }
}

#[tokio::test]
async fn only_the_files_that_are_asked_for_are_read() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    landed(&warehouse).await;
    let (table, snapshot) = opened(&warehouse, SOURCE).await;
    let wanted: Vec<&DataFile> = snapshot
        .files
        .iter()
        .filter(|file| file.load_ids == Some((2, 2)))
        .collect();
    let paths: Vec<String> = wanted.iter().map(|file| file.path.clone()).collect();
    let context = session(&warehouse, 2);
    let own = provider(&table, &snapshot, None, Some(&paths)).unwrap();
    context.register_table("t", own).unwrap();
    assert_eq!(
        answer(&context, "SELECT count(*), min(_load_id) FROM t").await,
        ["12 | 2"]
    );
    assert_eq!(
        answer(&context, "SELECT id FROM t WHERE id LIKE 'p1%'")
            .await
            .len(),
        12
    );
    assert!(
        answer(&context, "SELECT id FROM t WHERE _load_id = 3")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn row_groups_are_left_out_by_their_times() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    let records: Vec<FixtureRecord> = (0..140_000_i64)
        .map(|n| {
            let key: &'static str = format!("{n:06}").leak();
            let minute = n / 2_400;
            let time: &'static str =
                format!("2026-01-05T10:{minute:02}:{:02}Z", n / 40 % 60).leak();
            FixtureRecord(key, Some(time), n, None)
        })
        .collect();
    let table = warehouse.source_table("hecone", Arc::new(source_spec()));
    // A row group holds whole pages.
    let package = records
        .chunks(35_000)
        .map(|records| page("2026-03-07T00:00:00Z", records))
        .collect();
    table.land(package, &run("r")).await.unwrap();
    let (table, snapshot) = opened(&warehouse, SOURCE).await;
    assert_eq!(snapshot.files.len(), 1);
    let context = session(&warehouse, 2);
    let state = context.state();
    let own = provider(&table, &snapshot, Some(&state), None).unwrap();
    context.register_table("t", own).unwrap();
    let plan = planned(
        &context,
        "SELECT id FROM t WHERE _record_time < '2026-01-05T10:00:01Z'",
    )
    .await;
    let rows = collect(Arc::clone(&plan), context.task_ctx())
        .await
        .unwrap();
    assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 40);
    let pruned = metric(&plan, "row_groups_pruned_statistics");
    assert!(pruned >= 2, "{pruned}");
}

#[tokio::test]
async fn a_plan_travels_by_what_every_engine_knows() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    landed(&warehouse).await;
    let (table, snapshot) = opened(&warehouse, SOURCE).await;
    let here = session(&warehouse, 2);
    let state = here.state();
    here.register_table(
        "t",
        provider(&table, &snapshot, Some(&state), None).unwrap(),
    )
    .unwrap();
    // The other machine knows the store, and nothing of the table.
    let there = session(&warehouse, 2);
    for sql in [
        "SELECT * FROM t",
        "SELECT month, id, loyalty FROM t WHERE month >= '2026-02' AND id > 'p2'",
        "SELECT month, count(*), sum(amount) FROM t WHERE _load_id > 1 GROUP BY month",
        "SELECT month, count(*) FROM t GROUP BY month",
        "SELECT id FROM t WHERE month = 'nothing'",
    ] {
        let plan = planned(&here, sql).await;
        let bytes = datafusion_proto::bytes::physical_plan_to_bytes(Arc::clone(&plan)).unwrap();
        let task = there.task_ctx();
        let arrived = datafusion_proto::bytes::physical_plan_from_bytes(&bytes, &task).unwrap();
        let rows = collect(arrived, task).await.unwrap();
        let expected = collect(plan, here.task_ctx()).await.unwrap();
        assert_eq!(lines(&rows), lines(&expected), "{sql}");
    }
}

#[tokio::test]
async fn the_number_of_rows_is_exact_and_bounds_are_estimates() {
    use deltalake::datafusion::common::stats::Precision;
    use deltalake::datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    landed(&warehouse).await;
    let (table, snapshot) = opened(&warehouse, SOURCE).await;
    let context = session(&warehouse, 3);
    let own = provider(&table, &snapshot, None, None).unwrap();
    let at = |name: &str| own.schema().index_of(name).unwrap();
    let columns = vec![at("_load_id"), at("month"), at("_record_time")];
    let state = context.state();
    let plan = own.scan(&state, Some(&columns), &[], None).await.unwrap();
    assert_eq!(plan.properties().partitioning.partition_count(), 3);
    let statistics = StatisticsContext::new()
        .compute(plan.as_ref(), &StatisticsArgs::new())
        .unwrap();
    assert_eq!(statistics.num_rows, Precision::Exact(49));
    let of = |column: usize| &statistics.column_statistics[column];
    assert!(matches!(of(0).min_value, Precision::Inexact(_)));
    assert!(matches!(of(2).max_value, Precision::Inexact(_)));
    assert!(matches!(of(2).null_count, Precision::Inexact(n) if n > 0));
}

#[tokio::test]
async fn types_are_the_tables() {
    let place = TempWarehouse::new();
    let warehouse = place.open().await;
    landed(&warehouse).await;
    let (table, snapshot) = opened(&warehouse, SOURCE).await;
    let context = session(&warehouse, 1);
    let state = context.state();
    let type_of =
        |schema: &Schema, name: &str| schema.field_with_name(name).unwrap().data_type().clone();
    let plain = provider(&table, &snapshot, Some(&state), None)
        .unwrap()
        .schema();
    let views = provider(&table, &snapshot, None, None).unwrap().schema();
    assert_eq!(type_of(&plain, "id"), DataType::Utf8);
    assert_eq!(type_of(&views, "id"), DataType::Utf8View);
    for schema in [&plain, &views] {
        assert!(matches!(
            type_of(schema, "month"),
            DataType::Dictionary(_, _)
        ));
    }
    let names = |schema: &Schema| {
        schema
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&plain), names(&snapshot.schema()));
}
