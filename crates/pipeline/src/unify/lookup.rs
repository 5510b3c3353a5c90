//! Resources that parents look up, such as the products whose rate of tax a sale is taxed by.
//!
//! Invariant: a statement sees every version of what it looks up, so that it can take the one that held when the parent happened; a
//! parent is unified anew when a value that is looked up changes, and not when another does, nor when it has a value of its own.

use super::children::ChildHistory;
use super::rows::{cast, collect, text, text_at};
use crate::config::OwnColumn;
use crate::context::RunContext;
use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tillhouse_lake::{ResourceWatermark, TableProvider};
use tillhouse_model::{Error, Result};

type LookupValues = Vec<Option<String>>;

/// Looked-up values of one record, version by version.
#[derive(Default)]
struct LookupHistory {
    /// The newest version that is unified: its package number, the columns it is found by, and those that are looked up.
    before: Option<(i64, LookupValues, LookupValues)>,
    since: Vec<(LookupValues, LookupValues)>,
}

impl LookupHistory {
    /// Values by which parents find the record, now or before, where what they look up has
    /// changed. A record that is new and says nothing may end what another one said.
    fn changed_keys(self) -> BTreeSet<LookupValues> {
        let before = self.before.map(|(_, on, uses)| (on, uses));
        let is_news = |(on, uses): &&(LookupValues, LookupValues)| match &before {
            Some((known_on, known_uses)) => known_on != on || known_uses != uses,
            None => true,
        };
        if !self.since.iter().any(|version| is_news(&version)) {
            return BTreeSet::new();
        }
        self.since
            .iter()
            .chain(&before)
            .map(|(on, _)| on.clone())
            .collect()
    }
}

/// The keys of the parents that look up what changed in a step: by columns `on`, for columns `uses`, `unless` they have a value of their own.
pub(super) async fn parents(
    context: &RunContext,
    history: &Arc<dyn TableProvider>,
    child: &ChildHistory,
    (on, uses, unless): (&[(String, String)], &[String], Option<&OwnColumn>),
    watermark: &ResourceWatermark,
) -> Result<Vec<String>> {
    let session = context.engine.empty_session()?;
    session.register("versions", Arc::clone(&child.versions))?;
    let columns: String = on
        .iter()
        .map(|(own, _)| own)
        .chain(uses)
        .map(|column| format!(", CAST(\"{column}\" AS VARCHAR)"))
        .collect();
    let sql = format!(
        "SELECT _record_key, _load_id{columns} FROM versions WHERE _deleted_at IS NULL AND _load_id <= {} AND _record_key IN \
         (SELECT _record_key FROM versions WHERE _load_id > {} AND _load_id <= {})",
        watermark.to_load_id, watermark.after_load_id, watermark.to_load_id
    );
    let mut told: BTreeMap<String, LookupHistory> = BTreeMap::new();
    for batch in collect(&session, &sql).await? {
        let keys = text(&batch, 0)?;
        let load_ids = cast(batch.column(1), &DataType::Int64)?;
        let load_ids = load_ids.as_primitive::<Int64Type>();
        let values: Vec<StringArray> = (2..batch.num_columns())
            .map(|at| text(&batch, at))
            .collect::<Result<_>>()?;
        for (row, (key, load_id)) in keys.iter().zip(load_ids.iter()).enumerate() {
            let (Some(key), Some(load_id)) = (key, load_id) else {
                continue;
            };
            let mut found: LookupValues = values
                .iter()
                .map(|column| text_at(column, row).map(str::to_owned))
                .collect();
            let used = found.split_off(on.len());
            let told = told.entry(key.to_owned()).or_default();
            if load_id > watermark.after_load_id {
                told.since.push((found, used));
            } else if told
                .before
                .as_ref()
                .is_none_or(|(known, _, _)| *known < load_id)
            {
                told.before = Some((load_id, found, used));
            }
        }
    }
    let changed: BTreeSet<LookupValues> = told
        .into_values()
        .flat_map(LookupHistory::changed_keys)
        .collect();
    if changed.is_empty() {
        return Ok(Vec::new());
    }
    session.register("parents", Arc::clone(history))?;
    let changed = as_table(on.len(), &changed)?;
    session.register_batches("changed", changed.schema(), vec![changed])?;
    let meets: Vec<String> = on
        .iter()
        .enumerate()
        .map(|(at, (_, theirs))| format!("CAST(p.\"{theirs}\" AS VARCHAR) = c.on_{at}"))
        .collect();
    let lacks = unless.map_or_else(String::new, |own| format!(" WHERE {}", lacks("p", own)));
    let sql = format!(
        "SELECT DISTINCT p._record_key FROM parents p JOIN changed c ON {}{lacks}",
        meets.join(" AND ")
    );
    let mut keys = Vec::new();
    for batch in collect(&session, &sql).await? {
        keys.extend(text(&batch, 0)?.iter().flatten().map(str::to_owned));
    }
    Ok(keys)
}

/// The condition, in SQL, that a row lacks a value of its own that can be used.
fn lacks(row: &str, own: &OwnColumn) -> String {
    let column = format!("{row}.\"{}\"", own.name);
    if own.is_time_zone {
        // Null also where the zone is.
        format!("utc_offset_minutes({row}._extracted_at, {column}) IS NULL")
    } else {
        format!("{column} IS NULL")
    }
}

fn as_table(width: usize, changed: &BTreeSet<LookupValues>) -> Result<RecordBatch> {
    let fields: Vec<Field> = (0..width)
        .map(|at| Field::new(format!("on_{at}"), DataType::Utf8, true))
        .collect();
    let column = |at: usize| -> ArrayRef {
        let values: StringArray = changed
            .iter()
            .map(|values| values.get(at).cloned().flatten())
            .collect();
        Arc::new(values)
    };
    RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        (0..width).map(column).collect(),
    )
    .map_err(|e| Error::internal("changed keys cannot be listed").because(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(texts: &[&str]) -> LookupValues {
        texts
            .iter()
            .map(|text| (!text.is_empty()).then(|| (*text).to_owned()))
            .collect()
    }

    fn version(on: &str, uses: &str) -> (LookupValues, LookupValues) {
        (values(&[on]), values(&[uses]))
    }

    #[test]
    fn only_what_is_looked_up_is_a_change() {
        let before = |on, uses| Some((1, values(&[on]), values(&[uses])));
        let told = |before, since| {
            LookupHistory { before, since }
                .changed_keys()
                .into_iter()
                .flatten()
                .flatten()
                .collect::<Vec<_>>()
        };
        assert_eq!(told(None, vec![version("1", "19")]), ["1"], "new");
        assert_eq!(
            told(None, vec![version("1", "")]),
            ["1"],
            "new, and says nothing: what another one said may end"
        );
        assert!(
            told(before("1", "19"), vec![version("1", "19")]).is_empty(),
            "renamed"
        );
        assert_eq!(
            told(before("1", "19"), vec![version("1", "7")]),
            ["1"],
            "another rate"
        );
        assert_eq!(
            told(before("1", "19"), vec![version("2", "19")]),
            ["1", "2"],
            "another number"
        );
        assert_eq!(
            told(
                before("1", "19"),
                vec![version("1", "7"), version("1", "19")]
            ),
            ["1"],
            "there and back"
        );
    }
}
