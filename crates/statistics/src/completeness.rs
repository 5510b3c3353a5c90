//! Completeness of an answer: gaps, up to when everything was read, what did not fit.
//!
//! Invariant: only what the published run could see counts as read. A slice that a later run brought in does not cover anything
//! here, because its records are not in the tables this answer comes from.

use crate::columns::{each_batch, texts};
use crate::report::ReportedGap;
use crate::request::CheckedRequest;
use arrow::array::RecordBatch;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_lake::{CoverageRow, OpsTables, RejectRow, RunRecord, Warehouse};
use tillhouse_model::merge_windows;
use tillhouse_model::{Coverage, CoverageGap, ReadBy, Result, Window};
use tillhouse_query::{ScalarValue, Session};

/// Completeness of an answer: how far the data reaches, gaps, and rejects of the window.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct AnswerCompleteness {
    pub(crate) data_through: Option<Timestamp>,
    pub(crate) gaps: Vec<ReportedGap>,
    pub(crate) still_to_come: Option<Window>,
    pub(crate) rejects: i64,
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
    let mut slices = BTreeMap::new();
    for pipeline in &pipelines {
        slices.insert(pipeline.clone(), readings(&ops, pipeline, run).await?);
    }
    let rejects = ops.rejects(None, false).await?;
    let tenant = match question.request.tenant.as_deref() {
        Some(id) => Some(TenantPipelines {
            id,
            pipelines: pipelines_of_tenant(session, id).await?,
        }),
        None => None,
    };
    Ok(assess(
        run,
        &syncs,
        question.request.window,
        tenant.as_ref(),
        &slices,
        &rejects,
    ))
}

/// The readings of a pipeline: joined, where the run could see all of them; else each by itself, since those that it could see may be joined with
/// others.
async fn readings(ops: &OpsTables, pipeline: &str, run: &RunRecord) -> Result<Vec<CoverageRow>> {
    let joined = ops.coverage(pipeline).await?;
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
    let mut syncs: BTreeMap<String, LastSync> = BTreeMap::new();
    let mut note = |run: &RunRecord| {
        for pipeline in run
            .pipelines
            .iter()
            .filter(|name| run.command == SYNC && pipelines.contains(*name))
        {
            if syncs
                .get(pipeline)
                .is_none_or(|known| known.started_at < run.started_at)
            {
                let is_whole = run.outcome == DONE;
                let sync = LastSync {
                    run_id: run.run_id.clone(),
                    started_at: run.started_at,
                    is_whole,
                };
                syncs.insert(pipeline.clone(), sync);
            }
        }
    };
    note(run);
    // The newest is asked as a rule, and tells.
    if run.command != SYNC || pipelines.iter().any(|name| !run.pipelines.contains(name)) {
        let runs = warehouse.ops().run_heads().await?;
        runs.iter()
            .filter(|other| other.published && other.finished_at <= run.finished_at)
            .for_each(&mut note);
    }
    Ok(syncs)
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

/// The pipelines a request is about: all that ever took part, or those of one source. A pipeline that has no transactions yet
/// cannot tell its source and is kept: a gap too many is better than one too few.
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
        .map(str::to_owned)
        .collect();
    if let Some(only) = &question.request.pipeline {
        pipelines.retain(|pipeline| pipeline == only);
    }
    let Some(source) = &question.request.source else {
        return Ok(pipelines);
    };
    // A pipeline has one source, so one row tells it: of a dimension, or where it has none of them, of the facts.
    let mut unknown = pipelines.clone();
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

/// The assessment itself, on rows of the bookkeeping.
///
/// A pipeline that was read for other tenants only holds nothing of the one asked about, and has no part in the answer: a mandator's sales
/// are no less complete for what was read of a fleet's account. That needs another pipeline that knows the tenant: one that nobody
/// knows may be an account that is yet to be read, and a gap too many is better than one too few.
fn assess(
    run: &RunRecord,
    syncs: &BTreeMap<String, LastSync>,
    window: Window,
    tenant: Option<&TenantPipelines<'_>>,
    slices: &BTreeMap<String, Vec<CoverageRow>>,
    rejects: &[RejectRow],
) -> AnswerCompleteness {
    let mut gaps: BTreeMap<(String, String), Vec<CoverageGap>> = BTreeMap::new();
    let mut through: Vec<Option<Timestamp>> = Vec::new();
    let mut all_asked = window.to();
    let is_home = |(pipeline, rows): (&String, &Vec<CoverageRow>)| {
        tenant.is_some_and(|tenant| {
            let named =
                |row: &CoverageRow| row.tenant.as_deref() == Some(tenant.id) && could_see(run, row);
            tenant.pipelines.contains(pipeline) || rows.iter().any(named)
        })
    };
    let has_home = slices.iter().any(is_home);
    for (pipeline, rows) in slices {
        // Every tenant of a resource has a coverage of its own.
        let mut covered: BTreeMap<(&str, Option<&str>), Vec<&CoverageRow>> = BTreeMap::new();
        let ours = |row: &CoverageRow| {
            tenant.is_none_or(|tenant| {
                row.tenant
                    .as_deref()
                    .is_none_or(|of_row| of_row == tenant.id)
            })
        };
        let mut is_read = false;
        for row in rows.iter().filter(|row| could_see(run, row)) {
            is_read = true;
            if ours(row) {
                covered
                    .entry((&row.resource, row.tenant.as_deref()))
                    .or_default()
                    .push(row);
            }
        }
        if covered.is_empty() && is_read && has_home && !is_home((pipeline, rows)) {
            continue;
        }
        // Where no run tells, as far as anything of it was read.
        let newest = rows
            .iter()
            .filter(|row| could_see(run, row))
            .filter_map(|row| row.as_read().seen())
            .map(|w| w.to());
        let sync = syncs.get(pipeline);
        let until = sync
            .map(|sync| sync.started_at)
            .or_else(|| newest.max())
            .unwrap_or(window.to());
        all_asked = all_asked.min(until);
        if covered.is_empty() {
            let missing = Window::new(window.from(), window.to().min(until)).ok();
            let missing = missing.map(|window| CoverageGap {
                window,
                read_by: ReadBy::EventTime,
            });
            gaps.insert(
                (pipeline.clone(), "*".to_owned()),
                missing.into_iter().collect(),
            );
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
        for ((resource, _), rows) in covered {
            let is_whole = rows
                .iter()
                .any(|row| row.read.read_by.is_none() && noting.contains(&*row.run_id));
            let reads = rows.iter().map(|row| row.as_read());
            let coverage =
                Coverage::of(reads.map(|read| if is_whole { read.of_everything() } else { read }));
            // Of a sync in which nothing failed, there is a slice of everything that the pipeline still reads. A resource or tenant that it
            // reads no more should have been read as long as it did.
            let is_dropped = sync.is_some_and(|sync| {
                sync.is_whole && rows.iter().all(|row| row.run_id != sync.run_id)
            });
            let last = coverage
                .covered()
                .last()
                .map(Window::to)
                .filter(|_| is_dropped);
            let until = last.map_or(until, |last| last.min(until));
            let answer = coverage.assess(window, until);
            if !is_dropped || !answer.gaps.is_empty() {
                through.push(answer.through);
            }
            gaps.entry((pipeline.clone(), resource.to_owned()))
                .or_default()
                .extend(answer.gaps);
        }
    }
    AnswerCompleteness {
        data_through: through.into_iter().min().flatten(),
        gaps: gaps
            .into_iter()
            .flat_map(|((pipeline, resource), missing)| to_gaps(&pipeline, &resource, &missing))
            .collect(),
        still_to_come: Window::new(window.from().max(all_asked), window.to()).ok(),
        rejects: count_rejects(run, window, slices, rejects),
    }
}

/// Gaps of a resource over all tenants.
fn to_gaps(pipeline: &str, resource: &str, missing: &[CoverageGap]) -> Vec<ReportedGap> {
    let mut gaps = Vec::new();
    for by in [ReadBy::EventTime, ReadBy::ChangeTime] {
        let windows = missing
            .iter()
            .filter(|gap| gap.read_by == by)
            .map(|gap| gap.window)
            .collect();
        gaps.extend(
            merge_windows(windows)
                .into_iter()
                .map(|window| ReportedGap {
                    pipeline: pipeline.to_owned(),
                    resource: resource.to_owned(),
                    window,
                    read_by: Some(by).filter(|by| *by == ReadBy::ChangeTime),
                }),
        );
    }
    gaps
}

/// True if the published run had a slice's records in its tables. The ids of runs that began in one second are in no order: of these one
/// was first if it had read before the other began.
pub(crate) fn could_see(run: &RunRecord, row: &CoverageRow) -> bool {
    let read_at = row.read.read_at;
    if row.run_id == run.run_id {
        return true;
    }
    if second_of(&row.run_id) == second_of(&run.run_id) {
        return read_at <= run.started_at;
    }
    row.run_id.as_str() < run.run_id.as_str() && read_at <= run.finished_at
}

/// The second in which a run began, the first part of its id.
fn second_of(run_id: &str) -> &str {
    run_id.split_once('-').map_or(run_id, |(second, _)| second)
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
        // What happened in the window is learnt of, and changed, in it or after it.
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
