//! What SQL may be run: queries, and questions about the catalog.
//!
//! Invariant: whatever passes here cannot change a table, a file or a setting. It is checked twice: on the statement, for an error
//! that says what is meant, and on the plan, in case a query hides something ([`options`]).

use crate::failure::into_error;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::execution::context::SQLOptions;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;
use tillhouse_model::{Error, ErrorKind, Result};

/// What a plan may hold.
pub(crate) fn options() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

/// The one statement in a text, if it only reads.
///
/// Errors with [`ErrorKind::Query`] when it cannot be parsed, is none, is more than one, or writes.
pub(crate) fn parse(state: &SessionState, sql: &str) -> Result<Statement> {
    if sql.trim().trim_end_matches(';').is_empty() {
        return Err(Error::new(ErrorKind::Query, "there is no SQL to run"));
    }
    let dialect = state.config_options().sql_parser.dialect;
    let statement = state.sql_to_statement(sql, &dialect).map_err(|error| match error {
        DataFusionError::NotImplemented(_) => {
            Error::new(ErrorKind::Query, "more than one statement was given").hint("Run one query at a time.")
        }
        error => into_error(error),
    })?;
    check(&statement)?;
    Ok(statement)
}

fn check(statement: &Statement) -> Result<()> {
    let reads = match statement {
        Statement::Statement(inner) => only_reads(inner),
        Statement::Explain(explain) => return check(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    };
    if reads {
        return Ok(());
    }
    let text = statement.to_string();
    let verb = text.split_whitespace().next().unwrap_or("this").to_uppercase();
    Err(Error::new(ErrorKind::Query, format!("{verb} is not a query, and SQL here only reads"))
        .hint("SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW run. Tables change by `tillhouse sync` and `tillhouse rebuild` alone."))
}

fn only_reads(statement: &ast::Statement) -> bool {
    match statement {
        ast::Statement::Query(_)
        | ast::Statement::ExplainTable { .. }
        | ast::Statement::ShowTables { .. }
        | ast::Statement::ShowColumns { .. }
        | ast::Statement::ShowFunctions { .. }
        | ast::Statement::ShowVariable { .. } => true,
        ast::Statement::Explain { statement, .. } => only_reads(statement),
        _ => false,
    }
}
