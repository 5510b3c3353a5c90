//! Two pipelines that are synced by different processes, over the unified tables that both share.
//!
//! Invariant: each test runs whole syncs, and looks at what a process sees that has read nothing before.

use super::scripted_statements::{ARTICLES, TRANSACTIONS, catch_up, land, pipeline};
use crate::config::Pipeline;
use crate::context::RunContext;
use crate::lease::IfRunning;
use crate::plan::{SyncOptions, SyncRange};
use crate::scripted_source::{ScriptedRun, Turn, page, sale, window};
use crate::{check_all_tables, rebuild, sync};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use tillhouse_lake::AsOf;
use tillhouse_model::ErrorKind;
use tokio_util::sync::CancellationToken;

/// A pipeline whose source gives these sales.
pub(super) fn pipeline_of(run: &ScriptedRun, name: &str, sales: &[&str]) -> Pipeline {
    let sales: Vec<String> = sales.iter().map(|id| sale(id)).collect();
    Pipeline {
        name: name.to_owned(),
        source: run.other_source([vec![Turn::Page(page(&sales))]]),
        ..pipeline(run, &[TRANSACTIONS, ARTICLES])
    }
}

pub(super) fn options() -> SyncOptions {
    SyncOptions {
        range: SyncRange {
            from: Some(window().from()),
            to: Some(window().to()),
        },
        ..SyncOptions::default()
    }
}

pub(super) async fn publish(context: &RunContext, pipeline: Pipeline) {
    let report = sync(context, &[pipeline], options()).await.unwrap();
    assert!(report.published && !report.is_partial(), "{report:?}");
}

/// Sales with their articles, as the newest run has them.
pub(super) async fn shown(run: &ScriptedRun) -> Vec<String> {
    let context = run.other_process().await;
    let session = context.engine.open(&context.warehouse, &AsOf::Latest);
    let sql = "SELECT concat_ws(' ', t.transaction_key, a.article_key) FROM transactions t \
               LEFT JOIN articles a ON a.transaction_key = t.transaction_key ORDER BY 1";
    let found = session.await.unwrap().query(sql).await.unwrap();
    let mut lines = Vec::new();
    for batch in tillhouse_query::collect(found).await.unwrap() {
        let column = batch.column(0);
        let shown = ArrayFormatter::try_new(column, &FormatOptions::default()).unwrap();
        lines.extend((0..batch.num_rows()).map(|row| shown.value(row).to_string()));
    }
    lines
}

#[tokio::test]
async fn half_a_step_is_out_of_sight_while_another_pipeline_is_published() {
    let run = ScriptedRun::new([]).await;
    publish(
        &run.other_process().await,
        pipeline_of(&run, "shop", &["a"]),
    )
    .await;
    let first = ["shop:a shop:a/1"];
    assert_eq!(shown(&run).await, first);

    // Its next sync lands a sale, unifies it into one of its two tables, and is not heard of again.
    land(&run, 4, &[vec![sale("b")]]).await;
    let half = pipeline(&run, &[TRANSACTIONS]);
    let done = catch_up(&run.other_process().await, &half).await.unwrap();
    assert_eq!(done.tables["transactions"].added, 1);
    publish(
        &run.other_process().await,
        pipeline_of(&run, "kiosk", &["k"]),
    )
    .await;
    let without = ["kiosk:k kiosk:k/1", "shop:a shop:a/1"];
    assert_eq!(shown(&run).await, without);
    // Also where a run has nothing new.
    publish(
        &run.other_process().await,
        pipeline_of(&run, "kiosk", &["k"]),
    )
    .await;
    assert_eq!(shown(&run).await, without);

    publish(
        &run.other_process().await,
        pipeline_of(&run, "shop", &["a", "b"]),
    )
    .await;
    assert_eq!(
        shown(&run).await,
        ["kiosk:k kiosk:k/1", "shop:a shop:a/1", "shop:b shop:b/1",]
    );
    let newest = run.warehouse.ops().published(&AsOf::Latest).await;
    let newest = newest.unwrap().unwrap();
    let mut named = newest.tables.values();
    assert!(named.all(|named| named.pinned.is_empty()), "{newest:?}");
    let rolled = newest.tables.keys();
    assert!(
        rolled
            .filter(|path| path.starts_with("statistics/"))
            .count()
            > 0
    );
}

#[tokio::test]
async fn a_rebuild_that_is_interrupted_publishes_nothing_and_loses_nothing() {
    let run = ScriptedRun::new([]).await;
    for (name, sales) in [("shop", vec!["a", "b"]), ("kiosk", vec!["k"])] {
        publish(&run.other_process().await, pipeline_of(&run, name, &sales)).await;
    }
    let before = shown(&run).await;
    assert_eq!(before.len(), 3);
    let newest = async || {
        let found = run.other_process().await.warehouse.ops();
        found.published(&AsOf::Latest).await.unwrap().unwrap()
    };
    let published = newest().await;
    let all = ["shop", "kiosk"].map(|name| pipeline_of(&run, name, &[]));
    let context = RunContext {
        cancel: CancellationToken::new(),
        ..run.other_process().await
    };
    context.cancel.cancel();
    let error = rebuild(&context, &all, IfRunning::Fail).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted, "{error:?}");
    assert_eq!(newest().await.run_id, published.run_id);
    assert_eq!(shown(&run).await, before);
    // Nor does the next run of another pipeline show what was emptied.
    publish(
        &run.other_process().await,
        pipeline_of(&run, "kiosk", &["k", "l"]),
    )
    .await;
    let more = [
        "kiosk:k kiosk:k/1",
        "kiosk:l kiosk:l/1",
        "shop:a shop:a/1",
        "shop:b shop:b/1",
    ];
    assert_eq!(shown(&run).await, more);
    let report = rebuild(&run.other_process().await, &all, IfRunning::Fail).await;
    assert!(report.unwrap().published);
    assert_eq!(shown(&run).await, more);
}

/// Name of a commit that readers of the newest version need, and is not the newest: one behind the newest checkpoint.
fn needed_commit(log: &std::path::Path) -> Option<String> {
    let mut names: Vec<String> = std::fs::read_dir(log)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let is_checkpoint = |name: &String| name.ends_with(".checkpoint.parquet");
    // A checkpoint and the commit of its version, which nobody needs beside it.
    let from = names.iter().rposition(is_checkpoint).map_or(0, |at| at + 2);
    let is_commit = |name: &&String| name.ends_with(".json");
    let commits: Vec<&String> = names[from..].iter().filter(is_commit).collect();
    Some(commits[commits.len().checked_sub(2)?].clone())
}

#[tokio::test]
async fn a_log_that_has_lost_a_commit_stops_whoever_writes_the_table_and_check_names_it() {
    let run = ScriptedRun::new([]).await;
    for sales in [
        vec!["a"],
        vec!["a", "b"],
        vec!["a", "b", "c"],
        vec!["a", "b", "c", "d"],
    ] {
        publish(
            &run.other_process().await,
            pipeline_of(&run, "shop", &sales),
        )
        .await;
        publish(
            &run.other_process().await,
            pipeline_of(&run, "kiosk", &["k"]),
        )
        .await;
    }
    let root = run.warehouse.url().to_file_path().unwrap();
    for (table, is_shared) in [
        ("shop/sales", false),
        ("unified/articles", true),
        ("ops/runs", true),
    ] {
        let log = root.join(table).join("_delta_log");
        let name = &loop {
            if let Some(name) = needed_commit(&log) {
                break name;
            }
            publish(
                &run.other_process().await,
                pipeline_of(&run, "kiosk", &["k"]),
            )
            .await;
        };
        let commit = log.join(name);
        let whole = std::fs::read(&commit).unwrap();
        std::fs::remove_file(&commit).unwrap();
        let told = check_all_tables(&run.other_process().await.warehouse).await;
        let told = told.unwrap_err();
        assert!(told.parts().is_empty(), "{told:?}");
        let text = told.to_string();
        assert!(text.contains(table) && text.contains(name), "{text}");
        let sync_of = async |names: &[&str]| {
            let of = |name: &&str| pipeline_of(&run, name, &["a", "b", "c", "d", "e"]);
            let all: Vec<Pipeline> = names.iter().map(of).collect();
            sync(&run.other_process().await, &all, options()).await
        };
        let alone = sync_of(&["shop"]).await.unwrap_err();
        assert!(alone.to_string().contains(name), "{alone:?}");
        assert!(alone.hint_text().is_some(), "{alone:?}");
        let both = sync_of(&["kiosk", "shop"]).await;
        match is_shared {
            true => assert!(both.unwrap_err().to_string().contains(name)),
            false => {
                let both = both.unwrap();
                assert!(both.published && both.is_partial(), "{both:?}");
                let failed: Vec<bool> =
                    both.pipelines.iter().map(|p| p.failure.is_some()).collect();
                assert_eq!(failed, [false, true]);
            }
        }
        std::fs::write(&commit, whole).unwrap();
        assert!(sync_of(&["shop"]).await.unwrap().published);
    }
}
