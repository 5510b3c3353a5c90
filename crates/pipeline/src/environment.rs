//! Values for variables: the process environment, and below it the project's `.env` file.
//!
//! Invariant: no value is ever in a message, and a line of `.env` that could be read in two ways is a mistake.

use crate::text_file::read_within;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::time::Duration;
use tillhouse_model::{Error, Result};

/// The time that `.env` has to be read, which may be a pipe: some managers of secrets give it so.
const PIPE_TIMEOUT: Duration = Duration::from_secs(10);

/// Values for `${VAR}`: the process environment over the project's `.env` file.
#[derive(Clone, Default)]
pub(crate) struct Environment {
    values: HashMap<String, String>,
    /// Variables of the process whose values are no UTF-8.
    unreadable: BTreeSet<String>,
    /// The reason why there is a `.env` that could not be read: nobody knows what it sets.
    lacks_file: Option<Error>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.values.len())
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
        Self::over(dir, std::env::vars_os(), PIPE_TIMEOUT)
    }

    /// These variables, and below them what `<dir>/.env` says. Whatever is called `.env` is looked at: a link that leads nowhere, or a folder in its place, is told.
    fn over(
        dir: &Path,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        timeout: Duration,
    ) -> (Self, Vec<Error>) {
        let (mut values, mut problems) = (HashMap::new(), Vec::new());
        let path = dir.join(".env");
        let mut lacks_file = None;
        if std::fs::symlink_metadata(&path).is_ok() {
            match read_within(&path, timeout) {
                Ok(text) => {
                    for (index, line) in text.lines().enumerate() {
                        let (set, error) = assignment(line);
                        values.extend(set.map(|(name, value)| (name.to_owned(), value.to_owned())));
                        problems.extend(error.map(|error| {
                            error.at("file", format!("{}:{}", path.display(), index + 1))
                        }));
                    }
                }
                Err(error) => {
                    lacks_file = Some(error.clone());
                    problems.push(error);
                }
            }
        }
        let mut unreadable = BTreeSet::new();
        for (name, value) in variables {
            match (name.into_string(), value.into_string()) {
                (Ok(name), Ok(value)) => drop(values.insert(name, value)),
                (Ok(name), Err(_)) => {
                    values.remove(&name);
                    unreadable.insert(name);
                }
                // No reference can name it.
                (Err(_), _) => {}
            }
        }
        let environment = Self {
            values,
            unreadable,
            lacks_file,
        };
        (environment, problems)
    }

    /// Exactly these values.
    #[cfg(test)]
    pub(crate) fn of(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            values: values.into_iter().collect(),
            unreadable: BTreeSet::new(),
            lacks_file: None,
        }
    }

    /// The variables whose names are wanted, with their values.
    pub(crate) fn pairs(&self, is_wanted: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
        let wanted = self.values.iter().filter(|(name, _)| is_wanted(name));
        wanted
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The error of a `.env` that is there and could not be read: a variable that is not set otherwise may be set there.
    pub(crate) fn lacks_file(&self) -> Option<&Error> {
        self.lacks_file.as_ref()
    }

    /// True for a variable that is set, and whose value is no text.
    pub(crate) fn is_unreadable(&self, name: &str) -> bool {
        self.unreadable.contains(name)
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
    // Names that no reference can have may be meant for others who read the file; what is written as YAML is not, and a digit begins no name anywhere.
    let is_name = |name: &str| {
        let begins_well = name.chars().next().is_some_and(|c| !c.is_ascii_digit());
        begins_well && !name.contains(|c: char| c == ':' || c.is_whitespace())
    };
    let Some((name, value)) = pair.filter(|(name, _)| is_name(name)) else {
        let error = Error::config("a line of .env is not NAME=value")
            .hint("Write NAME=value, one a line: a name has letters, digits and '_', no digit first. Lines that start with # are comments.");
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn loaded(dir: &Path, variables: &[(&str, &[u8])]) -> (Environment, Vec<String>) {
        loaded_within(dir, variables, Duration::from_secs(60))
    }

    fn loaded_within(
        dir: &Path,
        variables: &[(&str, &[u8])],
        timeout: Duration,
    ) -> (Environment, Vec<String>) {
        let variables = variables
            .iter()
            .map(|(name, value)| (OsString::from(*name), OsString::from_vec(value.to_vec())));
        let (environment, problems) = Environment::over(dir, variables, timeout);
        (
            environment,
            problems.iter().map(ToString::to_string).collect(),
        )
    }

    #[test]
    fn a_value_that_is_no_text_is_told_from_one_that_is_not_set() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(".env"), "SECRET=old\nOTHER=2\n").unwrap();
        let (environment, problems) = loaded(dir.path(), &[("SECRET", b"gr\xfcn"), ("A", b"1")]);
        assert!(problems.is_empty(), "{problems:?}");
        // The file's value does not take its place.
        assert_eq!(environment.get("SECRET"), None);
        assert!(environment.is_unreadable("SECRET") && !environment.is_unreadable("NONE"));
        assert_eq!(
            (environment.get("A"), environment.get("OTHER")),
            (Some("1"), Some("2"))
        );
    }

    #[test]
    fn a_line_without_a_name_is_told_and_the_others_count() {
        for (line, is_told) in [
            ("9A=3", true),
            ("export 1=2", true),
            ("=3", true),
            ("A B=3", true),
            ("A9=3", false),
            ("_9=3", false),
            ("export B=3", false),
            ("some.others-name=3", false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(".env");
            std::fs::write(&path, format!("FIRST=1\n{line}\nLAST=2\n")).unwrap();
            let (environment, problems) = loaded(dir.path(), &[]);
            assert_eq!(problems.len(), usize::from(is_told), "{line}: {problems:?}");
            assert!(
                problems.iter().all(|told| told.contains(".env:2")),
                "{problems:?}"
            );
            let both = (environment.get("FIRST"), environment.get("LAST"));
            assert_eq!(both, (Some("1"), Some("2")), "{line}");
        }
    }

    #[test]
    fn whatever_is_called_env_is_read_or_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".env");
        assert_eq!(loaded(dir.path(), &[]).1, Vec::<String>::new());
        assert!(loaded(dir.path(), &[]).0.lacks_file().is_none());
        std::fs::create_dir(&path).unwrap();
        let (environment, problems) = loaded(dir.path(), &[]);
        assert!(problems.concat().contains("a folder") && environment.lacks_file().is_some());
        std::fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        assert!(loaded(dir.path(), &[]).1.concat().contains("is not there"));
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        assert_eq!(loaded(dir.path(), &[]).1, Vec::<String>::new());
        std::fs::remove_file(&path).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let writer = std::thread::spawn({
            let path = path.clone();
            move || std::fs::write(path, "SECRET=from a pipe\n")
        });
        let (environment, problems) = loaded(dir.path(), &[]);
        writer.join().unwrap().unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(environment.get("SECRET"), Some("from a pipe"));
        let (_, problems) = loaded_within(dir.path(), &[], Duration::from_millis(300));
        assert!(problems.concat().contains("gave nothing"), "{problems:?}");
        // Whoever waits for a writer goes when one comes.
        std::fs::write(&path, "").unwrap();
    }
}
