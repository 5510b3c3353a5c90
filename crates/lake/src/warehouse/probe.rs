//! Check that a warehouse can be written, and that everything is there that its newest run names.
//!
//! Invariant: what is written to find out is removed again, and no folder is made.

use crate::log::remedy::REPLACE_FILES;
use crate::log::table_version::TableVersion;
use crate::ops::rows::RunRecord;
use crate::warehouse::Warehouse;
use futures::{StreamExt, TryStreamExt, stream};
use std::io::{ErrorKind as Io, Write};
use std::path::{Path, PathBuf};
use tillhouse_model::{Error, ErrorKind, Result};

/// Tables looked at together.
const AT_ONCE: usize = 4;
/// Most files that are named; the rest is counted.
const NAMED: usize = 3;

impl Warehouse {
    /// Finds out whether a run could write: into the warehouse's folder, or the one that it would be made in, and into every folder of the
    /// tables that a run names. Of a bucket, whether it keeps the conditions that commits rest on, too.
    ///
    /// Errors with [`ErrorKind::Storage`], with what to do.
    pub async fn probe_writing(&self, run: Option<&RunRecord>) -> Result<()> {
        let Some(root) = self.folder() else {
            return self.probe_store().await;
        };
        let tables = run
            .map(|run| run.tables.keys().cloned().collect::<Vec<_>>())
            .unwrap_or_default();
        let tried = tokio::task::spawn_blocking(move || {
            let folders = tables
                .iter()
                .flat_map(|table| [root.join(table), root.join(table).join("_delta_log")]);
            let folders: Vec<PathBuf> = folders
                .chain([root.join("ops")])
                .filter(|folder| folder.is_dir())
                .collect();
            let nearest = root
                .ancestors()
                .find(|folder| folder.exists())
                .unwrap_or(&root)
                .to_owned();
            std::iter::once(nearest)
                .chain(folders)
                .try_for_each(|folder| write_into(&folder))
        });
        tried
            .await
            .map_err(|error| Error::internal("the probe of the warehouse failed").because(error))?
    }

    /// Finds out whether the data files are there, as long as they were written, of every table that a run names.
    ///
    /// Errors with [`ErrorKind::Storage`], naming some of those that are not.
    pub async fn probe_files(&self, run: &RunRecord) -> Result<()> {
        let lost: Vec<Vec<String>> = stream::iter(run.tables.clone())
            .map(|(path, version)| async move { self.lost_files(&path, &version).await })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let lost: Vec<String> = lost.into_iter().flatten().collect();
        if lost.is_empty() {
            return Ok(());
        }
        let named = lost
            .iter()
            .take(NAMED)
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        let more = match lost.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let files = if lost.len() == 1 {
            "a data file is".to_owned()
        } else {
            format!("{} data files are", lost.len())
        };
        Err(Error::new(
            ErrorKind::Storage,
            format!("{files} missing or cut: {named}{more}"),
        )
        .at("warehouse", self.url().as_str())
        .hint(REPLACE_FILES))
    }

    /// The data files of a table's version that are not there, or not as long as the log says; below the warehouse.
    async fn lost_files(&self, path: &str, version: &TableVersion) -> Result<Vec<String>> {
        let table = self.table(path)?;
        let Some(snapshot) = table.at(version).await? else {
            return Ok(vec![path.to_owned()]);
        };
        let lost = table.lost_files(&snapshot).await?.into_iter();
        Ok(lost.map(|file| format!("{path}/{file}")).collect())
    }
}

/// Writes a file into a folder and removes it.
fn write_into(folder: &Path) -> Result<()> {
    let path = folder.join(format!(".tillhouse-probe-{}", std::process::id()));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| {
            file.write_all(b"tillhouse writes here\n")?;
            file.sync_all()
        });
    let removed = match std::fs::remove_file(&path) {
        Err(error) if error.kind() != Io::NotFound && written.is_ok() => Err(error),
        _ => Ok(()),
    };
    written.and(removed).map_err(|error| {
        let hint = match error.kind() {
            Io::StorageFull | Io::QuotaExceeded => "Its disk is full: make room, or move the warehouse to another one.",
            Io::ReadOnlyFilesystem => "Its file system is mounted read-only: mount it so that it can be written.",
            Io::NotADirectory => "A file stands where the folder should be: name another place as warehouse.url in tillhouse.yaml.",
            _ => "Let the user who runs Tillhouse write there (chown, chmod), or name another place as warehouse.url in tillhouse.yaml.",
        };
        Error::new(ErrorKind::Storage, "the warehouse cannot be written")
            .at("folder", folder.display().to_string())
            .hint(hint)
            .because(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_leaves_nothing_and_says_what_stands_in_its_way() {
        let folder = std::env::temp_dir().join(format!("tillhouse-probe-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        write_into(&folder).unwrap();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        std::fs::write(folder.join("file"), "").unwrap();
        let error = write_into(&folder.join("file")).unwrap_err();
        assert!(
            error.hint_text().unwrap().contains("A file stands"),
            "{error:?}"
        );
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
