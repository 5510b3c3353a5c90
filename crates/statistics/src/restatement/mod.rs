//! Restatement: which hours, days and months are not what they were when a run was published, by how much, and because of which
//! transactions.
//!
//! ```text
//!   two runs ─(lake: what differs)─> touched hours ─ of which had been read then ─> past hours
//!     └─ both runs' facts of these hours, added up ─> sums that differ ─> hours, days, months
//!     └─ both runs' facts ─> transactions counted differently
//! ```
//!
//! Invariant: only hours that had been read when the earlier run finished count as past, tenant by tenant where a source is read so. What was first
//! read since is new, not restated, and is only counted.

mod measure;
mod periods;
mod run_pair;
mod transactions;

use crate::completeness::{AnswerCompleteness, check_completeness, could_see, pipelines};
use crate::definitions;
use crate::facts::{FactConditions, instant};
use crate::request::{CheckedRequest, StatisticsRequest};
use crate::restated::{RestatedMeta, RestatedReport};
use crate::rollup::FACTS;
use jiff::Timestamp;
use measure::{FactMeasure, MEASURES, RestatedHourFigure, figures};
use periods::PeriodSums;
use run_pair::RunPairSession;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_lake::{AsOf, ChangedRanges, CoverageRow, RangeSet, RunRecord, Warehouse};
use tillhouse_model::calendar::{HOUR, month_of_micros};
use tillhouse_model::{Coverage, Error, ErrorKind, ExpectedReads, Result, Window, WindowRead};
use tillhouse_query::{QueryEngine, ScalarValue, Session};

/// More hours are not named one by one: the months they are in are read whole.
const MOST_HOURS: usize = 5_000;

/// Changes between two runs of the hours that lie whole within the request's window. Its tenant,
/// source, perspective and states count; its time zone does not: hours are UTC's, days and months
/// every site's own. At most `most` transactions are listed.
///
/// Errors with [`tillhouse_model::ErrorKind::Config`] when the request names something unknown or the runs are in the wrong order, with
/// [`tillhouse_model::ErrorKind::Storage`] when the earlier run's tables are gone.
pub async fn find_restatements(
    engine: &QueryEngine,
    warehouse: &Warehouse,
    since: &RunRecord,
    now: &RunRecord,
    request: &StatisticsRequest,
    most: usize,
) -> Result<RestatedReport> {
    let open = |run: &RunRecord| {
        let at = AsOf::Run(run.run_id.clone());
        async move { engine.open(warehouse, &at).await }
    };
    let (since, now) = futures::try_join!(open(since), open(now))?;
    let both = engine.empty_session()?;
    find_restatements_seen(both, warehouse, (&since, &now), request, most).await
}

/// The same, of what two sessions over runs see, whose readers may see a part of them. `both` is an empty session, which takes the tables of both runs.
///
/// Errors as [`find_restatements`] does, and with [`ErrorKind::Query`] when one of the sessions does not read a published run.
pub async fn find_restatements_seen(
    both: Session,
    warehouse: &Warehouse,
    (then_session, now_session): (&Session, &Session),
    request: &StatisticsRequest,
    most: usize,
) -> Result<RestatedReport> {
    let (since, now) = (run_of(then_session)?, run_of(now_session)?);
    let question = CheckedRequest::new(request)?;
    if since.finished_at > now.finished_at {
        return Err(Error::config(format!(
            "run {} finished after run {}",
            since.run_id, now.run_id
        ))
        .hint("Name the earlier run with --since and the later one with --as-of."));
    }
    let read = completeness(now_session, warehouse, now, request).await?;
    let mut restated = RestatedReport {
        months: Vec::new(),
        days: Vec::new(),
        hours: Vec::new(),
        transactions: Vec::new(),
        meta: RestatedMeta {
            since: since.run_id.clone(),
            since_finished_at: since.finished_at,
            run: now.run_id.clone(),
            tenant: request.tenant.clone(),
            source: request.source.clone(),
            perspective: request.perspective.clone(),
            states: request.states.clone(),
            hours_first_read: 0,
            transactions_changed: 0,
            gaps: read.gaps,
            before_start: read.before_start,
        },
    };
    let touched = changed_hours(warehouse, since, now).await?;
    if touched.is_empty() || !since.tables.contains_key("unified/transactions") {
        return Ok(restated);
    }
    let past = PastCoverage::of(warehouse, (since, now), &touched).await?;
    let asked = RestatementConditions::new(&question, &touched);
    let sides = RunPairSession::open(both, then_session, now_session).await?;

    let mut changed: BTreeSet<RestatedHourFigure> = BTreeSet::new();
    let mut first_read: BTreeSet<(String, i64)> = BTreeSet::new();
    for measure in &MEASURES {
        let differing = measure.sql(&asked.of_hours(measure), true);
        figures(&sides, measure, &differing, &asked, |figure, sums| {
            if sums.then == sums.now {
                return Ok(());
            }
            if past.holds(&figure.pipeline, figure.tenant.as_deref(), figure.hour) {
                changed.insert(figure);
            } else {
                first_read.insert((figure.pipeline, figure.hour));
            }
            Ok(())
        })
        .await?;
    }
    #[expect(clippy::expect_used, reason = "no memory holds 2^63 hours")]
    let hours_first_read = i64::try_from(first_read.len()).expect("a set that fits into memory");
    restated.meta.hours_first_read = hours_first_read;
    if changed.is_empty() {
        return Ok(restated);
    }
    let mut periods = PeriodSums::of(&changed);
    for measure in &MEASURES {
        let whole = measure.sql(&asked.of_months(measure, &periods.utc_months()), false);
        figures(&sides, measure, &whole, &asked, |figure, sums| {
            if past.holds(&figure.pipeline, figure.tenant.as_deref(), figure.hour) {
                periods.add(&figure, sums)
            } else {
                Ok(())
            }
        })
        .await?;
    }
    [restated.hours, restated.days, restated.months] = periods.into_changes();
    let (listed, all) = transactions::changed(&sides, &asked, &past, most).await?;
    (restated.transactions, restated.meta.transactions_changed) = (listed, all);
    Ok(restated)
}

fn run_of(session: &Session) -> Result<&RunRecord> {
    session.run().ok_or_else(|| {
        Error::new(
            ErrorKind::Query,
            "changes are asked of published runs, and this session reads none",
        )
    })
}

/// Completeness of a run in the window of a request, for its source and tenant.
async fn completeness(
    session: &Session,
    warehouse: &Warehouse,
    run: &RunRecord,
    request: &StatisticsRequest,
) -> Result<AnswerCompleteness> {
    let mut asked = request.clone();
    if asked.window.from() == Timestamp::MIN {
        let question = CheckedRequest::new(request)?;
        let ledger = warehouse.ops().run_ledger().await?;
        let pipelines = pipelines(session, run, &question).await?;
        let reads = pipelines
            .iter()
            .flat_map(|pipeline| warehouse.ops().coverage_in(&ledger, pipeline));
        let begun = reads.filter(|row| row.read.read_by.is_some());
        let first = begun.map(|row| row.read.window.from()).min();
        asked.window = match first.map(|first| Window::new(first, asked.window.to())) {
            Some(Ok(window)) => window,
            _ => return Ok(AnswerCompleteness::default()),
        };
    }
    let question = CheckedRequest::new(&asked)?;
    check_completeness(session, warehouse, run, &question).await
}

/// Hours in which the facts of two runs differ.
async fn changed_hours(
    warehouse: &Warehouse,
    since: &RunRecord,
    now: &RunRecord,
) -> Result<ChangedRanges> {
    let mut touched = ChangedRanges::default();
    for fact in FACTS {
        let path = format!("unified/{}", fact.name);
        let Some(later) = now.tables.get(&path) else {
            continue;
        };
        let earlier = since.tables.get(&path);
        let found = fact.changed_hours(warehouse, earlier, later).await;
        touched.merge(found.map_err(|e| {
            e.at("run", &since.run_id).hint(
                "The tables of that run may have been vacuumed: name a later run with --since.",
            )
        })?);
    }
    Ok(touched)
}

/// Coverage of each pipeline when a run finished.
struct PastCoverage(BTreeMap<String, PastPipeline>);

/// Coverage of one pipeline when a run finished.
#[derive(Default)]
struct PastPipeline {
    /// By tenant, that of every resource.
    read: BTreeMap<Option<String>, Vec<Coverage>>,
    /// Tenants that it is asked for one by one, read by then or not.
    tenants: BTreeSet<String>,
}

impl PastCoverage {
    async fn of(
        warehouse: &Warehouse,
        (since, now): (&RunRecord, &RunRecord),
        touched: &ChangedRanges,
    ) -> Result<Self> {
        let mut past = BTreeMap::new();
        for pipeline in touched.0.keys() {
            let slices = warehouse.ops().slices(pipeline).await?;
            let slices: Vec<CoverageRow> = slices.iter().map(CoverageRow::from).collect();
            let mut reads: BTreeMap<(&str, Option<&str>), Vec<WindowRead>> = BTreeMap::new();
            for slice in slices.iter().filter(|row| could_see(since, row)) {
                reads
                    .entry((&slice.resource, slice.tenant.as_deref()))
                    .or_default()
                    .push(slice.as_read());
            }
            // A resource that every run reads whole says nothing of what happened when.
            let by_time = |reads: &Vec<WindowRead>| reads.iter().any(|read| read.read_by.is_some());
            if reads.values().any(by_time) {
                reads.retain(|_, reads| by_time(reads));
            }
            let mut of_pipeline = PastPipeline::default();
            for ((_, tenant), reads) in reads {
                let read = of_pipeline.read.entry(tenant.map(str::to_owned));
                read.or_default().push(Coverage::of(reads));
            }
            let expected = [since, now]
                .into_iter()
                .filter_map(|run| run.expected.get(pipeline));
            let expected = expected
                .flat_map(ExpectedReads::each)
                .filter_map(|(_, tenant)| tenant);
            let read = slices.iter().filter_map(|row| row.tenant.as_deref());
            of_pipeline.tenants = expected.chain(read).map(str::to_owned).collect();
            past.insert(pipeline.clone(), of_pipeline);
        }
        Ok(Self(past))
    }

    /// True if the whole of an hour had been read, of any resource: of the tenant, where the pipeline is asked for that one by itself, else of any.
    fn holds(&self, pipeline: &str, tenant: Option<&str>, hour: i64) -> bool {
        let at = |micros: i64| Timestamp::from_microsecond(micros).ok();
        let window = at(hour).zip(at(hour.saturating_add(HOUR)));
        let Some(window) = window.and_then(|(from, to)| Window::new(from, to).ok()) else {
            return false;
        };
        let Some(PastPipeline { read, tenants }) = self.0.get(pipeline) else {
            return false;
        };
        let tenant = tenant.filter(|tenant| tenants.contains(*tenant));
        read.iter()
            .filter(|(own, _)| tenant.is_none() || own.is_none() || own.as_deref() == tenant)
            .flat_map(|(_, of_tenant)| of_tenant)
            .any(|coverage| coverage.holds(window))
    }
}

/// Conditions on rows that a restatement compares, for both runs alike.
struct RestatementConditions {
    /// Perspective, tenant, source; hours that lie whole within the window.
    whose: FactConditions,
    states: String,
    /// True if the past that lost or won its time matters.
    untimed: bool,
    /// The touched hours; `None` for all there are.
    hours: Option<BTreeSet<i64>>,
}

impl RestatementConditions {
    fn new(question: &CheckedRequest<'_>, touched: &ChangedRanges) -> Self {
        let mut whose = FactConditions::without_times(question);
        let (from, to) = question.now;
        whose.params.push(("since", instant(from)));
        whose
            .params
            .push(("until", instant(to.saturating_sub(HOUR - 1))));
        let (mut hours, mut untimed) = (Some(BTreeSet::new()), false);
        for of_pipeline in touched.0.values() {
            match (of_pipeline, &mut hours) {
                (RangeSet::Only(these), Some(hours)) => {
                    untimed |= these.contains(&None);
                    hours.extend(these.iter().flatten());
                }
                _ => (hours, untimed) = (None, true),
            }
        }
        Self {
            whose,
            states: question.states_sql(),
            untimed,
            hours,
        }
    }

    fn params(&self) -> &[(&'static str, ScalarValue)] {
        &self.whose.params
    }

    /// The rows of a fact that count, in the touched hours.
    fn of_hours(&self, measure: &FactMeasure) -> String {
        format!(
            "{} AND {}",
            self.counted(measure),
            self.hour_condition("hour")
        )
    }

    /// The rows of a fact that count, in some UTC months.
    fn of_months(&self, measure: &FactMeasure, months: &BTreeSet<String>) -> String {
        format!("{} AND month IN ({})", self.counted(measure), list(months))
    }

    fn counted(&self, measure: &FactMeasure) -> String {
        let FactMeasure {
            state, condition, ..
        } = measure;
        let counted = definitions::counted_sql(state, &self.states);
        format!(
            "{} AND {counted} AND {condition} AND hour >= $since AND hour < $until",
            self.whose.sql
        )
    }

    /// Condition on the start of a row's hour: one of the changed hours.
    fn hour_condition(&self, hour: &str) -> String {
        let Some(hours) = &self.hours else {
            return "TRUE".to_owned();
        };
        let months: BTreeSet<String> = hours.iter().map(|hour| month_of_micros(*hour)).collect();
        let months = if months.is_empty() {
            "FALSE".to_owned()
        } else {
            format!("month IN ({})", list(&months))
        };
        if hours.len() > MOST_HOURS || hours.is_empty() {
            return months;
        }
        let hours: Vec<String> = hours.iter().map(i64::to_string).collect();
        format!(
            "{months} AND CAST({hour} AS BIGINT) IN ({})",
            hours.join(", ")
        )
    }
}

/// Names of months as a list of SQL literals: digits and dashes only.
fn list(months: &BTreeSet<String>) -> String {
    let quoted: Vec<String> = months.iter().map(|month| format!("'{month}'")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_hours_that_had_been_read_are_past() {
        let t = |text: &str| text.parse::<Timestamp>().unwrap();
        let window = |from: &str, to: &str| Window::new(t(from), t(to)).unwrap();
        let read = |window: Window, read_at: &str| {
            let read_at = t(read_at);
            WindowRead {
                window,
                read_at,
                read_by: Some(tillhouse_model::ReadBy::EventTime),
                also_read_by: None,
            }
        };
        let coverage = Coverage::of([
            read(
                window("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
                "2026-01-01T10:30:00Z",
            ),
            read(
                window("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"),
                "2026-01-04T00:00:00Z",
            ),
        ]);
        let of_pipeline = PastPipeline {
            read: BTreeMap::from([(None, vec![coverage])]),
            tenants: BTreeSet::new(),
        };
        let past = PastCoverage(BTreeMap::from([("p".to_owned(), of_pipeline)]));
        let holds = |hour: &str| past.holds("p", Some("north"), t(hour).as_microsecond());
        assert!(
            holds("2026-01-01T00:00:00Z")
                && holds("2026-01-01T09:00:00Z")
                && holds("2026-01-02T23:00:00Z")
        );
        for hour in [
            "2025-12-31T23:00:00Z",
            "2026-01-01T10:00:00Z",
            "2026-01-01T12:00:00Z",
            "2026-01-03T00:00:00Z",
        ] {
            assert!(!holds(hour), "{hour}");
        }
        assert!(!past.holds("another", None, t("2026-01-01T00:00:00Z").as_microsecond()));
    }

    #[test]
    fn hours_of_a_tenant_that_had_not_been_read_are_not_past_for_those_of_others() {
        let t = |text: &str| text.parse::<Timestamp>().unwrap();
        let day = Window::new(t("2026-01-01T00:00:00Z"), t("2026-01-02T00:00:00Z")).unwrap();
        let read = Coverage::of([WindowRead {
            window: day,
            read_at: day.to(),
            read_by: Some(tillhouse_model::ReadBy::EventTime),
            also_read_by: None,
        }]);
        let of_pipeline = PastPipeline {
            read: BTreeMap::from([(Some("a".to_owned()), vec![read])]),
            tenants: ["a", "b"].map(str::to_owned).into(),
        };
        let past = PastCoverage(BTreeMap::from([("p".to_owned(), of_pipeline)]));
        let holds = |tenant: Option<&str>| past.holds("p", tenant, day.from().as_microsecond());
        assert!(holds(Some("a")) && !holds(Some("b")));
        // Sales that name none, or one that nobody is asked for.
        assert!(holds(None) && holds(Some("north")));
    }
}
