//! Sales that change after they were read: they move on, move month, lose a part, come back, or do not fit for a while.
//!
//! Invariant: after every sync the unified tables are what the source holds now, and a rebuild gives the same rows.

use crate::exact_json;
use crate::project::TestProject;
use crate::source_truth::{self, assert_same, assert_unified_equals, assert_unified_is};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::time::Duration;
use tillhouse_sandbox::{Sandbox, SandboxOptions};

const DAY: Duration = Duration::from_secs(86_400);

/// A sandbox whose clock stands at the third day's start.
async fn early(transactions: u64) -> Sandbox {
    let clock = "2026-01-03T12:00:00Z".parse::<Timestamp>().unwrap();
    Sandbox::start(SandboxOptions {
        transactions,
        clock,
        ..SandboxOptions::default()
    })
    .await
    .unwrap()
}

/// A project that reads what has never been read in slices of a quarter, and asks for open sales for years.
async fn patient(sandbox: &Sandbox) -> TestProject {
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.set("slice", "90d");
    project.set("follow_open", "20000d");
    project
}

fn is_open(record: &Value) -> bool {
    matches!(
        record["state"].as_str(),
        Some("created" | "pending" | "consumed")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_move_on_and_late_ones_arrive() {
    let sandbox = early(4000).await;
    let project = patient(&sandbox).await;
    let range = ["--to", "2026-02-01"];
    project.sync(&range).await;
    assert_unified_equals(&project, &sandbox, "on the third day").await;
    let known = sandbox.truth().len() as i64;
    let (mut new, mut changed) = (0, 0);
    for day in ["a day later", "two days later", "when all have arrived"] {
        sandbox
            .advance(if day.starts_with("when") {
                4 * DAY
            } else {
                DAY
            })
            .unwrap();
        let report = project.sync(&range).await;
        new += exact_json::integer(&report["new"]);
        changed += exact_json::integer(&report["changed"]);
        assert_unified_equals(&project, &sandbox, day).await;
    }
    assert_eq!(new, sandbox.truth().len() as i64 - known);
    assert!(new > 1000 && changed > 0, "{new} new, {changed} changed");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_sale_that_closes_is_found_by_its_id() {
    let sandbox = early(3000).await;
    let project = patient(&sandbox).await;
    project.sync(&[]).await;
    assert_unified_equals(&project, &sandbox, "after the first sync").await;
    let before = source_truth::records(&sandbox);
    let open: HashSet<String> = before
        .iter()
        .filter(|r| is_open(r))
        .map(|r| r["id"].to_string())
        .collect();
    assert!(!open.is_empty(), "some sales are under way at noon");

    sandbox.advance(6 * DAY).unwrap();
    sandbox.clear_requests();
    let report = project.sync(&[]).await;
    assert_eq!(
        exact_json::integer(&report["followed"]),
        open.len() as i64,
        "{report}"
    );
    assert_eq!(
        sandbox
            .requests()
            .counts
            .get("GET /hecone/transactions/{id}"),
        Some(&(open.len() as u64))
    );

    let known: HashSet<String> = before.iter().map(|r| r["id"].to_string()).collect();
    let now: Vec<Value> = source_truth::records(&sandbox)
        .into_iter()
        .filter(|r| known.contains(&r["id"].to_string()))
        .collect();
    assert!(
        now.iter()
            .filter(|r| open.contains(&r["id"].to_string()))
            .any(|r| !is_open(r)),
        "some have closed"
    );
    assert_unified_is(&project, &now, "after the follow-up").await;
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_by_id_that_leaves_much_out_takes_nothing_away() {
    let clock = "2026-01-03T12:00:00Z".parse::<Timestamp>().unwrap();
    let options = SandboxOptions {
        transactions: 3000,
        clock,
        sparse_by_id: true,
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let project = patient(&sandbox).await;
    project.sync(&[]).await;
    let open = project
        .count(
            "SELECT count(*) FROM transactions WHERE state IN ('created', 'pending', 'consumed')",
        )
        .await;
    assert!(open > 0, "some sales are under way at noon");
    let places = async || {
        let mut rows = Vec::new();
        for columns in [
            "point_key, device_key, site_key, name, number FROM unified.points",
            "product_key, code, name, category, unit_measure FROM unified.products",
            "site_key, name, code, timezone, street, city FROM unified.sites",
            "device_key, site_key, name, code FROM unified.devices",
        ] {
            rows.push(project.sql(&format!("SELECT {columns} ORDER BY 1")).await);
        }
        rows
    };
    let known = places().await;

    // Not one has changed yet: asked for by id, each is the version that is known.
    let report = project.sync(&[]).await;
    assert_eq!(
        (
            exact_json::integer(&report["followed"]),
            exact_json::integer(&report["changed"])
        ),
        (open, 0),
        "{report}"
    );

    sandbox.advance(6 * DAY).unwrap();
    let report = project.sync(&[]).await;
    assert_eq!(exact_json::integer(&report["followed"]), open, "{report}");
    assert!(
        exact_json::integer(&report["changed"]) > 0,
        "some have closed: {report}"
    );
    assert_eq!(
        places().await,
        known,
        "names, codes and numbers are what the listing said"
    );
    let truth: Vec<Value> = source_truth::records(&sandbox);
    let field = |record: &Value, path: &[&str]| {
        path.iter()
            .fold(record.clone(), |value, name| value[*name].clone())
    };
    for row in project
        .sql("SELECT transaction_id, state, timezone, device_key, local_hour, utc_offset_minutes FROM transactions WHERE state = 'completed'")
        .await
    {
        let record = truth.iter().find(|record| record["id"] == row["transaction_id"]).unwrap();
        assert_eq!(row["state"], record["state"]);
        assert_eq!(row["timezone"], field(record, &["site", "timezone"]), "{row}");
        let device = field(record, &["device", "code"]);
        let ends = |key: &str| device.as_str().is_some_and(|code| key.ends_with(&format!("/{code}")));
        assert!(row["device_key"].as_str().map_or(device.is_null(), ends), "{row}");
        assert!(row["local_hour"].is_string() && row["utc_offset_minutes"].is_string(), "by the site's own clock: {row}");
    }
    let rows = unified_rows(&project).await;
    project.json(&["rebuild"]).await;
    assert_eq!(
        unified_rows(&project).await,
        rows,
        "a rebuild gives the same rows"
    );
    sandbox.stop().await;
}

/// All rows of all unified tables but the run that wrote them, and of dimensions the sale that they are from: where several say the same, it is
/// the first of a day or the last.
async fn unified_rows(project: &TestProject) -> Vec<String> {
    let mut rows = Vec::new();
    for table in [
        "transactions",
        "articles",
        "payments",
        "events",
        "tenants",
        "sites",
        "devices",
        "points",
        "products",
    ] {
        let found = project.sql(&format!("SELECT * FROM unified.{table}")).await;
        assert!(!found.is_empty(), "unified.{table} has rows");
        rows.extend(found.into_iter().map(|mut row| {
            let columns = row.as_object_mut().expect("a row is an object");
            assert!(columns.remove("_run_id").is_some());
            if columns.remove("_as_of").is_some() {
                columns.remove("_extracted_at");
                columns.remove("_content_hash");
            }
            format!("{table}: {row}")
        }));
    }
    rows.sort_unstable();
    rows
}

/// Reads everything again, and asks for what no window can find.
async fn read_again(project: &TestProject) {
    project.sync(&["--to", "2026-04-01"]).await;
    project.sync(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_sale_is_replaced_as_a_whole() {
    let sandbox = early(800).await;
    let project = patient(&sandbox).await;
    read_again(&project).await;
    assert_unified_equals(&project, &sandbox, "at first").await;

    let records: Vec<Value> = sandbox
        .truth()
        .iter()
        .map(|body| serde_json::from_slice(body).unwrap())
        .collect();
    let completed =
        |r: &&Value| r["state"] == "completed" && r["invoice"]["created_at"].is_string();
    let several = |r: &&Value| {
        source_truth::list(r, "articles").len() > 1 && source_truth::list(r, "payments").len() == 1
    };
    let original = records.iter().find(completed).expect("a completed sale");
    let with_articles = records
        .iter()
        .filter(completed)
        .filter(several)
        .nth(1)
        .expect("a sale of several articles");
    let open = records
        .iter()
        .find(|r| r["state"] == "pending")
        .expect("a sale under way");
    assert_ne!(original["id"], with_articles["id"]);

    let mut moved = original.clone();
    moved["invoice"]["created_at"] = "2026-02-10T10:00:00Z".into();
    let mut shorter = with_articles.clone();
    shorter["articles"].as_array_mut().unwrap().pop();
    // Under way still, so that it is asked for by id: no window can find a sale without a time.
    let mut timeless = open.clone();
    timeless["invoice"] = Value::Null;
    for (list, field) in [("articles", "start_time"), ("payments", "created_at")] {
        for entry in timeless[list].as_array_mut().unwrap() {
            entry[field] = Value::Null;
        }
    }
    for record in [&moved, &shorter] {
        sandbox.put(&record.to_string()).unwrap();
    }
    read_again(&project).await;
    assert_unified_equals(&project, &sandbox, "after the changes").await;
    let months = project
        .sql("SELECT month, count(*) AS n FROM transactions GROUP BY month ORDER BY month")
        .await;
    let months: Vec<&str> = months
        .iter()
        .filter_map(|row| row["month"].as_str())
        .collect();
    assert_eq!(months, ["2026-01", "2026-02"]);
    // An answer by id that says nothing of the times leaves them as they were.
    let rows = unified_rows(&project).await;
    sandbox.put(&timeless.to_string()).unwrap();
    project.sync(&[]).await;
    assert_same(
        &unified_rows(&project).await,
        &rows,
        "what nothing was said of",
    );
    let stats = project
        .json(&["stats", "--from", "2026-01-01", "--to", "2026-02-01"])
        .await;
    assert_eq!(stats["meta"]["transactions_without_time"], "#0");

    for record in [original, with_articles, open] {
        sandbox.put(&record.to_string()).unwrap();
    }
    read_again(&project).await;
    assert_unified_equals(&project, &sandbox, "when all is as it was").await;
    for (record, expected) in [(original, 3), (with_articles, 3), (open, 1)] {
        let id = record["id"].as_str().unwrap();
        let versions = project
            .count(&format!(
                "SELECT count(*) FROM hecone.transactions WHERE id = '{id}'"
            ))
            .await;
        assert_eq!(
            versions, expected,
            "A, B, A are three versions, A and nothing said is one"
        );
    }

    let increments = unified_rows(&project).await;
    let ran = project.run(&["rebuild"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_same(&unified_rows(&project).await, &increments, "the rebuild");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_does_not_fit_is_kept_apart_until_it_does() {
    let sandbox = Sandbox::start(SandboxOptions {
        transactions: 200,
        ..SandboxOptions::default()
    })
    .await
    .unwrap();
    let project = TestProject::new(&sandbox.hecone_url()).await;
    let sales: Vec<Value> = sandbox
        .truth()
        .iter()
        .map(|body| serde_json::from_slice(body).unwrap())
        .collect();
    let base = sales
        .into_iter()
        .find(|r| r["state"] == "completed")
        .expect("a completed sale");
    let planted = |number: u8, change: &dyn Fn(&mut Value)| {
        let mut record = base.clone();
        record["id"] = format!("0000000{number}-0000-4000-8000-000000000000").into();
        change(&mut record);
        sandbox.put(&record.to_string()).unwrap()
    };
    planted(1, &|r| r["loyalty"] = json!({"tier": 3}));
    let broken = planted(2, &|r| {
        r["invoice"]["amount"] = "a-word-that-is-no-amount".into();
        r["payments"][0]["pin"] = "2580-pin".into();
        r["payments"][0]["qr_code"] = "https://pay.example.com/r/closed".into();
        r["customer_data"] = json!({"license_plate": "B-XY 4321"});
        r["nickname"] = "nobody-classified-this".into();
    });
    // As text, since a float would not hold all these digits.
    let mut long = base.clone();
    long["id"] = "00000003-0000-4000-8000-000000000000".into();
    long["invoice"]["amount"] = 77_777_777.into();
    let long = sandbox
        .put(&long.to_string().replace("77777777", "12.290000000000001"))
        .unwrap();

    let report = project.sync(&["--to", "2026-01-06"]).await;
    assert_eq!(exact_json::integer(&report["rejects"]), 1, "{report}");
    let mut wanted = source_truth::records(&sandbox);
    wanted.retain(|r| r["id"] != broken.as_str());
    let rounded = wanted
        .iter_mut()
        .find(|r| r["id"] == long.as_str())
        .expect("the long one is there");
    rounded["invoice"]["amount"] = "#12.29".into();
    assert_unified_is(&project, &wanted, "with records that do not fit").await;

    let drift = project.sql("SELECT field, count FROM ops.drift").await;
    assert!(
        drift.iter().any(|row| row["field"]
            .as_str()
            .is_some_and(|f| f.starts_with("loyalty"))),
        "{drift:?}"
    );
    let warnings = project
        .sql("SELECT record_key, field, original FROM ops.warnings")
        .await;
    let warned = warnings.iter().any(|row| {
        row["record_key"] == long.as_str()
            && row["field"] == "invoice.amount"
            && row["original"] == "12.290000000000001"
    });
    assert!(warned, "{warnings:?}");
    let rejects = project.sql("SELECT * FROM ops.rejects").await;
    assert_eq!(rejects.len(), 1, "{rejects:?}");
    assert_eq!(rejects[0]["record_key"], broken.as_str());
    assert_eq!(rejects[0]["field"], "invoice.amount");
    assert_eq!(rejects[0]["resolved_at"], Value::Null);
    let reason = rejects[0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("expected a number") && !reason.contains("a-word"),
        "{reason}"
    );
    let kept = rejects[0].to_string();
    for closed in [
        "2580-pin",
        "pay.example.com",
        "4321",
        "nobody-classified-this",
    ] {
        assert!(!kept.contains(closed), "{closed} in {kept}");
    }

    planted(2, &|_| {});
    let report = project.sync(&["--to", "2026-01-06"]).await;
    assert_eq!(
        (
            exact_json::integer(&report["rejects"]),
            exact_json::integer(&report["new"])
        ),
        (0, 1),
        "{report}"
    );
    let mut wanted = source_truth::records(&sandbox);
    let rounded = wanted
        .iter_mut()
        .find(|r| r["id"] == long.as_str())
        .expect("the long one is there");
    rounded["invoice"]["amount"] = "#12.29".into();
    assert_unified_is(&project, &wanted, "once it is mended").await;
    assert_eq!(
        project
            .count("SELECT count(*) FROM ops.rejects WHERE resolved_at IS NULL")
            .await,
        0
    );
    assert_eq!(
        project.count("SELECT count(*) FROM ops.rejects").await,
        1,
        "what was wrong is remembered"
    );
    sandbox.stop().await;
}

/// The number of rejected records stands below the table, with a query that shows them; where none
/// fitted, the exit code says so.
#[tokio::test(flavor = "multi_thread")]
async fn rejected_records_are_never_passed_over_in_silence() {
    let sandbox = Sandbox::start(SandboxOptions {
        transactions: 20,
        ..SandboxOptions::default()
    })
    .await
    .unwrap();
    let project = TestProject::new(&sandbox.hecone_url()).await;
    let sales: Vec<Value> = sandbox
        .truth()
        .iter()
        .map(|body| serde_json::from_slice(body).unwrap())
        .collect();
    let breaking = |sale: &Value| {
        let mut broken = sale.clone();
        broken["invoice"]["amount"] = "12,50".into();
        sandbox.put(&broken.to_string()).unwrap();
    };
    sales[..3].iter().for_each(breaking);
    let sync = ["sync", "--to", "2030-01-01"];
    let said = format!(
        "hecone: 3 of {} records did not fit their contract",
        sales.len()
    );
    // The second time they are known, and the query leads to them all the same.
    for again in [&sync[..], &["sync", "--to", "2030-01-01", "--full"]] {
        let ran = project.run(again).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert!(ran.stderr.contains(&said), "{}", ran.stderr);
        assert!(ran.stderr.contains("3 rejects are open"), "{}", ran.stderr);
        let query = ran
            .stderr
            .split_once("tillhouse sql \"")
            .and_then(|(_, rest)| rest.split_once('"'))
            .expect("a query")
            .0;
        assert_eq!(project.sql(query).await.len(), 3, "{query}");
    }

    sales.iter().for_each(breaking);
    let mut all = vec!["--format", "json"];
    all.extend(sync);
    all.push("--full");
    let ran = project.run(&all).await;
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let report = exact_json::json(&ran.stdout, "the report");
    let report = &report["pipelines"][0];
    let counts = (
        exact_json::integer(&report["rejects"]),
        exact_json::integer(&report["records"]),
    );
    let all = i64::try_from(sales.len()).unwrap();
    assert_eq!(counts, (all, all), "{report}");
    assert!(
        ran.stderr
            .contains("None of the records of hecone.transactions fitted its contract"),
        "{}",
        ran.stderr
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_that_fit_do_not_make_up_for_sales_that_do_not() {
    let options = SandboxOptions {
        transactions: 20,
        smartnow_sales: Some(20),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let project = TestProject::of(&["smartnow"], &sandbox, "2025-12-20").await;
    let selection = tillhouse_sandbox::RecordSelection::of("revenue_transactions");
    for body in sandbox.truth_of("smartnow", &selection).unwrap() {
        let mut sale: Value = serde_json::from_slice(&body).unwrap();
        sale["price"] = "12,50".into();
        sandbox
            .put_in("smartnow", "revenue_transactions", None, &sale.to_string())
            .unwrap();
    }
    let ran = project.run(&["--format", "json", "sync"]).await;
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let said = "None of the records of smartnow.revenue_transactions fitted its contract";
    assert!(ran.stderr.contains(said), "{}", ran.stderr);
    let report = exact_json::json(&ran.stdout, "the report");
    assert_eq!(
        report["pipelines"][0]["none_fitted"],
        serde_json::json!(["revenue_transactions"]),
        "{report}"
    );
    sandbox.stop().await;
}
