//! The functions of a session, with what is said of them.
//!
//! Invariant: each name is there once for each kind that it has; aliases are names like others. What a rewrite makes of a query ([`HIDDEN`]) is nobody's to call, and
//! the calls that are rewritten ([`REWRITTEN`]) are listed like functions. Of our own functions docs/functions.md says what they are, here too.

use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::Documentation;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Functions that only rewrites and plans call.
const HIDDEN: [&str; 39] = [
    "at_time_zone",
    "calendar_part",
    "checked_add",
    "checked_multiply",
    "checked_negate",
    "checked_subtract",
    "clock_text",
    "decimal_product",
    "decimal_quotient",
    "decimal_text",
    "first_known",
    "fitting_decimal",
    "joined_text",
    "json_at",
    "json_text_at",
    "julian_day",
    "list_order",
    "most_frequent",
    "nearest_float",
    "regexp_replacement",
    "rounded_number",
    "shown_cast",
    "span_centuries",
    "span_days",
    "span_decades",
    "span_epoch",
    "span_hours",
    "span_length",
    "span_microseconds",
    "span_millennia",
    "span_milliseconds",
    "span_minutes",
    "span_months",
    "span_quarters",
    "span_seconds",
    "span_text",
    "span_years",
    "time_text",
    "value_at_share",
];

/// Calls that are rewritten before they are planned: kind, form, and what it gives.
const REWRITTEN: [(FunctionKind, &str, &str); 11] = [
    (
        FunctionKind::Aggregate,
        "arg_max(value, of)",
        "the value of the row where `of` is largest",
    ),
    (
        FunctionKind::Aggregate,
        "arg_min(value, of)",
        "the value of the row where `of` is least",
    ),
    (
        FunctionKind::Aggregate,
        "count_if(condition)",
        "how many rows a condition holds for",
    ),
    (
        FunctionKind::Aggregate,
        "every(condition)",
        "true if a condition holds for all rows",
    ),
    (
        FunctionKind::Aggregate,
        "mode() WITHIN GROUP (ORDER BY x)",
        "the value that is there most often; mode(x) is the same",
    ),
    (
        FunctionKind::Aggregate,
        "percentile_disc(share) WITHIN GROUP (ORDER BY x)",
        "the first value at or after that share of all",
    ),
    (
        FunctionKind::Aggregate,
        "quantile_disc(x, share)",
        "the first value at or after that share of all",
    ),
    (
        FunctionKind::Scalar,
        "date_add(time, span)",
        "a time later by a span; date_add('month', 2, time) likewise",
    ),
    (
        FunctionKind::Scalar,
        "date_sub(time, span)",
        "a time earlier by a span; date_sub('month', 2, time) likewise",
    ),
    (
        FunctionKind::Scalar,
        "if(condition, then, otherwise)",
        "the one value or the other",
    ),
    (
        FunctionKind::Scalar,
        "ifnull(value, otherwise)",
        "the first value, or the second where it is null",
    ),
];

/// Forms of our own functions and what they give, by name, from the table of docs/functions.md.
static DOCUMENTED: LazyLock<BTreeMap<&'static str, (&'static str, &'static str)>> =
    LazyLock::new(|| {
        const PAGE: &str = include_str!("../../../docs/functions.md");
        PAGE.lines()
            .filter_map(|line| {
                let (form, rest) = line.strip_prefix("| [`")?.split_once("`]")?;
                let (_, gives) = rest.split_once("| ")?;
                Some((name_of(form), (form, gives.strip_suffix(" |")?)))
            })
            .collect()
    });

/// Name of the function that a form calls.
fn name_of(form: &str) -> &str {
    form.split('(').next().unwrap_or(form)
}

/// Kind of a function: where in a query it may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FunctionKind {
    /// A value from the values of one row.
    Scalar,
    /// A value from the rows of a group.
    Aggregate,
    /// A value from the rows around one, with OVER.
    Window,
    /// Rows, in FROM.
    Table,
}

impl FunctionKind {
    /// The kind in one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Aggregate => "aggregate",
            Self::Window => "window",
            Self::Table => "table",
        }
    }
}

/// A function: its name and kind, how it is called, what it gives.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FunctionSummary {
    /// Name in a query.
    pub name: String,
    /// Kind.
    pub kind: FunctionKind,
    /// Form of a call, like `substr(str, start_pos[, length])`; `None` where nothing says it.
    pub syntax: Option<String>,
    /// Description of its result, in a sentence or more.
    pub description: Option<String>,
}

impl FunctionSummary {
    fn new(name: &str, kind: FunctionKind, documentation: Option<&Documentation>) -> Self {
        let text = |text: &str| {
            let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
            (!line.is_empty()).then_some(line)
        };
        let own = DOCUMENTED.get(name);
        Self {
            name: name.to_owned(),
            kind,
            syntax: documentation
                .and_then(|said| text(&said.syntax_example))
                .or_else(|| own.and_then(|(form, _)| text(form))),
            description: documentation
                .and_then(|said| text(&said.description))
                .or_else(|| own.and_then(|(_, gives)| text(gives))),
        }
    }

    fn rewritten((kind, form, gives): (FunctionKind, &str, &str)) -> Self {
        Self {
            name: name_of(form).to_owned(),
            kind,
            syntax: Some(form.to_owned()),
            description: Some(gives.to_owned()),
        }
    }
}

/// The functions that a state knows, by name.
pub(crate) fn of_state(state: &SessionState) -> Vec<FunctionSummary> {
    use FunctionKind::{Aggregate, Scalar, Table, Window};
    let scalar = state
        .scalar_functions()
        .iter()
        .map(|(name, function)| FunctionSummary::new(name, Scalar, function.documentation()));
    let aggregate = state
        .aggregate_functions()
        .iter()
        .map(|(name, function)| FunctionSummary::new(name, Aggregate, function.documentation()));
    let window = state
        .window_functions()
        .iter()
        .map(|(name, function)| FunctionSummary::new(name, Window, function.documentation()));
    let table = state
        .table_functions()
        .keys()
        .map(|name| FunctionSummary::new(name, Table, None));
    let rewritten = REWRITTEN.into_iter().map(FunctionSummary::rewritten);
    let mut all: Vec<FunctionSummary> = scalar
        .chain(aggregate)
        .chain(window)
        .chain(table)
        .filter(|function| !HIDDEN.contains(&function.name.as_str()))
        .chain(rewritten)
        .collect();
    all.sort_unstable();
    all.dedup_by(|a, b| (&a.name, a.kind) == (&b.name, b.kind));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{QueryEngine, QueryEngineOptions, QueryParameters};

    #[tokio::test]
    async fn what_is_listed_can_be_called_and_what_is_not_has_another_form() {
        let session = QueryEngine::new(QueryEngineOptions::default())
            .unwrap()
            .empty_session()
            .unwrap();
        let known = session.functions();
        let state = session.context().state();
        for name in HIDDEN {
            assert!(
                state.scalar_functions().contains_key(name)
                    || state.aggregate_functions().contains_key(name),
                "{name}"
            );
            assert!(known.iter().all(|function| function.name != name), "{name}");
        }
        for (_, form, _) in REWRITTEN {
            let name = name_of(form);
            assert!(known.iter().any(|function| function.name == name), "{name}");
            let sql = format!("SELECT {name}()");
            let given = QueryParameters::default();
            let told = match session.query_written(&sql, &given, (1, 1)).await {
                Ok(_) => String::new(),
                Err(error) => error.to_string(),
            };
            assert!(!told.contains("there is no function"), "{sql}: {told}");
        }
        let said = |name: &str| {
            let found = known.iter().find(|function| function.name == name);
            found.unwrap().syntax.clone().unwrap()
        };
        assert_eq!(said("local_date"), "local_date(instant, zone)");
        assert_eq!(said("count_if"), "count_if(condition)");
    }
}
