//! What unify needs of a session: tables made of batches, views, and the names a statement reads.
//!
//! Invariant: all of it lives in the session's memory; nothing is written anywhere.

use crate::engine::Engine;
use crate::failure::into_error;
use crate::read_only;
use crate::session::Session;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::datasource::MemTable;
use std::sync::Arc;
use tillhouse_model::Result;

impl Session {
    /// Makes batches known as a table.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Query`] when a batch does not have the schema.
    pub fn register_batches(&self, name: &str, schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<()> {
        let table = MemTable::try_new(schema, vec![batches]).map_err(into_error)?;
        self.register(name, Arc::new(table))
    }

    /// Makes a query known as a table; it runs whenever the table is read.
    pub async fn create_view(&self, name: &str, sql: &str) -> Result<()> {
        let view = self.sql(sql).await?.into_view();
        self.register(name, view)
    }
}

impl Engine {
    /// The tables a statement reads, without their schemas; names of its own (WITH) are left out. Nothing is planned.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Query`] when the SQL cannot be parsed or is not a query.
    pub fn table_names(&self, sql: &str) -> Result<Vec<String>> {
        let state = self.bare()?.context().state();
        let statement = read_only::parse(&state, sql)?;
        let names = state.resolve_table_references(&statement).map_err(into_error)?;
        Ok(names.into_iter().map(|reference| reference.table().to_owned()).collect())
    }
}
