//! Reconciliation from end to end: clean against a truthful provider, red when one of its figures is wrong.
//!
//! Invariant: exit code 0 means that every figure was compared and none differs; 3 that one does.

use crate::exact_json;
use crate::project::{CommandOutput, TestProject};
use serde_json::Value;
use tillhouse_sandbox::{
    EmulatedFault, FaultKind, RecordMutation, RecordMutationKind, Sandbox, SandboxOptions,
};

const WINDOW: [&str; 4] = ["--from", "2026-01-01", "--to", "2026-01-06"];

async fn reconcile(project: &TestProject, more: &[&str]) -> (Option<i32>, Value) {
    let mut arguments = vec!["--format", "json", "reconcile"];
    arguments.extend(WINDOW);
    arguments.extend(more);
    let ran: CommandOutput = project.run(&arguments).await;
    assert!(matches!(ran.code, Some(0 | 3)), "{}", ran.stderr);
    let report = exact_json::json(&ran.stdout, "a reconciliation");
    (ran.code, report["pipelines"][0].clone())
}

fn texts<'a>(rows: &'a Value, field: &str) -> Vec<&'a str> {
    rows.as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row[field].as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn clean_against_the_truth_and_red_when_one_figure_lies() {
    let (sandbox, project) = TestProject::synced_at_once(3_000).await;
    let (code, clean) = reconcile(&project, &[]).await;
    assert_eq!(
        (code, &clean["differences"]),
        (Some(0), &Value::Array(Vec::new())),
        "{clean}"
    );
    assert_eq!(clean["yardstick"], "statistics");
    let windows = 5 * sandbox.mandators().len() as i64;
    assert_eq!(exact_json::integer(&clean["windows"]), windows);
    assert!(
        exact_json::integer(&clean["figures"]) > 1_000,
        "{}",
        clean["figures"]
    );
    assert_eq!(
        project
            .count("SELECT count(*) FROM ops.reconciliations WHERE outcome = 'equal'")
            .await,
        windows
    );

    sandbox.inject([EmulatedFault::new(FaultKind::LieStatistics).after(3)]);
    let (code, red) = reconcile(&project, &[]).await;
    assert_eq!(code, Some(3));
    let differences = &red["differences"];
    assert_eq!(texts(differences, "part"), ["transactions_count"], "{red}");
    assert_eq!(differences[0]["difference"], "#1");
    assert!(
        !differences[0]["transactions"]
            .as_array()
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        red["findings"],
        Value::Array(Vec::new()),
        "one figure is no pattern"
    );
    let kept = project
        .sql("SELECT part, ours, theirs, window_from FROM ops.reconciliations WHERE outcome = 'different'")
        .await;
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["part"], "transactions_count");

    sandbox.inject([EmulatedFault::new(FaultKind::LieStatistics)]);
    let ran = project
        .run(&["reconcile", "--from", "2026-01-02", "--to", "2026-01-03"])
        .await;
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(
        ran.stdout.contains("transactions_count") && ran.stdout.contains("1 differ"),
        "{}",
        ran.stdout
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_was_never_read_is_not_equal() {
    let (sandbox, project) = TestProject::synced_at_once(60).await;
    // Nothing here and nothing there, before the first day that is read and after the last.
    for (from, to) in [("2025-11-01", "2025-11-03"), ("2026-03-01", "2026-03-02")] {
        for by in ["statistics", "records"] {
            let arguments = ["reconcile", "--from", from, "--to", to, "--by", by];
            let ran = project.run(&arguments).await;
            assert_eq!(
                ran.code,
                Some(3),
                "{arguments:?}: {}{}",
                ran.stdout,
                ran.stderr
            );
            assert!(
                !ran.stdout.contains("all equal") && ran.stdout.contains("not compared"),
                "{arguments:?}: {}",
                ran.stdout
            );
        }
    }
    let kept = "SELECT count(*) FROM ops.reconciliations WHERE outcome <> 'incomplete'";
    assert_eq!(project.count(kept).await, 0);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_that_is_not_here_shows_in_its_hour_and_site_and_another_definition_shows_as_one() {
    let (sandbox, project) = TestProject::synced_at_once(600).await;
    let records: Vec<Value> = sandbox
        .truth()
        .iter()
        .map(|body| serde_json::from_slice(body).unwrap())
        .collect();
    let paid = |r: &Value| {
        r["invoice"]["amount"]
            .as_f64()
            .is_some_and(|amount| amount > 0.0)
    };
    let usual =
        |r: &&Value| r["state"] == "completed" && r["invoice"]["created_at"].is_string() && paid(r);
    let mut late = records
        .iter()
        .find(usual)
        .expect("a completed sale")
        .clone();
    late["id"] = "00000009-0000-4000-8000-000000000000".into();
    sandbox.put(&late.to_string()).unwrap();

    let (code, red) = reconcile(&project, &[]).await;
    assert_eq!(code, Some(3));
    let parts = texts(&red["differences"], "part");
    for part in [
        "transactions_count",
        "transactions_total_amount",
        "hourly_transactions",
        "sites_transactions_ranking",
    ] {
        assert!(parts.contains(&part), "{part} in {parts:?}");
    }
    let site = late["site"]["name"].as_str().unwrap();
    assert!(texts(&red["differences"], "label").contains(&site), "{red}");
    let at: jiff::Timestamp = late["invoice"]["created_at"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    for difference in red["differences"].as_array().unwrap() {
        let instant = |field: &str| {
            difference[field]
                .as_str()
                .unwrap()
                .parse::<jiff::Timestamp>()
                .unwrap()
        };
        let (from, to) = (instant("from"), instant("to"));
        let is_growth = difference["part"].as_str().unwrap().ends_with(".growth");
        assert!(is_growth || (from <= at && at < to), "{difference}");
        let hours = to.duration_since(from).as_hours();
        assert!(is_growth || hours == 1, "found hour by hour: {difference}");
    }

    // By records: the key that is missing.
    let (code, records) = reconcile(&project, &["--by", "records"]).await;
    assert_eq!((code, &records["yardstick"]), (Some(3), &"records".into()));
    assert_eq!(
        texts(&records["differences"], "label"),
        ["transactions: not here"]
    );
    let notes = records["notes"].to_string();
    assert!(
        notes.contains("00000009-0000-4000-8000-000000000000"),
        "{notes}"
    );
    project.sync(&["--to", "2026-01-06"]).await;
    let (code, _) = reconcile(&project, &["--by", "records"]).await;
    assert_eq!(code, Some(0));
    let (code, _) = reconcile(&project, &[]).await;
    assert_eq!(code, Some(0), "clean again after a sync");

    // We count other states than the provider.
    let (code, red) = reconcile(&project, &["--states", "completed"]).await;
    assert_eq!(code, Some(3));
    assert_eq!(
        red["findings"][0]["definition"], "states",
        "{}",
        red["findings"]
    );
    let text = red["findings"][0]["text"].as_str().unwrap();
    assert!(text.contains("--states completed,consumed "), "{text}");
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_site_is_compared_through_a_filter_on_both_sides() {
    let (sandbox, project) = TestProject::synced_at_once(600).await;
    let busiest = "SELECT site_key, count(*) AS n FROM transactions WHERE site_key IS NOT NULL GROUP BY 1 ORDER BY n DESC LIMIT 1";
    let key = project.sql(busiest).await[0]["site_key"]
        .as_str()
        .unwrap()
        .to_owned();
    let site = key.strip_prefix("hecone:").unwrap();
    let filter = format!(r#"{{"field":"site_id","operator":"eq","value":"{site}"}}"#);
    let (_, all) = reconcile(&project, &[]).await;
    let (code, one) = reconcile(&project, &["--filter", &filter]).await;
    assert_eq!(
        (code, &one["differences"]),
        (Some(0), &Value::Array(Vec::new())),
        "{one}"
    );
    assert!(
        exact_json::integer(&one["figures"]) > 10
            && exact_json::integer(&one["figures"]) < exact_json::integer(&all["figures"]),
        "{one}"
    );
    let kept = "SELECT count(*) FROM ops.reconciliations WHERE filter LIKE '%site_id%' AND outcome = 'equal'";
    assert!(project.count(kept).await > 0);
    assert!(
        project
            .count("SELECT count(*) FROM ops.reconciliations WHERE filter IS NULL")
            .await
            > 0
    );

    // A sale that the provider does not know of that site shows; one of another does not.
    sandbox.inject([EmulatedFault::new(FaultKind::LieStatistics).times(100)]);
    let (code, red) = reconcile(&project, &["--filter", &filter]).await;
    sandbox.clear_faults();
    let parts = texts(&red["differences"], "part");
    assert!(
        code == Some(3) && parts.iter().all(|part| *part == "transactions_count"),
        "{red}"
    );

    for (more, said) in [
        (
            ["--by", "records"].as_slice(),
            "the number of records cannot be narrowed",
        ),
        (
            &["--states", "completed"],
            "there is no field \"colour\" to filter by",
        ),
    ] {
        let filter = if more[0] == "--by" {
            filter.as_str()
        } else {
            r#"{"field":"colour","operator":"eq","value":"x"}"#
        };
        let mut arguments = vec!["reconcile", "--filter", filter];
        arguments.extend(WINDOW);
        arguments.extend(more);
        let ran = project.run(&arguments).await;
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(said), "{}", ran.stderr);
    }

    // A slip in a name is told, as `stats` tells it; an answer about nobody would say that nothing was compared.
    let typo = format!(r#"{{"field":"site_key","operator":"eq","value":"{key}x"}}"#);
    let nobody = r#"{"field":"tenant_id","operator":"eq","value":"no such tenant"}"#;
    for (filter, said) in [
        (typo.as_str(), format!("Did you mean \"{key}\"")),
        (nobody, "there is no tenant \"no such tenant\"".to_owned()),
    ] {
        let mut arguments = vec!["reconcile", "--filter", filter];
        arguments.extend(WINDOW);
        let ran = project.run(&arguments).await;
        assert_eq!(ran.code, Some(2), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_totals_are_compared_by_day_and_currency() {
    let (sandbox, project) = TestProject::synced_at_once(600).await;
    let rows = project
        .sql(
            "SELECT business_date, currency, count(*) AS n, sum(amount) AS total FROM transactions
             WHERE kind IN ('sale', 'refund') AND state IN ('completed', 'consumed') AND currency IS NOT NULL
             GROUP BY business_date, currency ORDER BY business_date, currency",
        )
        .await;
    let number = |value: &Value| value.as_str().unwrap().trim_start_matches('#').to_owned();
    let mut lines = vec!["day,currency,count,amount".to_owned()];
    for row in &rows {
        let day = row["business_date"].as_str().unwrap();
        if ("2026-01-01".."2026-01-06").contains(&day) {
            let currency = row["currency"].as_str().unwrap();
            lines.push(format!(
                "{day},{currency},{},{}",
                number(&row["n"]),
                number(&row["total"])
            ));
        }
    }
    let file = project.path().join("control.csv");
    let name = file.to_str().unwrap();
    std::fs::write(&file, lines.join("\n")).unwrap();
    let unknown = project
        .count("SELECT count(*) FROM transactions WHERE currency IS NULL AND state IN ('completed', 'consumed')")
        .await;
    let (code, report) = reconcile(&project, &["--control", name]).await;
    let others: Vec<&str> = texts(&report["differences"], "currency")
        .into_iter()
        .filter(|c| *c != "unknown")
        .collect();
    assert!(others.is_empty(), "{report}");
    assert_eq!(code, Some(if unknown > 0 { 3 } else { 0 }));

    let line = lines[1].clone();
    let (day_and_currency, amount) = line.rsplit_once(',').unwrap();
    lines[1] = format!("{day_and_currency},{amount}1");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let (code, report) = reconcile(&project, &["--control", name]).await;
    assert_eq!(code, Some(3));
    assert!(
        texts(&report["differences"], "part").contains(&"transactions_total_amount"),
        "{report}"
    );
    let ran = project
        .run(&[
            "reconcile",
            "--from",
            "2026-02-01",
            "--to",
            "2026-02-02",
            "--control",
            name,
        ])
        .await;
    assert_eq!(ran.code, Some(2), "nothing was compared: {}", ran.stdout);
    assert!(
        ran.stderr
            .contains("no day of the control file lies between"),
        "{}",
        ran.stderr
    );
    std::fs::write(&file, "day,currency\n").unwrap();
    let ran = project
        .run(&[
            "reconcile",
            "--from",
            "2026-01-01",
            "--to",
            "2026-01-02",
            "--control",
            name,
        ])
        .await;
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("control.csv:1"), "{}", ran.stderr);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_source_is_compared_with_the_best_it_offers() {
    let options = SandboxOptions {
        transactions: 200,
        smartnow_sales: Some(300),
        bemo_sessions: Some(150),
        pace_transactions: Some(150),
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let sources = ["bemo", "hecone", "pace", "smartnow"];
    let project = TestProject::of(&sources, &sandbox, "2025-12-20").await;
    project.json(&["sync", "--to", "2026-01-10"]).await;
    let found = |ran: &CommandOutput| {
        exact_json::json(&ran.stdout, "a reconciliation")["pipelines"].clone()
    };

    let clean = project
        .run(&[
            "--format",
            "json",
            "reconcile",
            "--from",
            "2025-12-31",
            "--to",
            "2026-01-06",
        ])
        .await;
    assert_eq!(clean.code, Some(0), "{}\n{}", clean.stderr, clean.stdout);
    let pipelines = found(&clean);
    let yardsticks = ["records", "statistics", "records", "revenue"];
    assert_eq!(texts(&pipelines, "pipeline"), sources);
    assert_eq!(texts(&pipelines, "yardstick"), yardsticks);
    for pipeline in pipelines.as_array().unwrap() {
        assert!(exact_json::integer(&pipeline["figures"]) > 5, "{pipeline}");
        let completeness_only = pipeline["proves"]
            .as_str()
            .unwrap()
            .starts_with("Completeness only");
        assert_eq!(completeness_only, pipeline["yardstick"] == "records");
    }
    // The records of each are counted again, also of those that offer more.
    let range = ["--from", "2025-12-31", "--to", "2026-01-06"];
    let mut arguments = vec!["--format", "json", "reconcile", "--by", "records"];
    arguments.extend(range);
    let counted = project.run(&arguments).await;
    assert_eq!(
        counted.code,
        Some(0),
        "{}\n{}",
        counted.stderr,
        counted.stdout
    );
    assert_eq!(texts(&found(&counted), "yardstick"), ["records"; 4]);
    for pipeline in found(&counted).as_array().unwrap() {
        assert!(
            exact_json::integer(&pipeline["figures"]) > 100,
            "{pipeline}"
        );
    }

    let statement = "SELECT count(*) FROM ops.reconciliations WHERE yardstick = 'revenue' AND outcome IN ('equal', 'empty')";
    assert_eq!(project.count(statement).await, 6, "a row a day");

    // SmartNow's summary lies by one cent.
    sandbox.inject([EmulatedFault::new(FaultKind::LieStatistics).on("/smartnow/")]);
    let mut arguments = vec!["--format", "json", "reconcile", "smartnow"];
    arguments.extend(range);
    let red = project.run(&arguments).await;
    assert_eq!(red.code, Some(3), "{}\n{}", red.stderr, red.stdout);
    let pipelines = found(&red);
    assert_eq!(
        texts(&pipelines[0]["differences"], "part"),
        ["transactions_total_amount"]
    );
    // There is a session that was not read.
    let account = sandbox.accounts()[0].clone();
    let stir = RecordMutation {
        resource: "sessions".into(),
        tenant: Some(account),
        kind: RecordMutationKind::Arrive,
        from: "2026-01-02T00:00:00Z".parse().unwrap(),
        to: "2026-01-04T00:00:00Z".parse().unwrap(),
    };
    let id = sandbox
        .mutate("bemo", &stir)
        .unwrap()
        .expect("a session can arrive");
    arguments[3] = "bemo";
    let red = project.run(&arguments).await;
    assert_eq!(red.code, Some(3), "{}\n{}", red.stderr, red.stdout);
    assert!(
        found(&red)[0]["notes"].to_string().contains(&id),
        "{}",
        red.stdout
    );
    let ran = project
        .run(&[
            "reconcile",
            "pace",
            "--by",
            "statistics",
            "--from",
            "2026-01-01",
            "--to",
            "2026-01-02",
        ])
        .await;
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr
            .contains("pace has no statistics to compare with"),
        "{}",
        ran.stderr
    );

    // One that cannot be asked does not keep the others from being compared.
    let refused = EmulatedFault {
        status: Some(403),
        ..EmulatedFault::new(FaultKind::ServerError)
            .times(9)
            .on("/pace/")
    };
    sandbox.inject([refused]);
    let mut both = vec!["--format", "json", "reconcile", "pace", "smartnow"];
    both.extend(range);
    let ran = project.run(&both).await;
    assert_eq!(ran.code, Some(1), "{}\n{}", ran.stderr, ran.stdout);
    assert!(ran.stderr.contains("pipeline pace"), "{}", ran.stderr);
    let report = exact_json::json(&ran.stdout, "a reconciliation");
    assert_eq!(texts(&report["pipelines"], "pipeline"), ["smartnow"]);
    assert!(report["failed"]["pace"].is_string(), "{report}");
    sandbox.stop().await;
}

/// A completed sale of the sandbox.
fn usual(sandbox: &Sandbox) -> Value {
    let records: Vec<Value> = sandbox
        .truth()
        .iter()
        .map(|body| serde_json::from_slice(body).unwrap())
        .collect();
    let is_usual = |r: &&Value| r["state"] == "completed" && r["invoice"]["created_at"].is_string();
    records
        .iter()
        .find(is_usual)
        .expect("a completed sale")
        .clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_compared_is_never_called_equal() {
    let (sandbox, project) = TestProject::synced_at_once(300).await;
    let mut range = vec!["reconcile", "--by", "records"];
    range.extend(WINDOW);
    let ran = project.run(&range).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("in 5 windows: all equal"),
        "{}",
        ran.stdout
    );

    // One that does not fit is there, and was not compared: neither equal nor gone.
    let mut broken = usual(&sandbox);
    broken["invoice"]["amount"] = "12,50".into();
    sandbox.put(&broken.to_string()).unwrap();
    let (code, report) = reconcile(&project, &["--by", "records"]).await;
    assert_eq!(
        (code, &report["verdict"], &report["differences"]),
        (Some(3), &"incomplete".into(), &Value::Array(vec![]))
    );
    assert_eq!(exact_json::integer(&report["not_compared"]), 1, "{report}");
    let ran = project.run(&range).await;
    assert!(
        ran.code == Some(3) && !ran.stdout.contains("all equal"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout
            .contains("what was compared is equal; 1 was not compared, see the notes"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout
            .contains("1 records do not fit their contract and were not compared"),
        "{}",
        ran.stdout
    );

    // A filter that nothing passes compares nothing.
    let nobody = r#"{"field":"site_name","operator":"contains","value":"no such site"}"#;
    let (code, report) = reconcile(&project, &["--filter", nobody]).await;
    assert_eq!(
        (code, &report["verdict"]),
        (Some(3), &"incomplete".into()),
        "{report}"
    );
    let mut filtered = vec!["reconcile", "--filter", nobody];
    filtered.extend(WINDOW);
    let ran = project.run(&filtered).await;
    assert!(
        ran.stdout.contains("nothing was compared") && !ran.stdout.contains("all equal"),
        "{}",
        ran.stdout
    );
    let kept = "SELECT count(*) FROM ops.reconciliations WHERE outcome = 'equal' AND figures = 0";
    assert_eq!(project.count(kept).await, 0);

    // A control file says nothing of the days around it.
    let file = project.path().join("control.csv");
    std::fs::write(&file, "day,currency,count,amount\n2026-01-02,EUR,1,1\n").unwrap();
    let (code, report) = reconcile(&project, &["--control", file.to_str().unwrap()]).await;
    assert_eq!(
        (code, exact_json::integer(&report["not_compared"])),
        (Some(3), 4),
        "{report}"
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_moved_is_not_called_gone() {
    let (sandbox, project) = TestProject::synced_at_once(300).await;
    // Into another window asked for, and out of all of them.
    let (mut inside, id) = (
        usual(&sandbox),
        usual(&sandbox)["id"].as_str().unwrap().to_owned(),
    );
    for (day, label, ours) in [
        (
            "2026-01-05T23:00:00Z",
            "transactions: moved into this window, an older version here",
            "#0",
        ),
        (
            "2026-01-20T12:00:00Z",
            "transactions: moved to another window, an older version here",
            "#1",
        ),
    ] {
        inside["invoice"]["created_at"] = day.into();
        sandbox.put(&inside.to_string()).unwrap();
        let (code, report) = reconcile(&project, &["--by", "records"]).await;
        assert_eq!(
            (code, texts(&report["differences"], "label")),
            (Some(3), vec![label]),
            "{report}"
        );
        assert_eq!(report["differences"][0]["ours"], ours, "{report}");
        assert!(report["notes"].to_string().contains(&id), "{report}");
    }
    // One that is nowhere is.
    assert!(sandbox.remove(&id));
    let (_, report) = reconcile(&project, &["--by", "records"]).await;
    assert_eq!(
        texts(&report["differences"], "label"),
        ["transactions: no longer there"],
        "{report}"
    );
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ignores_the_filter_is_found_out() {
    let (sandbox, project) = TestProject::synced_at_once(600).await;
    let busiest = "SELECT site_key, count(*) AS n FROM transactions WHERE site_key IS NOT NULL GROUP BY 1 ORDER BY n DESC LIMIT 1";
    let key = project.sql(busiest).await[0]["site_key"]
        .as_str()
        .unwrap()
        .to_owned();
    let site = key.strip_prefix("hecone:").unwrap();
    let filter = format!(r#"{{"field":"site_id","operator":"eq","value":"{site}"}}"#);
    let path = project.path().join("pipelines/hecone/pipeline.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replacen(
            "connection:\n",
            "connection:\n  filter_parameter: narrowed_by\n",
            1,
        ),
    )
    .unwrap();
    let (code, report) = reconcile(&project, &["--filter", &filter]).await;
    assert_eq!(
        (code, &report["findings"][0]["definition"]),
        (Some(3), &"filter".into()),
        "{}",
        report["findings"]
    );
    let said = report["findings"][0]["text"].as_str().unwrap();
    assert!(said.contains("The other side ignores the filter"), "{said}");

    // Also where something else differs.
    sandbox.inject([EmulatedFault::new(FaultKind::LieStatistics).times(100)]);
    let (_, report) = reconcile(&project, &["--filter", &filter]).await;
    let said = report["findings"][0]["text"].as_str().unwrap();
    assert!(
        said.contains("what the filter leaves out came back"),
        "{said}"
    );
    sandbox.stop().await;
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_warehouse_that_cannot_be_written_to_is_compared_all_the_same() {
    let (sandbox, project) = TestProject::synced_at_once(300).await;
    // A file where the table's folder should be: nothing can be kept there, whoever asks.
    std::fs::write(project.path().join("warehouse/ops/reconciliations"), "").unwrap();
    let mut range = vec!["reconcile"];
    range.extend(WINDOW);
    let ran = project.run(&range).await;
    assert!(ran.stdout.contains("windows: all equal"), "{ran:?}");
    assert!(
        ran.stderr.contains("Not kept in ops.reconciliations: "),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    sandbox.stop().await;
}
