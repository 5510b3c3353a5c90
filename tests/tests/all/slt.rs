//! The SQL functions, by files of queries and answers: tests/slt/*.slt, in sqllogictest's format.
//!
//! Invariant: every file runs in a session of its own without any tables; its rows are compared as text, column by column.

use crate::source_files;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner};
use tillhouse_query::{QueryEngine, QueryEngineOptions, Session, collect};

struct SqlLogicSession(Session);

/// An error as the files expect it.
#[derive(Debug)]
struct SqlLogicError(String);

impl std::fmt::Display for SqlLogicError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SqlLogicError {}

impl SqlLogicSession {
    async fn rows(&self, sql: &str) -> Result<DBOutput<DefaultColumnType>, SqlLogicError> {
        let refused = |e: tillhouse_model::Error| SqlLogicError(e.to_string());
        let batches = collect(self.0.query(sql).await.map_err(refused)?)
            .await
            .map_err(refused)?;
        let options = FormatOptions::default().with_null("NULL");
        let mut rows = Vec::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let shown = |column| {
                    ArrayFormatter::try_new(column, &options).map(|f| f.value(row).to_string())
                };
                let cells: Result<Vec<String>, _> =
                    batch.columns().iter().map(|c| shown(c.as_ref())).collect();
                rows.push(cells.map_err(|e| SqlLogicError(e.to_string()))?);
            }
        }
        let columns = batches.first().map_or(0, |batch| batch.num_columns());
        Ok(DBOutput::Rows {
            types: vec![DefaultColumnType::Text; columns],
            rows,
        })
    }
}

impl DB for SqlLogicSession {
    type Error = SqlLogicError;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, SqlLogicError> {
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(self.rows(sql)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_gives_its_answers() {
    let files = source_files::files("tests/slt", "slt");
    assert!(files.len() >= 6, "only {} files were found", files.len());
    let engine = QueryEngine::new(QueryEngineOptions::default()).unwrap();
    let mut broken = Vec::new();
    for path in files {
        let mut runner = Runner::new(|| async {
            engine
                .empty_session()
                .map(SqlLogicSession)
                .map_err(|e| SqlLogicError(e.to_string()))
        });
        if let Err(error) = runner.run_file_async(&path).await {
            broken.push(format!("{}: {error}", source_files::name(&path)));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
