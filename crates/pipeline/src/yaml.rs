//! How a configuration file is read: YAML with `${VAR}` from the environment, errors with file, line and column.
//!
//! Invariant: a value that came from the environment is never printed; messages show its `${NAME}` instead. The YAML is parsed before
//! variables are replaced, so that no value can change what is around it.

use crate::interpolate::Interpolated;
use crate::variables::{self, Mistake, What};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Values for `${VAR}`: the process environment over the project's `.env` file.
#[derive(Clone, Default)]
pub struct Environment(HashMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    /// What the variables stand for; `None` for a file in which `${` is text like any other.
    pub environment: Option<Environment>,
}

/// One value of a file that is a text with a dollar sign in it.
struct Scalar {
    /// The keys that lead to it, with dots.
    key: String,
    /// Where it begins: line and column, from 1.
    line: usize,
    column: usize,
    text: String,
}

impl YamlFile {
    /// Reads a file. Errors with [`ErrorKind::Config`].
    pub fn read(path: &Path, environment: &Environment) -> Result<Self> {
        Ok(Self { path: path.to_owned(), text: read(path)?, environment: Some(environment.clone()) })
    }

    /// A text that stands somewhere else than in a file of its own, without variables.
    pub fn of(path: PathBuf, text: String) -> Self {
        Self { path, text, environment: None }
    }

    /// Parses the file, then puts the values of variables into its texts.
    ///
    /// Errors with [`ErrorKind::Config`] naming file, line, column and what was expected.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        let values = self.environment.as_ref().map(|environment| &environment.0);
        if let Some(values) = values {
            for scalar in self.scalars() {
                let lookup = |name: &str| values.get(name).map(String::as_str);
                variables::replace(&scalar.text, &lookup).map_err(|mistake| self.mistaken(&scalar, &mistake))?;
            }
        }
        self.with_deserializer(|inner| T::deserialize(Interpolated { inner, values }))
            .map_err(|error| self.redact(self.error(&error)))
    }

    /// The variables that the file reads, in order, each once. Those of comments do not count.
    ///
    /// Errors with [`ErrorKind::Config`] for a reference that is none.
    pub fn variables(&self) -> Result<Vec<String>> {
        let mut all: Vec<String> = Vec::new();
        for scalar in self.scalars() {
            for name in variables::names(&scalar.text).map_err(|mistake| self.mistaken(&scalar, &mistake))? {
                if !all.contains(&name) {
                    all.push(name);
                }
            }
        }
        Ok(all)
    }

    /// The error with the values of this file's variables taken out of what it says: `${NAME}` stands there instead.
    pub fn redact(&self, error: Error) -> Error {
        let Some(Environment(values)) = &self.environment else { return error };
        let mut held: Vec<(&str, String)> = Vec::new();
        for scalar in self.scalars() {
            for name in variables::names(&scalar.text).unwrap_or_default() {
                if let Some(value) = values.get(&name).filter(|value| !value.trim().is_empty()) {
                    held.push((value.as_str(), format!("${{{name}}}")));
                }
            }
        }
        // A value that holds another one comes first.
        held.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        error.rewritten(&|text: &str| {
            held.iter().fold(text.to_owned(), |text, (value, name)| without(&text, value, name))
        })
    }

    fn with_deserializer<T>(
        &self,
        read: impl FnOnce(serde_saphyr::Deserializer<'_, '_>) -> Result<T, serde_saphyr::Error>,
    ) -> Result<T, serde_saphyr::Error> {
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::with_deserializer_from_str_with_options(&self.text, options, read)
    }

    /// The texts with a dollar sign in them. None where the file is not YAML: whoever parses it says why.
    fn scalars(&self) -> Vec<Scalar> {
        let mut found = Vec::new();
        if self.text.contains('$')
            && let Ok(root) = self.with_deserializer(|inner| Spanned::<Node>::deserialize(inner))
        {
            gather(&root, "", &mut found);
        }
        found
    }

    /// Line and column of the value that begins at a place, or first after it.
    fn value_at(&self, at: (u64, u64)) -> (u64, u64) {
        fn places(node: &Spanned<Node>, found: &mut Vec<(u64, u64)>) {
            found.push((node.referenced.line(), node.referenced.column()));
            match &node.value {
                Node::Text(_) | Node::Other => {}
                Node::List(elements) => elements.iter().for_each(|element| places(element, found)),
                Node::Map(entries) => entries.iter().for_each(|(_, value)| places(value, found)),
            }
        }
        let mut found = Vec::new();
        if let Ok(root) = self.with_deserializer(|inner| Spanned::<Node>::deserialize(inner)) {
            places(&root, &mut found);
        }
        found.into_iter().filter(|place| *place >= at).min().unwrap_or(at)
    }

    /// The error of a reference that cannot be replaced.
    fn mistaken(&self, scalar: &Scalar, mistake: &Mistake) -> Error {
        let (line, column) = self.place(scalar, mistake.at);
        let of = match scalar.key.as_str() {
            "" => String::new(),
            key => format!(" of the key `{key}`"),
        };
        let error = match &mistake.what {
            What::Missing(name) => Error::config(match scalar.key.as_str() {
                "" => format!("the environment variable {name} is not set"),
                key => format!("the key `{key}` wants the environment variable {name}, which is not set"),
            })
            .hint(format!(
                "Set {name} in the environment or in the project's .env file, or write ${{{name}:-default}}."
            )),
            What::Unclosed => Error::config(format!("a variable{of} is not closed: `${{` without `}}`"))
                .hint("Write ${NAME} or ${NAME:-default}; for a dollar sign before a brace write $$."),
            What::Name => Error::config(format!("what stands in `${{...}}`{of} is no variable")).hint(
                "Write ${NAME} or ${NAME:-default}; a name has letters, digits and '_', no digit first. For a dollar sign before a brace \
                 write $$.",
            ),
            What::Deep => Error::config(format!("a variable{of} has defaults within defaults, too many")),
        };
        error.at("file", format!("{}:{line}:{column}", self.path.display()))
    }

    /// Line and column of a reference in a value, or of the value where it is not written as it is read.
    fn place(&self, scalar: &Scalar, at: usize) -> (usize, usize) {
        let before = scalar.text.get(..at).unwrap_or_default().matches("${").count();
        let lines: usize = self.text.split_inclusive('\n').take(scalar.line.saturating_sub(1)).map(str::len).sum();
        let rest = self.text.get(lines..).unwrap_or_default();
        let start = rest.char_indices().nth(scalar.column.saturating_sub(1)).map_or(lines, |(i, _)| lines + i);
        let rest = self.text.get(start..).unwrap_or_default();
        let Some((found, _)) = rest.match_indices("${").nth(before) else {
            return (scalar.line, scalar.column);
        };
        let up_to = self.text.get(..start + found).unwrap_or_default();
        let line_start = up_to.rfind('\n').map_or(0, |i| i + 1);
        let column = up_to.get(line_start..).unwrap_or_default().chars().count() + 1;
        (up_to.matches('\n').count() + 1, column)
    }

    fn error(&self, error: &serde_saphyr::Error) -> Error {
        let message = error.without_snippet().to_string();
        let message = message.lines().next().unwrap_or("the file is not valid YAML").to_owned();
        // The location has been printed already; the library repeats it at the end.
        let message = message.split(" at line ").next().unwrap_or(&message).trim_end_matches(':').to_owned();
        let mut place = self.path.display().to_string();
        let at = error.location().map(|at| (at.line(), at.column()));
        if let Some(at) = at {
            // The library places what is wrong with a value at its key.
            let is_about_key = ["unknown", "missing", "duplicate"].iter().any(|word| message.starts_with(word));
            let (line, column) = if is_about_key { at } else { self.value_at(at) };
            place = format!("{place}:{line}:{column}");
        }
        let error_at = Error::config(message).at("file", place);
        let line = at.and_then(|(line, _)| usize::try_from(line).ok()?.checked_sub(1));
        let line = line.and_then(|line| self.text.lines().nth(line)).unwrap_or_default();
        let in_flow = line.split_once("${").is_some_and(|(before, _)| before.contains(['{', '[']));
        match in_flow && self.environment.is_some() {
            true => error_at.hint("Within { } and [ ] write a variable in quotes: { key: \"${NAME}\" }."),
            false => error_at,
        }
    }
}

/// A file's values as far as variables are concerned.
enum Node {
    Text(String),
    List(Vec<Spanned<Node>>),
    Map(Vec<(String, Spanned<Node>)>),
    Other,
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_str<E>(self, text: &str) -> Result<Node, E> {
                Ok(Node::Text(text.to_owned()))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_i128<E>(self, _: i128) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_u128<E>(self, _: u128) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_unit<E>(self) -> Result<Node, E> {
                Ok(Node::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Node, A::Error> {
                let mut list = Vec::new();
                while let Some(element) = elements.next_element()? {
                    list.push(element);
                }
                Ok(Node::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    map.push(entry);
                }
                Ok(Node::Map(map))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// Gathers the texts with a dollar sign below a node.
fn gather(node: &Spanned<Node>, key: &str, found: &mut Vec<Scalar>) {
    let number = |n: u64| usize::try_from(n).unwrap_or(0);
    match &node.value {
        Node::Text(text) if text.contains('$') => found.push(Scalar {
            key: key.to_owned(),
            line: number(node.defined.line()),
            column: number(node.defined.column()),
            text: text.clone(),
        }),
        Node::Text(_) | Node::Other => {}
        Node::List(elements) => elements.iter().for_each(|element| gather(element, key, found)),
        Node::Map(entries) => {
            for (name, value) in entries {
                let key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                gather(value, &key, found);
            }
        }
    }
}

/// A text with a variable's name where its value stood, in any of the forms in which messages quote a value.
fn without(text: &str, value: &str, name: &str) -> String {
    let trimmed = value.trim();
    let debug = format!("{trimmed:?}");
    if trimmed.chars().count() < 4 {
        // So little is found everywhere; it is no secret, and what quotes it is meant.
        return ['"', '\'', '`'].iter().fold(text.replace(&debug, &format!("\"{name}\"")), |text, quote| {
            text.replace(&format!("{quote}{trimmed}{quote}"), &format!("{quote}{name}{quote}"))
        });
    }
    let escaped = debug.get(1..debug.len().saturating_sub(1)).unwrap_or_default();
    let lower = trimmed.to_lowercase();
    [value, trimmed, escaped, lower.as_str()].into_iter().fold(text.to_owned(), |text, form| text.replace(form, name))
}

/// An error about a value that is valid YAML but means nothing.
pub(crate) fn error_at(file: &YamlFile, location: serde_saphyr::Location, message: impl Into<String>) -> Error {
    Error::config(message).at("file", format!("{}:{}:{}", file.path.display(), location.line(), location.column()))
}

fn read(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path)
        .or_error(ErrorKind::Config, "cannot read a configuration file")
        .map_err(|e| e.at("file", path.display().to_string()))?;
    // Some editors begin a file with a byte order mark, which would become part of the first name.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
