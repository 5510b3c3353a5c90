//! Keeping the roll-ups: from the versions of the unified tables they were counted from to those a run is about to publish.
//!
//! ```text
//!   counted ─(lake: what differs)─> touched hours ─chunks─> facts added up ─> these hours replaced, one commit a table
//! ```
//!
//! A roll-up that is damaged, or that a run found to be another than was published, begins anew: nobody knows which of its rows are stale.
//!
//! Invariant: a roll-up that is named in a run was counted from the very versions of the unified tables that the run names. Whatever
//! stands in the way (another run that is further on already), the run is published without the roll-ups, and is answered from
//! the facts.

use super::LabelType::{Flag, Text};
use super::aggregate::{HourlyAggregator, MissingCurrency, TransactionCurrencies};
use super::{CURRENCY, LOCAL, ROLLUPS, RollupSpec, SHARED, TRANSACTION_KEY};
use crate::columns::texts;
use arrow::array::{Array, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use tillhouse_lake::{
    ChangedRanges, FactPartition, FactSnapshot, RangeSet, RangeTable, RowFilter, ScanRequest,
    SourceWatermarks, TableVersion, UnifiedRowStream, Warehouse,
};
use tillhouse_model::calendar::{HOUR, MonthNamer, midnight};
use tillhouse_model::table::OCCURRED_AT;
use tillhouse_model::{Error, ErrorKind, Result};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

/// Rows of facts that are added up at a time, roughly: bounds the groups that are held in memory.
const CHUNK_ROWS: u64 = 120_000;
/// Number of times that another run may come first.
const ROUNDS: usize = 5;

/// Brings the roll-ups to the versions of the unified tables that a run names (`unified`, by path), and gives the versions of the
/// roll-ups by path, to be named beside them. Of the pipelines in `anew` every hour is counted again.
///
/// Empty where there is nothing to add up, or where another run has taken the roll-ups beyond these versions.
///
/// Errors as the lake does; whatever was done stays done, and the next run goes on from there.
pub async fn roll_up(
    warehouse: &Warehouse,
    unified: &BTreeMap<String, u64>,
    anew: &[String],
    run_id: &str,
) -> Result<BTreeMap<String, u64>> {
    let work = ROLLUPS.iter().filter_map(|rollup| {
        unified.get(&format!("unified/{}", rollup.fact))?;
        let table = rollup.table(warehouse);
        let of_source =
            |source: &String| Some((source.clone(), *unified.get(&format!("unified/{source}"))?));
        let wanted: SourceWatermarks = table.sources().iter().filter_map(of_source).collect();
        Some(RollupMaintainer {
            warehouse: warehouse.clone(),
            rollup,
            table,
            wanted,
            anew: anew.to_vec(),
            run_id: run_id.to_owned(),
        })
    });
    // A task each: on one task they would share one core.
    let mut tasks = JoinSet::new();
    for keeper in work {
        tasks.spawn(keeper.maintain());
    }
    let mut done: Vec<Option<(String, u64)>> = Vec::new();
    while let Some(kept) = tasks.join_next().await {
        done.push(kept.map_err(|e| Error::internal("adding up a roll-up failed").because(e))??);
    }
    // All or none: an answer is never made of both.
    Ok(done
        .into_iter()
        .collect::<Option<BTreeMap<_, _>>>()
        .unwrap_or_default())
}

/// Maintenance of one roll-up: from its watermarks to the versions a run names.
struct RollupMaintainer {
    warehouse: Warehouse,
    rollup: &'static RollupSpec,
    table: RangeTable,
    wanted: SourceWatermarks,
    anew: Vec<String>,
    run_id: String,
}

impl RollupMaintainer {
    async fn maintain(self) -> Result<Option<(String, u64)>> {
        let path = self.rollup.path();
        for _ in 0..ROUNDS {
            if let Some(why) = self.table.damage().await? {
                tracing::warn!("{path} is damaged and counted anew: {why}");
                self.table.begin_anew(&self.run_id).await?;
            }
            let (version, was) = self.table.watermarks().await?;
            if let Some(version) = version.filter(|_| was == self.wanted && self.anew.is_empty()) {
                return Ok(Some((path, version)));
            }
            if was.iter().any(|(source, version)| {
                self.wanted
                    .get(source)
                    .is_none_or(|wanted| wanted < version)
            }) {
                tracing::warn!(table = %path, "another run has added up later versions: this run has no roll-ups");
                return Ok(None);
            }
            let touched = self.changed_hours(&was).await?;
            let rows = self.rows(&touched).await?;
            if let Some(done) = self
                .table
                .replace(&was, &self.wanted, &touched, rows, &self.run_id)
                .await?
            {
                tracing::debug!(table = %path, added = done.rows_added, removed = done.rows_removed, "rolled up");
                return Ok(Some((path, done.version)));
            }
        }
        tracing::warn!(table = %path, "other runs kept changing the roll-ups: this run has none");
        Ok(None)
    }

    /// The hours to be counted again.
    async fn changed_hours(&self, was: &SourceWatermarks) -> Result<ChangedRanges> {
        let mut touched = ChangedRanges::default();
        for (source, version) in &self.wanted {
            let rollup = ROLLUPS.into_iter().find(|rollup| rollup.fact == source);
            let rollup = rollup.ok_or_else(|| {
                Error::internal("a roll-up is counted from a table that is no fact")
                    .at("table", source)
            })?;
            let since = was.get(source).copied().map(TableVersion::from);
            let (since, now) = (since.as_ref(), TableVersion::from(*version));
            let found = match rollup.changed_hours(&self.warehouse, since, &now).await {
                Err(error) if error.kind() == ErrorKind::Storage && since.is_some() => {
                    // Vacuum may have taken the earlier version's files.
                    tracing::warn!(table = %self.rollup.path(), "counting every hour anew: {error}");
                    rollup.changed_hours(&self.warehouse, None, &now).await
                }
                found => found,
            };
            touched.merge(found?);
        }
        // Of another edition, or of pipelines that are gone.
        let left_over = if was.is_empty() {
            self.table.pipelines().await?
        } else {
            BTreeSet::new()
        };
        for pipeline in left_over.iter().chain(&self.anew) {
            touched.add(pipeline, RangeSet::All);
        }
        Ok(touched)
    }

    /// Sums of the facts of the changed hours.
    async fn rows(&self, touched: &ChangedRanges) -> Result<UnifiedRowStream> {
        let facts = async |name: &str| match self.wanted.get(name) {
            Some(version) => {
                self.warehouse
                    .facts(&format!("unified/{name}"), &(*version).into())
                    .await
            }
            None => Ok(None),
        };
        let Some(own) = facts(self.rollup.fact).await? else {
            return Ok(stream::empty().boxed());
        };
        let parents = if self.rollup.inherits {
            facts("transactions").await?
        } else {
            None
        };
        let partitions = own.partitions()?;
        let chunks: Vec<HourChunk> = partitions
            .iter()
            .filter_map(|partition| Some((partition, touched.0.get(&partition.pipeline)?)))
            .flat_map(|(partition, hours)| HourChunk::of(partition, hours))
            .collect();
        let rollup = self.rollup;
        let rows = stream::iter(chunks).then(move |chunk| {
            let (own, parents) = (own.clone(), parents.clone());
            async move {
                Ok::<_, Error>(stream::iter(
                    chunk
                        .aggregate(rollup, &own, parents.as_ref())
                        .await?
                        .finish(),
                ))
            }
        });
        Ok(rows.try_flatten().boxed())
    }
}

/// Some hours of one partition.
#[derive(Debug, PartialEq)]
struct HourChunk {
    pipeline: String,
    month: String,
    hours: HourSpan,
}

/// Hours of a chunk.
#[derive(Debug, PartialEq)]
enum HourSpan {
    /// The whole partition.
    All,
    /// Hour of rows without a time.
    Untimed,
    /// From the first to the last, and of those only the ones named, where any are.
    Between {
        since: i64,
        until: i64,
        only: Vec<i64>,
    },
}

impl HourChunk {
    /// Cuts the touched hours of a partition so that each piece has a bounded number of rows.
    fn of(partition: &FactPartition, hours: &RangeSet) -> Vec<Self> {
        let FactPartition {
            pipeline,
            month,
            rows,
        } = partition;
        let pieces = usize::try_from(rows.unwrap_or(0).div_ceil(CHUNK_ROWS))
            .unwrap_or(usize::MAX)
            .max(1);
        let chunk = |hours| Self {
            pipeline: pipeline.clone(),
            month: month.clone(),
            hours,
        };
        match hours {
            RangeSet::All => match (pieces, bounds(month)) {
                (1, _) | (_, None) => vec![chunk(HourSpan::All)],
                (pieces, Some((first, end))) => {
                    let all: Vec<i64> = (0..(end - first) / HOUR)
                        .map(|hour| first + hour * HOUR)
                        .collect();
                    let runs = all.chunks(all.len().div_ceil(pieces));
                    runs.filter_map(|run| HourSpan::of(run, false))
                        .map(chunk)
                        .collect()
                }
            },
            RangeSet::Only(hours) => {
                let untimed = hours.contains(&None) && month_of(None) == *month;
                let mine: Vec<i64> = hours
                    .iter()
                    .flatten()
                    .copied()
                    .filter(|hour| month_of(Some(*hour)) == *month)
                    .collect();
                let runs = mine.chunks(mine.len().div_ceil(pieces).max(1));
                let runs = runs.filter_map(|run| HourSpan::of(run, true));
                untimed
                    .then_some(HourSpan::Untimed)
                    .into_iter()
                    .chain(runs)
                    .map(chunk)
                    .collect()
            }
        }
    }

    /// Adds up the rows of the chunk. Those that have their transaction's currency are read again, with the keys of these: they are
    /// few as a rule, and the keys of all would be half of what there is to read.
    async fn aggregate(
        &self,
        rollup: &RollupSpec,
        own: &FactSnapshot,
        parents: Option<&FactSnapshot>,
    ) -> Result<HourlyAggregator> {
        let measured: Vec<&str> = rollup.sums.iter().map(|(name, _)| *name).collect();
        let mut adding = HourlyAggregator::new(
            rollup.schema(),
            rollup.count,
            &measured,
            rollup.missing,
            &self.pipeline,
            &self.month,
        )?;
        let asked = self.scan_request(rollup);
        let mut times = HashSet::new();
        let (mut rows, reading) = read_ahead(own.rows(&self.pipeline, &self.month, asked.clone()));
        while let Some(batch) = rows.recv().await {
            let currency = if rollup.inherits {
                MissingCurrency::Defer(&mut times)
            } else {
                MissingCurrency::Keep
            };
            adding.add(&batch?, currency)?;
        }
        reading
            .await
            .map_err(|e| Error::internal("reading facts was interrupted").because(e))?;
        if !times.is_empty() {
            let parents = match parents {
                Some(parents) => self.currencies(parents, times).await?,
                None => TransactionCurrencies::new(),
            };
            let mut rows = own.rows(&self.pipeline, &self.month, self.without_currency(asked));
            while let Some(batch) = rows.next().await {
                adding.add(&batch?, MissingCurrency::FromTransaction(&parents))?;
            }
        }
        Ok(adding)
    }

    fn scan_request(&self, rollup: &RollupSpec) -> ScanRequest {
        let labels = rollup
            .labels
            .iter()
            .filter(|(_, sort)| *sort == Text)
            .map(|(name, _)| *name);
        let flags = rollup
            .labels
            .iter()
            .filter(|(_, sort)| *sort == Flag)
            .map(|(name, _)| *name);
        let sums = rollup.sums.iter().map(|(name, _)| *name);
        let names = |names: &mut dyn Iterator<Item = &str>| names.map(str::to_owned).collect();
        ScanRequest {
            labels: names(&mut SHARED.into_iter().chain(labels).chain([CURRENCY])),
            columns: names(
                &mut [OCCURRED_AT]
                    .into_iter()
                    .chain(LOCAL)
                    .chain(flags)
                    .chain(sums),
            ),
            row_filter: self.hours.test().map(|is_in| RowFilter {
                columns: vec![OCCURRED_AT.to_owned()],
                predicate: Arc::new(move |batch| {
                    times(batch)?.iter().map(|at| Ok(Some(is_in(at)))).collect()
                }),
            }),
        }
    }

    /// The rows without a currency among those asked for, with their transactions' keys.
    fn without_currency(&self, mut asked: ScanRequest) -> ScanRequest {
        asked.columns.push(TRANSACTION_KEY.to_owned());
        let is_in = self.hours.test();
        asked.row_filter = Some(RowFilter {
            columns: vec![OCCURRED_AT.to_owned(), CURRENCY.to_owned()],
            predicate: Arc::new(move |batch| {
                let currencies = batch.column_by_name(CURRENCY);
                let is_null =
                    |row: usize| currencies.is_none_or(|currencies| currencies.is_null(row));
                let is_in = |at: Option<i64>| is_in.as_ref().is_none_or(|is_in| is_in(at));
                Ok(times(batch)?
                    .iter()
                    .enumerate()
                    .map(|(row, at)| Some(is_null(row) && is_in(at)))
                    .collect())
            }),
        });
        asked
    }

    /// The currencies of transactions of these times.
    async fn currencies(
        &self,
        transactions: &FactSnapshot,
        at: HashSet<Option<i64>>,
    ) -> Result<TransactionCurrencies> {
        let asked = ScanRequest {
            labels: vec![CURRENCY.to_owned()],
            columns: vec![TRANSACTION_KEY.to_owned()],
            row_filter: Some(RowFilter {
                columns: vec![OCCURRED_AT.to_owned()],
                predicate: Arc::new(move |batch| {
                    Ok(times(batch)?
                        .iter()
                        .map(|time| Some(at.contains(&time)))
                        .collect())
                }),
            }),
        };
        let mut found = TransactionCurrencies::new();
        let mut rows = transactions.rows(&self.pipeline, &self.month, asked);
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            let (keys, currencies) = (texts(&batch, TRANSACTION_KEY)?, texts(&batch, CURRENCY)?);
            for row in 0..batch.num_rows() {
                if let Some(key) = keys.get(row) {
                    found.insert(key.to_owned(), currencies.get(row).map(str::to_owned));
                }
            }
        }
        Ok(found)
    }
}

impl HourSpan {
    /// From the first hour to the end of the last. `picks`: others in between are left out.
    fn of(hours: &[i64], picks: bool) -> Option<Self> {
        let (first, last) = (*hours.first()?, *hours.last()?);
        let until = last.saturating_add(HOUR);
        let gapless = (until - first) / HOUR == i64::try_from(hours.len()).unwrap_or(i64::MAX);
        let only = if picks && !gapless {
            hours.to_vec()
        } else {
            Vec::new()
        };
        Some(Self::Between {
            since: first,
            until,
            only,
        })
    }

    /// True if an instant is in it; `None` if every one is.
    fn test(&self) -> Option<Box<dyn Fn(Option<i64>) -> bool + Send + Sync>> {
        match self {
            Self::All => None,
            Self::Untimed => Some(Box::new(|at| at.is_none())),
            Self::Between { since, until, only } => {
                let (span, only) = (*since..*until, only.iter().copied().collect::<HashSet<_>>());
                Some(Box::new(move |at| {
                    at.is_some_and(|at| {
                        span.contains(&at)
                            && (only.is_empty() || only.contains(&(at - at.rem_euclid(HOUR))))
                    })
                }))
            }
        }
    }
}

/// Reads rows on a task of their own, so that the next are decoded while some are added up.
fn read_ahead(mut rows: UnifiedRowStream) -> (mpsc::Receiver<Result<RecordBatch>>, JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel(2);
    let reading = tokio::spawn(async move {
        while let Some(batch) = rows.next().await {
            if sender.send(batch).await.is_err() {
                return;
            }
        }
    });
    (receiver, reading)
}

/// When the facts of a batch were.
fn times(batch: &RecordBatch) -> Result<Int64Array> {
    let times = batch
        .column_by_name(OCCURRED_AT)
        .and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    let times = times.ok_or_else(|| Error::new(ErrorKind::Storage, "a data file has no times"))?;
    Ok(Int64Array::new(
        times.values().clone(),
        times.nulls().cloned(),
    ))
}

/// A month's first instant, and the first after it, in microseconds; `None` for what is no month of four-digit years.
fn bounds(month: &str) -> Option<(i64, i64)> {
    let first: jiff::civil::Date = format!("{month}-01").parse().ok()?;
    let next = first.last_of_month().tomorrow().ok()?;
    Some((midnight(first)?, midnight(next)?))
}

/// The partition an hour is in.
fn month_of(hour: Option<i64>) -> String {
    MonthNamer::default().name_of(hour).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
    }

    fn partition(month: &str, rows: u64) -> FactPartition {
        FactPartition {
            pipeline: "p".into(),
            month: month.into(),
            rows: Some(rows),
        }
    }

    fn spans(month: &str, rows: u64, hours: &RangeSet) -> Vec<HourSpan> {
        HourChunk::of(&partition(month, rows), hours)
            .into_iter()
            .map(|chunk| chunk.hours)
            .collect()
    }

    #[test]
    fn a_small_month_is_one_piece_and_a_large_one_is_cut_without_a_gap() {
        assert_eq!(
            spans("2026-01", CHUNK_ROWS, &RangeSet::All),
            [HourSpan::All]
        );
        assert_eq!(
            spans("none", 3 * CHUNK_ROWS, &RangeSet::All),
            [HourSpan::All],
            "there is nothing to cut it by"
        );
        let cut = spans("2026-02", 3 * CHUNK_ROWS, &RangeSet::All);
        assert_eq!(cut.len(), 3);
        let mut at = hour("2026-02-01T00:00:00Z");
        for span in cut {
            let HourSpan::Between { since, until, only } = span else {
                panic!("{span:?}")
            };
            assert_eq!((since, only.len()), (at, 0));
            at = until;
        }
        assert_eq!(at, hour("2026-03-01T00:00:00Z"));
    }

    #[test]
    fn only_the_touched_hours_of_the_partition_are_asked_for() {
        let at = |text: &str| Some(hour(text));
        let (first, second) = (at("2026-01-31T22:00:00Z"), at("2026-01-31T23:00:00Z"));
        let hours = RangeSet::Only([None, first, second, at("2026-02-01T00:00:00Z")].into());
        let until = hour("2026-02-01T00:00:00Z");
        let gapless = HourSpan::Between {
            since: first.unwrap(),
            until,
            only: vec![],
        };
        assert_eq!(spans("2026-01", 9, &hours), [gapless]);
        assert_eq!(spans("none", 9, &hours), [HourSpan::Untimed]);
        assert_eq!(spans("2025-12", 9, &hours), []);
        let earlier = at("2026-01-02T00:00:00Z");
        let hours = RangeSet::Only([earlier, second].into());
        let only = vec![earlier.unwrap(), second.unwrap()];
        assert_eq!(
            spans("2026-01", 9, &hours),
            [HourSpan::Between {
                since: earlier.unwrap(),
                until,
                only
            }]
        );
        assert_eq!(spans("2026-01", 2 * CHUNK_ROWS, &hours).len(), 2);
    }

    #[test]
    fn every_column_that_is_compared_is_in_the_fact_and_every_sum_in_the_table() {
        for rollup in ROLLUPS {
            let file = format!(
                "{}/../../schemas/unified/{}.yaml",
                env!("CARGO_MANIFEST_DIR"),
                rollup.fact
            );
            let text = std::fs::read_to_string(&file).unwrap();
            let spec = tillhouse_model::contract::parse(&text, &file).unwrap();
            for column in rollup.columns() {
                assert!(spec.column(column).is_some(), "{}: {column}", rollup.fact);
            }
            let schema = rollup.schema();
            let kept = rollup
                .columns()
                .into_iter()
                .filter(|column| *column != TRANSACTION_KEY);
            assert!(
                kept.into_iter()
                    .all(|column| schema.field_with_name(column).is_ok()),
                "{}",
                rollup.name
            );
        }
    }
}
