//! Completeness that `stats` reports, of sources that are read by event time, by change time, or
//! by both.
//!
//! Invariant: an answer that lacks something says so, and one that lacks nothing has no gap, after any number of syncs.

use crate::project::TestProject;
use crate::recent_sales::{in_hours, recent_sales, stats_meta};
use jiff::Timestamp;
use serde_json::{Value, json};

const SOURCES: [&str; 4] = ["hecone", "smartnow", "bemo", "pace"];

async fn meta(project: &TestProject, from: &str, to: &str) -> Value {
    stats_meta(project, from, to, &[]).await
}

fn instant(value: &Value) -> Timestamp {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no time"))
        .parse()
        .unwrap()
}

fn is_complete(meta: &Value) -> bool {
    let through = &meta["data_through"];
    meta["gaps"] == json!([]) && !through.is_null() && instant(through) >= instant(&meta["to"])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sync_leaves_an_answer_as_complete_as_the_first() {
    let (sandbox, project) = recent_sales(&SOURCES).await;
    let (from, to, later) = (in_hours(-5 * 24), in_hours(-2), in_hours(2));
    for when in ["at first", "again", "and again"] {
        project.json(&["sync"]).await;
        let answer = meta(&project, &from, &to).await;
        assert!(is_complete(&answer), "{when}: {answer}");
        assert!(answer.get("still_to_come").is_none(), "{when}: {answer}");
        // The time still to come is no gap, and nothing was read of it.
        let answer = meta(&project, &from, &later).await;
        assert!(
            answer["gaps"] == json!([]) && !is_complete(&answer),
            "{when}: {answer}"
        );
        assert!(
            instant(&answer["data_through"]) <= Timestamp::now(),
            "{when}: {answer}"
        );
        assert_eq!(
            answer["still_to_come"]["to"], answer["to"],
            "{when}: {answer}"
        );
    }
    let read = "SELECT DISTINCT pipeline, resource, coalesce(read_by, '-') || ' ' || coalesce(also_read_by, '-') AS by FROM ops.slices \
                WHERE resource IN ('transactions', 'sessions', 'revenue_transactions', 'logs', 'machines') OR resource LIKE '%late%' \
                ORDER BY 1, 2, 3";
    let read: Vec<String> = project
        .sql(read)
        .await
        .iter()
        .map(|row| {
            ["pipeline", "resource", "by"]
                .map(|column| row[column].as_str().unwrap())
                .join(" ")
        })
        .collect();
    let expected = [
        "bemo sessions change_time event_time",
        "bemo sessions event_time change_time",
        "hecone transactions event_time -",
        "pace transactions event_time -",
        "smartnow logs change_time event_time",
        "smartnow logs event_time change_time",
        "smartnow machines - -",
        "smartnow revenue_transactions change_time -",
    ];
    assert_eq!(read, expected);
    let shown = project
        .run(&["stats", "--from", &from, "--to", &later])
        .await
        .stdout;
    assert!(
        shown.contains("hour of the window is still to come; ") && shown.contains("no gaps"),
        "{shown}"
    );
    let page = project
        .run(&["stats", "--from", &from, "--to", &later, "--format", "html"])
        .await
        .stdout;
    assert!(
        page.contains("Not over yet.")
            && page.contains("still to come")
            && !page.contains("Never read"),
        "{page}"
    );
    let status = project.json(&["status"]).await;
    for resource in status.as_array().unwrap() {
        assert!(
            resource["gaps"] == json!([]) && !resource["data_through"].is_null(),
            "{resource}"
        );
    }
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_was_read_before_it_was_over_is_read_when_it_is() {
    let (sandbox, project) = recent_sales(&["hecone"]).await;
    project.set("slice", "365d");
    let before = Timestamp::now();
    let asked = sandbox.requests().total;
    let ran = project.run(&["sync", "--to", "2100-01-01"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("Read up to now: --to 2100-01-01T00:00:00Z lies in the future."),
        "{}",
        ran.stderr
    );
    assert!(
        sandbox.requests().total - asked < 40,
        "nothing of the future was asked for"
    );
    assert_eq!(
        project
            .count("SELECT count(*) FROM ops.slices WHERE window_to > now()")
            .await,
        0
    );
    let answer = meta(&project, &in_hours(-24), "2100-01-01").await;
    assert!(
        !is_complete(&answer) && instant(&answer["data_through"]) <= Timestamp::now(),
        "{answer}"
    );
    assert_eq!(
        (&answer["gaps"], &answer["still_to_come"]["to"]),
        (&json!([]), &answer["to"]),
        "{answer}"
    );
    let later = in_hours(24 * 365);
    let page = project
        .run(&[
            "stats",
            "--from",
            &in_hours(-24),
            "--to",
            &later,
            "--format",
            "html",
        ])
        .await
        .stdout;
    assert!(
        page.contains("Not over yet.") && !page.contains("Complete."),
        "{page}"
    );
    let endless = project
        .run(&[
            "stats",
            "--from",
            "0001-01-01",
            "--to",
            "9999-01-01",
            "--format",
            "html",
        ])
        .await;
    assert_eq!(endless.code, Some(2), "{}", endless.stderr);
    assert!(
        endless
            .stderr
            .contains("3651694 were asked for, and 7320 are the most"),
        "{}",
        endless.stderr
    );
    let future = ["--from", "2099-01-01", "--to", "2100-01-01"];
    for command in [
        &["sync"][..],
        &["stats"],
        &["restated", "--since", "2099-01-01"],
        &["reconcile"],
        &["report", "revenue-summary"],
    ] {
        let ran = project.run(&[command, &future].concat()).await;
        assert_eq!(ran.code, Some(2), "{command:?}: {}", ran.stderr);
        assert!(
            ran.stderr.contains("lies in the future: now it is 20"),
            "{command:?}: {}",
            ran.stderr
        );
    }
    project.json(&["sync"]).await;
    // From where it had come to, to now.
    let read = project
        .sql("SELECT max(window_from) AS from_, max(window_to) AS to_ FROM ops.slices")
        .await;
    assert!(instant(&read[0]["to_"]) >= before, "{read:?}");
    assert!(instant(&meta(&project, &in_hours(-24), "2100-01-01").await["data_through"]) >= before);
    sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_change_time_a_gap_after_the_window_counts_and_the_next_sync_closes_it() {
    let (sandbox, project) = recent_sales(&["smartnow"]).await;
    let (from, middle, later) = (in_hours(-6 * 24), in_hours(-4 * 24), in_hours(-3 * 24));
    project
        .json(&["sync", "--from", &from, "--to", &middle])
        .await;
    let changed = |answer: &Value| -> Vec<Value> {
        let gaps = answer["gaps"].as_array().unwrap().iter();
        gaps.filter(|gap| gap["resource"] == "revenue_transactions")
            .cloned()
            .collect()
    };
    // A sale of these days that was changed since has not come.
    let answer = meta(&project, &from, &middle).await;
    let gaps = changed(&answer);
    assert_eq!(
        (gaps.len(), &gaps[0]["from"], &gaps[0]["read_by"]),
        (1, &json!(middle), &json!("change_time")),
        "{answer}"
    );
    // By event time these days are read.
    assert!(
        !answer["gaps"]
            .as_array()
            .unwrap()
            .iter()
            .any(|gap| gap["resource"] == "logs"),
        "{answer}"
    );
    let note = project
        .run(&["stats", "--from", &from, "--to", &middle])
        .await
        .stdout;
    assert!(
        note.contains("never read: what changed of") && note.contains("of smartnow, from"),
        "{note}"
    );

    project
        .json(&["sync", "--from", &later, "--to", &in_hours(0)])
        .await;
    let gaps = changed(&meta(&project, &from, &middle).await);
    assert_eq!(
        (&gaps[0]["from"], &gaps[0]["to"]),
        (&json!(middle), &json!(later)),
        "{gaps:?}"
    );
    project.json(&["sync"]).await;
    let answer = meta(&project, &from, &middle).await;
    assert!(is_complete(&answer), "{answer}");
    sandbox.stop().await;
}
