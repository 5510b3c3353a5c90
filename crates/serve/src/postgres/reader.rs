//! A user's view of one run: the session that queries run in, and the catalog that tools ask about.
//!
//! Invariant: a reader is of one run for as long as it lives. What a tool asks about tables is answered from a catalog that holds no rows of them; whatever names a table is
//! run by the session, with its rules and limits.

use super::bind::{UNKNOWN, samples};
use super::catalog::{KeptCatalogs, is_about_catalog};
use super::catalog_functions::with_calls;
use super::columns::WireType;
use crate::callers::Caller;
use crate::runs::RunSession;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;
use tillhouse_model::Result;
use tillhouse_query::{QueryParameters, QueryShape, SendableRecordBatchStream};

/// View of a run.
pub(super) struct RunReader {
    /// The part of the run that the user sees.
    pub(super) part: Arc<RunSession>,
    /// The name that came in.
    pub(super) name: String,
    pub(super) caller: Caller,
    /// Number of the connection, which `pg_backend_pid` says.
    pub(super) number: i32,
    pub(super) catalogs: Arc<KeptCatalogs>,
}

/// Query with the values of its parameters.
#[derive(Debug, Clone)]
pub(super) struct BoundQuery {
    pub(super) sql: String,
    pub(super) given: QueryParameters,
    /// Line and column that it begins at.
    pub(super) start: (u64, u64),
}

/// Columns of a query whose parameters have no values yet, and the numbers of the types of these.
pub(super) struct UnboundShape {
    pub(super) types: Vec<u32>,
    pub(super) columns: SchemaRef,
}

impl RunReader {
    /// Values of parameters, with what functions say of who asks.
    fn with_calls(&self, given: QueryParameters) -> QueryParameters {
        with_calls(given, &self.name, self.number)
    }

    /// Runs a query.
    pub(super) async fn rows(&self, query: &BoundQuery) -> Result<SendableRecordBatchStream> {
        let given = self.with_calls(query.given.clone());
        if is_about_catalog(&query.sql) {
            let catalog = self.catalogs.of(self).await?;
            if let Some(question) = catalog.statement(&query.sql, &given)? {
                return catalog.rows(question).await;
            }
        }
        let session = &self.part.session;
        session.query_written(&query.sql, &given, query.start).await
    }

    /// Columns and parameters of a query whose parameters have no values yet, of the types that its client named: a column that is made of a parameter has that one's type.
    pub(super) async fn unbound_shape(
        &self,
        query: &BoundQuery,
        mut types: Vec<u32>,
    ) -> Result<UnboundShape> {
        if types.is_empty() {
            let columns = self.untyped_shape(query).await?.columns;
            return Ok(UnboundShape { types, columns });
        }
        let unbound = match types.contains(&UNKNOWN) {
            true => Some(self.untyped_shape(query).await?),
            false => None,
        };
        if let Some(shape) = &unbound {
            for (at, of) in types.iter_mut().enumerate() {
                if *of == UNKNOWN {
                    let wanted = shape.parameters.get(&(at + 1).to_string());
                    *of = wanted.map_or(WireType::Text, WireType::of).oid();
                }
            }
        }
        let typed = self.typed_shape(query, &types).await;
        let columns = match (typed, unbound) {
            (Ok(columns), _) => columns,
            // A text stands for what no place has a type for, and not every place takes one.
            (Err(_), Some(unbound)) => unbound.columns,
            (Err(error), None) => return Err(error),
        };
        Ok(UnboundShape { types, columns })
    }

    /// Columns and parameters of a query, the types of which its places alone say.
    async fn untyped_shape(&self, query: &BoundQuery) -> Result<QueryShape> {
        if is_about_catalog(&query.sql) {
            let catalog = self.catalogs.of(self).await?;
            let unbound = self.with_calls(QueryParameters::unknown_in(&query.sql));
            if let Some(question) = catalog.statement(&query.sql, &unbound)? {
                return catalog.shape(question).await;
            }
        }
        let session = &self.part.session;
        let calls = self.with_calls(QueryParameters::default());
        session
            .shape_unbound_with(&query.sql, &calls, query.start)
            .await
    }

    /// Columns of a query whose parameters are of these types.
    async fn typed_shape(&self, query: &BoundQuery, types: &[u32]) -> Result<SchemaRef> {
        let given = self.with_calls(samples(types));
        if is_about_catalog(&query.sql) {
            let catalog = self.catalogs.of(self).await?;
            if let Some(question) = catalog.statement(&query.sql, &given)? {
                return Ok(catalog.shape(question).await?.columns);
            }
        }
        let session = &self.part.session;
        let shape = session.shape_written(&query.sql, &given, query.start);
        Ok(shape.await?.columns)
    }
}
