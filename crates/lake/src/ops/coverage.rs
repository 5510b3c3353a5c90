//! Coverage that the ledger tells of, folded: old readings joined as far as nothing that is asked of them changes.
//!
//! Invariant: [`fold`] changes no answer of a [`Coverage`](tillhouse_model::Coverage) that is made of its rows, and its result grows with the
//! gaps there are, not with the number of runs.
//!
//! ```text
//!   readings of one resource and tenant, by time      a==b@1  b==c@2  c==d@3  d=======e@4
//!   the newest run's stay as they are                                         d=======e@4
//!   the others are joined where they touch            a===============d@3
//! ```
//!
//! Of a run that saw nothing of what it asked for, since a clock stood before all of it, one reading stays until a later run sees something: it says
//! why nothing counts as read.
//!
//! An instant that was read by the time things happened says since when its changes have to be known: since it was read last. Two such
//! readings are alike, and are joined, only where the readings by change time reach from one to the other without a gap.

use crate::ops::rows::SliceRow;
use crate::ops::tables::CLOCKS_DIFFER;
use crate::store::json_seal;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::{ReadBy, Window, WindowRead, merge_windows, subtract_windows};

/// Reading of a window: of one slice, or of older ones that were joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoverageRow {
    /// The pipeline.
    pub pipeline: String,
    /// The resource.
    pub resource: String,
    /// The tenant, where the source is asked tenant by tenant.
    pub tenant: Option<String>,
    /// Window that was read, and when.
    pub read: WindowRead,
    /// The run that read it, or the last of those whose readings were joined.
    pub run_id: String,
}

impl From<&SliceRow> for CoverageRow {
    fn from(row: &SliceRow) -> Self {
        Self {
            pipeline: row.pipeline.clone(),
            resource: row.resource.clone(),
            tenant: row.tenant.clone(),
            read: row.as_read(),
            run_id: row.run_id.clone(),
        }
    }
}

impl CoverageRow {
    /// Its part of the coverage.
    pub fn as_read(&self) -> WindowRead {
        self.read
    }

    /// True if whoever read it did so before its window began, by the clock that counted: nothing of it was seen. Of a slice that counts as never read any
    /// more the reading ends where the window begins.
    pub fn is_of_clock_behind(&self) -> bool {
        self.read.read_at < self.read.window.from()
    }
}

/// Pipeline, resource and tenant.
type CoverageKey = (String, String, Option<String>);

/// Up to when a run should have read everything, where that is `until` by this machine's clock: no further than it could read by a provider's clock that is
/// behind by no more than clocks may differ. Each request of the run is moved by what the two clocks showed for it, so that without this every resource would
/// lack the moments by which another one came further.
///
/// A clock that is further behind is told as such, and what was not seen by it lacks; so does a window that counts as never read any more.
pub fn readable_until<'a>(
    run_id: &str,
    until: Timestamp,
    rows: impl IntoIterator<Item = &'a CoverageRow>,
) -> Timestamp {
    let asked = rows
        .into_iter()
        .filter(|row| row.run_id == run_id && row.read.read_at != row.read.window.from())
        .map(|row| row.read.read_at)
        .filter(|read_at| until.duration_since(*read_at) <= CLOCKS_DIFFER)
        .min();
    asked.map_or(until, |asked| asked.min(until))
}

/// Folds readings. Those that were read after `now`, by a clock that was ahead, stay as they are.
pub(crate) fn fold(rows: Vec<CoverageRow>, now: Timestamp) -> Vec<CoverageRow> {
    let mut groups: BTreeMap<CoverageKey, Vec<CoverageRow>> = BTreeMap::new();
    for row in rows {
        let key = (
            row.pipeline.clone(),
            row.resource.clone(),
            row.tenant.clone(),
        );
        groups.entry(key).or_default().push(row);
    }
    groups
        .into_values()
        .flat_map(|rows| fold_group(rows, now))
        .collect()
}

/// Folds the readings of one resource of one tenant.
fn fold_group(mut rows: Vec<CoverageRow>, now: Timestamp) -> Vec<CoverageRow> {
    rows.sort_by(|a, b| {
        (a.read.read_at, &a.run_id, a.read.window).cmp(&(b.read.read_at, &b.run_id, b.read.window))
    });
    let seen = |row: &CoverageRow| row.read.seen();
    if rows.iter().all(|row| seen(row).is_none()) {
        // That there is such a tenant is all that is left to tell.
        return rows.pop().into_iter().collect();
    }
    let followed = merge_windows(
        rows.iter()
            .filter(|row| row.read.read_by == Some(ReadBy::ChangeTime))
            .filter_map(seen)
            .collect(),
    );
    let follows_changes = rows.iter().any(|row| row.read.also_read_by.is_some());
    let newest = rows
        .iter()
        .rev()
        .find(|row| row.read.read_at <= now && seen(row).is_some())
        .map(|row| row.run_id.clone());
    let of_clock_behind = rows
        .iter()
        .filter(|row| row.is_of_clock_behind())
        .max_by(|a, b| a.run_id.cmp(&b.run_id))
        .filter(|row| newest.as_ref().is_none_or(|newest| *newest < row.run_id))
        .cloned();
    let (mut kept, older): (Vec<CoverageRow>, Vec<CoverageRow>) = rows
        .into_iter()
        .filter(|row| seen(row).is_some())
        .partition(|row| row.read.read_at > now || Some(&row.run_id) == newest.as_ref());
    let mut kinds: BTreeMap<(Option<&str>, Option<&str>), Vec<CoverageRow>> = BTreeMap::new();
    for row in older {
        let kind = (
            row.read.read_by.map(ReadBy::as_str),
            row.read.also_read_by.map(ReadBy::as_str),
        );
        kinds.entry(kind).or_default().push(row);
    }
    for rows in kinds.into_values() {
        // Of readings of everything nobody knows yet if the resource will be read by change time as well.
        let is_dated = rows.iter().any(|row| match row.read.read_by {
            None => true,
            Some(ReadBy::EventTime) => follows_changes,
            Some(ReadBy::ChangeTime) => false,
        });
        let followed = is_dated.then_some(followed.as_slice());
        kept.extend(join(&rows, followed));
    }
    kept.extend(of_clock_behind);
    kept
}

/// Joins readings of one kind, in the order in which they were made. With the windows that were read by change time only those are joined that
/// nothing tells apart.
fn join(rows: &[CoverageRow], followed: Option<&[Window]>) -> Vec<CoverageRow> {
    // The newest reading of every instant, in the order of the instants.
    let mut left: Vec<Window> = Vec::new();
    let mut pieces: Vec<(Window, &CoverageRow)> = Vec::new();
    for row in rows.iter().rev() {
        let Some(seen) = row.read.seen() else {
            continue;
        };
        pieces.extend(
            subtract_windows(seen, &left)
                .into_iter()
                .map(|piece| (piece, row)),
        );
        left.push(seen);
        left = merge_windows(left);
    }
    pieces.sort_by_key(|(window, _)| *window);
    let are_alike = |a: Timestamp, b: Timestamp| {
        let Some(followed) = followed else {
            return true;
        };
        let holds = |window: &Window| window.from() <= a.min(b) && a.max(b) <= window.to();
        a == b || followed.iter().any(holds)
    };
    let mut joined: Vec<CoverageRow> = Vec::new();
    for (window, row) in pieces {
        let before = joined.last_mut().filter(|before| {
            before.read.window.to() == window.from()
                && are_alike(before.read.read_at, row.read.read_at)
        });
        let whole = before
            .as_ref()
            .and_then(|before| Window::new(before.read.window.from(), window.to()).ok());
        match (before, whole) {
            (Some(before), Some(whole)) => {
                before.read.window = whole;
                if row.read.read_at > before.read.read_at {
                    before.read.read_at = row.read.read_at;
                    before.run_id.clone_from(&row.run_id);
                }
            }
            _ => joined.push(CoverageRow {
                read: WindowRead { window, ..row.read },
                ..row.clone()
            }),
        }
    }
    // The first reading of all says since when changes have to be known.
    let first = rows.first().filter(|first| {
        joined
            .iter()
            .all(|row| row.read.read_at > first.read.read_at)
    });
    joined.extend(first.cloned());
    joined
}

/// Folded coverage as it stands on storage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FoldedCoverage {
    /// Checksum of all of it; `None` where an earlier version of the program wrote it.
    #[serde(
        rename = "tillhouseChecksum",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub checksum: Option<String>,
    /// The id of the ledger's table: another one that took its place was never folded.
    pub table: String,
    /// The version of the ledger up to which it counts.
    pub version: u64,
    /// Number of rows that it is made of.
    pub counted: u64,
    /// Files that it counts whose rows say no version; of older versions of the program.
    pub files: BTreeSet<String>,
    /// Its rows as they stand on storage.
    pub stored: Vec<StoredCoverage>,
    /// Content of the lists that were read whole, as far as their tables hold nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<KnownList>,
    /// When the children of each pipeline's records were counted last, microseconds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub counted_at: BTreeMap<String, i64>,
}

/// Findings of a run that stand beside the folded coverage, for the next run to go by.
#[derive(Debug, Clone, Default)]
pub struct RunFindings {
    /// Lists that were read whole.
    pub lists: Vec<KnownList>,
    /// Pipelines whose records' children were counted, and when.
    pub counted: BTreeMap<String, Timestamp>,
}

/// Content of a resource that is read whole, of one tenant, by its fingerprint.
///
/// A list that comes with the same fingerprint again, while its table has the same version, changes nothing in it, and need not be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownList {
    /// The pipeline.
    pub pipeline: String,
    /// The resource.
    pub resource: String,
    /// The tenant, where the source is asked tenant by tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The fingerprint of its records.
    pub fingerprint: String,
    /// The version of its source table after it was landed.
    pub version: u64,
}

impl KnownList {
    /// Pipeline, resource and tenant.
    pub(crate) fn key(&self) -> (&str, &str, Option<&str>) {
        (&self.pipeline, &self.resource, self.tenant.as_deref())
    }
}

/// One reading on storage; times in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredCoverage {
    pipeline: String,
    resource: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    from: i64,
    to: i64,
    read_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read_by: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    also_read_by: Option<String>,
    run: String,
}

impl FoldedCoverage {
    /// The same with these rows.
    pub(crate) fn with_rows(self, rows: &[CoverageRow]) -> Self {
        let stored = rows.iter().map(StoredCoverage::of).collect();
        Self { stored, ..self }
    }

    /// Content of the file; `None` where it is not what was written.
    pub(crate) fn read(file: &[u8]) -> Option<Self> {
        json_seal::is_sound(file)
            .then(|| serde_json::from_slice(file).ok())
            .flatten()
    }

    /// Its rows; `None` where one cannot be read.
    pub(crate) fn rows(&self) -> Option<Vec<CoverageRow>> {
        self.stored.iter().map(StoredCoverage::row).collect()
    }
}

impl StoredCoverage {
    fn of(row: &CoverageRow) -> Self {
        let name = |by: Option<ReadBy>| by.map(|by| by.as_str().to_owned());
        Self {
            pipeline: row.pipeline.clone(),
            resource: row.resource.clone(),
            tenant: row.tenant.clone(),
            from: row.read.window.from().as_microsecond(),
            to: row.read.window.to().as_microsecond(),
            read_at: row.read.read_at.as_microsecond(),
            read_by: name(row.read.read_by),
            also_read_by: name(row.read.also_read_by),
            run: row.run_id.clone(),
        }
    }

    fn row(&self) -> Option<CoverageRow> {
        let at = |micros: i64| Timestamp::from_microsecond(micros).ok();
        let by = |name: &Option<String>| match name {
            None => Some(None),
            Some(name) => ReadBy::parse(name).map(Some),
        };
        Some(CoverageRow {
            pipeline: self.pipeline.clone(),
            resource: self.resource.clone(),
            tenant: self.tenant.clone(),
            read: WindowRead {
                window: Window::new(at(self.from)?, at(self.to)?).ok()?,
                read_at: at(self.read_at)?,
                read_by: by(&self.read_by)?,
                also_read_by: by(&self.also_read_by)?,
            },
            run_id: self.run.clone(),
        })
    }
}

#[cfg(test)]
#[path = "coverage_tests.rs"]
mod tests;
