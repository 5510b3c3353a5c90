//! How a configuration file is read: YAML with `${VAR}` from the environment, errors with file, line and column.
//!
//! Invariant: a value that came from the environment is never printed; messages show its `${NAME}` instead.

use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Values for `${VAR}`: the process environment over the project's `.env` file.
#[derive(Clone, Default)]
pub struct Environment(HashMap<String, String>);

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Environment({} variables)", self.0.len())
    }
}

impl Environment {
    /// The process environment, and below it what `<dir>/.env` says, if it exists.
    ///
    /// Errors with [`ErrorKind::Config`] when `.env` cannot be read or parsed; the message never shows a value.
    pub fn load(dir: &Path) -> Result<Self> {
        let mut values = HashMap::new();
        let path = dir.join(".env");
        if path.is_file() {
            let text = read(&path)?;
            for (index, line) in text.lines().enumerate() {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') {
                    continue;
                }
                let line_of = line.strip_prefix("export ").unwrap_or(line);
                let Some((name, value)) = line_of.split_once('=') else {
                    return Err(Error::config("a line of .env is not NAME=value")
                        .at("file", format!("{}:{}", path.display(), index + 1))
                        .hint("Write NAME=value, one a line; lines that start with # are comments."));
                };
                let value = value.trim();
                let unquoted = ['"', '\'']
                    .iter()
                    .find_map(|q| value.strip_prefix(*q).and_then(|v| v.strip_suffix(*q)))
                    .unwrap_or(value);
                values.insert(name.trim().to_owned(), unquoted.to_owned());
            }
        }
        for (name, value) in std::env::vars_os() {
            if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
                values.insert(name, value);
            }
        }
        Ok(Self(values))
    }

    /// Exactly these values; for tests.
    pub fn of(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self(values.into_iter().collect())
    }
}

/// A configuration file's text and what its variables stand for.
#[derive(Debug, Clone)]
pub struct YamlFile {
    /// Where it is, for messages.
    pub path: PathBuf,
    /// Its text, variables not yet replaced.
    pub text: String,
    /// What the variables stand for.
    pub environment: Environment,
}

impl YamlFile {
    /// Reads a file. Errors with [`ErrorKind::Config`].
    pub fn read(path: &Path, environment: &Environment) -> Result<Self> {
        Ok(Self { path: path.to_owned(), text: read(path)?, environment: environment.clone() })
    }

    /// A text that stands somewhere else than in a file of its own, without variables.
    pub fn of(path: PathBuf, text: String) -> Self {
        Self { path, text, environment: Environment::default() }
    }

    /// Parses the file. Errors with [`ErrorKind::Config`] naming file, line, column and what was expected.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        self.refuse_quoted_variables()?;
        let options = serde_saphyr::options! { with_snippet: false }.with_properties(self.environment.0.clone());
        serde_saphyr::from_str_with_options(&self.text, options).map_err(|e| self.error(&e))
    }

    fn error(&self, error: &serde_saphyr::Error) -> Error {
        let mut place = self.path.display().to_string();
        let mut line_text = None;
        if let Some(location) = error.location() {
            let line = usize::try_from(location.line()).unwrap_or(0);
            place = format!("{place}:{}:{}", location.line(), location.column());
            line_text = line.checked_sub(1).and_then(|n| self.text.lines().nth(n));
        }
        let message = error.without_snippet().to_string();
        let message = message.lines().next().unwrap_or("the file is not valid YAML").to_owned();
        // The location has been printed already; the library repeats it at the end.
        let message = message.split(" at line ").next().unwrap_or(&message).trim_end_matches(':').to_owned();
        // The library hides every key of a file that has variables; the key as it is written holds no value of one.
        let message = match error.location().zip(line_text).and_then(|(at, line)| key_at(line, at.column())) {
            Some(key) => message.replace("an interpolated field", key),
            None => message,
        };
        if let Some(name) = message.strip_prefix("missing property `").and_then(|m| m.strip_suffix('`')) {
            let key = line_text.and_then(|l| l.split_once("${")).map(|(before, _)| key_before(before));
            let wanted = match key {
                Some(key) if !key.is_empty() => {
                    format!("the key `{key}` wants the environment variable {name}, which is not set")
                }
                _ => format!("the environment variable {name} is not set"),
            };
            return Error::config(wanted).at("file", place).hint(format!(
                "Set {name} in the environment or in the project's .env file, or write ${{{name}:-default}}."
            ));
        }
        Error::config(message).at("file", place)
    }

    /// `${VAR}` inside quotes would stay as it is written, and be sent as a password. Better say so.
    fn refuse_quoted_variables(&self) -> Result<()> {
        for (index, line) in self.text.lines().enumerate() {
            let code = line.split(" #").next().unwrap_or(line);
            if code.trim_start().starts_with('#') {
                continue;
            }
            if let Some(column) = code.find("\"${").or_else(|| code.find("'${")) {
                return Err(Error::config("a variable in quotes is not replaced")
                    .at("file", format!("{}:{}:{}", self.path.display(), index + 1, column + 1))
                    .hint("Write ${NAME} without quotes; whatever it holds is taken as one value."));
            }
        }
        Ok(())
    }
}

/// An error about a value that is valid YAML but means nothing.
pub(crate) fn error_at(file: &YamlFile, location: serde_saphyr::Location, message: impl Into<String>) -> Error {
    Error::config(message).at("file", format!("{}:{}:{}", file.path.display(), location.line(), location.column()))
}

/// The key that begins at a column (counted in characters, from 1) of a line.
fn key_at(line: &str, column: u64) -> Option<&str> {
    let skipped = usize::try_from(column).ok()?.checked_sub(1)?;
    let start = line.char_indices().nth(skipped)?.0;
    line.get(start..)?.split(':').next().map(str::trim)
}

fn key_before(text: &str) -> String {
    let text = text.trim_end().trim_end_matches(':').trim_end();
    let start = text.rfind([' ', '{', ',', '-']).map_or(0, |i| i + 1);
    text.get(start..).unwrap_or_default().trim().to_owned()
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .or_error(ErrorKind::Config, "cannot read a configuration file")
        .map_err(|e| e.at("file", path.display().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        port: Option<u16>,
    }

    fn parse(text: &str) -> Result<Sample> {
        YamlFile {
            path: "sample.yaml".into(),
            text: text.into(),
            environment: Environment::of([("SECRET".into(), "hunter2: # {".into())]),
        }
        .parse()
    }

    #[test]
    fn variables_are_replaced_whatever_they_hold() {
        assert_eq!(parse("name: ${SECRET}").unwrap().name, "hunter2: # {");
        let sample = parse("name: ${NONE:-fallback}\nport: 80").unwrap();
        assert_eq!((sample.name.as_str(), sample.port), ("fallback", Some(80)));
    }

    #[test]
    fn a_missing_variable_names_the_key_that_wanted_it() {
        let error = parse("port: 1\nname: ${ABSENT}").unwrap_err();
        assert_eq!(
            error.to_string(),
            "the key `name` wants the environment variable ABSENT, which is not set (file sample.yaml:2:7)"
        );
    }

    #[test]
    fn mistakes_point_at_line_and_column_and_show_no_value() {
        let error = parse("name: x\nport: many").unwrap_err();
        assert!(error.to_string().contains("sample.yaml:2:7"), "{error}");
        let error = parse("name: x\nprot: 1").unwrap_err();
        assert!(error.to_string().contains("prot") && error.to_string().contains("sample.yaml:2:"), "{error}");
        let error = parse("name: ${SECRET}\nprot: 1").unwrap_err();
        assert!(error.to_string().starts_with("unknown field `prot`"), "{error}");
        let error = parse("name: x\nport: ${SECRET}").unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        assert!(parse("name: \"${SECRET}\"").unwrap_err().to_string().contains("in quotes"));
    }
}
