//! Check that a warehouse can be written, and that everything is there that its newest run names.
//!
//! Invariant: what is written to find out is removed again, and no folder is made. All that is found is told, not the first of it.

use crate::log::remedy::REPLACE_FILES;
use crate::log::table_version::TableVersion;
use crate::ops::rows::RunRecord;
use crate::store::durable::LOG_FOLDER;
use crate::warehouse::Warehouse;
use futures::{StreamExt, stream};
use std::io::{self, ErrorKind as Io, Write};
use std::path::{Path, PathBuf};
use tillhouse_model::table::{MONTH, PERIOD};
use tillhouse_model::{Error, ErrorKind, Result};

/// Tables looked at together.
const AT_ONCE: usize = 4;
/// Most files or folders that are named; the rest is counted.
const NAMED: usize = 3;
/// Folders of bookkeeping that is in no table.
const OF_OPS: [&str; 3] = ["ops", "ops/published", "ops/fingerprints"];

impl Warehouse {
    /// Finds out whether a run could write: into the warehouse's folder, or the one that it would be made in, into every folder of the tables that a
    /// run names, down to the newest partition, and into those of bookkeeping. Of a bucket, whether it keeps the conditions that commits rest on, too.
    ///
    /// Errors with [`ErrorKind::Storage`], with what to do, naming all folders that cannot be written, or some of many.
    pub async fn probe_writing(&self, run: Option<&RunRecord>) -> Result<()> {
        let Some(root) = self.folder() else {
            return self.probe_store().await;
        };
        let tables = run
            .map(|run| run.tables.keys().cloned().collect::<Vec<_>>())
            .unwrap_or_default();
        let tried =
            tokio::task::spawn_blocking(move || write_into_all(&folders_of(&root, &tables)));
        tried
            .await
            .map_err(|error| Error::internal("the probe of the warehouse failed").because(error))?
    }

    /// Finds out whether the data files are there, as long as they were written, of every table that a run names.
    ///
    /// Errors with [`ErrorKind::Storage`], naming some of those that are not, and tables that cannot be opened.
    pub async fn probe_files(&self, run: &RunRecord) -> Result<()> {
        let (mut problems, lost) = self.probe_tables(run).await;
        problems.extend(self.lost_files_error(&lost));
        match problems.is_empty() {
            true => Ok(()),
            false => Err(Error::combine(problems)),
        }
    }

    /// As [`Warehouse::probe_files`], for whoever has told of the tables that cannot be opened: these are passed over.
    pub async fn probe_readable_files(&self, run: &RunRecord) -> Result<()> {
        let (unreadable, lost) = self.probe_tables(run).await;
        for error in unreadable {
            tracing::debug!(%error, "the data files of a table are not looked for");
        }
        self.lost_files_error(&lost).map_or(Ok(()), Err)
    }

    /// Errors of tables that cannot be opened, and data files that are lost, below the warehouse.
    async fn probe_tables(&self, run: &RunRecord) -> (Vec<Error>, Vec<String>) {
        let probed: Vec<Result<Vec<String>>> = stream::iter(run.tables.clone())
            .map(|(path, version)| async move { self.lost_files(&path, &version).await })
            .buffered(AT_ONCE)
            .collect()
            .await;
        let (mut unreadable, mut lost) = (Vec::new(), Vec::new());
        for found in probed {
            match found {
                Ok(files) => lost.extend(files),
                Err(error) => unreadable.push(error),
            }
        }
        (unreadable, lost)
    }

    fn lost_files_error(&self, lost: &[String]) -> Option<Error> {
        let files = match lost.len() {
            0 => return None,
            1 => "a data file is".to_owned(),
            files => format!("{files} data files are"),
        };
        let what = format!("{files} missing or cut: {}", named(lost));
        let error = Error::new(ErrorKind::Storage, what);
        Some(
            error
                .at("warehouse", self.url().as_str())
                .hint(REPLACE_FILES),
        )
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

/// Some of these, and the number of the others.
fn named(all: &[String]) -> String {
    let first = all
        .iter()
        .take(NAMED)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// Folders that a run would write into, of those that are there; a file that stands in the place of one is among them.
fn folders_of(root: &Path, tables: &[String]) -> Vec<PathBuf> {
    let nearest = root.ancestors().find(|folder| folder.exists());
    let of_tables = tables.iter().flat_map(|table| {
        let table = root.join(table);
        let below = newest_partitions(&table);
        [table.join(LOG_FOLDER), table].into_iter().chain(below)
    });
    let of_ops = OF_OPS.iter().map(|folder| root.join(folder));
    std::iter::once(nearest.unwrap_or(root).to_owned())
        .chain(of_tables.chain(of_ops).filter(|folder| folder.exists()))
        .collect()
}

/// Folders of partitions below a table's: of months or periods the one that was written last, of others all. The next package goes there, or into a new one.
fn newest_partitions(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let partitions = entries
        .filter(|entry| entry.file_name().to_string_lossy().contains('='))
        .map(|entry| entry.path())
        .filter(|partition| partition.is_dir());
    let of_time = [MONTH, PERIOD].map(|column| format!("{column}="));
    let is_of_time = |partition: &PathBuf| {
        let name = partition.file_name().unwrap_or_default();
        let name = name.to_string_lossy();
        of_time.iter().any(|prefix| name.starts_with(prefix))
    };
    let (times, others): (Vec<PathBuf>, Vec<PathBuf>) = partitions.partition(is_of_time);
    let written_at = |partition: &Path| {
        let found = std::fs::metadata(partition).and_then(|found| found.modified());
        found.ok()
    };
    let newest = times
        .into_iter()
        .max_by_key(|partition| (written_at(partition), partition.clone()));
    let others = others.into_iter().flat_map(|partition| {
        let below = newest_partitions(&partition);
        std::iter::once(partition).chain(below)
    });
    others.chain(newest).collect()
}

/// Writes a file into each of some folders and removes it. The error names all that failed, those of one reason together.
fn write_into_all(folders: &[PathBuf]) -> Result<()> {
    let mut failed: Vec<(io::Error, Vec<String>)> = Vec::new();
    for folder in folders {
        let Err(error) = write_into(folder) else {
            continue;
        };
        let name = folder.display().to_string();
        let same = failed
            .iter_mut()
            .find(|(known, _)| known.kind() == error.kind());
        match same {
            Some((_, names)) => names.push(name),
            None => failed.push((error, vec![name])),
        }
    }
    let errors: Vec<Error> = failed
        .into_iter()
        .map(|(error, names)| not_writable(&names, error))
        .collect();
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Error::combine(errors)),
    }
}

/// Writes a file into a folder and removes it.
fn write_into(folder: &Path) -> io::Result<()> {
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
    written.and(removed)
}

fn not_writable(folders: &[String], error: io::Error) -> Error {
    let hint = match error.kind() {
        Io::StorageFull | Io::QuotaExceeded => {
            "Its disk is full: make room, or move the warehouse to another one."
        }
        Io::ReadOnlyFilesystem => {
            "Its file system is mounted read-only: mount it so that it can be written."
        }
        Io::NotADirectory => {
            "A file stands where the folder should be: move it away, or name another place as warehouse.url in tillhouse.yaml."
        }
        _ => {
            "Let the user who runs Tillhouse write there (chown, chmod), or name another place as warehouse.url in tillhouse.yaml."
        }
    };
    let key = if folders.len() == 1 {
        "folder"
    } else {
        "folders"
    };
    Error::new(ErrorKind::Storage, "the warehouse cannot be written")
        .at(key, named(folders))
        .hint(hint)
        .because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faulty_store::{
        FixtureFact, FixtureRecord, TempWarehouse, fact_spec, facts, page, run, source_spec, step,
    };
    use crate::ops::rows::AsOf;
    use crate::unified::step::SupersededRecords;
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::Duration;

    #[test]
    fn a_probe_leaves_nothing_and_says_what_stands_in_its_way() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write_into_all(&[folder.to_owned()]).unwrap();
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
        std::fs::write(folder.join("file"), "").unwrap();
        let error = write_into_all(&[folder.join("file")]).unwrap_err();
        let hint = error.hint_text().unwrap();
        assert!(hint.contains("A file stands"), "{error:?}");
    }

    const SOURCE: &str = "hecone/transactions";
    const FACT: &str = "unified/articles";

    /// A warehouse with a source table of two months, a unified one of two pipelines, and a run that names both.
    async fn published(place: &TempWarehouse) -> (Warehouse, RunRecord) {
        let warehouse = place.open().await;
        let source = warehouse.source_table("hecone", Arc::new(source_spec()));
        for time in ["2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z"] {
            let key: &'static str = &time[..7];
            let records = [FixtureRecord(key, Some(time), 1, None)];
            let package = page("2026-03-01T00:00:00Z", &records);
            source.land(vec![package], &run("r")).await.unwrap();
            // Times of folders are not finer on every disk.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let unified = warehouse.unified_table(Arc::new(fact_spec()));
        for pipeline in ["bemo", "hecone"] {
            let rows = facts(pipeline, 1, &[FixtureFact("a", "a", None, 1)]);
            let superseded = SupersededRecords::default();
            let step = step(pipeline, 0, 1);
            unified.replace(&step, &superseded, rows).await.unwrap();
        }
        let mut tables = BTreeMap::new();
        for path in [SOURCE, FACT] {
            let (version, _) = warehouse.newest_figures(path).await.unwrap().unwrap();
            tables.insert(path.to_owned(), version.into());
        }
        let record = RunRecord {
            run_id: "r".to_owned(),
            command: "sync".to_owned(),
            // What pipelines have written that a run does not name is not shown by it.
            pipelines: vec!["bemo".to_owned(), "hecone".to_owned()],
            started_at: "2026-03-01T00:00:00Z".parse().unwrap(),
            finished_at: "2026-03-01T00:00:00Z".parse().unwrap(),
            outcome: "done".to_owned(),
            published: true,
            tables,
            figures: BTreeMap::new(),
            counts: BTreeMap::new(),
            expected: BTreeMap::new(),
        };
        warehouse.ops().publish(&record).await.unwrap();
        let newest = warehouse.ops().published(&AsOf::Latest).await;
        (warehouse, newest.unwrap().unwrap())
    }

    #[tokio::test]
    async fn a_probe_tries_the_newest_partitions_and_the_folders_of_bookkeeping() {
        let place = TempWarehouse::new();
        let (warehouse, run) = published(&place).await;
        let root = place.root();
        let tables: Vec<String> = run.tables.keys().cloned().collect();
        let folders = folders_of(&root, &tables);
        let has = |folder: &str| folders.contains(&root.join(folder));
        for folder in [
            "",
            SOURCE,
            "hecone/transactions/_delta_log",
            "hecone/transactions/month=2026-01",
            "unified/articles/pipeline=bemo",
            "unified/articles/pipeline=hecone",
            "ops",
            "ops/published",
        ] {
            assert!(has(folder), "{folder} is not in {folders:?}");
        }
        assert!(!has("hecone/transactions/month=2026-02"), "{folders:?}");
        let months = folders.iter().filter(|folder| {
            let name = folder.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with("month=")
        });
        assert_eq!(months.count(), 3, "one a pipeline: {folders:?}");
        let levels = root.join("statistics/sums");
        for period in ["period=2025", "period=2026"] {
            std::fs::create_dir_all(levels.join(period)).unwrap();
        }
        let below = newest_partitions(&levels);
        assert_eq!(below.len(), 1, "a period: {below:?}");
        warehouse.probe_writing(Some(&run)).await.unwrap();
        // Files in the places of two folders, which are both told.
        std::fs::remove_dir_all(root.join("ops/published")).unwrap();
        for folder in ["ops/published", "ops/fingerprints"] {
            std::fs::write(root.join(folder), "").unwrap();
        }
        let error = warehouse.probe_writing(Some(&run)).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("ops/published") && text.contains("ops/fingerprints"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn lost_files_are_told_also_where_another_table_cannot_be_opened() {
        let place = TempWarehouse::new();
        let (_, run) = published(&place).await;
        std::fs::remove_dir_all(place.root().join(SOURCE)).unwrap();
        let file = place.root().join(FACT).join("pipeline=bemo");
        std::fs::remove_dir_all(file).unwrap();
        let warehouse = place.open().await;
        let all = warehouse.probe_files(&run).await.unwrap_err();
        assert_eq!(all.parts().len(), 2, "{all:?}");
        let lost = warehouse.probe_readable_files(&run).await.unwrap_err();
        let text = lost.to_string();
        assert!(text.contains("a data file is missing or cut"), "{text}");
        assert!(
            text.contains("pipeline=bemo") && !text.contains(SOURCE),
            "{text}"
        );
    }
}
