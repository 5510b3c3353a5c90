//! The law of publishing: which tables a run names, at which versions, and what it says of its pipelines.
//!
//! Invariant: each test publishes over a warehouse of its own, and looks at what a reader opens.

use super::*;
use crate::report::{FailedSlice, PipelineFailure};
use crate::scripted_source::{SALES, SHOPS, ScriptedRun, queued, sale};
use tillhouse_lake::AsOf;
use tillhouse_model::ExpectedReads;
use tokio::sync::mpsc;

const SYNC: RunKind<'_> = RunKind {
    command: "sync",
    rebuilt: &[],
    let_be: &[],
};

/// Lands sales in one package.
async fn land(run: &ScriptedRun, ids: &[&str]) {
    use crate::message::PageSink;
    let (mut send, receive) = mpsc::channel(1);
    let landing = tokio::spawn(run.writer(None).run(receive));
    let records: Vec<String> = ids.iter().map(|id| sale(id)).collect();
    send.accept(queued(&records, 1)).await.unwrap();
    drop(send);
    landing.await.unwrap().unwrap();
}

async fn publish_as(run: &ScriptedRun, id: &str, pipelines: &[&Pipeline], report: &RunReport) {
    let (context, started) = (run.context(), run.warehouse.now());
    let unnoted = publish(&context, pipelines, SYNC, id, started, report).await;
    unnoted.unwrap().unwrap().note().await;
}

async fn newest_run(run: &ScriptedRun) -> RunRecord {
    let newest = run.warehouse.ops().published(&AsOf::Latest).await;
    newest.unwrap().unwrap()
}

#[tokio::test]
async fn a_run_names_the_tables_that_are_there_at_their_newest_versions() {
    let run = ScriptedRun::new([]).await;
    let pipeline = run.pipeline_of(&[SALES, SHOPS]);
    publish_as(&run, "first", &[&pipeline], &RunReport::default()).await;
    let first = newest_run(&run).await;
    assert!(
        !first.tables.contains_key("shop/sales"),
        "nothing landed yet"
    );
    land(&run, &["a", "b"]).await;
    publish_as(&run, "second", &[&pipeline], &RunReport::default()).await;
    let second = newest_run(&run).await;
    assert_eq!(
        (second.run_id.as_str(), second.outcome.as_str()),
        ("second", "done")
    );
    assert!(!second.tables.contains_key("shop/shops"));
    let version = second.tables["shop/sales"].clone();
    assert_eq!(second.figures["shop/sales"].rows, Some(2));
    land(&run, &["c"]).await;
    let open = run.warehouse.open_at("shop/sales", Some(&version)).await;
    assert_eq!(
        open.unwrap().unwrap().figures.rows,
        Some(2),
        "what lands later is not in it"
    );
    publish_as(&run, "third", &[&pipeline], &RunReport::default()).await;
    let third = newest_run(&run).await;
    assert!(third.tables["shop/sales"] > version);
    assert_eq!(third.figures["shop/sales"].rows, Some(3));
}

#[tokio::test]
async fn what_other_pipelines_have_stays_as_the_run_before_named_it() {
    let run = ScriptedRun::new([]).await;
    let shop = run.pipeline(SALES);
    land(&run, &["a"]).await;
    publish_as(&run, "first", &[&shop], &RunReport::default()).await;
    let version = newest_run(&run).await.tables["shop/sales"].clone();
    // Its own run has landed this, and is not over.
    land(&run, &["b"]).await;
    let other = Pipeline {
        name: "kiosk".to_owned(),
        ..run.pipeline(SALES)
    };
    publish_as(&run, "second", &[&other], &RunReport::default()).await;
    let second = newest_run(&run).await;
    assert_eq!(second.pipelines, ["kiosk"]);
    assert_eq!(second.tables["shop/sales"], version);
    assert!(!second.tables.contains_key("kiosk/sales"));
}

#[tokio::test]
async fn a_run_of_which_a_part_failed_says_so_and_counts_what_came() {
    let run = ScriptedRun::new([]).await;
    let pipeline = run.pipeline(SALES);
    let part = |new: u64| PipelineReport {
        new,
        slices: 1,
        ..PipelineReport::default()
    };
    let error = Error::config("it failed");
    let failed_slice = PipelineReport {
        failed: vec![FailedSlice::of("sales", &error)],
        ..part(2)
    };
    let failed = PipelineReport {
        failure: Some(PipelineFailure {
            error: "it failed".to_owned(),
            hint: None,
        }),
        ..part(3)
    };
    for (id, pipelines, outcome) in [
        ("a", vec![part(1)], "done"),
        ("b", vec![part(1), failed_slice], "partial"),
        ("c", vec![part(1), failed], "partial"),
    ] {
        let new: u64 = pipelines.iter().map(|part| part.new).sum();
        let report = RunReport {
            pipelines,
            ..RunReport::default()
        };
        publish_as(&run, id, &[&pipeline], &report).await;
        let record = newest_run(&run).await;
        assert_eq!(
            (record.run_id.as_str(), record.outcome.as_str()),
            (id, outcome)
        );
        assert_eq!(record.counts["new"], new);
        assert_eq!(record.counts.contains_key("pipelines_failed"), id == "c");
    }
}

#[tokio::test]
async fn the_bookkeeping_is_named_but_for_the_table_of_the_record_itself() {
    let run = ScriptedRun::new([]).await;
    let pipeline = run.pipeline(SALES);
    let context = run.context();
    run.answer_next(vec![crate::scripted_source::Turn::Page(
        crate::scripted_source::page(&[sale("a")]),
    )]);
    let done = crate::sync(&context, &[pipeline], crate::plan::SyncOptions::default()).await;
    assert!(done.unwrap().published);
    let record = newest_run(&run).await;
    assert!(record.tables.contains_key("ops/slices"));
    assert!(!record.tables.contains_key("ops/runs"));
}

#[tokio::test]
async fn a_run_says_what_every_pipeline_of_the_project_is_to_read() {
    let run = ScriptedRun::new([]).await;
    let folder = run.context().project.dir.join("pipelines");
    let write = |name: &str, text: &str| {
        std::fs::create_dir_all(folder.join(name)).unwrap();
        std::fs::write(folder.join(name).join("pipeline.yaml"), text).unwrap();
    };
    write(
        "fleet",
        "source: pace\nconnection: { client_secret: \"${NOBODY_SET_THIS}\" }\n",
    );
    write("torn", "source: [");
    let shop = run.pipeline_of(&[SALES, SHOPS]);
    publish_as(&run, "first", &[&shop], &RunReport::default()).await;
    let everybody = |resource: &str| (resource.to_owned(), vec![None]);
    // A list that is read whole begins at no time.
    let starts = shop
        .resources
        .iter()
        .filter(|plan| plan.resource.name == "sales");
    let starts = starts.map(|plan| ("sales".to_owned(), plan.sync.start));
    let shops = ExpectedReads {
        unified_by: Some("first".to_owned()),
        ..ExpectedReads::new(shop.source_name, ["sales", "shops"].map(everybody)).starting(starts)
    };
    let expected = BTreeMap::from([
        (
            "fleet".to_owned(),
            ExpectedReads::unknown(Some("pace".to_owned())),
        ),
        ("shop".to_owned(), shops),
        ("torn".to_owned(), ExpectedReads::unknown(None)),
    ]);
    assert_eq!(newest_run(&run).await.expected, expected);
    // A run of nobody's pipelines, as all were left out, takes nothing back.
    publish_as(&run, "second", &[], &RunReport::default()).await;
    assert_eq!(newest_run(&run).await.expected, expected);
}
