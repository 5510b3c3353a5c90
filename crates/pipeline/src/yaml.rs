//! Reader of configuration files: YAML with `${VAR}` from the environment, errors with file, line
//! and column.
//!
//! Invariant: a value that came from the environment is never printed; messages show what was written instead, its `${NAME}`. The YAML is
//! parsed before variables are replaced, so that no value can change what is around it. Only what a message quotes is looked at: Tillhouse's
//! own words stay, whatever a variable holds.

use crate::environment::Environment;
use crate::key_examples;
use crate::text_file;
use crate::variables::{self, VariableError, VariableErrorKind};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use tillhouse_model::yaml::{
    FileLocation, PartialRead, YamlContent, YamlEntry, YamlFault, YamlFaultKind as Wrong, YamlNode,
    YamlScalar,
};
use tillhouse_model::{Error, Result, blank};

/// A configuration file's text and what its variables stand for.
#[derive(Debug, Clone)]
pub(crate) struct YamlFile {
    /// Its place, for messages.
    pub path: PathBuf,
    /// Its text, variables not yet replaced.
    pub text: String,
    /// Values of the variables; `None` for a file that has none, where `${NAME}` is a mistake.
    pub environment: Option<Environment>,
}

impl YamlFile {
    /// Reads a file. Errors with [`tillhouse_model::ErrorKind::Config`].
    pub(crate) fn read(path: &Path, environment: &Environment) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            text: text_file::read_regular(path)?,
            environment: Some(environment.clone()),
        })
    }

    /// A text that stands somewhere else than in a file of its own, without variables.
    pub(crate) fn of(path: PathBuf, text: String) -> Self {
        Self {
            path,
            text,
            environment: None,
        }
    }

    /// Parses the file, then puts the values of variables into its texts.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] naming file, line, column and what was expected, of everything that is wrong.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        let YamlTree { root, mut problems } = self.tree()?;
        match root.read_all() {
            Ok(value) if problems.is_empty() => Ok(value),
            Ok(_) => Err(Error::combine(problems)),
            Err(faults) => {
                problems.extend((!faults.is_empty()).then(|| self.errors(faults, "")));
                Err(Error::combine(problems))
            }
        }
    }

    /// Reads a part of the file's tree, which stands below a key; `""` for the whole. What is wrong with it goes to `problems`. The value is `None` where
    /// nothing is to be had of it, and may hold what is made up where a key is missing or wrong; then problems are known, if not from here.
    pub(crate) fn read_partly<T: DeserializeOwned>(
        &self,
        node: &YamlNode,
        below: &str,
        problems: &mut Vec<Error>,
    ) -> PartialRead<T> {
        let mut read = node.read_partly();
        let faults = std::mem::take(&mut read.faults);
        problems.extend((!faults.is_empty()).then(|| self.errors(faults, below)));
        if !below.is_empty() {
            read.made_up
                .iter_mut()
                .for_each(|key| *key = format!("{below}.{key}"));
        }
        read
    }

    /// Errors where nothing stands in the file, besides comments.
    pub(crate) fn check_not_empty(&self, root: &YamlNode) -> Result<()> {
        match root.is_null() {
            true => Err(
                Error::config("the file is empty, or has nothing but comments")
                    .at("file", self.place_of(FileLocation::new(1, 1)))
                    .hint(
                        "Write its keys, or take it away and have `tillhouse init` write it anew.",
                    ),
            ),
            false => Ok(()),
        }
    }

    /// Errors of those keys of a section that have nothing behind them, where one value is wanted: a default would hide what was meant.
    pub(crate) fn blank_keys(
        &self,
        section: Option<&YamlNode>,
        below: &str,
        is_value: impl Fn(&str) -> bool,
    ) -> Vec<Error> {
        let Some(YamlContent::Map(entries)) = section.map(|section| &section.content) else {
            return Vec::new();
        };
        let blank = entries
            .iter()
            .filter(|entry| !entry.value.absent && entry.value.is_null() && is_value(&entry.key));
        let error = |entry: &YamlEntry| {
            let key = match below {
                "" => entry.key.clone(),
                below => format!("{below}.{}", entry.key),
            };
            error_at(self, entry.at, format!("`{key}` has nothing behind it"))
                .hint("Write its value, or take the key out.")
        };
        blank.map(error).collect()
    }

    /// One error of all faults, which stand below a key.
    pub(crate) fn errors(&self, faults: Vec<YamlFault>, below: &str) -> Error {
        let place = |fault: YamlFault| {
            if below.is_empty() {
                fault
            } else {
                fault.below(below)
            }
        };
        Error::combine(
            faults
                .into_iter()
                .map(|fault| self.error(&place(fault)))
                .collect(),
        )
    }

    /// The file's values, variables replaced. What cannot be read or replaced is told in [`YamlTree::problems`] and passed over by readers.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] for what is no YAML at all.
    pub(crate) fn tree(&self) -> Result<YamlTree> {
        let (root, faults) = YamlNode::parse_lenient_partly(&self.text);
        let mut problems: Vec<Error> = faults.iter().map(|fault| self.error(fault)).collect();
        let Some(mut root) = root else {
            return Err(Error::combine(problems));
        };
        let Some(environment) = &self.environment else {
            problems.extend(self.refuse_variables(&root));
            return Ok(YamlTree { root, problems });
        };
        problems.extend(self.refuse_variables_in_keys(&root));
        let lookup = |name: &str| environment.get(name);
        root.scalars(&mut |path, node| {
            if let Some(Err(mistake)) =
                with_dollar(node).map(|text| variables::replace(text, &lookup))
            {
                let error = self.variable_error(&path.join("."), node, &mistake);
                // One cause of several is told once.
                let text = error.to_string();
                if !problems.iter().any(|known| known.to_string() == text) {
                    problems.push(error);
                }
            }
        });
        root.scalars_mut(&mut |node| {
            let Some(written) = with_dollar(node).map(str::to_owned) else {
                return;
            };
            match variables::replace(&written, &lookup) {
                Ok(text) => {
                    node.content = YamlContent::Scalar {
                        text,
                        plain: YamlScalar::Text,
                    };
                    node.written = Some(written);
                }
                Err(_) => node.absent = true,
            }
        });
        Ok(YamlTree { root, problems })
    }

    /// Refuses what looks like a variable in a file without any, and would be taken as it is
    /// written. Descriptions and examples may say what they like.
    fn refuse_variables(&self, root: &YamlNode) -> Vec<Error> {
        let mut found = Vec::new();
        let mut note = |text: &str, key: &str, at: FileLocation| {
            let Some(what) = named_variable(text) else {
                return;
            };
            let of = if key.is_empty() {
                String::new()
            } else {
                format!(" in `{key}`")
            };
            found.push(error_at(self, at, format!("{what}{of} would be taken as it is written: this file knows no variables")).hint(
                "Write the value itself; variables are read in tillhouse.yaml and pipelines/NAME/pipeline.yaml.",
            ));
        };
        root.scalars(&mut |path, node| {
            let prose = path.iter().any(|key| {
                [
                    "description",
                    "examples",
                    "businessName",
                    "authoritativeDefinitions",
                ]
                .contains(&key.as_str())
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
        found
    }

    /// Refuses variables in keys: a map's key would be taken as it is written, and lead nowhere.
    fn refuse_variables_in_keys(&self, root: &YamlNode) -> Vec<Error> {
        let mut found = Vec::new();
        keys(root, &mut |key, at| {
            if let Some(what) = named_variable(key) {
                let text = format!("{what} stands in a key, and keys know no variables");
                found.push(
                    error_at(self, at, text)
                        .hint("Write the key itself: variables are replaced in values alone."),
                );
            }
        });
        found
    }

    /// The variables that the file reads, in order, each once. Those of comments do not count.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Config`] for a reference that is none.
    pub(crate) fn variables(&self) -> Result<Vec<String>> {
        let root = YamlNode::parse_lenient(&self.text).map_err(|fault| self.error(&fault))?;
        let (mut all, mut mistakes) = (Vec::new(), Vec::new());
        root.scalars(
            &mut |path, node| match with_dollar(node).map(variables::names) {
                Some(Ok(names)) => {
                    for name in names {
                        if !all.contains(&name) {
                            all.push(name);
                        }
                    }
                }
                Some(Err(mistake)) => {
                    mistakes.push(self.variable_error(&path.join("."), node, &mistake))
                }
                None => {}
            },
        );
        if mistakes.is_empty() {
            Ok(all)
        } else {
            Err(Error::combine(mistakes))
        }
    }

    /// Variables whose values hardly are what was meant: with blanks at an end, or in quotes that belong to the value. Never the value.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let (Some(environment), Ok(YamlTree { root, .. })) = (&self.environment, self.tree())
        else {
            return Vec::new();
        };
        let mut remarks = Vec::new();
        root.scalars(&mut |path, node| {
            let names = node.written.as_deref().and_then(|written| variables::names(written).ok()).unwrap_or_default();
            for name in names {
                let Some(value) = environment.get(&name) else { continue };
                let bare = blank::trim(value);
                let quotes = |c: char| matches!(c, '"' | '\'' | '`' | '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}');
                let found = if bare.is_empty() {
                    continue;
                } else if bare.len() != value.len() {
                    "begins or ends with a blank"
                } else if bare.chars().count() > 1 && bare.starts_with(quotes) && bare.ends_with(quotes) {
                    "stands in quotes, which belong to the value"
                } else if value.contains(" #") {
                    "has ` #` in it, which belongs to the value: in .env a comment stands on a line of its own"
                } else {
                    continue;
                };
                let remark = format!("the value of {name}, which the key `{}` reads, {found}", path.join("."));
                if !remarks.contains(&remark) {
                    remarks.push(remark);
                }
            }
        });
        remarks
    }

    /// An error about what the file says, as it may be shown: with the place of the key that it names, where it has none yet, and
    /// with what was written in place of what variables hold. A variable that is set to nothing is named.
    pub(crate) fn annotate_error(&self, error: Error) -> Error {
        match error.parts() {
            [] => self.annotate_one_error(error),
            _ => error.map_parts(|part| self.annotate_one_error(part)),
        }
    }

    fn annotate_one_error(&self, error: Error) -> Error {
        let Ok(YamlTree { root, .. }) = self.tree() else {
            return error;
        };
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
        let unset = blank
            .and_then(|node| variables::names(node.written.as_deref()?).ok())
            .unwrap_or_default();
        let error = match unset.first() {
            None => error,
            Some(name) => error.hint(format!(
                "The environment variable {name} is set to nothing: give it a value in the environment or in the project's .env file."
            )),
        };
        let mut held = Vec::new();
        node.unwrap_or(&root).scalars(&mut |_, scalar| {
            if let (Some(written), Some(text)) = (&scalar.written, scalar.text()) {
                held.push(ReplacedScalar {
                    written: written.clone(),
                    text: text.to_owned(),
                });
            }
        });
        let environment = self.environment.as_ref().filter(|_| node.is_some());
        error.rewritten(&|text: &str| quoted(text, &|inner| as_written(inner, &held, environment)))
    }

    /// The error of a reference that cannot be replaced.
    fn variable_error(&self, key: &str, node: &YamlNode, mistake: &VariableError) -> Error {
        let lacks_file = self.environment.as_ref().and_then(Environment::lacks_file);
        if let (VariableErrorKind::Missing(name), Some(error)) = (&mistake.kind, lacks_file)
            && !self
                .environment
                .as_ref()
                .is_some_and(|environment| environment.is_unreadable(name))
        {
            // Nobody can tell whether it is set: that error is the cause of all of them.
            return error.clone();
        }
        let text = node.text().unwrap_or_default();
        let (line, column) = self.place(node, text, mistake.at);
        let of = match key {
            "" => String::new(),
            key => format!(" of the key `{key}`"),
        };
        let is_unreadable = |name: &str| {
            let environment = self.environment.as_ref();
            environment.is_some_and(|environment| environment.is_unreadable(name))
        };
        let error = match &mistake.kind {
            VariableErrorKind::Missing(name) if is_unreadable(name) => Error::config(format!("the value of the environment variable {name} is no text in UTF-8"))
                .hint(format!("Set {name} in UTF-8, or point to the secret: {{ file: PATH }}.")),
            VariableErrorKind::Missing(name) => Error::config(match key {
                "" => format!("the environment variable {name} is not set"),
                key => format!("the key `{key}` wants the environment variable {name}, which is not set"),
            })
            .hint(format!(
                "Set {name} in the environment or in the project's .env file, or write ${{{name}:-default}}."
            )),
            VariableErrorKind::Unclosed => {
                let error = Error::config(format!("a variable{of} is not closed: `${{` without `}}`"));
                let line = usize::try_from(node.defined.line()).ok().and_then(|n| self.text.lines().nth(n.checked_sub(1)?));
                let behind = line.and_then(|line| line.split_once("${")).map(|(_, behind)| behind).unwrap_or_default();
                match behind.contains(" #") && behind.contains('}') {
                    true => error.hint("` #` begins a comment: put the value in quotes, key: \"${NAME:-a #b}\"."),
                    false => error.hint("Write ${NAME} or ${NAME:-default}; for a dollar sign before a brace write $$."),
                }
            }
            VariableErrorKind::Name => Error::config(format!("what stands in `${{...}}`{of} is no variable")).hint(
                "Write ${NAME} or ${NAME:-default}; a name has letters, digits and '_', no digit first. For a dollar sign before a brace \
                 write $$.",
            ),
            VariableErrorKind::Deep => Error::config(format!("a variable{of} has defaults within defaults, too many")),
        };
        error.at("file", format!("{}:{line}:{column}", self.path.display()))
    }

    /// Line and column of a reference in a value, or of the value where it is not written as it is read.
    fn place(&self, node: &YamlNode, text: &str, at: usize) -> (usize, usize) {
        let number = |n: u64| usize::try_from(n).unwrap_or(0);
        let (line, column) = (number(node.defined.line()), number(node.defined.column()));
        let before = text.get(..at).unwrap_or_default().matches("${").count();
        let lines: usize = self
            .text
            .split_inclusive('\n')
            .take(line.saturating_sub(1))
            .map(str::len)
            .sum();
        let rest = self.text.get(lines..).unwrap_or_default();
        let start = rest
            .char_indices()
            .nth(column.saturating_sub(1))
            .map_or(lines, |(i, _)| lines + i);
        let rest = self.text.get(start..).unwrap_or_default();
        let Some((found, _)) = rest.match_indices("${").nth(before) else {
            return (line, column);
        };
        let up_to = self.text.get(..start + found).unwrap_or_default();
        let line_start = up_to.rfind('\n').map_or(0, |i| i + 1);
        let column = up_to.get(line_start..).unwrap_or_default().chars().count() + 1;
        (up_to.matches('\n').count() + 1, column)
    }

    /// Error for a fault of the file's YAML, or of a value in it.
    fn error(&self, fault: &YamlFault) -> Error {
        let error = Error::config(fault.message("the file")).at("file", self.place_of(fault.at));
        let is_nothing = matches!(&fault.what, Wrong::Wrong { found, .. } if found == "nothing");
        if is_nothing && self.line_of(fault.at).contains(": #") {
            return error
                .hint("`#` begins a comment here: put the value in quotes, key: \"#value\".");
        }
        match key_examples::hint(fault).or_else(|| fault.hint()) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    fn line_of(&self, at: FileLocation) -> &str {
        let line = usize::try_from(at.line())
            .ok()
            .and_then(|line| line.checked_sub(1));
        line.and_then(|line| self.text.lines().nth(line))
            .unwrap_or_default()
    }

    fn place_of(&self, at: FileLocation) -> String {
        let path = self.path.display();
        if at == FileLocation::UNKNOWN {
            path.to_string()
        } else {
            format!("{path}:{}:{}", at.line(), at.column())
        }
    }
}

/// Values of a file.
pub(crate) struct YamlTree {
    /// The whole.
    pub(crate) root: YamlNode,
    /// Problems with its keys, tags and variables.
    pub(crate) problems: Vec<Error>,
}

/// A scalar whose variables are replaced.
struct ReplacedScalar {
    written: String,
    text: String,
}

/// The text of a scalar that may hold a variable.
fn with_dollar(node: &YamlNode) -> Option<&str> {
    node.text().filter(|text| text.contains('$'))
}

/// The first variable of a text as a message names it, or its doubled dollar sign; `None` where it has neither.
fn named_variable(text: &str) -> Option<String> {
    let names = variables::names(text).unwrap_or_default();
    match names.first() {
        Some(name) => Some(format!("`${{{name}}}`")),
        None => text.contains("$$").then(|| "`$$`".to_owned()),
    }
}

/// Calls `each` with every key and its place.
fn keys(node: &YamlNode, each: &mut dyn FnMut(&str, FileLocation)) {
    match &node.content {
        YamlContent::Scalar { .. } => {}
        YamlContent::List(elements) => elements.iter().for_each(|element| keys(element, each)),
        YamlContent::Map(entries) => {
            for entry in entries {
                each(&entry.key, entry.at);
                keys(&entry.value, each);
            }
        }
    }
}

/// `:12:7` as a place.
fn place_in(text: &str) -> Option<FileLocation> {
    let (line, column) = text.strip_prefix(':')?.split_once(':')?;
    Some(FileLocation::new(line.parse().ok()?, column.parse().ok()?))
}

/// The outermost node that stands at a place.
fn node_at(node: &YamlNode, at: FileLocation) -> Option<&YamlNode> {
    if node.at == at && node.text().is_some() {
        return Some(node);
    }
    match &node.content {
        YamlContent::Scalar { .. } => None,
        YamlContent::List(elements) => elements.iter().find_map(|element| node_at(element, at)),
        YamlContent::Map(entries) => {
            entries
                .iter()
                .find_map(|entry| match entry.at == at || entry.value.at == at {
                    true => Some(&entry.value),
                    false => node_at(&entry.value, at),
                })
        }
    }
}

/// The node of the longest key, with dots, that an error names in its message or as its place; and where that is.
fn named<'n>(root: &'n YamlNode, error: &Error) -> Option<(Option<&'n YamlNode>, FileLocation)> {
    let places = error
        .context()
        .iter()
        .filter(|(key, _)| *key == "key")
        .map(|(_, value)| value.as_str());
    let texts: Vec<&str> = std::iter::once(error.message()).chain(places).collect();
    let mut found: Option<(String, &YamlNode, FileLocation)> = None;
    walk(root, "", &mut |key, node, at| {
        let longer = found
            .as_ref()
            .is_none_or(|(known, ..)| known.len() < key.len());
        if longer
            && texts
                .iter()
                .any(|text| names(text, key) || leads_to(text, key))
        {
            found = Some((key.to_owned(), node, at));
        }
    });
    found.map(|(_, node, at)| (Some(node), at))
}

/// Calls `each` with every key with dots, its value and where that stands.
fn walk<'n>(
    node: &'n YamlNode,
    above: &str,
    each: &mut dyn FnMut(&str, &'n YamlNode, FileLocation),
) {
    if let YamlContent::Map(entries) = &node.content {
        for entry in entries {
            let key = if above.is_empty() {
                entry.key.clone()
            } else {
                format!("{above}.{}", entry.key)
            };
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
        let goes_on =
            next.is_some_and(|c| part(c) && !(c == '.' && then.is_none_or(char::is_whitespace)));
        !before.is_some_and(part) && !goes_on
    })
}

/// True if an error names a key with dots, in its message or as its place.
pub(crate) fn is_about(error: &Error, key: &str) -> bool {
    let places = error
        .context()
        .iter()
        .filter(|(kind, _)| *kind == "key")
        .map(|(_, value)| value.as_str());
    std::iter::once(error.message())
        .chain(places)
        .any(|text| names(text, key) || leads_to(text, key))
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

/// Text that a message quotes, as it was written: the whole of a value that variables stand in,
/// one of several that are listed in it, or, where the value is known that the message is about
/// (`environment`), a text that holds what a variable holds.
fn as_written(inner: &str, held: &[ReplacedScalar], environment: Option<&Environment>) -> String {
    let escaped = |text: &str| {
        let debug = format!("{text:?}");
        debug
            .get(1..debug.len().saturating_sub(1))
            .unwrap_or_default()
            .to_owned()
    };
    for ReplacedScalar { written, text } in held {
        let trimmed = text.trim();
        let whole = [text.as_str(), trimmed, trimmed.to_lowercase().as_str()].map(&escaped);
        let is_part =
            text.contains(',') && text.split(',').any(|part| escaped(part.trim()) == inner);
        if !trimmed.is_empty() && (whole.iter().any(|form| form == inner) || is_part) {
            return written.clone();
        }
    }
    let Some(environment) = environment else {
        return inner.to_owned();
    };
    let mut known: Vec<(String, String)> = Vec::new();
    for name in held
        .iter()
        .flat_map(|held| variables::names(&held.written).unwrap_or_default())
    {
        if let Some(value) = environment
            .get(&name)
            .map(str::trim)
            .filter(|value| !value.is_empty())
        {
            known.push((escaped(value), format!("${{{name}}}")));
        }
    }
    // A value that holds another one comes first.
    known.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    known.iter().fold(inner.to_owned(), |text, (value, name)| {
        text.replace(value, name)
    })
}

/// An error about a value that is valid YAML but means nothing.
pub(crate) fn error_at(
    file: &YamlFile,
    location: FileLocation,
    message: impl Into<String>,
) -> Error {
    Error::config(message).at("file", file.place_of(location))
}

#[cfg(test)]
#[path = "yaml_tests.rs"]
mod tests;
