//! Projects over sources whose pages stand in a file: any record that a test writes, through the shipped contracts and unify SQL.
//!
//! Invariant: everything but the pages is as in a real project; nothing is asked over the network.

use crate::published_rows::published_rows;
use futures::{StreamExt, stream};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;
use tillhouse_bemo::BemoConnection;
use tillhouse_extract::{Page, PageStream, Source, SourceConnection, SourceLimits};
use tillhouse_hecone::HecOneConnection;
use tillhouse_lake::{AsOf, Warehouse};
use tillhouse_model::{ReadBy, Resource, Result, Slice, Window};
use tillhouse_pace::PaceConnection;
use tillhouse_pipeline::{
    IfRunning, NoopObserver, Project, RunContext, RunReport, SourceEntry, SyncOptions, SyncRange,
    rebuild, sync,
};
use tillhouse_query::{QueryEngine, QueryEngineOptions};
use tillhouse_smartnow::SmartNowConnection;
use tillhouse_statistics::{StatisticsRequest, statistics};

/// Connection of a source whose pages stand in a file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CannedConnection<C> {
    /// The pages of every resource, as JSON.
    pages: PathBuf,
    /// Parameters of the connection.
    #[serde(default)]
    parameters: BTreeMap<String, String>,
    /// The tenants, all of whom have all records.
    #[serde(default)]
    tenants: Vec<String>,
    #[serde(skip)]
    like: PhantomData<C>,
}

impl<C: SourceConnection> SourceConnection for CannedConnection<C> {
    const SOURCE: &'static str = C::SOURCE;
    const RESOURCES: &'static [Resource] = C::RESOURCES;

    fn open(self, _: SourceLimits) -> Result<Arc<dyn Source>> {
        let text = std::fs::read_to_string(&self.pages).unwrap();
        let pages = serde_json::from_str(&text).unwrap();
        let parameters = self
            .parameters
            .into_iter()
            .map(|(name, value)| (&*name.leak(), value))
            .collect();
        let tenants = self.tenants.into_iter().map(Some).collect();
        Ok(Arc::new(CannedSource {
            name: C::SOURCE,
            resources: C::RESOURCES,
            pages,
            parameters,
            tenants,
        }))
    }
}

#[derive(Debug)]
struct CannedSource {
    name: &'static str,
    resources: &'static [Resource],
    pages: BTreeMap<String, String>,
    parameters: Vec<(&'static str, String)>,
    tenants: Vec<Option<String>>,
}

#[async_trait::async_trait]
impl Source for CannedSource {
    fn name(&self) -> &'static str {
        self.name
    }

    fn resources(&self) -> &'static [Resource] {
        self.resources
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }

    async fn tenants(&self, _: &str) -> Result<Vec<Option<String>>> {
        Ok(if self.tenants.is_empty() {
            vec![None]
        } else {
            self.tenants.clone()
        })
    }

    fn pages(&self, slice: &Slice) -> PageStream {
        let page = self.pages.get(&slice.resource).map(|text| Page {
            bytes: text.clone().into(),
            declared_total: None,
            requested_at: slice.window.to(),
            scope: Some(slice.tenant.as_deref().unwrap_or("scope").into()),
            restarts_listing: false,
            is_reread: false,
            remarks: Vec::new(),
        });
        stream::iter(page.map(Ok)).boxed()
    }

    fn asks(&self, slice: &Slice, _: ReadBy) -> Window {
        // As be-mo does, which is asked for whole days on any clock.
        let more = if self.name == "bemo" {
            jiff::SignedDuration::from_hours(48)
        } else {
            jiff::SignedDuration::ZERO
        };
        slice.window.widened(more)
    }

    fn pages_by_id(&self, _: &str, _: Vec<String>) -> PageStream {
        stream::empty().boxed()
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        self.parameters.clone()
    }
}

pub(crate) const SOURCES: &[SourceEntry] = &[
    SourceEntry::of::<CannedConnection<HecOneConnection>>(),
    SourceEntry::of::<CannedConnection<SmartNowConnection>>(),
    SourceEntry::of::<CannedConnection<BemoConnection>>(),
    SourceEntry::of::<CannedConnection<PaceConnection>>(),
];

/// Project with one canned pipeline, named like its source.
pub(crate) struct CannedProject {
    pub(crate) context: RunContext,
    source: &'static str,
    _folder: TempDir,
}

impl CannedProject {
    /// `pages` are the records of each resource; a record is JSON.
    pub(crate) async fn new(
        source: &'static str,
        pages: &[(&str, Vec<String>)],
        parameters: &str,
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        let resources = SOURCES
            .iter()
            .find(|entry| entry.name == source)
            .unwrap()
            .resources;
        let page = |name: &str, records: &[String]| {
            let resource = resources
                .iter()
                .find(|resource| resource.name == name)
                .unwrap();
            let list = format!("[{}]", records.join(","));
            resource
                .records_at
                .iter()
                .rev()
                .fold(list, |inner, key| format!(r#"{{"{key}":{inner}}}"#))
        };
        let text: BTreeMap<&str, String> = pages
            .iter()
            .map(|(name, records)| (*name, page(name, records)))
            .collect();
        std::fs::write(
            dir.join("pages.json"),
            serde_json::to_string(&text).unwrap(),
        )
        .unwrap();
        let names: Vec<&str> = pages.iter().map(|(name, _)| *name).collect();
        let pipeline = dir.join("pipelines").join(source);
        std::fs::create_dir_all(&pipeline).unwrap();
        std::fs::write(
            pipeline.join("pipeline.yaml"),
            format!(
                "source: {source}\nconnection: {{ pages: \"{}\", parameters: {{ {parameters} }} }}\nsync: {{ start: 2026-01-01, \
                 slice: 3650d }}\nresources: [{}]\n",
                dir.join("pages.json").display(),
                names.join(", ")
            ),
        )
        .unwrap();
        let key = "0123456789abcdef".repeat(4);
        std::fs::write(
            dir.join("tillhouse.yaml"),
            format!("warehouse: {{ url: ./warehouse }}\nprivacy_key: {key}\n"),
        )
        .unwrap();
        let project = Arc::new(Project::load(dir).unwrap());
        let warehouse = Warehouse::open(&project.warehouse).await.unwrap();
        let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
        let context = RunContext::new(project, warehouse, engine, Arc::new(NoopObserver));
        Self {
            context,
            source,
            _folder: folder,
        }
    }

    pub(crate) async fn sync(&self) -> RunReport {
        self.sync_within("2026-01-01T00:00:00Z", None).await
    }

    pub(crate) async fn sync_within(&self, from: &str, to: Option<&str>) -> RunReport {
        let pipelines = self.context.project.pipelines(&[], SOURCES).unwrap();
        let range = SyncRange {
            from: Some(from.parse().unwrap()),
            to: to.map(|to| to.parse().unwrap()),
        };
        let report = sync(
            &self.context,
            &pipelines,
            SyncOptions {
                range,
                ..SyncOptions::default()
            },
        )
        .await;
        let report = report.unwrap_or_else(|error| panic!("{}: {error:?}", self.source));
        assert!(report.published && !report.is_partial(), "{report:?}");
        report
    }

    pub(crate) async fn rows(&self, query: &str) -> Vec<String> {
        published_rows(&self.context, query).await
    }

    pub(crate) async fn count(&self, table: &str) -> u64 {
        self.rows(&format!("SELECT count(*) FROM {table}")).await[0]
            .parse()
            .unwrap()
    }

    /// Syncs, and sees that as many rows arrive as are expected, twice and after a rebuild; that there are roll-ups; and that statistics
    /// answer.
    pub(crate) async fn publishes(&self, tables: &[(&str, usize)]) {
        let report = self.sync().await;
        assert_eq!(report.pipelines[0].rejects, 0, "all of it is accepted");
        self.holds(tables).await;
        let session = self
            .context
            .engine
            .open(&self.context.warehouse, &AsOf::Latest)
            .await
            .unwrap();
        assert!(
            session.has_table("statistics", "levels").await.unwrap(),
            "the sales are added up"
        );
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let window = Window::new(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z")).unwrap();
        for perspective in ["sale", "purchase"] {
            let request = StatisticsRequest {
                perspective: perspective.into(),
                ..StatisticsRequest::new(window)
            };
            statistics(&session, &self.context.warehouse, &request)
                .await
                .unwrap();
        }
        drop(session);
        let again = self.sync().await;
        assert_eq!(
            (again.pipelines[0].new, again.pipelines[0].changed),
            (0, 0),
            "{again:?}"
        );
        let pipelines = self.context.project.pipelines(&[], SOURCES).unwrap();
        assert!(
            rebuild(&self.context, &pipelines, IfRunning::Fail)
                .await
                .unwrap()
                .published
        );
        self.holds(tables).await;
    }

    async fn holds(&self, tables: &[(&str, usize)]) {
        for (table, rows) in tables {
            assert_eq!(
                self.count(&format!("unified.{table}")).await,
                *rows as u64,
                "{}: unified.{table}",
                self.source
            );
        }
    }

    /// Values that did not fit: column, and number of records.
    pub(crate) async fn misfits(&self) -> BTreeMap<String, u64> {
        let sql = "SELECT field, count(*) FROM ops.warnings WHERE rule = 'derived_value_fits' AND record_key <> '' AND original <> '' GROUP BY 1";
        let rows = self.rows(sql).await;
        rows.iter()
            .filter_map(|row| row.rsplit_once(' '))
            .map(|(field, count)| (field.to_owned(), count.parse().unwrap()))
            .collect()
    }
}
