//! The largest and smallest values that each source's contract accepts, through every statement to the published tables.
//!
//! Invariant: nothing that was accepted stops a run. Whatever the amounts, quantities, rates and times of a record, its rows arrive, a derived
//! value that fits no column is null and told with its record, and roll-ups, statistics and a rebuild work.

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
use tillhouse_model::reconcile::ReconcileAgainst;
use tillhouse_model::{ReadBy, Resource, Result, Slice, Window};
use tillhouse_pace::PaceConnection;
use tillhouse_pipeline::{
    IfRunning, NoopObserver, Project, ReconcileRequest, RunContext, RunReport, SourceEntry,
    SyncOptions, SyncRange, rebuild, reconcile, sync,
};
use tillhouse_query::{QueryEngine, QueryEngineOptions};
use tillhouse_smartnow::SmartNowConnection;
use tillhouse_statistics::{StatisticsRequest, statistics};

/// The largest amount, quantity and whole number, and the first and last times there are.
const MOST: &str = "99999999999999.9999";
const MANY: &str = "999999999999.999999";
const WHOLE: &str = "9223372036854775807";
const FIRST: &str = "1678-01-01T00:00:00Z";
const EARLY: &str = "1753-01-01T23:59:59.999999Z";
const NOW: &str = "2026-01-01T12:30:00Z";
const LATE: &str = "2261-12-31T23:59:59.999999Z";
const TIMES: [&str; 4] = [FIRST, EARLY, NOW, LATE];

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

    async fn sync(&self) -> RunReport {
        self.sync_within("2026-01-01T00:00:00Z", None).await
    }

    async fn sync_within(&self, from: &str, to: Option<&str>) -> RunReport {
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

    async fn count(&self, table: &str) -> u64 {
        self.rows(&format!("SELECT count(*) FROM {table}")).await[0]
            .parse()
            .unwrap()
    }

    /// Syncs, and sees that as many rows arrive as are expected, twice and after a rebuild; that there are roll-ups; and that statistics
    /// answer.
    async fn publishes(&self, tables: &[(&str, usize)]) {
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
            session
                .has_table("statistics", "hourly_transactions")
                .await
                .unwrap(),
            "the hours are added up"
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
    async fn misfits(&self) -> BTreeMap<String, u64> {
        let sql = "SELECT field, count(*) FROM ops.warnings WHERE rule = 'derived_value_fits' AND record_key <> '' AND original <> '' GROUP BY 1";
        let rows = self.rows(sql).await;
        rows.iter()
            .filter_map(|row| row.rsplit_once(' '))
            .map(|(field, count)| (field.to_owned(), count.parse().unwrap()))
            .collect()
    }
}

/// Every pair of two lists.
fn pairs<'a>(first: &[&'a str], second: &[&'a str]) -> Vec<(&'a str, &'a str)> {
    first
        .iter()
        .flat_map(|a| second.iter().map(move |b| (*a, *b)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hecones_extremes_arrive() {
    let (minus, less) = (format!("-{MOST}"), format!("-{MANY}"));
    let amounts = [MOST, &minus, "0", "null"];
    let mut records = Vec::new();
    for (at, time) in TIMES.iter().enumerate() {
        for (nth, (amount, tax)) in pairs(&amounts, &amounts).into_iter().enumerate() {
            let article = |quantity: &str, price: &str| {
                format!(
                    r#"{{"id":"a{quantity}","product_id":"p{nth}","category":"charging","state":"done","start_time":"{time}","end_time":"{LATE}","unit_price":{price},"amount":{amount},"tax_percentage":99999.9999,"tax_amount":{tax},"quantity":{quantity},"free_quantity":{quantity},"max_quantity":{quantity},"max_amount":{amount},"name":"x","unit_measure":"l","currency":"EUR","log":[{{"code":-{WHOLE},"timestamp":"{time}"}}]}}"#
                )
            };
            let payment = format!(
                r#"{{"state":"collected","created_at":"{time}","amount":{amount},"reserved_amount":{tax},"currency":"eur"}}"#
            );
            records.push(format!(
                r#"{{"id":"{at}-{nth}","mandator_id":"m","state":"completed","site_id":"s","site":{{"name":"S","timezone":"Pacific/Kiritimati"}},"point_id":"p","point":{{"number":{WHOLE}}},
                "invoice":{{"amount":{amount},"paid_amount":{amount},"tax_amount":{tax},"currency":"EUR","created_at":"{time}"}},
                "articles":[{},{}],"payments":[{payment},{payment},{payment}],
                "customer_data":{{"odometer":999999999999999.999}},"log":[{{"code":{WHOLE},"timestamp":"{time}"}}]}}"#,
                article(MANY, MANY), article(&less, MANY),
            ));
        }
    }
    let count = records.len();
    let bench = CannedProject::new("hecone", &[("transactions", records)], "").await;
    bench
        .publishes(&[
            ("transactions", count),
            ("articles", 2 * count),
            ("payments", 3 * count),
            ("events", 3 * count),
        ])
        .await;
    // Of sixteen pairs two leave the largest amount: a charge and a refund whose tax has the other sign.
    let expected = BTreeMap::from([(
        "unified.transactions.net_amount".to_owned(),
        2 * TIMES.len() as u64,
    )]);
    assert_eq!(bench.misfits().await, expected);
    let shown = "SELECT record_key, field, rule, original FROM ops.warnings WHERE rule = 'derived_value_fits' AND record_key = '2-1'";
    assert_eq!(
        bench.rows(shown).await,
        ["2-1 unified.transactions.net_amount derived_value_fits 199999999999999.9998"]
    );
    // Whatever time was accepted, the engine's own functions work on it.
    let months = "SELECT date_trunc('month', occurred_at) AS m, date_bin(INTERVAL '1 day', ended_at), count(*) FROM unified.transactions GROUP BY ALL";
    assert_eq!(
        bench
            .rows(&format!("SELECT count(*) FROM ({months})"))
            .await,
        [TIMES.len().to_string()]
    );
    let row = "SELECT amount, tax_amount, net_amount FROM unified.transactions WHERE transaction_id = '2-1'";
    assert_eq!(bench.rows(row).await, [format!("{MOST} -{MOST}")]);
    let states = "SELECT DISTINCT state, state_derived FROM unified.transactions WHERE amount > 0";
    assert_eq!(bench.rows(states).await, ["completed completed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn paces_extremes_arrive() {
    let minus = format!("-{MOST}");
    let amounts = [MOST, &minus, "null"];
    let degrees = "999.99999999999999999";
    let mut records = Vec::new();
    for (at, time) in TIMES.iter().enumerate() {
        for (nth, (gross, net)) in pairs(&amounts, &amounts).into_iter().enumerate() {
            let sign = if nth % 2 == 0 { "" } else { "-" };
            records.push(format!(
                r#"{{"type":"transaction","id":"{at}-{nth}","attributes":{{"createdAt":"{time}","createdAtLocaltime":"9999-12-31T23:59:59","updatedAt":"{time}",
                "priceIncludingVAT":{gross},"priceWithoutVAT":{net},"priceIncludingVATBeforeDiscount":{net},"discountAmount":{gross},"currency":"JPY",
                "VAT":{{"amount":{net},"rate":{sign}999.999999}},"mileage":{sign}{WHOLE},
                "fuel":{{"pumpNumber":{WHOLE},"unit":"liter","pricePerUnit":{MANY},"amount":{sign}{MANY},"type":"ron98"}},
                "location":{{"latitude":{sign}{degrees},"longitude":{degrees},"brand":"B","address":{{"city":"{nth}"}}}}}}}}"#
            ));
        }
    }
    let count = records.len();
    let bench = CannedProject::new("pace", &[("transactions", records)], "").await;
    bench
        .publishes(&[
            ("transactions", count),
            ("articles", count),
            ("payments", count),
            ("sites", 9),
        ])
        .await;
    let misfits = bench.misfits().await;
    assert_eq!(
        misfits.get("unified.transactions.odometer_km"),
        Some(&(count as u64)),
        "{misfits:?}"
    );
    assert!(
        misfits.contains_key("unified.sites.latitude")
            && misfits.contains_key("unified.sites.longitude"),
        "{misfits:?}"
    );
    assert_eq!(
        misfits
            .keys()
            .filter(|field| !field.starts_with("unified.sites."))
            .count(),
        1,
        "{misfits:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bemos_extremes_arrive() {
    let minus = format!("-{MOST}");
    let degrees = "999.99999999999999999";
    let mut records = Vec::new();
    for (at, time) in TIMES.iter().enumerate() {
        for (nth, (one, other)) in pairs(&[MOST, &minus, "null"], &[MOST, &minus])
            .into_iter()
            .enumerate()
        {
            let line = |amount: &str, currency: &str| {
                format!(
                    r#"{{"transactionDate":"{time}","productCategory":"Fueling","productFamily":"Diesel","productCode":"B7","quantity":-{MANY},"quantityUnit":"L","unitPrice":{MANY},"totalAmount":{amount},"currencyKey":{currency}}}"#
                )
            };
            records.push(format!(
                r#"{{"sessionId":"{at}-{nth}","sessionStartDate":"{time}","sessionEndDate":"{LATE}","timeZone":"+14:00","placeId":"{nth}","placeNetwork":"N","latitude":-{degrees},"longitude":{degrees},"transactions":[{},{},{},{}]}}"#,
                line(one, r#""EUR""#), line(other, r#""eur""#), line(other, r#"" EUR""#), line(one, "null")
            ));
        }
    }
    let count = records.len();
    let bench = CannedProject::new("bemo", &[("sessions", records)], "").await;
    bench
        .publishes(&[
            ("transactions", 2 * count),
            ("articles", 4 * count),
            ("payments", 2 * count),
            ("sites", 6),
        ])
        .await;
    let misfits = bench.misfits().await;
    // Sums of three, and of two where one is null; the account pays what it is charged.
    for column in [
        "transactions.amount",
        "transactions.paid_amount",
        "payments.amount",
    ] {
        assert_eq!(
            misfits.get(&format!("unified.{column}")),
            Some(&(4 * TIMES.len() as u64)),
            "{misfits:?}"
        );
    }
    let kinds = "SELECT kind, count(*) FROM unified.transactions WHERE currency = 'EUR' AND amount IS NULL GROUP BY 1 ORDER BY 1";
    assert_eq!(
        bench.rows(kinds).await,
        ["refund 8", "sale 8"],
        "the kind is that of the sum, whether it fits or not"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn smartnows_extremes_arrive() {
    for unit in ["minor", "major"] {
        let minus = format!("-{MOST}");
        let (mut sales, mut payments, mut logs) = (Vec::new(), Vec::new(), Vec::new());
        for (at, time) in TIMES.iter().enumerate() {
            for (nth, (price, currency)) in pairs(
                &[MOST, &minus, "0", "null"],
                &[r#""EUR""#, r#""jpy""#, r#""KWD""#, "null", r#""???""#],
            )
            .into_iter()
            .enumerate()
            {
                let id = at * 100 + nth + 1;
                sales.push(format!(
                    r#"{{"id":{id},"product":{WHOLE},"name":"x","machine":-{WHOLE},"location":{WHOLE},"occurredAt":"{time}","timeZone":"Pacific/Niue","originalPrice":{MOST},"price":{price},"currency":{currency},"remote":{WHOLE},"usergroup":-{WHOLE},"createdAt":"{time}","updatedAt":"{time}"}}"#
                ));
                for part in 0..3 {
                    payments.push(format!(
                        r#"{{"id":{},"revenuetransaction":{id},"occurredAt":"{time}","method":"card","type":"card","price":{price},"currency":{currency},"exclude":0,"createdAt":"{time}","updatedAt":"{time}"}}"#,
                        id * 10 + part
                    ));
                }
            }
            logs.push(format!(
                r#"{{"id":{at},"machine":1,"location":1,"code":"c","occurredAt":"{time}","resolvedAt":"2261-12-31 23:59:59","createdAt":"{time}","duration":999999999999999.999}}"#
            ));
        }
        let voucher = |id: &str, currency: &str, amount: &str| {
            format!(
                r#"{{"id":"{id}","campaign":{WHOLE},"type":"single","value":{amount},"valueType":"cents","currency":{currency},"initialValue":{amount},"balance":{amount},"amountRedeemed":{amount},"totalAmountRedeemed":{amount},"expiresOn":"9999-12-31T23:59:59Z","timeZone":"UTC","createdAt":"{FIRST}","updatedAt":"{LATE}"}}"#
            )
        };
        let vouchers = vec![
            voucher("a", r#""JPY""#, MOST),
            voucher("b", "null", &minus),
            voucher("c", r#""EUR""#, &minus),
        ];
        let locations = vec![format!(
            r#"{{"id":1,"name":"L","latitude":999999.999999999999,"longitude":-999999.999999999999,"timeZone":"UTC"}}"#
        )];
        let products = vec![format!(
            r#"{{"id":1,"machine":-{WHOLE},"plu":{WHOLE},"name":"x","vatrate":100}}"#
        )];
        let count = sales.len();
        let pages = [
            ("revenue_transactions", sales),
            ("payment_transactions", payments),
            ("logs", logs),
            ("vouchers", vouchers),
            ("locations", locations),
            ("products", products),
        ];
        let bench = CannedProject::new(
            "smartnow",
            &pages,
            &format!("price_unit: {unit}, vat_rate: percent, sales_types: \"\""),
        )
        .await;
        bench
            .publishes(&[
                ("transactions", count),
                ("articles", count),
                ("payments", 3 * count),
                ("events", TIMES.len()),
                ("vouchers", 3),
                ("sites", 1),
            ])
            .await;
        let misfits = bench.misfits().await;
        for column in [
            "unified.articles.unit_price",
            "unified.sites.latitude",
            "unified.transactions.paid_amount",
        ] {
            assert!(misfits.contains_key(column), "{unit}: {misfits:?}");
        }
        let expired = "SELECT DISTINCT expires_on FROM unified.vouchers";
        assert_eq!(bench.rows(expired).await, ["9999-12-31"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projects_own_sql_that_fails_for_a_record_costs_that_value() {
    let record = |id: &str, price: &str| {
        format!(
            r#"{{"id":"{id}","attributes":{{"createdAt":"{NOW}","priceIncludingVAT":{price},"currency":"EUR"}}}}"#
        )
    };
    let records = vec![
        record("fine", "2"),
        record("nought", "1"),
        record("huge", MOST),
        record("none", "null"),
    ];
    let bench = CannedProject::new("pace", &[("transactions", records)], "").await;
    let folder = bench.context.project.dir.join("pipelines/pace/unify");
    std::fs::create_dir_all(&folder).unwrap();
    let built_in = crate::source_files::text(
        &crate::source_files::root().join("pipelines/pace/unify/transactions.sql"),
    );
    let (price, own) = (
        "t.a['discount_amount']",
        "CAST(10 / (PRICE - 1) + PRICE * PRICE AS DECIMAL(18, 4))",
    );
    let own = own.replace("PRICE", "t.a['price_including_vat']");
    assert_eq!(built_in.matches(price).count(), 1);
    std::fs::write(
        folder.join("transactions.sql"),
        built_in.replace(price, &own),
    )
    .unwrap();
    bench
        .publishes(&[("transactions", 4), ("articles", 4), ("payments", 4)])
        .await;
    let rows =
        "SELECT transaction_id, amount, discount_amount FROM unified.transactions ORDER BY 1";
    let expected = [
        "fine 2.0000 14.0000".to_owned(),
        format!("huge {MOST}"),
        "none".to_owned(),
        "nought 1.0000".to_owned(),
    ];
    assert_eq!(bench.rows(rows).await, expected);
    let told =
        "SELECT record_key, field FROM ops.warnings WHERE rule = 'derived_value_fits' ORDER BY 1";
    let field = "unified.transactions.discount_amount";
    assert_eq!(
        bench.rows(told).await,
        [format!("huge {field}"), format!("nought {field}")]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_unified_by_itself_is_told_before_anything_is_read() {
    let parameters = "price_unit: minor, vat_rate: percent, sales_types: \"\"";
    let alone =
        CannedProject::new("smartnow", &[("revenue_transactions", vec![])], parameters).await;
    let pipelines = alone.context.project.pipelines(&[], SOURCES).unwrap();
    let range = SyncRange {
        from: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        to: None,
    };
    let error = sync(
        &alone.context,
        &pipelines,
        SyncOptions {
            range,
            ..SyncOptions::default()
        },
    )
    .await
    .unwrap_err();
    assert_eq!(error.kind(), tillhouse_model::ErrorKind::Config);
    assert!(
        error
            .message()
            .contains("revenue_transactions cannot be unified without payment_transactions"),
        "{error}"
    );
    assert!(
        error
            .hint_text()
            .unwrap()
            .contains("Add payment_transactions"),
        "{error:?}"
    );
    // The same the other way round: payments would land, and be in no unified table.
    for pages in [
        vec![("payment_transactions", vec![])],
        vec![("machines", vec![]), ("payment_transactions", vec![])],
    ] {
        let orphaned = CannedProject::new("smartnow", &pages, parameters).await;
        let pipelines = orphaned.context.project.pipelines(&[], SOURCES).unwrap();
        let error = sync(
            &orphaned.context,
            &pipelines,
            SyncOptions {
                range,
                ..SyncOptions::default()
            },
        )
        .await
        .unwrap_err();
        assert_eq!(error.kind(), tillhouse_model::ErrorKind::Config);
        let wanted = "payment_transactions cannot be unified without revenue_transactions";
        assert!(error.message().contains(wanted), "{error}");
        assert!(
            error
                .hint_text()
                .unwrap()
                .contains("Add revenue_transactions"),
            "{error:?}"
        );
    }
    // What is only looked up may be left out, and what no statement names is read for its own sake.
    CannedProject::new(
        "smartnow",
        &[("products", vec![]), ("campaigns", vec![])],
        parameters,
    )
    .await
    .sync()
    .await;
    let pages = [
        ("revenue_transactions", vec![]),
        ("payment_transactions", vec![]),
    ];
    CannedProject::new("smartnow", &pages, parameters)
        .await
        .sync()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_for_two_tenants_belongs_to_the_first_of_them_and_stays_as_it_is() {
    let session = |id: &str| {
        format!(
            r#"{{"sessionId":"{id}","sessionStartDate":"{NOW}","timeZone":"+01:00","transactions":[{{"currencyKey":"EUR","totalAmount":1.5}}]}}"#
        )
    };
    let sale = |id: &str| {
        format!(
            r#"{{"id":"{id}","attributes":{{"createdAt":"{NOW}","priceIncludingVAT":1.5,"currency":"EUR"}}}}"#
        )
    };
    let sources = [
        ("bemo", "sessions", ["x", "y"].map(session), "account_id"),
        ("pace", "transactions", ["x", "y"].map(sale), "partner"),
    ];
    for (source, resource, records, column) in sources {
        let bench = CannedProject::new(source, &[(resource, records.to_vec())], "").await;
        let file = bench
            .context
            .project
            .dir
            .join("pipelines")
            .join(source)
            .join("pipeline.yaml");
        let text = std::fs::read_to_string(&file).unwrap();
        let order = async |tenants: &str| {
            std::fs::write(
                &file,
                text.replace(
                    "connection: { ",
                    &format!("connection: {{ tenants: [{tenants}], "),
                ),
            )
            .unwrap();
        };
        let owners = "SELECT DISTINCT tenant_id, count(*) FROM unified.transactions GROUP BY 1";
        order("second, first").await;
        for new in [2, 0, 0] {
            let report = bench.sync().await;
            assert_eq!(
                (report.pipelines[0].new, report.pipelines[0].changed),
                (new, 0),
                "{report:?}"
            );
            assert!(report.pipelines[0].warnings >= 2, "{report:?}");
            assert_eq!(bench.rows(owners).await, ["second 2"]);
        }
        let warned = "SELECT record_key, field, original FROM ops.warnings WHERE rule = 'listed_elsewhere' ORDER BY 1";
        assert_eq!(
            bench.rows(warned).await,
            [format!("x {column} first"), format!("y {column} first")]
        );
        // Whoever is configured first now has them, once.
        order("first, second").await;
        for changed in [2, 0] {
            assert_eq!(bench.sync().await.pipelines[0].changed, changed);
            assert_eq!(bench.rows(owners).await, ["first 2"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_without_a_key_that_does_not_fit_is_counted_once() {
    let good = format!(
        r#"{{"id":"fine","attributes":{{"createdAt":"{NOW}","priceIncludingVAT":2,"currency":"EUR"}}}}"#
    );
    let records: Vec<String> = [&*good, "null", "null", "null", "5", "5", "[]"]
        .map(str::to_owned)
        .into();
    let bench = CannedProject::new("pace", &[("transactions", records)], "").await;
    for _ in 0..2 {
        let report = bench.sync().await;
        assert_eq!(
            (report.pipelines[0].records, report.pipelines[0].rejects),
            (7, 6),
            "{report:?}"
        );
        assert_eq!(
            bench
                .rows("SELECT count(*) FROM ops.rejects WHERE resolved_at IS NULL")
                .await,
            ["6"]
        );
        let session = bench
            .context
            .engine
            .open(&bench.context.warehouse, &AsOf::Latest)
            .await
            .unwrap();
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let window = Window::new(at("2026-01-01T00:00:00Z"), at("2026-01-02T00:00:00Z")).unwrap();
        let answer = statistics(
            &session,
            &bench.context.warehouse,
            &StatisticsRequest::new(window),
        )
        .await
        .unwrap();
        assert_eq!(answer.meta.rejects, 6);
    }
    // The newest reading counts: four of them are gone.
    let file = bench.context.project.dir.join("pages.json");
    let fewer = std::fs::read_to_string(&file)
        .unwrap()
        .replace("null,null,null,5,5", "null,5");
    std::fs::write(&file, fewer).unwrap();
    assert_eq!(bench.sync().await.pipelines[0].rejects, 3);
    assert_eq!(
        bench
            .rows("SELECT count(*) FROM ops.rejects WHERE resolved_at IS NULL")
            .await,
        ["3"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_windows_side_by_side_both_have_is_counted_once_and_closed_where_it_lies() {
    let session = |id: &str, start: &str| {
        format!(
            r#"{{"sessionId":"{id}","sessionStartDate":"{start}","timeZone":"+00:00","transactions":[{{"currencyKey":"EUR","totalAmount":1.5}}]}}"#
        )
    };
    let (noon, evening) = ("2026-01-01T12:30:00Z", "2026-01-01T20:00:00Z");
    let records = vec![
        session("fine", noon),
        session("", noon),
        session("", evening),
        "null".into(),
        "null".into(),
    ];
    let bench = CannedProject::new("bemo", &[("sessions", records)], "").await;
    let rejected = async |from: &str| {
        // The 1st, and the 2nd beside it: each is given what the other has.
        let mut counts = Vec::new();
        for (from, to) in [
            (from, "2026-01-02T00:00:00Z"),
            ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
        ] {
            let report = bench.sync_within(from, Some(to)).await;
            counts.push((report.pipelines[0].rejects, report.pipelines[0].records));
        }
        let open = "SELECT count(*), count(record_time) FROM ops.rejects WHERE resolved_at IS NULL";
        (counts, bench.rows(open).await.remove(0))
    };
    assert_eq!(
        rejected("2026-01-01T00:00:00Z").await,
        (vec![(4, 5), (4, 5)], "4 2".to_owned())
    );
    // The look-back's start moves by seconds: they are the same ones, and each lies in the day in which it happened.
    assert_eq!(
        rejected("2026-01-01T00:00:05Z").await,
        (vec![(4, 5), (4, 5)], "4 2".to_owned())
    );
    let days =
        "SELECT DISTINCT CAST(window_to AS date) FROM ops.rejects WHERE record_time IS NOT NULL";
    assert_eq!(bench.rows(days).await, ["2026-01-02"]);
    // Mended is closed by the next reading of where it lies, whatever seconds that begins later; the other one still comes, and stays.
    let file = bench.context.project.dir.join("pages.json");
    let pages = std::fs::read_to_string(&file).unwrap();
    let mended = |nth: usize| {
        let at = pages
            .match_indices(r#"\"sessionId\":\"\""#)
            .nth(nth)
            .unwrap()
            .0;
        format!(
            r#"{}\"sessionId\":\"mended\"{}"#,
            &pages[..at],
            &pages[at + r#"\"sessionId\":\"\""#.len()..]
        )
    };
    std::fs::write(&file, mended(0)).unwrap();
    assert_eq!(
        rejected("2026-01-01T00:00:09Z").await,
        (vec![(3, 5), (3, 5)], "3 1".to_owned())
    );
    let left = "SELECT CAST(record_time AS text) FROM ops.rejects WHERE resolved_at IS NULL AND record_time IS NOT NULL";
    assert!(bench.rows(left).await[0].contains("20:00"));
    // What is no longer read is not closed for that.
    std::fs::write(
        &file,
        mended(0)
            .replace(",null,null", "")
            .replace(r#"\"sessionId\":\"\""#, r#"\"sessionId\":\"z\""#),
    )
    .unwrap();
    bench
        .sync_within("2026-01-01T21:00:00Z", Some("2026-01-02T00:00:00Z"))
        .await;
    assert!(bench.rows(left).await[0].contains("20:00"));
    assert_eq!(
        rejected("2026-01-01T00:00:00Z").await,
        (vec![(0, 3), (0, 3)], "0 0".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_does_not_fit_is_left_out_of_a_comparison_once() {
    let session = |id: &str, start: &str| {
        format!(
            r#"{{"sessionId":"{id}","sessionStartDate":"{start}","timeZone":"+01:00","transactions":[{{"currencyKey":"EUR","totalAmount":1.5}}]}}"#
        )
    };
    // Every window asked for has all of them, as that of an API that is asked for the days around.
    let fine = session("fine", "2026-01-02T12:30:00Z");
    for (records, rejected) in [
        (vec![fine.clone(), session("broken", "on Friday")], 1),
        (
            vec![
                fine.clone(),
                session("broken", "on Friday"),
                session("other", "on Monday"),
                "null".into(),
                "null".into(),
            ],
            4,
        ),
        (vec![fine.clone()], 0),
    ] {
        let bench = CannedProject::new("bemo", &[("sessions", records)], "").await;
        assert_eq!(bench.sync().await.pipelines[0].rejects, rejected);
        let pipelines = bench.context.project.pipelines(&[], SOURCES).unwrap();
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let asked = ReconcileRequest {
            window: Window::new(at("2026-01-01T00:00:00Z"), at("2026-01-05T00:00:00Z")).unwrap(),
            step: jiff::SignedDuration::from_hours(24),
            states: vec!["completed".to_owned()],
            against: Some(ReconcileAgainst::Records),
            control: None,
            timezone: None,
            max_transactions: 20,
            filter: None,
        };
        let done = reconcile(&bench.context, &pipelines, &asked).await.unwrap();
        let outcome = &done.pipelines[0];
        assert_eq!(
            (outcome.windows, outcome.not_compared),
            (4, rejected),
            "{outcome:?}"
        );
        assert!(outcome.differences.is_empty(), "{outcome:?}");
        let told: Vec<&String> = outcome
            .notes
            .iter()
            .filter(|note| note.contains("were not compared"))
            .collect();
        assert_eq!(told.len() as u64, rejected.min(1), "{told:?}");
        assert!(
            told.iter()
                .all(|note| note.contains(&format!(": {rejected} records"))),
            "{told:?}"
        );
    }
}
