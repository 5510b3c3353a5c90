//! The note of the run that was published last, apart from `ops/runs`: its record, and how to open every table without its log.
//!
//! Invariant: written after the run's record, under the run's number. So a note names a run that was published; one
//! that is missing or older says less, and never something wrong: whoever finds `ops/runs` ahead of the note asks `ops/runs`. A note whose
//! record is gone from `ops/runs` tells that it was lost. A table that lost its last commits is a good table of yesterday, and the note
//! says so too. A note that is not what was written is passed over, by the checksum of its frame.

use crate::log::figures::TableFigures;
use crate::log::registry::OPENED;
use crate::log::snapshot::{Snapshot, StoredSnapshot};
use crate::log::table::TableHandle;
use crate::log::table_version::TableVersion;
use crate::ops::edit::OpsTables;
use crate::ops::row_codec::{BookkeepingRow, NumberedRun};
use crate::ops::rows::{AsOf, RunRecord};
use crate::store::bounded::bounded_bytes;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

pub(crate) const FOLDER: &str = "ops/published";
const SUFFIX: &str = ".json.zst";
/// Notes that stay: a reader may have listed the last but one just now.
const KEPT: usize = 2;
/// Most times that a note is looked for which others delete meanwhile.
const ROUNDS: u32 = 3;
/// Level of compression.
const LEVEL: i32 = 3;

/// Place of a run's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunPlace {
    /// The number of the run, higher than that of any before.
    pub number: u64,
    /// The version of `ops/runs` that holds the record first: the same, unless `ops/runs` has lost versions.
    pub version: u64,
}

/// Note of the run that was published last.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PublishedNote {
    pub place: RunPlace,
    pub run: RunRecord,
    /// The versions that it names, and that of `ops/runs`, by path, as far as they were known.
    snapshots: BTreeMap<String, StoredSnapshot>,
}

impl PublishedNote {
    /// Content of a note's file; `None` where it is not what was written.
    pub(super) fn read(file: &[u8]) -> Option<Self> {
        let json = zstd::stream::decode_all(file).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// True if the note is of the newest record: `ops/runs` has no rows that are newer than the note's version, which is what it was.
    pub(super) fn is_newest(&self, runs: &Snapshot) -> bool {
        let version = self.place.version;
        runs.version >= version
            && runs.rows_since <= version
            && (runs.version > version || self.is_of(runs))
    }

    /// True if `ops/runs` is, in the note's version, what it was when the note was written, as far as that tells.
    fn is_of(&self, runs: &Snapshot) -> bool {
        let noted = self.snapshots.get(NumberedRun::TABLE);
        noted
            .and_then(|noted| noted.open().ok())
            .is_none_or(|noted| TableFigures::of(&noted) == TableFigures::of(runs))
    }
}

/// The note that this process has read or written last.
pub(crate) type NoteCache = Arc<Mutex<Option<KnownNote>>>;

/// Note that this process knows, with what it saw beside it.
#[derive(Debug, Clone)]
pub(crate) struct KnownNote {
    note: Arc<PublishedNote>,
    /// Numbers of all notes there were, the newest first.
    numbers: Vec<u64>,
    /// True if it was the newest while the run held its pipelines.
    is_of_run: bool,
}

/// Run that was published and is still to be noted.
#[must_use]
pub struct UnnotedRun {
    ops: OpsTables,
    run: RunRecord,
    place: RunPlace,
    /// Numbers of the notes there were.
    earlier: Vec<u64>,
    /// The table of the runs.
    table: Arc<TableHandle>,
}

impl UnnotedRun {
    pub(super) fn new(
        ops: &OpsTables,
        run: &RunRecord,
        (place, earlier): (RunPlace, Vec<u64>),
        table: &Arc<TableHandle>,
    ) -> Self {
        Self {
            ops: ops.clone(),
            run: run.clone(),
            place,
            earlier,
            table: Arc::clone(table),
        }
    }

    /// Notes the run, and writes the checkpoint that its record makes due. It is published without: what fails is said.
    pub async fn note(self) {
        let Self {
            ops,
            run,
            place,
            earlier,
            table,
        } = self;
        tokio::join!(
            ops.note_published(&run, place, &earlier),
            table.checkpoint_if_due(place.version),
        );
    }
}

/// A run that was published and whose record is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRun {
    /// Its id.
    pub run_id: String,
    /// The moment it ended.
    pub finished_at: Timestamp,
    /// The versions it named, by path.
    #[serde(default)]
    pub tables: BTreeMap<String, TableVersion>,
    /// The sizes of these versions, by path.
    #[serde(default)]
    pub figures: BTreeMap<String, TableFigures>,
}

impl LostRun {
    pub(crate) fn of(run: &RunRecord) -> Self {
        let RunRecord {
            run_id,
            finished_at,
            tables,
            figures,
            ..
        } = run.clone();
        Self {
            run_id,
            finished_at,
            tables,
            figures,
        }
    }

    /// Run to compare the tables with, since its record is gone.
    pub fn as_run(&self) -> RunRecord {
        let Self {
            run_id,
            finished_at,
            tables,
            figures,
        } = self.clone();
        RunRecord {
            run_id,
            command: "sync".to_owned(),
            pipelines: Vec::new(),
            started_at: finished_at,
            finished_at,
            outcome: "done".to_owned(),
            published: true,
            tables,
            figures,
            counts: BTreeMap::new(),
            expected: BTreeMap::new(),
        }
    }

    /// The error of whoever reads the newest run.
    pub fn error(&self) -> Error {
        Error::new(ErrorKind::Storage, "the record of the run that was published last is missing in ops/runs")
            .at("run", &self.run_id)
            .at("ended", self.finished_at.to_string())
            .hint(
                "Put the files of ops/runs back from a copy. Where there is none, run `tillhouse sync`: it publishes the tables as they are \
                 and what it reads. Until then `--as-of RUN` answers from an earlier run.",
            )
    }

    /// True if whoever asks for this would get the run.
    fn is_asked_for(&self, at: &AsOf) -> bool {
        match at {
            AsOf::Latest => true,
            AsOf::Run(run) => *run == self.run_id,
            AsOf::Time(time) => self.finished_at <= *time,
        }
    }
}

impl OpsTables {
    /// Notes a run that was published, with the versions of its tables; earlier ones of these notes go, but for the last.
    ///
    /// The run is published without: a note that cannot be written is said, and readers ask `ops/runs`.
    pub(crate) async fn note_published(&self, run: &RunRecord, place: RunPlace, earlier: &[u64]) {
        let named = run
            .tables
            .iter()
            .map(|(path, version)| (path.as_str(), version.clone()));
        let all = named.chain([(NumberedRun::TABLE, place.version.into())]);
        let opened = stream::iter(all).map(|(path, version)| async move {
            let stored = match self.registry.table(path) {
                Ok(table) => table.stored(&version).await,
                Err(error) => Err(error),
            };
            match stored {
                Ok(stored) => Some((path.to_owned(), stored?)),
                Err(error) => {
                    tracing::debug!(path, %error, "the table is opened from its log");
                    None
                }
            }
        });
        let snapshots = opened
            .buffered(OPENED)
            .filter_map(async |found| found)
            .collect()
            .await;
        let note = PublishedNote {
            place,
            run: run.clone(),
            snapshots,
        };
        let (written, forgotten) = tokio::join!(
            self.write_note(&note),
            self.forget_notes(earlier, place.number)
        );
        if let Err(error) = written.and(forgotten) {
            tracing::warn!(run = %run.run_id, %error, "the run is published, but {FOLDER} could not be brought up to date: the next command reads more");
        }
        let numbers = std::iter::once(place.number).chain(earlier.iter().copied());
        self.keep_note(&Arc::new(note), numbers.collect());
    }

    async fn write_note(&self, note: &PublishedNote) -> Result<()> {
        let failed = "the note of a run cannot be written";
        let json = serde_json::to_vec(note).or_error(ErrorKind::Internal, failed)?;
        let bytes = compressed(&json).or_error(ErrorKind::Internal, failed)?;
        let options = PutOptions {
            mode: PutMode::Overwrite,
            ..PutOptions::default()
        };
        let path = self.registry.below(&note_path(note.place.number));
        let written = self
            .registry
            .store()
            .put_opts(&path, bytes.into(), options)
            .await;
        written.map(drop).or_error(ErrorKind::Storage, failed)
    }

    /// Deletes the notes before a number of which another one before it is newer.
    async fn forget_notes(&self, numbers: &[u64], before: u64) -> Result<()> {
        let old = numbers.iter().filter(|number| **number < before);
        for old in old.skip(KEPT - 1).copied() {
            let path = self.registry.below(&note_path(old));
            match self.registry.store().delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => {
                    return Err(error)
                        .or_error(ErrorKind::Storage, "an old note cannot be deleted");
                }
            }
        }
        Ok(())
    }

    /// The numbers of the notes there are, the newest first.
    async fn note_numbers(&self) -> Result<Vec<u64>> {
        let folder = self.registry.below(FOLDER);
        let listed: Vec<_> = self
            .registry
            .store()
            .list(Some(&folder))
            .try_collect()
            .await
            .or_error(
                ErrorKind::Storage,
                "the notes of published runs cannot be listed",
            )
            .map_err(|e| e.at("folder", FOLDER))?;
        let mut numbers: Vec<u64> = listed
            .iter()
            .filter_map(|found| {
                found
                    .location
                    .filename()?
                    .strip_suffix(SUFFIX)?
                    .parse()
                    .ok()
            })
            .collect();
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        Ok(numbers)
    }

    /// The newest note; `None` where there is none, as of versions of the program that wrote none. From then on the tables it
    /// tells of are opened by it. Two requests, or one where this process has it already.
    pub(crate) async fn newest_note(&self) -> Result<Option<Arc<PublishedNote>>> {
        Ok(self.notes().await?.0)
    }

    /// As [`OpsTables::newest_note`], with the numbers of all notes there are, the newest first.
    pub(super) async fn notes(&self) -> Result<(Option<Arc<PublishedNote>>, Vec<u64>)> {
        for _ in 0..ROUNDS {
            let mut is_gone = false;
            let numbers = self.note_numbers().await?;
            for number in numbers.iter().copied() {
                if let Some(known) = self.known_note().filter(|note| note.place.number == number) {
                    self.keep_note(&known, numbers.clone());
                    return Ok((Some(known), numbers));
                }
                match self.read_note(number).await? {
                    Found::Note(note) => {
                        let note = Arc::new(*note);
                        for (path, stored) in &note.snapshots {
                            self.registry.table(path)?.offer(stored.clone());
                        }
                        self.keep_note(&note, numbers.clone());
                        return Ok((Some(note), numbers));
                    }
                    Found::Damaged => {
                        let file = note_path(number);
                        tracing::warn!(
                            "{file} is damaged and passed over; the next run that is published writes a new one"
                        );
                    }
                    Found::Gone => {
                        is_gone = true;
                        break;
                    }
                }
            }
            if !is_gone {
                return Ok((None, numbers));
            }
        }
        Ok((None, Vec::new()))
    }

    fn known_note(&self) -> Option<Arc<PublishedNote>> {
        let known = self.note.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|known| Arc::clone(&known.note))
    }

    fn keep_note(&self, note: &Arc<PublishedNote>, numbers: Vec<u64>) {
        let known = KnownNote {
            note: Arc::clone(note),
            numbers,
            is_of_run: self.registry.is_held(),
        };
        *self.note.lock().unwrap_or_else(PoisonError::into_inner) = Some(known);
    }

    /// The newest note and the numbers of all, without a request: the run has seen them, and `ops/runs` has had no rows since. A run that another process
    /// publishes meanwhile brings a row, and whoever commits beside it loses and asks.
    pub(super) fn notes_of_run(&self, runs: &Snapshot) -> Option<(Arc<PublishedNote>, Vec<u64>)> {
        let known = self.note.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.as_ref().filter(|known| known.is_of_run)?;
        let is_newest = self.registry.is_held() && known.note.is_newest(runs);
        is_newest.then(|| (Arc::clone(&known.note), known.numbers.clone()))
    }

    /// The newest note, for whoever opens its tables next. A run that has read one before it held its pipelines asks whether that is the newest still, and
    /// opens the tables meanwhile: what comes of them is what it would be after.
    pub(super) async fn note_to_open(&self) -> Result<Option<Arc<PublishedNote>>> {
        let known = self.known_note().filter(|_| self.registry.is_held());
        let Some(known) = known else {
            return self.newest_note().await;
        };
        let tables = known.run.tables.keys().map(String::as_str);
        let tables = tables
            .chain([NumberedRun::TABLE])
            .chain(Self::named_tables());
        let (numbers, ()) = tokio::join!(self.note_numbers(), self.registry.open_for_run(tables));
        let numbers = numbers?;
        if numbers.first() == Some(&known.place.number) {
            self.keep_note(&known, numbers);
            return Ok(Some(known));
        }
        // Another run was published meanwhile. Its note first, then the tables: what it names must be there.
        let note = self.newest_note().await;
        self.registry.look_again();
        note
    }

    /// Reads the newest note before it is wanted. What fails is told to whoever wants it.
    pub async fn read_note_ahead(&self) {
        if let Err(error) = self.newest_note().await {
            tracing::debug!(%error, "the note of the newest run is read later");
        }
    }

    async fn read_note(&self, number: u64) -> Result<Found> {
        let file = note_path(number);
        let path: Path = self.registry.below(&file);
        let bytes = match self.registry.store().get(&path).await {
            Ok(found) => bounded_bytes(found).await,
            Err(error) => Err(error),
        };
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(object_store::Error::NotFound { .. }) => return Ok(Found::Gone),
            Err(error) => {
                return Err(error)
                    .or_error(
                        ErrorKind::Storage,
                        "the note of the newest run cannot be read",
                    )
                    .map_err(|e| e.at("file", file));
            }
        };
        Ok(match PublishedNote::read(&bytes) {
            Some(note) => Found::Note(Box::new(note)),
            None => Found::Damaged,
        })
    }
}

/// Content of a note's place.
enum Found {
    Note(Box<PublishedNote>),
    Damaged,
    Gone,
}

/// A frame that says its content's checksum: whoever decodes another content gets an error.
fn compressed(json: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.write_all(json)?;
    encoder.finish()
}

fn note_path(number: u64) -> String {
    format!("{FOLDER}/{number:020}{SUFFIX}")
}

/// The run that was noted, if whoever asks for this must get it or a later one, and its record is gone.
pub(crate) fn lost(noted: Option<&RunRecord>, runs: &[RunRecord], at: &AsOf) -> Option<LostRun> {
    noted.map(LostRun::of).filter(|noted| {
        noted.is_asked_for(at) && !runs.iter().any(|run| run.run_id == noted.run_id)
    })
}
