//! Children whose parent is not there: rows of their own in the unified table that `children.yaml` names, until the parent comes.
//!
//! ```text
//!   payment of sale 7, no sale 7 yet  -->  unified.payments: _record_key payment_transactions/16
//!   sale 7 comes                      -->  that row goes, and the sale's step brings the payment as its own
//!   what it looks up changes          -->  that row is made anew
//! ```
//!
//! A child that stands by itself looks up what parents look up, by its own columns of the names that the parents' have: a payment
//! without a sale is on its location's clock, as a sale is. A currency that the parent may name is told to be missing while the parent is: when
//! the child was decoded, nobody knew whether it would come.
//!
//! Invariant: such a row's `_record_key` is `<resource>/<the child's key>` and its `_record_time` the child's, so that whichever of
//! the two changes next, exactly that row is superseded. One key a child and not one a parent: a row that is removed is one that
//! the step knows of.

use super::changes::has_untimed;
use super::children::{ChildHistory, StepChild};
use super::lookup;
use super::rows::{cast, collect, key_batch, text, text_at};
use super::versions::{HistoryVersion, LatestVersions};
use crate::config::{ChildLink, Pipeline};
use crate::context::RunContext;
use arrow::array::{Array, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Int64Type, TimestampMicrosecondType};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use tillhouse_lake::{SupersededRecords, TableProvider, WarningRow};
use tillhouse_model::table::{QualityRule, RuleCheck, timestamp};
use tillhouse_model::{ExactDecimal, Result};

/// The quality rule that a child's parent is there.
const PARENT_KNOWN: &str = "parent_known";

/// A changed child whose parent is not there.
pub(super) struct OrphanChild {
    pub(super) version: HistoryVersion,
    /// The parent that it names.
    parent: Option<String>,
    /// Its amount, where it has one whose currency only the parent could name.
    amount: Option<String>,
}

/// Amount of a child whose currency its parent may name in its place.
pub(super) struct ElsewhereAmount<'p> {
    /// Rule that says so.
    rule: &'p QualityRule,
    /// SQL of the amount as text; null where it is 0, or names its currency, or the child names no parent.
    sql: String,
}

impl<'p> ElsewhereAmount<'p> {
    /// By the child's contract; `None` where no parent names a currency.
    pub(super) fn of(pipeline: &'p Pipeline, child: &StepChild<'_>, by: &str) -> Option<Self> {
        let resource = child.history.child.resource;
        let mut offered = pipeline.offered.iter();
        let (_, spec) = offered.find(|(offered, _)| offered.name == resource)?;
        let schema = child.history.versions.schema();
        let column = |path: &[String]| match path {
            [column] if schema.field_with_name(column).is_ok() => Some(format!("\"{column}\"")),
            _ => None,
        };
        spec.rules.iter().find_map(|rule| {
            let RuleCheck::Amount(amount) = &rule.check else {
                return None;
            };
            if amount.currency_elsewhere.as_ref()?.as_slice() != [by] {
                return None;
            }
            let price = column(&rule.path)?;
            let mut sql =
                format!("CASE WHEN {price} <> 0 AND CAST(\"{by}\" AS VARCHAR) NOT IN ('', '0')");
            for currency in &amount.currency {
                sql.push_str(&format!(
                    " AND currency_code({}) IS NULL",
                    column(currency)?
                ));
            }
            sql.push_str(&format!(" THEN CAST({price} AS VARCHAR) END"));
            Some(Self { rule, sql })
        })
    }
}

impl OrphanChild {
    /// Warnings about it, for `ops.warnings`: of its parent, and of its amount where only that could name the currency. A key is no personal value.
    pub(super) fn warnings(
        &self,
        pipeline: &Pipeline,
        child: &StepChild<'_>,
        (by, elsewhere): (&str, Option<&ElsewhereAmount<'_>>),
        run_id: &str,
    ) -> impl Iterator<Item = WarningRow> {
        let warning = |field: &str, rule: &str, original: String| WarningRow {
            pipeline: pipeline.name.clone(),
            resource: child.history.child.resource.to_owned(),
            record_key: self.version.key.clone(),
            field: field.to_owned(),
            rule: rule.to_owned(),
            original,
            content_hash: None,
            run_id: run_id.to_owned(),
            first_seen: Timestamp::now(),
        };
        let parent = self.parent.clone().unwrap_or_default();
        let of_amount = elsewhere.zip(self.amount.as_deref());
        let of_amount = of_amount.map(|(ElsewhereAmount { rule, .. }, amount)| {
            let amount = ExactDecimal::parse(amount)
                .map_or_else(|| amount.to_owned(), |amount| amount.trimmed().to_string());
            let words =
                format!("{amount} of no currency: {by} {parent}, which may name it, is not there");
            warning(&rule.path.join("."), &rule.name, words)
        });
        [warning(by, PARENT_KNOWN, parent)]
            .into_iter()
            .chain(of_amount)
    }
}

/// The record key of a child that stands by itself.
fn key_of(history: &ChildHistory, child: &str) -> String {
    format!("{}/{child}", history.child.resource)
}

/// The children changed in a step whose parent is not `present`. What any changed child had by itself is superseded, and what those had
/// whose parent is in the step now.
pub(super) async fn find(
    context: &RunContext,
    child: &StepChild<'_>,
    (by, elsewhere): (&str, Option<&ElsewhereAmount<'_>>),
    present: &HashSet<String>,
    superseded: &mut SupersededRecords,
) -> Result<Vec<OrphanChild>> {
    let (history, watermark) = (child.history, child.watermark);
    let is_earlier = |version: &&HistoryVersion| version.load_id <= watermark.after_load_id;
    for adopted in child.versions.iter().filter(is_earlier) {
        superseded.add(key_of(history, &adopted.key), adopted.time);
    }
    if watermark.to_load_id <= watermark.after_load_id {
        return Ok(Vec::new());
    }
    let session = context.engine.empty_session()?;
    session.register("history", Arc::clone(&history.versions))?;
    let suspect_all = has_untimed(&session).await?;
    let amount = elsewhere.map_or("CAST(NULL AS VARCHAR)", |elsewhere| elsewhere.sql.as_str());
    let sql = format!(
        "SELECT _record_key, _load_id, _record_time, _prev_record_time, CAST(\"{by}\" AS VARCHAR), \
                CAST(_deleted_at AS VARCHAR), {amount} \
         FROM history WHERE _load_id > {} AND _load_id <= {}",
        watermark.after_load_id, watermark.to_load_id
    );
    // Of each child its newest version, and whether that is a deletion.
    let mut newest: BTreeMap<String, (OrphanChild, bool)> = BTreeMap::new();
    for batch in collect(&session, &sql).await? {
        let (keys, parents, deleted) = (text(&batch, 0)?, text(&batch, 4)?, text(&batch, 5)?);
        let amounts = text(&batch, 6)?;
        let load_ids = cast(batch.column(1), &DataType::Int64)?;
        let load_ids = load_ids.as_primitive::<Int64Type>();
        let (times, before) = (
            cast(batch.column(2), &timestamp())?,
            cast(batch.column(3), &timestamp())?,
        );
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let before = before.as_primitive::<TimestampMicrosecondType>();
        for (row, (key, load_id)) in keys.iter().zip(load_ids.iter()).enumerate() {
            let (Some(key), Some(load_id)) = (key, load_id) else {
                continue;
            };
            let time =
                |times: &TimestampMicrosecondArray| times.is_valid(row).then(|| times.value(row));
            let earlier = time(before);
            if earlier.is_some() || suspect_all {
                superseded.add(key_of(history, key), earlier);
            }
            if newest
                .get(key)
                .is_some_and(|(known, _)| known.version.load_id >= load_id)
            {
                continue;
            }
            let version = HistoryVersion {
                key: key.to_owned(),
                load_id,
                time: time(times),
            };
            let parent = text_at(&parents, row).map(str::to_owned);
            let is_gone = text_at(&deleted, row).is_some();
            let orphan = OrphanChild {
                version,
                parent,
                amount: text_at(&amounts, row).map(str::to_owned),
            };
            newest.insert(key.to_owned(), (orphan, is_gone));
        }
    }
    let stands_alone = |(orphan, is_gone): (OrphanChild, bool)| {
        let has_parent = orphan
            .parent
            .as_ref()
            .is_some_and(|parent| present.contains(parent));
        (!is_gone && !has_parent).then_some(orphan)
    };
    Ok(newest.into_values().filter_map(stands_alone).collect())
}

/// The children that stood by themselves before a step, did not change in it, and look up what did, by one of these other children of
/// their `parents`. What they had is superseded.
pub(super) async fn find_looking_up(
    context: &RunContext,
    child: &StepChild<'_>,
    by: &str,
    (others, parents): (&[StepChild<'_>], &Arc<dyn TableProvider>),
    superseded: &mut SupersededRecords,
) -> Result<Vec<HistoryVersion>> {
    let (history, after) = (child.history, child.watermark.after_load_id);
    let mut looking_up = BTreeSet::new();
    for other in others {
        looking_up.extend(looking_up_changes(context, history, other).await?);
    }
    if looking_up.is_empty() {
        return Ok(Vec::new());
    }
    let session = context.engine.empty_session()?;
    session.register("history", Arc::clone(&history.versions))?;
    session.register("parents", Arc::clone(parents))?;
    let keys = key_batch(looking_up.iter().map(String::as_str))?;
    session.register_batches("looking_up", keys.schema(), vec![keys])?;
    // One that changed in the step is taken for that already.
    let sql = format!(
        "SELECT v._record_key, v._load_id, v._record_time FROM ( \
             SELECT _record_key, _load_id, _record_time, parent FROM ( \
                 SELECT h._record_key, h._load_id, h._record_time, h._deleted_at, CAST(h.\"{by}\" AS VARCHAR) AS parent, \
                        row_number() OVER (PARTITION BY h._record_key ORDER BY h._load_id DESC) AS nth \
                 FROM history h JOIN looking_up l ON h._record_key = l._record_key \
             ) WHERE nth = 1 AND _deleted_at IS NULL AND _load_id <= {after} \
         ) v LEFT ANTI JOIN parents p ON v.parent = p._record_key"
    );
    let found = LatestVersions::of(&collect(&session, &sql).await?)?;
    let found: Vec<HistoryVersion> = found.into_iter().collect();
    for version in &found {
        superseded.add(key_of(history, &version.key), version.time);
    }
    Ok(found)
}

/// The keys of a resource's records that look up what changed of another in a step, as their parents do.
async fn looking_up_changes(
    context: &RunContext,
    history: &ChildHistory,
    other: &StepChild<'_>,
) -> Result<Vec<String>> {
    let ChildLink::Lookup { on, uses, unless } = &other.history.child.link else {
        return Ok(Vec::new());
    };
    let schema = history.versions.schema();
    let has = |column: &str| schema.field_with_name(column).is_ok();
    let is_unchanged = other.watermark.to_load_id <= other.watermark.after_load_id;
    if is_unchanged || !on.iter().all(|(_, own)| has(own)) {
        return Ok(Vec::new());
    }
    let unless = unless.as_ref().filter(|own| has(&own.name));
    let link = (on.as_slice(), uses.as_slice(), unless);
    lookup::parents(
        context,
        &history.versions,
        other.history,
        link,
        other.watermark,
    )
    .await
}
