//! Clauses that a query has and may not have so: groups and aggregates, windows, queries within queries, UNION, LIMIT.
//!
//! Invariant: as in [`super::planning`], each thing that the engine is known to say has its own sentence.

use super::Mistake;
use super::planning::{NOWHERE, Said};
use super::query_text::Evidence;
use super::wording::{in_sql_words, shorten};
use crate::function_list::FunctionKind;
use datafusion::common::Diagnostic;
use tillhouse_model::did_you_mean::nearest;

/// The mistake in a clause that the engine speaks of.
pub(super) fn of_said(said: &Said<'_>, diagnostic: Option<&Diagnostic>) -> Option<Mistake> {
    of_groups(said)
        .or_else(|| of_windows(said))
        .or_else(|| of_subqueries(said))
        .or_else(|| of_sets(said, diagnostic))
        .or_else(|| of_clauses(said))
}

/// Groups and aggregates.
fn of_groups(said: &Said<'_>) -> Option<Mistake> {
    if let Some(column) = said.between("column \"", "\" must appear in the GROUP BY") {
        let shown = in_sql_words(column);
        let name = shown.rsplit('.').next().unwrap_or(&shown).to_owned();
        let is_star = said
            .query
            .text
            .place(&Evidence::Name(None, &name))
            .is_none();
        let star = said.query.text.place(&Evidence::Only(&["*"]));
        if let (true, Some(star)) = (is_star, star) {
            let message = "`*` stands beside an aggregate: all columns, and none is in GROUP BY";
            let mistake = Mistake::new(message).placed(Some(star));
            return Some(
                mistake
                    .hint("Name those to group by: SELECT state, sum(amount) ... GROUP BY state."),
            );
        }
        let clause = said
            .between("Column in ", " must be in GROUP BY")
            .unwrap_or("SELECT");
        let mistake = said.mistake(
            format!("`{name}` in {clause} is neither in GROUP BY nor in an aggregate"),
            &Evidence::Name(None, &name),
        );
        return Some(mistake.hint(format!(
            "Add it to GROUP BY (GROUP BY ALL takes all that are not aggregated), or take one of its values: max({name})."
        )));
    }
    if said.has("HAVING clause references") {
        let mistake = said.mistake(
            "HAVING takes groups: a column in it is in GROUP BY or in an aggregate",
            &Evidence::Words(&["HAVING"]),
        );
        return Some(mistake.hint("Conditions on rows stand in WHERE."));
    }
    if said.has("Aggregate functions are not allowed in the WHERE") {
        let after = said.query.text.find_words(0, &["WHERE"]).unwrap_or(0);
        let is_aggregate = |at: &usize| {
            said.query.text.word(*at).is_some_and(|(word, _)| {
                said.query
                    .names
                    .function(word, Some(FunctionKind::Aggregate))
                    .is_some()
            })
        };
        let at = (after..said.query.text.len()).find(is_aggregate);
        let place = at.and_then(|at| said.query.text.start_of(at));
        let mistake = Mistake::new("an aggregate in WHERE, which takes single rows").placed(place);
        return Some(mistake.hint("HAVING filters groups: GROUP BY ... HAVING sum(x) > 10."));
    }
    for (sign, outer, inner) in [
        (
            "Aggregate function calls cannot be nested",
            "an aggregate",
            "an aggregate",
        ),
        (
            "Aggregate function calls cannot contain window",
            "an aggregate",
            "a window function",
        ),
        (
            "Window function calls cannot be nested",
            "a window function",
            "a window function",
        ),
    ] {
        if said.has(sign) {
            let name = said.between(": '", "(").unwrap_or_default();
            let mistake = Mistake::new(format!("{inner} stands within {outer}"))
                .near(said.query, &Evidence::Call(name))
                .near(said.query, &Evidence::At(said.place));
            return Some(mistake.hint("Work the inner one out in a query of its own: SELECT sum(n) FROM (SELECT count(*) AS n FROM ... GROUP BY ...)."));
        }
    }
    if let Some(rest) = said.after("Cannot find column with position ") {
        let (position, last) = (rest.split(' ').next()?, rest.rsplit(' ').next()?);
        return Some(position_mistake(said, "GROUP", position, last));
    }
    if let Some(rest) = said.after("Order by column out of bounds, specified: ") {
        let (position, last) = rest.split_once(", max: ")?;
        return Some(position_mistake(said, "ORDER", position, last));
    }
    if said.has("Order by index starts at 1") {
        return Some(said.mistake(
            "ORDER BY 0: columns are counted from 1",
            &Evidence::Words(&["ORDER", "BY"]),
        ));
    }
    if said.has("DISTINCT ON expressions must match") {
        let mistake = said.mistake(
            "DISTINCT ON and ORDER BY do not begin with the same columns",
            &Evidence::Words(&["DISTINCT", "ON"]),
        );
        return Some(mistake.hint("SELECT DISTINCT ON (a) ... ORDER BY a, b DESC keeps of each a the row with the greatest b."));
    }
    if said.has("COUNT DISTINCT with multiple arguments") {
        let mistake = said.mistake(
            "count(DISTINCT ...) takes one column",
            &Evidence::Call("count"),
        );
        return Some(
            mistake.hint("SELECT count(*) FROM (SELECT DISTINCT a, b FROM t) counts pairs."),
        );
    }
    if said.has("In an aggregate with DISTINCT") {
        let mistake = said.mistake(
            "an aggregate with DISTINCT is ordered by its own argument alone",
            &Evidence::Words(&["DISTINCT"]),
        );
        return Some(mistake.hint("array_agg(DISTINCT x ORDER BY x)."));
    }
    if said.has("Percentile value must be between") {
        let mistake = said.mistake(
            "a percentile lies between 0 and 1",
            &Evidence::Only(&[
                "percentile_cont",
                "percentile_disc",
                "approx_percentile_cont",
            ]),
        );
        return Some(mistake.hint("The 90th is 0.9."));
    }
    None
}

fn columns_of(count: &str) -> String {
    let ending = if count == "1" { "" } else { "s" };
    format!("{count} column{ending}")
}

fn position_mistake(said: &Said<'_>, clause: &str, position: &str, last: &str) -> Mistake {
    let columns = columns_of(last);
    said.mistake(
        format!("{clause} BY {position}, and SELECT has {columns}"),
        &Evidence::Words(&[clause, "BY"]),
    )
}

/// Window functions.
fn of_windows(said: &Said<'_>) -> Option<Mistake> {
    if said.has("logical expression WindowFunction(") {
        let mistake = said.mistake(
            "a window function stands where single rows are chosen",
            &Evidence::Only(&["OVER"]),
        );
        return Some(mistake.hint(
            "QUALIFY filters by it, in place of WHERE: QUALIFY row_number() OVER (...) = 1.",
        ));
    }
    if said.after("Invalid window frame: ").is_some() {
        let frame = said.text.trim_start_matches("Invalid window frame: ");
        let mistake = said.mistake(
            format!(
                "the window's frame ends before it begins: {}",
                in_sql_words(&shorten(frame))
            ),
            &Evidence::Only(&["ROWS", "RANGE", "GROUPS"]),
        );
        return Some(mistake.hint("ROWS BETWEEN 6 PRECEDING AND CURRENT ROW are seven rows."));
    }
    if said.has("Expected an integer value") {
        let mistake = said.mistake(
            "the second argument of lag and lead is a whole number of rows",
            &Evidence::Only(&["lag", "lead", "nth_value", "ntile"]),
        );
        return Some(
            mistake.hint("lag(x, 1, 0) OVER (ORDER BY ...): one row back, 0 where there is none."),
        );
    }
    if said.has("QUALIFY clause requires window functions") {
        let mistake = said.mistake(
            "QUALIFY filters by a window function, and there is none",
            &Evidence::Words(&["QUALIFY"]),
        );
        return Some(mistake.hint("WHERE filters rows, HAVING groups."));
    }
    None
}

/// Queries within queries.
fn of_subqueries(said: &Said<'_>) -> Option<Mistake> {
    if said.has("returned more than one row") {
        let mistake = said.mistake(
            "a query that stands for one value gave several rows",
            &NOWHERE,
        );
        return Some(mistake.hint("Let it give one: max(...) around its column, or LIMIT 1."));
    }
    if said.has("Correlated scalar subquery must be aggregated") {
        let mistake = said.mistake(
            "a query that stands for one value may give several rows",
            &NOWHERE,
        );
        return Some(mistake.hint("Let it give one: SELECT max(x) or sum(x), or join its table."));
    }
    if let Some((_, columns)) = said.text.split_once("should only return one column: ") {
        let mistake = said.mistake(
            format!(
                "a query that stands for one value has several columns: {}",
                in_sql_words(columns)
            ),
            &NOWHERE,
        );
        return Some(mistake.hint("Leave one of them."));
    }
    let is_correlated = [
        "OuterReferenceColumn",
        "ScalarSubquery(",
        "logical expression Exists(",
        "logical expression InSubquery(",
        "outer_ref(",
        "rows that depend on the query around it",
    ]
    .iter()
    .any(|sign| said.has(sign));
    if is_correlated {
        let mistake = said.mistake("a query within the query uses columns of the one around it in a way that is not supported", &NOWHERE);
        if said.query.text.find_words(0, &["UNNEST"]).is_some() {
            return Some(mistake.hint(
                "Unnest the list beside its table first, FROM t CROSS JOIN UNNEST(t.list) AS u(x), and join, group and sort what that gives.",
            ));
        }
        return Some(mistake.hint(
            "Write it as a join: FROM a LEFT JOIN (SELECT key, max(x) AS x FROM b GROUP BY key) AS b ON a.key = b.key; the newest row of each is QUALIFY row_number() OVER (PARTITION BY key ORDER BY at DESC) = 1.",
        ));
    }
    if said.has("Non-recursive term and recursive term must have the same number") {
        let counts = said
            .between("(", ")")
            .unwrap_or_default()
            .replace(" != ", " and ");
        return Some(said.mistake(
            format!(
                "the two parts of the recursive query have different numbers of columns: {counts}"
            ),
            &Evidence::Words(&["RECURSIVE"]),
        ));
    }
    if let Some(rest) = said.after("Source table contains ") {
        let (columns, names) = rest.split_once(" columns but only ")?;
        let names = names.split(' ').next()?;
        return Some(said.mistake(
            format!("{names} names are given for {}", columns_of(columns)),
            &NOWHERE,
        ));
    }
    None
}

/// UNION, VALUES and joins.
fn of_sets(said: &Said<'_>, diagnostic: Option<&Diagnostic>) -> Option<Mistake> {
    if let Some(operator) = said
        .text
        .strip_suffix(" queries have different number of columns")
    {
        let notes = diagnostic.map_or(&[][..], |diagnostic| &diagnostic.notes);
        let counts: Vec<&str> = notes
            .iter()
            .filter_map(|note| {
                note.message
                    .strip_prefix("this side has ")?
                    .strip_suffix(" fields")
            })
            .collect();
        let counts = if counts.len() == 2 {
            format!(": {}", counts.join(" and "))
        } else {
            String::new()
        };
        let place = said.query.text.place(&Evidence::Words(&[operator]));
        return Some(
            Mistake::new(format!(
                "the two sides of {operator} have different numbers of columns{counts}"
            ))
            .placed(place),
        );
    }
    if let Some(rest) = said.after("Incompatible inputs for Union: Previous inputs were of type ") {
        let (before, rest) = rest.split_once(", but got incompatible type ")?;
        let (behind, _) = rest.split_once(" on column")?;
        let mistake = said.mistake(
            format!(
                "the sides of UNION have types that do not go together: {} and {}",
                in_sql_words(before),
                in_sql_words(behind)
            ),
            &Evidence::Words(&["UNION"]),
        );
        return Some(mistake.hint(
            "Columns go together by their order; CAST(x AS VARCHAR) makes a text of any value.",
        ));
    }
    if let Some(rest) = said.after("Inconsistent data length across values list: got ") {
        let (got, rest) = rest.split_once(" values in row ")?;
        let (row, wanted) = rest.split_once(" but expected ")?;
        let row = row.parse::<usize>().ok()? + 1;
        return Some(said.mistake(
            format!("row {row} of VALUES has {got} values, and the first one {wanted}"),
            &Evidence::Words(&["VALUES"]),
        ));
    }
    if let Some(rest) = said.after("Inconsistent data type across values list at row ") {
        let (row, rest) = rest.split_once(" column ")?;
        let (column, types) = rest.split_once(". Was ")?;
        let (was, found) = types.split_once(" but found ")?;
        let (row, column) = (
            row.parse::<usize>().ok()? + 1,
            column.parse::<usize>().ok()? + 1,
        );
        return Some(said.mistake(
            format!(
                "value {column} of row {row} of VALUES is {}, and those before it {}",
                in_sql_words(found),
                in_sql_words(was)
            ),
            &Evidence::Words(&["VALUES"]),
        ));
    }
    None
}

/// LIMIT, parts of instants, and clauses that are not there.
fn of_clauses(said: &Said<'_>) -> Option<Mistake> {
    for clause in ["LIMIT", "OFFSET"] {
        if said.after(&format!("{clause} must be >=")).is_some() {
            let value = said.between("'", "'").unwrap_or_default();
            return Some(said.mistake(
                format!("{clause} takes a whole number from 0 on, not {value}"),
                &Evidence::Words(&[clause]),
            ));
        }
        if let Some(data_type) = said.after(&format!(
            "Expected {clause} to be an integer or null, but got "
        )) {
            return Some(said.mistake(
                format!(
                    "{clause} takes a whole number, not {}",
                    in_sql_words(data_type)
                ),
                &Evidence::Words(&[clause]),
            ));
        }
    }
    if said.text == "TOP" {
        let mistake = said.mistake("TOP is not known here", &Evidence::Words(&["TOP"]));
        return Some(mistake.hint("LIMIT 10 at the end of the query says it."));
    }
    if said.has("FETCH clause") {
        let mistake = said.mistake(
            "FETCH is known with a number of rows alone, and not beside LIMIT",
            &Evidence::Words(&["FETCH"]),
        );
        return Some(mistake.hint(
            "Rows that are as good as the last, WITH TIES, are those that QUALIFY rank() OVER (ORDER BY x DESC) <= 10 keeps.",
        ));
    }
    if said.has("SELECT * with no tables specified") {
        return Some(said.mistake(
            "SELECT * needs a table: FROM is missing",
            &Evidence::Words(&["SELECT"]),
        ));
    }
    let part = said
        .between("Date part '", "'")
        .or_else(|| said.between("granularity: '", "'"));
    if let Some(part) = part {
        const PARTS: [&str; 15] = [
            "year",
            "quarter",
            "month",
            "week",
            "day",
            "dow",
            "doy",
            "hour",
            "minute",
            "second",
            "millisecond",
            "microsecond",
            "epoch",
            "isodow",
            "isoyear",
        ];
        let mistake = said
            .mistake(
                format!("there is no part `{part}` of an instant"),
                &Evidence::Literal(part),
            )
            .near(said.query, &Evidence::Only(&[part]));
        return Some(match nearest(part, &PARTS) {
            Some(meant) => mistake.hint(format!("Did you mean {meant}?")),
            None => mistake.hint(
                "There are year, quarter, month, week, day, dow, doy, hour, minute, second, epoch.",
            ),
        });
    }
    if said.after("Decimal(precision = ").is_some()
        || said.has("exceeds the maximum supported precision")
    {
        let mistake = said.mistake(
            "a decimal has at most 38 digits, and no more of them behind the point than in all",
            &Evidence::Only(&["DECIMAL", "NUMERIC"]),
        );
        return Some(mistake.hint("DECIMAL(18, 4) has 18 digits, 4 of them behind the point."));
    }
    if said.has("regex parse error") {
        let why = said.text.rsplit_once("error: ").map_or("", |(_, why)| why);
        let mistake = said.mistake(
            format!("the regular expression cannot be read: {}", shorten(why)),
            &Evidence::Only(&["~", "~*", "!~", "!~*"]),
        );
        return Some(mistake.hint(
            "Patterns are those of Rust's `regex`: without backreferences and look-around.",
        ));
    }
    None
}
