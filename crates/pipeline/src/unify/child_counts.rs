//! Check that as many children came as their parent declares: a sale's payments.
//!
//! ```text
//!   in a step     parents that came or changed, or whose children did: if they have settled by now
//!   at the end    parents that settled since they were counted last, once a day
//! ```
//!
//! Invariant: parents and children are found by their keys, whatever their times. A parent is judged only once it has not changed for as
//! long as its contract says that records move (`movesWithin`), since children come late. A child that comes later still changes nothing: a
//! warning says what was so then.

use super::pinned_source::PinnedSource;
use super::rows::{cast, collect, instant, text};
use crate::config::{ChildLink, ChildResource, Pipeline, ResourcePlan};
use crate::context::RunContext;
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use jiff::{SignedDuration, Timestamp};
use tillhouse_lake::{PipelineLedger, WarningRow};
use tillhouse_model::Result;
use tillhouse_query::Session;

/// The quality rule.
const COUNT_FITS: &str = "count_fits";
/// Most that are named; the last warning says how many more there are.
const MOST: usize = 1_000;
/// Parents that settled shortly before they were counted last, or were read last, are judged again: that run may have ended early.
const AGAIN: SignedDuration = SignedDuration::from_hours(24);
/// Time from one count to the next: each reads the keys of both source tables.
const COUNTED_EVERY: SignedDuration = SignedDuration::from_hours(24);

/// Compares and warns, where that is due; how many warnings there are. The `ledger` is the pipeline's before the run.
pub(crate) async fn check_counts(
    context: &RunContext,
    pipeline: &Pipeline,
    ledger: &PipelineLedger,
    (run_id, now): (&str, Timestamp),
) -> Result<u64> {
    let counted_at = ledger.counted_at.filter(|at| *at <= now);
    if counted_at.is_some_and(|at| now.duration_since(at) < COUNTED_EVERY) {
        return Ok(0);
    }
    let plan = |resource: &str| {
        pipeline
            .resources
            .iter()
            .find(|plan| plan.resource.name == resource)
    };
    let mut warned = 0;
    for child in &pipeline.children {
        let ChildLink::Part {
            by,
            counted: Some(counted),
            ..
        } = &child.link
        else {
            continue;
        };
        let (Some(parents), Some(children)) = (plan(child.of), plan(child.resource)) else {
            continue;
        };
        let earlier = ledger
            .coverage
            .iter()
            .filter(|row| row.resource == child.of && row.run_id != run_id);
        let before = counted_at.or_else(|| earlier.map(|row| row.read.read_at).max());
        let stretch = SettledWindow::between(before, now, parents);
        let found = differences(
            context,
            pipeline,
            (parents, counted),
            (children, by),
            &stretch,
        )
        .await?;
        let warnings: Vec<WarningRow> = found
            .into_iter()
            .map(|found| warning(pipeline, child, counted, run_id, now, found))
            .collect();
        warned += warnings.len() as u64;
        let ops = context.warehouse.ops();
        context.shared.note_warnings(warnings, &ops).await?;
        context.shared.notes.add_count(&pipeline.name, now);
    }
    Ok(warned)
}

/// Window (from, to] in which parents last changed that are checked now.
struct SettledWindow {
    from: Option<Timestamp>,
    to: Timestamp,
}

impl SettledWindow {
    fn between(before: Option<Timestamp>, now: Timestamp, parents: &ResourcePlan) -> Self {
        let settled = |at: Timestamp, more| {
            let wait = parents.spec.moves_within.saturating_add(more);
            at.checked_sub(wait).unwrap_or(Timestamp::MIN)
        };
        Self {
            from: before.map(|before| settled(before, AGAIN)),
            to: settled(now, SignedDuration::ZERO),
        }
    }

    /// The condition that a version last changed in the window, by the column or expression that says when.
    fn holds(&self, changed: &str) -> String {
        let until = format!("{changed} <= {}", instant(self.to));
        match self.from {
            Some(from) => format!("{changed} > {} AND {until}", instant(from)),
            None => until,
        }
    }
}

/// The parents of which another number of children came, and both numbers.
async fn differences(
    context: &RunContext,
    pipeline: &Pipeline,
    (parents, counted): (&ResourcePlan, &str),
    (children, by): (&ResourcePlan, &str),
    stretch: &SettledWindow,
) -> Result<Vec<(String, String)>> {
    let session = context.engine.empty_session()?;
    for (name, plan) in [("parents", parents), ("children", children)] {
        let source = PinnedSource::open(context, pipeline, plan).await?;
        if !source.exists() {
            return Ok(Vec::new());
        }
        session.register(name, source.history(context).await?)?;
    }
    let changed = changed(parents);
    // Newest versions that settled in the window are among the versions that did.
    let settled = format!(
        "SELECT _record_key FROM parents WHERE {}",
        stretch.holds(&changed)
    );
    let parent = format!("CAST(\"{by}\" AS VARCHAR)");
    let sql = differing(
        &format!(
            "SELECT _record_key, said, changed FROM ( \
                 SELECT _record_key, last_value(\"{counted}\" ORDER BY _load_id) AS said, \
                        last_value({changed} ORDER BY _load_id) AS changed, last_value(_deleted_at ORDER BY _load_id) AS gone \
                 FROM parents WHERE _record_key IN ({settled}) GROUP BY _record_key \
             ) WHERE gone IS NULL"
        ),
        &format!(
            "SELECT parent FROM ( \
                 SELECT _record_key, last_value({parent} ORDER BY _load_id) AS parent, \
                        last_value(_deleted_at ORDER BY _load_id) AS gone \
                 FROM children \
                 WHERE _record_key IN (SELECT _record_key FROM children WHERE {parent} IN ({settled})) GROUP BY _record_key \
             ) WHERE gone IS NULL"
        ),
        stretch,
    );
    collected(&session, &sql).await
}

/// The parents of a step, which stand in the session under their resource's name as their children do, likewise.
pub(super) async fn check_counts_in_step(
    session: &Session,
    parents: &ResourcePlan,
    child: &ChildResource,
    pipeline: &Pipeline,
    run_id: &str,
) -> Result<Vec<WarningRow>> {
    let ChildLink::Part {
        by,
        counted: Some(counted),
        ..
    } = &child.link
    else {
        return Ok(Vec::new());
    };
    let now = Timestamp::now();
    let sql = differing(
        &format!(
            "SELECT _record_key, \"{counted}\" AS said, {} AS changed FROM {}",
            changed(parents),
            child.of
        ),
        &format!(
            "SELECT CAST(\"{by}\" AS VARCHAR) AS parent FROM {}",
            child.resource
        ),
        &SettledWindow::between(None, now, parents),
    );
    let found = collected(session, &sql).await?;
    Ok(found
        .into_iter()
        .map(|found| warning(pipeline, child, counted, run_id, now, found))
        .collect())
}

fn warning(
    pipeline: &Pipeline,
    child: &ChildResource,
    counted: &str,
    run_id: &str,
    now: Timestamp,
    (record_key, original): (String, String),
) -> WarningRow {
    WarningRow {
        pipeline: pipeline.name.clone(),
        resource: child.of.to_owned(),
        record_key,
        field: counted.to_owned(),
        rule: COUNT_FITS.to_owned(),
        original,
        content_hash: None,
        run_id: run_id.to_owned(),
        first_seen: now,
    }
}

/// When a parent last changed; where its contract has no such column, when it happened.
fn changed(parents: &ResourcePlan) -> String {
    match parents.spec.updated_at.as_deref() {
        Some([column]) => format!("\"{column}\""),
        _ => "_record_time".to_owned(),
    }
}

/// The query for the parents (`_record_key`, `said`, `changed`) of the stretch that have another number of children (`parent`).
fn differing(parents: &str, children: &str, stretch: &SettledWindow) -> String {
    format!(
        "SELECT p._record_key, p.said, coalesce(c.came, 0) FROM ({parents}) p \
         LEFT JOIN (SELECT parent, count(*) AS came FROM ({children}) GROUP BY parent) c ON p._record_key = c.parent \
         WHERE p.said <> coalesce(c.came, 0) AND {} ORDER BY p._record_key",
        stretch.holds("p.changed")
    )
}

/// Key, and both numbers.
async fn collected(session: &Session, sql: &str) -> Result<Vec<(String, String)>> {
    let (mut found, mut more) = (Vec::new(), 0_usize);
    for batch in collect(session, sql).await? {
        let keys = text(&batch, 0)?;
        let (said, came) = (
            cast(batch.column(1), &DataType::Int64)?,
            cast(batch.column(2), &DataType::Int64)?,
        );
        let (said, came) = (
            said.as_primitive::<Int64Type>(),
            came.as_primitive::<Int64Type>(),
        );
        for ((key, said), came) in keys.iter().zip(said.iter()).zip(came.iter()) {
            let (Some(key), Some(said), Some(came)) = (key, said, came) else {
                continue;
            };
            if found.len() < MOST {
                found.push((key.to_owned(), format!("{said}, and {came} came")));
            } else {
                more += 1;
            }
        }
    }
    if more > 0 {
        found.push((String::new(), format!("{more} more")));
    }
    Ok(found)
}
