//! Check of SQL: queries and questions about the catalog may run, nothing else.
//!
//! Invariant: whatever passes here cannot change a table, a file or a setting. It is checked twice: on the statement, for an error
//! that says what is meant, and on the plan, in case a query hides something ([`options`]).

use crate::schemas::DEFAULT_SCHEMA;
use crate::statements::without_mark;
use crate::{depth, dialect, ignored_clauses, language, mistakes, number_tokens};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::{TokenWithSpan, Tokenizer};
use std::collections::VecDeque;
use tillhouse_model::{Error, ErrorKind, Result};

/// Options that let a plan only read.
pub(crate) fn options() -> SQLOptions {
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
}

/// The one statement in a text, if it only reads.
///
/// Errors when it cannot be parsed, is none, is more than one, or writes; errors of ours are [`DataFusionError::External`].
pub(crate) fn parse(sql: &str) -> Result<Statement, DataFusionError> {
    parse_with(sql, |_| Ok(()))
}

/// As [`parse`], with a change of the statement. It has the room that deep statements need.
pub(crate) fn parse_with(
    sql: &str,
    change: impl FnOnce(&mut Statement) -> Result<()> + Send,
) -> Result<Statement, DataFusionError> {
    let sql = without_mark(sql);
    if sql.trim().trim_end_matches(';').is_empty() {
        return Err(external(nothing()));
    }
    depth::check_length(sql).map_err(external)?;
    // What the parser says goes out beside our own errors: it is explained by whoever knows the query's text.
    let parsed = depth::with_room(sql, || {
        let mut statements = match statements(sql) {
            Ok(statements) => statements,
            Err(error) => return Ok(Err(error)),
        };
        let mut statement = statements.pop_front().ok_or_else(nothing)?;
        if !statements.is_empty() {
            return Err(
                Error::new(ErrorKind::Query, "more than one statement was given")
                    .hint("Run one query at a time."),
            );
        }
        check(&statement)?;
        depth::check_depth(&statement)?;
        ignored_clauses::check(&statement)?;
        change(&mut statement)?;
        mistakes::check_zones(&statement)?;
        language::rewrite(&mut statement)?;
        Ok(Ok(in_default_schema(statement)))
    });
    parsed.map_err(external)?
}

fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// `SHOW COLUMNS FROM t` means the table that `SELECT * FROM t` reads. The planner would list the columns of that name's tables in every schema.
fn in_default_schema(mut statement: Statement) -> Statement {
    if let Statement::Statement(inner) = &mut statement
        && let ast::Statement::ShowColumns { show_options, .. } = inner.as_mut()
        && let Some(table) = show_options
            .show_in
            .as_mut()
            .and_then(|within| within.parent_name.as_mut())
        && table.0.len() == 1
    {
        table.0.insert(
            0,
            ast::ObjectNamePart::Identifier(ast::Ident::new(DEFAULT_SCHEMA)),
        );
    }
    statement
}

fn nothing() -> Error {
    Error::new(ErrorKind::Query, "there is no SQL to run")
}

fn statements(sql: &str) -> Result<VecDeque<Statement>, DataFusionError> {
    let mut tokens = Tokenizer::new(&dialect::SqlDialect::default(), sql)
        .tokenize_with_location()
        .map_err(ParserError::from)?;
    number_tokens::write_out(&mut tokens)
        .map_err(|error| DataFusionError::External(Box::new(error)))?;
    depth::check_nesting(&tokens)?;
    depth::check_words(&tokens).map_err(|error| DataFusionError::External(Box::new(error)))?;
    read(tokens.clone(), depth::NESTING).map_err(|error| {
        // The parser takes what is too deep for something else that it cannot read either, and says that. With more room it reads on.
        let says = error.to_string();
        let reads_on = || {
            Ok(read(tokens, depth::FURTHER)
                .map_or_else(|error| error.to_string() != says, |_| true))
        };
        match depth::on_deep_stack(reads_on) {
            Ok(true) => ParserError::RecursionLimitExceeded.into(),
            _ => error,
        }
    })
}

fn read(
    tokens: Vec<TokenWithSpan>,
    nesting: usize,
) -> Result<VecDeque<Statement>, DataFusionError> {
    let dialect = dialect::SqlDialect::default();
    DFParserBuilder::new(tokens)
        .with_dialect(&dialect)
        .with_recursion_limit(nesting)
        .build()?
        .parse_statements()
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
    let verb = text
        .split_whitespace()
        .next()
        .unwrap_or("this")
        .to_uppercase();
    Err(Error::new(
        ErrorKind::Query,
        format!("{verb} is not a query, and SQL here only reads"),
    )
    .hint(in_place_of(&verb)))
}

/// Advice in place of a statement that is refused.
fn in_place_of(verb: &str) -> &'static str {
    match verb {
        "CREATE" => {
            "WITH name AS (SELECT ...) SELECT ... FROM name gives a query a name, for one statement."
        }
        "COPY" => {
            "`tillhouse sql --output file.csv \"SELECT ...\"`, or \\o file.csv at the prompt, writes a file."
        }
        "SET" | "RESET" => {
            "Settings stand in tillhouse.yaml; x AT TIME ZONE 'Europe/Berlin' shows an instant on a site's clock."
        }
        "BEGIN" | "START" | "COMMIT" | "ROLLBACK" => {
            "All queries of one prompt see the same published run: there is nothing to begin or to end."
        }
        "USE" => "A table of another schema is named with it: hecone.transactions.",
        _ => {
            "SELECT, WITH, VALUES, EXPLAIN, DESCRIBE and SHOW run. Tables change by `tillhouse sync` and `tillhouse rebuild` alone."
        }
    }
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
