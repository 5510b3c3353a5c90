//! What is wrong with a contract, collected, so that one reading names all of it.
//!
//! Invariant: a problem has a line and a column, both from 1, and says what was expected.

use crate::error::Error;
use crate::spelling::nearest;
use serde_saphyr::Location;

/// How many problems one error shows; the rest is counted.
const SHOWN: usize = 20;

/// The problems found in one file, in the order they were found.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<Problem>,
}

#[derive(Debug)]
struct Problem {
    line: u64,
    column: u64,
    text: String,
}

impl Problems {
    /// Notes a problem at a place. A place that is not known is the start of the file.
    pub(super) fn add(&mut self, place: Location, text: impl Into<String>) {
        self.found.push(Problem { line: place.line().max(1), column: place.column().max(1), text: text.into() });
    }

    /// Notes what the YAML library found.
    pub(super) fn add_yaml(&mut self, error: &serde_saphyr::Error) {
        use serde_saphyr::Error as Yaml;
        let text = match error.without_snippet() {
            Yaml::SerdeUnknownField { field, expected, .. } => unknown("key", field, expected),
            Yaml::SerdeMissingField { field, .. } => format!("the key `{field}` is missing"),
            Yaml::SerdeInvalidType { unexpected, expected, .. }
            | Yaml::SerdeInvalidValue { unexpected, expected, .. } => {
                format!("expected {expected}, found {unexpected}")
            }
            Yaml::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` stands here twice"),
            Yaml::MultipleDocuments { .. } => "expected one contract a file, found a second YAML document".to_owned(),
            other => {
                // The library repeats the place at the end of its text; it is printed apart.
                let text = other.to_string();
                let line = text.lines().next().unwrap_or("the file is not valid YAML");
                line.split(" at line ").next().unwrap_or(line).trim_end_matches(':').to_owned()
            }
        };
        self.add(error.location().unwrap_or(Location::UNKNOWN), text);
    }

    /// How many there are by now.
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// Nothing, or one error that names every problem.
    pub(super) fn into_result(mut self, file: &str) -> Result<(), Error> {
        self.found.sort_by_key(|p| (p.line, p.column));
        let hint = "docs/contracts.md says what a contract may hold.";
        match self.found.as_slice() {
            [] => Ok(()),
            [one] => Err(Error::config(&one.text).at("file", format!("{file}:{}:{}", one.line, one.column)).hint(hint)),
            many => {
                let shown: Vec<String> =
                    many.iter().take(SHOWN).map(|p| format!("{file}:{}:{}: {}", p.line, p.column, p.text)).collect();
                let more = match many.len().saturating_sub(SHOWN) {
                    0 => String::new(),
                    n => format!("; and {n} more"),
                };
                let message = format!("the contract has {} problems: {}{more}", many.len(), shown.join("; "));
                Err(Error::config(message).at("file", file).hint(hint))
            }
        }
    }
}

/// Says that `found` is none of `expected`, and which one was probably meant.
pub(super) fn unknown(what: &str, found: &str, expected: &[&str]) -> String {
    match nearest(found, expected) {
        Some(near) => format!("unknown {what} `{found}`; did you mean `{near}`?"),
        None => format!("unknown {what} `{found}`; expected {}", one_of(expected)),
    }
}

/// `a, b or c`.
fn one_of(names: &[&str]) -> String {
    match names {
        [] => "nothing".to_owned(),
        [one] => format!("`{one}`"),
        [most @ .., last] => {
            let most: Vec<String> = most.iter().map(|n| format!("`{n}`")).collect();
            format!("{} or `{last}`", most.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        assert_eq!(
            unknown("key", "requird", &["required", "unique"]),
            "unknown key `requird`; did you mean `required`?"
        );
        assert_eq!(
            unknown("key", "colour", &["required", "unique"]),
            "unknown key `colour`; expected `required` or `unique`"
        );
    }

    #[test]
    fn a_long_list_of_problems_is_cut_and_counted() {
        let mut problems = Problems::default();
        for n in 0..25 {
            problems.add(Location::UNKNOWN, format!("problem {n}"));
        }
        let error = problems.into_result("x.yaml").unwrap_err();
        assert!(error.message().starts_with("the contract has 25 problems: x.yaml:1:1: problem 0; "), "{error}");
        assert!(error.message().ends_with("problem 19; and 5 more"), "{error}");
    }
}
