//! The one error type of all crates: what failed, where, whether trying again can help, and what to do now.
//!
//! Invariant: `Display` is one line and never holds a secret or a value of a record; `Debug` is the whole story.

use std::fmt;
use std::sync::Arc;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Kind of a failure. The command line derives its exit code from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The user's configuration, arguments or contract are wrong: exit code 2.
    Config,
    /// A server or store could not be reached, or did not answer in time.
    Unreachable,
    /// Credentials were refused.
    Unauthorized,
    /// A server answered something its documentation does not allow.
    Protocol,
    /// A server asked us to slow down, or is failing for now.
    Busy,
    /// Data contradicts itself or its contract.
    Data,
    /// Another writer was faster; nothing of ours was written.
    Conflict,
    /// The warehouse's storage failed.
    Storage,
    /// A query could not be planned or run.
    Query,
    /// The user, or a signal, asked to stop.
    Interrupted,
    /// A bug of ours.
    Internal,
}

impl ErrorKind {
    /// The stable lower-case name, as it appears in logs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Unreachable => "unreachable",
            Self::Unauthorized => "unauthorized",
            Self::Protocol => "protocol",
            Self::Busy => "busy",
            Self::Data => "data",
            Self::Conflict => "conflict",
            Self::Storage => "storage",
            Self::Query => "query",
            Self::Interrupted => "interrupted",
            Self::Internal => "internal",
        }
    }
}

/// A failure: subject, place, cause, whether it may be retried, and a hint. Clones share the error
/// underneath.
#[derive(Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    hint: Option<String>,
    retryable: bool,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
    /// Errors that were found together.
    parts: Vec<Error>,
}

impl Error {
    /// A new error. `message` says what failed, without a trailing full stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retryable = matches!(
            kind,
            ErrorKind::Unreachable | ErrorKind::Busy | ErrorKind::Conflict
        );
        Self {
            kind,
            message: message.into(),
            context: Vec::new(),
            hint: None,
            retryable,
            source: None,
            parts: Vec::new(),
        }
    }

    /// Shorthand for [`ErrorKind::Config`].
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// Shorthand for [`ErrorKind::Data`].
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    /// Shorthand for [`ErrorKind::Protocol`].
    pub fn protocol(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Protocol, message)
    }

    /// Shorthand for [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Errors that were found together, as one: the one that is there, or all of them, each with its own places and hint. It is of
    /// [`ErrorKind::Config`] where one of them is, else of the first one's kind.
    ///
    /// ```
    /// use tillhouse_model::Error;
    /// let both = Error::combine(vec![Error::config("a is missing"), Error::config("b is empty").at("file", "x:2:1")]);
    /// assert_eq!(both.to_string(), "2 problems: a is missing; b is empty (file x:2:1)");
    /// assert_eq!(both.parts().len(), 2);
    /// ```
    pub fn combine(errors: Vec<Self>) -> Self {
        let mut parts: Vec<Self> = Vec::new();
        for mut error in errors {
            match error.parts.is_empty() {
                true => parts.push(error),
                false => parts.append(&mut error.parts),
            }
        }
        if parts.len() == 1
            && let Some(one) = parts.pop()
        {
            return one;
        }
        let config = parts.iter().any(|part| part.kind == ErrorKind::Config);
        let kind = match parts.first() {
            Some(first) if !config => first.kind,
            _ => ErrorKind::Config,
        };
        let retryable = !parts.is_empty() && parts.iter().all(|part| part.retryable);
        Self {
            parts,
            retryable,
            ..Self::new(kind, "")
        }
        .counted()
    }

    fn counted(mut self) -> Self {
        self.message = format!("{} problems", self.parts.len());
        self
    }

    /// The error with each of those that were found together changed.
    #[must_use]
    pub fn map_parts(mut self, change: impl Fn(Self) -> Self) -> Self {
        self.parts = self.parts.into_iter().map(change).collect();
        self
    }

    /// Says where, in place of what was said of that kind before.
    #[must_use]
    pub fn replacing(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.context.retain(|(known, _)| *known != key);
        self.at(key, value)
    }

    /// The error without what is said of that kind of place, and that.
    #[must_use]
    pub fn without(mut self, key: &str) -> (Self, Option<String>) {
        let at = self.context.iter().position(|(known, _)| *known == key);
        let value = at.map(|at| self.context.remove(at).1);
        (self, value)
    }

    /// The errors that were found together; none where it is one error.
    pub fn parts(&self) -> &[Self] {
        &self.parts
    }

    /// The errors that were found together, by themselves; none where it is one error.
    pub fn into_parts(self) -> Vec<Self> {
        self.parts
    }

    /// Says where: `("resource", "transactions")`, `("slice", "...")`, `("file", "...")`. Never a secret.
    #[must_use]
    pub fn at(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.context.push((key, value.into()));
        self
    }

    /// Says what the user can do now, as a full sentence.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Overrides whether trying the same thing again can help.
    #[must_use]
    pub fn retryable(mut self, yes: bool) -> Self {
        self.retryable = yes;
        self
    }

    /// Keeps the error underneath. Its text is shown, so it must not hold secrets.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(Arc::from(source.into()));
        self
    }

    /// The error with `rewrite` applied to whatever it says, its places left out: to take out what must not be shown.
    #[must_use]
    pub fn rewritten(mut self, rewrite: &dyn Fn(&str) -> String) -> Self {
        self.message = rewrite(&self.message);
        self.parts = self
            .parts
            .into_iter()
            .map(|part| part.rewritten(rewrite))
            .collect();
        self.hint = self.hint.map(|hint| rewrite(&hint));
        let mut causes = Vec::new();
        let mut cause = self.source.as_deref().map(|e| e as &dyn std::error::Error);
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        if causes.iter().any(|text| rewrite(text) != *text) {
            let text: Box<dyn std::error::Error + Send + Sync> = rewrite(&causes.join(": ")).into();
            self.source = Some(Arc::from(text));
        }
        self
    }

    /// Kind of this failure.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Message without the places.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The places, in the order they were added.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.context
    }

    /// Hint on what to do now, if there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// True if a retry can help.
    pub fn is_retryable(&self) -> bool {
        self.retryable
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.context.is_empty() {
            f.write_str(" (")?;
            for (i, (key, value)) in self.context.iter().enumerate() {
                if i > 0 {
                    f.write_str(", ")?;
                }
                write!(f, "{key} {value}")?;
            }
            f.write_str(")")?;
        }
        for (i, part) in self.parts.iter().enumerate() {
            write!(f, "{} {part}", if i == 0 { ":" } else { ";" })?;
        }
        let mut cause = self.source.as_deref().map(|e| e as &dyn std::error::Error);
        let mut told = String::new();
        while let Some(error) = cause {
            let whole = in_one_line(&error.to_string());
            let text = unwrapped(&whole);
            // Libraries repeat what their causes say.
            if !text.is_empty() && !told.contains(text) {
                match missing_object(text) {
                    Some(path) => write!(f, ": {path} is not there")?,
                    None => write!(f, ": {text}")?,
                }
                told = whole;
            }
            cause = error.source();
        }
        Ok(())
    }
}

/// A foreign error's text without the names that libraries put before what another of them says.
fn unwrapped(text: &str) -> &str {
    const WRAPPERS: [&str; 4] = [
        "External: ",
        "External error: ",
        "Arrow error: ",
        "Parquet error: External: ",
    ];
    let mut text = text;
    loop {
        let of_store = text
            .strip_prefix("Generic ")
            .and_then(|rest| rest.split_once(" error: "))
            .filter(|(name, _)| !name.contains(char::is_whitespace))
            .map(|(_, rest)| rest);
        let wrapped = WRAPPERS
            .iter()
            .find_map(|wrapper| text.strip_prefix(wrapper));
        match of_store.or(wrapped) {
            Some(inner) => text = inner,
            None => return text,
        }
    }
}

/// The path of an object that a store does not have, where that is all that it says.
fn missing_object(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("Object at location ")?;
    rest.split_once(" not found: ").map(|(path, _)| path)
}

/// A foreign error's text in one line, without the backtrace that some libraries put behind it.
fn in_one_line(text: &str) -> String {
    let is_frame = |line: &str| {
        let line = line.trim_start();
        let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
        digits.len() < line.len() && digits.starts_with(": ")
    };
    let is_end = |line: &&str| {
        let header = line.trim().trim_end_matches(':').to_ascii_lowercase();
        !(is_frame(line) || header == "backtrace" || header == "stack backtrace")
    };
    // The text before the first frame is the message.
    text.lines()
        .take_while(is_end)
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} error: {}", self.kind.as_str(), self.message)?;
        for (key, value) in &self.context {
            writeln!(f, "  {key}: {value}")?;
        }
        let mut cause = self.source.as_deref().map(|e| e as &dyn std::error::Error);
        while let Some(error) = cause {
            writeln!(f, "  because: {error}")?;
            cause = error.source();
        }
        if let Some(hint) = &self.hint {
            writeln!(f, "  hint: {hint}")?;
        }
        for part in &self.parts {
            write!(f, "{part:?}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|e| e as &(dyn std::error::Error + 'static))
    }
}

/// Adds places and kinds to foreign errors.
///
/// ```
/// use tillhouse_model::{ErrorKind, ResultExt};
///
/// let error = "12x".parse::<u32>().or_error(ErrorKind::Data, "no number").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Data);
/// ```
pub trait ResultExt<T> {
    /// Turns a foreign error into ours.
    fn or_error(self, kind: ErrorKind, message: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<Box<dyn std::error::Error + Send + Sync>>> ResultExt<T>
    for std::result::Result<T, E>
{
    fn or_error(self, kind: ErrorKind, message: impl Into<String>) -> Result<T> {
        self.map_err(|e| Error::new(kind, message).because(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_one_line_and_debug_tells_all() {
        let error = Error::new(ErrorKind::Unreachable, "cannot read a page")
            .at("resource", "transactions")
            .hint("Check base_url.")
            .because(std::io::Error::other("connection\nreset"));
        assert_eq!(
            error.to_string(),
            "cannot read a page (resource transactions): connection reset"
        );
        let traced = std::io::Error::other(
            "bad log\n   0: kernel::Error::from\n             at ./lib.rs:1\n   1: main\n",
        );
        assert_eq!(Error::data("no").because(traced).to_string(), "no: bad log");
        #[derive(Debug)]
        struct NestedTestError(std::io::Error);
        impl std::fmt::Display for NestedTestError {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "outer: {}", self.0)
            }
        }
        impl std::error::Error for NestedTestError {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let twice = Error::data("no").because(NestedTestError(std::io::Error::other("inner")));
        assert_eq!(twice.to_string(), "no: outer: inner");
        assert!(error.is_retryable());
        let told = |text: &str| {
            let because = std::io::Error::other(text.to_owned());
            Error::data("no").because(because).to_string()
        };
        assert_eq!(
            told("Generic LogGuard error: the file x is cut"),
            "no: the file x is cut"
        );
        assert_eq!(
            told(
                "External: Generic S3 error: External: Object at location a/b.parquet not found: No such file (os error 2)"
            ),
            "no: a/b.parquet is not there"
        );
        assert_eq!(told("Generic error: x"), "no: Generic error: x");
        let (bare, place) = Error::data("no")
            .at("file", "a")
            .at("pipeline", "b")
            .without("pipeline");
        assert_eq!(
            (bare.to_string().as_str(), place.as_deref()),
            ("no (file a)", Some("b"))
        );
        let without = |text: &str| text.replace("reset", "...");
        let rewritten = Error::config("a")
            .hint("reset it")
            .because(std::io::Error::other("reset"))
            .rewritten(&without);
        assert_eq!(
            (rewritten.to_string().as_str(), rewritten.hint_text()),
            ("a: ...", Some("... it"))
        );
        let clone = error.clone();
        assert_eq!(clone.to_string(), error.to_string());
        assert!(
            std::error::Error::source(&clone).is_some_and(|e| e.is::<std::io::Error>()),
            "the cause keeps its type"
        );
        let debug = format!("{error:?}");
        assert!(
            debug.contains("unreachable error") && debug.contains("hint: Check base_url."),
            "{debug}"
        );
    }
}
