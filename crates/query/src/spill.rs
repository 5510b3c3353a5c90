//! The folder for spilled data: made when a query first spills, readable by nobody else, gone with the process.
//!
//! Invariant: whatever is spilled holds rows of the warehouse, so the folder is its owner's alone (mode 700, files 600) and does not outlive its use. It goes with the engine, at an
//! error and a signal with the process ([`remove_spilled`]); what a killed process left is removed by the next one that starts.
//!
//! A process holds a lock on a file in its folder for as long as it lives, so that the next one can tell a folder that is used from one that was left. A process id in the
//! name would not do: they are given out anew.

use crate::failure::into_error;
use datafusion::common::DataFusionError;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerMode};
use datafusion::execution::spill_file::{SpillFile, TempFileFactory};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tempfile::TempDir;
use tillhouse_lake::open_regular;
use tillhouse_model::{Error, ErrorKind};

/// Prefix of the folders' names.
const PREFIX: &str = "tillhouse-spill-";
/// The file in each that its process has locked.
const LOCK: &str = "lock";
/// Attempts to remove a folder that a query still writes to.
const ATTEMPTS: usize = 100;
/// A folder without a lock is being made, unless it is older than this.
const BEING_MADE: Duration = Duration::from_mins(10);

/// The folders of this process. Each is in the list from the moment it is made until it is gone: whoever ends the process meanwhile waits for the making and the removal.
static LIVE: Mutex<LiveFolders> = Mutex::new(LiveFolders {
    paths: Vec::new(),
    is_over: false,
});

struct LiveFolders {
    paths: Vec<PathBuf>,
    /// The process ends, and makes no folder any more.
    is_over: bool,
}

fn live<T>(with: impl FnOnce(&mut LiveFolders) -> T) -> T {
    with(&mut LIVE.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Removes what this process has spilled; for its end, when queries may still run. From then on none can spill.
pub fn remove_spilled() {
    live(|live| {
        live.is_over = true;
        for folder in live.paths.drain(..) {
            remove(&folder);
        }
    });
}

/// Removes a folder. A query may put a file into it while it is being emptied; once its own folder there is gone, none can any more. What cannot be removed now, the next
/// process removes.
fn remove(folder: &Path) {
    for _ in 0..ATTEMPTS {
        if fs::remove_dir_all(folder).is_ok() || !folder.exists() {
            break;
        }
    }
}

/// Folder that queries spill to.
pub(crate) struct SpillSpace {
    parent: PathBuf,
    made: Mutex<Option<SpillFolder>>,
}

/// The folder of this process, with the file manager over it and its lock.
struct SpillFolder {
    // In this order: files are closed before their folder goes, and the lock is given up last.
    manager: Arc<DiskManager>,
    folder: TempDir,
    _lock: File,
}

impl SpillSpace {
    /// Spills into a folder of its own below `parent`, the system's folder for temporary files by default. Removes what killed processes left there.
    pub(crate) fn below(parent: Option<PathBuf>) -> Self {
        let parent = parent.unwrap_or_else(temporary_folder);
        remove_abandoned(&parent);
        Self {
            parent,
            made: Mutex::new(None),
        }
    }

    fn make(&self, live: &mut LiveFolders) -> Result<SpillFolder, DataFusionError> {
        if live.is_over {
            let error = Error::new(ErrorKind::Interrupted, "the process ends");
            return Err(DataFusionError::External(Box::new(error)));
        }
        let (folder, lock) = locked_folder(&self.parent).map_err(|error| {
            let error = Error::new(
                ErrorKind::Storage,
                "the folder for spilled data cannot be used",
            )
            .because(error)
            .at("folder", self.parent.display().to_string())
            .hint(ROOM);
            DataFusionError::External(Box::new(error))
        })?;
        live.paths.push(folder.path().to_owned());
        let mode = DiskManagerMode::Directories(vec![folder.path().to_owned()]);
        Ok(SpillFolder {
            manager: Arc::new(DiskManager::builder().with_mode(mode).build()?),
            folder,
            _lock: lock,
        })
    }
}

/// Advice where spilling fails.
pub(crate) const ROOM: &str = "Let TMPDIR name a folder that exists, can be written to and has room for what is spilled, or raise memory_limit so that less is.";

impl TempFileFactory for SpillSpace {
    fn create_temp_file(&self, description: &str) -> Result<Arc<dyn SpillFile>, DataFusionError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.is_none() {
            *made = Some(live(|live| self.make(live))?);
        }
        match made.as_ref() {
            Some(made) => made.manager.create_tmp_file(description).map_err(|error| {
                let error = Error::new(
                    ErrorKind::Storage,
                    "the folder for spilled data cannot be used",
                )
                .because(into_error(error))
                .at("folder", made.folder.path().display().to_string())
                .hint(ROOM);
                DataFusionError::External(Box::new(error))
            }),
            None => Err(DataFusionError::Internal(
                "the folder for spilled data was not made".to_owned(),
            )),
        }
    }
}

impl Drop for SpillSpace {
    fn drop(&mut self) {
        let made = self
            .made
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(made) = made {
            drop(made.manager);
            let folder = made.folder.path();
            live(|live| {
                remove(folder);
                live.paths.retain(|path| path != folder || path.exists());
            });
        }
    }
}

/// A new folder and the lock that says it is used.
fn locked_folder(parent: &Path) -> io::Result<(TempDir, File)> {
    loop {
        let folder = private_folder(parent)?;
        let lock = private_file(&folder.path().join(LOCK))?;
        // Another process may have found it without its lock, and be about to remove it.
        if lock.try_lock().is_ok() && folder.path().join(LOCK).exists() {
            return Ok((folder, lock));
        }
    }
}

/// The system's folder for temporary files. A `TMPDIR` that is set to nothing counts as not set: it would mean the current folder.
pub fn temporary_folder() -> PathBuf {
    Some(std::env::temp_dir())
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or_else(|| PathBuf::from("/tmp"))
}

/// A new file that nobody else can read.
fn private_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// A folder that nobody else can look into.
#[cfg(unix)]
fn private_folder(parent: &Path) -> io::Result<TempDir> {
    use std::os::unix::fs::PermissionsExt;
    tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(parent)
}

#[cfg(not(unix))]
fn private_folder(parent: &Path) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)
}

/// Removes the folders whose process is gone. What cannot be read or removed is somebody else's, and stays.
fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let is_ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with(PREFIX));
        // Not through a link: `file_type` does not follow it.
        if is_ours
            && entry.file_type().is_ok_and(|kind| kind.is_dir())
            && is_abandoned(&entry.path())
        {
            match fs::remove_dir_all(entry.path()) {
                Ok(()) => {
                    tracing::debug!(folder = %entry.path().display(), "spilled data of a killed process is removed")
                }
                Err(error) => {
                    tracing::debug!(folder = %entry.path().display(), %error, "spilled data is left behind")
                }
            }
        }
    }
}

fn is_abandoned(folder: &Path) -> bool {
    // In a folder that all users share, another one may have put a pipe there.
    match open_regular(&folder.join(LOCK)) {
        Ok(lock) => lock.try_lock().is_ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let age = fs::metadata(folder)
                .and_then(|found| found.modified())
                .ok()
                .and_then(|at| at.elapsed().ok());
            age.is_some_and(|age| age > BEING_MADE)
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(parent: &Path) -> Vec<PathBuf> {
        fs::read_dir(parent)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect()
    }

    #[test]
    fn nothing_is_made_before_something_is_spilled_and_nothing_stays() {
        let parent = tempfile::tempdir().unwrap();
        let space = SpillSpace::below(Some(parent.path().to_owned()));
        assert!(folders(parent.path()).is_empty());
        let file = space.create_temp_file("test").unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&folders(parent.path())[0]), 0o700);
            assert_eq!(mode(&folders(parent.path())[0].join(LOCK)), 0o600);
            assert_eq!(mode(file.path().unwrap()), 0o600);
        }
        drop((file, space));
        assert!(folders(parent.path()).is_empty());
    }

    #[test]
    fn what_a_killed_process_left_goes_and_what_is_used_stays() {
        let parent = tempfile::tempdir().unwrap();
        let living = SpillSpace::below(Some(parent.path().to_owned()));
        let file = living.create_temp_file("test").unwrap();
        let left = parent.path().join("tillhouse-spill-left");
        fs::create_dir_all(left.join("deep")).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        fs::write(left.join("deep/rows"), "rows").unwrap();
        let being_made = parent.path().join("tillhouse-spill-new");
        fs::create_dir(&being_made).unwrap();
        let other = parent.path().join("somebody-elses");
        fs::create_dir(&other).unwrap();
        fs::write(other.join(LOCK), "").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(&other, parent.path().join("tillhouse-spill-link")).unwrap();
        // A pipe for the lock is another user's, and nobody waits for who writes into it.
        let piped = parent.path().join("tillhouse-spill-pipe");
        fs::create_dir(&piped).unwrap();
        #[cfg(unix)]
        {
            let made = std::process::Command::new("mkfifo")
                .arg(piped.join(LOCK))
                .status();
            assert!(made.unwrap().success());
        }
        let _next = SpillSpace::below(Some(parent.path().to_owned()));
        assert!(!left.exists() && being_made.exists() && other.join(LOCK).exists());
        assert!(piped.exists());
        assert!(
            file.path().unwrap().exists(),
            "a process that lives keeps its own"
        );
    }

    #[test]
    fn a_folder_that_is_missing_is_an_error_that_says_what_to_do() {
        let parent = tempfile::tempdir().unwrap();
        let space = SpillSpace::below(Some(parent.path().join("missing")));
        let error = into_error(space.create_temp_file("test").err().unwrap());
        assert_eq!(
            (error.kind(), error.message()),
            (
                ErrorKind::Storage,
                "the folder for spilled data cannot be used"
            )
        );
        assert!(error.hint_text().unwrap().contains("TMPDIR"), "{error:?}");
    }
}
