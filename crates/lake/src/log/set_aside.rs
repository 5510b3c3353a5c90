//! The move of a table, or of what stands in its place, out of every reader's sight.
//!
//! Invariant: it is moved in one step or not at all, whatever it is, and nothing of it is read or deleted. The names of what was moved are on disk when it is over.

use crate::log::registry::TableRegistry;
use crate::store::durable::supported;
use crate::store::misplaced;
use std::io;
use std::path::{Path, PathBuf};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Folder below the warehouse's. Whatever begins with a dot is in no listing of tables.
const FOLDER: &str = ".set-aside";

/// Moves a table's folder into one of the run's, below `.set-aside` in the warehouse; its place there. Where something else stands in the place of the folder that
/// the table is in, that is moved.
///
/// Errors with [`ErrorKind::Storage`] where it cannot be moved: it is where it was then.
pub(crate) async fn moved_away(
    registry: &TableRegistry,
    path: &str,
    run_id: &str,
) -> Result<PathBuf> {
    let url = registry.url();
    let root = (url.scheme() == "file").then(|| url.to_file_path().ok());
    let Some(root) = root.flatten() else {
        return Err(Error::internal("a table in a bucket is not set aside"));
    };
    let aside = root.join(FOLDER).join(run_id);
    let schema = path.split('/').next().unwrap_or(path);
    let moved = match misplaced::for_folder(&root.join(schema)) {
        // No table is below it.
        Some(_) => schema,
        // It was moved with the first of its tables.
        None if is_moved(&root, &aside, schema) => {
            registry.table(path)?.was_moved().await;
            return Ok(aside.join(schema));
        }
        None => path,
    };
    let place = aside.join(moved);
    let (from, to) = (root.join(moved), place.clone());
    let moved = tokio::task::spawn_blocking(move || move_folder(&root, &from, &to));
    let moved = moved
        .await
        .or_error(ErrorKind::Internal, "the move of a table failed")?;
    moved
        .or_error(
            ErrorKind::Storage,
            "a table that is damaged cannot be set aside",
        )
        .map_err(|error| {
            error.at("table", path).at("to", place.display().to_string()).hint(
                "Let the user who runs Tillhouse write the warehouse's folder, or move the table's folder out of the warehouse by hand, and run the same command again.",
            )
        })?;
    registry.table(path)?.was_moved().await;
    Ok(place)
}

/// True if something that stood in the place of a folder of tables was moved away before, and nothing is there now.
fn is_moved(root: &Path, aside: &Path, schema: &str) -> bool {
    misplaced::for_folder(&aside.join(schema)).is_some()
        && root.join(schema).symlink_metadata().is_err()
}

/// Moves a folder below the root; the names of what was moved are on disk when it is over.
fn move_folder(root: &Path, from: &Path, to: &Path) -> io::Result<()> {
    let (Some(source), Some(target)) = (from.parent(), to.parent()) else {
        return Err(io::Error::other("it is in no folder"));
    };
    std::fs::create_dir_all(target)?;
    std::fs::rename(from, to)?;
    let above = target
        .ancestors()
        .take_while(|folder| folder.starts_with(root));
    above.chain([source]).try_for_each(flush)
}

#[cfg(unix)]
fn flush(folder: &Path) -> io::Result<()> {
    supported(std::fs::File::open(folder)?.sync_all())
}

#[cfg(not(unix))]
fn flush(_: &Path) -> io::Result<()> {
    supported(Ok(()))
}
