//! SmartNow as the sandbox drives it: the clock, the truth, and what tests make happen to its records.
//!
//! Invariant: a record that is made up stands before all others by id, as no record of a real database would: whoever counts rows
//! is shifted by it, and whoever pages by key is not. A listing without end goes on behind the last id instead.

use super::list_query::SmartNowListQuery;
use super::resources::{self, RESOURCES, SmartNowColumnType, SmartNowResource};
use super::table::{SmartNowKey, SmartNowRow, SmartNowTable};
use super::{EmulatedSmartNow, SmartNowState, endpoints};
use crate::hecone::receipts::local_timestamp;
use crate::random::uuid_text;
use axum::http::StatusCode;
use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;
use std::sync::atomic::Ordering;
use tillhouse_emulator::{
    EmulatedApi, EmulatedFault, EmulatedRequest, EmulatedResponse, FaultTarget, RecordMutation,
    RecordMutationKind, RecordSelection, no_resource, no_tenant,
};
use tillhouse_model::time_zone::time_zone;
use tillhouse_model::{Error, Result};

impl EmulatedApi for EmulatedSmartNow {
    fn target(&self, call: &EmulatedRequest<'_>) -> FaultTarget {
        endpoints::target(call)
    }

    fn answer(
        &self,
        call: &EmulatedRequest<'_>,
        fault: Option<&EmulatedFault>,
    ) -> EmulatedResponse {
        self.respond(call, fault)
    }

    fn error(&self, status: StatusCode, code: &str, message: &str) -> EmulatedResponse {
        endpoints::error(status, &format!("E_{}", code.to_uppercase()), message)
    }

    fn revoke(&self, refresh_too: bool) {
        self.tokens().revoke(refresh_too);
    }

    fn set_clock(&self, now: Timestamp) -> Result<()> {
        let mut state = self.state();
        state.clock = now;
        state.tables.fill(None);
        Ok(())
    }

    fn truth(&self, selection: &RecordSelection) -> Result<Vec<Bytes>> {
        let (number, kind) = kind(&selection.resource)?;
        let mut state = self.state();
        let rows = self.reachable(&mut state, number, selection.tenant.as_deref())?;
        let is_meant =
            |row: &&SmartNowRow| kind.window.is_none() || selection.holds(row.window_time(kind));
        Ok(rows
            .iter()
            .filter(is_meant)
            .map(|row| row.body.clone())
            .collect())
    }

    fn mutate(&self, order: &RecordMutation) -> Result<Option<String>> {
        let (number, kind) = kind(&order.resource)?;
        let selection = order.selection();
        let mut state = self.state();
        let rows = self.reachable(&mut state, number, order.tenant.as_deref())?;
        let is_meant =
            |row: &&SmartNowRow| kind.window.is_none() || selection.holds(row.window_time(kind));
        let first = rows.iter().find(is_meant);
        if order.kind == RecordMutationKind::Arrive {
            // Whole seconds, as all of SmartNow's times.
            let from = order.from.as_second() + i64::from(order.from.subsec_nanosecond() > 0);
            let at = if kind.window.is_some() {
                from
            } else {
                state.clock.as_second()
            };
            let fits = kind.window.is_none() || selection.holds(Some(at.saturating_mul(1_000_000)));
            let Some(sample) = first.or(rows.first()).filter(|_| fits) else {
                return Ok(None);
            };
            let row = first_of_all(kind, &mut state, number, sample, Some(at))?;
            let id = row.key.text();
            state.edit(number, row.key.clone(), Some(row));
            return Ok(Some(id));
        }
        let Some(row) = first else { return Ok(None) };
        let changed = match order.kind {
            RecordMutationKind::Change => Some(self.changed(&mut state, kind, row)?),
            _ => None,
        };
        state.edit(number, row.key.clone(), changed);
        Ok(Some(row.key.text()))
    }

    fn put(&self, resource: &str, tenant: Option<&str>, json: &str) -> Result<String> {
        let (number, kind) = kind(resource)?;
        let parent = tenant.map(|tenant| parent_key(kind, tenant)).transpose()?;
        let row = SmartNowRow::read(kind, json, parent)?;
        let id = row.key.text();
        self.state().edit(number, row.key.clone(), Some(row));
        Ok(id)
    }

    fn cap_pages(&self, largest: u32) {
        self.largest_page.store(
            usize::try_from(largest.max(1)).unwrap_or(usize::MAX),
            Ordering::Relaxed,
        );
    }
}

fn kind(resource: &str) -> Result<(usize, &'static SmartNowResource)> {
    let number = resources::resource_index(resource).ok_or_else(|| no_resource(resource))?;
    Ok((number, &RESOURCES[number]))
}

/// The key of a parent, which is what a resource that is listed by parents has for a tenant in the control protocol.
fn parent_key(kind: &SmartNowResource, tenant: &str) -> Result<SmartNowKey> {
    let parent = kind
        .parent
        .and_then(|parent| resources::resource_index(parent.of));
    parent
        .and_then(|number| SmartNowKey::parse(&RESOURCES[number], tenant))
        .ok_or_else(|| no_tenant(tenant))
}

impl EmulatedSmartNow {
    /// The records that lists show: a record whose parent is not there cannot be asked for.
    fn reachable(
        &self,
        state: &mut SmartNowState,
        number: usize,
        tenant: Option<&str>,
    ) -> Result<Vec<SmartNowRow>> {
        let kind = &RESOURCES[number];
        let wanted = tenant.map(|tenant| parent_key(kind, tenant)).transpose()?;
        let parents = self.parents(state, kind)?;
        let table = self.table(state, number)?;
        let has_parent = |row: &SmartNowRow, parents: &SmartNowTable| {
            row.parent
                .as_ref()
                .is_some_and(|key| parents.find(key).is_some())
        };
        let is_meant = |row: &&SmartNowRow| {
            wanted
                .as_ref()
                .is_none_or(|wanted| row.parent.as_ref() == Some(wanted))
                && parents
                    .as_ref()
                    .is_none_or(|parents| has_parent(row, parents))
        };
        Ok(table.rows().iter().filter(is_meant).cloned().collect())
    }

    /// The same record with other content, changed at the clock.
    fn changed(
        &self,
        state: &mut SmartNowState,
        kind: &SmartNowResource,
        row: &SmartNowRow,
    ) -> Result<SmartNowRow> {
        state.turn += 1;
        let mut fields = row.fields();
        let now = state.clock.as_second();
        let value = match kind.column(kind.mutated_field) {
            Some((_, SmartNowColumnType::Instant)) => Value::from(super::object::utc(now)),
            _ => Value::from(format!("changed {}", state.turn)),
        };
        fields.insert(kind.mutated_field.to_owned(), value);
        if fields.contains_key("updatedAt") {
            fields.insert("updatedAt".to_owned(), Value::from(super::object::utc(now)));
        }
        // A log changes by being resolved, which is also how a late change of one is found.
        if let Some(resolved) = fields.get_mut("resolvedAt") {
            *resolved = Value::from(super::object::utc(now));
            fields.insert("state".to_owned(), Value::from("resolved"));
        }
        SmartNowRow::read(kind, &text(fields)?, row.parent.clone())
    }
}

/// A record like `sample` that stands before all others; at an instant (Unix seconds) if one is given.
pub(super) fn first_of_all(
    kind: &SmartNowResource,
    state: &mut SmartNowState,
    number: usize,
    sample: &SmartNowRow,
    at: Option<i64>,
) -> Result<SmartNowRow> {
    state.turn += 1;
    let table = state.tables[number].as_ref();
    // An id is never given twice, whatever became of its record.
    let known = [
        table
            .and_then(|table| table.rows().first())
            .map(|row| &row.key),
        state.edits[number].keys().next(),
    ];
    let key = match known.into_iter().flatten().min() {
        Some(SmartNowKey::Number(first)) => SmartNowKey::Number(first - 1),
        // A UUID of version 4 as low as it gets; later ones are lower.
        _ => {
            let low = (0x4 << 76)
                | (0x2 << 62)
                | (0xFFFF - u128::from(state.turn.unsigned_abs()).min(0xFFFF));
            SmartNowKey::Text(uuid_text(low).into())
        }
    };
    copy(kind, sample, &key, at)
}

/// A full page of records that are in no table, behind the id that the question names: the next of a list without end.
pub(super) fn make_up_page(
    kind: &SmartNowResource,
    table: &SmartNowTable,
    question: &SmartNowListQuery,
    parent: Option<&SmartNowKey>,
    archived: i64,
    most: usize,
) -> Result<Vec<SmartNowRow>> {
    let sample = question
        .rows(kind, table, parent, archived, 1)
        .first()
        .copied()
        .or(table.rows().last());
    let Some(sample) = sample else {
        return Ok(Vec::new());
    };
    let behind = question.after_id();
    let skip = i64::try_from(question.skip).unwrap_or_default();
    let last = [table.rows().last().map(|row| row.key.clone()), behind];
    let last = last.into_iter().flatten().max();
    // Behind every UUID; the number is what follows.
    const TEXT: &str = "zzzzzzzz-";
    let start = match last {
        Some(SmartNowKey::Number(last)) => last,
        Some(SmartNowKey::Text(last)) => last
            .strip_prefix(TEXT)
            .and_then(|number| number.parse().ok())
            .unwrap_or_default(),
        None => 0,
    };
    let is_text = matches!(sample.key, SmartNowKey::Text(_));
    let numbers = (start + skip + 1..).take(most);
    numbers
        .map(|number| {
            let key = if is_text {
                SmartNowKey::Text(format!("{TEXT}{number:012}").into())
            } else {
                SmartNowKey::Number(number)
            };
            copy(kind, sample, &key, None)
        })
        .collect()
}

/// The same record under another id, and at another instant if one is given.
fn copy(
    kind: &SmartNowResource,
    sample: &SmartNowRow,
    key: &SmartNowKey,
    at: Option<i64>,
) -> Result<SmartNowRow> {
    let mut fields = sample.fields();
    fields.insert("id".to_owned(), key.value());
    if fields.contains_key("code") && fields.contains_key("campaign") {
        fields.insert(
            "code".to_owned(),
            Value::from(format!("SECRETVOUCHER-{}", key.text())),
        );
    }
    if let Some(at) = at {
        let zone = fields
            .get("timeZone")
            .and_then(Value::as_str)
            .and_then(time_zone);
        let local = local_timestamp(&zone.unwrap_or(TimeZone::UTC), at);
        let utc = super::object::utc(at);
        for (name, value) in [
            ("createdAt", Value::from(utc.as_str())),
            ("updatedAt", Value::from(utc.as_str())),
            ("occurredAt", Value::from(local)),
            ("timestamp", Value::from(at)),
            ("date", Value::from(at)),
        ] {
            if let Some(field) = fields.get_mut(name) {
                *field = value;
            }
        }
    }
    SmartNowRow::read(kind, &text(fields)?, sample.parent.clone())
}

fn text(fields: serde_json::Map<String, Value>) -> Result<String> {
    serde_json::to_string(&Value::Object(fields))
        .map_err(|error| Error::internal("the sandbox cannot write a record").because(error))
}
