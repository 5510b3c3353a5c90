//! Number of times that a request reads a table: every fact once, whatever is asked.
//!
//! Invariant: what is counted is what the query engine asks a table for, not what the crate believes it does.

use crate::fixture::{FixturePayment, FixtureSale, FixtureTables, some, t, window};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session as Planner, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tillhouse_model::{Filter, Window};
use tillhouse_query::Session;
use tillhouse_statistics::reports::week_hours;
use tillhouse_statistics::{
    CheckedFilter, GrowthBaseline, HourGrouping, StatisticsRequest, figures,
};

/// Number of scans, by table.
type ScanCounts = Arc<Mutex<BTreeMap<String, usize>>>;

/// A table that counts its scans.
#[derive(Debug)]
struct CountingTable {
    name: String,
    inner: Arc<dyn TableProvider>,
    scans: ScanCounts,
}

#[async_trait]
impl TableProvider for CountingTable {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn table_type(&self) -> TableType {
        self.inner.table_type()
    }

    async fn scan(
        &self,
        planner: &dyn Planner,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        *self
            .scans
            .lock()
            .unwrap()
            .entry(self.name.clone())
            .or_default() += 1;
        self.inner.scan(planner, projection, filters, limit).await
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        self.inner.supports_filters_pushdown(filters)
    }
}

/// The same tables, counted.
async fn counted(house: &FixtureTables) -> (Session, ScanCounts) {
    let (session, scans) = (house.session(), ScanCounts::default());
    for name in ["transactions", "articles", "payments", "sites", "products"] {
        let path = format!("unified.{name}");
        let inner = session
            .context()
            .table_provider(path.as_str())
            .await
            .unwrap();
        session.deregister(&path).unwrap();
        let counted = CountingTable {
            name: name.to_owned(),
            inner,
            scans: Arc::clone(&scans),
        };
        session.register(&path, Arc::new(counted)).unwrap();
    }
    (session, scans)
}

#[tokio::test]
async fn a_request_scans_every_fact_once() {
    let at = [
        "2025-01-02T12:00:00Z",
        "2026-01-01T12:00:00Z",
        "2026-01-02T12:00:00Z",
    ];
    let house = FixtureTables {
        sales: at
            .iter()
            .map(|at| FixtureSale {
                site: some("p:a"),
                ..FixtureSale::new(at, 10_000)
            })
            .collect(),
        payments: (0..3)
            .map(|sale| FixturePayment::new(sale, ["x"; 5], 10_000))
            .collect(),
        sites: vec![("p:a".into(), some("Harbour"))],
        ..FixtureTables::default()
    };
    let request = || StatisticsRequest::new(window("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"));
    let filter =
        |json: &str| Some(CheckedFilter::new(&Filter::parse(json).unwrap(), "UTC", None).unwrap());
    let far = Window::new(t("2020-01-01T00:00:00Z"), t("2020-01-02T00:00:00Z")).unwrap();
    for request in [
        request(),
        StatisticsRequest {
            hours: HourGrouping::OfDay,
            ..request()
        },
        StatisticsRequest {
            compare: GrowthBaseline::LastYear,
            ..request()
        },
        StatisticsRequest {
            compare: GrowthBaseline::Window(far),
            ..request()
        },
        StatisticsRequest {
            filter: filter(r#"{"field": "site_name", "operator": "contains", "value": "harb"}"#),
            ..request()
        },
        StatisticsRequest {
            filter: filter(r#"{"field": "amount", "operator": "gt", "value": 0}"#),
            ..request()
        },
    ] {
        let (session, scans) = counted(&house).await;
        let found = figures(&session, &request).await.unwrap();
        assert_eq!(found.data[0].transactions_count.value, 1, "{request:?}");
        assert_eq!(
            found.bridge[0].collected.to_string(),
            "1.0000",
            "{request:?}"
        );
        let scans = scans.lock().unwrap().clone();
        for fact in ["transactions", "articles", "payments"] {
            assert_eq!(
                scans.get(fact),
                Some(&1),
                "{fact} for {request:?}: {scans:?}"
            );
        }
        // Its weekdays by hour are one more.
        let (session, scans) = counted(&house).await;
        let week = week_hours(&session, &request).await.unwrap();
        let counts: Vec<i64> = week.iter().map(|hour| hour.count).collect();
        assert_eq!(counts, [1], "{request:?}");
        let scans = scans.lock().unwrap().clone();
        assert_eq!(
            scans.get("transactions"),
            Some(&1),
            "{request:?}: {scans:?}"
        );
    }
}
