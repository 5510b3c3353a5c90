//! Pipes, sockets and devices that stand where a file should be.
//!
//! Invariant: nothing is opened. Whoever opens a pipe waits for ever for somebody who writes into it, and nothing ends that wait.

use std::path::Path;

/// Kind of what stands at a path, or at the end of its links, where that is neither a regular file nor a folder; `None` too where nothing is there, or
/// that cannot be told.
///
/// ```
/// use tillhouse_lake::special_file;
/// assert_eq!(special_file(std::path::Path::new("Cargo.toml")), None);
/// ```
pub fn special_file(path: &Path) -> Option<&'static str> {
    let kind = std::fs::metadata(path).ok()?.file_type();
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
}
