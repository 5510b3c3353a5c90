//! The law of unify while records land: in which order packages are taken, who waits for whom, and what a failure leaves.
//!
//! Invariant: whatever becomes of a stream, catching up afterwards gives the rows of a stream that met nothing.

use super::super::scripted_statements::{
    ARTICLES, JOINED, SITES, TRANSACTIONS, catch_up, checked, land, pipeline, progress, rows,
};
use super::*;
use crate::scripted_source::{ScriptedRun, sale};

/// A sale, in the version of that hour.
fn changed(id: &str, hour: u8) -> String {
    format!(
        r#"{{"id":"{id}","at":"2026-01-01T10:00:00Z","changed":"2026-01-02T{hour:02}:00:00Z"}}"#
    )
}

struct Streamed {
    run: ScriptedRun,
    context: RunContext,
    pipeline: Pipeline,
}

impl Streamed {
    async fn new(statements: &[(&str, &str)]) -> Self {
        let run = ScriptedRun::new([]).await;
        let (context, pipeline) = (run.context(), pipeline(&run, statements));
        Self {
            run,
            context,
            pipeline,
        }
    }

    /// The stream of what lands from now on.
    async fn start(&self) -> Option<StreamingUnify> {
        let statements = checked(&self.context, &self.pipeline).await;
        let plan = &self.pipeline.resources[0];
        StreamingUnify::of(&self.context, &self.pipeline, &statements, plan, "run")
            .await
            .unwrap()
    }

    async fn progress(&self, table: &str) -> i64 {
        progress(&self.context, &self.pipeline, table).await
    }

    async fn rows(&self, table: &str, columns: &[&str]) -> Vec<String> {
        rows(&self.context, table, columns).await
    }
}

#[tokio::test]
async fn packages_are_one_step_that_is_committed_once_landing_is_over() {
    let streamed = Streamed::new(&[TRANSACTIONS, ARTICLES, SITES]).await;
    let (send, unified) = streamed.start().await.unwrap().follow();
    let packages = [
        vec![sale("a1"), sale("b1")],
        vec![sale("a2")],
        vec![sale("c1")],
    ];
    for package in land(&streamed.run, 1, &packages).await {
        assert!(send.send(package).await.is_ok());
    }
    assert_eq!(streamed.progress("transactions").await, 0, "nothing yet");
    drop(send);
    let totals = unified.await.unwrap();
    let added: Vec<(&str, u64)> = totals
        .tables
        .iter()
        .map(|(table, counts)| (table.as_str(), counts.added))
        .collect();
    assert_eq!(added, [("articles", 4), ("sites", 3), ("transactions", 4)]);
    for table in ["articles", "sites", "transactions"] {
        assert_eq!(streamed.progress(table).await, 3, "{table}");
    }
    let articles = streamed
        .rows("articles", &["article_key", "kind", "month"])
        .await;
    assert_eq!(articles.first().unwrap(), "shop:a1/1 sale 2026-01");
    let again = catch_up(&streamed.context, &streamed.pipeline)
        .await
        .unwrap();
    assert!(again.tables.is_empty(), "all of it is done");
}

#[tokio::test]
async fn a_step_that_changes_no_site_is_done_without_a_commit_of_the_sites() {
    let same = (
        "sites",
        "SELECT concat($pipeline, ':', left(id, 1)) AS site_key, 'Site' AS name FROM sales",
    );
    let streamed = Streamed::new(&[TRANSACTIONS, ARTICLES, same]).await;
    let spec = Arc::clone(&streamed.pipeline.unified["sites"]);
    let sites = streamed.context.warehouse.unified_table(spec);
    let mut versions = Vec::new();
    for (hour, id) in [(1, "a1"), (2, "a2"), (3, "a3"), (4, "b1")] {
        let (send, unified) = streamed.start().await.unwrap().follow();
        for package in land(&streamed.run, hour, &[vec![sale(id)]]).await {
            assert!(send.send(package).await.is_ok());
        }
        drop(send);
        unified.await.unwrap();
        for table in ["articles", "sites", "transactions"] {
            assert_eq!(streamed.progress(table).await, i64::from(hour), "{table}");
        }
        versions.push(sites.version().await.unwrap().unwrap());
    }
    let first = versions[0];
    assert_eq!(versions, [first, first, first, first + 1]);
    let other = streamed.run.other_process().await;
    let again = catch_up(&other, &streamed.pipeline).await.unwrap();
    assert!(again.tables.is_empty(), "nobody looks at them again");
    // Caught up with, it is the same.
    land(&streamed.run, 5, &[vec![sale("b2")]]).await;
    let caught_up = catch_up(&other, &streamed.pipeline).await.unwrap();
    assert_eq!(caught_up.tables["sites"].added, 0);
    assert_eq!(streamed.progress("sites").await, 5);
    assert_eq!(sites.version().await.unwrap(), Some(first + 1));
    let found = streamed.rows("sites", &["site_key", "name"]).await;
    assert_eq!(found, ["shop:a Site", "shop:b Site"]);
}

#[tokio::test]
async fn the_transactions_carry_what_is_fed_with_them() {
    let several = [SITES, JOINED, ARTICLES, TRANSACTIONS];
    let of_several = [None, Some("transactions"), None, Some("transactions")];
    for (statements, expected) in [(&several[..], &of_several[..]), (&[SITES], &[None])] {
        let streamed = Streamed::new(statements).await;
        let CheckedStatements(all) = checked(&streamed.context, &streamed.pipeline).await;
        let carriers = all.iter().map(|statement| statement.carrier.as_deref());
        let carriers: Vec<Option<&str>> = carriers
            .map(|carrier| carrier.map(|table| table.name.as_str()))
            .collect();
        // The transactions' statement is the first.
        assert_eq!(carriers, expected);
    }
}

#[tokio::test]
async fn a_record_that_comes_again_begins_a_step_of_its_own_behind_the_first() {
    let streamed = Streamed::new(&[TRANSACTIONS]).await;
    let (send, unified) = streamed.start().await.unwrap().follow();
    let packages = [
        vec![sale("a"), sale("b")],
        vec![sale("c")],
        vec![changed("a", 1)],
        vec![changed("a", 2)],
    ];
    for package in land(&streamed.run, 1, &packages).await {
        assert!(send.send(package).await.is_ok());
    }
    drop(send);
    let totals = unified.await.unwrap();
    let counts = totals.tables["transactions"];
    assert_eq!((counts.added, counts.removed), (5, 2), "a came three times");
    let newest = streamed
        .rows("transactions", &["transaction_id", "_load_id"])
        .await;
    assert_eq!(newest, ["a 4", "b 1", "c 2"]);
}

#[tokio::test]
async fn landing_waits_for_a_stream_that_is_behind() {
    let streamed = Streamed::new(&[TRANSACTIONS]).await;
    let stream = streamed.start().await.unwrap();
    let packages = [vec![sale("a")], vec![sale("b")], vec![sale("c")]];
    let mut landed = land(&streamed.run, 1, &packages).await.into_iter();
    // Nothing else runs between two lines of this thread.
    let (send, unified) = stream.follow();
    assert!(send.try_send(landed.next().unwrap()).is_ok());
    let second = landed.next().unwrap();
    let Err(mpsc::error::TrySendError::Full(second)) = send.try_send(second) else {
        panic!("one package waits, no more");
    };
    assert!(send.send(second).await.is_ok(), "the first was taken");
    assert!(send.send(landed.next().unwrap()).await.is_ok());
    drop(send);
    assert_eq!(unified.await.unwrap().tables["transactions"].added, 3);
}

#[tokio::test]
async fn a_package_of_another_run_ends_the_stream_and_its_step() {
    let streamed = Streamed::new(&[TRANSACTIONS]).await;
    let stream = streamed.start().await.unwrap();
    let packages = [vec![sale("a")], vec![sale("b")], vec![sale("c")]];
    let mut landed = land(&streamed.run, 1, &packages).await.into_iter();
    let (send, unified) = stream.follow();
    assert!(send.send(landed.next().unwrap()).await.is_ok());
    // The second came from elsewhere and was never shown here.
    assert!(send.send(landed.nth(1).unwrap()).await.is_ok());
    send.closed().await;
    let totals = unified.await.unwrap();
    assert!(totals.tables.is_empty());
    assert_eq!(streamed.progress("transactions").await, 0);
    let caught_up = catch_up(&streamed.context, &streamed.pipeline)
        .await
        .unwrap();
    assert_eq!(caught_up.tables["transactions"].added, 3);
}

#[tokio::test]
async fn a_statement_that_fails_in_the_middle_leaves_what_was_committed_before() {
    let fails = (
        "transactions",
        "SELECT concat($pipeline, ':', id) AS transaction_key, nullif(id, 'bad') AS transaction_id, 'sale' AS perspective, \
         'sale' AS kind, month_of(at) AS month FROM sales",
    );
    let streamed = Streamed::new(&[fails, SITES]).await;
    let (send, unified) = streamed.start().await.unwrap().follow();
    let packages = [vec![sale("a")], vec![changed("a", 1)], vec![sale("bad")]];
    for package in land(&streamed.run, 1, &packages).await {
        // It may have closed its channel by then.
        let _ = send.send(package).await;
    }
    drop(send);
    let totals = unified.await.unwrap();
    assert_eq!(totals.tables["transactions"].added, 1, "the first step");
    assert_eq!(streamed.progress("transactions").await, 1);
    let error = catch_up(&streamed.context, &streamed.pipeline)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("required value"), "{error}");
    assert_eq!(
        streamed
            .rows("transactions", &["transaction_id", "_load_id"])
            .await,
        ["a 1"]
    );
}

#[tokio::test]
async fn only_statements_that_can_be_fed_and_tables_that_are_up_to_date_are_followed() {
    let streamed = Streamed::new(&[JOINED]).await;
    assert!(streamed.start().await.is_none(), "it joins its records");
    let streamed = Streamed::new(&[TRANSACTIONS, JOINED]).await;
    assert_eq!(streamed.start().await.unwrap().statements.len(), 1);
    land(&streamed.run, 1, &[vec![sale("a")]]).await;
    assert!(streamed.start().await.is_none(), "a package is not unified");
    catch_up(&streamed.context, &streamed.pipeline)
        .await
        .unwrap();
    assert!(streamed.start().await.is_some());
    assert_eq!(
        streamed.rows("events", &["event_key", "code"]).await,
        ["shop:a a"]
    );
}
