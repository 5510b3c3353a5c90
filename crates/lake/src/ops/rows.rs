//! Rows of the bookkeeping tables: runs, slices, rejects, warnings, drift.
//!
//! Invariant: values as they are, without I/O; `row_codec` gives them columns.

use crate::log::figures::TableFigures;
use crate::log::table_version::TableVersion;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tillhouse_model::{ExpectedReads, ReadBy, Window, WindowRead};

/// One slice that was read to its end: a row of the coverage ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SliceRow {
    /// The pipeline.
    pub pipeline: String,
    /// The resource.
    pub resource: String,
    /// The tenant, where the source is asked tenant by tenant.
    pub tenant: Option<String>,
    /// The instants that are covered.
    pub window: Window,
    /// The time of its records that the window is about. `None` where the resource was read whole, and where it was not noted yet.
    pub read_by: Option<ReadBy>,
    /// The other time, where the resource is read by both.
    pub also_read_by: Option<ReadBy>,
    /// The run that read it.
    pub run_id: String,
    /// When its first page was asked for.
    pub read_at: Timestamp,
    /// Records landed or known.
    pub records: u64,
    /// Records that did not fit the contract.
    pub rejects: u64,
    /// The provider's own count.
    pub declared_total: Option<u64>,
    /// Number of readings until the slice was whole.
    pub attempts: u32,
    /// The package its records were committed in.
    pub load_id: i64,
}

impl SliceRow {
    /// False where it counts as never read: who read up to the start of a window has seen nothing of it.
    pub(crate) fn counts_as_read(&self) -> bool {
        self.read_at > self.window.from()
    }

    /// Its part of the coverage.
    pub fn as_read(&self) -> WindowRead {
        let Self {
            window,
            read_at,
            read_by,
            also_read_by,
            ..
        } = *self;
        WindowRead {
            window,
            read_at,
            read_by,
            also_read_by,
        }
    }
}

/// A record that did not fit its contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectRow {
    /// The pipeline.
    pub pipeline: String,
    /// The resource.
    pub resource: String,
    /// The record's key, as far as it is known.
    pub record_key: Option<String>,
    /// The field's path.
    pub field: String,
    /// Reason, without the value.
    pub reason: String,
    /// The tenant it was listed for, where the source is asked tenant by tenant. `None` also where it was not noted yet.
    pub tenant: Option<String>,
    /// The number of those without a key that look the same in one reading of a slice, up to and with this one; 1 where it has a key.
    pub nth: u64,
    /// The record's own time, by which its resource is read, where that can be read.
    pub time: Option<Timestamp>,
    /// The record with every closed value replaced.
    pub redacted: String,
    /// The time in which it lies: its slice's window, or all that was asked for with that where it has no time.
    pub slice: Window,
    /// The time of its records that the window is about. `None` where it was read whole or by id, and where it was not noted yet.
    pub read_by: Option<ReadBy>,
    /// The run that saw it last.
    pub run_id: String,
    /// When it was seen first.
    pub first_seen: Timestamp,
    /// When it was seen last.
    pub last_seen: Timestamp,
    /// When the record landed after all, or was found to be gone.
    pub resolved_at: Option<Timestamp>,
}

/// Something about a landed record that somebody should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarningRow {
    /// The pipeline.
    pub pipeline: String,
    /// The resource.
    pub resource: String,
    /// The record's key.
    pub record_key: String,
    /// The field's path.
    pub field: String,
    /// The rule that did not hold.
    pub rule: String,
    /// The original text, for open columns only.
    pub original: String,
    /// Content hash of the record's version that it is about, in hexadecimal digits; `None` where it is about no single version.
    pub content_hash: Option<String>,
    /// The run that saw it first.
    pub run_id: String,
    /// When it was seen first.
    pub first_seen: Timestamp,
}

/// A field the contract does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriftRow {
    /// The pipeline.
    pub pipeline: String,
    /// The resource.
    pub resource: String,
    /// The field's path.
    pub field: String,
    /// Number of times the run saw it.
    pub count: u64,
    /// The run.
    pub run_id: String,
    /// When.
    pub seen_at: Timestamp,
}

/// Record of a run, and the versions of all tables that belong together after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// Its id; ids sort by time.
    pub run_id: String,
    /// The command, `sync` or `rebuild`.
    pub command: String,
    /// The pipelines it was about.
    pub pipelines: Vec<String>,
    /// When it started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// `done` or `partial`.
    pub outcome: String,
    /// True if readers may use it.
    pub published: bool,
    /// The version of every table then existing, by path.
    pub tables: BTreeMap<String, TableVersion>,
    /// The sizes of these versions, by path. Runs of older versions of the program have none.
    pub figures: BTreeMap<String, TableFigures>,
    /// Counts of the run.
    pub counts: BTreeMap<String, u64>,
    /// Reads that every pipeline was configured for, by its name, whether or not it was read. Runs of older versions of the program have none.
    #[serde(default)]
    pub expected: BTreeMap<String, ExpectedReads>,
}

/// The published run that readers want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AsOf {
    /// The newest.
    Latest,
    /// That one.
    Run(String),
    /// The newest that had finished by then.
    Time(Timestamp),
}
