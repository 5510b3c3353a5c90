//! Variables of the environment that say how the program behaves, and where its own files go.
//!
//! Invariant: a variable that is set to nothing counts as not set, whatever it is; so does one that is to name a folder and names none from the root on, as the XDG Base
//! Directory Specification has it. Nothing is ever written into the current folder for want of another.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A variable that is set to something.
pub(crate) fn set(name: &str) -> Option<OsString> {
    something(std::env::var_os(name))
}

/// The folder for what the program remembers, `$XDG_STATE_HOME`, else `~/.local/state`; `None` where neither is known.
pub(crate) fn state_folder() -> Option<PathBuf> {
    state_folder_of(|name| std::env::var_os(name))
}

fn state_folder_of(lookup: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name: &str| {
        something(lookup(name))
            .map(PathBuf::from)
            .filter(|folder| folder.is_absolute())
    };
    folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local").join("state")))
}

/// The path that somebody typed where no shell reads along: `~/` at its beginning is the home folder, where that is known.
pub(crate) fn from_home(path: &str) -> PathBuf {
    from_home_of(path, something(std::env::var_os("HOME")).map(PathBuf::from))
}

fn from_home_of(path: &str, home: Option<PathBuf>) -> PathBuf {
    match (path.strip_prefix("~/"), home) {
        (Some(below), Some(home)) => home.join(below),
        _ => Path::new(path).to_path_buf(),
    }
}

fn something(value: Option<OsString>) -> Option<OsString> {
    value.filter(|value| !value.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_folder_is_named_from_the_root_on_or_not_at_all() {
        let of = |state: Option<&str>, home: Option<&str>| {
            let lookup = |name: &str| if name == "HOME" { home } else { state }.map(OsString::from);
            state_folder_of(lookup).map(|folder| folder.display().to_string())
        };
        let below_home = Some("/home/me/.local/state".to_owned());
        for nothing in [
            None,
            Some(""),
            Some("state"),
            Some("./state"),
            Some("~/state"),
            Some(" "),
        ] {
            assert_eq!(of(nothing, Some("/home/me")), below_home, "{nothing:?}");
            assert_eq!(of(nothing, None), None);
            assert_eq!(of(nothing, Some("")), None);
            assert_eq!(of(nothing, Some("me")), None);
        }
        assert_eq!(of(Some("/state"), Some("")), Some("/state".to_owned()));
        assert_eq!(something(Some(OsString::new())), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_tilde_is_the_home_folder_at_the_beginning_alone() {
        for (path, home, expected) in [
            ("~/q.sql", Some("/home/me"), "/home/me/q.sql"),
            ("~/q.sql", None, "~/q.sql"),
            ("a/~/q.sql", Some("/home/me"), "a/~/q.sql"),
            ("~q.sql", Some("/home/me"), "~q.sql"),
            ("/q.sql", Some("/home/me"), "/q.sql"),
        ] {
            assert_eq!(
                from_home_of(path, home.map(PathBuf::from)),
                Path::new(expected),
                "{path}"
            );
        }
    }
}
