//! Paths as a configuration gives them: plain, or with the place of one id.
//!
//! Invariant: wherever an id stands, a [`PathTemplate`] stays below the base URL and within its own segment.

use crate::origin::{check_path, path_segment};
use std::fmt;
use tillhouse_model::{Error, Result};

/// Path below the base URL, with or without a placeholder: `/transactions` or
/// `/transactions/{id}`.
///
/// ```
/// use tillhouse_extract::PathTemplate;
///
/// let path = PathTemplate::with_id("paths.sale", "/sales/{id}", "/sales/{id}")?;
/// assert_eq!(path.expand("7")?, "/sales/7");
/// assert_eq!(path.expand("7/8")?, "/sales/7%2F8");
/// # Ok::<(), tillhouse_model::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    before: String,
    /// Part behind the id; `None` where there is none.
    after: Option<String>,
}

impl PathTemplate {
    /// A path without a placeholder. `key` names it in the error, which is of kind [`tillhouse_model::ErrorKind::Config`].
    pub fn plain(key: &str, path: &str) -> Result<Self> {
        if path.contains(['{', '}']) {
            return Err(Error::config(format!(
                "{key} {path:?} holds a placeholder, and there is nothing to put there"
            ))
            .hint("Write a plain path."));
        }
        check_path(key, path)?;
        Ok(Self {
            before: path.to_owned(),
            after: None,
        })
    }

    /// A path with one placeholder, `{` and `}` around any word. `example` is one that is right, for the error, which is of kind
    /// [`tillhouse_model::ErrorKind::Config`].
    pub fn with_id(key: &str, path: &str, example: &str) -> Result<Self> {
        let parts = path
            .split_once('{')
            .and_then(|(before, rest)| Some((before, rest.split_once('}')?)));
        let Some((before, (_, after))) = parts.filter(|(before, (word, after))| {
            ![*before, *word, *after]
                .iter()
                .any(|part| part.contains(['{', '}']))
                && !word.contains('/')
        }) else {
            let word = example
                .split_once('{')
                .and_then(|(_, rest)| rest.split_once('}'))
                .map_or("", |(word, _)| word);
            return Err(
                Error::config(format!("{key} {path:?} does not hold {{{word}}} once"))
                    .hint(format!("Write it like {example}.")),
            );
        };
        check_path(key, &format!("{before}id{after}"))?;
        Ok(Self {
            before: before.to_owned(),
            after: Some(after.to_owned()),
        })
    }

    /// True if it has a place for an id.
    pub fn wants_id(&self) -> bool {
        self.after.is_some()
    }

    /// The path for an id, which counts only where one belongs into it.
    ///
    /// Errors with [`tillhouse_model::ErrorKind::Data`] for an id that can be no segment of a path.
    pub fn expand(&self, id: &str) -> Result<String> {
        match &self.after {
            None => Ok(self.before.clone()),
            Some(after) => Ok(format!("{}{}{after}", self.before, path_segment(id)?)),
        }
    }
}

/// As a configuration gives it, whatever its placeholder was called there.
impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.after {
            None => f.write_str(&self.before),
            Some(after) => write!(f, "{}{{id}}{after}", self.before),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tillhouse_model::ErrorKind;

    #[test]
    fn an_id_cannot_lead_elsewhere() {
        let route =
            PathTemplate::with_id("paths.one", "/product/{machine}/all", "/product/{id}").unwrap();
        assert_eq!(
            route.expand("a/../b?c").unwrap(),
            "/product/a%2F..%2Fb%3Fc/all"
        );
        assert_eq!(route.to_string(), "/product/{id}/all");
        assert!(route.wants_id() && route.expand("..").is_err());
        let plain = PathTemplate::plain("paths.all", "/product").unwrap();
        assert_eq!(
            (plain.wants_id(), plain.expand("..").unwrap().as_str()),
            (false, "/product")
        );
    }

    #[test]
    fn mistakes_name_the_key_and_show_how() {
        for path in [
            "/x",
            "/x/{id",
            "/x/id}",
            "/{id}/{id}",
            "/x/{a/b}",
            "/x}/{id}",
            "/x/{{id}}",
        ] {
            let error = PathTemplate::with_id("connection.paths.one", path, "/x/{id}").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(
                error.message().contains("connection.paths.one")
                    && error.message().contains("{id} once"),
                "{error}"
            );
            assert_eq!(error.hint_text(), Some("Write it like /x/{id}."));
        }
        for path in ["x/{id}", "/../{id}", "/{id}?x"] {
            assert!(
                PathTemplate::with_id("connection.paths.one", path, "/x/{id}").is_err(),
                "{path}"
            );
        }
        for path in ["x", "/x/{id}", "/x}", "/a?b"] {
            assert!(
                PathTemplate::plain("connection.paths.all", path).is_err(),
                "{path}"
            );
        }
    }
}
