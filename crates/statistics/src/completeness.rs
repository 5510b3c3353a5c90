//! Completeness of an answer: gaps, up to when everything was read, what did not fit.
//!
//! Invariant: everything that the published run says was to be read is assessed, whether or not anything of it ever was; what lies before the first
//! instant that was to be read (`sync.start`) is no gap, and never called read; and only what that run
//! could see counts as read. A slice that a later run brought in does not cover anything here, because its records are not in the tables this
//! answer comes from.
//!
//! ```text
//!   the run's expected reads  ─┬─ with readings     gaps as the coverage has them
//!                              └─ without any       a gap over all that was asked for
//!   readings beside them      ─── read no more      gaps within the time that it was read
//!   of each, since its start; what was not read before that stands apart
//! ```

use crate::columns::{each_batch, texts};
use crate::report::ReportedGap;
use crate::request::CheckedRequest;
use arrow::array::RecordBatch;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_lake::{
    CoverageRow, OpsTables, RejectRow, RunLedger, RunRecord, Warehouse, readable_until,
};
use tillhouse_model::{
    Coverage, CoverageAssessment, CoverageGap, ExpectedReads, ReadBy, Result, Window,
};
use tillhouse_query::{ScalarValue, Session};

/// Completeness of an answer: how far the data reaches, gaps, and rejects of the window.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct AnswerCompleteness {
    pub(crate) data_through: Option<Timestamp>,
    pub(crate) gaps: Vec<ReportedGap>,
    pub(crate) before_start: Vec<ReportedGap>,
    pub(crate) still_to_come: Option<Window>,
    pub(crate) rejects: i64,
    /// Stretches of the window compared that were not read, whether or not they were to be.
    pub(crate) compared_unread: Vec<ReportedGap>,
}

/// Completeness by the bookkeeping of every pipeline that the request is about.
pub(crate) async fn check_completeness(
    session: &Session,
    warehouse: &Warehouse,
    run: &RunRecord,
    question: &CheckedRequest<'_>,
) -> Result<AnswerCompleteness> {
    let ops = warehouse.ops();
    let pipelines = pipelines(session, run, question).await?;
    let syncs = last_syncs(warehouse, run, &pipelines).await?;
    let (ledger, mut rejects) = futures::try_join!(ops.run_ledger(), ops.rejects(None, false))?;
    // The bookkeeping is read here beside the session, which would leave out what its reader may not see.
    let scope = session.scope();
    rejects.retain(|row| scope.covers(&row.pipeline, row.tenant.as_deref()));
    let mut slices = BTreeMap::new();
    for pipeline in &pipelines {
        let mut read = readings(&ops, &ledger, pipeline, run).await?;
        read.retain(|row| scope.covers(pipeline, row.tenant.as_deref()));
        slices.insert(pipeline.clone(), read);
    }
    let tenant = match question.request.tenant.as_deref() {
        Some(id) => Some(TenantPipelines {
            id,
            pipelines: pipelines_of_tenant(session, id).await?,
        }),
        None => None,
    };
    let of_window = |window: Window| {
        assess(
            run,
            session.configured(),
            &syncs,
            window,
            tenant.as_ref(),
            &slices,
            &rejects,
        )
    };
    let compared = question.compared.map(of_window).unwrap_or_default();
    let mut compared_unread = compared.before_start;
    compared_unread.extend(compared.gaps);
    Ok(AnswerCompleteness {
        compared_unread,
        ..of_window(question.request.window)
    })
}

/// The readings of a pipeline: joined, where the run could see all of them; else each by itself, since those that it could see may be joined with
/// others.
async fn readings(
    ops: &OpsTables,
    ledger: &RunLedger,
    pipeline: &str,
    run: &RunRecord,
) -> Result<Vec<CoverageRow>> {
    let joined = ops.coverage_in(ledger, pipeline);
    if joined.iter().all(|row| could_see(run, row)) {
        return Ok(joined);
    }
    let slices = ops.slices(pipeline).await?;
    Ok(slices.iter().map(CoverageRow::from).collect())
}

/// The newest published sync of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LastSync {
    run_id: String,
    /// Up to here its source should have been read.
    started_at: Timestamp,
    /// True if nothing failed in it.
    is_whole: bool,
}

/// When each pipeline's source was last asked by then. A pipeline that has a schedule of its own is not behind because another one was
/// synced since.
async fn last_syncs(
    warehouse: &Warehouse,
    run: &RunRecord,
    pipelines: &BTreeSet<String>,
) -> Result<BTreeMap<String, LastSync>> {
    let mut syncs = LastSyncs {
        pipelines,
        found: BTreeMap::new(),
    };
    syncs.note(run);
    // The newest is asked as a rule, and tells.
    let is_told = |name: &String| run.pipelines.contains(name) || was_never_synced(run, name);
    if run.command == SYNC && pipelines.iter().all(is_told) {
        return Ok(syncs.found);
    }
    let ops = warehouse.ops();
    let is_before = |other: &&RunRecord| other.published && other.finished_at <= run.finished_at;
    let recent = ops.recent_run_heads().await?;
    recent
        .iter()
        .filter(is_before)
        .for_each(|run| syncs.note(run));
    // All others started earlier than any of these.
    let since = recent.iter().map(|other| other.started_at).min();
    let is_told = |name: &String| {
        let sync = syncs.found.get(name);
        sync.is_some_and(|sync| Some(sync.started_at) >= since) || was_never_synced(run, name)
    };
    if !pipelines.iter().all(is_told) {
        let all = ops.run_heads().await?;
        all.iter().filter(is_before).for_each(|run| syncs.note(run));
    }
    Ok(syncs.found)
}

/// The newest syncs of some pipelines among the runs that were noted.
struct LastSyncs<'a> {
    pipelines: &'a BTreeSet<String>,
    found: BTreeMap<String, LastSync>,
}

impl LastSyncs<'_> {
    fn note(&mut self, run: &RunRecord) {
        let is_asked = |name: &&String| run.command == SYNC && self.pipelines.contains(*name);
        for pipeline in run.pipelines.iter().filter(is_asked) {
            let known = self.found.get(pipeline);
            if known.is_none_or(|known| known.started_at < run.started_at) {
                let sync = LastSync {
                    run_id: run.run_id.clone(),
                    started_at: run.started_at,
                    is_whole: run.outcome == DONE,
                };
                self.found.insert(pipeline.clone(), sync);
            }
        }
    }
}

/// True if no run up to this one was about a pipeline, which is configured all the same.
fn was_never_synced(run: &RunRecord, pipeline: &str) -> bool {
    let expected = run.expected.get(pipeline);
    if expected.is_some_and(ExpectedReads::is_known) {
        return false;
    }
    let folder = format!("{pipeline}/");
    let first = run.tables.range(folder.clone()..).next();
    first.is_none_or(|(path, _)| !path.starts_with(&folder))
}

/// The command that asks sources, and its outcome where none failed.
const SYNC: &str = "sync";
const DONE: &str = "done";

/// Kinds of time of older rows, read out of a name; change time is also noted beside windows of
/// event time, never without them.
const OLD_NOTE: (Option<ReadBy>, Option<ReadBy>) =
    (Some(ReadBy::ChangeTime), Some(ReadBy::EventTime));

/// The tenant that is asked about, and the pipelines that know it.
struct TenantPipelines<'a> {
    id: &'a str,
    pipelines: BTreeSet<String>,
}

/// The pipelines in whose records a tenant is named. Not every source is read tenant by tenant, so slices alone cannot tell.
async fn pipelines_of_tenant(session: &Session, tenant: &str) -> Result<BTreeSet<String>> {
    let mut homes = BTreeSet::new();
    if session.has_table("unified", "tenants").await? {
        let sql = "SELECT DISTINCT pipeline FROM unified.tenants WHERE tenant_id = $tenant";
        let params = [("tenant", ScalarValue::Utf8(Some(tenant.to_owned())))];
        each_batch(session, sql, &params, |batch| {
            let names = texts(batch, "pipeline")?;
            homes.extend(
                (0..batch.num_rows())
                    .filter_map(|row| names.get(row))
                    .map(str::to_owned),
            );
            Ok(())
        })
        .await?;
    }
    Ok(homes)
}

/// The pipelines a request is about: all that ever took part or are configured, or those of one source. A pipeline whose configuration did not
/// tell its source, and that has no transactions yet, is kept: a gap too many is better than one too few.
pub(crate) async fn pipelines(
    session: &Session,
    run: &RunRecord,
    question: &CheckedRequest<'_>,
) -> Result<BTreeSet<String>> {
    let of_tables = run
        .tables
        .keys()
        .filter_map(|path| path.split_once('/'))
        .map(|(schema, _)| schema);
    let mut pipelines: BTreeSet<String> = of_tables
        .filter(|schema| !matches!(*schema, "unified" | "ops" | "statistics"))
        .chain(run.pipelines.iter().map(String::as_str))
        .chain(run.expected.keys().map(String::as_str))
        .chain(session.configured().keys().map(String::as_str))
        .map(str::to_owned)
        .collect();
    if let Some(only) = &question.request.pipeline {
        pipelines.retain(|pipeline| pipeline == only);
    }
    pipelines.retain(|pipeline| session.scope().covers_pipeline(pipeline));
    let Some(source) = &question.request.source else {
        return Ok(pipelines);
    };
    let told_by = |expected: &'_ BTreeMap<String, ExpectedReads>, pipeline: &String| {
        expected
            .get(pipeline)
            .and_then(|reads| reads.source.clone())
    };
    let configured = |pipeline: &String| {
        told_by(&run.expected, pipeline).or_else(|| told_by(session.configured(), pipeline))
    };
    pipelines.retain(|pipeline| configured(pipeline).is_none_or(|own| own == *source));
    // A pipeline has one source, so one row tells it: of a dimension, or where it has none of them, of the facts.
    let mut unknown = pipelines.clone();
    unknown.retain(|pipeline| configured(pipeline).is_none());
    if unknown.is_empty() {
        return Ok(pipelines);
    }
    for table in ["tenants", "sites"] {
        if session.has_table("unified", table).await? {
            let sql = format!("SELECT DISTINCT pipeline, source FROM unified.{table}");
            each_batch(session, &sql, &[], |batch| {
                add_matching_pipelines(batch, source, &mut unknown, &mut pipelines)
            })
            .await?;
        }
    }
    if session.has_table("unified", "transactions").await? {
        for pipeline in unknown.clone() {
            let sql = "SELECT pipeline, source FROM unified.transactions WHERE pipeline = $pipeline LIMIT 1";
            let params = [("pipeline", ScalarValue::Utf8(Some(pipeline)))];
            each_batch(session, sql, &params, |batch| {
                add_matching_pipelines(batch, source, &mut unknown, &mut pipelines)
            })
            .await?;
        }
    }
    Ok(pipelines)
}

/// Takes pipelines and their sources from a result: those of another source are left out.
fn add_matching_pipelines(
    batch: &RecordBatch,
    source: &str,
    unknown: &mut BTreeSet<String>,
    pipelines: &mut BTreeSet<String>,
) -> Result<()> {
    let (names, sources) = (texts(batch, "pipeline")?, texts(batch, "source")?);
    for row in 0..batch.num_rows() {
        if let Some(name) = names.get(row) {
            unknown.remove(name);
            if sources.get(row) != Some(source) {
                pipelines.remove(name);
            }
        }
    }
    Ok(())
}

/// The known reads that a pipeline should do.
#[derive(Clone, Copy)]
struct PipelineExpectation<'a> {
    /// As the run tells; a run of an older version does not.
    recorded: Option<&'a ExpectedReads>,
    /// As the reader's configuration tells. It adds to what is expected and takes nothing away: another project may read more.
    configured: Option<&'a ExpectedReads>,
}

impl<'a> PipelineExpectation<'a> {
    fn reads(self) -> impl Iterator<Item = &'a ExpectedReads> {
        self.recorded.into_iter().chain(self.configured)
    }

    /// First instant of a resource that is to be read, by whom more of it is; `None` where nobody tells.
    fn start_of(self, resource: &str) -> Option<Timestamp> {
        self.reads()
            .filter_map(|reads| reads.starts.get(resource).copied())
            .min()
    }

    /// True if a resource or tenant is read no more; `None` where only the ledger can tell.
    fn drops(self, resource: &str, tenant: Option<&str>) -> Option<bool> {
        if self.reads().any(|reads| reads.contains(resource, tenant)) {
            return Some(false);
        }
        self.recorded.map(|_| true)
    }
}

/// The assessment itself, on rows of the bookkeeping.
///
/// A pipeline that is read for other tenants only holds nothing of the one asked about, and has no part in the answer: a mandator's sales
/// are no less complete for what was read of a fleet's account. That needs another pipeline that knows the tenant: one that nobody
/// knows may be an account that is yet to be read, and a gap too many is better than one too few.
fn assess(
    run: &RunRecord,
    configured: &BTreeMap<String, ExpectedReads>,
    syncs: &BTreeMap<String, LastSync>,
    window: Window,
    tenant: Option<&TenantPipelines<'_>>,
    slices: &BTreeMap<String, Vec<CoverageRow>>,
    rejects: &[RejectRow],
) -> AnswerCompleteness {
    let mut gaps: Vec<ReportedGap> = Vec::new();
    let mut before_start: Vec<ReportedGap> = Vec::new();
    let mut through: Vec<Option<Timestamp>> = Vec::new();
    let mut dropped_through: Vec<Option<Timestamp>> = Vec::new();
    let mut all_asked = window.to();
    let expected = |pipeline: &String| PipelineExpectation {
        recorded: run.expected.get(pipeline).filter(|reads| reads.is_known()),
        configured: configured.get(pipeline).filter(|reads| reads.is_known()),
    };
    let is_home = |(pipeline, rows): (&String, &Vec<CoverageRow>)| {
        tenant.is_some_and(|tenant| {
            let named =
                |row: &CoverageRow| row.tenant.as_deref() == Some(tenant.id) && could_see(run, row);
            tenant.pipelines.contains(pipeline)
                || expected(pipeline)
                    .reads()
                    .any(|reads| reads.names_tenant(tenant.id))
                || rows.iter().any(named)
        })
    };
    let has_home = slices.iter().any(is_home);
    for (pipeline, rows) in slices {
        let expected = expected(pipeline);
        // Every tenant of a resource has a coverage of its own.
        let mut covered: BTreeMap<(&str, Option<&str>), Vec<&CoverageRow>> = BTreeMap::new();
        let ours = |of_row: Option<&str>| {
            tenant.is_none_or(|tenant| of_row.is_none_or(|of_row| of_row == tenant.id))
        };
        for (resource, of_resource) in expected.reads().flat_map(ExpectedReads::each) {
            if ours(of_resource) {
                covered.entry((resource, of_resource)).or_default();
            }
        }
        let mut is_known = expected.reads().next().is_some();
        for row in rows.iter().filter(|row| could_see(run, row)) {
            is_known = true;
            if ours(row.tenant.as_deref()) {
                covered
                    .entry((&row.resource, row.tenant.as_deref()))
                    .or_default()
                    .push(row);
            }
        }
        if covered.is_empty() && is_known && has_home && !is_home((pipeline, rows)) {
            continue;
        }
        // Where no run tells, as far as anything of it was read; of what was never asked, up to the run.
        let newest = rows
            .iter()
            .filter(|row| could_see(run, row))
            .filter_map(|row| row.as_read().seen())
            .map(|w| w.to());
        let sync = syncs.get(pipeline);
        let until = sync
            .map(|sync| {
                let seen = rows.iter().filter(|row| could_see(run, row));
                readable_until(&sync.run_id, sync.started_at, seen)
            })
            .or_else(|| newest.max())
            .unwrap_or(run.started_at);
        all_asked = all_asked.min(until);
        if covered.is_empty() {
            let missing = Window::new(window.from(), window.to().min(until)).ok();
            gaps.extend(missing.map(|window| ReportedGap {
                pipeline: pipeline.clone(),
                resource: "*".to_owned(),
                tenant: None,
                window,
                read_by: None,
            }));
            through.push(None);
        }
        // In a run that notes by which time windows are read, a row without it is of a resource that is read whole. What slices of an
        // older version had in a name is no such note.
        let is_note = |row: &&&CoverageRow| {
            row.read.read_by.is_some() && (row.read.read_by, row.read.also_read_by) != OLD_NOTE
        };
        let noting: BTreeSet<&str> = covered
            .values()
            .flatten()
            .filter(is_note)
            .map(|row| &*row.run_id)
            .collect();
        for ((resource, of_resource), rows) in covered {
            let is_whole = rows
                .iter()
                .any(|row| row.read.read_by.is_none() && noting.contains(&*row.run_id));
            let reads = rows.iter().map(|row| row.as_read());
            let coverage =
                Coverage::of(reads.map(|read| if is_whole { read.of_everything() } else { read }));
            // A resource or tenant that is read no more should have been read as long as it was.
            let is_dropped = expected.drops(resource, of_resource).unwrap_or_else(|| {
                // Of a sync in which nothing failed, there is a slice of everything that the pipeline still reads.
                sync.is_some_and(|sync| {
                    sync.is_whole && rows.iter().all(|row| row.run_id != sync.run_id)
                })
            });
            let last = coverage.covered().last().map(Window::to);
            let until = match (is_dropped, last) {
                (true, Some(last)) => last.min(until),
                // It was never read, and will not be.
                (true, None) => continue,
                (false, _) => until,
            };
            let start = expected.start_of(resource);
            let (answer, earlier) = assess_since(&coverage, window, until, start);
            let reported = |gap: CoverageGap| ReportedGap {
                pipeline: pipeline.clone(),
                resource: resource.to_owned(),
                tenant: of_resource.map(str::to_owned),
                window: gap.window,
                read_by: Some(gap.read_by).filter(|by| *by == ReadBy::ChangeTime),
            };
            before_start.extend(earlier.into_iter().map(reported));
            match is_dropped && answer.gaps.is_empty() {
                true => dropped_through.push(answer.through),
                false => through.push(answer.through),
            }
            gaps.extend(answer.gaps.into_iter().map(reported));
        }
    }
    // A resource that is read no more ends where it ends, unless it is all there is to answer from.
    if through.is_empty() {
        through = dropped_through;
    }
    AnswerCompleteness {
        data_through: through.into_iter().min().flatten(),
        gaps,
        before_start,
        still_to_come: Window::new(window.from().max(all_asked), window.to()).ok(),
        rejects: count_rejects(run, window, slices, rejects),
        compared_unread: Vec::new(),
    }
}

/// The assessment of what should have been read of a resource since its start, and what was not read before that.
fn assess_since(
    coverage: &Coverage,
    window: Window,
    until: Timestamp,
    start: Option<Timestamp>,
) -> (CoverageAssessment, Vec<CoverageGap>) {
    let whole = coverage.assess(window, until);
    let Some(start) = start.filter(|start| whole.gaps.iter().any(|g| g.window.from() < *start))
    else {
        return (whole, Vec::new());
    };
    let part = |gap: &CoverageGap, from: Timestamp, to: Timestamp| {
        let window = Window::new(gap.window.from().max(from), gap.window.to().min(to)).ok()?;
        Some(CoverageGap { window, ..*gap })
    };
    let earlier = whole
        .gaps
        .iter()
        .filter_map(|gap| part(gap, Timestamp::MIN, start));
    let gaps = whole
        .gaps
        .iter()
        .filter_map(|gap| part(gap, start, Timestamp::MAX));
    // Of a window that lies before it altogether nothing was to be read, and nothing is said to have been.
    let since = Window::new(window.from().max(start), window.to()).ok();
    let answer = CoverageAssessment {
        through: since.and_then(|since| coverage.assess(since, until).through),
        gaps: gaps.collect(),
    };
    (answer, earlier.collect())
}

/// True if the published run had a slice's records in its tables: what was read and could not be unified is in none of them.
pub(crate) fn could_see(run: &RunRecord, row: &CoverageRow) -> bool {
    let read_at = row.read.read_at;
    let expected = run.expected.get(&row.pipeline);
    // Another process reads it for the first time, and has published nothing of it.
    if expected.is_some_and(|reads| reads.unified_by.is_none())
        && was_never_synced(run, &row.pipeline)
    {
        return false;
    }
    if expected.is_some_and(|reads| !reads.has_unified(&row.run_id)) {
        return false;
    }
    row.run_id == run.run_id
        || (row.run_id.as_str() < run.run_id.as_str() && read_at <= run.finished_at)
}

/// Records of the window that did not fit and had not landed by the end of the run. A record with two bad fields is one.
fn count_rejects(
    run: &RunRecord,
    window: Window,
    slices: &BTreeMap<String, Vec<CoverageRow>>,
    rejects: &[RejectRow],
) -> i64 {
    let is_open = |row: &&RejectRow| {
        row.first_seen <= run.finished_at && row.resolved_at.is_none_or(|at| at > run.finished_at)
    };
    let in_window = |row: &&RejectRow| match row.read_by {
        // Sales of the window are learnt of, and changed, in it or after it.
        Some(ReadBy::ChangeTime) => row.slice.to() > window.from(),
        _ => row.slice.intersection(&window).is_some(),
    };
    // One without a key stands there as often as it came.
    let records: BTreeSet<(&str, &str, Result<&str, usize>)> = rejects
        .iter()
        .enumerate()
        .filter(|(_, row)| slices.contains_key(&row.pipeline) && is_open(row) && in_window(row))
        .map(|(at, row)| {
            (
                &*row.pipeline,
                &*row.resource,
                row.record_key.as_deref().ok_or(at),
            )
        })
        .collect();
    #[expect(clippy::expect_used, reason = "no memory holds 2^63 records")]
    let count = i64::try_from(records.len()).expect("a set that fits into memory");
    count
}

#[cfg(test)]
#[path = "completeness_tests.rs"]
mod tests;
