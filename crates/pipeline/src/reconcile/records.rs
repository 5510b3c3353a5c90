//! With the number of records: every window is read again and counted, key by key. For providers that keep no figures of their own.
//!
//! Invariant: completeness is all this proves; amounts are not looked at. What is read here is not landed. Pages are read, proved complete
//! and decoded by the [`Reader`] of a sync, and a record belongs to the window that holds the time by which its resource is read.
//!
//! A record may have moved since: another time, another window. So one that a window lacks is looked for in all that came, and in all
//! that is here, before it is called missing.

use super::{Compared, Comparison, Outcome};
use crate::config::{Pipeline, ResourcePlan};
use crate::land::Message;
use crate::read::{By, Reader, key_hash};
use crate::sync::Context;
use arrow::array::AsArray;
use jiff::Timestamp;
use std::collections::{BTreeSet, HashSet};
use tillhouse_model::reconcile::{Part, Yardstick};
use tillhouse_model::table::MONTH;
use tillhouse_model::{Error, Exact, FastSet, Reading, Result, Slice, Window};
use tillhouse_query::{ScalarValue, Session};
use tillhouse_statistics::reconcile::Difference;
use tokio::sync::mpsc;

/// How many missing keys are named in a note.
const NAMED: usize = 20;
/// So many keys are looked up at a time.
const LOOKED_UP: usize = 1_000;

/// What is said of a record that one side lacks.
const NOT_HERE: &str = "not here";
const OLDER_HERE: &str = "an older version here";
const NO_LONGER_THERE: &str = "no longer there";

pub(super) async fn compare(
    context: &Context,
    session: &Session,
    pipeline: &Pipeline,
    asked: &Comparison,
) -> Result<(Outcome, Vec<Compared>)> {
    let mut outcome = Outcome::new(&pipeline.name, Yardstick::Records);
    let mut compared = Vec::new();
    for plan in pipeline.resources.iter().filter(|plan| plan.resource.reading == Reading::Windows) {
        let provider = Provider { context, pipeline, plan, reader: Reader::of(context, pipeline, plan)? };
        let source = SourceRows { session, pipeline, plan };
        let mut came = FastSet::default();
        let mut windows = Vec::new();
        for window in asked.window.split(asked.window.from(), asked.step) {
            let Again { keys: theirs, rejects } = provider.read(window, &mut came).await?;
            let ours = source.keys(window).await?;
            let missing: BTreeSet<String> = theirs.difference(&ours).cloned().collect();
            let gone: BTreeSet<String> = ours.difference(&theirs).cloned().collect();
            if rejects > 0 {
                outcome.notes.push(format!(
                    "{}, {window}: {rejects} records do not fit their contract and were not compared: see ops.rejects.",
                    plan.resource.name
                ));
            }
            windows.push((window, theirs.union(&ours).count() as u64, missing, gone));
        }
        if plan.read_by_change()
            && windows.iter().any(|(.., gone)| gone.iter().any(|key| !came.contains(&key_hash(key))))
        {
            // What has changed since lies in a later window now.
            let now = Timestamp::now();
            if let Ok(since) = Window::new(asked.window.to(), now) {
                for window in since.split(since.from(), asked.step) {
                    provider.read(window, &mut came).await?;
                }
            }
        }
        for (window, figures, missing, mut gone) in windows {
            let older = source.held(&missing).await?;
            let not_here: BTreeSet<String> = missing.difference(&older).cloned().collect();
            gone.retain(|key| !came.contains(&key_hash(key)));
            let mut differences = Vec::new();
            for (what, keys) in [(NOT_HERE, &not_here), (OLDER_HERE, &older), (NO_LONGER_THERE, &gone)] {
                differences.extend(difference(plan, window, what, keys, &mut outcome.notes));
            }
            compared.push(Compared { window, tenant: None, figures, differences });
        }
    }
    if compared.is_empty() {
        return Err(Error::config(
            "none of this pipeline's resources is read by time, so none can be counted over a window",
        ));
    }
    Ok((outcome, compared))
}

/// The difference that some records make, and a note that names them.
fn difference(
    plan: &ResourcePlan,
    window: Window,
    what: &str,
    keys: &BTreeSet<String>,
    notes: &mut Vec<String>,
) -> Option<Difference> {
    if keys.is_empty() {
        return None;
    }
    let label = format!("{}: {what}", plan.resource.name);
    let named: Vec<&str> = keys.iter().take(NAMED).map(String::as_str).collect();
    let more = if keys.len() > NAMED { ", ..." } else { "" };
    notes.push(format!("{label}, {window}: {}{more}", named.join(", ")));
    let count = |n: usize| Some(Exact::new(i128::try_from(n).unwrap_or(i128::MAX), 0));
    let (here, there) = if what == NO_LONGER_THERE { (keys.len(), 0) } else { (0, keys.len()) };
    Some(Difference {
        part: Part::Records,
        currency: None,
        unit: None,
        label: Some(label),
        ours: count(here),
        theirs: count(there),
    })
}

/// What the provider has now of a window.
#[derive(Default)]
struct Again {
    /// The keys of the records that belong to it.
    keys: HashSet<String>,
    /// Records that do not fit their contract.
    rejects: u64,
}

/// The provider's side.
struct Provider<'a> {
    context: &'a Context,
    pipeline: &'a Pipeline,
    plan: &'a ResourcePlan,
    reader: Reader,
}

impl Provider<'_> {
    /// Reads a window again. Whatever came, also beside it, is added to `came`.
    async fn read(&self, window: Window, came: &mut FastSet<u128>) -> Result<Again> {
        let (from, to) = (window.from().as_microsecond(), window.to().as_microsecond());
        let mut again = Again::default();
        for tenant in self.pipeline.source.tenants(self.plan.resource.name).await? {
            let slice = Slice { resource: self.plan.resource.name.to_owned(), tenant, window };
            let (send, mut receive) = mpsc::channel(1);
            let reading = async {
                let outcome = self.reader.slice(&slice, By::Window, &send).await;
                drop(send);
                outcome
            };
            let counting = async {
                while let Some(message) = receive.recv().await {
                    let Message::Page(page) = message else { continue };
                    let incoming = &page.1.incoming;
                    let times = incoming.record_times.iter().zip(incoming.updated_at.iter());
                    for (key, (happened, changed)) in incoming.keys.iter().zip(times) {
                        let Some(key) = key else { continue };
                        came.insert(key_hash(key));
                        // A page may hold more than was asked for; without a time a record is in no window.
                        let time = if self.plan.read_by_change() { changed.or(happened) } else { happened };
                        if time.is_some_and(|time| from <= time && time < to) {
                            again.keys.insert(key.to_owned());
                        }
                    }
                }
            };
            let (read, ()) = tokio::join!(reading, counting);
            again.rejects += read?.rejects;
            if self.context.cancel.is_cancelled() {
                return Err(crate::read::interrupted());
            }
        }
        Ok(again)
    }
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
        let there = if columns.field_with_name("_deleted_at").is_ok() { "_deleted_at IS NULL" } else { "TRUE" };
        let changed = self.plan.spec.updated_at.as_deref().filter(|_| self.plan.read_by_change());
        let time = match changed {
            Some([column, nested @ ..]) => {
                let path: String = nested.iter().map(|name| format!("['{name}']")).collect();
                format!("coalesce(\"{column}\"{path}, _record_time)")
            }
            _ => "_record_time".to_owned(),
        };
        // A newer version may have moved to another month, as far as the contract allows; what changed may have happened long ago.
        let around = window.widened(self.plan.spec.moves_within);
        let months = match changed {
            Some(_) => format!("{MONTH} <= $last"),
            None => format!("{MONTH} >= $first AND {MONTH} <= $last"),
        };
        let month = |at: Timestamp| ScalarValue::from(at.strftime("%Y-%m").to_string());
        let at = |t: Timestamp| ScalarValue::TimestampMicrosecond(Some(t.as_microsecond()), Some("UTC".into()));
        let sql = format!(
            "SELECT _record_key FROM
                (SELECT *, row_number() OVER (PARTITION BY _record_key ORDER BY _land DESC) AS nth
                 FROM \"{schema}\".\"{table}\" WHERE {months}) AS version
             WHERE nth = 1 AND {there} AND {time} >= $from AND {time} < $to"
        );
        let mut params = vec![("last", month(around.to())), ("from", at(window.from())), ("to", at(window.to()))];
        if changed.is_none() {
            params.push(("first", month(around.from())));
        }
        keys(self.session, &sql, &params).await
    }

    /// Those of some keys that are here in any version.
    async fn held(&self, wanted: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        let (schema, table) = (self.pipeline.name.as_str(), self.plan.resource.name);
        let mut held = BTreeSet::new();
        if wanted.is_empty() || !self.session.has_table(schema, table).await? {
            return Ok(held);
        }
        let wanted: Vec<&String> = wanted.iter().collect();
        for some in wanted.chunks(LOOKED_UP) {
            let names: Vec<String> = (0..some.len()).map(|nth| format!("k{nth}")).collect();
            let list = names.iter().map(|name| format!("${name}")).collect::<Vec<_>>().join(", ");
            let params: Vec<(&str, ScalarValue)> =
                names.iter().map(String::as_str).zip(some.iter().map(|key| ScalarValue::from(key.as_str()))).collect();
            let sql =
                format!("SELECT DISTINCT _record_key FROM \"{schema}\".\"{table}\" WHERE _record_key IN ({list})");
            held.extend(keys(self.session, &sql, &params).await?);
        }
        Ok(held)
    }
}

/// The record keys that a query gives.
async fn keys(session: &Session, sql: &str, params: &[(&str, ScalarValue)]) -> Result<HashSet<String>> {
    let mut keys = HashSet::new();
    for batch in &tillhouse_query::collect(session.query_with(sql, params).await?).await? {
        let column = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)
            .map_err(|e| Error::internal("record keys are not text").because(e))?;
        keys.extend(column.as_string::<i32>().iter().flatten().map(str::to_owned));
    }
    Ok(keys)
}
