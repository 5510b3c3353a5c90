//! Tables that are set aside: a folder, or what stands in its place, is moved out of every reader's sight, so that a run can make the table anew, and nothing is deleted.
//!
//! Invariant: a table is moved in one step or not at all, and only where its log or its data files have lost something for certain. From
//! then on it is a table that is gone: a run that is cut short leaves the newest run saying so. In a bucket nothing moves in one step, and
//! no table is set aside.
//!
//! Rejected: to begin the table anew behind its damaged log, as roll-ups do. Versions that kept runs name before the damage could not be told for as long as these are
//! kept, and vacuum would leave the table alone.

use crate::log::remedy::replace_file;
use crate::log::set_aside::moved_away;
use crate::log::table::TableHandle;
use crate::scan;
use crate::warehouse::Warehouse;
use std::path::PathBuf;
use tillhouse_model::{Error, ErrorKind, Result};

impl Warehouse {
    /// True if a table can be set aside, and its log lacks commits or holds one that is not what was written, or a data file is missing, cut,
    /// or not what was written. What could not be read for another reason is not known to be damaged.
    pub async fn may_be_set_aside(&self, path: &str) -> Result<bool> {
        if self.folder().is_none() {
            return Ok(false);
        }
        let table = self.table(path)?;
        // Twice, since a vacuum may have been at the table while it was listed.
        for _ in 0..2 {
            let is_damaged = table.has_damaged_log().await || lacks_data(&table).await;
            if !is_damaged {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Error where the log of a table that can be set aside is damaged, with what to do, also where readers who have something else do not
    /// need it; `None` where there is no table. The commits behind its newest checkpoint are read.
    pub async fn damaged_log(&self, path: &str) -> Result<Option<Error>> {
        if self.folder().is_none() {
            return Ok(None);
        }
        let table = self.table(path)?;
        match table.has_damaged_log().await {
            true => Ok(table.check_log().await.err()),
            false => Ok(None),
        }
    }

    /// Error where data files of a table's newest version are missing or not as long as they were written, with what to do; `None` where
    /// all are there, and where there is no table. One request a thousand files.
    ///
    /// Errors with [`ErrorKind::Storage`] where the table cannot be read or listed.
    pub async fn lost_data(&self, path: &str) -> Result<Option<Error>> {
        let table = self.table(path)?;
        let lost = lost_data_files(&table).await?;
        Ok(data_error(path, &lost, "missing or cut"))
    }

    /// As [`Warehouse::lost_data`], also where what data files hold is not what was written. On a disk all of them are read; in a bucket, where no
    /// table is set aside, none is.
    pub async fn damaged_data(&self, path: &str) -> Result<Option<Error>> {
        let lost = self.lost_data(path).await?;
        if lost.is_some() || self.folder().is_none() {
            return Ok(lost);
        }
        let table = self.table(path)?;
        let damaged = damaged_data_files(&table).await?;
        Ok(data_error(path, &damaged, "damaged"))
    }

    /// Moves a table's folder into one of the run's, below `.set-aside` in the warehouse; its place there. To be called by whoever holds the leases of all that
    /// write the table, and knows it at that moment: whoever has taken them over may have made the table anew.
    ///
    /// Errors with [`ErrorKind::Storage`] where it cannot be moved: it is where it was then.
    pub async fn set_aside(&self, path: &str, run_id: &str) -> Result<PathBuf> {
        moved_away(&self.registry, path, run_id).await
    }
}

/// Data files of a table's newest version that are missing or cut; a version that others have committed since counts.
async fn lost_data_files(table: &TableHandle) -> Result<Vec<String>> {
    table.is_overtaken();
    match table.latest().await? {
        Some(newest) => table.lost_files(&newest).await,
        None => Ok(Vec::new()),
    }
}

/// Data files of a table's newest version that are there and are not what was written.
async fn damaged_data_files(table: &TableHandle) -> Result<Vec<String>> {
    table.is_overtaken();
    match table.latest().await? {
        Some(newest) => Ok(scan::damaged_files(table, &newest.files).await),
        None => Ok(Vec::new()),
    }
}

/// True if it is known that data files are lost, or damaged.
async fn lacks_data(table: &TableHandle) -> bool {
    let is_any = |files: Result<Vec<String>>| files.is_ok_and(|files| !files.is_empty());
    is_any(lost_data_files(table).await) || is_any(damaged_data_files(table).await)
}

/// Error where there are files of which something is wrong.
fn data_error(path: &str, files: &[String], what: &str) -> Option<Error> {
    let first = files.first()?;
    let what = match files.len() {
        1 => format!("a data file is {what}"),
        files => format!("{files} data files are {what}"),
    };
    let error = Error::new(ErrorKind::Storage, what).at("table", path);
    Some(error.at("file", first).hint(replace_file(path)))
}

#[cfg(test)]
mod tests {
    use crate::faulty_store::{FixtureRecord, TempWarehouse, copy_folder, page, run, source_spec};
    use crate::store::location::WarehouseLocation;
    use crate::warehouse::Warehouse;
    use std::sync::Arc;

    const SOURCE: &str = "hecone/transactions";

    /// Lands three packages, in the versions from 1 on of a table that is not there.
    async fn land(place: &TempWarehouse, pipeline: &str) {
        let warehouse = place.open().await;
        let table = warehouse.source_table(pipeline, Arc::new(source_spec()));
        for key in ["a", "b", "c"] {
            let page = page("2026-03-01T00:00:00Z", &[FixtureRecord(key, None, 1, None)]);
            table.land(vec![page], &run("r")).await.unwrap();
        }
    }

    /// The warehouse on the disk as it is.
    async fn on_disk(place: &TempWarehouse) -> Warehouse {
        let location = WarehouseLocation::new(place.root().display().to_string());
        Warehouse::open(&location).await.unwrap()
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_table_with_something_else_in_a_commits_place_is_told_and_set_aside() {
        use std::os::unix::fs::symlink;
        use std::path::Path;
        let (place, elsewhere) = (TempWarehouse::new(), tempfile::tempdir().unwrap());
        let of_pipe = |at: &Path| {
            let made = std::process::Command::new("mkfifo").arg(at).status();
            assert!(made.unwrap().success());
        };
        let of_link = |to: &Path, at: &Path| symlink(to, at).unwrap();
        for (kind, link) in [
            ("a link that leads nowhere", Some(Path::new("nowhere"))),
            ("a device", Some(Path::new("/dev/null"))),
            ("a folder", Some(elsewhere.path())),
            // The log's own folder: a listing would never end.
            ("a folder", Some(Path::new("."))),
            ("a pipe", None),
        ] {
            // Before the newest one, the newest one, and the next one.
            for version in [2, 3, 4] {
                land(&place, "hecone").await;
                let log = place.root().join(SOURCE).join("_delta_log");
                let at = log.join(format!("{version:020}.json"));
                let _ = std::fs::remove_file(&at);
                match link {
                    Some(to) => of_link(to, &at),
                    None => of_pipe(&at),
                }
                let what = format!("{kind} in version {version}");
                let warehouse = on_disk(&place).await;
                let Err(error) = warehouse.open_at(SOURCE, None).await else {
                    panic!("{what} is not told");
                };
                let told = format!("{kind} stands in the place of a commit");
                assert!(error.to_string().contains(&told), "{what}: {error:?}");
                let hint = error.hint_text().unwrap();
                assert!(hint.contains("`tillhouse sync hecone --full`"), "{hint}");
                let table = warehouse.source_table("hecone", Arc::new(source_spec()));
                let page = page("2026-03-02T00:00:00Z", &[FixtureRecord("d", None, 1, None)]);
                assert!(table.land(vec![page], &run("r")).await.is_err(), "{what}");
                let warehouse = on_disk(&place).await;
                assert!(warehouse.may_be_set_aside(SOURCE).await.unwrap(), "{what}");
                assert!(
                    warehouse.damaged_log(SOURCE).await.unwrap().is_some(),
                    "{what}"
                );
                let id = format!("{what} {link:?}").replace('/', "-");
                let aside = warehouse.set_aside(SOURCE, &id).await.unwrap();
                assert!(aside.join("_delta_log").exists());
                let opened = warehouse.open_at(SOURCE, None).await.unwrap();
                assert!(opened.is_none(), "{what}");
            }
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_stands_in_the_place_of_a_tables_folder_is_told_and_set_aside() {
        for kind in ["a link that leads nowhere", "a file", "a pipe"] {
            let place = TempWarehouse::new();
            land(&place, "hecone").await;
            let at = place.root().join(SOURCE);
            std::fs::remove_dir_all(&at).unwrap();
            match kind {
                "a file" => std::fs::write(&at, "x").unwrap(),
                "a pipe" => {
                    let made = std::process::Command::new("mkfifo").arg(&at).status();
                    assert!(made.unwrap().success());
                }
                _ => std::os::unix::fs::symlink("nowhere", &at).unwrap(),
            }
            let warehouse = on_disk(&place).await;
            let error = warehouse.open_at(SOURCE, None).await.err().unwrap();
            let told = format!("{kind} stands in the place of a table's folder");
            assert!(error.to_string().contains(&told), "{error:?}");
            assert!(warehouse.may_be_set_aside(SOURCE).await.unwrap(), "{kind}");
            let log = warehouse.damaged_log(SOURCE).await.unwrap();
            assert!(log.is_some(), "{kind}");
            let aside = warehouse.set_aside(SOURCE, "run-1").await.unwrap();
            assert!(aside.symlink_metadata().is_ok(), "{kind}");
            land(&place, "hecone").await;
            let again = on_disk(&place).await;
            assert!(again.open_at(SOURCE, None).await.unwrap().is_some());
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_stands_in_the_place_of_a_folder_of_tables_is_told_and_set_aside() {
        for kind in ["a link that leads nowhere", "a file", "a pipe"] {
            let place = TempWarehouse::new();
            land(&place, "hecone").await;
            let at = place.root().join("hecone");
            std::fs::remove_dir_all(&at).unwrap();
            match kind {
                "a file" => std::fs::write(&at, "x").unwrap(),
                "a pipe" => {
                    let made = std::process::Command::new("mkfifo").arg(&at).status();
                    assert!(made.unwrap().success());
                }
                _ => std::os::unix::fs::symlink("nowhere", &at).unwrap(),
            }
            let warehouse = on_disk(&place).await;
            let tables = [SOURCE, "hecone/articles"];
            for path in tables {
                let error = warehouse.open_at(path, None).await.err().unwrap();
                let told = format!("{kind} stands in the place of a folder of tables");
                assert!(error.to_string().contains(&told), "{error:?}");
                let hint = error.hint_text().unwrap();
                assert!(hint.contains("`tillhouse sync hecone --full`"), "{hint}");
                assert!(warehouse.may_be_set_aside(path).await.unwrap(), "{kind}");
            }
            for path in tables {
                let aside = warehouse.set_aside(path, "run-1").await.unwrap();
                assert_eq!(aside, place.root().join(".set-aside/run-1/hecone"));
                assert!(aside.symlink_metadata().is_ok(), "{kind}");
            }
            assert!(at.symlink_metadata().is_err(), "{kind}");
            land(&place, "hecone").await;
            let again = on_disk(&place).await;
            assert!(again.open_at(SOURCE, None).await.unwrap().is_some());
        }
    }

    #[tokio::test]
    async fn a_log_of_another_table_is_told_by_its_name_and_set_aside() {
        let place = TempWarehouse::new();
        for pipeline in ["hecone", "kiosk"] {
            land(&place, pipeline).await;
        }
        let log = place.root().join(SOURCE).join("_delta_log");
        std::fs::remove_dir_all(&log).unwrap();
        copy_folder(&place.root().join("kiosk/transactions/_delta_log"), &log);
        let warehouse = on_disk(&place).await;
        let error = warehouse.open_at(SOURCE, None).await.err().unwrap();
        assert!(error.to_string().contains("another table's"), "{error:?}");
        assert!(format!("{error:?}").contains("kiosk/transactions"));
        let hint = error.hint_text().unwrap();
        assert!(hint.contains("`tillhouse sync hecone --full`"), "{hint}");
        let table = warehouse.source_table("hecone", Arc::new(source_spec()));
        let page = page("2026-03-02T00:00:00Z", &[FixtureRecord("d", None, 1, None)]);
        assert!(table.land(vec![page], &run("r")).await.is_err());
        let warehouse = on_disk(&place).await;
        assert!(warehouse.may_be_set_aside(SOURCE).await.unwrap());
        assert!(warehouse.damaged_log(SOURCE).await.unwrap().is_some());
        warehouse.set_aside(SOURCE, "run-1").await.unwrap();
        land(&place, "hecone").await;
        let again = on_disk(&place).await;
        assert!(!again.may_be_set_aside(SOURCE).await.unwrap());
        assert!(!again.may_be_set_aside("kiosk/transactions").await.unwrap());
    }

    #[tokio::test]
    async fn only_a_table_whose_log_has_lost_something_is_set_aside_and_it_is_gone_then() {
        let place = TempWarehouse::new();
        let warehouse = place.open().await;
        let table = warehouse.source_table("hecone", Arc::new(source_spec()));
        for key in ["a", "b", "c"] {
            let page = page("2026-03-01T00:00:00Z", &[FixtureRecord(key, None, 1, None)]);
            table.land(vec![page], &run("r")).await.unwrap();
        }
        let may_be = async || place.open().await.may_be_set_aside(SOURCE).await.unwrap();
        let of_log = async || place.open().await.damaged_log(SOURCE).await.unwrap();
        assert!(!may_be().await, "it is whole");
        assert!(of_log().await.is_none());
        assert!(
            !place
                .open()
                .await
                .may_be_set_aside("hecone/none")
                .await
                .unwrap()
        );
        let folder = place.root().join(SOURCE);
        let commit = folder.join("_delta_log").join(format!("{:020}.json", 2));
        let whole = std::fs::read(&commit).unwrap();
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        for wrong in [&flipped[..], b"", &whole[..whole.len() / 2]] {
            std::fs::write(&commit, wrong).unwrap();
            assert!(may_be().await);
            assert!(of_log().await.is_some());
        }
        std::fs::write(&commit, &whole).unwrap();
        assert!(!may_be().await, "it was put back");
        assert!(of_log().await.is_none());
        // No commit fits where a folder stands, be it the newest one's place or the next one's.
        let newest = place.open().await.open_at(SOURCE, None).await;
        let newest = newest.unwrap().unwrap().version;
        for version in [newest, newest + 1] {
            let name = format!("{version:020}.json");
            let stands = folder.join("_delta_log").join(name);
            let content = std::fs::read(&stands).ok();
            if content.is_some() {
                std::fs::remove_file(&stands).unwrap();
            }
            std::fs::create_dir(&stands).unwrap();
            assert!(may_be().await && of_log().await.is_some(), "{version}");
            let error = place.open().await.open_at(SOURCE, None).await;
            let error = error.err().unwrap();
            assert!(error.to_string().contains("a folder stands"), "{error:?}");
            std::fs::remove_dir(&stands).unwrap();
            if let Some(content) = content {
                std::fs::write(&stands, content).unwrap();
            }
        }
        assert!(!may_be().await, "it was put back");
        // So is one that lacks a data file, or has one that was cut.
        let month = std::fs::read_dir(&folder).unwrap().map(Result::unwrap);
        let mut month = month.filter(|entry| entry.file_name().to_string_lossy().contains('='));
        let month = month.next().unwrap().path();
        let data = std::fs::read_dir(month).unwrap().next().unwrap().unwrap();
        let content = std::fs::read(data.path()).unwrap();
        for wrong in [Some(&b""[..]), Some(&content[..content.len() / 2]), None] {
            match wrong {
                Some(wrong) => std::fs::write(data.path(), wrong).unwrap(),
                None => std::fs::remove_file(data.path()).unwrap(),
            }
            assert!(may_be().await);
            let lost = place.open().await.lost_data(SOURCE).await.unwrap();
            let hint = lost.unwrap().hint_text().unwrap().to_owned();
            assert!(hint.contains("`tillhouse sync hecone --full`"), "{hint}");
        }
        // And one that has one which is as long as it was, and something else.
        let mut spoiled = content.clone();
        let end = content.len() - 12;
        spoiled[4..end].iter_mut().for_each(|byte| *byte ^= 0xff);
        std::fs::write(data.path(), &spoiled).unwrap();
        assert!(may_be().await);
        let warehouse = place.open().await;
        assert!(warehouse.lost_data(SOURCE).await.unwrap().is_none());
        let damaged = warehouse.damaged_data(SOURCE).await.unwrap().unwrap();
        assert!(damaged.to_string().contains("is damaged"), "{damaged:?}");
        let hint = damaged.hint_text().unwrap();
        assert!(hint.contains("`tillhouse sync hecone --full`"), "{hint}");
        std::fs::write(data.path(), &content).unwrap();
        assert!(!may_be().await, "it was put back");
        let whole = place.open().await.damaged_data(SOURCE).await.unwrap();
        assert!(whole.is_none(), "{whole:?}");
        assert!(
            place
                .open()
                .await
                .lost_data(SOURCE)
                .await
                .unwrap()
                .is_none()
        );
        // A run that holds the table does not ask again for what it has seen.
        let warehouse = place.open().await;
        warehouse.hold(Vec::new());
        assert!(warehouse.open_at(SOURCE, None).await.unwrap().is_some());
        std::fs::remove_file(&commit).unwrap();
        assert!(may_be().await);
        let aside = warehouse.set_aside(SOURCE, "run-1").await.unwrap();
        assert_eq!(aside, place.root().join(".set-aside/run-1").join(SOURCE));
        assert!(aside.join("_delta_log").exists() && !folder.exists());
        assert!(warehouse.open_at(SOURCE, None).await.unwrap().is_none());
        let again = place.open().await;
        assert!(again.open_at(SOURCE, None).await.unwrap().is_none());
        assert_eq!(again.tables().await.unwrap(), []);
        // What is not there cannot be moved, and nothing else is.
        let error = again.set_aside(SOURCE, "run-2").await.unwrap_err();
        assert!(error.hint_text().is_some(), "{error:?}");
        assert!(aside.exists());
    }
}
