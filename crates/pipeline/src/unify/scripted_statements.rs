//! Pipelines whose unify statements a test writes, over the contracts of the unified model.
//!
//! Invariant: records reach the unified tables through the package writer and unify alone, as in a sync.

use super::{CheckedStatements, UnifyTotals, bring_up_to_date, check};
use crate::assets::TextAsset;
use crate::config::Pipeline;
use crate::context::RunContext;
use crate::message::{LandedPackage, LandingMessage, PageSink};
use crate::scripted_source::{SALES, ScriptedRun, queued_of};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::sync::Arc;
use tillhouse_model::{Resource, Result, contract};
use tokio::sync::{mpsc, oneshot};

/// A statement of transactions, which can run while records arrive.
pub(super) const TRANSACTIONS: (&str, &str) = (
    "transactions",
    "SELECT concat($pipeline, ':', id) AS transaction_key, id AS transaction_id, 'sale' AS perspective, 'sale' AS kind, \
     at AS occurred_at, month_of(at) AS month FROM sales",
);
/// One of their articles, which take from them what they leave out.
pub(super) const ARTICLES: (&str, &str) = (
    "articles",
    "SELECT concat($pipeline, ':', id, '/1') AS article_key, concat($pipeline, ':', id) AS transaction_key FROM sales",
);
/// One of a dimension.
pub(super) const SITES: (&str, &str) = (
    "sites",
    "SELECT concat($pipeline, ':', left(id, 1)) AS site_key, id AS name FROM sales",
);
/// One that needs its records as a table, since it reads them twice.
pub(super) const JOINED: (&str, &str) = (
    "events",
    "SELECT concat($pipeline, ':', s.id) AS event_key, 'device' AS scope, s.at AS occurred_at, month_of(s.at) AS month, o.id AS code \
     FROM sales s JOIN sales o ON o.id = s.id",
);

/// A pipeline that reads sales and unifies them by these statements.
pub(super) fn pipeline(run: &ScriptedRun, statements: &[(&str, &str)]) -> Pipeline {
    let mut pipeline = run.pipeline(SALES);
    for (table, sql) in statements {
        let path = format!(
            "{}/../../schemas/unified/{table}.yaml",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(&path).unwrap();
        let spec = contract::parse(&text, &path).unwrap();
        pipeline.unified.insert((*table).to_owned(), Arc::new(spec));
        pipeline.unify.push(TextAsset {
            name: (*table).to_owned(),
            origin: format!("{table}.sql"),
            overridden: false,
            text: (*sql).to_owned(),
        });
    }
    pipeline
}

/// Its statements, planned.
pub(super) async fn checked(context: &RunContext, pipeline: &Pipeline) -> CheckedStatements {
    check(&context.engine, pipeline).await.unwrap()
}

/// Lands packages of these sales, each asked for an hour after the one before; `hour` is the first's.
pub(super) async fn land(
    run: &ScriptedRun,
    hour: i8,
    packages: &[Vec<String>],
) -> Vec<LandedPackage> {
    land_of(run, SALES, hour, packages).await
}

/// As [`land`], of another resource.
pub(super) async fn land_of(
    run: &ScriptedRun,
    resource: &'static Resource,
    hour: i8,
    packages: &[Vec<String>],
) -> Vec<LandedPackage> {
    let (landed, mut follower) = mpsc::channel(packages.len().max(1));
    let (mut send, receive) = mpsc::channel(1);
    let landing = tokio::spawn(run.writer_of(resource, Some(landed)).run(receive));
    for (records, hour) in packages.iter().zip(hour..) {
        send.accept(queued_of(resource, records, hour))
            .await
            .unwrap();
        let (flushed, answer) = oneshot::channel();
        assert!(send.send(LandingMessage::Flush(flushed)).await.is_ok());
        answer.await.unwrap();
    }
    drop(send);
    landing.await.unwrap().unwrap();
    let mut shown = Vec::new();
    while let Some(package) = follower.recv().await {
        shown.push(package);
    }
    shown
}

/// Catches up from the source tables.
pub(super) async fn catch_up(context: &RunContext, pipeline: &Pipeline) -> Result<UnifyTotals> {
    let (statements, mut totals) = (checked(context, pipeline).await, UnifyTotals::default());
    bring_up_to_date(context, pipeline, &statements, "run", &mut totals).await?;
    Ok(totals)
}

/// Rows of a unified table: these columns of each, in their order.
pub(super) async fn rows(context: &RunContext, table: &str, columns: &[&str]) -> Vec<String> {
    let path = format!("unified/{table}");
    let Some(open) = context.warehouse.open_at(&path, None).await.unwrap() else {
        return Vec::new();
    };
    let session = context.engine.empty_session().unwrap();
    session.register("t", open.provider).unwrap();
    let columns: Vec<String> = columns
        .iter()
        .map(|column| format!("CAST({column} AS VARCHAR)"))
        .collect();
    let columns = columns.join(", ");
    let sql = format!("SELECT concat_ws(' ', {columns}) FROM t ORDER BY 1");
    let found = session.query(&sql).await.unwrap();
    let mut told = Vec::new();
    for batch in tillhouse_query::collect(found).await.unwrap() {
        let shown = ArrayFormatter::try_new(batch.column(0), &FormatOptions::default()).unwrap();
        told.extend((0..batch.num_rows()).map(|row| shown.value(row).to_string()));
    }
    told
}

/// Package up to which a unified table has a pipeline's sales.
pub(super) async fn progress(context: &RunContext, pipeline: &Pipeline, table: &str) -> i64 {
    let CheckedStatements(all) = checked(context, pipeline).await;
    let statement = all.iter().find(|statement| statement.table.name == table);
    let table = statement.unwrap().target(&context.warehouse);
    table.progress(&pipeline.name, SALES.name).await.unwrap()
}
