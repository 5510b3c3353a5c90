//! Display of an error: one paragraph, and what to do now.
//!
//! Invariant: what a server or a file says in it cannot order the terminal; exit code 2 for usage and configuration, 1 for everything
//! else that failed.

use crate::output::terminal_escape::{escape_controls, escape_controls_in_lines};
use std::io::Write;
use std::process::ExitCode;
use tillhouse_model::{Error, ErrorKind};

/// Done in part: some slices failed, the next run takes them up.
pub(crate) const PARTIAL: u8 = 3;

/// Writes an error to standard error and gives the exit code for it.
pub(crate) fn report(error: &Error) -> ExitCode {
    let mut err = std::io::stderr().lock();
    // Errors that were found together each say what to do.
    let each = if error.parts().is_empty() {
        std::slice::from_ref(error)
    } else {
        error.parts()
    };
    let each = each_once(each);
    for (at, error) in each.iter().enumerate() {
        // Nothing can be done where standard error itself is gone.
        let _ = writeln!(err, "error: {}", escape_controls(&error.to_string()));
        let hint = hint_of(error);
        // Of several to whom the same is said it is said once, after the last of them.
        let is_said_again = each.get(at + 1).is_some_and(|next| hint_of(next) == hint);
        if let Some(hint) = hint.filter(|_| !is_said_again) {
            let _ = writeln!(err, "  {}", escape_controls_in_lines(hint));
        }
    }
    ExitCode::from(code(error.kind()))
}

fn hint_of(error: &Error) -> Option<&str> {
    let hint = error.hint_text().or_else(|| disk_hint(error));
    hint.or_else(|| general_hint(error.kind()))
}

/// An error without its pipeline, and the pipelines that say it.
struct SharedError {
    /// As the first of them says it.
    first: Error,
    bare: Error,
    pipelines: Vec<String>,
}

/// The errors, those of several pipelines that say the same as one that names the pipelines.
fn each_once(errors: &[Error]) -> Vec<Error> {
    let mut each: Vec<SharedError> = Vec::new();
    for error in errors {
        let (bare, pipeline) = error.clone().without("pipeline");
        let is_same = |known: &&mut SharedError| {
            !known.pipelines.is_empty()
                && pipeline.is_some()
                && known.bare.to_string() == bare.to_string()
                && hint_of(&known.bare) == hint_of(&bare)
        };
        match each.iter_mut().find(is_same) {
            Some(known) => known.pipelines.extend(pipeline),
            None => each.push(SharedError {
                first: error.clone(),
                bare,
                pipelines: pipeline.into_iter().collect(),
            }),
        }
    }
    let named = |error: SharedError| match error.pipelines.len() {
        0 | 1 => error.first,
        _ => error.bare.at("pipelines", error.pipelines.join(", ")),
    };
    each.into_iter().map(named).collect()
}

fn code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Config => 2,
        _ => 1,
    }
}

/// Advice where the disk itself refuses, as the system words it.
fn disk_hint(error: &Error) -> Option<&'static str> {
    if error.kind() != ErrorKind::Storage {
        return None;
    }
    let text = error.to_string();
    let says = |words: &str| text.contains(words);
    if says("File too large (os error") {
        return Some(
            "The process may not write files that large (`ulimit -f`): raise the limit. What was published stays, and the same command goes on then.",
        );
    }
    if says("No space left on device") || says("Disk quota exceeded") {
        return Some(
            "The warehouse's disk is full: make room, or move the warehouse to another one. What was published stays, and the same command goes on then.",
        );
    }
    if says("Read-only file system") {
        return Some(
            "The warehouse's file system is mounted read-only: mount it so that it can be written. `sql`, `stats` and `status` work as it is.",
        );
    }
    says("Permission denied (os error").then_some(
        "Let the user who runs Tillhouse read and write the warehouse's files (chown, chmod), or name another place as warehouse.url in tillhouse.yaml.",
    )
}

fn general_hint(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Unreachable => {
            Some("Check the address and the network; `tillhouse check` tries every connection.")
        }
        ErrorKind::Busy => Some("The provider asks for patience; run the command again later."),
        ErrorKind::Storage => Some(
            "`tillhouse check` tries the warehouse: that it is there, may be written, and is whole.",
        ),
        ErrorKind::Internal => {
            Some("This is a bug in Tillhouse; please report it with the output of -vv.")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_several_pipelines_say_is_said_once_with_their_names() {
        let full = |pipeline: &str| {
            let refused = std::io::Error::other("No space left on device (os error 28)");
            let error = Error::new(ErrorKind::Storage, "a data file could not be written");
            error.at("pipeline", pipeline).because(refused)
        };
        let other = Error::config("x is wrong").at("pipeline", "b");
        let each = each_once(&[full("a"), other, full("b"), Error::config("y")]);
        let texts: Vec<String> = each.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "a data file could not be written (pipelines a, b): No space left on device (os error 28)",
                "x is wrong (pipeline b)",
                "y"
            ]
        );
        assert!(hint_of(&each[0]).is_some_and(|hint| hint.contains("is full")));
    }

    #[test]
    fn a_disk_that_refuses_is_told_with_what_to_do() {
        let error = |kind, words: &str| {
            let refused = std::io::Error::other(format!("{words} (os error 1)"));
            Error::new(kind, "a data file could not be written").because(refused)
        };
        for (words, hint) in [
            ("No space left on device", "is full"),
            ("Disk quota exceeded", "is full"),
            ("Read-only file system", "mounted read-only"),
            ("Permission denied", "chown"),
        ] {
            let told = disk_hint(&error(ErrorKind::Storage, words));
            assert!(
                told.is_some_and(|told| told.contains(hint)),
                "{words}: {told:?}"
            );
            assert_eq!(disk_hint(&error(ErrorKind::Query, words)), None);
        }
        assert_eq!(
            disk_hint(&error(ErrorKind::Storage, "Input/output error")),
            None
        );
    }
}
