//! Reads that no published run has: noted in the ledger behind the version of it that the newest run names.
//!
//! Invariant: where the newest published run is the last that read anything, nothing is asked but for the end of the ledger's log, and nothing is said.
//!
//! A run whose record was lost together with its note leaves no other trace that whoever answers from the run before would meet.

use crate::ops::edit::{OpsTables, for_each_row, largest};
use crate::ops::lease::LeaseRecord;
use crate::ops::row_codec::{BookkeepingRow, LEDGER_VERSION, LedgerRow};
use crate::ops::rows::{RunRecord, SliceRow};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::Result;

/// Reads of a run that is not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnpublishedReads {
    /// The run.
    run_id: String,
    /// Its pipelines.
    pipelines: BTreeSet<String>,
    /// The moment of the last read.
    read_at: Timestamp,
}

impl OpsTables {
    /// Warns of what was read behind the newest published run, where no run under way is about to publish it: the answers of that run do not hold it.
    /// One request as a rule.
    ///
    /// Errors with [`ErrorKind::Storage`](tillhouse_model::ErrorKind::Storage) where the ledger cannot be read.
    pub async fn warn_of_unpublished_reads(&self, newest: &RunRecord) -> Result<()> {
        for reads in self.unpublished_reads(newest).await? {
            let UnpublishedReads {
                run_id,
                pipelines,
                read_at,
            } = reads;
            let pipelines: Vec<String> = pipelines.into_iter().collect();
            tracing::warn!(
                "run {run_id} read {} until {read_at:.0}, and no published run has that: it did not end, or its record is lost. What is answered is of \
                 run {}, which ended at {:.0}; `tillhouse sync` publishes what was read",
                pipelines.join(", "),
                newest.run_id,
                newest.finished_at
            );
        }
        Ok(())
    }

    /// Readings behind the newest published run, by runs that are not under way.
    pub(crate) async fn unpublished_reads(
        &self,
        newest: &RunRecord,
    ) -> Result<Vec<UnpublishedReads>> {
        let Some(named) = newest.tables.get(SliceRow::TABLE) else {
            return Ok(Vec::new());
        };
        let is_later = |version: Option<i64>| {
            version
                .and_then(|version| u64::try_from(version).ok())
                .is_some_and(|version| version > named.version)
        };
        let table = self.registry.table(SliceRow::TABLE)?;
        let Some(ledger) = table.latest().await? else {
            return Ok(Vec::new());
        };
        let places = (0..ledger.files.len())
            .filter(|at| is_later(largest(&ledger, LEDGER_VERSION, *at)))
            .collect();
        let mut found: BTreeMap<String, UnpublishedReads> = BTreeMap::new();
        for_each_row(&table, &ledger, places, |_, row: LedgerRow| {
            if !is_later(row.version) || row.slice.run_id == newest.run_id {
                return;
            }
            let SliceRow {
                run_id,
                pipeline,
                read_at,
                ..
            } = row.slice;
            let reads = found
                .entry(run_id.clone())
                .or_insert_with(|| UnpublishedReads {
                    run_id,
                    pipelines: BTreeSet::new(),
                    read_at,
                });
            reads.read_at = reads.read_at.max(read_at);
            reads.pipelines.insert(pipeline);
        })
        .await?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        // It may have been published since the newest run was looked up.
        let noted = self.newest_note().await?;
        if noted.is_some_and(|note| note.run.run_id != newest.run_id) {
            return Ok(Vec::new());
        }
        let (leases, earlier) = tokio::try_join!(self.leases(), self.earlier_leases())?;
        let now = self.now();
        let is_under_way = |reads: &UnpublishedReads| {
            let own = reads.pipelines.iter().filter_map(|name| leases.of(name));
            let earlier = earlier.iter().cloned();
            let mut held = own.chain(earlier).map(|lease| lease.record);
            held.any(|lease| reads.is_by_holder(&lease, now))
        };
        let left = found.into_values().filter(|reads| !is_under_way(reads));
        Ok(left.collect())
    }
}

impl UnpublishedReads {
    /// True if their run holds this lease, of one of its pipelines.
    fn is_by_holder(&self, lease: &LeaseRecord, now: Timestamp) -> bool {
        let valid = SignedDuration::from_secs(i64::from(lease.valid_seconds));
        self.pipelines.contains(&lease.pipeline)
            && !lease.released
            && lease.owner.run_id == self.run_id
            && now.duration_since(lease.renewed_at) <= valid
    }
}
