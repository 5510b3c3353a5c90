//! Queries that cannot be planned or run, by what the engine says of them.
//!
//! Invariant: each thing it is known to say has its own sentence here; what is not known is shown in SQL's words, or, where it is made for programmers, not at
//! all.

use super::names::{no_function, no_table, no_table_function, no_type};
use super::query_text::Evidence;
use super::wording::{in_sql_words, is_debug_text, one_line, shorten, without_layers};
use super::{Mistake, WrittenQuery, clauses, values};
use datafusion::common::Diagnostic;
use datafusion::sql::sqlparser::tokenizer::Location;

/// Message of the engine, and the query it is about.
pub(super) struct Said<'a> {
    pub(super) text: &'a str,
    pub(super) place: Location,
    pub(super) query: &'a WrittenQuery,
}

impl<'a> Said<'a> {
    /// Text behind a beginning.
    pub(super) fn after(&self, begin: &str) -> Option<&'a str> {
        self.text.strip_prefix(begin)
    }

    /// Text between two others.
    pub(super) fn between(&self, before: &str, behind: &str) -> Option<&'a str> {
        self.text
            .split_once(before)?
            .1
            .split_once(behind)
            .map(|(found, _)| found)
    }

    pub(super) fn has(&self, part: &str) -> bool {
        self.text.contains(part)
    }

    /// A mistake at the place that the engine gave, or that of the evidence.
    pub(super) fn mistake(&self, message: impl Into<String>, evidence: &Evidence<'_>) -> Mistake {
        Mistake::new(message)
            .near(self.query, &Evidence::At(self.place))
            .near(self.query, evidence)
    }
}

/// No evidence but the engine's own.
pub(super) const NOWHERE: Evidence<'static> = Evidence::At(Location { line: 0, column: 0 });

/// The mistake that a text speaks of.
pub(super) fn of_text(
    text: &str,
    diagnostic: Option<&Diagnostic>,
    query: &WrittenQuery,
) -> Mistake {
    let line = one_line(text);
    let said = Said {
        text: without_layers(&line),
        place: diagnostic.and_then(|diagnostic| diagnostic.span).map_or(
            Location { line: 0, column: 0 },
            |span| Location {
                line: span.start.line,
                column: span.start.column,
            },
        ),
        query,
    };
    of_name(&said, diagnostic)
        .or_else(|| values::of_text(said.text, query))
        .or_else(|| of_range(&said))
        .or_else(|| of_arguments(&said))
        .or_else(|| of_types(&said))
        .or_else(|| clauses::of_said(&said, diagnostic))
        .unwrap_or_else(|| unknown(&said))
}

fn of_name(said: &Said<'_>, diagnostic: Option<&Diagnostic>) -> Option<Mistake> {
    let query = said.query;
    if let Some(rest) = said.after("Invalid function '") {
        // What it takes for a likely name is often nothing like it.
        let name = rest.split('\'').next()?;
        return Some(no_function(name, diagnostic, query));
    }
    if let Some(rest) = said.after("table function '") {
        return Some(no_table_function(rest.split('\'').next()?, query));
    }
    if let Some(name) = said
        .after("table '")
        .and_then(|rest| rest.strip_suffix("' not found"))
    {
        return Some(no_table(name, diagnostic, query));
    }
    if let Some(name) = said.after("Unsupported SQL type ") {
        return Some(no_type(name, query));
    }
    if let Some(name) = said.after("Invalid qualifier ") {
        let mistake = said.mistake(
            format!("there is no table `{name}` in FROM"),
            &Evidence::Words(&[name]),
        );
        return Some(mistake.hint(format!(
            "`{name}.*` are the columns of a table, or of its alias, in FROM."
        )));
    }
    if let Some(name) = said
        .after("The window ")
        .and_then(|rest| rest.strip_suffix(" is not defined!"))
    {
        let mistake = said.mistake(
            format!("there is no window `{name}`"),
            &Evidence::Words(&["OVER", name]),
        );
        return Some(mistake.hint(format!("WINDOW {name} AS (PARTITION BY ... ORDER BY ...) stands behind FROM, WHERE and GROUP BY.")));
    }
    if let Some(name) = said.between("WITH query name \"", "\" specified more than once") {
        let mistake = said.mistake(format!("two queries of WITH are called `{name}`"), &NOWHERE);
        return Some(mistake.hint("Each needs a name of its own."));
    }
    if let Some(name) = said.between("Placeholder '", "'") {
        let mistake = said.mistake(format!("`{name}` has no value"), &Evidence::Only(&[name]));
        return Some(mistake.hint("A parameter gets its value from whoever runs the query; a text stands in single quotes."));
    }
    if said.has("is not a variable which can be viewed") {
        let name = said.between("'", "'").unwrap_or_default();
        let mistake = said.mistake(format!("SHOW does not know `{name}`"), &Evidence::Start);
        return Some(
            mistake.hint("SHOW TABLES, SHOW COLUMNS FROM t and SHOW FUNCTIONS are known."),
        );
    }
    None
}

/// A window whose frame is a range of values, and is ordered by values that cannot be counted.
fn of_range(said: &Said<'_>) -> Option<Mistake> {
    let (_, kind) = said
        .text
        .split_once("Cannot run range queries on datatype: ")?;
    let kind = kind.split(['.', ' ']).next().unwrap_or(kind);
    let mistake = said.mistake(
        format!(
            "a window cannot be ordered by {} without a frame of rows",
            in_sql_words(kind)
        ),
        &Evidence::Words(&["OVER"]),
    );
    Some(mistake.hint(
        "OVER (ORDER BY x ROWS UNBOUNDED PRECEDING) goes row by row; rank() is the same with it.",
    ))
}

/// Names and types of a call, as `name(type, type)` in the engine's text.
fn call<'a>(said: &Said<'a>) -> Option<(&'a str, &'a str)> {
    let call = said
        .text
        .split_once("the given name and argument types '")?
        .1;
    let (call, _) = call.split_once("'. ")?;
    let (name, types) = call.split_once('(')?;
    Some((name, types.strip_suffix(')')?))
}

/// Number of parts between commas that stand in no bracket.
fn count(types: &str) -> usize {
    if types.trim().is_empty() {
        return 0;
    }
    let mut depth = 0_i32;
    let commas = types.chars().filter(|c| {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            _ => {}
        }
        *c == ',' && depth == 0
    });
    commas.count() + 1
}

/// Message of a function of ours about its arguments; the engine's own words say less than their types do.
fn own_words(text: &str) -> Option<&str> {
    let (_, why) = text.split_once("user-defined coercion failed with: ")?;
    let (why, _) = why.split_once(". No function matches")?;
    let why = without_layers(why);
    let is_engines = ["coerce", "was called with"]
        .iter()
        .any(|sign| why.contains(sign));
    (!is_engines && !is_debug_text(why)).then_some(why)
}

/// Arguments that a function does not take: too many, too few, or of other types.
fn of_arguments(said: &Said<'_>) -> Option<Mistake> {
    if said.has("SUM not supported for Null") {
        let mistake = said.mistake(
            "`*` stands for all columns only in count(*)",
            &Evidence::Call("sum"),
        );
        return Some(mistake.hint("sum(amount) adds up a column."));
    }
    if said.after("Substring without for/from").is_some() {
        let mistake = said.mistake(
            "substr takes 2 or 3 arguments, not 1",
            &Evidence::Only(&["substr", "substring"]),
        );
        return Some(mistake.hint("substr(text, 2) is the rest from the second letter on, substr(text, 2, 3) three letters of it."));
    }
    let short = || {
        let name = said
            .between("Function '", "'")
            .or_else(|| said.between("call to '", "'"));
        let is_of_types =
            said.has("failed to match any signature") || said.has("Failed to coerce arguments");
        name.filter(|_| is_of_types).map(|name| (name, ""))
    };
    let (name, types) = call(said).or_else(short)?;
    if name == "array_element" {
        let (of, _) = types.rsplit_once(", ").unwrap_or((types, ""));
        let mistake = said.mistake(
            format!("[ ] takes a list, not {}", in_sql_words(of)),
            &Evidence::Only(&["["]),
        );
        return Some(mistake.hint("substr(text, 1, 1) is the first letter of a text."));
    }
    let known = said.query.names.function(name, None);
    let syntax = known.and_then(|function| function.syntax.as_deref());
    let place = Evidence::Call(name);
    if let Some(own) = own_words(said.text) {
        let mistake = said.mistake(shorten(&in_sql_words(own)), &place);
        return Some(match syntax {
            Some(syntax) => mistake.hint(format!("It is called as {syntax}.")),
            None => mistake,
        });
    }
    let is_known = call(said).is_some();
    let given = count(types);
    let is_arity = [
        "arguments but received",
        "argument but received",
        "was called with",
        "zero argument",
        "arguments, got",
        "argument, got",
        "expects at least",
        "expected at least",
    ]
    .iter()
    .any(|sign| said.has(sign));
    let requires_other_types = said.has(" requires ");
    if is_arity && is_known && !requires_other_types || is_known && given == 0 {
        let arguments = if given == 1 {
            "1 argument".to_owned()
        } else {
            format!("{given} arguments")
        };
        let mistake = said.mistake(format!("`{name}` does not take {arguments}"), &place);
        return Some(match syntax {
            Some(syntax) => mistake.hint(format!("It is called as {syntax}.")),
            None => mistake,
        });
    }
    let types = match types.is_empty() {
        true => said
            .text
            .split_once("(DataType: ")
            .and_then(|(_, given)| given.split_once(")."))
            .map_or_else(
                || "these arguments".to_owned(),
                |(given, _)| in_sql_words(given),
            ),
        false => in_sql_words(types),
    };
    let mistake = said.mistake(format!("`{name}` does not take {types}"), &place);
    let is_number_wanted = [
        "sum", "avg", "mean", "median", "stddev", "var", "round", "abs", "ceil", "floor",
    ]
    .iter()
    .any(|of| name.starts_with(of));
    Some(match syntax {
        _ if is_number_wanted && types.starts_with("varchar") => {
            mistake.hint("It is for numbers: CAST(x AS DECIMAL(18, 4)) makes one of a text, count(x) counts the rows.")
        }
        _ if is_number_wanted && (types.starts_with("timestamp") || types.starts_with("date")) => {
            mistake.hint("It is for numbers: min(x) and max(x) take instants, and extract(epoch FROM x) makes seconds of one.")
        }
        Some(syntax) => mistake.hint(format!("It is called as {syntax}; CAST(x AS TYPE) makes another type of a value.")),
        None => mistake.hint("CAST(x AS TYPE) makes another type of a value."),
    })
}

/// Operators and conditions over types that they are not for.
fn of_types(said: &Said<'_>) -> Option<Mistake> {
    if let Some(expr) = said.between("Cannot coerce arithmetic expression ", " to valid types") {
        return Some(of_arithmetic(said, expr));
    }
    if let Some(expr) = said.after("Cannot infer common argument type for comparison operation ") {
        let shown = in_sql_words(expr);
        let operator = operator_of(expr);
        let mistake = said.mistake(
            format!("these types cannot be compared: {shown}"),
            &Evidence::Only(&[operator]),
        );
        let is_time = shown.contains("timestamp") || shown.contains("date");
        return Some(mistake.hint(if is_time {
            "An instant is compared with one: occurred_at > '2026-01-31T12:00:00Z'."
        } else {
            "CAST(x AS TYPE) makes both sides one type."
        }));
    }
    if let Some(expr) =
        said.after("Cannot infer common argument type for logical boolean operation ")
    {
        let shown = in_sql_words(expr);
        let mistake = said.mistake(
            format!("AND and OR join conditions: {shown}"),
            &Evidence::Only(&["AND", "OR"]),
        );
        return Some(
            mistake.hint("A number or a text alone is no condition: compare it, x <> 0, x <> ''."),
        );
    }
    if let Some(expr) = said.after("Cannot infer common string type for string concat operation ") {
        let mistake = said.mistake(
            format!("`||` joins texts: {}", in_sql_words(expr)),
            &Evidence::Only(&["||"]),
        );
        return Some(mistake.hint("CAST(x AS VARCHAR) makes a text of a value."));
    }
    if let Some(types) = said.between("common type to coerce ", " in LIKE expression") {
        let mistake = said.mistake(
            format!("LIKE compares texts, not {}", in_sql_words(types)),
            &Evidence::Only(&["LIKE", "ILIKE"]),
        );
        return Some(mistake.hint("CAST(x AS VARCHAR) LIKE '1%' compares the digits."));
    }
    if let Some(rest) = said.after("Cannot create filter with non-boolean predicate '") {
        let (expr, data_type) = rest.rsplit_once("' returning ")?;
        let message = format!(
            "WHERE takes a condition, and `{}` is {}",
            in_sql_words(expr),
            in_sql_words(data_type)
        );
        return Some(
            said.mistake(message, &Evidence::Words(&["WHERE"]))
                .hint("Compare it: x > 0, x = 'a', x IS NOT NULL."),
        );
    }
    if let Some(rest) = said.after("Unary operator 'NOT' requires a boolean expression, got ") {
        let message = format!("NOT takes a condition, not {}", in_sql_words(rest));
        return Some(
            said.mistake(message, &Evidence::Only(&["NOT"]))
                .hint("Compare it: NOT (x > 0), or x IS NULL."),
        );
    }
    if said.has("Unary operator '-'") || said.has("Unary operator '+'") {
        let mistake = said.mistake(
            "a sign stands before a number or an interval alone",
            &NOWHERE,
        );
        return Some(mistake.hint("CAST(x AS DECIMAL(18, 4)) makes a number of a text."));
    }
    if let Some((from, to)) = said
        .after("Cannot automatically convert ")
        .and_then(|rest| rest.split_once(" to "))
    {
        let (from, to) = (in_sql_words(from), in_sql_words(to));
        if to == "boolean" {
            let mistake = said.mistake(
                format!("a condition is wanted, and there is {from}"),
                &Evidence::Only(&["WHEN", "FILTER"]),
            );
            return Some(mistake.hint("Compare it: x > 0, x = 'a', x IS NOT NULL."));
        }
        let mistake = said.mistake(format!("{to} is wanted, and there is {from}"), &NOWHERE);
        return Some(mistake.hint("CAST(x AS TYPE) makes another type of a value."));
    }
    if let Some(types) = said.between("Failed to coerce then ", " to common types") {
        let types = in_sql_words(types).replace(") and else (", " and ");
        let types = types.trim_start_matches('(');
        let types = types.strip_suffix(')').unwrap_or(types);
        let mistake = said.mistake(
            format!("the values behind THEN and ELSE have types that do not go together: {types}"),
            &Evidence::Words(&["CASE"]),
        );
        return Some(mistake.hint("CAST(x AS VARCHAR) makes a text of any value."));
    }
    if let Some(data_type) =
        said.between("Cannot access field at argument 1: type ", " is not Struct")
    {
        let mistake = said.mistake(
            format!("a value of type {} has no fields", in_sql_words(data_type)),
            &Evidence::Only(&["."]),
        );
        return Some(mistake.hint("x.y is column y of table x, or field y of a struct x."));
    }
    None
}

/// The operator between two types.
fn operator_of(expr: &str) -> &str {
    let mut depth = 0_i32;
    for word in expr.split(' ') {
        let is_operator =
            depth == 0 && !word.is_empty() && word.chars().all(|c| "+-*/%<>=!|&^~".contains(c));
        if is_operator {
            return word;
        }
        depth += word.matches('(').count() as i32 - word.matches(')').count() as i32;
    }
    ""
}

fn of_arithmetic(said: &Said<'_>, expr: &str) -> Mistake {
    let operator = operator_of(expr);
    let shown = in_sql_words(expr);
    let mistake = said.mistake(
        format!("`{operator}` is not for these types: {shown}"),
        &Evidence::Only(&[operator]),
    );
    let (left, right) = shown
        .split_once(&format!(" {operator} "))
        .unwrap_or((&shown, ""));
    let is = |kind: &str| left.starts_with(kind) || right.starts_with(kind);
    let is_time = is("timestamp") || is("date");
    mistake.hint(if is_time && (is("varchar") || !is("interval")) {
        "An interval moves an instant: x + INTERVAL '1 day'."
    } else if is("interval") && is("varchar") {
        "A date is DATE '2026-01-31', an instant TIMESTAMP '2026-01-31 12:00:00'."
    } else if operator == "+" && is("varchar") {
        "Texts are joined by ||; CAST(x AS DECIMAL(18, 4)) makes a number of a text."
    } else if is("varchar") {
        "CAST(x AS DECIMAL(18, 4)) makes a number of a text."
    } else {
        "CAST(x AS TYPE) makes another type of a value."
    })
}

/// Messages without a sentence of their own.
fn unknown(said: &Said<'_>) -> Mistake {
    let text = said
        .text
        .split(" This issue was likely caused")
        .next()
        .unwrap_or(said.text);
    let shown = in_sql_words(text.trim_end_matches('.'));
    if shown.is_empty() || is_debug_text(&shown) {
        // The text may say where in the query it is.
        let place = said.between("Span(Location(", ")").and_then(|place| {
            let (line, column) = place.split_once(',')?;
            Some(Location {
                line: line.parse().ok()?,
                column: column.parse().ok()?,
            })
        });
        let place = place.unwrap_or(Location { line: 0, column: 0 });
        return said
            .mistake("the query has a form that is not supported", &Evidence::At(place))
            .hint("Write it in simpler parts: a query in WITH for each step. docs/sql.md says what is known.");
    }
    // Our own functions begin with their name, or have it in what they say.
    let words = shown.split(|c: char| !(c.is_alphanumeric() || c == '_'));
    let called = words
        .filter(|word| word.len() > 2)
        .find(|word| said.query.text.place(&Evidence::Call(word)).is_some());
    let place = called.map_or(NOWHERE, Evidence::Call);
    said.mistake(shorten(&shown), &place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_call_are_counted_and_operators_found() {
        for (types, expected) in [
            ("", 0),
            ("Int64", 1),
            ("Decimal128(18, 4), Int64", 2),
            ("Timestamp(µs, \"UTC\"), Utf8, List(Utf8)", 3),
        ] {
            assert_eq!(count(types), expected, "{types}");
        }
        assert_eq!(operator_of("Decimal128(18, 4) + Utf8"), "+");
        assert_eq!(operator_of("Timestamp(µs, \"UTC\") >= Int64"), ">=");
        assert_eq!(operator_of("Boolean"), "");
    }

    #[test]
    fn what_is_not_known_is_no_text_for_programmers() {
        let query = WrittenQuery::default();
        let shown = of_text("Error during planning: no idea of Utf8.", None, &query);
        assert_eq!(shown.message, "no idea of varchar");
        let hidden = of_text(
            "Physical plan does not support Foo(Bar { x: None })",
            None,
            &query,
        );
        assert_eq!(hidden.message, "the query has a form that is not supported");
    }
}
