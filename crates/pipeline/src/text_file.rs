//! Files that people write: their text, or what keeps it from being read.
//!
//! Invariant: no part of a file is in a message; one says where it stands and what to do.

use std::io::ErrorKind as Io;
use std::path::Path;
use tillhouse_model::{Error, Result};

/// The text of a file that people write. Errors with [`tillhouse_model::ErrorKind::Config`], with the place where it is no UTF-8.
pub(crate) fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, error))?;
    match String::from_utf8(bytes) {
        // Some editors begin a file with a byte order mark, which would become part of the first name.
        Ok(text) => Ok(text
            .strip_prefix('\u{feff}')
            .map(str::to_owned)
            .unwrap_or(text)),
        Err(error) => {
            let good = error
                .as_bytes()
                .get(..error.utf8_error().valid_up_to())
                .unwrap_or_default();
            let line = good.iter().filter(|byte| **byte == b'\n').count() + 1;
            let start = good
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1);
            let column = String::from_utf8_lossy(good.get(start..).unwrap_or_default())
                .chars()
                .count()
                + 1;
            let utf16 = [&b"\xff\xfe"[..], b"\xfe\xff"]
                .iter()
                .any(|mark| error.as_bytes().starts_with(mark));
            let form = if utf16 {
                "UTF-16"
            } else {
                "something else than UTF-8"
            };
            Err(Error::config(format!("the file is written in {form}"))
                .at("file", format!("{}:{line}:{column}", path.display()))
                .hint("Save it as UTF-8 in the editor it was written with."))
        }
    }
}

/// The error of a file that cannot be read, and what to do.
fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let kind = error.kind();
    let place = path.display().to_string();
    let is_folder = kind == Io::IsADirectory || path.is_dir();
    let (text, hint) = match kind {
        _ if is_folder => (
            "a folder stands where a file is expected",
            "Rename the folder, or take it away.",
        ),
        Io::PermissionDenied => (
            "the file may not be read by the user that runs this",
            "Let this user read it (chmod, chown), or run as the user whose project it is.",
        ),
        Io::NotFound => (
            "the file is not there",
            "Write it, or mend the link that leads to it.",
        ),
        _ => {
            return Error::config("the file cannot be read")
                .at("file", place)
                .because(error);
        }
    };
    Error::config(text).at("file", place).hint(hint)
}

/// The error of a folder that cannot be listed, or looked into, and what to do.
pub(crate) fn unreadable_folder(path: &Path, error: std::io::Error) -> Error {
    let place = path.display().to_string();
    match error.kind() {
        Io::PermissionDenied => {
            Error::config("the folder may not be read by the user that runs this")
                .at("folder", place)
                .hint(
                    "Let this user read it (chmod, chown), or run as the user whose project it is.",
                )
        }
        Io::NotADirectory => Error::config("a file stands where a folder is expected")
            .at("file", place)
            .hint("Rename the file, or take it away."),
        _ => Error::config("the folder cannot be read")
            .at("folder", place)
            .because(error),
    }
}

/// True if a file is there, or nobody who runs this may know: whoever opens it says so.
pub(crate) fn may_be_file(path: &Path) -> bool {
    match std::fs::metadata(path) {
        Ok(found) => found.is_file(),
        Err(error) => error.kind() == Io::PermissionDenied,
    }
}
