//! SmartNow's thirty-one resources from the emulated API into the unified tables, synced again as time goes on.
//!
//! Invariant: what has to come out is computed here by plain loops over the records' own text; the site's day and hour are those that
//! `occurredAt` is written with.

use arrow::util::display::{ArrayFormatter, FormatOptions};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tillhouse_lake::{AsOf, Warehouse};
use tillhouse_model::Secret;
use tillhouse_pipeline::{
    IfRunning, NoopObserver, Pipeline, Project, RunContext, SourceEntry, SyncOptions, SyncRange,
    rebuild, sync,
};
use tillhouse_query::{QueryEngine, QueryEngineOptions, collect};
use tillhouse_sandbox::{RecordSelection, Sandbox, SandboxOptions};
use tillhouse_smartnow::SmartNowConnection;

const SOURCES: &[SourceEntry] = &[SourceEntry::of::<SmartNowConnection>()];
const DAY: Duration = Duration::from_secs(86_400);

/// A project as `init` makes it, with long slices and nothing to wait for.
fn project(dir: &Path, sandbox: &Sandbox) -> Project {
    tillhouse_pipeline::init(
        dir,
        &["smartnow".to_owned()],
        SOURCES,
        &Secret::new("00".repeat(32)),
    )
    .unwrap();
    let env = dir.join(".env");
    let values = std::fs::read_to_string(&env).unwrap();
    let url = sandbox.url_of("smartnow");
    let more = format!(
        "SMARTNOW_URL={url}\nSMARTNOW_USERNAME=sandbox\nSMARTNOW_PASSWORD=sandbox-secret\n"
    );
    std::fs::write(&env, values + &more).unwrap();
    let file = dir.join("pipelines/smartnow/pipeline.yaml");
    let mut text = std::fs::read_to_string(&file).unwrap();
    for (from, to) in [
        ("start: 2024-01-01", "start: 2024-06-01"),
        ("slice: 1d ", "slice: 3650d "),
        ("rate_limit: 10/s", "rate_limit: 10000/s"),
    ] {
        assert!(text.contains(from), "the template has {from}");
        text = text.replacen(from, to, 1);
    }
    std::fs::write(&file, text).unwrap();
    Project::load(dir).unwrap()
}

struct SmartNowProject {
    _folder: tempfile::TempDir,
    sandbox: Sandbox,
    context: RunContext,
    pipelines: Vec<Pipeline>,
}

impl SmartNowProject {
    async fn new(options: SandboxOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sandbox = Sandbox::start(options).await.unwrap();
        let project = Arc::new(project(folder.path(), &sandbox));
        let pipelines = project.pipelines(&[], SOURCES).unwrap();
        let warehouse = Warehouse::open(&project.warehouse).await.unwrap();
        let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
        let context = RunContext::new(project, warehouse, engine, Arc::new(NoopObserver));
        Self {
            _folder: folder,
            sandbox,
            context,
            pipelines,
        }
    }

    /// Reads every window again: the sandbox's clock is not this machine's.
    async fn sync(&self) {
        let range = SyncRange {
            from: None,
            to: Some("2026-02-01T00:00:00Z".parse().unwrap()),
        };
        let report = sync(
            &self.context,
            &self.pipelines,
            SyncOptions {
                range,
                ..SyncOptions::default()
            },
        )
        .await
        .unwrap();
        let of = &report.pipelines[0];
        assert!(report.published && of.failed.is_empty(), "{report:?}");
        assert_eq!(of.rejects, 0, "{report:?}");
        // Every warning told stands in the table: as a row of this run, or of an earlier one that told the same.
        let told = "SELECT rule, record_key FROM ops.warnings";
        let all = self.rows(told).await.len() as u64;
        let new = self
            .rows(&format!("{told} WHERE run_id = '{}'", report.run))
            .await
            .len() as u64;
        assert!(
            (new..=all).contains(&of.warnings),
            "{new} new of {all}: {report:?}"
        );
    }

    fn truth(&self, resource: &str) -> Vec<Value> {
        let records = self
            .sandbox
            .truth_of("smartnow", &RecordSelection::of(resource))
            .unwrap();
        records
            .iter()
            .map(|record| serde_json::from_slice(record).unwrap())
            .collect()
    }

    /// The rows of a query, as texts, sorted.
    async fn rows(&self, sql: &str) -> Vec<Vec<String>> {
        let session = self
            .context
            .engine
            .open(&self.context.warehouse, &AsOf::Latest)
            .await
            .unwrap();
        let batches = collect(session.query(sql).await.unwrap()).await.unwrap();
        let options = FormatOptions::default().with_null("-");
        let mut rows = Vec::new();
        for batch in &batches {
            let columns: Vec<_> = batch
                .columns()
                .iter()
                .map(|column| ArrayFormatter::try_new(column, &options).unwrap())
                .collect();
            rows.extend((0..batch.num_rows()).map(|row| {
                columns
                    .iter()
                    .map(|column| column.value(row).to_string())
                    .collect::<Vec<_>>()
            }));
        }
        rows.sort_unstable();
        rows
    }

    async fn assert_same(&self, what: &str, sql: &str, mut expected: Vec<Vec<String>>) {
        expected.sort_unstable();
        let found = self.rows(sql).await;
        assert_eq!(found.len(), expected.len(), "{what}: {sql}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found, expected, "{what}: {sql}");
        }
    }

    /// Compares everything that is unified with what the sandbox holds now.
    async fn assert_unified(&self, what: &str) {
        let sales = self.truth("revenue_transactions");
        let payments = self.truth("payment_transactions");
        let mut paid: BTreeMap<i64, i64> = BTreeMap::new();
        for payment in &payments {
            *paid
                .entry(whole(&payment["revenuetransaction"]))
                .or_default() += whole(&payment["price"]);
        }
        let state = |sale: &Value| {
            let covered =
                paid.get(&whole(&sale["id"])).copied().unwrap_or(0) >= whole(&sale["price"]);
            if covered { "completed" } else { "consumed" }.to_owned()
        };
        let kind = |sale: &Value| match whole(&sale["price"]) {
            0 => "free".to_owned(),
            price if price < 0 => "refund".to_owned(),
            _ => "sale".to_owned(),
        };
        let local = |sale: &Value| {
            let clock = sale["occurredAt"].as_str().unwrap();
            (
                clock[..10].to_owned(),
                clock[11..13].parse::<u8>().unwrap().to_string(),
            )
        };
        let transactions = sales.iter().map(|sale| {
            let (day, hour) = local(sale);
            vec![
                key(&sale["id"]),
                kind(sale),
                state(sale),
                money(&sale["price"], &sale["currency"]),
                text(&sale["currency"]),
                key(&sale["location"]),
                key(&sale["machine"]),
                text(&sale["usergroup"]),
                day,
                hour,
            ]
        });
        let columns = "kind, state, amount, currency, site_key, device_key, tenant_id, business_date, local_hour";
        self.assert_same(
            what,
            &format!("SELECT transaction_key, {columns} FROM unified.transactions"),
            transactions.collect(),
        )
        .await;
        let articles = sales.iter().map(|sale| {
            let product = format!("{}/{}", key(&sale["machine"]), text(&sale["product"]));
            vec![
                format!("{}/1", key(&sale["id"])),
                product,
                text(&sale["name"]),
                money(&sale["price"], &sale["currency"]),
                state(sale),
            ]
        });
        let columns = "product_key, name, amount, transaction_state";
        self.assert_same(
            what,
            &format!("SELECT article_key, {columns} FROM unified.articles"),
            articles.collect(),
        )
        .await;

        let by_id: BTreeMap<i64, &Value> = sales
            .iter()
            .map(|sale| (whole(&sale["id"]), sale))
            .collect();
        let payments = payments.iter().filter_map(|payment| {
            let sale = by_id.get(&whole(&payment["revenuetransaction"]))?;
            Some(vec![
                format!("{}/{}", key(&sale["id"]), text(&payment["id"])),
                common(&text(&payment["method"])),
                common(&text(&payment["type"])),
                money(&payment["price"], &payment["currency"]),
                (whole(&payment["exclude"]) != 0).to_string(),
                text(&payment["reportGroup"]),
                state(sale),
            ])
        });
        let columns = "medium, type, amount, excluded, report_group, transaction_state";
        self.assert_same(
            what,
            &format!("SELECT payment_key, {columns} FROM unified.payments"),
            payments.collect(),
        )
        .await;

        let logs = self.truth("logs");
        let events = logs.iter().map(|log| {
            vec![
                format!("smartnow:log/{}", log["id"]),
                text(&log["code"]),
                key(&log["machine"]),
                text(&log["resolvedAt"]),
            ]
        });
        let sql = "SELECT event_key, code, device_key, resolved_at FROM unified.events";
        self.assert_same(what, sql, events.collect()).await;
        let asked = self.truth("voucher_logs");
        let redemptions = asked
            .iter()
            .filter(|log| log["action"] != "validate")
            .map(|log| {
                vec![
                    key(&log["id"]),
                    key(&log["voucher"]),
                    (whole(&log["success"]) != 0).to_string(),
                ]
            });
        let sql = "SELECT redemption_key, voucher_key, succeeded FROM unified.voucher_redemptions";
        self.assert_same(what, sql, redemptions.collect()).await;

        for (table, resource, names) in [
            ("sites", "locations", &["id", "name"][..]),
            ("devices", "machines", &["id", "name"]),
            ("tenants", "user_groups", &["id", "name"]),
            ("shifts", "shifts", &["id", "closed"]),
            ("vouchers", "vouchers", &["id", "redemptionCount"]),
            ("products", "products", &["machine", "name"]),
        ] {
            let columns = match table {
                "sites" => "site_key, name",
                "devices" => "device_key, name",
                "tenants" => "tenant_key, name",
                "shifts" => "shift_key, closed_at",
                "vouchers" => "voucher_key, redemptions",
                _ => "split_part(product_key, '/', 1), name",
            };
            let expected = self
                .truth(resource)
                .iter()
                .map(|r| vec![key(&r[names[0]]), text(&r[names[1]])])
                .collect();
            let sql = format!("SELECT {columns} FROM unified.{table} WHERE _deleted_at IS NULL");
            self.assert_same(what, &sql, expected).await;
        }
    }

    /// All rows of all unified tables but the run that wrote them, and of dimensions the record that they are from: of several that say the
    /// same it may be any.
    async fn everything(&self) -> BTreeSet<String> {
        const LINEAGE: [&str; 3] = ["_as_of", "_extracted_at", "_content_hash"];
        let mut all = BTreeSet::new();
        for table in self.pipelines[0]
            .unify
            .iter()
            .map(|asset| asset.name.as_str())
        {
            let schema = self.pipelines[0].unified[table].unified_schema();
            let is_dimension = schema.field_with_name("_as_of").is_ok();
            let columns: Vec<String> = schema
                .fields()
                .iter()
                .map(|field| field.name().clone())
                .filter(|name| name != "_run_id")
                .filter(|name| !(is_dimension && LINEAGE.contains(&name.as_str())))
                .collect();
            let rows = self
                .rows(&format!(
                    "SELECT {} FROM unified.{table}",
                    columns.join(", ")
                ))
                .await;
            assert!(!rows.is_empty(), "unified.{table} has rows");
            all.extend(
                rows.into_iter()
                    .map(|row| format!("{table}: {}", row.join(" | "))),
            );
        }
        all
    }
}

fn whole(value: &Value) -> i64 {
    value
        .as_i64()
        .unwrap_or_else(|| panic!("{value} is no whole number"))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The word as the unified tables have it: HecOne's where HecOne has one.
fn common(word: &str) -> String {
    match word.to_lowercase().as_str() {
        "card" | "karte" | "ec/credit" => "Card".into(),
        "cash" | "bargeld" => "Cash".into(),
        lower => lower.into(),
    }
}

fn key(id: &Value) -> String {
    format!("smartnow:{}", text(id))
}

/// Minor units as major ones with four digits, by plain text.
fn money(price: &Value, currency: &Value) -> String {
    let digits = match currency.as_str().unwrap() {
        "JPY" => 0,
        "KWD" => 3,
        _ => 2,
    };
    let price = whole(price);
    let sign = if price < 0 { "-" } else { "" };
    let padded = format!("{:0>width$}", price.unsigned_abs(), width = digits + 1);
    let (whole, fraction) = padded.split_at(padded.len() - digits);
    format!("{sign}{whole}.{fraction:0<4}")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_machines_sold_is_unified_and_stays_right_as_time_goes_on() {
    let clock = "2026-01-03T12:00:00Z".parse().unwrap();
    let house = SmartNowProject::new(SandboxOptions {
        transactions: 10,
        smartnow_sales: Some(1_500),
        clock,
        ..SandboxOptions::default()
    })
    .await;
    house.sync().await;
    house.assert_unified("on the third day").await;

    // Sales are corrected, payments excluded, troubles resolved, machines set up and taken away.
    house.sandbox.advance(2 * DAY).unwrap();
    house.sync().await;
    house.assert_unified("two days later").await;
    let kinds = house
        .rows("SELECT DISTINCT kind FROM unified.transactions")
        .await
        .concat();
    assert!(
        kinds.contains(&"sale".to_owned()) && kinds.contains(&"free".to_owned()),
        "{kinds:?}"
    );
    let gone = house
        .rows("SELECT device_key FROM unified.devices WHERE _deleted_at IS NOT NULL")
        .await;
    assert!(!gone.is_empty(), "a machine was taken away");
    let excluded = house
        .rows("SELECT payment_key FROM unified.payments WHERE excluded")
        .await;
    assert!(!excluded.is_empty(), "a payment was excluded");

    let before = house.everything().await;
    rebuild(&house.context, &house.pipelines, IfRunning::Fail)
        .await
        .unwrap();
    assert_eq!(
        house.everything().await,
        before,
        "a rebuild gives what the syncs gave"
    );
    house.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_changes_makes_its_sale_be_unified_anew() {
    let house = SmartNowProject::new(SandboxOptions {
        transactions: 10,
        smartnow_sales: Some(200),
        ..SandboxOptions::default()
    })
    .await;
    house.sync().await;
    let payments = house.truth("payment_transactions");
    let mut payment = payments
        .into_iter()
        .find(|payment| whole(&payment["price"]) > 100)
        .expect("a payment");
    let sale = key(&payment["revenuetransaction"]);
    let state = format!("SELECT state FROM unified.transactions WHERE transaction_key = '{sale}'");
    assert_eq!(house.rows(&state).await, [["completed"]]);
    payment["price"] = 1.into();
    payment["updatedAt"] = "2026-01-20T00:00:00Z".into();
    house
        .sandbox
        .put_in(
            "smartnow",
            "payment_transactions",
            None,
            &payment.to_string(),
        )
        .unwrap();
    house.sync().await;
    assert_eq!(house.rows(&state).await, [["consumed"]]);
    house.assert_unified("after a payment's correction").await;
    house.sandbox.stop().await;
}

/// A sale and its payment as the sandbox has them, with new ids.
fn sale_and_payment(
    house: &SmartNowProject,
    sale: i64,
    payment: i64,
    price: i64,
) -> (Value, Value) {
    let mut sold = house.truth("revenue_transactions").remove(0);
    let mut paid = house.truth("payment_transactions").remove(0);
    for record in [&mut sold, &mut paid] {
        record["price"] = price.into();
        record["currency"] = "EUR".into();
        record["occurredAt"] = "2026-01-10T08:30:00+01:00".into();
        record["timeZone"] = "Europe/Berlin".into();
        record["createdAt"] = "2026-01-10T08:00:00Z".into();
        record["updatedAt"] = "2026-01-10T08:00:00Z".into();
    }
    sold["id"] = sale.into();
    sold["location"] = 1.into();
    sold["machine"] = 80.into();
    sold["salestype"] = 0.into();
    sold["numPaymentTransactions"] = 1.into();
    paid["id"] = payment.into();
    paid["revenuetransaction"] = sale.into();
    paid["location"] = 3.into();
    paid["machine"] = 85.into();
    (sold, paid)
}

impl SmartNowProject {
    fn put(&self, resource: &str, record: &Value) {
        self.sandbox
            .put_in("smartnow", resource, None, &record.to_string())
            .unwrap();
    }

    async fn assert_rebuilt(&self, what: &str) {
        let before = self.everything().await;
        rebuild(&self.context, &self.pipelines, IfRunning::Fail)
            .await
            .unwrap();
        assert_eq!(
            self.everything().await,
            before,
            "{what}: a rebuild gives what the syncs gave"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_in_no_currency_whose_sale_is_not_there_is_told() {
    let house = SmartNowProject::new(SandboxOptions {
        transactions: 10,
        smartnow_sales: Some(100),
        ..SandboxOptions::default()
    })
    .await;
    let (mut sale, payment) = sale_and_payment(&house, 9, 901, 250);
    sale["id"] = 10.into();
    for (id, sale, price, currency) in [
        (901, 9, 250, Value::Null),
        (902, 9, 50, " ".into()),
        (903, 9, 50, "EUR".into()),
        (904, 9, 0, Value::Null),
        (905, 10, 250, Value::Null),
    ] {
        let mut payment = payment.clone();
        payment["id"] = id.into();
        payment["revenuetransaction"] = sale.into();
        payment["price"] = price.into();
        payment["currency"] = currency;
        house.put("payment_transactions", &payment);
    }
    house.put("revenue_transactions", &sale);
    house.sync().await;
    let warned = "SELECT record_key, field, original FROM ops.warnings \
                  WHERE rule = 'price_fits_unit' AND resource = 'payment_transactions' AND record_key LIKE '90_' ORDER BY 1";
    let warning = |payment: &str, price: &str| {
        let words = format!(
            "{price} of no currency: revenuetransaction 9, which may name it, is not there"
        );
        vec![payment.to_owned(), "price".to_owned(), words]
    };
    let both = vec![warning("901", "250"), warning("902", "50")];
    house.assert_same("no sale", warned, both.clone()).await;
    let amounts = "SELECT split_part(payment_key, '/', 2) AS payment, amount FROM unified.payments \
                   WHERE split_part(payment_key, '/', 2) IN ('901', '905') ORDER BY 1";
    let amount = |payment: &str, amount: &str| vec![payment.to_owned(), amount.to_owned()];
    let known = vec![amount("901", "-"), amount("905", "2.5000")];
    house.assert_same("no sale", amounts, known).await;

    // Its currency comes with its sale, and nothing is told again.
    sale["id"] = 9.into();
    house.put("revenue_transactions", &sale);
    house.sync().await;
    let known = vec![amount("901", "2.5000"), amount("905", "2.5000")];
    house.assert_same("the sale", amounts, known).await;
    house.assert_same("told once", warned, both).await;
    house.sandbox.stop().await;
}

const ALONE: &str = "SELECT payment_key, transaction_key, kind, transaction_state, amount, site_key, device_key, business_date, local_hour \
                     FROM unified.payments WHERE split_part(payment_key, '/', 2) IN ('901', '902')";

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_waits_for_its_sale_in_the_unified_table() {
    let house = SmartNowProject::new(SandboxOptions {
        transactions: 10,
        smartnow_sales: Some(100),
        ..SandboxOptions::default()
    })
    .await;
    let (mut sale, mut payment) = sale_and_payment(&house, 9, 901, 250);
    sale["numPaymentTransactions"] = 2.into();
    let (mut other_sale, mut other) = sale_and_payment(&house, 9, 902, 50);
    house.put("payment_transactions", &payment);
    house.sync().await;
    let alone = |sale: &str, payment: &str, amount: &str| {
        let (sale, key) = (
            format!("smartnow:{sale}"),
            format!("smartnow:{sale}/{payment}"),
        );
        let texts = [
            key.as_str(),
            &sale,
            "-",
            "-",
            amount,
            "smartnow:3",
            "smartnow:85",
            "2026-01-10",
            "8",
        ];
        texts.map(str::to_owned).to_vec()
    };
    house
        .assert_same(
            "the payment first",
            ALONE,
            vec![alone("9", "901", "2.5000")],
        )
        .await;
    let warned = "SELECT resource, record_key, field, rule, original FROM ops.warnings WHERE rule = 'parent_known'";
    let warning = |payment: &str, sale: &str| {
        [
            "payment_transactions",
            payment,
            "revenuetransaction",
            "parent_known",
            sale,
        ]
        .map(str::to_owned)
        .to_vec()
    };
    house
        .assert_same("who is warned about", warned, vec![warning("901", "9")])
        .await;
    house.assert_rebuilt("the payment first").await;

    // It changes while it waits, and another one comes to wait for the same sale.
    payment["price"] = 200.into();
    payment["updatedAt"] = "2026-01-10T09:00:00Z".into();
    house.put("payment_transactions", &payment);
    house.put("payment_transactions", &other);
    house.sync().await;
    let both = vec![alone("9", "901", "2.0000"), alone("9", "902", "0.5000")];
    house.assert_same("two that wait", ALONE, both).await;
    house.assert_rebuilt("two that wait").await;

    // The sale comes: they are its own, in its state, at its place.
    house.put("revenue_transactions", &sale);
    house.sync().await;
    let with_sale = |payment: &str, amount: &str, state: &str| {
        let key = format!("smartnow:9/{payment}");
        let texts = [
            key.as_str(),
            "smartnow:9",
            "sale",
            state,
            amount,
            "smartnow:1",
            "smartnow:80",
            "2026-01-10",
            "8",
        ];
        texts.map(str::to_owned).to_vec()
    };
    let both = vec![
        with_sale("901", "2.0000", "completed"),
        with_sale("902", "0.5000", "completed"),
    ];
    house.assert_same("the sale came", ALONE, both).await;
    house
        .assert_same(
            "the sale itself",
            "SELECT state, paid_amount FROM unified.transactions WHERE transaction_key = 'smartnow:9'",
            vec![vec!["completed".to_owned(), "2.5000".to_owned()]],
        )
        .await;
    house.assert_rebuilt("the sale came").await;

    // One payment names another sale, which is not there either; the first sale lacks it.
    other["revenuetransaction"] = 10.into();
    other["updatedAt"] = "2026-01-10T10:00:00Z".into();
    house.put("payment_transactions", &other);
    house.sync().await;
    let apart = vec![
        with_sale("901", "2.0000", "consumed"),
        alone("10", "902", "0.5000"),
    ];
    house.assert_same("a payment moved", ALONE, apart).await;
    let all = vec![
        warning("901", "9"),
        warning("902", "9"),
        warning("902", "10"),
    ];
    house
        .assert_same("each was warned about once a sale", warned, all)
        .await;
    house.assert_rebuilt("a payment moved").await;

    // That sale comes too; and the payment names no sale at all in the end.
    other_sale["id"] = 10.into();
    other_sale["price"] = 50.into();
    house.put("revenue_transactions", &other_sale);
    house.sync().await;
    let state = "SELECT state FROM unified.transactions WHERE transaction_key IN ('smartnow:9', 'smartnow:10')";
    house
        .assert_same(
            "each has its own",
            state,
            [["completed"], ["consumed"]]
                .map(|s| s.map(str::to_owned).to_vec())
                .to_vec(),
        )
        .await;
    other["revenuetransaction"] = Value::Null;
    other["updatedAt"] = "2026-01-10T11:00:00Z".into();
    house.put("payment_transactions", &other);
    house.sync().await;
    let nameless = "payment_transactions/902";
    let key = "SELECT transaction_key, kind, amount FROM unified.payments WHERE payment_id = '902'";
    house
        .assert_same(
            "no sale",
            key,
            vec![vec![
                format!("smartnow:{nameless}"),
                "-".to_owned(),
                "0.5000".to_owned(),
            ]],
        )
        .await;
    house.assert_rebuilt("no sale").await;
    house.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_its_sales_however_long_before_it_was_made() {
    let house = SmartNowProject::new(SandboxOptions {
        transactions: 10,
        smartnow_sales: Some(100),
        ..SandboxOptions::default()
    })
    .await;
    let (mut sale, mut payment) = sale_and_payment(&house, 9, 901, 250);
    payment["occurredAt"] = "2025-11-01T08:00:00Z".into();
    house.put("payment_transactions", &payment);
    house.sync().await;
    let paid = "SELECT p.transaction_state, t.state, t.paid_amount FROM unified.payments p \
                LEFT JOIN unified.transactions t ON t.transaction_key = p.transaction_key WHERE p.payment_id = '901'";
    let row = |texts: [&str; 3]| vec![texts.map(str::to_owned).to_vec()];
    house
        .assert_same("no sale yet", paid, row(["-", "-", "-"]))
        .await;

    house.put("revenue_transactions", &sale);
    house.sync().await;
    let whole = row(["completed", "completed", "2.5000"]);
    house
        .assert_same("the sale came", paid, whole.clone())
        .await;

    sale["occurredAt"] = "2026-01-30T08:30:00+01:00".into();
    sale["updatedAt"] = "2026-01-11T08:00:00Z".into();
    house.put("revenue_transactions", &sale);
    house.sync().await;
    house.assert_same("the sale moved", paid, whole).await;
    let miscounted = "SELECT record_key FROM ops.warnings WHERE rule = 'count_fits'";
    house
        .assert_same("none is missing", miscounted, vec![])
        .await;
    house.assert_rebuilt("a payment long before its sale").await;
    house.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_numbers_of_payments_than_a_sale_says_are_warned_about_once_it_has_settled() {
    let house = SmartNowProject::new(SandboxOptions {
        transactions: 10,
        smartnow_sales: Some(100),
        ..SandboxOptions::default()
    })
    .await;
    let warned =
        "SELECT resource, record_key, field, original FROM ops.warnings WHERE rule = 'count_fits'";
    let warning = |sale: &str, said: &str| {
        [
            "revenue_transactions",
            sale,
            "num_payment_transactions",
            said,
        ]
        .map(str::to_owned)
        .to_vec()
    };
    let now = Timestamp::now();
    let sync = async || {
        let range = SyncRange {
            from: None,
            to: Some(now + DAY),
        };
        sync(
            &house.context,
            &house.pipelines,
            SyncOptions {
                range,
                ..SyncOptions::default()
            },
        )
        .await
        .unwrap()
    };
    // One has changed just now: its second payment may still come.
    let (mut fresh, payment) = sale_and_payment(&house, 8, 801, 250);
    fresh["numPaymentTransactions"] = 2.into();
    fresh["updatedAt"] = now.to_string().into();
    let (mut settled, _) = sale_and_payment(&house, 9, 901, 250);
    settled["numPaymentTransactions"] = 2.into();
    let (_, mut too_many) = sale_and_payment(&house, 9, 902, 250);
    for (resource, record) in [
        ("revenue_transactions", &fresh),
        ("payment_transactions", &payment),
        ("revenue_transactions", &settled),
    ] {
        house.put(resource, record);
    }
    sync().await;
    house
        .assert_same(
            "the settled one lacks two",
            warned,
            vec![warning("9", "2, and 0 came")],
        )
        .await;
    for id in [902, 903, 904] {
        too_many["id"] = id.into();
        house.put("payment_transactions", &too_many);
    }
    sync().await;
    let both = vec![warning("9", "2, and 0 came"), warning("9", "2, and 3 came")];
    house
        .assert_same("then it has one too many", warned, both.clone())
        .await;
    sync().await;
    house
        .assert_same("and that is said once", warned, both)
        .await;
    house.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_taxed_by_the_rate_its_product_had_then() {
    let house = SmartNowProject::new(SandboxOptions {
        transactions: 10,
        smartnow_sales: Some(100),
        ..SandboxOptions::default()
    })
    .await;
    let (mut sale, _) = sale_and_payment(&house, 9, 901, 119);
    sale["product"] = 77.into();
    sale["numPaymentTransactions"] = 0.into();
    house.put("revenue_transactions", &sale);
    house.sync().await;
    let tax = "SELECT net_amount, tax_amount, tax_origin FROM unified.transactions WHERE transaction_key = 'smartnow:9'";
    let row = |texts: [&str; 3]| vec![texts.map(str::to_owned).to_vec()];
    house
        .assert_same("no such product", tax, row(["-", "-", "unknown"]))
        .await;

    let mut product = house.truth("products").remove(0);
    product["id"] = 9077.into();
    product["machine"] = 80.into();
    product["plu"] = 77.into();
    product["vatrate"] = 19.into();
    product["updatedAt"] = "2026-01-11T00:00:00Z".into();
    house.put("products", &product);
    house.sync().await;
    house
        .assert_same(
            "a product that comes later",
            tax,
            row(["1.0000", "0.1900", "derived"]),
        )
        .await;

    // A later rate is for later sales.
    product["vatrate"] = 7.into();
    product["updatedAt"] = "2026-01-12T00:00:00Z".into();
    house.put("products", &product);
    sale["id"] = 10.into();
    sale["occurredAt"] = "2026-01-12T08:00:00+01:00".into();
    sale["price"] = 107.into();
    sale["updatedAt"] = "2026-01-12T08:00:00Z".into();
    house.put("revenue_transactions", &sale);
    house.sync().await;
    house
        .assert_same("another rate", tax, row(["1.0000", "0.1900", "derived"]))
        .await;
    house
        .assert_same(
            "of the later sale",
            &tax.replace(":9'", ":10'"),
            row(["1.0000", "0.0700", "derived"]),
        )
        .await;
    // A version without a rate that can be used ends the one before.
    let (unknown, seven) = (["-", "-", "unknown"], ["1.0000", "0.0700", "derived"]);
    let versions = [
        (11, Value::Null, unknown),
        (12, 7.into(), seven),
        (13, 0.19.into(), unknown),
    ];
    for (id, rate, expected) in versions {
        product["vatrate"] = rate;
        product["updatedAt"] = format!("2026-01-12T{id}:00:00Z").into();
        house.put("products", &product);
        sale["id"] = id.into();
        sale["occurredAt"] = format!("2026-01-12T{id}:30:00Z").into();
        sale["updatedAt"] = format!("2026-01-12T{id}:30:00Z").into();
        house.put("revenue_transactions", &sale);
        house.sync().await;
        let own = tax.replace(":9'", &format!(":{id}'"));
        house.assert_same("a rate", &own, row(expected)).await;
    }
    house.assert_rebuilt("rates").await;
    house.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_no_time_zone_follows_its_location() {
    let house = SmartNowProject::new(SandboxOptions {
        transactions: 10,
        smartnow_sales: Some(100),
        ..SandboxOptions::default()
    })
    .await;
    let (mut sale, mut payment) = sale_and_payment(&house, 9, 901, 119);
    // Of a sale that never comes.
    payment["revenuetransaction"] = 77.into();
    payment["timeZone"] = serde_json::Value::Null;
    payment["location"] = 9001.into();
    payment["occurredAt"] = "2026-01-10T23:30:00Z".into();
    house.put("payment_transactions", &payment);
    let waiting = "SELECT business_date, local_hour FROM unified.payments WHERE payment_id = '901'";
    sale["timeZone"] = serde_json::Value::Null;
    sale["location"] = 9001.into();
    sale["numPaymentTransactions"] = 0.into();
    sale["occurredAt"] = "2026-01-10T23:30:00Z".into();
    let mut other = sale.clone();
    other["id"] = 10.into();
    other["timeZone"] = "Asia/Tokyo".into();
    let mut unreadable = sale.clone();
    unreadable["id"] = 11.into();
    unreadable["timeZone"] = "Mars/Olympus".into();
    for sale in [&sale, &other, &unreadable] {
        house.put("revenue_transactions", sale);
    }
    house.sync().await;
    let clock = |key: u64| {
        format!(
            "SELECT timezone, business_date, local_hour FROM unified.transactions WHERE transaction_key = 'smartnow:{key}'"
        )
    };
    let row = |texts: [&str; 3]| vec![texts.map(str::to_owned).to_vec()];
    house
        .assert_same(
            "no such location",
            &clock(9),
            row(["-", "2026-01-10", "23"]),
        )
        .await;
    let waits = |texts: [&str; 2]| vec![texts.map(str::to_owned).to_vec()];
    house
        .assert_same("no such location", waiting, waits(["2026-01-10", "23"]))
        .await;
    house
        .assert_same(
            "told once",
            "SELECT field, rule FROM ops.warnings WHERE resource = 'revenue_transactions' AND record_key = '9'",
            vec![vec!["timeZone".to_owned(), "time_zone_given".to_owned()]],
        )
        .await;

    let mut location = house.truth("locations").remove(0);
    location["id"] = 9001.into();
    for (zone, day, hour) in [
        ("Europe/Berlin", "2026-01-11", "0"),
        ("Asia/Dubai", "2026-01-11", "3"),
    ] {
        location["timeZone"] = zone.into();
        house.put("locations", &location);
        house.sync().await;
        for key in [9, 11] {
            house
                .assert_same(zone, &clock(key), row([zone, day, hour]))
                .await;
        }
        house.assert_same(zone, waiting, waits([day, hour])).await;
        let own = row(["Asia/Tokyo", "2026-01-11", "8"]);
        house.assert_same("its own", &clock(10), own).await;
    }
    // A zone that nobody can read says nothing of the clock.
    location["timeZone"] = "CEST".into();
    house.put("locations", &location);
    house.sync().await;
    for key in [9, 11] {
        let known = row(["Asia/Dubai", "2026-01-11", "3"]);
        house.assert_same("unreadable", &clock(key), known).await;
    }
    let known = waits(["2026-01-11", "3"]);
    house.assert_same("unreadable", waiting, known).await;
    house.assert_rebuilt("two zones").await;
    house.sandbox.stop().await;
}
