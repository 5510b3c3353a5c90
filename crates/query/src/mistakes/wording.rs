//! DataFusion's messages, in the words of SQL.
//!
//! Invariant: types, values and names read as an analyst writes them: `decimal(18,4)` for `Decimal128(18, 4)`, `1` for `Int64(1)`, `state` for
//! `tillhouse.unified.transactions.state`. A text that is none for people ([`is_debug_text`]) is never shown.

use crate::language::without_given_names;
use crate::sql_type::sql_type;
use arrow::datatypes::DataType;
use datafusion::common::DataFusionError;
use tillhouse_model::ExactDecimal;

/// Longest error, in characters.
const LONGEST: usize = 400;

/// A message in one line, without the backtrace, not beyond a bearable length.
pub(crate) fn shorten(message: &str) -> String {
    let line = one_line(message);
    if line.chars().count() <= LONGEST {
        return line;
    }
    let cut: String = line.chars().take(LONGEST).collect();
    // A word that is cut may be another one. What has no blank, a path perhaps, is cut all the same.
    let whole = cut
        .rsplit_once(' ')
        .map_or(cut.as_str(), |(whole, _)| whole);
    format!("{whole} ...")
}

/// A message in one line, without the backtrace.
pub(crate) fn one_line(message: &str) -> String {
    let message = message
        .split(DataFusionError::BACK_TRACE_SEP)
        .next()
        .unwrap_or(message);
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A message without the layers before it.
pub(crate) fn without_layers(message: &str) -> &str {
    const LAYERS: [&str; 10] = [
        "Internal error: ",
        "Execution error: ",
        "Compute error: ",
        "Error during planning: ",
        "This feature is not implemented: ",
        "Invalid argument error: ",
        "Arrow error: ",
        "Schema error: ",
        "External error: ",
        "Optimizer rule ",
    ];
    let mut rest = message;
    while let Some(inner) = LAYERS.iter().find_map(|layer| rest.strip_prefix(layer)) {
        rest = inner;
    }
    rest
}

/// True for text that shows Rust values, or speaks of the engine's insides.
pub(crate) fn is_debug_text(text: &str) -> bool {
    const SIGNS: [&str; 18] = [
        "Some(",
        "None",
        " { ",
        "::",
        "Expr(",
        "DataType",
        "Location(",
        "Ident",
        "OuterReference",
        "ScalarSubquery",
        "outer_ref",
        "<subquery>",
        "sqltorel",
        "ExprPlanner",
        "UDF",
        "DataFusion",
        "DFSchema",
        "ast node",
    ];
    SIGNS.iter().any(|sign| text.contains(sign))
}

/// A text with types, literals and names as SQL writes them.
pub(crate) fn in_sql_words(text: &str) -> String {
    let text = without_given_names(text)
        .replace("tillhouse.unified.", "")
        .replace("tillhouse.", "");
    let mut words = String::with_capacity(text.len());
    let mut rest = text.as_str();
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let is_begin = first.is_ascii_uppercase() && !before.is_alphanumeric() && before != '_';
        if is_begin && let Some((shown, length)) = constructor(rest) {
            words.push_str(&shown);
            rest = &rest[length..];
            before = ')';
            continue;
        }
        words.push(first);
        before = first;
        rest = &rest[first.len_utf8()..];
    }
    words.replace("count(1)", "count(*)")
}

/// A literal or a type that a text begins with, as SQL writes it, and how long it is there.
fn constructor(text: &str) -> Option<(String, usize)> {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric())
        .unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let inner = rest.strip_prefix('(').and_then(|rest| {
        let length = closing(rest)?;
        Some((&rest[..length], end + length + 2))
    });
    if let Some((inner, length)) = inner {
        if let Some(shown) = literal(name, inner) {
            return Some((shown, length));
        }
        let data_type: DataType = text[..length].parse().ok()?;
        return Some((sql_type(&data_type), length));
    }
    const PLAIN: [&str; 20] = [
        "Utf8",
        "LargeUtf8",
        "Utf8View",
        "Boolean",
        "Int8",
        "Int16",
        "Int32",
        "Int64",
        "UInt8",
        "UInt16",
        "UInt32",
        "UInt64",
        "Float16",
        "Float32",
        "Float64",
        "Date32",
        "Date64",
        "Binary",
        "LargeBinary",
        "BinaryView",
    ];
    let data_type: DataType = PLAIN.contains(&name).then(|| name.parse().ok()).flatten()?;
    Some((sql_type(&data_type), end))
}

/// Bytes before the bracket that closes one opened before the text.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quoted) = (0_usize, false);
    for (at, character) in text.char_indices() {
        match character {
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' => depth += 1,
            ')' if depth == 0 => return Some(at),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn literal(name: &str, inner: &str) -> Option<String> {
    let unquoted = |text: &str| {
        let text = text.strip_prefix('"')?.strip_suffix('"')?;
        Some(text.to_owned())
    };
    match name {
        "Int8" | "Int16" | "Int32" | "Int64" | "UInt8" | "UInt16" | "UInt32" | "UInt64"
        | "Float32" | "Float64" | "Boolean" => Some(inner.to_owned()),
        "Utf8" | "LargeUtf8" | "Utf8View" if inner == "NULL" => Some("NULL".to_owned()),
        "Utf8" | "LargeUtf8" | "Utf8View" => {
            unquoted(inner).map(|text| format!("'{}'", text.replace('\'', "''")))
        }
        "Date32" | "Date64" => unquoted(inner).map(|text| format!("DATE '{text}'")),
        "Decimal128" | "Decimal64" | "Decimal32" => {
            let mut parts = inner.split(',').map(str::trim);
            let units = parts.next()?.strip_prefix("Some(")?.strip_suffix(')')?;
            let scale = parts.nth(1)?.parse().ok()?;
            Some(ExactDecimal::new(units.parse().ok()?, scale).to_string())
        }
        "IntervalMonthDayNano" | "IntervalDayTime" | "IntervalYearMonth" => {
            Some("an interval".to_owned())
        }
        "TimestampNanosecond"
        | "TimestampMicrosecond"
        | "TimestampMillisecond"
        | "TimestampSecond" => Some("an instant".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_sql() {
        for (text, shown) in [
            ("sum(Int64(1))", "sum(1)"),
            ("-(__from_1.a) + sum(__from_2.b)", "-(a) + sum(b)"),
            ("count(Int64(1)) AS n", "count(*) AS n"),
            (
                "tillhouse.unified.transactions.state = Utf8(\"it's (so\")",
                "transactions.state = 'it''s (so'",
            ),
            ("Decimal128(Some(-150),3,2)", "-1.50"),
            (
                "Decimal128(18, 4) and Timestamp(µs, \"UTC\")",
                "decimal(18,4) and timestamptz",
            ),
            (
                "requires Int32, got Utf8View",
                "requires integer, got varchar",
            ),
            ("List(Utf8)", "varchar[]"),
            ("Interval(MonthDayNano)", "interval"),
            ("Integer and Date", "Integer and Date"),
            ("Utf8(NULL)", "NULL"),
            ("a (b", "a (b"),
            ("Utf8(\"never closed", "varchar(\"never closed"),
        ] {
            assert_eq!(in_sql_words(text), shown, "{text}");
        }
    }

    #[test]
    fn what_is_for_programmers_is_known() {
        for text in [
            "Exists(Exists { subquery: <subquery>, negated: false })",
            "OuterReferenceColumn(Field { name: \"a\" })",
            "Unsupported ast node in sqltorel: Identifier",
            "This issue was likely caused by a bug in DataFusion's code",
        ] {
            assert!(is_debug_text(text), "{text}");
        }
        assert!(!is_debug_text("the text 'abc' is no integer"));
    }
}
