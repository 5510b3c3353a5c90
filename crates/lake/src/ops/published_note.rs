//! The note of the run that was published last, beside the format and apart from `ops/runs`.
//!
//! Invariant: written after the run's record. So a note names a run that was published; one that is missing or older says less, and never
//! something wrong. It names the versions of tables too: records and run can be lost together. A table that lost its last commits is a good table of yesterday, and `ops/runs` has no run record to tell.

use crate::log::figures::TableFigures;
use crate::ops::edit::OpsTables;
use crate::ops::rows::{AsOf, RunRecord};
use jiff::Timestamp;
use object_store::{ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};

const NOTE: &str = "ops/format/published.json";

/// A run that was published and whose record is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRun {
    /// Its id.
    pub run_id: String,
    /// The moment it ended.
    pub finished_at: Timestamp,
    /// The versions it named, by path.
    #[serde(default)]
    pub tables: BTreeMap<String, u64>,
    /// The sizes of these versions, by path.
    #[serde(default)]
    pub figures: BTreeMap<String, TableFigures>,
}

impl LostRun {
    fn of(run: &RunRecord) -> Self {
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
    /// Notes that a run was published.
    ///
    /// The run is published without: a note that cannot be written is said, and the one before stays true.
    pub(crate) async fn note_published(&self, run: &RunRecord) -> Result<()> {
        let bytes = serde_json::to_vec(&LostRun::of(run))
            .or_error(ErrorKind::Internal, "the note of a run cannot be written")?;
        let options = PutOptions {
            mode: PutMode::Overwrite,
            ..PutOptions::default()
        };
        let (store, path) = (self.registry.store(), self.registry.below(NOTE));
        if let Err(error) = store.put_opts(&path, bytes.into(), options).await {
            tracing::warn!(run = %run.run_id, %error, "the run is published, but {NOTE} could not be written: a loss of its record would not be noticed");
        }
        Ok(())
    }

    /// The run that was noted last; `None` where none was, as by versions of the program that did not.
    pub(crate) async fn noted_run(&self) -> Result<Option<LostRun>> {
        let failed = |e: object_store::Error| {
            Error::new(
                ErrorKind::Storage,
                "the note of the newest run cannot be read",
            )
            .at("file", NOTE)
            .because(e)
        };
        let bytes = match self.registry.store().get(&self.registry.below(NOTE)).await {
            Ok(found) => found.bytes().await.map_err(failed)?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        match serde_json::from_slice(&bytes) {
            Ok(note) => Ok(Some(note)),
            Err(_) => {
                tracing::warn!(
                    "{NOTE} is damaged and passed over; the next run that is published writes it anew"
                );
                Ok(None)
            }
        }
    }
}

/// The run that was noted, if whoever asks for this must get it or a later one, and its record is gone.
pub(crate) fn lost(noted: Option<LostRun>, runs: &[RunRecord], at: &AsOf) -> Option<LostRun> {
    noted.filter(|noted| {
        noted.is_asked_for(at) && !runs.iter().any(|run| run.run_id == noted.run_id)
    })
}
