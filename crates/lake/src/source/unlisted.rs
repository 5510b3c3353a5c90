//! Records that a listing of their time had before, and has no more.
//!
//! Invariant: only the newest version of a record says when it happened and whether it is there. A record is missing only from listings of its own tenant
//! that were read to their end, or from those of all tenants where its table names none. Of files that lie elsewhere in time nothing is read, but to look
//! for newer versions of what is missing.

use crate::log::data_file::DataFile;
use crate::scan;
use crate::source::dedup::{self, KeyIndex, KeyLookup};
use crate::source::table::{SourceTable, micros};
use crate::source::tombstones::TOMBSTONE_BIT;
use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::SignedDuration;
use std::borrow::Cow;
use std::collections::BTreeMap;
use tillhouse_model::table::{RECORD_KEY, RECORD_TIME};
use tillhouse_model::{Error, ErrorKind, Result, Window, identifier};

/// Most records that are looked at: a provider that lists nothing any more has not taken back a year of sales.
const MOST: usize = 1 << 17;

/// Record that was not listed again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnlistedRecord {
    /// When it happened, microseconds UTC.
    pub record_time: i64,
    /// Its key.
    pub key: String,
}

impl SourceTable {
    /// The records that lie in `listings`, windows of event time that were read to their end by tenant, and did not come; in the order of time, and at most
    /// some 130,000. `tenants` are all that are read. What lies nearer than `margin` to an end of what was read is left out: the provider may list it by a time
    /// of its own, beyond that end. A record that is marked as deleted is none.
    ///
    /// Errors with [`ErrorKind::Storage`].
    pub async fn unlisted(
        &self,
        listings: &[(Option<String>, Window)],
        tenants: &[Option<String>],
        margin: SignedDuration,
        came: impl Fn(&str) -> bool + Send,
    ) -> Result<Vec<UnlistedRecord>> {
        let table = self.table()?;
        let Some(snapshot) = table.latest().await? else {
            return Ok(Vec::new());
        };
        let margin = micros(margin);
        let all = Spans::of(listings.iter().map(|(_, window)| *window)).within(margin);
        let mut missing: BTreeMap<String, i64> = BTreeMap::new();
        let files: Vec<&DataFile> = snapshot
            .files
            .iter()
            .filter(|file| all.meet(file))
            .collect();
        scan::read_ahead(&table, files.iter().copied()).await;
        let columns = [RECORD_KEY, RECORD_TIME].map(ToOwned::to_owned).to_vec();
        // Collected first: a lazy closure over borrowed files would keep this future from being sent between threads.
        let opened: Vec<_> = files
            .into_iter()
            .map(|file| scan::columns(&table, file, columns.clone()))
            .collect();
        let mut batches = stream::iter(opened)
            .buffer_unordered(2)
            .try_flatten_unordered(2);
        while let Some(batch) = batches.next().await {
            let batch = batch?;
            let keys = batch
                .column_by_name(RECORD_KEY)
                .and_then(|column| column.as_string_opt::<i32>());
            let times = batch
                .column_by_name(RECORD_TIME)
                .and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
            let (Some(keys), Some(times)) = (keys, times) else {
                return Err(Error::new(
                    ErrorKind::Storage,
                    "a source table's data file lacks its lineage columns",
                ));
            };
            for row in (0..keys.len()).filter(|row| times.is_valid(*row)) {
                let (key, time) = (keys.value(row), times.value(row));
                if all.contain(time) && missing.len() < MOST && !has_come(key, &came) {
                    missing.insert(key.to_owned(), time);
                }
            }
        }
        drop(batches);
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let mut index = KeyIndex::default();
        for key in missing.keys() {
            let next = u32::try_from(index.len()).unwrap_or(u32::MAX);
            index.insert(key.as_str(), next);
        }
        let mut times: Vec<i64> = missing.values().copied().collect();
        times.sort_unstable();
        let tenant = self.spec.tenant_column().map(|column| column.name.as_str());
        let question = KeyLookup {
            keys: &index,
            times: &times,
            moves_within: micros(self.spec.moves_within),
            updated_at: None,
            tenant,
        };
        let known = dedup::find_known_versions(&table, &snapshot, &question).await?;
        let of_tenants: BTreeMap<Option<&str>, Spans> = tenants
            .iter()
            .map(|tenant| {
                let own = listings.iter().filter(|(of, _)| of == tenant);
                let spans = Spans::of(own.map(|(_, window)| *window)).within(margin);
                (tenant.as_deref(), spans)
            })
            .collect();
        let mut unlisted = Vec::new();
        for (key, number) in &index {
            let newest = known.newest.get(*number as usize).and_then(Option::as_ref);
            let Some(newest) = newest.filter(|newest| newest.hash[0] & TOMBSTONE_BIT == 0) else {
                continue;
            };
            let Some(time) = newest.record_time else {
                continue;
            };
            let is_read = match tenant {
                Some(_) => of_tenants
                    .get(&newest.tenant.as_deref())
                    .is_some_and(|spans| spans.contain(time)),
                None => of_tenants.values().all(|spans| spans.contain(time)),
            };
            if is_read {
                unlisted.push(UnlistedRecord {
                    record_time: time,
                    key: (*key).to_owned(),
                });
            }
        }
        unlisted.sort_unstable();
        Ok(unlisted)
    }
}

/// True if a record came under its key, or under the spelling that the key has now: identifiers were once stored as they came.
fn has_come(key: &str, came: &impl Fn(&str) -> bool) -> bool {
    came(key) || matches!(identifier::canonical(key), Cow::Owned(canonical) if came(&canonical))
}

/// Times, microseconds: spans that do not touch, in their order, the end of each behind it.
#[derive(Debug, PartialEq, Eq)]
struct Spans(Vec<(i64, i64)>);

impl Spans {
    /// The times of some windows, which may overlap.
    fn of(windows: impl Iterator<Item = Window>) -> Self {
        let mut all: Vec<(i64, i64)> = windows
            .map(|window| (window.from().as_microsecond(), window.to().as_microsecond()))
            .collect();
        all.sort_unstable();
        let mut spans: Vec<(i64, i64)> = Vec::with_capacity(all.len());
        for (from, to) in all {
            match spans.last_mut() {
                Some(last) if from <= last.1 => last.1 = last.1.max(to),
                _ => spans.push((from, to)),
            }
        }
        Self(spans)
    }

    /// The times that are so far from the ends of their span.
    fn within(self, margin: i64) -> Self {
        let inner = |(from, to): (i64, i64)| {
            let inner = (from.saturating_add(margin), to.saturating_sub(margin));
            (inner.0 < inner.1).then_some(inner)
        };
        Self(self.0.into_iter().filter_map(inner).collect())
    }

    /// True if a time is in one of them.
    fn contain(&self, time: i64) -> bool {
        let behind = self.0.partition_point(|(from, _)| *from <= time);
        behind > 0 && time < self.0[behind - 1].1
    }

    /// True if a file may hold a row of one of these times.
    fn meet(&self, file: &DataFile) -> bool {
        match file.times {
            Some((min, max)) => self.0.iter().any(|(from, to)| *from <= max && min < *to),
            // No statistics: either nobody wrote them, or every row is untimed.
            None => file.rows.is_none() || file.untimed != file.rows,
        }
    }
}

#[cfg(test)]
#[path = "unlisted_tests.rs"]
mod tests;
