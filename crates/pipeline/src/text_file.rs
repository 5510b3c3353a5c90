//! Files that people write: their text, or what keeps it from being read.
//!
//! Invariant: no part of a file is in a message; one says where it stands and what to do.

use std::fs::File;
use std::io::{self, ErrorKind as Io, Read};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;
use tillhouse_lake::special_file;
use tillhouse_model::{Error, Result};

/// The fault of a pipe, a socket or a device in the place of a file that people write.
pub(crate) const NO_FILE: &str = "a pipe or a device stands where a file is expected";
/// Advice there.
pub(crate) const WRITE_FILE: &str = "Take it away, and write the file.";
/// The time that a file has to be read which a command line names.
const GIVEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes that are read of a pipe or a device, which may have no end.
const MOST: u64 = 64 << 20;

/// The text of a file of the project. Errors as [`read`] does, and where a pipe, a socket or a device stands in its place: nothing would end the wait for
/// whoever writes into it.
pub(crate) fn read_regular(path: &Path) -> Result<String> {
    match special_file(path) {
        None => {
            let bytes = tillhouse_lake::read_regular(path);
            text_of(path, bytes.map_err(|error| unreadable(path, error))?)
        }
        Some(_) => Err(Error::config(NO_FILE)
            .at("file", path.display().to_string())
            .hint(WRITE_FILE)),
    }
}

/// The text of a file that a command line names. It may be a pipe that somebody writes into, as shells make them of `<(command)`.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`] where it cannot be read, is no UTF-8, gives nothing within half a minute, or has no end.
pub fn read_given(path: &Path) -> Result<String> {
    read_within(path, GIVEN_TIMEOUT)
}

/// The text of a file, which may be a pipe: that is read on a thread of its own, since nothing ends the wait for whoever writes into it.
pub(crate) fn read_within(path: &Path, timeout: Duration) -> Result<String> {
    if special_file(path).is_none() {
        return read_regular(path);
    }
    let (sender, receiver) = mpsc::channel();
    let owned = path.to_path_buf();
    let reading = std::thread::Builder::new()
        .name("pipe".to_owned())
        .spawn(move || drop(sender.send(read_stream(&owned))));
    reading.map_err(|error| Error::internal("cannot start a thread").because(error))?;
    let told = |error: Error| error.at("file", path.display().to_string());
    let Ok(bytes) = receiver.recv_timeout(timeout) else {
        let text = format!("the file gave nothing within {} s", timeout.as_secs());
        return Err(told(Error::config(text).hint(
            "A pipe has to be written to by somebody: unlock what gives it, or write a plain file.",
        )));
    };
    let bytes = bytes.map_err(|error| unreadable(path, error))?;
    if bytes.len() as u64 > MOST {
        let text = format!("the pipe or device gives more than {} MiB", MOST >> 20);
        return Err(told(Error::config(text).hint(WRITE_FILE)));
    }
    text_of(path, bytes)
}

/// What a pipe or a device gives, and no more than tells that it is too much.
fn read_stream(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The bytes of a file that people write as a text. Errors with [`tillhouse_model::ErrorKind::Config`], with the place where it is no UTF-8.
fn text_of(path: &Path, bytes: Vec<u8>) -> Result<String> {
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

/// The number of the system's error for a link that leads back to itself.
const LINK_CIRCLE: i32 = if cfg!(any(target_os = "linux", target_os = "android")) {
    40
} else {
    62
};

/// The error of a file that cannot be read, and what to do.
pub(crate) fn unreadable(path: &Path, error: std::io::Error) -> Error {
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
        _ if cfg!(unix) && error.raw_os_error() == Some(LINK_CIRCLE) => (
            "the file is a link that leads back to itself",
            "Take the link away (rm), and write the file in its place, or let a link lead to where it is.",
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
        Err(error) if error.kind() == Io::PermissionDenied => true,
        // A link that leads nowhere.
        Err(_) => std::fs::symlink_metadata(path).is_ok(),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_in_the_place_of_a_file_is_told_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, link) = (
            folder.path().join("labels.yaml"),
            folder.path().join("link"),
        );
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        for path in [pipe, link.clone(), "/dev/zero".into()] {
            let error = read_regular(&path).unwrap_err();
            assert_eq!(error.message(), NO_FILE, "{error}");
            assert!(error.to_string().contains(&path.display().to_string()));
        }
        std::fs::remove_file(&link).unwrap();
        std::fs::write(folder.path().join("file"), "text").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        assert_eq!(read_regular(&link).unwrap(), "text");
        let error = read_regular(folder.path()).unwrap_err();
        assert!(error.message().contains("a folder stands"), "{error}");
        std::os::unix::fs::symlink("circle", folder.path().join("circle")).unwrap();
        let error = read_regular(&folder.path().join("circle")).unwrap_err();
        assert!(error.message().contains("leads back to itself"), "{error}");
    }

    #[test]
    fn a_pipe_that_a_command_line_names_is_read_and_what_has_no_end_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let writer = std::thread::spawn({
            let pipe = pipe.clone();
            move || std::fs::write(pipe, "SELECT 1")
        });
        assert_eq!(read_given(&pipe).unwrap(), "SELECT 1");
        writer.join().unwrap().unwrap();
        let error = read_within(&pipe, Duration::from_millis(1)).unwrap_err();
        assert!(error.message().contains("gave nothing"), "{error}");
        // Whoever waits for a writer goes when one comes.
        std::fs::write(&pipe, "").unwrap();
        assert_eq!(read_given(Path::new("/dev/null")).unwrap(), "");
        let error = read_given(Path::new("/dev/zero")).unwrap_err();
        assert!(error.message().contains("more than 64 MiB"), "{error}");
        let error = read_given(&folder.path().join("none")).unwrap_err();
        assert_eq!(error.message(), "the file is not there");
    }
}
