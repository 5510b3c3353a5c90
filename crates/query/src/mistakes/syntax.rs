//! Texts that cannot be read as SQL.
//!
//! Invariant: the place is that of the word to change where that is known (`WERE`, the comma too much, the bracket that nothing closes), else of the first word
//! that does not fit.

use super::query_text::Evidence;
use super::wording::shorten;
use super::{Mistake, WrittenQuery};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Token};
use tillhouse_model::did_you_mean::nearest;

/// Words that parts of a query begin with.
const CLAUSES: [&str; 20] = [
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "JOIN",
    "LEFT",
    "RIGHT",
    "FULL",
    "INNER",
    "CROSS",
    "ON",
    "USING",
    "QUALIFY",
    "WINDOW",
];

/// Words that the parts of a query begin with, which stand in one order.
const PARTS: [&str; 8] = [
    "FROM", "WHERE", "GROUP", "HAVING", "QUALIFY", "ORDER", "LIMIT", "OFFSET",
];

/// Words that are often mistyped.
const KEYWORDS: [&str; 30] = [
    "SELECT",
    "DISTINCT",
    "FROM",
    "WHERE",
    "GROUP",
    "HAVING",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "JOIN",
    "LEFT",
    "RIGHT",
    "FULL",
    "INNER",
    "OUTER",
    "CROSS",
    "USING",
    "QUALIFY",
    "WINDOW",
    "BETWEEN",
    "INTERVAL",
    "VALUES",
    "WITH",
    "EXPLAIN",
    "DESCRIBE",
    "SHOW",
    "PARTITION",
];

/// Line and column at the end of a message, and what stands before them.
fn with_place(text: &str) -> (&str, Location) {
    let split = || {
        let (message, place) = text.rsplit_once(" at Line: ")?;
        let (line, column) = place.split_once(", Column: ")?;
        let location = Location {
            line: line.trim().parse().ok()?,
            column: column.trim().parse().ok()?,
        };
        Some((message.trim_end(), location))
    };
    split().unwrap_or((text, Location { line: 0, column: 0 }))
}

/// The error of a text that cannot be taken apart: quotes and comments that never end.
pub(super) fn of_tokenizer(text: &str, query: &WrittenQuery) -> Mistake {
    let (message, place) = with_place(text);
    let lower = message.to_lowercase();
    let (what, hint) = if lower.contains("comment") {
        (
            "a comment is never closed",
            "A comment is /* closed */, or -- one line long.",
        )
    } else if lower.contains("close delimiter") || lower.contains("delimited") {
        (
            "a name in double quotes is never closed",
            "Names stand in double quotes, texts in single ones.",
        )
    } else if lower.contains("dollar") {
        (
            "a text in dollar quotes is never closed",
            "A text in dollar quotes is $$closed$$.",
        )
    } else if lower.contains("unterminated") {
        (
            "a text is never closed",
            "A text is 'closed'; a quote within it is written twice: 'it''s'.",
        )
    } else {
        let mistake = Mistake::new(format!("the SQL cannot be read: {}", shorten(message)));
        return mistake.near(query, &Evidence::At(place));
    };
    Mistake::new(what)
        .near(query, &Evidence::At(place))
        .hint(hint)
}

/// The error of words that make no query.
pub(super) fn of_parser(text: &str, query: &WrittenQuery) -> Mistake {
    let (message, place) = with_place(text);
    let (expected, found) = match message.split_once(", found: ") {
        Some((expected, found)) => (expected.trim_start_matches("Expected: "), found),
        None => ("", ""),
    };
    let at_end = found == "EOF" || found.is_empty() && place.line == 0;
    let at = if place.line > 0 {
        query.text.index_at(place)
    } else {
        query.text.len()
    };
    if let Some(known) = of_tokens(at, query) {
        return known;
    }
    if found.is_empty() {
        let message = super::wording::in_sql_words(&shorten(message));
        let mistake = Mistake::new(format!("the SQL cannot be read: {message}"));
        return mistake.near(query, &Evidence::At(place));
    }
    let expected = in_words(expected);
    if at_end {
        return Mistake::new(match expected {
            Some(expected) => format!("the query ends where {expected} is missing"),
            None => "the query ends too early".to_owned(),
        })
        .near(query, &Evidence::End);
    }
    let found = shorten(found);
    let mistake = match &expected {
        Some(expected) => Mistake::new(format!("{expected} is missing before `{found}`")),
        None => Mistake::new(format!("`{found}` does not fit here")),
    };
    let is_first = query.text.place(&Evidence::Start) == Some(place);
    let mistake = mistake.near(query, &Evidence::At(place));
    if is_first {
        return mistake
            .hint("A query begins with SELECT, WITH, VALUES, FROM, EXPLAIN, DESCRIBE or SHOW.");
    }
    let is_clause = PARTS.iter().any(|part| query.text.is_word(at, part));
    if is_clause && expected.is_none() {
        return mistake.hint("The parts of a query stand in this order: SELECT, FROM, WHERE, GROUP BY, HAVING, QUALIFY, ORDER BY, LIMIT, OFFSET.");
    }
    if query
        .text
        .word(at)
        .is_some_and(|(_, keyword)| keyword != Keyword::NoKeyword)
    {
        return mistake.hint(format!(
            "Is `{found}` meant as a name? In double quotes it is one: \"{}\".",
            found.to_lowercase()
        ));
    }
    mistake.hint("Look just before it: a comma, an operator or a bracket may be missing. Texts stand in single quotes, names in double ones.")
}

/// Token that the parser expects, as people say it; `None` where saying it does not help.
fn in_words(expected: &str) -> Option<String> {
    Some(match expected {
        "an expression" | "an expression:" => "a value".to_owned(),
        "identifier" => "a name".to_owned(),
        "(" | ")" | "]" | "}" | "," => format!("`{expected}`"),
        "end of statement" | "an SQL statement" | "" => return None,
        other if other.contains(" or ") || other.len() > 40 => return None,
        other => other.trim_end_matches(':').to_owned(),
    })
}

/// Mistakes that the words before a place show.
fn of_tokens(at: usize, query: &WrittenQuery) -> Option<Mistake> {
    let text = &query.text;
    if text.len() == 0 {
        return None;
    }
    // The words on both sides of the place, the nearest first.
    let around = |reach: usize| (0..=reach).filter_map(move |back| (at + 1).checked_sub(back));
    let place = |index: usize| text.start_of(index);
    for index in around(2) {
        let shown = text.shown(index).unwrap_or_default();
        if let Some(quote) = shown.chars().next().filter(|c| "‘’“”„‚´".contains(*c)) {
            let mistake =
                Mistake::new(format!("`{quote}` is no quote of SQL")).placed(place(index));
            return Some(mistake.hint("A text stands in straight single quotes, 'completed', a name in straight double ones."));
        }
    }
    if let Some(known) = of_operators(at, query) {
        return Some(known);
    }
    for index in around(5) {
        let is_comma = text.is(index, &Token::Comma);
        let clause = CLAUSES
            .iter()
            .find(|clause| text.is_word(index + 1, clause));
        // LEFT(...) is a function.
        let is_call = text.is(index + 2, &Token::LParen);
        if let (true, Some(clause), false) = (is_comma, clause, is_call) {
            return Some(
                Mistake::new(format!("a comma too many before {clause}")).placed(place(index)),
            );
        }
    }
    for index in around(2) {
        let is_two = text.is_word(index, "GROUP")
            || text.is_word(index, "ORDER")
            || text.is_word(index, "PARTITION");
        if is_two && index + 1 < text.len() && !text.is_word(index + 1, "BY") {
            let word = text.shown(index)?.to_uppercase();
            let next = text.shown(index + 1)?;
            let mistake = Mistake::new(format!("BY is missing behind {word}")).placed(place(index));
            return Some(mistake.hint(format!("{word} BY {next}")));
        }
    }
    // A word that is nearly one of SQL's: the parser takes it for a name, and stumbles over the next one or two.
    for index in around(4) {
        let Some((word, Keyword::NoKeyword)) = text.word(index) else {
            continue;
        };
        if let Some(meant) = nearest(word, &KEYWORDS).filter(|_| word.len() > 3) {
            let mistake = Mistake::new(format!("`{word}` does not fit here")).placed(place(index));
            return Some(mistake.hint(format!("Did you mean {meant}?")));
        }
    }
    // FORM is a keyword of its own.
    for index in around(3) {
        if text.is_word(index, "FORM") {
            let mistake = Mistake::new("`FORM` does not fit here").placed(place(index));
            return Some(mistake.hint("Did you mean FROM?"));
        }
    }
    of_brackets(at, query)
}

/// Signs of a comparison the wrong way round, a value behind IS, and EXCLUDE of a frame.
fn of_operators(at: usize, query: &WrittenQuery) -> Option<Mistake> {
    let text = &query.text;
    let is_sign = |index: usize, sign: &str| text.shown(index).is_some_and(|shown| shown == sign);
    let before = at.checked_sub(1)?;
    let place = text.start_of(at);
    if is_sign(at, "=>") {
        let mistake = Mistake::new("`=>` does not fit here").placed(place);
        return Some(mistake.hint("Did you mean >=?"));
    }
    if is_sign(before, "=") && is_sign(at, "<") {
        let mistake = Mistake::new("`=<` does not fit here").placed(text.start_of(before));
        return Some(mistake.hint("Did you mean <=?"));
    }
    if text.is_word(before, "IS") && at < text.len() {
        let mistake = Mistake::new(
            "behind IS stands NULL, TRUE, FALSE, UNKNOWN or DISTINCT FROM, and no value",
        );
        let sign = if text.is_word(at, "NOT") { "<>" } else { "=" };
        return Some(
            mistake
                .placed(place)
                .hint(format!("`{sign}` compares with a value.")),
        );
    }
    let ends_frame = ["ROW", "PRECEDING", "FOLLOWING"]
        .iter()
        .any(|end| text.is_word(before, end));
    if ends_frame && text.is_word(at, "EXCLUDE") {
        let mistake = Mistake::new("EXCLUDE of a window's frame is not known here").placed(place);
        return Some(mistake.hint("sum(x) OVER (...) - x leaves the row out."));
    }
    None
}

/// Brackets and CASEs that are never closed, and closing ones too many.
fn of_brackets(at: usize, query: &WrittenQuery) -> Option<Mistake> {
    let text = &query.text;
    let mut open: Vec<usize> = Vec::new();
    let mut cases: Vec<usize> = Vec::new();
    for index in 0..text.len() {
        if text.is(index, &Token::LParen) {
            open.push(index);
        } else if text.is(index, &Token::RParen) && open.pop().is_none() {
            let mistake = Mistake::new("`)` closes nothing").placed(text.start_of(index));
            return Some(mistake);
        } else if text.is_word(index, "CASE") {
            cases.push(index);
        } else if text.is_word(index, "END") {
            cases.pop();
        }
    }
    if let Some(case) = cases.pop().filter(|case| *case <= at) {
        let mistake = Mistake::new("CASE is never closed by END").placed(text.start_of(case));
        return Some(mistake.hint("CASE WHEN ... THEN ... ELSE ... END"));
    }
    let bracket = open.pop().filter(|bracket| *bracket <= at)?;
    Some(Mistake::new("`(` is never closed").placed(text.start_of(bracket)))
}
