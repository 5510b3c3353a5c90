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
mod tests {
    use super::*;
    use tillhouse_lake::SliceRow;

    fn t(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A window of days in January 2026.
    fn days(from: u8, to: u8) -> Window {
        Window::new(
            t(&format!("2026-01-{from:02}T00:00:00Z")),
            t(&format!("2026-01-{to:02}T00:00:00Z")),
        )
        .unwrap()
    }

    fn run() -> RunRecord {
        RunRecord {
            run_id: "20260120T000000Z-000000".into(),
            command: "sync".into(),
            pipelines: vec!["p".into()],
            started_at: t("2026-01-20T00:00:00Z"),
            finished_at: t("2026-01-20T01:00:00Z"),
            outcome: "done".into(),
            published: true,
            tables: BTreeMap::new(),
            figures: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Slices as coverage.
    fn read(slices: &BTreeMap<String, Vec<SliceRow>>) -> BTreeMap<String, Vec<CoverageRow>> {
        let of = |rows: &Vec<SliceRow>| rows.iter().map(CoverageRow::from).collect();
        slices
            .iter()
            .map(|(pipeline, rows)| (pipeline.clone(), of(rows)))
            .collect()
    }

    fn slice(resource: &str, tenant: Option<&str>, window: Window) -> SliceRow {
        SliceRow {
            pipeline: "p".into(),
            resource: resource.into(),
            tenant: tenant.map(str::to_owned),
            window,
            read_by: Some(ReadBy::EventTime),
            also_read_by: None,
            run_id: run().run_id,
            read_at: t("2026-01-20T00:30:00Z"),
            records: 0,
            rejects: 0,
            declared_total: None,
            attempts: 1,
            load_id: 1,
        }
    }

    /// Each was last asked by the run itself.
    fn syncs(pipelines: &[&str], is_whole: bool) -> BTreeMap<String, LastSync> {
        let sync = LastSync {
            run_id: run().run_id,
            started_at: run().started_at,
            is_whole,
        };
        pipelines
            .iter()
            .map(|pipeline| ((*pipeline).to_owned(), sync.clone()))
            .collect()
    }

    fn gap(pipeline: &str, resource: &str, window: Window) -> ReportedGap {
        ReportedGap {
            pipeline: pipeline.into(),
            resource: resource.into(),
            window,
            read_by: None,
        }
    }

    fn assessed(window: Window, tenant: Option<&str>, slices: Vec<SliceRow>) -> AnswerCompleteness {
        let tenant = tenant.map(|id| TenantPipelines {
            id,
            pipelines: BTreeSet::new(),
        });
        assess(
            &run(),
            &syncs(&["p"], true),
            window,
            tenant.as_ref(),
            &read(&BTreeMap::from([("p".to_owned(), slices)])),
            &[],
        )
    }

    #[test]
    fn coverage_is_each_resources_and_each_tenants_own() {
        let slices = vec![
            slice("sales", Some("a"), days(1, 10)),
            slice("sales", Some("b"), days(1, 4)),
            slice("sales", Some("b"), days(5, 10)),
            slice("logs", None, days(2, 8)),
        ];
        let all = assessed(days(3, 9), None, slices.clone());
        assert_eq!(
            all.gaps,
            [gap("p", "logs", days(8, 9)), gap("p", "sales", days(4, 5))]
        );
        assert_eq!(all.data_through, Some(days(1, 4).to()));
        let a = assessed(days(3, 9), Some("a"), slices);
        assert_eq!(a.gaps, [gap("p", "logs", days(8, 9))]);
        assert_eq!(
            a.data_through,
            Some(days(1, 8).to()),
            "the logs, which have no tenant, end on the 8th"
        );
    }

    #[test]
    fn of_two_runs_in_one_second_the_second_knows_what_the_first_has_read() {
        let sees = |run_id: &str, read_at: &str| {
            let mut row = slice("sales", None, days(1, 10));
            (row.run_id, row.read_at) = (run_id.to_owned(), t(read_at));
            could_see(&run(), &CoverageRow::from(&row))
        };
        assert!(
            sees("20260120T000000Z-ffffff", "2026-01-20T00:00:00Z"),
            "the first of that second, whatever its id"
        );
        assert!(
            !sees("20260120T000000Z-ffffff", "2026-01-20T00:00:01Z"),
            "the second of them"
        );
        assert!(
            sees("20260119T235959Z-ffffff", "2026-01-20T00:10:00Z"),
            "a run beside it that began before"
        );
        assert!(
            !sees("20260120T000001Z-000000", "2026-01-20T00:10:00Z"),
            "a run beside it that began after"
        );
        assert!(
            !sees("20260119T235959Z-ffffff", "2026-01-20T01:00:01Z"),
            "read after it was over"
        );
    }

    #[test]
    fn a_pipeline_that_is_read_for_others_does_not_spoil_a_tenants_answer() {
        let slices = BTreeMap::from([
            (
                "fleet".to_owned(),
                vec![slice("sessions", Some("acme"), days(1, 5))],
            ),
            ("tills".to_owned(), vec![slice("sales", None, days(1, 10))]),
        ]);
        let assessed = |id: &str, homes: &[&str], slices: &BTreeMap<String, Vec<SliceRow>>| {
            let tenant = TenantPipelines {
                id,
                pipelines: homes.iter().map(|name| (*name).to_owned()).collect(),
            };
            assess(
                &run(),
                &syncs(&["fleet", "tills"], true),
                days(1, 9),
                Some(&tenant),
                &read(slices),
                &[],
            )
        };
        let everything = |pipeline: &str| gap(pipeline, "*", days(1, 9));

        let north = assessed("north", &["tills"], &slices);
        assert_eq!(
            (north.gaps, north.data_through),
            (Vec::new(), Some(days(1, 10).to())),
            "the tills alone know north"
        );
        // An account's own coverage counts, whether or not it has bought anything yet.
        for homes in [&["fleet"][..], &[]] {
            let acme = assessed("acme", homes, &slices);
            assert_eq!(acme.gaps, [gap("fleet", "sessions", days(5, 9))]);
            assert_eq!(acme.data_through, Some(days(1, 5).to()));
        }
        // Nobody knows it: it may be an account that is yet to be read.
        let new = assessed("new", &[], &slices);
        assert_eq!(
            (new.gaps, new.data_through),
            (vec![everything("fleet")], None)
        );
        // A pipeline that has read nothing at all may hold anything.
        let empty = BTreeMap::from([
            ("fleet".to_owned(), Vec::new()),
            ("tills".to_owned(), slices["tills"].clone()),
        ]);
        let north = assessed("north", &["tills"], &empty);
        assert_eq!(
            (north.gaps, north.data_through),
            (vec![everything("fleet")], None)
        );
        // Of the pipelines asked about, none knows it.
        let fleet = BTreeMap::from([("fleet".to_owned(), slices["fleet"].clone())]);
        assert_eq!(
            assessed("north", &["tills"], &fleet).gaps,
            [everything("fleet")]
        );
    }

    #[test]
    fn data_through_starts_where_the_question_does() {
        let slices = || {
            vec![
                slice("s", None, days(2, 4)),
                slice("s", None, days(4, 6)),
                slice("s", None, days(8, 10)),
            ]
        };
        for (asked, through) in [(days(3, 4), 6), (days(5, 7), 6), (days(8, 9), 10)] {
            let expected = Some(days(1, through).to());
            assert_eq!(
                assessed(asked, None, slices()).data_through,
                expected,
                "{asked}"
            );
        }
        // What begins with a gap was read up to nowhere, whatever was read after it.
        for asked in [days(1, 2), days(1, 9), days(6, 7), days(11, 12)] {
            let answer = assessed(asked, None, slices());
            assert_eq!(
                (answer.data_through, answer.gaps[0].window.from()),
                (None, asked.from()),
                "{asked}"
            );
        }
    }

    /// A slice by change time, of a resource that is read by that alone or by event time too.
    fn changes(window: Window, also_read_by: Option<ReadBy>) -> SliceRow {
        SliceRow {
            read_by: Some(ReadBy::ChangeTime),
            also_read_by,
            ..slice("s", None, window)
        }
    }

    #[test]
    fn by_change_time_an_answer_needs_all_that_was_read_since() {
        let read = || vec![changes(days(1, 5), None), changes(days(7, 20), None)];
        let late = |window| ReportedGap {
            read_by: Some(ReadBy::ChangeTime),
            ..gap("p", "s", window)
        };
        let first = assessed(days(2, 4), None, read());
        assert_eq!(
            (first.gaps, first.data_through),
            (vec![late(days(5, 7))], Some(days(4, 5).to()))
        );
        assert_eq!(assessed(days(6, 8), None, read()).gaps, [late(days(6, 7))]);
        let last = assessed(days(7, 8), None, read());
        assert_eq!(
            (last.gaps, last.data_through),
            (vec![], Some(days(8, 20).to()))
        );
        // Nothing was read of it by the run that is asked.
        assert_eq!(
            assessed(days(2, 4), None, vec![changes(days(1, 15), None)]).gaps,
            [late(days(15, 20))]
        );
    }

    #[test]
    fn asking_what_was_learnt_since_makes_no_gap_of_what_happened_before() {
        let both = |row: SliceRow| SliceRow {
            also_read_by: row.read_by.map(ReadBy::other),
            ..row
        };
        let first = SliceRow {
            read_at: days(18, 19).to(),
            ..slice("s", None, days(1, 19))
        };
        let again = slice("s", None, days(17, 20));
        let rows = vec![
            both(first.clone()),
            both(again.clone()),
            both(changes(days(19, 20), None)),
        ];
        let answer = assessed(days(1, 19), None, rows);
        assert_eq!(
            (answer.gaps, answer.data_through),
            (vec![], Some(days(19, 20).to()))
        );
        let lacking = assessed(days(1, 19), None, vec![both(first), both(again)]);
        let late = ReportedGap {
            read_by: Some(ReadBy::ChangeTime),
            ..gap("p", "s", days(19, 20))
        };
        assert_eq!(
            (lacking.gaps, lacking.data_through),
            (vec![late], Some(days(19, 20).from()))
        );
    }

    #[test]
    fn what_is_read_whole_has_no_past_to_read() {
        let whole = |resource: &str, to: u8| SliceRow {
            read_by: None,
            ..slice(resource, None, days(10, to))
        };
        let rows = vec![
            slice("sales", None, days(10, 20)),
            whole("machines", 20),
            whole("users", 15),
        ];
        let gaps = [
            gap("p", "sales", days(5, 10)),
            gap("p", "users", days(15, 18)),
        ];
        assert_eq!(assessed(days(5, 18), None, rows).gaps, gaps);
        // Bookkeeping of an older version does not tell what is read whole, nor does what it had in a name.
        let old = vec![
            whole("sales", 20),
            changes(days(17, 20), Some(ReadBy::EventTime)),
        ];
        assert_eq!(
            assessed(days(5, 18), None, old[..1].to_vec()).gaps,
            [gap("p", "sales", days(5, 10))]
        );
        assert!(
            assessed(days(5, 18), None, old)
                .gaps
                .contains(&gap("p", "sales", days(5, 10)))
        );
    }

    #[test]
    fn what_a_pipeline_reads_no_more_is_no_gap() {
        let before = |row: SliceRow| SliceRow {
            run_id: "20260110T000000Z-000000".into(),
            ..row
        };
        let rows = vec![
            slice("sales", Some("a"), days(1, 20)),
            before(slice("sales", Some("b"), days(1, 8))),
            before(changes(days(3, 8), None)),
        ];
        let all = assessed(days(5, 15), None, rows.clone());
        assert_eq!(
            (all.gaps, all.data_through),
            (vec![], Some(days(19, 20).to()))
        );
        // It was read from the 3rd on, as long as it was read.
        let late = ReportedGap {
            read_by: Some(ReadBy::ChangeTime),
            ..gap("p", "s", days(2, 3))
        };
        assert_eq!(assessed(days(2, 15), None, rows.clone()).gaps, [late]);
        // Where something failed, it may be this.
        let slices = BTreeMap::from([("p".to_owned(), rows)]);
        let partial = assess(
            &run(),
            &syncs(&["p"], false),
            days(5, 15),
            None,
            &read(&slices),
            &[],
        );
        let late = ReportedGap {
            read_by: Some(ReadBy::ChangeTime),
            ..gap("p", "s", days(8, 20))
        };
        assert_eq!(partial.gaps, [late, gap("p", "sales", days(8, 15))]);
    }

    #[test]
    fn what_is_still_to_come_is_no_gap_and_was_not_read() {
        let year = Window::new(t("2026-01-01T00:00:00Z"), t("2030-01-01T00:00:00Z")).unwrap();
        let (read_at, started) = (t("2026-01-20T00:30:00Z"), run().started_at);
        for row in [slice("s", None, year), changes(year, None)] {
            let answer = assessed(days(19, 25), None, vec![row.clone()]);
            assert_eq!(
                (answer.gaps, answer.data_through),
                (vec![], Some(read_at)),
                "not further than it was read"
            );
            assert_eq!(
                answer.still_to_come,
                Window::new(started, days(19, 25).to()).ok()
            );
            let later = Window::new(t("2029-01-01T00:00:00Z"), year.to()).unwrap();
            let answer = assessed(later, None, vec![row]);
            assert_eq!((answer.gaps, answer.data_through), (vec![], Some(read_at)));
            assert_eq!(answer.still_to_come, Some(later));
        }
        assert_eq!(
            assessed(days(2, 20), None, vec![slice("s", None, days(1, 20))]).still_to_come,
            None
        );
        // What nobody could read yet is no gap of a pipeline that has read nothing.
        assert_eq!(
            assessed(days(18, 25), None, vec![]).gaps,
            [gap("p", "*", days(18, 20))]
        );
    }

    #[test]
    fn what_came_after_the_run_is_not_seen() {
        let later = SliceRow {
            run_id: "20260121T000000Z-000000".into(),
            ..slice("s", None, days(1, 10))
        };
        assert_eq!(assessed(days(1, 10), None, vec![later]).gaps.len(), 1);
        // A run that began before this one, but read its slice after this one had ended.
        let beside = SliceRow {
            run_id: "20260119T000000Z-000000".into(),
            read_at: t("2026-01-20T02:00:00Z"),
            ..slice("s", None, days(1, 10))
        };
        assert_eq!(
            assessed(days(1, 10), None, vec![beside.clone()]).data_through,
            None
        );
        let before = SliceRow {
            read_at: t("2026-01-19T00:00:00Z"),
            ..beside
        };
        assert!(assessed(days(1, 10), None, vec![before]).gaps.is_empty());
    }

    #[test]
    fn rejects_count_records_while_they_were_open() {
        let reject = |key: Option<&str>, field: &str, redacted: &str| RejectRow {
            pipeline: "p".into(),
            resource: "s".into(),
            record_key: key.map(str::to_owned),
            field: field.into(),
            reason: "wrong".into(),
            redacted: redacted.into(),
            tenant: None,
            nth: 1,
            time: None,
            slice: days(1, 2),
            read_by: Some(ReadBy::EventTime),
            run_id: run().run_id,
            first_seen: t("2026-01-20T00:30:00Z"),
            last_seen: t("2026-01-20T00:30:00Z"),
            resolved_at: None,
        };
        let rejects = [
            reject(Some("1"), "a", ""),
            reject(Some("1"), "b", ""),
            reject(None, "a", "{1}"),
            reject(None, "a", "{2}"),
            reject(None, "", ""),
            RejectRow {
                nth: 2,
                ..reject(None, "", "")
            },
            RejectRow {
                resolved_at: Some(t("2026-01-20T00:40:00Z")),
                ..reject(Some("2"), "a", "")
            },
            RejectRow {
                resolved_at: Some(t("2026-01-21T00:00:00Z")),
                ..reject(Some("3"), "a", "")
            },
            RejectRow {
                first_seen: t("2026-01-21T00:00:00Z"),
                ..reject(Some("4"), "a", "")
            },
            RejectRow {
                pipeline: "other".into(),
                ..reject(Some("5"), "a", "")
            },
            RejectRow {
                slice: days(5, 6),
                ..reject(Some("6"), "a", "")
            },
            RejectRow {
                slice: days(5, 6),
                read_by: Some(ReadBy::ChangeTime),
                ..reject(Some("7"), "a", "")
            },
        ];
        let slices = BTreeMap::from([("p".to_owned(), vec![slice("s", None, days(1, 2))])]);
        assert_eq!(
            assess(
                &run(),
                &syncs(&["p"], true),
                days(1, 3),
                None,
                &read(&slices),
                &rejects
            )
            .rejects,
            7
        );
        assert_eq!(
            assess(
                &run(),
                &syncs(&["p"], true),
                days(6, 7),
                None,
                &read(&slices),
                &rejects
            )
            .rejects,
            0
        );
    }
}
