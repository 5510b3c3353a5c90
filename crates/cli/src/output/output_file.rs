//! The file that `--output` names.
//!
//! Invariant: what is there stays what it is. A regular file has its new content as a whole or keeps the old, and its mode; a link stays a link, and the file it leads
//! to is written; a device, a FIFO or a socket is written into, and a reader of it that has had enough is no failure. Only a regular file is ever replaced, and none that the shell
//! opened: `--output /dev/stdout >> file` goes on where that file ends. What is half written is nobody else's, and does not outlive the process; after a kill the next one that writes into
//! the same folder removes it.

use super::descriptor::opened_by_shell;
use crate::temporary_file::{BEING_MADE, TemporaryFile};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal, Seek, Write};
use std::path::{Path, PathBuf};

/// Links that are followed before they count as a circle; Linux follows as many.
pub(super) const MOST_LINKS: usize = 40;

/// The beginning and the end of the name of a file that is half written.
const NAMES: (&str, &str) = (".tillhouse-", ".part");
/// The mode of a file that is half written.
const UNFINISHED: u32 = 0o600;

/// Writes a text to a file.
pub(crate) fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut out = OutputFile::open(file)?;
    match out.write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.and_then(|()| out.finish()),
    }
}

/// File that is being written. Until [`Self::finish`] a regular file is what it was, and so it stays when this is dropped.
pub(crate) struct OutputFile(Destination);

enum Destination {
    /// File that is put in the place of another, or where none is yet.
    Beside {
        beside: TemporaryFile,
        place: PathBuf,
        old: Option<Box<fs::Metadata>>,
    },
    /// Content that a file is overwritten with, where nothing can be made beside it.
    Apart { apart: File, place: PathBuf },
    /// Device, pipe or socket.
    Stream(File),
}

impl OutputFile {
    /// Begins to write a file.
    pub(crate) fn open(file: &Path) -> io::Result<Self> {
        if let Some(opened) = opened_by_shell(file)? {
            return Ok(Self(Destination::Stream(opened)));
        }
        let destination = match fs::metadata(file) {
            Ok(found) if found.is_dir() => {
                return Err(io::Error::new(ErrorKind::IsADirectory, "it is a folder"));
            }
            Ok(found) if found.is_file() => {
                let place = fs::canonicalize(file)?;
                match unfinished(&place) {
                    Ok(beside) => Destination::Beside {
                        beside,
                        place,
                        old: Some(Box::new(found)),
                    },
                    // The file itself may still be open to us, as it is to `>`.
                    Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                        drop(OpenOptions::new().write(true).open(&place)?);
                        Destination::Apart {
                            apart: tempfile::tempfile()?,
                            place,
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(_) => Destination::Stream(OpenOptions::new().write(true).open(file)?),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let place = end_of_links(file)?;
                Destination::Beside {
                    beside: unfinished(&place)?,
                    place,
                    old: None,
                }
            }
            Err(error) => return Err(error),
        };
        Ok(Self(destination))
    }

    /// True if somebody looks at what is written.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(&self.0, Destination::Stream(stream) if stream.is_terminal())
    }

    /// Puts what was written in its place.
    pub(crate) fn finish(self) -> io::Result<()> {
        match self.0 {
            Destination::Beside { beside, place, old } => {
                match old {
                    Some(old) => keep_owner_and_mode(beside.as_file(), &old)?,
                    None => take_mode_of_new(beside.as_file(), folder_of(&place))?,
                }
                beside.as_file().sync_all()?;
                beside.persist(&place)
            }
            Destination::Apart { mut apart, place } => {
                apart.rewind()?;
                let mut file = OpenOptions::new().write(true).truncate(true).open(place)?;
                io::copy(&mut apart, &mut file).map(drop)
            }
            Destination::Stream(_) => Ok(()),
        }
    }
}

impl Write for OutputFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Destination::Beside { beside, .. } => beside.as_file_mut().write(bytes),
            Destination::Apart { apart, .. } => apart.write(bytes),
            Destination::Stream(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Destination::Beside { beside, .. } => beside.as_file_mut().flush(),
            Destination::Apart { apart, .. } => apart.flush(),
            Destination::Stream(stream) => stream.flush(),
        }
    }
}

pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// A file of a name that nobody has foreseen, with a mode of which the user's mask is taken off, as for any new file.
#[cfg(unix)]
fn new_file(folder: &Path, mode: u32) -> io::Result<TemporaryFile> {
    use std::os::unix::fs::PermissionsExt;
    TemporaryFile::make(|| {
        tempfile::Builder::new()
            .prefix(NAMES.0)
            .suffix(NAMES.1)
            .permissions(fs::Permissions::from_mode(mode))
            .tempfile_in(folder)
    })
}

#[cfg(not(unix))]
fn new_file(folder: &Path, _mode: u32) -> io::Result<TemporaryFile> {
    TemporaryFile::make(|| {
        tempfile::Builder::new()
            .prefix(NAMES.0)
            .suffix(NAMES.1)
            .tempfile_in(folder)
    })
}

/// A file that is half written, beside a place. What processes that were killed left there is removed.
fn unfinished(place: &Path) -> io::Result<TemporaryFile> {
    let file = new_file(folder_of(place), UNFINISHED)?;
    file.remove_left(NAMES, BEING_MADE);
    Ok(file)
}

/// Gives a file the mode that any new one in its folder has. The user's mask shows in a file alone.
#[cfg(unix)]
fn take_mode_of_new(file: &File, folder: &Path) -> io::Result<()> {
    let any = new_file(folder, 0o666)?;
    file.set_permissions(any.as_file().metadata()?.permissions())
}

#[cfg(not(unix))]
fn take_mode_of_new(_: &File, _: &Path) -> io::Result<()> {
    Ok(())
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

/// The target of a link, though nothing is there yet; a path that is no link leads to itself.
pub(super) fn end_of_links(file: &Path) -> io::Result<PathBuf> {
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
    fn what_is_half_written_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("page.html");
        for _ in ["new", "replaced"] {
            let mut out = OutputFile::open(&place).unwrap();
            out.write_all(b"half").unwrap();
            let found = fs::read_dir(folder.path()).unwrap();
            let beside = found
                .map(|entry| entry.unwrap().path())
                .find(|path| *path != place)
                .unwrap();
            assert_eq!(mode(&beside), 0o600);
            out.finish().unwrap();
            fs::set_permissions(&place, fs::Permissions::from_mode(0o644)).unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
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
