//! Roll-ups from end to end: every sync keeps them, statistics answer from them, and restatements are computed from them.
//!
//! Invariant: `--from-facts` and the default say the same, to the last digit.

use crate::exact_json;
use crate::project::TestProject;
use serde_json::Value;
use std::time::Duration;
use tillhouse_sandbox::{Sandbox, SandboxOptions};

const DAY: Duration = Duration::from_secs(86_400);
/// The roll-ups.
const TABLE: &str = "statistics/levels";

/// Origin of an answer: `levels` of the roll-ups, `facts`, or `both`.
pub(crate) fn origin(report: &Value) -> &'static str {
    let names = report["meta"]["answered_from"].as_str().unwrap();
    let names: Vec<&str> = names.split(", ").collect();
    match (names.contains(&"facts"), names.len()) {
        (false, _) => "levels",
        (true, 1) => "facts",
        (true, _) => "both",
    }
}

/// Requests, and where each answer comes from: ends within a day are counted from the facts.
const REQUESTS: [(&[&str], &str); 10] = [
    (&["--from", "2026-01-01", "--to", "2026-02-01"], "levels"),
    (&["--from", "2026-01-01", "--to", "2027-01-01"], "levels"),
    (&["--from", "2026-01-01", "--to", "2026-01-06"], "levels"),
    // A month but for its last hour, and one before it.
    (
        &[
            "--from",
            "2026-01-01",
            "--to",
            "2026-02-01",
            "--timezone",
            "+01:00",
        ],
        "both",
    ),
    (
        &[
            "--from",
            "2026-01-02",
            "--to",
            "2026-01-05",
            "--timezone",
            "Europe/Berlin",
        ],
        "both",
    ),
    (
        &[
            "--from",
            "2026-01-02",
            "--to",
            "2026-01-05",
            "--timezone",
            "Asia/Kolkata",
        ],
        "both",
    ),
    (
        &[
            "--from",
            "2026-01-01",
            "--to",
            "2026-01-06",
            "--hours",
            "of_day",
        ],
        "levels",
    ),
    (
        &[
            "--from",
            "2026-01-03T07:00:00Z",
            "--to",
            "2026-01-03T08:00:00Z",
        ],
        "both",
    ),
    (
        &[
            "--from",
            "2026-01-03T07:00:00Z",
            "--to",
            "2026-01-03T08:30:00Z",
        ],
        "both",
    ),
    (
        &[
            "--from",
            "2026-01-01",
            "--to",
            "2026-01-06",
            "--states",
            "pending,declined",
            "--source",
            "hecone",
        ],
        "levels",
    ),
];

async fn both_ways(project: &TestProject, when: &str) {
    for (request, from) in REQUESTS {
        let ask = async |more: &[&str]| {
            let mut arguments = vec!["stats"];
            arguments.extend(request);
            arguments.extend(more);
            project.json(&arguments).await
        };
        let (mut answer, facts) = (ask(&[]).await, ask(&["--from-facts"]).await);
        assert_eq!(origin(&answer), from, "{when}: {request:?}");
        assert_eq!(facts["meta"]["answered_from"], "facts");
        answer["meta"]["answered_from"] = "facts".into();
        assert_eq!(answer, facts, "{when}: {request:?}");
    }
}

/// The published run's version of a table.
async fn version(project: &TestProject, path: &str) -> Option<i64> {
    let runs = project
        .sql("SELECT tables FROM ops.runs ORDER BY finished_at DESC LIMIT 1")
        .await;
    let tables = exact_json::json(runs[0]["tables"].as_str().unwrap(), "a run's tables");
    tables.get(path).map(exact_json::integer)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sync_keeps_them_and_a_rebuild_counts_them_anew() {
    let clock = "2026-01-03T12:00:00Z".parse().unwrap();
    let options = SandboxOptions {
        transactions: 4_000,
        clock,
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.set("slice", "90d");
    project.set("follow_open", "20000d");
    let range = ["--to", "2026-02-01"];
    project.sync(&range).await;
    both_ways(&project, "after the first sync").await;
    for day in 1..=3 {
        sandbox.advance(DAY).unwrap();
        project.sync(&range).await;
        both_ways(&project, &format!("{day} days later")).await;
    }
    let counted = project.count("SELECT count(*) FROM transactions").await;
    let rolled = "SELECT sum(transactions) FROM statistics.daily_transactions";
    assert_eq!(project.count(rolled).await, counted);
    // Each level is a sum of the same sales.
    for level in [
        "daily_transactions",
        "daily_transaction_totals",
        "monthly_transactions",
        "yearly_transactions",
    ] {
        let of_level =
            format!("SELECT sum(transactions) FROM statistics.levels WHERE level = '{level}'");
        assert_eq!(project.count(&of_level).await, counted, "{level}");
    }

    let before = version(&project, TABLE).await;
    assert!(before.is_some(), "the run names the roll-ups");
    project.sync(&range).await;
    let now = version(&project, TABLE).await;
    assert_eq!(now, before, "a sync that finds nothing new counts nothing");
    let ran = project.run(&["rebuild"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let now = version(&project, TABLE).await;
    assert!(now > before, "a rebuild counts anew");
    both_ways(&project, "after the rebuild").await;
    assert_eq!(project.count(rolled).await, counted);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_of_the_past_is_told() {
    let options = SandboxOptions {
        transactions: 500,
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let project = TestProject::new(&sandbox.hecone_url()).await;
    project.set("slice", "90d");
    let range = ["--to", "2026-01-06"];
    project.sync(&range).await;
    let runs = project.sql("SELECT run_id FROM ops.runs").await;
    let since = runs[0]["run_id"].as_str().unwrap().to_owned();
    let unchanged = project.json(&["restated", "--since", &since]).await;
    assert_eq!(unchanged["hours"], Value::Array(Vec::new()));

    let records: Vec<Value> = sandbox
        .truth()
        .iter()
        .map(|body| serde_json::from_slice(body).unwrap())
        .collect();
    let in_euros = |r: &&Value| {
        let has_time = r["invoice"]["created_at"].is_string();
        r["state"] == "completed" && r["invoice"]["currency"] == "EUR" && has_time
    };
    let mut sale = records
        .iter()
        .find(in_euros)
        .expect("a completed sale in euros")
        .clone();
    let at = sale["invoice"]["created_at"]
        .as_str()
        .unwrap()
        .parse::<jiff::Timestamp>()
        .unwrap();
    let old = exact_json::json(&sale["invoice"]["amount"].to_string(), "an amount");
    sale["invoice"]["amount"] = 1000.into();
    sandbox.put(&sale.to_string()).unwrap();
    project.sync(&range).await;

    let report = project.json(&["restated", "--since", &since]).await;
    let hours = report["hours"].as_array().unwrap();
    assert_eq!(hours.len(), 1, "{report}");
    assert_eq!(
        (&hours[0]["figure"], &hours[0]["currency"]),
        (&"amount".into(), &"EUR".into())
    );
    let hour: jiff::Timestamp = hours[0]["period"].as_str().unwrap().parse().unwrap();
    assert!(hour <= at && at < hour + jiff::SignedDuration::from_hours(1));
    assert_eq!(
        (
            report["days"].as_array().unwrap().len(),
            report["months"].as_array().unwrap().len()
        ),
        (1, 1)
    );
    let transaction = &report["transactions"][0];
    assert_eq!(
        transaction["transaction_key"],
        format!("hecone:{}", sale["id"].as_str().unwrap())
    );
    assert_eq!(
        (
            &transaction["then"]["amount"],
            &transaction["now"]["amount"]
        ),
        (&old, &"#1000".into())
    );
    assert_eq!(transaction["what"], serde_json::json!(["amount"]));

    let ran = project.run(&["restated", "--since", &since]).await;
    assert!(
        ran.stdout.contains("1 of 1 transactions listed"),
        "{}",
        ran.stdout
    );
    let ran = project
        .run(&[
            "--format", "csv", "restated", "--since", &since, "--by", "month",
        ])
        .await;
    assert!(
        ran.stdout
            .starts_with("period,currency,figure,unit,then,now,difference\n2026-01,EUR,amount,,"),
        "{}",
        ran.stdout
    );
    let ran = project.run(&["restated", "--since", "no-such-run"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("there is no published run no-such-run"),
        "{}",
        ran.stderr
    );
    sandbox.stop().await;
}
