//! Statistics over a real warehouse: Delta tables by the real contracts, a published run, the bookkeeping's gaps and rejects.
//!
//! Invariant: what was not published does not count, neither as a sale nor as read.

use crate::fixture::{t, window};
use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::cast;
use futures::{StreamExt, TryStreamExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use tillhouse_lake::{
    AsOf, RejectRow, RunRecord, SliceRow, SupersededRecords, UnifyStep, Warehouse,
    WarehouseLocation,
};
use tillhouse_model::table::TableRole;
use tillhouse_model::{ErrorKind, TableSpec, Window, contract};
use tillhouse_query::{QueryEngine, QueryEngineOptions, Session};
use tillhouse_statistics::report::StatisticsReport;
use tillhouse_statistics::{RequestedNames, StatisticsRequest, statistics};

pub(crate) const RUN: &str = "20260110T000000Z-aaaaaa";
pub(crate) const LATER: &str = "20260111T000000Z-bbbbbb";

/// A warehouse in a temporary folder, and an engine to query it.
pub(crate) struct FixtureWarehouse {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) warehouse: Warehouse,
    pub(crate) engine: QueryEngine,
}

impl FixtureWarehouse {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().to_str().unwrap().to_owned();
        let warehouse = Warehouse::open(&WarehouseLocation::new(url)).await.unwrap();
        warehouse.prepare().await.unwrap();
        let engine = QueryEngine::new(QueryEngineOptions {
            threads: 2,
            ..QueryEngineOptions::default()
        })
        .unwrap();
        Self {
            folder,
            warehouse,
            engine,
        }
    }

    /// Puts the result of a query into a unified table; columns it does not have are null.
    async fn fill(&self, contract: &str, sql: &str, land: i64) {
        self.fill_from(
            &self.engine.empty_session().unwrap(),
            "hecone",
            contract,
            sql,
            land,
        )
        .await;
    }

    /// The same, of a query over the tables of a session.
    pub(crate) async fn fill_from(
        &self,
        session: &Session,
        pipeline: &str,
        contract: &str,
        sql: &str,
        land: i64,
    ) {
        let spec = Arc::new(contract::parse(contract, "contract").unwrap());
        let lineage =
            "'r' AS _run_id, to_timestamp_micros(0) AS _extracted_at, X'00' AS _content_hash,
                       1 AS _load_id, to_timestamp_micros(0) AS _as_of";
        let sql = format!("SELECT *, {lineage} FROM ({sql}) AS given");
        let rows = session.query(&sql).await.unwrap();
        let fitted: Vec<RecordBatch> = rows
            .map_ok(|batch| fit(&batch, &spec))
            .try_collect()
            .await
            .unwrap();
        let step = UnifyStep {
            pipeline: pipeline.into(),
            resource: "transactions".into(),
            after_load_id: land - 1,
            to_load_id: land,
            children: Vec::new(),
            run_id: RUN.into(),
        };
        let rows = futures::stream::iter(fitted.into_iter().map(Ok)).boxed();
        let table = self.warehouse.unified_table(spec.clone());
        if spec.role == TableRole::Dimension {
            table.merge(&step, rows).await.unwrap();
        } else {
            table
                .replace(&step, &SupersededRecords::default(), rows)
                .await
                .unwrap();
        }
    }

    pub(crate) async fn publish(&self, run_id: &str, finished_at: &str) {
        self.publish_of(&["hecone"], run_id, finished_at).await;
    }

    /// Publishes a run of some pipelines.
    pub(crate) async fn publish_of(&self, pipelines: &[&str], run_id: &str, finished_at: &str) {
        let mut tables = BTreeMap::new();
        for table in [
            "transactions",
            "articles",
            "payments",
            "sites",
            "devices",
            "points",
            "tenants",
        ] {
            let path = &format!("unified/{table}");
            if let Some(table) = self.warehouse.open_at(path, None).await.unwrap() {
                tables.insert(path.to_owned(), table.version.into());
            }
        }
        let run = RunRecord {
            run_id: run_id.into(),
            command: "sync".into(),
            pipelines: pipelines.iter().map(|name| (*name).into()).collect(),
            started_at: t(finished_at),
            finished_at: t(finished_at),
            outcome: "done".into(),
            published: true,
            tables,
            figures: BTreeMap::new(),
            counts: BTreeMap::new(),
            expected: BTreeMap::new(),
        };
        self.warehouse.ops().publish(&run).await.unwrap();
    }

    pub(crate) async fn session(&self) -> Session {
        self.engine
            .open(&self.warehouse, &AsOf::Latest)
            .await
            .unwrap()
    }

    pub(crate) async fn ask(&self, window: Window) -> StatisticsReport {
        statistics(
            &self.session().await,
            &self.warehouse,
            &StatisticsRequest::new(window),
        )
        .await
        .unwrap()
    }
}

pub(crate) fn fit(batch: &RecordBatch, spec: &TableSpec) -> RecordBatch {
    let schema = spec.unified_schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type()).unwrap(),
            None => new_null_array(field.data_type(), batch.num_rows()),
        })
        .collect();
    RecordBatch::try_new(schema, columns).unwrap()
}

pub(crate) const TRANSACTIONS: &str = include_str!("../../../../schemas/unified/transactions.yaml");
pub(crate) const ARTICLES: &str = include_str!("../../../../schemas/unified/articles.yaml");
pub(crate) const PAYMENTS: &str = include_str!("../../../../schemas/unified/payments.yaml");
pub(crate) const SITES: &str = include_str!("../../../../schemas/unified/sites.yaml");

/// `count` sales, one a minute from 2026-01-01, of 1.50 each, at three sites, with one article and one payment each.
fn sales(count: u32, from: u32) -> String {
    format!(
        "SELECT 'hecone:' || value AS transaction_key, 'hecone:' || value AS _record_key, 'hecone' AS pipeline,
                'hecone' AS source, CAST(value AS VARCHAR) AS transaction_id, 'north' AS tenant_id,
                'sale' AS perspective, 'sale' AS kind, 'completed' AS state, 'completed' AS transaction_state,
                to_timestamp_micros(1767225600000000 + 60000000 * value) AS occurred_at,
                to_timestamp_micros(1767225600000000 + 60000000 * value) AS _record_time,
                month_of(to_timestamp_micros(1767225600000000 + 60000000 * value)) AS month,
                1.50 AS amount, 'EUR' AS currency, 'hecone:s' || (value % 3) AS site_key,
                'hecone:' || value || ':a' AS article_key, 'hecone:' || value || ':p' AS payment_key,
                'Diesel' AS name, 'l' AS unit_measure, 0.75 AS quantity, 'PSPCard' AS type, 'Card' AS medium
         FROM range({from}, {})",
        from + count
    )
}

async fn filled(count: u32) -> FixtureWarehouse {
    let place = FixtureWarehouse::new().await;
    place.fill(TRANSACTIONS, &sales(count, 0), 1).await;
    place
        .fill(
            ARTICLES,
            &sales(count, 0).replace("'completed' AS state", "'done' AS state"),
            1,
        )
        .await;
    place
        .fill(
            PAYMENTS,
            &sales(count, 0).replace("'completed' AS state", "'collected' AS state"),
            1,
        )
        .await;
    let sites = "SELECT 'hecone:s0' AS site_key, 'Harbour' AS name, 'hecone' AS pipeline, 'hecone' AS source";
    place.fill(SITES, sites, 1).await;
    place
}

pub(crate) fn slice(from: &str, to: &str, run_id: &str) -> SliceRow {
    SliceRow {
        pipeline: "hecone".into(),
        resource: "transactions".into(),
        tenant: None,
        window: window(from, to),
        read_by: None,
        also_read_by: None,
        run_id: run_id.into(),
        read_at: t("2026-01-10T00:00:00Z"),
        records: 0,
        rejects: 0,
        declared_total: None,
        attempts: 1,
        load_id: 1,
    }
}

fn reject(key: &str, field: &str, from: &str, to: &str) -> RejectRow {
    RejectRow {
        pipeline: "hecone".into(),
        resource: "transactions".into(),
        record_key: Some(key.into()),
        field: field.into(),
        reason: "not a decimal".into(),
        redacted: "{}".into(),
        tenant: None,
        nth: 1,
        time: None,
        slice: window(from, to),
        read_by: None,
        run_id: RUN.into(),
        first_seen: t("2026-01-09T00:00:00Z"),
        last_seen: t("2026-01-09T00:00:00Z"),
        resolved_at: None,
    }
}

#[tokio::test]
async fn nothing_published_is_said_so() {
    let place = FixtureWarehouse::new().await;
    let error = place
        .engine
        .open(&place.warehouse, &AsOf::Latest)
        .await
        .err()
        .unwrap();
    assert_eq!(
        (error.kind(), error.message()),
        (ErrorKind::Query, "nothing has been published yet")
    );
    assert!(error.hint_text().unwrap().contains("tillhouse sync"));
}

#[tokio::test]
async fn a_published_run_is_counted_and_judged() {
    let place = filled(3000).await;
    let ops = place.warehouse.ops();
    let read = [
        slice("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", RUN),
        slice("2026-01-02T00:00:00Z", "2026-01-02T12:00:00Z", RUN),
        slice("2026-01-03T00:00:00Z", "2026-01-04T00:00:00Z", RUN),
        slice("2026-01-02T12:00:00Z", "2026-01-03T00:00:00Z", LATER),
    ];
    ops.record_slices(&read).await.unwrap();
    let rejects = [
        reject(
            "1",
            "invoice.amount",
            "2026-01-01T00:00:00Z",
            "2026-01-02T00:00:00Z",
        ),
        reject(
            "1",
            "invoice.tax_amount",
            "2026-01-01T00:00:00Z",
            "2026-01-02T00:00:00Z",
        ),
        reject(
            "2",
            "invoice.amount",
            "2026-01-05T00:00:00Z",
            "2026-01-06T00:00:00Z",
        ),
    ];
    ops.record_rejects(&rejects, &|_| false, t("2026-01-09T00:00:00Z"))
        .await
        .unwrap();
    place.publish(RUN, "2026-01-10T01:00:00Z").await;

    let answer = place
        .ask(window("2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"))
        .await;
    let euros = &answer.data[0];
    assert_eq!(euros.transactions_count.value, 3000);
    assert_eq!(
        euros.transactions_total_amount.value.to_string(),
        "4500.0000"
    );
    assert_eq!(euros.hourly_transactions.len(), 50);
    assert_eq!(euros.hourly_transactions[49].hour, "2026-01-03T01:00:00Z");
    assert_eq!(
        euros.payment_type_ranking[0].amount.to_string(),
        "4500.0000"
    );
    assert_eq!(euros.payment_scheme_ranking[0].payment_scheme, "unknown");
    assert_eq!(
        euros.article_quantities_ranking[0].articles_quantities[0]
            .quantity
            .to_string(),
        "2250.000000"
    );
    let names: Vec<_> = euros
        .sites_amount_ranking
        .iter()
        .map(|site| site.site_name.as_str())
        .collect();
    assert_eq!(names, ["Harbour", "unknown", "unknown"]);

    let meta = serde_json::to_value(&answer.meta).unwrap();
    assert_eq!(meta["run"], RUN);
    assert_eq!(meta["answered_from"], "facts");
    assert_eq!(meta["data_through"], "2026-01-02T12:00:00Z");
    let gap = serde_json::json!([{"pipeline": "hecone", "resource": "transactions",
        "from": "2026-01-02T12:00:00Z", "to": "2026-01-03T00:00:00Z"}]);
    assert_eq!(
        meta["gaps"], gap,
        "the slice of a later run is not in these tables"
    );
    assert_eq!(
        meta["rejects"], 1,
        "one record with two bad fields, and one of another window"
    );

    let day = place
        .ask(window("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"))
        .await;
    assert_eq!(day.data[0].transactions_count.value, 1440);
    assert_eq!(day.data[0].transactions_count.growth.unwrap().units, 0);
}

#[tokio::test]
async fn a_session_stays_with_its_run() {
    let place = filled(10).await;
    place.publish(RUN, "2026-01-10T01:00:00Z").await;
    let before = place.session().await;
    place.fill(TRANSACTIONS, &sales(10, 10), 2).await;
    let unpublished = place.session().await;
    place.publish(LATER, "2026-01-11T01:00:00Z").await;
    let after = place.session().await;
    let then = place
        .engine
        .open(&place.warehouse, &AsOf::Run(RUN.into()))
        .await
        .unwrap();
    for (session, count) in [(before, 10), (unpublished, 10), (after, 20), (then, 10)] {
        let sql = "SELECT count(*) AS n, count(site_name) AS named FROM sales";
        let batches = tillhouse_query::collect(session.query(sql).await.unwrap())
            .await
            .unwrap();
        let shown = arrow::util::pretty::pretty_format_batches(&batches)
            .unwrap()
            .to_string();
        assert!(shown.contains(&format!("| {count} ")), "{shown}");
    }
    let session = place.session().await;
    let tables = session.tables().await.unwrap();
    for (schema, table) in [
        ("unified", "sales"),
        ("unified", "payments"),
        ("ops", "runs"),
    ] {
        assert!(
            tables.contains(&(schema.into(), table.into())),
            "{schema}.{table} is not in {tables:?}"
        );
    }
    let runs =
        tillhouse_query::collect(session.query("SELECT run_id FROM ops.runs").await.unwrap())
            .await
            .unwrap();
    assert_eq!(runs.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
}

#[tokio::test]
async fn a_pipeline_that_read_nothing_is_one_gap() {
    let place = filled(1).await;
    place.publish(RUN, "2026-01-10T01:00:00Z").await;
    let answer = place
        .ask(window("2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"))
        .await;
    assert_eq!(answer.meta.data_through, None);
    assert_eq!(
        (
            answer.meta.gaps.len(),
            answer.meta.gaps[0].resource.as_str()
        ),
        (1, "*")
    );
    assert_eq!(
        answer.meta.gaps[0].window,
        window("2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z")
    );
}

#[tokio::test]
async fn a_name_that_nothing_has_is_an_error_that_offers_those_there_are() {
    let place = filled(10).await;
    place
        .warehouse
        .ops()
        .record_slices(&[SliceRow {
            tenant: Some("south".into()),
            ..slice("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", RUN)
        }])
        .await
        .unwrap();
    place.publish(RUN, "2026-01-10T01:00:00Z").await;
    let session = place.session().await;
    let asked = |tenant: Option<&'static str>, source: Option<&'static str>| {
        let session = &session;
        async move {
            let names = RequestedNames {
                tenant,
                source,
                ..RequestedNames::default()
            };
            names
                .check(session)
                .await
                .map_err(|e| format!("{e} {}", e.hint_text().unwrap_or("")))
        }
    };
    for (tenant, source) in [
        (None, None),
        (Some("north"), None),
        (Some("north"), Some("hecone")),
        (Some("south"), None),
    ] {
        assert_eq!(asked(tenant, source).await, Ok(()), "{tenant:?} {source:?}");
    }
    for (tenant, source, said) in [
        (
            Some("Nort"),
            None,
            "no tenant \"Nort\" Did you mean \"north\"?",
        ),
        (Some(""), None, "There are: \"north\", \"south\"."),
        (Some("' OR 1=1 --"), None, "There are: \"north\""),
        (
            None,
            Some("pace"),
            "nothing of source \"pace\" was ever read The pipelines that were read: hecone.",
        ),
    ] {
        let error = asked(tenant, source).await.unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    for (sites, devices, said) in [
        (
            &["hecone:999"][..],
            &[][..],
            "there is no site \"hecone:999\"",
        ),
        (&[][..], &["x"][..], "there is no device \"x\""),
    ] {
        let own = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let (sites, devices) = (own(sites), own(devices));
        let names = RequestedNames {
            sites: &sites,
            devices: &devices,
            ..RequestedNames::default()
        };
        let error = names.check(&session).await.unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}
