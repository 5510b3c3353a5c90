//! `x LIKE pattern` as a function, for patterns of many wildcards, and for those that only a row or an expression says.
//!
//! Invariant: it answers as LIKE and ILIKE do, and looks at each character of a text about once, however many `%` the pattern has; where letters stand on both sides of a `_`, as often as
//! that part has letters, at most. The engine makes a regular expression of a pattern, whose work on a text is multiplied by the number of its wildcards.
//!
//! ```text
//!   'a%b_d%e'   begins with a ─> the first b_d behind it ─> ends with e, behind that
//! ```
//!
//! The first place of a part is as good as any: what follows has the most room behind it.

use super::arguments::CallArguments;
use super::{ArgumentType, SqlFunction};
use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::ScalarUDF;
use std::borrow::Cow;
use std::sync::Arc;

/// The function behind LIKE.
pub(crate) fn like() -> ScalarUDF {
    function("like_pattern", |arguments| matches(arguments, Case::Minded))
}

/// The function behind ILIKE.
pub(crate) fn ilike() -> ScalarUDF {
    function("ilike_pattern", |arguments| {
        matches(arguments, Case::Ignored)
    })
}

fn function(name: &'static str, body: fn(&CallArguments) -> Result<ArrayRef>) -> ScalarUDF {
    const TAKES: &[ArgumentType] = &[ArgumentType::Text, ArgumentType::Text];
    ScalarUDF::new_from_impl(SqlFunction::new(name, TAKES, DataType::Boolean, body))
}

/// Letters that differ in their case alone.
#[derive(Debug, Clone, Copy)]
enum Case {
    Minded,
    Ignored,
}

impl Case {
    fn of_text(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Minded => Cow::Borrowed(text),
            Self::Ignored => Cow::Owned(text.chars().map(folded).collect()),
        }
    }
}

/// One letter for all of its cases. The one without a dot has none here.
fn folded(letter: char) -> char {
    match letter {
        ascii if ascii.is_ascii() => ascii.to_ascii_lowercase(),
        'ı' => letter,
        other => {
            let upper = single(other.to_uppercase()).unwrap_or(other);
            single(upper.to_lowercase()).unwrap_or(other)
        }
    }
}

/// The letter, where it is the only one.
fn single(mut letters: impl Iterator<Item = char>) -> Option<char> {
    letters.next().filter(|_| letters.next().is_none())
}

fn matches(arguments: &CallArguments, case: Case) -> Result<ArrayRef> {
    let (texts, patterns) = (arguments.text(0)?, arguments.text(1)?);
    let mut last: Option<(&str, LikePattern)> = None;
    let mut answers = Vec::with_capacity(arguments.rows());
    for row in 0..arguments.rows() {
        let (Some(text), Some(pattern)) = (texts.get(row), patterns.get(row)) else {
            answers.push(None);
            continue;
        };
        let read = match last.take() {
            Some((written, read)) if written == pattern => read,
            _ => LikePattern::read(&case.of_text(pattern)),
        };
        answers.push(Some(read.matches(&case.of_text(text))));
        last = Some((pattern, read));
    }
    Ok(Arc::new(BooleanArray::from(answers)))
}

/// A pattern: what stands before, between and behind its `%`.
#[derive(Debug)]
enum LikePattern {
    /// The whole text.
    Whole(Part),
    /// Its beginning, parts in this order, and its end.
    Open {
        first: Part,
        between: Vec<Part>,
        last: Part,
    },
}

impl LikePattern {
    /// `%_` is read as `_%`, which is the same: a part behind `%` begins with a letter.
    fn read(pattern: &str) -> Self {
        let (mut parts, mut part) = (Vec::new(), Vec::new());
        let mut is_open = false;
        let mut letters = pattern.chars();
        while let Some(letter) = letters.next() {
            let wanted = match letter {
                '%' => {
                    is_open = true;
                    continue;
                }
                '_' => None,
                // At the end it is itself.
                '\\' => Some(letters.next().unwrap_or(letter)),
                letter => Some(letter),
            };
            if is_open && wanted.is_some() {
                is_open = false;
                parts.push(Part::of(&std::mem::take(&mut part)));
            }
            part.push(wanted);
        }
        if is_open {
            parts.push(Part::of(&std::mem::take(&mut part)));
        }
        let last = Part::of(&part);
        let mut before = parts.into_iter();
        match before.next() {
            None => Self::Whole(last),
            Some(first) => Self::Open {
                first,
                between: before.collect(),
                last,
            },
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Whole(part) => part.at_start(text) == Some(text.len()),
            Self::Open {
                first,
                between,
                last,
            } => {
                let behind_first = first.at_start(text).and_then(|end| text.get(end..));
                let behind = between.iter().try_fold(behind_first, |rest, part| {
                    let rest = rest?;
                    part.first_in(rest).map(|end| rest.get(end..))
                });
                behind.flatten().is_some_and(|rest| last.is_at_end(rest))
            }
        }
    }
}

/// Letters, and places for any one letter.
#[derive(Debug)]
enum Part {
    Letters(String),
    /// `None` for any letter.
    Mixed(Vec<Option<char>>),
}

impl Part {
    fn of(letters: &[Option<char>]) -> Self {
        match letters.iter().copied().collect::<Option<String>>() {
            Some(letters) => Self::Letters(letters),
            None => Self::Mixed(letters.to_vec()),
        }
    }

    /// The end of it in a text that begins with it, in bytes.
    fn at_start(&self, text: &str) -> Option<usize> {
        match self {
            Self::Letters(letters) => text.starts_with(letters.as_str()).then_some(letters.len()),
            Self::Mixed(wanted) => {
                let mut rest = text.chars();
                let fits = wanted.iter().all(|wanted| match rest.next() {
                    Some(letter) => wanted.is_none_or(|wanted| wanted == letter),
                    None => false,
                });
                fits.then(|| text.len() - rest.as_str().len())
            }
        }
    }

    /// The end of the first place that has it, in bytes.
    fn first_in(&self, text: &str) -> Option<usize> {
        match self {
            Self::Letters(letters) => text.find(letters.as_str()).map(|at| at + letters.len()),
            Self::Mixed(wanted) => {
                let places = text.char_indices().map(|(at, _)| at);
                let mut places = places.take_while(|at| text.len() - at >= wanted.len());
                places.find_map(|at| self.at_start(text.get(at..)?).map(|end| at + end))
            }
        }
    }

    fn is_at_end(&self, text: &str) -> bool {
        match self {
            Self::Letters(letters) => text.ends_with(letters.as_str()),
            Self::Mixed(wanted) => {
                let mut before = text.chars();
                wanted.iter().rev().all(|wanted| match before.next_back() {
                    Some(letter) => wanted.is_none_or(|wanted| wanted == letter),
                    None => false,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Datum, Scalar, StringArray};
    use arrow::compute::kernels::comparison::{ilike, like};
    use proptest::prelude::*;

    fn of_engine(text: &str, pattern: &str, case: Case) -> bool {
        let [text, pattern] = [text, pattern].map(|of| Scalar::new(StringArray::from(vec![of])));
        let (text, pattern): (&dyn Datum, &dyn Datum) = (&text, &pattern);
        let answer = match case {
            Case::Minded => like(text, pattern),
            Case::Ignored => ilike(text, pattern),
        };
        answer.unwrap().value(0)
    }

    fn ours(text: &str, pattern: &str, case: Case) -> bool {
        LikePattern::read(&case.of_text(pattern)).matches(&case.of_text(text))
    }

    proptest! {
        #[test]
        fn patterns_answer_as_the_engine_does(text in "[abA_%\\\\ä]{0,8}", pattern in "[abA_%\\\\Ä]{0,8}") {
            for case in [Case::Minded, Case::Ignored] {
                prop_assert_eq!(ours(&text, &pattern, case), of_engine(&text, &pattern, case), "{:?} {:?} {:?}", text, pattern, case);
            }
        }
    }

    #[test]
    fn letters_of_other_alphabets_have_cases_too() {
        for (text, pattern) in [
            ("STRAẞE", "%ß%"),
            ("ΣΊΣΥΦΟΣ", "%ς"),
            ("ſ", "s"),
            ("ı", "i"),
            ("İ", "i"),
        ] {
            assert_eq!(
                ours(text, pattern, Case::Ignored),
                of_engine(text, pattern, Case::Ignored),
                "{text} {pattern}"
            );
        }
    }

    #[test]
    fn many_wildcards_are_looked_for_once() {
        let text = "a".repeat(100_000);
        assert!(ours(&text, &"%a".repeat(5_000), Case::Minded));
        assert!(!ours(&text, &"%a".repeat(100_001), Case::Minded));
        assert!(!ours(
            &text,
            &format!("{}b", "%a".repeat(5_000)),
            Case::Minded
        ));
        assert!(ours(&text, &"%_".repeat(5_000), Case::Ignored));
        assert!(!ours(
            &text,
            &format!("%{}b%", "_".repeat(5_000)),
            Case::Minded
        ));
        assert!(!ours(
            &text,
            &format!("%a{}%", "_".repeat(100_000)),
            Case::Minded
        ));
    }
}
