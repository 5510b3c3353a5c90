//! Source tables that were put back from an older copy beside unified tables that were not.
//!
//! Invariant: each test runs whole syncs, in processes of their own, and looks at what readers are shown behind them.

use super::super::lost_commits_tests::copy_folder;
use super::super::other_process_tests::{options, pipeline_of, publish, shown};
use super::super::scripted_statements::{checked, progress};
use super::*;
use crate::lease::IfRunning;
use crate::scripted_source::ScriptedRun;
use crate::{check_all_tables, rebuild, sync};

/// A copy of source tables and bookkeeping, made once `before` were published, is put back after each of `since` was.
async fn put_back(before: &[&str], since: &[&[&str]]) -> ScriptedRun {
    let run = ScriptedRun::new([]).await;
    for (name, sales) in [("kiosk", &["k"][..]), ("shop", before)] {
        publish(&run.other_process().await, pipeline_of(&run, name, sales)).await;
    }
    let root = run.warehouse.url().to_file_path().unwrap();
    let copies = root.join("../copies");
    for folder in ["ops", "shop"] {
        copy_folder(&root.join(folder), &copies.join(folder));
    }
    for sales in since {
        publish(&run.other_process().await, pipeline_of(&run, "shop", sales)).await;
    }
    for folder in ["ops", "shop"] {
        std::fs::remove_dir_all(root.join(folder)).unwrap();
        copy_folder(&copies.join(folder), &root.join(folder));
    }
    run
}

#[tokio::test]
async fn records_that_land_in_a_source_table_that_was_put_back_reach_the_unified_tables() {
    let cases: [(&[&[&str]], &[&str]); 4] = [
        // What lands has the number of a package that was unified before.
        (&[&["a", "b"]], &["a", "c"]),
        // It has not come that far.
        (&[&["a", "b"], &["a", "b", "d"]], &["a", "c"]),
        // It is the same again.
        (&[&["a", "b"]], &["a", "b"]),
        // Nothing lands.
        (&[&["a", "b"]], &["a"]),
    ];
    for (since, next) in cases {
        let run = put_back(&["a"], since).await;
        let context = run.other_process().await;
        let pipeline = pipeline_of(&run, "shop", &[]);
        let statements = checked(&context, &pipeline).await;
        let ahead = ahead_of_source(&context, &pipeline, &statements).await;
        let ahead = ahead.unwrap().unwrap().to_string();
        assert!(
            ahead.starts_with("shop/sales ends with package 1"),
            "{ahead}"
        );
        let report = sync(
            &run.other_process().await,
            &[pipeline_of(&run, "shop", next)],
            options(),
        )
        .await
        .unwrap();
        assert!(report.published && !report.is_partial(), "{report:?}");
        let sales = next.iter().map(|id| format!("shop:{id} shop:{id}/1"));
        let expected: Vec<String> = std::iter::once("kiosk:k kiosk:k/1".to_owned())
            .chain(sales)
            .collect();
        assert_eq!(shown(&run).await, expected, "{since:?}");
        let context = run.other_process().await;
        let ahead = ahead_of_source(&context, &pipeline, &statements).await;
        assert_eq!(ahead.unwrap(), None);
        assert!(progress(&context, &pipeline, "articles").await > 0);
        check_all_tables(&context.warehouse).await.unwrap();
        let own = [pipeline_of(&run, "shop", &[])];
        let rebuilt = rebuild(&run.other_process().await, &own, IfRunning::Fail).await;
        assert!(rebuilt.unwrap().published);
        assert_eq!(shown(&run).await, expected, "{since:?}");
    }
}

#[tokio::test]
async fn unified_tables_that_are_behind_or_level_are_gone_on_with() {
    let run = ScriptedRun::new([]).await;
    let pipeline = pipeline_of(&run, "shop", &[]);
    let all: [&[&str]; 3] = [&["a"], &["a", "b"], &["a", "b"]];
    for sales in all {
        publish(&run.other_process().await, pipeline_of(&run, "shop", sales)).await;
        let context = run.other_process().await;
        let statements = checked(&context, &pipeline).await;
        let ahead = ahead_of_source(&context, &pipeline, &statements).await;
        assert_eq!(ahead.unwrap(), None, "{sales:?}");
    }
}
