//! Temporary files that do not outlive the process.
//!
//! Invariant: a file from here is gone once it is dropped, put into its place, or the process ends by itself, by a signal or by the watchdog; only a kill leaves it. It is
//! in the list from the moment it is made. While its process lives it is locked, so that whoever makes one of its kind beside it removes it once nobody holds it, and only
//! then: no other name, nothing of another user, no link, and none where the file system has no locks.
//!
//! Rejected: a file without a name, which no kill leaves. It gets one by a link, and a link replaces nothing: the name that a kill leaves comes back with it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tempfile::NamedTempFile;
use tillhouse_lake::open_regular;

/// Letters between the beginning and the end of a name.
const LETTERS: usize = 6;
/// Age from which a file that nobody holds was left: a younger one may be held in a moment.
pub(crate) const BEING_MADE: Duration = Duration::from_secs(60);

/// The files that are there now.
static PRESENT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

fn present<T>(with: impl FnOnce(&mut BTreeSet<PathBuf>) -> T) -> T {
    with(&mut PRESENT.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Removes all of them; for the end of the process, when others may still write.
pub(crate) fn remove_all() {
    present(|paths| {
        for path in std::mem::take(paths) {
            // One that was put into its place meanwhile is not there any more.
            let _ = fs::remove_file(path);
        }
    });
}

/// Temporary file.
pub(crate) struct TemporaryFile {
    // In this order: it is removed before it leaves the list.
    file: NamedTempFile,
    _listed: ListedPath,
}

/// Path in the list, until dropped.
struct ListedPath(PathBuf);

impl Drop for ListedPath {
    fn drop(&mut self) {
        present(|paths| paths.remove(&self.0));
    }
}

impl TemporaryFile {
    /// Makes a file and lists it; whoever ends the process meanwhile waits for that.
    pub(crate) fn make(make: impl FnOnce() -> io::Result<NamedTempFile>) -> io::Result<Self> {
        present(|paths| {
            let file = make()?;
            // Where the file system has no locks, nothing is taken for a file that was left.
            let _ = file.as_file().try_lock();
            let path = file.path().to_path_buf();
            paths.insert(path.clone());
            Ok(Self {
                file,
                _listed: ListedPath(path),
            })
        })
    }

    /// Removes what killed processes of this user left beside it, by the beginning and the end of the names and the age from which it was left,
    /// [`BEING_MADE`] or more. What cannot be removed stays.
    pub(crate) fn remove_left(&self, names: (&str, &str), age: Duration) {
        let (Some(folder), Ok(own)) = (self.path().parent(), self.as_file().metadata()) else {
            return;
        };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries {
            let name = entry.file_name();
            let is_of_kind = name.to_str().is_some_and(|name| is_named(name, names));
            if is_of_kind
                && is_left(&entry.path(), &own, age)
                && let Err(error) = fs::remove_file(entry.path())
            {
                tracing::debug!(file = %entry.path().display(), %error, "a file of a killed process stays");
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn as_file(&self) -> &File {
        self.file.as_file()
    }

    pub(crate) fn as_file_mut(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Puts the file into a place, where another may be.
    pub(crate) fn persist(self, place: &Path) -> io::Result<()> {
        let Self { file, _listed } = self;
        file.persist(place).map(drop).map_err(|error| error.error)
    }
}

fn is_named(name: &str, (start, end): (&str, &str)) -> bool {
    let between = name
        .strip_prefix(start)
        .and_then(|rest| rest.strip_suffix(end));
    between.is_some_and(|letters| {
        letters.len() == LETTERS && letters.bytes().all(|letter| letter.is_ascii_alphanumeric())
    })
}

/// True if a file is of the same user as another and older than an age, and the process that made it is gone.
fn is_left(path: &Path, own: &fs::Metadata, least: Duration) -> bool {
    let Ok(found) = fs::symlink_metadata(path) else {
        return false;
    };
    let age = found.modified().ok().and_then(|at| at.elapsed().ok());
    found.is_file()
        && is_of_same_user(&found, own)
        && age.is_some_and(|age| age > least)
        && open_regular(path).is_ok_and(|file| file.try_lock().is_ok())
}

#[cfg(unix)]
fn is_of_same_user(one: &fs::Metadata, other: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    one.uid() == other.uid()
}

#[cfg(not(unix))]
fn is_of_same_user(_: &fs::Metadata, _: &fs::Metadata) -> bool {
    true
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_listed_for_as_long_as_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let make = || TemporaryFile::make(|| NamedTempFile::new_in(folder.path())).unwrap();
        let is_listed = |path: &Path| present(|paths| paths.contains(path));
        let dropped = make();
        let path = dropped.path().to_path_buf();
        assert!(path.is_absolute() && path.exists() && is_listed(&path));
        drop(dropped);
        assert!(!path.exists() && !is_listed(&path));
        let persisted = make();
        let path = persisted.path().to_path_buf();
        let place = folder.path().join("place");
        persisted.persist(&place).unwrap();
        assert!(place.exists() && !path.exists() && !is_listed(&path));
    }

    #[cfg(unix)]
    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let names = (".tillhouse-", ".part");
        let builder = || {
            let mut builder = tempfile::Builder::new();
            builder.prefix(names.0).suffix(names.1);
            builder.tempfile_in(folder.path())
        };
        let make = || TemporaryFile::make(builder).unwrap();
        let age = |file: &File| {
            let long_ago = std::time::SystemTime::now() - 2 * BEING_MADE;
            file.set_modified(long_ago).unwrap();
        };
        let at = |name: &str| folder.path().join(name);
        // One of a process that lives, one that is being made, and one that was left.
        let held = make();
        age(held.as_file());
        let (_, young) = builder().unwrap().keep().unwrap();
        let (left, left_at) = builder().unwrap().keep().unwrap();
        age(&left);
        drop(left);
        // Whatever is somebody else's, or of another kind.
        let others = [
            ".tillhouse-reports.part",
            ".tillhouse-abcdef",
            "tillhouse-abcdef.part",
            ".tillhouse-abc.ef.part",
        ];
        for name in others {
            age(&File::create(at(name)).unwrap());
        }
        fs::create_dir(at(".tillhouse-folder.part")).unwrap();
        std::os::unix::fs::symlink(at(others[0]), at(".tillhouse-linked.part")).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(at(".tillhouse-fifoed.part"))
            .status();
        assert!(made.unwrap().success());
        make().remove_left(names, 3 * BEING_MADE);
        assert!(left_at.exists(), "it is younger than that");
        make().remove_left(names, BEING_MADE);
        assert!(!left_at.exists());
        assert!(young.exists() && held.path().exists());
        let kinds = ["folder", "linked", "fifoed"];
        let kinds = kinds.map(|kind| format!(".tillhouse-{kind}.part"));
        for name in others.into_iter().chain(kinds.iter().map(String::as_str)) {
            assert!(fs::symlink_metadata(at(name)).is_ok(), "{name}");
        }
    }
}
