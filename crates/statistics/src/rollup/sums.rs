//! Rows of the roll-ups: the touched periods of all levels of a fact, added up in one pass.
//!
//! Invariant: the rows of a touched period are made of all rows that it has now: those of its touched finer periods as this pass has just made
//! them, and of the others as they stand in the table, whose version is the one that is replaced.
//!
//! ```text
//!   facts of touched days ─> days ─┬─────────────────> days without sites
//!                                  ├─ month's end ─┐
//!   days that stay, of the table ──────────────────┴─> months ─ year's end ─┬─> years
//!                                    months that stay, of the table ────────┘
//! ```
//!
//! Of articles and payments, whose months tell sites apart and whose days do not, the facts of touched months are read: they are added up into the
//! months and, as far as they lie in touched days, into the days.

use super::aggregate::{AggregatedRows, MissingCurrency, PeriodAggregator, TransactionCurrencies};
use super::fact::LOCAL_HOUR;
use super::level::{Grain, Level, is_hour};
use super::{CURRENCY, RolledFact, START, TRANSACTION_KEY};
use crate::columns::texts;
use arrow::array::{Array, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use futures::StreamExt;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use tillhouse_lake::{
    ChangedLevels, FactPartition, FactSnapshot, PeriodWidth, RangeSet, RowFilter, ScanRequest,
    UnifiedRowStream,
};
use tillhouse_model::calendar::{MonthNamer, midnight, year_of};
use tillhouse_model::table::OCCURRED_AT;
use tillhouse_model::{Error, ErrorKind, Result, ResultExt};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Rows of facts that are added up at a time, roughly: bounds the groups that are held in memory.
const CHUNK_ROWS: u64 = 120_000;

/// Maker of the rows of a fact's levels in the periods that are touched.
pub(super) struct RollupRows {
    fact: &'static RolledFact,
    own: FactSnapshot,
    /// The transactions whose currencies are inherited.
    parents: Option<FactSnapshot>,
    /// The table of all levels as it is.
    stored: Option<FactSnapshot>,
    touched: ChangedLevels,
    /// Sums of periods that further rows belong to.
    open: Vec<(&'static Level, PeriodAggregator)>,
}

/// One step of making rows, of a pipeline and in a month.
pub(super) struct RollupStep {
    pub(super) pipeline: String,
    pub(super) month: String,
    work: RollupWork,
}

enum RollupWork {
    /// Facts of some periods are added up.
    Facts(PeriodSpan),
    /// The month, or the year, has all its finer rows.
    End(Grain),
}

impl RollupStep {
    fn aggregator(&self, level: &'static Level, rows: AggregatedRows) -> Result<PeriodAggregator> {
        let period = level.width.of_month(&self.month);
        PeriodAggregator::new(level, rows, &self.pipeline, period)
    }
}

impl RollupRows {
    /// Maker of a fact's touched rows, from the fact and its transactions, and from the table of all levels as it is.
    pub(super) fn new(
        fact: &'static RolledFact,
        (own, parents): (FactSnapshot, Option<FactSnapshot>),
        stored: Option<FactSnapshot>,
        touched: ChangedLevels,
    ) -> Self {
        Self {
            fact,
            own,
            parents,
            stored,
            touched,
            open: Vec::new(),
        }
    }

    /// The steps that make the rows, month by month of each pipeline.
    pub(super) fn steps(&self) -> Result<Vec<RollupStep>> {
        let mut steps = Vec::new();
        let base = Level::from_facts(self.fact).next();
        let touched = base.and_then(|base| Some((base, self.touched.get(base.name)?)));
        let Some((base, touched)) = touched else {
            return Ok(steps);
        };
        let partitions = self.own.partitions()?;
        for (pipeline, periods) in &touched.0 {
            let of_pipeline = partitions.iter().filter(|part| part.pipeline == *pipeline);
            let of_months: BTreeMap<&str, &FactPartition> = of_pipeline
                .map(|part| (part.month.as_str(), part))
                .collect();
            let months: BTreeSet<String> = match periods {
                RangeSet::All => of_months.keys().map(|month| (*month).to_owned()).collect(),
                RangeSet::Only(starts) => starts.iter().map(|start| month_of(*start)).collect(),
            };
            let mut months = months.into_iter().peekable();
            while let Some(month) = months.next() {
                let step = |work| RollupStep {
                    pipeline: pipeline.clone(),
                    month: month.clone(),
                    work,
                };
                let of_month = of_months.get(month.as_str());
                let spans = of_month.map(|part| PeriodSpan::cut(part, periods, base.grain));
                let spans = spans.into_iter().flatten();
                steps.extend(spans.map(|span| step(RollupWork::Facts(span))));
                steps.push(step(RollupWork::End(Grain::Month)));
                let is_last = months
                    .peek()
                    .is_none_or(|next| year_of(next) != year_of(&month));
                if is_last {
                    steps.push(step(RollupWork::End(Grain::Year)));
                }
            }
        }
        Ok(steps)
    }

    /// The rows that a step completes.
    pub(super) async fn make(&mut self, step: &RollupStep) -> Result<Vec<RecordBatch>> {
        let mut made = Vec::new();
        match &step.work {
            RollupWork::Facts(periods) => {
                for (level, sums) in self.of_facts(step, periods).await? {
                    self.complete(level, sums, step, &mut made)?;
                }
            }
            RollupWork::End(grain) => {
                let is_finer = |level: &Level| level.grain < *grain;
                let ending: Vec<&'static Level> = Level::of(self.fact)
                    .filter(|level| level.grain == *grain && level.finer().is_some_and(is_finer))
                    .collect();
                for level in ending {
                    let mut sums = self.take_open(level, step)?;
                    self.add_stored(level, step, &mut sums).await?;
                    self.complete(level, sums, step, &mut made)?;
                }
            }
        }
        Ok(made)
    }

    /// Finishes sums, and adds them to those of the levels that come from theirs.
    fn complete(
        &mut self,
        level: &'static Level,
        sums: PeriodAggregator,
        step: &RollupStep,
        made: &mut Vec<RecordBatch>,
    ) -> Result<()> {
        let rows: Vec<RecordBatch> = sums.finish().collect::<Result<_>>()?;
        for coarser in level.coarser() {
            let is_as_long = coarser.grain == level.grain;
            let mut sums = match is_as_long {
                true => step.aggregator(coarser, AggregatedRows::Sums)?,
                false => self.take_open(coarser, step)?,
            };
            for batch in &rows {
                sums.add(batch, MissingCurrency::Keep)?;
            }
            match is_as_long {
                true => self.complete(coarser, sums, step, made)?,
                false => self.open.push((coarser, sums)),
            }
        }
        made.extend(rows);
        Ok(())
    }

    /// The sums of a level that further rows belong to; new ones where there are none.
    fn take_open(&mut self, level: &'static Level, step: &RollupStep) -> Result<PeriodAggregator> {
        let known = self.open.iter().position(|(of, _)| of.name == level.name);
        match known {
            Some(at) => Ok(self.open.swap_remove(at).1),
            None => step.aggregator(level, AggregatedRows::Sums),
        }
    }

    /// Adds the rows of the finer level in the periods that are not touched, as they stand in the table.
    async fn add_stored(
        &self,
        level: &Level,
        step: &RollupStep,
        sums: &mut PeriodAggregator,
    ) -> Result<()> {
        let (Some(stored), Some(finer)) = (&self.stored, level.finer()) else {
            return Ok(());
        };
        let touched = self.touched.get(finer.name);
        let touched = touched.and_then(|touched| touched.0.get(&step.pipeline));
        // Of a pipeline that is counted anew nothing stays.
        let Some(RangeSet::Only(touched)) = touched else {
            return Ok(());
        };
        let asked = rows_that_stay(level, touched);
        for period in folders(level, finer, step, touched) {
            let folder = (finer.name, step.pipeline.as_str(), period.as_str());
            let mut rows = stored.rows_of_level(folder, asked.clone());
            while let Some(batch) = rows.next().await {
                sums.add(&batch?, MissingCurrency::Keep)?;
            }
        }
        Ok(())
    }

    /// Adds up facts of some periods, into each level that is made from them. Those that have their transaction's currency are read again, with the
    /// keys of these: they are few as a rule, and the keys of all would be half of what there is to read.
    async fn of_facts(
        &self,
        step: &RollupStep,
        periods: &PeriodSpan,
    ) -> Result<Vec<(&'static Level, PeriodAggregator)>> {
        let mut sums = self.fact_sums(step)?;
        let asked = facts_of(self.fact, periods);
        let inherits = self.fact.inherits();
        let mut without = HashSet::new();
        let rows = self.own.rows(&step.pipeline, &step.month, asked.clone());
        let (mut rows, reading) = read_ahead(rows);
        while let Some(batch) = rows.recv().await {
            let batch = batch?;
            for of_level in &mut sums {
                let currency = if inherits {
                    MissingCurrency::Defer(&mut without)
                } else {
                    MissingCurrency::Keep
                };
                of_level.add(&batch, currency)?;
            }
        }
        reading
            .await
            .map_err(|e| Error::internal("reading facts was interrupted").because(e))?;
        if !without.is_empty() {
            let parents = match &self.parents {
                Some(parents) => currencies(parents, step, without).await?,
                None => TransactionCurrencies::new(),
            };
            let asked = without_currency(self.fact, periods, asked);
            let mut rows = self.own.rows(&step.pipeline, &step.month, asked);
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                for of_level in &mut sums {
                    of_level.add(&batch, MissingCurrency::FromTransaction(&parents))?;
                }
            }
        }
        let sums = sums.into_iter();
        Ok(sums.map(|sums| (sums.level, sums.aggregator)).collect())
    }

    /// Empty sums of the levels that are made from the facts.
    fn fact_sums(&self, step: &RollupStep) -> Result<Vec<FactSums>> {
        let of_level = |(place, level): (usize, &'static Level)| {
            let touched = self.touched.get(level.name);
            let touched = touched.and_then(|touched| touched.0.get(&step.pipeline));
            // What is read is made of whole touched periods of the first.
            let only = (place > 0)
                .then_some(touched)
                .and_then(|touched| match touched {
                    Some(RangeSet::All) => None,
                    Some(RangeSet::Only(starts)) => Some(starts.clone()),
                    None => Some(BTreeSet::new()),
                });
            Ok::<_, Error>(FactSums {
                level,
                only,
                aggregator: step.aggregator(level, AggregatedRows::Facts)?,
            })
        };
        Level::from_facts(self.fact)
            .enumerate()
            .map(of_level)
            .collect()
    }
}

/// Sums of facts by the periods of one level.
struct FactSums {
    level: &'static Level,
    /// The periods whose facts are added up; all where there is no list.
    only: Option<BTreeSet<Option<i64>>>,
    aggregator: PeriodAggregator,
}

impl FactSums {
    /// Adds the facts that lie in the periods.
    fn add(&mut self, batch: &RecordBatch, currency: MissingCurrency<'_>) -> Result<()> {
        let Some(only) = &self.only else {
            return self.aggregator.add(batch, currency);
        };
        let grain = self.level.grain;
        let is_in: BooleanArray = times(batch, OCCURRED_AT)?
            .iter()
            .map(|at| Some(only.contains(&at.map(|at| grain.start_of(at)))))
            .collect();
        if is_in.true_count() == 0 {
            return Ok(());
        }
        let facts = filter_record_batch(batch, &is_in)
            .or_error(ErrorKind::Internal, "facts cannot be filtered")?;
        self.aggregator.add(&facts, currency)
    }
}

/// The folders of the finer level that a level's rows of a month or year come from, but for those whose only period is touched.
fn folders(
    level: &Level,
    finer: &Level,
    step: &RollupStep,
    touched: &BTreeSet<Option<i64>>,
) -> Vec<String> {
    match (level.grain, finer.width) {
        (Grain::Year, PeriodWidth::Month) => {
            let touched: BTreeSet<String> = touched.iter().map(|start| month_of(*start)).collect();
            let year = year_of(&step.month);
            let months = (1..=12).map(|month| format!("{year}-{month:02}"));
            let is_whole = finer.grain == Grain::Month;
            months
                .filter(|month| !(is_whole && touched.contains(month)))
                .collect()
        }
        (_, width) => vec![width.of_month(&step.month).to_owned()],
    }
}

/// The rows of a finer level whose periods are not touched, with what a level keeps and adds up of them.
fn rows_that_stay(level: &Level, touched: &BTreeSet<Option<i64>>) -> ScanRequest {
    let (labels, mut columns) = level.columns();
    columns.push(START.to_owned());
    let touched = touched.clone();
    ScanRequest {
        labels,
        columns,
        row_filter: Some(RowFilter {
            columns: vec![START.to_owned()],
            predicate: Arc::new(move |batch| {
                times(batch, START)?
                    .iter()
                    .map(|at| Ok(Some(!touched.contains(&at))))
                    .collect()
            }),
        }),
    }
}

/// The length of the periods by which facts are read: the longest that a level is made of from them.
fn grain_of(fact: &RolledFact) -> Grain {
    Level::from_facts(fact)
        .next()
        .map_or(Grain::Day, |level| level.grain)
}

/// The facts of some periods, with what the levels that are made from them keep and add up.
fn facts_of(fact: &RolledFact, periods: &PeriodSpan) -> ScanRequest {
    let (mut labels, mut columns, mut has_local_hours) = (Vec::new(), Vec::new(), false);
    for level in Level::from_facts(fact) {
        let (texts, others) = level.columns();
        for (all, own) in [(&mut labels, texts), (&mut columns, others)] {
            for name in own {
                if !all.contains(&name) {
                    all.push(name);
                }
            }
        }
        has_local_hours |= !level.local_hours().is_empty();
    }
    // A fact does not count its rows.
    let is_count = |name: &str| {
        name == fact.count || fact.missing.is_some_and(|(count, _)| name == count) || is_hour(name)
    };
    columns.retain(|name| !is_count(name));
    columns.push(OCCURRED_AT.to_owned());
    if has_local_hours {
        columns.push(LOCAL_HOUR.to_owned());
    }
    let row_filter = periods.test(grain_of(fact)).map(|is_in| RowFilter {
        columns: vec![OCCURRED_AT.to_owned()],
        predicate: Arc::new(move |batch| {
            times(batch, OCCURRED_AT)?
                .iter()
                .map(|at| Ok(Some(is_in(at))))
                .collect()
        }),
    });
    ScanRequest {
        labels,
        columns,
        row_filter,
    }
}

/// The facts without a currency among those asked for, with their transactions' keys.
fn without_currency(
    fact: &RolledFact,
    periods: &PeriodSpan,
    mut asked: ScanRequest,
) -> ScanRequest {
    asked.columns.push(TRANSACTION_KEY.to_owned());
    let is_in = periods.test(grain_of(fact));
    asked.row_filter = Some(RowFilter {
        columns: vec![OCCURRED_AT.to_owned(), CURRENCY.to_owned()],
        predicate: Arc::new(move |batch| {
            let currencies = batch.column_by_name(CURRENCY);
            let is_null = |row: usize| currencies.is_none_or(|currencies| currencies.is_null(row));
            let is_in = |at: Option<i64>| is_in.as_ref().is_none_or(|is_in| is_in(at));
            Ok(times(batch, OCCURRED_AT)?
                .iter()
                .enumerate()
                .map(|(row, at)| Some(is_null(row) && is_in(at)))
                .collect())
        }),
    });
    asked
}

/// The currencies of the transactions of some times, in the month of a step.
async fn currencies(
    transactions: &FactSnapshot,
    step: &RollupStep,
    at: HashSet<Option<i64>>,
) -> Result<TransactionCurrencies> {
    let asked = ScanRequest {
        labels: vec![CURRENCY.to_owned()],
        columns: vec![TRANSACTION_KEY.to_owned()],
        row_filter: Some(RowFilter {
            columns: vec![OCCURRED_AT.to_owned()],
            predicate: Arc::new(move |batch| {
                Ok(times(batch, OCCURRED_AT)?
                    .iter()
                    .map(|time| Some(at.contains(&time)))
                    .collect())
            }),
        }),
    };
    let mut found = TransactionCurrencies::new();
    let mut rows = transactions.rows(&step.pipeline, &step.month, asked);
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

/// Some periods of one month of the facts.
#[derive(Debug, PartialEq)]
enum PeriodSpan {
    /// The whole month.
    All,
    /// Period of rows without a time.
    Untimed,
    /// From the first to the last, and of those only the ones named, where any are.
    Between {
        since: i64,
        until: i64,
        only: Vec<i64>,
    },
}

/// Test of an instant.
type InstantTest = Box<dyn Fn(Option<i64>) -> bool + Send + Sync>;

impl PeriodSpan {
    /// Cuts the touched periods of a month so that each piece has a bounded number of rows. A period is never cut: a month is one piece, of
    /// which a level has few groups.
    fn cut(partition: &FactPartition, periods: &RangeSet, grain: Grain) -> Vec<Self> {
        let FactPartition { month, rows, .. } = partition;
        let pieces = usize::try_from(rows.unwrap_or(0).div_ceil(CHUNK_ROWS))
            .unwrap_or(usize::MAX)
            .max(1);
        match periods {
            RangeSet::All => match (pieces, bounds(month)) {
                (1, _) | (_, None) => vec![Self::All],
                (pieces, Some((first, end))) => {
                    let next = |start: &i64| Some(grain.end_of(*start));
                    let all: Vec<i64> = std::iter::successors(Some(first), next)
                        .take_while(|start| *start < end)
                        .collect();
                    let runs = all.chunks(all.len().div_ceil(pieces).max(1));
                    runs.filter_map(|run| Self::of(run, false, grain)).collect()
                }
            },
            RangeSet::Only(periods) => {
                let untimed = periods.contains(&None) && month_of(None) == *month;
                let mine: Vec<i64> = periods
                    .iter()
                    .flatten()
                    .copied()
                    .filter(|period| month_of(Some(*period)) == *month)
                    .collect();
                let runs = mine.chunks(mine.len().div_ceil(pieces).max(1));
                let runs = runs.filter_map(|run| Self::of(run, true, grain));
                let untimed = untimed.then_some(Self::Untimed).into_iter();
                untimed.chain(runs).collect()
            }
        }
    }

    /// From the first period to the end of the last. `picks`: others in between are left out.
    fn of(periods: &[i64], picks: bool, grain: Grain) -> Option<Self> {
        let (first, last) = (*periods.first()?, *periods.last()?);
        let gapless = periods
            .windows(2)
            .all(|pair| grain.end_of(pair[0]) == pair[1]);
        let only = if picks && !gapless {
            periods.to_vec()
        } else {
            Vec::new()
        };
        Some(Self::Between {
            since: first,
            until: grain.end_of(last),
            only,
        })
    }

    /// True if an instant is in it; `None` if every one is.
    fn test(&self, grain: Grain) -> Option<InstantTest> {
        match self {
            Self::All => None,
            Self::Untimed => Some(Box::new(|at| at.is_none())),
            Self::Between { since, until, only } => {
                let (span, only) = (*since..*until, only.iter().copied().collect::<HashSet<_>>());
                Some(Box::new(move |at| {
                    at.is_some_and(|at| {
                        span.contains(&at)
                            && (only.is_empty() || only.contains(&grain.start_of(at)))
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

/// Times of the rows of a batch.
fn times(batch: &RecordBatch, column: &str) -> Result<Int64Array> {
    let times = batch
        .column_by_name(column)
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

/// The month a period's start is in.
fn month_of(start: Option<i64>) -> String {
    MonthNamer::default().name_of(start).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_microsecond()
    }

    fn spans(grain: Grain, month: &str, rows: u64, periods: &RangeSet) -> Vec<PeriodSpan> {
        let partition = FactPartition {
            pipeline: "p".into(),
            month: month.into(),
            rows: Some(rows),
        };
        PeriodSpan::cut(&partition, periods, grain)
    }

    #[test]
    fn a_small_month_is_one_piece_and_a_large_one_is_cut_without_a_gap() {
        let all = RangeSet::All;
        let one = [PeriodSpan::All];
        assert_eq!(spans(Grain::Day, "2026-01", CHUNK_ROWS, &all), one);
        let untimed = spans(Grain::Day, "none", 3 * CHUNK_ROWS, &all);
        assert_eq!(untimed, one, "there is nothing to cut it by");
        let days = spans(Grain::Day, "2026-02", 3 * CHUNK_ROWS, &all);
        let mut at = t("2026-02-01T00:00:00Z");
        for span in &days {
            let PeriodSpan::Between { since, until, only } = span else {
                panic!("{span:?}")
            };
            assert_eq!((*since, only.len()), (at, 0));
            assert_eq!(Grain::Day.start_of(*until), *until);
            at = *until;
        }
        assert_eq!((days.len(), at), (3, t("2026-03-01T00:00:00Z")));
    }

    #[test]
    fn only_the_touched_days_of_the_month_are_asked_for() {
        let at = |text: &str| Some(t(text));
        let (first, second) = (at("2026-01-30T00:00:00Z"), at("2026-01-31T00:00:00Z"));
        let days = RangeSet::Only([None, first, second, at("2026-02-01T00:00:00Z")].into());
        let until = t("2026-02-01T00:00:00Z");
        let gapless = PeriodSpan::Between {
            since: first.unwrap(),
            until,
            only: vec![],
        };
        assert_eq!(spans(Grain::Day, "2026-01", 9, &days), [gapless]);
        assert_eq!(spans(Grain::Day, "none", 9, &days), [PeriodSpan::Untimed]);
        assert_eq!(spans(Grain::Day, "2025-12", 9, &days), []);
        let earlier = at("2026-01-02T00:00:00Z");
        let days = RangeSet::Only([earlier, second].into());
        let only = vec![earlier.unwrap(), second.unwrap()];
        assert_eq!(
            spans(Grain::Day, "2026-01", 9, &days),
            [PeriodSpan::Between {
                since: earlier.unwrap(),
                until,
                only
            }]
        );
        let large = 2 * CHUNK_ROWS;
        assert_eq!(spans(Grain::Day, "2026-01", large, &days).len(), 2);
    }

    #[test]
    fn a_month_is_never_cut() {
        let month = PeriodSpan::Between {
            since: t("2026-02-01T00:00:00Z"),
            until: t("2026-03-01T00:00:00Z"),
            only: vec![],
        };
        let many = 9 * CHUNK_ROWS;
        let all = spans(Grain::Month, "2026-02", many, &RangeSet::All);
        assert_eq!(all, [month]);
        let months = ["2026-02-01T00:00:00Z", "2026-04-01T00:00:00Z"];
        let months = RangeSet::Only(months.map(|month| Some(t(month))).into());
        assert_eq!(spans(Grain::Month, "2026-02", many, &months), all);
        assert_eq!(spans(Grain::Month, "2026-03", many, &months), []);
    }

    #[test]
    fn of_periods_with_gaps_only_the_named_ones_pass() {
        let days = ["2026-02-01T00:00:00Z", "2026-02-03T00:00:00Z"].map(t);
        let span = PeriodSpan::of(&days, true, Grain::Day).unwrap();
        let is_in = span.test(Grain::Day).unwrap();
        assert!(is_in(Some(t("2026-02-01T23:59:59Z"))));
        assert!(!is_in(Some(t("2026-02-02T12:00:00Z"))));
        assert!(is_in(Some(t("2026-02-03T12:00:00Z"))));
        assert!(!is_in(Some(t("2026-02-04T00:00:00Z"))) && !is_in(None));
    }

    #[test]
    fn a_year_comes_from_the_months_that_are_not_touched() {
        let level = |name: &str| Level::of(&super::super::fact::ARTICLES).find(|l| l.name == name);
        let (years, months) = (level("yearly_articles"), level("monthly_articles"));
        let step = RollupStep {
            pipeline: "p".into(),
            month: "2026-05".into(),
            work: RollupWork::End(Grain::Year),
        };
        let touched = BTreeSet::from([
            Some(t("2026-05-01T00:00:00Z")),
            Some(t("2025-01-01T00:00:00Z")),
        ]);
        let found = folders(years.unwrap(), months.unwrap(), &step, &touched);
        assert_eq!(found.len(), 11);
        assert!(found.contains(&"2026-01".to_owned()) && !found.contains(&step.month));
    }
}
