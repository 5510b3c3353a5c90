//! JSON whose numbers stay exact: each is kept as text in one spelling, so that equal numbers are equal texts.
//!
//! Invariant: no number passes through a float. `12.50` becomes `"#12.5"`, which no text of the data is mistaken for.

use serde_json::Value;
use tillhouse_sandbox::Decimal;

/// Reads one JSON value; `from` names it in a failure's message.
pub(crate) fn json(text: &str, from: &str) -> Value {
    let mut quoted = String::with_capacity(text.len() + text.len() / 4);
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) {
        let (before, found) = rest.split_at(at);
        quoted.push_str(before);
        let end = if found.starts_with('"') {
            end_of_text(found)
        } else {
            end_of_number(found)
        };
        let (token, after) = found.split_at(end);
        if token.starts_with('"') {
            quoted.push_str(token);
        } else {
            let number = Decimal::parse(token)
                .unwrap_or_else(|| panic!("{from}: {token:?} is no exact number"));
            quoted.push_str(&format!("\"#{number}\""));
        }
        rest = after;
    }
    quoted.push_str(rest);
    serde_json::from_str(&quoted).unwrap_or_else(|e| panic!("{from} is no JSON ({e}): {text}"))
}

/// The length of the text that begins here, its quotes included.
fn end_of_text(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn end_of_number(text: &str) -> usize {
    let inside = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
    text.find(|c| !inside(c)).unwrap_or(text.len())
}

/// The number a value holds; `None` for null or a missing one.
pub(crate) fn number(value: &Value) -> Option<Decimal> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text
            .strip_prefix('#')
            .unwrap_or_else(|| panic!("{text:?} is no number")),
        other => panic!("{other} is no number"),
    };
    Some(Decimal::parse(text).unwrap_or_else(|| panic!("{text:?} is no number")))
}

/// The whole number a value holds.
pub(crate) fn integer(value: &Value) -> i64 {
    let number = number(value).unwrap_or_else(|| panic!("a number is missing"));
    number
        .to_string()
        .parse()
        .unwrap_or_else(|e| panic!("{number}: {e}"))
}

#[test]
fn numbers_are_exact_and_texts_are_untouched() {
    let read = json(
        r#"{"a": 12.50, "b": [-0.1e1, null], "c": "1 \"2\" -3", "d": 123456789012345678.1234}"#,
        "the test",
    );
    let expected = serde_json::json!({"a": "#12.5", "b": ["#-1", null], "c": "1 \"2\" -3", "d": "#123456789012345678.1234"});
    assert_eq!(read, expected);
}
