//! `/api/v1/sql`: a query that reads.
//!
//! Invariant: one statement, checked and run as `tillhouse sql` does; values of parameters are literals and never text of the query. Nothing is kept, since a query may
//! ask for the time or for what changes without a run.

use super::json_members::{JsonMembers, JsonScalar, scalar};
use super::{EndpointRequest, json_body};
use crate::answer::{AnswerNote, WantedRun, live};
use crate::audit::without_texts;
use crate::media::AnswerFormat;
use crate::problem::Problem;
use crate::rows::write_stream;
use crate::state::ServerState;
use crate::work::AnswerSink;
use axum::body::Body;
use axum::http::Response;
use jiff::tz::TimeZone;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use tillhouse_lake::AsOf;
use tillhouse_model::ExactDecimal;
use tillhouse_model::time::parse_instant;
use tillhouse_query::{ParameterLiteral, QueryParameters};

pub(crate) async fn answer(
    state: &Arc<ServerState>,
    incoming: &EndpointRequest,
    body: Body,
    format: AnswerFormat,
    note: &mut AnswerNote,
) -> Result<Response<Body>, Problem> {
    let body = json_body(state, &incoming.headers, body).await?;
    let AskedQuery { sql, parameters } = read(body)?;
    let _ = note.asked.set(format!("sql {}", without_texts(&sql)));
    // Nothing is published yet: the same answer as at every other endpoint.
    WantedRun::of(state, None)?;
    let at = match incoming.values.get("as_of") {
        None => AsOf::Latest,
        Some(text) => match parse_instant(text, &TimeZone::UTC) {
            Ok(time) => AsOf::Time(time),
            Err(_) => AsOf::Run(text.to_owned()),
        },
    };
    let caller = incoming.caller.clone();
    live(
        state,
        &incoming.caller,
        format.media_type(),
        note,
        async move |state: &ServerState, run: &OnceLock<String>, sink: &mut AnswerSink| {
            let opened = Arc::new(state.runs.open(&at).await?);
            let opened = state.runs.part(&opened, &caller)?;
            let _ = run.set(opened.run.clone());
            let stream = opened
                .session
                .query_written(&sql, &parameters, (1, 1))
                .await?;
            write_stream(stream, format, sink).await
        },
    )
    .await
}

/// A query as it is asked.
struct AskedQuery {
    sql: String,
    parameters: QueryParameters,
}

/// Reads a body: `{"query": "...", "parameters": {"day": "2026-01-01"}}`.
fn read(mut members: JsonMembers) -> Result<AskedQuery, Problem> {
    let wrong = |detail: &str| {
        Problem::bad_request(detail).hint(
            r#"Send {"query": "SELECT ...", "parameters": {"day": "2026-01-01"}}; parameters may be left out."#,
        )
    };
    let sql = match members.take("query").map(|query| scalar(&query)) {
        Some(Some(JsonScalar::Text(sql))) if !sql.contains('\0') => sql,
        Some(_) => return Err(wrong("query has to be a text")),
        None => return Err(wrong("query is missing")),
    };
    let given = match members.take("parameters") {
        Some(given) if given.get().starts_with('{') => {
            Some(JsonMembers::read(given.get().as_bytes())?)
        }
        Some(given) if given.get() != "null" => {
            return Err(wrong("parameters have to be an object"));
        }
        _ => None,
    };
    if !members.is_empty() {
        return Err(wrong("the body has members that nobody knows"));
    }
    let (mut texts, mut literals) = (Vec::new(), Vec::new());
    let mut names = BTreeSet::new();
    for (name, value) in given.into_iter().flat_map(JsonMembers::into_each) {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(is_name) {
            return Err(wrong("a parameter's name has letters, digits and _"));
        }
        if !names.insert(name.to_lowercase()) {
            return Err(wrong("a parameter is given twice, in other cases"));
        }
        match scalar(&value) {
            // It has the type that its place wants, as with `tillhouse sql --param`.
            Some(JsonScalar::Text(text)) => texts.push(format!("{name}={text}")),
            Some(JsonScalar::Number(digits)) => {
                let digits = plain(digits)
                    .ok_or_else(|| wrong("a parameter's number has more than 38 digits"))?;
                literals.push((name, ParameterLiteral::Number(digits)));
            }
            Some(JsonScalar::Truth(is_true)) => {
                literals.push((name, ParameterLiteral::Truth(is_true)));
            }
            Some(JsonScalar::Null) | None => {
                return Err(wrong(
                    "a parameter's value is a text, a number, true or false",
                ));
            }
        }
    }
    let read = QueryParameters::read(texts.iter().map(String::as_str))?;
    let parameters = literals.into_iter().fold(read, |read, (name, literal)| {
        read.with_literal(&name, literal)
    });
    parameters.check_named([sql.as_str()])?;
    Ok(AskedQuery { sql, parameters })
}

/// Digits of a decimal, at most.
const MOST_DIGITS: usize = 38;

/// The digits of a JSON number as SQL writes them, every one; none where a decimal cannot hold it.
fn plain(written: String) -> Option<String> {
    let digits = written.bytes().filter(u8::is_ascii_digit).count();
    match ExactDecimal::parse(&written) {
        Some(_) if digits <= MOST_DIGITS => Some(written),
        _ => ExactDecimal::from_json(&written).map(|number| number.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(body: &str) -> Result<AskedQuery, Problem> {
        read(JsonMembers::read(body.as_bytes())?)
    }

    #[test]
    fn a_body_is_read_or_refused() {
        let one = asked(r#"{"query": "SELECT :n", "parameters": {"n": 1}}"#).unwrap();
        assert_eq!(one.sql, "SELECT :n");
        assert!(asked(r#"{"query": "SELECT 1", "parameters": null}"#).is_ok());
        for wrong in [
            r"[]",
            r#""SELECT 1""#,
            r"{}",
            r#"{"query": 1}"#,
            r#"{"query": "SELECT \u0000"}"#,
            r#"{"query": "SELECT \ud800"}"#,
            r#"{"query": "SELECT 1", "parameters": []}"#,
            r#"{"query": "SELECT 1", "more": 1}"#,
            r#"{"query": "SELECT :n", "parameters": {"n": null}}"#,
            r#"{"query": "SELECT :n", "parameters": {"n": [1]}}"#,
            r#"{"query": "SELECT :n", "parameters": {"n=m": 1}}"#,
            r#"{"query": "SELECT :n", "parameters": {"": 1, "n": 1}}"#,
            r#"{"query": "SELECT 1", "parameters": {"n": 1}}"#,
            r#"{"query": "SELECT 1", "query": "SELECT 2"}"#,
            r#"{"query": "SELECT :n", "parameters": {"n": 1, "n": 2}}"#,
            r#"{"query": "SELECT :n", "parameters": {"n": 1, "N": "2"}}"#,
            r#"{"query": "SELECT :n", "parameters": {"n": 1e40}}"#,
        ] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_number_has_the_digits_that_it_was_sent_with() {
        for (written, digits) in [
            ("0.1", Some("0.1")),
            ("-12.50", Some("-12.50")),
            ("2.0", Some("2.0")),
            ("1e3", Some("1000")),
            ("1.5E-3", Some("0.0015")),
            (
                "0.12345678901234567890123456789",
                Some("0.12345678901234567890123456789"),
            ),
            ("9007199254740993", Some("9007199254740993")),
            ("123456789012345678901234567890123456789", None),
            ("1e-39", None),
        ] {
            assert_eq!(plain(written.to_owned()).as_deref(), digits, "{written}");
        }
    }
}
