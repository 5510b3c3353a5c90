//! Files that the shell opened for us, by the number that a path names: `/dev/fd/3`, `/dev/stdout`, `/proc/self/fd/3`, or a link to one of them.
//!
//! Invariant: what is written goes where the shell's own next line would: behind what is there, and nothing is cut off or replaced.
//!
//! Rejected: a copy of every descriptor. Only those of standard output and standard error can be had without unsafe code; any other is opened anew, at the place
//! where it stands. The shell's place stays where it was, as with any program that opens such a path.

use std::fs::File;
use std::io;
use std::path::Path;

#[cfg(unix)]
pub(super) use unix::opened_by_shell;

/// True if a path names standard output: `-`, or its number.
pub(crate) fn is_standard_output(file: &Path) -> bool {
    file == Path::new("-") || opened_number(file) == Some(1)
}

#[cfg(unix)]
fn opened_number(file: &Path) -> Option<u32> {
    unix::number_of(file)
}

#[cfg(not(unix))]
fn opened_number(_: &Path) -> Option<u32> {
    None
}

#[cfg(not(unix))]
pub(super) fn opened_by_shell(_: &Path) -> io::Result<Option<File>> {
    Ok(None)
}

#[cfg(unix)]
mod unix {
    use super::{File, Path, io};
    use crate::output::output_file::MOST_LINKS;
    use std::fs::{self, OpenOptions};
    use std::io::{ErrorKind, Seek, SeekFrom};
    use std::os::fd::AsFd;

    /// The bits of a descriptor's flags that say what it is open for, and reading alone among them, as Linux has them.
    const ACCESS: u32 = 0o3;
    const READ_ONLY: u32 = 0o0;
    /// Appending: each write goes to the end.
    const APPEND: u32 = 0o2000;

    /// The open file that a path names by its number; `None` for any other path.
    pub(in crate::output) fn opened_by_shell(file: &Path) -> io::Result<Option<File>> {
        let copied = match number_of(file) {
            None => return Ok(None),
            Some(1) => io::stdout().as_fd().try_clone_to_owned(),
            Some(2) => io::stderr().as_fd().try_clone_to_owned(),
            Some(other) => return opened_anew(other).map(Some),
        };
        copied.map(|copied| Some(File::from(copied)))
    }

    /// The number that a path, or what it leads to, names.
    pub(super) fn number_of(file: &Path) -> Option<u32> {
        let mut at = file.to_path_buf();
        for _ in 0..MOST_LINKS {
            if let Some(number) = own_number(&at) {
                return Some(number);
            }
            let target = fs::read_link(&at).ok()?;
            at = at.parent().unwrap_or(Path::new("")).join(target);
        }
        None
    }

    /// The number that is the name of a file in the folder of our open files.
    fn own_number(path: &Path) -> Option<u32> {
        let number = path.file_name()?.to_str()?.parse::<u32>().ok()?;
        let folder = path.parent()?;
        if folder == Path::new("/dev/fd") {
            return Some(number);
        }
        // `/proc/self` is a link to the folder of our id, `/proc/thread-self` to one within it.
        let folder = fs::canonicalize(folder).ok()?;
        let own = Path::new("/proc").join(std::process::id().to_string());
        (folder.starts_with(own) && folder.ends_with("fd")).then_some(number)
    }

    fn opened_anew(number: u32) -> io::Result<File> {
        // Systems without this folder give a copy of the descriptor when it is opened.
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
        let field = |name: &str| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.map(str::trim)
        };
        let flags = field("flags:").and_then(|flags| u32::from_str_radix(flags, 8).ok());
        if flags.is_some_and(|flags| flags & ACCESS == READ_ONLY) {
            let message = "it is open for reading alone";
            return Err(io::Error::new(ErrorKind::PermissionDenied, message));
        }
        let appends = flags.is_some_and(|flags| flags & APPEND != 0);
        let mut file = OpenOptions::new()
            .write(true)
            .append(appends)
            .open(format!("/dev/fd/{number}"))?;
        let place = field("pos:").and_then(|place| place.parse::<u64>().ok());
        if let Some(place) = place
            && !appends
            && file.metadata()?.is_file()
        {
            file.seek(SeekFrom::Start(place))?;
        }
        Ok(file)
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::output::output_file::write;
    use std::fs;
    use std::io::{ErrorKind, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_the_shell_opened_is_written_to_where_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let link = folder.path().join("link");
        for (appends, expected) in [(true, "before\nhead, text"), (false, "head, text")] {
            for name in [
                "/dev/fd/",
                "/proc/self/fd/",
                "/proc/thread-self/fd/",
                "/dev/./fd/",
                "a link",
            ] {
                fs::write(&path, if appends { "before\n" } else { "" }).unwrap();
                let mut opened = fs::OpenOptions::new()
                    .write(true)
                    .append(appends)
                    .open(&path)
                    .unwrap();
                opened.write_all(b"head, ").unwrap();
                let number = opened.as_raw_fd();
                let named = if name == "a link" {
                    let _ = fs::remove_file(&link);
                    std::os::unix::fs::symlink(format!("/dev/fd/{number}"), &link).unwrap();
                    link.clone()
                } else {
                    format!("{name}{number}").into()
                };
                write(&named, "text").unwrap();
                assert_eq!(fs::read_to_string(&path).unwrap(), expected, "{name}");
                assert_eq!(
                    fs::metadata(&path).unwrap().ino(),
                    opened.metadata().unwrap().ino(),
                    "{name}"
                );
            }
        }
        let read = File::open(&path).unwrap();
        let refused = write(format!("/dev/fd/{}", read.as_raw_fd()).as_ref(), "over it");
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert!(fs::read_to_string(&path).unwrap().starts_with("head, "));
        assert_eq!(
            write(Path::new("/dev/fd/999999"), "x").unwrap_err().kind(),
            ErrorKind::NotFound
        );
    }

    #[test]
    fn a_number_for_a_name_elsewhere_is_any_file() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("fd")).unwrap();
        let path = folder.path().join("fd/1");
        write(&path, "text").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
    }
}
