//! A text into the file that `--output` names.
//!
//! Invariant: what is there stays what it is. A regular file has its new content as a whole or keeps the old, and its mode; a link stays a link, and the file it leads
//! to is written; a device, a FIFO or a socket is written into. Only a regular file is ever replaced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Links that are followed before they count as a circle; Linux follows as many.
const MOST_LINKS: usize = 40;

/// Writes a text to a file.
pub(crate) fn write(file: &Path, text: &str) -> io::Result<()> {
    match fs::metadata(file) {
        Ok(found) if found.is_dir() => {
            Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder"))
        }
        Ok(found) if found.is_file() => {
            let place = fs::canonicalize(file)?;
            match replace(&place, text, Some(&found)) {
                // Where nothing can be made beside it, the file itself may still be open to us, as it is to `>`.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    overwrite(&place, text)
                }
                replaced => replaced,
            }
        }
        Ok(_) => write_to_stream(file, text),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            replace(&end_of_links(file)?, text, None)
        }
        Err(error) => Err(error),
    }
}

/// Writes beside a file, and then puts that in its place.
fn replace(file: &Path, text: &str, old: Option<&fs::Metadata>) -> io::Result<()> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    // What replaces a file that others may not read is nobody else's from its first byte on.
    let mut beside = new_file(folder, if old.is_some() { 0o600 } else { 0o666 })?;
    beside.write_all(text.as_bytes())?;
    if let Some(old) = old {
        keep_owner_and_mode(beside.as_file(), old)?;
    }
    beside.as_file().sync_all()?;
    beside.persist(file).map(drop).map_err(|error| error.error)
}

/// A file of a name that nobody has foreseen, with a mode of which the user's mask is taken off, as for any new file.
#[cfg(unix)]
fn new_file(folder: &Path, mode: u32) -> io::Result<tempfile::NamedTempFile> {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .prefix(".tillhouse-")
        .permissions(fs::Permissions::from_mode(mode))
        .tempfile_in(folder)
}

#[cfg(not(unix))]
fn new_file(folder: &Path, _mode: u32) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new()
        .prefix(".tillhouse-")
        .tempfile_in(folder)
}

#[cfg(unix)]
fn keep_owner_and_mode(file: &File, old: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        // Only root may give a file away; for others it becomes theirs, as an editor leaves it.
        let _ = fchown(file, Some(old.uid()), Some(old.gid()));
    }
    file.set_permissions(old.permissions())
}

#[cfg(not(unix))]
fn keep_owner_and_mode(file: &File, old: &fs::Metadata) -> io::Result<()> {
    file.set_permissions(old.permissions())
}

fn overwrite(file: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(file)?
        .write_all(text.as_bytes())
}

/// Writes into what is no file. A reader that has had enough (`head` at the other end of a FIFO) is no failure, as it is none for standard output.
fn write_to_stream(file: &Path, text: &str) -> io::Result<()> {
    match OpenOptions::new()
        .write(true)
        .open(file)?
        .write_all(text.as_bytes())
    {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        poured => poured,
    }
}

/// The target of a link, though nothing is there yet; a path that is no link leads to itself.
fn end_of_links(file: &Path) -> io::Result<PathBuf> {
    let mut at = file.to_path_buf();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&at) {
            Ok(target) => at = at.parent().unwrap_or(Path::new("")).join(target),
            Err(_) => return Ok(at),
        }
    }
    Err(io::Error::other("its links lead in a circle"))
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};

    fn mode(file: &Path) -> u32 {
        fs::metadata(file).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_file_is_replaced_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("page.html");
        write(&file, "first").unwrap();
        // Held open, so that its number is not given to the file that takes its place.
        let held = fs::File::open(&file).unwrap();
        let fresh = mode(&file);
        fs::write(folder.path().join("any"), "").unwrap();
        assert_eq!(
            fresh,
            mode(&folder.path().join("any")),
            "the mode of any new file"
        );
        for kept in [0o600, 0o640, 0o755] {
            fs::set_permissions(&file, fs::Permissions::from_mode(kept)).unwrap();
            write(&file, "second").unwrap();
            assert_eq!(
                (mode(&file), fs::read_to_string(&file).unwrap().as_str()),
                (kept, "second")
            );
        }
        assert_ne!(
            fs::metadata(&file).unwrap().ino(),
            held.metadata().unwrap().ino(),
            "put there as a whole"
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "nothing is left beside it"
        );
    }

    #[test]
    fn links_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("deep")).unwrap();
        for (link, target) in [
            ("one", "deep/there"),
            ("two", "one"),
            ("new", "deep/not-yet"),
            ("newer", "new"),
        ] {
            symlink(target, at(link)).unwrap();
        }
        fs::write(at("deep/there"), "old").unwrap();
        for (link, file) in [
            ("two", "deep/there"),
            ("one", "deep/there"),
            ("newer", "deep/not-yet"),
            ("new", "deep/not-yet"),
        ] {
            write(&at(link), link).unwrap();
            assert_eq!(fs::read_to_string(at(file)).unwrap(), link);
            assert!(
                fs::symlink_metadata(at(link)).unwrap().is_symlink(),
                "{link}"
            );
        }
        symlink("circle", at("circle")).unwrap();
        assert!(write(&at("circle"), "x").is_err());
    }

    #[test]
    fn a_pipe_is_written_into_and_stays_one() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap();
        assert!(made.success());
        let link = folder.path().join("link");
        symlink(&pipe, &link).unwrap();
        for path in [&pipe, &link] {
            let reader = std::thread::spawn({
                let pipe = pipe.clone();
                move || {
                    let mut text = String::new();
                    File::open(pipe).unwrap().read_to_string(&mut text).unwrap();
                    text
                }
            });
            write(path, "through the pipe").unwrap();
            assert_eq!(reader.join().unwrap(), "through the pipe");
            assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
        }
    }

    #[test]
    fn a_reader_of_a_pipe_that_has_had_enough_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || {
                let mut start = [0; 5];
                File::open(pipe).unwrap().read_exact(&mut start).unwrap();
                start
            }
        });
        // More than any pipe holds: the writer is still at it when the reader leaves.
        write(&pipe, &"lines".repeat(1 << 20)).unwrap();
        assert_eq!(&reader.join().unwrap(), b"lines");
    }

    #[test]
    fn a_folder_and_what_is_in_no_folder_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            write(folder.path(), "x").unwrap_err().kind(),
            ErrorKind::IsADirectory
        );
        assert_eq!(
            write(&folder.path().join("no/where"), "x")
                .unwrap_err()
                .kind(),
            ErrorKind::NotFound
        );
        assert!(folder.path().is_dir());
    }
}
