//! Problems of a contract, collected, so that one reading names all of them.
//!
//! Invariant: a problem has a line and a column, both from 1, and says what was expected.

use crate::did_you_mean::nearest;
use crate::error::Error;
use crate::yaml::{FileLocation, YamlFault, YamlFaultKind, one_of};

/// Most problems that one error lists; the rest is counted.
const SHOWN: usize = 20;

/// Problems found in one file, in the order they were found.
#[derive(Debug, Default)]
pub(super) struct ContractProblems {
    found: Vec<ContractProblem>,
}

/// Problem and its place in the file.
#[derive(Debug)]
struct ContractProblem {
    line: u64,
    column: u64,
    text: String,
}

impl ContractProblems {
    /// Notes a problem at a place. A place that is not known is the start of the file.
    pub(super) fn add(&mut self, place: FileLocation, text: impl Into<String>) {
        self.found.push(ContractProblem {
            line: place.line().max(1),
            column: place.column().max(1),
            text: text.into(),
        });
    }

    /// Notes what is wrong with the YAML, or with what its values are.
    pub(super) fn add_fault(&mut self, fault: &YamlFault) {
        let path = fault.path();
        let key = path
            .iter()
            .rev()
            .find(|key| !key.starts_with('['))
            .map(|key| format!("`{key}`: "));
        let text = match &fault.what {
            // The place says which of them; the standard's keys lead a long way.
            YamlFaultKind::UnknownKey { key, known } => unknown("key", key, known),
            YamlFaultKind::MissingKey(key) => format!("the key `{key}` is missing"),
            YamlFaultKind::Wrong {
                expected, found, ..
            } => {
                format!(
                    "{}expected {expected}, found {found}",
                    key.unwrap_or_default()
                )
            }
            YamlFaultKind::Syntax { text, hint } if !text.ends_with("twice") => {
                format!("{text}. {}", hint.trim_end_matches('.'))
            }
            _ => fault.message("the contract"),
        };
        self.add(fault.at, text);
    }

    /// Number of problems so far.
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    /// Keeps, of those that were found after so many, the ones for which `keeps` holds, given their place and text.
    pub(super) fn retain_from(&mut self, first: usize, keeps: impl Fn(FileLocation, &str) -> bool) {
        let later = self.found.split_off(first.min(self.found.len()));
        let keeps = |p: &ContractProblem| keeps(FileLocation::new(p.line, p.column), &p.text);
        self.found.extend(later.into_iter().filter(keeps));
    }

    /// `Ok`, or one error that names every problem.
    pub(super) fn into_result(mut self, file: &str) -> Result<(), Error> {
        self.found.sort_by_key(|p| (p.line, p.column));
        let hint = "docs/contracts.md says what a contract may hold.";
        match self.found.as_slice() {
            [] => Ok(()),
            [one] => Err(Error::config(&one.text)
                .at("file", format!("{file}:{}:{}", one.line, one.column))
                .hint(hint)),
            many => {
                let shown: Vec<String> = many
                    .iter()
                    .take(SHOWN)
                    .map(|p| format!("{file}:{}:{}: {}", p.line, p.column, p.text))
                    .collect();
                let more = match many.len().saturating_sub(SHOWN) {
                    0 => String::new(),
                    n => format!("; and {n} more"),
                };
                let message = format!(
                    "the contract has {} problems: {}{more}",
                    many.len(),
                    shown.join("; ")
                );
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
        let mut problems = ContractProblems::default();
        for n in 0..25 {
            problems.add(FileLocation::UNKNOWN, format!("problem {n}"));
        }
        let error = problems.into_result("x.yaml").unwrap_err();
        assert!(
            error
                .message()
                .starts_with("the contract has 25 problems: x.yaml:1:1: problem 0; "),
            "{error}"
        );
        assert!(
            error.message().ends_with("problem 19; and 5 more"),
            "{error}"
        );
    }
}
