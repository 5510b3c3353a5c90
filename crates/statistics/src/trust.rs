//! Whether an answer may be trusted: what of the window was never read, up to when everything was, what did not fit.
//!
//! Invariant: only what the published run could see counts as read. A slice that a later run brought in does not cover anything
//! here, because its records are not in the tables this answer comes from.

use crate::columns::{each_batch, texts};
use crate::request::Question;
use arrow::array::RecordBatch;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use tillhouse_lake::{RejectRow, RunRecord, SliceRow, Warehouse};
use tillhouse_model::report::Gap;
use tillhouse_model::time::uncovered;
use tillhouse_model::{Result, Window};
use tillhouse_query::{ScalarValue, Session};

/// What the ledger says about a window.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Trust {
    pub(crate) data_through: Option<Timestamp>,
    pub(crate) gaps: Vec<(String, String, Window)>,
    pub(crate) rejects: i64,
}

impl Trust {
    pub(crate) fn into_gaps(self) -> Vec<Gap> {
        self.gaps.into_iter().map(|(pipeline, resource, window)| Gap { pipeline, resource, window }).collect()
    }
}

/// Asks the ledger of every pipeline the request is about.
pub(crate) async fn trust(
    session: &Session,
    warehouse: &Warehouse,
    run: &RunRecord,
    question: &Question<'_>,
) -> Result<Trust> {
    let ops = warehouse.ops();
    let pipelines = pipelines(session, run, question).await?;
    let mut slices = BTreeMap::new();
    for pipeline in &pipelines {
        slices.insert(pipeline.clone(), ops.slices(pipeline).await?);
    }
    let rejects = ops.rejects(None, false).await?;
    let tenant = match question.request.tenant.as_deref() {
        Some(id) => Some(Tenant { id, homes: homes(session, id).await? }),
        None => None,
    };
    Ok(judge(run, question.request.window, tenant.as_ref(), &slices, &rejects))
}

/// The tenant that is asked about, and the pipelines that know it.
struct Tenant<'a> {
    id: &'a str,
    homes: BTreeSet<String>,
}

/// The pipelines in whose records a tenant is named. Not every source is read tenant by tenant, so the ledger alone cannot tell.
async fn homes(session: &Session, tenant: &str) -> Result<BTreeSet<String>> {
    let mut homes = BTreeSet::new();
    if session.has_table("unified", "tenants").await? {
        let sql = "SELECT DISTINCT pipeline FROM unified.tenants WHERE tenant_id = $tenant";
        let params = [("tenant", ScalarValue::Utf8(Some(tenant.to_owned())))];
        each_batch(session, sql, &params, |batch| {
            let names = texts(batch, "pipeline")?;
            homes.extend((0..batch.num_rows()).filter_map(|row| names.get(row)).map(str::to_owned));
            Ok(())
        })
        .await?;
    }
    Ok(homes)
}

/// The pipelines a request is about: all that ever took part, or those of one source. A pipeline that has no transactions yet
/// cannot tell its source and is kept: a gap too many is better than one too few.
async fn pipelines(session: &Session, run: &RunRecord, question: &Question<'_>) -> Result<BTreeSet<String>> {
    let of_tables = run.tables.keys().filter_map(|path| path.split_once('/')).map(|(schema, _)| schema);
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
            each_batch(session, &sql, &[], |batch| told(batch, source, &mut unknown, &mut pipelines)).await?;
        }
    }
    if session.has_table("unified", "transactions").await? {
        for pipeline in unknown.clone() {
            let sql = "SELECT pipeline, source FROM unified.transactions WHERE pipeline = $pipeline LIMIT 1";
            let params = [("pipeline", ScalarValue::Utf8(Some(pipeline)))];
            each_batch(session, sql, &params, |batch| told(batch, source, &mut unknown, &mut pipelines)).await?;
        }
    }
    Ok(pipelines)
}

/// Takes pipelines and their sources from a result: those of another source are left out.
fn told(
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

/// The judgement itself, on the ledger's rows.
///
/// A pipeline that was read for other tenants only holds nothing of the one asked about, and has no part in the answer: a mandator's sales
/// are no less complete for what was read of a fleet's account. That needs another pipeline that knows the tenant: one that nobody
/// knows may be an account that is yet to be read, and a gap too many is better than one too few.
fn judge(
    run: &RunRecord,
    window: Window,
    tenant: Option<&Tenant<'_>>,
    slices: &BTreeMap<String, Vec<SliceRow>>,
    rejects: &[RejectRow],
) -> Trust {
    let mut gaps: BTreeMap<(String, String), Vec<Window>> = BTreeMap::new();
    let mut through: Vec<Option<Timestamp>> = Vec::new();
    let is_home = |(pipeline, rows): (&String, &Vec<SliceRow>)| {
        tenant.is_some_and(|tenant| {
            let named = |row: &SliceRow| row.tenant.as_deref() == Some(tenant.id) && is_visible(row, run);
            tenant.homes.contains(pipeline) || rows.iter().any(named)
        })
    };
    let has_home = slices.iter().any(is_home);
    for (pipeline, rows) in slices {
        // Every tenant of a resource has a coverage of its own.
        let mut covered: BTreeMap<(&str, Option<&str>), Vec<Window>> = BTreeMap::new();
        let ours =
            |row: &SliceRow| tenant.is_none_or(|tenant| row.tenant.as_deref().is_none_or(|of_row| of_row == tenant.id));
        let mut is_read = false;
        for row in rows.iter().filter(|row| is_visible(row, run)) {
            is_read = true;
            if ours(row) {
                covered.entry((&row.resource, row.tenant.as_deref())).or_default().push(row.window);
            }
        }
        if covered.is_empty() && is_read && has_home && !is_home((pipeline, rows)) {
            continue;
        }
        if covered.is_empty() {
            gaps.insert((pipeline.clone(), "*".to_owned()), vec![window]);
            through.push(None);
        }
        for ((resource, _), windows) in covered {
            let missing = gaps.entry((pipeline.clone(), resource.to_owned())).or_default();
            missing.extend(uncovered(window, &windows));
            through.push(read_through(window.from(), &windows));
        }
    }
    let gaps = gaps
        .into_iter()
        .flat_map(|((pipeline, resource), windows)| {
            merged(windows).into_iter().map(move |gap| (pipeline.clone(), resource.clone(), gap))
        })
        .collect();
    let data_through = through.into_iter().min().flatten();
    Trust { data_through, gaps, rejects: count_rejects(run, window, slices, rejects) }
}

/// Whether the published run had a slice's records in its tables.
pub(crate) fn is_visible(row: &SliceRow, run: &RunRecord) -> bool {
    row.run_id == run.run_id || (row.run_id < run.run_id && row.read_at <= run.finished_at)
}

/// The end of the first stretch without a gap that reaches beyond `from`; where none does, the end of the last.
fn read_through(from: Timestamp, windows: &[Window]) -> Option<Timestamp> {
    let stretches = merged(windows.to_vec());
    let first = stretches.iter().find(|stretch| stretch.to() > from);
    first.or(stretches.last()).map(Window::to)
}

/// The same instants in as few windows as possible, in order.
pub(crate) fn merged(mut windows: Vec<Window>) -> Vec<Window> {
    windows.sort();
    let mut merged: Vec<Window> = Vec::with_capacity(windows.len());
    for window in windows {
        match merged.last_mut() {
            Some(last) if window.from() <= last.to() => {
                if let Ok(longer) = Window::new(last.from(), last.to().max(window.to())) {
                    *last = longer;
                }
            }
            _ => merged.push(window),
        }
    }
    merged
}

/// Records of the window that did not fit and had not landed by the end of the run. A record with two bad fields is one.
fn count_rejects(
    run: &RunRecord,
    window: Window,
    slices: &BTreeMap<String, Vec<SliceRow>>,
    rejects: &[RejectRow],
) -> i64 {
    let is_open =
        |row: &&RejectRow| row.first_seen <= run.finished_at && row.resolved_at.is_none_or(|at| at > run.finished_at);
    let in_window = |row: &&RejectRow| row.slice.intersection(&window).is_some();
    let records: BTreeSet<(&str, &str, &str)> = rejects
        .iter()
        .filter(|row| slices.contains_key(&row.pipeline))
        .filter(is_open)
        .filter(in_window)
        .map(|row| (&*row.pipeline, &*row.resource, row.record_key.as_deref().unwrap_or(&row.redacted)))
        .collect();
    i64::try_from(records.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A window of days in January 2026.
    fn days(from: u8, to: u8) -> Window {
        Window::new(t(&format!("2026-01-{from:02}T00:00:00Z")), t(&format!("2026-01-{to:02}T00:00:00Z"))).unwrap()
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
            counts: BTreeMap::new(),
        }
    }

    fn slice(resource: &str, tenant: Option<&str>, window: Window) -> SliceRow {
        SliceRow {
            pipeline: "p".into(),
            resource: resource.into(),
            tenant: tenant.map(str::to_owned),
            window,
            run_id: run().run_id,
            read_at: t("2026-01-20T00:30:00Z"),
            records: 0,
            rejects: 0,
            declared_total: None,
            attempts: 1,
            land: 1,
        }
    }

    fn judged(window: Window, tenant: Option<&str>, slices: Vec<SliceRow>) -> Trust {
        let tenant = tenant.map(|id| Tenant { id, homes: BTreeSet::new() });
        judge(&run(), window, tenant.as_ref(), &BTreeMap::from([("p".to_owned(), slices)]), &[])
    }

    #[test]
    fn coverage_is_each_resources_and_each_tenants_own() {
        let slices = vec![
            slice("sales", Some("a"), days(1, 10)),
            slice("sales", Some("b"), days(1, 4)),
            slice("sales", Some("b"), days(5, 10)),
            slice("logs", None, days(2, 8)),
        ];
        let all = judged(days(3, 9), None, slices.clone());
        let gap = |resource: &str, window| ("p".to_owned(), resource.to_owned(), window);
        assert_eq!(all.gaps, [gap("logs", days(8, 9)), gap("sales", days(4, 5))]);
        assert_eq!(all.data_through, Some(days(1, 4).to()));
        let a = judged(days(3, 9), Some("a"), slices);
        assert_eq!(a.gaps, [gap("logs", days(8, 9))]);
        assert_eq!(a.data_through, Some(days(1, 8).to()), "the logs, which have no tenant, end on the 8th");
    }

    #[test]
    fn a_pipeline_that_is_read_for_others_does_not_spoil_a_tenants_answer() {
        let slices = BTreeMap::from([
            ("fleet".to_owned(), vec![slice("sessions", Some("acme"), days(1, 5))]),
            ("tills".to_owned(), vec![slice("sales", None, days(1, 10))]),
        ]);
        let judged = |id: &str, homes: &[&str], slices: &BTreeMap<String, Vec<SliceRow>>| {
            let tenant = Tenant { id, homes: homes.iter().map(|name| (*name).to_owned()).collect() };
            judge(&run(), days(1, 9), Some(&tenant), slices, &[])
        };
        let everything = |pipeline: &str| (pipeline.to_owned(), "*".to_owned(), days(1, 9));

        let north = judged("north", &["tills"], &slices);
        assert_eq!(
            (north.gaps, north.data_through),
            (Vec::new(), Some(days(1, 10).to())),
            "the tills alone know north"
        );
        // An account's own coverage counts, whether or not it has bought anything yet.
        for homes in [&["fleet"][..], &[]] {
            let acme = judged("acme", homes, &slices);
            assert_eq!(acme.gaps, [("fleet".to_owned(), "sessions".to_owned(), days(5, 9))]);
            assert_eq!(acme.data_through, Some(days(1, 5).to()));
        }
        // Nobody knows it: it may be an account that is yet to be read.
        let new = judged("new", &[], &slices);
        assert_eq!((new.gaps, new.data_through), (vec![everything("fleet")], None));
        // A pipeline that has read nothing at all may hold anything.
        let empty = BTreeMap::from([("fleet".to_owned(), Vec::new()), ("tills".to_owned(), slices["tills"].clone())]);
        let north = judged("north", &["tills"], &empty);
        assert_eq!((north.gaps, north.data_through), (vec![everything("fleet")], None));
        // Of the pipelines asked about, none knows it.
        let fleet = BTreeMap::from([("fleet".to_owned(), slices["fleet"].clone())]);
        assert_eq!(judged("north", &["tills"], &fleet).gaps, [everything("fleet")]);
    }

    #[test]
    fn data_through_starts_where_the_question_does() {
        let slices = || vec![slice("s", None, days(2, 4)), slice("s", None, days(4, 6)), slice("s", None, days(8, 10))];
        for (asked, through) in [(days(1, 2), 6), (days(5, 7), 6), (days(6, 7), 10), (days(11, 12), 10)] {
            let expected = Some(days(1, through).to());
            assert_eq!(judged(asked, None, slices()).data_through, expected, "{asked}");
        }
    }

    #[test]
    fn overlapping_slices_make_one_stretch() {
        assert_eq!(merged(vec![days(5, 6), days(1, 3), days(2, 4), days(1, 2), days(4, 5)]), [days(1, 6)]);
    }

    #[test]
    fn what_came_after_the_run_is_not_seen() {
        let later = SliceRow { run_id: "20260121T000000Z-000000".into(), ..slice("s", None, days(1, 10)) };
        assert_eq!(judged(days(1, 10), None, vec![later]).gaps.len(), 1);
        // A run that began before this one, but read its slice after this one had ended.
        let beside = SliceRow {
            run_id: "20260119T000000Z-000000".into(),
            read_at: t("2026-01-20T02:00:00Z"),
            ..slice("s", None, days(1, 10))
        };
        assert_eq!(judged(days(1, 10), None, vec![beside.clone()]).data_through, None);
        let before = SliceRow { read_at: t("2026-01-19T00:00:00Z"), ..beside };
        assert!(judged(days(1, 10), None, vec![before]).gaps.is_empty());
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
            slice: days(1, 2),
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
            RejectRow { resolved_at: Some(t("2026-01-20T00:40:00Z")), ..reject(Some("2"), "a", "") },
            RejectRow { resolved_at: Some(t("2026-01-21T00:00:00Z")), ..reject(Some("3"), "a", "") },
            RejectRow { first_seen: t("2026-01-21T00:00:00Z"), ..reject(Some("4"), "a", "") },
            RejectRow { pipeline: "other".into(), ..reject(Some("5"), "a", "") },
            RejectRow { slice: days(5, 6), ..reject(Some("6"), "a", "") },
        ];
        let slices = BTreeMap::from([("p".to_owned(), vec![slice("s", None, days(1, 2))])]);
        assert_eq!(judge(&run(), days(1, 3), None, &slices, &rejects).rejects, 4);
    }
}
