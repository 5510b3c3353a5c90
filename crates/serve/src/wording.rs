//! Words of errors for whoever asks the server: over HTTP parameters in place of flags, paths in place of commands and of the prompt; in protocols of databases SQL.
//!
//! Invariant: a flag that an endpoint has as a parameter is called by that parameter's name, at HecOne's endpoint by HecOne's. What
//! stands in quotes is somebody's own text and stays as it is, and so does a command that is told to whoever runs the server.
//!
//! Errors are made where they are found, in words of the command line: most are read there. Rejected: hints in two kinds of words at
//! each of these places, of which one would be forgotten.

use crate::endpoints::{ENDPOINTS, EndpointId};

/// Words of the command line and of its prompt, with those that are meant over HTTP, and those in protocols of databases.
const PHRASES: [(&str, &str, &str); 9] = [
    (
        "`tillhouse describe`, or \\dt at the prompt, lists",
        "GET /api/v1/tables lists",
        "SHOW TABLES lists",
    ),
    (
        "\\dt at the prompt, or SHOW TABLES, lists",
        "GET /api/v1/tables, or SHOW TABLES, lists",
        "SHOW TABLES lists",
    ),
    (
        "\\df at the prompt, or SHOW FUNCTIONS, lists",
        "SHOW FUNCTIONS lists",
        "SHOW FUNCTIONS lists",
    ),
    (
        "`tillhouse sql \"SELECT run_id, finished_at FROM ops.runs\"` lists",
        "GET /api/v1/runs lists",
        "`SELECT run_id, finished_at FROM ops.runs` lists",
    ),
    (
        "`tillhouse sql --output file.csv \"SELECT ...\"`, or \\o file.csv at the prompt, writes a file.",
        "Ask with `Accept: text/csv`, and keep the answer as a file.",
        "Send the query itself, and keep its rows in a file where they arrive.",
    ),
    (
        "`--format json` of `tillhouse sql` writes JSON.",
        "`Accept: application/json` asks for JSON.",
        "Rows are written by the client that takes them.",
    ),
    (
        "`--format` of `tillhouse sql` says how rows are written; settings stand in tillhouse.yaml.",
        "`Accept` says how rows are written; settings stand in tillhouse.yaml.",
        "Rows are written by the client that takes them; settings stand in tillhouse.yaml.",
    ),
    (
        "Ask for less, or write .csv or .parquet, which have no such limit.",
        "Ask for less, or for CSV or Parquet, which have no such limit.",
        "Ask for less.",
    ),
    (
        "All queries of one prompt see the same published run",
        "A query sees one published run",
        "A query sees one published run",
    ),
];

/// A text in the words of an endpoint.
pub(crate) fn in_words_of(endpoint: EndpointId, text: &str) -> String {
    let mut text = text.to_owned();
    for (said, meant, _) in PHRASES {
        text = text.replace(said, meant);
    }
    flags(endpoint, &queries(&text, " at POST /api/v1/sql"))
}

/// A text in the words of a protocol of databases.
pub(crate) fn in_words_of_sql(text: &str) -> String {
    let mut text = text.to_owned();
    for (said, _, meant) in PHRASES {
        text = text.replace(said, meant);
    }
    bound(&queries(&text, ""))
}

/// `` `tillhouse sql "QUERY"` `` as a query, and where it is asked.
fn queries(text: &str, asked: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once("`tillhouse sql \"") {
        let Some((query, after)) = behind.split_once("\"`") else {
            break;
        };
        out.push_str(&format!("{before}`{query}`{asked}"));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Flags as parameters.
fn flags(endpoint: EndpointId, text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once("--") {
        out.push_str(before);
        let is_of_name = |c: char| c.is_ascii_lowercase() || c == '-';
        let after = behind.trim_start_matches(is_of_name);
        let name = behind.strip_suffix(after).unwrap_or_default();
        rest = after;
        if begins_here(&out) && !is_in_command(&out) {
            if name == "param"
                && let Some(given) = given(after)
            {
                let (name, value) = (given.name, given.value);
                out.push_str(&format!("\"parameters\": {{\"{name}\": \"{value}\"}}"));
                rest = given.after;
                continue;
            }
            if let Some(parameter) = parameter(endpoint, name) {
                out.push_str(&parameter);
                continue;
            }
        }
        out.push_str("--");
        out.push_str(name);
    }
    out.push_str(rest);
    out
}

/// Flags of values as the parameters that these are bound to.
fn bound(text: &str) -> String {
    const FLAG: &str = "--param";
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, behind)) = rest.split_once(FLAG) {
        out.push_str(before);
        rest = behind;
        match given(behind).filter(|_| begins_here(&out)) {
            Some(given) => {
                out.push_str(&format!("bound to ${}", given.name));
                rest = given.after;
            }
            None => out.push_str(FLAG),
        }
    }
    out.push_str(rest);
    out
}

/// True if a word may begin behind a text.
fn begins_here(text: &str) -> bool {
    matches!(text.chars().next_back(), None | Some(' ' | '`' | '('))
}

/// ` NAME=VALUE` behind `--param`, and what follows.
struct GivenValue<'a> {
    name: &'a str,
    value: &'a str,
    after: &'a str,
}

/// The value behind `--param`.
fn given(text: &str) -> Option<GivenValue<'_>> {
    let (name, behind) = text.strip_prefix(' ')?.split_once('=')?;
    let after = behind.trim_start_matches(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_'));
    let value = behind.strip_suffix(after)?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    is_name.then_some(GivenValue { name, value, after })
}

/// True if a text ends within a command: somebody at a command line is told what to do.
fn is_in_command(text: &str) -> bool {
    let is_open = text.matches('`').count() % 2 == 1;
    let last = text.rsplit('`').next().unwrap_or_default();
    is_open && last.starts_with("tillhouse ")
}

/// The parameter of a flag; `None` where no endpoint has one.
fn parameter(endpoint: EndpointId, flag: &str) -> Option<String> {
    let of_hecone = match flag {
        "from" => "start_date",
        "to" => "end_date",
        "tenant" => "mandator_id",
        _ => flag,
    };
    if endpoint == EndpointId::HecOneStatistics && of_hecone != flag {
        return Some(of_hecone.to_owned());
    }
    let name = flag.replace('-', "_");
    let mut all = ENDPOINTS
        .iter()
        .flat_map(|endpoint| endpoint.parameters.iter());
    all.any(|known| known.name == name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use tillhouse_model::time::future_window_error;
    use tillhouse_model::{Error, Window};
    use tillhouse_query::{QueryEngine, QueryEngineOptions, QueryParameters};

    #[test]
    fn what_an_endpoint_knows_is_called_by_its_name() {
        for (said, meant) in [
            (
                "Give a --from that is earlier than --to; x.",
                "Give a from that is earlier than to; x.",
            ),
            (
                "--from 2999 lies in the future",
                "from 2999 lies in the future",
            ),
            (
                "Until then `--as-of RUN` answers.",
                "Until then `as_of RUN` answers.",
            ),
            (
                "Ask without --as-of: it is kept.",
                "Ask without as_of: it is kept.",
            ),
            (
                "Give it one: --param day=VALUE.",
                "Give it one: \"parameters\": {\"day\": \"VALUE\"}.",
            ),
            (
                "`tillhouse sql \"SELECT group_key, name FROM site_groups\"` lists them.",
                "`SELECT group_key, name FROM site_groups` at POST /api/v1/sql lists them.",
            ),
            (
                "`tillhouse sql \"SELECT run_id, finished_at FROM ops.runs\"` lists the runs.",
                "GET /api/v1/runs lists the runs.",
            ),
            (
                "Did you mean a? `tillhouse describe`, or \\dt at the prompt, lists what there is.",
                "Did you mean a? GET /api/v1/tables lists what there is.",
            ),
            // For whoever runs the server, and somebody's own text.
            (
                "`tillhouse init --source pace` adds one, `tillhouse sync` reads it.",
                "`tillhouse init --source pace` adds one, `tillhouse sync` reads it.",
            ),
            (
                "there is no tenant \"--from\"",
                "there is no tenant \"--from\"",
            ),
            (
                "Name the earlier run with --since.",
                "Name the earlier run with --since.",
            ),
            ("a -- b, a--from, --", "a -- b, a--from, --"),
        ] {
            assert_eq!(in_words_of(EndpointId::Statistics, said), meant);
        }
        let of_hecone = in_words_of(
            EndpointId::HecOneStatistics,
            "Give a --from that is earlier than --to.",
        );
        assert_eq!(
            of_hecone,
            "Give a start_date that is earlier than end_date."
        );
    }

    #[test]
    fn a_protocol_of_databases_is_told_of_sql() {
        for (said, meant) in [
            (
                "Did you mean a? `tillhouse describe`, or \\dt at the prompt, lists what there is.",
                "Did you mean a? SHOW TABLES lists what there is.",
            ),
            (
                "`tillhouse sql \"SELECT group_key, name FROM site_groups\"` lists them.",
                "`SELECT group_key, name FROM site_groups` lists them.",
            ),
            (
                "Give it one: --param day=VALUE.",
                "Give it one: bound to $day.",
            ),
            ("a--param b=1, --param", "a--param b=1, --param"),
            (
                "Tables change by `tillhouse sync` alone.",
                "Tables change by `tillhouse sync` alone.",
            ),
        ] {
            assert_eq!(in_words_of_sql(said), meant);
        }
    }

    /// Errors of what is asked wrong, as the commands have them.
    async fn errors() -> Vec<Error> {
        let (early, late) = (Timestamp::UNIX_EPOCH, Timestamp::MAX);
        let mut errors = vec![
            Window::new(late, early).unwrap_err(),
            future_window_error(late, early),
        ];
        errors.extend(errors_of_sql().await);
        errors
    }

    async fn errors_of_sql() -> Vec<Error> {
        let session = QueryEngine::new(QueryEngineOptions::default())
            .unwrap()
            .empty_session()
            .unwrap();
        let mut errors = vec![session.describe_named("nothing").await.unwrap_err()];
        let none = QueryParameters::default();
        for sql in [
            "SELECT :day",
            "SELECT * FROM nothing",
            "SELECT nothing_like_this()",
            "SELECT 1 FOR UPDATE",
            "COPY (SELECT 1) TO 'file.csv'",
            "BEGIN",
            "DROP TABLE x",
        ] {
            errors.extend(session.query_written(sql, &none, (1, 1)).await.err());
        }
        errors
    }

    #[tokio::test]
    async fn nobody_is_told_of_flags_and_of_the_prompt() {
        let (all, of_sql) = (errors().await, errors_of_sql().await);
        assert!(of_sql.len() > 6, "{}", of_sql.len());
        let texts_of = |error: &Error| {
            let hint = error.hint_text().unwrap_or_default();
            [error.message().to_owned(), hint.to_owned()]
        };
        let over_http = all.iter().flat_map(texts_of);
        let over_http = over_http.map(|text| in_words_of(EndpointId::Sql, &text));
        let in_sql = of_sql.iter().flat_map(texts_of);
        let in_sql = in_sql.map(|text| in_words_of_sql(&text));
        for told in over_http.chain(in_sql) {
            for word in ["--", "prompt", "tillhouse sql", "tillhouse describe"] {
                assert!(!told.contains(word), "{told}");
            }
        }
    }
}
