//! Rows of the newest published run, as texts that an assertion shows well.
//!
//! Invariant: rows keep the order of the query, and values are shown as the query engine shows them.

use tillhouse_lake::AsOf;
use tillhouse_pipeline::RunContext;

/// Rows of a query over the newest published run, the values of each with a space between them.
pub(crate) async fn published_rows(context: &RunContext, query: &str) -> Vec<String> {
    let session = context
        .engine
        .open(&context.warehouse, &AsOf::Latest)
        .await
        .unwrap();
    let batches = tillhouse_query::collect(session.query(query).await.unwrap())
        .await
        .unwrap();
    let table = arrow::util::pretty::pretty_format_batches(&batches)
        .unwrap()
        .to_string();
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(1);
    lines
        .map(|line| {
            line.split('|')
                .map(str::trim)
                .collect::<Vec<_>>()
                .join(" ")
                .trim()
                .to_owned()
        })
        .collect()
}
