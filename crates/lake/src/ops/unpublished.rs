//! Reads that no published run has: noted in the ledger behind the version of it that the newest run names.
//!
//! Invariant: where the newest published run is the last that read anything, nothing is asked but for the end of the ledger's log, and nothing is said.
//!
//! A run whose record was lost together with its note leaves no other trace that whoever answers from the run before would meet.

use crate::log::snapshot::Snapshot;
use crate::ops::edit::{OpsTables, for_each_row, largest};
use crate::ops::lease::LeaseRecord;
use crate::ops::row_codec::{BookkeepingRow, LEDGER_VERSION, LedgerRow};
use crate::ops::rows::{AsOf, RunRecord, SliceRow};
use crate::ops::tables::CLOCKS_DIFFER;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_model::{Error, ErrorKind, Result};

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

/// The newest version of the ledger, seen before it was known whether somebody asks for it; see [`OpsTables::newest_with_ledger`].
#[derive(Default)]
pub struct LedgerEnd(Option<Result<Option<Snapshot>>>);

impl OpsTables {
    /// The newest run that readers must use, as [`OpsTables::published`] gives it, and the end of the ledger's log, for
    /// [`OpsTables::warn_of_unpublished_reads`]: neither waits for the other.
    ///
    /// Errors as [`OpsTables::published`] does.
    pub async fn newest_with_ledger(&self) -> Result<(Option<RunRecord>, LedgerEnd)> {
        let note = self.note_to_open().await?;
        let names_ledger = note
            .as_ref()
            .is_some_and(|note| note.run.tables.contains_key(SliceRow::TABLE));
        let looking = async {
            if !names_ledger {
                return LedgerEnd::default();
            }
            LedgerEnd(Some(match self.registry.table(SliceRow::TABLE) {
                Ok(table) => table.latest().await,
                Err(error) => Err(error),
            }))
        };
        let latest = AsOf::Latest;
        let (found, end) = tokio::join!(self.find_published_by(note, &latest), looking);
        match found? {
            (_, Some(lost)) => Err(lost.error()),
            (run, None) => Ok((run, end)),
        }
    }

    /// Warns of what was read behind the newest published run, where no run under way is about to publish it: the answers of that run do not hold it.
    /// One request as a rule, or none where the ledger's end was seen.
    ///
    /// Errors with [`ErrorKind::Storage`] where the ledger cannot be read.
    pub async fn warn_of_unpublished_reads(
        &self,
        newest: &RunRecord,
        ledger: LedgerEnd,
    ) -> Result<()> {
        for reads in self.unpublished_reads_at(newest, ledger).await? {
            tracing::warn!(
                "{reads}. What is answered is of run {}, which ended at {:.0}; `tillhouse sync` publishes what was read",
                newest.run_id,
                newest.finished_at
            );
        }
        Ok(())
    }

    /// As [`OpsTables::warn_of_unpublished_reads`], each as an error, for whoever is to find out whether a record of a run is missing.
    ///
    /// Errors with [`ErrorKind::Storage`] where the ledger cannot be read.
    pub async fn missing_records(&self, newest: &RunRecord) -> Result<Vec<Error>> {
        let of = |reads: UnpublishedReads| {
            let error = Error::new(ErrorKind::Storage, reads.to_string());
            error.hint(format!(
                "Run `tillhouse sync`: it publishes what was read. Until then answers are of run {}, which ended at {:.0}.",
                newest.run_id, newest.finished_at
            ))
        };
        let reads = self.unpublished_reads(newest).await?;
        Ok(reads.into_iter().map(of).collect())
    }

    /// Readings behind the newest published run, by runs that are not under way.
    pub(crate) async fn unpublished_reads(
        &self,
        newest: &RunRecord,
    ) -> Result<Vec<UnpublishedReads>> {
        self.unpublished_reads_at(newest, LedgerEnd::default())
            .await
    }

    /// As [`OpsTables::unpublished_reads`], by the ledger as it was seen. One that is older than the run tells of less; of what came since, the next
    /// reader is told.
    pub(crate) async fn unpublished_reads_at(
        &self,
        newest: &RunRecord,
        LedgerEnd(seen): LedgerEnd,
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
        let ledger = match seen {
            Some(seen) => seen?,
            None => table.latest().await?,
        };
        let Some(ledger) = ledger else {
            return Ok(Vec::new());
        };
        let places = (0..ledger.files.len())
            .filter(|at| is_later(largest(&ledger, LEDGER_VERSION, *at)))
            .collect();
        let mut found: BTreeMap<String, UnpublishedReads> = BTreeMap::new();
        for_each_row(&table, &ledger, places, |_, row: LedgerRow| {
            // A run that begins to read all of it again changes what earlier ones noted, whose run ids stay: it counts as never read.
            if !row.is_later_than(named.version)
                || !row.slice.counts_as_read()
                || row.slice.run_id == newest.run_id
            {
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
        // Before it is asked what was published since: a run gives its leases back once its record is there, perhaps before its note is.
        let (leases, earlier) = tokio::try_join!(self.leases(), self.earlier_leases())?;
        let now = self.now();
        let is_under_way = |reads: &UnpublishedReads| {
            let own = reads.pipelines.iter().filter_map(|name| leases.of(name));
            let earlier = earlier.iter().cloned();
            let mut held = own.chain(earlier).map(|lease| lease.record);
            held.any(|lease| reads.is_by_holder(&lease, now))
        };
        let left = found.into_values().filter(|reads| !is_under_way(reads));
        let left: Vec<UnpublishedReads> = left.collect();
        if left.is_empty() || self.has_later_run(newest).await? {
            return Ok(Vec::new());
        }
        Ok(left)
    }

    /// True if a run was published behind this one, as its note or its record tells.
    async fn has_later_run(&self, known: &RunRecord) -> Result<bool> {
        let noted = self.newest_note().await?;
        if noted.is_some_and(|note| note.run.run_id != known.run_id) {
            return Ok(true);
        }
        let heads = self.run_heads().await?;
        let mut later = heads.iter().take_while(|run| run.run_id != known.run_id);
        Ok(later.any(|run| run.published))
    }
}

impl std::fmt::Display for UnpublishedReads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            run_id,
            pipelines,
            read_at,
        } = self;
        let pipelines: Vec<&str> = pipelines.iter().map(String::as_str).collect();
        let pipelines = pipelines.join(", ");
        write!(
            f,
            "run {run_id} read {pipelines} until {read_at:.0}, and no published run has that: it did not end, or its record is lost"
        )
    }
}

impl UnpublishedReads {
    /// True if their run holds this lease, of one of its pipelines, or may do so by another machine's clock.
    fn is_by_holder(&self, lease: &LeaseRecord, now: Timestamp) -> bool {
        let valid = SignedDuration::from_secs(i64::from(lease.valid_seconds));
        self.pipelines.contains(&lease.pipeline)
            && !lease.released
            && lease.owner.run_id == self.run_id
            && now.duration_since(lease.renewed_at) <= valid + CLOCKS_DIFFER
    }
}
