//! With the number of records: every window is read again and counted, key by key. For providers that keep no figures of their own.
//!
//! Invariant: completeness is all this proves; amounts are not looked at. What is read here is not landed. Pages are read, proved complete
//! and decoded by the [`SliceReader`] of a sync. A record that does not fit its contract is there, and was not compared: it is counted as such,
//! and never called gone.
//!
//! A record belongs to the window that holds the time by which its resource is read: when it happened, or when it last changed; one without
//! a time, to the window that it came in. It may have moved since. So all windows are read first, and one that a window lacks is looked for
//! in all that came, in all that is here, and at last at the provider: by its id, or in the time around. What is found in another window has
//! moved; only what is found nowhere is no longer there.

use super::listed_by::{LOOKED_AT, ListingEvidence};
use super::provider_records::ProviderRecords;
use super::{ComparedWindow, PipelineReconciliation, ReconcileRequest};
use crate::config::{Pipeline, ResourcePlan};
use crate::context::RunContext;
use crate::message::interrupted;
use crate::read::SliceReader;
use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;
use jiff::Timestamp;
use std::collections::{BTreeSet, HashMap, HashSet};
use tillhouse_model::reconcile::{ReconcileAgainst, StatisticsPart};
use tillhouse_model::table::{MONTH, timestamp};
use tillhouse_model::{Error, ExactDecimal, ReadBy, ReadMode, Result, Slice, Window};
use tillhouse_query::{ScalarValue, Session};
use tillhouse_statistics::reconcile::{DefinitionFinding, FigureDifference};

/// Most missing keys that a note names.
const NAMED: usize = 20;
/// Most keys that are looked up at a time.
const LOOKED_UP: usize = 1_000;

/// Words for a record that one side lacks, or that the two sides have in different windows.
const NOT_HERE: &str = "not here";
const OLDER_HERE: &str = "an older version here";
const MOVED_IN: &str = "moved into this window, an older version here";
const DELETED_HERE: &str = "marked as deleted here";
const MOVED_OUT: &str = "moved to another window, an older version here";
const UNLISTED: &str = "there by its id, but not listed";
const NO_LONGER_THERE: &str = "no longer there";

pub(super) async fn compare(
    context: &RunContext,
    session: &Session,
    pipeline: &Pipeline,
    asked: &ReconcileRequest,
) -> Result<(PipelineReconciliation, Vec<ComparedWindow>)> {
    let mut outcome = PipelineReconciliation::new(&pipeline.name, ReconcileAgainst::Records);
    let mut compared = Vec::new();
    let ledger = context.warehouse.ops().coverage(&pipeline.name).await?;
    let (by_time, whole): (Vec<&ResourcePlan>, Vec<&ResourcePlan>) = pipeline
        .resources
        .iter()
        .partition(|plan| plan.resource.read_mode == ReadMode::Incremental);
    for plan in by_time {
        let last_read = ledger
            .iter()
            .filter(|row| row.resource == plan.resource.name)
            .map(|row| row.read.read_at)
            .max();
        compared.extend(
            of_resource(
                context,
                session,
                pipeline,
                plan,
                asked,
                last_read,
                &mut outcome,
            )
            .await?,
        );
    }
    if compared.is_empty() {
        return Err(Error::config(
            "none of this pipeline's resources is read by time, so none can be counted over a window",
        ));
    }
    if !whole.is_empty() {
        let names: Vec<&str> = whole.iter().map(|plan| plan.resource.name).collect();
        outcome.notes.push(format!(
            "Read whole and so in no window, not counted: {}.",
            names.join(", ")
        ));
    }
    Ok((outcome, compared))
}

/// Keys that differ in one window.
struct WindowKeyDifferences {
    window: Window,
    figures: usize,
    missing: BTreeSet<String>,
    gone: BTreeSet<String>,
}

async fn of_resource(
    context: &RunContext,
    session: &Session,
    pipeline: &Pipeline,
    plan: &ResourcePlan,
    asked: &ReconcileRequest,
    last_read: Option<Timestamp>,
    outcome: &mut PipelineReconciliation,
) -> Result<Vec<ComparedWindow>> {
    let name = plan.resource.name;
    let source = SourceRows {
        session,
        pipeline,
        plan,
    };
    let windows = asked.window.split(asked.window.from(), asked.step);
    let mut provider = ProviderSide::new(context, pipeline, plan)?;
    for window in &windows {
        provider.read(plan, *window).await?;
    }
    // Once for all windows: an API that is asked for whole days gives a record in several of them, and its time may be what cannot be read.
    let rejected = provider.came.rejects.values().map(Vec::len).sum::<usize>() as u64;
    if rejected > 0 {
        let note = format!(
            "{name}, {}: {rejected} records do not fit their contract and were not compared: see ops.rejects.",
            asked.window
        );
        outcome.leave_out(rejected, note);
    }
    let mut theirs: HashMap<Window, HashSet<&str>> = HashMap::new();
    for (key, seen) in &provider.came.records {
        let time = seen.time.unwrap_or(seen.came_in.from());
        let next = windows.partition_point(|window| window.to() <= time);
        if let Some(window) = windows.get(next).filter(|window| window.from() <= time) {
            theirs.entry(*window).or_default().insert(key);
        }
    }
    let mut found = Vec::new();
    for window in windows {
        let theirs = theirs.remove(&window).unwrap_or_default();
        let ours = source.keys(window).await?;
        let missing: BTreeSet<String> = theirs
            .iter()
            .filter(|key| !ours.contains(**key))
            .map(|key| (*key).to_owned())
            .collect();
        let gone: BTreeSet<String> = ours
            .into_iter()
            .filter(|key| !provider.came.has_within(key, asked.window))
            .collect();
        found.push(WindowKeyDifferences {
            window,
            figures: theirs.len(),
            missing,
            gone,
        });
    }
    drop(theirs);
    let gone = found.iter().flat_map(|found| &found.gone);
    let lost: BTreeSet<String> = gone
        .filter(|key| !provider.came.has(key))
        .cloned()
        .collect();
    let listed: Vec<String> = provider
        .came
        .records
        .keys()
        .take(LOOKED_AT)
        .cloned()
        .collect();
    provider.look_for(plan, asked, &lost).await?;
    let unlisted = |key: &&String| provider.came.is_found_within(key, asked.window);
    let unlisted: BTreeSet<String> = lost.iter().filter(unlisted).cloned().collect();
    let is_outside = |key: &&String| !provider.came.has_within(key, asked.window);
    let evidence = ListingEvidence {
        pipeline: &pipeline.name,
        asked: asked.window,
        unlisted: &unlisted,
        listed: &listed,
        outside: listed.iter().filter(is_outside).count(),
    };
    let other_time = match plan.resource.read_by {
        ReadBy::EventTime => evidence.other_time(session).await?,
        // What changed is listed by when it did.
        ReadBy::ChangeTime => None,
    };
    match other_time {
        Some((column, means)) => outcome.findings.push(DefinitionFinding {
            definition: "time".to_owned(),
            text: format!(
                "The other side lists {name} by {means} ({column}); ours count by when they happened. {} that it does not list here lie in \
                 other windows by that, and are there by their ids: no difference.",
                unlisted.len()
            ),
            windows: found.iter().filter(|of| of.gone.iter().any(|key| unlisted.contains(key))).count(),
        }),
        None if provider.came.strays > 0 => outcome.notes.push(format!(
            "{name}: {} records came that lie outside of the window they were asked for in; the server may ignore what narrows the listing.",
            provider.came.strays
        )),
        None => {}
    }
    // Those alone that the other time was proved by.
    let explained = match other_time {
        Some(_) => unlisted,
        None => BTreeSet::new(),
    };
    let mut compared = Vec::new();
    for WindowKeyDifferences {
        window,
        figures,
        mut missing,
        mut gone,
    } in found
    {
        let mut differences = Vec::new();
        // A record without a time is in no window here either; it is here, or it is not.
        let held = source.newest_versions(&missing).await?;
        missing.retain(|key| !(held.contains_key(key) && provider.came.is_untimed(key)));
        let (mut not_here, mut older, mut moved_in, mut deleted, mut newer) = <(
            BTreeSet<_>,
            BTreeSet<_>,
            BTreeSet<_>,
            BTreeSet<_>,
            BTreeSet<_>,
        )>::default();
        for key in missing {
            let theirs = provider
                .came
                .records
                .get(&key)
                .and_then(|seen| seen.version.changed);
            match held.get(&key) {
                None => not_here.insert(key),
                Some(OwnRecord {
                    is_deleted: true, ..
                }) => deleted.insert(key),
                Some(OwnRecord {
                    changed: Some(ours),
                    ..
                }) if theirs.is_some_and(|theirs| theirs < *ours) => newer.insert(key),
                Some(_) if plan.resource.read_by == ReadBy::ChangeTime => older.insert(key),
                Some(_) => moved_in.insert(key),
            };
        }
        if !newer.is_empty() {
            let (many, names) = (newer.len(), named(&newer));
            outcome.notes.push(format!(
                "{name}, {window}: {many} are listed as they once were, and a newer version of each is here: {names}"
            ));
        }
        gone.retain(|key| !provider.came.rejected.contains(key));
        let (moved, no_longer): (BTreeSet<String>, BTreeSet<String>) = gone
            .into_iter()
            .partition(|key| provider.came.records.contains_key(key));
        // A change after the record was last asked for is for the next sync to find, and no fault of the ones before.
        let (since, moved_out): (BTreeSet<String>, BTreeSet<String>) =
            moved.into_iter().partition(|key| {
                let time = provider.came.records.get(key).and_then(|seen| seen.time);
                plan.resource.read_by == ReadBy::ChangeTime
                    && time.zip(last_read).is_some_and(|(time, read)| time >= read)
            });
        if !since.is_empty() {
            let (many, names) = (since.len(), named(&since));
            outcome.notes.push(format!(
                "{name}, {window}: {many} changed since the last sync, and moved to a later window: {names}"
            ));
        }
        // The record that its id leads to, at the very time that the listing was asked for.
        let (moved_out, unlisted): (BTreeSet<String>, BTreeSet<String>) = moved_out
            .into_iter()
            .partition(|key| !provider.came.has_within(key, asked.window));
        let figures = figures + since.len() + moved_out.len() + unlisted.len() + no_longer.len();
        let unlisted: BTreeSet<String> = unlisted.difference(&explained).cloned().collect();
        for (what, keys) in [
            (NOT_HERE, &not_here),
            (OLDER_HERE, &older),
            (MOVED_IN, &moved_in),
            (DELETED_HERE, &deleted),
            (MOVED_OUT, &moved_out),
            (UNLISTED, &unlisted),
            (NO_LONGER_THERE, &no_longer),
        ] {
            differences.extend(difference(plan, window, what, keys, &mut outcome.notes));
        }
        // The note about its rejects says more than the figure.
        compared.push(ComparedWindow {
            window,
            tenant: None,
            figures: figures as u64,
            not_compared: 0,
            differences,
        });
    }
    Ok(compared)
}

/// The first few of some keys.
fn named(keys: &BTreeSet<String>) -> String {
    let named: Vec<&str> = keys.iter().take(NAMED).map(String::as_str).collect();
    format!(
        "{}{}",
        named.join(", "),
        if keys.len() > NAMED { ", ..." } else { "" }
    )
}

/// The difference that some records make, and a note that names them.
fn difference(
    plan: &ResourcePlan,
    window: Window,
    what: &str,
    keys: &BTreeSet<String>,
    notes: &mut Vec<String>,
) -> Option<FigureDifference> {
    if keys.is_empty() {
        return None;
    }
    let label = format!("{}: {what}", plan.resource.name);
    notes.push(format!("{label}, {window}: {}", named(keys)));
    let count = |n: usize| Some(ExactDecimal::new(i128::try_from(n).unwrap_or(i128::MAX), 0));
    let is_ours = matches!(what, NO_LONGER_THERE | MOVED_OUT | UNLISTED);
    let (here, there) = if is_ours {
        (keys.len(), 0)
    } else {
        (0, keys.len())
    };
    Some(FigureDifference {
        part: StatisticsPart::Records,
        currency: None,
        unit: None,
        label: Some(label),
        ours: count(here),
        theirs: count(there),
    })
}

/// Provider's side of the comparison: what is asked, and the records that came.
struct ProviderSide<'a> {
    context: &'a RunContext,
    pipeline: &'a Pipeline,
    reader: SliceReader,
    came: ProviderRecords,
}

impl<'a> ProviderSide<'a> {
    fn new(context: &'a RunContext, pipeline: &'a Pipeline, plan: &ResourcePlan) -> Result<Self> {
        Ok(Self {
            context,
            pipeline,
            reader: SliceReader::of(context, pipeline, plan)?,
            came: ProviderRecords::default(),
        })
    }

    /// Reads a window again.
    async fn read(&mut self, plan: &ResourcePlan, window: Window) -> Result<()> {
        for tenant in self.pipeline.source.tenants(plan.resource.name).await? {
            let slice = Slice {
                resource: plan.resource.name.to_owned(),
                tenant,
                window,
            };
            let read_by = plan.resource.read_by;
            let mut came = self.came.of_listing(read_by, window);
            self.reader.read_slice(&slice, read_by, &mut came).await?;
            if self.context.cancel.is_cancelled() {
                return Err(interrupted());
            }
        }
        Ok(())
    }

    /// Looks for records that none of the windows asked for has: by id, or in the time around that the contract lets them move in.
    async fn look_for(
        &mut self,
        plan: &ResourcePlan,
        asked: &ReconcileRequest,
        lost: &BTreeSet<String>,
    ) -> Result<()> {
        if lost.is_empty() {
            return Ok(());
        }
        let now = self.context.warehouse.now();
        if plan.resource.by_id {
            let slice = Slice {
                resource: plan.resource.name.to_owned(),
                tenant: None,
                window: asked.window,
            };
            for some in lost.iter().cloned().collect::<Vec<_>>().chunks(LOOKED_UP) {
                let mut came = self.came.by_id(plan.resource.read_by, asked.window);
                self.reader
                    .read_by_id(some.to_vec(), None, &slice, &mut came)
                    .await?;
            }
            return Ok(());
        }
        let around = match plan.resource.read_by {
            // A changed record moves forward only, and as far as the present.
            ReadBy::ChangeTime => Window::new(asked.window.to(), now),
            ReadBy::EventTime => Window::new(asked.window.from(), asked.window.to()),
        };
        let Ok(around) = around else { return Ok(()) };
        let pieces = match plan.resource.read_by {
            ReadBy::ChangeTime => vec![around],
            ReadBy::EventTime => {
                let wide = around.widened(plan.spec.moves_within);
                let flanks = [
                    Window::new(wide.from(), around.from()),
                    Window::new(around.to(), wide.to().min(now)),
                ];
                flanks
                    .into_iter()
                    .filter_map(Result::ok)
                    .flat_map(|flank| flank.split(flank.from(), plan.sync.slice))
                    .collect()
            }
        };
        for piece in pieces {
            if lost.iter().all(|key| self.came.has(key)) {
                break;
            }
            self.read(plan, piece).await?;
        }
        Ok(())
    }
}

/// Newest version of a record in the source table.
struct OwnRecord {
    is_deleted: bool,
    /// The source's own version time, microseconds.
    changed: Option<i64>,
}

/// Our side: the newest versions in the source table.
struct SourceRows<'a> {
    session: &'a Session,
    pipeline: &'a Pipeline,
    plan: &'a ResourcePlan,
}

impl SourceRows<'_> {
    /// The keys of the records that belong to a window.
    async fn keys(&self, window: Window) -> Result<HashSet<String>> {
        let (schema, table) = (self.pipeline.name.as_str(), self.plan.resource.name);
        if !self.session.has_table(schema, table).await? {
            return Ok(HashSet::new());
        }
        let columns = self.session.columns(schema, table).await?;
        let there = if columns.field_with_name("_deleted_at").is_ok() {
            "_deleted_at IS NULL"
        } else {
            "TRUE"
        };
        let by_change = self.plan.resource.read_by == ReadBy::ChangeTime;
        let time = match self.version_time().filter(|_| by_change) {
            Some(changed) => format!("coalesce({changed}, _record_time)"),
            None => "_record_time".to_owned(),
        };
        // A record changed in a window may have happened at any time; a newer version of what happened in it may have moved to another
        // month, as far as the contract allows.
        let months = if by_change {
            "TRUE".to_owned()
        } else {
            format!("{MONTH} >= $first AND {MONTH} <= $last")
        };
        let around = window.widened(self.plan.spec.moves_within);
        let month = |at: Timestamp| ScalarValue::from(at.strftime("%Y-%m").to_string());
        let at = |t: Timestamp| {
            ScalarValue::TimestampMicrosecond(Some(t.as_microsecond()), Some("UTC".into()))
        };
        let sql = format!(
            "SELECT _record_key FROM
                (SELECT *, row_number() OVER (PARTITION BY _record_key ORDER BY _load_id DESC) AS nth
                 FROM \"{schema}\".\"{table}\" WHERE {months}) AS version
             WHERE nth = 1 AND {there} AND {time} >= $from AND {time} < $to"
        );
        let mut params = vec![("from", at(window.from())), ("to", at(window.to()))];
        if !by_change {
            params.extend([
                ("first", month(around.from())),
                ("last", month(around.to())),
            ]);
        }
        keys(self.session, &sql, &params).await
    }

    /// The source's own version time in SQL; `None` where the source has none.
    fn version_time(&self) -> Option<String> {
        let (column, nested) = self.plan.spec.updated_at.as_deref()?.split_first()?;
        let path: String = nested.iter().map(|name| format!("['{name}']")).collect();
        Some(format!("\"{column}\"{path}"))
    }

    /// Newest versions of those of some keys that the source table has.
    async fn newest_versions(
        &self,
        wanted: &BTreeSet<String>,
    ) -> Result<HashMap<String, OwnRecord>> {
        let (schema, table) = (self.pipeline.name.as_str(), self.plan.resource.name);
        let mut held = HashMap::new();
        if wanted.is_empty() || !self.session.has_table(schema, table).await? {
            return Ok(held);
        }
        let columns = self.session.columns(schema, table).await?;
        let deleted = if columns.field_with_name("_deleted_at").is_ok() {
            "_deleted_at"
        } else {
            "NULL"
        };
        let changed = self.version_time().unwrap_or_else(|| "NULL".to_owned());
        let wanted: Vec<&String> = wanted.iter().collect();
        for some in wanted.chunks(LOOKED_UP) {
            let names: Vec<String> = (0..some.len()).map(|nth| format!("k{nth}")).collect();
            let list = names
                .iter()
                .map(|name| format!("${name}"))
                .collect::<Vec<_>>()
                .join(", ");
            let params: Vec<(&str, ScalarValue)> = names
                .iter()
                .map(String::as_str)
                .zip(some.iter().map(|key| ScalarValue::from(key.as_str())))
                .collect();
            let sql = format!(
                "SELECT _record_key, CAST(deleted AS TIMESTAMP WITH TIME ZONE) AS deleted,
                    CAST(changed AS TIMESTAMP WITH TIME ZONE) AS changed FROM
                    (SELECT _record_key, {deleted} AS deleted, {changed} AS changed, row_number() OVER (PARTITION BY _record_key ORDER BY _load_id DESC) AS nth
                     FROM \"{schema}\".\"{table}\" WHERE _record_key IN ({list})) AS version
                 WHERE nth = 1"
            );
            for batch in
                &tillhouse_query::collect(self.session.query_with(&sql, &params).await?).await?
            {
                let of_type = |e| Error::internal("record keys are not text").because(e);
                let keys = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)
                    .map_err(of_type)?;
                let deleted =
                    arrow::compute::cast(batch.column(1), &timestamp()).map_err(of_type)?;
                let changed =
                    arrow::compute::cast(batch.column(2), &timestamp()).map_err(of_type)?;
                let changed = changed.as_primitive::<TimestampMicrosecondType>().iter();
                for ((row, key), changed) in keys.as_string::<i32>().iter().enumerate().zip(changed)
                {
                    let is_deleted = deleted.is_valid(row);
                    held.extend(key.map(|key| {
                        (
                            key.to_owned(),
                            OwnRecord {
                                is_deleted,
                                changed,
                            },
                        )
                    }));
                }
            }
        }
        Ok(held)
    }
}

/// The record keys that a query gives.
async fn keys(
    session: &Session,
    sql: &str,
    params: &[(&str, ScalarValue)],
) -> Result<HashSet<String>> {
    let mut keys = HashSet::new();
    for batch in &tillhouse_query::collect(session.query_with(sql, params).await?).await? {
        let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)
            .map_err(|e| Error::internal("record keys are not text").because(e))?;
        keys.extend(
            column
                .as_string::<i32>()
                .iter()
                .flatten()
                .map(str::to_owned),
        );
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted_source::{SALES, ScriptedRun, Turn, page, sale, window};
    use crate::{SyncOptions, SyncRange};
    use tillhouse_lake::AsOf;

    /// A sale of the fifth, which happened on the first by what was said of it before `changed`.
    fn moved(changed: &str) -> String {
        format!(r#"{{"id":"a","at":"2026-01-05T10:00:00Z","changed":"{changed}"}}"#)
    }

    fn before(changed: &str) -> String {
        format!(r#"{{"id":"a","at":"2026-01-01T10:00:00Z","changed":"{changed}"}}"#)
    }

    #[tokio::test]
    async fn a_record_that_is_listed_as_it_was_is_no_difference_where_a_newer_version_is_here() {
        let here = [moved("2026-01-06T00:00:00Z"), sale("b")];
        let run = ScriptedRun::new([vec![Turn::Page(page(&here))]]).await;
        let (context, pipeline) = (run.context(), run.pipeline(SALES));
        let range = SyncRange {
            from: Some(window().from()),
            to: Some(window().to()),
        };
        let options = SyncOptions {
            range,
            ..SyncOptions::default()
        };
        let pipelines = [pipeline];
        crate::sync(&context, &pipelines, options).await.unwrap();
        let session = context
            .engine
            .open(&context.warehouse, &AsOf::Latest)
            .await
            .unwrap();
        let asked = ReconcileRequest {
            window: window(),
            step: jiff::SignedDuration::from_hours(24),
            states: Vec::new(),
            against: Some(ReconcileAgainst::Records),
            control: None,
            timezone: None,
            max_transactions: 5,
            filter: None,
        };
        // As it was, as it is, and as it will be when it has moved back.
        for (changed, difference) in [
            ("2026-01-01T10:00:00Z", None),
            ("2026-01-06T00:00:00Z", Some(MOVED_IN)),
            ("2026-01-07T00:00:00Z", Some(MOVED_IN)),
        ] {
            run.answer_next(vec![Turn::Page(page(&[before(changed), sale("b")]))]);
            let (outcome, compared) = compare(&context, &session, &pipelines[0], &asked)
                .await
                .unwrap();
            let labels: Vec<String> = compared
                .iter()
                .flat_map(|window| &window.differences)
                .filter_map(|difference| difference.label.clone())
                .collect();
            let wanted: Vec<String> = difference
                .iter()
                .map(|what| format!("sales: {what}"))
                .collect();
            assert_eq!(labels, wanted, "{changed}: {:?}", outcome.notes);
            assert_eq!(compared[0].figures, 2, "{changed}");
            let note = outcome.notes.iter().find(|note| note.contains(": a"));
            let is_told = note.is_some_and(|note| {
                note.contains("1 are listed as they once were, and a newer version of each is here")
            });
            assert_eq!(is_told, difference.is_none(), "{:?}", outcome.notes);
        }
    }
}
