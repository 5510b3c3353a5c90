//! The one list of the warehouse's own files and folders in whose place something else may stand: a folder, a pipe, a device, a link that leads nowhere.
//!
//! Invariant: nothing is opened and nothing is changed. Readers take what is no file for a damaged one or for none, and go on; whoever has to write it fails. So each
//! is told by every check, with the way out, and none is taken away: nobody can tell whose it is.
//!
//! ```text
//!   warehouse   files     ops/format/format.json, ops/leases.json with its lock, ops/coverage.json
//!               folders   ops/published, ops/fingerprints, of which every entry is a file; unified, statistics, those of pipelines
//!   table       folders   _delta_log, _tillhouse, of which every entry that is ours is a file
//! ```
//!
//! Commits, and the folders of a table and of its log, are told by whoever opens the table, which cannot be read with them.

use crate::log::remedy::{PASSED_OVER, replace_folder};
use crate::log::table::commit_version;
use crate::maintenance::file_lifetimes;
use crate::ops::fingerprints;
use crate::ops::lease::LEASES;
use crate::ops::published_note;
use crate::ops::slices::FOLDED;
use crate::store::durable::{LOCK, LOG_FOLDER};
use crate::store::log_guard::LAST_CHECKPOINT;
use crate::store::misplaced::{self, Misplaced};
use crate::warehouse::{FORMAT_FILE, Warehouse};
use std::collections::BTreeSet;
use std::path::Path;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

/// Folder of bookkeeping, which is in no table.
const OPS: &str = "ops";
const MOVE: &str = "Look at what it is, and move it away.";
const OF_FORMAT: &str = "Move it away, and put the file back from a copy.";
const OF_LEASES: &str = "The next run makes the file anew. Until then no run begins.";
const OF_COVERAGE: &str = "The next `tillhouse sync` writes it anew: ops/slices says the same.";
const OF_NOTES: &str = "ops/runs says the same, and the next `tillhouse sync` publishes a new one.";
const OF_FINGERPRINTS: &str = "The next `tillhouse sync` of the pipeline writes it anew: what is known is looked up in the tables until then.";
const OF_LIFETIMES: &str = "`tillhouse vacuum` reads the log until then, and writes it anew.";

/// Something that stands in the place of one of the warehouse's own objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MisplacedObject {
    /// Path of the table below the warehouse; `ops` of what is in none.
    pub(crate) table: String,
    /// The place below the table, or below `ops`; below the warehouse where it is in neither.
    pub(crate) file: String,
    /// The fault, in a sentence.
    pub(crate) what: String,
    /// Advice.
    pub(crate) hint: String,
    /// Where it stands.
    place: String,
}

impl Warehouse {
    /// Errors for everything that stands in the place of one of the warehouse's own files and folders, on a disk, each with what to do. `pipelines` are those whose
    /// folders are looked at too; they need not be there.
    ///
    /// Errors with [`ErrorKind::Storage`] where the tables cannot be listed.
    pub async fn misplaced_objects(&self, pipelines: &[String]) -> Result<Vec<Error>> {
        let found = self.all_misplaced(pipelines).await?;
        let errors = found.into_iter().map(|found| {
            let error = Error::new(ErrorKind::Storage, found.what);
            error.at("file", found.place).hint(found.hint)
        });
        Ok(errors.collect())
    }

    /// As [`Warehouse::misplaced_objects`], by table.
    pub(crate) async fn all_misplaced(&self, pipelines: &[String]) -> Result<Vec<MisplacedObject>> {
        let Some(root) = self.folder() else {
            return Ok(Vec::new());
        };
        let tables = self.tables().await?.into_iter();
        let tables: Vec<String> = tables
            .map(|(schema, name)| format!("{schema}/{name}"))
            .collect();
        let pipelines = pipelines.to_vec();
        let looked = tokio::task::spawn_blocking(move || look(&root, &pipelines, &tables));
        looked.await.or_error(
            ErrorKind::Internal,
            "the look at the warehouse's folders failed",
        )
    }
}

/// All that is misplaced below a root, each once.
fn look(root: &Path, pipelines: &[String], tables: &[String]) -> Vec<MisplacedObject> {
    let mut found: Vec<MisplacedObject> = Vec::new();
    let lock = format!("{LEASES}{LOCK}");
    for (file, hint) in [
        (FORMAT_FILE, OF_FORMAT.to_owned()),
        (LEASES, format!("{MOVE} {OF_LEASES}")),
        (lock.as_str(), format!("{MOVE} {OF_LEASES}")),
        (FOLDED, format!("{MOVE} {OF_COVERAGE}")),
    ] {
        let misplaced = misplaced::on_way_to_file(root, file);
        found.extend(misplaced.map(|misplaced| told(root, OPS, &misplaced, hint)));
    }
    for (folder, hint) in [
        (published_note::FOLDER, OF_NOTES),
        (fingerprints::FOLDER, OF_FINGERPRINTS),
    ] {
        let hint = format!("{MOVE} {hint}");
        let of_folder = misplaced_in(&root.join(folder), |_| true);
        found.extend(of_folder.iter().map(|of| told(root, OPS, of, hint.clone())));
    }
    let shared = ["unified", "statistics"].into_iter();
    for folder in shared.chain(pipelines.iter().map(String::as_str)) {
        if let Some(misplaced) = misplaced::for_folder(&root.join(folder)) {
            let hint = replace_folder(&format!("{folder}/"));
            found.push(told(root, OPS, &misplaced, hint));
        }
    }
    for table in tables {
        let at = root.join(table);
        let lifetimes = misplaced_in(&at.join(file_lifetimes::FOLDER), |_| true).into_iter();
        let lifetimes = lifetimes.map(|misplaced| (misplaced, OF_LIFETIMES));
        // Other writers have folders there; of commits whoever opens the table tells.
        let is_checkpoint = |name: &str| {
            commit_version(name).is_none()
                && (name == LAST_CHECKPOINT || name.contains(".checkpoint."))
        };
        let checkpoints = misplaced_in(&at.join(LOG_FOLDER), is_checkpoint).into_iter();
        let checkpoints = checkpoints.map(|misplaced| (misplaced, PASSED_OVER));
        for (misplaced, hint) in lifetimes.chain(checkpoints) {
            found.push(told(root, table, &misplaced, format!("{MOVE} {hint}")));
        }
    }
    let mut seen = BTreeSet::new();
    found.retain(|found| seen.insert(found.place.clone()));
    found
}

/// What stands in the place of a folder, or in that of files of it whose names are wanted.
fn misplaced_in(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> Vec<Misplaced> {
    if let Some(found) = misplaced::for_folder(folder) {
        return vec![found];
    }
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let wanted = entries.filter(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // Those that begin with a dot are a file manager's.
        !name.starts_with('.') && is_wanted(&name)
    });
    let mut found: Vec<Misplaced> = wanted
        .filter_map(|entry| misplaced::for_file(&entry.path()))
        .collect();
    found.sort_by(|a, b| a.place.cmp(&b.place));
    found
}

fn told(root: &Path, table: &str, found: &Misplaced, hint: String) -> MisplacedObject {
    let below = found.place.strip_prefix(root.join(table));
    let below = below.or_else(|_| found.place.strip_prefix(root));
    let file = below.unwrap_or(&found.place).display().to_string();
    MisplacedObject {
        table: table.to_owned(),
        file,
        what: format!("{} stands where it does not belong", found.kind),
        hint,
        place: found.place.display().to_string(),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::faulty_store::{FixtureRecord, page, run, source_spec};
    use crate::store::location::WarehouseLocation;
    use std::sync::Arc;

    #[tokio::test]
    async fn whatever_stands_in_the_place_of_an_object_of_ours_is_told_once_with_the_way_out() {
        let place = tempfile::tempdir().unwrap();
        let location = WarehouseLocation::new(place.path().display().to_string());
        let warehouse = Warehouse::open(&location).await.unwrap();
        warehouse.prepare().await.unwrap();
        let table = warehouse.source_table("hecone", Arc::new(source_spec()));
        let page = page("2026-03-01T00:00:00Z", &[FixtureRecord("a", None, 1, None)]);
        table.land(vec![page], &run("r")).await.unwrap();
        let pipelines = ["hecone".to_owned(), "pace".to_owned()];
        let found = async || warehouse.misplaced_objects(&pipelines).await.unwrap();
        assert!(found().await.is_empty());
        for (object, hint) in [
            ("ops/leases.json", OF_LEASES),
            ("ops/leases.json#0", OF_LEASES),
            ("ops/coverage.json", OF_COVERAGE),
            ("ops/published", OF_NOTES),
            ("ops/published/00000000000000000001.json.zst", OF_NOTES),
            ("ops/fingerprints/hecone", OF_FINGERPRINTS),
            ("hecone/transactions/_tillhouse", OF_LIFETIMES),
            (
                "hecone/transactions/_tillhouse/lifetimes.json.zst",
                OF_LIFETIMES,
            ),
            (
                "hecone/transactions/_delta_log/_last_checkpoint",
                PASSED_OVER,
            ),
            ("pace", "`tillhouse sync pace --full`"),
            ("unified", "`tillhouse rebuild`"),
        ] {
            let at = place.path().join(object);
            let is_of_folder = ["published", "_tillhouse", "pace", "unified"]
                .iter()
                .any(|folder| object.ends_with(folder));
            let right = match is_of_folder {
                true => "a folder",
                false => "a file",
            };
            for kind in ["a pipe", "a folder", "a link that leads nowhere", "a file"] {
                if kind == right {
                    continue;
                }
                std::fs::create_dir_all(at.parent().unwrap()).unwrap();
                match kind {
                    "a pipe" => {
                        let made = std::process::Command::new("mkfifo").arg(&at).status();
                        assert!(made.unwrap().success());
                    }
                    "a folder" => std::fs::create_dir(&at).unwrap(),
                    "a file" => std::fs::write(&at, "x").unwrap(),
                    _ => std::os::unix::fs::symlink("nothing", &at).unwrap(),
                }
                let told = found().await;
                assert_eq!(told.len(), 1, "{object} {kind}: {told:?}");
                let text = told[0].to_string();
                assert!(text.contains(kind) && text.contains(object), "{text}");
                let advice = told[0].hint_text().unwrap();
                assert!(advice.contains(hint), "{object}: {advice}");
                let inspected = warehouse.inspect(&|_| {}).await.unwrap();
                let of_it = |damage: &&crate::Damage| damage.what.contains(kind);
                let all = inspected.damaged.iter().filter(of_it).count();
                assert_eq!(all, usize::from(object != "pace"), "{object} {kind}");
                match kind {
                    "a folder" => std::fs::remove_dir(&at).unwrap(),
                    _ => std::fs::remove_file(&at).unwrap(),
                }
            }
            let parent = at.parent().unwrap();
            if parent.ends_with("published") || parent.ends_with("_tillhouse") {
                std::fs::remove_dir(parent).unwrap();
            }
        }
        let log = place.path().join("hecone/transactions/_delta_log");
        let checkpoint = log.join(format!("{:020}.checkpoint.parquet", 10));
        std::fs::create_dir(&checkpoint).unwrap();
        // Other programs' folders are theirs.
        std::fs::create_dir(log.join("_sidecars")).unwrap();
        let told = found().await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].hint_text().unwrap().contains(PASSED_OVER));
    }
}
