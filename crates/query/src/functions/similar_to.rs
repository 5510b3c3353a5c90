//! `similar_to(text, pattern, escape)`: true where the whole text has the form of a pattern of the SQL standard.
//!
//! Invariant: null where one of the arguments is; a pattern that cannot be read is an error that shows it. An escape of no character means that there is none.

use super::arguments::CallArguments;
use super::{ArgumentType, SqlFunction};
use arrow::array::{ArrayRef, StringArray};
use arrow::compute::kernels::regexp::regexp_is_match;
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use datafusion::logical_expr::ScalarUDF;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use tillhouse_model::FastMap;

/// The library's word for a regular expression that is beyond its limit.
const TOO_LARGE: &str = "CompiledTooBig";

/// The function behind the operator.
pub(crate) struct SimilarTo;

impl SimilarTo {
    pub(crate) fn function() -> ScalarUDF {
        ScalarUDF::new_from_impl(SqlFunction::new(
            "similar_to",
            &[ArgumentType::Text, ArgumentType::Text, ArgumentType::Text],
            DataType::Boolean,
            similar_to,
        ))
    }
}

fn similar_to(arguments: &CallArguments) -> Result<ArrayRef> {
    let (texts, patterns, escapes) = (arguments.text(0)?, arguments.text(1)?, arguments.text(2)?);
    let mut known: FastMap<(&str, &str), String> = FastMap::default();
    let mut expressions = Vec::with_capacity(arguments.rows());
    for row in 0..arguments.rows() {
        let (Some(pattern), Some(escape)) = (patterns.get(row), escapes.get(row)) else {
            expressions.push(None);
            continue;
        };
        let read = match known.entry((pattern, escape)) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(new) => new.insert(expression(pattern, escape)?),
        };
        expressions.push(Some(read.clone()));
    }
    let texts: StringArray = (0..arguments.rows()).map(|row| texts.get(row)).collect();
    let expressions = StringArray::from(expressions);
    let matches =
        regexp_is_match(&texts, &expressions, None::<&StringArray>).map_err(|error| match error
            .to_string()
            .contains(TOO_LARGE)
        {
            true => DataFusionError::from(error),
            false => exec_datafusion_err!("a pattern of SIMILAR TO cannot be read"),
        })?;
    Ok(Arc::new(matches))
}

/// A pattern as a regular expression over the whole text.
fn expression(pattern: &str, escape: &str) -> Result<String> {
    let refused = |why: &str| exec_datafusion_err!("the pattern {pattern:?} of SIMILAR TO {why}");
    let mut escapes = escape.chars();
    let escape = escapes.next();
    if escapes.next().is_some() {
        return Err(refused("has an escape of more than one character"));
    }
    let mut to = String::from("^(?s:");
    let mut rest = pattern.chars().peekable();
    let mut groups = 0_usize;
    while let Some(c) = rest.next() {
        if Some(c) == escape {
            let literal = rest.next().ok_or_else(|| refused("ends with its escape"))?;
            push_literal(&mut to, literal);
            continue;
        }
        match c {
            '%' => to.push_str(".*"),
            '_' => to.push('.'),
            '(' => {
                groups += 1;
                to.push_str("(?:");
            }
            ')' => {
                groups = groups
                    .checked_sub(1)
                    .ok_or_else(|| refused("closes a parenthesis that none opened"))?;
                to.push(')');
            }
            '|' | '*' | '+' | '?' | '{' | '}' => to.push(c),
            '[' => {
                to.push('[');
                let mut is_first = true;
                loop {
                    let c = rest
                        .next()
                        .ok_or_else(|| refused("does not close a bracket"))?;
                    match c {
                        '^' if is_first => {
                            to.push('^');
                            continue;
                        }
                        ']' if !is_first => break,
                        '[' if rest.peek() == Some(&':') => {
                            to.push('[');
                            for c in rest.by_ref() {
                                to.push(c);
                                if c == ']' {
                                    break;
                                }
                            }
                        }
                        '-' => to.push('-'),
                        other => push_literal(&mut to, other),
                    }
                    is_first = false;
                }
                to.push(']');
            }
            other => push_literal(&mut to, other),
        }
    }
    if groups > 0 {
        return Err(refused("does not close a parenthesis"));
    }
    to.push_str(")$");
    Ok(to)
}

/// A character that stands for itself.
fn push_literal(to: &mut String, c: char) {
    // An escaped angle bracket would be the edge of a word.
    if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
        to.push('\\');
    }
    to.push(c);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_expressions_over_the_whole_text() {
        for (pattern, escape, expected) in [
            ("a%", "\\", "^(?s:a.*)$"),
            ("a_c", "\\", "^(?s:a.c)$"),
            ("(a|b)+", "\\", "^(?s:(?:a|b)+)$"),
            ("a.b", "\\", "^(?s:a\\.b)$"),
            ("a\\%", "\\", "^(?s:a\\%)$"),
            ("a#%", "#", "^(?s:a\\%)$"),
            ("[a-c]", "\\", "^(?s:[a-c])$"),
            ("[^]x]", "\\", "^(?s:[^\\]x])$"),
            ("[[:digit:]]{2}", "\\", "^(?s:[[:digit:]]{2})$"),
            ("^$", "", "^(?s:\\^\\$)$"),
        ] {
            assert_eq!(expression(pattern, escape).unwrap(), expected, "{pattern}");
        }
        for pattern in ["(a", "a)", "[a", "a\\"] {
            assert!(expression(pattern, "\\").is_err(), "{pattern}");
        }
    }
}
