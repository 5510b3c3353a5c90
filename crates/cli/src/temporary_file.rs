//! Temporary files that do not outlive the process.
//!
//! Invariant: a file from here is gone once it is dropped, put into its place, or the process ends by itself, by a signal or by the watchdog; only a kill leaves it. It is
//! in the list from the moment it is made.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tempfile::NamedTempFile;

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
            let path = file.path().to_path_buf();
            paths.insert(path.clone());
            Ok(Self {
                file,
                _listed: ListedPath(path),
            })
        })
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
}
