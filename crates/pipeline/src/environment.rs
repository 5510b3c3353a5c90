//! Values for variables: the process environment, and below it the project's `.env` file.
//!
//! Invariant: no value is ever in a message, and a line of `.env` that could be read in two ways is a mistake.

use crate::text_file::read;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use tillhouse_model::{Error, Result};

/// Values for `${VAR}`: the process environment over the project's `.env` file.
#[derive(Clone, Default)]
pub(crate) struct Environment(HashMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.0.len())
    }
}

impl Environment {
    /// The process environment, and below it what `<dir>/.env` says, if it exists.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] when `.env` cannot be read or parsed; the message never shows a value.
    pub(crate) fn load(dir: &Path) -> Result<Self> {
        match Self::load_partly(dir) {
            (environment, problems) if problems.is_empty() => Ok(environment),
            (_, problems) => Err(Error::combine(problems)),
        }
    }

    /// As [`Environment::load`], with what of `.env` can be read and all that is wrong with the rest.
    pub(crate) fn load_partly(dir: &Path) -> (Self, Vec<Error>) {
        let (mut values, mut problems) = (HashMap::new(), Vec::new());
        let path = dir.join(".env");
        if path.is_file() {
            match read(&path) {
                Ok(text) => {
                    for (index, line) in text.lines().enumerate() {
                        let (set, error) = assignment(line);
                        values.extend(set.map(|(name, value)| (name.to_owned(), value.to_owned())));
                        problems.extend(error.map(|error| {
                            error.at("file", format!("{}:{}", path.display(), index + 1))
                        }));
                    }
                }
                Err(error) => problems.push(error),
            }
        }
        for (name, value) in std::env::vars_os() {
            if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
                values.insert(name, value);
            }
        }
        (Self(values), problems)
    }

    /// Exactly these values.
    #[cfg(test)]
    pub(crate) fn of(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(values.into_iter().collect())
    }

    /// The variables whose names are wanted, with their values.
    pub(crate) fn pairs(&self, is_wanted: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
        let wanted = self.0.iter().filter(|(name, _)| is_wanted(name));
        wanted
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// That others may read the project's secrets, where they may.
#[cfg(unix)]
pub(crate) fn remarks(dir: &Path) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join(".env");
    let is_open = std::fs::metadata(&path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o007 != 0);
    let text = format!(
        "other users of this machine may read {0}: chmod 600 {0}",
        path.display()
    );
    is_open.then_some(text).into_iter().collect()
}

#[cfg(not(unix))]
pub(crate) fn remarks(_: &Path) -> Vec<String> {
    Vec::new()
}

/// Name and value of a line of `.env`, where it has any, and what is wrong with it. A name whose value nobody can tell is set all the same: that it were not would be
/// told beside.
fn assignment(line: &str) -> (Option<(&str, &str)>, Option<Error>) {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return (None, None);
    }
    let pair = line.strip_prefix("export ").unwrap_or(line).split_once('=');
    let pair = pair.map(|(name, value)| (name.trim(), value.trim()));
    // Names that no reference can have may be meant for others who read the file; what is written as YAML is not.
    let is_name =
        |name: &str| !name.is_empty() && !name.contains(|c: char| c == ':' || c.is_whitespace());
    let Some((name, value)) = pair.filter(|(name, _)| is_name(name)) else {
        let error = Error::config("a line of .env is not NAME=value")
            .hint("Write NAME=value, one a line; lines that start with # are comments.");
        return (None, Some(error));
    };
    match unquoted(value) {
        Some(inner) => (Some((name, inner)), None),
        None => {
            let error = Error::config("a value in .env begins with a quotation mark and does not end with it")
                .hint("Close the quotation marks on the same line; a value that begins with one itself stands between the others: '\"abc'.");
            (Some((name, "?")), Some(error))
        }
    }
}

/// A value of `.env` without the quotation marks around it, and without a comment behind them; `None` where they are not closed.
fn unquoted(value: &str) -> Option<&str> {
    let Some(quote) = value
        .chars()
        .next()
        .filter(|first| matches!(first, '"' | '\''))
    else {
        return Some(value);
    };
    let inner = &value[1..];
    if let Some(whole) = inner.strip_suffix(quote) {
        return Some(whole);
    }
    let (inner, behind) = inner.split_once(quote)?;
    behind.trim_start().starts_with('#').then_some(inner)
}
