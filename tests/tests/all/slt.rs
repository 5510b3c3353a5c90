//! The SQL functions, by files of queries and answers: tests/slt/*.slt, in sqllogictest's format.
//!
//! Invariant: every file runs in a session of its own without any tables; its rows are compared as text, column by column.

use crate::tree;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner};
use tillhouse_query::{Engine, EngineOptions, Session, collect};

struct Bare(Session);

/// An error as the files expect it.
#[derive(Debug)]
struct Refused(String);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

impl Bare {
    async fn rows(&self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let refused = |e: tillhouse_model::Error| Refused(e.to_string());
        let batches = collect(self.0.query(sql).await.map_err(refused)?).await.map_err(refused)?;
        let options = FormatOptions::default().with_null("NULL");
        let mut rows = Vec::new();
        for batch in &batches {
            for row in 0..batch.num_rows() {
                let shown = |column| ArrayFormatter::try_new(column, &options).map(|f| f.value(row).to_string());
                let cells: Result<Vec<String>, _> = batch.columns().iter().map(|c| shown(c.as_ref())).collect();
                rows.push(cells.map_err(|e| Refused(e.to_string()))?);
            }
        }
        let columns = batches.first().map_or(0, |batch| batch.num_columns());
        Ok(DBOutput::Rows { types: vec![DefaultColumnType::Text; columns], rows })
    }
}

impl DB for Bare {
    type Error = Refused;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(self.rows(sql)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_gives_its_answers() {
    let files = tree::files("tests/slt", "slt");
    assert!(files.len() >= 6, "only {} files were found", files.len());
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let mut broken = Vec::new();
    for path in files {
        let mut runner = Runner::new(|| async { engine.bare().map(Bare).map_err(|e| Refused(e.to_string())) });
        if let Err(error) = runner.run_file_async(&path).await {
            broken.push(format!("{}: {error}", tree::name(&path)));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
