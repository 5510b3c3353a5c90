//! Pipes, sockets and devices that stand where a file should be, and files that are opened so that none of these is waited for.
//!
//! Invariant: whoever opens a pipe waits for ever for somebody who writes into it, and nothing ends that wait. So what stands there is looked at before, it is opened
//! without waiting, and what was opened is looked at again: a pipe may have come in between.

use std::fs::{File, FileType};
use std::io::{self, Read};
use std::path::Path;

/// Kind of what stands at a path, or at the end of its links, where that is neither a regular file nor a folder; `None` too where nothing is there, or
/// that cannot be told.
///
/// ```
/// use tillhouse_lake::special_file;
/// assert_eq!(special_file(std::path::Path::new("Cargo.toml")), None);
/// ```
pub fn special_file(path: &Path) -> Option<&'static str> {
    special_kind(std::fs::metadata(path).ok()?.file_type())
}

fn special_kind(kind: FileType) -> Option<&'static str> {
    if kind.is_file() || kind.is_dir() {
        return None;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return Some("a pipe");
        }
        if kind.is_socket() {
            return Some("a socket");
        }
    }
    Some("a device")
}

/// Opens a regular file to read it. It takes no longer than a file does, whatever stands there.
///
/// Errors as [`File::open`] does, with [`io::ErrorKind::IsADirectory`] where a folder stands there, and where a pipe, a socket or a device does.
pub fn open_regular(path: &Path) -> io::Result<File> {
    refuse(special_file(path))?;
    let file = without_waiting(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        let text = "a folder stands where a file is expected";
        return Err(io::Error::new(io::ErrorKind::IsADirectory, text));
    }
    refuse(special_kind(kind))?;
    Ok(file)
}

/// Content of a regular file. Errors as [`open_regular`] does, and where the file cannot be read to its end.
pub fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Text of a regular file. Errors as [`read_regular`] does, and with [`io::ErrorKind::InvalidData`] where it is no UTF-8.
pub fn read_regular_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open_regular(path)?.read_to_string(&mut text)?;
    Ok(text)
}

fn refuse(kind: Option<&'static str>) -> io::Result<()> {
    match kind {
        None => Ok(()),
        Some(kind) => Err(io::Error::other(format!(
            "{kind} stands where a file is expected"
        ))),
    }
}

#[cfg(unix)]
fn without_waiting(path: &Path) -> io::Result<File> {
    use rustix::fs::{Mode, OFlags, open};
    use rustix::io::{Errno, retry_on_intr};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    match retry_on_intr(|| open(path, flags, Mode::empty())) {
        Ok(file) => Ok(File::from(file)),
        // A file server holds the file for a moment, which it does of regular files alone: a pipe is opened to be read without any wait.
        Err(Errno::WOULDBLOCK) => File::open(path),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(unix))]
fn without_waiting(path: &Path) -> io::Result<File> {
    File::open(path)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn pipes_sockets_and_devices_are_told_from_files_also_behind_links() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "").unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status();
        assert!(made.unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (name, target) in [
            ("to file", "file"),
            ("to pipe", "pipe"),
            ("to device", "/dev/null"),
            ("to nothing", "nothing"),
        ] {
            std::os::unix::fs::symlink(target, at(name)).unwrap();
        }
        for (name, kind) in [
            ("file", None),
            ("to file", None),
            ("", None),
            ("nothing", None),
            ("to nothing", None),
            ("pipe", Some("a pipe")),
            ("to pipe", Some("a pipe")),
            ("socket", Some("a socket")),
            ("to device", Some("a device")),
        ] {
            assert_eq!(special_file(&at(name)), kind, "{name}");
        }
    }

    #[test]
    fn only_a_regular_file_is_opened_and_nothing_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        std::fs::write(at("latin"), b"\xe4").unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status();
        assert!(made.unwrap().success());
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        for (name, target) in [
            ("link", "file"),
            ("zero", "/dev/zero"),
            ("circle", "circle"),
        ] {
            std::os::unix::fs::symlink(target, at(name)).unwrap();
        }
        assert_eq!(read_regular(&at("file")).unwrap(), b"text");
        assert_eq!(read_regular_text(&at("link")).unwrap(), "text");
        let of_text = read_regular_text(&at("latin")).unwrap_err();
        assert_eq!(of_text.kind(), io::ErrorKind::InvalidData);
        for (name, told) in [
            ("pipe", "a pipe stands"),
            ("socket", "a socket stands"),
            ("zero", "a device stands"),
            ("", "a folder stands"),
        ] {
            let error = open_regular(&at(name)).unwrap_err();
            assert!(error.to_string().contains(told), "{name}: {error}");
        }
        let of_nothing = open_regular(&at("nothing")).unwrap_err();
        assert_eq!(of_nothing.kind(), io::ErrorKind::NotFound);
        assert!(open_regular(&at("circle")).is_err());
        // Where a pipe comes between the look and the opening, it is opened without a wait, and told then.
        let opened = without_waiting(&at("pipe")).unwrap();
        let kind = opened.metadata().unwrap().file_type();
        assert_eq!(special_kind(kind), Some("a pipe"));
    }
}
