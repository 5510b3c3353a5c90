//! Inspection of a whole warehouse: every log with its checkpoints, the footer of every data file that a kept run needs, and the files that stand beside tables.
//!
//! Invariant: changes nothing, and stops at nothing: what cannot be read is a finding.

use crate::log::checkpoint::damaged_version;
use crate::log::damage::LogFiles;
use crate::log::remedy::{OF_EARLIER, PASSED_OVER, remedy, replace_file};
use crate::log::table::TableHandle;
use crate::log::table_version::TableVersion;
use crate::maintenance::file_lifetimes::{self, FileLifetimes};
use crate::ops::row_codec::{BookkeepingRow, NumberedRun};
use crate::ops::rows::AsOf;
use crate::scan;
use crate::store::denied::{LET_READ, is_denied};
use crate::store::durable::LOG_FOLDER;
use crate::warehouse::Warehouse;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tillhouse_model::{Error, Result};

/// Folder of bookkeeping.
const OPS: &str = "ops";
/// Footers read at once.
const AT_ONCE: usize = 16;

/// Something that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Damage {
    /// The table's path below the warehouse; `ops` of a file of bookkeeping that is in no table.
    pub table: String,
    /// The file below the table; `None` where it is the log.
    pub file: Option<String>,
    /// The damage, in a sentence.
    pub what: String,
    /// True if `tillhouse rebuild` or `tillhouse sync` makes the table again from what the warehouse still has.
    pub can_be_rebuilt: bool,
    /// Advice.
    pub hint: String,
}

/// Findings of an inspection.
#[derive(Debug, Default, Serialize)]
pub struct Inspection {
    /// Tables that were looked at.
    pub tables: u64,
    /// Data files whose footers were read.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// Everything that is damaged, by table.
    pub damaged: Vec<Damage>,
    /// Lacks of runs before the newest, which has all and goes on without: no damage, since no command can do anything about them.
    pub of_earlier_runs: Vec<Damage>,
}

/// Advice where what vacuum has learnt of a table is damaged.
const LEARNT_ANEW: &str =
    "`tillhouse vacuum` reads the log instead, and writes it anew. It may be deleted.";

impl Warehouse {
    /// Reads every log, every record of a run that is kept, and the footer of every data file of the newest versions and of those that kept runs name. `watch` is told
    /// each table.
    ///
    /// Errors where the tables or the runs cannot be listed at all.
    pub async fn inspect(&self, watch: &(dyn Fn(&str) + Send + Sync)) -> Result<Inspection> {
        let mut inspection = Inspection::default();
        let mut named: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        let mut newest: BTreeMap<String, TableVersion> = BTreeMap::new();
        // What the newest run keeps of its tables is compared with their logs. Where that run is lost, whoever asks for it is told.
        if let Err(error) = self.ops().published(&AsOf::Latest).await {
            tracing::debug!(%error, "logs are not compared with a run");
        }
        let ops = self.ops();
        let heads = ops.run_heads().await;
        // Where the runs cannot be read, that is a finding of its own, and the newest versions are looked at.
        let runs = match (heads, ops.retention_marks().await) {
            (Ok(heads), Ok(marks)) => ops.kept_records(&heads, &marks).await,
            (heads, _) => heads.map(|_| Vec::new()),
        };
        if let Ok(runs) = &runs {
            newest = runs
                .first()
                .map(|run| run.tables.clone())
                .unwrap_or_default();
            for (path, version) in runs.iter().flat_map(|run| &run.tables) {
                let versions = named.entry(path.clone()).or_default();
                versions.extend(version.versions());
            }
        }
        let there = self.tables().await?;
        let mut paths: BTreeSet<String> = named.keys().cloned().collect();
        paths.extend(
            there
                .into_iter()
                .map(|(schema, name)| format!("{schema}/{name}")),
        );
        for path in paths {
            watch(&path);
            inspection.tables += 1;
            let versions = named.remove(&path).unwrap_or_default();
            let table = self.table(&path)?;
            let newest = newest.get(&path);
            if let Err(error) = inspection.look_at(&table, versions, newest).await {
                inspection.damaged.push(of_log(&path, &error));
            }
        }
        let is_told = |damage: &Damage| damage.table == NumberedRun::TABLE;
        if let Err(error) = &runs
            && !inspection.damaged.iter().any(is_told)
        {
            inspection.damaged.push(of_log(NumberedRun::TABLE, error));
        }
        let beside = ops.damaged_files().await.into_iter().map(|found| Damage {
            table: OPS.to_owned(),
            file: Some(found.file),
            what: found.what,
            can_be_rebuilt: true,
            hint: found.hint.to_owned(),
        });
        inspection.damaged.extend(beside);
        inspection.look_for_misplaced(self).await?;
        inspection.damaged.sort();
        inspection.of_earlier_runs.sort();
        Ok(inspection)
    }
}

impl Inspection {
    /// Looks for what stands in the place of one of the warehouse's own objects. What is no file is not told of as one that is damaged, too.
    async fn look_for_misplaced(&mut self, warehouse: &Warehouse) -> Result<()> {
        for found in warehouse.all_misplaced(&[]).await? {
            let is_it = |damage: &Damage| {
                damage.table == found.table && damage.file.as_ref() == Some(&found.file)
            };
            self.damaged.retain(|damage| !is_it(damage));
            self.of_earlier_runs.retain(|damage| !is_it(damage));
            self.damaged.push(Damage {
                table: found.table,
                file: Some(found.file),
                what: found.what,
                can_be_rebuilt: true,
                hint: found.hint,
            });
        }
        Ok(())
    }

    /// Looks at what spares readers of a table and vacuum work. Without it everything is there all the same.
    async fn look_beside(&mut self, table: &TableHandle) -> Result<()> {
        let found = |file: String, what: String, hint: &str| Damage {
            table: table.path().to_owned(),
            file: Some(file),
            what,
            can_be_rebuilt: true,
            hint: hint.to_owned(),
        };
        for (file, what) in table.damaged_checkpoints().await? {
            // The newest version has been told by now, with it or past it.
            let is_mended = match damaged_version(&file) {
                Some(version) => table.can_be_mended(version).await,
                None => true,
            };
            let damage = found(file, what, PASSED_OVER);
            match is_mended {
                true => self.damaged.push(damage),
                false => self.of_earlier_runs.push(of_earlier(damage)),
            }
        }
        if let Some(file) = file_lifetimes::damaged_file(table).await? {
            let damage = found(file, "is damaged".to_owned(), LEARNT_ANEW);
            self.damaged.push(damage);
        }
        Ok(())
    }

    async fn look_at(
        &mut self,
        table: &TableHandle,
        mut versions: BTreeSet<u64>,
        named: Option<&TableVersion>,
    ) -> Result<()> {
        let listed = |error| table.storage_error("a table cannot be listed", error);
        let (mut sizes, mut commits) = (HashMap::new(), BTreeSet::new());
        let store = table.store();
        let mut found = store.list(None);
        while let Some(file) = found.try_next().await.map_err(listed)? {
            let in_log = file
                .location
                .parts()
                .next()
                .is_some_and(|part| part.as_ref() == LOG_FOLDER);
            match in_log {
                true => {
                    let name = file.location.filename().unwrap_or_default();
                    commits.extend(LogFiles::of(std::iter::once(name)).commits);
                }
                false => drop(sizes.insert(file.location, file.size)),
            }
        }
        table.check_log().await?;
        self.look_beside(table).await?;
        let Some(latest) = table.latest().await? else {
            // A folder that some stores leave of a table that is gone, and that nobody names.
            if versions.is_empty() {
                return Ok(());
            }
            let newest = versions.last().copied().unwrap_or_default();
            // Says that it is gone.
            let gone = table.at(&newest.into()).await.map(drop);
            return match gone {
                Err(error) if named.is_none() => {
                    let damage = of_log(table.path(), &error);
                    self.of_earlier_runs.push(of_earlier(damage));
                    Ok(())
                }
                gone => gone,
            };
        };
        if let Some(lost) = versions.split_off(&(latest.version + 1)).last() {
            let is_of_earlier = named.is_none_or(|named| named.newest() <= latest.version);
            let error = lost_version(table, *lost, latest.version);
            let damage = of_log(table.path(), &error);
            match is_of_earlier {
                true => self.of_earlier_runs.push(of_earlier(damage)),
                false => self.damaged.push(damage),
            }
        }
        versions.insert(latest.version);
        // What whoever asks today needs.
        let mut current: BTreeSet<u64> = named
            .map(|named| named.versions().collect())
            .unwrap_or_default();
        current.retain(|version| *version <= latest.version);
        current.insert(latest.version);
        let (mut needed, today) =
            match FileLifetimes::read(table, &commits, &versions, &latest).await {
                Ok(lifetimes) => {
                    let today = lifetimes.needed(&current);
                    (lifetimes.needed(&versions), today)
                }
                Err(error) => {
                    let damage = of_log(table.path(), &error);
                    let past = FileLifetimes::read_past(table, &commits, &versions, &latest).await;
                    match past {
                        Ok((lifetimes, untold)) if untold.is_disjoint(&current) => {
                            self.of_earlier_runs.push(of_earlier(damage));
                            (lifetimes.needed(&versions), lifetimes.needed(&current))
                        }
                        Ok(_) | Err(_) => {
                            self.damaged.push(damage);
                            let files = latest.files.iter();
                            let today: Vec<(String, u64)> =
                                files.map(|file| (file.path.clone(), file.size)).collect();
                            (today.clone(), today)
                        }
                    }
                }
            };
        needed.sort();
        let today: HashSet<String> = today.into_iter().map(|(path, _)| path).collect();
        let read = stream::iter(needed).map(|(path, size)| {
            let there = Path::parse(&path)
                .ok()
                .and_then(|path| sizes.get(&path))
                .copied();
            async move {
                let what = match there {
                    None => Some("is missing".to_owned()),
                    Some(there) if there != size => {
                        Some(format!("has {there} bytes instead of {size}"))
                    }
                    Some(_) => scan::check_footer(table, &path, size).await.err(),
                };
                (path, size, what)
            }
        });
        for (path, size, what) in read.buffered(AT_ONCE).collect::<Vec<_>>().await {
            self.files += 1;
            self.bytes += size;
            let Some(what) = what else { continue };
            let is_denied = is_denied(&what);
            // It may be as good as any: whoever may read it has to look.
            let is_needed_today = is_denied || today.contains(&path);
            let (what, hint) = match is_denied {
                true => (
                    "may not be read by the user that runs this".to_owned(),
                    LET_READ.to_owned(),
                ),
                false => (what, replace_file(table.path())),
            };
            let damage = Damage {
                table: table.path().to_owned(),
                file: Some(path),
                what,
                can_be_rebuilt: can_be_rebuilt(table.path()),
                hint,
            };
            match is_needed_today {
                true => self.damaged.push(damage),
                false => self.of_earlier_runs.push(of_earlier(damage)),
            }
        }
        Ok(())
    }
}

fn lost_version(table: &TableHandle, named: u64, newest: u64) -> Error {
    let text = format!("a run names version {named}, and the newest is {newest}");
    Error::new(tillhouse_model::ErrorKind::Storage, text).hint(remedy(table.path()))
}

fn of_log(path: &str, error: &Error) -> Damage {
    Damage {
        table: path.to_owned(),
        file: None,
        what: error.to_string(),
        can_be_rebuilt: can_be_rebuilt(path),
        hint: error
            .hint_text()
            .map_or_else(|| remedy(path), str::to_owned),
    }
}

/// A lack that only runs before the newest have.
fn of_earlier(damage: Damage) -> Damage {
    Damage {
        hint: OF_EARLIER.to_owned(),
        ..damage
    }
}

/// True for tables that are made from others.
fn can_be_rebuilt(path: &str) -> bool {
    matches!(path.split_once('/'), Some(("unified" | "statistics", _)))
}
