//! With the number of records: every window is read again and counted, key by key. For providers that keep no figures of their own.
//!
//! Invariant: completeness is all this proves; amounts are not looked at. What is read here is not landed.
//!
//! A provider cuts its windows by the time of a record or by the time of its last change; which of the two, a source does not have
//! to say. So a record is counted where every time it has lies in the window: such a record is in both kinds of windows.

use super::{Compared, Comparison, Outcome};
use crate::config::{Pipeline, ResourcePlan};
use crate::read::interrupted;
use crate::sync::Context;
use arrow::array::AsArray;
use futures::StreamExt;
use std::collections::HashSet;
use std::sync::Arc;
use tillhouse_decode::Decoder;
use tillhouse_model::reconcile::{Part, Yardstick};
use tillhouse_model::table::MONTH;
use tillhouse_model::{Error, Exact, Reading, Result, Slice, Window};
use tillhouse_query::{ScalarValue, Session};
use tillhouse_statistics::reconcile::Difference;

/// How many missing keys are named in a note.
const NAMED: usize = 20;

pub(super) async fn compare(
    context: &Context,
    session: &Session,
    pipeline: &Pipeline,
    asked: &Comparison,
) -> Result<(Outcome, Vec<Compared>)> {
    let mut outcome = Outcome::new(&pipeline.name, Yardstick::Records);
    let mut compared = Vec::new();
    for plan in pipeline.resources.iter().filter(|plan| plan.resource.reading == Reading::Windows) {
        for window in asked.window.split(asked.window.from(), asked.step) {
            let Again { keys: theirs, rejects, declared, came } =
                counted_again(context, pipeline, plan, window).await?;
            let ours = known(session, pipeline, plan, window).await?;
            let count = |n: usize| Some(Exact::new(i128::try_from(n).unwrap_or(i128::MAX), 0));
            let mut differences = Vec::new();
            for (label, these, others, seen_here) in [
                (format!("{}: not here", plan.resource.name), &theirs, &ours, false),
                (format!("{}: no longer there", plan.resource.name), &ours, &theirs, true),
            ] {
                let mut missing: Vec<&String> = these.difference(others).collect();
                missing.sort();
                if missing.is_empty() {
                    continue;
                }
                let (here, there) = if seen_here { (missing.len(), 0) } else { (0, missing.len()) };
                let named: Vec<&str> = missing.iter().take(NAMED).map(|key| key.as_str()).collect();
                let more = if missing.len() > NAMED { ", ..." } else { "" };
                outcome.notes.push(format!("{label}, {window}: {}{more}", named.join(", ")));
                differences.push(Difference {
                    part: Part::Records,
                    currency: None,
                    unit: None,
                    label: Some(label),
                    ours: count(here),
                    theirs: count(there),
                });
            }
            if let Some(declared) = declared.filter(|declared| *declared != came as u64) {
                differences.push(Difference {
                    part: Part::Records,
                    currency: None,
                    unit: None,
                    label: Some(format!("{}: came, and were declared", plan.resource.name)),
                    ours: count(came),
                    theirs: count(usize::try_from(declared).unwrap_or(usize::MAX)),
                });
            }
            if rejects > 0 {
                outcome.notes.push(format!(
                    "{}, {window}: {rejects} records do not fit their contract and were not compared: see ops.rejects.",
                    plan.resource.name
                ));
            }
            compared.push(Compared { window, tenant: None, figures: theirs.union(&ours).count() as u64, differences });
        }
    }
    if compared.is_empty() {
        return Err(Error::config(
            "none of this pipeline's resources is read by time, so none can be counted over a window",
        ));
    }
    Ok((outcome, compared))
}

/// What the provider has now.
#[derive(Default)]
struct Again {
    /// The keys of the records that lie in the window.
    keys: HashSet<String>,
    /// Records that do not fit their contract.
    rejects: usize,
    /// How many the provider says it gave, where it always does.
    declared: Option<u64>,
    /// How many different ones it gave, those beside the window included.
    came: usize,
}

async fn counted_again(context: &Context, pipeline: &Pipeline, plan: &ResourcePlan, window: Window) -> Result<Again> {
    let decoder = Arc::new(Decoder::new(Arc::clone(&plan.spec), Some(context.project.privacy_key.clone()))?);
    let (from, to) = (window.from().as_microsecond(), window.to().as_microsecond());
    let mut again = Again { declared: plan.resource.declares_total.then_some(0), ..Again::default() };
    for tenant in pipeline.source.tenants(plan.resource.name).await? {
        let slice = Slice { resource: plan.resource.name.to_owned(), tenant, window };
        let mut pages = pipeline.source.pages(&slice);
        let (mut of_slice, mut nameless, mut declared) = (HashSet::new(), 0, None);
        loop {
            let page = tokio::select! {
                biased;
                () = context.cancel.cancelled() => return Err(interrupted()),
                page = pages.next() => page,
            };
            let Some(page) = page else { break };
            let page = page.map_err(|e| e.at("slice", slice.to_string()))?;
            declared = page.declared_total.or(declared);
            let (decoder, records_at) = (Arc::clone(&decoder), plan.resource.records_at);
            let decoded = tokio::task::spawn_blocking(move || {
                decoder.decode_scoped(&page.bytes, records_at, page.scope.as_deref())
            });
            let decoded = decoded.await.map_err(|e| Error::internal("decoding a page failed").because(e))??;
            let times = decoded.record_times.iter().zip(decoded.updated_at.iter());
            for (key, (time, changed)) in decoded.keys.iter().zip(times) {
                let Some(key) = key else { continue };
                of_slice.insert(key.to_owned());
                // A page may hold more than was asked for; without a time a record is in no window.
                let within = |time: i64| from <= time && time < to;
                if time.is_some_and(within) && changed.is_none_or(within) {
                    again.keys.insert(key.to_owned());
                }
            }
            again.rejects += decoded.rejects.len();
            for reject in decoded.rejects {
                match reject.key {
                    Some(key) => {
                        of_slice.insert(key);
                    }
                    None => nameless += 1,
                }
            }
        }
        again.came += of_slice.len() + nameless;
        again.declared = again.declared.zip(declared).map(|(sum, declared)| sum + declared);
    }
    Ok(again)
}

/// The keys of the records whose newest version we hold lies in the window.
async fn known(session: &Session, pipeline: &Pipeline, plan: &ResourcePlan, window: Window) -> Result<HashSet<String>> {
    let (schema, table) = (pipeline.name.as_str(), plan.resource.name);
    let mut keys = HashSet::new();
    if !session.has_table(schema, table).await? {
        return Ok(keys);
    }
    let columns = session.columns(schema, table).await?;
    let there = if columns.field_with_name("_deleted_at").is_ok() { "_deleted_at IS NULL" } else { "TRUE" };
    let changed = match plan.spec.updated_at.as_deref() {
        Some([column, nested @ ..]) => {
            let path: String = nested.iter().map(|name| format!("['{name}']")).collect();
            format!("(\"{column}\"{path} IS NULL OR (\"{column}\"{path} >= $from AND \"{column}\"{path} < $to))")
        }
        _ => "TRUE".to_owned(),
    };
    // A newer version may have moved to another month, as far as the contract allows.
    let around = window.widened(plan.spec.moves_within);
    let month = |at: jiff::Timestamp| ScalarValue::from(at.strftime("%Y-%m").to_string());
    let at = |t: jiff::Timestamp| ScalarValue::TimestampMicrosecond(Some(t.as_microsecond()), Some("UTC".into()));
    let sql = format!(
        "SELECT _record_key FROM
            (SELECT *, row_number() OVER (PARTITION BY _record_key ORDER BY _land DESC) AS nth
             FROM \"{schema}\".\"{table}\" WHERE {MONTH} >= $first AND {MONTH} <= $last) AS version
         WHERE nth = 1 AND {there} AND {changed} AND _record_time >= $from AND _record_time < $to"
    );
    let params = [
        ("first", month(around.from())),
        ("last", month(around.to())),
        ("from", at(window.from())),
        ("to", at(window.to())),
    ];
    let batches = tillhouse_query::collect(session.query_with(&sql, &params).await?).await?;
    for batch in &batches {
        let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)
            .map_err(|e| Error::internal("record keys are not text").because(e))?;
        keys.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(keys)
}
