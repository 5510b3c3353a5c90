//! The law of statements that run while records arrive: who waits, who may stop early, and what a failure leaves.
//!
//! Invariant: nothing is in a unified table before all records have come.

use super::super::scripted_statements::{
    ARTICLES, TRANSACTIONS, checked, land, pipeline, progress, rows,
};
use super::*;
use crate::config::Pipeline;
use crate::scripted_source::{ScriptedRun, sale};

struct Feed {
    context: RunContext,
    pipeline: Pipeline,
    running: RunningStatements,
    batches: Vec<RecordBatch>,
}

/// Statements that are started, and the records of packages of one sale each.
async fn feed(run: &ScriptedRun, statements: &[(&str, &str)], ids: &[&str]) -> Feed {
    let packages: Vec<Vec<String>> = ids.iter().map(|id| vec![sale(id)]).collect();
    let landed = land(run, 1, &packages).await;
    let batches = landed.into_iter().flat_map(|package| package.rows.rows);
    let (context, pipeline) = (run.context(), pipeline(run, statements));
    let checked = checked(&context, &pipeline).await;
    let statements: Vec<&UnifyStatement> = checked.0.iter().collect();
    let schema = pipeline.resources[0].spec.source_schema();
    let running = RunningStatements::start(&context, &pipeline.name, &statements, &schema);
    Feed {
        running,
        batches: batches.collect(),
        context,
        pipeline,
    }
}

fn step(to_load_id: i64) -> UnifyStep {
    UnifyStep {
        pipeline: "shop".to_owned(),
        resource: "sales".to_owned(),
        after_load_id: 0,
        to_load_id,
        children: Vec::new(),
        run_id: "run".to_owned(),
    }
}

#[tokio::test]
async fn every_statement_gets_every_batch_in_its_order_and_commits_at_the_end() {
    let run = ScriptedRun::new([]).await;
    let ids = ["a", "b", "c", "d"];
    let mut feed = feed(&run, &[TRANSACTIONS, ARTICLES], &ids).await;
    for batch in &feed.batches {
        feed.running.push(batch, batch).await.unwrap();
    }
    let (context, pipeline) = (&feed.context, &feed.pipeline);
    assert_eq!(progress(context, pipeline, "articles").await, 0);
    let superseded = SupersededRecords::default();
    let done = feed.running.finish(&step(4), &superseded).await.unwrap();
    let added: Vec<u64> = done.iter().map(|done| done.unified.added).collect();
    assert_eq!(added, [4, 4]);
    let articles = rows(context, "articles", &["article_key", "kind", "_load_id"]).await;
    let expected = ["a", "b", "c", "d"].iter().zip(1..);
    let expected = expected.map(|(id, load_id)| format!("shop:{id}/1 sale {load_id}"));
    assert_eq!(articles, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn whoever_pushes_waits_for_a_statement_that_is_behind() {
    let run = ScriptedRun::new([]).await;
    let mut feed = feed(&run, &[TRANSACTIONS], &["a"]).await;
    let batch = feed.batches.remove(0);
    // On one thread a statement runs only while the one that pushes waits for it.
    let mut pushed = 0;
    let all = async {
        for _ in 0..WAITING + 1 {
            feed.running.push(&batch, &batch).await.unwrap();
            pushed += 1;
        }
    };
    assert!(all.now_or_never().is_none());
    assert_eq!(pushed, WAITING, "so many batches wait, no more");
}

#[tokio::test]
async fn a_statement_that_has_enough_holds_up_no_other() {
    let few = (
        "sites",
        "SELECT concat($pipeline, ':', id) AS site_key FROM sales LIMIT 1",
    );
    let run = ScriptedRun::new([]).await;
    let mut feed = feed(&run, &[few, TRANSACTIONS], &["a", "b"]).await;
    for _ in 0..WAITING * 3 {
        for batch in &feed.batches {
            feed.running.push(batch, batch).await.unwrap();
        }
    }
    let superseded = SupersededRecords::default();
    let done = feed.running.finish(&step(2), &superseded).await.unwrap();
    let added: Vec<(&str, u64)> = done
        .iter()
        .map(|done| (done.table.as_str(), done.unified.added))
        .collect();
    assert_eq!(added, [("transactions", WAITING as u64 * 6), ("sites", 1)]);
}

#[tokio::test]
async fn the_failure_of_one_statement_is_told_with_its_file_and_nothing_is_committed() {
    let fails = (
        "articles",
        "SELECT concat($pipeline, ':', id, '/1') AS article_key, nullif(concat($pipeline, ':', id), 'shop:b') AS transaction_key FROM sales",
    );
    let run = ScriptedRun::new([]).await;
    let mut feed = feed(&run, &[TRANSACTIONS, fails], &["a", "b"]).await;
    let mut outcome = Ok(());
    for batch in &feed.batches {
        outcome = feed.running.push(batch, batch).await;
        if outcome.is_err() {
            break;
        }
    }
    let error = match outcome {
        Ok(()) => {
            let superseded = SupersededRecords::default();
            feed.running
                .finish(&step(2), &superseded)
                .await
                .unwrap_err()
        }
        Err(error) => error,
    };
    let text = format!("{error:?}");
    assert!(text.contains("articles.sql"), "{text}");
    assert_eq!(progress(&feed.context, &feed.pipeline, "articles").await, 0);
}

#[tokio::test]
async fn statements_that_are_given_up_leave_their_tables_as_they_were() {
    let run = ScriptedRun::new([]).await;
    let mut feed = feed(&run, &[TRANSACTIONS], &["a", "b"]).await;
    for batch in &feed.batches {
        feed.running.push(batch, batch).await.unwrap();
    }
    drop(feed.running);
    assert_eq!(
        progress(&feed.context, &feed.pipeline, "transactions").await,
        0
    );
    assert!(
        rows(&feed.context, "transactions", &["transaction_id"])
            .await
            .is_empty()
    );
}
