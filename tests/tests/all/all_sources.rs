//! Four sources in one model: what SmartNow, be-mo and PACE hold is what the unified tables hold, also after it has changed.
//!
//! Invariant: the measure is the sandbox's truth, by plain loops; every transaction is compared, not only sums. HecOne's part is
//! `truth`'s.

use crate::exact_json;
use crate::project::TestProject;
use crate::source_truth::assert_same;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tillhouse_sandbox::{
    Decimal, PaceApi, RecordMutation, RecordMutationKind, RecordSelection, Sandbox, SandboxOptions,
};

const SOURCES: [&str; 4] = ["bemo", "hecone", "pace", "smartnow"];
const DAY: Duration = Duration::from_secs(86_400);

async fn sandbox(clock: &str) -> Sandbox {
    let clock = clock.parse::<Timestamp>().unwrap();
    let options = SandboxOptions {
        transactions: 800,
        smartnow_sales: Some(900),
        bemo_sessions: Some(400),
        pace_transactions: Some(500),
        clock,
        ..SandboxOptions::default()
    };
    Sandbox::start(options).await.unwrap()
}

fn records(sandbox: &Sandbox, source: &str, resource: &str, tenant: Option<&str>) -> Vec<Value> {
    let selection = RecordSelection {
        tenant: tenant.map(str::to_owned),
        ..RecordSelection::of(resource)
    };
    let found = sandbox.truth_of(source, &selection).unwrap();
    found
        .iter()
        .map(|body| exact_json::json(std::str::from_utf8(body).unwrap(), resource))
        .collect()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.strip_prefix('#').unwrap_or(text).to_owned(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn instant(value: &Value) -> String {
    value.as_str().map_or("-".to_owned(), |text| {
        text.parse::<Timestamp>().unwrap().to_string()
    })
}

fn shown(amount: Option<Decimal>) -> String {
    amount.map_or("-".to_owned(), |amount| amount.to_string())
}

fn sum(values: impl IntoIterator<Item = Decimal>) -> Option<Decimal> {
    values
        .into_iter()
        .fold(None, |sum: Option<Decimal>, value| {
            Some(sum.unwrap_or(Decimal::ZERO).plus(value))
        })
}

/// An amount of minor units in major ones.
fn major(units: &str, currency: &str) -> Decimal {
    let digits = match currency {
        "JPY" => 0,
        "KWD" => 3,
        _ => 2,
    };
    Decimal::parse(&format!("{units}e-{digits}")).unwrap()
}

/// `source | perspective | id | tenant | instant | amount | paid | currency`, a line a transaction.
fn expected(sandbox: &Sandbox) -> Vec<String> {
    let mut lines = Vec::new();
    let mut paid: BTreeMap<(String, String), Vec<Decimal>> = BTreeMap::new();
    for payment in records(sandbox, "smartnow", "payment_transactions", None) {
        let currency = plain(&payment["currency"]);
        let amount = major(&plain(&payment["price"]), &currency);
        paid.entry((plain(&payment["revenuetransaction"]), currency))
            .or_default()
            .push(amount);
    }
    for sale in records(sandbox, "smartnow", "revenue_transactions", None) {
        let (id, currency) = (plain(&sale["id"]), plain(&sale["currency"]));
        let group = plain(&sale["usergroup"]);
        lines.push(format!(
            "smartnow | sale | {id} | {} | {} | {} | {} | {currency}",
            if group == "0" { "-" } else { &group },
            instant(&sale["occurredAt"]),
            major(&plain(&sale["price"]), &currency),
            shown(sum(paid
                .remove(&(id.clone(), currency.clone()))
                .unwrap_or_default())),
        ));
    }
    for account in sandbox.accounts() {
        for session in records(sandbox, "bemo", "sessions", Some(&account)) {
            let mut by_currency: BTreeMap<String, Vec<Decimal>> = BTreeMap::new();
            for part in session["transactions"].as_array().unwrap() {
                let amount = exact_json::number(&part["totalAmount"]);
                by_currency
                    .entry(plain(&part["currencyKey"]))
                    .or_default()
                    .extend(amount);
            }
            for (currency, amounts) in by_currency {
                let amount = shown(sum(amounts));
                lines.push(format!(
                    "bemo | purchase | {}:{currency} | {account} | {} | {amount} | {} | {currency}",
                    plain(&session["sessionId"]),
                    instant(&session["sessionStartDate"]),
                    if session["sessionEndDate"].is_null() {
                        "-"
                    } else {
                        &amount
                    },
                ));
            }
        }
    }
    for partner in sandbox.partners() {
        for record in records(sandbox, "pace", "transactions", Some(&partner)) {
            let attributes = &record["attributes"];
            let amount = shown(exact_json::number(&attributes["priceIncludingVAT"]));
            lines.push(format!(
                "pace | sale | {} | {partner} | {} | {amount} | {} | {}",
                plain(&record["id"]),
                instant(&attributes["createdAt"]),
                if attributes["error"].is_null() {
                    &amount
                } else {
                    "-"
                },
                plain(&attributes["currency"]),
            ));
        }
    }
    lines.sort_unstable();
    lines
}

async fn found(project: &TestProject) -> Vec<String> {
    let rows = project
        .sql(
            "SELECT source, perspective, transaction_id, tenant_id, occurred_at, amount, paid_amount, currency \
             FROM transactions WHERE source <> 'hecone'",
        )
        .await;
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| {
            format!(
                "{} | {} | {} | {} | {} | {} | {} | {}",
                plain(&row["source"]),
                plain(&row["perspective"]),
                plain(&row["transaction_id"]),
                plain(&row["tenant_id"]),
                instant(&row["occurred_at"]),
                shown(exact_json::number(&row["amount"])),
                shown(exact_json::number(&row["paid_amount"])),
                plain(&row["currency"]),
            )
        })
        .collect();
    lines.sort_unstable();
    lines
}

async fn assert_same_as_truth(project: &TestProject, sandbox: &Sandbox, when: &str) {
    assert_same(
        &found(project).await,
        &expected(sandbox),
        &format!("{when}: transactions of three sources"),
    );
}

/// One figure of a report, over all pipelines.
fn total(report: &Value, figure: &str) -> i64 {
    report["pipelines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pipeline| exact_json::integer(&pipeline[figure]))
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn four_sources_are_one_model_now_and_after_they_have_changed() {
    let sandbox = sandbox("2026-01-04T00:00:00Z").await;
    let project = TestProject::of(&SOURCES, &sandbox, "2025-06-01").await;
    let range = ["sync", "--to", "2026-02-01"];
    let first = project.json(&range).await;
    assert_eq!(
        (first["published"].as_bool(), total(&first, "rejects")),
        (Some(true), 0),
        "{first}"
    );
    assert_same_as_truth(&project, &sandbox, "at first").await;

    let again = project.json(&range).await;
    assert_eq!(
        (total(&again, "new"), total(&again, "changed")),
        (0, 0),
        "{again}"
    );

    for when in ["two days later", "a week later"] {
        sandbox
            .advance(if when == "two days later" {
                2 * DAY
            } else {
                7 * DAY
            })
            .unwrap();
        let report = project.json(&range).await;
        assert!(
            total(&report, "new") + total(&report, "changed") > 0,
            "{report}"
        );
        assert_same_as_truth(&project, &sandbox, when).await;
    }

    // The rows that the increments gave, a rebuild gives.
    let before = everything(&project).await;
    project.json(&["rebuild"]).await;
    assert_eq!(everything(&project).await, before);
    assert_same_as_truth(&project, &sandbox, "rebuilt").await;

    // An offset at a sale is no time zone of a site.
    let zones = "SELECT count(timezone) FROM sites WHERE source";
    assert_eq!(
        project.count(&format!("{zones} IN ('bemo', 'pace')")).await,
        0
    );
    assert!(
        project
            .count(&format!("{zones} IN ('hecone', 'smartnow')"))
            .await
            > 0
    );

    // Every payment belongs to a sale that is there, and its currency is the sale's.
    let strays = "SELECT count(*) FROM payments p LEFT JOIN transactions t USING (transaction_key) WHERE t.transaction_key IS NULL";
    assert_eq!(project.count(strays).await, 0);
    assert!(
        project
            .count("SELECT count(*) FROM payments WHERE source = 'smartnow' AND excluded")
            .await
            > 0
    );
    // Purchases stand beside the sales, and are never added to them.
    let purchases = project
        .count("SELECT count(*) FROM transactions WHERE source = 'bemo'")
        .await;
    let wrong =
        "SELECT count(*) FROM transactions WHERE (source = 'bemo') <> (perspective = 'purchase')";
    assert_eq!((purchases > 0, project.count(wrong).await), (true, 0));
    sandbox.stop().await;
}

/// Number of rows of every unified table of every source, and sums over them.
async fn everything(project: &TestProject) -> Vec<Value> {
    let mut all = Vec::new();
    for (table, figures) in [
        (
            "transactions",
            "sum(amount) AS a, sum(paid_amount) AS b, count(business_date) AS c",
        ),
        (
            "articles",
            "sum(amount) AS a, sum(quantity) AS b, count(site_key) AS c",
        ),
        (
            "payments",
            "sum(amount) AS a, count(CASE WHEN excluded THEN 1 END) AS b, count(method) AS c",
        ),
        (
            "events",
            "count(code) AS a, count(resolved_at) AS b, count(occurred_at) AS c",
        ),
        ("shifts", "count(*) AS a"),
        ("vouchers", "count(*) AS a"),
        ("voucher_redemptions", "count(*) AS a"),
        (
            "sites",
            "count(name) AS a, count(timezone) AS b, count(_deleted_at) AS c",
        ),
        ("devices", "count(name) AS a, count(_deleted_at) AS b"),
        ("products", "count(name) AS a, count(_deleted_at) AS b"),
        ("tenants", "count(name) AS a"),
    ] {
        let query = format!(
            "SELECT '{table}' AS t, source, count(*) AS n, {figures} FROM {table} GROUP BY source ORDER BY source"
        );
        let rows = project.sql(&query).await;
        assert!(!rows.is_empty(), "unified.{table} has no rows");
        all.extend(rows);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_after_its_sale_and_a_machine_that_goes_are_noticed() {
    let sandbox = sandbox("2026-01-06T00:00:00Z").await;
    let project = TestProject::of(&["smartnow"], &sandbox, "2025-06-01").await;
    let range = ["sync", "--to", "2026-02-01"];
    project.json(&range).await;
    let payment = &records(&sandbox, "smartnow", "payment_transactions", None)[0];
    let sale = plain(&payment["revenuetransaction"]);
    let query =
        format!("SELECT paid_amount, state FROM transactions WHERE transaction_id = '{sale}'");
    let before = project.sql(&query).await;

    // A second payment of a sale that has been unified: the sale itself does not change.
    let late = format!(
        r#"{{"id": 99000001, "revenuetransaction": {sale}, "machine": {}, "location": {}, "occurredAt": "2026-01-05T10:00:00+01:00",
            "timeZone": "Europe/Amsterdam", "method": "cash", "type": "cash", "price": 100, "currency": {}, "exclude": 0, "reportGroup": null,
            "createdAt": "2026-01-05T23:00:00Z", "updatedAt": "2026-01-05T23:00:00Z"}}"#,
        plain(&payment["machine"]),
        plain(&payment["location"]),
        payment["currency"],
    );
    sandbox
        .put_in("smartnow", "payment_transactions", None, &late)
        .unwrap();
    let gone = sandbox
        .mutate(
            "smartnow",
            &RecordMutation {
                resource: "machines".into(),
                tenant: None,
                kind: RecordMutationKind::Vanish,
                from: "2000-01-01T00:00:00Z".parse().unwrap(),
                to: "2030-01-01T00:00:00Z".parse().unwrap(),
            },
        )
        .unwrap()
        .expect("a machine can go");
    project.json(&range).await;
    let after = project.sql(&query).await;
    assert_ne!(before, after, "the late payment is part of its sale");
    let currency = plain(&payment["currency"]);
    let paid =
        |rows: &[Value]| exact_json::number(&rows[0]["paid_amount"]).unwrap_or(Decimal::ZERO);
    assert_eq!(paid(&after), paid(&before).plus(major("100", &currency)));
    assert_eq!(
        project
            .count(&format!(
                "SELECT count(*) FROM payments WHERE payment_id = '99000001' AND transaction_key = 'smartnow:{sale}'"
            ))
            .await,
        1
    );

    let marked = "SELECT count(*) FROM devices WHERE _deleted_at IS NOT NULL";
    assert_eq!(project.count(marked).await, 1);
    let device = format!(
        "SELECT count(*) FROM devices WHERE device_key = 'smartnow:{gone}' AND _deleted_at IS NOT NULL AND name IS NOT NULL"
    );
    assert_eq!(
        project.count(&device).await,
        1,
        "it keeps its name, for the sales it made"
    );
    let again = project.json(&range).await;
    assert_eq!(
        (total(&again, "new"), total(&again, "changed")),
        (0, 0),
        "marked once: {again}"
    );
    let held: Vec<String> = expected(&sandbox)
        .into_iter()
        .filter(|line| line.starts_with("smartnow"))
        .collect();
    assert_same(
        &found(&project).await,
        &held,
        "after all that: SmartNow's transactions",
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paces_newer_list_is_unified_with_what_only_it_tells() {
    let options = SandboxOptions {
        transactions: 10,
        // Vehicles of fleets pay with PACE too.
        bemo_sessions: Some(400),
        pace_transactions: Some(500),
        pace_api: PaceApi::Successor,
        clock: "2026-01-04T00:00:00Z".parse().unwrap(),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let project = TestProject::of(&["pace"], &sandbox, "2025-06-01").await;
    let file = project.path().join("pipelines/pace/pipeline.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let newer = "api: 2025-1\n  filters: { partner: \"filter[partner]\" }\n";
    std::fs::write(&file, text.replacen("api: partner\n", newer, 1)).unwrap();
    let range = ["sync", "--to", "2026-02-01"];
    let pace = || {
        expected(&sandbox)
            .into_iter()
            .filter(|line| line.starts_with("pace"))
            .collect::<Vec<_>>()
    };
    for when in ["at first", "two days later"] {
        let report = project.json(&range).await;
        assert!(total(&report, "new") > 0, "{report}");
        assert_eq!(total(&report, "rejects"), 0, "{report}");
        assert_same(&found(&project).await, &pace(), when);
        if when == "at first" {
            sandbox.advance(2 * DAY).unwrap();
        }
    }
    // Fields that the older list does not have: who drove what, how it was paid, what was taken off, and when it last changed.
    let told = project
        .sql(
            "SELECT count(license_plate) AS plates, count(odometer_km) AS mileages, count(discount_amount) AS discounts, \
             count(updated_at) AS changes FROM transactions",
        )
        .await;
    let partners = sandbox.partners();
    let all = partners
        .iter()
        .flat_map(|partner| records(&sandbox, "pace", "transactions", Some(partner)));
    let all: Vec<Value> = all.map(|mut record| record["attributes"].take()).collect();
    for (figure, key) in [
        ("plates", "numberPlate"),
        ("mileages", "mileage"),
        ("discounts", "discountAmount"),
        ("changes", "updatedAt"),
    ] {
        let held = all.iter().filter(|record| !record[key].is_null()).count();
        assert_eq!(
            (exact_json::integer(&told[0][figure]), held > 0),
            (i64::try_from(held).unwrap(), true),
            "{key}: {told:?}"
        );
    }
    assert!(
        project
            .count("SELECT count(DISTINCT method) FROM payments")
            .await
            > 1
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_be_mo_learns_of_late_are_found() {
    // They happened longer ago than the look-back: no window of their own time is read again, only `lastCreated` shows them.
    let now = Timestamp::now();
    let ago = |days: i64| {
        now.checked_sub(jiff::SignedDuration::from_hours(24 * days))
            .unwrap()
    };
    let options = SandboxOptions {
        transactions: 10,
        // Three in a hundred are learnt of two to six days later: a dozen of these are still to come, whatever the time of day.
        bemo_sessions: Some(2_000),
        from: ago(6),
        to: ago(4),
        clock: ago(0),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let start = ago(7).strftime("%Y-%m-%d").to_string();
    let project = TestProject::of(&["bemo"], &sandbox, &start).await;
    project.json(&["sync"]).await;
    let count = "SELECT count(*) FROM bemo.sessions";
    let known = project.count(count).await;
    sandbox.advance(7 * DAY).unwrap();
    let report = project.json(&["sync"]).await;
    let held: usize = sandbox
        .accounts()
        .iter()
        .map(|account| records(&sandbox, "bemo", "sessions", Some(account)).len())
        .sum();
    assert!(
        i64::try_from(held).unwrap() > known,
        "some sessions come late"
    );
    assert_eq!(
        project.count(count).await,
        i64::try_from(held).unwrap(),
        "{report}"
    );
    sandbox.stop().await;
}
