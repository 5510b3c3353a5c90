//! Places on a disk in which something else stands than the file or the folder that belongs there: a pipe, a link that leads nowhere, a folder for a file.
//!
//! Invariant: nothing is opened, and what cannot be looked at for want of a permission is not called misplaced.

use crate::store::special_file::special_file;
use std::io;
use std::path::{Path, PathBuf};

const FILE: &str = "a file";
const FOLDER: &str = "a folder";
/// Numbers of the system's error for links that lead in a circle: Linux, and the BSDs.
const CIRCLE: [i32; 2] = [40, 62];

/// What stands in a place where it does not belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misplaced {
    /// Its kind, `a pipe`.
    pub(crate) kind: &'static str,
    /// Place where it stands: the one that was asked for, or a folder on the way there.
    pub(crate) place: PathBuf,
}

/// Object in a file's place that is none; `None` where nothing stands there, and where that cannot be told.
pub(crate) fn for_file(place: &Path) -> Option<Misplaced> {
    other_than(FILE, place)
}

/// Object in a folder's place that is none, as [`for_file`].
pub(crate) fn for_folder(place: &Path) -> Option<Misplaced> {
    other_than(FOLDER, place)
}

/// As [`for_file`] of a place below a root, or what stands in the place of one of the folders between.
pub(crate) fn on_way_to_file(root: &Path, below: &str) -> Option<Misplaced> {
    let mut place = root.to_owned();
    let (folders, file) = below.rsplit_once('/').unwrap_or(("", below));
    for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
        place.push(folder);
        if let Some(found) = for_folder(&place) {
            return Some(found);
        }
    }
    for_file(&place.join(file))
}

fn other_than(wanted: &str, place: &Path) -> Option<Misplaced> {
    let kind = kind_of(place).filter(|kind| *kind != wanted)?;
    let place = place.to_owned();
    Some(Misplaced { kind, place })
}

/// Kind of what stands at a path; `None` where nothing does, and where that cannot be told.
fn kind_of(place: &Path) -> Option<&'static str> {
    let own = std::fs::symlink_metadata(place).ok()?;
    match std::fs::metadata(place) {
        Ok(found) if found.is_file() => Some(FILE),
        Ok(found) if found.is_dir() => Some(FOLDER),
        Ok(_) => special_file(place),
        Err(error) if own.is_symlink() && leads_nowhere(&error) => {
            Some("a link that leads nowhere")
        }
        Err(_) => None,
    }
}

fn leads_nowhere(error: &io::Error) -> bool {
    let is_circle = || {
        error
            .raw_os_error()
            .is_some_and(|number| cfg!(unix) && CIRCLE.contains(&number))
    };
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    ) || is_circle()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn whatever_stands_in_the_place_of_another_is_told_on_the_way_there_too() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("ops/deep")).unwrap();
        std::fs::write(at("ops/file"), "").unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(at("ops/pipe"))
            .status();
        assert!(made.unwrap().success());
        for (link, target) in [
            ("ops/to file", "file"),
            ("ops/to folder", "deep"),
            ("ops/nowhere", "nothing"),
            ("ops/circle", "circle"),
            ("ops/device", "/dev/null"),
        ] {
            symlink(target, at(link)).unwrap();
        }
        let none = "a link that leads nowhere";
        for (place, of_file, of_folder) in [
            ("ops/file", None, Some("a file")),
            ("ops/to file", None, Some("a file")),
            ("ops/deep", Some("a folder"), None),
            ("ops/to folder", Some("a folder"), None),
            ("ops/nothing", None, None),
            ("ops/pipe", Some("a pipe"), Some("a pipe")),
            ("ops/device", Some("a device"), Some("a device")),
            ("ops/nowhere", Some(none), Some(none)),
            ("ops/circle", Some(none), Some(none)),
        ] {
            let kind = |found: Option<Misplaced>| found.map(|found| found.kind);
            assert_eq!(kind(for_file(&at(place))), of_file, "{place}");
            assert_eq!(kind(for_folder(&at(place))), of_folder, "{place}");
            let way = on_way_to_file(folder.path(), place);
            assert_eq!(kind(way), of_file, "{place}");
        }
        let found = on_way_to_file(folder.path(), "ops/file/deep/x.json").unwrap();
        assert_eq!((found.kind, found.place), ("a file", at("ops/file")));
        assert_eq!(on_way_to_file(folder.path(), "ops/none/x.json"), None);
    }
}
