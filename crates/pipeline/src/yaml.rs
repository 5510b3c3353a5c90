//! How a configuration file is read: YAML with `${VAR}` from the environment, errors with file, line and column.
//!
//! Invariant: a value that came from the environment is never printed; messages show what was written instead, its `${NAME}`. The YAML is
//! parsed before variables are replaced, so that no value can change what is around it. Only what a message quotes is looked at: Tillhouse's
//! own words stay, whatever a variable holds.

use crate::key_examples;
use crate::variables::{self, Mistake, What};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use tillhouse_model::yaml::{Content, Fault, Location, Node, Plain};
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
                let Some(unquoted) = unquoted(value.trim()) else {
                    return Err(Error::config("a value in .env begins with a quotation mark and does not end with it")
                        .at("file", format!("{}:{}", path.display(), index + 1))
                        .hint("Close the quotation marks on the same line; a value that begins with one itself stands between the others: '\"abc'."));
                };
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

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// A value of `.env` without the quotation marks around it, and without a comment behind them; `None` where they are not closed.
fn unquoted(value: &str) -> Option<&str> {
    let Some(quote) = value.chars().next().filter(|first| matches!(first, '"' | '\'')) else { return Some(value) };
    let inner = &value[1..];
    if let Some(whole) = inner.strip_suffix(quote) {
        return Some(whole);
    }
    let (inner, behind) = inner.split_once(quote)?;
    behind.trim_start().starts_with('#').then_some(inner)
}

/// A configuration file's text and what its variables stand for.
#[derive(Debug, Clone)]
pub struct YamlFile {
    /// Where it is, for messages.
    pub path: PathBuf,
    /// Its text, variables not yet replaced.
    pub text: String,
    /// What the variables stand for; `None` for a file that has none, where `${NAME}` is a mistake.
    pub environment: Option<Environment>,
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
    /// Errors with [`ErrorKind::Config`] naming file, line, column and what was expected, of everything that is wrong.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        self.read_as(&self.tree()?, "")
    }

    /// Reads a part of the file's tree, which stands below a key; `""` for the whole.
    ///
    /// Errors as [`YamlFile::parse`] does.
    pub(crate) fn read_as<T: DeserializeOwned>(&self, node: &Node, below: &str) -> Result<T> {
        node.read_all().map_err(|faults| self.errors(faults, below))
    }

    /// One error of all faults, which stand below a key.
    pub(crate) fn errors(&self, faults: Vec<Fault>, below: &str) -> Error {
        let place = |fault: Fault| if below.is_empty() { fault } else { fault.below(below) };
        Error::several(faults.into_iter().map(|fault| self.error(&place(fault))).collect())
    }

    /// The file's values, variables replaced.
    ///
    /// Errors with [`ErrorKind::Config`] for what is no YAML, and for all references that cannot be replaced.
    pub(crate) fn tree(&self) -> Result<Node> {
        let mut root = Node::parse_lenient(&self.text).map_err(|fault| self.error(&fault))?;
        let Some(environment) = &self.environment else {
            self.refuse_variables(&root)?;
            return Ok(root);
        };
        let lookup = |name: &str| environment.get(name);
        let mut mistakes = Vec::new();
        root.scalars(&mut |path, node| {
            if let Some(Err(mistake)) = with_dollar(node).map(|text| variables::replace(text, &lookup)) {
                mistakes.push(self.mistaken(&path.join("."), node, &mistake));
            }
        });
        if !mistakes.is_empty() {
            return Err(Error::several(mistakes));
        }
        root.scalars_mut(&mut |node| {
            let replaced =
                with_dollar(node).and_then(|text| Some((text.to_owned(), variables::replace(text, &lookup).ok()?)));
            if let Some((written, text)) = replaced {
                node.content = Content::Scalar { text, plain: Plain::Text };
                node.written = Some(written);
            }
        });
        Ok(root)
    }

    /// That nothing in the file looks like a variable, which would be taken as it is written. Descriptions and examples may say what they like.
    fn refuse_variables(&self, root: &Node) -> Result<()> {
        let mut found = Vec::new();
        let mut note = |text: &str, key: &str, at: Location| {
            let names = variables::names(text).unwrap_or_default();
            let what = match names.first() {
                Some(name) => format!("`${{{name}}}`"),
                None if text.contains("$$") => "`$$`".to_owned(),
                None => return,
            };
            let of = if key.is_empty() { String::new() } else { format!(" in `{key}`") };
            found.push(error_at(self, at, format!("{what}{of} would be taken as it is written: this file knows no variables")).hint(
                "Write the value itself; variables are read in tillhouse.yaml and pipelines/NAME/pipeline.yaml.",
            ));
        };
        root.scalars(&mut |path, node| {
            let prose = path.iter().any(|key| {
                ["description", "examples", "businessName", "authoritativeDefinitions"].contains(&key.as_str())
            });
            if let (Some(text), false) = (with_dollar(node), prose) {
                note(text, &path.join("."), node.at);
            }
        });
        keys(root, &mut |key, at| {
            if key.contains('$') {
                note(key, "", at);
            }
        });
        if found.is_empty() { Ok(()) } else { Err(Error::several(found)) }
    }

    /// The variables that the file reads, in order, each once. Those of comments do not count.
    ///
    /// Errors with [`ErrorKind::Config`] for a reference that is none.
    pub fn variables(&self) -> Result<Vec<String>> {
        let root = Node::parse_lenient(&self.text).map_err(|fault| self.error(&fault))?;
        let (mut all, mut mistakes) = (Vec::new(), Vec::new());
        root.scalars(&mut |path, node| match with_dollar(node).map(variables::names) {
            Some(Ok(names)) => {
                for name in names {
                    if !all.contains(&name) {
                        all.push(name);
                    }
                }
            }
            Some(Err(mistake)) => mistakes.push(self.mistaken(&path.join("."), node, &mistake)),
            None => {}
        });
        if mistakes.is_empty() { Ok(all) } else { Err(Error::several(mistakes)) }
    }

    /// An error about what the file says, as it may be shown: with the place of the key that it names, where it has none yet, and
    /// with what was written in place of what variables hold. A variable that is set to nothing is named.
    pub fn told(&self, error: Error) -> Error {
        match error.parts() {
            [] => self.told_one(error),
            _ => error.map_parts(|part| self.told_one(part)),
        }
    }

    fn told_one(&self, error: Error) -> Error {
        let Ok(root) = self.tree() else { return error };
        let file = self.path.display().to_string();
        let placed = error.context().iter().find(|(key, _)| *key == "file");
        if placed.is_some_and(|(_, place)| !place.starts_with(&file)) {
            return error;
        }
        let at = placed.and_then(|(_, place)| place_in(place.get(file.len()..)?));
        let (node, error) = match at {
            Some(at) => (node_at(&root, at), error),
            None => match named(&root, &error) {
                Some((node, at)) => {
                    let place = format!("{file}:{}:{}", at.line(), at.column());
                    (node, error.replacing("file", place))
                }
                None if placed.is_none() => (None, error.at("file", file)),
                None => (None, error),
            },
        };
        let blank = node.filter(|node| node.text().is_some_and(|text| text.trim().is_empty()));
        let unset = blank.and_then(|node| variables::names(node.written.as_deref()?).ok()).unwrap_or_default();
        let error = match unset.first() {
            None => error,
            Some(name) => error.hint(format!(
                "The environment variable {name} is set to nothing: give it a value in the environment or in the project's .env file."
            )),
        };
        let mut held = Vec::new();
        node.unwrap_or(&root).scalars(&mut |_, scalar| {
            if let (Some(written), Some(text)) = (&scalar.written, scalar.text()) {
                held.push(Held { written: written.clone(), text: text.to_owned() });
            }
        });
        let environment = self.environment.as_ref().filter(|_| node.is_some());
        error.rewritten(&|text: &str| quoted(text, &|inner| as_written(inner, &held, environment)))
    }

    /// The error of a reference that cannot be replaced.
    fn mistaken(&self, key: &str, node: &Node, mistake: &Mistake) -> Error {
        let text = node.text().unwrap_or_default();
        let (line, column) = self.place(node, text, mistake.at);
        let of = match key {
            "" => String::new(),
            key => format!(" of the key `{key}`"),
        };
        let error = match &mistake.what {
            What::Missing(name) => Error::config(match key {
                "" => format!("the environment variable {name} is not set"),
                key => format!("the key `{key}` wants the environment variable {name}, which is not set"),
            })
            .hint(format!(
                "Set {name} in the environment or in the project's .env file, or write ${{{name}:-default}}."
            )),
            What::Unclosed => {
                let error = Error::config(format!("a variable{of} is not closed: `${{` without `}}`"));
                let line = usize::try_from(node.defined.line()).ok().and_then(|n| self.text.lines().nth(n.checked_sub(1)?));
                let behind = line.and_then(|line| line.split_once("${")).map(|(_, behind)| behind).unwrap_or_default();
                match behind.contains(" #") && behind.contains('}') {
                    true => error.hint("` #` begins a comment: put the value in quotes, key: \"${NAME:-a #b}\"."),
                    false => error.hint("Write ${NAME} or ${NAME:-default}; for a dollar sign before a brace write $$."),
                }
            }
            What::Name => Error::config(format!("what stands in `${{...}}`{of} is no variable")).hint(
                "Write ${NAME} or ${NAME:-default}; a name has letters, digits and '_', no digit first. For a dollar sign before a brace \
                 write $$.",
            ),
            What::Deep => Error::config(format!("a variable{of} has defaults within defaults, too many")),
        };
        error.at("file", format!("{}:{line}:{column}", self.path.display()))
    }

    /// Line and column of a reference in a value, or of the value where it is not written as it is read.
    fn place(&self, node: &Node, text: &str, at: usize) -> (usize, usize) {
        let number = |n: u64| usize::try_from(n).unwrap_or(0);
        let (line, column) = (number(node.defined.line()), number(node.defined.column()));
        let before = text.get(..at).unwrap_or_default().matches("${").count();
        let lines: usize = self.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let rest = self.text.get(lines..).unwrap_or_default();
        let start = rest.char_indices().nth(column.saturating_sub(1)).map_or(lines, |(i, _)| lines + i);
        let rest = self.text.get(start..).unwrap_or_default();
        let Some((found, _)) = rest.match_indices("${").nth(before) else {
            return (line, column);
        };
        let up_to = self.text.get(..start + found).unwrap_or_default();
        let line_start = up_to.rfind('\n').map_or(0, |i| i + 1);
        let column = up_to.get(line_start..).unwrap_or_default().chars().count() + 1;
        (up_to.matches('\n').count() + 1, column)
    }

    /// What a fault of the file's YAML, or of a value in it, is called.
    fn error(&self, fault: &Fault) -> Error {
        let error = Error::config(fault.message("the file")).at("file", self.place_of(fault.at));
        match key_examples::hint(fault).or_else(|| fault.hint()) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    fn place_of(&self, at: Location) -> String {
        let path = self.path.display();
        if at == Location::UNKNOWN { path.to_string() } else { format!("{path}:{}:{}", at.line(), at.column()) }
    }
}

/// A scalar whose variables are replaced.
struct Held {
    written: String,
    text: String,
}

/// The text of a scalar that may hold a variable.
fn with_dollar(node: &Node) -> Option<&str> {
    node.text().filter(|text| text.contains('$'))
}

/// Calls `each` with every key and its place.
fn keys(node: &Node, each: &mut dyn FnMut(&str, Location)) {
    match &node.content {
        Content::Scalar { .. } => {}
        Content::List(elements) => elements.iter().for_each(|element| keys(element, each)),
        Content::Map(entries) => {
            for entry in entries {
                each(&entry.key, entry.at);
                keys(&entry.value, each);
            }
        }
    }
}

/// `:12:7` as a place.
fn place_in(text: &str) -> Option<Location> {
    let (line, column) = text.strip_prefix(':')?.split_once(':')?;
    Some(Location::new(line.parse().ok()?, column.parse().ok()?))
}

/// The outermost node that stands at a place.
fn node_at(node: &Node, at: Location) -> Option<&Node> {
    if node.at == at && node.text().is_some() {
        return Some(node);
    }
    match &node.content {
        Content::Scalar { .. } => None,
        Content::List(elements) => elements.iter().find_map(|element| node_at(element, at)),
        Content::Map(entries) => entries.iter().find_map(|entry| match entry.at == at || entry.value.at == at {
            true => Some(&entry.value),
            false => node_at(&entry.value, at),
        }),
    }
}

/// The node of the longest key, with dots, that an error names in its message or as its place; and where that is.
fn named<'n>(root: &'n Node, error: &Error) -> Option<(Option<&'n Node>, Location)> {
    let places = error.context().iter().filter(|(key, _)| *key == "key").map(|(_, value)| value.as_str());
    let texts: Vec<&str> = std::iter::once(error.message()).chain(places).collect();
    let mut found: Option<(String, &Node, Location)> = None;
    walk(root, "", &mut |key, node, at| {
        let longer = found.as_ref().is_none_or(|(known, ..)| known.len() < key.len());
        if longer && texts.iter().any(|text| names(text, key) || leads_to(text, key)) {
            found = Some((key.to_owned(), node, at));
        }
    });
    found.map(|(_, node, at)| (Some(node), at))
}

/// Calls `each` with every key with dots, its value and where that stands.
fn walk<'n>(node: &'n Node, above: &str, each: &mut dyn FnMut(&str, &'n Node, Location)) {
    if let Content::Map(entries) = &node.content {
        for entry in entries {
            let key = if above.is_empty() { entry.key.clone() } else { format!("{above}.{}", entry.key) };
            each(&key, &entry.value, entry.value.at);
            walk(&entry.value, &key, each);
        }
    }
}

/// True if a text names a key, as a word of its own.
fn names(text: &str, key: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/' | '"');
    text.match_indices(key).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let mut after = text.get(at + key.len()..).unwrap_or_default().chars();
        let (next, then) = (after.next(), after.next());
        // A full stop ends a sentence where nothing follows it.
        let goes_on = next.is_some_and(|c| part(c) && !(c == '.' && then.is_none_or(char::is_whitespace)));
        !before.is_some_and(part) && !goes_on
    })
}

/// True if a text begins with, or names in backticks, a key below this one: `sync.start` is not there, and `sync` may be.
fn leads_to(text: &str, key: &str) -> bool {
    text.starts_with(&format!("{key}.")) || text.contains(&format!("`{key}."))
}

/// A text with what stands between double quotes rewritten; `inner` gets it as it stands there, escapes and all.
fn quoted(text: &str, inner: &dyn Fn(&str) -> String) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(open) = rest.find('"') {
        let from = open + 1;
        let behind = rest.get(from..).unwrap_or_default();
        let mut escaped = false;
        let close = behind.char_indices().find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let Some((close, _)) = close else { break };
        out.push_str(rest.get(..from).unwrap_or_default());
        out.push_str(&inner(behind.get(..close).unwrap_or_default()));
        out.push('"');
        rest = behind.get(close + 1..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// What a message quotes, as it was written: the whole of a value that variables stand in, one of several that are listed in it, or, where the
/// value is known that the message is about (`environment`), a text that holds what a variable holds.
fn as_written(inner: &str, held: &[Held], environment: Option<&Environment>) -> String {
    let escaped = |text: &str| {
        let debug = format!("{text:?}");
        debug.get(1..debug.len().saturating_sub(1)).unwrap_or_default().to_owned()
    };
    for Held { written, text } in held {
        let trimmed = text.trim();
        let whole = [text.as_str(), trimmed, trimmed.to_lowercase().as_str()].map(&escaped);
        let is_part = text.contains(',') && text.split(',').any(|part| escaped(part.trim()) == inner);
        if !trimmed.is_empty() && (whole.iter().any(|form| form == inner) || is_part) {
            return written.clone();
        }
    }
    let Some(environment) = environment else { return inner.to_owned() };
    let mut known: Vec<(String, String)> = Vec::new();
    for name in held.iter().flat_map(|held| variables::names(&held.written).unwrap_or_default()) {
        if let Some(value) = environment.get(&name).map(str::trim).filter(|value| !value.is_empty()) {
            known.push((escaped(value), format!("${{{name}}}")));
        }
    }
    // A value that holds another one comes first.
    known.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    known.iter().fold(inner.to_owned(), |text, (value, name)| text.replace(value, name))
}

/// An error about a value that is valid YAML but means nothing.
pub(crate) fn error_at(file: &YamlFile, location: Location, message: impl Into<String>) -> Error {
    Error::config(message).at("file", file.place_of(location))
}

/// The text of a file that people write. Errors with [`ErrorKind::Config`], with the place where it is no UTF-8.
pub(crate) fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path)
        .or_error(ErrorKind::Config, "cannot read a configuration file")
        .map_err(|e| e.at("file", path.display().to_string()))?;
    match String::from_utf8(bytes) {
        // Some editors begin a file with a byte order mark, which would become part of the first name.
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
        Err(error) => {
            let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
            let utf16 = [&b"\xff\xfe"[..], b"\xfe\xff"].iter().any(|mark| error.as_bytes().starts_with(mark));
            let form = if utf16 { "UTF-16" } else { "something else than UTF-8" };
            Err(Error::config(format!("the file is written in {form}"))
                .at("file", format!("{}:{line}:1", path.display()))
                .hint("Save it as UTF-8 in the editor it was written with."))
        }
    }
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
