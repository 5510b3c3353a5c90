//! Resources with children: a record is unified from its newest version and the newest versions of its children, and anew when
//! one of either arrives or changes.
//!
//! ```text
//!   parents: changed since the last step   +   parents of children that changed since then, as they are now
//!   children: of all these parents, the newest version of each, without the deleted;
//!             and changed ones whose parent is not there, see `orphans`
//!   looked up: every version, see `lookup`
//! ```
//!
//! Invariant: a step marks parents and children as done in one commit. A child without a parent waits: when the parent lands, its step
//! takes every child there is by then.

use super::catch_up::fit_result;
use super::changes::{StepChanges, version_batch};
use super::rows::{cast, collect, text};
use super::statement::{StatementParameters, UnifyStatement, empty_session, parameters};
use super::{StatementOutcome, UnifiedRowCounts, UnifyTotals, steps};
use super::{child_counts, lookup, orphans};
use crate::config::{ChildLink, ChildResource, Pipeline, ResourcePlan};
use crate::context::RunContext;
use crate::observer::RunEvent;
use arrow::array::{AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimestampMicrosecondType};
use jiff::SignedDuration;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tillhouse_lake::{ResourceWatermark, TableProvider, UnifyStep};
use tillhouse_model::table::{TableRole, timestamp};
use tillhouse_model::{Error, Result};
use tillhouse_query::ScalarValue;

/// History of a child resource, pinned, and how far it has been unified.
pub(super) struct ChildHistory {
    pub(super) child: ChildResource,
    pub(super) history: Arc<dyn TableProvider>,
    /// Longest time by which a child may precede its parent.
    near: SignedDuration,
    done: i64,
    newest: i64,
}

/// Unifies one statement up to the newest packages of its resource and that one's children.
pub(super) async fn unify(
    context: &RunContext,
    pipeline: &Pipeline,
    plan: &ResourcePlan,
    statement: &UnifyStatement,
    run_id: &str,
    totals: &mut UnifyTotals,
) -> Result<()> {
    let source = context
        .warehouse
        .source_table(&pipeline.name, Arc::clone(&plan.spec));
    let has_orphans = statement
        .children
        .iter()
        .any(|child| child.has_orphans_in(&statement.table.name));
    let version = source.version().await?;
    let history = match version {
        Some(_) => {
            source
                .provider(version, Some(context.engine.state()?))
                .await?
        }
        None => None,
    };
    let history = match history {
        Some(history) => history,
        None if has_orphans => tillhouse_query::empty_table(plan.spec.source_schema()),
        None => return Ok(()),
    };
    let target = context
        .warehouse
        .unified_table(Arc::clone(&statement.table));
    let start = target.progress(&pipeline.name, plan.resource.name).await?;
    let mut kin = Vec::new();
    for child in &statement.children {
        let Some(of_child) = pipeline
            .resources
            .iter()
            .find(|r| r.resource.name == child.resource)
        else {
            continue;
        };
        let table = context
            .warehouse
            .source_table(&pipeline.name, Arc::clone(&of_child.spec));
        let Some(version) = table.version().await? else {
            continue;
        };
        let Some(history) = table
            .provider(Some(version), Some(context.engine.state()?))
            .await?
        else {
            continue;
        };
        let done = target.progress(&pipeline.name, child.resource).await?;
        let newest = table
            .packages(Some(version), done)
            .await?
            .last()
            .map_or(done, |package| package.load_id);
        let near = plan
            .spec
            .moves_within
            .saturating_add(of_child.spec.moves_within);
        kin.push(ChildHistory {
            child: child.clone(),
            history,
            near,
            done,
            newest,
        });
    }
    let packages = if version.is_some() {
        source.packages(version, start).await?
    } else {
        Vec::new()
    };
    let mut ranges = steps(&packages, start);
    if ranges.is_empty() {
        if kin.iter().all(|kin| kin.newest == kin.done) {
            return Ok(());
        }
        ranges.push((start, start));
    }
    let last = ranges.len() - 1;
    let parameters = parameters(pipeline);
    for (index, (after, to)) in ranges.into_iter().enumerate() {
        let marks = kin.iter().map(|kin| ResourceWatermark {
            resource: kin.child.resource.to_owned(),
            after_load_id: kin.done,
            // The last step takes the children; by then all their parents have landed.
            to_load_id: if index == last { kin.newest } else { kin.done },
        });
        let step = UnifyStep {
            pipeline: pipeline.name.clone(),
            resource: plan.resource.name.to_owned(),
            after_load_id: after,
            to_load_id: to,
            children: marks.collect(),
            run_id: run_id.to_owned(),
        };
        let done = take(
            context,
            pipeline,
            plan,
            statement,
            (&history, &kin, start),
            &parameters,
            &step,
        )
        .await?;
        totals.add([done]);
    }
    Ok(())
}

async fn take(
    context: &RunContext,
    pipeline: &Pipeline,
    plan: &ResourcePlan,
    statement: &UnifyStatement,
    (history, kin, start): (&Arc<dyn TableProvider>, &[ChildHistory], i64),
    parameters: &StatementParameters,
    step: &UnifyStep,
) -> Result<StatementOutcome> {
    let _turn = context.shared.unify.lock().await;
    let name = statement.table.name.clone();
    context.observer.on_event(&RunEvent::Unifying {
        table: name.clone(),
    });
    let at = |e: Error| {
        e.at("table", format!("unified.{name}"))
            .at("file", statement.origin.clone())
    };
    let mut changes =
        StepChanges::find(context, history, (step.after_load_id, step.to_load_id)).await?;
    let session = empty_session(&context.engine, pipeline, &statement.errors)?;
    let parents = parents(context, (history, kin, start), step, &mut changes).await?;
    session.deregister(plan.resource.name)?;
    session.register("history", Arc::clone(history))?;
    session.register_batches("wanted", parents.rows.schema(), vec![parents.rows.clone()])?;
    session
        .create_view(
            plan.resource.name,
            "SELECT h.* FROM history h JOIN wanted w ON h._record_key = w._record_key AND h._load_id = w._load_id",
        )
        .await?;
    let mut warnings = Vec::new();
    for (kin, mark) in kin.iter().zip(&step.children) {
        session.deregister(kin.child.resource)?;
        let ChildLink::Part { by, .. } = &kin.child.link else {
            session.register(kin.child.resource, Arc::clone(&kin.history))?;
            continue;
        };
        let mut chosen = children(context, kin, by, &parents).await?;
        if kin.child.has_orphans_in(&name) {
            orphans::supersede_adopted(kin, mark, &chosen, &mut changes.superseded);
            let found = orphans::find(
                context,
                kin,
                by,
                mark,
                &parents.present,
                &mut changes.superseded,
            )
            .await?;
            warnings.extend(
                found
                    .iter()
                    .map(|orphan| orphan.warning(pipeline, kin, by, &step.run_id)),
            );
            chosen.extend(found.into_iter().map(orphans::OrphanChild::into_version));
        }
        let view = version_batch(
            &chosen
                .into_iter()
                .map(|child| (child.key, child.load_id))
                .collect(),
        )?;
        let table = format!("history_of_{}", kin.child.resource);
        let wanted = format!("wanted_of_{}", kin.child.resource);
        session.register(&table, Arc::clone(&kin.history))?;
        session.register_batches(&wanted, view.schema(), vec![view])?;
        session
            .create_view(
                kin.child.resource,
                &format!(
                    "SELECT h.* FROM {table} h JOIN {wanted} w ON h._record_key = w._record_key AND h._load_id = w._load_id"
                ),
            )
            .await?;
    }
    for kin in kin.iter().filter(|kin| kin.child.has_orphans_in(&name)) {
        warnings.extend(
            child_counts::check_counts_in_step(&session, plan, &kin.child, pipeline, &step.run_id)
                .await?,
        );
    }
    changes.superseded.times.sort_unstable();
    changes.superseded.times.dedup();
    let result = statement
        .run_on_tables(&session, parameters)
        .await
        .map_err(at)?;
    let (rows, misfits) = fit_result(context, statement, result, step);
    let target = context
        .warehouse
        .unified_table(Arc::clone(&statement.table));
    context.shared.check_lease().await?;
    let replaced = match statement.table.role {
        TableRole::Dimension => target.merge(step, rows).await,
        TableRole::Fact | TableRole::Source => {
            target.replace(step, &changes.superseded, rows).await
        }
    }
    .map_err(at)?;
    let warned = warnings.len() as u64;
    let ops = context.warehouse.ops();
    context.shared.note_warnings(warnings, &ops).await?;
    let unified = UnifiedRowCounts {
        added: replaced.rows_added,
        removed: replaced.rows_removed,
    };
    Ok(StatementOutcome {
        table: name,
        unified,
        warnings: misfits.count() + warned,
    })
}

/// The parents of a step.
struct StepParents {
    /// `_record_key` and `_load_id` of the version of each that counts.
    rows: RecordBatch,
    /// The keys of parents that are there, of those that changed children name, and the step's own.
    present: HashSet<String>,
    /// The earliest record time among them; `None` where one has none, or there are none.
    earliest: Option<i64>,
}

/// Which parents a step is about: its own, and those of changed children. What the latter have in the unified tables is superseded.
///
/// `start` is where this run began: a parent that came since then has been unified with the children there are now, or is about to be.
async fn parents(
    context: &RunContext,
    (history, kin, start): (&Arc<dyn TableProvider>, &[ChildHistory], i64),
    step: &UnifyStep,
    changes: &mut StepChanges,
) -> Result<StepParents> {
    let mut touched: HashSet<String> = HashSet::new();
    for (kin, mark) in kin.iter().zip(&step.children) {
        if mark.to_load_id > mark.after_load_id {
            touched.extend(match &kin.child.link {
                ChildLink::Part { by, .. } => parents_of_changed(context, kin, by, mark).await?,
                ChildLink::Lookup { on, uses } => {
                    lookup::parents(context, history, kin, (on, uses), mark).await?
                }
            });
        }
    }
    let session = context.engine.empty_session()?;
    session.register("history", Arc::clone(history))?;
    let mut newest: BTreeMap<String, (i64, Option<i64>)> = BTreeMap::new();
    let range = format!(
        "_load_id > {} AND _load_id <= {}",
        step.after_load_id, step.to_load_id
    );
    let own = collect(
        &session,
        &format!("SELECT _record_key, _load_id, _record_time FROM history WHERE {range}"),
    )
    .await?;
    keep_newest(&own, &mut newest)?;
    let mut present: HashSet<String> = newest.keys().cloned().collect();
    touched.retain(|key| !newest.contains_key(key));
    if !touched.is_empty() {
        let keys: StringArray = touched.iter().map(|key| Some(key.as_str())).collect();
        session.register_batches("touched", key_schema(), vec![one_column(keys)?])?;
        let sql = "SELECT h._record_key, h._load_id, h._record_time FROM history h JOIN touched t ON h._record_key = t._record_key";
        let mut again = BTreeMap::new();
        keep_newest(&collect(&session, sql).await?, &mut again)?;
        present.extend(again.keys().cloned());
        // A parent that this run has met, or will, is unified by its own step.
        again.retain(|_, (land, _)| *land <= start);
        for (key, (_, time)) in &again {
            match time {
                Some(time) => {
                    changes.superseded.times.push(*time);
                    changes.superseded.keys.insert(key.clone());
                }
                None => {
                    changes.superseded.keys_maybe_untimed.insert(key.clone());
                }
            }
        }
        newest.extend(again);
    }
    let timed: Option<Vec<i64>> = newest.values().map(|(_, time)| *time).collect();
    let earliest = timed.and_then(|times| times.into_iter().min());
    let rows = version_batch(
        &newest
            .into_iter()
            .map(|(key, (land, _))| (key, land))
            .collect(),
    )?;
    Ok(StepParents {
        rows,
        present,
        earliest,
    })
}

/// The keys of the parents that the children changed in a step have, or had in an earlier version.
async fn parents_of_changed(
    context: &RunContext,
    kin: &ChildHistory,
    by: &str,
    mark: &ResourceWatermark,
) -> Result<Vec<String>> {
    let session = context.engine.empty_session()?;
    session.register("history", Arc::clone(&kin.history))?;
    let range = format!(
        "_load_id > {} AND _load_id <= {}",
        mark.after_load_id, mark.to_load_id
    );
    let changed = format!(
        "SELECT DISTINCT CAST(\"{by}\" AS VARCHAR) FROM history WHERE {range} AND \"{by}\" IS NOT NULL \
         UNION SELECT DISTINCT CAST(o.\"{by}\" AS VARCHAR) FROM history o \
         JOIN (SELECT _record_key FROM history WHERE {range} AND _prev_record_time IS NOT NULL) c \
         ON o._record_key = c._record_key WHERE o.\"{by}\" IS NOT NULL AND o._load_id <= {}",
        mark.to_load_id
    );
    let mut keys = Vec::new();
    for batch in collect(&session, &changed).await? {
        keys.extend(text(&batch, 0)?.iter().flatten().map(str::to_owned));
    }
    Ok(keys)
}

/// A version of a child.
pub(super) struct ChildVersion {
    pub(super) key: String,
    pub(super) load_id: i64,
    pub(super) time: Option<i64>,
}

/// The children of the parents at hand: the newest version of each that is not deleted.
async fn children(
    context: &RunContext,
    kin: &ChildHistory,
    by: &str,
    parents: &StepParents,
) -> Result<Vec<ChildVersion>> {
    let session = context.engine.empty_session()?;
    session.register("history", Arc::clone(&kin.history))?;
    session.register_batches("parents", parents.rows.schema(), vec![parents.rows.clone()])?;
    // As a parameter: a time in SQL text is read with nanoseconds, which hold no year before 1677 or after 2262.
    let from = parents
        .earliest
        .map(|earliest| not_long_before(earliest, kin.near));
    let near = if from.is_some() {
        "(_record_time IS NULL OR _record_time >= $from)"
    } else {
        "TRUE"
    };
    let parameters: Vec<(&str, ScalarValue)> =
        from.map(|from| ("from", from)).into_iter().collect();
    let newest = format!(
        "SELECT _record_key, _load_id, _record_time FROM ( \
             SELECT _record_key, max(_load_id) AS _load_id, last_value(CAST(\"{by}\" AS VARCHAR) ORDER BY _load_id) AS parent, \
                    last_value(_deleted_at ORDER BY _load_id) AS gone, last_value(_record_time ORDER BY _load_id) AS _record_time \
             FROM history WHERE {near} GROUP BY _record_key \
         ) WHERE gone IS NULL AND parent IN (SELECT _record_key FROM parents)"
    );
    let mut wanted = BTreeMap::new();
    let found = tillhouse_query::collect(session.query_with(&newest, &parameters).await?).await?;
    keep_newest(&found, &mut wanted)?;
    Ok(wanted
        .into_iter()
        .map(|(key, (land, time))| ChildVersion {
            key,
            load_id: land,
            time,
        })
        .collect())
}

/// A time not long before the earliest parent's. A child may come any time after its parent.
fn not_long_before(earliest: i64, near: SignedDuration) -> ScalarValue {
    let near = i64::try_from(near.as_micros()).unwrap_or(i64::MAX);
    ScalarValue::TimestampMicrosecond(Some(earliest.saturating_sub(near)), Some("UTC".into()))
}

/// Takes down the newest version of each record, of rows with key, package number and record time.
fn keep_newest(
    batches: &[RecordBatch],
    newest: &mut BTreeMap<String, (i64, Option<i64>)>,
) -> Result<()> {
    for batch in batches {
        let keys = text(batch, 0)?;
        let lands = cast(batch.column(1), &DataType::Int64)?;
        let lands = lands.as_primitive::<arrow::datatypes::Int64Type>();
        let times = cast(batch.column(2), &timestamp())?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        for ((key, land), time) in keys.iter().zip(lands.iter()).zip(times.iter()) {
            let (Some(key), Some(land)) = (key, land) else {
                continue;
            };
            match newest.get_mut(key) {
                Some(known) if known.0 >= land => {}
                Some(known) => *known = (land, time),
                None => {
                    newest.insert(key.to_owned(), (land, time));
                }
            }
        }
    }
    Ok(())
}

fn key_schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![Field::new(
        "_record_key",
        DataType::Utf8,
        false,
    )]))
}

fn one_column(keys: StringArray) -> Result<RecordBatch> {
    RecordBatch::try_new(key_schema(), vec![Arc::new(keys)])
        .map_err(|e| Error::internal("keys cannot be listed").because(e))
}
