//! A user's view of one run: the session that queries run in, and the catalog that tools ask about.
//!
//! Invariant: a reader is of one run for as long as it lives. What a tool asks about tables is answered from a catalog that holds no rows of them; whatever names a table is
//! run by the session, with its rules and limits.

use super::catalog::{KeptCatalogs, is_about_catalog};
use crate::callers::Caller;
use crate::runs::RunSession;
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

impl RunReader {
    /// Runs a query.
    pub(super) async fn rows(&self, query: &BoundQuery) -> Result<SendableRecordBatchStream> {
        if is_about_catalog(&query.sql) {
            let catalog = self.catalogs.of(self).await?;
            if let Some(statement) = catalog.statement(&query.sql, &query.given)? {
                return catalog.rows(statement).await;
            }
        }
        let session = &self.part.session;
        session
            .query_written(&query.sql, &query.given, query.start)
            .await
    }

    /// Columns and parameters of a query whose parameters have no values yet.
    pub(super) async fn unbound_shape(&self, query: &BoundQuery) -> Result<QueryShape> {
        if is_about_catalog(&query.sql) {
            let catalog = self.catalogs.of(self).await?;
            let unbound = QueryParameters::unknown_in(&query.sql);
            if let Some(statement) = catalog.statement(&query.sql, &unbound)? {
                return catalog.shape(statement).await;
            }
        }
        let session = &self.part.session;
        session.shape_unbound(&query.sql, query.start).await
    }
}
