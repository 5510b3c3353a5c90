//! `/api/v1/sql`: a query that reads.
//!
//! Invariant: one statement, checked and run as `tillhouse sql` does; values of parameters are literals and never text of the query. Nothing is kept, since a query may
//! ask for the time or for what changes without a run.

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
use serde_json::{Map, Value};
use std::sync::{Arc, OnceLock};
use tillhouse_lake::AsOf;
use tillhouse_model::time::parse_instant;
use tillhouse_query::QueryParameters;

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
        format,
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
fn read(body: Value) -> Result<AskedQuery, Problem> {
    let wrong = |detail: &str| {
        Problem::bad_request(detail).hint(
            r#"Send {"query": "SELECT ...", "parameters": {"day": "2026-01-01"}}; parameters may be left out."#,
        )
    };
    let Value::Object(mut members) = body else {
        return Err(wrong("the body is no object"));
    };
    let sql = match members.remove("query") {
        Some(Value::String(sql)) if !sql.contains('\0') => sql,
        Some(_) => return Err(wrong("query has to be a text")),
        None => return Err(wrong("query is missing")),
    };
    let given = match members.remove("parameters") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(given)) => given,
        Some(_) => return Err(wrong("parameters have to be an object")),
    };
    if !members.is_empty() {
        return Err(wrong("the body has members that nobody knows"));
    }
    let mut texts = Vec::new();
    for (name, value) in given {
        if !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
            return Err(wrong("a parameter's name has letters, digits and _"));
        }
        let value = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(is_true) => is_true.to_string(),
            _ => {
                return Err(wrong(
                    "a parameter's value is a text, a number, true or false",
                ));
            }
        };
        texts.push(format!("{name}={value}"));
    }
    let parameters = QueryParameters::read(texts.iter().map(String::as_str))?;
    parameters.check_named([sql.as_str()])?;
    Ok(AskedQuery { sql, parameters })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_body_is_read_or_refused() {
        let asked = read(json!({"query": "SELECT :n", "parameters": {"n": 1}})).unwrap();
        assert_eq!(asked.sql, "SELECT :n");
        assert!(read(json!({"query": "SELECT 1", "parameters": null})).is_ok());
        for wrong in [
            json!([]),
            json!("SELECT 1"),
            json!({}),
            json!({"query": 1}),
            json!({"query": "SELECT \u{0}"}),
            json!({"query": "SELECT 1", "parameters": []}),
            json!({"query": "SELECT 1", "more": 1}),
            json!({"query": "SELECT :n", "parameters": {"n": null}}),
            json!({"query": "SELECT :n", "parameters": {"n=m": 1}}),
            json!({"query": "SELECT :n", "parameters": {"": 1, "n": 1}}),
            json!({"query": "SELECT 1", "parameters": {"n": 1}}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
