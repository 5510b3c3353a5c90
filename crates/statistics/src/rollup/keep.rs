//! Keeping the roll-ups: from the versions of the unified tables they were counted from to those a run is about to publish.
//!
//! ```text
//!   counted ─(lake: what differs)─> touched hours ─chunks─> SQL over the facts ─> these hours replaced, one commit a table
//! ```
//!
//! Invariant: a roll-up that is named in a run was counted from the very versions of the unified tables that the run names. Whatever
//! stands in the way (another run that is further on already), the run is published without the roll-ups, and is answered from
//! the facts.

use super::{ROLLUPS, Rollup};
use futures::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tillhouse_lake::{Counted, Hours, OpenTable, Partition, RollupTable, Rows, TableProvider, Touched, Warehouse};
use tillhouse_model::{Error, ErrorKind, Result};
use tillhouse_query::{Engine, ScalarValue, Session, into_error, zone::HOUR};
use tokio::task::JoinSet;

/// How many rows of facts are added up in one query, roughly: bounds the groups that are held in memory.
const CHUNK_ROWS: u64 = 120_000;
/// How often another run may come first.
const ROUNDS: usize = 5;

/// Brings the roll-ups to the versions of the unified tables that a run names (`unified`, by path), and gives the versions of the
/// roll-ups by path, to be named beside them. Of the pipelines in `anew` every hour is counted again.
///
/// Empty where there is nothing to add up, or where another run has taken the roll-ups beyond these versions.
///
/// Errors as the lake and the engine do; whatever was done stays done, and the next run goes on from there.
pub async fn roll_up(
    engine: &Engine,
    warehouse: &Warehouse,
    unified: &BTreeMap<String, u64>,
    anew: &[String],
    run_id: &str,
) -> Result<BTreeMap<String, u64>> {
    let work = ROLLUPS.iter().filter_map(|rollup| {
        let version = unified.get(&format!("unified/{}", rollup.fact))?;
        let table = rollup.table(warehouse);
        let of_source = |source: &String| Some((source.clone(), *unified.get(&format!("unified/{source}"))?));
        let wanted: Counted = table.sources().iter().filter_map(of_source).collect();
        Some(Keeper {
            engine: engine.clone(),
            warehouse: warehouse.clone(),
            rollup,
            table,
            version: *version,
            wanted,
            anew: anew.to_vec(),
            run_id: run_id.to_owned(),
        })
    });
    // A task each: on one task they would share one core.
    let mut tasks = JoinSet::new();
    for keeper in work {
        tasks.spawn(keeper.keep());
    }
    let mut done: Vec<Option<(String, u64)>> = Vec::new();
    while let Some(kept) = tasks.join_next().await {
        done.push(kept.map_err(|e| Error::internal("adding up a roll-up failed").because(e))??);
    }
    // All or none: an answer is never made of both.
    Ok(done.into_iter().collect::<Option<BTreeMap<_, _>>>().unwrap_or_default())
}

/// One roll-up on its way.
struct Keeper {
    engine: Engine,
    warehouse: Warehouse,
    rollup: &'static Rollup,
    table: RollupTable,
    /// Of its fact.
    version: u64,
    wanted: Counted,
    anew: Vec<String>,
    run_id: String,
}

impl Keeper {
    async fn keep(self) -> Result<Option<(String, u64)>> {
        let path = self.rollup.path();
        for _ in 0..ROUNDS {
            let (version, was) = self.table.counted().await?;
            if let Some(version) = version.filter(|_| was == self.wanted && self.anew.is_empty()) {
                return Ok(Some((path, version)));
            }
            if was.iter().any(|(source, version)| self.wanted.get(source).is_none_or(|wanted| wanted < version)) {
                tracing::warn!(table = %path, "another run has added up later versions: this run has no roll-ups");
                return Ok(None);
            }
            let touched = self.touched(&was).await?;
            let rows = self.rows(&touched).await?;
            if let Some(done) = self.table.replace(&was, &self.wanted, &touched, rows, &self.run_id).await? {
                tracing::debug!(table = %path, added = done.rows_added, removed = done.rows_removed, "rolled up");
                return Ok(Some((path, done.version)));
            }
        }
        tracing::warn!(table = %path, "other runs kept changing the roll-ups: this run has none");
        Ok(None)
    }

    /// The hours to be counted again.
    async fn touched(&self, was: &Counted) -> Result<Touched> {
        let mut touched = Touched::default();
        for (source, version) in &self.wanted {
            let columns = ROLLUPS.iter().find(|rollup| rollup.fact == source).map(|rollup| rollup.columns());
            let (path, since) = (format!("unified/{source}"), was.get(source).copied());
            let columns = columns.unwrap_or_default();
            let found = match self.warehouse.touched_hours(&path, since, *version, &columns).await {
                Err(error) if error.kind() == ErrorKind::Storage && since.is_some() => {
                    // Vacuum may have taken the earlier version's files.
                    tracing::warn!(table = %self.rollup.path(), "counting every hour anew: {error}");
                    self.warehouse.touched_hours(&path, None, *version, &columns).await
                }
                found => found,
            };
            touched.merge(found?);
        }
        // Of another edition, or of pipelines that are gone.
        let left_over = if was.is_empty() { self.table.pipelines().await? } else { BTreeSet::new() };
        for pipeline in left_over.iter().chain(&self.anew) {
            touched.add(pipeline, Hours::Every);
        }
        Ok(touched)
    }

    /// What the facts of the touched hours add up to.
    async fn rows(&self, touched: &Touched) -> Result<Rows> {
        let partitions = self.warehouse.partitions(&format!("unified/{}", self.rollup.fact), self.version).await?;
        let chunks: Vec<Chunk> = partitions
            .iter()
            .filter_map(|partition| Some((partition, touched.0.get(&partition.pipeline)?)))
            .flat_map(|(partition, hours)| Chunk::of(partition, hours))
            .collect();
        let mut facts: Vec<(String, Arc<dyn TableProvider>)> = Vec::new();
        for (source, version) in &self.wanted {
            let open = self.warehouse.open_at(&format!("unified/{source}"), Some(*version)).await?;
            facts.extend(open.map(|OpenTable { provider, .. }| (source.clone(), provider)));
        }
        let (engine, rollup, facts) = (self.engine.clone(), self.rollup, Arc::new(facts));
        let rows = stream::iter(chunks).then(move |chunk| {
            let (engine, facts) = (engine.clone(), facts.clone());
            async move { chunk.rows(&engine, rollup, &facts).await }
        });
        Ok(rows.try_flatten().boxed())
    }
}

/// Some hours of one partition.
#[derive(Debug, PartialEq)]
struct Chunk {
    pipeline: String,
    month: String,
    hours: Span,
}

#[derive(Debug, PartialEq)]
enum Span {
    /// The whole partition.
    All,
    /// Where rows have no time.
    Untimed,
    /// From the first to the last, and of those only the ones named, where any are.
    Between { since: i64, until: i64, only: Vec<i64> },
}

impl Chunk {
    /// Cuts the touched hours of a partition so that each piece has a bounded number of rows.
    fn of(partition: &Partition, hours: &Hours) -> Vec<Self> {
        let Partition { pipeline, month, rows } = partition;
        let pieces = usize::try_from(rows.unwrap_or(0).div_ceil(CHUNK_ROWS)).unwrap_or(usize::MAX).max(1);
        let chunk = |hours| Self { pipeline: pipeline.clone(), month: month.clone(), hours };
        match hours {
            Hours::Every => match (pieces, bounds(month)) {
                (1, _) | (_, None) => vec![chunk(Span::All)],
                (pieces, Some((first, end))) => {
                    let all: Vec<i64> = (0..(end - first) / HOUR).map(|hour| first + hour * HOUR).collect();
                    let runs = all.chunks(all.len().div_ceil(pieces));
                    runs.filter_map(|run| Span::of(run, false)).map(chunk).collect()
                }
            },
            Hours::These(hours) => {
                let untimed = hours.contains(&None) && month_of(None) == *month;
                let mine: Vec<i64> =
                    hours.iter().flatten().copied().filter(|hour| month_of(Some(*hour)) == *month).collect();
                let runs = mine.chunks(mine.len().div_ceil(pieces).max(1));
                let runs = runs.filter_map(|run| Span::of(run, true));
                untimed.then_some(Span::Untimed).into_iter().chain(runs).map(chunk).collect()
            }
        }
    }

    async fn rows(
        self,
        engine: &Engine,
        rollup: &Rollup,
        facts: &[(String, Arc<dyn TableProvider>)],
    ) -> Result<impl futures::Stream<Item = Result<arrow::array::RecordBatch>> + Send + use<>> {
        let session = engine.bare()?;
        for (name, provider) in facts {
            session.register(name, Arc::clone(provider))?;
        }
        let (condition, params) = self.condition();
        let lends = rollup.inherits && lends(&session, rollup, &condition, &params).await?;
        let stream = session.query_with(&rollup.sql("", &condition, lends), &params).await?;
        Ok(stream.map_err(into_error))
    }

    fn condition(&self) -> (String, Vec<(&'static str, ScalarValue)>) {
        let text = |value: &str| ScalarValue::Utf8(Some(value.to_owned()));
        let mut sql = "pipeline = $pipeline AND month = $month".to_owned();
        let mut params = vec![("pipeline", text(&self.pipeline)), ("month", text(&self.month))];
        match &self.hours {
            Span::All => {}
            Span::Untimed => sql.push_str(" AND occurred_at IS NULL"),
            Span::Between { since, until, only } => {
                sql.push_str(" AND occurred_at >= $since AND occurred_at < $until");
                params.push(("since", crate::facts::instant(*since)));
                params.push(("until", crate::facts::instant(*until)));
                if !only.is_empty() {
                    let only: Vec<String> = only.iter().map(i64::to_string).collect();
                    let only = only.join(", ");
                    sql.push_str(&format!(" AND CAST(local_hour_start(occurred_at, 'UTC') AS BIGINT) IN ({only})"));
                }
            }
        }
        (sql, params)
    }
}

impl Span {
    /// From the first hour to the end of the last. `picks`: others in between are left out.
    fn of(hours: &[i64], picks: bool) -> Option<Self> {
        let (first, last) = (*hours.first()?, *hours.last()?);
        let until = last.saturating_add(HOUR);
        let gapless = (until - first) / HOUR == i64::try_from(hours.len()).unwrap_or(i64::MAX);
        let only = if picks && !gapless { hours.to_vec() } else { Vec::new() };
        Some(Self::Between { since: first, until, only })
    }
}

/// Whether a row has its transaction's currency. Statistics of the data files mostly say so without a look inside.
async fn lends(session: &Session, rollup: &Rollup, condition: &str, params: &[(&str, ScalarValue)]) -> Result<bool> {
    let sql = format!("SELECT 1 FROM {} WHERE {condition} AND currency IS NULL LIMIT 1", rollup.fact);
    let found = tillhouse_query::collect(session.query_with(&sql, params).await?).await?;
    Ok(found.iter().any(|batch| batch.num_rows() > 0))
}

/// A month's first instant, and the first after it, in microseconds; `None` for what is no month of four-digit years.
fn bounds(month: &str) -> Option<(i64, i64)> {
    let first: jiff::civil::Date = format!("{month}-01").parse().ok()?;
    let next = first.last_of_month().tomorrow().ok()?;
    let micros =
        |date: jiff::civil::Date| Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond());
    Some((micros(first)?, micros(next)?))
}

/// The partition an hour is in.
fn month_of(hour: Option<i64>) -> String {
    let Some(hour) = hour else { return "none".to_owned() };
    let date = jiff::Timestamp::from_microsecond(hour).map(|hour| hour.to_zoned(jiff::tz::TimeZone::UTC).date());
    date.map(|date| format!("{:04}-{:02}", date.year(), date.month())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hour(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
    }

    fn partition(month: &str, rows: u64) -> Partition {
        Partition { pipeline: "p".into(), month: month.into(), rows: Some(rows) }
    }

    fn spans(month: &str, rows: u64, hours: &Hours) -> Vec<Span> {
        Chunk::of(&partition(month, rows), hours).into_iter().map(|chunk| chunk.hours).collect()
    }

    #[test]
    fn a_small_month_is_one_piece_and_a_large_one_is_cut_without_a_gap() {
        assert_eq!(spans("2026-01", CHUNK_ROWS, &Hours::Every), [Span::All]);
        assert_eq!(spans("none", 3 * CHUNK_ROWS, &Hours::Every), [Span::All], "there is nothing to cut it by");
        let cut = spans("2026-02", 3 * CHUNK_ROWS, &Hours::Every);
        assert_eq!(cut.len(), 3);
        let mut at = hour("2026-02-01T00:00:00Z");
        for span in cut {
            let Span::Between { since, until, only } = span else { panic!("{span:?}") };
            assert_eq!((since, only.len()), (at, 0));
            at = until;
        }
        assert_eq!(at, hour("2026-03-01T00:00:00Z"));
    }

    #[test]
    fn only_the_touched_hours_of_the_partition_are_asked_for() {
        let at = |text: &str| Some(hour(text));
        let (first, second) = (at("2026-01-31T22:00:00Z"), at("2026-01-31T23:00:00Z"));
        let hours = Hours::These([None, first, second, at("2026-02-01T00:00:00Z")].into());
        let until = hour("2026-02-01T00:00:00Z");
        let gapless = Span::Between { since: first.unwrap(), until, only: vec![] };
        assert_eq!(spans("2026-01", 9, &hours), [gapless]);
        assert_eq!(spans("none", 9, &hours), [Span::Untimed]);
        assert_eq!(spans("2025-12", 9, &hours), []);
        let earlier = at("2026-01-02T00:00:00Z");
        let hours = Hours::These([earlier, second].into());
        let only = vec![earlier.unwrap(), second.unwrap()];
        assert_eq!(spans("2026-01", 9, &hours), [Span::Between { since: earlier.unwrap(), until, only }]);
        assert_eq!(spans("2026-01", 2 * CHUNK_ROWS, &hours).len(), 2);
    }

    #[test]
    fn every_column_that_is_compared_is_in_the_fact_and_every_sum_in_the_table() {
        for rollup in ROLLUPS {
            let file = format!("{}/../../schemas/unified/{}.yaml", env!("CARGO_MANIFEST_DIR"), rollup.fact);
            let text = std::fs::read_to_string(&file).unwrap();
            let spec = tillhouse_model::contract::parse(&text, &file).unwrap();
            for column in rollup.columns() {
                assert!(spec.column(column).is_some(), "{}: {column}", rollup.fact);
            }
            let schema = rollup.schema();
            let kept = rollup.columns().into_iter().filter(|column| *column != "transaction_key");
            assert!(kept.into_iter().all(|column| schema.field_with_name(column).is_ok()), "{}", rollup.name);
        }
    }
}
