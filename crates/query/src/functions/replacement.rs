//! Text that `regexp_replace` puts in: `\1` is a group, `\&` the whole, and any other letter is itself, a dollar too.
//!
//! Invariant: a text is put in as PostgreSQL puts it in. Behind DataFusion's function is Rust's, for which `$1`, `$0` and `$name` are groups.

use super::SqlFunction;
use super::arguments::{ArgumentType, CallArguments};
use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use std::sync::Arc;

/// The function around the third argument of `regexp_replace`.
pub(super) fn function() -> SqlFunction {
    SqlFunction::new(
        "regexp_replacement",
        &[ArgumentType::Text],
        DataType::Utf8,
        replacements,
    )
}

fn replacements(arguments: &CallArguments) -> Result<ArrayRef> {
    let texts = arguments.text(0)?;
    let texts: StringArray = (0..arguments.rows())
        .map(|row| texts.get(row).map(as_template))
        .collect();
    Ok(Arc::new(texts))
}

/// The text as Rust's template of the same.
fn as_template(text: &str) -> String {
    let mut template = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(letter) = rest.next() {
        match (letter, rest.peek().copied()) {
            ('$', _) => template.push_str("$$"),
            ('\\', Some(group @ '1'..='9')) => {
                rest.next();
                template.push_str("${");
                template.push(group);
                template.push('}');
            }
            ('\\', Some('&')) => {
                rest.next();
                template.push_str("${0}");
            }
            ('\\', next) => {
                if next == Some('\\') {
                    rest.next();
                }
                template.push('\\');
                // DataFusion would take a digit behind it for a group: one without a name is nothing.
                if rest.peek().is_some_and(char::is_ascii_digit) {
                    template.push_str("${}");
                }
            }
            (letter, _) => template.push(letter),
        }
    }
    template
}

#[cfg(test)]
mod tests {
    use super::as_template;

    #[test]
    fn groups_are_postgresqls_and_dollars_are_dollars() {
        for (text, template) in [
            ("", ""),
            ("a", "a"),
            ("$1", "$$1"),
            (r"\1\2", "${1}${2}"),
            (r"\12", "${1}2"),
            (r"<\&>", "<${0}>"),
            (r"a\\b", r"a\b"),
            (r"\\1", r"\${}1"),
            (r"\0", r"\${}0"),
            (r"\q", r"\q"),
            ("\\", "\\"),
        ] {
            assert_eq!(as_template(text), template, "{text}");
        }
    }
}
